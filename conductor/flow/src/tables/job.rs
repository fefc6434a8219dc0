//! A job: one score over a host set, its window, its thresholds, its verdict.
//!
//! Tasks are implied by the job's targets until something happens to them. A *cursor* runs over
//! them:
//!
//! ```text
//! index   0 ........................ cursor ....................... total
//!         looked at: in flight,      not looked at: they wait for the
//!         final, `ready`, parked     window or the canary, and cost nothing
//! ```
//!
//! A task is `ready` when only the window stops it, and *parked* on what else it waits for
//! ([`Parked`]).
//!
//! A job is *closed* once none of its waiting tasks will start any more, because it ended or its
//! flow was cancelled. `untouched` then says what became of all tasks that have no record of their
//! own.

pub(crate) mod change;
mod restore;
mod tree;
pub(crate) mod waits;

use std::{collections::BTreeSet, sync::Arc};

use orchestra_model::{
    Asker, JobId, JobState, ParamKey, Params, TaskState, Timestamp,
    flow::{JobSpec, OnDoomed, Scope, Stragglers},
    record::{JobRecord, Record},
    service::Instance,
    status::{Counts, Event},
    thresholds::Thresholds,
};

use crate::{
    ids::{PlayerIx, TaskKind},
    tables::{
        task::{Parked, Task, UNTOUCHED},
        tasks::Tasks,
        tree::Tree,
    },
};

/// A job of a living flow.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    id: JobId,
    spec: JobSpec,
    /// What the gates of a player need to know of its tasks.
    kind: Arc<TaskKind>,
    params: Params,
    /// The keys of its parameters. They are known also where the values are not at hand.
    param_keys: Vec<ParamKey>,
    /// Those of its parameters that are kept after its flow's end.
    kept_params: Arc<Params>,
    /// Its players, in host-set order.
    targets: Arc<[PlayerIx]>,
    /// Its folded host set, cut to the length that a list can show.
    shown_targets: Arc<str>,
    state: JobState,
    started_at: Option<Timestamp>,
    ended_at: Option<Timestamp>,
    /// The number of the change of its flow that was the job's end; 0 while it lives.
    change: u64,
    counts: Counts,
    /// Its limits, which became numbers when it was submitted.
    thresholds: Thresholds,
    /// The index of the first task that was not looked at yet.
    cursor: u32,
    /// The waiting tasks before the cursor that only the window stops.
    ready: BTreeSet<u32>,
    /// Waiting tasks that are parked on players.
    parked: u32,
    /// Parked tasks whose player is not attached. Not counted for a one-of job, whose task may lie
    /// with many players.
    absent: u32,
    /// Tasks in flight whose player is not attached.
    away: u32,
    /// Waiting tasks that a deployment's sequence puts behind hosts which are not done.
    sequenced: u32,
    /// Waiting tasks that pause before a further attempt.
    delayed: u32,
    /// Whether somebody paused its flow.
    paused: bool,
    /// How many of its players must have been attached before anything starts.
    quorum: Quorum,
    canary: Canary,
    /// Whether the job is stuck: see `Engine::is_stuck`.
    stuck: bool,
    /// The waiting tasks that have a record, which says `waiting`: they were retried or refused.
    touched: BTreeSet<u32>,
    /// The state of all tasks that have no record: `waiting`, or a final one once the job is
    /// closed.
    untouched: TaskState,
    /// Whether it is in the queue of jobs that have a turn.
    queued: bool,
    /// The choice of a one-of job.
    choice: Choice,
    tasks: Tasks,
    /// Who serves whom, if the job has a tree.
    tree: Option<Box<Tree>>,
    follow_ups: FollowUps,
}

/// What has to follow from changes of a job, since `Flows::change` last looked.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::tables) struct FollowUps {
    /// More of the job may start, so it gets a turn.
    pub(in crate::tables) turn: bool,
    /// The job may be doomed, over, stuck, or no longer stuck, so it is evaluated.
    pub(in crate::tables) evaluation: bool,
    /// The job's window may have closed.
    pub(in crate::tables) window: bool,
    /// Tasks that wait for a server in the job's tree may need to no longer.
    pub(in crate::tables) servers: bool,
}

/// Which player a one-of job runs on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Choice {
    /// The index of the chosen player among the targets.
    pub(crate) chosen: Option<u32>,
    /// The indices of players that said that they did not start the task, and never would.
    pub(crate) struck: BTreeSet<u32>,
    /// The armed deadline at which the task is given up; `None` where none is armed.
    pub(crate) give_up_at: Option<Timestamp>,
}

/// How many players must be there before anything starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Quorum {
    /// How many players must be attached; 0 once that many were.
    pub(crate) needed: u32,
    /// How many are attached; counted only while some are needed.
    pub(crate) attached: u32,
}

/// The first tasks of a job, which the others wait for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Canary {
    /// How many tasks the canary has: those below this index. 0 means that the job has no canary.
    pub(crate) tasks: u32,
    pub(crate) ok: u32,
    /// How many of the canary's tasks ended otherwise than ok.
    pub(crate) failed: u32,
    /// When the last of the canary's tasks became ok.
    pub(crate) ok_at: Option<Timestamp>,
    pub(crate) promoted_by: Option<Asker>,
    /// Whether the rest of the job waits for the canary no more.
    pub(crate) is_open: bool,
}

impl Job {
    pub(crate) fn new(
        id: JobId,
        spec: JobSpec,
        params: Params,
        targets: Arc<[PlayerIx]>,
        shown_targets: Arc<str>,
        thresholds: Thresholds,
    ) -> Self {
        let total = match spec.scope {
            Scope::All => u32::try_from(targets.len()).unwrap_or(u32::MAX),
            Scope::One => 1,
        };
        let canary = thresholds.canary;
        Self {
            id,
            param_keys: params.iter().map(|(key, _)| key.clone()).collect(),
            params,
            kept_params: Arc::default(),
            targets,
            shown_targets,
            state: JobState::Pending,
            started_at: None,
            ended_at: None,
            change: 0,
            counts: Counts::all_in(TaskState::Waiting, total),
            thresholds,
            cursor: 0,
            ready: BTreeSet::new(),
            parked: 0,
            absent: 0,
            away: 0,
            sequenced: 0,
            delayed: 0,
            paused: false,
            quorum: Quorum { needed: thresholds.quorum, attached: 0 },
            canary: Canary {
                tasks: canary,
                is_open: canary == 0 || canary == total,
                ..Canary::default()
            },
            stuck: false,
            touched: BTreeSet::new(),
            untouched: TaskState::Waiting,
            queued: false,
            choice: Choice::default(),
            kind: Arc::new(TaskKind::of(&spec)),
            tasks: Tasks::new(total),
            tree: None,
            follow_ups: FollowUps::default(),
            spec,
        }
    }

    /// The job, of whose parameters these are kept after its flow's end.
    pub(crate) fn with_kept_params(self, kept_params: Params) -> Self {
        Self { kept_params: Arc::new(kept_params), ..self }
    }

    pub(crate) fn id(&self) -> JobId {
        self.id
    }

    pub(crate) fn spec(&self) -> &JobSpec {
        &self.spec
    }

    /// The service's instance on the task's host, if the job is about units.
    pub(crate) fn instance(&self, index: u32) -> Option<Instance> {
        self.spec.unit.as_ref()?.instances.get(index as usize).copied()
    }

    /// What the gates of a player need to know of its tasks.
    pub(crate) fn kind(&self) -> &Arc<TaskKind> {
        &self.kind
    }

    pub(crate) fn params(&self) -> &Params {
        &self.params
    }

    /// The hosts of its tree's root, which serve from the beginning.
    pub(crate) fn tree_roots(&self) -> &[PlayerIx] {
        self.tree.as_deref().map_or(&[], Tree::roots)
    }

    /// Its players, in host-set order.
    pub(crate) fn targets(&self) -> &Arc<[PlayerIx]> {
        &self.targets
    }

    /// Its folded host set, cut to the length that a list can show.
    pub(crate) fn shown_targets(&self) -> &str {
        &self.shown_targets
    }

    pub(crate) fn state(&self) -> JobState {
        self.state
    }

    pub(crate) fn started_at(&self) -> Option<Timestamp> {
        self.started_at
    }

    pub(crate) fn ended_at(&self) -> Option<Timestamp> {
        self.ended_at
    }

    pub(crate) fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Its limits, which became numbers when it was submitted.
    pub(crate) fn thresholds(&self) -> &Thresholds {
        &self.thresholds
    }

    /// The index of the first task that was not looked at yet.
    pub(crate) fn cursor(&self) -> u32 {
        self.cursor
    }

    /// The waiting tasks before the cursor that only the window stops.
    pub(crate) fn ready(&self) -> &BTreeSet<u32> {
        &self.ready
    }

    /// How many waiting tasks are parked on players.
    pub(crate) fn parked(&self) -> u32 {
        self.parked
    }

    /// How many of the parked tasks wait for a player that is not attached; 0 for a one-of job.
    pub(crate) fn absent(&self) -> u32 {
        self.absent
    }

    /// How many tasks in flight are on players that are not attached.
    pub(crate) fn away(&self) -> u32 {
        self.away
    }

    /// How many tasks wait for hosts that come before theirs.
    pub(crate) fn sequenced(&self) -> u32 {
        self.sequenced
    }

    /// How many tasks wait for a server in its tree.
    pub(crate) fn unserved(&self) -> u32 {
        self.tree.as_deref().map_or(0, Tree::waiting)
    }

    /// How many tasks pause before a further attempt.
    pub(crate) fn delayed(&self) -> u32 {
        self.delayed
    }

    /// How many of its players have to be there before anything starts.
    pub(crate) fn quorum(&self) -> Quorum {
        self.quorum
    }

    pub(crate) fn canary(&self) -> &Canary {
        &self.canary
    }

    /// The waiting tasks that have a record, which says `waiting`: they were retried or refused.
    pub(crate) fn touched(&self) -> &BTreeSet<u32> {
        &self.touched
    }

    /// The choice of a one-of job.
    pub(crate) fn choice(&self) -> &Choice {
        &self.choice
    }

    /// Whether the job is stuck: see `Engine::is_stuck`.
    pub(crate) fn is_stuck(&self) -> bool {
        self.stuck
    }

    /// Whether it stands in the queue of jobs that have a turn.
    pub(crate) fn is_queued(&self) -> bool {
        self.queued
    }

    /// How many tasks it has.
    pub(crate) fn total(&self) -> u32 {
        self.counts.total()
    }

    pub(crate) fn is_one_of(&self) -> bool {
        self.spec.scope == Scope::One
    }

    pub(crate) fn waiting(&self) -> u32 {
        self.counts.get(TaskState::Waiting)
    }

    /// The task's player; `None` for a one-of job that has not chosen.
    #[inline]
    pub(crate) fn player_of(&self, index: u32) -> Option<PlayerIx> {
        match self.spec.scope {
            Scope::All => self.targets.get(index as usize).copied(),
            Scope::One => self.choice.chosen.map(|place| self.targets[place as usize]),
        }
    }

    /// The task that an entry in a player's queue belongs to. A one-of job's one task lies in many
    /// queues, so its entries carry the index of the queue's player instead.
    pub(crate) fn index_of(&self, entry: u32) -> u32 {
        if self.is_one_of() { 0 } else { entry }
    }

    /// Whether an entry in a player's queue still counts: its task waits there.
    pub(crate) fn awaits(&self, entry: u32) -> bool {
        !self.is_closed()
            && self.is_parked(self.index_of(entry))
            && (!self.is_one_of() || self.is_candidate(entry))
    }

    fn is_candidate(&self, place: u32) -> bool {
        self.choice.chosen.map_or(!self.choice.struck.contains(&place), |chosen| chosen == place)
    }

    /// The players on which a one-of task may run, with their indices: the chosen player alone,
    /// else all that have not refused it for good.
    pub(crate) fn candidates(&self) -> impl Iterator<Item = (u32, PlayerIx)> {
        (0..).zip(self.targets.iter().copied()).filter(|(place, _)| self.is_candidate(*place))
    }

    /// What happened to the task. For a task that nothing happened to, the state that its job
    /// implies.
    #[inline]
    pub(crate) fn task(&self, index: u32) -> &Task {
        self.tasks.get(index).unwrap_or(&UNTOUCHED)
    }

    /// What happened to the task; `None` for a task that nothing happened to.
    #[inline]
    pub(crate) fn known(&self, index: u32) -> Option<&Task> {
        self.tasks.get(index)
    }

    /// Where the task lies while it waits.
    #[inline]
    pub(crate) fn place_of(&self, index: u32) -> Parked {
        self.tasks.parked(index)
    }

    /// Where the task is.
    #[inline]
    pub(crate) fn state_of(&self, index: u32) -> TaskState {
        match self.tasks.get(index).map(|task| task.state) {
            None | Some(TaskState::Waiting) => self.untouched,
            Some(state) => state,
        }
    }

    /// Whether no waiting task will start any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.untouched.is_final()
    }

    /// The tasks that something happened to, in order.
    pub(crate) fn known_tasks(&self) -> impl Iterator<Item = (u32, &Task)> {
        self.tasks.iter()
    }

    /// An index that is above those of all parked tasks.
    pub(crate) fn parked_below(&self) -> u32 {
        self.tasks.parked_below()
    }

    /// Whether its tasks may have further attempts.
    pub(crate) fn is_open(&self) -> bool {
        self.state == JobState::Running && !self.is_closed()
    }

    /// Whether new tasks of it may start at all.
    pub(crate) fn may_start(&self) -> bool {
        self.is_open() && !self.paused && self.quorum.needed == 0
    }

    /// Whether its running tasks are to be killed.
    pub(crate) fn is_to_be_killed(&self) -> bool {
        self.is_closed()
            || (self.state == JobState::Doomed && self.spec.on_doomed == OnDoomed::Cancel)
    }

    /// The index up to which tasks may be looked at: the end of the canary while that holds the
    /// rest back.
    pub(crate) fn admitted(&self) -> u32 {
        if self.canary.is_open { self.total() } else { self.canary.tasks }
    }

    pub(crate) fn window_is_open(&self) -> bool {
        self.counts.in_flight() < self.thresholds.window
    }

    /// Whether the job is doomed: too much failed, or not enough can succeed any more.
    pub(crate) fn is_doomed(&self) -> bool {
        let reachable = self.counts.get(TaskState::Ok) + self.waiting() + self.counts.in_flight();
        self.counts.failures() > self.thresholds.tolerated || reachable < self.thresholds.needed
    }

    /// Whether enough tasks succeeded, and all that are left wait for players that are not
    /// attached.
    pub(crate) fn has_only_stragglers(&self) -> bool {
        self.spec.stragglers == Stragglers::GiveUp
            && !self.is_one_of()
            && self.counts.get(TaskState::Ok) >= self.thresholds.needed
            && self.counts.in_flight() == 0
            && self.waiting() == self.absent
    }

    /// The verdict of a job whose tasks are all final.
    pub(crate) fn verdict(&self) -> JobState {
        let ok = self.counts.get(TaskState::Ok);
        if ok >= self.thresholds.needed && self.counts.failures() <= self.thresholds.tolerated {
            JobState::Ok
        } else if ok > 0 {
            JobState::Partial
        } else {
            JobState::Failed
        }
    }

    pub(crate) fn record(&self) -> Record {
        Record::Job(JobRecord {
            id: self.id,
            name: self.spec.name.clone(),
            score: self.spec.score.clone(),
            tasks: self.total(),
            state: self.state,
            started_at: self.started_at,
            ended_at: self.ended_at,
            untouched: self.untouched,
            counts: self.counts,
            param_keys: self.param_keys.clone(),
            canary_ok_at: self.canary.ok_at,
            promoted_by: self.canary.promoted_by.clone(),
            change: self.change,
            thresholds: Some(Box::new(self.thresholds)),
            kept_params: Arc::clone(&self.kept_params),
        })
    }

    /// The event that says that the job's state changed. `change` is the number of that change of
    /// its flow.
    pub(crate) fn event(&self, change: u64) -> Event {
        Event::Job { job: self.id, state: self.state, counts: self.counts, change }
    }

    /// Whether the task lies in its player's queue.
    pub(crate) fn is_parked(&self, index: u32) -> bool {
        self.is_waiting(index) && self.place_of(index) == Parked::Player
    }

    fn is_waiting(&self, index: u32) -> bool {
        self.known(index).is_none_or(|task| task.state == TaskState::Waiting)
    }

    /// Whether a waiting task has left its host down and has a further attempt to come there.
    pub(crate) fn is_returning(&self, index: u32) -> bool {
        self.known(index).is_some_and(Task::is_returning)
    }
}
