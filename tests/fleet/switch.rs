//! Players that misbehave: a switch, and what stops while it is on.
//!
//! [`Stalled`] is a player whose process is stopped: nothing is taken from the stream, though its
//! connection still answers the other end's pings. [`Gate`] is a network that swallows everything:
//! nothing arrives, nothing leaves, and nobody is told.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// On or off, and who waits until it is off.
#[derive(Debug, Default)]
pub(crate) struct Switch {
    on: AtomicBool,
    waiting: Mutex<Vec<Waker>>,
}

impl Switch {
    /// Turns it on: what is behind it stops as soon as it is polled.
    pub(crate) fn stop(&self) {
        self.on.store(true, Ordering::SeqCst);
    }

    /// Turns it off.
    pub(crate) fn go_on(&self) {
        self.on.store(false, Ordering::SeqCst);
        std::mem::take(&mut *self.waiting()).into_iter().for_each(Waker::wake);
    }

    /// Ready while it is off.
    fn poll_off(&self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.on.load(Ordering::SeqCst) {
            return Poll::Ready(());
        }
        let mut waiting = self.waiting();
        // Whoever turned it off meanwhile waits for this lock, or has had it.
        if !self.on.load(Ordering::SeqCst) {
            return Poll::Ready(());
        }
        if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }

    fn waiting(&self) -> MutexGuard<'_, Vec<Waker>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A future that makes no progress while the switch is on.
pub(crate) struct Stalled<F> {
    pub(crate) switch: Arc<Switch>,
    pub(crate) inner: Pin<Box<F>>,
}

impl<F: Future> Future for Stalled<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        if self.switch.poll_off(cx).is_pending() {
            return Poll::Pending;
        }
        self.inner.as_mut().poll(cx)
    }
}

/// A connection that carries nothing while the switch is on.
#[derive(Debug)]
pub(crate) struct Gate<T> {
    pub(crate) switch: Arc<Switch>,
    pub(crate) inner: T,
}

impl<T: AsyncRead + Unpin> AsyncRead for Gate<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.switch.poll_off(cx).is_pending() {
            return Poll::Pending;
        }
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Gate<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.switch.poll_off(cx).is_pending() {
            return Poll::Pending;
        }
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.switch.poll_off(cx).is_pending() {
            return Poll::Pending;
        }
        Pin::new(&mut self.inner).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.switch.poll_off(cx).is_pending() {
            return Poll::Pending;
        }
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.switch.poll_off(cx).is_pending() {
            return Poll::Pending;
        }
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
