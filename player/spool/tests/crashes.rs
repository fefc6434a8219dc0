//! Random conductors, random sitters, and crashes at any byte of the journal.
//!
//! A step is a batch of inputs and what becomes of its write: it succeeds, the machine dies at some
//! byte of it (with some of its pages lost), or the disk fails and is mended later. What must hold
//! is kept beside the spool in [`World`].

#![expect(clippy::unwrap_used, reason = "test support")]

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::*;
use orchestra_model::{
    delivery::{AgentSession, AttemptKey, EndBytes, OrderNumber, Refusal, Report, StoreId, Term},
    proof::Mac,
};
use orchestra_spool::{Effect, Input, Plan, Settlement, Snapshot, Spool, State, journal};
use proptest::prelude::*;

const CAPACITY: u32 = 3;

/// One thing that happens, before it is fitted to what is possible.
#[derive(Clone, Debug)]
enum Deed {
    Attach(u8),
    Detach,
    Order {
        key: u8,
        number: u8,
        term: u8,
        admission: u8,
    },
    Cancel {
        key: u8,
        number: u8,
        term: u8,
    },
    Acknowledge {
        key: u8,
        number: Option<u8>,
        term: u8,
    },
    /// The process of one of the attempts being started exists, or cannot be made.
    Spawned {
        which: u8,
        well: bool,
    },
    /// One of the live attempts ends.
    End {
        which: u8,
    },
}

/// What becomes of a batch's write.
#[derive(Clone, Debug)]
enum Fate {
    Written,
    Compacted,
    /// The machine dies when `cut` of 255 parts of the frame are there, with `lost` of it zeroed.
    Crash {
        cut: u8,
        lost: Option<u8>,
    },
    /// The disk fails likewise.
    Fails {
        cut: u8,
    },
}

fn deed() -> impl Strategy<Value = Deed> {
    let (key, number, term) = (0u8..6, 1u8..14, 0u8..8);
    prop_oneof![
        2 => (0u8..2).prop_map(Deed::Attach),
        1 => Just(Deed::Detach),
        8 => (key.clone(), number.clone(), term.clone(), 0u8..12)
            .prop_map(|(key, number, term, admission)| Deed::Order { key, number, term, admission }),
        3 => (key.clone(), number.clone(), term.clone())
            .prop_map(|(key, number, term)| Deed::Cancel { key, number, term }),
        4 => (key, proptest::option::of(number), term)
            .prop_map(|(key, number, term)| Deed::Acknowledge { key, number, term }),
        6 => (0u8..4, proptest::bool::weighted(0.8))
            .prop_map(|(which, well)| Deed::Spawned { which, well }),
        4 => (0u8..4).prop_map(|which| Deed::End { which }),
    ]
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        12 => Just(Fate::Written),
        1 => Just(Fate::Compacted),
        3 => (any::<u8>(), proptest::option::of(any::<u8>()))
            .prop_map(|(cut, lost)| Fate::Crash { cut, lost }),
        1 => any::<u8>().prop_map(|cut| Fate::Fails { cut }),
    ]
}

fn steps() -> impl Strategy<Value = Vec<(Vec<Deed>, Fate)>> {
    proptest::collection::vec((proptest::collection::vec(deed(), 0..5), fate()), 1..60)
}

/// The spool, its disk, and what was promised.
struct World {
    spool: Spool,
    /// What a crash would leave.
    disk: Vec<u8>,
    /// The states that a crash may lead to: without and with the last batch.
    durable: State,
    tried: Option<State>,
    /// Attempts being started: their `Start` was performed.
    starting: Vec<AttemptKey>,
    /// Orders whose `Start` was performed, ever.
    started: BTreeSet<(StoreId, OrderNumber)>,
    /// Attempts that were performed and not acknowledged since.
    owned: BTreeSet<AttemptKey>,
    /// Reports that were sent while the journal was whole, until acknowledged.
    owed: BTreeMap<AttemptKey, (OrderNumber, Settlement)>,
    /// The last snapshot that was sent.
    snapshot: Option<Snapshot>,
    /// Orders that an honest conductor sent, and whether it may order the attempt anew.
    honest: Option<BTreeMap<AttemptKey, (BTreeSet<u8>, bool)>>,
    session: u64,
    ends: u32,
}

impl World {
    fn new(honest: bool) -> Self {
        let spool = Rig::new(CAPACITY).spool;
        World {
            disk: journal::compacted(spool.state()),
            durable: spool.state().clone(),
            spool,
            tried: None,
            starting: Vec::new(),
            started: BTreeSet::new(),
            owned: BTreeSet::new(),
            owed: BTreeMap::new(),
            snapshot: None,
            honest: honest.then(BTreeMap::new),
            session: 100,
            ends: 0,
        }
    }

    fn step(&mut self, deeds: &[Deed], fate: &Fate) {
        for deed in deeds {
            for input in self.inputs(deed) {
                if let Input::Acknowledged { key, .. } = &input {
                    self.acknowledge(*key, input.clone());
                } else {
                    self.spool.handle(input);
                }
                self.spool.audit().unwrap();
            }
        }
        match fate {
            Fate::Written if self.spool.broken().is_none() => self.write(),
            Fate::Written => {}
            Fate::Compacted => self.rewrite(),
            Fate::Fails { cut } => self.fail(*cut),
            Fate::Crash { cut, lost } => return self.crash(*cut, *lost),
        }
        self.spool.audit().unwrap();
        self.perform();
    }

    fn frame(&self) -> Vec<u8> {
        journal::frame(self.disk.len() as u64, self.spool.unwritten())
    }

    fn write(&mut self) {
        let frame = self.frame();
        self.disk.extend(frame);
        self.spool.written();
        self.durable = self.spool.state().clone();
    }

    fn rewrite(&mut self) {
        self.disk = journal::compacted(self.spool.state());
        self.spool.rewritten();
        self.durable = self.spool.state().clone();
        self.tried = None;
    }

    /// Part of the frame may have come to the disk; nothing is appended to it any more.
    fn fail(&mut self, cut: u8) {
        if self.spool.broken().is_none() {
            let frame = self.frame();
            let kept = frame.len() * usize::from(cut) / 255;
            self.tried = (kept == frame.len()).then(|| self.spool.state().clone());
            self.disk.extend(&frame[..kept]);
        }
        self.spool.write_failed("no space left on device");
    }

    fn crash(&mut self, cut: u8, lost: Option<u8>) {
        let synced = self.disk.len();
        if self.spool.broken().is_none() {
            let frame = self.frame();
            let kept = frame.len() * usize::from(cut) / 255;
            self.disk.extend(&frame[..kept]);
            let mut whole = kept == frame.len();
            if let Some(lost) = lost.filter(|_| kept > 0) {
                let from = synced + kept * usize::from(lost) / 256;
                whole &= self.disk[from..].iter().all(|byte| *byte == 0);
                self.disk[from..].fill(0);
            }
            self.tried = whole.then(|| self.spool.state().clone());
        }
        let replayed = journal::replay(&self.disk).unwrap();
        let expected = self.tried.take().unwrap_or_else(|| self.durable.clone());
        assert_eq!(replayed.state, expected);
        self.disk.truncate(usize::try_from(replayed.valid_len).unwrap());
        self.spool = Spool::recover(replayed.state.clone(), CAPACITY);
        self.durable = replayed.state;
        self.starting.clear();
        self.spool.audit().unwrap();
        for (key, (order, settlement)) in &self.owed {
            let kept = &self.spool.state().settled()[key];
            assert_eq!((kept.order, &kept.settlement), (*order, settlement));
        }
        self.recover();
    }

    /// What a sitter does first: what may have started and has no process is lost.
    fn recover(&mut self) {
        let live = self.spool.state().live().clone();
        for (key, live) in live {
            // It may have been acknowledged from memory while the disk failed.
            self.owned.insert(key);
            if live.process.is_some() {
                assert!(self.started.contains(&(key.store, live.order)), "{key} never started");
            } else {
                self.spool.handle(ended(key, "lost"));
            }
        }
        self.write();
        self.perform();
    }

    fn acknowledge(&mut self, key: AttemptKey, input: Input) {
        self.spool.handle(input);
        if !self.spool.state().settled().contains_key(&key) {
            self.owed.remove(&key);
            if !self.spool.state().live().contains_key(&key) {
                self.owned.remove(&key);
            }
        }
    }

    fn perform(&mut self) {
        while let Some(effect) = self.spool.poll_effect() {
            match effect {
                Effect::Start { key, order, .. } => {
                    assert_eq!(self.durable.live()[&key].order, order, "not durable");
                    assert!(self.started.insert((key.store, order)), "{key} started again");
                    assert!(self.owned.insert(key), "{key} started while it was known");
                    self.starting.push(key);
                }
                Effect::Report { report, .. } => self.reported(report),
                Effect::Snapshot { snapshot, .. } => self.snapshot_sent(snapshot),
                Effect::Kill { .. } => {}
            }
        }
    }

    fn reported(&mut self, report: Report<EndBytes>) {
        let key = report.key();
        let (order, settlement) = match report {
            Report::Started { .. } => return,
            Report::Ended { order, end, .. } => (order, Settlement::Ended(end)),
            Report::Refused { order, refusal, .. } => (order, Settlement::Refused(refusal)),
        };
        if let Some((orders, anew)) = self.honest.as_mut().and_then(|sent| sent.get_mut(&key)) {
            let newest = orders.last().is_some_and(|last| order == OrderNumber((*last).into()));
            *anew = newest && matches!(settlement, Settlement::Refused(Refusal::Busy));
        }
        // In memory and on disk: while the disk fails, the one may have what the other has not.
        let kept = |state: &State| {
            let kept = state.settled().get(&key);
            kept.is_some_and(|kept| (kept.order, &kept.settlement) == (order, &settlement))
        };
        if kept(&self.durable) && kept(self.spool.state()) {
            self.owed.insert(key, (order, settlement));
        }
    }

    /// A conductor takes a mark that goes back for a spool that was lost.
    fn snapshot_sent(&mut self, snapshot: Snapshot) {
        for before in self.snapshot.iter().flat_map(|snapshot| &snapshot.marks) {
            let now = snapshot.mark_of(before.store);
            assert!(now.mark >= before.mark && now.term >= before.term, "{before:?} {now:?}");
        }
        self.snapshot = Some(snapshot);
    }

    /// What a deed comes to in this world.
    fn inputs(&mut self, deed: &Deed) -> Vec<Input> {
        match *deed {
            Deed::Attach(store) => {
                self.session += 1;
                let (session, store) = (AgentSession(self.session), store_of(store));
                let hello = Input::TermSeen { store, term: TERM, issued: None };
                vec![Input::Opened { session }, Input::Attached { session, store }, hello]
            }
            Deed::Detach => vec![Input::Detached { session: AgentSession(self.session) }],
            Deed::Order { key, number, term, admission } => {
                if self.honest.is_some() && !self.may_order(key, number) {
                    return Vec::new();
                }
                let (key, term) = (key_from(key), term_of(term, self.honest.is_some()));
                let admission = admission_of(admission);
                vec![Input::Ordered {
                    term,
                    order: OrderNumber(number.into()),
                    key,
                    mac: mac_of(number),
                    admission,
                }]
            }
            Deed::Cancel { key, number, term } => {
                let (key, term) = (key_from(key), term_of(term, self.honest.is_some()));
                vec![Input::Cancelled {
                    term,
                    order: OrderNumber(number.into()),
                    key,
                    mac: mac_of(number),
                }]
            }
            Deed::Acknowledge { key, number, term } => {
                let (key, term) = (key_from(key), term_of(term, self.honest.is_some()));
                // An honest conductor acknowledges what it was told.
                let order = match (&self.honest, self.owed.get(&key)) {
                    (None, _) => number.map(|number| OrderNumber(number.into())),
                    (Some(_), Some((order, _))) => Some(*order),
                    (Some(_), None) => return Vec::new(),
                };
                vec![Input::Acknowledged { term, key, order }]
            }
            Deed::Spawned { which, well } => {
                if self.starting.is_empty() {
                    return Vec::new();
                }
                let key = self.starting.remove(usize::from(which) % self.starting.len());
                let process = process(key.job.flow.0 + 1);
                let refusal = Refusal::SpawnFailed("no memory".to_owned());
                match well {
                    true => vec![Input::Started { key, process }],
                    false => vec![Input::StartFailed { key, refusal }],
                }
            }
            Deed::End { which } => {
                let running = |key: &AttemptKey| self.owned.contains(key);
                let live: Vec<_> = (self.spool.live().map(|(key, _)| key))
                    .filter(|key| running(key) && !self.starting.contains(key))
                    .collect();
                let Some(key) = live.get(usize::from(which)) else {
                    return Vec::new();
                };
                self.ends += 1;
                vec![ended(*key, &format!("end {}", self.ends))]
            }
        }
    }

    /// An honest conductor gives each number to one attempt, and a further number to an attempt
    /// only after it was told that the player was busy.
    fn may_order(&mut self, key: u8, number: u8) -> bool {
        let key = key_from(key);
        let Some(sent) = &mut self.honest else {
            return true;
        };
        let same_store = |other: &&AttemptKey| other.store == key.store;
        let taken = |other: &AttemptKey| *other != key && sent[other].0.contains(&number);
        if sent.keys().filter(same_store).any(taken) {
            return false;
        }
        let (orders, anew) = sent.entry(key).or_insert_with(|| (BTreeSet::new(), true));
        if orders.contains(&number) {
            return true;
        }
        let newer = orders.last().is_none_or(|last| number > *last);
        if newer && *anew {
            *anew = false;
            orders.insert(number);
            return true;
        }
        false
    }
}

fn store_of(n: u8) -> StoreId {
    if n == 0 { STORE } else { OTHER_STORE }
}

fn key_from(n: u8) -> AttemptKey {
    key_of(store_of(n % 2), (n / 2).into())
}

/// Mostly the present term, at times a lower or a higher one.
/// What stands for the proof of an order; some come without.
fn mac_of(number: u8) -> Option<Mac> {
    (!number.is_multiple_of(3)).then_some(Mac([number; 16]))
}

fn term_of(n: u8, honest: bool) -> Term {
    match n {
        0 if !honest => Term(TERM.0 - 1),
        1 if !honest => Term(TERM.0 + 1),
        _ => TERM,
    }
}

fn admission_of(n: u8) -> Result<Plan, Refusal> {
    match n {
        0 => Err(Refusal::UnknownScore),
        1 => Err(Refusal::Stopping),
        2 => Ok(Plan { exclusive: true, ..plan("alone") }),
        3..=6 => Ok(Plan { concurrency: Some(1), ..plan("one") }),
        _ => Ok(plan("any")),
    }
}

/// Runs the steps, then mends the disk, ends what runs, and acknowledges everything.
fn live_through(honest: bool, steps: &[(Vec<Deed>, Fate)]) -> World {
    let mut world = World::new(honest);
    world.step(&[Deed::Attach(0)], &Fate::Written);
    for (deeds, fate) in steps {
        world.step(deeds, fate);
    }
    world.rewrite();
    world.perform();
    let replayed = journal::replay(&world.disk).unwrap();
    assert_eq!(&replayed.state, world.spool.state());
    assert!(!replayed.torn);

    let live: Vec<_> = world.spool.live().map(|(key, _)| key).collect();
    for key in live {
        world.spool.handle(ended(key, "at last"));
    }
    for store in [0, 1] {
        world.step(&[Deed::Attach(store)], &Fate::Written);
    }
    let settled: Vec<_> = world.spool.state().settled().keys().copied().collect();
    for key in settled {
        assert!(world.owed.contains_key(&key), "{key} was not reported");
        let term = world.spool.state().term(key.store);
        world.acknowledge(key, Input::Acknowledged { term, key, order: None });
    }
    world.write();
    assert!(world.spool.state().live().is_empty() && world.spool.state().settled().is_empty());
    world
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn nothing_is_started_twice_or_forgotten_whatever_the_conductor_says(steps in steps()) {
        live_through(false, &steps);
    }

    #[test]
    fn an_honest_conductor_gets_each_attempt_started_at_most_once(steps in steps()) {
        let world = live_through(true, &steps);
        let mut keys = BTreeSet::new();
        let sent = world.honest.unwrap();
        for (store, order) in world.started {
            let of = |(key, (orders, _)): &(&AttemptKey, &(BTreeSet<u8>, bool))| {
                key.store == store && orders.iter().any(|n| OrderNumber((*n).into()) == order)
            };
            let (key, _) = sent.iter().find(of).unwrap();
            prop_assert!(keys.insert(*key), "{} was started twice", key);
        }
    }

    #[test]
    fn the_same_inputs_give_the_same_bytes(steps in steps()) {
        let (one, two) = (live_through(false, &steps), live_through(false, &steps));
        prop_assert_eq!(one.disk, two.disk);
    }
}
