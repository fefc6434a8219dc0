//! What an apply would come to: the same that it comes to.

use orchestra_model::{
    HostSet,
    service::{FileStanding, HostStep, ServicePlan, ServiceVersion, UnitState},
};
use orchestra_service::{Ask, Input, Rejection};

use crate::world::{World, alice, apply, filed, spec, web};

fn set(hosts: &str) -> HostSet {
    HostSet::parse_plain(hosts).unwrap()
}

/// What an apply would come to: versions, and each step in a line.
fn plan(world: &World, on: &str, n: u32) -> (Vec<u64>, ServicePlan, Vec<String>) {
    let planned = world.plan(apply(spec(on, n), set(on)));
    let (versions, plan) = planned.unwrap();
    let steps = plan.steps.iter().map(|it| {
        let from = it.from.map_or_else(String::new, |from| format!(" from {from}"));
        let first = if it.first { " first" } else { "" };
        format!("{}{from}{first}: {}", it.step, it.hosts)
    });
    let steps = steps.collect();
    (versions.iter().map(|version| version.version.0).collect(), plan, steps)
}

#[test]
fn what_would_be_done_is_told_host_by_host() {
    let mut world = World::new();
    world.attach("db[1-6]");
    let (versions, told, steps) = plan(&world, "db[1-7]", 1);
    assert_eq!((&versions[..], told.unchanged), (&[1][..], false));
    assert_eq!(steps, ["start: db[1-6]", "absent: db7"]);
    world.apply(spec("db[1-6]", 1));
    world.settle();
    world.turn("db2", UnitState::BackingOff, None);
    world.detach("db3");
    world.plant("db4", 1 << 40);
    world.handle(Input::DrainChanged { hosts: set("db5"), drained: true });
    let (versions, told, steps) = plan(&world, "db[1-5]", 2);
    assert_eq!((&versions[..], told.unchanged), (&[1, 2][..], false));
    let expected = [
        "update from 1: db1",
        "update from 1 first: db2",
        "leave from 1: db6",
        "absent from 1: db3",
        "drained from 1: db5",
        "stranger: db4",
    ];
    assert_eq!(steps, expected);
}

#[test]
fn a_plan_does_nothing() {
    let mut world = World::new();
    world.attach("db[1-3]");
    world.apply(spec("db[1-3]", 1));
    world.settle();
    let written = world.writes;
    plan(&world, "db1", 2);
    world.engine.audit().unwrap();
    assert_eq!(world.engine.effects().count(), 0);
    assert_eq!((world.writes, world.status().record.version), (written, ServiceVersion(1)));
}

#[test]
fn what_differs_in_nothing_changes_nothing() {
    let mut world = World::new();
    world.attach("db[1-3]");
    world.apply(spec("db[1-3]", 1));
    world.settle();
    let (versions, told, steps) = plan(&world, "db[1-3]", 1);
    assert_eq!((&versions[..], told.unchanged), (&[1][..], true));
    assert_eq!(steps, ["keep from 1: db[1-3]"]);
    world.turn("db2", UnitState::GaveUp, None);
    let (_, _, steps) = plan(&world, "db[1-3]", 2);
    assert_eq!(steps, ["update from 1: db[1,3]", "update from 1 first: db2"]);
}

#[test]
fn a_plan_says_what_is_in_its_way() {
    let mut world = World::new();
    world.attach("db[1-3]");
    world.load(vec![filed("services.d/web.yaml", "db[1-3]", 1)], false).unwrap();
    let living = world.flows[0].0;
    let refused = world.plan(apply(spec("db[1-3]", 2), set("db[1-3]")));
    assert_eq!(refused, Err(Rejection::OfFile(web(), "services.d/web.yaml".into())));
    let taking = match apply(spec("db[1-3]", 2), set("db[1-3]")) {
        Ask::Apply { services, .. } => Ask::Apply { services, take_over: true },
        other => other,
    };
    let (_, told) = world.plan(taking.clone()).unwrap();
    assert_eq!(told.taken_from.as_deref(), Some("services.d/web.yaml"));
    assert_eq!((told.superseded, told.paused_by), (Some(living), None));
    assert_eq!(told.steps[0].step, HostStep::Start);
    world.settle();
    world.ask(Ask::Pause(web())).unwrap();
    let (_, told) = world.plan(taking).unwrap();
    assert_eq!((told.superseded, told.paused_by), (None, Some(alice())));
    let file = world.status().record.file.unwrap();
    assert_eq!(file.standing, FileStanding::InForce, "nothing was taken");
}
