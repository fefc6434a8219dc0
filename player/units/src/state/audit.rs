//! What holds over the whole state.

use orchestra_model::{
    delivery::AttemptKey,
    journal::{Contradiction, require},
};

use super::{State, Unit, UnitKey, Watch};
use crate::bounds;

impl State {
    /// Checks every rule over the whole state. Tests call it after each step.
    pub fn audit(&self) -> Result<(), Contradiction> {
        require(self.clock.base <= self.clock.last, || "the clock runs back".to_owned())?;
        for (key, unit) in &self.units {
            require(!self.tombstones.contains_key(key), || format!("{key} is there and gone"))?;
            self.audit_unit(key, unit)?;
        }
        for (key, watch) in &self.watches {
            self.audit_watch(*key, watch)?;
        }
        let counted = self.buried.len() == self.tombstones.len();
        let found = self.buried.iter().all(|unit| self.tombstones.contains_key(unit));
        require(counted && found, || "tombstones are miscounted".to_owned())?;
        require(self.buried.len() <= bounds::TOMBSTONES, || "too many tombstones".to_owned())
    }

    fn audit_unit(&self, key: &UnitKey, unit: &Unit) -> Result<(), Contradiction> {
        let status = &unit.status;
        require(status.last.placement <= unit.asked.instance.placement, || {
            format!("{key}: its run is of a placement that was not ordered")
        })?;
        require(unit.keeps_params || unit.asked.params.is_empty(), || {
            format!("{key}: parameters are kept that must not be")
        })?;
        let watched = unit.watch.is_none_or(|attempt| {
            let watch = self.watches.get(&attempt);
            watch.is_some_and(|watch| watch.unit == *key && watch.end.is_none())
        });
        require(watched, || format!("{key}: its watch is not there"))?;
        require(status.recent.moments().is_sorted(), || format!("{key}: restarts out of order"))?;
        require(status.recent.moments().count() <= bounds::RESTART_MOMENTS + 1, || {
            format!("{key}: too many moments of restarts")
        })?;
        let turned = status.turns.moments().all(|at| at <= self.clock.last);
        require(turned, || format!("{key}: its health turned later than now"))?;
        require(status.waits <= bounds::WAITS, || format!("{key}: too many waits"))?;
        let Some(run) = status.run() else { return Ok(()) };
        require(status.last.number.0 > 0, || format!("{key}: a run without a number"))?;
        require(run.of <= unit.order, || format!("{key}: a run of an order that never came"))?;
        let unhealthy = run.unhealthy.as_ref().map(|unhealthy| unhealthy.since);
        let moments = [Some(run.begun), run.up, run.ready, run.stopping, run.signalled, unhealthy];
        let ended = run.ending.as_ref().map(|ending| ending.at);
        let past = moments.into_iter().chain([ended]).flatten().all(|at| at <= self.clock.last);
        require(past, || format!("{key}: something happened later than now"))?;
        require(run.unhealthy.is_none() || run.ready.is_some(), || {
            format!("{key}: it is unhealthy and never was ready")
        })?;
        require(run.up.is_some() == run.process.is_some(), || {
            format!("{key}: it is up and has no process, or the other way round")
        })
    }

    fn audit_watch(&self, key: AttemptKey, watch: &Watch) -> Result<(), Contradiction> {
        require(watch.accepted <= self.clock.last, || format!("{key} was accepted later"))?;
        let Some(unit) = self.units.get(&watch.unit) else {
            return require(watch.end.is_some(), || format!("{key} watches no unit"));
        };
        let newest = unit.watch == Some(key) && unit.order == watch.order;
        require(newest || watch.end.is_some(), || format!("{key} watches for an older order"))
    }
}
