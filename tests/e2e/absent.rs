//! Players that are not there, and jobs for one of several.

use serde_json::json;

use crate::harness::{Fleet, eventually};

#[test]
fn a_player_that_was_off_gets_its_task_when_it_comes_back() {
    let fleet = Fleet::new("p[1-2]").players_off().start();
    let flow = fleet.submitjob(&["work", "seconds=0", "-w", "@all"]).exits(0).id();
    for task in fleet.tasks(flow) {
        let (state, reason) = (&task["state"], &task["reason"]);
        assert_eq!((state, reason), (&json!("waiting"), &json!("player-absent")), "{task}");
    }
    fleet.getstatus(&[&flow.to_string()]).exits(7);
    fleet.player("p1").sitter.start();
    eventually("the task of p1 to end", || {
        (fleet.states(flow)[&format!("{flow}.1.1@p1")] == "ok").then_some(())
    });
    // Also over a restart of the conductor.
    fleet.crash_conductor();
    fleet.player("p2").sitter.start();
    fleet.wait_flow(flow).exits(0);
    assert_eq!(fleet.record.count("start").into_values().collect::<Vec<_>>(), [1, 1]);
}

#[test]
fn a_task_whose_player_stays_away_is_unreachable_after_give_up_after() {
    let fleet = Fleet::new("p[1-2]").players_off().start();
    fleet.player("p1").sitter.start();
    fleet.wait_attached(&["p1"]);
    let ran = fleet.submitjob(&["hello", "-w", "@all", "--give-up-after", "500ms", "--wait"]);
    let flow = ran.exits(4).id();
    let states = fleet.states(flow);
    assert_eq!(states[&format!("{flow}.1.1@p1")], "ok");
    assert_eq!(states[&format!("{flow}.1.1@p2")], "unreachable");
    fleet.getstatus(&[&flow.to_string()]).exits(4);
    // It comes too late: what ended stays as it ended.
    fleet.player("p2").sitter.start();
    fleet.wait_attached(&["p2"]);
    assert_eq!(fleet.states(flow), states);
}

#[test]
fn stragglers_do_not_hold_the_next_slot_once_success_is_met() {
    let fleet = Fleet::new("p[1-5]").players_off().start();
    for n in 1..=4 {
        fleet.player(&format!("p{n}")).sitter.start();
    }
    fleet.wait_attached(&["p1", "p2", "p3", "p4"]);
    let flow = fleet.submit_flow(&json!({"slots": [
        {"jobs": [{"name": "first", "score": "work", "params": {"seconds": "0"}, "targets": "@all",
                   "success": "80%"}]},
        {"jobs": [{"name": "second", "score": "work", "params": {"seconds": "0"}, "targets": "p1"}]},
    ]}));
    fleet.wait_flow(flow).exits(0);
    assert_eq!(fleet.states(flow)[&format!("{flow}.1.1@p5")], "unreachable");
    // With `wait`, they do.
    let flow = fleet.submit_flow(&json!({"slots": [
        {"jobs": [{"name": "first", "score": "work", "params": {"seconds": "0"}, "targets": "@all",
                   "success": "80%", "stragglers": "wait"}]},
        {"jobs": [{"name": "second", "score": "work", "params": {"seconds": "0"}, "targets": "p1"}]},
    ]}));
    eventually("four to be ok", || {
        (fleet.flow(flow)["slots"][0]["jobs"][0]["counts"]["ok"] == 4).then_some(())
    });
    assert_eq!(fleet.flow(flow)["slots"][1]["state"], "pending");
    fleet.player("p5").sitter.start();
    fleet.wait_flow(flow).exits(0);
}

#[test]
fn one_of_goes_to_an_attached_player() {
    let fleet = Fleet::new("p[1-3]").players_off().start();
    let flow = fleet.submitjob(&["work", "seconds=0", "--one-of", "@all"]).exits(0).id();
    let task = fleet.task(flow);
    assert_eq!((&task["state"], &task["reason"]), (&json!("waiting"), &json!("no-player")));
    fleet.player("p2").sitter.start();
    fleet.wait_flow(flow).exits(0);
    assert_eq!(fleet.task(flow)["host"], "p2");
    assert_eq!(fleet.record.of("start").len(), 1);
}

#[test]
fn one_of_stays_with_its_player_through_disconnects_and_restarts() {
    let fleet = Fleet::new("p[1-3]").start();
    let flow = fleet.submitjob(&["gate", "--one-of", "@all"]).exits(0).id();
    eventually("the start", || (!fleet.record.of("start").is_empty()).then_some(()));
    let host = fleet.task(flow)["host"].as_str().unwrap().to_owned();
    let player = fleet.player(&host);
    player.kill_agent();
    fleet.crash_conductor();
    player.sitter.kill();
    fleet.crash_conductor();
    player.sitter.start();
    fleet.go(&host);
    fleet.wait_flow(flow).exits(0);
    assert_eq!(fleet.task(flow)["host"], json!(host));
    assert_eq!(fleet.record.of("start").len(), 1);
}

#[test]
fn one_of_that_was_chosen_before_a_crash_goes_nowhere_else_after_it() {
    let fleet = Fleet::new("p[1-3]").start();
    let flow = fleet.submitjob(&["work", "seconds=1", "--one-of", "@all"]).exits(0).id();
    eventually("the start", || (!fleet.record.of("start").is_empty()).then_some(()));
    let host = fleet.task(flow)["host"].as_str().unwrap().to_owned();
    fleet.conductor.kill();
    fleet.player(&host).sitter.kill();
    fleet.start_conductor();
    let others: Vec<_> = fleet.players().filter(|player| player.name != host).collect();
    fleet.wait_attached(&others.iter().map(|player| &player.name).collect::<Vec<_>>());
    // It is away, and others are free: still it is its task.
    let task = fleet.task(flow);
    assert_eq!((&task["host"], &task["attempt"]), (&json!(host), &json!(1)), "{task}");
    fleet.player(&host).sitter.start();
    fleet.wait_flow(flow);
    assert!(["ok", "lost"].contains(&fleet.task(flow)["state"].as_str().unwrap()));
    assert_eq!(fleet.record.of("start").len(), 1);
}

#[test]
fn one_of_goes_to_another_player_only_when_the_first_did_not_start_it() {
    let fleet = Fleet::new("p[1-2]").players_off().start();
    // p1 has no score at all.
    let empty = fleet.dir().join("no-scores");
    std::fs::create_dir(&empty).unwrap();
    fleet.player("p1").set("scores_dir", &format!("{empty:?}"));
    fleet.player("p1").sitter.start();
    fleet.wait_attached(&["p1"]);
    let flow = fleet.submitjob(&["work", "seconds=0", "--one-of", "@all"]).exits(0).id();
    eventually("p1 to refuse it", || {
        let refused = fleet.player("p1").sitter.log();
        let task = fleet.task(flow);
        (task["state"] == "waiting" && (refused.contains("refused") || task["attempt"] != 0))
            .then_some(())
    });
    fleet.player("p2").sitter.start();
    fleet.wait_flow(flow).exits(0);
    assert_eq!(fleet.task(flow)["host"], "p2");
    assert_eq!(fleet.record.of("start").len(), 1);
}

#[test]
fn one_of_that_fails_after_its_start_ends_the_job() {
    let fleet = Fleet::new("p[1-3]").start();
    let ran = fleet.submitjob(&["work", "seconds=0", "exit=1", "--one-of", "@all", "--wait"]);
    let flow = ran.exits(2).id();
    let task = fleet.task(flow);
    assert_eq!((&task["state"], &task["exit"]), (&json!("failed"), &json!(1)), "{task}");
    assert_eq!(fleet.record.of("start").len(), 1);
}

/// What a person sees of a host that died while its task ran, in every view, over a restart of the
/// conductor, until nobody waits for it any more.
#[test]
fn that_a_host_is_away_with_its_task_is_told_everywhere() {
    let fleet = Fleet::new("p[1-2]").start();
    let waits = fleet.tool("submitjob", &["work", "seconds=600", "-w", "@all", "--wait"]).start();
    let flow = eventually("the flow", || waits.so_far("out").trim().parse::<u64>().ok());
    let (id, task) = (flow.to_string(), format!("{flow}.1.1@p1"));
    eventually("its start", || (fleet.states(flow)[&task] == "running").then_some(()));
    let player = fleet.player("p1");
    // The host is gone with everything on it.
    player.sitter.kill();
    fleet.wait_detached("p1");

    let told = eventually("the one who waits to hear of it", || {
        let told = waits.so_far("err");
        told.contains(&format!("{flow}.1.1: 1 in flight on absent p1, since ")).then_some(told)
    });
    // The score's own timeout, the grace and ten minutes.
    assert!(told.contains(", lost at "), "{told}");
    let of_p1 = || {
        let tasks = fleet.tasks(flow);
        tasks.into_iter().find(|task| task["host"] == "p1").unwrap()["absent"].clone()
    };
    let absent = of_p1();
    assert!(absent["since"].is_string() && absent["given_up_in_ms"].is_u64(), "{absent}");
    fleet.getstatus(&[&id]).exits(7).says("1 in flight on absent p1, since ");
    fleet.getstatus(&[&id, "--tasks"]).exits(7).says("its player is absent since ");
    fleet.orc(&["explain", &id]).exits(0).says("running, but its player is not attached since ");
    fleet.orc(&["players", "--absent"]).exits(0).says(&format!("1 task in flight ({flow}.1.1)"));
    fleet.orc(&["flows"]).exits(0).says("(1 task on an absent player)");

    // What the player told of its score's limits is not forgotten with the conductor.
    fleet.crash_conductor();
    fleet.wait_attached(&["p2"]);
    assert_eq!(of_p1()["given_up_at"], absent["given_up_at"]);

    let cancelled = fleet.orc(&["cancel", &id]).exits(0);
    cancelled.complains(&format!("{flow} waits: 1 in flight on absent p1, since "));
    fleet.orc(&["cancel", &id, "--abandon"]).exits(0);
    waits.wait().exits(5);
    assert_eq!(fleet.states(flow)[&task], "lost");
}
