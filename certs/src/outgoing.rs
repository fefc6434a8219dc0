//! How many bytes wait to be sent on a connection. While that is much, those who make answers wait
//! with the next piece. Otherwise the answers to all calls of a peer that reads nothing would fill
//! the buffers of its connection.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

/// From so many waiting bytes on nothing more is given. They are enough for two round trips, so
/// that no honest reader waits.
const MOST: usize = 256 << 10;

/// The bytes that wait on one connection. Clones share the count.
#[derive(Clone, Debug, Default)]
pub struct Outgoing(Arc<Mutex<Waiting>>);

#[derive(Debug, Default)]
struct Waiting {
    bytes: usize,
    wakers: Vec<Waker>,
}

impl Outgoing {
    /// Counts bytes that a connection is given to send. Ready once not too many wait.
    pub fn poll_give(&self, cx: &Context<'_>, bytes: usize) -> Poll<()> {
        let mut waiting = self.lock();
        if waiting.bytes >= MOST {
            waiting.wakers.push(cx.waker().clone());
            return Poll::Pending;
        }
        waiting.bytes += bytes;
        Poll::Ready(())
    }

    /// Notes that so many bytes were sent. Framing makes them more than were given, so the count is
    /// never too high.
    pub(crate) fn sent(&self, bytes: usize) {
        let wakers = {
            let mut waiting = self.lock();
            waiting.bytes = waiting.bytes.saturating_sub(bytes);
            match waiting.bytes < MOST {
                true => std::mem::take(&mut waiting.wakers),
                false => return,
            }
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_more_is_given_while_much_waits() {
        let outgoing = Outgoing::default();
        let cx = Context::from_waker(Waker::noop());
        assert_eq!(outgoing.poll_give(&cx, MOST - 1), Poll::Ready(()));
        assert_eq!(outgoing.poll_give(&cx, 10), Poll::Ready(()));
        assert_eq!(outgoing.poll_give(&cx, 1), Poll::Pending);
        outgoing.sent(9);
        assert_eq!(outgoing.poll_give(&cx, 1), Poll::Pending);
        outgoing.sent(1);
        assert!(outgoing.lock().wakers.is_empty());
        assert_eq!(outgoing.poll_give(&cx, 1), Poll::Ready(()));
        outgoing.sent(usize::MAX);
        assert_eq!(outgoing.lock().bytes, 0);
    }
}
