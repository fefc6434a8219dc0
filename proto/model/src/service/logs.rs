//! Logs: what units and attempts write, as somebody reads it.
//!
//! A *reading* is one reader's way through the log of one stream of a unit, or of an attempt that runs.
//! Its player sends chunks as far as the reader gave it credit, so nobody waits for a slow reader.

use crate::{
    delivery::AttemptKey,
    names::ServiceName,
    service::{Placement, RunNumber},
    time::Timestamp,
};

/// Most bytes of one chunk.
pub const CHUNK_BYTES: usize = 64 << 10;
/// Most bytes of a reading that were sent and not taken.
pub const CREDIT_BYTES: usize = 256 << 10;
/// What a chunk takes of the credit at least, in bytes, so that their number has a bound too.
pub const LEAST_CREDIT: usize = 1 << 10;
/// Most readings of one player at once.
pub const READINGS: usize = 16;

/// A reading's number: used once in a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReadingId(pub u64);

/// What begins a reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadLog {
    /// What it is called from now on.
    pub reading: ReadingId,
    /// Who wrote it.
    pub of: LogSource,
    /// Which part.
    pub query: LogQuery,
    /// How many bytes may come before there is more credit.
    pub credit: u32,
}

/// Who wrote a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogSource {
    /// The unit of a service.
    Unit(ServiceName),
    /// An attempt that runs, or what is kept of one that is over. It has one run, number 1, whose places
    /// are in file 1; of a query only stream, place and `follow` count, and followed it ends with the
    /// attempt.
    Attempt(AttemptKey),
}

/// Which part of what a unit wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogQuery {
    /// Of which stream.
    pub stream: LogStream,
    /// Of which runs.
    pub runs: LogRuns,
    /// Only so many last lines of what there is.
    pub tail: Option<u64>,
    /// Nothing that was certainly written before.
    pub since: Option<Timestamp>,
    /// From here on, whatever `tail` and `since` say.
    pub from: Option<LogPlace>,
    /// Also what is written later.
    pub follow: bool,
}

/// A stream of a unit, or of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Runs whose output is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogRuns {
    /// The newest; where the log is followed, also those after it.
    Newest,
    /// The last before the newest that wrote anything.
    Previous,
    /// This one of the unit's present placement.
    Number(RunNumber),
    /// Every run.
    All,
}

/// A place in the log of one stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogPlace {
    /// The number of its file, from 1; 0 before the first.
    pub file: u64,
    /// Bytes from the beginning of that.
    pub offset: u64,
}

/// Some bytes of a log, of one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogChunk {
    /// Whose run's they are, and in which placement.
    pub run: RunNumber,
    /// Its placement.
    pub placement: Placement,
    /// None of them was written before.
    pub at: Option<Timestamp>,
    /// At most [`CHUNK_BYTES`].
    pub bytes: Vec<u8>,
    /// Something was removed before this that nobody had read.
    pub gap: bool,
    /// Where to go on from.
    pub next: LogPlace,
}

impl LogChunk {
    /// How much credit it takes: what it holds, and not less than [`LEAST_CREDIT`].
    pub fn cost(&self) -> usize {
        self.bytes.len().max(LEAST_CREDIT)
    }
}

/// What a player says of a reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogPart {
    /// The next bytes.
    Chunk(LogChunk),
    /// Nothing more comes.
    End(LogEnd),
}

/// Why nothing more comes of a reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogEnd {
    /// Everything that was asked for was told.
    All,
    /// The player has no such unit, or no longer.
    Gone,
    /// It cannot be read, for this reason.
    Failed(String),
    /// The player has as many readings as it may.
    TooMany,
}
