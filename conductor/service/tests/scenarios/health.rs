//! Units that are unhealthy, as stories.

use orchestra_model::{
    FlowState, HostSet, Quantity,
    service::{Cause, UnitState, Unready, Wanted},
};
use orchestra_service::{Ask, Input};

use crate::world::{World, h, spec, web};

/// Three players, and a service that is restarted where it is unhealthy.
fn watched() -> World {
    let mut world = World::new();
    world.attach("db[1-3]");
    world.apply(spec("db[1-3]", 3));
    assert_eq!(world.settle(), [FlowState::Ok]);
    world
}

/// The hosts of the only flow, which restarts what is unhealthy.
fn healed(world: &World) -> String {
    let (_, flow) = &world.flows[0];
    let job = &flow.spec.slots[0].jobs[0];
    assert_eq!(
        (world.flows.len(), flow.services[0].cause, flow.by_keeper),
        (1, Cause::Unhealthy, true)
    );
    assert_eq!(job.unit.as_ref().unwrap().wanted, Wanted::Healthy);
    let limits = (job.parallel, job.max_failures);
    assert_eq!(limits, (Quantity::ALL, Some(Quantity::ALL)), "its cells alone limit it");
    assert_eq!(flow.params.len(), 1, "parameters go with it");
    flow.targets[0][0].to_string()
}

#[test]
fn a_unit_that_is_unhealthy_gets_a_new_run() {
    let mut world = watched();
    world.turn("db2", UnitState::Unhealthy, None);
    assert_eq!(world.unready("db2"), Some(Unready::NotReady));
    assert_eq!(healed(&world), "db2");
    let before = world.instance("db2").report.unwrap().run;
    assert_eq!(world.settle(), [FlowState::Ok]);
    let after = world.instance("db2").report.unwrap();
    assert_eq!((after.state, after.run), (UnitState::Ready, before.next()));
    let causes: Vec<_> = world.status().record.events.iter().map(|it| it.cause).collect();
    assert_eq!(causes[2..], [Cause::Unhealthy, Cause::Unhealthy]);
}

#[test]
fn it_works_each_time_again() {
    let mut world = watched();
    for _ in 0..10 {
        world.turn("db2", UnitState::Unhealthy, None);
        assert_eq!(healed(&world), "db2");
        assert_eq!(world.settle(), [FlowState::Ok]);
    }
    // Also if the new run is unhealthy when the flow that began it ends.
    world.hanging.insert(h("db2"));
    world.turn("db2", UnitState::Unhealthy, None);
    world.run_flow();
    assert_eq!(healed(&world), "db2");
}

#[test]
fn all_that_are_unhealthy_are_in_one_flow_and_those_that_come_later_in_the_next() {
    let mut world = watched();
    world.turn("db1", UnitState::Unhealthy, None);
    world.turn("db2", UnitState::Unhealthy, None);
    world.turn("db3", UnitState::Unhealthy, None);
    assert_eq!(healed(&world), "db1");
    world.run_flow();
    assert_eq!(healed(&world), "db[2-3]");
    assert_eq!(world.settle(), [FlowState::Ok]);
    assert!(world.flows.is_empty());
}

#[test]
fn a_unit_that_recovers_before_its_turn_keeps_its_run() {
    let mut world = watched();
    world.turn("db2", UnitState::Unhealthy, None);
    world.turn("db2", UnitState::Ready, None);
    let before = world.instance("db2").report.unwrap().run;
    assert_eq!(world.settle(), [FlowState::Ok]);
    assert_eq!(world.instance("db2").report.unwrap().run, before);
}

#[test]
fn nothing_is_done_while_the_player_is_away_or_drained() {
    let mut world = watched();
    world.detach("db1");
    world.turn("db1", UnitState::Unhealthy, None);
    let drained = HostSet::parse_plain("db2").unwrap();
    world.handle(Input::DrainChanged { hosts: drained.clone(), drained: true });
    world.turn("db2", UnitState::Unhealthy, None);
    assert!(world.flows.is_empty());
    world.attach("db1");
    assert_eq!(healed(&world), "db1");
    world.settle();
    world.handle(Input::DrainChanged { hosts: drained, drained: false });
    assert_eq!(healed(&world), "db2");
}

#[test]
fn while_the_service_is_paused_or_stopped_nothing_is_done() {
    let mut world = watched();
    world.ask(Ask::Pause(web())).unwrap();
    world.turn("db1", UnitState::Unhealthy, None);
    assert!(world.flows.is_empty());
    world.ask(Ask::Resume(web())).unwrap();
    assert_eq!(healed(&world), "db1");
    world.ask(Ask::Stop(web())).unwrap();
    assert_eq!(world.settle(), [FlowState::Cancelled, FlowState::Ok], "the newer wish replaces it");
    assert!(world.versions().iter().all(|(_, _, state)| *state == UnitState::Stopped));
}

#[test]
fn what_somebody_asks_for_comes_first() {
    let mut world = watched();
    world.turn("db1", UnitState::Unhealthy, None);
    world.apply(spec("db[1-3]", 6));
    assert_eq!(world.settle(), [FlowState::Cancelled, FlowState::Ok]);
    assert!(world.versions().iter().all(|it| (it.1, it.2) == (2, UnitState::Ready)));
}

#[test]
fn a_unit_that_flaps_waits_until_it_was_quiet() {
    let mut world = watched();
    world.hanging.insert(h("db1"));
    world.turn("db1", UnitState::Unhealthy, None);
    assert_eq!(world.settle().len(), 4, "then it flaps");
    world.hanging.clear();
    world.calm("db1");
    assert_eq!(healed(&world), "db1");
    assert_eq!(world.settle(), [FlowState::Ok]);
}

#[test]
fn a_unit_that_a_flow_did_not_restart_is_given_up_until_somebody_asks() {
    let mut world = watched();
    world.refusing.insert(h("db1"));
    world.turn("db1", UnitState::Unhealthy, None);
    world.settle();
    assert!(world.flows.is_empty(), "it would be refused for ever");
    assert_eq!(world.status().given_up.to_string(), "db1");
    world.refusing.clear();
    world.turn("db1", UnitState::Unhealthy, None);
    assert!(world.flows.is_empty());
    world.ask(Ask::Resume(web())).unwrap();
    assert_eq!(world.settle(), [FlowState::Ok]);
    assert_eq!(world.status().given_up.to_string(), "");
}

#[test]
fn a_conductor_that_starts_finds_what_is_unhealthy() {
    let mut world = watched();
    world.turn("db2", UnitState::Unhealthy, None);
    world.flows.clear();
    world.restart();
    assert!(world.flows.is_empty(), "nobody has told anything");
    world.attach("db[1-3]");
    assert_eq!(healed(&world), "db2");
}

#[test]
fn a_repair_restarts_what_is_unhealthy_too_for_it_may_wait_for_that() {
    let mut world = World::new();
    world.attach("db[1-2]");
    world.apply(spec("db[1-4]", 3));
    assert_eq!(world.settle(), [FlowState::Ok]);
    world.attach("db3");
    let asked = |world: &World| {
        let (_, flow) = world.flows.last().unwrap();
        let jobs = flow.spec.slots[0].jobs.iter().zip(&flow.targets[0]);
        jobs.map(|(job, hosts)| format!("{} {hosts}", job.name)).collect::<Vec<_>>()
    };
    assert_eq!(asked(&world), ["repair db3"]);
    world.turn("db1", UnitState::Unhealthy, None);
    assert!(world.cancelled.contains(&world.flows[0].0), "it may wait for db1 for ever");
    world.run_flow();
    assert_eq!(asked(&world), ["repair db3", "unhealthy db1"]);
    // While that restarts db1 it is not ended for another.
    world.turn("db2", UnitState::Unhealthy, None);
    assert!(!world.cancelled.contains(&world.flows[0].0));
    world.settle();
    assert!(world.versions().iter().all(|(_, _, state)| *state == UnitState::Ready));
    assert_eq!(world.versions().len(), 3);
}

/// Three players, of which an update is done with db1.
fn half_updated() -> World {
    let mut world = watched();
    world.apply(spec("db[1-3]", 9));
    world.run_tasks(0, 1);
    assert_eq!(
        world.versions()[..2],
        [("db1".into(), 2, UnitState::Ready), ("db2".into(), 1, UnitState::Ready)]
    );
    world
}

/// The hosts that a flow asks something of.
fn hosts_of(world: &World, place: usize) -> String {
    let (_, flow) = &world.flows[place];
    let hosts = flow.targets.iter().flatten().flat_map(|hosts| hosts.iter()).cloned();
    HostSet::from_names(hosts).to_string()
}

#[test]
fn a_unit_that_a_flow_is_done_with_does_not_wait_for_its_end() {
    let mut world = half_updated();
    world.turn("db1", UnitState::Unhealthy, None);
    assert_eq!(world.flows.len(), 2, "the update waits for the cell that db1 holds");
    let (_, relief) = &world.flows[1];
    assert_eq!(
        (relief.services[0].cause, relief.by_keeper, hosts_of(&world, 1)),
        (Cause::Unhealthy, true, "db1".into())
    );
    let record = world.status().record;
    assert_eq!(record.relief.unwrap().cause, Cause::Unhealthy);
    assert_eq!(record.living.unwrap().cause, Cause::Update, "which goes on");
    // What turns meanwhile is restarted after that.
    assert_eq!(world.run_flow_at(1), FlowState::Ok);
    assert_eq!(world.status().record.relief, None);
    world.turn("db1", UnitState::Unhealthy, None);
    assert_eq!(hosts_of(&world, 1), "db1", "each time again");
    assert_eq!(world.settle(), [FlowState::Ok, FlowState::Ok]);
    assert!(world.versions().iter().all(|it| (it.1, it.2) == (2, UnitState::Ready)));
    assert_eq!(world.status().record.stable, Some(orchestra_model::service::ServiceVersion(2)));
}

#[test]
fn a_unit_that_a_flow_does_not_mean_does_not_wait_for_its_end() {
    let mut world = watched();
    let hosts = Some(HostSet::parse_plain("db1").unwrap());
    world.ask(Ask::Restart { service: web(), hosts }).unwrap();
    world.turn("db1", UnitState::Unhealthy, None);
    assert_eq!(world.flows.len(), 1, "it gets a new run by the restart");
    world.turn("db2", UnitState::Unhealthy, None);
    assert_eq!(hosts_of(&world, 1), "db2");
    assert_eq!(world.settle(), [FlowState::Ok, FlowState::Ok]);
}

#[test]
fn something_newer_ends_a_relief_too() {
    let mut world = half_updated();
    world.turn("db1", UnitState::Unhealthy, None);
    world.apply(spec("db[1-3]", 15));
    assert_eq!(world.cancelled.len(), 2);
    let causes: Vec<_> = world.flows.iter().map(|(_, flow)| flow.services[0].cause).collect();
    assert_eq!(causes, [Cause::Update, Cause::Unhealthy], "both have to end first");
    assert_eq!(world.settle(), [FlowState::Cancelled, FlowState::Cancelled, FlowState::Ok]);
    assert!(world.versions().iter().all(|it| (it.1, it.2) == (3, UnitState::Ready)));
}

#[test]
fn a_relief_goes_on_when_the_flow_that_it_relieved_has_ended() {
    let mut world = half_updated();
    world.turn("db1", UnitState::Unhealthy, None);
    assert_eq!(world.run_flow(), FlowState::Ok);
    let record = world.status().record;
    assert_eq!((record.living.unwrap().cause, record.relief), (Cause::Unhealthy, None));
    world.turn("db2", UnitState::Unhealthy, None);
    assert_eq!(world.flows.len(), 1);
    assert_eq!(world.settle(), [FlowState::Ok, FlowState::Ok]);
    assert!(world.versions().iter().all(|(_, _, state)| *state == UnitState::Ready));
}

#[test]
fn a_relief_is_known_over_a_restart_of_the_conductor() {
    let mut world = half_updated();
    world.turn("db1", UnitState::Unhealthy, None);
    world.restart();
    world.attach("db[1-3]");
    assert_eq!(world.flows.len(), 2);
    assert_eq!(world.run_flow_at(1), FlowState::Ok);
    // It also knows which hosts the update is done with.
    world.restart();
    world.attach("db[1-3]");
    world.turn("db1", UnitState::Unhealthy, None);
    assert_eq!(hosts_of(&world, 1), "db1");
    assert_eq!(world.settle(), [FlowState::Ok, FlowState::Ok]);
}

#[test]
fn a_unit_that_a_relief_did_not_help_is_given_up() {
    let mut world = half_updated();
    world.refusing.insert(h("db1"));
    world.turn("db1", UnitState::Unhealthy, None);
    world.run_flow_at(1);
    assert_eq!((world.flows.len(), world.status().given_up.to_string()), (1, "db1".into()));
}
