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
    /// Its number, which is also that of its group and session.
    pub(crate) pid: i32,
    /// When it was made, in clock ticks since boot.
    pub(crate) start_ticks: u64,
    pub(crate) pidfd: OwnedFd,
    /// The wait status, if it has ended already and was reaped.
    pub(crate) ended: Option<i32>,
}

/// What a launcher says, or what the sitter concludes in its place. `T` says what a newborn is for.
#[derive(Debug)]
pub(crate) enum Said<T> {
    /// What came of a request.
    Launched(T, Launched),
    /// Another launcher reads this tap now. There may have been a time when no process had its
    /// pipes open, so output may be lost if the attempt had ended by then.
    TakenOver(TapId),
    /// An account of a tap: the tap is over, or it was asked to be closed.
    Account(TapId, Account),
    /// A process has said this in the name of the unit whose tap this is.
    Word(TapId, Word),
}

/// What came of a request.
#[derive(Debug)]
pub(crate) enum Launched {
    /// There is a process, which executes its program.
    Born(Born),
    /// For certain, nothing was executed.
    NotBorn(LaunchError),
    /// There may have been a process, and it is not known which.
    Unknown,
}

/// Why a program was not executed, for certain.
#[derive(Debug)]
pub(crate) enum LaunchError {
    /// The user's launcher cannot be made.
    Launcher(io::Error),
    /// The process of the user's launcher cannot be made.
    LauncherProcess(SpawnError),
    /// The launcher could not be asked.
    Ask(io::Error),
    /// The process could not be made, or failed on its way.
    Spawn(SpawnError),
    /// The process was killed before it executed its program: by somebody else, or by us because
    /// somebody had stopped it.
    Killed,
    /// The launcher ended before it had begun with the request. It may be asked again.
    Gone,
}

impl LaunchError {
    /// Returns the error of the kernel, if there is one.
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

/// Why a request was not sent. It gives back what the request was for.
#[derive(Debug)]
pub(crate) enum NotSent<T> {
    /// The launcher has enough to do. There is room again once it has answered.
    Later(T),
    /// It cannot be sent.
    Never(T, LaunchError),
}
