//! Services whose units are judged: what is unhealthy gets new runs.

use std::fs;

use crate::harness::{Fleet, eventually};

/// Checked each 100 ms; what is unhealthy is restarted, one host at a time.
const HEALED: &str = "health: {score: check-up, every: 100ms, timeout: 100ms, fall: 2, rise: 1}\n\
                      on_unhealthy: restart\nbudget: 1\n";
/// What is unhealthy is believed, however many turn together.
const BELIEVED: &str = "panic: off\n";

impl Fleet {
    /// Calls the runs of a player sick, up to this one.
    fn sicken(&self, player: &str, run: u32) {
        let (new, path) = (self.dir().join("sick.new"), self.dir().join(format!("sick.{player}")));
        fs::write(&new, run.to_string()).expect("a file");
        fs::rename(new, path).expect("one directory");
    }

    /// Waits until each player has a run of this number, and all are ready.
    fn wait_runs(&self, players: &[&str], run: u32) {
        eventually("new runs", || {
            let runs = self.newest_runs();
            players.iter().all(|player| runs[*player].0 == run).then_some(())
        });
        self.wait_ready(players.len() as u64);
    }
}

#[test]
fn two_of_two_that_are_unhealthy_come_back_one_at_a_time_each_time_again() {
    let fleet = Fleet::new("p[1-2]").start();
    let file = fleet.service_file("p[1-2]", &format!("{HEALED}{BELIEVED}"));
    fleet.orc(&["service", "apply", &file, "--wait"]).exits(0);
    let all_up = fleet.record.lines().len();
    for run in 1..=3 {
        fleet.sicken("p1", run);
        fleet.sicken("p2", run);
        fleet.wait_runs(&["p1", "p2"], run + 1);
    }
    let most = fleet.record.most_without_service(all_up);
    assert_eq!(most, 1, "{:#?}", fleet.record.lines());
    let service = fleet.service();
    let events = service["events"].as_array().unwrap();
    let by_keeper = |event: &&serde_json::Value| {
        event["cause"] == "unhealthy" && event["by"] == "orchestra:keeper"
    };
    assert!(events.iter().filter(by_keeper).count() >= 6, "{service}");
    fleet.no_run_was_doubled();
}

#[test]
fn what_became_unhealthy_while_the_conductor_was_away_is_restarted_when_it_is_back() {
    let fleet = Fleet::new("p1").start();
    let file = fleet.service_file("p1", HEALED);
    fleet.orc(&["service", "apply", &file, "--wait"]).exits(0);
    fleet.conductor.kill();
    fleet.sicken("p1", 1);
    let log = || fleet.player("p1").sitter.log();
    eventually("a verdict", || log().contains("state=unhealthy").then_some(()));
    assert_eq!(fleet.newest_runs()["p1"].0, 1, "nobody else may restart it");
    fleet.start_conductor();
    fleet.wait_runs(&["p1"], 2);
    fleet.no_run_was_doubled();
}

#[test]
fn two_of_two_that_turn_together_are_suspicious_until_a_person_says_otherwise() {
    let fleet = Fleet::new("p[1-2]").start();
    // Both are told by one look of their players, which is about as far apart as the checks.
    let file = fleet.service_file("p[1-2]", &HEALED.replace("restart", "withdraw"));
    fleet.orc(&["service", "apply", &file, "--wait"]).exits(0);
    fleet.sicken("p1", 1);
    fleet.sicken("p2", 1);
    eventually("a suspicion", || (fleet.service()["state"] == "suspicious").then_some(()));
    let told = fleet.orc(&["brake", "--json"]).exits(0).json()["brakes"].take();
    assert_eq!((&told[0]["on"], &told[0]["suspicion"]["of"]), (&"service/web".into(), &2.into()));
    // A brake is on disk.
    fleet.crash_conductor();
    fleet.wait_attached(&["p1", "p2"]);
    let told = fleet.orc(&["brake"]).exits(0).out;
    assert!(told.contains("2 of 2 checks failed together"), "{told}");
    fleet.orc(&["brake", "release", "web"]).exits(0);
    assert_eq!(fleet.orc(&["brake", "--json"]).exits(0).json()["brakes"], serde_json::json!([]));
    fleet.orc(&["brake", "release", "web"]).exits(1);
    assert_eq!(fleet.newest_runs()["p1"].0, 1, "what is withdrawn is not restarted");
    fleet.sicken("p1", 0);
    fleet.sicken("p2", 0);
    fleet.wait_ready(2);
}
