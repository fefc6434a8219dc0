//! Each way in which a manifest can be wrong is refused, and told with the entry that is wrong.

use orchestra_model::{
    BundleName,
    bundle::{
        BundleEntry, BundleSerial, ContentHash, DataExtent, EntryFault, EntryKind, EntryName,
        FileEntry, FileTime, HOLE_BYTES, InvalidManifest, Manifest, Xattr,
    },
    limits,
};

use crate::built::{directory, entry, file, link, manifest, sparse};

/// The fault of the entry that is wrong, and which one that is.
#[track_caller]
fn fault(entries: Vec<BundleEntry>) -> (usize, EntryFault) {
    match manifest(entries) {
        Err(InvalidManifest::Entry { number, fault, .. }) => (number, fault),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn fault_of_file(file: FileEntry) -> EntryFault {
    fault(vec![entry(1, "f", EntryKind::File(file))]).1
}

#[test]
fn a_tree_as_it_should_be_is_taken() {
    let taken = manifest(vec![
        directory(1, "a"),
        directory(2, "b"),
        file(3, "f", 10),
        file(2, "c", 0),
        link(1, "b", "a/b/../c"),
        link(1, "top", "."),
    ]);
    let paths: Vec<String> = taken.unwrap().walk().map(|(path, _)| path.to_string()).collect();
    assert_eq!(paths, ["a", "a/b", "a/b/f", "a/c", "b", "top"]);
}

#[test]
fn an_entry_stands_in_a_directory_and_once() {
    use EntryFault::{Depth, NoDirectory, Order, PathLength};
    assert_eq!(fault(vec![file(2, "f", 1)]), (1, NoDirectory));
    assert_eq!(fault(vec![file(0, "f", 1)]), (1, NoDirectory));
    assert_eq!(fault(vec![file(1, "f", 1), file(2, "g", 1)]), (2, NoDirectory));
    assert_eq!(fault(vec![link(1, "f", "."), file(2, "g", 1)]), (2, NoDirectory));
    assert_eq!(fault(vec![directory(1, "d"), file(3, "g", 1)]), (2, NoDirectory));
    assert_eq!(fault(vec![file(1, "f", 1), file(1, "f", 1)]), (2, Order));
    // A name that is a file and a directory.
    assert_eq!(fault(vec![file(1, "f", 1), directory(1, "f")]), (2, Order));
    assert_eq!(fault(vec![file(1, "g", 1), file(1, "f", 1)]), (2, Order));
    let nested = directory(1, "d");
    let again = vec![nested.clone(), file(2, "x", 1), file(2, "a", 1)];
    assert_eq!(fault(again), (3, Order));
    let deep = (1..=limits::BUNDLE_DEPTH + 1).map(|depth| directory(depth, "d")).collect();
    assert_eq!(fault(deep), (usize::from(limits::BUNDLE_DEPTH) + 1, Depth));
    let name = "n".repeat(255);
    let long = (1..=13).map(|depth| directory(depth, &name)).collect();
    assert_eq!(fault(long), (13, PathLength));
    assert_eq!(fault(vec![file(u16::MAX, "f", 1)]), (1, Depth));
}

#[test]
fn no_mode_carries_rights() {
    for mode in [0o4755, 0o2755, 0o1777, 0o100_644] {
        assert_eq!(fault_of_file(FileEntry { mode, ..sparse(0) }), EntryFault::Mode(mode));
        let wrong = entry(1, "d", EntryKind::Directory { mode });
        assert_eq!(fault(vec![wrong]), (1, EntryFault::Mode(mode)));
    }
    let top = |mode| {
        let name = BundleName::new("x").unwrap();
        Manifest::new(name, BundleSerial::FIRST, None, mode, Vec::new(), Vec::new())
    };
    assert_eq!(top(0o1777), Err(InvalidManifest::TopMode(0o1777)));
    assert!(top(0o777).is_ok());
}

#[test]
fn data_lies_in_its_file_and_sums_hold() {
    use EntryFault::{BeyondEnd, ExtentAlignment, ExtentOrder, Size, Time};
    let of = |size, data: &[(u64, u64)]| {
        let data = data.iter().map(|(offset, len)| DataExtent { offset: *offset, len: *len });
        FileEntry { data: data.collect(), ..sparse(size) }
    };
    let hole = HOLE_BYTES;
    assert_eq!(fault_of_file(of(10, &[(0, 11)])), BeyondEnd);
    assert_eq!(fault_of_file(of(10, &[(u64::MAX, 11)])), BeyondEnd);
    assert_eq!(fault_of_file(of(10, &[(0, 0)])), ExtentAlignment);
    assert_eq!(fault_of_file(of(10, &[(1, 9)])), ExtentAlignment);
    assert_eq!(fault_of_file(of(3 * hole, &[(0, 10)])), ExtentAlignment);
    assert_eq!(fault_of_file(of(3 * hole, &[(0, hole), (hole, hole)])), ExtentOrder);
    assert_eq!(fault_of_file(of(3 * hole, &[(hole, hole), (0, hole)])), ExtentOrder);
    assert_eq!(fault_of_file(of(3 * hole, &[(0, hole), (0, hole)])), ExtentOrder);
    assert_eq!(fault_of_file(sparse(limits::BUNDLE_FILE_BYTES + 1)), Size);
    assert_eq!(fault_of_file(sparse(u64::MAX)), Size);
    let mtime = FileTime { seconds: i64::MIN, nanos: 1_000_000_000 };
    assert_eq!(fault_of_file(FileEntry { mtime, ..sparse(0) }), Time(1_000_000_000));
    // One hole of 1 TiB with 1 MiB of data in it needs four chunks.
    let sparse_file = of(1 << 40, &[(1 << 39, 1 << 20)]);
    let taken = manifest(vec![entry(1, "f", EntryKind::File(sparse_file))]).unwrap();
    assert_eq!((taken.size(), taken.content_bytes(), taken.chunks().len()), (1 << 40, 1 << 20, 4));
    let many: Vec<_> = (0..65)
        .map(|n| entry(1, &format!("f{n:02}"), EntryKind::File(sparse(limits::BUNDLE_FILE_BYTES))))
        .collect();
    assert_eq!(manifest(many), Err(InvalidManifest::Size));
    let much = |n| file(1, n, limits::BUNDLE_CONTENT_BYTES / 2 + 1);
    assert_eq!(manifest(vec![much("a"), much("b")]), Err(InvalidManifest::Content));
}

#[test]
fn a_table_of_chunks_is_as_long_as_the_content() {
    let of = |chunks| {
        let (name, serial) = (BundleName::new("x").unwrap(), BundleSerial::FIRST);
        let chunks = vec![ContentHash([0; 32]); chunks];
        Manifest::new(name, serial, None, 0o755, vec![file(1, "f", (256 << 10) + 1)], chunks)
    };
    assert!(of(2).is_ok());
    for found in [0, 1, 3] {
        let refused = of(found).unwrap_err().to_string();
        assert!(refused.contains(&format!("{found} chunks")), "{refused}");
    }
}

#[test]
fn links_stay_inside() {
    use EntryFault::{Absolute, Circle, Dangling, Escapes, Target, ThroughOther};
    let with = |target: &str| vec![directory(1, "d"), file(2, "f", 1), link(2, "l", target)];
    for (target, why) in [
        ("/etc/passwd", Absolute),
        ("../../x", Escapes),
        ("../..", Escapes),
        ("../d/../../d/f", Escapes),
        ("nothing", Dangling),
        ("../d/nothing/..", Dangling),
        ("f/..", ThroughOther),
        ("f/x", ThroughOther),
        ("f/", ThroughOther),
        ("f/.", ThroughOther),
        ("l/x", ThroughOther),
        ("l", Circle),
        ("../d/l", Circle),
        ("", Target),
        ("f\0", Target),
    ] {
        assert_eq!(fault(with(target)), (3, why), "{target:?}");
    }
    let long = "./".repeat(2_100);
    assert_eq!(fault(with(&long)), (3, Target));
    for target in ["f", "./f", "../d//f", "..", "../d/", "."] {
        assert!(manifest(with(target)).is_ok(), "{target:?}");
    }
    assert_eq!(fault(vec![link(1, "a", "b"), link(1, "b", "a")]), (1, Circle));
    // A path through a link, which may be another one by then.
    let through = vec![directory(1, "d"), file(2, "f", 1), link(1, "e", "d"), link(1, "l", "e/f")];
    assert_eq!(fault(through), (4, ThroughOther));
    let chain = |links: usize| {
        let mut entries: Vec<_> =
            (0..links).map(|n| link(1, &format!("l{n:02}"), &format!("l{:02}", n + 1))).collect();
        entries.push(file(1, &format!("l{links:02}"), 0));
        manifest(entries)
    };
    assert!(chain(limits::BUNDLE_LINKS).is_ok());
    assert!(chain(limits::BUNDLE_LINKS + 2).is_err());
}

#[test]
fn extended_attributes_carry_no_rights() {
    use EntryFault::{XattrName, XattrOrder, XattrSize};
    let with = |xattrs: &[(&str, usize)]| {
        let xattrs = xattrs
            .iter()
            .map(|(name, len)| Xattr { name: name.as_bytes().into(), value: vec![0; *len].into() });
        vec![BundleEntry { xattrs: xattrs.collect(), ..file(1, "f", 1) }]
    };
    assert!(manifest(with(&[("user.a", 0), ("user.b", 9)])).is_ok());
    let long = format!("user.{}", "x".repeat(251));
    for name in ["security.capability", "trusted.x", "user.", "user", "user.\0", &long] {
        assert_eq!(fault(with(&[(name, 1)])), (1, XattrName), "{name:?}");
    }
    assert_eq!(fault(with(&[("user.b", 1), ("user.a", 1)])), (1, XattrOrder));
    assert_eq!(fault(with(&[("user.b", 1), ("user.b", 1)])), (1, XattrOrder));
    assert_eq!(fault(with(&[("user.b", limits::BUNDLE_XATTR_BYTES)])), (1, XattrSize));
}

/// What no value of these types can hold, in bytes.
#[test]
fn bytes_that_are_no_manifest_are_told_so() {
    let good = manifest(vec![directory(1, "dir"), file(2, "f", 10), link(2, "l", "f")]).unwrap();
    let good = good.encode();
    let changed = |at: usize, to: &[u8]| {
        let mut bytes = good.clone();
        bytes[at..at + to.len()].copy_from_slice(to);
        Manifest::decode(&bytes).map(|_| ()).unwrap_err()
    };
    assert_eq!(Manifest::decode(b""), Err(InvalidManifest::NotAManifest));
    assert_eq!(Manifest::decode(b"ORCBNDL"), Err(InvalidManifest::NotAManifest));
    assert_eq!(changed(0, b"X"), InvalidManifest::NotAManifest);
    assert_eq!(changed(7, &[2]), InvalidManifest::Format(2));
    assert_eq!(changed(12, b"M"), InvalidManifest::Malformed("name"));
    let name = good.windows(3).position(|bytes| bytes == b"dir").unwrap();
    for (to, why) in [(&b"a/b"[..], EntryName::new(b"a/b")), (b"a\0b", EntryName::new(b"a\0b"))] {
        let fault = EntryFault::Name(why.unwrap_err());
        match changed(name, to) {
            InvalidManifest::Entry { number: 1, fault: found, .. } => assert_eq!(found, fault),
            other => panic!("{other:?}"),
        }
    }
    // A length far beyond the end, and a count that nothing follows.
    assert_eq!(changed(name - 4, &[0xff; 4]), InvalidManifest::Malformed("table of entries"));
    let mut longer = good.clone();
    longer.push(0);
    assert_eq!(Manifest::decode(&longer), Err(InvalidManifest::Surplus));
    let large = vec![0; limits::MANIFEST_BYTES + 1];
    assert_eq!(Manifest::decode(&large), Err(InvalidManifest::TooLarge));
}
