//! Frames on their way to the conductor: all that are ready go in one message.

use std::collections::VecDeque;

use bytes::Bytes;
use orchestra_model::HostName;
use orchestra_proto::v1::{Alive, FetchReport, FromPlayer, FromPlayers, from_player::Frame};
use prost::Message as _;

/// Longest message, in bytes. Only a single frame that is longer makes a longer message.
const MESSAGE_BYTES: usize = 1 << 20;
/// How many bytes the wire adds to a frame's content and name: tags and lengths.
const OVERHEAD: usize = 24;

/// Frames that wait for the next message, oldest first.
#[derive(Debug)]
pub(super) struct Batch {
    player: HostName,
    frames: VecDeque<FromPlayer>,
    bytes: usize,
}

impl Batch {
    /// Returns an empty batch. Every frame in it will name `player`.
    pub(super) fn new(player: HostName) -> Self {
        Self { player, frames: VecDeque::new(), bytes: 0 }
    }

    /// Adds a report.
    pub(super) fn push(&mut self, report: Bytes) {
        let frame = self.frame(Frame::Report(report));
        self.bytes += size(&frame);
        self.frames.push_back(frame);
    }

    /// Adds what is said of a bundle that is fetched.
    pub(super) fn push_fetch(&mut self, report: FetchReport) {
        let frame = self.frame(Frame::Fetch(report));
        self.bytes += size(&frame);
        self.frames.push_back(frame);
    }

    /// Adds the answer to a probe, in front of all that waits.
    pub(super) fn push_alive(&mut self) {
        let frame = self.frame(Frame::Alive(Alive {}));
        self.bytes += size(&frame);
        self.frames.push_front(frame);
    }

    /// Whether there is nothing to send.
    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Whether there is enough for a message. Further frames had better wait where they are.
    pub(super) fn is_full(&self) -> bool {
        self.bytes >= MESSAGE_BYTES
    }

    /// Takes the next message out.
    pub(super) fn take(&mut self) -> FromPlayers {
        let mut taken = 0;
        let mut count = 0;
        for frame in &self.frames {
            let more = size(frame);
            if count > 0 && taken + more > MESSAGE_BYTES {
                break;
            }
            taken += more;
            count += 1;
        }
        self.bytes -= taken;
        FromPlayers { frames: self.frames.drain(..count).collect() }
    }

    fn frame(&self, frame: Frame) -> FromPlayer {
        FromPlayer { player: self.player.to_string(), frame: Some(frame) }
    }
}

/// Returns how many bytes of a message a frame takes, or a few more.
fn size(frame: &FromPlayer) -> usize {
    let content = match &frame.frame {
        Some(Frame::Report(report)) => report.len(),
        Some(Frame::Fetch(report)) => report.encoded_len(),
        _ => 0,
    };
    OVERHEAD + frame.player.len() + content
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch() -> Batch {
        Batch::new(HostName::new("db1").unwrap())
    }

    #[test]
    fn messages_are_cut_and_keep_the_order() {
        let mut batch = batch();
        for n in 0..=255_u8 {
            batch.push(Bytes::from(vec![n; 10_000]));
        }
        assert!(batch.is_full());
        let mut seen = Vec::new();
        while !batch.is_empty() {
            let message = batch.take();
            assert!(prost::Message::encoded_len(&message) <= MESSAGE_BYTES);
            assert!(message.frames.len() > 100 || batch.is_empty());
            seen.extend(message.frames.into_iter().map(|frame| match frame.frame {
                Some(Frame::Report(report)) => report[0],
                other => panic!("{other:?}"),
            }));
        }
        assert_eq!(seen, (0..=255).collect::<Vec<u8>>());
        assert_eq!(batch.bytes, 0);
    }

    #[test]
    fn a_long_report_goes_alone_and_a_probe_is_answered_first() {
        let mut batch = batch();
        batch.push(Bytes::from(vec![0; MESSAGE_BYTES * 2]));
        batch.push(Bytes::from_static(b"x"));
        batch.push_alive();
        let counts: Vec<usize> = (0..3).map(|_| batch.take().frames.len()).collect();
        assert_eq!(counts, [1, 1, 1]);
        assert!(batch.is_empty() && !batch.is_full());
    }
}
