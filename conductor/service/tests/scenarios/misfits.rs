//! Instances that fail where they are and not elsewhere, told as stories.

use std::collections::BTreeSet;

use orchestra_model::{
    HostName, HostSet,
    service::{AtMostOne, Obstacle, RunEnd, UnitState},
};
use orchestra_service::{Ask, Input};

use crate::world::{World, placed, web};

const PATIENCE: u64 = 30_000;
const MINUTE: u64 = 60_000;

/// Players db1 to dbN, and a service of so many instances, which are ready.
fn running(players: u32, count: u32) -> World {
    let mut world = World::new();
    let all = format!("db[1-{players}]");
    world.load_players(&[(&all, "")]);
    world.attach(&all);
    world.apply(placed(count, 1));
    world.settle();
    assert_eq!(world.status().ready(), count as usize);
    world
}

fn hosts(world: &World) -> BTreeSet<HostName> {
    world.status().record.hosts.iter().cloned().collect()
}

/// The runs of an instance end, one after the other.
fn crash(world: &mut World, host: &HostName) {
    for _ in 0..3 {
        let unit = world.units.get_mut(host).and_then(|units| units.get_mut(&web())).unwrap();
        unit.restarts += 1;
        world.turn(host.as_str(), UnitState::BackingOff, Some(RunEnd::Exited(1)));
    }
}

/// The host that has come in the place of another one.
fn new(world: &World, before: &BTreeSet<HostName>) -> HostName {
    let new: Vec<HostName> = hosts(world).difference(before).cloned().collect();
    let [new] = &new[..] else { panic!("{new:?}") };
    new.clone()
}

#[test]
fn what_fails_on_its_host_alone_is_tried_on_another_and_goes_on_until_it_is_ready_there() {
    let mut world = running(4, 2);
    let before = hosts(&world);
    let sick = before.first().unwrap().clone();
    let ordinal = world.instance(sick.as_str()).instance.ordinal;
    crash(&mut world, &sick);
    world.pass(PATIENCE - 1_000);
    assert_eq!(hosts(&world), before);
    let hindered = world.status().hindered;
    let by = hindered.iter().find(|it| it.hosts.contains(&sick)).map(|it| &it.by);
    assert!(matches!(by, Some(Obstacle::Misfit(left)) if left.0 <= 1_000), "{hindered:?}");
    world.pass(1_000);
    let new = new(&world, &before);
    assert!(!hosts(&world).contains(&sick));
    assert_eq!(world.instance(new.as_str()).instance.ordinal, ordinal, "it keeps its number");
    assert!(world.units[&sick].contains_key(&web()), "it goes on meanwhile");
    world.settle();
    assert!(world.is_ready(&new) && !world.units[&sick].contains_key(&web()));
    let events = world.status().record.events;
    let told = events.iter().filter_map(|event| event.note.as_deref());
    let said = format!("it fails on {sick}");
    assert_eq!(told.filter(|note| note.contains(&said)).count(), 1, "{events:?}");
}

#[test]
fn what_is_ready_nowhere_stays_where_it_is() {
    let mut world = running(4, 2);
    let before = hosts(&world);
    for host in &before {
        crash(&mut world, host);
    }
    world.pass(120 * MINUTE);
    assert_eq!(hosts(&world), before);
    // Once one is ready, the other is tried elsewhere.
    let well = before.first().unwrap();
    world.turn(well.as_str(), UnitState::Ready, None);
    world.pass(MINUTE);
    assert!(hosts(&world) != before && hosts(&world).contains(well));
}

#[test]
fn a_run_that_is_up_for_long_fails_no_more() {
    let mut world = running(4, 2);
    let before = hosts(&world);
    let sick = before.first().unwrap().clone();
    crash(&mut world, &sick);
    world.pass(PATIENCE - 11_000);
    world.turn(sick.as_str(), UnitState::Ready, Some(RunEnd::Exited(1)));
    world.pass(10 * MINUTE);
    assert_eq!(hosts(&world), before);
    // Two ends that are far apart are none again and again.
    for _ in 0..5 {
        let unit = world.units.get_mut(&sick).and_then(|units| units.get_mut(&web())).unwrap();
        unit.restarts += 1;
        world.turn(sick.as_str(), UnitState::Ready, Some(RunEnd::Exited(1)));
        world.pass(MINUTE);
    }
    assert_eq!(hosts(&world), before);
}

#[test]
fn a_host_that_failed_an_instance_is_not_tried_again_and_few_are_tried_in_an_hour() {
    let mut world = running(9, 2);
    let well = hosts(&world).first().unwrap().clone();
    let sick = |world: &World| hosts(world).into_iter().find(|host| *host != well).unwrap();
    let mut tried = vec![sick(&world)];
    for minute in 0..59 {
        let now = sick(&world);
        crash(&mut world, &now);
        world.pass(MINUTE);
        world.settle();
        if sick(&world) != now {
            assert!(!tried.contains(&sick(&world)), "{minute}: {tried:?}");
            tried.push(sick(&world));
        }
    }
    assert_eq!(tried.len(), 4, "{tried:?}");
    for _ in 0..10 {
        let now = sick(&world);
        crash(&mut world, &now);
        world.pass(MINUTE);
        world.settle();
    }
    assert!(!tried.contains(&sick(&world)), "the first was an hour ago");
}

#[test]
fn nothing_is_tried_elsewhere_of_a_service_that_is_paused_or_changes() {
    let mut world = running(4, 2);
    let before = hosts(&world);
    let sick = before.first().unwrap().clone();
    world.ask(Ask::Pause(web())).unwrap();
    crash(&mut world, &sick);
    world.pass(5 * MINUTE);
    assert_eq!(hosts(&world), before);
    world.ask(Ask::Resume(web())).unwrap();
    crash(&mut world, &sick);
    world.pass(5 * MINUTE);
    assert_ne!(hosts(&world), before);
}

#[test]
fn an_instance_that_is_never_alive_twice_goes_back_if_it_fails_where_it_was_moved_to() {
    let mut world = World::new();
    world.load_players(&[("db[1-2]", "")]);
    world.attach("db[1-2]");
    let mut spec = placed(1, 1);
    spec.upkeep.at_most_one = Some(AtMostOne { lease: None });
    world.apply(spec);
    world.settle();
    let old = world.only_host();
    let drain = |world: &mut World, drained| {
        let hosts = HostSet::from_names([old.clone()]);
        world.handle(Input::DrainChanged { hosts, drained });
        world.settle();
    };
    drain(&mut world, true);
    let new = world.only_host();
    assert!(new != old && world.is_ready(&new));
    crash(&mut world, &new);
    world.pass(PATIENCE);
    assert_eq!(world.only_host(), new, "a drained player is none to go to");
    drain(&mut world, false);
    assert_eq!(world.only_host(), old);
    assert!(!world.units[&new].contains_key(&web()));
    assert!(world.is_ready(&old));
    assert_eq!(world.status().instances.len(), 1);
}
