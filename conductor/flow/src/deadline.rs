//! Moments at which something is due. An entry that no longer applies is dropped when it comes.

use std::collections::BTreeSet;

use orchestra_model::{Millis, TaskState, Timestamp};

use crate::{Engine, roster::PlayerIx, task::TaskRef};

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Deadline {
    /// Waiting for an absent player is over.
    GiveUp(TaskRef),
    /// Waiting for a player that went away with an attempt is over.
    Lose(TaskRef),
    /// A player that said it is busy is asked again.
    AskBusyAgain(PlayerIx),
}

/// Due things in order of time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Deadlines(BTreeSet<(Timestamp, Deadline)>);

impl Deadlines {
    pub(crate) fn insert(&mut self, at: Timestamp, deadline: Deadline) {
        self.0.insert((at, deadline));
    }

    pub(crate) fn next(&self) -> Option<Timestamp> {
        self.0.first().map(|(at, _)| *at)
    }

    fn pop_due(&mut self, now: Timestamp) -> Option<Deadline> {
        let first = *self.0.first()?;
        (first.0 <= now && self.0.remove(&first)).then_some(first.1)
    }
}

/// Most deadlines met in one turn.
const TURN: usize = 1_024;

impl Engine {
    pub(crate) fn meet_deadlines(&mut self) {
        for _ in 0..TURN {
            match self.deadlines.pop_due(self.now) {
                None => return,
                Some(Deadline::GiveUp(task)) => self.give_up(task),
                Some(Deadline::Lose(task)) => self.lose(task),
                Some(Deadline::AskBusyAgain(player)) => {
                    self.roster[player].said_busy = false;
                    self.wake(player);
                }
            }
        }
    }

    /// When the task is given up if its player stays away; `None` for never.
    fn give_up_at(&self, task: TaskRef, player: PlayerIx) -> Option<Timestamp> {
        let job = self.job(task.job())?;
        let patience = job.spec.give_up_after?;
        let since = job.started_at.max(self.roster[player].detached_at).unwrap_or(self.now);
        Some(since.after(patience))
    }

    pub(crate) fn arm_give_up(&mut self, task: TaskRef, player: PlayerIx) {
        if let Some(at) = self.give_up_at(task, player) {
            self.deadlines.insert(at, Deadline::GiveUp(task));
        }
    }

    fn give_up(&mut self, task: TaskRef) {
        let Some(job) = self.job(task.job()) else {
            return;
        };
        if job.is_one_of() {
            return self.give_up_one_of(task);
        }
        let Some(player) = job.player_of(task.index) else {
            return;
        };
        if !job.is_parked(task.index) || self.roster[player].attached() {
            return;
        }
        match self.give_up_at(task, player) {
            Some(at) if at > self.now => self.deadlines.insert(at, Deadline::GiveUp(task)),
            _ => self.finish(task, TaskState::Unreachable, Some("gave up waiting for the player")),
        }
    }

    /// A one-of task is given up when none of its players was there at the moment; else it is
    /// given as much time again.
    fn give_up_one_of(&mut self, task: TaskRef) {
        let Some(job) = self.job(task.job()) else {
            return;
        };
        let Some(patience) = job.spec.give_up_after else {
            return;
        };
        if job.state_of(0) != TaskState::Waiting || job.state.is_final() {
            return;
        }
        let there = match job.player_of(0) {
            Some(player) => self.roster[player].attached(),
            None => job.targets.iter().any(|player| self.roster[*player].attached()),
        };
        if there {
            self.deadlines.insert(self.now.after(patience), Deadline::GiveUp(task));
        } else {
            let task = TaskRef::new(task.job(), 0);
            self.finish(task, TaskState::Unreachable, Some("gave up waiting for a player"));
        }
    }

    /// Arms the deadline of an order whose player went away.
    pub(crate) fn arm_loss(&mut self, task: TaskRef, player: PlayerIx) {
        if let Some(at) = self.lost_at(task, player) {
            self.deadlines.insert(at, Deadline::Lose(task));
        }
    }

    fn lost_at(&self, task: TaskRef, ix: PlayerIx) -> Option<Timestamp> {
        /// What the default adds to timeout and grace: time to reboot and come back.
        const RETURN: Millis = Millis::minutes(10);
        let job = self.job(task.job())?;
        let player = &self.roster[ix];
        let patience = job.spec.lost_after.unwrap_or_else(|| {
            let limit = player.limits(job.score).timeout;
            job.spec.timeout.map_or(limit, |asked| asked.min(limit)) + player.kill_grace + RETURN
        });
        Some(player.detached_at.unwrap_or(self.now).after(patience))
    }

    fn lose(&mut self, task: TaskRef) {
        let Some(job) = self.job(task.job()) else {
            return;
        };
        let Some(player) = job.player_of(task.index) else {
            return;
        };
        if !job.state_of(task.index).is_in_flight() || self.roster[player].attached() {
            return;
        }
        match self.lost_at(task, player) {
            Some(at) if at > self.now => self.deadlines.insert(at, Deadline::Lose(task)),
            _ => self.finish(task, TaskState::Lost, Some("its player went away and stayed away")),
        }
    }
}
