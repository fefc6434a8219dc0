//! The one task that owns the engine.
//!
//! It takes everything that is ready, reports before new work, and turns it into inputs. It gathers
//! the engine's effects into a batch: records for the writer, and what may be done once the records
//! are on disk. One batch is written while the next is gathered, so that a slow disk makes batches
//! larger, not queues longer.
//!
//! An answer to a question waits for the records of the flow that it is about, so that nobody is
//! told what a crash could still undo. Questions about players, sessions and the conductor itself
//! are answered at once, because most of that is not on disk.
//!
//! While the store cannot be written, no verb is begun, and askers who wait for the store are told
//! so. Players' reports are taken as long as there is room. Everything that was held goes on when
//! there is space again. The driver never stops answering.

mod audit;
mod bundles;
mod clock;
mod comeback;
mod held;
mod lingering;
mod load;
mod mailbox;
mod outgoing;
mod perform;
mod recover;
mod services;
mod starts;
mod watchers;

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use orchestra_flow::{Engine, Input, PlayerIx, ReplyId, SessionId};
use orchestra_model::{
    Asker, FlowId, HostName, JobId, Timestamp,
    audit::AuditMark,
    bundle::BundleRegister,
    delivery::{KnownEnd, Refusal, Report, RequestId, Term},
    proof::{Mac, Proof},
    record::InForce,
    status::PlayerStatus,
};
use orchestra_proto::v1;
use orchestra_service::Services;
use orchestra_store::{CommitError, StoreIdentity};
use tokio::{
    sync::{oneshot, watch},
    time::{Instant, sleep_until},
};

pub(crate) use self::{
    audit::Asked,
    bundles::WantedBundle,
    clock::{Clock, clock_error},
    held::{held, other_submission},
    mailbox::{
        Attach, Attached, Carries, FromSession, Handle, Health, LoadTerms, Mailboxes, Removal,
        Reply, Request, Told, Watching, mailboxes, read_answer,
    },
    recover::{engines, remembered},
    services::ServiceQuestion,
    watchers::Watcher,
};
use self::{
    comeback::come_back_within,
    held::{not_begun, not_told},
    lingering::Lingering,
    mailbox::RecoveryPlan,
    outgoing::{After, Outgoing},
    services::ServiceDesk,
    watchers::Watchers,
};
use crate::{
    declined::{Declined, Ground},
    fleet::Fleet,
    inventory::Inventory,
    lines::{EncodedJob, Header, Line, Outbox},
    proof::Proofs,
    writer::Writer,
};

/// What the driver remembers of a player beside the engine.
#[derive(Clone, Debug, Default)]
struct Seen {
    version: String,
    attached_at: Option<Timestamp>,
}

/// A live session.
struct Session {
    outbox: Outbox,
    /// The header of its commands, of the term in which the session began: it is told of no other.
    header: Header,
    /// Set once it was asked whether it lives; gets the answer.
    probed: Option<watch::Sender<bool>>,
    /// Whether the player keeps units.
    keeps_units: bool,
    /// Whether it tells what attempts write while they run.
    tells_attempt_logs: bool,
    /// Whether it was logged that its clock is wrong.
    clock_was_told: bool,
}

/// From so many reports on no further message is taken in a turn. A message itself has at most so
/// many.
pub(crate) const TURN: usize = 2_048;
/// Most questions and verbs that are taken in one turn.
const REQUESTS_TURN: usize = 64;
/// Longest sleep of the driver when nothing is due.
const LONG: Duration = Duration::from_secs(3_600);

/// What the store remembers of the time before this start.
pub(crate) struct Remembered {
    pub(crate) identity: StoreIdentity,
    /// The limits that were in force.
    pub(crate) in_force: InForce,
    /// The newest audit line.
    pub(crate) audit: AuditMark,
    /// The bundles that are registered.
    pub(crate) bundles: BundleRegister,
}

/// The engines that the driver owns.
pub(crate) struct Engines {
    pub(crate) engine: Engine,
    pub(crate) services: Services,
}

/// The driver.
pub(crate) struct Driver {
    engine: Engine,
    clock: Clock,
    /// The header of commands of sessions that begin now.
    header: Header,
    /// The keys by which orders are proven.
    proofs: Proofs,
    fleet: watch::Sender<Arc<Fleet>>,
    /// The limits of the fleet that was last loaded, even if by an earlier process.
    in_force: InForce,
    inventory: Inventory,
    /// The bundles that are registered.
    bundles: BundleRegister,
    outgoing: Outgoing,
    /// Since when the store cannot be written.
    held_since: Option<Timestamp>,
    sessions: HashMap<SessionId, Session>,
    lingering: Lingering,
    seen: Vec<Seen>,
    /// The encoded jobs of living flows, which are the large parts of their orders.
    jobs: BTreeMap<JobId, Arc<EncodedJob>>,
    watchers: Watchers,
    services: ServiceDesk,
    replies: HashMap<ReplyId, oneshot::Sender<Reply>>,
    /// The loads of a fleet that wait for the disk.
    loading: HashSet<ReplyId>,
    next_reply: u64,
    /// The highest term of this store that a player has proven to have seen.
    seen_term: Term,
    recovering: Option<(Asked, oneshot::Sender<Reply>)>,
    /// Who asked for the verb that is being done, and where its answer goes.
    asking: Option<(ReplyId, Asked)>,
    /// The newest audit line.
    audit: AuditMark,
}

impl Driver {
    pub(crate) fn new(
        Engines { engine, services }: Engines,
        clock: Clock,
        Remembered { identity, in_force, audit, bundles }: Remembered,
        writer: Writer,
        proofs: Proofs,
        fleet: watch::Sender<Arc<Fleet>>,
        inventory: Inventory,
    ) -> Self {
        Self {
            engine,
            clock,
            header: Header { store: identity.store, term: identity.term },
            proofs,
            fleet,
            in_force,
            bundles,
            inventory,
            outgoing: Outgoing::new(writer),
            held_since: None,
            sessions: HashMap::new(),
            lingering: Lingering::default(),
            seen: Vec::new(),
            jobs: BTreeMap::new(),
            watchers: Watchers::default(),
            services: ServiceDesk::new(services),
            replies: HashMap::new(),
            loading: HashSet::new(),
            next_reply: 0,
            seen_term: identity.term,
            recovering: None,
            asking: None,
            audit,
        }
    }

    /// Runs until it is told to end. Then everything that was taken is on disk, and the store is
    /// closed. Fails if the store fails.
    pub(crate) async fn run(mut self, mut from: Mailboxes) -> Result<(), CommitError> {
        self.begin_record();
        self.resume_services();
        let mut said = Vec::with_capacity(TURN);
        let mut asked = Vec::with_capacity(REQUESTS_TURN);
        // Both mailboxes are closed together, when no sender is left.
        let mut closed = false;
        loop {
            let has_room = self.outgoing.has_room();
            let has_work = self.engine.has_work();
            let due = self.engine.next_deadline().into_iter().chain(self.services_due()).min();
            let due = due.map(|at| self.clock.instant(at));
            let due = due.into_iter().chain(self.lingering.due()).min();
            let due = due.unwrap_or_else(|| Instant::now() + LONG);
            let retry_at = self.outgoing.retry_at();
            let retry = async { sleep_until(retry_at.unwrap_or(due)).await };
            tokio::select! {
                biased;
                _ = &mut from.finish => return self.finish(from).await,
                written = self.outgoing.written() => self.settle(written)?,
                () = retry, if retry_at.is_some() => self.outgoing.retry(),
                n = from.sessions.recv_many(&mut said, 1), if has_room && !closed => closed = n == 0,
                n = from.requests.recv_many(&mut asked, REQUESTS_TURN), if !closed => closed = n == 0,
                () = sleep_until(due), if !has_work => {}
                () = std::future::ready(()), if has_work => {}
            }
            // Whatever woke the driver, both mailboxes have a turn.
            let mut length: usize = said.iter().map(FromSession::length).sum();
            while has_room
                && length < TURN
                && let Ok(message) = from.sessions.try_recv()
            {
                length += message.length();
                said.push(message);
            }
            while asked.len() < REQUESTS_TURN
                && let Ok(request) = from.requests.try_recv()
            {
                asked.push(request);
            }
            said.drain(..).for_each(|message| self.session_said(message));
            // Time advances before the questions, so that they are answered as of now, and again
            // after them, so that what they set going is written with them.
            self.engine.advance(self.clock.now());
            self.advance_services();
            if !asked.is_empty() {
                asked.drain(..).for_each(|request| self.request(request));
                self.engine.advance(self.clock.now());
            }
            self.gather();
            self.flush();
            self.send_lingering(Instant::now());
        }
    }

    /// Takes what is there, writes it, and closes the store.
    async fn finish(mut self, mut from: Mailboxes) -> Result<(), CommitError> {
        from.sessions.close();
        // Askers are told that the conductor stops, because their answers are dropped.
        drop(from.requests);
        while let Some(message) = from.sessions.recv().await {
            self.session_said(message);
        }
        self.gather();
        // A batch that did not fit on the disk is tried once more.
        self.outgoing.retry();
        self.flush();
        while !self.outgoing.is_idle() {
            let written = self.outgoing.written().await;
            self.settle(written)?;
            if self.outgoing.retry_at().is_some() {
                tracing::warn!("what was taken in last is not stored; none of it was answered");
                break;
            }
            self.flush();
        }
        while self.lingering.due().is_some() {
            self.send_lingering(Instant::now() + LONG);
        }
        self.outgoing.close().await;
        Ok(())
    }

    fn handle(&mut self, input: Input) {
        self.engine.handle(self.clock.now(), input);
        // Gathered at once, while an order's job is still there to be encoded.
        self.gather();
    }

    fn session_said(&mut self, message: FromSession) {
        match message {
            FromSession::Attached(attach, reply) => {
                let session = attach.session;
                let answer = self.attach(attach);
                if let Err(Attached::Welcome(player, _)) = reply.send(answer) {
                    self.detach(player, session);
                }
            }
            FromSession::Reported { player, session, reports, units, room } => {
                for report in reports {
                    if let Report::Refused {
                        refusal: Refusal::StaleTerm { evidence, .. }, ..
                    } = &report
                    {
                        self.note_proven(evidence.map(|evidence| evidence.proof));
                    }
                    self.note_clock(player, session, &report);
                    let report = Box::new(report);
                    self.handle(Input::Reported { player, session, report });
                }
                self.units_told(player, session, units);
                drop(room);
            }
            FromSession::LeasesAsked { player, session, asked } => {
                self.grant_leases(player, session, asked);
            }
            FromSession::FetchAsked { player, attempt, bundle, reply } => {
                // The session may be over.
                let _ = reply.send(self.fetchable(player, attempt, bundle));
            }
            FromSession::Alive { session } => {
                let probed = self.sessions.get_mut(&session).and_then(|s| s.probed.take());
                if let Some(probed) = probed {
                    probed.send_replace(true);
                }
            }
            FromSession::Detached { player, session } => self.detach(player, session),
        }
    }

    /// Logs, once a session, that a player's clock is wrong: what is shown of its times is then no more
    /// than what can be true.
    fn note_clock(&mut self, player: PlayerIx, session: SessionId, report: &Report<KnownEnd>) {
        let now = self.clock.now();
        let (key, told) = match report {
            Report::Started { key, at, .. } => (key, *at),
            Report::Ended { key, end, .. } => (key, end.summary.ended_at),
            Report::Refused { .. } => return,
        };
        let Some(known) = self.sessions.get_mut(&session) else { return };
        if known.clock_was_told {
            return;
        }
        // A report may have waited for long, but nothing is from before its flow, or from the future.
        let submitted = self.engine.submitted_at(key.job.flow).unwrap_or_default();
        if let Some(error) = clock_error(told, submitted, now) {
            known.clock_was_told = true;
            let host = self.engine.roster().host(player);
            tracing::warn!(
                player = %host, told_ms = told.0, now_ms = now.0,
                "the player's clock, or ours, is wrong: it is at least {error}; its times are shown \
                 as far as they can be true"
            );
        }
    }

    /// Keeps the highest term that was proven. A recovery must go beyond it.
    fn note_proven(&mut self, proofs: impl IntoIterator<Item = Proof>) {
        let terms = proofs.into_iter().map(|proof| proof.term);
        self.seen_term = terms.chain([self.seen_term]).max().unwrap_or_default();
    }

    fn detach(&mut self, player: PlayerIx, session: SessionId) {
        self.sessions.remove(&session);
        self.handle(Input::PlayerDetached { player, session });
        let roster = self.engine.roster();
        if roster.session(player).is_none() {
            self.inventory.detached(roster.host(player));
            let host = roster.host(player).clone();
            self.tell_services(orchestra_service::Input::PlayerDetached { host });
        }
    }

    fn attach(&mut self, attach: Attach) -> Attached {
        let Attach { host, session, snapshot, version, outbox, tells_attempt_logs, silent } =
            attach;
        let Some(player) = self.engine.roster().member(&host) else { return Attached::Unknown };
        if let Some(occupied) = self.probe_older(player, silent) {
            return occupied;
        }
        if self.seen.len() <= player.index() {
            self.seen.resize_with(player.index() + 1, Seen::default);
        }
        self.seen[player.index()] = Seen { version, attached_at: Some(self.clock.now()) };
        self.inventory.attached(&host, snapshot.scores.clone());
        self.note_proven(snapshot.evidence.map(|evidence| evidence.proof));
        self.note_proven(snapshot.live.iter().filter_map(|live| live.proof));
        self.note_proven(snapshot.settled.iter().filter_map(|settled| settled.proof));
        outbox.welcome(self.header, come_back_within(self.fleet.borrow().hosts().len()));
        self.sessions.insert(
            session,
            Session {
                outbox,
                header: self.header,
                probed: None,
                keeps_units: snapshot.units.is_some(),
                tells_attempt_logs,
                clock_was_told: false,
            },
        );
        let stale = self.engine.stale().is_some();
        let units = snapshot.units.clone();
        let (offers, room) = (snapshot.scores.clone(), snapshot.room);
        self.handle(Input::PlayerAttached { player, session, snapshot });
        self.units_attached(player, units, offers, room);
        if let (Some(why), false) = (self.engine.stale(), stale) {
            tracing::error!(
                why,
                "the store is an old copy: nothing is sent; see `orc conductor recover`"
            );
        }
        if let Some(why) = self.engine.roster().why_quarantined(player) {
            let quarantined = self.engine.roster().quarantined().len();
            tracing::warn!(
                player = %host, why, quarantined,
                "the player is quarantined: it gets nothing. If the store was restored from a \
                 backup, run `orc conductor recover`; else look at that host, then `orc players \
                 release`"
            );
        }
        Attached::Welcome(player, self.header)
    }

    /// Asks the player's present session, if it has one, whether it lives. Does not ask a session
    /// that was asked before and kept silent, or that is known to be over.
    fn probe_older(&mut self, player: PlayerIx, silent: Option<SessionId>) -> Option<Attached> {
        let by = self.engine.roster().session(player).filter(|older| silent != Some(*older))?;
        let older = self.sessions.get_mut(&by)?;
        if older.outbox.is_ended() {
            return None;
        }
        older.outbox.frame(v1::to_player::Frame::Probe(v1::Probe {}));
        // Several new sessions may wait for one answer.
        let probed = older.probed.get_or_insert_with(|| watch::channel(false).0);
        Some(Attached::Occupied { by, alive: probed.subscribe() })
    }

    fn request(&mut self, request: Request) {
        match request {
            Request::Change { asked, make, reply } => {
                if let Some(reply) = self.begin(reply) {
                    self.do_as_asked(Some(asked), reply, |driver| driver.handle(make(reply)));
                }
            }
            Request::Submitted { audience, request, macs, reply } => {
                self.submitted(&audience, request, &macs, reply);
            }
            Request::LoadFleet { fleet, terms, asked, files, reply } => {
                if let Some(reply) = self.begin(reply) {
                    self.do_as_asked(asked, reply, |driver| {
                        driver.load_fleet(&fleet, terms, files, reply);
                    });
                }
            }
            Request::Recover(asked, reply) => self.recover(asked, reply),
            Request::ChangeService { asked, ask, reply } => self.ask_service(asked, *ask, reply),
            Request::ReleaseBrake(asked, scope, reply) => {
                self.release_brake(asked, &scope, reply);
            }
            Request::RegisterBundle(asked, wanted, reply) => {
                self.register_bundle(asked, *wanted, reply);
            }
            Request::Bundles(reply) => self.tell_bundles(reply),
            Request::AboutServices(question) => self.answer_about_services(question),
            Request::PruneAudit(below, reply) => self.prune_audit(below, reply),
            Request::Record(entries, reply) => self.record_entries(entries, reply),
            Request::AuditHead(reply) => self.tell_audit_head(reply),
            Request::Expire { flows, reply } => self.expire(flows, reply),
            Request::FlowStatus(flow, reply) => {
                let status = self.engine.flow_status(flow);
                self.tell(flow, reply, status);
            }
            Request::Tasks { job, from, limit, reply } => {
                let tasks = self.engine.tasks(job, from, limit);
                self.tell(job.flow, reply, tasks);
            }
            Request::Explain { flow, job, host, reply } => {
                let why = self.engine.explain(flow, job, host.as_ref());
                self.tell(flow, reply, why);
            }
            Request::Cells { from, limit, reply } => {
                let cells = self.engine.cell_status(from, limit);
                self.tell_all(reply, cells);
            }
            Request::Settle(reply) => self.tell_all(reply, ()),
            Request::Watch(flow, watcher, reply) => self.watch(flow, watcher, reply),
            // The asker may have gone.
            Request::Progress(flows, reply) => {
                let progress = flows.into_iter().map(|flow| self.engine.flow_progress(flow));
                let _ = reply.send(Ok(progress.collect()));
            }
            Request::Overlay(submission, reply) => {
                let _ = reply.send(Ok(self.engine.overlay(*submission)));
            }
            Request::Players { hosts, scores, reply } => {
                let _ = reply.send(Ok(self.players(&hosts, scores)));
            }
            Request::Health(reply) => {
                let _ = reply.send(Ok(self.health()));
            }
            Request::Line(host, carries, reply) => {
                let _ = reply.send(self.line(&host, carries));
            }
        }
    }

    /// Returns the way to the player of a host, if its release does what is wanted of it.
    fn line(&self, host: &HostName, carries: Carries) -> Result<Line, Declined> {
        let roster = self.engine.roster();
        let player = roster.known(host);
        let session = player.and_then(|player| roster.session(player));
        let found = session.and_then(|id| Some((id, self.sessions.get(&id)?)));
        let Some((session, known)) = found else {
            return Err(Declined::new(Ground::NotNow, format!("{host} is not attached")));
        };
        let (does, what) = match carries {
            Carries::Units => (known.keeps_units, "keeps no units"),
            Carries::AttemptLogs => {
                (known.tells_attempt_logs, "tells what attempts wrote only once they have ended")
            }
        };
        if !does {
            let why = format!("the player of {host} is of a release that {what}");
            return Err(Declined::new(Ground::Prevented, why));
        }
        if let Some(why) = player.and_then(|player| roster.why_quarantined(player)) {
            let why = format!("the player of {host} is quarantined: {why}");
            return Err(Declined::new(Ground::Prevented, why));
        }
        let (outbox, header) = (known.outbox.clone(), known.header);
        Ok(Line { session, outbox, header })
    }

    /// Returns an address for the answer to something that changes the store. While the store
    /// cannot be written, refuses it and returns `None`.
    fn begin(&mut self, reply: oneshot::Sender<Reply>) -> Option<ReplyId> {
        if let Some(trouble) = self.outgoing.trouble() {
            let _ = reply.send(Err(not_begun(trouble)));
            return None;
        }
        let id = self.address();
        self.replies.insert(id, reply);
        Some(id)
    }

    /// Returns an address that was not used before.
    fn address(&mut self) -> ReplyId {
        let id = ReplyId(self.next_reply);
        self.next_reply += 1;
        id
    }

    /// Answers a question about a flow once everything about the flow is on disk.
    fn tell<T: Send + 'static>(&mut self, flow: FlowId, reply: Told<T>, answer: T) {
        let is_written = self.outgoing.is_written(flow);
        self.tell_once(is_written, reply, answer);
    }

    /// Answers a question about all flows once everything is on disk.
    fn tell_all<T: Send + 'static>(&mut self, reply: Told<T>, answer: T) {
        let is_written = self.outgoing.is_all_written();
        self.tell_once(is_written, reply, answer);
    }

    fn tell_once<T: Send + 'static>(&mut self, is_written: bool, reply: Told<T>, answer: T) {
        // The asker may have gone.
        if is_written {
            let _ = reply.send(Ok(answer));
        } else if let Some(trouble) = self.outgoing.trouble() {
            let _ = reply.send(Err(not_told(trouble)));
        } else {
            self.outgoing.hold(After::Tell(Box::new(|fate| {
                let _ = reply.send(fate.map(|()| answer).map_err(not_told));
            })));
        }
    }

    /// Tells the flow of a request once it is on disk. While the store cannot be written, tells
    /// that the request is held.
    fn submitted(
        &mut self,
        audience: &Asker,
        request: RequestId,
        macs: &[Mac],
        reply: Told<Option<FlowId>>,
    ) {
        let flow = self.engine.submitted(audience, request);
        // The asker may have gone.
        if flow.is_none_or(|flow| self.outgoing.is_written(flow)) {
            let _ = reply.send(Ok(flow));
        } else if let Some(trouble) = self.outgoing.trouble() {
            let known = flow.and_then(|flow| Some((flow, self.engine.request_mac(flow)?)));
            let other = known.filter(|(_, mac)| !macs.is_empty() && !macs.contains(mac));
            let why = other.map_or_else(|| held(trouble), |(flow, _)| other_submission(flow));
            let _ = reply.send(Err(why));
        } else {
            self.outgoing.hold(After::Tell(Box::new(move |fate| {
                let _ = reply.send(fate.map(|()| flow).map_err(held));
            })));
        }
    }

    fn watch(&mut self, flow: FlowId, watcher: Watcher, reply: Told<Watching>) {
        let living = self.engine.flow_status(flow).map(Box::new);
        let watching = Watching {
            store: self.engine.store(),
            term: self.engine.term(),
            recovered: self.engine.recovered_term(),
            living: living.zip(self.engine.changes_of(flow)),
        };
        if watching.living.is_none() {
            return self.tell(flow, reply, watching);
        }
        let is_written = self.outgoing.is_written(flow);
        let watch = After::Watch { flow, watcher, watching: Box::new(watching), reply };
        match self.outgoing.trouble() {
            _ if is_written => self.perform(watch),
            Some(trouble) => perform::refuse(watch, trouble),
            None => self.outgoing.hold(watch),
        }
    }

    /// Begins a recovery. The store raises the term, which the writer asks for when nothing is
    /// being written.
    fn recover(&mut self, asked: Asked, reply: oneshot::Sender<Reply>) {
        let why = match (self.outgoing.trouble(), &self.recovering) {
            (Some(trouble), _) => not_begun(trouble),
            (None, Some(_)) => Declined::new(Ground::Overtaken, "a recovery is under way"),
            (None, None) => {
                self.recovering = Some((asked, reply));
                return self.outgoing.raise_term(self.seen_term);
            }
        };
        let _ = reply.send(Err(why));
    }

    fn expire(&mut self, flows: Vec<FlowId>, reply: Told<()>) {
        if let Some(trouble) = self.outgoing.trouble() {
            // The asker may have gone.
            let _ = reply.send(Err(not_begun(trouble)));
            return;
        }
        flows.into_iter().for_each(|flow| self.handle(Input::FlowExpired { flow }));
        self.outgoing.hold(After::Tell(Box::new(|fate| {
            let _ = reply.send(fate.map_err(held));
        })));
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
                let (jobs, lost) = self.engine.orders_of(player);
                PlayerStatus {
                    host: host.clone(),
                    labels: fleet.labels(host),
                    attached,
                    since: if attached { seen.attached_at } else { roster.detached_at(player) },
                    max_tasks,
                    in_flight,
                    jobs,
                    lost,
                    version: seen.version,
                    spool: roster.spool(player),
                    // The desk knows it.
                    certificate_ends: None,
                    drained: roster.drained(player).cloned(),
                    quarantined: roster.why_quarantined(player).map(str::to_owned),
                    scores: if scores { self.inventory.offers(host) } else { Vec::new() },
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
            quarantined: count(roster.quarantined().len()),
            flows_alive: count(self.engine.alive_count()),
            deployments: count(self.engine.deployments().len()),
            cells: count(self.engine.deployments().cells().as_slice().len()),
            stale_store: self.engine.stale().map(str::to_owned),
            store_error: self.outgoing.whole_trouble().map(str::to_owned),
            store_held_since: self.held_since,
            recovery: RecoveryPlan {
                term: Term(self.engine.term().max(self.seen_term).0 + 1),
                next_flow: self.engine.next_flow_after_recovery(),
            },
        }
    }
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
