//! Flows, slots and jobs in JSON.

use std::collections::BTreeMap;

use orchestra_model::{
    Asker,
    flow::Scope,
    names::FlowName,
    start::{NeededEnd, StartStatus},
    state::{FlowState, JobState, TaskState, Verdict, WaitReason},
    status::{CanaryStatus, Counts, FlowStatus, FlowSummary, JobStatus},
};
use serde::{Serialize, ser::SerializeMap as _};

use super::slot_state;
use crate::view::{absence, json::duration, when};

/// A flow in a list.
#[derive(Serialize)]
pub(crate) struct Flow<'a> {
    id: u64,
    name: Option<&'a str>,
    state: FlowState,
    verdict: Option<Verdict>,
    submitted_at: String,
    ended_at: Option<String>,
    duration_ms: Option<u64>,
    /// Who submitted it, or in whose name that was done.
    audience: &'a str,
    /// Who submitted it: `orchestra:keeper` is the conductor by itself.
    actor: &'a str,
    absent: u32,
    counts: Option<States>,
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
            actor: flow.actor().as_str(),
            absent: flow.absent,
            counts: flow.counts.map(States),
        }
    }
}

/// A flow without its slots.
#[derive(Serialize)]
pub(crate) struct FlowHead<'a> {
    #[serde(flatten)]
    summary: Flow<'a>,
    cancelled_by: Option<&'a str>,
    cancel_reason: Option<&'a str>,
    paused_by: Option<&'a str>,
    retry_of: Option<u64>,
    start: Option<Box<Begins>>,
    stalled: Vec<String>,
    stale_store: bool,
}

impl<'a> From<&'a FlowStatus> for FlowHead<'a> {
    fn from(flow: &'a FlowStatus) -> Self {
        Self {
            summary: (&flow.summary).into(),
            cancelled_by: flow.cancelled_by.as_ref().map(Asker::as_str),
            cancel_reason: flow.cancel_reason.as_deref(),
            paused_by: flow.paused_by.as_ref().map(Asker::as_str),
            retry_of: flow.retry_of.map(|of| of.0),
            start: flow.start.as_ref().map(|awaited| Box::new(awaited.into())),
            stalled: flow.stalled.iter().map(ToString::to_string).collect(),
            stale_store: flow.stale_store,
        }
    }
}

/// What a flow waits for before it begins, or waited for.
#[derive(Serialize)]
struct Begins {
    at: Option<String>,
    after: Option<u64>,
    needs: Option<NeededEnd>,
    ended: Option<FlowState>,
}

impl From<&StartStatus> for Begins {
    fn from(awaited: &StartStatus) -> Self {
        let StartStatus { start, ended } = *awaited;
        Self {
            at: start.at.map(when),
            after: start.after.map(|after| after.flow.0),
            needs: start.after.map(|after| after.end),
            ended,
        }
    }
}

/// A flow with its slots and jobs.
#[derive(Serialize)]
pub(crate) struct WholeFlow<'a> {
    #[serde(flatten)]
    head: FlowHead<'a>,
    slots: Vec<Slot<'a>>,
}

impl<'a> WholeFlow<'a> {
    /// With all of its jobs.
    pub(crate) fn new(flow: &'a FlowStatus) -> Self {
        let slot = |(index, jobs): (usize, &'a Vec<JobStatus>)| Slot {
            head: SlotHead::new(flow, index, jobs),
            jobs: jobs.iter().map(Job::from).collect(),
        };
        Self { head: flow.into(), slots: flow.slots.iter().enumerate().map(slot).collect() }
    }
}

/// A slot without its jobs.
#[derive(Serialize)]
pub(crate) struct SlotHead {
    id: String,
    state: JobState,
}

impl SlotHead {
    /// The slot at an index from 0.
    pub(crate) fn new(flow: &FlowStatus, index: usize, jobs: &[JobStatus]) -> Self {
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
pub(crate) struct Job<'a> {
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

/// Every state with its count, zeros too.
pub(crate) struct States(pub Counts);

impl Serialize for States {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(TaskState::ALL.len()))?;
        for (state, n) in self.0.iter() {
            map.serialize_entry(state.as_str(), &n)?;
        }
        map.end()
    }
}

/// A flow that was accepted.
#[derive(Serialize)]
pub(super) struct Accepted {
    pub(super) id: u64,
}

/// A flow that goes on after a retry.
#[derive(Serialize)]
pub(super) struct Retried {
    pub(super) id: u64,
    pub(super) retry_of: Option<u64>,
    pub(super) tasks: u32,
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::view::{json::document, samples};

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
}
