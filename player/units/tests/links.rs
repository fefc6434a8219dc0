//! One test a rule of units that are linked to another one.

#![expect(clippy::unwrap_used, reason = "a test says so by failing")]

mod common;

use common::*;
use orchestra_model::{
    ServiceName,
    service::{ReadySign, RunEnd, UnitState, Wanted},
};
use orchestra_units::{Effect, Input, Ordered, RunEvent, UnitKey};

const CRASH: RunEnd = RunEnd::Exited(1);

/// The unit that is linked to the other one, which is [`key`].
fn linked() -> UnitKey {
    UnitKey { store: STORE, service: ServiceName::new("exporter").unwrap() }
}

fn linked_order(n: u64, wanted: Wanted) -> Ordered {
    let mut order = order(n, wanted);
    order.unit.service = linked().service;
    order.unit.upkeep.linked_to = Some(key().service);
    order
}

/// Both are up; the other one says by itself that it is ready.
fn both_up() -> Rig {
    let mut rig = Rig::up(with_ready(1, ReadySign::Notify));
    rig.told(RunEvent::ReadyTold);
    assert_eq!(of_linked(&rig.order(linked_order(2, Wanted::Running))), ["spawn 1"]);
    spawned_linked(&mut rig);
    rig
}

fn told_of_linked(rig: &mut Rig, event: RunEvent) -> Vec<Effect> {
    let run = rig.units.state().units()[&linked()].status.last;
    rig.feed(Input::Run { unit: linked(), run, event })
}

fn spawned_linked(rig: &mut Rig) {
    let run = rig.units.state().units()[&linked()].status.last;
    let process = process(run, rig.boot, rig.boot_ms);
    told_of_linked(rig, RunEvent::Spawned { process, score: SCORE });
}

fn linked_ends(rig: &mut Rig, end: RunEnd) -> Vec<Effect> {
    let mut effects = told_of_linked(rig, RunEvent::MainEnded(end));
    effects.extend(told_of_linked(rig, RunEvent::Emptied));
    effects
}

fn of_unit(effects: &[Effect], wanted: &UnitKey) -> Vec<String> {
    let is_of = |effect: &&Effect| match effect {
        Effect::Spawn { unit, .. }
        | Effect::Terminate { unit, .. }
        | Effect::KillAll { unit, .. }
        | Effect::Find { unit, .. } => unit == wanted,
        _ => false,
    };
    let effects: Vec<Effect> = effects.iter().filter(is_of).cloned().collect();
    // What is left of a run whose process has ended is killed, always.
    words(&effects).into_iter().filter(|word| !word.starts_with("kill")).collect()
}

fn of_linked(effects: &[Effect]) -> Vec<String> {
    of_unit(effects, &linked())
}

fn of_other(effects: &[Effect]) -> Vec<String> {
    of_unit(effects, &key())
}

fn state_of_linked(rig: &Rig) -> UnitState {
    let report = rig.units.reports(STORE).find(|report| report.service == linked().service);
    report.unwrap().state
}

fn last_end_of_linked(rig: &Rig) -> Option<RunEnd> {
    rig.units.state().units()[&linked()].status.last_end.clone()
}

#[test]
fn a_run_begins_once_the_other_is_ready() {
    let mut rig = Rig::new();
    assert_eq!(of_linked(&rig.order(linked_order(1, Wanted::Running))), [""; 0]);
    assert_eq!(state_of_linked(&rig), UnitState::AwaitingLinked);
    rig.order(with_ready(2, ReadySign::Notify));
    assert_eq!(of_linked(&rig.spawned()), [""; 0]);
    assert_eq!(of_linked(&rig.told(RunEvent::ReadyTold)), ["spawn 1"]);
}

#[test]
fn it_ends_before_an_order_ends_the_other_s_run_and_begins_after_it() {
    let mut rig = both_up();
    let effects = rig.order(with_ready(3, ReadySign::Notify).restarted());
    assert_eq!((of_linked(&effects), of_other(&effects)), (vec!["signal 1 15".into()], vec![]));
    assert_eq!(rig.state(), UnitState::Stopping, "it is told what will come");
    let effects = linked_ends(&mut rig, RunEnd::Exited(0));
    assert_eq!((of_linked(&effects), of_other(&effects)), (vec![], vec!["signal 1 15".into()]));
    assert_eq!(last_end_of_linked(&rig), Some(RunEnd::Linked));
    assert_eq!(of_other(&rig.ends(RunEnd::Exited(0))), ["spawn 2"]);
    rig.spawned();
    assert_eq!(of_linked(&rig.told(RunEvent::ReadyTold)), ["spawn 2"]);
    assert_eq!(rig.units.state().units()[&linked()].status.restarts, 0, "it is not its doing");
}

#[test]
fn an_end_of_the_other_that_nobody_asked_for_leaves_it_running() {
    let mut rig = both_up();
    let effects = rig.ends(CRASH);
    assert_eq!((of_linked(&effects), of_other(&effects)), (vec![], vec!["spawn 2".into()]));
    assert_eq!(state_of_linked(&rig), UnitState::Ready);
    // Its own next run waits for the other, which is not ready yet.
    rig.spawned();
    assert_eq!(of_linked(&linked_ends(&mut rig, CRASH)), [""; 0]);
    assert_eq!(state_of_linked(&rig), UnitState::AwaitingLinked);
    assert_eq!(of_linked(&rig.told(RunEvent::ReadyTold)), ["spawn 2"]);
}

#[test]
fn an_order_that_the_other_s_run_lives_through_leaves_it_running() {
    let mut rig = both_up();
    let effects = rig.order(with_ready(3, ReadySign::Notify));
    assert_eq!((of_linked(&effects), of_other(&effects)), (vec![], vec![]));
    assert_eq!(state_of_linked(&rig), UnitState::Ready);
}

#[test]
fn a_stop_or_a_removal_of_the_other_ends_it_first() {
    for wanted in [Wanted::Stopped, Wanted::Gone] {
        let mut rig = both_up();
        assert_eq!(of_other(&rig.order(order(3, wanted))), [""; 0]);
        assert_eq!(of_other(&linked_ends(&mut rig, RunEnd::Exited(0))), ["signal 1 15"]);
        let effects = rig.ends(RunEnd::Exited(0));
        assert_eq!((of_linked(&effects), of_other(&effects)), (vec![], vec![]));
        assert_eq!(state_of_linked(&rig), UnitState::AwaitingLinked);
        assert_eq!(rig.pass(3_600_000).iter().find(|it| matches!(it, Effect::Spawn { .. })), None);
    }
}

#[test]
fn it_ends_for_an_order_that_came_while_the_other_had_no_run() {
    let mut rig = both_up();
    rig.told(RunEvent::MainEnded(CRASH));
    let effects = rig.order(of_version(3, 2));
    assert_eq!(of_linked(&effects), ["signal 1 15"]);
    // The other begins when it is over.
    assert_eq!(of_other(&rig.told(RunEvent::Emptied)), [""; 0]);
    assert_eq!(of_other(&linked_ends(&mut rig, RunEnd::Exited(0))), ["spawn 2"]);
}

#[test]
fn whoever_takes_over_goes_on_with_what_was_begun() {
    let mut rig = both_up();
    rig.order(with_ready(3, ReadySign::Notify).restarted());
    let effects = rig.crash(1_000);
    assert_eq!(of_linked(&effects), ["find 1", "signal 1 15"]);
    assert_eq!(of_other(&effects), ["find 1"]);
    rig.told(RunEvent::Found);
    assert_eq!(of_other(&linked_ends(&mut rig, RunEnd::Exited(0))), ["signal 1 15"]);
}

#[test]
fn after_a_reboot_it_begins_after_the_other() {
    let mut rig = both_up();
    let effects = rig.reboot();
    assert_eq!((of_linked(&effects), of_other(&effects)), (vec![], vec!["spawn 3".into()]));
    rig.spawned();
    // Runs that are linked to others never begin early, so none of their numbers is left out.
    assert_eq!(of_linked(&rig.told(RunEvent::ReadyTold)), ["spawn 2"]);
}

trait Restarted {
    fn restarted(self) -> Self;
}

impl Restarted for Ordered {
    fn restarted(mut self) -> Self {
        self.unit.wanted = Wanted::Restarted;
        self
    }
}
