//! What the conductor keeps on disk of services, as values.

use std::{fmt, sync::Arc};

use crate::{
    HostSet,
    audit::Asker,
    ids::FlowId,
    names::{HostName, ScoreName, ServiceName},
    score::ScoreHash,
    service::{Instance, Judged, Layout, Placement, ServiceFile, ServiceVersion},
    state::{FlowState, kebab_enum},
    time::{Millis, Timestamp},
};

/// Most versions that are kept of a service; the oldest go first.
pub const VERSIONS: usize = 100;
/// Most events that are kept of a service; the oldest go first.
pub const EVENTS: usize = 20;

/// A service, without its versions and placements. Key: name. Once it is removed this record stays:
/// it is the proof that units of the service may be ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceRecord {
    /// Its name.
    pub name: ServiceName,
    /// Whose rights its flows have: who applied the version that is wanted.
    pub owner: Asker,
    /// The file that says what it is to be, or did; `None` where an audience says it and no file ever
    /// did.
    pub file: Option<ServiceFile>,
    /// The version that is wanted.
    pub version: ServiceVersion,
    /// The score of that version.
    pub score: ScoreName,
    /// The highest version that there ever was.
    pub last_version: ServiceVersion,
    /// The newest version that was ready everywhere.
    pub stable: Option<ServiceVersion>,
    /// What is wanted of it.
    pub goal: Goal,
    /// Where it is wanted. A reload resolves the version's expression anew.
    pub hosts: HostSet,
    /// How many instances are wanted, if the service is placed: what its version says, until
    /// somebody scales it.
    pub layout: Option<Layout>,
    /// How many are wanted while a version comes, if these are more.
    pub surged: Option<Layout>,
    /// Who paused it: nothing voluntary is done, and what runs runs on.
    pub paused_by: Option<Asker>,
    /// What somebody asked for that no flow was made for yet.
    pub pending: Option<Change>,
    /// The flow that changes it, while that lives.
    pub living: Option<LivingChange>,
    /// The flow that restarts unhealthy units beside that one, while both live.
    pub relief: Option<LivingChange>,
    /// How its health is judged.
    pub judged: Judged,
    /// What was used of the time between replacements, ahead: a bucket that empties with time.
    pub spent: Millis,
    /// The highest placement that was given.
    pub last_placement: Placement,
    /// Numbers that the store has forgotten, because it was recovered from an old copy: what players
    /// have of those is nobody's.
    pub forgotten: Vec<Forgotten>,
    /// What happened to it last, oldest first; at most [`EVENTS`].
    pub events: Vec<ServiceEvent>,
}

/// Numbers of a service that a store may have issued and knows nothing of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forgotten {
    /// Placements above the first, up to the second.
    pub placements: (Placement, Placement),
    /// Versions above the first, up to the second.
    pub versions: (ServiceVersion, ServiceVersion),
}

impl ServiceRecord {
    /// Whether this store has issued both numbers, and knows that it has.
    pub fn has_issued(&self, placement: Placement, version: ServiceVersion) -> bool {
        let is_forgotten = |range: &Forgotten| {
            let ((p, q), (v, w)) = (range.placements, range.versions);
            (p < placement && placement <= q) || (v < version && version <= w)
        };
        placement <= self.last_placement
            && version <= self.last_version
            && !self.forgotten.iter().any(is_forgotten)
    }

    /// Skips numbers that a store may have issued in a time that it has forgotten, up to `reached` or
    /// as many above the last known ones as that is.
    pub fn forget_up_to(&mut self, reached: u64) {
        let skip = |last: u64| last.saturating_add(reached);
        let placements = (self.last_placement, Placement(skip(self.last_placement.0)));
        let versions = (self.last_version, ServiceVersion(skip(self.last_version.0)));
        self.forgotten.push(Forgotten { placements, versions });
        (self.last_placement, self.last_version) = (placements.1, versions.1);
    }
}

kebab_enum!(
    /// What is wanted of a service.
    Goal {
        /// Its units run.
        Running = "running",
        /// Its units are there, and have no run.
        Stopped = "stopped",
        /// It has no units.
        Removed = "removed",
    }
);

kebab_enum!(
    /// Why a flow changes a service.
    Cause {
        /// Somebody applied a version.
        Update = "update",
        /// A version failed, or somebody asked for an earlier one.
        Revert = "revert",
        /// Somebody asked for new runs.
        Restart = "restart",
        /// Somebody asked that its runs read their parameters again.
        Reload = "reload",
        /// Somebody asked that its runs get a signal.
        Signal = "signal",
        /// Somebody asked for another number of instances.
        Scale = "scale",
        /// Somebody asked that instances move to players that suit better.
        Rebalance = "rebalance",
        /// Somebody started it.
        Start = "start",
        /// Somebody stopped it.
        Stop = "stop",
        /// Somebody removed it.
        Remove = "remove",
        /// Somebody ended units of its name that the store knows nothing of.
        StopStranger = "stop-stranger",
        /// Units were unhealthy, and their service says that they are restarted then.
        Unhealthy = "unhealthy",
        /// Runs were as old as their service lets them become.
        Age = "age",
        /// Hosts that its units have left were to be cleaned up.
        Cleanup = "cleanup",
        /// A unit runs another score than its version's. No flow is made for that.
        Drift = "drift",
        /// Hosts were not as wanted, without that somebody asked for something: they are new, came
        /// back, lost their spool or their parameters, or are no longer where it is wanted.
        Repair = "repair",
    }
);

/// What somebody asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What.
    pub cause: Cause,
    /// Who.
    pub by: Asker,
    /// Where, of a restart, reload or signal; `None` for all hosts.
    pub hosts: Option<HostSet>,
    /// Which signal, of a reload or signal.
    pub signal: Option<i32>,
    /// Services of which a change was asked for at once, in order: one flow makes them all. Those whose
    /// change does not name this service in turn, because something else is asked of them since, are
    /// left out.
    pub with: Vec<ServiceName>,
}

impl Change {
    /// One of a whole service alone, and of no signal.
    pub fn new(cause: Cause, by: Asker) -> Self {
        Self { cause, by, hosts: None, signal: None, with: Vec::new() }
    }
}

/// A flow that changes a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LivingChange {
    /// The flow.
    pub flow: FlowId,
    /// Why it was made.
    pub cause: Cause,
    /// Who made it, or asked for it.
    pub by: Asker,
    /// The version that was wanted then.
    pub version: ServiceVersion,
    /// Something newer is wanted: it was asked to end.
    pub superseded: bool,
}

/// Something that happened to a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceEvent {
    /// When.
    pub at: Timestamp,
    /// What was asked for.
    pub cause: Cause,
    /// Who asked.
    pub by: Asker,
    /// Which version was wanted.
    pub version: ServiceVersion,
    /// The flow that was made for it, or has ended.
    pub flow: Option<FlowId>,
    /// How that flow ended; `None` where it began.
    pub ended: Option<FlowState>,
    /// What there is to know, for people.
    pub note: Option<Arc<str>>,
}

/// One content of a service's spec. Key: service, version. Its parameters are kept as long as it is.
#[derive(Clone, PartialEq, Eq)]
pub struct VersionRecord {
    /// The service.
    pub service: ServiceName,
    /// Which.
    pub version: ServiceVersion,
    /// The spec's bytes as they came, at most [`crate::limits::SERVICE_SPEC_BYTES`]. They hold parameters, so
    /// that nobody logs them.
    pub spec: Arc<[u8]>,
    /// Who applied it.
    pub by: Asker,
    /// When.
    pub at: Timestamp,
    /// It failed, and the conductor went back to an earlier one.
    pub reverted: bool,
    /// What its score is: what most of its hosts held when the first flow for it was made, or when
    /// somebody last asked for new runs on all of them. `None`: no flow was made, or none held it.
    pub score_hash: Option<ScoreHash>,
    /// Whether it was told, since that was noted, that a unit of it runs another score.
    pub drift_told: bool,
}

impl fmt::Debug for VersionRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VersionRecord({} v{} by {})", self.service, self.version, self.by)
    }
}

/// An instance that was placed on a player. Key: service, host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacementRecord {
    /// The service.
    pub service: ServiceName,
    /// The player.
    pub host: HostName,
    /// The instance, and by which assignment.
    pub instance: Instance,
    /// Its player has told of it: a unit is there, so that its host counts as down while it is not
    /// known to be ready.
    pub told: bool,
    /// A person has declared it dead: whatever its player comes back with is ended.
    pub dead: bool,
    /// For how long its player was absent, as far as that was noted; 0 if nothing was, or it is back.
    /// Not since when: while no conductor is there nobody knows who is absent.
    pub absent: Millis,
    /// The version for which its host was prepared last; version 0 where that was begun and did not end
    /// ok, `None` where it was not since it was placed there.
    pub prepared: Option<ServiceVersion>,
    /// Nothing of it is there any more, and its host is still to be cleaned up.
    pub left: bool,
}
