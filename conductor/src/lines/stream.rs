//! A stream, from its first message to its last: what comes on it, how many streams a player may
//! have, and the queue of what goes out.

mod counts;
mod queue;

use std::time::Duration;

use orchestra_certs::Peer;
use orchestra_model::HostName;
use orchestra_proto::v1::{self, from_player, to_player};
use tokio::{sync::watch, time::timeout};
use tokio_stream::{Stream as Incoming, StreamExt as _};

pub(super) use self::counts::{CountedStream, StreamCounts};
pub(crate) use self::queue::{Frames, Goodbye, StreamQueue};
use super::{NAME_CHARS, cut, session::Outbox, stopping};
use crate::declined::{Declined, Ground};

/// What comes on a stream, message by message.
pub(crate) trait Messages:
    Incoming<Item = Result<v1::FromPlayers, Declined>> + Send + Unpin
{
}

impl<I: Incoming<Item = Result<v1::FromPlayers, Declined>> + Send + Unpin> Messages for I {}

/// A stream that a player has dialled.
pub(super) struct PlayerStream<M> {
    /// The peer, by its certificate.
    pub(super) peer: Peer,
    /// The name in the certificate.
    pub(super) host: HostName,
    incoming: M,
    /// Becomes true when the conductor stops.
    stopping: watch::Receiver<bool>,
    _counted: CountedStream,
}

impl<M: Messages> PlayerStream<M> {
    pub(super) fn new(
        peer: Peer,
        host: HostName,
        incoming: M,
        stopping: watch::Receiver<bool>,
        counted: CountedStream,
    ) -> Self {
        Self { peer, host, incoming, stopping, _counted: counted }
    }

    /// Reads the first message: one attach, under the name of the certificate.
    pub(super) async fn greeting(&mut self, within: Duration) -> Result<v1::Attach, Declined> {
        let first = tokio::select! {
            first = timeout(within, self.incoming.next()) => first,
            _ = self.stopping.wait_for(|stopping| *stopping) => return Err(stopping()),
        };
        let first = first.map_err(|_| {
            Declined::new(Ground::Late, format!("no attach frame within {within:?}"))
        })?;
        let mut frames =
            first.transpose()?.map(|batch| batch.frames).unwrap_or_default().into_iter();
        let (Some(frame), None) = (frames.next(), frames.next()) else {
            return Err(Declined::new(Ground::Invalid, "the first message is one attach frame"));
        };
        let Some(from_player::Frame::Attach(attach)) = frame.frame else {
            return Err(Declined::new(Ground::Invalid, "the first frame is an attach"));
        };
        let host = &self.host;
        if frame.player != host.as_str() {
            let name = cut(&frame.player, NAME_CHARS);
            return Err(Declined::new(Ground::Forbidden, format!("{host} attached as {name:?}")));
        }
        Ok(attach)
    }

    /// Returns the next message, or why there is none: the stream is over, or its queue was ended.
    pub(super) async fn next(&mut self, queue: &StreamQueue) -> Result<v1::FromPlayers, Goodbye> {
        let message = tokio::select! {
            message = self.incoming.next() => message,
            () = queue.ended() => {
                let why = Declined::new(Ground::Overtaken, "the session was ended");
                return Err(Goodbye::Declined(why));
            }
            _ = self.stopping.wait_for(|stopping| *stopping) => {
                return Err(Goodbye::Declined(stopping()));
            }
        };
        match message {
            Some(Ok(message)) => Ok(message),
            Some(Err(declined)) => Err(Goodbye::Declined(declined)),
            None => Err(Goodbye::Done("the player ended the session")),
        }
    }
}

/// Returns a stream of one frame, which says why the player is refused.
pub(super) fn refusal(host: &HostName, declined: &Declined) -> Frames {
    let (queue, frames) = StreamQueue::new();
    let reason = declined.message();
    Outbox::new(host.as_str(), queue.clone())
        .frame(to_player::Frame::Refused(v1::Refused { reason }));
    queue.end(Goodbye::Done(""));
    frames
}
