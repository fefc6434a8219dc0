//! The instances of a service, by host and by number.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Deref,
};

use orchestra_model::{HostName, service::Ordinal};

use super::Placed;

/// The instances of a service, by host. Which hosts have an instance of a number is known too: mostly
/// one, and two while it moves.
#[derive(Clone, Debug, Default)]
pub(crate) struct Placements {
    by_host: BTreeMap<HostName, Placed>,
    by_ordinal: BTreeMap<Ordinal, BTreeSet<HostName>>,
}

impl Placements {
    /// Gives a host an instance, in place of the one that it has.
    pub(crate) fn insert(&mut self, host: HostName, placed: Placed) {
        self.remove(&host);
        self.by_ordinal.entry(placed.instance.ordinal).or_default().insert(host.clone());
        self.by_host.insert(host, placed);
    }

    /// Takes a host's instance away.
    pub(crate) fn remove(&mut self, host: &HostName) {
        let Some(before) = self.by_host.remove(host) else { return };
        let ordinal = before.instance.ordinal;
        let others = self.by_ordinal.get_mut(&ordinal);
        if others.is_some_and(|hosts| hosts.remove(host) && hosts.is_empty()) {
            self.by_ordinal.remove(&ordinal);
        }
    }

    /// Returns what is known of a host's instance. Which instance it is, is changed by
    /// [`Placements::insert`] alone.
    pub(crate) fn get_mut(&mut self, host: &HostName) -> Option<&mut Placed> {
        self.by_host.get_mut(host)
    }

    /// Returns what is known of each instance, as [`Placements::get_mut`] does.
    pub(crate) fn values_mut(&mut self) -> impl Iterator<Item = &mut Placed> {
        self.by_host.values_mut()
    }

    /// Returns the number of a host's instance.
    pub(crate) fn ordinal_on(&self, host: &HostName) -> Option<Ordinal> {
        self.by_host.get(host).map(|placed| placed.instance.ordinal)
    }

    /// Returns the hosts that have an instance of a number.
    pub(crate) fn hosts_of(&self, ordinal: Ordinal) -> impl Iterator<Item = &HostName> {
        self.by_ordinal.get(&ordinal).into_iter().flatten()
    }

    /// Returns other hosts that have the same instance as a host.
    pub(crate) fn others_of(&self, host: &HostName) -> impl Iterator<Item = &HostName> {
        let ordinal = self.ordinal_on(host);
        ordinal.into_iter().flat_map(|it| self.hosts_of(it)).filter(move |other| *other != host)
    }

    /// Returns the numbers that instances have.
    pub(crate) fn ordinals(&self) -> impl Iterator<Item = Ordinal> {
        self.by_ordinal.keys().copied()
    }

    /// Checks that each instance is found by its number.
    pub(crate) fn audit(&self) -> Result<(), String> {
        let mut expected: BTreeMap<Ordinal, BTreeSet<HostName>> = BTreeMap::new();
        for (host, placed) in &self.by_host {
            expected.entry(placed.instance.ordinal).or_default().insert(host.clone());
        }
        match expected == self.by_ordinal {
            true => Ok(()),
            false => Err("an instance is not found by its number".to_owned()),
        }
    }
}

/// What is known of all instances can be read; it is changed by the methods above alone.
impl Deref for Placements {
    type Target = BTreeMap<HostName, Placed>;

    fn deref(&self) -> &Self::Target {
        &self.by_host
    }
}
