//! The durable state: what a journal adds up to. It changes only by applying entries, so the state
//! in memory always equals the state that a replay gives.

use std::collections::{BTreeMap, VecDeque};

use orchestra_model::{
    delivery::{AttemptKey, SpoolId},
    journal::{Contradiction, JournalFormat, JournalState, require},
    process::BootId,
};

use crate::{bounds, entry::Entry};

mod audit;
mod signals;
mod turns;
mod unit;

pub use signals::Signals;
pub use turns::Turns;
pub use unit::{
    Ending, RecentRestarts, Run, RunId, Stage, Status, Tombstone, Unhealthy, Unit, UnitKey, Watch,
};

/// What is durable, or about to be: units, and the watches of attempts over them. Two equal states
/// answer every input alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    id: SpoolId,
    clock: Clock,
    units: BTreeMap<UnitKey, Unit>,
    watches: BTreeMap<AttemptKey, Watch>,
    tombstones: BTreeMap<UnitKey, Tombstone>,
    /// The tombstones' keys, the oldest first.
    buried: VecDeque<UnitKey>,
}

/// The units' clock: milliseconds of `CLOCK_BOOTTIME` over all boots of the host that the file has
/// seen, one after the other. The time between two boots is not in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// The present boot.
    pub boot: BootId,
    /// What the clock showed when that boot began (ms).
    pub base: u64,
    /// The latest moment that is known (ms).
    pub last: u64,
}

impl Clock {
    /// Returns what the clock shows (ms) when the host has been up for `boot_ms`. It never runs
    /// back.
    pub fn at(&self, boot_ms: u64) -> u64 {
        self.base.saturating_add(boot_ms).max(self.last)
    }
}

impl State {
    /// The state of a file that has just been made, for the spool of this id.
    pub fn new(id: SpoolId) -> Self {
        Self {
            id,
            clock: Clock { boot: BootId([0; 16]), base: 0, last: 0 },
            units: BTreeMap::new(),
            watches: BTreeMap::new(),
            tombstones: BTreeMap::new(),
            buried: VecDeque::new(),
        }
    }

    /// The id of the spool that the file lies beside.
    pub fn id(&self) -> SpoolId {
        self.id
    }

    /// The units' clock.
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// The units, in the order of their keys.
    pub fn units(&self) -> &BTreeMap<UnitKey, Unit> {
        &self.units
    }

    /// The watches that go on, and those that have ended and are not settled, each by its attempt.
    pub fn watches(&self) -> &BTreeMap<AttemptKey, Watch> {
        &self.watches
    }

    /// Numbers of units that are gone.
    pub fn tombstones(&self) -> &BTreeMap<UnitKey, Tombstone> {
        &self.tombstones
    }

    fn unit_mut(&mut self, unit: &UnitKey) -> Result<&mut Unit, Contradiction> {
        self.units.get_mut(unit).ok_or_else(|| Contradiction(format!("there is no unit {unit}")))
    }

    fn apply_order(&mut self, entry: &Entry) -> Result<(), Contradiction> {
        let Entry::Ordered { unit, order, attempt, asked, keeps_params } = entry else {
            return Ok(());
        };
        let (order, attempt, keeps_params) = (*order, *attempt, *keeps_params);
        let known = match self.units.get(unit) {
            Some(known) => Some((known.order, known.asked.instance.placement)),
            None => self.tombstones.get(unit).map(|gone| (gone.order, gone.last.placement)),
        };
        if let Some((last, placement)) = known {
            let newer = order > last || (order == last && !self.units.contains_key(unit));
            require(newer, || format!("{unit}: order {order} comes after a later one"))?;
            let fenced = asked.instance.placement < placement;
            require(!fenced, || format!("{unit}: its placement goes back"))?;
        }
        let status = match self.units.get(unit) {
            Some(known) => known.status.clone(),
            None => Status::new(self.tombstones.remove(unit).map(|gone| gone.last)),
        };
        self.buried.retain(|gone| gone != unit);
        let watch = self.units.get(unit).and_then(|known| known.watch);
        let asked = asked.clone();
        self.units
            .insert(unit.clone(), Unit { order, attempt, asked, keeps_params, watch, status });
        Ok(())
    }

    fn apply_watch(&mut self, key: AttemptKey, watch: &Watch) -> Result<(), Contradiction> {
        let before = self.watches.get(&key);
        let ended = before.is_some_and(|before| before.end.is_some());
        require(!ended, || format!("the watch of {key} ended before"))?;
        match (&watch.end, self.units.get_mut(&watch.unit)) {
            (None, None) => return Err(Contradiction(format!("{key} watches no unit"))),
            (None, Some(unit)) => {
                let free = unit.watch.is_none_or(|other| other == key);
                require(free, || format!("{key} watches beside another attempt"))?;
                unit.watch = Some(key);
            }
            (Some(_), Some(unit)) => drop(unit.watch.take_if(|watched| *watched == key)),
            (Some(_), None) => {}
        }
        self.watches.insert(key, watch.clone());
        Ok(())
    }

    fn bury(&mut self, key: &UnitKey, tombstone: Tombstone) -> Result<(), Contradiction> {
        if let Some(unit) = self.units.get(key) {
            let over = unit.status.run().is_none() && unit.watch.is_none();
            require(over, || format!("{key} is forgotten while it runs or is watched"))?;
            require(tombstone.last >= unit.status.last, || format!("{key}: its runs go back"))?;
        }
        require(!self.tombstones.contains_key(key), || format!("{key} is gone twice"))?;
        self.units.remove(key);
        self.tombstones.insert(key.clone(), tombstone);
        self.buried.push_back(key.clone());
        if self.buried.len() > bounds::TOMBSTONES
            && let Some(oldest) = self.buried.pop_front()
        {
            self.tombstones.remove(&oldest);
        }
        Ok(())
    }
}

impl JournalState for State {
    type Entry = Entry;
    const FORMAT: JournalFormat = JournalFormat { magic: *b"ORCUNITS", version: 1 };

    fn new(spool: SpoolId) -> Self {
        State::new(spool)
    }

    fn id(&self) -> SpoolId {
        self.id
    }

    fn weight(&self) -> usize {
        let params = |unit: &Unit| {
            unit.asked.params.iter().map(|(key, value)| 8 + key.as_str().len() + value.len()).sum()
        };
        let params: usize = self.units.values().map(|unit| -> usize { params(unit) }).sum();
        512 * self.units.len() + params + 160 * self.watches.len() + 128 * self.tombstones.len()
    }

    fn entries(&self) -> Vec<Entry> {
        let mut entries = vec![Entry::Clock(self.clock)];
        let buried = self.buried.iter().filter_map(|unit| Some((unit, self.tombstones.get(unit)?)));
        entries.extend(buried.map(|(unit, tombstone)| Entry::Forgotten {
            unit: unit.clone(),
            tombstone: *tombstone,
        }));
        for (key, unit) in &self.units {
            entries.push(Entry::Ordered {
                unit: key.clone(),
                order: unit.order,
                attempt: unit.attempt,
                asked: unit.asked.clone(),
                keeps_params: unit.keeps_params,
            });
            let status = Box::new(unit.status.clone());
            entries.push(Entry::Status { unit: key.clone(), status });
        }
        let watches = self.watches.iter();
        entries
            .extend(watches.map(|(key, watch)| Entry::Watch { key: *key, watch: watch.clone() }));
        entries
    }

    fn apply(&mut self, entry: &Entry) -> Result<(), Contradiction> {
        match entry {
            Entry::Clock(clock) => {
                let runs_on = clock.last >= self.clock.last && clock.base <= clock.last;
                require(runs_on, || "the clock runs back".to_owned())?;
                self.clock = *clock;
            }
            Entry::Passed { at } => {
                require(*at > self.clock.last, || "time runs back".to_owned())?;
                self.clock.last = *at;
            }
            Entry::Ordered { .. } => self.apply_order(entry)?,
            Entry::Status { unit, status } => {
                let known = self.unit_mut(unit)?;
                status.check_follows(&known.status)?;
                known.status = (**status).clone();
            }
            Entry::Watch { key, watch } => self.apply_watch(*key, watch)?,
            Entry::WatchForgotten { key } => {
                let Some(watch) = self.watches.remove(key) else {
                    return Err(Contradiction(format!("{key} is not watched for")));
                };
                if let Some(unit) = self.units.get_mut(&watch.unit) {
                    unit.watch.take_if(|watch| watch == key);
                }
            }
            Entry::Forgotten { unit, tombstone } => self.bury(unit, *tombstone)?,
        }
        Ok(())
    }
}
