//! Every scenario of the fleet emulator, small: each checks that every task was executed once and
//! has one verdict. Speed is not looked at, except where noise cannot hide it.

#![expect(clippy::expect_used, reason = "a test fails by it")]

use std::{path::Path, process::Command};

use serde_json::Value;

/// Runs some scenarios over 50 players; their documents.
fn fleet(scenarios: &[&str]) -> Vec<Value> {
    let ran = Command::new(env!("CARGO_BIN_EXE_fleet"))
        .args(scenarios)
        .args(["--players", "50", "--short", "--json"])
        .output()
        .expect("the program can be started");
    let (out, err) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{scenarios:?}\n{out}\n{err}");
    out.lines().map(|line| serde_json::from_str(line).expect("a document on a line")).collect()
}

fn checked(document: &Value) -> f64 {
    document["checked_tasks"].as_f64().expect("a number")
}

#[test]
fn every_scenario_ends_with_one_verdict_for_each_task() {
    let conductor = Path::new(env!("CARGO_BIN_EXE_fleet")).with_file_name("conductor");
    assert!(conductor.is_file(), "cargo build --workspace --bins makes {}", conductor.display());
    let scenarios =
        ["attach", "ping", "throughput", "reconnect", "idle", "listing", "slow", "exec"];
    let documents = fleet(&scenarios);
    assert_eq!(documents.len(), scenarios.len());
    for (document, scenario) in documents.iter().zip(scenarios) {
        assert_eq!(document["scenario"], scenario);
        assert!(checked(document) >= 50.0, "{document}");
    }
}
