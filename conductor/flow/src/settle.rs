//! How things end: tasks become final, jobs get their verdict, slots follow, flows end.

use orchestra_model::{FlowId, JobId, JobState, TaskState, record::Op, status::Event};

use crate::{
    Engine,
    flow::Flow,
    job::Job,
    task::{Exit, Parked, Task, TaskRef},
};

/// Most parked tasks of ended flows that one turn takes out of players' queues.
const SWEEP: u32 = 256;

impl Engine {
    /// Makes a task final, gives back what it held, and lets its job follow.
    pub(crate) fn finish(&mut self, task: TaskRef, state: TaskState, detail: Option<&str>) {
        let now = self.now;
        let Some(job) = self.job(task.job()) else {
            return;
        };
        let player = job.player_of(task.index);
        let away = player.is_some_and(|player| !self.roster[player].attached());
        let was = job.state_of(task.index);
        if let (Some(player), true, false) = (player, job.is_parked(task.index), job.is_one_of()) {
            self.roster[player].unpark(|parked| parked == task);
        }
        let Some(job) = self.job_mut(task.job()) else {
            return;
        };
        if job.is_parked(task.index) && away && !job.is_one_of() {
            job.absent -= 1;
        }
        job.shift(task.index, given_up_as(state, &job.task(task.index)));
        job.ready.remove(&task.index);
        job.touched.remove(&task.index);
        let known = job.task_mut(task.index);
        known.parked = Parked::No;
        known.ended_at = Some(now);
        if detail.is_some() {
            known.detail = detail.map(Into::into);
        }
        self.record_task(task);
        self.publish_task(task);
        if let (Some(player), true) = (player, was.is_in_flight()) {
            self.release(task, player);
            self.evaluate(task.job());
            self.wake(player);
        } else {
            self.evaluate(task.job());
        }
    }

    /// Persists what is known of a task. One that never had a player has nothing to record.
    pub(crate) fn record_task(&mut self, task: TaskRef) {
        let Some(job) = self.job(task.job()) else {
            return;
        };
        // A one-of task that ended without ever choosing is filed under its first host.
        let Some(player) = job.player_of(task.index).or_else(|| job.targets.first().copied())
        else {
            return;
        };
        let record = job.task(task.index).record(task, self.roster.host(player));
        self.persist(record);
    }

    pub(crate) fn publish_task(&mut self, task: TaskRef) {
        let Some(job) = self.job(task.job()) else {
            return;
        };
        let Some(player) = job.player_of(task.index) else {
            return;
        };
        let known = job.task(task.index);
        let event = Event::Task {
            job: job.id,
            host: self.host(player),
            state: known.state,
            attempt: known.attempt,
            exit: known.exit.code(),
            signal: known.exit.signal(),
            detail: known.detail,
        };
        self.publish(event);
    }

    /// Looks whether the job is doomed, or over.
    pub(crate) fn evaluate(&mut self, id: JobId) {
        let Some(flow) = self.flows.get_mut(&id.flow) else {
            return;
        };
        let cancelled = flow.cancelled_by.is_some();
        let Some(job) = flow.job_mut(id) else { return };
        if job.state.is_final() || job.state == JobState::Pending {
            return;
        }
        let idle = job.counts.in_flight() == 0;
        if cancelled {
            if idle {
                self.end_job(id, JobState::Cancelled);
            }
        } else if job.counts.finished() == job.total() {
            let verdict = job.verdict();
            self.end_job(id, verdict);
        } else if job.is_doomed() {
            if idle {
                self.close_waiting(id, TaskState::Skipped);
                self.end_with_verdict(id);
            } else if job.state == JobState::Running {
                job.state = JobState::Doomed;
                let (record, event) = (job.record(), job.event());
                self.persist(record);
                self.publish(event);
                self.update_flow(id.flow);
            }
        } else if job.has_only_stragglers() {
            self.close_waiting(id, TaskState::Unreachable);
            self.end_with_verdict(id);
        }
    }

    fn end_with_verdict(&mut self, id: JobId) {
        if let Some(verdict) = self.job(id).map(Job::verdict) {
            self.end_job(id, verdict);
        }
    }

    /// Makes every waiting task final at once. Those that nothing happened to need no record:
    /// the job's says what they are.
    pub(crate) fn close_waiting(&mut self, id: JobId, state: TaskState) {
        let now = self.now;
        let Some(job) = self.job_mut(id) else { return };
        let touched = std::mem::take(&mut job.touched);
        for index in &touched {
            let known = job.task(*index);
            job.shift(*index, given_up_as(state, &known));
            let known = job.task_mut(*index);
            known.parked = Parked::No;
            known.ended_at = Some(now);
        }
        let untouched = job.waiting();
        job.counts.shift_many(TaskState::Waiting, state, untouched);
        job.untouched = state;
        job.absent = 0;
        job.ready.clear();
        for index in touched {
            self.record_task(TaskRef::new(id, index));
            self.publish_task(TaskRef::new(id, index));
        }
    }

    /// Sets the job's verdict, once, and lets its flow follow.
    pub(crate) fn end_job(&mut self, id: JobId, state: JobState) {
        let now = self.now;
        let Some(job) = self.job_mut(id) else { return };
        job.state = state;
        job.ended_at = Some(now);
        let (record, event) = (job.record(), job.event());
        self.persist(record);
        self.publish(event);
        self.follow(id.flow);
    }

    /// After a job ended: the next slot, or the end.
    pub(crate) fn follow(&mut self, id: FlowId) {
        let Some(flow) = self.flows.get_mut(&id) else {
            return;
        };
        if flow.slots[flow.slot].iter().any(|job| !job.state.is_final()) {
            return self.update_flow(id);
        }
        if flow.slots[flow.slot].iter().all(|job| job.state == JobState::Ok)
            && flow.cancelled_by.is_none()
            && flow.slot + 1 < flow.slots.len()
        {
            flow.slot += 1;
            return self.begin_slot(id);
        }
        let never: Vec<JobId> =
            flow.jobs().filter(|job| job.state == JobState::Pending).map(|job| job.id).collect();
        let cancelled = flow.cancelled_by.is_some();
        for job in never {
            self.skip_job(job, cancelled);
        }
        self.update_flow(id);
    }

    /// Ends a job whose slot never came.
    fn skip_job(&mut self, id: JobId, cancelled: bool) {
        let (tasks, state) = match cancelled {
            true => (TaskState::Cancelled, JobState::Cancelled),
            false => (TaskState::Skipped, JobState::Skipped),
        };
        self.close_waiting(id, tasks);
        let now = self.now;
        let Some(job) = self.job_mut(id) else { return };
        job.state = state;
        job.ended_at = Some(now);
        let (record, event) = (job.record(), job.event());
        self.persist(record);
        self.publish(event);
    }

    /// Brings the flow's state in line with its jobs'. A flow that ended leaves the engine: its
    /// parameters are erased, and whoever asks is told from the store.
    pub(crate) fn update_flow(&mut self, id: FlowId) {
        let now = self.now;
        let Some(flow) = self.flows.get_mut(&id) else {
            return;
        };
        let state = flow.derived_state();
        if state == flow.state {
            return;
        }
        flow.state = state;
        if state.is_final() {
            flow.ended_at = Some(now);
        }
        let (record, event) = (flow.record(), flow.event());
        if state.is_final() {
            let secret: Vec<JobId> =
                flow.jobs().filter(|job| !job.params.is_empty()).map(|job| job.id).collect();
            for job in secret {
                self.persist(Op::EraseParams(job));
            }
        }
        self.persist(record);
        self.publish(event);
        if state.is_final()
            && let Some(flow) = self.flows.remove(&id)
        {
            self.ended.insert(id);
            self.departed.push_back(flow);
        }
    }

    /// Takes parked tasks of ended flows out of players' queues, a few at a time. Until then they
    /// are dropped as they come up.
    pub(crate) fn sweep(&mut self) {
        let mut steps = 0;
        while steps < SWEEP {
            let Some(flow) = self.departed.front_mut() else {
                return;
            };
            let id = flow.id;
            let Some(parked) = next_parked(flow, &mut steps) else {
                self.departed.pop_front();
                continue;
            };
            for player in parked {
                self.roster[player].unpark(|task| task.job().flow == id);
            }
        }
    }
}

/// The players of the next task that still lies in queues. Cursors of an ended flow's jobs count
/// down to where the sweep has come.
fn next_parked(flow: &mut Flow, steps: &mut u32) -> Option<Vec<crate::roster::PlayerIx>> {
    for job in flow.jobs_mut() {
        while job.cursor > 0 && *steps < SWEEP {
            job.cursor -= 1;
            *steps += 1;
            if job.is_one_of() {
                return Some(job.targets.to_vec());
            }
            if job.is_parked(job.cursor) {
                return job.player_of(job.cursor).map(|player| vec![player]);
            }
        }
        if *steps >= SWEEP {
            return Some(Vec::new());
        }
    }
    None
}

/// A task that waited for a further attempt was sent before, so it is neither `skipped` nor
/// `unreachable`: it ends as its last attempt did.
fn given_up_as(state: TaskState, task: &Task) -> TaskState {
    match state {
        TaskState::Skipped | TaskState::Unreachable if task.retries > 0 => match task.exit {
            Exit::None => TaskState::TimedOut,
            Exit::Code(_) | Exit::Signal(_) => TaskState::Failed,
        },
        state => state,
    }
}
