//! `parallel` is a sliding window: never exceeded, always full, every host exactly once.

use orchestra_model::{FlowState, Quantity, WaitReason};

use crate::world::*;

#[test]
fn the_window_slides() {
    let mut world = World::new("h[1-5]");
    let id = world.submit(flow([vec![job("h[1-5]").parallel(2)]]));
    assert_eq!(world.running_hosts(id), "h[1-2]");
    world.ok("h2", id);
    assert_eq!(world.running_hosts(id), "h[1,3]", "no barrier: h1 still runs");
    world.ok("h3", id);
    assert_eq!(world.running_hosts(id), "h[1,4]");
    world.ok("h1", id);
    world.ok("h4", id);
    assert_eq!(world.running_hosts(id), "h5");
    world.ok("h5", id);
    assert_eq!(world.state(id), FlowState::Ok);
    assert_eq!(world.starts.len(), 5);
}

#[test]
fn a_number_that_the_window_does_not_divide() {
    let mut world = World::new("h[1-7]");
    let id = world.submit(flow([vec![job("h[1-7]").parallel(3)]]));
    for nth in 1..=7 {
        let left = 8 - nth;
        let running = world.running_hosts(id);
        assert_eq!(hosts(&running).len(), left.min(3), "{running}");
        let first = hosts(&running).as_slice()[0].clone();
        world.ok(first.as_str(), id);
    }
    assert_eq!(world.state(id), FlowState::Ok);
    assert_eq!(world.starts.len(), 7);
}

#[test]
fn concurrency_rounds_down_and_is_at_least_one() {
    let mut world = World::absent("h[1-150]");
    let id = world.submit(flow([vec![
        orchestra_model::flow::JobSpec {
            parallel: Quantity::Percent(25),
            ..job("h[1-150]").named("a")
        },
        orchestra_model::flow::JobSpec {
            parallel: Quantity::Percent(1),
            ..job("h[1-3]").named("b")
        },
    ]]));
    let status = world.status(id).unwrap();
    assert_eq!(status.slots[0][0].window, 37);
    assert_eq!(status.slots[0][1].window, 1);
}

#[test]
fn an_absent_or_busy_player_does_not_hold_the_window() {
    let mut world = World::new("h[1-4]");
    world.detach("h1");
    world.player("h2").takes(1);
    world.attach("h2");
    let busy = world.submit(flow([vec![job("h2")]]));
    let id = world.submit(flow([vec![job("h[1-4]").parallel(2)]]));
    assert_eq!(world.running_hosts(id), "h[3-4]");
    let reasons: Vec<_> = world.tasks(id, 1, 1).iter().map(|task| task.reason).collect();
    assert_eq!(reasons, [Some(WaitReason::PlayerAbsent), Some(WaitReason::PlayerBusy), None, None]);
    let waiting = &world.status(id).unwrap().slots[0][0].waiting;
    assert_eq!(waiting[&WaitReason::PlayerAbsent], 1);
    assert_eq!(waiting[&WaitReason::PlayerBusy], 1);
    // The window is full: the players' turns come, the tasks do not.
    world.ok("h2", busy);
    world.attach("h1");
    assert_eq!(world.running_hosts(id), "h[3-4]");
    assert_eq!(world.status(id).unwrap().slots[0][0].waiting[&WaitReason::Window], 2);
    world.ok("h3", id);
    world.ok("h4", id);
    assert_eq!(world.running_hosts(id), "h[1-2]");
}

#[test]
fn a_failure_makes_room_as_well() {
    let mut world = World::new("h[1-3]");
    let id = world.submit(flow([vec![job("h[1-3]").parallel(1).success(1)]]));
    world.fail("h1", id);
    assert_eq!(world.running_hosts(id), "h2");
    world.fail("h2", id);
    assert_eq!(world.running_hosts(id), "h3");
    world.ok("h3", id);
    assert_eq!(world.state(id), FlowState::Ok);
}

#[test]
fn many_tasks_are_looked_at_in_turns() {
    let mut world = World::absent("h[1-900]");
    world.immediate = false;
    for name in ["h1", "h600", "h900"] {
        world.attach(name);
    }
    let jobs = ["a", "b", "c"].map(|name| job("h[1-900]").named(name));
    let submission = world.submission(flow([jobs.to_vec()]));
    world.input(submitted(submission));
    assert!(world.engine.has_work(), "three times 900 tasks are more than one turn");
    world.work();
    world.perform();
    world.flow_through();
    for name in ["h1", "h600", "h900"] {
        assert_eq!(world.player(name).running().len(), 3, "{name}");
    }
}
