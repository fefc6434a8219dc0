//! What a place takes, and each reason for which it does not.

use std::collections::BTreeSet;

use orchestra_model::{
    BundleName, ByteSize, HostName, Millis, Timestamp,
    bundle::{
        BundleEntry, BundleId, BundlePlace, BundleSerial, BundleStatement, EntryKind, FileEntry,
        PlaceRefusal, PlaceTrust, PublisherKey, Xattr,
    },
};

use crate::built::{directory, entry, file, link, manifest, sparse};

const NOW: Timestamp = Timestamp(1_700_000_000_000);

fn key(n: u8) -> PublisherKey {
    PublisherKey([n; 32])
}

fn domain() -> HostName {
    HostName::new("example.com").unwrap()
}

/// Takes bundles that two of three publishers have signed, and nothing that can run.
fn place() -> BundlePlace {
    BundlePlace {
        name: BundleName::new("myapp").unwrap(),
        trust: PlaceTrust::Publishers { keys: [1, 2, 3].map(key).into(), threshold: 2 },
        min_serial: BundleSerial::FIRST,
        max_size: ByteSize(100),
        max_entries: 3,
        executable: false,
        links: false,
        xattrs: BTreeSet::new(),
    }
}

fn said() -> BundleStatement {
    let manifest = manifest(vec![directory(1, "d"), file(2, "f", 10)]).unwrap();
    BundleStatement::of(&manifest, BundleId([7; 32]), 100, domain())
}

#[test]
fn a_statement_is_taken_or_refused_with_the_first_reason() {
    let judge = |place: &BundlePlace, said: &BundleStatement, good: &[u8]| {
        let good: Vec<PublisherKey> = good.iter().map(|n| key(*n)).collect();
        place.judge_statement(said, &good, &domain(), NOW)
    };
    assert_eq!(judge(&place(), &said(), &[1, 3]), Ok(()));
    assert_eq!(judge(&place(), &said(), &[1, 2, 3, 9]), Ok(()));
    for (good, found) in [(&[][..], 0), (&[1], 1), (&[1, 1], 1), (&[2, 8, 9], 1)] {
        let refused = Err(PlaceRefusal::Publishers { found, wanted: 2 });
        assert_eq!(judge(&place(), &said(), good), refused);
    }
    let good = &[1, 2][..];
    let other = BundleStatement { name: BundleName::new("other").unwrap(), ..said() };
    assert!(matches!(judge(&place(), &other, good), Err(PlaceRefusal::Name { .. })));
    let other = BundleStatement { domain: HostName::new("example.org").unwrap(), ..said() };
    assert!(matches!(judge(&place(), &other, good), Err(PlaceRefusal::Domain { .. })));
    let old = BundlePlace { min_serial: BundleSerial::new(2).unwrap(), ..place() };
    assert!(matches!(judge(&old, &said(), good), Err(PlaceRefusal::Serial { .. })));
    let expired = |at: u64| BundleStatement { expires: Some(Timestamp(at)), ..said() };
    assert_eq!(judge(&place(), &expired(NOW.0 + 1), good), Ok(()));
    let refused = Err(PlaceRefusal::Expired(Millis(0)));
    assert_eq!(judge(&place(), &expired(NOW.0), good), refused);
    let large = BundleStatement { size: 101, ..said() };
    assert!(matches!(judge(&place(), &large, good), Err(PlaceRefusal::Size { .. })));
    let many = BundleStatement { entries: 4, ..said() };
    assert_eq!(judge(&place(), &many, good), Err(PlaceRefusal::Entries { found: 4, most: 3 }));
}

/// Signatures open no pinned place, and a pin needs none.
#[test]
fn a_pinned_place_takes_these_bundles_and_no_others() {
    let with =
        |id: u8| BundlePlace { trust: PlaceTrust::Pins([BundleId([id; 32])].into()), ..place() };
    let judge = |place: BundlePlace| place.judge_statement(&said(), &[key(1)], &domain(), NOW);
    assert_eq!(judge(with(7)), Ok(()));
    assert_eq!(judge(with(8)), Err(PlaceRefusal::NotPinned));
}

#[test]
fn what_is_in_a_bundle_is_what_its_place_allows() {
    let judge = |place: &BundlePlace, entries: Vec<BundleEntry>| {
        place.judge_manifest(&manifest(entries).unwrap()).map_err(|why| why.to_string())
    };
    let with_mode = |mode| {
        vec![directory(1, "d"), entry(2, "f", EntryKind::File(FileEntry { mode, ..sparse(0) }))]
    };
    assert_eq!(judge(&place(), with_mode(0o666)), Ok(()));
    for mode in [0o744, 0o654, 0o645] {
        let refused = judge(&place(), with_mode(mode)).unwrap_err();
        assert!(refused.starts_with("d/f is executable"), "{refused}");
        assert_eq!(judge(&BundlePlace { executable: true, ..place() }, with_mode(mode)), Ok(()));
    }
    let linked = || vec![file(1, "f", 0), link(1, "l", "f")];
    assert!(judge(&place(), linked()).unwrap_err().starts_with("l is a link"));
    assert_eq!(judge(&BundlePlace { links: true, ..place() }, linked()), Ok(()));
    let xattr = Xattr { name: (*b"user.a").into(), value: [].into() };
    let marked = || vec![BundleEntry { xattrs: vec![xattr.clone()], ..file(1, "f", 0) }];
    assert!(judge(&place(), marked()).unwrap_err().starts_with("f has an extended attribute"));
    let xattrs = BTreeSet::from([(*b"user.a").into()]);
    assert_eq!(judge(&BundlePlace { xattrs, ..place() }, marked()), Ok(()));
}
