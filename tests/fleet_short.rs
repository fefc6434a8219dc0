//! Every scenario of the fleet emulator, small: each checks that every task was executed once and
//! has one verdict. Speed is not looked at.

#![expect(clippy::expect_used, reason = "a test fails by it")]

use std::{path::Path, process::Command};

use serde_json::Value;

/// Runs some scenarios over 50 players.
fn check(scenarios: &[&str]) {
    check_with(scenarios, &[]);
}

fn check_with(scenarios: &[&str], options: &[&str]) {
    let fleet = Path::new(env!("CARGO_BIN_EXE_fleet"));
    let conductor = fleet.with_file_name("conductor");
    assert!(conductor.is_file(), "cargo build --workspace --bins makes {}", conductor.display());
    let ran = Command::new(fleet)
        .args(scenarios)
        .args(options)
        .args(["--players", "50", "--short", "--json"])
        .output()
        .expect("the program can be started");
    let (out, err) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{scenarios:?}\n{out}\n{err}");
    let documents: Vec<Value> =
        out.lines().map(|line| serde_json::from_str(line).expect("a document on a line")).collect();
    assert_eq!(documents.len(), scenarios.len(), "{out}");
    for (document, scenario) in documents.iter().zip(scenarios) {
        assert_eq!(document["scenario"], *scenario);
        let checked = document["checked_tasks"].as_f64().expect("a number");
        assert!(checked >= 50.0, "{document}");
    }
}

#[test]
fn players_come_and_stay() {
    check(&["attach", "idle"]);
}

#[test]
fn every_task_has_one_verdict() {
    check(&["ping", "throughput", "exec"]);
}

#[test]
fn no_cell_is_exceeded() {
    check(&["constrained"]);
}

#[test]
fn a_killed_conductor_loses_nothing() {
    check(&["reconnect"]);
}

#[test]
fn a_conductor_goes_on_with_the_flows_of_its_store() {
    check(&["restart"]);
    check_with(&["restart"], &["--constrained"]);
}

#[test]
fn neither_listing_nor_slow_players_lose_anything() {
    check(&["listing", "slow"]);
}
