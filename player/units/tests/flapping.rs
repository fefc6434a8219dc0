//! One test a rule of units whose health turns often.

#![expect(clippy::unwrap_used, reason = "a test says so by failing")]

mod common;

use common::*;
use orchestra_model::service::UnitState;
use orchestra_units::{Effect, ProbeOutcome};

/// A unit whose health turns after one answer, asked each 10 seconds.
fn up() -> Rig {
    let mut order = with_health(1);
    let health = order.unit.upkeep.health.as_mut().unwrap();
    (health.fall, health.rise) = (1, 1);
    Rig::up(order)
}

/// Lets 10 seconds pass, and gives the next probe an answer.
fn answer(rig: &mut Rig, is_healthy: bool) -> Vec<Effect> {
    let outcome = match is_healthy {
        true => ProbeOutcome::Healthy,
        false => ProbeOutcome::Unhealthy("refused".to_owned()),
    };
    let mut effects = rig.pass(10_000);
    let asked = probes(&effects);
    effects.extend(rig.probed(asked[0], outcome));
    effects
}

fn turn(rig: &mut Rig) {
    let is_ready = rig.state() == UnitState::Ready;
    answer(rig, !is_ready);
}

fn stay(rig: &mut Rig) -> Vec<Effect> {
    let is_ready = rig.state() == UnitState::Ready;
    answer(rig, is_ready)
}

/// How often the unit turned, and whether it flaps.
fn told(rig: &Rig) -> (u32, bool) {
    let report = rig.report();
    (report.turns, report.flapping)
}

#[test]
fn four_turns_in_a_short_time_are_too_many() {
    let mut rig = up();
    for flaps in [(1, false), (2, false), (3, false), (4, true), (5, true)] {
        turn(&mut rig);
        assert_eq!(told(&rig), flaps);
    }
}

#[test]
fn what_was_quiet_for_a_while_flaps_no_more_and_that_is_told() {
    let mut rig = up();
    (0..4).for_each(|_| turn(&mut rig));
    let mut effects = Vec::new();
    for _ in 0..11 {
        effects.extend(stay(&mut rig));
        assert_eq!(told(&rig), (4, true));
    }
    effects.extend(rig.pass(10_000));
    assert_eq!(told(&rig), (4, false));
    let reports = reports(&effects).into_iter();
    let flaps: Vec<bool> = reports.map(|report| report.flapping).collect();
    assert_eq!(flaps, [false], "that it is over is told once, and nothing else is");
}

#[test]
fn turns_that_lie_far_apart_are_no_flapping() {
    let mut rig = up();
    for turns in 1..=8 {
        turn(&mut rig);
        assert_eq!(told(&rig), (turns, false));
        // So four of them take more than ten minutes.
        (0..20).for_each(|_| drop(stay(&mut rig)));
    }
}

#[test]
fn a_new_sitter_knows_it_and_an_order_begins_anew() {
    let mut rig = up();
    (0..4).for_each(|_| turn(&mut rig));
    rig.crash(1_000);
    assert_eq!(told(&rig), (4, true));
    rig.order(running(2));
    assert_eq!(told(&rig), (0, false));
}
