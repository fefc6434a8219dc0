//! What players tell of their places, and many players' folded.

use std::{collections::BTreeMap, sync::Arc};

use super::{BundleRelease, PlaceTrust};
use crate::{
    hostset::HostSet,
    names::{BundleName, HostName, PlaceName},
};

/// All that a player tells of its places.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlacesReport {
    /// What is wrong with the directory of places itself: it cannot be read, or a file in it can be
    /// no place's.
    pub troubles: Vec<String>,
    /// Each place, in the order of their names.
    pub places: Vec<PlaceReport>,
}

/// One place of a host.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PlaceReport {
    pub name: PlaceName,
    /// What it takes and has, or why it is disabled.
    pub state: Result<PlaceStanding, String>,
}

/// What a place takes, and which releases it has.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PlaceStanding {
    /// The name whose bundles it takes.
    pub bundle: BundleName,
    /// The directory that it is.
    pub path: String,
    /// By what it believes that a bundle is meant for it.
    pub trust: PlaceTrust,
    /// The release to which it is switched.
    pub active: Option<BundleRelease>,
    /// Every release that is there, the active one too, by serial.
    pub kept: Vec<BundleRelease>,
    /// The highest release that it took, below whose serial it takes none.
    pub highest: Option<BundleRelease>,
}

/// A place as some hosts have it alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldPlace {
    pub place: PlaceReport,
    /// Folded.
    pub hosts: Arc<str>,
    /// How many they are.
    pub count: u32,
}

/// What is wrong with the directory of places of some hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldTrouble {
    pub why: Arc<str>,
    /// Folded.
    pub hosts: Arc<str>,
}

/// Players and the places that they told, grouped by what is the same.
#[derive(Debug, Default)]
pub struct PlaceHolders {
    heard: Vec<HostName>,
    places: BTreeMap<PlaceReport, Vec<HostName>>,
    troubles: BTreeMap<String, Vec<HostName>>,
}

impl PlaceHolders {
    /// Notes what a player told. `only`: of this place alone.
    pub fn add(&mut self, host: &HostName, report: &PlacesReport, only: Option<&PlaceName>) {
        self.heard.push(host.clone());
        for place in &report.places {
            if only.is_none_or(|name| *name == place.name) {
                // Most hosts tell what another told, so nothing is cloned for them.
                match self.places.get_mut(place) {
                    Some(hosts) => hosts.push(host.clone()),
                    None => drop(self.places.insert(place.clone(), vec![host.clone()])),
                }
            }
        }
        for why in &report.troubles {
            self.troubles.entry(why.clone()).or_default().push(host.clone());
        }
    }

    /// Returns the players that told their places; each place, by name and what most hosts have first;
    /// and what is wrong with the directory.
    pub fn finish(self) -> (HostSet, Vec<HeldPlace>, Vec<HeldTrouble>) {
        let folded = |hosts: Vec<HostName>| -> (Arc<str>, u32) {
            let count = u32::try_from(hosts.len()).unwrap_or(u32::MAX);
            (HostSet::from_names(hosts).to_string().into(), count)
        };
        let held = self.places.into_iter().map(|(place, hosts)| {
            let (hosts, count) = folded(hosts);
            HeldPlace { place, hosts, count }
        });
        let mut held: Vec<HeldPlace> = held.collect();
        held.sort_by(|one, other| {
            (&one.place.name, other.count).cmp(&(&other.place.name, one.count))
        });
        let troubles = self.troubles.into_iter();
        let troubles =
            troubles.map(|(why, hosts)| HeldTrouble { why: why.into(), hosts: folded(hosts).0 });
        (HostSet::from_names(self.heard), held, troubles.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(places: &[(&str, &str)], troubles: &[&str]) -> PlacesReport {
        let place = |(name, why): &(&str, &str)| PlaceReport {
            name: PlaceName::new(name).unwrap(),
            state: Err((*why).to_owned()),
        };
        PlacesReport {
            troubles: troubles.iter().map(|why| (*why).to_owned()).collect(),
            places: places.iter().map(place).collect(),
        }
    }

    #[test]
    fn what_is_the_same_is_told_once_with_its_hosts() {
        let mut holders = PlaceHolders::default();
        let host = |name: &str| HostName::new(name).unwrap();
        holders.add(&host("fe9"), &report(&[("app", "x"), ("site", "y")], &["gone"]), None);
        for name in ["fe1", "fe2"] {
            holders.add(&host(name), &report(&[("app", "x"), ("site", "z")], &[]), None);
        }
        holders.add(&host("db1"), &report(&[], &[]), None);
        let (heard, held, troubles) = holders.finish();
        assert_eq!(heard.to_string(), "db1,fe[1-2,9]");
        let told = |held: &HeldPlace| {
            let why = held.place.state.clone().unwrap_err();
            (held.place.name.to_string(), why, held.hosts.to_string(), held.count)
        };
        let line = |name: &str, why: &str, hosts: &str, count| {
            (name.to_owned(), why.to_owned(), hosts.to_owned(), count)
        };
        assert_eq!(
            held.iter().map(told).collect::<Vec<_>>(),
            [
                line("app", "x", "fe[1-2,9]", 3),
                line("site", "z", "fe[1-2]", 2),
                line("site", "y", "fe9", 1)
            ]
        );
        assert_eq!((&*troubles[0].why, &*troubles[0].hosts, troubles.len()), ("gone", "fe9", 1));
    }

    #[test]
    fn one_place_is_told_alone() {
        let mut holders = PlaceHolders::default();
        let only = PlaceName::new("site").unwrap();
        let told = report(&[("app", "x"), ("site", "y")], &[]);
        holders.add(&HostName::new("fe1").unwrap(), &told, Some(&only));
        assert_eq!(holders.finish().1.len(), 1);
    }
}
