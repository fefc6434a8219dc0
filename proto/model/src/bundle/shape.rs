//! How a bundle is cut into parts, each of which is asked for by itself.

use super::{BundleStatement, CHUNK_BYTES, chunk_bytes};

/// How a bundle is cut: what its statement says is enough to know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BundleShape {
    /// How long the encoded manifest is, in bytes.
    pub manifest_bytes: u64,
    /// How much data all files have, without holes, in bytes.
    pub content_bytes: u64,
}

/// What is asked for, and comes, at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BundlePart {
    /// So many bytes of the encoded manifest, counted from 0. No piece has a hash of its own.
    ManifestPiece(u32),
    /// A chunk of the content, counted from 0.
    Chunk(u32),
}

impl BundleShape {
    /// How the bundle of a statement is cut.
    pub fn of(statement: &BundleStatement) -> Self {
        let BundleStatement { manifest_bytes, content_bytes, .. } = *statement;
        Self { manifest_bytes, content_bytes }
    }

    /// How many pieces the manifest has, at least 1.
    pub fn manifest_pieces(self) -> u32 {
        number_of(self.manifest_bytes, CHUNK_BYTES).max(1)
    }

    /// How many chunks the content has.
    pub fn chunks(self) -> u32 {
        number_of(self.content_bytes, chunk_bytes(self.content_bytes))
    }

    /// How many bytes manifest and content have together.
    pub fn bytes(self) -> u64 {
        self.manifest_bytes.saturating_add(self.content_bytes)
    }

    /// Where a part begins in its file, in bytes, and how long it is. `None` where there is no such
    /// part.
    pub fn place_of(self, part: BundlePart) -> Option<(u64, u64)> {
        let (number, file_bytes, part_bytes) = match part {
            BundlePart::ManifestPiece(number) => (number, self.manifest_bytes, CHUNK_BYTES),
            BundlePart::Chunk(number) => {
                (number, self.content_bytes, chunk_bytes(self.content_bytes))
            }
        };
        let offset = u64::from(number).checked_mul(part_bytes)?;
        let len = file_bytes.checked_sub(offset)?.min(part_bytes);
        (len > 0).then_some((offset, len))
    }
}

/// Bounded far below what four bytes can say, for whatever a place takes; what a statement says beyond
/// that has no parts there.
fn number_of(bytes: u64, of: u64) -> u32 {
    u32::try_from(bytes.div_ceil(of)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::{LARGE_CHUNK_BYTES, LARGE_FROM};

    #[test]
    fn parts_cover_manifest_and_content_and_do_not_overlap() {
        let contents = [0, 1, CHUNK_BYTES, CHUNK_BYTES + 1, 5 * CHUNK_BYTES - 1, LARGE_FROM + 7];
        for content_bytes in contents {
            let shape = BundleShape { manifest_bytes: CHUNK_BYTES + 100, content_bytes };
            assert_eq!(shape.manifest_pieces(), 2);
            let last = shape.place_of(BundlePart::ManifestPiece(1));
            assert_eq!(last, Some((CHUNK_BYTES, 100)));
            assert_eq!(shape.place_of(BundlePart::ManifestPiece(2)), None);
            let mut end = 0;
            for number in 0..shape.chunks() {
                let (offset, len) = shape.place_of(BundlePart::Chunk(number)).unwrap();
                assert_eq!(offset, end);
                end += len;
            }
            assert_eq!(end, content_bytes);
            assert_eq!(shape.place_of(BundlePart::Chunk(shape.chunks())), None);
        }
        let large = BundleShape { manifest_bytes: 1, content_bytes: LARGE_FROM };
        assert_eq!(
            large.place_of(BundlePart::Chunk(1)),
            Some((LARGE_CHUNK_BYTES, LARGE_CHUNK_BYTES))
        );
    }
}
