//! Deadlines of tasks and jobs: when they are armed, and what happens at them.
//!
//! A task has at most one deadline. It is removed when it no longer applies, so a player that comes
//! and goes leaves none behind; its moment is not stored, because it follows from what the deadline
//! is for. A deadline that comes too early, because the world has changed meanwhile, is moved on. A
//! deadline of a task that has gone is dropped.
//!
//! Deadlines are in wall time, and run on while no conductor runs. But a player that had no chance
//! to come back must not be given up as absent, so all of that waits until `returning_until`.

use orchestra_model::{Millis, TaskState, Timestamp};

use crate::{
    Engine,
    ids::PlayerIx,
    tables::{deadlines::Deadline, job::Job, player::Player, task::TaskRef},
};

/// Most deadlines that are met in one turn, before other work has its turn.
const TURN: usize = 1_024;

/// How long players have to come back after the conductor started, or after it ended all sessions:
/// longer than the 30 seconds that a player waits at most between two tries to connect.
const RETURN: Millis = Millis::seconds(45);

impl Engine {
    pub(crate) fn meet_deadlines(&mut self) {
        for _ in 0..TURN {
            match self.deadlines.pop_due(self.now) {
                None => return,
                Some(Deadline::GiveUp(task)) => self.give_up(task),
                Some(Deadline::Lose(task)) => self.lose(task),
                Some(Deadline::Retry(task)) => self.end_delay(task),
                Some(Deadline::Baked(job)) => {
                    self.flows.note_changed(job);
                }
                Some(Deadline::AskBusyAgain(player)) => {
                    self.roster.change(player, Player::ask_again);
                }
                Some(Deadline::Begin(flow)) => self.look_at_start(flow),
                Some(Deadline::Returned) => {
                    self.flows.note_all_changed(|_, _| true);
                    self.await_all_servers();
                }
            }
        }
    }

    /// Gives every player time to come back before it counts as absent.
    pub(crate) fn await_return(&mut self) {
        self.returning_until = self.now.after(RETURN);
        self.deadlines.insert(self.returning_until, Deadline::Returned);
        self.await_all_servers();
    }

    /// The moment at which a waiting task is given up, if its job began at `started_at` and its
    /// player is away since `detached_at`.
    pub(crate) fn give_up_at(
        &self,
        started_at: Option<Timestamp>,
        detached_at: Option<Timestamp>,
        patience: Millis,
    ) -> Timestamp {
        let since = started_at.max(detached_at).unwrap_or_default();
        since.after(patience).max(self.returning_until)
    }

    /// The moment at which a parked task is given up if nothing changes; `None` if it never is.
    pub(crate) fn parked_until(&self, task: TaskRef) -> Option<Timestamp> {
        let job =
            self.job(task.job()).filter(|job| job.state_of(task.index) == TaskState::Waiting)?;
        let patience = job.spec().give_up_after.filter(|_| job.is_parked(task.index))?;
        let detached_at = if job.is_one_of() {
            // A one-of task is given up once all of its players were away for that long. While one
            // of them is attached, that is at least one full wait from now.
            let since = |(_, player)| match self.roster[player].attached() {
                true => Some(self.now),
                false => self.roster[player].detached_at(),
            };
            job.candidates().filter_map(since).max()
        } else {
            let player = &self.roster[job.targets()[task.index as usize]];
            if player.attached() {
                return None;
            }
            player.detached_at()
        };
        Some(self.give_up_at(job.started_at(), detached_at, patience))
    }

    /// Arms the deadline of a parked task whose player is away.
    pub(crate) fn arm_give_up(&mut self, task: TaskRef) {
        let Some(at) = self.parked_until(task) else { return };
        if self.job(task.job()).is_some_and(Job::is_one_of) {
            // The deadline of a one-of task stays until it is due, because it changes often which
            // of its players it follows from.
            if self.flows.change(task.job(), |job| job.arm_give_up(at)) == Some(false) {
                return;
            }
        }
        self.deadlines.insert(at, Deadline::GiveUp(task));
    }

    pub(crate) fn disarm_give_up(&mut self, task: TaskRef) {
        if let Some(at) = self.parked_until(task) {
            self.deadlines.remove(at, Deadline::GiveUp(task));
        }
    }

    fn give_up(&mut self, task: TaskRef) {
        self.flows.change(task.job(), Job::disarm_give_up);
        if self.parked_until(task).is_some_and(|at| at <= self.now) {
            self.give_up_as_unreachable(task);
        } else {
            self.arm_give_up(task);
        }
    }

    fn give_up_as_unreachable(&mut self, task: TaskRef) {
        let Some(job) = self.job(task.job()) else {
            return self.inconsistent(task.job().flow, "a task that is given up is of no job");
        };
        let state = job.task(task.index).given_up_as(TaskState::Unreachable);
        self.finish(task, state, Some("gave up waiting for the player"));
    }

    /// Arms the deadline of an order whose player went away.
    pub(crate) fn arm_loss(&mut self, task: TaskRef, player: PlayerIx) {
        if let Some(at) = self.lost_at(task, player) {
            self.deadlines.insert(at, Deadline::Lose(task));
        }
    }

    pub(crate) fn disarm_loss(&mut self, task: TaskRef, player: PlayerIx) {
        if let Some(at) = self.lost_at(task, player) {
            self.deadlines.remove(at, Deadline::Lose(task));
        }
    }

    fn lose(&mut self, task: TaskRef) {
        let player = self.job(task.job()).and_then(|job| job.player_of(task.index));
        match player.and_then(|player| self.lost_at(task, player)) {
            Some(at) if at > self.now => self.deadlines.insert(at, Deadline::Lose(task)),
            Some(_) => {
                self.finish(task, TaskState::Lost, Some("its player went away and stayed away"));
            }
            None => {}
        }
    }

    /// The moment at which an order becomes `lost` because its player is away; `None` while the
    /// player is attached.
    pub(crate) fn lost_at(&self, task: TaskRef, ix: PlayerIx) -> Option<Timestamp> {
        /// Added to timeout and grace if the job does not say how long to wait: time to reboot and
        /// come back.
        const REBOOT: Millis = Millis::minutes(10);
        /// Stands for the limit of an attempt of which no limit is known: its score is not one that
        /// the player offered, or an earlier release sent it and the player has not been back since
        /// the conductor started. It is a day, because giving an attempt up too late does less harm
        /// than too early.
        const UNTOLD: Millis = Millis::minutes(24 * 60);
        let player = &self.roster[ix];
        let detached_at = player.detached_at()?;
        let job = self.job(task.job()).filter(|job| job.state_of(task.index).is_in_flight())?;
        // The limits that were in force when the attempt was sent count: after a restart the player
        // is away and has told none.
        let limit = job.task(task.index).time_limit.get();
        let limit = limit.or_else(|| player.time_limit(job.spec())).unwrap_or(UNTOLD);
        let patience = job.spec().lost_after.unwrap_or(limit + REBOOT);
        Some(detached_at.after(patience).max(self.returning_until))
    }
}
