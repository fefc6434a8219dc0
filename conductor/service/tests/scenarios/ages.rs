//! Runs that become old, told as stories.

use std::collections::BTreeSet;

use orchestra_model::{
    FlowState, HostSet,
    service::{Cause, RunNumber, UnitState, Wanted},
};
use orchestra_service::{Ask, Input};

use crate::world::{MAX_AGE, World, h, spec, web};

/// A service on these hosts whose runs may not be older than [`MAX_AGE`], ready everywhere.
fn aging(hosts: &str) -> World {
    let mut world = World::new();
    world.attach(hosts);
    world.apply(spec(hosts, 5));
    assert_eq!(world.settle(), [FlowState::Ok]);
    world
}

fn run(world: &World, host: &str) -> RunNumber {
    world.instance(host).report.unwrap().run
}

/// The hosts of the only flow, which gives them new runs for their age.
fn renewed(world: &World) -> String {
    let [(_, flow)] = &world.flows[..] else { panic!("{:?}", world.flows) };
    assert_eq!((flow.services[0].cause, flow.by_keeper), (Cause::Age, true));
    let job = &flow.spec.slots[0].jobs[0];
    let limit = orchestra_model::Millis(MAX_AGE.0 * 9 / 10);
    assert_eq!(job.unit.as_ref().unwrap().wanted, Wanted::Younger(limit));
    assert_eq!(flow.params.len(), 1, "parameters go with it");
    flow.targets[0][0].to_string()
}

/// Lets the longest time pass that a run may live.
fn grow_old(world: &mut World) {
    world.pass(MAX_AGE.0 * 11 / 10);
}

#[test]
fn an_old_run_is_followed_by_a_new_one_each_time_again() {
    let mut world = aging("db1");
    for n in 1..5 {
        world.pass(MAX_AGE.0 * 9 / 10 - 100);
        assert!(world.flows.is_empty(), "it is not old yet");
        world.pass(MAX_AGE.0 / 5 + 100);
        assert_eq!(renewed(&world), "db1");
        assert_eq!(world.settle(), [FlowState::Ok]);
        assert_eq!(run(&world, "db1"), RunNumber(n + 1));
        assert!(world.age(&h("db1")) < 1_000);
    }
    let causes: Vec<_> = world.status().record.events.iter().map(|it| it.cause).collect();
    assert_eq!(causes.iter().filter(|cause| **cause == Cause::Age).count(), 8);
}

#[test]
fn runs_that_began_together_become_old_one_after_the_other() {
    let mut world = aging("db[1-20]");
    let mut begun = 0;
    let mut moments = BTreeSet::new();
    while moments.len() < 20 {
        let due = world.engine.next_deadline().unwrap();
        world.pass(due.0 - world.now());
        begun += renewed(&world).split(',').count();
        moments.insert(due);
        assert_eq!(begun, moments.len(), "each at a moment of its own");
        assert_eq!(world.settle(), [FlowState::Ok], "the others are not old yet");
    }
    let (first, last) = (moments.first().unwrap().0, moments.last().unwrap().0);
    let spread = MAX_AGE.0 / 10..MAX_AGE.0 / 5;
    assert!(spread.contains(&(last - first)), "over a fifth of the age, more or less: {moments:?}");
}

#[test]
fn a_run_that_has_ended_by_itself_before_its_turn_is_spared() {
    let mut world = aging("db[1-2]");
    grow_old(&mut world);
    world.turn("db1", UnitState::BackingOff, None);
    let unit = world.units.get_mut(&h("db1")).unwrap().get_mut(&web()).unwrap();
    unit.run = unit.run.next();
    world.turn("db1", UnitState::Ready, None);
    let young = run(&world, "db1");
    world.settle();
    assert_eq!(run(&world, "db1"), young);
}

#[test]
fn nothing_is_done_for_age_while_the_service_is_paused_or_its_player_drained_or_away() {
    let mut world = aging("db[1-3]");
    world.ask(Ask::Pause(web())).unwrap();
    let drained = HostSet::parse_plain("db1").unwrap();
    world.handle(Input::DrainChanged { hosts: drained.clone(), drained: true });
    world.detach("db2");
    grow_old(&mut world);
    assert!(world.flows.is_empty());
    world.ask(Ask::Resume(web())).unwrap();
    assert_eq!(renewed(&world), "db3");
    world.settle();
    world.attach("db2");
    assert_eq!(renewed(&world), "db2", "what counts is how old it is");
    world.settle();
    world.handle(Input::DrainChanged { hosts: drained, drained: false });
    assert_eq!(renewed(&world), "db1");
}

#[test]
fn a_conductor_that_starts_hears_how_old_runs_are() {
    let mut world = aging("db1");
    world.pass(MAX_AGE.0 / 2);
    world.restart();
    world.attach("db1");
    world.pass(MAX_AGE.0 * 6 / 10);
    assert_eq!(renewed(&world), "db1");
    // Nobody tells it of runs on a player of an earlier release.
    world.settle();
    world.is_silent_of_ages = true;
    world.restart();
    world.attach("db1");
    grow_old(&mut world);
    assert!(world.flows.is_empty());
}

/// The first would wait for the cell that the host of the second holds.
#[test]
fn what_is_wrong_does_not_wait_for_a_flow_that_is_made_for_age() {
    let mut world = aging("db[1-3]");
    world.detach("db3");
    world.wipe("db3");
    grow_old(&mut world);
    assert!(["db1", "db2"].contains(&renewed(&world).as_str()), "who is old first");
    world.attach("db3");
    assert!(world.cancelled.contains(&world.flows[0].0));
    world.run_flow();
    assert_eq!(world.flows[0].1.services[0].cause, Cause::Repair);
    world.run_flow();
    assert_eq!(renewed(&world), "db[1-2]", "then it goes on");
    world.settle();
    assert!(world.age(&h("db1")) < 1_000 && world.age(&h("db2")) < 1_000);
}

#[test]
fn a_unit_that_turns_unhealthy_comes_before_age() {
    let mut world = World::new();
    world.attach("db[1-3]");
    world.apply(spec("db[1-3]", 15));
    world.settle();
    grow_old(&mut world);
    assert!(["db1", "db2", "db3"].contains(&renewed(&world).as_str()), "who is old first");
    world.turn("db2", UnitState::Unhealthy, None);
    assert!(world.cancelled.contains(&world.flows[0].0));
    world.run_flow();
    assert_eq!(world.flows[0].1.services[0].cause, Cause::Unhealthy);
    world.settle();
    assert!(world.versions().iter().all(|(host, ..)| world.age(&h(host)) < 1_000));
}

#[test]
fn what_somebody_asks_for_comes_before_age_and_brings_new_runs_as_well() {
    let mut world = aging("db[1-2]");
    grow_old(&mut world);
    world.apply(spec("db[1-2]", 10));
    assert_eq!(world.settle(), [FlowState::Cancelled, FlowState::Ok]);
    assert!(world.flows.is_empty());
    assert_eq!(world.versions()[0], ("db1".into(), 2, UnitState::Ready));
}

#[test]
fn a_host_that_refuses_a_new_run_is_given_up_until_somebody_asks() {
    let mut world = aging("db1");
    world.refusing.insert(h("db1"));
    grow_old(&mut world);
    world.settle();
    assert_eq!((world.flows.len(), world.status().given_up.to_string()), (0, "db1".to_owned()));
    world.refusing.clear();
    world.ask(Ask::Resume(web())).unwrap();
    assert_eq!(renewed(&world), "db1");
}
