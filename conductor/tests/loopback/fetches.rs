//! Bundles that players fetch: who is told of which sources, and who is told nothing.

use std::time::SystemTime;

use orchestra_certs::{Credentials, Role};
use orchestra_model::{
    BundleName, HostName,
    bundle::{BundleId, BundleSerial, BundleStatement, Seal},
    relay::SignedTicket,
};
use orchestra_proto::v1::{self, fetch_report::Stage, from_player, to_player};

use crate::harness::{
    Audience, Conductor, DOMAIN, Place, Player, Session, ended, exited, id, job, request, score,
    with_params,
};

const ID: [u8; 32] = [7; 32];

fn host(name: &str) -> HostName {
    HostName::new(name).unwrap()
}

/// Registers the bundle `site@1`, of which these have a copy.
async fn register(alice: &Audience, source: &str) {
    let seal = Seal::unsigned(BundleStatement {
        domain: host(DOMAIN),
        name: BundleName::new("site").unwrap(),
        serial: BundleSerial::FIRST,
        expires: None,
        id: BundleId(ID),
        manifest_bytes: 500,
        content_bytes: 64 << 20,
        size: 64 << 20,
        entries: 1,
    });
    let request =
        v1::RegisterBundleRequest { seal: seal.encode().into(), source: source.to_owned() };
    alice.client.clone().register_bundle(request).await.unwrap();
}

/// A player that can deliver bundles.
async fn player(place: &Place, conductor: &Conductor, name: &str) -> Session {
    let mut player = Player::new(place, &conductor.address, name).await;
    player.snapshot.scores = vec![score("@deliver", 1)];
    player.attach().await
}

fn wants(order: &v1::Order) -> v1::FetchReport {
    v1::FetchReport {
        key: order.key.clone(),
        bundle: ID.to_vec().into(),
        stage: Stage::Fetching.into(),
        wants_sources: true,
        ..v1::FetchReport::default()
    }
}

fn say(session: &Session, report: v1::FetchReport) {
    session.say(from_player::Frame::Fetch(report));
}

async fn sources(session: &mut Session) -> v1::FetchSources {
    match session.frame().await {
        to_player::Frame::Sources(sources) => sources,
        other => panic!("no sources but {other:?}"),
    }
}

fn told(sources: &v1::FetchSources) -> Vec<String> {
    sources.relays.iter().map(|relay| format!("{} {}", relay.host, relay.address)).collect()
}

/// Delivers the bundle to these hosts.
async fn deliver(alice: &Audience, targets: &str) -> u64 {
    let job = v1::JobSpec { score: "@deliver".to_owned(), ..job(targets) };
    let request = with_params(request([job]), (1, 1), "bundle", "site@1");
    alice.try_submit(request).await.unwrap().flow
}

#[tokio::test]
async fn sources_are_named_with_a_ticket_to_whom_a_bundle_was_ordered() {
    let place = Place::new("b1 relay=192.0.2.7:99\nfe1 relay=yes\nfe2 relay=:98\nfe3\n");
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    register(&alice, "b1").await;
    let mut first = player(&place, &conductor, "fe1").await;
    let mut second = player(&place, &conductor, "fe2").await;
    let mut third = player(&place, &conductor, "fe3").await;
    assert!(first.welcome.names_sources);
    let flow = deliver(&alice, "fe[1-3]").await;
    let order = first.order().await;

    // What was not ordered there is answered with nothing.
    let other_bundle = v1::FetchReport { bundle: [8; 32].to_vec().into(), ..wants(&order) };
    say(&first, other_bundle);
    let mut other_attempt = wants(&order);
    other_attempt.key.as_mut().unwrap().attempt += 1;
    say(&first, other_attempt);
    let mut other_store = wants(&order);
    other_store.key.as_mut().unwrap().store_id = [9; 16].to_vec().into();
    say(&first, other_store);
    say(&first, wants(&order));
    let named = sources(&mut first).await;
    assert_eq!(told(&named), ["b1 192.0.2.7:99"]);
    let ticket = SignedTicket::decode(&named.ticket).unwrap();
    assert_eq!((ticket.ticket.player.as_str(), ticket.ticket.flow.0), ("fe1", flow));
    let files = place.issue(Role::Relay, "b1");
    let judge = Credentials::load(&files, &host(DOMAIN)).unwrap().ticket_judge().unwrap();
    judge.judge(&ticket, &host("fe1"), SystemTime::now()).unwrap();
    judge.judge(&ticket, &host("fe2"), SystemTime::now()).unwrap_err();

    // The next one fetches from the first, at the address of its session; who has no relay serves nobody.
    let order_of_third = third.order().await;
    say(&third, wants(&order_of_third));
    let from_first = ["fe1 127.0.0.1:2260", "b1 192.0.2.7:99"];
    assert_eq!(told(&sources(&mut third).await), from_first);
    let order_of_second = second.order().await;
    say(&second, wants(&order_of_second));
    assert_eq!(told(&sources(&mut second).await), from_first);

    // Progress is told, and nothing follows from it. An attempt that has ended gets nothing.
    let progress = v1::FetchReport {
        here_bytes: 29 << 20,
        source: "b1".to_owned(),
        wants_sources: false,
        ..wants(&order)
    };
    say(&first, progress);
    first.report(&ended(&order, &exited(0)));
    say(&first, wants(&order));
    assert_eq!(first.acknowledged().await, order.key.clone().unwrap());
    let explained = alice.explain(v1::ExplainRequest { flow: id(flow), ..Default::default() });
    let explained = format!("{:?}", explained.await.unwrap());
    assert!(explained.contains("a bundle arrives on 2 hosts"), "{explained}");
}

#[tokio::test]
async fn where_no_copy_has_a_relay_it_is_said() {
    let place = Place::new("b1\nfe1\n");
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    register(&alice, "b1").await;
    let mut session = player(&place, &conductor, "fe1").await;
    deliver(&alice, "fe1").await;
    let order = session.order().await;
    say(&session, wants(&order));
    let named = sources(&mut session).await;
    assert!(named.relays.is_empty());
    assert!(named.hopeless.starts_with("it was registered to be at b1, and"), "{}", named.hopeless);
    // As soon as the files say where a relay is, it is named.
    place.write("players", "b1 relay=192.0.2.7\nfe1\n");
    alice.reload(false).await.unwrap();
    say(&session, wants(&order));
    assert_eq!(told(&sources(&mut session).await), ["b1 192.0.2.7:2260"]);
}

#[tokio::test]
async fn a_report_that_makes_no_sense_ends_the_session() {
    let place = Place::new("fe1\n");
    let conductor = Conductor::start(&place);
    let mut session = player(&place, &conductor, "fe1").await;
    say(&session, v1::FetchReport::default());
    let why = session.end().await.unwrap();
    assert!(why.message().contains("FetchReport.key"), "{why:?}");
}
