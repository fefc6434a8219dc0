//! Places of hosts: what a player says of its own, and says anew when it has looked again.

use std::{fs, path::Path};

use rustix::process::Signal;

use crate::harness::{Fleet, eventually};

/// The file of a place in `path`, for a publisher's key.
fn file(key: &str, path: &Path) -> String {
    format!("publishers = ['{key}']\npath = '{}'\n", path.display())
}

#[test]
fn places_are_told_and_told_anew_after_a_look() {
    let fleet = Fleet::new("p[1-2]").player_key("places_dir", "\"places.d\"").players_off().start();
    let key = "ed25519-0000000000000000000000000000000000000000000000000000000000000001";
    for name in ["p1", "p2"] {
        let dir = fleet.player(name).dir.join("places.d");
        fs::create_dir(&dir).expect("a directory");
        let place = fleet.player(name).dir.join("site");
        fs::write(dir.join("site.toml"), file(key, &place)).expect("a file");
        fs::write(dir.join("bad.toml"), file(key, Path::new("/etc/orchestra/x"))).expect("a file");
    }
    for name in ["p1", "p2"] {
        fleet.player(name).sitter.start();
    }
    fleet.wait_attached(&["p1", "p2"]);
    let told = || fleet.orc(&["places", "--json"]).exits(0).json()["places"].clone();
    let places = told();
    assert_eq!(places["heard"], "p[1-2]");
    let bad = &places["places"][0];
    let why = bad["disabled"].as_str().unwrap_or_default();
    assert!(bad["name"] == "bad" && bad["hosts"] == "p[1-2]", "{places}");
    assert!(why.contains("/etc/orchestra"), "{places}");
    assert!(places["places"][1]["standing"]["active"].is_null(), "{places}");

    fs::remove_file(fleet.player("p1").dir.join("places.d/site.toml")).expect("it is there");
    fleet.player("p1").sitter.signal(Signal::HUP);
    eventually("p1 to tell that the place is gone", || {
        let held = told()["places"].as_array().cloned().unwrap_or_default();
        let site: Vec<_> = held.iter().filter(|place| place["name"] == "site").collect();
        (site.len() == 1 && site[0]["hosts"] == "p2").then_some(())
    });
}
