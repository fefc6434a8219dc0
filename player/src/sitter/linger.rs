//! Pipes that outlive their attempt: a daemon that was left on purpose may write to them for ever.
//!
//! Because a score has its pipes open for reading too, a pipe that nobody reads does not break; it
//! fills, and its writer waits for ever. So what comes is read and thrown away until nobody has
//! the pipe open any more. The attempt's directory stays as long, so that the next sitter can go
//! on.

use rustix::fd::{AsFd, BorrowedFd};

use super::{
    capture::{Drained, Pipe, Stream},
    spool_dir::SpoolDir,
};

/// The pipes of an attempt that is over.
#[derive(Debug)]
pub(crate) struct Lingering {
    /// The attempt's directory.
    name: String,
    /// Those that somebody may still write to: standard output, standard error.
    pipes: [Option<Pipe>; 2],
}

impl Lingering {
    /// What is left of an attempt.
    pub(crate) fn new(name: String, pipes: [Option<Pipe>; 2]) -> Self {
        Self { name, pipes }
    }

    /// What an earlier sitter left.
    pub(crate) fn reopen(spool_dir: &SpoolDir, name: String) -> Self {
        let dir = spool_dir.open_attempt(&name).ok();
        let pipes = [Stream::Stdout, Stream::Stderr]
            .map(|stream| Pipe::open(dir.as_ref()?.as_fd(), stream).ok());
        Self { name, pipes }
    }

    /// Reads from one of them for a turn.
    pub(crate) fn drain(&mut self, index: usize, chunk: &mut [u8]) {
        if let Some(pipe) = self.pipes.get_mut(index)
            && pipe.as_ref().is_some_and(|pipe| pipe.drain(None, chunk) == Drained::End)
        {
            *pipe = None;
        }
    }

    /// Its open pipes, by index.
    pub(crate) fn pipes(&self) -> impl Iterator<Item = (usize, BorrowedFd<'_>)> {
        self.pipes
            .iter()
            .enumerate()
            .filter_map(|(index, pipe)| Some((index, pipe.as_ref()?.as_fd())))
    }

    /// Whether nobody can write any more: its directory is of no more use.
    pub(crate) fn is_over(&self) -> bool {
        self.pipes.iter().all(Option::is_none)
    }

    /// The attempt's directory.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}
