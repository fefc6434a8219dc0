//! Tasks: a line each, and in `failures` those that did not end ok folded by reason.

pub(crate) mod attempt;
pub(crate) mod diff;
pub(crate) mod end;
mod failures;
pub(crate) mod json;
pub(crate) mod written;

use std::{
    fmt::{self, Write as _},
    io,
};

use orchestra_model::{
    failures::FailureGroup,
    ids::JobId,
    names::HostName,
    state::{TaskState, WaitReason},
    status::TaskStatus,
};

pub(crate) use failures::{Failures, Fold};

use super::{
    absence,
    style::{Style, elapsed, one_line},
};

pub(crate) use orchestra_model::state::NOT_OK;

/// A task's state, and its reason: exit code, signal, or a text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ending<'a> {
    pub state: TaskState,
    /// Exit code.
    pub exit: Option<i32>,
    pub signal: Option<i32>,
    /// Why it was refused or lost, or waits.
    pub detail: Option<&'a str>,
}

impl<'a> Ending<'a> {
    /// The ending of a task.
    pub(crate) fn of(task: &'a TaskStatus) -> Self {
        Self {
            state: task.state,
            exit: task.exit,
            signal: task.signal,
            detail: task.detail.as_deref().or(task.reason.map(WaitReason::as_str)),
        }
    }

    /// What the endings of a group of tasks have in common.
    pub(crate) fn of_group(group: &'a FailureGroup) -> Self {
        let FailureGroup { state, exit, signal, ref detail, .. } = *group;
        Self { state, exit, signal, detail: detail.as_deref() }
    }

    /// Returns `exit 3`, `signal 9 (KILL)`, or the text; empty if there is no reason.
    pub(crate) fn why(&self) -> String {
        match (self.state, self.exit, self.signal, self.detail) {
            (TaskState::Ok | TaskState::Failed, Some(code), _, _) => format!("exit {code}"),
            (TaskState::Failed, None, Some(signal), _) => signal_name(signal),
            (_, _, _, Some(detail)) => one_line(detail),
            _ => String::new(),
        }
    }
}

/// Prints `failed: exit 3`, without the colon if there is no reason.
impl fmt::Display for Ending<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.why() {
            why if why.is_empty() => self.state.fmt(f),
            why => write!(f, "{}: {why}", self.state),
        }
    }
}

/// `signal 9 (KILL)`.
pub(crate) fn signal_name(signal: i32) -> String {
    let name = match signal {
        1 => "HUP",
        2 => "INT",
        3 => "QUIT",
        4 => "ILL",
        5 => "TRAP",
        6 => "ABRT",
        7 => "BUS",
        8 => "FPE",
        9 => "KILL",
        10 => "USR1",
        11 => "SEGV",
        12 => "USR2",
        13 => "PIPE",
        14 => "ALRM",
        15 => "TERM",
        24 => "XCPU",
        25 => "XFSZ",
        31 => "SYS",
        _ => return format!("signal {signal}"),
    };
    format!("signal {signal} ({name})")
}

/// Returns `42.1.2@db3`, or the job's id if a one-of job has not chosen a host.
pub(crate) fn id(job: JobId, host: Option<&HostName>) -> String {
    match host {
        Some(host) => format!("{job}@{host}"),
        None => job.to_string(),
    }
}

/// Writes a task as a line: id, state, why, attempt and how long it took, separated by blanks.
pub(crate) fn line(out: &mut dyn io::Write, task: &TaskStatus, style: Style) -> io::Result<()> {
    let mut rest = Ending::of(task).why();
    if task.attempt > 1 {
        let _ = write!(rest, " #{}", task.attempt);
    }
    if let (Some(started), Some(ended)) = (task.started_at, task.ended_at) {
        let _ = write!(rest, " {}", elapsed(ended.since(started)));
    }
    if let Some(absence) = task.absence {
        let _ = write!(rest, " {}", absence::task(task.state, absence));
    }
    let id = id(task.job, task.host.as_ref());
    if rest.is_empty() {
        return writeln!(out, "{id:<24} {}", style.task(task.state));
    }
    writeln!(out, "{id:<24} {:<11} {}", style.task(task.state), rest.trim_start())
}

#[cfg(test)]
mod tests {
    use orchestra_model::{ids::FlowId, time::Timestamp};

    use super::*;

    fn task(host: &str, state: TaskState) -> TaskStatus {
        TaskStatus {
            job: JobId { flow: FlowId(42), slot: 1, job: 1 },
            index: 0,
            host: Some(HostName::new(host).unwrap()),
            state,
            reason: None,
            detail: None,
            attempt: 1,
            exit: None,
            signal: None,
            started_at: Some(Timestamp(1_000)),
            ended_at: Some(Timestamp(3_500)),
            end: None,
            last_line: None,
            absence: None,
            parent: None,
        }
    }

    fn lines(tasks: &[TaskStatus]) -> String {
        let mut out = Vec::new();
        tasks.iter().for_each(|task| line(&mut out, task, Style::default()).unwrap());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_line_says_why() {
        let ok = TaskStatus { exit: Some(0), ..task("db1", TaskState::Ok) };
        let failed = TaskStatus { exit: Some(3), attempt: 2, ..task("db2", TaskState::Failed) };
        let killed = TaskStatus { signal: Some(9), ..task("db3", TaskState::Failed) };
        let waiting = TaskStatus {
            reason: Some(WaitReason::PlayerAbsent),
            attempt: 0,
            started_at: None,
            ended_at: None,
            ..task("db4", TaskState::Waiting)
        };
        let running = TaskStatus { ended_at: None, ..task("db5", TaskState::Running) };
        let lost =
            TaskStatus { detail: Some("player\nremoved".into()), ..task("db6", TaskState::Lost) };
        assert_eq!(
            lines(&[ok, failed, killed, waiting, running, lost]),
            "42.1.1@db1               ok          exit 0 2.5s\n\
             42.1.1@db2               failed      exit 3 #2 2.5s\n\
             42.1.1@db3               failed      signal 9 (KILL) 2.5s\n\
             42.1.1@db4               waiting     player-absent\n\
             42.1.1@db5               running\n\
             42.1.1@db6               lost        player\\nremoved 2.5s\n"
        );
    }
}
