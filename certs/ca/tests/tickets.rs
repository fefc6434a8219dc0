//! Tickets for relays: signed by a conductor, judged by a relay.

#![expect(clippy::unwrap_used, reason = "tests")]

mod common;

use std::time::SystemTime;

use common::{CONDUCTOR, Fleet, domain};
use orchestra_certs::{Credentials, Refused, Role, TicketRefused, TlsFiles};
use orchestra_model::{
    FlowId, HostName, Timestamp,
    bundle::BundleId,
    relay::{RelayTicket, SignedTicket, TICKET_LASTS},
};
use x509_parser::{certificate::X509Certificate, prelude::FromDer as _};

fn host(name: &str) -> HostName {
    HostName::new(name).unwrap()
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    Timestamp(since.as_millis() as u64)
}

/// A ticket for the player `fe1`, made now.
fn ticket() -> RelayTicket {
    RelayTicket {
        domain: domain(),
        player: host("fe1"),
        bundle: BundleId([3; 32]),
        flow: FlowId(42),
        made: now(),
        expires: now().after(TICKET_LASTS),
    }
}

fn signed_by(fleet: &Fleet, ticket: RelayTicket) -> SignedTicket {
    let files = fleet.files(Role::Conductor, CONDUCTOR);
    let signer = Credentials::load(&files, &domain()).unwrap().ticket_signer().unwrap();
    signer.sign(ticket).unwrap()
}

fn judge(files: &TlsFiles, signed: &SignedTicket, peer: &str) -> Result<(), TicketRefused> {
    let judge = Credentials::load(files, &domain()).unwrap().ticket_judge().unwrap();
    // As it comes over the wire.
    let signed = SignedTicket::decode(&signed.encode()).unwrap();
    judge.judge(&signed, &host(peer), SystemTime::now())
}

#[test]
fn a_ticket_of_the_conductor_is_taken_from_its_player() {
    let fleet = Fleet::new();
    let relay = fleet.files(Role::Relay, "db1");
    let signed = signed_by(&fleet, ticket());
    assert_eq!(judge(&relay, &signed, "fe1"), Ok(()));
    let stolen = judge(&relay, &signed, "fe2").unwrap_err();
    assert_eq!(stolen.to_string(), "the ticket is for the player fe1, and the peer is fe2");
}

#[test]
fn a_ticket_that_was_changed_is_refused() {
    let fleet = Fleet::new();
    let relay = fleet.files(Role::Relay, "db1");
    let signed = signed_by(&fleet, ticket());
    let changes: [fn(&mut SignedTicket); 5] = [
        |it| it.ticket.bundle = BundleId([4; 32]),
        |it| it.ticket.flow = FlowId(43),
        |it| it.ticket.expires = Timestamp(it.ticket.expires.0 - 1),
        |it| it.signature[10] ^= 1,
        |it| it.scheme = 0x0807,
    ];
    for change in changes {
        let mut changed = signed.clone();
        change(&mut changed);
        assert_eq!(judge(&relay, &changed, "fe1"), Err(TicketRefused::Signature));
    }
}

#[test]
fn nobody_but_a_conductor_signs_tickets() {
    let fleet = Fleet::new();
    let relay = fleet.files(Role::Relay, "db1");
    for role in [Role::Player, Role::Audience, Role::Relay] {
        let files = fleet.files(role, "fe1");
        Credentials::load(&files, &domain()).unwrap().ticket_signer().unwrap_err();
    }
    // Another fleet's conductor, and one without a chain.
    let stranger = signed_by(&Fleet::new(), ticket());
    let why = judge(&relay, &stranger, "fe1").unwrap_err();
    assert_eq!(why, TicketRefused::Certificate(Refused::UnknownCa));
    let bare = SignedTicket { chain: Vec::new(), ..signed_by(&fleet, ticket()) };
    let why = judge(&relay, &bare, "fe1").unwrap_err();
    assert_eq!(why, TicketRefused::Certificate(Refused::NoCertificate));
    // A relay's certificate is a server's too, and no conductor's.
    let own = orchestra_certs::read_certificates(&relay.cert).unwrap();
    let chain = own.iter().map(|der| der.to_vec()).collect();
    let forged = SignedTicket { chain, ..signed_by(&fleet, ticket()) };
    let why = judge(&relay, &forged, "fe1").unwrap_err();
    assert!(matches!(why, TicketRefused::Signer(_)), "{why}");
    // And a player's is none.
    let player = fleet.files(Role::Player, "fe1");
    let own = orchestra_certs::read_certificates(&player.cert).unwrap();
    let chain = own.iter().map(|der| der.to_vec()).collect();
    let forged = SignedTicket { chain, ..signed_by(&fleet, ticket()) };
    let why = judge(&relay, &forged, "fe1").unwrap_err();
    assert!(matches!(why, TicketRefused::Certificate(_)), "{why}");
}

#[test]
fn a_revoked_conductors_tickets_are_refused() {
    let fleet = Fleet::new();
    let signed = signed_by(&fleet, ticket());
    let (_, leaf) = X509Certificate::from_der(&signed.chain[0]).unwrap();
    let serial = orchestra_certs::x509::serial(&leaf);
    let crl = Some(fleet.revoke(&[&serial]));
    let relay = TlsFiles { crl, ..fleet.files(Role::Relay, "db1") };
    let why = judge(&relay, &signed, "fe1").unwrap_err();
    assert_eq!(why, TicketRefused::Certificate(Refused::Revoked));
}

#[test]
fn a_ticket_ends_and_both_clocks_are_told() {
    let fleet = Fleet::new();
    let relay = fleet.files(Role::Relay, "db1");
    let made = Timestamp(now().0 - TICKET_LASTS.0 - 600_000);
    let old = RelayTicket { made, expires: made.after(TICKET_LASTS), ..ticket() };
    let why = judge(&relay, &signed_by(&fleet, old.clone()), "fe1").unwrap_err().to_string();
    assert!(why.contains(&old.expires.to_utc()) && why.contains("and here it is 20"), "{why}");
    let long = RelayTicket { expires: now().after(TICKET_LASTS).after(TICKET_LASTS), ..ticket() };
    let why = judge(&relay, &signed_by(&fleet, long), "fe1").unwrap_err().to_string();
    assert!(why.contains("none is for longer than 1h"), "{why}");
}
