//! The state with what surrounds it: entries that are not durable yet, effects held back until they
//! are, and the session that reports go to. What the inputs mean is in [`crate::rules`].

use std::collections::{BTreeMap, VecDeque};

use orchestra_model::{
    delivery::{
        AgentSession, AttemptKey, EndBytes, LiveAttempt, OrderNumber, Refusal, Report,
        SettledAttempt, SpoolId, StoreId, StoreMark, Term,
    },
    journal::{Contradiction, JournalState, require},
    limits,
    proof::{Evidence, Proof},
};

use crate::{
    attempt::{Live, Settled, Settlement},
    effect::{Effect, Snapshot},
    entry::Entry,
    rules::shortened,
    state::{State, StoreState},
};

/// The player's side of delivery. See the crate's documentation for how to drive it.
#[derive(Debug)]
pub struct Spool {
    pub(crate) state: State,
    /// How many attempts it takes at once.
    pub(crate) capacity: usize,
    /// Where reports go.
    pub(crate) connection: Option<Connection>,
    /// Why the journal cannot be written; `None` while it can.
    pub(crate) broken: Option<String>,
    /// Entries that are in `state` and not durable, in order.
    unwritten: Vec<Entry>,
    /// How many entries were ever recorded, and how many of them are durable.
    recorded: u64,
    durable: u64,
    /// Marks, terms and evidence as they are on disk: what a snapshot may say.
    durable_marks: BTreeMap<StoreId, Marked>,
    effects: VecDeque<Held>,
}

/// What is known of a store, on disk.
#[derive(Clone, Copy, Debug, Default)]
struct Marked {
    mark: OrderNumber,
    term: Term,
    evidence: Option<Evidence>,
}

/// A session, and the store that it turned out to be of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Connection {
    pub(crate) session: AgentSession,
    pub(crate) store: Option<StoreId>,
}

/// An effect, and how many entries have to be durable before it is given.
#[derive(Debug)]
struct Held {
    after: u64,
    act: Act,
}

#[derive(Debug)]
enum Act {
    /// A snapshot is taken only when it is given, so that it never contains what a failed write
    /// undid.
    Snapshot(AgentSession),
    Ready(Effect),
}

impl Spool {
    /// A new, empty spool that takes `capacity` attempts at once (1 to [`limits::MAX_TASKS`]).
    /// Its id has to be random; its first journal is [`crate::journal::compacted`].
    pub fn new(id: SpoolId, capacity: u32) -> Self {
        Self::recover(State::new(id), capacity)
    }

    /// Goes on from the state that a journal held. The driver adopts each attempt that
    /// [`Spool::live`] then lists, or says how it ended.
    pub fn recover(state: State, capacity: u32) -> Self {
        let mut spool = Self {
            state,
            capacity: capacity.clamp(1, limits::MAX_TASKS) as usize,
            connection: None,
            broken: None,
            unwritten: Vec::new(),
            recorded: 0,
            durable: 0,
            durable_marks: BTreeMap::new(),
            effects: VecDeque::new(),
        };
        spool.rewritten();
        spool
    }

    /// The state in memory: what [`crate::journal::compacted`] writes.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Attempts that are starting or started, in the order of their keys.
    pub fn live(&self) -> impl Iterator<Item = (AttemptKey, &Live)> {
        self.state.live().iter().map(|(key, live)| (*key, live))
    }

    /// Why the journal cannot be written, while it cannot.
    pub fn broken(&self) -> Option<&str> {
        self.broken.as_deref()
    }

    /// The entries to make durable, in order: together or not at all.
    pub fn unwritten(&self) -> &[Entry] {
        &self.unwritten
    }

    /// Everything that was unwritten is durable.
    pub fn written(&mut self) {
        for entry in std::mem::take(&mut self.unwritten) {
            match entry {
                Entry::Mark { store, mark } => {
                    self.durable_marks.entry(store).or_default().mark = mark;
                }
                Entry::Term { store, term } => {
                    self.durable_marks.entry(store).or_default().term = term;
                }
                Entry::Evidence { store, evidence } => {
                    self.durable_marks.entry(store).or_default().evidence = Some(evidence);
                }
                _ => {}
            }
        }
        self.durable = self.recorded;
    }

    /// The journal could not be written or synced: what was unwritten may or may not be in it, and
    /// nothing may be appended to it again. Until [`Spool::rewritten`] new orders are refused, and
    /// so are attempts that wait for their `Start`; nothing becomes unwritten; and what happens is
    /// reported from memory.
    pub fn write_failed(&mut self, why: &str) {
        let starts = |held: &Held| match held {
            Held { after, act: Act::Ready(Effect::Start { key, .. }) } => Some((*after, *key)),
            _ => None,
        };
        let unbacked: Vec<AttemptKey> = (self.effects.iter().filter_map(starts))
            .filter_map(|(after, key)| (after > self.durable).then_some(key))
            .collect();
        let why = shortened(why.to_owned());
        self.broken = Some(why.clone());
        self.unwritten.clear();
        self.durable = self.recorded;
        for key in unbacked {
            self.withdraw_start(key);
            self.settle(key, Settlement::Refused(Refusal::Spool(why.clone())));
        }
    }

    /// A fresh journal of the whole state has durably replaced the old one. So everything is
    /// durable, and the spool is whole.
    pub fn rewritten(&mut self) {
        self.broken = None;
        self.unwritten.clear();
        self.durable = self.recorded;
        let marked = |known: &StoreState| {
            let StoreState { mark, term, evidence, .. } = *known;
            Marked { mark, term, evidence }
        };
        let stores = self.state.stores().iter();
        self.durable_marks = stores.map(|(id, known)| (*id, marked(known))).collect();
    }

    /// Returns the next effect. `None` if there is none, or if it has to wait for entries to be
    /// durable.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        if self.effects.front()?.after > self.durable {
            return None;
        }
        match self.effects.pop_front()?.act {
            Act::Ready(effect) => Some(effect),
            Act::Snapshot(session) => Some(Effect::Snapshot { session, snapshot: self.snapshot() }),
        }
    }

    /// Returns what the spool knows of the player's state, with marks and terms as they are on
    /// disk.
    pub fn snapshot(&self) -> Snapshot {
        let mark = |(&store, marked): (&StoreId, &Marked)| {
            let Marked { mark, term, evidence } = *marked;
            StoreMark { store, mark, term, evidence }
        };
        let live = |(&key, live): (&AttemptKey, &Live)| LiveAttempt {
            key,
            order: live.order,
            started_at: live.process.map(|process| process.started_at),
            proof: live.proof,
        };
        let settled = |(&key, settled): (&AttemptKey, &Settled)| {
            let Settled { order, proof, .. } = *settled;
            SettledAttempt { key, order, proof }
        };
        Snapshot {
            spool: self.state.id(),
            marks: self.durable_marks.iter().map(mark).collect(),
            live: self.state.live().iter().map(live).collect(),
            settled: self.state.settled().iter().map(settled).collect(),
        }
    }

    /// Checks every rule over the whole spool. Tests call it after each step.
    pub fn audit(&self) -> Result<(), Contradiction> {
        self.state.audit()?;
        require(self.durable <= self.recorded, || "more is durable than was recorded".to_owned())?;
        require((self.recorded - self.durable) as usize == self.unwritten.len(), || {
            "unwritten entries are miscounted".to_owned()
        })?;
        require(self.broken.is_none() || self.unwritten.is_empty(), || {
            "a broken journal is to be written".to_owned()
        })?;
        require(self.effects.iter().is_sorted_by_key(|held| held.after), || {
            "effects are out of order".to_owned()
        })?;
        for (store, marked) in &self.durable_marks {
            let Marked { mark, term, .. } = *marked;
            let known = mark <= self.state.mark(*store) && term <= self.state.term(*store);
            require(known, || format!("{store}: more is durable than is known"))?;
        }
        Ok(())
    }

    /// Changes the state and asks for the change to be durable.
    pub(crate) fn record(&mut self, entry: Entry) {
        let applied = self.state.apply(&entry);
        debug_assert_eq!(applied, Ok(()), "the rules made a contradiction of {entry:?}");
        if applied.is_ok() && self.broken.is_none() {
            self.recorded += 1;
            self.unwritten.push(entry);
        }
    }

    /// Settles a live attempt with its last word, and reports that.
    pub(crate) fn settle(&mut self, key: AttemptKey, settlement: Settlement) {
        let Some(Live { order, proof, .. }) = self.state.live().get(&key) else { return };
        self.settle_order(key, *order, *proof, settlement);
    }

    /// Settles an attempt, live or not, with its last word, and reports that.
    pub(crate) fn settle_order(
        &mut self,
        key: AttemptKey,
        order: OrderNumber,
        proof: Option<Proof>,
        settlement: Settlement,
    ) {
        self.record(Entry::Settled { key, order, proof, settlement });
        self.repeat(key);
    }

    /// Reports an attempt again. Of a starting one there is nothing to report: `Started` follows.
    pub(crate) fn repeat(&mut self, key: AttemptKey) {
        let report = if let Some(settled) = self.state.settled().get(&key) {
            let order = settled.order;
            match settled.settlement.clone() {
                Settlement::Ended(end) => Some(Report::Ended { key, order, end }),
                Settlement::Refused(refusal) => Some(Report::Refused { key, order, refusal }),
            }
        } else {
            self.state.live().get(&key).and_then(|live| {
                let at = live.process?.started_at;
                Some(Report::Started { key, order: live.order, at })
            })
        };
        if let Some(report) = report {
            self.say(report);
        }
    }

    /// Reports to the attached conductor, if the report is about its store. Otherwise the report is
    /// dropped, because it is repeated when that store's conductor attaches.
    pub(crate) fn say(&mut self, report: Report<EndBytes>) {
        if let Some(Connection { session, store }) = self.connection
            && store == Some(report.key().store)
        {
            self.act(Effect::Report { session, report });
        }
    }

    /// Asks for an effect once everything recorded so far is durable.
    pub(crate) fn act(&mut self, effect: Effect) {
        self.effects.push_back(Held { after: self.recorded, act: Act::Ready(effect) });
    }

    /// Asks for a snapshot once everything recorded so far is durable.
    pub(crate) fn act_snapshot(&mut self, session: AgentSession) {
        self.effects.push_back(Held { after: self.recorded, act: Act::Snapshot(session) });
    }

    /// Takes back a `Start` that was not given yet. Returns whether there was one; then it is
    /// certain that the attempt has not started.
    pub(crate) fn withdraw_start(&mut self, key: AttemptKey) -> bool {
        let before = self.effects.len();
        self.effects.retain(|held| {
            !matches!(&held.act, Act::Ready(Effect::Start { key: started, .. }) if *started == key)
        });
        self.effects.len() < before
    }
}
