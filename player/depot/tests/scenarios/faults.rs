//! Sources that lie: found, named, and not asked again.

use orchestra_depot::{Effect, FetchFailure, Input, Keep, SourceFault};
use orchestra_model::bundle::BundlePart;

use crate::rig::{Rig, asks, chunk, dialled, host, judged, window};

fn piece(number: u32) -> BundlePart {
    BundlePart::ManifestPiece(number)
}

#[test]
fn a_flipped_bit_in_a_relays_depot_is_left_and_named() {
    let (mut rig, _) = Rig::new(40, &["parent", "root"]);
    rig.open();
    rig.get(chunk(0));
    assert_eq!(asks(&rig.get_bad(1)), [chunk(1)], "it may have been the network");
    let effects = rig.get_bad(1);
    let fault = SourceFault::BadChunks { count: 2, last: 1 };
    assert!(effects.contains(&Effect::Complain { source: host("parent"), fault }), "{effects:?}");
    assert_eq!(dialled(&effects), ["root"]);
    assert_eq!(asks(&rig.open())[0], chunk(1), "from the first missing chunk");
    rig.get_all();
    rig.finish();
}

#[test]
fn one_bad_chunk_is_asked_for_again_and_forgiven() {
    let (mut rig, _) = Rig::new(40, &["parent", "root"]);
    rig.open();
    rig.get_bad(1);
    rig.get_all();
    rig.finish();
}

#[test]
fn a_relay_that_lies_in_every_chunk_gets_two_and_is_not_asked_again() {
    let (mut rig, _) = Rig::new(40, &["liar", "root"]);
    rig.open();
    rig.get_bad(0);
    assert_eq!(dialled(&rig.get_bad(1)), ["root"]);
    let link = rig.link;
    // The only other one is busy: rather a pause than the liar.
    assert_eq!(dialled(&rig.tell(Input::Busy { link })), [""; 0]);
    assert_eq!(dialled(&rig.pass(60_000))[0], "root");
    let again = Input::SourcesNamed(vec![host("liar")]);
    let effects = rig.tell(again);
    let fault = SourceFault::BadChunks { count: 2, last: 1 };
    let failure = FetchFailure::NoSource(vec![(host("liar"), fault)]);
    assert_eq!(effects.last(), Some(&Effect::Fail(failure.clone())), "whoever names it");
    assert_eq!(
        failure.to_string(),
        "no source of the bundle is left; liar: 2 chunks of it were not what was published, chunk \
         2 the last"
    );
}

#[test]
fn bad_chunks_are_counted_over_connections() {
    let (mut rig, _) = Rig::new(40, &["liar"]);
    rig.open();
    rig.get(chunk(0));
    rig.get_bad(1);
    let link = rig.link;
    assert_eq!(dialled(&rig.tell(Input::Closed { link, why: "reset".to_owned() })), ["liar"]);
    rig.open();
    let effects = rig.get_bad(1);
    assert!(matches!(effects.last(), Some(Effect::Fail(FetchFailure::NoSource(_)))), "{effects:?}");
}

#[test]
fn a_wrong_manifest_is_the_fault_of_who_gave_all_of_it() {
    let (mut rig, _) = Rig::from_nothing(40, &["forger", "root"]);
    rig.open();
    rig.get(piece(0));
    let effects = rig.tell(judged(false));
    let (source, fault) = (host("forger"), SourceFault::WrongManifest);
    assert!(effects.contains(&Effect::Complain { source, fault }), "{effects:?}");
    assert_eq!(dialled(&effects), ["root"]);
    assert_eq!(asks(&rig.open()), [piece(0)]);
    rig.get(piece(0));
    assert_eq!(asks(&rig.tell(judged(true))), window(0));
}

#[test]
fn pieces_of_two_sources_are_not_put_together() {
    let (mut rig, _) = Rig::of_three_pieces(&["one", "other"]);
    rig.open();
    rig.get(piece(0));
    let link = rig.link;
    rig.tell(Input::Closed { link, why: "reset".to_owned() });
    assert_eq!(asks(&rig.open()), [piece(0), piece(1), piece(2)]);
}

#[test]
fn a_piece_of_a_source_that_was_left_is_no_part_of_what_the_next_one_gives() {
    let (mut rig, _) = Rig::of_three_pieces(&["one", "other"]);
    rig.open();
    rig.come(piece(1), true, Keep::Write);
    let link = rig.link;
    rig.tell(Input::Closed { link, why: "reset".to_owned() });
    assert_eq!(asks(&rig.open()), [piece(0), piece(2)], "the other one is being written");
    assert_eq!(asks(&rig.tell(Input::Written { part: piece(1) })), [piece(1)]);
    assert_eq!(rig.get_all(), [Effect::JudgeManifest]);
}

#[test]
fn what_nobody_asked_for_is_a_breach() {
    let (mut rig, _) = Rig::new(40, &["odd", "root"]);
    rig.open();
    let effects = rig.get_bad(39);
    let complaint = effects.iter().find_map(|effect| match effect {
        Effect::Complain { source, fault } => Some((source.to_string(), fault.to_string())),
        _ => None,
    });
    let (source, fault) = complaint.unwrap();
    assert_eq!(source, "odd");
    assert_eq!(fault, "it broke the protocol: it sent a part that it was not asked for");
    assert_eq!(dialled(&effects), ["root"]);
}
