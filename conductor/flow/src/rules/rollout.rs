//! What holds a job's tasks back for a while: quorum, canary, the delay before a further attempt.

use orchestra_model::{JobId, TaskState};

use crate::{
    Engine,
    ids::PlayerIx,
    tables::{
        deadlines::Deadline,
        job::Quorum,
        player::Player,
        task::{Parked, TaskRef},
    },
};

impl Engine {
    // ---- quorum ----

    /// Counts which of a job's players are there, where nothing starts before enough of them are.
    pub(crate) fn await_quorum(&mut self, id: JobId) {
        let Some(job) = self.job(id).filter(|job| job.quorum.needed > 0 && !job.is_closed()) else {
            return;
        };
        let count = |is: fn(&Player) -> bool| {
            let those = job.targets.iter().filter(|player| is(&self.roster[**player]));
            u32::try_from(those.count()).unwrap_or(u32::MAX)
        };
        let (attached, members) = (count(Player::attached), count(Player::is_member));
        if let Some(job) = self.job_mut(id) {
            // Those that the players file names no more will never come.
            job.quorum = Quorum { needed: job.quorum.needed.min(members), attached };
        }
        self.gathering.insert(id);
        self.note_quorum(id);
    }

    /// A player came or went: those count it that wait for enough players.
    pub(crate) fn gather(&mut self, player: PlayerIx, here: bool) {
        if self.gathering.is_empty() {
            return;
        }
        let waiting: Vec<JobId> = self.gathering.iter().copied().collect();
        for id in waiting {
            let Some(job) = self.flows.job(id) else { continue };
            let place = self.roster.place_among(&job.targets, player);
            let Some(job) = self.job_mut(id).filter(|_| place.is_some()) else { continue };
            match here {
                true => job.quorum.attached += 1,
                false => job.quorum.attached -= 1,
            }
            self.note_quorum(id);
        }
    }

    fn note_quorum(&mut self, id: JobId) {
        let Some(job) = self.job_mut(id) else { return };
        if job.quorum.attached >= job.quorum.needed {
            job.quorum.needed = 0;
            self.gathering.remove(&id);
            self.enqueue(id);
            self.changed.insert(id);
        }
    }

    // ---- canary ----

    /// Looks whether a job's other tasks wait for its canary any more.
    pub(crate) fn watch_canary(&mut self, id: JobId) {
        let now = self.now;
        let Some(job) = self.job_mut(id).filter(|job| !job.canary.is_open) else { return };
        if job.canary.ok < job.canary.tasks {
            return;
        }
        let is_news = job.canary.ok_at.is_none();
        let ok_at = *job.canary.ok_at.get_or_insert(now);
        let due = job.spec.bake.map(|bake| ok_at.after(bake));
        let record = is_news.then(|| job.record());
        if due.is_some_and(|at| at <= now) {
            job.canary.is_open = true;
            self.enqueue(id);
        } else if let Some(at) = due {
            self.deadlines.insert(at, Deadline::Baked(id));
        }
        if let Some(record) = record {
            self.put(record);
        }
    }

    // ---- the delay before a further attempt ----

    /// The delay before a further attempt is over.
    pub(crate) fn end_delay(&mut self, task: TaskRef) {
        let now = self.now;
        let Some(job) = self.job_mut(task.job()) else { return };
        let delay = job.spec.retry_delay;
        let is_due = job.known(task.index).is_some_and(|task| {
            let due = task.ended_at.get().unwrap_or_default().after(delay) <= now;
            task.state == TaskState::Waiting && due
        });
        if is_due && job.place_of(task.index) == Parked::Delayed {
            job.park(task.index, Parked::Ready);
            self.enqueue(task.job());
        }
    }

    /// After a restart: tasks go on to wait for as long as their delay says.
    pub(crate) fn delay_again(&mut self, id: JobId) {
        let now = self.now;
        let Some(job) = self.job_mut(id) else { return };
        let delay = job.spec.retry_delay;
        let due = |index: &u32| {
            let task = job.known(*index).filter(|task| task.before.is_some())?;
            let due = task.ended_at.get()?.after(delay);
            (due > now).then_some((due, *index))
        };
        let delayed: Vec<_> = job.touched.iter().filter_map(due).collect();
        for (_, index) in &delayed {
            job.park(*index, Parked::Delayed);
        }
        for (at, index) in delayed {
            self.deadlines.insert(at, Deadline::Retry(TaskRef::new(id, index)));
        }
    }
}
