//! Reloads of deployments while work goes on: limits that fall and rise, hosts that move, orders that
//! change. All of a reload holds, or nothing.

use std::sync::Arc;

use orchestra_flow::{Answer, Rejection, answer};
use orchestra_model::{Deployments, FlowState, Quantity, WaitReason};

use crate::world::*;

/// So many of `h[1-6]` at once.
fn at_most(most: u32) -> Arc<Deployments> {
    deployment(&[("app", "h[1-6]", Some(Quantity::Count(most)))], &[("all", "h[1-6]")], &[])
}

#[test]
fn above_a_lowered_limit_nothing_new_starts() {
    let mut world = World::new("h[1-6]");
    world.deploy(at_most(3));
    let id = world.submit(flow([vec![job("h[1-6]")]]));
    assert_eq!(world.running_hosts(id), "h[1-3]");
    world.deploy(at_most(1));
    world.ok("h1", id);
    world.ok("h2", id);
    assert_eq!(world.running_hosts(id), "h3");
    world.restart_and_return();
    assert_eq!(world.running_hosts(id), "h3");
    world.ok("h3", id);
    assert_eq!(world.running_hosts(id), "h4");
    assert_eq!(world.tasks(id, 1, 1)[5].reason, Some(WaitReason::Cell));
}

#[test]
fn a_raised_limit_lets_work_start_at_once() {
    let mut world = World::new("h[1-6]");
    world.deploy(at_most(1));
    let id = world.submit(flow([vec![job("h[1-6]")]]));
    world.deploy(at_most(4));
    assert_eq!(world.running_hosts(id), "h[1-4]");
    // So does the end of all limits.
    world.deploy(Arc::default());
    assert_eq!(world.running_hosts(id), "h[1-6]");
}

#[test]
fn what_runs_when_limits_come_counts() {
    let mut world = World::new("h[1-6]");
    let id = world.submit(flow([vec![job("h[1-2]")]]));
    world.deploy(at_most(2));
    let other = world.submit(flow([vec![job("h[3-4]")]]));
    assert_eq!(world.states(other, 1, 1), "waiting waiting");
    world.ok("h1", id);
    assert_eq!(world.states(other, 1, 1), "running waiting");
}

#[test]
fn a_raised_limit_wakes_a_stalled_flow_and_a_lowered_one_may_stall_it() {
    let mut world = World::new("h[1-6]");
    world.deploy(at_most(2));
    let id = world.submit(flow([vec![job("h1")]]));
    world.fail("h1", id);
    let id = world.submit(flow([vec![job("h[2-3]")]]));
    assert_eq!(world.states(id, 1, 1), "running waiting");
    world.deploy(at_most(1));
    world.ok("h2", id);
    assert_eq!(world.state(id), FlowState::Stalled);
    world.deploy(at_most(2));
    assert_eq!(world.state(id), FlowState::Running);
    assert_eq!(world.states(id, 1, 1), "ok running");
}

#[test]
fn hosts_that_move_take_their_holds_along() {
    let mut world = World::new("h[1-6]");
    let of = |left: &str, right: &str| {
        deployment(
            &[("app", "h[1-6]", Some(Quantity::Count(1)))],
            &[("left", left), ("right", right)],
            &[],
        )
    };
    world.deploy(of("h[1-3]", "h[4-6]"));
    let id = world.submit(flow([vec![job("h[1-6]")]]));
    assert_eq!(world.running_hosts(id), "h[1,4]");
    // h1 runs on, in the other cell now: the left one has room.
    world.deploy(of("h[2-3]", "h[1,4-6]"));
    assert_eq!(world.running_hosts(id), "h[1-2,4]");
    world.ok("h4", id);
    assert_eq!(world.running_hosts(id), "h[1-2]");
    world.ok("h1", id);
    assert_eq!(world.running_hosts(id), "h[2,5]");
}

#[test]
fn a_host_that_is_down_takes_its_hold_along_too() {
    let mut world = World::new("h[1-6]");
    let id = world.submit(flow([vec![job("h1")]]));
    world.fail("h1", id);
    world.deploy(at_most(1));
    let id = world.submit(flow([vec![job("h2")]]));
    assert_eq!(world.state(id), FlowState::Stalled);
    let all_but_h1 =
        deployment(&[("app", "h[2-6]", Some(Quantity::Count(1)))], &[("all", "h[1-6]")], &[]);
    world.deploy(all_but_h1);
    assert_eq!(world.states(id, 1, 1), "running");
    assert_eq!(world.down(), "h1");
}

#[test]
fn a_new_order_holds_for_what_has_not_started() {
    let mut world = World::new("h[1-4]");
    let ordered = |sequence: &[&str]| {
        let apps = [("a", "h[1-2]", None), ("b", "h[3-4]", None)];
        deployment(&apps, &[("all", "h[1-4]")], sequence)
    };
    world.deploy(ordered(&["a", "b"]));
    let id = world.submit(flow([vec![job("h[1-4]")]]));
    assert_eq!(world.running_hosts(id), "h[1-2]");
    world.ok("h1", id);
    world.deploy(ordered(&["b", "a"]));
    // What runs runs on; nobody waits for itself, nor for what ended ok.
    assert_eq!(world.running_hosts(id), "h[2-4]");
    world.ok("h2", id);
    world.ok("h3", id);
    world.ok("h4", id);
    assert_eq!(world.state(id), FlowState::Ok);
}

#[test]
fn an_order_that_comes_makes_hosts_wait_and_one_that_goes_lets_them_go() {
    let mut world = World::new("h[1-4]");
    let ordered = |sequence: &[&str]| {
        let apps = [("a", "h[1-2]", None), ("b", "h[3-4]", None)];
        deployment(&apps, &[("all", "h[1-4]")], sequence)
    };
    let id = world.submit(flow([vec![job("h[1-4]").parallel(1)]]));
    world.deploy(ordered(&["b", "a"]));
    world.ok("h1", id);
    assert_eq!(world.running_hosts(id), "h3", "h2 comes after it now");
    assert_eq!(world.tasks(id, 1, 1)[1].reason, Some(WaitReason::Sequence));
    world.restart_and_return();
    assert_eq!(world.running_hosts(id), "h3");
    world.deploy(Arc::default());
    world.ok("h3", id);
    assert_eq!(world.running_hosts(id), "h2");
}

#[test]
fn a_reload_that_would_hang_a_living_flow_changes_nothing() {
    let mut world = World::new("h[1-3]");
    world.deploy(at_most(1));
    let spec = flow([vec![job("h1")], vec![job("h[2-3]").named("later")]]);
    let id = world.submit(spec);
    let both = deployment(
        &[("a", "h[1-2]", None), ("b", "h[2-3]", None)],
        &[("all", "h[1-3]")],
        &["a", "b"],
    );
    match rejection(world.deploy(Arc::clone(&both))) {
        Rejection::ConflictsInFlow { flow, slot, .. } => assert_eq!((flow, slot), (id, 2)),
        other => panic!("{other:?}"),
    }
    assert_eq!(world.engine.deployments(), &at_most(1));
    world.ok("h1", id);
    world.ok("h2", id);
    world.ok("h3", id);
    // Once that flow has ended, nobody minds.
    let Answer::DeploymentsLoaded(answer::DeploymentsLoaded { deployments: 1, cells: 2 }) =
        world.deploy(both)
    else {
        panic!("{:?}", world.answers.last());
    };
}

#[test]
fn the_same_again_changes_nothing() {
    let mut world = World::new("h[1-6]");
    world.deploy(at_most(2));
    let id = world.submit(flow([vec![job("h[1-6]")]]));
    let events = world.events.len();
    world.deploy(at_most(2));
    assert_eq!(world.running_hosts(id), "h[1-2]");
    assert_eq!(world.events.len(), events);
    world.ok("h1", id);
    assert_eq!(world.running_hosts(id), "h[2-3]");
}

#[test]
fn players_that_come_later_have_the_cells_of_their_hosts() {
    let mut world = World::new("h[1-6]");
    world.load("h[1-2]");
    world.deploy(at_most(2));
    let id = world.submit(flow([vec![job("h[1-2]")]]));
    world.load("h[1-6]");
    for name in ["h3", "h4"] {
        world.attach(name);
    }
    let other = world.submit(flow([vec![job("h[3-4]")]]));
    assert_eq!(world.states(other, 1, 1), "waiting waiting");
    world.ok("h2", id);
    assert_eq!(world.states(other, 1, 1), "running waiting");
}
