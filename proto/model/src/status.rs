//! What the audience is told of flows, jobs, tasks and players.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    advice::Advice,
    audit::Asker,
    delivery::{EndBytes, SpoolId},
    flow::Scope,
    ids::{FlowId, JobId},
    names::{FlowName, HostName, JobName, ScoreName},
    record::Drain,
    score::ScoreOffer,
    start::StartStatus,
    state::{FlowState, JobState, TaskState, WaitReason},
    time::{Millis, Timestamp},
    tree::Parent,
};

/// Tasks of a job by state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts([u32; TaskState::ALL.len()]);

impl Counts {
    /// All tasks in one state.
    pub fn all_in(state: TaskState, tasks: u32) -> Self {
        let mut counts = Counts::default();
        counts.0[state as usize] = tasks;
        counts
    }

    /// How many are in `state`.
    pub fn get(&self, state: TaskState) -> u32 {
        self.0[state as usize]
    }

    /// Sets how many are in `state`.
    pub fn set(&mut self, state: TaskState, tasks: u32) {
        self.0[state as usize] = tasks;
    }

    /// Moves one task.
    pub fn shift(&mut self, from: TaskState, to: TaskState) {
        self.shift_many(from, to, 1);
    }

    /// Moves `tasks` tasks.
    pub fn shift_many(&mut self, from: TaskState, to: TaskState, tasks: u32) {
        debug_assert!(self.get(from) >= tasks, "{tasks} of {from} from {self:?}");
        self.0[from as usize] -= tasks;
        self.0[to as usize] += tasks;
    }

    /// Adds others to these.
    pub fn add(&mut self, others: &Counts) {
        self.0.iter_mut().zip(others.0).for_each(|(own, other)| *own += other);
    }

    /// How many there are in all.
    pub fn total(&self) -> u32 {
        self.0.iter().sum()
    }

    /// How many are sent or running.
    pub fn in_flight(&self) -> u32 {
        self.get(TaskState::Sent) + self.get(TaskState::Running)
    }

    /// How many are final.
    pub fn finished(&self) -> u32 {
        self.total() - self.get(TaskState::Waiting) - self.in_flight()
    }

    /// How many count against `max_failures`.
    pub fn failures(&self) -> u32 {
        self.iter().filter(|(state, _)| state.counts_as_failure()).map(|(_, n)| n).sum()
    }

    /// Each state and how many are in it, zeros too.
    pub fn iter(&self) -> impl Iterator<Item = (TaskState, u32)> {
        TaskState::ALL.iter().map(|state| (*state, self.get(*state)))
    }
}

/// A flow in a list: a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowSummary {
    pub id: FlowId,
    /// For people.
    pub name: Option<FlowName>,
    /// Where it is.
    pub state: FlowState,
    /// Who submitted it, or in whose name that was done.
    pub audience: Asker,
    /// The conductor made it by itself, in that name.
    pub by_keeper: bool,
    /// When it was accepted.
    pub submitted_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// How many of its tasks were sent to players that are not attached.
    pub absent: u32,
    /// Tasks of all jobs by state; `None` where they were not counted.
    pub counts: Option<Counts>,
}

/// How far a living flow has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowProgress {
    /// How many of its tasks were sent to players that are not attached.
    pub absent: u32,
    /// Tasks of all jobs by state.
    pub counts: Counts,
}

impl FlowSummary {
    /// Who made it: not the one in whose name that was done, where the conductor did it by itself.
    pub fn actor(&self) -> &Asker {
        if self.by_keeper { &Asker::Keeper } else { &self.audience }
    }
}

/// A flow, its slots and jobs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowStatus {
    pub summary: FlowSummary,
    /// Who cancelled it.
    pub cancelled_by: Option<Asker>,
    /// Why, as they said.
    pub cancel_reason: Option<Arc<str>>,
    /// Who paused it.
    pub paused_by: Option<Asker>,
    /// The ended flow whose unfinished tasks it runs again.
    pub retry_of: Option<FlowId>,
    /// What it waits for before it begins, or waited for; `None` where it began at once.
    pub start: Option<StartStatus>,
    /// Why it is stalled: a sentence for each thing that only a person can end, a few of them.
    pub stalled: Vec<Advice>,
    /// Whether nothing is sent until an operator ran `orc conductor recover`.
    pub stale_store: bool,
    /// Its jobs, slot by slot.
    pub slots: Vec<Vec<JobStatus>>,
}

impl FlowStatus {
    /// Tasks of all jobs by state.
    pub fn counts(&self) -> Counts {
        let mut sum = Counts::default();
        self.slots.iter().flatten().for_each(|job| sum.add(&job.counts));
        sum
    }
}

/// A job and its counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobStatus {
    /// Its place.
    pub id: JobId,
    pub name: JobName,
    pub score: ScoreName,
    /// All of its hosts, or one of them.
    pub scope: Scope,
    /// Where it is.
    pub state: JobState,
    /// Its hosts, folded, cut for display where it is very long.
    pub targets: String,
    /// Tasks by state.
    pub counts: Counts,
    /// Why its waiting tasks wait.
    pub waiting: BTreeMap<WaitReason, u32>,
    /// The most tasks that may be in flight at once.
    pub window: u32,
    /// How many must succeed.
    pub needed: u32,
    /// Where its canary is, if it has one that still holds others back.
    pub canary: Option<CanaryStatus>,
    /// When its slot began.
    pub started_at: Option<Timestamp>,
    /// When its verdict was set.
    pub ended_at: Option<Timestamp>,
    /// Its tasks whose players are not attached, if any.
    pub absence: Option<JobAbsence>,
}

/// A moment at which something happens unless something else comes before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    pub at: Timestamp,
    /// How long that is from now, by the clock of whoever tells.
    pub left: Millis,
}

/// That the player of a task is not attached, and when the task is given up for that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Absence {
    /// When the player's last session ended; `None` where it never had one.
    pub since: Option<Timestamp>,
    /// When the task becomes `lost` if it was sent, `unreachable` if it waits; `None` where it
    /// waits for ever.
    pub given_up: Option<Due>,
}

/// Tasks of a job whose players are not attached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobAbsence {
    /// Tasks that were sent to them.
    pub in_flight: AbsentTasks,
    /// Tasks that wait for them.
    pub waiting: AbsentTasks,
}

impl JobAbsence {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.in_flight.tasks == 0 && self.waiting.tasks == 0
    }
}

/// Some tasks whose players are not attached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AbsentTasks {
    pub tasks: u32,
    /// Their hosts, folded, cut for display where it is very long.
    pub hosts: String,
    /// When the first of these players went; `None` where none of them was ever attached.
    pub since: Option<Timestamp>,
    /// When the first of the tasks is given up; `None` where all wait for ever.
    pub given_up: Option<Due>,
}

/// The first tasks of a job, which the others wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CanaryStatus {
    /// How many they are.
    pub tasks: u32,
    /// How many of them are ok.
    pub ok: u32,
    /// Until when the others wait, once all are ok; `None` before, and where a person has to
    /// promote the job.
    pub until: Option<Timestamp>,
}

impl JobStatus {
    /// Whether the job is not ok only because tasks were `unreachable`: without those its
    /// threshold was still in reach (exit code 4).
    pub fn only_unreachable(&self) -> bool {
        let unreachable = self.counts.get(TaskState::Unreachable);
        unreachable > 0
            && self.counts.failures() == 0
            && self.counts.get(TaskState::Cancelled) == 0
            && self.counts.get(TaskState::Ok) + unreachable + self.counts.get(TaskState::Skipped)
                >= self.needed
    }
}

/// A task, in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskStatus {
    pub job: JobId,
    /// Its place in the job's host set.
    pub index: u32,
    /// The player; `None` for a one-of job that has not chosen.
    pub host: Option<HostName>,
    /// Where it is.
    pub state: TaskState,
    /// Why it waits.
    pub reason: Option<WaitReason>,
    /// Why it was refused or lost, for people.
    pub detail: Option<Arc<str>>,
    /// The newest attempt; 0 where none was sent.
    pub attempt: u32,
    /// Exit code of the newest attempt.
    pub exit: Option<i32>,
    /// Signal that the newest attempt died of.
    pub signal: Option<i32>,
    /// When the newest attempt started.
    pub started_at: Option<Timestamp>,
    /// When the task became final.
    pub ended_at: Option<Timestamp>,
    /// The end of the newest attempt that has one, where it was asked for.
    pub end: Option<EndBytes>,
    /// The last line of that attempt's standard error which is not blank, where it was asked for and
    /// is known. What a score wrote: to be shown with care.
    pub last_line: Option<Arc<str>>,
    /// That its player is not attached, while it is in flight or waits for the player.
    pub absence: Option<Absence>,
    /// Who serves the newest attempt; `None` where none was sent, or the job has no tree.
    pub parent: Option<Parent>,
}

/// A change that somebody who waits wants to hear of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A flow's state changed.
    Flow {
        flow: FlowId,
        /// To what.
        state: FlowState,
    },
    /// A job's state changed.
    Job {
        job: JobId,
        /// To what.
        state: JobState,
        /// Its tasks by state.
        counts: Counts,
        /// The flow's last change, up to this event.
        change: u64,
    },
    /// A task's state changed, or it goes into another attempt, or its player went away or came
    /// back while it is in flight.
    Task {
        job: JobId,
        /// Its place in the job's host set.
        index: u32,
        /// The player; `None` for a one-of job that ended without a choice.
        host: Option<HostName>,
        /// To what.
        state: TaskState,
        /// The newest attempt.
        attempt: u32,
        /// Exit code, where it exited.
        exit: Option<i32>,
        /// Signal, where it died of one.
        signal: Option<i32>,
        /// Why it was refused or lost.
        detail: Option<Arc<str>>,
        /// How the attempt ended, while the task waits for a further one.
        before: Option<TaskState>,
        /// That its player is not attached, while it is in flight.
        absence: Option<Absence>,
        /// The flow's last change, up to this event.
        change: u64,
    },
}

impl Event {
    /// The flow that it is about.
    pub fn flow(&self) -> FlowId {
        match self {
            Event::Flow { flow, .. } => *flow,
            Event::Job { job, .. } | Event::Task { job, .. } => job.flow,
        }
    }

    /// The last of its flow's changes that who has heard it knows of; `None` where it says nothing
    /// of that.
    pub fn change(&self) -> Option<u64> {
        match self {
            Event::Flow { .. } => None,
            Event::Job { change, .. } | Event::Task { change, .. } => Some(*change),
        }
    }
}

/// A player, for `orc players` and `orc scores`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlayerStatus {
    /// Who.
    pub host: HostName,
    /// Labels of the players file.
    pub labels: BTreeMap<String, String>,
    /// Whether it has a session.
    pub attached: bool,
    /// Since when it has or has not; `None` for never seen.
    pub since: Option<Timestamp>,
    /// How many attempts it takes at once.
    pub max_tasks: u32,
    /// How many orders are out to it.
    pub in_flight: u32,
    /// The jobs of these orders, the oldest first; a few of them.
    pub jobs: Vec<JobId>,
    /// When the first of the orders is lost, where the player is not attached.
    pub lost: Option<Due>,
    /// The version of its program.
    pub version: String,
    /// The spool that answered last.
    pub spool: Option<SpoolId>,
    /// When the certificate ends with which it is attached; `None`: it is not, or nobody says.
    pub certificate_ends: Option<Timestamp>,
    /// Who drained it, why and when.
    pub drained: Option<Drain>,
    /// Why it is quarantined, if so: it has a session, gets nothing, and counts as absent.
    pub quarantined: Option<String>,
    /// What it can run; empty where nobody asked for scores, or it was never seen.
    pub scores: Vec<ScoreOffer>,
}

/// The conductor, for `orc conductor status`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConductorStatus {
    pub name: String,
    /// The version of its program.
    pub version: String,
    /// The process.
    pub pid: u32,
    /// Its clock when it was asked; `None`: it does not say.
    pub now: Option<Timestamp>,
    /// When it started.
    pub started_at: Timestamp,
    /// Its store, as hex.
    pub store_id: String,
    /// The store's term.
    pub term: u64,
    /// Players of the players file.
    pub players: u32,
    /// Those that are attached.
    pub attached: u32,
    /// Those of them that are quarantined.
    pub quarantined: u32,
    /// Flows that have not ended.
    pub flows_alive: u32,
    /// Deployments in force.
    pub deployments: u32,
    /// Their cells.
    pub cells: u32,
    /// When the configuration was last loaded.
    pub loaded_at: Timestamp,
    /// Why the last reload changed nothing.
    pub reload_error: Option<String>,
    /// Why the revocation list may let somebody in who was revoked.
    pub revocation_error: Option<String>,
    /// Why lines of the audit cannot be exported.
    pub audit_export_error: Option<String>,
    /// When its own certificate ends; `None`: it does not say.
    pub certificate_ends: Option<Timestamp>,
    /// How many names are connected with certificates that end within
    /// [`limits::CERTIFICATE_NOTICE`](crate::limits::CERTIFICATE_NOTICE).
    pub certificates_ending: u32,
    /// Why nothing is sent: players know of orders that this store never issued.
    pub stale_store: Option<String>,
    /// Why submissions are refused, where the store cannot be written.
    pub store_error: Option<String>,
    /// Since when.
    pub store_held_since: Option<Timestamp>,
}
