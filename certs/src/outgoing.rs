//! How much of what a connection was given to send has not left yet: whoever makes answers waits
//! with the next piece while that is much. Without it, a peer that reads nothing would leave the
//! answers of all its calls in the buffers of its connection.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

/// At so many bytes that have not left, nothing more is given. Two round trips' worth, so that no
/// honest reader waits for it.
const MOST: usize = 256 << 10;

/// The bytes of one connection. Clones are of the same one.
#[derive(Clone, Debug, Default)]
pub struct Outgoing(Arc<Mutex<Waiting>>);

#[derive(Debug, Default)]
struct Waiting {
    bytes: usize,
    wakers: Vec<Waker>,
}

impl Outgoing {
    /// Hands a connection this many bytes to send. Ready once not too many wait.
    pub fn poll_give(&self, cx: &Context<'_>, bytes: usize) -> Poll<()> {
        let mut waiting = self.lock();
        if waiting.bytes >= MOST {
            waiting.wakers.push(cx.waker().clone());
            return Poll::Pending;
        }
        waiting.bytes += bytes;
        Poll::Ready(())
    }

    /// So many bytes have left. They are more than were given, by what frames them, so that what
    /// waits is never taken for more than it is.
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
