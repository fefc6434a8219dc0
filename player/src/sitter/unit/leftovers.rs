//! What units that are gone have left in memory: directories of any size and depth, which their users
//! filled. They are moved out of the way at once, and removed piece by piece at later turns of the
//! loop, so that no size of them keeps the sitter from its work.
//!
//! ```text
//! RUN_DIR/TAG/~gone/     0711, the sitter's
//!   17/                  what a unit had, or its `run` when that got another user
//!   18/                  a directory that was in one of those
//! ```
//!
//! A directory with something in it is emptied by one level: files are removed, and directories in it
//! move up to `~gone`. So the depth does not matter, and nothing but this list has to be remembered; the
//! next sitter goes on with what it finds. Each directory is the sitter's own before it is looked
//! through, so that nobody can fill it again. A directory on which something is mounted stays: what is
//! mounted there may not answer, and is never asked.

use std::{
    ffi::{CString, OsStr},
    io,
    os::unix::ffi::OsStrExt,
};

use rustix::{
    fd::{AsFd, BorrowedFd, OwnedFd},
    fs::{AtFlags, Dir, Mode, OFlags, RawMode, RenameFlags},
    io::Errno,
};

use super::place::open_beneath;

/// The directory of what is left; no unit's directory has this name.
pub(super) const GONE: &str = "~gone";
/// Most entries that are removed or moved in one turn of the loop: some milliseconds.
const PIECE: usize = 1_000;

/// What is known of [`GONE`].
#[derive(Debug)]
pub(super) struct Leftovers {
    /// Whether something may be left that can be removed.
    pub(super) are_there: bool,
    /// The number that the next name is tried with.
    next: u64,
}

/// What became of one entry.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Came {
    Gone,
    /// It is a directory with something in it.
    Full,
    Stays,
}

impl Leftovers {
    /// An earlier sitter may have left something.
    pub(super) fn unknown() -> Self {
        Self { are_there: true, next: 0 }
    }

    /// Moves an entry of a directory to `gone`.
    pub(super) fn take(
        &mut self,
        gone: BorrowedFd<'_>,
        from: impl AsFd,
        name: &OsStr,
    ) -> io::Result<()> {
        self.are_there = true;
        loop {
            let fresh = self.next.to_string();
            self.next += 1;
            match rustix::fs::renameat_with(&from, name, gone, &fresh, RenameFlags::NOREPLACE) {
                Err(Errno::EXIST) => {}
                moved => return Ok(moved?),
            }
        }
    }

    /// Removes some of what is left in `gone`.
    pub(super) fn remove_some(&mut self, gone: &OwnedFd) {
        let mut room = PIECE;
        // Where nothing can be removed, a later look would find the same.
        self.are_there = true;
        while room > 0 && self.are_there {
            self.are_there = self.remove_once(gone, &mut room);
        }
    }

    /// Goes through `gone` once. Returns whether there is less of it now.
    fn remove_once(&mut self, gone: &OwnedFd, room: &mut usize) -> bool {
        let mut is_less = false;
        for name in names(gone, *room) {
            if *room == 0 {
                break;
            }
            *room -= 1;
            is_less |= match remove(gone, &name) {
                Came::Gone => true,
                Came::Full => self.empty(gone, &name, room),
                Came::Stays => false,
            };
        }
        is_less
    }

    /// Empties a directory in `gone` by one level. Returns whether it holds less now.
    fn empty(&mut self, gone: &OwnedFd, name: &CString, room: &mut usize) -> bool {
        let path = OsStr::from_bytes(name.to_bytes());
        let Ok(dir) = open_beneath(gone.as_fd(), path, OFlags::RDONLY) else { return false };
        // Whoever has it open cannot put anything into it any more.
        let _ = rustix::fs::fchown(&dir, Some(rustix::process::geteuid()), None);
        let _ = rustix::fs::fchmod(&dir, Mode::from_raw_mode(0o700 as RawMode));
        let mut is_less = false;
        for inner in names(&dir, *room) {
            *room = room.saturating_sub(1);
            is_less |= match remove(&dir, &inner) {
                Came::Gone => true,
                Came::Full => {
                    self.take(gone.as_fd(), &dir, OsStr::from_bytes(inner.to_bytes())).is_ok()
                }
                Came::Stays => false,
            };
        }
        let _ = rustix::fs::unlinkat(gone, name, AtFlags::REMOVEDIR);
        is_less
    }
}

/// Returns at most so many names in a directory.
fn names(dir: &OwnedFd, most: usize) -> Vec<CString> {
    let entries = Dir::read_from(dir).into_iter().flatten();
    let names = entries.filter_map(|entry| Some(entry.ok()?.file_name().to_owned()));
    names.filter(|name| !matches!(name.to_bytes(), b"." | b"..")).take(most).collect()
}

/// Removes an entry by its name, because the kernel refuses to remove a mount point without asking the
/// file system that is mounted there.
fn remove(dir: &OwnedFd, name: &CString) -> Came {
    if rustix::fs::unlinkat(dir, name, AtFlags::empty()).is_ok() {
        return Came::Gone;
    }
    match rustix::fs::unlinkat(dir, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Came::Gone,
        Err(Errno::NOTEMPTY | Errno::EXIST) => Came::Full,
        Err(_) => Came::Stays,
    }
}
