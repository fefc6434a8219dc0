//! What is done on hosts before the first run of a version and after the last, told as stories.

use orchestra_model::{
    FlowState, HostSet, Params, ScoreName,
    flow::JobSpec,
    service::{Cause, Recipe, ServiceSpec, UnitState},
};
use orchestra_service::{Ask, Input};

use crate::world::{World, apply, h, placed, spec, web};

/// Versions that have recipes.
const FIRST: u32 = 8;
const SECOND: u32 = 18;

/// The service on these hosts, ready.
fn running(hosts: &str, n: u32) -> World {
    let mut world = World::new();
    world.load_players(&[("db[1-5]", "")]);
    world.attach("db[1-5]");
    apply_on(&mut world, hosts, n);
    assert_eq!(world.settle(), [FlowState::Ok]);
    world
}

fn apply_on(world: &mut World, hosts: &str, n: u32) {
    let all = HostSet::parse_plain(hosts).unwrap();
    world.ask(apply(spec(hosts, n), all)).unwrap();
}

/// The jobs of the oldest flow, by slot: name and hosts.
fn slots(world: &World) -> Vec<Vec<(String, String)>> {
    let (_, flow) = &world.flows[0];
    let slots = flow.spec.slots.iter().zip(&flow.targets);
    let job = |(job, hosts): (&JobSpec, &HostSet)| (job.name.to_string(), hosts.to_string());
    slots.map(|(slot, targets)| slot.jobs.iter().zip(targets).map(job).collect()).collect()
}

fn job(name: &str, hosts: &str) -> Vec<(String, String)> {
    vec![(name.to_owned(), hosts.to_owned())]
}

#[test]
fn a_host_is_prepared_once_for_each_version_before_its_first_run() {
    let mut world = World::new();
    world.attach("db[1-3]");
    apply_on(&mut world, "db[1-2]", FIRST);
    assert_eq!(slots(&world), [job("prepare", "db[1-2]"), job("update", "db[1-2]")]);
    world.run_tasks(0, 2);
    assert_eq!(world.versions(), [], "all are prepared before anything runs");
    assert_eq!(world.settle(), [FlowState::Ok]);
    world.ask(Ask::Restart { service: web(), hosts: None }).unwrap();
    assert_eq!(slots(&world), [job("restart", "db[1-2]")], "that is no other version");
    assert_eq!(world.settle(), [FlowState::Ok]);
    world.restart();
    world.attach("db[1-3]");
    world.ask(Ask::Restart { service: web(), hosts: None }).unwrap();
    assert_eq!(slots(&world), [job("restart", "db[1-2]")], "a conductor that starts knows that");
    world.settle();
    // Another host, and another version.
    apply_on(&mut world, "db[1-3]", SECOND);
    assert_eq!(slots(&world)[0], job("prepare", "db[1-3]"));
    assert_eq!(world.settle(), [FlowState::Ok]);
    assert_eq!(world.prepared.len(), 3);
}

#[test]
fn a_version_that_cannot_be_prepared_ends_nothing_and_is_reverted() {
    let mut world = running("db[1-3]", FIRST);
    world.unpreparable.insert(h("db2"));
    apply_on(&mut world, "db[1-3]", SECOND);
    assert_eq!(world.run_flow(), FlowState::Failed);
    assert!(
        world
            .versions()
            .iter()
            .all(|(_, version, state)| { (*version, *state) == (1, UnitState::Ready) })
    );
    let status = world.status();
    assert_eq!(status.record.version.0, 1, "it went back");
    let notes: Vec<_> = status.record.events.iter().filter_map(|it| it.note.clone()).collect();
    let first = "1 could not be prepared: db2: failed";
    assert!(notes.iter().any(|note| &**note == first), "{notes:?}");
}

#[test]
fn where_preparing_is_tolerated_to_fail_nothing_begins() {
    let mut world = running("db[1-2]", FIRST);
    world.unpreparable.insert(h("db3"));
    // A host comes to be wanted, by a reload: that is a repair, which tolerates failures.
    let hosts = HostSet::parse_plain("db[1-4]").unwrap();
    world.handle(Input::FleetLoaded { hosts: [(web(), Ok(hosts))].into() });
    assert_eq!(slots(&world), [job("prepare", "db[3-4]"), job("repair", "db[3-4]")]);
    world.settle();
    let hosts: Vec<_> = world.versions().into_iter().map(|(host, ..)| host).collect();
    assert_eq!(hosts, ["db1", "db2", "db4"]);
    assert!(world.status().given_up.contains(&h("db3")));
    world.unpreparable.clear();
    world.ask(Ask::Resume(web())).unwrap();
    assert_eq!(world.settle(), [FlowState::Ok]);
    assert_eq!(world.versions().len(), 4);
}

#[test]
fn a_host_that_the_service_has_left_is_cleaned_up_afterwards() {
    let mut world = running("db[1-3]", FIRST);
    apply_on(&mut world, "db[1-2]", FIRST);
    assert_eq!(slots(&world)[1].last().unwrap().0, "leave");
    world.run_flow();
    assert_eq!(world.cleaned, []);
    assert_eq!(slots(&world), [job("cleanup", "db3")]);
    assert_eq!(world.flows[0].1.services[0].cause, Cause::Cleanup);
    assert_eq!(world.settle(), [FlowState::Ok]);
    assert_eq!(world.cleaned, [h("db3")]);
    assert!(world.status().uncleaned.is_empty());
}

#[test]
fn what_could_not_be_cleaned_up_is_told_and_tried_again_when_its_player_attaches() {
    let mut world = running("db[1-2]", FIRST);
    world.unpreparable.insert(h("db2"));
    world.ask(Ask::Remove(web())).unwrap();
    world.settle();
    assert_eq!(world.status().uncleaned, HostSet::parse_plain("db2").unwrap());
    assert_eq!(world.cleaned, [h("db1")]);
    world.restart();
    world.attach("db[1-2]");
    world.settle();
    assert_eq!(world.cleaned, [h("db1")], "it failed again");
    world.unpreparable.clear();
    world.attach("db2");
    assert_eq!(world.settle(), [FlowState::Ok]);
    assert_eq!(world.cleaned, [h("db1"), h("db2")]);
    assert_eq!(world.kept().count(), 0, "its versions are kept no longer than they are needed");
}

#[test]
fn a_removed_service_is_listed_and_resumed_until_it_is_cleaned_up() {
    let mut world = running("db[1-2]", FIRST);
    world.unpreparable.insert(h("db2"));
    world.ask(Ask::Remove(web())).unwrap();
    world.settle();
    assert_eq!(world.engine.names().count(), 1, "something is left of it");
    world.unpreparable.clear();
    assert!(world.ask(Ask::Pause(web())).is_err(), "there is nothing to pause");
    world.ask(Ask::Resume(web())).unwrap();
    assert_eq!(world.settle(), [FlowState::Ok]);
    assert_eq!((world.cleaned.len(), world.engine.names().count()), (2, 0));
    assert!(world.ask(Ask::Resume(web())).is_err());
}

#[test]
fn what_comes_back_before_it_is_cleaned_up_is_not() {
    let mut world = running("db[1-2]", FIRST);
    world.unpreparable.insert(h("db2"));
    apply_on(&mut world, "db1", FIRST);
    world.settle();
    assert_eq!(world.status().uncleaned, HostSet::parse_plain("db2").unwrap());
    world.unpreparable.clear();
    apply_on(&mut world, "db[1-2]", FIRST);
    world.settle();
    assert!(world.status().uncleaned.is_empty());
    assert_eq!((world.cleaned.len(), world.versions().len()), (0, 2));
}

#[test]
fn players_are_chosen_that_offer_the_recipes() {
    let mut world = World::new();
    world.load_players(&[("db[1-2]", "")]);
    world.attach("db[1-2]");
    let recipe =
        |score| Recipe { score: ScoreName::new(score).unwrap(), params: Params::default() };
    let spec = ServiceSpec { prepare: Some(recipe("unknown")), ..placed(1, 1) };
    let ask = apply(spec, HostSet::default());
    world.ask(ask).unwrap();
    let waiting = world.status().waiting;
    assert_eq!((waiting.len(), world.flows.len()), (1, 0), "{waiting:?}");
    // And those of what is linked to it.
    world.ask(apply(placed(1, 1), HostSet::default())).unwrap();
    world.settle();
    let linked = ServiceSpec { prepare: Some(recipe("unknown")), ..crate::world::linked(1) };
    world.ask(apply(linked, HostSet::default())).unwrap();
    world.settle();
    world.ask(Ask::Scale { service: web(), zone: None, count: 2, take_over: false }).unwrap();
    assert_eq!(world.status().waiting.len(), 1);
}

#[test]
fn recipes_of_services_that_are_applied_at_once_are_told_apart() {
    let mut world = World::new();
    world.attach("db1");
    let hosts = HostSet::parse_plain("db1").unwrap();
    let both = crate::world::together([
        apply(spec("db1", FIRST), hosts),
        apply(crate::world::linked(FIRST), HostSet::default()),
    ]);
    world.ask(both).unwrap();
    world.settle();
    assert_eq!(world.prepared.len(), 2);
}

#[test]
fn a_host_that_is_wanted_again_by_itself_is_not_cleaned_up() {
    let mut world = running("db[1-2]", FIRST);
    world.unpreparable.insert(h("db2"));
    let one = HostSet::parse_plain("db1").unwrap();
    world.handle(Input::FleetLoaded { hosts: [(web(), Ok(one))].into() });
    world.settle();
    world.unpreparable.clear();
    let both = HostSet::parse_plain("db[1-2]").unwrap();
    world.handle(Input::FleetLoaded { hosts: [(web(), Ok(both))].into() });
    assert_eq!(slots(&world), [job("prepare", "db2"), job("repair", "db2")]);
    world.settle();
    assert_eq!((world.cleaned.len(), world.versions().len()), (0, 2));
}

/// What cleans up may take its time.
#[test]
fn what_is_wrong_does_not_wait_for_a_host_that_is_cleaned_up() {
    let mut world = running("db[1-3]", FIRST);
    apply_on(&mut world, "db[1-2]", FIRST);
    world.run_flow();
    assert_eq!(slots(&world), [job("cleanup", "db3")]);
    world.detach("db2");
    world.wipe("db2");
    world.attach("db2");
    assert!(world.cancelled.contains(&world.flows[0].0));
    assert_eq!(world.run_flow(), FlowState::Cancelled);
    assert_eq!(slots(&world), [job("prepare", "db2"), job("repair", "db2")], "and nothing else");
    world.run_flow();
    assert_eq!(slots(&world), [job("cleanup", "db3")], "then it goes on");
    assert_eq!(world.settle(), [FlowState::Ok]);
    assert_eq!(world.cleaned, [h("db3")]);
}

#[test]
fn what_cannot_be_prepared_and_is_down_already_stops_no_update() {
    let mut world = running("db[1-3]", FIRST);
    world.turn("db2", UnitState::GaveUp, None);
    world.unpreparable.insert(h("db2"));
    apply_on(&mut world, "db[1-3]", SECOND);
    assert_eq!(
        slots(&world)[0],
        [job("prepare-sick", "db2"), job("prepare", "db[1,3]")].concat(),
        "its failures stop nobody"
    );
    assert_eq!(world.run_flow(), FlowState::Ok);
    let versions: Vec<_> = world.versions().into_iter().map(|(_, version, _)| version).collect();
    assert_eq!((versions, world.status().record.version.0), (vec![2, 1, 2], 2));
}

#[test]
fn what_was_begun_on_a_host_and_did_not_end_well_is_cleaned_up_too() {
    let mut world = running("db1", FIRST);
    world.unpreparable.insert(h("db2"));
    let two = HostSet::parse_plain("db[1-2]").unwrap();
    world.handle(Input::FleetLoaded { hosts: [(web(), Ok(two))].into() });
    world.settle();
    assert_eq!(world.versions().len(), 1, "nothing begins there");
    world.restart();
    world.attach("db[1-2]");
    world.settle();
    world.unpreparable.clear();
    let one = HostSet::parse_plain("db1").unwrap();
    world.handle(Input::FleetLoaded { hosts: [(web(), Ok(one))].into() });
    world.settle();
    assert_eq!(world.cleaned, [h("db2")]);
}

#[test]
fn what_nobody_can_clean_up_any_more_keeps_no_version_of_a_removed_service() {
    let mut world = running("db[1-2]", FIRST);
    world.unpreparable.insert(h("db2"));
    world.ask(Ask::Remove(web())).unwrap();
    world.settle();
    assert!(world.kept().count() > 0, "it says how to clean up");
    world.load_players(&[("db1", "")]);
    assert_eq!(world.kept().count(), 0);
}

#[test]
fn what_is_prepared_while_its_player_attaches_anew_is_cleaned_up_though_nothing_runs_there() {
    let mut world = running("db1", FIRST);
    for hosts in ["db[1-2]", "db1"] {
        let hosts = HostSet::parse_plain(hosts).unwrap();
        world.handle(Input::FleetLoaded { hosts: [(web(), Ok(hosts))].into() });
    }
    assert_eq!(slots(&world)[0], job("prepare", "db2"), "it goes on though it is not wanted");
    world.attach("db2");
    world.run_tasks(0, 1);
    world.ask(Ask::Stop(web())).unwrap();
    assert_eq!(world.settle(), [FlowState::Cancelled, FlowState::Ok, FlowState::Ok]);
    assert_eq!(world.cleaned, [h("db2")]);
}
