//! Cancel is durable, then sent until answered; a true end that came before the kill wins.

use orchestra_flow::{Answer, Command, Rejection, ReplyId, ReplyTo, answer};
use orchestra_model::{FlowId, FlowState, JobId, JobState, delivery::Outcome};

use crate::world::*;

fn state_of(answer: Answer) -> FlowState {
    match answer {
        Answer::Cancelled(answer::Cancelled { state, .. }) => state,
        answer => panic!("{answer:?}"),
    }
}

#[test]
fn what_runs_is_killed_and_what_waits_is_cancelled() {
    let mut world = World::new("h[1-2]");
    let spec = flow([vec![job("h[1-2]").parallel(1)], vec![job("h1").named("later")]]);
    let id = world.submit(spec);
    world.player("h1").kills_slowly = true;
    assert_eq!(state_of(world.cancel(id)), FlowState::Cancelling);
    assert_eq!(world.states(id, 1, 1), "running cancelled");
    assert_eq!(world.states(id, 2, 1), "cancelled");
    world.end("h1", id, &Outcome::Cancelled);
    assert_eq!(world.state(id), FlowState::Cancelled);
    assert_eq!(world.states(id, 1, 1), "cancelled cancelled");
    assert_eq!(world.job_state(id, 2, 1), JobState::Cancelled);
    let record = world.disk.flow(id).unwrap();
    assert_eq!(record.cancelled_by, Some(audience()));
    assert_eq!(record.cancel_reason.as_deref(), Some("it was wrong"));
}

#[test]
fn a_flow_that_only_waits_ends_at_once() {
    let mut world = World::absent("h[1-2]");
    let id = world.submit(flow([vec![job("h[1-2]")]]));
    assert_eq!(state_of(world.cancel(id)), FlowState::Cancelled);
    assert_eq!(world.states(id, 1, 1), "cancelled cancelled");
    world.attach("h1");
    assert!(world.starts.is_empty());
}

#[test]
fn a_true_end_wins() {
    for (outcome, word) in [
        (Outcome::Exited(0), "ok"),
        (Outcome::Exited(1), "failed"),
        (Outcome::TimedOut, "timed-out"),
    ] {
        let mut world = World::new("h1");
        let id = world.submit(flow([vec![job("h1").retries(3)]]));
        world.player("h1").kills_slowly = true;
        world.cancel(id);
        world.end("h1", id, &outcome);
        assert_eq!(world.states(id, 1, 1), word);
        assert_eq!(world.job_state(id, 1, 1), JobState::Cancelled);
        assert_eq!(world.state(id), FlowState::Cancelled);
        assert_eq!(world.starts.len(), 1, "a cancelled flow retries nothing");
    }
}

#[test]
fn it_waits_for_players_that_are_away() {
    let mut world = World::new("h1");
    let id = world.submit(flow([vec![job("h1")]]));
    world.detach("h1");
    assert_eq!(state_of(world.cancel(id)), FlowState::Cancelling);
    world.attach("h1");
    assert_eq!(world.state(id), FlowState::Cancelled);
    assert_eq!(world.states(id, 1, 1), "cancelled");
}

#[test]
fn a_cancel_that_comes_before_the_order_stops_it() {
    let mut world = World::new("h1");
    world.immediate = false;
    let submission = world.submission(flow([vec![job("h1")]]));
    world.input(submitted(submission));
    // The order is written, and lost with the connection.
    world.perform();
    assert!(matches!(commands(&mut world, "h1")[..], [Command::Order(_)]));
    world.detach("h1");
    world.immediate = true;
    let id = FlowId(1);
    assert_eq!(state_of(world.cancel(id)), FlowState::Cancelling);
    world.attach("h1");
    assert_eq!(world.state(id), FlowState::Cancelled);
    assert!(world.starts.is_empty());
    assert!(world.player("h1").settled().is_empty());
}

#[test]
fn cancelling_twice_is_cancelling_once() {
    let mut world = World::new("h1");
    let id = world.submit(flow([vec![job("h1")]]));
    world.detach("h1");
    world.cancel(id);
    let written = world.disk.written;
    assert_eq!(state_of(world.cancel(id)), FlowState::Cancelling);
    assert_eq!(world.disk.written, written);
    world.attach("h1");
    // The flow has left the engine; the store knows how it ended.
    assert_eq!(rejection(world.cancel(id)), Rejection::UnknownFlow(id));
    assert_eq!(rejection(world.cancel(FlowId(77))), Rejection::UnknownFlow(FlowId(77)));
}

#[test]
fn a_refusal_of_a_cancelled_attempt_is_its_cancellation() {
    let mut world = World::new("h1");
    world.immediate = false;
    let submission = world.submission(flow([vec![job("h1").score("nonsense")]]));
    world.input(submitted(submission));
    world.perform();
    world.immediate = true;
    world.cancel(FlowId(1));
    assert_eq!(world.state(FlowId(1)), FlowState::Cancelled);
    assert_eq!(world.states(FlowId(1), 1, 1), "cancelled");
}

#[test]
fn an_end_that_crosses_the_cancel_stays_an_end() {
    let mut world = World::new("h1");
    let id = world.submit(flow([vec![job("h1")]]));
    let key = world.running("h1", id)[0];
    // The end is on its way while the cancel is; the player answers the cancel by repeating it.
    world.immediate = false;
    world.player("h1").end(key, &Outcome::Exited(0));
    world.drain("h1");
    world.cancel(id);
    world.perform();
    world.deliver_down("h1");
    world.immediate = true;
    world.flow_through();
    assert_eq!(world.states(id, 1, 1), "ok");
    let end = world.disk.end(JobId { flow: id, slot: 1, job: 1 }, "h1", 1).unwrap();
    assert!(!end.late, "the end that was awaited is not made a note of");
}

#[test]
fn a_cancel_survives_a_restart_at_any_point_of_its_batch() {
    for kept in 0.. {
        let mut world = World::new("h[1-3]");
        let spec = flow([vec![job("h[1-2]"), job("h3").parallel(1)], vec![job("h1").named("z")]]);
        let id = world.submit(spec);
        world.immediate = false;
        world.engine.handle(
            world.now,
            orchestra_flow::Input::CancelRequested {
                reply: ReplyTo::new(ReplyId(9)),
                flow: id,
                by: audience(),
                reason: None,
                abandon: false,
            },
        );
        world.pending.extend(world.engine.effects().collect::<Vec<_>>());
        let asked = world.asked_to_write().len();
        world.immediate = true;
        world.forget_finals();
        world.crash_keeping(kept);
        let cancelled = world.status(id).unwrap().cancelled_by.is_some();
        assert_eq!(cancelled, kept > 0, "who cancelled is the first thing written");
        for name in ["h1", "h2", "h3"] {
            world.attach(name);
        }
        if cancelled {
            assert_eq!(world.state(id), FlowState::Cancelled);
            assert_eq!(world.states(id, 1, 1), "cancelled cancelled");
            assert_eq!(world.states(id, 2, 1), "cancelled");
        } else {
            assert_eq!(world.state(id), FlowState::Running);
        }
        if kept > asked {
            break;
        }
    }
}
