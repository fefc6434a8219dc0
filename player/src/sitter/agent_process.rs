//! The agent: started, listened to, started again.
//!
//! The agent is the part of the player that strangers talk to. So it runs as another user (if the
//! sitter is root), gains no privileges, and has only one descriptor of use: its end of a socket
//! pair. The sitter never waits for it. An agent that dies is replaced, at once the first time and
//! then after a growing pause. An agent that does not read what it is sent is killed and replaced.

use std::{
    collections::VecDeque,
    ffi::{CString, NulError},
    io,
    os::unix::{ffi::OsStringExt, net::UnixStream},
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use orchestra_link::ipc::{
    AGENT_DESCRIPTOR, ANSWERS, FetchNumber, Inbox, Outbox, ToAgent, ToSitter,
};
use orchestra_model::{
    bundle::PlacesReport,
    delivery::{AgentSession, EndBytes, Report},
    service::{Leases, LogPart, ReadingId, UnitReport},
    vitals::VitalsBatch,
};
use orchestra_proto::v1;
use prost::Message;
use rustix::{
    fd::{AsFd, OwnedFd},
    fs::{Mode, OFlags},
    process::{Signal, pidfd_send_signal},
};

use super::{
    clock::BootMillis,
    launcher::{Born, LaunchError, Launched, Launchers, NotSent, Request},
    poll::{Interest, Poller, Token},
    start::Newborn,
    sys::Settings,
    users::Runner,
    wire,
};
use crate::config::Config;

/// Reports are encoded while fewer bytes than this are queued to the agent. The others wait
/// unencoded, sharing memory with the spool.
const QUEUED: usize = 1 << 20;
/// An agent for which more bytes than this are queued asks for things faster than it reads them.
const FLOODED: usize = 16 << 20;
/// An agent that has not taken a byte for so long is stuck.
const STUCK: Duration = Duration::from_secs(30);
/// An agent that lived so long did not fail to start.
const LIVED: Duration = Duration::from_secs(10);
/// The first and the longest pause (ms) before an agent that failed to start is started again.
const PAUSE: (u64, u64) = (250, 5_000);
/// Most reads from the agent in one turn.
const TURN: usize = 8;
/// Variables of the sitter's own environment that its agent gets.
const PASSED_ON: [&str; 4] = ["JOURNAL_STREAM", "LANG", "TZ", "RUST_BACKTRACE"];

/// Why an agent could not be started.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    /// A socket pair or the null device cannot be had.
    #[error("cannot open the agent's descriptors")]
    Descriptors(#[source] io::Error),
    /// The program cannot be opened.
    #[error("cannot open {}", .0.display())]
    Program(PathBuf, #[source] io::Error),
    /// A path holds a NUL byte.
    #[error("a path holds a NUL byte")]
    Argument(#[source] NulError),
    /// Its process could not be made.
    #[error("cannot start the agent's process")]
    Launch(#[source] LaunchError),
    /// It ended before its launcher answered.
    #[error("the agent ended at once")]
    Ended,
}

/// The agent, which lives or is to be started.
#[derive(Debug)]
pub(crate) struct Agent {
    program: PathBuf,
    config: PathBuf,
    runner: Runner,
    token: Token,
    state: State,
    /// How often in a row it died young.
    failures: u32,
}

#[derive(Debug)]
enum State {
    /// It is to be started at this moment.
    Down(BootMillis),
    /// Its launcher was asked for it. Holds our end of its socket.
    Starting(UnixStream),
    Up(Box<Up>),
}

/// A report of an attempt, of a unit, of a log that somebody reads, or of vitals.
#[derive(Debug)]
enum Told {
    Attempt(Report<EndBytes>),
    Unit(Box<UnitReport>),
    Log(ReadingId, LogPart),
    Vitals(Box<VitalsBatch>),
    Leases(Leases),
    Places(Box<PlacesReport>),
}

#[derive(Debug)]
struct Up {
    pid: i32,
    pidfd: OwnedFd,
    socket: UnixStream,
    inbox: Inbox<ToSitter>,
    outbox: Outbox<ToAgent>,
    /// The session that counts.
    session: Option<AgentSession>,
    /// What the session is still to be told, in order.
    reports: VecDeque<Told>,
    /// Since when there is no room to write, for which we wait.
    blocked_since: Option<BootMillis>,
    /// It was killed and is not known to be dead. What it says is ignored.
    dying: bool,
    started: BootMillis,
}

impl Agent {
    /// Returns an agent that is to be started at once. `program` is a path, so that the version on
    /// the disk is started.
    pub(crate) fn new(program: PathBuf, config: &Config, runner: Runner, token: Token) -> Self {
        let (config, state) = (config.file.clone(), State::Down(BootMillis::default()));
        Self { program, config, runner, token, state, failures: 0 }
    }

    /// Its process.
    pub(crate) fn pid(&self) -> Option<i32> {
        match &self.state {
            State::Up(up) => Some(up.pid),
            State::Down(_) | State::Starting(_) => None,
        }
    }

    /// The session that reports go to.
    pub(crate) fn session(&self) -> Option<AgentSession> {
        match &self.state {
            State::Up(up) => up.session,
            State::Down(_) | State::Starting(_) => None,
        }
    }

    /// Reads for one turn what the agent says, in order. An agent that has closed its socket, or
    /// talks nonsense, is killed; the end of its process follows.
    pub(crate) fn receive(&mut self, poller: &Poller) -> Vec<ToSitter> {
        let State::Up(up) = &mut self.state else {
            return Vec::new();
        };
        if up.dying {
            return Vec::new();
        }
        let mut frames = Vec::new();
        for _ in 0..TURN {
            match up.inbox.fill(&mut &up.socket) {
                Ok(0) => {
                    up.kill(poller, "the agent closed its socket");
                    break;
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    tracing::warn!(%error, "cannot read from the agent");
                    up.kill(poller, "the agent cannot be read from");
                    break;
                }
            }
            loop {
                match up.inbox.next_frame() {
                    Ok(Some(frame)) => frames.push(frame),
                    Ok(None) => break,
                    Err(error) => {
                        tracing::error!(%error, "the agent sent what is no frame");
                        up.kill(poller, "the agent makes no sense");
                        return frames;
                    }
                }
            }
        }
        frames
    }

    /// Notes that a session opened. Only this one counts from now on.
    pub(crate) fn open(&mut self, session: AgentSession) {
        if let State::Up(up) = &mut self.state {
            up.session = Some(session);
            up.reports.clear();
        }
    }

    /// Notes that a session is over.
    pub(crate) fn close(&mut self, session: AgentSession) {
        if let State::Up(up) = &mut self.state
            && up.session == Some(session)
        {
            up.session = None;
            up.reports.clear();
        }
    }

    /// Sends a snapshot, if the session still counts.
    pub(crate) fn snapshot(&mut self, session: AgentSession, bytes: Bytes) {
        if let Some(up) = self.up_with(session) {
            up.push(ToAgent::Snapshot { session, bytes });
        }
    }

    /// Queues a report about an attempt, if the session still counts.
    pub(crate) fn report(&mut self, session: AgentSession, report: Report<EndBytes>) {
        if let Some(up) = self.up_with(session) {
            up.reports.push_back(Told::Attempt(report));
        }
    }

    /// Queues a report about a unit, if the session still counts.
    pub(crate) fn report_unit(&mut self, session: AgentSession, report: UnitReport) {
        if let Some(up) = self.up_with(session) {
            up.reports.push_back(Told::Unit(Box::new(report)));
        }
    }

    /// Returns whether the agent has room for more: no report waits, and few bytes are queued.
    pub(crate) fn has_room(&self) -> bool {
        match &self.state {
            State::Up(up) => !up.dying && up.reports.is_empty() && up.outbox.queued() < QUEUED,
            State::Down(_) | State::Starting(_) => false,
        }
    }

    /// Queues a part of a log that somebody reads, if the session still counts.
    pub(crate) fn report_log(&mut self, session: AgentSession, id: ReadingId, part: LogPart) {
        if let Some(up) = self.up_with(session) {
            up.reports.push_back(Told::Log(id, part));
        }
    }

    /// Queues samples of vitals, if the session still counts.
    pub(crate) fn report_vitals(&mut self, session: AgentSession, batch: VitalsBatch) {
        if let Some(up) = self.up_with(session) {
            up.reports.push_back(Told::Vitals(Box::new(batch)));
        }
    }

    /// Queues the question for leases, if the session still counts.
    pub(crate) fn report_leases(&mut self, session: AgentSession, asked: Leases) {
        if let Some(up) = self.up_with(session) {
            up.reports.push_back(Told::Leases(asked));
        }
    }

    /// Queues all places, if the session still counts.
    pub(crate) fn report_places(&mut self, session: AgentSession, places: PlacesReport) {
        if let Some(up) = self.up_with(session) {
            up.reports.push_back(Told::Places(Box::new(places)));
        }
    }

    /// Answers the agent's question whether we are there.
    pub(crate) fn answer(&mut self, session: AgentSession) {
        if let State::Up(up) = &mut self.state
            && !up.dying
        {
            up.push(ToAgent::Here { session });
        }
    }

    /// Asks for a bundle. An agent that is not up yet is asked once it is.
    pub(crate) fn fetch(&mut self, fetch: FetchNumber, order: Bytes) {
        if let State::Up(up) = &mut self.state
            && !up.dying
        {
            up.push(ToAgent::Fetch { fetch, order });
        }
    }

    /// Says that a bundle is not wanted any more.
    pub(crate) fn stop_fetch(&mut self, fetch: FetchNumber) {
        if let State::Up(up) = &mut self.state
            && !up.dying
        {
            up.push(ToAgent::StopFetch { fetch });
        }
    }

    /// Asks for a new session: what the snapshot said holds no longer, or something is missing.
    pub(crate) fn reattach(&mut self) {
        if let State::Up(up) = &mut self.state
            && let Some(session) = up.session
        {
            up.push(ToAgent::Reattach { session });
        }
    }

    /// Writes as much as it takes now.
    pub(crate) fn flush(&mut self, poller: &Poller, now: BootMillis) {
        let token = self.token;
        if let State::Up(up) = &mut self.state
            && !up.dying
        {
            up.flush(poller, token, now);
        }
    }

    /// Notes that the child `pid` ended. Returns `None` if it was not the agent, else the session
    /// that ended with it.
    pub(crate) fn ended(&mut self, pid: i32, now: BootMillis) -> Option<Option<AgentSession>> {
        let State::Up(up) = &mut self.state else {
            return None;
        };
        if up.pid != pid {
            return None;
        }
        let session = up.session;
        let lived = now >= up.started.after(LIVED.as_millis() as u64);
        self.failures = if lived { 1 } else { self.failures + 1 };
        let pause = match self.failures {
            1 => 0,
            n => (PAUSE.0 << (n - 2).min(16)).min(PAUSE.1),
        };
        tracing::warn!(pid, pause_ms = pause, "the agent ended; starting another");
        self.state = State::Down(now.after(pause));
        Some(session)
    }

    /// Starts another agent at once. [`Agent::ended`] returns the session of the old one.
    pub(crate) fn restart(&mut self, poller: &Poller) {
        self.failures = 0;
        match &mut self.state {
            State::Up(up) => up.kill(poller, "a restart of the agent was asked for"),
            State::Down(at) => *at = BootMillis::default(),
            // The agent that starts is a new one anyhow.
            State::Starting(_) => {}
        }
    }

    /// Kills the agent; no other follows.
    pub(crate) fn stop(&mut self, poller: &Poller) {
        if let State::Up(up) = &mut self.state {
            up.kill(poller, "the player stops");
        }
        self.state = State::Down(BootMillis(u64::MAX));
    }

    /// Does what is due: starts an agent, or kills one that is stuck.
    pub(crate) fn tick(
        &mut self,
        poller: &Poller,
        launchers: &mut Launchers<Newborn>,
        now: BootMillis,
    ) {
        match &mut self.state {
            State::Down(at) if now >= *at => match self.start(poller, launchers, now) {
                Ok(Some(socket)) => self.state = State::Starting(socket),
                Ok(None) => self.state = State::Down(now.after(PAUSE.0)),
                Err(error) => self.failed(&error, now),
            },
            State::Up(up) => {
                let stuck = |since: BootMillis| now >= since.after(STUCK.as_millis() as u64);
                if up.blocked_since.is_some_and(stuck) {
                    up.kill(poller, "the agent reads nothing");
                }
            }
            State::Down(_) | State::Starting(_) => {}
        }
    }

    /// Takes what came of the request for an agent.
    pub(crate) fn launched(&mut self, launched: Launched, poller: &Poller, now: BootMillis) {
        let State::Starting(socket) = &self.state else { return };
        let socket = match socket.try_clone() {
            Ok(socket) => socket,
            Err(error) => return self.failed(&StartError::Descriptors(error), now),
        };
        match launched {
            Launched::Born(Born { ended: None, pid, pidfd, .. }) => {
                if let Err(error) = poller.add(&socket, self.token, Interest::Read) {
                    // Without its socket the process ends.
                    return self.failed(&StartError::Descriptors(error), now);
                }
                tracing::info!(pid, "started the agent");
                self.state = State::Up(Box::new(Up::new(pid, pidfd, socket, now)));
            }
            Launched::Born(_) | Launched::Unknown => self.failed(&StartError::Ended, now),
            Launched::NotBorn(error) => self.failed(&StartError::Launch(error), now),
        }
    }

    /// When [`Agent::tick`] has something to do.
    pub(crate) fn next_deadline(&self) -> Option<BootMillis> {
        match &self.state {
            State::Down(BootMillis(u64::MAX)) | State::Starting(_) => None,
            State::Down(at) => Some(*at),
            State::Up(up) => up.blocked_since.map(|since| since.after(STUCK.as_millis() as u64)),
        }
    }

    fn failed(&mut self, error: &StartError, now: BootMillis) {
        tracing::error!(error = %orchestra_model::chain(error), "cannot start the agent");
        self.failures += 1;
        self.state = State::Down(now.after(PAUSE.1));
    }

    /// Asks a launcher for an agent. Returns our end of its socket; `None` if the launcher has
    /// enough to do just now.
    fn start(
        &self,
        poller: &Poller,
        launchers: &mut Launchers<Newborn>,
        now: BootMillis,
    ) -> Result<Option<UnixStream>, StartError> {
        let (socket, theirs) = UnixStream::pair().map_err(StartError::Descriptors)?;
        socket.set_nonblocking(true).map_err(StartError::Descriptors)?;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let open = |path: &Path| rustix::fs::open(path, flags, Mode::empty());
        let null = open(Path::new("/dev/null"));
        let null = null.map_err(|error| StartError::Descriptors(error.into()))?;
        let program = open(&self.program)
            .map_err(|error| StartError::Program(self.program.clone(), error.into()))?;
        let (stdout, stderr) = (io::stdout(), io::stderr());
        const _: () = assert!(AGENT_DESCRIPTOR == 3);
        let text = |text: &Path| CString::new(text.as_os_str().to_owned().into_vec());
        let arguments = [
            text(&self.program),
            CString::new("agent"),
            CString::new("--config"),
            text(&self.config),
        ];
        let arguments: Result<Vec<CString>, NulError> = arguments.into_iter().collect();
        let arguments = arguments.map_err(StartError::Argument)?;
        let request = Request {
            program: program.as_fd(),
            arguments: &arguments,
            environment: &environment(),
            descriptors: &[null.as_fd(), stdout.as_fd(), stderr.as_fd(), theirs.as_fd()],
            tap: None,
            cgroup: None,
            limits: &[],
            settings: Settings::default(),
            no_new_privileges: true,
        };
        let user = &self.runner.identity;
        match launchers.send(poller, user, &request, None, Newborn::Agent, now) {
            Ok(()) => Ok(Some(socket)),
            Err(NotSent::Later(_)) => Ok(None),
            Err(NotSent::Never(_, error)) => Err(StartError::Launch(error)),
        }
    }

    fn up_with(&mut self, session: AgentSession) -> Option<&mut Up> {
        match &mut self.state {
            State::Up(up) if up.session == Some(session) && !up.dying => Some(up),
            _ => None,
        }
    }
}

impl Up {
    fn new(pid: i32, pidfd: OwnedFd, socket: UnixStream, now: BootMillis) -> Self {
        Self {
            pid,
            pidfd,
            socket,
            inbox: Inbox::default(),
            outbox: Outbox::default(),
            session: None,
            reports: VecDeque::new(),
            blocked_since: None,
            dying: false,
            started: now,
        }
    }

    /// Queues a frame. Beyond the bound it is dropped, because that agent will be killed.
    fn push(&mut self, frame: ToAgent) {
        if self.outbox.queued() > FLOODED {
            return;
        }
        if let Err(error) = self.outbox.push(frame) {
            tracing::error!(%error, "a message to the agent is too long");
        }
    }

    fn flush(&mut self, poller: &Poller, token: Token, now: BootMillis) {
        if self.outbox.queued() > FLOODED {
            return self.kill(poller, "the agent reads less than it asks for");
        }
        loop {
            while self.outbox.queued() < QUEUED
                && let (Some(session), Some(report)) = (self.session, self.reports.pop_front())
            {
                let report = match report {
                    Told::Attempt(report) => v1::Report::from(&report),
                    Told::Unit(report) => wire::unit_report(&report),
                    Told::Log(id, part) => wire::log_report(id, part),
                    Told::Vitals(batch) => wire::vitals_report(&batch),
                    Told::Leases(asked) => wire::leases_report(&asked),
                    Told::Places(places) => wire::places_report(&places),
                };
                let bytes = report.encode_to_vec().into();
                self.push(ToAgent::Report { session, bytes });
            }
            let before = self.outbox.queued();
            let flushed = self.outbox.flush(&mut &self.socket);
            let moved = self.outbox.queued() < before;
            match flushed {
                Ok(true) if self.reports.is_empty() => return self.unblocked(poller, token),
                Ok(true) => {}
                Ok(false) => return self.blocked(poller, token, now, moved),
                // That the agent ended shows by reading, or as the end of a child.
                Err(_) => return,
            }
        }
    }

    fn blocked(&mut self, poller: &Poller, token: Token, now: BootMillis, moved: bool) {
        if self.blocked_since.is_none() {
            let _ = poller.change(&self.socket, token, Interest::ReadWrite);
        }
        if moved || self.blocked_since.is_none() {
            self.blocked_since = Some(now);
        }
    }

    fn unblocked(&mut self, poller: &Poller, token: Token) {
        if self.blocked_since.take().is_some() {
            let _ = poller.change(&self.socket, token, Interest::Read);
        }
    }

    fn kill(&mut self, poller: &Poller, why: &'static str) {
        if !self.dying {
            tracing::info!(pid = self.pid, why, "killing the agent");
            self.dying = true;
            self.blocked_since = None;
            let _ = pidfd_send_signal(&self.pidfd, Signal::KILL);
            poller.remove(&self.socket);
        }
    }
}

/// What an agent's environment holds.
fn environment() -> Vec<CString> {
    let passed = PASSED_ON.iter().filter_map(|name| {
        let value = std::env::var_os(name)?;
        CString::new([name.as_bytes(), b"=", &value.into_vec()].concat()).ok()
    });
    let answers = CString::new(format!("{ANSWERS}=1"));
    passed.chain(answers).chain([c"PATH=/usr/bin:/bin".to_owned()]).collect()
}
