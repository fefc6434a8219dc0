//! Cancelling a flow: it is written first, then said to players until each has answered.

use std::sync::Arc;

use orchestra_model::{Asker, FlowId, FlowState, JobId, TaskState};

use crate::{
    Engine,
    answer::{self, Rejection, ReplyTo},
    effect::Command,
    ids::PlayerIx,
    rules::inconsistency::gone,
    tables::{flow::Flow, job::Job, task::TaskRef},
};

impl Engine {
    pub(crate) fn cancel(
        &mut self,
        reply: ReplyTo<answer::Cancelled>,
        id: FlowId,
        by: &Asker,
        reason: Option<Arc<str>>,
        abandon: bool,
    ) {
        let Some(flow) = self.flows.get_mut(id) else {
            return self.reject(reply, Rejection::UnknownFlow(id));
        };
        if flow.cancelled_by().is_none() {
            flow.cancel(by.clone(), reason);
            // The record of the cancel comes before those of what follows from it, because a
            // restart derives the latter from the former.
            self.update_flow(id);
            self.close_all(id);
            if self.flows.get(id).is_some_and(Flow::waits_to_begin) {
                self.end_before_it_begins(id);
            }
        }
        if abandon {
            self.abandon(id, by);
        }
        self.evaluate_changed();
        let state = self.flows.get(id).map_or(FlowState::Cancelled, Flow::state);
        self.answer(reply, answer::Cancelled { flow: id, state });
    }

    /// Makes all waiting tasks of a cancelled flow final, and tells the players that have orders of
    /// it.
    pub(crate) fn close_all(&mut self, id: FlowId) {
        let Some(flow) = self.flows.get(id) else { return gone() };
        let alive = flow.jobs().filter(|job| !job.state().is_final());
        let alive: Vec<JobId> = alive.map(Job::id).collect();
        for job in alive {
            self.close_waiting(job, TaskState::Cancelled);
            if let Some(record) = self.job(job).map(Job::record) {
                self.put(record);
            }
            for (player, task) in self.in_flight_of(job) {
                self.send_cancel(player, task);
            }
        }
    }

    /// Ends the wait for players that are not attached: what is in flight to them is `lost`.
    fn abandon(&mut self, id: FlowId, by: &Asker) {
        let Some(flow) = self.flows.get(id) else { return gone() };
        let jobs: Vec<JobId> = flow.jobs().map(Job::id).collect();
        for (player, task) in
            jobs.into_iter().flat_map(|job| self.in_flight_of(job)).collect::<Vec<_>>()
        {
            if !self.roster[player].attached() {
                self.finish(task, TaskState::Lost, Some(&format!("abandoned by {by}")));
            }
        }
    }

    /// Kills what runs of a doomed job, if the job asks for that.
    pub(crate) fn kill_doomed(&mut self, id: JobId) {
        if self.job(id).is_some_and(Job::is_to_be_killed) {
            for (player, task) in self.in_flight_of(id) {
                self.send_cancel(player, task);
            }
        }
    }

    fn in_flight_of(&self, id: JobId) -> Vec<(PlayerIx, TaskRef)> {
        let Some(job) = self.job(id).filter(|job| job.counts().in_flight() > 0) else {
            return Vec::new();
        };
        job.known_tasks()
            .filter(|(_, task)| task.state.is_in_flight())
            .filter_map(|(index, _)| Some((job.player_of(index)?, TaskRef::new(id, index))))
            .collect()
    }

    fn send_cancel(&mut self, player: PlayerIx, task: TaskRef) {
        let Some(session) = self.roster[player].reachable() else {
            // The player is told when it attaches.
            return gone();
        };
        let Some(job) = self.job(task.job()) else {
            return self.inconsistent(task.job().flow, "a task that is cancelled is of no job");
        };
        let known = job.task(task.index);
        let (key, order) = (known.key(self.store, job.id()), known.order);
        self.send(player, session, Command::Cancel { key, order });
    }
}
