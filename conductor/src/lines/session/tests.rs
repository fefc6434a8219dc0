//! Sessions with a driver that is the test itself.

use orchestra_certs::{Outgoing, Role, Subject};
use orchestra_flow::{Engine, Recovery, Settings};
use orchestra_model::{
    FlowId,
    delivery::{SpoolId, Term},
    record::{PlayerRecord, Recovered},
};
use orchestra_proto::v1::from_player::Frame;
use tokio::sync::mpsc;

use super::*;

const STORE: StoreId = StoreId([7; 16]);

fn db1() -> HostName {
    HostName::new("db1").unwrap()
}

/// The place of db1 in an engine's table.
fn player() -> PlayerIx {
    let record = PlayerRecord {
        host: db1(),
        spool: Some(SpoolId([1; 16])),
        last_order: orchestra_model::delivery::OrderNumber(0),
        detached_at: None,
        removed: false,
        drained: None,
    };
    let recovery = Recovery {
        store: STORE,
        term: Term(1),
        recovered: Recovered::default(),
        next_flow: FlowId(1),
        players: vec![record],
        requests: Vec::new(),
        holds: Vec::new(),
        deployments: Arc::default(),
        doubt: None,
    };
    Engine::recover(Settings { most_tasks: 1 }, recovery).roster().member(&db1()).unwrap()
}

/// The service, and what it tells the driver. It stops when the last is dropped.
fn sessions() -> (Sessions, mpsc::Receiver<FromSession>, watch::Sender<bool>) {
    let (sessions, driver) = mpsc::channel(16);
    let handle = Handle { sessions, requests: mpsc::channel(1).0 };
    let (stop, stopping) = watch::channel(false);
    (Sessions::new(handle, STORE, Proofs::default(), Patience::default(), stopping), driver, stop)
}

fn from_db1(frame: Frame) -> v1::FromPlayer {
    v1::FromPlayer { player: "db1".to_owned(), frame: Some(frame) }
}

fn started(order: u64) -> v1::FromPlayer {
    let key = v1::AttemptKey {
        store_id: Bytes::copy_from_slice(&STORE.0),
        job: Some(v1::JobId { flow: 1, slot: 1, job: 1 }),
        attempt: 1,
    };
    let kind = v1::report::Kind::Started(v1::Started { at_ms: 1 });
    let report = v1::Report { key: Some(key), order, kind: Some(kind) };
    from_db1(Frame::Report(report.encode_to_vec().into()))
}

fn snapshot() -> Vec<u8> {
    let state = Some(v1::score_offer::State::Disabled("why".to_owned()));
    let offer = v1::ScoreOffer { name: "hello".to_owned(), hash: Bytes::new(), state };
    let spool_id = Bytes::copy_from_slice(&[1; 16]);
    v1::Snapshot { spool_id, max_tasks: 1, scores: vec![offer], ..Default::default() }
        .encode_to_vec()
}

/// Bytes that tell by a count whether anybody has them.
struct Counted(Vec<u8>, #[expect(dead_code, reason = "it is counted")] Arc<()>);

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// A stream of one message, which does not end.
fn incoming(message: v1::FromPlayers) -> impl Messages + 'static {
    tokio_stream::once(Ok(message)).chain(tokio_stream::pending())
}

#[tokio::test]
async fn what_a_player_said_of_itself_is_gone_once_it_is_let_in() {
    let (sessions, mut driver, _stop) = sessions();
    let count = Arc::new(());
    let snapshot = Bytes::from_owner(Counted(snapshot(), Arc::clone(&count)));
    let attach = v1::Attach { protocol: PROTOCOL, snapshot, ..Default::default() };
    let incoming = incoming(v1::FromPlayers { frames: vec![from_db1(Frame::Attach(attach))] });
    let domain = HostName::new("example").unwrap();
    let subject = Subject::new(Role::Player, "db1").unwrap();
    let identity = orchestra_certs::Identity { domain, subject };
    let address = ([127, 0, 0, 1], 1).into();
    let peer = Peer {
        identity,
        address,
        serial: Arc::from("1"),
        surplus: None,
        outgoing: Outgoing::default(),
    };
    let stream = sessions.streams.enter(&db1()).unwrap();
    let (answer, answered) = oneshot::channel();
    let session = tokio::spawn(sessions.serve(peer, db1(), incoming, answer, stream));

    let Some(FromSession::Attached(attach, reply)) = driver.recv().await else { panic!() };
    assert_eq!(attach.snapshot.scores[0].name.as_str(), "hello");
    drop(attach);
    reply.send(Attached::Welcome(player())).unwrap();
    let _frames = answered.await.unwrap().unwrap();
    assert!(!session.is_finished());
    assert_eq!(Arc::strong_count(&count), 1, "somebody keeps the snapshot's bytes");
}

#[tokio::test]
async fn players_with_the_same_scores_share_a_list() {
    let (sessions, _driver, _stop) = sessions();
    let attach = || sessions.snapshot(&db1(), snapshot().into()).unwrap().scores;
    let (one, two) = (attach(), attach());
    assert!(one.len() == 1 && std::ptr::eq(&*one, &*two));
}

#[tokio::test]
async fn a_message_is_told_at_once_and_returns_its_room() {
    let (sessions, mut driver, _stop) = sessions();
    let (outbox, _frames) = Outbox::new("db1");
    let session = Session { host: db1(), player: player(), id: SessionId(1), outbox };
    let orders = |message: FromSession| {
        let FromSession::Reported { reports, room, .. } = message else { panic!("{message:?}") };
        assert_eq!(sessions.room.available_permits(), ROOM - room.num_permits());
        reports
            .iter()
            .map(|report| match *report {
                orchestra_model::delivery::Report::Started { order, .. } => order.0,
                ref other => panic!("{other:?}"),
            })
            .collect::<Vec<_>>()
    };
    let alive = from_db1(Frame::Alive(v1::Alive {}));
    let frames = vec![started(1), alive.clone(), started(2), started(3)];
    sessions.take(&session, v1::FromPlayers { frames }).await.unwrap();
    assert_eq!(orders(driver.recv().await.unwrap()), [1, 2, 3]);
    assert!(matches!(driver.recv().await, Some(FromSession::Alive { session: SessionId(1) })));

    // What came before it broke the protocol counts.
    let nothing = v1::FromPlayer { player: "db1".to_owned(), frame: None };
    let frames = vec![started(4), nothing, started(5)];
    assert!(sessions.take(&session, v1::FromPlayers { frames }).await.is_err());
    assert_eq!(orders(driver.recv().await.unwrap()), [4]);

    // One that is longer than any honest one is cut.
    let frames = (0..).map(started).take(2 * TURN + 1).collect();
    sessions.take(&session, v1::FromPlayers { frames }).await.unwrap();
    let mut lengths = Vec::new();
    while let Ok(FromSession::Reported { reports, .. }) = driver.try_recv() {
        lengths.push(reports.len());
    }
    assert_eq!(lengths, [TURN, TURN, 1]);
    assert_eq!(sessions.room.available_permits(), ROOM);
}
