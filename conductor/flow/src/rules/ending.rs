//! How things end: tasks become final, jobs get their verdict, slots follow, flows end.

use std::sync::Arc;

use orchestra_model::{
    FlowId, JobId, JobState, TaskState,
    record::{Op, Record},
    status::Event,
};

use crate::{
    Effect, Engine,
    engine::Ended,
    rules::{holds::Left, inconsistency::gone},
    tables::{
        deadlines::Deadline,
        flow::Flow,
        job::Job,
        leftover::Leftover,
        player::Player,
        task::{Parked, TaskRef},
    },
};

impl Engine {
    /// Makes a task final, and gives back what it held. What follows for its job is done later
    /// (`Engine::work`).
    pub(crate) fn finish(&mut self, task: TaskRef, state: TaskState, detail: Option<&str>) {
        let (now, index) = (self.now, task.index);
        let Some(job) = self.job(task.job()) else {
            return self.inconsistent(task.job().flow, "a task that ends is of no job");
        };
        let (was, has_tree) = (job.state_of(index), job.tree().is_some());
        let player = job.player_of(index);
        match player {
            _ if was.is_final() => return,
            Some(player) if was.is_in_flight() => self.release(task, player, Left::of(state)),
            _ => {
                self.unpark(task);
                self.forget_return(task);
            }
        }
        let can_serve = has_tree && player.is_some_and(|player| self.roster[player].can_serve());
        self.flows.change(task.job(), |job| {
            job.finish(index, state, detail, now);
            // In the same step, or a task that waits would find that nobody serves.
            job.set_serves(index, can_serve);
        });
        if has_tree && state != TaskState::Ok {
            self.note_orphans(task);
        }
        self.tell_task(task);
        self.step_in_line(task, was, state);
    }

    /// Notes that a task which left its host down gets no further attempt.
    fn forget_return(&mut self, task: TaskRef) {
        let Some(job) = self.job(task.job()).filter(|job| job.is_returning(task.index)) else {
            return;
        };
        if let Some(player) = job.player_of(task.index) {
            self.roster.change(player, Player::forget_return);
        }
    }

    /// Takes a waiting task out of the queues that it may be in.
    fn unpark(&mut self, task: TaskRef) {
        let Some(job) = self.job(task.job()) else {
            return self.inconsistent(task.job().flow, "a task that ends is of no job");
        };
        let (is_parked, one_of) = (job.is_parked(task.index), job.is_one_of());
        let in_line = job.place_of(task.index) == Parked::Sequence;
        if in_line || one_of {
            self.leave_line(task);
        }
        let Some(job) = self.job(task.job()).filter(|_| is_parked) else { return };
        if one_of {
            return self.note_leftovers(task.job());
        }
        let (kind, ix) = (Arc::clone(job.kind()), job.targets()[task.index as usize]);
        self.roster.change(ix, |player| player.withdraw(&kind, task));
        if !self.roster[ix].attached() {
            self.disarm_give_up(task);
            self.flows.change(task.job(), |job| job.count_absent(false));
        }
    }

    /// Persists what is known of a task, and publishes it.
    pub(crate) fn tell_task(&mut self, task: TaskRef) {
        let change = self.next_change(task.job().flow);
        let Some(job) = self.job(task.job()) else {
            return self.inconsistent(task.job().flow, "a task is told of that is of no job");
        };
        let (record, event) =
            (self.task_record(job, task, change), self.task_event(job, task, change));
        if let Some(record) = record {
            self.put(record);
        }
        if let Some(event) = event {
            self.publish(event);
        }
    }

    /// Persists what is known of a task.
    pub(crate) fn record_task(&mut self, task: TaskRef) {
        let change = self.next_change(task.job().flow);
        let record = self.job(task.job()).and_then(|job| self.task_record(job, task, change));
        if let Some(record) = record {
            self.put(record);
        }
    }

    pub(crate) fn publish_task(&mut self, task: TaskRef) {
        let change = self.changes_of(task.job().flow).unwrap_or_default();
        let event = self.job(task.job()).and_then(|job| self.task_event(job, task, change));
        if let Some(event) = event {
            self.publish(event);
        }
    }

    /// Numbers a change of a flow that is about to be written.
    pub(crate) fn next_change(&mut self, flow: FlowId) -> u64 {
        self.flows.get_mut(flow).map_or(0, Flow::next_change)
    }

    /// How many changes of a living flow were written. All of them were published, in this order.
    pub fn changes_of(&self, flow: FlowId) -> Option<u64> {
        self.flows.get(flow).map(Flow::changes)
    }

    fn task_record(&self, job: &Job, task: TaskRef, change: u64) -> Option<Record> {
        // A one-of task that ended without a chosen player is filed under the first host of its
        // job.
        let player = job.player_of(task.index).or_else(|| job.targets().first().copied())?;
        let parent = self.parent_of(job, task.index);
        Some(job.task(task.index).record(task, self.roster.host(player), change, parent))
    }

    /// The event about a task. A one-of task without a chosen player has one only when it ends.
    fn task_event(&self, job: &Job, task: TaskRef, change: u64) -> Option<Event> {
        let player = job.player_of(task.index);
        let known = job.task(task.index);
        if player.is_none() && !known.state.is_final() {
            return None;
        }
        let exit = known.newest_exit();
        Some(Event::Task {
            job: job.id(),
            index: task.index,
            host: player.map(|player| self.host(player)),
            state: known.state,
            attempt: known.attempt,
            exit: exit.code(),
            signal: exit.signal(),
            detail: known.detail.as_deref().cloned(),
            before: known.before,
            absence: self.absence(job, task.index).filter(|_| known.state.is_in_flight()),
            change,
        })
    }

    /// Evaluates every job whose tasks have changed.
    pub(crate) fn evaluate_changed(&mut self) {
        loop {
            while let Some(job) = self.roster.pop_concerned() {
                self.flows.note_changed(job);
            }
            let Some(job) = self.flows.pop_changed() else { return };
            self.evaluate(job);
        }
    }

    /// Looks whether a job is doomed or over, and does what follows.
    fn evaluate(&mut self, id: JobId) {
        let Some(flow) = self.flows.get(id.flow) else { return gone() };
        let cancelled = flow.cancelled_by().is_some();
        let Some(job) = flow.job(id) else {
            return self.inconsistent(id.flow, "a job is evaluated that its flow does not have");
        };
        if job.state().is_final() || job.state() == JobState::Pending {
            return;
        }
        let idle = job.counts().in_flight() == 0;
        if cancelled {
            if idle {
                self.end_job(id, JobState::Cancelled);
            }
        } else if job.counts().finished() == job.total() {
            self.end_job(id, job.verdict());
        } else if job.is_doomed() && idle {
            self.close_waiting(id, TaskState::Skipped);
        } else if job.is_doomed() && job.state() == JobState::Running {
            self.shift_job(id, JobState::Doomed);
            self.kill_doomed(id);
            self.update_flow(id.flow);
        } else if !job.is_doomed() && job.state() == JobState::Doomed {
            // A doomed job goes on if somebody asked for further attempts.
            self.shift_job(id, JobState::Running);
            self.update_flow(id.flow);
        } else if job.has_only_stragglers() && self.now >= self.returning_until {
            self.close_waiting(id, TaskState::Unreachable);
        } else {
            if !job.canary().is_open {
                self.watch_canary(id);
            }
            self.note_stall(id);
        }
    }

    /// Makes every waiting task of a job final: see `Job::close`.
    pub(crate) fn close_waiting(&mut self, id: JobId, state: TaskState) {
        let now = self.now;
        let Some(job) = self.job(id) else {
            return self.inconsistent(id.flow, "a job is closed that is not there");
        };
        let leftover = (job.parked() > 0).then(|| Leftover::of(job));
        let returning: Vec<u32> =
            job.touched().iter().copied().filter(|index| job.is_returning(*index)).collect();
        for index in returning {
            self.forget_return(TaskRef::new(id, index));
        }
        let touched = self.flows.change(id, |job| job.close(state, now)).unwrap_or_default();
        self.leftovers.extend(leftover);
        self.gathering.remove(&id);
        for index in touched {
            self.tell_task(TaskRef::new(id, index));
        }
        if self.flows.get(id.flow).is_some_and(|flow| !flow.sequence().is_empty()) {
            self.count_gates(id.flow);
        }
    }

    /// Sets the job's verdict, and does what follows for its flow.
    fn end_job(&mut self, id: JobId, verdict: JobState) {
        self.shift_job(id, verdict);
        if self.flows.get(id.flow).is_some_and(|flow| !flow.sequence().is_empty()) {
            // Tasks of the job that failed will never be ok now.
            self.count_gates(id.flow);
        }
        self.follow(id.flow);
    }

    /// Moves a job to another state, persists and publishes it.
    pub(crate) fn shift_job(&mut self, id: JobId, to: JobState) {
        let Some((record, event)) = self.flows.shift_job(id, to, self.now) else {
            return self.inconsistent(id.flow, "a job changes that is not there");
        };
        if to.is_final()
            && let Some(at) = self.flows.change(id, Job::disarm_give_up).flatten()
        {
            self.deadlines.remove(at, Deadline::GiveUp(TaskRef::new(id, 0)));
        }
        self.put(record);
        self.publish(event);
    }

    /// Begins the next slot, or ends the flow, if the end of a job allows it.
    pub(crate) fn follow(&mut self, id: FlowId) {
        let Some(flow) = self.flows.get_mut(id) else {
            return self.inconsistent(id, "a job has ended of a flow that is not there");
        };
        let goes_on = flow.tally().failed == 0 && flow.cancelled_by().is_none();
        if flow.tally().open == 0 {
            if goes_on && flow.slot() + 1 < flow.slots().len() {
                flow.go_to_next_slot();
                return self.begin_slot(id);
            }
            return self.end_flow(id);
        }
        self.update_flow(id);
    }

    /// Ends a flow of which no job is open: what has not begun never will.
    pub(crate) fn end_flow(&mut self, id: FlowId) {
        let Some(flow) = self.flows.get(id) else { return gone() };
        let never = flow.jobs().filter(|job| job.state() == JobState::Pending);
        let never: Vec<JobId> = never.map(Job::id).collect();
        let (tasks, jobs) = match flow.cancelled_by() {
            Some(_) => (TaskState::Cancelled, JobState::Cancelled),
            None => (TaskState::Skipped, JobState::Skipped),
        };
        for job in never {
            self.close_waiting(job, tasks);
            self.shift_job(job, jobs);
        }
        self.update_flow(id);
    }

    /// Brings the flow's state in line with its jobs' states. A flow that has ended leaves the
    /// engine: its parameters are erased, and questions about it are answered from the store.
    pub(crate) fn update_flow(&mut self, id: FlowId) {
        let Some(flow) = self.flows.get_mut(id) else { return gone() };
        if !flow.follow_jobs(self.now) {
            return;
        }
        let state = flow.state();
        if state.is_final() {
            for job in flow.jobs().filter(|job| !job.params().is_empty()) {
                self.effects.push_back(Effect::Persist(Op::EraseParams(job.id())));
            }
        }
        let (record, event) = (flow.record(), flow.event());
        self.put(record);
        self.publish(event);
        if state.is_final()
            && let Some(flow) = self.flows.remove(id)
        {
            self.ended.insert(id, Ended { submission: flow.into_submission(), state });
            self.starts.note_end(id);
        }
    }

    /// Removes an ended flow from the store, with everything about it.
    pub(crate) fn forget_flow(&mut self, id: FlowId) {
        if let Some(Ended { submission, .. }) = self.ended.remove(&id) {
            self.requests.remove(&submission);
            self.effects.push_back(Effect::Persist(Op::PruneFlow(id)));
        }
    }
}
