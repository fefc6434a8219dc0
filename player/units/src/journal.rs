//! The units' file. `orchestra_model::journal` defines what surrounds the entries, this module the
//! entries themselves. A sitter of a release without units does not read the file.

use orchestra_model::journal;

use crate::state::State;

mod codec;
mod health;
mod orders;
mod process;
mod statuses;

pub use orchestra_model::journal::{InvalidJournal, compacted, frame, should_compact};

/// What a journal held.
pub type Replayed = journal::Replayed<State>;

/// Reads a whole journal, as [`journal::replay`] says.
pub fn replay(bytes: &[u8]) -> Result<Replayed, InvalidJournal> {
    journal::replay(bytes)
}
