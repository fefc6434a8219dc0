//! `conductor --check`: whatever a start would stumble over is told, all of it, and nothing is made.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    process::{Command, Stdio},
};

use orchestra_ca::{Ca, Terms};
use orchestra_certs::{Role, Subject};
use orchestra_model::HostName;

use crate::harness::{CONDUCTOR, Conductor, DOMAIN, Place};

/// Checks a place, and returns the exit code with what is told.
fn check(place: &Place, arguments: &[&str]) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_conductor"));
    command.arg("--check").arg("--config-dir").arg(place.dir()).args(arguments);
    let output = command.stdin(Stdio::null()).output().unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    (output.status.code().unwrap(), told.replace(&place.dir().display().to_string(), "DIR"))
}

#[test]
fn what_is_in_order_is_told_and_nothing_is_made() {
    let place = Place::new("db[1-2] app=db\nfe1\n");
    place.write("groups.toml", "front = \"fe1\"\n");
    let (code, told) = check(&place, &["--new-store"]);
    let listed: Vec<&str> =
        told.lines().map(|line| line.split(" until ").next().unwrap()).collect();
    let expected = [
        "ok     DIR/conductor.toml",
        "ok     listen: 127.0.0.1:0",
        "ok     certificate of spiffe://loopback.test/conductor/conductor.loopback.test,",
        "note   no revocation list is named (tls.crl), so nobody can be revoked",
        "ok     store in DIR/state: none yet, the start makes it",
        "ok     players: 3, groups: 1, deployments: 0, services: 0",
        "note   policy: open, so every audience may do everything",
        "       mend: write policy.toml, and remove `policy` from conductor.toml",
        "in order",
    ];
    assert_eq!((code, listed.as_slice()), (0, &expected[..]));
    assert!(!place.path("state").exists());
    let (code, told) = check(&place, &[]);
    assert!(
        code == 1 && told.contains("mend: mount what belongs there, or for the first"),
        "{told}"
    );
}

#[test]
fn a_conductor_may_run_meanwhile() {
    let place = Place::new("db1\n");
    let conductor = Conductor::start(&place);
    place.configure_with(&conductor.address, CONDUCTOR, "");
    let (code, told) = check(&place, &[]);
    assert!(code == 0 && told.contains("ok     store in DIR/state\n"), "{told}");
}

#[test]
fn every_mistake_is_told_with_what_mends_it() {
    let place = Place::new("db1\n");
    place.configure("[limits]\nmax = 3\n");
    place.write("players", "db[1-\ndb2 x\n");
    let (code, told) = check(&place, &["--new-store"]);
    assert_eq!(code, 1, "{told}");
    for part in [
        "wrong  DIR/conductor.toml is not valid: line ",
        "unknown field \"max\"",
        "       mend: give each key what it needs",
        "wrong  DIR/players: 2 problems\n",
        "         line 1: the host set is wrong: host set \"db[1-\"",
        "         line 2: \"x\" is not a label",
        "       mend: a line is HOSTS [KEY=VALUE]...",
        "note   not looked at before that is mended: groups.toml, deployments.d, services.d, policy.toml",
        "\nnot in order\n",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
}

#[test]
fn each_file_of_a_certificate_is_looked_at_by_itself() {
    let place = Place::new("db1\n");
    let key = place.path(&format!("ca/conductor/{CONDUCTOR}.key"));
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(place.path("ca/ca.pem"), "nothing\n").unwrap();
    place.configure_with("192.0.2.1:0", CONDUCTOR, "");
    let (code, told) = check(&place, &["--new-store"]);
    assert_eq!(code, 1, "{told}");
    for part in [
        "wrong  listen: 192.0.2.1:0: ",
        "wrong  DIR/ca/ca.pem holds no CA certificate in PEM form\n       mend: bring the file anew",
        ".key is open to others (mode 0644); mend it: chmod 0600 ",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
}

#[test]
fn a_certificate_of_another_authority_or_name_is_told() {
    let place = Place::new("db1\n");
    let other = Ca::init(&place.path("other"), &HostName::new(DOMAIN).unwrap()).unwrap();
    let subject = Subject::new(Role::Conductor, CONDUCTOR).unwrap();
    other.save(&[other.issue(&subject, &Terms::default()).unwrap()], false).unwrap();
    fs::copy(place.path("other/ca.pem"), place.path("ca/ca.pem")).unwrap();
    let (code, told) = check(&place, &["--new-store"]);
    let why = ".pem was not issued by the CA of DIR/ca/ca.pem; bring both from";
    assert!(code == 1 && told.contains(why), "{told}");

    let place = Place::new("db1\n");
    place.configure_with("127.0.0.1:0", "other.loopback.test", "");
    let (code, told) = check(&place, &["--new-store"]);
    assert!(code == 1 && told.contains("but conductor.toml makes this spiffe://"), "{told}");
}

#[test]
fn a_check_takes_no_flags_of_a_start() {
    let place = Place::new("db1\n");
    assert_eq!(check(&place, &["--allow-removal"]).0, 64);
    assert_eq!(check(&place, &["--what"]).0, 64);
}
