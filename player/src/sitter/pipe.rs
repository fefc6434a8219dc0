//! A launcher's end of an attempt's pipe. See `stream.rs` for why no sitter has one.

use std::io;

use rustix::{
    fd::{AsFd, BorrowedFd, OwnedFd},
    fs::{Mode, OFlags},
    io::Errno,
};

use super::stream::Stream;

/// Where a pipe's bytes go.
pub(crate) trait Sink {
    /// Moves what a pipe holds now to where it belongs. How much it was; 0 is the end. `chunk` is for
    /// what has to go through memory.
    fn take(&mut self, pipe: &Pipe, holds: Holds, chunk: &mut [u8]) -> Result<usize, Errno>;
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

/// What is known of a pipe before it is read: asking it costs as much as reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holds {
    /// There is something in it.
    Something,
    /// There was nothing in it just now.
    Nothing,
    /// Nobody has looked.
    Unknown,
}

/// What is read at once: all that a pipe holds by default.
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

    /// The same of any other pipe of a unit's directory.
    pub(crate) fn open_named(dir: BorrowedFd<'_>, name: &str) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(Self(rustix::fs::openat(dir, name, flags, Mode::empty())?))
    }

    /// Opens it as the score is to have it.
    pub(crate) fn open_for_the_score(dir: BorrowedFd<'_>, name: &str) -> io::Result<OwnedFd> {
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(dir, name, flags, Mode::empty())?)
    }

    /// Empties it for one turn: into `sink`, or into nothing. `chunk` is for what has to go
    /// through memory.
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
