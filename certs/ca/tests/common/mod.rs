//! A fleet's certificates, a listener with its log, and certificates that no CA of ours issues.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::allow_attributes,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests; and each program that includes this uses a part of it"
)]

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use orchestra_ca::{Ca, Terms};
use orchestra_certs::{
    Acceptance, ConnectError, Door, Expected, Incoming, Limits, Peer, Refused, Role, Subject,
    TlsFiles, acceptance, client_config, connect, incoming,
};
use orchestra_harness::credulous;
use orchestra_model::HostName;
use rcgen::{
    CertificateParams, CertificateRevocationListParams, Issuer, KeyIdMethod, KeyPair,
    RevokedCertParams, SanType, SerialNumber,
};
use rustls::{
    ClientConfig, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, pem::PemObject as _},
    version::TLS13,
};
use tempfile::TempDir;
use tokio::{io::AsyncWriteExt as _, net::TcpListener, sync::mpsc, task::JoinSet};
use tokio_stream::StreamExt as _;

pub const DOMAIN: &str = "example.com";
pub const CONDUCTOR: &str = "conductor.example.com";

/// Longest that any test waits; none is expected to come near it.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub fn domain() -> HostName {
    HostName::new(DOMAIN).unwrap()
}

pub fn expected() -> Expected {
    Expected { domain: domain(), conductor_name: HostName::new(CONDUCTOR).unwrap() }
}

/// A CA in a directory of its own.
pub struct Fleet {
    pub ca: Ca,
    directory: TempDir,
}

impl Fleet {
    pub fn new() -> Fleet {
        Fleet::of(DOMAIN)
    }

    pub fn of(domain: &str) -> Fleet {
        let directory = tempfile::tempdir().unwrap();
        let ca = Ca::init(&directory.path().join("ca"), &HostName::new(domain).unwrap()).unwrap();
        Fleet { ca, directory }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Issues a certificate and gives its files.
    pub fn files(&self, role: Role, name: &str) -> TlsFiles {
        let subject = Subject::new(role, name).unwrap();
        let issued = self.ca.issue(&subject, &Terms::default()).unwrap();
        self.ca.save(&[issued], true).unwrap();
        self.ca.files(&subject)
    }

    pub fn server(&self) -> Arc<Acceptance> {
        acceptance(&self.files(Role::Conductor, CONDUCTOR), &domain()).unwrap()
    }

    pub fn client(&self, role: Role, name: &str) -> Arc<ClientConfig> {
        client_config(&self.files(role, name), &expected()).unwrap()
    }

    /// Writes a revocation list of these serials and gives its path.
    pub fn revoke(&self, serials: &[&str]) -> PathBuf {
        self.list(&List::of(serials).signed_by(&self.issuer()))
    }

    /// Writes `ca.crl` and gives its path.
    pub fn list(&self, pem: &str) -> PathBuf {
        let path = self.path("ca.crl");
        std::fs::write(&path, pem).unwrap();
        path
    }

    /// The conductor's files with a revocation list.
    pub fn with_list(&self, pem: &str) -> TlsFiles {
        TlsFiles { crl: Some(self.list(pem)), ..self.files(Role::Conductor, CONDUCTOR) }
    }

    /// The CA's key and name, to sign with whatever a test wants.
    pub fn issuer(&self) -> Issuer<'static, KeyPair> {
        let read = |name| std::fs::read_to_string(self.path("ca").join(name)).unwrap();
        let key = KeyPair::from_pem(&read("ca.key")).unwrap();
        Issuer::from_ca_cert_pem(&read("ca.pem"), key).unwrap()
    }

    /// A certificate that this CA signed and would never issue.
    pub fn odd(&self, change: impl FnOnce(&mut CertificateParams)) -> Pair {
        let mut params = CertificateParams::default();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let cert = params.signed_by(&key, &self.issuer()).unwrap();
        let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
        Pair { chain: vec![cert.der().clone()], key }
    }

    /// A pair that the CA signed, whose certificate has these URIs.
    pub fn with_uris(&self, uris: &[&str]) -> Pair {
        self.odd(|params| params.subject_alt_names = uris.iter().map(|uri| san_uri(uri)).collect())
    }
}

/// A revocation list, before it is signed.
pub struct List {
    pub serials: Vec<String>,
    pub made: SystemTime,
    pub lasts: Duration,
    pub number: u8,
}

impl List {
    pub fn of(serials: &[&str]) -> List {
        List {
            serials: serials.iter().map(|serial| (*serial).to_owned()).collect(),
            made: SystemTime::now(),
            lasts: Duration::from_secs(86_400),
            number: 1,
        }
    }

    pub fn signed_by(&self, issuer: &Issuer<'_, KeyPair>) -> String {
        let revoked_certs = self.serials.iter().map(|serial| RevokedCertParams {
            serial_number: serial_number(serial),
            revocation_time: self.made.into(),
            reason_code: None,
            invalidity_date: None,
        });
        let list = CertificateRevocationListParams {
            this_update: self.made.into(),
            next_update: (self.made + self.lasts).into(),
            crl_number: SerialNumber::from_slice(&[self.number]),
            issuing_distribution_point: None,
            revoked_certs: revoked_certs.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(issuer).unwrap().pem().unwrap()
    }
}

fn serial_number(hex: &str) -> SerialNumber {
    let digits = hex.as_bytes().chunks(2);
    let bytes = digits.map(|two| u8::from_str_radix(str::from_utf8(two).unwrap(), 16).unwrap());
    SerialNumber::from_slice(&bytes.collect::<Vec<_>>())
}

pub fn san_uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

/// A certificate and its key, in memory.
pub struct Pair {
    pub chain: Vec<CertificateDer<'static>>,
    pub key: PrivateKeyDer<'static>,
}

impl Pair {
    pub fn read(files: &TlsFiles) -> Pair {
        Pair {
            chain: vec![CertificateDer::from_pem_file(&files.cert).unwrap()],
            key: PrivateKeyDer::from_pem_file(&files.key).unwrap(),
        }
    }

    /// A client with this certificate, which believes every server.
    pub fn client(self) -> Arc<ClientConfig> {
        let config = credulous().with_client_auth_cert(self.chain, self.key).unwrap();
        Arc::new(config)
    }

    /// A server with this certificate, which asks for none.
    pub fn server(self) -> Arc<ServerConfig> {
        let config = ServerConfig::builder_with_provider(ring::default_provider().into())
            .with_protocol_versions(&[&TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(self.chain, self.key)
            .unwrap();
        Arc::new(config)
    }
}

/// A client without a certificate, which believes every server.
pub fn anonymous() -> Arc<ClientConfig> {
    Arc::new(credulous().with_no_client_auth())
}

/// A listener that greets whom it accepts, as an HTTP/2 server does.
pub struct Listener {
    pub address: String,
    pub door: Door,
    peers: mpsc::UnboundedReceiver<Peer>,
    log: Log,
    _subscriber: tracing::subscriber::DefaultGuard,
    _task: JoinSet<()>,
}

impl Listener {
    pub async fn new(acceptance: Arc<Acceptance>) -> Listener {
        Listener::with(acceptance, Limits::default()).await
    }

    pub async fn with(acceptance: Arc<Acceptance>, limits: Limits) -> Listener {
        let log = Log::default();
        let writer = log.clone();
        let subscriber =
            tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
        // The tests' runtimes are of one thread: this one.
        let guard = tracing::subscriber::set_default(subscriber);
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = tcp.local_addr().unwrap().to_string();
        let door = Door::new(acceptance);
        let (seen, peers) = mpsc::unbounded_channel();
        let mut task = JoinSet::new();
        task.spawn(greet(incoming(tcp, door.clone(), limits), seen));
        Listener { address, door, peers, log, _subscriber: guard, _task: task }
    }

    /// Connects, and gives who the listener saw.
    pub async fn accepts(&mut self, config: Arc<ClientConfig>) -> Peer {
        let _stream = connect(&self.address, config, PATIENCE).await.unwrap();
        self.peers.recv().await.unwrap()
    }

    /// The next one whom it saw.
    pub async fn peer(&mut self) -> Peer {
        self.peers.recv().await.unwrap()
    }

    /// Connects in vain, and gives what the client learnt.
    pub async fn refuses(&mut self, config: Arc<ClientConfig>) -> Refused {
        let refused = match connect(&self.address, config, PATIENCE).await {
            Err(ConnectError::Refused { reason, .. }) => reason,
            other => panic!("{other:?}"),
        };
        assert!(self.peers.try_recv().is_err());
        refused
    }

    /// Waits until the log says this.
    pub async fn logged(&self, text: &str) {
        let said = async {
            while !self.log.text().contains(text) {
                tokio::task::yield_now().await;
            }
        };
        if tokio::time::timeout(PATIENCE, said).await.is_err() {
            panic!("{text:?} is not in the log:\n{}", self.log.text());
        }
    }

    pub fn log(&self) -> String {
        self.log.text()
    }
}

/// What a client says of a server with this configuration, which is none of ours.
pub async fn refused_by(server: Arc<ServerConfig>, client: Arc<ClientConfig>) -> Refused {
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = tcp.local_addr().unwrap().to_string();
    let mut task = JoinSet::new();
    task.spawn(async move {
        let (tcp, _) = tcp.accept().await.unwrap();
        let _refused = tokio_rustls::TlsAcceptor::from(server).accept(tcp).await;
    });
    match connect(&address, client, PATIENCE).await {
        Err(ConnectError::Refused { reason, .. }) => reason,
        other => panic!("{other:?}"),
    }
}

async fn greet(mut incoming: Incoming, seen: mpsc::UnboundedSender<Peer>) {
    let mut open = JoinSet::new();
    while let Some(stream) = incoming.next().await {
        let mut stream = stream.unwrap();
        if stream.write_all(b"hello").await.is_ok() && stream.flush().await.is_ok() {
            let _ = seen.send(stream.peer().clone());
            // Somebody reads, as a server does, until the connection is over.
            open.spawn(async move {
                let _ended = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
            });
        }
    }
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The permission bits of a file.
pub fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
}
