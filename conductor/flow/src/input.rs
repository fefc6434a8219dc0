//! What the engine is told, in the past tense.

use std::{collections::BTreeMap, sync::Arc};

use orchestra_model::{
    AudienceName, Deployments, FlowId, HostSet, JobId, Params,
    delivery::{KnownEnd, PlayerSnapshot, Report, RequestId, Term},
    flow::FlowSpec,
    proof::Mac,
    service::UnwellUnit,
    thresholds::Excess,
};

use crate::{
    answer::{self, ReplyTo},
    ids::{PlayerIx, SessionId},
};

/// One thing that happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// Somebody submitted a flow.
    FlowSubmitted { reply: ReplyTo<answer::Submitted>, submission: Box<Submission> },
    /// Somebody asked for the end of a flow.
    CancelRequested {
        reply: ReplyTo<answer::Cancelled>,
        flow: FlowId,
        by: AudienceName,
        /// Whether tasks whose players are away become `lost` now.
        abandon: bool,
    },
    /// Somebody paused a flow: nothing new of it starts.
    PauseRequested { reply: ReplyTo<answer::Changed>, flow: FlowId, by: AudienceName },
    /// Somebody let a paused flow go on.
    ResumeRequested { reply: ReplyTo<answer::Changed>, flow: FlowId },
    /// Somebody decided that a job's other tasks wait for its canary no more.
    PromoteRequested {
        reply: ReplyTo<answer::Changed>,
        flow: FlowId,
        /// Which job; `None`: each that has a canary which still holds others back.
        job: Option<JobId>,
        by: AudienceName,
    },
    /// Somebody wants further attempts of a living flow's tasks that ended and are not ok.
    RetryRequested {
        reply: ReplyTo<answer::Retried>,
        flow: FlowId,
        /// Which job; `None`: all that have not ended.
        job: Option<JobId>,
        /// On which hosts; `None`: on all.
        hosts: Option<HostSet>,
    },
    /// Somebody drained players: nothing new starts there.
    DrainRequested {
        reply: ReplyTo<answer::Drained>,
        hosts: HostSet,
        by: AudienceName,
        reason: Arc<str>,
    },
    /// Somebody let drained players work again.
    UndrainRequested { reply: ReplyTo<answer::Drained>, hosts: HostSet },
    /// Somebody said that hosts which count as down do so no more: neither for an attempt that left
    /// them so, nor for units that gave up, until something else is told of these.
    ReleaseRequested {
        reply: ReplyTo<answer::Released>,
        /// Which; those that are not down stay as they are.
        hosts: HostSet,
    },
    /// Somebody said to go on with players that are quarantined.
    UnquarantineRequested {
        reply: ReplyTo<answer::Unquarantined>,
        /// Which; those that are not quarantined stay as they are.
        hosts: HostSet,
    },
    /// Deployments were read.
    DeploymentsLoaded {
        reply: ReplyTo<answer::DeploymentsLoaded>,
        /// All that hold from now on.
        deployments: Arc<Deployments>,
    },
    /// A player has a session and told its whole state. Ends the session that it had before.
    PlayerAttached {
        player: PlayerIx,
        /// The new session.
        session: SessionId,
        /// Its state. Every proof in it was checked: false ones are taken out.
        snapshot: Box<PlayerSnapshot>,
    },
    /// A session ended. Ignored unless it is the player's present one.
    PlayerDetached {
        player: PlayerIx,
        /// The session that ended.
        session: SessionId,
    },
    /// A player reported about an order.
    Reported {
        player: PlayerIx,
        /// Through which session.
        session: SessionId,
        /// What. Evidence in it was checked.
        report: Box<Report<KnownEnd>>,
    },
    /// What is known of a player's units has changed, or is told anew.
    ///
    /// It is not stored. After [`Engine::resume`](crate::Engine::resume) it has to be told of each
    /// player that has units, before any player attaches: until then nothing holds for them.
    UnitsTold {
        /// Whose, also of one that the players file names no more.
        player: PlayerIx,
        /// All of its units that count as down.
        unwell: Vec<UnwellUnit>,
    },
    /// The players file was read.
    RosterLoaded {
        reply: ReplyTo<answer::Loaded>,
        /// All of its hosts.
        hosts: HostSet,
        /// How many it may take away; more and nothing changes.
        most_removed: u32,
    },
    /// An operator said that this store is an old copy to go on from, and the store's term was
    /// raised.
    StoreRecovered {
        reply: ReplyTo<answer::Recovered>,
        /// The raised term.
        term: Term,
    },
    /// An ended flow was kept long enough. Ignored while the flow is alive.
    FlowExpired { flow: FlowId },
}

/// A flow to store.
#[derive(Clone, Debug)]
pub struct Submission {
    /// Made by the client: the same again is the same flow.
    pub request: RequestId,
    /// Who submits.
    pub audience: AudienceName,
    pub spec: FlowSpec,
    /// The spec as it came.
    pub spec_bytes: Arc<[u8]>,
    /// The host set of each job, resolved: slot by slot, job by job.
    pub targets: Vec<Vec<HostSet>>,
    /// The parameters of jobs that have any, by slot and job from 1.
    pub params: BTreeMap<(u16, u16), Params>,
    /// The ended flow whose unfinished tasks these are: its holds become this flow's.
    pub retry_of: Option<FlowId>,
    /// Over what was submitted, kept with the flow.
    pub mac: Option<Mac>,
    /// What becomes of limits that count more hosts than their job has.
    pub excess: Excess,
}
