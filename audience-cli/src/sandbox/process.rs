//! Processes as `/proc` tells them, and the end of all children.
//!
//! A process is known by its number together with its start time: the number alone may belong to
//! another one by now. Only children are killed by number, and only by the one process that reaps
//! them: until it does, their numbers cannot be used again.

use std::{
    fs, io,
    time::{Duration, Instant},
};

use rustix::{
    io::Errno,
    process::{Pid, Signal, WaitOptions, WaitStatus, getpid, kill_process, wait},
};
use serde::{Deserialize, Serialize};

/// Longest wait for children that were killed: one that hangs in the kernel cannot be helped.
const END: Duration = Duration::from_secs(10);
/// How often we look whether they have gone.
const LOOK: Duration = Duration::from_millis(5);

/// Which process.
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
        Some(Self {
            process: Process { pid, started },
            parent,
            zombie: matches!(state, "Z" | "X"),
        })
    }

    /// Every process there is.
    pub(super) fn all() -> Vec<Self> {
        let names = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = names.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.filter_map(Self::of).collect()
    }
}

/// The arguments of a process; empty where it is gone.
pub(super) fn arguments(pid: i32) -> Vec<String> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let parts = line.split(|byte| *byte == 0);
    parts.map(|part| String::from_utf8_lossy(part).into_owned()).collect()
}

/// Takes the end of one child, if any has ended.
pub(super) fn reap() -> Option<(i32, WaitStatus)> {
    match wait(WaitOptions::NOHANG) {
        Ok(Some((pid, status))) => Some((pid.as_raw_nonzero().get(), status)),
        Ok(None) | Err(_) => None,
    }
}

/// Sends a signal to a child that has not been reaped.
pub(super) fn signal_child(pid: i32, signal: Signal) {
    if let Some(pid) = Pid::from_raw(pid) {
        // It may have ended: then there is nobody to tell.
        let _ = kill_process(pid, signal);
    }
}

/// Kills all children until there are none. With the whole tree below a subreaper this ends
/// everything: the children of who dies become ours, and are killed in their turn.
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
