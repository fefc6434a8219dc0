//! Services that are applied at once, told as stories.

use orchestra_model::{
    FlowState, HostSet, ServiceName,
    service::{Cause, ServiceSpec, ServiceVersion},
};
use orchestra_service::{Ask, Input, Rejection, UnitFlow};

use crate::world::{World, apply, exporter, filed, h, linked, spec, together, web};

fn named(name: &str) -> ServiceName {
    ServiceName::new(name).unwrap()
}

/// A service of this name, as [`spec`] is one of `web`.
fn other(name: &str, on: &str, n: u32) -> ServiceSpec {
    ServiceSpec { name: named(name), ..spec(on, n) }
}

fn ask(spec: ServiceSpec) -> Ask {
    let hosts = HostSet::parse_plain(&spec.on).unwrap();
    apply(spec, hosts)
}

/// `api` on two hosts and `web` on three, of which one is of both: this version of each.
fn both(n: u32) -> Ask {
    together([ask(other("api", "db[1-2]", n)), ask(spec("db[2-4]", n))])
}

/// Four players, and both services, which are ready.
fn running() -> World {
    let mut world = World::new();
    world.attach("db[1-4]");
    world.ask_all(both(1)).unwrap();
    assert_eq!(world.settle(), [FlowState::Ok]);
    world
}

/// Which services a flow changes, and why.
fn changes(flow: &UnitFlow) -> Vec<(&str, Cause)> {
    flow.services.iter().map(|it| (it.name.as_str(), it.cause)).collect()
}

fn flows(world: &World) -> Vec<Vec<(&str, Cause)>> {
    world.flows.iter().map(|(_, flow)| changes(flow)).collect()
}

fn version(world: &World, name: &str) -> u64 {
    world.engine.status(&named(name)).unwrap().record.version.0
}

/// On how many hosts each is ready with the version that is wanted.
fn ready(world: &World) -> (usize, usize) {
    let of = |name| world.engine.status(&name).unwrap().ready();
    (of(named("api")), of(web()))
}

#[test]
fn one_flow_makes_the_changes_of_all() {
    let mut world = running();
    assert_eq!(ready(&world), (2, 3));
    let taken = world.ask_all(both(2)).unwrap();
    assert_eq!(flows(&world), [[("api", Cause::Update), ("web", Cause::Update)]]);
    let id = world.flows[0].0;
    assert!(taken.iter().all(|it| it.flow == Some(id) && it.version == ServiceVersion(2)));
    assert_eq!(taken.iter().map(|it| it.service.as_str()).collect::<Vec<_>>(), ["api", "web"]);
    let flow = &world.flows[0].1;
    let jobs: Vec<_> = flow.spec.slots.iter().flat_map(|slot| &slot.jobs).collect();
    let names: Vec<_> = jobs.iter().map(|job| job.name.as_str()).collect();
    // In one slot, where the order of a deployment holds.
    assert_eq!((names, flow.spec.slots.len()), (vec!["api-update", "web-update"], 1));
    assert_eq!(flow.params.len(), 2, "each has its parameters");
    assert_eq!(world.settle(), [FlowState::Ok]);
    assert_eq!(ready(&world), (2, 3));
    let stable = |name| world.engine.status(&name).unwrap().record.stable;
    assert_eq!(
        (stable(named("api")), stable(web())),
        (Some(ServiceVersion(2)), Some(ServiceVersion(2)))
    );
}

#[test]
fn what_does_not_differ_is_left_alone() {
    let mut world = running();
    let taken = world.ask_all(together([ask(other("api", "db[1-2]", 1)), ask(spec("db[2-4]", 2))]));
    let unchanged: Vec<_> = taken.unwrap().iter().map(|it| it.unchanged).collect();
    assert_eq!(unchanged, [true, false]);
    assert_eq!(flows(&world), [[("web", Cause::Update)]]);
    let written = world.writes;
    world.settle();
    assert!(world.ask_all(both(1)).unwrap()[0].unchanged && written < world.writes);
}

#[test]
fn all_of_them_are_applied_or_none_is() {
    let mut world = running();
    let written = world.writes;
    let refused = [
        together([ask(spec("db[2-4]", 2)), ask(spec("db[2-4]", 3))]),
        together([ask(spec("db[2-4]", 2)), apply(other("api", "db1", 2), HostSet::default())]),
        together([
            ask(spec("db[2-4]", 2)),
            apply(ServiceSpec { name: named("side"), ..linked_to("nobody") }, HostSet::default()),
        ]),
    ];
    let why: Vec<Rejection> =
        refused.into_iter().map(|ask| world.ask_all(ask).unwrap_err()).collect();
    let nobody = Rejection::UnknownService(named("nobody"));
    assert_eq!(why, [Rejection::Twice(web()), Rejection::NoHosts(named("api")), nobody]);
    world.load(vec![filed("services.d/web.yaml", "db[2-4]", 1)], true).unwrap();
    let written_then = world.writes;
    let refused = world.ask_all(both(2)).unwrap_err();
    assert_eq!(refused, Rejection::OfFile(web(), "services.d/web.yaml".into()));
    assert_eq!((written_then, version(&world, "api")), (world.writes, 1));
    assert!(world.flows.is_empty() && written < written_then);
}

/// A service that is linked to this one.
fn linked_to(name: &str) -> ServiceSpec {
    let mut spec = linked(1);
    spec.upkeep.linked_to = Some(named(name));
    spec
}

#[test]
fn a_service_may_be_linked_to_one_that_comes_with_it() {
    let mut world = World::new();
    world.attach("db[1-4]");
    let both = together([apply(linked(1), HostSet::default()), ask(spec("db[2-4]", 1))]);
    let taken = world.ask_all(both).unwrap();
    assert_eq!(taken.iter().map(|it| it.service.as_str()).collect::<Vec<_>>(), ["exporter", "web"]);
    world.settle();
    assert_eq!(world.engine.status(&exporter()).unwrap().ready(), 3);
    let chain = [linked_to("exporter"), linked(2)].map(|spec| apply(spec, HostSet::default()));
    let chain = together(
        [ServiceSpec { name: named("side"), ..linked_to("exporter") }]
            .map(|spec| apply(spec, HostSet::default()))
            .into_iter()
            .chain(chain.into_iter().skip(1)),
    );
    let refused = world.ask_all(chain).unwrap_err();
    assert_eq!(refused, Rejection::LinkOfLink(named("side"), exporter()));
}

#[test]
fn the_flow_waits_until_each_of_them_is_free() {
    let mut world = running();
    world.apply(spec("db[2-4]", 2));
    world.run_tasks(0, 1);
    let old = world.flows[0].0;
    let taken = world.ask_all(both(3)).unwrap();
    assert!(world.cancelled.contains(&old) && taken.iter().all(|it| it.flow.is_none()));
    assert_eq!(world.flows.len(), 1, "nothing is begun before that has ended");
    // Neither a start nor what else happens parts them.
    world.restart();
    world.attach("db[1-4]");
    assert_eq!(world.flows.len(), 1);
    world.run_flow();
    assert_eq!(flows(&world), [[("api", Cause::Update), ("web", Cause::Update)]]);
    world.settle();
    assert_eq!(ready(&world), (2, 3));
}

#[test]
fn a_paused_one_stays_behind() {
    let mut world = running();
    world.ask(Ask::Pause(web())).unwrap();
    world.ask_all(both(2)).unwrap();
    assert_eq!(flows(&world), [[("api", Cause::Update)]]);
    world.settle();
    world.ask(Ask::Resume(web())).unwrap();
    assert_eq!(flows(&world), [[("web", Cause::Update)]]);
    world.settle();
    assert_eq!(ready(&world), (2, 3));
}

#[test]
fn a_newer_ask_of_one_lets_the_others_go_on_together() {
    let mut world = running();
    world.attach("db5");
    let three = |n| {
        together([
            ask(other("api", "db[1-2]", n)),
            ask(other("kv", "db[3-5]", n)),
            ask(spec("db[2-4]", n)),
        ])
    };
    world.ask_all(three(2)).unwrap();
    world.run_tasks(0, 1);
    let old = world.flows[0].0;
    world.apply(spec("db[2-4]", 3));
    assert!(world.cancelled.contains(&old));
    world.run_flow();
    let others = vec![("api", Cause::Update), ("kv", Cause::Update)];
    assert_eq!(flows(&world), [others, vec![("web", Cause::Update)]]);
    assert_eq!(world.flows[0].1.audience, world.flows[1].1.audience);
    // What is done is done.
    let targets = world.flows[0].1.targets.iter().flatten();
    let targets: Vec<String> = targets.map(ToString::to_string).collect();
    assert_eq!(targets, ["db2", "db[3-5]"]);
    world.settle();
    assert_eq!((ready(&world), version(&world, "kv")), ((2, 3), 1));
}

#[test]
fn versions_that_came_together_are_reverted_together() {
    let mut world = running();
    world.bad.insert((h("db1"), 2));
    world.ask_all(both(2)).unwrap();
    assert_eq!(world.run_flow(), FlowState::Failed);
    assert_eq!(flows(&world), [[("api", Cause::Revert), ("web", Cause::Revert)]]);
    assert_eq!(world.settle(), [FlowState::Ok]);
    assert_eq!((version(&world, "api"), version(&world, "web")), (1, 1));
    assert_eq!(ready(&world), (2, 3));
}

#[test]
fn what_has_no_earlier_version_goes_on_when_another_fails() {
    let mut world = World::new();
    world.attach("db[1-4]");
    world.apply(other("api", "db[1-2]", 1));
    world.settle();
    world.bad.insert((h("db1"), 2));
    world.ask_all(both(2)).unwrap();
    // The flow ends before it has come to the other service, as it does where that waits in line.
    world.run_tasks(0, 2);
    let (flow, _) = world.flows.remove(0);
    world.handle(Input::FlowEnded { flow, state: FlowState::Failed });
    let next = [vec![("api", Cause::Revert)], vec![("web", Cause::Repair)]];
    assert_eq!(flows(&world), next);
    assert_eq!((version(&world, "api"), version(&world, "web")), (1, 1));
    world.settle();
    assert_eq!(ready(&world), (2, 3));
}

#[test]
fn an_update_that_must_not_be_reverted_is_not() {
    let mut world = running();
    world.bad.insert((h("db1"), 2));
    let mut first = other("api", "db[1-2]", 2);
    first.update.auto_revert = false;
    world.ask_all(together([ask(first), ask(spec("db[2-4]", 2))])).unwrap();
    assert_eq!(world.run_flow(), FlowState::Failed);
    assert_eq!((version(&world, "api"), version(&world, "web")), (2, 2));
    world.settle();
    assert_eq!(world.engine.status(&web()).unwrap().ready(), 3);
}
