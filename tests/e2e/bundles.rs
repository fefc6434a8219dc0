//! Bundles that the conductor knows.

use std::fs;

use orchestra_ca::new_publisher;
use orchestra_model::AudienceName;

use crate::harness::Fleet;

/// Makes a publisher's key and a site, and returns where both are.
fn site(fleet: &Fleet) -> (String, String, String) {
    let home = fleet.dir().join("publishing");
    fs::create_dir_all(home.join("site")).expect("a directory");
    fs::write(home.join("site/index.html"), "<h1>one</h1>").expect("a file");
    new_publisher(&home, &AudienceName::new("release").expect("a name")).expect("a key");
    let text = |name: &str| home.join(name).display().to_string();
    (text("site"), text("publisher/release.key"), text("depot"))
}

#[test]
fn a_bundle_is_registered_once_and_remembered_over_a_crash() {
    let fleet = Fleet::new("p1").start();
    let (site, key, depot) = site(&fleet);
    let publish = |serial: &str, depot: &str| {
        let flags = ["--serial", serial, "--sign", &key, "--depot", depot, "--source", "p1"];
        let line = [&["bundle", "publish", &site, "--name", "site", "--register"], &flags[..]];
        fleet.orc(&line.concat())
    };
    publish("41", &depot).exits(0);
    publish("42", &depot).exits(0);
    fleet.crash_conductor();
    let told = fleet.orc(&["bundle", "list", "--registered", "--json"]).exits(0).json();
    let told = told["registered_bundles"].as_array().cloned().unwrap_or_default();
    let serials: Vec<_> = told.iter().map(|one| one["bundle"]["serial"].clone()).collect();
    assert_eq!(serials, [41, 42]);
    assert_eq!((&told[0]["by"], &told[0]["sources"][0]), (&"alice".into(), &"p1".into()));
    fleet.orc(&["bundle", "where", "site@42"]).exits(0).says("copies    p1");
    fleet.orc(&["bundle", "where", "other"]).exits(8).complains("no such bundle is registered");
    // Said again it is no news, and is not on record twice.
    fleet.orc(&["bundle", "register", "site@42", "--depot", &depot, "--source", "p1"]).exits(0);
    let audit = fleet.orc(&["audit", "--verb", "bundle-register", "--json"]).exits(0).json();
    assert_eq!(audit["audit"].as_array().map(Vec::len), Some(2), "{audit}");
    // One name and serial is one bundle, wherever the other one was made.
    fs::write(format!("{site}/index.html"), "<h1>two</h1>").expect("a file");
    let other = format!("{depot}-of-another");
    publish("42", &other).exits(1).complains("one name and serial is one bundle");
}
