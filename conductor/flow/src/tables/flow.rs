//! A flow: slots of jobs, one slot at a time.

use std::sync::Arc;

use orchestra_model::{
    AudienceName, FlowId, FlowState, JobId, JobState, Timestamp,
    delivery::RequestId,
    names::FlowName,
    proof::Mac,
    record::{FlowRecord, Record},
    status::{Event, FlowSummary},
};

use crate::tables::{job::Job, sequence::Sequence};

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
    pub(crate) paused_by: Option<AudienceName>,
    pub(crate) retry_of: Option<FlowId>,
    pub(crate) request_mac: Option<Mac>,
    pub(crate) slots: Vec<Vec<Job>>,
    /// The slot that has begun last, from 0.
    pub(crate) slot: usize,
    pub(crate) tally: Tally,
    /// Which of the present slot's hosts come after which.
    pub(crate) sequence: Sequence,
    /// How many changes of its tasks and jobs were written, for readers that miss some.
    pub(crate) changes: u64,
}

/// What a flow's state follows from, kept so that no job's end has to look at all the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Jobs that have begun and not ended.
    pub(crate) open: usize,
    /// Those of them that are doomed.
    pub(crate) doomed: usize,
    /// Jobs that ended otherwise than ok: no further slot begins.
    pub(crate) failed: usize,
    /// Open jobs of which nothing goes on, and only a person can help.
    pub(crate) stuck: usize,
}

impl Tally {
    pub(crate) fn of<'a>(jobs: impl Iterator<Item = &'a Job>) -> Self {
        let mut tally = Tally::default();
        for job in jobs {
            tally.count(JobState::Pending, job.state);
            tally.stuck += usize::from(job.stuck);
        }
        tally
    }

    fn count(&mut self, from: JobState, to: JobState) {
        let is_open = |state| matches!(state, JobState::Running | JobState::Doomed);
        let is_failed = |state: JobState| state.is_final() && state != JobState::Ok;
        let moved = |n: &mut usize, is: &dyn Fn(JobState) -> bool| {
            *n = *n + usize::from(is(to)) - usize::from(is(from));
        };
        moved(&mut self.open, &is_open);
        moved(&mut self.doomed, &|state| state == JobState::Doomed);
        moved(&mut self.failed, &is_failed);
    }
}

impl Flow {
    pub(crate) fn job(&self, id: JobId) -> Option<&Job> {
        let (slot, job) = place(id)?;
        self.slots.get(slot)?.get(job)
    }

    pub(crate) fn job_mut(&mut self, id: JobId) -> Option<&mut Job> {
        let (slot, job) = place(id)?;
        self.slots.get_mut(slot)?.get_mut(job)
    }

    pub(crate) fn jobs(&self) -> impl Iterator<Item = &Job> {
        self.slots.iter().flatten()
    }

    /// Moves a job to another state. The caller persists and publishes.
    pub(crate) fn shift_job(&mut self, id: JobId, to: JobState) -> Option<&mut Job> {
        let from = std::mem::replace(&mut self.job_mut(id)?.state, to);
        self.tally.count(from, to);
        if to != JobState::Running {
            self.set_stuck(id, false);
        }
        self.job_mut(id)
    }

    /// Notes whether nothing of a job goes on. Whether that is news.
    pub(crate) fn set_stuck(&mut self, id: JobId, stuck: bool) -> bool {
        let Some(job) = self.job_mut(id) else { return false };
        let was = std::mem::replace(&mut job.stuck, stuck);
        self.tally.stuck = self.tally.stuck + usize::from(stuck) - usize::from(was);
        was != stuck
    }

    /// What state the flow is in, once its first slot has begun. It is over when no job of its
    /// present slot is open.
    pub(crate) fn derived_state(&self) -> FlowState {
        let Tally { open, doomed, failed, stuck } = self.tally;
        match (open == 0, self.cancelled_by.is_some()) {
            (true, true) => FlowState::Cancelled,
            (false, true) => FlowState::Cancelling,
            (true, false) if failed > 0 => FlowState::Failed,
            (true, false) => FlowState::Ok,
            (false, false) if stuck == open => FlowState::Stalled,
            (false, false) if doomed + failed > 0 => FlowState::Doomed,
            (false, false) if self.paused_by.is_some() => FlowState::Paused,
            (false, false) => FlowState::Running,
        }
    }

    /// Numbers a change that is about to be written.
    pub(crate) fn next_change(&mut self) -> u64 {
        self.changes += 1;
        self.changes
    }

    pub(crate) fn record(&self) -> Record {
        Record::Flow(FlowRecord {
            id: self.id,
            request: self.request,
            audience: self.audience.clone(),
            name: self.name.clone(),
            state: self.state,
            submitted_at: self.submitted_at,
            ended_at: self.ended_at,
            cancelled_by: self.cancelled_by.clone(),
            paused_by: self.paused_by.clone(),
            retry_of: self.retry_of,
            request_mac: self.request_mac,
        })
    }

    pub(crate) fn summary(&self) -> FlowSummary {
        FlowSummary {
            id: self.id,
            name: self.name.clone(),
            state: self.state,
            audience: self.audience.clone(),
            submitted_at: self.submitted_at,
            ended_at: self.ended_at,
            absent: 0,
        }
    }

    pub(crate) fn event(&self) -> Event {
        Event::Flow { flow: self.id, state: self.state }
    }
}

/// Where a job is among the slots. Ids count from 1; those that players name may be anything.
fn place(id: JobId) -> Option<(usize, usize)> {
    Some((usize::from(id.slot).checked_sub(1)?, usize::from(id.job).checked_sub(1)?))
}

/// Cuts a folded host set to what a list can show.
pub fn shown(folded: &str) -> Arc<str> {
    const SHOWN: usize = 200;
    match folded.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &folded[..end]).into(),
        None => folded.into(),
    }
}
