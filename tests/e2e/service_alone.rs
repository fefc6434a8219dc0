//! A placed instance that may never be alive twice, while one of those who keep it stands still: by what
//! the instances themselves have recorded.

use std::{fs, time::Duration};

use rustix::process::Signal;

use crate::harness::{Fleet, eventually, is_alive, within};

/// How long it may take until a player whose sitter or agent stands still is away, which is up to 45 s,
/// its lease is over and the instance runs elsewhere.
const REPLACED: Duration = Duration::from_secs(180);

/// Two players, of which one has the only instance, under the shortest lease. It is replaced as soon as
/// that may be. Returns the host with the instance, and its process.
fn alone() -> (Fleet, String, i32) {
    let fleet = Fleet::new("p[1-2]").start();
    let path = fleet.dir().join("alone.yaml");
    let text = "service: web\nscore: serve\nplace: {count: 1}\n\
                at_most_one: {lease: 10s}\nstop: {grace: 500ms}\nabsent: {replace_after: 0s}\n\
                update: {healthy_for: 300ms, deadline: 20s}\n";
    fs::write(&path, text).expect("a file");
    fleet.orc(&["service", "apply", &path.display().to_string(), "--wait"]).exits(0);
    let runs = fleet.newest_runs();
    let [(host, (_, pid))] = &runs.into_iter().collect::<Vec<_>>()[..] else {
        panic!("{}", fleet.service())
    };
    (fleet, host.clone(), *pid)
}

/// Waits until the instance runs on the other host, and fails if two were ever alive.
fn runs_elsewhere(fleet: &Fleet, before: &str, pid: i32) {
    within(REPLACED, "it to run on the other host", || {
        fleet.newest_runs().keys().any(|host| host != before).then_some(())
    });
    assert!(!is_alive(pid), "the one before lives");
    fleet.wait_ready(1);
}

/// Waits until one is left of the instances, which is ready, and fails if two were ever alive.
fn is_alone(fleet: &Fleet) {
    eventually("one instance that is ready", || {
        let service = fleet.service();
        let is_one = service["instances"].as_array()?.len() == 1 && service["ready"] == 1;
        (is_one && service["living"].is_null()).then_some(())
    });
    assert_eq!(fleet.record.of("beside"), []);
    fleet.no_run_was_doubled();
}

#[test]
fn an_instance_whose_sitter_stands_still_is_replaced_once_it_is_gone() {
    let (fleet, host, pid) = alone();
    let player = fleet.player(&host);
    player.sitter.signal(Signal::STOP);
    runs_elsewhere(&fleet, &host, pid);
    player.sitter.signal(Signal::CONT);
    fleet.wait_attached(&["p1", "p2"]);
    is_alone(&fleet);
}

#[test]
fn an_instance_whose_agent_stands_still_is_replaced_once_it_is_gone() {
    let (fleet, host, pid) = alone();
    let player = fleet.player(&host);
    player.signal_agent(Signal::STOP);
    runs_elsewhere(&fleet, &host, pid);
    player.signal_agent(Signal::CONT);
    fleet.wait_attached(&["p1", "p2"]);
    is_alone(&fleet);
}

#[test]
fn an_instance_whose_conductor_stands_still_ends_and_runs_again_once() {
    let (fleet, _, pid) = alone();
    let runs = fleet.record.of("run").len();
    fleet.conductor.signal(Signal::STOP);
    eventually("its end", || (!is_alive(pid)).then_some(()));
    fleet.conductor.signal(Signal::CONT);
    eventually("the next run", || (fleet.record.of("run").len() > runs).then_some(()));
    is_alone(&fleet);
}
