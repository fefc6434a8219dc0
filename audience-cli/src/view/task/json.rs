//! Tasks in JSON, with the output of their attempts.

use std::collections::BTreeMap;

use orchestra_model::{
    delivery::{AttemptEnd, Output},
    names::HostName,
    state::{TaskState, WaitReason},
    status::TaskStatus,
};
use serde::Serialize;

use super::{end::ReadEnd, id};
use crate::view::{absence, json::duration, when};

/// A task.
#[derive(Serialize)]
pub(crate) struct Task<'a> {
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
    /// Who serves it in a tree; empty for nobody.
    parent: Option<String>,
    #[serde(flatten)]
    said: Said,
}

impl<'a> From<&'a TaskStatus> for Task<'a> {
    fn from(status: &'a TaskStatus) -> Self {
        Self {
            id: id(status.job, status.host.as_ref()),
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
            parent: status.parent.as_ref().map(ToString::to_string),
            said: Said::of(status.end.as_ref().map(|end| ReadEnd::from(end).whole)),
        }
    }
}

/// The output and response of an attempt, if known.
#[derive(Serialize)]
pub(crate) struct Said {
    response: Option<BTreeMap<String, String>>,
    stdout: Option<Stream>,
    stderr: Option<Stream>,
    /// Why the end cannot be read.
    unreadable: Option<String>,
}

impl Said {
    pub(super) fn of(end: Option<Result<AttemptEnd, String>>) -> Self {
        let (end, unreadable) = match end {
            Some(Ok(end)) => (Some(end), None),
            Some(Err(why)) => (None, Some(why)),
            None => (None, None),
        };
        Self {
            stdout: end.as_ref().map(|end| Stream::from(&end.stdout)),
            stderr: end.as_ref().map(|end| Stream::from(&end.stderr)),
            response: end.map(|end| end.response),
            unreadable,
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
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::view::samples;

    #[test]
    fn a_task_has_the_shape_of_the_contract() {
        let value = serde_json::to_value(Task::from(&samples::failed_task())).unwrap();
        assert_eq!(
            value,
            json!({
                "id": "42.1.1@db3", "host": "db3", "state": "failed", "reason": null,
                "detail": null, "attempt": 2, "exit": 3, "signal": null,
                "started_at": "2025-11-21T08:00:01Z", "ended_at": "2025-11-21T08:00:03.5Z",
                "duration_ms": 2500, "absent": null, "parent": null, "response": {"k": "v"},
                "stdout": {"head": "out\n", "tail": "", "bytes": 4, "truncated": false},
                "stderr": {"head": "a\u{fffd}", "tail": "z", "bytes": 100, "truncated": true},
                "unreadable": null,
            })
        );
        let without = TaskStatus { end: None, host: None, ..samples::failed_task() };
        let value = serde_json::to_value(Task::from(&without)).unwrap();
        assert_eq!((&value["stdout"], &value["id"]), (&Value::Null, &json!("42.1.1")));
    }
}
