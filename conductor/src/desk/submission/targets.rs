//! The hosts of each job of a submission, and how many there are together.

use std::collections::HashMap;

use orchestra_flow::{Rejection, shown};
use orchestra_model::{
    HostSet,
    flow::{FlowSpec, JobSpec, Scope},
    hostset::{InvalidHostSet, Resolved, Unknown},
};

use crate::{
    declined::{Declined, Ground},
    desk::{
        hosts::View,
        refusal::{invalid_hosts, rejected},
    },
};

/// Most hosts that the one-of jobs of a flow may have together. Their tasks are few, but for each
/// host the conductor keeps four bytes while the flow lives.
const HOSTS_TOGETHER: usize = 8_000_000;

/// Resolves the host set of each job. The bounds are checked before the next set is expanded,
/// because each of ten thousand jobs may ask for all hosts.
pub(super) fn resolve(
    spec: &FlowSpec,
    fleet: &View<'_>,
    most: u64,
    unknown: Unknown,
) -> Result<(Vec<Vec<HostSet>>, Vec<String>), Declined> {
    let mut remarks = Vec::new();
    let mut sizes = Sizes::default();
    let mut known: HashMap<&str, HostSet> = HashMap::new();
    let mut targets = Vec::with_capacity(spec.slots.len());
    for slot in &spec.slots {
        let mut sets = Vec::with_capacity(slot.jobs.len());
        for job in &slot.jobs {
            // Most jobs of a flow have the same hosts as another job.
            let hosts = match known.get(job.targets.as_str()) {
                Some(hosts) => sizes.add(job, hosts, most).map(|()| hosts.clone())?,
                None => {
                    let resolved = HostSet::resolve(&job.targets, fleet, unknown)
                        .map_err(|error| fleet.explain(wrong_hosts(job, error)))?;
                    remarks.extend(remarks_on(job, &resolved));
                    let hosts = resolved.hosts;
                    sizes.add(job, &hosts, most)?;
                    known.insert(&job.targets, hosts.clone());
                    hosts
                }
            };
            sets.push(hosts);
        }
        targets.push(sets);
    }
    Ok((targets, remarks))
}

fn wrong_hosts(job: &JobSpec, error: InvalidHostSet) -> Declined {
    match error {
        InvalidHostSet::UnknownHosts(hosts) => {
            rejected(&Rejection::UnknownHosts(job.name.clone(), hosts))
        }
        error => invalid_hosts(&error),
    }
}

/// Returns remarks for the author of a job's host set: what was left out of it, and what it
/// repeats.
fn remarks_on(job: &JobSpec, resolved: &Resolved) -> Vec<String> {
    let Resolved { repeated, unknown, words, .. } = resolved;
    let mut remarks = Vec::new();
    let mut tell = |what: &str, hosts: &HostSet| {
        if !hosts.is_empty() {
            let (hosts, count) = (shown(&hosts.to_string()), hosts.len());
            remarks.push(format!("job {}: {what}: {hosts} ({count})", job.name));
        }
    };
    tell("not in the players file, so left out", unknown);
    tell("named more than once, but counted once", repeated);
    if !words.is_empty() {
        let words: Vec<String> = words.iter().map(|word| format!("@{word}")).collect();
        let words = shown(&words.join(", "));
        remarks.push(format!("job {}: no such group or label, so left out: {words}", job.name));
    }
    remarks
}

/// The sums over all jobs.
#[derive(Default)]
struct Sizes {
    tasks: u64,
    hosts: usize,
}

impl Sizes {
    fn add(&mut self, job: &JobSpec, hosts: &HostSet, most: u64) -> Result<(), Declined> {
        self.tasks += match job.scope {
            Scope::All => hosts.len() as u64,
            Scope::One => 1,
        };
        if self.tasks > most {
            return Err(rejected(&Rejection::TooManyTasks { tasks: self.tasks, most }));
        }
        self.hosts += match job.scope {
            Scope::All => 0,
            Scope::One => hosts.len(),
        };
        if self.hosts > HOSTS_TOGETHER {
            return Err(Declined::new(
                Ground::TooMuch,
                format!(
                    "the host sets of the flow's one-of jobs have more than {HOSTS_TOGETHER} hosts \
                     together"
                ),
            ));
        }
        Ok(())
    }
}
