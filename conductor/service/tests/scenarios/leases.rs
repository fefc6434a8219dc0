//! Which leases are granted, and when an instance that may never be alive twice may be replaced.

use orchestra_model::{
    FlowState, Millis, Timestamp,
    service::{
        AtMostOne, Lease, Ordinal, Placement, Replaceable, ServiceSpec, StopRule, UnitState,
    },
};
use orchestra_service::{Ask, Rejection};

use crate::world::{World, h, spec, web};

const LENGTH: Millis = Millis::seconds(20);
const GRACE: Millis = Millis::seconds(5);

fn with(at_most_one: Option<AtMostOne>, version: u32) -> ServiceSpec {
    let mut spec = spec("db[1-2]", version);
    spec.upkeep.at_most_one = at_most_one;
    spec.upkeep.stop = StopRule { grace: GRACE, ..StopRule::default() };
    spec
}

fn leased(version: u32) -> ServiceSpec {
    with(Some(AtMostOne { lease: Some(LENGTH) }), version)
}

fn by_proof(version: u32) -> ServiceSpec {
    with(Some(AtMostOne { lease: None }), version)
}

/// Two players, and a service that is ready on each.
fn running(spec: ServiceSpec) -> World {
    let mut world = World::new();
    world.attach("db[1-2]");
    world.apply(spec);
    assert_eq!(world.settle(), [FlowState::Ok]);
    world
}

/// The lease that db1's player asks for.
fn lease(placement: u64) -> Lease {
    Lease { service: web(), placement: Placement(placement), length: LENGTH, grace: GRACE }
}

/// Asks for leases of db1 at this moment; gives the placements of those that are granted.
fn grant(world: &mut World, at: u64, asked: &[Lease]) -> Vec<u64> {
    let granted = world.engine.grant(Timestamp(at), &h("db1"), asked.to_vec());
    granted.iter().map(|lease| lease.placement.0).collect()
}

fn replaceable(world: &World) -> Replaceable {
    world.engine.replaceable(&web(), &h("db1"))
}

/// When the lease is over that was granted at this moment: 103 % and 2 s later.
fn over(at: u64) -> u64 {
    at + 25_750 + 2_000
}

fn dead(ordinal: u32) -> Ask {
    Ask::DeclareDead { service: web(), ordinal: Ordinal(ordinal) }
}

#[test]
fn leases_are_granted_of_what_is_there_alone() {
    let mut world = running(leased(1));
    assert_eq!(grant(&mut world, 1_000, &[lease(1), lease(2), lease(7)]), [1]);
    let other = Lease { service: "db".parse().unwrap(), ..lease(1) };
    assert_eq!(grant(&mut world, 1_000, &[other]), [0; 0]);
    world.detach("db1");
    assert_eq!(grant(&mut world, 1_000, &[lease(1)]), [0; 0], "its session is over");
}

#[test]
fn an_instance_is_replaced_when_its_last_lease_is_over_for_certain() {
    let mut world = running(leased(1));
    grant(&mut world, 1_000, &[lease(1)]);
    grant(&mut world, 6_000, &[lease(1)]);
    world.detach("db1");
    assert_eq!(replaceable(&world), Replaceable::At(Timestamp(over(6_000))));
    assert_eq!(world.instance("db1").replaceable, Some(replaceable(&world)));
    assert_eq!(world.instance("db2").replaceable, None, "its player is there");
    world.pass_to(over(6_000) - 1);
    assert_ne!(replaceable(&world), Replaceable::Now);
    world.pass_to(over(6_000));
    assert_eq!(replaceable(&world), Replaceable::Now);
}

#[test]
fn a_shorter_lease_takes_nothing_back() {
    let mut world = running(leased(1));
    grant(&mut world, 1_000, &[lease(1)]);
    let short = Lease { length: Millis::seconds(10), grace: Millis(0), ..lease(1) };
    grant(&mut world, 2_000, &[short]);
    world.detach("db1");
    assert_eq!(replaceable(&world), Replaceable::At(Timestamp(over(1_000))));
}

#[test]
fn a_conductor_that_begins_takes_every_lease_for_just_granted() {
    let mut world = running(leased(1));
    grant(&mut world, 1_000, &[lease(1)]);
    world.pass_to(over(1_000));
    world.restart();
    let Replaceable::At(at) = replaceable(&world) else { panic!("{:?}", replaceable(&world)) };
    assert!(at.0 >= over(over(1_000)), "{at:?}");
    // Who was never granted a lease cannot run.
    world.attach("db[1-3]");
    let mut wider = leased(1);
    wider.on = "db[1-3]".to_owned();
    world.apply(wider);
    world.settle();
    world.detach("db3");
    assert_eq!(world.engine.replaceable(&web(), &h("db3")), Replaceable::Now);
}

#[test]
fn without_a_lease_only_proof_counts() {
    let mut world = running(by_proof(1));
    world.detach("db1");
    assert_eq!(replaceable(&world), Replaceable::OnProof);
    world.pass_to(u64::from(u32::MAX));
    assert_eq!(replaceable(&world), Replaceable::OnProof);
    // The word of its player.
    world.attach("db1");
    world.detach("db1");
    world.wipe("db1");
    world.attach("db1");
    world.settle();
    assert_eq!(world.instance("db1").instance.placement, Placement(3), "its spool was wiped");
}

#[test]
fn what_runs_without_a_lease_is_replaced_on_proof_whatever_is_wanted_now() {
    let mut world = running(by_proof(1));
    world.detach("db1");
    world.apply(leased(2));
    world.settle();
    assert_eq!(replaceable(&world), Replaceable::OnProof);
    // Once it has told a version with a lease it can be waited for.
    world.attach("db1");
    world.settle();
    grant(&mut world, 50_000, &[lease(1)]);
    world.detach("db1");
    assert_eq!(replaceable(&world), Replaceable::At(Timestamp(over(50_000))));
}

#[test]
fn a_service_that_may_be_alive_twice_is_replaced_at_once() {
    let mut world = running(with(None, 1));
    world.detach("db1");
    assert_eq!(replaceable(&world), Replaceable::Now);
    assert_eq!(world.instance("db1").replaceable, None);
    assert_eq!(world.ask(dead(1)), Err(Rejection::MayBeTwice(web())));
}

#[test]
fn a_person_declares_an_instance_dead_and_it_is_ended_when_it_comes_back() {
    let mut world = running(by_proof(1));
    assert_eq!(world.ask(dead(9)), Err(Rejection::NoInstance(web(), Ordinal(9))));
    assert_eq!(world.ask(dead(1)), Err(Rejection::Alive(web(), Ordinal(1), h("db1"))));
    world.detach("db1");
    assert!(!world.ask(dead(1)).unwrap().unchanged);
    assert!(world.ask(dead(1)).unwrap().unchanged);
    assert_eq!(replaceable(&world), Replaceable::Now);
    // That is on disk.
    world.restart();
    assert_eq!(replaceable(&world), Replaceable::Now);
    world.attach("db[1-2]");
    assert_eq!(grant(&mut world, 1_000, &[lease(1)]), [0; 0], "whatever it asks for");
    assert_eq!(world.instance("db1").instance.placement, Placement(3));
    assert_eq!(world.settle(), [FlowState::Ok]);
    let report = world.instance("db1").report.unwrap();
    assert_eq!((report.instance.placement, report.state), (Placement(3), UnitState::Ready));
}

#[test]
fn what_was_declared_dead_and_is_to_end_gets_no_lease() {
    let mut world = running(leased(1));
    world.detach("db1");
    world.ask(dead(1)).unwrap();
    let mut narrower = leased(1);
    narrower.on = "db2".to_owned();
    world.apply(narrower);
    world.settle();
    world.attach("db1");
    assert_eq!(grant(&mut world, 1_000, &[lease(1)]), [0; 0], "it is not wanted, so it only ends");
    // It is wanted again before it has ended.
    world.apply(leased(1));
    assert_eq!(grant(&mut world, 2_000, &[lease(1)]), [0; 0]);
    world.settle();
    let placement = world.instance("db1").instance.placement;
    assert_ne!(placement, Placement(1), "whoever was declared dead does not come back to life");
    assert_eq!(grant(&mut world, 3_000, &[lease(placement.0)]), [placement.0]);
}
