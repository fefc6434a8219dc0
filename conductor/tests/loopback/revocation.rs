//! Revocation reaches those who are connected, and a list that would lock everybody out, or let
//! somebody in again, changes nothing.

use std::{
    fs,
    time::{Duration, SystemTime},
};

use orchestra_certs::Role;
use orchestra_proto::v1;
use rcgen::{
    CertificateRevocationListParams, Issuer, KeyIdMethod, KeyPair, RevokedCertParams, SerialNumber,
};
use rustix::process::Signal;
use rustls_pki_types::{CertificateDer, pem::PemObject as _};
use tonic::Code;

use crate::harness::{Audience, Conductor, Place, Player, eventually, job, soon, watch_ends};

const DAY: Duration = Duration::from_secs(86_400);

/// A revocation list, before it is signed.
pub(crate) struct List<'a> {
    revoked: &'a [(Role, &'a str)],
    made: SystemTime,
    number: u8,
}

impl<'a> List<'a> {
    /// One that was made now, for a day.
    pub(crate) fn of(revoked: &'a [(Role, &'a str)]) -> List<'a> {
        List { revoked, made: SystemTime::now(), number: 1 }
    }

    /// Writes `ca.crl`.
    pub(crate) fn write(&self, place: &Place) {
        let key = KeyPair::from_pem(&fs::read_to_string(place.path("ca/ca.key")).unwrap());
        self.write_signed_by(place, key.unwrap());
    }

    fn write_signed_by(&self, place: &Place, key: KeyPair) {
        let revoked = self.revoked.iter().map(|(role, name)| {
            let der = CertificateDer::from_pem_file(place.issue(*role, name).cert).unwrap();
            let (_, parsed) = x509_parser::parse_x509_certificate(&der).unwrap();
            RevokedCertParams {
                serial_number: SerialNumber::from_slice(parsed.raw_serial()),
                revocation_time: self.made.into(),
                reason_code: None,
                invalidity_date: None,
            }
        });
        let list = CertificateRevocationListParams {
            this_update: self.made.into(),
            next_update: (self.made + DAY).into(),
            crl_number: SerialNumber::from_slice(&[self.number]),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let ca = CertificateDer::from_pem_file(place.path("ca/ca.pem")).unwrap();
        let issuer = Issuer::from_ca_cert_der(&ca, key).unwrap();
        place.write("ca.crl", &list.signed_by(&issuer).unwrap().pem().unwrap());
    }
}

/// A place whose conductor has a revocation list of nobody.
fn place() -> Place {
    let place = Place::new("db[1-2]\n");
    List::of(&[]).write(&place);
    place.configure("crl = \"ca.crl\"\n");
    place
}

#[tokio::test]
async fn a_reload_ends_the_connections_of_those_who_were_revoked_since() {
    let place = place();
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    let mallory = Audience::named(&place, &conductor.address, "mallory").await;
    let [mut stolen, mut honest] = [
        Player::new(&place, &conductor.address, "db1").await.attach().await,
        Player::new(&place, &conductor.address, "db2").await.attach().await,
    ];
    let flow = alice.submit([job("db1")]).await;
    let mut watch = mallory.watch(flow).await;
    soon("the status", watch.message()).await.unwrap();

    List { number: 2, ..List::of(&[(Role::Player, "db1"), (Role::Audience, "mallory")]) }
        .write(&place);
    // By a signal as well as by the call.
    conductor.signal(Signal::HUP);
    assert!(stolen.end().await.is_some());
    watch_ends(&mut watch).await;
    let refused = soon("an answer", mallory.client.clone().status(v1::StatusRequest {})).await;
    assert!(refused.is_err(), "{refused:?}");
    eventually("db1 to be gone", async || (alice.status().await.attached == 1).then_some(())).await;
    let log = conductor.log();
    assert!(
        log.contains("connection closed peer=spiffe://loopback.test/audience/mallory"),
        "{log}"
    );
    assert!(log.contains("reason=the peer's certificate is revoked"), "{log}");
    alice.submit([job("db2")]).await;
    honest.obey().await;
    assert!(place.try_connect(&conductor.address, Role::Audience, "mallory").await.is_err());
}

#[tokio::test]
async fn the_answer_to_a_reload_says_how_many_connections_ended() {
    let place = place();
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    let _mallory = Audience::named(&place, &conductor.address, "mallory").await;
    assert_eq!(alice.reload(false).await.unwrap().closed, 0);
    List { number: 2, ..List::of(&[(Role::Audience, "mallory")]) }.write(&place);
    assert_eq!(alice.reload(false).await.unwrap().closed, 1);
}

/// What a reload with this list is refused with, while the list in force stays.
async fn refused(place: &Place, conductor: &Conductor, alice: &Audience) -> String {
    let refused = alice.reload(false).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused:?}");
    assert_eq!(alice.status().await.reload_error, refused.message());
    assert!(place.try_connect(&conductor.address, Role::Player, "db1").await.is_ok());
    assert!(place.try_connect(&conductor.address, Role::Player, "db2").await.is_err());
    refused.message().to_owned()
}

#[tokio::test]
async fn a_list_that_would_lock_out_everybody_or_let_somebody_in_again_changes_nothing() {
    let place = place();
    let bad = [(Role::Player, "db2")];
    List { number: 7, ..List::of(&bad) }.write(&place);
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;

    List { number: 8, ..List::of(&bad) }.write_signed_by(&place, KeyPair::generate().unwrap());
    let told = refused(&place, &conductor, &alice).await;
    assert!(told.contains("its signature is not that CA's"), "{told}");
    List { number: 8, made: SystemTime::now() - 2 * DAY, ..List::of(&bad) }.write(&place);
    let told = refused(&place, &conductor, &alice).await;
    assert!(told.contains("ran out at") && told.contains("orchestra-certs revoke"), "{told}");
    List { number: 6, ..List::of(&[]) }.write(&place);
    let told = refused(&place, &conductor, &alice).await;
    assert!(told.contains("before the one in force"), "{told}");
    fs::remove_file(place.path("ca.crl")).unwrap();
    let told = refused(&place, &conductor, &alice).await;
    assert!(told.contains("ca.crl"), "{told}");
    place.configure("");
    let told = refused(&place, &conductor, &alice).await;
    assert!(told.contains("--allow-removal"), "{told}");
    alice.reload(true).await.unwrap();
    assert!(place.try_connect(&conductor.address, Role::Player, "db2").await.is_ok());
}

#[tokio::test]
async fn a_conductor_does_not_start_with_a_list_of_somebody_else() {
    let place = place();
    List::of(&[]).write_signed_by(&place, KeyPair::generate().unwrap());
    let told = Conductor::start_refused(&place);
    assert!(told.contains("its signature is not that CA's"), "{told}");
}

#[tokio::test]
async fn a_start_remembers_which_list_was_in_force() {
    let place = place();
    List { number: 7, ..List::of(&[(Role::Player, "db2")]) }.write(&place);
    drop(Conductor::start(&place));
    List { number: 6, ..List::of(&[]) }.write(&place);
    let told = Conductor::start_refused(&place);
    assert!(told.contains("before the one that was in force"), "{told}");
    assert!(told.contains("--allow-removal"), "{told}");
    List { number: 8, ..List::of(&[]) }.write(&place);
    drop(Conductor::start(&place));
}

#[tokio::test]
async fn a_conductor_starts_with_a_list_that_has_run_out_and_says_so() {
    let place = place();
    let bad = [(Role::Player, "db2")];
    List { made: SystemTime::now() - 2 * DAY, ..List::of(&bad) }.write(&place);
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    assert!(alice.status().await.revocation_error.contains("ran out at"));
    let told = async || conductor.log().contains("the revocation list has run out").then_some(());
    eventually("the log to say so", told).await;
    assert!(place.try_connect(&conductor.address, Role::Player, "db2").await.is_err());
    List { number: 2, ..List::of(&bad) }.write(&place);
    alice.reload(false).await.unwrap();
    assert_eq!(alice.status().await.revocation_error, "");
}

/// Who is sent away, who is not let in again, and who calls what their role may not call, is on record
/// by name.
#[tokio::test]
async fn certificates_that_do_not_count_are_on_record() {
    let place = place();
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    let mallory = Audience::named(&place, &conductor.address, "mallory").await;
    mallory.status().await;
    let player = place.try_connect(&conductor.address, Role::Player, "db2").await.unwrap();
    let mut player = v1::audience_client::AudienceClient::new(player);
    let refused = player.status(v1::StatusRequest {}).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    List { number: 2, ..List::of(&[(Role::Audience, "mallory")]) }.write(&place);
    alice.reload(false).await.unwrap();
    assert!(place.try_connect(&conductor.address, Role::Audience, "mallory").await.is_err());
    let mallory = "spiffe://loopback.test/audience/mallory";
    for (verb, by, peer, what) in [
        ("certificate-came", "mallory", mallory, "serial "),
        ("certificate-went", "orchestra:keeper", mallory, "the peer's certificate is revoked"),
        ("certificate-refused", "orchestra:stranger", mallory, "the peer's certificate is revoked"),
        (
            "call-refused",
            "orchestra:stranger",
            "spiffe://loopback.test/player/db2",
            "the role player may not call /orchestra.v1.Audience/Status",
        ),
    ] {
        let told = async || {
            let verb = verb.to_owned();
            let request = v1::ListAuditRequest { verb, limit: 100, ..Default::default() };
            let mut pages = alice.client.clone().list_audit(request).await.unwrap().into_inner();
            let lines = pages.message().await.unwrap().map(|page| page.lines).unwrap_or_default();
            let is_it = |line: &v1::AuditLine| {
                (line.by == by) && (line.peer == peer) && line.answer.contains(what)
            };
            lines.iter().any(is_it).then_some(())
        };
        eventually(verb, told).await;
    }
}
