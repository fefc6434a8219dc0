//! What tells the conductor from outside what to do: signals, and the end of its lifeline.

use std::{
    fs,
    io::{self, Read as _},
};

use orchestra_model::audit::Verb;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::oneshot,
};

use crate::{
    driver::Asked,
    reload::{Allowed, Reloader},
};

/// Signals, and the lifeline.
pub(super) struct Told {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
    lifeline: Option<oneshot::Receiver<()>>,
}

impl Told {
    pub(super) fn listen(hangup: Signal, lifeline: Option<fs::File>) -> io::Result<Self> {
        Ok(Self {
            hangup,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            lifeline: lifeline.map(watch_lifeline).transpose()?,
        })
    }

    /// Returns on TERM, INT or the end of the lifeline; reloads on HUP meanwhile.
    pub(super) async fn wait(mut self, reloader: &Reloader) {
        loop {
            tokio::select! {
                Some(()) = self.hangup.recv() => {
                    // A task does it, because it may take long, or wait for a full store. The
                    // outcome is logged, and kept for `orc conductor status`.
                    let reloader = reloader.clone();
                    tokio::spawn(async move { reloader.reload(Allowed::default(), Asked::locally(Verb::Reload)).await });
                }
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                true = ended(&mut self.lifeline) => return,
            }
        }
    }
}

/// Reads the lifeline on a thread. Nobody writes to it, so a read returns only when the other end
/// is closed.
fn watch_lifeline(mut lifeline: fs::File) -> io::Result<oneshot::Receiver<()>> {
    let (cut, is_cut) = oneshot::channel();
    std::thread::Builder::new().name("lifeline".to_owned()).spawn(move || {
        while matches!(lifeline.read(&mut [0; 64]), Ok(1..)) {}
        // Nobody waits if the conductor is stopping already.
        let _ = cut.send(());
    })?;
    Ok(is_cut)
}

/// Waits for the end of the lifeline; returns `false` at once if there is none.
async fn ended(cut: &mut Option<oneshot::Receiver<()>>) -> bool {
    match cut {
        Some(cut) => {
            // An error means the end too.
            let _ = cut.await;
            true
        }
        None => false,
    }
}
