//! The log: standard error, which a daemon outlives.
//!
//! Standard error may be full, without a reader, closed, or a pipe that nobody empties. None of
//! that stops, delays or ends a daemon: lines are lost, and counted, and the first one that can be
//! written again comes after one that says how many. So nothing else writes there: no print macro,
//! whose failure is a panic, and no panic's own message, which would wait for a reader.
//!
//! Events carry words of others: what players refuse with, what peers call themselves. On its way
//! here each becomes one line in which nothing is hidden (see [`orchestra_model::foreign`]); that
//! is why it has no colours either.

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    env,
    fmt::Display,
    io::{self, Write},
    panic::{self, PanicHookInfo},
    sync::{Arc, OnceLock},
    time::Duration,
};

use orchestra_model::foreign;
use rustix::event::{PollFd, PollFlags, poll};
use tracing_subscriber::fmt::MakeWriter;

use crate::{
    lines::Lines,
    output::{Output, Sink},
};

/// How long the end of a process, and what becomes of it, waits for the last lines.
const PARTING: Duration = Duration::from_secs(1);

static LOG: OnceLock<Arc<Lines<StandardError>>> = OnceLock::new();

/// The log of this process, for as long as it lives. What waits is written when this is dropped.
#[derive(Debug)]
#[must_use = "the last lines are written when this is dropped"]
pub struct Log(());

/// Starts the log, once, before anything is logged.
///
/// It has a thread of its own, which opens no descriptor, and which runs with the signals blocked
/// that are blocked here.
pub fn start() -> Log {
    // The journal has its own clock.
    let with_time = env::var_os("JOURNAL_STREAM").is_none();
    LOG.get_or_init(|| Lines::start(Output::new(StandardError, with_time)));
    let log = tracing_subscriber::fmt().with_writer(ToTheLog).with_ansi(false).with_target(false);
    // Fails where there is one already.
    let _ = match with_time {
        true => tracing::subscriber::set_global_default(log.finish()),
        false => tracing::subscriber::set_global_default(log.without_time().finish()),
    };
    panic::set_hook(Box::new(tell_panic));
    Log(())
}

impl Drop for Log {
    fn drop(&mut self) {
        flush();
    }
}

/// Tells a line that is no event: why the program ends.
pub fn say(line: impl Display) {
    if let Some(log) = LOG.get() {
        log.push(&foreign::lines(format!("{line}\n").as_bytes()));
    }
}

/// Waits, a second at most, until all that was logged is written: before the process ends or
/// becomes another program.
pub fn flush() {
    if let Some(log) = LOG.get() {
        log.flush(PARTING);
    }
}

/// What the usual message says, where it cannot make us wait.
fn tell_panic(panic: &PanicHookInfo<'_>) {
    let thread = std::thread::current();
    say(format_args!("thread '{}' {panic}", thread.name().unwrap_or("without a name")));
    let trace = Backtrace::capture();
    if trace.status() == BacktraceStatus::Captured {
        say(trace);
    }
    flush();
}

/// An event as a line of its own, which nothing in it can end.
fn one_line(event: &[u8]) -> Vec<u8> {
    let event = foreign::lines(event.strip_suffix(b"\n").unwrap_or(event));
    let event = String::from_utf8_lossy(&event);
    format!("{}\n", foreign::OneLine(&event)).into_bytes()
}

/// Where events are written: into the queue, each as one line. That never fails.
#[derive(Clone, Copy)]
struct ToTheLog;

impl MakeWriter<'_> for ToTheLog {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        Self
    }
}

impl Write for ToTheLog {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        if let Some(log) = LOG.get() {
            log.push(&one_line(event));
        }
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The process's own.
#[derive(Debug)]
struct StandardError;

impl Sink for StandardError {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::io::write(io::stderr(), bytes)?)
    }

    fn wait(&mut self) -> io::Result<()> {
        let stderr = io::stderr();
        let mut room = [PollFd::new(&stderr, PollFlags::OUT)];
        rustix::io::retry_on_intr(|| poll(&mut room, None))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line_in_which_nothing_hides() {
        let event = "refused: a\u{202e}b\u{9b}2J\x1b[31m\nWARN forged\r\n".as_bytes();
        let line = String::from_utf8(one_line(event)).unwrap();
        assert_eq!(line, "refused: a\\u{202e}b\\u{9b}2J\\u{1b}[31m\\nWARN forged\\r\n");
        assert_eq!(one_line(b"\x9b\n"), b"\\x9b\n");
    }
}
