//! `orc sandbox within`, which only a supervisor calls.

use std::{ffi::OsString, io, os::unix::process::CommandExt as _, process::Command};

use rustix::process::Signal;

use super::process;
use crate::console::narrate;

/// The exit codes of shells for a command that cannot be run.
const NOT_EXECUTABLE: u8 = 126;
const NOT_FOUND: u8 = 127;

/// `orc sandbox within`, which only a supervisor calls.
#[derive(Debug, clap::Args)]
pub(crate) struct Within {
    /// The supervisor: the command dies with it.
    #[arg(long)]
    parent: i32,
    /// The command to become.
    #[arg(required = true, last = true)]
    command: Vec<OsString>,
}

impl Within {
    /// Becomes the command, which the kernel kills should the supervisor be killed: then there is
    /// nobody left to do so. Returns only where that fails, with the code that shells have for it.
    pub(super) fn run(self) -> u8 {
        let bound = process::end_with(self.parent, Signal::KILL);
        let Some((program, arguments)) = self.command.split_first() else { return NOT_FOUND };
        let error = match bound {
            Ok(()) => Command::new(program).args(arguments).exec(),
            Err(error) => error,
        };
        narrate(format_args!("error: running {}: {error}", program.to_string_lossy()));
        match error.kind() {
            io::ErrorKind::NotFound => NOT_FOUND,
            _ => NOT_EXECUTABLE,
        }
    }
}
