//! `player --check`: whatever a start would stumble over is told, all of it, and nothing is made.

#![expect(clippy::unwrap_used, reason = "a test says so by failing")]

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    process::{Command, Stdio},
};

use orchestra_ca::{Ca, Terms};
use orchestra_certs::{Role, Subject};
use orchestra_model::HostName;
use tempfile::TempDir;

const CONF: &str = "\
conductors = [\"conductor.example.com:2258\"]
conductor_name = \"conductor.example.com\"
domain = \"example.com\"
scores_dir = \"scores\"
places_dir = \"places\"
depot_dir = \"depot\"
spool_dir = \"spool\"
run_dir = \"run\"
services_dir = \"services\"
agent_user = \"self\"
task_user = \"self\"
[tls]
ca = \"ca/ca.pem\"
cert = \"ca/player/fe1.example.com.pem\"
key = \"ca/player/fe1.example.com.key\"
";

/// A configuration in a directory of its own, with a score.
struct Place(TempDir);

impl Place {
    fn new() -> Place {
        let place = Place(tempfile::tempdir().unwrap());
        let ca = Ca::init(&place.path("ca"), &HostName::new("example.com").unwrap()).unwrap();
        let own = Subject::new(Role::Player, "fe1.example.com").unwrap();
        ca.save(&[ca.issue(&own, &Terms::default()).unwrap()], false).unwrap();
        fs::create_dir(place.path("scores")).unwrap();
        place.write("scores/hello", "#!/bin/sh\n", 0o755);
        place.write("player.toml", CONF, 0o644);
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str, mode: u32) {
        fs::write(self.path(name), text).unwrap();
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(mode)).unwrap();
    }

    /// The exit code and what is told.
    fn check(&self) -> (i32, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_player"));
        command.arg("--check").arg("--config").arg(self.path("player.toml"));
        let output = command.stdin(Stdio::null()).output().unwrap();
        let told = String::from_utf8(output.stdout).unwrap();
        let told = told.replace(&self.0.path().display().to_string(), "DIR");
        (output.status.code().unwrap(), told)
    }
}

#[test]
fn what_is_in_order_is_told_and_nothing_is_made() {
    let place = Place::new();
    let (code, told) = place.check();
    for part in [
        "ok     DIR/player.toml\n",
        "ok     agent_user: self (uid ",
        "ok     certificate of spiffe://example.com/player/fe1.example.com, until ",
        "ok     run_dir: DIR/run, made when it is needed\n",
        "ok     spool: DIR/spool: none yet, the start makes it\n",
        "ok     scores in DIR/scores: 1\n",
        "ok     places in DIR/places: 0\n",
        "\nin order\n",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert_eq!(code, 0, "{told}");
    assert!(!place.path("spool").exists() && !place.path("run").exists());
}

#[test]
fn every_mistake_is_told_with_what_mends_it() {
    let place = Place::new();
    let conf = CONF.replace("task_user = \"self\"", "task_user = \"no-such-user-here\"");
    let conf = conf.replace("[tls]", "cgroup = \"/nowhere\"\n[tls]");
    place.write("player.toml", &conf, 0o644);
    place.write("ca/player/fe1.example.com.key", "no key\n", 0o600);
    place.write("scores/open", "#!/bin/sh\n", 0o777);
    place.write("scores/lone.conf", "timeout = \"1s\"\n", 0o644);
    place.write("scores/hello.conf", "user = \"no-such-user-here\"\n", 0o644);
    fs::create_dir(place.path("places")).unwrap();
    place.write("places/site.toml", "publishers = []\npath = \"/x\"\n", 0o644);
    place.write("places/site", "", 0o644);
    fs::create_dir(place.path("run")).unwrap();
    fs::set_permissions(place.path("run"), fs::Permissions::from_mode(0o777)).unwrap();
    fs::create_dir(place.path("spool")).unwrap();
    fs::set_permissions(place.path("spool"), fs::Permissions::from_mode(0o755)).unwrap();
    let (code, told) = place.check();
    assert_eq!(code, 1, "{told}");
    for part in [
        "wrong  task_user: there is no user no-such-user-here\n       mend: make the user",
        "wrong  DIR/ca/player/fe1.example.com.key holds no private key in PEM form\n       mend: ",
        "wrong  run_dir: others may write to run_dir DIR/run\n       mend: chown ",
        "wrong  cgroup: /nowhere is not in a cgroup v2 file system\n       mend: name a directory",
        "wrong  spool DIR/spool has mode 0755, others may enter it; mend it with: chmod 0700",
        "wrong  score lone: there is no such file beside its .conf",
        "wrong  score open: can be written by its group or by everybody (mode 0777)",
        "wrong  score hello: its .conf names a user: there is no user no-such-user-here\n",
        "wrong  places: site does not end in .toml\n       mend: mend or remove it",
        "wrong  place site: line 1: publishers: expected 1 to 64 of them\n       mend: mend or",
        "\nnot in order\n",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
}

#[test]
fn a_depot_is_looked_at_where_bundles_are_taken() {
    let place = Place::new();
    fs::create_dir(place.path("places")).unwrap();
    fs::create_dir(place.path("srv")).unwrap();
    let path = place.path("srv/site").display().to_string();
    let pin = format!("sha256-{}", "a".repeat(64));
    place.write("places/site.toml", &format!("pins = ['{pin}']\npath = '{path}'\n"), 0o644);
    let (code, told) = place.check();
    assert!(code == 0 && told.contains("ok     depot DIR/depot\n"), "{told}");
    place.write("depot", "", 0o644);
    let (code, told) = place.check();
    let wrong =
        "wrong  depot DIR/depot: DIR/depot is no directory\n       mend: make it with `install";
    assert!(code == 1 && told.contains(wrong), "{told}");
}

#[test]
fn a_score_without_its_limits_is_told_as_the_player_will() {
    let place = Place::new();
    place.write("scores/careful", "#!/bin/sh\n", 0o755);
    fs::create_dir(place.path("spool")).unwrap();
    fs::set_permissions(place.path("spool"), fs::Permissions::from_mode(0o700)).unwrap();
    place.write("spool/confs", "careful\n", 0o600);
    let (code, told) = place.check();
    assert!(
        code == 1 && told.contains("wrong  score careful: its .conf: is gone or empty"),
        "{told}"
    );
}

#[test]
fn a_file_that_cannot_be_read_is_all_there_is_to_tell() {
    let place = Place::new();
    fs::remove_file(place.path("player.toml")).unwrap();
    let (code, told) = place.check();
    let expected = "wrong  reading configuration DIR/player.toml: ";
    assert!(code == 1 && told.starts_with(expected) && told.contains("mend: write it"), "{told}");
}
