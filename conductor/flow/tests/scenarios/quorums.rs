//! Quorum: so many of a job's players have to be attached before anything starts.

use orchestra_model::{FlowState, JobState, WaitReason};

use crate::world::*;

#[test]
fn nothing_starts_below_it() {
    let mut world = World::absent("h[1-4]");
    let id = world.submit(flow([vec![job("h[1-4]").quorum(3)]]));
    world.attach("h1");
    world.attach("h3");
    assert_eq!(world.starts.len(), 0);
    assert_eq!(world.tasks(id, 1, 1)[0].reason, Some(WaitReason::Quorum));
    assert_eq!(world.state(id), FlowState::Running, "players help, so it is not stalled");
    world.attach("h2");
    assert_eq!(world.states(id, 1, 1), "running running running waiting");
}

#[test]
fn who_goes_again_counts_no_more_and_who_comes_twice_counts_once() {
    let mut world = World::absent("h[1-3]");
    let id = world.submit(flow([vec![job("h[1-3]").quorum(2)]]));
    world.attach("h1");
    world.detach("h1");
    world.attach("h2");
    world.attach("h2");
    assert_eq!(world.starts.len(), 0);
    world.restart_and_return();
    assert_eq!(world.starts.len(), 0);
    world.attach("h1");
    assert_eq!(world.running_hosts(id), "h[1-2]");
}

#[test]
fn once_met_it_is_met_for_good() {
    let mut world = World::new("h[1-3]");
    let id = world.submit(flow([vec![job("h[1-3]").quorum(3).parallel(1)]]));
    world.detach("h2");
    world.detach("h3");
    world.ok("h1", id);
    world.attach("h2");
    assert_eq!(world.states(id, 1, 1), "ok running waiting");
    world.restart();
    world.attach("h2");
    world.ok("h2", id);
    world.attach("h3");
    assert_eq!(world.states(id, 1, 1), "ok ok running");
}

#[test]
fn others_do_not_count() {
    let mut world = World::absent("h[1-4]");
    world.submit(flow([vec![job("h[1-2]").quorum(2)]]));
    for name in ["h1", "h3", "h4"] {
        world.attach(name);
    }
    assert_eq!(world.starts.len(), 0);
    world.attach("h2");
    assert_eq!(world.starts.len(), 2);
}

#[test]
fn it_counts_the_hosts_of_a_one_of_job() {
    let mut world = World::absent("h[1-3]");
    let id = world.submit(flow([vec![job("h[1-3]").one_of().quorum(2)]]));
    world.attach("h1");
    assert_eq!(world.starts.len(), 0);
    world.attach("h2");
    assert_eq!(world.states(id, 1, 1), "running");
}

#[test]
fn a_later_slot_counts_when_it_begins() {
    let mut world = World::new("h[1-3]");
    let id = world.submit(flow([vec![job("h1")], vec![job("h[1-3]").named("then").quorum(3)]]));
    world.detach("h3");
    world.ok("h1", id);
    assert_eq!(world.states(id, 2, 1), "waiting waiting waiting");
    world.attach("h3");
    assert_eq!(world.states(id, 2, 1), "running running running");
}

#[test]
fn players_that_are_removed_are_not_waited_for() {
    let mut world = World::absent("h[1-3]");
    let id = world.submit(flow([vec![job("h[1-3]").quorum(3).success(1)]]));
    world.attach("h1");
    world.attach("h2");
    world.load("h[1-2]");
    assert_eq!(world.states(id, 1, 1), "running running cancelled");
    world.ok("h1", id);
    world.ok("h2", id);
    assert_eq!(world.state(id), FlowState::Ok);
}

#[test]
fn a_record_of_what_never_ran_is_no_proof_that_enough_were_there() {
    let mut world = World::absent("h[1-4]");
    let id = world.submit(flow([vec![job("h[1-4]").quorum(3).success(1)]]));
    world.attach("h1");
    world.load("h[1-3]");
    assert_eq!(world.states(id, 1, 1), "waiting waiting waiting cancelled");
    world.restart_and_return();
    assert_eq!(world.starts.len(), 0);
    world.attach("h2");
    assert_eq!(world.starts.len(), 0);
    world.attach("h3");
    assert_eq!(world.starts.len(), 3);
}

#[test]
fn it_may_be_cancelled_and_paused_while_it_waits() {
    let mut world = World::absent("h[1-2]");
    let id = world.submit(flow([vec![job("h[1-2]").quorum(2)]]));
    world.pause(id);
    world.attach("h1");
    world.attach("h2");
    assert_eq!(world.starts.len(), 0);
    world.resume(id);
    assert_eq!(world.starts.len(), 2);
    let mut world = World::absent("h[1-2]");
    let id = world.submit(flow([vec![job("h[1-2]").quorum(2)]]));
    world.cancel(id);
    assert_eq!(world.state(id), FlowState::Cancelled);
    assert_eq!(world.job_state(id, 1, 1), JobState::Cancelled);
    world.attach("h1");
    world.attach("h2");
    assert_eq!(world.starts.len(), 0);
}
