//! The server: both services, with the layers around them.

use std::time::Duration;

use orchestra_certs::Incoming;
use orchestra_model::limits;
use orchestra_proto::v1::{audience_server::AudienceServer, players_server::PlayersServer};
use tokio::sync::watch;
use tonic::transport::{self, Server};

use super::{
    access::AccessLayer, audience::AudienceCalls, bounds::BoundsLayer, players::PlayerCalls,
};
use crate::{desk::Desk, incidents::Incidents, lines::PlayerLines};

/// How often a ping is sent over each connection, and how long its answer may take. It finds a peer
/// that does nothing any more although its host lives, within the time in which the kernel notices a
/// host that is gone (`orchestra_certs`). It is no more often than that because each ping costs an
/// idle connection.
const PING_INTERVAL: Duration = Duration::from_secs(35);
const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// Most calls at once on one connection: a tool has two, a player one.
const CALLS: u32 = 128;
/// Most bytes of requests on one connection that are on their way or not read yet. This much a peer
/// may leave unread with each of its connections. A submission of megabytes comes in several
/// rounds.
const WINDOW: u32 = 256 << 10;
/// Longest headers of a call, in bytes: ours have a few hundred.
const HEADERS: u32 = 8 << 10;

/// Runs the server until it is told to stop and every connection has ended.
pub(crate) async fn listen(
    incoming: Incoming,
    lines: PlayerLines,
    desk: Desk,
    incidents: Incidents,
    mut until: watch::Receiver<bool>,
) -> Result<(), transport::Error> {
    Server::builder()
        .http2_keepalive_interval(Some(PING_INTERVAL))
        .http2_keepalive_timeout(Some(PING_TIMEOUT))
        .max_concurrent_streams(CALLS)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .http2_max_header_list_size(HEADERS)
        .layer(AccessLayer::new(incidents))
        .layer(BoundsLayer::new())
        .add_service(
            PlayersServer::new(PlayerCalls::new(lines))
                .max_decoding_message_size(limits::MESSAGE_BYTES)
                .max_encoding_message_size(limits::MESSAGE_BYTES),
        )
        .add_service(
            AudienceServer::new(AudienceCalls::new(desk))
                .max_decoding_message_size(limits::MESSAGE_BYTES)
                .max_encoding_message_size(limits::MESSAGE_BYTES),
        )
        .serve_with_incoming_shutdown(incoming, async move {
            // The sender outlives the server, so this ends only when it is told to.
            let _ = until.wait_for(|stopping| *stopping).await;
        })
        .await
}
