//! The driver's mailboxes: what it is told and asked.

use std::sync::Arc;

use orchestra_flow::{Answer, Input, Overlay, PlayerIx, Rejection, ReplyId, SessionId, Submission};
use orchestra_model::{
    Asker, FlowId, HostName, JobId, Quantity, Timestamp,
    audit::{AuditEntry, AuditMark},
    bundle::{BundleId, RegisteredBundle, Registration},
    delivery::{AttemptKey, KnownEnd, PlayerSnapshot, Report, RequestId, StoreId, Term},
    ledger::{CellStatus, Explanation},
    proof::Mac,
    service::{BrakeScope, FileOutcome, Leases, UnitReport},
    status::{FlowProgress, FlowStatus, PlayerStatus, TaskStatus},
};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};

use super::{audit::Asked, bundles::WantedBundle, services::ServiceQuestion, watchers::Watcher};
use crate::{
    declined::{Declined, Ground},
    fetches::Fetchable,
    fleet::Fleet,
    lines::{Header, Line, Outbox},
};

/// Mailbox lengths: senders wait when the driver is behind.
const SESSIONS_QUEUE: usize = 8_192;
const REQUESTS_QUEUE: usize = 256;

/// What sessions tell the driver, each session's in order.
#[derive(Debug)]
pub(crate) enum FromSession {
    /// A player said who it is and what state it is in.
    Attached(Attach, oneshot::Sender<Attached>),
    /// The reports of one message, in their order.
    Reported {
        player: PlayerIx,
        session: SessionId,
        reports: Vec<Report<KnownEnd>>,
        /// Units that changed.
        units: Vec<UnitReport>,
        /// Their part of the room for reports, which is given back when the driver has taken them.
        room: OwnedSemaphorePermit,
    },
    /// A player asks for leases of its units.
    LeasesAsked { player: PlayerIx, session: SessionId, asked: Leases },
    /// A player fetches a bundle for an attempt. Answered with what is known of the bundle, if that
    /// attempt is in flight there and about it.
    FetchAsked {
        player: PlayerIx,
        attempt: AttemptKey,
        bundle: BundleId,
        reply: oneshot::Sender<Option<Fetchable>>,
    },
    /// An older session that was asked whether it lives has answered.
    Alive { session: SessionId },
    /// The session is over.
    Detached { player: PlayerIx, session: SessionId },
}

impl FromSession {
    /// Returns how much of a turn it takes.
    pub(super) fn length(&self) -> usize {
        match self {
            Self::Reported { reports, units, .. } => reports.len() + units.len(),
            _ => 1,
        }
    }
}

/// A player that wants a session.
#[derive(Debug)]
pub(crate) struct Attach {
    pub(crate) host: HostName,
    pub(crate) session: SessionId,
    pub(crate) snapshot: Box<PlayerSnapshot>,
    pub(crate) version: String,
    pub(crate) outbox: Outbox,
    /// Whether it tells what attempts write while they run.
    pub(crate) tells_attempt_logs: bool,
    /// An older session that was asked whether it lives, and did not answer.
    pub(crate) silent: Option<SessionId>,
}

/// What somebody wants of a player, which not every release does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carries {
    Units,
    /// What attempts write while they run.
    AttemptLogs,
}

/// The answer to an attach.
#[derive(Debug)]
pub(crate) enum Attached {
    /// The session is the player's. Its commands carry this header.
    Welcome(PlayerIx, Header),
    /// The players file does not name it.
    Unknown,
    /// It has another session, which was asked whether it lives.
    Occupied {
        by: SessionId,
        /// Becomes true when that session answers. To be awaited for a bounded time.
        alive: watch::Receiver<bool>,
    },
}

/// What the desk asks of the driver.
pub(crate) enum Request {
    /// A change: an input of the engine, which is made once it is known where its answer goes.
    Change {
        asked: Asked,
        make: Box<dyn FnOnce(ReplyId) -> Input + Send>,
        reply: oneshot::Sender<Reply>,
    },
    /// The flow that an audience submitted with a request id, once it is on disk.
    Submitted {
        audience: Asker,
        request: RequestId,
        /// The macs of what is submitted with it now, under each key; empty if nothing is.
        macs: Vec<Mac>,
        reply: Told<Option<FlowId>>,
    },
    /// Players, groups and deployments: all of them, or none.
    LoadFleet {
        fleet: Arc<Fleet>,
        terms: LoadTerms,
        /// `None` at the start, for which nobody asked.
        asked: Option<Asked>,
        /// Gets what came of files of services, if that is news, with the answer.
        files: oneshot::Sender<Vec<FileOutcome>>,
        reply: oneshot::Sender<Reply>,
    },
    Recover(Asked, oneshot::Sender<Reply>),
    /// A change of a service.
    ChangeService {
        asked: Asked,
        ask: Box<orchestra_service::Ask>,
        reply: Told<Vec<orchestra_service::Taken>>,
    },
    /// The end of a brake of the fleet or of a zone.
    ReleaseBrake(Asked, BrakeScope, Told<()>),
    /// A bundle is to be known.
    RegisterBundle(Asked, Box<WantedBundle>, Told<Registration>),
    /// Every bundle that is known, by name and serial.
    Bundles(Told<Vec<RegisteredBundle>>),
    /// A question about services.
    AboutServices(ServiceQuestion),
    /// Removes ended flows that were kept long enough. Answered when that is on disk.
    Expire {
        flows: Vec<FlowId>,
        reply: Told<()>,
    },
    /// Removes audit lines below this number, because they were kept long enough.
    PruneAudit(u64, Told<()>),
    /// Records what happened. Answered when that is on disk.
    Record(Vec<AuditEntry>, Told<()>),
    /// The newest audit line, once it is on disk.
    AuditHead(Told<AuditMark>),
    /// The status of a flow. `None` if the flow is not alive, and so the store has everything.
    FlowStatus(FlowId, Told<Option<FlowStatus>>),
    /// `None` as for `FlowStatus`.
    Tasks {
        job: JobId,
        from: u32,
        limit: u32,
        reply: Told<Option<Vec<TaskStatus>>>,
    },
    /// `None` as for `FlowStatus`.
    Explain {
        flow: FlowId,
        job: Option<JobId>,
        host: Option<HostName>,
        reply: Told<Option<Vec<Explanation>>>,
    },
    /// For each of these flows, how far it has come; `None` if it is not alive.
    Progress(Vec<FlowId>, Told<Vec<Option<FlowProgress>>>),
    /// What a plan of a submission needs of the engine.
    Overlay(Box<Submission>, Told<Overlay>),
    /// Cells in their order.
    Cells {
        from: usize,
        limit: usize,
        reply: Told<Vec<CellStatus>>,
    },
    /// Answered when everything that was asked before is on disk.
    Settle(Told<()>),
    /// The status of a flow that lives, and its events from then on.
    Watch(FlowId, Watcher, Told<Watching>),
    Players {
        hosts: Vec<HostName>,
        scores: bool,
        reply: Told<Vec<PlayerStatus>>,
    },
    Health(Told<Health>),
    /// The way to the player of a host, if it keeps units.
    Line(HostName, Carries, Told<Line>),
}

/// What a load of a fleet may do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LoadTerms {
    /// What it may take away.
    pub(crate) removal: Removal,
    /// How many of its hosts a service may lose, unless anything may be removed.
    pub(crate) may_leave: Quantity,
    /// Whether files may take over services that an audience applied.
    pub(crate) take_over: bool,
}

/// What a load of a fleet may take away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Removal {
    /// So many players, and no limit that is in force.
    AtMost(u32),
    /// Everything that the files no longer have, because an operator allowed it.
    Any,
}

/// Where an answer goes, or why there is none.
pub(crate) type Told<T> = oneshot::Sender<Result<T, Declined>>;

/// The engine's answer, or why it was not asked.
pub(crate) type Reply = Result<Answer, Declined>;

/// Reads the engine's answer to a question as the type that belongs to the question.
pub(crate) fn read_answer<T: orchestra_flow::Reply>(
    answer: Answer,
) -> Result<Result<T, Rejection>, Declined> {
    let other = || Declined::new(Ground::Internal, "the engine has answered another question");
    T::read(answer).ok_or_else(other)
}

/// A flow at the moment from which a watcher is told its events.
#[derive(Clone, Debug)]
pub(crate) struct Watching {
    pub(crate) store: StoreId,
    pub(crate) term: Term,
    /// The term that began with the last recovery from an old copy.
    pub(crate) recovered: Term,
    /// The flow's status and its last change; `None` if the flow is not alive, and so the store has
    /// everything.
    pub(crate) living: Option<(Box<FlowStatus>, u64)>,
}

/// What the driver knows of the conductor's state.
#[derive(Clone, Debug)]
pub(crate) struct Health {
    pub(crate) term: Term,
    pub(crate) players: u32,
    pub(crate) attached: u32,
    pub(crate) quarantined: u32,
    pub(crate) flows_alive: u32,
    pub(crate) deployments: u32,
    pub(crate) cells: u32,
    pub(crate) stale_store: Option<String>,
    pub(crate) store_error: Option<String>,
    /// Since when the store cannot be written.
    pub(crate) store_held_since: Option<Timestamp>,
    pub(crate) recovery: RecoveryPlan,
}

/// What a recovery would do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RecoveryPlan {
    /// The least term that would begin.
    pub(crate) term: Term,
    pub(crate) next_flow: FlowId,
}

/// The driver's mailboxes.
#[derive(Clone, Debug)]
pub(crate) struct Handle {
    pub(crate) sessions: mpsc::Sender<FromSession>,
    pub(crate) requests: mpsc::Sender<Request>,
}

impl Handle {
    /// Returns why the store cannot be written, if so.
    pub(crate) async fn trouble(&self) -> Option<String> {
        let (reply, health) = oneshot::channel();
        self.requests.send(Request::Health(reply)).await.ok()?;
        health.await.ok()?.ok()?.store_error
    }
}

/// The receiving ends of the mailboxes.
#[derive(Debug)]
pub(crate) struct Mailboxes {
    pub(super) sessions: mpsc::Receiver<FromSession>,
    pub(super) requests: mpsc::Receiver<Request>,
    /// Sent to, or dropped, when the driver is to take what is there and end.
    pub(super) finish: oneshot::Receiver<()>,
}

/// Makes the mailboxes. The last of the three tells the driver when to end.
pub(crate) fn mailboxes() -> (Handle, Mailboxes, oneshot::Sender<()>) {
    let (to_sessions, sessions) = mpsc::channel(SESSIONS_QUEUE);
    let (to_requests, requests) = mpsc::channel(REQUESTS_QUEUE);
    let (stop, finish) = oneshot::channel();
    let handle = Handle { sessions: to_sessions, requests: to_requests };
    (handle, Mailboxes { sessions, requests, finish }, stop)
}
