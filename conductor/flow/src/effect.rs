//! What the engine asks its owner to do, in the imperative: plain data that can be compared.
//!
//! The owner performs effects in order, and none but `Persist` before every `Persist` ahead of it
//! is on disk. That is the whole of promise 1.

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
    /// Write this to the store.
    Persist(Op),
    /// Send a command to a player. The owner drops it if the session has ended: what matters is
    /// brought up again when the player attaches.
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
    /// Tell everybody who watches the flow.
    Publish(Event),
    /// Log that something is so which cannot be: a mistake of ours. Nothing new of the flow starts.
    Inconsistent {
        /// Which flow it concerns.
        flow: FlowId,
        /// What is so.
        what: &'static str,
    },
}

/// What the conductor says to a player.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// The first command of a session: the highest number of an order that the store has issued to
    /// this player. The session adds the proof, as it does to orders and cancels.
    Hello(OrderNumber),
    /// Run an attempt of a job. The session sends the job part first, if the stream has not carried
    /// it yet.
    Order(Order),
    /// Kill the attempt if it runs; if its order has not come yet, refuse that when it comes.
    Cancel {
        key: AttemptKey,
        /// The number of the attempt's order.
        order: OrderNumber,
    },
    /// The attempt's end or refusal is on the conductor's disk, so the player may forget it.
    Acknowledge(AttemptKey),
}

/// Why a session is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// The player attached anew, so this session is an older one.
    Superseded,
    /// The players file no longer names it.
    Removed,
    /// The store was recovered from an old copy: every player attaches anew and tells its state.
    Recovered,
    /// Somebody released the player from quarantine: it attaches anew and tells its state.
    Released,
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Superseded => "the player attached anew",
            Self::Removed => "the players file no longer names this player",
            Self::Recovered => "the store was recovered from an old copy",
            Self::Released => "the player was released from quarantine",
        })
    }
}

impl Command {
    /// The job of an order; `None` for the other commands.
    pub fn ordered_job(&self) -> Option<JobId> {
        match self {
            Command::Order(order) => Some(order.key.job),
            _ => None,
        }
    }
}
