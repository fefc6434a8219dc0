//! What the engine is told, in the past tense.

use std::{collections::BTreeMap, sync::Arc};

use orchestra_model::{
    AudienceName, FlowId, HostSet, Params,
    delivery::{PlayerSnapshot, Report, RequestId, Term},
    flow::FlowSpec,
};

use crate::roster::PlayerIx;

/// Addresses an answer; made by whoever asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplyId(pub u64);

/// One connection of a player; never used twice while the conductor runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// One thing that happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// Somebody submitted a flow.
    FlowSubmitted(Box<Submission>),
    /// Somebody asked for the end of a flow.
    CancelRequested {
        /// Whom to answer.
        reply: ReplyId,
        /// Which flow.
        flow: FlowId,
        /// Who asks.
        by: AudienceName,
    },
    /// A player has a session and told its whole state. Ends the session that it had before.
    PlayerAttached {
        /// Who.
        player: PlayerIx,
        /// The new session.
        session: SessionId,
        /// Its state.
        snapshot: Box<PlayerSnapshot>,
    },
    /// A session ended. Ignored unless it is the player's present one.
    PlayerDetached {
        /// Who.
        player: PlayerIx,
        /// The session that ended.
        session: SessionId,
    },
    /// A player reported about an order.
    Reported {
        /// Who.
        player: PlayerIx,
        /// Through which session.
        session: SessionId,
        /// What.
        report: Box<Report>,
        /// The bytes of the end, as they came, where the report is one.
        end: Option<Arc<[u8]>>,
    },
    /// The players file was read.
    RosterLoaded {
        /// Whom to answer.
        reply: ReplyId,
        /// All of its hosts.
        hosts: HostSet,
        /// How many it may take away; more and nothing changes.
        most_removed: u32,
    },
    /// An operator said that this store is an old copy to go on from, and the store's term was
    /// raised.
    StoreRecovered {
        /// Whom to answer.
        reply: ReplyId,
        /// The raised term.
        term: Term,
    },
    /// An ended flow was kept long enough. Ignored while the flow is alive.
    FlowExpired {
        /// Which flow.
        flow: FlowId,
    },
}

/// A flow to store.
#[derive(Clone, Debug)]
pub struct Submission {
    /// Whom to answer.
    pub reply: ReplyId,
    /// Made by the client: the same again is the same flow.
    pub request: RequestId,
    /// Who submits.
    pub audience: AudienceName,
    /// What.
    pub spec: FlowSpec,
    /// The spec as it came.
    pub spec_bytes: Arc<[u8]>,
    /// The host set of each job, resolved: slot by slot, job by job.
    pub targets: Vec<Vec<HostSet>>,
    /// The parameters of jobs that have any, by slot and job from 1.
    pub params: BTreeMap<(u16, u16), Params>,
}
