//! One test a rule of units that run only under a lease.

mod common;

use common::*;
use orchestra_model::{
    Millis,
    service::{AtMostOne, Placement, ReadySign, RunEnd, StopRule, UnitState, Wanted},
};
use orchestra_units::{Effect, Input, Leased, Ordered, RunEvent};

/// With a lease of 20 s and a grace of 5 s.
fn leased(n: u64, wanted: Wanted) -> Ordered {
    let mut order = order(n, wanted);
    order.unit.upkeep.at_most_one = Some(AtMostOne { lease: Some(Millis::seconds(20)) });
    order.unit.upkeep.stop = StopRule { grace: Millis::seconds(5), ..StopRule::default() };
    order
}

fn running(n: u64) -> Ordered {
    leased(n, Wanted::Running)
}

/// A renewal that was asked for so many ms ago.
fn renewal(rig: &Rig, placement: u64, ago: u64) -> Input {
    let until = rig.boot_ms - ago + 20_000;
    let lease = Leased { placement: Placement(placement), until, gone: until + 5_000 };
    Input::Leased { unit: key(), lease }
}

fn renew(rig: &mut Rig, ago: u64) -> Vec<Effect> {
    let renewal = renewal(rig, 1, ago);
    rig.feed(renewal)
}

/// Its run is up, and its lease was asked for now.
fn up() -> Rig {
    let mut rig = Rig::new();
    assert_eq!(words(&rig.order(running(1))), ["watching"]);
    assert_eq!(words(&renew(&mut rig, 0)), ["spawn 1"]);
    rig.spawned();
    rig
}

#[test]
fn a_unit_begins_only_under_a_lease() {
    let mut rig = Rig::new();
    assert_eq!(words(&rig.order(running(1))), ["watching"]);
    assert_eq!(rig.state(), UnitState::AwaitingLease);
    assert_eq!(words(&rig.pass(60_000)), [""; 0]);
    // One of another placement is none.
    let other = renewal(&rig, 2, 0);
    assert_eq!(words(&rig.feed(other)), [""; 0]);
    // One that comes too late is none either.
    assert_eq!(words(&renew(&mut rig, 20_000)), [""; 0]);
    assert_eq!(rig.state(), UnitState::AwaitingLease);
    assert_eq!(words(&renew(&mut rig, 19_999)), ["spawn 1"]);
}

#[test]
fn what_is_needed_is_what_has_a_run_or_waits_for_one() {
    let mut rig = Rig::new();
    let needed = |rig: &Rig| rig.units.needed_leases().map(|(_, lease)| lease).collect::<Vec<_>>();
    rig.order(order(1, Wanted::Running));
    assert_eq!(needed(&rig), []);
    rig.order(running(2));
    // The run of the order before has been told to end.
    let lease = needed(&rig).pop().unwrap();
    let said = (lease.placement, lease.length, lease.grace);
    assert_eq!(said, (Placement(1), Millis::seconds(20), Millis::seconds(5)));
    let mut rig = up();
    rig.order(leased(2, Wanted::Stopped));
    assert_eq!(needed(&rig).len(), 1, "its run lives");
    rig.ends(RunEnd::Exited(0));
    assert_eq!(needed(&rig), []);
}

#[test]
fn renewals_keep_a_run() {
    let mut rig = up();
    assert_eq!(words(&rig.pass(10_000)), ["1 Ready"]);
    rig.settle(1);
    renew(&mut rig, 0);
    for _ in 0..10 {
        assert_eq!(words(&rig.pass(19_000)), [""; 0], "{:?}", rig.unit());
        renew(&mut rig, 5_000);
        assert_eq!(words(&rig.pass(14_000)), [""; 0]);
        renew(&mut rig, 0);
    }
}

#[test]
fn a_run_is_told_to_end_when_its_lease_runs_out_and_is_gone_after_its_grace() {
    let mut rig = up();
    rig.pass(10_000);
    rig.settle(1);
    assert_eq!(words(&rig.pass(9_999)), [""; 0]);
    assert_eq!(words(&rig.pass(1)), ["signal 1 15"]);
    assert_eq!(
        rig.unit().status.run().unwrap().ending.as_ref().unwrap().cause,
        RunEnd::LeaseRanOut
    );
    // Whatever it asks for.
    rig.told(RunEvent::Extended(Millis::minutes(10)));
    assert_eq!(words(&rig.pass(4_999)), [""; 0]);
    assert_eq!(words(&rig.pass(1)), ["kill 1"]);
    rig.told(RunEvent::Emptied);
    assert_eq!((rig.state(), rig.report().restarts), (UnitState::AwaitingLease, 0));
    assert_eq!(rig.report().last_end, Some(RunEnd::LeaseRanOut));
    // That was no failure of its own.
    assert_eq!(words(&renew(&mut rig, 0)), ["spawn 2"]);
}

#[test]
fn a_renewal_that_comes_when_a_run_ends_is_for_the_next_one() {
    let mut rig = up();
    rig.pass(20_000);
    renew(&mut rig, 0);
    assert_eq!(
        rig.unit().status.run().unwrap().ending.as_ref().unwrap().cause,
        RunEnd::LeaseRanOut
    );
    let effects = rig.ends(RunEnd::Signalled(15));
    assert_eq!(words(&effects), ["kill 1", "spawn 2"]);
}

#[test]
fn an_older_renewal_shortens_nothing() {
    let mut rig = up();
    renew(&mut rig, 15_000);
    rig.pass(19_000);
    assert!(rig.unit().status.run().unwrap().ending.is_none());
}

#[test]
fn a_run_that_ends_otherwise_has_no_more_time_than_its_lease() {
    let mut rig = up();
    rig.pass(15_000);
    // An order asks for its end, and has no effect on the lease.
    rig.order(leased(2, Wanted::Stopped));
    rig.told(RunEvent::Extended(Millis::minutes(10)));
    assert_eq!(words(&rig.pass(9_999)), [""; 0]);
    assert_eq!(words(&rig.pass(1)), ["kill 1"]);
    rig.told(RunEvent::Emptied);
    assert_eq!(rig.report().last_end, Some(RunEnd::Asked));
}

#[test]
fn what_was_killed_meanwhile_was_killed_for_its_lease() {
    for end in [RunEnd::Signalled(9), RunEnd::Unknown] {
        let mut rig = up();
        // The sitter did not run, so nobody woke it.
        rig.boot_ms += 30_000;
        rig.ends(end);
        assert_eq!(rig.report().last_end, Some(RunEnd::LeaseRanOut));
    }
    let mut rig = up();
    rig.boot_ms += 30_000;
    rig.ends(RunEnd::Exited(3));
    assert_eq!(rig.report().last_end, Some(RunEnd::Exited(3)));
}

#[test]
fn the_next_sitter_goes_on_with_the_leases_that_it_is_told_of() {
    let mut rig = up();
    let renewal = renewal(&rig, 1, 0);
    assert_eq!(words(&rig.crash(1_000)), ["find 1"]);
    rig.feed(renewal);
    rig.told(RunEvent::Found);
    rig.pass(18_000);
    assert!(rig.unit().status.run().unwrap().ending.is_none());
    assert!(words(&rig.pass(1_000)).contains(&"signal 1 15".to_owned()));
}

#[test]
fn the_next_sitter_ends_a_run_without_a_known_lease() {
    let mut rig = up();
    rig.crash(0);
    rig.told(RunEvent::Found);
    // Nobody knows how much time it had left.
    let effects = rig.pass(0);
    let said = |word: &str| words(&effects).iter().any(|it| it == word);
    assert!(said("signal 1 15") && said("kill 1"), "{effects:?}");
}

#[test]
fn after_a_reboot_a_unit_waits_for_a_lease() {
    let mut rig = up();
    assert_eq!(words(&rig.reboot()), [""; 0]);
    assert_eq!(rig.state(), UnitState::AwaitingLease);
    assert_eq!(rig.report().last_end, Some(RunEnd::HostRestarted));
    // Nobody saw the run end, so the number that was spoken for is left out.
    assert_eq!(words(&renew(&mut rig, 0)), ["spawn 3"]);
}

#[test]
fn a_lease_holds_also_while_nothing_can_be_written() {
    let mut rig = up();
    rig.units.write_failed("no space left on device");
    rig.boot_ms += 20_000;
    rig.take(Input::Woken);
    let words = words(&rig.effects());
    assert!(words.contains(&"signal 1 15".to_owned()), "{words:?}");
}

#[test]
fn a_launch_is_not_waited_for_longer_than_it_takes() {
    let mut rig = Rig::new();
    let mut order = running(1);
    order.unit.upkeep.ready.sign = ReadySign::Notify;
    rig.order(order);
    renew(&mut rig, 0);
    rig.pass(25_000);
    // Its process comes when the lease is over.
    rig.spawned();
    let effects = rig.pass(0);
    assert!(words(&effects).contains(&"signal 1 15".to_owned()), "{effects:?}");
}

#[test]
fn without_a_lease_only_proof_counts_and_a_unit_runs_as_ever() {
    let mut rig = Rig::new();
    let mut order = running(1);
    order.unit.upkeep.at_most_one = Some(AtMostOne { lease: None });
    assert_eq!(words(&rig.order(order)), ["watching", "spawn 1"]);
    assert!(rig.units.needed_leases().next().is_none());
}

#[test]
fn an_order_of_a_later_placement_waits_for_its_own_lease() {
    let mut rig = up();
    let mut order = running(2);
    order.unit.instance.placement = Placement(2);
    rig.order(order);
    rig.ends(RunEnd::Signalled(15));
    assert_eq!(rig.state(), UnitState::AwaitingLease);
    let old = renewal(&rig, 1, 0);
    assert_eq!(words(&rig.feed(old)), [""; 0]);
    let new = renewal(&rig, 2, 0);
    assert_eq!(words(&rig.feed(new)), ["spawn 1"]);
}
