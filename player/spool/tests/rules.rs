//! One test a rule of delivery.

mod common;

use common::*;
use orchestra_model::{
    Millis,
    delivery::{
        AgentSession, AttemptKey, EndBytes, OrderNumber, Refusal, Report, SettledAttempt, StoreId,
        Term,
    },
    limits,
    proof::{Attempted, Evidence, Mac, Proof},
};
use orchestra_spool::{Effect, Input, Plan, bounds, journal};

fn term_seen(store: StoreId, term: Term) -> Input {
    Input::TermSeen { store, term, issued: None }
}

fn mac(n: u8) -> Option<Mac> {
    Some(Mac([n; 16]))
}

/// An order with the conductor's proof.
fn proven_order(number: u64, key: AttemptKey, n: u8) -> Input {
    let (order, admission) = (OrderNumber(number), Ok(plan("restart-apache")));
    Input::Ordered { term: TERM, order, key, mac: mac(n), admission }
}

fn evidence(rig: &Rig) -> Option<Evidence> {
    rig.spool.snapshot().mark_of(STORE).evidence
}

fn proof(term: Term, n: u8) -> Proof {
    Proof { term, mac: Mac([n; 16]) }
}

#[test]
fn an_order_starts_only_after_starting_is_durable() {
    let mut rig = Rig::new(4);
    rig.take([order(1, key(1))]);
    assert_eq!(kinds(rig.spool.unwritten()), ["mark", "starting"]);
    assert_eq!(rig.effects(), []);
    rig.commit();
    let plan = plan("restart-apache");
    assert_eq!(rig.effects(), [Effect::Start { key: key(1), order: OrderNumber(1), plan }]);
}

#[test]
fn a_start_is_reported_only_after_it_is_durable() {
    let mut rig = Rig::new(4);
    rig.feed([order(1, key(1))]);
    rig.take([Input::Started { key: key(1), process: process(1) }]);
    assert_eq!(kinds(rig.spool.unwritten()), ["started"]);
    assert_eq!(rig.effects(), []);
    rig.commit();
    assert_eq!(reports(rig.effects()), [report_start(1, key(1))]);
}

#[test]
fn what_needs_no_write_does_not_wait_for_one() {
    let mut rig = Rig::new(4);
    rig.run(1, key(1));
    rig.feed([ended(key(1), "ok"), acknowledge(1, key(1))]);
    rig.take([order(1, key(1))]);
    assert_eq!(rig.spool.unwritten(), []);
    let refusal = report_refusal(1, key(1), Refusal::AlreadyAcknowledged);
    assert_eq!(reports(rig.effects()), [refusal]);
}

#[test]
fn a_duplicate_of_a_live_order_is_answered_with_its_state() {
    let mut rig = Rig::new(4);
    rig.feed([order(1, key(1))]);
    assert_eq!(rig.feed([order(1, key(1))]), [], "starting: the report follows");
    rig.feed([Input::Started { key: key(1), process: process(1) }]);
    assert_eq!(reports(rig.feed([order(1, key(1))])), [report_start(1, key(1))]);
}

#[test]
fn a_duplicate_of_a_settled_order_is_answered_with_its_report() {
    let mut rig = Rig::new(4);
    rig.run(1, key(1));
    rig.feed([ended(key(1), "ok")]);
    assert_eq!(reports(rig.feed([order(1, key(1))])), [report_end(1, key(1), "ok")]);
}

#[test]
fn an_acknowledged_order_is_never_run_again() {
    let mut rig = Rig::new(4);
    rig.run(1, key(1));
    rig.feed([ended(key(1), "ok"), acknowledge(1, key(1))]);
    rig.crash();
    rig.attach();
    let refusal = report_refusal(1, key(1), Refusal::AlreadyAcknowledged);
    assert_eq!(reports(rig.feed([order(1, key(1))])), [refusal]);
    assert!(rig.spool.state().settled().is_empty(), "it is not kept");
}

#[test]
fn a_further_number_of_a_live_attempt_raises_the_mark_and_starts_nothing() {
    let mut rig = Rig::new(4);
    rig.run(1, key(1));
    assert_eq!(reports(rig.feed([order(5, key(1))])), [report_start(1, key(1))]);
    rig.feed([ended(key(1), "ok"), acknowledge(1, key(1))]);
    let refusal = report_refusal(5, key(1), Refusal::AlreadyAcknowledged);
    assert_eq!(reports(rig.feed([order(5, key(1))])), [refusal]);
}

#[test]
fn an_order_below_the_mark_that_never_came_is_not_run() {
    let mut rig = Rig::new(4);
    rig.run(2, key(2));
    let refusal = report_refusal(1, key(1), Refusal::AlreadyAcknowledged);
    assert_eq!(reports(rig.feed([order(1, key(1))])), [refusal]);
}

#[test]
fn a_refusal_is_durable_raises_the_mark_and_is_repeated_until_acknowledged() {
    let mut rig = Rig::new(4);
    let refusal = || report_refusal(1, key(1), Refusal::UnknownScore);
    let refused = order_as(1, key(1), Err(Refusal::UnknownScore));
    assert_eq!(reports(rig.feed([refused])), [refusal()]);
    rig.crash();
    assert_eq!(rig.spool.snapshot().mark_of(STORE).mark, OrderNumber(1));
    assert_eq!(rig.attach(), [refusal()]);
    rig.feed([acknowledge(1, key(1))]);
    assert_eq!(rig.attach(), []);
}

#[test]
fn an_end_is_repeated_on_every_attach_until_acknowledged() {
    let mut rig = Rig::new(4);
    rig.run(1, key(1));
    rig.feed([ended(key(1), "ok")]);
    for _ in 0..3 {
        assert_eq!(rig.attach(), [report_end(1, key(1), "ok")]);
        rig.crash();
    }
    rig.attach();
    rig.feed([acknowledge(1, key(1))]);
    rig.crash();
    assert_eq!(rig.attach(), []);
}

#[test]
fn what_started_between_snapshot_and_welcome_is_reported_with_the_welcome() {
    let mut rig = Rig::new(4);
    rig.feed([order(1, key(1))]);
    rig.feed([Input::Opened { session: AgentSession(8) }]);
    assert_eq!(rig.feed([Input::Started { key: key(1), process: process(1) }]), []);
    let attached = Input::Attached { session: AgentSession(8), store: STORE };
    assert_eq!(reports(rig.feed([attached])), [report_start(1, key(1))]);
}

#[test]
fn nothing_is_reported_before_the_welcome_or_after_the_session() {
    let mut rig = Rig::new(4);
    rig.run(1, key(1));
    rig.feed([Input::Detached { session: AgentSession(6) }]);
    assert_eq!(reports(rig.feed([order(1, key(1))])).len(), 1, "another session than ours");
    rig.feed([Input::Detached { session: SESSION }]);
    assert_eq!(rig.feed([ended(key(1), "ok")]), []);
    rig.feed([Input::Opened { session: AgentSession(8) }]);
    let stale = Input::Attached { session: SESSION, store: STORE };
    assert_eq!(rig.feed([stale]), [], "a welcome of an older session");
}

#[test]
fn reports_go_to_their_own_store_alone() {
    let mut rig = Rig::new(4);
    rig.run(1, key(1));
    rig.feed([ended(key(1), "ok")]);
    rig.run(2, key(2));
    assert_eq!(rig.attach_to(OTHER_STORE), []);
    rig.run(1, key_of(OTHER_STORE, 1));
    assert_eq!(rig.feed([ended(key(2), "ok")]), []);
    assert_eq!(rig.spool.snapshot().live.len(), 1);
    let settled: Vec<AttemptKey> =
        rig.spool.snapshot().settled.iter().map(|settled| settled.key).collect();
    assert_eq!(settled, [key(1), key(2)]);
    let ends = [report_end(1, key(1), "ok"), report_end(2, key(2), "ok")];
    assert_eq!(rig.attach(), ends);
}

#[test]
fn the_first_end_wins() {
    let mut rig = Rig::new(4);
    rig.run(1, key(1));
    rig.feed([ended(key(1), "ok")]);
    assert_eq!(rig.feed([ended(key(1), "lost")]), []);
    let failed = Input::StartFailed { key: key(1), refusal: Refusal::UnknownScore };
    assert_eq!(rig.feed([failed]), []);
    assert_eq!(rig.attach(), [report_end(1, key(1), "ok")]);
}

#[test]
fn a_failed_spawn_turns_starting_into_a_refusal() {
    let mut rig = Rig::new(4);
    rig.feed([order(1, key(1))]);
    let refusal = Refusal::SpawnFailed("no memory".to_owned());
    let failed = Input::StartFailed { key: key(1), refusal: refusal.clone() };
    assert_eq!(reports(rig.feed([failed])), [report_refusal(1, key(1), refusal)]);
    rig.crash();
    assert_eq!(rig.spool.live().count(), 0);
}

#[test]
fn a_started_attempt_cannot_have_failed_to_start() {
    let mut rig = Rig::new(4);
    rig.run(1, key(1));
    let failed = Input::StartFailed { key: key(1), refusal: Refusal::UnknownScore };
    assert_eq!(rig.feed([failed]), []);
    assert_eq!(rig.spool.live().count(), 1);
}

#[test]
fn starting_after_a_crash_is_listed_and_never_started() {
    let mut rig = Rig::new(4);
    rig.feed([order(1, key(1))]);
    rig.crash();
    assert_eq!(rig.effects(), []);
    let phases: Vec<_> = rig.spool.live().map(|(key, live)| (key, live.process)).collect();
    assert_eq!(phases, [(key(1), None)]);
    rig.attach();
    assert_eq!(rig.feed([order(1, key(1))]), []);
    assert_eq!(reports(rig.feed([ended(key(1), "lost")])), [report_end(1, key(1), "lost")]);
}

#[test]
fn started_after_a_crash_is_listed_with_what_adoption_needs() {
    let mut rig = Rig::new(4);
    let wanted = Plan {
        concurrency: Some(2),
        timeout: Millis(5_000),
        cgroup: orchestra_spool::CgroupPath::new("orchestra.service/1.1.1-1"),
        ..plan("x")
    };
    rig.feed([order_as(1, key(1), Ok(wanted.clone()))]);
    rig.feed([Input::Started { key: key(1), process: process(1) }]);
    rig.crash();
    let (_, live) = rig.spool.live().next().unwrap();
    assert_eq!((&live.plan, live.process), (&wanted, Some(process(1))));
    assert_eq!(live.deadline_boot_ms(), Some(process(1).boot_ms + 5_000));
    assert!(!live.cancelling);
}

#[test]
fn the_player_takes_no_more_than_its_capacity() {
    let mut rig = Rig::new(2);
    rig.run(1, key(1));
    rig.run(2, key(2));
    let busy = report_refusal(3, key(3), Refusal::Busy);
    assert_eq!(reports(rig.feed([order(3, key(3))])), [busy]);
    let unknown = order_as(4, key(4), Err(Refusal::UnknownScore));
    assert_eq!(reports(rig.feed([unknown])), [report_refusal(4, key(4), Refusal::Busy)]);
    rig.feed([ended(key(1), "ok"), acknowledge(3, key(3))]);
    rig.run(5, key(3));
}

#[test]
fn a_late_acknowledgement_of_busy_does_not_wipe_out_the_end() {
    let mut rig = Rig::new(1);
    rig.run(1, key(1));
    rig.feed([order(2, key(2)), acknowledge(2, key(2)), ended(key(1), "ok")]);
    rig.run(3, key(2));
    rig.feed([ended(key(2), "ok"), acknowledge(2, key(2))]);
    rig.feed([acknowledge(1, key(1))]);
    assert_eq!(rig.attach(), [report_end(3, key(2), "ok")]);
    rig.feed([Input::Acknowledged { term: TERM, key: key(2), order: None }]);
    assert_eq!(rig.attach(), []);
}

#[test]
fn a_score_runs_as_often_as_its_concurrency_allows() {
    let mut rig = Rig::new(8);
    let few = Plan { concurrency: Some(1), ..plan("few") };
    rig.feed([order_as(1, key(1), Ok(few.clone()))]);
    let busy = report_refusal(2, key(2), Refusal::Busy);
    assert_eq!(reports(rig.feed([order_as(2, key(2), Ok(few))])), [busy]);
    rig.run(3, key(3));
}

#[test]
fn an_exclusive_score_runs_alone() {
    let alone = Plan { exclusive: true, ..plan("alone") };
    let mut rig = Rig::new(8);
    rig.run(1, key(1));
    let busy = report_refusal(2, key(2), Refusal::Busy);
    assert_eq!(reports(rig.feed([order_as(2, key(2), Ok(alone.clone()))])), [busy]);
    rig.feed([ended(key(1), "ok")]);
    rig.feed([order_as(3, key(3), Ok(alone))]);
    let busy = report_refusal(4, key(4), Refusal::Busy);
    assert_eq!(reports(rig.feed([order(4, key(4))])), [busy]);
}

#[test]
fn what_is_watched_takes_no_place_and_bounds_nobody() {
    let watching = |score: &str| Ok(Plan::watching(plan(score).score, Millis(600_000)));
    let mut rig = Rig::new(1);
    rig.feed([order_as(1, key(1), watching("x")), order_as(2, key(2), watching("x"))]);
    let alone = Plan { exclusive: true, concurrency: Some(1), ..plan("x") };
    rig.feed([order_as(3, key(3), Ok(alone))]);
    // A place is taken now, by the third.
    rig.feed([order_as(4, key(4), watching("x"))]);
    let busy = report_refusal(5, key(5), Refusal::Busy);
    assert_eq!(reports(rig.feed([order(5, key(5))])), [busy]);
    assert_eq!(rig.spool.live().count(), 4);
    rig.crash();
    assert_eq!(rig.spool.live().filter(|(_, live)| live.plan.is_watching()).count(), 3);
}

#[test]
fn what_is_watched_was_ordered_whenever_it_is_cancelled() {
    let mut rig = Rig::new(1);
    let watching = Ok(Plan::watching(plan("x").score, Millis(600_000)));
    let cancel = Input::Cancelled { term: TERM, order: OrderNumber(1), key: key(1), mac: None };
    rig.take([order_as(1, key(1), watching), cancel]);
    rig.commit();
    assert!(rig.effects().iter().any(|effect| matches!(effect, Effect::Kill { .. })));
    assert_eq!(rig.spool.live().count(), 1);
}

#[test]
fn an_order_that_nothing_but_its_admission_can_refuse_is_known() {
    let mut rig = Rig::new(1);
    let open = |rig: &Rig, term, order, n| rig.spool.is_open_to(term, OrderNumber(order), key(n));
    assert!(open(&rig, TERM, 1, 1));
    rig.run(1, key(1));
    assert!(!open(&rig, TERM, 2, 1) && !open(&rig, TERM, 1, 2) && open(&rig, TERM, 2, 2));
    assert!(!open(&rig, Term(TERM.0 - 1), 2, 2) && !open(&rig, TERM, u64::MAX, 2));
}

#[test]
fn a_stopping_player_says_so_before_it_says_busy() {
    let mut rig = Rig::new(1);
    rig.run(1, key(1));
    let stopping = order_as(2, key(2), Err(Refusal::Stopping));
    assert_eq!(reports(rig.feed([stopping])), [report_refusal(2, key(2), Refusal::Stopping)]);
}

#[test]
fn a_lower_term_changes_nothing() {
    let mut rig = Rig::new(4);
    rig.run(1, key(1));
    rig.run(2, key(2));
    rig.feed([ended(key(2), "ok")]);
    rig.feed([term_seen(STORE, Term(9))]);
    rig.crash();
    rig.attach();
    let before = rig.spool.state().clone();
    let stale = Refusal::StaleTerm { seen: Term(9), evidence: None };
    let answers = rig.feed([order(3, key(3)), cancel(1, key(1)), acknowledge(2, key(2))]);
    let refusals = [report_refusal(3, key(3), stale.clone()), report_refusal(1, key(1), stale)];
    assert_eq!(reports(answers), refusals);
    assert_eq!(*rig.spool.state(), before);
    let order = Input::Ordered {
        term: Term(9),
        order: OrderNumber(3),
        key: key(3),
        mac: None,
        admission: Ok(plan("x")),
    };
    assert!(matches!(rig.feed([order])[..], [Effect::Start { .. }]));
}

#[test]
fn terms_of_stores_have_nothing_to_do_with_each_other() {
    let mut rig = Rig::new(4);
    rig.feed([term_seen(OTHER_STORE, Term(100))]);
    rig.run(1, key(1));
}

#[test]
fn a_cancel_kills_what_lives_and_the_next_sitter_goes_on_with_it() {
    let mut rig = Rig::new(4);
    rig.run(1, key(1));
    let kill = || Effect::Kill { key: key(1) };
    assert_eq!(rig.feed([cancel(1, key(1))]), [kill()]);
    rig.crash();
    assert!(rig.spool.live().all(|(_, live)| live.cancelling));
    rig.attach();
    assert_eq!(rig.feed([cancel(1, key(1))]), [kill()], "repeated");
    assert_eq!(reports(rig.feed([ended(key(1), "cancelled")])).len(), 1);
}

#[test]
fn a_cancel_in_the_batch_of_its_order_withdraws_the_start() {
    let mut rig = Rig::new(4);
    let effects = rig.feed([order(1, key(1)), cancel(1, key(1))]);
    let [Effect::Report { report, .. }] = &effects[..] else { panic!("{effects:?}") };
    assert_eq!(*report, report_refusal(1, key(1), Refusal::Cancelled));
}

#[test]
fn a_cancel_of_a_settled_attempt_repeats_its_report() {
    let mut rig = Rig::new(4);
    rig.run(1, key(1));
    rig.feed([ended(key(1), "ok")]);
    assert_eq!(reports(rig.feed([cancel(1, key(1))])), [report_end(1, key(1), "ok")]);
}

#[test]
fn a_cancel_ahead_of_its_order_is_kept_in_mind() {
    let mut rig = Rig::new(4);
    let refusal = || report_refusal(5, key(5), Refusal::Cancelled);
    assert_eq!(reports(rig.feed([cancel(5, key(5))])), [refusal()]);
    rig.crash();
    assert_eq!(rig.attach(), [refusal()]);
    rig.feed([acknowledge(5, key(5))]);
    rig.crash();
    rig.attach();
    rig.run(4, key(4));
    assert_eq!(reports(rig.feed([order(5, key(5))])), [refusal()]);
    assert_eq!(rig.spool.state().mark(STORE), OrderNumber(5));
}

#[test]
fn a_cancel_below_the_mark_without_a_trace_is_answered_and_not_kept() {
    let mut rig = Rig::new(4);
    rig.run(2, key(2));
    let refusal = report_refusal(1, key(1), Refusal::AlreadyAcknowledged);
    assert_eq!(reports(rig.feed([cancel(1, key(1))])), [refusal]);
    assert!(rig.spool.state().settled().is_empty());
}

#[test]
fn a_cancel_of_a_further_order_holds_after_the_attempt_is_forgotten() {
    let mut rig = Rig::new(1);
    rig.run(1, key(1));
    rig.feed([order(2, key(2))]);
    rig.feed([cancel(3, key(2)), acknowledge(2, key(2)), ended(key(1), "ok")]);
    let refusal = report_refusal(3, key(2), Refusal::Cancelled);
    assert_eq!(reports(rig.feed([order(3, key(2))])), [refusal]);
}

#[test]
fn cancels_ahead_are_bounded_and_the_one_too_many_is_not_answered() {
    let mut rig = Rig::new(4);
    let most = bounds::CANCELLED_AHEAD as u64;
    for n in 2..=most + 1 {
        rig.spool.handle(cancel(n, key(n)));
    }
    rig.commit();
    assert_eq!(reports(rig.effects()).len(), bounds::CANCELLED_AHEAD);
    assert_eq!(rig.feed([cancel(most + 2, key(most + 2))]), []);
    rig.run(1, key(1));
    rig.run(most + 2, key(most + 2));
}

#[test]
fn what_is_settled_is_bounded() {
    let mut rig = Rig::new(4);
    let most = bounds::SETTLED as u64;
    for n in 1..=most {
        rig.spool.handle(order_as(n, key(n), Err(Refusal::UnknownScore)));
    }
    rig.commit();
    rig.effects();
    let answers = reports(rig.feed([order(most + 1, key(most + 1))]));
    assert_eq!(answers.len(), 1);
    assert!(!rig.spool.state().settled().contains_key(&key(most + 1)), "not kept");
    rig.feed([acknowledge(1, key(1))]);
    rig.run(most + 1, key(most + 1));
}

#[test]
fn nothing_starts_while_too_many_bytes_wait_to_be_acknowledged() {
    let mut rig = Rig::new(4);
    let large = EndBytes::new(vec![0; limits::END_BYTES]).unwrap();
    let needed = (bounds::SETTLED_BYTES / limits::END_BYTES) as u64;
    for n in 1..=needed {
        rig.run(n, key(n));
        rig.feed([Input::Ended { key: key(n), end: large.clone() }]);
    }
    let next = needed + 1;
    let busy = report_refusal(next, key(next), Refusal::Busy);
    assert_eq!(reports(rig.feed([order(next, key(next))])), [busy]);
}

#[test]
fn stores_are_bounded() {
    let mut rig = Rig::new(4);
    let store = |n: u64| orchestra_model::delivery::StoreId(u128::from(n + 50).to_be_bytes());
    for n in 1..bounds::STORES as u64 {
        rig.feed([term_seen(store(n), TERM)]);
    }
    rig.attach_to(store(0));
    let answers = reports(rig.feed([order(1, key_of(store(0), 1))]));
    assert!(matches!(&answers[..], [r] if r.key().store == store(0)), "{answers:?}");
    assert_eq!(rig.feed([cancel(1, key_of(store(0), 1))]), []);
    assert_eq!(rig.spool.live().count(), 0);
}

#[test]
fn texts_of_refusals_are_cut() {
    let mut rig = Rig::new(4);
    let long = Refusal::Parameters("ä".repeat(bounds::REFUSAL_BYTES));
    rig.feed([order_as(1, key(1), Err(long))]);
    let kept = Refusal::Parameters("ä".repeat(bounds::REFUSAL_BYTES / 2));
    assert_eq!(rig.attach(), [report_refusal(1, key(1), kept)]);
}

#[test]
fn a_broken_spool_refuses_what_is_new_and_reports_what_runs() {
    let mut rig = Rig::new(4);
    rig.run(1, key(1));
    rig.take([order(2, key(2)), ended(key(1), "ok")]);
    rig.spool.write_failed("no space left on device");
    rig.spool.audit().unwrap();
    let full = Refusal::Spool("no space left on device".to_owned());
    let said = reports(rig.effects());
    assert_eq!(said, [report_end(1, key(1), "ok"), report_refusal(2, key(2), full.clone())]);

    let refused = rig.feed([order(3, key(3))]);
    assert_eq!(rig.spool.unwritten(), []);
    assert_eq!(reports(refused), [report_refusal(3, key(3), full)]);
    assert_eq!(rig.spool.snapshot().mark_of(STORE).mark, OrderNumber(1), "as on disk");

    rig.disk = journal::compacted(rig.spool.state());
    rig.spool.rewritten();
    assert_eq!(rig.spool.snapshot().mark_of(STORE).mark, OrderNumber(3));
    rig.run(4, key(4));
    rig.crash();
    assert_eq!(rig.spool.live().count(), 1);
    assert_eq!(rig.attach().len(), 4);
}

#[test]
fn a_snapshot_says_what_is_durable() {
    let mut rig = Rig::new(4);
    let opened = Input::Opened { session: AgentSession(8) };
    rig.take([order_as(1, key(1), Err(Refusal::UnknownScore)), opened]);
    assert_eq!(rig.effects(), []);
    rig.spool.write_failed("input/output error");
    let effects = rig.effects();
    let snapshot = effects.iter().find_map(|effect| match effect {
        Effect::Snapshot { session: AgentSession(8), snapshot } => Some(snapshot),
        _ => None,
    });
    assert_eq!(snapshot.unwrap().mark_of(STORE).mark, OrderNumber(0));
}

#[test]
fn the_largest_order_number_is_only_a_number() {
    let mut rig = Rig::new(4);
    let largest = bounds::REACHABLE;
    let refusal = || report_refusal(largest, key(1), Refusal::Cancelled);
    assert_eq!(reports(rig.feed([cancel(largest, key(1))])), [refusal()]);
    assert_eq!(reports(rig.feed([acknowledge(largest, key(1))])), []);
    assert_eq!(reports(rig.feed([order(largest, key(1))])), [refusal()]);
    let refusal = report_refusal(0, key(2), Refusal::AlreadyAcknowledged);
    assert_eq!(reports(rig.feed([order(0, key(2))])), [refusal]);
}

#[test]
fn what_was_proven_is_shown_and_survives() {
    let mut rig = Rig::new(4);
    rig.feed([proven_order(1, key(1), 1), proven_order(2, key(2), 2)]);
    rig.feed([Input::Started { key: key(2), process: process(2) }]);
    rig.feed([ended(key(2), "ok")]);
    let cancelled =
        Input::Cancelled { term: TERM, order: OrderNumber(5), key: key(5), mac: mac(5) };
    rig.feed([cancelled]);
    rig.crash();
    let snapshot = rig.spool.snapshot();
    assert_eq!(snapshot.live[0].proof, Some(proof(TERM, 1)));
    let settled = |flow, order, n| SettledAttempt {
        key: key(flow),
        order: OrderNumber(order),
        proof: Some(proof(TERM, n)),
    };
    assert_eq!(snapshot.settled, [settled(2, 2, 2), settled(5, 5, 5)]);
    let attempt = Some(Attempted::from(key(5)));
    let (order, proof) = (OrderNumber(5), proof(TERM, 5));
    assert_eq!(evidence(&rig), Some(Evidence { order, attempt, proof }));
    let compacted = journal::replay(&journal::compacted(rig.spool.state())).unwrap();
    assert_eq!(compacted.state, *rig.spool.state());
}

#[test]
fn evidence_only_grows() {
    let mut rig = Rig::new(4);
    let hello = |order, term, n| Input::TermSeen {
        store: STORE,
        term: Term(term),
        issued: Some((OrderNumber(order), Mac([n; 16]))),
    };
    let shown = |rig: &Rig| {
        let evidence = evidence(rig).unwrap();
        (evidence.order.0, evidence.proof.term.0, evidence.proof.mac.0[0])
    };
    rig.feed([hello(7, TERM.0, 1)]);
    assert_eq!(shown(&rig), (7, TERM.0, 1));
    rig.feed([hello(6, TERM.0 + 1, 2)]);
    assert_eq!(shown(&rig), (7, TERM.0, 1), "fewer orders are no news, whatever the term");
    rig.feed([hello(7, TERM.0 + 1, 3)]);
    assert_eq!(shown(&rig), (7, TERM.0 + 1, 3));
    rig.feed([hello(9, TERM.0, 4)]);
    assert_eq!(shown(&rig), (7, TERM.0 + 1, 3), "an older term says nothing");
}

#[test]
fn a_snapshot_shows_no_evidence_that_is_not_on_disk() {
    let mut rig = Rig::new(4);
    rig.take([proven_order(1, key(1), 1)]);
    assert_eq!(evidence(&rig), None);
    rig.commit();
    assert!(evidence(&rig).is_some());
}

/// A conductor whose store is an old copy gives no proof; what it says raises nothing that the player
/// could not show afterwards.
#[test]
fn no_term_is_kept_that_came_without_a_proof() {
    let mut rig = Rig::new(4);
    rig.run(1, key(1));
    rig.feed([ended(key(1), "ok")]);
    let before = rig.spool.state().term(STORE);
    rig.attach();
    let later = Term(TERM.0 + 5);
    rig.feed([Input::Acknowledged { term: later, key: key(1), order: None }]);
    assert!(rig.spool.state().settled().is_empty());
    assert_eq!(rig.spool.state().term(STORE), before);
}

#[test]
fn an_agent_that_was_taken_over_cannot_use_up_numbers() {
    let mut rig = Rig::new(4);
    rig.run(1, key(1));
    rig.attach();
    let before = rig.spool.state().clone();
    let reachable = bounds::REACHABLE;
    let admission = || Ok(plan("x"));
    let leap = Term(TERM.0 + bounds::TERM_LEAP + 1);
    let order = |term, number| Input::Ordered {
        term,
        order: OrderNumber(number),
        key: key(2),
        mac: mac(1),
        admission: admission(),
    };
    let issued = Some((OrderNumber(reachable + 1), Mac([1; 16])));
    for (what, input) in [
        ("an order", order(TERM, reachable + 1)),
        ("the last order", order(TERM, u64::MAX)),
        ("a term", order(Term(u64::MAX), 2)),
        ("a leap", order(leap, 2)),
        ("a hello's term", term_seen(STORE, Term(u64::MAX))),
        ("a hello's leap", term_seen(STORE, leap)),
        ("a hello's order", Input::TermSeen { store: STORE, term: TERM, issued }),
        ("a new store's term", term_seen(OTHER_STORE, Term(reachable + 1))),
        (
            "a cancel",
            Input::Cancelled {
                term: TERM,
                order: OrderNumber(reachable + 1),
                key: key(2),
                mac: mac(1),
            },
        ),
    ] {
        for effect in rig.feed([input]) {
            let refused = matches!(
                &effect,
                Effect::Report { report: Report::Refused { refusal: Refusal::Spool(_), .. }, .. }
            );
            assert!(refused, "{what}: {effect:?}");
        }
        assert_eq!(*rig.spool.state(), before, "{what}");
    }
    assert!(matches!(rig.feed([order(TERM, reachable)])[..], [Effect::Start { .. }]));
}
