//! The spool's journal on a real disk: append and sync, replace as a whole.
//!
//! What the bytes mean is `orchestra_spool::journal`'s. A batch is one write and one `fdatasync`.
//! A whole journal is written and synced under another name, renamed, and the directory synced, so
//! that the name always leads to a whole one.

use std::{
    fmt,
    fs::File,
    io::{self, Read, Write},
    path::Path,
};

use orchestra_model::delivery::SpoolId;
use orchestra_spool::{
    Entry, State,
    journal::{self, InvalidJournal},
};
use rustix::{
    fd::{AsFd, BorrowedFd, OwnedFd},
    fs::{Mode, OFlags, RawMode},
    io::Errno,
};

use super::spool_dir::remove_file;

const NAME: &str = "journal";
const NEW_NAME: &str = "journal.new";

/// Why a journal cannot be gone on from.
#[derive(Debug)]
pub enum JournalError {
    /// It cannot be read or written.
    Io(io::Error),
    /// It was read, and is not one.
    Invalid(InvalidJournal),
}

impl fmt::Display for JournalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Io(_) => "opening the spool's journal",
            Self::Invalid(_) => {
                "the spool's journal cannot be used; with the file moved away the player starts \
                 with an empty spool, and what it had not reported becomes lost"
            }
        })
    }
}

impl std::error::Error for JournalError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(cause) => Some(cause),
            Self::Invalid(cause) => Some(cause),
        }
    }
}

/// What lies where the journal was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// The journal, as long as it was written.
    Whole,
    /// The journal, and somebody has cut it or added to it.
    Spoilt,
    /// No journal.
    Nothing,
    /// Another one.
    Other,
}

/// A journal that is open for appending.
#[derive(Debug)]
pub(crate) struct Journal {
    dir: OwnedFd,
    file: File,
    len: u64,
    /// Compacting is not worth a try below this: it failed before.
    compact_from: u64,
}

impl Journal {
    /// Opens the journal of a spool's directory and reads it; makes an empty one of a new spool
    /// where there is none.
    pub(crate) fn open(dir: BorrowedFd<'_>) -> Result<(Self, State), JournalError> {
        let dir = dir.try_clone_to_owned().map_err(JournalError::Io)?;
        remove_file(dir.as_fd(), NEW_NAME).map_err(JournalError::Io)?;
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(&dir, NAME, flags, Mode::empty()) {
            Ok(file) => Self::read(dir, file.into()),
            Err(Errno::NOENT) => Self::create(dir).map_err(JournalError::Io),
            Err(error) => Err(JournalError::Io(error.into())),
        }
    }

    fn read(dir: OwnedFd, mut file: File) -> Result<(Self, State), JournalError> {
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(JournalError::Io)?;
        let replayed = journal::replay(&bytes).map_err(JournalError::Invalid)?;
        if replayed.torn {
            tracing::warn!(
                bytes = bytes.len() as u64 - replayed.valid_len,
                "dropped the end of the journal: a batch that was being written in a crash"
            );
            let cut = file.set_len(replayed.valid_len).and_then(|()| file.sync_all());
            cut.map_err(JournalError::Io)?;
        }
        let len = replayed.valid_len;
        Ok((Self { dir, file, len, compact_from: 0 }, replayed.state))
    }

    fn create(dir: OwnedFd) -> io::Result<(Self, State)> {
        let mut id = [0; 16];
        rustix::rand::getrandom(&mut id, rustix::rand::GetRandomFlags::empty())?;
        let state = State::new(SpoolId(id));
        let (file, len) = write_new(&dir, &state)?;
        let file_again = file.try_clone()?;
        let mut journal = Self { dir, file, len, compact_from: 0 };
        journal.install(file_again, len)?;
        Ok((journal, state))
    }

    /// Makes entries durable. After an error the file's end is unknown: only [`Journal::rewrite`]
    /// helps.
    pub(crate) fn append(&mut self, entries: &[Entry]) -> io::Result<()> {
        let frame = journal::frame(self.len, entries);
        let at = self.len;
        std::os::unix::fs::FileExt::write_all_at(&self.file, &frame, at)?;
        self.file.sync_data()?;
        self.len += frame.len() as u64;
        Ok(())
    }

    /// What `spool`, a path, leads to. Who removes a spool or moves it away takes the journal along,
    /// and what is written then is read by nobody.
    pub(crate) fn look(&self, spool: &Path) -> Found {
        let found = rustix::fs::stat(spool.join(NAME));
        let ours = rustix::fs::fstat(&self.file);
        match (found, ours) {
            (Ok(found), Ok(ours)) if (found.st_dev, found.st_ino) != (ours.st_dev, ours.st_ino) => {
                Found::Other
            }
            (Ok(found), Ok(_)) if found.st_size as u64 != self.len => Found::Spoilt,
            (Err(Errno::NOENT | Errno::NOTDIR), _) => Found::Nothing,
            // What cannot be looked at is not known to be gone.
            _ => Found::Whole,
        }
    }

    /// Leaves a spool that was taken away: from the next [`Journal::rewrite`] on it is in `dir`.
    pub(crate) fn move_to(&mut self, dir: BorrowedFd<'_>) -> io::Result<()> {
        self.dir = dir.try_clone_to_owned()?;
        Ok(())
    }

    /// Puts a fresh journal of the whole state in the place of the old one.
    pub(crate) fn rewrite(&mut self, state: &State) -> io::Result<()> {
        let (file, len) = write_new(&self.dir, state)?;
        self.install(file, len)
    }

    /// Whether rewriting it would make it much smaller.
    pub(crate) fn should_compact(&self, state: &State) -> bool {
        self.len >= self.compact_from && journal::should_compact(state, self.len)
    }

    /// Rewrites it to make it smaller. A fresh one that cannot be written is done without: the old
    /// one is as good as before. After an error the end of the journal is unknown.
    pub(crate) fn compact(&mut self, state: &State) -> io::Result<()> {
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
        rustix::fs::renameat(&self.dir, NEW_NAME, &self.dir, NAME)?;
        (self.file, self.len, self.compact_from) = (file, len, 0);
        Ok(rustix::fs::fsync(&self.dir)?)
    }
}

/// Writes a journal under the other name, durably.
fn write_new(dir: &OwnedFd, state: &State) -> io::Result<(File, u64)> {
    let written = write_and_sync(dir, &journal::compacted(state));
    if written.is_err() {
        // It takes space that may be what is missing.
        let _ = remove_file(dir.as_fd(), NEW_NAME);
    }
    written
}

fn write_and_sync(dir: &OwnedFd, bytes: &[u8]) -> io::Result<(File, u64)> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mode = Mode::from_raw_mode(0o600 as RawMode);
    let mut file = File::from(rustix::fs::openat(dir, NEW_NAME, flags, mode)?);
    file.write_all(bytes)?;
    file.sync_all()?;
    Ok((file, bytes.len() as u64))
}
