//! One attempt, from its process to its end.
//!
//! ```text
//!            exits             both pipes at their end, or 2 s later
//! running ─────────→ draining ────────────────────────────────────────→ closing ─→ over
//!    │  timeout, cancel, or its process cannot be found (after a crash)     ↑
//!    └─────────────→ ending: TERM, grace, KILL ── nothing is left, or 1 s ──┘
//! ```
//!
//! How it ended is certain from *closing* on. What it wrote is with the launcher of its user, and is
//! asked for then; where the launcher has said already that both pipes are at their end, it is over at
//! once.
//!
//! What holds: a true end that came before the TERM wins; the first reason to end it is the one
//! that is reported; nothing that the attempt started survives `ending`, and whatever it left
//! behind after an exit of its own lives on. Lengths are measured on a clock that counts through
//! suspend.
//!
//! Left to others: when an attempt may start, what is durable (the spool), how its process is made
//! (`start.rs`), and what its processes are where it has no cgroup (`hunt.rs`).

use std::{io, rc::Rc, time::Duration};

use orchestra_model::{
    Timestamp,
    delivery::{AttemptEnd, AttemptKey, Outcome, Output},
    score::Interface,
};
use rustix::{
    fd::{AsFd, OwnedFd},
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

/// How long output may outlive the exit: a daemon that was left on purpose may hold the pipes for
/// ever.
const DRAIN: Duration = Duration::from_secs(2);
/// After KILL, how long the end may take before it is reported all the same: the end is promised
/// within grace and 1 s.
const LAST_LOOK: Duration = Duration::from_millis(900);
/// Why an attempt is lost whose process was another's child.
const VANISHED: &str = "the kernel does not say how its process ended, which another reaped";
/// While ending: the first wait before looking whether anything is left, and the longest. Looking
/// is cheap with a cgroup and costs a walk through `/proc` without.
const LOOK: (u64, u64) = (10, 500);

/// An attempt that has not been settled.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) key: AttemptKey,
    /// Its processes' cgroup.
    pub(crate) leaf: Option<Leaf>,
    /// Its first process.
    pub(crate) main: Option<Main>,
    /// Made by this sitter.
    pub(crate) ours: bool,
    /// No other attempt has lived since it started.
    pub(crate) alone: bool,
    /// When it started, in wall time; `None` where that was never learnt.
    pub(crate) started_at: Option<Timestamp>,
    /// When it is timed out.
    pub(crate) deadline: BootMillis,
    /// Whether standard output is a response.
    pub(crate) interface: Interface,
    /// Standard output and standard error.
    pub(crate) streams: Streams,
    /// Where it is.
    pub(crate) phase: Phase,
}

/// What an attempt writes.
#[derive(Debug)]
pub(crate) struct Streams {
    /// What its launcher calls them; `None` where nobody reads them.
    pub(crate) tap: Option<TapId>,
    /// The attempt's directory; `None` where it is gone.
    pub(crate) directory: Option<Rc<OwnedFd>>,
    /// How many first bytes are kept of each.
    pub(crate) limit: u64,
    /// What is known of them.
    pub(crate) told: Told,
    /// Something may have been lost.
    pub(crate) cut: bool,
}

/// What a launcher told of what an attempt wrote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// Nothing; it reads.
    Nothing,
    /// It was asked.
    Asked,
    /// This, and no more is to be known.
    Account(Account),
}

/// The first process of an attempt.
#[derive(Debug)]
pub(crate) struct Main {
    /// Its number, its group's and its session's.
    pub(crate) pid: i32,
    /// When it started, in clock ticks since boot.
    pub(crate) start_ticks: u64,
    /// Itself.
    pub(crate) pidfd: OwnedFd,
    /// Whether its end comes to us as its parent.
    pub(crate) child: bool,
    /// Whether it has ended and the kernel has forgotten it: its number may be somebody else's.
    pub(crate) gone: bool,
}

/// What can be said of the end of a process that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// As `wait` says it.
    Known(i32),
    /// It will be known when its parent has asked: the pidfd hangs up then.
    Later,
    /// Never.
    Unknowable,
}

/// Where an attempt is.
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
        /// When TERM becomes KILL.
        kill_at: BootMillis,
        /// Whether that has happened.
        killed: bool,
        /// When to see what is left.
        look_at: BootMillis,
        /// How long the last wait before looking was, in milliseconds.
        waited: u64,
    },
    /// How it ended is known. What it wrote is being asked for.
    Closing(Outcome),
    /// Nothing more happens.
    Over(Outcome),
}

/// To be killed at once: there is nobody to whom a TERM would mean anything.
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
    /// Its first process cannot be found, so how it ended will never be known.
    Lost(&'static str),
}

impl Attempt {
    /// Its first process ended, as `wait` says it.
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

    /// Its first process ended, and nobody will ever say how.
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

    /// Ends it from outside, unless it has ended by itself or is being ended already.
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

    /// Waits no longer for output that may come: the exit is known, and in memory alone.
    pub(crate) fn hurry_output(&mut self) {
        if let Phase::Draining { outcome, .. } = &self.phase {
            self.finish(outcome.clone());
        }
    }

    /// How it ended is certain.
    fn finish(&mut self, outcome: Outcome) {
        self.phase = match self.streams.told {
            Told::Account(_) => Phase::Over(outcome),
            Told::Nothing | Told::Asked => Phase::Closing(outcome),
        };
    }

    /// Its launcher told what it wrote.
    pub(crate) fn accounted(&mut self, account: Account) {
        self.streams.told = Told::Account(account);
        if let Phase::Closing(outcome) = &self.phase {
            self.phase = Phase::Over(outcome.clone());
        }
    }

    /// Another launcher reads what it writes. Whether something may have been lost: a pipe lasts as long
    /// as somebody has it open, and its first process has while it lives.
    pub(crate) fn taken_over(&mut self) -> bool {
        self.streams.cut |= self.phase != Phase::Running;
        self.streams.cut
    }

    /// Gives what is being ended no more grace.
    pub(crate) fn hurry_end(&mut self, now: BootMillis) {
        if let Phase::Ending { kill_at, .. } = &mut self.phase {
            *kill_at = now.min(*kill_at);
        }
    }

    /// Does what is due. `trail` says what its processes are where it has no cgroup.
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

    /// Its end, to be reported; `None` while it is not over.
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

    /// Sees what is left of an attempt that is being ended, and kills it when its time is up.
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
                // Its last look is counted from now, however late this is.
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

    /// Kills everything at once, without grace or a word: the player is to leave nothing behind.
    /// Whether nothing is left.
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
    /// Those of an attempt that has no directory any more.
    pub(crate) fn gone() -> Self {
        let nothing = Told::Account(Account { over: true, written: None });
        Self { tap: None, directory: None, limit: 0, told: nothing, cut: false }
    }

    /// Whether nobody can write to them any more.
    pub(crate) fn are_over(&self) -> bool {
        matches!(self.told, Told::Account(account) if account.over)
    }

    /// Whether it is known that nothing was said; `None` where nobody can say what was.
    pub(crate) fn are_silent(&self) -> Option<bool> {
        match self.told {
            Told::Account(Account { written: Some(written), .. }) => {
                Some(written.iter().all(|written| written.total == 0))
            }
            _ => None,
        }
    }

    /// What was kept of one of them; `None` where there is nothing to look at.
    fn kept(&self, stream: Stream) -> io::Result<Option<Kept>> {
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

/// What travels with the result. Where there is nothing to look at, nobody knows what was written:
/// that is not the same as nothing.
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
    /// That of a newborn of ours. How it ended, if it has, is left to the caller.
    pub(crate) fn born(born: Born) -> Self {
        let Born { pid, start_ticks, pidfd, .. } = born;
        Self { pid, start_ticks, pidfd, child: true, gone: false }
    }

    /// Whether it has ended and nobody has asked how.
    pub(crate) fn is_zombie(&self) -> bool {
        procfs::Stat::of(self.pid)
            .is_some_and(|stat| stat.zombie && stat.start_ticks == self.start_ticks)
    }

    /// How it ended, if it has, as `wait` says it. Our own child is reaped by this.
    pub(crate) fn ended(&mut self) -> Option<i32> {
        if self.gone {
            return None;
        }
        let status = if self.child { self.reap() } else { self.foreign_end() };
        self.gone = status.is_some();
        status
    }

    /// The same, once its pidfd says that there is something to know.
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

    /// Whether it is no process any more, whatever is known of its end.
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

    /// The end of a process that is not our child: while nobody has reaped it the kernel shows its
    /// status in `/proc`, and afterwards through the pidfd.
    fn foreign_end(&self) -> Option<i32> {
        procfs::exit_of_zombie(self.pid, self.start_ticks)
            .or_else(|| sys::exit_of(self.pidfd.as_fd()).ok().flatten())
    }

    pub(crate) fn signal_group(&self, signal: Signal) {
        let sent = sys::signal_group(self.pidfd.as_fd(), signal);
        // Kernels before 6.9. The number is certainly ours while the process is not reaped.
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

/// Death by signal is told apart from any exit code.
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
        // With a core dump.
        assert_eq!(outcome(11 | 0x80), Outcome::Signalled(11));
    }
}
