//! Signals for runs, as stories.

use orchestra_model::{
    FlowState, HostSet, Quantity,
    service::{Cause, ReloadRule, RunEnd, ServiceSpec, UnitState, Upkeep, Wanted},
};
use orchestra_service::{Ask, Rejection};

use super::running;
use crate::world::{World, alice, h, spec, web};

const USR1: i32 = 10;

fn signal(hosts: Option<&str>) -> Ask {
    let hosts = hosts.map(|hosts| HostSet::parse_plain(hosts).unwrap());
    Ask::Signal { service: web(), hosts, signal: USR1 }
}

/// What the first job of the only flow asks of units, and where.
fn asked(world: &World) -> (Wanted, String, Quantity) {
    let (_, flow) = &world.flows[0];
    assert_eq!((world.flows.len(), flow.spec.slots.len()), (1, 1));
    let job = &flow.spec.slots[0].jobs[0];
    let wanted = job.unit.as_ref().unwrap().wanted;
    (wanted, flow.targets[0][0].to_string(), job.parallel)
}

#[test]
fn a_signal_is_a_flow_with_the_limits_of_an_update() {
    let mut world = running();
    let taken = world.ask(signal(Some("db[1-2],fe1"))).unwrap();
    assert!(taken.flow.is_some() && !taken.unchanged);
    let wanted = (Wanted::Signalled(USR1), "db[1-2]".to_owned(), Quantity::Count(1));
    assert_eq!(asked(&world), wanted);
    assert_eq!(world.settle(), [FlowState::Ok]);
    assert_eq!(world.signalled, [h("db1"), h("db2")]);
    let last = world.status().record.events.pop().unwrap();
    assert_eq!((last.cause, last.ended), (Cause::Signal, Some(FlowState::Ok)));
    assert!(world.flows.is_empty(), "and that was it");
}

#[test]
fn a_reload_is_the_signal_that_the_version_names() {
    let mut world = running();
    let reload = || Ask::Reload { service: web(), hosts: None };
    assert_eq!(world.ask(reload()), Err(Rejection::NoReload(web())));
    let upkeep = Upkeep { reload: Some(ReloadRule { signal: 1 }), ..Upkeep::default() };
    world.apply(ServiceSpec { upkeep, ..spec("db[1-3]", 2) });
    world.settle();
    world.ask(reload()).unwrap();
    let (wanted, hosts, _) = asked(&world);
    assert_eq!((wanted, hosts.as_str()), (Wanted::Signalled(1), "db[1-3]"));
    assert_eq!(world.flows[0].1.params.len(), 1, "its parameters go with it");
    world.settle();
    assert_eq!(world.signalled.len(), 3);
}

#[test]
fn a_signal_takes_the_place_of_nothing() {
    let mut world = running();
    world.apply(spec("db[1-3]", 2));
    let flow = world.flows[0].0;
    assert_eq!(world.ask(signal(None)), Err(Rejection::Changing(web(), flow)));
    assert!(world.cancelled.is_empty(), "the update goes on");
    world.settle();
    world.ask(Ask::Pause(web())).unwrap();
    assert_eq!(world.ask(signal(None)), Err(Rejection::Paused(web(), alice())));
    world.ask(Ask::Resume(web())).unwrap();
    // What is wanted takes its place.
    world.ask(signal(None)).unwrap();
    let flow = world.flows[0].0;
    world.apply(spec("db[1-3]", 3));
    assert!(world.cancelled.contains(&flow));
    world.settle();
    assert!(world.versions().iter().all(|(_, version, _)| *version == 3));
}

#[test]
fn a_signal_is_for_what_runs() {
    let mut world = running();
    let refused = |world: &mut World, hosts| world.ask(signal(hosts)).unwrap_err();
    assert!(matches!(refused(&mut world, Some("fe1")), Rejection::NotItsHosts(..)));
    world.turn("db1", UnitState::GaveUp, Some(RunEnd::Exited(1)));
    world.detach("db2");
    assert_eq!(refused(&mut world, Some("db1")), Rejection::NoRuns(web()));
    world.ask(signal(None)).unwrap();
    assert_eq!(asked(&world).1, "db3", "nobody who is away, or has no run");
    world.settle();
    world.ask(Ask::Stop(web())).unwrap();
    assert_eq!(refused(&mut world, None), Rejection::Stopped(web()));
}
