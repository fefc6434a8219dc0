//! What limits come to: resolved once, at submission, and never without effect.

use orchestra_flow::Rejection;
use orchestra_model::{
    FlowState, JobId, JobName, JobState, Quantity,
    flow::JobSpec,
    thresholds::{AboveHosts, Thresholds},
};

use crate::world::*;

#[test]
fn max_failures_alone_tolerates_what_it_says() {
    for (most, fails, state) in [
        (Quantity::Count(1), 1, JobState::Ok),
        (Quantity::Count(1), 2, JobState::Partial),
        (Quantity::Count(0), 1, JobState::Partial),
        (Quantity::Percent(50), 2, JobState::Ok),
        (Quantity::Percent(49), 2, JobState::Partial),
        (Quantity::Percent(100), 4, JobState::Ok),
    ] {
        let mut world = World::new("h[1-4]");
        let spec = JobSpec { max_failures: Some(most), ..job("h[1-4]") };
        let id = world.submit(flow([vec![spec]]));
        for n in 1..=fails {
            world.fail(&format!("h{n}"), id);
        }
        for n in fails + 1..=4 {
            world.ok(&format!("h{n}"), id);
        }
        assert_eq!(world.job_state(id, 1, 1), state, "{fails} failures, {most} tolerated");
    }
}

#[test]
fn a_failure_counts_once_its_retries_are_used_up() {
    let mut world = World::new("h[1-3]");
    let id = world.submit(flow([vec![job("h[1-3]").retries(1).max_failures(1)]]));
    for name in ["h1", "h2", "h3"] {
        world.fail(name, id);
    }
    assert_eq!(world.state(id), FlowState::Running, "all have a further attempt");
    world.fail("h1", id);
    assert_eq!(world.state(id), FlowState::Running);
    world.ok("h2", id);
    world.ok("h3", id);
    assert_eq!(world.state(id), FlowState::Ok);
}

#[test]
fn unreachable_hosts_deny_success_and_are_no_failures() {
    let mut world = World::new("h[1-4]");
    world.detach("h4");
    world.detach("h3");
    let id = world.submit(flow([vec![job("h[1-4]").max_failures(1).give_up_after(60)]]));
    world.ok("h1", id);
    world.ok("h2", id);
    world.pass(61);
    assert_eq!(world.states(id, 1, 1), "ok ok unreachable unreachable");
    assert_eq!(world.job_state(id, 1, 1), JobState::Partial, "3 of 4 have to be ok");
}

#[test]
fn absent_hosts_are_given_up_once_enough_are_ok() {
    let mut world = World::new("h[1-4]");
    world.detach("h4");
    let id = world.submit(flow([vec![job("h[1-4]").max_failures(1)]]));
    world.ok("h1", id);
    world.ok("h2", id);
    assert_eq!(world.state(id), FlowState::Running);
    world.ok("h3", id);
    assert_eq!(world.states(id, 1, 1), "ok ok ok unreachable");
    assert_eq!(world.state(id), FlowState::Ok);
}

#[test]
fn both_given_both_hold() {
    let mut world = World::new("h[1-4]");
    let id = world.submit(flow([vec![job("h[1-4]").success(2).max_failures(1)]]));
    world.fail("h1", id);
    world.ok("h2", id);
    world.ok("h3", id);
    world.fail("h4", id);
    assert_eq!(world.job_state(id, 1, 1), JobState::Partial, "two failed, one is tolerated");
}

#[test]
fn counts_above_the_hosts_are_rejected_and_capped_in_a_retry() {
    for (limit, spec) in [
        ("success", job("h[1-2]").success(5)),
        ("max_failures", job("h[1-2]").max_failures(5)),
        ("quorum", job("h[1-2]").quorum(5)),
        ("canary", job("h[1-2]").canary(5)),
        ("quorum", job("h[1-2]").one_of().quorum(5)),
    ] {
        let mut world = World::new("h[1-2]");
        let written = world.disk.written;
        let answer = world.try_submit(flow([vec![spec.clone()]]));
        let above = AboveHosts { limit, count: 5, hosts: 2 };
        let expected = Rejection::AboveHosts(JobName::new("h12").unwrap(), above);
        assert_eq!(rejection(answer), expected, "{limit}");
        assert_eq!(world.disk.written, written);

        let ended = world.submit(flow([vec![job("h[1-2]")]]));
        world.ok("h1", ended);
        world.fail("h2", ended);
        let retry = world.submit_retry(flow([vec![spec]]), ended);
        let resolved = world.disk.job(JobId { flow: retry, slot: 1, job: 1 }).thresholds.clone();
        let resolved = *resolved.unwrap();
        let Thresholds { needed, tolerated, quorum, canary, .. } = resolved;
        assert!([needed, tolerated, quorum, canary].iter().all(|n| *n <= 2), "{resolved:?}");
    }
}

#[test]
fn what_limits_came_to_is_kept_and_a_job_of_the_first_release_keeps_its_meaning() {
    for forgotten in [false, true] {
        let mut world = World::new("h[1-4]");
        let id = world.submit(flow([vec![job("h[1-4]").max_failures(1).parallel(1)]]));
        let first = JobId { flow: id, slot: 1, job: 1 };
        let kept = world.disk.job(first).thresholds.clone().unwrap();
        assert_eq!((kept.needed, kept.tolerated, kept.window), (3, 1, 1));
        if forgotten {
            world.disk.forget_thresholds();
        }
        world.restart_and_return();
        world.fail("h1", id);
        // All had to succeed then, whatever `max_failures` said.
        let (state, states) = match forgotten {
            true => (FlowState::Failed, "failed skipped skipped skipped"),
            false => (FlowState::Running, "failed running waiting waiting"),
        };
        assert_eq!((world.state(id), &*world.states(id, 1, 1)), (state, states));
        let kept = world.disk.job(first).thresholds.clone().unwrap();
        assert_eq!(kept.needed, if forgotten { 4 } else { 3 }, "it is kept from now on");
    }
}

#[test]
fn no_host_has_to_succeed() {
    let mut world = World::new("h[1-2]");
    let id = world.submit(flow([vec![job("h[1-2]").success(0)], vec![job("h1").named("then")]]));
    world.fail("h1", id);
    world.fail("h2", id);
    assert_eq!(world.job_state(id, 1, 1), JobState::Ok);
    world.ok("h1", id);
    assert_eq!(world.state(id), FlowState::Ok);
    assert_eq!(world.states(id, 1, 1), "failed failed");
}
