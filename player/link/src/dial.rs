//! Reaching a conductor as a player: a connection on which both ends have proved who they are.

use std::time::{Duration, SystemTime};

use orchestra_certs::{Credentials, NewestLists, Subject, TlsFiles, x509};
use orchestra_model::HostName;
use tonic::transport::Channel;

use crate::{endpoint::Endpoint, failure::SessionFailure};

/// Longest wait for TCP and TLS together.
const LIMIT: Duration = Duration::from_secs(10);

/// Makes connections in the name of one player.
pub trait Dial: Sync {
    /// Where conductors listen, tried in turn; at least one.
    fn conductors(&self) -> &[Endpoint];

    /// Makes one attempt, bounded in time. Returns also the name in the certificate that the player
    /// showed.
    fn dial(
        &self,
        endpoint: &Endpoint,
    ) -> impl Future<Output = Result<(Channel, HostName), SessionFailure>> + Send;
}

/// How a player reaches its conductors: whom it dials, whom it accepts, and what it shows.
#[derive(Clone, Debug)]
pub struct Dialler {
    /// Where conductors listen, tried in turn; at least one.
    pub conductors: Vec<Endpoint>,
    /// The only conductor that is accepted, by the name in its certificate.
    pub conductor_name: HostName,
    /// The only domain whose certificates are accepted.
    pub domain: HostName,
    /// The player's certificate and key, and its authority's.
    pub files: TlsFiles,
    /// The newest revocation lists that the player has applied.
    pub newest: NewestLists,
}

impl Dial for Dialler {
    fn conductors(&self) -> &[Endpoint] {
        &self.conductors
    }

    /// Reads the certificate anew each time, so that a renewed one needs no restart. The connection
    /// ends when the conductor's certificate expires, or when a later list revokes it.
    async fn dial(&self, endpoint: &Endpoint) -> Result<(Channel, HostName), SessionFailure> {
        let credentials = Credentials::load_after(&self.files, &self.domain, &self.newest)
            .map_err(SessionFailure::Credentials)?;
        let Subject::Player(player) = &credentials.identity().subject else {
            return Err(SessionFailure::NotAPlayer(credentials.identity().clone()));
        };
        if credentials.ends_soon(SystemTime::now()) {
            let until = x509::moment(credentials.ends());
            tracing::warn!(
                until,
                "this player's certificate ends soon: bring the next one (`orchestra-certs renew`), which \
                 the next connection takes"
            );
        }
        if let Some(until) = credentials.run_out(SystemTime::now()) {
            tracing::warn!(
                until,
                "the revocation list has run out: whom it names is not obeyed, and who was revoked \
                 since is; put a newer one in its place"
            );
        }
        if let Some(older) = credentials.older_list() {
            tracing::warn!("{older}");
        }
        let address = endpoint.to_string();
        let channel =
            orchestra_certs::channel_to(&self.conductor_name, &address, &credentials, LIMIT);
        let channel = channel.await.map_err(SessionFailure::Connect)?;
        Ok((channel, player.clone()))
    }
}
