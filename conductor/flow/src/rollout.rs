//! What operators steer while a flow is alive, and what holds its tasks back for a while: pause and
//! resume, quorum, canary and promotion, the delay before a retry, further attempts, drains.

use orchestra_model::{
    AudienceName, FlowId, FlowState, HostSet, JobId, JobState, TaskState, record::Drain,
};

use crate::{
    Engine,
    deadline::Deadline,
    effect::{Answer, Rejection},
    ids::{PlayerIx, ReplyId},
    job::{Job, Quorum},
    player::Player,
    task::{Parked, TaskRef},
};

impl Engine {
    // ---- pause and resume ----

    pub(crate) fn pause(&mut self, reply: ReplyId, id: FlowId, by: AudienceName) {
        let Some(flow) = self.flows.get_mut(id) else { return self.know_no_flow(reply, id) };
        if flow.cancelled_by.is_some() {
            return self.answer(reply, Answer::Rejected(Rejection::Cancelling(id)));
        }
        if flow.paused_by.is_none() {
            flow.paused_by = Some(by);
            self.set_paused(id, true);
        }
        self.answer_state(reply, id);
    }

    pub(crate) fn unpause(&mut self, reply: ReplyId, id: FlowId) {
        let Some(flow) = self.flows.get_mut(id) else { return self.know_no_flow(reply, id) };
        if flow.paused_by.take().is_some() {
            self.set_paused(id, false);
        }
        self.answer_state(reply, id);
    }

    fn set_paused(&mut self, id: FlowId, paused: bool) {
        let Some(flow) = self.flows.get_mut(id) else { return };
        for job in flow.slots.iter_mut().flatten() {
            job.paused = paused;
        }
        let open = flow.jobs().filter(|job| job.state == JobState::Running);
        let open: Vec<JobId> = open.map(|job| job.id).collect();
        let record = flow.record();
        self.put(record);
        for job in open {
            self.enqueue(job);
            self.changed.insert(job);
        }
        self.settle();
        self.update_flow(id);
    }

    pub(crate) fn know_no_flow(&mut self, reply: ReplyId, id: FlowId) {
        self.answer(reply, Answer::Rejected(Rejection::UnknownFlow(id)));
    }

    fn answer_state(&mut self, reply: ReplyId, id: FlowId) {
        let state = self.flows.get(id).map_or(FlowState::Failed, |flow| flow.state);
        self.answer(reply, Answer::Changed { flow: id, state });
    }

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
        let (attached, members) = (count(Player::attached), count(|player| player.member));
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

    pub(crate) fn promote(
        &mut self,
        reply: ReplyId,
        id: FlowId,
        job: Option<JobId>,
        by: &AudienceName,
    ) {
        let Some(flow) = self.flows.get(id) else { return self.know_no_flow(reply, id) };
        let is_meant = |of: &&Job| {
            job.is_none_or(|job| job == of.id)
                && !of.canary.is_open
                && of.state == JobState::Running
        };
        let jobs: Vec<JobId> = flow.jobs().filter(is_meant).map(|job| job.id).collect();
        if jobs.is_empty() {
            return self.answer(reply, Answer::Rejected(Rejection::NothingToPromote(id)));
        }
        for id in jobs {
            let Some(job) = self.job_mut(id) else { continue };
            job.canary.is_open = true;
            job.canary.promoted_by = Some(by.clone());
            let record = job.record();
            self.put(record);
            self.enqueue(id);
            self.changed.insert(id);
        }
        self.settle();
        self.answer_state(reply, id);
    }

    // ---- further attempts ----

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

    /// Gives tasks that ended and are not ok a further attempt, in jobs that have not ended.
    pub(crate) fn retry(
        &mut self,
        reply: ReplyId,
        id: FlowId,
        job: Option<JobId>,
        hosts: Option<&HostSet>,
    ) {
        let Some(flow) = self.flows.get(id) else { return self.know_no_flow(reply, id) };
        if flow.cancelled_by.is_some() {
            return self.answer(reply, Answer::Rejected(Rejection::Cancelling(id)));
        }
        let is_meant = |of: &&Job| {
            let alive = matches!(of.state, JobState::Running | JobState::Doomed);
            alive && !of.is_closed() && job.is_none_or(|job| job == of.id)
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
                    tasks.push(TaskRef::new(job.id, index));
                }
            }
        }
        if tasks.is_empty() {
            return self.answer(reply, Answer::Rejected(Rejection::NothingToRetry(id)));
        }
        for task in &tasks {
            self.reopen(*task);
        }
        self.settle();
        let tasks = u32::try_from(tasks.len()).unwrap_or(u32::MAX);
        self.answer(reply, Answer::Retried { flow: id, tasks });
    }

    fn reopen(&mut self, task: TaskRef) {
        let Some(job) = self.job_mut(task.job()) else { return };
        let was = job.state_of(task.index);
        job.reopen(task.index);
        let returns = job.is_returning(task.index).then(|| job.player_of(task.index)).flatten();
        if let Some(player) = returns {
            self.roster[player].returning += 1;
            self.weigh(player);
        }
        self.tell_task(task);
        self.step_in_line(task, was, TaskState::Waiting);
        self.enqueue(task.job());
        self.changed.insert(task.job());
    }

    // ---- drains ----

    /// Drains players, or lets them work again.
    pub(crate) fn drain(&mut self, reply: ReplyId, hosts: &HostSet, drain: Option<&Drain>) {
        let unknown = hosts.unknown(|host| self.roster.member(host).is_some());
        if !unknown.is_empty() {
            return self.answer(reply, Answer::Rejected(Rejection::UnknownPlayers(unknown)));
        }
        let (mut news, mut in_flight) = (Vec::new(), 0);
        for host in hosts {
            let Some(ix) = self.roster.member(host) else { continue };
            let player = &mut self.roster[ix];
            in_flight += u32::try_from(player.in_flight.len()).unwrap_or(u32::MAX);
            if player.drained.is_some() == drain.is_some() {
                continue;
            }
            player.drained = drain.cloned().map(Box::new);
            let record = player.record();
            let jobs: Vec<JobId> = player.parked().map(TaskRef::job).collect();
            self.put(record);
            self.changed.extend(jobs);
            self.woken.insert(ix);
            news.push(host.clone());
        }
        self.answer(reply, Answer::Drained { hosts: HostSet::from_names(news), in_flight });
    }
}
