//! Who holds which version of which score: the offers of a fleet, grouped.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use super::{Offers, ScoreOffer};
use crate::{
    hostset::HostSet,
    names::{HostName, ScoreName},
};

/// A version of a score, and the players that hold it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldScore {
    pub offer: ScoreOffer,
    /// Folded.
    pub hosts: Arc<str>,
    /// How many they are.
    pub count: u32,
}

/// Players and what they offer. Mostly all of a fleet share one list.
#[derive(Debug, Default)]
pub struct Holdings {
    lists: Vec<(Offers, Vec<HostName>)>,
    /// The places of the lists, by their addresses.
    places: HashMap<usize, usize>,
}

impl Holdings {
    /// Notes a player that told its offers.
    pub fn add(&mut self, host: HostName, offers: &Offers) {
        let place = *self.places.entry(offers.address()).or_insert(self.lists.len());
        if place == self.lists.len() {
            self.lists.push((offers.clone(), Vec::new()));
        }
        self.lists[place].1.push(host);
    }

    /// Returns all players, and each version that some of them hold: by name, and that of most players
    /// first. `only`: of this name alone.
    pub fn finish(self, only: Option<&ScoreName>) -> (HostSet, Vec<HeldScore>) {
        let lists = self.lists.into_iter();
        let lists: Vec<(Offers, Holders)> =
            lists.map(|(offers, hosts)| (offers, Holders::from(hosts))).collect();
        // Each version with the places of the lists that have it.
        let mut by_name: BTreeMap<&ScoreName, Vec<(&ScoreOffer, Vec<usize>)>> = BTreeMap::new();
        for (place, (offers, _)) in lists.iter().enumerate() {
            for offer in offers.iter().filter(|offer| only.is_none_or(|name| *name == offer.name)) {
                let versions = by_name.entry(&offer.name).or_default();
                match versions.iter_mut().find(|(known, _)| *known == offer) {
                    Some((_, places)) => places.push(place),
                    None => versions.push((offer, vec![place])),
                }
            }
        }
        let mut held = Vec::new();
        for versions in by_name.into_values() {
            let version = |(offer, places): (&ScoreOffer, Vec<usize>)| {
                let (hosts, count) = match places[..] {
                    [place] => lists[place].1.folded(),
                    _ => Holders::of(places.iter().map(|place| &lists[*place].1)).folded(),
                };
                HeldScore { offer: offer.clone(), hosts, count }
            };
            let mut versions: Vec<HeldScore> = versions.into_iter().map(version).collect();
            versions.sort_by_key(|version| std::cmp::Reverse(version.count));
            held.extend(versions);
        }
        (Holders::of(lists.iter().map(|(_, holders)| holders)).0, held)
    }
}

/// Players that hold the same.
struct Holders(HostSet, Arc<str>);

impl From<Vec<HostName>> for Holders {
    fn from(hosts: Vec<HostName>) -> Self {
        let hosts = HostSet::from_names(hosts);
        let text = hosts.to_string().into();
        Self(hosts, text)
    }
}

impl Holders {
    fn of<'a>(parts: impl Iterator<Item = &'a Holders>) -> Self {
        let names = parts.flat_map(|Holders(hosts, _)| hosts.as_slice()).cloned();
        names.collect::<Vec<_>>().into()
    }

    fn folded(&self) -> (Arc<str>, u32) {
        let Self(hosts, text) = self;
        (Arc::clone(text), u32::try_from(hosts.len()).unwrap_or(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::score::{ScoreHash, ScoreSpec};

    fn offer(name: &str, version: u8) -> ScoreOffer {
        ScoreOffer {
            name: ScoreName::new(name).unwrap(),
            hash: Some(ScoreHash([version; 32])),
            spec: Ok(ScoreSpec::default()),
        }
    }

    #[test]
    fn versions_are_told_with_who_holds_them_however_lists_are_shared() {
        let shared: Offers = vec![offer("hello", 1), offer("web", 1)].into();
        let mut holdings = Holdings::default();
        let host = |name: &str| HostName::new(name).unwrap();
        holdings.add(host("fe9"), &vec![offer("hello", 2), offer("web", 1)].into());
        for name in ["fe1", "fe2", "fe3"] {
            holdings.add(host(name), &shared);
        }
        holdings.add(host("db1"), &Offers::default());
        let (heard, held) = holdings.finish(None);
        assert_eq!(heard.to_string(), "db1,fe[1-3,9]");
        let held: Vec<_> =
            held.iter().map(|held| (held.offer.clone(), &*held.hosts, held.count)).collect();
        assert_eq!(
            held,
            [
                (offer("hello", 1), "fe[1-3]", 3),
                (offer("hello", 2), "fe9", 1),
                (offer("web", 1), "fe[1-3,9]", 4),
            ]
        );
    }

    #[test]
    fn one_name_is_told_alone() {
        let mut holdings = Holdings::default();
        let host = HostName::new("fe1").unwrap();
        holdings.add(host, &vec![offer("hello", 1), offer("web", 1)].into());
        let (_, held) = holdings.finish(Some(&ScoreName::new("web").unwrap()));
        assert_eq!(held.len(), 1);
        assert_eq!(held[0].offer, offer("web", 1));
    }
}
