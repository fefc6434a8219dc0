//! One session's way out: what its player is told goes into the queue of its stream.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use orchestra_proto::{
    PROTOCOL,
    v1::{self, command::Kind, to_player::Frame},
};
use tokio::time::Instant;

use crate::lines::{
    command::{EncodedJob, Header},
    stream::{Goodbye, StreamQueue},
};

/// The way to a player, through the queue of its stream.
#[derive(Clone, Debug)]
pub(crate) struct Outbox {
    player: Arc<str>,
    pub(in crate::lines) queue: StreamQueue,
}

impl Outbox {
    /// Returns the way to a player over this stream.
    pub(crate) fn new(player: &str, queue: StreamQueue) -> Self {
        Self { player: player.into(), queue }
    }

    /// Queues the welcome, which begins a session. If the session is lost, the player comes back
    /// within `come_back_within`.
    pub(crate) fn welcome(&self, header: Header, come_back_within: Duration) {
        self.frame(Frame::Welcome(v1::Welcome {
            protocol: PROTOCOL,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            store_id: Bytes::copy_from_slice(&header.store.0),
            term: header.term.0,
            come_back_within_ms: u32::try_from(come_back_within.as_millis()).unwrap_or(u32::MAX),
            names_sources: true,
        }));
    }

    /// Queues a frame of the session itself.
    pub(crate) fn frame(&self, frame: Frame) {
        self.queue.put(&self.player, frame);
    }

    /// Queues a command for the sitter.
    pub(crate) fn command(&self, header: Header, kind: Kind) {
        self.frame(Frame::Command(header.command(kind)));
    }

    /// Queues a command that is not urgent: the next urgent one takes it along. Returns whether it
    /// is the first that waits so; then [`Outbox::hurry`] is to be called in a while.
    pub(crate) fn later(&self, header: Header, kind: Kind, now: Instant) -> bool {
        self.queue.put_later(&self.player, Frame::Command(header.command(kind)), now)
    }

    /// Sends commands that are not urgent and wait since then or longer.
    pub(crate) fn hurry(&self, since: Instant) {
        self.queue.hurry(since);
    }

    /// Queues an order, and its job part before it unless the stream remembers that.
    pub(crate) fn order(&self, header: Header, order: v1::Order, job: &EncodedJob) {
        self.queue.put_order(&self.player, header.command(Kind::Order(order)), job);
    }

    /// Ends the session after what waits. This ends its stream too, which carries no other session.
    pub(crate) fn end(&self, goodbye: Goodbye) {
        self.queue.end(goodbye);
    }

    /// Returns whether the session's stream has ended, or is about to.
    pub(crate) fn is_ended(&self) -> bool {
        self.queue.is_ended()
    }
}
