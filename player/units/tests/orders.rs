//! One test a rule of orders and of the watches that they begin.

mod common;

use common::*;
use orchestra_model::{
    ByteSize, Millis, Params,
    delivery::OrderNumber,
    service::{
        Placement, ReadySign, Resources, RestartRule, RestartWhen, RunEnd, RunNumber, UnitState,
        Wanted,
    },
};
use orchestra_units::{Effect, Input, Ordered, Rejection, RunEvent, UnitFailure, WatchEnd};

const CRASH: RunEnd = RunEnd::Exited(1);

#[test]
fn a_watch_is_over_when_the_unit_was_ready_for_long_enough() {
    let mut rig = Rig::up(with_ready(1, ReadySign::Notify));
    rig.pass(5_000);
    rig.told(RunEvent::ReadyTold);
    assert_eq!(watch_ends(&rig.pass(9_999)), []);
    assert_eq!(watch_ends(&rig.pass(1)), [(1, WatchEnd::Ready)]);
    assert_eq!(rig.pass(86_400_000), [], "then nobody is woken any more");
}

#[test]
fn a_run_that_ends_begins_the_time_of_readiness_anew() {
    let mut rig = Rig::up(running(1));
    rig.pass(9_000);
    assert_eq!(watch_ends(&rig.ends(CRASH)), []);
    rig.spawned();
    assert_eq!(watch_ends(&rig.pass(9_999)), []);
    assert_eq!(watch_ends(&rig.pass(1)), [(1, WatchEnd::Ready)]);
}

#[test]
fn readiness_that_lasted_long_enough_counts_though_the_end_comes_with_it() {
    let mut rig = Rig::up(running(1));
    rig.boot_ms += 10_000;
    assert_eq!(watch_ends(&rig.told(RunEvent::MainEnded(CRASH))), [(1, WatchEnd::Ready)]);
}

#[test]
fn a_watch_is_timed_out_at_its_deadline_counted_from_acceptance() {
    let mut order = with_ready(1, ReadySign::Notify);
    order.unit.upkeep.ready.deadline = Millis::minutes(60);
    let mut rig = Rig::up(order);
    assert_eq!(watch_ends(&rig.pass(599_999)), []);
    assert_eq!(watch_ends(&rig.pass(1)), [(1, WatchEnd::TimedOut)]);
    assert_eq!(rig.state(), UnitState::Starting, "the unit stays as it was ordered");
}

#[test]
fn a_watch_fails_where_the_unit_ended_for_good() {
    let rule = RestartRule { when: RestartWhen::Never, ..Default::default() };
    let mut rig = Rig::up(with_restart(1, rule));
    let end = WatchEnd::Failed { failure: UnitFailure::Ended, cause: CRASH };
    assert_eq!(watch_ends(&rig.ends(CRASH)), [(1, end)]);
}

#[test]
fn a_cancelled_attempt_leaves_the_unit_as_it_was_ordered() {
    let mut rig = Rig::up(running(1));
    let effects = rig.feed(Input::Unwatched { key: attempt(1) });
    assert_eq!(words(&effects), ["1 Cancelled"]);
    assert_eq!(rig.state(), UnitState::Ready);
    assert_eq!(rig.feed(Input::Unwatched { key: attempt(1) }), [], "it was over");
    assert_eq!(rig.feed(Input::Unwatched { key: attempt(9) }), [], "nobody knows it");
}

#[test]
fn a_run_that_is_what_the_next_order_asks_for_goes_on() {
    let mut rig = Rig::up(running(1));
    rig.pass(60_000);
    assert_eq!(words(&rig.order(running(2))), ["watching"]);
    assert_eq!(rig.run(), 1);
    assert_eq!(watch_ends(&rig.pass(9_999)), []);
    assert_eq!(watch_ends(&rig.pass(1)), [(2, WatchEnd::Ready)], "ready since the order");
}

#[test]
fn another_version_placement_or_parameter_is_another_run() {
    let changed = |change: fn(&mut orchestra_units::Ordered)| {
        let mut rig = Rig::up(running(1));
        let mut order = running(2);
        change(&mut order);
        let effects = rig.order(order);
        assert_eq!(words(&effects), ["1 Superseded", "watching", "signal 1 15"]);
        let effects = rig.ends(RunEnd::Signalled(15));
        assert_eq!(rig.report().last_end, Some(RunEnd::Asked));
        assert_eq!(rig.report().restarts, 0, "a person asked for it");
        let run = |effect: &Effect| match effect {
            Effect::Spawn { run, .. } => Some(*run),
            _ => None,
        };
        effects.iter().find_map(run).unwrap()
    };
    let placed = |order: &mut orchestra_units::Ordered| {
        order.unit.instance.placement = Placement(7);
    };
    let run = changed(|order| order.unit.version.0 = 2);
    assert_eq!((run.placement, run.number), (Placement(1), RunNumber(2)));
    let run = changed(|order| order.unit.params = Params::default());
    assert_eq!((run.placement, run.number), (Placement(1), RunNumber(2)));
    let run = changed(placed);
    assert_eq!((run.placement, run.number), (Placement(7), RunNumber(1)), "counted anew");
}

#[test]
fn restarted_is_a_new_run_of_the_same() {
    let mut rig = Rig::up(running(1));
    rig.pass(10_000);
    assert_eq!(words(&rig.order(order(2, Wanted::Restarted))), ["watching", "signal 1 15"]);
    assert_eq!(words(&rig.told(RunEvent::MainEnded(RunEnd::Exited(0)))), ["kill 1"]);
    assert_eq!(spawned_run(&rig.told(RunEvent::Emptied)), Some(2));
    assert_eq!(watch_ends(&rig.pass(60_000)), [], "the old run counts for nothing");
    rig.spawned();
    assert_eq!(watch_ends(&rig.pass(10_000)), [(2, WatchEnd::Ready)]);
}

#[test]
fn a_stop_is_the_signal_then_the_grace_then_a_kill() {
    let mut rig = Rig::up(with_grace(1, Wanted::Running, 5_000));
    assert_eq!(words(&rig.order(order(2, Wanted::Stopped)))[2..], ["signal 1 15"]);
    assert_eq!(words(&rig.pass(4_999)), [] as [&str; 0]);
    assert_eq!(words(&rig.pass(1)), ["kill 1"]);
    assert_eq!(watch_ends(&rig.ends(RunEnd::Signalled(9))), [(2, WatchEnd::Ready)]);
    assert_eq!(rig.state(), UnitState::Stopped);
    assert_eq!(rig.pass(86_400_000), [], "it stays so");
}

#[test]
fn what_is_stopped_already_is_so_at_once() {
    let mut rig = Rig::new();
    let effects = rig.order(order(1, Wanted::Stopped));
    assert_eq!(words(&effects), ["watching", "1 Ready"]);
    assert_eq!(spawned_run(&rig.order(running(2))), Some(1));
}

#[test]
fn what_is_gone_is_told_once_and_forgotten_but_for_its_numbers() {
    let mut rig = Rig::up(running(1));
    rig.order(order(2, Wanted::Gone));
    let effects = rig.ends(RunEnd::Signalled(15));
    assert_eq!(words(&effects), ["kill 1", "2 Ready", "forget"]);
    let gone: Vec<_> = reports(&effects).iter().map(|report| report.state).collect();
    assert_eq!(gone.iter().filter(|state| **state == UnitState::Gone).count(), 1, "{gone:?}");
    assert_eq!(rig.units.next_wake(), None);
    assert_eq!(rig.try_order(running(1)), Err(Rejection::Older { known: OrderNumber(2) }));
    rig.crash(0);
    assert_eq!(words(&rig.order(order(2, Wanted::Gone))), ["watching", "2 Ready", "forget"]);
    assert_eq!(spawned_run(&rig.order(running(3))), Some(2), "no number comes twice");
}

#[test]
fn the_same_order_again_changes_nothing() {
    let mut rig = Rig::up(running(1));
    let before = rig.units.state().clone();
    assert_eq!(words(&rig.order(running(1))), ["watching"]);
    assert_eq!(*rig.units.state(), before);
    rig.pass(10_000);
    assert_eq!(words(&rig.order(running(1))), ["watching", "1 Ready"], "its end is told again");
    rig.settle(1);
    assert!(rig.units.state().watches().is_empty());
    assert_eq!(words(&rig.order(running(1))), ["watching"], "the spool has forgotten it");
    assert_eq!(rig.run(), 1);
    assert_eq!(watch_ends(&rig.pass(10_000)), [(1, WatchEnd::Ready)]);
}

#[test]
fn an_attempt_that_is_ordered_by_a_further_number_is_watched_for_by_that() {
    let mut rig = Rig::up(running(1));
    let mut again = of_version(2, 2);
    again.key = attempt(1);
    assert_eq!(words(&rig.order(again)), ["watching", "signal 1 15"], "it did not end");
    rig.settle(1);
    assert_eq!(rig.units.state().watches()[&attempt(1)].order, OrderNumber(2), "that was late");
}

#[test]
fn an_older_order_and_an_earlier_placement_are_refused() {
    let mut rig = Rig::new();
    let mut placed = running(5);
    placed.unit.instance.placement = Placement(4);
    rig.order(placed);
    let before = rig.units.state().clone();
    assert_eq!(rig.try_order(running(4)), Err(Rejection::Older { known: OrderNumber(5) }));
    let mut other = running(5);
    other.key = attempt(6);
    assert_eq!(rig.try_order(other), Err(Rejection::Older { known: OrderNumber(5) }));
    assert_eq!(rig.try_order(running(6)), Err(Rejection::Fenced { known: Placement(4) }));
    assert_eq!(*rig.units.state(), before);
}

#[test]
fn a_unit_beyond_those_that_a_player_may_have_is_refused() {
    let mut rig = Rig::new();
    for n in 0..CAPACITY.units as u64 {
        let mut order = running(n + 1);
        order.unit.service = orchestra_model::ServiceName::new(&format!("s{n}")).unwrap();
        rig.order(order);
    }
    assert_eq!(rig.try_order(running(99)), Err(Rejection::Full(CAPACITY.units)));
}

/// The n-th order, of the service with this name, which reserves so many GiB.
fn reserving(n: u64, service: &str, gib: u64) -> Ordered {
    let mut order = running(n);
    order.unit.service = named(service);
    let reserve = Some(ByteSize(gib << 30));
    order.unit.upkeep.resources = Some(Resources { reserve, ..Resources::NONE });
    order
}

#[test]
fn no_more_memory_is_reserved_than_the_host_has() {
    let mut rig = Rig::new();
    rig.order(reserving(1, "web", 3));
    let refused = Rejection::Reserved {
        asked: ByteSize(2 << 30),
        others: ByteSize(3 << 30),
        host: CAPACITY.memory,
    };
    assert_eq!(rig.try_order(reserving(2, "db", 2)), Err(refused.clone()));
    let told = "2GiB of memory is to be reserved; the host has 4.0GiB, of which 3.0GiB is reserved for \
                other services";
    assert_eq!(refused.to_string(), told);
    // A unit makes room for its own next version, and what need not be kept does not have to fit.
    rig.order(reserving(3, "web", 2));
    rig.order(reserving(4, "db", 2));
    let mut loose = reserving(5, "loose", 4);
    loose.unit.upkeep.resources.as_mut().unwrap().enforced = false;
    rig.order(loose);
    assert_eq!(rig.units.reserved(None), ByteSize(8 << 30));
    let mut without = running(6);
    without.unit.service = orchestra_model::ServiceName::new("none").unwrap();
    rig.order(without);
}

#[test]
fn a_unit_that_is_not_to_run_reserves_nothing() {
    let mut rig = Rig::new();
    rig.order(reserving(1, "web", 4));
    let mut stop = reserving(2, "web", 4);
    stop.unit.wanted = Wanted::Stopped;
    rig.order(stop.clone());
    rig.order(reserving(3, "db", 4));
    // It has to fit when it is started again; that it is stopped once more has not to.
    assert!(matches!(rig.try_order(reserving(4, "web", 4)), Err(Rejection::Reserved { .. })));
    stop.order = OrderNumber(5);
    stop.key = attempt(5);
    rig.order(stop);
}

#[test]
fn an_order_gives_a_unit_that_gave_up_a_new_run_and_counts_from_nothing() {
    let rule = RestartRule { attempts: Some(1), ..Default::default() };
    let mut rig = Rig::up(with_restart(1, rule));
    rig.ends(CRASH);
    rig.spawned();
    rig.ends(CRASH);
    assert_eq!(rig.state(), UnitState::GaveUp);
    assert_eq!(spawned_run(&rig.order(with_restart(2, rule))), Some(3));
    assert_eq!(rig.report().restarts, 0);
    rig.spawned();
    assert_eq!(spawned_run(&rig.ends(CRASH)), Some(4), "its window is empty, its wait the first");
}

#[test]
fn an_order_that_comes_while_a_process_is_being_made_ends_it_once_it_exists() {
    let mut rig = Rig::new();
    rig.order(running(1));
    assert_eq!(words(&rig.order(order(2, Wanted::Stopped))), ["1 Superseded", "watching"]);
    assert_eq!(words(&rig.told(RunEvent::Emptied)), [] as [&str; 0], "nothing is there yet");
    assert_eq!(words(&rig.spawned()), ["signal 1 15"]);
    assert_eq!(watch_ends(&rig.ends(RunEnd::Signalled(15))), [(2, WatchEnd::Ready)]);
}
