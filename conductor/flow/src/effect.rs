//! What the engine wants done, in the imperative. Plain, comparable data.
//!
//! Effects are performed in order, and none but `Persist` before every `Persist` ahead of it is
//! on disk: that is the whole of promise 1.

use std::fmt;

use orchestra_model::{
    FlowId, FlowState, HostSet, JobId, JobName,
    delivery::{AttemptKey, Order, OrderNumber},
    flow::InvalidFlow,
    record::Op,
    status::Event,
};

use crate::{
    input::{ReplyId, SessionId},
    roster::PlayerIx,
};

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Write it.
    Persist(Op),
    /// Tell a player. Dropped if the session is no more: the next attach brings it up again.
    Send {
        /// Whom.
        player: PlayerIx,
        /// Through which session.
        session: SessionId,
        /// What.
        command: Command,
    },
    /// End a session.
    Close {
        /// Whose.
        player: PlayerIx,
        /// Which.
        session: SessionId,
        /// Why, for the log and the peer.
        reason: CloseReason,
    },
    /// Answer somebody.
    Answer {
        /// Whom.
        reply: ReplyId,
        /// What.
        answer: Answer,
    },
    /// Tell whoever watches.
    Publish(Event),
}

/// What is said to a player.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Run an attempt of this job, whose large part the session sends first if it has not yet.
    Order(Order),
    /// Kill it if it runs; refuse its order if that has not come.
    Cancel {
        /// The attempt.
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
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Superseded => "the player attached anew",
            Self::Removed => "the players file no longer names this player",
            Self::Recovered => "the store was recovered from an old copy",
        })
    }
}

/// What somebody who asked is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The flow is stored.
    Submitted {
        /// Its number.
        flow: FlowId,
        /// The request was known: this is the flow of the first time.
        repeated: bool,
    },
    /// The cancel is stored, this one or an earlier one.
    Cancelled {
        /// Which flow.
        flow: FlowId,
        /// Where it is now.
        state: FlowState,
    },
    /// The roster is in force.
    Loaded {
        /// Players now.
        players: u32,
        /// New ones.
        added: u32,
        /// Those that went.
        removed: u32,
    },
    /// Orders are sent again.
    Recovered {
        /// The next flow's number.
        next_flow: FlowId,
    },
    /// Nothing was changed.
    Rejected(Rejection),
}

/// Why something asked for was not done. Nothing of it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// The flow contradicts itself.
    Invalid(InvalidFlow),
    /// A job's host set is empty.
    NoHosts(JobName),
    /// A job names hosts that the players file does not.
    UnknownHosts(JobName, HostSet),
    /// All jobs together have more tasks than the bound.
    TooManyTasks {
        /// How many they have.
        tasks: u64,
        /// How many they may have.
        most: u64,
    },
    /// No flow of that number is alive. Whether it ever was, the store knows.
    UnknownFlow(FlowId),
    /// The new players file lacks too many of the present players.
    TooManyRemoved {
        /// How many would go.
        removed: u32,
        /// Of how many.
        players: u32,
        /// How many may go at once.
        most: u32,
    },
    /// Flow numbers are used up.
    NoMoreFlows,
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Invalid(cause) => cause.fmt(f),
            Self::NoHosts(job) => write!(f, "job {job}: its host set is empty"),
            Self::UnknownHosts(job, hosts) => write!(
                f,
                "job {job}: {} unknown {}, not in the players file: {hosts}",
                hosts.len(),
                if hosts.len() == 1 { "host" } else { "hosts" },
            ),
            Self::TooManyTasks { tasks, most } => {
                write!(f, "the flow has {tasks} tasks; at most {most} are allowed")
            }
            Self::UnknownFlow(flow) => write!(f, "no flow {flow} is alive"),
            Self::TooManyRemoved { removed, players, most } => write!(
                f,
                "the players file lacks {removed} of {players} players; one reload may remove {most}"
            ),
            Self::NoMoreFlows => f.write_str("flow numbers are used up"),
        }
    }
}

impl std::error::Error for Rejection {}

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
