//! SHA-256 over whatever comes, and over content chunk by chunk.

use orchestra_model::bundle::{BundleId, ContentHash};
use sha2::{Digest as _, Sha256};

/// The id of the bundle whose manifest is encoded so.
pub(crate) fn id_of(manifest: &[u8]) -> BundleId {
    BundleId(Sha256::digest(manifest).into())
}

/// The hash of these bytes.
pub(crate) fn hash_of(bytes: &[u8]) -> ContentHash {
    ContentHash(Sha256::digest(bytes).into())
}

/// A hash that grows.
#[derive(Clone, Default)]
pub(crate) struct Hasher(Sha256);

impl Hasher {
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(crate) fn finish(self) -> ContentHash {
        ContentHash(self.0.finalize().into())
    }
}

/// The hashes of content that is cut into chunks of one length.
pub(crate) struct ChunkHasher {
    chunk_bytes: u64,
    hasher: Hasher,
    /// How many bytes the present chunk has.
    filled: u64,
    chunks: Vec<ContentHash>,
}

impl ChunkHasher {
    pub(crate) fn new(chunk_bytes: u64) -> Self {
        Self { chunk_bytes, hasher: Hasher::default(), filled: 0, chunks: Vec::new() }
    }

    pub(crate) fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = self.chunk_bytes - self.filled;
            let taken = usize::try_from(room).unwrap_or(usize::MAX).min(bytes.len());
            let (now, later) = bytes.split_at(taken);
            self.hasher.update(now);
            self.filled += taken as u64;
            if self.filled == self.chunk_bytes {
                self.end_chunk();
            }
            bytes = later;
        }
    }

    fn end_chunk(&mut self) {
        self.chunks.push(std::mem::take(&mut self.hasher).finish());
        self.filled = 0;
    }

    /// The hash of each chunk, the last one shorter than the others or as long.
    pub(crate) fn finish(mut self) -> Vec<ContentHash> {
        if self.filled > 0 {
            self.end_chunk();
        }
        self.chunks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// However the content comes, its chunks are the same.
    #[test]
    fn chunks_are_cut_by_length_and_not_by_what_comes_together() {
        let content: Vec<u8> = (0..1_000_u32).map(|n| (n * 31 % 251) as u8).collect();
        let wanted: Vec<ContentHash> =
            content.chunks(64).map(|chunk| ContentHash(Sha256::digest(chunk).into())).collect();
        for step in [1, 7, 63, 64, 65, 128, 1_000] {
            let mut hasher = ChunkHasher::new(64);
            content.chunks(step).for_each(|piece| hasher.update(piece));
            assert_eq!(hasher.finish(), wanted, "{step}");
        }
        assert_eq!(ChunkHasher::new(64).finish(), []);
    }
}
