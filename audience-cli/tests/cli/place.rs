//! `orc places`.

use std::collections::BTreeSet;

use orchestra_model::{
    BundleName, HostName,
    bundle::{
        BundleId, BundleRelease, BundleSerial, PlaceReport, PlaceStanding, PlaceTrust,
        PlacesReport, PublisherKey,
    },
    names::PlaceName,
};

use crate::fake::Fake;

fn release(serial: u64) -> BundleRelease {
    BundleRelease { serial: BundleSerial::new(serial).unwrap(), id: BundleId([serial as u8; 32]) }
}

/// What a player tells whose place `site` is switched to this release.
fn told(active: Option<u64>) -> PlacesReport {
    let keys = BTreeSet::from([PublisherKey([1; 32]), PublisherKey([2; 32])]);
    let site = PlaceStanding {
        bundle: BundleName::new("site").unwrap(),
        path: "/srv/site".to_owned(),
        trust: PlaceTrust::Publishers { keys, threshold: 1 },
        active: active.map(release),
        kept: active.map(release).into_iter().collect(),
        highest: active.map(release),
    };
    let place = |name, state| PlaceReport { name: PlaceName::new(name).unwrap(), state };
    PlacesReport {
        troubles: Vec::new(),
        places: vec![place("app", Err("writable by others".to_owned())), place("site", Ok(site))],
    }
}

#[test]
fn places_are_told_by_what_is_alike() {
    let fake = Fake::start();
    let host = |name| HostName::new(name).unwrap();
    let mut pinned = told(None);
    pinned.troubles.push("its directory cannot be read".to_owned());
    fake.tables().places =
        vec![(host("fe1"), told(Some(41))), (host("fe2"), told(Some(41))), (host("fe3"), pinned)];
    fake.run("orc places").is(
        0,
        "app                      -        fe[1-3] (3) disabled: writable by others\n\
         site                     41       fe[1-2] (2) /srv/site: takes site signed by 1 of 2; \
         has 41\n\
         site                     -        fe3 (1) /srv/site: takes site signed by 1 of 2\n\
         fe3: its directory cannot be read\n",
        "",
    );
    let places = fake.run("orc places site --json").json()["places"].clone();
    assert_eq!(places["heard"], "fe[1-3]");
    assert_eq!(places["places"][0]["standing"]["active"]["serial"], 41);
    assert_eq!(places["places"].as_array().unwrap().len(), 2);
    fake.tables().places.clear();
    fake.run("orc places").is(0, "", "no player has told its places yet\n");
    fake.tables().places = vec![(host("fe1"), PlacesReport::default())];
    fake.run("orc places").is(0, "", "no places\n");
}
