//! What keeps a host's cells, and what gives them back: promise 18.

use orchestra_flow::{Answer, ReplyId, ReplyTo, answer};
use orchestra_model::{
    FlowId, FlowState, JobId, Quantity, TaskState,
    delivery::{OrderNumber, Outcome},
};

use crate::world::*;

/// One cell of three hosts, of which one may be busy or down.
fn one_of_three() -> World {
    let mut world = World::new("fe[1-3]");
    world.deploy(deployment(
        &[("frontend", "fe[1-3]", Some(Quantity::Count(1)))],
        &[("east", "fe[1-3]")],
        &[],
    ));
    world
}

/// That `fe1` holds the cell, now and after a restart.
fn check_held(world: &mut World) {
    let probe = world.submit(flow([vec![job("fe2").named("probe")]]));
    assert_eq!(world.states(probe, 1, 1), "waiting");
    world.restart_and_return();
    assert_eq!(world.holders(), "fe1");
    assert_eq!(world.states(probe, 1, 1), "waiting");
    world.cancel(probe);
}

fn check_free(world: &mut World) {
    assert_eq!(world.holders(), "");
    assert!(world.disk.holds.is_empty());
    world.restart_and_return();
    let probe = world.submit(flow([vec![job("fe2").named("probe")]]));
    assert_eq!(world.states(probe, 1, 1), "running");
    world.ok("fe2", probe);
}

#[test]
fn whatever_ends_otherwise_than_ok_leaves_its_host_down() {
    for outcome in [
        Outcome::Exited(1),
        Outcome::Signalled(9),
        Outcome::TimedOut,
        Outcome::Lost("the sitter was killed".to_owned()),
    ] {
        let mut world = one_of_three();
        let id = world.submit(flow([vec![job("fe1")]]));
        world.end("fe1", id, &outcome);
        assert_eq!(world.state(id), FlowState::Failed);
        assert_eq!(world.down(), "fe1", "{outcome:?}");
        check_held(&mut world);
    }
}

#[test]
fn what_was_killed_leaves_its_host_down() {
    let mut world = one_of_three();
    let id = world.submit(flow([vec![job("fe1")]]));
    world.cancel(id);
    assert_eq!(world.state(id), FlowState::Cancelled);
    assert_eq!(world.disk.holds[&host("fe1")].state, TaskState::Cancelled);
    check_held(&mut world);
}

#[test]
fn what_ended_ok_gives_back() {
    let mut world = one_of_three();
    let id = world.submit(flow([vec![job("fe1")]]));
    assert_eq!(world.holders(), "fe1");
    world.ok("fe1", id);
    check_free(&mut world);
}

#[test]
fn what_never_started_gives_back() {
    let mut world = one_of_three();
    world.player("fe1").cannot_spawn = true;
    let id = world.submit(flow([vec![job("fe1")]]));
    assert_eq!(world.states(id, 1, 1), "refused");
    check_free(&mut world);
    // Nor was there a start where the cancel was faster than the order.
    let mut world = one_of_three();
    world.immediate = false;
    let submission = world.submission(flow([vec![job("fe1")]]));
    world.input(submitted(submission));
    world.perform();
    world.detach("fe1");
    world.immediate = true;
    assert_eq!(world.holders(), "fe1", "nobody can know whether it runs");
    world.cancel(FlowId(1));
    world.attach("fe1");
    assert_eq!(world.states(FlowId(1), 1, 1), "cancelled");
    check_free(&mut world);
}

#[test]
fn a_player_that_was_only_busy_gives_back_until_it_is_asked_again() {
    let mut world = one_of_three();
    world.player("fe1").stopping = true;
    let id = world.submit(flow([vec![job("fe[1-2]")]]));
    assert_eq!(world.states(id, 1, 1), "waiting running");
    world.player("fe1").stopping = false;
    world.ok("fe2", id);
    world.pass(2);
    assert_eq!(world.states(id, 1, 1), "running ok");
}

#[test]
fn a_further_attempt_reuses_the_hold_of_the_one_that_failed() {
    let mut world = one_of_three();
    let id = world.submit(flow([vec![job("fe[1-2]").retries(1).success(1)]]));
    world.fail("fe1", id);
    assert_eq!(world.states(id, 1, 1), "running waiting", "nobody came in between");
    assert_eq!(world.down(), "fe1");
    world.ok("fe1", id);
    assert_eq!(world.states(id, 1, 1), "ok running");
    assert_eq!(world.holders(), "fe2");
}

#[test]
fn a_host_that_is_down_waits_for_its_further_attempt_and_so_does_the_cell() {
    let mut world = one_of_three();
    let id = world.submit(flow([vec![job("fe[1-2]").retries(1).retry_delay(60).success(1)]]));
    world.fail("fe1", id);
    world.pass(30);
    assert_eq!(world.states(id, 1, 1), "waiting waiting");
    assert_eq!(world.state(id), FlowState::Running, "time helps, so it is not stalled");
    world.restart_and_return();
    assert_eq!(world.down(), "fe1");
    world.pass(29);
    assert_eq!(world.states(id, 1, 1), "waiting waiting");
    world.pass(1);
    assert_eq!(world.states(id, 1, 1), "running waiting");
}

#[test]
fn tasks_on_one_host_share_its_hold_until_the_last_of_them_has_ended() {
    let mut world = one_of_three();
    let first = world.submit(flow([vec![job("fe1")]]));
    let waits = world.submit(flow([vec![job("fe2")]]));
    let second = world.submit(flow([vec![job("fe1")]]));
    assert_eq!(world.states(second, 1, 1), "running");
    world.ok("fe1", first);
    assert_eq!(world.states(waits, 1, 1), "waiting");
    world.restart_and_return();
    assert_eq!(world.states(waits, 1, 1), "waiting");
    world.ok("fe1", second);
    assert_eq!(world.states(waits, 1, 1), "running");
}

#[test]
fn a_later_change_that_succeeds_ends_it_and_a_look_does_not() {
    let mut world = one_of_three();
    let id = world.submit(flow([vec![job("fe1")]]));
    world.fail("fe1", id);
    let look = world.submit(flow([vec![job("fe[1-2]").score("look")]]));
    assert_eq!(world.states(look, 1, 1), "running running");
    world.ok("fe1", look);
    assert_eq!(world.down(), "fe1");
    let change = world.submit(flow([vec![job("fe1")]]));
    assert_eq!(world.states(change, 1, 1), "running");
    world.ok("fe1", change);
    check_free(&mut world);
}

#[test]
fn an_unthrottled_change_that_succeeds_ends_it_and_one_that_fails_begins_none() {
    let mut world = one_of_three();
    let id = world.submit(flow([vec![job("fe1").unthrottled()]]));
    world.fail("fe1", id);
    assert_eq!(world.holders(), "");
    let id = world.submit(flow([vec![job("fe1")]]));
    world.fail("fe1", id);
    let id = world.submit(flow([vec![job("fe1").unthrottled()]]));
    world.fail("fe1", id);
    assert_eq!(world.disk.holds[&host("fe1")].order, OrderNumber(2));
    let id = world.submit(flow([vec![job("fe1").unthrottled()]]));
    world.ok("fe1", id);
    check_free(&mut world);
}

#[test]
fn later_is_what_has_the_higher_order() {
    // An older one that ends well, or badly, says nothing of what came after it.
    let mut world = one_of_three();
    let older = world.submit(flow([vec![job("fe1")]]));
    let newer = world.submit(flow([vec![job("fe1")]]));
    world.fail("fe1", newer);
    world.ok("fe1", older);
    assert_eq!(world.disk.holds[&host("fe1")].order, OrderNumber(2));
    assert_eq!(world.down(), "fe1");

    let mut world = one_of_three();
    let older = world.submit(flow([vec![job("fe1")]]));
    let newer = world.submit(flow([vec![job("fe1")]]));
    world.fail("fe1", newer);
    world.fail("fe1", older);
    let hold = &world.disk.holds[&host("fe1")];
    assert_eq!((hold.order, hold.job.flow), (OrderNumber(2), newer));
    let mend = world.submit(flow([vec![job("fe1")]]));
    world.ok("fe1", mend);
    check_free(&mut world);

    let mut world = one_of_three();
    let older = world.submit(flow([vec![job("fe1")]]));
    let newer = world.submit(flow([vec![job("fe1")]]));
    world.fail("fe1", older);
    world.ok("fe1", newer);
    check_free(&mut world);
}

#[test]
fn a_late_report_of_what_was_lost_ends_no_hold() {
    let mut world = one_of_three();
    let id = world.submit(flow([vec![job("fe1").lost_after(60)]]));
    world.detach("fe1");
    world.pass(60);
    assert_eq!(world.states(id, 1, 1), "lost");
    world.ok("fe1", id);
    world.attach("fe1");
    assert_eq!(world.down(), "fe1");
    assert_eq!(world.states(id, 1, 1), "lost");
    check_held(&mut world);
}

#[test]
fn a_spool_that_was_wiped_leaves_its_host_down() {
    let mut world = one_of_three();
    let id = world.submit(flow([vec![job("fe1")]]));
    world.player("fe1").wipe();
    world.attach("fe1");
    assert_eq!(world.states(id, 1, 1), "lost");
    check_held(&mut world);
}

#[test]
fn a_player_that_is_removed_keeps_its_hold() {
    let mut world = one_of_three();
    let id = world.submit(flow([vec![job("fe1")]]));
    world.load("fe[2-3]");
    assert_eq!(world.states(id, 1, 1), "lost");
    check_held(&mut world);
    // Also once it is back.
    world.load("fe[1-3]");
    world.attach("fe1");
    check_held(&mut world);
    // And a host that the players file does not name may be released.
    world.load("fe[2-3]");
    assert_eq!(
        world.release("fe1"),
        Answer::ReleasedHolds(answer::ReleasedHolds { hosts: hosts("fe1") })
    );
    check_free(&mut world);
}

#[test]
fn what_is_abandoned_stays_down() {
    let mut world = one_of_three();
    let id = world.submit(flow([vec![job("fe[1-2]").score("work")]]));
    world.detach("fe1");
    world.cancel(id);
    assert_eq!(world.state(id), FlowState::Cancelling);
    world.abandon(id);
    assert_eq!(world.state(id), FlowState::Cancelled);
    assert_eq!(world.states(id, 1, 1), "lost cancelled");
    let task = world.disk.task(JobId { flow: id, slot: 1, job: 1 }, 0).unwrap();
    assert_eq!(task.detail.as_deref(), Some("abandoned by alice"));
    check_held(&mut world);
}

#[test]
fn what_is_abandoned_is_only_what_is_away() {
    let mut world = World::new("h[1-2]");
    let id = world.submit(flow([vec![job("h[1-2]")]]));
    for name in ["h1", "h2"] {
        world.player(name).kills_slowly = true;
    }
    world.detach("h1");
    world.abandon(id);
    assert_eq!(world.states(id, 1, 1), "lost running");
    assert_eq!(world.state(id), FlowState::Cancelling);
    world.ok("h2", id);
    assert_eq!(world.states(id, 1, 1), "lost ok");
    assert_eq!(world.state(id), FlowState::Cancelled);
}

#[test]
fn only_who_is_down_is_released() {
    let mut world = one_of_three();
    let id = world.submit(flow([vec![job("fe[1-2]")]]));
    assert_eq!(
        world.release("fe[1-3]"),
        Answer::ReleasedHolds(answer::ReleasedHolds { hosts: hosts("") })
    );
    assert_eq!(world.holders(), "fe1", "what runs there holds on");
    let again = world.submit(flow([vec![job("fe1")]]));
    world.fail("fe1", id);
    assert_eq!(
        world.release("fe1"),
        Answer::ReleasedHolds(answer::ReleasedHolds { hosts: hosts("fe1") })
    );
    assert_eq!(world.holders(), "fe1", "something else runs there");
    world.ok("fe1", again);
    check_free(&mut world);
}

#[test]
fn hosts_in_no_cell_are_remembered_too() {
    let mut world = World::new("fe[1-3]");
    let id = world.submit(flow([vec![job("fe1")]]));
    world.fail("fe1", id);
    world.restart_and_return();
    assert_eq!(world.down(), "fe1");
    // A later file may put it into a cell.
    world.deploy(deployment(
        &[("frontend", "fe[1-3]", Some(Quantity::Count(1)))],
        &[("east", "fe[1-3]")],
        &[],
    ));
    check_held(&mut world);
}

#[test]
fn no_crash_forgets_a_host_that_is_down() {
    for outcome in [Outcome::Exited(1), Outcome::TimedOut, Outcome::Lost(String::new())] {
        World::crash_at_each_point(
            || {
                let mut world = one_of_three();
                world.submit(flow([vec![job("fe1")]]));
                world
            },
            |world| world.end("fe1", FlowId(1), &outcome),
            |world, kept| {
                assert_eq!(world.state(FlowId(1)), FlowState::Failed, "{kept} records");
                assert_eq!(world.down(), "fe1", "{kept} records");
                check_held(world);
            },
        );
    }
}

#[test]
fn no_crash_leaves_down_what_ended_well() {
    let build = || {
        let mut world = one_of_three();
        let id = world.submit(flow([vec![job("fe1").retries(1)]]));
        world.fail("fe1", id);
        world
    };
    let check = |world: &mut World, kept| {
        assert_eq!(world.state(FlowId(1)), FlowState::Ok, "{kept} records");
        check_free(world);
    };
    World::crash_at_each_point(build, |world| world.ok("fe1", FlowId(1)), check);
}

#[test]
fn a_crash_while_a_task_is_given_up_leaves_no_hold_that_nobody_has() {
    World::crash_at_each_point(
        || {
            let mut world = one_of_three();
            world.submit(flow([vec![job("fe1").lost_after(60)]]));
            world.detach("fe1");
            world
        },
        |world| world.pass(60),
        |world, kept| {
            // It ends well after all, and comes back.
            world.ok("fe1", FlowId(1));
            world.attach("fe1");
            match world.states(FlowId(1), 1, 1).as_str() {
                "ok" => check_free(world),
                state => {
                    assert_eq!(state, "lost", "{kept} records");
                    check_held(world);
                }
            }
        },
    );
}

#[test]
fn no_crash_while_somebody_releases_does_half_of_it() {
    World::crash_at_each_point(
        || {
            let mut world = one_of_three();
            let id = world.submit(flow([vec![job("fe1")]]));
            world.fail("fe1", id);
            world.submit(flow([vec![job("fe2")]]));
            world
        },
        |world| {
            world.input(orchestra_flow::Input::ReleaseRequested {
                reply: ReplyTo::new(ReplyId(0)),
                hosts: hosts("fe1"),
            });
            world.work();
        },
        |world, kept| {
            let holder = if kept == 0 { "fe1" } else { "fe2" };
            assert_eq!(world.holders(), holder, "{kept} records");
        },
    );
}

#[test]
fn a_lost_change_that_still_runs_keeps_the_cells() {
    let mut world = one_of_three();
    let lost = world.submit(flow([vec![job("fe1").lost_after(60)]]));
    let other = world.submit(flow([vec![job("fe1").named("other")]]));
    world.detach("fe1");
    world.pass(60);
    assert_eq!(world.state(lost), FlowState::Failed);
    world.attach("fe1");
    world.ok("fe1", other);
    assert_eq!(world.down(), "fe1", "it came later and is over sooner");
    let probe = world.submit(flow([vec![job("fe2").named("probe")]]));
    assert_eq!(world.states(probe, 1, 1), "waiting");
    world.ok("fe1", lost);
    assert_eq!(world.down(), "fe1", "what is lost stays lost");
    let later = world.submit(flow([vec![job("fe1").named("later")]]));
    world.ok("fe1", later);
    assert_eq!(world.down(), "");
    assert_eq!(world.states(probe, 1, 1), "running");
}
