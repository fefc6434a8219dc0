//! Runs that execute another score than their version's, as stories.

use orchestra_model::{
    FlowState, HostSet,
    score::ScoreHash,
    service::{Cause, ServiceSpec, ServiceVersion, UnitState},
};
use orchestra_service::{Ask, Input};

use crate::world::{World, placed, score, spec, web};

/// Three players, of which db3 holds another score, and a service on each.
fn mixed() -> World {
    let mut world = World::new();
    world.install("db3", 1);
    world.attach("db[1-3]");
    world.apply(spec("db[1-3]", 1));
    assert_eq!(world.settle(), [FlowState::Ok]);
    world
}

fn drifted(world: &World) -> String {
    world.status().drifted().to_string()
}

/// What is told of drift among the service's events.
fn told(world: &World) -> Vec<String> {
    let events = world.status().record.events;
    let drift = events.into_iter().filter(|event| event.cause == Cause::Drift);
    drift.map(|event| event.note.unwrap().to_string()).collect()
}

/// What the orders of the only flow say of the score.
fn ordered(world: &World) -> Option<ScoreHash> {
    let (_, flow) = &world.flows[0];
    let jobs = flow.spec.slots.iter().flat_map(|slot| &slot.jobs);
    let mut hashes = jobs.map(|job| job.unit.as_ref().unwrap().score_hash);
    let first = hashes.next().unwrap();
    assert!(hashes.all(|hash| hash == first));
    first
}

fn restart(hosts: Option<&str>) -> Ask {
    Ask::Restart { service: web(), hosts: hosts.map(|it| HostSet::parse_plain(it).unwrap()) }
}

#[test]
fn a_version_is_what_most_of_its_hosts_hold() {
    let mut world = mixed();
    assert_eq!(world.version(1).score_hash, Some(score(0)));
    assert_eq!(world.status().score_hash, Some(score(0)));
    assert_eq!(drifted(&world), "db3");
    let told_first = told(&world);
    assert_eq!(
        told_first,
        ["db3 runs run-web as 010101010101, and version 1 is with 000000000000"]
    );
    // A flow that follows says the same, whoever holds what now.
    world.install("db[1-2]", 1);
    world.turn("db2", UnitState::AwaitingParams, None);
    assert_eq!(ordered(&world), Some(score(0)));
    world.settle();
    assert_eq!((drifted(&world).as_str(), told(&world)), ("db[2-3]", told_first), "told once");
    // A version has its own.
    world.apply(spec("db[1-3]", 2));
    assert_eq!(ordered(&world), Some(score(1)));
    world.settle();
    assert_eq!(drifted(&world), "");
}

#[test]
fn the_next_run_is_of_what_is_installed_and_nothing_is_done_for_that() {
    let mut world = mixed();
    world.install("db1", 7);
    assert_eq!(drifted(&world), "db3", "its run is as before");
    world.turn("db1", UnitState::BackingOff, None);
    assert_eq!(world.instance("db1").drifted, None, "it has no run");
    world.turn("db1", UnitState::Ready, None);
    assert_eq!((drifted(&world).as_str(), world.flows.len()), ("db[1,3]", 0));
}

#[test]
fn who_asks_for_new_runs_everywhere_asks_for_what_is_installed() {
    let mut world = mixed();
    world.install("db[1-3]", 2);
    world.ask(restart(Some("db1"))).unwrap();
    assert_eq!(ordered(&world), Some(score(0)), "of some it says nothing");
    world.settle();
    assert_eq!(drifted(&world), "db[1,3]");
    world.ask(restart(None)).unwrap();
    assert_eq!(ordered(&world), Some(score(2)));
    world.settle();
    assert_eq!((drifted(&world).as_str(), world.version(1).score_hash), ("", Some(score(2))));
    // What drifts from that is told again.
    world.install("db2", 3);
    world.turn("db2", UnitState::BackingOff, None);
    world.turn("db2", UnitState::Ready, None);
    assert_eq!(told(&world).len(), 2);
}

#[test]
fn an_earlier_version_is_what_it_was() {
    let mut world = mixed();
    world.install("db[1-3]", 2);
    world.apply(spec("db[1-3]", 2));
    world.settle();
    let first = ServiceVersion(1);
    let hosts = [(first, hosts("db[1-3]"))].into();
    world.ask(Ask::Revert { service: web(), to: Some(first), hosts }).unwrap();
    assert_eq!(ordered(&world), Some(score(0)));
    world.settle();
    assert_eq!(drifted(&world), "db[1-3]");
}

#[test]
fn it_is_known_over_a_restart_of_the_conductor() {
    let mut world = mixed();
    world.restart();
    assert_eq!(world.status().score_hash, Some(score(0)));
    world.attach("db[1-3]");
    assert_eq!((drifted(&world).as_str(), told(&world).len()), ("db3", 1), "and told once");
}

#[test]
fn while_nobody_holds_it_nothing_is_known() {
    let mut world = World::new();
    world.refusing.insert(crate::world::h("db1"));
    world.attach("db1");
    world.apply(spec("db1", 1));
    assert_eq!(ordered(&world), None);
    world.settle();
    world.refusing.clear();
    world.detach("db1");
    world.attach("db1");
    assert_eq!(ordered(&world), Some(score(0)), "the next flow finds it");
}

#[test]
fn a_plan_says_who_holds_another_one() {
    let mut world = mixed();
    world.install("db1", 1);
    let plan = |world: &World, spec: ServiceSpec| {
        let ask = crate::world::apply(spec, hosts("db[1-3]"));
        world.plan(ask).unwrap().1.other_score.to_string()
    };
    assert_eq!(plan(&world, spec("db[1-3]", 1)), "db[1,3]", "than the version that there is");
    assert_eq!(plan(&world, spec("db[1-3]", 2)), "db2", "than the version that would be");
}

#[test]
fn a_placed_service_that_requires_its_score_is_where_that_is() {
    let mut world = World::new();
    world.load_players(&[("db[1-4]", "zone=east")]);
    world.install("db1", 1);
    world.attach("db[1-4]");
    let mut spec = placed(4, 100);
    spec.upkeep.require_same_score = true;
    let taken = world.ask(crate::world::apply(spec, HostSet::default())).unwrap();
    assert_eq!(world.status().record.hosts.to_string(), "db[2-4]");
    assert_eq!((taken.waiting[0].count, taken.waiting[0].without_score), (1, 1));
    // It comes where its score comes.
    world.settle();
    world.install("db1", 0);
    assert_eq!(world.status().record.hosts.to_string(), "db[1-4]");
}

#[test]
fn a_player_of_an_earlier_release_says_nothing_of_it() {
    let mut world = mixed();
    let mut report = world.instance("db1").report.unwrap();
    report.score_hash = None;
    world.handle(Input::UnitTold { host: crate::world::h("db1"), report });
    assert_eq!(world.instance("db1").drifted, None);
}

fn hosts(text: &str) -> HostSet {
    HostSet::parse_plain(text).unwrap()
}
