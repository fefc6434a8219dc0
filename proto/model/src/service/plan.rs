//! What an apply would come to, host by host, while nothing is done.

use std::sync::Arc;

use crate::{
    HostSet,
    audit::Asker,
    ids::FlowId,
    service::{Replacing, ServiceVersion, Waiting},
    state::kebab_enum,
};

kebab_enum!(
    /// What an apply would bring to a host.
    HostStep {
        /// A unit that there is not, or that has no run.
        Start = "start",
        /// This version instead of another one.
        Update = "update",
        /// A new run: the unit gave up, or ended.
        Restart = "restart",
        /// The end of its run; the unit stays.
        Stop = "stop",
        /// The end of its unit: the service is not wanted there any more.
        Leave = "leave",
        /// Nothing before its instance is ready on the player that it moves to.
        Moving = "moving",
        /// Nothing: it is as wanted.
        Keep = "keep",
        /// Nothing before its player is back.
        Absent = "absent",
        /// Nothing before it is drained no more.
        Drained = "drained",
        /// Nothing before the service that it is linked to is ready there.
        Linked = "linked",
        /// Nothing before somebody asks for it, because a flow did not bring it there.
        GivenUp = "given-up",
        /// Nothing: its player is of a release that keeps no services.
        TooOld = "too-old",
        /// Nothing: a unit of the service is there that this store knows nothing of.
        Stranger = "stranger",
    }
);

/// Hosts to which an apply would bring the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedHosts {
    /// What.
    pub step: HostStep,
    /// The version that their units have now; `None` where there is none, or none was told.
    pub from: Option<ServiceVersion>,
    /// They come first, because they are not ready anyway.
    pub first: bool,
    /// Which.
    pub hosts: HostSet,
}

/// Hosts whose players are away, and whose instances would have the same fate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedAbsence {
    /// Which.
    pub hosts: HostSet,
    /// What would become of their instances.
    pub replacing: Replacing,
}

/// What an apply would come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePlan {
    /// It would make no version.
    pub unchanged: bool,
    /// The file that the service would be taken from.
    pub taken_from: Option<Arc<str>>,
    /// The flow that changes it now, which would be cancelled.
    pub superseded: Option<FlowId>,
    /// Who paused it: nothing would be done before it is resumed.
    pub paused_by: Option<Asker>,
    /// What would be done where, each host once.
    pub steps: Vec<PlannedHosts>,
    /// Instances for which no player has room.
    pub waiting: Vec<Waiting>,
    /// Those of its hosts that hold another score than the version's.
    pub other_score: HostSet,
    /// Instances whose players are away.
    pub absent: Vec<PlannedAbsence>,
    /// Hosts that would be prepared for the version before anything begins there.
    pub prepare: HostSet,
}
