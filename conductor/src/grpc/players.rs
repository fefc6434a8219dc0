//! The calls of players.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use orchestra_certs::Peer;
use orchestra_model::HostName;
use orchestra_proto::v1::{self, players_server::Players};
use tokio_stream::{Stream, StreamExt as _};
use tonic::{Request, Response, Status, Streaming};

use super::status::line_lost;
use crate::lines::{Frames, Goodbye, PlayerLines};

/// The service for players.
#[derive(Clone, Debug)]
pub(crate) struct PlayerCalls(PlayerLines);

impl PlayerCalls {
    pub(crate) fn new(lines: PlayerLines) -> Self {
        Self(lines)
    }
}

#[tonic::async_trait]
impl Players for PlayerCalls {
    type AttachStream = ToPlayers;

    async fn attach(
        &self,
        request: Request<Streaming<v1::FromPlayers>>,
    ) -> Result<Response<ToPlayers>, Status> {
        let peer = request.extensions().get::<Peer>().cloned();
        let peer = peer.ok_or_else(|| Status::unauthenticated("no verified certificate"))?;
        let host = HostName::new(peer.identity.name())
            .map_err(|error| Status::unauthenticated(error.to_string()))?;
        let incoming = request.into_inner().map(|message| message.map_err(line_lost));
        let frames = self.0.attach(peer, host, incoming).await?;
        Ok(Response::new(ToPlayers(frames)))
    }
}

/// What goes out on a stream. A goodbye becomes its status.
#[derive(Debug)]
pub(crate) struct ToPlayers(Frames);

impl Stream for ToPlayers {
    type Item = Result<v1::ToPlayers, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = Pin::new(&mut self.0).poll_next(cx);
        next.map(|item| item.map(|item| item.map_err(Status::from)))
    }
}

impl From<Goodbye> for Status {
    fn from(goodbye: Goodbye) -> Self {
        match goodbye {
            Goodbye::Done(reason) => Status::ok(reason),
            Goodbye::Declined(declined) => declined.into(),
        }
    }
}
