//! What waits for the disk.
//!
//! While one batch of records is written, the next gathers, together with everything that may be
//! done only once they are on disk. Order is kept: what was decided first is done first.
//!
//! ```text
//!            flush             committed
//! Idle ─────────────→ Writing ───────────→ Idle, and what waited is done
//!  │  ↑                  │ ↑
//!  │  │ raised           │ │ retry
//!  │  │            full  ↓ │
//!  └─→ Raising         Pausing
//! ```
//!
//! It writes nothing itself: whoever owns it has a writer, and says what became of what that was
//! given. What waits is of any type, so that the conductor and the simulation share the order.

use std::collections::HashSet;

use orchestra_model::{
    FlowId,
    delivery::Term,
    record::{Op, Record},
};

use crate::batch::Batch;

/// Unwritten bytes above which nothing more is to be taken in.
const MOST_BYTES: usize = 64 << 20;

/// What is to be done with what was gathered.
#[derive(Debug)]
pub enum Flushed<A> {
    /// Nothing, for something is being written.
    Nothing,
    /// These are to be written, and then [`WriteAhead::committed`] or [`WriteAhead::full`] called.
    Commit(Vec<Op>),
    /// The term is to be raised above this one, and then [`WriteAhead::raised`] called.
    RaiseTerm(Term),
    /// These rest on nothing that is to be written, and may be done now.
    Perform(Vec<A>),
}

/// Records on their way to the store, and what waits until they are there.
#[derive(Debug)]
pub struct WriteAhead<A> {
    gathering: Gathering<A>,
    state: State<A>,
    /// A term to raise above this one, as soon as nothing is being written.
    raise: Option<Term>,
}

/// Records that belong together, and what waits for them.
#[derive(Debug)]
struct Gathering<A> {
    batch: Batch,
    held: Held<A>,
}

#[derive(Debug)]
struct Held<A> {
    after: Vec<A>,
    /// The flows that the records are about.
    flows: HashSet<FlowId>,
}

#[derive(Debug)]
enum State<A> {
    Idle,
    Writing(Held<A>),
    Pausing { ops: Vec<Op>, held: Held<A> },
    Raising,
}

impl<A> Default for Gathering<A> {
    fn default() -> Self {
        let held = Held { after: Vec::new(), flows: HashSet::new() };
        Self { batch: Batch::default(), held }
    }
}

impl<A> Default for WriteAhead<A> {
    fn default() -> Self {
        Self { gathering: Gathering::default(), state: State::Idle, raise: None }
    }
}

impl<A> WriteAhead<A> {
    /// Adds a record.
    pub fn persist(&mut self, op: Op) {
        self.gathering.held.flows.extend(flow_of(&op));
        self.gathering.batch.push(op);
    }

    /// Adds what may be done once every record before it is on disk.
    pub fn hold(&mut self, after: A) {
        self.gathering.held.after.push(after);
    }

    /// Asks for a term above `seen`.
    pub fn raise_term(&mut self, seen: Term) {
        self.raise = Some(seen);
    }

    /// Takes that back, unless [`WriteAhead::flush`] has given it out. Whether there was anything to
    /// take back.
    pub fn call_off_raise(&mut self) -> bool {
        self.raise.take().is_some()
    }

    /// Whether the gathering batch, and what waits for it, are small enough to take in more.
    pub fn has_room(&self) -> bool {
        let held = self.gathering.held.after.len() * size_of::<A>();
        self.gathering.batch.bytes() + held < MOST_BYTES
    }

    /// Whether everything about a flow is on disk.
    pub fn is_written(&self, flow: FlowId) -> bool {
        let unwritten = self.being_written().into_iter().chain([&self.gathering.held]);
        unwritten.into_iter().all(|held| !held.flows.contains(&flow))
    }

    /// Whether everything is on disk.
    pub fn is_all_written(&self) -> bool {
        self.is_idle() && self.gathering.batch.is_empty()
    }

    /// Whether nothing is being written, and nothing pauses for room.
    pub fn is_idle(&self) -> bool {
        matches!(self.state, State::Idle)
    }

    /// Gives out what was gathered, if nothing is being written.
    pub fn flush(&mut self) -> Flushed<A> {
        if !self.is_idle() {
            return Flushed::Nothing;
        }
        if let Some(seen) = self.raise.take() {
            self.state = State::Raising;
            return Flushed::RaiseTerm(seen);
        }
        let Gathering { batch, held } = std::mem::take(&mut self.gathering);
        if batch.is_empty() {
            return Flushed::Perform(held.after);
        }
        self.state = State::Writing(held);
        Flushed::Commit(batch.into_ops())
    }

    /// What was given out to be written is on disk. What may be done now.
    pub fn committed(&mut self) -> Vec<A> {
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Writing(held) => held.after,
            state => {
                debug_assert!(false, "nothing was being written");
                self.state = state;
                Vec::new()
            }
        }
    }

    /// What was given out to be written found no room, and comes back for [`WriteAhead::retry`].
    pub fn full(&mut self, ops: Vec<Op>) {
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Writing(held) => self.state = State::Pausing { ops, held },
            state => {
                debug_assert!(false, "nothing was being written");
                self.state = state;
            }
        }
    }

    /// Gives out once more what found no room; `None` where nothing waits for that.
    pub fn retry(&mut self) -> Option<Vec<Op>> {
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Pausing { ops, held } => {
                self.state = State::Writing(held);
                Some(ops)
            }
            state => {
                self.state = state;
                None
            }
        }
    }

    /// The term is raised, or could not be at the moment.
    pub fn raised(&mut self) {
        debug_assert!(matches!(self.state, State::Raising), "no term was to be raised");
        self.state = State::Idle;
    }

    /// What was added since the last flush and waits for the records that were.
    pub fn gathering(&self) -> &[A] {
        &self.gathering.held.after
    }

    /// Everything that waits, in order.
    pub fn waiting(&self) -> impl Iterator<Item = &A> {
        let held = self.being_written().into_iter().chain([&self.gathering.held]);
        held.flat_map(|held| &held.after)
    }

    /// Takes out what waits and is so.
    pub fn take_waiting(&mut self, is_so: impl Fn(&A) -> bool) -> Vec<A> {
        let held = match &mut self.state {
            State::Writing(held) | State::Pausing { held, .. } => Some(held),
            State::Idle | State::Raising => None,
        };
        let held = held.into_iter().chain([&mut self.gathering.held]);
        held.flat_map(|held| held.after.extract_if(.., |after| is_so(after))).collect()
    }

    fn being_written(&self) -> Option<&Held<A>> {
        match &self.state {
            State::Writing(held) | State::Pausing { held, .. } => Some(held),
            State::Idle | State::Raising => None,
        }
    }
}

/// The flow that a record is about; `None` for those that are about none.
fn flow_of(op: &Op) -> Option<FlowId> {
    match op {
        Op::Put(Record::Flow(flow)) => Some(flow.id),
        Op::Put(Record::Spec(chunk)) => Some(chunk.flow),
        Op::Put(Record::Job(job)) => Some(job.id.flow),
        Op::Put(Record::Targets(chunk)) => Some(chunk.job.flow),
        Op::Put(Record::Tree(chunk)) => Some(chunk.job.flow),
        Op::Put(Record::Params(params)) => Some(params.job.flow),
        Op::Put(Record::Task(task)) => Some(task.job.flow),
        Op::Put(Record::End(end)) => Some(end.job.flow),
        Op::EraseParams(job) => Some(job.flow),
        Op::PruneFlow(flow) => Some(*flow),
        Op::Put(Record::Hold(hold)) => Some(hold.job.flow),
        Op::Put(
            Record::NextFlow(_)
            | Record::Recovered(_)
            | Record::InForce(_)
            | Record::Audit(_)
            | Record::Player(_)
            | Record::Service(_)
            | Record::Version(_)
            | Record::Placement(_)
            | Record::Brakes(_)
            | Record::Bundle(_),
        )
        | Op::Release(_)
        | Op::PruneAudit(_)
        | Op::PruneVersion(..)
        | Op::Displace(..)
        | Op::ForgetBundle(_) => None,
    }
}
