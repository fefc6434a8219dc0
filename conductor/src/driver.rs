//! The one task that owns the engine.
//!
//! It takes everything that is ready, reports before new work, turns it into inputs, and gathers
//! what the engine answers into a batch: records for the writer, and what may be done once they
//! are on disk. One batch is being written while the next gathers, so that a slow disk makes
//! batches larger, not queues longer. Questions are answered through the same gate: nobody is
//! told of what a crash could still undo.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use orchestra_flow::{
    Answer, Command, Effect, Engine, Input, PlayerIx, Rejection, ReplyId, SessionId, Submission,
};
use orchestra_model::{
    AudienceName, FlowId, HostName, JobId, Timestamp,
    delivery::{PlayerSnapshot, Report, Term},
    record::Op,
    score::ScoreOffer,
    status::{Event, FlowStatus, PlayerStatus, TaskStatus},
};
use orchestra_proto::{order_to_wire, v1};
use orchestra_store::CommitError;
use prost::Message;
use sha2::{Digest, Sha256};
use tokio::sync::{mpsc, oneshot, watch};
use tonic::Status;

use crate::{
    fleet::Fleet,
    outbox::{EncodedJob, Outbox},
    writer::{Write, Writer, Written},
};

/// What sessions tell the driver, each session's in order.
#[derive(Debug)]
pub(crate) enum FromSession {
    /// A player said who it is and what state it is in.
    Attached(Attach, oneshot::Sender<Attached>),
    /// A report about an order.
    Reported { player: PlayerIx, session: SessionId, report: Box<Report>, end: Option<Arc<[u8]>> },
    /// The older session that was asked whether it lives does.
    Alive { session: SessionId },
    /// The session is over.
    Detached { player: PlayerIx, session: SessionId },
}

/// A player that wants a session.
#[derive(Debug)]
pub(crate) struct Attach {
    pub(crate) host: HostName,
    pub(crate) session: SessionId,
    pub(crate) snapshot: Box<PlayerSnapshot>,
    pub(crate) version: String,
    pub(crate) outbox: Outbox,
    /// Its older session was asked whether it lives, and did not answer.
    pub(crate) supersede: bool,
}

/// How an attach went.
#[derive(Debug)]
pub(crate) enum Attached {
    /// The session is the player's.
    Welcome(PlayerIx),
    /// The players file does not name it.
    Unknown,
    /// It has a session, which was asked whether it lives. Whoever is first: the answer, or
    /// whoever waits for it.
    Occupied(watch::Receiver<bool>),
}

/// What the audience's service asks.
pub(crate) enum Request {
    Submit(Box<Submission>, oneshot::Sender<Reply>),
    Cancel {
        flow: FlowId,
        by: AudienceName,
        reply: oneshot::Sender<Reply>,
    },
    LoadRoster {
        fleet: Arc<Fleet>,
        most_removed: u32,
        reply: oneshot::Sender<Reply>,
    },
    Recover(oneshot::Sender<Reply>),
    FlowStatus(FlowId, oneshot::Sender<Option<FlowStatus>>),
    Tasks {
        job: JobId,
        from: u32,
        limit: u32,
        reply: oneshot::Sender<Option<Vec<TaskStatus>>>,
    },
    /// The status of a living flow, and its events from then on.
    Watch(FlowId, mpsc::Sender<Event>, oneshot::Sender<Option<FlowStatus>>),
    Players {
        hosts: Vec<HostName>,
        scores: bool,
        reply: oneshot::Sender<Vec<PlayerStatus>>,
    },
    Health(oneshot::Sender<Health>),
}

/// The engine's answer, or why it was not asked.
pub(crate) type Reply = Result<Answer, Status>;

/// What the driver knows of the conductor's state.
#[derive(Clone, Debug)]
pub(crate) struct Health {
    pub(crate) term: Term,
    pub(crate) players: u32,
    pub(crate) attached: u32,
    pub(crate) flows_alive: u32,
    pub(crate) stale_store: Option<String>,
    pub(crate) store_error: Option<String>,
}

/// The driver's mailboxes.
#[derive(Clone, Debug)]
pub(crate) struct Handle {
    pub(crate) sessions: mpsc::Sender<FromSession>,
    pub(crate) requests: mpsc::Sender<Request>,
}

/// What waits for a commit.
enum After {
    Effect(Effect),
    /// An order with its large part, fetched while its flow was alive.
    Order {
        session: SessionId,
        order: v1::Order,
        job: Arc<EncodedJob>,
    },
    /// An answer to a question.
    Reply(Box<dyn FnOnce() + Send>),
}

/// What is gathered while the writer is busy.
#[derive(Default)]
struct Batch {
    ops: Vec<Op>,
    after: Vec<After>,
}

/// What the driver remembers of a player beside the engine.
#[derive(Clone, Debug, Default)]
struct Seen {
    version: String,
    attached_at: Option<Timestamp>,
    scores: Arc<[ScoreOffer]>,
}

/// A live session.
struct Session {
    outbox: Outbox,
    /// Set once somebody asked whether it lives; told the answer.
    probed: Option<watch::Sender<bool>>,
}

/// Mailbox lengths: senders wait when the driver is behind.
const SESSIONS_QUEUE: usize = 8_192;
const REQUESTS_QUEUE: usize = 1_024;
/// Most inputs that go into one batch before its effects are gathered.
const TURN: usize = 2_048;
/// Most questions and new work that are taken in one turn.
const REQUESTS_TURN: usize = 64;
/// How long a full disk is given before the batch is tried again.
const FULL_PAUSE: Duration = Duration::from_secs(1);

/// Makes the mailboxes.
pub(crate) fn mailboxes() -> (Handle, mpsc::Receiver<FromSession>, mpsc::Receiver<Request>) {
    let (sessions, from_sessions) = mpsc::channel(SESSIONS_QUEUE);
    let (requests, from_requests) = mpsc::channel(REQUESTS_QUEUE);
    (Handle { sessions, requests }, from_sessions, from_requests)
}

/// A clock that follows wall time at the start and never runs back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    origin: Instant,
    at_origin: Timestamp,
}

impl Clock {
    /// A clock that begins at the present wall time.
    pub(crate) fn start() -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let at_origin = Timestamp(u64::try_from(wall.as_millis()).unwrap_or(u64::MAX));
        Self { origin: Instant::now(), at_origin }
    }

    /// The moment now.
    pub(crate) fn now(self) -> Timestamp {
        let since = u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX);
        Timestamp(self.at_origin.0.saturating_add(since))
    }

    /// When a moment comes, as the runtime tells time.
    fn instant(self, at: Timestamp) -> tokio::time::Instant {
        (self.origin + at.since(self.at_origin).to_std()).into()
    }
}

/// The driver.
pub(crate) struct Driver {
    engine: Engine,
    clock: Clock,
    writer: Writer,
    fleet: watch::Sender<Arc<Fleet>>,
    /// What new sessions are welcomed with.
    term: watch::Sender<Term>,
    sessions: HashMap<SessionId, Session>,
    seen: Vec<Seen>,
    jobs: BTreeMap<JobId, Arc<EncodedJob>>,
    watchers: HashMap<FlowId, Vec<mpsc::Sender<Event>>>,
    replies: HashMap<ReplyId, oneshot::Sender<Reply>>,
    /// Fleets to put in force once the engine took them.
    loading: HashMap<ReplyId, Arc<Fleet>>,
    next_reply: u64,
    /// The highest term that a player has seen of this store.
    seen_term: Term,
    batch: Batch,
    /// What waits for the batch that is being written; `None` while the writer is idle.
    writing: Option<Vec<After>>,
    recovering: Option<oneshot::Sender<Reply>>,
    store_error: Option<String>,
}

impl Driver {
    pub(crate) fn new(
        engine: Engine,
        clock: Clock,
        writer: Writer,
        fleet: watch::Sender<Arc<Fleet>>,
        term: watch::Sender<Term>,
    ) -> Self {
        let seen_term = engine.term();
        Self {
            engine,
            clock,
            writer,
            fleet,
            term,
            sessions: HashMap::new(),
            seen: Vec::new(),
            jobs: BTreeMap::new(),
            watchers: HashMap::new(),
            replies: HashMap::new(),
            loading: HashMap::new(),
            next_reply: 0,
            seen_term,
            batch: Batch::default(),
            writing: None,
            recovering: None,
            store_error: None,
        }
    }

    /// Runs until every mailbox is closed, then until everything taken in is on disk. Fails when
    /// the store does.
    pub(crate) async fn run(
        mut self,
        mut sessions: mpsc::Receiver<FromSession>,
        mut requests: mpsc::Receiver<Request>,
    ) -> Result<(), CommitError> {
        let mut reports = Vec::new();
        let mut asked = Vec::new();
        let mut stopping = false;
        loop {
            let idle = !self.engine.has_work();
            let due = self.engine.next_deadline().map(|at| self.clock.instant(at));
            let wake =
                due.unwrap_or_else(|| tokio::time::Instant::now() + Duration::from_secs(3600));
            tokio::select! {
                biased;
                Some(written) = self.writer.done.recv() => self.written(written).await?,
                n = sessions.recv_many(&mut reports, TURN) => {
                    stopping |= n == 0;
                    for report in reports.drain(..) {
                        self.session_said(report);
                    }
                }
                n = requests.recv_many(&mut asked, REQUESTS_TURN), if !stopping => {
                    stopping |= n == 0;
                    for request in asked.drain(..) {
                        self.request(request);
                    }
                }
                () = tokio::time::sleep_until(wake), if idle => self.engine.advance(self.clock.now()),
                () = std::future::ready(()), if !idle => self.engine.advance(self.clock.now()),
            }
            self.gather();
            self.flush();
            if stopping && self.writing.is_none() && self.batch.ops.is_empty() {
                return Ok(());
            }
            if stopping {
                // Both mailboxes are closed for good: only the writer has something to say.
                while self.writing.is_some() {
                    let Some(written) = self.writer.done.recv().await else { return Ok(()) };
                    self.written(written).await?;
                    self.flush();
                }
                return Ok(());
            }
        }
    }

    fn handle(&mut self, input: Input) {
        self.engine.handle(self.clock.now(), input);
        // Gathered at once: an order's job is then still there to be fetched.
        self.gather();
    }

    fn session_said(&mut self, message: FromSession) {
        match message {
            FromSession::Attached(attach, reply) => {
                let answer = self.attach(attach);
                // A session that is gone meanwhile tells so itself.
                let _ = reply.send(answer);
            }
            FromSession::Reported { player, session, report, end } => {
                self.handle(Input::Reported { player, session, report, end });
            }
            FromSession::Alive { session } => {
                let probed = self.sessions.get_mut(&session).and_then(|s| s.probed.take());
                if let Some(probed) = probed {
                    probed.send_replace(true);
                }
            }
            FromSession::Detached { player, session } => {
                self.sessions.remove(&session);
                self.handle(Input::PlayerDetached { player, session });
            }
        }
    }

    fn attach(&mut self, attach: Attach) -> Attached {
        let Attach { host, session, snapshot, version, outbox, supersede } = attach;
        let Some(player) = self.engine.roster().member(&host) else { return Attached::Unknown };
        let older = self.engine.roster().session(player);
        if let Some(older) = older.and_then(|older| self.sessions.get_mut(&older))
            && !supersede
            && !older.outbox.is_ended()
        {
            // Several newcomers may wait for one answer.
            let probed = older.probed.get_or_insert_with(|| watch::channel(false).0);
            older.outbox.frame(v1::to_player::Frame::Probe(v1::Probe {}));
            let answer = probed.subscribe();
            return Attached::Occupied(answer);
        }
        if self.seen.len() <= player.index() {
            self.seen.resize_with(player.index() + 1, Seen::default);
        }
        self.seen[player.index()] = Seen {
            version,
            attached_at: Some(self.clock.now()),
            scores: snapshot.scores.as_slice().into(),
        };
        self.seen_term = self.seen_term.max(snapshot.term);
        self.sessions.insert(session, Session { outbox, probed: None });
        let stale = self.engine.stale().is_some();
        self.handle(Input::PlayerAttached { player, session, snapshot });
        if let (Some(why), false) = (self.engine.stale(), stale) {
            tracing::error!(
                why,
                "the store is an old copy: nothing is sent; see `orc conductor recover`"
            );
        }
        Attached::Welcome(player)
    }

    fn request(&mut self, request: Request) {
        match request {
            Request::Submit(mut submission, reply) => {
                if let Some(error) = &self.store_error {
                    let status =
                        Status::unavailable(format!("not stored, try again later: {error}"));
                    let _ = reply.send(Err(status));
                    return;
                }
                submission.reply = self.expect_reply(reply);
                self.handle(Input::FlowSubmitted(submission));
            }
            Request::Cancel { flow, by, reply } => {
                let reply = self.expect_reply(reply);
                self.handle(Input::CancelRequested { reply, flow, by });
            }
            Request::LoadRoster { fleet, most_removed, reply } => {
                let reply = self.expect_reply(reply);
                let hosts = fleet.hosts().clone();
                self.loading.insert(reply, fleet);
                self.handle(Input::RosterLoaded { reply, hosts, most_removed });
            }
            Request::Recover(reply) => self.recover(reply),
            Request::FlowStatus(flow, reply) => {
                let status = self.engine.flow_status(flow);
                self.reply_after(reply, status);
            }
            Request::Tasks { job, from, limit, reply } => {
                let tasks = self.engine.tasks(job, from, limit);
                self.reply_after(reply, tasks);
            }
            Request::Watch(flow, events, reply) => {
                let status = self.engine.flow_status(flow);
                if status.is_some() {
                    self.watchers.entry(flow).or_default().push(events);
                }
                self.reply_after(reply, status);
            }
            Request::Players { hosts, scores, reply } => {
                let players = self.players(&hosts, scores);
                self.reply_after(reply, players);
            }
            Request::Health(reply) => {
                let health = self.health();
                self.reply_after(reply, health);
            }
        }
    }

    fn expect_reply(&mut self, reply: oneshot::Sender<Reply>) -> ReplyId {
        let id = ReplyId(self.next_reply);
        self.next_reply += 1;
        self.replies.insert(id, reply);
        id
    }

    /// Answers a question once everything that the answer may rest on is on disk.
    fn reply_after<T: Send + 'static>(&mut self, reply: oneshot::Sender<T>, answer: T) {
        self.batch.after.push(After::Reply(Box::new(move || {
            // Whoever asked may have gone.
            let _ = reply.send(answer);
        })));
    }

    /// Raising the term is the store's; it goes through the writer when nothing is being written.
    fn recover(&mut self, reply: oneshot::Sender<Reply>) {
        if self.recovering.is_some() {
            let _ = reply.send(Err(Status::already_exists("a recovery is under way")));
        } else {
            self.recovering = Some(reply);
        }
    }

    fn players(&self, hosts: &[HostName], scores: bool) -> Vec<PlayerStatus> {
        let fleet = self.fleet.borrow();
        let roster = self.engine.roster();
        let players = hosts.iter().filter_map(|host| Some((host, roster.member(host)?)));
        players
            .map(|(host, player)| {
                let attached = roster.session(player).is_some();
                let seen = self.seen.get(player.index()).cloned().unwrap_or_default();
                let (in_flight, max_tasks) = roster.load(player);
                PlayerStatus {
                    host: host.clone(),
                    labels: fleet.labels(host),
                    attached,
                    since: if attached { seen.attached_at } else { roster.detached_at(player) },
                    max_tasks,
                    in_flight,
                    version: seen.version,
                    spool: roster.spool(player),
                    scores: if scores { seen.scores.to_vec() } else { Vec::new() },
                }
            })
            .collect()
    }

    fn health(&self) -> Health {
        let roster = self.engine.roster();
        Health {
            term: self.engine.term(),
            players: roster.members(),
            attached: roster.attached(),
            flows_alive: u32::try_from(self.engine.alive_count()).unwrap_or(u32::MAX),
            stale_store: self.engine.stale().map(str::to_owned),
            store_error: self.store_error.clone(),
        }
    }

    /// Sorts the engine's effects into what is to be written and what waits for that.
    fn gather(&mut self) {
        let effects: Vec<Effect> = self.engine.effects().collect();
        for effect in effects {
            match effect {
                Effect::Persist(op) => self.batch.ops.push(op),
                Effect::Send { session, command: Command::Order(order), .. } => {
                    let Some(job) = self.encoded_job(order.key.job) else { continue };
                    let order = order_to_wire(&order, job.digest.clone());
                    self.batch.after.push(After::Order { session, order, job });
                }
                effect => self.batch.after.push(After::Effect(effect)),
            }
        }
    }

    /// The large part of a job's orders, encoded when its first order leaves.
    fn encoded_job(&mut self, id: JobId) -> Option<Arc<EncodedJob>> {
        if let Some(job) = self.jobs.get(&id) {
            return Some(Arc::clone(job));
        }
        let body = v1::JobBody::from(&self.engine.job_part(id)?).encode_to_vec();
        let digest = Sha256::digest(&body).to_vec().into();
        let job = Arc::new(EncodedJob { digest, body: body.into() });
        self.jobs.insert(id, Arc::clone(&job));
        Some(job)
    }

    /// Hands the batch over, if the writer is free; does at once what needs no writing.
    fn flush(&mut self) {
        if self.writing.is_some() {
            return;
        }
        if !self.batch.ops.is_empty() {
            let batch = std::mem::take(&mut self.batch);
            self.writer.send(Write::Commit(batch.ops));
            self.writing = Some(batch.after);
            return;
        }
        for after in std::mem::take(&mut self.batch.after) {
            self.perform(after);
        }
        if self.recovering.is_some() {
            self.writer.send(Write::RaiseTerm(self.seen_term));
            self.writing = Some(Vec::new());
        }
    }

    async fn written(&mut self, written: Written) -> Result<(), CommitError> {
        match written {
            Written::Committed => {
                if self.store_error.take().is_some() {
                    tracing::info!("the store can be written again");
                }
                for after in self.writing.take().unwrap_or_default() {
                    self.perform(after);
                }
            }
            Written::Raised(term) => {
                self.writing = None;
                self.term.send_replace(term);
                if let Some(reply) = self.recovering.take() {
                    let reply = self.expect_reply(reply);
                    self.handle(Input::StoreRecovered { reply, term });
                }
            }
            Written::Full(batch, error) => {
                if self.store_error.is_none() {
                    tracing::error!(error = %crate::chain(&error), "the store cannot be written; will try again");
                }
                self.store_error = Some(crate::chain(&error));
                tokio::time::sleep(FULL_PAUSE).await;
                self.writer.send(Write::Commit(batch));
            }
            Written::Failed(error) => return Err(error),
        }
        Ok(())
    }

    fn perform(&mut self, after: After) {
        match after {
            After::Order { session, order, job } => {
                if let Some(session) = self.sessions.get(&session) {
                    session.outbox.order(order, &job);
                }
            }
            After::Reply(reply) => reply(),
            After::Effect(Effect::Send { session, command, .. }) => {
                use v1::command::Kind;
                let kind = match command {
                    Command::Cancel { key, order } => {
                        Kind::Cancel(v1::Cancel { key: Some(key.into()), order: order.0 })
                    }
                    Command::Acknowledge(key) => {
                        Kind::Acknowledge(v1::Acknowledge { key: Some(key.into()), order: 0 })
                    }
                    // Sorted out by `gather`.
                    Command::Order(_) => return,
                };
                if let Some(session) = self.sessions.get(&session) {
                    session.outbox.command(kind);
                }
            }
            After::Effect(Effect::Close { player, session, reason }) => {
                tracing::info!(player = %self.engine.roster().host(player), %reason, "session ended");
                if let Some(session) = self.sessions.remove(&session) {
                    session.outbox.end(Status::aborted(reason.to_string()));
                }
            }
            After::Effect(Effect::Answer { reply, answer }) => self.answer(reply, answer),
            After::Effect(Effect::Publish(event)) => self.publish(&event),
            After::Effect(Effect::Persist(_)) => {}
        }
    }

    fn answer(&mut self, id: ReplyId, answer: Answer) {
        if let Some(fleet) = self.loading.remove(&id)
            && !matches!(answer, Answer::Rejected(Rejection::TooManyRemoved { .. }))
        {
            self.fleet.send_replace(fleet);
        }
        if let Some(reply) = self.replies.remove(&id) {
            // Whoever asked may have gone.
            let _ = reply.send(Ok(answer));
        }
    }

    /// Tells watchers. One that is behind is let go: it asks for the whole status again.
    fn publish(&mut self, event: &Event) {
        let flow = event.flow();
        let over = matches!(event, Event::Flow { state, .. } if state.is_final());
        if let Some(watchers) = self.watchers.get_mut(&flow) {
            watchers.retain(|watcher| watcher.try_send(event.clone()).is_ok());
            if over || watchers.is_empty() {
                self.watchers.remove(&flow);
            }
        }
        if over {
            let first = JobId { flow, slot: 0, job: 0 };
            let next = JobId { flow: flow.next(), ..first };
            let ended: Vec<JobId> = self.jobs.range(first..next).map(|(job, _)| *job).collect();
            for job in ended {
                self.jobs.remove(&job);
            }
        }
    }
}
