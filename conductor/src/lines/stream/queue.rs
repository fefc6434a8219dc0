//! What waits to go out on one stream: bounded, batched, and never in anybody's way.
//!
//! Frames are put in without waiting; a stream that lets too many pile up is ended, and its players get
//! them again when they attach anew.
//!
//! What is in no hurry waits for company: it goes along with the next frame that is, and is sent by
//! itself when it was [hurried](StreamQueue::hurry).

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

/// Most frames that wait; honest players stay far below it, for credits bound orders and
/// acknowledgements answer reports.
const MOST_FRAMES: usize = 16_384;
/// Most bytes that wait: an order for each of the most credits, each of another job with the
/// largest parameters, and a fifth more.
const MOST_BYTES: usize = 160 << 20;
/// Where a batch is cut.
const BATCH_FRAMES: usize = 512;
const BATCH_BYTES: usize = 1 << 20;

/// What waits to go out on a stream, for those who put something in; the stream itself is [`Frames`].
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
    /// Frames, and for which player each is.
    frames: VecDeque<(Arc<str>, Frame)>,
    /// Of all that waits.
    bytes: usize,
    jobs: CarriedJobs,
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
    /// Everything that waits, then this.
    After(Goodbye),
    /// At once: nobody reads it, or everything is said.
    Now,
}

impl StreamQueue {
    /// A queue, and the stream of what goes into it.
    pub(crate) fn new() -> (Self, Frames) {
        let shared = Arc::new(Shared { queue: Mutex::default(), ended: Notify::new() });
        (Self(Arc::clone(&shared)), Frames(shared))
    }

    /// Queues a frame for a player.
    pub(in crate::lines) fn put(&self, player: &Arc<str>, frame: Frame) {
        self.0.act(|queue| queue.push(player, frame));
    }

    /// Queues a frame that is in no hurry: the next one that is takes it along. True where it is the
    /// first that waits so; then [`StreamQueue::hurry`] is to be called in a while.
    pub(in crate::lines) fn put_later(
        &self,
        player: &Arc<str>,
        frame: Frame,
        now: Instant,
    ) -> bool {
        let mut queue = self.0.lock();
        queue.push(player, frame);
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

    /// Returns when the stream has ended, or is about to. For one waiter.
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

/// The stream of a [`StreamQueue`]: batches of whatever waits.
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
    /// The connection is gone: whoever still has the queue need not fill it.
    fn drop(&mut self) {
        self.0.act(|queue| {
            queue.end = Some(End::Now);
            queue.frames.clear();
        });
    }
}
