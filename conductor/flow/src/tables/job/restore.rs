//! A job as it was when the store was written.

use orchestra_model::{TaskState, Timestamp, record::JobRecord};

use super::Job;
use crate::tables::{
    task::{Parked, Task},
    tree::Bound,
};

impl Job {
    /// Restores what the job's record says, except for its tasks.
    pub(crate) fn restore(&mut self, record: JobRecord, is_paused: bool) {
        self.state = record.state;
        self.started_at = record.started_at;
        self.ended_at = record.ended_at;
        self.change = record.change;
        self.param_keys = record.param_keys;
        self.kept_params = record.kept_params;
        self.canary.ok_at = record.canary_ok_at;
        self.canary.is_open |= record.promoted_by.is_some();
        self.canary.promoted_by = record.promoted_by;
        self.paused = is_paused;
    }

    /// Restores a task. `chosen` is the index of the player that a one-of job is bound to, if it
    /// is.
    ///
    /// `bound` is who serves it, if the job has a tree.
    pub(crate) fn restore_task(
        &mut self,
        index: u32,
        task: Task,
        chosen: Option<u32>,
        bound: Option<Bound>,
    ) {
        if chosen.is_some() {
            self.choice.chosen = chosen;
        }
        if task.state == TaskState::Waiting {
            self.touched.insert(index);
        }
        self.counts.shift(TaskState::Waiting, task.state);
        if index < self.canary.tasks && task.state.is_final() {
            match task.state {
                TaskState::Ok => self.canary.ok += 1,
                _ => self.canary.failed += 1,
            }
        }
        if task.attempt > 0 {
            // A task was sent, so enough players had been attached.
            self.quorum.needed = 0;
        }
        if task.state.is_in_flight() {
            // Nobody is attached yet.
            self.away += u32::from(self.player_of(index).is_some());
        }
        self.restore_in_tree(index, task.state, bound);
        *self.tasks.get_mut(index) = task;
    }

    /// Restores what became of all tasks that have no record. To be called after all tasks that
    /// have one were restored.
    pub(crate) fn restore_untouched(&mut self, untouched: TaskState) {
        if untouched.is_final() {
            let waiting = self.waiting();
            self.counts.shift_many(TaskState::Waiting, untouched, waiting);
            self.untouched = untouched;
        }
    }

    /// Sets moments that lie in the future to now. Returns whether any moment of the job itself was
    /// one, and the tasks that had one.
    pub(crate) fn correct_moments(&mut self, now: Timestamp) -> (bool, Vec<u32>) {
        if self.state.is_final() {
            return (false, Vec::new());
        }
        let is_wrong = |at: Option<Timestamp>| at.is_some_and(|at| at > now);
        let is_own = is_wrong(self.started_at) || is_wrong(self.canary.ok_at);
        self.started_at = self.started_at.map(|at| at.min(now));
        self.canary.ok_at = self.canary.ok_at.map(|at| at.min(now));
        let mut tasks = Vec::new();
        for index in self.touched.clone() {
            let task = self.tasks.get_mut(index);
            if is_wrong(task.ended_at.get()) {
                task.ended_at = now.into();
                tasks.push(index);
            }
        }
        (is_own, tasks)
    }

    /// After a restart: lets tasks whose pause is not over go on to pause. Returns each with the
    /// end of its pause.
    pub(crate) fn delay_again(&mut self, now: Timestamp) -> Vec<(Timestamp, u32)> {
        let delay = self.spec.retry_delay;
        let due = |index: &u32| {
            let task = self.known(*index).filter(|task| task.before.is_some())?;
            let due = task.ended_at.get()?.after(delay);
            (due > now).then_some((due, *index))
        };
        let delayed: Vec<_> = self.touched.iter().filter_map(due).collect();
        for (_, index) in &delayed {
            self.park(*index, Parked::Delayed);
        }
        delayed
    }
}
