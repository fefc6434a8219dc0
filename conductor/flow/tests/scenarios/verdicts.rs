//! Thresholds, doom, verdicts, and what they let follow.

use orchestra_model::{FlowState, JobState, WaitReason};

use crate::world::*;

#[test]
fn the_next_slot_starts_only_when_every_job_of_this_one_is_ok() {
    let mut world = World::new("h[1-3]");
    let id = world.submit(flow([vec![job("h1"), job("h2")], vec![job("h3")]]));
    assert_eq!(world.running_hosts(id), "h[1-2]");
    assert_eq!(world.tasks(id, 2, 1)[0].reason, Some(WaitReason::Slot));
    world.ok("h1", id);
    assert_eq!(world.running_hosts(id), "h2");
    world.ok("h2", id);
    assert_eq!(world.running_hosts(id), "h3");
    world.ok("h3", id);
    assert_eq!(world.state(id), FlowState::Ok);
}

#[test]
fn a_failed_job_lets_its_neighbours_finish_and_skips_later_slots() {
    let mut world = World::new("h[1-3]");
    let id = world.submit(flow([vec![job("h1"), job("h2")], vec![job("h3")]]));
    world.fail("h1", id);
    assert_eq!(world.state(id), FlowState::Doomed);
    assert_eq!(world.running_hosts(id), "h2");
    world.ok("h2", id);
    assert_eq!(world.state(id), FlowState::Failed);
    assert_eq!(world.job_state(id, 1, 1), JobState::Failed);
    assert_eq!(world.job_state(id, 1, 2), JobState::Ok);
    assert_eq!(world.job_state(id, 2, 1), JobState::Skipped);
    assert_eq!(world.states(id, 2, 1), "skipped");
    assert!(world.starts.keys().all(|(name, _)| name.as_str() != "h3"));
}

#[test]
fn enough_successes_are_enough() {
    let mut world = World::new("h[1-4]");
    let id = world.submit(flow([vec![job("h[1-4]").success(3)]]));
    world.fail("h1", id);
    assert_eq!(world.state(id), FlowState::Running);
    for name in ["h2", "h3", "h4"] {
        world.ok(name, id);
    }
    assert_eq!(world.state(id), FlowState::Ok);
    assert_eq!(world.states(id, 1, 1), "failed ok ok ok");
}

#[test]
fn success_in_percent_rounds_up() {
    let mut world = World::new("h[1-9]");
    let eighty = orchestra_model::Quantity::Percent(80);
    let spec = orchestra_model::flow::JobSpec { success: Some(eighty), ..job("h[1-9]") };
    let id = world.submit(flow([vec![spec]]));
    for name in ["h1", "h2"] {
        world.fail(name, id);
    }
    // 77.8 % of 9 are not 80 %.
    assert_eq!(world.state(id), FlowState::Doomed);
    for n in 3..=9 {
        world.ok(&format!("h{n}"), id);
    }
    assert_eq!(world.job_state(id, 1, 1), JobState::Partial);
}

#[test]
fn a_doomed_job_starts_nothing_and_skips_only_once_nothing_is_in_flight() {
    let mut world = World::new("h[1-5]");
    let id = world.submit(flow([vec![job("h[1-5]").parallel(2)]]));
    world.fail("h1", id);
    assert_eq!(world.state(id), FlowState::Doomed);
    assert_eq!(world.running_hosts(id), "h2");
    assert_eq!(world.states(id, 1, 1), "failed running waiting waiting waiting");
    assert_eq!(world.tasks(id, 1, 1)[2].reason, Some(WaitReason::Doomed));
    world.ok("h2", id);
    assert_eq!(world.state(id), FlowState::Failed);
    assert_eq!(world.states(id, 1, 1), "failed ok skipped skipped skipped");
    assert_eq!(world.job_state(id, 1, 1), JobState::Partial);
}

#[test]
fn one_failure_more_than_tolerated_dooms() {
    let mut world = World::new("h[1-6]");
    let id = world.submit(flow([vec![job("h[1-6]").parallel(1).success(1).max_failures(1)]]));
    world.ok("h1", id);
    world.fail("h2", id);
    assert_eq!(world.state(id), FlowState::Running);
    world.fail("h3", id);
    assert_eq!(world.state(id), FlowState::Failed);
    assert_eq!(world.states(id, 1, 1), "ok failed failed skipped skipped skipped");
    assert_eq!(world.job_state(id, 1, 1), JobState::Partial);
}

#[test]
fn nothing_succeeded_is_failed() {
    let mut world = World::new("h[1-2]");
    let id = world.submit(flow([vec![job("h[1-2]")]]));
    world.fail("h1", id);
    world.fail("h2", id);
    assert_eq!(world.job_state(id, 1, 1), JobState::Failed);
    assert_eq!(world.state(id), FlowState::Failed);
}

#[test]
fn refused_counts_as_a_failure() {
    let mut world = World::new("h[1-2]");
    let id = world.submit(flow([vec![job("h[1-2]").score("nonsense").success(1).max_failures(1)]]));
    assert_eq!(world.states(id, 1, 1), "refused refused");
    assert_eq!(world.job_state(id, 1, 1), JobState::Failed);
    assert!(world.player("h1").settled().is_empty(), "refusals are acknowledged");
}

#[test]
fn tasks_closed_by_doom_leave_no_trace_in_queues() {
    let mut world = World::new("h[1-3]");
    world.detach("h3");
    let doomed = vec![job("h[1,3]").named("doomed").parallel(1)];
    let id = world.submit(flow([[doomed, vec![job("h2").named("long")]].concat()]));
    world.fail("h1", id);
    assert_eq!(world.job_state(id, 1, 1), JobState::Failed);
    assert_eq!(world.states(id, 1, 1), "failed skipped");
    world.attach("h3");
    assert_eq!(world.running_hosts(id), "h2");
    world.ok("h2", id);
    assert_eq!(world.state(id), FlowState::Failed);
}
