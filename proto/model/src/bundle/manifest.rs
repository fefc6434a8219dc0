//! A manifest: everything about a bundle but its content.

use super::{
    BundleEntry, BundlePath, BundleSerial, ContentHash, EntryKind, FileEntry, InvalidManifest,
    codec,
    rules::{self, Sums},
};
use crate::{names::BundleName, time::Timestamp};

/// How long a chunk is, in bytes: what one request asks for, and what is hashed by itself.
pub const CHUNK_BYTES: u64 = 256 << 10;

/// From so much content on chunks are larger, so that the table of hashes stays short.
pub const LARGE_FROM: u64 = 16 << 30;

/// How long a chunk of much content is, in bytes.
pub const LARGE_CHUNK_BYTES: u64 = 1 << 20;

/// Holes begin and end at multiples of so many bytes, or at the end of a file: a block of so many
/// zeros is a hole, whatever the file system that it was read from made of it. So the same files have
/// the same manifest everywhere.
pub const HOLE_BYTES: u64 = 64 << 10;

/// Returns how long the chunks of so much content are, in bytes; the last one may be shorter.
pub fn chunk_bytes(content: u64) -> u64 {
    if content < LARGE_FROM { CHUNK_BYTES } else { LARGE_CHUNK_BYTES }
}

/// The manifest of a bundle. Its fields agree, and nothing in it leads out of the bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    pub(super) name: BundleName,
    pub(super) serial: BundleSerial,
    pub(super) expires: Option<Timestamp>,
    pub(super) top_mode: u16,
    pub(super) entries: Vec<BundleEntry>,
    pub(super) chunks: Vec<ContentHash>,
    sums: Sums,
}

impl Manifest {
    /// Judges the parts of a manifest, and puts them together.
    ///
    /// `expires` is the moment from which on nobody is to take the bundle any more. `top_mode` are
    /// the permission bits of the directory that the bundle becomes. `chunks` are the hashes of the
    /// content, [`chunk_bytes`] each.
    pub fn new(
        name: BundleName,
        serial: BundleSerial,
        expires: Option<Timestamp>,
        top_mode: u16,
        entries: Vec<BundleEntry>,
        chunks: Vec<ContentHash>,
    ) -> Result<Self, InvalidManifest> {
        let sums = rules::judge(top_mode, &entries, chunks.len())?;
        // 0 is how no expiry is written.
        let expires = expires.map(|at| Timestamp(at.0.max(1)));
        let manifest = Self { name, serial, expires, top_mode, entries, chunks, sums };
        if codec::encoded_len(&manifest) > crate::limits::MANIFEST_BYTES {
            return Err(InvalidManifest::TooLarge);
        }
        Ok(manifest)
    }

    /// Reads an encoded manifest. What is not exactly what [`Manifest::encode`] writes is an error,
    /// so that one bundle has one id.
    pub fn decode(bytes: &[u8]) -> Result<Self, InvalidManifest> {
        codec::decode(bytes)
    }

    /// Returns the bytes whose hash is the bundle's id, at most
    /// [`limits::MANIFEST_BYTES`](crate::limits::MANIFEST_BYTES).
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    pub fn name(&self) -> &BundleName {
        &self.name
    }

    pub fn serial(&self) -> BundleSerial {
        self.serial
    }

    /// From when on nobody is to take the bundle any more.
    pub fn expires(&self) -> Option<Timestamp> {
        self.expires
    }

    /// Permission bits of the directory that the bundle becomes.
    pub fn top_mode(&self) -> u16 {
        self.top_mode
    }

    /// Every entry, in the order of a walk.
    pub fn entries(&self) -> &[BundleEntry] {
        &self.entries
    }

    /// The hash of each chunk of the content, in order.
    pub fn chunks(&self) -> &[ContentHash] {
        &self.chunks
    }

    /// How long a chunk is, in bytes; the last one may be shorter.
    pub fn chunk_bytes(&self) -> u64 {
        chunk_bytes(self.sums.content)
    }

    /// How much data all files have together, without holes, in bytes.
    pub fn content_bytes(&self) -> u64 {
        self.sums.content
    }

    /// How large all files are together, with holes, in bytes.
    pub fn size(&self) -> u64 {
        self.sums.size
    }

    /// How many regular files there are.
    pub fn file_count(&self) -> usize {
        self.sums.files
    }

    /// Every entry with its path, in the order of a walk.
    pub fn walk(&self) -> impl Iterator<Item = (BundlePath, &BundleEntry)> {
        let mut path = BundlePath::default();
        self.entries.iter().map(move |entry| {
            path.turn_to(entry.depth, entry.name.clone());
            (path.clone(), entry)
        })
    }

    /// Every regular file with its path, in the order of the content.
    pub fn files(&self) -> impl Iterator<Item = (BundlePath, &FileEntry)> {
        self.walk().filter_map(|(path, entry)| match &entry.kind {
            EntryKind::File(file) => Some((path, file)),
            EntryKind::Directory { .. } | EntryKind::Link { .. } => None,
        })
    }
}
