//! Services while something of Orchestra is away: conductor, agent, player, disk.

use std::{net::TcpListener, process::Command};

use rustix::process::Signal;

use crate::{
    disk_full::{empty, fill},
    harness::{Fleet, eventually},
    services::kill,
};

/// Asked each 100 ms at this port.
fn probed(port: u16) -> String {
    format!("health: {{tcp: {port}, every: 100ms, timeout: 100ms, fall: 2, rise: 2}}\n")
}

#[test]
fn a_service_restarts_is_probed_and_writes_while_the_conductor_is_away() {
    let fleet = Fleet::new("p1").start();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let file = fleet.service_file("p1", &probed(port));
    fleet.orc(&["service", "apply", &file, "--wait"]).exits(0);
    fleet.conductor.kill();
    for _ in 0..3 {
        let (run, pid) = fleet.newest_runs()["p1"];
        kill(pid);
        eventually("the next run", || (fleet.newest_runs()["p1"].0 > run).then_some(()));
    }
    drop(listener);
    let log = || fleet.player("p1").sitter.log();
    eventually("a verdict", || log().contains("state=unhealthy").then_some(()));
    fleet.start_conductor();
    let unit = eventually("to be told", || {
        let service = fleet.service();
        let unit = service["instances"][0].clone();
        (unit["state"] == "unhealthy").then_some(unit)
    });
    assert_eq!((&unit["restarts"], &unit["run"]), (&3.into(), &4.into()), "{unit}");
    assert!(unit.to_string().contains("connection refused"), "{unit}");
    let said = fleet.orc(&["logs", "web/1", "--all"]).exits(0).out;
    let wanted: String = (1..=4).map(|run| format!("run {run} says hello\n")).collect();
    assert_eq!(said, wanted);
    let _listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    fleet.wait_ready(1);
    fleet.no_run_was_doubled();
}

/// An agent that is stopped says nothing and closes nothing.
#[test]
fn a_service_restarts_while_its_players_agent_is_stopped() {
    let fleet = Fleet::new("p1").start();
    let file = fleet.service_file("p1", "");
    fleet.orc(&["service", "apply", &file, "--wait"]).exits(0);
    let player = fleet.player("p1");
    player.signal_agent(Signal::STOP);
    for _ in 0..5 {
        let (run, pid) = fleet.newest_runs()["p1"];
        kill(pid);
        eventually("the next run", || (fleet.newest_runs()["p1"].0 > run).then_some(()));
    }
    player.signal_agent(Signal::CONT);
    eventually("to be told of all of them", || {
        let unit = fleet.service()["instances"][0].take();
        (unit["restarts"] == 5 && unit["state"] == "ready").then_some(())
    });
    fleet.no_run_was_doubled();
}

/// What nobody wants any more does not live on because its player was away when that was said.
#[test]
fn what_was_removed_while_its_player_was_away_ends_when_it_returns() {
    let fleet = Fleet::new("p[1-2]").start();
    let file = fleet.service_file("p[1-2]", "");
    fleet.orc(&["service", "apply", &file, "--wait"]).exits(0);
    let player = fleet.player("p1");
    player.sitter.kill();
    fleet.wait_detached("p1");
    let (_, pid) = fleet.newest_runs()["p1"];
    fleet.orc(&["service", "remove", "web", "--yes"]).exits(0);
    let lives = || std::fs::exists(format!("/proc/{pid}/stat")).unwrap();
    eventually("the other host to be done", || {
        let service = fleet.service();
        (service["instances"].as_array()?.len() == 1).then_some(())
    });
    assert!(lives(), "nobody is there to end it");
    // Also where nobody remembers it but the store.
    fleet.crash_conductor();
    player.sitter.start();
    fleet.wait_no_score_runs();
    eventually("it to be gone", || {
        fleet.service()["instances"].as_array()?.is_empty().then_some(())
    });
    fleet.no_run_was_doubled();
}

#[test]
fn a_service_goes_on_where_its_player_has_no_space_and_orders_are_refused_with_the_reason() {
    let tried = Command::new("unshare").args(["--mount", "true"]).status();
    if !rustix::process::geteuid().is_root() || !tried.is_ok_and(|status| status.success()) {
        return println!("not run: only root can have disks of its own");
    }
    let fleet = Fleet::new("p1").small_disks().start();
    let file = fleet.service_file("p1", "");
    fleet.orc(&["service", "apply", &file, "--wait"]).exits(0);
    let (_, pid) = fleet.newest_runs()["p1"];
    let sitter = &fleet.player("p1").sitter;
    fill(sitter);
    fleet.wait_for_a_refusal("space");
    assert_eq!(fleet.newest_runs()["p1"], (1, pid), "it goes on");
    empty(sitter);
    kill(pid);
    eventually("the next run", || (fleet.newest_runs()["p1"].0 > 1).then_some(()));
    fleet.wait_ready(1);
    fleet.no_run_was_doubled();
}
