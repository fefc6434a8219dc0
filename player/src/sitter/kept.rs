//! What was kept of a stream: reads the files that `capture.rs` writes.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    os::unix::fs::FileExt,
};

use orchestra_model::{delivery::Output, limits};
use rustix::{
    fd::BorrowedFd,
    fs::{Mode, OFlags},
    io::Errno,
};

use super::{
    capture::{Written, ring, trailer},
    stream::Stream,
};

/// The file of a stream to which nobody writes any more, or of which no launcher will tell more.
#[derive(Debug)]
pub(crate) struct Kept {
    /// `None` if nothing was written.
    file: Option<File>,
    /// How many first bytes were kept.
    limit: u64,
    /// How many bytes were written in all.
    total: u64,
    /// Set if the file could not be written: it holds so many first bytes, and no ring.
    broken_at: Option<u64>,
    /// Whether an unknown amount may be missing.
    cut: bool,
}

impl Kept {
    /// Opens the file of a stream. `limit` is how many first bytes were to be kept. Without the
    /// launcher's account (`None`) the file itself tells what was written, and may lack the latest
    /// bytes.
    pub(crate) fn open(
        dir: BorrowedFd<'_>,
        stream: Stream,
        limit: u64,
        written: Option<Written>,
    ) -> io::Result<Self> {
        let nothing = Self { file: None, limit, total: 0, broken_at: None, cut: written.is_none() };
        if written.is_some_and(|written| written.total == 0) {
            return Ok(nothing);
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(dir, stream.file(), flags, Mode::empty()) {
            Ok(file) => File::from(file),
            // The file could not be made, or was removed with the spool, so its bytes are missing.
            Err(Errno::NOENT) => {
                let total = written.map_or(0, |written| written.total);
                return Ok(Self { total, broken_at: Some(0), ..nothing });
            }
            Err(error) => return Err(error.into()),
        };
        let (total, limit, broken_at) = match written {
            Some(Written { total, limit, broken }) => {
                (total, limit, broken.map(|broken| broken.at))
            }
            None => {
                let len = file.metadata()?.len();
                let (total, limit) = trailer(&file, len).unwrap_or((len, limit.max(len)));
                (total, limit, None)
            }
        };
        Ok(Self { file: Some(file), limit, total, broken_at, ..nothing })
    }

    /// Notes that something may be missing.
    pub(crate) fn cut(self) -> Self {
        Self { cut: true, ..self }
    }

    /// Returns the output that is reported with the end.
    pub(crate) fn output(&self) -> io::Result<Output> {
        let kept = self.broken_at.unwrap_or(self.total);
        let head_len = kept.min(self.limit).min(limits::OUTPUT_HEAD_BYTES as u64);
        let mut head = vec![0; head_len as usize];
        self.read_at(&mut head, 0)?;
        let tail = (self.total - head_len).min(limits::OUTPUT_TAIL_BYTES as u64);
        let tail = self.last(tail)?;
        let truncated = self.cut || self.total > head_len + tail.len() as u64;
        Ok(Output { head, tail, bytes: self.total, truncated })
    }

    /// Returns all that was kept, to be read line by line. If bytes are missing between the first
    /// part and the ring, the lines that they belonged to are left out too.
    pub(crate) fn lines(&self) -> io::Result<impl BufRead> {
        let kept = self.broken_at.unwrap_or(self.total);
        let late = self.last(self.total.saturating_sub(self.limit))?;
        let mut first = kept.min(self.limit);
        let (mut seam, mut late): (&[u8], _) = (b"", &late[..]);
        if self.total > first + late.len() as u64 {
            first = self.end_of_line_before(first)?;
            seam = b"\n";
            let torn = late.iter().position(|byte| *byte == b'\n');
            late = torn.map_or(b"", |newline| &late[newline + 1..]);
        }
        let file = FromStart { kept: self, at: 0 }.take(first);
        Ok(BufReader::new(file).chain(seam).chain(io::Cursor::new(late.to_vec())))
    }

    fn read_at(&self, bytes: &mut [u8], at: u64) -> io::Result<()> {
        match &self.file {
            Some(file) => file.read_exact_at(bytes, at),
            // Nothing was written, and nothing is read.
            None if bytes.is_empty() => Ok(()),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// Returns the last `count` bytes, or as many of them as there are without a gap.
    fn last(&self, count: u64) -> io::Result<Vec<u8>> {
        let ring = ring(self.limit);
        let late = self.total.saturating_sub(self.limit);
        let count = match self.broken_at {
            Some(_) => 0,
            None if late > ring => count.min(ring),
            None => count,
        };
        let mut bytes = vec![0; count as usize];
        let late = late.min(count);
        let (first, mut rest) = bytes.split_at_mut((count - late) as usize);
        self.read_at(first, self.total - count)?;
        let mut place = (self.total - late).saturating_sub(self.limit) % ring;
        while !rest.is_empty() {
            let now = rest.len().min((ring - place) as usize);
            let (part, later) = rest.split_at_mut(now);
            self.read_at(part, self.limit + place)?;
            (rest, place) = (later, 0);
        }
        Ok(bytes)
    }

    /// Returns where the last whole line among the first `len` bytes ends.
    fn end_of_line_before(&self, len: u64) -> io::Result<u64> {
        let mut chunk = [0; 4 << 10];
        let mut end = len;
        while end > 0 {
            let from = end.saturating_sub(chunk.len() as u64);
            let part = &mut chunk[..(end - from) as usize];
            self.read_at(part, from)?;
            if let Some(newline) = part.iter().rposition(|byte| *byte == b'\n') {
                return Ok(from + newline as u64 + 1);
            }
            end = from;
        }
        Ok(0)
    }
}

/// A reader of the first part.
struct FromStart<'a> {
    kept: &'a Kept,
    at: u64,
}

impl Read for FromStart<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.kept.file.as_ref().map_or(Ok(0), |file| file.read_at(buffer, self.at))?;
        self.at += read as u64;
        Ok(read)
    }
}
