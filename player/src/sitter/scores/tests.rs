use std::os::unix::fs::{PermissionsExt, chown, symlink};

use super::*;

fn fs_write(path: &Path, text: &str, mode: u32) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
}

/// A directory with one score, below two others.
struct World {
    temp: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let world = World { temp: tempfile::tempdir().unwrap() };
        std::fs::create_dir_all(world.path("a/b/scores")).unwrap();
        fs_write(&world.path("a/b/scores/good"), "#!/bin/sh\n", 0o755);
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.temp.path().join(name)
    }

    fn chmod(&self, name: &str, mode: u32) {
        std::fs::set_permissions(self.path(name), PermissionsExt::from_mode(mode)).unwrap();
    }

    /// Returns why the score `good` in a directory may not run; empty if it may.
    fn verdict(&self, directory: &str) -> String {
        let scores = Scores::scan(&self.path(directory), &Scores::default()).unwrap();
        match scores.get(&ScoreName::new("good").unwrap()) {
            Ok(_) => String::new(),
            Err(Unavailable::Disabled(why)) => {
                why.replace(self.temp.path().to_str().unwrap(), "WORLD")
            }
            Err(Unavailable::Unknown) => panic!("it is not there"),
        }
    }
}

#[test]
fn every_directory_on_the_way_is_judged() {
    let world = World::new();
    assert_eq!(world.verdict("a/b/scores"), "");
    let why = "can be written by its group or by everybody";
    for (name, mode) in [("a", 0o775), ("a/b", 0o757)] {
        world.chmod(name, mode);
        let told = world.verdict("a/b/scores");
        assert_eq!(
            told,
            format!("its directory lies in WORLD/{name}, which {why} (mode {mode:04o})")
        );
        world.chmod(name, 0o755);
    }
    // A sticky directory is accepted on the way, and only there.
    world.chmod("a", 0o1777);
    assert_eq!(world.verdict("a/b/scores"), "");
    world.chmod("a/b/scores", 0o1777);
    assert_eq!(world.verdict("a/b/scores"), format!("its directory {why} (mode 1777)"));
    world.chmod("a/b/scores", 0o755);
    assert_eq!(world.verdict("a/b/scores"), "");
}

#[test]
fn a_link_on_the_way_is_judged_with_all_that_it_leads_through() {
    let world = World::new();
    symlink("b", world.path("a/relative")).unwrap();
    symlink(world.path("a/b/scores"), world.path("absolute")).unwrap();
    symlink("a/b/scores/.", world.path("dotted")).unwrap();
    symlink("a/relative/../b/scores", world.path("chain")).unwrap();
    symlink("loop", world.path("loop")).unwrap();
    std::fs::create_dir(world.path("loose")).unwrap();
    symlink("../a/b/scores", world.path("loose/in")).unwrap();
    world.chmod("loose", 0o777);
    for way in ["a/relative/scores", "absolute", "dotted", "chain", "a/../a/b/./scores"] {
        assert_eq!(world.verdict(way), "", "{way}");
    }
    for way in ["loose/in", "loose/../a/b/scores"] {
        assert!(
            world.verdict(way).starts_with("its directory lies in WORLD/loose, which"),
            "{way}"
        );
    }
    let error = Scores::scan(&world.path("loop"), &Scores::default()).unwrap_err();
    assert!(error.to_string().starts_with("reading the scores directory"));
    world.chmod("a", 0o777);
    for way in ["absolute", "chain"] {
        assert!(world.verdict(way).starts_with("its directory lies in WORLD/a, which"), "{way}");
    }
    world.chmod("a", 0o755);
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::lchown(world.path("absolute"), Some(65_534), None).unwrap();
        let told = world.verdict("absolute");
        let start = "its directory is reached through the link WORLD/absolute, which belongs to user \
                     65534";
        assert!(told.starts_with(start), "{told}");
        chown(world.path("a/b"), Some(65_534), None).unwrap();
        let told = world.verdict("chain");
        assert!(
            told.starts_with("its directory lies in WORLD/a/b, which belongs to user"),
            "{told}"
        );
    }
}

#[test]
fn what_editors_and_package_managers_leave_is_no_score() {
    let world = World::new();
    let left = "good.rpmsave good.rpmnew good.rpmorig good.dpkg-old good.dpkg-dist good.dpkg-new \
                good.ucf-old good.bak good.orig good.swp .good.swp good~ #good# good.pacnew \
                good.bak.conf good.conf.rpmsave good.conf.dpkg-old good.conf~";
    for name in left.split(' ') {
        fs_write(&world.path("a/b/scores").join(name), "#!/bin/sh\n", 0o755);
    }
    let scores = Scores::scan(&world.path("a/b/scores"), &Scores::default()).unwrap();
    let names: Vec<String> = scores.offers().iter().map(|offer| offer.name.to_string()).collect();
    assert_eq!(names, ["good"]);
    for name in ["backup", "orig", "install.sh", "dpkg-update", "swp"] {
        assert!(score_name(name).is_some(), "{name}");
    }
}

#[test]
fn a_conf_without_its_score_is_told() {
    let world = World::new();
    fs_write(&world.path("a/b/scores/goood.conf"), "timeout = \"1s\"\n", 0o644);
    std::fs::create_dir(world.path("a/b/scores/dir")).unwrap();
    fs_write(&world.path("a/b/scores/dir.conf"), "", 0o644);
    let scores = Scores::scan(&world.path("a/b/scores"), &Scores::default()).unwrap();
    for (name, why) in [
        ("goood", "there is no such file beside its .conf"),
        ("dir", "has a .conf but is not a regular file"),
    ] {
        match scores.get(&ScoreName::new(name).unwrap()) {
            Err(Unavailable::Disabled(told)) => assert!(told.starts_with(why), "{told}"),
            other => panic!("{name}: {other:?}"),
        }
    }
    assert_eq!(world.verdict("a/b/scores"), "");
}

#[test]
fn a_score_that_nothing_can_run_is_disabled_with_what_is_missing() {
    let world = World::new();
    fs_write(&world.path("a/b/scores/good"), "#!/opt/none/python9\n", 0o755);
    let told = world.verdict("a/b/scores");
    assert!(told.starts_with("its interpreter /opt/none/python9 is not there"), "{told}");
    fs_write(&world.path("a/b/scores/good"), "#!/bin/sh\r\necho hi\r\n", 0o755);
    assert!(world.verdict("a/b/scores").contains("carriage return"));
}
