//! Players' sessions: one stream each, dialled by the player, named by its certificate.
//!
//! A session first tells the player's whole state; the driver takes it in and the engine
//! reconciles. From then on this side only decodes, in order. Where the name has a live session
//! already, that one is asked; if it answers, the newcomer is refused, else it takes over.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use orchestra_certs::Peer;
use orchestra_flow::{PlayerIx, SessionId};
use orchestra_model::{
    HostName,
    delivery::{Report, StoreId, Term},
};
use orchestra_proto::{
    Invalid, PROTOCOL, snapshot_from_wire,
    v1::{self, from_player, players_server::Players, to_player},
};
use prost::Message;
use tokio::sync::{oneshot, watch};
use tonic::{Request, Response, Status, Streaming};

use crate::{
    driver::{Attach, Attached, FromSession, Handle},
    outbox::{Frames, Outbox},
};

/// How long a player may take to say who it is.
const GREETING: Duration = Duration::from_secs(10);
/// How long an older session may take to say that it lives.
const PROBE: Duration = Duration::from_secs(3);

/// The service for players.
#[derive(Clone, Debug)]
pub(crate) struct Sessions {
    driver: Handle,
    store: StoreId,
    term: watch::Receiver<Term>,
    next: Arc<AtomicU64>,
    /// Becomes true when the conductor stops.
    stopping: watch::Receiver<bool>,
}

impl Sessions {
    pub(crate) fn new(
        driver: Handle,
        store: StoreId,
        term: watch::Receiver<Term>,
        stopping: watch::Receiver<bool>,
    ) -> Self {
        Self { driver, store, term, next: Arc::new(AtomicU64::new(1)), stopping }
    }

    /// Lets a player in, or says why not.
    async fn admit(
        &self,
        host: &HostName,
        attach: &v1::Attach,
    ) -> Result<(PlayerIx, SessionId, Outbox, Frames), Status> {
        if attach.protocol != PROTOCOL {
            return Err(Status::failed_precondition(format!(
                "the player speaks protocol {}, this conductor {PROTOCOL}",
                attach.protocol
            )));
        }
        let snapshot = v1::Snapshot::decode(attach.snapshot.clone())
            .map_err(|error| Status::invalid_argument(format!("snapshot: {error}")))
            .and_then(|wire| snapshot_from_wire(&wire, self.store).map_err(|e| invalid(&e)))?;
        let mut supersede = false;
        loop {
            let session = SessionId(self.next.fetch_add(1, Ordering::Relaxed));
            let (outbox, frames) = Outbox::new(host.as_str(), self.store, *self.term.borrow());
            outbox.frame(to_player::Frame::Welcome(v1::Welcome {
                protocol: PROTOCOL,
                version: env!("CARGO_PKG_VERSION").to_owned(),
                store_id: Bytes::copy_from_slice(&self.store.0),
                term: self.term.borrow().0,
            }));
            outbox.command(v1::command::Kind::Hello(v1::Hello {}));
            let (reply, attached) = oneshot::channel();
            let attach = Attach {
                host: host.clone(),
                session,
                snapshot: Box::new(snapshot.clone()),
                version: attach.version.chars().take(64).collect(),
                outbox: outbox.clone(),
                supersede,
            };
            self.tell(FromSession::Attached(attach, reply)).await?;
            match attached.await.map_err(|_| stopping())? {
                Attached::Welcome(player) => return Ok((player, session, outbox, frames)),
                Attached::Unknown => {
                    return Err(Status::permission_denied(format!(
                        "the conductor's players file does not name {host}"
                    )));
                }
                Attached::Occupied(mut alive) => {
                    let answer = tokio::time::timeout(PROBE, alive.wait_for(|alive| *alive)).await;
                    if matches!(answer, Ok(Ok(_))) {
                        return Err(Status::already_exists(format!(
                            "another live session of {host} exists"
                        )));
                    }
                    supersede = true;
                }
            }
        }
    }

    async fn tell(&self, message: FromSession) -> Result<(), Status> {
        self.driver.sessions.send(message).await.map_err(|_| stopping())
    }

    /// Takes in what the player says, until the session is over.
    async fn listen(
        mut self,
        host: HostName,
        player: PlayerIx,
        session: SessionId,
        outbox: Outbox,
        mut incoming: Streaming<v1::FromPlayers>,
    ) {
        let status = loop {
            let batch = tokio::select! {
                batch = incoming.message() => batch,
                _ = self.stopping.wait_for(|stopping| *stopping) => break stopping(),
            };
            match batch {
                Ok(Some(batch)) => match self.take(&host, player, session, batch).await {
                    Ok(()) if outbox.is_ended() => break Status::aborted("the session was ended"),
                    Ok(()) => {}
                    Err(status) => break status,
                },
                Ok(None) => break Status::ok("the player ended the session"),
                Err(status) => break status,
            }
        };
        tracing::info!(player = %host, reason = status.message(), "player detached");
        outbox.end(status);
        // Without a driver there is nothing left to tell.
        let _ = self.tell(FromSession::Detached { player, session }).await;
    }

    async fn take(
        &self,
        host: &HostName,
        player: PlayerIx,
        session: SessionId,
        batch: v1::FromPlayers,
    ) -> Result<(), Status> {
        for frame in batch.frames {
            if frame.player != host.as_str() {
                return Err(Status::permission_denied(format!(
                    "{host} spoke for {:?}",
                    frame.player.chars().take(64).collect::<String>()
                )));
            }
            let message = match frame.frame {
                Some(from_player::Frame::Report(bytes)) => {
                    let (report, end) = read_report(bytes)?;
                    FromSession::Reported { player, session, report: Box::new(report), end }
                }
                Some(from_player::Frame::Alive(_)) => FromSession::Alive { session },
                Some(from_player::Frame::Attach(_)) => {
                    return Err(Status::invalid_argument("a second attach in one session"));
                }
                None => return Err(Status::invalid_argument("an empty frame")),
            };
            self.tell(message).await?;
        }
        Ok(())
    }
}

/// The bytes of an end as they came, of a report that is one.
type EndBytes = Option<Arc<[u8]>>;

fn read_report(bytes: Bytes) -> Result<(Report, EndBytes), Status> {
    let wire = v1::Report::decode(bytes)
        .map_err(|error| Status::invalid_argument(format!("report: {error}")))?;
    let end = match &wire.kind {
        Some(v1::report::Kind::Ended(end)) => Some(Arc::from(&end[..])),
        _ => None,
    };
    Ok((Report::try_from(wire).map_err(|error| invalid(&error))?, end))
}

fn invalid(error: &Invalid) -> Status {
    Status::invalid_argument(crate::chain(error))
}

fn stopping() -> Status {
    Status::unavailable("the conductor is stopping")
}

#[tonic::async_trait]
impl Players for Sessions {
    type AttachStream = Frames;

    async fn attach(
        &self,
        request: Request<Streaming<v1::FromPlayers>>,
    ) -> Result<Response<Frames>, Status> {
        let peer = request.extensions().get::<Peer>().cloned();
        let peer = peer.ok_or_else(|| Status::unauthenticated("no verified certificate"))?;
        let host = HostName::new(peer.identity.name())
            .map_err(|error| Status::unauthenticated(error.to_string()))?;
        let mut incoming = request.into_inner();
        let first = tokio::time::timeout(GREETING, incoming.message()).await;
        let first = first.map_err(|_| Status::deadline_exceeded("no attach within 10 s"))??;
        let mut frames = first.map(|batch| batch.frames).unwrap_or_default().into_iter();
        let (Some(frame), None) = (frames.next(), frames.next()) else {
            return Err(Status::invalid_argument("the first message is one attach frame"));
        };
        let Some(from_player::Frame::Attach(attach)) = frame.frame else {
            return Err(Status::invalid_argument("the first frame is an attach"));
        };
        if frame.player != host.as_str() {
            return Err(Status::permission_denied(format!("{host} attached under another name")));
        }
        match self.admit(&host, &attach).await {
            Ok((player, session, outbox, frames)) => {
                tracing::info!(player = %host, address = %peer.address, version = attach.version, "player attached");
                tokio::spawn(self.clone().listen(host, player, session, outbox, incoming));
                Ok(Response::new(frames))
            }
            Err(status) => {
                tracing::warn!(player = %host, address = %peer.address, reason = status.message(), "player refused");
                Ok(Response::new(refusal(&host, self.store, &status)))
            }
        }
    }
}

/// A stream of one frame that says why.
fn refusal(host: &HostName, store: StoreId, status: &Status) -> Frames {
    let (outbox, frames) = Outbox::new(host.as_str(), store, Term(0));
    let reason = status.message().to_owned();
    outbox.frame(to_player::Frame::Refused(v1::Refused { reason }));
    outbox.end(Status::ok(""));
    frames
}
