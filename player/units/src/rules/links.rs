//! Units that are linked to another one of the same store: where, when and how long they run.
//!
//! ```text
//!   web            up ───── an order for web: its run is to end
//!     ready │                      ┊                      ended, begins anew ── ready
//!           ▼                      ▼                      ▲                      │
//!   exporter (linked to web): its run ends first ── ended ┘                      ▼ begins anew
//! ```
//!
//! When a run of a linked unit begins, it remembers the last order that changed the other unit's
//! run ([`crate::Status::changed`]). The run is *stale* once a later order has changed that. So an
//! update, a restart or a stop of the other unit ends the run too, even over a crash of the sitter.
//! A run of the other unit that ends by itself does not.

use std::collections::{BTreeMap, BTreeSet};

use orchestra_model::{
    delivery::OrderNumber,
    journal::{Contradiction, require},
    service::Wanted,
};

use crate::{
    state::{Unit, UnitKey},
    units::Units,
};

/// For each unit, the units that are linked to it.
pub(crate) type Links = BTreeMap<UnitKey, BTreeSet<UnitKey>>;

impl Units {
    /// Follows units, then those that links tie to them, and so on until nothing changes.
    pub(super) fn follow_links(&mut self, mut changed: Vec<UnitKey>) {
        while let Some(key) = changed.pop() {
            let (before, mut neighbours) = (self.seen_by_links(&key), self.neighbours(&key));
            self.follow_alone(&key);
            if self.seen_by_links(&key) != before {
                changed.append(&mut neighbours);
            }
        }
    }

    /// Returns what matters of a unit to those that links tie to it: the order beside which their
    /// runs may begin, and whether its run has to end before theirs.
    fn seen_by_links(&self, key: &UnitKey) -> (Option<OrderNumber>, bool) {
        (self.offers(key), self.is_stale(key))
    }

    /// The units whose links lead to or from this one.
    pub(super) fn neighbours(&self, key: &UnitKey) -> Vec<UnitKey> {
        self.linked_to(key).cloned().chain(self.other_of(key)).collect()
    }

    /// The units that are linked to this one.
    fn linked_to(&self, key: &UnitKey) -> impl Iterator<Item = &UnitKey> {
        self.links.get(key).into_iter().flatten()
    }

    /// Returns the unit that a unit is linked to, even if that one is not on this player.
    fn other_of(&self, key: &UnitKey) -> Option<UnitKey> {
        self.state.units().get(key).and_then(|unit| other_of(key, unit))
    }

    /// Returns the order of the other unit beside which a run of this unit may begin now:
    /// `Some(None)` if this unit has no link, `None` if it has to wait.
    pub(super) fn beside(&self, key: &UnitKey) -> Option<Option<OrderNumber>> {
        match self.other_of(key) {
            None => Some(None),
            Some(other) => self.offers(&other).map(Some),
        }
    }

    /// Returns, while this unit is ready, the order beside which runs of units that are linked to
    /// it may begin.
    fn offers(&self, key: &UnitKey) -> Option<OrderNumber> {
        let unit = self.state.units().get(key)?;
        let run = unit.status.run()?;
        let is_wanted = run.of == unit.order && !self.awaits_process(key, unit);
        (is_wanted && run.ready.is_some() && run.goes_on()).then_some(unit.status.changed)
    }

    /// Returns whether a unit's run is stale: since the run began, an order has changed, stopped or
    /// removed the other unit.
    pub(super) fn is_stale(&self, key: &UnitKey) -> bool {
        let run = self.state.units().get(key).and_then(|unit| unit.status.run());
        let Some(beside) = run.and_then(|run| run.beside) else { return false };
        let Some(other) = self.other_of(key) else { return false };
        self.state.units().get(&other).is_none_or(|other| {
            let stops = matches!(other.asked.wanted, Wanted::Stopped | Wanted::Gone);
            stops || other.status.changed != beside
        })
    }

    /// Returns whether a unit has to wait with the end, or the beginning, of its run until runs of
    /// units that are linked to it have ended.
    pub(super) fn waits_for_linked(&self, key: &UnitKey) -> bool {
        self.linked_to(key).any(|linked| self.is_stale(linked))
    }

    /// Notes what a unit's order says of a link and of a lease, in place of the order before.
    pub(super) fn note_ties(&mut self, key: &UnitKey) {
        self.drop_ties(key);
        self.note_need(key);
        if let Some(other) = self.other_of(key) {
            self.links.entry(other.clone()).or_default().insert(key.clone());
            self.tend(key).linked_to = Some(other);
        }
    }

    pub(super) fn drop_ties(&mut self, key: &UnitKey) {
        self.leased.remove(key);
        let other = self.tended.get_mut(key).and_then(|tended| tended.linked_to.take());
        let Some(other) = other else { return };
        if let Some(linked) = self.links.get_mut(&other) {
            linked.remove(key);
            if linked.is_empty() {
                self.links.remove(&other);
            }
        }
    }

    /// Checks that the noted links are those of the orders.
    pub(crate) fn audit_links(&self) -> Result<(), Contradiction> {
        let mut links = Links::new();
        for (key, unit) in self.state.units() {
            if let Some(other) = other_of(key, unit) {
                links.entry(other).or_default().insert(key.clone());
            }
        }
        require(links == self.links, || "links are not those of the orders".to_owned())
    }
}

/// Returns the unit that a unit's order links it to. A link to itself does not count.
fn other_of(key: &UnitKey, unit: &Unit) -> Option<UnitKey> {
    let service = unit.asked.upkeep.linked_to.clone().filter(|other| *other != key.service)?;
    Some(UnitKey { store: key.store, service })
}
