//! What waits to go to one player: bounded, batched, and never in anybody's way.
//!
//! The driver puts frames in without waiting; a session that lets too many pile up is ended, and
//! its player gets them again when it attaches anew.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use orchestra_model::delivery::{StoreId, Term};
use orchestra_proto::v1;
use prost::Message;
use tokio_stream::Stream;
use tonic::Status;

/// Most frames that wait; honest players stay far below it, for credits bound orders and
/// acknowledgements answer reports.
const MOST_FRAMES: usize = 16_384;
/// Where a batch is cut.
const BATCH_FRAMES: usize = 512;
const BATCH_BYTES: usize = 1 << 20;
/// How many job parts both ends of a stream remember: see `player.proto`.
const REMEMBERED_JOBS: usize = 64;

/// The large part of a job's orders: encoded once, shared by all its sessions.
#[derive(Debug)]
pub(crate) struct EncodedJob {
    /// SHA-256 of `body`.
    pub(crate) digest: Bytes,
    /// An encoded `JobBody`.
    pub(crate) body: Bytes,
}

/// One session's way out; the stream is [`Frames`].
#[derive(Clone, Debug)]
pub(crate) struct Outbox(Arc<Mutex<Queue>>);

#[derive(Debug)]
struct Queue {
    player: String,
    store: StoreId,
    term: Term,
    frames: VecDeque<v1::to_player::Frame>,
    jobs: VecDeque<Bytes>,
    end: Option<End>,
    waker: Option<Waker>,
}

/// How a stream ends.
#[derive(Clone, Debug)]
enum End {
    /// Everything that waits, then this status.
    After(Status),
    /// At once: nobody reads it.
    Now,
}

impl Outbox {
    /// An outbox and the stream of what goes into it.
    pub(crate) fn new(player: &str, store: StoreId, term: Term) -> (Self, Frames) {
        let queue = Arc::new(Mutex::new(Queue {
            player: player.to_owned(),
            store,
            term,
            frames: VecDeque::new(),
            jobs: VecDeque::new(),
            end: None,
            waker: None,
        }));
        (Self(Arc::clone(&queue)), Frames(queue))
    }

    fn with<T>(&self, act: impl FnOnce(&mut Queue) -> T) -> T {
        let mut queue = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let result = act(&mut queue);
        let waker = queue.waker.take();
        drop(queue);
        if let Some(waker) = waker {
            waker.wake();
        }
        result
    }

    /// Queues a frame of the session itself.
    pub(crate) fn frame(&self, frame: v1::to_player::Frame) {
        self.with(|queue| queue.push(frame));
    }

    /// Queues a command for the sitter.
    pub(crate) fn command(&self, kind: v1::command::Kind) {
        self.with(|queue| queue.push_command(kind));
    }

    /// Queues an order, and its job part before it unless the stream remembers that.
    pub(crate) fn order(&self, order: v1::Order, job: &EncodedJob) {
        self.with(|queue| {
            if !queue.jobs.contains(&job.digest) {
                if queue.jobs.len() == REMEMBERED_JOBS {
                    queue.jobs.pop_front();
                }
                queue.jobs.push_back(job.digest.clone());
                queue.push_command(v1::command::Kind::Job(v1::JobPart {
                    digest: job.digest.clone(),
                    body: job.body.clone(),
                    signature: Bytes::new(),
                }));
            }
            queue.push_command(v1::command::Kind::Order(order));
        });
    }

    /// Ends the stream after what waits.
    pub(crate) fn end(&self, status: Status) {
        self.with(|queue| {
            queue.end.get_or_insert(End::After(status));
        });
    }

    /// Whether the stream has ended, or is about to.
    pub(crate) fn is_ended(&self) -> bool {
        self.with(|queue| queue.end.is_some())
    }
}

impl Queue {
    fn push(&mut self, frame: v1::to_player::Frame) {
        if self.end.is_some() {
            return;
        }
        if self.frames.len() >= MOST_FRAMES {
            self.frames.clear();
            let status = Status::resource_exhausted("the player does not read what it is sent");
            self.end = Some(End::After(status));
            return;
        }
        self.frames.push_back(frame);
    }

    fn push_command(&mut self, kind: v1::command::Kind) {
        let command = v1::Command {
            store_id: Bytes::copy_from_slice(&self.store.0),
            term: self.term.0,
            kind: Some(kind),
        };
        self.push(v1::to_player::Frame::Command(command.encode_to_vec().into()));
    }
}

/// The stream of an [`Outbox`]: batches of whatever waits.
#[derive(Debug)]
pub(crate) struct Frames(Arc<Mutex<Queue>>);

impl Stream for Frames {
    type Item = Result<v1::ToPlayers, Status>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut queue = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut frames = Vec::new();
        let mut bytes = 0;
        while frames.len() < BATCH_FRAMES && bytes < BATCH_BYTES {
            let Some(frame) = queue.frames.pop_front() else { break };
            bytes += match &frame {
                v1::to_player::Frame::Command(command) => command.len(),
                _ => 0,
            };
            frames.push(v1::ToPlayer { player: queue.player.clone(), frame: Some(frame) });
        }
        if !frames.is_empty() {
            return Poll::Ready(Some(Ok(v1::ToPlayers { frames })));
        }
        match queue.end.replace(End::Now) {
            Some(End::After(status)) => Poll::Ready(Some(Err(status))),
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
        let mut queue = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        queue.end = Some(End::Now);
        queue.frames.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(frames: &mut Frames) -> Poll<Option<Result<v1::ToPlayers, Status>>> {
        let mut cx = Context::from_waker(Waker::noop());
        Pin::new(frames).poll_next(&mut cx)
    }

    fn outbox() -> (Outbox, Frames) {
        Outbox::new("db1", StoreId([1; 16]), Term(1))
    }

    fn job(n: u8) -> EncodedJob {
        EncodedJob { digest: Bytes::from(vec![n]), body: Bytes::from_static(b"job") }
    }

    #[test]
    fn what_is_ready_goes_in_one_batch_and_a_job_part_once() {
        let (out, mut frames) = outbox();
        assert!(next(&mut frames).is_pending());
        for _ in 0..3 {
            out.order(v1::Order::default(), &job(1));
        }
        let Poll::Ready(Some(Ok(batch))) = next(&mut frames) else { panic!("nothing came") };
        assert_eq!(batch.frames.len(), 4);
        assert!(next(&mut frames).is_pending());
    }

    #[test]
    fn a_job_part_that_was_forgotten_is_sent_again() {
        let (out, mut frames) = outbox();
        for n in 0..=REMEMBERED_JOBS as u8 {
            out.order(v1::Order::default(), &job(n));
        }
        assert!(next(&mut frames).is_ready());
        out.order(v1::Order::default(), &job(0));
        let Poll::Ready(Some(Ok(batch))) = next(&mut frames) else { panic!("nothing came") };
        assert_eq!(batch.frames.len(), 2);
    }

    #[test]
    fn a_player_that_does_not_read_is_cut_off() {
        let (out, mut frames) = outbox();
        for _ in 0..=MOST_FRAMES {
            out.frame(v1::to_player::Frame::Probe(v1::Probe {}));
        }
        assert!(out.is_ended());
        assert!(matches!(next(&mut frames), Poll::Ready(Some(Err(_)))));
        assert!(matches!(next(&mut frames), Poll::Ready(None)));
    }
}
