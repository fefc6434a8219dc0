//! What is told of units, and how often: the last state of a second, and a restart that is ready again
//! within one as one word. The end of a watch waits for no second: it follows the word about its unit.

use orchestra_model::service::{RunNumber, UnitReport, UnitState};

use crate::{
    bounds,
    effect::Effect,
    state::{Stage, UnitKey},
    units::Units,
};

/// What was told of a unit, and when the next word is due. Moments are of the units' clock (ms).
#[derive(Debug, Default)]
pub(crate) struct Telling {
    told: Option<UnitReport>,
    told_at: Option<u64>,
    pending: Option<Pending>,
}

#[derive(Clone, Copy, Debug)]
struct Pending {
    due: u64,
    /// The unit is on its way somewhere: it is told only where it is still on its way then.
    is_passing: bool,
}

impl Telling {
    pub(crate) fn due(&self) -> Option<u64> {
        self.pending.map(|pending| pending.due)
    }

    /// Whether what was told is that the unit flaps, and nothing else is about to be told.
    pub(crate) fn says_flapping(&self) -> bool {
        self.pending.is_none() && self.told.as_ref().is_some_and(|told| told.flapping)
    }
}

impl Units {
    /// How a unit is.
    pub(crate) fn report_of(&self, key: &UnitKey) -> Option<UnitReport> {
        let unit = self.state.units().get(key)?;
        let status = &unit.status;
        let awaits = self.tended.get(key).is_some_and(|tended| tended.order.is_none());
        let state = match &status.stage {
            Stage::Waiting { .. } if awaits => UnitState::AwaitingParams,
            // It may have to wait for the ends of others first.
            Stage::Running(_) if self.unwanted(key).is_some() => UnitState::Stopping,
            Stage::Waiting { .. } if self.beside(key).is_none() => UnitState::AwaitingLinked,
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
            restarts: status.restarts,
            last_end: status.last_end.clone(),
            trouble: status.trouble().map(str::to_owned),
            turns: status.turns.count(),
            flapping: status.turns.is_flapping(self.at),
        })
    }

    pub(super) fn report_gone(&self, key: &UnitKey) -> Option<UnitReport> {
        let report = self.report_of(key)?;
        Some(UnitReport { state: UnitState::Gone, since: self.now.wall, ..report })
    }

    /// What the journal held is taken for told: whoever attaches hears all of it.
    pub(super) fn take_for_told(&mut self, key: &UnitKey) {
        let report = self.report_of(key);
        self.tend(key).telling.told = report;
    }

    /// Tells how a unit is, or decides when, if something of it has changed.
    pub(super) fn tell_changes(&mut self, key: &UnitKey) {
        let Some(report) = self.report_of(key) else { return };
        let at = self.at;
        let telling = &mut self.tend(key).telling;
        if telling.told.as_ref() == Some(&report) {
            telling.pending = None;
            return;
        }
        let pending = telling.next(report.state, at);
        telling.pending = Some(pending);
        if pending.due <= at {
            self.tell(key, report);
        }
    }

    /// Tells how a unit is without waiting, unless that was told.
    pub(super) fn tell_now(&mut self, key: &UnitKey) {
        let Some(report) = self.report_of(key) else { return };
        if self.tend(key).telling.told.as_ref() != Some(&report) {
            self.tell(key, report);
        }
    }

    fn tell(&mut self, key: &UnitKey, report: UnitReport) {
        let (told, told_at) = (Some(report.clone()), Some(self.at));
        self.tend(key).telling = Telling { told, told_at, pending: None };
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
            UnitState::Starting | UnitState::BackingOff | UnitState::Stopping => {
                let due = at.saturating_add(bounds::REPORT_MS);
                let before = self.pending.filter(|pending| pending.is_passing);
                before.unwrap_or(Pending { due, is_passing: true })
            }
        }
    }
}
