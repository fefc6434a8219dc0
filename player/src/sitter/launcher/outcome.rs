//! What comes of a request for a newborn.

use std::{error::Error, fmt, io};

use rustix::fd::OwnedFd;

use super::{
    wire::{Account, TapId},
    words::Word,
};
use crate::sitter::sys::SpawnError;

/// A process that came of a request.
#[derive(Debug)]
pub(crate) struct Born {
    /// Its number, and that of its group and session.
    pub(crate) pid: i32,
    /// When it was made, in clock ticks since boot.
    pub(crate) start_ticks: u64,
    /// Itself.
    pub(crate) pidfd: OwnedFd,
    /// How it has ended already, as `wait` says it, and been reaped.
    pub(crate) ended: Option<i32>,
}

/// What a launcher says, or what is to be said in its place. `T` says what a newborn is for.
#[derive(Debug)]
pub(crate) enum Said<T> {
    /// What came of a request.
    Launched(T, Launched),
    /// A launcher reads this tap whose pipes nobody may have had open for a while: had its attempt
    /// ended by then, what was in them is gone.
    TakenOver(TapId),
    /// What became of a tap: that it is over, or the answer to having been closed.
    Account(TapId, Account),
    /// A process has said this in the name of the unit whose tap it is.
    Word(TapId, Word),
}

/// What came of a request.
#[derive(Debug)]
pub(crate) enum Launched {
    /// A process that executes its program.
    Born(Born),
    /// For certain, nothing was executed.
    NotBorn(LaunchError),
    /// There may have been a process, and nobody knows which.
    Unknown,
}

/// Why a program was not executed, for certain.
#[derive(Debug)]
pub(crate) enum LaunchError {
    /// The user's launcher cannot be made.
    Launcher(io::Error),
    /// That launcher's process cannot be made.
    LauncherProcess(SpawnError),
    /// The launcher could not be asked.
    Ask(io::Error),
    /// The process could not be made, or failed on its way.
    Spawn(SpawnError),
    /// Somebody killed the process on its way; we ourselves if somebody had stopped it there.
    Killed,
    /// The launcher ended before it had begun. It may be asked for again.
    Gone,
}

impl LaunchError {
    /// What the kernel said, where it did.
    pub(crate) fn cause(&self) -> Option<&io::Error> {
        match self {
            Self::Launcher(cause) | Self::Ask(cause) => Some(cause),
            Self::LauncherProcess(cause) | Self::Spawn(cause) => Some(cause.cause()),
            Self::Killed | Self::Gone => None,
        }
    }
}

impl fmt::Display for LaunchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Launcher(_) | Self::LauncherProcess(_) => "cannot start the launcher of its user",
            Self::Ask(_) => "cannot ask the launcher of its user",
            Self::Spawn(cause) => return cause.fmt(f),
            Self::Killed => {
                "its process was stopped or killed before it executed the program: something else \
                 that runs as its user does that"
            }
            Self::Gone => "the launcher of its user ended",
        })
    }
}

impl Error for LaunchError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Launcher(cause) | Self::Ask(cause) => Some(cause),
            Self::LauncherProcess(cause) => Some(cause),
            Self::Spawn(cause) => cause.source(),
            Self::Killed | Self::Gone => None,
        }
    }
}

/// Why a request was not sent. What it was for is given back.
#[derive(Debug)]
pub(crate) enum NotSent<T> {
    /// The launcher has enough to do; once it has answered there is room again.
    Later(T),
    /// It cannot be sent.
    Never(T, LaunchError),
}
