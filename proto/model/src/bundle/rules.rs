//! What entries have to be like, so that nothing that is made of them lies or leads elsewhere.

use super::{
    BundleEntry, BundlePath, DataExtent, EntryFault, EntryKind, EntryName, FileEntry, HOLE_BYTES,
    InvalidManifest, Xattr, chunk_bytes, links,
};
use crate::{limits, size::ByteSize};

/// The bits of a mode that a bundle may have.
const MODE_BITS: u16 = 0o777;

/// What every extended attribute's name begins with.
const XATTR_PREFIX: &[u8] = b"user.";

/// Longest name of an extended attribute, in bytes (`XATTR_NAME_MAX` of Linux).
const XATTR_NAME_BYTES: usize = 255;

/// What the files of a bundle are together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sums {
    pub(super) files: usize,
    /// With holes, in bytes.
    pub(super) size: u64,
    /// Without holes, in bytes.
    pub(super) content: u64,
}

/// Judges all entries, and how many chunks belong to them.
pub(super) fn judge(
    top_mode: u16,
    entries: &[BundleEntry],
    chunks: usize,
) -> Result<Sums, InvalidManifest> {
    if top_mode & !MODE_BITS != 0 {
        return Err(InvalidManifest::TopMode(top_mode));
    }
    if entries.len() > limits::BUNDLE_ENTRIES {
        return Err(InvalidManifest::TooManyEntries);
    }
    let mut walk = Walk::default();
    let mut sums = Sums::default();
    for (number, entry) in (1..).zip(entries) {
        let judged = walk.step(entry).and_then(|()| judge_entry(entry));
        judged.map_err(|fault| wrong_entry(number, &walk.path, fault))?;
        if let EntryKind::File(file) = &entry.kind {
            add(&mut sums, file)?;
        }
    }
    let wanted = sums.content.div_ceil(chunk_bytes(sums.content));
    if chunks as u64 != wanted {
        let content = ByteSize(sums.content);
        return Err(InvalidManifest::Chunks { found: chunks, wanted, content });
    }
    links::judge(entries)?;
    Ok(sums)
}

pub(super) fn wrong_entry(number: usize, path: &BundlePath, fault: EntryFault) -> InvalidManifest {
    InvalidManifest::Entry { number, path: path.clone(), fault }
}

/// Adds a file whose own size and data are within their bounds, so that no sum overflows.
fn add(sums: &mut Sums, file: &FileEntry) -> Result<(), InvalidManifest> {
    sums.files += 1;
    sums.size += file.size;
    sums.content += file.content_bytes();
    if sums.size > limits::BUNDLE_SIZE_BYTES {
        return Err(InvalidManifest::Size);
    }
    if sums.content > limits::BUNDLE_CONTENT_BYTES {
        return Err(InvalidManifest::Content);
    }
    Ok(())
}

/// Where the walk over all entries is.
#[derive(Default)]
struct Walk {
    path: BundlePath,
    /// How deep the next entry may be: below the last one, if that is a directory.
    deepest: u16,
}

impl Walk {
    /// Goes on to an entry. The path is that entry's, also where it must not stand there.
    fn step(&mut self, entry: &BundleEntry) -> Result<(), EntryFault> {
        let BundleEntry { depth, ref name, ref kind, .. } = *entry;
        let deepest = std::mem::replace(&mut self.deepest, depth) + 1;
        let is_placed = (1..=deepest).contains(&depth);
        let before = self.path.names().get(usize::from(depth).saturating_sub(1));
        let in_order = before.is_none_or(|before: &EntryName| before < name);
        self.path.turn_to(depth, name.clone());
        if depth > limits::BUNDLE_DEPTH {
            return Err(EntryFault::Depth);
        }
        if !is_placed {
            return Err(EntryFault::NoDirectory);
        }
        if !in_order {
            return Err(EntryFault::Order);
        }
        if self.path.len_in_bytes() > limits::BUNDLE_PATH_BYTES {
            return Err(EntryFault::PathLength);
        }
        if !matches!(kind, EntryKind::Directory { .. }) {
            self.deepest = depth - 1;
        }
        Ok(())
    }
}

fn judge_entry(entry: &BundleEntry) -> Result<(), EntryFault> {
    judge_xattrs(&entry.xattrs)?;
    match &entry.kind {
        EntryKind::Directory { mode } => judge_mode(*mode),
        EntryKind::File(file) => judge_file(file),
        EntryKind::Link { target } => judge_target(target),
    }
}

fn judge_mode(mode: u16) -> Result<(), EntryFault> {
    if mode & !MODE_BITS == 0 { Ok(()) } else { Err(EntryFault::Mode(mode)) }
}

fn judge_target(target: &[u8]) -> Result<(), EntryFault> {
    let is_target = (1..=limits::BUNDLE_TARGET_BYTES).contains(&target.len());
    if is_target && !target.contains(&0) { Ok(()) } else { Err(EntryFault::Target) }
}

fn judge_file(file: &FileEntry) -> Result<(), EntryFault> {
    judge_mode(file.mode)?;
    if file.mtime.nanos >= 1_000_000_000 {
        return Err(EntryFault::Time(file.mtime.nanos));
    }
    if file.size > limits::BUNDLE_FILE_BYTES {
        return Err(EntryFault::Size);
    }
    let mut free_from = 0;
    for (n, extent) in file.data.iter().enumerate() {
        let end = judge_extent(*extent, file.size)?;
        // Two that touch are one.
        if extent.offset < free_from || (n > 0 && extent.offset == free_from) {
            return Err(EntryFault::ExtentOrder);
        }
        free_from = end;
    }
    Ok(())
}

/// Returns where an extent ends.
fn judge_extent(extent: DataExtent, size: u64) -> Result<u64, EntryFault> {
    let end = extent.end().filter(|end| *end <= size).ok_or(EntryFault::BeyondEnd)?;
    let ends_well = end == size || end.is_multiple_of(HOLE_BYTES);
    if extent.len == 0 || !extent.offset.is_multiple_of(HOLE_BYTES) || !ends_well {
        return Err(EntryFault::ExtentAlignment);
    }
    Ok(end)
}

fn judge_xattrs(xattrs: &[Xattr]) -> Result<(), EntryFault> {
    let mut bytes = 0_usize;
    for (n, xattr) in xattrs.iter().enumerate() {
        let own = xattr.name.strip_prefix(XATTR_PREFIX).unwrap_or_default();
        if own.is_empty() || own.contains(&0) || xattr.name.len() > XATTR_NAME_BYTES {
            return Err(EntryFault::XattrName);
        }
        if n > 0 && xattrs[n - 1].name >= xattr.name {
            return Err(EntryFault::XattrOrder);
        }
        bytes = bytes.saturating_add(xattr.name.len()).saturating_add(xattr.value.len());
    }
    if bytes > limits::BUNDLE_XATTR_BYTES { Err(EntryFault::XattrSize) } else { Ok(()) }
}
