//! Frames between a player, the *child*, and a relay. All heads are of one length, and say how long the
//! body is that follows.
//!
//! ```text
//! head       kind (1)  0 0 0  number (4)  length of the body (4)        numbers are little-endian
//!
//! child      1  ticket    body: a signed ticket; first, and again before it ends
//!            2  ask       for a piece of the manifest: its number
//!            3  ask       for a chunk: its number
//! relay     16  hello     it listens; before anything else
//!           17  opened    the ticket is good, and there is a place
//!           18  busy      there is no place; the connection ends
//!           19  refused   body: why, for people; the connection ends
//!           20  waiting   what is asked for is not here yet
//!           21  piece     of the manifest; body: its bytes
//!           22  chunk     body: its bytes
//! ```
//!
//! A child asks for several parts at once, and they come as they are there, in any order. A relay that
//! has nothing to say while something is asked of it says `waiting` twice a second: who is silent for
//! longer than two seconds is left.

use super::SignedTicket;
use crate::{bundle::BundlePart, bundle::LARGE_CHUNK_BYTES, journal::ByteReader};

const TICKET: u8 = 1;
const ASK_PIECE: u8 = 2;
const ASK_CHUNK: u8 = 3;
const HELLO: u8 = 16;
const OPENED: u8 = 17;
const BUSY: u8 = 18;
const REFUSED: u8 = 19;
const WAITING: u8 = 20;
const PIECE: u8 = 21;
const CHUNK: u8 = 22;

/// What stands before each body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHead {
    pub frame: RelayFrame,
    /// How many bytes follow, within the bound of its kind.
    pub body: usize,
}

/// What is said. The body, where there is one, follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelayFrame {
    Ticket,
    Ask(BundlePart),
    Hello,
    Opened,
    Busy,
    Refused,
    Waiting,
    Part(BundlePart),
}

/// Why bytes are no head of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidFrameHead {
    #[error("it sent a frame of kind {0}, which there is not")]
    Kind(u8),
    #[error("it sent a frame of kind {kind} with {length} bytes, and there may be {most}")]
    Length { kind: u8, length: u32, most: usize },
}

impl FrameHead {
    /// How long a head is, in bytes.
    pub const BYTES: usize = 12;
    /// Longest reason of a refusal, in bytes.
    pub const REASON_BYTES: usize = 512;

    /// The bytes of a head whose body has so many bytes.
    pub fn encode(frame: RelayFrame, body: usize) -> [u8; Self::BYTES] {
        debug_assert!(body <= most_of(kind_of(frame).0), "{frame:?} with {body} bytes");
        let (kind, number) = kind_of(frame);
        let mut out = [0; Self::BYTES];
        out[0] = kind;
        out[4..8].copy_from_slice(&number.to_le_bytes());
        // Every body is far shorter than four bytes can say.
        out[8..].copy_from_slice(&(body as u32).to_le_bytes());
        out
    }

    /// Reads a head. What it says of the body is within bounds.
    pub fn decode(bytes: [u8; Self::BYTES]) -> Result<Self, InvalidFrameHead> {
        let kind = bytes[0];
        let mut reader = ByteReader::new(&bytes[4..]);
        let (Some(number), Some(length)) = (reader.u32(), reader.u32()) else {
            return Err(InvalidFrameHead::Kind(kind));
        };
        let frame = match kind {
            TICKET => RelayFrame::Ticket,
            ASK_PIECE => RelayFrame::Ask(BundlePart::ManifestPiece(number)),
            ASK_CHUNK => RelayFrame::Ask(BundlePart::Chunk(number)),
            HELLO => RelayFrame::Hello,
            OPENED => RelayFrame::Opened,
            BUSY => RelayFrame::Busy,
            REFUSED => RelayFrame::Refused,
            WAITING => RelayFrame::Waiting,
            PIECE => RelayFrame::Part(BundlePart::ManifestPiece(number)),
            CHUNK => RelayFrame::Part(BundlePart::Chunk(number)),
            _ => return Err(InvalidFrameHead::Kind(kind)),
        };
        let most = most_of(kind);
        match usize::try_from(length) {
            Ok(body) if body <= most => Ok(Self { frame, body }),
            _ => Err(InvalidFrameHead::Length { kind, length, most }),
        }
    }
}

fn kind_of(frame: RelayFrame) -> (u8, u32) {
    match frame {
        RelayFrame::Ticket => (TICKET, 0),
        RelayFrame::Ask(BundlePart::ManifestPiece(number)) => (ASK_PIECE, number),
        RelayFrame::Ask(BundlePart::Chunk(number)) => (ASK_CHUNK, number),
        RelayFrame::Hello => (HELLO, 0),
        RelayFrame::Opened => (OPENED, 0),
        RelayFrame::Busy => (BUSY, 0),
        RelayFrame::Refused => (REFUSED, 0),
        RelayFrame::Waiting => (WAITING, 0),
        RelayFrame::Part(BundlePart::ManifestPiece(number)) => (PIECE, number),
        RelayFrame::Part(BundlePart::Chunk(number)) => (CHUNK, number),
    }
}

/// The longest body of a kind, in bytes.
fn most_of(kind: u8) -> usize {
    match kind {
        TICKET => SignedTicket::BYTES,
        REFUSED => FrameHead::REASON_BYTES,
        PIECE | CHUNK => LARGE_CHUNK_BYTES as usize,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_as_it_is_written() {
        let part = BundlePart::Chunk(u32::MAX);
        let piece = BundlePart::ManifestPiece(7);
        let frames = [
            (RelayFrame::Ticket, 900),
            (RelayFrame::Ask(part), 0),
            (RelayFrame::Ask(piece), 0),
            (RelayFrame::Hello, 0),
            (RelayFrame::Opened, 0),
            (RelayFrame::Busy, 0),
            (RelayFrame::Refused, FrameHead::REASON_BYTES),
            (RelayFrame::Waiting, 0),
            (RelayFrame::Part(part), 1 << 20),
            (RelayFrame::Part(piece), 1),
        ];
        for (frame, body) in frames {
            let head = FrameHead::encode(frame, body);
            assert_eq!(FrameHead::decode(head), Ok(FrameHead { frame, body }));
        }
    }

    #[test]
    fn what_claims_too_much_is_refused_before_anything_is_read() {
        let mut head = FrameHead::encode(RelayFrame::Part(BundlePart::Chunk(1)), 1 << 20);
        head[8..].copy_from_slice(&((1 << 20) + 1_u32).to_le_bytes());
        assert!(matches!(FrameHead::decode(head), Err(InvalidFrameHead::Length { .. })));
        let mut head = FrameHead::encode(RelayFrame::Waiting, 0);
        head[8] = 1;
        assert!(matches!(FrameHead::decode(head), Err(InvalidFrameHead::Length { most: 0, .. })));
        assert_eq!(FrameHead::decode([0; 12]), Err(InvalidFrameHead::Kind(0)));
    }
}
