//! What an attempt writes: from its pipes into files of the sitter's, capped.
//!
//! Each stream is a FIFO in the attempt's directory of the spool. The score has it open for reading
//! *and* writing, so that it never dies of `SIGPIPE` while no sitter is there, and the next sitter
//! opens it again by its name. It belongs to the score's user, so that `/dev/stdout` works in a
//! script; the directory around it lets that user reach no name. It is made for one attempt and
//! removed with it.
//!
//! The file beside it holds the stream's first `output_max` bytes. What comes after goes round and
//! round in a ring behind them, so that the last bytes are the true last bytes however much was
//! written, no memory is held for it, and the next sitter finds all of it:
//!
//! ```text
//! first bytes (limit) │ ring of the latest ones (≤ 48 KiB) │ bytes in all: u64 │ limit: u64
//! ```
//!
//! The file is made with the first byte, for many scores say nothing. Ring and trailer are there only where there is more than fits the first part. A sitter that is
//! killed between reading a pipe and writing the file takes those bytes with it (at most 64 KiB).

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    os::unix::fs::FileExt,
    rc::Rc,
};

use orchestra_model::{delivery::Output, limits};
use rustix::{
    fd::{AsFd, BorrowedFd, OwnedFd},
    fs::{FileType, Mode, OFlags},
    io::Errno,
    pipe::SpliceFlags,
};

use super::{spool_dir::remove_file, sys::Identity};

/// Which stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Both of them.
const STREAMS: [Stream; 2] = [Stream::Stdout, Stream::Stderr];

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
/// Most that is moved at once.
const MOVED: usize = 1 << 20;
/// Of what is made here: the owner's alone.
const PRIVATE: Mode = Mode::RUSR.union(Mode::WUSR);
/// How many chunks one stream may take before the others have their turn.
const TURN: usize = 16;

/// The file of one stream.
#[derive(Debug)]
pub(crate) struct Capture {
    /// The attempt's directory.
    dir: Rc<OwnedFd>,
    stream: Stream,
    /// `None` before the first byte.
    file: Option<File>,
    /// How many first bytes are kept.
    limit: u64,
    /// Bytes in all.
    total: u64,
    /// The file could not be written: it holds so many first bytes, and no ring.
    broken_at: Option<u64>,
}

impl Capture {
    /// The file of a new attempt.
    pub(crate) fn new(dir: Rc<OwnedFd>, stream: Stream, limit: u64) -> Self {
        Self { dir, stream, file: None, limit, total: 0, broken_at: None }
    }

    /// The attempt's directory.
    pub(crate) fn dir(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// Whether there is no file, because nothing was said.
    pub(crate) fn is_silent(&self) -> bool {
        self.file.is_none()
    }

    /// Goes on with the file of an earlier sitter, which may have had another limit.
    pub(crate) fn reopen(dir: Rc<OwnedFd>, stream: Stream, limit: u64) -> io::Result<Self> {
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut capture = Self::new(dir, stream, limit);
        let file = match rustix::fs::openat(&capture.dir, stream.file(), flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(Errno::NOENT) => return Ok(capture),
            Err(error) => return Err(error.into()),
        };
        let len = file.metadata()?.len();
        (capture.total, capture.limit) = trailer(&file, len).unwrap_or((len, limit.max(len)));
        capture.file = Some(file);
        Ok(capture)
    }

    /// Moves what a pipe holds now to where it belongs. The kernel moves it, without a way through
    /// our memory: a sitter that is killed between two system calls loses none of it.
    ///
    /// How much it was; 0 is the end. A file that cannot be written keeps what it has; bytes are
    /// still counted.
    fn take(&mut self, pipe: &Pipe, chunk: &mut [u8]) -> Result<usize, Errno> {
        // The end of a stream that held nothing makes no file.
        if self.broken_at.is_none() && (self.file.is_some() || pipe.holds_something()) {
            match self.splice(pipe) {
                Ok(moved) => return Ok(moved),
                Err(error @ (Errno::AGAIN | Errno::INTR)) => return Err(error),
                // Writing says whether it is the file system's lack of this call, or of space.
                Err(_) => {}
            }
        }
        let read = pipe.read(chunk)?;
        self.push(&chunk[..read]);
        Ok(read)
    }

    fn splice(&mut self, pipe: &Pipe) -> Result<usize, Errno> {
        let (limit, total, ring) = (self.limit, self.total, ring(self.limit));
        let (mut place, room) = if total < limit {
            (total, limit - total)
        } else {
            let place = (total - limit) % ring;
            (limit + place, ring - place)
        };
        let room = usize::try_from(room).unwrap_or(usize::MAX).min(MOVED);
        let flags = SpliceFlags::NONBLOCK;
        let moved = rustix::pipe::splice(pipe, None, self.file()?, Some(&mut place), room, flags)?;
        self.total += moved as u64;
        if moved > 0 && self.total > limit {
            let written = self.write_trailer();
            self.keep_going(written, limit);
        }
        Ok(moved)
    }

    /// Takes the next bytes of the stream.
    fn push(&mut self, bytes: &[u8]) {
        let at = self.total;
        self.total += bytes.len() as u64;
        if self.broken_at.is_none() && !bytes.is_empty() {
            let written = self.write(at, bytes);
            self.keep_going(written, at);
        }
    }

    /// After a failure the file keeps its first bytes, up to the `at`th, and takes no more.
    fn keep_going(&mut self, written: io::Result<()>, at: u64) {
        if let Err(error) = written {
            tracing::warn!(%error, "cannot keep an attempt's output; it is cut here");
            self.broken_at = Some(at.min(self.limit));
        }
    }

    fn write(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        let (limit, total, ring) = (self.limit, self.total, ring(self.limit));
        let file = self.file()?;
        let first = usize::try_from(limit.saturating_sub(at)).unwrap_or(usize::MAX);
        let (first, mut late) = bytes.split_at(first.min(bytes.len()));
        file.write_all_at(first, at)?;
        if late.is_empty() {
            return Ok(());
        }
        // Only the last round of the ring is worth writing.
        late = &late[late.len().saturating_sub(ring as usize)..];
        let mut place = (total - late.len() as u64 - limit) % ring;
        while !late.is_empty() {
            let (now, later) = late.split_at(late.len().min((ring - place) as usize));
            file.write_all_at(now, limit + place)?;
            (late, place) = (later, 0);
        }
        self.write_trailer()
    }

    fn write_trailer(&mut self) -> io::Result<()> {
        let trailer = [self.total.to_le_bytes(), self.limit.to_le_bytes()];
        let at = self.limit + ring(self.limit);
        self.file()?.write_all_at(trailer.as_flattened(), at)
    }

    fn file(&mut self) -> Result<&File, Errno> {
        match &mut self.file {
            Some(file) => Ok(file),
            none => Ok(none.insert(create(&self.dir, self.stream)?)),
        }
    }

    /// What travels with the result.
    pub(crate) fn output(&self) -> io::Result<Output> {
        let kept = self.broken_at.unwrap_or(self.total);
        let head_len = kept.min(self.limit).min(limits::OUTPUT_HEAD_BYTES as u64);
        let mut head = vec![0; head_len as usize];
        self.read_at(&mut head, 0)?;
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
        let file = FromStart { capture: self, at: 0 }.take(first);
        Ok(BufReader::new(file).chain(seam).chain(io::Cursor::new(late.to_vec())))
    }

    fn read_at(&self, bytes: &mut [u8], at: u64) -> io::Result<()> {
        match &self.file {
            Some(file) => file.read_exact_at(bytes, at),
            // Nothing was written, so nothing is asked for.
            None if bytes.is_empty() => Ok(()),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
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

    /// Where the last whole line among the first `len` bytes ends.
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

fn create(dir: &OwnedFd, stream: Stream) -> Result<File, Errno> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(dir, stream.file(), flags, PRIVATE)?.into())
}

/// Reads the first part, as far as it goes.
struct FromStart<'a> {
    capture: &'a Capture,
    at: u64,
}

impl Read for FromStart<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read =
            self.capture.file.as_ref().map_or(Ok(0), |file| file.read_at(buffer, self.at))?;
        self.at += read as u64;
        Ok(read)
    }
}

/// The sitter's end of a stream.
#[derive(Debug)]
pub(crate) struct Pipe(OwnedFd);

impl Pipe {
    /// Makes a pipe in an attempt's directory. The second value is for the score, which runs as
    /// `owner`.
    ///
    /// It is a new one for each attempt. One that was used before could still be reached: a
    /// process that an earlier attempt of this user has left may hold a descriptor of it without
    /// having it open (`O_PATH`), which nothing shows, and open it when it likes.
    pub(crate) fn create(
        dir: BorrowedFd<'_>,
        stream: Stream,
        owner: Option<&Identity>,
    ) -> io::Result<(Self, OwnedFd)> {
        let make = || rustix::fs::mknodat(dir, stream.pipe(), FileType::Fifo, PRIVATE, 0);
        match make() {
            // Nothing that was here before is of use.
            Err(Errno::EXIST) => {
                remove_file(dir, stream.pipe())?;
                make()?;
            }
            made => made?,
        }
        let pipe = Self::open(dir, stream)?;
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let writer = rustix::fs::openat(dir, stream.pipe(), flags, Mode::empty())?;
        if let Some(owner) = owner {
            let uid = rustix::fs::Uid::from_raw(owner.uid);
            rustix::fs::fchown(&writer, Some(uid), None)?;
        }
        Ok((pipe, writer))
    }

    /// Opens the pipe of an attempt's directory.
    pub(crate) fn open(dir: BorrowedFd<'_>, stream: Stream) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(Self(rustix::fs::openat(dir, stream.pipe(), flags, Mode::empty())?))
    }

    /// Empties it for one turn: into `capture`, or into nothing. `chunk` is for what has to go
    /// through memory.
    pub(crate) fn drain(&self, mut capture: Option<&mut Capture>, chunk: &mut [u8]) -> Drained {
        for _ in 0..TURN {
            let taken = match &mut capture {
                Some(capture) => capture.take(self, chunk),
                None => self.read(chunk),
            };
            match taken {
                Ok(0) => return Drained::End,
                Ok(_) | Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Drained::Empty,
                Err(error) => {
                    tracing::warn!(error = %io::Error::from(error), "cannot read a pipe");
                    return Drained::End;
                }
            }
        }
        Drained::More
    }

    fn read(&self, chunk: &mut [u8]) -> Result<usize, Errno> {
        rustix::io::read(&self.0, chunk)
    }

    fn holds_something(&self) -> bool {
        rustix::io::ioctl_fionread(&self.0).is_ok_and(|bytes| bytes > 0)
    }
}

impl AsFd for Pipe {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Removes the files of an attempt's directory and leaves its pipes to whoever still writes.
pub(crate) fn remove_files(dir: BorrowedFd<'_>) -> io::Result<()> {
    STREAMS.iter().try_for_each(|stream| remove_file(dir, stream.file()))
}

/// Empties an attempt's directory for another one: its pipes are removed, and what was said is cut
/// off. `silent`: there are no files.
pub(crate) fn clear(dir: BorrowedFd<'_>, silent: bool) -> io::Result<()> {
    remove_pipes(dir)?;
    let said = if silent { &[][..] } else { &STREAMS };
    for stream in said {
        let flags = OFlags::WRONLY | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(dir, stream.file(), flags, Mode::empty()) {
            Ok(_) | Err(Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Removes everything that was made here in an attempt's directory.
pub(crate) fn remove_all(dir: BorrowedFd<'_>) -> io::Result<()> {
    remove_files(dir)?;
    remove_pipes(dir)
}

fn remove_pipes(dir: BorrowedFd<'_>) -> io::Result<()> {
    STREAMS.iter().try_for_each(|stream| remove_file(dir, stream.pipe()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Byte number `n` of a stream that tells its places apart.
    fn byte(n: u64) -> u8 {
        (n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8
    }

    /// Writes a stream in steps, through a pipe or as what was read from one, and checks what is
    /// kept of it.
    fn check(limit: u64, total: u64, step: usize, piped: bool) {
        let temp = tempfile::tempdir().unwrap();
        let dir = Rc::new(rustix::fs::open(temp.path(), OFlags::RDONLY, Mode::empty()).unwrap());
        let mut capture = Capture::new(Rc::clone(&dir), Stream::Stdout, limit);
        let (pipe, writer) = Pipe::create(dir.as_fd(), Stream::Stdout, None).unwrap();
        let written: Vec<u8> = (0..total).map(byte).collect();
        for chunk in written.chunks(step) {
            if piped {
                rustix::io::write(&writer, chunk).unwrap();
                assert_eq!(pipe.drain(Some(&mut capture), &mut [0; 10]), Drained::Empty);
            } else {
                capture.push(chunk);
            }
        }
        drop(writer);
        // A process that another test is just making holds our writer's end until it is executed.
        while pipe.drain(Some(&mut capture), &mut [0; 10]) != Drained::End {
            std::thread::yield_now();
        }
        let output = capture.output().unwrap();
        let what = format!("limit {limit}, {total} bytes in steps of {step}, piped: {piped}");
        let head = limits::OUTPUT_HEAD_BYTES.min(written.len()).min(limit as usize);
        let tail = (written.len() - head).min(limits::OUTPUT_TAIL_BYTES);
        let tail = if total > limit + ring(limit) { tail.min(ring(limit) as usize) } else { tail };
        assert!(output.head == written[..head], "{what}: head");
        assert!(output.tail == written[written.len() - tail..], "{what}: tail");
        assert_eq!(output.bytes, total, "{what}");
        assert_eq!(output.truncated, (head + tail) as u64 != total, "{what}");
        drop(capture);
        for other_limit in [limit, limit * 2, limit / 2] {
            let again = Capture::reopen(Rc::clone(&dir), Stream::Stdout, other_limit).unwrap();
            assert!(again.output().unwrap() == output, "{what}: reopened with {other_limit}");
        }
        let len = std::fs::metadata(temp.path().join("stdout")).map_or(0, |file| file.len());
        assert_eq!(total == 0, !temp.path().join("stdout").exists(), "{what}");
        assert!(len <= limit + ring(limit) + 16, "{what}: {len} bytes on disk");
    }

    #[test]
    fn head_and_tail_are_true_whatever_the_amount() {
        let limit = 1 << 17;
        let ring = ring(limit);
        for total in [0, 1, 16 << 10, 64 << 10, limit - 1, limit, limit + 1, limit + ring, 1 << 20]
        {
            for (step, piped) in [(1 << 16, false), (4_097, false), (1 << 16, true), (4_097, true)]
            {
                check(limit, total, step, piped);
            }
        }
        for total in [100, 4_096, 5_000, 8_192, 8_193, 100_000] {
            for (step, piped) in [(4_096, false), (1 << 16, false), (4_096, true)] {
                check(4_096, total, step, piped);
            }
        }
    }

    #[test]
    fn lines_that_were_torn_are_left_out() {
        let temp = tempfile::tempdir().unwrap();
        let dir = rustix::fs::open(temp.path(), OFlags::RDONLY, Mode::empty()).unwrap();
        let mut capture = Capture::new(Rc::new(dir), Stream::Stdout, 4_096);
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
