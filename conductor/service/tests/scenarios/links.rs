//! Services that are linked to another one, told as stories.

use orchestra_model::{
    FlowState, HostSet,
    service::{Goal, ServiceStatus, ServiceVersion, UnitState, Unready},
};
use orchestra_service::{Ask, Input, Rejection};

use crate::{
    running,
    world::{World, apply, exporter, h, linked, spec, web},
};

/// Three players; a service that is ready on each, and one that is linked to it.
fn both() -> World {
    let mut world = running();
    world.apply(linked(1));
    assert_eq!(world.settle(), [FlowState::Ok]);
    world
}

fn status(world: &World) -> ServiceStatus {
    world.engine.status(&exporter()).unwrap()
}

fn states(world: &World) -> Vec<(String, UnitState)> {
    let units =
        world.units.iter().filter_map(|(host, units)| Some((host, units.get(&exporter())?)));
    units.map(|(host, unit)| (host.to_string(), unit.state)).collect()
}

#[test]
fn it_is_exactly_where_the_other_is() {
    let mut world = both();
    assert_eq!(status(&world).ready(), 3);
    world.attach("db4");
    let hosts = [(web(), Ok(HostSet::parse_plain("db[1-2,4]").unwrap()))].into();
    world.handle(Input::FleetLoaded { hosts });
    assert_eq!(status(&world).record.hosts.to_string(), "db[1-2,4]");
    world.settle();
    let ready = |host: &str| (host.to_owned(), UnitState::Ready);
    assert_eq!(states(&world), [ready("db1"), ready("db2"), ready("db4")]);
}

#[test]
fn it_begins_on_a_host_once_the_other_is_ready_there() {
    let mut world = World::new();
    world.attach("db[1-2]");
    world.bad.insert((h("db2"), 1));
    world.apply(spec("db[1-2]", 1));
    world.apply(linked(1));
    world.run_flow();
    let hosts = |world: &World| world.flows[0].1.targets[0][0].to_string();
    assert_eq!(hosts(&world), "db1", "what would only wait is not ordered");
    world.settle();
    world.bad.clear();
    world.turn("db2", UnitState::Ready, None);
    assert_eq!(hosts(&world), "db2");
    world.settle();
    assert_eq!(status(&world).ready(), 2);
}

#[test]
fn it_stops_and_starts_with_the_other() {
    let mut world = both();
    world.ask(Ask::Stop(web())).unwrap();
    world.settle();
    let stopped = |host: &str| (host.to_owned(), UnitState::Stopped);
    assert_eq!(states(&world), [stopped("db1"), stopped("db2"), stopped("db3")]);
    assert_eq!(status(&world).record.goal, Goal::Running, "nobody asked for it");
    let unready: Vec<_> = status(&world).instances.iter().map(|it| it.unready).collect();
    assert_eq!(unready, [None; 3], "what is to be stopped is not down");
    // So it is after a crash.
    world.restart();
    world.attach("db[1-3]");
    assert!(world.flows.is_empty());
    world.ask(Ask::Start(web())).unwrap();
    world.settle();
    assert_eq!(status(&world).ready(), 3);
}

#[test]
fn while_it_waits_for_the_other_it_counts_as_down() {
    let mut world = both();
    world.turn("db1", UnitState::Stopping, None);
    let report = world.units[&h("db1")][&exporter()].clone();
    let waiting =
        orchestra_model::service::UnitReport { state: UnitState::AwaitingLinked, ..report };
    world.handle(Input::UnitTold { host: h("db1"), report: waiting });
    let unready = status(&world).instances[0].unready;
    assert_eq!(unready, Some(Unready::NotReady));
    assert!(world.flows.is_empty(), "it begins by itself");
}

#[test]
fn the_other_cannot_be_removed_before_it() {
    let mut world = both();
    let refused = world.ask(Ask::Remove(web())).unwrap_err();
    assert_eq!(refused, Rejection::IsLinkedTo(web(), vec![exporter()]));
    world.ask(Ask::Remove(exporter())).unwrap();
    world.ask(Ask::Remove(web())).unwrap();
    world.settle();
    assert!(world.units.values().all(std::collections::BTreeMap::is_empty));
}

#[test]
fn what_it_is_linked_to_has_to_be_there_and_may_not_be_linked_itself() {
    let mut world = World::new();
    world.attach("db[1-3]");
    let refused = world.ask(apply(linked(1), HostSet::default())).unwrap_err();
    assert_eq!(refused, Rejection::UnknownService(web()));
    assert_eq!(world.engine.names().count(), 0, "nothing of it is kept");
    let mut world = both();
    let mut back = spec("", 2);
    back.upkeep.linked_to = Some(exporter());
    let refused = world.ask(apply(back, HostSet::default())).unwrap_err();
    assert_eq!(refused, Rejection::LinkOfLink(web(), exporter()));
}

#[test]
fn a_version_that_is_linked_no_more_is_where_it_says() {
    let mut world = both();
    let mut alone = linked(2);
    (alone.upkeep.linked_to, alone.on) = (None, "db1".to_owned());
    world.apply(alone);
    world.settle();
    assert_eq!(states(&world), [("db1".to_owned(), UnitState::Ready)]);
    let to = Some(ServiceVersion(1));
    world.ask(Ask::Revert { service: exporter(), to, hosts: [].into() }).unwrap();
    world.settle();
    assert_eq!(status(&world).ready(), 3);
}
