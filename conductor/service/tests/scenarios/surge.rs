//! Updates that begin more instances before they end any, told as stories.

use orchestra_model::{
    FlowState, HostSet,
    service::{Cause, Layout, ServiceSpec, UnitState},
};
use orchestra_service::Ask;

use crate::world::{World, h, placed, web};

/// Two instances of `web`, of which one more is begun for each version.
fn surging(n: u32) -> ServiceSpec {
    let mut spec = placed(2, n);
    spec.update.surge = 1;
    spec
}

/// Players, and the service on two of them, ready.
fn running(players: &str) -> World {
    let mut world = World::new();
    world.load_players(&[(players, "")]);
    world.attach(players);
    world.apply(surging(1));
    assert_eq!(world.settle(), [FlowState::Ok]);
    assert_eq!(world.status().record.hosts.len(), 2, "the first version begins no more");
    world
}

fn ready(world: &World) -> usize {
    world.versions().iter().filter(|(_, _, state)| *state == UnitState::Ready).count()
}

/// The jobs of the flow at a place, by slot: names and numbers of hosts.
fn slots(world: &World, place: usize) -> Vec<Vec<(String, usize)>> {
    let (_, flow) = &world.flows[place];
    let slots = flow.spec.slots.iter().zip(&flow.targets);
    let job = |(job, hosts): (&orchestra_model::flow::JobSpec, &HostSet)| {
        (job.name.to_string(), hosts.len())
    };
    slots.map(|(slot, targets)| slot.jobs.iter().zip(targets).map(job).collect()).collect()
}

#[test]
fn one_more_is_ready_before_any_is_ended_and_one_is_ended_when_all_are_updated() {
    let mut world = running("db[1-4]");
    world.apply(surging(2));
    let status = world.status();
    assert_eq!(status.record.surged, Some(Layout::Count(3)));
    assert_eq!(slots(&world, 0), [[("surge".into(), 1)], [("update".into(), 2)]]);
    for done in 1..=3 {
        world.run_tasks(0, 1);
        assert_eq!(ready(&world), 3, "{done}: {:?}", world.versions());
    }
    assert_eq!(world.run_flow(), FlowState::Ok);
    assert_eq!(slots(&world, 0), [[("leave".into(), 1)]]);
    assert_eq!(world.settle(), [FlowState::Ok]);
    let status = world.status();
    assert_eq!((&status.record.surged, status.record.hosts.len()), (&None, 2));
    assert_eq!((status.instances.len(), status.ready()), (2, 2));
    assert_eq!(status.record.stable.map(|version| version.0), Some(2));
    assert!(world.versions().iter().all(|(_, version, _)| *version == 2));
}

#[test]
fn a_version_that_does_not_become_ready_ends_nothing_of_the_one_before() {
    let mut world = running("db[1-4]");
    world.bad.extend(["db1", "db2", "db3", "db4"].map(|host| (h(host), 2)));
    let before = world.status().record.hosts;
    world.apply(surging(2));
    assert_eq!(world.run_flow(), FlowState::Failed);
    for host in &before {
        let unit = &world.units[host][&web()];
        assert_eq!((unit.version.0, unit.state), (1, UnitState::Ready), "{host}");
    }
    world.settle();
    let status = world.status();
    assert_eq!((status.record.version.0, &status.record.hosts), (1, &before));
    assert_eq!((status.instances.len(), status.ready()), (2, 2), "the third is gone");
}

#[test]
fn without_a_player_for_more_a_version_comes_as_ever_and_that_is_told() {
    let mut world = running("db[1-2]");
    world.apply(surging(2));
    assert_eq!(slots(&world, 0), [[("update".into(), 2)]]);
    let status = world.status();
    assert_eq!((status.record.surged, status.waiting), (None, Vec::new()));
    let notes = status.record.events.iter().filter_map(|event| event.note.as_deref());
    assert_eq!(notes.filter(|note| note.contains("no player has room for 1 more")).count(), 1);
    assert_eq!(world.settle(), [FlowState::Ok]);
    assert_eq!(world.status().ready(), 2);
}

#[test]
fn a_conductor_that_starts_in_the_middle_goes_on() {
    let mut world = running("db[1-4]");
    world.apply(surging(2));
    world.run_tasks(0, 1);
    world.restart();
    world.attach("db[1-4]");
    assert_eq!(world.status().record.surged, Some(Layout::Count(3)));
    assert_eq!(ready(&world), 3);
    world.settle();
    assert_eq!((world.status().record.hosts.len(), ready(&world)), (2, 2));
    // One that missed the end of the flow wants no more than ever.
    world.apply(surging(3));
    world.run_tasks(0, 9);
    world.flows.clear();
    world.restart();
    world.attach("db[1-4]");
    world.settle();
    assert_eq!((world.status().record.hosts.len(), ready(&world)), (2, 2));
    assert!(world.versions().iter().all(|(_, version, _)| *version == 3));
}

#[test]
fn a_newer_version_takes_over_what_was_begun_for_the_one_before() {
    let mut world = running("db[1-4]");
    world.apply(surging(2));
    world.run_tasks(0, 1);
    world.apply(surging(3));
    assert_eq!(world.run_flow(), FlowState::Cancelled);
    assert_eq!(world.status().record.hosts.len(), 3);
    assert_eq!(slots(&world, 0), [[("update".into(), 3)]], "all three are there");
    world.settle();
    assert_eq!((world.status().record.hosts.len(), ready(&world)), (2, 2));
}

#[test]
fn another_number_may_be_asked_for_meanwhile() {
    let mut world = running("db[1-6]");
    world.apply(surging(2));
    world.run_tasks(0, 1);
    world.ask(Ask::Scale { service: web(), zone: None, count: 4, take_over: false }).unwrap();
    let record = world.status().record;
    assert_eq!((record.layout, record.surged), (Some(Layout::Count(4)), Some(Layout::Count(5))));
    world.settle();
    assert_eq!((world.status().record.hosts.len(), ready(&world)), (4, 4));
}

#[test]
fn a_flow_that_is_refused_leaves_nothing_behind() {
    let mut world = running("db[1-4]");
    world.refuses = Some("no".to_owned());
    world.apply(surging(2));
    let status = world.status();
    assert_eq!((status.record.surged, status.record.hosts.len()), (None, 2));
    assert_eq!(status.instances.len(), 2);
}

#[test]
fn a_service_of_which_nothing_is_ready_begins_no_more() {
    let mut world = running("db[1-4]");
    for host in &world.status().record.hosts {
        world.turn(host.as_str(), UnitState::BackingOff, None);
    }
    world.apply(surging(2));
    assert_eq!(world.status().record.surged, None);
    assert_eq!(world.flows[0].1.services[0].cause, Cause::Update);
    assert_eq!(world.settle(), [FlowState::Ok]);
}
