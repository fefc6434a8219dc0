//! Rebuilding the engine from the records that it asked to write, and going on from an old copy of
//! them.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use orchestra_model::{
    Asker, Deployments, FlowId, FlowState, HostSet, JobId, JobState, Params, Timestamp,
    delivery::{RequestId, StoreId, Term},
    flow::{FlowSpec, JobSpec, SlotSpec},
    record::{FlowRecord, HoldRecord, JobRecord, PlayerRecord, Record, Recovered, TaskRecord},
    thresholds::Thresholds,
    tree::TreeShape,
};

use crate::{
    Engine, Settings,
    answer::{self, ReplyTo},
    effect::CloseReason,
    engine::Ended,
    ids::PlayerIx,
    tables::{
        deadlines::Deadlines,
        flow::{Flow, shown},
        flows::Flows,
        job::Job,
        player::Flying,
        roster::Roster,
        starts::Starts,
        task::{Task, TaskRef},
    },
};

/// Everything that the engine needs from the store, except for the living flows.
#[derive(Clone, Debug)]
pub struct Recovery {
    /// The store's id.
    pub store: StoreId,
    /// The store's term. Opening the store has raised it already.
    pub term: Term,
    /// The last recovery from an old copy; the default for none.
    pub recovered: Recovered,
    /// The next flow's number; 1 in a new store.
    pub next_flow: FlowId,
    /// All players that were ever heard of.
    pub players: Vec<PlayerRecord>,
    /// All submissions, of living and of ended flows, and where their flows are.
    pub requests: Vec<(Asker, RequestId, FlowId, FlowState)>,
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
    pub record: FlowRecord,
    /// What was submitted, decoded.
    pub spec: FlowSpec,
    /// Its jobs, in order of their ids.
    pub jobs: Vec<RecoveredJob>,
}

/// A job of a living flow, as stored.
#[derive(Clone, Debug)]
pub struct RecoveredJob {
    pub record: JobRecord,
    /// Its resolved host set.
    pub targets: HostSet,
    /// The hosts of its tree, if it has one.
    pub tree: TreeShape,
    /// Its parameters.
    pub params: Params,
    /// Its tasks that have records, in order.
    pub tasks: Vec<TaskRecord>,
}

/// How many numbers of flows, of attempts, and of orders to each player are left out when the
/// conductor goes on from an old copy. The lost part of history used some of them, and no number
/// may be used twice.
pub(crate) const SKIPPED: u64 = 1_000_000;

impl Engine {
    /// The engine as it was when the store was written, without flows. Then [`Engine::restore`] is
    /// called for each living flow, and [`Engine::resume`] once.
    pub fn recover(settings: Settings, recovery: Recovery) -> Self {
        let mut roster = Roster::default();
        for player in &recovery.players {
            roster.restore(player);
        }
        let (mut requests, mut ended) = (BTreeMap::new(), BTreeMap::new());
        for (audience, request, flow, state) in recovery.requests {
            let submission = (audience, request);
            requests.insert(submission.clone(), flow);
            ended.insert(flow, Ended { submission, state });
        }
        let mut engine = Self {
            settings,
            store: recovery.store,
            term: recovery.term,
            recovered: recovery.recovered,
            now: Timestamp(0),
            next_flow: recovery.next_flow,
            roster,
            flows: Flows::default(),
            ended,
            starts: Starts::default(),
            denied_starts: BTreeMap::new(),
            requests,
            leftovers: VecDeque::new(),
            deadlines: Deadlines::default(),
            returning_until: Timestamp(0),
            gathering: BTreeSet::new(),
            orphans: VecDeque::new(),
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
        let is_paused = record.paused_by.is_some();
        let mut restore_slot = |slot: SlotSpec| {
            let jobs = slot.jobs.into_iter().zip(jobs.by_ref());
            jobs.map(|(spec, job)| self.restore_job(spec, job, is_paused)).collect()
        };
        let (start, slots) = (spec.start, spec.slots);
        let slots: Vec<Vec<Job>> = slots.into_iter().map(&mut restore_slot).collect();
        let flow = Flow::new(record, start, slots, changes);
        self.flows.insert(flow);
    }

    fn restore_job(&mut self, spec: JobSpec, job: RecoveredJob, is_paused: bool) -> Job {
        let RecoveredJob { record, targets, tree, params, tasks } = job;
        let players: Arc<[PlayerIx]> =
            targets.iter().map(|host| self.roster.intern(host)).collect();
        let hosts = u32::try_from(targets.len()).unwrap_or(u32::MAX);
        let before = || Thresholds::before_they_were_kept(&spec, hosts);
        let thresholds = record.thresholds.as_deref().copied().unwrap_or_else(before);
        let shown = shown(&targets.to_string());
        let tree = self.make_tree(&spec, &players, &tree);
        let job = Job::new(record.id, spec, params, players, shown, thresholds);
        let mut job = job.with_tree(tree);
        let untouched = record.untouched;
        job.restore(record, is_paused);
        for record in tasks {
            if record.index < job.total() {
                self.restore_task(&mut job, &record);
            }
        }
        job.restore_untouched(untouched);
        job
    }

    fn restore_task(&mut self, job: &mut Job, record: &TaskRecord) {
        let task = Task::restore(record);
        let is_host = |target: &PlayerIx| *self.roster.host(*target) == record.host;
        // A one-of task is bound to the player that it was sent to, unless that player did not
        // start it.
        let is_bound = job.is_one_of() && task.sent_at.get().is_some();
        let place = is_bound.then(|| job.targets().iter().position(is_host)).flatten();
        let chosen = place.and_then(|place| u32::try_from(place).ok());
        let bound = record.parent.as_ref().and_then(|parent| self.bound_to(job, parent));
        job.restore_task(record.index, task, chosen, bound);
        let Some(player) = job.player_of(record.index) else { return };
        let task = job.task(record.index);
        self.roster.change(player, |player| {
            if task.state.is_in_flight() {
                let flying = Flying {
                    task: TaskRef::new(job.id(), record.index),
                    score: job.spec().score.clone(),
                    impact: task.impact,
                    is_of_unit: job.spec().unit.is_some(),
                };
                player.restore_order(flying, task.sent_at.get().unwrap_or_default());
            }
            if task.is_returning() {
                player.expect_return();
            }
            if task.started_at.get().is_some() {
                player.restore_answered(task.order);
            }
        });
    }

    /// Begins to work again. Players count as away from the moment that the store remembers, or
    /// else from now. All have time to come back before they count as absent.
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

    /// Sets moments in the future to now, for the clock was set back since they were written:
    /// everything that waits would wait for longer by as much. Writes the corrected records, so
    /// that the next restart does not begin the wait again.
    fn correct_moments(&mut self) {
        let now = self.now;
        for player in self.roster.indices() {
            self.roster.change(player, |player| player.correct_detached_at(now));
        }
        let (mut records, mut tasks) = (Vec::new(), Vec::new());
        let jobs: Vec<JobId> = self.flows.iter().flat_map(Flow::jobs).map(Job::id).collect();
        for id in jobs {
            self.flows.change(id, |job| {
                let (is_own, wrong) = job.correct_moments(now);
                records.extend(is_own.then(|| job.record()));
                tasks.extend(wrong.into_iter().map(|index| TaskRef::new(id, index)));
            });
        }
        for record in records {
            self.put(record);
        }
        for task in tasks {
            self.record_task(task);
        }
    }

    /// Does what follows from a flow's records. A crash may have kept only the first records of a
    /// batch: what the others said is decided again from these.
    fn resume_flow(&mut self, id: FlowId) {
        let Some(flow) = self.flows.get(id) else {
            return self.inconsistent(id, "a flow is resumed that is not there");
        };
        if flow.waits_to_begin() {
            if flow.cancelled_by().is_some() {
                self.close_all(id);
            }
            return self.look_at_start(id);
        }
        let (present, cancelled) = (flow.present_slot(), flow.cancelled_by().is_some());
        let is_pending = |job: &Job| job.state() == JobState::Pending;
        let half_begun = present.iter().any(is_pending);
        let open = present.iter().filter(|job| !job.state().is_final() && !is_pending(job));
        let open: Vec<JobId> = open.map(Job::id).collect();
        if half_begun {
            self.begin_slot(id);
        } else {
            self.count_gates(id);
        }
        if cancelled {
            self.close_all(id);
        }
        for job in open {
            self.delay_again(job);
            self.await_quorum(job);
            self.skip_where_not_ok(job);
            self.begin_tree(job);
            self.flows.queue(job);
            self.flows.note_changed(job);
        }
        self.follow(id);
    }

    /// How many attempts of each of a flow's tasks a restored store may have forgotten. Further
    /// attempts are numbered above them.
    pub(crate) fn forgotten_attempts(&self, flow: FlowId) -> u32 {
        // Every recovery leaves out as many flow numbers as attempt numbers, so the difference of
        // flow numbers serves for attempts.
        let above = Some(self.recovered.half_known).filter(|half_known| flow < *half_known);
        above.map_or(0, |above| u32::try_from(above.0).unwrap_or(u32::MAX / 2))
    }

    /// What the next flow's number would be after a recovery.
    pub fn next_flow_after_recovery(&self) -> FlowId {
        FlowId(self.next_flow.0.saturating_add(SKIPPED)).min(FlowId::MAX)
    }

    /// Goes on from a store that was restored from an old copy.
    pub(crate) fn recover_store(&mut self, reply: ReplyTo<answer::Recovered>, term: Term) {
        self.term = term;
        self.next_flow = self.next_flow_after_recovery();
        self.put(Record::NextFlow(self.next_flow));
        self.recovered = Recovered { term, half_known: self.next_flow };
        self.put(Record::Recovered(self.recovered));
        self.stale = None;
        // Every player attaches anew and is compared with this store before it gets anything,
        // because what players reported while nothing was sent is not remembered.
        self.await_return();
        for player in self.roster.indices() {
            if let Some(session) = self.roster[player].session() {
                self.detach(player, session);
                self.close(player, session, CloseReason::Recovered);
            }
        }
        self.answer(reply, answer::Recovered { next_flow: self.next_flow });
    }
}
