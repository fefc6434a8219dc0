//! What lies in an attempt's directory: for each stream a pipe, and a file with what came out of
//! it.
//!
//! A pipe is a FIFO. The score has it open for reading *and* writing, so the score never dies of
//! `SIGPIPE` while nobody reads, and the next reader can open it again by its name. It belongs to
//! the score's user, so that `/dev/stdout` works in a script; the mode of the directory keeps that
//! user from the names in it. It is made for one attempt and removed with it.
//!
//! ***The sitter opens no pipe.** The kernel copies into a pipe from the writer's memory while it
//! holds the pipe's lock, and that memory may be a mapping of a file that does not answer. Then
//! every process that opens, reads or closes the pipe waits as long, even if it asked not to wait,
//! and cannot be killed. What the sitter does here (making, looking, removing by name) takes no
//! such lock. The rest is in `pipe.rs`, for launchers.

use std::io;

use orchestra_model::service::LogStream;
use rustix::{
    fd::BorrowedFd,
    fs::{AtFlags, FileType, Mode, OFlags, Uid},
    io::Errno,
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

/// Both of them, in the order of their numbers.
pub(crate) const STREAMS: [Stream; 2] = [Stream::Stdout, Stream::Stderr];

/// The mode of what is made here: for the owner alone.
pub(crate) const PRIVATE: Mode = Mode::RUSR.union(Mode::WUSR);

impl From<LogStream> for Stream {
    fn from(stream: LogStream) -> Self {
        match stream {
            LogStream::Stdout => Self::Stdout,
            LogStream::Stderr => Self::Stderr,
        }
    }
}

impl From<Stream> for LogStream {
    fn from(stream: Stream) -> Self {
        match stream {
            Stream::Stdout => Self::Stdout,
            Stream::Stderr => Self::Stderr,
        }
    }
}

impl Stream {
    /// The name of its file.
    pub(crate) fn file(self) -> &'static str {
        match self {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
        }
    }

    /// Returns how the names of a unit's files for this stream begin.
    pub(crate) fn stem(self) -> &'static str {
        match self {
            Stream::Stdout => "out",
            Stream::Stderr => "err",
        }
    }

    /// The name of its pipe.
    pub(crate) fn pipe(self) -> &'static str {
        match self {
            Stream::Stdout => "stdout.pipe",
            Stream::Stderr => "stderr.pipe",
        }
    }
}

/// The name of the pipe through which a unit's run says that it is ready.
pub(crate) const READY_PIPE: &str = "ready.pipe";

/// Makes the pipe through which a unit's run says that it is ready.
pub(crate) fn make_ready_pipe(dir: BorrowedFd<'_>, owner: Option<&Identity>) -> io::Result<()> {
    make_pipe(dir, READY_PIPE, owner)
}

/// Makes the pipes of an attempt that runs as `owner`.
///
/// Each attempt gets new pipes, because an earlier attempt's pipe could still be reached: a process
/// that it has left may hold a descriptor of the pipe without having it open (`O_PATH`). Nothing
/// shows that, and the process can open the pipe at any time.
pub(crate) fn make_pipes(dir: BorrowedFd<'_>, owner: Option<&Identity>) -> io::Result<()> {
    STREAMS.iter().try_for_each(|stream| make_pipe(dir, stream.pipe(), owner))
}

fn make_pipe(dir: BorrowedFd<'_>, name: &str, owner: Option<&Identity>) -> io::Result<()> {
    let make = || rustix::fs::mknodat(dir, name, FileType::Fifo, PRIVATE, 0);
    match make() {
        // A pipe that was here before must not be used.
        Err(Errno::EXIST) => {
            remove_file(dir, name)?;
            make()?;
        }
        made => made?,
    }
    if let Some(owner) = owner {
        let uid = Uid::from_raw(owner.uid);
        rustix::fs::chownat(dir, name, Some(uid), None, AtFlags::SYMLINK_NOFOLLOW)?;
    }
    Ok(())
}

/// Returns the owner of an attempt's pipes; `None` if there are none.
pub(crate) fn owner_of_pipes(dir: BorrowedFd<'_>) -> Option<u32> {
    let look =
        |stream: Stream| rustix::fs::statat(dir, stream.pipe(), AtFlags::SYMLINK_NOFOLLOW).ok();
    STREAMS.into_iter().find_map(look).map(|found| found.st_uid)
}

/// Removes the files of an attempt's directory, and leaves its pipes to processes that still write.
pub(crate) fn remove_files(dir: BorrowedFd<'_>) -> io::Result<()> {
    STREAMS.iter().try_for_each(|stream| remove_file(dir, stream.file()))
}

/// Empties an attempt's directory for another attempt: removes its pipes, and truncates its files.
/// `silent`: there are no files.
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

/// Removes everything that is made in an attempt's directory.
pub(crate) fn remove_all(dir: BorrowedFd<'_>) -> io::Result<()> {
    remove_files(dir)?;
    remove_pipes(dir)
}

fn remove_pipes(dir: BorrowedFd<'_>) -> io::Result<()> {
    STREAMS.iter().try_for_each(|stream| remove_file(dir, stream.pipe()))
}
