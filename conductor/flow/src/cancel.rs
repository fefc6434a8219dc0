//! Cancelling a flow: durable first, then said to players until each has answered.

use orchestra_model::{AudienceName, FlowId, FlowState, JobId, JobState, TaskState};

use crate::{
    Engine, PlayerIx,
    effect::{Answer, Command, Rejection},
    input::ReplyId,
    task::TaskRef,
};

impl Engine {
    pub(crate) fn cancel(&mut self, reply: ReplyId, id: FlowId, by: AudienceName) {
        let Some(flow) = self.flows.get_mut(&id) else {
            return self.answer(reply, Answer::Rejected(Rejection::UnknownFlow(id)));
        };
        if flow.cancelled_by.is_none() {
            flow.cancelled_by = Some(by);
            // The state may stay `cancelling` for long, but who asked is to be on disk at once.
            flow.state = FlowState::Pending;
            let alive: Vec<(JobId, JobState)> = flow
                .jobs()
                .filter(|job| !job.state.is_final())
                .map(|job| (job.id, job.state))
                .collect();
            for (job, _) in &alive {
                self.close_waiting(*job, TaskState::Cancelled);
                if let Some(record) = self.job(*job).map(crate::job::Job::record) {
                    self.persist(record);
                }
            }
            self.update_flow(id);
            for (job, state) in alive {
                if state == JobState::Pending {
                    continue;
                }
                for (player, task) in self.in_flight_of(job) {
                    self.send_cancel(player, task);
                }
                self.evaluate(job);
            }
        }
        let state = self.flows.get(&id).map_or(FlowState::Cancelled, |flow| flow.state);
        self.answer(reply, Answer::Cancelled { flow: id, state });
    }

    fn in_flight_of(&self, id: JobId) -> Vec<(PlayerIx, TaskRef)> {
        let Some(job) = self.job(id) else {
            return Vec::new();
        };
        job.known_tasks()
            .filter(|(_, task)| task.state.is_in_flight())
            .filter_map(|(index, _)| Some((job.player_of(index)?, TaskRef::new(id, index))))
            .collect()
    }

    fn send_cancel(&mut self, player: PlayerIx, task: TaskRef) {
        let Some(session) = self.roster[player].session else {
            return;
        };
        let Some(job) = self.job(task.job()) else {
            return;
        };
        let known = job.task(task.index);
        let (key, order) = (known.key(self.store, job.id), known.order);
        self.send(player, session, Command::Cancel { key, order });
    }
}
