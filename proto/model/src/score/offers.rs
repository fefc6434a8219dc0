//! All that one player offers.

use std::{
    ops::Deref,
    sync::{Arc, Weak},
};

use super::ScoreOffer;
use crate::names::ScoreName;

/// What a player offers: each score once, in the order of their names.
///
/// Clones share one list, for the players of a fleet mostly offer the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offers(Arc<[ScoreOffer]>);

/// [`Offers`] for as long as somebody else has them.
#[derive(Clone, Debug)]
pub struct WeakOffers(Weak<[ScoreOffer]>);

impl Offers {
    /// What is offered under this name.
    pub fn get(&self, score: &ScoreName) -> Option<&ScoreOffer> {
        let at = self.0.binary_search_by(|offer| offer.name.cmp(score)).ok()?;
        self.0.get(at)
    }

    /// Where the list is: clones share it.
    pub(super) fn address(&self) -> usize {
        self.0.as_ptr().addr()
    }

    /// This list, without keeping it in memory.
    pub fn downgrade(&self) -> WeakOffers {
        WeakOffers(Arc::downgrade(&self.0))
    }
}

impl WeakOffers {
    /// The list, if somebody still has it.
    pub fn upgrade(&self) -> Option<Offers> {
        self.0.upgrade().map(Offers)
    }

    /// Whether nobody has the list any more.
    pub fn is_gone(&self) -> bool {
        self.0.strong_count() == 0
    }
}

/// Of several of one name, the first.
impl From<Vec<ScoreOffer>> for Offers {
    fn from(mut offers: Vec<ScoreOffer>) -> Self {
        // Stable, and quick where they are in order already, as players say them.
        offers.sort_by(|a, b| a.name.cmp(&b.name));
        offers.dedup_by(|later, first| later.name == first.name);
        Self(offers.into())
    }
}

impl FromIterator<ScoreOffer> for Offers {
    fn from_iter<I: IntoIterator<Item = ScoreOffer>>(offers: I) -> Self {
        offers.into_iter().collect::<Vec<_>>().into()
    }
}

impl Deref for Offers {
    type Target = [ScoreOffer];

    fn deref(&self) -> &[ScoreOffer] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(name: &str, why: &str) -> ScoreOffer {
        ScoreOffer { name: ScoreName::new(name).unwrap(), hash: None, spec: Err(why.to_owned()) }
    }

    #[test]
    fn each_score_is_there_once_and_found_by_name() {
        let offers =
            Offers::from(vec![offer("b", "1"), offer("c", "2"), offer("a", "3"), offer("b", "4")]);
        let names: Vec<_> = offers.iter().map(|offer| offer.name.as_str()).collect();
        assert_eq!(names, ["a", "b", "c"]);
        let found = |name| offers.get(&ScoreName::new(name).unwrap()).cloned();
        assert_eq!(found("b"), Some(offer("b", "1")));
        assert_eq!(found("d"), None);
    }

    #[test]
    fn who_only_knows_them_keeps_them_no_longer_than_others_do() {
        let offers = Offers::from(vec![offer("a", "1")]);
        let known = offers.downgrade();
        assert!(!known.is_gone());
        let same = known.upgrade().unwrap();
        assert!(std::ptr::eq(&*same, &*offers));
        drop((offers, same));
        assert!(known.is_gone() && known.upgrade().is_none());
    }
}
