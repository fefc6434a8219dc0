//! Statuses for the tests of views.

use orchestra_model::{
    Asker,
    delivery::{AttemptEnd, Outcome, Output},
    flow::Scope,
    ids::{FlowId, JobId},
    names::{FlowName, HostName, JobName, ScoreName},
    state::{FlowState, JobState, TaskState, WaitReason},
    status::{Counts, FlowStatus, FlowSummary, JobStatus, TaskStatus},
    time::Timestamp,
};
use orchestra_proto::encode_end;

/// 2025-11-21T08:00:00Z.
pub(crate) const SUBMITTED: Timestamp = Timestamp(1_763_712_000_000);

/// Compares a text with the file of that name among the snapshots, which are read as a screen is.
/// `ORCHESTRA_SNAPSHOTS=write` writes it anew, to be looked at before it is committed.
#[track_caller]
pub(crate) fn compare(name: &str, text: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots").join(name);
    if std::env::var_os("ORCHESTRA_SNAPSHOTS").is_some_and(|it| it == "write") {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
    }
    let wanted = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert_eq!(text, wanted, "{}; ORCHESTRA_SNAPSHOTS=write writes it anew", path.display());
}

fn job(place: (u16, u16), name: &str, score: &str, targets: &str) -> JobStatus {
    JobStatus {
        id: JobId { flow: FlowId(42), slot: place.0, job: place.1 },
        name: JobName::new(name).unwrap(),
        score: ScoreName::new(score).unwrap(),
        scope: Scope::All,
        state: JobState::Pending,
        targets: targets.to_owned(),
        counts: Counts::default(),
        waiting: Default::default(),
        window: 50,
        needed: 10,
        canary: None,
        started_at: None,
        ended_at: None,
        absence: None,
    }
}

fn counts(each: &[(TaskState, u32)]) -> Counts {
    let mut counts = Counts::default();
    each.iter().for_each(|(state, n)| counts.set(*state, *n));
    counts
}

/// A flow whose first slot is over and whose second runs.
pub(crate) fn running() -> FlowStatus {
    let pkg1 = JobStatus {
        state: JobState::Partial,
        counts: counts(&[(TaskState::Ok, 8), (TaskState::Failed, 2)]),
        ..job((1, 1), "pkg1", "install-package", "db[1-10]")
    };
    let pkg2 = JobStatus {
        state: JobState::Ok,
        scope: Scope::One,
        counts: counts(&[(TaskState::Ok, 1)]),
        ..job((1, 2), "install-package", "install-package", "api[1-6]")
    };
    let web = JobStatus {
        state: JobState::Running,
        counts: counts(&[(TaskState::Waiting, 40), (TaskState::Running, 50), (TaskState::Ok, 10)]),
        waiting: [(WaitReason::Window, 39), (WaitReason::PlayerAbsent, 1)].into(),
        ..job((2, 1), "web", "restart-apache", "fe[1-100]")
    };
    FlowStatus {
        summary: FlowSummary {
            id: FlowId(42),
            name: Some(FlowName::new("deploy-42").unwrap()),
            state: FlowState::Running,
            audience: Asker::from_word("alice").unwrap(),
            by_keeper: false,
            submitted_at: SUBMITTED,
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
        slots: vec![vec![pkg1, pkg2], vec![web]],
    }
}

/// A task whose second attempt failed, with its output.
pub(crate) fn failed_task() -> TaskStatus {
    let output = |head: &[u8], tail: &[u8], bytes, truncated| Output {
        head: head.to_vec(),
        tail: tail.to_vec(),
        bytes,
        truncated,
    };
    let (started, ended) = (Timestamp(SUBMITTED.0 + 1_000), Timestamp(SUBMITTED.0 + 3_500));
    TaskStatus {
        job: JobId { flow: FlowId(42), slot: 1, job: 1 },
        index: 2,
        host: Some(HostName::new("db3").unwrap()),
        state: TaskState::Failed,
        reason: None,
        detail: None,
        attempt: 2,
        exit: Some(3),
        signal: None,
        started_at: Some(started),
        ended_at: Some(ended),
        end: encode_end(&AttemptEnd {
            outcome: Outcome::Exited(3),
            started_at: Some(started),
            ended_at: ended,
            response: [("k".to_owned(), "v".to_owned())].into(),
            stdout: output(b"out\n", b"", 4, false),
            stderr: output(b"a\xff", b"z", 100, true),
        })
        .ok(),
        last_line: None,
        absence: None,
        parent: None,
    }
}
