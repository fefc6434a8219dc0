//! Lists of players.

use orchestra_model::{HostSet, status::PlayerStatus};

use super::{
    Desk, Recipient, Stopped,
    listing::{LARGE_PAGE, PAGE},
};
use crate::driver::Request as Ask;

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
            to.give(self.ask(|reply| Ask::Players { hosts, scores, reply }).await?).await?;
        }
        Ok(())
    }
}
