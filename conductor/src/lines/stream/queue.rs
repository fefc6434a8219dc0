//! The queue of what goes out on one stream: bounded, batched, and filled without waiting.
//!
//! Frames are queued without waiting. A stream on which too many pile up is ended; its player gets
//! them again when it attaches anew.
//!
//! Frames that are not urgent wait: they go along with the next urgent frame, or are sent by
//! themselves when the queue is [hurried](StreamQueue::hurry).

mod carried_jobs;
#[cfg(test)]
mod tests;

use std::{
    borrow::Cow,
    collections::VecDeque,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use orchestra_proto::v1::{self, to_player::Frame};
use tokio::{sync::Notify, time::Instant};
use tokio_stream::Stream;

use self::carried_jobs::CarriedJobs;
use crate::{
    declined::{Declined, Ground},
    lines::command::EncodedJob,
};

/// Most frames that wait. Honest players stay far below it, because credits bound orders, and
/// acknowledgements answer reports.
const MOST_FRAMES: usize = 16_384;
/// Most bytes that wait: as many orders as a player has credits, each of another job with the
/// largest parameters, and a fifth more.
const MOST_BYTES: usize = 160 << 20;
/// Most frames in a batch.
const BATCH_FRAMES: usize = 512;
const BATCH_BYTES: usize = 1 << 20;

/// The queue of a stream, for those that put something in. The stream itself is [`Frames`].
#[derive(Clone, Debug)]
pub(crate) struct StreamQueue(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    /// Notified once, when the stream's end is decided.
    ended: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    /// Frames, each with its player.
    frames: VecDeque<(Arc<str>, Frame)>,
    /// The bytes of all that waits.
    bytes: usize,
    jobs: CarriedJobs,
    end: Option<End>,
    waker: Option<Waker>,
    /// Since when frames that are not urgent wait, without the stream being woken.
    lingers_since: Option<Instant>,
}

/// The last words on a stream.
#[derive(Debug)]
pub(crate) enum Goodbye {
    /// Nothing is wrong. The text says why the stream ends.
    Done(&'static str),
    /// Why it does not go on.
    Declined(Declined),
}

impl Goodbye {
    /// Returns the reason as text.
    pub(crate) fn reason(&self) -> Cow<'_, str> {
        match self {
            Self::Done(reason) => Cow::Borrowed(reason),
            Self::Declined(declined) => Cow::Owned(declined.message()),
        }
    }
}

/// How a stream ends.
#[derive(Debug)]
enum End {
    /// After everything that waits, with this goodbye.
    After(Goodbye),
    /// At once: nobody reads it, or everything was sent.
    Now,
}

impl StreamQueue {
    /// Returns a queue, and the stream of what goes into it.
    pub(crate) fn new() -> (Self, Frames) {
        let shared = Arc::new(Shared { queue: Mutex::default(), ended: Notify::new() });
        (Self(Arc::clone(&shared)), Frames(shared))
    }

    /// Queues a frame for a player.
    pub(in crate::lines) fn put(&self, player: &Arc<str>, frame: Frame) {
        self.0.act(|queue| queue.push(player, frame));
    }

    /// Queues a frame that is not urgent: the next urgent one takes it along. Returns whether it is
    /// the first that waits so; then [`StreamQueue::hurry`] is to be called in a while.
    pub(in crate::lines) fn put_later(
        &self,
        player: &Arc<str>,
        frame: Frame,
        now: Instant,
    ) -> bool {
        let mut queue = self.0.lock();
        queue.push(player, frame);
        if queue.end.is_some() || queue.frames.len() >= BATCH_FRAMES {
            // A full batch, or a stream that ends, does not wait.
            self.0.tell(queue);
            return false;
        }
        // A stream that was woken for other frames takes it along.
        let is_first = queue.waker.is_some() && queue.lingers_since.is_none();
        if is_first {
            queue.lingers_since = Some(now);
        }
        is_first
    }

    /// Sends frames that are not urgent and wait since then or longer.
    pub(in crate::lines) fn hurry(&self, since: Instant) {
        let queue = self.0.lock();
        if queue.lingers_since.is_some_and(|oldest| oldest <= since) {
            self.0.tell(queue);
        }
    }

    /// Queues an encoded order for a player, and its job part before it unless the stream remembers
    /// that.
    pub(in crate::lines) fn put_order(&self, player: &Arc<str>, order: Bytes, job: &EncodedJob) {
        self.0.act(|queue| {
            if queue.jobs.is_news(&job.digest) {
                queue.push(player, Frame::Command(job.command.clone()));
            }
            queue.push(player, Frame::Command(order));
        });
    }

    /// Ends the stream after what waits.
    pub(in crate::lines) fn end(&self, goodbye: Goodbye) {
        self.0.act(|queue| {
            queue.end.get_or_insert(End::After(goodbye));
        });
    }

    /// Whether the stream has ended, or is about to.
    pub(in crate::lines) fn is_ended(&self) -> bool {
        self.0.lock().end.is_some()
    }

    /// Returns when the stream has ended, or is about to. Only one task may wait.
    pub(in crate::lines) async fn ended(&self) {
        while !self.is_ended() {
            self.0.ended.notified().await;
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the queue, and wakes the task that waits for it.
    fn act(&self, act: impl FnOnce(&mut Queue)) {
        let mut queue = self.lock();
        act(&mut queue);
        self.tell(queue);
    }

    /// Wakes the task that waits for frames.
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
    fn push(&mut self, player: &Arc<str>, frame: Frame) {
        if self.end.is_some() {
            return;
        }
        self.bytes += weight(&frame);
        self.frames.push_back((Arc::clone(player), frame));
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

/// The stream of a [`StreamQueue`]: batches of what waits.
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
            let Some((player, frame)) = queue.frames.pop_front() else { break };
            bytes += weight(&frame);
            frames.push(v1::ToPlayer { player: player.to_string(), frame: Some(frame) });
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
    /// Ends the queue, because the connection is gone.
    fn drop(&mut self) {
        self.0.act(|queue| {
            queue.end = Some(End::Now);
            queue.frames.clear();
        });
    }
}
