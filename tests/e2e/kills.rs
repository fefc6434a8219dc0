//! Scores that do not want to end, and one that leaves a daemon on purpose: with cgroups and
//! without.

use std::time::{Duration, Instant};

use crate::harness::{Cgroup, Fleet, eventually, is_alive};

/// The end is to be reported within `kill_grace`, which is 1 s in the fleets here, plus one second; the
/// rest is for the tools that ask, beside whatever else the machine does.
const REPORTED: Duration = Duration::from_secs(1 + 1 + 5);

/// A fleet of one player, with cgroups or without; `None` where there can be none.
fn fleet(cgroup: Cgroup) -> Option<Fleet> {
    let fleet = Fleet::new("p1").cgroup(cgroup).start();
    if cgroup == Cgroup::Own && !fleet.has_cgroups() {
        println!("not run: no cgroup v2 can be made here");
        return None;
    }
    Some(fleet)
}

fn cancel_ends(cgroup: Cgroup, score: &str) {
    let Some(fleet) = fleet(cgroup) else { return };
    let flow = fleet.submitjob(&[score, "-w", "p1"]).exits(0).id();
    eventually("the start", || (!fleet.record.of("start").is_empty()).then_some(()));
    let since = Instant::now();
    fleet.orc(&["cancel", &flow.to_string()]).exits(0);
    fleet.wait_flow(flow).exits(5);
    let took = since.elapsed();
    assert_eq!(fleet.score_processes(), [], "it survived a cancel");
    assert!(took <= REPORTED, "its end was reported after {took:?}");
    let task = fleet.task(flow);
    assert_eq!(task["state"], "cancelled", "{task}");
    // The player is as it was.
    fleet.submitjob(&["hello", "-w", "p1", "--wait"]).exits(0);
}

fn timeout_ends(cgroup: Cgroup, score: &str, further: &[&str]) {
    let Some(fleet) = fleet(cgroup) else { return };
    let arguments = [&[score, "-w", "p1", "--timeout", "500ms", "--wait"][..], further].concat();
    let flow = fleet.submitjob(&arguments).exits(2).id();
    assert_eq!(fleet.score_processes(), [], "it survived its timeout");
    let task = fleet.task(flow);
    assert_eq!(task["state"], "timed-out", "{task}");
    let took = Duration::from_millis(task["duration_ms"].as_u64().unwrap());
    let least = Duration::from_millis(500);
    assert!(took >= least && took <= least + REPORTED, "it took {took:?}");
}

#[test]
fn a_score_that_ignores_term_is_killed_on_cancel() {
    cancel_ends(Cgroup::Own, "stubborn");
}

#[test]
fn a_score_that_ignores_term_is_killed_on_cancel_without_cgroups() {
    cancel_ends(Cgroup::None, "stubborn");
}

#[test]
fn a_score_that_ignores_term_is_killed_on_timeout() {
    timeout_ends(Cgroup::Own, "stubborn", &[]);
}

#[test]
fn a_score_that_ignores_term_is_killed_on_timeout_without_cgroups() {
    timeout_ends(Cgroup::None, "stubborn", &[]);
}

#[test]
fn a_grandchild_in_its_own_session_does_not_survive_a_cancel() {
    cancel_ends(Cgroup::Own, "escape");
}

#[test]
fn a_grandchild_in_its_own_session_does_not_survive_a_cancel_without_cgroups() {
    cancel_ends(Cgroup::None, "escape");
}

#[test]
fn a_grandchild_in_its_own_session_does_not_survive_a_timeout() {
    timeout_ends(Cgroup::Own, "escape", &[]);
}

#[test]
fn a_grandchild_in_its_own_session_does_not_survive_a_timeout_without_cgroups() {
    timeout_ends(Cgroup::None, "escape", &[]);
}

#[test]
fn a_cancel_reaches_a_score_whose_sitter_was_killed_meanwhile() {
    for cgroup in [Cgroup::Own, Cgroup::None] {
        let Some(fleet) = fleet(cgroup) else { continue };
        let flow = fleet.submitjob(&["escape", "-w", "p1"]).exits(0).id();
        eventually("the start", || (!fleet.record.of("start").is_empty()).then_some(()));
        fleet.player("p1").sitter.kill();
        fleet.orc(&["cancel", &flow.to_string()]).exits(0);
        fleet.player("p1").sitter.start();
        fleet.wait_flow(flow).exits(5);
        assert_eq!(fleet.score_processes(), [], "it survived a cancel");
    }
}

#[test]
fn a_cancel_that_comes_before_the_order_is_kept_in_mind() {
    let fleet = Fleet::new("p1").start();
    fleet.player("p1").sitter.kill();
    fleet.wait_detached("p1");
    let flow = fleet.submitjob(&["work", "-w", "p1"]).exits(0).id();
    fleet.orc(&["cancel", &flow.to_string()]).exits(0);
    fleet.wait_flow(flow).exits(5);
    fleet.player("p1").sitter.start();
    fleet.submitjob(&["hello", "-w", "p1", "--wait"]).exits(0);
    assert_eq!(fleet.record.lines(), []);
    // What has ended stays as it ended.
    fleet.orc(&["cancel", &flow.to_string()]);
    fleet.getstatus(&[&flow.to_string()]).exits(5);
}

#[test]
fn a_true_end_before_the_kill_wins_over_a_cancel() {
    let fleet = Fleet::new("p1").start();
    // It ends well on TERM.
    let body = "#!/bin/sh\ntrap 'echo tidied up; exit 0' TERM\n\
                echo \"start $ORC_TASK $ORC_PLAYER $ORC_ATTEMPT $$\" >>\"$ORC_SCORE_DIR/../record\"\n\
                while :; do sleep 0.02; done\n";
    fleet.score("tidy", body, "");
    fleet.rescan();
    eventually("the score to be known", || {
        fleet.orc(&["scores", "tidy"]).out.contains("p1").then_some(())
    });
    let flow = fleet.submitjob(&["tidy", "-w", "p1"]).exits(0).id();
    eventually("the start", || (!fleet.record.of("start").is_empty()).then_some(()));
    fleet.orc(&["cancel", &flow.to_string()]).exits(0);
    fleet.wait_flow(flow).exits(5);
    let logs = fleet.orc(&["logs", &format!("{flow}@p1")]);
    assert!(logs.out.contains("tidied up"), "{logs}");
}

#[test]
fn a_daemon_that_a_score_leaves_on_purpose_lives_on() {
    for cgroup in [Cgroup::Own, Cgroup::None] {
        let Some(fleet) = fleet(cgroup) else { continue };
        let flow = fleet.submitjob(&["daemonise", "-w", "p1", "--wait"]).exits(0).id();
        assert_eq!(fleet.task(flow)["state"], "ok");
        let daemon = fleet.record.of("daemon")[0].pid;
        assert!(is_alive(daemon), "the daemon did not survive its score");
        // Nor is it taken for a part of another attempt, of the same score or not.
        for score in ["stubborn", "escape"] {
            let arguments = [score, "-w", "p1", "--timeout", "100ms", "--wait"];
            fleet.submitjob(&arguments).exits(2);
            assert!(is_alive(daemon), "the daemon was killed with {score}");
        }
        fleet.run(&["daemonise", "-w", "p1"]);
        // Nor by a sitter that comes later.
        fleet.player("p1").sitter.kill();
        fleet.player("p1").sitter.start();
        fleet.submitjob(&["stubborn", "-w", "p1", "--timeout", "100ms", "--wait"]).exits(2);
        assert!(is_alive(daemon), "the daemon was killed by the next sitter");
    }
}

#[test]
fn output_that_a_daemon_holds_open_does_not_hold_the_result() {
    for cgroup in [Cgroup::Own, Cgroup::None] {
        let Some(fleet) = fleet(cgroup) else { continue };
        // The score ends; its grandchild goes on writing.
        let ran = fleet.submitjob(&["escape", "wait=false", "-w", "p1", "--wait"]).exits(0);
        assert!(ran.took < Duration::from_secs(10), "{ran}");
        let left = fleet.score_processes();
        assert!(!left.is_empty(), "a normal exit leaves what the score left");
        // A killed sitter is no broken pipe to it.
        fleet.player("p1").sitter.kill();
        fleet.player("p1").sitter.start();
        fleet.submitjob(&["hello", "-w", "p1", "--wait"]).exits(0);
        assert!(left.iter().any(|process| is_alive(process.pid)), "it died of a broken pipe");
    }
}
