//! The guard: `player guard`, a small process that ends runs whose lease is over, whoever else of the
//! player is frozen.
//!
//! A unit with a lease may run only while its conductor renews it. The sitter keeps to that by itself.
//! But a sitter may be stopped, or killed and not started again, while its runs live on. So before a
//! lease counts the sitter writes it into the guard's *book*, a file in a memory file system. The
//! guard reads the book once a second and kills what should be gone by then.
//!
//! ```text
//! conductor ─ renewal ─▶ agent ─▶ sitter ─ book ─▶ guard ─ SIGKILL ─▶ processes of a run
//!                                    │
//!                                    └ makes it, looks whether it lives, makes another
//! ```
//!
//! - It is a process of its own, of the sitter's user, in the sitter's cgroup and in none of a unit.
//!   It has no socket and waits for nobody: neither a sitter that stands still nor one that is gone
//!   stops it. The next sitter goes on with the same guard and the same book.
//! - A book is only ever replaced as a whole. If it is gone, or makes no sense, what was read last
//!   counts, so a lease can only end.
//! - It reads no clock but `CLOCK_BOOTTIME`, which nobody sets and which counts through suspend.
//! - It ends by itself once no unit needs a lease, and also once its sitter is gone and nothing of what
//!   it guards is left: whoever comes next makes another.
//!
//! What it cannot do: end a run while the whole machine stands still, as a suspended one does. When
//! the machine goes on, it takes a moment until the run is killed.

use std::io;

use orchestra_daemon::signals;
use rustix::fd::OwnedFd;

use crate::sitter::{clock::BootMillis, file_below, own_boot, poll::Poller, sys};

pub(crate) mod book;

use self::book::{Book, Page};

/// The book's name in the place of a player's units, and the name under which it is written.
pub(crate) const BOOK: &str = "guard";
pub(crate) const NEW_BOOK: &str = "guard.new";
/// The descriptor at which a guard finds the directory of its book.
pub(crate) const DIRECTORY: i32 = 3;
/// How often it reads its book, in milliseconds. So late it may learn of a unit that is new.
const LOOK: u64 = 1_000;
/// How long it waits, in milliseconds, until it looks again at what it has just killed.
const AGAIN: u64 = 20;

/// Why a guard fails.
#[derive(Debug, thiserror::Error)]
pub enum GuardError {
    /// It was not started by a sitter.
    #[error("there is no sitter (only `player` starts a guard)")]
    NoSitter,
    /// Something that it needs failed.
    #[error("guard: {0}")]
    Failed(&'static str, #[source] io::Error),
}

/// Does a guard's work until no unit needs it. To be called once, by a program of one thread.
pub fn run() -> Result<(), GuardError> {
    let directory = sys::inherited([DIRECTORY]).pop().ok_or(GuardError::NoSitter)?;
    let failed = |what| move |error: io::Error| GuardError::Failed(what, error);
    signals::outlive_strays().map_err(failed("setting signal handlers"))?;
    let boot = own_boot().map_err(failed("reading the id of this boot"))?;
    let mut poller = Poller::new().map_err(failed("making an epoll"))?;
    let mut guard = Guard { directory, boot: boot.0, book: Book::default() };
    while let Some(next) = guard.look(BootMillis::now()) {
        poller.wait(Some(next)).map_err(failed("waiting"))?;
    }
    Ok(())
}

struct Guard {
    /// Where its book lies.
    directory: OwnedFd,
    boot: [u8; 16],
    /// What it read last.
    book: Book,
}

impl Guard {
    /// Reads the book, and kills what should be gone. Returns when to look next; `None` if there is
    /// nothing to guard.
    fn look(&mut self, now: BootMillis) -> Option<BootMillis> {
        let read = file_below(&self.directory, BOOK).ok();
        let read = read.and_then(|bytes| Book::decode(&bytes)).filter(|it| it.boot == self.boot);
        let is_read = read.is_some();
        if let Some(book) = read {
            self.book = book;
        }
        let overdue = |page: &&Page| page.gone <= now.0;
        let left = self.book.pages.iter().filter(overdue).filter(|page| page.kill()).count();
        let is_kept = is_read && self.book.has_sitter();
        if !is_kept {
            // Nobody extends these leases any more.
            self.book.pages.retain(|page| page.gone > now.0 || page.is_left());
        }
        let is_needed = is_kept && self.book.is_needed;
        if !is_needed && self.book.pages.is_empty() {
            return None;
        }
        let due = self.book.pages.iter().map(|page| page.gone).filter(|gone| *gone > now.0).min();
        let wait = if left > 0 { AGAIN } else { LOOK };
        let next = now.after(wait).0.min(due.unwrap_or(u64::MAX));
        Some(BootMillis(next))
    }
}

#[cfg(test)]
mod tests;
