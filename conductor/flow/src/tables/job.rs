//! A job: one score over a host set, its window, its thresholds, its verdict.
//!
//! Tasks are implied by the job's targets until something happens to them. Those before `cursor`
//! were looked at: each is in flight, final, in `ready` (it waits for the window) or parked on what
//! it waits for ([`Parked`]). Those from `cursor` on wait for the window, or for the canary, and cost
//! nothing.
//!
//! A job is *closed* once none of its waiting tasks will start any more: it ended, or its flow was
//! cancelled. `untouched` then says what became of all the tasks that have no record of their own.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use orchestra_model::{
    AudienceName, JobId, JobState, ParamKey, Params, TaskState, Timestamp, WaitReason,
    flow::{JobSpec, OnDoomed, Scope, Stragglers},
    record::{JobRecord, Record},
    status::{CanaryStatus, Counts, Event},
    thresholds::Thresholds,
};

use crate::{
    ids::{PlayerIx, TaskKind},
    tables::{
        task::{Moment, Parked, Task, UNTOUCHED},
        tasks::Tasks,
    },
};

/// A job of a living flow.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) id: JobId,
    pub(crate) spec: JobSpec,
    /// What its tasks are to a player.
    pub(crate) kind: Arc<TaskKind>,
    pub(crate) params: Params,
    /// The keys of its parameters, also where their values are not at hand.
    pub(crate) param_keys: Vec<ParamKey>,
    /// In host-set order.
    pub(crate) targets: Arc<[PlayerIx]>,
    /// What a person may be shown of the host set.
    pub(crate) shown_targets: Arc<str>,
    pub(crate) state: JobState,
    pub(crate) started_at: Option<Timestamp>,
    pub(crate) ended_at: Option<Timestamp>,
    /// Which of its flow's changes its end was; 0 while it lives.
    pub(crate) change: u64,
    pub(crate) counts: Counts,
    /// What its limits came to when it was submitted.
    pub(crate) thresholds: Thresholds,
    /// The first task that nobody has looked at.
    pub(crate) cursor: u32,
    /// Waiting tasks before the cursor that only the window stops.
    pub(crate) ready: BTreeSet<u32>,
    /// Waiting tasks that are parked on players.
    pub(crate) parked: u32,
    /// Those of them whose player is not attached; not counted for a one-of job.
    pub(crate) absent: u32,
    /// Tasks in flight whose player is not attached.
    pub(crate) away: u32,
    /// Waiting tasks whose predecessors, by a deployment's sequence, are not done.
    pub(crate) sequenced: u32,
    /// Waiting tasks that pause before a further attempt.
    pub(crate) delayed: u32,
    /// Whether somebody paused its flow.
    pub(crate) paused: bool,
    /// How many of its players are still to be attached before anything starts, and how many are.
    pub(crate) quorum: Quorum,
    pub(crate) canary: Canary,
    /// Whether nothing of it goes on, and only a person can help: see `Engine::is_stuck`.
    pub(crate) stuck: bool,
    /// Waiting tasks that have records, which say `waiting`: after a retry or a refusal.
    pub(crate) touched: BTreeSet<u32>,
    /// What tasks that have no record are: `waiting`, or final once the job is closed.
    pub(crate) untouched: TaskState,
    /// Whether it stands in the engine's queue of jobs to look at.
    pub(crate) queued: bool,
    /// The choice of a one-of job.
    pub(crate) choice: Choice,
    tasks: Tasks,
}

/// Which player a one-of job runs on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Choice {
    /// The place of the chosen one among the targets.
    pub(crate) chosen: Option<u32>,
    /// Those that said that they did not start it, and never would.
    pub(crate) struck: BTreeSet<u32>,
    /// When it is due to be given up; `None` where no deadline is armed.
    pub(crate) give_up_at: Option<Timestamp>,
}

/// How many players must be there before anything starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Quorum {
    /// 0 once so many have been there.
    pub(crate) needed: u32,
    /// Counted while it is needed.
    pub(crate) attached: u32,
}

/// The first tasks of a job, which the others wait for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Canary {
    /// How many they are: those below this index. 0 for none.
    pub(crate) tasks: u32,
    pub(crate) ok: u32,
    /// Those that ended otherwise.
    pub(crate) failed: u32,
    /// When the last of them was ok.
    pub(crate) ok_at: Option<Timestamp>,
    pub(crate) promoted_by: Option<AudienceName>,
    /// The others wait no more.
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
            spec,
        }
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
    pub(crate) fn player_of(&self, index: u32) -> Option<PlayerIx> {
        match self.spec.scope {
            Scope::All => self.targets.get(index as usize).copied(),
            Scope::One => self.choice.chosen.map(|place| self.targets[place as usize]),
        }
    }

    /// The task that an entry in a player's queue is of. Entries of a one-of job name the player's
    /// place instead, for its one task lies in many queues.
    pub(crate) fn index_of(&self, entry: u32) -> u32 {
        if self.is_one_of() { 0 } else { entry }
    }

    /// Whether an entry in a player's queue is still meant: its task waits there.
    pub(crate) fn awaits(&self, entry: u32) -> bool {
        !self.is_closed()
            && self.is_parked(self.index_of(entry))
            && (!self.is_one_of() || self.is_candidate(entry))
    }

    fn is_candidate(&self, place: u32) -> bool {
        self.choice.chosen.map_or(!self.choice.struck.contains(&place), |chosen| chosen == place)
    }

    /// Where a one-of task may run, with their places: on the chosen player, else on all that have
    /// not refused it.
    pub(crate) fn candidates(&self) -> impl Iterator<Item = (u32, PlayerIx)> {
        (0..).zip(self.targets.iter().copied()).filter(|(place, _)| self.is_candidate(*place))
    }

    /// What happened to the task, if anything did.
    pub(crate) fn task(&self, index: u32) -> &Task {
        self.tasks.get(index).unwrap_or(&UNTOUCHED)
    }

    /// The same; `None` for those that nothing happened to.
    pub(crate) fn known(&self, index: u32) -> Option<&Task> {
        self.tasks.get(index)
    }

    /// Where the task is to be found while it waits.
    pub(crate) fn place_of(&self, index: u32) -> Parked {
        self.tasks.parked(index)
    }

    /// Where the task is.
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

    pub(crate) fn task_mut(&mut self, index: u32) -> &mut Task {
        self.tasks.get_mut(index)
    }

    /// The tasks that something happened to, in order.
    pub(crate) fn known_tasks(&self) -> impl Iterator<Item = (u32, &Task)> {
        self.tasks.iter()
    }

    /// Those below this index are all that are parked anywhere.
    pub(crate) fn parked_below(&self) -> u32 {
        self.tasks.parked_below()
    }

    /// Moves a task to another state. The caller persists and publishes.
    pub(crate) fn shift(&mut self, index: u32, to: TaskState) {
        let task = self.task_mut(index);
        let from = std::mem::replace(&mut task.state, to);
        debug_assert!(!from.is_final(), "{}: task {index} was {from} and becomes {to}", self.id);
        self.counts.shift(from, to);
        if to.is_final() && index < self.canary.tasks {
            match to {
                TaskState::Ok => self.canary.ok += 1,
                _ => self.canary.failed += 1,
            }
        }
    }

    /// Lets a task wait that had ended, because somebody asked for a further attempt: the one way
    /// back from a final state. The caller persists and publishes.
    pub(crate) fn reopen(&mut self, index: u32) {
        let task = self.task_mut(index);
        let from = std::mem::replace(&mut task.state, TaskState::Waiting);
        task.before = (task.attempt > 0).then_some(from);
        task.ended_at = Moment::NONE;
        task.retries = 0;
        self.counts.shift(from, TaskState::Waiting);
        if index < self.canary.tasks {
            self.canary.failed -= 1;
        }
        self.touched.insert(index);
        // Beyond the cursor it is found in its turn: not before the canary lets it.
        let is_next = index < self.cursor;
        self.park(index, if is_next { Parked::Ready } else { Parked::No });
    }

    /// Notes where a waiting task is to be found.
    pub(crate) fn park(&mut self, index: u32, to: Parked) {
        let from = self.tasks.park(index, to);
        for (count, place) in [
            (&mut self.parked, Parked::Player),
            (&mut self.sequenced, Parked::Sequence),
            (&mut self.delayed, Parked::Delayed),
        ] {
            *count = *count + u32::from(to == place) - u32::from(from == place);
        }
        if from == Parked::Ready {
            self.ready.remove(&index);
        }
        if to == Parked::Ready {
            self.ready.insert(index);
        }
    }

    /// Makes every waiting task final at once. Those that nothing happened to need no record: the
    /// job's says what they are. Gives those that do, which the caller persists and publishes.
    pub(crate) fn close(&mut self, state: TaskState, now: Timestamp) -> BTreeSet<u32> {
        let touched = std::mem::take(&mut self.touched);
        for index in &touched {
            let to = match state {
                TaskState::Cancelled => state,
                state => self.task(*index).given_up_as(state),
            };
            self.park(*index, Parked::No);
            self.shift(*index, to);
            self.task_mut(*index).ended_at = now.into();
        }
        let untouched = self.waiting();
        self.counts.shift_many(TaskState::Waiting, state, untouched);
        self.untouched = state;
        self.parked = 0;
        self.absent = 0;
        self.sequenced = 0;
        self.delayed = 0;
        self.ready.clear();
        touched
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

    /// The tasks below this one may be looked at: the canary alone, as long as it holds the others
    /// back.
    pub(crate) fn admitted(&self) -> u32 {
        if self.canary.is_open { self.total() } else { self.canary.tasks }
    }

    /// The next task that only its player's gates could stop. Beyond the cursor a task may be found
    /// already, if it was in flight when the conductor started.
    pub(crate) fn next_wanted(&mut self) -> Option<u32> {
        while self.may_start() && self.window_is_open() {
            if let Some(index) = self.ready.first().copied() {
                self.park(index, Parked::No);
                return Some(index);
            }
            if self.cursor >= self.admitted() {
                return None;
            }
            let index = self.cursor;
            self.cursor += 1;
            if self.is_waiting(index) && self.place_of(index) == Parked::No {
                return Some(index);
            }
        }
        None
    }

    pub(crate) fn window_is_open(&self) -> bool {
        self.counts.in_flight() < self.thresholds.window
    }

    /// Whether its threshold is out of reach, or too much failed.
    pub(crate) fn is_doomed(&self) -> bool {
        let reachable = self.counts.get(TaskState::Ok) + self.waiting() + self.counts.in_flight();
        self.counts.failures() > self.thresholds.tolerated || reachable < self.thresholds.needed
    }

    /// Whether enough succeeded and all that is left waits for players that are not there.
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
        })
    }

    /// That its state changed, as of a change of its flow.
    pub(crate) fn event(&self, change: u64) -> Event {
        Event::Job { job: self.id, state: self.state, counts: self.counts, change }
    }

    /// Why its waiting tasks wait, counted without looking at each: those on attached players are
    /// called busy here, whatever their finer reason.
    pub(crate) fn waiting_reasons(&self, stale: bool) -> BTreeMap<WaitReason, u32> {
        let mut reasons = BTreeMap::new();
        let waiting = self.waiting();
        if waiting == 0 {
            return reasons;
        }
        if let Some(reason) = self.whole_reason(stale) {
            reasons.insert(reason, waiting);
            return reasons;
        }
        let held_back = if self.canary.is_open { 0 } else { self.total() - self.canary.tasks };
        let apart = self.parked + self.sequenced + self.delayed + held_back;
        for (reason, tasks) in [
            (WaitReason::Window, waiting.saturating_sub(apart)),
            (WaitReason::Canary, held_back),
            (WaitReason::RetryDelay, self.delayed),
            (WaitReason::Sequence, self.sequenced),
            (WaitReason::PlayerAbsent, self.absent),
            (WaitReason::PlayerBusy, self.parked - self.absent),
        ] {
            if tasks > 0 {
                reasons.insert(reason, tasks);
            }
        }
        reasons
    }

    /// Why all of its waiting tasks wait, where it is one thing.
    pub(crate) fn whole_reason(&self, stale: bool) -> Option<WaitReason> {
        match self.state {
            JobState::Pending => Some(WaitReason::Slot),
            JobState::Doomed => Some(WaitReason::Doomed),
            _ if stale => Some(WaitReason::StaleStore),
            _ if self.paused => Some(WaitReason::Paused),
            _ if self.quorum.needed > 0 => Some(WaitReason::Quorum),
            _ => None,
        }
    }

    /// Where its canary is, while that holds others back.
    pub(crate) fn canary_status(&self) -> Option<CanaryStatus> {
        let Canary { tasks, ok, ok_at, is_open, .. } = self.canary;
        let until = ok_at.zip(self.spec.bake).map(|(at, bake)| at.after(bake));
        (!is_open).then_some(CanaryStatus { tasks, ok, until })
    }

    /// Whether the task waits where its player's queue would have it.
    pub(crate) fn is_parked(&self, index: u32) -> bool {
        self.is_waiting(index) && self.place_of(index) == Parked::Player
    }

    fn is_waiting(&self, index: u32) -> bool {
        self.known(index).is_none_or(|task| task.state == TaskState::Waiting)
    }

    /// Whether the host of a waiting task, which that left down, waits for its further attempt.
    pub(crate) fn is_returning(&self, index: u32) -> bool {
        self.known(index).is_some_and(Task::is_returning)
    }
}
