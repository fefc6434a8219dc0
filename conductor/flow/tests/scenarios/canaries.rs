//! Canary: the first tasks alone; once all of them are ok, the others after `bake`, or a promotion.

use orchestra_flow::{Answer, Rejection, answer};
use orchestra_model::{FlowId, FlowState, JobId, Quantity, WaitReason};

use crate::world::*;

#[test]
fn the_others_wait_for_all_of_it_and_then_for_a_promotion() {
    let mut world = World::new("h[1-4]");
    let id = world.submit(flow([vec![job("h[1-4]").canary(2)]]));
    assert_eq!(world.states(id, 1, 1), "running running waiting waiting");
    assert_eq!(world.tasks(id, 1, 1)[2].reason, Some(WaitReason::Canary));
    world.ok("h2", id);
    assert_eq!(world.states(id, 1, 1), "running ok waiting waiting");
    world.ok("h1", id);
    world.pass(100_000);
    assert_eq!(world.states(id, 1, 1), "ok ok waiting waiting");
    assert_eq!(world.state(id), FlowState::Running, "it waits for a promotion");
    world.restart_and_return();
    assert_eq!(world.states(id, 1, 1), "ok ok waiting waiting");
    assert_eq!(
        world.promote(id),
        Answer::Changed(answer::Changed { flow: id, state: FlowState::Running })
    );
    assert_eq!(world.states(id, 1, 1), "ok ok running running");
    let record = world.disk.job(JobId { flow: id, slot: 1, job: 1 });
    assert_eq!(record.promoted_by, Some(audience()));
}

#[test]
fn it_bakes_from_the_moment_that_the_last_of_it_was_ok() {
    let mut world = World::new("h[1-3]");
    let id = world.submit(flow([vec![job("h[1-3]").canary(1).bake(600)]]));
    world.pass(100);
    world.ok("h1", id);
    let until = world.status(id).unwrap().slots[0][0].canary.unwrap().until;
    assert_eq!(until, Some(world.now.after(orchestra_model::Millis::seconds(600))));
    world.pass(599);
    assert_eq!(world.states(id, 1, 1), "ok waiting waiting");
    world.pass(1);
    assert_eq!(world.states(id, 1, 1), "ok running running");
}

#[test]
fn time_goes_on_while_no_conductor_runs() {
    let mut world = World::new("h[1-2]");
    let id = world.submit(flow([vec![job("h[1-2]").canary(1).bake(600)]]));
    world.ok("h1", id);
    world.pass(300);
    world.restart_and_return();
    world.pass(299);
    assert_eq!(world.states(id, 1, 1), "ok waiting");
    world.pass(1);
    assert_eq!(world.states(id, 1, 1), "ok running");
    // Also when all of it had passed.
    let mut world = World::new("h[1-2]");
    let id = world.submit(flow([vec![job("h[1-2]").canary(1).bake(600)]]));
    world.ok("h1", id);
    world.now = world.now.after(orchestra_model::Millis::seconds(3_600));
    world.restart_and_return();
    assert_eq!(world.states(id, 1, 1), "ok running");
}

#[test]
fn a_promotion_may_come_before_anything_is_ok() {
    let mut world = World::new("h[1-3]");
    let id = world.submit(flow([vec![job("h[1-3]").canary(1).bake(600)]]));
    world.promote(id);
    assert_eq!(world.states(id, 1, 1), "running running running");
    assert_eq!(rejection(world.promote(id)), Rejection::NothingToPromote(id));
    world.restart_and_return();
    assert_eq!(world.states(id, 1, 1), "running running running");
}

#[test]
fn one_that_failed_for_good_stalls_the_flow_until_somebody_decides() {
    let mut world = World::new("h[1-4]");
    let id = world.submit(flow([vec![job("h[1-4]").canary(2).success(2)]]));
    world.fail("h1", id);
    assert_eq!(world.state(id), FlowState::Running);
    world.ok("h2", id);
    assert_eq!(world.state(id), FlowState::Stalled);
    assert_eq!(world.states(id, 1, 1), "failed ok waiting waiting");
    world.restart_and_return();
    world.pass(60);
    assert_eq!(world.state(id), FlowState::Stalled);
    world.retry(id);
    assert_eq!(world.states(id, 1, 1), "running ok waiting waiting");
    assert_eq!(world.state(id), FlowState::Running);
    world.ok("h1", id);
    assert_eq!(world.states(id, 1, 1), "ok ok waiting waiting");
    world.promote(id);
    assert_eq!(world.states(id, 1, 1), "ok ok running running");
}

#[test]
fn or_somebody_goes_on_without_it() {
    let mut world = World::new("h[1-3]");
    let id = world.submit(flow([vec![job("h[1-3]").canary(1).bake(10).success(2)]]));
    world.fail("h1", id);
    assert_eq!(world.state(id), FlowState::Stalled);
    world.pass(60);
    assert_eq!(world.states(id, 1, 1), "failed waiting waiting");
    world.promote(id);
    assert_eq!(world.states(id, 1, 1), "failed running running");
}

#[test]
fn a_further_attempt_of_its_own_is_waited_for() {
    let mut world = World::new("h[1-2]");
    let id = world.submit(flow([vec![job("h[1-2]").canary(1).bake(10).retries(1)]]));
    world.fail("h1", id);
    assert_eq!(world.states(id, 1, 1), "running waiting");
    world.ok("h1", id);
    world.pass(10);
    assert_eq!(world.states(id, 1, 1), "ok running");
}

#[test]
fn too_many_failures_of_it_doom_the_job() {
    let mut world = World::new("h[1-4]");
    let id = world.submit(flow([vec![job("h[1-4]").canary(2)]]));
    world.fail("h1", id);
    assert_eq!(world.state(id), FlowState::Doomed);
    world.ok("h2", id);
    assert_eq!(world.states(id, 1, 1), "failed ok skipped skipped");
    assert_eq!(world.state(id), FlowState::Failed);
}

#[test]
fn one_that_is_away_is_waited_for_whatever_success_says() {
    let mut world = World::new("h[2-4],h1");
    world.detach("h1");
    let id = world.submit(flow([vec![job("h[1-4]").canary(2).bake(10).success(1)]]));
    world.ok("h2", id);
    world.pass(60);
    assert_eq!(world.states(id, 1, 1), "waiting ok waiting waiting");
    assert_eq!(world.state(id), FlowState::Running);
    world.attach("h1");
    world.ok("h1", id);
    world.pass(10);
    assert_eq!(world.states(id, 1, 1), "ok ok running running");
}

#[test]
fn one_that_was_given_up_is_a_failure_of_it() {
    let mut world = World::new("h[1-3]");
    world.detach("h1");
    let spec = job("h[1-3]").canary(1).bake(10).success(1).give_up_after(60);
    let id = world.submit(flow([vec![spec]]));
    world.pass(60);
    assert_eq!(world.states(id, 1, 1), "unreachable waiting waiting");
    assert_eq!(world.state(id), FlowState::Stalled);
    world.promote(id);
    assert_eq!(world.states(id, 1, 1), "unreachable running running");
}

#[test]
fn the_window_and_the_cells_hold_for_it_too() {
    let mut world = World::new("h[1-6]");
    world.deploy(deployment(
        &[("app", "h[1-6]", Some(Quantity::Count(1)))],
        &[("left", "h[1-3]"), ("right", "h[4-6]")],
        &[],
    ));
    let id = world.submit(flow([vec![job("h[1-6]").canary(4).bake(1)]]));
    assert_eq!(world.running_hosts(id), "h[1,4]");
    for name in ["h1", "h2", "h3", "h4"] {
        world.ok(name, id);
    }
    world.pass(1);
    assert_eq!(world.running_hosts(id), "h5");
}

#[test]
fn a_canary_of_all_holds_nobody_back() {
    let mut world = World::new("h[1-2]");
    let id = world.submit(flow([vec![job("h[1-2]").canary(2)]]));
    assert_eq!(world.states(id, 1, 1), "running running");
    assert_eq!(rejection(world.promote(id)), Rejection::NothingToPromote(id));
}

#[test]
fn a_paused_flow_is_promoted_and_goes_on_when_it_is_resumed() {
    let mut world = World::new("h[1-2]");
    let id = world.submit(flow([vec![job("h[1-2]").canary(1)]]));
    world.pause(id);
    world.ok("h1", id);
    world.promote(id);
    assert_eq!(world.states(id, 1, 1), "ok waiting");
    world.resume(id);
    assert_eq!(world.states(id, 1, 1), "ok running");
}

#[test]
fn no_crash_loses_a_promotion_or_makes_one() {
    let build = || {
        let mut world = World::new("h[1-3]");
        let id = world.submit(flow([vec![job("h[1-3]").canary(1)]]));
        world.ok("h1", id);
        world
    };
    World::crash_at_each_point(
        build,
        |world| world.promote_quietly(FlowId(1)),
        |world, kept| {
            let expected = if kept == 0 { "ok waiting waiting" } else { "ok running running" };
            assert_eq!(world.states(FlowId(1), 1, 1), expected, "{kept} records");
        },
    );
}

#[test]
fn no_crash_starts_the_bake_anew_once_it_is_said_that_the_canary_is_ok() {
    World::crash_at_each_point(
        || {
            let mut world = World::new("h[1-2]");
            world.submit(flow([vec![job("h[1-2]").canary(1).bake(600)]]));
            world
        },
        |world| world.ok("h1", FlowId(1)),
        |world, kept| {
            let id = FlowId(1);
            assert_eq!(world.states(id, 1, 1), "ok waiting", "{kept} records");
            world.pass(599);
            world.restart_and_return();
            assert_eq!(world.states(id, 1, 1), "ok waiting", "{kept} records");
            world.pass(1);
            assert_eq!(world.states(id, 1, 1), "ok running", "{kept} records");
        },
    );
}
