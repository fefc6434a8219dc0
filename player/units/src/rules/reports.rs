//! What is reported of units, and how often: the last state of each second. A run that is ready
//! again within a second after a restart is one report. The end of a watch does not wait for the
//! second; it follows a report of its unit.

use orchestra_model::{
    service::{RunNumber, UnitReport, UnitState},
    time::Millis,
};

use crate::{
    bounds,
    effect::Effect,
    state::{Stage, UnitKey},
    units::Units,
};

/// What was reported of a unit, and when the next report is due. Moments are of the units' clock
/// (ms).
#[derive(Debug, Default)]
pub(crate) struct Telling {
    told: Option<UnitReport>,
    told_at: Option<u64>,
    pending: Option<Pending>,
}

#[derive(Clone, Copy, Debug)]
struct Pending {
    due: u64,
    /// Whether the unit is between two states. That is reported only if it still is when the report
    /// is due.
    is_passing: bool,
}

impl Telling {
    pub(crate) fn due(&self) -> Option<u64> {
        self.pending.map(|pending| pending.due)
    }

    /// Returns whether the last report said that the unit flaps, and no other is due.
    pub(crate) fn says_flapping(&self) -> bool {
        self.pending.is_none() && self.told.as_ref().is_some_and(|told| told.flapping)
    }
}

impl Units {
    /// Returns the report of a unit as it is now.
    pub(crate) fn report_of(&self, key: &UnitKey) -> Option<UnitReport> {
        let unit = self.state.units().get(key)?;
        let status = &unit.status;
        let awaits = self.tended.get(key).is_some_and(|tended| tended.order.is_none());
        let state = match &status.stage {
            Stage::Waiting { .. } if awaits => UnitState::AwaitingParams,
            // The run may first have to wait until runs of linked units have ended.
            Stage::Running(_) if self.unwanted(key).is_some() => UnitState::Stopping,
            Stage::Waiting { .. } if self.beside(key).is_none() => UnitState::AwaitingLinked,
            Stage::Waiting { .. } if !self.has_lease(key) => UnitState::AwaitingLease,
            _ => status.shown(),
        };
        let instance = unit.asked.instance;
        let of_placement = status.last.placement == instance.placement;
        Some(UnitReport {
            service: key.service.clone(),
            version: unit.asked.version,
            instance,
            order: unit.order,
            state,
            since: status.since,
            run: if of_placement { status.last.number } else { RunNumber(0) },
            score_hash: status.run().and_then(|run| run.score),
            // It changes all the time, so it is told with what is told for another reason.
            run_age: None,
            restarts: status.restarts,
            last_end: status.last_end.clone(),
            trouble: status.trouble().map(str::to_owned),
            turns: status.turns.count(),
            flapping: status.turns.is_flapping(self.at),
        })
    }

    /// Returns a report with how old the run that it tells is at this moment (ms of the units' clock).
    pub(crate) fn aged(&self, key: &UnitKey, report: UnitReport, at: u64) -> UnitReport {
        let run = self.state.units().get(key).and_then(|unit| unit.status.run());
        let run = run.filter(|_| report.run > RunNumber(0));
        let run_age = run.map(|run| Millis(at.saturating_sub(run.begun)));
        UnitReport { run_age, ..report }
    }

    pub(super) fn report_gone(&self, key: &UnitKey) -> Option<UnitReport> {
        let report = self.report_of(key)?;
        Some(UnitReport { state: UnitState::Gone, since: self.now.wall, ..report })
    }

    /// Takes what the journal held for reported, because a conductor that attaches is told all of
    /// it.
    pub(super) fn take_for_told(&mut self, key: &UnitKey) {
        let report = self.report_of(key);
        self.tend(key).telling.told = report;
    }

    /// Reports a unit if it has changed, or sets when it will be reported.
    pub(super) fn tell_changes(&mut self, key: &UnitKey) {
        let Some(report) = self.report_of(key) else { return };
        let (at, lingers) = (self.at, self.lingers(key));
        let telling = &mut self.tend(key).telling;
        if telling.told.as_ref() == Some(&report) {
            telling.pending = None;
            return;
        }
        let pending = match lingers {
            // Whoever uses the run has to hear of it in time.
            true => Pending { due: at, is_passing: false },
            false => telling.next(report.state, at),
        };
        telling.pending = Some(pending);
        if pending.due <= at {
            self.tell(key, report);
        }
    }

    /// Reports a unit at once, unless the last report says the same.
    pub(super) fn tell_now(&mut self, key: &UnitKey) {
        let Some(report) = self.report_of(key) else { return };
        if self.tend(key).telling.told.as_ref() != Some(&report) {
            self.tell(key, report);
        }
    }

    fn tell(&mut self, key: &UnitKey, report: UnitReport) {
        let (told, told_at) = (Some(report.clone()), Some(self.at));
        self.tend(key).telling = Telling { told, told_at, pending: None };
        let report = self.aged(key, report, self.at);
        self.act(Effect::Report { store: key.store, report });
    }
}

impl Telling {
    fn next(&self, state: UnitState, at: u64) -> Pending {
        let free = self.told_at.map_or(at, |told| at.max(told.saturating_add(bounds::REPORT_MS)));
        match state {
            UnitState::GaveUp | UnitState::Gone => Pending { due: at, is_passing: false },
            UnitState::Ready
            | UnitState::Unhealthy
            | UnitState::Stopped
            | UnitState::Ended
            | UnitState::AwaitingParams
            | UnitState::AwaitingLinked => Pending { due: free, is_passing: false },
            UnitState::Starting
            | UnitState::BackingOff
            | UnitState::Stopping
            | UnitState::AwaitingLease => {
                let due = at.saturating_add(bounds::REPORT_MS);
                let before = self.pending.filter(|pending| pending.is_passing);
                before.unwrap_or(Pending { due, is_passing: true })
            }
        }
    }
}
