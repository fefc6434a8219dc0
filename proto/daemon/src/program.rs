//! What the program of a daemon answers when it is asked of itself.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use crate::log;

/// Prints what was asked of a program, as its help. It is no failure if the reader has closed the
/// pipe.
pub fn answer(program: &str, text: &str) -> ExitCode {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            log::say(format_args!("{program}: writing to standard output: {error}"));
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}
