//! A task: one job on one player.

use std::sync::Arc;

use orchestra_model::{
    FlowId, HostName, JobId, Millis, TaskState, Timestamp,
    delivery::{AttemptKey, OrderNumber, Outcome, StoreId},
    record::{Impact, Record, TaskRecord},
    tree::Parent,
};

/// Refers to a task by its indices. Flow numbers are never used twice, so a reference to a task
/// that has gone finds nothing, rather than another task. References are ordered by age.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TaskRef {
    flow: FlowId,
    slot: u16,
    job: u16,
    /// The task's index in the job's host set, from 0. In a player's queue, an entry of a one-of
    /// job has that player's index instead.
    pub(crate) index: u32,
}

impl TaskRef {
    pub(crate) fn new(job: JobId, index: u32) -> Self {
        Self { flow: job.flow, slot: job.slot, job: job.job, index }
    }

    pub(crate) fn job(self) -> JobId {
        JobId { flow: self.flow, slot: self.slot, job: self.job }
    }
}

/// What happened to a task so far. A task that nothing happened to has no `Task`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Task {
    pub(crate) state: TaskState,
    /// Extra attempts that were used, or are about to be, since the task was first sent or somebody
    /// asked for more.
    pub(crate) retries: u16,
    /// How its last attempt ended, if any did: the state that the task has if there is no further
    /// attempt.
    pub(crate) before: Option<TaskState>,
    /// What the newest attempt means for its host's cells.
    pub(crate) impact: Impact,
    /// The number of the newest attempt; 0 if there was none.
    pub(crate) attempt: u32,
    /// The newest attempt's order.
    pub(crate) order: OrderNumber,
    pub(crate) sent_at: Moment,
    pub(crate) started_at: Moment,
    /// When the task became final, or when its last attempt ended.
    pub(crate) ended_at: Moment,
    /// The exit of the newest attempt that ended. While an attempt is out, that is the one before.
    pub(crate) exit: Exit,
    /// The longest that the newest attempt may take.
    pub(crate) time_limit: TimeLimit,
    /// Why the task was refused or lost. Boxed, because few tasks have one.
    pub(crate) detail: Option<Box<Arc<str>>>,
}

/// When something of a task happened, if it did. An `Option` takes twice the room, and a task has
/// three of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment(Timestamp);

impl Moment {
    pub(crate) const NONE: Self = Self(Timestamp(u64::MAX));

    pub(crate) fn get(self) -> Option<Timestamp> {
        (self != Self::NONE).then_some(self.0)
    }
}

impl From<Option<Timestamp>> for Moment {
    fn from(at: Option<Timestamp>) -> Self {
        at.map_or(Self::NONE, Self::from)
    }
}

/// `u64::MAX` stands for "not yet". Should a clock, which must be broken then, tell that moment, it
/// counts as the millisecond before.
impl From<Timestamp> for Moment {
    fn from(at: Timestamp) -> Self {
        Self(at.min(Timestamp(u64::MAX - 1)))
    }
}

/// How long an attempt may take at most, killing included, in whole seconds because a task has no
/// room for more. 0 where it is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TimeLimit(u32);

impl TimeLimit {
    pub(crate) const NONE: Self = Self(0);

    pub(crate) fn get(self) -> Option<Millis> {
        (self != Self::NONE).then(|| Millis::seconds(self.0.into()))
    }
}

/// Rounded up: giving an attempt up too late does less harm than too early.
impl From<Option<Millis>> for TimeLimit {
    fn from(limit: Option<Millis>) -> Self {
        let seconds = |limit: Millis| u32::try_from(limit.0.div_ceil(1_000)).unwrap_or(u32::MAX);
        limit.map_or(Self::NONE, |limit| Self(seconds(limit).max(1)))
    }
}

/// Where a waiting task lies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Parked {
    /// Nowhere: the task does not wait, or was not looked at yet.
    #[default]
    No,
    /// In the job's `ready` set: it waits for the window.
    Ready,
    /// In its player's queue.
    Player,
    /// In the queue of a cell whose hosts come before the task's own.
    Sequence,
    /// Among the tasks of its group that wait for a server in the job's tree.
    Server,
    /// Nowhere until a deadline: it pauses before a further attempt.
    Delayed,
}

/// How an attempt's process ended; `None` where it was killed, or nobody knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    None,
    Code(i32),
    Signal(i32),
}

impl Exit {
    pub(crate) fn of(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Exited(code) => Exit::Code(*code),
            Outcome::Signalled(signal) => Exit::Signal(*signal),
            Outcome::TimedOut | Outcome::Cancelled | Outcome::Lost(_) => Exit::None,
        }
    }

    pub(crate) fn code(self) -> Option<i32> {
        if let Exit::Code(code) = self { Some(code) } else { None }
    }

    pub(crate) fn signal(self) -> Option<i32> {
        if let Exit::Signal(signal) = self { Some(signal) } else { None }
    }
}

/// The `Task` that stands for tasks that nothing happened to.
pub(crate) static UNTOUCHED: Task = Task {
    state: TaskState::Waiting,
    retries: 0,
    before: None,
    impact: Impact::Look,
    attempt: 0,
    order: OrderNumber(0),
    sent_at: Moment::NONE,
    started_at: Moment::NONE,
    ended_at: Moment::NONE,
    exit: Exit::None,
    time_limit: TimeLimit::NONE,
    detail: None,
};

impl Task {
    pub(crate) fn key(&self, store: StoreId, job: JobId) -> AttemptKey {
        AttemptKey { store, job, attempt: self.attempt }
    }

    /// `parent` is who serves the newest attempt, if the job has a tree.
    pub(crate) fn record(
        &self,
        task: TaskRef,
        host: &HostName,
        change: u64,
        parent: Option<Parent>,
    ) -> Record {
        // `running` follows from what the player says, so it is not worth a write.
        let state = match self.state {
            TaskState::Running => TaskState::Sent,
            state => state,
        };
        Record::Task(TaskRecord {
            job: task.job(),
            index: task.index,
            host: host.clone(),
            state,
            attempt: self.attempt,
            retries: self.retries.into(),
            order: self.order,
            sent_at: self.sent_at.get(),
            started_at: self.started_at.get(),
            ended_at: self.ended_at.get(),
            exit: self.exit.code(),
            signal: self.exit.signal(),
            impact: self.impact,
            before: self.before,
            detail: self.detail.as_deref().cloned(),
            time_limit: self.time_limit.get(),
            change,
            parent,
        })
    }

    /// The exit of the newest attempt.
    pub(crate) fn newest_exit(&self) -> Exit {
        if self.state.is_in_flight() { Exit::None } else { self.exit }
    }

    /// The state that the task gets if it has no further attempt: how its last attempt ended, or
    /// `state` if it had none.
    pub(crate) fn given_up_as(&self, state: TaskState) -> TaskState {
        self.before.unwrap_or(state)
    }

    /// Whether the task left its host down and waits for a further attempt there.
    pub(crate) fn is_returning(&self) -> bool {
        self.state == TaskState::Waiting && self.before.is_some() && self.impact == Impact::Holds
    }

    pub(crate) fn restore(record: &TaskRecord) -> Self {
        let exit = match (record.exit, record.signal) {
            (Some(code), _) => Exit::Code(code),
            (None, Some(signal)) => Exit::Signal(signal),
            (None, None) => Exit::None,
        };
        Self {
            state: record.state,
            retries: u16::try_from(record.retries).unwrap_or(u16::MAX),
            before: record.before,
            impact: record.impact,
            attempt: record.attempt,
            order: record.order,
            sent_at: record.sent_at.into(),
            started_at: record.started_at.into(),
            ended_at: record.ended_at.into(),
            exit,
            time_limit: record.time_limit.into(),
            detail: record.detail.clone().map(Box::new),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_is_fetched_from_memory_at_once() {
        assert_eq!(size_of::<Task>(), 64);
    }

    #[test]
    fn a_time_limit_is_never_shorter_than_it_was() {
        for (ms, seconds) in [(1, 1), (1_000, 1), (1_001, 2), (u64::MAX, u32::MAX.into())] {
            assert_eq!(TimeLimit::from(Some(Millis(ms))).get(), Some(Millis::seconds(seconds)));
        }
        assert_eq!(TimeLimit::from(None).get(), None);
    }

    #[test]
    fn a_moment_is_there_or_not() {
        for at in [0, 1, u64::MAX - 1] {
            assert_eq!(Moment::from(Timestamp(at)).get(), Some(Timestamp(at)));
        }
        assert_eq!(Moment::from(Timestamp(u64::MAX)).get(), Some(Timestamp(u64::MAX - 1)));
        assert_eq!((Moment::from(None).get(), Moment::NONE.get()), (None, None));
    }
}
