//! The conductor's listener: TCP and TLS, up to a stream whose other end is known.
//!
//! Handshakes run beside each other and beside `accept`, so that a peer that says nothing, or is
//! slow, costs its own time only. Who has the processor when many come is said in `turns.rs`. At
//! most [`Limits::places`] connections are between `accept` and their first call, each a
//! descriptor; beyond that each that comes drives another one out. Every connection that is refused
//! is logged with its address and the reason, at a bounded rate ([`Lines`]). Who is let in is
//! watched as long as the connection lasts ([`Door`]).

use std::{
    fmt,
    future::poll_fn,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use rustls_pki_types::CertificateDer;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};
use tokio_rustls::{TlsAcceptor, server};
use tokio_stream::Stream;
use tonic::transport::server::Connected;
use x509_parser::{certificate::X509Certificate, prelude::FromDer as _};

use crate::{
    acceptance::Acceptance,
    connect::tune,
    door::{Door, Pass},
    identity::{Identity, InvalidIdentity},
    lines::Lines,
    outgoing::Outgoing,
    refused::Refused,
    switch::Switch,
    turns::{Place, Turnstile},
    x509,
};

/// What strangers may cost, and how many connections those may have who are none.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most connections whose handshake is not done; at least one.
    pub places: usize,
    /// How many of them compute at once; at least one. So many that a processor need not wait for
    /// one to be woken, and so few that whoever is next is so within milliseconds.
    pub turns: usize,
    /// Longest wait for a peer's first word, and longest handshake from then on.
    pub handshake: Duration,
    /// Most connections of one player. It needs one; others are those of before whose end is not
    /// noticed yet, which takes up to 45 s (`connect.rs`).
    pub of_player: usize,
    /// Most connections of one name of the audience, each of a program that asks or waits.
    pub of_audience: usize,
    /// Most connections of all, each a descriptor.
    pub inside: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            places: 4_096,
            turns: 32,
            handshake: Duration::from_secs(10),
            of_player: 16,
            of_audience: 256,
            inside: usize::MAX,
        }
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
    /// Where its identity had its most connections already: how many that is. It is to be told so,
    /// and is closed soon.
    pub surplus: Option<usize>,
    /// What its connection was given to send.
    pub outgoing: Outgoing,
}

/// Listens for verified peers. Yields no errors and does not end; to be dropped to stop.
///
/// Must be called within a tokio runtime. The door's acceptance may be replaced meanwhile.
pub fn incoming(listener: TcpListener, door: Door, limits: Limits) -> Incoming {
    // One: a stream waits with its place until it is taken, so that the bound holds for it too.
    let (ready, accepted) = mpsc::channel(1);
    let mut tasks = JoinSet::new();
    tasks.spawn(door.clone().watch());
    tasks.spawn(accept(listener, door, limits, ready));
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

/// Most that a peer says in a handshake: a hello, and a chain of certificates. It is kept until it
/// is whole.
const HANDSHAKE_BYTES: usize = 16 << 10;

/// What every newcomer needs.
struct Entrance {
    door: Door,
    limits: Limits,
    ready: mpsc::Sender<TlsStream>,
    refusals: Lines,
}

async fn accept(listener: TcpListener, door: Door, limits: Limits, ready: mpsc::Sender<TlsStream>) {
    let turnstile = Turnstile::new(limits.places, limits.turns);
    let refusals = Lines::new(|connections| {
        tracing::warn!(connections, "further connections were refused within a second");
    });
    let entrance = Arc::new(Entrance { door, limits, ready, refusals });
    let mut newcomers = JoinSet::new();
    let mut not_before: Option<Instant> = None;
    loop {
        tokio::select! {
            accepted = listener.accept(), if not_before.is_none() => match accepted {
                Ok((tcp, address)) => {
                    let place = turnstile.enter(address.ip());
                    newcomers.spawn(Arc::clone(&entrance).newcomer(tcp, address, place));
                    while newcomers.try_join_next().is_some() {}
                }
                Err(error) => not_before = pause_after(&error),
            },
            // Meanwhile those who are here go on: they have what is lacking.
            () = until(not_before) => not_before = None,
        }
    }
}

impl Entrance {
    /// From an open connection to a peer that is known, or a line in the log.
    async fn newcomer(self: Arc<Self>, tcp: TcpStream, address: SocketAddr, place: Place) {
        let (refused, gated) = match self.handshake(tcp, address, place).await {
            Ok((stream, mut place)) => tokio::select! {
                // The receiver is gone only when everything here is about to be.
                _ = self.ready.send(stream) => return,
                refused = place.driven_out() => (refused, None),
            },
            Err(refused) => refused,
        };
        self.tell(address, &refused);
        if let Some(Gated { tcp, place: Some(mut place), .. }) = gated {
            place.give_back();
            tokio::select! {
                _ = timeout(LINGER, hang_up(tcp)) => {}
                _ = place.driven_out() => {}
            }
        }
    }

    /// Probes of load balancers and port scans only close; the log is for those who meant to talk.
    fn tell(&self, address: SocketAddr, refused: &Refused) {
        match refused {
            Refused::Closed => tracing::debug!(%address, "a peer left during the handshake"),
            reason => {
                self.refusals.write(|| tracing::warn!(%address, %reason, "connection refused"));
            }
        }
    }

    /// A stream to a verified peer. A peer that was refused while it spoke is to be told why: its
    /// connection comes back.
    async fn handshake(
        &self,
        tcp: TcpStream,
        address: SocketAddr,
        mut place: Place,
    ) -> Result<(TlsStream, Place), (Refused, Option<Gated>)> {
        let silently = |refused| (refused, None);
        let failed = |error| silently(Refused::of_io(&error));
        let limit = self.limits.handshake;
        let spoke = tokio::select! {
            spoke = timeout(limit, tcp.readable()) => spoke,
            refused = place.driven_out() => return Err(silently(refused)),
        };
        spoke.map_err(|_| silently(Refused::TimedOut))?.map_err(failed)?;
        poll_fn(|cx| place.poll_turn(cx)).await.map_err(silently)?;
        // One that cannot be tuned is gone already.
        tune(&tcp).map_err(failed)?;
        let acceptance = self.door.acceptance();
        let acceptor = TlsAcceptor::from(Arc::clone(&acceptance.config));
        let gated = Gated { tcp, place: Some(place), left: HANDSHAKE_BYTES };
        match timeout(limit, acceptor.accept(gated).into_fallible()).await {
            Ok(Ok(mut inner)) => {
                let place = inner.get_mut().0.place.take();
                let mut place = place.ok_or_else(|| silently(Refused::Closed))?;
                let entered = self.let_in(&inner, address, acceptance);
                place.give_back();
                let (peer, switch, pass) = entered.map_err(silently)?;
                Ok((TlsStream { inner, peer, switch, _pass: pass }, place))
            }
            Ok(Err((error, gated))) => Err((Refused::of_io(&error), Some(gated))),
            Err(_) => Err(silently(Refused::TimedOut)),
        }
    }

    fn let_in(
        &self,
        stream: &server::TlsStream<Gated>,
        address: SocketAddr,
        judged_by: Arc<Acceptance>,
    ) -> Result<(Peer, Arc<Switch>, Pass), Refused> {
        let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
        let peer = peer_of(chain, address).map_err(Refused::Identity)?;
        self.door.enter(peer, chain.into(), judged_by, &self.limits)
    }
}

/// A connection that is read from in turn only, as long as it has a place among newcomers.
#[derive(Debug)]
struct Gated {
    tcp: TcpStream,
    place: Option<Place>,
    /// How many bytes the peer may still say while it has one.
    left: usize,
}

impl Gated {
    /// Where the peer keeps us waiting, the turn is another's.
    fn unless_pending<T>(&mut self, poll: Poll<T>) -> Poll<T> {
        if let (true, Some(place)) = (poll.is_pending(), &mut self.place) {
            place.give_back();
        }
        poll
    }
}

impl AsyncRead for Gated {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { tcp, place, left } = &mut *self;
        let Some(place) = place else { return Pin::new(tcp).poll_read(cx, buf) };
        if !place.has_turn() {
            if let Poll::Ready(refused) = place.poll_driven_out(cx) {
                return Poll::Ready(Err(io::Error::other(refused)));
            }
            ready!(tcp.poll_read_ready(cx))?;
            ready!(place.poll_turn(cx)).map_err(io::Error::other)?;
        }
        let before = buf.filled().len();
        let read = Pin::new(tcp).poll_read(cx, buf);
        let Some(rest) = left.checked_sub(buf.filled().len() - before) else {
            let why = "the peer said more than a handshake takes".to_owned();
            return Poll::Ready(Err(io::Error::other(Refused::Other(why))));
        };
        *left = rest;
        self.unless_pending(read)
    }
}

impl AsyncWrite for Gated {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.tcp).poll_write(cx, buf);
        self.unless_pending(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.tcp).poll_write_vectored(cx, bufs);
        self.unless_pending(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
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

/// Reads on until the peer closes, within reason: closing with bytes unread would reset the
/// connection, and the peer might never see the alert that tells it why.
async fn hang_up(mut tcp: TcpStream) {
    let _ = tcp.shutdown().await;
    let _ = tokio::io::copy(&mut tcp.take(LINGER_BYTES), &mut tokio::io::sink()).await;
}

/// The verifier has accepted this certificate: what is read here, it has read before.
fn peer_of(
    chain: &[CertificateDer<'static>],
    address: SocketAddr,
) -> Result<Peer, InvalidIdentity> {
    let leaf = chain.first().ok_or(InvalidIdentity::Missing)?;
    let (_, leaf) = X509Certificate::from_der(leaf).map_err(|_| InvalidIdentity::Unreadable)?;
    let identity = Identity::of_parsed(&leaf)?;
    Ok(Peer {
        identity,
        address,
        serial: x509::serial(&leaf).into(),
        surplus: None,
        outgoing: Outgoing::default(),
    })
}

/// A connection to a verified peer.
pub struct TlsStream {
    inner: server::TlsStream<Gated>,
    peer: Peer,
    /// Off once the peer may no longer be connected.
    switch: Arc<Switch>,
    _pass: Pass,
}

impl TlsStream {
    /// Who is at the other end.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }
}

impl TlsStream {
    /// Notes what has left.
    fn note(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = written {
            self.peer.outgoing.sent(bytes);
        }
        written
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
        self.switch.check(cx)?;
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl AsyncWrite for TlsStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.switch.check(cx)?;
        let written = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.note(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.switch.check(cx)?;
        let written = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.note(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.switch.check(cx)?;
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
