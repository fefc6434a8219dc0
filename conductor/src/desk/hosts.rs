//! Host sets, resolved against the fleet in force, as far as whoever asks may know of it.

use std::sync::Arc;

use orchestra_model::{AudienceName, HostSet, hostset::Groups, limits, names::GroupName};
use orchestra_policy::Reach;

use super::{Desk, off_the_runtime, refusal::invalid_hosts};
use crate::{
    declined::{Declined, Ground},
    fleet::Fleet,
};

/// Which hosts an expression may name beside the players.
pub(crate) enum Others {
    /// These hosts.
    Some(HostSet),
    /// Any host name, because nothing is done to the hosts.
    Any,
}

impl Desk {
    /// Resolves a host set that somebody wrote, off the runtime's threads. Every name in it must be a
    /// player's, or one of `others`, of which whoever asks may know; `None` for what nobody asks now.
    pub(crate) async fn hosts(
        &self,
        expression: String,
        others: Others,
        by: Option<&AudienceName>,
    ) -> Result<HostSet, Declined> {
        if expression.len() > limits::HOSTSET_BYTES {
            return Err(Declined::new(Ground::Invalid, "the host set is longer than 4 MiB"));
        }
        let (fleet, by) = (Arc::clone(&self.fleet.borrow()), by.cloned());
        off_the_runtime(move || {
            let view = View::of(&fleet, by.as_ref(), others);
            let hosts = HostSet::parse(&expression, &view);
            hosts.map_err(|error| view.explain(invalid_hosts(&error)))
        })
        .await?
    }

    /// Resolves a host set whose hosts must be players.
    pub(crate) async fn players(
        &self,
        expression: String,
        by: &AudienceName,
    ) -> Result<HostSet, Declined> {
        self.hosts(expression, Others::Some(HostSet::default()), Some(by)).await
    }
}

/// The fleet as somebody may know of it: hosts of which they may not know are to them as if they were
/// not there, and so are groups and labels of such hosts alone. A group that has others too stands for
/// all of them, because what is asked for is done on all of it or refused.
pub(super) struct View<'a> {
    fleet: &'a Fleet,
    known: Reach,
    hosts: Option<HostSet>,
}

impl<'a> View<'a> {
    pub(super) fn of(fleet: &'a Fleet, by: Option<&AudienceName>, others: Others) -> Self {
        let known = by.map_or_else(Reach::everywhere, |by| fleet.policy().known_to(by));
        let hosts = match others {
            Others::Some(others) => Some(known.of(&fleet.hosts().union(&others))),
            Others::Any => None,
        };
        Self { fleet, known, hosts }
    }

    /// Returns an error of an expression with what else it may mean. It is the same for what is not
    /// there and for what nobody here may know of.
    pub(super) fn explain(&self, declined: Declined) -> Declined {
        match self.known.is_everywhere() {
            true => declined,
            false => declined.and(", or not among what you may know of"),
        }
    }

    fn if_known(&self, hosts: HostSet) -> Option<HostSet> {
        let is_known = self.known.is_everywhere() || !self.known.of(&hosts).is_empty();
        is_known.then_some(hosts)
    }
}

impl Groups for View<'_> {
    fn all(&self) -> HostSet {
        self.fleet.all()
    }

    fn group(&self, name: &GroupName) -> Option<HostSet> {
        self.fleet.group(name).and_then(|hosts| self.if_known(hosts))
    }

    fn labelled(&self, key: &str, value: &str) -> Option<HostSet> {
        self.fleet.labelled(key, value).and_then(|hosts| self.if_known(hosts))
    }

    fn hosts(&self) -> Option<&HostSet> {
        self.hosts.as_ref()
    }
}
