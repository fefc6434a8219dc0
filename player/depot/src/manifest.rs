//! How far the manifest is.

use orchestra_model::{HostName, bundle::ChunkRanges};

use crate::input::LinkNumber;

/// How far the manifest is. Its pieces have no hashes of their own, so all of them are fetched from one
/// source: if the whole is wrong, it is known who lied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ManifestStage {
    /// Pieces of it come, over this link and from its source.
    Coming {
        from: Option<(LinkNumber, HostName)>,
        /// Those that are in the file.
        pieces: ChunkRanges,
    },
    /// All of it has come from this source, and is being hashed.
    Judged { source: HostName },
    /// It is here.
    Here,
}

impl ManifestStage {
    /// Nothing of it is here.
    pub(crate) fn absent() -> Self {
        Self::Coming { from: None, pieces: ChunkRanges::default() }
    }
}
