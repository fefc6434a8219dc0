//! Cells and who holds them: over flows, failures, restarts and reloads.

use rustix::process::Signal;
use serde_json::json;

use crate::harness::{Fleet, eventually};

/// At most one frontend at a time.
const ONE_FRONTEND: &str = "\
shop:
  apps: {frontend: 'fe[1-3]'}
  envs: {cluster: {east: 'fe[1-3]'}}
  constraints: {cluster: {concurrency: {frontend: 1}}}
";

/// At most two of six at a time.
const TWO_OF_SIX: &str = "\
shop:
  apps: {web: 'h[1-6]'}
  envs: {cluster: {east: 'h[1-6]'}}
  constraints: {cluster: {concurrency: {web: 2}}}
";

/// A score that fails on fe1, and its mended version.
fn deploy(broken: bool) -> String {
    let verdict = if broken { "[ \"$ORC_PLAYER\" != fe1 ]" } else { "true" };
    let record = "echo \"$1 $ORC_TASK $ORC_PLAYER $ORC_ATTEMPT $$\" >>\"$ORC_SCORE_DIR/../record\"";
    format!("#!/bin/sh\nnote() {{\n    {record}\n}}\nnote start\nnote end\n{verdict}\n")
}

/// A fleet whose fe1 has failed, which leaves it down; the flow that stalls on it.
fn stalled() -> (Fleet, u64) {
    let fleet = Fleet::new("fe[1-3]").deployment(ONE_FRONTEND).players_off().start();
    fleet.score("deploy", &deploy(true), "");
    fleet.start_players();
    let flow = fleet.submitjob(&["deploy", "-w", "@frontend", "--success", "1"]).exits(0).id();
    fleet.wait_flow_state(flow, "stalled");
    (fleet, flow)
}

#[test]
fn a_failed_frontend_keeps_its_cell_until_a_retry_with_a_mended_score() {
    let (fleet, flow) = stalled();
    let other = fleet.submitjob(&["deploy", "-w", "fe3"]).exits(0).id();
    fleet.wait_flow_state(other, "stalled");
    let told = || {
        for stalled in [flow, other] {
            let id = stalled.to_string();
            let status = fleet.getstatus(&[&id]).exits(7);
            // Which host, which cell, whose flow.
            status.says("stalled").says("fe1").says("frontend").says(&flow.to_string());
            fleet.orc(&["explain", &id]).exits(0).says("fe1").says("orc ledger release");
        }
        fleet.orc(&["explain", &format!("{other}@fe3")]).exits(0).says("fe1").says("failed");
        fleet.orc(&["ledger"]).exits(0).says("fe1").says("failed").says("shop");
    };
    told();
    // It is not forgotten.
    fleet.crash_conductor();
    fleet.wait_flow_state(flow, "stalled");
    fleet.wait_flow_state(other, "stalled");
    told();
    assert_eq!(fleet.record.of("start").len(), 1);

    fleet.mend_score("deploy", &deploy(false));
    fleet.orc(&["retry", &flow.to_string()]).exits(0);
    fleet.wait_flow(flow).exits(0);
    fleet.wait_flow(other).exits(0);
    let attempts: Vec<u64> =
        fleet.tasks(flow).iter().map(|task| task["attempt"].as_u64().unwrap()).collect();
    assert_eq!(attempts, [2, 1, 1]);
    assert_eq!(fleet.record.most_at_once(|_| true), 1);
    let ledger = fleet.orc(&["ledger"]).exits(0);
    assert!(!ledger.out.contains("fe1"), "{ledger}");
}

#[test]
fn an_ended_flow_leaves_its_holds_to_the_flow_that_retries_it() {
    let fleet = Fleet::new("fe[1-3]").deployment(ONE_FRONTEND).players_off().start();
    fleet.score("deploy", &deploy(true), "");
    fleet.start_players();
    let failed = fleet.run(&["deploy", "-w", "fe[1-2]"]);
    assert_eq!(fleet.flow(failed)["state"], "failed");
    let waiting = fleet.submitjob(&["deploy", "-w", "fe3"]).exits(0).id();
    fleet.wait_flow_state(waiting, "stalled");
    fleet.mend_score("deploy", &deploy(false));
    let again = fleet.orc(&["retry", &failed.to_string()]).exits(0).id();
    fleet.wait_flow(again).exits(0);
    fleet.wait_flow(waiting).exits(0);
    let record: Vec<String> = fleet.record.of("start").into_iter().map(|line| line.task).collect();
    let first = [format!("{failed}.1.1@fe1"), format!("{again}.1.1@fe1")];
    assert_eq!(record[..2], first);
    assert_eq!(record.len(), 4);
}

#[test]
fn what_comes_after_a_failed_host_waits_unless_told_to_go_on() {
    let deployment = "\
shop:
  apps: {backend: 'be[1-2]', frontend: 'fe[1-2]'}
  envs: {cluster: {east: 'be1,fe1', west: 'be2,fe2'}}
  constraints: {cluster: {sequence: [[backend, frontend]]}}
";
    let fleet = Fleet::new("be[1-2],fe[1-2]").deployment(deployment).players_off().start();
    fleet.score("deploy", &deploy(true).replace("fe1", "be1"), "");
    fleet.start_players();
    let flow = |on_failure: &str| {
        let job = json!({"score": "deploy", "targets": "@backend,@frontend", "success": 3,
                         "sequence_on_failure": on_failure});
        fleet.submit_flow(&json!({"slots": [{"jobs": [job]}]}))
    };
    let states = |flow: u64| -> Vec<String> { fleet.states(flow).into_values().collect() };
    let waits = flow("wait");
    fleet.wait_flow_state(waits, "stalled");
    // East alone: west went on.
    assert_eq!(states(waits), ["failed", "ok", "waiting", "ok"]);
    fleet.orc(&["explain", &format!("{waits}@fe1")]).exits(0).says("be1").says("orc retry");
    let goes_on = flow("continue");
    fleet.wait_flow(goes_on).exits(0);
    assert_eq!(states(goes_on), ["failed", "ok", "ok", "ok"]);
    // Another flow's backends are not what it waits for.
    assert_eq!(fleet.flow(waits)["state"], "stalled");
    fleet.mend_score("deploy", &deploy(false));
    fleet.orc(&["retry", &waits.to_string()]).exits(0);
    fleet.wait_flow(waits).exits(0);
    assert_eq!(states(waits), ["ok", "ok", "ok", "ok"]);
}

#[test]
fn an_abandoned_task_is_lost_and_its_host_stays_down() {
    let fleet = Fleet::new("fe[1-3]").deployment(ONE_FRONTEND).start();
    let flow = fleet.submitjob(&["gate", "-w", "fe2"]).exits(0).id();
    fleet.wait_state(flow, "running");
    fleet.player("fe2").sitter.kill();
    fleet.wait_detached("fe2");
    let id = flow.to_string();
    fleet.orc(&["cancel", &id]).exits(0);
    fleet.wait_flow_state(flow, "cancelling");
    fleet.orc(&["cancel", &id, "--abandon"]).exits(0);
    fleet.wait_flow(flow).exits(5);
    assert_eq!(fleet.task(flow)["state"], "lost");
    fleet.orc(&["ledger"]).exits(0).says("fe2").says("lost");
    // What ended on the player is reported when it is back, and changes neither.
    fleet.go("fe2");
    fleet.start_players();
    let waiting = fleet.submitjob(&["work", "seconds=0", "-w", "fe1"]).exits(0).id();
    fleet.wait_flow_state(waiting, "stalled");
    assert_eq!(fleet.task(flow)["state"], "lost");
    fleet.orc(&["ledger", "release", "fe2", "--reason", "looked at it"]).exits(0);
    fleet.wait_flow(waiting).exits(0);
}

#[test]
fn a_released_host_gives_its_cell_back() {
    let (fleet, flow) = stalled();
    let release = ["ledger", "release", "fe[1-2]", "--reason", "serves again"];
    let released = fleet.orc(&release).exits(0);
    assert!(released.out.contains("fe1") && !released.out.contains("fe2"), "{released}");
    // One of three is what was asked for, and two are ok.
    fleet.wait_flow(flow).exits(0);
    assert_eq!(fleet.states(flow)[&format!("{flow}.1.1@fe1")], "failed");
    assert_eq!(fleet.record.of("start").len(), 3);
}

#[test]
fn a_killed_task_leaves_its_host_down_until_a_later_change_succeeds_there() {
    let fleet = Fleet::new("fe[1-3]").deployment(ONE_FRONTEND).start();
    let killed = fleet.submitjob(&["gate", "-w", "fe2"]).exits(0).id();
    fleet.wait_state(killed, "running");
    let waiting = fleet.submitjob(&["work", "seconds=0", "-w", "fe1"]).exits(0).id();
    fleet.wait_settled(waiting, &["cell"]);
    fleet.orc(&["cancel", &killed.to_string()]).exits(0);
    fleet.wait_flow(killed).exits(5);
    fleet.wait_flow_state(waiting, "stalled");
    // A look says nothing of the host.
    fleet.submitjob(&["look", "-w", "fe2", "--wait"]).exits(0);
    assert_eq!(fleet.flow(waiting)["state"], "stalled");
    // What holds the cell may go on in it.
    fleet.submitjob(&["work", "seconds=0", "-w", "fe2", "--wait"]).exits(0);
    fleet.wait_flow(waiting).exits(0);
}

#[test]
fn the_limit_holds_over_two_flows_and_a_job_by_hand_and_a_restart() {
    let fleet = Fleet::new("h[1-6]").deployment(TWO_OF_SIX).start();
    let gate =
        |targets: &str| json!({"slots": [{"jobs": [{"score": "gate", "targets": targets}]}]});
    let flows = [
        fleet.submit_flow(&gate("h[1-4]")),
        fleet.submit_flow(&gate("h[3-6]")),
        fleet.submitjob(&["gate", "-w", "h[5-6]"]).exits(0).id(),
    ];
    let full = || {
        let busy = flows.iter().flat_map(|flow| fleet.wait_settled(*flow, &["cell"]));
        let hosts: std::collections::BTreeSet<String> = busy.collect();
        assert_eq!(hosts.len(), 2, "{hosts:?}");
        hosts
    };
    let before = full();
    // Neither a look nor a job that says so waits for anything.
    fleet.submitjob(&["look", "-w", "@all", "--wait"]).exits(0);
    let unthrottled = ["work", "seconds=0", "-w", "h6", "--unthrottled", "--wait"];
    fleet.submitjob(&unthrottled).exits(0);
    fleet.crash_conductor();
    fleet.start_players();
    assert_eq!(full(), before);
    fleet.submitjob(&["look", "-w", "@all", "--wait"]).exits(0);
    fleet.go("h[1-6]");
    for flow in flows {
        fleet.wait_flow(flow).exits(0);
    }
    fleet.record.nothing_started_twice();
    let unthrottled = fleet.record.of("start").iter().filter(|line| line.host() == "h6").count();
    assert_eq!(unthrottled, 3);
    // `work` on h6 came and went while two others held the cell.
    let gated = |host: &str| host != "h6";
    assert!(fleet.record.most_at_once(gated) <= 2);
}

#[test]
fn a_broken_file_changes_no_limit_and_a_good_one_does_at_once() {
    let fleet = Fleet::new("h[1-6]").deployment(TWO_OF_SIX).start();
    let flow = fleet.submitjob(&["gate", "-w", "@web"]).exits(0).id();
    let busy = || fleet.wait_settled(flow, &["cell"]).len();
    eventually("two to run", || (busy() == 2).then_some(()));
    let shown = fleet.orc(&["deployment", "show", "shop"]).exits(0).out;
    for (broken, told) in [
        (TWO_OF_SIX.replace("web: 2", "web: 0"), "web is 0"),
        (TWO_OF_SIX.replace("web: 2", "wbe: 2"), "wbe"),
        (TWO_OF_SIX.replace("h[1-6]", "h[1-"), "h[1-"),
        (TWO_OF_SIX.replace("east: 'h[1-6]'", "east: 'h7'"), "does not name: h7"),
        (String::new(), "web.yaml"),
    ] {
        fleet.write_deployment(&broken);
        fleet.conductor.signal(Signal::HUP);
        eventually(&format!("the status to tell of {told}"), || {
            let status = fleet.orc(&["conductor", "status"]).exits(0);
            (status.out.contains("the last reload changed nothing") && status.out.contains(told))
                .then_some(())
        });
        fleet.orc(&["conductor", "reload"]).exits(1).complains("web.yaml").complains(told);
        fleet.orc(&["deployment", "show", "shop"]).exits(0).says(&shown);
        assert_eq!(busy(), 2, "{broken}");
    }
    // A restart with a broken file is no way around it either.
    fleet.conductor.kill();
    fleet.conductor.start();
    assert!(!fleet.conductor.wait().success());
    assert!(fleet.conductor.log_tail().contains("web.yaml"), "{}", fleet.conductor.log_tail());

    fleet.write_deployment(&TWO_OF_SIX.replace("web: 2", "web: 50%"));
    fleet.start_conductor();
    fleet.start_players();
    eventually("three to run", || (busy() == 3).then_some(()));
    // Below what is held: those go on, and nobody else starts.
    fleet.write_deployment(&TWO_OF_SIX.replace("web: 2", "web: 1"));
    fleet.orc(&["conductor", "reload"]).exits(0);
    let running: Vec<String> = fleet.wait_settled(flow, &["cell"]).into_iter().collect();
    let [first, second, third] = &running[..] else { panic!("{running:?}") };
    fleet.go(&format!("{first},{second}"));
    let left = std::collections::BTreeSet::from([third.clone()]);
    eventually("one to run", || (fleet.wait_settled(flow, &["cell"]) == left).then_some(()));
    assert_eq!(fleet.record.of("start").len(), 3);
    fleet.go("h[1-6]");
    fleet.wait_flow(flow).exits(0);
}
