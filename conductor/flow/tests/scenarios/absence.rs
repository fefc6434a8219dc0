//! Players that are not there: waiting, giving up, losing, coming back.

use orchestra_model::{
    FlowState, JobState, Millis, Quantity, TaskState, Timestamp, WaitReason,
    delivery::Outcome,
    status::{Absence, Due, Event},
};

use crate::{straggler, world::*};

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
    let (mut world, busy, id) = straggler();
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
    let (mut world, _, id) = straggler();
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

/// What was published of tasks whose players went or came back: their states and whether away.
fn presence(world: &mut World) -> Vec<(TaskState, bool)> {
    let told = std::mem::take(&mut world.events).into_iter().filter_map(|event| match event {
        Event::Task { state, absence, .. } => Some((state, absence.is_some())),
        _ => None,
    });
    told.collect()
}

#[test]
fn a_restart_forgets_no_time_limit_of_what_runs_on_a_player_that_stays_away() {
    let mut world = World::new("h1");
    let id = world.submit(flow([vec![job("h1")]]));
    world.detach("h1");
    let lost_at = world.now.after(Millis::seconds(20 * 60 + 10));
    world.pass(60);
    world.restart();
    let absence = world.tasks(id, 1, 1)[0].absence.unwrap();
    assert_eq!(absence.given_up.unwrap().at, lost_at, "as the player told before the restart");
    world.pass(20 * 60 + 10 - 60 - 1);
    assert_eq!(world.states(id, 1, 1), "sent");
    world.pass(1);
    assert_eq!(world.states(id, 1, 1), "lost");
}

#[test]
fn a_task_on_a_player_that_went_says_since_when_and_when_it_is_lost() {
    let mut world = World::new("h[1-3]");
    let id = world.submit(flow([vec![job("h[1-2]").lost_after(600)]]));
    let since = world.now;
    world.detach("h1");
    world.pass(60);
    let given_up = Due { at: since.after(Millis::seconds(600)), left: Millis::seconds(540) };
    let expected = Absence { since: Some(since), given_up: Some(given_up) };
    let tasks = world.tasks(id, 1, 1);
    assert_eq!((tasks[0].absence, tasks[1].absence), (Some(expected), None));
    let status = world.status(id).unwrap();
    assert_eq!(status.summary.absent, 1);
    let absence = job_of(&status, tasks[0].job).absence.clone().unwrap();
    assert_eq!((absence.in_flight.tasks, absence.in_flight.hosts.as_str()), (1, "h1"));
    assert_eq!(
        (absence.in_flight.since, absence.in_flight.given_up),
        (Some(since), Some(given_up))
    );
    assert_eq!(absence.waiting.tasks, 0);
    let told = world.explain(id);
    let told = told.iter().find(|told| told.hosts.to_string() == "h1").unwrap();
    assert_eq!(
        told.text.to_string(),
        "running, but its player is not attached since 1m ago; lost in 9m unless it comes back; \
         <abandon 1> ends the flow without waiting for it"
    );
    assert_eq!(told.given_up, Some(given_up.at));
    let player = world.engine.roster().member(&host("h1")).unwrap();
    assert_eq!(world.engine.orders_of(player), (vec![tasks[0].job], Some(given_up)));
    world.attach("h1");
    assert_eq!(world.tasks(id, 1, 1)[0].absence, None);
    assert_eq!(job_of(&world.status(id).unwrap(), tasks[0].job).absence, None);
}

#[test]
fn a_task_that_waits_for_a_player_says_when_it_is_given_up() {
    let mut world = World::new("h[1-2]");
    let since = world.now;
    world.detach("h2");
    world.pass(10);
    let begun = world.now;
    let id = world.submit(flow([vec![
        job("h2").named("some").give_up_after(60).wait_for_stragglers(),
        job("h2").named("ever").wait_for_stragglers(),
        job("h2").one_of().named("one").give_up_after(60),
    ]]));
    let given_up = Due { at: begun.after(Millis::seconds(60)), left: Millis::seconds(60) };
    for (job, given_up) in [(1, Some(given_up)), (2, None), (3, Some(given_up))] {
        let absence = Absence { since: Some(since), given_up };
        let task = &world.tasks(id, 1, job)[0];
        assert_eq!(task.absence, Some(absence), "job {job}");
        let status = world.status(id).unwrap();
        let of_job = job_of(&status, task.job).absence.clone().unwrap();
        assert_eq!((of_job.waiting.tasks, of_job.waiting.given_up), (1, given_up), "job {job}");
        assert_eq!(of_job.in_flight.tasks, 0);
    }
    let texts: Vec<String> =
        world.explain(id).into_iter().map(|told| told.text.to_string()).collect();
    assert!(texts[0].ends_with("; given up as unreachable in 1m"), "{texts:?}");
    assert!(texts[1].contains("waits until it attaches"), "{texts:?}");
    assert!(texts[2].ends_with("; given up as unreachable in 1m"), "{texts:?}");
}

#[test]
fn who_watches_hears_that_a_player_goes_and_comes_back_and_of_no_mere_reconnect() {
    let mut world = World::new("h[1-2]");
    world.submit(flow([vec![job("h[1-2]").lost_after(60)]]));
    assert_eq!(presence(&mut world), [(TaskState::Running, false); 2]);
    world.detach("h1");
    assert_eq!(presence(&mut world), [(TaskState::Running, true)]);
    world.attach("h1");
    assert_eq!(presence(&mut world), [(TaskState::Running, false)]);
    // The older session is superseded: it was never away.
    world.dial("h1");
    assert_eq!(presence(&mut world), []);
    // Nobody heard of the absence that a restart is.
    world.restart_and_return();
    assert_eq!(presence(&mut world), [(TaskState::Running, false); 2], "as it always was");
    world.detach("h2");
    world.pass(60);
    assert_eq!(presence(&mut world), [(TaskState::Running, true), (TaskState::Lost, false)]);
}

#[test]
fn a_player_that_was_never_there_has_no_moment_since_when() {
    let mut world = World::absent("h1");
    let id = world.submit(flow([vec![job("h1").give_up_after(60)]]));
    let absence = world.tasks(id, 1, 1)[0].absence.unwrap();
    assert_eq!(absence.since, None);
    assert!(absence.given_up.unwrap().at > Timestamp(0));
}

#[test]
fn a_full_cell_says_that_who_holds_it_is_away_and_until_when() {
    let mut world = World::new("fe[1-2]");
    let one = Some(Quantity::Count(1));
    world.deploy(deployment(&[("web", "fe[1-2]", one)], &[("east", "fe[1-2]")], &[]));
    let first = world.submit(flow([vec![job("fe1").lost_after(600)]]));
    let second = world.submit(flow([vec![job("fe2")]]));
    world.detach("fe1");
    let text = world.explain(second)[0].text.to_string();
    assert!(
        text.contains(
            "fe1 (runs 1.1.1, holds for 0s, its player is not attached since 0s ago, \
                       lost in 10m unless it comes back)"
        ),
        "{text}"
    );
    let holder = world.engine.holders().next().unwrap();
    assert_eq!(
        holder.absence.unwrap().given_up,
        world.tasks(first, 1, 1)[0].absence.unwrap().given_up
    );
}
