//! The layer around a handler that the test controls.

use std::{
    collections::VecDeque,
    convert::Infallible,
    pin::Pin,
    sync::atomic::{AtomicUsize, Ordering},
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::Frame;
use orchestra_certs::{Identity, Outgoing, Subject};
use orchestra_model::HostName;
use tokio::sync::Semaphore;
use tonic::Code;

use super::*;

/// A request's body, frame by frame; it may stay open after the last one.
struct Said {
    frames: VecDeque<Bytes>,
    ends: bool,
}

impl http_body::Body for Said {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        match (self.frames.pop_front(), self.ends) {
            (Some(bytes), _) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
            (None, true) => Poll::Ready(None),
            (None, false) => Poll::Pending,
        }
    }
}

/// Returns a message that announces so many bytes, and contains so many of them.
fn message(announced: usize, said: usize) -> Bytes {
    let mut bytes = vec![0];
    bytes.extend(u32::try_from(announced).unwrap().to_be_bytes());
    bytes.resize(5 + said, 7);
    bytes.into()
}

/// The layer, and a handler that waits until the test lets it answer.
#[derive(Clone)]
struct Bench {
    layer: BoundsLayer,
    entered: Arc<AtomicUsize>,
    answers: Arc<Semaphore>,
}

type Answered = http::Response<Held<Body>>;

impl Bench {
    fn new() -> Bench {
        let (entered, answers) = (Arc::default(), Arc::new(Semaphore::new(0)));
        Bench { layer: BoundsLayer::new(), entered, answers }
    }

    /// Begins a call by a name, which goes on beside the test.
    fn call(&self, who: &str, call: &str, frames: Vec<Bytes>, ends: bool) -> Calling {
        self.call_of(peer(who), call, frames, ends)
    }

    fn call_of(&self, peer: Peer, call: &str, frames: Vec<Bytes>, ends: bool) -> Calling {
        let (entered, answers) = (Arc::clone(&self.entered), Arc::clone(&self.answers));
        let handler = tower::service_fn(move |_: http::Request<Body>| {
            let (entered, answers) = (Arc::clone(&entered), Arc::clone(&answers));
            async move {
                entered.fetch_add(1, Ordering::Relaxed);
                answers.acquire().await.unwrap().forget();
                Ok::<_, Infallible>(http::Response::new(Body::default()))
            }
        });
        let body = Body::new(Said { frames: frames.into(), ends });
        let mut request = http::Request::new(body);
        *request.uri_mut() = format!("/orchestra.v1.Audience/{call}").parse().unwrap();
        request.extensions_mut().insert(peer);
        let mut service = self.layer.layer(handler);
        Calling(tokio::spawn(async move { service.call(request).await.unwrap() }))
    }

    /// Returns how many calls have reached the handler, once nothing moves any more.
    async fn entered(&self) -> usize {
        for _ in 0..1_000 {
            tokio::task::yield_now().await;
        }
        self.entered.load(Ordering::Relaxed)
    }
}

struct Calling(tokio::task::JoinHandle<Answered>);

impl Calling {
    async fn answer(self) -> Answered {
        self.0.await.unwrap()
    }

    /// Returns the status with which the call was refused.
    async fn refused(self) -> Status {
        let answer = self.answer().await;
        let status = Status::from_header_map(answer.headers()).unwrap();
        assert_ne!(status.code(), Code::Ok);
        status
    }
}

fn peer(who: &str) -> Peer {
    let domain = HostName::new("example").unwrap();
    let subject = Subject::new(Role::Audience, who).unwrap();
    let identity = Identity { domain, subject };
    let outgoing = Outgoing::default();
    Peer {
        identity,
        address: ([127, 0, 0, 1], 1).into(),
        serial: Arc::from("1"),
        surplus: None,
        outgoing,
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_is_one_message_of_the_size_that_its_call_takes() {
    let bench = Bench::new();
    let large = bench.call("alice", "Status", vec![message(100_000, 0)], false).refused().await;
    assert_eq!(large.code(), Code::ResourceExhausted);
    assert!(
        large.message().contains("has 100000 bytes; this call takes at most 65536"),
        "{large:?}"
    );
    for two in [vec![message(1, 1), message(1, 1)], vec![message(1, 2)]] {
        let two = bench.call("alice", "Submit", two, true).refused().await;
        assert_eq!(two.code(), Code::InvalidArgument);
    }
    assert_eq!(bench.entered().await, 0);
    // One message comes through, however it is cut into frames.
    let bytes = message(40_000, 40_000);
    let frames = (0..bytes.len()).step_by(3).map(|at| bytes.slice(at..bytes.len().min(at + 3)));
    let whole = bench.call("alice", "Submit", frames.collect(), true);
    let none = bench.call("alice", "Status", Vec::new(), true);
    assert_eq!(bench.entered().await, 2);
    bench.answers.add_permits(2);
    assert_eq!(whole.answer().await.status(), 200);
    assert_eq!(none.answer().await.status(), 200);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_does_not_come_to_its_end_is_refused_in_time_and_leaves_its_room() {
    let bench = Bench::new();
    let begin = Instant::now();
    let slow: Vec<_> =
        (0..4).map(|_| bench.call("mallory", "Submit", vec![message(8 << 20, 1)], false)).collect();
    assert_eq!(bench.entered().await, 0);
    // Her room is taken. Others still have room, and her small questions need none.
    let other = bench.call("alice", "Submit", vec![message(8 << 20, 8 << 20)], true);
    let small = bench.call("mallory", "Status", vec![message(0, 0)], true);
    assert_eq!(bench.entered().await, 2);
    for slow in slow {
        let status = slow.refused().await;
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert!(status.message().contains("was not here within 30s"), "{status:?}");
    }
    assert_eq!(begin.elapsed(), BODY_WITHIN);
    bench.answers.add_permits(3);
    let again = bench.call("mallory", "Submit", vec![message(8 << 20, 8 << 20)], true);
    for call in [other, small, again] {
        call.answer().await;
    }
}

#[tokio::test(start_paused = true)]
async fn work_is_done_by_turns_and_nobody_takes_all_of_them() {
    let bench = Bench::new();
    let call = |who: &str| bench.call(who, "Submit", vec![message(0, 0)], true);
    let first: Vec<_> = (0..9).map(|_| call("mallory")).collect();
    assert_eq!(bench.entered().await, 2);
    let others = [call("alice"), call("bob")];
    assert_eq!(bench.entered().await, 4);
    bench.answers.add_permits(usize::MAX >> 8);
    for call in first.into_iter().chain(others) {
        call.answer().await;
    }
    assert_eq!(bench.entered().await, 11);
}

#[tokio::test(start_paused = true)]
async fn an_answer_keeps_its_place_until_it_was_read() {
    let bench = Bench::new();
    bench.answers.add_permits(usize::MAX >> 8);
    let ask = |who: &str| bench.call(who, "ListTasks", vec![message(0, 0)], true);
    let mut unread = Vec::new();
    for _ in 0..32 {
        unread.push(ask("mallory").answer().await);
    }
    let status = ask("mallory").refused().await;
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.message().contains("read answers to their end"), "{status:?}");
    ask("alice").answer().await;
    unread.pop();
    ask("mallory").answer().await;
}

#[tokio::test(start_paused = true)]
async fn a_name_has_so_many_watches_and_calls_and_is_told_so_at_once() {
    let bench = Bench::new();
    bench.answers.add_permits(usize::MAX >> 8);
    let begin = Instant::now();
    let watch = |who: &str| bench.call(who, "Watch", vec![message(0, 0)], true);
    let mut watches = Vec::new();
    for _ in 0..256 {
        watches.push(watch("alice").answer().await);
    }
    let status = watch("alice").refused().await;
    assert!(status.message().contains("alice watches 256 flows"), "{status:?}");
    watch("bob").answer().await;

    let silent = || bench.call("alice", "Status", Vec::new(), false);
    let _silent: Vec<_> = (0..1_024 - 256).map(|_| silent()).collect();
    bench.entered().await;
    let status = silent().refused().await;
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.message().contains("alice has 1024 calls under way"), "{status:?}");
    assert_eq!(begin.elapsed(), Duration::ZERO);
}

#[tokio::test]
async fn a_surplus_connection_is_told_what_it_is() {
    let bench = Bench::new();
    let peer = Peer { surplus: Some(256), ..peer("alice") };
    let mut player = peer.clone();
    player.identity.subject = Subject::new(Role::Player, "alice").unwrap();
    for peer in [peer, player] {
        let status = bench.call_of(peer, "Status", vec![message(0, 0)], true).refused().await;
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert!(status.message().contains("alice has 256 connections"), "{status:?}");
    }
    assert_eq!(bench.entered().await, 0);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_kept_of_names_that_have_nothing_under_way() {
    let bench = Bench::new();
    bench.answers.add_permits(usize::MAX >> 8);
    for n in 0..3_000 {
        bench.call(&format!("ci-{n}"), "Status", vec![message(0, 0)], true).answer().await;
    }
    assert!(bench.layer.accounts.len() <= 1_024, "{}", bench.layer.accounts.len());
}
