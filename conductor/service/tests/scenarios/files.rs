//! Services that files of the conductor name.

use std::collections::BTreeMap;

use orchestra_model::{
    Asker, FlowState, HostSet, Quantity,
    service::{Cause, FileChange, FileStanding, Goal, ServiceVersion, UnitState},
};
use orchestra_service::{Ask, FileConflict, FiledService, Rejection};

use crate::world::{World, alice, apply, exporter, filed, filed_linked, h, linked, spec, web};

const FILE: &str = "services.d/web.yaml";

/// Three players, and a service of a file that is ready on each.
fn filed_and_running() -> World {
    let mut world = World::new();
    world.attach("db[1-3]");
    let taken = world.load(vec![filed(FILE, "db[1-3]", 1)], false).unwrap();
    assert_eq!(taken[0].change, FileChange::Applied);
    assert_eq!(world.settle(), [FlowState::Ok]);
    world
}

fn standing(world: &World) -> Option<FileStanding> {
    world.status().record.file.map(|file| file.standing)
}

fn set(hosts: &str) -> HostSet {
    HostSet::parse_plain(hosts).unwrap()
}

/// What somebody applies, taking the service over.
fn taking_over(on: &str, n: u32) -> Ask {
    match apply(spec(on, n), set(on)) {
        Ask::Apply { services, .. } => Ask::Apply { services, take_over: true },
        other => other,
    }
}

#[test]
fn a_file_is_applied_in_the_name_of_the_files_and_only_where_it_says_something_new() {
    let mut world = filed_and_running();
    let record = world.status().record;
    assert_eq!((record.owner, record.events[0].by.clone()), (Asker::Files, Asker::Files));
    assert_eq!(world.engine.history(&web()).unwrap()[0].by, Asker::Files);
    let written = world.writes;
    assert_eq!(world.load(vec![filed(FILE, "db[1-3]", 1)], false), Ok(Vec::new()));
    assert_eq!((world.writes, world.flows.len()), (written, 0));
    // Another name for it is no other content.
    assert_eq!(world.load(vec![filed("services.d/b.yaml", "db[1-3]", 1)], false), Ok(Vec::new()));
    assert_eq!(&*world.status().record.file.unwrap().name, "services.d/b.yaml");
    assert!(world.flows.is_empty());
    let taken = world.load(vec![filed(FILE, "db[1-3]", 2)], false).unwrap();
    assert_eq!((taken[0].change, taken[0].version), (FileChange::Applied, ServiceVersion(2)));
    assert_eq!(world.settle(), [FlowState::Ok]);
}

#[test]
fn a_start_of_the_conductor_reads_files_that_it_knows() {
    let mut world = filed_and_running();
    world.restart();
    assert_eq!(world.load(vec![filed(FILE, "db[1-3]", 1)], false), Ok(Vec::new()));
    world.attach("db[1-3]");
    assert!(world.flows.is_empty());
}

#[test]
fn a_file_never_fights_what_was_reverted() {
    let mut world = filed_and_running();
    world.bad.insert((h("db1"), 2));
    world.load(vec![filed(FILE, "db[1-3]", 2)], false).unwrap();
    assert_eq!(world.settle(), [FlowState::Failed, FlowState::Ok]);
    let reverted = world.status().record.version;
    assert_eq!(reverted, ServiceVersion(1));
    assert_eq!(world.load(vec![filed(FILE, "db[1-3]", 2)], false), Ok(Vec::new()));
    assert_eq!((world.status().record.version, world.flows.len()), (reverted, 0));
    // Nor what a person stopped, or brought back.
    world.ask(Ask::Stop(web())).unwrap();
    world.settle();
    let hosts = [1, 2].map(|n| (ServiceVersion(n), set("db[1-3]"))).into();
    world.ask(Ask::Revert { service: web(), to: Some(ServiceVersion(2)), hosts }).unwrap();
    assert_eq!(world.load(vec![filed(FILE, "db[1-3]", 2)], false), Ok(Vec::new()));
    assert_eq!(world.status().record.goal, Goal::Stopped);
    assert_eq!(standing(&world), Some(FileStanding::InForce), "who reverts owns nothing");
    let taken = world.load(vec![filed(FILE, "db[1-3]", 3)], false).unwrap();
    assert_eq!(taken[0].version, ServiceVersion(3));
}

#[test]
fn a_service_of_a_file_is_applied_by_nobody_else_who_does_not_take_it_over() {
    let mut world = filed_and_running();
    let written = world.writes;
    let refused = world.ask(apply(spec("db[1-3]", 2), set("db[1-3]")));
    assert_eq!(refused, Err(Rejection::OfFile(web(), FILE.into())));
    assert_eq!(world.writes, written);
    let taken = world.ask(taking_over("db[1-3]", 2)).unwrap();
    assert_eq!(taken.version, ServiceVersion(2));
    world.settle();
    assert_eq!(standing(&world), Some(FileStanding::TakenOver));
    assert_eq!(world.status().record.owner, alice());
    // From then on it is hers, and the file that still lies there is passed over.
    assert_eq!(world.load(vec![filed(FILE, "db[1-3]", 1)], false), Ok(Vec::new()));
    assert!(world.ask(apply(spec("db[1-3]", 3), set("db[1-3]"))).is_ok());
    world.settle();
    let conflict = world.load(vec![filed(FILE, "db[1-3]", 4)], false);
    assert_eq!(conflict, Err(vec![FileConflict::Owned(FILE.into(), web(), alice())]));
    let taken = world.load(vec![filed(FILE, "db[1-3]", 1)], true).unwrap();
    assert_eq!((taken[0].change, taken[0].version), (FileChange::Applied, ServiceVersion(4)));
    assert_eq!(world.settle(), [FlowState::Ok]);
    assert_eq!(standing(&world), Some(FileStanding::InForce));
}

#[test]
fn who_takes_a_service_over_as_it_is_makes_no_version_of_it() {
    let mut world = filed_and_running();
    let taken = world.ask(taking_over("db[1-3]", 1)).unwrap();
    assert_eq!((taken.version, taken.unchanged, taken.flow), (ServiceVersion(1), false, None));
    assert_eq!(world.status().record.owner, alice());
    let taken = world.load(vec![filed(FILE, "db[1-3]", 1)], true).unwrap();
    assert_eq!((taken[0].change, taken[0].version), (FileChange::Owns, ServiceVersion(1)));
    assert!(world.flows.is_empty());
    world.restart();
    assert_eq!(world.status().record.owner, Asker::Files, "it is on disk");
    assert_eq!(standing(&world), Some(FileStanding::InForce));
}

#[test]
fn a_file_takes_nothing_from_an_audience_unless_somebody_says_so() {
    let mut world = World::new();
    world.attach("db[1-3]");
    world.apply(spec("db[1-3]", 1));
    world.settle();
    let written = world.writes;
    let conflict = world.load(vec![filed(FILE, "db[1-3]", 2)], false);
    assert_eq!(conflict, Err(vec![FileConflict::Owned(FILE.into(), web(), alice())]));
    assert_eq!((world.writes, world.flows.len()), (written, 0));
    world.load(vec![filed(FILE, "db[1-3]", 2)], true).unwrap();
    assert_eq!(world.settle(), [FlowState::Ok]);
    assert_eq!(world.status().record.owner, Asker::Files);
}

#[test]
fn a_file_that_vanished_stops_nothing_and_is_told() {
    let mut world = filed_and_running();
    let taken = world.load(Vec::new(), false).unwrap();
    assert_eq!(taken[0].change, FileChange::Gone);
    assert_eq!(world.load(Vec::new(), false), Ok(Vec::new()), "it is news once");
    assert_eq!(standing(&world), Some(FileStanding::Gone));
    assert!(world.flows.is_empty() && world.versions().len() == 3);
    let refused = world.ask(apply(spec("db[1-3]", 2), set("db[1-3]")));
    assert_eq!(refused, Err(Rejection::OfFile(web(), FILE.into())), "it is still the file's");
    assert_eq!(world.load(vec![filed(FILE, "db[1-3]", 1)], false), Ok(Vec::new()));
    assert_eq!(standing(&world), Some(FileStanding::InForce), "it is back");
    assert!(world.flows.is_empty());
}

#[test]
fn a_service_is_removed_after_its_file() {
    let mut world = filed_and_running();
    assert_eq!(
        world.ask(Ask::Remove(web())),
        Err(Rejection::StillFiled(web(), FILE.into())),
        "else nobody would know that the file counts for nothing"
    );
    world.load(Vec::new(), false).unwrap();
    world.ask(Ask::Remove(web())).unwrap();
    world.settle();
    assert_eq!((world.versions(), standing(&world)), (Vec::new(), None));
    assert_eq!(world.load(Vec::new(), false), Ok(Vec::new()));
    let taken = world.load(vec![filed(FILE, "db[1-3]", 1)], false).unwrap();
    assert_eq!((taken[0].change, taken[0].version), (FileChange::Applied, ServiceVersion(2)));
    assert_eq!(world.settle(), [FlowState::Ok]);
}

#[test]
fn a_service_that_was_taken_over_forgets_its_file_when_that_is_gone() {
    let mut world = filed_and_running();
    world.ask(taking_over("db[1-3]", 2)).unwrap();
    world.settle();
    assert!(matches!(world.ask(Ask::Remove(web())), Err(Rejection::StillFiled(..))));
    assert_eq!(world.load(Vec::new(), false), Ok(Vec::new()));
    assert_eq!(standing(&world), None);
    world.ask(Ask::Remove(web())).unwrap();
}

#[test]
fn a_service_whose_file_is_gone_is_taken_over_for_good() {
    let mut world = filed_and_running();
    world.load(Vec::new(), false).unwrap();
    world.ask(taking_over("db[1-3]", 2)).unwrap();
    assert_eq!(standing(&world), None);
}

#[test]
fn what_would_leave_many_hosts_is_known_before_anything_is_loaded() {
    let world = filed_and_running();
    let few = Quantity::Count(1);
    let check = |hosts: &str, files: &[_], most| {
        let hosts = [(web(), Ok(set(hosts)))].into();
        world.engine.check_leaving(&hosts, files, false, most)
    };
    assert_eq!(check("db[1-2]", &[], few), []);
    let leaving = check("db3", &[], few);
    assert_eq!(leaving[0].to_string(), "service web would leave 2 of its 3 hosts: db[1-2]");
    // A file that says something new is asked, and not what the service was before.
    assert_eq!(check("db3", &[filed(FILE, "db[1-3]", 2)], few), []);
    assert_eq!(check("db[1-3]", &[filed(FILE, "db1", 2)], few).len(), 1);
    // One that says the same as ever, the other way round.
    assert_eq!(check("db3", &[filed(FILE, "db[1-3]", 1)], few).len(), 1);
    assert_eq!(check("db3", &[], Quantity::ALL), []);
    let unresolved = BTreeMap::from([(web(), Err("no group db".to_owned()))]);
    assert_eq!(world.engine.check_leaving(&unresolved, &[], false, few), []);
}

#[test]
fn hosts_that_a_file_names_no_more_are_left_by_a_flow() {
    let mut world = filed_and_running();
    world.load(vec![filed(FILE, "db[1-2]", 2)], false).unwrap();
    let jobs: Vec<_> = world.flows[0].1.spec.slots.iter().flat_map(|slot| &slot.jobs).collect();
    assert!(jobs.iter().any(|job| job.name.as_str() == "leave"));
    assert_eq!(world.settle(), [FlowState::Ok]);
    assert_eq!(world.versions().len(), 2);
}

#[test]
fn what_the_keeper_does_it_does_in_the_name_of_who_applied_the_version() {
    let mut world = filed_and_running();
    world.detach("db2");
    world.wipe("db2");
    world.attach("db2");
    let repair = &world.flows[0].1;
    assert_eq!((&repair.audience, repair.by_keeper), (&Asker::Files, true));
    world.settle();
    let record = world.status().record;
    let last = record.events.last().unwrap();
    assert_eq!((last.cause, &last.by), (Cause::Repair, &Asker::Keeper));
    world.ask(taking_over("db[1-3]", 2)).unwrap();
    assert!(!world.flows[0].1.by_keeper);
    world.bad.insert((h("db1"), 2));
    world.run_flow();
    let revert = &world.flows[0].1;
    assert_eq!((&revert.audience, revert.by_keeper), (&alice(), true));
    assert_eq!(revert.services[0].cause, Cause::Revert);
    world.settle();
    world.turn("db1", UnitState::GaveUp, None);
    world.ask(Ask::Restart { service: web(), hosts: None }).unwrap();
    assert!(!world.flows[0].1.by_keeper);
}

#[test]
fn files_of_linked_services_are_loaded_whatever_their_order() {
    let mut world = World::new();
    world.attach("db[1-3]");
    let link = |n: u32| FiledService {
        file: "services.d/a.yaml".into(),
        spec_bytes: format!(" {n}").into_bytes().into(),
        spec: linked(n),
        content: [u8::try_from(n).unwrap(); 32],
        hosts: HostSet::default(),
    };
    let alone = world.load(vec![link(1)], false).unwrap_err();
    let unknown = Box::new(Rejection::UnknownService(web()));
    assert_eq!(alone, [FileConflict::Refused("services.d/a.yaml".into(), unknown)]);
    let taken = world.load(vec![link(1), filed(FILE, "db[1-2]", 1)], false).unwrap();
    assert_eq!(taken.len(), 2);
    world.settle();
    let status = world.engine.status(&exporter()).unwrap();
    assert_eq!((status.record.owner, status.record.hosts), (Asker::Files, set("db[1-2]")));
    assert_eq!(status.instances.len(), 2);
    let hosts = [(web(), Ok(set("db[1-2]")))].into();
    let leaving = world.engine.check_leaving(&hosts, &[link(2)], false, Quantity::Count(1));
    assert_eq!(leaving, [], "it is where the other is");
}

#[test]
fn files_that_change_a_service_and_what_is_linked_to_it_make_a_flow_of_each() {
    let mut world = World::new();
    world.attach("db[1-2]");
    world.load(vec![filed("web.yaml", "db[1-2]", 1), filed_linked(1)], false).unwrap();
    world.settle();
    world.load(vec![filed("web.yaml", "db1", 2), filed_linked(2)], false).unwrap();
    let services: Vec<_> =
        world.flows.iter().map(|(_, flow)| flow.services[0].name.as_str()).collect();
    assert_eq!(services, ["exporter", "web"]);
    world.settle();
    assert_eq!(world.versions(), [("db1".to_owned(), 2, UnitState::Ready)]);
}
