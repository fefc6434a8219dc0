//! Pause and resume: nothing new starts; what runs goes on, and so do timers.

use orchestra_flow::{Answer, Rejection, answer};
use orchestra_model::{FlowId, FlowState, Quantity, WaitReason};

use crate::world::*;

#[test]
fn nothing_new_starts_and_what_runs_goes_on() {
    let mut world = World::new("h[1-3]");
    let id = world.submit(flow([vec![job("h[1-3]").parallel(1)]]));
    assert_eq!(
        world.pause(id),
        Answer::Changed(answer::Changed { flow: id, state: FlowState::Paused })
    );
    world.ok("h1", id);
    assert_eq!(world.states(id, 1, 1), "ok waiting waiting");
    assert_eq!(world.tasks(id, 1, 1)[1].reason, Some(WaitReason::Paused));
    let status = world.status(id).unwrap();
    assert_eq!(status.paused_by, Some(audience()));
    assert_eq!(
        world.resume(id),
        Answer::Changed(answer::Changed { flow: id, state: FlowState::Running })
    );
    assert_eq!(world.states(id, 1, 1), "ok running waiting");
}

#[test]
fn it_is_remembered_and_saying_it_again_changes_nothing() {
    let mut world = World::new("h[1-2]");
    let id = world.submit(flow([vec![job("h[1-2]").parallel(1)], vec![job("h1").named("then")]]));
    world.pause(id);
    let written = world.disk.written;
    assert_eq!(
        world.pause(id),
        Answer::Changed(answer::Changed { flow: id, state: FlowState::Paused })
    );
    assert_eq!(world.disk.written, written);
    world.restart_and_return();
    assert_eq!(world.state(id), FlowState::Paused);
    world.ok("h1", id);
    assert_eq!(world.states(id, 1, 1), "ok waiting");
    world.resume(id);
    let written = world.disk.written;
    world.resume(id);
    assert_eq!(world.disk.written, written);
    world.restart_and_return();
    assert_eq!(world.states(id, 1, 1), "ok running");
}

#[test]
fn a_slot_that_begins_meanwhile_is_paused_too() {
    let mut world = World::new("h[1-2]");
    let id = world.submit(flow([vec![job("h1")], vec![job("h2")]]));
    world.pause(id);
    world.ok("h1", id);
    assert_eq!(world.states(id, 2, 1), "waiting");
    assert_eq!(world.state(id), FlowState::Paused);
    world.restart_and_return();
    assert_eq!(world.states(id, 2, 1), "waiting");
    world.resume(id);
    assert_eq!(world.states(id, 2, 1), "running");
}

#[test]
fn a_paused_flow_may_end() {
    let mut world = World::new("h1");
    let id = world.submit(flow([vec![job("h1")]]));
    world.pause(id);
    world.ok("h1", id);
    assert_eq!(world.state(id), FlowState::Ok);
    assert_eq!(rejection(world.resume(id)), Rejection::UnknownFlow(id));
    assert_eq!(rejection(world.pause(FlowId(77))), Rejection::UnknownFlow(FlowId(77)));
}

#[test]
fn retries_wait_and_their_delay_goes_on() {
    let mut world = World::new("h1");
    let id = world.submit(flow([vec![job("h1").retries(1).retry_delay(60)]]));
    world.fail("h1", id);
    world.pause(id);
    world.pass(90);
    assert_eq!(world.states(id, 1, 1), "waiting");
    world.resume(id);
    assert_eq!(world.states(id, 1, 1), "running");
}

#[test]
fn patience_with_absent_players_goes_on() {
    let mut world = World::absent("h1");
    let id = world.submit(flow([vec![job("h1").give_up_after(60)]]));
    world.pause(id);
    world.pass(60);
    assert_eq!(world.state(id), FlowState::Failed);
    assert_eq!(world.states(id, 1, 1), "unreachable");
}

#[test]
fn a_paused_flow_keeps_nobody_else_back() {
    let mut world = World::new("h[1-2]");
    world.deploy(deployment(
        &[("app", "h[1-2]", Some(Quantity::Count(1)))],
        &[("all", "h[1-2]")],
        &[],
    ));
    let first = world.submit(flow([vec![job("h1")]]));
    let paused = world.submit(flow([vec![job("h2").score("alone")]]));
    let behind = world.submit(flow([vec![job("h2")]]));
    world.pause(paused);
    world.ok("h1", first);
    assert_eq!(world.states(paused, 1, 1), "waiting");
    assert_eq!(world.states(behind, 1, 1), "running");
    world.resume(paused);
    world.ok("h2", behind);
    assert_eq!(world.states(paused, 1, 1), "running");
}

#[test]
fn a_cancelled_flow_is_not_paused_and_a_paused_one_is_cancelled() {
    let mut world = World::new("h[1-2]");
    let id = world.submit(flow([vec![job("h[1-2]").parallel(1)]]));
    world.pause(id);
    world.player("h1").kills_slowly = true;
    world.cancel(id);
    assert_eq!(world.state(id), FlowState::Cancelling);
    assert_eq!(world.states(id, 1, 1), "running cancelled");
    assert_eq!(rejection(world.pause(id)), Rejection::Cancelling(id));
    world.ok("h1", id);
    assert_eq!(world.state(id), FlowState::Cancelled);
}

#[test]
fn doom_wins_over_pause() {
    let mut world = World::new("h[1-3]");
    let id = world.submit(flow([vec![job("h[1-3]").parallel(2)]]));
    world.pause(id);
    world.fail("h1", id);
    assert_eq!(world.state(id), FlowState::Doomed);
    world.ok("h2", id);
    assert_eq!(world.states(id, 1, 1), "failed ok skipped");
    assert_eq!(world.state(id), FlowState::Failed);
}

#[test]
fn a_crash_at_any_point_leaves_it_paused_or_not() {
    World::crash_at_each_point(
        || {
            let mut world = World::new("h[1-2]");
            world.submit(flow([vec![job("h[1-2]").parallel(1)]]));
            world
        },
        |world| world.pause_quietly(FlowId(1)),
        |world, kept| {
            world.ok("h1", FlowId(1));
            let expected = if kept == 0 { "ok running" } else { "ok waiting" };
            assert_eq!(world.states(FlowId(1), 1, 1), expected, "{kept} records");
        },
    );
}
