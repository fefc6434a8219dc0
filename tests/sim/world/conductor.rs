//! The conductor around the engine: what `conductor/src/driver.rs` does, in small.
//!
//! Records gather in a batch; everything else that was decided waits behind them, and leaves, in
//! order, once they are on disk. A crash may come before, in the middle of, or after any of that.

use std::{
    collections::VecDeque,
    hash::{DefaultHasher, Hash as _},
    sync::Arc,
};

use orchestra_flow::{
    Answer, Command, Effect, Engine, Input, RecoveredFlow, RecoveredJob, Recovery, ReplyId,
    ReplyTo, SessionId, Settings,
};
use orchestra_model::{
    Deployments, HostName, HostSet, ScoreName, Timestamp,
    delivery::{ProofKeyId, Refusal, Report, Term},
    flow::FlowSpec,
    proof::Proof,
    record::{HoldRecord, Op},
};
use orchestra_store::{ATOMIC_OPS, CommitError, Fault, MemoryDisk, MemoryStore, Reader, Store};

use super::words;
use crate::reference::{Note, Reference};

/// Something that the engine took in or decided, in order.
#[derive(Debug)]
pub(crate) enum Item {
    Took(Note),
    Decided(Effect),
    /// An order, with the score of its job, fetched while its flow was alive.
    Order(HostName, SessionId, Command, ScoreName),
}

#[derive(Debug)]
pub(crate) struct Conductor {
    pub(crate) engine: Engine,
    store: MemoryStore,
    /// What gathers.
    gathering: Vec<Item>,
    /// What is being written, with what waits for it.
    writing: Option<Vec<Item>>,
    /// What may be done.
    pub(crate) ready: VecDeque<Item>,
    /// The store had no room.
    pub(crate) trouble: bool,
    /// The term that sessions are told.
    pub(crate) term: Term,
    /// The highest term that a player has seen.
    pub(crate) seen_term: Term,
    /// Added to true time.
    pub(crate) skew: i64,
}

fn is_op(item: &Item) -> bool {
    matches!(item, Item::Decided(Effect::Persist(_)))
}

fn ops(items: &[Item]) -> Vec<Op> {
    let op = |item: &Item| match item {
        Item::Decided(Effect::Persist(op)) => Some(op.clone()),
        _ => None,
    };
    items.iter().filter_map(op).collect()
}

impl Conductor {
    /// Starts from what is on the disk.
    pub(crate) fn start(
        disk: &MemoryDisk,
        specs: &[FlowSpec],
        deployments: Arc<Deployments>,
        roster: &HostSet,
        now: Timestamp,
        skew: i64,
    ) -> Self {
        let store = disk.open();
        let reader = store.reader().unwrap();
        let identity = store.identity();
        let mut engine = Engine::recover(
            Settings { most_tasks: 100_000 },
            Recovery {
                store: identity.store,
                term: identity.term,
                recovered: reader.recovered().unwrap(),
                next_flow: reader.next_flow().unwrap(),
                players: reader.players().unwrap(),
                requests: reader.requests().unwrap(),
                holds: reader.holds().unwrap(),
                deployments,
                doubt: None,
            },
        );
        for record in reader.live_flows().unwrap() {
            let jobs = reader.jobs(record.id).unwrap().into_iter().map(|record| RecoveredJob {
                targets: HostSet::parse_plain(&reader.targets(record.id).unwrap().unwrap())
                    .unwrap(),
                params: reader.params(record.id).unwrap().unwrap_or_default(),
                tasks: reader.tasks(record.id, None, usize::MAX).unwrap(),
                record,
            });
            let spec = decode_spec(&reader.spec(record.id).unwrap().unwrap(), specs);
            let jobs = jobs.collect();
            engine.restore(RecoveredFlow { record, spec, jobs });
        }
        let mut conductor = Self {
            engine,
            store,
            gathering: Vec::new(),
            writing: None,
            ready: VecDeque::new(),
            trouble: false,
            term: identity.term,
            seen_term: identity.term,
            skew,
        };
        let now = conductor.clock(now);
        conductor.engine.resume(now);
        conductor.gather();
        conductor.take(
            now,
            Note::Other,
            Input::RosterLoaded {
                reply: ReplyTo::new(ReplyId(0)),
                hosts: roster.clone(),
                most_removed: u32::MAX,
            },
        );
        conductor
    }

    /// What time it is for the engine.
    pub(crate) fn clock(&self, now: Timestamp) -> Timestamp {
        Timestamp(now.0.saturating_add_signed(self.skew))
    }

    /// Takes something in, at `now` by the engine's clock.
    pub(crate) fn take(&mut self, now: Timestamp, note: Note, input: Input) {
        if let Input::Reported { report, .. } = &input
            && let Report::Refused { refusal: Refusal::StaleTerm { evidence, .. }, .. } = **report
        {
            self.note_proven(evidence.map(|evidence| evidence.proof));
        }
        if let Input::PlayerAttached { snapshot, .. } = &input {
            self.note_proven(snapshot.evidence.map(|evidence| evidence.proof));
            self.note_proven(snapshot.live.iter().filter_map(|live| live.proof));
            self.note_proven(snapshot.settled.iter().filter_map(|settled| settled.proof));
        }
        self.gathering.push(Item::Took(Note::Time(now)));
        let at = self.gathering.len();
        self.gathering.push(Item::Took(note));
        self.engine.handle(now, input);
        if let Item::Took(Note::Attached(.., listens)) = &mut self.gathering[at] {
            *listens = self.engine.stale().is_none();
        }
        self.gather();
    }

    /// A recovery has to come above what players have proof of.
    fn note_proven(&mut self, proofs: impl IntoIterator<Item = Proof>) {
        let terms = proofs.into_iter().map(|proof| proof.term);
        self.seen_term = terms.chain([self.seen_term]).max().unwrap();
    }

    /// Lets time pass for the engine.
    pub(crate) fn advance(&mut self, now: Timestamp) {
        self.gathering.push(Item::Took(Note::Time(now)));
        self.engine.advance(now);
        self.gather();
    }

    fn gather(&mut self) {
        let effects: Vec<Effect> = self.engine.effects().collect();
        for effect in effects {
            let item = match effect {
                Effect::Send { player, session, command } => {
                    let host = self.engine.roster().host(player).clone();
                    let job = command.ordered_job();
                    let part = job.map(|job| {
                        let part = self.engine.job_part(job);
                        part.unwrap_or_else(|| panic!("{job} is ordered, and has no contents"))
                    });
                    let score = part.map_or_else(|| ScoreName::new("none").unwrap(), |p| p.score);
                    Item::Order(host, session, command, score)
                }
                effect => Item::Decided(effect),
            };
            self.gathering.push(item);
        }
        if let Err(violation) = self.engine.audit() {
            panic!("audit: {violation}");
        }
    }

    /// Hands over what was gathered, if nothing is being written.
    pub(crate) fn flush(&mut self, reference: &mut Reference) {
        if self.writing.is_none() {
            let items = std::mem::take(&mut self.gathering);
            if items.iter().any(is_op) {
                self.writing = Some(items);
            } else {
                self.done(items, reference);
            }
        }
    }

    /// What was being written is on disk, unless there is no room.
    pub(crate) fn commit(&mut self, reference: &mut Reference) {
        let Some(items) = self.writing.take() else { return };
        match self.store.commit(&ops(&items)) {
            Ok(()) => {
                self.trouble = false;
                self.done(items, reference);
            }
            Err(CommitError::Full(_)) => {
                self.trouble = true;
                self.writing = Some(items);
            }
            Err(error) => panic!("the store is broken: {error}"),
        }
    }

    /// Everything in here is durable, and what is no record may be done.
    fn done(&mut self, items: Vec<Item>, reference: &mut Reference) {
        for item in items {
            match item {
                Item::Took(note) => reference.note(&note),
                Item::Decided(Effect::Persist(op)) => reference.persisted(&op),
                item => {
                    match &item {
                        Item::Decided(Effect::Answer { answer, .. }) => reference.decided(answer),
                        Item::Decided(Effect::Publish(event)) => reference.numbered(event),
                        _ => {}
                    }
                    self.ready.push_back(item);
                }
            }
        }
    }

    /// It dies. Of what was being written a part is on disk, as a file system would leave it.
    pub(crate) fn die(mut self, kept: usize, disk: &MemoryDisk, reference: &mut Reference) {
        let Some(items) = self.writing.take() else { return };
        let batch = ops(&items);
        let kept = match batch.len() {
            n if kept >= n => n,
            n if n <= ATOMIC_OPS => 0,
            _ => kept,
        };
        disk.fail_next(Fault::Torn(kept));
        let torn = self.store.commit(&batch);
        assert_eq!(torn.is_err(), kept < batch.len(), "{torn:?}");
        let mut left = kept;
        for item in items {
            match item {
                _ if left == 0 => break,
                Item::Took(note) => reference.note(&note),
                Item::Decided(Effect::Persist(op)) => {
                    left -= 1;
                    reference.persisted(&op);
                }
                Item::Decided(Effect::Answer { answer, .. }) => reference.decided(&answer),
                _ => {}
            }
        }
    }

    /// Whether everything that was decided is on disk and done.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.gathering.is_empty()
            && self.writing.is_none()
            && self.ready.is_empty()
            && !self.engine.has_work()
    }

    pub(crate) fn is_writing(&self) -> bool {
        self.writing.is_some()
    }

    /// The answers that were just decided and wait for the disk.
    pub(crate) fn newest_answer(&self) -> Option<&Answer> {
        self.gathering.iter().rev().find_map(|item| match item {
            Item::Decided(Effect::Answer { answer, .. }) => Some(answer),
            _ => None,
        })
    }

    /// What was gathered from item `from` on, in words; and how much there is in all.
    pub(crate) fn gathered(&self, from: usize) -> (Vec<String>, usize) {
        let items = self.gathering.iter().skip(from);
        (items.filter_map(words::item).collect(), self.gathering.len())
    }

    /// Adds what was gathered from item `from` on to a digest, to the last byte.
    pub(crate) fn digest(&self, from: usize, digest: &mut DefaultHasher) {
        let items = self.gathering.iter().skip(from);
        items.for_each(|item| format!("{item:?}").hash(digest));
    }

    /// Raises the term, as the writer does when nothing is being written.
    /// `None` where there is no room for that.
    pub(crate) fn raise_term(&mut self) -> Option<Term> {
        // The keys of before confirm what was said under them: one stands for all here.
        self.term = self.store.raise_term(self.seen_term, ProofKeyId([0; 16])).ok()?;
        Some(self.term)
    }

    pub(crate) fn reader(&self) -> Box<dyn Reader> {
        self.store.reader().unwrap()
    }

    pub(crate) fn holds(&self) -> Vec<HoldRecord> {
        self.reader().holds().unwrap()
    }

    /// Housekeeping between batches.
    pub(crate) fn sweep(&mut self) {
        if self.writing.is_none() {
            // No room is no harm: the next time will do.
            let _ = self.store.sweep(8);
        }
    }
}

/// A spec in bytes: a number that stands for it.
pub(crate) fn encode_spec(spec: &FlowSpec, specs: &mut Vec<FlowSpec>) -> Arc<[u8]> {
    specs.push(spec.clone());
    (specs.len() as u64 - 1).to_le_bytes().as_slice().into()
}

fn decode_spec(bytes: &[u8], specs: &[FlowSpec]) -> FlowSpec {
    let number = u64::from_le_bytes(bytes.try_into().unwrap());
    specs[usize::try_from(number).unwrap()].clone()
}
