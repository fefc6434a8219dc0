//! Frames between the sitter and its agent, over a stream socket pair.
//!
//! ```text
//! length: u32, little endian │ kind: u8 │ session: u64, little endian │ rest
//! ```
//!
//! `length` counts what follows it, at most [`limits::MESSAGE_BYTES`]. What a frame carries for
//! the other side of the wire (snapshots, reports, commands) is opaque here: bytes.
//!
//! # Sessions
//!
//! A session is one connection to a conductor, numbered by the agent. A frame of another session
//! than the present one is out of date, and its receiver drops it.
//!
//! ```text
//! agent                                     sitter
//!   │ Open ──────────────────────────────────▶│  a connection stands
//!   │◀────────────────────────────── Snapshot │  goes to the conductor as its first frame
//!   │ Welcomed ──────────────────────────────▶│  repeats what is settled, then what happens
//!   │ Command ───────────────────────────────▶│
//!   │◀──────────────────────────────── Report │
//!   │◀────────────────────────────── Reattach │  the snapshot is out of date: attach anew
//!   │ Closed ────────────────────────────────▶│
//! ```
//!
//! Frames about bundles that are fetched may come at any time too, and belong to no session: where others
//! have their session's number, they have that of the fetch, which the sitter gives.
//!
//! `Ask`, which `Here` answers, may come at any time. The agent asks only if its environment says
//! that the sitter knows the question ([`ANSWERS`]), because agent and sitter may be of different
//! releases for a while.
//!
//! # Two manners
//!
//! [`Inbox`] and [`Outbox`] buffer; they take any `Read` and `Write`. Over a descriptor that does
//! not block, they do what can be done now and say whether there is more to do. Over a descriptor
//! that blocks, [`Inbox::receive`] and [`Outbox::flush`] return when all is done.
//!
//! The sitter checks the form of what the agent sends and trusts it no further, because the agent
//! is the part of the player that strangers talk to.

use std::{
    collections::VecDeque,
    io::{self, IoSlice, Read, Write},
    marker::PhantomData,
};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use orchestra_model::{
    delivery::{AgentSession, StoreId, Term},
    limits,
};

/// The descriptor at which the agent finds its end of the pair.
pub const AGENT_DESCRIPTOR: i32 = 3;

/// The variable by which a sitter tells its agent that it answers `Ask`.
pub const ANSWERS: &str = "ORCHESTRA_SITTER_ANSWERS";

/// Most opaque bytes of a frame. The bound is below [`limits::MESSAGE_BYTES`], so that they fit a
/// message of the wire together with the player's name.
pub const PAYLOAD_BYTES: usize = limits::MESSAGE_BYTES - 4_096;

/// Bytes of a frame's length.
const PREFIX: usize = size_of::<u32>();
/// How much is read at once, at least.
const CHUNK: usize = 32 << 10;
/// An empty buffer that grew beyond this many bytes is released.
const KEPT: usize = 128 << 10;
/// Opaque bytes that are fewer are copied beside their header; more are queued as they are.
const COPIED: usize = 4 << 10;
/// Most pieces in one write.
const PIECES: usize = 32;

/// Frames from the agent to the sitter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToSitter {
    /// A connection to a conductor stands, and a snapshot is wanted.
    Open {
        /// The new session; any earlier one is over.
        session: AgentSession,
    },
    /// The conductor took the snapshot.
    Welcomed {
        session: AgentSession,
        /// The conductor's store.
        store: StoreId,
        /// That store's term.
        term: Term,
    },
    /// The conductor wants something.
    Command {
        session: AgentSession,
        /// An encoded `orchestra.v1.Command`, as it came.
        bytes: Bytes,
    },
    /// The connection is gone.
    Closed { session: AgentSession },
    /// Asks whether the sitter is there.
    Ask { session: AgentSession },
    /// A bundle that was asked for is in the depot.
    Fetched { fetch: FetchNumber },
    /// A bundle that was asked for will not be in the depot.
    NotFetched {
        fetch: FetchNumber,
        /// Why, in UTF-8, for people.
        why: Bytes,
    },
}

/// The number of a fetch that a sitter has asked for. Each agent is told all that are still wanted, under
/// the numbers that they had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FetchNumber(pub u64);

/// Frames from the sitter to the agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToAgent {
    /// Answers `Open`.
    Snapshot {
        session: AgentSession,
        /// An encoded `orchestra.v1.Snapshot`.
        bytes: Bytes,
    },
    /// Something happened to an attempt. None before the session's `Welcomed`.
    Report {
        session: AgentSession,
        /// An encoded `orchestra.v1.Report`.
        bytes: Bytes,
    },
    /// The snapshot is out of date, because scores were rescanned: close this session and open
    /// another at once.
    Reattach { session: AgentSession },
    /// Answers `Ask`.
    Here {
        /// The session of the question.
        session: AgentSession,
    },
    /// A bundle is wanted in the depot. `Fetched` or `NotFetched` answers.
    Fetch {
        fetch: FetchNumber,
        /// An encoded `orchestra.v1.FetchOrder`.
        order: Bytes,
    },
    /// A bundle is not wanted any more. Nothing answers.
    StopFetch { fetch: FetchNumber },
}

/// A frame of one direction. Sealed, because there are only the two directions above.
pub trait Frame: sealed::Codec {}

impl Frame for ToSitter {}
impl Frame for ToAgent {}

/// Why bytes from the other side are no frame. The stream cannot be used after that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidFrame {
    /// It claims to have so many bytes, which are too many.
    #[error("a frame of {0} bytes; the most is {MAX}")]
    TooLong(u32),
    /// It is too short or too long for its kind.
    #[error("a frame of kind {kind} cannot have {bytes} bytes")]
    Length {
        /// The byte that tells the kind.
        kind: u8,
        /// How many bytes follow the kind.
        bytes: usize,
    },
    /// No frame of this direction has this number.
    #[error("no frame has kind {0}")]
    Kind(u8),
    /// It is empty.
    #[error("a frame without content")]
    Empty,
}

/// The opaque bytes are longer than [`PAYLOAD_BYTES`]; nothing was queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} bytes in one frame; the most is {PAYLOAD_BYTES}", .0)]
pub struct PayloadTooLong(
    /// How long they are.
    pub usize,
);

/// Why [`Inbox::receive`] has no frame.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// Reading failed, or would block.
    #[error("reading from the other half of the player")]
    Read(#[source] io::Error),
    /// What was read is no frame.
    #[error("understanding the other half of the player")]
    Frame(#[source] InvalidFrame),
}

/// Bytes that came in, and the frames in them.
#[derive(Debug)]
pub struct Inbox<F> {
    buffer: BytesMut,
    direction: PhantomData<fn() -> F>,
}

impl<F: Frame> Default for Inbox<F> {
    fn default() -> Self {
        Self { buffer: BytesMut::new(), direction: PhantomData }
    }
}

impl<F: Frame> Inbox<F> {
    /// Reads once. Returns how many bytes came; 0 is the end of the stream. The caller takes all
    /// frames out between two calls, so that the inbox holds less than one frame.
    pub fn fill(&mut self, from: &mut impl Read) -> io::Result<usize> {
        let held = self.buffer.len();
        self.buffer.resize(held + self.wanted(), 0);
        let read = from.read(&mut self.buffer[held..]);
        self.buffer.truncate(held + read.as_ref().copied().unwrap_or(0));
        read
    }

    /// Returns the next frame if it is complete.
    pub fn next_frame(&mut self) -> Result<Option<F>, InvalidFrame> {
        let Some(length) = self.length()? else {
            return Ok(None);
        };
        if self.buffer.len() < PREFIX + length {
            return Ok(None);
        }
        self.buffer.advance(PREFIX);
        let content = self.buffer.split_to(length).freeze();
        if self.buffer.is_empty() && self.buffer.capacity() > KEPT {
            self.buffer = BytesMut::new();
        }
        F::decode(content).map(Some)
    }

    /// Returns the next frame, reading as often as needed; `None` at the end of the stream.
    pub fn receive(&mut self, from: &mut impl Read) -> Result<Option<F>, ReceiveError> {
        loop {
            if let Some(frame) = self.next_frame().map_err(ReceiveError::Frame)? {
                return Ok(Some(frame));
            }
            match self.fill(from) {
                Ok(0) if self.buffer.is_empty() => return Ok(None),
                Ok(0) => return Err(ReceiveError::Read(io::ErrorKind::UnexpectedEof.into())),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(ReceiveError::Read(error)),
            }
        }
    }

    /// Returns the checked length of the next frame, once it is here.
    fn length(&self) -> Result<Option<usize>, InvalidFrame> {
        let Some(prefix) = self.buffer.first_chunk() else {
            return Ok(None);
        };
        match u32::from_le_bytes(*prefix) {
            0 => Err(InvalidFrame::Empty),
            length if length > MAX => Err(InvalidFrame::TooLong(length)),
            length => Ok(Some(length as usize)),
        }
    }

    /// Returns how many bytes to read: the rest of a long frame at once, else a chunk.
    fn wanted(&self) -> usize {
        let rest = match self.length() {
            Ok(Some(length)) => (PREFIX + length).saturating_sub(self.buffer.len()),
            _ => 0,
        };
        rest.max(CHUNK)
    }
}

/// Frames that have not been written yet.
#[derive(Debug)]
pub struct Outbox<F> {
    /// Whole pieces, in order.
    pieces: VecDeque<Bytes>,
    /// The bytes after them, to which more may be added.
    open: BytesMut,
    queued: usize,
    direction: PhantomData<fn(F)>,
}

impl<F: Frame> Default for Outbox<F> {
    fn default() -> Self {
        Self { pieces: VecDeque::new(), open: BytesMut::new(), queued: 0, direction: PhantomData }
    }
}

impl<F: Frame> Outbox<F> {
    /// Queues a frame.
    pub fn push(&mut self, frame: F) -> Result<(), PayloadTooLong> {
        let parts = frame.encode();
        if parts.payload.len() > PAYLOAD_BYTES {
            return Err(PayloadTooLong(parts.payload.len()));
        }
        let length = HEADER + parts.fixed.len() + parts.payload.len();
        self.queued += PREFIX + length;
        // The length fits, because the payload was checked above.
        self.open.put_u32_le(length as u32);
        self.open.put_u8(parts.kind);
        self.open.put_u64_le(parts.session.0);
        self.open.put_slice(&parts.fixed);
        if parts.payload.len() < COPIED {
            self.open.put_slice(&parts.payload);
        } else {
            self.pieces.push_back(self.open.split().freeze());
            self.pieces.push_back(parts.payload);
        }
        Ok(())
    }

    /// How many bytes are queued.
    pub fn queued(&self) -> usize {
        self.queued
    }

    /// Whether nothing is queued.
    pub fn is_empty(&self) -> bool {
        self.queued == 0
    }

    /// Writes until nothing is queued (`true`) or the descriptor takes no more now (`false`).
    pub fn flush(&mut self, to: &mut impl Write) -> io::Result<bool> {
        while self.queued > 0 {
            if !self.open.is_empty() {
                self.pieces.push_back(self.open.split().freeze());
            }
            let mut slices = [IoSlice::new(&[]); PIECES];
            let mut count = 0;
            for (slice, piece) in slices.iter_mut().zip(&self.pieces) {
                *slice = IoSlice::new(piece);
                count += 1;
            }
            match to.write_vectored(&slices[..count]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => self.written(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    fn written(&mut self, mut bytes: usize) {
        self.queued = self.queued.saturating_sub(bytes);
        while let Some(piece) = self.pieces.front_mut() {
            if piece.len() > bytes {
                piece.advance(bytes);
                return;
            }
            bytes -= piece.len();
            self.pieces.pop_front();
        }
        self.open = BytesMut::new();
    }
}

/// The most that a length may say.
const MAX: u32 = limits::MESSAGE_BYTES as u32;
/// Bytes of kind and session.
const HEADER: usize = 1 + size_of::<u64>();

mod sealed {
    use super::{AgentSession, Bytes, InvalidFrame};

    /// A frame in bytes.
    #[derive(Debug)]
    pub struct Parts {
        pub(super) kind: u8,
        pub(super) session: AgentSession,
        /// Few bytes of known length.
        pub(super) fixed: Vec<u8>,
        /// Opaque bytes.
        pub(super) payload: Bytes,
    }

    pub trait Codec: Sized {
        fn encode(self) -> Parts;
        fn decode(content: Bytes) -> Result<Self, InvalidFrame>;
    }
}

use sealed::{Codec, Parts};

impl Parts {
    fn bare(kind: u8, session: AgentSession) -> Self {
        Self { kind, session, fixed: Vec::new(), payload: Bytes::new() }
    }

    fn opaque(kind: u8, session: AgentSession, payload: Bytes) -> Self {
        Self { payload, ..Self::bare(kind, session) }
    }
}

/// Kinds are numbered over both directions, so that a mixed-up socket shows at once.
mod kind {
    pub(super) const OPEN: u8 = 1;
    pub(super) const WELCOMED: u8 = 2;
    pub(super) const COMMAND: u8 = 3;
    pub(super) const CLOSED: u8 = 4;
    pub(super) const ASK: u8 = 5;
    pub(super) const FETCHED: u8 = 6;
    pub(super) const NOT_FETCHED: u8 = 7;
    pub(super) const SNAPSHOT: u8 = 17;
    pub(super) const REPORT: u8 = 18;
    pub(super) const REATTACH: u8 = 19;
    pub(super) const HERE: u8 = 20;
    pub(super) const FETCH: u8 = 21;
    pub(super) const STOP_FETCH: u8 = 22;
}

impl Codec for ToSitter {
    fn encode(self) -> Parts {
        match self {
            Self::Open { session } => Parts::bare(kind::OPEN, session),
            Self::Welcomed { session, store, term } => {
                let fixed = [&store.0[..], &term.0.to_le_bytes()[..]].concat();
                Parts { fixed, ..Parts::bare(kind::WELCOMED, session) }
            }
            Self::Command { session, bytes } => Parts::opaque(kind::COMMAND, session, bytes),
            Self::Closed { session } => Parts::bare(kind::CLOSED, session),
            Self::Ask { session } => Parts::bare(kind::ASK, session),
            Self::Fetched { fetch } => Parts::bare(kind::FETCHED, AgentSession(fetch.0)),
            Self::NotFetched { fetch, why } => {
                Parts::opaque(kind::NOT_FETCHED, AgentSession(fetch.0), why)
            }
        }
    }

    fn decode(content: Bytes) -> Result<Self, InvalidFrame> {
        let mut content = Content::new(content)?;
        let session = content.session()?;
        match content.kind {
            kind::OPEN => content.end(Self::Open { session }),
            kind::WELCOMED => {
                let store = StoreId(content.array()?);
                let term = Term(u64::from_le_bytes(content.array()?));
                content.end(Self::Welcomed { session, store, term })
            }
            kind::COMMAND => Ok(Self::Command { session, bytes: content.rest }),
            kind::CLOSED => content.end(Self::Closed { session }),
            kind::ASK => content.end(Self::Ask { session }),
            kind::FETCHED => content.end(Self::Fetched { fetch: FetchNumber(session.0) }),
            kind::NOT_FETCHED => {
                Ok(Self::NotFetched { fetch: FetchNumber(session.0), why: content.rest })
            }
            other => Err(InvalidFrame::Kind(other)),
        }
    }
}

impl Codec for ToAgent {
    fn encode(self) -> Parts {
        match self {
            Self::Snapshot { session, bytes } => Parts::opaque(kind::SNAPSHOT, session, bytes),
            Self::Report { session, bytes } => Parts::opaque(kind::REPORT, session, bytes),
            Self::Reattach { session } => Parts::bare(kind::REATTACH, session),
            Self::Here { session } => Parts::bare(kind::HERE, session),
            Self::Fetch { fetch, order } => {
                Parts::opaque(kind::FETCH, AgentSession(fetch.0), order)
            }
            Self::StopFetch { fetch } => Parts::bare(kind::STOP_FETCH, AgentSession(fetch.0)),
        }
    }

    fn decode(content: Bytes) -> Result<Self, InvalidFrame> {
        let mut content = Content::new(content)?;
        let session = content.session()?;
        match content.kind {
            kind::SNAPSHOT => Ok(Self::Snapshot { session, bytes: content.rest }),
            kind::REPORT => Ok(Self::Report { session, bytes: content.rest }),
            kind::REATTACH => content.end(Self::Reattach { session }),
            kind::HERE => content.end(Self::Here { session }),
            kind::FETCH => Ok(Self::Fetch { fetch: FetchNumber(session.0), order: content.rest }),
            kind::STOP_FETCH => content.end(Self::StopFetch { fetch: FetchNumber(session.0) }),
            other => Err(InvalidFrame::Kind(other)),
        }
    }
}

/// A frame's content, read from the front.
struct Content {
    kind: u8,
    bytes: usize,
    rest: Bytes,
}

impl Content {
    fn new(mut content: Bytes) -> Result<Self, InvalidFrame> {
        let kind = content.try_get_u8().map_err(|_| InvalidFrame::Empty)?;
        Ok(Self { kind, bytes: content.len(), rest: content })
    }

    fn session(&mut self) -> Result<AgentSession, InvalidFrame> {
        self.array().map(u64::from_le_bytes).map(AgentSession)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], InvalidFrame> {
        let array = *self.rest.first_chunk().ok_or(self.wrong_length())?;
        self.rest.advance(N);
        Ok(array)
    }

    fn end<T>(self, frame: T) -> Result<T, InvalidFrame> {
        if self.rest.is_empty() { Ok(frame) } else { Err(self.wrong_length()) }
    }

    fn wrong_length(&self) -> InvalidFrame {
        InvalidFrame::Length { kind: self.kind, bytes: self.bytes }
    }
}

#[cfg(test)]
mod tests;
