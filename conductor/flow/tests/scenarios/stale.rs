//! A store restored from a backup: nothing is sent until an operator said to go on from it.

use orchestra_flow::{Answer, CloseReason, Input, ReplyId, ReplyTo, answer};
use orchestra_model::{FlowId, FlowState, JobId, WaitReason, delivery::Term};

use crate::{
    straggler,
    world::{disk, submitted, *},
};

/// A fleet whose conductor goes on from a backup that was made before the second flow.
fn restored() -> World {
    let mut world = World::new("h[1-3]");
    let known = world.submit(flow([vec![job("h[1-3]").named("known").parallel(1)]]));
    assert_eq!(known, FlowId(1));
    let backup = world.disk.clone();
    let forgotten = world.submit(flow([vec![job("h[2-3]").named("forgotten")]]));
    assert_eq!(world.running_hosts(forgotten), "h[2-3]");
    world.forget_finals();
    world.put_back(backup);
    world.restart();
    world
}

/// A flow whose order for h1 is written, and under way when h1 goes.
fn submitted_to_nobody(players: &str) -> World {
    let mut world = World::new(players);
    world.immediate = false;
    let submission = world.submission(flow([vec![job("h1")]]));
    world.input(submitted(submission));
    world.perform();
    world.detach("h1");
    world.immediate = true;
    world
}

fn recover(world: &mut World) -> Answer {
    world.disk.term.0 += 10;
    let term = world.disk.term;
    world.input(Input::StoreRecovered { reply: ReplyTo::new(ReplyId(0)), term });
    world.answers.last().unwrap().clone()
}

/// Another conductor of the same store, in a later term, took the player over meanwhile.
fn another_conductor_spoke(world: &mut World, name: &str, term: Term) {
    let (store, issued) = (disk::STORE, world.disk.player(name).last_order);
    let player = world.player(name);
    let issued = Some((issued, player.proof(store, term, issued, None)));
    player.spool.handle(orchestra_spool::Input::TermSeen { store, term, issued });
    world.drain(name);
}

#[test]
fn a_player_that_knows_more_stops_dispatch() {
    let mut world = restored();
    world.attach("h1");
    assert_eq!(world.engine.stale(), None, "h1 knows nothing that the store does not");
    assert_eq!(world.states(FlowId(1), 1, 1), "running waiting waiting");
    world.attach("h2");
    let why = world.engine.stale().unwrap().to_owned();
    assert!(why.contains("h2") && why.contains("knows no flow 2"), "{why}");
    // The end of a known attempt is stored, and nothing starts in its place. What only the lost part
    // of history knows stays with its player: it is the evidence.
    let key = world.running("h1", FlowId(1))[0];
    world.end_attempt("h1", key, &orchestra_model::delivery::Outcome::Exited(0));
    assert_eq!(world.player("h1").settled().len(), 0);
    assert_eq!(world.states(FlowId(1), 1, 1), "ok waiting waiting");
    let key = world.running("h2", FlowId(2))[0];
    world.end_attempt("h2", key, &orchestra_model::delivery::Outcome::Exited(0));
    assert_eq!(world.player("h2").settled().len(), 1);
    let started = world.starts.len();
    let id = world.submit(flow([vec![job("h[1-3]")]]));
    assert_eq!(world.starts.len(), started);
    assert_eq!(world.tasks(id, 1, 1)[0].reason, Some(WaitReason::StaleStore));
    assert!(world.status(id).unwrap().stale_store);
    assert!(!world.engine.has_work(), "there is nothing to do but wait");
}

#[test]
fn orders_are_not_sent_again_from_an_old_copy() {
    let mut world = submitted_to_nobody("h[1-2]");
    let backup = world.disk.clone();
    world.submit(flow([vec![job("h2")]]));
    world.put_back(backup);
    world.restart();
    world.attach("h2");
    assert!(world.engine.stale().is_some());
    world.attach("h1");
    assert_eq!(world.starts.len(), 1, "only what h2 runs");
}

#[test]
fn recovery_goes_on_with_higher_term_and_numbers() {
    let mut world = restored();
    world.attach("h1");
    world.attach("h2");
    let answer = recover(&mut world);
    let next_flow = FlowId(1_000_002);
    assert_eq!(answer, Answer::Recovered(answer::Recovered { next_flow }));
    assert_eq!(world.closed, [CloseReason::Recovered; 2]);
    assert_eq!(world.engine.stale(), None);
    assert_eq!(world.disk.next_flow(), Some(next_flow));
    world.attach("h1");
    world.attach("h2");
    assert_eq!(world.engine.stale(), None);
    // h2 may have run it in the forgotten time; h1 goes on; h3 has to be seen first.
    assert_eq!(world.states(FlowId(1), 1, 1), "running lost waiting");
    world.ok("h1", FlowId(1));
    let id = world.submit(flow([vec![job("h[1-2]")]]));
    assert_eq!(id, next_flow);
    assert_eq!(world.running_hosts(id), "h[1-2]");
    // h2 had 1 of the forgotten flow, and may remember that others were cancelled.
    assert_eq!(world.disk.player("h2").last_order.0, 1_000_002);
    world.detach("h2");
    world.attach("h2");
    assert_eq!(world.disk.player("h2").last_order.0, 1_000_002, "it has seen the new term");
}

#[test]
fn a_player_that_comes_later_with_a_mark_above_catches_up() {
    let mut world = restored();
    world.attach("h2");
    recover(&mut world);
    world.attach("h1");
    world.attach("h2");
    let after = world.submit(flow([vec![job("h3").named("after")]]));
    world.attach("h3");
    assert_eq!(world.engine.stale(), None);
    // What waited for h3 when the store was recovered may have run there. What came after has not.
    assert_eq!(world.states(FlowId(1), 1, 1), "running lost lost");
    assert_eq!(world.running_hosts(after), "h3");
    world.ok("h3", after);
    assert_eq!(world.state(after), FlowState::Ok);
    world.ok("h1", FlowId(1));
    assert_eq!(world.state(FlowId(1)), FlowState::Failed);
}

#[test]
fn the_forgotten_flows_ends_are_acknowledged_and_belong_to_nobody() {
    let mut world = restored();
    world.attach("h2");
    recover(&mut world);
    world.attach("h2");
    let forgotten = world.running("h2", FlowId(2));
    world.end_attempt("h2", forgotten[0], &orchestra_model::delivery::Outcome::Exited(0));
    assert!(world.player("h2").settled().is_empty());
    assert!(world.disk.end(JobId { flow: FlowId(2), slot: 1, job: 1 }, "h2", 1).is_none());
}

#[test]
fn a_higher_term_alone_is_reason_enough() {
    let mut world = World::new("h1");
    world.detach("h1");
    another_conductor_spoke(&mut world, "h1", Term(9));
    world.attach("h1");
    assert!(world.engine.stale().unwrap().contains("term 9"));
    recover(&mut world);
    world.attach("h1");
    assert_eq!(world.engine.stale(), None);
}

#[test]
fn an_order_of_a_stale_term_keeps_its_place() {
    let mut world = World::new("h[1-2]");
    another_conductor_spoke(&mut world, "h1", Term(9));
    let id = world.submit(flow([vec![job("h1"), job("h2").named("b")]]));
    assert!(world.engine.stale().unwrap().contains("term 9"));
    assert_eq!(world.states(id, 1, 1), "sent");
    recover(&mut world);
    world.attach("h1");
    world.attach("h2");
    assert_eq!(world.states(id, 1, 1), "running");
    assert_eq!(world.disk.task(JobId { flow: id, slot: 1, job: 1 }, 0).unwrap().attempt, 1);
}

#[test]
fn a_cancel_of_a_stale_term_ends_nothing() {
    let mut world = World::new("h1");
    let id = world.submit(flow([vec![job("h1")]]));
    another_conductor_spoke(&mut world, "h1", Term(9));
    world.cancel(id);
    // The player refused to hear of it: it runs, and the engine knows.
    assert_eq!(world.states(id, 1, 1), "running");
    assert_eq!(world.state(id), FlowState::Cancelling);
    recover(&mut world);
    world.attach("h1");
    assert_eq!(world.state(id), FlowState::Cancelled);
}

#[test]
fn stragglers_are_given_time_after_a_recovery() {
    let (mut world, _, id) = straggler();
    recover(&mut world);
    assert_eq!(world.states(id, 1, 1), "ok waiting");
}

#[test]
fn hosts_that_the_forgotten_time_may_have_changed_count_as_down() {
    let mut world = restored();
    world.attach("h2");
    recover(&mut world);
    for name in ["h1", "h2", "h3"] {
        world.attach(name);
    }
    // Both run what this store knows nothing of.
    assert_eq!(world.down(), "h[2-3]");
    assert_eq!(world.disk.holds.len(), 2);
    let one = Some(orchestra_model::Quantity::Count(1));
    world.deploy(deployment(&[("app", "h[1-3]", one)], &[("all", "h[1-3]")], &[]));
    world.ok("h1", FlowId(1));
    let id = world.submit(flow([vec![job("h[1-2]")]]));
    assert_eq!(world.states(id, 1, 1), "waiting running", "h2 holds its cells and may go on");
    let forgotten = world.running("h2", FlowId(2))[0];
    world.end_attempt("h2", forgotten, &orchestra_model::delivery::Outcome::Exited(0));
    assert_eq!(world.down(), "h[2-3]", "nobody knows what it was");
    world.restart_and_return();
    assert_eq!(world.down(), "h[2-3]");
    world.ok("h2", id);
    assert_eq!(world.down(), "h3");
    world.release("h3");
    assert_eq!(world.running_hosts(id), "h1");
}

#[test]
fn holds_and_flags_of_the_old_copy_are_kept() {
    let mut world = World::new("h[1-3]");
    let broken = world.submit(flow([vec![job("h1")]]));
    world.fail("h1", broken);
    world.drain_players("h2");
    let id = world.submit(flow([vec![job("h[2-3]")]]));
    world.pause(id);
    let backup = world.disk.clone();
    world.submit(flow([vec![job("h3").named("forgotten")]]));
    world.put_back(backup);
    world.restart();
    world.attach("h3");
    recover(&mut world);
    for name in ["h1", "h2", "h3"] {
        world.attach(name);
    }
    assert_eq!(world.engine.stale(), None);
    assert_eq!(world.down(), "h[1,3]");
    assert_eq!(world.state(id), FlowState::Paused);
    world.resume(id);
    assert_eq!(world.tasks(id, 1, 1)[0].reason, Some(WaitReason::PlayerDrained));
}

#[test]
fn attempts_of_the_forgotten_time_are_not_numbered_again() {
    let mut world = World::new("h[1-3]");
    let spec = job("h[1-3]").parallel(1).success(0).wait_for_stragglers();
    let id = world.submit(flow([vec![spec]]));
    let backup = world.disk.clone();
    for name in ["h1", "h2", "h3"] {
        world.ok(name, id);
    }
    world.forget_finals();
    world.put_back(backup);
    world.restart();
    world.attach("h2");
    recover(&mut world);
    for name in ["h1", "h2"] {
        world.attach(name);
    }
    assert_eq!(world.states(id, 1, 1), "lost lost waiting");
    world.forget_finals();
    world.retry(id);
    world.ok("h1", id);
    world.ok("h2", id);
    let attempts: Vec<u32> = world.tasks(id, 1, 1).iter().map(|task| task.attempt).collect();
    assert_eq!(attempts, [1_000_003, 1_000_003, 0], "what ran before was the first of each");
}

#[test]
fn a_cancel_that_is_forgotten_ends_nothing() {
    let mut world = submitted_to_nobody("h1");
    let (id, backup) = (FlowId(1), world.disk.clone());
    world.cancel(id);
    world.attach("h1");
    assert_eq!(world.state(id), FlowState::Cancelled, "its order never comes to run");
    world.forget_finals();
    world.put_back(backup);
    world.restart();
    world.attach("h1");
    assert_eq!(world.states(id, 1, 1), "waiting", "the player goes by what it was told");
    world.pass(1);
    assert_eq!(world.states(id, 1, 1), "running");
    assert_eq!(world.tasks(id, 1, 1)[0].attempt, 2);
}
