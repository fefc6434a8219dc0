//! One reader's way through what an attempt writes, while it runs or once it is over.
//!
//! The attempt's file holds the first bytes of the stream as they came, and the latest ones in a ring
//! (`capture.rs`). While the attempt runs the ring may be overwritten under whoever reads it, so only the
//! first part is told. Once nobody writes any more the ring is told as well, with a gap before it if
//! something is missing. Files of an attempt that is over go to another one, unless somebody reads them:
//! then they are removed, and whoever has them open reads on. After that no file is opened any more, because
//! one of that name would be another attempt's.

use std::{fs::File, io, os::unix::fs::FileExt, rc::Rc};

use orchestra_model::service::{CHUNK_BYTES, LogChunk, LogPlace, LogQuery, Placement, RunNumber};
use rustix::{
    fd::OwnedFd,
    fs::{Mode, OFlags},
    io::Errno,
};

use super::Step;
use crate::sitter::{
    capture::{ring, trailer},
    stream::Stream,
};

/// The one file of an attempt's stream, as places name it.
const FILE: u64 = 1;

/// A reading, as far as it has come.
pub(in crate::sitter) struct AttemptReading {
    /// Where the file will be; `None` once it is certain that no other is opened.
    directory: Option<Rc<OwnedFd>>,
    stream: Stream,
    /// `None` before the first byte was seen.
    file: Option<File>,
    /// How many first bytes the file holds as they came.
    limit: u64,
    /// The next byte, counted from the stream's first.
    at: u64,
    follow: bool,
    /// Whether nobody writes any more.
    is_over: bool,
}

/// What there is of a stream.
struct Extent {
    /// So many bytes were written, as far as can be told.
    total: u64,
    /// So many of the first are kept as they came.
    limit: u64,
}

impl AttemptReading {
    /// Begins to read what a query means of a stream of which `limit` first bytes are kept.
    pub(in crate::sitter) fn new(
        directory: Rc<OwnedFd>,
        stream: Stream,
        limit: u64,
        query: &LogQuery,
    ) -> Self {
        let at = query.from.map_or(0, |place| place.offset);
        let (directory, follow) = (Some(directory), query.follow);
        Self { directory, stream, file: None, limit, at, follow, is_over: false }
    }

    /// Begins to read what a query means of the file of an attempt that is over.
    pub(in crate::sitter) fn of_file(file: File, stream: Stream, query: &LogQuery) -> Self {
        let at = query.from.map_or(0, |place| place.offset);
        let (directory, file) = (None, Some(file));
        Self { directory, stream, file, limit: 0, at, follow: false, is_over: true }
    }

    /// Takes that nobody writes any more, and that the file is about to go.
    pub(in crate::sitter) fn attempt_is_over(&mut self) {
        // What cannot be opened is in the attempt's end.
        let _ = self.open();
        self.directory = None;
        self.is_over = true;
    }

    /// Reads on by at most `most` bytes.
    pub(in crate::sitter) fn step(&mut self, most: usize) -> io::Result<Step> {
        let (most, is_over) = (most.min(CHUNK_BYTES) as u64, self.is_over);
        self.open()?;
        let Some(file) = &self.file else { return Ok(self.at_the_end()) };
        let Extent { total, limit } = extent(file, self.limit, is_over)?;
        let begins = if self.at < limit { self.at } else { self.at.max(oldest(total, limit)) };
        let gap = begins > self.at;
        let (place, room) = match begins < limit {
            true => (begins, limit.min(total).saturating_sub(begins)),
            false if !is_over => return Ok(self.at_the_end()),
            false => in_ring(begins, total, limit),
        };
        let wanted = room.min(most);
        if wanted == 0 {
            return Ok(self.at_the_end());
        }
        let mut bytes = vec![0; usize::try_from(wanted).unwrap_or(CHUNK_BYTES)];
        let read = file.read_at(&mut bytes, place)?;
        bytes.truncate(read);
        if bytes.is_empty() {
            // The file was cut, by somebody else.
            return Ok(Step::All);
        }
        self.at = begins + read as u64;
        Ok(Step::Chunk(LogChunk {
            run: RunNumber(1),
            placement: Placement::default(),
            at: None,
            bytes,
            gap,
            next: LogPlace { file: FILE, offset: self.at },
        }))
    }

    /// Opens the file, if there is one. It is made with the first byte.
    fn open(&mut self) -> io::Result<()> {
        let Some(directory) = self.directory.as_ref().filter(|_| self.file.is_none()) else {
            return Ok(());
        };
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(directory, self.stream.file(), flags, Mode::empty()) {
            Ok(file) => self.file = Some(File::from(file)),
            Err(Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn at_the_end(&self) -> Step {
        if self.is_over || !self.follow { Step::All } else { Step::Idle }
    }
}

/// Looks how much there is. While somebody writes, the file may have bytes of its ring and no trailer yet:
/// what lies beyond the first part is not counted then.
fn extent(file: &File, limit: u64, is_over: bool) -> io::Result<Extent> {
    let len = file.metadata()?.len();
    Ok(match trailer(file, len) {
        Some((total, limit)) => Extent { total, limit },
        None if is_over => Extent { total: len, limit: limit.max(len) },
        None => Extent { total: len.min(limit), limit },
    })
}

/// Returns the oldest byte that the ring holds.
fn oldest(total: u64, limit: u64) -> u64 {
    total.saturating_sub(ring(limit)).max(limit)
}

/// Returns where a byte of the ring lies in the file, and how many follow it there.
fn in_ring(at: u64, total: u64, limit: u64) -> (u64, u64) {
    let ring = ring(limit).max(1);
    let place = (at - limit) % ring;
    (limit + place, total.saturating_sub(at).min(ring - place))
}
