//! The one table of exit codes.

use orchestra_model::{
    state::{FlowState, JobState, TaskState},
    status::{FlowStatus, JobStatus},
};

/// What a program says to the script that called it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// The verdict is ok; without `--wait`: accepted; for a verb: it took effect and is durable.
    Ok = 0,
    /// The tool or the conductor failed; nothing is known of the flow.
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
    /// Not over yet; also where somebody who waited went away.
    NotOver = 7,
    /// Usage, syntax of a host set, or a file that does not parse.
    Usage = 64,
    /// `--wait-timeout` ran out; the flow goes on.
    WaitTimeout = 124,
}

impl Exit {
    /// The number for the shell.
    pub fn code(self) -> u8 {
        self as u8
    }

    /// Of a whole flow.
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

    /// Of some jobs of a flow.
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

    /// Of jobs of which one is known to have failed. Jobs whose slot never came say nothing.
    fn of_failed<'a>(jobs: impl Iterator<Item = &'a JobStatus>) -> Exit {
        let mut judged =
            jobs.filter(|job| !matches!(job.state, JobState::Ok | JobState::Skipped)).peekable();
        if judged.peek().is_some() && judged.all(JobStatus::only_unreachable) {
            Exit::Unreachable
        } else {
            Exit::NotOk
        }
    }

    /// Of one task.
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

    /// Of several flows or tasks together: failed before unreachable, cancelled, not over, ok.
    #[must_use]
    pub fn worse(self, other: Exit) -> Exit {
        let rank = |exit: Exit| match exit {
            Exit::Ok => 0,
            Exit::NotOver => 1,
            Exit::WaitTimeout => 2,
            Exit::Cancelled => 3,
            Exit::Unreachable => 4,
            Exit::NotOk => 5,
            Exit::Hosts | Exit::Denied | Exit::Usage => 6,
            Exit::Broken => 7,
        };
        if rank(other) > rank(self) { other } else { self }
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
                audience: AudienceName::new("alice").unwrap(),
                submitted_at: Timestamp(1),
                ended_at: None,
                absent: 0,
            },
            cancelled_by: None,
            paused_by: None,
            retry_of: None,
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
    }
}
