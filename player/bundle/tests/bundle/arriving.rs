//! Bundles that arrive in another depot: part by part, after a kill, from a disk that lies, and how they
//! are read for others meanwhile.

use std::{
    collections::BTreeSet,
    fs::{self, Permissions},
    os::unix::fs::{FileExt as _, PermissionsExt as _, symlink},
    path::PathBuf,
    time::{Duration, SystemTime},
};

use orchestra_bundle::{
    ArrivingBundle, Depot, DepotError, DepotRoom, Publication, ServedBundle, ServedPart,
    StoredBundle, verify,
};
use orchestra_model::{
    ByteSize,
    bundle::{BundleId, BundlePart, BundleSerial, CHUNK_BYTES},
};
use rustix::fs::{CWD, FileType, Mode, mknodat};

use crate::world::{World, publication, told};

/// A bundle of five chunks, the last of which is short, and an empty depot.
fn five_chunks() -> (World, StoredBundle, Depot) {
    let world = World::new();
    let bytes: Vec<u8> = (0..4 * CHUNK_BYTES + 1_000).map(|n| (n / 977) as u8).collect();
    world.write("data", bytes);
    let published = world.publish_by(&publication(), &[world.publisher("release")]).unwrap();
    let other = Depot::at(&world.path("other"));
    (world, published.bundle, other)
}

/// What a depot has of a part.
fn read(served: &ServedBundle, part: BundlePart) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    match served.read(part, &mut bytes).unwrap() {
        ServedPart::Here => Some(bytes),
        ServedPart::Coming | ServedPart::Absent => None,
    }
}

fn take(from: &Depot, arriving: &mut ArrivingBundle, part: BundlePart) {
    let served = from.serve(arriving.seal().statement.id).unwrap().unwrap();
    let bytes = read(&served, part).unwrap();
    if let BundlePart::Chunk(number) = part {
        assert!(arriving.is_good(number, &bytes));
    }
    arriving.write(part, &bytes).unwrap();
}

fn take_manifest(from: &Depot, arriving: &mut ArrivingBundle) {
    take(from, arriving, BundlePart::ManifestPiece(0));
    assert!(arriving.judge_manifest().unwrap());
}

fn sync(arriving: &mut ArrivingBundle) {
    let synced = arriving.to_sync().unwrap().wait().unwrap();
    arriving.synced(synced).unwrap();
}

#[test]
fn a_bundle_that_has_arrived_is_the_one_that_was_published() {
    let (world, bundle, other) = five_chunks();
    let mut arriving = other.receive(&bundle.seal).unwrap();
    take_manifest(&world.depot(), &mut arriving);
    for number in [3, 0, 4, 1, 2] {
        take(&world.depot(), &mut arriving, BundlePart::Chunk(number));
    }
    sync(&mut arriving);
    let arrived = arriving.finish().unwrap();
    let found = verify(&arrived).unwrap();
    assert!(found.wrong == 0 && found.publishers.len() == 1, "{found:?}");
    assert_eq!(fs::read_dir(world.path("other/incoming")).unwrap().count(), 0);
    let again = other.receive(&bundle.seal).unwrap_err();
    assert!(matches!(again, DepotError::Whole(_)), "{again}");
}

#[test]
fn what_was_received_is_found_by_the_next_process() {
    let (world, bundle, other) = five_chunks();
    let mut arriving = other.receive(&bundle.seal).unwrap();
    take_manifest(&world.depot(), &mut arriving);
    take(&world.depot(), &mut arriving, BundlePart::Chunk(0));
    sync(&mut arriving);
    // A process that is killed writes nothing more; all that it wrote is there.
    take(&world.depot(), &mut arriving, BundlePart::Chunk(1));
    take(&world.depot(), &mut arriving, BundlePart::Chunk(3));
    drop(arriving);
    let arriving = other.receive(&bundle.seal).unwrap();
    assert_eq!(arriving.here().iter().collect::<Vec<_>>(), [(0, 2), (3, 4)]);
}

#[test]
fn a_chunk_that_was_not_synced_and_is_not_what_it_was_is_missing() {
    let (world, bundle, other) = five_chunks();
    let mut arriving = other.receive(&bundle.seal).unwrap();
    take_manifest(&world.depot(), &mut arriving);
    for number in [0, 1] {
        take(&world.depot(), &mut arriving, BundlePart::Chunk(number));
    }
    drop(arriving);
    // As if the machine had gone down before the disk had it.
    let content = world.path("other/incoming").join(bundle.id.to_string()).join("content");
    let file = fs::File::options().write(true).open(content).unwrap();
    file.write_all_at(&[0; 100], CHUNK_BYTES).unwrap();
    let mut arriving = other.receive(&bundle.seal).unwrap();
    assert_eq!(arriving.here().iter().collect::<Vec<_>>(), [(0, 1)]);
    // And no sync of the next process says that it is there.
    sync(&mut arriving);
    drop(arriving);
    let arriving = other.receive(&bundle.seal).unwrap();
    assert_eq!(arriving.here().iter().collect::<Vec<_>>(), [(0, 1)]);
}

#[test]
fn a_bundle_ends_whole_or_not_at_all() {
    let (world, bundle, other) = five_chunks();
    let mut arriving = other.receive(&bundle.seal).unwrap();
    take_manifest(&world.depot(), &mut arriving);
    for number in 0..5 {
        take(&world.depot(), &mut arriving, BundlePart::Chunk(number));
    }
    let error = arriving.finish().unwrap_err();
    assert!(told(&error).contains("not all of it is on disk yet"), "{error}");
    assert!(other.list().unwrap().is_empty());
}

#[test]
fn a_wrong_manifest_is_found_and_the_right_one_taken() {
    let (world, bundle, other) = five_chunks();
    let mut arriving = other.receive(&bundle.seal).unwrap();
    let wrong = vec![7; usize::try_from(bundle.seal.statement.manifest_bytes).unwrap()];
    arriving.write(BundlePart::ManifestPiece(0), &wrong).unwrap();
    assert!(!arriving.judge_manifest().unwrap());
    assert!(arriving.manifest().is_none());
    take_manifest(&world.depot(), &mut arriving);
}

#[test]
fn parts_that_are_none_are_not_written() {
    let (world, bundle, other) = five_chunks();
    let mut arriving = other.receive(&bundle.seal).unwrap();
    take_manifest(&world.depot(), &mut arriving);
    assert!(!arriving.is_good(0, b"something else"));
    assert!(!arriving.is_good(5, b""));
    for (part, len) in [(BundlePart::Chunk(5), 1_000), (BundlePart::Chunk(0), 1_000)] {
        arriving.write(part, &vec![0; len]).unwrap_err();
    }
}

#[test]
fn one_process_receives_a_bundle_at_a_time() {
    let (_world, bundle, other) = five_chunks();
    let first = other.receive(&bundle.seal).unwrap();
    let second = other.receive(&bundle.seal).unwrap_err();
    assert!(matches!(second, DepotError::Receiving(_)), "{second}");
    drop(first);
    other.receive(&bundle.seal).unwrap();
}

#[test]
fn what_is_still_arriving_is_read_for_others_chunk_by_chunk() {
    let (world, bundle, other) = five_chunks();
    assert!(other.serve(bundle.id).unwrap().is_none());
    let mut arriving = other.receive(&bundle.seal).unwrap();
    let mut served = other.serve(bundle.id).unwrap().unwrap();
    let mut buffer = Vec::new();
    let mut state = |served: &ServedBundle, part| served.read(part, &mut buffer).unwrap();
    assert_eq!(state(&served, BundlePart::ManifestPiece(0)), ServedPart::Coming);
    take_manifest(&world.depot(), &mut arriving);
    take(&world.depot(), &mut arriving, BundlePart::Chunk(2));
    served.look(SystemTime::now()).unwrap();
    assert_eq!(state(&served, BundlePart::ManifestPiece(0)), ServedPart::Here);
    assert_eq!(state(&served, BundlePart::Chunk(2)), ServedPart::Here);
    assert_eq!(state(&served, BundlePart::Chunk(0)), ServedPart::Coming);
    assert_eq!(state(&served, BundlePart::Chunk(5)), ServedPart::Absent);

    // Nobody receives it any more: nothing is to be waited for.
    let later = SystemTime::now() + Duration::from_secs(60);
    served.look(later).unwrap();
    assert_eq!(state(&served, BundlePart::Chunk(0)), ServedPart::Absent);
    assert_eq!(state(&served, BundlePart::Chunk(2)), ServedPart::Here);
    arriving.beat(later).unwrap();
    served.look(later).unwrap();
    assert_eq!(state(&served, BundlePart::Chunk(0)), ServedPart::Coming);

    // The next process begins a journal anew, and the bundle becomes whole.
    drop(arriving);
    let mut arriving = other.receive(&bundle.seal).unwrap();
    for number in [0, 1, 3, 4] {
        take(&world.depot(), &mut arriving, BundlePart::Chunk(number));
        served.look(SystemTime::now()).unwrap();
        assert_eq!(state(&served, BundlePart::Chunk(number)), ServedPart::Here);
    }
    sync(&mut arriving);
    arriving.finish().unwrap();
    served.look(later).unwrap();
    assert_eq!(state(&served, BundlePart::Chunk(1)), ServedPart::Here);
}

#[test]
fn a_depot_hands_its_group_on_to_what_arrives() {
    let (world, bundle, other) = five_chunks();
    fs::create_dir(world.path("other")).unwrap();
    fs::set_permissions(world.path("other"), Permissions::from_mode(0o2750)).unwrap();
    let mut arriving = other.receive(&bundle.seal).unwrap();
    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    let incoming = world.path("other/incoming");
    assert_eq!(mode(incoming.join(bundle.id.to_string())) & 0o2750, 0o2750);
    take_manifest(&world.depot(), &mut arriving);
    (0..5).for_each(|number| take(&world.depot(), &mut arriving, BundlePart::Chunk(number)));
    sync(&mut arriving);
    let arrived = arriving.finish().unwrap();
    assert_eq!(mode(arrived.path().to_owned()), 0o2750);
    for file in ["manifest", "content", "seal", "arrival"] {
        assert_eq!(mode(arrived.path().join(file)), 0o640, "{file}");
    }
}

#[test]
fn bundles_that_came_from_elsewhere_make_room_and_what_was_published_here_stays() {
    let (world, bundle, other) = five_chunks();
    let mut arriving = other.receive(&bundle.seal).unwrap();
    take_manifest(&world.depot(), &mut arriving);
    (0..5).for_each(|number| take(&world.depot(), &mut arriving, BundlePart::Chunk(number)));
    sync(&mut arriving);
    arriving.finish().unwrap();

    let room = |in_use: &[_]| DepotRoom {
        most: ByteSize(2 << 20),
        serve_for: Duration::from_secs(3_600),
        in_use: in_use.iter().copied().collect::<BTreeSet<_>>(),
    };
    let (now, needed) = (SystemTime::now(), ByteSize(1 << 20));
    let other_id = BundleId([9; 32]);
    let error = other.make_room(other_id, needed, &room(&[]), now).unwrap_err();
    assert!(told(&error).contains("are in use, and the depot may have 2MiB"), "it was just used");
    let later = now + Duration::from_secs(7_200);
    other.make_room(other_id, needed, &room(&[bundle.id]), later).unwrap_err();
    other.note_use(bundle.id, later).unwrap();
    other.make_room(other_id, needed, &room(&[]), later).unwrap_err();
    other.note_use(bundle.id, now).unwrap();
    assert_eq!(other.make_room(other_id, ByteSize(1 << 10), &room(&[]), later).unwrap(), []);
    let arrived = other.list().unwrap().remove(0).unwrap();
    assert!(other.pin(&arrived).unwrap());
    other.make_room(other_id, needed, &room(&[]), later).unwrap_err();
    assert!(other.unpin(&arrived).unwrap());
    assert_eq!(other.make_room(other_id, needed, &room(&[]), later).unwrap(), [bundle.id]);
    assert!(other.list().unwrap().is_empty());

    let first = world.depot();
    assert_eq!(first.make_room(other_id, ByteSize(2 << 20), &room(&[]), later).unwrap(), []);
    assert_eq!(first.list().unwrap().len(), 1);
}

#[test]
fn what_an_earlier_bundle_of_the_depot_has_is_copied_and_not_fetched() {
    let (world, first, other) = five_chunks();
    // The first one is in the depot, and the next one has a file more, before the others.
    let mut arriving = other.receive(&first.seal).unwrap();
    take_manifest(&world.depot(), &mut arriving);
    (0..5).for_each(|number| take(&world.depot(), &mut arriving, BundlePart::Chunk(number)));
    sync(&mut arriving);
    arriving.finish().unwrap();
    world.write("a-new-one", vec![7; CHUNK_BYTES as usize / 2]);
    let next = Publication { serial: BundleSerial::new(2).ok(), ..publication() };
    let next = world.publish_by(&next, &[]).unwrap().bundle;

    let mut arriving = other.receive(&next.seal).unwrap();
    assert!(arriving.reuse(|| true).unwrap().is_empty(), "there is no manifest yet");
    take_manifest(&world.depot(), &mut arriving);
    assert!(arriving.reuse(|| false).unwrap().is_empty(), "nobody waits for it");
    // All but what the new file is in, although every chunk begins elsewhere now.
    let found: Vec<_> = arriving.reuse(|| true).unwrap().iter().collect();
    assert_eq!(found, [(1, 5)]);
    assert_eq!(arriving.here().count(), 4);
    take(&world.depot(), &mut arriving, BundlePart::Chunk(0));
    sync(&mut arriving);
    assert_eq!(verify(&arriving.finish().unwrap()).unwrap().wrong, 0);
}

#[test]
fn what_is_damaged_in_an_earlier_bundle_is_fetched() {
    let (world, first, other) = five_chunks();
    let mut arriving = other.receive(&first.seal).unwrap();
    take_manifest(&world.depot(), &mut arriving);
    (0..5).for_each(|number| take(&world.depot(), &mut arriving, BundlePart::Chunk(number)));
    sync(&mut arriving);
    let content = arriving.finish().unwrap().path().join("content");
    let content = fs::File::options().write(true).open(content).unwrap();
    content.write_all_at(&[255], 2 * CHUNK_BYTES).unwrap();
    content.set_len(4 * CHUNK_BYTES).unwrap();
    world.write("small", "small");
    let next = Publication { serial: BundleSerial::new(2).ok(), ..publication() };
    let next = world.publish_by(&next, &[]).unwrap().bundle;
    let mut arriving = other.receive(&next.seal).unwrap();
    take_manifest(&world.depot(), &mut arriving);
    let found: Vec<_> = arriving.reuse(|| true).unwrap().iter().collect();
    assert_eq!(found, [(0, 2), (3, 4)]);
}

#[test]
fn a_statement_that_is_not_of_its_bundle_is_no_fault_of_who_sends_it() {
    let (world, bundle, other) = five_chunks();
    let mut false_seal = bundle.seal.clone();
    false_seal.statement.content_bytes -= 500;
    let mut arriving = other.receive(&false_seal).unwrap();
    take(&world.depot(), &mut arriving, BundlePart::ManifestPiece(0));
    let why = told(&arriving.judge_manifest().unwrap_err());
    assert!(why.ends_with("the bundle's statement says something else"), "{why}");
}

#[test]
fn a_false_statement_takes_nothing_of_what_has_arrived() {
    let (world, bundle, other) = five_chunks();
    let mut arriving = other.receive(&bundle.seal).unwrap();
    take_manifest(&world.depot(), &mut arriving);
    (0..5).for_each(|number| take(&world.depot(), &mut arriving, BundlePart::Chunk(number)));
    sync(&mut arriving);
    drop(arriving);
    let mut false_seal = bundle.seal.clone();
    false_seal.statement.content_bytes -= 500;
    assert!(matches!(other.receive(&false_seal), Err(DepotError::Damaged { .. })));
    let mut arriving = other.receive(&bundle.seal).unwrap();
    assert_eq!(arriving.here().count(), 5);
    sync(&mut arriving);
    assert_eq!(verify(&arriving.finish().unwrap()).unwrap().wrong, 0);
}

#[test]
fn no_link_of_a_depot_is_followed_for_others() {
    let (world, bundle, other) = five_chunks();
    fs::rename(world.path("depot"), world.path("other")).unwrap();
    fs::write(world.path("secret"), vec![7; 4 * CHUNK_BYTES as usize + 1_000]).unwrap();
    let directory = world.path("other").join(bundle.id.to_string());
    let is_served = || {
        let served = other.serve(bundle.id);
        served
            .is_ok_and(|served| served.is_some_and(|it| read(&it, BundlePart::Chunk(0)).is_some()))
    };
    assert!(is_served());
    for name in ["content", "manifest", "seal"] {
        fs::rename(directory.join(name), world.path("aside")).unwrap();
        let to = if name == "content" { "secret" } else { "aside" };
        symlink(world.path(to), directory.join(name)).unwrap();
        assert!(!is_served(), "{name}");
        fs::rename(world.path("aside"), directory.join(name)).unwrap();
    }
    assert!(is_served());
    fs::rename(&directory, world.path("elsewhere")).unwrap();
    symlink(world.path("elsewhere"), &directory).unwrap();
    assert!(!is_served());
}

#[test]
fn nothing_is_made_where_a_link_of_a_depot_leads() {
    let (world, _, depot) = five_chunks();
    fs::create_dir(world.path("other")).unwrap();
    let lock = world.path("other/.lock");
    symlink(world.path("victim"), &lock).unwrap();
    let room = DepotRoom {
        most: ByteSize(2 << 20),
        serve_for: Duration::from_secs(3_600),
        in_use: BTreeSet::new(),
    };
    let make_room = || depot.make_room(BundleId([9; 32]), ByteSize(1), &room, SystemTime::now());
    make_room().unwrap_err();
    assert!(!world.path("victim").exists());
    // Nobody waits for whoever reads there, either.
    fs::remove_file(&lock).unwrap();
    mknodat(CWD, &lock, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let _ = make_room();
}

#[test]
fn a_bundle_that_was_used_in_the_future_makes_room_like_any_other() {
    let (world, bundle, other) = five_chunks();
    let mut arriving = other.receive(&bundle.seal).unwrap();
    take_manifest(&world.depot(), &mut arriving);
    (0..5).for_each(|number| take(&world.depot(), &mut arriving, BundlePart::Chunk(number)));
    sync(&mut arriving);
    arriving.finish().unwrap();
    let (now, year) = (SystemTime::now(), Duration::from_secs(365 * 86_400));
    let room =
        |serve_for| DepotRoom { most: ByteSize(2 << 20), serve_for, in_use: BTreeSet::new() };
    let make_room =
        |serve_for| other.make_room(BundleId([9; 32]), ByteSize(1 << 20), &room(serve_for), now);
    // By a clock that was set back a little since it is in use.
    other.note_use(bundle.id, now + Duration::from_secs(60)).unwrap();
    make_room(Duration::from_secs(3_600)).unwrap_err();
    other.note_use(bundle.id, now + year).unwrap();
    make_room(Duration::MAX).unwrap_err();
    assert_eq!(make_room(Duration::from_secs(3_600)).unwrap(), [bundle.id]);
}
