//! Signals as the event loop sees them: a descriptor that can be polled, and the events that came.

use std::{
    io::{self, Read},
    os::{fd::AsFd, unix::net::UnixStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use rustix::fd::BorrowedFd;
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2};

/// What a signal asks for, or tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A child may have ended.
    Child,
    /// Scan the scores again.
    Rescan,
    /// Start the agent anew.
    RestartAgent,
    /// Execute the sitter anew in place.
    Upgrade,
    Stop,
}

const SIGNALS: [(i32, Event); 6] = [
    (SIGCHLD, Event::Child),
    (SIGHUP, Event::Rescan),
    (SIGUSR1, Event::RestartAgent),
    (SIGUSR2, Event::Upgrade),
    (SIGTERM, Event::Stop),
    (SIGINT, Event::Stop),
];

/// Catches signals while it lives. Several signals of one kind may become one event.
#[derive(Debug)]
pub(crate) struct Signals {
    wake: UnixStream,
    came: [(Event, Arc<AtomicBool>); SIGNALS.len()],
}

impl Signals {
    /// Starts catching.
    pub(crate) fn catch() -> io::Result<Self> {
        let (wake, write) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        write.set_nonblocking(true)?;
        let mut came = SIGNALS.map(|(_, event)| (event, Arc::default()));
        for ((signal, _), (_, flag)) in SIGNALS.iter().zip(&mut came) {
            // The order matters: once the byte can be read, the flag is set.
            signal_hook::flag::register(*signal, Arc::clone(flag))?;
            signal_hook::low_level::pipe::register(*signal, write.try_clone()?)?;
        }
        Ok(Self { wake, came })
    }

    /// Returns whether an event came that was not taken.
    pub(crate) fn has_come(&self, event: Event) -> bool {
        self.came.iter().any(|(of, flag)| *of == event && flag.load(Ordering::SeqCst))
    }

    /// Returns what came since the last call.
    pub(crate) fn take(&mut self) -> Vec<Event> {
        let mut bytes = [0; 64];
        while matches!(self.wake.read(&mut bytes), Ok(n) if n > 0) {}
        let came = self.came.iter().filter(|(_, flag)| flag.swap(false, Ordering::SeqCst));
        came.map(|(event, _)| *event).collect()
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}
