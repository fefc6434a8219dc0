//! The durable state: what a journal adds up to. It changes only by applying entries, so the state
//! in memory always equals the state that a replay gives.

use std::collections::{BTreeMap, BTreeSet};

use orchestra_model::{
    delivery::{AttemptKey, OrderNumber, SpoolId, StoreId, Term},
    journal::{Contradiction, JournalFormat, JournalState, require},
    limits,
    proof::{Evidence, Proof},
};

use crate::{
    attempt::{Live, Settled, Settlement},
    bounds,
    entry::Entry,
};

/// What is durable, or about to be: marks, live and settled attempts. Two equal states answer
/// every input alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    id: SpoolId,
    stores: BTreeMap<StoreId, StoreState>,
    live: BTreeMap<AttemptKey, Live>,
    settled: BTreeMap<AttemptKey, Settled>,
    /// The weight of all settlements together.
    settled_bytes: usize,
}

/// What the spool keeps of one store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct StoreState {
    /// The highest order number answered for.
    pub(crate) mark: OrderNumber,
    /// The highest term seen.
    pub(crate) term: Term,
    /// What the store proved last about the orders that it has issued.
    pub(crate) evidence: Option<Evidence>,
    /// Orders above the mark that were cancelled before they came.
    pub(crate) ahead: BTreeSet<OrderNumber>,
}

impl State {
    /// The state of a spool that has just been made.
    pub fn new(id: SpoolId) -> Self {
        Self {
            id,
            stores: BTreeMap::new(),
            live: BTreeMap::new(),
            settled: BTreeMap::new(),
            settled_bytes: 0,
        }
    }

    /// The spool's id, made with it.
    pub fn id(&self) -> SpoolId {
        self.id
    }

    /// Attempts that are starting or started.
    pub fn live(&self) -> &BTreeMap<AttemptKey, Live> {
        &self.live
    }

    /// Attempts that ended or were refused and are not acknowledged.
    pub fn settled(&self) -> &BTreeMap<AttemptKey, Settled> {
        &self.settled
    }

    /// The highest order number of a store that the spool has answered for; 0 for none.
    pub fn mark(&self, store: StoreId) -> OrderNumber {
        self.stores.get(&store).map_or(OrderNumber(0), |known| known.mark)
    }

    /// The highest term of a store that was seen; 0 for none.
    pub fn term(&self, store: StoreId) -> Term {
        self.stores.get(&store).map_or(Term(0), |known| known.term)
    }

    /// What a store proved last about the orders that it has issued.
    pub(crate) fn evidence(&self, store: StoreId) -> Option<Evidence> {
        self.stores.get(&store).and_then(|known| known.evidence)
    }

    /// Whether evidence says more than what is known of its store: a higher order number, or the
    /// same number in a later term.
    pub(crate) fn is_news(&self, store: StoreId, evidence: &Evidence) -> bool {
        let rank = |evidence: &Evidence| (evidence.order, evidence.proof.term);
        self.evidence(store).is_none_or(|known| rank(evidence) > rank(&known))
    }

    pub(crate) fn stores(&self) -> &BTreeMap<StoreId, StoreState> {
        &self.stores
    }

    /// Whether so many attempts wait to be acknowledged that none may be added.
    pub(crate) fn is_full(&self) -> bool {
        self.settled.len() >= bounds::SETTLED
    }

    /// Whether so many bytes wait to be acknowledged that nothing may start.
    pub(crate) fn is_heavy(&self) -> bool {
        self.settled_bytes >= bounds::SETTLED_BYTES
    }

    pub(crate) fn is_cancelled_ahead(&self, store: StoreId, order: OrderNumber) -> bool {
        self.stores.get(&store).is_some_and(|known| known.ahead.contains(&order))
    }

    fn settle(
        &mut self,
        key: AttemptKey,
        order: OrderNumber,
        proof: Option<Proof>,
        settlement: &Settlement,
    ) -> Result<(), Contradiction> {
        require(!self.settled.contains_key(&key), || format!("{key} settles again"))?;
        let known = order <= self.mark(key.store) || self.is_cancelled_ahead(key.store, order);
        require(known, || format!("{key} settles for order {order}, which never came"))?;
        if let Some(live) = self.live.get(&key) {
            require(live.order == order, || format!("{key} settles for another order"))?;
            self.live.remove(&key);
        }
        self.settled_bytes += settlement.weight();
        self.settled.insert(key, Settled { order, proof, settlement: settlement.clone() });
        Ok(())
    }

    /// Checks every rule over the whole state. Tests call it after each step.
    pub fn audit(&self) -> Result<(), Contradiction> {
        require(self.stores.len() <= bounds::STORES, || "too many stores".to_owned())?;
        for (store, known) in &self.stores {
            let ahead = &known.ahead;
            require(ahead.len() <= bounds::CANCELLED_AHEAD, || {
                format!("{store}: too many orders cancelled ahead")
            })?;
            require(ahead.iter().all(|order| *order > known.mark), || {
                format!("{store}: an order cancelled ahead is not above the mark")
            })?;
        }
        let most = limits::MAX_TASKS as usize;
        require(self.live.len() <= most, || "too many live attempts".to_owned())?;
        let mut orders = BTreeSet::new();
        for (key, live) in &self.live {
            require(!self.settled.contains_key(key), || format!("{key} is live and settled"))?;
            let marked = live.order > OrderNumber(0) && live.order <= self.mark(key.store);
            require(marked, || format!("{key} lives by an order above the mark"))?;
            require(orders.insert((key.store, live.order)), || {
                format!("{key} lives by the order of another attempt")
            })?;
        }
        require(self.settled.len() <= bounds::SETTLED + most, || {
            "too many settled attempts".to_owned()
        })?;
        for (key, settled) in &self.settled {
            let known = settled.order <= self.mark(key.store)
                || self.is_cancelled_ahead(key.store, settled.order);
            require(known, || format!("{key} settled for an order that never came"))?;
        }
        let bytes: usize = self.settled.values().map(|settled| settled.settlement.weight()).sum();
        require(bytes == self.settled_bytes, || "settled bytes are miscounted".to_owned())
    }
}

impl JournalState for State {
    type Entry = Entry;
    const FORMAT: JournalFormat = JournalFormat { magic: *b"ORCSPOOL", version: 1 };

    fn new(spool: SpoolId) -> Self {
        State::new(spool)
    }

    fn id(&self) -> SpoolId {
        self.id
    }

    fn weight(&self) -> usize {
        let ahead: usize = self.stores.values().map(|store| store.ahead.len()).sum();
        160 * self.stores.len()
            + 32 * ahead
            + 512 * self.live.len()
            + 96 * self.settled.len()
            + self.settled_bytes
    }

    fn entries(&self) -> Vec<Entry> {
        let mut entries = Vec::new();
        for (&store, known) in &self.stores {
            if known.term > Term(0) {
                entries.push(Entry::Term { store, term: known.term });
            }
            if known.mark > OrderNumber(0) {
                entries.push(Entry::Mark { store, mark: known.mark });
            }
            entries.extend(known.evidence.map(|evidence| Entry::Evidence { store, evidence }));
            let ahead = known.ahead.iter();
            entries.extend(ahead.map(|&order| Entry::CancelledAhead { store, order }));
        }
        for (&key, live) in &self.live {
            let Live { order, proof, .. } = *live;
            entries.push(Entry::Starting { key, order, proof, plan: live.plan.clone() });
            entries.extend(live.process.map(|process| Entry::Started { key, process }));
            if live.cancelling {
                entries.push(Entry::Cancelling { key });
            }
        }
        for (&key, Settled { order, proof, settlement }) in &self.settled {
            let (order, proof, settlement) = (*order, *proof, settlement.clone());
            entries.push(Entry::Settled { key, order, proof, settlement });
        }
        entries
    }

    fn apply(&mut self, entry: &Entry) -> Result<(), Contradiction> {
        match entry {
            Entry::Term { store, term } => {
                require(*term > self.term(*store), || format!("term {} does not rise", term.0))?;
                self.stores.entry(*store).or_default().term = *term;
            }
            Entry::Mark { store, mark } => {
                require(*mark > self.mark(*store), || format!("mark {mark} does not rise"))?;
                let known = self.stores.entry(*store).or_default();
                known.mark = *mark;
                known.ahead.retain(|order| order > mark);
            }
            Entry::Evidence { store, evidence } => {
                require(self.is_news(*store, evidence), || "evidence says nothing new".to_owned())?;
                self.stores.entry(*store).or_default().evidence = Some(*evidence);
            }
            Entry::CancelledAhead { store, order } => {
                let new = *order > self.mark(*store) && !self.is_cancelled_ahead(*store, *order);
                require(new, || format!("order {order} cannot be cancelled ahead"))?;
                self.stores.entry(*store).or_default().ahead.insert(*order);
            }
            Entry::Starting { key, order, proof, plan } => {
                let free = !self.live.contains_key(key) && !self.settled.contains_key(key);
                require(free, || format!("{key} starts again"))?;
                let marked = *order <= self.mark(key.store);
                require(marked, || format!("{key} starts by order {order} above the mark"))?;
                let live = Live {
                    order: *order,
                    proof: *proof,
                    plan: plan.clone(),
                    process: None,
                    cancelling: false,
                };
                self.live.insert(*key, live);
            }
            Entry::Started { key, process } => {
                match self.live.get_mut(key).filter(|live| live.process.is_none()) {
                    Some(live) => live.process = Some(*process),
                    None => return broken(|| format!("{key} started but was not starting")),
                }
            }
            Entry::Cancelling { key } => {
                match self.live.get_mut(key).filter(|live| !live.cancelling) {
                    Some(live) => live.cancelling = true,
                    None => return broken(|| format!("{key} cannot begin to be cancelled")),
                }
            }
            Entry::Settled { key, order, proof, settlement } => {
                self.settle(*key, *order, *proof, settlement)?;
            }
            Entry::Acknowledged { key } => match self.settled.remove(key) {
                Some(gone) => self.settled_bytes -= gone.settlement.weight(),
                None => return broken(|| format!("{key} is acknowledged but not settled")),
            },
        }
        Ok(())
    }
}

fn broken(why: impl FnOnce() -> String) -> Result<(), Contradiction> {
    Err(Contradiction(why()))
}
