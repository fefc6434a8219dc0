//! Answers that are streams: the desk's pieces, as pages of the protocol.

use std::{marker::PhantomData, pin::Pin};

use prost::Message;
use tokio::sync::mpsc;
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tonic::{Response, Status};

use crate::{
    declined::Declined,
    desk::{Desk, Recipient, Stopped},
};

/// Most pages that wait for a slow reader.
const WAITING: usize = 2;
/// From so many bytes on a page is cut.
pub(super) const PAGE_BYTES: usize = 1 << 20;

/// A streamed answer.
pub(super) type Pages<P> = Pin<Box<dyn Stream<Item = Result<P, Status>> + Send>>;

/// A reader at the other end of a connection. `E` encodes a piece as pages.
#[derive(Debug)]
pub(super) struct PageWriter<T, P, E> {
    pages: mpsc::Sender<Result<P, Status>>,
    encode: E,
    pieces: PhantomData<fn(T)>,
}

impl<T, P, E> Recipient<T> for PageWriter<T, P, E>
where
    T: Send,
    P: Send,
    E: Fn(T) -> Result<Vec<P>, Declined> + Send + Sync,
{
    async fn give(&self, piece: T) -> Result<(), Stopped> {
        for page in (self.encode)(piece)? {
            self.pages.send(Ok(page)).await.map_err(|_| Stopped::Gone)?;
        }
        Ok(())
    }

    fn is_gone(&self) -> bool {
        self.pages.is_closed()
    }

    async fn gone(&self) {
        self.pages.closed().await;
    }
}

/// Returns a streamed answer, fed by a task of its own. If the rest is declined, or the conductor
/// stops, its status says so.
pub(super) fn stream<T, P, E, F>(
    desk: &Desk,
    encode: E,
    feed: impl FnOnce(Desk, PageWriter<T, P, E>) -> F,
) -> Response<Pages<P>>
where
    E: Fn(T) -> Result<Vec<P>, Declined>,
    P: Send + 'static,
    F: Future<Output = Result<(), Stopped>> + Send + 'static,
{
    fed_until(desk, std::future::pending(), encode, feed)
}

/// Returns a streamed answer that may last for long, as [`stream`] does. It ends when `still` declines
/// it, which is asked whenever the policy may have changed.
pub(super) fn lasting_stream<T, P, E, F, S, C>(
    desk: &Desk,
    still: S,
    encode: E,
    feed: impl FnOnce(Desk, PageWriter<T, P, E>) -> F,
) -> Response<Pages<P>>
where
    E: Fn(T) -> Result<Vec<P>, Declined>,
    P: Send + 'static,
    F: Future<Output = Result<(), Stopped>> + Send + 'static,
    S: Fn(Desk) -> C + Send + Sync + 'static,
    C: Future<Output = Result<(), Declined>> + Send + 'static,
{
    let asking = desk.clone();
    let denied = async move { asking.until_denied(still).await };
    fed_until(desk, denied, encode, feed)
}

fn fed_until<T, P, E, F>(
    desk: &Desk,
    denied: impl Future<Output = Declined> + Send + 'static,
    encode: E,
    feed: impl FnOnce(Desk, PageWriter<T, P, E>) -> F,
) -> Response<Pages<P>>
where
    E: Fn(T) -> Result<Vec<P>, Declined>,
    P: Send + 'static,
    F: Future<Output = Result<(), Stopped>> + Send + 'static,
{
    let (pages, receiver) = mpsc::channel(WAITING);
    let writer = PageWriter { pages: pages.clone(), encode, pieces: PhantomData };
    let feeding = feed(desk.clone(), writer);
    let desk = desk.clone();
    tokio::spawn(async move {
        let fed = tokio::select! {
            fed = feeding => fed,
            () = desk.until_stopping() => Err(Declined::stopping().into()),
            declined = denied => Err(declined.into()),
        };
        if let Err(Stopped::Declined(declined)) = fed {
            // The reader may have gone.
            let _ = pages.send(Err(declined.into())).await;
        }
    });
    Response::new(Box::pin(ReceiverStream::new(receiver)))
}

/// Cuts items into pages. A page is much larger than [`PAGE_BYTES`] only if a single item is.
pub(super) fn cut<T: Message>(items: impl Iterator<Item = T>) -> Vec<Vec<T>> {
    let mut pages = Vec::new();
    let mut page = Vec::new();
    let mut bytes = 0;
    for item in items {
        let length = item.encoded_len();
        if bytes + length > PAGE_BYTES && !page.is_empty() {
            pages.push(std::mem::take(&mut page));
            bytes = 0;
        }
        bytes += length;
        page.push(item);
    }
    if !page.is_empty() {
        pages.push(page);
    }
    pages
}

#[cfg(test)]
mod tests {
    use orchestra_proto::v1;

    use super::*;

    #[test]
    fn pages_are_cut_by_their_size() {
        let player =
            |bytes: usize| v1::PlayerStatus { host: "x".repeat(bytes), ..Default::default() };
        let cut_at = |sizes: &[usize]| -> Vec<usize> {
            cut(sizes.iter().map(|bytes| player(*bytes))).iter().map(Vec::len).collect()
        };
        assert_eq!(cut_at(&[]), [0; 0]);
        assert_eq!(cut_at(&[10; 1_000]), [1_000]);
        assert_eq!(cut_at(&[400 << 10; 5]), [2, 2, 1]);
        assert_eq!(cut_at(&[5 << 20, 1, 5 << 20]), [1, 1, 1]);
    }
}
