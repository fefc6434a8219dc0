//! What the CA writes, and what is refused of files before any handshake.

#![expect(clippy::unwrap_used, reason = "tests")]

mod common;

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, time::Instant};

use common::{CONDUCTOR, DOMAIN, Fleet, domain, mode};
use orchestra_ca::{AltName, Ca, CaError, LEAF_DAYS, Terms};
use orchestra_certs::{Credentials, LoadError, Role, Subject, TlsFiles, read_certificates};
use orchestra_model::HostName;
use x509_parser::{extensions::GeneralName, parse_x509_certificate};

fn load(files: &TlsFiles) -> Result<Credentials, LoadError> {
    Credentials::load(files, &domain())
}

#[test]
fn files_are_where_the_contract_says_and_closed_to_others() {
    let fleet = Fleet::new();
    let files = fleet.files(Role::Player, "db1.example.com");
    let ca = fleet.path("ca");
    assert_eq!(files.cert, ca.join("player/db1.example.com.pem"));
    assert_eq!(files.key, ca.join("player/db1.example.com.key"));
    for (name, wanted) in [
        ("", 0o700),
        ("ca.key", 0o600),
        ("ca.pem", 0o644),
        ("player", 0o700),
        ("player/db1.example.com.key", 0o600),
        ("player/db1.example.com.pem", 0o644),
    ] {
        assert_eq!(mode(&ca.join(name)), wanted, "{name}");
    }
    // Nothing half-made is left.
    assert_eq!(fs::read_dir(ca.join("player")).unwrap().count(), 2);
    assert_eq!(load(&files).unwrap().identity().name(), "db1.example.com");
}

#[test]
fn a_certificate_says_what_the_contract_says() {
    let fleet = Fleet::new();
    let subject = Subject::new(Role::Player, "db1").unwrap();
    let alt_names = ["db1.lan", "10.0.0.1"].map(|name| name.parse::<AltName>().unwrap());
    let terms = Terms { alt_names: alt_names.into(), ..Terms::default() };
    fleet.ca.save(&[fleet.ca.issue(&subject, &terms).unwrap()], false).unwrap();
    let der = &read_certificates(&fleet.ca.files(&subject).cert).unwrap()[0];
    let (_, cert) = parse_x509_certificate(der).unwrap();
    let names = &cert.subject_alternative_name().unwrap().unwrap().value.general_names;
    assert_eq!(
        *names,
        [
            GeneralName::URI("spiffe://example.com/player/db1"),
            GeneralName::DNSName("db1.lan"),
            GeneralName::IPAddress(&[10, 0, 0, 1]),
        ]
    );
    assert!(!cert.is_ca());
    let usage = cert.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.client_auth && !usage.server_auth);
    assert_eq!(cert.raw_serial().len(), 16);
    let days = cert.validity().time_to_expiration().unwrap().whole_days();
    assert!((i64::from(LEAF_DAYS) - 1..=i64::from(LEAF_DAYS)).contains(&days), "{days}");

    let der = &read_certificates(&fleet.path("ca/ca.pem")).unwrap()[0];
    let (_, authority) = parse_x509_certificate(der).unwrap();
    let constraints = authority.basic_constraints().unwrap().unwrap();
    assert!(constraints.critical && constraints.value.ca);
    assert_eq!(constraints.value.path_len_constraint, Some(0));
    let usage = authority.key_usage().unwrap().unwrap().value;
    assert!(usage.key_cert_sign() && usage.crl_sign() && !usage.digital_signature());
    assert_ne!(authority.raw_serial(), cert.raw_serial());
}

#[test]
fn an_opened_ca_issues_as_the_one_that_was_made() {
    let fleet = Fleet::new();
    let ca = Ca::open(&fleet.path("ca")).unwrap();
    assert_eq!(ca.domain().as_str(), DOMAIN);
    let subject = Subject::new(Role::Audience, "alice").unwrap();
    ca.save(&[ca.issue(&subject, &Terms::default()).unwrap()], false).unwrap();
    load(&ca.files(&subject)).unwrap();
}

#[test]
fn nothing_is_overwritten_unasked() {
    let fleet = Fleet::new();
    let error = Ca::init(&fleet.path("ca"), &domain()).unwrap_err();
    assert!(matches!(error, CaError::Exists(_)), "{error}");
    let old = fleet.files(Role::Player, "db1");
    let before = fs::read(&old.key).unwrap();
    let issued = ["db2", "db1"].map(|name| {
        fleet.ca.issue(&Subject::new(Role::Player, name).unwrap(), &Terms::default()).unwrap()
    });
    let error = fleet.ca.save(&issued, false).unwrap_err();
    assert!(matches!(error, CaError::Exists(_)), "{error}");
    assert_eq!(fs::read(&old.key).unwrap(), before);
    assert!(!fleet.path("ca/player/db2.pem").exists());
    fleet.ca.save(&issued, true).unwrap();
    assert_ne!(fs::read(&old.key).unwrap(), before);
}

#[test]
fn days_have_bounds() {
    let fleet = Fleet::new();
    let subject = Subject::new(Role::Player, "db1").unwrap();
    for days in [0, 3_654, u32::MAX] {
        let error = fleet.ca.issue(&subject, &Terms { days, ..Terms::default() }).unwrap_err();
        assert!(matches!(error, CaError::Days { .. }), "{error}");
    }
}

#[test]
fn an_open_directory_or_key_is_refused_with_the_remedy() {
    let open = tempfile::tempdir().unwrap();
    fs::set_permissions(open.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let error = Ca::init(open.path(), &domain()).unwrap_err().to_string();
    assert!(error.contains(&format!("chmod 0700 {}", open.path().display())), "{error}");

    let fleet = Fleet::new();
    let files = fleet.files(Role::Player, "db1");
    for open in [0o644, 0o640, 0o601, 0o4610] {
        fs::set_permissions(&files.key, fs::Permissions::from_mode(open)).unwrap();
        let error = load(&files).unwrap_err().to_string();
        assert!(error.contains(&format!("chmod 0600 {}", files.key.display())), "{error}");
        assert!(error.contains(&format!("{open:04o}")), "{error}");
    }
    fs::set_permissions(&files.key, fs::Permissions::from_mode(0o400)).unwrap();
    load(&files).unwrap();
    let key = fleet.path("ca/ca.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(matches!(Ca::open(&fleet.path("ca")), Err(CaError::Load(LoadError::KeyMode { .. }))));
}

#[test]
fn wrong_files_are_named() {
    let fleet = Fleet::new();
    let files = fleet.files(Role::Conductor, CONDUCTOR);
    let other = fleet.files(Role::Player, "db1");
    let empty = fleet.path("empty");
    private(&empty, "");
    let broken = fleet.path("broken");
    private(&broken, "-----BEGIN CERTIFICATE-----\n%%%\n-----END CERTIFICATE-----\n");
    let missing = fleet.path("missing");

    let error = load(&TlsFiles { key: other.key, ..files.clone() }).unwrap_err();
    assert!(matches!(error, LoadError::Mismatch { .. }), "{error}");
    for what in ["ca", "cert", "key", "crl"] {
        let with = |path: &Path| {
            let mut files = files.clone();
            match what {
                "ca" => files.ca = path.into(),
                "cert" => files.cert = path.into(),
                "key" => files.key = path.into(),
                _ => files.crl = Some(path.into()),
            }
            load(&files).unwrap_err()
        };
        assert!(matches!(with(&empty), LoadError::Nothing { .. }), "{what}: {}", with(&empty));
        assert!(with(&empty).to_string().contains("empty"), "{what}");
        assert!(matches!(with(&missing), LoadError::Read { .. }), "{what}: {}", with(&missing));
        if what == "ca" || what == "cert" {
            assert!(matches!(with(&broken), LoadError::Pem { .. }), "{what}: {}", with(&broken));
        }
    }
}

fn private(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

#[test]
fn our_own_certificate_is_judged_before_any_handshake() {
    let fleet = Fleet::new();
    let files = fleet.files(Role::Player, "db1");
    let other = HostName::new("other.org").unwrap();
    let error = Credentials::load(&files, &other).unwrap_err();
    assert!(matches!(error, LoadError::Identity { .. }), "{error}");

    let mut expired = rcgen::CertificateParams::default();
    expired.not_after = rcgen::date_time_ymd(2020, 2, 29);
    expired.subject_alt_names = vec![common::san_uri("spiffe://example.com/player/db1")];
    let key = rcgen::KeyPair::generate().unwrap();
    let cert = expired.signed_by(&key, &fleet.issuer()).unwrap();
    fs::write(&files.cert, cert.pem()).unwrap();
    let error = load(&files).unwrap_err();
    assert!(matches!(error, LoadError::Expired { .. }), "{error}");
    assert!(error.to_string().contains("2020-02-29T00:00:00Z"), "{error}");
}

#[test]
fn a_ca_that_is_not_ours_is_not_opened() {
    let (fleet, other) = (Fleet::new(), Fleet::new());
    let ca = fleet.path("ca");
    fs::copy(other.path("ca/ca.pem"), ca.join("ca.pem")).unwrap();
    assert!(matches!(Ca::open(&ca), Err(CaError::OtherKey(_))));
    let leaf = other.files(Role::Player, "db1");
    fs::copy(leaf.cert, ca.join("ca.pem")).unwrap();
    assert!(matches!(Ca::open(&ca), Err(CaError::NotOurs(_))));
}

#[test]
fn a_fleets_worth_is_quick() {
    let fleet = Fleet::new();
    let begin = Instant::now();
    let issued: Vec<_> = (0..118)
        .map(|n| Subject::new(Role::Player, &format!("host{n}")).unwrap())
        .map(|subject| fleet.ca.issue(&subject, &Terms::default()).unwrap())
        .collect();
    let made = begin.elapsed();
    fleet.ca.save(&issued, false).unwrap();
    eprintln!("118 certificates: made in {made:?}, saved after {:?}", begin.elapsed());
    assert_eq!(fs::read_dir(fleet.path("ca/player")).unwrap().count(), 2 * 118);
}
