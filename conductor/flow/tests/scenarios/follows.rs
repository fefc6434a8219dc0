//! Jobs that go on only where an earlier job ended ok, and jobs that clean up after a service.

use orchestra_model::{
    FlowState, JobName,
    flow::JobSpec,
    service::{RecipeJob, RecipeStep},
};

use crate::world::*;

/// A job that goes on where `first` ended ok.
fn after_first(targets: &str) -> JobSpec {
    JobSpec { only_where_ok: JobName::new("first").ok(), ..job(targets).named("second") }
}

#[test]
fn a_task_is_skipped_whose_host_did_not_end_ok_in_the_job_that_its_job_follows() {
    let mut world = World::new("h[1-4]");
    let first = job("h[1-3]").named("first").max_failures(1);
    let second = after_first("h[2-4]").max_failures(1);
    let id = world.submit(flow([vec![first], vec![second]]));
    world.ok("h1", id);
    world.fail("h2", id);
    world.ok("h3", id);
    // h4 has no task in the first job, so nothing went wrong there.
    assert_eq!(world.running_hosts(id), "h[3-4]");
    assert_eq!(world.states(id, 2, 1), "skipped running running");
    world.ok("h3", id);
    world.ok("h4", id);
    assert_eq!(world.state(id), FlowState::Ok, "as many were left out as may fail");
}

#[test]
fn where_all_are_skipped_the_job_is_over_at_once() {
    let mut world = World::new("h[1-2]");
    let first = job("h[1-2]").named("first").max_failures(2);
    let id = world.submit(flow([vec![first], vec![after_first("h[1-2]")], vec![job("h1")]]));
    world.fail("h1", id);
    world.fail("h2", id);
    assert_eq!(world.states(id, 2, 1), "skipped skipped");
    assert_eq!(world.state(id), FlowState::Failed);
}

#[test]
fn what_cleans_up_after_a_service_passes_the_drain() {
    let mut world = World::new("h1");
    world.drain_players("h1");
    let recipe = |step| Some(RecipeJob { service: service("web"), step });
    let prepare = JobSpec { recipe: recipe(RecipeStep::Prepare), ..job("h1") };
    let cleanup = JobSpec { recipe: recipe(RecipeStep::Cleanup), ..job("h1") };
    let (prepare, cleanup) =
        (world.submit(flow([vec![prepare]])), world.submit(flow([vec![cleanup]])));
    assert_eq!(
        (world.running_hosts(prepare), world.running_hosts(cleanup)),
        ("".into(), "h1".into())
    );
}

#[test]
fn what_is_skipped_stays_so_whatever_a_crash_leaves() {
    let build = || {
        let mut world = World::new("h[1-2]");
        let first = job("h[1-2]").named("first").max_failures(1);
        let id = world.submit(flow([vec![first], vec![after_first("h[1-2]").max_failures(1)]]));
        world.ok("h1", id);
        world
    };
    let id = orchestra_model::FlowId(1);
    World::crash_at_each_point(
        build,
        |world| world.fail("h2", id),
        |world, kept| {
            world.flow_through();
            if world.running_hosts(id).contains("h2")
                && world.states(id, 2, 1).starts_with("waiting")
            {
                // The end of the first job was not kept, so that it is told again.
                world.fail("h2", id);
            }
            assert_eq!(world.states(id, 2, 1), "running skipped", "{kept} kept");
        },
    );
}
