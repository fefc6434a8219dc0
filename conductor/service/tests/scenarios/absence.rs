//! Instances whose players are away, told as stories.

use orchestra_model::{
    FlowState, HostName, HostSet, Millis, Timestamp,
    service::{
        AbsenceRule, Cause, HostStep, InstanceAbsence, Placement, Replacing, ReplacingWait,
        ServiceSpec, UnitState,
    },
};
use orchestra_service::{Ask, Input};

use crate::world::{World, apply, exporter, h, linked, placed, spec, web};

const AFTER: u64 = 300_000;
const COME_BACK: u64 = 45_000;

/// A service of so many instances that are replaced after this time.
fn replaced(count: u32, replace_after: Option<Millis>) -> ServiceSpec {
    let n = match replace_after {
        None => 2,
        Some(Millis(0)) => 4,
        Some(Millis(30_000)) => 3,
        Some(_) => 1,
    };
    let spec = placed(count, n);
    assert_eq!(spec.absent, AbsenceRule { replace_after });
    spec
}

/// Players db1 to dbN, and a service of so many instances, which are ready.
fn running(players: u32, count: u32, replace_after: Option<Millis>) -> World {
    let mut world = World::new();
    let all = format!("db[1-{players}]");
    world.load_players(&[(&all, "")]);
    world.attach(&all);
    world.apply(replaced(count, replace_after));
    world.settle();
    assert_eq!(world.status().ready(), count as usize);
    world
}

fn usual(count: u32) -> World {
    running(3, count, Some(Millis(AFTER)))
}

fn hosts(world: &World) -> Vec<String> {
    world.status().record.hosts.iter().map(ToString::to_string).collect()
}

/// The one host where the service is wanted.
fn only(world: &World) -> String {
    let [only] = &hosts(world)[..] else { panic!("{:?}", hosts(world)) };
    only.clone()
}

fn has_ready(world: &World, host: &str) -> bool {
    let unit = world.units.get(&h(host)).and_then(|units| units.get(&web()));
    unit.is_some_and(|unit| unit.state == UnitState::Ready)
}

fn replacing(world: &World, host: &str) -> Option<Replacing> {
    world.instance(host).absence.and_then(|absence| absence.replacing)
}

fn notes(world: &World) -> Vec<String> {
    let events = world.status().record.events;
    events.iter().filter_map(|event| event.note.as_deref().map(str::to_owned)).collect()
}

#[test]
fn what_is_due_is_done_though_something_else_happens_in_that_moment() {
    let mut world = running(4, 2, Some(Millis(AFTER)));
    let [old, other] = &hosts(&world)[..] else { panic!("{:?}", hosts(&world)) };
    world.detach(old);
    world.pass(AFTER - 1);
    // In the very moment the service is looked at for another reason.
    let report = world.units[&h(other)][&web()].clone();
    world.handle(Input::UnitTold { host: h(other), report });
    world.pass(COME_BACK);
    assert!(!hosts(&world).contains(old), "{:?}", hosts(&world));
}

#[test]
fn an_instance_is_replaced_when_its_player_was_away_for_as_long_as_its_version_says() {
    let mut world = usual(1);
    let old = only(&world);
    world.detach(&old);
    let since = world.instance(&old).absence.unwrap().since;
    let at = Timestamp(since.0 + AFTER);
    assert_eq!(
        world.instance(&old).absence,
        Some(InstanceAbsence { since, replacing: Some(Replacing::At(at)) })
    );
    world.pass(AFTER - 1);
    assert_eq!((only(&world), world.flows.len()), (old.clone(), 0), "not a moment before");
    world.pass(1);
    let new = only(&world);
    assert_ne!(new, old);
    assert_eq!(world.flows[0].1.services[0].cause, Cause::Repair);
    assert_eq!(world.settle(), [FlowState::Ok]);
    let instance = world.instance(&new).instance;
    assert_eq!((instance.ordinal.0, instance.placement), (1, Placement(2)), "it keeps its number");
    assert_eq!(replacing(&world, &old), Some(Replacing::By(h(&new))));
    assert_eq!(world.unready(&old), None, "nobody counts it as down any more");
    assert!(notes(&world)[0].contains(&format!("{old} (1) absent for 5m")), "{:?}", notes(&world));
}

#[test]
fn who_is_back_before_finds_everything_as_it_was() {
    let mut world = usual(1);
    let old = only(&world);
    let written = world.writes;
    world.detach(&old);
    world.pass(30_000);
    world.attach(&old);
    world.pass(2 * AFTER);
    assert_eq!((only(&world), world.writes), (old.clone(), written), "nothing was written either");
    // The time before counts for nothing.
    world.detach(&old);
    world.pass(AFTER - 1);
    assert_eq!(only(&world), old);
}

#[test]
fn an_instance_is_replaced_at_once_where_its_version_says_so() {
    let mut world = running(3, 1, Some(Millis(0)));
    let old = only(&world);
    world.detach(&old);
    assert_ne!(only(&world), old);
    assert_eq!(world.settle(), [FlowState::Ok]);
    assert_eq!(world.status().ready(), 1);
}

#[test]
fn never_keeps_an_instance_where_it_is() {
    let mut world = running(3, 1, None);
    let old = only(&world);
    world.detach(&old);
    world.pass(100 * AFTER);
    assert_eq!(only(&world), old);
    assert_eq!(replacing(&world, &old), Some(Replacing::Never));
    let (_, plan) = world.plan(apply(placed(1, 2), HostSet::default())).unwrap();
    assert_eq!(plan.absent[0].replacing, Replacing::Never);
    assert_eq!(plan.absent[0].hosts.to_string(), old);
    // Another version that says otherwise counts from when the player went away.
    world.apply(replaced(1, Some(Millis(AFTER))));
    assert_ne!(only(&world), old);
}

#[test]
fn a_service_that_names_its_hosts_replaces_nothing() {
    let mut world = World::new();
    world.load_players(&[("db[1-3]", "")]);
    world.attach("db[1-3]");
    world.apply(spec("db1", 1));
    world.settle();
    world.detach("db1");
    world.pass(10 * AFTER);
    assert_eq!(only(&world), "db1");
    assert_eq!(replacing(&world, "db1"), None);
    assert!(world.instance("db1").absence.is_some(), "that it is away is told");
}

#[test]
fn without_room_an_absent_instance_waits_until_there_is() {
    let mut world = running(2, 2, Some(Millis(AFTER)));
    world.detach("db1");
    world.pass(AFTER);
    assert_eq!(hosts(&world), ["db1", "db2"]);
    assert_eq!(replacing(&world, "db1"), Some(Replacing::Waits(ReplacingWait::Room)));
    world.load_players(&[("db[1-3]", "")]);
    world.attach("db3");
    assert_eq!(hosts(&world), ["db2", "db3"]);
    world.settle();
    assert_eq!(world.status().ready(), 2);
}

#[test]
fn what_is_paused_or_stopped_replaces_nothing_until_it_goes_on() {
    let mut world = usual(1);
    let old = only(&world);
    world.ask(Ask::Pause(web())).unwrap();
    world.detach(&old);
    world.pass(AFTER);
    assert_eq!(only(&world), old);
    assert_eq!(replacing(&world, &old), Some(Replacing::Waits(ReplacingWait::Paused)));
    world.ask(Ask::Resume(web())).unwrap();
    assert_ne!(only(&world), old);
    let mut world = usual(1);
    let old = only(&world);
    world.ask(Ask::Stop(web())).unwrap();
    world.settle();
    world.detach(&old);
    world.pass(AFTER);
    assert_eq!((only(&world), replacing(&world, &old)), (old.clone(), None));
    world.ask(Ask::Start(web())).unwrap();
    assert_ne!(only(&world), old);
}

#[test]
fn after_a_start_nothing_is_replaced_before_players_had_their_time_to_come_back() {
    let mut world = running(3, 1, Some(Millis(0)));
    let old = only(&world);
    world.restart();
    world.load_players(&[("db[1-3]", "")]);
    for other in ["db1", "db2", "db3"].iter().filter(|host| **host != old) {
        world.attach(other);
    }
    world.pass(COME_BACK - 100);
    assert_eq!(only(&world), old);
    assert_eq!(replacing(&world, &old), Some(Replacing::Waits(ReplacingWait::Starting)));
    world.pass(100);
    assert_ne!(only(&world), old);
}

#[test]
fn a_start_of_the_conductor_forgets_little_of_an_absence_and_counts_none_of_its_own() {
    let mut world = usual(1);
    let old = only(&world);
    let others: Vec<&str> = ["db1", "db2", "db3"].into_iter().filter(|it| *it != old).collect();
    world.detach(&old);
    world.pass(200_000);
    world.down(10 * AFTER);
    world.restart();
    world.load_players(&[("db[1-3]", "")]);
    others.iter().for_each(|other| world.attach(other));
    world.pass(COME_BACK);
    assert_eq!(only(&world), old, "the time without a conductor does not count");
    // Of the time before, at most an eighth of the wait is forgotten.
    world.pass(AFTER - 200_000 + AFTER / 8 - COME_BACK);
    assert_ne!(only(&world), old);
}

#[test]
fn an_absence_that_is_over_counts_for_nothing_after_a_start() {
    let mut world = usual(1);
    let old = only(&world);
    world.detach(&old);
    world.pass(200_000);
    world.attach(&old);
    world.restart();
    world.load_players(&[("db[1-3]", "")]);
    for other in ["db1", "db2", "db3"].iter().filter(|host| **host != old) {
        world.attach(other);
    }
    world.pass(AFTER - 10);
    assert_eq!(only(&world), old);
    world.pass(10);
    assert_ne!(only(&world), old);
}

#[test]
fn a_conductor_that_starts_ever_again_comes_to_replace_an_instance_at_last() {
    let mut world = usual(1);
    let old = only(&world);
    world.detach(&old);
    for _ in 0..6 {
        world.restart();
        world.load_players(&[("db[1-3]", "")]);
        for other in ["db1", "db2", "db3"].iter().filter(|host| **host != old) {
            world.attach(other);
        }
        world.pass(AFTER / 4);
    }
    assert_ne!(only(&world), old);
}

#[test]
fn who_comes_back_is_ended_once_the_other_one_is_ready() {
    let mut world = usual(1);
    let old = only(&world);
    world.detach(&old);
    world.pass(AFTER);
    let new = only(&world);
    world.settle();
    assert!(has_ready(&world, &old) && has_ready(&world, &new));
    world.attach(&old);
    assert_eq!(world.flows[0].1.targets[0][0].to_string(), old);
    world.settle();
    assert_eq!(only(&world), new);
    assert!(!has_ready(&world, &old) && has_ready(&world, &new));
    assert_eq!(world.status().instances.len(), 1);
    let said = notes(&world).concat();
    assert!(said.contains(&format!("{old} is back: its instance was replaced on {new}")), "{said}");
}

#[test]
fn who_comes_back_ready_before_the_other_one_is_stays_and_the_other_one_is_ended() {
    let mut world = usual(1);
    let old = only(&world);
    world.detach(&old);
    world.pass(AFTER);
    let new = only(&world);
    assert_eq!(world.flows.len(), 1);
    world.attach(&old);
    assert_eq!(only(&world), old);
    assert!(world.cancelled.contains(&world.flows[0].0), "nobody goes on to bring up the other");
    world.settle();
    assert!(has_ready(&world, &old) && !world.units[&h(&new)].contains_key(&web()));
    assert_eq!(world.status().instances.len(), 1, "{:?}", world.status().instances);
    // So it is if the other one was begun, and does not become ready.
    let mut world = usual(1);
    let old = only(&world);
    for host in ["db1", "db2", "db3"].iter().filter(|host| **host != old) {
        world.bad.insert((h(host), 1));
    }
    world.detach(&old);
    world.pass(AFTER);
    let new = only(&world);
    world.settle();
    assert!(world.units[&h(&new)].contains_key(&web()));
    world.attach(&old);
    world.settle();
    assert_eq!(only(&world), old);
    assert!(has_ready(&world, &old) && !world.units[&h(&new)].contains_key(&web()));
}

#[test]
fn who_comes_back_with_an_older_version_makes_room_for_the_one_that_is_wanted() {
    let mut world = usual(1);
    let old = only(&world);
    world.detach(&old);
    world.apply(placed(1, 5));
    world.settle();
    world.pass(AFTER);
    let new = only(&world);
    world.attach(&old);
    assert_eq!(only(&world), new, "it is not what is wanted");
    world.settle();
    assert!(!world.units[&h(&old)].contains_key(&web()) && has_ready(&world, &new));
}

#[test]
fn several_that_are_away_are_replaced_together_and_each_keeps_its_number() {
    let mut world = running(6, 3, Some(Millis(AFTER)));
    let gone: Vec<String> = hosts(&world).into_iter().take(2).collect();
    for host in &gone {
        world.detach(host);
    }
    world.pass(AFTER + 10);
    world.settle();
    let status = world.status();
    assert_eq!(status.ready(), 3);
    let mut numbers: Vec<u32> = status
        .instances
        .iter()
        .filter(|it| status.record.hosts.contains(&it.host))
        .map(|it| it.instance.ordinal.0)
        .collect();
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 2, 3]);
}

#[test]
fn what_is_linked_is_replaced_along() {
    let mut world = usual(1);
    world.apply(linked(1));
    world.settle();
    let old = only(&world);
    world.detach(&old);
    world.pass(AFTER);
    world.settle();
    let new = only(&world);
    assert_eq!(world.engine.status(&exporter()).unwrap().record.hosts.to_string(), new);
    assert_eq!(world.units[&h(&new)].len(), 2);
    world.attach(&old);
    world.settle();
    assert_eq!(world.units[&h(&old)].len(), 0);
}

#[test]
fn a_plan_tells_what_becomes_of_absent_instances() {
    let mut world = usual(1);
    let old = only(&world);
    world.detach(&old);
    let since = world.instance(&old).absence.unwrap().since;
    let (_, plan) = world.plan(apply(placed(1, 5), HostSet::default())).unwrap();
    assert_eq!(plan.absent[0].replacing, Replacing::At(Timestamp(since.0 + AFTER)));
    let step = plan.steps.iter().find(|step| step.step == HostStep::Absent).unwrap();
    assert_eq!(step.hosts.to_string(), old);
}

#[test]
fn a_drain_that_is_over_before_the_other_one_is_ready_leaves_all_as_it_was() {
    let mut world = usual(1);
    let old: HostName = h(&only(&world));
    let drain = |world: &mut World, drained| {
        let hosts = HostSet::from_names([old.clone()]);
        world.handle(Input::DrainChanged { hosts, drained });
    };
    drain(&mut world, true);
    let new = only(&world);
    assert_ne!(new, old.as_str());
    drain(&mut world, false);
    world.turn(old.as_str(), UnitState::Ready, None);
    assert_eq!(only(&world), old.as_str());
    world.settle();
    assert!(!world.units[&h(&new)].contains_key(&web()));
}

/// Whoever was away during an update gets the version that is wanted when it is back, and belongs to
/// every later update.
#[test]
fn who_returns_after_an_update_gets_its_version_and_the_next_ones() {
    let mut world = running(3, 3, None);
    world.detach("db2");
    world.apply(placed(3, 6));
    world.settle();
    world.pass(AFTER);
    world.attach("db2");
    world.settle();
    let all_of = |world: &World, version| {
        world.versions().iter().all(|(_, of, state)| (*of, *state) == (version, UnitState::Ready))
    };
    assert!(all_of(&world, 2), "{:?}", world.versions());
    world.apply(placed(3, 10));
    world.settle();
    assert!(all_of(&world, 3), "{:?}", world.versions());
}

/// A network that comes and goes in the middle of an update takes no version back: not the version
/// has failed.
#[test]
fn however_often_the_network_goes_no_version_is_taken_back_for_it() {
    let mut world = running(4, 4, Some(Millis(AFTER)));
    for n in 0..20 {
        let version = 5 + 4 * n;
        world.apply(placed(4, version));
        for host in ["db1", "db2", "db3", "db4"] {
            world.detach(host);
        }
        world.settle();
        world.pass(AFTER / 2);
        world.attach("db[1-4]");
        world.settle();
        let record = world.status().record;
        assert_eq!(
            record.last_version.0,
            u64::from(n) + 2,
            "one version for each that was applied"
        );
        assert_eq!(record.version, record.last_version);
        assert!(record.events.iter().all(|event| event.cause != Cause::Revert));
    }
    assert_eq!(world.status().ready(), 4);
    assert_eq!(world.status().record.last_placement, Placement(4), "nor was anything moved");
}
