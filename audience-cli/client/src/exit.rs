//! The one table of exit codes. `docs/operating.md` has it for people, and a test compares the two.

use orchestra_model::{
    state::{FlowState, JobState, TaskState},
    status::{FlowStatus, JobStatus},
};

/// The exit code of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// The verdict is ok; without `--wait`: accepted; for a verb: it took effect and is durable.
    Ok = 0,
    /// The tool or the conductor failed otherwise; nothing is known of the flow.
    Broken = 1,
    /// Failed or partial.
    NotOk = 2,
    /// The host set is empty or names unknown hosts.
    Hosts = 3,
    /// Not ok, and only because tasks were unreachable: without those the threshold was still in
    /// reach.
    Unreachable = 4,
    /// Cancelled.
    Cancelled = 5,
    /// Denied: by role, or by policy.
    Denied = 6,
    /// Not over yet; also if the waiting was interrupted.
    NotOver = 7,
    /// There is no such flow, job, task, deployment or service.
    NoSuchFlow = 8,
    /// The flow has already ended in another way than was asked.
    Ended = 9,
    /// The plan has changed (`--if-plan`).
    PlanChanged = 10,
    /// The conductor is away: it cannot be reached, or does not answer.
    Away = 11,
    /// Held, not yet taken: the store has no space. Ask again with the request id.
    Held = 12,
    /// Usage, syntax of a host set, or a file that does not parse.
    Usage = 64,
    /// `--wait-timeout` ran out; the flow goes on.
    WaitTimeout = 124,
}

impl Exit {
    /// Returns the number for the shell.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// Returns the word for it, by which programs tell failures apart that read no exit codes.
    pub fn kind(self) -> &'static str {
        match self {
            Exit::Ok => "ok",
            Exit::Broken => "broken",
            Exit::NotOk => "not-ok",
            Exit::Hosts => "hosts",
            Exit::Unreachable => "unreachable",
            Exit::Cancelled => "cancelled",
            Exit::Denied => "denied",
            Exit::NotOver => "not-over",
            Exit::NoSuchFlow => "unknown",
            Exit::Ended => "ended",
            Exit::PlanChanged => "plan-changed",
            Exit::Away => "away",
            Exit::Held => "held",
            Exit::Usage => "usage",
            Exit::WaitTimeout => "wait-timeout",
        }
    }

    /// Returns the code of a whole flow.
    pub fn of_flow(flow: &FlowStatus) -> Exit {
        match flow.summary.state {
            FlowState::Ok => Exit::Ok,
            FlowState::Cancelled => Exit::Cancelled,
            FlowState::Failed => Exit::of_failed(flow.slots.iter().flatten()),
            FlowState::Pending
            | FlowState::Running
            | FlowState::Doomed
            | FlowState::Paused
            | FlowState::Stalled
            | FlowState::Cancelling => Exit::NotOver,
        }
    }

    /// Returns the code of some jobs of a flow.
    pub fn of_jobs<'a>(jobs: impl Iterator<Item = &'a JobStatus> + Clone) -> Exit {
        let any = |wanted: fn(JobState) -> bool| jobs.clone().any(|job| wanted(job.state));
        if any(|state| !state.is_final()) {
            Exit::NotOver
        } else if any(|state| state == JobState::Cancelled) {
            Exit::Cancelled
        } else if any(|state| state != JobState::Ok) {
            Exit::of_failed(jobs)
        } else {
            Exit::Ok
        }
    }

    /// Returns the code of jobs of which at least one has failed. Jobs whose slot never began do
    /// not count.
    fn of_failed<'a>(jobs: impl Iterator<Item = &'a JobStatus>) -> Exit {
        let mut judged =
            jobs.filter(|job| !matches!(job.state, JobState::Ok | JobState::Skipped)).peekable();
        if judged.peek().is_some() && judged.all(JobStatus::only_unreachable) {
            Exit::Unreachable
        } else {
            Exit::NotOk
        }
    }

    /// Returns the code of one task.
    pub fn of_task(state: TaskState) -> Exit {
        match state {
            TaskState::Ok => Exit::Ok,
            TaskState::Waiting | TaskState::Sent | TaskState::Running => Exit::NotOver,
            TaskState::Unreachable => Exit::Unreachable,
            TaskState::Cancelled => Exit::Cancelled,
            TaskState::Failed
            | TaskState::TimedOut
            | TaskState::Refused
            | TaskState::Skipped
            | TaskState::Lost => Exit::NotOk,
        }
    }

    /// Every code, the worst first: it decides the code of several flows or tasks. First come codes
    /// of what could not be found out, then of what was not taken, then verdicts.
    pub const WORST_FIRST: [Exit; 15] = [
        Exit::Broken,
        Exit::Usage,
        Exit::Away,
        Exit::Held,
        Exit::NoSuchFlow,
        Exit::Denied,
        Exit::Hosts,
        Exit::PlanChanged,
        Exit::Ended,
        Exit::NotOk,
        Exit::Unreachable,
        Exit::Cancelled,
        Exit::WaitTimeout,
        Exit::NotOver,
        Exit::Ok,
    ];

    /// Returns the code of two flows or tasks together: the one that is first in
    /// [`Exit::WORST_FIRST`].
    #[must_use]
    pub fn worse(self, other: Exit) -> Exit {
        let first = Self::WORST_FIRST.into_iter().find(|exit| [self, other].contains(exit));
        first.unwrap_or(self)
    }
}

#[cfg(test)]
mod tests {
    use orchestra_model::{
        flow::Scope,
        ids::{FlowId, JobId},
        names::{AudienceName, JobName, ScoreName},
        status::{Counts, FlowSummary},
        time::Timestamp,
    };

    use super::*;

    fn job(state: JobState, needed: u32, counts: &[(TaskState, u32)]) -> JobStatus {
        let mut all = Counts::default();
        counts.iter().for_each(|(state, n)| all.set(*state, *n));
        JobStatus {
            id: JobId { flow: FlowId(1), slot: 1, job: 1 },
            name: JobName::new("x").unwrap(),
            score: ScoreName::new("x").unwrap(),
            scope: Scope::All,
            state,
            targets: "a".to_owned(),
            counts: all,
            waiting: Default::default(),
            window: 1,
            needed,
            canary: None,
            started_at: None,
            ended_at: None,
            absence: None,
        }
    }

    fn flow(state: FlowState, jobs: Vec<JobStatus>) -> FlowStatus {
        FlowStatus {
            summary: FlowSummary {
                id: FlowId(1),
                name: None,
                state,
                audience: AudienceName::new("alice").unwrap().into(),
                by_keeper: false,
                submitted_at: Timestamp(1),
                ended_at: None,
                absent: 0,
                counts: None,
            },
            cancelled_by: None,
            cancel_reason: None,
            paused_by: None,
            retry_of: None,
            start: None,
            stalled: Vec::new(),
            stale_store: false,
            slots: jobs.into_iter().map(|job| vec![job]).collect(),
        }
    }

    #[test]
    fn only_unreachable_tasks_are_told_apart() {
        use TaskState::{Failed, Ok, Unreachable};
        let absent = || job(JobState::Partial, 10, &[(Ok, 9), (Unreachable, 1)]);
        let failed = || job(JobState::Failed, 10, &[(Ok, 8), (Unreachable, 1), (Failed, 1)]);
        let skipped = || job(JobState::Skipped, 10, &[(TaskState::Skipped, 10)]);
        let of = |jobs| Exit::of_flow(&flow(FlowState::Failed, jobs));
        assert_eq!(of(vec![absent()]), Exit::Unreachable);
        assert_eq!(of(vec![absent(), skipped()]), Exit::Unreachable);
        assert_eq!(of(vec![absent(), failed()]), Exit::NotOk);
        assert_eq!(of(vec![]), Exit::NotOk);
    }

    #[test]
    fn every_state_of_a_flow_has_its_code() {
        for (state, exit) in [
            (FlowState::Pending, Exit::NotOver),
            (FlowState::Running, Exit::NotOver),
            (FlowState::Doomed, Exit::NotOver),
            (FlowState::Paused, Exit::NotOver),
            (FlowState::Stalled, Exit::NotOver),
            (FlowState::Cancelling, Exit::NotOver),
            (FlowState::Ok, Exit::Ok),
            (FlowState::Failed, Exit::NotOk),
            (FlowState::Cancelled, Exit::Cancelled),
        ] {
            assert_eq!(Exit::of_flow(&flow(state, Vec::new())), exit, "{state}");
        }
    }

    #[test]
    fn the_worst_of_several_counts() {
        assert_eq!(Exit::Ok.worse(Exit::NotOver), Exit::NotOver);
        assert_eq!(Exit::NotOk.worse(Exit::NotOver), Exit::NotOk);
        assert_eq!(Exit::Cancelled.worse(Exit::Unreachable), Exit::Unreachable);
        let codes: Vec<u8> = Exit::WORST_FIRST.into_iter().map(Exit::code).collect();
        assert_eq!(codes, [1, 64, 11, 12, 8, 6, 3, 10, 9, 2, 4, 5, 124, 7, 0]);
    }

    /// The codes of the manual's table and their kinds, in its order.
    #[test]
    fn the_manual_has_every_code() {
        let manual = include_str!("../../../docs/operating.md");
        let (_, rest) =
            manual.split_once("| exit code | kind | meaning |\n|---|---|---|\n").unwrap();
        let rows = rest.lines().take_while(|line| line.starts_with("| "));
        let cell = |row: &str, n| row.split('|').nth(n).unwrap().trim().to_owned();
        let told: Vec<(u8, String)> =
            rows.map(|row| (cell(row, 1).parse().unwrap(), cell(row, 2))).collect();
        let mut codes = Exit::WORST_FIRST.map(|exit| (exit.code(), format!("`{}`", exit.kind())));
        codes.sort_unstable();
        assert_eq!(told, codes);
    }
}
