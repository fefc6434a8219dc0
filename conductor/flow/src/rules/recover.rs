//! Rebuilding the engine from what it asked to persist, and going on from an old copy.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use orchestra_model::{
    AudienceName, Deployments, FlowId, HostSet, JobId, JobState, Params, TaskState, Timestamp,
    delivery::{RequestId, StoreId, Term},
    flow::{FlowSpec, JobSpec, SlotSpec},
    record::{FlowRecord, HoldRecord, JobRecord, PlayerRecord, Record, Recovered, TaskRecord},
    thresholds::Thresholds,
};

use crate::{
    Engine, Settings,
    effect::{Answer, CloseReason},
    ids::{PlayerIx, ReplyId},
    tables::{
        deadlines::Deadlines,
        few::Few,
        flow::{Flow, Tally, shown},
        flows::Flows,
        job::Job,
        player::{Flying, Player},
        roster::Roster,
        sequence::Sequence,
        task::{Task, TaskRef},
    },
};

/// Everything that the engine needs of the store, but for living flows.
#[derive(Clone, Debug)]
pub struct Recovery {
    /// The store's id.
    pub store: StoreId,
    /// Its term, already raised by opening it.
    pub term: Term,
    /// The last recovery from an old copy; the default for none.
    pub recovered: Recovered,
    /// The next flow's number; 1 in a new store.
    pub next_flow: FlowId,
    /// All players that were ever heard of.
    pub players: Vec<PlayerRecord>,
    /// All submissions, of living and of ended flows.
    pub requests: Vec<(AudienceName, RequestId, FlowId)>,
    /// Hosts that count as down.
    pub holds: Vec<HoldRecord>,
    /// The deployments in force.
    pub deployments: Arc<Deployments>,
    /// Why the store counts as an old copy before any player has attached, if so.
    pub doubt: Option<String>,
}

/// A living flow, as stored.
#[derive(Clone, Debug)]
pub struct RecoveredFlow {
    /// Its state.
    pub record: FlowRecord,
    /// What was submitted, decoded.
    pub spec: FlowSpec,
    /// Its jobs, in order of their ids.
    pub jobs: Vec<RecoveredJob>,
}

/// A job of a living flow, as stored.
#[derive(Clone, Debug)]
pub struct RecoveredJob {
    /// Its state.
    pub record: JobRecord,
    /// Its resolved host set.
    pub targets: HostSet,
    /// Its parameters.
    pub params: Params,
    /// Its tasks that have records, in order.
    pub tasks: Vec<TaskRecord>,
}

/// How many numbers of flows, of attempts, and of orders to each player, a recovery from an old copy leaves out,
/// so that what the lost part of history numbered is not numbered again.
pub(crate) const SKIPPED: u64 = 1_000_000;

impl Engine {
    /// An engine as it was when the store was written; then [`Engine::restore`] each living flow,
    /// and [`Engine::resume`].
    pub fn recover(settings: Settings, recovery: Recovery) -> Self {
        let mut roster = Roster::default();
        for player in &recovery.players {
            roster.restore(player);
        }
        let requests: BTreeMap<_, _> = recovery
            .requests
            .into_iter()
            .map(|(audience, request, flow)| ((audience, request), flow))
            .collect();
        let mut engine = Self {
            settings,
            store: recovery.store,
            term: recovery.term,
            recovered: recovery.recovered,
            now: Timestamp(0),
            next_flow: recovery.next_flow,
            roster,
            flows: Flows::default(),
            ended: requests.iter().map(|(submission, flow)| (*flow, submission.clone())).collect(),
            requests,
            runnable: VecDeque::new(),
            open: Few::default(),
            changed: Few::default(),
            leftovers: VecDeque::new(),
            deadlines: Deadlines::default(),
            returning_until: Timestamp(0),
            gathering: BTreeSet::new(),
            effects: VecDeque::new(),
            stale: recovery.doubt,
        };
        for hold in &recovery.holds {
            engine.restore_hold(hold);
        }
        // Nothing is counted before all holders are known.
        engine.roster.set_deployments(recovery.deployments);
        engine
    }

    /// Takes a living flow back in.
    pub fn restore(&mut self, recovered: RecoveredFlow) {
        let RecoveredFlow { record, spec, jobs } = recovered;
        self.ended.remove(&record.id);
        let numbers = |job: &RecoveredJob| {
            let tasks = job.tasks.iter().map(|task| task.change);
            tasks.chain([job.record.change]).max()
        };
        let changes = jobs.iter().filter_map(numbers).max().unwrap_or_default();
        let mut jobs = jobs.into_iter();
        let mut restore_slot = |slot: SlotSpec| {
            let jobs = slot.jobs.into_iter().zip(jobs.by_ref());
            jobs.map(|(spec, job)| self.restore_job(spec, job)).collect()
        };
        let mut slots: Vec<Vec<Job>> = spec.slots.into_iter().map(&mut restore_slot).collect();
        let has_begun = |slot: &Vec<Job>| slot.iter().any(|job| job.started_at.is_some());
        for job in slots.iter_mut().flatten() {
            job.paused = record.paused_by.is_some();
        }
        let flow = Flow {
            id: record.id,
            request: record.request,
            audience: record.audience,
            name: record.name,
            state: record.state,
            submitted_at: record.submitted_at,
            ended_at: record.ended_at,
            cancelled_by: record.cancelled_by,
            paused_by: record.paused_by,
            retry_of: record.retry_of,
            request_mac: record.request_mac,
            sequence: Sequence::default(),
            changes,
            slot: slots.iter().rposition(has_begun).unwrap_or(0),
            tally: Tally::of(slots.iter().flatten()),
            slots,
        };
        self.flows.insert(flow);
    }

    fn restore_job(&mut self, spec: JobSpec, job: RecoveredJob) -> Job {
        let RecoveredJob { record, targets, params, tasks } = job;
        let players = targets.iter().map(|host| self.roster.intern(host)).collect();
        let hosts = u32::try_from(targets.len()).unwrap_or(u32::MAX);
        let before = || Thresholds::before_they_were_kept(&spec, hosts);
        let thresholds = record.thresholds.map_or_else(before, |kept| *kept);
        let shown = shown(&targets.to_string());
        let mut job = Job::new(record.id, spec, params, players, shown, thresholds);
        job.state = record.state;
        job.started_at = record.started_at;
        job.ended_at = record.ended_at;
        job.change = record.change;
        job.param_keys = record.param_keys;
        job.canary.ok_at = record.canary_ok_at;
        job.canary.is_open |= record.promoted_by.is_some();
        job.canary.promoted_by = record.promoted_by;
        for record in tasks {
            if record.index < job.total() {
                self.restore_task(&mut job, &record);
            }
        }
        if record.untouched.is_final() {
            let untouched = job.waiting();
            job.counts.shift_many(TaskState::Waiting, record.untouched, untouched);
            job.untouched = record.untouched;
        }
        job
    }

    fn restore_task(&mut self, job: &mut Job, record: &TaskRecord) {
        let task = Task::restore(record);
        let is_host = |target: &PlayerIx| *self.roster.host(*target) == record.host;
        // A one-of task is bound to the player it was sent to, unless that did not start it.
        if job.is_one_of() && task.sent_at.get().is_some() {
            let place = job.targets.iter().position(is_host);
            job.choice.chosen = place.and_then(|place| u32::try_from(place).ok());
        }
        if task.state == TaskState::Waiting {
            job.touched.insert(record.index);
        }
        job.counts.shift(TaskState::Waiting, task.state);
        if record.index < job.canary.tasks && task.state.is_final() {
            match task.state {
                TaskState::Ok => job.canary.ok += 1,
                _ => job.canary.failed += 1,
            }
        }
        if task.attempt > 0 {
            // Something was sent, so enough players had been there.
            job.quorum.needed = 0;
        }
        if let Some(player) = job.player_of(record.index) {
            if task.state.is_in_flight() {
                // Nobody is attached yet.
                job.away += 1;
                let (score, impact) = (job.spec.score.clone(), task.impact);
                let sent_at = task.sent_at.get().unwrap_or_default();
                let flying = Flying { task: TaskRef::new(job.id, record.index), score, impact };
                self.roster.change(player, |player| player.restore_order(flying, sent_at));
            }
            if task.is_returning() {
                self.roster.change(player, Player::expect_return);
            }
            if task.started_at.get().is_some() {
                self.roster.change(player, |player| player.restore_answered(task.order));
            }
        }
        *job.task_mut(record.index) = task;
    }

    /// Begins to work again. Players count as away from the moment that the store remembers, or
    /// from now; either way each is given time to come back.
    pub fn resume(&mut self, now: Timestamp) {
        self.now = self.now.max(now);
        let deployments = Arc::clone(self.deployments());
        self.put_in_force(deployments);
        self.correct_moments();
        for player in self.roster.indices() {
            let known = &self.roster[player];
            if known.spool().is_some() && known.detached_at().is_none() {
                let now = self.now;
                let record = self.roster.change(player, |player| {
                    player.restore_absence(now);
                    player.record()
                });
                self.put(record);
            }
        }
        if self.roster.indices().any(|player| self.roster[player].spool().is_some()) {
            self.await_return();
        }
        for player in self.roster.indices() {
            if !self.roster[player].is_member() {
                self.lose_in_flight(player);
            }
            for flying in self.roster[player].in_flight().to_vec() {
                self.arm_loss(flying.task, player);
            }
        }
        let flows: Vec<FlowId> = self.flows.ids().collect();
        for id in flows {
            self.resume_flow(id);
        }
        self.work();
    }

    /// Where the clock was set back since, what it called the future counts as now: else everything
    /// that waits would wait for as much longer. Written, so that the next restart does not begin
    /// the wait anew.
    fn correct_moments(&mut self) {
        let now = self.now;
        let correct = |at: &mut Option<Timestamp>| {
            let is_wrong = at.is_some_and(|at| at > now);
            *at = at.map(|at| at.min(now));
            is_wrong
        };
        for player in self.roster.indices() {
            self.roster.change(player, |player| player.correct_detached_at(now));
        }
        let (mut records, mut tasks) = (Vec::new(), Vec::new());
        for job in self.flows.iter_mut().flat_map(|flow| flow.slots.iter_mut().flatten()) {
            if job.state.is_final() {
                continue;
            }
            if correct(&mut job.started_at) | correct(&mut job.canary.ok_at) {
                records.push(job.record());
            }
            for index in job.touched.clone() {
                let known = job.task_mut(index);
                let mut ended_at = known.ended_at.get();
                if correct(&mut ended_at) {
                    known.ended_at = ended_at.into();
                    tasks.push(TaskRef::new(job.id, index));
                }
            }
        }
        for record in records {
            self.put(record);
        }
        for task in tasks {
            self.record_task(task);
        }
    }

    /// A crash between the records of one batch leaves a prefix: what was to follow is decided
    /// again from what is there.
    fn resume_flow(&mut self, id: FlowId) {
        let Some(flow) = self.flows.get(id) else { return };
        let (present, cancelled) = (&flow.slots[flow.slot], flow.cancelled_by.is_some());
        let is_pending = |job: &Job| job.state == JobState::Pending;
        let half_begun = present.iter().any(is_pending);
        let open = present.iter().filter(|job| !job.state.is_final() && !is_pending(job));
        let open: Vec<JobId> = open.map(|job| job.id).collect();
        if half_begun {
            self.begin_slot(id);
        } else {
            self.line_up(id);
        }
        if cancelled {
            self.close_all(id);
        }
        for job in open {
            self.delay_again(job);
            self.await_quorum(job);
            self.enqueue(job);
            self.changed.insert(job);
        }
        self.follow(id);
    }

    /// How many attempts of each of a flow's tasks there may have been in the time that a restored
    /// store has forgotten: further ones are numbered above them.
    pub(crate) fn forgotten_attempts(&self, flow: FlowId) -> u32 {
        // Every recovery leaves out as many flow numbers, so those above serve attempts as well.
        let above = Some(self.recovered.half_known).filter(|half_known| flow < *half_known);
        above.map_or(0, |above| u32::try_from(above.0).unwrap_or(u32::MAX / 2))
    }

    /// What the next flow's number would be after a recovery.
    pub fn next_flow_after_recovery(&self) -> FlowId {
        FlowId(self.next_flow.0.saturating_add(SKIPPED)).min(FlowId::MAX)
    }

    /// Goes on from a store that was restored from an old copy.
    pub(crate) fn recover_store(&mut self, reply: ReplyId, term: Term) {
        self.term = term;
        self.next_flow = self.next_flow_after_recovery();
        self.put(Record::NextFlow(self.next_flow));
        self.recovered = Recovered { term, half_known: self.next_flow };
        self.put(Record::Recovered(self.recovered));
        self.stale = None;
        // Every player tells its state anew, and is compared with this store before it gets
        // anything: what was said while nothing was sent is not remembered.
        self.await_return();
        for player in self.roster.indices() {
            if let Some(session) = self.roster[player].session() {
                self.detach(player, session);
                self.close(player, session, CloseReason::Recovered);
            }
        }
        self.answer(reply, Answer::Recovered { next_flow: self.next_flow });
    }
}
