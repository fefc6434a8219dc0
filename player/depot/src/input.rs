//! What happened, as a fetch is told.

use orchestra_model::{
    ByteSize, HostName,
    bundle::{BundlePart, ChunkRanges},
};

/// The number of a connection to a source; each is dialled under a new one. What is told of an earlier
/// one is ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LinkNumber(pub u64);

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// The conductor names the sources anew, the best first. Those beyond
    /// [`SOURCES`](crate::bounds::SOURCES) are left out.
    SourcesNamed(Vec<HostName>),
    /// A source was reached, and lets itself be asked.
    Opened { link: LinkNumber },
    /// Bytes of a source have come, whatever they are.
    Heard { link: LinkNumber },
    /// All of a part has come, and is still to be hashed and then taken
    /// ([`Fetch::take`](crate::Fetch::take)). The source does not owe it any more.
    Landed { link: LinkNumber, part: BundlePart },
    /// A source has as many children as it serves.
    Busy { link: LinkNumber },
    /// A source serves nobody here, or does not have the bundle. The text is its reason.
    Refused { link: LinkNumber, why: String },
    /// A source could not be reached, or the connection ended.
    Closed { link: LinkNumber, why: String },
    /// A source said what no source says: a part that was not asked for, or of another length.
    Breached { link: LinkNumber, what: String },
    /// A part is in its file; the disk may still have to write it.
    Written { part: BundlePart },
    /// A part could not be written, or nothing could be synced.
    WriteFailed(WriteFailure),
    /// The manifest was hashed, after [`Effect::JudgeManifest`](crate::Effect::JudgeManifest).
    ManifestJudged {
        /// Whether its hash is the bundle's id, and it can be read.
        is_good: bool,
        /// Chunks that are written now because other bundles of the depot had them; none of them was
        /// asked for.
        found: ChunkRanges,
    },
    /// All that was written when [`Effect::Sync`](crate::Effect::Sync) was given is on disk.
    Synced,
    /// The bundle lies among the whole ones, durably.
    Settled,
    /// Time has passed. Given after all other inputs of a turn, so that what came before a deadline
    /// counts.
    Woken,
}

/// A part has come whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Came {
    pub link: LinkNumber,
    pub part: BundlePart,
    /// Whether its hash is the one that the manifest has. A piece of the manifest has none, and is
    /// always good.
    pub is_good: bool,
}

/// What becomes of the bytes of a part that has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Keep {
    /// They are written into their file, then `Written` or `WriteFailed` is said.
    Write,
    /// They are forgotten.
    Drop,
}

/// Why bytes were not written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteFailure {
    /// The disk is full; so much of it is free.
    NoSpace { free: ByteSize },
    /// The system said something else.
    Other(String),
}
