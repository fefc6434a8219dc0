//! One test a rule of runs and restarts.

mod common;

use common::*;
use orchestra_model::{
    ByteSize, Millis,
    service::{Exhausted, ReadySign, RestartRule, RestartWhen, RunEnd, UnitState, Wanted},
};
use orchestra_units::{Effect, Entry, Input, RunEvent};

const CRASH: RunEnd = RunEnd::Exited(1);
const HAD: Exhausted =
    Exhausted { limit: Some(ByteSize(64 << 20)), peak: Some(ByteSize(64 << 20)) };

#[test]
fn a_run_is_durable_as_starting_before_it_is_spawned() {
    let mut rig = Rig::new();
    rig.try_order(running(1)).unwrap();
    let is_run = |entry: &Entry| match entry {
        Entry::Status { status, .. } => status.run().is_some(),
        _ => false,
    };
    assert!(rig.units.unwritten().iter().any(is_run));
    assert_eq!(rig.effects(), []);
    rig.commit();
    assert_eq!(words(&rig.effects()), ["watching", "spawn 1"]);
}

#[test]
fn the_next_run_begins_when_nothing_of_the_last_one_is_left() {
    let mut rig = Rig::up(running(1));
    assert_eq!(words(&rig.told(RunEvent::MainEnded(CRASH))), ["kill 1"]);
    assert_eq!(rig.state(), UnitState::Stopping);
    assert_eq!(rig.pass(3_600_000).iter().find(|it| matches!(it, Effect::Spawn { .. })), None);
    assert_eq!(words(&rig.told(RunEvent::Emptied)), ["spawn 2"]);
}

#[test]
fn the_first_restart_has_no_timer() {
    let mut rig = Rig::up(running(1));
    let at = rig.boot_ms;
    assert_eq!(spawned_run(&rig.ends(CRASH)), Some(2));
    assert_eq!(rig.boot_ms, at);
    assert_eq!(rig.report().restarts, 1);
    assert_eq!(rig.report().last_end, Some(CRASH));
}

#[test]
fn a_run_of_which_nothing_is_left_is_followed_in_one_write_and_not_killed() {
    let mut rig = Rig::up(running(1));
    let run = rig.unit().status.last;
    for event in [RunEvent::MainEnded(CRASH), RunEvent::Emptied] {
        rig.take(Input::Run { unit: key(), run, event });
    }
    assert_eq!(words(&rig.effects()), ["spawn 2"], "its number was spoken for on disk");
    rig.commit();
    assert_eq!(rig.effects(), []);
}

#[test]
fn a_run_whose_number_is_not_spoken_for_on_disk_waits_for_the_disk() {
    let mut rig = Rig::new();
    rig.order(running(1));
    let run = rig.unit().status.last;
    let process = process(run, rig.boot, rig.boot_ms);
    let spawned = RunEvent::Spawned { process, score: SCORE };
    for event in [spawned, RunEvent::MainEnded(CRASH), RunEvent::Emptied] {
        rig.take(Input::Run { unit: key(), run, event });
    }
    assert_eq!(rig.effects(), []);
    rig.commit();
    assert_eq!(words(&rig.effects()), ["spawn 2"]);
}

#[test]
fn a_run_of_an_order_that_is_not_on_disk_waits_for_the_disk() {
    let mut rig = Rig::up(running(1));
    let run = rig.unit().status.last;
    rig.try_order(running(2)).unwrap();
    for event in [RunEvent::MainEnded(CRASH), RunEvent::Emptied] {
        rig.take(Input::Run { unit: key(), run, event });
    }
    assert_eq!(spawned_run(&rig.effects()), None);
    rig.commit();
    assert_eq!(spawned_run(&rig.effects()), Some(2));
}

#[test]
fn waits_double_up_to_their_bound_and_are_drawn_evenly() {
    let max_delay = Millis(3_000);
    let mut longest = [0; 12];
    for n in 0..60 {
        let mut rig = Rig::up(with_restart(1, RestartRule { max_delay, ..Default::default() }));
        rig.pass(n);
        for (index, longest) in longest.iter_mut().enumerate() {
            let mut effects = rig.ends(CRASH);
            let from = rig.boot_ms;
            while spawned_run(&effects).is_none() {
                let wake = rig.units.next_wake().unwrap();
                effects = rig.pass(wake - rig.boot_ms);
            }
            let waited = rig.boot_ms - from;
            let bound = if index == 0 { 0 } else { (100 << (index - 1)).min(3_000) };
            assert!(waited <= bound, "{waited} of {bound}");
            *longest = waited.max(*longest);
            rig.spawned();
        }
    }
    assert!(longest[0] == 0 && longest[11] > 100 && longest[11] <= 3_000, "{longest:?}");
}

#[test]
fn a_run_that_was_up_for_long_begins_the_waits_anew() {
    let mut rig = Rig::up(running(1));
    for _ in 0..8 {
        let mut effects = rig.ends(CRASH);
        if spawned_run(&effects).is_none() {
            effects = rig.pass(60_000);
        }
        assert!(spawned_run(&effects).is_some());
        rig.spawned();
    }
    rig.pass(9_999);
    assert_eq!(spawned_run(&rig.ends(CRASH)), None, "it was not up for stable_after");
    rig.pass(60_000);
    rig.spawned();
    rig.pass(10_000);
    assert!(spawned_run(&rig.ends(CRASH)).is_some(), "at once again");
}

#[test]
fn a_unit_gives_up_when_its_window_holds_too_many_restarts() {
    let attempts = Some(3);
    let mut rig = Rig::up(with_restart(1, RestartRule { attempts, ..Default::default() }));
    for run in 2..=4 {
        let mut effects = rig.ends(CRASH);
        effects.extend(rig.pass(1_000));
        assert_eq!(spawned_run(&effects), Some(run));
        rig.spawned();
    }
    let effects = rig.ends(CRASH);
    assert_eq!(rig.state(), UnitState::GaveUp);
    assert_eq!(words(&effects), ["kill 4", "1 GaveUp"]);
    assert_eq!(reports(&effects).last().unwrap().state, UnitState::GaveUp, "told at once");
    assert_eq!(rig.pass(86_400_000), [], "it waits for a person");
    assert_eq!(rig.units.next_wake(), None);
}

#[test]
fn no_attempts_are_one_run() {
    let attempts = Some(0);
    let mut rig = Rig::up(with_restart(1, RestartRule { attempts, ..Default::default() }));
    rig.ends(CRASH);
    assert_eq!((rig.state(), rig.report().restarts), (UnitState::GaveUp, 0));
}

#[test]
fn the_window_of_restarts_slides() {
    let rule = RestartRule { attempts: Some(2), window: Millis::minutes(1), ..Default::default() };
    let mut rig = Rig::up(with_restart(1, rule));
    for _ in 0..20 {
        rig.pass(30_000);
        assert!(spawned_run(&rig.ends(CRASH)).is_some(), "{:?}", rig.state());
        rig.spawned();
    }
    rig.pass(29_998);
    rig.ends(CRASH);
    assert_eq!(rig.state(), UnitState::GaveUp, "three within a minute");
}

#[test]
fn a_rule_with_many_attempts_is_kept_in_little_memory() {
    let rule = RestartRule {
        attempts: Some(10_000),
        max_delay: Millis(0),
        window: Millis::minutes(10),
        ..Default::default()
    };
    let mut rig = Rig::up(with_restart(1, rule));
    for _ in 0..10_000 {
        rig.pass(20);
        rig.ends(CRASH);
        rig.spawned();
    }
    assert!(rig.unit().status.recent.moments().count() <= 65);
    rig.ends(CRASH);
    assert_eq!((rig.state(), rig.report().restarts), (UnitState::GaveUp, 10_000));
}

#[test]
fn the_rule_says_after_which_ends_another_run_follows() {
    let after = |when, end| {
        let mut rig = Rig::up(with_restart(1, RestartRule { when, ..Default::default() }));
        let effects = rig.ends(end);
        (spawned_run(&effects).is_some(), rig.state())
    };
    let (restarted, ended) = ((true, UnitState::Starting), (false, UnitState::Ended));
    assert_eq!(after(RestartWhen::Always, RunEnd::Exited(0)), restarted);
    assert_eq!(after(RestartWhen::OnFailure, RunEnd::Exited(0)), ended);
    assert_eq!(after(RestartWhen::OnFailure, RunEnd::Exited(3)), restarted);
    assert_eq!(after(RestartWhen::OnFailure, RunEnd::Unknown), restarted);
    assert_eq!(after(RestartWhen::Never, RunEnd::Exited(3)), ended);
}

#[test]
fn a_passing_want_of_the_host_is_tried_again_and_does_not_count() {
    let attempts = Some(1);
    let mut rig = Rig::new();
    rig.order(with_restart(1, RestartRule { attempts, ..Default::default() }));
    for run in 1..=5 {
        let why = "no processes left".to_owned();
        let mut effects = rig.told(RunEvent::NotSpawned { why, passing: true });
        assert_eq!(spawned_run(&effects), None, "it does not spin");
        effects.extend(rig.pass(60_000));
        assert_eq!(spawned_run(&effects), Some(run + 1), "no number comes twice");
    }
    assert_eq!(rig.report().restarts, 0);
    let why = "no such score".to_owned();
    rig.told(RunEvent::NotSpawned { why: why.clone(), passing: false });
    rig.pass(60_000);
    assert_eq!((rig.report().restarts, rig.run()), (1, 7));
    rig.told(RunEvent::NotSpawned { why: why.clone(), passing: false });
    assert_eq!(rig.state(), UnitState::GaveUp);
    assert_eq!(rig.report().last_end, Some(RunEnd::NotSpawned(why)));
}

#[test]
fn a_run_that_is_not_ready_in_time_is_ended_and_counts() {
    let mut rig = Rig::up(with_ready(1, ReadySign::Notify));
    assert_eq!(rig.state(), UnitState::Starting);
    assert_eq!(words(&rig.pass(119_999)), [] as [&str; 0]);
    assert_eq!(words(&rig.pass(1)), ["signal 1 15"]);
    assert_eq!(words(&rig.pass(30_000)), ["kill 1"]);
    assert_eq!(spawned_run(&rig.ends(RunEnd::Signalled(9))), Some(2));
    assert_eq!(rig.report().last_end, Some(RunEnd::NeverReady));
    assert_eq!(rig.report().restarts, 1);
}

#[test]
fn a_run_that_asks_for_more_time_gets_it() {
    let mut rig = Rig::up(with_ready(1, ReadySign::Notify));
    rig.pass(100_000);
    rig.told(RunEvent::Extended(Millis::minutes(5)));
    assert_eq!(words(&rig.pass(300_000)), [] as [&str; 0]);
    rig.told(RunEvent::ReadyTold);
    assert_eq!(rig.state(), UnitState::Ready);
}

#[test]
fn a_run_that_is_silent_for_longer_than_it_promised_is_killed_at_once() {
    let mut rig = Rig::up(running(1));
    rig.told(RunEvent::WatchdogSet(Millis(5_000)));
    for _ in 0..10 {
        rig.pass(4_000);
        rig.told(RunEvent::WatchdogTold);
    }
    let effects = rig.pass(5_000);
    assert!(words(&effects).ends_with(&["kill 1".to_owned()]), "{effects:?}");
    assert_eq!(spawned_run(&rig.told(RunEvent::Emptied)), Some(2));
    assert_eq!(rig.report().last_end, Some(RunEnd::Watchdog));
}

#[test]
fn a_host_that_stood_still_makes_no_run_silent() {
    let mut rig = Rig::up(running(1));
    rig.told(RunEvent::WatchdogSet(Millis(5_000)));
    rig.boot_ms += 60_000;
    let effects = rig.feed(Input::Woken);
    assert!(!words(&effects).contains(&"kill 1".to_owned()), "nobody was there to hear");
    assert_eq!(words(&rig.pass(5_000)).last().map(String::as_str), Some("kill 1"));
}

#[test]
fn any_process_killed_for_want_of_memory_ends_the_run() {
    let mut rig = Rig::up(running(1));
    assert_eq!(words(&rig.told(RunEvent::OutOfMemory(HAD))), ["kill 1", "1 OutOfMemory"]);
    assert_eq!(spawned_run(&rig.told(RunEvent::Emptied)), Some(2));
    assert_eq!(rig.report().last_end, Some(RunEnd::OutOfMemory(HAD)));
    rig.spawned();
    rig.told(RunEvent::MainEnded(RunEnd::Signalled(9)));
    rig.told(RunEvent::OutOfMemory(HAD));
    rig.told(RunEvent::Emptied);
    assert_eq!(rig.report().last_end, Some(RunEnd::OutOfMemory(HAD)), "told in the other order");
}

#[test]
fn a_run_that_says_it_is_ending_has_its_grace_for_that() {
    let mut rig = Rig::up(with_grace(1, Wanted::Running, 2_000));
    rig.told(RunEvent::StoppingTold);
    assert_eq!(rig.state(), UnitState::Stopping);
    assert_eq!(words(&rig.pass(1_999)), [] as [&str; 0]);
    assert_eq!(words(&rig.pass(1)), ["kill 1"]);
    assert_eq!(spawned_run(&rig.told(RunEvent::Emptied)), Some(2));
    assert_eq!(rig.report().last_end, Some(RunEnd::Signalled(9)));
}

#[test]
fn a_run_that_asks_for_ever_more_time_to_end_is_killed_within_an_hour() {
    let mut rig = Rig::up(running(1));
    rig.order(order(2, Wanted::Stopped));
    let from = rig.boot_ms;
    while !words(&rig.pass(20_000)).contains(&"kill 1".to_owned()) {
        rig.told(RunEvent::Extended(Millis::minutes(1)));
    }
    let hour = 3_600_000;
    assert!((hour..hour + 20_000).contains(&(rig.boot_ms - from)), "{}", rig.boot_ms - from);
}

#[test]
fn what_is_told_of_another_run_than_the_present_one_is_of_no_use() {
    let mut rig = Rig::up(running(1));
    rig.ends(CRASH);
    rig.spawned();
    let before = rig.units.state().clone();
    for event in [RunEvent::MainEnded(CRASH), RunEvent::Emptied, RunEvent::OutOfMemory(HAD)] {
        for run in [1, 3] {
            assert_eq!(rig.told_of(run_id(run), event.clone()), []);
        }
    }
    assert_eq!(*rig.units.state(), before);
}
