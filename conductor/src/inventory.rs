//! Which scores players offer: what each said when it attached last, since this conductor started.
//!
//! It advises; the player has the last word. A submission that no target could accept is refused
//! before it is stored, and whoever submits hears which hosts lack a score or hold another version
//! of it ([`survey`]). What a player offered before a restart of the conductor is not remembered:
//! until it attaches, it is *unheard*, and may hold anything.
//!
//! The driver writes, one player at a time; whoever asks reads a page at a time, so that a survey
//! of the whole fleet keeps the driver waiting no longer than one of a few hosts. Players with the
//! same scores share one list, which for most fleets is all of them.

mod survey;

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use orchestra_model::{HostName, score::ScoreOffer};

pub(crate) use self::survey::{Refusal, Survey};

/// What players offer, for the driver and those who survey it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Inventory(Arc<Mutex<Players>>);

#[derive(Debug, Default)]
struct Players {
    known: HashMap<HostName, Known>,
    lists: Lists,
}

/// What is known of a player that has attached.
#[derive(Clone, Debug)]
struct Known {
    /// In the order of their names.
    offers: Arc<[ScoreOffer]>,
    attached: bool,
}

/// Hosts that are looked up in one go.
const PAGE: usize = 1_000;

impl Inventory {
    /// Takes in what a player said when it attached.
    pub(crate) fn attached(&self, host: &HostName, offers: &[ScoreOffer]) {
        let mut players = self.lock();
        let offers = players.lists.share(offers);
        players.known.insert(host.clone(), Known { offers, attached: true });
    }

    /// The player is not attached any more. What it offered stays.
    pub(crate) fn detached(&self, host: &HostName) {
        if let Some(known) = self.lock().known.get_mut(host) {
            known.attached = false;
        }
    }

    /// What a player offers, by name; nothing where it is unheard.
    pub(crate) fn offers(&self, host: &HostName) -> Vec<ScoreOffer> {
        let offers = self.lock().known.get(host).map(|known| Arc::clone(&known.offers));
        offers.map_or_else(Vec::new, |offers| offers.to_vec())
    }

    /// What is known of each of these, in their order.
    fn look_up(&self, hosts: &[HostName]) -> Vec<Option<Known>> {
        let pages = hosts.chunks(PAGE);
        let page = |hosts: &[HostName]| -> Vec<Option<Known>> {
            let players = self.lock();
            hosts.iter().map(|host| players.known.get(host).cloned()).collect()
        };
        pages.flat_map(page).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Players> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lists of offers, each once, by a number over what is in them.
#[derive(Debug, Default)]
struct Lists {
    by_print: HashMap<u64, Vec<Weak<[ScoreOffer]>>>,
    /// At so many prints, those of lists that nobody has any more are looked for.
    tidy_at: usize,
}

/// Fewer prints than these are not worth looking through.
const FEW: usize = 64;

impl Lists {
    /// The one list of these offers.
    fn share(&mut self, offers: &[ScoreOffer]) -> Arc<[ScoreOffer]> {
        if self.by_print.len() >= self.tidy_at.max(FEW) {
            self.by_print.retain(|_, lists| {
                lists.retain(|list| list.strong_count() > 0);
                !lists.is_empty()
            });
            self.tidy_at = 2 * self.by_print.len();
        }
        let mut sorted: Vec<&ScoreOffer> = offers.iter().collect();
        sorted.sort_unstable_by_key(|offer| &offer.name);
        let lists = self.by_print.entry(print(&sorted)).or_default();
        let same = |list: &Arc<[ScoreOffer]>| list.iter().eq(sorted.iter().copied());
        if let Some(list) = lists.iter().filter_map(Weak::upgrade).find(same) {
            return list;
        }
        let list: Arc<[ScoreOffer]> = sorted.into_iter().cloned().collect();
        lists.push(Arc::downgrade(&list));
        list
    }
}

/// A number that lists which differ seldom share.
fn print(offers: &[&ScoreOffer]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for offer in offers {
        (&offer.name, offer.hash).hash(&mut hasher);
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use orchestra_model::{
        ScoreName,
        score::{ScoreHash, ScoreSpec},
    };

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
    fn players_with_the_same_scores_share_a_list() {
        let inventory = Inventory::default();
        inventory.attached(&host("a"), &[offer("x", 1), offer("y", 1)]);
        inventory.attached(&host("b"), &[offer("y", 1), offer("x", 1)]);
        inventory.attached(&host("c"), &[offer("x", 2), offer("y", 1)]);
        let known = inventory.look_up(&["a", "b", "c", "d"].map(host));
        let list = |n: usize| &known[n].as_ref().unwrap().offers;
        assert!(Arc::ptr_eq(list(0), list(1)) && !Arc::ptr_eq(list(0), list(2)));
        assert!(known[3].is_none());
        let names: Vec<_> = inventory.offers(&host("b")).into_iter().map(|o| o.name).collect();
        assert_eq!(names.iter().map(ScoreName::as_str).collect::<Vec<_>>(), ["x", "y"]);
    }

    #[test]
    fn a_player_that_went_is_remembered_and_one_that_comes_back_is_heard_anew() {
        let inventory = Inventory::default();
        inventory.attached(&host("a"), &[offer("x", 1)]);
        inventory.detached(&host("a"));
        inventory.detached(&host("b"));
        let known = inventory.look_up(&[host("a")]).remove(0).unwrap();
        assert!(!known.attached && known.offers.len() == 1);
        inventory.attached(&host("a"), &[]);
        let known = inventory.look_up(&[host("a")]).remove(0).unwrap();
        assert!(known.attached && known.offers.is_empty());
    }

    #[test]
    fn lists_that_nobody_has_do_not_pile_up() {
        let inventory = Inventory::default();
        for n in 0..10_000 {
            inventory.attached(&host("a"), &[offer(&format!("x{n}"), 1)]);
        }
        assert!(inventory.lock().lists.by_print.len() <= 2 * FEW);
    }
}
