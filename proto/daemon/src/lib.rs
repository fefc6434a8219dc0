//! What every daemon of Orchestra is to the host that it runs on.
//!
//! A daemon outlives what befalls it from outside: a log that nobody can write or nobody reads, a
//! signal that was meant for another program, a limit that somebody set for all processes. Each
//! `main` calls [`signals::outlive_strays`] and [`log::start`] before anything else.
//!
//! ```text
//! log      standard error, and what is told there
//! lines    lines on their way to it: no daemon waits for them
//! output   what becomes of a line: written, or counted as lost
//! signals  which signals end a daemon, and which do not
//! cores    what holds secrets stays out of core files
//! limits   limits of the process that will be felt, told at the start
//! manual   a man page, of what `--help` prints
//! check    what `--check` tells of a configuration
//! program  what the program answers when it is asked of itself
//! lifeline the end of whoever started the daemon
//! ```

pub mod check;
pub mod cores;
pub mod lifeline;
pub mod limits;
mod lines;
pub mod log;
pub mod manual;
mod output;
pub mod program;
pub mod signals;
