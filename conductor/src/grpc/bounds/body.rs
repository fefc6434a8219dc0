//! Requests that are collected before a handler sees them, and answers that keep their permits
//! until they are read.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use http_body::{Body as _, Frame, SizeHint};
use orchestra_certs::Outgoing;
use tonic::{Status, body::Body};

use super::{
    account::{Both, Kept},
    calls::Call,
};

/// Bytes before each message: a flag whether it is compressed, and its length in four bytes.
const PREFIX: usize = 5;

/// Collects the one message of a request. Waits for room before the second frame is read, so that
/// what does not fit waits with the peer.
pub(super) async fn collect<R>(
    mut body: Body,
    call: &Call,
    room: impl FnOnce(usize) -> R,
) -> Result<(Bytes, Option<Both>), Status>
where
    R: Future<Output = Option<Both>>,
{
    let mut bytes = BytesMut::new();
    let mut length = None;
    let mut room = Some(room);
    let mut permits = None;
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        // Trailers are ignored.
        let Ok(data) = frame?.into_data() else { continue };
        bytes.extend_from_slice(&data);
        if let (None, Some((prefix, _))) = (length, bytes.split_first_chunk::<PREFIX>()) {
            let [_, length_bytes @ ..] = *prefix;
            let announced = usize::try_from(u32::from_be_bytes(length_bytes)).unwrap_or(usize::MAX);
            if announced > call.bytes {
                let most = call.bytes;
                return Err(Status::resource_exhausted(format!(
                    "the request has {announced} bytes; this call takes at most {most}"
                )));
            }
            length = Some(announced);
            if let Some(room) = room.take() {
                permits = room(announced).await;
                bytes.reserve((PREFIX + announced).saturating_sub(bytes.len()));
            }
        }
        if bytes.len() > length.map_or(PREFIX, |length| PREFIX + length) {
            return Err(Status::invalid_argument("the request is more than one message"));
        }
    }
    Ok((bytes.freeze(), permits))
}

/// A complete body.
#[derive(Debug)]
pub(super) struct Whole(Option<Bytes>);

impl Whole {
    pub(super) fn of(bytes: Bytes) -> Self {
        Self(Some(bytes).filter(|bytes| !bytes.is_empty()))
    }
}

impl http_body::Body for Whole {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        Poll::Ready(self.0.take().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }
}

/// Most bytes of an answer that are given to its connection at once. So at most one such piece
/// waits in the connection for the peer's window.
const PIECE: usize = 16 << 10;

/// An answer that keeps permits until it was read to its end, or is dropped.
#[derive(Debug, Default)]
pub(crate) struct Held<B> {
    body: B,
    /// Bytes that the body has given and the connection has not taken.
    rest: Option<Bytes>,
    /// The connection, if it must not be given more than it sends.
    outgoing: Option<Outgoing>,
    _kept: Kept,
}

impl<B> Held<B> {
    pub(super) fn new(body: B, kept: Kept, outgoing: Option<Outgoing>) -> Self {
        Self { body, rest: None, outgoing, _kept: kept }
    }
}

impl<B: http_body::Body<Data = Bytes> + Unpin> http_body::Body for Held<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let Self { body, rest, outgoing, .. } = &mut *self;
        let Some(outgoing) = outgoing else { return Pin::new(body).poll_frame(cx) };
        let mut bytes = match rest.take() {
            Some(bytes) => bytes,
            None => match ready!(Pin::new(body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(bytes) => bytes,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                end => return Poll::Ready(end),
            },
        };
        let length = bytes.len().min(PIECE);
        if outgoing.poll_give(cx, length).is_pending() {
            *rest = Some(bytes);
            return Poll::Pending;
        }
        let piece = bytes.split_to(length);
        *rest = Some(bytes).filter(|bytes| !bytes.is_empty());
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        match self.outgoing {
            Some(_) => SizeHint::default(),
            None => self.body.size_hint(),
        }
    }
}
