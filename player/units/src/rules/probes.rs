//! Probes: when a run is asked whether it is ready, and later whether it is healthy, and what
//! follows from the answers.
//!
//! ```text
//!   up ── ready by probe: every READY_PROBE_MS until a success ──▶ ready
//!   ready ── health: each `every`, from a moment drawn within the first ──▶
//!            `fall` failures in a row ──▶ unhealthy ── `rise` successes in a row ──▶ ready
//! ```
//!
//! One question of a unit is open at a time. An unknown outcome changes nothing, and neither does
//! an answer to an earlier question. The counts are in memory, so each sitter counts anew. The
//! verdict is on disk, so that the next sitter does not take an unhealthy run for ready.

use orchestra_model::{
    Millis,
    service::{Probe, ReadySign},
};

use crate::{
    bounds,
    effect::Effect,
    input::{ProbeNumber, ProbeOutcome},
    rules::shortened_to,
    state::{Run, RunId, Unhealthy, Unit, UnitKey},
    units::Units,
};

/// What a run is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Question {
    /// Whether it is ready.
    Ready,
    /// Whether it is healthy.
    Healthy,
}

/// What a unit's run is being asked. Moments are of the units' clock (ms).
#[derive(Debug)]
pub(crate) struct Asking {
    run: RunId,
    question: Question,
    /// When the next probe is due, unless one is open.
    next: u64,
    open: Option<ProbeNumber>,
    /// Failures, and successes, since the last answer of the other kind.
    failures: u32,
    successes: u32,
}

impl Asking {
    /// Returns the question that is not answered yet.
    pub(crate) fn open(&self) -> Option<ProbeNumber> {
        self.open
    }

    /// Returns when the next question is due.
    pub(crate) fn due(&self) -> Option<u64> {
        self.open.is_none().then_some(self.next)
    }
}

/// A question with all that asking it needs.
struct Put<'a> {
    probe: &'a Probe,
    every: Millis,
    timeout: Millis,
}

impl Units {
    /// Begins, continues or ends the probing of a unit's run.
    pub(super) fn ask(&mut self, key: &UnitKey) {
        let Some(unit) = self.state.units().get(key) else { return };
        let Some(question) = self.question_for(key, unit) else {
            self.tend(key).asking = None;
            return;
        };
        let (run, at) = (unit.status.last, self.at);
        let Some(put) = put(unit, question) else { return };
        let (every, timeout, probe) = (put.every.0.max(1), put.timeout, put.probe.clone());
        let asking = self.tended.get(key).and_then(|tended| tended.asking.as_ref());
        if asking.is_none_or(|asking| (asking.run, asking.question) != (run, question)) {
            let next = match question {
                Question::Ready => at,
                // Drawn, so that units that became ready together are not asked together.
                Question::Healthy => shared_moment(at, self.chance.up_to(every), every),
            };
            let (open, failures, successes) = (None, 0, 0);
            self.tend(key).asking = Some(Asking { run, question, next, open, failures, successes });
        }
        let number = ProbeNumber(self.probes + 1);
        let Some(asking) = &mut self.tend(key).asking else { return };
        if asking.due().is_none_or(|due| due > at) {
            return;
        }
        // A late probe does not shift the moments after it.
        asking.next += every * ((at - asking.next) / every + 1);
        asking.open = Some(number);
        self.probes = number.0;
        self.act(Effect::Probe { unit: key.clone(), number, probe, timeout });
    }

    /// Returns what a unit's run is to be asked now, if anything.
    fn question_for(&self, key: &UnitKey, unit: &Unit) -> Option<Question> {
        let run = unit.status.run()?;
        let is_wanted = unit.asked.wanted.is_to_run();
        let goes_on = run.is_up() && run.stopping.is_none() && !self.awaits_process(key, unit);
        if !goes_on || !is_wanted || run.of != unit.order {
            return None;
        }
        let upkeep = &unit.asked.upkeep;
        match (run.ready, &upkeep.ready.sign, &upkeep.health) {
            (None, ReadySign::Probe(_), _) => Some(Question::Ready),
            (Some(_), _, Some(_)) => Some(Question::Healthy),
            _ => None,
        }
    }

    /// Takes the answer to a probe.
    pub(super) fn probed(&mut self, key: &UnitKey, number: ProbeNumber, outcome: ProbeOutcome) {
        let Some(tended) = self.tended.get_mut(key) else { return };
        let Some(asking) = tended.asking.as_mut() else { return };
        if asking.open != Some(number) {
            return;
        }
        asking.open = None;
        match &outcome {
            ProbeOutcome::Unknown => return,
            ProbeOutcome::Healthy => {
                (asking.failures, asking.successes) = (0, asking.successes.saturating_add(1));
            }
            ProbeOutcome::Unhealthy(_) => {
                (asking.failures, asking.successes) = (asking.failures.saturating_add(1), 0);
            }
        }
        let (question, failures, successes) = (asking.question, asking.failures, asking.successes);
        match question {
            Question::Ready if outcome == ProbeOutcome::Healthy => self.note_ready(key),
            Question::Ready => {}
            Question::Healthy => self.judge_health(key, outcome, failures, successes),
        }
    }

    fn judge_health(
        &mut self,
        key: &UnitKey,
        outcome: ProbeOutcome,
        failures: u32,
        successes: u32,
    ) {
        let Some(unit) = self.state.units().get(key) else { return };
        let Some(rule) = &unit.asked.upkeep.health else { return };
        let is_unhealthy = unit.status.run().is_some_and(|run| run.unhealthy.is_some());
        let (falls, rises) = (failures >= rule.fall, successes >= rule.rise);
        let at = self.at;
        match outcome {
            ProbeOutcome::Unhealthy(why) if !is_unhealthy && falls => {
                self.judge_watch(key);
                let why = shortened_to(why, bounds::TROUBLE_BYTES);
                self.turn(key, |run| run.unhealthy = Some(Unhealthy { since: at, why }));
            }
            ProbeOutcome::Healthy if is_unhealthy && rises => {
                self.turn(key, |run| run.recover_at(at));
            }
            _ => {}
        }
    }

    /// Changes a unit's run that turns unhealthy or healthy again, and counts the turn.
    fn turn(&mut self, key: &UnitKey, change: impl FnOnce(&mut Run)) {
        let at = self.at;
        let Some(mut status) = self.status(key) else { return };
        if let Some(run) = status.run_mut() {
            change(run);
            status.turns.note(at);
            self.record_status(key, status);
        }
    }
}

/// Returns a moment near `at + first` (ms) at which other units with the same `every` are asked too, not
/// before `at` and not after `at + every`. Who asks a thousand units wakes up for a hundred moments so,
/// and not for a thousand.
fn shared_moment(at: u64, first: u64, every: u64) -> u64 {
    let is_fine =
        |step: &u64| *step <= every / bounds::PROBE_MOMENTS && every.is_multiple_of(*step);
    let step = bounds::PROBE_STEPS_MS.into_iter().find(is_fine).unwrap_or(1);
    let moment = at.saturating_add(first) / step * step;
    if moment < at { moment.saturating_add(step) } else { moment }
}

fn put(unit: &Unit, question: Question) -> Option<Put<'_>> {
    let upkeep = &unit.asked.upkeep;
    match (question, &upkeep.ready.sign, &upkeep.health) {
        (Question::Ready, ReadySign::Probe(probe), _) => Some(Put {
            probe,
            every: Millis(bounds::READY_PROBE_MS),
            timeout: Millis(match probe {
                Probe::Tcp(_) | Probe::Http(..) => bounds::READY_TIMEOUT_MS,
                Probe::Score(_) => bounds::READY_CHECK_TIMEOUT_MS,
            }),
        }),
        (Question::Healthy, _, Some(rule)) => {
            Some(Put { probe: &rule.probe, every: rule.every, timeout: rule.timeout })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_share_the_moments_at_which_they_are_asked() {
        for (at, first, every, moment) in [
            (12_345, 0, 10_000, 12_400),
            (12_345, 60, 10_000, 12_400),
            (12_345, 10_000, 10_000, 22_300),
            (12_345, 500, 1_000, 12_840),
            // No longer step leads from one such moment to the next.
            (12_345, 500, 9_999, 12_845),
            (12_345, 70, 100, 12_415),
            (u64::MAX, 5, 10_000, u64::MAX),
        ] {
            assert_eq!(shared_moment(at, first, every), moment, "{at} + {first} of {every}");
        }
        for at in 0..500 {
            let moments = (0..=10_000).map(|first| shared_moment(at, first, 10_000));
            assert!(moments.into_iter().all(|it| it >= at && it <= at + 10_000), "{at}");
        }
    }
}
