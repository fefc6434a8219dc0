//! Reloads: whole, or not at all.

use std::{fs, os::unix::fs::PermissionsExt as _};

use orchestra_ca::Terms;
use orchestra_certs::{Role, Subject};
use orchestra_proto::v1;
use rustix::process::Signal;
use rustls_pki_types::CertificateDer;
use tonic::Code;

use crate::{
    harness::{
        Audience, CONDUCTOR, Conductor, Place, Player, RunsAs, eventually, job, request, soon,
    },
    revocation::List,
};

#[tokio::test]
async fn whatever_is_broken_nothing_changes_and_the_status_says_what() {
    let place = Place::new("db[1-2]\n");
    place.issue(Role::Conductor, "other.loopback.test");
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    let good = fs::read_to_string(place.path("conductor.toml")).unwrap();
    let cases = [
        ("conductor.toml", "listen = ".to_owned(), "conductor.toml is not valid"),
        ("conductor.toml", format!("color = 1\n{good}"), "line 1: unknown field \"color\""),
        ("conductor.toml", good.replace("127.0.0.1:0", "127.0.0.1:1"), "listen takes a restart"),
        (
            "conductor.toml",
            good.replace("/state\"", "/elsewhere\""),
            "a change of state_dir takes a restart",
        ),
        (
            "conductor.toml",
            good.replace(&format!("name = \"{CONDUCTOR}"), "name = \"other.loopback.test"),
            "a change of name takes a restart",
        ),
        (
            "conductor.toml",
            good.replace(&format!("conductor/{CONDUCTOR}"), "conductor/other.loopback.test"),
            "the certificate is spiffe://loopback.test/conductor/other.loopback.test",
        ),
        ("conductor.toml", good.replace("ca/ca.pem", "ca/nothing.pem"), "ca/nothing.pem"),
        ("conductor.toml", good.replace("[tls]", "[tls]\ncrl = \"players\""), "revocation list"),
        ("players", "db[1-3]\ndb[\n".to_owned(), "players: line 2"),
        ("players", "db[1-3] x\n".to_owned(), "players: line 1: \"x\" is not a label"),
        ("groups.toml", "web = \"fe1\"\n".to_owned(), "names hosts that the players file does not"),
        ("groups.toml", "web = 1\n".to_owned(), "groups.toml"),
        ("groups.toml", "\"../x\" = \"db1\"\n".to_owned(), "line 1: group name \"../x\""),
    ];
    for (file, text, message) in cases {
        let before = fs::read_to_string(place.path(file)).ok();
        // Something good beside it, which must not come into force either.
        let players = fs::read_to_string(place.path("players")).unwrap();
        place.write("players", "db[1-3]\n");
        place.write(file, &text);
        let refused = alice.reload(true).await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition, "{refused:?}");
        assert!(refused.message().contains(message), "{message:?} in {refused:?}");
        let status = alice.status().await;
        assert_eq!(status.reload_error, refused.message());
        assert_eq!(status.players, 2);
        place.write("players", &players);
        match before {
            Some(before) => place.write(file, &before),
            None => fs::remove_file(place.path(file)).unwrap(),
        }
    }
    let answer = alice.reload(false).await.unwrap();
    assert_eq!((answer.players, answer.added, answer.removed), (2, 0, 0));
    assert_eq!(alice.status().await.reload_error, "");
}

#[tokio::test]
async fn a_hangup_reloads_too() {
    let place = Place::new("db1\n");
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    place.write("players", "db[1-3]\n");
    place.write("groups.toml", "web = \"db[2-3]\"\n");
    conductor.signal(Signal::HUP);
    eventually("the new players", async || (alice.status().await.players == 3).then_some(())).await;
    // Groups come into force with the players.
    let flow = alice.submit([job("@web")]).await;
    assert_eq!(alice.tasks(flow).await.len(), 2);
    place.write("players", "db[\n");
    conductor.signal(Signal::HUP);
    eventually("the error", async || {
        alice.status().await.reload_error.contains("line 1").then_some(())
    })
    .await;
    conductor.logged("reload refused, nothing changed").await;
}

#[tokio::test]
async fn a_large_part_of_the_fleet_does_not_go_by_mistake() {
    let place = Place::new("db[1-10]\n");
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    let player = Player::new(&place, &conductor.address, "db10").await;
    let mut session = player.attach().await;
    let waiting = alice.submit([job("db9")]).await;
    let sent = alice.submit([job("db10"), job("db10")]).await;
    session.order().await;

    place.write("players", "db[1-7]\n");
    let refused = alice.reload(false).await.unwrap_err();
    assert!(refused.message().contains("lacks 3 of 10 players; one reload may remove 2"));
    assert!(refused.message().contains("--allow-removal"), "{refused:?}");
    assert_eq!(alice.status().await.players, 10);

    place.write("players", "db[1-8]\n");
    let answer = alice.reload(false).await.unwrap();
    assert_eq!((answer.players, answer.removed), (8, 2));
    let end = session.end().await.unwrap();
    assert_eq!(end.message(), "the players file no longer names this player");
    for (flow, expected) in [(waiting, vec!["cancelled"]), (sent, vec!["lost", "cancelled"])] {
        assert_eq!(alice.verdict(flow).await, "failed");
        let tasks = alice.tasks(flow).await;
        let states: Vec<&str> = tasks.iter().map(|task| task.state.as_str()).collect();
        assert_eq!(states, expected);
        assert_eq!(tasks[0].detail, "player removed");
    }
    assert!(player.try_attach().await.err().unwrap().contains("add it to its players file"));

    place.write("players", "db1\n");
    assert!(alice.reload(false).await.is_err());
    assert_eq!(alice.reload(true).await.unwrap().players, 1);
}

#[tokio::test]
async fn nor_does_it_go_at_a_start() {
    let place = Place::new("db[1-10]\n");
    assert!(Conductor::start(&place).stop().await.success());
    place.write("players", "db1\n");
    let refused = Conductor::start_refused(&place);
    assert!(refused.contains("the players file lacks 9 of 10 players"), "{refused}");
    let conductor = Conductor::start_with(&place, &["--allow-removal"]);
    let alice = Audience::new(&place, &conductor.address).await;
    assert_eq!(alice.status().await.players, 1);
    conductor.kill();
    assert!(matches!(Conductor::try_start(&place, &[]), RunsAs::Listening(_)));
}

#[tokio::test]
async fn limits_come_into_force() {
    let place = Place::new("db[1-5]\n");
    place.configure("[limits]\nmax_hosts = 2\n");
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    let refused = alice.try_submit(request([job("db[1-3]")])).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    place.configure("[limits]\nmax_hosts = 3\nmax_flow_bytes = \"10KiB\"\n");
    alice.reload(false).await.unwrap();
    alice.submit([job("db[1-3]")]).await;
    assert!(alice.try_submit(request([job("db[1-4]")])).await.is_err());
    let large = v1::JobSpec { targets: format!("db1{}", " ".repeat(20_000)), ..job("") };
    assert!(alice.try_submit(request([large])).await.is_err());
}

#[tokio::test]
async fn ended_flows_go_when_they_were_kept_long_enough() {
    let place = Place::new("db1\n");
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    let living = alice.submit([job("db1")]).await;
    let asked = request([job("db1")]);
    let first = alice.try_submit(asked.clone()).await.unwrap().flow;
    alice.cancel(first).await.unwrap();
    for _ in 0..40 {
        let flow = alice.submit([job("db1")]).await;
        alice.cancel(flow).await.unwrap();
    }
    let listed = async || {
        let request = v1::ListFlowsRequest { limit: 1_000, ..Default::default() };
        let mut pages = alice.client.clone().list_flows(request).await.unwrap().into_inner();
        let mut flows = Vec::new();
        while let Some(page) = pages.message().await.unwrap() {
            flows.extend(page.flows.into_iter().map(|flow| flow.id));
        }
        flows
    };
    place.configure("[retention]\nfinished_flows = 3\n");
    alice.reload(false).await.unwrap();
    eventually("most to go", async || (listed().await == [42, 41, 40, living]).then_some(())).await;
    assert_eq!(alice.try_flow(first).await.unwrap_err().code(), Code::NotFound);
    // What is not kept cannot be known again.
    assert!(!alice.try_submit(asked).await.unwrap().repeated);
    alice.cancel(43).await.unwrap();
    place.configure("[retention]\nfinished_age = \"1ms\"\n");
    alice.reload(false).await.unwrap();
    eventually("all to go", async || (listed().await == [living]).then_some(())).await;
    conductor.kill();
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    assert_eq!(alice.state(living).await, "running");
    assert_eq!(alice.submit([job("db1")]).await, 44);
}

#[tokio::test]
async fn new_connections_meet_new_certificates_and_revocations() {
    let place = Place::new("db[1-2]\n");
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    let lasting = Player::new(&place, &conductor.address, "db1").await;
    let mut session = lasting.attach().await;
    let before = certificate_of(&place, &conductor.address).await;

    let subject = Subject::new(Role::Conductor, CONDUCTOR).unwrap();
    let renewed = place.ca.issue(&subject, &Terms::default()).unwrap();
    place.ca.save(&[renewed], true).unwrap();
    assert_eq!(certificate_of(&place, &conductor.address).await, before, "nothing was asked for");
    alice.reload(false).await.unwrap();
    assert_ne!(certificate_of(&place, &conductor.address).await, before);

    List::of(&[(Role::Player, "db2")]).write(&place);
    let toml = fs::read_to_string(place.path("conductor.toml")).unwrap();
    place.write("conductor.toml", &toml.replace("[tls]", "[tls]\ncrl = \"ca.crl\""));
    assert!(place.try_connect(&conductor.address, Role::Player, "db2").await.is_ok());
    alice.reload(false).await.unwrap();
    let refused = place.try_connect(&conductor.address, Role::Player, "db2").await.err().unwrap();
    let source = std::error::Error::source(&refused).unwrap().to_string();
    assert!(source.contains("it is revoked"), "{source}");
    assert!(place.try_connect(&conductor.address, Role::Player, "db1").await.is_ok());

    let key = place.path(&format!("ca/conductor/{CONDUCTOR}.key"));
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let refused = alice.reload(false).await.unwrap_err();
    assert!(refused.message().contains("chmod 0600"), "{refused:?}");
    // Sessions lived through all of this.
    alice.submit([job("db1")]).await;
    soon("work as before", session.obey()).await;
}

/// What the conductor shows.
async fn certificate_of(place: &Place, address: &str) -> CertificateDer<'static> {
    let tls = place.client_config(Role::Audience, "alice");
    let stream = orchestra_certs::connect(address, tls, crate::harness::PATIENCE).await.unwrap();
    stream.get_ref().1.peer_certificates().unwrap()[0].clone()
}
