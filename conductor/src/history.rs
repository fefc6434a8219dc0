//! Flows that have ended, read from the store. Nothing is computed anew.

pub(crate) mod changes;
mod explain;
mod rest;
mod stored;

use std::{collections::BTreeMap, sync::Arc};

use orchestra_model::{
    FlowId, HostSet, JobId, TaskState,
    flow::{FlowSpec, JobSpec, Scope},
    hostset::InvalidHostSet,
    record::{FlowRecord, JobRecord, TaskRecord},
    start::StartStatus,
    status::{Counts, FlowStatus, FlowSummary, JobStatus, TaskStatus},
    thresholds::Thresholds,
    tree::TreeShape,
};
use orchestra_proto::{Invalid, v1};
use orchestra_store::{ReadError, Reader};
use prost::Message;

pub(crate) use self::{
    explain::explain,
    rest::{NoRest, Rest},
    stored::{StoredFlow, StoredJob},
};

/// Why a flow cannot be read back.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HistoryError {
    /// The store cannot be read.
    #[error("the store cannot be read")]
    Read(#[source] ReadError),
    /// The flow's spec is not in the store.
    #[error("the spec of flow {0} is not in the store")]
    NoSpec(FlowId),
    /// The stored spec cannot be decoded.
    #[error("the stored spec of flow {0} is not valid")]
    Spec(FlowId, #[source] Box<dyn std::error::Error + Send + Sync>),
    /// A stored host set is not valid.
    #[error("the stored host set of job {0} is not valid")]
    Targets(JobId, #[source] InvalidHostSet),
    /// The end of a stored attempt of this job cannot be read.
    #[error("a stored end of job {0} is not valid")]
    End(JobId, #[source] Invalid),
}

impl From<ReadError> for HistoryError {
    fn from(cause: ReadError) -> Self {
        Self::Read(cause)
    }
}

/// The spec of a flow, decoded.
pub(crate) fn spec(reader: &dyn Reader, flow: FlowId) -> Result<FlowSpec, HistoryError> {
    let bytes = reader.spec(flow)?.ok_or(HistoryError::NoSpec(flow))?;
    let invalid = |cause: Invalid| HistoryError::Spec(flow, Box::new(cause));
    let wire = v1::FlowSpec::decode(&bytes[..])
        .map_err(|cause| HistoryError::Spec(flow, Box::new(cause)))?;
    FlowSpec::try_from(&wire).map_err(invalid)
}

/// Encodes a spec as the store keeps it, which is as it would come in a submission.
pub(crate) fn spec_bytes(spec: &FlowSpec) -> Arc<[u8]> {
    v1::FlowSpec::from(spec).encode_to_vec().into()
}

/// The host set of a job.
pub(crate) fn targets(reader: &dyn Reader, job: JobId) -> Result<HostSet, HistoryError> {
    let text = reader.targets(job)?.unwrap_or_default();
    HostSet::parse_plain(&text).map_err(|cause| HistoryError::Targets(job, cause))
}

/// The hosts of a job's tree; none where it has no tree.
pub(crate) fn tree(reader: &dyn Reader, job: JobId) -> Result<TreeShape, HistoryError> {
    let text = reader.tree(job)?.unwrap_or_default();
    TreeShape::from_text(&text).map_err(|cause| HistoryError::Targets(job, cause))
}

/// Returns a flow as a line of a list.
pub(crate) fn summary(record: &FlowRecord) -> FlowSummary {
    FlowSummary {
        id: record.id,
        name: record.name.clone(),
        state: record.state,
        audience: record.audience.clone(),
        by_keeper: record.by_keeper,
        submitted_at: record.submitted_at,
        ended_at: record.ended_at,
        absent: 0,
        counts: None,
    }
}

/// Returns a flow with its slots and jobs; `None` if the store has no flow of that number.
pub(crate) fn flow_status(
    reader: &dyn Reader,
    id: FlowId,
) -> Result<Option<FlowStatus>, HistoryError> {
    let Some(record) = reader.flow(id)? else { return Ok(None) };
    let spec = spec(reader, id)?;
    let mut jobs = reader.jobs(id)?.into_iter();
    let mut slots = Vec::with_capacity(spec.slots.len());
    for slot in &spec.slots {
        let jobs = slot.jobs.iter().zip(jobs.by_ref());
        let statuses = jobs.map(|(spec, record)| {
            let text = reader.targets(record.id)?.unwrap_or_default();
            Ok(job_status(spec, &record, &text))
        });
        slots.push(statuses.collect::<Result<Vec<_>, HistoryError>>()?);
    }
    let mut counts = Counts::default();
    slots.iter().flatten().for_each(|job: &JobStatus| counts.add(&job.counts));
    Ok(Some(FlowStatus {
        summary: FlowSummary { counts: Some(counts), ..summary(&record) },
        cancelled_by: record.cancelled_by,
        cancel_reason: record.cancel_reason,
        paused_by: record.paused_by,
        retry_of: record.retry_of,
        start: (!spec.start.is_now())
            .then_some(StartStatus { start: spec.start, ended: record.predecessor }),
        stalled: Vec::new(),
        stale_store: false,
        slots,
    }))
}

/// Returns what the limits of a job came to. A job of the first release has not stored this, so its
/// limits are computed as that release did. Its quorum counted hosts and is not known from its
/// tasks.
pub(crate) fn thresholds(spec: &JobSpec, record: &JobRecord) -> Thresholds {
    let before = || Thresholds::before_they_were_kept(spec, record.tasks);
    record.thresholds.as_deref().copied().unwrap_or_else(before)
}

fn job_status(spec: &JobSpec, record: &JobRecord, targets: &str) -> JobStatus {
    let thresholds = thresholds(spec, record);
    JobStatus {
        id: record.id,
        name: record.name.clone(),
        score: record.score.clone(),
        scope: spec.scope,
        state: record.state,
        targets: orchestra_flow::shown(targets).to_string(),
        counts: record.counts,
        waiting: BTreeMap::new(),
        window: thresholds.window,
        needed: thresholds.needed,
        canary: None,
        started_at: record.started_at,
        ended_at: record.ended_at,
        absence: None,
    }
}

/// Returns at most `limit` tasks of a job from index `from` on: those with records, and in between
/// those to which nothing happened but the job's end.
fn tasks(
    reader: &dyn Reader,
    job: &JobRecord,
    scope: Scope,
    hosts: &HostSet,
    from: u32,
    limit: u32,
) -> Result<Vec<TaskStatus>, HistoryError> {
    let end = from.saturating_add(limit).min(job.tasks);
    let records = reader.tasks(job.id, from.checked_sub(1), limit as usize)?;
    let mut records = records.into_iter().peekable();
    let tasks = (from..end).map(|index| match records.next_if(|record| record.index == index) {
        Some(record) => task_status(&record, job),
        None => TaskStatus {
            job: job.id,
            index,
            host: match scope {
                Scope::All => hosts.as_slice().get(index as usize).cloned(),
                Scope::One => None,
            },
            state: job.untouched,
            reason: None,
            detail: None,
            attempt: 0,
            exit: None,
            signal: None,
            started_at: None,
            ended_at: job.ended_at,
            end: None,
            last_line: None,
            absence: None,
            parent: None,
        },
    });
    Ok(tasks.collect())
}

fn task_status(record: &TaskRecord, job: &JobRecord) -> TaskStatus {
    let state = match record.state {
        TaskState::Waiting => job.untouched,
        state => state,
    };
    TaskStatus {
        job: record.job,
        index: record.index,
        host: Some(record.host.clone()),
        state,
        reason: None,
        detail: record.detail.clone(),
        attempt: record.attempt,
        exit: record.exit,
        signal: record.signal,
        started_at: record.started_at,
        ended_at: record.ended_at,
        end: None,
        last_line: None,
        absence: None,
        parent: record.parent.clone(),
    }
}
