//! A conductor that is killed as `kill -9` does, at any moment.

use std::{collections::BTreeMap, time::Duration};

use serde_json::json;

use crate::harness::{Chance, Fleet, Relay, eventually};

#[test]
fn ten_kills_of_the_conductor_and_every_task_runs_exactly_once() {
    const KILLS: usize = 10;
    let mut chance = Chance::new(2);
    let fleet = Fleet::new("p[1-40]").start();
    let flow = fleet.submit_flow(&json!({
        "name": "forty",
        "slots": [{"jobs": [{"score": "work", "targets": "@all", "parallel": 4}]}],
    }));
    for kill in 0..KILLS {
        // Spread over the flow, however long it takes.
        let so_far = 1 + kill * 4;
        eventually(&format!("start {so_far}"), || {
            (fleet.record.of("start").len() >= so_far).then_some(())
        });
        chance.delay(Duration::from_millis(500));
        fleet.crash_conductor();
    }
    fleet.wait_flow(flow).exits(0);

    let expected: BTreeMap<String, u32> =
        (1..=40).map(|n| (format!("{flow}.1.1@p{n}"), 1)).collect();
    assert_eq!(fleet.record.count("start"), expected);
    assert_eq!(fleet.record.count("end"), expected);
    let tasks = fleet.tasks(flow);
    assert_eq!(tasks.len(), 40);
    let lines = fleet.getstatus(&[&flow.to_string(), "-L"]).exits(0).out;
    for task in tasks {
        assert_eq!((&task["state"], &task["attempt"]), (&json!("ok"), &json!(1)), "{task}");
        let host = task["host"].as_str().unwrap();
        let result = format!("{host}: the result of {flow}.1.1 on {host}\n");
        assert!(lines.contains(&result), "no {result:?} in {lines}");
    }
}

#[test]
fn a_submission_whose_answer_was_lost_is_one_flow() {
    let fleet = Fleet::new("p1").start();
    let relay = Relay::to(fleet.address());
    // Far more than a handshake, far less than the submission.
    relay.lose_answers_after(12_000);
    let large = format!("padding={}", "x".repeat(30_000));
    let submission = fleet
        .tool("submitjob", &["work", &large, "-w", "p1", "--wait"])
        .env("ORCHESTRA_CONDUCTOR", &relay.address())
        .start();
    eventually("the flow to be stored", || (!flows(&fleet).is_empty()).then_some(()));
    assert_eq!(submission.so_far("out"), "", "it was answered after all");
    relay.heal();
    let ran = submission.wait().exits(0);
    assert_eq!(flows(&fleet), [ran.id()]);
    assert_eq!(fleet.record.count("start").into_values().collect::<Vec<_>>(), [1]);
}

#[test]
fn submissions_around_a_crash_are_one_flow_each() {
    let mut chance = Chance::new(22);
    let fleet = Fleet::new("p[1-2]").start();
    let mut submitted = Vec::new();
    for _ in 0..6 {
        // The whole restart may be within it.
        let patient = ["work", "seconds=0", "-w", "@all", "--connect-timeout", "30s"];
        let submission = fleet.tool("submitjob", &patient).start();
        chance.delay(Duration::from_millis(100));
        fleet.crash_conductor();
        submitted.push(submission.wait().exits(0).id());
    }
    for flow in &submitted {
        fleet.wait_flow(*flow).exits(0);
    }
    let mut known = flows(&fleet);
    known.sort_unstable();
    assert_eq!(known, submitted);
    let counts = fleet.record.count("start");
    assert_eq!(counts.len(), 12, "{counts:?}");
    assert!(counts.values().all(|count| *count == 1), "{counts:?}");
}

/// The flows that the conductor knows.
fn flows(fleet: &Fleet) -> Vec<u64> {
    let document = fleet.orc(&["flows", "--json"]).exits(0).json();
    let flows = document["flows"].as_array().unwrap().iter();
    flows.map(|flow| flow["id"].as_u64().unwrap()).collect()
}

/// A program that stood still while tasks ended and the conductor was killed.
#[test]
fn a_program_that_reads_a_flow_knows_every_end_once() {
    let fleet = Fleet::new("p[1-4]").start();
    let arguments = ["gate", "-w", "@all", "--wait", "--jsonl"];
    let reader = fleet.tool("submitjob", &arguments).start();
    // The last line may be half written.
    let of_line = |line: &str| serde_json::from_str(line).ok();
    let events =
        |text: &str| -> Vec<serde_json::Value> { text.lines().filter_map(of_line).collect() };
    let flow = eventually("four tasks to run", || {
        let told = events(&reader.so_far("out"));
        let running = told.iter().filter(|event| event["state"] == "running");
        let tasks = running.filter(|event| event["event"] == "task").count();
        let flow = told.iter().find_map(|event| event["flow"]["id"].as_u64());
        flow.filter(|_| tasks == 4)
    });
    let ended = |hosts: &[&str]| {
        for host in hosts {
            let task = format!("{flow}.1.1@{host}");
            eventually("it to end", || (fleet.states(flow)[&task] == "ok").then_some(()));
        }
    };
    fleet.go("p1");
    ended(&["p1"]);
    reader.signal(rustix::process::Signal::STOP);
    fleet.go("p2");
    ended(&["p2"]);
    fleet.crash_conductor();
    fleet.go("p3");
    ended(&["p3"]);
    reader.signal(rustix::process::Signal::CONT);
    fleet.go("p4");
    let told = reader.wait().exits(0);
    let mut ends: BTreeMap<String, u32> = BTreeMap::new();
    for event in events(&told.out) {
        if event["event"] == "task" && event["state"] == "ok" {
            *ends.entry(event["host"].as_str().unwrap().to_owned()).or_default() += 1;
        }
    }
    let once = (1..=4).map(|n| (format!("p{n}"), 1)).collect();
    assert_eq!(ends, once, "{told}");
}
