//! Leases: what a service says of them, and what players and conductors say.

use orchestra_model::{
    limits,
    names::ServiceName,
    service::{AtMostOne, LONGEST_LEASE, Lease, Leases, Placement, Replaceable},
    time::{Millis, Timestamp},
};

use super::unit::bounded;
use crate::{
    flow::length,
    invalid::{InField, Invalid},
    v1,
};

impl From<AtMostOne> for v1::AtMostOne {
    fn from(rule: AtMostOne) -> Self {
        Self { lease_ms: rule.lease.map(|length| length.0) }
    }
}

impl TryFrom<&v1::AtMostOne> for AtMostOne {
    type Error = Invalid;

    fn try_from(rule: &v1::AtMostOne) -> Result<Self, Invalid> {
        Ok(AtMostOne { lease: length(rule.lease_ms, "AtMostOne.lease_ms")? })
    }
}

impl From<Replaceable> for v1::Replaceable {
    fn from(replaceable: Replaceable) -> Self {
        use v1::replaceable::When;
        let when = match replaceable {
            Replaceable::Now => When::Now(v1::Empty {}),
            Replaceable::At(at) => When::AtMs(at.0),
            Replaceable::OnProof => When::OnProof(v1::Empty {}),
        };
        Self { when: Some(when) }
    }
}

impl TryFrom<&v1::Replaceable> for Replaceable {
    type Error = Invalid;

    fn try_from(replaceable: &v1::Replaceable) -> Result<Self, Invalid> {
        use v1::replaceable::When;
        Ok(match replaceable.when.as_ref().in_field("Replaceable.when")? {
            When::Now(_) => Replaceable::Now,
            When::AtMs(at) => Replaceable::At(Timestamp(*at)),
            When::OnProof(_) => Replaceable::OnProof,
        })
    }
}

impl From<&Leases> for v1::Leases {
    fn from(leases: &Leases) -> Self {
        let spell = |lease: &Lease| v1::Lease {
            service: lease.service.to_string(),
            placement: lease.placement.0,
            length_ms: lease.length.0,
            grace_ms: lease.grace.0,
        };
        Self { asked_at_ms: leases.asked_at, leases: leases.leases.iter().map(spell).collect() }
    }
}

impl TryFrom<&v1::Leases> for Leases {
    type Error = Invalid;

    fn try_from(leases: &v1::Leases) -> Result<Self, Invalid> {
        if leases.leases.len() > limits::UNITS {
            return Err(Invalid::field("Leases.leases"));
        }
        let read = |lease: &v1::Lease| {
            let length = bounded(lease.length_ms, "Lease.length_ms")?;
            if length == Millis(0) || length > LONGEST_LEASE {
                return Err(Invalid::field("Lease.length_ms"));
            }
            Ok(Lease {
                service: ServiceName::new(&lease.service).in_field("Lease.service")?,
                placement: Placement(lease.placement),
                length,
                grace: bounded(lease.grace_ms, "Lease.grace_ms")?,
            })
        };
        let read: Result<_, Invalid> = leases.leases.iter().map(read).collect();
        Ok(Leases { asked_at: leases.asked_at_ms, leases: read? })
    }
}
