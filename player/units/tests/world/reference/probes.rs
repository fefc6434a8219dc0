//! What a run may be asked, and what its answers make of it.

use orchestra_model::service::{ReadySign, Wanted};
use orchestra_units::{ProbeNumber, ProbeOutcome, UnitKey, Units};

use super::{RefAsked, RefUnit, Reference};

impl Reference {
    /// An answer came. It counts if it is that to the open question.
    pub(crate) fn probed(
        &mut self,
        key: &UnitKey,
        number: ProbeNumber,
        outcome: &ProbeOutcome,
        at: u64,
    ) {
        let Some(unit) = self.units.get_mut(key) else { return };
        let rule = unit.order.unit.upkeep.health.clone();
        let Some(run) = unit.run.as_mut().filter(|run| run.asked.open == Some(number)) else {
            return;
        };
        run.asked.open = None;
        match outcome {
            ProbeOutcome::Unknown => return,
            ProbeOutcome::Healthy => run.asked.answers.push(true),
            ProbeOutcome::Unhealthy(_) => run.asked.answers.push(false),
        }
        if run.asked.healthy != Some(true) {
            if *outcome == ProbeOutcome::Healthy {
                run.ready = run.ready.or(Some(at));
            }
            return;
        }
        let rule = rule.unwrap();
        let last = |n: u32| run.asked.answers.iter().rev().take(n as usize);
        let all =
            |n: u32, good: bool| last(n).count() == n as usize && last(n).all(|it| *it == good);
        let (falls, rises) = (all(rule.fall, false), all(rule.rise, true));
        let turns = if run.unhealthy.is_none() { falls } else { rises };
        if turns {
            unit.turns.push(at);
        }
        if run.unhealthy.is_none() && falls {
            run.unhealthy = Some(at);
        } else if run.unhealthy.is_some() && rises {
            (run.unhealthy, run.ready) = (None, Some(at));
        }
    }
}

impl RefUnit {
    /// What is to be asked: whether the run is healthy (else: ready), and how often.
    fn question(&self) -> Option<(bool, u64)> {
        let run = self.run.as_ref()?;
        let wanted = !matches!(self.order.unit.wanted, Wanted::Stopped | Wanted::Gone);
        let goes_on = run.is_up() && run.stopping.is_none() && run.of == self.order.order.0;
        if !wanted || !goes_on || !run.found {
            return None;
        }
        let upkeep = &self.order.unit.upkeep;
        match (run.ready, &upkeep.ready.sign, &upkeep.health) {
            (None, ReadySign::Probe(_), _) => Some((false, 500)),
            (Some(_), _, Some(rule)) => Some((true, rule.every.0)),
            _ => None,
        }
    }

    /// Nothing is asked that nobody wants to know, and what is asked is often enough.
    pub(super) fn check_asked(&mut self, key: &UnitKey, units: &Units, at: u64, woken: bool) {
        let open = units.open_probe(key);
        let question = self.question();
        let Some(run) = &mut self.run else { return assert_eq!(open, None, "{key}") };
        let Some((healthy, every)) = question else {
            run.asked = RefAsked::default();
            return assert_eq!(open, None, "{key}: nobody is to ask");
        };
        if run.asked.healthy != Some(healthy) {
            run.asked = RefAsked { healthy: Some(healthy), at, ..RefAsked::default() };
        }
        if open != run.asked.open {
            assert!(open > run.asked.open && run.asked.open.is_none(), "{key}: {open:?}");
            (run.asked.open, run.asked.at) = (open, at);
        }
        let is_late = at > run.asked.at + every;
        assert!(!woken || open.is_some() || !is_late, "{key} is not asked: {run:?} at {at}");
    }
}
