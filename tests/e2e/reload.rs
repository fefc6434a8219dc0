//! SIGHUP to the conductor: players that come and go, and files that are broken.

use rustix::process::Signal;
use serde_json::json;

use crate::harness::{Fleet, eventually};

#[test]
fn a_reload_removes_a_player_that_waits_one_that_runs_and_adds_one() {
    let mut fleet =
        Fleet::new("p[1-3]").conductor_tables("[limits]\nreload_removal = \"100%\"\n").start();
    // p1 takes one task at a time: the second flow waits for it.
    let running = fleet.submitjob(&["gate", "-w", "p2"]).exits(0).id();
    fleet.wait_state(running, "running");
    fleet.player("p1").sitter.kill();
    fleet.wait_detached("p1");
    let waiting = fleet.submitjob(&["work", "seconds=0", "-w", "p[1,3]"]).exits(0).id();
    fleet.write_players("p3 # and nobody else\nnew[1-2]\n");
    fleet.conductor.signal(Signal::HUP);

    fleet.wait_flow(running).exits(2);
    let task = fleet.task(running);
    assert_eq!((&task["state"], &task["detail"]), (&json!("lost"), &json!("player removed")));
    fleet.wait_flow(waiting);
    let states = fleet.states(waiting);
    assert_eq!(states[&format!("{waiting}.1.1@p1")], "cancelled");
    assert_eq!(states[&format!("{waiting}.1.1@p3")], "ok");
    // They are gone, and stay out, for a reason that both ends can read.
    fleet.wait_detached("p2");
    fleet.submitjob(&["hello", "-w", "p2"]).exits(3).complains("p2");
    let told = "does not know p2: add it to its players file";
    eventually("p2 to say why it has no conductor", || {
        fleet.player("p2").sitter.log().contains(told).then_some(())
    });
    eventually("the conductor to say so too", || {
        fleet.conductor.log().contains(told).then_some(())
    });

    fleet.add_player("new1").sitter.start();
    fleet.wait_attached(&["p3", "new1"]);
    fleet.submitjob(&["hello", "-w", "new1", "--wait"]).exits(0);
    // The score of the removed player was left alone, and ran once.
    fleet.go("p2");
    eventually("the end of what ran", || {
        fleet.record.count("end").contains_key(&format!("{running}.1.1@p2")).then_some(())
    });
    fleet.record.nothing_started_twice();
}

#[test]
fn a_reload_of_a_broken_file_changes_nothing_and_says_so() {
    let fleet = Fleet::new("p[1-2]").start();
    let running = fleet.submitjob(&["work", "seconds=1", "-w", "@all"]).exits(0).id();
    for (broken, told) in [
        ("p1\np[2-\n", "players: line 2"),
        ("p1 what?\n", "players: line 1"),
        ("p1\n../p2\n", "players: line 2"),
    ] {
        fleet.write_players(broken);
        fleet.conductor.signal(Signal::HUP);
        eventually(&format!("the status to tell of {told}"), || {
            let status = fleet.orc(&["conductor", "status"]).exits(0);
            (status.out.contains("the last reload changed nothing") && status.out.contains(told))
                .then_some(())
        });
        fleet.orc(&["conductor", "reload"]).exits(1).complains(told);
    }
    eventually("the log to say so", || {
        fleet.conductor.log().contains("reload refused, nothing changed").then_some(())
    });
    assert_eq!(fleet.attached(), ["p1", "p2"]);
    fleet.wait_flow(running).exits(0);

    fleet.write_players("p[1-2] cluster=east\n");
    fleet.orc(&["conductor", "reload"]).exits(0);
    let status = fleet.orc(&["conductor", "status"]).exits(0);
    assert!(!status.out.contains("changed nothing"), "{status}");
    fleet.submitjob(&["hello", "-w", "@cluster=east", "--wait"]).exits(0);
}

#[test]
fn a_reload_that_would_remove_half_the_fleet_is_refused_unless_allowed() {
    let fleet = Fleet::new("p[1-4]").start();
    fleet.write_players("p[1-2]\n");
    fleet.conductor.signal(Signal::HUP);
    eventually("the refusal", || {
        let status = fleet.orc(&["conductor", "status", "--json"]).exits(0).json();
        let error = status["conductor"]["reload_error"].as_str()?.to_owned();
        assert!(error.contains("orc conductor reload --allow-removal"), "{error}");
        Some(())
    });
    assert_eq!(fleet.attached().len(), 4);
    fleet.submitjob(&["hello", "-w", "p4", "--wait"]).exits(0);
    // A restart is no way around it.
    fleet.conductor.kill();
    fleet.conductor.start();
    assert!(!fleet.conductor.wait().success());
    assert!(
        fleet.conductor.log_tail().contains("--allow-removal"),
        "{}",
        fleet.conductor.log_tail()
    );
    fleet.write_players("p[1-4]\n");
    fleet.start_conductor();
    fleet.wait_attached(&["p1", "p2", "p3", "p4"]);

    fleet.write_players("p[1-2]\n");
    fleet.orc(&["conductor", "reload", "--allow-removal"]).exits(0).says("2 removed");
    assert_eq!(fleet.attached(), ["p1", "p2"]);
    fleet.submitjob(&["hello", "-w", "p4", "--wait"]).exits(3);
}
