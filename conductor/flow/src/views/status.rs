//! The status of living flows. The status of a flow that has ended comes from the store.

use std::collections::BTreeMap;

use orchestra_model::{
    Asker, FlowId, JobId, TaskState, Timestamp, WaitReason,
    delivery::AttemptKey,
    status::{Counts, FlowProgress, FlowStatus, FlowSummary, JobStatus, TaskStatus},
};

use crate::{
    Engine,
    ids::PlayerIx,
    tables::{
        flow::Flow,
        job::{Job, waits::Held},
        task::{Parked, TaskRef},
    },
};

impl Engine {
    /// A living flow, its slots and jobs.
    pub fn flow_status(&self, id: FlowId) -> Option<FlowStatus> {
        let flow = self.flows.get(id)?;
        let slot = |jobs: &Vec<Job>| jobs.iter().map(|job| self.job_status(job)).collect();
        let FlowProgress { absent, counts } = progress(flow);
        Some(FlowStatus {
            summary: FlowSummary { absent, counts: Some(counts), ..flow.summary() },
            cancelled_by: flow.cancelled_by().cloned(),
            cancel_reason: flow.cancel_reason().cloned(),
            paused_by: flow.paused_by().cloned(),
            retry_of: flow.retry_of(),
            start: Some(flow.awaited()).filter(|awaited| !awaited.start.is_now()),
            stalled: self.why_stalled(flow),
            stale_store: self.stale.is_some(),
            slots: flow.slots().iter().map(slot).collect(),
        })
    }

    /// How far a living flow has come; `None` if it is not alive.
    pub fn flow_progress(&self, id: FlowId) -> Option<FlowProgress> {
        self.flows.get(id).map(progress)
    }

    fn job_status(&self, job: &Job) -> JobStatus {
        JobStatus {
            id: job.id(),
            name: job.spec().name.clone(),
            score: job.spec().score.clone(),
            scope: job.spec().scope,
            state: job.state(),
            targets: job.shown_targets().to_string(),
            counts: *job.counts(),
            waiting: self.waiting_reasons(job),
            window: job.thresholds().window,
            needed: job.thresholds().needed,
            canary: job.canary_status().filter(|_| !job.state().is_final()),
            started_at: job.started_at(),
            ended_at: job.ended_at(),
            absence: self.job_absence(job),
        }
    }

    /// At most `limit` tasks of a living job from index `from` on; `None` if the job is not alive.
    pub fn tasks(&self, id: JobId, from: u32, limit: u32) -> Option<Vec<TaskStatus>> {
        let job = self.job(id)?;
        let end = from.saturating_add(limit).min(job.total());
        Some((from..end).map(|index| self.task_status(job, index)).collect())
    }

    fn task_status(&self, job: &Job, index: u32) -> TaskStatus {
        let task = job.task(index);
        let state = job.state_of(index);
        let exit = task.newest_exit();
        TaskStatus {
            job: job.id(),
            index,
            host: job.player_of(index).map(|player| self.host(player)),
            state,
            reason: (state == TaskState::Waiting).then(|| self.reason(job, index)),
            detail: task.detail.as_deref().cloned(),
            attempt: task.attempt,
            exit: exit.code(),
            signal: exit.signal(),
            started_at: task.started_at.get(),
            ended_at: task.ended_at.get().or(job.ended_at()).filter(|_| state.is_final()),
            end: None,
            last_line: None,
            absence: self.absence(job, index),
            parent: self.parent_of(job, index),
        }
    }

    /// Why the waiting tasks of a job wait. If they are few, each is looked at. Otherwise tasks
    /// parked on attached players are counted as busy, whatever their finer reason.
    fn waiting_reasons(&self, job: &Job) -> BTreeMap<WaitReason, u32> {
        /// A job with this many tasks is looked over in about a millisecond.
        const FEW: u32 = 10_000;
        if job.total() > FEW && !job.is_one_of() {
            let mut reasons = job.waiting_reasons(self.held(job));
            self.tell_quarantined_apart(job, &mut reasons);
            return reasons;
        }
        let mut reasons = BTreeMap::new();
        for index in (0..job.total()).filter(|index| job.state_of(*index) == TaskState::Waiting) {
            *reasons.entry(self.reason(job, index)).or_default() += 1;
        }
        reasons
    }

    /// What holds a job back of which it knows nothing itself.
    fn held(&self, job: &Job) -> Held {
        let flow = self.flows.get(job.id().flow);
        let has_not_begun = flow.is_some_and(Flow::waits_to_begin);
        Held { by_start: has_not_begun && job.id().slot == 1, by_store: self.stale.is_some() }
    }

    /// Counts tasks of quarantined players as `quarantined` instead of as absent.
    fn tell_quarantined_apart(&self, job: &Job, reasons: &mut BTreeMap<WaitReason, u32>) {
        let Some(absent) = reasons.get_mut(&WaitReason::PlayerAbsent) else { return };
        let is_its = |task: &TaskRef| task.job() == job.id() && job.is_parked(task.index);
        let of = |player: PlayerIx| self.roster[player].parked().filter(is_its).count();
        let quarantined: usize = self.roster.quarantined().map(of).sum();
        let quarantined = u32::try_from(quarantined).unwrap_or(u32::MAX).min(*absent);
        *absent -= quarantined;
        reasons.insert(WaitReason::Quarantined, quarantined);
        reasons.retain(|_, tasks| *tasks > 0);
    }

    /// How many tasks the job of an attempt has, if that attempt is in flight on this player.
    pub fn tasks_of_flight(&self, player: PlayerIx, key: AttemptKey) -> Option<u32> {
        let job = self.job(key.job).filter(|_| key.store == self.store())?;
        let mut in_flight = self.roster[player].in_flight().iter();
        let is_it =
            |task: TaskRef| task.job() == key.job && job.task(task.index).attempt == key.attempt;
        in_flight.any(|flying| is_it(flying.task)).then(|| job.total())
    }

    /// The first gate that stops a waiting task.
    pub(crate) fn reason(&self, job: &Job, index: u32) -> WaitReason {
        if let Some(reason) = job.whole_reason(self.held(job)) {
            return reason;
        }
        let parked = job.place_of(index);
        match parked {
            Parked::Sequence => WaitReason::Sequence,
            Parked::Delayed => WaitReason::RetryDelay,
            Parked::Server if job.awaits_server(index) => WaitReason::Parent,
            // Somebody can serve it, as soon as the window lets it start.
            Parked::Server => WaitReason::Window,
            Parked::Player => self.player_gate(job, index),
            Parked::No if index >= job.admitted() => WaitReason::Canary,
            Parked::No if job.is_one_of() && job.choice().chosen.is_none() => WaitReason::NoPlayer,
            Parked::No | Parked::Ready => WaitReason::Window,
        }
    }

    /// What stops a task that is parked on its player. A one-of task without a chosen player is
    /// parked on several: then what stops it on the first one that is attached.
    fn player_gate(&self, job: &Job, index: u32) -> WaitReason {
        let is_there = |(_, player): &(u32, PlayerIx)| self.roster[*player].attached();
        let at = match (job.is_one_of(), job.player_of(index)) {
            (false, player) => player.map(|player| (index, player)),
            (true, Some(player)) => job.choice().chosen.map(|place| (place, player)),
            (true, None) => job.candidates().find(is_there),
        };
        let Some((place, player)) = at else { return WaitReason::NoPlayer };
        if self.gate_before(job, index, player).is_some() {
            return WaitReason::Sequence;
        }
        let entry = TaskRef::new(job.id(), place);
        let gate = self.roster[player].newcomer_gate(job.kind(), entry, self.roster.ledger());
        gate.unwrap_or(WaitReason::PlayerBusy)
    }

    /// Flows that have not ended, oldest first.
    pub fn alive(&self) -> impl Iterator<Item = FlowId> + '_ {
        self.flows.ids()
    }

    /// How many flows have not ended.
    pub fn alive_count(&self) -> usize {
        self.flows.len()
    }

    /// When a flow was submitted; `None` if the flow is not alive.
    pub fn submitted_at(&self, id: FlowId) -> Option<Timestamp> {
        self.flows.get(id).map(Flow::submitted_at)
    }

    /// The audience of a flow; `None` if the flow is not alive.
    pub fn audience_of(&self, id: FlowId) -> Option<&Asker> {
        self.flows.get(id).map(Flow::audience)
    }
}

fn progress(flow: &Flow) -> FlowProgress {
    let mut progress = FlowProgress { absent: 0, counts: Counts::default() };
    for job in flow.jobs() {
        progress.absent += job.away();
        progress.counts.add(job.counts());
    }
    progress
}
