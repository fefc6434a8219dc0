//! Depots: what is found by which name, what is removed, who waits for whom.

use std::{fs, os::unix::fs::DirBuilderExt as _};

use orchestra_bundle::{DepotError, Publication, collect, verify};
use orchestra_model::{BundleName, bundle::BundleReference};
use rustix::fs::FlockOperation;

use crate::world::{World, names_in, publication, told};

fn reference(text: &str) -> BundleReference {
    text.parse().unwrap()
}

/// Publishes so many bundles of a name.
fn publish_many(world: &World, name: &str, count: usize) {
    for n in 0..count {
        world.write("f", format!("{name} {n}"));
        let name = BundleName::new(name).unwrap();
        world.publish_by(&Publication { name, ..publication() }, &[]).unwrap();
    }
}

#[test]
fn a_bundle_is_found_by_name_by_serial_and_by_id() {
    let world = World::new();
    publish_many(&world, "myapp", 3);
    publish_many(&world, "other", 1);
    let depot = world.depot();
    let find = |text: &str| {
        depot.find(&reference(text)).map(|it| (it.name().to_string(), it.serial().get()))
    };
    assert_eq!(find("myapp").unwrap(), ("myapp".to_owned(), 3));
    assert_eq!(find("myapp@2").unwrap(), ("myapp".to_owned(), 2));
    let id = depot.find(&reference("other@1")).unwrap().id.to_string();
    assert_eq!(find(&id[..15]).unwrap(), ("other".to_owned(), 1));
    for unknown in ["none", "myapp@4", "sha256-00000000"] {
        assert!(matches!(find(unknown), Err(DepotError::Unknown { .. })), "{unknown}");
    }
    let listed: Vec<_> =
        depot.list().unwrap().into_iter().map(|it| it.unwrap().serial().get()).collect();
    assert_eq!(listed, [1, 2, 3, 1]);
    // One whose seal is gone is listed last, and told by its id.
    fs::remove_file(depot.path().join(&id).join("seal")).unwrap();
    assert!(depot.list().unwrap().pop().unwrap().is_err());
    assert!(told(&find(&id).unwrap_err()).contains("seal"));
    assert!(matches!(find("other"), Err(DepotError::Unknown { .. })));
    let missing = world.path("nowhere");
    let refused = orchestra_bundle::Depot::at(&missing).find(&reference("x")).unwrap_err();
    assert!(told(&refused).contains("nowhere"), "{refused}");
}

#[test]
fn the_newest_of_each_name_stay() {
    let world = World::new();
    publish_many(&world, "myapp", 5);
    publish_many(&world, "other", 1);
    let depot = world.depot();
    let plan = collect(&depot, 2, true).unwrap();
    let serials: Vec<u64> = plan.removed.iter().map(|it| it.serial().get()).collect();
    assert_eq!((serials, plan.kept), (vec![1, 2, 3], 3));
    assert_eq!(depot.list().unwrap().len(), 6);
    collect(&depot, 2, false).unwrap();
    assert_eq!(depot.list().unwrap().len(), 3);
    assert_eq!(collect(&depot, 2, false).unwrap().removed.len(), 0);
}

/// What a killed program left is removed; what one that lives is writing is not.
#[test]
fn leftovers_are_removed_unless_somebody_writes_there() {
    let world = World::new();
    publish_many(&world, "myapp", 1);
    let depot = world.depot();
    let make = |name: &str| {
        let path = depot.path().join(name);
        fs::DirBuilder::new().mode(0o700).create(&path).unwrap();
        fs::write(path.join("content"), "half").unwrap();
        path
    };
    let living = make(".new-living");
    let lock = fs::File::open(&living).unwrap();
    rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).unwrap();
    make(".new-dead");
    make(".old-dead");
    assert_eq!(collect(&depot, 9, false).unwrap().leftovers, 2);
    assert!(living.exists());
    drop(lock);
    assert_eq!(collect(&depot, 9, false).unwrap().leftovers, 1);
    assert_eq!(names_in(depot.path()).len(), 2);
}

/// Many at once: each gets a serial of its own, and no bundle is lost.
#[test]
fn who_publishes_at_the_same_time_gets_another_serial() {
    let world = World::new();
    world.write("f", "x");
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| world.publish().unwrap());
        }
    });
    let depot = world.depot();
    let serials: Vec<u64> =
        depot.list().unwrap().into_iter().map(|it| it.unwrap().serial().get()).collect();
    assert_eq!(serials, [1, 2, 3, 4, 5, 6, 7, 8]);
}

/// Many at once: each signature stays.
#[test]
fn who_signs_at_the_same_time_takes_nobody_elses_signature_away() {
    let world = World::new();
    let bundle = world.publish().unwrap().bundle;
    let depot = world.depot();
    let publishers: Vec<_> = (0..8).map(|n| world.publisher(&format!("p{n}"))).collect();
    std::thread::scope(|scope| {
        for publisher in publishers.chunks(1) {
            scope.spawn(|| depot.sign(&bundle, publisher).unwrap());
        }
    });
    let signed = depot.find(&reference("myapp")).unwrap();
    assert_eq!(verify(&signed).unwrap().publishers.len(), 8);
}
