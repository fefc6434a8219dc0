//! Units that the store knows nothing of, and what a person does about them.

use orchestra_model::{
    FlowState, HostSet,
    service::{Cause, Goal, Wanted},
};
use orchestra_service::{Ask, Rejection};

use crate::world::{World, alice, apply, spec, web};

/// A placement that this store never issued.
const STRANGE: u64 = 1 << 40;

fn set(hosts: &str) -> Option<HostSet> {
    Some(HostSet::parse_plain(hosts).unwrap())
}

fn stop(hosts: Option<HostSet>) -> Ask {
    Ask::StopStrangers { service: web(), hosts }
}

/// A service on db1 and db2, and strangers on db2 and db3.
fn with_strangers() -> World {
    let mut world = World::new();
    world.attach("db[1-3]");
    world.apply(spec("db[1-2]", 1));
    world.settle();
    world.plant("db2", STRANGE);
    world.plant("db3", STRANGE + 1);
    assert!(world.flows.is_empty(), "strangers are left alone");
    assert_eq!(world.strangers(), ["db2", "db3"]);
    world
}

#[test]
fn strangers_are_ended_where_a_person_says_so_and_the_service_comes_there() {
    let mut world = with_strangers();
    let taken = world.ask(stop(set("db2"))).unwrap();
    let flow = &world.flows[0].1;
    assert_eq!((taken.flow, taken.unchanged), (Some(world.flows[0].0), false));
    assert_eq!(
        (&flow.audience, flow.by_keeper, flow.services[0].cause),
        (&alice(), false, Cause::StopStranger)
    );
    let unit = flow.spec.slots[0].jobs[0].unit.as_ref().unwrap();
    assert_eq!((unit.wanted, unit.instances[0].placement.0), (Wanted::Gone, STRANGE));
    // A repair follows: the service is wanted there.
    assert_eq!(world.settle(), [FlowState::Ok, FlowState::Ok]);
    assert_eq!(world.strangers(), ["db3"]);
    assert_eq!(world.status().instances.len(), 2);
    assert_eq!(world.unready("db2"), None);
    let causes: Vec<_> = world.status().record.events.iter().map(|it| it.cause).collect();
    assert!(causes.contains(&Cause::StopStranger), "{causes:?}");
    // Where it is not wanted, nothing comes instead.
    world.ask(stop(None)).unwrap();
    assert_eq!(world.settle(), [FlowState::Ok]);
    assert_eq!(world.strangers(), [""; 0]);
    assert_eq!(world.ask(stop(None)), Err(Rejection::NoStrangers(web())));
}

#[test]
fn strangers_of_a_name_that_nobody_knows_are_ended_too() {
    let mut world = World::new();
    world.plant("db1", STRANGE);
    assert!(!world.engine.each_stranger().next().unwrap().is_known);
    let adopted = world.ask(Ask::Adopt { service: web(), hosts: None });
    assert_eq!(adopted, Err(Rejection::UnknownService(web())));
    world.ask(stop(None)).unwrap();
    assert_eq!(world.settle(), [FlowState::Ok]);
    assert_eq!((world.strangers().len(), world.versions().len()), (0, 0));
    assert_eq!(world.status().record.goal, Goal::Removed);
    assert_eq!(world.engine.names().count(), 0, "it is no service");
    // The name can be given anew.
    world.apply(spec("db1", 1));
    assert_eq!(world.settle(), [FlowState::Ok]);
}

#[test]
fn a_flow_that_ends_strangers_outlives_the_conductor() {
    let mut world = with_strangers();
    world.ask(stop(None)).unwrap();
    world.restart();
    world.attach("db[1-3]");
    assert_eq!(world.settle(), [FlowState::Ok, FlowState::Ok]);
    assert_eq!((world.strangers().len(), world.versions().len()), (0, 2));
}

#[test]
fn an_order_that_leaves_while_its_flow_is_taken_in_names_the_stranger() {
    let mut world = with_strangers();
    let (reply, hosts) = (orchestra_service::ReplyId(99), set("db3"));
    let input = orchestra_service::Input::Asked { reply, by: alice(), ask: stop(hosts) };
    world.engine.handle(orchestra_model::Timestamp(9), input);
    let db3 = crate::world::h("db3");
    assert_eq!(world.engine.instance_to_order(&web(), &db3), None, "the order names it already");
}

#[test]
fn nothing_is_overtaken() {
    let mut world = with_strangers();
    world.apply(spec("db[1-2]", 2));
    let busy = world.ask(stop(None));
    assert!(matches!(busy, Err(Rejection::Busy(..))), "{busy:?}");
    world.settle();
    world.ask(Ask::Pause(web())).unwrap();
    world.ask(apply(spec("db[1-2]", 3), HostSet::parse_plain("db[1-2]").unwrap())).unwrap();
    let why = world.ask(stop(None)).unwrap_err().to_string();
    assert!(why.ends_with("it is paused, and update by alice waits: resume it"), "{why}");
}

#[test]
fn who_is_away_has_no_strangers() {
    let mut world = with_strangers();
    world.detach("db2");
    assert_eq!(world.ask(stop(set("db2"))), Err(Rejection::NoStrangers(web())));
}

#[test]
fn what_is_adopted_is_not_fenced_and_what_is_not_wanted_is_not_adopted() {
    let mut world = with_strangers();
    let adopt = |hosts| Ask::Adopt { service: web(), hosts };
    let refused = world.ask(adopt(set("db3")));
    assert_eq!(refused, Err(Rejection::NotItsHosts(web(), set("db3").unwrap())));
    world.ask(adopt(None)).unwrap();
    world.settle();
    assert_eq!(world.strangers(), ["db3"], "it is wanted on db2 alone");
    assert!(world.instance("db2").instance.placement.0 > STRANGE);
    // What else the store never issued is a stranger still.
    world.plant("db1", STRANGE - 1);
    assert_eq!(world.strangers(), ["db1", "db3"]);
}
