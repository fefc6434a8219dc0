//! Tells a supervisor that the loop goes on, if the supervisor asks for that: systemd's
//! `WatchdogSec`, sd_notify(3).
//!
//! A supervisor asks through our environment. If none asks, nothing is told, and nothing wakes us.

use std::{env, ffi::OsString, io, os::unix::ffi::OsStrExt, path::Path};

use rustix::{
    fd::OwnedFd,
    net::{AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType, sendto, socket_with},
};

use super::clock::BootMillis;

/// How many messages are sent in the time within which one must come: one may be late, or lost.
const WORDS: u64 = 3;

/// A supervisor that asks for messages.
#[derive(Debug)]
pub(crate) struct Watchdog {
    socket: OwnedFd,
    supervisor: SocketAddrUnix,
    /// The time between two messages, in milliseconds.
    pause: u64,
    due: BootMillis,
}

impl Watchdog {
    /// Reads our environment; `None` if no supervisor asks.
    pub(crate) fn from_environment() -> io::Result<Option<Self>> {
        let own = std::process::id().to_string();
        // The variables were meant for another process.
        if env::var_os("WATCHDOG_PID").is_some_and(|pid| pid.to_str() != Some(&own)) {
            return Ok(None);
        }
        let within = env::var("WATCHDOG_USEC").ok().and_then(|text| text.parse::<u64>().ok());
        match (env::var_os("NOTIFY_SOCKET"), within) {
            (Some(path), Some(within)) if within > 0 => Self::new(&path, within / 1_000).map(Some),
            _ => Ok(None),
        }
    }

    fn new(supervisor: &OsString, within_ms: u64) -> io::Result<Self> {
        let supervisor = match supervisor.as_bytes().strip_prefix(b"@") {
            Some(name) => SocketAddrUnix::new_abstract_name(name),
            None => SocketAddrUnix::new(Path::new(supervisor)),
        }?;
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)?;
        let pause = (within_ms / WORDS).max(1);
        Ok(Self { socket, supervisor, pause, due: BootMillis::default() })
    }

    /// Sends a message if it is due.
    pub(crate) fn tick(&mut self, now: BootMillis) {
        if now >= self.due {
            self.due = now.after(self.pause);
            let word = b"WATCHDOG=1";
            if let Err(error) = sendto(&self.socket, word, SendFlags::NOSIGNAL, &self.supervisor) {
                tracing::warn!(%error, "cannot tell the supervisor that the player goes on");
            }
        }
    }

    /// Returns when [`Watchdog::tick`] is due.
    pub(crate) fn next_deadline(&self) -> BootMillis {
        self.due
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use super::*;

    #[test]
    fn a_word_comes_when_it_is_due_and_not_before() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let supervisor = UnixDatagram::bind(&path).unwrap();
        supervisor.set_nonblocking(true).unwrap();
        let mut watchdog = Watchdog::new(&path.into_os_string(), 3_000).unwrap();
        let words = || {
            let mut text = [0; 32];
            std::iter::from_fn(|| supervisor.recv(&mut text).ok()).collect::<Vec<_>>()
        };
        let start = BootMillis(5_000);
        watchdog.tick(start);
        assert_eq!(words(), ["WATCHDOG=1".len()]);
        assert_eq!(watchdog.next_deadline(), start.after(1_000));
        watchdog.tick(start.after(999));
        assert!(words().is_empty());
        watchdog.tick(start.after(1_000));
        assert_eq!(words().len(), 1);
        // A supervisor that takes nothing is not waited for.
        drop(supervisor);
        watchdog.tick(start.after(9_000));
    }
}
