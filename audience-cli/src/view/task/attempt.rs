//! Attempts: how each ended, and what it wrote.

use std::fmt::Write as _;

use orchestra_client::AttemptLog;
use orchestra_model::delivery::{EndSummary, Outcome};
use serde::Serialize;

use super::{end::ReadEnd, json::Said, signal_name};
use crate::view::{elapsed, json::duration, one_line, when, when_about};

/// `42.1.1@db3#1 exit 3, started 2026-11-21T08:00:00Z, took 2.5s`.
pub(crate) fn heading(log: &AttemptLog, end: &Result<EndSummary, String>) -> String {
    let Ok(end) = end else {
        return format!("{}@{}#{} ended, nobody can read how", log.job, log.host, log.attempt);
    };
    let outcome = outcome(&end.outcome);
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

/// `exit 3`.
pub(crate) fn outcome(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Exited(code) => format!("exit {code}"),
        Outcome::Signalled(signal) => signal_name(*signal),
        Outcome::TimedOut => "timed-out".to_owned(),
        Outcome::Cancelled => "cancelled".to_owned(),
        Outcome::Lost(why) => format!("lost: {}", one_line(why)),
    }
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
    detail: Option<String>,
    started_at: Option<String>,
    ended_at: Option<String>,
    duration_ms: Option<u64>,
    #[serde(flatten)]
    said: Said,
}

impl<'a> From<&'a AttemptLog> for Attempt<'a> {
    fn from(log: &'a AttemptLog) -> Self {
        let ReadEnd { summary, whole } = ReadEnd::from(&log.end);
        let summary = summary.ok();
        let started_at = summary.as_ref().and_then(|summary| summary.started_at);
        let ended_at = summary.as_ref().map(|summary| summary.ended_at);
        let (outcome, exit, signal, detail) = match summary.map(|summary| summary.outcome) {
            Some(Outcome::Exited(code)) => ("exited", Some(code), None, None),
            Some(Outcome::Signalled(signal)) => ("signalled", None, Some(signal), None),
            Some(Outcome::TimedOut) => ("timed-out", None, None, None),
            Some(Outcome::Cancelled) => ("cancelled", None, None, None),
            Some(Outcome::Lost(why)) => ("lost", None, None, Some(why)),
            None => ("unreadable", None, None, None),
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
            started_at: started_at.map(when),
            ended_at: ended_at.map(when),
            duration_ms: duration(started_at, ended_at),
            said: Said::of(Some(whole)),
        }
    }
}
