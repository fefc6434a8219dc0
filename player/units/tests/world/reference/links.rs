//! What links ask for, as it is written: which runs may begin, and which have to end first.

use orchestra_model::service::Wanted;
use orchestra_units::UnitKey;

use super::{RefUnit, Reference};

/// What other units mean for one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Around {
    /// What a run may begin beside, by the other's order; `None` in it: it is linked to none.
    pub(crate) beside: Option<Option<u64>>,
    /// What it might begin beside a moment ago: before something else that happened at this moment.
    pub(crate) had_beside: Option<Option<u64>>,
    /// Its run began beside what is no longer.
    pub(crate) is_stale: bool,
    /// Runs that are linked to it have to end first.
    pub(crate) is_held_back: bool,
}

impl Reference {
    pub(crate) fn around(&self, key: &UnitKey, at: u64) -> Around {
        let unit = &self.units[key];
        let beside = |is_over: &dyn Fn(u64) -> bool| match other_of(key, unit) {
            None => Some(None),
            Some(other) => self.units.get(&other).and_then(|other| other.offers(is_over)).map(Some),
        };
        let (beside, had_beside) = (beside(&|_| true), beside(&|ended| ended < at));
        let linked =
            self.units.iter().filter(|(of, unit)| other_of(of, unit).as_ref() == Some(key));
        let is_held_back = linked.into_iter().any(|(of, unit)| self.is_stale(of, unit));
        Around { beside, had_beside, is_stale: self.is_stale(key, unit), is_held_back }
    }

    fn is_stale(&self, key: &UnitKey, unit: &RefUnit) -> bool {
        let Some(beside) = unit.run.as_ref().and_then(|run| run.beside) else { return false };
        let Some(other) = other_of(key, unit) else { return false };
        self.units.get(&other).is_none_or(|other| {
            let wanted = other.order.unit.wanted;
            matches!(wanted, Wanted::Stopped | Wanted::Gone) || other.changed != beside
        })
    }
}

impl RefUnit {
    fn offers(&self, is_over: &dyn Fn(u64) -> bool) -> Option<u64> {
        let run = self.run.as_ref()?;
        let goes_on = run.ending.as_ref().is_none_or(|(_, then)| !is_over(*then));
        let is_ready = run.up.is_some() && run.ready.is_some() && run.stopping.is_none();
        (is_ready && goes_on && run.found && run.of == self.order.order.0).then_some(self.changed)
    }
}

fn other_of(key: &UnitKey, unit: &RefUnit) -> Option<UnitKey> {
    let service = unit.order.unit.upkeep.linked_to.clone()?;
    (service != key.service).then_some(UnitKey { store: key.store, service })
}
