//! Moves that somebody asks for, told as stories.

use std::collections::BTreeMap;

use orchestra_model::{
    FlowState, HostName, HostSet,
    service::{Cause, Move},
};
use orchestra_service::{Ask, Input, Rejection, Taken};

use crate::world::{World, h, placed, spec, web};

fn rebalance(world: &mut World, plan: bool) -> Taken {
    world.ask(Ask::Rebalance { service: web(), plan }).unwrap()
}

/// How many instances each zone has.
fn by_zone(world: &World) -> BTreeMap<String, usize> {
    let mut zones = BTreeMap::new();
    for host in &world.status().record.hosts {
        let zone = world.zones[host].as_ref().map_or("", |zone| zone.as_str());
        *zones.entry(zone.to_owned()).or_default() += 1;
    }
    zones
}

/// Four instances in zone east, which was there alone when they were placed, and an empty zone west.
fn lopsided() -> World {
    let mut world = World::new();
    world.load_players(&[("db[1-4]", "zone=east"), ("db[5-8]", "zone=west")]);
    world.attach("db[1-4]");
    world.pass(45_000);
    world.apply(placed(4, 1));
    assert_eq!(world.settle(), [FlowState::Ok]);
    world.attach("db[5-8]");
    assert_eq!(world.settle(), [], "a choice stands");
    assert_eq!(by_zone(&world), [("east".to_owned(), 4)].into());
    world
}

#[test]
fn a_plan_tells_what_would_move_and_does_nothing() {
    let mut world = lopsided();
    let written = world.writes;
    let taken = rebalance(&mut world, true);
    assert!(taken.unchanged);
    assert_eq!((taken.moves.len(), taken.flow), (2, None));
    assert_eq!((world.writes, world.flows.len()), (written, 0));
    assert_eq!(rebalance(&mut world, false).moves, taken.moves, "what it tells is what is done");
}

#[test]
fn instances_move_to_the_zone_that_has_fewer_and_are_ended_once_they_are_ready_there() {
    let mut world = lopsided();
    let taken = rebalance(&mut world, false);
    let (_, flow) = &world.flows[0];
    assert_eq!((flow.services[0].cause, taken.flow), (Cause::Rebalance, Some(world.flows[0].0)));
    let job = &flow.spec.slots[0].jobs[0];
    assert_eq!(job.parallel, placed(4, 1).update.parallel, "as careful as an update");
    world.run_tasks(0, 1);
    let Move { from, .. } = &taken.moves[0];
    assert!(world.units[from].contains_key(&web()), "nothing is ended before the flow is over");
    assert_eq!(world.settle(), [FlowState::Ok, FlowState::Ok]);
    assert_eq!(by_zone(&world), [("east".to_owned(), 2), ("west".to_owned(), 2)].into());
    assert_eq!((world.status().ready(), world.status().instances.len()), (4, 4));
    for Move { ordinal, from, to } in &taken.moves {
        assert!(!world.units[from].contains_key(&web()));
        assert_eq!(world.instance(to.as_str()).instance.ordinal, *ordinal, "it keeps its number");
    }
}

#[test]
fn what_is_spread_evenly_is_left_alone() {
    let mut world = lopsided();
    rebalance(&mut world, false);
    world.settle();
    let written = world.writes;
    let taken = rebalance(&mut world, false);
    assert!(taken.unchanged && taken.moves.is_empty(), "{:?}", taken.moves);
    assert_eq!(world.writes, written);
}

#[test]
fn what_does_not_become_ready_elsewhere_stays_where_it_was() {
    let mut world = lopsided();
    let before = world.status().record.hosts;
    for n in 5..=8 {
        world.bad.insert((h(&format!("db{n}")), 1));
    }
    rebalance(&mut world, false);
    assert_eq!(world.run_flow(), FlowState::Failed);
    world.settle();
    let status = world.status();
    assert_eq!((&status.record.hosts, status.ready()), (&before, 4), "{:?}", status.given_up);
    assert_eq!(status.instances.len(), 4, "what was begun elsewhere is ended");
}

#[test]
fn a_unit_that_says_something_meanwhile_ends_no_move() {
    let mut world = lopsided();
    let taken = rebalance(&mut world, false);
    let Move { from, .. } = &taken.moves[0];
    let report = world.units[from][&web()].clone();
    world.handle(Input::UnitTold { host: from.clone(), report });
    assert!(!world.cancelled.contains(&world.flows[0].0));
    world.settle();
    assert_eq!(by_zone(&world)["west"], 2);
}

#[test]
fn a_player_that_does_not_suit_any_more_is_left() {
    let mut world = World::new();
    world.load_players(&[("db[1-3]", "disk=ssd")]);
    world.attach("db[1-3]");
    let mut spec = placed(1, 1);
    if let Some(rule) = &mut spec.place {
        let label = orchestra_model::names::LabelKey::new("disk").unwrap();
        rule.require = [(label, orchestra_model::names::LabelValue::new("ssd").unwrap())].into();
    }
    world.apply(spec);
    world.settle();
    let old: HostName = world.status().record.hosts.iter().next().unwrap().clone();
    let others = HostSet::parse_plain("db[1-3]").unwrap();
    let others = others.minus(&HostSet::from_names([old.clone()])).to_string();
    world.load_players(&[(&others, "disk=ssd"), (old.as_str(), "disk=hdd")]);
    assert_eq!(world.settle(), [], "labels alone move nothing");
    let taken = rebalance(&mut world, false);
    assert_eq!(taken.moves.iter().map(|it| &it.from).collect::<Vec<_>>(), [&old]);
    world.settle();
    assert!(!world.units[&old].contains_key(&web()));
}

#[test]
fn it_waits_for_nothing() {
    let mut world = lopsided();
    let ask = || Ask::Rebalance { service: web(), plan: false };
    world.ask(Ask::Pause(web())).unwrap();
    assert!(matches!(world.ask(ask()), Err(Rejection::Paused(..))));
    world.ask(Ask::Resume(web())).unwrap();
    world.apply(placed(4, 3));
    assert!(matches!(world.ask(ask()), Err(Rejection::Changing(..))));
    world.settle();
    world.ask(Ask::Stop(web())).unwrap();
    world.settle();
    assert!(matches!(world.ask(ask()), Err(Rejection::Stopped(..))));
    world.apply(spec("db[1-2]", 4));
    world.ask(Ask::Start(web())).unwrap();
    world.settle();
    assert!(matches!(world.ask(ask()), Err(Rejection::NotPlaced(..))));
}
