//! Rebuilding the engine from what it asked to persist, and going on from an old copy.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use orchestra_model::{
    AudienceName, FlowId, HostSet, JobState, Params, TaskState, Timestamp,
    delivery::{RequestId, StoreId, Term},
    flow::FlowSpec,
    record::{FlowRecord, JobRecord, Op, PlayerRecord, Record, TaskRecord},
};

use crate::{
    Engine, Settings,
    deadline::{Deadline, Deadlines},
    effect::Answer,
    flow::{Flow, shown},
    input::ReplyId,
    job::Job,
    roster::{Flying, PlayerIx, Roster},
    task::{Task, TaskRef},
};

/// Everything that the engine needs of the store, but for living flows.
#[derive(Clone, Debug)]
pub struct Recovery {
    /// The store's id.
    pub store: StoreId,
    /// Its term, already raised by opening it.
    pub term: Term,
    /// The term of the last recovery from an old copy; 0 for none.
    pub recovered: Term,
    /// The next flow's number; 1 in a new store.
    pub next_flow: FlowId,
    /// All players that were ever heard of.
    pub players: Vec<PlayerRecord>,
    /// All submissions, of living and of ended flows.
    pub requests: Vec<(AudienceName, RequestId, FlowId)>,
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

/// How many flow numbers a recovery from an old copy leaves out, so that what the lost part of
/// history numbered is not numbered again.
const SKIPPED: u64 = 1_000_000;

impl Engine {
    /// An engine as it was when the store was written; then [`Engine::restore`] each living flow,
    /// and [`Engine::resume`].
    pub fn recover(settings: Settings, recovery: Recovery) -> Self {
        let mut roster = Roster::default();
        for player in &recovery.players {
            roster.restore(player);
        }
        let ended: BTreeSet<FlowId> = recovery.requests.iter().map(|(.., flow)| *flow).collect();
        let requests: BTreeMap<_, _> = recovery
            .requests
            .into_iter()
            .map(|(audience, request, flow)| ((audience, request), flow))
            .collect();
        Self {
            settings,
            store: recovery.store,
            term: recovery.term,
            recovered: recovery.recovered,
            now: Timestamp(0),
            next_flow: recovery.next_flow,
            roster,
            flows: BTreeMap::new(),
            requests,
            ended,
            runnable: VecDeque::new(),
            departed: VecDeque::new(),
            deadlines: Deadlines::default(),
            effects: VecDeque::new(),
            stale: None,
        }
    }

    /// Takes a living flow back in.
    pub fn restore(&mut self, recovered: RecoveredFlow) {
        let RecoveredFlow { record, spec, jobs } = recovered;
        self.ended.remove(&record.id);
        let mut jobs = jobs.into_iter();
        let slots: Vec<Vec<Job>> = spec
            .slots
            .into_iter()
            .map(|slot| {
                let specs = slot.jobs.into_iter();
                specs.zip(jobs.by_ref()).map(|(spec, job)| self.restore_job(spec, job)).collect()
            })
            .collect();
        let begun = slots.iter().rposition(|slot| slot.iter().any(|job| job.started_at.is_some()));
        let flow = Flow {
            id: record.id,
            request: record.request,
            audience: record.audience,
            name: record.name,
            state: record.state,
            submitted_at: record.submitted_at,
            ended_at: record.ended_at,
            cancelled_by: record.cancelled_by,
            slot: begun.unwrap_or(0),
            slots,
        };
        self.flows.insert(flow.id, flow);
    }

    fn restore_job(&mut self, spec: orchestra_model::flow::JobSpec, job: RecoveredJob) -> Job {
        let RecoveredJob { record, targets, params, tasks } = job;
        let players: Arc<[PlayerIx]> =
            targets.iter().map(|host| self.roster.intern(host)).collect();
        let score = self.roster.intern_score(&record.score);
        let shown = shown(&targets.to_string());
        let mut job = Job::new(record.id, spec, params, score, players, shown);
        job.state = record.state;
        job.started_at = record.started_at;
        job.ended_at = record.ended_at;
        for task in tasks {
            if job.is_one_of() && task.attempt > 0 && job.choice.chosen.is_none() {
                let place = targets.iter().position(|host| *host == task.host);
                job.choice.chosen = place.and_then(|place| u32::try_from(place).ok());
            }
            if task.index >= job.total() {
                continue;
            }
            let restored = Task::restore(&task);
            if restored.state == TaskState::Waiting {
                job.touched.insert(task.index);
            } else {
                job.counts.shift(TaskState::Waiting, restored.state);
            }
            if restored.state.is_in_flight()
                && let Some(player) = job.player_of(task.index)
            {
                let task = TaskRef::new(job.id, task.index);
                self.roster[player].in_flight.push(Flying { task, score });
            }
            *job.task_mut(task.index) = restored;
        }
        if record.untouched.is_final() {
            let untouched = job.waiting();
            job.counts.shift_many(TaskState::Waiting, record.untouched, untouched);
            job.untouched = record.untouched;
        }
        job
    }

    /// Begins to work again. Players count as away from the moment that the store remembers, or
    /// from now.
    pub fn resume(&mut self, now: Timestamp) {
        self.now = self.now.max(now);
        for player in self.roster.indices() {
            let seen = self.roster[player].spool.is_some();
            if seen && self.roster[player].detached_at.is_none() {
                self.roster[player].detached_at = Some(now);
            }
            for flying in self.roster[player].in_flight.clone() {
                self.arm_loss(flying.task, player);
            }
        }
        let flows: Vec<FlowId> = self.flows.keys().copied().collect();
        for id in flows {
            self.resume_flow(id);
        }
    }

    fn resume_flow(&mut self, id: FlowId) {
        let Some(flow) = self.flows.get(&id) else {
            return;
        };
        // A crash between the records of one batch leaves a prefix: what was to follow is decided
        // again from what is there.
        let present: Vec<_> = flow.slots[flow.slot]
            .iter()
            .map(|job| (job.id, job.state, job.is_one_of(), job.spec.give_up_after, job.started_at))
            .collect();
        if present.iter().any(|(_, state, ..)| *state == JobState::Pending) {
            return self.begin_slot(id);
        }
        for (job, state, one_of, give_up_after, started_at) in present {
            if state.is_final() {
                continue;
            }
            self.enqueue(job);
            if let (true, Some(patience)) = (one_of, give_up_after) {
                let at = started_at.unwrap_or(self.now).after(patience);
                self.deadlines.insert(at, Deadline::GiveUp(TaskRef::new(job, 0)));
            }
            self.evaluate(job);
        }
        self.follow(id);
    }

    /// Goes on from a store that was restored from an old copy.
    pub(crate) fn recover_store(&mut self, reply: ReplyId, term: Term) {
        self.term = term;
        self.recovered = term;
        self.persist(Op::Put(Record::Recovered(term)));
        self.next_flow = FlowId(self.next_flow.0.saturating_add(SKIPPED)).min(FlowId::MAX);
        self.persist(Op::Put(Record::NextFlow(self.next_flow)));
        self.stale = None;
        // Every player tells its state anew, and is compared with this store before it gets
        // anything: what was said while nothing was sent is not remembered.
        let attached: Vec<PlayerIx> =
            self.roster.iter().filter(|player| self.roster[*player].attached()).collect();
        for player in attached {
            let Some(session) = self.roster[player].session else {
                continue;
            };
            self.detach(player, session);
            self.effects.push_back(crate::Effect::Close {
                player,
                session,
                reason: crate::CloseReason::Recovered,
            });
        }
        self.answer(reply, Answer::Recovered { next_flow: self.next_flow });
    }
}
