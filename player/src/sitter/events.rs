//! What each event means, and what the spool asks for in answer.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use bytes::Bytes;
use orchestra_model::{
    delivery::{AttemptKey, Refusal},
};
use orchestra_proto::encode_end;
use orchestra_spool::{Effect, EndBytes, Input, Plan, Session};
use rustix::{
    fd::{AsFd, BorrowedFd},
    io::Errno,
    process::{WaitOptions, wait},
};

use super::{
    AGENT, LIFELINE, MAIN, SIGNALS, Sitter, TOKENS,
    attempt::{Attempt, End, Main, Phase, Why},
    capture::{self, Drained},
    clock::BootMillis,
    commands::{Command, CommandError, JobParts, Kind},
    environment,
    hunt::Trail,
    linger::Lingering,
    poll::{Interest, Ready, Token},
    scores::Scores,
    signals::Event,
    spool_dir::attempt_name,
    start::{self, Stage},
    upgrade, wire,
};
use crate::ipc::ToSitter;

/// After a journal could not be written, how long until the next try, in milliseconds.
const REWRITE_PAUSE: u64 = 1_000;
/// Most attempts that are over and whose pipes are still read; the oldest are let go.
const LINGERING: usize = 1_024;
/// How long the lifeline's end waits for the dead to be gone, in milliseconds.
const LAST_WAIT: u64 = 2_000;

/// What a turn of the loop led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The next turn.
    GoOn,
    /// The lifeline is at its end.
    KillEverything,
}

impl Sitter {
    /// Takes in all that is ready: ends of processes and output before what anybody asks for, so
    /// that a true end beats a cancel or a timeout of the same moment.
    pub(super) fn turn(&mut self, ready: &[Ready]) -> Verdict {
        let now = BootMillis::now();
        let is_ready = |token| ready.iter().any(|ready| ready.token == token);
        let signals = if is_ready(SIGNALS) { self.signals.take() } else { Vec::new() };
        if signals.contains(&Event::Child) {
            self.reap(now);
        }
        for Ready { token } in ready {
            self.attempt_ready(*token, now);
        }
        if is_ready(LIFELINE) && self.lifeline_is_over() {
            return Verdict::KillEverything;
        }
        if is_ready(AGENT) {
            for frame in self.agent.receive(&self.poller) {
                self.heard(frame, now);
            }
        }
        for signal in signals {
            self.signalled(signal, now);
        }
        self.tick(now);
        Verdict::GoOn
    }

    fn signalled(&mut self, event: Event, now: BootMillis) {
        match event {
            Event::Child => {}
            Event::Rescan => {
                self.users.forget();
                self.scan();
                self.agent.reattach();
            }
            Event::RestartAgent => self.agent.restart(&self.poller),
            Event::Upgrade => {
                tracing::info!("executing the sitter anew in place");
                self.upgrade = true;
            }
            Event::Stop => {
                tracing::info!(running = self.attempts.len(), "asked to stop");
                self.stop_at.get_or_insert(now.after(self.config.stop_grace.0));
            }
        }
    }

    /// Scans the scores. A directory that cannot be read changes nothing.
    pub(super) fn scan(&mut self) {
        match Scores::scan(&self.config.scores_dir, &self.scores) {
            Ok(scores) => {
                let (scores_found, disabled) = scores.counts();
                tracing::info!(scores = scores_found, disabled, "scanned the scores");
                self.scores = scores;
            }
            Err(error) => {
                tracing::error!(error = %crate::chain(&error), "cannot scan the scores");
            }
        }
    }

    // ---- Processes ----

    /// Asks how children ended, the adopted ones too.
    pub(super) fn reap(&mut self, now: BootMillis) {
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, status))) => {
                    self.child_ended(pid.as_raw_nonzero().get(), status.as_raw(), now);
                }
                Err(Errno::INTR) => {}
                // None has ended, or there is none.
                Ok(None) | Err(_) => return,
            }
        }
    }

    fn child_ended(&mut self, pid: i32, wait_status: i32, now: BootMillis) {
        if let Some(session) = self.agent.ended(pid, now) {
            if let Some(session) = session {
                self.detached(session);
            }
            return;
        }
        let is_main = |main: &Main| main.child && main.pid == pid && !main.gone;
        let mut attempts = self.attempts.iter_mut();
        let found = attempts.find(|(_, attempt)| attempt.main.as_ref().is_some_and(is_main));
        // Otherwise it is an orphan that we adopted, or a process whose end is known already.
        if let Some((id, attempt)) = found {
            let id = *id;
            attempt.main_ended(wait_status, now);
            self.drain_all(id);
        }
    }

    /// A descriptor of an attempt, or of one that is over, is ready.
    fn attempt_ready(&mut self, token: Token, now: BootMillis) {
        let (id, which) = (token.0 / TOKENS, token.0 % TOKENS);
        match which {
            _ if id == 0 => {}
            MAIN => self.foreign_main_ready(id, now),
            index if self.lingering.contains_key(&id) => self.drain_lingering(id, index as usize),
            index => self.drain(id, index as usize),
        }
    }

    /// The first process of an attempt, which is not our child, ended.
    fn foreign_main_ready(&mut self, id: u64, now: BootMillis) {
        let Some(attempt) = self.attempts.get_mut(&id) else {
            return;
        };
        let Some(main) = attempt.main.as_mut().filter(|main| !main.gone) else {
            return;
        };
        match main.ended_or_unknowable() {
            End::Later => {
                let _ = self.poller.change(&main.pidfd, token(id, MAIN), Interest::Hangup);
                return;
            }
            End::Known(wait_status) => {
                self.poller.remove(&main.pidfd);
                attempt.main_ended(wait_status, now);
            }
            End::Unknowable => {
                self.poller.remove(&main.pidfd);
                attempt.main_vanished(now);
            }
        }
        self.drain_all(id);
    }

    fn drain_all(&mut self, id: u64) {
        for index in 0..2 {
            self.drain(id, index);
        }
    }

    fn drain(&mut self, id: u64, index: usize) {
        if let Some(attempt) = self.attempts.get_mut(&id)
            && let Some(tap) = attempt.streams.get_mut(index)
            && tap.drain(&mut self.chunk) == Drained::End
        {
            // Closing it takes it out of the poller as well.
            tap.pipe = None;
        }
    }

    pub(super) fn drain_lingering(&mut self, id: u64, index: usize) {
        let Some(lingering) = self.lingering.get_mut(&id) else {
            return;
        };
        lingering.drain(index, &mut self.chunk);
        if lingering.is_over() {
            self.spool_dir.remove_attempt(lingering.name());
            self.lingering.remove(&id);
            self.sweep();
        }
    }

    /// Does what is due by itself.
    fn tick(&mut self, now: BootMillis) {
        let grace = self.config.kill_grace.to_std();
        let spared = self.spared();
        let spool = self.surroundings.spool;
        for attempt in self.attempts.values_mut() {
            let trail = trail(attempt, spool, &spared);
            attempt.tick(grace, now, || trail());
        }
        self.agent.tick(&self.poller, now);
        if self.rewrite_at.is_some_and(|at| now >= at) {
            self.rewrite(now);
        }
        if self.upgrade {
            self.try_upgrade();
        }
    }

    /// Processes that are certainly not what an attempt left: the first ones of all, and the agent.
    /// Empty while no attempt has to be hunted.
    fn spared(&self) -> Arc<BTreeSet<i32>> {
        let hunted = |attempt: &Attempt| {
            attempt.leaf.is_none() && matches!(attempt.phase, Phase::Ending { .. })
        };
        if !self.attempts.values().any(hunted) {
            return Arc::default();
        }
        let mains = self.attempts.values().filter_map(|attempt| attempt.main.as_ref());
        let mains = mains.filter(|main| !main.gone).map(|main| main.pid);
        Arc::new(mains.chain(self.agent.pid()).collect())
    }

    // ---- The agent ----

    fn heard(&mut self, frame: ToSitter, now: BootMillis) {
        match frame {
            ToSitter::Open { session } => {
                let session = Session(session.0);
                if let Some(before) = self.agent.session() {
                    self.spool.handle(Input::Detached { session: before });
                }
                self.agent.open(session);
                self.parts = JobParts::default();
                self.spool.handle(Input::Opened { session });
            }
            ToSitter::Welcomed { session, store, term } => {
                let session = Session(session.0);
                if self.agent.session() == Some(session) {
                    self.spool.handle(Input::Attached { session, store, term });
                }
            }
            ToSitter::Closed { session } => {
                self.agent.close(Session(session.0));
                self.detached(Session(session.0));
            }
            ToSitter::Command { session, bytes } => {
                if self.agent.session() == Some(Session(session.0)) {
                    self.commanded(bytes, now);
                }
            }
        }
    }

    fn detached(&mut self, session: Session) {
        self.parts = JobParts::default();
        self.spool.handle(Input::Detached { session });
    }

    fn commanded(&mut self, bytes: Bytes, now: BootMillis) {
        match self.parts.decode(bytes) {
            Ok(Some(command)) => self.obey(command, now),
            Ok(None) => {}
            Err(CommandError::PartMissing) => {
                tracing::warn!("an order's job part is not here; asking for a new session");
                self.agent.reattach();
            }
            Err(error) => {
                tracing::warn!(error = %crate::chain(&error), "dropped a command");
            }
        }
    }

    fn obey(&mut self, command: Command, _now: BootMillis) {
        let Command { store, term, kind } = command;
        self.spool.handle(match kind {
            Kind::Hello => Input::TermSeen { store, term },
            Kind::Cancel { order, key } => Input::Cancelled { term, order, key },
            Kind::Acknowledge { key, order } => Input::Acknowledged { term, key, order },
            Kind::Order { number, key, timeout, part } => {
                let admitted = match self.stop_at {
                    Some(_) => Err(Refusal::Stopping),
                    None => start::admit(
                        &self.config,
                        &self.scores,
                        &mut self.users,
                        self.cgroups.as_ref(),
                        key,
                        timeout,
                        part,
                    ),
                };
                let admission = admitted.map(|(plan, admitted)| {
                    self.admitted.insert(key, admitted);
                    plan
                });
                Input::Ordered { term, order: number, key, admission }
            }
        });
    }

    // ---- The spool ----

    /// Tells the spool what ended, makes durable what it wants durable, and does what it asks for,
    /// until there is nothing more.
    pub(super) fn settle(&mut self) {
        loop {
            self.report_ends();
            self.commit();
            self.forget_over();
            let mut idle = true;
            while let Some(effect) = self.spool.poll_effect() {
                idle = false;
                self.perform(effect);
            }
            if idle && self.spool.unwritten().is_empty() {
                self.admitted.clear();
                return;
            }
        }
    }

    fn report_ends(&mut self) {
        let is_over = |_: &u64, attempt: &mut Attempt| matches!(attempt.phase, Phase::Over(_));
        let over: Vec<(u64, Attempt)> = self.attempts.extract_if(.., is_over).collect();
        for (id, mut attempt) in over {
            // A last time: what came between the last reading and the end.
            for index in 0..2 {
                if let Some(tap) = attempt.streams.get_mut(index)
                    && tap.drain(&mut self.chunk) == Drained::End
                {
                    tap.pipe = None;
                }
            }
            let key = attempt.key;
            if let Some(end) = attempt.report() {
                tracing::info!(attempt = %key, outcome = ?end.outcome, "an attempt ended");
                let bytes = EndBytes::new(encode_end(&end).to_vec()).or_else(|error| {
                    tracing::error!(attempt = %key, %error, "left the output of an attempt out");
                    let bare = orchestra_model::delivery::AttemptEnd {
                        response: BTreeMap::new(),
                        stdout: Default::default(),
                        stderr: Default::default(),
                        ..end
                    };
                    EndBytes::new(encode_end(&bare).to_vec())
                });
                if let Ok(end) = bytes {
                    self.spool.handle(Input::Ended { key, end });
                }
            }
            self.over.push((id, attempt));
        }
    }

    /// One write for all that is unwritten.
    fn commit(&mut self) {
        if self.spool.unwritten().is_empty() {
            return;
        }
        match self.journal.append(self.spool.unwritten()) {
            Ok(()) => self.spool.written(),
            Err(error) => {
                self.journal_failed(&error.to_string(), BootMillis::now());
                return;
            }
        }
        if self.journal.should_compact(self.spool.state())
            && let Err(error) = self.journal.compact(self.spool.state())
        {
            self.journal_failed(&error.to_string(), BootMillis::now());
        }
    }

    fn journal_failed(&mut self, why: &str, now: BootMillis) {
        tracing::error!(error = why, "cannot write the journal; new orders are refused");
        self.spool.write_failed(why);
        self.rewrite_at = Some(now.after(REWRITE_PAUSE));
    }

    fn rewrite(&mut self, now: BootMillis) {
        match self.journal.rewrite(self.spool.state()) {
            Ok(()) => {
                tracing::info!("the journal can be written again");
                self.spool.rewritten();
                self.rewrite_at = None;
            }
            Err(error) => {
                tracing::error!(%error, "still cannot write the journal");
                self.rewrite_at = Some(now.after(REWRITE_PAUSE));
            }
        }
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Snapshot { session, snapshot } => {
                let (max_tasks, grace) = (self.config.max_tasks, self.config.kill_grace);
                let bytes = wire::snapshot(snapshot, max_tasks, grace, self.scores.offers());
                self.agent.snapshot(session, bytes);
            }
            Effect::Report { session, report } => self.agent.report(session, report),
            Effect::Start { key, plan, .. } => self.start(key, &plan),
            Effect::Kill { key } => self.cancel(key, BootMillis::now()),
        }
    }

    fn start(&mut self, key: AttemptKey, plan: &Plan) {
        let stage = Stage {
            config: &self.config,
            spool_dir: &self.spool_dir,
            cgroups: self.cgroups.as_ref(),
            surroundings: &self.surroundings,
            null: self.null.as_fd(),
            file_limit: self.file_limit,
            boot: self.boot,
        };
        let started = match self.admitted.remove(&key) {
            Some(admitted) => {
                stage.start(key, plan, &admitted).map_err(|error| crate::chain(&error))
            }
            None => Err("what it needs is not in memory any more".to_owned()),
        };
        match started {
            Ok((attempt, process)) => {
                tracing::info!(
                    attempt = %key, score = %plan.score, pid = process.pid, "started an attempt"
                );
                self.insert(attempt);
                self.spool.handle(Input::Started { key, process });
            }
            Err(why) => {
                tracing::warn!(attempt = %key, error = why, "cannot start an attempt");
                let refusal = Refusal::SpawnFailed(why);
                self.spool.handle(Input::StartFailed { key, refusal });
            }
        }
    }

    pub(super) fn cancel(&mut self, key: AttemptKey, now: BootMillis) {
        let grace = self.config.kill_grace.to_std();
        let mut attempts = self.attempts.values_mut();
        if let Some(attempt) = attempts.find(|attempt| attempt.key == key) {
            attempt.end(Why::Cancelled, grace, now);
        }
    }

    // ---- Attempts come and go ----

    /// Has the loop watch an attempt.
    pub(super) fn insert(&mut self, mut attempt: Attempt) {
        let id = self.fresh_id();
        let main = attempt.main.as_ref().filter(|main| !main.child && !main.gone);
        let streams = attempt.streams.iter().enumerate();
        let pipes = streams.filter_map(|(index, tap)| Some((index as u64, tap.pipe.as_ref()?.as_fd())));
        let main = main.map(|main| (MAIN, main.pidfd.as_fd()));
        for (which, fd) in pipes.chain(main) {
            if let Err(error) = self.poller.add(fd, token(id, which), Interest::Read) {
                tracing::error!(attempt = %attempt.key, %error, "cannot watch an attempt");
            }
        }
        attempt.alone &= self.attempts.is_empty();
        self.attempts.values_mut().for_each(|other| other.alone = false);
        self.attempts.insert(id, attempt);
    }

    /// What is over is durably so: its files go, and what it left behind lives on.
    fn forget_over(&mut self) {
        for (id, attempt) in std::mem::take(&mut self.over) {
            if let Some(leaf) = attempt.leaf {
                self.left.push(leaf);
            }
            let name = attempt_name(attempt.key);
            let lingering = Lingering::new(name, attempt.streams.map(|tap| tap.pipe));
            if lingering.is_over() {
                self.spool_dir.remove_attempt(lingering.name());
            } else {
                if let Ok(dir) = self.spool_dir.open_attempt(lingering.name()) {
                    let _ = capture::remove_files(dir.as_fd());
                }
                self.keep_lingering(id, lingering);
            }
            self.sweep();
        }
    }

    /// Has the loop read pipes that an earlier sitter left.
    pub(super) fn linger(&mut self, id: u64, lingering: Lingering) {
        for (index, pipe) in lingering.pipes() {
            let _ = self.poller.add(pipe, token(id, index as u64), Interest::Read);
        }
        self.keep_lingering(id, lingering);
    }

    fn keep_lingering(&mut self, id: u64, lingering: Lingering) {
        if self.lingering.len() >= LINGERING
            && let Some((_, oldest)) = self.lingering.pop_first()
        {
            tracing::warn!(attempt = oldest.name(), "too many pipes are left; reading one no more");
        }
        self.lingering.insert(id, lingering);
    }

    /// Removes cgroups in which nothing lives any more.
    pub(super) fn sweep(&mut self) {
        self.left.retain(|leaf| !leaf.remove());
    }

    // ---- The end, and a new beginning ----

    /// Settles what is known in memory alone; with `ends`, also what is being killed, without more
    /// grace.
    pub(super) fn hurry(&mut self, ends: bool) {
        let now = BootMillis::now();
        for attempt in self.attempts.values_mut() {
            attempt.hurry_output();
            if ends {
                attempt.hurry_end(now);
            }
        }
    }

    /// Becomes the program that has this one's path now. While an attempt is being killed it
    /// waits: the reason for that is in memory alone.
    fn try_upgrade(&mut self) {
        self.hurry(false);
        self.settle();
        let ready = self.attempts.values().all(|attempt| attempt.phase == Phase::Running);
        if !ready || self.stop_at.is_some() {
            return;
        }
        self.upgrade = false;
        if self.spool.broken().is_some() {
            tracing::error!("not executing the sitter anew: what it knows cannot be written");
            return;
        }
        let taps = self.attempts.values().flat_map(|attempt| &attempt.streams);
        let pipes = taps.filter_map(|tap| Some(tap.pipe.as_ref()?.as_fd()));
        let lingering = self.lingering.values().flat_map(|one| one.pipes().map(|(_, pipe)| pipe));
        let lifeline = self.lifeline.as_ref().map(AsFd::as_fd);
        let own = [self.spool_dir.lock()].into_iter().chain(lifeline);
        let keep: Vec<BorrowedFd<'_>> = own.chain(pipes).chain(lingering).collect();
        self.file_limit.restore();
        let error = upgrade::execute(&self.program, &keep);
        self.file_limit.raise_again();
        tracing::error!(%error, "cannot execute the sitter anew; going on as it is");
    }

    /// Whether the lifeline's other end is closed.
    fn lifeline_is_over(&self) -> bool {
        let mut bytes = [0; 64];
        let read = |fd| rustix::io::read(fd, &mut bytes);
        match self.lifeline.as_ref().map(read) {
            Some(Ok(0)) => true,
            Some(Ok(_) | Err(Errno::AGAIN | Errno::INTR)) | None => false,
            Some(Err(_)) => true,
        }
    }

    /// Leaves nothing behind: no attempt, no daemon that one left, no agent, no cgroup.
    pub(super) fn kill_everything(&mut self) {
        tracing::info!("the lifeline ended; killing everything");
        self.agent.stop(&self.poller);
        let until = BootMillis::now().after(LAST_WAIT);
        let everything = Trail {
            marks: environment::marks_of_player(self.surroundings.spool),
            leader: None,
            orphans: false,
            spared: BTreeSet::new(),
        };
        loop {
            let (spool, nobody) = (self.surroundings.spool, Arc::default());
            let mut left = everything.kill();
            for attempt in self.attempts.values_mut() {
                let trail = trail(attempt, spool, &nobody)();
                left += usize::from(!attempt.kill_now(&trail));
            }
            self.left.extend(self.attempts.values().filter_map(|attempt| attempt.leaf.clone()));
            self.left.iter().for_each(super::cgroup::Leaf::kill);
            self.reap(BootMillis::now());
            self.sweep();
            let now = BootMillis::now();
            if (left == 0 && self.left.is_empty()) || now >= until {
                return;
            }
            // Nobody else is listened to any more; only the time passes.
            let nap = rustix::time::Timespec { tv_sec: 0, tv_nsec: 5_000_000 };
            let _ = rustix::event::poll(&mut [], Some(&nap));
        }
    }
}

/// A token of an attempt.
fn token(id: u64, which: u64) -> Token {
    Token(id * TOKENS + which)
}

/// How an attempt's trail is described, should it be needed.
fn trail(
    attempt: &Attempt,
    spool: orchestra_model::delivery::SpoolId,
    spared: &Arc<BTreeSet<i32>>,
) -> impl Fn() -> Trail + use<> {
    let (key, alone, spared) = (attempt.key, attempt.alone, Arc::clone(spared));
    let leader = attempt.main.as_ref().map(|main| (main.pid, main.start_ticks));
    move || {
        let mut spared = BTreeSet::clone(&spared);
        if let Some((leader, _)) = leader {
            spared.remove(&leader);
        }
        Trail { marks: environment::marks(spool, key), leader, orphans: alone, spared }
    }
}
