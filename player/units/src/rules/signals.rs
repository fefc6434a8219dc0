//! Signals for a run that goes on: because somebody asked for one, or because its parameters are others
//! and its service says that it reads them again at a signal.
//!
//! What is due is on disk with the order that asked for it. It is sent once the run is ready, for before
//! that it may not be able to take it. Until it was sent, and `healthy_for` is over after that, the watch
//! of that order goes on.

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
    /// It is not what the order wants, and ends.
    Ends,
    /// It goes on, and gets these signals.
    GoesOn(Signals),
}

impl Units {
    /// What an order means for the run of a unit.
    pub(super) fn fate_of_run(&self, key: &UnitKey, asked: &UnitOrder) -> Fate {
        let Some(unit) = self.state.units().get(key) else { return Fate::Ends };
        let Some(run) = unit.status.run() else { return Fate::Ends };
        let goes_on = run.of == unit.order && run.ending.is_none() && run.stopping.is_none();
        let mut signals = Signals::default();
        match asked.wanted {
            Wanted::Running => {}
            Wanted::Signalled(signal) => signals.insert(signal),
            Wanted::Restarted | Wanted::Stopped | Wanted::Gone => return Fate::Ends,
        }
        if goes_on && self.is_alike(key, unit, asked) {
            return Fate::GoesOn(signals);
        }
        // What is not ready may be so because of its parameters, and may not hear of others.
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
            // Where its parameters are gone, it waits for them as a unit without a run does.
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

    /// Parameters that a run cannot be told are told the next one.
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

/// By which signal a run learns what an order asks for: where nothing but parameters, and the number of
/// the version, is other than its last order had it.
fn reload_between(unit: &Unit, asked: &UnitOrder) -> Option<ReloadRule> {
    let before = &unit.asked;
    let is_alike = before.instance == asked.instance
        && before.score == asked.score
        && before.upkeep == asked.upkeep;
    asked.upkeep.reload.filter(|_| is_alike)
}
