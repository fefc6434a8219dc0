//! Scope `one`: the least busy attached player whose gates are all open, chosen once; it moves only
//! on the player's own word that it did not start.

use orchestra_model::{FlowId, FlowState, JobId, TaskState, WaitReason, delivery::Outcome};

use crate::world::*;

fn submit(world: &mut World, targets: &str) -> FlowId {
    world.submit(flow([vec![job(targets).one_of()]]))
}

#[test]
fn the_least_busy_is_chosen_and_the_first_of_equals() {
    let mut world = World::new("h[1-3]");
    world.submit(flow([vec![job("h1")]]));
    let id = submit(&mut world, "h[1-3]");
    assert_eq!(world.running_hosts(id), "h2");
    let id = submit(&mut world, "h[1-3]");
    assert_eq!(world.running_hosts(id), "h3");
    let id = submit(&mut world, "h[1-3]");
    assert_eq!(world.running_hosts(id), "h1");
    assert_eq!(world.status(id).unwrap().slots[0][0].counts.total(), 1);
}

#[test]
fn with_nobody_there_it_waits_for_whoever_comes_first() {
    let mut world = World::absent("h[1-3]");
    let id = submit(&mut world, "h[1-3]");
    let task = &world.tasks(id, 1, 1)[0];
    assert_eq!((task.host.clone(), task.reason), (None, Some(WaitReason::NoPlayer)));
    world.attach("h2");
    assert_eq!(world.running_hosts(id), "h2");
    world.attach("h1");
    assert_eq!(world.running_hosts(id), "h2");
    world.ok("h2", id);
    assert_eq!(world.state(id), FlowState::Ok);
    world.attach("h3");
    assert_eq!(world.starts.len(), 1);
}

#[test]
fn with_everybody_busy_it_waits_for_whoever_is_free_first() {
    let mut world = World::new("h[1-2]");
    for name in ["h1", "h2"] {
        world.player(name).takes(1);
        world.attach(name);
    }
    let busy = world.submit(flow([vec![job("h[1-2]")]]));
    let id = submit(&mut world, "h[1-2]");
    world.ok("h2", busy);
    assert_eq!(world.running_hosts(id), "h2");
    world.ok("h1", busy);
    assert_eq!(world.running_hosts(id), "h2");
}

#[test]
fn it_stays_through_disconnects() {
    let mut world = World::new("h[1-2]");
    let id = submit(&mut world, "h[1-2]");
    world.detach("h1");
    world.pass(60);
    assert_eq!(world.running_hosts(id), "h1");
    assert_eq!(world.starts.len(), 1);
    world.ok("h1", id);
    world.attach("h1");
    assert_eq!(world.state(id), FlowState::Ok);
}

#[test]
fn it_stays_though_the_order_never_came() {
    let mut world = World::new("h[1-2]");
    world.immediate = false;
    let submission = world.submission(flow([vec![job("h[1-2]").one_of()]]));
    world.input(submitted(submission));
    world.perform();
    world.detach("h1");
    world.immediate = true;
    world.pass(60);
    assert!(world.starts.is_empty(), "nobody can know whether h1 has it");
    world.attach("h1");
    assert_eq!(world.running_hosts(FlowId(1)), "h1");
}

#[test]
fn it_moves_when_the_player_did_not_start_it() {
    let mut world = World::new("h[1-3]");
    world.player("h1").scores.clear();
    world.player("h2").cannot_spawn = true;
    let id = submit(&mut world, "h[1-3]");
    assert_eq!(world.running_hosts(id), "h3");
    assert_eq!(world.tasks(id, 1, 1)[0].attempt, 3);
    world.ok("h3", id);
    assert_eq!(world.state(id), FlowState::Ok);
}

#[test]
fn it_moves_away_from_a_busy_player_and_may_come_back() {
    let mut world = World::new("h[1-2]");
    world.player("h1").stopping = true;
    world.player("h2").stopping = true;
    let id = submit(&mut world, "h[1-2]");
    assert_eq!(world.tasks(id, 1, 1)[0].attempt, 2);
    assert_eq!(world.states(id, 1, 1), "waiting");
    world.player("h1").stopping = false;
    world.pass(1);
    assert_eq!(world.running_hosts(id), "h1");
}

#[test]
fn refused_by_all_is_refused() {
    let mut world = World::new("h[1-3]");
    let id = world.submit(flow([vec![job("h[1-3]").one_of().score("nonsense")]]));
    assert_eq!(world.state(id), FlowState::Failed);
    assert_eq!(world.states(id, 1, 1), "refused");
    let record = world.disk.task(JobId { flow: id, slot: 1, job: 1 }, 0).unwrap();
    assert_eq!((record.attempt, record.host.as_str()), (3, "h3"));
}

#[test]
fn those_that_refused_are_not_asked_again() {
    let mut world = World::new("h[1-2]");
    world.detach("h2");
    let id = world.submit(flow([vec![job("h[1-2]").one_of().score("nonsense")]]));
    // h1 refused; h2 is waited for.
    assert_eq!(world.states(id, 1, 1), "waiting");
    world.detach("h1");
    world.attach("h1");
    world.pass(100);
    assert_eq!(world.tasks(id, 1, 1)[0].attempt, 1);
    world.attach("h2");
    assert_eq!(world.states(id, 1, 1), "refused");
}

#[test]
fn a_failure_after_the_start_ends_the_job() {
    for outcome in [Outcome::Exited(1), Outcome::TimedOut, Outcome::Lost("?".to_owned())] {
        let mut world = World::new("h[1-2]");
        let id = submit(&mut world, "h[1-2]");
        world.end("h1", id, &outcome);
        assert_eq!(world.state(id), FlowState::Failed);
        assert_eq!(world.starts.len(), 1);
    }
}

#[test]
fn a_wiped_spool_does_not_move_it() {
    let mut world = World::new("h[1-2]");
    let id = submit(&mut world, "h[1-2]");
    world.detach("h1");
    world.player("h1").wipe();
    world.attach("h1");
    assert_eq!(world.states(id, 1, 1), "lost");
    assert_eq!(world.state(id), FlowState::Failed);
}

#[test]
fn retries_stay_on_it() {
    let mut world = World::new("h[1-2]");
    world.player("h1").takes(1);
    world.attach("h1");
    let id = world.submit(flow([vec![job("h[1-2]").one_of().retries(2)]]));
    let other = world.submit(flow([vec![job("h1")]]));
    world.fail("h1", id);
    assert_eq!(world.running_hosts(other), "h1");
    assert_eq!(world.states(id, 1, 1), "waiting", "h2 is free, but it is not h2's");
    world.restart_and_return();
    assert_eq!(world.states(id, 1, 1), "waiting");
    world.ok("h1", other);
    assert_eq!(world.running_hosts(id), "h1");
    // Also when its player refuses the retry for good.
    world.player("h1").scores.clear();
    world.fail("h1", id);
    assert_eq!(world.states(id, 1, 1), "refused");
    assert_eq!(world.state(id), FlowState::Failed);
}

#[test]
fn a_retry_waits_out_a_busy_player() {
    let mut world = World::new("h[1-2]");
    let id = world.submit(flow([vec![job("h[1-2]").one_of().retries(1)]]));
    world.player("h1").stopping = true;
    world.fail("h1", id);
    world.restart_and_return();
    assert_eq!(world.states(id, 1, 1), "waiting");
    world.player("h1").stopping = false;
    world.pass(1);
    assert_eq!(world.running_hosts(id), "h1");
}

#[test]
fn a_restart_after_a_refusal_is_free_to_choose_again() {
    let mut world = World::new("h[1-2]");
    world.detach("h2");
    world.player("h1").scores.clear();
    let id = submit(&mut world, "h[1-2]");
    assert_eq!(world.states(id, 1, 1), "waiting");
    world.restart();
    assert_eq!(world.tasks(id, 1, 1)[0].host, None);
    world.attach("h2");
    assert_eq!(world.running_hosts(id), "h2");
}

#[test]
fn it_is_given_up_when_nobody_was_there_for_so_long() {
    let mut world = World::new("h[1-2]");
    world.detach("h1");
    world.player("h2").takes(1);
    world.attach("h2");
    world.submit(flow([vec![job("h2")]]));
    let id = world.submit(flow([vec![job("h[1-2]").one_of().give_up_after(60)]]));
    world.pass(500);
    assert_eq!(world.states(id, 1, 1), "waiting", "h2 is there, if busy");
    world.detach("h2");
    world.pass(59);
    assert_eq!(world.states(id, 1, 1), "waiting");
    world.pass(61);
    assert_eq!(world.states(id, 1, 1), "unreachable");
    assert_eq!(world.state(id), FlowState::Failed);
    assert_eq!(world.engine.tasks(JobId { flow: id, slot: 1, job: 1 }, 0, 1), None);
}

#[test]
fn it_is_given_up_also_after_a_refusal() {
    let mut world = World::new("h[1-2]");
    world.detach("h2");
    let spec = job("h[1-2]").one_of().score("nonsense").give_up_after(60);
    let id = world.submit(flow([vec![spec]]));
    assert_eq!(world.states(id, 1, 1), "waiting");
    world.pass(60);
    assert_eq!(world.states(id, 1, 1), "unreachable", "only h2 is left, and it is away");
}

#[test]
fn cancelled_while_it_waits_everywhere() {
    let mut world = World::absent("h[1-3]");
    let id = submit(&mut world, "h[1-3]");
    world.cancel(id);
    assert_eq!(world.states(id, 1, 1), "cancelled");
    for name in ["h1", "h2", "h3"] {
        world.attach(name);
    }
    assert!(world.starts.is_empty());
}

#[test]
fn an_exclusive_one_that_found_its_player_holds_no_other_back() {
    let mut world = World::new("h[1-3]");
    let busy = world.submit(flow([vec![job("h[1-3]").score("other")]]));
    let id = world.submit(flow([vec![job("h[1-3]").one_of().score("alone")]]));
    world.ok("h2", busy);
    assert_eq!(world.running_hosts(id), "h2");
    let after = world.submit(flow([vec![job("h[1,3]")]]));
    assert_eq!(world.running_hosts(after), "h[1,3]");
}

#[test]
fn the_choice_is_on_disk_before_the_order_leaves() {
    let mut world = World::new("h[1-2]");
    world.immediate = false;
    let submission = world.submission(flow([vec![job("h[1-2]").one_of()]]));
    world.input(submitted(submission));
    let asked = world.asked_to_write().len();
    world.immediate = true;
    world.crash_keeping(asked);
    let task = &world.tasks(FlowId(1), 1, 1)[0];
    assert_eq!((task.state, task.host.clone()), (TaskState::Sent, Some(host("h1"))));
    world.attach("h2");
    assert!(world.starts.is_empty());
    world.attach("h1");
    assert_eq!(world.running_hosts(FlowId(1)), "h1");
}

#[test]
fn one_that_ended_without_a_choice_has_none_after_a_restart() {
    let mut world = World::absent("h[1-3]");
    world.deploy(deployment(
        &[("store", "h2", None), ("front", "h3", None)],
        &[("east", "h[1-3]")],
        &["store", "front"],
    ));
    let choice = job("h[1-2]").one_of().give_up_after(60);
    let id = world.submit(flow([vec![choice, job("h3").named("front").quorum(1)]]));
    world.player("h1").scores.clear();
    world.attach("h1");
    world.detach("h1");
    world.pass(60);
    assert_eq!(world.states(id, 1, 1), "unreachable");
    world.restart();
    world.attach("h3");
    assert_eq!(world.states(id, 1, 2), "skipped", "h2, which might have run it, comes first");
}
