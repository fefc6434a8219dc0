//! What [`Door`](crate::Door) does, at the client's end: a connection lasts as long as the client
//! would accept a new one with the conductor's certificate.

use std::{
    fmt, io,
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, SystemTime},
};

use rustls_pki_types::CertificateDer;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep},
};

use crate::{acceptance::next_end, refused::Refused};

/// Longest time between two looks at the clock and at the revocation list. An end is noticed so
/// late at most after the clock was set or the host slept.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// Returns the outcome of a handshake with a chain at this moment, by the present content of the
/// files.
pub(crate) type Judge = Box<dyn FnMut(&[CertificateDer<'static>], SystemTime) -> Verdict + Send>;
pub(crate) type Verdict = Result<(), Refused>;

/// A stream to a conductor. It fails once the conductor's certificate is not good any more.
pub(crate) struct Lasting<S> {
    inner: S,
    chain: Vec<CertificateDer<'static>>,
    judge: Judge,
    look: Pin<Box<Sleep>>,
    over: Option<Refused>,
}

impl<S> Lasting<S> {
    /// Returns a stream to a conductor that showed this chain.
    pub(crate) fn new(inner: S, chain: Vec<CertificateDer<'static>>, judge: Judge) -> Self {
        let look = Box::pin(sleep(until_look(&chain, SystemTime::now())));
        Self { inner, chain, judge, look, over: None }
    }

    fn check(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        while self.over.is_none() && self.look.as_mut().poll(cx).is_ready() {
            let now = SystemTime::now();
            self.over = (self.judge)(&self.chain, now).err();
            let next = Instant::now() + until_look(&self.chain, now);
            self.look.as_mut().reset(next);
        }
        match &self.over {
            Some(why) => Err(io::Error::other(why.clone())),
            None => Ok(()),
        }
    }
}

fn until_look(chain: &[CertificateDer<'static>], now: SystemTime) -> Duration {
    let end = next_end(chain, now).and_then(|end| end.duration_since(now).ok());
    end.map_or(LOOK_AGAIN, |left| left.min(LOOK_AGAIN))
}

impl<S: fmt::Debug> fmt::Debug for Lasting<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Lasting").field(&self.inner).finish()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Lasting<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(cx)?;
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Lasting<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check(cx)?;
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check(cx)?;
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(cx)?;
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;

    #[test]
    fn a_stream_fails_once_its_peer_is_no_longer_accepted() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let (here, _there) = tokio::io::duplex(16);
            let mut looks = 0;
            let judge = move |_: &[CertificateDer<'static>], _| {
                looks += 1;
                if looks < 3 { Ok(()) } else { Err(Refused::Revoked) }
            };
            let begin = Instant::now();
            let mut lasting = Lasting::new(here, Vec::new(), Box::new(judge));
            let error = lasting.read(&mut [0; 8]).await.unwrap_err();
            assert_eq!(Refused::of_io(&error), Refused::Revoked);
            assert!(begin.elapsed() >= 3 * LOOK_AGAIN);
        });
    }
}
