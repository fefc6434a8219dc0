//! What is not found: because it has gone meanwhile, or because we made a mistake.
//!
//! Queues, deadlines and sets of what is to be looked at refer to flows, jobs and tasks by number, and
//! are not searched when those end. Whoever finds nothing there returns [`gone`]. Where the caller has
//! just seen what it asks for, finding nothing is an inconsistency: a test ends with it, and a daemon
//! tells it and stops the flow, rather than to go on without a task that then lies in no queue.

use orchestra_model::{FlowId, JobId};

use crate::{Engine, effect::Effect, tables::job::Job};

/// What this refers to has gone meanwhile, or waits here no more. That is no mistake.
pub(super) fn gone<T: Default>() -> T {
    T::default()
}

impl Engine {
    /// Something is so that cannot be. Nothing new of the flow starts until somebody has paused and
    /// resumed it, or the conductor has started anew; what runs of it goes on.
    #[cold]
    pub(crate) fn inconsistent(&mut self, flow: FlowId, what: &'static str) {
        debug_assert!(false, "flow {flow}: {what}");
        let jobs = self.flows.get(flow).into_iter().flat_map(|flow| flow.jobs().map(Job::id));
        for job in jobs.collect::<Vec<JobId>>() {
            self.flows.change(job, |job| job.set_paused(true));
        }
        self.effects.push_back(Effect::Inconsistent { flow, what });
    }
}
