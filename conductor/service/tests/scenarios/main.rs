//! What the engine does, told as stories: each is a rule.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test says so by failing")]

mod absence;
mod ages;
mod alone;
mod brakes;
mod drift;
mod files;
mod ground;
mod health;
mod leases;
mod links;
mod misfits;
mod moving;
mod obstacles;
mod panic;
mod placing;
mod plan;
mod random;
mod rebalance;
mod recipes;
mod signals;
mod strangers;
mod surge;
mod together;
mod world;

use orchestra_model::{
    FlowState, HostSet, Quantity,
    service::{
        Cause, Goal, Ordinal, Placement, RunEnd, ServiceVersion, UnitState, Unready, UpdateRule,
        Wanted,
    },
};
use orchestra_service::{Ask, Input, Rejection};

use self::world::{World, apply, exporter, h, linked, spec, web};

/// Three players, and a service that is ready on each.
fn running() -> World {
    let mut world = World::new();
    world.attach("db[1-3]");
    world.apply(spec("db[1-3]", 1));
    assert_eq!(world.settle(), [FlowState::Ok]);
    world
}

#[test]
fn a_service_is_brought_to_each_of_its_hosts_by_one_flow() {
    let world = running();
    let status = world.status();
    assert_eq!(status.ready(), 3);
    assert_eq!(status.record.stable, Some(ServiceVersion(1)));
    let ordinals: Vec<Ordinal> =
        status.instances.iter().map(|instance| instance.instance.ordinal).collect();
    assert_eq!(ordinals, [Ordinal(1), Ordinal(2), Ordinal(3)]);
    assert!(world.flows.is_empty(), "nothing is left to do");
}

#[test]
fn where_everything_is_as_wanted_nothing_is_done_and_nothing_is_written() {
    let mut world = running();
    let written = world.writes;
    let taken = world.apply(spec("db[1-3]", 1));
    assert!(taken.unchanged);
    world.detach("db2");
    world.attach("db2");
    world.turn("db1", UnitState::Starting, None);
    world.turn("db1", UnitState::Ready, None);
    let hosts = [(web(), Ok(HostSet::parse_plain("db[1-3]").unwrap()))].into();
    world.handle(Input::FleetLoaded { hosts });
    assert_eq!((world.writes, world.flows.len()), (written, 0));
}

#[test]
fn a_new_version_follows_with_the_limits_that_its_spec_has() {
    let mut world = running();
    let update = UpdateRule { canary: Some(Quantity::Count(1)), ..UpdateRule::default() };
    world.apply(orchestra_model::service::ServiceSpec { update, ..spec("db[1-3]", 2) });
    let job = &world.flows[0].1.spec.slots[0].jobs[0];
    assert_eq!(job.parallel, Quantity::Count(1));
    assert_eq!(job.canary, Some(Quantity::Count(1)));
    assert_eq!(world.flows[0].1.params.len(), 1);
    let before = world.instance("db2").instance;
    world.settle();
    assert_eq!(world.instance("db2").instance, before, "an update in place is no new placement");
    assert_eq!(world.status().record.stable, Some(ServiceVersion(2)));
}

/// Whatever brings it there: it may begin stopped, without any player, or beside what it is linked to.
#[test]
fn a_version_is_stable_once_it_is_ready_everywhere() {
    use orchestra_model::service::ServiceSpec;
    let mut world = World::new();
    world.attach("db[1-2]");
    world.apply(ServiceSpec { auto_start: false, ..spec("db[1-3]", 1) });
    world.settle();
    world.ask(Ask::Start(web())).unwrap();
    world.settle();
    assert_eq!(world.status().record.stable, None, "one of its players is away");
    world.attach("db3");
    world.settle();
    assert_eq!(world.status().record.stable, Some(ServiceVersion(1)));

    let mut world = World::new();
    let hosts = HostSet::parse_plain("db[1-3]").unwrap();
    let both = [apply(spec("db[1-3]", 1), hosts), apply(linked(1), HostSet::default())];
    world.ask(crate::world::together(both)).unwrap();
    world.settle();
    let stable = |world: &World, name| world.engine.status(&name).unwrap().record.stable;
    assert_eq!((stable(&world, web()), stable(&world, exporter())), (None, None));
    world.attach("db[1-3]");
    world.settle();
    let first = Some(ServiceVersion(1));
    assert_eq!((stable(&world, web()), stable(&world, exporter())), (first, first));
    // So one that fails is followed by it.
    world.bad.insert((h("db2"), 2));
    world.apply(spec("db[1-3]", 2));
    world.settle();
    assert_eq!(world.status().record.version, ServiceVersion(1));
}

#[test]
fn a_host_whose_unit_is_unhealthy_is_down_and_nothing_is_done_for_it() {
    let mut world = running();
    let written = world.writes;
    world.turn("db2", UnitState::Unhealthy, None);
    assert_eq!(world.unready("db2"), Some(Unready::NotReady));
    assert_eq!((world.writes, world.flows.len()), (written, 0));
    world.turn("db2", UnitState::Ready, None);
    assert_eq!(world.unready("db2"), None);
}

#[test]
fn hosts_that_are_not_ready_are_updated_first_and_stop_nobody() {
    let mut world = running();
    world.turn("db2", UnitState::BackingOff, Some(RunEnd::Exited(1)));
    world.bad.insert((h("db2"), 2));
    world.apply(spec("db[1-3]", 2));
    let flow = &world.flows[0].1;
    let names: Vec<&str> = flow.spec.slots.iter().map(|slot| slot.jobs[0].name.as_str()).collect();
    assert_eq!(names, ["sick", "update"]);
    let sick = &flow.spec.slots[0].jobs[0];
    assert_eq!(sick.parallel, Quantity::Count(1), "as many at once as the others");
    assert_eq!(flow.targets[0][0].to_string(), "db2");
    assert_eq!(world.settle(), [FlowState::Ok]);
    let ready: Vec<_> =
        world.versions().into_iter().filter(|it| it.2 == UnitState::Ready).collect();
    assert_eq!(ready.len(), 2);
    assert_eq!(world.status().given_up.to_string(), "", "what has the version is as wanted");
}

#[test]
fn a_version_that_fails_is_followed_by_the_one_before_where_it_came() {
    let mut world = running();
    world.bad.insert((h("db1"), 2));
    world.apply(spec("db[1-3]", 2));
    assert_eq!(world.run_flow(), FlowState::Failed);
    let revert = &world.flows[0].1;
    assert_eq!(revert.targets[0][0].to_string(), "db1", "the others never had it");
    assert_eq!(world.settle(), [FlowState::Ok]);
    assert!(
        world
            .versions()
            .iter()
            .all(|(_, version, state)| (*version, *state) == (1, UnitState::Ready))
    );
    let history = world.engine.history(&web()).unwrap();
    assert!(history[1].reverted);
    let causes: Vec<Cause> = world.status().record.events.iter().map(|event| event.cause).collect();
    assert_eq!(causes[2..], [Cause::Update, Cause::Update, Cause::Revert, Cause::Revert]);
}

#[test]
fn a_revert_that_fails_is_not_reverted() {
    let mut world = running();
    world.bad.extend([(h("db1"), 2), (h("db1"), 1)]);
    world.apply(spec("db[1-3]", 2));
    assert_eq!(world.settle(), [FlowState::Failed, FlowState::Failed]);
    assert_eq!(world.status().record.version, ServiceVersion(1));
}

#[test]
fn a_first_version_that_fails_has_nothing_to_go_back_to() {
    let mut world = World::new();
    world.attach("db[1-2]");
    world.bad.insert((h("db1"), 1));
    world.apply(spec("db[1-2]", 1));
    assert_eq!(world.settle(), [FlowState::Failed], "db2 is given up with the version");
    assert_eq!(world.status().given_up.to_string(), "db2");
    world.ask(Ask::Resume(web())).unwrap();
    assert_eq!(world.settle(), [FlowState::Ok]);
}

#[test]
fn a_newer_version_ends_the_flow_of_the_older_one() {
    let mut world = running();
    world.apply(spec("db[1-3]", 2));
    let first = world.flows[0].0;
    let taken = world.apply(spec("db[1-3]", 3));
    assert_eq!(taken.flow, None, "the other flow has to end first");
    assert!(world.cancelled.contains(&first));
    assert_eq!(world.settle(), [FlowState::Cancelled, FlowState::Ok]);
    assert!(world.versions().iter().all(|(_, version, _)| *version == 3));
}

#[test]
fn who_is_away_is_left_out_and_brought_up_when_it_comes() {
    let mut world = World::new();
    world.attach("db1");
    let taken = world.apply(spec("db[1-3]", 1));
    assert_eq!(taken.left_out.to_string(), "db[2-3]");
    assert_eq!(world.settle(), [FlowState::Ok]);
    world.attach("db3");
    assert_eq!(world.flows[0].1.spec.slots[0].jobs[0].name.as_str(), "repair");
    world.settle();
    assert_eq!(world.versions().len(), 2);
}

#[test]
fn a_player_that_keeps_nothing_running_or_is_drained_gets_no_unit() {
    let mut world = World::new();
    let (offers, room) = Default::default();
    world.handle(Input::PlayerAttached { host: h("db1"), units: None, offers, room });
    let drained = HostSet::parse_plain("db2").unwrap();
    world.handle(Input::DrainChanged { hosts: drained.clone(), drained: true });
    world.attach("db2");
    let taken = world.apply(spec("db[1-2]", 1));
    assert_eq!((taken.flow, taken.left_out.to_string().as_str()), (None, "db[1-2]"));
    world.handle(Input::DrainChanged { hosts: drained, drained: false });
    world.settle();
    assert_eq!(world.versions().len(), 1);
}

#[test]
fn a_wiped_spool_gets_a_new_placement_of_the_same_instance() {
    let mut world = running();
    let before = world.instance("db2").instance;
    world.detach("db2");
    world.wipe("db2");
    world.attach("db2");
    world.settle();
    let after = world.instance("db2").instance;
    assert_eq!(after.ordinal, before.ordinal);
    assert_eq!((before.placement, after.placement), (Placement(2), Placement(4)));
}

#[test]
fn a_unit_that_is_not_ready_counts_as_down_and_one_that_gave_up_waits_for_a_person() {
    let mut world = running();
    assert_eq!(world.unready("db1"), None);
    world.turn("db1", UnitState::BackingOff, Some(RunEnd::Signalled(11)));
    assert_eq!(world.unready("db1"), Some(Unready::NotReady));
    world.turn("db1", UnitState::GaveUp, Some(RunEnd::Signalled(11)));
    assert_eq!(world.unready("db1"), Some(Unready::GaveUp));
    assert!(world.flows.is_empty(), "the sitter has tried; so does nobody else");
    let hosts = Some(HostSet::parse_plain("db1").unwrap());
    world.ask(Ask::Restart { service: web(), hosts }).unwrap();
    assert_eq!(
        world.flows[0].1.spec.slots[0].jobs[0].unit.as_ref().unwrap().wanted,
        Wanted::Restarted
    );
    world.settle();
    assert_eq!(world.unready("db1"), None);
}

#[test]
fn a_unit_that_did_its_work_and_is_asked_for_no_more_is_not_down() {
    let mut world = running();
    world.turn("db1", UnitState::Ended, Some(RunEnd::Exited(0)));
    assert_eq!(world.unready("db1"), None);
    world.turn("db1", UnitState::Ended, Some(RunEnd::Exited(1)));
    assert_eq!(world.unready("db1"), Some(Unready::GaveUp));
}

#[test]
fn what_nobody_has_told_since_the_start_counts_as_down() {
    let mut world = running();
    world.detach("db3");
    assert_eq!(world.unready("db3"), Some(Unready::Untold));
    world.restart();
    for host in ["db1", "db2", "db3"] {
        assert_eq!(world.unready(host), Some(Unready::Untold));
    }
    world.attach("db[1-2]");
    assert_eq!((world.unready("db1"), world.unready("db3")), (None, Some(Unready::Untold)));
    assert!(world.flows.is_empty(), "a restart changes nothing");
}

#[test]
fn a_stopped_service_is_not_down_and_starts_again_when_somebody_says_so() {
    let mut world = running();
    world.ask(Ask::Stop(web())).unwrap();
    world.settle();
    assert!(world.versions().iter().all(|(_, _, state)| *state == UnitState::Stopped));
    assert_eq!(world.unready("db1"), None);
    let refused = world.ask(Ask::Restart { service: web(), hosts: None });
    assert_eq!(refused, Err(Rejection::Stopped(web())));
    world.ask(Ask::Start(web())).unwrap();
    world.settle();
    assert_eq!(world.status().ready(), 3);
}

#[test]
fn a_removed_service_leaves_nothing_also_where_its_player_comes_later() {
    let mut world = running();
    world.detach("db3");
    world.ask(Ask::Remove(web())).unwrap();
    world.settle();
    assert_eq!(world.versions().len(), 1, "db3 is away");
    let status = world.status();
    assert_eq!((status.record.goal, status.instances.len()), (Goal::Removed, 1));
    world.restart();
    world.attach("db[1-3]");
    world.settle();
    assert_eq!(world.versions(), []);
    assert_eq!(
        world.engine.history(&web()),
        Some(Vec::new()),
        "parameters are erased with versions"
    );
    let refused = world.ask(Ask::Stop(web()));
    assert_eq!(refused, Err(Rejection::Removed(web())));
}

#[test]
fn a_removed_service_may_be_applied_again_and_its_numbers_go_on() {
    let mut world = running();
    world.ask(Ask::Remove(web())).unwrap();
    world.settle();
    let taken = world.apply(spec("db1", 1));
    assert_eq!(taken.version, ServiceVersion(2));
    world.settle();
    assert_eq!(world.instance("db1").instance.placement, Placement(4));
}

#[test]
fn a_service_that_somebody_paused_is_left_as_it_is() {
    let mut world = running();
    world.ask(Ask::Pause(web())).unwrap();
    world.apply(spec("db[1-3]", 2));
    world.detach("db1");
    world.wipe("db1");
    world.attach("db1");
    assert!(world.flows.is_empty());
    world.ask(Ask::Resume(web())).unwrap();
    assert_eq!(world.settle(), [FlowState::Ok]);
    assert!(world.versions().iter().all(|(_, version, _)| *version == 2));
}

#[test]
fn hosts_that_leave_the_host_set_lose_their_unit() {
    let mut world = running();
    let load = |on: &str| [(web(), Ok(HostSet::parse_plain(on).unwrap()))].into();
    world.handle(Input::FleetLoaded { hosts: load("db[1-2]") });
    world.settle();
    assert_eq!(world.versions().len(), 2);
    assert_eq!(world.status().trouble, None);
    let unresolved = [(web(), Err("no group db".to_owned()))].into();
    world.handle(Input::FleetLoaded { hosts: unresolved });
    assert!(world.flows.is_empty() && world.status().trouble.unwrap().contains("no group db"));
}

#[test]
fn a_flow_that_cannot_be_made_is_told_and_not_tried_for_ever() {
    let mut world = World::new();
    world.attach("db1");
    world.refuses = Some("hosts would wait for each other".to_owned());
    let taken = world.apply(spec("db1", 1));
    assert_eq!(taken.trouble, world.refuses);
    world.refuses = None;
    world.detach("db1");
    world.attach("db1");
    assert_eq!(world.settle(), [FlowState::Ok]);
}

#[test]
fn a_crash_between_a_flow_and_what_is_known_of_it_is_found_again() {
    let mut world = running();
    world.apply(spec("db[1-3]", 2));
    let disk = world.disk.clone();
    world.run_flow();
    // The conductor's batch that had the end of the flow was lost: it is on disk as living.
    world.disk = disk;
    world.restart();
    let status = world.status();
    assert_eq!(status.record.living, None);
    world.attach("db[1-3]");
    assert_eq!(world.settle(), [], "the units are as wanted");
    assert_eq!(world.status().ready(), 3);
}

#[test]
fn a_restart_of_the_conductor_keeps_what_was_asked_for() {
    let mut world = running();
    world.apply(spec("db[1-3]", 2));
    world.apply(spec("db[1-3]", 3));
    world.restart();
    world.attach("db[1-3]");
    world.settle();
    assert!(world.versions().iter().all(|(_, version, _)| *version == 3));
}

#[test]
fn units_that_this_store_never_ordered_are_told_of_and_left_alone() {
    let mut other = running();
    let stranger = other.units.remove(&h("db1")).unwrap();
    let mut world = World::new();
    world.units.insert(h("db1"), stranger);
    world.attach("db1");
    assert_eq!(world.engine.strangers().count(), 1);
    assert!(world.flows.is_empty());
}

#[test]
fn an_earlier_version_comes_back_when_somebody_asks_for_it() {
    let mut world = running();
    world.apply(spec("db[1-3]", 2));
    world.settle();
    let hosts = HostSet::parse_plain("db[1-3]").unwrap();
    let resolved: std::collections::BTreeMap<_, _> =
        [1, 2].map(|n| (ServiceVersion(n), hosts.clone())).into();
    let revert = |to| Ask::Revert { service: web(), to, hosts: resolved.clone() };
    assert_eq!(world.ask(revert(None)), Err(Rejection::NoVersion(web(), None)));
    let taken = world.ask(revert(Some(ServiceVersion(1)))).unwrap();
    assert_eq!(taken.version, ServiceVersion(1));
    world.settle();
    assert!(world.versions().iter().all(|(_, version, _)| *version == 1));
    let never = Some(ServiceVersion(9));
    assert_eq!(world.ask(revert(never)), Err(Rejection::NoVersion(web(), never)));
}

#[test]
fn what_cannot_be_applied_changes_nothing() {
    let mut world = running();
    let written = world.writes;
    let empty = apply(spec("db1", 2), HostSet::default());
    assert_eq!(world.ask(empty), Err(Rejection::NoHosts(web())));
    let mut wrong = spec("db1", 2);
    wrong.update.parallel = Quantity::Count(0);
    let hosts = HostSet::parse_plain("db1").unwrap();
    let refused = world.ask(apply(wrong, hosts));
    assert!(matches!(refused, Err(Rejection::Invalid(_))));
    let nowhere = Some(HostSet::parse_plain("fe1").unwrap());
    let refused = world.ask(Ask::Restart { service: web(), hosts: nowhere });
    assert!(matches!(refused, Err(Rejection::NotItsHosts(..))));
    assert_eq!((world.writes, world.flows.len()), (written, 0));
}

#[test]
fn a_store_that_was_restored_ends_nothing_and_repeats_no_number() {
    let mut world = running();
    let copy = world.disk.clone();
    world.apply(spec("db[1-3]", 2));
    world.settle();
    // The copy is put back: it has never heard of version 2.
    world.disk = copy;
    world.restart();
    world.recovered = orchestra_model::delivery::Term(9);
    world.handle(Input::StoreRecovered { term: world.recovered });
    world.attach("db[1-3]");
    assert!(world.flows.is_empty(), "what it does not know it leaves alone");
    assert_eq!(world.status().strangers.to_string(), "db[1-3]");
    assert!(world.versions().iter().all(|(_, version, _)| *version == 2));
    let taken = world.apply(spec("db[1-3]", 3));
    assert!(taken.version > ServiceVersion(1_000_000));
    assert!(world.flows.is_empty(), "strangers are left alone until somebody adopts them");
    let hosts = Some(HostSet::parse_plain("db1").unwrap());
    world.ask(Ask::Adopt { service: web(), hosts }).unwrap();
    world.settle();
    let replaced =
        world.versions().iter().filter(|(_, version, _)| *version == taken.version.0).count();
    assert_eq!((replaced, world.engine.strangers().count()), (1, 2));
    assert!(world.instance("db1").instance.placement > Placement(1_000_000));
}

#[test]
fn a_service_that_is_new_after_a_recovery_has_numbers_above_those_of_a_forgotten_one() {
    let mut world = World::new();
    world.handle(Input::StoreRecovered { term: orchestra_model::delivery::Term(2) });
    world.attach("db1");
    let taken = world.apply(spec("db1", 1));
    world.settle();
    assert_eq!(taken.version, ServiceVersion(2_000_001));
    assert_eq!(world.instance("db1").instance.placement, Placement(2_000_001));
}

#[test]
fn a_drained_player_begins_nothing_and_may_end_what_runs_there() {
    let mut world = running();
    let hosts = HostSet::parse_plain("db2").unwrap();
    world.handle(Input::DrainChanged { hosts, drained: true });
    world.ask(Ask::Restart { service: web(), hosts: None }).unwrap();
    assert_eq!(world.flows[0].1.targets[0][0].to_string(), "db[1,3]");
    world.settle();
    world.apply(spec("db[1-3]", 2));
    assert_eq!(world.flows[0].1.targets[0][0].to_string(), "db[1,3]");
    world.settle();
    world.ask(Ask::Stop(web())).unwrap();
    world.settle();
    assert!(world.versions().iter().all(|(_, _, state)| *state == UnitState::Stopped));
}

#[test]
fn who_is_away_is_not_waited_for_by_a_restart() {
    let mut world = running();
    world.detach("db3");
    world.ask(Ask::Restart { service: web(), hosts: None }).unwrap();
    assert_eq!(world.flows[0].1.targets[0][0].to_string(), "db[1-2]");
}

#[test]
fn what_was_asked_for_and_needs_no_flow_is_told() {
    let mut world = running();
    world.detach("db3");
    let hosts = Some(HostSet::parse_plain("db3").unwrap());
    world.ask(Ask::Restart { service: web(), hosts }).unwrap();
    assert!(world.flows.is_empty());
    let last = world.status().record.events.last().cloned().unwrap();
    assert_eq!((last.cause, last.flow, last.ended), (Cause::Restart, None, None));
}

#[test]
fn why_a_host_refused_is_told_with_the_service() {
    let mut world = World::new();
    world.attach("db[1-2]");
    world.refusing.insert(h("db2"));
    world.apply(spec("db[1-2]", 1));
    assert_eq!(world.settle(), [FlowState::Failed]);
    let status = world.status();
    let note = status.record.events.last().unwrap().note.as_deref();
    assert_eq!(note, Some("1 away, refused or lost: db2: no such score"));
    assert_eq!(status.given_up.to_string(), "db2");
}
