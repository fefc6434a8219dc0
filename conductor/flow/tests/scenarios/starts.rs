//! Flows that begin at a moment, or after another flow.

use orchestra_flow::{Answer, Rejection, answer};
use orchestra_model::{
    FlowId, FlowState, JobState, Millis, Quantity, Timestamp, WaitReason,
    flow::FlowSpec,
    start::{After, NeededEnd, Start},
};

use crate::world::*;

fn after(other: FlowId, end: NeededEnd, spec: FlowSpec) -> FlowSpec {
    FlowSpec { start: Start { after: Some(After { flow: other, end }), ..spec.start }, ..spec }
}

fn after_ok(other: FlowId, spec: FlowSpec) -> FlowSpec {
    after(other, NeededEnd::Ok, spec)
}

/// A flow that begins so many seconds from now.
fn in_seconds(world: &World, seconds: u64, spec: FlowSpec) -> FlowSpec {
    let at = Some(world.now.after(Millis::seconds(seconds)));
    FlowSpec { start: Start { at, ..spec.start }, ..spec }
}

fn on(targets: &str) -> FlowSpec {
    flow([vec![job(targets)]])
}

#[test]
fn a_flow_begins_at_its_moment_and_not_before() {
    let mut world = World::new("h1");
    let spec = in_seconds(&world, 3_600, flow([vec![job("h1")], vec![job("h1").named("then")]]));
    let id = world.submit(spec);
    assert_eq!(
        (world.state(id), world.job_state(id, 1, 1)),
        (FlowState::Pending, JobState::Pending)
    );
    assert_eq!(world.tasks(id, 1, 1)[0].reason, Some(WaitReason::Start));
    assert_eq!(world.tasks(id, 2, 1)[0].reason, Some(WaitReason::Slot));
    world.pass(3_599);
    assert_eq!((world.state(id), world.running_hosts(id)), (FlowState::Pending, String::new()));
    world.pass(1);
    assert_eq!((world.state(id), world.running_hosts(id)), (FlowState::Running, "h1".into()));
    assert_eq!(world.status(id).unwrap().slots[0][0].started_at, Some(world.now));
}

#[test]
fn a_moment_that_has_passed_is_no_wait() {
    let mut world = World::new("h1");
    let id =
        world.submit(FlowSpec { start: Start { at: Some(Timestamp(1)), after: None }, ..on("h1") });
    assert_eq!(world.state(id), FlowState::Running);
}

#[test]
fn a_flow_begins_when_the_other_one_has_ended_ok() {
    let mut world = World::new("h[1-2]");
    let first = world.submit(on("h1"));
    let then = world.submit(after_ok(first, on("h2")));
    assert_eq!((world.state(then), world.running_hosts(then)), (FlowState::Pending, String::new()));
    world.ok("h1", first);
    assert_eq!((world.state(then), world.running_hosts(then)), (FlowState::Running, "h2".into()));
    let awaited = world.status(then).unwrap().start.unwrap();
    assert_eq!(awaited.ended, Some(FlowState::Ok));
}

#[test]
fn after_one_that_fails_all_is_skipped_and_the_verdict_is_failed() {
    let mut world = World::new("h[1-2]");
    let first = world.submit(on("h1"));
    let then = world.submit(after_ok(first, flow([vec![job("h2")], vec![job("h1")]])));
    let last = world.submit(after_ok(then, on("h2")));
    let ended = world.submit(after(then, NeededEnd::Ended, on("h2")));
    world.fail("h1", first);
    assert_eq!((world.state(first), world.state(then)), (FlowState::Failed, FlowState::Failed));
    assert_eq!(
        (world.states(then, 1, 1), world.states(then, 2, 1)),
        ("skipped".into(), "skipped".into())
    );
    assert_eq!(world.job_state(then, 1, 1), JobState::Skipped);
    // What comes after it is decided in the same breath.
    assert_eq!(
        (world.state(last), world.states(last, 1, 1)),
        (FlowState::Failed, "skipped".into())
    );
    assert_eq!((world.state(ended), world.running_hosts(ended)), (FlowState::Running, "h2".into()));
    assert_eq!(world.disk.flow(then).unwrap().predecessor, Some(FlowState::Failed));
}

#[test]
fn any_end_will_do_where_that_is_said() {
    let ends: [fn(&mut World, FlowId); 3] = [
        |world, id| world.ok("h1", id),
        |world, id| world.fail("h1", id),
        |world, id| drop(world.cancel(id)),
    ];
    for end in ends {
        let mut world = World::new("h[1-2]");
        let first = world.submit(on("h1"));
        let then = world.submit(after(first, NeededEnd::Ended, on("h2")));
        assert_eq!(world.state(then), FlowState::Pending);
        end(&mut world, first);
        assert_eq!(world.state(then), FlowState::Running);
    }
}

#[test]
fn a_flow_that_has_ended_already_is_no_wait() {
    let mut world = World::new("h[1-2]");
    let (good, bad) = (world.submit(on("h1")), world.submit(on("h2")));
    world.ok("h1", good);
    world.fail("h2", bad);
    let begins = world.submit(after_ok(good, on("h1")));
    assert_eq!(world.state(begins), FlowState::Running);
    let never = world.submit(after_ok(bad, on("h2")));
    assert_eq!(
        (world.state(never), world.states(never, 1, 1)),
        (FlowState::Failed, "skipped".into())
    );
    // A restart knows how they ended.
    world.restart_and_return();
    let never = world.submit(after_ok(bad, on("h2")));
    assert_eq!(world.state(never), FlowState::Failed);
}

#[test]
fn both_have_to_come_and_the_first_may_be_forgotten_meanwhile() {
    let mut world = World::new("h[1-2]");
    let first = world.submit(on("h1"));
    let spec = in_seconds(&world, 600, on("h2"));
    let then = world.submit(after_ok(first, spec));
    world.pass(700);
    assert_eq!(world.state(then), FlowState::Pending, "the other flow has not ended");
    let spec = in_seconds(&world, 600, on("h2"));
    let later = world.submit(after_ok(first, spec));
    world.ok("h1", first);
    assert_eq!((world.state(then), world.state(later)), (FlowState::Running, FlowState::Pending));
    world.input(orchestra_flow::Input::FlowExpired { flow: first });
    world.restart_and_return();
    assert_eq!(world.state(later), FlowState::Pending);
    world.pass(600);
    assert_eq!(world.state(later), FlowState::Running);
}

#[test]
fn it_waits_over_restarts() {
    let mut world = World::new("h[1-3]");
    let first = world.submit(on("h1"));
    let then = world.submit(after_ok(first, on("h2")));
    let spec = in_seconds(&world, 1_000, on("h3"));
    let timed = world.submit(spec);
    world.restart_and_return();
    assert_eq!((world.state(then), world.state(timed)), (FlowState::Pending, FlowState::Pending));
    assert_eq!(world.tasks(then, 1, 1)[0].reason, Some(WaitReason::Start));
    world.ok("h1", first);
    assert_eq!(world.running_hosts(then), "h2");
    // The moment passes while nobody runs.
    world.now = world.now.after(Millis::seconds(2_000));
    world.restart_and_return();
    assert_eq!(world.running_hosts(timed), "h3");
}

#[test]
fn a_flow_that_waits_is_cancelled_at_once() {
    let mut world = World::new("h[1-2]");
    let first = world.submit(on("h1"));
    let then = world.submit(after_ok(first, on("h2")));
    let spec = in_seconds(&world, 1_000, on("h2"));
    let timed = world.submit(spec);
    let behind = world.submit(after(timed, NeededEnd::Ended, on("h2")));
    for id in [then, timed] {
        let expected = answer::Cancelled { flow: id, state: FlowState::Cancelled };
        assert_eq!(world.cancel(id), Answer::Cancelled(expected));
        assert_eq!(
            (world.state(id), world.states(id, 1, 1)),
            (FlowState::Cancelled, "cancelled".into())
        );
    }
    assert_eq!(world.state(behind), FlowState::Running);
    world.ok("h1", first);
    world.pass(1_000);
    assert_eq!(
        (world.state(then), world.state(timed)),
        (FlowState::Cancelled, FlowState::Cancelled)
    );
}

#[test]
fn a_flow_that_is_paused_while_it_waits_begins_and_starts_nothing() {
    let mut world = World::new("h1");
    let spec = in_seconds(&world, 100, on("h1"));
    let id = world.submit(spec);
    world.pause(id);
    assert_eq!(world.state(id), FlowState::Paused);
    world.restart_and_return();
    assert_eq!(world.tasks(id, 1, 1)[0].reason, Some(WaitReason::Start));
    world.pass(100);
    assert_eq!(
        (world.state(id), world.tasks(id, 1, 1)[0].reason),
        (FlowState::Paused, Some(WaitReason::Paused))
    );
    world.resume(id);
    assert_eq!(world.running_hosts(id), "h1");
}

#[test]
fn resumed_while_it_waits_it_waits_on() {
    let mut world = World::new("h1");
    let spec = in_seconds(&world, 100, on("h1"));
    let id = world.submit(spec);
    world.pause(id);
    world.resume(id);
    assert_eq!((world.state(id), world.running_hosts(id)), (FlowState::Pending, String::new()));
}

#[test]
fn nothing_of_it_holds_others_back_before_it_begins() {
    let mut world = World::new("h[1-2]");
    let apps = [("web", "h[1-2]", Some(Quantity::Count(1)))];
    world.deploy(deployment(&apps, &[("one", "h[1-2]")], &[]));
    let spec = in_seconds(&world, 100, on("h1"));
    let waiting = world.submit(spec);
    let other = world.submit(on("h2"));
    assert_eq!(world.running_hosts(other), "h2");
    world.pass(100);
    assert_eq!(world.tasks(waiting, 1, 1)[0].reason, Some(WaitReason::Cell));
    world.ok("h2", other);
    assert_eq!(world.running_hosts(waiting), "h1");
}

#[test]
fn what_it_waits_for_is_explained_and_planned() {
    let mut world = World::new("h[1-2]");
    let first = world.submit(on("h1"));
    let spec = in_seconds(&world, 5_400, on("h2"));
    let spec = after_ok(first, spec);
    let planned = world.plan(spec.clone());
    let expected =
        format!("begins when flow {first}, which is running, has ended ok, not before 1h30m");
    assert_eq!((planned.begins, planned.waves.len()), (Some(expected.clone()), 1));
    let id = world.submit(spec);
    assert_eq!(world.why(id, 1, 1, "h2"), format!("its flow {expected}; <cancel {id}> ends it"));
    assert_eq!(world.explain(id).len(), 1);
    assert_eq!(world.explain(id)[0].reason, Some(WaitReason::Start));
    world.ok("h1", first);
    assert_eq!(
        world.why(id, 1, 1, "h2"),
        format!("its flow begins in 1h30m; <cancel {id}> ends it")
    );
    let plan = |world: &mut World, end| {
        let spec = after(first, end, on("h2"));
        world.plan(spec).begins.unwrap()
    };
    assert_eq!(
        plan(&mut world, NeededEnd::Ok),
        format!("begins after flow {first}, which has ended ok")
    );
    let failed = world.submit(on("h1"));
    world.fail("h1", failed);
    let never = world.plan(after_ok(failed, on("h1"))).begins.unwrap();
    assert_eq!(
        never,
        format!("begins never, because flow {failed} ended failed: all of it is skipped")
    );
}

#[test]
fn it_waits_only_for_what_there_is_and_not_for_ages() {
    let mut world = World::new("h1");
    let nobody = FlowId(77);
    let refused = rejection(world.try_submit(after_ok(nobody, on("h1"))));
    assert_eq!(refused, Rejection::NothingToComeAfter(nobody));
    // Nor for itself, whatever its number will be.
    let next = world.disk.next_flow().unwrap_or(FlowId(1));
    let refused = rejection(world.try_submit(after_ok(next, on("h1"))));
    assert_eq!(refused, Rejection::NothingToComeAfter(next));
    let years = 11 * 365 * 24 * 3_600;
    let spec = in_seconds(&world, years, on("h1"));
    assert_eq!(rejection(world.try_submit(spec)), Rejection::BeginsTooLate);
    assert_eq!(world.disk.flows().count(), 0);
}

#[test]
fn a_crash_at_any_point_of_a_beginning_begins_it_once() {
    let build = || {
        let mut world = World::new("h[1-2]");
        let first = world.submit(on("h1"));
        world.submit(after_ok(
            first,
            flow([vec![job("h2"), job("h1")], vec![job("h2").named("c")]]),
        ));
        world
    };
    let act = |world: &mut World| world.ok("h1", FlowId(1));
    World::crash_at_each_point(build, act, |world, kept| {
        if world.state(FlowId(1)) != FlowState::Ok {
            world.flow_through();
            world.work();
        }
        assert_eq!(world.state(FlowId(2)), FlowState::Running, "kept {kept}");
        assert_eq!(world.running_hosts(FlowId(2)), "h[1-2]", "kept {kept}");
    });
}

#[test]
fn a_crash_at_any_point_of_a_cancel_or_of_a_skip_leaves_nothing_waiting() {
    for fails in [false, true] {
        let build = || {
            let mut world = World::new("h[1-2]");
            let first = world.submit(on("h1"));
            world.submit(after_ok(
                first,
                flow([vec![job("h2"), job("h1")], vec![job("h2").named("c")]]),
            ));
            world
        };
        let act = |world: &mut World| match fails {
            true => world.fail("h1", FlowId(1)),
            false => world.cancel_quietly(FlowId(2)),
        };
        World::crash_at_each_point(build, act, |world, kept| {
            if !fails && world.state(FlowId(2)) == FlowState::Pending {
                // Nothing of the cancel is on disk, and nobody was told that it is.
                world.cancel(FlowId(2));
            }
            let end = if fails { FlowState::Failed } else { FlowState::Cancelled };
            assert_eq!(world.state(FlowId(2)), end, "kept {kept}");
            for (slot, number) in [(1, 1), (1, 2), (2, 1)] {
                let state = world.job_state(FlowId(2), slot, number);
                let expected = if fails { JobState::Skipped } else { JobState::Cancelled };
                assert_eq!(state, expected, "kept {kept}");
            }
        });
    }
}

/// Denied when its time comes, a flow is cancelled with the reason, and nothing of it starts. What is
/// denied for a while in between is not.
#[test]
fn a_flow_that_is_denied_when_its_time_comes_is_cancelled() {
    let mut world = World::new("h[1-3]");
    let first = world.submit(on("h1"));
    let then = world.submit(after_ok(first, on("h2")));
    let after_it = world.submit(after(then, NeededEnd::Ended, on("h2")));
    let timed = world.submit(in_seconds(&world, 60, on("h3")));
    let denied =
        |flows: &[FlowId]| flows.iter().map(|flow| (*flow, "rule x denies it".into())).collect();
    world.engine.deny_starts(denied(&[first, then, timed]));
    // Those that wait go on waiting, and what began before goes on.
    assert_eq!((world.state(first), world.state(then)), (FlowState::Running, FlowState::Pending));
    world.engine.deny_starts(denied(&[then]));
    world.ok("h1", first);
    assert_eq!(
        (world.state(then), world.states(then, 1, 1)),
        (FlowState::Cancelled, "cancelled".into())
    );
    let record = world.disk.flow(then).unwrap();
    assert_eq!(record.cancelled_by, Some(orchestra_model::Asker::Keeper));
    assert_eq!(record.cancel_reason.as_deref(), Some("rule x denies it"));
    assert_eq!(
        (world.state(after_it), world.running_hosts(after_it)),
        (FlowState::Running, "h2".into())
    );
    world.pass(60);
    assert_eq!((world.state(timed), world.running_hosts(timed)), (FlowState::Running, "h3".into()));
}
