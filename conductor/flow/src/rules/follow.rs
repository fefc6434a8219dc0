//! Jobs that go on only where an earlier job ended ok.
//!
//! What they skip is found out when their slot begins, and once more after a start of the conductor,
//! because a crash may have kept the beginning of the slot and not what was skipped.

use orchestra_model::{JobId, TaskState};

use crate::{
    Engine,
    tables::{job::Job, task::TaskRef},
};

impl Engine {
    /// Skips the tasks of a job that begins or goes on, on hosts where the job that it follows did not
    /// end ok.
    pub(crate) fn skip_where_not_ok(&mut self, id: JobId) {
        let Some(flow) = self.flows.get(id.flow) else { return };
        let Some(job) = flow.job(id) else { return };
        let Some(name) = &job.spec().only_where_ok else { return };
        let Some(earlier) = flow.jobs().find(|job| job.spec().name == *name) else {
            return self.inconsistent(id.flow, "a job follows one that is not there");
        };
        let is_failed = |job: &Job, index| job.state_of(index) != TaskState::Ok;
        let failed = (0..earlier.total()).filter(|index| is_failed(earlier, *index));
        let hosts = failed.filter_map(|index| earlier.targets().get(index as usize));
        let skipped: Vec<u32> = hosts
            .filter_map(|player| self.roster.place_among(job.targets(), *player))
            .filter(|index| job.is_untouched(*index))
            .collect();
        let why = format!("job {name} did not end ok on its host");
        for index in skipped {
            let Some(job) = self.job(id) else { return };
            let state = job.task(index).given_up_as(TaskState::Skipped);
            self.finish(TaskRef::new(id, index), state, Some(&why));
        }
    }
}
