//! Sessions, with the test in place of the driver.

use orchestra_flow::{Engine, Recovery, Settings};
use orchestra_model::{
    FlowId,
    delivery::{SpoolId, Term},
    record::{PlayerRecord, Recovered},
};
use orchestra_proto::v1::from_player::Frame;
use tokio::sync::mpsc;

use super::*;
use crate::{driver::Clock, fetches::Fetches};

pub(in crate::lines) const STORE: StoreId = StoreId([7; 16]);

pub(in crate::lines) fn db1() -> HostName {
    HostName::new("db1").unwrap()
}

/// Returns the index of db1 in an engine's table.
pub(in crate::lines) fn player() -> PlayerIx {
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

/// Returns a driver's mailbox, and its receiving end.
pub(in crate::lines) fn driver() -> (Handle, mpsc::Receiver<FromSession>) {
    let (sessions, driver) = mpsc::channel(16);
    (Handle { sessions, requests: mpsc::channel(1).0 }, driver)
}

/// Returns tables that these tests do not look at.
pub(in crate::lines) fn tables() -> Tables {
    let (_, fleet) = tokio::sync::watch::channel(Arc::default());
    Tables {
        readings: Default::default(),
        vitals: Default::default(),
        places: Default::default(),
        fetches: Fetches::new(fleet.clone(), || None, Clock::start()),
        fleet,
    }
}

/// Returns sessions, and the receiving end of what they tell the driver.
fn sessions() -> (Sessions, mpsc::Receiver<FromSession>) {
    let (handle, driver) = driver();
    (Sessions::new(handle, STORE, Proofs::default(), tables(), Duration::from_secs(3)), driver)
}

pub(in crate::lines) fn from_db1(frame: Frame) -> v1::FromPlayer {
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

pub(in crate::lines) fn snapshot() -> Vec<u8> {
    let state = Some(v1::score_offer::State::Disabled("why".to_owned()));
    let offer = v1::ScoreOffer { name: "hello".to_owned(), hash: Bytes::new(), state };
    let spool_id = Bytes::copy_from_slice(&[1; 16]);
    v1::Snapshot { spool_id, max_tasks: 1, scores: vec![offer], ..Default::default() }
        .encode_to_vec()
}

#[tokio::test]
async fn players_with_the_same_scores_share_a_list() {
    let (sessions, _driver) = sessions();
    let attach = || sessions.snapshot(&db1(), snapshot().into()).unwrap().0.scores;
    let (one, two) = (attach(), attach());
    assert!(one.len() == 1 && std::ptr::eq(&*one, &*two));
}

#[tokio::test]
async fn a_message_is_told_at_once_and_returns_its_room() {
    let (sessions, mut driver) = sessions();
    let (queue, _frames) = StreamQueue::new();
    let outbox = Outbox::new("db1", queue);
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

    // What came before the protocol was broken counts.
    let nothing = v1::FromPlayer { player: "db1".to_owned(), frame: None };
    let frames = vec![started(4), nothing, started(5)];
    assert!(sessions.take(&session, v1::FromPlayers { frames }).await.is_err());
    assert_eq!(orders(driver.recv().await.unwrap()), [4]);

    // A message that is longer than any honest one is cut.
    let frames = (0..).map(started).take(2 * TURN + 1).collect();
    sessions.take(&session, v1::FromPlayers { frames }).await.unwrap();
    let mut lengths = Vec::new();
    while let Ok(FromSession::Reported { reports, .. }) = driver.try_recv() {
        lengths.push(reports.len());
    }
    assert_eq!(lengths, [TURN, TURN, 1]);
    assert_eq!(sessions.room.available_permits(), ROOM);
}
