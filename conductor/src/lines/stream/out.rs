//! What waits to go to one player: bounded, batched, and never in anybody's way.
//!
//! The driver puts frames in without waiting; a session that lets too many pile up is ended, and
//! its player gets them again when it attaches anew.
//!
//! What is in no hurry waits for company: it goes along with the next frame that is, and the driver
//! sends it by itself if none comes soon.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use orchestra_model::delivery::{StoreId, Term};
use orchestra_proto::{PROTOCOL, v1};
use prost::Message;
use sha2::{Digest, Sha256};
use tokio::{sync::Notify, time::Instant};
use tokio_stream::Stream;
use v1::{command::Kind, to_player::Frame};

use crate::declined::{Declined, Ground};

/// Most frames that wait; honest players stay far below it, for credits bound orders and
/// acknowledgements answer reports.
const MOST_FRAMES: usize = 16_384;
/// Most bytes that wait: an order for each of the most credits, each of another job with the
/// largest parameters, and a fifth more.
const MOST_BYTES: usize = 160 << 20;
/// Where a batch is cut.
const BATCH_FRAMES: usize = 512;
const BATCH_BYTES: usize = 1 << 20;
/// How many job parts both ends of a stream remember: see `player.proto`.
const REMEMBERED_JOBS: usize = 64;

/// What every command carries: whose it is, and of which term.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Header {
    /// The store's id.
    pub(crate) store: StoreId,
    /// The store's term.
    pub(crate) term: Term,
}

impl Header {
    fn command(self, kind: Kind) -> Bytes {
        let store_id = Bytes::copy_from_slice(&self.store.0);
        v1::Command { store_id, term: self.term.0, kind: Some(kind) }.encode_to_vec().into()
    }
}

/// The large part of a job's orders: encoded once, shared by all sessions of a term.
#[derive(Debug)]
pub(crate) struct EncodedJob {
    /// SHA-256 of the encoded `JobBody`: what orders refer to.
    pub(crate) digest: Bytes,
    /// The encoded command that carries it.
    command: Bytes,
}

impl EncodedJob {
    /// Encodes a job part.
    pub(crate) fn new(header: Header, body: &v1::JobBody) -> Self {
        let body = body.encode_to_vec();
        let digest = Bytes::from(Sha256::digest(&body).to_vec());
        let part =
            v1::JobPart { digest: digest.clone(), body: body.into(), signature: Bytes::new() };
        Self { digest, command: header.command(Kind::Job(part)) }
    }
}

/// One session's way out; the stream is [`Frames`].
#[derive(Clone, Debug)]
pub(crate) struct Outbox(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    /// Notified once, when the stream's end is decided.
    ended: Notify,
}

#[derive(Debug)]
struct Queue {
    player: String,
    frames: VecDeque<Frame>,
    /// Of all that waits.
    bytes: usize,
    jobs: VecDeque<Bytes>,
    end: Option<End>,
    waker: Option<Waker>,
    /// Since when frames wait of which the stream was not told.
    lingers_since: Option<Instant>,
}

/// What is said last on a stream.
#[derive(Debug)]
pub(crate) enum Goodbye {
    /// Nothing is wrong, in these words.
    Done(&'static str),
    /// Why it does not go on.
    Declined(Declined),
}

impl Goodbye {
    /// In words.
    pub(crate) fn reason(&self) -> &str {
        match self {
            Self::Done(reason) => reason,
            Self::Declined(declined) => declined.message(),
        }
    }
}

/// How a stream ends.
#[derive(Debug)]
enum End {
    /// Everything that waits, then this.
    After(Goodbye),
    /// At once: nobody reads it, or everything is said.
    Now,
}

impl Outbox {
    /// An outbox and the stream of what goes into it.
    pub(crate) fn new(player: &str) -> (Self, Frames) {
        let queue = Queue {
            player: player.to_owned(),
            frames: VecDeque::new(),
            bytes: 0,
            jobs: VecDeque::new(),
            end: None,
            waker: None,
            lingers_since: None,
        };
        let shared = Arc::new(Shared { queue: Mutex::new(queue), ended: Notify::new() });
        (Self(Arc::clone(&shared)), Frames(shared))
    }

    /// Queues what begins a session: the welcome. When the session is lost, the player comes back
    /// within that time.
    pub(crate) fn welcome(&self, header: Header, come_back_within: Duration) {
        self.frame(Frame::Welcome(v1::Welcome {
            protocol: PROTOCOL,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            store_id: Bytes::copy_from_slice(&header.store.0),
            term: header.term.0,
            come_back_within_ms: u32::try_from(come_back_within.as_millis()).unwrap_or(u32::MAX),
        }));
    }

    /// Queues a frame of the session itself.
    pub(crate) fn frame(&self, frame: Frame) {
        self.0.act(|queue| queue.push(frame));
    }

    /// Queues a command for the sitter.
    pub(crate) fn command(&self, header: Header, kind: Kind) {
        self.frame(Frame::Command(header.command(kind)));
    }

    /// Queues a command that is in no hurry: the next one takes it along. True where it is the
    /// first that waits so; then [`Outbox::hurry`] is to be called in a while.
    pub(crate) fn later(&self, header: Header, kind: Kind, now: Instant) -> bool {
        let frame = Frame::Command(header.command(kind));
        let mut queue = self.0.lock();
        queue.push(frame);
        if queue.end.is_some() || queue.frames.len() >= BATCH_FRAMES {
            // There is nothing to wait for.
            self.0.tell(queue);
            return false;
        }
        // A stream that was told of other frames takes it along.
        let is_first = queue.waker.is_some() && queue.lingers_since.is_none();
        if is_first {
            queue.lingers_since = Some(now);
        }
        is_first
    }

    /// Sends what waits for company since then, or longer.
    pub(crate) fn hurry(&self, since: Instant) {
        let queue = self.0.lock();
        if queue.lingers_since.is_some_and(|oldest| oldest <= since) {
            self.0.tell(queue);
        }
    }

    /// Queues an order, and its job part before it unless the stream remembers that.
    pub(crate) fn order(&self, header: Header, order: v1::Order, job: &EncodedJob) {
        let order = header.command(Kind::Order(order));
        self.0.act(|queue| {
            if !queue.jobs.contains(&job.digest) {
                if queue.jobs.len() == REMEMBERED_JOBS {
                    queue.jobs.pop_front();
                }
                queue.jobs.push_back(job.digest.clone());
                queue.push(Frame::Command(job.command.clone()));
            }
            queue.push(Frame::Command(order));
        });
    }

    /// Ends the stream after what waits.
    pub(crate) fn end(&self, goodbye: Goodbye) {
        self.0.act(|queue| {
            queue.end.get_or_insert(End::After(goodbye));
        });
    }

    /// Whether the stream has ended, or is about to.
    pub(crate) fn is_ended(&self) -> bool {
        self.0.lock().end.is_some()
    }

    /// Returns when the stream has ended, or is about to. For one waiter.
    pub(crate) async fn ended(&self) {
        while !self.is_ended() {
            self.0.ended.notified().await;
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the queue, and wakes whoever waits for what changed.
    fn act(&self, act: impl FnOnce(&mut Queue)) {
        let mut queue = self.lock();
        act(&mut queue);
        self.tell(queue);
    }

    /// Wakes whoever waits for what is in the queue.
    fn tell(&self, mut queue: MutexGuard<'_, Queue>) {
        queue.lingers_since = None;
        let (waker, ended) = (queue.waker.take(), queue.end.is_some());
        drop(queue);
        if let Some(waker) = waker {
            waker.wake();
        }
        if ended {
            self.ended.notify_one();
        }
    }
}

impl Queue {
    fn push(&mut self, frame: Frame) {
        if self.end.is_some() {
            return;
        }
        self.bytes += weight(&frame);
        self.frames.push_back(frame);
        if self.frames.len() > MOST_FRAMES || self.bytes > MOST_BYTES {
            self.frames.clear();
            let why = Declined::new(Ground::TooMuch, "the player does not read what it is sent");
            self.end = Some(End::After(Goodbye::Declined(why)));
        }
    }
}

fn weight(frame: &Frame) -> usize {
    match frame {
        Frame::Command(command) => command.len(),
        _ => 0,
    }
}

/// The stream of an [`Outbox`]: batches of whatever waits.
#[derive(Debug)]
pub(crate) struct Frames(Arc<Shared>);

impl Stream for Frames {
    type Item = Result<v1::ToPlayers, Goodbye>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut queue = self.0.lock();
        queue.lingers_since = None;
        let mut frames = Vec::new();
        let mut bytes = 0;
        while frames.len() < BATCH_FRAMES && bytes < BATCH_BYTES {
            let Some(frame) = queue.frames.pop_front() else { break };
            bytes += weight(&frame);
            frames.push(v1::ToPlayer { player: queue.player.clone(), frame: Some(frame) });
        }
        if !frames.is_empty() {
            queue.bytes -= bytes;
            return Poll::Ready(Some(Ok(v1::ToPlayers { frames })));
        }
        match queue.end.replace(End::Now) {
            Some(End::After(goodbye)) => Poll::Ready(Some(Err(goodbye))),
            Some(End::Now) => Poll::Ready(None),
            None => {
                queue.end = None;
                queue.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for Frames {
    /// The connection is gone: whoever still has the outbox need not fill it.
    fn drop(&mut self) {
        self.0.act(|queue| {
            queue.end = Some(End::Now);
            queue.frames.clear();
        });
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        task::Wake,
    };

    use super::*;

    const HEADER: Header = Header { store: StoreId([1; 16]), term: Term(1) };

    fn next(frames: &mut Frames) -> Poll<Option<Result<v1::ToPlayers, Goodbye>>> {
        let mut cx = Context::from_waker(Waker::noop());
        Pin::new(frames).poll_next(&mut cx)
    }

    fn batch(frames: &mut Frames) -> Vec<v1::ToPlayer> {
        match next(frames) {
            Poll::Ready(Some(Ok(batch))) => batch.frames,
            other => panic!("no batch but {other:?}"),
        }
    }

    fn enough() -> Goodbye {
        Goodbye::Declined(Declined::new(Ground::Overtaken, "enough"))
    }

    fn job(name: usize, padding: usize) -> EncodedJob {
        let params = [("padding".to_owned(), "x".repeat(padding))].into();
        EncodedJob::new(
            HEADER,
            &v1::JobBody { name: name.to_string(), params, ..Default::default() },
        )
    }

    #[test]
    fn what_is_ready_goes_in_one_batch_and_a_job_part_once() {
        let (out, mut frames) = Outbox::new("db1");
        assert!(next(&mut frames).is_pending());
        for _ in 0..3 {
            out.order(HEADER, v1::Order::default(), &job(1, 0));
        }
        assert_eq!(batch(&mut frames).len(), 4);
        assert!(next(&mut frames).is_pending());
    }

    /// Counts how often a stream was told that it has something to send.
    #[derive(Default)]
    struct Told(AtomicUsize);

    impl Wake for Told {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// An outbox whose stream has nothing to send, and how often it was told that it has.
    fn idle() -> (Outbox, Frames, Arc<Told>) {
        let (out, mut frames) = Outbox::new("db1");
        let told = Arc::new(Told::default());
        come_to_rest(&mut frames, &told);
        (out, frames, told)
    }

    fn come_to_rest(frames: &mut Frames, told: &Arc<Told>) {
        let waker = Waker::from(Arc::clone(told));
        assert!(Pin::new(frames).poll_next(&mut Context::from_waker(&waker)).is_pending());
    }

    fn later(out: &Outbox, now: Instant) -> bool {
        out.later(HEADER, Kind::Acknowledge(v1::Acknowledge::default()), now)
    }

    #[test]
    fn what_is_in_no_hurry_goes_along_with_what_is() {
        let (out, mut frames, told) = idle();
        let now = Instant::now();
        assert!(later(&out, now));
        assert!(!later(&out, now), "the first one is waited for already");
        assert_eq!(told.0.load(Ordering::Relaxed), 0);
        out.frame(Frame::Probe(v1::Probe {}));
        assert_eq!(told.0.load(Ordering::Relaxed), 1);
        assert!(!later(&out, now), "the stream was told, and has not looked yet");
        assert_eq!(batch(&mut frames).len(), 4);
        out.hurry(now);
        assert_eq!(told.0.load(Ordering::Relaxed), 1, "there is nothing left to hurry");
    }

    #[test]
    fn what_is_in_no_hurry_goes_by_itself_when_its_time_has_come_and_not_before() {
        let (out, mut frames, told) = idle();
        let (first, second) = (Instant::now(), Instant::now() + Duration::from_millis(5));
        assert!(later(&out, first));
        out.hurry(first);
        assert_eq!(told.0.load(Ordering::Relaxed), 1);
        assert_eq!(batch(&mut frames).len(), 1);
        come_to_rest(&mut frames, &told);
        assert!(later(&out, second));
        out.hurry(first);
        assert_eq!(told.0.load(Ordering::Relaxed), 1, "the second one came later");
        out.hurry(second);
        assert_eq!(told.0.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn a_whole_batch_waits_for_nobody_and_the_end_takes_along_what_waits() {
        let (out, mut frames, told) = idle();
        let now = Instant::now();
        for _ in 0..BATCH_FRAMES {
            assert_eq!(told.0.load(Ordering::Relaxed), 0);
            later(&out, now);
        }
        assert_eq!(told.0.load(Ordering::Relaxed), 1);
        assert_eq!(batch(&mut frames).len(), BATCH_FRAMES);
        come_to_rest(&mut frames, &told);
        assert!(later(&out, now));
        out.end(enough());
        assert_eq!(told.0.load(Ordering::Relaxed), 2);
        assert_eq!(batch(&mut frames).len(), 1);
        assert!(matches!(next(&mut frames), Poll::Ready(Some(Err(_)))));
    }

    #[test]
    fn acknowledgements_that_nobody_reads_are_bounded() {
        let (out, mut frames, _) = idle();
        let now = Instant::now();
        for _ in 0..=MOST_FRAMES {
            later(&out, now);
        }
        assert!(out.is_ended());
        assert!(matches!(next(&mut frames), Poll::Ready(Some(Err(_)))));
    }

    #[test]
    fn a_job_part_that_was_forgotten_is_sent_again() {
        let (out, mut frames) = Outbox::new("db1");
        for n in 0..=REMEMBERED_JOBS {
            out.order(HEADER, v1::Order::default(), &job(n, 0));
        }
        batch(&mut frames);
        // The second is remembered, the first is not; by coming again it pushes the second out.
        for (n, expected) in [(1, 1), (0, 2), (1, 2), (64, 1)] {
            out.order(HEADER, v1::Order::default(), &job(n, 0));
            assert_eq!(batch(&mut frames).len(), expected, "job {n}");
        }
    }

    #[test]
    fn a_batch_is_cut_where_it_is_large() {
        let (out, mut frames) = Outbox::new("db1");
        for n in 0..10 {
            out.order(HEADER, v1::Order::default(), &job(n, 256 << 10));
        }
        let lengths: Vec<usize> = std::iter::from_fn(|| match next(&mut frames) {
            Poll::Ready(Some(Ok(batch))) => Some(batch.frames.len()),
            _ => None,
        })
        .collect();
        assert_eq!(lengths.iter().sum::<usize>(), 20);
        assert!(lengths.iter().all(|length| *length <= 9), "{lengths:?}");
    }

    #[tokio::test]
    async fn a_player_that_does_not_read_is_cut_off() {
        for padding in [0, 100 << 10] {
            let (out, mut frames) = Outbox::new("db1");
            let job = (0..2).map(|n| job(n, padding)).collect::<Vec<_>>();
            let mut orders = 0;
            while !out.is_ended() {
                // Two jobs by turns, and nothing remembered between them.
                out.0.act(|queue| queue.jobs.clear());
                out.order(HEADER, v1::Order::default(), &job[orders % 2]);
                orders += 1;
            }
            assert!(orders <= MOST_FRAMES / 2 + 1, "{orders}");
            out.ended().await;
            assert!(matches!(next(&mut frames), Poll::Ready(Some(Err(_)))));
            assert!(matches!(next(&mut frames), Poll::Ready(None)));
        }
    }

    #[tokio::test]
    async fn what_waits_goes_before_the_end() {
        let (out, mut frames) = Outbox::new("db1");
        out.welcome(HEADER, Duration::ZERO);
        out.end(enough());
        out.frame(Frame::Probe(v1::Probe {}));
        out.end(Goodbye::Done("a second end counts for nothing"));
        assert_eq!(batch(&mut frames).len(), 1);
        let Poll::Ready(Some(Err(goodbye))) = next(&mut frames) else { panic!("no end") };
        assert_eq!(goodbye.reason(), "enough");
    }

    #[tokio::test]
    async fn an_outbox_whose_connection_is_gone_takes_nothing_in() {
        let (out, frames) = Outbox::new("db1");
        drop(frames);
        out.ended().await;
        out.welcome(HEADER, Duration::ZERO);
        assert!(out.0.lock().frames.is_empty());
    }
}
