//! A flow: slots of jobs, one slot at a time.

use std::sync::Arc;

use orchestra_model::{
    AudienceName, FlowId, FlowState, JobId, JobState, Timestamp,
    delivery::RequestId,
    names::FlowName,
    record::{FlowRecord, Op, Record},
    status::{Event, FlowSummary},
};

use crate::job::Job;

/// A living flow.
#[derive(Clone, Debug)]
pub(crate) struct Flow {
    pub(crate) id: FlowId,
    pub(crate) request: RequestId,
    pub(crate) audience: AudienceName,
    pub(crate) name: Option<FlowName>,
    pub(crate) state: FlowState,
    pub(crate) submitted_at: Timestamp,
    pub(crate) ended_at: Option<Timestamp>,
    pub(crate) cancelled_by: Option<AudienceName>,
    pub(crate) slots: Vec<Vec<Job>>,
    /// The slot that has begun last, from 0.
    pub(crate) slot: usize,
}

impl Flow {
    pub(crate) fn job(&self, id: JobId) -> Option<&Job> {
        self.slots.get(usize::from(id.slot).checked_sub(1)?)?.get(usize::from(id.job) - 1)
    }

    pub(crate) fn job_mut(&mut self, id: JobId) -> Option<&mut Job> {
        self.slots.get_mut(usize::from(id.slot).checked_sub(1)?)?.get_mut(usize::from(id.job) - 1)
    }

    pub(crate) fn jobs(&self) -> impl Iterator<Item = &Job> {
        self.slots.iter().flatten()
    }

    pub(crate) fn jobs_mut(&mut self) -> impl Iterator<Item = &mut Job> {
        self.slots.iter_mut().flatten()
    }

    /// What state the flow is in, from those of its jobs.
    pub(crate) fn derived_state(&self) -> FlowState {
        let over = self.jobs().all(|job| job.state.is_final());
        let any = |state: JobState| self.jobs().any(|job| job.state == state);
        match (over, self.cancelled_by.is_some()) {
            (true, true) => FlowState::Cancelled,
            (false, true) => FlowState::Cancelling,
            (true, false) if self.jobs().all(|job| job.state == JobState::Ok) => FlowState::Ok,
            (true, false) => FlowState::Failed,
            (false, false) if any(JobState::Doomed) || self.has_failed() => FlowState::Doomed,
            (false, false) if self.jobs().all(|job| job.state == JobState::Pending) => {
                FlowState::Pending
            }
            (false, false) => FlowState::Running,
        }
    }

    /// Whether a job has ended otherwise than ok: no further slot begins.
    pub(crate) fn has_failed(&self) -> bool {
        self.jobs().any(|job| job.state.is_final() && job.state != JobState::Ok)
    }

    pub(crate) fn record(&self) -> Op {
        Op::Put(Record::Flow(FlowRecord {
            id: self.id,
            request: self.request,
            audience: self.audience.clone(),
            name: self.name.clone(),
            state: self.state,
            submitted_at: self.submitted_at,
            ended_at: self.ended_at,
            cancelled_by: self.cancelled_by.clone(),
        }))
    }

    pub(crate) fn summary(&self) -> FlowSummary {
        FlowSummary {
            id: self.id,
            name: self.name.clone(),
            state: self.state,
            audience: self.audience.clone(),
            submitted_at: self.submitted_at,
            ended_at: self.ended_at,
        }
    }

    pub(crate) fn event(&self) -> Event {
        Event::Flow { flow: self.id, state: self.state }
    }
}

/// Cuts a folded host set to what a list can show.
pub fn shown(folded: &str) -> Arc<str> {
    const SHOWN: usize = 200;
    match folded.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &folded[..end]).into(),
        None => folded.into(),
    }
}
