//! Probes: one scenario a rule.

mod common;

use common::*;
use orchestra_model::{
    Millis, ScoreName,
    service::{Probe, ReadySign, RunEnd, Target, UnitState, Wanted},
};
use orchestra_units::{Effect, ProbeOutcome, RunEvent, WatchEnd};

const SECOND: u64 = 1_000;

fn failed() -> ProbeOutcome {
    ProbeOutcome::Unhealthy("connection refused".to_owned())
}

/// Lets time pass until the next probe, and gives its answer.
fn answer(rig: &mut Rig, outcome: ProbeOutcome) -> Vec<Effect> {
    let mut effects = rig.pass(10 * SECOND);
    let asked = probes(&effects);
    assert_eq!(asked.len(), 1, "one in ten seconds: {effects:?}");
    effects.extend(rig.probed(asked[0], outcome));
    effects
}

fn with_probe(n: u64) -> orchestra_units::Ordered {
    with_ready(n, ReadySign::Probe(Probe::Tcp(Target::Port(80))))
}

#[test]
fn three_failures_in_a_row_are_unhealthy_and_two_successes_healthy() {
    let mut rig = Rig::up(with_health(1));
    for outcome in [failed(), failed(), ProbeOutcome::Healthy, failed(), failed()] {
        answer(&mut rig, outcome);
        assert_eq!(rig.state(), UnitState::Ready);
    }
    answer(&mut rig, failed());
    assert_eq!(rig.state(), UnitState::Unhealthy);
    assert_eq!(rig.report().trouble.as_deref(), Some("connection refused"));
    for outcome in [ProbeOutcome::Healthy, failed(), ProbeOutcome::Healthy] {
        answer(&mut rig, outcome);
        assert_eq!(rig.state(), UnitState::Unhealthy);
    }
    let told = reports(&answer(&mut rig, ProbeOutcome::Healthy));
    assert_eq!(told.last().map(|report| report.state), Some(UnitState::Ready));
    assert_eq!((rig.report().trouble, rig.run()), (None, 1), "the same run all the time");
}

#[test]
fn a_check_has_longer_until_its_run_is_ready_than_a_connection() {
    let check = Probe::Score(ScoreName::new("check-web").unwrap());
    let probes = [(Probe::Tcp(Target::Port(80)), SECOND), (check, 10 * SECOND)];
    for (probe, most) in probes {
        let mut rig = Rig::new();
        rig.order(with_ready(1, ReadySign::Probe(probe.clone())));
        let asked = rig.spawned().into_iter().find_map(|effect| match effect {
            Effect::Probe { probe, timeout, .. } => Some((probe, timeout)),
            _ => None,
        });
        assert_eq!(asked, Some((probe, Millis(most))));
        assert_eq!(rig.state(), UnitState::Starting);
    }
}

#[test]
fn what_is_unknown_changes_nothing() {
    let mut rig = Rig::up(with_health(1));
    for _ in 0..20 {
        answer(&mut rig, ProbeOutcome::Unknown);
    }
    assert_eq!(rig.state(), UnitState::Ready);
    // It does not end a row either.
    for outcome in [failed(), ProbeOutcome::Unknown, failed(), ProbeOutcome::Unknown, failed()] {
        assert_eq!(rig.state(), UnitState::Ready);
        answer(&mut rig, outcome);
    }
    assert_eq!(rig.state(), UnitState::Unhealthy);
    for _ in 0..20 {
        answer(&mut rig, ProbeOutcome::Unknown);
    }
    assert_eq!(rig.state(), UnitState::Unhealthy);
}

#[test]
fn one_question_is_open_at_a_time_and_only_its_answer_counts() {
    let mut rig = Rig::up(with_health(1));
    let asked = probes(&rig.pass(10 * SECOND));
    assert_eq!(probes(&rig.pass(600 * SECOND)), [], "nobody answers");
    for number in [0, asked[0] + 1] {
        for _ in 0..5 {
            rig.probed(number, failed());
        }
    }
    let next = probes(&rig.probed(asked[0], failed()));
    assert_eq!(next, [asked[0] + 1], "the next one is long due");
    for _ in 0..5 {
        rig.probed(asked[0], failed());
    }
    assert_eq!(rig.state(), UnitState::Ready, "an answer counts once");
}

#[test]
fn a_new_run_begins_without_a_verdict_and_hears_nothing_of_the_one_before() {
    let mut rig = Rig::up(with_health(1));
    for _ in 0..3 {
        answer(&mut rig, failed());
    }
    let open = probes(&rig.pass(10 * SECOND))[0];
    rig.ends(RunEnd::Exited(1));
    rig.spawned();
    assert_eq!((rig.state(), rig.run()), (UnitState::Ready, 2));
    for _ in 0..3 {
        rig.probed(open, failed());
    }
    answer(&mut rig, failed());
    answer(&mut rig, failed());
    assert_eq!(rig.state(), UnitState::Ready, "two of its own");
}

#[test]
fn a_watch_is_not_over_while_its_unit_is_unhealthy() {
    let mut order = with_health(1);
    order.unit.healthy_for = Millis::seconds(60);
    let mut rig = Rig::up(order);
    let mut effects = Vec::new();
    for _ in 0..9 {
        effects.extend(answer(&mut rig, failed()));
    }
    assert_eq!(watch_ends(&effects), [], "ready for a minute, if nobody had asked");
    effects = answer(&mut rig, ProbeOutcome::Healthy);
    effects.extend(answer(&mut rig, ProbeOutcome::Healthy));
    effects.extend(rig.pass(50 * SECOND));
    assert_eq!(watch_ends(&effects), [], "it begins anew");
    let open = probes(&effects).pop().unwrap();
    effects = rig.probed(open, ProbeOutcome::Unknown);
    effects.extend(rig.pass(10 * SECOND));
    assert_eq!(watch_ends(&effects), [(1, WatchEnd::Ready)]);
}

#[test]
fn what_was_healthy_for_long_enough_before_it_failed_was_so() {
    let mut order = with_health(1);
    order.unit.healthy_for = Millis::seconds(20);
    order.unit.upkeep.health.as_mut().unwrap().fall = 1;
    let mut rig = Rig::up(order);
    let open = probes(&rig.pass(10 * SECOND))[0];
    // Both are due in the same turn; the answer is taken in first.
    rig.boot_ms += 20 * SECOND;
    let effects = rig.probed(open, failed());
    assert_eq!(watch_ends(&effects), [(1, WatchEnd::Ready)]);
    assert_eq!(rig.state(), UnitState::Unhealthy);
}

#[test]
fn a_run_is_ready_with_the_first_probe_that_succeeds() {
    let mut rig = Rig::new();
    rig.order(with_probe(1));
    let first = probes(&rig.spawned());
    assert_eq!(first.len(), 1, "asked at once");
    rig.probed(first[0], failed());
    let second = probes(&rig.pass(500));
    rig.probed(second[0], ProbeOutcome::Unknown);
    assert_eq!(rig.state(), UnitState::Starting);
    let third = probes(&rig.pass(500));
    rig.probed(third[0], ProbeOutcome::Healthy);
    assert_eq!(rig.state(), UnitState::Ready);
    assert_eq!(probes(&rig.pass(60 * SECOND)), [], "and no health to ask for");
    assert_eq!(rig.units.next_wake(), None, "nobody is woken");
}

#[test]
fn a_run_whose_probes_fail_is_never_ready() {
    let mut rig = Rig::up(with_probe(1));
    // Twice a second, for the two minutes of its deadline.
    for number in 1..240 {
        rig.probed(number, failed());
        rig.pass(500);
    }
    assert_eq!(rig.state(), UnitState::Starting);
    assert!(words(&rig.pass(SECOND)).contains(&"signal 1 15".to_owned()));
}

#[test]
fn a_verdict_outlives_the_sitter_and_its_counts_do_not() {
    let mut rig = Rig::up(with_health(1));
    for _ in 0..3 {
        answer(&mut rig, failed());
    }
    rig.crash(SECOND);
    assert_eq!(rig.state(), UnitState::Unhealthy);
    assert_eq!(probes(&rig.pass(60 * SECOND)), [], "nobody knows yet whether the run lives");
    rig.told(RunEvent::Found);
    answer(&mut rig, ProbeOutcome::Healthy);
    assert_eq!(rig.state(), UnitState::Unhealthy);
    answer(&mut rig, ProbeOutcome::Healthy);
    assert_eq!(rig.state(), UnitState::Ready);
    answer(&mut rig, failed());
    answer(&mut rig, failed());
    rig.crash(SECOND);
    rig.told(RunEvent::Found);
    answer(&mut rig, failed());
    assert_eq!(rig.state(), UnitState::Ready);
}

#[test]
fn what_is_being_ended_is_not_asked() {
    let mut rig = Rig::up(with_health(1));
    let open = probes(&rig.pass(10 * SECOND))[0];
    rig.order(order(2, Wanted::Stopped));
    rig.probed(open, failed());
    assert_eq!(probes(&rig.pass(20 * SECOND)), []);
    rig.ends(RunEnd::Signalled(15));
    assert_eq!((probes(&rig.pass(60 * SECOND)), rig.state()), (vec![], UnitState::Stopped));
}

#[test]
fn a_rule_that_is_taken_away_takes_its_verdict_along() {
    let mut rig = Rig::up(with_health(1));
    for _ in 0..3 {
        answer(&mut rig, failed());
    }
    rig.order(running(2));
    assert_eq!((rig.state(), rig.run()), (UnitState::Ready, 1));
    assert_eq!(probes(&rig.pass(60 * SECOND)), []);
}

#[test]
fn units_are_not_asked_in_the_same_moment() {
    let mut moments = std::collections::BTreeSet::new();
    let mut rig = Rig::up(with_health(1));
    for _ in 0..10 {
        // Each sitter draws anew.
        rig.crash(0);
        rig.told(RunEvent::Found);
        let wake = rig.units.next_wake().unwrap();
        moments.insert(wake);
        assert!((rig.boot_ms..=rig.boot_ms + 10 * SECOND).contains(&wake));
    }
    assert!(moments.len() > 3, "{moments:?}");
    assert!(moments.iter().all(|at| at % 100 == 0), "others are asked at the same: {moments:?}");
}

#[test]
fn an_order_for_health_ends_an_unhealthy_run_and_counts_on() {
    let mut rig = Rig::up(with_health(1));
    let for_health = |n| {
        let mut order = with_health(n);
        order.unit.wanted = Wanted::Healthy;
        order
    };
    rig.pass(10 * SECOND);
    rig.order(for_health(2));
    assert_eq!((rig.state(), rig.run()), (UnitState::Ready, 1), "a healthy run is spared");
    for _ in 0..3 {
        answer(&mut rig, failed());
    }
    assert_eq!((rig.state(), rig.report().turns), (UnitState::Unhealthy, 1));
    let told = words(&rig.order(for_health(3)));
    assert!(told.contains(&"signal 1 15".to_owned()), "{told:?}");
    assert_eq!(rig.state(), UnitState::Stopping);
    rig.told(RunEvent::MainEnded(RunEnd::Exited(0)));
    let begun = rig.told(RunEvent::Emptied);
    assert_eq!(spawned_run(&begun), Some(2));
    rig.spawned();
    assert_eq!((rig.state(), rig.report().turns), (UnitState::Ready, 1), "turns are counted on");
    assert_eq!(rig.report().last_end, Some(RunEnd::Asked));
    assert_eq!(watch_ends(&rig.pass(10 * SECOND)), [(3, WatchEnd::Ready)]);
}

#[test]
fn an_order_for_health_begins_no_run() {
    let mut order = with_health(1);
    order.unit.upkeep.restart.attempts = Some(0);
    let mut rig = Rig::up(order.clone());
    rig.told(RunEvent::MainEnded(RunEnd::Exited(1)));
    rig.told(RunEvent::Emptied);
    assert_eq!(rig.state(), UnitState::GaveUp);
    order.order = orchestra_model::delivery::OrderNumber(2);
    order.key.attempt = 2;
    order.unit.wanted = Wanted::Healthy;
    rig.order(order);
    assert_eq!(rig.state(), UnitState::GaveUp, "that is for a person");
}
