//! Players, and sets of them.

use orchestra_model::{
    ScoreName,
    bundle::{BundleId, HeldPlace, HeldTrouble},
    names::PlaceName,
    relay::FetchStatus,
    score::HeldScore,
};
use orchestra_proto::v1;

use crate::{Client, Drained, Pages, ReleasedPlayers, client::answered, failure::Failure};

impl Client {
    /// Lists the players of a host set; empty stands for all.
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

    /// Lists which players of a host set hold which version of which score, or of one; an empty set
    /// stands for all. First the players that told their scores, folded.
    pub async fn scores(
        &mut self,
        hosts: &str,
        score: Option<&ScoreName>,
    ) -> Result<(String, Vec<HeldScore>), Failure> {
        let what = "listing scores".to_owned();
        let score = score.map(ToString::to_string).unwrap_or_default();
        let request = v1::ListScoresRequest { hosts: hosts.to_owned(), score };
        let stream = answered(&what, self.rpc.list_scores(request)).await?;
        let mut pages = Pages::new(stream, what);
        let (mut heard, mut held) = (String::new(), Vec::new());
        while let Some((players, scores)) = pages.next_item().await? {
            heard.push_str(&players);
            held.extend(scores);
        }
        Ok((heard, held))
    }

    /// Lists which players of a host set take bundles where, or in one place; an empty set stands for
    /// all. First the players that told their places, folded.
    pub async fn places(
        &mut self,
        hosts: &str,
        place: Option<&PlaceName>,
    ) -> Result<(String, Vec<HeldPlace>, Vec<HeldTrouble>), Failure> {
        let what = "listing places".to_owned();
        let place = place.map(ToString::to_string).unwrap_or_default();
        let request = v1::ListPlacesRequest { hosts: hosts.to_owned(), place };
        let stream = answered(&what, self.rpc.list_places(request)).await?;
        let mut pages = Pages::new(stream, what);
        let (mut heard, mut held, mut troubles) = (String::new(), Vec::new(), Vec::new());
        while let Some((players, places, wrong)) = pages.next_item().await? {
            heard.push_str(&players);
            held.extend(places);
            troubles.extend(wrong);
        }
        Ok((heard, held, troubles))
    }

    /// Lists how far bundles are that the players of a host set fetch, or one bundle; an empty set stands
    /// for all.
    pub async fn fetches(
        &mut self,
        hosts: &str,
        bundle: Option<BundleId>,
    ) -> Result<Vec<FetchStatus>, Failure> {
        let what = "asking how far bundles are".to_owned();
        let bundle = bundle.map(|id| id.0.to_vec()).unwrap_or_default().into();
        let request = v1::ListFetchesRequest { hosts: hosts.to_owned(), bundle };
        let stream = answered(&what, self.rpc.list_fetches(request)).await?;
        let mut pages = Pages::new(stream, what);
        let mut fetches = Vec::new();
        while let Some(fetch) = pages.next_item().await? {
            fetches.push(fetch);
        }
        Ok(fetches)
    }

    /// Lists what the hosts of a host set use, and their units if that is asked for; empty stands
    /// for all. This counts as a look: for half a minute their players tell each sample at once.
    pub async fn vitals(
        &mut self,
        hosts: &str,
        units: bool,
    ) -> Result<Pages<v1::VitalsPage>, Failure> {
        let what = "asking what hosts use".to_owned();
        let request = v1::ListVitalsRequest { hosts: hosts.to_owned(), units };
        let stream = answered(&what, self.rpc.list_vitals(request)).await?;
        Ok(Pages::new(stream, what))
    }

    /// Drains players: nothing new starts on them.
    pub async fn drain(&mut self, hosts: String, reason: String) -> Result<Drained, Failure> {
        let request = v1::DrainRequest { hosts, reason };
        Ok(answered("draining players", self.rpc.drain(request)).await?.into())
    }

    /// Undrains players, so that they work again.
    pub async fn undrain(&mut self, hosts: String) -> Result<Drained, Failure> {
        let request = v1::UndrainRequest { hosts };
        Ok(answered("undraining players", self.rpc.undrain(request)).await?.into())
    }

    /// Releases players from quarantine.
    pub async fn release_players(
        &mut self,
        hosts: String,
        reason: String,
    ) -> Result<ReleasedPlayers, Failure> {
        let request = v1::ReleasePlayersRequest { hosts, reason };
        let what = "releasing players from quarantine";
        Ok(answered(what, self.rpc.release_players(request)).await?.into())
    }

    /// Lists what may stand after an `@` in a host set.
    pub async fn groups(&mut self) -> Result<Pages<v1::GroupPage>, Failure> {
        let what = "listing groups".to_owned();
        let stream = answered(&what, self.rpc.list_groups(v1::ListGroupsRequest {})).await?;
        Ok(Pages::new(stream, what))
    }

    /// Resolves a host set with groups and labels. Returns it folded.
    pub async fn resolve(&mut self, hosts: &str) -> Result<String, Failure> {
        let request = v1::ResolveHostsRequest { hosts: hosts.to_owned() };
        let answer = answered("resolving the host set", self.rpc.resolve_hosts(request)).await?;
        Ok(answer.hosts)
    }
}
