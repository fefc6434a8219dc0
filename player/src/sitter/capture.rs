//! What an attempt writes: from its pipes into files of the sitter, bounded in length.
//!
//! This is the launcher's side, which makes the files; `kept.rs` is the sitter's, which reads them,
//! and `pipe.rs` has the pipes. The file of a stream holds its first `output_max` bytes. The bytes
//! after those fill a ring behind them, over and over. So the last bytes are kept however much was
//! written, they take no memory, and the next launcher finds them:
//!
//! ```text
//! first bytes (limit) │ ring of the latest ones (≤ 48 KiB) │ bytes in all: u64 │ limit: u64
//! ```
//!
//! The file is made with the first byte, because many scores write nothing. Ring and trailer exist
//! only if more was written than fits the first part. A launcher that is killed between reading a
//! pipe and writing the file loses those bytes (at most 64 KiB). If the kernel can move the bytes
//! by itself there is no such moment.

use std::{fs::File, io, os::unix::fs::FileExt, sync::Arc};

use orchestra_model::limits;
use rustix::{
    fd::OwnedFd,
    fs::{Mode, OFlags},
    io::Errno,
    pipe::SpliceFlags,
};

use super::{
    pipe::{Holds, Pipe, Sink},
    stream::{PRIVATE, Stream},
};

/// Most bytes that are moved at once.
const MOVED: usize = 1 << 20;

/// The file of one stream.
#[derive(Debug)]
pub(crate) struct Capture {
    /// The attempt's directory.
    dir: Arc<OwnedFd>,
    stream: Stream,
    /// `None` before the first byte.
    file: Option<File>,
    written: Written,
}

/// What was written of a stream, and how its file is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    /// Bytes in all.
    pub(crate) total: u64,
    /// How many first bytes are kept.
    pub(crate) limit: u64,
    /// Set if the file could not be written.
    pub(crate) broken: Option<Broken>,
}

impl Written {
    /// Returns how many bytes the file holds, and how many of them the attempt's end tells.
    pub(super) fn held_and_told(&self) -> (u64, u64) {
        let first = self.total.min(self.broken.map_or(self.limit, |broken| broken.at));
        let head = first.min(limits::OUTPUT_HEAD_BYTES as u64);
        if self.broken.is_some() {
            return (first, head);
        }
        let late = self.total.saturating_sub(self.limit);
        let held = first + late.min(ring(self.limit));
        let tail = (self.total - head).min(limits::OUTPUT_TAIL_BYTES as u64);
        let tail = if late > ring(self.limit) { tail.min(ring(self.limit)) } else { tail };
        (held, head + tail)
    }
}

/// The end of a file that could not be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Broken {
    /// How many first bytes the file holds. It has no ring.
    pub(crate) at: u64,
    /// What the kernel said.
    pub(crate) errno: i32,
}

impl Capture {
    /// The file of a new attempt.
    pub(crate) fn new(dir: Arc<OwnedFd>, stream: Stream, limit: u64) -> Self {
        Self { dir, stream, file: None, written: Written { total: 0, limit, broken: None } }
    }

    /// Returns what was written so far.
    pub(crate) fn written(&self) -> Written {
        self.written
    }

    /// Goes on with the file of an earlier launcher, which may have had another limit.
    pub(crate) fn reopen(dir: Arc<OwnedFd>, stream: Stream, limit: u64) -> io::Result<Self> {
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut capture = Self::new(dir, stream, limit);
        let file = match rustix::fs::openat(&capture.dir, stream.file(), flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(Errno::NOENT) => return Ok(capture),
            Err(error) => return Err(error.into()),
        };
        let len = file.metadata()?.len();
        let (total, limit) = trailer(&file, len).unwrap_or((len, limit.max(len)));
        capture.written = Written { total, limit, broken: None };
        capture.file = Some(file);
        Ok(capture)
    }

    fn splice(&mut self, pipe: &Pipe) -> Result<usize, Errno> {
        let Written { total, limit, .. } = self.written;
        let ring = ring(limit);
        let (mut place, room) = if total < limit {
            (total, limit - total)
        } else {
            let place = (total - limit) % ring;
            (limit + place, ring - place)
        };
        let room = usize::try_from(room).unwrap_or(usize::MAX).min(MOVED);
        let flags = SpliceFlags::NONBLOCK;
        let moved = rustix::pipe::splice(pipe, None, self.file()?, Some(&mut place), room, flags)?;
        self.written.total += moved as u64;
        if moved > 0 && self.written.total > limit {
            let written = self.write_trailer();
            self.keep_going(written, limit);
        }
        Ok(moved)
    }

    /// Takes the next bytes of the stream.
    fn push(&mut self, bytes: &[u8]) {
        let at = self.written.total;
        self.written.total += bytes.len() as u64;
        if self.written.broken.is_none() && !bytes.is_empty() {
            let written = self.write(at, bytes);
            self.keep_going(written, at);
        }
    }

    /// After a failure the file keeps its first bytes, up to `at`, and takes no more.
    fn keep_going(&mut self, written: io::Result<()>, at: u64) {
        if let Err(error) = written {
            let errno = error.raw_os_error().unwrap_or(libc::EIO);
            self.written.broken = Some(Broken { at: at.min(self.written.limit), errno });
        }
    }

    fn write(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        let Written { total, limit, .. } = self.written;
        let ring = ring(limit);
        let file = self.file()?;
        let first = usize::try_from(limit.saturating_sub(at)).unwrap_or(usize::MAX);
        let (first, mut late) = bytes.split_at(first.min(bytes.len()));
        file.write_all_at(first, at)?;
        if late.is_empty() {
            return Ok(());
        }
        // Only the last round of the ring would stay.
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
        let trailer = [self.written.total.to_le_bytes(), self.written.limit.to_le_bytes()];
        let at = self.written.limit + ring(self.written.limit);
        self.file()?.write_all_at(trailer.as_flattened(), at)
    }

    fn file(&mut self) -> Result<&File, Errno> {
        match &mut self.file {
            Some(file) => Ok(file),
            none => Ok(none.insert(create(&self.dir, self.stream)?)),
        }
    }
}

impl Sink for Capture {
    /// Moves what a pipe holds now into the file. The kernel moves it without a way through our
    /// memory, so a launcher that is killed between two system calls loses none of it.
    ///
    /// A file that cannot be written keeps what it has; further bytes are only counted.
    fn take(&mut self, pipe: &Pipe, holds: Holds, chunk: &mut [u8]) -> Result<usize, Errno> {
        // A stream that ends without a byte gets no file.
        let is_worth_a_file = || match holds {
            Holds::Something => true,
            Holds::Nothing => false,
            Holds::Unknown => pipe.holds_something(),
        };
        if self.written.broken.is_none() && (self.file.is_some() || is_worth_a_file()) {
            match self.splice(pipe) {
                Ok(moved) => return Ok(moved),
                Err(error @ (Errno::AGAIN | Errno::INTR)) => return Err(error),
                // The write that follows shows whether the file system lacks this call, or space.
                Err(_) => {}
            }
        }
        let read = pipe.read(chunk)?;
        self.push(&chunk[..read]);
        Ok(read)
    }
}

/// Returns the length of the ring behind a first part of `limit` bytes: as much as a result's tail
/// needs, and never more than the first part.
pub(super) fn ring(limit: u64) -> u64 {
    limit.min(limits::OUTPUT_TAIL_BYTES as u64)
}

/// Reads the trailer of a file that has a ring: bytes in all, and the limit. A score could write
/// bytes that look like a trailer; it would only spoil how its own output is shown.
pub(super) fn trailer(file: &File, len: u64) -> Option<(u64, u64)> {
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

#[cfg(test)]
mod tests {
    use std::io::BufRead;

    use orchestra_model::delivery::Output;
    use rustix::fd::AsFd;

    use super::*;
    use crate::sitter::{
        kept::Kept,
        pipe::{Drained, Pipe},
        stream::make_pipes,
    };

    /// Byte number `n` of a stream whose bytes tell their positions.
    fn byte(n: u64) -> u8 {
        (n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8
    }

    /// Writes a stream in steps, through a pipe or directly, and checks what is kept of it.
    fn check(limit: u64, total: u64, step: usize, piped: bool) {
        let temp = tempfile::tempdir().unwrap();
        let dir = Arc::new(rustix::fs::open(temp.path(), OFlags::RDONLY, Mode::empty()).unwrap());
        let mut capture = Capture::new(Arc::clone(&dir), Stream::Stdout, limit);
        make_pipes(dir.as_fd(), None).unwrap();
        let pipe = Pipe::open(dir.as_fd(), Stream::Stdout).unwrap();
        let writer = Pipe::open_for_the_score(dir.as_fd(), Stream::Stdout.pipe()).unwrap();
        let written: Vec<u8> = (0..total).map(byte).collect();
        let holds = if step.is_multiple_of(2) { Holds::Unknown } else { Holds::Something };
        for chunk in written.chunks(step) {
            if piped {
                rustix::io::write(&writer, chunk).unwrap();
                assert_eq!(pipe.drain(Some(&mut capture), holds, &mut [0; 10]), Drained::Empty);
            } else {
                capture.push(chunk);
            }
        }
        drop(writer);
        // A process that another test is just making holds our writing end until it executes.
        while pipe.drain(Some(&mut capture), Holds::Unknown, &mut [0; 10]) != Drained::End {
            std::thread::yield_now();
        }
        let said = Some(capture.written());
        let kept = Kept::open(dir.as_fd(), Stream::Stdout, limit, said).unwrap();
        let output = kept.output().unwrap();
        let what = format!("limit {limit}, {total} bytes in steps of {step}, piped: {piped}");
        let head = limits::OUTPUT_HEAD_BYTES.min(written.len()).min(limit as usize);
        let tail = (written.len() - head).min(limits::OUTPUT_TAIL_BYTES);
        let tail = if total > limit + ring(limit) { tail.min(ring(limit) as usize) } else { tail };
        assert!(output.head == written[..head], "{what}: head");
        assert!(output.tail == written[written.len() - tail..], "{what}: tail");
        assert_eq!(output.bytes, total, "{what}");
        assert_eq!(output.truncated, (head + tail) as u64 != total, "{what}");
        let held = total.min(limit + ring(limit));
        let told = (head + tail) as u64;
        assert_eq!(capture.written().held_and_told(), (held, told), "{what}");
        drop(capture);
        for other_limit in [limit, limit * 2, limit / 2] {
            let again = Capture::reopen(Arc::clone(&dir), Stream::Stdout, other_limit).unwrap();
            for said in [Some(again.written()), None] {
                let kept = Kept::open(dir.as_fd(), Stream::Stdout, other_limit, said).unwrap();
                // Without a launcher's account there may have been more.
                let truncated = output.truncated || said.is_none();
                let expected = Output { truncated, ..output.clone() };
                assert!(kept.output().unwrap() == expected, "{what}: reopened with {other_limit}");
            }
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
        let dir = Arc::new(dir);
        let mut capture = Capture::new(Arc::clone(&dir), Stream::Stdout, 4_096);
        for n in 0..10_000 {
            capture.push(format!("KEY{n}={n}\n").as_bytes());
        }
        let written = Some(capture.written());
        let kept = Kept::open(dir.as_fd(), Stream::Stdout, 4_096, written).unwrap();
        let lines: Vec<String> = kept.lines().unwrap().lines().map(Result::unwrap).collect();
        let whole = |line: &String| match line.strip_prefix("KEY").and_then(|l| l.split_once('=')) {
            Some((key, value)) => key == value,
            None => line.is_empty(),
        };
        assert!(lines.iter().all(whole), "{lines:?}");
        assert_eq!(lines.first().map(String::as_str), Some("KEY0=0"));
        assert_eq!(lines.last().map(String::as_str), Some("KEY9999=9999"));
    }
}
