//! Players, and sets of them.

use orchestra_proto::v1;

use crate::{Client, Pages, client::answered, failure::Failure};

impl Client {
    /// The players of a host set; empty is all.
    pub async fn players(
        &mut self,
        hosts: &str,
        scores: bool,
    ) -> Result<Pages<v1::PlayerPage>, Failure> {
        let what = "listing players".to_owned();
        let request = v1::ListPlayersRequest { hosts: hosts.to_owned(), scores };
        let stream = answered(&what, self.rpc.list_players(request)).await?;
        Ok(Pages::new(stream, what))
    }

    /// Lets nothing new start on players.
    pub async fn drain(
        &mut self,
        hosts: String,
        reason: String,
    ) -> Result<v1::DrainResponse, Failure> {
        let request = v1::DrainRequest { hosts, reason };
        answered("draining players", self.rpc.drain(request)).await
    }

    /// Lets drained players work again.
    pub async fn undrain(&mut self, hosts: String) -> Result<v1::DrainResponse, Failure> {
        answered("undraining players", self.rpc.undrain(v1::UndrainRequest { hosts })).await
    }

    /// Goes on with quarantined players.
    pub async fn release_players(
        &mut self,
        hosts: String,
        reason: String,
    ) -> Result<v1::ReleasePlayersResponse, Failure> {
        let request = v1::ReleasePlayersRequest { hosts, reason };
        answered("releasing players from quarantine", self.rpc.release_players(request)).await
    }

    /// What may stand after an `@` in a host set.
    pub async fn groups(&mut self) -> Result<Pages<v1::GroupPage>, Failure> {
        let what = "listing groups".to_owned();
        let stream = answered(&what, self.rpc.list_groups(v1::ListGroupsRequest {})).await?;
        Ok(Pages::new(stream, what))
    }

    /// Resolves a host set with groups and labels; folded.
    pub async fn resolve(&mut self, hosts: &str) -> Result<String, Failure> {
        let request = v1::ResolveHostsRequest { hosts: hosts.to_owned() };
        let answer = answered("resolving the host set", self.rpc.resolve_hosts(request)).await?;
        Ok(answer.hosts)
    }
}
