//! Probers, as the sitter has them: which there are, which questions are open, and what becomes of
//! those when a prober is gone.
//!
//! A prober is made when there is something to ask. Like the agent it is made by a launcher, and
//! runs as a user of its own. Ports are probed as `prober_user`. Sockets in a run directory are
//! probed as the unit's user: nobody else can open them, and so the prober opens nothing that the
//! unit could not open itself.
//!
//! A prober that runs as a unit's user has that user's processes beside it, which may stop or kill it.
//! They must not take its socket to the sitter: through it they could send descriptors, and whoever
//! takes a descriptor off a socket may wait for whoever keeps a pipe's lock. So a prober executes a copy
//! of the player that nobody may read (`memory_file.rs`).
//!
//! The sitter waits for no prober. The outcome of a question that cannot be asked at once is
//! *unknown*: there is no prober, or it takes no more questions. A prober that owes an answer for
//! longer than [`STUCK`] is killed, its open questions are unknown, and another one is made after a
//! pause that grows.

use std::{collections::BTreeMap, ffi::CString, io, path::Path};

use orchestra_model::Millis;
use orchestra_units::{ProbeNumber, ProbeOutcome, UnitKey};
use rustix::{
    fd::{AsFd, OwnedFd},
    fs::{Mode, OFlags},
    io::Errno,
    net::{AddressFamily, SocketFlags, SocketType, socketpair},
    process::{Signal, pidfd_send_signal},
};

use super::{
    clock::BootMillis,
    launcher::{Born, Launched, Launchers, NotSent, Request},
    memory_file,
    poll::{Interest, Poller, Token},
    start::Newborn,
    sys::{Identity, Settings},
};
use crate::prober::{self, wire};

/// How long beyond its timeout a question may be open (ms) before its prober counts as stuck.
const STUCK: u64 = 10_000;
/// A prober that lived so long (ms) did not fail.
const LIVED: u64 = 60_000;
/// The pause (ms) after a second failure in a row, and the longest pause.
const PAUSE: (u64, u64) = (250, 60_000);
/// Most messages of answers that are taken from one prober in a turn.
const TURN: usize = 128;

/// What came of a question.
pub(super) type Answer = (UnitKey, ProbeNumber, ProbeOutcome);

/// Every prober.
pub(super) struct Probers {
    first_token: Token,
    /// One for each user; the index of each follows from its token.
    all: Vec<Prober>,
    inbox: wire::Inbox,
    /// What each of them executes; `None` before the first one.
    program: Option<OwnedFd>,
}

struct Prober {
    token: Token,
    user: Option<Identity>,
    state: State,
    /// Failures in a row.
    failures: u32,
    open: BTreeMap<ProbeNumber, Open>,
}

struct Open {
    unit: UnitKey,
    /// When its prober counts as stuck.
    until: BootMillis,
}

enum State {
    /// There is no process, and none is made before this moment.
    Down(BootMillis),
    /// Its launcher was asked for it. Questions meanwhile wait in its socket.
    Starting(OwnedFd),
    Up {
        pid: i32,
        pidfd: OwnedFd,
        socket: OwnedFd,
        since: BootMillis,
    },
}

/// A question for a prober.
pub(super) struct Asked<'a> {
    pub(super) unit: UnitKey,
    pub(super) number: ProbeNumber,
    pub(super) call: &'a wire::Call,
    pub(super) timeout: Millis,
    /// The run directory, if a socket in it is probed.
    pub(super) run_dir: Option<OwnedFd>,
    /// The user as whom to ask.
    pub(super) user: Option<Identity>,
}

impl Probers {
    /// Returns no probers yet. `first_token` and the tokens that follow are theirs.
    pub(super) fn new(first_token: Token) -> Self {
        Self { first_token, all: Vec::new(), inbox: wire::Inbox::new(), program: None }
    }

    /// Returns the numbers of their processes.
    pub(super) fn pids(&self) -> impl Iterator<Item = i32> {
        self.all.iter().filter_map(|prober| match prober.state {
            State::Up { pid, .. } => Some(pid),
            State::Down(_) | State::Starting(_) => None,
        })
    }

    /// Asks a question. Returns whether that was possible.
    pub(super) fn ask(
        &mut self,
        asked: Asked<'_>,
        poller: &Poller,
        launchers: &mut Launchers<Newborn>,
        now: BootMillis,
    ) -> bool {
        let found = self.all.iter().position(|prober| prober.user == asked.user);
        let at = found.unwrap_or_else(|| {
            let token = Token(self.first_token.0 + self.all.len() as u64);
            self.all.push(Prober::new(token, asked.user.clone()));
            self.all.len() - 1
        });
        let Self { all, program, .. } = self;
        let prober = all.get_mut(at);
        prober.is_some_and(|prober| prober.ask(asked, program, poller, launchers, now))
    }

    /// Takes the answers of a prober. If it has ended, or talks nonsense, its open questions are
    /// unknown.
    pub(super) fn receive(&mut self, token: Token, now: BootMillis) -> Vec<Answer> {
        let Self { all, inbox, .. } = self;
        let Some(prober) = all.iter_mut().find(|prober| prober.token == token) else {
            return Vec::new();
        };
        let mut answers = Vec::new();
        for _ in 0..TURN {
            let Some(socket) = prober.socket() else { break };
            let said = match inbox.receive(socket) {
                Ok(Some((bytes, _))) => wire::decode_answers(bytes),
                Err(Errno::AGAIN) => break,
                Ok(None) | Err(_) => None,
            };
            let Some(said) = said else {
                answers.extend(prober.lose("it is at its end, or makes no sense", now));
                break;
            };
            for (number, outcome) in said {
                if let Some(open) = prober.open.remove(&ProbeNumber(number)) {
                    answers.push((open.unit, ProbeNumber(number), outcome));
                }
            }
        }
        answers
    }

    /// Takes the end of the child `pid`. If it was a prober, returns unknown answers to its open
    /// questions.
    pub(super) fn ended(&mut self, pid: i32, now: BootMillis) -> Option<Vec<Answer>> {
        let is_it =
            |prober: &&mut Prober| matches!(prober.state, State::Up { pid: own, .. } if own == pid);
        let prober = self.all.iter_mut().find(is_it)?;
        Some(prober.lose("it ended", now))
    }

    /// Takes what came of the request for a prober.
    pub(super) fn launched(
        &mut self,
        token: Token,
        came: Launched,
        now: BootMillis,
    ) -> Vec<Answer> {
        let Some(prober) = self.all.iter_mut().find(|prober| prober.token == token) else {
            return Vec::new();
        };
        let State::Starting(_) = prober.state else { return Vec::new() };
        let Launched::Born(Born { ended: None, pid, pidfd, .. }) = came else {
            return prober.lose("it could not be started", now);
        };
        let before = std::mem::replace(&mut prober.state, State::Down(now));
        if let State::Starting(socket) = before {
            tracing::info!(pid, "started a prober");
            prober.state = State::Up { pid, pidfd, socket, since: now };
        }
        Vec::new()
    }

    /// Ends probers that are stuck. Returns unknown answers to their open questions.
    pub(super) fn tick(&mut self, now: BootMillis) -> Vec<Answer> {
        let is_stuck = |prober: &&mut Prober| prober.next_deadline().is_some_and(|at| now >= at);
        let stuck = self.all.iter_mut().filter(is_stuck);
        stuck.flat_map(|prober| prober.lose("it does not answer", now)).collect()
    }

    /// When [`Probers::tick`] has something to do.
    pub(super) fn next_deadline(&self) -> Option<BootMillis> {
        self.all.iter().filter_map(Prober::next_deadline).min()
    }
}

impl Prober {
    fn new(token: Token, user: Option<Identity>) -> Self {
        let (state, open) = (State::Down(BootMillis::default()), BTreeMap::new());
        Self { token, user, state, failures: 0, open }
    }

    fn socket(&self) -> Option<&OwnedFd> {
        match &self.state {
            State::Starting(socket) | State::Up { socket, .. } => Some(socket),
            State::Down(_) => None,
        }
    }

    fn next_deadline(&self) -> Option<BootMillis> {
        self.open.values().map(|open| open.until).min()
    }

    fn ask(
        &mut self,
        asked: Asked<'_>,
        program: &mut Option<OwnedFd>,
        poller: &Poller,
        launchers: &mut Launchers<Newborn>,
        now: BootMillis,
    ) -> bool {
        if matches!(self.state, State::Down(at) if now >= at) {
            match start(self.token, &self.user, program, poller, launchers, now) {
                Ok(Some(socket)) => self.state = State::Starting(socket),
                Ok(None) => {}
                Err(error) => {
                    tracing::error!(error = %orchestra_model::chain(&error), "cannot start a prober");
                    drop(self.lose("it could not be asked for", now));
                }
            }
        }
        let Some(socket) = self.socket() else { return false };
        let Asked { unit, number, call, timeout, run_dir, .. } = asked;
        let bytes = wire::encode_question(number.0, call, timeout);
        let descriptors: Vec<_> = run_dir.iter().map(AsFd::as_fd).collect();
        if wire::send(socket, &bytes, &descriptors).is_err() {
            return false;
        }
        let until = now.after(timeout.0.saturating_add(STUCK));
        self.open.insert(number, Open { unit, until });
        true
    }

    /// Drops the prober's process, which has ended or is killed. Returns unknown answers to its
    /// open questions.
    fn lose(&mut self, why: &'static str, now: BootMillis) -> Vec<Answer> {
        let before = std::mem::replace(&mut self.state, State::Down(now));
        let since = match &before {
            State::Up { pidfd, since, .. } => {
                let _ = pidfd_send_signal(pidfd, Signal::KILL);
                Some(*since)
            }
            State::Starting(_) | State::Down(_) => None,
        };
        let lived = since.is_some_and(|since| now >= since.after(LIVED));
        self.failures = if lived { 1 } else { self.failures.saturating_add(1) };
        let pause = match self.failures {
            1 => 0,
            n => (PAUSE.0 << (n - 2).min(16)).min(PAUSE.1),
        };
        self.state = State::Down(now.after(pause));
        let open = std::mem::take(&mut self.open);
        tracing::warn!(why, pause_ms = pause, open = open.len(), "a prober is gone");
        open.into_iter().map(|(number, open)| (open.unit, number, ProbeOutcome::Unknown)).collect()
    }
}

/// Asks a launcher for a prober. Returns our end of its socket; `None` if the launcher has enough
/// to do just now.
fn start(
    token: Token,
    user: &Option<Identity>,
    program: &mut Option<OwnedFd>,
    poller: &Poller,
    launchers: &mut Launchers<Newborn>,
    now: BootMillis,
) -> io::Result<Option<OwnedFd>> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let (socket, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    let open =
        |path: &Path, flags: OFlags| rustix::fs::open(path, flags | OFlags::CLOEXEC, Mode::empty());
    let null = open(Path::new("/dev/null"), OFlags::RDONLY)?;
    // This very program, because sitter and prober must be of one build.
    let program = match program {
        Some(program) => program,
        None => program.insert(memory_file::own_program()?),
    };
    let (stdout, stderr) = (io::stdout(), io::stderr());
    const _: () = assert!(prober::SOCKET == 3);
    let arguments: [CString; 2] = [c"player".to_owned(), c"prober".to_owned()];
    let request = Request {
        program: program.as_fd(),
        arguments: &arguments,
        environment: &[],
        descriptors: &[null.as_fd(), stdout.as_fd(), stderr.as_fd(), theirs.as_fd()],
        tap: None,
        cgroup: None,
        limits: &[],
        settings: Settings::default(),
        no_new_privileges: true,
    };
    match launchers.send(poller, user, &request, None, Newborn::Prober(token), now) {
        Ok(()) => {}
        Err(NotSent::Later(_)) => return Ok(None),
        Err(NotSent::Never(_, error)) => return Err(io::Error::other(error)),
    }
    poller.add(&socket, token, Interest::Read)?;
    Ok(Some(socket))
}
