//! The conductor's listener: TCP and TLS, up to a stream whose other end is known.
//!
//! Handshakes run beside each other and beside `accept`, so that a peer that says nothing costs
//! its own time only. At most [`Limits::pending`] of them run, and up to [`Limits::waiting`] further
//! connections wait here for theirs, each a descriptor. Every connection that is refused is logged
//! with its address and the reason.
//!
//! Who it is that waits is not known before its handshake, and nothing that it claims may bring it
//! forward. So the turns alternate: the one that came last, the one that came first. When a whole
//! fleet comes back at once, somebody with a question is let in beside it. Where more come than may
//! wait, those in the middle are sent away, who would wait longest: left in the kernel's backlog, the
//! newest would stand behind all others there, or, when that is full too, be ignored for seconds.

use std::{
    collections::VecDeque,
    fmt, io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use rustls::ServerConfig;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc},
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};
use tokio_rustls::{TlsAcceptor, server};
use tokio_stream::Stream;
use tonic::transport::server::Connected;
use x509_parser::{certificate::X509Certificate, prelude::FromDer as _};

use crate::{
    connect::tune,
    identity::{Identity, InvalidIdentity},
    refused::Refused,
    reload::Reloadable,
    x509,
};

/// What strangers may cost.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most handshakes at once.
    pub pending: usize,
    /// Most connections that wait for theirs; at least one. Further ones drive others out.
    pub waiting: usize,
    /// Longest handshake.
    pub handshake: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { pending: 256, waiting: 4_096, handshake: Duration::from_secs(10) }
    }
}

/// Who is at the other end of a connection; among the extensions of each request on it.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Who, by the verified certificate.
    pub identity: Identity,
    /// From where.
    pub address: SocketAddr,
    /// The certificate's serial number in hex: what a revocation list names.
    pub serial: Arc<str>,
}

/// Listens for verified peers. Yields no errors and does not end; to be dropped to stop.
///
/// Must be called within a tokio runtime. A configuration that is set later holds for
/// connections from then on.
pub fn incoming(listener: TcpListener, tls: Reloadable<ServerConfig>, limits: Limits) -> Incoming {
    // One: a stream waits with its permit until it is taken, so that the bound holds for it too.
    let (ready, accepted) = mpsc::channel(1);
    let mut tasks = JoinSet::new();
    tasks.spawn(accept(listener, tls, limits, ready));
    Incoming { accepted, _tasks: tasks }
}

/// Verified peers as they come, for `tonic::transport::Server::serve_with_incoming`.
#[derive(Debug)]
pub struct Incoming {
    accepted: mpsc::Receiver<TlsStream>,
    /// Ends `accept`, and with it all handshakes, when dropped.
    _tasks: JoinSet<()>,
}

impl Stream for Incoming {
    type Item = io::Result<TlsStream>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.accepted.poll_recv(cx).map(|stream| stream.map(Ok))
    }
}

/// How long nobody is accepted after the system could not.
const PAUSE: Duration = Duration::from_secs(1);
/// How long, and for how many bytes, a refused peer is given to read why.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: u64 = 64 << 10;

async fn accept(
    listener: TcpListener,
    tls: Reloadable<ServerConfig>,
    limits: Limits,
    ready: mpsc::Sender<TlsStream>,
) {
    let pending = Arc::new(Semaphore::new(limits.pending));
    let mut handshakes = JoinSet::new();
    let mut waiting = Waiting::default();
    let mut not_before: Option<Instant> = None;
    loop {
        let permit = tokio::select! {
            // First, so that whoever has come is known when a turn is given.
            biased;
            accepted = listener.accept(), if not_before.is_none() => {
                match accepted {
                    // One that cannot be tuned is gone already.
                    Ok((tcp, address)) if tune(&tcp).is_ok() => waiting.push((tcp, address)),
                    Ok(_) => {}
                    Err(error) => not_before = pause_after(&error),
                }
                if waiting.len() <= limits.waiting.max(1) {
                    continue;
                }
                if let Some((_, address)) = waiting.drive_out() {
                    log(address, &Refused::Crowded);
                }
                // However fast they come.
                let Ok(permit) = Arc::clone(&pending).try_acquire_owned() else { continue };
                permit
            }
            // Meanwhile turns are given: those who wait have what is lacking.
            () = until(not_before) => {
                not_before = None;
                continue;
            }
            permit = Arc::clone(&pending).acquire_owned(), if waiting.len() > 0 => {
                // Never closed.
                let Ok(permit) = permit else { return };
                permit
            }
        };
        let Some((tcp, address)) = waiting.next() else { continue };
        while handshakes.try_join_next().is_some() {}
        let acceptor = TlsAcceptor::from(tls.get());
        let ready = ready.clone();
        handshakes.spawn(async move {
            if let Some(stream) = handshake(acceptor, tcp, address, limits.handshake).await {
                // The receiver is gone only when everything here is about to be.
                let _ = ready.send(stream).await;
            }
            drop(permit);
        });
    }
}

/// Who waits for a turn, in the order in which they came.
#[derive(Debug)]
struct Waiting<T> {
    queue: VecDeque<T>,
    /// Whose turn it is next.
    newest: bool,
}

impl<T> Default for Waiting<T> {
    fn default() -> Self {
        Self { queue: VecDeque::new(), newest: true }
    }
}

impl<T> Waiting<T> {
    fn len(&self) -> usize {
        self.queue.len()
    }

    fn push(&mut self, one: T) {
        self.queue.push_back(one);
    }

    /// The one that would wait longest for its turn, if nobody came any more.
    fn drive_out(&mut self) -> Option<T> {
        self.queue.remove(self.queue.len() / 2)
    }

    /// The newest and the oldest by turns.
    fn next(&mut self) -> Option<T> {
        let next = if self.newest { self.queue.pop_back() } else { self.queue.pop_front() };
        self.newest = !self.newest;
        next
    }
}

/// When to accept again. A connection that broke while it waited is nothing; a lack of descriptors
/// or memory does not pass by trying again at once.
fn pause_after(error: &io::Error) -> Option<Instant> {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    if matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted) {
        return None;
    }
    tracing::warn!(%error, "cannot accept connections");
    Some(Instant::now() + PAUSE)
}

/// For ever, where there is no moment.
async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// A stream to a verified peer, or a line in the log.
async fn handshake(
    acceptor: TlsAcceptor,
    tcp: TcpStream,
    address: SocketAddr,
    limit: Duration,
) -> Option<TlsStream> {
    let refused = match timeout(limit, acceptor.accept(tcp).into_fallible()).await {
        Ok(Ok(inner)) => match peer_of(&inner, address) {
            Ok(peer) => return Some(TlsStream { inner, peer }),
            Err(invalid) => Refused::Identity(invalid),
        },
        Ok(Err((error, tcp))) => {
            log(address, &Refused::of_io(&error));
            let _ = timeout(LINGER, hang_up(tcp)).await;
            return None;
        }
        Err(_) => Refused::TimedOut,
    };
    log(address, &refused);
    None
}

/// Reads on until the peer closes, within reason: closing with bytes unread would reset the
/// connection, and the peer might never see the alert that tells it why.
async fn hang_up(mut tcp: TcpStream) {
    let _ = tcp.shutdown().await;
    let _ = tokio::io::copy(&mut tcp.take(LINGER_BYTES), &mut tokio::io::sink()).await;
}

/// The verifier has accepted this certificate: what is read here, it has read before.
fn peer_of(
    stream: &server::TlsStream<TcpStream>,
    address: SocketAddr,
) -> Result<Peer, InvalidIdentity> {
    let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
    let leaf = chain.first().ok_or(InvalidIdentity::Missing)?;
    let (_, leaf) = X509Certificate::from_der(leaf).map_err(|_| InvalidIdentity::Unreadable)?;
    let identity = Identity::of_parsed(&leaf)?;
    Ok(Peer { identity, address, serial: x509::serial(&leaf).into() })
}

/// Probes of load balancers and port scans only close; the log is for those who meant to talk.
fn log(address: SocketAddr, refused: &Refused) {
    match refused {
        Refused::Closed => tracing::debug!(%address, "a peer left during the handshake"),
        _ => tracing::warn!(%address, reason = %refused, "connection refused"),
    }
}

/// A connection to a verified peer.
pub struct TlsStream {
    inner: server::TlsStream<TcpStream>,
    peer: Peer,
}

impl TlsStream {
    /// Who is at the other end.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }
}

impl Connected for TlsStream {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl fmt::Debug for TlsStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TlsStream").field(&self.peer).finish()
    }
}

impl AsyncRead for TlsStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl AsyncWrite for TlsStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::Waiting;

    #[test]
    fn whoever_comes_last_has_a_turn_soon_and_whoever_came_first_too() {
        let mut waiting = Waiting::default();
        (0..1_000).for_each(|fleet| waiting.push(fleet));
        assert_eq!([waiting.next(), waiting.next()], [Some(999), Some(0)]);
        // Somebody new each time, and still the oldest have every other turn.
        let turns: Vec<_> = (0..8)
            .filter_map(|turn| {
                waiting.push(2_000 + turn);
                waiting.next()
            })
            .collect();
        assert_eq!(turns, [2_000, 1, 2_002, 2, 2_004, 3, 2_006, 4]);
        let rest = std::iter::from_fn(|| waiting.next()).count();
        assert_eq!(rest, 998);
    }

    #[test]
    fn who_is_driven_out_is_as_far_from_the_first_as_from_the_last() {
        let mut waiting = Waiting::default();
        (0..5).for_each(|one| waiting.push(one));
        let out: Vec<_> = std::iter::from_fn(|| waiting.drive_out()).collect();
        assert_eq!(out, [2, 3, 1, 4, 0]);
    }
}
