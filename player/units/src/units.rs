//! The state with what surrounds it: entries that are not durable yet, effects held back until they
//! are, and what is kept of each unit in memory alone. What the inputs mean is in [`crate::rules`].

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use orchestra_model::{
    chance::Chance,
    delivery::{AttemptKey, SpoolId, StoreId},
    journal::{Contradiction, JournalState, require},
    process::BootId,
    service::{UnitOrder, UnitReport},
};

use crate::{
    effect::Effect,
    entry::Entry,
    input::{Capacity, Leased, Now, ProbeNumber},
    rules::{links::Links, probes::Asking, reports::Telling, shortened},
    state::{Run, RunId, Signals, State, Status, UnitKey, Watch},
};

/// What a player keeps running. See the crate's documentation for how to drive it.
#[derive(Debug)]
pub struct Units {
    pub(crate) state: State,
    /// How much the player may keep running.
    pub(crate) capacity: Capacity,
    pub(crate) chance: Chance,
    /// How many probes this sitter was asked for, which numbers them.
    pub(crate) probes: u64,
    /// The moment of the present input, by the units' clock (ms) and by the wall's.
    pub(crate) at: u64,
    pub(crate) now: Now,
    /// What is kept of each unit in memory alone.
    pub(crate) tended: BTreeMap<UnitKey, Tended>,
    /// When units are to be looked at: the moments in `tended`, ordered by time.
    pub(crate) wakes: BTreeSet<(u64, UnitKey)>,
    pub(crate) links: Links,
    /// Units whose last order asks for a lease.
    pub(crate) leased: BTreeSet<UnitKey>,
    /// Why the journal cannot be written; `None` while it can.
    pub(crate) broken: Option<String>,
    /// Entries that are in `state` and not durable, in order.
    unwritten: Vec<Entry>,
    /// How many entries were ever recorded, and how many of them are durable.
    recorded: u64,
    durable: u64,
    effects: VecDeque<Held>,
}

/// What is kept of a unit in memory alone.
#[derive(Debug, Default)]
pub(crate) struct Tended {
    /// Its last order, with its parameters; `None` if the parameters are gone.
    pub(crate) order: Option<Arc<UnitOrder>>,
    /// How many entries there were when the last was made that an early beginning of its next run
    /// rests on: its order, and that the run's number is spoken for.
    pub(crate) rests_on: u64,
    /// Its run is over by the present input, on disk it still goes on, and the next number is spoken
    /// for there: a run that begins now may begin early.
    pub(crate) is_ahead: bool,
    /// An earlier sitter may have begun the run after the one that is on disk.
    pub(crate) is_doubtful: bool,
    /// This sitter started or found the process of its run.
    pub(crate) is_found: bool,
    /// This sitter told its run to end, or kills it.
    pub(crate) is_terminated: bool,
    pub(crate) is_killed: bool,
    /// When its run said last that it is well (ms of the units' clock).
    pub(crate) well: u64,
    /// Signals of its last order that this sitter asked for, and that are not said to be sent.
    pub(crate) signalling: Signals,
    /// The lease that it was given last, even if it has run out.
    pub(crate) lease: Option<Leased>,
    /// The probing of its run.
    pub(crate) asking: Option<Asking>,
    /// The unit that it is noted to be linked to.
    pub(crate) linked_to: Option<UnitKey>,
    /// When the unit is to be looked at.
    pub(crate) wake: Option<u64>,
    /// What was reported of the unit, and when the next report is due.
    pub(crate) telling: Telling,
}

/// An effect, and how many entries have to be durable before it is given.
#[derive(Debug)]
struct Held {
    after: u64,
    /// How many entries there were when it was asked for.
    asked: u64,
    effect: Effect,
}

impl Units {
    /// Returns an engine without units. `spool` is the id of the spool that the units' file lies
    /// beside, `seed` the seed of all that is drawn by chance. Its first journal is
    /// [`crate::journal::compacted`].
    pub fn new(spool: SpoolId, capacity: Capacity, seed: u64, now: Now, boot: BootId) -> Self {
        let mut units = Self::recover(State::new(spool), capacity, seed, now, boot);
        units.rewritten();
        units
    }

    /// Goes on from the state that a journal held. The effects that follow include [`Effect::Find`]
    /// and [`Effect::KillAll`] for runs of earlier sitters; the driver performs them like all
    /// others. It had better give [`crate::Input::ParamsFound`] before that.
    pub fn recover(state: State, capacity: Capacity, seed: u64, now: Now, boot: BootId) -> Self {
        let mut units = Self {
            state,
            capacity,
            chance: Chance::new(seed),
            probes: 0,
            at: 0,
            now,
            tended: BTreeMap::new(),
            wakes: BTreeSet::new(),
            links: Links::new(),
            leased: BTreeSet::new(),
            broken: None,
            unwritten: Vec::new(),
            recorded: 0,
            durable: 0,
            effects: VecDeque::new(),
        };
        units.go_on_from_disk(now, boot);
        units
    }

    /// The state in memory: what [`crate::journal::compacted`] writes.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Why the journal cannot be written, while it cannot: no order is taken and no run begins.
    pub fn broken(&self) -> Option<&str> {
        self.broken.as_deref()
    }

    /// Returns the reports of all units of a store, in the order of their names.
    pub fn reports(&self, store: StoreId) -> impl Iterator<Item = UnitReport> {
        let of_store = self.state.units().keys().filter(move |key| key.store == store);
        of_store.filter_map(|key| self.report_of(key))
    }

    /// Returns the same, each with how old its run is now.
    pub fn aged_reports(&self, now: Now, store: StoreId) -> impl Iterator<Item = UnitReport> {
        let at = self.state.clock().at(now.boot_ms).max(self.at);
        self.reports(store).map(move |report| {
            let key = UnitKey { store, service: report.service.clone() };
            self.aged(&key, report, at)
        })
    }

    /// The stores that units are kept for.
    pub fn stores(&self) -> BTreeSet<StoreId> {
        self.state.units().keys().map(|key| key.store).collect()
    }

    /// The watches that go on, and those that have ended and are not settled, each with its
    /// attempt. For an attempt that the spool does not know the driver says
    /// [`crate::Input::WatchSettled`].
    pub fn watches(&self) -> impl Iterator<Item = (AttemptKey, &Watch)> {
        self.state.watches().iter().map(|(key, watch)| (*key, watch))
    }

    /// Runs whose processes may live.
    pub fn runs(&self) -> impl Iterator<Item = (&UnitKey, RunId, &Run)> {
        let running = self.state.units().iter();
        running.filter_map(|(key, unit)| Some((key, unit.status.last, unit.status.run()?)))
    }

    /// What a unit's last order asks for, with its parameters; `None` where those are gone.
    pub fn order_of(&self, unit: &UnitKey) -> Option<&Arc<UnitOrder>> {
        self.tended.get(unit)?.order.as_ref()
    }

    /// The question that a unit's run has not answered.
    pub fn open_probe(&self, unit: &UnitKey) -> Option<ProbeNumber> {
        self.tended.get(unit)?.asking.as_ref()?.open()
    }

    /// The entries to make durable, in order: together or not at all.
    pub fn unwritten(&self) -> &[Entry] {
        &self.unwritten
    }

    /// Everything that was unwritten is durable.
    pub fn written(&mut self) {
        self.unwritten.clear();
        self.durable = self.recorded;
    }

    /// The journal could not be written or synced: what was unwritten may or may not be in it, and
    /// nothing may be appended to it again. Until [`Units::rewritten`] orders are refused and no
    /// run begins, not even one that waits for its `Spawn`; nothing becomes unwritten; and what
    /// happens is reported from memory.
    pub fn write_failed(&mut self, why: &str) {
        let why = shortened(why.to_owned());
        let durable = self.durable;
        self.broken = Some(why.clone());
        self.unwritten.clear();
        self.durable = self.recorded;
        let (mut spawns, mut orders) = (Vec::new(), Vec::new());
        self.effects.retain(|held| match &held.effect {
            Effect::Spawn { unit, .. } if held.asked > durable => {
                spawns.push(unit.clone());
                false
            }
            Effect::Watching { key, .. } if held.asked > durable => {
                orders.push(*key);
                false
            }
            _ => true,
        });
        self.give_up_unwritten(&spawns, &orders, &why);
    }

    /// A fresh journal of the whole state has durably replaced the old one. So everything is
    /// durable, and what waited for that goes on.
    pub fn rewritten(&mut self) {
        let was_broken = self.broken.take().is_some();
        self.written();
        if was_broken {
            self.follow_all();
        }
    }

    /// Returns the next effect. `None` if there is none, or if it has to wait for entries to be
    /// durable.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        if self.effects.front()?.after > self.durable {
            return None;
        }
        self.effects.pop_front().map(|held| held.effect)
    }

    /// Whether [`Units::poll_effect`] has one now.
    pub fn has_effect(&self) -> bool {
        self.effects.front().is_some_and(|held| held.after <= self.durable)
    }

    /// Checks every invariant of the engine. Tests call it after each step.
    pub fn audit(&self) -> Result<(), Contradiction> {
        self.state.audit()?;
        require((self.recorded - self.durable) as usize == self.unwritten.len(), || {
            "unwritten entries are miscounted".to_owned()
        })?;
        require(self.broken.is_none() || self.unwritten.is_empty(), || {
            "a broken journal is to be written".to_owned()
        })?;
        require(self.effects.iter().is_sorted_by_key(|held| held.after), || {
            "effects are out of order".to_owned()
        })?;
        require(self.tended.keys().eq(self.state.units().keys()), || {
            "units are tended that are not there, or the other way round".to_owned()
        })?;
        let wakes = self.tended.iter().filter_map(|(key, it)| Some((it.wake?, key.clone())));
        require(wakes.collect::<BTreeSet<_>>() == self.wakes, || "wakes are lost".to_owned())?;
        self.audit_links()?;
        self.audit_leases()?;
        self.tended.keys().try_for_each(|key| self.audit_tended(key))
    }

    /// Changes the state and asks for the change to be durable. Returns whether the change was
    /// possible. A contradiction ends a test; a daemon leaves everything unchanged.
    pub(crate) fn record(&mut self, entry: Entry) -> bool {
        if self.at > self.state.clock().last {
            self.push(Entry::Passed { at: self.at });
        }
        self.push(entry)
    }

    fn push(&mut self, entry: Entry) -> bool {
        let applied = self.state.apply(&entry);
        debug_assert_eq!(applied, Ok(()), "the rules made a contradiction of {entry:?}");
        if applied.is_ok() && self.broken.is_none() {
            self.recorded += 1;
            self.unwritten.push(entry);
        }
        applied.is_ok()
    }

    /// Gives a unit another status, unless it has that one already.
    pub(crate) fn record_status(&mut self, key: &UnitKey, mut status: Status) -> bool {
        let Some(unit) = self.state.units().get(key) else { return false };
        if unit.status == status {
            return true;
        }
        if unit.status.shown() != status.shown() {
            status.since = self.now.wall;
        }
        self.record(Entry::Status { unit: key.clone(), status: Box::new(status) })
    }

    /// Records how much time has passed.
    pub(crate) fn record_passing(&mut self) {
        if self.at > self.state.clock().last {
            self.push(Entry::Passed { at: self.at });
        }
    }

    /// Asks for an effect once everything recorded so far is durable.
    pub(crate) fn act(&mut self, effect: Effect) {
        let asked = self.recorded;
        self.effects.push_back(Held { after: asked, asked, effect });
    }

    /// Asks for an effect once the first `after` entries are durable.
    pub(crate) fn act_after(&mut self, after: u64, effect: Effect) {
        let place = self.effects.partition_point(|held| held.after <= after);
        self.effects.insert(place, Held { after, asked: self.recorded, effect });
    }

    /// Notes that what was recorded last of a unit is what its next run rests on.
    pub(crate) fn note_grounds(&mut self, key: &UnitKey) {
        self.tend(key).rests_on = self.recorded;
    }

    /// Takes back effects for a run of which nothing is left, if they were not given yet. They must
    /// not hit the next run.
    pub(crate) fn withdraw_acts(&mut self, key: &UnitKey, id: RunId) {
        self.effects.retain(|held| match &held.effect {
            Effect::KillAll { unit, run }
            | Effect::Terminate { unit, run, .. }
            | Effect::Signal { unit, run, .. }
            | Effect::Find { unit, run, .. } => (unit, *run) != (key, id),
            _ => true,
        });
    }

    /// Returns what is kept of a unit in memory. Every unit has it.
    pub(crate) fn tend(&mut self, key: &UnitKey) -> &mut Tended {
        self.tended.entry(key.clone()).or_default()
    }

    /// Returns a copy of a unit's status, to be changed and recorded.
    pub(crate) fn status(&self, key: &UnitKey) -> Option<Status> {
        self.state.units().get(key).map(|unit| unit.status.clone())
    }
}
