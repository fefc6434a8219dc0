use std::{
    sync::atomic::{AtomicUsize, Ordering},
    task::Wake,
    time::Duration,
};

use orchestra_model::delivery::{StoreId, Term};
use orchestra_proto::v1::command::Kind;

use super::{carried_jobs::REMEMBERED, *};
use crate::lines::{Header, Outbox};

const HEADER: Header = Header { store: StoreId([1; 16]), term: Term(1) };

/// Returns the way to a player, and its stream.
fn db1() -> (Outbox, Frames) {
    let (queue, frames) = StreamQueue::new();
    (Outbox::new("db1", queue), frames)
}

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
    EncodedJob::new(HEADER, &v1::JobBody { name: name.to_string(), params, ..Default::default() })
}

#[test]
fn what_is_ready_goes_in_one_batch_and_a_job_part_once() {
    let (out, mut frames) = db1();
    assert!(next(&mut frames).is_pending());
    for _ in 0..3 {
        out.order(HEADER, v1::Order::default(), &job(1, 0));
    }
    assert_eq!(batch(&mut frames).len(), 4);
    assert!(next(&mut frames).is_pending());
}

/// Counts how often a stream was woken.
#[derive(Default)]
struct Told(AtomicUsize);

impl Wake for Told {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Returns an outbox whose stream has nothing to send, and a count of how often the stream was
/// woken.
fn idle() -> (Outbox, Frames, Arc<Told>) {
    let (out, mut frames) = db1();
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
    let (out, mut frames) = db1();
    for n in 0..=REMEMBERED {
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
    let (out, mut frames) = db1();
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
        let (out, mut frames) = db1();
        let job = (0..2).map(|n| job(n, padding)).collect::<Vec<_>>();
        let mut orders = 0;
        while !out.is_ended() {
            // Orders of two jobs in turn, with nothing remembered in between.
            out.queue.0.act(|queue| queue.jobs.forget_all());
            out.order(HEADER, v1::Order::default(), &job[orders % 2]);
            orders += 1;
        }
        assert!(orders <= MOST_FRAMES / 2 + 1, "{orders}");
        out.queue.ended().await;
        assert!(matches!(next(&mut frames), Poll::Ready(Some(Err(_)))));
        assert!(matches!(next(&mut frames), Poll::Ready(None)));
    }
}

#[tokio::test]
async fn what_waits_goes_before_the_end() {
    let (out, mut frames) = db1();
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
    let (out, frames) = db1();
    drop(frames);
    out.queue.ended().await;
    out.welcome(HEADER, Duration::ZERO);
    assert!(out.queue.0.lock().frames.is_empty());
}
