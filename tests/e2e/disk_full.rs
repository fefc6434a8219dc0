//! Disks without space: nothing is accepted that could be forgotten, nothing that ran is lost, and
//! everything goes on once there is space again.

use std::{fs::File, io::Write as _, process::Command};

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
fn fill(daemon: &Daemon) {
    let mut filler = File::create(daemon.filler()).unwrap();
    // In ever smaller pieces, to the last byte.
    for piece in [1 << 20, 4_096, 1] {
        while filler.write_all(&vec![0; piece]).is_ok() {}
    }
}

fn empty(daemon: &Daemon) {
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
    if late.code() == Some(0) {
        fleet.wait_flow(late.id()).exits(0);
    } else {
        let refused = late.exits(1).complains("again");
        assert_eq!(refused.out, "");
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
fn a_player_without_space_refuses_new_orders_and_reports_what_runs() {
    let Some(fleet) = fleet() else { return };
    let running = fleet.submitjob(&["work", "seconds=1", "-w", "p1"]).exits(0).id();
    eventually("the start", || (!fleet.record.of("start").is_empty()).then_some(()));
    let sitter = &fleet.player("p1").sitter;
    fill(sitter);
    // A journal that ends within a block has some space left.
    let refused = eventually("an order to be refused", || {
        let ran = fleet.submitjob(&["work", "seconds=0", "-w", "p1", "--wait"]);
        (ran.code() != Some(0)).then(|| ran.exits(2).id())
    });
    let task = fleet.task(refused);
    assert_eq!(task["state"], "refused", "{task}");
    assert!(task["detail"].as_str().unwrap().contains("spool"), "{task}");
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
