//! `retries` are extra attempts after `failed` or `timed-out`, never after `lost`.

use orchestra_model::{FlowState, JobId, JobState, delivery::Outcome};

use crate::world::*;

#[test]
fn a_failed_task_is_tried_again() {
    let mut world = World::new("h1");
    let id = world.submit(flow([vec![job("h1").retries(2)]]));
    world.fail("h1", id);
    world.end("h1", id, &Outcome::TimedOut);
    assert_eq!(world.tasks(id, 1, 1)[0].attempt, 3);
    world.ok("h1", id);
    assert_eq!(world.state(id), FlowState::Ok);
    let job = JobId { flow: id, slot: 1, job: 1 };
    for attempt in 1..=3 {
        assert!(!world.disk.end(job, "h1", attempt).unwrap().late);
    }
}

#[test]
fn retries_are_extra_attempts() {
    let mut world = World::new("h1");
    let id = world.submit(flow([vec![job("h1").retries(1)]]));
    world.fail("h1", id);
    world.fail("h1", id);
    assert_eq!(world.state(id), FlowState::Failed);
    assert_eq!(world.starts.len(), 2);
    let id = world.submit(flow([vec![job("h1")]]));
    world.fail("h1", id);
    assert_eq!(world.state(id), FlowState::Failed, "0 retries are one attempt");
}

#[test]
fn what_was_lost_is_never_tried_again() {
    let mut world = World::new("h1");
    let id = world.submit(flow([vec![job("h1").retries(5)]]));
    world.end("h1", id, &Outcome::Lost("?".to_owned()));
    assert_eq!(world.state(id), FlowState::Failed);
    assert_eq!(world.states(id, 1, 1), "lost");
    assert_eq!(world.starts.len(), 1);
}

#[test]
fn a_retry_that_doom_forbids_ends_as_its_last_attempt_did() {
    let mut world = World::new("h[1-3]");
    let spec = job("h[1-3]").parallel(2).retries(1).success(1).max_failures(0);
    let id = world.submit(flow([vec![spec]]));
    // h1 has to wait for its second attempt; h2 fails for good.
    world.player("h1").takes(1);
    world.attach("h1");
    world.detach("h1");
    world.fail("h2", id);
    world.fail("h2", id);
    assert_eq!(world.state(id), FlowState::Doomed);
    world.attach("h1");
    world.fail("h1", id);
    assert_eq!(world.states(id, 1, 1), "failed failed skipped");
    assert_eq!(world.starts.len(), 3);
}

#[test]
fn a_waiting_retry_closed_by_doom_ends_failed_not_skipped() {
    for outcome in [Outcome::Exited(3), Outcome::Signalled(9), Outcome::TimedOut] {
        let mut world = World::new("h[1-3]");
        world.player("h3").takes(1);
        world.attach("h3");
        let spec = job("h[1-3]").retries(1).max_failures(0);
        let id = world.submit(flow([vec![spec]]));
        let other = world.submit(flow([vec![job("h3")]]));
        world.end("h3", id, &outcome);
        assert_eq!(world.running_hosts(other), "h3", "the retry waits behind another flow");
        world.fail("h1", id);
        world.fail("h1", id);
        world.ok("h2", id);
        let word = if outcome == Outcome::TimedOut { "timed-out" } else { "failed" };
        assert_eq!(world.states(id, 1, 1), format!("failed ok {word}"));
        assert_eq!(world.job_state(id, 1, 1), JobState::Partial);
    }
}

#[test]
fn a_retry_that_the_player_was_too_busy_for_ends_as_the_attempt_before() {
    let mut world = World::new("h[1-2]");
    let id = world.submit(flow([vec![job("h[1-2]").retries(1).max_failures(0)]]));
    world.player("h1").stopping = true;
    world.end("h1", id, &Outcome::Exited(7));
    // The second attempt was refused; the first one stays the last that ended.
    let task = &world.tasks(id, 1, 1)[0];
    assert_eq!((task.attempt, task.exit), (2, Some(7)));
    world.fail("h2", id);
    world.fail("h2", id);
    assert_eq!(world.states(id, 1, 1), "failed failed");
    let record = world.disk.task(JobId { flow: id, slot: 1, job: 1 }, 0).unwrap();
    assert_eq!(record.exit, Some(7));
}

#[test]
fn a_retry_survives_a_restart() {
    let mut world = World::new("h1");
    let id = world.submit(flow([vec![job("h1").retries(1)]]));
    world.fail("h1", id);
    world.restart_and_return();
    world.fail("h1", id);
    assert_eq!(world.state(id), FlowState::Failed);
    assert_eq!(world.starts.len(), 2);
}
