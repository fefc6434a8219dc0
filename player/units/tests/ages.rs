//! Orders for runs that are old, told as stories.

mod common;

use common::*;
use orchestra_model::{
    delivery::OrderNumber,
    service::{RunEnd, UnitState, Wanted},
    time::Millis,
};
use orchestra_units::{Ordered, RunEvent};

const SECOND: u64 = 1_000;

/// An order that spares a run which is younger than so many seconds.
fn younger(n: u64, seconds: u64) -> Ordered {
    let mut order = running(n);
    order.unit.wanted = Wanted::Younger(Millis(seconds * SECOND));
    order
}

#[test]
fn an_order_for_age_ends_an_old_run_and_spares_a_young_one() {
    let mut rig = Rig::up(running(1));
    rig.pass(100 * SECOND);
    rig.order(younger(2, 101));
    assert_eq!((rig.state(), rig.run()), (UnitState::Ready, 1), "it is not so old");
    rig.pass(10 * SECOND);
    rig.order(younger(3, 101));
    assert_eq!(rig.state(), UnitState::Stopping);
    rig.told(RunEvent::MainEnded(RunEnd::Exited(0)));
    let begun = rig.told(RunEvent::Emptied);
    assert_eq!(spawned_run(&begun), Some(2));
    rig.spawned();
    assert_eq!(rig.report().last_end, Some(RunEnd::Asked));
    assert_eq!(watch_ends(&rig.pass(10 * SECOND)).len(), 1);
}

#[test]
fn an_order_for_age_begins_no_run() {
    let mut order = running(1);
    order.unit.upkeep.restart.attempts = Some(0);
    let mut rig = Rig::up(order.clone());
    rig.told(RunEvent::MainEnded(RunEnd::Exited(1)));
    rig.told(RunEvent::Emptied);
    assert_eq!(rig.state(), UnitState::GaveUp);
    let unit = order.unit;
    let mut order = younger(2, 0);
    order.unit.upkeep = unit.upkeep;
    order.order = OrderNumber(2);
    rig.order(order);
    assert_eq!(rig.state(), UnitState::GaveUp, "that is for a person");
}

#[test]
fn how_old_a_run_is_goes_with_what_is_told_and_is_no_news_by_itself() {
    let mut rig = Rig::up(running(1));
    assert!(reports(&rig.pass(1_000 * SECOND)).is_empty());
    let told = rig.units.aged_reports(rig.now(), STORE).next().unwrap();
    assert!(told.run_age.unwrap() >= Millis(1_000 * SECOND), "{told:?}");
    rig.order(running(2));
    let told = reports(&rig.pass(SECOND));
    assert!(told.iter().all(|it| it.run_age.unwrap() >= Millis(1_000 * SECOND)), "{told:?}");
    rig.told(RunEvent::MainEnded(RunEnd::Exited(1)));
    rig.told(RunEvent::Emptied);
    let mut told = reports(&rig.spawned());
    told.extend(reports(&rig.pass(2 * SECOND)));
    assert!(told.last().unwrap().run_age.unwrap() < Millis(10 * SECOND), "{told:?}");
}
