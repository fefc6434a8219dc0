//! How a flow goes on, or not: canary, quorum, pause, drain, retry, and what becomes of doomed jobs.

use std::collections::BTreeSet;

use serde_json::json;

use crate::harness::{Fleet, eventually};

fn set(hosts: &[&str]) -> BTreeSet<String> {
    hosts.iter().map(|host| (*host).to_owned()).collect()
}

#[test]
fn the_others_wait_for_the_canary_and_for_a_person() {
    let fleet = Fleet::new("p[1-4]").start();
    let flow = fleet.submitjob(&["gate", "-w", "@all", "--canary", "25%"]).exits(0).id();
    let id = flow.to_string();
    assert_eq!(fleet.wait_settled(flow, &["canary"]), set(&["p1"]));
    fleet.go("p[1-4]");
    eventually("the canary to be ok", || {
        (fleet.states(flow)[&format!("{flow}.1.1@p1")] == "ok").then_some(())
    });
    // Waiting for a person who has been asked is not stalled.
    let waits = || {
        assert_eq!(fleet.wait_settled(flow, &["canary"]), BTreeSet::new());
        assert_eq!(fleet.flow(flow)["state"], "running");
        fleet.orc(&["explain", &id]).exits(0).says("orc promote");
    };
    waits();
    fleet.crash_conductor();
    fleet.start_players();
    waits();
    assert_eq!(fleet.record.of("start").len(), 1);
    fleet.orc(&["promote", &id]).exits(0);
    fleet.wait_flow(flow).exits(0);
    fleet.record.nothing_started_twice();

    let flow = fleet.run(&["work", "seconds=0", "-w", "@all", "--canary", "1", "--bake", "300ms"]);
    let lines = fleet.record.lines();
    let of_flow = lines.iter().filter(|line| line.task.starts_with(&format!("{flow}.")));
    let first: Vec<&str> = of_flow.map(|line| line.what.as_str()).take(2).collect();
    assert_eq!(first, ["start", "end"]);
}

#[test]
fn nothing_starts_before_there_is_a_quorum() {
    let fleet = Fleet::new("p[1-3]").start();
    fleet.player("p3").sitter.kill();
    fleet.wait_detached("p3");
    let flow = fleet.submitjob(&["gate", "-w", "@all", "--quorum", "100%"]).exits(0).id();
    assert_eq!(fleet.wait_settled(flow, &["quorum"]), BTreeSet::new());
    fleet.orc(&["explain", &flow.to_string()]).exits(0).says("below 3");
    fleet.player("p3").sitter.start();
    eventually("all to run", || {
        (fleet.wait_settled(flow, &["quorum"]) == set(&["p1", "p2", "p3"])).then_some(())
    });
    fleet.go("p[1-3]");
    fleet.wait_flow(flow).exits(0);
}

#[test]
fn a_paused_flow_starts_nothing_until_it_is_resumed() {
    let fleet = Fleet::new("p[1-3]").start();
    let job = |name: &str| json!({"name": name, "score": "gate", "targets": "@all", "parallel": 1});
    let slots = json!([{"jobs": [job("first")]}, {"jobs": [job("second")]}]);
    let flow = fleet.submit_flow(&json!({"slots": slots}));
    let id = flow.to_string();
    eventually("a start", || (!fleet.record.busy().is_empty()).then_some(()));
    fleet.orc(&["pause", &id]).exits(0);
    // What runs goes on to its end.
    assert_eq!(fleet.record.busy(), set(&["p1"]));
    fleet.go("p[1-3]");
    let paused = || {
        eventually("nothing of it to run", || {
            fleet.wait_settled(flow, &["paused", "slot"]).is_empty().then_some(())
        });
        assert_eq!(fleet.flow(flow)["state"], "paused");
        fleet.getstatus(&[&id]).exits(7).says("paused").says("alice");
    };
    paused();
    fleet.crash_conductor();
    fleet.start_players();
    paused();
    assert_eq!(fleet.record.of("start").len(), 1);
    fleet.orc(&["resume", &id]).exits(0);
    fleet.wait_flow(flow).exits(0);
    assert_eq!(fleet.record.of("end").len(), 6);
    fleet.record.nothing_started_twice();
}

#[test]
fn a_drained_player_ends_what_it_runs_and_starts_nothing() {
    let fleet = Fleet::new("p[1-2]").start();
    let running = fleet.submitjob(&["gate", "-w", "p2"]).exits(0).id();
    fleet.wait_state(running, "running");
    fleet.orc(&["drain", "p2", "--reason", "disk is replaced"]).exits(0).says("p2");
    let waiting = fleet.submitjob(&["hello", "-w", "@all"]).exits(0).id();
    let waits = || {
        eventually("p1 to have ended", || {
            fleet.wait_settled(waiting, &["player-drained"]).is_empty().then_some(())
        });
        assert_eq!(fleet.states(waiting)[&format!("{waiting}.1.1@p2")], "waiting");
        let explained = fleet.orc(&["explain", &format!("{waiting}@p2")]).exits(0);
        explained.says("disk is replaced").says("alice").says("orc undrain");
        fleet.orc(&["players", "--drained"]).exits(0).says("p2").says("disk is replaced");
    };
    waits();
    assert_eq!(fleet.task(running)["state"], "running");
    fleet.go("p2");
    fleet.wait_flow(running).exits(0);
    fleet.crash_conductor();
    fleet.start_players();
    waits();
    fleet.orc(&["undrain", "p2"]).exits(0).says("p2");
    fleet.wait_flow(waiting).exits(0);
}

#[test]
fn an_ended_flow_is_retried_as_a_new_one_of_what_is_left() {
    let fleet = Fleet::new("p[1-3]").players_off().start();
    let body = |verdict: &str| {
        let start = "echo \"start $ORC_TASK $ORC_PLAYER $ORC_ATTEMPT $$\"";
        format!("#!/bin/sh\n{start} >>\"$ORC_SCORE_DIR/../record\"\n{verdict}\n")
    };
    let conf = "[params.version]\n[params.token]\nsensitive = true\n";
    fleet.score("deploy", &body("[ \"$ORC_PLAYER\" != p2 ]"), conf);
    fleet.start_players();
    let job = |name: &str| {
        let params = json!({"version": "7", "token": "t0"});
        json!({"name": name, "score": "deploy", "targets": "@all", "params": params})
    };
    let slots = json!([{"jobs": [job("first")]}, {"jobs": [job("second")]}]);
    let flow = fleet.submit_flow(&json!({"slots": slots}));
    fleet.wait_flow(flow).exits(2);
    fleet.mend_score("deploy", &body("[ \"$ORC_version $ORC_token\" = '7 t1' ]"));
    let id = flow.to_string();
    // What may be secret was erased when it ended.
    fleet.orc(&["retry", &id]).complains("first/token").complains("second/token");
    let retry = ["retry", &id, "--set", "first/token=t1", "--set", "second/token=t1"];
    let again = fleet.orc(&retry).exits(0).id();
    assert_ne!(again, flow);
    fleet.wait_flow(again).exits(0);
    assert_eq!(fleet.flow(again)["retry_of"], flow);
    let states = fleet.states(again);
    let ran: Vec<&str> = states.keys().map(String::as_str).collect();
    let expected = ["1.1@p2", "2.1@p1", "2.1@p2", "2.1@p3"].map(|task| format!("{again}.{task}"));
    assert_eq!(ran, expected);
    // What ended stays as it ended.
    assert_eq!(fleet.flow(flow)["state"], "failed");
    assert_eq!(fleet.states(flow)[&format!("{flow}.1.1@p2")], "failed");
}

#[test]
fn a_doomed_job_may_kill_what_still_runs() {
    let fleet = Fleet::new("p[1-2]").players_off().start();
    let score = "#!/bin/sh\n[ \"$ORC_PLAYER\" = p1 ] || exec sleep 1000\n\
                 until [ -e \"$ORC_SCORE_DIR/../gates/p1\" ]; do sleep 0.05; done\nexit 1\n";
    fleet.score("half", score, "");
    fleet.start_players();
    let flow = fleet.submitjob(&["half", "-w", "@all", "--on-doomed", "cancel"]).exits(0).id();
    eventually("both to run", || (fleet.wait_settled(flow, &[]).len() == 2).then_some(()));
    fleet.go("p1");
    fleet.wait_flow(flow).exits(2);
    let states: Vec<String> = fleet.states(flow).into_values().collect();
    assert_eq!(states, ["failed", "cancelled"]);
    fleet.wait_no_score_runs();
}
