//! What a program reads that waits with `--jsonl`: a line of JSON per event.

use orchestra_model::{
    names::HostName,
    state::{FlowState, JobState, TaskState},
    status::Event,
};
use orchestra_proto::Watched;
use serde::Serialize;

use super::json::{States, WholeFlow};
use crate::view::{absence, json::SCHEMA, task::id};

/// What was heard as a line of `--jsonl`: `{"schema":1,"event":"job",…}`.
pub(crate) fn line(heard: &Watched) -> impl Serialize {
    let event = match heard {
        Watched::Status(status) => JsonEvent::Status { flow: Box::new(WholeFlow::new(status)) },
        Watched::Event(Event::Flow { flow, state }) => {
            JsonEvent::Flow { flow: flow.0, state: *state }
        }
        Watched::Restored => JsonEvent::Restored,
        Watched::Event(Event::Job { job, state, counts, .. }) => {
            JsonEvent::Job { id: job.to_string(), state: *state, counts: States(*counts) }
        }
        Watched::Event(Event::Task {
            job,
            host,
            state,
            attempt,
            exit,
            signal,
            detail,
            before,
            absence,
            ..
        }) => JsonEvent::Task {
            id: id(*job, host.as_ref()),
            host: host.as_ref().map(HostName::as_str),
            state: *state,
            attempt: *attempt,
            exit: *exit,
            signal: *signal,
            detail: detail.as_deref(),
            before: *before,
            absent: absence.map(absence::OfTask::from),
        },
    };
    Line { schema: SCHEMA, event }
}

#[derive(Serialize)]
struct Line<'a> {
    schema: u32,
    #[serde(flatten)]
    event: JsonEvent<'a>,
}

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
enum JsonEvent<'a> {
    Status {
        flow: Box<WholeFlow<'a>>,
    },
    Flow {
        flow: u64,
        state: FlowState,
    },
    Job {
        id: String,
        state: JobState,
        counts: States,
    },
    Task {
        id: String,
        host: Option<&'a str>,
        state: TaskState,
        attempt: u32,
        exit: Option<i32>,
        signal: Option<i32>,
        detail: Option<&'a str>,
        before: Option<TaskState>,
        absent: Option<absence::OfTask>,
    },
    Restored,
}
