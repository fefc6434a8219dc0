//! Sequences: within one environment, hosts of a slot come after the hosts of the apps before theirs.

use orchestra_model::{FlowId, FlowState, JobState, Quantity, WaitReason};

use crate::world::*;

/// Two clusters, in each of which `be` come before `fe`.
fn two_clusters() -> World {
    let mut world = World::new("fe[1-4],be[1-4]");
    world.deploy(ordered(None));
    world
}

fn ordered(backends: Option<u32>) -> std::sync::Arc<orchestra_model::Deployments> {
    deployment(
        &[("frontend", "fe[1-4]", None), ("backend", "be[1-4]", backends.map(Quantity::Count))],
        &[("east", "fe[1-2],be[1-2]"), ("west", "fe[3-4],be[3-4]")],
        &["backend", "frontend"],
    )
}

fn both(world: &mut World) -> FlowId {
    world.submit(flow([vec![job("be[1-4]"), job("fe[1-4]")]]))
}

#[test]
fn those_after_wait_for_all_before_them_in_their_environment() {
    let mut world = two_clusters();
    let id = both(&mut world);
    assert_eq!(world.running_hosts(id), "be[1-4]");
    world.ok("be1", id);
    assert_eq!(world.running_hosts(id), "be[2-4]");
    world.restart_and_return();
    world.ok("be2", id);
    assert_eq!(world.running_hosts(id), "be[3-4],fe[1-2]", "east does not wait for west");
    assert_eq!(world.tasks(id, 1, 2)[2].reason, Some(WaitReason::Sequence));
    world.restart_and_return();
    assert_eq!(world.running_hosts(id), "be[3-4],fe[1-2]");
    world.ok("be3", id);
    world.ok("be4", id);
    assert_eq!(world.running_hosts(id), "fe[1-4]");
}

#[test]
fn one_job_over_both_lines_up_too_and_its_window_lets_nobody_starve() {
    let mut world = two_clusters();
    let id = world.submit(flow([vec![job("fe[1-2],be[1-2]").parallel(1)]]));
    assert_eq!(world.running_hosts(id), "be1");
    world.ok("be1", id);
    assert_eq!(world.running_hosts(id), "be2");
    world.ok("be2", id);
    assert_eq!(world.running_hosts(id), "fe1");
}

#[test]
fn an_app_between_need_not_be_there() {
    let mut world = World::new("a1,b1,c1");
    world.deploy(deployment(
        &[("a", "a1", None), ("b", "b1", None), ("c", "c1", None)],
        &[("all", "a1,b1,c1")],
        &["a", "b", "c"],
    ));
    let id = world.submit(flow([vec![job("c1"), job("a1")]]));
    assert_eq!(world.running_hosts(id), "a1");
    world.ok("a1", id);
    assert_eq!(world.running_hosts(id), "c1");
}

#[test]
fn only_the_same_slot_of_the_same_flow_counts() {
    let mut world = two_clusters();
    let backends = world.submit(flow([vec![job("be[1-2]")]]));
    let frontends = world.submit(flow([vec![job("fe[1-2]")], vec![job("be1").named("later")]]));
    assert_eq!(world.running_hosts(backends), "be[1-2]");
    assert_eq!(world.running_hosts(frontends), "fe[1-2]");
}

#[test]
fn a_look_waits_for_nobody_and_is_waited_for() {
    let mut world = two_clusters();
    let id = world
        .submit(flow([vec![job("be1").score("look"), job("fe1"), { job("fe2").score("look") }]]));
    assert_eq!(world.running_hosts(id), "be1,fe2");
    world.ok("be1", id);
    assert_eq!(world.running_hosts(id), "fe[1-2]");
}

#[test]
fn an_unthrottled_job_waits_for_nobody_and_nobody_for_it() {
    let mut world = two_clusters();
    let spec = vec![job("be1").unthrottled(), job("fe1"), job("fe2").unthrottled(), job("be2")];
    let id = world.submit(flow([spec]));
    assert_eq!(world.running_hosts(id), "be[1-2],fe2");
    world.ok("be2", id);
    assert_eq!(world.running_hosts(id), "be1,fe[1-2]");
}

#[test]
fn a_further_attempt_is_waited_for() {
    let mut world = two_clusters();
    let id = world.submit(flow([vec![job("be1").retries(1).retry_delay(30), job("fe1")]]));
    world.fail("be1", id);
    world.pass(20);
    assert_eq!(world.running_hosts(id), "");
    assert_eq!(world.state(id), FlowState::Running);
    world.pass(10);
    assert_eq!(world.running_hosts(id), "be1");
    world.ok("be1", id);
    assert_eq!(world.running_hosts(id), "fe1");
}

#[test]
fn with_continue_those_after_go_on_past_failures() {
    let mut world = two_clusters();
    let tolerant = job("be[1-2]").success(1);
    let id = world.submit(flow([vec![tolerant, job("fe[1-2]").continue_on_failure()]]));
    world.fail("be1", id);
    assert_eq!(world.running_hosts(id), "be2", "it waits all the same until nothing is open");
    world.ok("be2", id);
    assert_eq!(world.running_hosts(id), "fe[1-2]");
}

#[test]
fn where_nobody_can_help_any_more_those_after_are_skipped() {
    let mut world = two_clusters();
    let tolerant = job("be[1-2]").success(1);
    let id = world.submit(flow([vec![tolerant, job("fe[1-4]").success(1)]]));
    world.fail("be1", id);
    world.restart_and_return();
    assert_eq!(world.states(id, 1, 2), "waiting waiting running running");
    world.ok("be2", id);
    assert_eq!(world.job_state(id, 1, 1), JobState::Ok);
    assert_eq!(world.states(id, 1, 2), "skipped skipped running running");
    let detail = world.tasks(id, 1, 2)[0].detail.clone().unwrap();
    assert!(detail.contains("backend in cluster east"), "{detail}");
    world.ok("fe3", id);
    world.ok("fe4", id);
    assert_eq!(world.state(id), FlowState::Ok);
}

#[test]
fn while_its_job_lives_a_failure_before_can_be_mended() {
    let mut world = two_clusters();
    // The cell is full of the host that failed, so its job goes on no more, and lives.
    world.deploy(ordered(Some(1)));
    let id = world.submit(flow([vec![job("be[1-2]").success(1), job("fe[1-2]")]]));
    world.fail("be1", id);
    assert_eq!(world.state(id), FlowState::Stalled);
    world.restart_and_return();
    world.pass(60);
    assert_eq!(world.state(id), FlowState::Stalled);
    world.retry(id);
    assert_eq!(world.running_hosts(id), "be1");
    world.ok("be1", id);
    world.ok("be2", id);
    assert_eq!(world.running_hosts(id), "fe[1-2]");
}

#[test]
fn what_never_ran_before_is_a_failure_too() {
    let mut world = two_clusters();
    world.detach("be2");
    let spec = vec![job("be[1-2]").success(1).give_up_after(60), job("fe[1-2]").success(0)];
    let id = world.submit(flow([spec]));
    world.ok("be1", id);
    // Enough are ok, and only one that is not there is left.
    assert_eq!(world.states(id, 1, 1), "ok unreachable");
    assert_eq!(world.states(id, 1, 2), "skipped skipped");
    assert_eq!(world.state(id), FlowState::Ok);
}

#[test]
fn a_player_removed_while_others_wait_for_it_is_a_failure_too() {
    let mut world = two_clusters();
    let id = world.submit(flow([vec![
        job("be[1-2]").success(1),
        job("fe[1-2]").continue_on_failure(),
        job("fe[3-4]"),
    ]]));
    world.load("fe[1-4],be[1,3-4]");
    world.ok("be1", id);
    assert_eq!(world.states(id, 1, 1), "ok lost");
    // In truth be2 runs on.
    assert_eq!(world.running_hosts(id), "be2,fe[1-4]");
}

#[test]
fn a_player_removed_that_only_a_later_slot_has_changes_nothing_here() {
    let mut world = two_clusters();
    let later = vec![job("be[2-3]").named("later").success(1)];
    let id = world.submit(flow([vec![job("be1"), job("fe[1-2]")], later]));
    world.load("fe[1-4],be[1,3-4]");
    assert_eq!(world.running_hosts(id), "be1");
    world.ok("be1", id);
    assert_eq!(world.running_hosts(id), "fe[1-2]");
    world.ok("fe1", id);
    world.ok("fe2", id);
    assert_eq!(world.running_hosts(id), "be3");
}

#[test]
fn who_waits_in_line_can_be_cancelled_paused_and_removed() {
    let mut world = two_clusters();
    let id = both(&mut world);
    world.pause(id);
    world.ok("be1", id);
    world.ok("be2", id);
    assert_eq!(world.running_hosts(id), "be[3-4]");
    world.resume(id);
    assert_eq!(world.running_hosts(id), "be[3-4],fe[1-2]");
    world.load("fe[1-3],be[1-4]");
    assert_eq!(world.states(id, 1, 2), "running running waiting cancelled");
    world.cancel(id);
    assert_eq!(world.states(id, 1, 2), "cancelled cancelled cancelled cancelled");
    assert_eq!(world.state(id), FlowState::Cancelled);
}

#[test]
fn who_is_not_there_takes_its_place_when_it_comes() {
    let mut world = two_clusters();
    world.detach("fe1");
    let id = both(&mut world);
    assert_eq!(world.tasks(id, 1, 2)[0].reason, Some(WaitReason::Sequence));
    world.ok("be1", id);
    world.ok("be2", id);
    assert_eq!(world.running_hosts(id), "be[3-4],fe2");
    assert_eq!(world.tasks(id, 1, 2)[0].reason, Some(WaitReason::PlayerAbsent));
    world.attach("fe1");
    assert_eq!(world.running_hosts(id), "be[3-4],fe[1-2]");
    // Whoever comes while others are before it has no hurry.
    world.detach("fe3");
    world.attach("fe3");
    assert_eq!(world.running_hosts(id), "be[3-4],fe[1-2]");
}

#[test]
fn a_score_that_turns_out_to_change_nothing_waits_no_longer() {
    let mut world = two_clusters();
    let id = both(&mut world);
    world.player("fe1").offer_as("work", false);
    world.attach("fe1");
    assert_eq!(world.running_hosts(id), "be[1-4],fe1");
}

#[test]
fn one_of_runs_where_nobody_comes_before() {
    let mut world = two_clusters();
    let one = job("fe[1,3]").one_of().named("one");
    let id = world.submit(flow([vec![job("be1"), one]]));
    assert_eq!(world.states(id, 1, 2), "running");
    assert_eq!(world.running_hosts(id), "be1,fe3");
}

#[test]
fn one_of_waits_where_all_come_after_and_goes_as_soon_as_one_may() {
    let mut world = two_clusters();
    let one = job("fe[1,3]").one_of().named("one");
    let id = world.submit(flow([vec![job("be1"), job("be3"), one]]));
    assert_eq!(world.tasks(id, 1, 3)[0].reason, Some(WaitReason::Sequence));
    world.restart_and_return();
    assert_eq!(world.running_hosts(id), "be[1,3]");
    world.ok("be3", id);
    assert_eq!(world.running_hosts(id), "be1,fe3");
}

#[test]
fn one_of_does_not_wait_for_itself_nor_two_for_each_other() {
    let mut world = two_clusters();
    let one = |name: &str| job("be1,fe1").one_of().named(name);
    let id = world.submit(flow([vec![one("first"), one("second")]]));
    assert_eq!(world.running_hosts(id), "be1");
    let key = world.running("be1", id)[0];
    world.end_attempt("be1", key, &orchestra_model::delivery::Outcome::Exited(0));
    world.ok("be1", id);
    assert_eq!(world.state(id), FlowState::Ok);
}

#[test]
fn one_of_counts_wherever_it_may_run_and_once_chosen_only_there() {
    let mut world = two_clusters();
    world.drain_players("be[1,3]");
    let one = job("be[1,3]").one_of().named("one");
    let id = world.submit(flow([vec![one, job("fe1"), job("fe3")]]));
    assert_eq!(world.running_hosts(id), "");
    world.restart_and_return();
    world.undrain_players("be1");
    assert_eq!(world.running_hosts(id), "be1,fe3");
    world.restart_and_return();
    assert_eq!(world.running_hosts(id), "be1,fe3");
    world.ok("be1", id);
    assert_eq!(world.running_hosts(id), "fe[1,3]");
}

#[test]
fn limits_and_orders_hold_together() {
    let mut world = two_clusters();
    world.deploy(deployment(
        &[
            ("frontend", "fe[1-4]", Some(Quantity::Percent(50))),
            ("backend", "be[1-4]", Some(Quantity::Count(1))),
        ],
        &[("east", "fe[1-2],be[1-2]"), ("west", "fe[3-4],be[3-4]")],
        &["backend", "frontend"],
    ));
    let id = both(&mut world);
    for (ends, then) in [
        ("be1", "be[2-3]"),
        ("be2", "be3,fe1"),
        ("fe1", "be3,fe2"),
        ("be3", "be4,fe2"),
        ("be4", "fe[2-3]"),
        ("fe2", "fe3"),
        ("fe3", "fe4"),
    ] {
        world.ok(ends, id);
        assert_eq!(world.running_hosts(id), then, "after {ends}");
        world.restart_and_return();
        assert_eq!(world.running_hosts(id), then, "after {ends} and a restart");
    }
    world.ok("fe4", id);
    assert_eq!(world.state(id), FlowState::Ok);
}

#[test]
fn a_further_attempt_on_a_host_that_is_down_does_not_queue_again_behind_others() {
    let mut world = World::new("fe1,be[1-2]");
    let one = Some(Quantity::Count(1));
    world.deploy(deployments([
        named_deployment("rack", &[("any", "fe1,be1", one)], &[("all", "fe1,be1")], &[]),
        named_deployment(
            "order",
            &[("backend", "be1", None), ("frontend", "fe1", None)],
            &[("all", "fe1,be1")],
            &["backend", "frontend"],
        ),
    ]));
    world.detach("be1");
    let id = world.submit(flow([vec![
        job("be[1-2]").give_up_after(60).success(1),
        job("fe1").continue_on_failure().retries(1).retry_delay(60),
    ]]));
    world.pass(60);
    assert_eq!(world.states(id, 1, 1), "unreachable running");
    world.fail("fe1", id);
    world.attach("be1");
    world.retry(id);
    // Now be1 waits for the room that fe1 holds, and fe1 comes after be1.
    assert_eq!(world.tasks(id, 1, 1)[0].reason, Some(WaitReason::Cell));
    world.pass(60);
    assert_eq!(world.states(id, 1, 2), "running");
    world.ok("fe1", id);
    assert_eq!(world.states(id, 1, 1), "running running");
}
