//! `orc doctor`: each trouble with what mends it.

use std::{
    fs,
    time::{SystemTime, UNIX_EPOCH},
};

use orchestra_model::{status::ConductorStatus, time::Timestamp};

use crate::{
    fake::{Fake, Ran, bare, ran},
    orc::conductor,
};

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Timestamp(u64::try_from(since.as_millis()).unwrap())
}

/// Runs it against a conductor with this status, and with other variables.
fn doctor(fake: &Fake, status: ConductorStatus, variables: &[(&str, &str)]) -> Ran {
    fake.tables().status = Some(status);
    ran(fake.command("orc", &["doctor"]).envs(variables.iter().copied()))
}

fn healthy() -> ConductorStatus {
    let version = env!("CARGO_PKG_VERSION").to_owned();
    let ends = Some(Timestamp(now().0 + 90 * 86_400_000));
    ConductorStatus {
        now: Some(now()),
        certificate_ends: ends,
        version,
        reload_error: None,
        store_error: None,
        ..conductor()
    }
}

#[test]
fn what_is_in_order_is_told_line_by_line() {
    let fake = Fake::start();
    let ran = doctor(&fake, healthy(), &[]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let lines: Vec<&str> = ran.stdout.lines().collect();
    let address = fake.address();
    let begins = [
        format!("ok     settings: {address}, as conductor.cli.test of cli.test"),
        "ok     certificate of spiffe://cli.test/audience/alice, until ".to_owned(),
        format!("ok     {address} is 127.0.0.1"),
        format!("ok     {address} answers: "),
        "ok     the clocks of both ends agree".to_owned(),
    ];
    assert_eq!(lines.len(), begins.len(), "{ran:?}");
    assert!(lines.iter().zip(&begins).all(|(line, begin)| line.starts_with(begin)), "{ran:?}");
    let json = ran_json(&fake);
    assert_eq!((&json["doctor"]["in_order"], &json["schema"]), (&true.into(), &1.into()));
}

fn ran_json(fake: &Fake) -> serde_json::Value {
    fake.tables().status = Some(healthy());
    fake.run("orc doctor --json").json()
}

#[test]
fn trouble_of_the_conductor_is_told_with_what_shows_more() {
    let fake = Fake::start();
    let status = ConductorStatus {
        now: Some(Timestamp(now().0 - 3_600_000)),
        certificate_ends: Some(Timestamp(now().0 + 86_400_000)),
        certificates_ending: 2,
        stale_store: Some("players know of more".to_owned()),
        ..healthy()
    };
    let ran = doctor(&fake, status, &[]);
    assert_eq!(ran.code, 1, "{ran:?}");
    for part in [
        " behind ours\n       mend: set the wrong one",
        "note   the conductor's certificate ends at ",
        "note   certificates of 2 others end soon\n       mend: orc players --expiring",
        "note   the conductor tells of trouble of its own\n       mend: orc conductor status",
    ] {
        assert!(ran.stdout.contains(part), "{part}: {ran:?}");
    }
}

#[test]
fn without_settings_it_says_which_are_missing() {
    let home = tempfile::tempdir().unwrap();
    let ran = ran(&mut bare("orc", &["doctor", "--conductor", "c:1"], home.path()));
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(
        ran.stdout.contains("wrong  reaching the conductor: not configured: --domain"),
        "{ran:?}"
    );
    assert!(ran.stdout.contains("       mend: give them so, or write "), "{ran:?}");
}

#[test]
fn each_file_that_is_wrong_and_each_name_is_told_at_once() {
    let fake = Fake::start();
    let wrong = fake.home().join("wrong.pem");
    fs::write(&wrong, "nothing\n").unwrap();
    let missing = fake.home().join("missing.key");
    let variables = [
        ("ORCHESTRA_CA", wrong.to_str().unwrap()),
        ("ORCHESTRA_KEY", missing.to_str().unwrap()),
        ("ORCHESTRA_CONDUCTOR", "no-such-host.invalid:1"),
    ];
    let ran = doctor(&fake, healthy(), &variables);
    assert_eq!(ran.code, 1, "{ran:?}");
    for part in [
        "wrong.pem holds no CA certificate in PEM form\n       mend: bring the file anew",
        "missing.key: ",
        "wrong  no-such-host.invalid:1 has no address",
        "note   no conductor is asked before certificate and key are in order\n",
    ] {
        assert!(ran.stdout.contains(part), "{part}: {ran:?}");
    }
}

#[test]
fn nobody_who_listens_and_another_conductor_are_told_apart() {
    let fake = Fake::start();
    // A port that is taken, and at which nobody listens.
    let silent = tokio::net::TcpSocket::new_v4().unwrap();
    silent.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let ran = doctor(&fake, healthy(), &[("ORCHESTRA_CONDUCTOR", &address)]);
    assert_eq!(ran.code, 11, "{ran:?}");
    assert!(ran.stdout.contains("       mend: is the conductor running, and is this"), "{ran:?}");
    let ran = doctor(&fake, healthy(), &[("ORCHESTRA_CONDUCTOR_NAME", "other.cli.test")]);
    assert_eq!(ran.code, 11, "{ran:?}");
    assert!(ran.stdout.contains("       mend: is this the conductor that is meant?"), "{ran:?}");
}
