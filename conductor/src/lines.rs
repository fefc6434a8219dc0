//! Players' lines: streams, which connections carry, and sessions, each of one player.
//!
//! ```text
//! connection ──→ stream ──────────────→ session ──→ driver
//!                 first message, counts   state, reports      │
//!           ←── queue: batches, job parts ←── outbox ←────────┘
//! ```
//!
//! A stream carries one session, of the player that its certificate names. What is bounded and
//! remembered for each connection lies in `stream`, what is a player's in `session`.
//!
//! Each stream has a task of its own from its first message to its last, which does not depend on
//! whether anybody still awaits the call: what the driver was told of as attached, it is told of
//! as detached.

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
    readings::{Line, LogReadings},
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
    fleet::Fleet,
    proof::Proofs,
    vitals::Vitals,
};

/// How long players are waited for.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// How long a player may take to say who it is.
    pub greeting: Duration,
    /// How long an older session may take to say that it lives.
    pub probe: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { greeting: Duration::from_secs(10), probe: Duration::from_secs(3) }
    }
}

/// Most that is kept of a version or a name that a player says.
const NAME_CHARS: usize = 64;

/// The lines of all players.
#[derive(Clone, Debug)]
pub(crate) struct PlayerLines {
    sessions: Sessions,
    counts: StreamCounts,
    patience: Patience,
    /// Lines that say whom nobody lets in: a certificate that comes again and again fills no log.
    refusals: LogLines,
    /// Becomes true when the conductor stops.
    stopping: watch::Receiver<bool>,
}

/// What sessions write and read past the driver.
#[derive(Clone, Debug)]
pub(crate) struct Tables {
    pub(crate) readings: LogReadings,
    pub(crate) vitals: Vitals,
    pub(crate) fleet: watch::Receiver<Arc<Fleet>>,
}

/// Where it goes what is sent on a stream, or why nothing is.
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

    /// Serves a stream that a player has dialled, and returns what goes out on it. The stream goes on
    /// whether or not somebody still awaits that.
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

    /// One stream, from its first message to its last.
    async fn serve(self, mut stream: PlayerStream<impl Messages>, answer: Answer) {
        // Whoever awaits an answer may have gone, here and below.
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
        // What a player says of itself is large: it is gone before the session goes on.
        match self.sessions.admit(&stream.host, attach, &version, &queue).await {
            Ok(session) => {
                let (host, address) = (&stream.host, stream.peer.address);
                tracing::info!(player = %host, %address, version, "player attached");
                // Where the frames are dropped, the queue ends, and `listen` with it.
                let _ = answer.send(Ok(frames));
                self.listen(session, stream, &queue).await;
            }
            Err(declined) => {
                self.log_refusal(&stream.host, &stream.peer, &declined);
                let _ = answer.send(Ok(refusal(&stream.host, &declined)));
            }
        }
    }

    /// Takes in what the player says, until the session is over.
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

/// The beginning of a stranger's text.
fn cut(text: &str, chars: usize) -> String {
    text.chars().take(chars).collect()
}

fn stopping() -> Declined {
    Declined::new(Ground::NotNow, "the conductor is stopping")
}
