//! What is sent to a player that may fetch.

use std::{
    fs,
    path::Path,
    sync::mpsc,
    thread,
    time::{Duration, SystemTime},
};

use orchestra_bundle::{Depot, verify};
use orchestra_model::{
    ByteSize,
    bundle::{BundlePart, CHUNK_BYTES},
    relay::RelayFrame,
};
use relay::Config;

use crate::place::{Child, Place, run};

async fn part(child: &mut Child, part: BundlePart) -> Vec<u8> {
    child.ask(part).await;
    match child.hear_more().await {
        (RelayFrame::Part(sent), bytes) if sent == part => bytes,
        other => panic!("{part:?}: {other:?}"),
    }
}

#[test]
fn a_player_gets_every_part_and_what_arrives_is_the_bundle() {
    let place = Place::new();
    let bundle = place.publish(4 * CHUNK_BYTES as usize + 1_000);
    run(async {
        let mut child = place.opened(place.relay().await, bundle.id).await;
        let depot = Depot::at(&place.path("other"));
        let mut arriving = depot.receive(&bundle.seal).unwrap();
        let bytes = part(&mut child, BundlePart::ManifestPiece(0)).await;
        arriving.write(BundlePart::ManifestPiece(0), &bytes).unwrap();
        assert!(arriving.judge_manifest().unwrap());
        // All at once, and they come in the order in which they are there.
        let chunks: Vec<BundlePart> = (0..5).map(BundlePart::Chunk).collect();
        for chunk in &chunks {
            child.ask(*chunk).await;
        }
        for chunk in chunks {
            let (frame, bytes) = child.hear_more().await;
            assert_eq!(frame, RelayFrame::Part(chunk));
            arriving.write(chunk, &bytes).unwrap();
        }
        let synced = arriving.to_sync().unwrap().wait().unwrap();
        arriving.synced(synced).unwrap();
        assert_eq!(verify(&arriving.finish().unwrap()).unwrap().wrong, 0);
    });
}

/// Says that more is to come, until this is dropped.
fn beat(journal: &Path) -> mpsc::Sender<()> {
    let (wanted, is_wanted) = mpsc::channel();
    let journal = fs::File::options().write(true).open(journal).unwrap();
    thread::spawn(move || {
        let every = Duration::from_millis(100);
        while is_wanted.recv_timeout(every) == Err(mpsc::RecvTimeoutError::Timeout) {
            journal.set_modified(SystemTime::now()).unwrap();
        }
    });
    wanted
}

#[test]
fn what_is_still_arriving_is_sent_as_it_comes() {
    let place = Place::new();
    let bundle = place.publish(3 * CHUNK_BYTES as usize);
    let depot = Depot::at(&place.path("other"));
    let first = place.depot().serve(bundle.id).unwrap().unwrap();
    let bytes_of = |part| {
        let mut bytes = Vec::new();
        let _ = first.read(part, &mut bytes).unwrap();
        bytes
    };
    let mut arriving = depot.receive(&bundle.seal).unwrap();
    let beats = beat(&place.path("other/incoming").join(bundle.id.to_string()).join("arrival"));
    run(async {
        let config = Config { depot: place.path("other"), ..place.config() };
        let mut child = place.opened(place.relay_with(&config).await, bundle.id).await;
        child.ask(BundlePart::ManifestPiece(0)).await;
        child.ask(BundlePart::Chunk(1)).await;
        child.ask(BundlePart::Chunk(0)).await;
        // Nothing is here, and the child hears that it is to come.
        assert_eq!(child.hear().await.0, RelayFrame::Waiting);
        for part in [BundlePart::ManifestPiece(0), BundlePart::Chunk(0), BundlePart::Chunk(1)] {
            arriving.write(part, &bytes_of(part)).unwrap();
            if matches!(part, BundlePart::ManifestPiece(_)) {
                assert!(arriving.judge_manifest().unwrap());
            }
            let (frame, bytes) = child.hear_more().await;
            assert_eq!((frame, bytes), (RelayFrame::Part(part), bytes_of(part)));
        }
        // Nobody receives the rest: the child goes elsewhere.
        drop((arriving, beats));
        child.ask(BundlePart::Chunk(2)).await;
        let why = child.refused().await;
        assert_eq!(why, "chunk 3 is not in its depot");
    });
}

#[test]
fn a_rate_is_kept_and_nobody_is_silent_meanwhile() {
    let place = Place::new();
    let bundle = place.publish(3 * CHUNK_BYTES as usize);
    run(async {
        // A chunk takes four seconds.
        let config = Config { serve_rate: Some(ByteSize(CHUNK_BYTES / 4)), ..place.config() };
        let mut child = place.opened(place.relay_with(&config).await, bundle.id).await;
        for number in 0..2 {
            child.ask(BundlePart::Chunk(number)).await;
        }
        assert_eq!(child.hear().await.0, RelayFrame::Part(BundlePart::Chunk(0)));
        assert_eq!(child.hear().await.0, RelayFrame::Waiting);
        assert_eq!(child.hear_more().await.0, RelayFrame::Part(BundlePart::Chunk(1)));
    });
}
