//! Many units that turn unhealthy together, as stories.

use orchestra_model::{
    FlowState,
    service::{Cause, OnUnhealthy, UnitState},
};
use orchestra_service::{Ask, Rejection, Released};

use crate::world::{World, spec, web};

const MINUTE: u64 = 60_000;

/// Ten players, and a service whose health is suspected where half of its units turn together.
fn watched() -> World {
    let mut world = World::new();
    world.attach("db[0-9]");
    world.apply(spec("db[0-9]", 6));
    assert_eq!(world.settle(), [FlowState::Ok]);
    world
}

/// Half of them turn at once; the flow that had begun for the first ends.
fn suspicious() -> World {
    let mut world = watched();
    for n in 0..5 {
        world.turn(&format!("db{n}"), UnitState::Unhealthy, None);
    }
    assert_eq!(suspicion(&world).as_deref(), Some("5 of 10 checks failed together"));
    world
}

fn suspicion(world: &World) -> Option<String> {
    world.status().record.judged.suspicion.map(|it| it.to_string())
}

/// The hosts of the only flow, which restarts what is unhealthy.
fn healed(world: &World) -> String {
    let (_, flow) = &world.flows[0];
    assert_eq!((world.flows.len(), flow.services[0].cause), (1, Cause::Unhealthy));
    flow.targets[0][0].to_string()
}

#[test]
fn half_that_turn_together_are_not_believed() {
    let mut world = suspicious();
    assert_eq!(world.suspected, 1, "it is told once");
    assert!(world.cancelled.contains(&world.flows[0].0), "what had begun is ended");
    assert_eq!(world.settle(), [FlowState::Cancelled]);
    world.turn("db5", UnitState::Unhealthy, None);
    world.pass(4 * MINUTE);
    assert!(world.flows.is_empty(), "nothing is restarted");
    let last = world.status().record.events.pop().unwrap();
    assert_eq!((last.cause, last.ended), (Cause::Unhealthy, Some(FlowState::Cancelled)));
}

#[test]
fn those_that_turn_apart_are_believed() {
    let mut world = watched();
    for n in 0..10 {
        world.turn(&format!("db{n}"), UnitState::Unhealthy, None);
        world.pass(10_000);
    }
    assert_eq!(suspicion(&world), None, "three within thirty seconds are less than half");
    assert_eq!(healed(&world), "db0");
}

#[test]
fn one_alone_is_believed_whatever_share_it_is() {
    let mut world = World::new();
    world.attach("db1");
    world.apply(spec("db1", 6));
    world.settle();
    world.turn("db1", UnitState::Unhealthy, None);
    assert_eq!((suspicion(&world), healed(&world)), (None, "db1".to_owned()));
}

#[test]
fn units_that_were_never_ready_do_not_count() {
    let mut world = watched();
    for n in 0..7 {
        world.turn(&format!("db{n}"), UnitState::Starting, None);
    }
    world.turn("db7", UnitState::Unhealthy, None);
    world.turn("db8", UnitState::Unhealthy, None);
    assert_eq!(suspicion(&world).as_deref(), Some("2 of 3 checks failed together"));
}

#[test]
fn recovery_ends_it_and_the_others_are_restarted() {
    let mut world = suspicious();
    world.settle();
    world.turn("db0", UnitState::Ready, None);
    assert_eq!((suspicion(&world), world.believed), (None, Some(Released::Recovered)));
    assert_eq!(healed(&world), "db[1-4]");
}

#[test]
fn one_is_tried_every_five_minutes_and_each_in_turn() {
    let mut world = suspicious();
    world.settle();
    for n in 0..5 {
        world.hanging.insert(crate::world::h(&format!("db{n}")));
    }
    for host in ["db0", "db1", "db2", "db3", "db4"] {
        world.pass(5 * MINUTE - 100);
        assert!(world.flows.is_empty(), "it is too early for {host}");
        world.pass(100);
        assert_eq!(healed(&world), host);
        world.settle();
        assert!(suspicion(&world).is_some());
    }
    world.hanging.clear();
    world.pass(5 * MINUTE);
    assert_eq!(healed(&world), "db0", "and again from the first");
    world.run_flow();
    assert_eq!((suspicion(&world), world.believed), (None, Some(Released::Recovered)));
    assert_eq!(healed(&world), "db[1-4]");
    assert_eq!(world.settle(), [FlowState::Ok]);
}

#[test]
fn a_restart_that_helps_shows_that_the_outage_is_real() {
    let mut world = watched();
    for n in 0..10 {
        world.turn(&format!("db{n}"), UnitState::Unhealthy, None);
    }
    world.settle();
    world.pass(5 * MINUTE);
    assert_eq!(healed(&world), "db0");
    world.run_flow();
    assert_eq!((suspicion(&world), world.believed), (None, Some(Released::RestartHelped)));
    assert_eq!(healed(&world), "db[1-9]");
    assert_eq!(world.settle(), [FlowState::Ok]);
}

#[test]
fn a_person_releases_it() {
    let mut world = suspicious();
    world.settle();
    world.ask(Ask::ReleaseBrake(web())).unwrap();
    assert_eq!((suspicion(&world), world.believed), (None, Some(Released::ByPerson)));
    assert_eq!(healed(&world), "db[0-4]", "those that are unhealthy rouse no suspicion again");
    assert_eq!(world.ask(Ask::ReleaseBrake(web())), Err(Rejection::NoBrake(web())));
    // Those that turn later do.
    for n in 5..10 {
        world.turn(&format!("db{n}"), UnitState::Unhealthy, None);
    }
    assert!(suspicion(&world).is_some());
}

#[test]
fn what_was_released_is_not_suspected_anew_after_a_start() {
    let mut world = suspicious();
    world.settle();
    world.ask(Ask::ReleaseBrake(web())).unwrap();
    // Nobody of them has a new run yet.
    world.flows.clear();
    world.restart();
    world.attach("db[0-9]");
    assert_eq!((suspicion(&world), world.suspected), (None, 1), "not even until the others came");
}

#[test]
fn it_outlives_the_conductor() {
    let mut world = suspicious();
    world.settle();
    world.pass(2 * MINUTE);
    world.restart();
    world.attach("db[0-9]");
    assert!(suspicion(&world).is_some(), "that nobody had told how they are ended nothing");
    world.pass(3 * MINUTE - 1_000);
    assert!(world.flows.is_empty());
    world.pass(1_000);
    assert_eq!(healed(&world), "db0");
    // And so does its end: nobody is suspected anew for what was believed.
    world.ask(Ask::ReleaseBrake(web())).unwrap();
    world.flows.clear();
    world.restart();
    world.attach("db[0-9]");
    assert_eq!(suspicion(&world), None);
}

#[test]
fn something_else_that_is_wanted_ends_it() {
    let mut world = suspicious();
    world.apply(spec("db[0-9]", 12));
    assert_eq!((suspicion(&world), world.believed), (None, Some(Released::Changed)));
    let mut world = suspicious();
    world.ask(Ask::Stop(web())).unwrap();
    assert_eq!((suspicion(&world), world.believed), (None, Some(Released::Changed)));
}

#[test]
fn what_is_only_withdrawn_is_suspected_too_and_never_restarted() {
    let mut world = World::new();
    world.attach("db[0-9]");
    let mut withdrawn = spec("db[0-9]", 6);
    withdrawn.judgement.on_unhealthy = OnUnhealthy::Withdraw;
    world.apply(withdrawn);
    world.settle();
    world.turn("db9", UnitState::Unhealthy, None);
    for n in 0..4 {
        world.turn(&format!("db{n}"), UnitState::Unhealthy, None);
    }
    assert!(suspicion(&world).is_some());
    world.pass(10 * MINUTE);
    assert!(world.flows.is_empty());
    world.turn("db0", UnitState::Ready, None);
    assert_eq!(suspicion(&world), None);
}

#[test]
fn two_of_two_that_turn_at_once_come_back_one_after_the_other() {
    let mut world = World::new();
    world.attach("db[1-2]");
    world.apply(spec("db[1-2]", 6));
    world.settle();
    world.turn("db1", UnitState::Unhealthy, None);
    world.turn("db2", UnitState::Unhealthy, None);
    assert!(suspicion(&world).is_some());
    assert_eq!(world.settle(), [FlowState::Cancelled]);
    world.pass(5 * MINUTE);
    assert_eq!(healed(&world), "db1");
    world.run_flow();
    assert_eq!(healed(&world), "db2");
    world.run_flow();
    assert!(world.flows.is_empty());
}
