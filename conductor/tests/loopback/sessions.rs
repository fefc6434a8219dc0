//! Several sessions: of one name, of players that do not read, of players that are gone.

use std::time::Duration;

use conductor::Patience;
use orchestra_proto::v1::{self, from_player, to_player::Frame};
use prost::Message as _;
use tonic::Code;

use crate::harness::{
    Audience, Conductor, Embedded, Place, Player, Session, Stream, ended, eventually, exited, job,
    one_player, soon,
};

/// Answers probes until the session ends.
async fn stay_alive(mut session: Session) -> Option<tonic::Status> {
    loop {
        match session.next().await {
            Ok(Frame::Probe(_)) => session.say(from_player::Frame::Alive(v1::Alive {})),
            Ok(_) => {}
            Err(end) => return end,
        }
    }
}

async fn attached(alice: &Audience) -> u32 {
    alice.status().await.attached
}

#[tokio::test]
async fn a_session_that_lives_is_not_superseded() {
    let place = Place::new("db1\n");
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    let first = Player::new(&place, &conductor.address, "db1").await;
    let mut session = first.attach().await;
    let second = Player::new(&place, &conductor.address, "db1").await;
    let (refused, ()) = tokio::join!(second.try_attach(), async {
        assert!(matches!(session.frame().await, Frame::Probe(_)));
        session.say(from_player::Frame::Alive(v1::Alive {}));
    });
    let reason = refused.err().unwrap();
    assert_eq!(
        reason,
        "db1 has another session, which is alive: two players run with its certificate"
    );
    alice.submit([job("db1")]).await;
    session.obey().await;
}

#[tokio::test]
async fn a_session_that_keeps_silent_is_superseded() {
    let place = Place::new("db1\n");
    let patience = Patience { probe: Duration::from_millis(100), ..Patience::default() };
    let conductor = Embedded::start(&place, patience).await;
    let alice = Audience::new(&place, &conductor.address).await;
    let mut player = Player::new(&place, &conductor.address, "db1").await;
    let mut silent = player.attach().await;
    let flow = alice.submit([job("db1")]).await;
    let order = silent.order().await;
    // This player's connection died without a word; it has the order.
    player.mark(&silent, order.number);
    player.snapshot.live = vec![v1::LiveAttempt {
        key: order.key.clone(),
        order: order.number,
        started_at_ms: 1,
        proof: None,
    }];
    player.reconnect(&place, &conductor.address).await;
    let mut session = player.attach().await;
    let end = silent.end().await.unwrap();
    assert_eq!((end.code(), end.message()), (Code::Aborted, "the player attached anew"));
    // What the old one still says counts for nothing.
    silent.report(&ended(&order, &exited(1)));
    session.report(&ended(&order, &exited(0)));
    assert_eq!(session.acknowledged().await, order.key.unwrap());
    assert_eq!(alice.verdict(flow).await, "ok");
    assert_eq!(attached(&alice).await, 1);
}

#[tokio::test]
async fn of_three_at_once_one_is_let_in_and_stays() {
    let place = Place::new("db1\n");
    let conductor = Embedded::start(&place, Patience::default()).await;
    let alice = Audience::new(&place, &conductor.address).await;
    let player = Player::new(&place, &conductor.address, "db1").await;
    let mut silent = player.attach().await;
    // Each answers as soon as it is in, so the later one has to ask the earlier one, and not only
    // the silent one.
    let attach = || async {
        let player = Player::new(&place, &conductor.address, "db1").await;
        player.try_attach().await.map(|session| tokio::spawn(stay_alive(session)))
    };
    let (one, two, three) = tokio::join!(attach(), attach(), attach());
    let (won, lost): (Vec<_>, Vec<_>) = [one, two, three].into_iter().partition(Result::is_ok);
    assert_eq!((won.len(), lost.len()), (1, 2), "{lost:?}");
    assert_eq!(silent.end().await.unwrap().message(), "the player attached anew");
    assert_eq!(attached(&alice).await, 1);
    let winner = won.into_iter().next().unwrap().unwrap();
    assert!(!winner.is_finished());
    winner.abort();
}

#[tokio::test]
async fn whoever_leaves_while_it_is_let_in_is_not_attached_for_ever() {
    let place = Place::new("db1\n");
    let patience = Patience { probe: Duration::from_millis(100), ..Patience::default() };
    let conductor = Embedded::start(&place, patience).await;
    let alice = Audience::new(&place, &conductor.address).await;
    let mut silent = Player::new(&place, &conductor.address, "db1").await.attach().await;
    let newcomer = Player::new(&place, &conductor.address, "db1").await;
    let stream = newcomer.open().await;
    stream.say(newcomer.attach_frame());
    assert!(matches!(silent.frame().await, Frame::Probe(_)));
    // The conductor is about to supersede the silent one in favour of somebody who leaves now.
    drop((stream, newcomer));
    silent.end().await;
    eventually("nobody to be attached", async || (attached(&alice).await == 0).then_some(())).await;
    let mut session = Player::new(&place, &conductor.address, "db1").await.attach().await;
    alice.submit([job("db1")]).await;
    session.obey().await;
}

#[tokio::test]
async fn a_player_that_vanishes_is_detached_and_gets_its_orders_when_it_returns() {
    let (place, conductor, alice, mut player) = one_player().await;
    let mut session = player.attach().await;
    let flow = alice.submit([v1::JobSpec { retries: 0, ..job("db1") }]).await;
    let lost_on_the_way = session.order().await;
    drop(session);
    player.reconnect(&place, &conductor.address).await;
    eventually("it to be detached", async || (attached(&alice).await == 0).then_some(())).await;
    let seen = alice.players("db1", false).await.unwrap().remove(0);
    assert!(!seen.attached && seen.since_ms > 0 && seen.in_flight == 1, "{seen:?}");
    let mut session = player.attach().await;
    let order = session.obey().await;
    assert_eq!((order.number, order.key), (lost_on_the_way.number, lost_on_the_way.key));
    assert_eq!(alice.verdict(flow).await, "ok");
}

#[tokio::test]
async fn a_player_that_reads_nothing_is_cut_off_and_slows_nobody() {
    let place = Place::new("db[1-2]\n");
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    let deaf = Player::new(&place, &conductor.address, "db1").await.attach().await;
    let good = Player::new(&place, &conductor.address, "db2").await.attach().await;
    let good = tokio::spawn(good.obey_all());
    // Each of these is acknowledged, and it reads none of that.
    let key = |flow| v1::AttemptKey {
        store_id: vec![9; 16].into(),
        job: Some(v1::JobId { flow, slot: 1, job: 1 }),
        attempt: 1,
    };
    for batch in 0..200 {
        let reports = (0..500).map(|n| {
            let key = Some(key(batch * 1_000 + n + 1));
            let order = v1::Order { key, number: n + 1, ..Default::default() };
            let report = ended(&order, &exited(0)).encode_to_vec().into();
            deaf.frame_of(from_player::Frame::Report(report))
        });
        deaf.say_all(reports);
    }
    let mut deaf = deaf.deaf();
    // Meanwhile the other one works.
    let flow = alice.submit([job("db2")]).await;
    assert_eq!(alice.verdict(flow).await, "ok");
    eventually("the deaf one to be cut off", async || (attached(&alice).await == 1).then_some(()))
        .await;
    let flow = alice.submit([job("db2")]).await;
    assert_eq!(alice.verdict(flow).await, "ok");
    // Now it reads: what was sent before, then why it was cut off.
    let end = loop {
        match soon("the end", deaf.incoming.message()).await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("it ended without a word"),
            Err(status) => break status,
        }
    };
    assert_eq!(end.code(), Code::ResourceExhausted, "{end:?}");
    assert!(end.message().contains("does not read"), "{end:?}");
    good.abort();
}

#[tokio::test]
async fn one_player_does_not_hold_many_streams() {
    let place = Place::new("db[1-2]\n");
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    let player = Player::new(&place, &conductor.address, "db1").await;
    let mut streams = Vec::new();
    for _ in 0..9 {
        streams.push(player.open().await);
    }
    let one_too_many =
        eventually("one to be refused", async || streams.iter().position(Stream::is_answered));
    let one_too_many = one_too_many.await;
    let refused = streams.remove(one_too_many).failed().await;
    assert_eq!(
        (refused.code(), refused.message()),
        (Code::ResourceExhausted, "db1 has 8 streams; it needs one")
    );
    // Others are not concerned, and it is let in once it has left off.
    let mut other = Player::new(&place, &conductor.address, "db2").await.attach().await;
    alice.submit([job("db2")]).await;
    other.obey().await;
    drop(streams);
    eventually("it to be let in", async || player.try_attach().await.ok()).await;
}
