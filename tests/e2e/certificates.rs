//! Who may speak to whom: what the wrong certificate gets, on both ends.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    sync::Arc,
};

use orchestra_ca::{Ca, Terms};
use orchestra_certs::{Role, Subject};
use orchestra_harness::credulous;
use orchestra_model::HostName;
use rustls::{
    ClientConfig, ClientConnection, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
    sign::{CertifiedKey, SingleCertAndKey},
};

use crate::harness::{DOMAIN, Fleet, Player, Ran, eventually};

#[test]
fn a_client_without_a_certificate_is_refused() {
    let fleet = Fleet::new("p1").start();
    let refusal = refusal_of_a_raw_client(&fleet, None);
    assert!(refusal.contains("CertificateRequired"), "{refusal}");
    the_conductor_says(&fleet, "the peer has no certificate");
}

#[test]
fn a_tool_with_a_certificate_of_another_ca_is_refused() {
    let fleet = Fleet::new("p1").start();
    let stranger = Stranger::new(&fleet, "another-ca", DOMAIN);
    let ran = stranger.tool(&fleet, Role::Audience, "mallory").exits(1);
    ran.complains("it is not of a CA that the peer knows");
    the_conductor_says(&fleet, "the peer's certificate is not of our CA");
}

#[test]
fn a_tool_that_does_not_know_the_ca_refuses_the_conductor() {
    let fleet = Fleet::new("p1").start();
    let stranger = Stranger::new(&fleet, "another-ca", DOMAIN);
    let ca = stranger.directory.join("ca.pem").display().to_string();
    let ran = fleet.tool("getstatus", &[]).env("ORCHESTRA_CA", &ca).run().exits(1);
    ran.complains("the peer's certificate is not of our CA");
}

#[test]
fn a_tool_of_another_domain_is_refused() {
    let fleet = Fleet::new("p1").start();
    // Our key signs for another domain: an authority that serves two.
    let stranger = Stranger::of_our_key(&fleet, "other.test");
    let ran = stranger.tool(&fleet, Role::Audience, "mallory").exits(64);
    ran.complains("spiffe://other.test/audience/mallory, and the domain here is e2e.test");
    // The tool said so by itself; the conductor does not rely on it.
    let files = stranger.issue(Role::Audience, "mallory-2");
    let refusal = refusal_of_a_raw_client(&fleet, Some(&files));
    assert!(refusal.contains("CertificateUnknown"), "{refusal}");
    the_conductor_says(&fleet, "other.test");
}

#[test]
fn a_players_certificate_is_none_for_a_tool() {
    let fleet = Fleet::new("p1").start();
    for arguments in [&["flows"][..], &["cancel", "1"], &["conductor", "recover"]] {
        let ran = fleet.tool_as("player", "p1", "orc", arguments).run().exits(6);
        ran.complains("has the role player");
    }
    let ran = fleet.tool_as("player", "p1", "submitjob", &["hello", "-w", "p1"]).run().exits(6);
    ran.complains("has the role player");
    the_conductor_says(&fleet, "the role may not call this");
    assert_eq!(fleet.orc(&["flows"]).exits(0).out, "");
}

#[test]
fn an_audiences_certificate_is_none_for_a_player() {
    let fleet = Fleet::new("p1").start();
    let double = fleet.double_of("p1");
    replace_certificate(&double, &fleet.dir().join("ca/audience/alice"));
    double.sitter.start();
    assert!(!double.sitter.wait().success());
    let log = double.sitter.log();
    assert!(log.contains("alice, which is no player"), "{log}");
}

#[test]
fn a_player_of_another_ca_is_refused() {
    let fleet = Fleet::new("p1").start();
    let stranger = Stranger::new(&fleet, "another-ca", DOMAIN);
    let double = stranger.player(&fleet, "p1");
    double.sitter.start();
    the_player_says(&double, "it is not of a CA that the peer knows");
    the_conductor_says(&fleet, "the peer's certificate is not of our CA");
    // Whoever has the name by right was not disturbed.
    assert_eq!(fleet.attached(), ["p1"]);
}

#[test]
fn a_player_of_another_domain_is_refused() {
    let fleet = Fleet::new("p1").start();
    let stranger = Stranger::of_our_key(&fleet, "other.test");
    let double = stranger.player(&fleet, "p1");
    double.sitter.start();
    the_player_says(&double, "other.test");
}

#[test]
fn a_player_that_the_players_file_does_not_name_is_refused() {
    let mut fleet = Fleet::new("p1").start();
    fleet.add_player("stranger").sitter.start();
    let told = "does not know stranger: add it to its players file";
    the_player_says(fleet.player("stranger"), told);
    the_conductor_says(&fleet, told);
    assert_eq!(fleet.attached(), ["p1"]);
}

#[test]
fn a_conductor_of_another_name_is_not_obeyed() {
    let fleet = Fleet::new("p1").players_off().start();
    let player = fleet.player("p1");
    player.set("conductor_name", "\"other.e2e.test\"");
    player.sitter.start();
    the_player_says(player, "other.e2e.test");
    let ran = fleet.tool("getstatus", &[]).env("ORCHESTRA_CONDUCTOR_NAME", "other.e2e.test");
    ran.run().exits(1).complains("other.e2e.test");
}

#[test]
fn a_conductor_does_not_start_with_somebody_elses_certificate() {
    let fleet = Fleet::new("p1").players_off().start();
    assert!(fleet.conductor.stop().success());
    let toml = fleet.dir().join("conductor/conductor.toml");
    let text = fs::read_to_string(&toml).unwrap();
    let wrong = text.replace("conductor/conductor.e2e.test.", "audience/alice.");
    fs::write(&toml, wrong).unwrap();
    fleet.conductor.start();
    assert!(!fleet.conductor.wait().success());
    let log = fleet.conductor.log();
    assert!(log.contains("spiffe://e2e.test/audience/alice"), "{log}");
}

#[test]
fn a_key_that_others_may_read_stops_the_start_with_the_command_that_mends_it() {
    use std::os::unix::fs::PermissionsExt as _;
    let fleet = Fleet::new("p1").players_off().start();
    let key = fleet.dir().join("ca/audience/alice.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let ran = fleet.getstatus(&[]);
    let ran = ran.complains("chmod").complains("alice.key");
    assert_ne!(ran.code(), Some(0));
}

#[test]
fn what_orchestra_certs_issues_is_accepted_and_told_apart() {
    let fleet = Fleet::new("p1").start();
    let ca = fleet.dir().join("ca").display().to_string();
    let issue = |further: &[&str]| {
        let arguments = [&["issue", "--dir", &ca, "audience", "bob"][..], further].concat();
        fleet.tool("orchestra-certs", &arguments).run()
    };
    issue(&[]).exits(0);
    // What is there is not replaced unless asked.
    issue(&[]).exits(1).complains("bob");
    issue(&["--force"]).exits(0);
    let certificate = format!("{ca}/audience/bob.pem");
    let shown = fleet.tool("orchestra-certs", &["show", &certificate]).run().exits(0);
    shown.says("spiffe://e2e.test/audience/bob");
    let of_alice = fleet.run(&["hello", "-w", "p1"]);
    let bob = |program: &str, arguments: &[&str]| {
        fleet.tool_as("audience", "bob", program, arguments).run()
    };
    bob("getstatus", &["last"]).exits(8).complains("bob has not submitted any flow");
    let of_bob = bob("submitjob", &["hello", "-w", "p1", "--wait"]).exits(0).id();
    assert_eq!(fleet.flow(of_bob)["audience"], "bob");
    // `last` is everybody's own.
    fleet.getstatus(&["last"]).exits(0).says(&format!("{of_alice}.1"));
    bob("getstatus", &["last"]).exits(0).says(&format!("{of_bob}.1"));
}

#[test]
fn a_renewed_certificate_holds_from_the_next_reload_on() {
    let fleet = Fleet::new("p1").start();
    let ca = fleet.dir().join("ca").display().to_string();
    let name = "conductor.e2e.test";
    let renew = ["issue", "--dir", &ca, "conductor", name, "--force"];
    let certificate = format!("{ca}/conductor/{name}.pem");
    let before = fs::read_to_string(&certificate).unwrap();
    fleet.tool("orchestra-certs", &renew).run().exits(0);
    assert_ne!(fs::read_to_string(&certificate).unwrap(), before);
    fleet.orc(&["conductor", "reload"]).exits(0);
    fleet.submitjob(&["hello", "-w", "p1", "--wait"]).exits(0);
    // A certificate that is not there any more changes nothing.
    fs::remove_file(&certificate).unwrap();
    fleet.orc(&["conductor", "reload"]).exits(1).complains(&certificate);
    fleet.submitjob(&["hello", "-w", "p1", "--wait"]).exits(0);
}

/// An authority that is not the fleet's.
struct Stranger {
    ca: Ca,
    directory: PathBuf,
}

impl Stranger {
    fn new(fleet: &Fleet, directory: &str, domain: &str) -> Self {
        let directory = fleet.dir().join(directory);
        let ca = Ca::init(&directory, &HostName::new(domain).unwrap()).unwrap();
        Self { ca, directory }
    }

    /// One whose certificates the fleet's own verify, and that is of another domain.
    fn of_our_key(fleet: &Fleet, domain: &str) -> Self {
        let stranger = Self::new(fleet, "another-domain", domain);
        // Both ends trust both authorities.
        let ours = fleet.dir().join("ca/ca.pem");
        let both = [fs::read(&ours).unwrap(), fs::read(stranger.directory.join("ca.pem")).unwrap()];
        fs::write(&ours, both.concat()).unwrap();
        fleet.orc(&["conductor", "reload"]).exits(0);
        fs::write(stranger.directory.join("ca.pem"), both.concat()).unwrap();
        stranger
    }

    fn issue(&self, role: Role, name: &str) -> PathBuf {
        let subject = Subject::new(role, name).unwrap();
        let issued = self.ca.issue(&subject, &Terms::default()).unwrap();
        self.ca.save(&[issued], false).unwrap();
        self.directory.join(role.as_str()).join(name)
    }

    fn tool(&self, fleet: &Fleet, role: Role, name: &str) -> Ran {
        let files = self.issue(role, name);
        fleet
            .tool("getstatus", &[])
            .env("ORCHESTRA_CERT", &format!("{}.pem", files.display()))
            .env("ORCHESTRA_KEY", &format!("{}.key", files.display()))
            .run()
    }

    /// A player that has our configuration, and a certificate of this authority.
    fn player(&self, fleet: &Fleet, name: &str) -> Player {
        let double = fleet.double_of(name);
        replace_certificate(&double, &self.issue(Role::Player, name));
        double
    }
}

fn replace_certificate(player: &Player, files: &Path) {
    for (from, to) in [("pem", "cert.pem"), ("key", "key.pem")] {
        fs::copy(format!("{}.{from}", files.display()), player.dir.join(to)).unwrap();
    }
}

/// What a client that trusts everybody is told, with the certificate and key of `files`.
/// A certificate is no secret. Whoever shows that of somebody else, with a key of their own, is refused,
/// and on record with the name that they claimed.
#[test]
fn a_certificate_without_its_key_is_nobody() {
    let fleet = Fleet::new("p1").start();
    fleet.certificate(Role::Audience, "mallory");
    let issued = fleet.dir().join("ca/audience");
    let certificate = CertificateDer::from_pem_file(issued.join("alice.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(issued.join("mallory.key")).unwrap();
    let key = rustls::crypto::ring::sign::any_supported_type(&key).unwrap();
    let shown = Arc::new(CertifiedKey::new(vec![certificate], key));
    let config = credulous().with_client_cert_resolver(Arc::new(SingleCertAndKey::from(shown)));
    let refusal = refusal_of(&fleet, config);
    assert!(refusal.contains("DecryptError") || refusal.contains("alert"), "{refusal}");
    let claimed = eventually("the record of it", || {
        let lines = fleet.orc(&["audit", "--verb", "certificate-refused"]).out;
        lines.contains("audience/alice").then_some(lines)
    });
    assert!(claimed.contains("orchestra:stranger"), "{claimed}");
}

pub(crate) fn refusal_of_a_raw_client(fleet: &Fleet, files: Option<&Path>) -> String {
    let config = match files {
        Some(files) => {
            let certificate = CertificateDer::from_pem_file(files.with_extension("pem")).unwrap();
            let key = PrivateKeyDer::from_pem_file(files.with_extension("key")).unwrap();
            credulous().with_client_auth_cert(vec![certificate], key).unwrap()
        }
        None => credulous().with_no_client_auth(),
    };
    refusal_of(fleet, config)
}

/// Connects, and returns why that was refused.
fn refusal_of(fleet: &Fleet, mut config: ClientConfig) -> String {
    config.alpn_protocols = vec![b"h2".to_vec()];
    let name = ServerName::try_from("conductor.e2e.test").unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let tcp = TcpStream::connect(fleet.address()).unwrap();
    let mut stream = StreamOwned::new(connection, tcp);
    // The refusal comes as an alert on the first read, if the first write did not find it.
    let _ = stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    stream.read_to_end(&mut Vec::new()).unwrap_err().to_string()
}

fn the_conductor_says(fleet: &Fleet, text: &str) {
    eventually(&format!("the conductor's log to hold {text:?}"), || {
        fleet.conductor.log().contains(text).then_some(())
    });
}

fn the_player_says(player: &Player, text: &str) {
    eventually(&format!("the player's log to hold {text:?}"), || {
        player.sitter.log().contains(text).then_some(())
    });
}
