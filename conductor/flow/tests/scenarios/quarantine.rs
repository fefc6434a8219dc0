//! What one player claims without proof concerns that player alone.

use orchestra_flow::{
    Answer, CloseReason, Command, Effect, Input, Rejection, ReplyId, ReplyTo, SessionId, answer,
};
use orchestra_model::{
    FlowId, FlowState, JobId, TaskState, WaitReason,
    delivery::{
        AttemptKey, LiveAttempt, OrderNumber, Outcome, PlayerSnapshot, Refusal, Report,
        SettledAttempt, Term,
    },
    proof::{Evidence, Mac, Proof},
};

use crate::world::{disk::STORE, *};

/// Lets a player attach with what it says changed.
fn attach_lying(world: &mut World, name: &str, lie: impl FnOnce(&mut PlayerSnapshot)) {
    let session = world.next_session();
    let player = world.engine.roster().member(&host(name)).unwrap();
    let mut snapshot = world.player(name).dial(session, STORE);
    lie(&mut snapshot);
    world.input(Input::PlayerAttached { player, session, snapshot: Box::new(snapshot) });
    world.player(name).welcome(session, STORE);
    world.drain(name);
    world.work();
}

fn key(flow: u64) -> AttemptKey {
    let job = JobId { flow: FlowId(flow), slot: 1, job: 1 };
    AttemptKey { store: STORE, job, attempt: 1 }
}

fn settled(flow: u64, order: u64) -> SettledAttempt {
    SettledAttempt { key: key(flow), order: OrderNumber(order), proof: None }
}

fn quarantined(world: &World) -> Vec<String> {
    let roster = world.engine.roster();
    roster.quarantined().map(|player| roster.host(player).to_string()).collect()
}

fn release(world: &mut World, name: &str) -> Answer {
    let hosts = hosts(name);
    world.input(Input::ReleasePlayersRequested { reply: ReplyTo::new(ReplyId(0)), hosts });
    world.work();
    world.answers.last().unwrap().clone()
}

type Lie = Box<dyn FnOnce(&mut PlayerSnapshot)>;

/// Every way to claim more than the store has issued.
fn lies() -> Vec<(&'static str, Lie)> {
    let live = |flow, order| LiveAttempt {
        key: key(flow),
        order: OrderNumber(order),
        started_at: None,
        proof: None,
    };
    vec![
        ("a mark", Box::new(|said: &mut PlayerSnapshot| said.mark = OrderNumber(77))),
        ("the highest mark", Box::new(|said| said.mark = OrderNumber(u64::MAX))),
        ("a term", Box::new(|said| said.term = Term(9))),
        ("the highest term", Box::new(|said| said.term = Term(u64::MAX))),
        ("a live attempt of no flow", Box::new(move |said| said.live.push(live(7, 1)))),
        ("a live attempt of another's order", Box::new(move |said| said.live.push(live(1, 9)))),
        ("a settled attempt of no flow", Box::new(|said| said.settled.push(settled(7, 0)))),
        (
            "a settled attempt of the last flow",
            Box::new(|said| said.settled.push(settled(1 << 53, 0))),
        ),
        ("a settled attempt of another's order", Box::new(|said| said.settled.push(settled(1, 9)))),
    ]
}

#[test]
fn others_go_on_whatever_one_claims() {
    for (what, lie) in lies() {
        let mut world = World::new("h[1-3]");
        let before = world.submit(flow([vec![job("h[1-3]").parallel(2)]]));
        attach_lying(&mut world, "h3", lie);
        assert_eq!(world.engine.stale(), None, "{what}");
        assert_eq!(quarantined(&world), ["h3"], "{what}");
        let id = world.submit(flow([vec![job("h[1-2]").named("more")]]));
        assert_eq!(id, FlowId(2), "{what} uses no flow numbers up");
        world.ok("h1", before);
        world.ok("h2", before);
        world.ok("h1", id);
        world.ok("h2", id);
        assert_eq!(world.state(id), FlowState::Ok, "{what}");
        let task = &world.tasks(before, 1, 1)[2];
        assert_eq!(task.reason, Some(WaitReason::Quarantined), "{what}");
        // It ends with an attach that agrees with the store.
        world.attach("h3");
        assert_eq!(quarantined(&world), [""; 0], "{what}");
        world.ok("h3", before);
        assert_eq!(world.state(before), FlowState::Ok, "{what}");
    }
}

#[test]
fn a_lie_tells_nothing_after_a_recovery_either() {
    for (what, lie) in lies() {
        let mut world = World::new("h[1-2]");
        world.disk.term.0 += 10;
        let term = world.disk.term;
        world.input(Input::StoreRecovered { reply: ReplyTo::new(ReplyId(0)), term });
        world.attach("h1");
        attach_lying(&mut world, "h2", lie);
        assert_eq!(world.engine.stale(), None, "{what}");
        let id = world.submit(flow([vec![job("h1")]]));
        assert_eq!(id, FlowId(1_000_001), "{what}");
        assert!(world.disk.player("h2").last_order.0 <= 1_000_000, "{what}");
    }
}

#[test]
fn a_proof_of_another_player_proves_nothing() {
    let mut world = World::new("h[1-2]");
    let id = world.submit(flow([vec![job("h1")]]));
    world.ok("h1", id);
    let shown = world.player("h1").dial(SessionId(900), STORE);
    world.attach("h1");
    let evidence = shown.evidence.unwrap();
    let said = evidence.attempt;
    assert!(said.is_some() || evidence.order == OrderNumber(1));
    // The border has taken out what the other's name does not confirm: so h2 has nothing to show.
    let (order, proof) = (OrderNumber(50), evidence.proof);
    let mut snapshot = world.player("h2").dial(SessionId(901), STORE);
    snapshot.mark = order;
    snapshot.evidence = Some(Evidence { order, attempt: None, proof });
    let name = host("h2");
    orchestra_model::proof::drop_false_proofs(&mut snapshot, STORE, &name, |said, mac| {
        world.players[&host("h2")].proof(said.store, said.term, said.order, None) == mac
    });
    assert_eq!(snapshot.evidence, None);
}

#[test]
fn what_was_sent_before_is_still_heard() {
    let mut world = World::new("h[1-2]");
    let id = world.submit(flow([vec![job("h[1-2]")]]));
    attach_lying(&mut world, "h2", |said| said.mark = OrderNumber(77));
    assert_eq!(quarantined(&world), ["h2"]);
    world.ok("h2", id);
    assert_eq!(world.states(id, 1, 1), "running ok", "an end of an attempt that was sent to it");
    assert!(world.player("h2").settled().is_empty(), "and acknowledged");
    world.ok("h1", id);
    assert_eq!(world.state(id), FlowState::Ok);
}

#[test]
fn what_it_does_not_account_for_is_lost_in_time() {
    let mut world = World::new("h[1-2]");
    let id = world.submit(flow([vec![job("h[1-2]").lost_after(60)]]));
    world.detach("h2");
    attach_lying(&mut world, "h2", |said| said.mark = OrderNumber(77));
    assert_eq!(world.states(id, 1, 1), "running running");
    world.pass(59);
    assert_eq!(world.states(id, 1, 1), "running running");
    world.pass(2);
    assert_eq!(world.states(id, 1, 1), "running lost");
}

#[test]
fn it_counts_as_absent() {
    let mut world = World::new("h[1-3]");
    attach_lying(&mut world, "h3", |said| said.mark = OrderNumber(77));
    let waits = world.submit(flow([vec![job("h[1-3]").named("all").quorum(3)]]));
    assert_eq!(world.states(waits, 1, 1), "waiting waiting waiting");
    assert_eq!(world.tasks(waits, 1, 1)[0].reason, Some(WaitReason::Quorum));
    let gives_up = world.submit(flow([vec![job("h[1,3]").named("soon").give_up_after(30)]]));
    world.ok("h1", gives_up);
    world.pass(31);
    assert_eq!(world.states(gives_up, 1, 1), "ok unreachable");
    let one = world.submit(flow([vec![job("h[2-3]").named("one").one_of()]]));
    assert_eq!(world.running_hosts(one), "h2");
}

#[test]
fn nothing_is_said_to_it() {
    let mut world = World::new("h[1-2]");
    let id = world.submit(flow([vec![job("h2")]]));
    attach_lying(&mut world, "h2", |said| said.mark = OrderNumber(77));
    world.asked.clear();
    world.cancel(id);
    world.submit(flow([vec![job("h[1-2]").named("b")]]));
    let h2 = world.engine.roster().member(&host("h2")).unwrap();
    let said: Vec<&Command> = world
        .asked
        .iter()
        .filter_map(|effect| match effect {
            Effect::Send { player, command, .. } if *player == h2 => Some(command),
            _ => None,
        })
        .collect();
    assert!(said.is_empty(), "{said:?}");
}

#[test]
fn a_term_that_was_never_seen_quarantines_who_says_so() {
    let mut world = World::new("h[1-2]");
    let id = world.submit(flow([vec![job("h[1-2]").parallel(1)]]));
    let player = world.engine.roster().member(&host("h1")).unwrap();
    let session = world.player("h1").session().unwrap();
    let evidence = None;
    let refusal = Refusal::StaleTerm { seen: Term(u64::MAX), evidence };
    let report = Box::new(Report::Refused { key: key(1), order: OrderNumber(1), refusal });
    world.input(Input::Reported { player, session, report });
    world.work();
    assert_eq!(world.engine.stale(), None);
    assert_eq!(quarantined(&world), ["h1"]);
    assert_eq!(world.states(id, 1, 1), "running waiting", "it says nothing of the attempt");
    world.attach("h1");
    assert_eq!(quarantined(&world), [""; 0]);
    // A lower one than ours says nothing at all.
    let session = world.player("h1").session().unwrap();
    let refusal = Refusal::StaleTerm { seen: Term(0), evidence };
    let report = Box::new(Report::Refused { key: key(1), order: OrderNumber(1), refusal });
    world.input(Input::Reported { player, session, report });
    assert_eq!(quarantined(&world), [""; 0]);
}

#[test]
fn a_release_makes_what_is_in_flight_lost_and_goes_on_above_the_claims() {
    let mut world = World::new("h[1-2]");
    let id = world.submit(flow([vec![job("h[1-2]")]]));
    let lie = |said: &mut PlayerSnapshot| {
        said.mark = OrderNumber(500);
        said.settled.push(settled(70, 400));
    };
    attach_lying(&mut world, "h2", lie);
    let answer = release(&mut world, "h2");
    assert_eq!(
        answer,
        Answer::ReleasedPlayers(answer::ReleasedPlayers { hosts: hosts("h2"), lost: 1 })
    );
    assert_eq!(world.states(id, 1, 1), "running lost");
    assert_eq!(world.closed, [CloseReason::Superseded, CloseReason::Released]);
    assert_eq!(world.disk.player("h2").last_order, OrderNumber(500));
    // It still claims what it claimed, and that passes now.
    attach_lying(&mut world, "h2", lie);
    assert_eq!(quarantined(&world), [""; 0]);
    let running = world.player("h2").running()[0];
    world.player("h2").end(running, &Outcome::Exited(0));
    let next = world.submit(flow([vec![job("h2").named("next")]]));
    assert_eq!(world.disk.player("h2").last_order, OrderNumber(501));
    assert!(!world.states(next, 1, 1).contains("waiting"));
    // What it claims beyond that does not.
    attach_lying(&mut world, "h2", |said| said.settled.push(settled(71, 400)));
    assert_eq!(quarantined(&world), ["h2"]);
}

#[test]
fn a_release_is_all_or_nothing_and_uses_no_numbers_up() {
    let mut world = World::new("h[1-3]");
    attach_lying(&mut world, "h1", |said| said.mark = OrderNumber(1_000_000));
    attach_lying(&mut world, "h2", |said| said.mark = OrderNumber(1_000_001));
    let beyond = Answer::Rejected(Rejection::OutOfReach(hosts("h2")));
    assert_eq!(release(&mut world, "h[1-3]"), beyond);
    assert_eq!(quarantined(&world), ["h1", "h2"]);
    let released = Answer::ReleasedPlayers(answer::ReleasedPlayers { hosts: hosts("h1"), lost: 0 });
    assert_eq!(
        release(&mut world, "h[1,3]"),
        released,
        "h3 is not quarantined, and stays as it is"
    );
    attach_lying(&mut world, "h1", |said| said.term = Term(5));
    let beyond = Answer::Rejected(Rejection::OutOfReach(hosts("h1")));
    assert_eq!(release(&mut world, "h1"), beyond, "its sitter would refuse each of our orders");
    let unknown = Answer::Rejected(Rejection::UnknownPlayers(hosts("h9")));
    assert_eq!(release(&mut world, "h9"), unknown);
}

#[test]
fn leaving_the_fleet_ends_it() {
    let mut world = World::new("h[1-2]");
    attach_lying(&mut world, "h2", |said| said.mark = OrderNumber(77));
    world.load("h1");
    assert_eq!(quarantined(&world), [""; 0]);
    assert!(world.disk.player("h2").removed);
    assert_eq!(world.closed.last(), Some(&CloseReason::Removed));
    world.load("h[1-2]");
    assert_eq!(quarantined(&world), [""; 0], "it has no session");
}

#[test]
fn it_is_no_record() {
    let mut world = World::new("h[1-2]");
    attach_lying(&mut world, "h2", |said| said.mark = OrderNumber(77));
    world.restart();
    assert_eq!(quarantined(&world), [""; 0]);
    world.attach("h2");
    assert_eq!(quarantined(&world), [""; 0]);
    let id = world.submit(flow([vec![job("h2")]]));
    world.ok("h2", id);
    assert_eq!(world.state(id), FlowState::Ok);
}

#[test]
fn a_false_proof_is_none() {
    let mut world = World::new("h1");
    let session = world.next_session();
    let mut snapshot = world.player("h1").dial(session, STORE);
    let proof = Proof { term: Term(9), mac: Mac([7; 16]) };
    snapshot.evidence = Some(Evidence { order: OrderNumber(9), attempt: None, proof });
    let name = host("h1");
    orchestra_model::proof::drop_false_proofs(&mut snapshot, STORE, &name, |_, _| false);
    assert_eq!(snapshot.evidence, None);
}

#[test]
fn one_that_waits_in_a_large_job_is_told_apart() {
    let mut world = World::new("h[1-2]");
    attach_lying(&mut world, "h2", |said| said.mark = OrderNumber(77));
    let id = world.submit(flow([vec![job("h[1-2]")]]));
    let status = world.status(id).unwrap();
    assert_eq!(status.slots[0][0].waiting[&WaitReason::Quarantined], 1);
    assert_eq!(world.tasks(id, 1, 1)[1].state, TaskState::Waiting);
}
