//! The state of a service in one word, and what it means for a wait.

use orchestra_model::{
    HostSet,
    service::{
        Goal, InstanceStatus, RunEnd, ServiceStatus, ServiceVersion, UnitReport, UnitState,
        Unready, Waiting,
    },
};

/// The state of a service in one word: the first of these that holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceState {
    /// It is paused: nothing voluntary is done.
    Paused,
    /// A flow changes it, or is about to.
    Changing,
    /// So many of its units turned unhealthy together that nothing is done for their health.
    Suspicious,
    /// Only a person can help: a unit or a host was given up, or no flow can be made.
    Stuck,
    /// It was removed.
    Removed,
    /// It is to have no runs.
    Stopped,
    /// An instance is not ready.
    Degraded,
    /// Every instance is ready, on a player that is attached.
    Ready,
}

impl ServiceState {
    /// Returns the state of a service.
    pub fn of(status: &ServiceStatus) -> Self {
        let record = &status.record;
        if record.paused_by.is_some() {
            ServiceState::Paused
        } else if record.living.is_some() || record.pending.is_some() {
            ServiceState::Changing
        } else if record.judged.suspicion.is_some() {
            ServiceState::Suspicious
        } else if is_stuck(status) {
            ServiceState::Stuck
        } else {
            match record.goal {
                Goal::Removed => ServiceState::Removed,
                Goal::Stopped => ServiceState::Stopped,
                Goal::Running if is_whole(status) => ServiceState::Ready,
                Goal::Running => ServiceState::Degraded,
            }
        }
    }

    /// Returns the word for the state.
    pub fn as_str(self) -> &'static str {
        match self {
            ServiceState::Paused => "paused",
            ServiceState::Changing => "changing",
            ServiceState::Suspicious => "suspicious",
            ServiceState::Stuck => "stuck",
            ServiceState::Removed => "removed",
            ServiceState::Stopped => "stopped",
            ServiceState::Degraded => "degraded",
            ServiceState::Ready => "ready",
        }
    }
}

/// Returns on how many of the hosts where it is wanted a service is ready.
pub fn ready_hosts(status: &ServiceStatus) -> usize {
    status.record.hosts.len() - not_ready(status, None).len()
}

/// Returns on how many hosts a service is wanted, those among them for which there is no room.
pub fn wanted_hosts(status: &ServiceStatus) -> usize {
    let waiting = status.waiting.iter().map(|waiting| waiting.count as usize);
    status.record.hosts.len() + waiting.sum::<usize>()
}

/// Returns whether every instance is ready, and none waits for room.
fn is_whole(status: &ServiceStatus) -> bool {
    status.waiting.is_empty() && not_ready(status, None).is_empty()
}

fn is_stuck(status: &ServiceStatus) -> bool {
    let runs = status.record.goal == Goal::Running;
    status.trouble.is_some()
        || !status.given_up.is_empty()
        || status.instances.iter().any(|it| runs && it.unready == Some(Unready::GaveUp))
}

/// Returns the hosts where a service is wanted and not ready, with this version or with any.
fn not_ready(status: &ServiceStatus, version: Option<ServiceVersion>) -> HostSet {
    let is_ready = |instance: &InstanceStatus| {
        let report = instance.report.as_ref().filter(|_| instance.attached);
        report.is_some_and(|report| {
            is_as_wanted(report) && version.is_none_or(|own| report.version == own)
        })
    };
    status.record.hosts.minus(&hosts_where(status, is_ready))
}

/// Returns whether a unit is ready, or has done its work: its run exited 0, and its rule asks for
/// no other.
fn is_as_wanted(report: &UnitReport) -> bool {
    match report.state {
        UnitState::Ready => true,
        UnitState::Ended => report.last_end == Some(RunEnd::Exited(0)),
        _ => false,
    }
}

/// What a service's state means for a wait for a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Awaited {
    /// It is ready everywhere, and no flow changes it.
    Ready,
    /// The wait goes on.
    NotYet,
    /// Another, earlier version is wanted again.
    Reverted(ServiceVersion),
    /// A newer version is wanted.
    Superseded(ServiceVersion),
    /// There never was such a version.
    NoSuchVersion,
    /// It is not to run.
    NotWanted(Goal),
    /// On these hosts it is not ready, and will not be by itself.
    Failed(HostSet),
    /// It is ready on all of its hosts, and for these instances no player has room.
    NoRoom(Vec<Waiting>),
    /// It is ready on all hosts except these, which cannot be reached now.
    Unreachable(HostSet),
}

impl Awaited {
    /// Returns what a service's status means for a wait for this version.
    pub fn of(status: &ServiceStatus, version: ServiceVersion) -> Self {
        let record = &status.record;
        if version > record.last_version {
            return Awaited::NoSuchVersion;
        }
        if record.version < version {
            return Awaited::Reverted(record.version);
        }
        if record.version > version {
            return Awaited::Superseded(record.version);
        }
        if record.goal != Goal::Running {
            return Awaited::NotWanted(record.goal);
        }
        if record.living.is_some() || (record.pending.is_some() && record.paused_by.is_none()) {
            return Awaited::NotYet;
        }
        let missing = not_ready(status, Some(version));
        if missing.is_empty() {
            return match status.waiting.is_empty() {
                true => Awaited::Ready,
                // Nobody looks for room yet.
                false if status.waiting.iter().any(|it| it.players == 0) => Awaited::NotYet,
                false => Awaited::NoRoom(status.waiting.clone()),
            };
        }
        let gave_up = |it: &InstanceStatus| it.attached && it.unready == Some(Unready::GaveUp);
        let failed = missing.intersection(&status.given_up.union(&hosts_where(status, gave_up)));
        if !failed.is_empty() {
            return Awaited::Failed(failed);
        }
        if status.trouble.is_some() {
            return Awaited::Failed(missing);
        }
        let attached = missing.intersection(&hosts_where(status, |it| it.attached));
        // While it is paused no flow is made, so it is not known which hosts could be reached.
        if record.paused_by.is_some() || !attached.is_empty() {
            return Awaited::NotYet;
        }
        Awaited::Unreachable(missing)
    }
}

/// Returns the hosts of instances for which `is_so` holds.
fn hosts_where(status: &ServiceStatus, is_so: impl Fn(&InstanceStatus) -> bool) -> HostSet {
    let those = status.instances.iter().filter(|instance| is_so(instance));
    HostSet::from_names(those.map(|instance| instance.host.clone()))
}
