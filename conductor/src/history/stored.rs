//! Flows and jobs that have ended, with what every piece of their lists needs.

use orchestra_model::{
    FlowId, HostSet, JobId,
    failures::{FailureFold, FailureGroup},
    flow::{FlowSpec, Scope},
    record::JobRecord,
    state::NOT_OK,
    status::TaskStatus,
};
use orchestra_store::Reader;

use super::{HistoryError, spec, targets, tasks};

/// Most tasks that are read at once.
const PIECE: u32 = 1_000;

/// What all jobs of an ended flow need, read once because a flow may have thousands of jobs.
pub(crate) struct StoredFlow {
    records: Vec<JobRecord>,
    spec: FlowSpec,
}

/// What all pages of an ended job need, read once.
pub(crate) struct StoredJob {
    record: JobRecord,
    scope: Scope,
    hosts: HostSet,
}

impl StoredFlow {
    pub(crate) fn read(reader: &dyn Reader, flow: FlowId) -> Result<Self, HistoryError> {
        Ok(Self { records: reader.jobs(flow)?, spec: spec(reader, flow)? })
    }

    pub(crate) fn job(
        &self,
        reader: &dyn Reader,
        job: JobId,
    ) -> Result<Option<StoredJob>, HistoryError> {
        let place = self.records.binary_search_by_key(&job, |record| record.id);
        let Ok(record) = place.map(|place| self.records[place].clone()) else { return Ok(None) };
        let (slot, place) = (usize::from(job.slot) - 1, usize::from(job.job) - 1);
        let spec = self.spec.slots.get(slot).and_then(|slot| slot.jobs.get(place));
        let Some(scope) = spec.map(|spec| spec.scope) else { return Ok(None) };
        let hosts = match scope {
            Scope::All => targets(reader, job)?,
            // The task of a one-of job has a record, or it never chose a host.
            Scope::One => HostSet::default(),
        };
        Ok(Some(StoredJob { record, scope, hosts }))
    }

    /// Returns what did not end ok, of all jobs.
    pub(crate) fn failures(&self, reader: &dyn Reader) -> Result<Vec<FailureGroup>, HistoryError> {
        let mut fold = FailureFold::default();
        for record in &self.records {
            let is_any = NOT_OK.iter().any(|state| record.counts.get(*state) > 0);
            if let (true, Some(job)) = (is_any, self.job(reader, record.id)?) {
                for from in (0..job.record.tasks).step_by(PIECE as usize) {
                    job.tasks(reader, from, PIECE)?.iter().for_each(|task| fold.add(task));
                }
            }
        }
        Ok(fold.finish())
    }
}

impl StoredJob {
    /// Returns the tasks from an index on, at most so many.
    pub(crate) fn tasks(
        &self,
        reader: &dyn Reader,
        from: u32,
        limit: u32,
    ) -> Result<Vec<TaskStatus>, HistoryError> {
        tasks(reader, &self.record, self.scope, &self.hosts, from, limit)
    }
}
