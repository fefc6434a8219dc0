//! What the next sitter does with what the last one has left: after a crash, a reboot, a full disk.

mod common;

use common::*;
use orchestra_model::{
    Millis, Params,
    delivery::OrderNumber,
    service::{ReadySign, RestartRule, RestartWhen, RunEnd, UnitState, Wanted},
};
use orchestra_units::{Effect, Input, Rejection, RunEvent, WatchEnd, journal};

const CRASH: RunEnd = RunEnd::Exited(1);

/// Parameters that are in memory alone.
fn secret(n: u64) -> orchestra_units::Ordered {
    orchestra_units::Ordered { keep_params: false, ..running(n) }
}

#[test]
fn a_run_that_lives_on_is_found_and_its_watch_goes_on() {
    let mut rig = Rig::up(running(1));
    rig.pass(4_000);
    assert_eq!(words(&rig.crash(3_000)), ["find 1"]);
    assert_eq!(rig.state(), UnitState::Ready);
    assert_eq!(watch_ends(&rig.pass(3_000)), [], "nobody has said yet that it lives");
    assert_eq!(watch_ends(&rig.told(RunEvent::Found)), [(1, WatchEnd::Ready)]);
    assert_eq!(rig.run(), 1);
}

#[test]
fn a_run_that_ended_meanwhile_is_restarted_by_its_rule() {
    let mut rig = Rig::up(running(1));
    rig.crash(1_000);
    assert_eq!(words(&rig.told(RunEvent::MainEnded(RunEnd::Unknown))), ["kill 1"]);
    let next = spawned_run(&rig.told(RunEvent::Emptied));
    assert_eq!(next, Some(3), "the last sitter may have begun the second");
    assert_eq!(rig.report().restarts, 1);
}

#[test]
fn a_run_that_began_before_it_was_on_disk_is_hunted_and_its_number_left_out() {
    let mut rig = Rig::up(running(1));
    for event in [RunEvent::MainEnded(CRASH), RunEvent::Emptied] {
        let run = rig.unit().status.last;
        rig.take(Input::Run { unit: key(), run, event });
    }
    assert_eq!(spawned_run(&rig.effects()), Some(2));
    // Nothing of that is written.
    assert_eq!(words(&rig.crash(0)), ["find 1"]);
    // What is killed is all that is left of the unit.
    assert_eq!(words(&rig.told(RunEvent::MainEnded(RunEnd::Unknown))), ["kill 1"]);
    assert_eq!(words(&rig.crash(0)), ["find 1", "kill 1"], "the number is still left out");
    assert_eq!(spawned_run(&rig.told(RunEvent::Emptied)), Some(3));
    assert_eq!(words(&rig.crash(0)), ["kill 3"]);
    assert_eq!(spawned_run(&rig.told(RunEvent::Emptied)), Some(4), "nothing follows a start early");
}

#[test]
fn a_unit_that_is_gone_keeps_the_number_that_may_have_been_used() {
    let mut rig = Rig::up(running(1));
    rig.crash(0);
    rig.order(order(2, Wanted::Gone));
    rig.told(RunEvent::MainEnded(RunEnd::Unknown));
    rig.told(RunEvent::Emptied);
    assert_eq!(rig.units.state().tombstones()[&key()].last, run_id(2));
}

#[test]
fn a_run_that_lives_was_followed_by_no_other() {
    let mut rig = Rig::up(running(1));
    rig.crash(0);
    rig.told(RunEvent::Found);
    for event in [RunEvent::MainEnded(CRASH), RunEvent::Emptied] {
        let run = rig.unit().status.last;
        rig.take(Input::Run { unit: key(), run, event });
    }
    assert_eq!(spawned_run(&rig.effects()), Some(2));
}

#[test]
fn a_run_without_a_known_process_is_hunted_and_never_spawned_again() {
    let rule = RestartRule { when: RestartWhen::Never, ..Default::default() };
    let mut rig = Rig::new();
    rig.order(with_restart(1, rule));
    assert_eq!(words(&rig.crash(0)), ["kill 1"]);
    assert_eq!(words(&rig.pass(60_000)), [] as [&str; 0]);
    assert_eq!(words(&rig.crash(0)), ["kill 1"], "and again by the next");
    assert_eq!(spawned_run(&rig.told(RunEvent::Emptied)), Some(2), "its rule does not count it");
    assert_eq!(rig.report().restarts, 0);
}

#[test]
fn a_run_that_is_ended_goes_on_being_ended() {
    let mut rig = Rig::up(with_grace(1, Wanted::Running, 10_000));
    rig.order(order(2, Wanted::Stopped));
    rig.settle(1);
    assert_eq!(words(&rig.crash(4_000)), ["find 1", "signal 1 15"]);
    assert_eq!(words(&rig.pass(5_999)), [] as [&str; 0]);
    assert_eq!(words(&rig.pass(1)), ["kill 1"], "downtime is part of its grace");
    assert_eq!(words(&rig.crash(0)), ["find 1", "signal 1 15"]);
    assert_eq!(words(&rig.pass(0)), ["kill 1"]);
    assert_eq!(watch_ends(&rig.told(RunEvent::Emptied)), [(2, WatchEnd::Ready)]);
}

#[test]
fn how_a_run_ended_survives_a_crash_before_it_is_empty() {
    let rule = RestartRule { when: RestartWhen::OnFailure, ..Default::default() };
    let mut rig = Rig::up(with_restart(1, rule));
    rig.told(RunEvent::MainEnded(RunEnd::Exited(0)));
    assert_eq!(words(&rig.crash(0)), ["find 1", "kill 1"]);
    rig.told(RunEvent::MainEnded(RunEnd::Unknown));
    rig.told(RunEvent::Emptied);
    assert_eq!(rig.state(), UnitState::Ended);
    assert_eq!(rig.report().last_end, Some(RunEnd::Exited(0)));
}

#[test]
fn counts_of_restarts_survive_a_sitter() {
    let rule = RestartRule { attempts: Some(2), ..Default::default() };
    let mut rig = Rig::up(with_restart(1, rule));
    rig.ends(CRASH);
    rig.spawned();
    rig.crash(0);
    rig.told(RunEvent::Found);
    rig.ends(CRASH);
    rig.pass(1_000);
    rig.spawned();
    rig.crash(0);
    rig.ends(CRASH);
    assert_eq!((rig.state(), rig.report().restarts), (UnitState::GaveUp, 2));
}

#[test]
fn a_wait_is_over_when_it_would_have_been() {
    let rule = RestartRule { first: Millis::seconds(30), ..Default::default() };
    let mut rig = Rig::up(with_restart(1, rule));
    rig.ends(CRASH);
    assert_eq!(rig.state(), UnitState::BackingOff);
    assert_eq!(spawned_run(&rig.crash(10_000)), None);
    assert_eq!(spawned_run(&rig.crash(20_000)), Some(2));
}

#[test]
fn a_reboot_ends_runs_and_starts_what_is_wanted_without_counting() {
    let attempts = Some(0);
    let mut rig = Rig::up(with_restart(1, RestartRule { attempts, ..Default::default() }));
    assert_eq!(words(&rig.reboot()), ["spawn 3"]);
    assert_eq!(rig.report().last_end, Some(RunEnd::HostRestarted));
    assert_eq!(rig.report().restarts, 0);
    rig.order(order(2, Wanted::Stopped));
    rig.spawned();
    rig.ends(RunEnd::Exited(0));
    assert_eq!(spawned_run(&rig.reboot()), None, "what is stopped stays so");
}

#[test]
fn a_reboot_takes_the_time_with_it_that_had_passed() {
    let mut order = with_ready(1, ReadySign::Notify);
    order.unit.upkeep.ready.deadline = Millis::minutes(60);
    let mut rig = Rig::up(order);
    rig.pass(300_000);
    rig.wall = 0;
    rig.reboot();
    rig.spawned();
    let left = 300_000 - 3_000;
    assert_eq!(watch_ends(&rig.pass(left - 1)), []);
    assert_eq!(watch_ends(&rig.pass(60_000)), [(1, WatchEnd::TimedOut)], "to the minute");
}

#[test]
fn wall_time_may_be_set_to_anything() {
    let mut rig = Rig::up(running(1));
    for wall in [0, u64::MAX, 5, 1_800_000_000_000] {
        rig.wall = wall;
        assert_eq!(watch_ends(&rig.feed(Input::Woken)), []);
    }
    assert_eq!(watch_ends(&rig.pass(10_000)), [(1, WatchEnd::Ready)]);
}

#[test]
fn parameters_that_are_not_kept_touch_no_disk() {
    let mut rig = Rig::new();
    let mut order = secret(1);
    order.unit.params = Params::from_pairs([("password", "tellnobody")]).unwrap();
    let effects = rig.order(order);
    let spawned = effects.iter().any(|effect| match effect {
        Effect::Spawn { order, .. } => order.params.get("password") == Some("tellnobody"),
        _ => false,
    });
    assert!(spawned);
    let compacted = journal::compacted(rig.units.state());
    for bytes in [&rig.disk, &compacted] {
        assert!(!bytes.windows(10).any(|bytes| bytes == b"tellnobody"));
    }
}

#[test]
fn a_unit_whose_parameters_are_gone_waits_for_them() {
    let mut rig = Rig::up(secret(1));
    assert_eq!(words(&rig.reboot()), [] as [&str; 0]);
    assert_eq!(rig.state(), UnitState::AwaitingParams);
    let found = |n| Input::ParamsFound {
        unit: key(),
        order: OrderNumber(n),
        params: Params::from_pairs([("port", "80")]).unwrap(),
    };
    assert_eq!(words(&rig.feed(found(9))), [] as [&str; 0], "of another order");
    assert_eq!(spawned_run(&rig.feed(found(1))), Some(3));
    rig.spawned();
    rig.reboot();
    assert_eq!(rig.state(), UnitState::AwaitingParams);
    assert_eq!(spawned_run(&rig.order(secret(2))), Some(5), "or for an order that brings them");
}

#[test]
fn a_unit_whose_parameters_are_gone_runs_on() {
    let mut rig = Rig::up(secret(1));
    rig.crash(0);
    rig.told(RunEvent::Found);
    assert_eq!(rig.state(), UnitState::Ready);
    assert_eq!(words(&rig.order(secret(2))), ["1 Superseded", "watching"], "the same version");
    assert_eq!(spawned_run(&rig.ends(CRASH)), Some(2), "the order has brought them");
}

#[test]
fn the_end_of_a_watch_is_told_until_the_attempt_has_it() {
    let mut rig = Rig::up(running(1));
    rig.pass(10_000);
    assert_eq!(watch_ends(&rig.crash(0)), [(1, WatchEnd::Ready)]);
    assert_eq!(watch_ends(&rig.crash(0)), [(1, WatchEnd::Ready)]);
    rig.settle(1);
    assert_eq!(watch_ends(&rig.crash(0)), []);
}

#[test]
fn while_the_journal_is_broken_runs_go_on_and_none_begins() {
    let mut rig = Rig::up(running(1));
    rig.units.write_failed("no space left on device");
    let refused = Err(Rejection::Broken("no space left on device".to_owned()));
    assert_eq!(rig.try_order(running(2)), refused);
    assert_eq!(watch_ends(&rig.pass(10_000)), [(1, WatchEnd::Ready)], "told from memory");
    assert_eq!(words(&rig.told(RunEvent::MainEnded(CRASH))), ["kill 1"]);
    assert_eq!(words(&rig.told(RunEvent::Emptied)), [] as [&str; 0]);
    assert_eq!(rig.state(), UnitState::BackingOff);
    assert_eq!(words(&rig.pass(3_600_000)), [] as [&str; 0]);
    rig.disk = journal::compacted(rig.units.state());
    rig.units.rewritten();
    rig.commit();
    assert_eq!(words(&rig.effects()), ["spawn 2"]);
}

#[test]
fn while_the_journal_is_broken_no_run_is_ended_that_could_not_be_started_again() {
    let mut rig = Rig::up(with_ready(1, ReadySign::Notify));
    rig.units.write_failed("no space left on device");
    assert_eq!(words(&rig.pass(300_000)), [] as [&str; 0], "it may be of some use");
    rig.disk = journal::compacted(rig.units.state());
    rig.units.rewritten();
    rig.commit();
    assert_eq!(words(&rig.pass(0)), ["signal 1 15"]);
}

#[test]
fn a_run_whose_beginning_could_not_be_written_was_not_begun() {
    let mut rig = Rig::new();
    rig.try_order(running(1)).unwrap();
    rig.units.write_failed("no space left on device");
    rig.units.audit().unwrap();
    let effects = rig.effects();
    assert_eq!(words(&effects), ["1 Unwritten(\"no space left on device\")"]);
    assert!(matches!(rig.report().last_end, Some(RunEnd::NotSpawned(_))));
    rig.disk = journal::compacted(rig.units.state());
    rig.units.rewritten();
    let effects = rig.pass(60_000);
    assert_eq!(spawned_run(&effects), Some(2), "its number may be on the disk");
}
