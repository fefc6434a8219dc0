use std::{
    collections::BTreeSet,
    os::unix::fs::{PermissionsExt, chown, symlink},
};

use orchestra_model::bundle::{BundleId, BundleSerial};

use super::*;

const KEY: &str = "ed25519-0000000000000000000000000000000000000000000000000000000000000001";

/// A host: the player's own directories in `own`, and room for places in `srv`.
struct World {
    temp: tempfile::TempDir,
    config: Config,
}

impl World {
    fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        for name in ["own", "own/places.d", "own/scores", "own/spool", "srv"] {
            std::fs::create_dir(temp.path().join(name)).unwrap();
        }
        let text = "conductors = ['c:1']\nconductor_name = 'c'\ndomain = 'd'\nscores_dir = 'scores'\n\
                    places_dir = 'places.d'\nspool_dir = 'spool'\ntask_user = 'self'\n\
                    agent_user = 'self'\n[tls]\nca = 'ca'\ncert = 'cert'\nkey = 'key'\n";
        let config = Config::parse(&temp.path().join("own/player.toml"), text).unwrap();
        Self { temp, config }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.temp.path().join(name)
    }

    /// Writes the file of a place whose directory is `path`, and which says more.
    fn place(&self, name: &str, path: &str, more: &str) {
        let path = self.path(path);
        let path = path.display();
        let text = format!("publishers = ['{KEY}']\npath = '{path}'\n{more}\n");
        std::fs::write(self.path(&format!("own/places.d/{name}.toml")), text).unwrap();
        self.chmod(&format!("own/places.d/{name}.toml"), 0o644);
    }

    fn chmod(&self, name: &str, mode: u32) {
        std::fs::set_permissions(self.path(name), PermissionsExt::from_mode(mode)).unwrap();
    }

    fn scan(&self, before: &LocalPlaces) -> LocalPlaces {
        LocalPlaces::scan(&self.config, &mut Users::default(), before)
    }

    /// Why a place takes nothing; empty if it is in order.
    fn verdict(&self, name: &str) -> String {
        told(&self.scan(&LocalPlaces::default()), name)
            .replace(self.temp.path().to_str().unwrap(), "WORLD")
    }
}

fn told(places: &LocalPlaces, name: &str) -> String {
    let report = places.report();
    let place = report.places.into_iter().find(|place| place.name.as_str() == name).unwrap();
    place.state.err().unwrap_or_default()
}

#[test]
fn a_place_is_in_order_before_anything_is_there() {
    let world = World::new();
    world.place("site", "srv/site", "");
    assert_eq!(world.verdict("site"), "");
    std::fs::create_dir(world.path("srv/site")).unwrap();
    assert_eq!(world.verdict("site"), "");
}

#[test]
fn a_place_is_wrong_in_each_way_in_which_a_score_can_be() {
    let world = World::new();
    std::fs::create_dir_all(world.path("srv/a/site")).unwrap();
    world.place("site", "srv/a/site", "");
    let others = "can be written by its group or by everybody";
    for (name, mode, why) in [
        ("own/places.d/site.toml", 0o664, format!("its file {others} (mode 0664)")),
        ("own/places.d", 0o777, format!("its directory {others} (mode 0777)")),
        ("own", 0o775, format!("its directory lies in WORLD/own, which {others} (mode 0775)")),
        ("srv/a/site", 0o770, format!("WORLD/srv/a/site {others} (mode 0770)")),
        (
            "srv/a",
            0o777,
            format!("WORLD/srv/a/site lies in WORLD/srv/a, which {others} (mode 0777)"),
        ),
    ] {
        world.chmod(name, mode);
        assert_eq!(world.verdict("site"), why, "{name}");
        world.chmod(name, if name.ends_with(".toml") { 0o644 } else { 0o755 });
    }
    assert_eq!(world.verdict("site"), "");
    if rustix::process::geteuid().is_root() {
        for name in ["own/places.d/site.toml", "srv/a/site", "srv/a"] {
            chown(world.path(name), Some(12_345), None).unwrap();
            let why = world.verdict("site");
            assert!(why.contains("belongs to user 12345, who is neither root"), "{name}: {why}");
            chown(world.path(name), Some(0), None).unwrap();
        }
    }
    for (more, why) in [
        ("owner = 'no-such-user-here'", "its owner: there is no user no-such-user-here"),
        ("keep = 0", "line 3: keep: 0: expected a whole number from 1 to 64"),
        ("kep = 1", "line 3: unknown field \"kep\"; did you mean keep?"),
    ] {
        world.place("site", "srv/a/site", more);
        assert_eq!(world.verdict("site"), why);
    }
    std::fs::remove_file(world.path("own/places.d/site.toml")).unwrap();
    std::fs::create_dir(world.path("own/places.d/site.toml")).unwrap();
    assert_eq!(world.verdict("site"), "its file is not a regular file");
    std::fs::remove_dir(world.path("own/places.d/site.toml")).unwrap();
    symlink("/etc/passwd", world.path("own/places.d/site.toml")).unwrap();
    assert_eq!(world.verdict("site"), "its file is a link that leaves its directory");
}

#[test]
fn a_place_has_to_have_where_it_can_be() {
    let world = World::new();
    world.place("none", "srv/no/site", "");
    assert_eq!(world.verdict("none"), "WORLD/srv/no cannot be entered: entity not found");
    std::fs::write(world.path("srv/file"), "").unwrap();
    world.place("file", "srv/file", "");
    assert_eq!(world.verdict("file"), "WORLD/srv/file cannot be entered: not a directory");
    symlink("nowhere", world.path("srv/link")).unwrap();
    world.place("link", "srv/link", "");
    assert_eq!(world.verdict("link"), "WORLD/srv/link is a link that leads nowhere");
    // Who can write where it will be could be there first.
    std::fs::create_dir(world.path("srv/open")).unwrap();
    world.chmod("srv/open", 0o1777);
    world.place("open", "srv/open/site", "");
    assert_eq!(
        world.verdict("open"),
        "WORLD/srv/open can be written by its group or by everybody (mode 1777)"
    );
}

#[test]
fn a_place_that_overlaps_something_takes_nothing() {
    let world = World::new();
    std::fs::create_dir_all(world.path("srv/a/b")).unwrap();
    for (path, what) in [
        ("own/scores", "the scores (WORLD/own/scores)"),
        ("own/scores/x", "the scores (WORLD/own/scores)"),
        ("own", "the scores (WORLD/own/scores)"),
        ("own/places.d/x", "the files of places (WORLD/own/places.d)"),
        ("own/spool", "the spool (WORLD/own/spool)"),
        ("own/cert", "the player's certificates (WORLD/own/cert)"),
    ] {
        world.place("site", path, "");
        assert_eq!(world.verdict("site"), format!("it overlaps {what}"), "{path}");
    }
    world.place("site", "srv/a", "");
    symlink("a/b", world.path("srv/other")).unwrap();
    world.place("app", "srv/other", "");
    world.place("free", "srv/free", "");
    assert_eq!(world.verdict("site"), "it overlaps the place app (WORLD/srv/a/b)");
    assert_eq!(world.verdict("app"), "it overlaps the place site (WORLD/srv/a)");
    assert_eq!(world.verdict("free"), "");
}

#[test]
fn what_a_place_has_is_told() {
    let world = World::new();
    world.place("site", "srv/site", "");
    std::fs::create_dir_all(world.path("srv/site/releases")).unwrap();
    let why = world.verdict("site");
    assert!(why.starts_with("its record .orchestra is gone"), "{why}");
    let release = |serial| BundleRelease {
        serial: BundleSerial::new(serial).unwrap(),
        id: BundleId([serial as u8; 32]),
    };
    let kept = BTreeSet::from([release(41), release(42)]);
    let record = PlaceRecord { highest: Some(release(42)), kept, pending: None };
    std::fs::write(world.path("srv/site/.orchestra"), record.encode()).unwrap();
    world.chmod("srv/site/.orchestra", 0o644);
    symlink(format!("releases/{}", release(41)), world.path("srv/site/current")).unwrap();
    let report = world.scan(&LocalPlaces::default()).report();
    let standing = report.places[0].state.clone().unwrap();
    assert_eq!(standing.active, Some(release(41)));
    assert_eq!(standing.kept, [release(41), release(42)]);
    assert_eq!(standing.highest, Some(release(42)));
    world.chmod("srv/site/.orchestra", 0o666);
    assert!(world.verdict("site").contains("alone can write"));
    world.chmod("srv/site/.orchestra", 0o644);
    std::fs::write(world.path("srv/site/.orchestra"), "x\n").unwrap();
    let why = "its record .orchestra cannot be used: it does not begin as the record of a place";
    assert_eq!(world.verdict("site"), why);
    std::fs::write(world.path("srv/site/.orchestra"), record.encode()).unwrap();
    std::fs::remove_file(world.path("srv/site/current")).unwrap();
    symlink("../elsewhere", world.path("srv/site/current")).unwrap();
    assert_eq!(world.verdict("site"), "its link current leads to no release of its own");
}

#[test]
fn places_whose_directory_vanishes_are_told_as_disabled() {
    let world = World::new();
    // Where nothing ever was, nothing is demanded.
    std::fs::remove_dir(world.path("own/places.d")).unwrap();
    assert_eq!(world.scan(&LocalPlaces::default()).report(), PlacesReport::default());
    std::fs::create_dir(world.path("own/places.d")).unwrap();
    world.place("site", "srv/site", "");
    let before = world.scan(&LocalPlaces::default());
    assert_eq!(told(&before, "site"), "");
    std::fs::remove_dir_all(world.path("own/places.d")).unwrap();
    let gone = world.scan(&before);
    for places in [&gone, &world.scan(&gone)] {
        let why = told(places, "site");
        assert!(why.contains("cannot be read: "), "{why}");
        assert_eq!(places.counts(), (1, 1));
        assert_eq!(places.report().troubles.len(), 1);
    }
    std::fs::create_dir(world.path("own/places.d")).unwrap();
    world.place("site", "srv/site", "");
    assert_eq!(told(&world.scan(&gone), "site"), "");
}

#[test]
fn files_that_are_no_places_are_told() {
    let world = World::new();
    world.place("site", "srv/site", "");
    for name in ["Site.toml", "app.conf", ".hidden.toml", "site.toml.rpmsave", "site.toml~"] {
        std::fs::write(world.path("own/places.d").join(name), "").unwrap();
    }
    let mut troubles = world.scan(&LocalPlaces::default()).report().troubles;
    troubles.sort();
    assert_eq!(troubles.len(), 2, "{troubles:?}");
    assert!(troubles[0].starts_with("Site.toml can be no place's: place name"), "{troubles:?}");
    assert_eq!(troubles[1], "app.conf does not end in .toml");
}
