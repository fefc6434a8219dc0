//! What time brings: runs that are too late or too silent, graces that are over, and when to look
//! next.

use orchestra_model::{
    Millis,
    journal::{Contradiction, require},
    service::{RunEnd, Wanted},
};

use super::{probes::Asking, restarts::after};
use crate::{
    bounds,
    state::{Run, Stage, Unit, UnitKey},
    units::Units,
};

/// SIGKILL, signal(7).
const KILL: i32 = 9;

/// What a run must do before a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Limit {
    /// Be ready.
    Ready,
    /// Say that it is well.
    Well { silence: Millis },
    /// End, as it said that it does.
    Stopped,
    /// Have been left by whoever used it.
    Left,
    /// End, as it was told to.
    Ended,
    /// Have its lease renewed.
    Leased,
    /// Be gone, because its lease and its grace are over.
    Gone,
}

impl Units {
    /// Returns when [`crate::Input::Woken`] is due, in milliseconds of `CLOCK_BOOTTIME`. `None`:
    /// not before another input.
    pub fn next_wake(&self) -> Option<u64> {
        let clock = self.state.clock();
        let is_watched = || self.state.watches().values().any(|watch| watch.end.is_none());
        let passing = (self.broken.is_none() && is_watched())
            .then(|| clock.last.saturating_add(bounds::CLOCK_MS));
        let unit = self.wakes.first().map(|(at, _)| *at);
        [unit, passing].into_iter().flatten().min().map(|at| at.saturating_sub(clock.base))
    }

    pub(super) fn wake(&mut self) {
        let due: Vec<UnitKey> = (self.wakes.iter().take_while(|(at, _)| *at <= self.at))
            .map(|(_, key)| key.clone())
            .collect();
        for key in due {
            self.judge_watch(&key);
            self.pass_limits(&key);
            self.lose_lease(&key);
            self.follow(&key);
        }
        let last = self.state.clock().last;
        let is_watched = self.state.watches().values().any(|watch| watch.end.is_none());
        if is_watched && self.at >= last.saturating_add(bounds::CLOCK_MS) {
            self.record_passing();
        }
    }

    /// Ends a run that has passed its limits. That of its lease comes first, for nothing excuses it.
    fn pass_limits(&mut self, key: &UnitKey) {
        // After its lease its grace may be over too.
        for _ in 0..2 {
            let lease = self.lease_limit(key);
            self.pass_limit(key, lease);
        }
        let other = self.limit_by_rule(key);
        self.pass_limit(key, other);
    }

    fn pass_limit(&mut self, key: &UnitKey, limit: Option<(u64, Limit)>) {
        let Some((at, limit)) = limit.filter(|(at, _)| *at <= self.at) else { return };
        match limit {
            Limit::Ready => self.end_gently(key, RunEnd::NeverReady),
            // So late a look means that the sitter did not run, so it could not hear the run
            // either.
            Limit::Well { silence } if self.at - at > silence.0 / 2 => {
                self.tend(key).well = self.at;
            }
            Limit::Well { .. } => {
                self.set_ending(key, RunEnd::Watchdog);
                self.kill(key);
            }
            Limit::Stopped => {
                self.set_ending(key, RunEnd::Signalled(KILL));
                self.kill(key);
            }
            Limit::Left => self.terminate(key),
            Limit::Ended => self.kill(key),
            Limit::Leased => self.end_gently(key, RunEnd::LeaseRanOut),
            Limit::Gone => {
                self.set_ending(key, RunEnd::LeaseRanOut);
                self.kill(key);
            }
        }
    }

    /// The next limit of a unit's run.
    fn limit_of(&self, key: &UnitKey) -> Option<(u64, Limit)> {
        let limits = [self.lease_limit(key), self.limit_by_rule(key)];
        limits.into_iter().flatten().min_by_key(|(at, _)| *at)
    }

    /// The next limit that the lease of a unit's run sets. It holds whatever else keeps the run.
    fn lease_limit(&self, key: &UnitKey) -> Option<(u64, Limit)> {
        let (unit, tended) = (self.state.units().get(key)?, self.tended.get(key)?);
        let run = unit.status.run().filter(|_| !tended.is_killed)?;
        let (until, gone) = self.lease_ends(key)?;
        match (&run.ending, run.up) {
            // It is not known yet what there is to end; a launch does not last for long.
            (None, None) => None,
            (None, Some(_)) if !self.awaits_process(key, unit) => Some((until, Limit::Leased)),
            // Nobody is given time to leave it any more.
            (Some(_), _) if self.lingers(key) => Some((until, Limit::Leased)),
            _ => Some((gone, Limit::Gone)),
        }
    }

    /// The next limit of a unit's run that its order or itself has set.
    fn limit_by_rule(&self, key: &UnitKey) -> Option<(u64, Limit)> {
        let (unit, tended) = (self.state.units().get(key)?, self.tended.get(key)?);
        let run = unit.status.run()?;
        if let Some(ending) = &run.ending {
            let left = run.lingers_until();
            let limit = match left.filter(|_| !tended.is_terminated) {
                Some(left) => (left, Limit::Left),
                None => (end_limit(run, left.unwrap_or(ending.at)), Limit::Ended),
            };
            return (!tended.is_killed).then_some(limit);
        }
        if !run.is_up() || self.awaits_process(key, unit) {
            return None;
        }
        if let Some(at) = run.stopping {
            return Some((end_limit(run, at), Limit::Stopped));
        }
        // While the journal is broken no run can follow, and a bad run is better than none.
        if self.broken.is_some() {
            return None;
        }
        match (run.ready, run.watchdog) {
            (None, _) => Some((ready_limit(unit, run), Limit::Ready)),
            (Some(_), Some(silence)) => {
                Some((after(tended.well, silence), Limit::Well { silence }))
            }
            (Some(_), None) => None,
        }
    }

    /// Sets when a unit is to be looked at next.
    pub(super) fn set_wake(&mut self, key: &UnitKey) {
        let wake = self.wake_of(key);
        let before = std::mem::replace(&mut self.tend(key).wake, wake);
        if before == wake {
            return;
        }
        if let Some(at) = before {
            self.wakes.remove(&(at, key.clone()));
        }
        if let Some(at) = wake {
            self.wakes.insert((at, key.clone()));
        }
    }

    fn wake_of(&self, key: &UnitKey) -> Option<u64> {
        let (unit, tended) = (self.state.units().get(key)?, self.tended.get(key)?);
        let begins = match &unit.status.stage {
            Stage::Waiting { until } if tended.order.is_some() && self.broken.is_none() => {
                let may_begin = self.beside(key).is_some()
                    && !self.waits_for_linked(key)
                    && self.keeps_lease(key);
                may_begin.then_some(*until)
            }
            _ => None,
        };
        let limit = self.limit_of(key).map(|(at, _)| at);
        let told = tended.telling.due();
        let asks = tended.asking.as_ref().and_then(Asking::due);
        let watch = unit.watch.and_then(|attempt| self.state.watches().get(&attempt));
        let late = watch
            .filter(|_| !self.awaits_process(key, unit))
            .map(|watch| after(watch.accepted, unit.asked.deadline));
        let healthy = watch
            .filter(|_| unit.asked.wanted != Wanted::Stopped)
            .and_then(|watch| self.healthy_at(key, unit, watch));
        let quiet = unit.status.turns.flapping_until().filter(|_| tended.telling.says_flapping());
        let lapses = self.lapses_at(key);
        [begins, limit, told, asks, late, healthy, quiet, lapses].into_iter().flatten().min()
    }

    /// Checks that nothing that is due was left undone, and that the next look is set.
    pub(crate) fn audit_tended(&self, key: &UnitKey) -> Result<(), Contradiction> {
        let wake = self.tended.get(key).and_then(|tended| tended.wake);
        require(wake == self.wake_of(key), || format!("{key} is looked at at another time"))?;
        let is_left = self.unwanted(key).is_some() && !self.waits_for_linked(key);
        require(!is_left, || format!("{key} runs as nobody wants it"))
    }
}

/// Returns when a run has to be ready.
fn ready_limit(unit: &Unit, run: &Run) -> u64 {
    let limit = after(run.up.unwrap_or(run.begun), unit.asked.upkeep.ready.deadline);
    limit.max(run.extended.unwrap_or(0))
}

/// Returns when a run that was told to end, or said that it ends, at `at` has to have ended.
fn end_limit(run: &Run, at: u64) -> u64 {
    let latest = at.saturating_add(bounds::STOP_EXTENSION_MS);
    after(at, run.stop.grace).max(run.extended.unwrap_or(0).min(latest))
}
