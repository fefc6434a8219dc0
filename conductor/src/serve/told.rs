//! What tells the conductor from outside what to do: signals, and the end of its lifeline.

use std::{fs, io};

use orchestra_daemon::lifeline::Lifeline;
use orchestra_model::audit::Verb;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::{
    driver::Asked,
    export::Export,
    reload::{Allowed, Reloader},
};

/// Signals, and the lifeline.
pub(super) struct Told {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
    lifeline: Option<Lifeline>,
}

impl Told {
    pub(super) fn listen(hangup: Signal, lifeline: Option<fs::File>) -> io::Result<Self> {
        Ok(Self {
            hangup,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            lifeline: lifeline.map(Lifeline::watch).transpose()?,
        })
    }

    /// Returns on TERM, INT or the end of the lifeline; reloads on HUP meanwhile.
    pub(super) async fn wait(mut self, reloader: &Reloader, export: &Export) {
        loop {
            tokio::select! {
                Some(()) = self.hangup.recv() => {
                    // Also if the files are broken: logs were rotated all the same.
                    export.reopen();
                    // A task does it, because it may take long, or wait for a full store. The
                    // outcome is logged, and kept for `orc conductor status`.
                    let reloader = reloader.clone();
                    tokio::spawn(async move { reloader.reload(Allowed::default(), Asked::locally(Verb::Reload)).await });
                }
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                true = Lifeline::ended(&mut self.lifeline) => return,
            }
        }
    }
}
