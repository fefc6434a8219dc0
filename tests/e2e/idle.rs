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
    let (shortest, median, longest) = (took[0], took[ASKED / 2], took[ASKED - 1]);
    println!("shortest {shortest:?}, median {median:?}, longest {longest:?}");
    // Others use the machine meanwhile; not always.
    let most = if cfg!(debug_assertions) { 300 } else { 30 };
    assert!(shortest <= Duration::from_millis(most), "the shortest is {shortest:?}");
}

/// The memory of a process, with its share of what it shares, in KiB.
fn proportional(pid: i32) -> u64 {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse().unwrap()
}
