//! The ledger: limits by application and environment, over all flows.

use orchestra_flow::{Answer, Input, Rejection, ReplyId, ReplyTo, answer};
use orchestra_model::{FlowState, Quantity, WaitReason, delivery::Outcome};

use crate::world::*;

fn two_clusters() -> World {
    let mut world = World::new("fe[1-6],be[1-4]");
    world.deploy(deployment(
        &[("frontend", "fe[1-6]", Some(Quantity::Percent(50)))],
        &[("east", "fe[1-3]"), ("west", "fe[4-6]")],
        &[],
    ));
    world
}

#[test]
fn no_more_hosts_than_the_cell_allows_over_all_flows() {
    let mut world = two_clusters();
    let first = world.submit(flow([vec![job("fe[1-6]")]]));
    assert_eq!(world.states(first, 1, 1), "running waiting waiting running waiting waiting");
    let second = world.submit(flow([vec![job("fe2")]]));
    assert_eq!(world.tasks(second, 1, 1)[0].reason, Some(WaitReason::Cell));
    world.ok("fe1", first);
    world.ok("fe4", first);
    // The host that waited first: its tasks share its hold.
    assert_eq!(world.states(first, 1, 1), "ok running waiting ok running waiting");
    assert_eq!(world.states(second, 1, 1), "running");
    world.ok("fe2", first);
    assert_eq!(world.states(first, 1, 1), "ok ok waiting ok running waiting");
    world.ok("fe2", second);
    assert_eq!(world.states(first, 1, 1), "ok ok running ok running waiting");
}

#[test]
fn every_host_of_a_cell_has_its_turn() {
    let mut world = World::new("h[1-3]");
    let one = Some(Quantity::Count(1));
    let racks = [("a", "h1"), ("b", "h2"), ("c", "h3")];
    world.deploy(deployments([
        named_deployment("site", &[("app", "h[1-3]", one)], &[("all", "h[1-3]")], &[]),
        named_deployment("racks", &[("app", "h[1-3]", one)], &racks, &[]),
    ]));
    let all = world.submit(flow([vec![job("h[1-3]")]]));
    world.ok("h1", all);
    let again = world.submit(flow([vec![job("h1")]]));
    world.ok("h2", all);
    assert_eq!(world.states(all, 1, 1), "ok ok running");
    assert_eq!(world.states(again, 1, 1), "waiting");
    world.ok("h3", all);
    assert_eq!(world.states(again, 1, 1), "running");
}

#[test]
fn a_look_takes_no_cells_and_an_unthrottled_job_neither() {
    let mut world = two_clusters();
    let first = world.submit(flow([vec![job("fe1")]]));
    let free = world.submit(flow([vec![job("fe2").unthrottled()]]));
    assert_eq!(world.states(free, 1, 1), "running");
    let other = world.submit(flow([vec![job("fe3")]]));
    assert_eq!(world.states(other, 1, 1), "waiting");
    world.ok("fe1", first);
    assert_eq!(world.states(other, 1, 1), "running");
}

#[test]
fn a_failure_keeps_its_hold_and_the_flow_says_that_it_is_stalled() {
    let mut world = two_clusters();
    let id = world.submit(flow([vec![job("fe[1-3]").max_failures(1).success(2)]]));
    world.end("fe1", id, &Outcome::Exited(1));
    assert_eq!(world.states(id, 1, 1), "failed waiting waiting");
    let status = world.status(id).unwrap();
    assert_eq!(status.summary.state, FlowState::Stalled);
    let why = status.stalled[0].to_string();
    assert!(why.contains("fe1 (failed in 1.1.1"), "{why}");
    // Over a restart of the conductor too.
    world.restart();
    for name in ["fe1", "fe2", "fe3"] {
        world.attach(name);
    }
    world.pass(60);
    assert_eq!(world.status(id).unwrap().summary.state, FlowState::Stalled);
    assert_eq!(world.states(id, 1, 1), "failed waiting waiting");
    // A further attempt reuses the hold.
    world.disk.may_retry = true;
    let retried = world.ask(Input::RetryRequested {
        reply: ReplyTo::new(ReplyId(0)),
        flow: id,
        job: None,
        hosts: None,
    });
    assert_eq!(retried, Answer::Retried(answer::Retried { flow: id, tasks: 1 }));
    assert_eq!(world.states(id, 1, 1), "running waiting waiting");
    world.ok("fe1", id);
    assert_eq!(world.states(id, 1, 1), "ok running waiting");
    world.ok("fe2", id);
    world.ok("fe3", id);
    assert_eq!(world.disk.flow(id).unwrap().state, FlowState::Ok);
    assert!(world.disk.holds.is_empty());
}

#[test]
fn an_operator_ends_the_hold_of_a_host_that_is_down() {
    let mut world = two_clusters();
    let failing = world.submit(flow([vec![job("fe1")]]));
    world.end("fe1", failing, &Outcome::Signalled(9));
    assert_eq!(world.disk.flow(failing).unwrap().state, FlowState::Failed);
    let id = world.submit(flow([vec![job("fe[2-3]")]]));
    assert_eq!(world.status(id).unwrap().summary.state, FlowState::Stalled);
    let released = world
        .ask(Input::ReleaseRequested { reply: ReplyTo::new(ReplyId(0)), hosts: hosts("fe[1-6]") });
    assert_eq!(released, Answer::ReleasedHolds(answer::ReleasedHolds { hosts: hosts("fe1") }));
    assert_eq!(world.states(id, 1, 1), "running waiting");
    assert_eq!(world.status(id).unwrap().summary.state, FlowState::Running);
}

#[test]
fn frontends_come_after_backends_and_east_does_not_wait_for_west() {
    let mut world = World::new("fe[1-4],be[1-4]");
    world.deploy(deployment(
        &[("frontend", "fe[1-4]", None), ("backend", "be[1-4]", Some(Quantity::Count(1)))],
        &[("east", "fe[1-2],be[1-2]"), ("west", "fe[3-4],be[3-4]")],
        &["backend", "frontend"],
    ));
    let id = world.submit(flow([vec![job("fe[1-4]"), job("be[1-4]")]]));
    assert_eq!(world.states(id, 1, 1), "waiting waiting waiting waiting");
    assert_eq!(world.tasks(id, 1, 1)[0].reason, Some(WaitReason::Sequence));
    assert_eq!(world.states(id, 1, 2), "running waiting running waiting");
    world.ok("be1", id);
    world.ok("be2", id);
    assert_eq!(world.states(id, 1, 1), "running running waiting waiting");
    world.end("be3", id, &Outcome::Exited(3));
    assert_eq!(world.states(id, 1, 1), "running running skipped waiting");
}

#[test]
fn hosts_in_both_roles_are_refused_at_submission() {
    let mut world = World::new("h[1-3]");
    world.deploy(deployment(
        &[("a", "h[1-2]", None), ("b", "h[2-3]", None)],
        &[("east", "h[1-3]")],
        &["a", "b"],
    ));
    let answer = world.try_submit(flow([vec![job("h[1-3]")]]));
    let Answer::Rejected(Rejection::Conflicts { slot: 1, .. }) = &answer else {
        panic!("{answer:?}");
    };
}

#[test]
fn one_of_goes_where_there_is_room_and_waits_for_whichever_cell_opens_first() {
    let mut world = two_clusters();
    let busy = world.submit(flow([vec![job("fe1")]]));
    let one = world.submit(flow([vec![job("fe[2,5]").one_of()]]));
    assert_eq!(world.running_hosts(one), "fe5", "west has room");
    let next = world.submit(flow([vec![job("fe[3,6]").one_of()]]));
    let behind = world.submit(flow([vec![job("fe[3,6]")]]));
    assert_eq!(world.states(next, 1, 1), "waiting");
    world.restart_and_return();
    assert_eq!(world.states(next, 1, 1), "waiting");
    world.ok("fe5", one);
    assert_eq!(world.running_hosts(next), "fe6");
    // The hold of fe6 is shared; what it left in the queue of east is nobody's any more.
    assert_eq!(world.running_hosts(behind), "fe6");
    world.ok("fe1", busy);
    assert_eq!(world.running_hosts(behind), "fe[3,6]");
    assert_eq!(world.running_hosts(next), "fe6");
}

#[test]
fn room_is_not_kept_for_those_who_wait_no_more() {
    let mut world = World::new("h[1-5]");
    let one = Some(Quantity::Count(1));
    world.deploy(deployment(&[("app", "h[1-5]", one)], &[("all", "h[1-5]")], &[]));
    let busy = world.submit(flow([vec![job("h1")]]));
    let cancelled = world.submit(flow([vec![job("h2")]]));
    let removed = world.submit(flow([vec![job("h3")]]));
    let away = world.submit(flow([vec![job("h4")]]));
    let last = world.submit(flow([vec![job("h5")]]));
    world.cancel(cancelled);
    world.load("h[1-2,4-5]");
    assert_eq!(world.states(removed, 1, 1), "cancelled");
    world.detach("h4");
    world.ok("h1", busy);
    assert_eq!(world.running_hosts(last), "h5");
    world.attach("h4");
    assert_eq!(world.states(away, 1, 1), "waiting");
    world.ok("h5", last);
    assert_eq!(world.states(away, 1, 1), "running");
}

#[test]
fn who_waits_for_a_cell_takes_no_room_in_the_window() {
    let mut world = World::new("h[1-4]");
    let one = Some(Quantity::Count(1));
    world.deploy(deployment(&[("app", "h[1-2]", one)], &[("all", "h[1-2]")], &[]));
    let id = world.submit(flow([vec![job("h[1-4]").parallel(2)]]));
    assert_eq!(world.states(id, 1, 1), "running waiting running waiting");
    world.ok("h3", id);
    assert_eq!(world.states(id, 1, 1), "running waiting ok running");
    world.ok("h1", id);
    assert_eq!(world.states(id, 1, 1), "ok running ok running");
}

#[test]
fn a_window_that_is_full_keeps_no_cell() {
    let mut world = World::new("h[1-4]");
    let two = Some(Quantity::Count(2));
    world.deploy(deployment(&[("app", "h[1-4]", two)], &[("all", "h[1-4]")], &[]));
    let narrow = world.submit(flow([vec![job("h[1-2]").parallel(1)]]));
    let other = world.submit(flow([vec![job("h[3-4]")]]));
    assert_eq!(world.states(narrow, 1, 1), "running waiting");
    assert_eq!(world.states(other, 1, 1), "running waiting");
}

#[test]
fn a_host_in_many_cells_takes_all_of_them_or_none() {
    let mut world = World::new("h[1-4]");
    let one = Some(Quantity::Count(1));
    world.deploy(deployments([
        named_deployment("left", &[("app", "h[1-2]", one)], &[("all", "h[1-4]")], &[]),
        named_deployment("right", &[("app", "h[2-3]", one)], &[("all", "h[1-4]")], &[]),
    ]));
    let sides = world.submit(flow([vec![job("h1"), job("h3")]]));
    let middle = world.submit(flow([vec![job("h2")]]));
    world.ok("h1", sides);
    world.restart_and_return();
    assert_eq!(world.states(middle, 1, 1), "waiting");
    let again = world.submit(flow([vec![job("h1").named("again")]]));
    assert_eq!(world.states(again, 1, 1), "running");
    world.ok("h3", sides);
    assert_eq!(world.states(middle, 1, 1), "waiting");
    world.ok("h1", again);
    assert_eq!(world.states(middle, 1, 1), "running");
}

#[test]
fn whoever_waits_longest_for_a_cell_is_looked_at_first() {
    let mut world = World::new("h[1-5]");
    let one = Some(Quantity::Count(1));
    world.deploy(deployment(&[("app", "h[1-5]", one)], &[("all", "h[1-5]")], &[]));
    let ids: Vec<_> =
        ["h3", "h1", "h5", "h2", "h4"].map(|name| world.submit(flow([vec![job(name)]]))).into();
    for (nth, name) in ["h3", "h1", "h5", "h2", "h4"].into_iter().enumerate() {
        assert_eq!(world.states(ids[nth], 1, 1), "running");
        assert_eq!(world.holders(), name);
        world.ok(name, ids[nth]);
    }
}
