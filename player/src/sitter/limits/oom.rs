//! When the kernel kills for want of memory.
//!
//! Both versions count the processes of each cgroup that were killed (`oom_kill`). The count rises
//! before the signal is sent, so whoever sees a process dead sees the count. They differ in how
//! they wake whoever waits:
//!
//! - v2 tells each change of `memory.events`, so the count has risen when we are woken.
//! - v1 has an eventfd. It fires before anything is killed, and in every cgroup below the one whose
//!   memory is short, even if nothing is killed there. So after it fired the count is looked at for
//!   a while.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use rustix::{
    event::{EventfdFlags, eventfd},
    fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
};

use crate::sitter::{clock::BootMillis, poll::Interest};

/// The file of v2 that counts what happened for want of memory.
pub(super) const EVENTS: &str = "memory.events";
/// The file of v1 that counts, and for which an eventfd fires.
const CONTROL: &str = "memory.oom_control";
/// After an eventfd fired: the first wait before the next look at the count, in milliseconds, and
/// the wait from which on the memory of another cgroup was short. Each wait is twice the one
/// before.
const LOOK: (u64, u64) = (1, 1_024);
/// Most bytes that are read of a file of counts; the counts are shorter.
const COUNTS_BYTES: usize = 1_024;

/// Tells when something of a leaf was killed for want of memory.
#[derive(Debug)]
pub(crate) struct OutOfMemoryAlarm {
    leaf: PathBuf,
    counts: File,
    /// The eventfd of v1; in v2 the file of counts itself is polled.
    eventfd: Option<OwnedFd>,
    /// When to look at the count again, and the wait until then, in milliseconds.
    again: Option<(BootMillis, u64)>,
}

impl OutOfMemoryAlarm {
    pub(super) fn of_v2(leaf: &Path) -> io::Result<Self> {
        let counts = File::open(leaf.join(EVENTS))?;
        Ok(Self { leaf: leaf.to_owned(), counts, eventfd: None, again: None })
    }

    pub(super) fn of_v1(leaf: &Path) -> io::Result<Self> {
        let counts = File::open(leaf.join(CONTROL))?;
        let eventfd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let asked = format!("{} {}", eventfd.as_raw_fd(), counts.as_raw_fd());
        fs::write(leaf.join("cgroup.event_control"), asked)?;
        Ok(Self { leaf: leaf.to_owned(), counts, eventfd: Some(eventfd), again: None })
    }

    /// Returns the descriptor to wait for, and how.
    pub(crate) fn waits_for(&self) -> (BorrowedFd<'_>, Interest) {
        match &self.eventfd {
            Some(eventfd) => (eventfd.as_fd(), Interest::Read),
            None => (self.counts.as_fd(), Interest::Change),
        }
    }

    /// Notes that the alarm has fired, and makes it ready to fire again.
    pub(crate) fn note_fired(&mut self, now: BootMillis) {
        if let Some(eventfd) = &self.eventfd {
            let _ = rustix::io::read(eventfd, &mut [0; 8]);
            self.again = Some((now, LOOK.0));
        }
    }

    /// Returns how many processes of the leaf were killed.
    pub(crate) fn killed(&self) -> u64 {
        let mut bytes = [0; COUNTS_BYTES];
        let length = self.counts.read_at(&mut bytes, 0).unwrap_or(0);
        let counts = String::from_utf8_lossy(bytes.get(..length).unwrap_or_default());
        let count = counts.lines().find_map(|line| line.strip_prefix("oom_kill "));
        count.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
    }

    /// Returns when the count is to be looked at again.
    pub(crate) fn next_look(&self) -> Option<BootMillis> {
        self.again.map(|(at, _)| at)
    }

    /// Notes that the count was looked at, and nothing had been killed yet.
    pub(crate) fn looked(&mut self, now: BootMillis) {
        if let Some((at, wait)) = self.again.filter(|(at, _)| now >= *at) {
            self.again = (wait < LOOK.1).then(|| (at.max(now).after(wait), wait * 2));
        }
    }

    /// Returns the most memory that the leaf has had, in bytes, if the kernel tells it.
    pub(crate) fn peak(&self) -> Option<u64> {
        self.first_number(["memory.peak", "memory.max_usage_in_bytes"])
    }

    /// Returns how much memory the leaf may have, in bytes; `None` if that is unlimited.
    pub(crate) fn limit(&self) -> Option<u64> {
        /// In v1 this number stands for no limit: the largest multiple of a page, which has at most
        /// 64 KiB.
        const UNLIMITED: u64 = i64::MAX as u64 & !0xffff;
        let limit = self.first_number(["memory.max", "memory.limit_in_bytes"])?;
        (limit < UNLIMITED).then_some(limit)
    }

    /// Returns the number in the first of these files that exists, if it holds one.
    fn first_number(&self, files: [&str; 2]) -> Option<u64> {
        let read = |file| fs::read_to_string(self.leaf.join(file)).ok();
        files.into_iter().find_map(read)?.trim().parse().ok()
    }
}
