//! The conductor around the engine: what `conductor/src/driver.rs` does, in small.
//!
//! Records gather in a batch; everything else that was decided waits behind them, and leaves, in
//! order, once they are on disk: by the conductor's own [`WriteAhead`]. A crash may come before, in
//! the middle of, or after any of that.
//!
//! The reference model is told every record in the order in which it was decided, also of those that
//! the batch leaves out because a later one says more. So a record that is missed on the disk shows
//! as soon as a conductor starts from there.

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
    Deployments, HostName, HostSet, ScoreName, TaskState, Timestamp,
    delivery::{ProofKeyId, Refusal, Report, Term},
    flow::FlowSpec,
    proof::Proof,
    record::{HoldRecord, Op, Record},
    tree::TreeShape,
};
use orchestra_store::{
    ATOMIC_OPS, CommitError, Fault, Flushed, MemoryDisk, MemoryStore, Reader, Store, WriteAhead,
};

use super::words;
use crate::reference::{Note, Reference};

/// Something that the engine took in or decided, in order.
#[derive(Debug)]
pub(crate) enum Item {
    Took(Note),
    Decided(Effect),
    /// A record that is written with what is decided after it, or before.
    Recorded(Op),
    /// An order, with the score of its job, fetched while its flow was alive.
    Order(HostName, SessionId, Command, ScoreName),
}

#[derive(Debug)]
pub(crate) struct Conductor {
    pub(crate) engine: Engine,
    store: MemoryStore,
    /// What gathers, and what waits for what is being written.
    outgoing: WriteAhead<Item>,
    /// What is being written.
    writing: Option<Vec<Op>>,
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
                tree: TreeShape::from_text(&reader.tree(record.id).unwrap().unwrap_or_default())
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
            outgoing: WriteAhead::default(),
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
    pub(crate) fn take(&mut self, now: Timestamp, mut note: Note, input: Input) {
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
        self.outgoing.hold(Item::Took(Note::Time(now)));
        self.engine.handle(now, input);
        if let Note::Attached(.., listens) = &mut note {
            *listens = self.engine.stale().is_none();
        }
        self.outgoing.hold(Item::Took(note));
        self.gather();
    }

    /// A recovery has to come above what players have proof of.
    fn note_proven(&mut self, proofs: impl IntoIterator<Item = Proof>) {
        let terms = proofs.into_iter().map(|proof| proof.term);
        self.seen_term = terms.chain([self.seen_term]).max().unwrap();
    }

    /// Lets time pass for the engine.
    pub(crate) fn advance(&mut self, now: Timestamp) {
        self.outgoing.hold(Item::Took(Note::Time(now)));
        self.engine.advance(now);
        self.gather();
    }

    fn gather(&mut self) {
        let effects: Vec<Effect> = self.engine.effects().collect();
        for effect in effects {
            let item = match effect {
                Effect::Persist(op) => {
                    self.outgoing.persist(op.clone());
                    Item::Recorded(op)
                }
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
            self.outgoing.hold(item);
        }
        if let Err(violation) = self.engine.audit() {
            panic!("audit: {violation}");
        }
    }

    /// Hands over what was gathered, if nothing is being written.
    pub(crate) fn flush(&mut self, reference: &mut Reference) {
        match self.outgoing.flush() {
            Flushed::Nothing => {}
            Flushed::Commit(ops) => self.writing = Some(ops),
            Flushed::Perform(items) => {
                let early = items.iter().find(|item| matches!(item, Item::Recorded(_)));
                assert!(early.is_none(), "done before it is on disk: {early:?}");
                self.done(items, reference);
            }
            Flushed::RaiseTerm(seen) => panic!("nobody asked for a term above {}", seen.0),
        }
    }

    /// What was being written is on disk, unless there is no room.
    pub(crate) fn commit(&mut self, reference: &mut Reference) {
        let Some(ops) = self.take_writing() else { return };
        match self.store.commit(&ops) {
            Ok(()) => {
                self.trouble = false;
                let items = self.outgoing.committed();
                let recorded = items.iter().filter_map(|item| match item {
                    Item::Recorded(op) => Some(op),
                    _ => None,
                });
                let mut missing = recorded.filter(|op| !is_said(op, &ops));
                assert_eq!(missing.next(), None, "what rests on it is done, and it is not on disk");
                self.done(items, reference);
            }
            Err(CommitError::Full(_)) => {
                self.trouble = true;
                self.outgoing.full(ops);
            }
            Err(error) => panic!("the store is broken: {error}"),
        }
    }

    /// What is being written, or is to be tried again.
    fn take_writing(&mut self) -> Option<Vec<Op>> {
        self.outgoing.retry().or_else(|| self.writing.take())
    }

    /// Everything in here is durable, and what is no record may be done.
    fn done(&mut self, items: Vec<Item>, reference: &mut Reference) {
        for item in items {
            match item {
                Item::Took(note) => reference.note(&note),
                Item::Recorded(op) => reference.persisted(&op),
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
        let Some(mut batch) = self.take_writing() else { return };
        let kept = match batch.len() {
            n if kept >= n => n,
            n if n <= ATOMIC_OPS => 0,
            _ => kept,
        };
        disk.fail_next(Fault::Torn(kept));
        let torn = self.store.commit(&batch);
        assert_eq!(torn.is_err(), kept < batch.len(), "{torn:?}");
        batch.truncate(kept);
        let items = self.outgoing.committed();
        let is_kept = |item: &Item| matches!(item, Item::Recorded(op) if is_said(op, &batch));
        let length = items.iter().rposition(is_kept).map_or(0, |last| last + 1);
        for item in items.into_iter().take(length) {
            match item {
                Item::Took(note) => reference.note(&note),
                Item::Decided(Effect::Answer { answer, .. }) => reference.decided(&answer),
                Item::Recorded(op) if is_said(&op, &batch) => reference.persisted(&op),
                _ => {}
            }
        }
    }

    /// Whether everything that was decided is on disk and done.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.outgoing.gathering().is_empty()
            && self.outgoing.is_idle()
            && self.ready.is_empty()
            && !self.engine.has_work()
    }

    pub(crate) fn is_writing(&self) -> bool {
        !self.outgoing.is_idle()
    }

    /// The answers that were just decided and wait for the disk.
    pub(crate) fn newest_answer(&self) -> Option<&Answer> {
        self.outgoing.gathering().iter().rev().find_map(|item| match item {
            Item::Decided(Effect::Answer { answer, .. }) => Some(answer),
            _ => None,
        })
    }

    /// What was gathered from item `from` on, in words; and how much there is in all.
    pub(crate) fn gathered(&self, from: usize) -> (Vec<String>, usize) {
        let items = self.outgoing.gathering().iter().skip(from);
        (items.filter_map(words::item).collect(), self.outgoing.gathering().len())
    }

    /// Adds what was gathered from item `from` on to a digest, to the last byte.
    pub(crate) fn digest(&self, from: usize, digest: &mut DefaultHasher) {
        let items = self.outgoing.gathering().iter().skip(from);
        items.for_each(|item| format!("{item:?}").hash(digest));
    }

    /// Raises the term, as the writer does when nothing is being written.
    /// `None` where there is no room for that.
    pub(crate) fn raise_term(&mut self) -> Option<Term> {
        self.outgoing.raise_term(self.seen_term);
        let Flushed::RaiseTerm(seen) = self.outgoing.flush() else {
            panic!("a term is raised before anything else is written")
        };
        // The keys of before confirm what was said under them: one stands for all here.
        let raised = self.store.raise_term(seen, ProofKeyId([0; 16]));
        self.outgoing.raised();
        self.term = raised.ok()?;
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
        if self.outgoing.is_idle() {
            // No room is no harm: the next time will do.
            let _ = self.store.sweep(8);
        }
    }
}

/// Whether a batch has a record that was decided, or another that says it too: what more is known of
/// an attempt also says that it started, and the number of an order that those before it were issued.
fn is_said(op: &Op, batch: &[Op]) -> bool {
    let says = |other: &Op| match (op, other) {
        (Op::Put(Record::Task(start)), Op::Put(Record::Task(more))) => {
            let is_start = start.state == TaskState::Sent && start.started_at.is_some();
            is_start
                && (start.job, start.index, start.attempt) == (more.job, more.index, more.attempt)
        }
        (Op::Put(Record::Player(older)), Op::Put(Record::Player(newer))) => {
            older.host == newer.host && older.last_order < newer.last_order
        }
        _ => false,
    };
    batch.contains(op) || batch.iter().any(says)
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
