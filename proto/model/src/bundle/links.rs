//! Where links lead. Each leads, through directories alone, to an entry of its bundle: whoever follows
//! one from inside never leaves.

use std::collections::BTreeMap;

use super::{BundleEntry, BundlePath, EntryFault, EntryKind, InvalidManifest, rules::wrong_entry};
use crate::limits;

/// An entry by its position in the manifest.
type Position = usize;

/// A directory: the top of the bundle, or an entry.
type Directory = Option<Position>;

/// Judges every link.
pub(super) fn judge(entries: &[BundleEntry]) -> Result<(), InvalidManifest> {
    // Most bundles have no link, and pay for none.
    if !entries.iter().any(|entry| matches!(entry.kind, EntryKind::Link { .. })) {
        return Ok(());
    }
    let tree = Tree::new(entries);
    let mut leads_to = BTreeMap::new();
    for (position, entry) in entries.iter().enumerate() {
        if let EntryKind::Link { target } = &entry.kind {
            let end = tree.follow(tree.parents[position], target);
            let end = end.map_err(|fault| wrong(entries, position, fault))?;
            leads_to.insert(position, end);
        }
    }
    for start in leads_to.keys() {
        let mut at = Some(*start);
        for _ in 0..=limits::BUNDLE_LINKS {
            at = at.and_then(|position| leads_to.get(&position).copied().flatten());
        }
        // Still on a link after so many.
        if at.is_some_and(|position| leads_to.contains_key(&position)) {
            return Err(wrong(entries, *start, EntryFault::Circle));
        }
    }
    Ok(())
}

/// The error for the entry at a position.
fn wrong(entries: &[BundleEntry], position: Position, fault: EntryFault) -> InvalidManifest {
    let mut path = BundlePath::default();
    for entry in entries.iter().take(position + 1) {
        path.turn_to(entry.depth, entry.name.clone());
    }
    wrong_entry(position + 1, &path, fault)
}

/// The entries, found by directory and name.
struct Tree<'a> {
    entries: &'a [BundleEntry],
    parents: Vec<Directory>,
    by_name: BTreeMap<(Directory, &'a [u8]), Position>,
}

impl<'a> Tree<'a> {
    /// Entries that stand in the order of a walk.
    fn new(entries: &'a [BundleEntry]) -> Self {
        let mut above: Vec<Position> = Vec::new();
        let mut parents = Vec::with_capacity(entries.len());
        let mut by_name = BTreeMap::new();
        for (position, entry) in entries.iter().enumerate() {
            above.truncate(usize::from(entry.depth) - 1);
            let parent = above.last().copied();
            parents.push(parent);
            by_name.insert((parent, entry.name.as_bytes()), position);
            above.push(position);
        }
        Self { entries, parents, by_name }
    }

    /// Returns the entry to which a target leads from a directory; `None` for the top of the bundle.
    fn follow(&self, from: Directory, target: &[u8]) -> Result<Option<Position>, EntryFault> {
        if target.starts_with(b"/") {
            return Err(EntryFault::Absolute);
        }
        let mut at = from;
        for name in target.split(|byte| *byte == b'/') {
            // Also before a slash at the end there has to be a directory.
            if !self.is_directory(at) {
                return Err(EntryFault::ThroughOther);
            }
            at = match name {
                // The system goes nowhere for an empty name and for a single dot.
                b"" | b"." => at,
                b".." => {
                    let parent = at.map(|position| self.parents[position]);
                    parent.ok_or(EntryFault::Escapes)?
                }
                name => Some(*self.by_name.get(&(at, name)).ok_or(EntryFault::Dangling)?),
            };
        }
        Ok(at)
    }

    fn is_directory(&self, at: Directory) -> bool {
        at.is_none_or(|position| matches!(self.entries[position].kind, EntryKind::Directory { .. }))
    }
}
