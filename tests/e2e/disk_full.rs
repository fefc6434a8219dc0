//! Disks without space: nothing is accepted that could be forgotten, nothing that ran is lost, and
//! everything goes on once there is space again.

use std::{
    fs::File,
    io::Write as _,
    process::Command,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::harness::{Daemon, Fleet, eventually};

/// A fleet of one player with small disks; `None`, and said so, where they cannot be had.
fn fleet() -> Option<Fleet> {
    let tried = Command::new("unshare").args(["--mount", "true"]).status();
    if !rustix::process::geteuid().is_root() || !tried.is_ok_and(|status| status.success()) {
        println!("not run: only root can have disks of its own");
        return None;
    }
    Some(Fleet::new("p1").small_disks().start())
}

/// Leaves no space on a daemon's disk.
pub(crate) fn fill(daemon: &Daemon) {
    let mut filler = File::create(daemon.filler()).unwrap();
    // In ever smaller pieces, to the last byte.
    for piece in [1 << 20, 4_096, 1] {
        while filler.write_all(&vec![0; piece]).is_ok() {}
    }
}

pub(crate) fn empty(daemon: &Daemon) {
    std::fs::remove_file(daemon.filler()).unwrap();
}

#[test]
fn a_conductor_without_space_refuses_submissions_and_forgets_nothing() {
    let Some(fleet) = fleet() else { return };
    let before = fleet.run(&["work", "seconds=0", "-w", "p1"]);
    let running = fleet.submitjob(&["work", "seconds=1", "-w", "p1"]).exits(0).id();
    fleet.wait_state(running, "running");
    fill(&fleet.conductor);
    let late = fleet.tool("submitjob", &["work", "seconds=0", "-w", "p1"]).start();
    eventually("the status to tell of the full disk", || {
        let status = fleet.orc(&["conductor", "status"]);
        status.out.contains("nothing is accepted").then_some(())
    });
    eventually("the score to end", || (fleet.record.count("end").len() == 2).then_some(()));
    assert!(fleet.conductor.is_running());
    empty(&fleet.conductor);
    fleet.wait_flow(running).exits(0);
    // Whoever submitted meanwhile was refused, or answered late; never answered and forgotten.
    let late = late.wait();
    match late.code() {
        Some(0) => drop(fleet.wait_flow(late.id()).exits(0)),
        Some(12) => assert_eq!(late.complains("held, not yet taken").out, ""),
        _ => assert_eq!(late.exits(1).complains("nothing was changed").out, ""),
    }
    let status = fleet.orc(&["conductor", "status"]).exits(0);
    assert!(!status.out.contains("nothing is accepted"), "{status}");
    let after = fleet.run(&["work", "seconds=0", "-w", "p1"]);
    for flow in [before, running, after] {
        fleet.getstatus(&[&flow.to_string()]).exits(0);
    }
    fleet.record.nothing_started_twice();
}

#[test]
fn what_is_held_is_told_as_held_within_seconds_and_runs_once() {
    let Some(fleet) = fleet() else { return };
    fleet.run(&["work", "seconds=0", "-w", "p1"]);
    fill(&fleet.conductor);
    let begun = Instant::now();
    let words = ["work", "seconds=0", "-w", "p1", "--name", "mine", "-W", "--wait-timeout", "50s"];
    let held = fleet.submitjob(&words).exits(12).complains("held, not yet taken: no space");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_eq!(held.out, "", "there is no number yet");
    let id = held.err.split("(request ").nth(1).and_then(|text| text.split(')').next()).unwrap();
    let again = |words: &[&str]| fleet.submitjob(&[words, &["--request-id", id]].concat());
    again(&[]).exits(12).complains("held, not yet taken: no space");
    again(&["work", "seconds=0", "-w", "p1", "--name", "mine"]).exits(12).complains(id);
    // What comes now is not held, and nothing comes of it.
    let other = fleet.submitjob(&["work", "seconds=0", "-w", "p1", "--name", "other"]);
    other.exits(1).complains("nothing was changed");
    fleet.orc(&["conductor", "status"]).exits(0).says("nothing is accepted since");
    empty(&fleet.conductor);
    let flow = eventually("the flow to be taken", || {
        let asked = again(&[]);
        (asked.code() == Some(0)).then(|| asked.id())
    });
    fleet.wait_flow(flow).exits(0);
    let words = ["work", "seconds=0", "-w", "p1", "--name", "mine", "--wait"];
    assert_eq!(again(&words).exits(0).id(), flow, "submitted again, it is the same flow");
    assert!(!fleet.orc(&["flows"]).exits(0).out.contains("other"));
    assert_eq!(fleet.record.count("start").len(), 2);
    fleet.record.nothing_started_twice();
}

#[test]
fn a_player_without_space_refuses_new_orders_and_reports_what_runs() {
    let Some(fleet) = fleet() else { return };
    let running = fleet.submitjob(&["work", "seconds=1", "-w", "p1"]).exits(0).id();
    eventually("the start", || (!fleet.record.of("start").is_empty()).then_some(()));
    let sitter = &fleet.player("p1").sitter;
    fill(sitter);
    fleet.wait_for_a_refusal("spool");
    fleet.wait_flow(running).exits(0);
    assert_eq!(fleet.task(running)["state"], json!("ok"));
    empty(sitter);
    // Mended by itself, a moment later.
    eventually("the player to take work again", || {
        let ran = fleet.submitjob(&["work", "seconds=0", "-w", "p1", "--wait"]);
        (ran.code() == Some(0)).then_some(())
    });
    fleet.record.nothing_started_twice();
}
