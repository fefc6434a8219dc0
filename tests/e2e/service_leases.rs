//! Services of which no instance may be alive twice, while one of those who keep them stands still.

use rustix::process::Signal;

use crate::harness::{Fleet, eventually, is_alive};

const LEASED: &str = "at_most_one: {lease: 10s}\nstop: {grace: 500ms}\n";

/// Two players with a service that runs under the shortest lease, by the file `web.yaml`.
fn leased() -> (Fleet, i32) {
    let fleet = Fleet::new("p[1-2]").start();
    let file = fleet.service_file("p[1-2]", LEASED);
    let applied = fleet.orc(&["service", "apply", &file, "--wait"]).exits(0);
    let note = "an outage of the conductor that is longer than its lease (10s) stops the service";
    assert!(applied.err.contains(note), "{}", applied.err);
    let (_, pid) = fleet.newest_runs()["p1"];
    (fleet, pid)
}

fn gone(pid: i32) {
    eventually("the end of a run", || (!is_alive(pid)).then_some(()));
}

/// Waits until p1 runs again, and checks that no two runs were alive.
fn runs_again(fleet: &Fleet) {
    eventually("the next run", || (fleet.newest_runs()["p1"].0 > 1).then_some(()));
    fleet.wait_ready(2);
    let instances = fleet.service()["instances"].clone();
    assert_eq!(instances[0]["last_end"]["how"], "lease-ran-out", "{instances}");
    fleet.no_run_was_doubled();
}

#[test]
fn an_outage_of_the_conductor_that_is_longer_than_the_lease_stops_the_service() {
    let (fleet, pid) = leased();
    fleet.conductor.signal(Signal::STOP);
    gone(pid);
    gone(fleet.newest_runs()["p2"].1);
    fleet.conductor.signal(Signal::CONT);
    runs_again(&fleet);
    // A conductor that is killed and comes back within the lease stops nothing.
    let (run, pid) = fleet.newest_runs()["p1"];
    fleet.conductor.kill();
    fleet.start_conductor();
    fleet.wait_ready(2);
    assert!(is_alive(pid) && fleet.newest_runs()["p1"].0 == run);
}

#[test]
fn a_run_ends_with_its_lease_while_its_agent_is_stopped() {
    let (fleet, pid) = leased();
    let player = fleet.player("p1");
    player.signal_agent(Signal::STOP);
    gone(pid);
    let (_, other) = fleet.newest_runs()["p2"];
    assert!(is_alive(other), "nobody else is concerned");
    player.signal_agent(Signal::CONT);
    runs_again(&fleet);
}

#[test]
fn when_an_instance_may_be_replaced_nothing_of_it_is_alive() {
    let (fleet, pid) = leased();
    let player = fleet.player("p1");
    player.sitter.signal(Signal::STOP);
    // Its agent notices that, and detaches.
    let replaceable = || fleet.service()["instances"][0]["replaceable"].clone();
    let at = eventually("a moment", || replaceable().as_str().map(str::to_owned));
    assert!(at == "now" || at.starts_with("20"), "{at}");
    eventually("that it may be replaced", || (replaceable() == "now").then_some(()));
    assert!(!is_alive(pid));
    // A person may say so only of what is away.
    fleet.orc(&["service", "declare-dead", "web/2", "--yes"]).exits(1);
    fleet.orc(&["service", "declare-dead", "web/1"]).exits(64);
    fleet.orc(&["service", "declare-dead", "web/1", "--yes"]).exits(0);
    player.sitter.signal(Signal::CONT);
    eventually("a run of a further placement", || {
        let instance = fleet.service()["instances"][0].clone();
        (instance["placement"] == 3 && instance["state"] == "ready").then_some(())
    });
    // It is ready once it has started, which is before it has written anything.
    eventually("what that run records", || {
        let runs = fleet.record.of("run");
        runs.iter().any(|line| line.task == "3@p1").then_some(())
    });
    fleet.no_run_was_doubled();
}
