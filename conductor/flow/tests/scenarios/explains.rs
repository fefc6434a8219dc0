//! `explain` tells of every wait why, in a sentence, down to the holder and what to do. Promise 8.

use orchestra_model::{JobId, Quantity};

use crate::world::*;

fn cell(most: u32) -> std::sync::Arc<orchestra_model::Deployments> {
    deployment(&[("web", "h[1-3]", Some(Quantity::Count(most)))], &[("east", "h[1-3]")], &[])
}

#[test]
fn a_full_cell_names_its_holders_and_their_flows() {
    let mut world = World::new("h[1-3]");
    world.deploy(cell(1));
    let busy = world.submit(flow([vec![job("h1")]]));
    let id = world.submit(flow([vec![job("h[2-3]")]]));
    world.pass(90);
    let told = world.explain(id);
    assert_eq!(told.len(), 1, "those that wait for the same are told of together: {told:?}");
    assert_eq!(told[0].hosts, hosts("h[2-3]"));
    assert!(!told[0].dead);
    assert_eq!(
        told[0].text.to_string(),
        "web in cluster east of site is full, 1 of 1: held by h1 (runs 1.1.1, holds for 1m30s)"
    );
    world.fail("h1", busy);
    let told = &world.explain(id)[0];
    assert!(told.dead);
    assert_eq!(
        told.text.to_string(),
        "web in cluster east of site is full, 1 of 1: held by h1 (failed in 1.1.1, holds for \
         1m30s); nothing there goes on by itself: mend the hosts and <retry> their flow, or \
         <release cells of h1>"
    );
}

#[test]
fn a_limit_that_was_lowered_shows() {
    let mut world = World::new("h[1-3]");
    world.deploy(cell(2));
    world.submit(flow([vec![job("h[1-2]")]]));
    world.deploy(cell(1));
    let id = world.submit(flow([vec![job("h3")]]));
    let text = world.why(id, 1, 1, "h3");
    assert!(text.starts_with("web in cluster east of site is full, 2 of 1: held by h1"), "{text}");
}

#[test]
fn a_sequence_names_who_is_not_done_and_who_failed() {
    let mut world = World::new("be[1-2],fe1");
    world.deploy(deployment(
        &[("backend", "be[1-2]", Some(Quantity::Count(1))), ("web", "fe1", None)],
        &[("east", "be[1-2],fe1")],
        &["backend", "web"],
    ));
    let id = world.submit(flow([vec![job("be[1-2]").success(1), job("fe1")]]));
    assert_eq!(
        world.why(id, 1, 2, "fe1"),
        "comes after backend in cluster east of site, of which be[1-2] (2) are not done"
    );
    world.fail("be1", id);
    assert_eq!(
        world.why(id, 1, 2, "fe1"),
        "comes after backend in cluster east of site, of which be2 (1) are not done and be1 (1) \
         ended without being ok; <retry 1> gives them a further attempt"
    );
}

#[test]
fn a_one_of_task_is_told_of_those_who_may_still_come_to_their_end() {
    let mut world = World::new("be[1-3],fe[1-2]");
    world.deploy(deployment(
        &[("backend", "be[1-3]", None), ("web", "fe[1-2]", None)],
        &[("east", "be[1-2],fe1"), ("west", "be3,fe2")],
        &["backend", "web"],
    ));
    let east = job("be[1-2]").success(1);
    let id = world.submit(flow([vec![east, job("be3"), job("fe[1-2]").one_of()]]));
    world.fail("be1", id);
    world.ok("be2", id);
    assert_eq!(
        world.why(id, 1, 3, "fe1"),
        "comes after backend in cluster west of site, of which be3 (1) are not done"
    );
}

#[test]
fn a_cell_that_waits_for_a_paused_flow_says_who_paused_it() {
    let mut world = World::new("h[1-3]");
    world.deploy(cell(1));
    let busy = world.submit(flow([vec![job("h1").retries(1).retry_delay(60)]]));
    world.fail("h1", busy);
    let id = world.submit(flow([vec![job("h2")]]));
    let holder = "web in cluster east of site is full, 1 of 1: held by h1 (failed in 1.1.1, holds \
                  for 0s)";
    assert_eq!(world.why(id, 1, 1, "h2"), holder);
    world.pause(busy);
    let paused = format!(
        "{holder}; flow 1 has a further attempt to come there and was paused by alice: \
         <resume 1> lets it go on"
    );
    assert_eq!(world.why(id, 1, 1, "h2"), paused);
    world.resume(busy);
    assert_eq!(world.why(id, 1, 1, "h2"), holder);
}

#[test]
fn waiting_for_a_window_a_slot_a_quorum_or_a_pause() {
    let mut world = World::new("h[1-3]");
    let id = world.submit(flow([vec![job("h[1-3]").parallel(1)], vec![job("h1").named("then")]]));
    assert_eq!(world.why(id, 1, 1, "h2"), "1 of the job's window of 1 are in flight");
    assert_eq!(world.why(id, 2, 1, "h1"), "its slot begins when every job of the one before is ok");
    world.pause(id);
    assert_eq!(world.why(id, 1, 1, "h2"), "the flow was paused by alice; <resume 1> lets it go on");
    world.detach("h3");
    let id = world.submit(flow([vec![job("h[2-3]").quorum(2)]]));
    assert_eq!(
        world.why(id, 1, 1, "h2"),
        "1 of the job's players are attached; nothing starts below 2"
    );
}

#[test]
fn waiting_for_a_player() {
    let mut world = World::new("h[1-3]");
    world.detach("h1");
    world.drain_players("h2");
    world.player("h3").takes(1);
    world.attach("h3");
    world.submit(flow([vec![job("h3")]]));
    let id = world.submit(flow([vec![job("h[1-3]")]]));
    world.pass(60);
    assert_eq!(
        world.why(id, 1, 1, "h1"),
        "not attached, the last one since 1m ago; waits until it attaches, for the job has no \
         give_up_after"
    );
    assert_eq!(
        world.why(id, 1, 1, "h2"),
        "h2 was drained by alice 1m ago: a disk is changed; <undrain h2> lets it work again"
    );
    assert_eq!(world.why(id, 1, 1, "h3"), "its player runs as many tasks as it takes");
}

#[test]
fn waiting_for_a_score() {
    let mut world = World::new("h1");
    world.submit(flow([vec![job("h1").score("single")]]));
    let id = world.submit(flow([vec![job("h1").score("single")]]));
    assert_eq!(
        world.why(id, 1, 1, "h1"),
        "score single runs on its player as often as its concurrency allows"
    );
    let id = world.submit(flow([vec![job("h1").score("alone")]]));
    assert_eq!(
        world.why(id, 1, 1, "h1"),
        "an exclusive score runs on its player, or is next there, or is this one"
    );
}

#[test]
fn waiting_for_a_canary_and_for_a_further_attempt() {
    let mut world = World::new("h[1-3]");
    let id = world.submit(flow([vec![job("h[1-3]").named("web").canary(1).success(1)]]));
    let waits = world.why(id, 1, 1, "h3");
    assert!(waits.starts_with("0 of its 1 canary tasks are ok"), "{waits}");
    world.fail("h1", id);
    assert_eq!(
        world.why(id, 1, 1, "h3"),
        "1 of its 1 canary tasks ended without being ok: <retry 1> gives them a further \
         attempt, <promote web of 1> goes on without them"
    );
    world.retry(id);
    world.ok("h1", id);
    assert_eq!(world.why(id, 1, 1, "h3"), "its canary is ok and waits for <promote web of 1>");
    let baking = job("h[1-2]").named("web").canary(1).bake(600).retries(1).retry_delay(60);
    let id = world.submit(flow([vec![baking]]));
    world.fail("h1", id);
    world.pass(20);
    assert_eq!(world.why(id, 1, 1, "h1"), "its next attempt comes in 40s");
    world.pass(40);
    world.ok("h1", id);
    world.pass(100);
    assert_eq!(
        world.why(id, 1, 1, "h2"),
        "its canary is ok; 8m20s of the bake are left, or <promote web of 2>"
    );
}

#[test]
fn further_attempts_that_come_one_after_the_other_are_told_of_together() {
    let mut world = World::new("h[1-2]");
    let id = world.submit(flow([vec![job("h[1-2]").retries(1).retry_delay(60)]]));
    world.fail("h1", id);
    world.pass(10);
    world.fail("h2", id);
    world.pass(5);
    let told = &world.explain(id)[0];
    assert_eq!(told.hosts, hosts("h[1-2]"));
    assert_eq!(told.text.to_string(), "its next attempt comes in 45s to 55s");
}

#[test]
fn doom_and_what_is_on_its_way_or_over() {
    let mut world = World::new("h[1-3]");
    let id = world.submit(flow([vec![job("h[1-3]").parallel(2)]]));
    assert_eq!(world.why(id, 1, 1, "h1"), "running");
    world.fail("h1", id);
    assert_eq!(world.why(id, 1, 1, "h1"), "failed");
    assert_eq!(
        world.why(id, 1, 1, "h3"),
        "its job is doomed: it ends when what runs of it has ended"
    );
}

#[test]
fn a_one_of_task_is_told_of_wherever_it_may_run() {
    let mut world = World::new("h[1-3]");
    world.deploy(cell(1));
    world.submit(flow([vec![job("h1")]]));
    let id = world.submit(flow([vec![job("h[2-3]").one_of()]]));
    for name in ["h2", "h3"] {
        let text = world.why(id, 1, 1, name);
        assert!(text.contains("web in cluster east of site is full, 1 of 1: held by h1"), "{text}");
    }
    assert_eq!(world.why(id, 1, 1, "h1"), "", "it will not run there");
}

#[test]
fn who_asks_for_nothing_that_lives_hears_nothing() {
    let mut world = World::new("h1");
    let id = world.submit(flow([vec![job("h1")]]));
    let none = JobId { flow: id, slot: 3, job: 1 };
    assert_eq!(world.engine.explain(id, Some(none), None), Some(Vec::new()));
    world.ok("h1", id);
    assert_eq!(world.engine.explain(id, None, None), None);
}

#[test]
fn whatever_waits_has_a_sentence() {
    let mut world = World::new("h[1-6]");
    world.deploy(cell(1));
    world.drain_players("h4");
    world.detach("h5");
    let spec = vec![
        job("h[1-6]").parallel(3),
        job("h[2-6]").one_of().named("one"),
        job("h[1-6]").named("slow").canary(2).retries(1).retry_delay(10).score("single"),
        job("h[1-2]").named("few").quorum(2),
    ];
    let id = world.submit(flow([spec, vec![job("h6").named("then")]]));
    world.fail("h1", id);
    for (slot, jobs) in (1..).zip(&world.status(id).unwrap().slots) {
        for (nth, job) in (1..).zip(jobs) {
            for task in world.tasks(id, slot, nth) {
                let name = task.host.map_or_else(|| "h2".to_owned(), |name| name.to_string());
                let text = world.why(id, slot, nth, &name);
                assert!(!text.is_empty(), "{} on {name} is {}", job.id, task.state);
            }
        }
    }
}
