//! One attempt, from its process to its end.
//!
//! ```text
//!            exits             both pipes at their end, or 2 s later
//! running ─────────→ draining ────────────────────────────────────────→ closing ─→ over
//!    │  timeout, cancel, or its process cannot be found (after a crash)     ↑
//!    └─────────────→ ending: TERM, grace, KILL ── nothing is left, or 1 s ──┘
//! ```
//!
//! From *closing* on it is certain how the attempt ended. Its user's launcher knows what it wrote,
//! and is asked then. If the launcher has already said that both pipes are at their end, the
//! attempt is over at once.
//!
//! What holds: an end that came before the TERM is the one that is reported. Of several reasons to
//! end an attempt the first is reported. Nothing that the attempt started survives `ending`; what
//! it left behind after it exited by itself lives on. Lengths are measured on a clock that counts
//! through suspend.
//!
//! Left to others: when an attempt may start and what is durable (the spool), how its process is
//! made (`start.rs`), and which its processes are if it has no cgroup (`hunt.rs`).

use std::{io, rc::Rc, time::Duration};

use orchestra_model::{
    Timestamp,
    delivery::{AttemptEnd, AttemptKey, Outcome, Output},
    limits,
    score::Interface,
};
use rustix::{
    fd::{AsFd, OwnedFd},
    fs::AtFlags,
    process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid},
};

use super::{
    cgroup::Leaf,
    clock::{self, BootMillis},
    hunt::Trail,
    kept::Kept,
    launcher::{Account, Born, TapId},
    procfs, response,
    stream::Stream,
    sys,
};

/// How long output is awaited after the exit. It is bounded because a daemon that was left on
/// purpose may hold the pipes for ever.
const DRAIN: Duration = Duration::from_secs(2);
/// How long after KILL the end is reported even if something is left. The end is promised within
/// grace and 1 s.
const LAST_LOOK: Duration = Duration::from_millis(900);
/// Why an attempt is lost whose process was not our child.
const VANISHED: &str = "the kernel does not say how its process ended, which another reaped";
/// While ending: the first and the longest wait (ms) before a look whether anything is left. A look
/// is cheap with a cgroup; without one it is a walk through `/proc`.
const LOOK: (u64, u64) = (10, 500);

/// An attempt that has not been settled.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) key: AttemptKey,
    /// Its processes' cgroup.
    pub(crate) leaf: Option<Leaf>,
    /// Its first process.
    pub(crate) main: Option<Main>,
    /// Whether this sitter made it.
    pub(crate) ours: bool,
    /// Whether no other attempt has lived since it started.
    pub(crate) alone: bool,
    /// When it started, in wall time; `None` if that is not known.
    pub(crate) started_at: Option<Timestamp>,
    /// When it is timed out.
    pub(crate) deadline: BootMillis,
    /// Whether standard output is a response.
    pub(crate) interface: Interface,
    /// Standard output and standard error.
    pub(crate) streams: Streams,
    pub(crate) phase: Phase,
}

/// What an attempt writes.
#[derive(Debug)]
pub(crate) struct Streams {
    /// The launcher's name for them; `None` if no launcher reads them.
    pub(crate) tap: Option<TapId>,
    /// The attempt's directory; `None` if it is gone.
    pub(crate) directory: Option<Rc<OwnedFd>>,
    /// How many first bytes are kept of each.
    pub(crate) limit: u64,
    /// What the launcher has told of them.
    pub(crate) told: Told,
    /// Whether some output may have been lost.
    pub(crate) cut: bool,
}

/// What a launcher has told of an attempt's streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// Nothing: it still reads them.
    Nothing,
    /// Nothing yet: it was asked.
    Asked,
    /// This account, which is final.
    Account(Account),
}

/// The first process of an attempt.
#[derive(Debug)]
pub(crate) struct Main {
    /// Its number, and that of its group and session.
    pub(crate) pid: i32,
    /// When it started, in clock ticks since boot.
    pub(crate) start_ticks: u64,
    pub(crate) pidfd: OwnedFd,
    /// Whether it is our child, so that we are told its end.
    pub(crate) child: bool,
    /// Whether it has ended and was reaped. Then its number may be that of another process.
    pub(crate) gone: bool,
}

/// What is known of the end of a process that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The wait status.
    Known(i32),
    /// It will be known when its parent has reaped it: then the pidfd hangs up.
    Later,
    /// It will never be known.
    Unknowable,
}

/// How far an attempt is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Its process runs.
    Running,
    /// Its process exited; output may follow.
    Draining {
        /// How it exited.
        outcome: Outcome,
        /// When waiting for output ends.
        until: BootMillis,
    },
    /// It is being killed.
    Ending {
        why: Why,
        /// When KILL follows the TERM.
        kill_at: BootMillis,
        /// Whether KILL was sent.
        killed: bool,
        /// When to look next whether anything is left.
        look_at: BootMillis,
        /// The last wait before a look, in milliseconds.
        waited: u64,
    },
    /// It is known how it ended. Its launcher is asked what it wrote.
    Closing(Outcome),
    /// It is over.
    Over(Outcome),
}

/// Returns the phase of a lost attempt. It is killed at once, because no process is left that would
/// take a TERM.
pub(crate) fn lost(why: &'static str, now: BootMillis) -> Phase {
    Phase::Ending { why: Why::Lost(why), kill_at: now, killed: false, look_at: now, waited: 0 }
}

/// Why an attempt is ended from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// Its timeout ran out.
    TimedOut,
    /// It was cancelled.
    Cancelled,
    /// Its first process cannot be found, so its end will never be known.
    Lost(&'static str),
}

impl Attempt {
    /// Takes the end of its first process.
    pub(crate) fn main_ended(&mut self, wait_status: i32, now: BootMillis) {
        if let Some(main) = &mut self.main {
            main.gone = true;
        }
        match &mut self.phase {
            Phase::Running => {
                let until = now.after(DRAIN.as_millis() as u64);
                self.phase = Phase::Draining { outcome: outcome(wait_status), until };
            }
            Phase::Ending { look_at, .. } => *look_at = now,
            Phase::Draining { .. } | Phase::Closing(_) | Phase::Over(_) => {}
        }
    }

    /// Takes that its first process ended in a way that will never be known.
    pub(crate) fn main_vanished(&mut self, now: BootMillis) {
        if let Some(main) = &mut self.main {
            main.gone = true;
        }
        match &mut self.phase {
            Phase::Running => self.phase = lost(VANISHED, now),
            Phase::Ending { look_at, .. } => *look_at = now,
            Phase::Draining { .. } | Phase::Closing(_) | Phase::Over(_) => {}
        }
    }

    /// Begins to end the attempt, unless it has ended by itself or is being ended already.
    pub(crate) fn end(&mut self, why: Why, grace: Duration, now: BootMillis) {
        if self.phase != Phase::Running {
            return;
        }
        if let Some(wait_status) = self.main.as_mut().and_then(Main::ended) {
            self.main_ended(wait_status, now);
            return;
        }
        tracing::info!(attempt = %self.key, ?why, "ending an attempt");
        if let Some(main) = &self.main {
            main.signal_group(Signal::TERM);
        }
        self.phase = Phase::Ending {
            why,
            kill_at: now.after(grace.as_millis() as u64),
            killed: false,
            look_at: now.after(LOOK.0),
            waited: LOOK.0,
        };
    }

    /// Stops waiting for output, because how the attempt exited is known in memory alone.
    pub(crate) fn hurry_output(&mut self) {
        if let Phase::Draining { outcome, .. } = &self.phase {
            self.finish(outcome.clone());
        }
    }

    /// Takes how the attempt ended. From now on that does not change.
    fn finish(&mut self, outcome: Outcome) {
        self.phase = match self.streams.told {
            Told::Account(_) => Phase::Over(outcome),
            Told::Nothing | Told::Asked => Phase::Closing(outcome),
        };
    }

    /// Takes what its launcher told of its streams.
    pub(crate) fn accounted(&mut self, account: Account) {
        self.streams.told = Told::Account(account);
        if let Phase::Closing(outcome) = &self.phase {
            self.phase = Phase::Over(outcome.clone());
        }
    }

    /// Notes that another launcher reads its streams. Returns whether output may have been lost: a
    /// pipe keeps its content only while some process has it open, as the attempt's first process
    /// does while it lives.
    pub(crate) fn taken_over(&mut self) -> bool {
        self.streams.cut |= self.phase != Phase::Running;
        self.streams.cut
    }

    /// Kills an attempt that is being ended without further grace.
    pub(crate) fn hurry_end(&mut self, now: BootMillis) {
        if let Phase::Ending { kill_at, .. } = &mut self.phase {
            *kill_at = now.min(*kill_at);
        }
    }

    /// Does what is due. `trail` tells the attempt's processes if it has no cgroup.
    pub(crate) fn tick(&mut self, grace: Duration, now: BootMillis, trail: impl Fn() -> Trail) {
        match &self.phase {
            Phase::Running if now >= self.deadline => self.end(Why::TimedOut, grace, now),
            Phase::Draining { outcome, until } if now >= *until || self.is_dry() => {
                self.finish(outcome.clone());
            }
            Phase::Ending { look_at, kill_at, killed, .. }
                if now >= *look_at || (!*killed && now >= *kill_at) =>
            {
                self.look(now, &trail());
            }
            _ => {}
        }
    }

    /// When [`Attempt::tick`] has something to do.
    pub(crate) fn next_deadline(&self) -> Option<BootMillis> {
        match &self.phase {
            Phase::Running => Some(self.deadline),
            Phase::Draining { .. } if self.is_dry() => Some(BootMillis::default()),
            Phase::Draining { until, .. } => Some(*until),
            Phase::Ending { look_at, kill_at, killed: false, .. } => Some(*look_at.min(kill_at)),
            Phase::Ending { look_at, .. } => Some(*look_at),
            Phase::Closing(_) | Phase::Over(_) => None,
        }
    }

    /// Whether nothing more can come from its pipes.
    fn is_dry(&self) -> bool {
        self.streams.are_over()
    }

    /// Returns the end that is to be reported; `None` while the attempt is not over.
    pub(crate) fn report(&self) -> Option<AttemptEnd> {
        let Phase::Over(outcome) = &self.phase else {
            return None;
        };
        let [stdout, stderr] =
            [Stream::Stdout, Stream::Stderr].map(|stream| self.streams.kept(stream).transpose());
        let response = match (&stdout, self.interface) {
            (Some(Ok(stdout)), Interface::Pipe) => stdout.lines().and_then(response::parse),
            _ => Ok(Default::default()),
        };
        let response = response.unwrap_or_else(|error| {
            tracing::warn!(attempt = %self.key, %error, "cannot read a response back");
            Default::default()
        });
        Some(AttemptEnd {
            outcome: outcome.clone(),
            started_at: self.started_at,
            ended_at: clock::wall(),
            response,
            stdout: output(self.key, stdout),
            stderr: output(self.key, stderr),
        })
    }

    /// Looks what is left of an attempt that is being ended, and kills it when its grace is over.
    fn look(&mut self, now: BootMillis, trail: &Trail) {
        let main_gone = self.main.as_mut().is_none_or(Main::is_gone);
        let nothing_left = main_gone
            && match &self.leaf {
                Some(leaf) => leaf.is_empty(),
                None => trail.is_gone(),
            };
        let Phase::Ending { why, kill_at, killed, look_at, waited } = &mut self.phase else {
            return;
        };
        let given_up = *killed && now >= kill_at.after(LAST_LOOK.as_millis() as u64);
        if nothing_left || given_up {
            if !nothing_left {
                tracing::error!(attempt = %self.key, "processes outlive their KILL");
            }
            let outcome = why.outcome();
            return self.finish(outcome);
        }
        if now >= *kill_at {
            if !*killed {
                // The time until the last look begins now, even if the KILL is late.
                (*killed, *kill_at, *waited) = (true, now, LOOK.0);
            }
            kill(self.main.as_ref(), self.leaf.as_ref(), trail);
        }
        *waited = (*waited * 2).min(LOOK.1);
        *look_at = now.after(*waited);
        if *killed {
            *look_at = (*look_at).min(kill_at.after(LAST_LOOK.as_millis() as u64));
        } else {
            *look_at = (*look_at).min(*kill_at);
        }
    }

    /// Kills everything at once and reports nothing, for a player that is to leave nothing behind.
    /// Returns whether nothing is left.
    pub(crate) fn kill_now(&mut self, trail: &Trail) -> bool {
        kill(self.main.as_ref(), self.leaf.as_ref(), trail);
        self.main.as_mut().is_none_or(Main::is_gone)
            && self.leaf.as_ref().map_or_else(|| trail.is_gone(), Leaf::is_empty)
    }
}

fn kill(main: Option<&Main>, leaf: Option<&Leaf>, trail: &Trail) {
    if let Some(main) = main {
        main.signal_group(Signal::KILL);
    }
    match leaf {
        Some(leaf) => leaf.kill(),
        None => drop(trail.kill()),
    }
}

impl Streams {
    /// Returns the streams of an attempt whose directory is gone.
    pub(crate) fn gone() -> Self {
        let nothing = Told::Account(Account { over: true, written: None });
        Self { tap: None, directory: None, limit: 0, told: nothing, cut: false }
    }

    /// Returns whether no process can write to them any more.
    pub(crate) fn are_over(&self) -> bool {
        matches!(self.told, Told::Account(account) if account.over)
    }

    /// Returns whether nothing was written; `None` if that is not known.
    pub(crate) fn are_silent(&self) -> Option<bool> {
        match self.told {
            Told::Account(Account { written: Some(written), .. }) => {
                Some(written.iter().all(|written| written.total == 0))
            }
            _ => None,
        }
    }

    /// Returns how much the file of a stream holds, if that is more than the attempt's end tells. Where nobody
    /// knows what was written, the end tells the first and the last of what the file has.
    pub(crate) fn more_than_told(&self, stream: Stream) -> Option<u64> {
        let Told::Account(Account { written, .. }) = self.told else { return None };
        let (held, told) = match (written, stream) {
            (Some([stdout, _]), Stream::Stdout) => stdout.held_and_told(),
            (Some([_, stderr]), Stream::Stderr) => stderr.held_and_told(),
            (None, _) => {
                let directory = self.directory.as_ref()?;
                let flags = AtFlags::SYMLINK_NOFOLLOW;
                let found = rustix::fs::statat(directory, stream.file(), flags).ok()?;
                let most = limits::OUTPUT_HEAD_BYTES + limits::OUTPUT_TAIL_BYTES;
                (u64::try_from(found.st_size).ok()?, most as u64)
            }
        };
        (held > told).then_some(held)
    }

    /// Returns how many first bytes of a stream's file count, if it could not be written on.
    pub(crate) fn broken_at(&self, stream: Stream) -> Option<u64> {
        let Told::Account(Account { written: Some([stdout, stderr]), .. }) = self.told else {
            return None;
        };
        let written = if stream == Stream::Stdout { stdout } else { stderr };
        written.broken.map(|broken| broken.at)
    }

    /// Returns what was kept of a stream; `None` if the directory is gone.
    pub(crate) fn kept(&self, stream: Stream) -> io::Result<Option<Kept>> {
        let written = match self.told {
            Told::Account(Account { written, .. }) => written,
            Told::Nothing | Told::Asked => None,
        };
        let written = written.map(|[stdout, stderr]| match stream {
            Stream::Stdout => stdout,
            Stream::Stderr => stderr,
        });
        let directory = self.directory.as_ref();
        let open = |directory: &Rc<OwnedFd>| {
            let kept = Kept::open(directory.as_fd(), stream, self.limit, written)?;
            Ok(if self.cut { kept.cut() } else { kept })
        };
        directory.map(open).transpose()
    }
}

/// Returns the output that is reported with the end. If it is not known what was written, the
/// output says so, which differs from no output.
fn output(key: AttemptKey, kept: Option<io::Result<Kept>>) -> Output {
    let unknown = Output { truncated: true, ..Output::default() };
    match kept {
        None => unknown,
        Some(kept) => kept.and_then(|kept| kept.output()).unwrap_or_else(|error| {
            tracing::warn!(attempt = %key, %error, "cannot read an attempt's output back");
            unknown
        }),
    }
}

impl Main {
    /// Returns the first process that a launcher made. If it has ended, the caller has to take its
    /// end.
    pub(crate) fn born(born: Born) -> Self {
        let Born { pid, start_ticks, pidfd, .. } = born;
        Self { pid, start_ticks, pidfd, child: true, gone: false }
    }

    /// Returns whether it has ended and was not reaped.
    pub(crate) fn is_zombie(&self) -> bool {
        procfs::Stat::of(self.pid)
            .is_some_and(|stat| stat.zombie && stat.start_ticks == self.start_ticks)
    }

    /// Returns the wait status if the process has ended. This reaps a child of ours.
    pub(crate) fn ended(&mut self) -> Option<i32> {
        if self.gone {
            return None;
        }
        let status = if self.child { self.reap() } else { self.foreign_end() };
        self.gone = status.is_some();
        status
    }

    /// Returns what is known of the end of a process whose pidfd is ready.
    pub(crate) fn ended_or_unknowable(&mut self) -> End {
        if let Some(wait_status) = self.ended() {
            return End::Known(wait_status);
        }
        let waits_to_be_reaped = self.is_zombie();
        match sys::exit_of(self.pidfd.as_fd()) {
            Ok(Some(wait_status)) => End::Known(wait_status),
            Ok(None) if waits_to_be_reaped => End::Later,
            _ => End::Unknowable,
        }
    }

    /// Returns whether the process does not exist any more.
    pub(crate) fn is_gone(&mut self) -> bool {
        self.gone = self.gone
            || procfs::Stat::of(self.pid)
                .is_none_or(|stat| stat.zombie || stat.start_ticks != self.start_ticks);
        self.gone
    }

    fn reap(&self) -> Option<i32> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        let ended = waitid(WaitId::PidFd(self.pidfd.as_fd()), options).ok()??;
        let code = ended.exit_status().map(|code| code << 8);
        code.or_else(|| ended.terminating_signal())
    }

    /// Returns the wait status of a process that is not our child. Before it is reaped the kernel
    /// shows the status in `/proc`, afterwards through the pidfd.
    fn foreign_end(&self) -> Option<i32> {
        procfs::exit_of_zombie(self.pid, self.start_ticks)
            .or_else(|| sys::exit_of(self.pidfd.as_fd()).ok().flatten())
    }

    pub(crate) fn signal_group(&self, signal: Signal) {
        let sent = sys::signal_group(self.pidfd.as_fd(), signal);
        // Kernels before 6.9. While the process is not reaped the number is certainly its own.
        if sent.is_err_and(|error| error.kind() == io::ErrorKind::InvalidInput)
            && !self.gone
            && let Some(pid) = Pid::from_raw(self.pid)
        {
            let _ = kill_process_group(pid, signal);
        }
    }
}

impl Why {
    fn outcome(&self) -> Outcome {
        match self {
            Why::TimedOut => Outcome::TimedOut,
            Why::Cancelled => Outcome::Cancelled,
            Why::Lost(why) => Outcome::Lost((*why).to_owned()),
        }
    }
}

/// Returns the outcome that a wait status tells. Death by a signal differs from every exit code.
fn outcome(wait_status: i32) -> Outcome {
    match wait_status & 0x7f {
        0 => Outcome::Exited(wait_status >> 8 & 0xff),
        signal => Outcome::Signalled(signal),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_status_is_read_as_the_kernel_makes_it() {
        assert_eq!(outcome(0), Outcome::Exited(0));
        assert_eq!(outcome(3 << 8), Outcome::Exited(3));
        assert_eq!(outcome(255 << 8), Outcome::Exited(255));
        assert_eq!(outcome(9), Outcome::Signalled(9));
        // The status with a core dump.
        assert_eq!(outcome(11 | 0x80), Outcome::Signalled(11));
    }
}
