//! The scores that players offer: what each said when it last attached, since this conductor
//! started.
//!
//! The inventory only advises; the player decides. A submission that no target could accept is
//! refused before it is stored, and the submitter is told which hosts lack a score or have another
//! version of it ([`survey`]). What a player offered before a restart of the conductor is not
//! remembered: until the player attaches it is *unheard*, and may have any score.
//!
//! The driver writes one player at a time, and a survey reads one page at a time. So a survey of
//! the whole fleet makes the driver wait no longer than one of a few hosts. Players with the same
//! scores share one list; in most fleets all players do.

mod survey;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use orchestra_model::{
    HostName, HostSet, ScoreName,
    score::{HeldScore, Holdings, Offers, ScoreOffer},
};

pub(crate) use self::survey::{Refusal, Survey, bounded};

/// What players offer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Inventory(Arc<Mutex<HashMap<HostName, Known>>>);

/// What is known of a player that has attached.
#[derive(Clone, Debug)]
struct Known {
    offers: Offers,
    attached: bool,
}

/// How many hosts are looked up at once.
const PAGE: usize = 1_000;

impl Inventory {
    /// Takes what a player said when it attached.
    pub(crate) fn attached(&self, host: &HostName, offers: Offers) {
        self.lock().insert(host.clone(), Known { offers, attached: true });
    }

    /// Notes that a player is not attached any more. What it offered stays.
    pub(crate) fn detached(&self, host: &HostName) {
        if let Some(known) = self.lock().get_mut(host) {
            known.attached = false;
        }
    }

    /// Returns what a player offers, by name; nothing if it is unheard.
    pub(crate) fn offers(&self, host: &HostName) -> Vec<ScoreOffer> {
        let offers = self.lock().get(host).map(|known| known.offers.clone());
        offers.map_or_else(Vec::new, |offers| offers.to_vec())
    }

    /// Returns those of these hosts that told their scores, and who of them holds which version of
    /// which score, or of one.
    pub(crate) fn held(
        &self,
        hosts: &[HostName],
        only: Option<&ScoreName>,
    ) -> (HostSet, Vec<HeldScore>) {
        let mut holdings = Holdings::default();
        for (host, known) in hosts.iter().zip(self.look_up(hosts)) {
            if let Some(Known { offers, attached }) = known
                && (attached || !offers.is_empty())
            {
                holdings.add(host.clone(), &offers);
            }
        }
        holdings.finish(only)
    }

    /// Returns what is known of each of these hosts, in their order.
    fn look_up(&self, hosts: &[HostName]) -> Vec<Option<Known>> {
        let pages = hosts.chunks(PAGE);
        let page = |hosts: &[HostName]| -> Vec<Option<Known>> {
            let players = self.lock();
            hosts.iter().map(|host| players.get(host).cloned()).collect()
        };
        pages.flat_map(page).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<HostName, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use orchestra_model::score::{ScoreHash, ScoreSpec};

    use super::*;

    pub(super) fn offer(name: &str, version: u8) -> ScoreOffer {
        ScoreOffer {
            name: ScoreName::new(name).unwrap(),
            hash: Some(ScoreHash([version; 32])),
            spec: Ok(ScoreSpec::default()),
        }
    }

    fn host(name: &str) -> HostName {
        HostName::new(name).unwrap()
    }

    #[test]
    fn what_a_player_offers_is_told_by_name() {
        let inventory = Inventory::default();
        inventory.attached(&host("a"), vec![offer("y", 1), offer("x", 1)].into());
        let names: Vec<_> = inventory.offers(&host("a")).into_iter().map(|o| o.name).collect();
        assert_eq!(names.iter().map(ScoreName::as_str).collect::<Vec<_>>(), ["x", "y"]);
        assert!(inventory.look_up(&[host("b")])[0].is_none());
    }

    #[test]
    fn a_player_that_went_is_remembered_and_one_that_comes_back_is_heard_anew() {
        let inventory = Inventory::default();
        inventory.attached(&host("a"), vec![offer("x", 1)].into());
        inventory.detached(&host("a"));
        inventory.detached(&host("b"));
        let known = inventory.look_up(&[host("a")]).remove(0).unwrap();
        assert!(!known.attached && known.offers.len() == 1);
        inventory.attached(&host("a"), Offers::default());
        let known = inventory.look_up(&[host("a")]).remove(0).unwrap();
        assert!(known.attached && known.offers.is_empty());
    }
}
