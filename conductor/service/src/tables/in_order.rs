//! Hosts by a moment, and in its order.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::{Bound, RangeBounds},
};

use orchestra_model::HostName;

/// Hosts that each have a moment, or none: found by host, and told in the order of their moments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HostsInOrder<T> {
    by_host: BTreeMap<HostName, T>,
    in_order: BTreeMap<T, BTreeSet<HostName>>,
}

// A derived one would ask that a moment has a default.
impl<T> Default for HostsInOrder<T> {
    fn default() -> Self {
        Self { by_host: BTreeMap::new(), in_order: BTreeMap::new() }
    }
}

impl<T: Copy + Ord> HostsInOrder<T> {
    /// Gives a host its moment; `None` takes the host out.
    pub(super) fn set(&mut self, host: &HostName, at: Option<T>) {
        let before = match at {
            Some(at) => self.by_host.insert(host.clone(), at),
            None => self.by_host.remove(host),
        };
        if before == at {
            return;
        }
        if let Some(before) = before
            && let Some(hosts) = self.in_order.get_mut(&before)
        {
            hosts.remove(host);
            if hosts.is_empty() {
                self.in_order.remove(&before);
            }
        }
        if let Some(at) = at {
            self.in_order.entry(at).or_default().insert(host.clone());
        }
    }

    pub(super) fn get(&self, host: &HostName) -> Option<T> {
        self.by_host.get(host).copied()
    }

    /// Returns the hosts whose moments are at `at` or before it.
    pub(super) fn until(&self, at: T) -> impl Iterator<Item = &HostName> {
        self.range(..=at).map(|(_, host)| host)
    }

    /// Returns the hosts whose moments come after `at`, with those.
    pub(super) fn after(&self, at: T) -> impl Iterator<Item = (T, &HostName)> {
        self.range((Bound::Excluded(at), Bound::Unbounded))
    }

    fn range(&self, moments: impl RangeBounds<T>) -> impl Iterator<Item = (T, &HostName)> {
        let hosts = self.in_order.range(moments);
        hosts.flat_map(|(at, hosts)| hosts.iter().map(|host| (*at, host)))
    }
}
