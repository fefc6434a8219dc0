//! Parameters by slot and job: people name jobs, and requests have their numbers.

use std::collections::BTreeMap;

use orchestra_model::{
    ids::FlowId,
    names::JobName,
    params::Params,
    state::JobState,
    status::{FlowStatus, JobStatus},
};

use crate::{
    error::Failure,
    flow::file::{Overrides, Secret},
};

/// Values by slot and job.
#[derive(Default)]
struct Values(BTreeMap<(u16, u16), BTreeMap<String, String>>);

/// Returns the parameters that `set` names, by slot and job from 1. Those without a job belong to
/// the one job that runs again, which is `job` if that is given.
pub(super) fn of(
    flow: &FlowStatus,
    job: Option<&JobName>,
    set: &Overrides,
) -> Result<Vec<(u32, u32, Params)>, Failure> {
    let mut values = Values::default();
    if !set.everywhere.is_empty() {
        values.add(the_one(flow, job)?, &set.everywhere);
    }
    for (name, pairs) in &set.of_job {
        values.add(named(flow, name)?, pairs);
    }
    values.into_params()
}

impl Values {
    fn add(&mut self, job: &JobStatus, values: &BTreeMap<String, Secret>) {
        let pairs = values.iter().map(|(key, value)| (key.clone(), value.0.clone()));
        self.0.entry((job.id.slot, job.id.job)).or_default().extend(pairs);
    }

    fn into_params(self) -> Result<Vec<(u32, u32, Params)>, Failure> {
        let mut all = Vec::with_capacity(self.0.len());
        for ((slot, job), pairs) in self.0 {
            let params = Params::from_pairs(pairs)
                .map_err(|error| Failure::usage("reading the parameters").because(error))?;
            all.push((slot.into(), job.into(), params));
        }
        Ok(all)
    }
}

/// Returns the one job that runs again.
fn the_one<'a>(flow: &'a FlowStatus, job: Option<&JobName>) -> Result<&'a JobStatus, Failure> {
    let runs_again = |status: &&JobStatus| match job {
        Some(name) => status.name == *name,
        None => status.state != JobState::Ok,
    };
    let again: Vec<&JobStatus> = flow.slots.iter().flatten().filter(runs_again).collect();
    if let [job] = again[..] {
        return Ok(job);
    }
    let id = flow.summary.id;
    let names: Vec<&str> = again.iter().map(|job| job.name.as_str()).collect();
    Err(Failure::usage(format!(
        "setting parameters of flow {id}: of which job? These are not ok: {}",
        names.join(", ")
    ))
    .hint("--set JOB/KEY=VALUE"))
}

fn named<'a>(flow: &'a FlowStatus, name: &JobName) -> Result<&'a JobStatus, Failure> {
    let FlowId(id) = flow.summary.id;
    flow.slots.iter().flatten().find(|job| job.name == *name).ok_or_else(|| {
        Failure::usage(format!("setting parameters of flow {id}: it has no job {name}"))
            .hint(format!("getstatus {id} shows its jobs"))
    })
}
