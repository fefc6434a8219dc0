//! What the audience is told of cells, holds and waiting: `orc ledger`, `orc explain`, `orc plan`.

use std::collections::BTreeMap;

use crate::{
    advice::Advice,
    deployment::CellKey,
    hostset::HostSet,
    ids::{FlowId, JobId},
    names::{HostName, JobName, ScoreName},
    score::ScoreHash,
    service::UnwellUnit,
    state::{TaskState, WaitReason},
    status::Absence,
    time::Timestamp,
    tree::Parent,
};

/// A cell: its limit, who holds it, who waits for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CellStatus {
    pub key: CellKey,
    /// How many hosts are in it.
    pub hosts: u32,
    /// How many of them may be busy or down at once; `None` where only a sequence is on it.
    pub limit: Option<u32>,
    /// Who holds it, in host-set order. More than the limit where a reload lowered that.
    pub holders: Vec<Holder>,
    /// Whose hosts wait for room in it now, with how many hosts. A host that waits for several
    /// cells is counted in the first of them.
    pub waiting: BTreeMap<FlowId, u32>,
}

/// A host that holds its cells: something runs there, an attempt left it down, or units there are not
/// well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Who.
    pub host: HostName,
    /// For which jobs: those that run there, and the one whose end left it down. None where it holds
    /// for units alone.
    pub jobs: Vec<JobId>,
    /// Since when.
    pub since: Timestamp,
    /// How the task ended that left it down; `None` where none did.
    pub down: Option<TaskState>,
    /// Units there that count as down, in the order of their services; not those that gave up and
    /// that somebody released.
    pub units: Vec<UnwellUnit>,
    /// That its player is not attached, while something runs there; and when the first of that is
    /// lost, which leaves the host down.
    pub absence: Option<Absence>,
}

/// Why something is as it is, now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// Of which tasks: folded where many wait for the same.
    pub job: Option<JobId>,
    /// Which hosts of the job; empty where the whole job or flow is meant.
    pub hosts: HostSet,
    /// The word for it, where something waits.
    pub reason: Option<WaitReason>,
    /// Whether only a person can end the wait.
    pub dead: bool,
    /// In a sentence, down to who holds what, and with what to do.
    pub text: Advice,
    /// When waiting for absent players of these tasks is over for the first of them.
    pub given_up: Option<Timestamp>,
}

/// Whom a host would serve in a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Serving {
    pub job: JobName,
    /// Who serves.
    pub parent: Parent,
    /// Who is served.
    pub children: HostSet,
}

/// What a submission would do, if every task succeeded at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forecast {
    /// What the flow would wait for before it begins, for people; `None` where it begins at once.
    pub begins: Option<String>,
    /// Which hosts would act together, job by job.
    pub waves: Vec<Vec<(JobName, HostSet)>>,
    /// What would never start, and what it would wait for.
    pub stuck: Vec<(JobName, HostSet, Advice)>,
    /// What waves had to wait for at first: holds of other flows' tasks that still run.
    pub awaited: Vec<Holder>,
    /// Targets that are not attached.
    pub absent: HostSet,
    /// Targets that are drained.
    pub drained: HostSet,
    /// Targets that no limit holds back.
    pub free: HostSet,
    /// Who is planned to serve whom, job by job, nearest to the root first.
    pub serving: Vec<Serving>,
}

/// What is known of a job's score on its targets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScoreSurvey {
    pub job: JobName,
    pub score: ScoreName,
    /// Hosts by the hash of what they would run.
    pub versions: BTreeMap<ScoreHash, HostSet>,
    /// Hosts that have no such score, or a disabled one.
    pub missing: HostSet,
    /// Hosts that were not heard of since the conductor started.
    pub unheard: HostSet,
}
