//! What a fleet costs that has nothing to do, and how fast it answers.

use std::{fs, time::Duration};

use crate::harness::Fleet;

#[test]
fn an_idle_player_needs_at_most_twelve_mebibytes() {
    let fleet = Fleet::new("p1").start();
    fleet.submitjob(&["hello", "-w", "@all", "--wait"]).exits(0);
    let player = fleet.player("p1");
    let (sitter, agent) = (proportional(player.sitter.pid()), proportional(player.agent()));
    println!("sitter {sitter} KiB, agent {agent} KiB");
    // Unoptimised code is several times as large, and is not what anybody installs.
    let most = if cfg!(debug_assertions) { 36 } else { 12 };
    assert!(sitter + agent <= most << 10, "sitter {sitter} KiB, agent {agent} KiB");
}

#[test]
fn getstatus_answers_at_once() {
    const ASKED: usize = 41;
    let fleet = Fleet::new("p1").start();
    let flow = fleet.run(&["hello", "-w", "p1"]).to_string();
    let mut took: Vec<Duration> =
        (0..ASKED).map(|_| fleet.getstatus(&[&flow]).exits(0).took).collect();
    took.sort_unstable();
    let median = took[ASKED / 2];
    println!("median {median:?}, longest {:?}", took[ASKED - 1]);
    let most = if cfg!(debug_assertions) { 300 } else { 30 };
    assert!(median <= Duration::from_millis(most), "the median is {median:?}");
}

/// The memory of a process, with its share of what it shares, in KiB.
fn proportional(pid: i32) -> u64 {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse().unwrap()
}
