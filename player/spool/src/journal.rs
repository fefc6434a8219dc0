//! The journal file. `orchestra_model::journal` defines what surrounds the entries, this module the
//! entries themselves.

use orchestra_model::{
    delivery::SpoolId,
    journal::{self, InvalidEntry, JournalFormat},
};

use crate::{entry::Entry, state::State};

mod codec;

pub use orchestra_model::journal::InvalidJournal;

const FORMAT: JournalFormat = JournalFormat { magic: *b"ORCSPOOL", version: 1 };
/// Journals below this many bytes are not worth compacting.
const COMPACT_FROM: u64 = 1 << 20;

/// What a journal held.
pub type Replayed = journal::Replayed<State>;

/// Returns the bytes of a batch of entries, to be appended to a journal of `at` bytes. They are
/// none for no entries.
pub fn frame(at: u64, entries: &[Entry]) -> Vec<u8> {
    let mut bytes = Vec::new();
    if !entries.is_empty() {
        journal::push_frame(&mut bytes, at, |body| push_entries(body, entries));
    }
    bytes
}

/// Returns a fresh journal of a state. It must be durable under another name before it replaces the
/// old one.
pub fn compacted(state: &State) -> Vec<u8> {
    FORMAT.begin(state.id().0, |body| {
        body.reserve(state.weight());
        push_entries(body, &state.entries());
    })
}

/// Whether a journal of `len` bytes has grown far beyond the state it holds.
pub fn should_compact(state: &State, len: u64) -> bool {
    len >= COMPACT_FROM && len / 4 >= state.weight() as u64
}

/// Reads a whole journal. A torn batch at its end is left out; anything else that is not right is
/// an error, and nothing of the journal may be used.
pub fn replay(bytes: &[u8]) -> Result<Replayed, InvalidJournal> {
    FORMAT.replay(
        bytes,
        |id| State::new(SpoolId(id)),
        |state, reader| {
            let entry = codec::read_entry(reader)?;
            state.apply(&entry).map_err(InvalidEntry::Contradiction)
        },
    )
}

fn push_entries(body: &mut Vec<u8>, entries: &[Entry]) {
    for entry in entries {
        codec::push_entry(body, entry);
    }
}
