//! What holds a job's tasks back for a while: quorum, canary, the delay before a further attempt.

use orchestra_model::{JobId, TaskState};

use crate::{
    Engine,
    ids::PlayerIx,
    rules::inconsistency::gone,
    tables::{
        deadlines::Deadline,
        job::Job,
        player::Player,
        task::{Parked, TaskRef},
    },
};

impl Engine {
    // ---- quorum ----

    /// Counts which of a job's players are attached, if nothing of it starts before enough of them
    /// are.
    pub(crate) fn await_quorum(&mut self, id: JobId) {
        let Some(job) = self.job(id).filter(|job| job.quorum().needed > 0 && !job.is_closed())
        else {
            return;
        };
        let count = |is: fn(&Player) -> bool| {
            let those = job.targets().iter().filter(|player| is(&self.roster[**player]));
            u32::try_from(those.count()).unwrap_or(u32::MAX)
        };
        let (attached, members) = (count(Player::attached), count(Player::is_member));
        self.flows.change(id, |job| job.count_quorum(attached, members));
        self.gathering.insert(id);
        self.note_quorum(id);
    }

    /// Counts a player that came or went in all jobs that wait for enough players.
    pub(crate) fn count_in_quorums(&mut self, player: PlayerIx, here: bool) {
        if self.gathering.is_empty() {
            return;
        }
        let waiting: Vec<JobId> = self.gathering.iter().copied().collect();
        for id in waiting {
            let Some(job) = self.flows.job(id) else { continue };
            let place = self.roster.place_among(job.targets(), player);
            if place.is_some() {
                self.flows.change(id, |job| job.count_attached(here));
                self.note_quorum(id);
            }
        }
    }

    fn note_quorum(&mut self, id: JobId) {
        if self.flows.change(id, Job::reach_quorum) == Some(true) {
            self.gathering.remove(&id);
        }
    }

    // ---- canary ----

    /// Looks whether the rest of a job has to wait for its canary any longer.
    pub(crate) fn watch_canary(&mut self, id: JobId) {
        let now = self.now;
        let Some(job) = self.job(id).filter(|job| !job.canary().is_open) else { return };
        if job.canary().ok < job.canary().tasks {
            return;
        }
        let (was_ok_at, bake) = (job.canary().ok_at, job.spec().bake);
        if was_ok_at.is_none() {
            let record = self.flows.change(id, |job| {
                job.pass_canary(now);
                job.record()
            });
            record.into_iter().for_each(|record| self.put(record));
        }
        let Some(due) = bake.map(|bake| was_ok_at.unwrap_or(now).after(bake)) else { return };
        if due <= now {
            self.flows.change(id, Job::open_canary);
        } else {
            self.deadlines.insert(due, Deadline::Baked(id));
        }
    }

    // ---- the delay before a further attempt ----

    /// Ends a task's delay before a further attempt.
    pub(crate) fn end_delay(&mut self, task: TaskRef) {
        let now = self.now;
        let Some(job) = self.job(task.job()) else { return gone() };
        let delay = job.spec().retry_delay;
        let is_due = job.known(task.index).is_some_and(|task| {
            let due = task.ended_at.get().unwrap_or_default().after(delay) <= now;
            task.state == TaskState::Waiting && due
        });
        if is_due && job.place_of(task.index) == Parked::Delayed {
            self.flows.change(task.job(), |job| job.make_ready(task.index));
        }
    }

    /// After a restart: lets the tasks of a job wait for the rest of their delays.
    pub(crate) fn delay_again(&mut self, id: JobId) {
        let now = self.now;
        let delayed = self.flows.change(id, |job| job.delay_again(now)).unwrap_or_default();
        for (at, index) in delayed {
            self.deadlines.insert(at, Deadline::Retry(TaskRef::new(id, index)));
        }
    }
}
