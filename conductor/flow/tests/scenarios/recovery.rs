//! A restart goes on where the store stands, and gives players time to come back.

use orchestra_model::{FlowState, JobId, TaskState, delivery::Outcome, status::TaskStatus};

use crate::{straggler, world::*};

/// What of a task must be the same after a restart. That it runs is learnt from its player.
fn essence(task: &TaskStatus) -> (TaskState, u32, Option<i32>) {
    let state = match task.state {
        TaskState::Running => TaskState::Sent,
        state => state,
    };
    (state, task.attempt, task.exit)
}

#[test]
fn a_restart_equals_going_on() {
    let run = |restarts: bool| {
        let mut world = World::new("h[1-4]");
        world.detach("h4");
        let step = |world: &mut World| {
            if restarts {
                world.restart_and_return();
            }
        };
        let spec = job("h[1-4]").parallel(2).retries(1).success(2).give_up_after(1_000);
        let id = world.submit(flow([vec![spec, job("h1").named("b")], vec![job("h2").named("c")]]));
        step(&mut world);
        world.fail("h2", id);
        step(&mut world);
        world.ok("h2", id);
        step(&mut world);
        let b = JobId { flow: id, slot: 1, job: 2 };
        let b = world.running("h1", id).into_iter().find(|key| key.job == b).unwrap();
        world.end_attempt("h1", b, &Outcome::Exited(0));
        step(&mut world);
        world.fail("h3", id);
        step(&mut world);
        let seen: Vec<_> =
            (1..=2).flat_map(|job| world.tasks(id, 1, job)).map(|task| essence(&task)).collect();
        let a = JobId { flow: id, slot: 1, job: 1 };
        let first = world.running("h1", id).into_iter().find(|key| key.job == a).unwrap();
        world.end_attempt("h1", first, &Outcome::Exited(0));
        world.attach("h4");
        world.fail("h3", id);
        step(&mut world);
        world.ok("h4", id);
        step(&mut world);
        world.ok("h2", id);
        assert_eq!(world.state(id), FlowState::Ok);
        let orders: Vec<_> = (0..4).map(|index| world.disk.task(a, index).unwrap().order).collect();
        (seen, orders, world.starts.keys().cloned().collect::<Vec<_>>())
    };
    assert_eq!(run(false), run(true));
}

#[test]
fn a_submission_survives_a_crash_at_any_point_of_its_batch() {
    for kept in 0.. {
        let mut world = World::new("h[1-2]");
        world.immediate = false;
        let spec = flow([vec![job("h1"), job("h2")], vec![job("h1").named("z")]]);
        let submission = world.submission(spec);
        let again = submission.clone();
        world.engine.handle(world.now, submitted(submission));
        world.pending.extend(world.engine.effects().collect::<Vec<_>>());
        let asked = world.asked_to_write().len();
        world.immediate = true;
        world.crash_keeping(kept);
        for name in ["h1", "h2"] {
            world.attach(name);
        }
        let stored = world.engine.alive_count();
        world.input(submitted(again));
        world.work();
        assert_eq!(world.engine.alive_count(), 1, "whole or not at all, and then once");
        let id = world.engine.alive().next().unwrap();
        for name in ["h1", "h2", "h1"] {
            world.ok(name, id);
        }
        assert_eq!(world.state(id), FlowState::Ok);
        assert_eq!(world.starts.len(), 3);
        if kept > asked {
            assert_eq!(stored, 1);
            break;
        }
    }
}

#[test]
fn an_end_survives_a_crash_at_any_point_of_its_batch() {
    for slots in [1, 2] {
        for outcome in [Outcome::Exited(0), Outcome::Exited(1)] {
            for kept in 0.. {
                let mut world = World::new("h[1-2]");
                let spec = vec![job("h[1-2]").parallel(1), job("h2").named("b").success(0)];
                let later = vec![job("h1").named("z")];
                let id = world.submit(flow([spec, later].into_iter().take(slots)));
                let b = world.running("h2", id)[0];
                world.end_attempt("h2", b, &Outcome::Exited(1));
                world.ok("h1", id);
                world.immediate = false;
                let key = world.running("h2", id)[0];
                world.player("h2").end(key, &outcome.clone());
                world.drain("h2");
                let up = world.player("h2").sent().unwrap();
                world.report("h2", up);
                let asked = world.asked_to_write().len();
                world.immediate = true;
                world.forget_finals();
                world.crash_keeping(kept);
                for name in ["h1", "h2"] {
                    world.attach(name);
                }
                if slots == 2 && outcome == Outcome::Exited(0) {
                    world.ok("h1", id);
                }
                let expected = match outcome {
                    Outcome::Exited(0) => FlowState::Ok,
                    _ => FlowState::Failed,
                };
                assert_eq!(world.state(id), expected, "{kept} of {asked}");
                assert!(world.player("h2").settled().is_empty());
                assert!(!world.disk.has_params(JobId { flow: id, slot: 1, job: 1 }));
                if kept > asked {
                    break;
                }
            }
        }
    }
}

#[test]
fn parameters_are_erased_at_the_end() {
    let mut world = World::new("h[1-2]");
    let id = world.submit(flow([vec![job("h1")], vec![job("h2")]]));
    let first = JobId { flow: id, slot: 1, job: 1 };
    world.ok("h1", id);
    assert!(world.disk.has_params(first));
    assert!(world.engine.job_part(first).is_some());
    world.ok("h2", id);
    assert!(!world.disk.has_params(first));
    assert_eq!(world.engine.job_part(first), None);
}

#[test]
fn who_has_not_come_back_yet_is_no_straggler() {
    let (mut world, busy, id) = straggler();
    world.restart();
    world.pass(40);
    assert_eq!(world.states(id, 1, 1), "ok waiting");
    world.attach("h2");
    world.pass(100);
    assert_eq!(world.states(id, 1, 1), "ok waiting");
    world.ok("h2", busy);
    world.ok("h2", id);
    assert_eq!(world.states(id, 1, 1), "ok ok");
}

#[test]
fn who_does_not_come_back_is_a_straggler_after_a_while() {
    let (mut world, _, id) = straggler();
    world.restart();
    world.pass(45);
    assert_eq!(world.state(id), FlowState::Ok);
}

#[test]
fn what_ran_while_no_conductor_did_is_not_lost() {
    let mut world = World::new("h1");
    let id = world.submit(flow([vec![job("h1").lost_after(60)]]));
    // The conductor stops in order, and is away for long.
    world.detach("h1");
    world.now = world.now.after(orchestra_model::Millis::minutes(600));
    world.restart();
    world.pass(40);
    assert_eq!(world.states(id, 1, 1), "sent");
    world.ok("h1", id);
    world.attach("h1");
    assert_eq!(world.state(id), FlowState::Ok);
}

#[test]
fn deadlines_go_on_through_restarts() {
    let mut world = World::new("h[1-2]");
    world.detach("h2");
    let spec = job("h[1-2]").give_up_after(1_000).success(0).wait_for_stragglers();
    let id = world.submit(flow([vec![spec]]));
    world.pass(500);
    world.restart_and_return();
    world.pass(400);
    world.restart_and_return();
    world.pass(99);
    assert_eq!(world.states(id, 1, 1), "running waiting");
    world.pass(1);
    assert_eq!(world.states(id, 1, 1), "running unreachable");
}

#[test]
fn absence_that_began_with_a_crash_is_remembered() {
    let mut world = World::new("h1");
    let id = world.submit(flow([vec![job("h1").lost_after(1_000)]]));
    world.restart();
    world.pass(600);
    world.restart();
    world.pass(399);
    assert_eq!(world.states(id, 1, 1), "sent");
    world.pass(1);
    assert_eq!(world.states(id, 1, 1), "lost");
}

#[test]
fn a_score_whose_timeout_nobody_told_is_not_lost_early() {
    let mut world = World::new("h1");
    let mut offer = player::offer("work", None, false);
    if let Ok(spec) = &mut offer.spec {
        spec.timeout = orchestra_model::Millis::minutes(6 * 60);
    }
    world.player("h1").scores[0] = offer;
    world.attach("h1");
    let id = world.submit(flow([vec![job("h1")]]));
    world.restart();
    world.pass(5 * 3_600);
    assert_eq!(world.states(id, 1, 1), "sent");
    world.pass(20 * 3_600);
    assert_eq!(world.states(id, 1, 1), "lost");
}

#[test]
fn a_task_that_waits_again_after_a_restart_is_found_once() {
    let mut world = World::new("h[1-3]");
    world.player("h3").takes(1);
    world.attach("h3");
    let id = world.submit(flow([vec![job("h[1-3]").parallel(2).retries(1).success(0)]]));
    world.ok("h1", id);
    let other = world.submit(flow([vec![job("h3")]]));
    // Only h3 comes back in time to fail, and to wait behind the other flow.
    world.restart();
    world.attach("h3");
    world.fail("h3", id);
    assert_eq!(world.running_hosts(other), "h3");
    world.detach("h3");
    world.attach("h2");
    world.ok("h2", id);
    world.attach("h3");
    world.ok("h3", other);
    world.ok("h3", id);
    assert_eq!(world.states(id, 1, 1), "ok ok ok");
    assert_eq!(world.starts.len(), 5);
}

#[test]
fn a_late_end_is_kept_as_a_note_also_after_a_restart() {
    let mut world = World::new("h[1-2]");
    let id = world.submit(flow([vec![job("h1").lost_after(10).success(0), job("h2")]]));
    world.detach("h1");
    world.pass(10);
    world.ok("h2", id);
    assert_eq!(world.states(id, 1, 1), "lost");
    world.restart();
    world.ok("h1", id);
    world.attach("h1");
    assert!(world.disk.end(JobId { flow: id, slot: 1, job: 1 }, "h1", 1).unwrap().late);
    assert_eq!(world.states(id, 1, 1), "lost");
    assert!(world.player("h1").settled().is_empty());
}

#[test]
fn the_same_inputs_give_the_same_effects() {
    let run = || {
        let mut world = World::new("h[1-3]");
        world
            .submit(flow([vec![job("h[1-3]").parallel(2).retries(1)], vec![job("h1").named("z")]]));
        let id = world.submit(flow([vec![job("h[1-3]").one_of()]]));
        world.fail("h1", orchestra_model::FlowId(1));
        world.detach("h2");
        world.pass(5_000);
        world.cancel(id);
        world.attach("h2");
        world.asked
    };
    assert_eq!(run(), run());
}

use crate::world::player;
