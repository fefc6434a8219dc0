//! What did not end ok of a flow, folded by job, state and cause: a line each for people, however many
//! tasks it were.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    hostset::HostSet, ids::JobId, names::HostName, state::NOT_OK, state::TaskState,
    status::TaskStatus,
};

/// Longest folded text of the hosts of one group, in bytes. Hosts that take more come as several groups,
/// so that each fits a message.
const HOSTS_BYTES: usize = 1 << 20;
/// Most hosts of a group that has to be one of several: the longest names of so many fit.
const HOSTS_OF_PART: usize = 4_000;

/// Tasks of a job that ended in one state, not ok, and for one cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailureGroup {
    pub job: JobId,
    /// One of [`NOT_OK`].
    pub state: TaskState,
    pub exit: Option<i32>,
    pub signal: Option<i32>,
    /// Why they were refused, lost or given up.
    pub detail: Option<Arc<str>>,
    /// Folded. Empty for a one-of job that has chosen no host.
    pub hosts: Arc<str>,
    /// How many tasks there are.
    pub tasks: u32,
}

/// What the tasks of a group have in common.
type Cause = (JobId, TaskState, Option<i32>, Option<i32>, Option<Arc<str>>);

/// Folds tasks.
#[derive(Debug, Default)]
pub struct FailureFold(BTreeMap<Cause, Tasks>);

#[derive(Debug, Default)]
struct Tasks {
    hosts: Vec<HostName>,
    unplaced: u32,
}

impl FailureFold {
    /// Notes a task in any state.
    pub fn add(&mut self, task: &TaskStatus) {
        if !NOT_OK.contains(&task.state) {
            return;
        }
        let cause = (task.job, task.state, task.exit, task.signal, task.detail.clone());
        let tasks = self.0.entry(cause).or_default();
        match &task.host {
            Some(host) => tasks.hosts.push(host.clone()),
            None => tasks.unplaced += 1,
        }
    }

    /// Returns the groups: job after job, in the order of states and causes.
    pub fn finish(self) -> Vec<FailureGroup> {
        let mut groups = Vec::new();
        for ((job, state, exit, signal, detail), Tasks { hosts, unplaced }) in self.0 {
            let mut push = |hosts: Arc<str>, tasks: u32| {
                let detail = detail.clone();
                groups.push(FailureGroup { job, state, exit, signal, detail, hosts, tasks });
            };
            if unplaced > 0 {
                push("".into(), unplaced);
            }
            let hosts = HostSet::from_names(hosts);
            let mut part = |hosts: &HostSet| push(hosts.to_string().into(), count(hosts.len()));
            if hosts.to_string().len() <= HOSTS_BYTES {
                if !hosts.is_empty() {
                    part(&hosts);
                }
                continue;
            }
            for names in hosts.as_slice().chunks(HOSTS_OF_PART) {
                part(&HostSet::from_names(names.to_vec()));
            }
        }
        groups
    }
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::FlowId;

    fn task(host: &str, state: TaskState) -> TaskStatus {
        TaskStatus {
            job: JobId { flow: FlowId(42), slot: 1, job: 1 },
            index: 0,
            host: HostName::new(host).ok(),
            state,
            reason: None,
            detail: None,
            attempt: 1,
            exit: None,
            signal: None,
            started_at: None,
            ended_at: None,
            end: None,
            last_line: None,
            absence: None,
            parent: None,
        }
    }

    #[test]
    fn tasks_fold_by_state_and_cause() {
        let mut fold = FailureFold::default();
        for n in [7, 3, 4, 9] {
            let failed = task(&format!("db{n}"), TaskState::Failed);
            fold.add(&TaskStatus { exit: Some(if n == 9 { 4 } else { 3 }), ..failed });
        }
        fold.add(&task("db1", TaskState::Ok));
        fold.add(&task("db5", TaskState::Skipped));
        fold.add(&task("db6", TaskState::Running));
        fold.add(&task("db2", TaskState::Unreachable));
        fold.add(&task("", TaskState::Cancelled));
        let groups = fold.finish();
        let shown: Vec<_> = groups
            .iter()
            .map(|group| (group.state, group.exit, &*group.hosts, group.tasks))
            .collect();
        assert_eq!(
            shown,
            [
                (TaskState::Failed, Some(3), "db[3-4,7]", 3),
                (TaskState::Failed, Some(4), "db9", 1),
                (TaskState::Unreachable, None, "db2", 1),
                (TaskState::Cancelled, None, "", 1),
            ]
        );
    }

    #[test]
    fn what_does_not_fold_comes_in_parts_that_fit_a_message() {
        let mut fold = FailureFold::default();
        let names = 30_000;
        for n in 0..names {
            // No number, so that nothing folds.
            let word: String =
                format!("{n:05}").bytes().map(|digit| char::from(digit - b'0' + b'a')).collect();
            fold.add(&task(&format!("{word}.{}", "x".repeat(50)), TaskState::Lost));
        }
        let groups = fold.finish();
        assert!(groups.len() > 1);
        assert!(groups.iter().all(|group| group.hosts.len() <= HOSTS_BYTES));
        assert_eq!(groups.iter().map(|group| group.tasks).sum::<u32>(), names);
    }
}
