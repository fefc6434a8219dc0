//! What one name of the audience may take of the conductor, which others go on to use meanwhile.

use std::{
    convert::Infallible,
    fs,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::Frame;
use orchestra_certs::Role;
use orchestra_proto::v1::{self, audience_client::AudienceClient};
use tonic::{Code, Status, body::Body, codegen::http};
use tower::{Service as _, ServiceExt as _};

use crate::harness::{Audience, Conductor, Place, Player, id, job, one_of, soon};

/// A request of which the last byte does not come.
struct Unfinished(Option<Bytes>);

impl http_body::Body for Unfinished {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match self.0.take() {
            Some(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
            None => Poll::Pending,
        }
    }
}

/// All but the last byte of a message.
fn unfinished_message(bytes: usize) -> Bytes {
    let mut message = vec![7; 5 + bytes - 1];
    message[0] = 0;
    message[1..5].copy_from_slice(&u32::try_from(bytes).unwrap().to_be_bytes());
    message.into()
}

/// Calls a path of the audience's with a message that does not end.
fn unfinished(path: &str, message: Bytes) -> http::Request<Body> {
    http::Request::post(format!("http://conductor/orchestra.v1.Audience/{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(Body::new(Unfinished(Some(message))))
        .unwrap()
}

/// The most memory that the conductor has ever had, in MiB.
fn most_memory(conductor: &Conductor) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", conductor.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() >> 10
}

/// Somebody asks, submits, and a player works, as if nothing else went on.
async fn all_is_well(place: &Place, conductor: &Conductor) {
    let alice = Audience::new(place, &conductor.address).await;
    let mut session = Player::new(place, &conductor.address, "db1").await.attach().await;
    alice.status().await;
    let flow = alice.submit([job("db1")]).await;
    session.obey().await;
    assert_eq!(alice.verdict(flow).await, "ok");
}

#[tokio::test]
async fn uploads_that_do_not_end_take_a_bounded_amount_and_keep_nobody_waiting() {
    let place = Place::new("db1\n");
    let conductor = Conductor::start(&place);
    all_is_well(&place, &conductor).await;
    let before = most_memory(&conductor);
    // Made once: who makes one for each call does nothing else for seconds on a busy machine, and is
    // late for the handshake of the next connection, which a conductor rightly gives up.
    let message = unfinished_message(8 << 20);
    let mut calls = Vec::new();
    for _ in 0..4 {
        let channel = place.connect(&conductor.address, Role::Audience, "mallory").await;
        for _ in 0..50 {
            let (mut channel, message) = (channel.clone(), message.clone());
            calls.push(tokio::spawn(async move {
                let request = unfinished("Submit", message);
                channel.ready().await.unwrap().call(request).await
            }));
        }
    }
    all_is_well(&place, &conductor).await;
    // A large submission of somebody else has room too: her spec is no flow, but it is read.
    let bob = Audience::named(&place, &conductor.address, "bob").await;
    let spec = vec![0xff; 2 << 20].into();
    let request = v1::SubmitRequest { request_id: vec![1; 16].into(), spec, ..Default::default() };
    assert_eq!(bob.try_submit(request).await.unwrap_err().code(), Code::InvalidArgument);
    for call in calls {
        call.abort();
    }
    all_is_well(&place, &conductor).await;
    let grown = most_memory(&conductor) - before;
    assert!(grown < 100, "{grown} MiB for what would be 1,600");
}

#[tokio::test]
async fn answers_that_nobody_reads_keep_nobody_waiting() {
    let place = Place::new("db[1-3000]\n");
    let conductor = Conductor::start(&place);
    let mut unread = Vec::new();
    let mut waiting = Vec::new();
    for n in 0..56 {
        let channel = place.connect_narrow(&conductor.address, Role::Audience, "mallory").await;
        let mut client = AudienceClient::new(channel);
        let list = async move { client.list_players(v1::ListPlayersRequest::default()).await };
        // The next one waits for one of those before it to be read.
        match n < 32 {
            true => unread.push(soon("a list", list).await.unwrap()),
            false => waiting.push(tokio::spawn(list)),
        }
    }
    all_is_well(&place, &conductor).await;
    let alice = Audience::new(&place, &conductor.address).await;
    assert_eq!(alice.players("@all", false).await.unwrap().len(), 3_000);
    assert!(waiting.iter().all(|list| !list.is_finished()));
    // What is no longer wanted makes room.
    drop(unread);
    for list in waiting {
        drop(soon("a list", list).await.unwrap().unwrap());
    }
}

#[tokio::test]
async fn whoever_works_for_long_keeps_nobody_waiting() {
    let place = Place::new("db1\n");
    let conductor = Conductor::start(&place);
    let mallory = Audience::named(&place, &conductor.address, "mallory").await;
    let submissions = (0..24).map(|_| {
        let mallory = mallory.clone();
        tokio::spawn(async move {
            mallory.try_submit(crate::harness::request([job("n[1-300000]")])).await
        })
    });
    let submissions: Vec<_> = submissions.collect();
    all_is_well(&place, &conductor).await;
    let alice = Audience::new(&place, &conductor.address).await;
    alice.submit([one_of("db1")]).await;
    for submission in submissions {
        submission.abort();
    }
}

#[tokio::test]
async fn a_name_with_too_many_connections_is_told_so_and_others_are_not() {
    const MOST: usize = 256;
    let place = Place::new("db1\n");
    let conductor = Conductor::start(&place);
    let tls = place.client_config(Role::Audience, "mallory");
    let mut open = Vec::new();
    for _ in 0..MOST {
        let tls = tls.clone();
        let address = conductor.address.clone();
        open.push(tokio::spawn(async move {
            orchestra_certs::connect(&address, tls, crate::harness::PATIENCE).await.unwrap()
        }));
    }
    let mut kept = Vec::new();
    for stream in open {
        kept.push(soon("a connection", stream).await.unwrap());
    }
    let surplus = Audience::named(&place, &conductor.address, "mallory").await;
    let refused = surplus.client.clone().status(v1::StatusRequest {}).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(refused.message().contains("mallory has 256 connections"), "{refused:?}");
    all_is_well(&place, &conductor).await;
    drop(kept);
}

#[tokio::test]
async fn a_request_of_one_call_is_one_message() {
    let place = Place::new("db1\n");
    let conductor = Conductor::start(&place);
    let alice = Audience::new(&place, &conductor.address).await;
    let flow = alice.submit([job("db1")]).await;
    let channel = place.connect(&conductor.address, Role::Audience, "alice").await;
    let mut grpc = tonic::client::Grpc::new(channel);
    grpc.ready().await.unwrap();
    let path = http::uri::PathAndQuery::from_static("/orchestra.v1.Audience/GetFlow");
    let codec = tonic_prost::ProstCodec::<v1::GetFlowRequest, v1::FlowStatus>::default();
    let messages = [v1::GetFlowRequest { flow: id(flow) }, v1::GetFlowRequest { flow: id(flow) }];
    let refused: Status = grpc
        .client_streaming(tonic::Request::new(tokio_stream::iter(messages)), path, codec)
        .await
        .unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "{refused:?}");
}
