//! What is different between two bundles.

use std::{cmp::Ordering, collections::BTreeSet};

use super::{BundleEntry, BundlePath, ContentHash, EntryKind, Manifest};

/// What is different between two bundles, entry by entry.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct BundleDiff {
    /// In the order of a walk over both.
    pub changes: Vec<EntryChange>,
    /// How many entries are alike.
    pub alike: usize,
    /// How many bytes of the later one's content belong to files that the earlier one has nowhere:
    /// what a host that has the earlier one must fetch at most, but for the rest of chunks.
    pub new_bytes: u64,
}

/// An entry that is different.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryChange {
    pub path: BundlePath,
    pub change: BundleChange,
}

/// What has become of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BundleChange {
    Added,
    Removed,
    /// It is of another kind now: a file where a directory was.
    Kind,
    /// A file's data or size, or a link's target.
    Content,
    /// Its mode, its time or its extended attributes alone.
    Attributes,
}

impl BundleChange {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Kind => "kind",
            Self::Content => "content",
            Self::Attributes => "attributes",
        }
    }
}

impl BundleDiff {
    /// Compares two manifests, each of which is sorted.
    pub fn between(earlier: &Manifest, later: &Manifest) -> Self {
        let (mut old, mut new) = (earlier.walk().peekable(), later.walk().peekable());
        let mut diff = Self { new_bytes: new_bytes(earlier, later), ..Self::default() };
        loop {
            let order = match (old.peek(), new.peek()) {
                (None, None) => return diff,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some((old_path, _)), Some((new_path, _))) => old_path.cmp(new_path),
            };
            let (before, after) = (
                if order.is_le() { old.next() } else { None },
                if order.is_ge() { new.next() } else { None },
            );
            match (before, after) {
                (Some((path, _)), None) => diff.note(path, BundleChange::Removed),
                (None, Some((path, _))) => diff.note(path, BundleChange::Added),
                (Some((path, before)), Some((_, after))) => match change(before, after) {
                    Some(change) => diff.note(path, change),
                    None => diff.alike += 1,
                },
                (None, None) => unreachable!("one of the two is not at its end"),
            }
        }
    }

    fn note(&mut self, path: BundlePath, change: BundleChange) {
        self.changes.push(EntryChange { path, change });
    }
}

/// What is different between two entries of the same path, if anything is.
fn change(before: &BundleEntry, after: &BundleEntry) -> Option<BundleChange> {
    if std::mem::discriminant(&before.kind) != std::mem::discriminant(&after.kind) {
        return Some(BundleChange::Kind);
    }
    let same_content = match (&before.kind, &after.kind) {
        (EntryKind::File(old), EntryKind::File(new)) => {
            (old.hash, old.size, &old.data) == (new.hash, new.size, &new.data)
        }
        (EntryKind::Link { target: old }, EntryKind::Link { target: new }) => old == new,
        _ => true,
    };
    if !same_content {
        return Some(BundleChange::Content);
    }
    (before != after).then_some(BundleChange::Attributes)
}

fn new_bytes(earlier: &Manifest, later: &Manifest) -> u64 {
    let mut known: BTreeSet<ContentHash> = earlier.files().map(|(_, file)| file.hash).collect();
    let fresh = later.files().filter(|(_, file)| known.insert(file.hash));
    fresh.map(|(_, file)| file.content_bytes()).sum()
}
