//! It stops in order, at any moment, whoever holds on to it.

use orchestra_certs::Role;
use orchestra_proto::v1;
use rustix::process::Signal;
use tokio::task::JoinSet;
use tonic::Code;

use crate::harness::{
    Audience, Conductor, Place, Player, Session, ended, exited, id, job, one_player, request,
    request_in_one_slot, soon,
};

#[tokio::test]
async fn everybody_is_told_and_the_store_is_closed() {
    let place = Place::new("db[1-2]\n");
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    let mut session = Player::new(&place, &conductor.address, "db1").await.attach().await;
    let flow = alice.submit([job("db[1-2]")]).await;
    session.order().await;
    let mut events = alice.watch(flow).await;
    assert!(events.message().await.unwrap().is_some());
    // Some who would hold on for ever.
    let narrow = place.connect_narrow(&conductor.address, Role::Audience, "alice").await;
    let mut client = v1::audience_client::AudienceClient::new(narrow);
    let _unread =
        client.watch(v1::WatchRequest { flow: id(flow), ..Default::default() }).await.unwrap();
    let _greeting = Player::new(&place, &conductor.address, "db2").await.open().await;
    assert!(place.path("state/orchestra.db-wal").exists());

    let log = place.path("log");
    assert!(conductor.stop().await.success());
    let log = std::fs::read_to_string(log).unwrap();
    assert!(!log.contains("did not end in time"), "{log}");
    let end = session.end().await.unwrap();
    assert_eq!((end.code(), end.message()), (Code::Unavailable, "the conductor is stopping"));
    let end = soon("the end of the watch", async {
        loop {
            if let Err(end) = events.message().await {
                return end;
            }
        }
    });
    assert_eq!(end.await.code(), Code::Unavailable);
    assert!(!place.path("state/orchestra.db-wal").exists(), "the log is in the database");
}

#[tokio::test]
async fn what_is_answered_while_it_stops_is_stored() {
    let place = Place::new("db1\n");
    let mut answered = Vec::new();
    for _ in 0..3 {
        let conductor = Conductor::start(&place);
        let alice = Audience::new(&place, &conductor.address).await;
        let mut tasks = JoinSet::new();
        for _ in 0..100 {
            let (alice, asked) = (alice.clone(), request([job("db1")]));
            tasks.spawn(async move { Some((alice.try_submit(asked.clone()).await.ok()?, asked)) });
        }
        answered.extend(tasks.join_next().await.unwrap().unwrap());
        assert!(conductor.stop().await.success());
        answered.extend(tasks.join_all().await.into_iter().flatten());
    }
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    for (answer, asked) in answered {
        let again = alice.try_submit(asked).await.unwrap();
        assert_eq!((again.flow, again.repeated), (answer.flow, true));
    }
}

#[tokio::test]
async fn what_was_reported_before_is_taken_in() {
    // More acknowledgements than wait for company.
    const TASKS: usize = 1_000;
    let (place, conductor, alice, mut player) = one_player().await;
    player.snapshot.max_tasks = TASKS as u32;
    let mut session = player.attach().await;
    let flow = alice.try_submit(request_in_one_slot(vec![job("db1"); TASKS])).await.unwrap().flow;
    let mut orders = Vec::new();
    while orders.len() < TASKS {
        orders.push(session.order().await);
    }
    orders.iter().for_each(|order| session.report(&ended(order, &exited(0))));
    let first = session.acknowledged().await;
    let (status, acknowledged) = tokio::join!(conductor.stop(), all_acknowledged(session));
    assert!(status.success());
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    let tasks = alice.tasks(flow).await;
    for key in acknowledged.iter().chain([&first]) {
        let place = key.job.unwrap().job as usize - 1;
        assert_eq!(tasks[place].state, "ok");
    }
}

async fn all_acknowledged(mut session: Session) -> Vec<v1::AttemptKey> {
    let mut all = Vec::new();
    while let Ok(v1::to_player::Frame::Command(bytes)) = session.next().await {
        let command: v1::Command = prost::Message::decode(bytes).unwrap();
        if let Some(v1::command::Kind::Acknowledge(acknowledge)) = command.kind {
            all.push(acknowledge.key.unwrap());
        }
    }
    all
}

#[tokio::test]
async fn an_interrupt_stops_it_as_well() {
    let place = Place::new("db1\n");
    let mut conductor = Conductor::start(&place);
    conductor.signal(Signal::INT);
    assert!(conductor.ended().await.success());
}
