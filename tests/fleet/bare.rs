//! The least that a server of the protocol can do: what the conductor costs is told beside what
//! this one costs.
//!
//! By itself it says welcome, and nothing after it. With `--echo` it gives every player one order
//! for each line on its standard input, and acknowledges what comes back: the messages of a ping,
//! with nothing that decides behind them, and no disk.

use std::{
    io::BufRead as _,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::Poll,
    thread,
};

use bytes::Bytes;
use orchestra_ca::Ca;
use orchestra_certs::{Door, Limits, Role, Subject, acceptance, incoming};
use orchestra_proto::{
    PROTOCOL,
    v1::{
        self, FromPlayers, ToPlayer, ToPlayers, Welcome,
        command::Kind,
        from_player::Frame as From,
        players_server::{Players, PlayersServer},
        to_player::Frame,
    },
};
use prost::Message as _;
use tokio::{net::TcpListener, sync::mpsc};
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tonic::{Request, Response, Status, Streaming, transport::Server};

use crate::{
    args::Bare,
    trouble::{During as _, Result},
};

/// Of the store that there is not.
const STORE: Bytes = Bytes::from_static(&[0; 16]);
/// Messages that wait for one player: an order, and what is acknowledged meanwhile.
const WAITING: usize = 8;

/// Serves until its process is killed.
pub(crate) async fn serve(args: &Bare) -> Result<()> {
    const WHAT: &str = "serving";
    let ca = Ca::open(&args.ca).during(WHAT)?;
    let subject = Subject::new(Role::Conductor, args.name.as_str()).during(WHAT)?;
    let tls = acceptance(&ca.files(&subject), ca.domain()).during(WHAT)?;
    let listener = TcpListener::bind("127.0.0.1:0").await.during(WHAT)?;
    println!("{}", listener.local_addr().during(WHAT)?);
    let service = Service { streams: args.echo.then(Streams::default) };
    if let Some(streams) = service.streams.clone() {
        thread::spawn(move || {
            let lines = std::io::stdin().lock().lines();
            (1..)
                .zip(lines.map_while(std::io::Result::ok))
                .for_each(|(round, _)| order(&streams, round));
        });
    }
    Server::builder()
        .add_service(PlayersServer::new(service))
        .serve_with_incoming(incoming(listener, Door::new(tls), Limits::default()))
        .await
        .during(WHAT)
}

/// Every player's name, and what leads to it.
type Streams = Arc<Mutex<Vec<(String, mpsc::Sender<Answer>)>>>;
type Answer = std::result::Result<ToPlayers, Status>;

#[derive(Clone, Debug)]
struct Service {
    /// Where orders go to; `None`: there are none.
    streams: Option<Streams>,
}

/// Orders the one attempt of a round of everybody.
fn order(streams: &Streams, round: u64) {
    let job = Some(v1::JobId { flow: round, slot: 1, job: 1 });
    let key = Some(v1::AttemptKey { store_id: STORE, job, attempt: 1 });
    let digest = Bytes::from_static(&[0; 32]);
    let mac = Bytes::from_static(&[5; 16]);
    let order = v1::Order {
        number: round,
        key,
        job_digest: digest,
        timeout_ms: None,
        mac,
        ..Default::default()
    };
    let order = command(Kind::Order(order));
    for (player, sender) in streams.lock().unwrap_or_else(PoisonError::into_inner).iter() {
        let frames = vec![frame(player, Frame::Command(order.clone()))];
        // Whoever has not taken earlier ones is measured as slow.
        let _ = sender.try_send(Ok(ToPlayers { frames }));
    }
}

fn command(kind: Kind) -> Bytes {
    v1::Command { store_id: STORE, term: 1, kind: Some(kind) }.encode_to_vec().into()
}

fn frame(player: &str, frame: Frame) -> ToPlayer {
    ToPlayer { player: player.to_owned(), frame: Some(frame) }
}

/// Acknowledges each end.
async fn acknowledge(
    player: String,
    mut incoming: Streaming<FromPlayers>,
    sender: mpsc::Sender<Answer>,
) {
    while let Ok(Some(message)) = incoming.message().await {
        let ends = message.frames.into_iter().filter_map(|frame| {
            let Some(From::Report(bytes)) = frame.frame else { return None };
            let report = v1::Report::decode(bytes).ok()?;
            matches!(report.kind, Some(v1::report::Kind::Ended(_))).then_some(report.key)
        });
        let acknowledge = |key| v1::Acknowledge { key, order: 0 };
        let frames = ends
            .map(|key| frame(&player, Frame::Command(command(Kind::Acknowledge(acknowledge(key))))))
            .collect();
        if sender.send(Ok(ToPlayers { frames })).await.is_err() {
            return;
        }
    }
}

#[tonic::async_trait]
impl Players for Service {
    type AttachStream = Pin<Box<dyn Stream<Item = Answer> + Send>>;

    async fn attach(
        &self,
        request: Request<Streaming<FromPlayers>>,
    ) -> std::result::Result<Response<Self::AttachStream>, Status> {
        let mut incoming = request.into_inner();
        let first = incoming.message().await?.unwrap_or_default();
        let player = first.frames.into_iter().next().unwrap_or_default().player;
        let welcome = Welcome {
            protocol: PROTOCOL,
            version: String::new(),
            store_id: STORE,
            term: 1,
            come_back_within_ms: 0,
            names_sources: false,
        };
        let message = ToPlayers { frames: vec![frame(&player, Frame::Welcome(welcome))] };
        let Some(streams) = &self.streams else {
            let once = Once { message: Some(message), _incoming: incoming };
            return Ok(Response::new(Box::pin(once)));
        };
        let (sender, messages) = mpsc::channel(WAITING);
        // The channel is empty.
        let _ = sender.try_send(Ok(message));
        tokio::spawn(acknowledge(player.clone(), incoming, sender.clone()));
        streams.lock().unwrap_or_else(PoisonError::into_inner).push((player, sender));
        Ok(Response::new(Box::pin(ReceiverStream::new(messages))))
    }
}

/// One message, and then the stream stands.
struct Once {
    message: Option<ToPlayers>,
    /// Dropped, it would end the call's other half.
    _incoming: Streaming<FromPlayers>,
}

impl Stream for Once {
    type Item = Answer;

    fn poll_next(
        mut self: Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> Poll<Option<Self::Item>> {
        match self.message.take() {
            Some(message) => Poll::Ready(Some(Ok(message))),
            // Hyper drops it when the connection ends.
            None => Poll::Pending,
        }
    }
}
