//! Flow files: what `submitjob --flow` reads. One schema in three formats; `docs/flows.md` has it.
//!
//! ```yaml
//! name: deploy-42                # optional
//! after: 41                      # optional, as at: when it begins
//! slots:                         # in order; the next begins when all jobs of this one are ok
//!   - jobs:                      # side by side
//!       - score: install-package # required
//!         targets: "db[1-10]"    # required: a host set, or a list of host sets
//!         name: pkg1             # default: the score's name, then -2, …
//!         params: {package: pkg1}
//!         success: 80%           # and the other limits, each with its default
//! ```
//!
//! A file is checked as a whole before anything is sent: every unknown or wrong field of every job
//! is told at once, with its place counted as ids count (`slot 2, job 1` is `42.2.1`). Only the
//! conductor knows whether hosts exist and scores are installed.

mod job;
mod names;

use orchestra_client::FlowToSubmit;
use orchestra_document::{Fields, Format, Node, Problems};
use orchestra_model::{
    flow::{FlowSpec, SlotSpec},
    limits,
    names::FlowName,
    params::Params,
    start::Start,
};

use super::start::StartFlags;
use crate::error::Failure;

pub(crate) use job::{Overrides, Secret};

/// Largest flow file, in bytes: a larger one could not be sent in one message.
pub(crate) const FLOW_FILE_BYTES: usize = limits::MESSAGE_BYTES;

/// Reads a flow; `what` names where it is from, for messages: `flow file deploy.yaml`.
pub(crate) fn read(
    text: &str,
    format: Format,
    what: &str,
    overrides: &Overrides,
) -> Result<FlowToSubmit, Failure> {
    let attempt = format!("reading {what} as {}", format.as_str());
    let tree =
        format.parse(text).map_err(|error| Failure::usage(attempt.clone()).because(error))?;
    let mut problems = Problems::default();
    let flow = flow(&tree, overrides, &mut problems);
    overrides.check_used(flow.as_ref(), &mut problems);
    problems.into_result().map_err(|problems| Failure::usage(attempt.clone()).because(problems))?;
    let Some((spec, params)) = flow else {
        return Err(Failure::usage(attempt));
    };
    spec.check().map_err(|error| Failure::usage(attempt).because(error))?;
    Ok(FlowToSubmit { spec, params })
}

type Parsed = (FlowSpec, Vec<(u32, u32, Params)>);

fn flow(tree: &Node, overrides: &Overrides, problems: &mut Problems) -> Option<Parsed> {
    let mut fields = Fields::of(tree, "", problems)?;
    let name = fields.parsed::<FlowName>("name", problems);
    let start = StartFlags::read(&mut fields, problems).over(Start::default());
    let slots = match fields.list("slots", problems) {
        Some(slots) => slots,
        None => {
            if !matches!(tree, Node::Map(given) if given.iter().any(|(key, _)| key == "slots")) {
                fields.missing("slots", problems);
            }
            &[]
        }
    };
    fields.finish(names::FLOW, problems);
    let jobs = slots.iter().enumerate().flat_map(|(slot, node)| {
        let place = format!("slot {}", slot + 1);
        jobs_of(node, &place, problems)
            .iter()
            .enumerate()
            .map(|(job, node)| (slot + 1, job + 1, node))
            .collect::<Vec<_>>()
    });
    let jobs: Vec<(usize, usize, &Node)> = jobs.collect();
    // This is told here, because otherwise thousands of problems would follow.
    if slots.len() > limits::SLOTS || jobs.len() > limits::JOBS {
        let (slots, jobs) = (slots.len(), jobs.len());
        problems.add(
            "",
            format_args!(
                "{slots} slots with {jobs} jobs; at most {} and {} are allowed",
                limits::SLOTS,
                limits::JOBS
            ),
        );
        return None;
    }
    let mut spec = FlowSpec {
        name: overrides.name.clone().or(name),
        start: overrides.start.over(start),
        slots: slots.iter().map(|_| SlotSpec { jobs: Vec::new() }).collect(),
    };
    let mut params = Vec::new();
    for (name, (slot, number, node)) in job::names(&jobs).into_iter().zip(jobs) {
        let place = format!("slot {slot}, job {number}");
        let Some((job, values)) = job::job(node, &place, name, overrides, problems) else {
            continue;
        };
        if !values.is_empty()
            && let (Ok(slot), Ok(number)) = (u32::try_from(slot), u32::try_from(number))
        {
            params.push((slot, number, values));
        }
        if let Some(slot) = spec.slots.get_mut(slot - 1) {
            slot.jobs.push(job);
        }
    }
    Some((spec, params))
}

fn jobs_of<'a>(slot: &'a Node, place: &str, problems: &mut Problems) -> &'a [Node] {
    let Some(mut fields) = Fields::of(slot, place, problems) else { return &[] };
    let jobs = fields.list("jobs", problems);
    if jobs.is_none()
        && matches!(slot, Node::Map(given) if given.iter().all(|(key, _)| key != "jobs"))
    {
        fields.missing("jobs", problems);
    }
    fields.finish(names::SLOT, problems);
    jobs.unwrap_or_default()
}

#[cfg(test)]
mod tests;
