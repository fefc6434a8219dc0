//! The guard, as the sitter has it: whether there is one, and what becomes of it.
//!
//! A guard ([`crate::guard`]) ends runs whose leases are over while nobody else can. It is made when
//! a unit needs a lease, and by a launcher, as everything is. It outlives the sitter; the next sitter
//! finds it by its number and start in the book.
//!
//! While there is no guard that can act, no lease is asked for and none is taken. So if none can be
//! made, runs end with the leases that they have. One that ended is followed by another at once; one
//! that is stopped is killed first. In between the sitter itself keeps to the leases, so a run could
//! outlive its lease only if both are gone in the same moment.

use std::{ffi::CString, io};

use rustix::{
    fd::{AsFd, BorrowedFd, OwnedFd},
    fs::{Mode, OFlags},
    process::{Signal, getpid, pidfd_send_signal},
};

use super::{
    clock::BootMillis,
    launcher::{Born, Launched, Launchers, NotSent, Request},
    poll::{Interest, Poller, Token},
    procfs::{self, Stat},
    start::Newborn,
    sys::Settings,
};
use crate::guard::DIRECTORY;

/// The pause (ms) after a second failure in a row, and the longest pause.
const PAUSE: (u64, u64) = (250, 5_000);
/// A guard that lived so long (ms) did not fail.
const LIVED: u64 = 60_000;

/// The guard of this player's units.
pub(super) struct Guarding {
    token: Token,
    /// This sitter, and when it started (clock ticks since boot).
    sitter: Option<(i32, u64)>,
    state: State,
    /// Failures in a row.
    failures: u32,
}

enum State {
    /// There is no process, and none is made before this moment.
    Down(BootMillis),
    /// A launcher was asked for it.
    Starting,
    Up(Process),
}

struct Process {
    pid: i32,
    start_ticks: u64,
    pidfd: OwnedFd,
    since: BootMillis,
}

impl Guarding {
    /// Returns that there is no guard yet. A guard that an earlier sitter made is waited for by this
    /// token.
    pub(super) fn new(token: Token) -> Self {
        let own = getpid().as_raw_nonzero().get();
        let sitter = Stat::of(own).map(|stat| (own, stat.start_ticks));
        Self { token, sitter, state: State::Down(BootMillis::default()), failures: 0 }
    }

    /// The number of the sitter's process, and when that started (clock ticks since boot).
    pub(super) fn sitter(&self) -> Option<(i32, u64)> {
        self.sitter
    }

    /// The number of the guard's process, and when that started (clock ticks since boot).
    pub(super) fn process(&self) -> Option<(i32, u64)> {
        match &self.state {
            State::Up(process) => Some((process.pid, process.start_ticks)),
            State::Down(_) | State::Starting => None,
        }
    }

    /// Takes over the guard of an earlier sitter.
    pub(super) fn adopt(&mut self, poller: &Poller, (pid, start_ticks): (i32, u64)) {
        let Some((pidfd, _)) = procfs::open(pid, start_ticks) else { return };
        if let Err(error) = poller.add(&pidfd, self.token, Interest::Read) {
            return tracing::error!(%error, "cannot watch the guard");
        }
        tracing::info!(pid, "found the guard");
        self.state = State::Up(Process { pid, start_ticks, pidfd, since: BootMillis::now() });
    }

    /// Returns whether there is a guard that can act. One that somebody has stopped cannot: it is
    /// killed, and another follows.
    pub(super) fn is_up(&mut self, now: BootMillis) -> bool {
        let State::Up(process) = &self.state else { return false };
        let stat = Stat::of(process.pid).filter(|it| it.start_ticks == process.start_ticks);
        match stat {
            Some(stat) if !stat.zombie && !stat.stopped => true,
            Some(stat) if stat.stopped => {
                self.lose("it was stopped", now);
                false
            }
            // Its end is about to be told.
            _ => false,
        }
    }

    /// Has a guard made, if there is none. `directory` is where its book lies.
    pub(super) fn keep(
        &mut self,
        directory: BorrowedFd<'_>,
        poller: &Poller,
        launchers: &mut Launchers<Newborn>,
        now: BootMillis,
    ) {
        if !matches!(self.state, State::Down(at) if now >= at) {
            return;
        }
        match start(directory, poller, launchers, now) {
            Ok(true) => self.state = State::Starting,
            Ok(false) => {}
            Err(error) => {
                tracing::error!(error = %orchestra_model::chain(&error), "cannot start the guard");
                self.lose("it could not be asked for", now);
            }
        }
    }

    /// When [`Guarding::keep`] has something to do, if a guard is needed.
    pub(super) fn next_deadline(&self) -> Option<BootMillis> {
        match self.state {
            State::Down(at) => Some(at),
            State::Starting | State::Up(_) => None,
        }
    }

    /// Takes what came of the request for a guard.
    pub(super) fn launched(&mut self, poller: &Poller, came: Launched, now: BootMillis) {
        let Launched::Born(Born { ended: None, pid, pidfd, .. }) = came else {
            return self.lose("it could not be started", now);
        };
        let Some(stat) = Stat::of(pid) else { return self.lose("it ended", now) };
        if let Err(error) = poller.add(&pidfd, self.token, Interest::Read) {
            tracing::error!(%error, "cannot watch the guard");
            let _ = pidfd_send_signal(&pidfd, Signal::KILL);
            return self.lose("it cannot be watched", now);
        }
        tracing::info!(pid, "started the guard");
        let start_ticks = stat.start_ticks;
        self.state = State::Up(Process { pid, start_ticks, pidfd, since: now });
    }

    /// Takes that the guard has ended. `is_needed` says whether that is a failure.
    pub(super) fn ended(&mut self, poller: &Poller, is_needed: bool, now: BootMillis) {
        let State::Up(process) = &self.state else { return };
        poller.remove(&process.pidfd);
        match is_needed {
            true => self.lose("it ended", now),
            false => {
                tracing::info!("the guard has nothing left to guard");
                self.state = State::Down(now);
            }
        }
    }

    /// Kills the guard, because there is nothing left to guard.
    pub(super) fn kill(&mut self) {
        if let State::Up(process) = &self.state {
            let _ = pidfd_send_signal(&process.pidfd, Signal::KILL);
        }
        self.state = State::Down(BootMillis(u64::MAX));
    }

    /// Gives the guard up, which has ended or is killed.
    fn lose(&mut self, why: &'static str, now: BootMillis) {
        let mut lived = false;
        if let State::Up(process) = &self.state {
            let _ = pidfd_send_signal(&process.pidfd, Signal::KILL);
            lived = now >= process.since.after(LIVED);
        }
        self.failures = if lived { 1 } else { self.failures.saturating_add(1) };
        let pause = match self.failures {
            1 => 0,
            n => (PAUSE.0 << (n - 2).min(16)).min(PAUSE.1),
        };
        tracing::warn!(why, pause_ms = pause, "the guard is gone");
        self.state = State::Down(now.after(pause));
    }
}

/// Asks a launcher for a guard. Returns `false` if the launcher has enough to do just now.
fn start(
    directory: BorrowedFd<'_>,
    poller: &Poller,
    launchers: &mut Launchers<Newborn>,
    now: BootMillis,
) -> io::Result<bool> {
    let open = |path: &str| rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    // This very program, because sitter and guard must be of one build.
    let (null, program) = (open("/dev/null")?, open("/proc/self/exe")?);
    let (stdout, stderr) = (io::stdout(), io::stderr());
    const _: () = assert!(DIRECTORY == 3);
    let arguments: [CString; 2] = [c"player".to_owned(), c"guard".to_owned()];
    let request = Request {
        program: program.as_fd(),
        arguments: &arguments,
        environment: &[],
        descriptors: &[null.as_fd(), stdout.as_fd(), stderr.as_fd(), directory],
        tap: None,
        cgroup: None,
        limits: &[],
        settings: Settings::default(),
        no_new_privileges: true,
    };
    match launchers.send(poller, &None, &request, None, Newborn::Guard, now) {
        Ok(()) => Ok(true),
        Err(NotSent::Later(_)) => Ok(false),
        Err(NotSent::Never(_, error)) => Err(io::Error::other(error)),
    }
}
