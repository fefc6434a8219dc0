//! Events of the supervisor.

use std::io;

use rustix::process::Signal;
use tokio::{
    signal::unix::{Signal as Stream, SignalKind, signal},
    time::sleep_until,
};

use crate::error::Failure;

/// Signals that end a sandbox, and those of children that have ended.
pub(super) struct Signals {
    pub(super) child: Stream,
    terminate: Stream,
    hangup: Stream,
    interrupt: Stream,
    quit: Stream,
}

/// What happened.
pub(super) enum Event {
    /// Children have ended.
    Children,
    /// Everything is up, or will not be.
    Booted(Result<(), Failure>),
    /// A daemon is to be started again.
    Due,
    /// We are told to end, by a signal of this number or by our parent's end.
    Told(i32),
    /// A signal of the keyboard, which is for the command if there is one.
    Typed(i32),
}

impl Signals {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            child: signal(SignalKind::child())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
        })
    }

    /// What happens next.
    pub(super) async fn next(
        &mut self,
        boot: impl Future<Output = Result<(), Failure>>,
        due: Option<std::time::Instant>,
    ) -> Event {
        let start_due = async {
            match due {
                Some(due) => sleep_until(due.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.child.recv() => Event::Children,
            result = boot => Event::Booted(result),
            () = start_due => Event::Due,
            _ = self.terminate.recv() => Event::Told(Signal::TERM.as_raw()),
            _ = self.hangup.recv() => Event::Told(Signal::HUP.as_raw()),
            _ = self.interrupt.recv() => Event::Typed(Signal::INT.as_raw()),
            _ = self.quit.recv() => Event::Typed(Signal::QUIT.as_raw()),
        }
    }
}
