//! What is told of units, and how often.

mod common;

use common::*;
use orchestra_model::{
    Millis,
    delivery::StoreId,
    service::{ReadySign, RestartRule, RunEnd, UnitOrder, UnitReport, UnitState, Wanted},
};
use orchestra_units::{Effect, Ordered, RunEvent};

const CRASH: RunEnd = RunEnd::Exited(1);

fn states(effects: &[orchestra_units::Effect]) -> Vec<UnitState> {
    reports(effects).iter().map(|report| report.state).collect()
}

#[test]
fn a_restart_that_is_ready_within_a_second_is_one_report() {
    let mut rig = Rig::up(running(1));
    rig.pass(60_000);
    let mut effects = rig.ends(CRASH);
    effects.extend(rig.pass(900));
    effects.extend(rig.spawned());
    let told = reports(&effects);
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!((told[0].state, told[0].restarts), (UnitState::Ready, 1));
    assert_eq!(told[0].last_end, Some(CRASH));
    assert_eq!(reports(&rig.pass(60_000)), []);
}

#[test]
fn a_restart_that_takes_longer_is_told_when_a_second_is_over() {
    let mut rig = Rig::up(with_ready(1, ReadySign::Notify));
    rig.told(RunEvent::ReadyTold);
    rig.pass(60_000);
    let mut effects = rig.ends(CRASH);
    effects.extend(rig.pass(999));
    assert_eq!(states(&effects), []);
    assert_eq!(states(&rig.pass(1)), [UnitState::Starting]);
    rig.spawned();
    assert_eq!(states(&rig.told(RunEvent::ReadyTold)), [], "a second has not passed");
    assert_eq!(states(&rig.pass(1_000)), [UnitState::Ready]);
}

#[test]
fn a_unit_is_told_once_a_second_at_most_and_the_last_state_wins() {
    let mut rig = Rig::up(running(1));
    rig.pass(60_000);
    let mut told = Vec::new();
    let from = rig.boot_ms;
    while rig.boot_ms < from + 10_000 {
        told.extend(reports(&rig.ends(CRASH)));
        told.extend(reports(&rig.pass(50)));
        if rig.state() == UnitState::Starting {
            told.extend(reports(&rig.spawned()));
        }
    }
    assert!((5..=11).contains(&told.len()), "{}", told.len());
    told.extend(reports(&rig.pass(120_000)));
    told.extend(reports(&rig.spawned()));
    told.extend(reports(&rig.pass(2_000)));
    // How old the run is changes without being told.
    let last = told.pop().map(|told| UnitReport { run_age: None, ..told });
    assert_eq!(last, Some(rig.report()));
}

#[test]
fn giving_up_waits_for_no_second() {
    let attempts = Some(0);
    let mut rig = Rig::new();
    rig.order(with_restart(1, RestartRule { attempts, ..Default::default() }));
    assert_eq!(states(&rig.spawned()), [UnitState::Ready]);
    assert_eq!(states(&rig.ends(CRASH)), [UnitState::GaveUp]);
}

#[test]
fn a_report_is_given_when_what_it_says_is_durable() {
    let mut rig = Rig::new();
    rig.order(running(1));
    let run = rig.unit().status.last;
    let process = process(run, rig.boot, rig.boot_ms);
    let spawned = RunEvent::Spawned { process, score: SCORE };
    rig.take(orchestra_units::Input::Run { unit: key(), run, event: spawned });
    assert_eq!(rig.effects(), []);
    rig.commit();
    assert_eq!(states(&rig.effects()), [UnitState::Ready]);
}

/// Where the end of the watch lies among effects, and the last report before it.
fn told_before_the_end(effects: &[Effect]) -> Option<UnitState> {
    let end = effects.iter().position(|effect| matches!(effect, Effect::EndWatch { .. }))?;
    states(&effects[..end]).last().copied()
}

#[test]
fn how_a_unit_is_is_told_before_the_end_of_its_watch() {
    let mut rig = Rig::up(Ordered {
        unit: UnitOrder { healthy_for: Millis(0), ..running(1).unit },
        ..running(1)
    });
    // A restart within the second in which something was told.
    let again = running(2);
    let unit =
        UnitOrder { wanted: Wanted::Restarted, healthy_for: Millis(0), ..again.unit.clone() };
    rig.order(Ordered { unit, ..again });
    rig.ends(RunEnd::Signalled(15));
    assert_eq!(told_before_the_end(&rig.spawned()), Some(UnitState::Ready));
    let last = running(3);
    let unit = UnitOrder { wanted: Wanted::Gone, ..last.unit.clone() };
    rig.order(Ordered { unit, ..last });
    let gone = rig.ends(RunEnd::Signalled(15));
    assert_eq!(told_before_the_end(&gone), Some(UnitState::Gone));
}

#[test]
fn each_store_hears_of_its_own_units() {
    let rig = Rig::up(running(1));
    assert_eq!(rig.units.stores().into_iter().collect::<Vec<_>>(), [STORE]);
    assert_eq!(rig.units.reports(STORE).count(), 1);
    assert_eq!(rig.units.reports(StoreId([2; 16])).count(), 0);
}

#[test]
fn the_moment_of_a_state_is_by_the_wall_clock() {
    let mut rig = Rig::up(running(1));
    let since = rig.wall;
    rig.pass(60_000);
    assert_eq!(rig.report().since.0, since);
}
