//! Readings of logs: the one table that connects a reader with the session of the player whose log
//! it reads. If either end goes, the other is told.
//!
//! ```text
//! desk ── begin ──▶ table ── ReadLog, LogCredit, CloseLog ──▶ session's outbox ──▶ player
//!      ◀── parts ── table ◀────────────── LogPart ─────────── session  ◀──────────────┘
//! ```
//!
//! The bytes do not pass the driver, and nothing waits: a player sends no more than it has credit
//! for, so the parts of a reading are bounded wherever they are.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use orchestra_flow::SessionId;
use orchestra_model::{
    AudienceName, HostName,
    service::{CREDIT_BYTES, LogPart, LogQuery, LogSource, READINGS, ReadLog, ReadingId},
};
use orchestra_proto::v1::{self, command::Kind};
use tokio::sync::mpsc;

use super::{command::Header, session::Outbox};
use crate::declined::{Declined, Ground};

/// Most readings of one name at once.
const OF_A_NAME: usize = 8;
/// Most followers of many attempts with one name at once. Each has a bound of its own on what is on the way.
const FOLLOWERS_OF_A_NAME: usize = 4;

/// All open readings.
#[derive(Clone, Debug, Default)]
pub(crate) struct LogReadings(Arc<Mutex<Table>>);

#[derive(Debug, Default)]
struct Table {
    /// The last number that was used.
    last: u64,
    followers: Vec<AudienceName>,
    open: HashMap<ReadingId, Open>,
}

#[derive(Debug)]
struct Open {
    session: SessionId,
    /// Whose reading it is; `None` for one of many that a follower has.
    by: Option<AudienceName>,
    /// How many bytes the player may still send.
    credit: usize,
    parts: mpsc::UnboundedSender<Result<LogPart, Declined>>,
}

/// The way to a player's sitter, for as long as its session lasts.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) session: SessionId,
    pub(crate) outbox: Outbox,
    pub(crate) header: Header,
}

/// A place among those who follow many attempts, until it is dropped.
#[derive(Debug)]
pub(crate) struct FollowersPlace {
    by: AudienceName,
    table: LogReadings,
}

/// The reader's end of a reading. When it is dropped the player is told.
#[derive(Debug)]
pub(crate) struct LogReading {
    id: ReadingId,
    line: Line,
    parts: mpsc::UnboundedReceiver<Result<LogPart, Declined>>,
    table: LogReadings,
}

impl LogReadings {
    /// Begins a reading on a player's line.
    pub(crate) fn begin(
        &self,
        line: Line,
        what: (LogSource, LogQuery),
        by: AudienceName,
    ) -> Result<LogReading, Declined> {
        self.begin_with(line, what, Some(by), CREDIT_BYTES)
    }

    /// Begins one of the readings of a follower, with so much credit.
    pub(crate) fn begin_of_many(
        &self,
        line: Line,
        what: (LogSource, LogQuery),
        credit: usize,
    ) -> Result<LogReading, Declined> {
        self.begin_with(line, what, None, credit)
    }

    /// Takes a place among those who follow many attempts.
    pub(crate) fn follow(&self, by: &AudienceName) -> Result<FollowersPlace, Declined> {
        let mut table = self.lock();
        if table.followers.iter().filter(|other| *other == by).count() >= FOLLOWERS_OF_A_NAME {
            let why =
                format!("{by} follows {FOLLOWERS_OF_A_NAME} flows already, which is the most");
            return Err(Declined::new(Ground::TooMuch, why));
        }
        table.followers.push(by.clone());
        Ok(FollowersPlace { by: by.clone(), table: self.clone() })
    }

    fn begin_with(
        &self,
        line: Line,
        (of, query): (LogSource, LogQuery),
        by: Option<AudienceName>,
        credit: usize,
    ) -> Result<LogReading, Declined> {
        let (sender, parts) = mpsc::unbounded_channel();
        let mut table = self.lock();
        table.check_bounds(line.session, by.as_ref())?;
        // The end of a session ends its queue first, then its readings in the table.
        if line.outbox.is_ended() {
            return Err(gone());
        }
        table.last += 1;
        let id = ReadingId(table.last);
        let open = Open { session: line.session, by, credit, parts: sender };
        table.open.insert(id, open);
        drop(table);
        let read = ReadLog { reading: id, of, query, credit: credit as u32 };
        line.outbox.command(line.header, Kind::ReadLog((&read).into()));
        Ok(LogReading { id, line, parts, table: self.clone() })
    }

    /// Takes what a player said of a reading, which may be over.
    pub(in crate::lines) fn take(
        &self,
        host: &HostName,
        session: SessionId,
        id: ReadingId,
        part: LogPart,
    ) {
        let mut table = self.lock();
        let Some(open) = table.open.get_mut(&id).filter(|open| open.session == session) else {
            return;
        };
        let (part, is_last) = match part {
            LogPart::End(_) => (Ok(part), true),
            LogPart::Chunk(chunk) if chunk.cost() <= open.credit => {
                open.credit -= chunk.cost();
                (Ok(LogPart::Chunk(chunk)), false)
            }
            LogPart::Chunk(_) => {
                let why = format!("{host} sent more of a log than it was asked for");
                tracing::warn!(player = %host, "the player sent more of a log than it was asked for");
                (Err(Declined::new(Ground::Internal, why)), true)
            }
        };
        // The reader may have gone.
        let _ = open.parts.send(part);
        if is_last {
            table.open.remove(&id);
        }
    }

    /// Tells the readers of a session that is over and whose queue has ended.
    pub(in crate::lines) fn detach(&self, session: SessionId) {
        for (_, open) in self.lock().open.extract_if(|_, open| open.session == session) {
            let _ = open.parts.send(Err(gone()));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn check_bounds(&self, session: SessionId, by: Option<&AudienceName>) -> Result<(), Declined> {
        let too_many = |what: String| Err(Declined::new(Ground::TooMuch, what));
        let count = |is: &dyn Fn(&Open) -> bool| self.open.values().filter(|open| is(open)).count();
        if let Some(by) = by
            && count(&|open| open.by.as_ref() == Some(by)) >= OF_A_NAME
        {
            return too_many(format!("{by} reads {OF_A_NAME} logs already, which is the most"));
        }
        if count(&|open| open.session == session) >= READINGS {
            return too_many(format!("{READINGS} logs of this player are read, which is the most"));
        }
        Ok(())
    }
}

fn gone() -> Declined {
    Declined::new(Ground::NotNow, "the player went away")
}

impl LogReading {
    /// Returns the next part, or why there is none. Nothing follows an end.
    pub(crate) async fn next(&mut self) -> Result<LogPart, Declined> {
        self.parts.recv().await.unwrap_or_else(|| Err(gone()))
    }

    /// Gives the player credit for so many bytes more, because so many were taken.
    pub(crate) fn give_back(&self, cost: usize) {
        if let Some(open) = self.table.lock().open.get_mut(&self.id) {
            open.credit += cost;
            let (reading, bytes) = (self.id.0, cost as u32);
            let kind = Kind::LogCredit(v1::LogCredit { reading, bytes });
            self.line.outbox.command(self.line.header, kind);
        }
    }
}

impl Drop for LogReading {
    fn drop(&mut self) {
        self.table.lock().open.remove(&self.id);
        let kind = Kind::CloseLog(v1::CloseLog { reading: self.id.0 });
        self.line.outbox.command(self.line.header, kind);
    }
}

impl Drop for FollowersPlace {
    fn drop(&mut self) {
        let mut table = self.table.lock();
        if let Some(place) = table.followers.iter().position(|by| *by == self.by) {
            table.followers.swap_remove(place);
        }
    }
}
