//! What always holds, checked against the truth.

use orchestra_model::{
    FlowId, HostName, JobId, JobState, TaskState, delivery::AttemptKey, flow::Scope,
    status::JobStatus,
};

use super::{World, disk::Disk, host, player::FakePlayer};

impl World {
    /// What must be so whenever a process comes to exist.
    pub fn check_start(&mut self, name: &str, key: AttemptKey) {
        let times = self.starts.entry((host(name), key)).or_default();
        *times += 1;
        assert_eq!(*times, 1, "{key} is started again on {name}");
        let spec = &self.disk.spec_of(key.job.flow).slots[usize::from(key.job.slot) - 1].jobs
            [usize::from(key.job.job) - 1];
        let of_task = |(at, other): &&(HostName, AttemptKey)| {
            other.job == key.job && (spec.scope == Scope::One || at.as_str() == name)
        };
        let attempts = self.starts.keys().filter(of_task).count();
        let allowed = self.disk.may_retry || attempts <= 1 + spec.retries as usize;
        assert!(allowed, "{key}: {attempts} attempts were started");
        for job in self.disk.jobs(key.job.flow).into_iter().filter(|job| job.slot < key.job.slot) {
            assert_eq!(self.disk.job(job).state, JobState::Ok, "{key} is started before its slot");
        }
    }

    pub fn check(&mut self) {
        if let Err(violation) = self.engine.audit() {
            panic!("{violation}");
        }
        self.check_holds();
        let alive: Vec<FlowId> = self.engine.alive().collect();
        for flow in alive {
            let Some(status) = self.status(flow) else { continue };
            for job in status.slots.iter().flatten() {
                self.check_window(job);
                if !self.immediate {
                    // What is not on disk may still be undone.
                    continue;
                }
                for task in self.engine.tasks(job.id, 0, u32::MAX).unwrap_or_default() {
                    self.check_final(job.id, task.index, task.state);
                }
            }
        }
    }

    /// As many attempts as the window has may run in truth; those given up as lost do not count.
    fn check_window(&self, job: &JobStatus) {
        let tasks = self.engine.tasks(job.id, 0, u32::MAX).unwrap_or_default();
        let lost = |name: &HostName| {
            let theirs = tasks.iter().find(|task| task.host.as_ref() == Some(name));
            theirs.is_none_or(|task| task.state == TaskState::Lost)
        };
        let runs = |player: &FakePlayer| player.running().iter().any(|key| key.job == job.id);
        let running =
            self.players.iter().filter(|(name, player)| runs(player) && !lost(name)).count();
        assert!(running <= job.window as usize, "{}: {running} run of {}", job.id, job.window);
    }

    fn check_final(&mut self, job: JobId, index: u32, state: TaskState) {
        if state.is_final() {
            let before = *self.finals.entry((job, index)).or_insert(state);
            assert_eq!(before, state, "task {index} of {job} was final");
        } else {
            let was_final = self.finals.remove(&(job, index)).is_some();
            assert!(!was_final || self.disk.may_retry, "task {index} of {job} was final");
        }
    }

    /// The store is put back to an older state, and with it what may be known.
    pub fn put_back(&mut self, backup: Disk) {
        self.disk = backup;
        self.truth.forgotten = true;
    }

    /// Forgets what was seen final: after a restart that lost the end of it.
    pub fn forget_finals(&mut self) {
        self.finals.clear();
    }
}
