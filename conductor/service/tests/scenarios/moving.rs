//! Instances that move, told as stories.

use std::collections::BTreeSet;

use orchestra_model::{
    FlowState, HostName, HostSet,
    service::{HostStep, Placement, UnitState},
};
use orchestra_service::{Ask, Input};

use crate::world::{World, apply, exporter, h, linked, placed, spec, web};

/// Three players, and a service of one instance that is ready on one of them, which is returned.
fn one() -> (World, HostName) {
    let mut world = World::new();
    world.load_players(&[("db[1-3]", "")]);
    world.attach("db[1-3]");
    world.apply(placed(1, 1));
    world.settle();
    let host = world.status().record.hosts.iter().next().unwrap().clone();
    (world, host)
}

fn drain(world: &mut World, hosts: &str, drained: bool) {
    let hosts = HostSet::parse_plain(hosts).unwrap();
    world.handle(Input::DrainChanged { hosts, drained });
}

#[test]
fn a_drained_player_is_left_once_another_one_is_ready() {
    let (mut world, old) = one();
    drain(&mut world, old.as_str(), true);
    let new = world.only_host();
    assert_ne!(new, old);
    assert_eq!(world.flows[0].1.targets[0][0].to_string(), new.as_str(), "nothing is ended yet");
    assert_eq!(world.run_flow(), FlowState::Ok);
    assert!(world.is_ready(&old) && world.is_ready(&new));
    let jobs = &world.flows[0].1;
    assert_eq!(
        (jobs.spec.slots[0].jobs[0].name.as_str(), jobs.targets[0][0].to_string()),
        ("leave", old.to_string())
    );
    world.settle();
    let status = world.status();
    let instance = status.instances[0].instance;
    assert_eq!((status.instances.len(), instance.ordinal.0), (1, 1), "it keeps its number");
    assert_eq!(instance.placement, Placement(2));
    assert!(!world.units[&old].contains_key(&web()));
}

#[test]
fn what_does_not_become_ready_elsewhere_stays_where_it_is() {
    let (mut world, old) = one();
    for host in ["db1", "db2", "db3"].map(h).into_iter().filter(|host| *host != old) {
        world.bad.insert((host, 1));
    }
    drain(&mut world, old.as_str(), true);
    world.settle();
    let new = world.only_host();
    assert!(world.is_ready(&old) && !world.is_ready(&new));
    let (_, plan) = world.plan(apply(placed(1, 1), HostSet::default())).unwrap();
    let moving = plan.steps.iter().find(|step| step.step == HostStep::Moving).unwrap();
    assert_eq!(moving.hosts.to_string(), old.as_str());
    // Its sitter gets it ready after all.
    world.turn(new.as_str(), UnitState::Ready, None);
    world.settle();
    assert!(!world.units[&old].contains_key(&web()));
}

#[test]
fn a_host_that_is_named_while_its_instance_moves_away_has_a_number_of_its_own() {
    let (mut world, old) = one();
    drain(&mut world, old.as_str(), true);
    let new = world.only_host();
    assert_eq!(world.run_flow(), FlowState::Ok);
    drain(&mut world, old.as_str(), false);
    let hosts = HostSet::from_names([old, new]);
    world.ask(apply(spec(&hosts.to_string(), 2), hosts)).unwrap();
    world.settle();
    let numbers: Vec<u32> =
        world.status().instances.iter().map(|it| it.instance.ordinal.0).collect();
    assert_eq!(world.status().ready(), 2);
    assert_eq!(numbers.iter().collect::<BTreeSet<_>>().len(), 2, "{numbers:?}");
}

#[test]
fn without_room_elsewhere_a_drained_player_keeps_its_instance_until_there_is() {
    let (mut world, old) = one();
    drain(&mut world, "db[1-3]", true);
    world.settle();
    assert_eq!(world.only_host(), old);
    assert!(world.is_ready(&old));
    world.restart();
    world.load_players(&[("db[1-3]", "")]);
    world.attach("db[1-3]");
    world.settle();
    assert_eq!(world.only_host(), old, "who is drained stays drained");
    let free = ["db1", "db2", "db3"].map(h).into_iter().find(|host| *host != old).unwrap();
    drain(&mut world, free.as_str(), false);
    world.settle();
    assert_eq!(world.only_host(), free);
    assert!(!world.units[&old].contains_key(&web()));
}

#[test]
fn a_player_that_goes_away_before_it_is_ready_ends_nothing() {
    let (mut world, old) = one();
    drain(&mut world, old.as_str(), true);
    let new = world.only_host();
    world.run_flow();
    world.detach(new.as_str());
    world.settle();
    assert_eq!(world.units[&old].len(), 0, "the order was out already");
    let (mut world, old) = one();
    drain(&mut world, old.as_str(), true);
    let new = world.only_host();
    world.detach(new.as_str());
    world.settle();
    assert!(world.is_ready(&old));
    world.attach(new.as_str());
    world.settle();
    assert!(world.is_ready(&new) && !world.is_ready(&old));
}

#[test]
fn who_comes_back_is_not_ended_while_the_player_of_the_other_one_is_away() {
    let (mut world, old) = one();
    drain(&mut world, old.as_str(), true);
    let new = world.only_host();
    world.detach(old.as_str());
    world.settle();
    assert!(world.is_ready(&new), "it became ready while nobody could be told to end the first");
    world.detach(new.as_str());
    world.attach(old.as_str());
    world.settle();
    assert!(world.is_ready(&old), "nobody knows what became of the other one");
    world.attach(new.as_str());
    world.settle();
    assert!(world.is_ready(&new) && !world.units[&old].contains_key(&web()));
}

#[test]
fn a_drain_that_is_over_moves_nothing_back() {
    let (mut world, old) = one();
    drain(&mut world, old.as_str(), true);
    world.settle();
    let (new, written) = (world.only_host(), world.writes);
    drain(&mut world, old.as_str(), false);
    assert_eq!((world.flows.len(), world.writes), (0, written));
    assert_eq!(world.only_host(), new);
}

#[test]
fn what_is_linked_moves_along() {
    let (mut world, old) = one();
    world.apply(linked(1));
    world.settle();
    drain(&mut world, old.as_str(), true);
    let new = world.only_host();
    let ordered = world.flows.iter().flat_map(|(_, flow)| flow.targets.iter().flatten());
    let ordered: BTreeSet<String> = ordered.map(ToString::to_string).collect();
    assert_eq!(ordered, [new.to_string()].into(), "it leaves with the other one, not before");
    world.run_flow();
    assert_eq!(world.engine.status(&exporter()).unwrap().record.hosts.to_string(), new.as_str());
    world.settle();
    assert_eq!(world.units[&old].len(), 0);
    assert_eq!(world.units[&new].values().filter(|it| it.state == UnitState::Ready).count(), 2);
}

#[test]
fn a_service_that_is_stopped_or_removed_waits_for_no_move() {
    for ask in [Ask::Stop(web()), Ask::Remove(web())] {
        let (mut world, old) = one();
        world.bad.extend(["db1", "db2", "db3"].map(|host| (h(host), 1)));
        drain(&mut world, old.as_str(), true);
        world.settle();
        world.ask(ask).unwrap();
        world.settle();
        assert!(!world.units[&old].contains_key(&web()));
    }
}

#[test]
fn a_player_that_an_instance_leaves_gets_no_other_one_before_that_is_gone() {
    let (mut world, old) = one();
    drain(&mut world, old.as_str(), true);
    let new = world.only_host();
    drain(&mut world, old.as_str(), false);
    let scale = Ask::Scale { service: web(), zone: None, count: 3, take_over: false };
    world.ask(scale).unwrap();
    let status = world.status();
    assert!(!status.record.hosts.contains(&old), "its first instance is there yet");
    assert_eq!((status.record.hosts.len(), status.record.hosts.contains(&new)), (2, true));
    assert_eq!((status.waiting[0].count, status.waiting[0].taken), (1, 3));
    world.settle();
    assert_eq!(world.status().record.hosts.len(), 3, "then it does");
}

/// Of two instances whose players are drained at the same moment none is ended before its successor
/// is ready, however many drains there are.
#[test]
fn two_drains_at_once_end_nothing_before_it_is_ready_elsewhere() {
    let mut world = World::new();
    world.load_players(&[("db[1-6]", "")]);
    world.attach("db[1-6]");
    world.apply(placed(2, 1));
    world.settle();
    let old = world.status().record.hosts;
    let ready = |world: &World| world.units.keys().filter(|host| world.is_ready(host)).count();
    drain(&mut world, &old.to_string(), true);
    while !world.flows.is_empty() {
        world.run_flow();
        assert!(ready(&world) >= 2, "{:?}", world.versions());
    }
    assert_eq!(ready(&world), 2);
    assert!(old.iter().all(|host| !world.is_ready(host)));
}
