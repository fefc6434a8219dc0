//! Who fetches a bundle from whom, without any IO.
//!
//! A player that fetches a bundle asks for sources, and asks again when those that it has bring nothing.
//! [`Spread`] answers with hosts that have the bundle or are getting it. Nobody is told to fetch from
//! somebody: which source a player takes, and when it leaves one, is its own engine's (`orchestra-depot`).
//!
//! ```text
//! copy ──▶ 0 ──▶ 1 ──▶ 2 ──▶ …        large bundles, up to some hundred hosts: a row
//!
//! copy ─┬▶ 0 ─┬▶ 2                    small bundles, or many hosts: a tree of 2, 3 or 4 branches
//!       │     └▶ 3
//!       └▶ 1 ──▶ …
//! ```
//!
//! # What holds
//!
//! - **Nobody waits in a circle.** Hosts have *places*, in the order in which they asked first, and keep
//!   them. A host is told of hosts that have the whole bundle, of the copies that were registered, and
//!   of hosts that are still fetching only where their place is before its own.
//! - A host serves at most [`bounds::SERVED`] others, as far as it is up to this.
//! - Who could not be reached by its player's session, or was accused by [`bounds::ACCUSERS`] others, is
//!   named to nobody. What one host says of another moves that host alone.
//! - The same calls give the same answers.
//!
//! # What is left to others
//!
//! Nothing of this is durable: after a start of the conductor all who fetch ask again, and get places
//! anew. Whether a player may fetch a bundle at all, tickets, and addresses are the driver's.

pub mod bounds;

mod audit;
mod bundle;
mod shape;

use std::collections::BTreeMap;

use orchestra_model::{HostName, Timestamp, bundle::BundleId};

use self::bundle::Bundle;
pub use self::shape::branches;

/// The bundles that are fetched or were a while ago, and who has them.
#[derive(Clone, Debug, Default)]
pub struct Spread {
    bundles: BTreeMap<BundleId, Bundle>,
}

/// A host that asks for sources.
#[derive(Clone, Copy, Debug)]
pub struct Asking<'a> {
    pub host: &'a HostName,
    /// Whether it can be named as a source: it has a relay.
    pub serves: bool,
    /// Whether nothing has come for a while from those that it was told.
    pub is_stalled: bool,
    /// Sources that it does not ask again.
    pub faulty: &'a [HostName],
    /// How much content the bundle has, in bytes.
    pub bytes: u64,
    /// How many hosts its job has.
    pub hosts: u32,
    /// The hosts that were registered to have a copy, and have a relay.
    pub copies: &'a [HostName],
}

impl Spread {
    /// Answers a host that fetches a bundle: from whom, the best first; at most
    /// [`limits::FETCH_SOURCES`](orchestra_model::limits::FETCH_SOURCES), and none where nobody has it.
    pub fn ask(&mut self, now: Timestamp, bundle: BundleId, asking: Asking<'_>) -> Vec<HostName> {
        if !self.bundles.contains_key(&bundle) {
            self.make_room(now);
        }
        self.bundles.entry(bundle).or_default().ask(now, asking)
    }

    /// A host has all of a bundle now.
    pub fn arrived(&mut self, now: Timestamp, bundle: BundleId, host: &HostName) {
        if let Some(bundle) = self.bundles.get_mut(&bundle) {
            bundle.arrived(now, host);
        }
    }

    /// A host does not fetch a bundle any more, and does not have it.
    pub fn ended(&mut self, now: Timestamp, bundle: BundleId, host: &HostName) {
        if let Some(bundle) = self.bundles.get_mut(&bundle) {
            bundle.ended(now, host);
        }
    }

    /// The session of a host's player is over. Its fetches count as ended until it asks again.
    pub fn detached(&mut self, now: Timestamp, host: &HostName) {
        self.bundles.values_mut().for_each(|bundle| bundle.detached(now, host));
    }

    /// A host's player has a session again.
    pub fn attached(&mut self, host: &HostName) {
        self.bundles.values_mut().for_each(|bundle| bundle.attached(host));
    }

    /// Forgets bundles that nobody has fetched for a while, and if there are too many the one that was
    /// fetched longest ago; whoever still fetches it asks again.
    fn make_room(&mut self, now: Timestamp) {
        self.bundles
            .retain(|_, bundle| bundle.is_fetched() || now.since(bundle.touched) < bounds::KEPT);
        if self.bundles.len() < bounds::BUNDLES {
            return;
        }
        let oldest = self.bundles.iter().min_by_key(|(_, it)| (it.is_fetched(), it.touched));
        if let Some(oldest) = oldest.map(|(id, _)| *id) {
            self.bundles.remove(&oldest);
        }
    }
}
