//! In which order sources are asked, and when one is left for the next.

use orchestra_depot::{Came, Effect, FetchFailure, Input, Keep, bounds};
use orchestra_model::bundle::{BundlePart, ChunkRanges};

use crate::rig::{Rig, asks, chunk, dialled, host, judged, window};

#[test]
fn what_other_bundles_of_the_depot_have_is_not_asked_for_and_is_synced() {
    let (mut rig, _) = Rig::from_nothing(3, &["parent"]);
    rig.open();
    rig.get(BundlePart::ManifestPiece(0));
    let mut found = ChunkRanges::default();
    found.insert(0, 1);
    found.insert(2, 3);
    let effects = rig.tell(Input::ManifestJudged { is_good: true, found });
    assert_eq!(asks(&effects), [chunk(1)]);
    // Nothing is settled before all of it was synced.
    let effects = rig.get(chunk(1));
    assert!(effects.contains(&Effect::Sync) && !effects.contains(&Effect::Settle), "{effects:?}");
    assert!(rig.tell(Input::Synced).contains(&Effect::Settle));
}

#[test]
fn what_is_found_is_synced_soon_although_nothing_else_comes() {
    let (mut rig, _) = Rig::from_nothing(3, &["parent"]);
    rig.open();
    rig.get(BundlePart::ManifestPiece(0));
    let found = ChunkRanges::below(2);
    rig.tell(Input::ManifestJudged { is_good: true, found });
    rig.pass(bounds::SYNC_MS - 100);
    rig.tell(Input::Heard { link: rig.link });
    assert!(rig.pass(200).contains(&Effect::Sync));
}

#[test]
fn the_manifest_comes_first_and_then_every_chunk_in_order() {
    let (mut rig, effects) = Rig::from_nothing(40, &["parent", "root"]);
    assert_eq!(dialled(&effects), ["parent"]);
    assert_eq!(asks(&rig.open()), [BundlePart::ManifestPiece(0)]);
    assert_eq!(rig.get(BundlePart::ManifestPiece(0)), [Effect::JudgeManifest]);
    assert_eq!(asks(&rig.tell(judged(true))), window(0));
    assert_eq!(asks(&rig.get(chunk(3))), [chunk(16)]);
    let effects = rig.get_all();
    assert_eq!(effects.last(), Some(&Effect::Sync));
    assert!(effects.contains(&Effect::HangUp { link: rig.link }));
    rig.finish();
}

#[test]
fn no_more_is_asked_for_than_memory_is_for() {
    let (mut rig, _) = Rig::new(100_000, &["parent"]);
    rig.open();
    for number in 0..16 {
        let came = Came { link: rig.link, part: chunk(number), is_good: true };
        assert_eq!(rig.fetch.take(rig.now, came), Keep::Write);
        assert_eq!(rig.effects(), [], "what is not written yet is in memory");
    }
    assert_eq!(asks(&rig.tell(Input::Written { part: chunk(7) })), [chunk(16)]);
}

#[test]
fn a_source_that_accepts_and_says_nothing_is_left_after_two_seconds() {
    let (mut rig, _) = Rig::new(40, &["mute", "root"]);
    rig.open();
    assert_eq!(rig.pass(bounds::SILENCE_MS - 1), []);
    assert_eq!(dialled(&rig.pass(1)), ["root"]);
}

#[test]
fn a_black_hole_is_left_after_two_seconds() {
    let (mut rig, _) = Rig::new(40, &["hole", "root"]);
    assert_eq!(rig.pass(bounds::SILENCE_MS - 1), []);
    assert_eq!(dialled(&rig.pass(1)), ["root"]);
}

#[test]
fn a_source_is_never_left_for_being_slow() {
    let (mut rig, _) = Rig::new(40, &["slow", "root"]);
    rig.open();
    // A byte now and then, or a word that it waits itself: for an hour.
    for _ in 0..3_600 {
        assert_eq!(rig.pass(1_000), []);
        let link = rig.link;
        assert_eq!(rig.tell(Input::Heard { link }), []);
    }
    assert_eq!(rig.fetch.progress().source, Some(host("slow")));
}

#[test]
fn a_source_that_owes_nothing_may_be_silent() {
    let (mut rig, _) = Rig::new(16, &["parent", "root"]);
    rig.open();
    for number in 0..16 {
        let came = Came { link: rig.link, part: chunk(number), is_good: true };
        assert_eq!(rig.fetch.take(rig.now, came), Keep::Write);
    }
    // It is the disk that is slow.
    assert_eq!(rig.pass(60_000), []);
    rig.tell(Input::WriteFailed(orchestra_depot::WriteFailure::Other("slow".to_owned())));
}

#[test]
fn a_source_that_has_sent_everything_is_not_left_while_it_is_hashed() {
    let (mut rig, _) = Rig::new(40, &["parent", "root"]);
    rig.open();
    let link = rig.link;
    for part in window(0) {
        assert_eq!(rig.tell(Input::Landed { link, part }), []);
    }
    assert_eq!(rig.pass(60_000), []);
    // One that is taken makes room for another one, which is owed.
    assert_eq!(asks(&rig.get(chunk(0))), [chunk(16)]);
    assert_eq!(dialled(&rig.pass(bounds::SILENCE_MS)), ["root"]);
}

#[test]
fn who_is_gone_busy_or_refuses_is_left_for_the_next_at_once_from_the_first_missing_chunk() {
    let (mut rig, _) = Rig::new(40, &["parent", "busy", "closed", "root"]);
    rig.open();
    rig.get(chunk(0));
    rig.get(chunk(2));
    let link = rig.link;
    let gone = Input::Closed { link, why: "connection reset by peer".to_owned() };
    assert_eq!(dialled(&rig.tell(gone)), ["busy"]);
    let link = rig.link;
    assert_eq!(dialled(&rig.tell(Input::Busy { link })), ["closed"]);
    let link = rig.link;
    let refused = Input::Refused { link, why: "its ticket has expired".to_owned() };
    assert_eq!(dialled(&rig.tell(refused)), ["root"]);
    let asked = asks(&rig.open());
    assert_eq!(asked[..2], [chunk(1), chunk(3)]);
    let left = rig.fetch.progress().left;
    let texts: Vec<_> = left.iter().map(|(source, why)| format!("{source}: {why}")).collect();
    assert_eq!(
        texts,
        [
            "parent: connection reset by peer",
            "busy: it serves as many as it may",
            "closed: its ticket has expired"
        ]
    );
}

#[test]
fn when_all_are_busy_the_best_is_asked_again_after_a_pause_that_grows() {
    let (mut rig, _) = Rig::new(40, &["parent", "root"]);
    let mut pauses = Vec::new();
    for _ in 0..8 {
        let link = rig.link;
        assert_eq!(dialled(&rig.tell(Input::Busy { link })), ["root"]);
        let link = rig.link;
        assert_eq!(dialled(&rig.tell(Input::Busy { link })), [""; 0]);
        let pause = rig.fetch.next_wake().unwrap() - rig.now;
        assert_eq!(dialled(&rig.pass(pause)), ["parent"]);
        pauses.push(pause);
    }
    assert!(pauses[0] >= bounds::PAUSE_MS / 2 && pauses[0] <= bounds::PAUSE_MS, "{pauses:?}");
    let longest = bounds::LONGEST_PAUSE_MS;
    assert!(pauses[7] >= longest / 2 && pauses[7] <= longest, "{pauses:?}");
}

#[test]
fn a_round_that_brought_something_is_followed_by_the_next_at_once() {
    let (mut rig, _) = Rig::new(40, &["parent"]);
    rig.open();
    rig.get(chunk(0));
    let link = rig.link;
    let closed = Input::Closed { link, why: "reset".to_owned() };
    assert_eq!(dialled(&rig.tell(closed)), ["parent"]);
}

#[test]
fn answers_of_a_source_that_was_left_are_forgotten() {
    let (mut rig, _) = Rig::new(40, &["parent", "root"]);
    rig.open();
    let former = rig.link;
    rig.tell(Input::Closed { link: former, why: "reset".to_owned() });
    let late = Came { link: former, part: chunk(0), is_good: true };
    assert_eq!(rig.fetch.take(rig.now, late), Keep::Drop);
    assert_eq!(rig.tell(Input::Busy { link: former }), []);
    assert_eq!(rig.fetch.progress().source, Some(host("root")));
}

#[test]
fn a_conductor_moves_a_child_by_naming_other_sources() {
    let (mut rig, _) = Rig::new(40, &["parent", "root"]);
    rig.open();
    let all = |names: &[&str]| Input::SourcesNamed(names.iter().map(|name| host(name)).collect());
    assert_eq!(rig.tell(all(&["other", "parent"])), [], "who is asked stays asked");
    assert_eq!(dialled(&rig.tell(all(&["other", "root"]))), ["other"]);
    let seven: Vec<String> = (0..7).map(|n| format!("host{n}")).collect();
    let seven: Vec<&str> = seven.iter().map(String::as_str).collect();
    assert_eq!(dialled(&rig.tell(all(&seven))), ["host0"]);
    for n in 1..bounds::SOURCES {
        let link = rig.link;
        assert_eq!(dialled(&rig.tell(Input::Busy { link })), [format!("host{n}")]);
    }
    let link = rig.link;
    assert_eq!(dialled(&rig.tell(Input::Busy { link })), [""; 0], "the seventh is left out");
}

#[test]
fn without_any_source_a_fetch_fails() {
    let (_, effects) = Rig::new(40, &[]);
    assert_eq!(effects, [Effect::Fail(FetchFailure::NoSource(Vec::new()))]);
    let (_, effects) = Rig::resumed(40, ChunkRanges::below(40), &[]);
    assert_eq!(effects, [Effect::Sync], "nobody is needed for what is here");
}
