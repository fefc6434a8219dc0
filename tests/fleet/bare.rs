//! The least that a server of the protocol can do: TLS, tonic, a welcome, and nothing after it.
//! What the conductor costs is told beside what this one costs.

use std::{pin::Pin, task::Poll};

use bytes::Bytes;
use orchestra_ca::Ca;
use orchestra_certs::{Limits, Reloadable, Role, Subject, incoming, server_config};
use orchestra_proto::{
    PROTOCOL,
    v1::{
        FromPlayers, ToPlayer, ToPlayers, Welcome,
        players_server::{Players, PlayersServer},
        to_player::Frame,
    },
};
use tokio::net::TcpListener;
use tokio_stream::Stream;
use tonic::{Request, Response, Status, Streaming, transport::Server};

use crate::{
    args::Bare,
    trouble::{During as _, Result},
};

/// Serves until its process is killed.
pub(crate) async fn serve(args: &Bare) -> Result<()> {
    const WHAT: &str = "serving";
    let ca = Ca::open(&args.ca).during(WHAT)?;
    let subject = Subject::new(Role::Conductor, args.name.as_str()).during(WHAT)?;
    let tls = server_config(&ca.files(&subject), ca.domain()).during(WHAT)?;
    let listener = TcpListener::bind("127.0.0.1:0").await.during(WHAT)?;
    println!("{}", listener.local_addr().during(WHAT)?);
    Server::builder()
        .add_service(PlayersServer::new(Service))
        .serve_with_incoming(incoming(listener, Reloadable::new(tls), Limits::default()))
        .await
        .during(WHAT)
}

#[derive(Clone, Copy, Debug)]
struct Service;

#[tonic::async_trait]
impl Players for Service {
    type AttachStream = Once;

    async fn attach(
        &self,
        request: Request<Streaming<FromPlayers>>,
    ) -> std::result::Result<Response<Once>, Status> {
        let mut incoming = request.into_inner();
        let first = incoming.message().await?.unwrap_or_default();
        let player = first.frames.into_iter().next().unwrap_or_default().player;
        let welcome = Welcome {
            protocol: PROTOCOL,
            version: String::new(),
            store_id: Bytes::from_static(&[0; 16]),
            term: 1,
        };
        let frames = vec![ToPlayer { player, frame: Some(Frame::Welcome(welcome)) }];
        Ok(Response::new(Once { message: Some(ToPlayers { frames }), _incoming: incoming }))
    }
}

/// One message, and then the stream stands.
struct Once {
    message: Option<ToPlayers>,
    /// Dropped, it would end the call's other half.
    _incoming: Streaming<FromPlayers>,
}

impl Stream for Once {
    type Item = std::result::Result<ToPlayers, Status>;

    fn poll_next(
        mut self: Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> Poll<Option<Self::Item>> {
        match self.message.take() {
            Some(message) => Poll::Ready(Some(Ok(message))),
            // Hyper asks again when the connection ends, and drops it then.
            None => Poll::Pending,
        }
    }
}
