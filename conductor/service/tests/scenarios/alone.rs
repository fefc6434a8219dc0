//! Placed services of which no instance may be alive twice, told as stories.

use orchestra_model::{
    HostName, HostSet, Millis, Timestamp,
    service::{AtMostOne, Lease, Obstacle, Ordinal, Replacing, ReplacingWait, ServiceSpec},
};
use orchestra_service::{Ask, Input};

use crate::world::{World, h, placed, web};

/// One instance that is replaced at once where that may be.
fn single(lease: Option<u64>) -> ServiceSpec {
    let mut spec = placed(1, 4);
    spec.update.surge = 0;
    spec.upkeep.at_most_one = Some(AtMostOne { lease: lease.map(Millis) });
    spec
}

/// Three players, and the service on one of them, which is returned.
fn running(lease: Option<u64>) -> (World, HostName) {
    let mut world = World::new();
    world.load_players(&[("db[1-3]", "")]);
    world.attach("db[1-3]");
    world.apply(single(lease));
    world.settle();
    let host = world.only_host();
    (world, host)
}

fn drain(world: &mut World, host: &HostName) {
    let hosts = HostSet::from_names([host.clone()]);
    world.handle(Input::DrainChanged { hosts, drained: true });
}

/// A player asks for a lease of its instance; whether it is given one.
fn lease(world: &mut World, host: &HostName) -> bool {
    let now = Timestamp(world.now());
    let placement = world.instance(host.as_str()).instance.placement;
    let lease = Lease { service: web(), placement, length: Millis(60_000), grace: Millis(30_000) };
    !world.engine.grant(now, host, vec![lease]).is_empty()
}

#[test]
fn a_drained_player_ends_its_instance_before_another_one_begins_it() {
    let (mut world, old) = running(None);
    drain(&mut world, &old);
    let new = world.only_host();
    assert_ne!(new, old);
    let told = &world.status().hindered;
    assert!(told.iter().any(|it| it.by == Obstacle::Predecessor(old.clone())), "{told:?}");
    world.run_flow();
    assert!(!world.units[&old].contains_key(&web()) && !world.is_ready(&new));
    world.settle();
    assert!(world.is_ready(&new));
    assert_eq!(world.instance(new.as_str()).instance.ordinal, Ordinal(1));
}

#[test]
fn without_proof_nothing_is_replaced() {
    let (mut world, old) = running(None);
    world.detach(old.as_str());
    world.pass(1_000_000);
    assert_eq!(world.only_host(), old);
    let replacing = world.instance(old.as_str()).absence.unwrap().replacing;
    assert_eq!(replacing, Some(Replacing::Waits(ReplacingWait::Proof)));
    world.ask(Ask::DeclareDead { service: web(), ordinal: Ordinal(1) }).unwrap();
    let new = world.only_host();
    world.settle();
    assert!(new != old && world.is_ready(&new));
    // It was alive after all.
    world.attach(old.as_str());
    world.settle();
    assert!(!world.units[&old].contains_key(&web()) && world.is_ready(&new));
}

#[test]
fn a_drained_player_that_goes_away_is_waited_for() {
    let (mut world, old) = running(None);
    drain(&mut world, &old);
    let new = world.only_host();
    world.detach(old.as_str());
    world.settle();
    world.pass(1_000_000);
    world.settle();
    assert!(!world.is_ready(&new), "nobody knows whether it is alive");
    world.restart();
    for host in ["db1", "db2", "db3"].map(h).iter().filter(|host| **host != old) {
        world.attach(host.as_str());
    }
    world.pass(1_000_000);
    world.settle();
    assert!(!world.is_ready(&new));
    world.attach(old.as_str());
    world.settle();
    assert!(world.is_ready(&world.only_host()));
    assert!(!world.units[&old].contains_key(&web()));
}

#[test]
fn with_a_lease_an_instance_is_replaced_when_that_is_over() {
    let (mut world, old) = running(Some(60_000));
    assert!(lease(&mut world, &old));
    let granted = world.now();
    world.detach(old.as_str());
    let replacing = world.instance(old.as_str()).absence.unwrap().replacing;
    let Some(Replacing::At(at)) = replacing else { panic!("{replacing:?}") };
    assert!(at.0 > granted + 90_000, "lease and grace");
    world.pass(at.0 - world.now() - 1);
    assert_eq!((world.only_host(), world.flows.len()), (old.clone(), 0));
    world.pass(1);
    let new = world.only_host();
    assert_ne!(new, old);
    assert!(lease(&mut world, &new), "the other one has none any more");
}

#[test]
fn a_player_that_is_left_gets_no_lease() {
    let (mut world, old) = running(Some(60_000));
    assert!(lease(&mut world, &old));
    drain(&mut world, &old);
    let new = world.only_host();
    assert!(!lease(&mut world, &old) && !lease(&mut world, &new));
    world.settle();
    assert!(world.is_ready(&new) && lease(&mut world, &new));
}
