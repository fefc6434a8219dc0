//! What the conductor keeps on disk, as values. The store owns their encoding; these are not
//! file formats.
//!
//! A flow is submitted with its [`SpecChunk`]s, [`HostsChunk`]s and [`ParamsRecord`]s before
//! its [`FlowRecord`], so that a store which kept only a prefix of the batch has no half flow.
//! A task has a record only once something happened to it; what a job's record says in
//! [`JobRecord::untouched`] holds for all others.

use std::{cmp::Ordering, collections::BTreeMap, sync::Arc};

use crate::{
    audit::Asker,
    audit::AuditRecord,
    bundle::{BundleId, RegisteredBundle},
    delivery::{EndBytes, OrderNumber, RequestId, SpoolId, Term},
    hostset::HostSet,
    ids::{FlowId, JobId},
    names::{DeploymentName, FlowName, HostName, JobName, ParamKey, ScoreName, ServiceName},
    params::Params,
    proof::Mac,
    service::{Brakes, PlacementRecord, ServiceRecord, ServiceVersion, VersionRecord},
    state::{FlowState, JobState, TaskState},
    status::Counts,
    thresholds::Thresholds,
    time::{Millis, Timestamp},
    tree::Parent,
};

/// One thing to write or remove.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Insert, or replace what has the same key (but see [`Record::End`]).
    Put(Record),
    /// Remove the parameters of a job.
    EraseParams(JobId),
    /// Remove everything about a finished flow (retention). It is gone for readers at once; its
    /// pieces may go later, a few at a time.
    PruneFlow(FlowId),
    /// Remove a host's hold.
    Release(HostName),
    /// Remove audit lines below this number (retention).
    PruneAudit(u64),
    /// Remove a version of a service, with its parameters.
    PruneVersion(ServiceName, ServiceVersion),
    /// Remove the placement of a service's instance on a host.
    Displace(ServiceName, HostName),
    /// Remove a bundle that is registered.
    ForgetBundle(BundleId),
}

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// The next flow id that will be issued.
    NextFlow(FlowId),
    /// The last `orc conductor recover`.
    Recovered(Recovered),
    /// The limits in force.
    InForce(InForce),
    /// A flow's state. Key: id.
    Flow(FlowRecord),
    /// A piece of a flow's spec. Key: flow, index.
    Spec(SpecChunk),
    /// A job's state. Key: id.
    Job(JobRecord),
    /// A piece of a job's folded host set. Key: job, index.
    Targets(HostsChunk),
    /// A piece of the hosts of a job's tree, as
    /// [`TreeShape::to_text`](crate::tree::TreeShape::to_text) tells them. Key: job, index.
    Tree(HostsChunk),
    /// A job's parameters. Key: job.
    Params(ParamsRecord),
    /// A task that something happened to. Key: job, index.
    Task(TaskRecord),
    /// How an attempt ended. Key: job, host, attempt. An attempt ends once, so the first stays: a
    /// player that repeats an end has nothing to add.
    End(EndRecord),
    /// A player of the players file, or one that was. Key: host.
    Player(PlayerRecord),
    /// A host that keeps its cells beyond the end of its tasks. Key: host. That a host holds cells
    /// while tasks run there follows from the tasks' records.
    Hold(HoldRecord),
    /// Who did what. Key: number.
    Audit(AuditRecord),
    /// A service. Key: name.
    Service(Box<ServiceRecord>),
    /// One content of a service's spec. Key: service, version.
    Version(VersionRecord),
    /// An instance on a player. Key: service, host.
    Placement(PlacementRecord),
    /// What holds replacements back over the fleet and its zones.
    Brakes(Brakes),
    /// A bundle that is registered. Key: its id.
    Bundle(Box<RegisteredBundle>),
}

/// That a conductor went on from an old copy of its store, once or more often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// The term that began with it: what players know of older terms may be more than this store
    /// does. 0: that never happened.
    pub term: Term,
    /// Flows below this number may have gone further than this store knows.
    pub half_known: FlowId,
}

/// That never happened.
impl Default for Recovered {
    fn default() -> Self {
        Self { term: Term(0), half_known: FlowId(0) }
    }
}

/// The limits that the fleet's files brought into force: remembered, so that one of which the file
/// has vanished is missed, at the next reload and at the next start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InForce {
    /// Every deployment.
    pub deployments: BTreeMap<DeploymentName, DeploymentInForce>,
    /// How many groups `groups.toml` has.
    pub groups: u32,
    /// Whether a revocation list keeps people out.
    pub revokes: bool,
    /// Which edition of each CA's list does.
    pub lists: Vec<ListEdition>,
    /// What groups and labels mean, by the word that stands for each: `@web`, `@tier=1`. Those of a
    /// single host are not among them, for they cannot lose any and still be there.
    pub words: BTreeMap<Arc<str>, HostSet>,
    /// What was read, by the name of each file, or directory of files: SHA-256 in hexadecimal, of a
    /// directory over its names and texts.
    pub files: BTreeMap<Arc<str>, Arc<str>>,
}

/// One edition of a CA's revocation list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListEdition {
    /// The CA's name.
    pub ca: Arc<str>,
    /// The CA's public key, in DER: a CA that was made anew under the same name counts from 1 again.
    pub key: Arc<[u8]>,
    /// The list's number, which grows from edition to edition: big-endian, without leading zeros.
    pub number: Option<Arc<[u8]>>,
    /// When it was made, to the second.
    pub made: Timestamp,
}

impl ListEdition {
    /// Whether it was made before another edition of the same CA: by their numbers where both have
    /// one, else by their times. With it, certificates that are revoked would be accepted again.
    pub fn is_older_than(&self, other: &ListEdition) -> bool {
        let by_number = match (&self.number, &other.number) {
            (Some(one), Some(other)) => one.len().cmp(&other.len()).then_with(|| one.cmp(other)),
            _ => Ordering::Equal,
        };
        self.ca == other.ca
            && self.key == other.key
            && by_number.then(self.made.cmp(&other.made)) == Ordering::Less
    }
}

/// What is remembered of a deployment in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeploymentInForce {
    /// The file that it is from, as people are told: `deployments.d/web.yaml`.
    pub file: Arc<str>,
    /// How many cells follow from it: as many limits and sequences hold.
    pub cells: u32,
}

/// Largest piece of a chunked record, in bytes: far below the 1 MB within which a store must be
/// atomic.
pub const CHUNK_BYTES: usize = 256 << 10;

/// A flow, without its spec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowRecord {
    pub id: FlowId,
    /// The id that its submitter made; with `audience` it finds the flow again.
    pub request: RequestId,
    /// Who submitted it, or in whose name that was done.
    pub audience: Asker,
    /// The conductor made it by itself, in that name.
    pub by_keeper: bool,
    /// For people.
    pub name: Option<FlowName>,
    /// Where it is.
    pub state: FlowState,
    /// When it was accepted.
    pub submitted_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Who cancelled it.
    pub cancelled_by: Option<Asker>,
    /// Why, as they said.
    pub cancel_reason: Option<Arc<str>>,
    /// Who paused it, until it is resumed.
    pub paused_by: Option<Asker>,
    /// The ended flow whose unfinished tasks it runs again.
    pub retry_of: Option<FlowId>,
    /// How the flow ended that this one begins after; `None` where that one lives, or there is none.
    pub predecessor: Option<FlowState>,
    /// Over the spec and the parameters that came with the request: the same request id with others
    /// is refused. `None` where the release that stored it made none.
    pub request_mac: Option<Mac>,
}

/// A piece of the spec's bytes as they came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpecChunk {
    pub flow: FlowId,
    /// Which piece, from 0.
    pub index: u32,
    /// At most [`CHUNK_BYTES`].
    pub bytes: Arc<[u8]>,
}

/// A job, without its host set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobRecord {
    /// Its place.
    pub id: JobId,
    pub name: JobName,
    pub score: ScoreName,
    /// How many tasks it has: its hosts, or 1 for a one-of job.
    pub tasks: u32,
    /// Where it is.
    pub state: JobState,
    /// When its slot began.
    pub started_at: Option<Timestamp>,
    /// When its verdict was set.
    pub ended_at: Option<Timestamp>,
    /// The state of every task that has no record of its own: `waiting` while the job lives.
    pub untouched: TaskState,
    /// Tasks by state; exact once the job ended.
    pub counts: Counts,
    /// The keys of its parameters, whose values are erased when the flow ends.
    pub param_keys: Vec<ParamKey>,
    /// Those of its parameters that its score does not call sensitive: kept with the flow, for a
    /// retry of it.
    pub kept_params: Arc<Params>,
    /// When the last of its canary tasks was ok.
    pub canary_ok_at: Option<Timestamp>,
    /// Who promoted it: the other tasks wait for its canary no more.
    pub promoted_by: Option<Asker>,
    /// Which of its flow's changes its end was; 0 while it lives. Tasks that have no record changed
    /// with it.
    pub change: u64,
    /// What its limits came to when it was submitted; `None` in jobs of the first release.
    pub thresholds: Option<Box<Thresholds>>,
}

/// A piece of a text that names hosts of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostsChunk {
    pub job: JobId,
    /// Which piece, from 0.
    pub index: u32,
    /// At most [`CHUNK_BYTES`]; the pieces in order are the text.
    pub text: Arc<str>,
}

/// A job's parameters, kept apart because they are erased when the flow ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParamsRecord {
    pub job: JobId,
    /// Keys and values.
    pub params: Params,
}

/// A task that something happened to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskRecord {
    pub job: JobId,
    /// Its place in the job's host set, from 0; 0 for a one-of job.
    pub index: u32,
    pub host: HostName,
    /// Where it is. `running` is not recorded: it follows from what the player says.
    pub state: TaskState,
    /// The newest attempt, from 1; 0 where none was sent.
    pub attempt: u32,
    /// How many of the job's extra attempts were used.
    pub retries: u32,
    /// The order of the newest attempt.
    pub order: OrderNumber,
    /// When that order was decided; `None` for a one-of task whose player did not start it, so that
    /// it belongs to none.
    pub sent_at: Option<Timestamp>,
    /// When the newest attempt started.
    pub started_at: Option<Timestamp>,
    /// When the task became final; while it waits for a further attempt, when the last one ended.
    pub ended_at: Option<Timestamp>,
    /// What the newest attempt means for its host's cells.
    pub impact: Impact,
    /// What it would be without a further attempt: how the last one ended, if any did.
    pub before: Option<TaskState>,
    /// Exit code of the newest attempt that exited.
    pub exit: Option<i32>,
    /// Signal that the newest attempt died of.
    pub signal: Option<i32>,
    /// Why it was refused or lost, for people.
    pub detail: Option<Arc<str>>,
    /// The longest that the newest attempt may take, killing included, by the limits that held
    /// when it was sent; `None` where the player had told none. Whole seconds.
    pub time_limit: Option<Millis>,
    /// Which of its flow's changes this is, from 1: what a reader of the flow's events has not heard
    /// has a higher number than what it has. 0 in what the previous release wrote.
    pub change: u64,
    /// Who serves the newest attempt; `None` where none was sent, or the job has no tree.
    pub parent: Option<Parent>,
}

/// What an attempt means for the cells of its host. Decided when it is sent, from what the player
/// said of its score then.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Impact {
    /// A look, not a change: it takes no cells, and its success says nothing of the host.
    #[default]
    Look,
    /// A change that takes no cells, because its job is `unthrottled`.
    Unthrottled,
    /// A change: its host holds its cells from the send on.
    Holds,
}

/// That a host counts as down: it keeps its cells, until a later change succeeds there or an
/// operator releases it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HoldRecord {
    /// Who.
    pub host: HostName,
    /// The job whose attempt left it so; after a retry of its flow as a new one, the new flow's.
    pub job: JobId,
    /// That attempt's order: a change of a higher order is a later one.
    pub order: OrderNumber,
    /// How that task stands: `failed`, `timed-out`, `lost` or `cancelled`.
    pub state: TaskState,
    /// Since when the host holds its cells.
    pub since: Timestamp,
}

/// How an attempt ended, in the bytes that the player made of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndRecord {
    pub job: JobId,
    pub host: HostName,
    /// Which execution.
    pub attempt: u32,
    /// Whether it came after the task was final: kept as a note, the state stays.
    pub late: bool,
    /// As the sitter encoded it.
    pub end: EndBytes,
}

/// What must be known of a player over restarts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlayerRecord {
    /// Who.
    pub host: HostName,
    /// The spool that answered last.
    pub spool: Option<SpoolId>,
    /// The highest order number issued.
    pub last_order: OrderNumber,
    /// When its session ended, if it has none.
    pub detached_at: Option<Timestamp>,
    /// Whether the players file no longer names it.
    pub removed: bool,
    /// Whether somebody drained it: nothing new starts there.
    pub drained: Option<Drain>,
}

/// Who drained a player, why, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drain {
    pub by: Asker,
    /// Why, for people; at most [`limits::REASON_BYTES`](crate::limits::REASON_BYTES).
    pub reason: Arc<str>,
    pub since: Timestamp,
}
