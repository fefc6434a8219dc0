//! What follows the end of a run: the restart rule.

use orchestra_model::{
    Millis,
    delivery::AttemptKey,
    service::{RestartRule, RestartWhen, RunEnd, Wanted},
};

use crate::{
    bounds,
    effect::{Effect, WatchEnd},
    entry::Entry,
    state::{RunId, Stage, Status, Tombstone, Unit, UnitKey},
    units::Units,
};

/// How the restart rule takes the end of a run.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Counted {
    /// The unit itself caused it: the rule decides.
    ByRule,
    /// The run was to end, or something other than the unit ended it: the next run follows at once.
    Not,
    /// The host lacks something for the moment: the next run follows after a wait.
    Passing,
}

impl Units {
    /// Decides what follows a unit's run that is over and has no process left. `passing` says that
    /// the run could not even be tried.
    pub(super) fn conclude(&mut self, key: &UnitKey, passing: bool) {
        let Some(unit) = self.state.units().get(key) else { return };
        let Some(run) = unit.status.run() else { return };
        let Some(ending) = run.ending.clone() else { return };
        let (rule, wanted) = (unit.asked.upkeep.restart, unit.asked.wanted);
        let counted = is_counted(unit, &ending.cause, passing);
        let was_up = run.up.map_or(0, |up| ending.at.saturating_sub(up));
        let mut status = unit.status.clone();
        if run.up.is_some() && was_up >= rule.stable_after.0 {
            status.waits = 0;
        }
        status.stage = match (wanted, counted) {
            (Wanted::Stopped | Wanted::Gone, _) => Stage::Stopped,
            (_, Counted::Not) => Stage::Waiting { until: self.at },
            (_, Counted::Passing) => {
                status.waits = status.waits.max(1);
                self.wait(&mut status, &rule)
            }
            (_, Counted::ByRule) => self.restart(&mut status, &rule, &ending.cause),
        };
        status.last_end = Some(ending.cause);
        let over = status.last;
        let tended = self.tend(key);
        tended.is_ahead = status.ahead && !tended.is_doubtful;
        // From here on nobody begins early, so nobody has to leave a number out.
        status.ahead &= tended.is_doubtful;
        self.record_status(key, status);
        self.withdraw_acts(key, over);
    }

    /// Returns the stage that follows the end of a run by the restart rule.
    fn restart(&mut self, status: &mut Status, rule: &RestartRule, cause: &RunEnd) -> Stage {
        let another = match rule.when {
            RestartWhen::Always => true,
            RestartWhen::OnFailure => cause.is_failure(),
            RestartWhen::Never => false,
        };
        if !another {
            return Stage::Ended;
        }
        if let Some(attempts) = rule.attempts {
            if status.recent.count(self.at, rule.window) >= u64::from(attempts) {
                return Stage::GaveUp;
            }
            status.recent.push(self.at, rule.window, attempts);
        }
        status.restarts = status.restarts.saturating_add(1);
        self.wait(status, rule)
    }

    /// Returns the wait before the next run. The first wait is not drawn by chance, so that with
    /// `first: 0` a restart waits for no timer.
    fn wait(&mut self, status: &mut Status, rule: &RestartRule) -> Stage {
        let length = match status.waits {
            0 => rule.first.0,
            waits => {
                let doubled = bounds::BACKOFF_MS << (waits - 1).min(bounds::WAITS);
                self.chance.up_to(doubled.min(rule.max_delay.0))
            }
        };
        status.waits = (status.waits + 1).min(bounds::WAITS);
        Stage::Waiting { until: self.at.saturating_add(length) }
    }

    /// Forgets a unit that is to be gone and has no run. Its numbers are kept in a tombstone.
    pub(super) fn forget(&mut self, key: &UnitKey) {
        let Some(unit) = self.state.units().get(key) else { return };
        let placement = unit.asked.instance.placement;
        // A placement that had no run here is remembered too.
        let mut last = unit.status.highest();
        if placement > last.placement {
            last = RunId { placement, ..Default::default() };
        }
        let tombstone = Tombstone { order: unit.order, attempt: unit.attempt, last };
        let watch = unit.watch;
        let report = self.report_gone(key);
        // The entries become durable together.
        if let Some(report) = report {
            self.act(Effect::Report { store: key.store, report });
        }
        if let Some(attempt) = watch {
            self.end_told_watch(attempt, WatchEnd::Ready);
        }
        self.record(Entry::Forgotten { unit: key.clone(), tombstone });
        self.drop_ties(key);
        let tended = self.tended.remove(key);
        if let Some(wake) = tended.and_then(|tended| tended.wake) {
            self.wakes.remove(&(wake, key.clone()));
        }
        self.act(Effect::Forget { unit: key.clone() });
    }

    /// Ends these units' runs and the watches of these attempts, whose beginning could not be
    /// written to the journal. The runs were not begun, but their numbers may be on the disk and
    /// must not come again.
    pub(crate) fn give_up_unwritten(
        &mut self,
        spawns: &[UnitKey],
        orders: &[AttemptKey],
        why: &str,
    ) {
        for key in spawns {
            self.set_ending(key, RunEnd::NotSpawned(format!("the units' file: {why}")));
            self.conclude(key, true);
        }
        for key in orders {
            self.end_watch(*key, WatchEnd::Unwritten(why.to_owned()));
        }
        self.follow_all();
    }
}

fn is_counted(unit: &Unit, cause: &RunEnd, passing: bool) -> Counted {
    let run = unit.status.run();
    let was_made = run.is_some_and(|run| run.process.is_some());
    match cause {
        _ if run.is_some_and(|run| run.of != unit.order) => Counted::Not,
        RunEnd::HostRestarted | RunEnd::Linked | RunEnd::LeaseRanOut => Counted::Not,
        // Its process was being made when the sitter died, and was hunted.
        RunEnd::Unknown if !was_made => Counted::Not,
        RunEnd::NotSpawned(_) if passing => Counted::Passing,
        _ => Counted::ByRule,
    }
}

/// Returns the moment that is a length after `at`.
pub(super) fn after(at: u64, length: Millis) -> u64 {
    at.saturating_add(length.0)
}
