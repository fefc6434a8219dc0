//! A player's or a tool's connection: a single attempt, and why it failed.
//!
//! With TLS 1.3 a client is done before the server has looked at its certificate; a refusal comes
//! as an alert on the first read. The conductor speaks first (its HTTP/2 settings, RFC 9113,
//! section 3.4), so the connection counts as made once the conductor's first bytes are there. So a
//! refusal is a failure of this attempt, and not of a later call.

use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr},
    os::unix::fs::MetadataExt as _,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use hyper_util::rt::TokioIo;
use orchestra_model::HostName;
use rustls::ClientConfig;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite},
    net::TcpStream,
    time::{error::Elapsed, timeout},
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

use crate::{
    acceptance::next_end,
    files::{Credentials, LoadError},
    lasting::{Judge, Lasting, Verdict},
    refused::Refused,
};

/// How long a connection may be silent before the kernel asks whether the peer is still there. So
/// either end notices a host that vanished. This costs almost nothing, because the other end's
/// pings mostly come before the first question.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(35);
/// How often the kernel asks.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
/// When the kernel gives up, also if the peer does not acknowledge what was sent (tcp(7),
/// `TCP_USER_TIMEOUT`).
const GONE_AFTER: Duration = Duration::from_secs(45);

/// How often a client sends an HTTP/2 ping, and how long its answer may take. Within the sum a
/// conductor that does nothing any more, although its host lives, is noticed.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// Connects to the conductor at `address` (`HOST:PORT`) for gRPC, in one attempt of at most
/// `limit`. The connection ends when the conductor's certificate expires, if not before. Then all
/// calls fail, and the caller has to make another channel.
pub async fn channel(
    address: &str,
    config: Arc<ClientConfig>,
    limit: Duration,
) -> Result<Channel, ConnectError> {
    let stream = connect(address, config, limit).await?;
    over(stream, address, Box::new(by_its_end)).await
}

/// Connects as [`channel`] does to the conductor of a name, for a program that lives long. The
/// connection ends also when the credentials' revocation list names the conductor. The list is read
/// again when its file has changed.
pub async fn channel_to(
    conductor: &HostName,
    address: &str,
    credentials: &Credentials,
    limit: Duration,
) -> Result<Channel, ConnectError> {
    let unusable = |source: LoadError| ConnectError::Unusable { source: Box::new(source) };
    let config = credentials.client_config(conductor).map_err(unusable)?;
    let stream = connect(address, config, limit).await?;
    over(stream, address, by_its_list(credentials, conductor)).await
}

/// Makes a channel as [`channel`] does, over a connection to `address` of any kind that the caller
/// has made.
pub async fn channel_over<T>(
    io: T,
    address: &str,
    config: Arc<ClientConfig>,
    limit: Duration,
) -> Result<Channel, ConnectError>
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    // The server's name does not matter: see `unnamed`.
    let secured = secure(io, unnamed(Ipv4Addr::LOCALHOST.into()), address, config);
    over(within(limit, address, secured).await?, address, Box::new(by_its_end)).await
}

/// Judges a chain that was accepted before: it is good until it expires.
fn by_its_end(chain: &[CertificateDer<'static>], now: SystemTime) -> Verdict {
    let has_ended =
        |der: &CertificateDer<'static>| next_end(std::slice::from_ref(der), now).is_none();
    if chain.first().is_some_and(has_ended) { Err(Refused::Expired) } else { Ok(()) }
}

/// Returns a judge that also refuses a chain that the revocation list names.
fn by_its_list(credentials: &Credentials, conductor: &HostName) -> Judge {
    let Some(list) = credentials.files.crl.clone() else { return Box::new(by_its_end) };
    let (files, conductor) = (credentials.files.clone(), conductor.clone());
    let (domain, newest) = (credentials.identity().domain.clone(), credentials.newest.clone());
    let mut read = None;
    Box::new(move |chain, now| {
        by_its_end(chain, now)?;
        let stamp = stamp(&list);
        if read == Some(stamp) {
            return Ok(());
        }
        // If the files make no sense at the moment, what was read before stays in force. The next
        // connection says what is wrong with the files.
        let read_again = Credentials::load_after(&files, &domain, &newest);
        let Ok(credentials) = read_again else { return Ok(()) };
        let Ok(verifier) = credentials.one_conductor(&conductor) else { return Ok(()) };
        verifier.judge(chain, now)?;
        if let Some(older) = credentials.older_list() {
            tracing::warn!("{older}");
        }
        read = Some(stamp);
        Ok(())
    })
}

/// Returns what tells a file from an earlier one of its name; `None` if there is no file.
fn stamp(path: &Path) -> Option<(u64, u64, i64, i64)> {
    let metadata = path.metadata().ok()?;
    Some((metadata.ino(), metadata.len(), metadata.mtime(), metadata.mtime_nsec()))
}

/// Makes a gRPC channel over a stream. The channel ends with the stream.
async fn over<T>(stream: TlsStream<T>, address: &str, judge: Judge) -> Result<Channel, ConnectError>
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let failed = |source: tonic::transport::Error| ConnectError::Http {
        address: address.to_owned(),
        source: source.into(),
    };
    let chain = stream.get_ref().1.peer_certificates().unwrap_or_default().to_vec();
    let once = Mutex::new(Some(TokioIo::new(Lasting::new(stream, chain, judge))));
    let connector = service_fn(move |_| {
        let stream = once.lock().unwrap_or_else(PoisonError::into_inner).take();
        async move { stream.ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected)) }
    });
    // The scheme is what tonic sees; TLS is below it.
    Endpoint::from_shared(format!("http://{address}"))
        .map_err(failed)?
        .http2_keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .keep_alive_while_idle(true)
        .connect_with_connector(connector)
        .await
        .map_err(failed)
}

/// Connects to the conductor at `address` without HTTP/2. Returns the stream, of which the
/// conductor's first bytes are not yet read.
pub async fn connect(
    address: &str,
    config: Arc<ClientConfig>,
    limit: Duration,
) -> Result<TlsStream<TcpStream>, ConnectError> {
    let attempt = async {
        let tcp = TcpStream::connect(address)
            .await
            .map_err(|source| ConnectError::Unreachable { address: address.to_owned(), source })?;
        let ip = tune(&tcp)
            .and_then(|()| tcp.peer_addr())
            .map_err(|error| refused(address, &error))?
            .ip();
        secure(tcp, unnamed(ip), address, config).await
    };
    within(limit, address, attempt).await
}

/// Makes a TLS stream, and waits for the conductor's first bytes.
async fn secure<T: AsyncRead + AsyncWrite + Unpin>(
    io: T,
    name: ServerName<'static>,
    address: &str,
    config: Arc<ClientConfig>,
) -> Result<TlsStream<T>, ConnectError> {
    let refused = |error: io::Error| refused(address, &error);
    let connector = TlsConnector::from(config);
    let mut stream = connector.connect(name, io).await.map_err(refused)?;
    if stream.fill_buf().await.map_err(refused)?.is_empty() {
        return Err(refused(io::ErrorKind::UnexpectedEof.into()));
    }
    Ok(stream)
}

async fn within<T>(
    limit: Duration,
    address: &str,
    attempt: impl Future<Output = Result<T, ConnectError>>,
) -> Result<T, ConnectError> {
    timeout(limit, attempt).await.unwrap_or_else(|_: Elapsed| {
        Err(ConnectError::TimedOut { address: address.to_owned(), limit })
    })
}

/// Returns a length for people, rounded to tenths of a second.
fn rounded(limit: Duration) -> Duration {
    let tenths = (limit.as_millis() + 50) / 100;
    match u64::try_from(tenths) {
        Ok(tenths @ 1..) => Duration::from_millis(tenths * 100),
        _ => Duration::from_millis(u64::try_from(limit.as_millis()).unwrap_or(u64::MAX)),
    }
}

fn refused(address: &str, error: &io::Error) -> ConnectError {
    ConnectError::Refused { address: address.to_owned(), reason: Refused::of_io(error) }
}

/// Returns a server name that is neither sent (SNI has no form for addresses) nor compared.
fn unnamed(ip: IpAddr) -> ServerName<'static> {
    ServerName::IpAddress(ip.into())
}

/// Has small messages sent at once, and a peer noticed that vanished.
pub(crate) fn tune(tcp: &TcpStream) -> io::Result<()> {
    use rustix::net::sockopt;
    tcp.set_nodelay(true)?;
    sockopt::set_socket_keepalive(tcp, true)?;
    sockopt::set_tcp_keepidle(tcp, KEEPALIVE_IDLE)?;
    sockopt::set_tcp_keepintvl(tcp, KEEPALIVE_INTERVAL)?;
    // This bounds the questions above too, whatever their number.
    sockopt::set_tcp_user_timeout(tcp, GONE_AFTER.as_millis() as u32)?;
    Ok(())
}

/// Why there is no connection to a conductor.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// No TCP connection: name not found, nobody listens, no route.
    Unreachable {
        /// The address as it was given.
        address: String,
        /// What the system said.
        source: io::Error,
    },
    /// The attempt's time ran out.
    TimedOut {
        /// The address as it was given.
        address: String,
        /// The time that it had.
        limit: Duration,
    },
    /// One of the ends did not accept the other.
    Refused {
        /// The address as it was given.
        address: String,
        #[source]
        reason: Refused,
    },
    /// Our own files make no TLS configuration.
    Unusable {
        /// What is wrong with them.
        source: Box<LoadError>,
    },
    /// The address is none, or HTTP/2 did not begin.
    Http {
        /// The address as it was given.
        address: String,
        /// What the library said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable { address, .. } => {
                write!(f, "cannot reach the conductor at {address}")
            }
            Self::TimedOut { address, limit } => {
                let limit = rounded(*limit);
                write!(f, "the conductor at {address} did not answer within {limit:?}")
            }
            Self::Refused { address, .. } => {
                write!(f, "no TLS connection to the conductor at {address}")
            }
            Self::Unusable { .. } => f.write_str("our certificate and key cannot be used"),
            Self::Http { address, .. } => write!(f, "no HTTP/2 with the conductor at {address}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use rustix::net::sockopt;
    use tokio::{net::TcpListener, runtime::Builder};

    use super::*;

    #[test]
    fn the_kernel_notices_a_host_that_is_gone() {
        let runtime = Builder::new_current_thread().enable_io().build().unwrap();
        let connected = async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            TcpStream::connect(listener.local_addr().unwrap()).await.unwrap()
        };
        let tcp = runtime.block_on(connected);
        tune(&tcp).unwrap();
        assert_eq!(sockopt::tcp_user_timeout(&tcp).unwrap(), 45_000);
        assert!(sockopt::socket_keepalive(&tcp).unwrap() && tcp.nodelay().unwrap());
        // The first question is mostly after the other end's ping, and early enough for an answer.
        let first = sockopt::tcp_keepidle(&tcp).unwrap();
        let next = sockopt::tcp_keepintvl(&tcp).unwrap();
        assert!(first > PING_INTERVAL && first + next < GONE_AFTER);
    }
}
