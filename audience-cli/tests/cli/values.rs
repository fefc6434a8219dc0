//! Flows and tasks to tell of.

use orchestra_model::{
    Asker,
    delivery::{AttemptEnd, Outcome, Output},
    flow::Scope,
    ids::{FlowId, JobId},
    names::{FlowName, HostName, JobName, ScoreName},
    state::{FlowState, JobState, TaskState, WaitReason},
    status::{Counts, Event, FlowStatus, FlowSummary, JobStatus, TaskStatus},
    time::Timestamp,
};
use orchestra_proto::{encode_end, v1};

/// 2025-11-21T08:00:00Z.
const SUBMITTED: Timestamp = Timestamp(1_763_712_000_000);

pub(crate) const JOB: JobId = JobId { flow: FlowId(42), slot: 1, job: 1 };

/// Flow 42 with one job over db[1-N].
pub(crate) fn flow(state: FlowState, job: JobState, counts: &[(TaskState, u32)]) -> FlowStatus {
    let mut tasks = Counts::default();
    counts.iter().for_each(|(state, n)| tasks.set(*state, *n));
    let ended = state.is_final().then_some(Timestamp(SUBMITTED.0 + 192_000));
    FlowStatus {
        summary: FlowSummary {
            id: FlowId(42),
            name: Some(FlowName::new("deploy-42").unwrap()),
            state,
            audience: Asker::from_word("alice").unwrap(),
            by_keeper: false,
            submitted_at: SUBMITTED,
            ended_at: ended,
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
        slots: vec![vec![JobStatus {
            id: JOB,
            name: JobName::new("pkg1").unwrap(),
            score: ScoreName::new("install-package").unwrap(),
            scope: Scope::All,
            state: job,
            targets: format!("db[1-{}]", tasks.total()),
            counts: tasks,
            waiting: Default::default(),
            window: tasks.total(),
            needed: tasks.total(),
            canary: None,
            started_at: Some(SUBMITTED),
            ended_at: ended,
            absence: None,
        }]],
    }
}

/// The flow under another number.
pub(crate) fn numbered(mut flow: FlowStatus, id: u64) -> FlowStatus {
    flow.summary.id = FlowId(id);
    flow.slots.iter_mut().flatten().for_each(|job| job.id.flow = FlowId(id));
    flow
}

pub(crate) fn running() -> FlowStatus {
    flow(FlowState::Running, JobState::Running, &[(TaskState::Running, 3)])
}

/// A flow that only a person can help.
pub(crate) fn stalled() -> FlowStatus {
    let mut flow =
        flow(FlowState::Stalled, JobState::Running, &[(TaskState::Waiting, 2), (TaskState::Ok, 1)]);
    flow.stalled = vec!["web in cluster east of shop is full: db1 failed in 41.1.1".into()];
    flow.slots[0][0].waiting = [(WaitReason::Cell, 2)].into();
    flow
}

pub(crate) fn failed() -> FlowStatus {
    flow(
        FlowState::Failed,
        JobState::Partial,
        &[(TaskState::Ok, 7), (TaskState::Failed, 2), (TaskState::Unreachable, 1)],
    )
}

/// The tasks of [`failed`].
pub(crate) fn failed_tasks() -> Vec<TaskStatus> {
    (1..=10)
        .map(|n| match n {
            3 | 7 => task(n, TaskState::Failed, Some(Outcome::Exited(3)), "E: no such package\n"),
            9 => task(n, TaskState::Unreachable, None, ""),
            5 => task(n, TaskState::Ok, Some(Outcome::Exited(0)), "installed pkg1 1.1\n"),
            _ => task(n, TaskState::Ok, Some(Outcome::Exited(0)), "installed pkg1 1.2\n"),
        })
        .collect()
}

/// The task on db`n`.
pub(crate) fn task(n: u32, state: TaskState, outcome: Option<Outcome>, stdout: &str) -> TaskStatus {
    let (started, ended) = (Timestamp(SUBMITTED.0 + 1_000), Timestamp(SUBMITTED.0 + 3_500));
    let exit = match outcome {
        Some(Outcome::Exited(code)) => Some(code),
        _ => None,
    };
    let stdout = Output {
        head: stdout.into(),
        tail: Vec::new(),
        bytes: stdout.len() as u64,
        truncated: false,
    };
    TaskStatus {
        job: JOB,
        index: n - 1,
        host: Some(HostName::new(&format!("db{n}")).unwrap()),
        state,
        reason: None,
        detail: None,
        attempt: u32::from(outcome.is_some()),
        exit,
        signal: None,
        started_at: outcome.is_some().then_some(started),
        ended_at: outcome.is_some().then_some(ended),
        end: outcome.map(|outcome| {
            encode_end(&AttemptEnd {
                outcome,
                started_at: Some(started),
                ended_at: ended,
                response: [("version".to_owned(), format!("1.{n}"))].into(),
                stdout,
                stderr: Output::default(),
            })
            .unwrap()
        }),
        last_line: None,
        absence: None,
        parent: None,
    }
}

pub(crate) fn told_status(flow: &FlowStatus) -> v1::WatchEvent {
    let event = Some(v1::watch_event::Event::Status(flow.into()));
    v1::WatchEvent { event, cursor: None }
}

pub(crate) fn told_job(state: JobState, counts: &[(TaskState, u32)]) -> v1::WatchEvent {
    let mut tasks = Counts::default();
    counts.iter().for_each(|(state, n)| tasks.set(*state, *n));
    (&Event::Job { job: JOB, state, counts: tasks, change: 0 }).into()
}

pub(crate) fn told_task(n: u32, state: TaskState, exit: Option<i32>) -> v1::WatchEvent {
    let host = HostName::new(&format!("db{n}")).unwrap();
    let event = Event::Task {
        job: JOB,
        index: n - 1,
        host: Some(host),
        state,
        attempt: 1,
        exit,
        signal: None,
        detail: None,
        before: None,
        absence: None,
        change: 0,
    };
    (&event).into()
}

pub(crate) fn told_flow(state: FlowState) -> v1::WatchEvent {
    (&Event::Flow { flow: FlowId(42), state }).into()
}
