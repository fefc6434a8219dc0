//! Watches: when an attempt has what it waits for, and when it will not get it.

use orchestra_model::{
    delivery::{AttemptKey, OrderNumber},
    service::{RunEnd, Wanted},
};

use super::restarts::after;
use crate::{
    effect::{Effect, UnitFailure, WatchEnd},
    entry::Entry,
    state::{Run, Stage, Unit, UnitKey, Watch},
    units::Units,
};

impl Units {
    pub(super) fn unwatch(&mut self, key: AttemptKey) {
        if let Some(Watch { unit, end: None, .. }) = self.state.watches().get(&key) {
            let unit = unit.clone();
            self.end_watch(key, WatchEnd::Cancelled);
            self.follow(&unit);
        }
    }

    pub(super) fn settle_watch(&mut self, key: AttemptKey, order: OrderNumber) {
        if let Some(watch) = self.state.watches().get(&key).filter(|watch| watch.order == order) {
            let unit = watch.unit.clone();
            self.record(Entry::WatchForgotten { key });
            if self.state.units().contains_key(&unit) {
                self.follow(&unit);
            }
        }
    }

    /// Reports the unit of a watch, then ends the watch. Whoever learns of the end looks at what
    /// was reported of the unit.
    pub(super) fn end_watch(&mut self, key: AttemptKey, end: WatchEnd) {
        let Some(watch) = self.state.watches().get(&key) else { return };
        if watch.end.is_none() {
            let unit = watch.unit.clone();
            self.tell_now(&unit);
            self.end_told_watch(key, end);
        }
    }

    /// Ends a watch whose unit was reported.
    pub(super) fn end_told_watch(&mut self, key: AttemptKey, end: WatchEnd) {
        let Some(watch) = self.state.watches().get(&key) else { return };
        if watch.end.is_none() {
            let watch = Watch { end: Some(end.clone()), ..watch.clone() };
            let order = watch.order;
            self.record(Entry::Watch { key, watch });
            self.act(Effect::EndWatch { key, order, end });
        }
    }

    /// Ends a unit's watch if its end is known. It is judged also before a change that makes the
    /// unit worse, because the unit may have been ready for long enough before.
    pub(super) fn judge_watch(&mut self, key: &UnitKey) {
        let Some(unit) = self.state.units().get(key) else { return };
        let Some(attempt) = unit.watch else { return };
        let Some(watch) = self.state.watches().get(&attempt) else { return };
        let end = match unit.asked.wanted {
            Wanted::Running
            | Wanted::Restarted
            | Wanted::Signalled(_)
            | Wanted::Healthy
            | Wanted::Younger(_) => self.judge_running(key, unit, watch),
            Wanted::Stopped => unit.status.run().is_none().then_some(WatchEnd::Ready),
            // The watch ends when the unit is forgotten.
            Wanted::Gone => None,
        };
        let is_late = self.at >= after(watch.accepted, unit.asked.deadline);
        let late = (is_late && !self.awaits_process(key, unit)).then_some(WatchEnd::TimedOut);
        if let Some(end) = end.or(late) {
            self.end_watch(attempt, end);
        }
    }

    fn judge_running(&self, key: &UnitKey, unit: &Unit, watch: &Watch) -> Option<WatchEnd> {
        if let Some(healthy) = self.healthy_at(key, unit, watch)
            && healthy <= self.at.min(after(watch.accepted, unit.asked.deadline))
        {
            return Some(WatchEnd::Ready);
        }
        let failed =
            |failure, cause: &RunEnd| Some(WatchEnd::Failed { failure, cause: cause.clone() });
        let last_end = || unit.status.last_end.as_ref().unwrap_or(&RunEnd::Unknown);
        match &unit.status.stage {
            Stage::GaveUp => failed(UnitFailure::GaveUp, last_end()),
            Stage::Ended => failed(UnitFailure::Ended, last_end()),
            Stage::Running(run) if run.of == unit.order => match &run.ending {
                Some(ending) if matches!(ending.cause, RunEnd::OutOfMemory(_)) => {
                    failed(UnitFailure::OutOfMemory, &ending.cause)
                }
                _ => None,
            },
            _ => None,
        }
    }

    /// Returns when a unit that stays ready will have been ready for long enough, also since its
    /// run got its last signal. A run that the unit's order does not want does not count, because
    /// it is to end.
    pub(super) fn healthy_at(&self, key: &UnitKey, unit: &Unit, watch: &Watch) -> Option<u64> {
        let run = unit.status.run().filter(|run| run.of == unit.order && run.signals.is_empty())?;
        let ready = run.ready_since().filter(|_| !self.awaits_process(key, unit))?;
        let since = ready.max(watch.accepted).max(run.signalled.unwrap_or(0));
        Some(after(since, unit.asked.healthy_for))
    }

    /// Returns whether a unit has a run of an earlier sitter of which it is not known yet whether
    /// it lives.
    pub(super) fn awaits_process(&self, key: &UnitKey, unit: &Unit) -> bool {
        let is_found = self.tended.get(key).is_some_and(|tended| tended.is_found);
        unit.status.run().is_some_and(Run::is_up) && !is_found
    }
}
