//! JSON answers: one document `{"schema": 1, …}` each.
//!
//! States are in kebab-case, times RFC 3339 in UTC, durations whole numbers named `…_ms`. Fields
//! are added over time; what is there keeps its meaning while `schema` is 1. Everything is there
//! always: what is unknown is `null`.

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use orchestra_model::{
    delivery::{AttemptEnd, Output},
    flow::Scope,
    names::{AudienceName, FlowName, HostName},
    state::{FlowState, JobState, TaskState, Verdict, WaitReason},
    status::{CanaryStatus, Counts, FlowStatus, FlowSummary, JobStatus, TaskStatus},
    time::Timestamp,
};
use serde::{Serialize, ser::SerializeMap as _};

use super::{absence, flow::slot_state, style::when, task};

/// The version of every document.
pub const SCHEMA: u32 = 1;

/// A document under its noun: `{"schema":1,"flow":…}`.
pub fn document(out: &mut dyn Write, noun: &str, value: &impl Serialize) -> io::Result<()> {
    write!(out, "{{\"schema\":{SCHEMA},\"{noun}\":")?;
    serde_json::to_writer(&mut *out, value)?;
    out.write_all(b"}\n")
}

/// A document whose one member is a list that is written as it comes.
pub struct List<'a> {
    out: &'a mut dyn Write,
    empty: bool,
}

impl<'a> List<'a> {
    /// Begins `{"schema":1,"NOUN":[`.
    pub fn begin(out: &'a mut dyn Write, noun: &str) -> io::Result<Self> {
        write!(out, "{{\"schema\":{SCHEMA},\"{noun}\":[")?;
        Ok(Self { out, empty: true })
    }

    /// Adds a member.
    pub fn add(&mut self, member: &impl Serialize) -> io::Result<()> {
        self.separate()?;
        Ok(serde_json::to_writer(&mut *self.out, member)?)
    }

    fn separate(&mut self) -> io::Result<()> {
        if !std::mem::replace(&mut self.empty, false) {
            self.out.write_all(b",")?;
        }
        Ok(())
    }

    /// Ends the document.
    pub fn end(self) -> io::Result<()> {
        self.out.write_all(b"]}\n")
    }
}

/// Writes an object up to its closing brace, so that a member can follow that is written as it
/// comes.
pub fn open_object(out: &mut dyn Write, object: &impl Serialize) -> io::Result<()> {
    let text = serde_json::to_vec(object)?;
    out.write_all(text.strip_suffix(b"}").unwrap_or(&text))
}

/// A flow in a list.
#[derive(Serialize)]
pub struct Flow<'a> {
    id: u64,
    name: Option<&'a str>,
    state: FlowState,
    verdict: Option<Verdict>,
    submitted_at: String,
    ended_at: Option<String>,
    duration_ms: Option<u64>,
    audience: &'a str,
    absent: u32,
}

impl<'a> From<&'a FlowSummary> for Flow<'a> {
    fn from(flow: &'a FlowSummary) -> Self {
        Self {
            id: flow.id.0,
            name: flow.name.as_ref().map(FlowName::as_str),
            state: flow.state,
            verdict: flow.state.verdict(),
            submitted_at: when(flow.submitted_at),
            ended_at: flow.ended_at.map(when),
            duration_ms: flow.ended_at.map(|at| at.since(flow.submitted_at).0),
            audience: flow.audience.as_str(),
            absent: flow.absent,
        }
    }
}

/// A flow without its slots.
#[derive(Serialize)]
pub struct FlowHead<'a> {
    #[serde(flatten)]
    summary: Flow<'a>,
    cancelled_by: Option<&'a str>,
    paused_by: Option<&'a str>,
    retry_of: Option<u64>,
    stalled: &'a [String],
    stale_store: bool,
}

impl<'a> From<&'a FlowStatus> for FlowHead<'a> {
    fn from(flow: &'a FlowStatus) -> Self {
        Self {
            summary: (&flow.summary).into(),
            cancelled_by: flow.cancelled_by.as_ref().map(AudienceName::as_str),
            paused_by: flow.paused_by.as_ref().map(AudienceName::as_str),
            retry_of: flow.retry_of.map(|of| of.0),
            stalled: &flow.stalled,
            stale_store: flow.stale_store,
        }
    }
}

/// A flow with its slots and jobs.
#[derive(Serialize)]
pub struct WholeFlow<'a> {
    #[serde(flatten)]
    head: FlowHead<'a>,
    slots: Vec<Slot<'a>>,
}

impl<'a> WholeFlow<'a> {
    /// With all of its jobs.
    pub fn new(flow: &'a FlowStatus) -> Self {
        let slot = |(index, jobs): (usize, &'a Vec<JobStatus>)| Slot {
            head: SlotHead::new(flow, index, jobs),
            jobs: jobs.iter().map(Job::from).collect(),
        };
        Self { head: flow.into(), slots: flow.slots.iter().enumerate().map(slot).collect() }
    }
}

/// A slot without its jobs.
#[derive(Serialize)]
pub struct SlotHead {
    id: String,
    state: JobState,
}

impl SlotHead {
    /// The slot at an index from 0.
    pub fn new(flow: &FlowStatus, index: usize, jobs: &[JobStatus]) -> Self {
        Self { id: format!("{}.{}", flow.summary.id, index + 1), state: slot_state(jobs) }
    }
}

#[derive(Serialize)]
struct Slot<'a> {
    #[serde(flatten)]
    head: SlotHead,
    jobs: Vec<Job<'a>>,
}

/// A job without its tasks.
#[derive(Serialize)]
pub struct Job<'a> {
    id: String,
    name: &'a str,
    score: &'a str,
    scope: &'static str,
    state: JobState,
    verdict: Option<Verdict>,
    targets: &'a str,
    counts: States,
    waiting: &'a BTreeMap<WaitReason, u32>,
    window: u32,
    needed: u32,
    canary: Option<Canary>,
    absent: Option<absence::OfJob<'a>>,
    started_at: Option<String>,
    ended_at: Option<String>,
    duration_ms: Option<u64>,
}

impl<'a> From<&'a JobStatus> for Job<'a> {
    fn from(job: &'a JobStatus) -> Self {
        Self {
            id: job.id.to_string(),
            name: job.name.as_str(),
            score: job.score.as_str(),
            scope: match job.scope {
                Scope::All => "all",
                Scope::One => "one",
            },
            state: job.state,
            verdict: verdict(job.state),
            targets: &job.targets,
            counts: States(job.counts),
            waiting: &job.waiting,
            window: job.window,
            needed: job.needed,
            canary: job.canary.map(Canary::from),
            absent: job.absence.as_ref().map(absence::OfJob::from),
            started_at: job.started_at.map(when),
            ended_at: job.ended_at.map(when),
            duration_ms: duration(job.started_at, job.ended_at),
        }
    }
}

/// A canary that still holds other tasks back.
#[derive(Serialize)]
struct Canary {
    tasks: u32,
    ok: u32,
    until: Option<String>,
}

impl From<CanaryStatus> for Canary {
    fn from(canary: CanaryStatus) -> Self {
        let CanaryStatus { tasks, ok, until } = canary;
        Self { tasks, ok, until: until.map(when) }
    }
}

fn verdict(state: JobState) -> Option<Verdict> {
    match state {
        JobState::Ok => Some(Verdict::Ok),
        JobState::Partial => Some(Verdict::Partial),
        JobState::Failed => Some(Verdict::Failed),
        JobState::Cancelled => Some(Verdict::Cancelled),
        JobState::Pending | JobState::Running | JobState::Doomed | JobState::Skipped => None,
    }
}

pub(super) fn duration(from: Option<Timestamp>, to: Option<Timestamp>) -> Option<u64> {
    Some(to?.since(from?).0)
}

/// Every state with its count, zeros too.
pub struct States(pub Counts);

impl Serialize for States {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(TaskState::ALL.len()))?;
        for (state, n) in self.0.iter() {
            map.serialize_entry(state.as_str(), &n)?;
        }
        map.end()
    }
}

/// A task.
#[derive(Serialize)]
pub struct Task<'a> {
    id: String,
    host: Option<&'a str>,
    state: TaskState,
    reason: Option<&'static str>,
    detail: Option<&'a str>,
    attempt: u32,
    exit: Option<i32>,
    signal: Option<i32>,
    started_at: Option<String>,
    ended_at: Option<String>,
    duration_ms: Option<u64>,
    absent: Option<absence::OfTask>,
    #[serde(flatten)]
    said: Said<'a>,
}

impl<'a> From<&'a TaskStatus> for Task<'a> {
    fn from(status: &'a TaskStatus) -> Self {
        Self {
            id: task::id(status.job, status.host.as_ref()),
            host: status.host.as_ref().map(HostName::as_str),
            state: status.state,
            reason: status.reason.map(WaitReason::as_str),
            detail: status.detail.as_deref(),
            attempt: status.attempt,
            exit: status.exit,
            signal: status.signal,
            started_at: status.started_at.map(when),
            ended_at: status.ended_at.map(when),
            duration_ms: duration(status.started_at, status.ended_at),
            absent: status.absence.map(absence::OfTask::from),
            said: Said::of(status.end.as_deref()),
        }
    }
}

/// What an attempt said, where it is known.
#[derive(Serialize)]
pub struct Said<'a> {
    response: Option<&'a BTreeMap<String, String>>,
    stdout: Option<Stream>,
    stderr: Option<Stream>,
}

impl<'a> Said<'a> {
    pub(super) fn of(end: Option<&'a AttemptEnd>) -> Self {
        Self {
            response: end.map(|end| &end.response),
            stdout: end.map(|end| Stream::from(&end.stdout)),
            stderr: end.map(|end| Stream::from(&end.stderr)),
        }
    }
}

/// What was captured of a stream; bytes that are not UTF-8 become U+FFFD.
#[derive(Serialize)]
struct Stream {
    head: String,
    tail: String,
    bytes: u64,
    truncated: bool,
}

impl From<&Output> for Stream {
    fn from(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self {
            head: text(&output.head),
            tail: text(&output.tail),
            bytes: output.bytes,
            truncated: output.truncated,
        }
    }
}

#[cfg(test)]
pub(crate) mod samples;

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_flow_has_the_shape_of_the_contract() {
        let mut out = Vec::new();
        document(&mut out, "flow", &WholeFlow::new(&samples::running())).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(
            text.starts_with(
                r#"{"schema":1,"flow":{"id":42,"name":"deploy-42","state":"running","verdict":null,"#
            ),
            "{text}"
        );
        let value: Value = serde_json::from_str(&text).unwrap();
        let flow = &value["flow"];
        assert_eq!(flow["submitted_at"], "2025-11-21T08:00:00Z");
        assert_eq!(flow["audience"], "alice");
        assert_eq!((&flow["paused_by"], &flow["stalled"]), (&Value::Null, &json!([])));
        assert_eq!(flow["slots"][0]["id"], "42.1");
        assert_eq!(flow["slots"][0]["state"], "partial");
        let job = &flow["slots"][0]["jobs"][0];
        assert_eq!(job["id"], "42.1.1");
        assert_eq!(job["verdict"], "partial");
        assert_eq!(
            job["counts"],
            json!({"waiting": 0, "sent": 0, "running": 0, "ok": 8, "failed": 2, "timed-out": 0,
                   "unreachable": 0, "refused": 0, "cancelled": 0, "skipped": 0, "lost": 0})
        );
        assert_eq!(
            flow["slots"][1]["jobs"][0]["waiting"],
            json!({"window": 39, "player-absent": 1})
        );
    }

    #[test]
    fn a_task_has_the_shape_of_the_contract() {
        let value = serde_json::to_value(Task::from(&samples::failed_task())).unwrap();
        assert_eq!(
            value,
            json!({
                "id": "42.1.1@db3", "host": "db3", "state": "failed", "reason": null,
                "detail": null, "attempt": 2, "exit": 3, "signal": null,
                "started_at": "2025-11-21T08:00:01Z", "ended_at": "2025-11-21T08:00:03.5Z",
                "duration_ms": 2500, "absent": null, "response": {"k": "v"},
                "stdout": {"head": "out\n", "tail": "", "bytes": 4, "truncated": false},
                "stderr": {"head": "a\u{fffd}", "tail": "z", "bytes": 100, "truncated": true},
            })
        );
        let without = TaskStatus { end: None, host: None, ..samples::failed_task() };
        let value = serde_json::to_value(Task::from(&without)).unwrap();
        assert_eq!((&value["stdout"], &value["id"]), (&Value::Null, &json!("42.1.1")));
    }

    #[test]
    fn a_document_that_is_written_in_parts_is_whole() {
        let mut out = Vec::new();
        let mut list = List::begin(&mut out, "flows").unwrap();
        for n in 0..3 {
            list.add(&n).unwrap();
        }
        list.end().unwrap();
        assert_eq!(out, b"{\"schema\":1,\"flows\":[0,1,2]}\n");
        let mut out = Vec::new();
        open_object(&mut out, &json!({"a": 1})).unwrap();
        assert_eq!(out, b"{\"a\":1");
    }
}
