//! Attempts: how each ended, and what it wrote.

use std::fmt::Write as _;

use orchestra_client::AttemptLog;
use orchestra_model::delivery::Outcome;
use serde::Serialize;

use super::{json::Said, signal_name};
use crate::view::{elapsed, json::duration, one_line, when, when_about};

/// `42.1.1@db3#1 exit 3, started 2026-11-21T08:00:00Z, took 2.5s`.
pub(crate) fn heading(log: &AttemptLog) -> String {
    let end = &log.end;
    let outcome = match &end.outcome {
        Outcome::Exited(code) => format!("exit {code}"),
        Outcome::Signalled(signal) => signal_name(*signal),
        Outcome::TimedOut => "timed-out".to_owned(),
        Outcome::Cancelled => "cancelled".to_owned(),
        Outcome::Lost(why) => format!("lost: {}", one_line(why)),
    };
    let mut text = format!("{}@{}#{} {outcome}", log.job, log.host, log.attempt);
    if let Some(started) = end.started_at {
        let took = elapsed(end.ended_at.since(started));
        let _ = write!(text, ", started {}, took {took}", when_about(started));
    }
    if log.late {
        text.push_str(", reported after the task was final");
    }
    text
}

/// An attempt, for `orc logs`.
#[derive(Serialize)]
pub(crate) struct Attempt<'a> {
    id: String,
    host: &'a str,
    attempt: u32,
    late: bool,
    outcome: &'static str,
    exit: Option<i32>,
    signal: Option<i32>,
    detail: Option<&'a str>,
    started_at: Option<String>,
    ended_at: String,
    duration_ms: Option<u64>,
    #[serde(flatten)]
    said: Said<'a>,
}

impl<'a> From<&'a AttemptLog> for Attempt<'a> {
    fn from(log: &'a AttemptLog) -> Self {
        let end = &log.end;
        let (outcome, exit, signal, detail) = match &end.outcome {
            Outcome::Exited(code) => ("exited", Some(*code), None, None),
            Outcome::Signalled(signal) => ("signalled", None, Some(*signal), None),
            Outcome::TimedOut => ("timed-out", None, None, None),
            Outcome::Cancelled => ("cancelled", None, None, None),
            Outcome::Lost(why) => ("lost", None, None, Some(why.as_str())),
        };
        Self {
            id: format!("{}@{}#{}", log.job, log.host, log.attempt),
            host: log.host.as_str(),
            attempt: log.attempt,
            late: log.late,
            outcome,
            exit,
            signal,
            detail,
            started_at: end.started_at.map(when),
            ended_at: when(end.ended_at),
            duration_ms: duration(end.started_at, Some(end.ended_at)),
            said: Said::of(Some(end)),
        }
    }
}
