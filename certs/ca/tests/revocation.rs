//! Connections last as long as their certificates are accepted; and revocation lists that would lock
//! everybody out are refused before that happens.

#![allow(clippy::panic, clippy::unwrap_used, clippy::allow_attributes, reason = "tests")]

mod common;

use std::{
    fs,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use common::{CONDUCTOR, DOMAIN, Fleet, List, Listener, PATIENCE, Pair, domain, expected, san_uri};
use orchestra_ca::{LIST_DAYS, Serial};
use orchestra_certs::{
    ConnectError, Credentials, Door, Limits, NewestLists, Refused, Role, TlsFiles, acceptance,
    channel, channel_to, client_config, connect,
};
use rcgen::{Issuer, KeyPair};
use rustls::{AlertDescription, ClientConfig};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::client::TlsStream;
use tonic::transport::Channel;

#[tokio::test]
async fn a_revoked_certificate_is_refused_once_the_list_is_loaded() {
    let fleet = Fleet::new();
    let mut listener = Listener::new(fleet.server()).await;
    let (bad, good) = (fleet.client(Role::Player, "db1"), fleet.client(Role::Player, "db2"));
    let serial = listener.accepts(Arc::clone(&bad)).await.serial;

    let crl = Some(fleet.revoke(&[&serial]));
    let files = TlsFiles { crl, ..fleet.files(Role::Conductor, CONDUCTOR) };
    listener.door.replace(&acceptance(&files, &domain()).unwrap());
    let told = listener.refuses(bad).await;
    assert_eq!(told, Refused::ByPeer(AlertDescription::CertificateRevoked));
    listener.logged("the peer's certificate is revoked").await;
    listener.accepts(good).await;
}

/// A conductor that answers every call as one that it does not know, at an address.
async fn serve(
    fleet: &Fleet,
) -> (String, tokio::task::JoinHandle<Result<(), tonic::transport::Error>>) {
    let conductor = fleet.files(Role::Conductor, CONDUCTOR);
    let tcp = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = tcp.local_addr().unwrap().to_string();
    let door = Door::new(acceptance(&conductor, &domain()).unwrap());
    let service = tower::service_fn(|_: tonic::codegen::http::Request<tonic::body::Body>| async {
        let status = tonic::Status::not_found("no such call");
        Ok::<_, std::convert::Infallible>(status.into_http::<tonic::body::Body>())
    });
    let incoming = orchestra_certs::incoming(tcp, door, Limits::default());
    let server =
        tokio::spawn(tonic::transport::Server::builder().serve_with_incoming(service, incoming));
    (address, server)
}

fn conductor_subject() -> orchestra_certs::Subject {
    orchestra_certs::Subject::new(Role::Conductor, CONDUCTOR).unwrap()
}

#[tokio::test]
async fn a_channel_ends_once_the_conductor_is_on_a_list_that_came_later() {
    let fleet = Fleet::new();
    let (address, server) = serve(&fleet).await;
    let files = TlsFiles { crl: Some(fleet.revoke(&[])), ..fleet.files(Role::Audience, "alice") };
    let credentials = Credentials::load(&files, &domain()).unwrap();
    let name = expected().conductor_name;
    let channel = channel_to(&name, &address, &credentials, PATIENCE).await.unwrap();
    assert_eq!(call(&channel).await.code(), tonic::Code::NotFound);

    // A look at the list that nothing has changed in.
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(61)).await;
    assert_eq!(call(&channel).await.code(), tonic::Code::NotFound);

    let der = Pair::read(&fleet.ca.files(&conductor_subject())).chain.remove(0);
    let (_, parsed) = x509_parser::parse_x509_certificate(&der).unwrap();
    fleet.revoke(&[&orchestra_certs::x509::serial(&parsed)]);
    tokio::time::advance(Duration::from_secs(61)).await;
    let status = call(&channel).await;
    assert_ne!(status.code(), tonic::Code::NotFound, "{status:?}");
    tokio::time::resume();
    let credentials = Credentials::load(&files, &domain()).unwrap();
    let error = channel_to(&name, &address, &credentials, PATIENCE).await.unwrap_err();
    assert!(orchestra_model::chain(&error).contains("is revoked"), "{error:?}");
    server.abort();
}

/// What a call comes to.
async fn call(channel: &Channel) -> tonic::Status {
    let mut client = tonic::client::Grpc::new(channel.clone());
    if let Err(error) = client.ready().await {
        return tonic::Status::from_error(error.into());
    }
    let path = tonic::codegen::http::uri::PathAndQuery::from_static("/x.Y/Z");
    let codec = tonic_prost::ProstCodec::<(), ()>::default();
    client.unary(tonic::Request::new(()), path, codec).await.unwrap_err()
}

#[tokio::test]
async fn a_client_with_a_list_refuses_a_revoked_conductor() {
    let fleet = Fleet::new();
    let conductor = fleet.files(Role::Conductor, CONDUCTOR);
    let mut listener = Listener::new(acceptance(&conductor, &domain()).unwrap()).await;
    let player = fleet.files(Role::Player, "db1");
    let with = |serials: &[&str]| {
        let files = TlsFiles { crl: Some(fleet.revoke(serials)), ..player.clone() };
        client_config(&files, &expected()).unwrap()
    };
    let serial = listener.accepts(with(&[])).await.serial;
    listener.accepts(with(&[&serial])).await;
    let der = Pair::read(&conductor).chain.remove(0);
    let (_, parsed) = x509_parser::parse_x509_certificate(&der).unwrap();
    let serial = orchestra_certs::x509::serial(&parsed);
    assert_eq!(listener.refuses(with(&[&serial])).await, Refused::Revoked);
}

#[test]
fn a_revocation_list_of_another_ca_is_refused_at_once() {
    let (fleet, other) = (Fleet::new(), Fleet::new());
    let crl = Some(other.revoke(&[]));
    let files = TlsFiles { crl, ..fleet.files(Role::Conductor, CONDUCTOR) };
    let error = acceptance(&files, &domain()).unwrap_err().to_string();
    assert!(error.contains("of another CA"), "{error}");
}

/// A connection that stays, past the listener's greeting.
async fn stays(listener: &Listener, client: Arc<ClientConfig>) -> TlsStream<TcpStream> {
    let mut stream = connect(&listener.address, client, PATIENCE).await.unwrap();
    stream.read_exact(&mut [0; 5]).await.unwrap();
    stream
}

/// Waits until the other end closes.
async fn closes(stream: &mut TlsStream<TcpStream>) {
    // Whether it is closed with or without a word is no matter.
    let _ = timeout(PATIENCE, stream.read(&mut [0; 1])).await.unwrap();
}

/// Whether it is open after the other end had its time to close it.
async fn is_open(stream: &mut TlsStream<TcpStream>) -> bool {
    timeout(Duration::from_millis(300), stream.read(&mut [0; 1])).await.is_err()
}

#[tokio::test]
async fn who_is_revoked_while_connected_goes_at_once_and_nobody_else() {
    let fleet = Fleet::new();
    let mut listener = Listener::new(fleet.server()).await;
    let (bad, good) = (fleet.client(Role::Player, "db1"), fleet.client(Role::Audience, "alice"));
    let serial = listener.accepts(Arc::clone(&bad)).await.serial;
    let mut revoked = [stays(&listener, Arc::clone(&bad)).await, stays(&listener, bad).await];
    let mut other = stays(&listener, good).await;

    let files = fleet.with_list(&List::of(&[&serial]).signed_by(&fleet.issuer()));
    // The one that `accepts` made may have gone by now.
    assert!(listener.door.replace(&acceptance(&files, &domain()).unwrap()) >= 2);
    for stream in &mut revoked {
        closes(stream).await;
    }
    assert!(is_open(&mut other).await);
    listener.logged("connection closed peer=spiffe://example.com/player/db1").await;
    listener.logged("reason=the peer's certificate is revoked").await;
    // When the list comes again, nobody is left to close.
    assert_eq!(listener.door.replace(&acceptance(&files, &domain()).unwrap()), 0);
    drop(other);
    while listener.door.connections() > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn who_is_connected_by_a_ca_that_is_no_longer_trusted_goes() {
    let (before, after) = (Fleet::new(), Fleet::new());
    let listener = Listener::new(before.server()).await;
    let mut stream = stays(&listener, before.client(Role::Player, "db1")).await;
    // While a CA is replaced, both are trusted.
    let files = after.files(Role::Conductor, CONDUCTOR);
    let files = TlsFiles { ca: both(&before, &after), ..files };
    assert_eq!(listener.door.replace(&acceptance(&files, &domain()).unwrap()), 0);
    assert!(is_open(&mut stream).await);
    assert_eq!(listener.door.replace(&after.server()), 1);
    closes(&mut stream).await;
    listener.logged("the peer's certificate is not of our CA").await;
}

/// A file with the certificates of two CAs.
fn both(one: &Fleet, other: &Fleet) -> PathBuf {
    let texts = [one, other].map(|fleet| fs::read_to_string(fleet.path("ca/ca.pem")).unwrap());
    let path = one.path("both.pem");
    fs::write(&path, texts.concat()).unwrap();
    path
}

/// A certificate of a name that ends in so many seconds.
fn short_lived(fleet: &Fleet, who: &str, seconds: u64) -> Pair {
    fleet.odd(|params| {
        params.subject_alt_names = vec![san_uri(&format!("spiffe://{DOMAIN}/{who}"))];
        params.not_before = (SystemTime::now() - Duration::from_secs(60)).into();
        params.not_after = (SystemTime::now() + Duration::from_secs(seconds)).into();
    })
}

#[tokio::test]
async fn a_connection_ends_with_its_certificate() {
    let fleet = Fleet::new();
    let listener = Listener::new(fleet.server()).await;
    let mut lasting = stays(&listener, fleet.client(Role::Audience, "alice")).await;
    let mut ending = stays(&listener, short_lived(&fleet, "audience/bob", 2).client()).await;
    closes(&mut ending).await;
    assert!(is_open(&mut lasting).await);
    listener.logged("reason=the peer's certificate has expired").await;
}

#[tokio::test]
async fn a_channel_ends_with_the_conductors_certificate_and_says_why() {
    let fleet = Fleet::new();
    let server = short_lived(&fleet, &format!("conductor/{CONDUCTOR}"), 2).server();
    let tcp = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = tcp.local_addr().unwrap().to_string();
    // Greets, and keeps the connection, whatever it is told.
    let kept = tokio::spawn(async move {
        let (tcp, _) = tcp.accept().await.unwrap();
        let mut stream = tokio_rustls::TlsAcceptor::from(server).accept(tcp).await.unwrap();
        // The settings that HTTP/2 begins with.
        stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
        stream.flush().await.unwrap();
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes).await;
    });
    let channel = channel(&address, fleet.client(Role::Player, "db1"), PATIENCE).await.unwrap();
    let status = timeout(PATIENCE, call(&channel)).await.unwrap();
    let why = orchestra_model::chain(&status);
    assert!(why.contains("has expired"), "{why}");
    kept.await.unwrap();
}

#[tokio::test]
async fn an_identity_has_so_many_connections_and_whoever_comes_then_can_be_told_so() {
    let fleet = Fleet::new();
    let limits = Limits { of_audience: 2, ..Limits::default() };
    let mut listener = Listener::with(fleet.server(), limits).await;
    let alice = fleet.client(Role::Audience, "alice");
    let mut two =
        [stays(&listener, Arc::clone(&alice)).await, stays(&listener, Arc::clone(&alice)).await];
    let mut third = stays(&listener, Arc::clone(&alice)).await;
    let mut peers = Vec::new();
    for _ in 0..3 {
        peers.push(listener.peer().await.surplus);
    }
    assert_eq!(peers, [None, None, Some(2)]);
    // Others are others, and players are counted by themselves.
    for (role, name) in [(Role::Audience, "bob"), (Role::Player, "alice")] {
        assert_eq!(listener.accepts(fleet.client(role, name)).await.surplus, None);
    }
    closes(&mut third).await;
    listener.logged("the most that one may have").await;
    for stream in &mut two {
        assert!(is_open(stream).await);
    }
    drop(two);
    // Room that was given back is there again.
    while listener.door.connections() > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(listener.accepts(alice).await.surplus, None);
}

#[tokio::test]
async fn where_there_are_as_many_as_there_may_be_the_next_one_is_refused() {
    let fleet = Fleet::new();
    let limits = Limits { inside: 1, ..Limits::default() };
    let listener = Listener::with(fleet.server(), limits).await;
    let _first = stays(&listener, fleet.client(Role::Audience, "alice")).await;
    let second = connect(&listener.address, fleet.client(Role::Audience, "bob"), PATIENCE).await;
    assert!(matches!(second, Err(ConnectError::Refused { .. })), "{second:?}");
    listener.logged("there are 1 connections, the most there may be").await;
}

/// Why a conductor would not start with this list.
fn refused(fleet: &Fleet, pem: &str) -> String {
    acceptance(&fleet.with_list(pem), &domain()).unwrap_err().to_string()
}

#[test]
fn a_list_that_the_ca_did_not_sign_is_refused_before_it_locks_everybody_out() {
    let fleet = Fleet::new();
    let list = List::of(&[]);
    // Of a stranger who took the name of our CA.
    let name = fs::read_to_string(fleet.path("ca/ca.pem")).unwrap();
    let stranger = Issuer::from_ca_cert_pem(&name, KeyPair::generate().unwrap()).unwrap();
    let told = refused(&fleet, &list.signed_by(&stranger));
    assert!(told.contains("its signature is not that CA's"), "{told}");
    assert!(acceptance(&fleet.with_list(&list.signed_by(&fleet.issuer())), &domain()).is_ok());
}

#[test]
fn each_ca_has_one_list() {
    let (fleet, other) = (Fleet::new(), Fleet::new());
    let lists = [&fleet, &other].map(|fleet| List::of(&[]).signed_by(&fleet.issuer()));
    let told = refused(&fleet, &lists[0].repeat(2));
    assert!(told.contains("two lists of the CA"), "{told}");
    let ca = both(&fleet, &other);
    let with = |lists: &str| TlsFiles { ca: ca.clone(), ..fleet.with_list(lists) };
    let told = acceptance(&with(&lists[0]), &domain()).unwrap_err().to_string();
    assert!(told.contains("it has no list of our CA"), "{told}");
    assert!(acceptance(&with(&lists.concat()), &domain()).is_ok());
}

#[test]
fn lists_are_told_apart_by_number_and_by_when_they_were_made() {
    let fleet = Fleet::new();
    let list = |number, made| {
        let list = List { made, number, ..List::of(&[]) };
        let files = fleet.with_list(&list.signed_by(&fleet.issuer()));
        acceptance(&files, &domain()).unwrap().revocation_lists().next().unwrap().clone()
    };
    let now = SystemTime::now();
    let earlier = now - Duration::from_secs(60);
    assert!(list(1, now).is_older_than(&list(2, earlier)));
    assert!(list(2, earlier).is_older_than(&list(2, now)));
    assert!(
        !list(2, now).is_older_than(&list(2, now)) && !list(3, now).is_older_than(&list(2, now))
    );
    let ended = list(1, now - Duration::from_secs(2 * 86_400));
    assert!(ended.has_run_out(now) && !list(1, now).has_run_out(now));
}

#[test]
fn a_list_that_is_older_than_the_one_before_does_not_replace_it() {
    let fleet = Fleet::new();
    let now = SystemTime::now();
    let write = |number, made, issuer: &Issuer<'static, KeyPair>| {
        fleet.list(&List { made, number, ..List::of(&[]) }.signed_by(issuer))
    };
    let ours = fleet.issuer();
    let crl = Some(write(7, now, &ours));
    let files = TlsFiles { crl, ..fleet.files(Role::Player, "db1") };
    let newest = NewestLists::default();
    let load = || Credentials::load_after(&files, &domain(), &newest).unwrap();
    let number = |credentials: &Credentials| {
        let list = credentials.revocation_lists().next().unwrap();
        list.edition().number.as_deref().unwrap()[0]
    };
    assert_eq!((number(&load()), load().older_list()), (7, None));
    // Of a later time, but with a lower number.
    write(6, now + Duration::from_secs(60), &ours);
    let told = load().older_list().unwrap().to_string();
    assert!(told.contains("before the one in force") && told.contains("ca.crl"), "{told}");
    assert_eq!(number(&load()), 7);
    write(8, now, &ours);
    assert_eq!((number(&load()), load().older_list()), (8, None));
    // What another program knows is nothing to this one.
    write(6, now, &ours);
    assert_eq!(number(&Credentials::load(&files, &domain()).unwrap()), 6);
    assert_eq!(number(&load()), 8);
}

#[tokio::test]
async fn a_channel_and_the_next_one_know_the_newest_list_that_either_has_read() {
    let fleet = Fleet::new();
    let (address, server) = serve(&fleet).await;
    let write = |number| fleet.list(&List { number, ..List::of(&[]) }.signed_by(&fleet.issuer()));
    let files = TlsFiles { crl: Some(write(3)), ..fleet.files(Role::Player, "db1") };
    let newest = NewestLists::default();
    let load = || Credentials::load_after(&files, &domain(), &newest).unwrap();
    let name = expected().conductor_name;
    let channel = channel_to(&name, &address, &load(), PATIENCE).await.unwrap();
    write(5);
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(61)).await;
    assert_eq!(call(&channel).await.code(), tonic::Code::NotFound);
    write(4);
    assert!(load().older_list().is_some());
    server.abort();
}

#[tokio::test]
async fn a_list_that_has_run_out_still_keeps_out_whom_it_names_and_is_told() {
    let fleet = Fleet::new();
    let mut listener = Listener::new(fleet.server()).await;
    let (bad, good) = (fleet.client(Role::Player, "db1"), fleet.client(Role::Player, "db2"));
    let serial = listener.accepts(Arc::clone(&bad)).await.serial;
    let made = SystemTime::now();
    let list = List { made, lasts: Duration::from_secs(1), ..List::of(&[&serial]) };
    let files = fleet.with_list(&list.signed_by(&fleet.issuer()));
    listener.door.replace(&acceptance(&files, &domain()).unwrap());
    listener.logged("the revocation list has run out").await;
    assert_eq!(listener.refuses(bad).await, Refused::ByPeer(AlertDescription::CertificateRevoked));
    listener.accepts(good).await;
}

#[tokio::test]
async fn what_the_ca_revokes_is_refused_and_its_list_grows() {
    let fleet = Fleet::new();
    let mut listener = Listener::new(fleet.server()).await;
    let one = fleet.client(Role::Player, "db1");
    let serial = listener.accepts(Arc::clone(&one)).await.serial;
    let first = fleet.ca.revoke(&[Serial::read(&serial).unwrap()], LIST_DAYS).unwrap();
    assert_eq!((first.added, first.all), (1, 1));
    let files = TlsFiles { crl: Some(first.path), ..fleet.files(Role::Conductor, CONDUCTOR) };
    let before = acceptance(&files, &domain()).unwrap();
    listener.door.replace(&before);
    listener.refuses(Arc::clone(&one)).await;

    let two = fleet.files(Role::Player, "db2");
    let by_file = Serial::read(two.cert.to_str().unwrap()).unwrap();
    let again = Serial::read(&serial).unwrap();
    let second = fleet.ca.revoke(&[by_file, again], LIST_DAYS).unwrap();
    assert_eq!((second.added, second.all), (1, 2));
    let after = acceptance(&files, &domain()).unwrap();
    let [older, newer] =
        [&before, &after].map(|one| one.revocation_lists().next().unwrap().clone());
    assert!(older.is_older_than(&newer) && !newer.is_older_than(&older));
    listener.door.replace(&after);
    for client in [one, client_config(&two, &expected()).unwrap()] {
        listener.refuses(client).await;
    }
    listener.accepts(fleet.client(Role::Player, "db3")).await;
    let ours = two.cert.to_str().unwrap();
    assert_eq!(fleet.ca.serial(ours).unwrap(), Serial::read(ours).unwrap());
    let foreign = Fleet::new().ca.serial(ours).unwrap_err().to_string();
    assert!(foreign.contains("was issued by another CA"), "{foreign}");
    assert!(Serial::read("nothing-like-it").is_err());
}
