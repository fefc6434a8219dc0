//! One test a rule of signals: those that somebody asks for, and those by which a run reads its
//! parameters again.

#![expect(clippy::unwrap_used, reason = "a test says so by failing")]

mod common;

use common::*;
use orchestra_model::{
    Params,
    delivery::OrderNumber,
    service::{ReadySign, ReloadRule, RestartRule, RunEnd, ServiceVersion, UnitState, Wanted},
};
use orchestra_units::{Ordered, ProbeOutcome, RunEvent, UnitFailure, WatchEnd};

const HUP: i32 = 1;
const USR1: i32 = 10;

/// Of this version, with parameters of its own, which a run reads again at HUP.
fn reloading(n: u64, version: u64) -> Ordered {
    let mut order = running(n);
    order.unit.version = ServiceVersion(version);
    order.unit.params = Params::from_pairs([("v", version.to_string())]).unwrap();
    order.unit.upkeep.reload = Some(ReloadRule { signal: HUP });
    order
}

fn sent(of: u64, signal: i32) -> RunEvent {
    RunEvent::SignalSent { of: OrderNumber(of), signal }
}

#[test]
fn a_change_of_parameters_alone_is_told_to_the_run() {
    let mut rig = Rig::up(reloading(1, 1));
    rig.pass(10_000);
    assert_eq!(words(&rig.order(reloading(2, 2))), ["watching", "reload 1 v2 1"]);
    rig.pass(30_000);
    assert_eq!(watch_ends(&rig.told(sent(2, HUP))), [], "it is not over before it was told");
    assert_eq!(watch_ends(&rig.pass(9_999)), []);
    assert_eq!(watch_ends(&rig.pass(1)), [(2, WatchEnd::Ready)]);
    assert_eq!((rig.run(), rig.report().version), (1, ServiceVersion(2)));
}

#[test]
fn whatever_else_is_other_takes_a_new_run() {
    let ends = |change: fn(&mut Ordered)| {
        let mut rig = Rig::up(reloading(1, 1));
        rig.pass(10_000);
        let mut order = reloading(2, 2);
        change(&mut order);
        assert_eq!(words(&rig.order(order)), ["watching", "signal 1 15"]);
    };
    ends(|order| order.unit.upkeep.reload = None);
    ends(|order| order.unit.upkeep.reload = Some(ReloadRule { signal: USR1 }));
    ends(|order| order.unit.upkeep.stop.grace.0 += 1);
    ends(|order| order.unit.score = "run-other".parse().unwrap());
    ends(|order| order.unit.instance.placement.0 += 1);
    ends(|order| order.unit.wanted = Wanted::Restarted);
}

#[test]
fn a_run_that_is_not_ready_is_replaced() {
    let starting = |n, version| {
        let mut order = reloading(n, version);
        order.unit.upkeep.ready.sign = ReadySign::Notify;
        order
    };
    let mut rig = Rig::up(starting(1, 1));
    assert_eq!(words(&rig.order(starting(2, 2)))[1..], ["watching", "signal 1 15"]);

    let unhealthy = |n, version| {
        let mut order = reloading(n, version);
        order.unit.upkeep.health = with_health(1).unit.upkeep.health;
        order
    };
    let mut rig = Rig::up(unhealthy(1, 1));
    for number in 1..=3 {
        rig.pass(10_000);
        rig.probed(number, ProbeOutcome::Unhealthy("refused".to_owned()));
    }
    assert_eq!(rig.state(), UnitState::Unhealthy);
    let told = words(&rig.order(unhealthy(2, 2)));
    assert!(told.contains(&"signal 1 15".to_owned()), "{told:?}");
}

#[test]
fn what_was_not_sent_is_sent_by_the_next_sitter() {
    let mut rig = Rig::up(reloading(1, 1));
    rig.pass(10_000);
    rig.order(reloading(2, 2));
    rig.crash(1_000);
    assert_eq!(words(&rig.told(RunEvent::Found)), ["reload 1 v2 1"]);
    rig.told(sent(2, HUP));
    rig.crash(1_000);
    assert_eq!(words(&rig.told(RunEvent::Found)), [] as [&str; 0], "and then no more");
}

#[test]
fn parameters_that_are_gone_are_waited_for() {
    let secret = |n, version| Ordered { keep_params: false, ..reloading(n, version) };
    let mut rig = Rig::up(secret(1, 1));
    rig.pass(10_000);
    rig.order(secret(2, 2));
    rig.crash(1_000);
    assert_eq!(words(&rig.told(RunEvent::Found)), [] as [&str; 0]);
    let found = orchestra_units::Input::ParamsFound {
        unit: key(),
        order: OrderNumber(2),
        params: secret(2, 2).unit.params,
    };
    assert_eq!(words(&rig.feed(found)), ["reload 1 v2 1"]);
}

#[test]
fn the_newest_parameters_are_told_whatever_is_late() {
    let mut rig = Rig::up(reloading(1, 1));
    rig.pass(10_000);
    rig.order(reloading(2, 2));
    assert_eq!(words(&rig.order(reloading(3, 3)))[1..], ["watching", "reload 1 v3 1"]);
    rig.told(sent(2, HUP));
    assert_eq!(watch_ends(&rig.pass(60_000)), [], "that was of the order before");
    rig.told(sent(3, HUP));
    assert_eq!(watch_ends(&rig.pass(10_000)), [(3, WatchEnd::Ready)]);
}

#[test]
fn a_run_that_cannot_be_told_is_followed_by_one_that_is() {
    let mut rig = Rig::up(reloading(1, 1));
    rig.pass(10_000);
    rig.order(reloading(2, 2));
    let told = rig.told(RunEvent::NotReloaded { of: OrderNumber(2) });
    assert_eq!(words(&told), ["signal 1 15"]);
    assert_eq!(spawned_run(&rig.ends(RunEnd::Signalled(15))), Some(2));
    rig.spawned();
    assert_eq!(watch_ends(&rig.pass(10_000)), [(2, WatchEnd::Ready)]);
    assert_eq!(rig.report().restarts, 0, "nobody counts that");
}

#[test]
fn a_signal_is_sent_and_the_run_goes_on() {
    let mut rig = Rig::up(running(1));
    rig.pass(10_000);
    rig.ends(RunEnd::Exited(1));
    rig.spawned();
    assert_eq!(words(&rig.order(order(2, Wanted::Signalled(USR1)))), ["watching", "tell 2 10"]);
    rig.told(sent(2, USR1));
    assert_eq!(watch_ends(&rig.pass(10_000)), [(2, WatchEnd::Ready)]);
    assert_eq!((rig.run(), rig.report().restarts), (2, 1), "restarts go on to be counted");
}

#[test]
fn a_signal_waits_until_its_run_is_ready() {
    let signalled = |n| {
        let mut order = order(n, Wanted::Signalled(USR1));
        order.unit.upkeep.ready.sign = ReadySign::Notify;
        order
    };
    let mut rig = Rig::up(with_ready(1, ReadySign::Notify));
    assert_eq!(words(&rig.order(signalled(2)))[1..], ["watching"]);
    assert_eq!(words(&rig.told(RunEvent::ReadyTold)), ["tell 1 10"]);
}

#[test]
fn a_signal_that_ends_a_run_is_followed_by_the_next_one() {
    let mut rig = Rig::up(running(1));
    rig.pass(10_000);
    rig.order(order(2, Wanted::Signalled(USR1)));
    rig.told(sent(2, USR1));
    assert_eq!(spawned_run(&rig.ends(RunEnd::Signalled(USR1))), Some(2));
    assert_eq!(words(&rig.spawned()), [] as [&str; 0], "the next one gets none");
    assert_eq!(watch_ends(&rig.pass(10_000)), [(2, WatchEnd::Ready)]);
}

#[test]
fn a_signal_begins_nothing_that_gave_up() {
    let rule = RestartRule { attempts: Some(0), ..Default::default() };
    let mut rig = Rig::up(with_restart(1, rule));
    rig.ends(RunEnd::Exited(1));
    assert_eq!(rig.state(), UnitState::GaveUp);
    let mut signal = with_restart(2, rule);
    signal.unit.wanted = Wanted::Signalled(USR1);
    let end = WatchEnd::Failed { failure: UnitFailure::GaveUp, cause: RunEnd::Exited(1) };
    assert_eq!(watch_ends(&rig.order(signal)), [(2, end)]);
    assert_eq!(rig.state(), UnitState::GaveUp);
}

#[test]
fn a_signal_for_what_was_stopped_lets_it_run() {
    let mut rig = Rig::up(running(1));
    rig.order(order(2, Wanted::Stopped));
    rig.ends(RunEnd::Signalled(15));
    assert_eq!(spawned_run(&rig.order(order(3, Wanted::Signalled(USR1)))), Some(2));
}

#[test]
fn a_signal_with_another_restart_rule_counts_restarts_from_0() {
    let mut rig = Rig::up(running(1));
    rig.ends(RunEnd::Exited(1));
    assert_eq!(rig.report().restarts, 1);
    let rule = RestartRule { attempts: Some(1), ..RestartRule::default() };
    let mut order = with_restart(2, rule);
    order.unit.wanted = Wanted::Signalled(USR1);
    rig.order(order);
    assert_eq!(rig.report().restarts, 0, "what the rule before did not note cannot be counted");
}
