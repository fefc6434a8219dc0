//! What the tools say to the script that called them, on real flows: each exit code.

use rustix::process::Signal;
use serde_json::json;

use crate::harness::{Fleet, eventually};

#[test]
fn every_exit_code_of_a_real_flow() {
    let fleet = Fleet::new("p[1-2]").start();
    let wait = |arguments: &[&str]| fleet.submitjob(&[arguments, &["--wait"]].concat());
    // 0: ok, and accepted.
    let ok = wait(&["work", "seconds=0", "-w", "@all"]).exits(0).id();
    fleet.submitjob(&["work", "seconds=0", "-w", "@all"]).exits(0);
    fleet.orc(&["wait", "last"]).exits(0);
    // 2: failed, or partial.
    let failed = wait(&["work", "seconds=0", "exit=7", "-w", "@all"]).exits(2).id();
    fleet.getstatus(&[&failed.to_string()]).exits(2);
    fleet.orc(&["wait", &failed.to_string()]).exits(2);
    // 3: nobody, or somebody unknown.
    wait(&["work", "-w", "p[1-3]"]).exits(3).complains("p3");
    wait(&["work", "-w", "p1!p1"]).exits(3);
    wait(&["work", "-w", "@nobody"]).exits(64).complains("nobody");
    // 7, 124, 5: not over, no longer waited for, cancelled.
    let long = fleet.submitjob(&["work", "seconds=30", "-w", "p1"]).exits(0).id();
    fleet.wait_state(long, "running");
    fleet.getstatus(&[&long.to_string()]).exits(7);
    fleet.orc(&["wait", &long.to_string(), "--wait-timeout", "100ms"]).exits(124);
    fleet.orc(&["cancel", &long.to_string()]).exits(0);
    fleet.orc(&["wait", &long.to_string()]).exits(5);
    fleet.getstatus(&[&long.to_string()]).exits(5);
    fleet.getstatus(&[&format!("{ok},{failed}")]).exits(2);
    fleet.getstatus(&[&ok.to_string()]).exits(0);
    // 64: called wrongly.
    fleet.submitjob(&["work"]).exits(64);
    wait(&["work", "-w", "p[1-"]).exits(64);
    wait(&["work", "-w", "p1", "--parallel", "0"]).exits(64);
    fleet.getstatus(&["what"]).exits(64);
    fleet.submitjob(&["--flow", "/nonexistent"]).exits(64);
    // 8: no such flow, beside others; 9: it has ended otherwise.
    fleet.getstatus(&["4711"]).exits(8);
    let several = format!("{failed},4711-4713,{ok}");
    let told = fleet.getstatus(&[&several]).exits(8).complains("no such flow: 4711-4713\n");
    told.says(&format!("{ok} ")).says(&format!("{failed} "));
    fleet.orc(&["wait", &several]).exits(8).complains("no such flow: 4711-4713\n");
    fleet.orc(&["cancel", &ok.to_string()]).exits(9);
    fleet.orc(&["cancel", &long.to_string()]).exits(0);
    fleet.orc(&["pause", &ok.to_string()]).exits(9);
    fleet.orc(&["retry", &ok.to_string()]).exits(9).complains("nothing is left to do of it");
    // 10: another plan than the one that was looked at.
    wait(&["work", "-w", "p1", "--if-plan", &"00".repeat(32)]).exits(10);
    // 11: nobody there.
    fleet.conductor.kill();
    for ran in [
        fleet.getstatus(&["--connect-timeout", "200ms"]),
        fleet.submitjob(&["work", "-w", "p1", "--connect-timeout", "200ms"]),
        fleet.orc(&["flows", "--connect-timeout", "200ms"]),
    ] {
        ran.exits(11).complains("cannot reach the conductor");
    }
    // 4 and 6 are tested with absent players and with certificates.
}

#[test]
fn a_slot_that_failed_keeps_the_next_from_starting() {
    let fleet = Fleet::new("p[1-2]").start();
    let job = |name: &str, exit: &str| {
        json!({"name": name, "score": "work", "targets": "@all",
        "params": {"seconds": "0", "exit": exit}})
    };
    let flow = fleet.submit_flow(&json!({"slots": [
        {"jobs": [job("first", "0")]}, {"jobs": [job("second", "1")]}, {"jobs": [job("third", "0")]},
    ]}));
    fleet.wait_flow(flow).exits(2);
    let flow = fleet.flow(flow);
    let states: Vec<_> =
        flow["slots"].as_array().unwrap().iter().map(|slot| &slot["state"]).collect();
    assert_eq!(states, [&json!("ok"), &json!("failed"), &json!("skipped")]);
    assert_eq!(fleet.record.of("start").len(), 4);
}

#[test]
fn thresholds_windows_and_retries_are_kept() {
    let fleet = Fleet::new("p[1-5]").players_off().start();
    // Fails on p1 always, on p2 the first time.
    let body = "#!/bin/sh\nrecord=\"$ORC_SCORE_DIR/../record\"\n\
                echo \"start $ORC_TASK $ORC_PLAYER $ORC_ATTEMPT $$\" >>\"$record\"\nsleep 0.1\n\
                echo \"end $ORC_TASK $ORC_PLAYER $ORC_ATTEMPT $$\" >>\"$record\"\n\
                case $ORC_PLAYER-$ORC_ATTEMPT in p1-*|p2-1) exit 1;; esac\n";
    fleet.score("shaky", body, "");
    fleet.start_players();
    let shaky = |limits: &[&str]| {
        let arguments = [&["shaky", "-w", "@all", "--wait"][..], limits].concat();
        fleet.submitjob(&arguments)
    };
    shaky(&["--success", "60%"]).exits(0);
    shaky(&["--success", "80%"]).exits(2);
    let flow = shaky(&["--success", "80%", "--retries", "2"]).exits(0).id();
    let attempts: Vec<u64> =
        fleet.tasks(flow).iter().map(|task| task["attempt"].as_u64().unwrap()).collect();
    assert_eq!(attempts, [3, 2, 1, 1, 1]);
    // One at a time, in the order of the host set; the first failure ends it.
    let flow = shaky(&["--parallel", "1"]).exits(2).id();
    let states: Vec<String> = fleet.states(flow).into_values().collect();
    assert_eq!(states, ["failed", "skipped", "skipped", "skipped", "skipped"]);
    let flow =
        shaky(&["--parallel", "2", "--success", "1", "--max-failures", "100%"]).exits(0).id();
    let mut running = 0_i32;
    for line in
        fleet.record.lines().iter().filter(|line| line.task.starts_with(&format!("{flow}.")))
    {
        running += if line.what == "start" { 1 } else { -1 };
        assert!(running <= 2, "three at once");
    }
    fleet.record.nothing_started_twice();
}

#[test]
fn ctrl_c_while_waiting_detaches_and_the_flow_goes_on() {
    let fleet = Fleet::new("p1").start();
    let waiting = fleet.tool("submitjob", &["gate", "-w", "p1", "--wait"]).start();
    // It hears of the start with its own ears.
    eventually("the start", || waiting.so_far("err").contains("running").then_some(()));
    waiting.signal(Signal::INT);
    let ran = waiting.wait();
    assert_ne!(ran.code(), Some(0), "{ran}");
    let ran = ran.complains("orc wait");
    let flow = ran.id();
    fleet.go("p1");
    fleet.orc(&["wait", &flow.to_string()]).exits(0);
    assert_eq!(fleet.record.of("end").len(), 1);
}

#[test]
fn a_flow_from_standard_input_and_in_every_format_is_the_same() {
    let fleet = Fleet::new("p1").start();
    let json = json!({"name": "same", "slots": [{"jobs": [
        {"score": "hello", "targets": "p1", "params": {"name": "you"}, "timeout": "5s"}]}]});
    let yaml = "name: same\nslots:\n  - jobs:\n      - {score: hello, targets: p1, params: {name: you}, timeout: 5s}\n";
    let toml = "name = \"same\"\n[[slots]]\n[[slots.jobs]]\nscore = \"hello\"\ntargets = \"p1\"\ntimeout = \"5s\"\n\
                params = {name = \"you\"}\n";
    let files = [
        ("flow.json", json.to_string()),
        ("flow.yaml", yaml.to_owned()),
        ("flow.toml", toml.to_owned()),
    ];
    for (name, text) in files {
        let path = fleet.dir().join(name);
        std::fs::write(&path, &text).unwrap();
        let from_file =
            fleet.submitjob(&["--flow", &path.display().to_string(), "--wait"]).exits(0).id();
        let from_input =
            fleet.tool("submitjob", &["--flow", "-", "--wait"]).input(&path).run().exits(0).id();
        for flow in [from_file, from_input] {
            assert_eq!(fleet.flow(flow)["name"], "same");
            let said = fleet.task(flow)["stdout"]["head"].clone();
            assert_eq!(said, "hello you, this is p1\n", "{name}");
        }
    }
}

#[test]
fn what_waits_is_waited_for_by_events_and_told_as_lines() {
    let fleet = Fleet::new("p[1-2]").start();
    let ran = fleet.submitjob(&["work", "seconds=2", "-w", "@all", "--wait", "--jsonl"]).exits(0);
    let events: Vec<serde_json::Value> =
        ran.out.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    assert!(events.len() > 4, "{ran}");
}
