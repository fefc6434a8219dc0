//! Entries and manifests, made shortly.

use orchestra_model::{
    BundleName, Timestamp,
    bundle::{
        BundleEntry, BundleSerial, ContentHash, DataExtent, EntryKind, EntryName, FileEntry,
        FileTime, InvalidManifest, Manifest, chunk_bytes,
    },
};

/// An entry at a depth.
pub(crate) fn entry(depth: u16, name: &str, kind: EntryKind) -> BundleEntry {
    let name = EntryName::new(name.as_bytes()).unwrap();
    BundleEntry { depth, name, kind, xattrs: Vec::new() }
}

pub(crate) fn directory(depth: u16, name: &str) -> BundleEntry {
    entry(depth, name, EntryKind::Directory { mode: 0o755 })
}

/// A file without holes.
pub(crate) fn file(depth: u16, name: &str, size: u64) -> BundleEntry {
    let data = if size == 0 { Vec::new() } else { vec![DataExtent { offset: 0, len: size }] };
    entry(depth, name, EntryKind::File(FileEntry { data, ..sparse(size) }))
}

/// A file that is one hole.
pub(crate) fn sparse(size: u64) -> FileEntry {
    let mtime = FileTime { seconds: 1_700_000_000, nanos: 5 };
    FileEntry { mode: 0o644, mtime, size, data: Vec::new(), hash: ContentHash([7; 32]) }
}

pub(crate) fn link(depth: u16, name: &str, target: &str) -> BundleEntry {
    entry(depth, name, EntryKind::Link { target: target.as_bytes().into() })
}

/// The manifest of these entries, with as many chunks as they need.
pub(crate) fn manifest(entries: Vec<BundleEntry>) -> Result<Manifest, InvalidManifest> {
    let of = |entry: &BundleEntry| match &entry.kind {
        EntryKind::File(file) => file.data.iter().map(|extent| extent.len).sum(),
        _ => 0_u64,
    };
    let content: u64 = entries.iter().map(of).sum();
    let chunks = vec![ContentHash([9; 32]); content.div_ceil(chunk_bytes(content)) as usize];
    let (name, serial) = (BundleName::new("myapp").unwrap(), BundleSerial::FIRST);
    Manifest::new(name, serial, Some(Timestamp(1_800_000_000_000)), 0o755, entries, chunks)
}
