//! What is here already, what is on disk, and disks that are full.

use orchestra_depot::{Effect, FetchFailure, Input, WriteFailure, bounds};
use orchestra_model::{
    ByteSize,
    bundle::{BundleShape, CHUNK_BYTES, ChunkRanges},
};

use crate::rig::{Rig, asks, chunk, dialled, judged};

#[test]
fn a_fetch_goes_on_from_the_first_missing_chunk() {
    let mut here = ChunkRanges::below(5);
    here.insert(7, 30);
    let (mut rig, effects) = Rig::resumed(40, here, &["parent"]);
    assert_eq!(dialled(&effects), ["parent"]);
    assert_eq!(asks(&rig.open())[..3], [chunk(5), chunk(6), chunk(30)]);
    assert_eq!(rig.fetch.progress().here, ByteSize(28 * CHUNK_BYTES));
}

#[test]
fn a_bundle_of_0_bytes_is_its_manifest() {
    let (mut rig, effects) = Rig::from_nothing(0, &["parent"]);
    assert_eq!(dialled(&effects), ["parent"]);
    rig.open();
    rig.get_all();
    let effects = rig.tell(judged(true));
    assert_eq!(effects.last(), Some(&Effect::Sync));
    rig.finish();
}

#[test]
fn what_is_here_but_not_in_its_place_needs_nobody() {
    let (mut rig, effects) = Rig::resumed(40, ChunkRanges::below(40), &["parent"]);
    assert_eq!(effects, [Effect::Sync]);
    rig.finish();
}

#[test]
fn a_disk_that_is_full_at_half_is_told_with_the_figures() {
    let (mut rig, _) = Rig::new(40, &["parent"]);
    rig.open();
    (0..20).for_each(|number| drop(rig.get(chunk(number))));
    let free = ByteSize(4096);
    let effects = rig.tell(Input::WriteFailed(WriteFailure::NoSpace { free }));
    let needed = ByteSize(20 * CHUNK_BYTES);
    let failure = FetchFailure::NoSpace { needed, free };
    assert_eq!(effects, [Effect::HangUp { link: rig.link }, Effect::Fail(failure.clone())]);
    assert_eq!(
        failure.to_string(),
        "the disk of the depot is full: 5MiB are still to come, and 4KiB are free; what has arrived \
         is kept"
    );
    assert_eq!(rig.tell(Input::Written { part: chunk(20) }), [], "it is over");
}

#[test]
fn what_was_written_is_synced_in_batches() {
    let (mut rig, _) = Rig::new(1_000, &["parent"]);
    rig.open();
    for number in 0..bounds::SYNC_CHUNKS - 1 {
        assert!(!rig.get(chunk(number)).contains(&Effect::Sync), "{number}");
    }
    assert!(rig.get(chunk(bounds::SYNC_CHUNKS - 1)).contains(&Effect::Sync));
    rig.get(chunk(bounds::SYNC_CHUNKS));
    assert_eq!(rig.tell(Input::Synced), []);
    let link = rig.link;
    rig.pass(bounds::SYNC_MS / 2);
    rig.tell(Input::Heard { link });
    let later = rig.pass(bounds::SYNC_MS / 2);
    assert_eq!(later, [Effect::Sync], "the rest is not left for long");
}

#[test]
fn it_ends_only_when_what_came_last_is_on_disk() {
    let (mut rig, _) = Rig::new(1, &["parent"]);
    rig.open();
    rig.pass(bounds::SYNC_MS - 1);
    let effects = rig.get(chunk(0));
    assert!(effects.contains(&Effect::Sync) && !effects.contains(&Effect::Settle), "{effects:?}");
    rig.finish();
}

#[test]
fn a_large_bundle_counts_its_bytes() {
    let content_bytes = (5 << 30) + 1;
    let shape = BundleShape { manifest_bytes: 1_000, content_bytes };
    let all = ChunkRanges::below(shape.chunks());
    let fetch = orchestra_depot::Fetch::new(0, shape, true, all, Vec::new(), 1);
    assert_eq!(fetch.progress().here, ByteSize(content_bytes));
}
