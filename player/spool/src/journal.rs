//! The journal file: how a state and its changes are spelled in bytes, and read back.
//!
//! ```text
//! file   = header base frame*
//! header = "ORCSPOOL" version:u32 spool_id:16 crc:u32          32 bytes; crc of what precedes
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

use orchestra_model::delivery::SpoolId;

use crate::{
    entry::Entry,
    state::{Contradiction, State},
};

mod codec;

use codec::Reader;

const MAGIC: [u8; 8] = *b"ORCSPOOL";
/// The version of the format that is written, and the only one that is read.
pub const VERSION: u32 = 1;
const HEADER_BYTES: usize = 32;
const HEAD_BYTES: usize = 16;
/// Journals below this are not worth compacting.
const COMPACT_FROM: u64 = 1 << 20;

/// One batch of entries, to be appended to a journal of `at` bytes. Nothing for no entries.
pub fn frame(at: u64, entries: &[Entry]) -> Vec<u8> {
    let mut bytes = Vec::new();
    if !entries.is_empty() {
        push_frame(&mut bytes, at, entries);
    }
    bytes
}

/// A fresh journal of a state. It has to be durable under another name before it gets its own.
pub fn compacted(state: &State) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES + HEAD_BYTES + state.weight());
    bytes.extend(MAGIC);
    bytes.extend(VERSION.to_le_bytes());
    bytes.extend(state.id().0);
    bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
    push_frame(&mut bytes, HEADER_BYTES as u64, &state.entries());
    bytes
}

/// Whether a journal of `len` bytes has grown far beyond the state it holds.
pub fn should_compact(state: &State, len: u64) -> bool {
    len >= COMPACT_FROM && len / 4 >= state.weight() as u64
}

/// What a journal held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replayed {
    /// What it adds up to.
    pub state: State,
    /// How many of its bytes count. The file has to be cut to this before it is appended to.
    pub valid_len: u64,
    /// Whether there is more: the rest of a batch that was being written during a crash.
    pub torn: bool,
}

/// Why bytes are not a journal that can be gone on from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InvalidJournal {
    /// It does not begin like one.
    NotAJournal,
    /// It is of another version of the format.
    Version(u32),
    /// Bytes that were durable have changed.
    Damaged {
        /// Where the damage begins.
        offset: u64,
    },
    /// It holds a kind of entry that this program does not know: a newer one wrote it.
    UnknownEntry {
        /// Of the frame that holds it.
        offset: u64,
        /// Which kind.
        kind: u8,
    },
    /// An entry is not spelled as it should be.
    Malformed {
        /// Of the frame that holds it.
        offset: u64,
        /// What was being read.
        what: &'static str,
    },
    /// An entry cannot follow those before it.
    Contradiction {
        /// Of the frame that holds it.
        offset: u64,
        /// What is wrong with it.
        cause: Contradiction,
    },
}

impl fmt::Display for InvalidJournal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAJournal => f.write_str("the file is not a spool's journal"),
            Self::Version(found) => {
                write!(f, "the journal is of format {found}; this program reads format {VERSION}")
            }
            Self::Damaged { offset } => {
                write!(f, "the journal is damaged at byte {offset}, before its end")
            }
            Self::UnknownEntry { offset, kind } => write!(
                f,
                "the journal holds an entry of unknown kind {kind} at byte {offset}: a newer \
                 program wrote it"
            ),
            Self::Malformed { offset, what } => {
                write!(f, "the journal holds an entry with a bad {what} at byte {offset}")
            }
            Self::Contradiction { offset, .. } => {
                write!(f, "the journal contradicts itself at byte {offset}")
            }
        }
    }
}

impl std::error::Error for InvalidJournal {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Contradiction { cause, .. } => Some(cause),
            _ => None,
        }
    }
}

/// Reads a whole journal. A torn batch at its end is left out; anything else that is not right is
/// an error, and nothing of the journal may be used.
pub fn replay(bytes: &[u8]) -> Result<Replayed, InvalidJournal> {
    let mut state = State::new(read_header(bytes)?);
    let mut at = HEADER_BYTES;
    let base = body_at(bytes, at).ok_or(InvalidJournal::Damaged { offset: at as u64 })?;
    apply_body(&mut state, base, at)?;
    at += HEAD_BYTES + base.len();
    while let Some(body) = batch_at(bytes, at) {
        apply_body(&mut state, body, at)?;
        at += HEAD_BYTES + body.len();
    }
    let torn = at < bytes.len();
    if torn && (at + 1..bytes.len()).any(|later| batch_at(bytes, later).is_some()) {
        return Err(InvalidJournal::Damaged { offset: at as u64 });
    }
    Ok(Replayed { state, valid_len: at as u64, torn })
}

fn read_header(bytes: &[u8]) -> Result<SpoolId, InvalidJournal> {
    let header = bytes.get(..HEADER_BYTES).ok_or(InvalidJournal::NotAJournal)?;
    let mut reader = Reader::new(header);
    let mut read = || {
        let magic: [u8; 8] = reader.array()?;
        let version = reader.u32()?;
        Some((magic, version, SpoolId(reader.array()?), reader.u32()?))
    };
    let (magic, version, id, crc) = read().ok_or(InvalidJournal::NotAJournal)?;
    if magic != MAGIC {
        return Err(InvalidJournal::NotAJournal);
    }
    // Another version may have another header: this comes before the checksum.
    if version != VERSION {
        return Err(InvalidJournal::Version(version));
    }
    if crc != crc32fast::hash(&header[..HEADER_BYTES - 4]) {
        return Err(InvalidJournal::Damaged { offset: 0 });
    }
    Ok(id)
}

fn apply_body(state: &mut State, body: &[u8], at: usize) -> Result<(), InvalidJournal> {
    let offset = at as u64;
    let mut reader = Reader::new(body);
    while !reader.is_empty() {
        let entry = codec::read_entry(&mut reader).map_err(|problem| match problem {
            codec::Problem::UnknownKind(kind) => InvalidJournal::UnknownEntry { offset, kind },
            codec::Problem::Malformed(what) => InvalidJournal::Malformed { offset, what },
        })?;
        let applied = state.apply(&entry);
        applied.map_err(|cause| InvalidJournal::Contradiction { offset, cause })?;
    }
    Ok(())
}

/// The body of a whole frame at an offset.
fn body_at(bytes: &[u8], at: usize) -> Option<&[u8]> {
    let mut reader = Reader::new(bytes.get(at..)?);
    let (length, head_crc, body_crc) = (reader.u64()?, reader.u32()?, reader.u32()?);
    if head_crc != crc_of(at as u64, &length.to_le_bytes()) {
        return None;
    }
    let body = reader.take(usize::try_from(length).ok()?)?;
    (body_crc == crc_of(at as u64, body)).then_some(body)
}

/// The same for frames after the base, which are never empty.
fn batch_at(bytes: &[u8], at: usize) -> Option<&[u8]> {
    body_at(bytes, at).filter(|body| !body.is_empty())
}

fn push_frame(bytes: &mut Vec<u8>, at: u64, entries: &[Entry]) {
    let head = bytes.len();
    bytes.resize(head + HEAD_BYTES, 0);
    for entry in entries {
        codec::push_entry(bytes, entry);
    }
    let body = &bytes[head + HEAD_BYTES..];
    let length = (body.len() as u64).to_le_bytes();
    let body_crc = crc_of(at, body).to_le_bytes();
    bytes[head..head + 8].copy_from_slice(&length);
    bytes[head + 8..head + 12].copy_from_slice(&crc_of(at, &length).to_le_bytes());
    bytes[head + 12..head + 16].copy_from_slice(&body_crc);
}

fn crc_of(at: u64, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&at.to_le_bytes());
    hasher.update(bytes);
    hasher.finalize()
}
