//! What units wrote, and attempts write, read from pretended players.

use bytes::Bytes;
use orchestra_proto::v1::{self, command::Kind, log_end::Reason, log_part::Part};
use tonic::{Code, Status, Streaming};

use crate::{
    harness::{Audience, Conductor, Place, Player, Session, ended, exited, id, job, soon, started},
    services::{Keeper, spec, start},
};

/// A service on db1, ready there.
async fn ready() -> (Place, Conductor, Audience, Keeper) {
    let (place, conductor, alice) = start("db1\n").await;
    let mut db1 = Keeper::attach(&place, &conductor, "db1").await;
    let applied = alice.apply(&spec("db1", "hello")).await.unwrap();
    db1.obey("ready").await;
    assert_eq!(alice.verdict(applied.flow).await, "ok");
    (place, conductor, alice, db1)
}

fn request(ordinal: u32) -> v1::ReadLogsRequest {
    let stream = v1::log_query::Stream::Stdout.into();
    let query = v1::LogQuery { stream, follow: true, ..Default::default() };
    v1::ReadLogsRequest {
        service: "web".to_owned(),
        instance: Some(v1::read_logs_request::Instance::Ordinal(ordinal)),
        query: Some(query),
    }
}

async fn read(
    alice: &Audience,
    request: v1::ReadLogsRequest,
) -> Result<Streaming<v1::LogChunk>, Status> {
    let mut client = alice.client.clone();
    Ok(soon("an answer", client.read_logs(request)).await?.into_inner())
}

/// Begins to read, and how the player is asked.
async fn begin(alice: &Audience, db1: &mut Keeper) -> (Streaming<v1::LogChunk>, v1::ReadLog) {
    let stream = read(alice, request(1)).await.unwrap();
    match db1.session.command().await {
        Kind::ReadLog(read) => (stream, read),
        other => panic!("no reading but {other:?}"),
    }
}

fn tell(session: &Session, reading: u64, part: Part) {
    let log = v1::LogPart { reading, part: Some(part) };
    let kind = Some(v1::report::Kind::Log(log));
    session.report(&v1::Report { key: None, order: 0, kind });
}

fn chunk(bytes: usize) -> Part {
    Part::Chunk(v1::LogChunk {
        run: 1,
        placement: 1,
        bytes: Bytes::from(vec![b'x'; bytes]),
        next: Some(v1::LogPlace { file: 1, offset: bytes as u64 }),
        ..Default::default()
    })
}

fn end(reason: Reason) -> Part {
    Part::End(v1::LogEnd { reason: reason.into(), detail: "because".to_owned() })
}

/// How a stream ends, before it has brought anything.
async fn failure(stream: &mut Streaming<v1::LogChunk>) -> Status {
    soon("the end", stream.message()).await.unwrap_err()
}

#[tokio::test]
async fn a_log_comes_as_its_player_tells_it_and_what_is_taken_is_paid_for() {
    let (_place, _conductor, alice, mut db1) = ready().await;
    let (mut stream, asked) = begin(&alice, &mut db1).await;
    let Some(v1::read_log::Of::Unit(unit)) = asked.of else { panic!("{asked:?}") };
    assert_eq!((unit.service.as_str(), asked.credit), ("web", 256 << 10));
    assert_eq!(asked.query, request(1).query);
    for (bytes, credit) in [(5, 1 << 10), (64 << 10, 64 << 10)] {
        tell(&db1.session, asked.reading, chunk(bytes));
        let told = soon("a chunk", stream.message()).await.unwrap().unwrap();
        assert_eq!((told.bytes.len(), told.next.unwrap().offset), (bytes, bytes as u64));
        let paid = v1::LogCredit { reading: asked.reading, bytes: credit };
        assert_eq!(db1.session.command().await, Kind::LogCredit(paid));
    }
    tell(&db1.session, asked.reading, end(Reason::All));
    assert_eq!(soon("the end", stream.message()).await.unwrap(), None);
}

#[tokio::test]
async fn where_either_end_goes_the_other_is_told() {
    let (place, conductor, alice, mut db1) = ready().await;
    let (stream, asked) = begin(&alice, &mut db1).await;
    drop(stream);
    let closed = Kind::CloseLog(v1::CloseLog { reading: asked.reading });
    assert_eq!(db1.session.command().await, closed);
    // What was on its way is nobody's.
    tell(&db1.session, asked.reading, chunk(5));
    let (mut stream, asked) = begin(&alice, &mut db1).await;
    tell(&db1.session, asked.reading, end(Reason::Gone));
    assert_eq!(failure(&mut stream).await.code(), Code::NotFound);
    db1.session.command().await;
    let (mut stream, _) = begin(&alice, &mut db1).await;
    db1.attach_again(&place, &conductor, 1).await;
    let lost = failure(&mut stream).await;
    assert_eq!((lost.code(), lost.message()), (Code::Unavailable, "the player went away"));
    begin(&alice, &mut db1).await;
}

#[tokio::test]
async fn a_player_that_sends_more_than_it_may_is_not_listened_to() {
    let (_place, _conductor, alice, mut db1) = ready().await;
    let (mut stream, asked) = begin(&alice, &mut db1).await;
    // In one message, so that nothing is paid for in between.
    let frames = (0..300).map(|_| {
        let log = v1::LogPart { reading: asked.reading, part: Some(chunk(1)) };
        let kind = Some(v1::report::Kind::Log(log));
        let report = v1::Report { key: None, order: 0, kind };
        let bytes = prost::Message::encode_to_vec(&report).into();
        db1.session.frame_of(v1::from_player::Frame::Report(bytes))
    });
    db1.session.say_all(frames.collect::<Vec<_>>());
    let over = loop {
        match soon("the end", stream.message()).await {
            Ok(chunk) => assert!(chunk.is_some()),
            Err(status) => break status,
        }
    };
    assert_eq!(over.code(), Code::Internal);
    assert!(over.message().contains("sent more of a log"), "{over}");
    while db1.session.command().await != Kind::CloseLog(v1::CloseLog { reading: asked.reading }) {}
}

#[tokio::test]
async fn readings_of_a_name_are_bounded() {
    let (place, conductor, alice, mut db1) = ready().await;
    let mut streams = Vec::new();
    for _ in 0..8 {
        streams.push(begin(&alice, &mut db1).await.0);
    }
    let mut one_more = read(&alice, request(1)).await.unwrap();
    assert_eq!(failure(&mut one_more).await.code(), Code::ResourceExhausted);
    streams.pop();
    db1.session.command().await;
    begin(&alice, &mut db1).await;
    drop((place, conductor));
}

#[tokio::test]
async fn what_cannot_be_read_is_told_at_once() {
    let (_place, _conductor, alice, mut db1) = ready().await;
    let ends = async |request| failure(&mut read(&alice, request).await.unwrap()).await;
    let other = v1::ReadLogsRequest { service: "db".to_owned(), ..request(1) };
    assert_eq!(ends(other).await.code(), Code::NotFound);
    let missing = ends(request(7)).await;
    assert_eq!((missing.code(), missing.message()), (Code::NotFound, "there is no instance web/7"));
    let nothing = v1::ReadLogsRequest { instance: None, ..request(1) };
    assert_eq!(read(&alice, nothing).await.unwrap_err().code(), Code::InvalidArgument);
    // A player of an older release answers nothing about units.
    db1.player.mark(&db1.session, 1);
    db1.player.snapshot.units = None;
    db1.session = db1.player.attach().await;
    let old = ends(request(1)).await;
    assert_eq!(old.code(), Code::FailedPrecondition, "{old}");
    drop(db1);
    loop {
        let away = ends(request(1)).await;
        if away.code() == Code::Unavailable {
            break;
        }
    }
}

fn of_attempt(flow: u64, host: &str) -> v1::ReadLogsRequest {
    let job = Some(v1::JobId { flow, slot: 1, job: 1 });
    let attempt = v1::LogOfAttempt { job, host: host.to_owned(), attempt: 1 };
    let instance = Some(v1::read_logs_request::Instance::Attempt(attempt));
    v1::ReadLogsRequest { service: String::new(), instance, ..request(1) }
}

#[tokio::test]
async fn an_attempt_is_read_where_it_runs() {
    let place = Place::new("db[1-2]\n");
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    let mut db1 = Player::new(&place, &conductor.address, "db1").await;
    let flow = alice.submit([job("db1")]).await;
    let ends = async |request| failure(&mut read(&alice, request).await.unwrap()).await;
    assert_eq!(ends(of_attempt(flow, "db1")).await.code(), Code::Unavailable);
    assert_eq!(ends(of_attempt(flow, "db2")).await.code(), Code::NotFound);
    // A player of an older release does not know what it would be asked.
    let mut session = db1.attach().await;
    session.order().await;
    let old = ends(of_attempt(flow, "db1")).await;
    assert_eq!(old.code(), Code::FailedPrecondition, "{old}");
    assert!(old.message().contains("only once they have ended"), "{old}");
    drop(session);
    db1.snapshot.attempt_logs = true;
    let mut session = db1.attach().await;
    session.order().await;
    let mut stream = read(&alice, of_attempt(flow, "db1")).await.unwrap();
    let Kind::ReadLog(asked) = session.command().await else { panic!("no reading") };
    let Some(v1::read_log::Of::Attempt(key)) = asked.of else { panic!("{asked:?}") };
    let job = v1::JobId { flow, slot: 1, job: 1 };
    assert_eq!((key.job, key.attempt), (Some(job), 1));
    tell(&session, asked.reading, chunk(5));
    assert_eq!(soon("a chunk", stream.message()).await.unwrap().unwrap().bytes.len(), 5);
    session.command().await;
    tell(&session, asked.reading, end(Reason::Gone));
    let over = failure(&mut stream).await;
    assert_eq!(over.code(), Code::NotFound);
    assert_eq!(
        over.message(),
        format!(
            "attempt {flow}.1.1#1 does not run on db1, which keeps no more of it than its end tells"
        )
    );
}

#[tokio::test]
async fn many_attempts_are_followed_to_their_ends() {
    use v1::output_part::Part as Told;
    let place = Place::new("db[1-2]\n");
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    let mut db1 = Player::new(&place, &conductor.address, "db1").await;
    db1.snapshot.attempt_logs = true;
    let mut session = db1.attach().await;
    let flow = alice.submit([job("db1")]).await;
    let order = session.order().await;
    session.report(&started(&order));
    let request = v1::FollowOutputRequest { flow: id(flow), ..Default::default() };
    let follow = async || {
        let mut client = alice.client.clone();
        let answer = soon("an answer", client.follow_output(request.clone())).await;
        answer.map(tonic::Response::into_inner).unwrap()
    };
    let mut parts = follow().await;
    let mut readings = Vec::new();
    while readings.len() < 2 {
        let Kind::ReadLog(asked) = session.command().await else { panic!("no reading") };
        assert_eq!(asked.credit, 16 << 10);
        readings.push(asked);
    }
    tell(&session, readings[0].reading, chunk(5));
    let part = soon("a part", parts.message()).await.unwrap().unwrap();
    let Some(Told::Written(written)) = part.part else { panic!("{part:?}") };
    assert_eq!((written.host.as_str(), written.attempt), ("db1", 1));
    assert_eq!(written.chunk.unwrap().bytes.len(), 5);
    // What is on its way comes before the end.
    session.report(&ended(&order, &exited(3)));
    assert_eq!(alice.verdict(flow).await, "failed");
    tell(&session, readings[0].reading, chunk(6));
    for asked in &readings {
        tell(&session, asked.reading, end(Reason::All));
    }
    let part = soon("a part", parts.message()).await.unwrap().unwrap();
    assert!(matches!(part.part, Some(Told::Written(_))), "{part:?}");
    let part = soon("a part", parts.message()).await.unwrap().unwrap();
    let Some(Told::Ended(log)) = part.part else { panic!("{part:?}") };
    assert_eq!((log.host.as_str(), log.attempt), ("db1", 1));
    assert_eq!(soon("the end", parts.message()).await.unwrap(), None);
    // Of a flow that has ended the ends are told.
    let mut after = follow().await;
    let part = soon("a part", after.message()).await.unwrap().unwrap();
    assert!(matches!(part.part, Some(Told::Ended(_))), "{part:?}");
    assert_eq!(soon("the end", after.message()).await.unwrap(), None);
}

/// The next readings that a player is asked for, by stream.
async fn readings(session: &mut Session) -> Vec<v1::ReadLog> {
    let mut asked = Vec::new();
    while asked.len() < 2 {
        let Kind::ReadLog(read) = session.command().await else { panic!("no reading") };
        asked.push(read);
    }
    asked
}

#[tokio::test]
async fn a_follower_that_stops_reading_slows_nobody() {
    const CHUNK: usize = 16 << 10;
    /// More than lies between conductor and reader: the windows of a connection have 2 MiB.
    const ROUNDS: usize = 300;
    let place = Place::new("db1\n");
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    let other = Audience::new(&place, &conductor.address).await;
    let mut db1 = Player::new(&place, &conductor.address, "db1").await;
    db1.snapshot.attempt_logs = true;
    let mut session = db1.attach().await;
    let flow = alice.submit([job("db1")]).await;
    let order = session.order().await;
    session.report(&started(&order));
    let follow = async |who: &Audience| {
        let mut client = who.client.clone();
        let request = v1::FollowOutputRequest { flow: id(flow), ..Default::default() };
        soon("an answer", client.follow_output(request)).await.unwrap().into_inner()
    };
    let _idle = follow(&other).await;
    let idle = readings(&mut session).await.remove(0);
    let mut parts = follow(&alice).await;
    let lively = readings(&mut session).await.remove(0);
    // The one that reads nothing is told as much as it may be told, in small pieces as they are paid for.
    let (mut may, mut told) = (usize::try_from(idle.credit).unwrap(), 0);
    for _ in 0..ROUNDS {
        tell(&session, lively.reading, chunk(CHUNK));
        while may >= CHUNK {
            tell(&session, idle.reading, chunk(CHUNK));
            (may, told) = (may - CHUNK, told + CHUNK);
        }
        let part = soon("a part", parts.message()).await.unwrap().unwrap();
        assert!(matches!(part.part, Some(v1::output_part::Part::Written(_))), "{part:?}");
        loop {
            let Kind::LogCredit(paid) = session.command().await else { panic!("no credit") };
            if paid.reading == lively.reading {
                break;
            }
            may += usize::try_from(paid.bytes).unwrap();
        }
    }
    assert!(told < ROUNDS * CHUNK, "what is not read is asked for: {told} bytes");
    // Nor does it keep the flow from ending.
    session.report(&ended(&order, &exited(0)));
    assert_eq!(alice.verdict(flow).await, "ok");
}

#[tokio::test]
async fn followers_of_a_name_are_bounded() {
    let place = Place::new("db[1-2]\n");
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    let db1 = Player::new(&place, &conductor.address, "db1").await;
    let mut session = db1.attach().await;
    // The second waits for a player that does not come.
    let flow = alice.submit([job("db1"), job("db2")]).await;
    let order = session.order().await;
    session.report(&ended(&order, &exited(0)));
    let request = v1::FollowOutputRequest { flow: id(flow), ..Default::default() };
    let follow = async || {
        let mut client = alice.client.clone();
        soon("an answer", client.follow_output(request.clone())).await.unwrap().into_inner()
    };
    let mut followers = Vec::new();
    for _ in 0..4 {
        let mut follower = follow().await;
        assert!(soon("an end", follower.message()).await.unwrap().is_some());
        followers.push(follower);
    }
    let refused = soon("an answer", follow().await.message()).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
}
