//! A manifest and its bytes are the same thing: neither has two forms, whatever is done to the bytes.

use orchestra_model::bundle::{
    BundleChange, BundleDiff, BundleEntry, ContentHash, DataExtent, EntryKind, FileEntry,
    HOLE_BYTES, Manifest, Xattr,
};
use proptest::prelude::*;

use crate::built::{directory, entry, link, manifest, sparse};

/// What one name of a random tree is.
#[derive(Clone, Debug)]
enum Node {
    File(FileEntry, bool),
    Link,
    Directory(Vec<Node>),
}

fn file() -> impl Strategy<Value = Node> {
    // Blocks that hold data, and how many bytes the last one has.
    let shape = (proptest::collection::vec(any::<bool>(), 0..6), 1..=HOLE_BYTES, 0_u16..0o1000);
    let shape = (shape, any::<[u8; 32]>(), any::<bool>());
    shape.prop_map(|((blocks, last, mode), hash, has_xattr)| {
        let full = (blocks.len() as u64).saturating_sub(1) * HOLE_BYTES;
        let size = if blocks.is_empty() { 0 } else { full + last };
        let mut data: Vec<DataExtent> = Vec::new();
        for (n, _) in blocks.iter().enumerate().filter(|(_, holds)| **holds) {
            let offset = n as u64 * HOLE_BYTES;
            let len = HOLE_BYTES.min(size - offset);
            match data.last_mut().filter(|extent| extent.end() == Some(offset)) {
                Some(extent) => extent.len += len,
                None => data.push(DataExtent { offset, len }),
            }
        }
        Node::File(FileEntry { mode, data, hash: ContentHash(hash), ..sparse(size) }, has_xattr)
    })
}

fn tree() -> impl Strategy<Value = Vec<Node>> {
    let leaf = prop_oneof![4 => file(), 1 => Just(Node::Link)];
    let node = leaf.prop_recursive(4, 40, 6, |inner| {
        proptest::collection::vec(inner, 0..6).prop_map(Node::Directory)
    });
    proptest::collection::vec(node, 0..6)
}

/// Puts nodes into entries, in the order of a walk. Each link leads to its own directory.
fn add(nodes: &[Node], depth: u16, entries: &mut Vec<BundleEntry>) {
    for (n, node) in nodes.iter().enumerate() {
        let name = format!("n{n}");
        match node {
            Node::File(file, has_xattr) => {
                let mut entry = entry(depth, &name, EntryKind::File(file.clone()));
                if *has_xattr {
                    entry.xattrs.push(Xattr { name: (*b"user.x").into(), value: [1].into() });
                }
                entries.push(entry);
            }
            Node::Link => entries.push(link(depth, &name, ".")),
            Node::Directory(inner) => {
                entries.push(directory(depth, &name));
                add(inner, depth + 1, entries);
            }
        }
    }
}

fn manifests() -> impl Strategy<Value = Manifest> {
    tree().prop_map(|nodes| {
        let mut entries = Vec::new();
        add(&nodes, 1, &mut entries);
        manifest(entries).unwrap()
    })
}

proptest! {
    #[test]
    fn a_manifest_is_read_as_it_is_written(manifest in manifests()) {
        prop_assert_eq!(Manifest::decode(&manifest.encode()).unwrap(), manifest);
    }

    /// Bytes that are taken are those that the manifest has, so one bundle has one id.
    #[test]
    fn damaged_bytes_are_refused_or_another_manifest_as_a_whole(
        manifest in manifests(),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = manifest.encode();
        for (at, to) in damage {
            let at = at.index(bytes.len());
            bytes[at] = to;
        }
        if let Ok(read) = Manifest::decode(&bytes) {
            prop_assert_eq!(read.encode(), bytes);
        }
    }

    #[test]
    fn a_part_of_a_manifest_is_none(manifest in manifests(), len in any::<prop::sample::Index>()) {
        let bytes = manifest.encode();
        prop_assert!(Manifest::decode(&bytes[..len.index(bytes.len())]).is_err());
    }

    #[test]
    fn what_comes_from_anywhere_is_judged_and_no_more(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let _ = Manifest::decode(&bytes);
        let _ = Manifest::decode(&[b"ORCBNDL\x01", &*bytes].concat());
    }

    /// Against sets of paths, which know no order.
    #[test]
    fn a_difference_names_every_path_once(old in manifests(), new in manifests()) {
        let diff = BundleDiff::between(&old, &new);
        let find = |manifest: &Manifest, path: &orchestra_model::bundle::BundlePath| {
            manifest.walk().find(|(other, _)| other == path).map(|(_, entry)| entry.clone())
        };
        for change in &diff.changes {
            let (before, after) = (find(&old, &change.path), find(&new, &change.path));
            match change.change {
                BundleChange::Added => prop_assert!(before.is_none() && after.is_some()),
                BundleChange::Removed => prop_assert!(before.is_some() && after.is_none()),
                _ => prop_assert!(before.is_some() && after.is_some() && before != after),
            }
        }
        let named = |wanted| diff.changes.iter().filter(|it| it.change == wanted).count();
        let kept = old.entries().len() - named(BundleChange::Removed);
        prop_assert_eq!(kept, new.entries().len() - named(BundleChange::Added));
        prop_assert_eq!(diff.alike + diff.changes.len(), kept + named(BundleChange::Added)
            + named(BundleChange::Removed));
        prop_assert_eq!(BundleDiff::between(&new, &new).changes.len(), 0);
    }
}
