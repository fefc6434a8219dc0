//! The conductor's listener: TCP and TLS, up to a stream whose other end is known.
//!
//! Handshakes run beside each other and beside `accept`, so a peer that is silent or slow costs
//! only its own time. If many come at once, `turns.rs` decides which gets the processor. At most
//! [`Limits::places`] connections, each a descriptor, are between `accept` and their first call;
//! beyond that each new connection drives out another one. Every refused connection is logged with
//! its address and the reason, at a bounded rate ([`Lines`]). An accepted peer is watched as long
//! as its connection lasts ([`Door`]).

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
    sighting::{Claim, Shown, Sighting},
    switch::Switch,
    turns::{Place, Turnstile},
    x509,
};

/// Bounds for connections whose peer is not known yet, and for those of known peers.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most connections whose handshake is not done; at least one.
    pub places: usize,
    /// How many of them compute at once; at least one. Enough that a processor need not wait until
    /// one is woken, and so few that the next one's turn comes within milliseconds.
    pub turns: usize,
    /// Longest wait for a peer's first bytes, and longest handshake from then on.
    pub handshake: Duration,
    /// Most connections of one player. It needs one; others are earlier ones whose end is not
    /// noticed yet, which takes up to 45 s (`connect.rs`).
    pub of_player: usize,
    /// Most connections of one audience, each of a program that asks or waits.
    pub of_audience: usize,
    /// Most accepted connections of all peers, each a descriptor.
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

/// The peer of a connection. It is among the extensions of each request on the connection.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The identity in the verified certificate.
    pub identity: Identity,
    /// The peer's address.
    pub address: SocketAddr,
    /// The certificate's serial number in hex: what a revocation list names.
    pub serial: Arc<str>,
    /// Set, to the most connections of an identity, if this connection is beyond them. The peer is
    /// to be told so, and the connection is closed soon.
    pub surplus: Option<usize>,
    /// The bytes that wait to be sent on its connection.
    pub outgoing: Outgoing,
}

/// Listens for verified peers. It yields no errors and does not end; drop it to stop.
///
/// Must be called within a tokio runtime. The door's acceptance may be replaced meanwhile.
pub fn incoming(listener: TcpListener, door: Door, limits: Limits) -> Incoming {
    // The capacity is one: a stream keeps its place until it is taken, so that it counts against
    // the bound.
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

/// How long accepting pauses after the system could not accept.
const PAUSE: Duration = Duration::from_secs(1);
/// How long a refused peer has to read why.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: u64 = 64 << 10;

/// Most bytes of a peer in a handshake: a hello, and a chain of certificates. They are kept until
/// the handshake is complete.
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
            // Meanwhile accepted connections go on; they occupy what is lacking.
            () = until(not_before) => not_before = None,
        }
    }
}

impl Entrance {
    /// Takes a new connection to a known peer, or logs why it was refused.
    async fn newcomer(self: Arc<Self>, tcp: TcpStream, address: SocketAddr, place: Place) {
        let shown = Shown::default();
        let (refused, gated) = match self.handshake(tcp, address, place, &shown).await {
            Ok((stream, mut place)) => tokio::select! {
                // The receiver is gone only when this task is about to end too.
                _ = self.ready.send(stream) => return,
                refused = place.driven_out() => (refused, None),
            },
            Err(refused) => refused,
        };
        self.tell(address, &refused, shown.claim().as_ref());
        if let Some(Gated { tcp, place: Some(mut place), .. }) = gated {
            place.give_back();
            tokio::select! {
                _ = timeout(LINGER, hang_up(tcp)) => {}
                _ = place.driven_out() => {}
            }
        }
    }

    /// Logs a refused peer, and has it noted if that is for its certificate. Load balancers and port scans only open and close a connection, and are
    /// not logged.
    fn tell(&self, address: SocketAddr, refused: &Refused, claim: Option<&Claim>) {
        if refused.is_of_certificate(claim.is_some()) {
            self.door.observer().tell(&Sighting::Refused { address, claim, why: refused });
        }
        match refused {
            Refused::Closed => tracing::debug!(%address, "a peer left during the handshake"),
            reason => {
                self.refusals.write(|| tracing::warn!(%address, %reason, "connection refused"));
            }
        }
    }

    /// Makes a stream to a verified peer. The connection of a peer that was refused in the
    /// handshake is returned, so that the peer can be told why.
    async fn handshake(
        &self,
        tcp: TcpStream,
        address: SocketAddr,
        mut place: Place,
        shown: &Shown,
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
        // A connection that cannot be tuned is gone already.
        tune(&tcp).map_err(failed)?;
        let acceptance = self.door.acceptance();
        let acceptor = TlsAcceptor::from(Arc::clone(&acceptance.config));
        let gated = Gated { tcp, place: Some(place), left: HANDSHAKE_BYTES };
        let handshake = shown.around(acceptor.accept(gated).into_fallible());
        match timeout(limit, handshake).await {
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

/// A connection that is read only in its turn, as long as it has a place.
#[derive(Debug)]
struct Gated {
    tcp: TcpStream,
    place: Option<Place>,
    /// How many more bytes the peer may send in the handshake.
    left: usize,
}

impl Gated {
    /// Gives the turn back if the peer makes us wait.
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

/// Returns when to accept again. A connection that broke while it waited does not matter; a lack of
/// descriptors or memory does not pass at once.
fn pause_after(error: &io::Error) -> Option<Instant> {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    if matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted) {
        return None;
    }
    tracing::warn!(%error, "cannot accept connections");
    Some(Instant::now() + PAUSE)
}

/// Waits until a moment; for ever if there is none.
async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// Reads on, for a bounded time and length, until the peer closes. To close with unread bytes would
/// reset the connection, and the peer might never see the alert that says why.
async fn hang_up(mut tcp: TcpStream) {
    let _ = tcp.shutdown().await;
    let _ = tokio::io::copy(&mut tcp.take(LINGER_BYTES), &mut tokio::io::sink()).await;
}

/// Reads the peer's identity. The verifier has accepted this certificate, so it has read the
/// identity before.
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
    /// Turned off once the peer may not be connected any more.
    switch: Arc<Switch>,
    _pass: Pass,
}

impl TlsStream {
    /// Returns the peer.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }
}

impl TlsStream {
    /// Notes how many bytes were sent.
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
