//! Processes as `/proc` tells them, and killing all children.
//!
//! A process is known by its number together with its start time, because the number alone may
//! belong to another process by now. Only children are signalled by number, and only by the process
//! that reaps them: before that their numbers cannot be used again. All others get signals through
//! a handle (a pidfd).

use std::{
    collections::HashMap,
    fs, io,
    path::PathBuf,
    time::{Duration, Instant},
};

use orchestra_client::Exit;
use rustix::{
    fd::OwnedFd,
    io::Errno,
    process::{
        Pid, PidfdFlags, Signal, WaitOptions, WaitStatus, getpid, getppid, kill_process,
        pidfd_open, pidfd_send_signal, set_parent_process_death_signal, wait,
    },
};
use serde::{Deserialize, Serialize};

use crate::error::Failure;

/// Longest wait for children that were killed. One that hangs in the kernel is not waited for.
const END: Duration = Duration::from_secs(10);
/// Longest wait for other processes that were killed.
const BELOW: Duration = Duration::from_secs(2);
/// The time between two looks whether they have gone.
const LOOK: Duration = Duration::from_millis(5);

/// A process, and no later one that has its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Process {
    /// Its number.
    pub pid: i32,
    /// When it was started, in ticks since boot.
    pub started: u64,
}

impl Process {
    /// The process that has this number now.
    pub(super) fn of(pid: i32) -> Option<Self> {
        Entry::of(pid).map(|entry| entry.process)
    }

    /// Opens a handle to this very process; `None` if it is gone.
    pub(super) fn handle(self) -> Option<OwnedFd> {
        let pidfd = pidfd_open(Pid::from_raw(self.pid)?, PidfdFlags::empty()).ok()?;
        // The handle is of this process only if the number still belongs to it.
        self.runs().then_some(pidfd)
    }

    fn kill(self) {
        if let Some(pidfd) = self.handle() {
            // The process may have ended.
            let _ = pidfd_send_signal(&pidfd, Signal::KILL);
        }
    }

    /// Whether it still runs. A zombie does not.
    pub(super) fn runs(self) -> bool {
        Entry::of(self.pid).is_some_and(|entry| entry.process == self && !entry.zombie)
    }
}

/// What `/proc` says of a process.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub process: Process,
    pub parent: i32,
    pub zombie: bool,
}

impl Entry {
    fn of(pid: i32) -> Option<Self> {
        Self::parse(pid, &fs::read(format!("/proc/{pid}/stat")).ok()?)
    }

    /// Fields of proc_pid_stat(5): the second is a name in parentheses that may hold anything, the
    /// third is the state, the fourth the parent, the twenty-second the start time.
    fn parse(pid: i32, stat: &[u8]) -> Option<Self> {
        let after_name = stat.iter().rposition(|byte| *byte == b')')? + 1;
        let text = std::str::from_utf8(stat.get(after_name..)?).ok()?;
        let mut fields = text.split_ascii_whitespace();
        let state = fields.next()?;
        let parent = fields.next()?.parse().ok()?;
        let started = fields.nth(17)?.parse().ok()?;
        Some(Self { process: Process { pid, started }, parent, zombie: matches!(state, "Z" | "X") })
    }

    /// Returns all processes.
    pub(super) fn all() -> Vec<Self> {
        let names = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = names.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.filter_map(Self::of).collect()
    }
}

/// Returns the arguments of a process; none if it is gone.
pub(super) fn arguments(pid: i32) -> Vec<String> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let parts = line.split(|byte| *byte == 0);
    parts.map(|part| String::from_utf8_lossy(part).into_owned()).collect()
}

/// Reaps one child, if any has ended.
pub(super) fn reap() -> Option<(i32, WaitStatus)> {
    match wait(WaitOptions::NOHANG) {
        Ok(Some((pid, status))) => Some((pid.as_raw_nonzero().get(), status)),
        Ok(None) | Err(_) => None,
    }
}

/// Sends a signal to a child that has not been reaped.
pub(super) fn signal_child(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        // The child may have ended.
        let _ = kill_process(pid, signal);
    }
}

/// Kills all descendants of these processes except those that `spared` names, until none is left,
/// for at most [`BELOW`].
pub(super) fn kill_below(roots: &[Process], spared: impl Fn(i32) -> bool) {
    let deadline = Instant::now() + BELOW;
    while Instant::now() < deadline {
        let mut children: HashMap<i32, Vec<Process>> = HashMap::new();
        for entry in Entry::all().into_iter().filter(|entry| !entry.zombie) {
            children.entry(entry.parent).or_default().push(entry.process);
        }
        let mut left = 0;
        let mut parents: Vec<i32> = roots.iter().map(|root| root.pid).collect();
        while let Some(parent) = parents.pop() {
            for child in children.remove(&parent).unwrap_or_default() {
                if !spared(child.pid) {
                    left += 1;
                    child.kill();
                    parents.push(child.pid);
                }
            }
        }
        if left == 0 {
            return;
        }
        std::thread::sleep(LOOK);
    }
}

/// Has the kernel send us this signal when our parent ends.
///
/// It does so when the *thread* that started us ends: the main one of `run`, the only one of the
/// supervisor. The setting outlives an exec.
pub(super) fn end_with(parent: i32, signal: Signal) -> io::Result<()> {
    set_parent_process_death_signal(Some(signal))?;
    // The parent may have ended before.
    match getppid() {
        Some(pid) if pid.as_raw_nonzero().get() == parent => Ok(()),
        _ => Err(io::Error::other("whoever started it is gone")),
    }
}

/// Kills all children until there are none. In a subreaper this ends the whole tree: when a child
/// dies, its children become ours and are killed too.
pub(super) fn end_children() -> io::Result<()> {
    let me = getpid().as_raw_nonzero().get();
    let deadline = Instant::now() + END;
    loop {
        let last = match wait(WaitOptions::NOHANG) {
            Ok(Some(_)) => continue,
            Ok(None) => Instant::now() > deadline,
            Err(Errno::CHILD) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let children = Entry::all().into_iter().filter(|entry| entry.parent == me);
        let pids: Vec<i32> = children.map(|entry| entry.process.pid).collect();
        if last {
            let message = format!("processes {pids:?} did not end within {END:?} of KILL");
            return Err(io::Error::new(io::ErrorKind::TimedOut, message));
        }
        pids.into_iter().for_each(|pid| signal_child(pid, Signal::KILL));
        std::thread::sleep(LOOK);
    }
}

/// This program's own file.
pub(super) fn this_program() -> Result<PathBuf, Failure> {
    std::env::current_exe()
        .map_err(|error| Failure::broken("looking for this program").because(error))
}

/// Returns the exit code of a process that ended so: 128 + the signal's number for a death by
/// signal, as in shells.
pub(super) fn code_of(exit: Option<i32>, signal: Option<i32>) -> u8 {
    let code = exit.or_else(|| signal.map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(Exit::Broken.code())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_in_parentheses_confuses_nobody() {
        let mut stat = b"7 (a) R 9 (b c) S 42 ".to_vec();
        stat.extend_from_slice("1 ".repeat(17).as_bytes());
        stat.extend_from_slice(b"1234 5 6");
        let entry = Entry::parse(7, &stat).unwrap();
        assert_eq!((entry.parent, entry.process.started, entry.zombie), (42, 1234, false));
        assert!(Entry::parse(7, b"7 (a").is_none());
        assert!(Entry::parse(7, b"7 (a) S 1 2").is_none());
    }

    #[test]
    fn this_process_runs_and_is_found() {
        let me = Process::of(getpid().as_raw_nonzero().get()).unwrap();
        assert!(me.runs());
        assert!(!Process { started: me.started + 1, ..me }.runs());
        assert!(Entry::all().iter().any(|entry| entry.process == me));
        assert!(!arguments(me.pid).is_empty());
    }
}
