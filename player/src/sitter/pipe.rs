//! A launcher's end of an attempt's pipe. `stream.rs` says why the sitter has none.

use std::io;

use rustix::{
    fd::{AsFd, BorrowedFd, OwnedFd},
    fs::{Mode, OFlags},
    io::Errno,
};

use super::stream::Stream;

/// Where a pipe's bytes go.
pub(crate) trait Sink {
    /// Moves what a pipe holds now to where it belongs. Returns how many bytes it was; 0 is the
    /// end. `chunk` is a buffer for bytes that have to go through memory.
    fn take(&mut self, pipe: &Pipe, holds: Holds, chunk: &mut [u8]) -> Result<usize, Errno>;
}

/// How far reading came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Drained {
    /// No process can write any more.
    End,
    /// Nothing is there now.
    Empty,
    /// There may be more, but others have their turn now.
    More,
}

/// What is known of a pipe before it is read. To ask would cost as much as to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holds {
    /// There is something in it.
    Something,
    /// There was nothing in it just now.
    Nothing,
    /// It is not known.
    Unknown,
}

/// Most bytes that are read at once: what a pipe holds by default.
pub(crate) const CHUNK: usize = 64 << 10;
/// How many chunks one stream may take before the others have their turn.
const TURN: usize = 16;

/// The reading end of a stream.
#[derive(Debug)]
pub(crate) struct Pipe(OwnedFd);

impl Pipe {
    /// Opens the pipe of an attempt's directory.
    pub(crate) fn open(dir: BorrowedFd<'_>, stream: Stream) -> io::Result<Self> {
        Self::open_named(dir, stream.pipe())
    }

    /// Opens another pipe of a unit's directory.
    pub(crate) fn open_named(dir: BorrowedFd<'_>, name: &str) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(Self(rustix::fs::openat(dir, name, flags, Mode::empty())?))
    }

    /// Opens the end of a pipe that the score gets.
    pub(crate) fn open_for_the_score(dir: BorrowedFd<'_>, name: &str) -> io::Result<OwnedFd> {
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(dir, name, flags, Mode::empty())?)
    }

    /// Empties the pipe for one turn, into `sink` or into nothing. `chunk` is a buffer for bytes
    /// that have to go through memory.
    pub(crate) fn drain(
        &self,
        mut sink: Option<&mut (dyn Sink + 'static)>,
        mut holds: Holds,
        chunk: &mut [u8],
    ) -> Drained {
        for _ in 0..TURN {
            let holds = std::mem::replace(&mut holds, Holds::Unknown);
            let taken = match &mut sink {
                Some(sink) => sink.take(self, holds, chunk),
                None => self.read(chunk),
            };
            match taken {
                Ok(0) => return Drained::End,
                Ok(_) | Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Drained::Empty,
                Err(_) => return Drained::End,
            }
        }
        Drained::More
    }

    pub(super) fn read(&self, chunk: &mut [u8]) -> Result<usize, Errno> {
        rustix::io::read(&self.0, chunk)
    }

    pub(super) fn holds_something(&self) -> bool {
        rustix::io::ioctl_fionread(&self.0).is_ok_and(|bytes| bytes > 0)
    }
}

impl AsFd for Pipe {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
