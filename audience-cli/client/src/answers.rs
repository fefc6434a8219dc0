//! Answers of a conductor for which the model has no type. Host sets are folded.

use orchestra_model::{ids::FlowId, service::FileOutcome};
use orchestra_proto::{Invalid, v1};

/// A flow that was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submitted {
    pub flow: FlowId,
    /// A sentence for each thing that the submitter should know.
    pub warnings: Vec<String>,
}

impl From<v1::SubmitResponse> for Submitted {
    fn from(answer: v1::SubmitResponse) -> Self {
        Self { flow: FlowId(answer.flow), warnings: answer.warnings }
    }
}

/// Tasks that run again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retried {
    /// The flow that goes on: a new one if the old flow had ended.
    pub flow: FlowId,
    /// How many tasks get a further attempt.
    pub tasks: u32,
}

impl From<v1::RetryResponse> for Retried {
    fn from(answer: v1::RetryResponse) -> Self {
        Self { flow: FlowId(answer.flow), tasks: answer.tasks }
    }
}

/// Players that were drained, or undrained, by this request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drained {
    pub hosts: String,
    pub count: u32,
    /// How many tasks still run on them.
    pub in_flight: u32,
}

impl From<v1::DrainResponse> for Drained {
    fn from(answer: v1::DrainResponse) -> Self {
        Self { hosts: answer.hosts, count: answer.count, in_flight: answer.in_flight }
    }
}

/// Players that were released from quarantine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReleasedPlayers {
    pub hosts: String,
    pub count: u32,
    /// How many tasks were in flight to them, and are lost.
    pub lost: u32,
}

impl From<v1::ReleasePlayersResponse> for ReleasedPlayers {
    fn from(answer: v1::ReleasePlayersResponse) -> Self {
        Self { hosts: answer.hosts, count: answer.count, lost: answer.lost }
    }
}

/// Hosts that do not count as down any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReleasedHolds {
    pub hosts: String,
    pub count: u32,
}

impl From<v1::ReleaseHoldsResponse> for ReleasedHolds {
    fn from(answer: v1::ReleaseHoldsResponse) -> Self {
        Self { hosts: answer.hosts, count: answer.count }
    }
}

/// What may stand after an `@` in a host set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Without the `@`.
    pub name: String,
    pub kind: GroupKind,
    /// Cut if it is very long.
    pub hosts: String,
    pub count: u32,
}

/// Where a group is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupKind {
    /// Every host of the players file.
    All,
    /// The conductor's own file of groups.
    Group,
    /// An app of a deployment.
    App,
    /// A label of the players file.
    Label,
}

impl From<v1::Group> for Group {
    fn from(group: v1::Group) -> Self {
        let kind = match group.kind() {
            v1::GroupKind::All => GroupKind::All,
            v1::GroupKind::App => GroupKind::App,
            v1::GroupKind::Label => GroupKind::Label,
            v1::GroupKind::Group | v1::GroupKind::Unspecified => GroupKind::Group,
        };
        Self { name: group.name, kind, hosts: group.hosts, count: group.count }
    }
}

/// A deployment in force, in numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeploymentSummary {
    pub name: String,
    pub apps: u32,
    pub envs: u32,
    pub cells: u32,
    pub hosts: u32,
    /// The canonical form as YAML; empty unless the deployment was asked for by its name.
    pub canonical: String,
}

impl From<v1::Deployment> for DeploymentSummary {
    fn from(deployment: v1::Deployment) -> Self {
        let v1::Deployment { name, apps, envs, cells, hosts, canonical } = deployment;
        Self { name, apps, envs, cells, hosts, canonical }
    }
}

/// What a reload changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reloaded {
    pub players: u32,
    pub added: u32,
    pub removed: u32,
    /// `None` if the conductor does not count them.
    pub deployments: Option<DeploymentChanges>,
    /// How many connections ended because their certificates are no longer accepted.
    pub closed: u32,
    /// What came of files of services, if that is news.
    pub services: Vec<FileOutcome>,
}

/// What a reload changed of deployments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeploymentChanges {
    pub now: u32,
    pub added: u32,
    pub changed: u32,
    pub removed: u32,
}

impl TryFrom<v1::ReloadResponse> for Reloaded {
    type Error = Invalid;

    fn try_from(answer: v1::ReloadResponse) -> Result<Self, Invalid> {
        let v1::ReloadResponse { players, added, removed, deployments, closed, services } = answer;
        let services = services.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?;
        let deployments = deployments.map(Into::into);
        Ok(Self { players, added, removed, deployments, closed, services })
    }
}

impl From<v1::DeploymentChanges> for DeploymentChanges {
    fn from(changes: v1::DeploymentChanges) -> Self {
        let v1::DeploymentChanges { now, added, changed, removed } = changes;
        Self { now, added, changed, removed }
    }
}

/// A store that was recovered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecoveredStore {
    pub term: u64,
    pub next_flow: u64,
}

impl From<v1::RecoverResponse> for RecoveredStore {
    fn from(answer: v1::RecoverResponse) -> Self {
        Self { term: answer.term, next_flow: answer.next_flow }
    }
}

/// What a recovery would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecoveryPlan {
    pub store_id: String,
    /// Why the store counts as an old copy, if it does.
    pub stale_store: Option<String>,
    /// The least term that would begin.
    pub term: u64,
    pub next_flow: u64,
    /// How many players would have to attach anew.
    pub attached: u32,
    /// How many of these would be quarantined still unless they prove what they claim.
    pub quarantined: u32,
}

impl From<v1::PlanRecoverResponse> for RecoveryPlan {
    fn from(plan: v1::PlanRecoverResponse) -> Self {
        Self {
            store_id: plan.store_id,
            stale_store: Some(plan.stale_store).filter(|why| !why.is_empty()),
            term: plan.term,
            next_flow: plan.next_flow,
            attached: plan.attached,
            quarantined: plan.quarantined,
        }
    }
}
