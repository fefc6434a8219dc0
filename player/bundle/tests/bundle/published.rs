//! What becomes of a directory that is published.

use std::{
    fs::{self, File, Permissions},
    os::unix::fs::{FileExt as _, PermissionsExt as _, symlink},
    time::{Duration, SystemTime},
};

use orchestra_bundle::{Publication, verify};
use orchestra_model::{
    Timestamp,
    bundle::{BundleId, BundleSerial, EntryKind, HOLE_BYTES},
};
use proptest::prelude::*;

use crate::world::{World, names_in, publication};

#[test]
fn a_directory_is_a_bundle_with_all_that_is_in_it() {
    let world = World::new();
    world.write("bin/run", "#!/bin/sh\n");
    fs::set_permissions(world.source().join("bin/run"), Permissions::from_mode(0o750)).unwrap();
    world.write("empty", "");
    world.write("data/large", vec![7; (1 << 20) + 3]);
    fs::create_dir(world.source().join("none")).unwrap();
    fs::set_permissions(world.source().join("none"), Permissions::from_mode(0o1777)).unwrap();
    symlink("../bin/run", world.source().join("data/run")).unwrap();
    let published = world.publish().unwrap();
    let manifest = published.bundle.manifest().unwrap();
    let entries: Vec<String> = manifest
        .walk()
        .map(|(path, entry)| match &entry.kind {
            EntryKind::Directory { mode } => format!("{path}/ {mode:o}"),
            EntryKind::File(file) => format!("{path} {:o} {}", file.mode, file.size),
            EntryKind::Link { target } => format!("{path} -> {}", target.escape_ascii()),
        })
        .collect();
    let wanted = [
        "bin/ 755",
        "bin/run 750 10",
        "data/ 755",
        "data/large 644 1048579",
        "data/run -> ../bin/run",
        "empty 644 0",
        "none/ 777",
    ];
    assert_eq!(entries, wanted);
    assert_eq!(manifest.content_bytes(), 10 + (1 << 20) + 3);
    assert_eq!(manifest.chunks().len(), 5);
    assert!(!published.was_there);
    let verified = verify(&published.bundle).unwrap();
    assert!(verified.wrong == 0 && verified.publishers.is_empty(), "{verified:?}");
    // Nothing else is left in the depot.
    assert_eq!(names_in(world.depot().path()), [".lock", &published.bundle.id.to_string()]);
    assert_eq!(names_in(published.bundle.path()), ["content", "manifest", "seal"]);
}

#[test]
fn serials_count_and_the_same_bundle_is_one() {
    let world = World::new();
    let file = world.write("f", "one");
    let publishers = [world.publisher("one"), world.publisher("two")];
    let first = world.publish_by(&publication(), &publishers[..1]).unwrap();
    assert_eq!(first.bundle.serial(), BundleSerial::FIRST);
    // With that serial it is the same bundle, which two have signed then.
    let again = Publication { serial: Some(BundleSerial::FIRST), ..publication() };
    let second = world.publish_by(&again, &publishers[1..]).unwrap();
    assert!(second.was_there && second.bundle.id == first.bundle.id);
    let mut both = [publishers[0].key(), publishers[1].key()];
    both.sort();
    assert_eq!(verify(&second.bundle).unwrap().publishers, both);
    fs::write(&file, "two").unwrap();
    let refused = world.publish_by(&again, &[]).unwrap_err().to_string();
    assert!(refused.contains("myapp@1 is in the depot already"), "{refused}");
    let next = world.publish().unwrap();
    assert_eq!(next.bundle.serial().get(), 2);
    let expires = Some(Timestamp(1_900_000_000_000));
    let last = world.publish_by(&Publication { expires, ..publication() }, &[]).unwrap();
    assert_eq!(last.bundle.manifest().unwrap().expires(), expires);
    assert_eq!(last.bundle.seal.statement.expires, expires);
}

#[test]
fn what_fits_a_pattern_is_left_out_and_told() {
    let world = World::new();
    for name in ["a.o", "src/b.o", "src/b.c", "build/x", "src/build/y"] {
        world.write(name, name);
    }
    let exclude = ["*.o", "/build", "*.tmp"].map(|text| text.parse().unwrap()).to_vec();
    let published = world.publish_by(&Publication { exclude, ..publication() }, &[]).unwrap();
    let manifest = published.bundle.manifest().unwrap();
    let paths: Vec<String> = manifest.walk().map(|(path, _)| path.to_string()).collect();
    assert_eq!(paths, ["src", "src/b.c", "src/build", "src/build/y"]);
    assert_eq!(published.left_out.excluded, 3);
    assert_eq!(published.left_out.idle_patterns, ["*.tmp"]);
}

#[test]
fn extended_attributes_are_carried_if_they_are_asked_for() {
    let world = World::new();
    let file = File::open(world.write("f", "x")).unwrap();
    let set =
        |name: &str| rustix::fs::fsetxattr(&file, name, b"v", rustix::fs::XattrFlags::empty());
    if set("user.wanted") == Err(rustix::io::Errno::NOTSUP) {
        println!("NOT CHECKED: this file system has no extended attributes");
        return;
    }
    set("user.other").unwrap();
    let xattrs = [b"user.wanted".to_vec()].into();
    let published = world.publish_by(&Publication { xattrs, ..publication() }, &[]).unwrap();
    let manifest = published.bundle.manifest().unwrap();
    let [xattr] = &*manifest.entries()[0].xattrs else { panic!("{manifest:?}") };
    assert_eq!((&*xattr.name, &*xattr.value), (&b"user.wanted"[..], &b"v"[..]));
    assert_eq!(published.left_out.xattrs, ["user.other".to_owned()].into());
}

#[test]
fn a_terabyte_of_hole_costs_what_is_in_it() {
    let world = World::new();
    let file = world.hole("sparse", 1 << 40);
    file.write_all_at(&vec![1; 1 << 20], (1 << 39) + 5).unwrap();
    let bundle = world.publish().unwrap().bundle;
    let manifest = bundle.manifest().unwrap();
    assert_eq!(manifest.size(), 1 << 40);
    // A block more than was written, for it began within one.
    assert_eq!(manifest.content_bytes(), (1 << 20) + HOLE_BYTES);
    assert_eq!(verify(&bundle).unwrap().wrong, 0);
}

/// The id of what is published from a directory with this one file.
fn id_of(write: impl FnOnce(&File)) -> BundleId {
    let world = World::new();
    let file = File::create(world.source().join("f")).unwrap();
    write(&file);
    file.set_permissions(Permissions::from_mode(0o644)).unwrap();
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000)).unwrap();
    let bundle = world.publish().unwrap().bundle;
    assert_eq!(verify(&bundle).unwrap().wrong, 0);
    bundle.id
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// What the file system makes of zeros changes no id.
    #[test]
    fn the_same_bytes_are_the_same_bundle_with_and_without_holes(
        pieces in proptest::collection::vec((0_u64..600_000, 1_usize..3_000), 0..4),
        size in 0_u64..600_000,
    ) {
        let size = pieces.iter().map(|(at, len)| at + *len as u64).max().unwrap_or(0).max(size);
        let mut bytes = vec![0; size as usize];
        for (at, len) in &pieces {
            bytes[*at as usize..][..*len].fill(1);
        }
        let dense = id_of(|file| file.write_all_at(&bytes, 0).unwrap());
        let sparse = id_of(|file| {
            file.set_len(size).unwrap();
            for (at, len) in &pieces {
                file.write_all_at(&vec![1; *len], *at).unwrap();
            }
        });
        prop_assert_eq!(dense, sparse);
    }
}
