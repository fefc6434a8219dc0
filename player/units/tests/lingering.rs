//! Runs that an order ends go on for a while, so that whoever uses them may leave.

mod common;

use common::*;
use orchestra_model::{
    Millis,
    service::{AtMostOne, ReadySign, RunEnd, UnitState, Wanted},
};
use orchestra_units::{Effect, Input, Leased, Ordered, RunEvent};

const LINGER: u64 = 3_000;

fn states(effects: &[Effect]) -> Vec<UnitState> {
    reports(effects).iter().map(|report| report.state).collect()
}

fn is_told(effects: &[Effect]) -> bool {
    effects.iter().any(|effect| matches!(effect, Effect::Terminate { .. }))
}

fn stopped(n: u64) -> Ordered {
    with_linger(n, Wanted::Stopped, LINGER)
}

/// A run that was ready for ten seconds, and has just been ended by an order.
fn ended() -> Rig {
    let mut rig = Rig::up(with_linger(1, Wanted::Running, LINGER));
    rig.pass(10_000);
    let effects = rig.order(stopped(2));
    assert!(!is_told(&effects), "{effects:?}");
    assert_eq!(states(&effects), [UnitState::Stopping], "it is told at once");
    rig
}

#[test]
fn a_run_gets_its_signal_when_those_who_use_it_had_time_to_leave_and_its_grace_counts_from_then() {
    let mut rig = ended();
    assert_eq!(words(&rig.pass(LINGER - 1)), [] as [&str; 0]);
    assert_eq!(words(&rig.pass(1)), ["signal 1 15"]);
    assert_eq!(words(&rig.pass(4_999)), [] as [&str; 0]);
    assert_eq!(words(&rig.pass(1)), ["kill 1"]);
    rig.ends(RunEnd::Signalled(9));
    assert_eq!(rig.state(), UnitState::Stopped);
}

#[test]
fn the_next_run_of_a_version_begins_after_that() {
    let mut rig = Rig::up(with_linger(1, Wanted::Running, LINGER));
    rig.pass(10_000);
    let mut next = with_linger(2, Wanted::Running, LINGER);
    next.unit.version = of_version(2, 2).unit.version;
    assert!(!is_told(&rig.order(next)));
    assert!(is_told(&rig.pass(LINGER)));
    assert_eq!(spawned_run(&rig.ends(RunEnd::Signalled(15))), Some(2));
}

#[test]
fn what_nobody_can_use_is_told_at_once() {
    let starting = Ordered {
        unit: with_ready(1, ReadySign::Notify).unit,
        ..with_linger(1, Wanted::Running, LINGER)
    };
    let mut rig = Rig::up(starting);
    assert!(is_told(&rig.order(stopped(2))), "it is not ready");
    let mut rig = Rig::up(with_linger(1, Wanted::Running, LINGER));
    rig.told(RunEvent::StoppingTold);
    assert!(is_told(&rig.order(stopped(2))), "it ends by itself");
}

#[test]
fn a_run_that_ends_while_it_lingers_is_over() {
    let mut rig = ended();
    let effects = rig.ends(RunEnd::Exited(0));
    assert_eq!(words(&effects), ["kill 1", "2 Ready"]);
    assert_eq!(rig.pass(60_000), []);
}

#[test]
fn a_sitter_that_begins_meanwhile_waits_for_the_rest() {
    let mut rig = ended();
    let effects = rig.crash(1_000);
    assert!(!is_told(&effects), "{effects:?}");
    rig.told(RunEvent::Found);
    assert!(!is_told(&rig.pass(LINGER - 1_001)));
    assert!(is_told(&rig.pass(1)));
    let mut rig = ended();
    assert!(is_told(&rig.crash(LINGER)), "its downtime counts");
}

#[test]
fn a_lease_that_runs_out_waits_for_nobody() {
    let leased = |n, wanted| {
        let mut order = with_linger(n, wanted, LINGER);
        order.unit.upkeep.at_most_one = Some(AtMostOne { lease: Some(Millis::seconds(20)) });
        order
    };
    let mut rig = Rig::new();
    rig.order(leased(1, Wanted::Running));
    let placement = leased(1, Wanted::Running).unit.instance.placement;
    let until = rig.boot_ms + 10_000;
    let lease = Leased { placement, until, gone: until + 5_000 };
    rig.feed(Input::Leased { unit: key(), lease });
    rig.spawned();
    rig.pass(9_000);
    assert!(!is_told(&rig.order(leased(2, Wanted::Stopped))));
    assert!(!is_told(&rig.pass(999)));
    assert!(is_told(&rig.pass(1)));
    assert_eq!(words(&rig.pass(5_000)), ["kill 1"]);
}
