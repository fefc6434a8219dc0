//! What units wrote, read from pretended players.

use bytes::Bytes;
use orchestra_proto::v1::{self, command::Kind, log_end::Reason, log_part::Part};
use tonic::{Code, Status, Streaming};

use crate::{
    harness::{Audience, Conductor, Place, Session, soon},
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
    let v1::read_log::Of::Unit(unit) = asked.of.unwrap();
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
    for _ in 0..4 {
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
