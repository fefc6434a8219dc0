//! Signals for a run that goes on. An operator asked for a signal, or the run's parameters changed
//! and its service names the signal at which it reads them again.
//!
//! A signal that is due is on disk with the order that asked for it. It is sent once the run is
//! ready, because a run that begins may not be able to take it yet. The watch of the order goes on
//! until the signal was sent and `healthy_for` has passed after that.

use std::sync::Arc;

use orchestra_model::{
    delivery::OrderNumber,
    service::{ReloadRule, UnitOrder, Wanted},
};

use crate::{
    effect::Effect,
    state::{Signals, Unit, UnitKey},
    units::Units,
};

/// What an order means for the run that its unit has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// The run is not what the order wants, and ends.
    Ends,
    /// The run goes on, and gets these signals.
    GoesOn(Signals),
}

impl Units {
    /// Returns what an order means for the run of a unit.
    pub(super) fn fate_of_run(&self, key: &UnitKey, asked: &UnitOrder) -> Fate {
        let Some(unit) = self.state.units().get(key) else { return Fate::Ends };
        let Some(run) = unit.status.run() else { return Fate::Ends };
        let goes_on = run.of == unit.order && run.ending.is_none() && run.stopping.is_none();
        let mut signals = Signals::default();
        match asked.wanted {
            Wanted::Running => {}
            Wanted::Signalled(signal) => signals.insert(signal),
            // It may have recovered since the order was decided.
            Wanted::Healthy if run.unhealthy.is_none() => {}
            // It may have begun since the order was decided.
            Wanted::Younger(age) if self.at.saturating_sub(run.begun) < age.0 => {}
            Wanted::Healthy
            | Wanted::Younger(_)
            | Wanted::Restarted
            | Wanted::Stopped
            | Wanted::Gone => return Fate::Ends,
        }
        if goes_on && self.is_alike(key, unit, asked) {
            return Fate::GoesOn(signals);
        }
        // A run may be unready because of its parameters, and might not take the signal.
        match reload_between(unit, asked).filter(|_| goes_on && run.ready_since().is_some()) {
            Some(ReloadRule { signal }) => {
                signals.insert(signal);
                Fate::GoesOn(signals)
            }
            None => Fate::Ends,
        }
    }

    /// Sends a unit's run the signals that are due.
    pub(super) fn send_signals(&mut self, key: &UnitKey) {
        let Some(unit) = self.state.units().get(key) else { return };
        let Some(run) = unit.status.run() else { return };
        let can_hear = run.is_up() && run.stopping.is_none() && run.ready.is_some();
        if !can_hear || run.of != unit.order || self.awaits_process(key, unit) {
            return;
        }
        let Some(tended) = self.tended.get(key) else { return };
        let reload = unit.asked.upkeep.reload.map(|reload| reload.signal);
        let (id, of, order) = (unit.status.last, unit.order, tended.order.clone());
        for signal in run.signals.without(tended.signalling).iter().collect::<Vec<_>>() {
            let params = order.as_ref().filter(|_| reload == Some(signal)).map(Arc::clone);
            // If the parameters are gone, the signal waits for them.
            if reload == Some(signal) && params.is_none() {
                continue;
            }
            self.tend(key).signalling.insert(signal);
            let unit = key.clone();
            self.act(Effect::Signal { unit, run: id, of, signal, reload: params });
        }
    }

    pub(super) fn note_signal_sent(&mut self, key: &UnitKey, of: OrderNumber, signal: i32) {
        if self.is_ordered_by(key, of) {
            let at = self.at;
            self.tend(key).signalling.remove(signal);
            self.change_run(key, |run| {
                run.signals.remove(signal);
                run.signalled = Some(at);
            });
        }
    }

    /// Ends a run that could not be given its parameters, so that the next run has them.
    pub(super) fn note_not_reloaded(&mut self, key: &UnitKey, of: OrderNumber) {
        if self.is_ordered_by(key, of) {
            self.judge_watch(key);
            self.change_run(key, |run| run.of = OrderNumber(0));
        }
    }

    fn is_ordered_by(&self, key: &UnitKey, of: OrderNumber) -> bool {
        self.state.units().get(key).is_some_and(|unit| unit.order == of)
    }
}

/// Returns by which signal a run can learn what an order asks for. It can if nothing but the
/// parameters and the number of the version differs from the unit's last order.
fn reload_between(unit: &Unit, asked: &UnitOrder) -> Option<ReloadRule> {
    let before = &unit.asked;
    let is_alike = before.instance == asked.instance
        && before.score == asked.score
        && before.upkeep == asked.upkeep;
    asked.upkeep.reload.filter(|_| is_alike)
}
