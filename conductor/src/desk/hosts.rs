//! Host sets, resolved against the fleet in force.

use std::sync::Arc;

use orchestra_model::{HostSet, hostset::Groups, limits, names::GroupName};

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
    /// Resolves a host set, off the runtime's threads. Every name in it must be a player's, or one
    /// of `others`.
    pub(crate) async fn hosts(
        &self,
        expression: String,
        others: Others,
    ) -> Result<HostSet, Declined> {
        if expression.len() > limits::HOSTSET_BYTES {
            return Err(Declined::new(Ground::Invalid, "the host set is longer than 4 MiB"));
        }
        let fleet = Arc::clone(&self.fleet.borrow());
        off_the_runtime(move || {
            let hosts = HostSet::parse(&expression, &Known::with(&fleet, others));
            hosts.map_err(|error| invalid_hosts(&error))
        })
        .await?
    }

    /// Resolves a host set whose hosts must be players.
    pub(crate) async fn players(&self, expression: String) -> Result<HostSet, Declined> {
        self.hosts(expression, Others::Some(HostSet::default())).await
    }
}

/// The fleet's groups and labels, for a host set that may name others than players.
struct Known<'a> {
    fleet: &'a Fleet,
    hosts: Option<HostSet>,
}

impl<'a> Known<'a> {
    fn with(fleet: &'a Fleet, others: Others) -> Self {
        let hosts = match others {
            Others::Some(others) => Some(fleet.hosts().union(&others)),
            Others::Any => None,
        };
        Self { fleet, hosts }
    }
}

impl Groups for Known<'_> {
    fn all(&self) -> HostSet {
        self.fleet.all()
    }

    fn group(&self, name: &GroupName) -> Option<HostSet> {
        self.fleet.group(name)
    }

    fn labelled(&self, key: &str, value: &str) -> Option<HostSet> {
        self.fleet.labelled(key, value)
    }

    fn hosts(&self) -> Option<&HostSet> {
        self.hosts.as_ref()
    }
}
