//! The journal of a bundle that is still arriving: which chunks of its content are there.
//!
//! ```text
//! header   "ORCARRV"  format (1 byte)  id (32)  chunks (4)  crc (4)
//! record   1: here      first (4)    the first number after it (4)    crc (4)
//!          2: on disk   how many records of kind 1 (4)      0 (4)     crc (4)
//! ```
//!
//! A record of kind 1 is appended when a chunk was verified and written, and is not waited for: whoever
//! serves the bundle to others reads it the moment after. A record of kind 2 is appended after the
//! content was synced. It says that what the first so many records name is on disk.
//!
//! ```text
//! the process was killed     all records are there; what no record of kind 2 covers is hashed again
//! the machine went down      records may be lost, or be there while their chunks are not: the same
//! ```
//!
//! A process that begins hashes what is doubtful, and writes a journal anew ([`ArrivalJournal::anew`]).
//! To append to the old one would be wrong: the next record of kind 2 would cover records whose chunks
//! were lost.
//!
//! What cannot be read ends the journal: whatever it held is fetched again, and nothing is believed
//! wrongly. Each checksum covers where its record stands, so that bytes in the wrong place are none.

use std::collections::VecDeque;

use super::{BundleId, ChunkRanges};
use crate::journal::ByteReader;

const MAGIC: [u8; 7] = *b"ORCARRV";
const FORMAT: u8 = 1;
const HEADER_BYTES: usize = MAGIC.len() + 1 + 32 + 4 + 4;
const RECORD_BYTES: usize = 1 + 4 + 4 + 4;

const HERE: u8 = 1;
const ON_DISK: u8 = 2;

/// One thing that a journal of an arriving bundle says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArrivalRecord {
    /// The chunks from `first` on and below `end` were verified and written.
    Here { first: u32, end: u32 },
    /// What the first so many records of the other kind name is on disk.
    OnDisk { records: u32 },
}

/// A journal of an arriving bundle, as far as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArrivalJournal {
    chunks: u32,
    /// How many of its bytes were read.
    valid_len: u64,
    /// How many records of kind 1 were read.
    records: u32,
    /// How many of them are covered by a record of kind 2.
    covered: u32,
    here: ChunkRanges,
    on_disk: ChunkRanges,
    /// What was named and is not covered yet, in order.
    uncovered: VecDeque<(u32, u32)>,
}

impl ArrivalJournal {
    /// What a journal begins with.
    fn header(id: BundleId, chunks: u32) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_BYTES);
        out.extend(MAGIC);
        out.push(FORMAT);
        out.extend(id.0);
        out.extend(chunks.to_le_bytes());
        out.extend(crc32fast::hash(&out).to_le_bytes());
        out
    }

    /// A new journal that says that these chunks were verified and written, and its bytes. They are
    /// durable under another name before they replace an older journal.
    pub fn anew(id: BundleId, chunks: u32, here: &ChunkRanges) -> (Self, Vec<u8>) {
        let mut bytes = Self::header(id, chunks);
        let mut journal = Self::empty(chunks);
        for (first, end) in here.iter() {
            bytes.extend(journal.append(ArrivalRecord::Here { first, end }));
        }
        (journal, bytes)
    }

    fn empty(chunks: u32) -> Self {
        Self {
            chunks,
            valid_len: HEADER_BYTES as u64,
            records: 0,
            covered: 0,
            here: ChunkRanges::default(),
            on_disk: ChunkRanges::default(),
            uncovered: VecDeque::new(),
        }
    }

    /// Reads a journal of this bundle from its beginning. `None` where it does not begin like one;
    /// then nothing is known to be there.
    pub fn read(bytes: &[u8], id: BundleId, chunks: u32) -> Option<Self> {
        let records = bytes.strip_prefix(Self::header(id, chunks).as_slice())?;
        let mut journal = Self::empty(chunks);
        journal.follow(records);
        Some(journal)
    }

    /// Reads on: `more` are the bytes from [`Self::valid_len`] on. Stops before the first record that
    /// is not whole, which may still be being written.
    pub fn follow(&mut self, more: &[u8]) {
        for bytes in more.chunks_exact(RECORD_BYTES) {
            let record = ArrivalRecord::decode(bytes, self.valid_len);
            if record.and_then(|record| self.apply(record)).is_none() {
                return;
            }
            self.valid_len += RECORD_BYTES as u64;
        }
    }

    /// The bytes of the next record, to be written at [`Self::valid_len`] and then followed.
    pub fn bytes_of(&self, record: ArrivalRecord) -> Vec<u8> {
        record.encode(self.valid_len)
    }

    /// Appends a record, and returns the bytes that are to be appended to the file.
    pub fn append(&mut self, record: ArrivalRecord) -> Vec<u8> {
        let bytes = self.bytes_of(record);
        self.follow(&bytes);
        bytes
    }

    /// How many bytes of the file count.
    pub fn valid_len(&self) -> u64 {
        self.valid_len
    }

    /// How many records say what is here.
    pub fn records(&self) -> u32 {
        self.records
    }

    /// Every chunk that was verified and written.
    pub fn here(&self) -> &ChunkRanges {
        &self.here
    }

    /// Those of them that are certainly on disk. The others have to be hashed again after a start.
    pub fn on_disk(&self) -> &ChunkRanges {
        &self.on_disk
    }

    /// `None` where the record cannot follow those before it.
    fn apply(&mut self, record: ArrivalRecord) -> Option<()> {
        match record {
            ArrivalRecord::Here { first, end } => {
                if first >= end || end > self.chunks {
                    return None;
                }
                self.records = self.records.checked_add(1)?;
                self.here.insert(first, end);
                self.uncovered.push_back((first, end));
            }
            ArrivalRecord::OnDisk { records } => {
                if !(self.covered..=self.records).contains(&records) {
                    return None;
                }
                while self.covered < records {
                    let (first, end) = self.uncovered.pop_front()?;
                    self.on_disk.insert(first, end);
                    self.covered += 1;
                }
            }
        }
        Some(())
    }
}

impl ArrivalRecord {
    /// The record in bytes, for a journal that has `at` bytes before it.
    fn encode(self, at: u64) -> Vec<u8> {
        let (kind, one, other) = match self {
            Self::Here { first, end } => (HERE, first, end),
            Self::OnDisk { records } => (ON_DISK, records, 0),
        };
        let mut out = Vec::with_capacity(RECORD_BYTES);
        out.push(kind);
        out.extend(one.to_le_bytes());
        out.extend(other.to_le_bytes());
        out.extend(checksum(&out, at).to_le_bytes());
        out
    }

    fn decode(bytes: &[u8], at: u64) -> Option<Self> {
        let body = bytes.get(..RECORD_BYTES - 4)?;
        let mut reader = ByteReader::new(bytes);
        let (kind, one, other) = (reader.u8()?, reader.u32()?, reader.u32()?);
        if reader.u32()? != checksum(body, at) {
            return None;
        }
        match kind {
            HERE => Some(Self::Here { first: one, end: other }),
            ON_DISK if other == 0 => Some(Self::OnDisk { records: one }),
            _ => None,
        }
    }
}

fn checksum(body: &[u8], at: u64) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&at.to_le_bytes());
    hasher.update(body);
    hasher.finalize()
}
