//! A conductor and a sitter, with the agent between them. Mutual TLS over loopback and the socket
//! pair are real; the test decides what either side says.

use std::{net::SocketAddr, path::Path, pin::Pin, time::Duration};

use bytes::Bytes;
use orchestra_ca::{Ca, Terms};
use orchestra_certs::{Door, Limits, NewestLists, Subject, acceptance, incoming};
use orchestra_model::{
    HostName,
    delivery::{AgentSession, StoreId, Term},
};
use orchestra_proto::{
    PROTOCOL,
    v1::{
        self, FromPlayer, FromPlayers, ToPlayer, ToPlayers, from_player,
        players_server::{Players, PlayersServer},
        to_player,
    },
};
use tempfile::TempDir;
use tokio::{
    net::{TcpListener, UnixStream},
    sync::mpsc,
    task::JoinHandle,
    time::timeout,
};
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tonic::{Request, Response, Status, Streaming, transport::Server};

use crate::{
    aside::Aside,
    dial::Dialler,
    ipc::{Inbox, Outbox, ToAgent, ToSitter},
    link::{Link, LinkError, SitterPatience},
    serve,
};

pub(super) const DOMAIN: &str = "example.com";
pub(super) const CONDUCTOR: &str = "c1.example.com";
pub(super) const PLAYER: &str = "db1.example.com";
pub(super) const STORE: StoreId = StoreId([7; 16]);
pub(super) const TERM: Term = Term(3);

/// Longer than anything that a test waits for may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits for something that must come.
pub(super) async fn soon<T>(what: &str, wanted: impl Future<Output = T>) -> T {
    match timeout(PATIENCE, wanted).await {
        Ok(it) => it,
        Err(_) => panic!("{what} did not come"),
    }
}

pub(super) fn host(name: &str) -> HostName {
    HostName::new(name).unwrap()
}

/// A CA, and certificates of a conductor and a player.
pub(super) struct World {
    directory: TempDir,
    ca: Ca,
}

impl World {
    pub(super) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let ca = Ca::init(&directory.path().join("ca"), &host(DOMAIN)).unwrap();
        let world = World { directory, ca };
        world.issue(&Subject::Conductor(host(CONDUCTOR)));
        world.issue(&Subject::Player(host(PLAYER)));
        world
    }

    pub(super) fn issue(&self, subject: &Subject) {
        let issued = self.ca.issue(subject, &Terms::default()).unwrap();
        self.ca.save(&[issued], true).unwrap();
    }

    /// A player that dials these conductors.
    pub(super) fn dialler(&self, conductors: &[SocketAddr]) -> Dialler {
        self.dialler_of(&Subject::Player(host(PLAYER)), conductors)
    }

    /// A player that shows the certificate of this subject.
    pub(super) fn dialler_of(&self, subject: &Subject, conductors: &[SocketAddr]) -> Dialler {
        let endpoint = |address: &SocketAddr| address.to_string().parse().unwrap();
        Dialler {
            conductors: conductors.iter().map(endpoint).collect(),
            conductor_name: host(CONDUCTOR),
            domain: host(DOMAIN),
            files: self.ca.files(subject),
            newest: NewestLists::default(),
        }
    }

    /// An address where nobody listens.
    pub(super) async fn nowhere(&self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    }

    /// Starts a conductor on a free port.
    pub(super) async fn conductor(&self) -> Conductor<'_> {
        let files = self.ca.files(&Subject::Conductor(host(CONDUCTOR)));
        let tls = Door::new(acceptance(&files, &host(DOMAIN)).unwrap());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (arrived, sessions) = mpsc::channel(8);
        let service = PlayersServer::new(Service { arrived });
        let streams = incoming(listener, tls, Limits::default());
        let served = Server::builder().serve_with_incoming(service, streams);
        let server = tokio::spawn(async move { drop(served.await) });
        Conductor { address, sessions, server, _directory: self.directory.path() }
    }
}

/// A listening conductor. Every attach is handed to the test.
pub(super) struct Conductor<'a> {
    pub(super) address: SocketAddr,
    sessions: mpsc::Receiver<Attached>,
    server: JoinHandle<()>,
    _directory: &'a Path,
}

impl Conductor<'_> {
    /// The next session that a player opens, and what it attached with.
    pub(super) async fn attached(&mut self) -> (Attached, v1::Attach) {
        let mut session = soon("a session", self.sessions.recv()).await.unwrap();
        let first = session.one().await;
        assert_eq!(first.player, PLAYER);
        match first.frame {
            Some(from_player::Frame::Attach(attach)) => (session, attach),
            other => panic!("{other:?}"),
        }
    }

    /// Takes the next session and welcomes it.
    pub(super) async fn welcomed(&mut self) -> Attached {
        let (session, _) = self.attached().await;
        session.say([welcome()]).await;
        session
    }
}

impl Drop for Conductor<'_> {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// The conductor's end of one session.
pub(super) struct Attached {
    messages: Streaming<FromPlayers>,
    answers: mpsc::Sender<Result<ToPlayers, Status>>,
}

impl Attached {
    /// Says all of it in one message.
    pub(super) async fn say(&self, frames: impl IntoIterator<Item = to_player::Frame>) {
        self.say_to(PLAYER, frames).await;
    }

    pub(super) async fn say_to(
        &self,
        player: &str,
        frames: impl IntoIterator<Item = to_player::Frame>,
    ) {
        let frame = |frame| ToPlayer { player: player.to_owned(), frame: Some(frame) };
        let message = ToPlayers { frames: frames.into_iter().map(frame).collect() };
        self.answers.send(Ok(message)).await.unwrap();
    }

    /// Ends the session with an error.
    pub(super) async fn fail(&self, status: Status) {
        self.answers.send(Err(status)).await.unwrap();
    }

    /// The next message; `None` at the end of the stream, in order or not.
    pub(super) async fn message(&mut self) -> Option<FromPlayers> {
        soon("a message", self.messages.message()).await.ok().flatten()
    }

    /// The next message, which has one frame.
    pub(super) async fn one(&mut self) -> FromPlayer {
        let mut message = self.message().await.unwrap();
        assert_eq!(message.frames.len(), 1, "{message:?}");
        message.frames.remove(0)
    }

    /// Waits until the player ends its half in order, then ends ours.
    pub(super) async fn closed_by_player(mut self) {
        let end = soon("the end of the stream", self.messages.message()).await;
        assert!(matches!(end, Ok(None)), "{end:?}");
    }
}

struct Service {
    arrived: mpsc::Sender<Attached>,
}

#[tonic::async_trait]
impl Players for Service {
    type AttachStream = Pin<Box<dyn Stream<Item = Result<ToPlayers, Status>> + Send>>;

    async fn attach(
        &self,
        request: Request<Streaming<FromPlayers>>,
    ) -> Result<Response<Self::AttachStream>, Status> {
        let (answers, stream) = mpsc::channel(8);
        let session = Attached { messages: request.into_inner(), answers };
        self.arrived.send(session).await.map_err(|_| Status::unavailable("the test is over"))?;
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }
}

/// An agent at work, and the sitter's end of the socket pair.
pub(super) struct Sitter {
    socket: UnixStream,
    inbox: Inbox<ToSitter>,
    pub(super) agent: JoinHandle<LinkError>,
}

impl Sitter {
    /// Starts an agent.
    pub(super) fn start(dialler: Dialler) -> Self {
        Self::of(|link| async move { serve(&dialler, "boot-1", link, Aside::none()).await })
    }

    /// Starts an agent that may ask the sitter whether it is there.
    pub(super) fn start_asked(dialler: Dialler, patience: SitterPatience) -> Self {
        Self::with(Some(patience), |link| async move {
            serve(&dialler, "boot-1", link, Aside::none()).await
        })
    }

    /// Starts something in place of an agent.
    pub(super) fn of<F: Future<Output = LinkError> + Send + 'static>(
        agent: impl FnOnce(Link) -> F,
    ) -> Self {
        Self::with(None, agent)
    }

    fn with<F: Future<Output = LinkError> + Send + 'static>(
        patience: Option<SitterPatience>,
        agent: impl FnOnce(Link) -> F,
    ) -> Self {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let agent = tokio::spawn(agent(Link::new(theirs, patience).unwrap()));
        let socket = UnixStream::from_std(ours).unwrap();
        Sitter { socket, inbox: Inbox::default(), agent }
    }

    /// The next frame.
    pub(super) async fn hears(&mut self) -> ToSitter {
        soon("a frame", async {
            loop {
                if let Some(frame) = self.inbox.next_frame().unwrap() {
                    return frame;
                }
                self.socket.readable().await.unwrap();
                let mut chunk = vec![0; 64 << 10];
                if let Ok(read) = self.socket.try_read(&mut chunk) {
                    assert_ne!(read, 0, "the agent has gone");
                    let mut came = &chunk[..read];
                    while !came.is_empty() {
                        self.inbox.fill(&mut came).unwrap();
                    }
                }
            }
        })
        .await
    }

    /// Sends all frames, as fast as the socket takes them.
    pub(super) async fn says(&self, frames: impl IntoIterator<Item = ToAgent>) {
        let mut outbox = Outbox::default();
        for frame in frames {
            outbox.push(frame).unwrap();
        }
        let mut bytes = Vec::new();
        outbox.flush(&mut bytes).unwrap();
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            self.socket.writable().await.unwrap();
            if let Ok(written) = self.socket.try_write(rest) {
                rest = &rest[written..];
            }
        }
    }

    /// Whether the socket takes a byte more.
    pub(super) fn is_writable(&self) -> bool {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let mut polled = [PollFd::new(&self.socket, PollFlags::OUT)];
        poll(&mut polled, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).unwrap() > 0
    }

    /// Hears `Open` and answers it.
    pub(super) async fn gives_snapshot(&mut self) -> AgentSession {
        let ToSitter::Open { session } = self.hears().await else { panic!() };
        self.says([ToAgent::Snapshot { session, bytes: Bytes::from_static(b"snapshot") }]).await;
        session
    }

    /// Hears `Welcomed`.
    pub(super) async fn hears_welcome(&mut self, session: AgentSession) {
        let welcomed = ToSitter::Welcomed { session, store: STORE, term: TERM };
        assert_eq!(self.hears().await, welcomed);
    }

    /// Attaches to a conductor, which welcomes it.
    pub(super) async fn attaches_to(
        &mut self,
        conductor: &mut Conductor<'_>,
    ) -> (AgentSession, Attached) {
        let id = self.gives_snapshot().await;
        let session = conductor.welcomed().await;
        self.hears_welcome(id).await;
        (id, session)
    }

    /// Goes, and expects the agent to follow.
    pub(super) async fn goes(self) {
        drop(self.socket);
        let over = soon("the agent's end", self.agent).await.unwrap();
        assert!(matches!(over, LinkError::Closed), "{over:?}");
    }
}

pub(super) fn welcome() -> to_player::Frame {
    to_player::Frame::Welcome(v1::Welcome {
        protocol: PROTOCOL,
        version: "1".into(),
        store_id: Bytes::copy_from_slice(&STORE.0),
        term: TERM.0,
        come_back_within_ms: 1,
        names_sources: true,
    })
}

pub(super) fn command(text: &'static str) -> to_player::Frame {
    to_player::Frame::Command(Bytes::from_static(text.as_bytes()))
}

pub(super) fn report(session: AgentSession, bytes: impl Into<Bytes>) -> ToAgent {
    ToAgent::Report { session, bytes: bytes.into() }
}
