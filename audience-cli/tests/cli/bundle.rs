//! `orc bundle`: no conductor is there to be asked, but for what is registered.

use std::{fs, os::unix::fs::symlink, path::Path, process::Stdio};

use orchestra_ca::new_publisher;
use orchestra_model::{
    AudienceName, BundleName, ByteSize, FlowId, HostName, Timestamp,
    bundle::{BundleRelease, BundleSerial, PlaceReport, PlaceStanding, PlaceTrust, PlacesReport},
    names::PlaceName,
    relay::{FetchStage, FetchStatus},
};
use serde_json::json;
use tempfile::TempDir;

use crate::fake::{Fake, Ran, bare, ran};

/// A home with a site to publish, and the keys of two publishers in `publisher/`.
fn home() -> TempDir {
    let home = tempfile::tempdir().unwrap();
    fs::create_dir_all(home.path().join("site/css")).unwrap();
    fs::write(home.path().join("site/index.html"), "<h1>one</h1>").unwrap();
    fs::write(home.path().join("site/css/a.css"), "h1 {}").unwrap();
    symlink("css/a.css", home.path().join("site/style.css")).unwrap();
    for name in ["one", "two"] {
        new_publisher(home.path(), &AudienceName::new(name).unwrap()).unwrap();
    }
    home
}

fn orc(home: &Path, line: &str) -> Ran {
    let mut words = vec!["bundle"];
    words.extend(line.split(' '));
    words.extend(["--depot", "depot"]);
    let mut command = bare("orc", &words, home);
    ran(command.current_dir(home).env("ORCHESTRA_DOMAIN", "example.com"))
}

/// Publishes, and returns what is told on standard output without its line end.
#[track_caller]
fn publish(home: &Path, flags: &str) -> String {
    let done = orc(home, &format!("publish site --name site {flags}"));
    assert_eq!(done.code, 0, "{done:?}");
    done.stdout.trim_end().to_owned()
}

fn key(home: &Path, name: &str) -> String {
    let text = fs::read_to_string(home.join(format!("publisher/{name}.pub"))).unwrap();
    text.trim_end().to_owned()
}

#[test]
fn a_bundle_is_published_shown_and_verified() {
    let home = home();
    let home = home.path();
    let told = publish(home, "--sign publisher/one.key --expires 90d");
    let id = told.strip_prefix("site@1 ").unwrap();
    let shown = orc(home, "show site --entries");
    let start = format!("bundle   site@1\nid       {id}\ndomain   example.com\nexpires  20");
    assert!(shown.stdout.starts_with(&start), "{shown:?}");
    let end = format!(
        "entries  4, of which 2 are files\nsize     17B, of which 0B are holes\n\
         chunks   1 of 256KiB\nsigned   {}\n\
         0755         -  css/\n0644        5B  css/a.css\n0644       12B  index.html\n\
         link         -  style.css -> css/a.css\n",
        key(home, "one")
    );
    assert!(shown.stdout.ends_with(&end), "{}", shown.stdout);
    let told = orc(home, "show site --entries --json").json();
    assert_eq!(told["bundle"]["tree"][3]["target"], "css/a.css");
    assert_eq!(told["bundle"]["id"], id);
    assert!(orc(home, "show site --json").json()["bundle"]["tree"].is_null());
    orc(home, "verify").is(0, &format!("ok site@1 {id}: 17B, signed by 1\n"), "");
    let listed = orc(home, "list");
    assert_eq!((listed.code, listed.stdout.lines().count()), (0, 2), "{listed:?}");
    assert!(listed.stdout.ends_with(&format!("site@1 {id}\n")), "{listed:?}");
    assert_eq!(orc(home, "list --json").json()["bundles"][0]["bundle"]["serial"], 1);
}

#[test]
fn publishers_sign_together() {
    let home = home();
    let home = home.path();
    let unsigned = orc(home, "publish site --name site");
    assert_eq!(unsigned.stderr, "nobody has signed it; orc bundle sign does\n");
    let asked = format!(
        "verify site --publisher {} --publisher {} --threshold 2",
        key(home, "one"),
        key(home, "two")
    );
    let missing = orc(home, &asked);
    assert_eq!(missing.code, 2, "{missing:?}");
    assert!(missing.stdout.contains("2 of the given publishers have not"), "{missing:?}");
    assert_eq!(orc(home, "sign site@1 publisher/one.key").code, 0);
    let signed = orc(home, "sign site@1 publisher/two.key --json").json();
    assert_eq!(signed["signed"]["signed_by"].as_array().unwrap().len(), 2);
    let judged = orc(home, &format!("{asked} --json"));
    assert_eq!(judged.code, 0, "{judged:?}");
    assert_eq!(judged.json()["verified"][0]["publishers"].as_array().unwrap().len(), 2);
}

/// What was changed in the depot is named, and nobody signs it.
#[test]
fn a_flipped_bit_is_named_and_not_signed() {
    let home = home();
    let home = home.path();
    let told = publish(home, "--sign publisher/one.key");
    let id = told.strip_prefix("site@1 ").unwrap();
    let content = home.join("depot").join(id).join("content");
    let mut bytes = fs::read(&content).unwrap();
    bytes[7] ^= 1;
    fs::write(&content, bytes).unwrap();
    let wrong = format!(
        "wrong site@1 {id}\n  the data of index.html is not what was published\n  \
         chunk 1 of its content, in css/a.css, is not what was published\n"
    );
    orc(home, "verify site").is(2, &wrong, "");
    let judged = orc(home, "verify --json").json();
    assert_eq!(
        (&judged["verified"][0]["ok"], &judged["verified"][0]["wrong"]),
        (&false.into(), &2.into())
    );
    orc(home, "sign site publisher/two.key")
        .fails(2, &["signing sha256-", "the data of index.html"]);
    fs::remove_file(home.join("depot").join(id).join("seal")).unwrap();
    let damaged = orc(home, "verify");
    assert!(damaged.code == 2 && damaged.stdout.starts_with("wrong sha256-"), "{damaged:?}");
    let listed = orc(home, "list --json").json();
    assert!(listed["bundles"][0]["damaged"].as_str().unwrap().contains("seal"), "{listed}");
    assert!(orc(home, "list").stdout.contains("damaged sha256-"));
}

#[test]
fn a_bundle_is_unpacked_if_those_have_signed_who_are_asked_for() {
    let home = home();
    let home = home.path();
    let told = publish(home, "--sign publisher/one.key");
    let asked = |name: &str| format!("unpack site new --publisher {}", key(home, name));
    orc(home, &asked("two")).fails(2, &["unpacking sha256-", "1 of the given publishers have not"]);
    orc(home, &asked("one")).is(0, &format!("{told}\n"), "");
    assert_eq!(fs::read_to_string(home.join("new/style.css")).unwrap(), "h1 {}");
    orc(home, "unpack site new").fails(64, &["new is there already, and nothing is replaced"]);
    let free = orc(home, "unpack site free");
    assert_eq!(free.stderr, "nobody was asked who published it; --publisher KEY does\n");
    let told = orc(home, "unpack site other --json").json();
    assert_eq!(told["unpacked"]["directory"], "other");
    publish(home, "--expires 1ms");
    let refused = orc(home, "unpack site late");
    refused.fails(2, &["it expired at ", "the clock of this machine says"]);
    assert!(!home.join("late").exists());
}

#[test]
fn a_place_says_what_is_taken() {
    let home = home();
    let home = home.path();
    let told = publish(home, "--sign publisher/one.key");
    let place = |text: &str| {
        let publisher = key(home, "one");
        fs::write(home.join("site.toml"), format!("publishers = ['{publisher}']\n{text}")).unwrap();
    };
    place("");
    let link = "style.css is a link, which the place does not allow";
    orc(home, "unpack site new --place site.toml").fails(2, &["unpacking sha256-", link]);
    let judged = orc(home, "verify --place site.toml");
    assert_eq!(judged.stdout, format!("wrong {told}\n  {link}\n"));
    assert!(!home.join("new").exists());
    for (text, said) in [
        ("name = 'other'", "the place takes bundles called other, and this one is called site"),
        ("min_serial = 2", "its serial is 1; the place takes none below 2"),
        ("max_size = '16B'", "its files are 17B together; the place takes 16B"),
        ("max_files = 3", "it has 4 entries; the place takes 3"),
    ] {
        place(&format!("symlinks = 'inside'\n{text}"));
        orc(home, "unpack site new --place site.toml").fails(2, &[said]);
    }
    place("symlinks = 'inside'");
    let mut foreign = bare(
        "orc",
        &["bundle", "unpack", "site", "new", "--place", "site.toml", "--depot", "depot"],
        home,
    );
    let refused = ran(foreign.current_dir(home).env("ORCHESTRA_DOMAIN", "example.org"));
    refused.fails(2, &["it was published for the fleet example.com, and this is example.org"]);
    orc(home, "unpack site new --place site.toml").is(0, &format!("{told}\n"), "");
    let judged = orc(home, "verify --place site.toml --json");
    assert!(judged.code == 0 && judged.json()["verified"][0]["ok"] == true, "{judged:?}");
    place("executable = 'yes'");
    orc(home, "unpack site x --place site.toml")
        .fails(64, &["reading the place site.toml", "line 2: executable: expected true or false"]);
    let both = format!("unpack site x --place site.toml --publisher {}", key(home, "one"));
    orc(home, &both).fails(64, &["cannot be used with"]);
}

/// A killed tool leaves the directory whole or not there.
#[test]
fn a_killed_unpacking_leaves_nothing_that_looks_whole() {
    let home = home();
    let home = home.path();
    for n in 0..300 {
        fs::write(home.join(format!("site/f{n}")), vec![b'x'; 10_000]).unwrap();
    }
    publish(home, "--sign publisher/one.key");
    fs::create_dir(home.join("place")).unwrap();
    let begun = || {
        let entries = fs::read_dir(home.join("place")).unwrap();
        entries.filter(|it| it.as_ref().unwrap().path().is_dir()).count()
    };
    for n in 0..5 {
        let target = home.join(format!("place/{n}"));
        let words = ["bundle", "unpack", "site", target.to_str().unwrap(), "--depot", "depot"];
        let before = begun();
        let mut child = bare("orc", &words, home)
            .current_dir(home)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        while begun() == before && child.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        if target.exists() {
            assert_eq!(fs::read_dir(&target).unwrap().count(), 303);
        }
    }
}

#[test]
fn two_bundles_are_compared_and_old_ones_removed() {
    let home = home();
    let home = home.path();
    let first = publish(home, "--sign publisher/one.key");
    fs::write(home.join("site/index.html"), "<h1>two</h1>").unwrap();
    fs::write(home.join("site/new"), "new").unwrap();
    fs::remove_file(home.join("site/style.css")).unwrap();
    publish(home, "--sign publisher/one.key");
    orc(home, "diff site@1 site").is(
        0,
        "content    index.html\nadded      new\nremoved    style.css\n",
        "3 entries are different and 2 alike; 15B are in files that the earlier one does not have\n",
    );
    assert_eq!(orc(home, "diff site@1 site@2 --json").json()["bundle_diff"]["new_bytes"], 15);
    let (line, said) = (format!("{first}\n"), "1 bundles and 0 unfinished ones");
    orc(home, "gc --keep 1 --plan").is(0, &line, &format!("{said} would be removed; 1 stay\n"));
    orc(home, "gc --keep 1").is(0, &line, &format!("{said} were removed; 1 stay\n"));
    assert_eq!(orc(home, "gc --keep 1 --json").json()["collected"]["kept"], 1);
    orc(home, "show site@1")
        .fails(8, &["there is no bundle site@1 in the depot", "orc bundle list"]);
}

#[test]
fn a_bundle_that_is_pinned_stays_until_it_is_unpinned() {
    let home = home();
    let home = home.path();
    let first = publish(home, "--sign publisher/one.key");
    for text in ["two", "three"] {
        fs::write(home.join("site/index.html"), text).unwrap();
        publish(home, "--sign publisher/one.key");
    }
    orc(home, "pin site@1").is(0, &format!("{first}\n"), "");
    orc(home, "pin site@1").is(0, &format!("{first}\n"), "it was so already\n");
    let listed = orc(home, "list").stdout;
    assert_eq!(listed.matches(" pinned\n").count(), 1, "{listed}");
    let told = orc(home, "gc --keep 1 --json").json();
    assert_eq!(told["collected"]["removed"][0]["serial"], 2);
    assert_eq!((&told["collected"]["kept"], &told["collected"]["pinned"]), (&2.into(), &1.into()));
    orc(home, "verify site@1").is(0, &format!("ok {first}: 17B, signed by 1\n"), "");
    assert_eq!(orc(home, "unpin site@1 --json").json()["pin"]["pinned"], false);
    assert_eq!(orc(home, "gc --keep 1 --json").json()["collected"]["removed"][0]["serial"], 1);
    orc(home, "pin site@1").fails(8, &["there is no bundle site@1 in the depot"]);
}

#[test]
fn what_cannot_be_published_is_told_with_what_helps() {
    let home = home();
    let home = home.path();
    symlink("/etc/passwd", home.join("site/passwd")).unwrap();
    orc(home, "publish site --name site")
        .fails(64, &["publishing site: passwd: the link leads to an absolute path", "--exclude"]);
    let told = orc(home, "publish site --name site --exclude passwd --exclude *.o --json").json();
    assert_eq!(told["published"]["excluded"], 1);
    assert_eq!(told["published"]["idle_patterns"][0], "*.o");
    for (line, said) in [
        (
            "publish site --name site --serial 1 --exclude passwd --exclude index.html",
            "site@1 is in the depot already",
        ),
        ("publish none --name site", "reading the directory none: No such file or directory"),
        ("publish site --name sITE", "names of bundles are lower case"),
        ("publish site --name sha256-0", "it begins like the id of a bundle"),
        ("publish site --name site --serial 0", "expected a serial"),
        ("publish site --name site --exclude ../x", "expected a pattern"),
        ("publish site --name site --xattr security.capability", "others carry rights"),
        ("publish site --name site --sign none.key", "orchestra-certs publisher --dir DIR NAME"),
        ("publish site --name site --sign site/index.html", "private key"),
        ("show sha256-12", "8 to 64 hexadecimal digits"),
        ("verify site --publisher ed25519-12", "expected ed25519- and 64 hexadecimal digits"),
        ("verify site --threshold 2", "--publisher"),
        ("gc --keep 0", "expected a whole number"),
    ] {
        let line = match line.starts_with("publish") && !line.contains("exclude") {
            true => format!("{line} --exclude passwd"),
            false => line.to_owned(),
        };
        let refused = orc(home, &line);
        assert_eq!(refused.code, 64, "{line}: {refused:?}");
        assert!(refused.stderr.contains(said), "{line}: {refused:?}");
    }
    let mut without = bare("orc", &["bundle", "publish", "site", "--name", "site"], home);
    let refused = ran(without.current_dir(home));
    refused.fails(64, &["finding the domain of the fleet: not configured: --domain"]);
}

#[test]
fn a_bundle_is_registered_listed_and_found() {
    let fake = Fake::start();
    let home = home();
    let path = |name: &str| home.path().join(name).display().to_string();
    let flags = format!("--depot {} --source build1", path("depot"));
    let (site, key) = (path("site"), path("publisher/one.key"));
    let publish = format!("orc bundle publish {site} --name site --register --sign {key} {flags}");
    let told = fake.run(&publish);
    assert_eq!(told.code, 0, "{told:?}");
    let id = told.stdout.trim_end().strip_prefix("site@1 ").unwrap().to_owned();
    let again = fake.run(&format!("orc bundle register site {flags}"));
    again.is(0, &told.stdout, "it was registered already\n");
    let listed = fake.run("orc bundle list --registered");
    listed.is(0, &format!("site@1 {id}: signed by 1, copies at build1\n"), "");
    let listed = fake.run("orc bundle list --registered --json").json();
    assert_eq!(listed["registered_bundles"][0]["bundle"]["id"], *id);
    let release = BundleRelease { serial: BundleSerial::FIRST, id: id.parse().unwrap() };
    let place = PlaceReport {
        name: PlaceName::new("site").unwrap(),
        state: Ok(PlaceStanding {
            bundle: BundleName::new("site").unwrap(),
            path: "/srv/site".to_owned(),
            trust: PlaceTrust::Pins([release.id].into()),
            active: Some(release),
            kept: vec![release],
            highest: Some(release),
        }),
    };
    let report = PlacesReport { troubles: Vec::new(), places: vec![place] };
    fake.tables().places = vec![(HostName::new("fe1").unwrap(), report.clone())];
    let found = fake.run("orc bundle where site@1");
    assert!(found.stdout.ends_with("copies    build1\nactive    site on fe1 (1)\n"), "{found:?}");
    // Places that differ in something else are told together; and who fetches, how far they are.
    let mut elsewhere = report.clone();
    if let Ok(standing) = &mut elsewhere.places[0].state {
        standing.path = "/opt/site".to_owned();
    }
    fake.tables().places.push((HostName::new("fe2").unwrap(), elsewhere));
    let host = |name: &str| HostName::new(name).unwrap();
    let fetch = |name: &str, source: Option<&str>, rate| FetchStatus {
        host: host(name),
        bundle: release.id,
        flow: FlowId(43),
        stage: FetchStage::Fetching,
        here: ByteSize(29 << 20),
        content: ByteSize(64 << 20),
        rate,
        source: source.map(host),
        left: if source.is_none() { "fe1: busy".to_owned() } else { String::new() },
        at: Timestamp(1),
    };
    fake.tables().fetches = vec![fetch("fe3", Some("fe1"), 12 << 20), fetch("fe4", None, 0)];
    let found = fake.run("orc bundle where site@1");
    let end = "active    site on fe[1-2] (2)\n\
               arriving  fe3 29.0MiB of 64.0MiB from fe1, 12.0MiB/s, 3s left\n\
               arriving  fe4 29.0MiB of 64.0MiB, nobody serves it: fe1: busy\n";
    assert!(found.stdout.ends_with(end), "{found:?}");
    fake.tables().places.pop();
    let found = fake.run("orc bundle where site --json").json()["whereabouts"].clone();
    assert_eq!(found["fetches"][0]["bytes_per_second"], 12 << 20);
    assert_eq!(
        (&found["places"][0]["hosts"], &found["places"][0]["active"]),
        (&json!("fe1"), &json!(true))
    );
    fake.run("orc bundle where site@2").fails(8, &["no such bundle is registered"]);
}
