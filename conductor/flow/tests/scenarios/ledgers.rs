//! What the ledger shows of cells: limit, holders with flow and since when, who waits. And what holds
//! over everything at once: flows, ad-hoc jobs, restarts.

use orchestra_model::{FlowState, Quantity, TaskState, Timestamp, ledger::CellStatus};

use crate::world::*;

fn two_clusters() -> World {
    let mut world = World::new("fe[1-6]");
    world.deploy(deployment(
        &[("frontend", "fe[1-6]", Some(Quantity::Percent(67)))],
        &[("east", "fe[1-3]"), ("west", "fe[4-6]")],
        &[],
    ));
    world
}

fn east(world: &World) -> CellStatus {
    world.engine.cell_status(0, 1).remove(0)
}

#[test]
fn a_cell_shows_who_holds_it_and_who_waits() {
    let mut world = two_clusters();
    let first = world.submit(flow([vec![job("fe[1-3]")]]));
    world.pass(10);
    let second = world.submit(flow([vec![job("fe[1-6]")]]));
    let cell = east(&world);
    assert_eq!(cell.key.to_string(), "frontend in cluster east of site");
    assert_eq!((cell.hosts, cell.limit), (3, Some(2)));
    let holders: Vec<&str> = cell.holders.iter().map(|holder| holder.host.as_str()).collect();
    assert_eq!(holders, ["fe1", "fe2"]);
    assert_eq!(cell.holders[0].jobs.len(), 2, "of both flows");
    assert_eq!(cell.holders[0].since, Timestamp(1_000_000));
    assert_eq!(cell.holders[0].down, None);
    assert_eq!(cell.waiting.into_iter().collect::<Vec<_>>(), [(first, 1), (second, 1)]);
    world.ok("fe1", second);
    world.fail("fe1", first);
    let holder = east(&world).holders.remove(0);
    assert_eq!((holder.jobs[0].flow, holder.down), (first, Some(TaskState::Failed)));
    assert_eq!(holder.since, Timestamp(1_000_000), "since it began, not since it failed");
    world.restart_and_return();
    assert_eq!(east(&world).holders[0], holder);
}

#[test]
fn cells_are_told_in_pages() {
    let world = two_clusters();
    let names = |from, limit| {
        let page = world.engine.cell_status(from, limit);
        page.iter().map(|cell| cell.key.of_app().unwrap().env_value.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(names(0, 1), ["east"]);
    assert_eq!(names(1, 1), ["west"]);
    assert_eq!(names(0, 9), ["east", "west"]);
    assert!(names(2, 9).is_empty());
    assert!(names(usize::MAX, usize::MAX).is_empty());
}

#[test]
fn two_flows_and_an_ad_hoc_job_share_the_limit_also_over_a_restart() {
    let mut world = two_clusters();
    let all = || flow([vec![job("fe[1-6]").parallel(6)]]);
    let (one, two) = (world.submit(all()), world.submit(all()));
    let ad_hoc = world.submit(flow([vec![job("fe[3,6]").named("ad-hoc")]]));
    let look = world.submit(flow([vec![job("fe[3,6]").score("look")]]));
    assert_eq!(world.running_hosts(look), "fe[3,6]");
    let mut ends = 0;
    while [one, two, ad_hoc].iter().any(|id| !world.state(*id).is_final()) {
        // The world checks the limit whenever anything happens.
        let running: Vec<String> = world.attached().iter().map(ToString::to_string).collect();
        let busy = running.iter().find(|name| world.engine_holds(name)).cloned();
        let name = busy.unwrap();
        let id = [one, two, ad_hoc, look]
            .into_iter()
            .find(|id| !world.running(&name, *id).is_empty())
            .unwrap();
        world.ok(&name, id);
        ends += 1;
        if ends % 3 == 0 {
            world.restart_and_return();
        }
    }
    for id in [one, two, ad_hoc] {
        assert_eq!(world.state(id), FlowState::Ok);
    }
    assert_eq!(world.holders(), "");
}

#[test]
fn a_score_that_turns_out_to_change_nothing_needs_no_room() {
    let mut world = two_clusters();
    let id = world.submit(flow([vec![job("fe[1-3]")]]));
    assert_eq!(world.states(id, 1, 1), "running running waiting");
    world.player("fe3").offer_as("work", false);
    world.attach("fe3");
    assert_eq!(world.states(id, 1, 1), "running running running");
    assert_eq!(world.holders(), "fe[1-2]");
    // The other way round, what runs keeps what it was sent as.
    world.player("fe3").offer_as("work", true);
    world.attach("fe3");
    assert_eq!(world.holders(), "fe[1-2]");
    world.ok("fe1", id);
    let other = world.submit(flow([vec![job("fe3")]]));
    assert_eq!(world.states(other, 1, 1), "running");
    assert_eq!(world.holders(), "fe[2-3]");
}

#[test]
fn no_crash_between_decision_and_order_makes_two_of_one() {
    World::crash_at_each_point(
        two_clusters,
        |world| {
            let submission = world.submission(flow([vec![job("fe[1-3]")]]));
            world.input(submitted(submission));
            world.work();
        },
        |world, kept| {
            let id = orchestra_model::FlowId(1);
            if world.disk.flow(id).is_none() {
                return assert_eq!(world.holders(), "", "{kept} records");
            }
            assert_eq!(world.running_hosts(id), "fe[1-2]", "{kept} records");
            assert_eq!(world.holders(), "fe[1-2]", "{kept} records");
            for name in ["fe1", "fe2", "fe3"] {
                world.ok(name, id);
            }
            assert_eq!(world.state(id), FlowState::Ok);
        },
    );
}

#[test]
fn deployments_that_change_while_no_conductor_runs_hold_from_its_start() {
    let mut world = two_clusters();
    let id = world.submit(flow([vec![job("fe[1-6]")]]));
    assert_eq!(world.running_hosts(id), "fe[1-2,4-5]");
    world.disk.deployments = deployment(
        &[("frontend", "fe[1-6]", Some(Quantity::Count(1)))],
        &[("all", "fe[1-6]")],
        &[],
    );
    world.restart_and_return();
    for name in ["fe1", "fe2", "fe4"] {
        world.ok(name, id);
        assert!(!world.running_hosts(id).contains("fe3"));
    }
    world.ok("fe5", id);
    assert_eq!(world.running_hosts(id), "fe3");
}

#[test]
fn hosts_that_would_wait_for_each_other_for_ever_after_a_restart_stall_their_flow() {
    let mut world = two_clusters();
    let id = world.submit(flow([vec![job("fe[1-3]").parallel(1)]]));
    world.disk.deployments = deployment(
        &[("a", "fe[2-3]", None), ("b", "fe[2-3]", None)],
        &[("all", "fe[1-6]")],
        &["a", "b"],
    );
    world.restart_and_return();
    world.ok("fe1", id);
    assert_eq!(world.state(id), FlowState::Stalled);
    assert!(!world.status(id).unwrap().stalled.is_empty());
    world.deploy(std::sync::Arc::default());
    assert_eq!(world.running_hosts(id), "fe2");
}

#[test]
fn a_host_does_not_wait_for_itself() {
    let mut world = two_clusters();
    let id = world.submit(flow([vec![job("fe[1-3]").parallel(1)]]));
    world.disk.deployments = deployment(
        &[("a", "fe[2-3]", None), ("b", "fe3", None)],
        &[("all", "fe[1-6]")],
        &["a", "b"],
    );
    world.restart_and_return();
    for name in ["fe1", "fe2", "fe3"] {
        assert_eq!(world.running_hosts(id), name);
        world.ok(name, id);
    }
    assert_eq!(world.state(id), FlowState::Ok);
}
