//! What waits for the disk.
//!
//! While one batch of records is written, the next gathers, together with everything that may be
//! done only once they are on disk. Order is kept: what was decided first is done first.
//!
//! ```text
//!            flush             Committed
//! Idle ─────────────→ Writing ───────────→ Idle, and what waited is done
//!  │  ↑                  │ ↑
//!  │  │ Raised, or not   │ │ the pause is over
//!  │  │            Full  ↓ │
//!  └─→ Raising         Pausing
//! ```

use std::{collections::HashSet, sync::Arc, time::Duration};

use orchestra_flow::{Answer, Effect, ReplyId, SessionId};
use orchestra_model::{
    FlowId,
    delivery::Term,
    record::{Op, Record},
    status::Event,
};
use orchestra_proto::v1;
use orchestra_store::CommitError;
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use super::{batch::Batch, mailbox::Watching};
use crate::{
    declined::Declined,
    lines::EncodedJob,
    proof::Keys,
    writer::{Write, Writer, Written},
};

/// How long a disk without space is given before the batch is tried again.
const FULL_PAUSE: Duration = Duration::from_secs(1);
/// Unwritten bytes above which no more reports are taken in: players then wait with theirs.
const MOST_BYTES: usize = 64 << 20;

/// Answers a question, or says why it is not answered.
pub(super) type Telling = Box<dyn FnOnce(Result<(), &str>) + Send>;

/// What is done once the records before it are on disk.
pub(super) enum After {
    /// An effect of the engine that is no order.
    Effect(Effect),
    /// An order with its large part, fetched while its flow was alive.
    Order { session: SessionId, order: v1::Order, job: Arc<EncodedJob> },
    /// An answer to a question; or instead, why there is none.
    Tell(Telling),
    /// Somebody begins to watch: here in the order of things, so that it hears of exactly what
    /// happens after the status that it is told.
    Watch {
        flow: FlowId,
        events: mpsc::Sender<Event>,
        watching: Box<Watching>,
        reply: oneshot::Sender<Result<Watching, Declined>>,
    },
}

/// What became of what was written.
pub(super) enum Done {
    /// These may be done now.
    Perform(Vec<After>),
    /// The term is raised, or could not be at the moment.
    Raised(Result<(Term, Keys), String>),
    /// The store cannot be written at the moment. Nothing is lost.
    Trouble,
}

/// Records that belong together, and what waits for them.
#[derive(Default)]
struct Gathering {
    batch: Batch,
    held: Held,
}

#[derive(Default)]
struct Held {
    after: Vec<After>,
    /// The flows that the records are about.
    flows: HashSet<FlowId>,
}

enum State {
    Idle,
    Writing(Held),
    Pausing { ops: Vec<Op>, held: Held, until: Instant },
    Raising,
}

/// Why the store cannot be written.
struct Trouble {
    shortly: String,
    whole: String,
}

/// Records on their way to the store, and what waits for them.
pub(super) struct Outgoing {
    writer: Writer,
    gathering: Gathering,
    state: State,
    /// A term to raise above this one, as soon as the writer is free.
    raise: Option<Term>,
    /// Why the last attempt failed; `None` while the store can be written.
    trouble: Option<Trouble>,
}

impl Outgoing {
    pub(super) fn new(writer: Writer) -> Self {
        let (gathering, state) = (Gathering::default(), State::Idle);
        Self { writer, gathering, state, raise: None, trouble: None }
    }

    /// Adds a record.
    pub(super) fn persist(&mut self, op: Op) {
        self.gathering.held.flows.extend(flow_of(&op));
        self.gathering.batch.push(op);
    }

    /// Adds what may be done once every record before it is on disk.
    pub(super) fn hold(&mut self, after: After) {
        self.gathering.held.after.push(after);
    }

    /// Asks for a term above `seen`.
    pub(super) fn raise_term(&mut self, seen: Term) {
        self.raise = Some(seen);
    }

    /// Takes that back, unless the writer has been told already. Returns whether there was anything
    /// to take back.
    pub(super) fn call_off_raise(&mut self) -> bool {
        self.raise.take().is_some()
    }

    /// Whether the gathering batch, and what waits for it, are small enough to take in more.
    pub(super) fn has_room(&self) -> bool {
        let held = self.gathering.held.after.len() * size_of::<After>();
        self.gathering.batch.bytes() + held < MOST_BYTES
    }

    /// Whether everything about a flow is on disk.
    pub(super) fn is_written(&self, flow: FlowId) -> bool {
        let held = match &self.state {
            State::Writing(held) | State::Pausing { held, .. } => Some(held),
            State::Idle | State::Raising => None,
        };
        let unwritten = held.into_iter().chain([&self.gathering.held]);
        unwritten.into_iter().all(|held| !held.flows.contains(&flow))
    }

    /// Whether everything is on disk.
    pub(super) fn is_all_written(&self) -> bool {
        self.is_idle() && self.gathering.batch.is_empty()
    }

    /// Why the store cannot be written, if so, in a few words for whoever asked for something else.
    pub(super) fn trouble(&self) -> Option<&str> {
        self.trouble.as_ref().map(|trouble| trouble.shortly.as_str())
    }

    /// Why the store cannot be written, if so, with every cause: for whoever is to mend it.
    pub(super) fn whole_trouble(&self) -> Option<&str> {
        self.trouble.as_ref().map(|trouble| trouble.whole.as_str())
    }

    /// When the batch is to be tried again.
    pub(super) fn retry_at(&self) -> Option<Instant> {
        match &self.state {
            State::Pausing { until, .. } => Some(*until),
            _ => None,
        }
    }

    /// Tries the batch again.
    pub(super) fn retry(&mut self) {
        if let State::Pausing { ops, held, .. } = std::mem::replace(&mut self.state, State::Idle) {
            self.writer.send(Write::Commit(ops));
            self.state = State::Writing(held);
        }
    }

    /// Hands over what was gathered, if the writer is free, and returns what needs no writing.
    pub(super) fn flush(&mut self) -> Vec<After> {
        if !matches!(self.state, State::Idle) {
            return Vec::new();
        }
        if let Some(seen) = self.raise.take() {
            self.writer.send(Write::RaiseTerm(seen));
            self.state = State::Raising;
            return Vec::new();
        }
        let Gathering { batch, held } = std::mem::take(&mut self.gathering);
        if batch.is_empty() {
            return held.after;
        }
        self.writer.send(Write::Commit(batch.into_ops()));
        self.state = State::Writing(held);
        Vec::new()
    }

    /// Whether nothing is being written.
    pub(super) fn is_idle(&self) -> bool {
        matches!(self.state, State::Idle)
    }

    /// Waits for what became of what the writer was given. Cancelling it loses nothing.
    pub(super) async fn written(&mut self) -> Written {
        let gone = || CommitError::Broken("the thread that writes it has ended".into());
        self.writer.done.recv().await.unwrap_or_else(|| Written::Failed(gone()))
    }

    /// Takes in what became of what was written. Fails when the store has.
    pub(super) fn settle(&mut self, written: Written) -> Result<Done, CommitError> {
        let state = std::mem::replace(&mut self.state, State::Idle);
        match (written, state) {
            (Written::Committed, State::Writing(held)) => {
                if self.trouble.take().is_some() {
                    tracing::info!("the store can be written again");
                }
                Ok(Done::Perform(held.after))
            }
            (Written::Full(ops, error), State::Writing(held)) => {
                if self.trouble.is_none() {
                    let whole = orchestra_model::chain(&error);
                    tracing::error!(error = whole, "the store cannot be written; will try again");
                    self.trouble = Some(Trouble { shortly: shortly(&error), whole });
                }
                let until = Instant::now() + FULL_PAUSE;
                self.state = State::Pausing { ops, held, until };
                Ok(Done::Trouble)
            }
            (Written::Raised(term, keys), _) => Ok(Done::Raised(Ok((term, keys)))),
            (Written::NotRaised(error), _) => {
                Ok(Done::Raised(Err(orchestra_model::chain(&*error))))
            }
            (Written::Failed(error), _) => Err(error),
            // The writer answers once for each thing that it was given.
            (Written::Committed | Written::Full(..), _) => Ok(Done::Perform(Vec::new())),
        }
    }

    /// Who waits to be told that the engine has rejected what was asked.
    pub(super) fn rejected(&self) -> Vec<ReplyId> {
        let held = match &self.state {
            State::Writing(held) | State::Pausing { held, .. } => Some(held),
            State::Idle | State::Raising => None,
        };
        let after = held.into_iter().chain([&self.gathering.held]).flat_map(|held| &held.after);
        let rejected = after.filter_map(|after| match after {
            After::Effect(Effect::Answer { reply, answer: Answer::Rejected(_) }) => Some(*reply),
            _ => None,
        });
        rejected.collect()
    }

    /// Takes out the answers to questions that wait: they are given another one.
    pub(super) fn take_answers(&mut self) -> Vec<After> {
        let held = match &mut self.state {
            State::Writing(held) | State::Pausing { held, .. } => Some(held),
            State::Idle | State::Raising => None,
        };
        let mut answers = Vec::new();
        for held in held.into_iter().chain([&mut self.gathering.held]) {
            let is_answer =
                |after: &mut After| matches!(after, After::Tell(_) | After::Watch { .. });
            answers.extend(held.after.extract_if(.., is_answer));
        }
        answers
    }

    /// Ends the writer, and returns when the store is closed.
    pub(super) async fn close(self) {
        self.writer.close().await;
    }
}

/// Why a store cannot be written, in a few words for whoever asked for something else.
fn shortly(error: &CommitError) -> String {
    match error {
        CommitError::Full(_) => "no space".to_owned(),
        CommitError::Busy(_) => "another program keeps the store locked".to_owned(),
        error => orchestra_model::chain(error),
    }
}

/// The flow that a record is about; `None` for those that are about none.
fn flow_of(op: &Op) -> Option<FlowId> {
    match op {
        Op::Put(Record::Flow(flow)) => Some(flow.id),
        Op::Put(Record::Spec(chunk)) => Some(chunk.flow),
        Op::Put(Record::Job(job)) => Some(job.id.flow),
        Op::Put(Record::Targets(chunk)) => Some(chunk.job.flow),
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
            | Record::Placement(_),
        )
        | Op::Release(_)
        | Op::PruneAudit(_)
        | Op::PruneVersion(..)
        | Op::Displace(..) => None,
    }
}
