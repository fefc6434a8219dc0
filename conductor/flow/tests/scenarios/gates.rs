//! Gates of a player: credit, score concurrency, exclusiveness, busy and stopping.

use orchestra_model::{FlowState, WaitReason, delivery::Outcome};

use crate::world::{player::offer, *};

fn submit(world: &mut World, score: &str) -> orchestra_model::FlowId {
    world.submit(flow([vec![job("h1").score(score)]]))
}

#[test]
fn no_more_than_the_player_takes() {
    let mut world = World::new("h1");
    let ids: Vec<_> = (0..6).map(|_| submit(&mut world, "work")).collect();
    assert_eq!(world.player("h1").running().len(), 4);
    assert_eq!(world.tasks(ids[4], 1, 1)[0].reason, Some(WaitReason::PlayerBusy));
    world.ok("h1", ids[0]);
    assert_eq!(world.states(ids[4], 1, 1), "running", "the oldest first");
    assert_eq!(world.states(ids[5], 1, 1), "waiting");
}

#[test]
fn a_player_that_comes_back_smaller_gets_nothing_new_until_it_has_room() {
    let mut world = World::new("h1");
    let ids: Vec<_> = (0..5).map(|_| submit(&mut world, "work")).collect();
    world.detach("h1");
    world.player("h1").takes(1);
    world.attach("h1");
    for id in &ids[..3] {
        world.ok("h1", *id);
        assert_eq!(world.states(ids[4], 1, 1), "waiting");
    }
    world.ok("h1", ids[3]);
    assert_eq!(world.states(ids[4], 1, 1), "running");
}

#[test]
fn a_scores_concurrency_holds_only_that_score() {
    let mut world = World::new("h1");
    let first = submit(&mut world, "single");
    let second = submit(&mut world, "single");
    let other = submit(&mut world, "work");
    assert_eq!(world.tasks(second, 1, 1)[0].reason, Some(WaitReason::ScoreBusy));
    assert_eq!(world.states(other, 1, 1), "running");
    world.ok("h1", first);
    assert_eq!(world.states(second, 1, 1), "running");
}

#[test]
fn an_exclusive_score_is_alone_and_does_not_starve() {
    let mut world = World::new("h1");
    let before = submit(&mut world, "work");
    let alone = submit(&mut world, "alone");
    assert_eq!(world.tasks(alone, 1, 1)[0].reason, Some(WaitReason::Exclusive));
    // Newcomers queue behind it, though there is room.
    let after = submit(&mut world, "work");
    assert_eq!(world.tasks(after, 1, 1)[0].reason, Some(WaitReason::Exclusive));
    world.ok("h1", before);
    assert_eq!(world.states(alone, 1, 1), "running");
    assert_eq!(world.player("h1").running().len(), 1);
    world.ok("h1", alone);
    assert_eq!(world.states(after, 1, 1), "running");
}

#[test]
fn an_exclusive_task_that_goes_away_lets_others_pass() {
    let mut world = World::new("h[1-2]");
    let before = submit(&mut world, "work");
    let alone =
        world.submit(flow([vec![job("h1").score("alone").named("a"), job("h2").named("b")]]));
    let after = submit(&mut world, "work");
    assert_eq!(world.states(after, 1, 1), "waiting");
    world.cancel(alone);
    assert_eq!(world.states(after, 1, 1), "running");
    assert_eq!(world.states(before, 1, 1), "running");
}

#[test]
fn busy_is_asked_again_when_something_ended_or_after_a_pause() {
    let mut world = World::new("h1");
    // The player offers less than it said.
    world.player("h1").scores[0] = offer("work", Some(1), false);
    let first = submit(&mut world, "work");
    let second = submit(&mut world, "work");
    assert_eq!(world.states(second, 1, 1), "waiting");
    assert_eq!(world.tasks(second, 1, 1)[0].attempt, 1);
    world.pass(1);
    assert_eq!(world.tasks(second, 1, 1)[0].attempt, 2, "asked again after a second");
    world.ok("h1", first);
    assert_eq!(world.states(second, 1, 1), "running");
    assert_eq!(world.tasks(second, 1, 1)[0].attempt, 3);
    world.ok("h1", second);
    assert_eq!(world.state(second), FlowState::Ok);
}

#[test]
fn stopping_is_not_final() {
    let mut world = World::new("h1");
    world.player("h1").stopping = true;
    let id = submit(&mut world, "work");
    assert_eq!(world.states(id, 1, 1), "waiting");
    assert!(world.starts.is_empty());
    world.detach("h1");
    world.player("h1").stopping = false;
    world.attach("h1");
    world.ok("h1", id);
    assert_eq!(world.state(id), FlowState::Ok);
}

#[test]
fn a_busy_answer_does_not_count_as_a_retry() {
    let mut world = World::new("h1");
    let id = submit(&mut world, "work");
    world.player("h1").stopping = true;
    let second = world.submit(flow([vec![job("h1").retries(1)]]));
    world.player("h1").stopping = false;
    world.pass(1);
    world.fail("h1", second);
    world.fail("h1", second);
    assert_eq!(world.states(second, 1, 1), "failed");
    assert_eq!(
        world
            .disk
            .task(orchestra_model::JobId { flow: second, slot: 1, job: 1 }, 0)
            .unwrap()
            .retries,
        1
    );
    world.end("h1", id, &Outcome::Exited(0));
}

#[test]
fn what_cannot_be_spawned_is_refused() {
    let mut world = World::new("h1");
    world.player("h1").cannot_spawn = true;
    let id = world.submit(flow([vec![job("h1").retries(3)]]));
    assert_eq!(world.states(id, 1, 1), "refused");
    assert!(world.player("h1").settled().is_empty());
}

#[test]
fn only_those_that_came_after_it_wait_behind_an_exclusive_one() {
    let mut world = World::new("h[1-2]");
    let one = Some(orchestra_model::Quantity::Count(1));
    world.deploy(deployment(&[("app", "h[1-2]", one)], &[("all", "h[1-2]")], &[]));
    let busy = world.submit(flow([vec![job("h2")]]));
    submit(&mut world, "look");
    let older = submit(&mut world, "work");
    let alone = submit(&mut world, "alone");
    let younger = submit(&mut world, "other");
    assert_eq!(world.tasks(older, 1, 1)[0].reason, Some(WaitReason::Cell));
    assert_eq!(world.tasks(alone, 1, 1)[0].reason, Some(WaitReason::Exclusive));
    world.ok("h2", busy);
    assert_eq!(world.states(older, 1, 1), "running", "it was there first, and has room now");
    assert_eq!(world.states(younger, 1, 1), "waiting");
}

#[test]
fn an_exclusive_one_behind_a_cell_holds_nobody_back() {
    let mut world = World::new("h[1-2]");
    let one = Some(orchestra_model::Quantity::Count(1));
    world.deploy(deployment(&[("app", "h[1-2]", one)], &[("all", "h[1-2]")], &[]));
    let busy = world.submit(flow([vec![job("h2")]]));
    let alone = submit(&mut world, "alone");
    assert_eq!(world.tasks(alone, 1, 1)[0].reason, Some(WaitReason::Cell));
    let look = submit(&mut world, "look");
    assert_eq!(world.states(look, 1, 1), "running");
    world.ok("h2", busy);
    assert_eq!(world.states(alone, 1, 1), "waiting");
    world.ok("h1", look);
    assert_eq!(world.states(alone, 1, 1), "running");
}
