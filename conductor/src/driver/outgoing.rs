//! What waits for the disk, and the writer for which it waits. [`WriteAhead`] keeps the order; a
//! disk without space is given a pause.

use std::{sync::Arc, time::Duration};

use orchestra_flow::{Answer, Effect, ReplyId, SessionId};
use orchestra_model::{FlowId, delivery::Term, record::Op};
use orchestra_proto::v1;
use orchestra_store::{CommitError, Flushed, WriteAhead};
use tokio::{sync::oneshot, time::Instant};

use super::{mailbox::Watching, watchers::Watcher};
use crate::{
    declined::Declined,
    lines::EncodedJob,
    proof::Keys,
    writer::{Write, Writer, Written},
};

/// How long after a disk had no space the batch is tried again.
const FULL_PAUSE: Duration = Duration::from_secs(1);

/// Answers a question, or says why it is not answered.
pub(super) type Telling = Box<dyn FnOnce(Result<(), &str>) + Send>;

/// What is done once the records before it are on disk.
pub(super) enum After {
    /// An effect of the engine that is no order.
    Effect(Effect),
    /// An order with its large part, fetched while its flow was alive.
    Order { session: SessionId, order: v1::Order, job: Arc<EncodedJob> },
    /// An answer to a question, or why there is none.
    Tell(Telling),
    /// A watch begins. It is in this order so that the watcher is told exactly what happens after
    /// the status that it gets.
    Watch {
        flow: FlowId,
        watcher: Watcher,
        watching: Box<Watching>,
        reply: oneshot::Sender<Result<Watching, Declined>>,
    },
}

/// What follows from an answer of the writer.
pub(super) enum Done {
    /// These may be done now.
    Perform(Vec<After>),
    /// The term is raised, or could not be at the moment.
    Raised(Result<(Term, Keys), String>),
    /// The store cannot be written at the moment. Nothing is lost.
    Trouble,
}

/// Why the store cannot be written.
struct Trouble {
    shortly: String,
    whole: String,
}

/// Records on their way to the store, and what waits for them.
pub(super) struct Outgoing {
    writer: Writer,
    waiting: WriteAhead<After>,
    /// When a batch that did not fit is to be tried again.
    retry_at: Option<Instant>,
    /// Why the last attempt failed; `None` while the store can be written.
    trouble: Option<Trouble>,
}

impl Outgoing {
    pub(super) fn new(writer: Writer) -> Self {
        Self { writer, waiting: WriteAhead::default(), retry_at: None, trouble: None }
    }

    /// Adds a record.
    pub(super) fn persist(&mut self, op: Op) {
        self.waiting.persist(op);
    }

    /// Adds what may be done once every record before it is on disk.
    pub(super) fn hold(&mut self, after: After) {
        self.waiting.hold(after);
    }

    /// Asks for a term above `seen`.
    pub(super) fn raise_term(&mut self, seen: Term) {
        self.waiting.raise_term(seen);
    }

    /// Takes back the request for a term, unless the writer was told already. Returns whether there
    /// was one.
    pub(super) fn call_off_raise(&mut self) -> bool {
        self.waiting.call_off_raise()
    }

    /// Returns whether there is room for more reports. Otherwise players wait with theirs.
    pub(super) fn has_room(&self) -> bool {
        self.waiting.has_room()
    }

    /// Returns whether everything about a flow is on disk.
    pub(super) fn is_written(&self, flow: FlowId) -> bool {
        self.waiting.is_written(flow)
    }

    /// Returns whether everything is on disk.
    pub(super) fn is_all_written(&self) -> bool {
        self.waiting.is_all_written()
    }

    /// Returns why the store cannot be written, if so, in a few words for askers.
    pub(super) fn trouble(&self) -> Option<&str> {
        self.trouble.as_ref().map(|trouble| trouble.shortly.as_str())
    }

    /// Returns why the store cannot be written, if so, with every cause, for the operator.
    pub(super) fn whole_trouble(&self) -> Option<&str> {
        self.trouble.as_ref().map(|trouble| trouble.whole.as_str())
    }

    /// Returns when the batch is to be tried again.
    pub(super) fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }

    /// Tries the batch again.
    pub(super) fn retry(&mut self) {
        self.retry_at = None;
        if let Some(ops) = self.waiting.retry() {
            self.writer.send(Write::Commit(ops));
        }
    }

    /// Gives what was gathered to the writer, if it is free. Returns what needs no writing.
    pub(super) fn flush(&mut self) -> Vec<After> {
        match self.waiting.flush() {
            Flushed::Perform(after) => return after,
            Flushed::Commit(ops) => self.writer.send(Write::Commit(ops)),
            Flushed::RaiseTerm(seen) => self.writer.send(Write::RaiseTerm(seen)),
            Flushed::Nothing => {}
        }
        Vec::new()
    }

    /// Whether nothing is being written.
    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_idle()
    }

    /// Waits for the writer's answer. Cancelling it loses nothing.
    pub(super) async fn written(&mut self) -> Written {
        let gone = || CommitError::Broken("the thread that writes it has ended".into());
        self.writer.done.recv().await.unwrap_or_else(|| Written::Failed(gone()))
    }

    /// Takes the writer's answer. Fails if the store has failed.
    pub(super) fn settle(&mut self, written: Written) -> Result<Done, CommitError> {
        match written {
            Written::Committed => {
                if self.trouble.take().is_some() {
                    tracing::info!("the store can be written again");
                }
                Ok(Done::Perform(self.waiting.committed()))
            }
            Written::Full(ops, error) => {
                if self.trouble.is_none() {
                    let whole = orchestra_model::chain(&error);
                    tracing::error!(error = whole, "the store cannot be written; will try again");
                    self.trouble = Some(Trouble { shortly: shortly(&error), whole });
                }
                self.retry_at = Some(Instant::now() + FULL_PAUSE);
                self.waiting.full(ops);
                Ok(Done::Trouble)
            }
            Written::Raised(term, keys) => {
                self.waiting.raised();
                Ok(Done::Raised(Ok((term, keys))))
            }
            Written::NotRaised(error) => {
                self.waiting.raised();
                Ok(Done::Raised(Err(orchestra_model::chain(&*error))))
            }
            Written::Failed(error) => Err(error),
        }
    }

    /// Returns the addresses of answers that are rejections and wait.
    pub(super) fn rejected(&self) -> Vec<ReplyId> {
        let rejected = self.waiting.waiting().filter_map(|after| match after {
            After::Effect(Effect::Answer { reply, answer: Answer::Rejected(_) }) => Some(*reply),
            _ => None,
        });
        rejected.collect()
    }

    /// Takes out the answers to questions that wait, because these get another answer.
    pub(super) fn take_answers(&mut self) -> Vec<After> {
        self.waiting.take_waiting(|after| matches!(after, After::Tell(_) | After::Watch { .. }))
    }

    /// Ends the writer, and returns when the store is closed.
    pub(super) async fn close(self) {
        self.writer.close().await;
    }
}

/// Returns why a store cannot be written, in a few words for askers.
fn shortly(error: &CommitError) -> String {
    match error {
        CommitError::Full(_) => "no space".to_owned(),
        CommitError::Busy(_) => "another program keeps the store locked".to_owned(),
        error => orchestra_model::chain(error),
    }
}
