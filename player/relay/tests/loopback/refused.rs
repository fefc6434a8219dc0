//! Who is not served, and how that is told.

use orchestra_certs::{Credentials, Role, connect};
use orchestra_model::{
    Timestamp,
    bundle::{BundleId, BundlePart},
    relay::{RelayFrame, RelayTicket, TICKET_LASTS},
};
use relay::{Config, check::check};

use crate::place::{Place, RELAY, host, now, run};

#[test]
fn who_comes_beyond_the_places_hears_at_once_that_the_relay_is_busy() {
    let place = Place::new();
    let bundle = place.publish(1_000);
    run(async {
        let config = Config { serve_children: 1, ..place.config() };
        let relay = place.relay_with(&config).await;
        let first = place.opened(relay, bundle.id).await;
        let mut second = place.child(relay, "fe1").await;
        second.show(&place.sign(place.ticket(bundle.id))).await;
        assert_eq!(second.hear().await.0, RelayFrame::Busy);
        // The place is free again soon after the first one has left.
        drop(first);
        loop {
            let mut third = place.child(relay, "fe1").await;
            third.show(&place.sign(place.ticket(bundle.id))).await;
            match third.hear().await.0 {
                RelayFrame::Opened => return,
                frame => assert_eq!(frame, RelayFrame::Busy),
            }
        }
    });
}

#[test]
fn without_a_good_ticket_nothing_is_sent() {
    let place = Place::new();
    let bundle = place.publish(1_000);
    run(async {
        let relay = place.relay().await;
        let mut bare = place.child(relay, "fe1").await;
        bare.ask(BundlePart::Chunk(0)).await;
        assert_eq!(bare.refused().await, "it showed no ticket");

        let stolen = place.sign(place.ticket(bundle.id));
        let mut thief = place.child(relay, "fe2").await;
        thief.show(&stolen).await;
        let why = thief.refused().await;
        assert!(why.ends_with("the ticket is for the player fe1, and the peer is fe2"), "{why}");

        let made = Timestamp(now().0 - 2 * TICKET_LASTS.0);
        let ticket = place.ticket(bundle.id);
        let old = RelayTicket { made, expires: made.after(TICKET_LASTS), ..ticket };
        let mut late = place.child(relay, "fe1").await;
        late.show(&place.sign(old)).await;
        let why = late.refused().await;
        assert!(why.contains("by its conductor's clock, and here it is"), "{why}");

        let mut forged = place.sign(place.ticket(bundle.id));
        forged.ticket.bundle = BundleId([1; 32]);
        let mut forger = place.child(relay, "fe1").await;
        forger.show(&forged).await;
        let why = forger.refused().await;
        assert!(why.ends_with("the signature of the ticket is not good"), "{why}");

        let mut other = place.child(relay, "fe1").await;
        other.show(&place.sign(place.ticket(BundleId([1; 32])))).await;
        let why = other.refused().await;
        assert!(why.starts_with("nothing of sha256-0101"), "{why}");
    });
}

#[test]
fn a_further_ticket_is_judged_like_the_first() {
    let place = Place::new();
    let bundle = place.publish(1_000);
    run(async {
        let relay = place.relay().await;
        let mut child = place.opened(relay, bundle.id).await;
        child.show(&place.sign(place.ticket(bundle.id))).await;
        child.ask(BundlePart::Chunk(0)).await;
        assert_eq!(child.hear_more().await.0, RelayFrame::Part(BundlePart::Chunk(0)));
        child.show(&place.sign(place.ticket(BundleId([1; 32])))).await;
        assert_eq!(child.refused().await, "its next ticket is for another bundle");
    });
}

#[test]
fn what_is_no_part_is_refused() {
    let place = Place::new();
    let bundle = place.publish(1_000);
    run(async {
        let mut child = place.opened(place.relay().await, bundle.id).await;
        child.ask(BundlePart::Chunk(7)).await;
        assert_eq!(child.refused().await, "chunk 8 is not in its depot");
    });
}

#[test]
fn an_audience_gets_nothing_and_a_relay_is_no_conductor() {
    let place = Place::new();
    place.publish(1_000);
    run(async {
        let relay = place.relay().await;
        let domain = host("example.com");
        let files = place.files(Role::Audience, "alice");
        let alice = Credentials::load(&files, &domain).unwrap();
        // Its own tools do not speak with relays at all.
        alice.relay_client_config(&host(RELAY)).unwrap_err();
        let config = alice.client_config(&host("conductor.example.com")).unwrap();
        let patience = std::time::Duration::from_secs(60);
        connect(&relay.to_string(), config, patience).await.unwrap_err();
        // And a player notices another host's relay.
        let files = place.files(Role::Player, "fe1");
        let player = Credentials::load(&files, &domain).unwrap();
        let config = player.relay_client_config(&host("db2")).unwrap();
        connect(&relay.to_string(), config, patience).await.unwrap_err();
    });
}

#[test]
fn a_check_tells_what_is_wrong_and_what_mends_it() {
    let place = Place::new();
    let write = |files: &orchestra_certs::TlsFiles| {
        let path = |path: &std::path::Path| path.display().to_string();
        let text = format!(
            "domain = 'example.com'\ndepot = '{}'\n[tls]\nca = '{}'\ncert = '{}'\nkey = '{}'\n",
            path(&place.path("depot")),
            path(&files.ca),
            path(&files.cert),
            path(&files.key)
        );
        std::fs::write(place.path("relay.toml"), text).unwrap();
        check(&place.path("relay.toml"))
    };
    let found = write(&place.files(Role::Relay, RELAY));
    assert!(found.is_in_order(), "{}", found.text());
    assert!(found.text().contains("is not there yet"), "{}", found.text());
    place.publish(1_000);
    let found = write(&place.files(Role::Relay, RELAY));
    assert!(found.text().contains("depot: 1 bundles"), "{}", found.text());
    let found = write(&place.files(Role::Player, "fe1"));
    assert!(!found.is_in_order());
    assert!(found.text().contains("which is no relay"), "{}", found.text());
}
