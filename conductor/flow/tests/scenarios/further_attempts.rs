//! `retry_delay`, and retries that operators ask for: further attempts in a living flow, and a new flow
//! for what an ended one left.

use orchestra_flow::{Answer, Rejection, ReplyId, ReplyTo, answer};
use orchestra_model::{
    FlowId, FlowState, JobId, JobState, Quantity, WaitReason, delivery::Outcome,
};

use crate::world::*;

fn first_job(flow: FlowId) -> JobId {
    JobId { flow, slot: 1, job: 1 }
}

#[test]
fn a_further_attempt_comes_after_its_delay() {
    let mut world = World::new("h[1-2]");
    let id = world.submit(flow([vec![job("h[1-2]").retries(1).retry_delay(60)]]));
    world.fail("h1", id);
    assert_eq!(world.tasks(id, 1, 1)[0].reason, Some(WaitReason::RetryDelay));
    world.pass(59);
    assert_eq!(world.states(id, 1, 1), "waiting running");
    world.pass(1);
    assert_eq!(world.states(id, 1, 1), "running running");
    assert_eq!(world.tasks(id, 1, 1)[0].attempt, 2);
}

#[test]
fn who_pauses_takes_no_room_in_the_window() {
    let mut world = World::new("h[1-2]");
    let id = world.submit(flow([vec![job("h[1-2]").parallel(1).retries(1).retry_delay(60)]]));
    world.fail("h1", id);
    assert_eq!(world.states(id, 1, 1), "waiting running");
    world.pass(60);
    assert_eq!(world.states(id, 1, 1), "waiting running");
    world.ok("h2", id);
    assert_eq!(world.states(id, 1, 1), "running ok");
}

#[test]
fn the_delay_goes_on_over_a_restart() {
    let mut world = World::new("h1");
    let id = world.submit(flow([vec![job("h1").retries(1).retry_delay(60)]]));
    world.fail("h1", id);
    world.pass(40);
    world.restart_and_return();
    world.pass(19);
    assert_eq!(world.states(id, 1, 1), "waiting");
    world.pass(1);
    assert_eq!(world.states(id, 1, 1), "running");
}

#[test]
fn doom_and_cancel_end_what_pauses() {
    let mut world = World::new("h[1-2]");
    let spec = job("h[1-2]").retries(1).retry_delay(600).max_failures(0);
    let id = world.submit(flow([vec![spec.clone()]]));
    world.fail("h1", id);
    world.end("h2", id, &Outcome::Lost(String::new()));
    assert_eq!(world.states(id, 1, 1), "failed lost");
    let id = world.submit(flow([vec![spec]]));
    world.fail("h1", id);
    world.ok("h2", id);
    world.cancel(id);
    assert_eq!(world.states(id, 1, 1), "cancelled ok");
    world.pass(1_000);
    assert_eq!(world.state(id), FlowState::Cancelled);
}

#[test]
fn an_operator_gives_living_tasks_further_attempts() {
    let mut world = World::new("h[1-4]");
    let id = world.submit(flow([vec![job("h[1-4]").success(2)]]));
    world.fail("h1", id);
    world.end("h2", id, &Outcome::Lost(String::new()));
    assert_eq!(world.retry(id), Answer::Retried(answer::Retried { flow: id, tasks: 2 }));
    assert_eq!(world.states(id, 1, 1), "running running running running");
    assert_eq!(world.tasks(id, 1, 1)[0].attempt, 2);
    for name in ["h1", "h2", "h3", "h4"] {
        world.ok(name, id);
    }
    assert_eq!(world.state(id), FlowState::Ok);
    assert!(world.disk.holds.is_empty());
    // Both ends are kept.
    assert!(world.disk.end(first_job(id), "h1", 1).is_some());
    assert!(world.disk.end(first_job(id), "h1", 2).is_some());
}

#[test]
fn only_those_named_and_with_all_the_retries_of_their_job() {
    let mut world = World::new("h[1-4]");
    let id = world.submit(flow([vec![job("h[1-3]").success(1).retries(1), job("h4")]]));
    for _attempt in 1..=2 {
        world.fail("h1", id);
        world.fail("h2", id);
    }
    let named = Some(first_job(id));
    assert_eq!(
        world.retry_on(id, named, "h[2-4]"),
        Answer::Retried(answer::Retried { flow: id, tasks: 1 })
    );
    assert_eq!(world.states(id, 1, 1), "failed running running");
    world.fail("h2", id);
    assert_eq!(world.states(id, 1, 1), "failed running running", "it has its extra attempt again");
    world.fail("h2", id);
    assert_eq!(world.states(id, 1, 1), "failed failed running");
    let other = Some(JobId { job: 2, ..first_job(id) });
    assert_eq!(
        rejection(world.retry_on(id, other, "h[1-4]")),
        Rejection::NothingToRetry(id),
        "what has not ended is not retried"
    );
}

#[test]
fn what_is_retried_survives_a_crash_at_any_point() {
    World::crash_at_each_point(
        || {
            let mut world = World::new("h[1-3]");
            let id = world.submit(flow([vec![job("h[1-3]").success(1)]]));
            world.fail("h1", id);
            world.fail("h2", id);
            world
        },
        |world| {
            world.disk.may_retry = true;
            world.input(orchestra_flow::Input::RetryRequested {
                reply: ReplyTo::new(ReplyId(0)),
                flow: FlowId(1),
                job: None,
                hosts: None,
            });
            world.work();
        },
        |world, kept| {
            let states = world.states(FlowId(1), 1, 1);
            // A prefix of what was asked for.
            let expected = ["failed failed running", "running failed running"];
            let all = "running running running";
            assert!(expected.contains(&&*states) || states == all, "{kept} records: {states}");
            assert_eq!(world.down(), "h[1-2]", "they are down until something succeeds");
            for name in ["h1", "h2", "h3"] {
                if !world.running(name, FlowId(1)).is_empty() {
                    world.ok(name, FlowId(1));
                }
            }
            assert_eq!(world.state(FlowId(1)), FlowState::Ok);
        },
    );
}

#[test]
fn a_doomed_job_goes_on_if_its_failures_are_retried_in_time() {
    let mut world = World::new("h[1-3]");
    let id = world.submit(flow([vec![job("h[1-3]").parallel(2)]]));
    world.fail("h1", id);
    assert_eq!(world.state(id), FlowState::Doomed);
    world.retry(id);
    assert_eq!(world.state(id), FlowState::Running);
    assert_eq!(world.states(id, 1, 1), "running running waiting");
    for name in ["h1", "h2", "h3"] {
        world.ok(name, id);
    }
    assert_eq!(world.state(id), FlowState::Ok);
}

#[test]
fn on_doomed_cancel_kills_what_runs_and_a_retry_brings_it_back() {
    let mut world = World::new("h[1-3]");
    let id = world.submit(flow([vec![job("h[1-3]").cancel_on_doomed()]]));
    for name in ["h2", "h3"] {
        world.player(name).kills_slowly = true;
    }
    world.fail("h1", id);
    assert_eq!(world.state(id), FlowState::Doomed);
    world.end("h2", id, &Outcome::Cancelled);
    assert_eq!(world.states(id, 1, 1), "failed cancelled running");
    assert_eq!(world.down(), "h[1-2]");
    assert_eq!(world.retry(id), Answer::Retried(answer::Retried { flow: id, tasks: 2 }));
    assert_eq!(world.states(id, 1, 1), "running running running");
    assert_eq!(world.state(id), FlowState::Running);
    // A true end that came before the kill wins.
    for name in ["h1", "h2", "h3"] {
        world.ok(name, id);
    }
    assert_eq!(world.state(id), FlowState::Ok);
}

#[test]
fn on_doomed_finish_lets_it_run_and_cancel_reaches_who_was_away() {
    let mut world = World::new("h[1-2]");
    let id = world.submit(flow([vec![job("h[1-2]")]]));
    world.fail("h1", id);
    assert_eq!(world.states(id, 1, 1), "failed running");
    world.ok("h2", id);
    assert_eq!(world.states(id, 1, 1), "failed ok");
    let id = world.submit(flow([vec![job("h[1-2]").cancel_on_doomed()]]));
    world.detach("h2");
    world.fail("h1", id);
    world.restart_and_return();
    assert_eq!(world.states(id, 1, 1), "failed sent");
    world.attach("h2");
    assert_eq!(world.states(id, 1, 1), "failed cancelled");
    assert_eq!(world.job_state(id, 1, 1), JobState::Failed);
}

#[test]
fn what_nobody_can_retry_is_refused() {
    let mut world = World::new("h[1-2]");
    let id = world.submit(flow([vec![job("h1"), job("h2")]]));
    assert_eq!(rejection(world.retry(id)), Rejection::NothingToRetry(id));
    world.fail("h1", id);
    // Its job has ended: it stays as it ended.
    assert_eq!(rejection(world.retry(id)), Rejection::NothingToRetry(id));
    world.player("h2").kills_slowly = true;
    world.cancel(id);
    assert_eq!(rejection(world.retry(id)), Rejection::Cancelling(id));
    world.ok("h2", id);
    assert_eq!(rejection(world.retry(id)), Rejection::UnknownFlow(id));
}

#[test]
fn one_of_is_retried_on_the_player_where_it_failed() {
    let mut world = World::new("h[1-3]");
    let one = job("h[1-2]").one_of().retries(1);
    let id = world.submit(flow([vec![one, job("h3")]]));
    world.fail("h1", id);
    world.restart_and_return();
    assert_eq!(world.running_hosts(id), "h[1,3]");
}

#[test]
fn a_new_flow_takes_over_what_an_ended_one_left_down() {
    let mut world = World::new("h[1-4]");
    let one = Some(Quantity::Count(1));
    world.deploy(deployment(&[("app", "h[1-4]", one)], &[("all", "h[1-4]")], &[]));
    let id = world.submit(flow([vec![job("h[1-2]")], vec![job("h[3-4]").named("then")]]));
    world.ok("h1", id);
    world.fail("h2", id);
    assert_eq!(world.state(id), FlowState::Failed);
    let rest = flow([vec![job("h2").success(1)], vec![job("h[3-4]").named("then")]]);
    let again = world.submit_retry(rest, id);
    assert_eq!(world.status(again).unwrap().retry_of, Some(id));
    assert_eq!(world.disk.holds[&host("h2")].job.flow, again);
    world.restart_and_return();
    assert_eq!(world.running_hosts(again), "h2");
    world.ok("h2", again);
    assert_eq!(world.running_hosts(again), "h3");
    world.ok("h3", again);
    world.ok("h4", again);
    assert_eq!(world.state(again), FlowState::Ok);
    assert_eq!(world.state(id), FlowState::Failed, "what ended stays as it ended");
    assert!(world.disk.holds.is_empty());
}

#[test]
fn no_crash_while_a_new_flow_takes_over_forgets_who_is_down() {
    World::crash_at_each_point(
        || {
            let mut world = World::new("h[1-2]");
            let id = world.submit(flow([vec![job("h[1-2]")]]));
            world.fail("h1", id);
            world.fail("h2", id);
            world
        },
        |world| {
            let mut submission = world.submission(flow([vec![job("h[1-2]").parallel(1)]]));
            submission.retry_of = Some(FlowId(1));
            world.input(submitted(submission));
            world.work();
        },
        |world, kept| {
            assert_eq!(world.down(), "h[1-2]", "{kept} records");
            assert_eq!(world.disk.holds.len(), 2, "{kept} records");
        },
    );
}
