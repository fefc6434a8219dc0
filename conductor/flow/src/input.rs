//! What the engine is told, in the past tense.

use std::{collections::BTreeMap, sync::Arc};

use orchestra_model::{
    Asker, Deployments, FlowId, HostSet, JobId, Params,
    delivery::{KnownEnd, PlayerSnapshot, Report, RequestId, Term},
    flow::FlowSpec,
    proof::Mac,
    service::UnwellUnit,
    thresholds::Excess,
    tree::TreeShape,
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
        by: Asker,
        /// Why, for people.
        reason: Option<Arc<str>>,
        /// Whether tasks in flight on players that are away become `lost` now, instead of at their
        /// deadline.
        abandon: bool,
    },
    /// Somebody paused a flow: nothing new of it starts.
    PauseRequested { reply: ReplyTo<answer::Changed>, flow: FlowId, by: Asker },
    /// Somebody let a paused flow go on.
    ResumeRequested { reply: ReplyTo<answer::Changed>, flow: FlowId },
    /// Somebody decided that the rest of a job shall not wait for its canary any longer.
    PromoteRequested {
        reply: ReplyTo<answer::Changed>,
        flow: FlowId,
        /// `None` means each job whose canary still holds others back.
        job: Option<JobId>,
        by: Asker,
    },
    /// Somebody wants further attempts of a living flow's tasks that ended and are not ok.
    RetryRequested {
        reply: ReplyTo<answer::Retried>,
        flow: FlowId,
        /// `None` means each job that has not ended.
        job: Option<JobId>,
        /// `None` means all hosts.
        hosts: Option<HostSet>,
    },
    /// Somebody drained players: nothing new starts there.
    DrainRequested { reply: ReplyTo<answer::Drained>, hosts: HostSet, by: Asker, reason: Arc<str> },
    /// Somebody let drained players work again.
    UndrainRequested { reply: ReplyTo<answer::Drained>, hosts: HostSet },
    /// Somebody said that hosts no longer count as down: neither for an attempt that left them
    /// down, nor for units that gave up. It holds until something else is told of such a host or
    /// unit.
    ReleaseRequested {
        reply: ReplyTo<answer::ReleasedHolds>,
        /// Hosts among these that are not down stay as they are.
        hosts: HostSet,
    },
    /// Somebody said to go on with players that are quarantined.
    ReleasePlayersRequested {
        reply: ReplyTo<answer::ReleasedPlayers>,
        /// Players among these that are not quarantined stay as they are.
        hosts: HostSet,
    },
    /// Deployments were read.
    DeploymentsLoaded {
        reply: ReplyTo<answer::DeploymentsLoaded>,
        /// All deployments that are in force from now on.
        deployments: Arc<Deployments>,
    },
    /// A player has opened a session and told its whole state. The session that it had before, if
    /// any, ends.
    PlayerAttached {
        player: PlayerIx,
        /// The new session.
        session: SessionId,
        /// The caller has checked every proof in it and taken out those that are false.
        snapshot: Box<PlayerSnapshot>,
    },
    /// A session ended. Ignored unless it is the one that the player has now.
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
        /// The caller has checked the evidence in it.
        report: Box<Report<KnownEnd>>,
    },
    /// What is known of a player's units has changed, or is told again.
    ///
    /// It is not stored. After [`Engine::resume`](crate::Engine::resume) the caller tells it of
    /// each player that has units, before any player attaches: until then no host holds its cells
    /// for units.
    UnitsTold {
        /// Also of a player that the players file no longer names.
        player: PlayerIx,
        /// All units of the player that count as down.
        unwell: Vec<UnwellUnit>,
    },
    /// The players file was read.
    RosterLoaded {
        reply: ReplyTo<answer::Loaded>,
        /// All of its hosts.
        hosts: HostSet,
        /// Most players that the new file may take away; if it lacks more, nothing changes.
        most_removed: u32,
    },
    /// An operator said to go on from this store although it is an old copy. The store's term has
    /// been raised already.
    StoreRecovered {
        reply: ReplyTo<answer::Recovered>,
        /// The raised term.
        term: Term,
    },
    /// An ended flow was kept for as long as the configuration says. Ignored while the flow is
    /// alive.
    FlowExpired { flow: FlowId },
}

/// A flow to store.
#[derive(Clone, Debug)]
pub struct Submission {
    /// Made by the client. A second submission with the same id is answered with the flow of the
    /// first.
    pub request: RequestId,
    /// Who submits, or in whose name the conductor does.
    pub audience: Asker,
    /// The conductor submits it by itself, in that name.
    pub by_keeper: bool,
    pub spec: FlowSpec,
    /// The bytes of the spec, as they came.
    pub spec_bytes: Arc<[u8]>,
    /// The resolved host sets of each slot's jobs: a list a slot, a host set a job.
    pub targets: Vec<Vec<HostSet>>,
    /// The resolved hosts of the tree of each job that has one, by slot and job, both counted from 1.
    pub trees: BTreeMap<(u16, u16), TreeShape>,
    /// The parameters of each job that has any, by slot and job, both counted from 1.
    pub params: BTreeMap<(u16, u16), Params>,
    /// Those of them that may be kept after the flow's end, likewise.
    pub kept_params: BTreeMap<(u16, u16), Params>,
    /// The ended flow whose unfinished tasks this submission repeats. Hosts that this flow left
    /// down count as left down by the new one.
    pub retry_of: Option<FlowId>,
    /// The code over what was submitted, kept with the flow; it tells whether a later submission
    /// with this id is the same one.
    pub mac: Option<Mac>,
    /// What to do about a limit that counts more hosts than its job has: refuse the submission or
    /// cap the limit.
    pub excess: Excess,
}
