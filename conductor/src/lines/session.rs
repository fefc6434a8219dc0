//! Players' sessions: one stream each, dialled by the player, named by its certificate.
//!
//! A session first tells the player's whole state; the driver takes it in and the engine
//! reconciles. From then on this side only decodes, in order. Where the name has a live session
//! already, that one is asked; if it answers, the newcomer is refused, else it takes over.
//!
//! Each stream has a task of its own from its first frame to its last, which does not depend on
//! whether anybody still awaits the call: what the driver was told of as attached, it is told of
//! as detached.

mod inventories;
mod said;

#[cfg(test)]
mod tests;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use orchestra_certs::{Lines, Peer};
use orchestra_flow::{PlayerIx, SessionId};
use orchestra_model::{
    HostName,
    delivery::{KnownEnd, PlayerSnapshot, Refusal, Report, StoreId},
    limits,
    proof::{Statement, drop_false_evidence, drop_false_proofs},
};
use orchestra_proto::{
    PROTOCOL, RawSnapshot, check_fields, snapshot_from_wire,
    v1::{self, from_player, to_player},
};
use prost::Message;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch},
    time::timeout,
};
use tokio_stream::{Stream as Incoming, StreamExt as _};

use self::{inventories::Inventories, said::Said};
use super::stream::{Frames, Goodbye, Outbox, Stream, Streams};
use crate::{
    declined::{Declined, Ground},
    driver::{Attach, Attached, FromSession, Handle, TURN},
    proof::Proofs,
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

/// Bytes of reports, over all sessions, that wait for the driver, encoded and read; whoever has more
/// waits with reading.
const ROOM: usize = 64 << 20;
/// Most that is kept of a version or a name that a player says.
const VERSION_CHARS: usize = 64;

/// The service for players.
#[derive(Clone, Debug)]
pub(crate) struct Sessions {
    driver: Handle,
    store: StoreId,
    proofs: Proofs,
    patience: Patience,
    next: Arc<AtomicU64>,
    streams: Streams,
    inventories: Inventories,
    /// Lines that say whom nobody lets in: a certificate that comes again and again fills no log.
    refusals: Lines,
    room: Arc<Semaphore>,
    /// Becomes true when the conductor stops.
    stopping: watch::Receiver<bool>,
}

/// A session that the driver knows.
struct Session {
    host: HostName,
    player: PlayerIx,
    id: SessionId,
    outbox: Outbox,
}

/// What comes on a stream, message by message.
pub(crate) trait Messages:
    Incoming<Item = Result<v1::FromPlayers, Declined>> + Send + Unpin
{
}

impl<I: Incoming<Item = Result<v1::FromPlayers, Declined>> + Send + Unpin> Messages for I {}

type Answer = oneshot::Sender<Result<Frames, Declined>>;

impl Sessions {
    pub(crate) fn new(
        driver: Handle,
        store: StoreId,
        proofs: Proofs,
        patience: Patience,
        stopping: watch::Receiver<bool>,
    ) -> Self {
        let (next, room) = (Arc::new(AtomicU64::new(1)), Arc::new(Semaphore::new(ROOM)));
        let (streams, inventories) = (Streams::default(), Inventories::default());
        let refusals = Lines::new(|players| {
            tracing::warn!(players, "further players were refused within a second");
        });
        Self {
            driver,
            store,
            proofs,
            patience,
            next,
            streams,
            inventories,
            refusals,
            room,
            stopping,
        }
    }

    /// Serves a stream that a player has dialled, and returns what goes out on it. The stream goes on
    /// whether or not somebody still awaits that.
    pub(crate) async fn attach(
        &self,
        peer: Peer,
        host: HostName,
        incoming: impl Messages + 'static,
    ) -> Result<Frames, Declined> {
        let stream = self.streams.enter(&host)?;
        let (answer, answered) = oneshot::channel();
        tokio::spawn(self.clone().serve(peer, host, incoming, answer, stream));
        answered.await.unwrap_or_else(|_| Err(stopping()))
    }

    /// One stream, from its first frame to its last.
    async fn serve(
        mut self,
        peer: Peer,
        host: HostName,
        mut incoming: impl Messages,
        answer: Answer,
        _stream: Stream,
    ) {
        // Whoever awaits an answer may have gone, here and below.
        let attach = match self.greeting(&host, &mut incoming).await {
            Ok(attach) => attach,
            Err(declined) => {
                self.tell_refusal(&host, &peer, &declined);
                let _ = answer.send(Err(declined));
                return;
            }
        };
        let version = cut(&attach.version, VERSION_CHARS);
        // What a player says of itself is large: it is gone before the session goes on.
        match self.admit(&host, attach, &version).await {
            Ok((session, frames)) => {
                tracing::info!(player = %host, address = %peer.address, version, "player attached");
                // Where the frames are dropped, the outbox ends, and `listen` with it.
                let _ = answer.send(Ok(frames));
                self.listen(session, incoming).await;
            }
            Err(declined) => {
                self.tell_refusal(&host, &peer, &declined);
                let _ = answer.send(Ok(refusal(&host, &declined)));
            }
        }
    }

    /// What the first message says: one attach, under the name of the certificate.
    async fn greeting(
        &mut self,
        host: &HostName,
        incoming: &mut impl Messages,
    ) -> Result<v1::Attach, Declined> {
        let limit = self.patience.greeting;
        let first = tokio::select! {
            first = timeout(limit, incoming.next()) => first,
            _ = self.stopping.wait_for(|stopping| *stopping) => return Err(stopping()),
        };
        let first = first.map_err(|_| {
            Declined::new(Ground::Late, format!("no attach frame within {limit:?}"))
        })?;
        let mut frames =
            first.transpose()?.map(|batch| batch.frames).unwrap_or_default().into_iter();
        let (Some(frame), None) = (frames.next(), frames.next()) else {
            return Err(Declined::new(Ground::Invalid, "the first message is one attach frame"));
        };
        let Some(from_player::Frame::Attach(attach)) = frame.frame else {
            return Err(Declined::new(Ground::Invalid, "the first frame is an attach"));
        };
        if frame.player != host.as_str() {
            let name = cut(&frame.player, VERSION_CHARS);
            return Err(Declined::new(Ground::Forbidden, format!("{host} attached as {name:?}")));
        }
        Ok(attach)
    }

    fn tell_refusal(&self, host: &HostName, peer: &Peer, declined: &Declined) {
        let (address, reason) = (peer.address, declined.message());
        self.refusals.write(|| tracing::warn!(player = %host, %address, reason, "player refused"));
    }

    /// Lets a player in, or says why not.
    async fn admit(
        &self,
        host: &HostName,
        attach: v1::Attach,
        version: &str,
    ) -> Result<(Session, Frames), Declined> {
        if attach.protocol != PROTOCOL {
            return Err(Declined::new(
                Ground::Prevented,
                format!(
                    "the player speaks protocol {}, this conductor {PROTOCOL}",
                    attach.protocol
                ),
            ));
        }
        let snapshot = self.snapshot(host, attach.snapshot)?;
        let mut silent = None;
        loop {
            let id = SessionId(self.next.fetch_add(1, Ordering::Relaxed));
            let (outbox, frames) = Outbox::new(host.as_str());
            let (reply, attached) = oneshot::channel();
            let attach = Attach {
                host: host.clone(),
                session: id,
                snapshot: Box::new(snapshot.clone()),
                version: version.to_owned(),
                outbox: outbox.clone(),
                silent,
            };
            self.tell(FromSession::Attached(attach, reply)).await?;
            match attached.await.map_err(|_| stopping())? {
                Attached::Welcome(player) => {
                    return Ok((Session { host: host.clone(), player, id, outbox }, frames));
                }
                Attached::Unknown => {
                    return Err(Declined::new(
                        Ground::Forbidden,
                        format!(
                            "the conductor does not know {host}: add it to its players file, and \
                         reload it"
                        ),
                    ));
                }
                Attached::Occupied { by, mut alive } => {
                    let answer = timeout(self.patience.probe, alive.wait_for(|alive| *alive)).await;
                    if matches!(answer, Ok(Ok(_))) {
                        return Err(Declined::new(
                            Ground::Occupied,
                            format!(
                                "{host} has another session, which is alive: two players run with \
                             its certificate"
                            ),
                        ));
                    }
                    silent = Some(by);
                }
            }
        }
    }

    fn snapshot(&self, host: &HostName, bytes: Bytes) -> Result<PlayerSnapshot, Declined> {
        check_fields("Snapshot: it has more fields than any honest one", &bytes)
            .map_err(|error| Declined::invalid(&error))?;
        let wire = RawSnapshot::decode(bytes)
            .map_err(|error| Declined::new(Ground::Invalid, format!("snapshot: {error}")))?;
        // More than can be at once would only make work.
        if wire.live.len() > limits::MAX_TASKS as usize {
            return Err(Declined::new(
                Ground::Invalid,
                format!(
                    "snapshot: {} attempts are alive; a player runs at most {}",
                    wire.live.len(),
                    limits::MAX_TASKS
                ),
            ));
        }
        let read = snapshot_from_wire(&wire, self.store, |scores| self.inventories.read(scores));
        let mut snapshot = read.map_err(|error| Declined::invalid(&error))?;
        let keys = self.proofs.keys();
        drop_false_proofs(&mut snapshot, self.store, host, |said, mac| keys.confirm(said, mac));
        Ok(snapshot)
    }

    async fn tell(&self, message: FromSession) -> Result<(), Declined> {
        self.driver.sessions.send(message).await.map_err(|_| stopping())
    }

    /// Takes in what the player says, until the session is over.
    async fn listen(mut self, session: Session, mut incoming: impl Messages) {
        let goodbye = loop {
            let batch = tokio::select! {
                batch = incoming.next() => batch,
                () = session.outbox.ended() => break Goodbye::Declined(ended()),
                _ = self.stopping.wait_for(|stopping| *stopping) => break Goodbye::Declined(stopping()),
            };
            match batch {
                Some(Ok(batch)) => {
                    if let Err(declined) = self.take(&session, batch).await {
                        break Goodbye::Declined(declined);
                    }
                }
                None => break Goodbye::Done("the player ended the session"),
                Some(Err(declined)) => break Goodbye::Declined(declined),
            }
        };
        let Session { host, player, id, outbox } = session;
        tracing::info!(player = %host, reason = goodbye.reason(), "player detached");
        // Without a driver there is nothing left to tell.
        let _ = self.tell(FromSession::Detached { player, session: id }).await;
        outbox.end(goodbye);
    }

    /// Takes in one message: all of its reports go to the driver together, for what costs is each
    /// time that somebody is told.
    async fn take(&self, session: &Session, mut batch: v1::FromPlayers) -> Result<(), Declined> {
        let Session { host, player, id, .. } = session;
        // An honest message is far shorter.
        for frames in batch.frames.chunks_mut(TURN) {
            let room = self.room_for(frames.iter().map(said::room).sum()).await?;
            let Said { mut reports, alive, wrong } = Said::read(host, frames);
            self.check_evidence(host, &mut reports);
            if !reports.is_empty() {
                let (player, session) = (*player, *id);
                self.tell(FromSession::Reported { player, session, reports, room }).await?;
            }
            if alive {
                self.tell(FromSession::Alive { session: *id }).await?;
            }
            if let Some(declined) = wrong {
                return Err(declined);
            }
        }
        Ok(())
    }

    /// Takes evidence out of refusals that this store did not give.
    fn check_evidence(&self, host: &HostName, reports: &mut [Report<KnownEnd>]) {
        for report in reports {
            if let Report::Refused { refusal: Refusal::StaleTerm { evidence, .. }, .. } = report {
                let keys = self.proofs.keys();
                let is_true = |said: &Statement<'_>, mac| keys.confirm(said, mac);
                drop_false_evidence(evidence, self.store, host, is_true);
            }
        }
    }

    /// Waits until the driver has room for reports that take so much. It gives it back when it has
    /// taken them in.
    async fn room_for(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Declined> {
        let bytes = u32::try_from(bytes.min(ROOM)).unwrap_or(u32::MAX);
        Arc::clone(&self.room).acquire_many_owned(bytes).await.map_err(|_| stopping())
    }
}

/// The beginning of a stranger's text.
fn cut(text: &str, chars: usize) -> String {
    text.chars().take(chars).collect()
}

fn ended() -> Declined {
    Declined::new(Ground::Overtaken, "the session was ended")
}

fn stopping() -> Declined {
    Declined::new(Ground::NotNow, "the conductor is stopping")
}

/// A stream of one frame that says why.
fn refusal(host: &HostName, declined: &Declined) -> Frames {
    let (outbox, frames) = Outbox::new(host.as_str());
    let reason = declined.message().to_owned();
    outbox.frame(to_player::Frame::Refused(v1::Refused { reason }));
    outbox.end(Goodbye::Done(""));
    frames
}
