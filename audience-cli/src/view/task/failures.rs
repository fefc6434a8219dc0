//! Tasks that did not end ok, folded by job and reason: a line for each, with its hosts.
//!
//! The reason of a task that failed ends with the last line of its standard error, so that one look
//! tells what went wrong. Where these lines differ from host to host, the rarer ones are told together.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
    io,
};

use orchestra_model::{
    failures::FailureGroup, hostset::HostSet, ids::JobId, names::HostName, state::TaskState,
    status::TaskStatus,
};

use super::{Ending, NOT_OK};
use crate::view::style::{Style, one_line};

/// Most tasks that are folded; beyond it they are counted.
const FOLDED: usize = 200_000;

/// How many last lines of one reason are told apart.
const LAST_LINES: usize = 8;

/// Tasks that did not end ok.
#[derive(Debug, Default)]
pub(crate) struct Failures {
    by_reason: BTreeMap<Reason, Tasks>,
    /// How many tasks are folded, and how many further ones are only counted.
    folded: usize,
    more: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Reason {
    job: JobId,
    state: TaskState,
    why: String,
    last_line: String,
}

#[derive(Debug, Default)]
struct Tasks {
    tasks: usize,
    hosts: Vec<HostName>,
}

/// Tasks of a job that did not end ok for the same reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fold {
    pub(crate) job: JobId,
    pub(crate) state: TaskState,
    /// `exit 3: Connection refused`; empty if nothing is known.
    pub(crate) why: String,
    /// Folded, with their number; empty for a one-of job that chose no host.
    pub(crate) hosts: String,
    pub(crate) tasks: usize,
}

impl Failures {
    /// Notes a task in any state.
    pub(crate) fn add(&mut self, task: &TaskStatus) {
        let last_line = match task.state {
            TaskState::Failed | TaskState::TimedOut => task.last_line.as_deref(),
            _ => None,
        };
        let last_line = last_line.map(one_line).unwrap_or_default();
        self.note(task.job, task.host.as_ref(), &Ending::of(task), last_line);
    }

    /// Notes how a task ended, which may be ok.
    pub(crate) fn note(
        &mut self,
        job: JobId,
        host: Option<&HostName>,
        ending: &Ending<'_>,
        last_line: String,
    ) {
        let hosts = host.cloned().into_iter().collect();
        self.note_tasks(job, ending, last_line, hosts, 1);
    }

    /// Notes tasks that are folded already.
    pub(crate) fn add_group(&mut self, group: &FailureGroup) {
        let hosts = HostSet::parse_plain(&group.hosts).unwrap_or_default();
        let (hosts, tasks) = (hosts.as_slice().to_vec(), group.tasks as usize);
        self.note_tasks(group.job, &Ending::of_group(group), String::new(), hosts, tasks);
    }

    /// Notes tasks that ended alike. One that chose no host has none among the hosts.
    fn note_tasks(
        &mut self,
        job: JobId,
        ending: &Ending<'_>,
        last_line: String,
        hosts: Vec<HostName>,
        tasks: usize,
    ) {
        if !NOT_OK.contains(&ending.state) {
            return;
        }
        let folded = tasks.min(FOLDED - self.folded);
        self.folded += folded;
        self.more += tasks - folded;
        if folded == 0 {
            return;
        }
        let reason = Reason { job, state: ending.state, why: ending.why(), last_line };
        let alike = self.by_reason.entry(reason).or_default();
        alike.tasks += folded;
        alike.hosts.extend(hosts.into_iter().take(folded));
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.by_reason.is_empty()
    }

    /// The reasons: job after job, and in each the most frequent one first.
    pub(crate) fn folds(self) -> Vec<Fold> {
        let mut folds: Vec<Fold> = together(self.by_reason).into_iter().map(Fold::from).collect();
        folds.sort_by_key(|fold| (fold.job, Reverse(fold.tasks)));
        folds
    }

    /// A line for each reason: `  42.1.1 db[3,7] (2) failed: exit 3: no space left`.
    pub(crate) fn write(mut self, out: &mut dyn io::Write, style: Style) -> io::Result<()> {
        let more = std::mem::take(&mut self.more);
        for fold in self.folds() {
            writeln!(out, "  {}", fold.line(style))?;
        }
        if more > 0 {
            writeln!(out, "  and {more} more tasks: getstatus ID --failed lists them")?;
        }
        Ok(())
    }
}

impl Fold {
    /// `42.1.1 db[3,7] (2) failed: exit 3: no space left`.
    pub(crate) fn line(&self, style: Style) -> String {
        let Self { job, state, why, hosts, .. } = self;
        let colon = if why.is_empty() { "" } else { ": " };
        let hosts = if hosts.is_empty() { String::new() } else { format!("{hosts} ") };
        format!("{job} {hosts}{}{colon}{why}", style.task(*state))
    }
}

impl From<(Reason, Tasks)> for Fold {
    fn from((reason, Tasks { tasks, hosts }): (Reason, Tasks)) -> Self {
        let Reason { job, state, why, last_line } = reason;
        let why = match (why.is_empty(), last_line.is_empty()) {
            (_, true) => why,
            (true, false) => last_line,
            (false, false) => format!("{why}: {last_line}"),
        };
        let hosts = match hosts.is_empty() {
            true => String::new(),
            false => HostSet::from_names(hosts).counted().to_string(),
        };
        Self { job, state, why, hosts, tasks }
    }
}

/// Puts the rarer last lines of each reason together if there are more of them than are told apart.
fn together(by_reason: BTreeMap<Reason, Tasks>) -> Vec<(Reason, Tasks)> {
    let mut by_frequency: Vec<(Reason, Tasks)> = by_reason.into_iter().collect();
    by_frequency.sort_by_key(|(_, tasks)| Reverse(tasks.tasks));
    let mut told: HashMap<(JobId, TaskState, String), usize> = HashMap::new();
    let mut folded: Vec<(Reason, Tasks)> = Vec::new();
    let mut rest: BTreeMap<Reason, Tasks> = BTreeMap::new();
    for (reason, tasks) in by_frequency {
        let lines = told.entry((reason.job, reason.state, reason.why.clone())).or_default();
        *lines += 1;
        if *lines <= LAST_LINES {
            folded.push((reason, tasks));
            continue;
        }
        let reason = Reason { last_line: "other last lines".to_owned(), ..reason };
        let others = rest.entry(reason).or_default();
        others.tasks += tasks.tasks;
        others.hosts.extend(tasks.hosts);
    }
    folded.extend(rest);
    folded
}

#[cfg(test)]
mod tests {
    use orchestra_model::ids::FlowId;

    use super::*;
    use crate::view::samples;

    fn task(n: u32, state: TaskState, exit: Option<i32>, last_line: Option<&str>) -> TaskStatus {
        TaskStatus {
            job: JobId { flow: FlowId(42), slot: 1, job: 1 },
            host: Some(HostName::new(&format!("db{n}")).unwrap()),
            state,
            exit,
            last_line: last_line.map(Into::into),
            ..samples::failed_task()
        }
    }

    fn told(tasks: impl IntoIterator<Item = TaskStatus>) -> String {
        let mut failures = Failures::default();
        tasks.into_iter().for_each(|task| failures.add(&task));
        let mut out = Vec::new();
        failures.write(&mut out, Style::default()).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn failures_fold_by_reason() {
        let failed = |n, code| task(n, TaskState::Failed, Some(code), None);
        let tasks = [
            failed(9, 4),
            failed(7, 3),
            failed(3, 3),
            failed(4, 3),
            task(1, TaskState::Ok, Some(0), None),
            task(2, TaskState::Unreachable, None, None),
            TaskStatus { host: None, ..task(0, TaskState::Cancelled, None, None) },
        ];
        assert_eq!(
            told(tasks),
            "  42.1.1 db[3-4,7] (3) failed: exit 3\n\
             \x20 42.1.1 db9 (1) failed: exit 4\n\
             \x20 42.1.1 db2 (1) unreachable\n\
             \x20 42.1.1 cancelled\n"
        );
    }

    #[test]
    fn the_last_line_of_standard_error_is_part_of_the_reason() {
        let failed = |n, line| task(n, TaskState::Failed, Some(1), Some(line));
        let tasks = [
            failed(7, "Connection refused"),
            failed(8, "No such\u{1b}[31m host"),
            failed(13, "Connection refused"),
            task(5, TaskState::TimedOut, None, Some("waiting for the lock")),
        ];
        assert_eq!(
            told(tasks),
            "  42.1.1 db[7,13] (2) failed: exit 1: Connection refused\n\
             \x20 42.1.1 db8 (1) failed: exit 1: No such\\u{1b}[31m host\n\
             \x20 42.1.1 db5 (1) timed-out: waiting for the lock\n"
        );
    }

    #[test]
    fn last_lines_that_differ_everywhere_are_told_together() {
        let of = |n: u32| {
            let line = if n <= 50 { "same".to_owned() } else { format!("process {n}") };
            task(n, TaskState::Failed, Some(1), Some(&line))
        };
        let told = told((1..=10_000).map(of));
        let lines: Vec<&str> = told.lines().collect();
        assert_eq!(lines.len(), LAST_LINES + 1, "{told}");
        assert!(lines[0].ends_with("(9943) failed: exit 1: other last lines"), "{told}");
        assert_eq!(lines[1], "  42.1.1 db[1-50] (50) failed: exit 1: same");
    }
}
