//! Sessions, each of one player: how they begin, and what they say.
//!
//! A session first tells the player's whole state; the driver takes it and the engine reconciles.
//! From then on this side only decodes, in order. If the player has a session already, that one is
//! asked whether it lives. If it answers, the new session is refused, else it takes over.

mod inventories;
mod outbox;
mod said;
#[cfg(test)]
pub(super) mod tests;

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use orchestra_flow::{PlayerIx, SessionId};
use orchestra_model::{
    HostName,
    bundle::PlacesReport,
    delivery::{KnownEnd, PlayerSnapshot, Refusal, Report, StoreId},
    limits,
    proof::{Statement, drop_false_evidence, drop_false_proofs},
    relay::FetchReport,
};
use orchestra_proto::{
    PROTOCOL, RawSnapshot, check_fields, snapshot_from_wire,
    v1::{self, to_player::Frame},
};
use prost::Message;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
    time::timeout,
};

pub(crate) use self::outbox::Outbox;
use self::{inventories::Inventories, said::Said};
use super::{Line, Tables, stopping, stream::StreamQueue};
use crate::{
    declined::{Declined, Ground},
    driver::{Attach, Attached, FromSession, Handle, TURN},
    proof::Proofs,
};

/// Most bytes of reports of all sessions that wait for the driver, encoded and decoded. Beyond that
/// sessions stop reading.
const ROOM: usize = 64 << 20;

/// The sessions of all players.
#[derive(Clone, Debug)]
pub(super) struct Sessions {
    driver: Handle,
    store: StoreId,
    proofs: Proofs,
    tables: Tables,
    /// How long an older session may take to answer that it lives.
    probe: Duration,
    next: Arc<AtomicU64>,
    inventories: Inventories,
    room: Arc<Semaphore>,
}

/// A session that the driver knows.
#[derive(Debug)]
pub(super) struct Session {
    host: HostName,
    player: PlayerIx,
    id: SessionId,
    outbox: Outbox,
}

/// What a player tells beside its orders, which one of an earlier release does not.
struct Tells {
    vitals: bool,
    attempt_logs: bool,
    places: Option<PlacesReport>,
}

impl Session {
    pub(super) fn id(&self) -> SessionId {
        self.id
    }
}

impl Sessions {
    pub(super) fn new(
        driver: Handle,
        store: StoreId,
        proofs: Proofs,
        tables: Tables,
        probe: Duration,
    ) -> Self {
        let (next, room) = (Arc::new(AtomicU64::new(1)), Arc::new(Semaphore::new(ROOM)));
        let inventories = Inventories::default();
        Self { driver, store, proofs, tables, probe, next, inventories, room }
    }

    /// Begins the session of a player, or says why not.
    pub(super) async fn admit(
        &self,
        (host, address): (&HostName, IpAddr),
        attach: v1::Attach,
        version: &str,
        queue: &StreamQueue,
    ) -> Result<Session, Declined> {
        if attach.protocol != PROTOCOL {
            return Err(Declined::new(
                Ground::Prevented,
                format!(
                    "the player speaks protocol {}, this conductor {PROTOCOL}",
                    attach.protocol
                ),
            ));
        }
        let (snapshot, tells) = self.snapshot(host, attach.snapshot)?;
        let outbox = Outbox::new(host.as_str(), queue.clone());
        let mut silent = None;
        loop {
            let id = SessionId(self.next.fetch_add(1, Ordering::Relaxed));
            let (reply, attached) = oneshot::channel();
            let attach = Attach {
                host: host.clone(),
                session: id,
                snapshot: Box::new(snapshot.clone()),
                version: version.to_owned(),
                outbox: outbox.clone(),
                tells_attempt_logs: tells.attempt_logs,
                silent,
            };
            self.tell(FromSession::Attached(attach, reply)).await?;
            match attached.await.map_err(|_| stopping())? {
                Attached::Welcome(player, header) => {
                    let line = Line { session: id, outbox: outbox.clone(), header };
                    self.tables.vitals.attached(host, id, tells.vitals.then_some(line));
                    self.tables.places.take(host, id, tells.places);
                    self.tables.fetches.attached(host, id, address);
                    return Ok(Session { host: host.clone(), player, id, outbox });
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
                    let answer = timeout(self.probe, alive.wait_for(|alive| *alive)).await;
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

    /// Reads what a player says of its state, and what else it tells.
    fn snapshot(&self, host: &HostName, bytes: Bytes) -> Result<(PlayerSnapshot, Tells), Declined> {
        check_fields("Snapshot: it has more fields than any honest one", &bytes)
            .map_err(|error| Declined::invalid(&error))?;
        let wire = RawSnapshot::decode(bytes)
            .map_err(|error| Declined::new(Ground::Invalid, format!("snapshot: {error}")))?;
        // No player can have more attempts at once, and to read them would only cost time.
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
        let places = wire.places.as_ref().map(TryInto::try_into).transpose();
        let places = places.map_err(|error| Declined::invalid(&error))?;
        Ok((snapshot, Tells { vitals: wire.vitals, attempt_logs: wire.attempt_logs, places }))
    }

    async fn tell(&self, message: FromSession) -> Result<(), Declined> {
        self.driver.sessions.send(message).await.map_err(|_| stopping())
    }

    /// Tells the driver that a session is over.
    pub(super) async fn detach(&self, session: Session) {
        let Session { host, player, id, .. } = session;
        self.tables.fetches.detached(&host, id);
        self.tables.vitals.detached(&host, id, self.tables.fleet.borrow().hosts());
        // Without a driver there is nothing left to tell.
        let _ = self.tell(FromSession::Detached { player, session: id }).await;
    }

    /// Tells the readers of a player's logs that its session is over, after its queue has ended.
    pub(super) fn end_readings(&self, id: SessionId) {
        self.tables.readings.detach(id);
    }

    /// Takes one message. Its reports go to the driver together, because each message to the driver
    /// costs.
    pub(super) async fn take(
        &self,
        session: &Session,
        mut batch: v1::FromPlayers,
    ) -> Result<(), Declined> {
        let Session { host, player, id, .. } = session;
        // Honest messages have far fewer frames.
        for frames in batch.frames.chunks_mut(TURN) {
            let room = self.room_for(frames.iter().map(said::room).sum()).await?;
            let Said { mut reports, units, leases, logs, vitals, places, fetches, alive, wrong } =
                Said::read(host, frames);
            self.check_evidence(host, &mut reports);
            if !reports.is_empty() || !units.is_empty() {
                let (player, session) = (*player, *id);
                let said = FromSession::Reported { player, session, reports, units, room };
                self.tell(said).await?;
            }
            // After the units, because leases are of units that the driver knows.
            for asked in leases {
                let (player, session) = (*player, *id);
                self.tell(FromSession::LeasesAsked { player, session, asked }).await?;
            }
            for (reading, part) in logs {
                self.tables.readings.take(host, *id, reading, part);
            }
            if places.is_some() {
                self.tables.places.take(host, *id, places);
            }
            for batch in vitals {
                self.tables.vitals.take(host, *id, batch);
            }
            for report in fetches {
                self.hear_of_fetch(session, report).await?;
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

    /// Takes what a player says of a bundle that it fetches, and names sources if it wants some.
    async fn hear_of_fetch(&self, session: &Session, report: FetchReport) -> Result<(), Declined> {
        let Session { host, player, outbox, .. } = session;
        if !report.wants_sources {
            self.tables.fetches.take(host, report);
            return Ok(());
        }
        if !self.tables.fetches.may_ask(host) {
            tracing::debug!(player = %host, "a player asks for sources too often");
            return Ok(());
        }
        let (reply, answered) = oneshot::channel();
        let (attempt, bundle) = (report.attempt, report.bundle);
        self.tell(FromSession::FetchAsked { player: *player, attempt, bundle, reply }).await?;
        let Some(fetchable) = answered.await.map_err(|_| stopping())? else {
            // Its end is on its way, or the player says what is not so. It gets nothing.
            tracing::debug!(player = %host, %attempt, "a bundle is fetched for no attempt in flight");
            return Ok(());
        };
        match self.tables.fetches.name_sources(host, report, &fetchable) {
            Ok(sources) => outbox.frame(Frame::Sources((&sources).into())),
            Err(why) => tracing::error!(player = %host, why, "cannot name sources of a bundle"),
        }
        Ok(())
    }

    /// Removes, from refusals, evidence that this store did not give.
    fn check_evidence(&self, host: &HostName, reports: &mut [Report<KnownEnd>]) {
        for report in reports {
            if let Report::Refused { refusal: Refusal::StaleTerm { evidence, .. }, .. } = report {
                let keys = self.proofs.keys();
                let is_true = |said: &Statement<'_>, mac| keys.confirm(said, mac);
                drop_false_evidence(evidence, self.store, host, is_true);
            }
        }
    }

    /// Waits until the driver has room for so many bytes of reports. The driver gives the room back
    /// when it has taken them.
    async fn room_for(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Declined> {
        let bytes = u32::try_from(bytes.min(ROOM)).unwrap_or(u32::MAX);
        Arc::clone(&self.room).acquire_many_owned(bytes).await.map_err(|_| stopping())
    }
}
