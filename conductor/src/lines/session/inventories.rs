//! What players offer, decoded once for all that offer the same.
//!
//! Most of an attach is the player's inventory, and most players of a fleet have the same one, byte
//! for byte. So an inventory is known by a hash of its bytes, and a player that attaches with a
//! known one shares its list.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use orchestra_model::score::{Offers, WeakOffers};
use orchestra_proto::{Invalid, scores_from_wire};
use sha2::{Digest as _, Sha256};

/// The inventories that players have.
#[derive(Clone, Debug, Default)]
pub(super) struct Inventories(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    /// By a cryptographic hash, so that no player can pass its inventory off as another's.
    by_hash: HashMap<[u8; 32], WeakOffers>,
    /// At so many, those that no player has any more are removed.
    tidy_at: usize,
}

/// Below so many, unused ones are not looked for.
const FEW: usize = 64;

impl Inventories {
    /// Returns what these encoded offers say. They are decoded only if no player has the same ones.
    pub(super) fn read(&self, offers: &[Bytes]) -> Result<Offers, Invalid> {
        let hash = hash(offers);
        if let Some(known) = self.lock().get(&hash) {
            return Ok(known);
        }
        // Decoded without the lock, so that others need not wait, even if they decode the same.
        let offers = scores_from_wire(offers)?;
        Ok(self.lock().keep(hash, offers))
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn get(&self, hash: &[u8; 32]) -> Option<Offers> {
        self.by_hash.get(hash)?.upgrade()
    }

    /// Notes what was decoded, unless another session was faster; then returns that one's list.
    fn keep(&mut self, hash: [u8; 32], offers: Offers) -> Offers {
        if let Some(known) = self.get(&hash) {
            return known;
        }
        if self.by_hash.len() >= self.tidy_at.max(FEW) {
            self.by_hash.retain(|_, offers| !offers.is_gone());
            self.tidy_at = 2 * self.by_hash.len();
        }
        self.by_hash.insert(hash, offers.downgrade());
        offers
    }
}

fn hash(offers: &[Bytes]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for offer in offers {
        // The lengths are hashed too, because they tell where one offer ends and the next begins.
        hash.update(offer.len().to_le_bytes());
        hash.update(offer);
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use orchestra_proto::v1;
    use prost::Message as _;

    use super::*;

    fn offer(name: &str, why: &str) -> Bytes {
        let state = Some(v1::score_offer::State::Disabled(why.to_owned()));
        v1::ScoreOffer { name: name.to_owned(), hash: Bytes::new(), state }.encode_to_vec().into()
    }

    fn same(a: &Offers, b: &Offers) -> bool {
        std::ptr::eq(&**a, &**b)
    }

    #[test]
    fn who_offers_the_same_shares_a_list() {
        let inventories = Inventories::default();
        let read = |offers: &[Bytes]| inventories.read(offers).unwrap();
        let one = read(&[offer("x", "1"), offer("y", "1")]);
        let names: Vec<_> = one.iter().map(|offer| offer.name.as_str()).collect();
        assert_eq!(names, ["x", "y"]);
        assert!(same(&one, &read(&[offer("x", "1"), offer("y", "1")])));
        for other in [vec![offer("x", "1")], vec![offer("x", "1"), offer("y", "2")], vec![]] {
            assert!(!same(&one, &read(&other)), "{other:?}");
        }
    }

    #[test]
    fn what_is_known_is_not_decoded_again() {
        let inventories = Inventories::default();
        // Bytes that cannot be decoded, noted with a list.
        let bytes = [Bytes::from_static(b"\xff\xff\xff")];
        assert!(inventories.read(&bytes).is_err());
        let noted = scores_from_wire(&[offer("x", "1")]).unwrap();
        inventories.lock().keep(hash(&bytes), noted.clone());
        assert!(same(&inventories.read(&bytes).unwrap(), &noted));
    }

    #[test]
    fn who_was_faster_has_the_list() {
        let inventories = Inventories::default();
        let decode = || scores_from_wire(&[offer("x", "1")]).unwrap();
        let first = inventories.lock().keep([1; 32], decode());
        assert!(same(&first, &inventories.lock().keep([1; 32], decode())));
    }

    #[test]
    fn inventories_that_nobody_has_do_not_pile_up() {
        let inventories = Inventories::default();
        let mut kept = Vec::new();
        for n in 0..10_000 {
            let offers = inventories.read(&[offer("x", &n.to_string())]).unwrap();
            if n % 1_000 == 0 {
                kept.push(offers);
            }
        }
        assert!(inventories.lock().by_hash.len() <= 2 * FEW);
        assert!(same(&kept[3], &inventories.read(&[offer("x", "3000")]).unwrap()));
    }
}
