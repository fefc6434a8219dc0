//! Lists of players.

use orchestra_model::{
    HostSet, ScoreName, names::PlaceName, score::HeldScore, status::PlayerStatus,
};

use super::{
    Desk, Recipient, Stopped,
    listing::{LARGE_PAGE, PAGE},
    off_the_runtime,
};
use crate::{driver::Request as Ask, places::ToldPlaces};

impl Desk {
    /// Lists players, with their scores if that is asked for.
    pub(crate) async fn list_players(
        &self,
        hosts: HostSet,
        scores: bool,
        to: &impl Recipient<Vec<PlayerStatus>>,
    ) -> Result<(), Stopped> {
        let size = if scores { LARGE_PAGE } else { PAGE };
        for hosts in hosts.as_slice().chunks(size as usize) {
            let hosts = hosts.to_vec();
            let mut players = self.ask(|reply| Ask::Players { hosts, scores, reply }).await?;
            for player in players.iter_mut().filter(|player| player.attached) {
                player.certificate_ends = self.reloader.certificate_end(&player.host);
            }
            to.give(players).await?;
        }
        Ok(())
    }

    /// Lists who holds which version of which score.
    pub(crate) async fn list_scores(
        &self,
        hosts: HostSet,
        only: Option<ScoreName>,
        to: &impl Recipient<(HostSet, Vec<HeldScore>)>,
    ) -> Result<(), Stopped> {
        let inventory = self.inventory.clone();
        let held = off_the_runtime(move || inventory.held(hosts.as_slice(), only.as_ref())).await?;
        to.give(held).await
    }

    /// Lists who takes bundles where, and which releases are there.
    pub(crate) async fn list_places(
        &self,
        hosts: HostSet,
        only: Option<PlaceName>,
        to: &impl Recipient<ToldPlaces>,
    ) -> Result<(), Stopped> {
        let places = self.places.clone();
        let told = off_the_runtime(move || places.held(hosts.as_slice(), only.as_ref())).await?;
        to.give(told).await
    }
}
