//! Why an instance is not where or as it is to be, told as stories.

use orchestra_model::{
    FlowState, HostSet, Quantity,
    service::{MilliCores, Need, Obstacle, ReplacingWait, Resources, UnitState},
};
use orchestra_service::{Ask, Input};

use crate::world::{World, exporter, h, linked, placed, spec, web};

/// What keeps each host of `web`, in order.
fn told(world: &World) -> Vec<(String, Obstacle)> {
    let hindered = world.status().hindered.into_iter();
    hindered.map(|it| (it.hosts.to_string(), it.by)).collect()
}

fn one(hosts: &str, by: Obstacle) -> Vec<(String, Obstacle)> {
    vec![(hosts.to_owned(), by)]
}

fn drain(world: &mut World, hosts: &str) {
    let hosts = HostSet::parse_plain(hosts).unwrap();
    world.handle(Input::DrainChanged { hosts, drained: true });
}

#[test]
fn nothing_is_told_of_what_is_as_wanted_and_a_flow_of_what_is_to_come() {
    let mut world = World::new();
    world.attach("db[1-3]");
    world.apply(spec("db[1-4]", 1));
    let flow = world.flows[0].0;
    assert_eq!(
        told(&world),
        [("db4".to_owned(), Obstacle::Absent), ("db[1-3]".to_owned(), Obstacle::Flow(flow))]
    );
    assert_eq!(world.settle(), [FlowState::Ok]);
    assert_eq!(told(&world), one("db4", Obstacle::Absent));
    // Who comes while another flow goes on waits for the end of that.
    world.apply(spec("db[1-4]", 2));
    let flow = world.flows[0].0;
    world.attach("db4");
    assert!(told(&world).contains(&("db4".to_owned(), Obstacle::NextFlow(flow))));
    world.settle();
    assert_eq!(told(&world), []);
}

#[test]
fn what_a_person_has_to_do_is_told() {
    let mut world = World::new();
    world.attach("db[1-3]");
    world.apply(spec("db[1-3]", 1));
    world.settle();
    world.turn("db1", UnitState::GaveUp, None);
    world.turn("db2", UnitState::BackingOff, None);
    assert_eq!(
        told(&world),
        [("db1".to_owned(), Obstacle::GaveUp), ("db2".to_owned(), Obstacle::Itself)]
    );
    world.turn("db2", UnitState::Ready, None);
    world.ask(Ask::Pause(web())).unwrap();
    world.apply(spec("db[1-3]", 2));
    assert_eq!(told(&world), one("db[1-3]", Obstacle::Paused));
    world.ask(Ask::Resume(web())).unwrap();
    world.refusing.extend(["db1", "db2", "db3"].map(h));
    world.settle();
    assert_eq!(told(&world), one("db[1-3]", Obstacle::GivenUp));
}

#[test]
fn an_unhealthy_unit_tells_what_holds_its_restart_back() {
    let mut world = World::new();
    world.attach("db[1-4]");
    world.apply(spec("db[1-4]", 6));
    world.settle();
    world.turn("db1", UnitState::Unhealthy, None);
    let flow = world.flows[0].0;
    assert_eq!(told(&world), one("db1", Obstacle::Flow(flow)));
    world.turn("db2", UnitState::Unhealthy, None);
    world.settle();
    assert_eq!(told(&world), one("db[1-2]", Obstacle::Suspicious));
    let mut world = World::new();
    world.attach("db1");
    world.apply(spec("db1", 1));
    world.settle();
    world.turn("db1", UnitState::Unhealthy, None);
    assert_eq!(told(&world), one("db1", Obstacle::Unhealthy), "its version says no more");
}

#[test]
fn a_lack_of_room_is_told_with_what_each_player_lacks() {
    let mut world = World::new();
    world.load_players(&[
        ("db1", "memory=4GiB cpu=4"),
        ("db2", "memory=1GiB cpu=4"),
        ("db3", "memory=1GiB cpu=1"),
    ]);
    world.attach("db[1-3]");
    let mut spec = placed(1, 1);
    let resources = Resources {
        memory: Some("2GiB".parse().unwrap()),
        cpu: Some("2".parse::<MilliCores>().unwrap()),
        processes: None,
        reserve: None,
        enforced: true,
    };
    spec.upkeep.resources = Some(resources);
    world.apply(spec);
    world.settle();
    assert_eq!(world.status().record.hosts.to_string(), "db1");
    drain(&mut world, "db1");
    let [(hosts, Obstacle::Room(why))] = &told(&world)[..] else { panic!("{:?}", told(&world)) };
    assert_eq!((hosts.as_str(), why.players, why.taken, why.full), ("db1", 3, 1, 2));
    assert_eq!((why.short_of_memory, why.short_of_cpu), (2, 1));
    assert_eq!(why.need, Need { memory: "2GiB".parse().unwrap(), cpu: 2_000 });
    // The same holds of one whose player is away for too long.
    world.handle(Input::DrainChanged {
        hosts: HostSet::parse_plain("db1").unwrap(),
        drained: false,
    });
    world.detach("db1");
    assert_eq!(told(&world), one("db1", Obstacle::Absent));
    world.pass(300_000);
    assert!(matches!(&told(&world)[..], [(_, Obstacle::Room(why))] if why.short_of_cpu == 1));
}

#[test]
fn a_brake_that_holds_a_replacement_back_is_told() {
    let mut world = World::new();
    world.load_players(&[("db[1-5]", "")]);
    world.attach("db[1-5]");
    world.apply(placed(5, 3));
    world.settle();
    for host in ["db1", "db2", "db3"] {
        world.detach(host);
    }
    world.pass(40_000);
    let fleet = Obstacle::Replacing(ReplacingWait::FleetDisrupted);
    assert_eq!(told(&world), one("db[1-3]", fleet));
}

#[test]
fn what_waits_for_another_instance_tells_which() {
    let mut world = World::new();
    world.load_players(&[("db[1-2]", "")]);
    world.attach("db[1-2]");
    world.apply(placed(1, 1));
    world.apply(linked(1));
    world.settle();
    let old = world.status().record.hosts.to_string();
    let new = if old == "db1" { "db2" } else { "db1" };
    world.bad.insert((h(new), 1));
    drain(&mut world, &old);
    world.settle();
    let successor = (old.clone(), Obstacle::Successor(h(new)));
    assert!(told(&world).contains(&successor), "{:?}", told(&world));
    let linked = world.engine.status(&exporter()).unwrap().hindered;
    let linked: Vec<_> = linked.into_iter().map(|it| (it.hosts.to_string(), it.by)).collect();
    assert!(linked.contains(&(new.to_owned(), Obstacle::Linked)), "{linked:?}");
    assert!(linked.contains(&successor), "{linked:?}");
}

/// Of a service that may have no more than so many of its hosts down.
#[test]
fn a_host_with_which_a_flow_is_done_does_not_wait_for_it() {
    let mut world = World::new();
    world.attach("db[1-3]");
    let mut spec = spec("db[1-3]", 1);
    spec.update.max_failures = Quantity::ALL;
    world.bad.insert((h("db1"), 1));
    world.apply(spec);
    world.run_tasks(0, 1);
    let flow = world.flows[0].0;
    assert_eq!(
        told(&world),
        [("db[2-3]".to_owned(), Obstacle::Flow(flow)), ("db1".to_owned(), Obstacle::Itself)]
    );
}
