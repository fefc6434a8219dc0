//! What the spool keeps of one attempt. Parameters are not kept, because they must never touch the
//! disk.

use std::sync::Arc;

use orchestra_model::{
    Millis, ScoreName,
    delivery::{EndBytes, OrderNumber, Refusal},
    process::ProcessMark,
    proof::Proof,
    score::Interface,
};

use crate::bounds;

/// How an accepted attempt is run: what the next sitter needs to adopt the attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The score that runs. The attempt counts towards its concurrency.
    pub score: ScoreName,
    /// How long it may run: the job's timeout, within the score's bound.
    pub timeout: Millis,
    /// Whether standard output is a response.
    pub interface: Interface,
    /// Most attempts of the score at once; `None` if the score has no bound. `Some(0)` says that
    /// the attempt starts no process: see [`Plan::watching`].
    pub concurrency: Option<u32>,
    /// Whether it runs alone on its player.
    pub exclusive: bool,
    /// Its cgroup; `None` if the host has no cgroups.
    pub cgroup: Option<CgroupPath>,
}

impl Plan {
    /// Returns the plan of an attempt that starts no process: a unit is watched for it. The units'
    /// engine keeps its deadline. It counts towards no bound, and no other attempt's bounds concern
    /// it. A sitter of a release without units takes it for an attempt whose process is gone, and
    /// reports it as lost.
    pub fn watching(score: ScoreName, deadline: Millis) -> Self {
        Self {
            score,
            timeout: deadline,
            interface: Interface::Env,
            concurrency: Some(0),
            exclusive: false,
            cgroup: None,
        }
    }

    /// Whether the attempt watches a unit and starts no process.
    pub fn is_watching(&self) -> bool {
        self.concurrency == Some(0)
    }
}

/// An attempt that is starting or started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Live {
    /// The order that asked for it.
    pub order: OrderNumber,
    /// The conductor's proof that it ordered the attempt; `None` if it gave none.
    pub proof: Option<Proof>,
    /// How it is run.
    pub plan: Plan,
    /// Its first process; `None` while it is starting. After a crash `None` means that the process
    /// may have started: it is hunted and killed, and never started again.
    pub process: Option<ProcessMark>,
    /// Whether it was cancelled: it is being killed, and the next sitter goes on with the kill.
    pub cancelling: bool,
}

impl Live {
    /// Returns when its timeout runs out, in milliseconds of the clock of [`ProcessMark::boot_ms`];
    /// `None` while it is starting.
    pub fn deadline_boot_ms(&self) -> Option<u64> {
        self.process.map(|process| process.boot_ms.saturating_add(self.plan.timeout.0))
    }
}

/// The path of an attempt's cgroup, relative to a directory that the driver knows. It has at most
/// [`bounds::CGROUP_BYTES`]. Each component is printable ASCII and not empty, `.` or `..`, so the
/// path cannot leave that directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CgroupPath(Arc<str>);

impl CgroupPath {
    /// Checks a path; returns `None` if it is none.
    pub fn new(path: &str) -> Option<Self> {
        let plain = |name: &str| {
            !matches!(name, "" | "." | "..") && name.bytes().all(|byte| byte.is_ascii_graphic())
        };
        (path.len() <= bounds::CGROUP_BYTES && path.split('/').all(plain))
            .then(|| CgroupPath(path.into()))
    }

    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// An attempt that ended or was refused, and is not acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    /// The order that it answers.
    pub order: OrderNumber,
    /// The conductor's proof that it ordered the attempt; `None` if it gave none.
    pub proof: Option<Proof>,
    /// What the conductor is told until it acknowledges.
    pub settlement: Settlement,
}

/// The last word about an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// It started, or may have, and ended like this.
    Ended(EndBytes),
    /// It did not start and never will.
    Refused(Refusal),
}

impl Settlement {
    /// How much of [`bounds::SETTLED_BYTES`] it takes.
    pub(crate) fn weight(&self) -> usize {
        match self {
            Settlement::Ended(end) => end.as_slice().len(),
            Settlement::Refused(
                Refusal::ScoreDisabled(why)
                | Refusal::Parameters(why)
                | Refusal::SpawnFailed(why)
                | Refusal::Spool(why)
                | Refusal::Limits(why)
                | Refusal::Bundle(why)
                | Refusal::Source(why)
                | Refusal::Policy(why),
            ) => why.len(),
            Settlement::Refused(_) => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cgroup_path_stays_below_its_directory() {
        for good in ["a", "orchestra.service/42.1.2-1", "x-y_z"] {
            assert_eq!(
                CgroupPath::new(good).map(|path| path.as_str().to_owned()).as_deref(),
                Some(good)
            );
        }
        let long = "a".repeat(bounds::CGROUP_BYTES + 1);
        for bad in ["", "/a", "a/", "a//b", ".", "../a", "a/../b", "a b", "a\0b", "ä", &long] {
            assert_eq!(CgroupPath::new(bad), None, "{bad:?}");
        }
    }
}
