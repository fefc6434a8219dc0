//! Who is let in and who is not, by real handshakes over loopback; and what each end is told.

#![expect(clippy::unwrap_used, reason = "tests")]

mod common;

use std::{
    collections::VecDeque,
    io::Write as _,
    net::TcpStream,
    sync::Arc,
    time::{Duration, SystemTime},
};

use common::{
    CONDUCTOR, DOMAIN, Fleet, Listener, PATIENCE, Pair, anonymous, domain, expected, refused_by,
    san_uri,
};
use orchestra_certs::{
    ConnectError, Door, Expected, InvalidIdentity, Limits, Peer, Refused, Role, TlsFiles,
    acceptance, channel, client_config, connect,
};
use orchestra_model::HostName;
use rcgen::ExtendedKeyUsagePurpose;
use rustls::{AlertDescription, HandshakeKind};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpSocket},
};

#[tokio::test]
async fn player_and_audience_are_seen_as_what_they_are() {
    let fleet = Fleet::new();
    let mut listener = Listener::new(fleet.server()).await;
    let player = listener.accepts(fleet.client(Role::Player, "db1")).await;
    assert_eq!(player.identity.to_string(), "spiffe://example.com/player/db1");
    assert_eq!(player.identity.role(), Role::Player);
    assert!(player.address.ip().is_loopback());
    let audience = listener.accepts(fleet.client(Role::Audience, "alice")).await;
    assert_eq!(audience.identity.to_string(), "spiffe://example.com/audience/alice");
    assert_ne!(player.serial, audience.serial);
    assert_eq!(listener.log(), "");
}

#[tokio::test]
async fn nobody_enters_without_a_certificate() {
    let fleet = Fleet::new();
    let mut listener = Listener::new(fleet.server()).await;
    let told = listener.refuses(anonymous()).await;
    assert_eq!(told, Refused::ByPeer(AlertDescription::CertificateRequired));
    assert!(told.to_string().contains("wants a certificate"), "{told}");
    listener.logged("connection refused address=127.0.0.1:").await;
    listener.logged("the peer has no certificate").await;
}

#[tokio::test]
async fn a_certificate_of_another_ca_is_refused_by_either_end() {
    let (fleet, other) = (Fleet::new(), Fleet::new());
    let mut listener = Listener::new(fleet.server()).await;
    let stranger = other.files(Role::Player, "db1");

    let files = TlsFiles { ca: fleet.files(Role::Player, "db1").ca, ..stranger.clone() };
    let told = listener.refuses(client_config(&files, &expected()).unwrap()).await;
    assert_eq!(told, Refused::ByPeer(AlertDescription::UnknownCA));
    listener.logged("the peer's certificate is not of our CA").await;

    let told = listener.refuses(client_config(&stranger, &expected()).unwrap()).await;
    assert_eq!(told, Refused::UnknownCa);
    listener.logged("the peer refused our certificate: it is not of a CA").await;
}

#[tokio::test]
async fn only_one_proper_identity_of_the_domain_enters() {
    let fleet = Fleet::new();
    let mut listener = Listener::new(fleet.server()).await;
    let good = "spiffe://example.com/player/db1";
    for (uris, logged) in [
        (&["spiffe://other.org/player/db1"][..], "and the domain here is example.com"),
        (&[good, "spiffe://example.com/audience/root"], "carries 2 URIs"),
        (&[good, good], "carries 2 URIs"),
        (&[], "carries no URI"),
        (&["https://example.com/player/db1"], "expected spiffe://DOMAIN/ROLE/NAME"),
        (&["spiffe://example.com/admin/db1"], "the role is none of"),
        (&["spiffe://example.com/player/db%31"], "never percent-encoded"),
        (&["spiffe://example.com/player/DB1"], "lower case"),
        (&["spiffe://example.com/player/.."], "empty label"),
    ] {
        let told = listener.refuses(fleet.with_uris(uris).client()).await;
        assert_eq!(told, Refused::ByPeer(AlertDescription::CertificateUnknown), "{uris:?}");
        assert!(told.to_string().contains("another domain or name, or no identity"), "{told}");
        listener.logged(logged).await;
    }
    let peer = listener.accepts(fleet.with_uris(&[good]).client()).await;
    assert_eq!(peer.identity.to_string(), good);
}

#[tokio::test]
async fn a_common_name_or_a_dns_name_is_no_identity() {
    let fleet = Fleet::new();
    let mut listener = Listener::new(fleet.server()).await;
    let pair = fleet.odd(|params| {
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, "spiffe://example.com/player/db1");
        params.subject_alt_names = vec![rcgen::SanType::DnsName("db1".try_into().unwrap())];
    });
    let told = listener.refuses(pair.client()).await;
    assert_eq!(told, Refused::ByPeer(AlertDescription::CertificateUnknown));
    listener.logged("carries no URI").await;
}

#[tokio::test]
async fn time_is_checked() {
    let fleet = Fleet::new();
    let mut listener = Listener::new(fleet.server()).await;
    let now = SystemTime::now();
    let hour = Duration::from_secs(3_600);
    for (begin, end, logged) in
        [(now - 2 * hour, now - hour, "has expired"), (now + hour, now + 2 * hour, "not valid yet")]
    {
        let pair = fleet.odd(|params| {
            params.subject_alt_names = vec![san_uri("spiffe://example.com/player/db1")];
            params.not_before = begin.into();
            params.not_after = end.into();
        });
        let told = listener.refuses(pair.client()).await;
        assert_eq!(told, Refused::ByPeer(AlertDescription::CertificateExpired));
        listener.logged(logged).await;
    }
}

#[tokio::test]
async fn a_conductors_certificate_is_none_of_a_client() {
    let fleet = Fleet::new();
    let mut listener = Listener::new(fleet.server()).await;
    let pair = Pair::read(&fleet.files(Role::Conductor, CONDUCTOR));
    let told = listener.refuses(pair.client()).await;
    assert_eq!(told, Refused::ByPeer(AlertDescription::UnsupportedCertificate));
}

#[tokio::test]
async fn a_client_accepts_no_other_conductor() {
    let fleet = Fleet::new();
    let mut listener = Listener::new(fleet.server()).await;
    let conductor_name = HostName::new("conductor2.example.com").unwrap();
    let other = Expected { conductor_name, ..expected() };
    let files = fleet.files(Role::Player, "db1");
    let told = listener.refuses(client_config(&files, &other).unwrap()).await;
    assert!(matches!(told, Refused::Identity(InvalidIdentity::Other { .. })));
    let text = told.to_string();
    assert!(text.contains("is spiffe://example.com/conductor/conductor.example.com"), "{text}");
    assert!(text.contains("conductor/conductor2.example.com was expected"), "{text}");
    listener.logged("names nobody whom the peer accepts").await;
}

#[tokio::test]
async fn a_player_cannot_pose_as_the_conductor() {
    let fleet = Fleet::new();
    let client = fleet.client(Role::Player, "db1");
    let uri = format!("spiffe://{DOMAIN}/player/{CONDUCTOR}");
    // Once for its purpose, once, where a CA were that careless, for its identity.
    let issued = Pair::read(&fleet.files(Role::Player, CONDUCTOR));
    let told = refused_by(issued.server(), Arc::clone(&client)).await;
    assert!(matches!(told, Refused::Other(_)));
    let careless = fleet.odd(|params| {
        params.subject_alt_names = vec![san_uri(&uri)];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    });
    let told = refused_by(careless.server(), client).await;
    assert!(matches!(told, Refused::Identity(InvalidIdentity::Other { .. })), "{told:?}");
}

#[tokio::test]
async fn each_end_starts_with_its_own_role_only() {
    let fleet = Fleet::new();
    let player = fleet.files(Role::Player, "db1");
    let conductor = fleet.files(Role::Conductor, CONDUCTOR);
    let error = acceptance(&player, &domain()).unwrap_err().to_string();
    assert!(error.contains("the role must be conductor"), "{error}");
    let error = client_config(&conductor, &expected()).unwrap_err().to_string();
    assert!(error.contains("the role must be player or audience"), "{error}");
}

/// The first message of a client that knows nothing later than TLS 1.2 (RFC 5246, section
/// 7.4.1.2): one cipher suite, no extensions.
fn tls12_hello() -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.extend([0, 0, 2, 0xc0, 0x2b, 1, 0]);
    let length = u8::try_from(body.len()).unwrap();
    let mut record = vec![22, 3, 1, 0, length + 4, 1, 0, 0, length];
    record.extend(body);
    record
}

#[tokio::test]
async fn nothing_but_tls_1_3_is_spoken() {
    let fleet = Fleet::new();
    let listener = Listener::new(fleet.server()).await;
    for (lines, hello) in [(1, tls12_hello()), (2, b"GET / HTTP/1.1\r\n\r\n".to_vec())] {
        let mut tcp = TcpStream::connect(&listener.address).unwrap();
        tcp.write_all(&hello).unwrap();
        tcp.set_nonblocking(true).unwrap();
        let mut answer = Vec::new();
        let mut tcp = tokio::net::TcpStream::from_std(tcp).unwrap();
        tcp.read_to_end(&mut answer).await.unwrap();
        // An alert, fatal, and no more.
        assert_eq!((answer.first(), answer.get(5), answer.len()), (Some(&21), Some(&2), 7));
        // Logged before the answer was sent.
        assert_eq!(listener.log().matches("does not speak TLS 1.3").count(), lines);
    }
}

#[tokio::test]
async fn no_session_is_resumed_even_for_a_client_that_would() {
    let fleet = Fleet::new();
    let listener = Listener::new(fleet.server()).await;
    // Resumes where it can, as rustls does unless told otherwise.
    let eager = Pair::read(&fleet.files(Role::Player, "db1")).client();
    for _ in 0..2 {
        let stream = connect(&listener.address, Arc::clone(&eager), PATIENCE).await.unwrap();
        assert_eq!(stream.get_ref().1.handshake_kind(), Some(HandshakeKind::Full));
        assert_eq!(stream.get_ref().1.tls13_tickets_received(), 0);
    }
}

#[tokio::test]
async fn silent_strangers_do_not_keep_others_waiting() {
    let fleet = Fleet::new();
    let mut listener = Listener::new(fleet.server()).await;
    let silent: Vec<_> = (0..100).map(|_| TcpStream::connect(&listener.address).unwrap()).collect();
    listener.accepts(fleet.client(Role::Player, "db1")).await;
    drop(silent);
    assert_eq!(listener.log(), "");
}

#[tokio::test]
async fn who_says_nothing_is_sent_away_in_time() {
    let fleet = Fleet::new();
    let limits = Limits { handshake: Duration::from_secs(2), ..Limits::default() };
    let mut listener = Listener::with(fleet.server(), limits).await;
    let _silent = TcpStream::connect(&listener.address).unwrap();
    listener.accepts(fleet.client(Role::Player, "db1")).await;
    listener.logged("the handshake took too long").await;
}

/// So many bytes of the first message of a client.
fn hello(client: &Arc<rustls::ClientConfig>, bytes: usize) -> Vec<u8> {
    let name = "127.0.0.1".try_into().unwrap();
    let mut hello = Vec::new();
    let mut connection = rustls::ClientConnection::new(Arc::clone(client), name).unwrap();
    connection.write_tls(&mut hello).unwrap();
    hello.truncate(bytes);
    hello
}

#[tokio::test]
async fn who_waits_for_a_peer_has_no_turn() {
    let fleet = Fleet::new();
    let limits = Limits { turns: 1, ..Limits::default() };
    let mut listener = Listener::with(fleet.server(), limits).await;
    let client = fleet.client(Role::Player, "db1");
    let slow = (0..80).map(|n| {
        let mut tcp = TcpStream::connect(&listener.address).unwrap();
        tcp.write_all(&hello(&client, [0, 1, 100, 9_999][n % 4])).unwrap();
        tcp
    });
    let slow: Vec<_> = slow.collect();
    listener.accepts(fleet.client(Role::Audience, "alice")).await;
    assert_eq!(listener.log(), "");
    drop(slow);
}

/// Opens connections without an end, from an address of its own, and keeps the last of them.
async fn flood(address: String, client: Arc<rustls::ClientConfig>) {
    let address = address.parse().unwrap();
    let mut kept = VecDeque::new();
    for bytes in [0, 0, 1, 9_999].into_iter().cycle() {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
        let mut tcp = socket.connect(address).await.unwrap();
        // It may have been sent away by now.
        let _ = tcp.write_all(&hello(&client, bytes)).await;
        kept.push_back(tcp);
        kept.drain(..kept.len().saturating_sub(100));
    }
}

#[tokio::test]
async fn a_flood_of_strangers_keeps_nobody_out() {
    let fleet = Fleet::new();
    let limits = Limits { turns: 2, places: 16, ..Limits::default() };
    let mut listener = Listener::with(fleet.server(), limits).await;
    let flood = tokio::spawn(flood(listener.address.clone(), fleet.client(Role::Player, "db1")));
    listener.logged("too many wait for a handshake").await;
    for _ in 0..20 {
        listener.accepts(fleet.client(Role::Audience, "alice")).await;
    }
    assert!(!flood.is_finished());
    flood.abort();
}

#[tokio::test]
async fn a_flood_fills_no_log() {
    const STRANGERS: usize = 500;
    let fleet = Fleet::new();
    let limits = Limits { places: 4, ..Limits::default() };
    let listener = Listener::with(fleet.server(), limits).await;
    let mut silent = Vec::new();
    for _ in 0..STRANGERS {
        silent.push(tokio::net::TcpStream::connect(&listener.address).await.unwrap());
    }
    let told = || {
        let log = listener.log();
        let rest = log.lines().filter_map(|line| line.split("connections=").nth(1));
        let rest: usize = rest.map(|count| count.trim().parse::<usize>().unwrap()).sum();
        (log.lines().count(), log.matches("too many wait for a handshake").count() + rest)
    };
    let all = async {
        while told().1 < STRANGERS - limits.places {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, all).await.unwrap();
    let (lines, told) = told();
    assert!(lines < 100 && told == STRANGERS - limits.places, "{told} in {lines} lines");
    drop(silent);
}

#[tokio::test]
async fn an_attempt_says_what_failed() {
    let fleet = Fleet::new();
    let client = fleet.client(Role::Audience, "alice");
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let limit = Duration::from_millis(20);
    let error = connect(&address, Arc::clone(&client), limit).await.unwrap_err();
    assert!(matches!(error, ConnectError::TimedOut { .. }), "{error}");
    drop(silent);
    let error = connect(&address, Arc::clone(&client), PATIENCE).await.unwrap_err();
    assert!(matches!(error, ConnectError::Unreachable { .. }), "{error}");
    let error = channel("no port here", client, PATIENCE).await.unwrap_err();
    assert!(matches!(error, ConnectError::Unreachable { .. }), "{error}");
}

#[tokio::test]
async fn a_call_sees_its_peer_and_a_channel_lives_once() {
    let fleet = Fleet::new();
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = tcp.local_addr().unwrap().to_string();
    let door = Door::new(fleet.server());
    // Answers each call with who called.
    let service = tower::service_fn(|request: tonic::codegen::http::Request<tonic::body::Body>| {
        let peer = request.extensions().get::<Peer>().map(|peer| peer.identity.to_string());
        let status = tonic::Status::unauthenticated(peer.unwrap_or_default());
        async move { Ok::<_, std::convert::Infallible>(status.into_http::<tonic::body::Body>()) }
    });
    let stop = tokio::sync::oneshot::channel::<()>();
    let incoming = orchestra_certs::incoming(tcp, door, Limits::default());
    let server = tokio::spawn(tonic::transport::Server::builder().serve_with_incoming_shutdown(
        service,
        incoming,
        async { stop.1.await.unwrap_or_default() },
    ));

    let channel = channel(&address, fleet.client(Role::Player, "db1"), PATIENCE).await.unwrap();
    let call = || async {
        let mut client = tonic::client::Grpc::new(channel.clone());
        client.ready().await?;
        let path = tonic::codegen::http::uri::PathAndQuery::from_static("/x.Y/Z");
        let codec = tonic_prost::ProstCodec::<(), ()>::default();
        client
            .unary(tonic::Request::new(()), path, codec)
            .await
            .map_err(Box::<dyn std::error::Error>::from)
    };
    let answer = call().await.unwrap_err().to_string();
    assert!(answer.contains("spiffe://example.com/player/db1"), "{answer}");
    stop.0.send(()).unwrap();
    server.await.unwrap().unwrap();
    assert!(call().await.is_err());
}
