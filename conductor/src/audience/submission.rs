//! A submission comes in: decoded, its host sets resolved, its size known before it is large.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use orchestra_flow::{Rejection, ReplyId, Submission};
use orchestra_model::{
    AudienceName, HostSet, Params,
    delivery::RequestId,
    flow::{FlowSpec, JobSpec, Scope},
};
use orchestra_proto::{params_from_wire, v1};
use prost::Message;
use tonic::Status;

use super::refusal::{invalid, rejected};
use crate::fleet::Fleet;

/// Most hosts that all host sets of a flow may have together where they are one-of jobs', whose
/// tasks are few: for each the conductor keeps four bytes as long as the flow lives.
const HOSTS_TOGETHER: usize = 8_000_000;

/// Reads a submission, whose host sets are resolved against `fleet`. Takes its time.
pub(super) fn read(
    request: v1::SubmitRequest,
    audience: AudienceName,
    fleet: &Fleet,
    most_tasks: u64,
) -> Result<Submission, Status> {
    let id = RequestId::from_slice(&request.request_id)
        .ok_or_else(|| Status::invalid_argument("the request id has 16 bytes"))?;
    let wire = v1::FlowSpec::decode(&request.spec[..])
        .map_err(|error| Status::invalid_argument(format!("the spec: {error}")))?;
    let spec = FlowSpec::try_from(&wire).map_err(|error| invalid(&error))?;
    drop(wire);
    spec.check().map_err(|error| invalid(&error))?;
    let targets = resolve(&spec, fleet, most_tasks)?;
    let params = read_params(request.params, &spec)?;
    Ok(Submission {
        // The driver addresses the answer.
        reply: ReplyId(0),
        request: id,
        audience,
        spec,
        spec_bytes: Arc::from(&request.spec[..]),
        targets,
        params,
    })
}

/// The host set of each job. The bounds are looked at before the next one is expanded, for ten
/// thousand jobs may each ask for everything there is.
fn resolve(spec: &FlowSpec, fleet: &Fleet, most: u64) -> Result<Vec<Vec<HostSet>>, Status> {
    let mut sizes = Sizes::default();
    let mut known: HashMap<&str, HostSet> = HashMap::new();
    let mut targets = Vec::with_capacity(spec.slots.len());
    for slot in &spec.slots {
        let mut sets = Vec::with_capacity(slot.jobs.len());
        for job in &slot.jobs {
            // Most jobs of a flow have the hosts of another one.
            let hosts = match known.get(job.targets.as_str()) {
                Some(hosts) => sizes.add(job, hosts, most).map(|()| hosts.clone())?,
                None => {
                    let hosts = HostSet::parse(&job.targets, fleet).map_err(|e| invalid(&e))?;
                    sizes.add(job, &hosts, most)?;
                    known.insert(&job.targets, hosts.clone());
                    hosts
                }
            };
            sets.push(hosts);
        }
        targets.push(sets);
    }
    Ok(targets)
}

/// How much all jobs have together.
#[derive(Default)]
struct Sizes {
    tasks: u64,
    hosts: usize,
}

impl Sizes {
    fn add(&mut self, job: &JobSpec, hosts: &HostSet, most: u64) -> Result<(), Status> {
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
            return Err(Status::resource_exhausted(format!(
                "the host sets of the flow's one-of jobs have more than {HOSTS_TOGETHER} hosts \
                 together"
            )));
        }
        Ok(())
    }
}

/// The parameters of each job that has any, by its place.
fn read_params(
    jobs: Vec<v1::JobParams>,
    spec: &FlowSpec,
) -> Result<BTreeMap<(u16, u16), Params>, Status> {
    let mut params = BTreeMap::new();
    for job in jobs {
        let (slot, number) = (job.slot, job.job);
        let place = place(spec, slot, number).ok_or_else(|| {
            Status::invalid_argument(format!(
                "parameters for job {slot}.{number}, which does not exist"
            ))
        })?;
        let values = params_from_wire(job.values).map_err(|error| invalid(&error))?;
        if params.insert(place, values).is_some() {
            let message = format!("parameters of job {slot}.{number} are given twice");
            return Err(Status::invalid_argument(message));
        }
    }
    Ok(params)
}

/// A job's place as numbers, if there is such a job.
fn place(spec: &FlowSpec, slot: u32, job: u32) -> Option<(u16, u16)> {
    let index = |number: u32| usize::try_from(number).ok()?.checked_sub(1);
    spec.slots.get(index(slot)?)?.jobs.get(index(job)?)?;
    Some((u16::try_from(slot).ok()?, u16::try_from(job).ok()?))
}
