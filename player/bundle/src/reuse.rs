//! What a bundle that arrives has in common with others of its depot: files that are there already are
//! copied, and not fetched.

use std::{collections::HashMap, fs::File, os::unix::fs::FileExt as _};

use orchestra_model::bundle::{BundlePart, ChunkRanges, ContentHash, Manifest};

use crate::{depot::StoredBundle, error::DepotError, incoming::ArrivingBundle};

/// Most bundles whose files are looked at: the newest of the same name.
const LOOKED_AT: usize = 3;

/// Where the data of a file is in another bundle of the depot.
#[derive(Clone, Copy)]
struct Known {
    /// Which of the other bundles.
    bundle: usize,
    /// Where it begins in that bundle's content, in bytes.
    offset: u64,
}

/// A file's part of the content that arrives.
struct Segment {
    offset: u64,
    len: u64,
    known: Option<Known>,
}

impl ArrivingBundle {
    /// Copies what earlier bundles of the same name have of this one: chunks all of whose files are there
    /// with the same hash, whatever they are called. Each is hashed, and in the journal when this returns,
    /// as if it had been fetched. Without a manifest it does nothing. `goes_on` is asked before each chunk.
    ///
    /// What cannot be read of another bundle is fetched: only an error of this one is an error.
    pub fn reuse(&mut self, goes_on: impl Fn() -> bool) -> Result<ChunkRanges, DepotError> {
        let mut found = ChunkRanges::default();
        let others = self.earlier_bundles();
        let Some(segments) = self.manifest().map(|manifest| segments(manifest, &others)) else {
            return Ok(found);
        };
        if segments.iter().all(|segment| segment.known.is_none()) {
            return Ok(found);
        }
        let (mut first, mut bytes) = (0, Vec::new());
        for number in 0..self.shape().chunks() {
            let Some((offset, len)) = self.shape().place_of(BundlePart::Chunk(number)) else {
                break;
            };
            while segments.get(first).is_some_and(|it| it.offset + it.len <= offset) {
                first += 1;
            }
            if self.here().contains(number) {
                continue;
            }
            if !goes_on() {
                break;
            }
            bytes.clear();
            let parts = segments[first..].iter().take_while(|it| it.offset < offset + len);
            let is_read = parts
                .map(|it| it.part(offset, len))
                .all(|part| part.is_some_and(|part| part.read(&others, &mut bytes).is_some()));
            if is_read && self.is_good(number, &bytes) {
                self.write(BundlePart::Chunk(number), &bytes)?;
                found.insert(number, number + 1);
            }
        }
        Ok(found)
    }

    /// The newest whole bundles of the same name, with their content.
    fn earlier_bundles(&self) -> Vec<(Manifest, File)> {
        let name = &self.seal().statement.name;
        let listed = self.depot().list().unwrap_or_default();
        let same = listed.into_iter().flatten().filter(|bundle| bundle.name() == name);
        let newest: Vec<StoredBundle> = same.collect();
        let opened = newest.iter().rev().take(LOOKED_AT);
        opened
            .filter_map(|bundle| Some((bundle.manifest().ok()?, bundle.content().ok()?)))
            .collect()
    }
}

/// The files of a bundle in the order of its content, and where else each is.
fn segments(manifest: &Manifest, others: &[(Manifest, File)]) -> Vec<Segment> {
    let mut known: HashMap<ContentHash, Known> = HashMap::new();
    for (bundle, (other, _)) in others.iter().enumerate() {
        let mut offset = 0;
        for (_, file) in other.files() {
            known.entry(file.hash).or_insert(Known { bundle, offset });
            offset += file.content_bytes();
        }
    }
    let mut offset = 0;
    let files = manifest.files().map(|(_, file)| (file.hash, file.content_bytes()));
    files
        .filter(|(_, len)| *len > 0)
        .map(|(hash, len)| {
            let segment = Segment { offset, len, known: known.get(&hash).copied() };
            offset += len;
            segment
        })
        .collect()
}

/// A part of a chunk that is in another bundle.
struct Part {
    bundle: usize,
    offset: u64,
    len: u64,
}

impl Segment {
    /// What of this file is in a chunk, if another bundle has it.
    fn part(&self, offset: u64, len: u64) -> Option<Part> {
        let from = self.offset.max(offset);
        let to = (self.offset + self.len).min(offset + len);
        self.known.map(|Known { bundle, offset: begins }| Part {
            bundle,
            offset: begins + (from - self.offset),
            len: to.saturating_sub(from),
        })
    }
}

impl Part {
    fn read(&self, others: &[(Manifest, File)], bytes: &mut Vec<u8>) -> Option<()> {
        let before = bytes.len();
        bytes.resize(before + usize::try_from(self.len).ok()?, 0);
        others.get(self.bundle)?.1.read_exact_at(&mut bytes[before..], self.offset).ok()
    }
}
