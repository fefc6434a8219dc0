//! What holds replacements back, told as stories.

use orchestra_model::{
    Asker, HostSet,
    names::LabelValue,
    service::{AbsenceBrake, BrakeScope, Replacing, ReplacingWait},
};
use orchestra_service::Rejection;

use crate::world::{World, alice, h, placed};

/// After this an instance is replaced in version 3 of [`placed`].
const AFTER: u64 = 30_000;
const COME_BACK: u64 = 45_000;

const FLEET: BrakeScope = BrakeScope::Fleet;

fn east() -> BrakeScope {
    BrakeScope::Zone(Some(LabelValue::new("east").unwrap()))
}

/// Four players in the east, and more elsewhere; a service has an instance on each of the first ones.
fn running(lines: &[(&str, &str)], count: u32) -> World {
    let mut world = World::new();
    world.load_players(lines);
    for (hosts, _) in lines {
        world.attach(hosts);
    }
    world.apply(placed(count, 3));
    world.settle();
    assert_eq!(world.status().ready(), count as usize);
    world
}

fn detach(world: &mut World, hosts: &str) {
    for host in &HostSet::parse_plain(hosts).unwrap() {
        world.detach(host.as_str());
    }
}

/// How many of the instances that are wanted are on players that are away.
fn left(world: &World) -> usize {
    let hosts = world.status().record.hosts;
    hosts.iter().filter(|host| !world.attached.contains(*host)).count()
}

fn replacing(world: &World, host: &str) -> Option<Replacing> {
    world.instance(host).absence.and_then(|absence| absence.replacing)
}

/// Seven players, each with an instance, and three that are free; then the seven are away.
fn isolated() -> World {
    let mut world = running(&[("db[1-7]", "zone=east"), ("db[8-10]", "zone=west")], 7);
    let away = world.status().record.hosts;
    detach(&mut world, &away.to_string());
    world
}

#[test]
fn while_most_of_the_fleet_is_away_nothing_is_replaced() {
    let mut world = isolated();
    let away = world.status().record.hosts;
    world.pass(100 * AFTER);
    assert_eq!(world.status().record.hosts, away, "nothing moves");
    assert!(world.braked.contains(&FLEET));
    let one = away.iter().next().unwrap();
    let waits = Some(Replacing::Waits(ReplacingWait::FleetDisrupted));
    assert_eq!(replacing(&world, one.as_str()), waits, "and it is told why");
    let brake = world.engine.zones().brake.unwrap();
    assert_eq!((brake.absent, brake.of), (6, 10), "as many as engaged it");
    // All of them come back: all is as before.
    let written = world.disk_of_placements();
    for host in &away {
        world.attach(host.as_str());
    }
    world.settle();
    world.pass(100 * AFTER);
    assert_eq!((world.status().record.hosts, world.braked.len()), (away, 0));
    assert_eq!(world.disk_of_placements(), written, "no placement was made");
}

#[test]
fn three_fifths_of_two_hundred_players_that_are_cut_off_for_ten_minutes_move_nothing() {
    let zones = ["east", "north", "west", "south"].map(|zone| format!("zone={zone}"));
    let hosts = ["db[1-50]", "db[51-100]", "db[101-150]", "db[151-200]"];
    let lines: Vec<(&str, &str)> =
        hosts.into_iter().zip(zones.iter().map(String::as_str)).collect();
    let mut world = running(&lines, 100);
    let (before, placements) = (world.status().record.hosts, world.disk_of_placements());
    detach(&mut world, "db[1-120]");
    world.pass(600_000);
    assert_eq!(world.status().record.hosts, before, "nothing moves");
    let away: Vec<_> = before.iter().filter(|host| !world.attached.contains(*host)).collect();
    assert!(away.len() > 50, "{}", away.len());
    let waits = Some(Replacing::Waits(ReplacingWait::FleetDisrupted));
    assert!(
        away.iter().all(|host| replacing(&world, host.as_str()) == waits),
        "and it is told why"
    );
    world.attach("db[1-120]");
    world.settle();
    world.pass(600_000);
    assert_eq!((world.status().record.hosts, world.status().ready()), (before, 100));
    assert_eq!((world.disk_of_placements(), world.braked.len()), (placements, 0));
}

#[test]
fn once_fewer_are_away_the_others_are_replaced_at_the_buckets_rate() {
    let mut world = isolated();
    world.pass(2 * AFTER);
    let away: Vec<String> = world.status().record.hosts.iter().map(ToString::to_string).collect();
    // Two are back: five of ten are away, which may be chance. The others have time to follow.
    world.attach(&away[0]);
    world.attach(&away[1]);
    world.pass(COME_BACK - 10);
    assert!(world.braked.contains(&FLEET));
    assert_eq!(left(&world), 5);
    world.pass(10);
    assert!(!world.braked.contains(&FLEET));
    assert!((2..5).contains(&left(&world)), "some at once, by the buckets");
    let hosts = world.status().record.hosts;
    let mut waits = hosts.iter().filter(|host| !world.attached.contains(*host));
    let of_rate = |host| {
        let why = replacing(&world, host);
        matches!(why, Some(Replacing::Waits(ReplacingWait::Rate | ReplacingWait::ZoneDisrupted)))
    };
    assert!(waits.all(|host| of_rate(host.as_str())));
}

#[test]
fn a_person_releases_the_brake_until_players_are_back() {
    let mut world = isolated();
    world.pass(2 * AFTER);
    world.release(&east()).unwrap();
    world.release(&FLEET).unwrap();
    assert_eq!(left(&world), 4, "there is room for three");
    assert_eq!(world.release(&FLEET), Err(Rejection::NotBraked(FLEET)));
    assert_eq!(world.engine.zones().brake.unwrap().released_by, Some(alice()));
    // That is on disk, and holds until so many are back that it would not be engaged.
    world.restart();
    world.load_players(&[("db[1-7]", "zone=east"), ("db[8-10]", "zone=west")]);
    world.attach("db[8-10]");
    world.pass(COME_BACK);
    assert!(!world.engine.zones().brake.unwrap().is_engaged());
}

#[test]
fn while_most_of_a_zone_is_away_its_instances_are_replaced_one_by_one() {
    let mut world = running(&[("db[1-4]", "zone=east disk=ssd"), ("db[5-12]", "zone=west")], 8);
    let hosts = world.status().record.hosts;
    let of_east: Vec<String> = hosts
        .iter()
        .map(ToString::to_string)
        .filter(|host| ["db1", "db2", "db3", "db4"].contains(&host.as_str()))
        .collect();
    assert_eq!(of_east.len(), 4);
    detach(&mut world, "db[1-4]");
    assert!(world.braked.contains(&east()) && !world.braked.contains(&FLEET));
    world.pass(AFTER);
    assert_eq!(left(&world), 3);
    let last = of_east.iter().find(|host| world.status().record.hosts.contains(&h(host))).unwrap();
    assert_eq!(replacing(&world, last), Some(Replacing::Waits(ReplacingWait::ZoneDisrupted)));
    world.pass(9_990);
    assert_eq!(left(&world), 3, "not before ten seconds");
    world.pass(10);
    assert_eq!(left(&world), 2);
    // A crash forgets no brake.
    world.restart();
    world.attach("db[5-12]");
    assert!(world.engine.zones().zones.iter().any(|zone| zone.brake.is_some()));
    world.pass(COME_BACK);
    assert_eq!(left(&world), 1);
    world.release(&east()).unwrap();
    world.pass(1);
    assert_eq!(left(&world), 0, "released, the service's own bucket has room again");
}

#[test]
fn after_half_an_hour_a_zone_is_taken_for_gone_but_never_the_fleet() {
    const HALF_AN_HOUR: u64 = 1_800_000;
    let lines = [("db[1-4]", "zone=east disk=ssd"), ("db[5-12]", "zone=west")];
    let mut world = running(&lines, 8);
    detach(&mut world, "db[1-4]");
    world.pass(HALF_AN_HOUR / 2);
    // Time without a conductor does not count, nor what was before it.
    world.restart();
    world.load_players(&lines);
    world.attach("db[5-12]");
    world.pass(HALF_AN_HOUR - COME_BACK);
    assert!(world.engine.zones().zones.iter().any(|it| it.brake.as_ref().is_some_and(engaged)));
    world.pass(COME_BACK);
    let zones = world.engine.zones();
    let brake = zones.zones.into_iter().find_map(|zone| zone.brake).unwrap();
    assert_eq!(brake.released_by, Some(Asker::Keeper));
    // One that comes back for a moment does not engage it anew.
    world.attach("db1");
    world.detach("db1");
    assert!(world.engine.zones().zones.iter().all(|it| !it.brake.as_ref().is_some_and(engaged)));
    let mut world = isolated();
    let before = left(&world);
    world.pass(10 * HALF_AN_HOUR);
    assert!(engaged(&world.engine.zones().brake.unwrap()));
    assert_eq!(left(&world), before);
}

fn engaged(brake: &AbsenceBrake) -> bool {
    brake.is_engaged()
}

#[test]
fn three_instances_of_a_service_are_replaced_at_once_and_then_one_each_ten_seconds() {
    let mut world = running(&[("db[1-20]", "")], 10);
    let hosts: Vec<String> = world.status().record.hosts.iter().map(ToString::to_string).collect();
    for host in &hosts[..6] {
        world.detach(host);
    }
    world.pass(AFTER);
    assert_eq!(left(&world), 3);
    let last = hosts
        .iter()
        .find(|host| replacing(&world, host) == Some(Replacing::Waits(ReplacingWait::Rate)));
    assert!(last.is_some(), "{:?}", world.status().instances);
    world.pass(10_000);
    assert_eq!(left(&world), 2);
    world.pass(20_000);
    assert_eq!(left(&world), 0);
}

#[test]
fn a_crash_refills_no_bucket() {
    let mut world = World::new();
    world.load_players(&[("db[1-20]", "")]);
    world.attach("db[1-20]");
    // Version 4 is replaced at once.
    world.apply(placed(10, 4));
    world.settle();
    let hosts: Vec<String> = world.status().record.hosts.iter().map(ToString::to_string).collect();
    for host in &hosts[..3] {
        world.detach(host);
    }
    assert_eq!(left(&world), 0);
    world.settle();
    world.restart();
    // All are back at once, so that nobody has to be waited for.
    world.attach("db[1-20]");
    for host in &hosts[3..6] {
        world.detach(host);
    }
    assert_eq!(left(&world), 3);
    world.pass(10_000);
    assert_eq!(left(&world), 2);
}

#[test]
fn two_of_two_that_are_away_may_be_chance() {
    let mut world = running(&[("db[1-2]", "zone=east"), ("db[3-5]", "zone=west")], 4);
    detach(&mut world, "db[1-2]");
    assert_eq!(world.braked.len(), 0);
    world.pass(AFTER);
    assert!(left(&world) < 2);
}

#[test]
fn who_was_never_there_is_not_away() {
    let mut world = World::new();
    world.load_players(&[("db[1-20]", "")]);
    world.attach("db[1-4]");
    world.pass(COME_BACK);
    world.apply(placed(1, 3));
    world.settle();
    assert_eq!(world.braked.len(), 0);
    let host = world.status().record.hosts.to_string();
    world.detach(&host);
    world.pass(AFTER);
    assert_eq!(left(&world), 0, "sixteen are still to be installed");
}

#[test]
fn first_placements_and_moves_are_not_held_back() {
    let mut world = isolated();
    let mut more = placed(8, 3);
    more.name = "other".parse().unwrap();
    let taken = world.apply(more);
    assert_eq!(taken.waiting[0].count, 5, "three have room");
}
