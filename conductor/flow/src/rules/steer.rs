//! What operators steer while a flow is alive: pause and resume, promotion, further attempts,
//! drains.

use orchestra_model::{
    Asker, FlowId, FlowState, HostSet, JobId, JobState, TaskState, record::Drain,
};

use crate::{
    Engine,
    answer::{self, Rejection, Reply, ReplyTo},
    tables::{flow::Flow, job::Job, player::Player, task::TaskRef},
};

impl Engine {
    // ---- pause and resume ----

    pub(crate) fn pause(&mut self, reply: ReplyTo<answer::Changed>, id: FlowId, by: Asker) {
        let Some(flow) = self.flows.get_mut(id) else { return self.know_no_flow(reply, id) };
        if flow.cancelled_by().is_some() {
            return self.reject(reply, Rejection::Cancelling(id));
        }
        if flow.pause(Some(by)) {
            self.set_paused(id, true);
        }
        self.answer_state(reply, id);
    }

    pub(crate) fn unpause(&mut self, reply: ReplyTo<answer::Changed>, id: FlowId) {
        let Some(flow) = self.flows.get_mut(id) else { return self.know_no_flow(reply, id) };
        if flow.pause(None) {
            self.set_paused(id, false);
        }
        self.answer_state(reply, id);
    }

    fn set_paused(&mut self, id: FlowId, paused: bool) {
        let Some(flow) = self.flows.get(id) else {
            return self.inconsistent(id, "a flow was paused or resumed that is not there");
        };
        let (record, jobs): (_, Vec<JobId>) = (flow.record(), flow.jobs().map(Job::id).collect());
        self.put(record);
        for job in jobs {
            self.flows.change(job, |job| job.set_paused(paused));
        }
        self.evaluate_changed();
        self.update_flow(id);
    }

    pub(crate) fn know_no_flow<T: Reply>(&mut self, reply: ReplyTo<T>, id: FlowId) {
        self.reject(reply, Rejection::UnknownFlow(id));
    }

    fn answer_state(&mut self, reply: ReplyTo<answer::Changed>, id: FlowId) {
        let state = self.flows.get(id).map_or(FlowState::Failed, Flow::state);
        self.answer(reply, answer::Changed { flow: id, state });
    }

    // ---- promotion ----

    pub(crate) fn promote(
        &mut self,
        reply: ReplyTo<answer::Changed>,
        id: FlowId,
        job: Option<JobId>,
        by: &Asker,
    ) {
        let Some(flow) = self.flows.get(id) else { return self.know_no_flow(reply, id) };
        let is_meant = |of: &&Job| {
            job.is_none_or(|job| job == of.id())
                && !of.canary().is_open
                && of.state() == JobState::Running
        };
        let jobs: Vec<JobId> = flow.jobs().filter(is_meant).map(Job::id).collect();
        if jobs.is_empty() {
            return self.reject(reply, Rejection::NothingToPromote(id));
        }
        for id in jobs {
            let record = self.flows.change(id, |job| {
                job.promote(by.clone());
                job.record()
            });
            record.into_iter().for_each(|record| self.put(record));
        }
        self.evaluate_changed();
        self.answer_state(reply, id);
    }

    // ---- further attempts ----

    /// Gives a further attempt to tasks that ended and are not ok, in jobs that have not ended.
    pub(crate) fn retry(
        &mut self,
        reply: ReplyTo<answer::Retried>,
        id: FlowId,
        job: Option<JobId>,
        hosts: Option<&HostSet>,
    ) {
        let Some(flow) = self.flows.get(id) else { return self.know_no_flow(reply, id) };
        if flow.cancelled_by().is_some() {
            return self.reject(reply, Rejection::Cancelling(id));
        }
        let is_meant = |of: &&Job| {
            let alive = matches!(of.state(), JobState::Running | JobState::Doomed);
            alive && !of.is_closed() && job.is_none_or(|job| job == of.id())
        };
        let mut tasks = Vec::new();
        for job in flow.jobs().filter(is_meant) {
            for (index, task) in job.known_tasks() {
                let on_host = || {
                    let player = job.player_of(index);
                    hosts.is_none_or(|hosts| {
                        player.is_some_and(|player| hosts.contains(self.roster.host(player)))
                    })
                };
                if task.state.is_final() && task.state != TaskState::Ok && on_host() {
                    tasks.push(TaskRef::new(job.id(), index));
                }
            }
        }
        if tasks.is_empty() {
            return self.reject(reply, Rejection::NothingToRetry(id));
        }
        let mut jobs = tasks.iter().filter_map(|task| self.job(task.job()));
        if let Some(service) = jobs.find_map(|job| job.spec().service()) {
            return self.reject(reply, Rejection::NotForRetries(service.clone()));
        }
        for task in &tasks {
            self.reopen(*task);
        }
        self.evaluate_changed();
        let tasks = u32::try_from(tasks.len()).unwrap_or(u32::MAX);
        self.answer(reply, answer::Retried { flow: id, tasks });
    }

    fn reopen(&mut self, task: TaskRef) {
        let Some(job) = self.job(task.job()) else {
            return self.inconsistent(task.job().flow, "a task that is retried is of no job");
        };
        let was = job.state_of(task.index);
        // Tasks that wait on because this one is open again queue before it.
        self.step_in_line(task, was, TaskState::Waiting);
        let returns = self.flows.change(task.job(), |job| {
            job.reopen(task.index);
            job.is_returning(task.index).then(|| job.player_of(task.index)).flatten()
        });
        if let Some(player) = returns.flatten() {
            self.roster.change(player, Player::expect_return);
        }
        self.tell_task(task);
    }

    // ---- drains ----

    /// Drains players, or lets them work again.
    pub(crate) fn drain(
        &mut self,
        reply: ReplyTo<answer::Drained>,
        hosts: &HostSet,
        drain: Option<&Drain>,
    ) {
        let unknown = hosts.unknown(|host| self.roster.member(host).is_some());
        if !unknown.is_empty() {
            return self.reject(reply, Rejection::UnknownPlayers(unknown));
        }
        let (mut news, mut in_flight) = (Vec::new(), 0);
        for host in hosts {
            let Some(ix) = self.roster.member(host) else { continue };
            let player = &self.roster[ix];
            in_flight += u32::try_from(player.in_flight().len()).unwrap_or(u32::MAX);
            if player.drained().is_some() == drain.is_some() {
                continue;
            }
            let record = self.roster.change(ix, |player| {
                player.drain(drain);
                player.record()
            });
            self.put(record);
            news.push(host.clone());
        }
        self.answer(reply, answer::Drained { hosts: HostSet::from_names(news), in_flight });
    }
}
