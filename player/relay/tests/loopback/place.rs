//! A fleet's certificates, a depot with a bundle, a relay of it, and a player that speaks frames.

use std::{fs, net::SocketAddr, path::PathBuf, pin::Pin, time::Duration};

use orchestra_bundle::{Depot, Publication, StoredBundle, publish};
use orchestra_ca::{Ca, Terms, new_publisher};
use orchestra_certs::{Credentials, Publisher, Role, Subject, TlsFiles, connect};
use orchestra_model::{
    AudienceName, BundleName, FlowId, HostName, Timestamp,
    bundle::{BundleId, BundlePart},
    relay::{FrameHead, RelayFrame, RelayTicket, SignedTicket, TICKET_LASTS},
};
use relay::{Config, Relay};
use tempfile::TempDir;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    time::timeout,
};

/// Longest that any test waits; none is expected to come near it.
const PATIENCE: Duration = Duration::from_secs(60);
pub(crate) const RELAY: &str = "db1";

pub(crate) fn host(name: &str) -> HostName {
    HostName::new(name).unwrap()
}

pub(crate) fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Timestamp(since.as_millis() as u64)
}

/// Runs a test's own story.
pub(crate) fn run(story: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(story);
}

pub(crate) struct Place {
    directory: TempDir,
    ca: Ca,
}

impl Place {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let ca = Ca::init(&directory.path().join("ca"), &host("example.com")).unwrap();
        Self { directory, ca }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn files(&self, role: Role, name: &str) -> TlsFiles {
        let subject = Subject::new(role, name).unwrap();
        let issued = self.ca.issue(&subject, &Terms::default()).unwrap();
        self.ca.save(&[issued], true).unwrap();
        self.ca.files(&subject)
    }

    fn credentials(&self, role: Role, name: &str) -> Credentials {
        Credentials::load(&self.files(role, name), &host("example.com")).unwrap()
    }

    pub(crate) fn depot(&self) -> Depot {
        Depot::at(&self.path("depot"))
    }

    /// Publishes a bundle of so many bytes.
    pub(crate) fn publish(&self, bytes: usize) -> StoredBundle {
        let source = self.path("source");
        fs::create_dir_all(&source).unwrap();
        let data: Vec<u8> = (0..bytes).map(|n| (n / 977) as u8).collect();
        fs::write(source.join("data"), data).unwrap();
        let name = AudienceName::new("release").unwrap();
        let made = new_publisher(&self.path("keys"), &name).unwrap();
        let publication = Publication {
            domain: host("example.com"),
            name: BundleName::new("myapp").unwrap(),
            serial: None,
            expires: None,
            exclude: Vec::new(),
            xattrs: Default::default(),
        };
        let publisher = Publisher::load(&made.private).unwrap();
        publish(&source, &self.depot(), &publication, &[publisher]).unwrap().bundle
    }

    pub(crate) fn config(&self) -> Config {
        self.config_of(RELAY, "depot")
    }

    /// The configuration of a host's relay, which serves this depot.
    pub(crate) fn config_of(&self, name: &str, depot: &str) -> Config {
        Config {
            file: self.path("relay.toml"),
            listen: "127.0.0.1:0".parse().unwrap(),
            domain: host("example.com"),
            depot: self.path(depot),
            serve_children: 4,
            serve_rate: None,
            tls: self.files(Role::Relay, name),
        }
    }

    /// Starts a relay, which ends with the test's runtime.
    pub(crate) async fn relay(&self) -> SocketAddr {
        self.relay_with(&self.config()).await
    }

    pub(crate) async fn relay_with(&self, config: &Config) -> SocketAddr {
        let relay = Relay::start(config).await.unwrap();
        let address = relay.address();
        tokio::spawn(relay.run());
        address
    }

    /// A ticket for the player `fe1`, made now.
    pub(crate) fn ticket(&self, bundle: BundleId) -> RelayTicket {
        RelayTicket {
            domain: host("example.com"),
            player: host("fe1"),
            bundle,
            flow: FlowId(7),
            made: now(),
            expires: now().after(TICKET_LASTS),
        }
    }

    pub(crate) fn sign(&self, ticket: RelayTicket) -> SignedTicket {
        let conductor = self.credentials(Role::Conductor, "conductor.example.com");
        conductor.ticket_signer().unwrap().sign(ticket).unwrap()
    }

    /// The player `name`, connected to a relay that has said hello.
    pub(crate) async fn child(&self, relay: SocketAddr, name: &str) -> Child {
        let config = self.credentials(Role::Player, name).relay_client_config(&host(RELAY));
        let config = config.unwrap();
        let stream = connect(&relay.to_string(), config, PATIENCE).await.unwrap();
        let mut child = Child { stream: Box::pin(stream) };
        assert_eq!(child.hear().await, (RelayFrame::Hello, vec![]));
        child
    }

    /// The player `fe1`, which has shown a ticket for a bundle.
    pub(crate) async fn opened(&self, relay: SocketAddr, bundle: BundleId) -> Child {
        let mut child = self.child(relay, "fe1").await;
        child.show(&self.sign(self.ticket(bundle))).await;
        assert_eq!(child.hear().await, (RelayFrame::Opened, vec![]));
        child
    }
}

/// A player at its end of a connection.
pub(crate) struct Child {
    stream: Pin<Box<dyn Duplex>>,
}

/// What a child reads and writes.
trait Duplex: AsyncRead + AsyncWrite + Send {}

impl<T: AsyncRead + AsyncWrite + Send> Duplex for T {}

impl Child {
    pub(crate) async fn say(&mut self, frame: RelayFrame, body: &[u8]) {
        let head = FrameHead::encode(frame, body.len());
        self.stream.write_all(&[&head, body].concat()).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    pub(crate) async fn show(&mut self, ticket: &SignedTicket) {
        self.say(RelayFrame::Ticket, &ticket.encode()).await;
    }

    pub(crate) async fn ask(&mut self, part: BundlePart) {
        self.say(RelayFrame::Ask(part), &[]).await;
    }

    pub(crate) async fn hear(&mut self) -> (RelayFrame, Vec<u8>) {
        let heard = timeout(PATIENCE, async {
            let mut head = [0; FrameHead::BYTES];
            self.stream.read_exact(&mut head).await.unwrap();
            let FrameHead { frame, body } = FrameHead::decode(head).unwrap();
            let mut bytes = vec![0; body];
            self.stream.read_exact(&mut bytes).await.unwrap();
            (frame, bytes)
        });
        heard.await.unwrap()
    }

    /// What comes but for words that it is still to come.
    pub(crate) async fn hear_more(&mut self) -> (RelayFrame, Vec<u8>) {
        loop {
            let heard = self.hear().await;
            if heard.0 != RelayFrame::Waiting {
                return heard;
            }
        }
    }

    pub(crate) async fn refused(&mut self) -> String {
        match self.hear_more().await {
            (RelayFrame::Refused, why) => String::from_utf8(why).unwrap(),
            other => panic!("{other:?}"),
        }
    }
}
