//! A manifest in bytes. Numbers are little-endian, texts stand behind their length, and nothing can
//! be written in two ways.
//!
//! ```text
//! "ORCBNDL"  format (1 byte)  name  serial (8)  expiry in ms, or 0 (8)  mode of the top (2)
//! entries (4), each:
//!     kind (1: directory 1, file 2, link 3)  depth (2)  name
//!     extended attributes (4), each: name, value
//!     directory: mode (2)
//!     file:      mode (2)  seconds (8)  nanoseconds (4)  size (8)
//!                extents (4), each: offset (8), length (8)   hash (32)
//!     link:      target
//! chunks (4), each: hash (32)
//! ```

use super::{
    BundleEntry, BundleSerial, ContentHash, DataExtent, EntryFault, EntryKind, EntryName,
    FileEntry, FileTime, InvalidManifest, Manifest, Xattr,
    rules::{self},
};
use crate::{
    bundle::BundlePath,
    journal::{ByteReader, push_bytes},
    limits,
    names::BundleName,
    time::Timestamp,
};

const MAGIC: [u8; 7] = *b"ORCBNDL";
const FORMAT: u8 = 1;

const DIRECTORY: u8 = 1;
const FILE: u8 = 2;
const LINK: u8 = 3;

const HEAD: usize = MAGIC.len() + 1 + 4 + 8 + 8 + 2 + 4;
const ENTRY: usize = 1 + 2 + 4 + 4;
const OF_FILE: usize = 2 + 8 + 4 + 8 + 4 + 32;
const EXTENT: usize = 16;
const HASH: usize = 32;

/// How many bytes [`encode`] makes.
pub(super) fn encoded_len(manifest: &Manifest) -> usize {
    let entries: usize = manifest.entries.iter().map(entry_len).sum();
    HEAD + manifest.name.as_str().len() + entries + 4 + HASH * manifest.chunks.len()
}

fn entry_len(entry: &BundleEntry) -> usize {
    let xattrs = entry.xattrs.iter().map(|xattr| 8 + xattr.name.len() + xattr.value.len());
    let own = match &entry.kind {
        EntryKind::Directory { .. } => 2,
        EntryKind::File(file) => OF_FILE + EXTENT * file.data.len(),
        EntryKind::Link { target } => 4 + target.len(),
    };
    ENTRY + entry.name.as_bytes().len() + xattrs.sum::<usize>() + own
}

pub(super) fn encode(manifest: &Manifest) -> Vec<u8> {
    let len = encoded_len(manifest);
    let mut out = Vec::with_capacity(len);
    out.extend(MAGIC);
    out.push(FORMAT);
    push_bytes(&mut out, manifest.name.as_str().as_bytes());
    out.extend(manifest.serial.get().to_le_bytes());
    out.extend(manifest.expires.map_or(0, |at| at.0).to_le_bytes());
    out.extend(manifest.top_mode.to_le_bytes());
    push_count(&mut out, manifest.entries.len());
    manifest.entries.iter().for_each(|entry| push_entry(&mut out, entry));
    push_count(&mut out, manifest.chunks.len());
    manifest.chunks.iter().for_each(|hash| out.extend(hash.0));
    debug_assert_eq!(out.len(), len);
    out
}

/// Counts are bounded far below what four bytes can say.
fn push_count(out: &mut Vec<u8>, count: usize) {
    out.extend((count as u32).to_le_bytes());
}

fn push_entry(out: &mut Vec<u8>, entry: &BundleEntry) {
    out.push(match &entry.kind {
        EntryKind::Directory { .. } => DIRECTORY,
        EntryKind::File(_) => FILE,
        EntryKind::Link { .. } => LINK,
    });
    out.extend(entry.depth.to_le_bytes());
    push_bytes(out, entry.name.as_bytes());
    push_count(out, entry.xattrs.len());
    for xattr in &entry.xattrs {
        push_bytes(out, &xattr.name);
        push_bytes(out, &xattr.value);
    }
    match &entry.kind {
        EntryKind::Directory { mode } => out.extend(mode.to_le_bytes()),
        EntryKind::File(file) => push_file(out, file),
        EntryKind::Link { target } => push_bytes(out, target),
    }
}

fn push_file(out: &mut Vec<u8>, file: &FileEntry) {
    out.extend(file.mode.to_le_bytes());
    out.extend(file.mtime.seconds.to_le_bytes());
    out.extend(file.mtime.nanos.to_le_bytes());
    out.extend(file.size.to_le_bytes());
    push_count(out, file.data.len());
    for extent in &file.data {
        out.extend(extent.offset.to_le_bytes());
        out.extend(extent.len.to_le_bytes());
    }
    out.extend(file.hash.0);
}

pub(super) fn decode(bytes: &[u8]) -> Result<Manifest, InvalidManifest> {
    if bytes.len() > limits::MANIFEST_BYTES {
        return Err(InvalidManifest::TooLarge);
    }
    let mut reader = ByteReader::new(bytes);
    if reader.array() != Some(MAGIC) {
        return Err(InvalidManifest::NotAManifest);
    }
    let format = reader.u8().ok_or(InvalidManifest::NotAManifest)?;
    if format != FORMAT {
        return Err(InvalidManifest::Format(format));
    }
    let name = reader.text(limits::NAME_BYTES).and_then(|text| BundleName::new(text).ok());
    let name = name.ok_or(InvalidManifest::Malformed("name"))?;
    let serial = reader.u64().and_then(|number| BundleSerial::new(number).ok());
    let serial = serial.ok_or(InvalidManifest::Malformed("serial"))?;
    let expires = reader.u64().ok_or(InvalidManifest::Malformed("expiry"))?;
    let top_mode = reader.u16().ok_or(InvalidManifest::Malformed("mode"))?;
    let entries = read_entries(&mut reader)?;
    let chunks = read_chunks(&mut reader).ok_or(InvalidManifest::Malformed("table of chunks"))?;
    if !reader.is_empty() {
        return Err(InvalidManifest::Surplus);
    }
    let expires = (expires != 0).then_some(Timestamp(expires));
    Manifest::new(name, serial, expires, top_mode, entries, chunks)
}

/// A count claims nothing before what it counts is there: lists grow as they are read.
fn read_entries(reader: &mut ByteReader<'_>) -> Result<Vec<BundleEntry>, InvalidManifest> {
    let count = reader.u32().ok_or(InvalidManifest::Malformed("number of entries"))? as usize;
    if count > limits::BUNDLE_ENTRIES {
        return Err(InvalidManifest::TooManyEntries);
    }
    let mut entries = Vec::new();
    for number in 1..=count {
        let entry = read_entry(reader).ok_or(InvalidManifest::Malformed("table of entries"))?;
        let entry =
            entry.map_err(|fault| rules::wrong_entry(number, &BundlePath::default(), fault))?;
        entries.push(entry);
    }
    Ok(entries)
}

fn read_entry(reader: &mut ByteReader<'_>) -> Option<Result<BundleEntry, EntryFault>> {
    let kind = reader.u8()?;
    let depth = reader.u16()?;
    let name = EntryName::new(reader.counted(limits::BUNDLE_PATH_BYTES)?);
    let mut xattrs = Vec::new();
    for _ in 0..reader.u32()? {
        let xattr_name = reader.counted(limits::BUNDLE_XATTR_BYTES)?.into();
        let value = reader.counted(limits::BUNDLE_XATTR_BYTES)?.into();
        xattrs.push(Xattr { name: xattr_name, value });
    }
    let kind = match kind {
        DIRECTORY => EntryKind::Directory { mode: reader.u16()? },
        FILE => EntryKind::File(read_file(reader)?),
        LINK => EntryKind::Link { target: reader.counted(limits::BUNDLE_TARGET_BYTES)?.into() },
        _ => return None,
    };
    Some(name.map(|name| BundleEntry { depth, name, kind, xattrs }).map_err(EntryFault::Name))
}

fn read_file(reader: &mut ByteReader<'_>) -> Option<FileEntry> {
    let mode = reader.u16()?;
    let mtime = FileTime { seconds: reader.array().map(i64::from_le_bytes)?, nanos: reader.u32()? };
    let size = reader.u64()?;
    let mut data = Vec::new();
    for _ in 0..reader.u32()? {
        data.push(DataExtent { offset: reader.u64()?, len: reader.u64()? });
    }
    Some(FileEntry { mode, mtime, size, data, hash: ContentHash(reader.array()?) })
}

fn read_chunks(reader: &mut ByteReader<'_>) -> Option<Vec<ContentHash>> {
    let mut chunks = Vec::new();
    for _ in 0..reader.u32()? {
        chunks.push(ContentHash(reader.array()?));
    }
    Some(chunks)
}
