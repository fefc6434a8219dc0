//! What the driver is told and asked, and where.

use std::sync::Arc;

use orchestra_flow::{Answer, Input, Overlay, PlayerIx, Rejection, ReplyId, SessionId, Submission};
use orchestra_model::{
    Asker, FlowId, HostName, JobId, Quantity, Timestamp,
    delivery::{KnownEnd, PlayerSnapshot, Report, RequestId, StoreId, Term},
    ledger::{CellStatus, Explanation},
    proof::Mac,
    service::{FileOutcome, UnitReport},
    status::{Event, FlowStatus, PlayerStatus, TaskStatus},
};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};

use super::{audit::Asked, services::ServiceQuestion};
use crate::{
    declined::{Declined, Ground},
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
    /// Reports about orders, of one message, in their order.
    Reported {
        player: PlayerIx,
        session: SessionId,
        reports: Vec<Report<KnownEnd>>,
        /// Units that changed.
        units: Vec<UnitReport>,
        /// What they take of the room for reports; given back when they are taken in.
        room: OwnedSemaphorePermit,
    },
    /// The older session that was asked whether it lives does.
    Alive { session: SessionId },
    /// The session is over.
    Detached { player: PlayerIx, session: SessionId },
}

impl FromSession {
    /// How much of a turn it takes.
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
    /// An older session that was asked whether it lives, and did not answer.
    pub(crate) silent: Option<SessionId>,
}

/// How an attach went.
#[derive(Debug)]
pub(crate) enum Attached {
    /// The session is the player's; its commands carry this.
    Welcome(PlayerIx, Header),
    /// The players file does not name it.
    Unknown,
    /// It has another session, which was asked whether it lives.
    Occupied {
        by: SessionId,
        /// Becomes true when it answers. Whoever waits for it, waits no longer than a while.
        alive: watch::Receiver<bool>,
    },
}

/// What the desk asks.
pub(crate) enum Request {
    /// Something to change: an input of the engine, made once it is known where its answer goes.
    Change {
        asked: Asked,
        make: Box<dyn FnOnce(ReplyId) -> Input + Send>,
        reply: oneshot::Sender<Reply>,
    },
    /// The flow that an audience submitted with a request id, once it is on disk.
    Submitted {
        audience: Asker,
        request: RequestId,
        /// The codes over what is submitted with it now, under any key; empty where nothing is.
        macs: Vec<Mac>,
        reply: Told<Option<FlowId>>,
    },
    /// Players, groups and deployments: all of them, or none.
    LoadFleet {
        fleet: Arc<Fleet>,
        terms: LoadTerms,
        /// `None`: it is the start, which nobody asked for in particular.
        asked: Option<Asked>,
        /// What came of files of services, where that is news; told with the answer.
        files: oneshot::Sender<Vec<FileOutcome>>,
        reply: oneshot::Sender<Reply>,
    },
    Recover(Asked, oneshot::Sender<Reply>),
    /// Something to change about a service.
    ChangeService {
        asked: Asked,
        ask: Box<orchestra_service::Ask>,
        reply: Told<orchestra_service::Taken>,
    },
    /// Something about services.
    AboutServices(ServiceQuestion),
    /// Ended flows that were kept long enough. Answered when nothing is left of them.
    Expire {
        flows: Vec<FlowId>,
        reply: Told<()>,
    },
    /// Removes audit lines below this number, which were kept long enough.
    PruneAudit(u64, Told<()>),
    /// `None` where the flow is not alive, and the store has everything.
    FlowStatus(FlowId, Told<Option<FlowStatus>>),
    /// `None` as with `FlowStatus`.
    Tasks {
        job: JobId,
        from: u32,
        limit: u32,
        reply: Told<Option<Vec<TaskStatus>>>,
    },
    /// `None` as with `FlowStatus`.
    Explain {
        flow: FlowId,
        job: Option<JobId>,
        host: Option<HostName>,
        reply: Told<Option<Vec<Explanation>>>,
    },
    /// How many tasks of each of these flows were sent to players that are not attached.
    AbsentIn(Vec<FlowId>, Told<Vec<u32>>),
    /// What a plan of a submission needs of the engine.
    Overlay(Box<Submission>, Told<Overlay>),
    /// Cells in their order.
    Cells {
        from: usize,
        limit: usize,
        reply: Told<Vec<CellStatus>>,
    },
    /// Answered when everything is on disk that was asked for before.
    Settle(Told<()>),
    /// The status of a flow that lives, and its events from then on.
    Watch(FlowId, mpsc::Sender<Event>, Told<Watching>),
    Players {
        hosts: Vec<HostName>,
        scores: bool,
        reply: Told<Vec<PlayerStatus>>,
    },
    Health(Told<Health>),
    /// The way to the player of a host, which keeps units.
    Line(HostName, Told<Line>),
}

/// What a load of a fleet may do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LoadTerms {
    /// What it may take away.
    pub(crate) removal: Removal,
    /// How many of its hosts a service may leave, unless anything may be removed.
    pub(crate) may_leave: Quantity,
    /// Files may take over services that an audience applied.
    pub(crate) take_over: bool,
}

/// What a load of a fleet may take away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Removal {
    /// So many players, and no limit that is in force.
    AtMost(u32),
    /// Whatever the files no longer have: somebody said so.
    Any,
}

/// Where an answer goes; or why there is none.
pub(crate) type Told<T> = oneshot::Sender<Result<T, Declined>>;

/// The engine's answer, or why it was not asked.
pub(crate) type Reply = Result<Answer, Declined>;

/// What the engine's answer to a question says: the question is known by what it is answered with.
pub(crate) fn read_answer<T: orchestra_flow::Reply>(
    answer: Answer,
) -> Result<Result<T, Rejection>, Declined> {
    let other = || Declined::new(Ground::Internal, "the engine has answered another question");
    T::read(answer).ok_or_else(other)
}

/// Where a flow is at the moment from which somebody is told of its events.
#[derive(Clone, Debug)]
pub(crate) struct Watching {
    pub(crate) store: StoreId,
    pub(crate) term: Term,
    /// The term that began with the last recovery from an old copy.
    pub(crate) recovered: Term,
    /// The flow's status and its last change; `None` where it is not alive, and the store has
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
    /// Since when.
    pub(crate) store_held_since: Option<Timestamp>,
    pub(crate) recovery: RecoveryPlan,
}

/// What a recovery would come to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RecoveryPlan {
    /// The term, at least.
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
    /// Why the store cannot be written, if so.
    pub(crate) async fn trouble(&self) -> Option<String> {
        let (reply, health) = oneshot::channel();
        self.requests.send(Request::Health(reply)).await.ok()?;
        health.await.ok()?.ok()?.store_error
    }
}

/// The receiving ends, and when to stop.
#[derive(Debug)]
pub(crate) struct Mailboxes {
    pub(super) sessions: mpsc::Receiver<FromSession>,
    pub(super) requests: mpsc::Receiver<Request>,
    /// Sent to, or dropped, when the driver is to take in what is there and to end.
    pub(super) finish: oneshot::Receiver<()>,
}

/// Makes the mailboxes. Whoever has the last of the three tells the driver when to end.
pub(crate) fn mailboxes() -> (Handle, Mailboxes, oneshot::Sender<()>) {
    let (to_sessions, sessions) = mpsc::channel(SESSIONS_QUEUE);
    let (to_requests, requests) = mpsc::channel(REQUESTS_QUEUE);
    let (stop, finish) = oneshot::channel();
    let handle = Handle { sessions: to_sessions, requests: to_requests };
    (handle, Mailboxes { sessions, requests, finish }, stop)
}
