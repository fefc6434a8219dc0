//! What an attempt writes: from its pipes into files of the sitter's, capped.
//!
//! Each stream is a FIFO in the attempt's directory of the spool. The score has it open for reading
//! *and* writing, so that it never dies of `SIGPIPE` while no sitter is there, and the next sitter
//! opens it again by its name. It belongs to the score's user, so that `/dev/stdout` works in a
//! script; the directory around it lets that user reach no name.
//!
//! The file beside it holds the stream's first `output_max` bytes. What comes after goes round and
//! round in a ring behind them, so that the last bytes are the true last bytes however much was
//! written, no memory is held for it, and the next sitter finds all of it:
//!
//! ```text
//! first bytes (limit) │ ring of the latest ones (≤ 48 KiB) │ bytes in all: u64 │ limit: u64
//! ```
//!
//! Ring and trailer are there only where there is more than fits the first part. A sitter that is
//! killed between reading a pipe and writing the file takes those bytes with it (at most 64 KiB).

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    os::unix::fs::FileExt,
};

use orchestra_model::{delivery::Output, limits};
use rustix::{
    fd::{AsFd, BorrowedFd, OwnedFd},
    fs::{FileType, Mode, OFlags, RawMode},
    io::Errno,
};

use super::sys::Identity;

/// Which stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

impl Stream {
    fn file(self) -> &'static str {
        match self {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
        }
    }

    fn pipe(self) -> &'static str {
        match self {
            Stream::Stdout => "stdout.pipe",
            Stream::Stderr => "stderr.pipe",
        }
    }
}

/// How far reading came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Drained {
    /// Nobody can write any more.
    End,
    /// Nothing is there now.
    Empty,
    /// There may be more; it is somebody else's turn.
    More,
}

/// What is read at once: all that a pipe holds by default.
pub(crate) const CHUNK: usize = 64 << 10;
/// How many chunks one stream may take before the others have their turn.
const TURN: usize = 16;

/// The file of one stream.
#[derive(Debug)]
pub(crate) struct Capture {
    file: File,
    /// How many first bytes are kept.
    limit: u64,
    /// Bytes in all.
    total: u64,
    /// The file could not be written: it holds so many first bytes, and no ring.
    broken_at: Option<u64>,
}

impl Capture {
    /// Makes the file and the pipe. The second value is for the score; the third is ours.
    pub(crate) fn create(
        dir: BorrowedFd<'_>,
        stream: Stream,
        limit: u64,
        owner: Option<&Identity>,
    ) -> io::Result<(Self, OwnedFd, Pipe)> {
        let private = Mode::from_raw_mode(0o600 as RawMode);
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = File::from(rustix::fs::openat(dir, stream.file(), flags, private)?);
        rustix::fs::mknodat(dir, stream.pipe(), FileType::Fifo, private, 0)?;
        let pipe = Pipe::open(dir, stream)?;
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let writer = rustix::fs::openat(dir, stream.pipe(), flags, Mode::empty())?;
        if let Some(owner) = owner {
            let uid = rustix::fs::Uid::from_raw(owner.uid);
            rustix::fs::fchown(&writer, Some(uid), None)?;
        }
        Ok((Self { file, limit, total: 0, broken_at: None }, writer, pipe))
    }

    /// Goes on with the file of an earlier sitter, which may have had another limit.
    pub(crate) fn reopen(dir: BorrowedFd<'_>, stream: Stream, limit: u64) -> io::Result<Self> {
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = File::from(rustix::fs::openat(dir, stream.file(), flags, Mode::empty())?);
        let len = file.metadata()?.len();
        Ok(match trailer(&file, len) {
            Some((total, limit)) => Self { file, limit, total, broken_at: None },
            None => Self { file, limit: limit.max(len), total: len, broken_at: None },
        })
    }

    /// Takes the next bytes of the stream. A file that cannot be written keeps what it has; bytes
    /// are still counted.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let at = self.total;
        self.total += bytes.len() as u64;
        if self.broken_at.is_some() {
            return;
        }
        if let Err(error) = self.write(at, bytes) {
            tracing::warn!(%error, "cannot keep an attempt's output; it is cut here");
            self.broken_at = Some(at.min(self.limit));
        }
    }

    fn write(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        let first = usize::try_from(self.limit.saturating_sub(at)).unwrap_or(usize::MAX);
        let (first, mut late) = bytes.split_at(first.min(bytes.len()));
        self.file.write_all_at(first, at)?;
        if late.is_empty() {
            return Ok(());
        }
        // Only the last round of the ring is worth writing.
        let ring = ring(self.limit);
        let skipped = late.len().saturating_sub(ring as usize);
        late = &late[skipped..];
        let mut place = (self.total - late.len() as u64 - self.limit) % ring;
        while !late.is_empty() {
            let (now, later) = late.split_at(late.len().min((ring - place) as usize));
            self.file.write_all_at(now, self.limit + place)?;
            (late, place) = (later, 0);
        }
        let trailer = [self.total.to_le_bytes(), self.limit.to_le_bytes()];
        self.file.write_all_at(trailer.as_flattened(), self.limit + ring)
    }

    /// What travels with the result.
    pub(crate) fn output(&self) -> io::Result<Output> {
        let kept = self.broken_at.unwrap_or(self.total);
        let head_len = kept.min(self.limit).min(limits::OUTPUT_HEAD_BYTES as u64);
        let mut head = vec![0; head_len as usize];
        self.file.read_exact_at(&mut head, 0)?;
        let tail = (self.total - head_len).min(limits::OUTPUT_TAIL_BYTES as u64);
        let tail = self.last(tail)?;
        let truncated = self.total > head_len + tail.len() as u64;
        Ok(Output { head, tail, bytes: self.total, truncated })
    }

    /// All that was kept, for reading line by line: where bytes are missing between the first part
    /// and the ring, so are the lines that they tore.
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
        let file = FileFrom { file: &self.file, at: 0 }.take(first);
        Ok(BufReader::new(file).chain(seam).chain(io::Cursor::new(late.to_vec())))
    }

    /// The last `count` bytes, or as many as are there without a gap.
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
        self.file.read_exact_at(first, self.total - count)?;
        let mut place = (self.total - late).saturating_sub(self.limit) % ring;
        while !rest.is_empty() {
            let now = rest.len().min((ring - place) as usize);
            let (part, later) = rest.split_at_mut(now);
            self.file.read_exact_at(part, self.limit + place)?;
            (rest, place) = (later, 0);
        }
        Ok(bytes)
    }

    /// Where the last whole line among the first `len` bytes ends.
    fn end_of_line_before(&self, len: u64) -> io::Result<u64> {
        let mut chunk = [0; 4 << 10];
        let mut end = len;
        while end > 0 {
            let from = end.saturating_sub(chunk.len() as u64);
            let part = &mut chunk[..(end - from) as usize];
            self.file.read_exact_at(part, from)?;
            if let Some(newline) = part.iter().rposition(|byte| *byte == b'\n') {
                return Ok(from + newline as u64 + 1);
            }
            end = from;
        }
        Ok(0)
    }
}

/// How many bytes go round behind a first part of `limit` bytes: what a result's tail needs, and
/// never more than the first part.
fn ring(limit: u64) -> u64 {
    limit.min(limits::OUTPUT_TAIL_BYTES as u64)
}

/// What the end of a file says of it, where it has gone round: bytes in all, and its limit. A score
/// could write bytes that look like it, and would spoil what is shown of its own output.
fn trailer(file: &File, len: u64) -> Option<(u64, u64)> {
    let mut trailer = [[0; size_of::<u64>()]; 2];
    let at = len.checked_sub(size_of_val(&trailer) as u64)?;
    file.read_exact_at(trailer.as_flattened_mut(), at).ok()?;
    let [total, limit] = trailer.map(u64::from_le_bytes);
    (limit > 0 && limit.checked_add(ring(limit)) == Some(at) && total > limit)
        .then_some((total, limit))
}

/// Reads a file from some place on, without moving it for others.
struct FileFrom<'a> {
    file: &'a File,
    at: u64,
}

impl Read for FileFrom<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

/// The sitter's end of a stream.
#[derive(Debug)]
pub(crate) struct Pipe(OwnedFd);

impl Pipe {
    /// Opens the pipe of an attempt's directory.
    pub(crate) fn open(dir: BorrowedFd<'_>, stream: Stream) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(Self(rustix::fs::openat(dir, stream.pipe(), flags, Mode::empty())?))
    }

    /// Reads for one turn, through `chunk`, and gives what came to `take`.
    pub(crate) fn drain(&self, chunk: &mut [u8], mut take: impl FnMut(&[u8])) -> Drained {
        for _ in 0..TURN {
            match rustix::io::read(&self.0, &mut *chunk) {
                Ok(0) => return Drained::End,
                Ok(read) => take(&chunk[..read]),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Drained::Empty,
                Err(error) => {
                    tracing::warn!(error = %io::Error::from(error), "cannot read a pipe");
                    return Drained::End;
                }
            }
        }
        Drained::More
    }
}

impl AsFd for Pipe {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Removes the files of an attempt's directory and leaves its pipes to whoever still writes.
pub(crate) fn remove_files(dir: BorrowedFd<'_>) -> io::Result<()> {
    super::spool_dir::remove_file(dir, Stream::Stdout.file())?;
    super::spool_dir::remove_file(dir, Stream::Stderr.file())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Byte number `n` of a stream that tells its places apart.
    fn byte(n: u64) -> u8 {
        (n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8
    }

    fn check(limit: u64, total: u64, step: usize) {
        let temp = tempfile::tempdir().unwrap();
        let dir = rustix::fs::open(temp.path(), OFlags::RDONLY, Mode::empty()).unwrap();
        let (mut capture, _writer, _pipe) =
            Capture::create(dir.as_fd(), Stream::Stdout, limit, None).unwrap();
        let written: Vec<u8> = (0..total).map(byte).collect();
        for chunk in written.chunks(step) {
            capture.push(chunk);
        }
        let output = capture.output().unwrap();
        let what = format!("limit {limit}, {total} bytes in steps of {step}");
        let head = limits::OUTPUT_HEAD_BYTES.min(written.len()).min(limit as usize);
        let tail = (written.len() - head).min(limits::OUTPUT_TAIL_BYTES);
        let tail = if total > limit + ring(limit) { tail.min(ring(limit) as usize) } else { tail };
        assert!(output.head == written[..head], "{what}: head");
        assert!(output.tail == written[written.len() - tail..], "{what}: tail");
        assert_eq!(output.bytes, total, "{what}");
        assert_eq!(output.truncated, (head + tail) as u64 != total, "{what}");
        drop(capture);
        for other_limit in [limit, limit * 2, limit / 2] {
            let again = Capture::reopen(dir.as_fd(), Stream::Stdout, other_limit).unwrap();
            assert!(again.output().unwrap() == output, "{what}: reopened with {other_limit}");
        }
        let len = std::fs::metadata(temp.path().join("stdout")).unwrap().len();
        assert!(len <= limit + ring(limit) + 16, "{what}: {len} bytes on disk");
    }

    #[test]
    fn head_and_tail_are_true_whatever_the_amount() {
        let limit = 1 << 17;
        let ring = ring(limit);
        for total in [0, 1, 16 << 10, 64 << 10, limit - 1, limit, limit + 1, limit + ring, 1 << 20]
        {
            for step in [1 << 16, 4_097] {
                check(limit, total, step);
            }
        }
        for total in [100, 4_096, 5_000, 8_192, 8_193, 100_000] {
            check(4_096, total, 4_096);
            check(4_096, total, 65_536);
        }
    }

    #[test]
    fn lines_that_were_torn_are_left_out() {
        let temp = tempfile::tempdir().unwrap();
        let dir = rustix::fs::open(temp.path(), OFlags::RDONLY, Mode::empty()).unwrap();
        let (mut capture, _writer, _pipe) =
            Capture::create(dir.as_fd(), Stream::Stdout, 4_096, None).unwrap();
        for n in 0..10_000 {
            capture.push(format!("KEY{n}={n}\n").as_bytes());
        }
        let lines: Vec<String> = capture.lines().unwrap().lines().map(Result::unwrap).collect();
        let whole = |line: &String| match line.strip_prefix("KEY").and_then(|l| l.split_once('=')) {
            Some((key, value)) => key == value,
            None => line.is_empty(),
        };
        assert!(lines.iter().all(whole), "{lines:?}");
        assert_eq!(lines.first().map(String::as_str), Some("KEY0=0"));
        assert_eq!(lines.last().map(String::as_str), Some("KEY9999=9999"));
    }
}
