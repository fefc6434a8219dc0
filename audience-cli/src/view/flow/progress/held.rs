//! What happens to hosts one by one, held back to be told together.

use std::collections::{BTreeMap, BTreeSet};

use orchestra_model::{
    hostset::HostSet,
    ids::JobId,
    names::HostName,
    state::TaskState,
    status::{Absence, AbsentTasks},
};

use crate::view::{absence, style::Style, task::Failures};

/// What is held back.
#[derive(Default)]
pub(super) struct Held {
    pub(super) failures: Failures,
    /// Players of tasks in flight that went away.
    gone: BTreeMap<JobId, BTreeMap<HostName, Absence>>,
    /// Those that came back.
    back: BTreeMap<JobId, BTreeSet<HostName>>,
}

impl Held {
    /// Whether nothing is held back.
    pub(super) fn is_empty(&self) -> bool {
        self.failures.is_empty() && self.gone.is_empty() && self.back.is_empty()
    }

    /// The player of a task in flight goes away.
    pub(super) fn leaves(&mut self, job: JobId, host: &HostName, absence: Absence) {
        self.gone.entry(job).or_default().insert(host.clone(), absence);
    }

    /// It comes back. Of a player that was away for a moment nothing is told.
    pub(super) fn returns(&mut self, job: JobId, host: &HostName) {
        if let Some(gone) = self.gone.get_mut(&job)
            && gone.remove(host).is_some()
        {
            if gone.is_empty() {
                self.gone.remove(&job);
            }
            return;
        }
        self.back.entry(job).or_default().insert(host.clone());
    }

    /// A line for each job and what happened to its hosts.
    pub(super) fn lines(self, style: Style) -> Vec<String> {
        let Self { failures, gone, back } = self;
        let mut lines: Vec<String> = failures.folds().iter().map(|fold| fold.line(style)).collect();
        for (job, hosts) in gone {
            let absent = together(&hosts);
            let text = absence::tasks(&absent, "in flight on absent", TaskState::Lost);
            lines.push(format!("{job}: {}", style.warning(&text)));
        }
        for (job, hosts) in back {
            let are = if hosts.len() == 1 { "is" } else { "are" };
            lines.push(format!("{job}: back {are} {}", HostSet::from_names(hosts).counted()));
        }
        lines
    }
}

fn together(hosts: &BTreeMap<HostName, Absence>) -> AbsentTasks {
    AbsentTasks {
        tasks: u32::try_from(hosts.len()).unwrap_or(u32::MAX),
        hosts: HostSet::from_names(hosts.keys().cloned()).to_string(),
        since: hosts.values().filter_map(|absence| absence.since).min(),
        given_up: hosts.values().filter_map(|absence| absence.given_up).min_by_key(|due| due.at),
    }
}

#[cfg(test)]
mod tests {
    use orchestra_model::ids::FlowId;

    use super::*;
    use crate::view::samples::SUBMITTED;

    #[test]
    fn a_rack_that_goes_and_comes_is_a_line() {
        let job = JobId { flow: FlowId(42), slot: 1, job: 1 };
        let host = |n: u32| HostName::new(&format!("fe{n}")).unwrap();
        let absence = Absence { since: Some(SUBMITTED), given_up: None };
        let mut held = Held::default();
        (1..=40).for_each(|n| held.leaves(job, &host(n), absence));
        // A short while is nothing.
        held.returns(job, &host(7));
        held.returns(job, &host(99));
        let told = held.lines(Style::default());
        assert_eq!(
            told,
            [
                "42.1.1: 39 in flight on absent fe[1-6,8-40], the first since \
                 2025-11-21T08:00:00Z, for as long as that takes",
                "42.1.1: back is fe99 (1)",
            ]
        );
        let mut held = Held::default();
        held.leaves(job, &host(1), absence);
        held.returns(job, &host(1));
        assert!(held.is_empty());
    }
}
