//! Moments at which something is due.
//!
//! A task has at most one deadline, which is taken out when it no longer applies, so that a player
//! which comes and goes leaves no trail of them: when it is due follows from what it is due for.
//! One that comes too early, because the world changed meanwhile, is moved on; one that is left of
//! a task that is no more is dropped.
//!
//! Deadlines are in wall time and go on while no conductor runs. But nobody is given up as absent
//! who had no chance to come back, so all of that waits until `returning_until`.

use orchestra_model::{Millis, TaskState, Timestamp};

use crate::{
    Engine,
    ids::PlayerIx,
    tables::{deadlines::Deadline, job::Job, player::Player, task::TaskRef},
};

/// Most deadlines met in one turn.
const TURN: usize = 1_024;

/// How long players are given to come back when the conductor starts, or has sent all away: above
/// the 30 seconds that one waits at most between two attempts.
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
                Some(Deadline::Returned) => {
                    self.flows.note_all_changed(|_, _| true);
                }
            }
        }
    }

    /// Gives every player time to come back before it counts as absent.
    pub(crate) fn await_return(&mut self) {
        self.returning_until = self.now.after(RETURN);
        self.deadlines.insert(self.returning_until, Deadline::Returned);
    }

    /// When a task is given up whose job began then and whose player is away since then, if ever it
    /// was there.
    pub(crate) fn give_up_at(
        &self,
        started_at: Option<Timestamp>,
        detached_at: Option<Timestamp>,
        patience: Millis,
    ) -> Timestamp {
        let since = started_at.max(detached_at).unwrap_or_default();
        since.after(patience).max(self.returning_until)
    }

    /// When a parked task is given up if nothing changes; `None` for never.
    pub(crate) fn parked_until(&self, task: TaskRef) -> Option<Timestamp> {
        let job =
            self.job(task.job()).filter(|job| job.state_of(task.index) == TaskState::Waiting)?;
        let patience = job.spec().give_up_after.filter(|_| job.is_parked(task.index))?;
        let detached_at = if job.is_one_of() {
            // Once all of its players were away for so long. While one is there, that cannot be
            // sooner than after a full wait from now.
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
            // Its deadline stays until it comes: which of its players matters changes often.
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

    /// When an order is lost whose player is away; `None` where it is there.
    pub(crate) fn lost_at(&self, task: TaskRef, ix: PlayerIx) -> Option<Timestamp> {
        /// What the default adds to timeout and grace: time to reboot and come back.
        const REBOOT: Millis = Millis::minutes(10);
        /// Stands for the limit of an attempt of which none is known: of a score that the player
        /// did not offer, or sent by a release that did not note it, by a player that has not been
        /// back since the conductor started. Rather late than wrong.
        const UNTOLD: Millis = Millis::minutes(24 * 60);
        let player = &self.roster[ix];
        let detached_at = player.detached_at()?;
        let job = self.job(task.job()).filter(|job| job.state_of(task.index).is_in_flight())?;
        // By the limits that held when it was sent: after a restart the player, which is away, has
        // told none.
        let limit = job.task(task.index).time_limit.get();
        let limit = limit.or_else(|| player.time_limit(job.spec())).unwrap_or(UNTOLD);
        let patience = job.spec().lost_after.unwrap_or(limit + REBOOT);
        Some(detached_at.after(patience).max(self.returning_until))
    }
}
