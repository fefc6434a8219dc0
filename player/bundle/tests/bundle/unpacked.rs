//! What becomes of a bundle that is unpacked: the same directory, or nothing.

use std::{
    fs::{self, File, Permissions},
    os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _, symlink},
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, SystemTime},
};

use orchestra_bundle::{Publication, StoredBundle, UnpackError, publish, remove_tree, unpack};
use proptest::prelude::*;

use crate::world::{World, names_in, publication, told};

fn unpack_to(bundle: &StoredBundle, target: &Path) -> Result<(), UnpackError> {
    unpack(bundle, &bundle.manifest().unwrap(), target)
}

/// Publishes what was unpacked as what it came from, elsewhere: every byte, mode, time and link of a
/// bundle is in its id.
#[track_caller]
fn is_again(world: &World, bundle: &StoredBundle, unpacked: &Path) {
    let depot = orchestra_bundle::Depot::at(&world.path("second-depot"));
    let xattrs = [b"user.kept".to_vec()].into();
    let same = Publication { serial: Some(bundle.serial()), xattrs, ..publication() };
    let again = publish(unpacked, &depot, &same, &[]).unwrap();
    assert_eq!(again.bundle.id, bundle.id);
}

#[test]
fn a_bundle_is_the_same_directory_again() {
    let world = World::new();
    let file = world.write("bin/run", "#!/bin/sh\n");
    fs::set_permissions(&file, Permissions::from_mode(0o751)).unwrap();
    let old = SystemTime::UNIX_EPOCH + Duration::new(1_234_567_890, 123_456_789);
    File::options().write(true).open(&file).unwrap().set_modified(old).unwrap();
    world.write("none", "");
    world.write("secret", vec![9; 700_000]);
    fs::set_permissions(world.source().join("secret"), Permissions::from_mode(0o400)).unwrap();
    symlink("../bin/run", world.source().join("bin/link")).unwrap();
    world.hole("hole", 5 << 30).write_all_at(b"x", 3 << 30).unwrap();
    fs::create_dir_all(world.source().join("deep/er")).unwrap();
    let empty = rustix::fs::XattrFlags::empty();
    let has_xattrs = rustix::fs::setxattr(&file, "user.kept", b"v", empty).is_ok();
    let xattrs = [b"user.kept".to_vec()].into();
    let bundle = world.publish_by(&Publication { xattrs, ..publication() }, &[]).unwrap().bundle;
    let target = world.path("again");
    unpack_to(&bundle, &target).unwrap();
    is_again(&world, &bundle, &target);
    let hole = fs::metadata(target.join("hole")).unwrap();
    assert!(hole.len() == 5 << 30 && hole.blocks() * 512 < 1 << 20, "{} blocks", hole.blocks());
    let kept = rustix::fs::getxattr(target.join("bin/run"), "user.kept", &mut [0; 8][..]);
    assert_eq!(kept.is_ok(), has_xattrs);
    assert!(!names_in(target.parent().unwrap()).iter().any(|name| name.starts_with(".new-")));
}

#[test]
fn read_only_directories_are_filled_first() {
    let world = World::new();
    world.write("a/b/f", "x");
    for (name, mode) in [("a/b", 0o500), ("a", 0o555), ("", 0o550)] {
        fs::set_permissions(world.source().join(name), Permissions::from_mode(mode)).unwrap();
    }
    let bundle = world.publish().unwrap().bundle;
    let target = world.path("again");
    unpack_to(&bundle, &target).unwrap();
    is_again(&world, &bundle, &target);
    let mode = |name: &str| fs::metadata(target.join(name)).unwrap().permissions().mode() & 0o7777;
    assert_eq!([mode(""), mode("a"), mode("a/b")], [0o550, 0o555, 0o500]);
    // So that whoever runs this without the rights of root can remove it.
    for top in [&target, &world.source()] {
        for name in ["", "a", "a/b"] {
            fs::set_permissions(top.join(name), Permissions::from_mode(0o700)).unwrap();
        }
    }
}

#[test]
fn what_is_there_is_never_replaced() {
    let world = World::new();
    world.write("f", "x");
    let bundle = world.publish().unwrap().bundle;
    fs::create_dir(world.path("directory")).unwrap();
    fs::write(world.path("file"), "mine").unwrap();
    symlink("nowhere", world.path("link")).unwrap();
    for name in ["directory", "file", "link"] {
        let refused = unpack_to(&bundle, &world.path(name)).unwrap_err();
        assert!(matches!(refused, UnpackError::Exists(_)), "{refused:?}");
    }
    assert_eq!(fs::read(world.path("file")).unwrap(), b"mine");
    assert_eq!(names_in(&world.path("directory")), [""; 0]);
    let refused = told(&unpack_to(&bundle, &world.path("none/again")).unwrap_err());
    assert!(refused.contains("none: No such file or directory"), "{refused}");
}

/// Whichever byte of the content is another one, nothing of the bundle is there.
#[test]
fn content_that_was_changed_becomes_nothing() {
    let world = World::new();
    world.write("a", vec![1; 300 << 10]);
    world.write("sub/b", "xyz");
    fs::set_permissions(world.source().join("sub"), Permissions::from_mode(0o555)).unwrap();
    let bundle = world.publish().unwrap().bundle;
    let content = bundle.path().join("content");
    let content = File::options().read(true).write(true).open(content).unwrap();
    let len = content.metadata().unwrap().len();
    let before = names_in(&world.path(""));
    for (at, name) in [(0, "a"), (299 << 10, "a"), (len - 1, "sub/b")] {
        let mut byte = [0];
        content.read_exact_at(&mut byte, at).unwrap();
        content.write_all_at(&[byte[0] ^ 1], at).unwrap();
        let refused = unpack_to(&bundle, &world.path("again")).unwrap_err().to_string();
        assert_eq!(refused, format!("the data of {name} is not what was published"));
        content.write_all_at(&byte, at).unwrap();
        assert_eq!(names_in(&world.path("")), before);
    }
    content.set_len(len - 1).unwrap();
    let refused = unpack_to(&bundle, &world.path("again")).unwrap_err().to_string();
    assert_eq!(refused, "the data of sub/b is not what was published");
    assert_eq!(names_in(&world.path("")), before);
    fs::set_permissions(world.source().join("sub"), Permissions::from_mode(0o755)).unwrap();
}

/// Somebody with the same rights puts links in the place of directories all the while. The unpacking may
/// fail for it, or not; nothing is written to where the links lead.
#[test]
fn nothing_is_written_through_a_link_that_appears_meanwhile() {
    let world = World::new();
    for n in 0..200 {
        world.write(&format!("d/e/f{n}"), "x");
    }
    let bundle = world.publish().unwrap().bundle;
    let place = world.path("place");
    let outside = world.path("outside");
    fs::create_dir(&place).unwrap();
    fs::create_dir(&outside).unwrap();
    let mode_of = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
    let mode = mode_of(&outside);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                for name in names_in(&place).into_iter().filter(|name| name.starts_with(".new-")) {
                    for directory in ["d/e", "d"] {
                        let path = place.join(&name).join(directory);
                        // It may be gone, or not be there yet.
                        let _ = fs::rename(&path, path.with_extension("moved"));
                        let _ = symlink(&outside, &path);
                    }
                }
            }
        });
        for n in 0..30 {
            let _ = unpack_to(&bundle, &place.join(n.to_string()));
        }
        over.store(true, Ordering::Relaxed);
    });
    assert_eq!(mode_of(&outside), mode);
    // What the links' maker put there through its own links is links.
    for name in names_in(&outside) {
        assert!(outside.join(&name).symlink_metadata().unwrap().is_symlink(), "{name}");
    }
}

/// A random directory: what its names are, and how much is in them.
fn directory() -> impl Strategy<Value = Vec<(String, usize, u32)>> {
    let name = proptest::collection::vec(prop_oneof!["a", "b", "[ -.]{1,3}", "\u{e9}"], 1..4);
    let entry = (name, 0_usize..200_000, 0o400_u32..0o1000);
    proptest::collection::vec(
        entry.prop_map(|(names, len, mode)| (names.join("/"), len, mode)),
        0..8,
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn whatever_was_published_is_unpacked_as_it_was(entries in directory()) {
        let world = World::new();
        for (name, len, mode) in entries {
            let names: Vec<&str> = name.split('/').collect();
            if names.iter().any(|name| ["", ".", ".."].contains(name)) {
                continue;
            }
            let path = world.source().join(&name);
            // A name may be a directory already, or lie below a file.
            let made = fs::create_dir_all(path.parent().unwrap());
            if made.and_then(|()| fs::write(&path, vec![7; len])).is_ok() {
                fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            }
        }
        let bundle = world.publish().unwrap().bundle;
        let target = world.path("again");
        unpack_to(&bundle, &target).unwrap();
        is_again(&world, &bundle, &target);
    }
}

#[test]
fn what_is_removed_is_removed_whole_and_nothing_that_a_link_leads_to() {
    let world = World::new();
    let outside = world.path("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("kept"), "").unwrap();
    let tree = world.path("tree");
    fs::create_dir_all(tree.join("a/b")).unwrap();
    fs::write(tree.join("a/b/file"), "").unwrap();
    symlink(&outside, tree.join("a/link")).unwrap();
    for name in ["a/b", "a"] {
        fs::set_permissions(tree.join(name), Permissions::from_mode(0o000)).unwrap();
    }
    remove_tree(&tree).unwrap();
    assert!(tree.symlink_metadata().is_err());
    symlink(&outside, &tree).unwrap();
    remove_tree(&tree).unwrap();
    fs::write(&tree, "").unwrap();
    remove_tree(&tree).unwrap();
    assert!(remove_tree(&tree).is_err());
    assert_eq!(names_in(&outside), ["kept"]);
}
