//! What the engine wants done, in the imperative. Plain, comparable data.
//!
//! Effects are performed in order, and none but `Persist` before every `Persist` ahead of it is
//! on disk: that is the whole of promise 1.

use std::fmt;

use orchestra_model::{
    FlowId, JobId,
    delivery::{AttemptKey, Order, OrderNumber},
    record::Op,
    status::Event,
};

use crate::{
    answer::Answer,
    ids::{PlayerIx, ReplyId, SessionId},
};

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Write it.
    Persist(Op),
    /// Tell a player. Dropped if the session is no more: the next attach brings it up again.
    Send {
        player: PlayerIx,
        /// Through which session.
        session: SessionId,
        command: Command,
    },
    /// End a session.
    Close {
        player: PlayerIx,
        session: SessionId,
        /// Why, for the log and the peer.
        reason: CloseReason,
    },
    /// Answer somebody.
    Answer { reply: ReplyId, answer: Answer },
    /// Tell whoever watches.
    Publish(Event),
    /// Tell whoever looks after the conductor that something is so which cannot be: our mistake.
    /// Nothing new of the flow starts.
    Inconsistent {
        /// Which flow it concerns.
        flow: FlowId,
        /// What is so.
        what: &'static str,
    },
}

/// What is said to a player.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// The first command of a session: the store has issued orders to this player up to this
    /// number. Whoever sends it adds the proof, as with orders and cancels.
    Hello(OrderNumber),
    /// Run an attempt of this job, whose large part the session sends first if it has not yet.
    Order(Order),
    /// Kill it if it runs; refuse its order if that has not come.
    Cancel {
        key: AttemptKey,
        /// Its order.
        order: OrderNumber,
    },
    /// Its end or refusal is on disk.
    Acknowledge(AttemptKey),
}

/// Why a session is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// The same player attached anew.
    Superseded,
    /// The players file no longer names it.
    Removed,
    /// The store was recovered from an old copy: every player tells its state anew.
    Recovered,
    /// Somebody released the player from quarantine: it tells its state anew.
    Unquarantined,
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Superseded => "the player attached anew",
            Self::Removed => "the players file no longer names this player",
            Self::Recovered => "the store was recovered from an old copy",
            Self::Unquarantined => "the player was released from quarantine",
        })
    }
}

/// The job that an order is of, for whoever fetches its large part.
impl Command {
    /// The job of an order; `None` for the others.
    pub fn ordered_job(&self) -> Option<JobId> {
        match self {
            Command::Order(order) => Some(order.key.job),
            _ => None,
        }
    }
}
