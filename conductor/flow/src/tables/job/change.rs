//! The methods that change a job. `Flows::change` alone hands out a job to be changed. Afterwards
//! it does what these methods noted as having to follow ([`FollowUps`]).

use std::{collections::BTreeSet, sync::Arc};

use orchestra_model::{
    Asker, JobState, Millis, TaskState, Timestamp, delivery::OrderNumber, record::Impact,
    time::believed,
};

use super::{FollowUps, Job, Quorum};
use crate::tables::{
    task::{Exit, Moment, Parked, Task, TimeLimit},
    tree::Bound,
};

/// An order that goes out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sending {
    pub(crate) order: OrderNumber,
    pub(crate) impact: Impact,
    pub(crate) time_limit: TimeLimit,
    /// How many attempts of the task a restored store may have forgotten: the new one is numbered
    /// above them.
    pub(crate) forgotten: u32,
    /// Who serves it, if the job has a tree.
    pub(crate) bound: Option<Bound>,
    pub(crate) now: Timestamp,
}

impl Job {
    pub(in crate::tables) fn take_follow_ups(&mut self) -> FollowUps {
        if self.follow_ups.servers {
            self.release_children();
        }
        std::mem::take(&mut self.follow_ups)
    }

    /// Gives the job a turn, whether or not anything may start.
    pub(in crate::tables) fn ask_for_turn(&mut self) {
        self.follow_ups.turn = true;
    }

    fn task_mut(&mut self, index: u32) -> &mut Task {
        self.tasks.get_mut(index)
    }

    // ---- the life of a task ----

    /// Moves a task to another state, and returns the one that it was in.
    fn shift(&mut self, index: u32, to: TaskState) -> TaskState {
        let task = self.task_mut(index);
        let from = std::mem::replace(&mut task.state, to);
        debug_assert!(!from.is_final(), "{}: task {index} was {from} and becomes {to}", self.id);
        self.counts.shift(from, to);
        self.note_in_tree(index, from, to);
        if to.is_final() && index < self.canary.tasks {
            match to {
                TaskState::Ok => self.canary.ok += 1,
                _ => self.canary.failed += 1,
            }
        }
        from
    }

    /// Notes that a task is sent. `place` is the index of the player among the targets, which
    /// matters for a one-of job.
    pub(crate) fn send(&mut self, index: u32, place: u32, sending: Sending) {
        if self.is_one_of() {
            self.choice.chosen = Some(place);
        }
        self.touched.remove(&index);
        self.park(index, Parked::No);
        self.shift(index, TaskState::Sent);
        self.bind(index, sending.bound);
        self.follow_ups.window = true;
        let task = self.task_mut(index);
        task.attempt = task.attempt.max(sending.forgotten) + 1;
        task.impact = sending.impact;
        task.order = sending.order;
        task.sent_at = sending.now.into();
        task.started_at = Moment::NONE;
        task.detail = None;
        task.time_limit = sending.time_limit;
    }

    /// Notes that the process of a task exists, by its player's clock since `at`. Returns `None` if
    /// the task was not sent or has started already; otherwise whether the moment is news.
    pub(crate) fn note_start(&mut self, index: u32, at: Timestamp, now: Timestamp) -> Option<bool> {
        let task = self.tasks.get_mut(index);
        if task.state != TaskState::Sent {
            return None;
        }
        let at = believed(at, task.sent_at.get().unwrap_or(now), now).into();
        let is_news = std::mem::replace(&mut task.started_at, at) != at;
        self.shift(index, TaskState::Running);
        Some(is_news)
    }

    /// Notes how the newest attempt of a task ended, and when its player says that it started. If a
    /// further attempt is due, it is used up. Returns the pause before that attempt.
    pub(crate) fn end_attempt(
        &mut self,
        index: u32,
        ended_as: TaskState,
        exit: Exit,
        started_at: Option<Timestamp>,
        now: Timestamp,
    ) -> Option<Millis> {
        let goes_on = matches!(ended_as, TaskState::Failed | TaskState::TimedOut) && self.is_open();
        let task = self.tasks.get_mut(index);
        task.exit = exit;
        let sent_at = task.sent_at.get().unwrap_or(now);
        let started_at = started_at.map(|at| believed(at, sent_at, now));
        task.started_at = started_at.or(task.started_at.get()).into();
        if !goes_on || u32::from(task.retries) >= self.spec.retries {
            return None;
        }
        task.retries += 1;
        task.before = Some(ended_as);
        task.ended_at = now.into();
        Some(self.spec.retry_delay)
    }

    /// Makes a task that was sent wait again, at once or after a delay. The caller persists and
    /// publishes that.
    pub(crate) fn wait_again(&mut self, index: u32, is_delayed: bool) {
        self.shift(index, TaskState::Waiting);
        self.touched.insert(index);
        self.park(index, if is_delayed { Parked::Delayed } else { Parked::Ready });
        self.follow_ups.turn = true;
        self.follow_ups.evaluation = true;
    }

    /// Makes a task final. The caller persists and publishes that.
    pub(crate) fn finish(
        &mut self,
        index: u32,
        state: TaskState,
        detail: Option<&str>,
        now: Timestamp,
    ) {
        // If the task was in flight, the window has room for another one now.
        self.follow_ups.turn |= self.shift(index, state).is_in_flight();
        self.follow_ups.evaluation = true;
        self.follow_ups.servers = true;
        self.park(index, Parked::No);
        self.touched.remove(&index);
        let task = self.task_mut(index);
        task.before = None;
        task.ended_at = now.into();
        if matches!(state, TaskState::Refused | TaskState::Cancelled | TaskState::Lost) {
            task.exit = Exit::None;
        }
        if detail.is_some() {
            task.detail = detail.map(|detail| Box::new(Arc::from(detail)));
        }
    }

    /// Makes a task that had ended wait again, because somebody asked for a further attempt. This
    /// is the one way back from a final state. The caller persists and publishes that.
    pub(crate) fn reopen(&mut self, index: u32) {
        let task = self.task_mut(index);
        let from = std::mem::replace(&mut task.state, TaskState::Waiting);
        task.before = (task.attempt > 0).then_some(from);
        task.ended_at = Moment::NONE;
        task.retries = 0;
        self.counts.shift(from, TaskState::Waiting);
        self.note_in_tree(index, from, TaskState::Waiting);
        if index < self.canary.tasks {
            self.canary.failed -= 1;
        }
        self.touched.insert(index);
        self.follow_ups.turn = true;
        self.follow_ups.evaluation = true;
        // A task beyond the cursor is found when the cursor comes to it, which the canary may
        // delay.
        let is_next = index < self.cursor;
        self.park(index, if is_next { Parked::Ready } else { Parked::No });
    }

    /// Makes every waiting task final at once. Tasks that nothing happened to need no record,
    /// because the job's record says what they are. Returns the other ones, which the caller
    /// persists and publishes.
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
        self.clear_tree();
        self.follow_ups.evaluation = true;
        touched
    }

    /// Notes the longest that the newest attempt of a task may take, if that was not noted yet.
    pub(crate) fn note_time_limit(&mut self, index: u32, limit: TimeLimit) {
        self.task_mut(index).time_limit = limit;
    }

    // ---- where waiting tasks are ----

    /// Notes where a waiting task lies.
    pub(super) fn park(&mut self, index: u32, to: Parked) {
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
        self.note_wait_in_tree(index, from, to);
    }

    /// Notes that a task waits in its player's queue, and counts it as absent if that player is not
    /// attached.
    pub(crate) fn park_on_player(&mut self, index: u32, is_absent: bool) {
        self.park(index, Parked::Player);
        self.follow_ups.servers = true;
        if is_absent {
            self.count_absent(true);
        }
    }

    /// Notes that a task waits in the queue of a cell whose hosts come before its own.
    pub(crate) fn stand_in_line(&mut self, index: u32) {
        self.park(index, Parked::Sequence);
        self.follow_ups.evaluation = true;
        self.follow_ups.servers = true;
    }

    /// Notes that a task waits for its job to look at it again.
    pub(crate) fn make_ready(&mut self, index: u32) {
        self.park(index, Parked::Ready);
        self.follow_ups.turn = true;
    }

    /// Notes that a task waits until its job may start it, which may be at once.
    pub(crate) fn await_window(&mut self, index: u32) {
        self.park(index, Parked::Ready);
        self.follow_ups.turn |= self.may_start() && self.window_is_open();
    }

    /// The next task that nothing but its player's gates could stop. Tasks beyond the cursor that
    /// were in flight when the conductor started are passed over.
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

    /// Counts a parked task as absent because its player has gone; or no longer, because its player
    /// has come or does not have the task any more.
    pub(crate) fn count_absent(&mut self, is_absent: bool) {
        self.absent = step(self.absent, is_absent);
        self.follow_ups.evaluation = true;
    }

    /// Counts a task in flight as away because its player has gone; or no longer, because its
    /// player has come or does not have the task any more.
    pub(crate) fn count_away(&mut self, is_away: bool) {
        self.away = step(self.away, is_away);
    }

    // ---- the choice of a one-of job ----

    /// Frees a one-of task, after a restart, from the player that it was sent to.
    pub(crate) fn unbind(&mut self) {
        self.task_mut(0).sent_at = Moment::NONE;
    }

    /// Lets a one-of task choose its player anew. With `strike`, the player that it had chosen is
    /// excluded for good.
    pub(crate) fn choose_anew(&mut self, strike: bool) {
        let struck = self.choice.chosen.take().filter(|_| strike);
        self.choice.struck.extend(struck);
    }

    /// Arms the deadline at which a one-of task is given up, unless one is armed already. Returns
    /// whether none was.
    pub(crate) fn arm_give_up(&mut self, at: Timestamp) -> bool {
        let is_news = self.choice.give_up_at.is_none();
        self.choice.give_up_at.get_or_insert(at);
        is_news
    }

    pub(crate) fn disarm_give_up(&mut self) -> Option<Timestamp> {
        self.choice.give_up_at.take()
    }

    // ---- what holds it back ----

    pub(crate) fn set_paused(&mut self, paused: bool) {
        self.paused = paused;
        let follows = self.state == JobState::Running;
        self.follow_ups.turn |= follows;
        self.follow_ups.evaluation |= follows;
    }

    /// Sets how many of its players are attached, while it waits for enough of them. It waits for
    /// at most `members` of them: players that the players file no longer names will never come.
    pub(crate) fn count_quorum(&mut self, attached: u32, members: u32) {
        self.quorum = Quorum { needed: self.quorum.needed.min(members), attached };
    }

    /// Counts one player more, or less, as attached.
    pub(crate) fn count_attached(&mut self, here: bool) {
        self.quorum.attached = step(self.quorum.attached, here);
    }

    /// Ends the wait for players if enough of them are attached. Returns whether they are.
    pub(crate) fn reach_quorum(&mut self) -> bool {
        if self.quorum.attached < self.quorum.needed {
            return false;
        }
        self.quorum.needed = 0;
        self.follow_ups.turn = true;
        self.follow_ups.evaluation = true;
        true
    }

    /// Notes that the last task of its canary became ok now.
    pub(crate) fn pass_canary(&mut self, now: Timestamp) {
        self.canary.ok_at = Some(now);
    }

    /// Ends the wait of the rest of the job for its canary.
    pub(crate) fn open_canary(&mut self) {
        self.canary.is_open = true;
        self.follow_ups.turn = true;
    }

    /// Ends the wait of the rest of the job for its canary, because somebody decided so.
    pub(crate) fn promote(&mut self, by: Asker) {
        self.canary.promoted_by = Some(by);
        self.open_canary();
        self.follow_ups.evaluation = true;
    }

    // ---- its own state, which its flow counts ----

    pub(in crate::tables) fn set_state(&mut self, to: JobState) -> JobState {
        std::mem::replace(&mut self.state, to)
    }

    pub(in crate::tables) fn set_stuck(&mut self, stuck: bool) -> bool {
        std::mem::replace(&mut self.stuck, stuck)
    }

    pub(in crate::tables) fn set_queued(&mut self, queued: bool) -> bool {
        std::mem::replace(&mut self.queued, queued)
    }

    pub(in crate::tables) fn begin(&mut self, now: Timestamp) {
        self.started_at.get_or_insert(now);
    }

    /// Notes that the job ended. `change` is the number of that change of its flow.
    pub(in crate::tables) fn end(&mut self, now: Timestamp, change: u64) {
        self.ended_at = Some(now);
        self.change = change;
    }
}

/// One more, or one less.
fn step(count: u32, up: bool) -> u32 {
    if up { count + 1 } else { count - 1 }
}
