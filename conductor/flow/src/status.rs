//! What a living flow looks like from outside. Ended ones are told from the store.

use orchestra_model::{
    AudienceName, FlowId, JobId, TaskState, WaitReason,
    status::{FlowStatus, JobStatus, TaskStatus},
};

use crate::{Engine, job::Job, task::TaskRef};

impl Engine {
    /// A living flow, its slots and jobs.
    pub fn flow_status(&self, id: FlowId) -> Option<FlowStatus> {
        let flow = self.flows.get(&id)?;
        let slot = |jobs: &Vec<Job>| jobs.iter().map(|job| self.job_status(job)).collect();
        Some(FlowStatus {
            summary: flow.summary(),
            cancelled_by: flow.cancelled_by.clone(),
            stale_store: self.stale.is_some(),
            slots: flow.slots.iter().map(slot).collect(),
        })
    }

    fn job_status(&self, job: &Job) -> JobStatus {
        JobStatus {
            id: job.id,
            name: job.spec.name.clone(),
            score: job.spec.score.clone(),
            scope: job.spec.scope,
            state: job.state,
            targets: job.shown_targets.to_string(),
            counts: job.counts,
            waiting: job.waiting_reasons(self.stale.is_some()),
            window: job.window,
            needed: job.needed,
            started_at: job.started_at,
            ended_at: job.ended_at,
        }
    }

    /// Tasks of a living job from place `from` on, at most `limit`; `None` if it is not alive.
    pub fn tasks(&self, id: JobId, from: u32, limit: u32) -> Option<Vec<TaskStatus>> {
        let job = self.job(id)?;
        let end = from.saturating_add(limit).min(job.total());
        Some((from..end).map(|index| self.task_status(job, index)).collect())
    }

    fn task_status(&self, job: &Job, index: u32) -> TaskStatus {
        let task = job.task(index);
        let state = job.state_of(index);
        let exit = task.newest_exit();
        TaskStatus {
            job: job.id,
            index,
            host: job.player_of(index).map(|player| self.host(player)),
            state,
            reason: (state == TaskState::Waiting).then(|| self.reason(job, index)),
            detail: task.detail,
            attempt: task.attempt,
            exit: exit.code(),
            signal: exit.signal(),
            started_at: task.started_at,
            ended_at: task.ended_at.or(job.ended_at.filter(|_| state.is_final())),
            end: None,
        }
    }

    /// The gate that a waiting task waits for.
    fn reason(&self, job: &Job, index: u32) -> WaitReason {
        use orchestra_model::JobState;
        match job.state {
            JobState::Pending => return WaitReason::Slot,
            JobState::Doomed => return WaitReason::Doomed,
            _ if self.stale.is_some() => return WaitReason::StaleStore,
            _ => {}
        }
        match job.player_of(index) {
            None => WaitReason::NoPlayer,
            Some(player) if job.is_parked(index) => {
                let entry = TaskRef::new(job.id, job.choice.chosen.unwrap_or(index));
                let gate = self.roster[player].newcomer_gate(&job.spec.score, entry);
                gate.unwrap_or(WaitReason::PlayerBusy)
            }
            Some(_) => WaitReason::Window,
        }
    }

    /// Flows that have not ended, oldest first.
    pub fn alive(&self) -> impl Iterator<Item = FlowId> + '_ {
        self.flows.keys().copied()
    }

    /// How many flows have not ended.
    pub fn alive_count(&self) -> usize {
        self.flows.len()
    }

    /// Whether the flow is alive and whose it is.
    pub fn audience_of(&self, id: FlowId) -> Option<&AudienceName> {
        self.flows.get(&id).map(|flow| &flow.audience)
    }
}
