//! What people are told of a service.

use crate::{
    HostSet,
    ids::FlowId,
    names::HostName,
    score::ScoreHash,
    service::{
        Hindered, Instance, InstanceAbsence, Replaceable, ServiceRecord, UnitReport, Unready,
        Waiting,
    },
    vitals::UnitUsage,
};

/// A service, as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceStatus {
    /// What is kept of it.
    pub record: ServiceRecord,
    /// What the score of its version is; `None`: that is not known.
    pub score_hash: Option<ScoreHash>,
    /// Its instances, in the order of their hosts.
    pub instances: Vec<InstanceStatus>,
    /// Hosts where it is wanted and no instance was placed yet.
    pub unplaced: HostSet,
    /// Instances that wait for a player, and why; nothing for a service that is not placed.
    pub waiting: Vec<Waiting>,
    /// Hosts that a flow did not bring where they are wanted; they are left as they are until they
    /// attach anew or somebody asks for something.
    pub given_up: HostSet,
    /// Hosts that its units have left and that were not cleaned up since.
    pub uncleaned: HostSet,
    /// Hosts with a unit of it that this store never ordered, or has forgotten: it is left alone, and
    /// nothing else is brought there, until somebody adopts it.
    pub strangers: HostSet,
    /// What keeps instances from being where and as they are to be: each host once.
    pub hindered: Vec<Hindered>,
    /// Why no flow could be made for what is wanted.
    pub trouble: Option<String>,
}

/// An instance, as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceStatus {
    /// Its player.
    pub host: HostName,
    /// Which.
    pub instance: Instance,
    /// Whether its player is attached.
    pub attached: bool,
    /// What its player told last; `None` where it has told nothing since the conductor started.
    pub report: Option<UnitReport>,
    /// Why it counts as down, if it does.
    pub unready: Option<Unready>,
    /// Whether its present run executes another score than its version's; `None`: it has no run, or one
    /// of the two is not known.
    pub drifted: Option<bool>,
    /// What it uses of its host, as far as its player has told.
    pub usage: Option<UnitUsage>,
    /// Whether it may be replaced, while its player is away; `None`: its player is there, or its service
    /// may be alive twice.
    pub replaceable: Option<Replaceable>,
    /// Since when its player is away, and what comes of that; `None`: its player is there.
    pub absence: Option<InstanceAbsence>,
}

impl ServiceStatus {
    /// How many of its instances are ready, on players that are attached.
    pub fn ready(&self) -> usize {
        use crate::service::UnitState;
        let is_ready = |instance: &&InstanceStatus| {
            let state = instance.report.as_ref().map(|report| report.state);
            instance.attached && state == Some(UnitState::Ready)
        };
        self.instances.iter().filter(is_ready).count()
    }

    /// The hosts where a run executes another score than its version's.
    pub fn drifted(&self) -> HostSet {
        let drifted = self.instances.iter().filter(|instance| instance.drifted == Some(true));
        HostSet::from_names(drifted.map(|instance| instance.host.clone()))
    }

    /// The flow that changes it, while that lives.
    pub fn flow(&self) -> Option<FlowId> {
        self.record.living.as_ref().map(|living| living.flow)
    }
}

/// A unit that no placement of the conductor's store explains: the store never ordered it, or has
/// forgotten it. It is left alone until somebody adopts or stops it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stranger {
    /// The player where it is.
    pub host: HostName,
    /// The unit, as its player tells it.
    pub report: UnitReport,
    /// The store has a service of its name, which could adopt it.
    pub is_known: bool,
}
