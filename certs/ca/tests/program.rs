//! The program, as an administrator meets it.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::{
    path::Path,
    process::{Command, Output},
};

use orchestra_certs::Publisher;
use orchestra_model::foreign;

fn run(directory: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_orchestra-certs"))
        .args(arguments)
        .current_dir(directory)
        .output()
        .unwrap()
}

fn check(directory: &Path, arguments: &[&str], code: i32, said: &str) -> String {
    let output = run(directory, arguments);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {stderr}");
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(format!("{stdout}{stderr}").contains(said), "{arguments:?}: {stdout}{stderr}");
    stdout
}

#[test]
fn a_fleet_is_made_in_three_commands() {
    let directory = tempfile::tempdir().unwrap();
    let check = |arguments: &[&str], code, said| check(directory.path(), arguments, code, said);
    check(&["init", "--dir", "ca", "--domain", "example.com"], 0, "ca/ca.pem is for every host");
    let issued = check(
        &["issue", "--dir", "ca", "conductor", "conductor.example.com", "--san", "127.0.0.1"],
        0,
        "ca/conductor/conductor.example.com.pem",
    );
    assert_eq!(issued, "");
    check(&["issue", "--dir", "ca", "player", "db[1-3]"], 0, "issued 3 certificates");
    let shown = check(&["show", "ca/player/db2.pem"], 0, "");
    assert!(shown.starts_with("identity  spiffe://example.com/player/db2\nserial    "), "{shown}");
    assert!(shown.contains("\nvalid     20") && shown.contains("Z to 20"), "{shown}");
    assert!(shown.ends_with("\nnames     URI:spiffe://example.com/player/db2\n"), "{shown}");
    let shown = check(&["show", "ca/conductor/conductor.example.com.pem"], 0, "");
    assert!(shown.ends_with(", IP:127.0.0.1\n"), "{shown}");
    check(&["show", "ca/ca.pem"], 0, "identity  none: a CA");
}

#[test]
fn what_ends_soon_is_listed_and_renewed() {
    let directory = tempfile::tempdir().unwrap();
    let check = |arguments: &[&str], code, said| check(directory.path(), arguments, code, said);
    check(&["init", "--dir", "ca", "--domain", "example.com"], 0, "");
    check(&["issue", "--dir", "ca", "player", "db[1-3]", "--days", "20"], 0, "");
    check(&["issue", "--dir", "ca", "player", "fe1"], 0, "");
    check(&["issue", "--dir", "ca", "conductor", "c", "--days", "9", "--san", "127.0.0.1"], 0, "");
    check(&["revoke", "--dir", "ca", "ca/player/db3.pem"], 0, "");
    let listed = |arguments: &[&str]| -> Vec<(String, String, String)> {
        let told = check(&[&["list", "--dir", "ca"], arguments].concat(), 0, "");
        let words = told.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        words.map(|words| (words[1].to_owned(), words[3].to_owned(), words[4].to_owned())).collect()
    };
    let names = |listed: &[(String, String, String)]| -> Vec<String> {
        listed.iter().map(|(name, standing, _)| format!("{name} {standing}")).collect()
    };
    let before = listed(&[]);
    let all = ["c valid", "db1 valid", "db2 valid", "db3 revoked", "fe1 valid"];
    assert_eq!(names(&before), all);
    assert_eq!(names(&listed(&["--within", "10"])), ["c valid"]);

    let renewed = check(&["renew", "--dir", "ca"], 0, "player/db3 is revoked and not renewed");
    assert_eq!(renewed, "conductor/c\nplayer/db1\nplayer/db2\n");
    assert_eq!(names(&listed(&["--within", "30"])), ["db3 revoked"]);
    let shown = check(&["show", "ca/conductor/c.pem"], 0, "");
    assert!(shown.ends_with(", IP:127.0.0.1\n"), "further names stay: {shown}");
    let after = listed(&[]);
    assert_ne!(before[0].2, after[0].2, "it is another certificate");
    assert_eq!(before[4], after[4]);
    check(&["renew", "--dir", "ca", "player", "fe1"], 0, "renewed 1 certificates");
    assert_ne!(listed(&[])[4], after[4]);
    check(
        &["renew", "--dir", "ca", "player", "fe[1-2]"],
        64,
        "orchestra-certs issue --dir ca player fe2",
    );
}

#[test]
fn failures_have_their_codes_and_hints() {
    let directory = tempfile::tempdir().unwrap();
    let check = |arguments: &[&str], code, said| check(directory.path(), arguments, code, said);
    check(&["issue", "--dir", "ca", "player", "db1"], 1, "hint: orchestra-certs init");
    check(&["init", "--dir", "ca", "--domain", "x"], 0, "");
    check(&["init", "--dir", "ca", "--domain", "x"], 1, "hint: a CA is never replaced");
    check(&["issue", "--dir", "ca", "player", "ca"], 0, "");
    check(&["issue", "--dir", "ca", "player", "ca"], 1, "hint: --force replaces it");
    check(&["issue", "--dir", "ca", "player", "ca", "--force"], 0, "");
    for usage in [
        &["issue", "--dir", "ca", "player", "db[1-"][..],
        &["issue", "--dir", "ca", "player", ""],
        &["issue", "--dir", "ca", "player", "../x"],
        &["issue", "--dir", "ca", "audience", "Alice"],
        &["issue", "--dir", "ca", "audience", "../../etc/x"],
        &["issue", "--dir", "ca", "admin", "x"],
        &["issue", "--dir", "ca", "player", "db1", "--days", "0"],
        &["issue", "--dir", "ca", "player", "db[1-2]", "--san", "x"],
        &["init", "--dir", "y", "--domain", "X"],
        &["show", "ca/ca.key"],
        &["unknown"],
        &[],
    ] {
        check(usage, 64, "");
    }
    check(&["show", "missing"], 1, "missing");
}

/// Paths of a script are somebody else's words, also where they are told as an unknown argument.
#[test]
fn what_a_terminal_obeys_is_written_out() {
    let directory = tempfile::tempdir().unwrap();
    for (arguments, code) in [(&["\u{1b}]0;x\u{7}"][..], 64), (&["show", "\u{1b}[2J\u{202e}"], 1)] {
        let output = run(directory.path(), arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("\\u{1b}"), "{said:?}");
        assert!(said.chars().all(|c| c == '\n' || foreign::is_plain(c)), "{said:?}");
    }
}

#[test]
fn help_fits_a_screen_and_shows_two_examples() {
    let directory = tempfile::tempdir().unwrap();
    let help = check(directory.path(), &["--help"], 0, "Examples:");
    assert!(help.lines().count() <= 24, "{help}");
    assert_eq!(help.matches("\n  orchestra-certs ").count(), 2, "{help}");
    for command in ["init", "issue", "renew", "list", "revoke", "publisher", "show"] {
        let help = check(directory.path(), &[command, "--help"], 0, "");
        assert!(help.lines().count() <= 24, "{help}");
    }
}

#[test]
fn a_publishers_key_is_made_once_and_signs() {
    let directory = tempfile::tempdir().unwrap();
    let check = |arguments: &[&str], code, said| check(directory.path(), arguments, code, said);
    let key = check(&["publisher", "--dir", "keys", "release"], 0, "keys/publisher/release.key");
    let private = directory.path().join("keys/publisher/release.key");
    let publisher = Publisher::load(&private).unwrap();
    assert_eq!(key, format!("{}\n", publisher.key()));
    let public = directory.path().join("keys/publisher/release.pub");
    assert_eq!(std::fs::read_to_string(public).unwrap(), key);
    check(&["publisher", "--dir", "keys", "release"], 1, "hint: a publisher's key is never");
    check(&["publisher", "--dir", "keys", "../x"], 64, "audience name");
    assert_eq!(Publisher::load(&private).unwrap().key(), publisher.key());
    // A key of a certificate signs no bundles.
    check(&["init", "--dir", "ca", "--domain", "x"], 0, "");
    let other = Publisher::load(&directory.path().join("ca/ca.key")).unwrap_err().to_string();
    assert!(other.contains("is no Ed25519 key"), "{other}");
}
