//! Services that are placed, told as stories.

use orchestra_model::{
    FlowState, HostSet, Millis, ServiceName,
    names::{LabelKey, LabelValue},
    service::{Cause, Layout, Resources, ServiceSpec, Spread, UnitState, Waiting},
    size::ByteSize,
};
use orchestra_service::{Ask, Input, Rejection};

use crate::world::{World, apply, exporter, filed, h, linked, placed, spec, web};

/// Four players in two zones.
fn four() -> World {
    let mut world = World::new();
    world.load_players(&[("db[1-2]", "zone=east"), ("db[3-4]", "zone=west")]);
    world.attach("db[1-4]");
    world
}

fn api() -> ServiceName {
    ServiceName::new("api").unwrap()
}

fn hosts(world: &World) -> String {
    world.status().record.hosts.to_string()
}

/// The instances with their hosts: `1@db2`.
fn instances(world: &World) -> Vec<String> {
    let mut all: Vec<_> = world.status().instances;
    all.sort_by_key(|one| one.instance.ordinal);
    all.iter().map(|one| format!("{}@{}", one.instance.ordinal, one.host)).collect()
}

fn rule(
    mut spec: ServiceSpec,
    change: impl FnOnce(&mut orchestra_model::service::PlaceRule),
) -> ServiceSpec {
    change(spec.place.as_mut().unwrap());
    spec
}

fn zone(name: &str) -> LabelValue {
    LabelValue::new(name).unwrap()
}

fn zones(counts: &[(&str, u32)]) -> Layout {
    Layout::Zones(counts.iter().map(|(name, count)| (zone(name), *count)).collect())
}

fn with_reserve(spec: ServiceSpec, reserve: u64) -> ServiceSpec {
    let mut spec = spec;
    let memory = Some(ByteSize(reserve << 20));
    spec.upkeep.resources = Some(Resources { reserve: memory, ..Resources::NONE });
    spec
}

/// The one reason for which instances wait.
fn waiting(world: &World) -> Waiting {
    match <[Waiting; 1]>::try_from(world.status().waiting) {
        Ok([one]) => one,
        Err(all) => panic!("{all:?}"),
    }
}

#[test]
fn instances_are_spread_over_zones_and_brought_there_by_one_flow() {
    let mut world = four();
    let taken = world.apply(placed(2, 1));
    assert_eq!(taken.waiting, []);
    assert_eq!(world.settle(), [FlowState::Ok]);
    let hosts = world.status().record.hosts;
    let east = HostSet::parse_plain("db[1-2]").unwrap();
    assert_eq!((hosts.len(), hosts.intersection(&east).len()), (2, 1));
    assert_eq!(world.status().ready(), 2);
}

#[test]
fn the_same_players_are_chosen_each_time_and_another_service_gets_others() {
    let told = |name: &str| {
        let mut world = four();
        let mut spec = placed(2, 1);
        spec.name = ServiceName::new(name).unwrap();
        world.ask(apply(spec.clone(), HostSet::default())).unwrap();
        world.engine.status(&spec.name).unwrap().record.hosts.to_string()
    };
    let names = ["web", "api", "dns", "mail", "log", "auth"];
    let chosen: std::collections::BTreeSet<_> = names.into_iter().map(told).collect();
    assert!(chosen.len() > 1, "{chosen:?}");
    assert_eq!(told("web"), told("web"));
}

#[test]
fn more_instances_come_where_they_are_fewest_and_none_is_moved() {
    let mut world = four();
    world.apply(placed(1, 1));
    world.settle();
    let before = instances(&world);
    world.apply(placed(4, 2));
    world.settle();
    let after = instances(&world);
    assert_eq!((after[0].clone(), after.len()), (before[0].clone(), 4));
    assert_eq!(hosts(&world), "db[1-4]");
}

#[test]
fn what_has_no_room_waits_and_says_why_until_there_is_room() {
    let mut world = four();
    let taken = world.apply(placed(6, 1));
    assert_eq!((taken.waiting.len(), taken.waiting[0].count, taken.waiting[0].taken), (1, 2, 4));
    world.settle();
    assert_eq!(waiting(&world).to_string(), "2 wait for room: of 4 players 4 have an instance");
    let players = [("db[1-2]", "zone=east"), ("db[3-5]", "zone=west")];
    world.load_players(&players);
    assert_eq!(waiting(&world).absent, 1);
    world.attach("db5");
    assert_eq!(world.settle(), [FlowState::Ok]);
    assert_eq!((hosts(&world).as_str(), waiting(&world).count), ("db[1-5]", 1));
}

#[test]
fn each_player_that_cannot_be_chosen_is_counted_once() {
    let mut world = World::new();
    world.load_players(&[
        ("db1", "disk=ssd memory=1GiB"),
        ("db2", "disk=hdd"),
        ("db3", "disk=ssd"),
        ("db4", "disk=ssd"),
        ("db5", "disk=ssd"),
    ]);
    world.refusing.insert(h("db5"));
    world.attach("db[1-2],db[4-5]");
    let drained = HostSet::parse_plain("db4").unwrap();
    world.handle(Input::DrainChanged { hosts: drained, drained: true });
    world.wait(Millis::minutes(1));
    let ssd = [(LabelKey::new("disk").unwrap(), LabelValue::new("ssd").unwrap())].into();
    let spec = rule(placed(1, 1), |rule| rule.require = ssd);
    world.apply(with_reserve(spec, 2_048));
    let told = "1 waits for room: of 5 players 1 are of another zone or lack a label, 1 are away, 1 \
                are drained, 1 do not offer the score, 1 have not 2GiB left";
    assert_eq!(waiting(&world).to_string(), told);
}

#[test]
fn a_zone_gets_as_many_as_are_asked_for_it_and_no_other_gets_its_share() {
    let mut world = four();
    world.apply(rule(placed(0, 1), |rule| rule.layout = zones(&[("east", 1), ("west", 3)])));
    world.settle();
    let why = waiting(&world);
    assert_eq!((why.count, why.zone, why.elsewhere, why.taken), (1, Some(zone("west")), 2, 2));
    assert_eq!(world.status().record.hosts.len(), 3);
}

#[test]
fn memory_that_is_reserved_is_promised_once() {
    let mut world = World::new();
    world.load_players(&[("db[1-2]", "memory=1GiB")]);
    world.attach("db[1-2]");
    world.apply(with_reserve(placed(2, 1), 700));
    let mut other = with_reserve(placed(1, 1), 400);
    other.name = api();
    world.ask(apply(other.clone(), HostSet::default())).unwrap();
    let status = world.engine.status(&api()).unwrap();
    assert_eq!((status.waiting[0].full, status.record.hosts.len()), (2, 0));
    world.settle();
    world.apply(with_reserve(placed(1, 2), 700));
    world.settle();
    let status = world.engine.status(&api()).unwrap();
    assert_eq!((status.waiting, status.record.hosts.len()), (Vec::new(), 1), "one has left");
}

#[test]
fn the_least_reserved_player_comes_first_and_pack_takes_the_most() {
    for (spread, alone) in [(Spread::Host, true), (Spread::Pack, false)] {
        let mut world = World::new();
        world.load_players(&[("db[1-2]", "memory=1GiB")]);
        world.attach("db[1-2]");
        let mut other = with_reserve(placed(1, 1), 100);
        other.name = api();
        world.ask(apply(other, HostSet::default())).unwrap();
        world.apply(rule(with_reserve(placed(1, 1), 100), |rule| rule.spread = spread));
        let others = world.engine.status(&api()).unwrap().record.hosts;
        assert_eq!(world.status().record.hosts != others, alone, "{spread}");
    }
}

#[test]
fn what_is_linked_comes_along_and_its_reserve_counts() {
    let mut world = World::new();
    world.load_players(&[("db1", "memory=1GiB"), ("db2", "memory=4GiB"), ("db3", "memory=1GiB")]);
    world.attach("db[1-3]");
    world.apply(placed(0, 1));
    world.apply(with_reserve(linked(1), 2_048));
    world.apply(placed(2, 2));
    world.settle();
    assert_eq!((hosts(&world).as_str(), waiting(&world).full), ("db2", 2));
    assert_eq!(world.engine.status(&exporter()).unwrap().ready(), 1);
}

#[test]
fn fewer_instances_end_those_that_are_down_then_the_highest_of_the_fullest_zone() {
    let mut world = World::new();
    world.load_players(&[("db[1-3]", "zone=east"), ("db[4-5]", "zone=west")]);
    world.attach("db[1-5]");
    world.apply(placed(5, 1));
    world.settle();
    let sick =
        world.status().instances.into_iter().find(|one| one.instance.ordinal.0 == 2).unwrap();
    world.turn(sick.host.as_str(), UnitState::BackingOff, None);
    world.apply(placed(4, 2));
    assert!(!world.status().record.hosts.contains(&sick.host));
    world.settle();
    world.apply(placed(2, 3));
    world.settle();
    let east = HostSet::parse_plain("db[1-3]").unwrap();
    assert_eq!(world.status().record.hosts.intersection(&east).len(), 1, "{}", hosts(&world));
    assert_eq!(world.units.values().filter(|units| units.contains_key(&web())).count(), 2);
}

#[test]
fn nothing_is_placed_before_players_had_time_to_come_back() {
    let mut world = four();
    world.apply(placed(4, 1));
    world.settle();
    world.detach("db1");
    world.restart();
    world.load_players(&[("db[1-2]", "zone=east"), ("db[3-6]", "zone=west")]);
    world.attach("db[2-5]");
    world.settle();
    world.apply(placed(5, 2));
    world.settle();
    assert_eq!(waiting(&world).players, 0, "db1 and db6 may come");
    assert!(world.engine.next_deadline().is_some());
    world.wait(Millis::seconds(45));
    world.settle();
    assert_eq!(hosts(&world), "db[1-5]");
    assert_eq!(world.engine.next_deadline(), None);
}

#[test]
fn who_is_no_player_any_more_is_replaced_at_once() {
    let mut world = four();
    world.apply(placed(2, 1));
    world.settle();
    let gone = world.status().record.hosts.iter().next().unwrap().clone();
    world.detach(gone.as_str());
    let others =
        HostSet::parse_plain("db[1-4]").unwrap().minus(&HostSet::from_names([gone.clone()]));
    world.load_players(&[(others.to_string().as_str(), "zone=east")]);
    world.settle();
    assert_eq!((world.status().record.hosts.len(), world.status().ready()), (2, 2));
    assert!(!world.status().record.hosts.contains(&gone));
}

#[test]
fn a_service_that_was_on_named_hosts_keeps_those_that_suit() {
    let mut world = four();
    world.apply(spec("db[1-3]", 1));
    world.settle();
    world.apply(rule(placed(2, 2), |rule| rule.layout = zones(&[("east", 2)])));
    world.settle();
    assert_eq!(
        (hosts(&world).as_str(), instances(&world)),
        ("db[1-2]", vec!["1@db1".into(), "2@db2".into()])
    );
    world.apply(spec("db4", 3));
    world.settle();
    assert_eq!(hosts(&world), "db4");
}

#[test]
fn a_stopped_service_is_placed_when_it_is_started() {
    let mut world = four();
    world.apply(ServiceSpec { auto_start: false, ..placed(2, 1) });
    assert_eq!((hosts(&world).as_str(), world.status().waiting), ("", Vec::new()));
    world.ask(Ask::Start(web())).unwrap();
    world.settle();
    assert_eq!(world.status().ready(), 2);
}

#[test]
fn a_file_that_wants_fewer_takes_no_more_than_a_load_may() {
    let mut world = four();
    world.load(vec![filed_as_placed(4, 1)], false).unwrap();
    world.settle();
    let most = orchestra_model::Quantity::Count(1);
    let leaving = |count| {
        let files = [filed_as_placed(count, 2)];
        world.engine.check_leaving(&Default::default(), &files, false, most)
    };
    assert_eq!(leaving(3), []);
    assert_eq!((leaving(1)[0].hosts.len(), leaving(1)[0].of), (3, 4));
}

fn filed_as_placed(count: u32, n: u32) -> orchestra_service::FiledService {
    let spec = placed(count, n);
    let hosts = HostSet::default();
    let content = [u8::try_from(10 * n + count).unwrap(); 32];
    orchestra_service::FiledService {
        spec,
        hosts,
        content,
        ..filed("services.d/web.yaml", "db1", n)
    }
}

#[test]
fn a_plan_tells_what_would_wait_and_places_nothing() {
    let world = four();
    let ask = apply(placed(5, 1), HostSet::default());
    let (_, plan) = world.plan(ask).unwrap();
    let starts: usize = plan.steps.iter().map(|step| step.hosts.len()).sum();
    assert_eq!((starts, plan.waiting.len(), plan.waiting[0].count), (4, 1, 1));
    assert!(world.engine.status(&web()).is_none());
}

#[test]
fn a_host_set_may_be_empty_no_more_than_before() {
    let mut world = four();
    let refused = world.ask(apply(spec("db1", 1), HostSet::default())).unwrap_err();
    assert_eq!(refused, Rejection::NoHosts(web()));
}

fn scale(world: &mut World, zone: Option<&str>, count: u32) -> Result<bool, Rejection> {
    let zone = zone.map(LabelValue::new).transpose().unwrap();
    let ask = Ask::Scale { service: web(), zone, count, take_over: false };
    world.ask(ask).map(|taken| !taken.unchanged)
}

#[test]
fn another_number_of_instances_is_no_version_and_ends_no_run() {
    let mut world = four();
    world.apply(placed(2, 1));
    world.settle();
    let mut before = world.units.clone();
    before.retain(|_, units| !units.is_empty());
    assert_eq!(before.len(), 2);
    assert_eq!(scale(&mut world, None, 3), Ok(true));
    assert_eq!(world.flows[0].1.services[0].cause, Cause::Scale);
    world.settle();
    assert_eq!((world.status().ready(), world.status().record.version.0), (3, 1));
    for (host, units) in before {
        assert_eq!(world.units[&host], units, "{host}");
    }
    assert_eq!(scale(&mut world, None, 3), Ok(false));
    world.restart();
    world.load_players(&[("db[1-2]", "zone=east"), ("db[3-4]", "zone=west")]);
    world.attach("db[1-4]");
    assert_eq!(world.status().record.layout, Some(Layout::Count(3)));
    assert_eq!(scale(&mut world, None, 1), Ok(true));
    world.settle();
    assert_eq!((instances(&world).len(), world.units.values().flatten().count()), (1, 1));
    assert!(
        instances(&world)[0].starts_with("1@"),
        "the highest numbers go: {:?}",
        instances(&world)
    );
}

#[test]
fn what_is_applied_again_has_its_own_number_of_instances_again() {
    let mut world = four();
    world.apply(placed(2, 1));
    world.settle();
    scale(&mut world, None, 4).unwrap();
    world.settle();
    let taken = world.apply(placed(2, 1));
    assert_eq!((taken.unchanged, taken.version.0), (false, 1));
    world.settle();
    assert_eq!((world.status().ready(), instances(&world).len()), (2, 2));
    assert!(world.apply(placed(2, 1)).unchanged);
}

#[test]
fn only_what_is_placed_is_scaled_and_by_what_it_is_placed() {
    let mut world = four();
    assert_eq!(scale(&mut world, None, 1), Err(Rejection::UnknownService(web())));
    world.apply(spec("db1", 1));
    world.settle();
    assert_eq!(scale(&mut world, None, 1), Err(Rejection::NotPlaced(web())));
    world.apply(placed(1, 2));
    world.settle();
    let other = Rejection::OtherLayout(web(), Layout::Count(1));
    assert_eq!(scale(&mut world, Some("east"), 1), Err(other));
    assert!(matches!(scale(&mut world, None, u32::MAX), Err(Rejection::Invalid(_))));
    world.apply(rule(placed(0, 3), |rule| rule.layout = zones(&[("east", 1)])));
    world.settle();
    assert!(matches!(scale(&mut world, None, 2), Err(Rejection::OtherLayout(..))));
    scale(&mut world, Some("west"), 1).unwrap();
    world.settle();
    assert_eq!(world.status().record.layout, Some(zones(&[("east", 1), ("west", 1)])));
    assert_eq!(world.status().ready(), 2);
}

#[test]
fn a_service_of_a_file_is_scaled_by_who_takes_it_over() {
    let mut world = four();
    world.load(vec![filed_as_placed(1, 1)], false).unwrap();
    world.settle();
    let refused = scale(&mut world, None, 2).unwrap_err();
    assert_eq!(refused, Rejection::OfFile(web(), "services.d/web.yaml".into()));
    let ask = Ask::Scale { service: web(), zone: None, count: 2, take_over: true };
    world.ask(ask).unwrap();
    world.settle();
    assert_eq!((world.status().ready(), world.status().record.owner), (2, crate::world::alice()));
    world.load(vec![filed_as_placed(1, 1)], false).unwrap();
    assert_eq!(world.status().record.layout, Some(Layout::Count(2)), "the file counts for nothing");
}

#[test]
fn an_update_that_goes_on_is_not_cut_short_by_another_number() {
    let mut world = four();
    world.apply(placed(2, 1));
    world.settle();
    world.apply(placed(2, 2));
    scale(&mut world, None, 4).unwrap();
    assert!(world.cancelled.is_empty());
    assert_eq!(world.settle(), [FlowState::Ok, FlowState::Ok]);
    let causes: Vec<Cause> = world.status().record.events.iter().map(|it| it.cause).collect();
    assert_eq!(causes[causes.len() - 2..], [Cause::Scale, Cause::Scale]);
    assert_eq!(world.status().ready(), 4);
}
