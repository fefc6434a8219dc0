//! Agents and sitters that are killed as `kill -9` does, while scores run.

use std::time::Duration;

use serde_json::json;

use crate::harness::{Chance, Fleet, eventually};

#[test]
fn thirty_kills_of_agents_disturb_no_running_score() {
    let mut chance = Chance::new(3);
    let fleet = Fleet::new("p[1-8]").start();
    let flow = fleet.submit_flow(&json!({
        "slots": [
            {"jobs": [{"score": "chatter", "targets": "@all", "params": {"lines": "60"}}]},
            {"jobs": [{"score": "chatter", "targets": "@all", "params": {"lines": "20"}}]},
        ],
    }));
    eventually("a start", || (!fleet.record.of("start").is_empty()).then_some(()));
    for _ in 0..30 {
        let n = 1 + chance.below(8);
        fleet.player(&format!("p{n}")).kill_agent();
        chance.delay(Duration::from_millis(200));
    }
    fleet.wait_flow(flow).exits(0);

    fleet.record.nothing_started_twice();
    assert_eq!(fleet.record.count("start").len(), 16);
    assert_eq!(fleet.record.count("end").len(), 16);
    assert_eq!(fleet.record.of("broken"), []);
    for task in fleet.tasks(flow) {
        assert_eq!((&task["state"], &task["attempt"]), (&json!("ok"), &json!(1)), "{task}");
    }
    let lines = fleet.getstatus(&[&format!("{flow}.1"), "-L"]).exits(0).out;
    for n in 1..=8 {
        for (stream, mark, word) in [("stdout", ":", "line"), ("stderr", "!", "error")] {
            let written = format!("p{n}{mark} {word} ");
            let whole = lines.lines().filter(|line| line.starts_with(&written)).count();
            assert_eq!(
                whole,
                60,
                "{stream} of p{n}: {}",
                fleet.orc(&["logs", &format!("{flow}.1.1@p{n}"), "--json"]).out
            );
        }
    }
}

#[test]
fn kills_of_sitters_leave_every_score_to_its_true_end_or_lost() {
    let mut chance = Chance::new(33);
    let fleet = Fleet::new("p[1-6]").start();
    let slot = json!({"jobs": [{
        "score": "chatter", "targets": "@all", "params": {"lines": "30"},
        // What is lost is not to stop the others.
        "success": 1, "max_failures": "100%",
    }]});
    let flow = fleet.submit_flow(&json!({"slots": [slot, slot, slot]}));
    eventually("a start", || (!fleet.record.of("start").is_empty()).then_some(()));
    for _ in 0..12 {
        let n = 1 + chance.below(6);
        let player = fleet.player(&format!("p{n}"));
        player.sitter.kill();
        chance.delay(Duration::from_millis(300));
        player.sitter.start();
    }
    fleet.wait_flow(flow).exits(0);

    fleet.record.nothing_started_twice();
    let (starts, ends) = (fleet.record.count("start"), fleet.record.count("end"));
    assert_eq!(fleet.record.of("broken"), []);
    for (task, state) in fleet.states(flow) {
        let (started, ended) = (starts.contains_key(&task), ends.contains_key(&task));
        match state.as_str() {
            "ok" => {
                assert!(started && ended, "{task} is ok and started: {started}, ended: {ended}");
            }
            "lost" => {}
            other => panic!("{task} is {other}"),
        }
    }
    // Whatever was lost was killed, or is known to the sitter that came after.
    fleet.wait_no_score_runs();
}

#[test]
fn the_end_of_a_score_is_told_although_no_sitter_saw_it() {
    let fleet = Fleet::new("p1").start();
    let flow = fleet.submitjob(&["work", "seconds=1", "exit=3", "-w", "p1"]).exits(0).id();
    eventually("the start", || (!fleet.record.of("start").is_empty()).then_some(()));
    let player = fleet.player("p1");
    player.sitter.kill();
    eventually("the end", || (!fleet.record.of("end").is_empty()).then_some(()));
    player.sitter.start();
    fleet.wait_flow(flow).exits(2);
    let task = fleet.task(flow);
    // Its true end where the kernel tells it, else lost: never a guess.
    let told = (task["state"].as_str().unwrap(), task["exit"].as_i64());
    assert!(matches!(told, ("failed", Some(3)) | ("lost", None)), "{task}");
    fleet.record.nothing_started_twice();
}

#[test]
fn an_upgrade_in_place_disturbs_no_running_score() {
    let fleet = Fleet::new("p1").start();
    let flow = fleet.submitjob(&["chatter", "lines=60", "-w", "p1"]).exits(0).id();
    eventually("the start", || (!fleet.record.of("start").is_empty()).then_some(()));
    let player = fleet.player("p1");
    for _ in 0..3 {
        let (before, agent) = (player.sitter.pid(), player.agent());
        player.sitter.signal(rustix::process::Signal::USR2);
        player.agent_other_than(Some(agent));
        assert!(player.sitter.is_running() && player.sitter.pid() == before);
    }
    fleet.wait_flow(flow).exits(0);
    assert_eq!(fleet.record.of("broken"), []);
    let lines = fleet.getstatus(&[&flow.to_string(), "-L"]).exits(0).out;
    assert_eq!(lines.lines().filter(|line| line.contains(": line ")).count(), 60, "{lines}");
}
