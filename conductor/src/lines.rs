//! Players' lines: streams, which connections carry, and sessions, each of one player.
//!
//! ```text
//! connection ──→ stream ──────────────→ session ──→ driver
//!                 first message, counts   state, reports      │
//!           ←── queue: batches, job parts ←── outbox ←────────┘
//! ```
//!
//! A stream carries one session, of the player that its certificate names. Bounds and memory of
//! each connection are in `stream`, those of a player in `session`.
//!
//! Each stream has a task of its own from its first message to its last. The task goes on even if
//! the call is dropped, so that the driver is told of the end of every session that it was told of.

mod command;
mod readings;
mod session;
mod stream;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use orchestra_certs::{Lines as LogLines, Peer};
use orchestra_model::{HostName, delivery::StoreId};
use tokio::sync::{oneshot, watch};

pub(crate) use self::{
    command::{EncodedJob, Header},
    readings::{Line, LogReading, LogReadings},
    session::Outbox,
    stream::{Frames, Goodbye, StreamQueue},
};
use self::{
    session::{Session, Sessions},
    stream::{Messages, PlayerStream, StreamCounts, refusal},
};
use crate::{
    declined::{Declined, Ground},
    driver::Handle,
    fetches::Fetches,
    fleet::Fleet,
    places::PlacesTold,
    proof::Proofs,
    vitals::Vitals,
};

/// How long the conductor waits for players.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// How long a player may take for its first message.
    pub greeting: Duration,
    /// How long an older session may take to answer that it lives.
    pub probe: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { greeting: Duration::from_secs(10), probe: Duration::from_secs(3) }
    }
}

/// Most characters that are kept of a version or a name from a player.
const NAME_CHARS: usize = 64;

/// The lines of all players.
#[derive(Clone, Debug)]
pub(crate) struct PlayerLines {
    sessions: Sessions,
    counts: StreamCounts,
    patience: Patience,
    /// Bounds the log lines about refused players, so that one that comes again and again does not
    /// fill the log.
    refusals: LogLines,
    /// Becomes true when the conductor stops.
    stopping: watch::Receiver<bool>,
}

/// Tables that sessions use without the driver.
#[derive(Clone, Debug)]
pub(crate) struct Tables {
    pub(crate) readings: LogReadings,
    pub(crate) vitals: Vitals,
    /// Where players take bundles.
    pub(crate) places: PlacesTold,
    /// Bundles that players fetch.
    pub(crate) fetches: Fetches,
    pub(crate) fleet: watch::Receiver<Arc<Fleet>>,
}

/// Gets what is sent on a stream, or why the player is refused.
type Answer = oneshot::Sender<Result<Frames, Declined>>;

impl PlayerLines {
    pub(crate) fn new(
        driver: Handle,
        store: StoreId,
        proofs: Proofs,
        tables: Tables,
        patience: Patience,
        stopping: watch::Receiver<bool>,
    ) -> Self {
        let sessions = Sessions::new(driver, store, proofs, tables, patience.probe);
        let refusals = LogLines::new(|players| {
            tracing::warn!(players, "further players were refused within a second");
        });
        Self { sessions, counts: StreamCounts::default(), patience, refusals, stopping }
    }

    /// Serves a stream that a player has dialled, and returns what goes out on it. The stream goes
    /// on even if this call is dropped.
    pub(crate) async fn attach(
        &self,
        peer: Peer,
        host: HostName,
        incoming: impl Messages + 'static,
    ) -> Result<Frames, Declined> {
        let counted = self.counts.enter(&host)?;
        let stream = PlayerStream::new(peer, host, incoming, self.stopping.clone(), counted);
        let (answer, answered) = oneshot::channel();
        tokio::spawn(self.clone().serve(stream, answer));
        answered.await.unwrap_or_else(|_| Err(stopping()))
    }

    /// Serves one stream, from its first message to its last.
    async fn serve(self, mut stream: PlayerStream<impl Messages>, answer: Answer) {
        // The caller who awaits the answer may have gone, here and below.
        let attach = match stream.greeting(self.patience.greeting).await {
            Ok(attach) => attach,
            Err(declined) => {
                self.log_refusal(&stream.host, &stream.peer, &declined);
                let _ = answer.send(Err(declined));
                return;
            }
        };
        let version = cut(&attach.version, NAME_CHARS);
        let (queue, frames) = StreamQueue::new();
        // What a player says of itself is large, and is dropped before the session goes on.
        let who = (&stream.host, stream.peer.address.ip());
        match self.sessions.admit(who, attach, &version, &queue).await {
            Ok(session) => {
                let (host, address) = (&stream.host, stream.peer.address);
                tracing::info!(player = %host, %address, version, "player attached");
                // If the frames are dropped, the queue ends, and so does `listen`.
                let _ = answer.send(Ok(frames));
                self.listen(session, stream, &queue).await;
            }
            Err(declined) => {
                self.log_refusal(&stream.host, &stream.peer, &declined);
                let _ = answer.send(Ok(refusal(&stream.host, &declined)));
            }
        }
    }

    /// Takes what the player says, until the session is over.
    async fn listen(
        &self,
        session: Session,
        mut stream: PlayerStream<impl Messages>,
        queue: &StreamQueue,
    ) {
        let goodbye = loop {
            match stream.next(queue).await {
                Ok(message) => {
                    if let Err(declined) = self.sessions.take(&session, message).await {
                        break Goodbye::Declined(declined);
                    }
                }
                Err(goodbye) => break goodbye,
            }
        };
        tracing::info!(player = %stream.host, reason = %goodbye.reason(), "player detached");
        let id = session.id();
        self.sessions.detach(session).await;
        queue.end(goodbye);
        self.sessions.end_readings(id);
    }

    fn log_refusal(&self, host: &HostName, peer: &Peer, declined: &Declined) {
        let (address, reason) = (peer.address, declined.message());
        self.refusals.write(|| tracing::warn!(player = %host, %address, reason, "player refused"));
    }
}

/// Returns the beginning of a foreign text.
fn cut(text: &str, chars: usize) -> String {
    text.chars().take(chars).collect()
}

fn stopping() -> Declined {
    Declined::new(Ground::NotNow, "the conductor is stopping")
}
