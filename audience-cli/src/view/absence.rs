//! Players that are not attached, and what becomes of their tasks.

use orchestra_model::{
    state::TaskState,
    status::{Absence, AbsentTasks, Due, JobAbsence, JobStatus},
};
use serde::Serialize;

use super::style::{Style, elapsed, one_line, when, when_about};

/// `at 2025-11-21T08:30:00Z (in 25m)`.
pub(crate) fn moment(due: Due) -> String {
    format!("at {} (in {})", when_about(due.at), elapsed(due.left))
}

/// What is told of a task: `its player is absent since …: lost at … (in 25m) unless it comes back`.
pub(crate) fn task(state: TaskState, absence: Absence) -> String {
    let since = match absence.since {
        Some(since) => format!("its player is absent since {}", when_about(since)),
        None => "its player was never seen".to_owned(),
    };
    match absence.given_up {
        Some(due) => format!("{since}: {} {} unless it comes back", becomes(state), moment(due)),
        None => format!("{since}, and is waited for as long as that takes"),
    }
}

/// Returns the state of a task whose player does not come back.
fn becomes(state: TaskState) -> TaskState {
    if state.is_in_flight() { TaskState::Lost } else { TaskState::Unreachable }
}

/// The lines below a job that tell of its absent players; none where all are there.
pub(crate) fn job(job: &JobStatus, style: Style) -> Vec<String> {
    let Some(JobAbsence { in_flight, waiting }) = &job.absence else { return Vec::new() };
    let mut lines = Vec::new();
    if in_flight.tasks > 0 {
        let text = tasks(in_flight, "in flight on absent", TaskState::Lost);
        let text = format!("{text}; to wait no longer: orc cancel {} --abandon", job.id.flow);
        lines.push(style.warning(&text).to_string());
    }
    if waiting.tasks > 0 {
        lines.push(tasks(waiting, "waiting for absent", TaskState::Unreachable));
    }
    lines
}

/// `3 in flight on absent fe[1-3], the first since …, the first lost at … (in 25m)`.
pub(crate) fn tasks(absent: &AbsentTasks, what: &str, becomes: TaskState) -> String {
    let first = if absent.tasks == 1 { "" } else { "the first " };
    let hosts = match absent.hosts.as_str() {
        "" => "players".to_owned(),
        hosts => one_line(hosts),
    };
    let mut text = format!("{} {what} {hosts}", absent.tasks);
    match absent.since {
        Some(since) => text.push_str(&format!(", {first}since {}", when_about(since))),
        None => text.push_str(", never seen"),
    }
    match absent.given_up {
        Some(due) => text.push_str(&format!(", {first}{becomes} {}", moment(due))),
        None => text.push_str(", for as long as that takes"),
    }
    text
}

/// The absence of a task's player, in JSON.
#[derive(Serialize)]
pub(crate) struct OfTask {
    since: Option<String>,
    given_up_at: Option<String>,
    given_up_in_ms: Option<u64>,
}

impl From<Absence> for OfTask {
    fn from(Absence { since, given_up }: Absence) -> Self {
        Self {
            since: since.map(when),
            given_up_at: given_up.map(|due| when(due.at)),
            given_up_in_ms: given_up.map(|due| due.left.0),
        }
    }
}

/// The absent players of a job, in JSON; `null` where there are none.
#[derive(Serialize)]
pub(crate) struct OfJob<'a> {
    in_flight: Option<Tasks<'a>>,
    waiting: Option<Tasks<'a>>,
}

#[derive(Serialize)]
struct Tasks<'a> {
    tasks: u32,
    hosts: &'a str,
    #[serde(flatten)]
    first: OfTask,
}

impl<'a> Tasks<'a> {
    fn of(absent: &'a AbsentTasks) -> Option<Self> {
        let AbsentTasks { tasks, ref hosts, since, given_up } = *absent;
        let first = Absence { since, given_up }.into();
        (tasks > 0).then_some(Self { tasks, hosts, first })
    }
}

impl<'a> From<&'a JobAbsence> for OfJob<'a> {
    fn from(absence: &'a JobAbsence) -> Self {
        Self { in_flight: Tasks::of(&absence.in_flight), waiting: Tasks::of(&absence.waiting) }
    }
}

#[cfg(test)]
mod tests {
    use orchestra_model::time::{Millis, Timestamp};

    use super::*;
    use crate::view::samples;

    const SINCE: Option<Timestamp> = Some(Timestamp(1_763_712_000_000));

    fn due() -> Option<Due> {
        Some(Due { at: Timestamp(1_763_713_800_000), left: Millis::minutes(25) })
    }

    #[test]
    fn a_task_says_since_when_and_what_comes_when() {
        let told = |state, since, given_up| task(state, Absence { since, given_up });
        assert_eq!(
            told(TaskState::Running, SINCE, due()),
            "its player is absent since 2025-11-21T08:00:00Z: lost at 2025-11-21T08:30:00Z \
             (in 25m) unless it comes back"
        );
        assert_eq!(
            told(TaskState::Waiting, None, due()),
            "its player was never seen: unreachable at 2025-11-21T08:30:00Z (in 25m) unless it \
             comes back"
        );
        assert_eq!(
            told(TaskState::Waiting, SINCE, None),
            "its player is absent since 2025-11-21T08:00:00Z, and is waited for as long as that \
             takes"
        );
    }

    #[test]
    fn a_job_says_which_hosts_and_how_to_wait_no_longer() {
        let absent = |tasks, hosts: &str, given_up| AbsentTasks {
            tasks,
            hosts: hosts.to_owned(),
            since: SINCE,
            given_up,
        };
        let mut status = samples::running().slots[1][0].clone();
        assert!(job(&status, Style::default()).is_empty());
        let absence =
            JobAbsence { in_flight: absent(2, "fe[1-2]", due()), waiting: absent(1, "fe9", None) };
        status.absence = Some(absence.clone());
        assert_eq!(
            job(&status, Style::default()),
            [
                "2 in flight on absent fe[1-2], the first since 2025-11-21T08:00:00Z, the first \
                 lost at 2025-11-21T08:30:00Z (in 25m); to wait no longer: orc cancel 42 --abandon",
                "1 waiting for absent fe9, since 2025-11-21T08:00:00Z, for as long as that takes",
            ]
        );
        assert_eq!(
            serde_json::to_value(OfJob::from(&absence)).unwrap(),
            serde_json::json!({
                "in_flight": {
                    "tasks": 2, "hosts": "fe[1-2]", "since": "2025-11-21T08:00:00Z",
                    "given_up_at": "2025-11-21T08:30:00Z", "given_up_in_ms": 1_500_000,
                },
                "waiting": {
                    "tasks": 1, "hosts": "fe9", "since": "2025-11-21T08:00:00Z",
                    "given_up_at": null, "given_up_in_ms": null,
                },
            })
        );
    }
}
