//! Every scenario of the fleet emulator, small: each checks that every task was executed once and
//! has one verdict. Of speed only what no noise explains: ratios of one run, an order of magnitude
//! below what they are.

#![expect(clippy::expect_used, reason = "a test fails by it")]

use std::{path::Path, process::Command};

use serde_json::Value;

/// Runs some scenarios over 50 players.
fn check(scenarios: &[&str]) -> Vec<Value> {
    check_with(scenarios, &[])
}

fn check_with(scenarios: &[&str], options: &[&str]) -> Vec<Value> {
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
    documents
}

#[test]
fn players_come_and_stay() {
    check(&["attach", "idle"]);
}

#[test]
fn every_task_has_one_verdict() {
    let documents = check(&["ping", "throughput", "exec"]);
    // Half of the raw rate, or a tenth on a busy machine; by fork instead of vfork, or with a sync
    // for each step, a hundredth.
    let ratio = documents[2]["ratio"]["median"].as_f64().expect("a number");
    assert!(ratio > 0.02, "spawns at {ratio} of the raw rate");
}

#[test]
fn no_cell_is_exceeded() {
    let documents = check(&["constrained"]);
    let ratio = documents[0]["ratio"].as_f64().expect("a number");
    assert!(ratio > 0.1, "with cells at {ratio} of the rate without");
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
fn services_cost_no_more_than_a_few_times_what_tasks_do() {
    let documents = check(&["services"]);
    let median = |what: &str| documents[0][what]["median"].as_f64().expect("a number");
    // About as long as the tasks; by a write for each instance, or a look at all, ten times.
    for what in ["ready_s", "placed_s"] {
        let ratio = median(what) / median("tasks_s");
        assert!(ratio < 10.0, "{what} is {ratio} times that of tasks");
    }
}

#[test]
fn everybody_who_waited_is_told_everything() {
    check(&["waiters"]);
}

#[test]
fn what_many_write_comes_once_and_is_followed() {
    let documents = check(&["gather", "follow"]);
    assert_eq!(documents[0]["copies"], 3.0, "{}", documents[0]);
}

#[test]
fn neither_listing_nor_slow_players_lose_anything() {
    check(&["listing", "slow"]);
}
