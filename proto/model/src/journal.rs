//! Journal files of a player's engines: how changes of a state are spelled in bytes, and read back.
//! What the entries are is each engine's own ([`JournalEntry`], [`JournalState`]); what surrounds them
//! is here.
//!
//! ```text
//! file   = header base frame*
//! header = magic:8 version:u32 id:16 crc:u32                   32 bytes; crc of what precedes
//! frame  = length:u64 head_crc:u32 body_crc:u32 body           body: length bytes of entries
//! ```
//!
//! Integers are little-endian. `base` is a frame too: the state that the file began with. Header
//! and base are durable before the file gets its name, so that damage there is never a torn write.
//!
//! A frame is one batch: it was written by one append and synced before the next one began. So only
//! the last frame can be torn, and a file system that writes its pages in any order still leaves
//! all of the batch or none. Something unreadable with a whole frame behind it is damage, and the
//! journal is refused: nothing is ever half read. Both checksums cover the frame's offset, so that
//! bytes in the wrong place are not taken for a frame; the head has its own, so that looking for
//! frames behind a damaged one costs no more than reading once.

use std::fmt;

use crate::{
    delivery::{AttemptKey, OrderNumber, SpoolId, StoreId},
    ids::{FlowId, JobId},
    process::{BootId, ProcessMark},
    time::Timestamp,
};

const HEADER_BYTES: usize = 32;
const HEAD_BYTES: usize = 16;

/// Journals below this many bytes are not worth compacting.
const COMPACT_FROM: u64 = 1 << 20;

/// One change of a state that a journal keeps. In bytes it is a byte for its kind, then its fields.
pub trait JournalEntry: Sized {
    /// Appends the entry.
    fn push(&self, out: &mut Vec<u8>);
    /// Takes one entry off the front.
    fn read(reader: &mut ByteReader<'_>) -> Result<Self, InvalidEntry>;
}

/// A state that a journal keeps. The engine that owns it changes it by its own rules; what is applied
/// to a copy changes nothing of the engine.
pub trait JournalState: Sized {
    /// One change of the state.
    type Entry: JournalEntry;
    /// What its journals begin with.
    const FORMAT: JournalFormat;
    /// The state of a journal that has just been made, of the spool with this id.
    fn new(spool: SpoolId) -> Self;
    /// The id of the spool.
    fn id(&self) -> SpoolId;
    /// About how many bytes a fresh journal of the state has.
    fn weight(&self) -> usize;
    /// The shortest list of entries that leads from a new state to this one.
    fn entries(&self) -> Vec<Self::Entry>;
    /// Makes one change. A contradiction changes nothing.
    fn apply(&mut self, entry: &Self::Entry) -> Result<(), Contradiction>;
}

/// What tells one kind of journal from the others.
#[derive(Clone, Copy, Debug)]
pub struct JournalFormat {
    /// What its files begin with.
    pub magic: [u8; 8],
    /// The version that is written, and the only one that is read.
    pub version: u32,
}

/// What a journal held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replayed<State> {
    /// What it adds up to.
    pub state: State,
    /// How many of its bytes count. The file has to be cut to this before it is appended to.
    pub valid_len: u64,
    /// Whether there is more: the rest of a batch that was being written during a crash.
    pub torn: bool,
}

/// Why one entry cannot be gone on from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InvalidEntry {
    /// Nobody knows its kind.
    UnknownKind(u8),
    /// It is not spelled as it should be: what was being read.
    Malformed(&'static str),
    /// It cannot follow those before it.
    Contradiction(Contradiction),
}

/// An entry that cannot follow the state it meets, or a state that breaks a rule: a bug, or a
/// journal that was tampered with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Contradiction(pub String);

impl fmt::Display for Contradiction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A contradiction where something does not hold.
pub fn require(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), Contradiction> {
    if holds { Ok(()) } else { Err(Contradiction(otherwise())) }
}

/// Why bytes are not a journal that can be gone on from.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidJournal {
    /// It does not begin like one of its kind.
    #[error("the file does not begin like a journal of its kind")]
    NotAJournal,
    /// It is of another version of the format.
    #[error("the journal is of format {0}, which this program does not read")]
    Version(u32),
    /// Bytes that were durable have changed.
    #[error("the journal is damaged at byte {offset}, before its end")]
    Damaged {
        /// Where the damage begins.
        offset: u64,
    },
    /// It holds a kind of entry that this program does not know: a newer one wrote it.
    #[error(
        "the journal holds an entry of unknown kind {kind} at byte {offset}: a newer program \
         wrote it"
    )]
    UnknownEntry {
        /// Of the frame that holds it.
        offset: u64,
        /// Which kind.
        kind: u8,
    },
    /// An entry is not spelled as it should be.
    #[error("the journal holds an entry with a bad {what} at byte {offset}")]
    Malformed {
        /// Of the frame that holds it.
        offset: u64,
        /// What was being read.
        what: &'static str,
    },
    /// An entry cannot follow those before it.
    #[error("the journal contradicts itself at byte {offset}")]
    Contradiction {
        /// Of the frame that holds it.
        offset: u64,
        /// What is wrong with it.
        #[source]
        cause: Contradiction,
    },
}

impl InvalidEntry {
    /// What it makes of a journal whose frame at `offset` holds it.
    fn at(self, offset: usize) -> InvalidJournal {
        let offset = offset as u64;
        match self {
            Self::UnknownKind(kind) => InvalidJournal::UnknownEntry { offset, kind },
            Self::Malformed(what) => InvalidJournal::Malformed { offset, what },
            Self::Contradiction(cause) => InvalidJournal::Contradiction { offset, cause },
        }
    }
}

/// Returns the bytes of a batch of entries, to be appended to a journal of `at` bytes. They are
/// none for no entries.
pub fn frame<Entry: JournalEntry>(at: u64, entries: &[Entry]) -> Vec<u8> {
    let mut bytes = Vec::new();
    if !entries.is_empty() {
        push_frame(&mut bytes, at, entries);
    }
    bytes
}

/// Returns a fresh journal of a state: header, and a base. It must be durable under another name
/// before it replaces the old one.
pub fn compacted<State: JournalState>(state: &State) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES + HEAD_BYTES + state.weight());
    bytes.extend(State::FORMAT.magic);
    bytes.extend(State::FORMAT.version.to_le_bytes());
    bytes.extend(state.id().0);
    bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
    push_frame(&mut bytes, HEADER_BYTES as u64, &state.entries());
    bytes
}

/// Whether a journal of `len` bytes has grown far beyond the state it holds.
pub fn should_compact<State: JournalState>(state: &State, len: u64) -> bool {
    len >= COMPACT_FROM && len / 4 >= state.weight() as u64
}

/// Reads a whole journal. A torn batch at its end is left out; anything else that is not right is
/// an error, and nothing of the journal may be used.
pub fn replay<State: JournalState>(bytes: &[u8]) -> Result<Replayed<State>, InvalidJournal> {
    let mut state = State::new(SpoolId(State::FORMAT.read_header(bytes)?));
    let mut apply_body = |body: &[u8], at: usize| {
        let mut reader = ByteReader::new(body);
        while !reader.is_empty() {
            State::Entry::read(&mut reader)
                .and_then(|entry| state.apply(&entry).map_err(InvalidEntry::Contradiction))
                .map_err(|invalid| invalid.at(at))?;
        }
        Ok(())
    };
    let mut at = HEADER_BYTES;
    let base = body_at(bytes, at).ok_or(InvalidJournal::Damaged { offset: at as u64 })?;
    apply_body(base, at)?;
    at += HEAD_BYTES + base.len();
    while let Some(body) = batch_at(bytes, at) {
        apply_body(body, at)?;
        at += HEAD_BYTES + body.len();
    }
    let torn = at < bytes.len();
    if torn && (at + 1..bytes.len()).any(|later| batch_at(bytes, later).is_some()) {
        return Err(InvalidJournal::Damaged { offset: at as u64 });
    }
    Ok(Replayed { state, valid_len: at as u64, torn })
}

impl JournalFormat {
    fn read_header(&self, bytes: &[u8]) -> Result<[u8; 16], InvalidJournal> {
        let header = bytes.get(..HEADER_BYTES).ok_or(InvalidJournal::NotAJournal)?;
        let mut reader = ByteReader::new(header);
        let mut read = || {
            let magic: [u8; 8] = reader.array()?;
            Some((magic, reader.u32()?, reader.array()?, reader.u32()?))
        };
        let (magic, version, id, crc) = read().ok_or(InvalidJournal::NotAJournal)?;
        if magic != self.magic {
            return Err(InvalidJournal::NotAJournal);
        }
        // Another version may have another header: this comes before the checksum.
        if version != self.version {
            return Err(InvalidJournal::Version(version));
        }
        if crc != crc32fast::hash(&header[..HEADER_BYTES - 4]) {
            return Err(InvalidJournal::Damaged { offset: 0 });
        }
        Ok(id)
    }
}

/// Appends one batch of entries, for a journal of `at` bytes.
fn push_frame<Entry: JournalEntry>(bytes: &mut Vec<u8>, at: u64, entries: &[Entry]) {
    let head = bytes.len();
    bytes.resize(head + HEAD_BYTES, 0);
    for entry in entries {
        entry.push(bytes);
    }
    let body = &bytes[head + HEAD_BYTES..];
    let length = (body.len() as u64).to_le_bytes();
    let body_crc = crc_of(at, body).to_le_bytes();
    bytes[head..head + 8].copy_from_slice(&length);
    bytes[head + 8..head + 12].copy_from_slice(&crc_of(at, &length).to_le_bytes());
    bytes[head + 12..head + 16].copy_from_slice(&body_crc);
}

/// The body of a whole frame at an offset.
fn body_at(bytes: &[u8], at: usize) -> Option<&[u8]> {
    let mut reader = ByteReader::new(bytes.get(at..)?);
    let (length, head_crc, body_crc) = (reader.u64()?, reader.u32()?, reader.u32()?);
    if head_crc != crc_of(at as u64, &length.to_le_bytes()) {
        return None;
    }
    let body = reader.take(usize::try_from(length).ok()?)?;
    (body_crc == crc_of(at as u64, body)).then_some(body)
}

/// The body of a whole frame after the base, which is never empty.
fn batch_at(bytes: &[u8], at: usize) -> Option<&[u8]> {
    body_at(bytes, at).filter(|body| !body.is_empty())
}

fn crc_of(at: u64, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&at.to_le_bytes());
    hasher.update(bytes);
    hasher.finalize()
}

/// Appends bytes behind their length, which is bounded far below what four bytes can say.
pub fn push_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend((bytes.len() as u32).to_le_bytes());
    out.extend(bytes);
}

/// Appends an attempt's key.
pub fn push_key(out: &mut Vec<u8>, key: &AttemptKey) {
    out.extend(key.store.0);
    push_job(out, key.job);
    out.extend(key.attempt.to_le_bytes());
}

/// Appends a job's id.
pub fn push_job(out: &mut Vec<u8>, job: JobId) {
    out.extend(job.flow.0.to_le_bytes());
    out.extend(job.slot.to_le_bytes());
    out.extend(job.job.to_le_bytes());
}

/// Appends what tells a process from others.
pub fn push_process(out: &mut Vec<u8>, process: &ProcessMark) {
    out.extend(process.pid.to_le_bytes());
    out.extend(process.start_ticks.to_le_bytes());
    out.extend(process.boot.0);
    out.extend(process.started_at.0.to_le_bytes());
    out.extend(process.boot_ms.to_le_bytes());
}

/// Takes fields off the front of bytes; `None` where there are too few, or a bound is exceeded.
pub struct ByteReader<'a>(&'a [u8]);

impl<'a> ByteReader<'a> {
    /// Reads these bytes.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Whether everything was taken.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// So many bytes.
    pub fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(taken)
    }

    /// So many bytes as its type has.
    pub fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    /// One byte.
    pub fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_le_bytes)
    }

    /// A byte that is 0 or 1.
    pub fn bool(&mut self) -> Option<bool> {
        match self.u8()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    /// Two bytes.
    pub fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    /// Four bytes.
    pub fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    /// Eight bytes.
    pub fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// An order's number.
    pub fn order(&mut self) -> Option<OrderNumber> {
        self.u64().map(OrderNumber)
    }

    /// An attempt's key.
    pub fn key(&mut self) -> Option<AttemptKey> {
        let store = StoreId(self.array()?);
        Some(AttemptKey { store, job: self.job()?, attempt: self.u32()? })
    }

    /// A job's id.
    pub fn job(&mut self) -> Option<JobId> {
        Some(JobId { flow: FlowId(self.u64()?), slot: self.u16()?, job: self.u16()? })
    }

    /// What tells a process from others.
    pub fn process(&mut self) -> Option<ProcessMark> {
        Some(ProcessMark {
            pid: self.u32()?,
            start_ticks: self.u64()?,
            boot: BootId(self.array()?),
            started_at: Timestamp(self.u64()?),
            boot_ms: self.u64()?,
        })
    }

    /// Bytes behind their length, at most so many.
    pub fn counted(&mut self, most: usize) -> Option<&'a [u8]> {
        let len = self.u32()? as usize;
        if len > most { None } else { self.take(len) }
    }

    /// Text behind its length, at most so many bytes.
    pub fn text(&mut self, most: usize) -> Option<&'a str> {
        self.counted(most).and_then(|bytes| std::str::from_utf8(bytes).ok())
    }
}
