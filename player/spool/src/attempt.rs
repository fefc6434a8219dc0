//! What the spool keeps of one attempt. Parameters are not among it: they never touch the disk.

use std::sync::Arc;

use orchestra_model::{
    Millis, ScoreName,
    delivery::{EndBytes, OrderNumber, Refusal},
    process::ProcessMark,
    proof::Proof,
    score::Interface,
};

use crate::bounds;

/// How an accepted attempt is run, as far as the next sitter needs it to adopt the attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// What runs; counts towards the score's concurrency.
    pub score: ScoreName,
    /// How long it may run: the job's wish within the score's bound.
    pub timeout: Millis,
    /// Whether standard output is a response.
    pub interface: Interface,
    /// At most this many attempts of the score at once. `None`: no bound of its own. `Some(0)`: it
    /// starts no process, see [`Plan::watching`].
    pub concurrency: Option<u32>,
    /// Alone on its player.
    pub exclusive: bool,
    /// The cgroup that will be its own; `None` where the host has none.
    pub cgroup: Option<CgroupPath>,
}

impl Plan {
    /// Of an attempt that starts no process: a unit is watched for it, by a clock of its own. It takes
    /// no place, and no other attempt's bounds concern it. A sitter that knows no units reads of it an
    /// attempt whose process is gone, and tells it as lost.
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

    /// Whether it is one.
    pub fn is_watching(&self) -> bool {
        self.concurrency == Some(0)
    }
}

/// An attempt that is starting or started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Live {
    /// The order that asked for it.
    pub order: OrderNumber,
    /// That it was ordered; `None` where the conductor gave no proof.
    pub proof: Option<Proof>,
    /// How it is run.
    pub plan: Plan,
    /// The process; `None` while starting. After a crash `None` means that it may have started:
    /// it is looked for and killed, never run.
    pub process: Option<ProcessMark>,
    /// A cancel came for it: it is being killed, and the next sitter goes on with that.
    pub cancelling: bool,
}

impl Live {
    /// When its timeout runs out, in milliseconds of the clock that [`ProcessMark::boot_ms`] is
    /// of; `None` while starting.
    pub fn deadline_boot_ms(&self) -> Option<u64> {
        self.process.map(|process| process.boot_ms.saturating_add(self.plan.timeout.0))
    }
}

/// Where an attempt's cgroup is, relative to a directory that the driver knows. Every component is
/// a plain name, so that it cannot leave that directory: not empty, no `.` or `..`, printable
/// ASCII, at most [`bounds::CGROUP_BYTES`] together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CgroupPath(Arc<str>);

impl CgroupPath {
    /// Checks a path; `None` where it is not one.
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
    /// That it was ordered; `None` where the conductor gave no proof.
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
                | Refusal::Limits(why),
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
