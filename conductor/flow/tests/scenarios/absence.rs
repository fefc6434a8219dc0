//! Players that are not there: waiting, giving up, losing, coming back.

use orchestra_model::{FlowState, JobState, WaitReason, delivery::Outcome};

use crate::world::*;

#[test]
fn a_player_that_returns_gets_the_work_that_waited() {
    let mut world = World::absent("h1");
    let id = world.submit(flow([vec![job("h1")]]));
    assert_eq!(world.tasks(id, 1, 1)[0].reason, Some(WaitReason::PlayerAbsent));
    world.pass(1_000_000);
    world.attach("h1");
    world.ok("h1", id);
    assert_eq!(world.state(id), FlowState::Ok);
}

#[test]
fn waiting_is_given_up_after_a_while() {
    let mut world = World::new("h[1-2]");
    world.detach("h2");
    let id = world.submit(flow([vec![job("h[1-2]").give_up_after(60)]]));
    world.ok("h1", id);
    world.pass(59);
    assert_eq!(world.states(id, 1, 1), "ok waiting");
    world.pass(1);
    assert_eq!(world.states(id, 1, 1), "ok unreachable");
    // It denies success, but is no failure.
    assert_eq!(world.job_state(id, 1, 1), JobState::Partial);
    assert_eq!(world.state(id), FlowState::Failed);
}

#[test]
fn patience_counts_from_when_the_player_went_or_the_job_began() {
    let mut world = World::new("h[1-2]");
    world.detach("h1");
    world.player("h2").takes(1);
    world.attach("h2");
    world.pass(1_000);
    let busy = world.submit(flow([vec![job("h2")]]));
    let spec = job("h[1-2]").give_up_after(60).success(0).wait_for_stragglers();
    let id = world.submit(flow([vec![spec]]));
    world.pass(30);
    world.detach("h2");
    world.pass(30);
    assert_eq!(world.states(id, 1, 1), "unreachable waiting");
    world.pass(30);
    assert_eq!(world.states(id, 1, 1), "unreachable unreachable");
    assert_eq!(world.state(busy), FlowState::Running);
}

#[test]
fn a_player_that_comes_and_goes_starts_patience_anew_and_leaves_no_deadlines() {
    let mut world = World::new("h1");
    world.player("h1").takes(1);
    world.attach("h1");
    let busy = world.submit(flow([vec![job("h1").lost_after(10_000)]]));
    let id = world.submit(flow([vec![job("h1").give_up_after(100)]]));
    for _ in 0..20 {
        world.detach("h1");
        world.pass(90);
        world.attach("h1");
    }
    assert_eq!(world.states(id, 1, 1), "waiting");
    assert_eq!(world.engine.next_deadline(), None);
    world.detach("h1");
    world.pass(100);
    assert_eq!(world.state(id), FlowState::Failed);
    assert_eq!(world.states(busy, 1, 1), "running");
}

#[test]
fn stragglers_are_given_up_once_success_is_met() {
    let mut world = World::new("h[1-3]");
    world.detach("h3");
    let id = world.submit(flow([vec![job("h[1-3]").success(2)], vec![job("h1").named("next")]]));
    world.ok("h1", id);
    assert_eq!(world.states(id, 1, 1), "ok running waiting");
    world.ok("h2", id);
    // The absent player of the first slot does not hold the next.
    assert_eq!(world.states(id, 1, 1), "ok ok unreachable");
    assert_eq!(world.job_state(id, 1, 1), JobState::Ok);
    assert_eq!(world.running_hosts(id), "h1");
    world.attach("h3");
    assert_eq!(world.running_hosts(id), "h1", "what was given up stays given up");
    world.ok("h1", id);
    assert_eq!(world.state(id), FlowState::Ok);
}

#[test]
fn stragglers_are_waited_for_where_that_is_asked() {
    let mut world = World::new("h[1-3]");
    world.detach("h3");
    let id = world.submit(flow([vec![job("h[1-3]").success(2).wait_for_stragglers()]]));
    world.ok("h1", id);
    world.ok("h2", id);
    assert_eq!(world.state(id), FlowState::Running);
    world.attach("h3");
    world.fail("h3", id);
    assert_eq!(world.state(id), FlowState::Ok);
}

#[test]
fn who_is_there_and_busy_is_no_straggler() {
    let mut world = World::new("h[1-2]");
    world.player("h2").takes(1);
    world.attach("h2");
    let busy = world.submit(flow([vec![job("h2")]]));
    let id = world.submit(flow([vec![job("h[1-2]").success(1)]]));
    world.ok("h1", id);
    assert_eq!(world.states(id, 1, 1), "ok waiting");
    // Neither is one whose connection is replaced by a newer one.
    world.dial("h2");
    world.flow_through();
    assert_eq!(world.states(id, 1, 1), "ok waiting");
    world.ok("h2", busy);
    world.ok("h2", id);
    assert_eq!(world.states(id, 1, 1), "ok ok");
}

#[test]
fn a_straggler_that_goes_last_ends_the_job() {
    let mut world = World::new("h[1-2]");
    world.player("h2").takes(1);
    world.attach("h2");
    world.submit(flow([vec![job("h2")]]));
    let id = world.submit(flow([vec![job("h[1-2]").success(1)]]));
    world.ok("h1", id);
    world.detach("h2");
    assert_eq!(world.state(id), FlowState::Ok);
}

#[test]
fn an_attempt_survives_its_players_absence() {
    let mut world = World::new("h1");
    let id = world.submit(flow([vec![job("h1")]]));
    world.detach("h1");
    world.pass(60);
    world.ok("h1", id);
    assert_eq!(world.states(id, 1, 1), "running");
    world.attach("h1");
    assert_eq!(world.state(id), FlowState::Ok);
}

#[test]
fn an_attempt_is_lost_when_its_player_stays_away() {
    let mut world = World::new("h1");
    let id = world.submit(flow([vec![job("h1").lost_after(60).retries(3)]]));
    world.pass(1_000_000);
    assert_eq!(world.states(id, 1, 1), "running", "there is no deadline while it is there");
    world.detach("h1");
    world.pass(59);
    assert_eq!(world.states(id, 1, 1), "running");
    world.pass(1);
    assert_eq!(world.states(id, 1, 1), "lost");
    assert_eq!(world.state(id), FlowState::Failed);
}

#[test]
fn without_lost_after_the_timeout_says_how_long() {
    let mut world = World::new("h1");
    let id = world.submit(flow([vec![job("h1")]]));
    world.detach("h1");
    // Ten minutes of timeout, ten seconds of grace, ten minutes to come back.
    world.pass(20 * 60 + 9);
    assert_eq!(world.states(id, 1, 1), "running");
    world.pass(1);
    assert_eq!(world.states(id, 1, 1), "lost");
}

#[test]
fn what_runs_though_it_was_lost_takes_room_and_ends_as_a_note() {
    let mut world = World::new("h1");
    world.player("h1").takes(1);
    world.attach("h1");
    let id = world
        .submit(flow([vec![job("h1").lost_after(1).success(0).named("a"), job("h1").named("b")]]));
    world.detach("h1");
    world.pass(10);
    assert_eq!(world.states(id, 1, 1), "lost");
    world.attach("h1");
    let next = &world.tasks(id, 1, 2)[0];
    assert_eq!((next.reason, next.attempt), (Some(WaitReason::PlayerBusy), 0), "it is not asked");
    let stranger = world.player("h1").running()[0];
    world.end_attempt("h1", stranger, &Outcome::Exited(0));
    assert!(world.disk.end(stranger.job, "h1", 1).unwrap().late);
    assert_eq!(world.states(id, 1, 1), "lost");
    assert_eq!(world.running("h1", id).len(), 1, "its room is free again");
    let next = world.running("h1", id)[0];
    assert_eq!(next.job.job, 2);
    assert_eq!(world.player("h1").settled().len(), 0);
}
