//! Bundles that are delivered to places, activated, and taken back.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
};

use orchestra_ca::new_publisher;
use orchestra_model::AudienceName;
use serde_json::Value;

use crate::harness::{Fleet, eventually};

/// A fleet whose players take `site` from one publisher, out of a depot that all of them share.
struct Site {
    fleet: Fleet,
}

impl Site {
    /// `more` stands in the file of each place.
    fn new(players: &[&str], more: &str) -> Site {
        let fleet =
            Fleet::new(&players.join(",")).player_key("places_dir", "\"places.d\"").players_off();
        let fleet = fleet.player_key("depot_dir", "\"../../publishing/depot\"").start();
        let home = fleet.dir().join("publishing");
        fs::create_dir_all(home.join("site")).expect("a directory");
        new_publisher(&home, &AudienceName::new("release").expect("a name")).expect("a key");
        let key = fs::read_to_string(home.join("publisher/release.pub")).expect("it was made");
        for name in players {
            let dir = &fleet.player(name).dir;
            fs::create_dir(dir.join("places.d")).expect("a directory");
            let (key, path) = (key.trim_end(), dir.join("site"));
            let text = format!("publishers = ['{key}']\npath = '{}'\n{more}", path.display());
            fs::write(dir.join("places.d/site.toml"), text).expect("a file");
        }
        fleet.start_players();
        Site { fleet }
    }

    fn home(&self, name: &str) -> PathBuf {
        self.fleet.dir().join("publishing").join(name)
    }

    /// Publishes a release whose page says `text`.
    fn publish(&self, serial: u64, text: &str) {
        fs::write(self.home("site/index.html"), text).expect("a file");
        let (site, depot, key) =
            (self.home("site"), self.home("depot"), self.home("publisher/release.key"));
        let serial = serial.to_string();
        let words = ["bundle", "publish", "--name", "site", "--register", "--source", "p1"];
        let paths =
            [site.display().to_string(), depot.display().to_string(), key.display().to_string()];
        let [site, depot, key] = &paths;
        let more = [site, "--depot", depot, "--sign", key, "--serial", &serial];
        self.fleet.orc(&[&words[..], &more[..]].concat()).exits(0);
    }

    /// Submits a score for a bundle on every host, and waits: with this exit code.
    fn run(&self, score: &str, serial: u64, flags: &[&str], code: i32) -> u64 {
        let bundle = format!("bundle=site@{serial}");
        let words = [score, &bundle, "-w", "@all"];
        let flow = self.fleet.submitjob(&[&words[..], flags].concat()).exits(0).id();
        self.fleet.wait_flow(flow).exits(code);
        flow
    }

    /// What a host's place shows; `None` where it is switched to nothing.
    fn page(&self, player: &str) -> Option<String> {
        let page = self.fleet.player(player).dir.join("site/current/index.html");
        fs::read_to_string(page).ok()
    }

    /// What the conductor is told of a host's place.
    fn told(&self, player: &str) -> Value {
        let told = self.fleet.orc(&["places", "site", "-w", player, "--json"]).exits(0).json();
        told["places"]["places"][0]["standing"].clone()
    }

    fn why(&self, flow: u64) -> String {
        self.fleet.getstatus(&[&flow.to_string(), "--tasks"]).out
    }
}

fn serials(told: &Value) -> Vec<u64> {
    let of = |release: &Value| release["serial"].as_u64();
    told.as_array().into_iter().flatten().filter_map(of).collect()
}

#[test]
fn a_release_is_delivered_activated_and_taken_back() {
    let site = Site::new(&["p1", "p2"], "keep = 1\n");
    site.publish(41, "forty-one");
    site.publish(42, "forty-two");
    site.run("@deliver", 41, &[], 0);
    // It lies beside what is active, which is nothing yet.
    assert_eq!(site.page("p1"), None);
    site.run("@activate", 41, &["--parallel", "50%"], 0);
    assert_eq!(site.page("p2").as_deref(), Some("forty-one"));
    site.run("@deliver", 42, &[], 0);
    assert_eq!(site.page("p1").as_deref(), Some("forty-one"));
    site.run("@activate", 42, &[], 0);
    assert_eq!(site.page("p1").as_deref(), Some("forty-two"));
    eventually("the conductor to be told", || {
        let told = site.told("p1");
        (told["active"]["serial"] == 42 && serials(&told["kept"]) == [41, 42]).then_some(())
    });
    // The way back, and forward again.
    site.run("@activate", 41, &[], 0);
    assert_eq!(site.page("p2").as_deref(), Some("forty-one"));
    // Nothing older is delivered any more, and what is there stays.
    let flow = site.run("@deliver", 41, &[], 2);
    let why = site.why(flow);
    assert!(why.contains("its serial is 41, and the place has taken 42 already"), "{why}");
    // One more release: the active one and one beside it stay.
    site.publish(43, "forty-three");
    site.run("@deliver", 43, &[], 0);
    let kept =
        fs::read_dir(site.fleet.player("p1").dir.join("site/releases")).expect("it is there");
    let mut kept: Vec<String> =
        kept.flatten().map(|entry| entry.file_name().to_string_lossy()[..2].to_owned()).collect();
    kept.sort();
    assert_eq!(kept, ["41", "43"]);
    let flow = site.run("@activate", 42, &[], 2);
    assert!(site.why(flow).contains("it was not delivered there"), "{}", site.why(flow));
}

#[test]
fn what_no_place_takes_is_refused_before_anything_is_read() {
    let site = Site::new(&["p1"], "rollback = false\nmin_serial = 5\n");
    site.publish(4, "four");
    let flow = site.run("@deliver", 4, &[], 2);
    assert!(site.why(flow).contains("the place takes none below 5"), "{}", site.why(flow));
    // Nothing of the place was made for it.
    assert!(!site.fleet.player("p1").dir.join("site").exists());
    site.fleet
        .submitjob(&["@deliver", "bundle=site@9", "-w", "p1"])
        .exits(1)
        .complains("the bundle site@9 is not registered");
    for serial in [5, 6] {
        site.publish(serial, &format!("release {serial}"));
        site.run("@deliver", serial, &[], 0);
        site.run("@activate", serial, &[], 0);
    }
    let flow = site.run("@activate", 5, &[], 2);
    assert!(site.why(flow).contains("6 is active, and the place allows no way back"));
    // Its content is not here, and nobody is named who serves it.
    site.publish(7, "seven");
    let gone = fs::read_dir(site.home("depot")).expect("a depot").flatten();
    for bundle in gone.filter(|entry| entry.file_name().to_string_lossy().starts_with("sha256-")) {
        fs::remove_dir_all(bundle.path()).expect("it is ours");
    }
    let flow = site.run("@deliver", 7, &[], 2);
    let why =
        "it was registered to be at p1, and the conductor's players file names no relay there";
    assert!(site.why(flow).contains(why), "{}", site.why(flow));
    let flow = site.run("@deliver", 6, &["place=other"], 2);
    assert!(site.why(flow).contains("this host has no place other"), "{}", site.why(flow));
}

/// Flips a bit in the content of every bundle of a depot.
fn damage(depot: &Path) {
    for bundle in fs::read_dir(depot).expect("a depot").flatten() {
        let content = bundle.path().join("content");
        if let Ok(mut bytes) = fs::read(&content) {
            bytes[0] ^= 1;
            fs::write(&content, bytes).expect("it is ours");
        }
    }
}

#[test]
fn what_is_not_as_published_never_gets_there_and_what_is_active_stays() {
    let site = Site::new(&["p1"], "");
    site.publish(1, "one");
    site.run("@deliver", 1, &[], 0);
    site.run("@activate", 1, &[], 0);
    site.publish(2, "two");
    damage(&site.home("depot"));
    let flow = site.run("@deliver", 2, &[], 2);
    let told = site.fleet.orc(&["logs", &format!("{flow}@p1")]).exits(0);
    assert!(told.err.contains("is not what was published"), "{told}");
    assert_eq!(site.page("p1").as_deref(), Some("one"));
    let flow = site.run("@activate", 2, &[], 2);
    assert!(site.why(flow).contains("it was not delivered there"), "{}", site.why(flow));
    damage(&site.home("depot"));
    // What a process that was killed left behind is removed, whatever it is.
    let releases = site.fleet.player("p1").dir.join("site/releases");
    fs::create_dir_all(releases.join(".new-killed/inner")).expect("a directory");
    fs::set_permissions(releases.join(".new-killed/inner"), fs::Permissions::from_mode(0o000))
        .expect("it is ours");
    let elsewhere = site.home("elsewhere");
    fs::create_dir(&elsewhere).expect("a directory");
    fs::write(elsewhere.join("kept"), "").expect("a file");
    symlink(&elsewhere, releases.join(".old-link")).expect("a link");
    site.run("@deliver", 2, &[], 0);
    site.run("@activate", 2, &[], 0);
    assert_eq!(site.page("p1").as_deref(), Some("two"));
    assert!(elsewhere.join("kept").exists(), "nothing outside of the place is removed");
    let left: Vec<_> = fs::read_dir(&releases).expect("it is there").flatten().collect();
    assert_eq!(left.len(), 2, "{left:?}");
}

#[test]
fn a_release_that_its_owner_swapped_for_a_link_is_not_activated() {
    let site = Site::new(&["p1"], "");
    site.publish(1, "one");
    site.run("@deliver", 1, &[], 0);
    let releases = site.fleet.player("p1").dir.join("site/releases");
    let release =
        fs::read_dir(&releases).expect("it is there").flatten().next().expect("one").path();
    fs::rename(&release, releases.join(".aside")).expect("it is ours");
    symlink("/etc", &release).expect("a link");
    let flow = site.run("@activate", 1, &[], 2);
    let told = site.fleet.orc(&["logs", &format!("{flow}@p1")]).exits(0);
    assert!(told.err.contains("is not there any more, deliver it again"), "{told}");
    assert_eq!(site.page("p1"), None);
    // Delivered again it is whole again, and the link is gone.
    site.run("@deliver", 1, &[], 0);
    site.run("@activate", 1, &[], 0);
    assert_eq!(site.page("p1").as_deref(), Some("one"));
    assert!(Path::new("/etc/passwd").exists());
}
