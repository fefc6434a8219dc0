//! Journals on a real disk: append and sync, replace as a whole.
//!
//! A spool has two journals, of attempts and of units ([`Kept`]). `orchestra_model::journal` defines
//! their bytes. A batch is one write and one `fdatasync`. A whole
//! journal is written and synced under another name, renamed, and the directory is synced, so that
//! the name always leads to a whole journal.

use std::{
    fs::File,
    io::{self, Read, Write},
    marker::PhantomData,
    path::Path,
};

use orchestra_model::{
    delivery::SpoolId,
    journal::{self, InvalidJournal, JournalState},
};
use rustix::{
    fd::{AsFd, BorrowedFd, OwnedFd},
    fs::{Mode, OFlags, RawMode},
    io::Errno,
};

use super::spool_dir::remove_file;

/// A state that a journal in a spool's directory keeps.
pub(crate) trait Kept: JournalState {
    /// The names of its journal, and of a journal that is being written.
    const NAMES: (&str, &str);
}

impl Kept for orchestra_spool::State {
    const NAMES: (&str, &str) = ("journal", "journal.new");
}

impl Kept for orchestra_units::State {
    const NAMES: (&str, &str) = ("units", "units.new");
}

/// Why a journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// It cannot be read or written.
    #[error("opening the spool's journal")]
    Io(#[source] io::Error),
    /// The spool's journal was read and is not valid.
    #[error(
        "the spool's journal cannot be used; with the file moved away the player starts with an \
         empty spool, and what it had not reported becomes lost"
    )]
    Invalid(#[source] InvalidJournal),
    /// The units' file was read and is not valid.
    #[error(
        "the spool's file `units` cannot be used; with the file moved away the player ends the \
         units that it kept running, and waits for the conductor to order them anew"
    )]
    InvalidUnits(#[source] InvalidJournal),
}

/// What lies where the journal was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// The journal, of the length that was written.
    Whole,
    /// The journal, but somebody has cut it or added to it.
    Spoilt,
    /// No journal.
    Nothing,
    /// Another file.
    Other,
}

/// A journal that is open for appending.
#[derive(Debug)]
pub(crate) struct Journal<T> {
    dir: OwnedFd,
    file: File,
    len: u64,
    /// Compacting is not tried below this length, because it failed before.
    compact_from: u64,
    of: PhantomData<T>,
}

/// What a journal held.
pub(crate) struct Opened<T> {
    pub(crate) journal: Journal<T>,
    pub(crate) state: T,
    /// Whether there was no journal.
    pub(crate) is_new: bool,
}

impl<T: Kept> Journal<T> {
    /// Opens the journal in a spool's directory and reads it. If there is none, makes an empty one
    /// for a spool of the id that `fresh_id` gives.
    pub(crate) fn open(
        dir: BorrowedFd<'_>,
        fresh_id: impl FnOnce() -> io::Result<SpoolId>,
    ) -> Result<Opened<T>, JournalError> {
        let dir = dir.try_clone_to_owned().map_err(JournalError::Io)?;
        remove_file(dir.as_fd(), T::NAMES.1).map_err(JournalError::Io)?;
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(&dir, T::NAMES.0, flags, Mode::empty()) {
            Ok(file) => Self::read(dir, file.into()),
            Err(Errno::NOENT) => {
                let state = fresh_id().map(T::new).map_err(JournalError::Io)?;
                Self::create(dir, state).map_err(JournalError::Io)
            }
            Err(error) => Err(JournalError::Io(error.into())),
        }
    }

    fn read(dir: OwnedFd, mut file: File) -> Result<Opened<T>, JournalError> {
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(JournalError::Io)?;
        let replayed = journal::replay(&bytes).map_err(JournalError::Invalid)?;
        if replayed.torn {
            tracing::warn!(
                bytes = bytes.len() as u64 - replayed.valid_len,
                journal = T::NAMES.0,
                "dropped the end of the journal: a batch that was being written in a crash"
            );
            let cut = file.set_len(replayed.valid_len).and_then(|()| file.sync_all());
            cut.map_err(JournalError::Io)?;
        }
        let len = replayed.valid_len;
        let journal = Self { dir, file, len, compact_from: 0, of: PhantomData };
        Ok(Opened { journal, state: replayed.state, is_new: false })
    }

    fn create(dir: OwnedFd, state: T) -> io::Result<Opened<T>> {
        let (file, len) = write_new(&dir, &state)?;
        let file_again = file.try_clone()?;
        let mut journal = Self { dir, file, len, compact_from: 0, of: PhantomData };
        journal.install(file_again, len)?;
        Ok(Opened { journal, state, is_new: true })
    }

    /// Makes entries durable. After an error the file's end is unknown, and only
    /// [`Journal::rewrite`] helps.
    pub(crate) fn append(&mut self, entries: &[T::Entry]) -> io::Result<()> {
        let frame = journal::frame(self.len, entries);
        let at = self.len;
        std::os::unix::fs::FileExt::write_all_at(&self.file, &frame, at)?;
        self.file.sync_data()?;
        self.len += frame.len() as u64;
        Ok(())
    }

    /// Looks what lies at the journal's place below the path `spool`. If somebody has removed the
    /// spool or moved it away, the journal went with it, and nobody would read what is written to
    /// it.
    pub(crate) fn look(&self, spool: &Path) -> Found {
        let found = rustix::fs::stat(spool.join(T::NAMES.0));
        let ours = rustix::fs::fstat(&self.file);
        match (found, ours) {
            (Ok(found), Ok(ours)) if (found.st_dev, found.st_ino) != (ours.st_dev, ours.st_ino) => {
                Found::Other
            }
            (Ok(found), Ok(_)) if found.st_size as u64 != self.len => Found::Spoilt,
            (Err(Errno::NOENT | Errno::NOTDIR), _) => Found::Nothing,
            // A file that cannot be looked at is not known to be gone.
            _ => Found::Whole,
        }
    }

    /// Leaves a spool that was taken away. From the next [`Journal::rewrite`] on the journal is in
    /// `dir`.
    pub(crate) fn move_to(&mut self, dir: BorrowedFd<'_>) -> io::Result<()> {
        self.dir = dir.try_clone_to_owned()?;
        Ok(())
    }

    /// Replaces the journal by a fresh one of the whole state.
    pub(crate) fn rewrite(&mut self, state: &T) -> io::Result<()> {
        let (file, len) = write_new(&self.dir, state)?;
        self.install(file, len)
    }

    /// Returns whether rewriting would make the journal much smaller.
    pub(crate) fn should_compact(&self, state: &T) -> bool {
        self.len >= self.compact_from && journal::should_compact(state, self.len)
    }

    /// Rewrites the journal to make it smaller. If a fresh one cannot be written, the old one is
    /// kept. After an error the end of the journal is unknown.
    pub(crate) fn compact(&mut self, state: &T) -> io::Result<()> {
        match write_new(&self.dir, state) {
            Ok((file, len)) => self.install(file, len),
            Err(error) => {
                tracing::warn!(%error, bytes = self.len, "cannot compact the journal");
                self.compact_from = self.len * 2;
                Ok(())
            }
        }
    }

    /// Gives a journal that is durable its name.
    fn install(&mut self, file: File, len: u64) -> io::Result<()> {
        rustix::fs::renameat(&self.dir, T::NAMES.1, &self.dir, T::NAMES.0)?;
        (self.file, self.len, self.compact_from) = (file, len, 0);
        Ok(rustix::fs::fsync(&self.dir)?)
    }
}

/// Writes a journal under the other name, durably.
fn write_new<T: Kept>(dir: &OwnedFd, state: &T) -> io::Result<(File, u64)> {
    let new_name = T::NAMES.1;
    let written = write_and_sync(dir, new_name, &journal::compacted(state));
    if written.is_err() {
        // The file takes space, which may be what is missing.
        let _ = remove_file(dir.as_fd(), new_name);
    }
    written
}

fn write_and_sync(dir: &OwnedFd, new_name: &str, bytes: &[u8]) -> io::Result<(File, u64)> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mode = Mode::from_raw_mode(0o600 as RawMode);
    let mut file = File::from(rustix::fs::openat(dir, new_name, flags, mode)?);
    file.write_all(bytes)?;
    file.sync_all()?;
    Ok((file, bytes.len() as u64))
}
