//! The players file changes: promise 5.

use orchestra_flow::{Answer, CloseReason, Rejection, ReplyId, ReplyTo, answer};
use orchestra_model::{FlowState, JobState};

use crate::world::*;

#[test]
fn removal_cancels_what_waits_and_loses_what_was_sent() {
    let mut world = World::new("h[1-4]");
    world.detach("h2");
    // h1 runs, h2 is absent, h3 is beyond the window, h4 stays.
    let spec = job("h[1-4]").parallel(1).success(1).named("a");
    let id = world.submit(flow([vec![spec]]));
    assert_eq!(
        world.load("h4"),
        Answer::Loaded(answer::Loaded { players: 1, added: 0, removed: 3 })
    );
    assert_eq!(world.closed, [CloseReason::Removed, CloseReason::Removed]);
    assert_eq!(world.states(id, 1, 1), "lost cancelled cancelled running");
    let detail = world.tasks(id, 1, 1)[0].detail.clone();
    assert_eq!(detail.as_deref(), Some("player removed"));
    world.ok("h4", id);
    assert_eq!(world.state(id), FlowState::Ok);
}

#[test]
fn removal_ends_a_flow_that_nothing_is_left_of() {
    let mut world = World::new("h[1-3]");
    let id = world.submit(flow([vec![job("h[1-2]")], vec![job("h[2-3]").named("b")]]));
    world.load("h3");
    assert_eq!(world.state(id), FlowState::Failed);
    assert_eq!(world.states(id, 1, 1), "lost lost");
    assert_eq!(world.states(id, 2, 1), "cancelled skipped");
}

#[test]
fn several_removed_at_once_are_all_cancelled_whatever_their_order() {
    // The first cancellation dooms the job; the others are cancelled all the same.
    let mut world = World::absent("h[1-5]");
    world.attach("h5");
    let id = world.submit(flow([vec![job("h[1-4]"), job("h5").named("b")]]));
    world.load("h[4-5]");
    assert_eq!(world.states(id, 1, 1), "cancelled cancelled cancelled skipped");
    assert_eq!(world.job_state(id, 1, 1), JobState::Failed);
    world.ok("h5", id);
    assert_eq!(world.state(id), FlowState::Failed);
}

#[test]
fn a_slot_that_has_not_come_meets_the_removal_when_it_does() {
    let mut world = World::new("h[1-3]");
    let id = world.submit(flow([vec![job("h1")], vec![job("h[2-3]").named("b").success(1)]]));
    world.load("h[1,3]");
    assert_eq!(world.states(id, 2, 1), "cancelled waiting");
    world.ok("h1", id);
    world.ok("h3", id);
    assert_eq!(world.state(id), FlowState::Ok);
}

#[test]
fn a_slot_that_has_not_come_ends_when_it_does_if_nobody_is_left_of_it() {
    let mut world = World::new("h[1-3]");
    let id = world.submit(flow([vec![job("h1")], vec![job("h[2-3]").named("b")]]));
    world.load("h1");
    world.ok("h1", id);
    assert_eq!(world.states(id, 2, 1), "cancelled cancelled");
    assert_eq!(world.state(id), FlowState::Failed);
}

#[test]
fn a_one_of_task_goes_elsewhere_while_there_is_an_elsewhere() {
    let mut world = World::absent("h[1-3]");
    let id = world.submit(flow([vec![job("h[1-2]").one_of()]]));
    world.load("h[2-3]");
    assert_eq!(world.states(id, 1, 1), "waiting");
    world.load("h3");
    assert_eq!(world.states(id, 1, 1), "cancelled");
    assert_eq!(world.state(id), FlowState::Failed);
}

#[test]
fn a_one_of_task_also_waits_for_players_that_are_added_again() {
    let mut world = World::absent("h[1-2]");
    world.load("h2");
    world.load("h[1-2]");
    let id = world.submit(flow([vec![job("h[1-2]").one_of()]]));
    world.load("h2");
    world.load("h[1-2]");
    world.attach("h1");
    assert_eq!(world.running_hosts(id), "h1");
}

#[test]
fn a_one_of_task_is_not_left_to_players_that_refused_it() {
    let mut world = World::new("h[1-3]");
    world.detach("h2");
    let id = world.submit(flow([vec![job("h[1-2]").one_of().score("nonsense")]]));
    assert_eq!(world.states(id, 1, 1), "waiting");
    world.load("h[1,3]");
    assert_eq!(world.state(id), FlowState::Failed);
}

#[test]
fn a_one_of_task_that_was_sent_is_lost_with_its_player() {
    let mut world = World::new("h[1-3]");
    let id = world.submit(flow([vec![job("h[1-2]").one_of().retries(3)]]));
    world.load("h[2-3]");
    assert_eq!(world.states(id, 1, 1), "lost");
    assert_eq!(world.starts.len(), 1);
}

#[test]
fn a_retry_that_waits_for_a_removed_player_ends_as_its_last_attempt() {
    let mut world = World::new("h[1-2]");
    world.player("h1").stopping = false;
    world.player("h1").takes(1);
    world.attach("h1");
    let id = world.submit(flow([vec![job("h1").retries(1)]]));
    let other = world.submit(flow([vec![job("h1")]]));
    world.fail("h1", id);
    assert_eq!(world.running_hosts(other), "h1");
    world.load("h2");
    assert_eq!(world.states(id, 1, 1), "failed");
    assert_eq!(world.states(other, 1, 1), "lost");
}

#[test]
fn a_reload_that_removes_too_many_changes_nothing() {
    let mut world = World::new("h[1-10]");
    let written = world.disk.written;
    let answer = world.load_braked(&hosts("h[1-7],new"), 2);
    let expected = Rejection::TooManyRemoved { removed: 3, players: 10, most: 2 };
    assert_eq!(rejection(answer), expected);
    assert_eq!(world.disk.written, written);
    assert_eq!(world.engine.roster().members(), 10);
    assert_eq!(world.engine.roster().attached(), 10);
    assert_eq!(world.engine.roster().member(&host("new")), None);
    let answer = world.load_braked(&hosts("h[1-8],new"), 2);
    assert_eq!(answer, Answer::Loaded(answer::Loaded { players: 9, added: 1, removed: 2 }));
}

#[test]
fn a_removed_player_is_not_let_in_and_a_new_one_is() {
    let mut world = World::new("h[1-2]");
    let ix = world.engine.roster().member(&host("h1")).unwrap();
    world.load("h2");
    let session = orchestra_flow::SessionId(999);
    let snapshot = Box::new(world.player("h1").dial(session, disk::STORE));
    world.input(orchestra_flow::Input::PlayerAttached { player: ix, session, snapshot });
    assert_eq!(world.closed, [CloseReason::Removed, CloseReason::Removed]);
    assert_eq!(world.engine.roster().session(ix), None);
}

#[test]
fn a_player_that_is_added_again_takes_work_and_ends_stay_ended() {
    let mut world = World::new("h[1-2]");
    world.player("h1").kills_slowly = true;
    let id = world.submit(flow([vec![job("h1")]]));
    world.load("h2");
    assert_eq!(world.states(id, 1, 1), "lost");
    world.load("h[1-2]");
    world.attach("h1");
    // What still runs there takes room, and its end is a note.
    world.ok("h1", id);
    assert_eq!(world.states(id, 1, 1), "lost");
    assert_eq!(world.state(id), FlowState::Failed);
    let next = world.submit(flow([vec![job("h1").named("next")]]));
    world.ok("h1", next);
    assert_eq!(world.state(next), FlowState::Ok);
    let record = world.disk.task(orchestra_model::JobId { flow: next, slot: 1, job: 1 }, 0);
    assert_eq!(record.unwrap().order.0, 2, "numbers go on");
}

#[test]
fn history_is_not_recomputed() {
    let mut world = World::new("h[1-2]");
    let id = world.submit(flow([vec![job("h[1-2]").success(1)]]));
    world.ok("h1", id);
    world.fail("h2", id);
    let before = world.disk.job(orchestra_model::JobId { flow: id, slot: 1, job: 1 }).clone();
    world.load("h1");
    world.restart();
    let after = world.disk.job(orchestra_model::JobId { flow: id, slot: 1, job: 1 });
    assert_eq!(&before, after);
    assert_eq!(world.states(id, 1, 1), "ok failed");
}

#[test]
fn a_removal_survives_a_restart_at_any_point_of_its_batch() {
    for kept in 0.. {
        let mut world = World::new("h[1-3]");
        let id = world.submit(flow([vec![job("h[1-3]").parallel(1).success(1)]]));
        world.immediate = false;
        let reply = ReplyTo::new(ReplyId(0));
        let input =
            orchestra_flow::Input::RosterLoaded { reply, hosts: hosts("h3"), most_removed: 3 };
        world.engine.handle(world.now, input);
        world.pending.extend(world.engine.effects().collect::<Vec<_>>());
        let asked = world.asked_to_write().len();
        world.immediate = true;
        world.crash_keeping(kept);
        world.load("h3");
        assert!(world.states(id, 1, 1).starts_with("lost cancelled "), "{kept} of {asked}");
        world.attach("h3");
        world.ok("h3", id);
        assert_eq!(world.state(id), FlowState::Ok);
        if kept > asked {
            break;
        }
    }
}

use crate::world::disk;
