//! What a player reports about orders: started, ended, refused.
//!
//! Everything durable on the player's side is acknowledged, after it is durable here: also what
//! is late, unknown, or of another store, or the player would repeat it for ever.

use std::sync::Arc;

use orchestra_model::{
    TaskState, Timestamp,
    delivery::{AttemptEnd, AttemptKey, Outcome, Refusal, Report},
    record::{EndRecord, Op, Record},
};

use crate::{
    Engine, PlayerIx, SessionId,
    effect::Command,
    task::{Exit, TaskRef},
};

impl Engine {
    pub(crate) fn report(
        &mut self,
        player: PlayerIx,
        session: SessionId,
        report: Box<Report>,
        end: Option<Arc<[u8]>>,
    ) {
        if self.roster[player].session != Some(session) {
            return;
        }
        let key = report.key();
        let task = self.awaited(player, key);
        match (*report, task) {
            (Report::Started { at, .. }, Some(task)) => self.note_start(task, at),
            (Report::Started { .. }, None) => {}
            (Report::Ended { end: what, .. }, Some(task)) => {
                self.keep_end(player, key, end, false);
                self.end_attempt(player, task, &what);
                self.send(player, session, Command::Acknowledge(key));
            }
            (Report::Ended { .. }, None) => {
                if self.is_known(key) {
                    self.keep_end(player, key, end, true);
                }
                self.send(player, session, Command::Acknowledge(key));
                self.forget_stranger(player, key);
            }
            (Report::Refused { refusal, .. }, Some(task)) => {
                self.send_after_refusal(player, session, key, &refusal);
                self.refuse(player, task, refusal);
            }
            (Report::Refused { refusal, .. }, None) => {
                self.send_after_refusal(player, session, key, &refusal);
                self.forget_stranger(player, key);
            }
        }
    }

    /// The task in flight on this player whose newest attempt this is.
    fn awaited(&self, player: PlayerIx, key: AttemptKey) -> Option<TaskRef> {
        if !self.is_ours(key.store) {
            return None;
        }
        let mut in_flight = self.roster[player].in_flight.iter().map(|flying| flying.task);
        let task = in_flight.find(|task| task.job() == key.job)?;
        let attempt = self.job(key.job)?.task(task.index).attempt;
        (attempt == key.attempt).then_some(task)
    }

    /// Whether the store still has the flow, so that a late end has something to belong to.
    fn is_known(&self, key: AttemptKey) -> bool {
        let flow = key.job.flow;
        self.is_ours(key.store) && (self.flows.contains_key(&flow) || self.ended.contains(&flow))
    }

    fn keep_end(&mut self, player: PlayerIx, key: AttemptKey, end: Option<Arc<[u8]>>, late: bool) {
        let Some(end) = end else { return };
        let host = self.host(player);
        let record = EndRecord { job: key.job, host, attempt: key.attempt, late, end };
        self.persist(Op::Put(Record::End(record)));
    }

    fn forget_stranger(&mut self, player: PlayerIx, key: AttemptKey) {
        let strangers = &mut self.roster[player].strangers;
        let before = strangers.len();
        strangers.retain(|stranger| *stranger != key);
        if strangers.len() < before {
            self.roster[player].said_busy = false;
            self.wake(player);
        }
    }

    /// The process exists. Not worth a write: after a restart the player says so again.
    pub(crate) fn note_start(&mut self, task: TaskRef, at: Timestamp) {
        let Some(job) = self.job_mut(task.job()) else {
            return;
        };
        if job.state_of(task.index) != TaskState::Sent {
            return;
        }
        job.shift(task.index, TaskState::Running);
        job.task_mut(task.index).started_at = Some(at);
        self.publish_task(task);
    }

    fn end_attempt(&mut self, player: PlayerIx, task: TaskRef, end: &AttemptEnd) {
        let Some(job) = self.job_mut(task.job()) else {
            return;
        };
        let cancelled = job.untouched == TaskState::Cancelled;
        let retries = job.spec.retries;
        let known = job.task_mut(task.index);
        known.exit = Exit::of(&end.outcome);
        known.started_at = end.started_at.or(known.started_at);
        let (state, detail) = match &end.outcome {
            Outcome::Exited(0) => (TaskState::Ok, None),
            Outcome::Exited(_) | Outcome::Signalled(_) => (TaskState::Failed, None),
            Outcome::TimedOut => (TaskState::TimedOut, None),
            Outcome::Cancelled => (TaskState::Cancelled, None),
            Outcome::Lost(why) => (TaskState::Lost, Some(why.clone())),
        };
        let may_retry = matches!(state, TaskState::Failed | TaskState::TimedOut)
            && u32::from(known.retries) < retries
            && !cancelled
            && job.may_start();
        if may_retry {
            let known = job.task_mut(task.index);
            known.retries += 1;
            self.wait_again(task);
            self.publish_task(task);
            self.release(task, player);
            self.wake(player);
        } else {
            self.finish(task, state, detail.as_deref());
        }
    }

    /// Refusals that the spool keeps are acknowledged; the others it has forgotten already.
    fn send_after_refusal(
        &mut self,
        player: PlayerIx,
        session: SessionId,
        key: AttemptKey,
        refusal: &Refusal,
    ) {
        if !matches!(refusal, Refusal::StaleTerm(_) | Refusal::AlreadyAcknowledged) {
            self.send(player, session, Command::Acknowledge(key));
        }
    }

    /// The player's own word that the attempt did not start, and never will.
    fn refuse(&mut self, player: PlayerIx, task: TaskRef, refusal: Refusal) {
        let cancelled = self.job(task.job()).is_some_and(|job| job.untouched.is_final());
        match refusal {
            Refusal::AlreadyAcknowledged => {
                self.finish(task, TaskState::Lost, Some("the player has no trace of it"));
            }
            Refusal::Cancelled => self.finish(task, TaskState::Cancelled, None),
            _ if cancelled => self.finish(task, TaskState::Cancelled, None),
            Refusal::StaleTerm(seen) => {
                let host = self.roster.host(player);
                self.stale = Some(format!(
                    "player {host} has seen term {} of this store, which is at term {}",
                    seen.0, self.term.0,
                ));
                self.step_back(player, task, false);
            }
            Refusal::Busy | Refusal::Stopping => {
                self.hold_back(player);
                self.step_back(player, task, false);
            }
            refusal => {
                let one_of = self.job(task.job()).is_some_and(crate::job::Job::is_one_of);
                if one_of && self.is_another_left(task) {
                    self.step_back(player, task, true);
                } else {
                    self.finish(task, TaskState::Refused, Some(&refusal.to_string()));
                }
            }
        }
    }

    fn is_another_left(&self, task: TaskRef) -> bool {
        let Some(job) = self.job(task.job()) else {
            return false;
        };
        (0..).zip(job.targets.iter()).any(|(place, player)| {
            Some(place) != job.choice.chosen
                && !job.choice.struck.contains(&place)
                && self.roster[*player].member
        })
    }

    /// The task waits again. A one-of task may go to another player, for this one did not start
    /// it; where the player would never start it, it is struck from the set.
    fn step_back(&mut self, player: PlayerIx, task: TaskRef, strike: bool) {
        self.roster[player].in_flight.retain(|flying| flying.task != task);
        self.wait_again(task);
        let Some(job) = self.job_mut(task.job()) else {
            return;
        };
        if job.is_one_of() && job.task(0).retries == 0 {
            let chosen = job.choice.chosen.take();
            if let (Some(place), true) = (chosen, strike) {
                job.choice.struck.insert(place);
            }
        }
        // A doomed job starts nothing anew: without this one it may be over.
        self.evaluate(task.job());
        self.wake(player);
    }
}
