//! A player attaches: what it is told, what it may say, and what is held against it.

use std::time::Duration;

use bytes::Bytes;
use conductor::Patience;
use orchestra_ca::Terms;
use orchestra_certs::{Role, Subject};
use orchestra_model::limits;
use orchestra_proto::v1::{self, command::Kind, from_player::Frame};
use prost::Message as _;
use sha2::{Digest as _, Sha256};
use tonic::Code;

use crate::harness::{
    Audience, Conductor, Embedded, Place, Player, ended, exited, job, one_player, refused,
    request_in_one_slot, started, with_params,
};

#[tokio::test]
async fn an_order_goes_from_welcome_to_acknowledgement() {
    let place = Place::new("db[1-2]\n");
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    let mut session = Player::new(&place, &conductor.address, "db1").await.attach().await;
    assert_eq!(session.welcome.protocol, 1);
    assert_eq!(session.welcome.store_id.len(), 16);
    assert_eq!(session.welcome.term, alice.status().await.term);

    let request = request_in_one_slot([v1::JobSpec { timeout_ms: Some(5_000), ..job("db1") }]);
    let request = with_params(request, (1, 1), "package", "apache2");
    let flow = alice.try_submit(request).await.unwrap().flow;
    let Kind::Job(part) = session.command().await else { panic!("no job part") };
    assert_eq!(part.digest, Sha256::digest(&part.body).to_vec());
    let body = v1::JobBody::decode(part.body).unwrap();
    assert_eq!(body.job.unwrap(), v1::JobId { flow, slot: 1, job: 1 });
    assert_eq!((body.score.as_str(), body.audience.as_str()), ("hello", "alice"));
    assert_eq!(body.params["package"], "apache2");
    let order = session.order().await;
    assert_eq!((order.number, order.job_digest.clone()), (1, part.digest));
    assert_eq!(order.timeout_ms, Some(5_000));

    session.report(&started(&order));
    crate::harness::eventually("the task to run", async || {
        (alice.tasks(flow).await[0].state == "running").then_some(())
    })
    .await;
    session.report(&ended(&order, &exited(0)));
    assert_eq!(session.acknowledged().await, order.key.unwrap());
    assert_eq!(alice.verdict(flow).await, "ok");
    let log = alice.logs(flow, "db1").await.remove(0);
    assert_eq!((log.attempt, log.late), (1, false));
    let end = v1::AttemptEnd::decode(log.end).unwrap();
    assert_eq!(end.stdout.unwrap().head, "done\n");
}

#[tokio::test]
async fn a_player_is_told_how_fast_its_fleet_may_come_back() {
    let place = Place::new("db[1-2600]\n");
    let conductor = Conductor::start(&place);
    let session = Player::new(&place, &conductor.address, "db1").await.attach().await;
    assert_eq!(session.welcome.come_back_within_ms, 2_000);
}

#[tokio::test]
async fn job_parts_come_before_the_first_order_and_64_are_remembered() {
    let (_place, _conductor, alice, mut player) = one_player().await;
    player.snapshot.max_tasks = 100;
    let mut session = player.attach().await;
    let retried = v1::JobSpec { retries: 1, ..job("db1") };
    alice.try_submit(request_in_one_slot(vec![retried; 65])).await.unwrap();
    let mut orders = Vec::new();
    for n in 1..=65 {
        orders.push(session.order().await);
        assert_eq!(session.jobs, n, "a part for each job");
    }
    // The second is still remembered, the first no longer is.
    for (order, parts) in [(&orders[1], 65), (&orders[0], 66), (&orders[64], 66)] {
        session.report(&ended(order, &exited(1)));
        assert_eq!(session.acknowledged().await, order.key.clone().unwrap());
        let again = session.order().await;
        assert_eq!(again.job_digest, order.job_digest);
        assert_eq!(again.key.unwrap().attempt, 2);
        assert_eq!(session.jobs, parts);
    }
}

#[tokio::test]
async fn many_reports_come_in_one_message() {
    let (_place, _conductor, alice, mut player) = one_player().await;
    player.snapshot.max_tasks = 100;
    let mut session = player.attach().await;
    let flow = alice.try_submit(request_in_one_slot(vec![job("db1"); 80])).await.unwrap().flow;
    let mut orders = Vec::new();
    while orders.len() < 80 {
        orders.push(session.order().await);
    }
    let report = |order| ended(order, &exited(0)).encode_to_vec().into();
    session.say_all(orders.iter().map(|order| session.frame_of(Frame::Report(report(order)))));
    for order in orders {
        assert_eq!(session.acknowledged().await, order.key.unwrap());
    }
    assert_eq!(alice.verdict(flow).await, "ok");
}

#[tokio::test]
async fn the_same_end_twice_counts_once_and_is_not_late() {
    let (_place, _conductor, alice, player) = one_player().await;
    let mut session = player.attach().await;
    let flow = alice.submit([job("db1")]).await;
    let order = session.order().await;
    for _ in 0..2 {
        // The second as after a connection that was lost before the acknowledgement came.
        session.report(&ended(&order, &exited(0)));
        assert_eq!(session.acknowledged().await, order.key.clone().unwrap());
    }
    let logs = alice.logs(flow, "db1").await;
    assert_eq!(logs.len(), 1);
    assert!(!logs[0].late, "it came in time, the first time");
}

#[tokio::test]
async fn what_breaks_the_protocol_ends_the_session_and_nothing_else() {
    let place = Place::new("db[1-2]\n");
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    let player = Player::new(&place, &conductor.address, "db1").await;
    let garbage = || Bytes::from_static(b"\xff\xff\xff no message");
    let huge = v1::AttemptEnd {
        outcome: Some(v1::attempt_end::Outcome::Lost("x".repeat(300 << 10))),
        ..exited(0)
    };
    let key = v1::AttemptKey {
        store_id: vec![1; 16].into(),
        job: Some(v1::JobId { flow: 1, slot: 1, job: 1 }),
        attempt: 1,
    };
    let order = v1::Order { key: Some(key), number: 1, ..Default::default() };
    let cases = [
        ("db1", Some(Frame::Report(garbage())), Code::InvalidArgument, "report: "),
        (
            "db1",
            Some(Frame::Report(v1::Report::default().encode_to_vec().into())),
            Code::InvalidArgument,
            "Report.key",
        ),
        (
            "db1",
            Some(Frame::Report(ended(&order, &huge).encode_to_vec().into())),
            Code::InvalidArgument,
            "at most 262144 are kept",
        ),
        ("db1", Some(player.attach_frame()), Code::InvalidArgument, "a second attach"),
        ("db1", None, Code::InvalidArgument, "an empty frame"),
        ("db2", Some(Frame::Alive(v1::Alive {})), Code::PermissionDenied, "db1 spoke for \"db2\""),
        ("../x", Some(Frame::Alive(v1::Alive {})), Code::PermissionDenied, "spoke for \"../x\""),
    ];
    for (name, frame, code, message) in cases {
        let mut session = player.attach().await;
        session.say_all([v1::FromPlayer { player: name.to_owned(), frame }]);
        let end = session.end().await.expect("a status");
        assert_eq!(end.code(), code, "{end:?}");
        assert!(end.message().contains(message), "{end:?}");
    }
    crate::harness::eventually("db1 to be detached", async || {
        (alice.status().await.attached == 0).then_some(())
    })
    .await;
    // An honest one is not held up by any of that.
    let mut session = player.attach().await;
    alice.submit([job("db1")]).await;
    session.obey().await;
}

#[tokio::test]
async fn only_a_good_attach_is_answered_with_a_welcome() {
    let place = Place::new("db1\n");
    let conductor = Conductor::start(&place);
    let player = Player::new(&place, &conductor.address, "db1").await;
    let attach = |change: &dyn Fn(&mut Player)| {
        let mut player = player.clone();
        change(&mut player);
        async move { player.try_attach().await.err().expect("it is refused") }
    };
    let old = attach(&|player| player.attach.protocol = 99).await;
    assert_eq!(old, "the player speaks protocol 99, this conductor 1");
    let spool = attach(&|player| player.snapshot.spool_id = Bytes::from_static(b"short")).await;
    assert!(spool.contains("Snapshot.spool_id"), "{spool}");
    let none = attach(&|player| player.snapshot.max_tasks = 0).await;
    assert!(none.contains("Snapshot.max_tasks"), "{none}");
    let live = attach(&|player| {
        player.snapshot.live = vec![v1::LiveAttempt::default(); 2_000];
    })
    .await;
    assert!(live.contains("2000 attempts are alive"), "{live}");
    let scores = attach(&|player| {
        let offer = v1::ScoreOffer {
            name: "../../etc/passwd".to_owned(),
            hash: vec![0; 32].into(),
            state: Some(v1::score_offer::State::Disabled("why".to_owned())),
        };
        player.snapshot.scores = vec![offer];
    })
    .await;
    assert!(scores.contains("score name"), "{scores}");

    let stream = player.open().await;
    let garbage = v1::Attach { snapshot: "\u{7f}".into(), ..player.attach.clone() };
    stream.say(Frame::Attach(garbage));
    let reason = stream.session().await.err().unwrap();
    assert!(reason.starts_with("snapshot: "), "{reason}");
    assert!(player.try_attach().await.is_ok());
}

#[tokio::test]
async fn the_first_message_is_one_attach_of_the_name_in_the_certificate() {
    let place = Place::new("db[1-2]\n");
    let conductor = Conductor::start(&place);
    let player = Player::new(&place, &conductor.address, "db1").await;
    let frame = |name: &str, frame| v1::FromPlayer { player: name.to_owned(), frame: Some(frame) };
    let attach = || player.attach_frame();
    for (frames, code, message) in [
        (vec![], Code::InvalidArgument, "one attach frame"),
        (
            vec![frame("db1", attach()), frame("db1", attach())],
            Code::InvalidArgument,
            "one attach frame",
        ),
        (
            vec![frame("db1", Frame::Alive(v1::Alive {}))],
            Code::InvalidArgument,
            "the first frame is an attach",
        ),
        (vec![frame("db2", attach())], Code::PermissionDenied, "db1 attached as \"db2\""),
    ] {
        let stream = player.open().await;
        stream.say_all(frames);
        let status = stream.failed().await;
        assert_eq!(status.code(), code, "{status:?}");
        assert!(status.message().contains(message), "{status:?}");
    }
}

#[tokio::test]
async fn a_message_that_is_too_large_is_refused_as_that_and_logged() {
    let place = Place::new("db1\n");
    let conductor = Conductor::start(&place);
    let player = Player::new(&place, &conductor.address, "db1").await;
    let stream = player.open().await;
    let snapshot = vec![0; limits::MESSAGE_BYTES].into();
    stream.say(Frame::Attach(v1::Attach { snapshot, ..player.attach.clone() }));
    let status = stream.failed().await;
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    assert!(status.message().starts_with("a message is too large: "), "{status:?}");
    conductor.logged("a message is too large").await;
    assert!(player.try_attach().await.is_ok());
}

#[tokio::test]
async fn a_player_that_does_not_say_who_it_is_is_not_waited_for() {
    let place = Place::new("db1\n");
    let patience = Patience { greeting: Duration::from_millis(50), ..Patience::default() };
    let conductor = Embedded::start(&place, patience).await;
    let player = Player::new(&place, &conductor.address, "db1").await;
    let status = player.open().await.failed().await;
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert_eq!(status.message(), "no attach frame within 50ms");
}

#[tokio::test]
async fn an_unknown_player_is_told_what_to_do() {
    let place = Place::new("db[1-2]\n");
    let conductor = Conductor::start(&place);
    let stranger = Player::new(&place, &conductor.address, "db3").await;
    let reason = stranger.try_attach().await.err().unwrap();
    assert_eq!(
        reason,
        "the conductor does not know db3: add it to its players file, and reload it"
    );
    conductor.logged("player refused").await;
    place.write("players", "db[1-3]\n");
    Audience::new(&place, &conductor.address).await.reload(false).await.unwrap();
    assert!(stranger.try_attach().await.is_ok());
}

#[tokio::test]
async fn what_a_player_says_for_people_is_cut() {
    let (_place, conductor, alice, mut player) = one_player().await;
    player.attach.version = "v".repeat(1_000_000);
    let mut session = player.attach().await;
    let flow = alice.submit([job("db1")]).await;
    let order = session.order().await;
    let reason = v1::refusal::Reason::SpawnFailed;
    session.report(&refused(&order, reason, &"because ".repeat(10_000)));
    assert_eq!(session.acknowledged().await, order.key.unwrap());
    assert_eq!(alice.verdict(flow).await, "failed");
    let task = alice.tasks(flow).await.remove(0);
    assert_eq!(task.state, "refused");
    assert!(
        task.detail.contains("because because") && task.detail.len() < 1_200,
        "{}",
        task.detail
    );
    assert_eq!(alice.players("", false).await.unwrap()[0].version, "v".repeat(64));
    assert!(conductor.log().len() < 10_000);
}

#[tokio::test]
async fn a_certificate_that_ends_soon_is_told() {
    let place = Place::new("db[1-3]\n");
    let subject = Subject::new(Role::Player, "db1").unwrap();
    let terms = Terms { days: 20, ..Terms::default() };
    place.ca.save(&[place.ca.issue(&subject, &terms).unwrap()], false).unwrap();
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    let _soon = Player::new(&place, &conductor.address, "db1").await.attach().await;
    let _later = Player::new(&place, &conductor.address, "db2").await.attach().await;
    let status = alice.status().await;
    assert_eq!(status.certificates_ending, 1);
    let ends: Vec<u64> = alice
        .players("@all", false)
        .await
        .unwrap()
        .iter()
        .map(|player| player.certificate_ends_ms)
        .collect();
    assert!(0 < ends[0] && ends[0] < ends[1] && ends[2] == 0, "{ends:?}");
    // All but the one were issued for as long.
    assert!(status.certificate_ends_ms.abs_diff(ends[1]) < 86_400_000, "{status:?} {ends:?}");
}
