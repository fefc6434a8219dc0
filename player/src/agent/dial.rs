//! Reaching a conductor as a player: a connection that both ends have proved themselves on.

use std::time::{Duration, SystemTime};

use orchestra_certs::{Credentials, Files, Subject};
use orchestra_model::HostName;
use tonic::transport::Channel;

use super::failure::Failure;
use crate::config::{Config, Endpoint};

/// Longest wait for TCP and TLS together.
const LIMIT: Duration = Duration::from_secs(10);

/// Makes connections in the name of one player.
pub trait Dial: Sync {
    /// Where conductors listen, tried in turn; at least one.
    fn conductors(&self) -> &[Endpoint];

    /// One attempt, bounded in time. Returns whose certificate was shown, too.
    fn dial(
        &self,
        endpoint: &Endpoint,
    ) -> impl Future<Output = Result<(Channel, HostName), Failure>> + Send;
}

impl Dial for Config {
    fn conductors(&self) -> &[Endpoint] {
        &self.conductors
    }

    /// Reads the certificate anew each time, so that a renewed one needs no restart. The connection
    /// ends when the conductor's certificate does, or is revoked by a list that came later.
    async fn dial(&self, endpoint: &Endpoint) -> Result<(Channel, HostName), Failure> {
        let tls = &self.tls;
        let (ca, cert, key, crl) =
            (tls.ca.clone(), tls.cert.clone(), tls.key.clone(), tls.crl.clone());
        let files = Files { ca, cert, key, crl };
        let credentials = Credentials::load(&files, &self.domain).map_err(Failure::Credentials)?;
        let Subject::Player(player) = &credentials.identity().subject else {
            return Err(Failure::NotAPlayer(credentials.identity().clone()));
        };
        if let Some(until) = credentials.run_out(SystemTime::now()) {
            tracing::warn!(
                until,
                "the revocation list has run out: whom it names is not obeyed, and who was revoked \
                 since is; put a newer one in its place"
            );
        }
        let address = endpoint.to_string();
        let channel =
            orchestra_certs::channel_to(&self.conductor_name, &address, &credentials, LIMIT);
        let channel = channel.await.map_err(Failure::Connect)?;
        Ok((channel, player.clone()))
    }
}
