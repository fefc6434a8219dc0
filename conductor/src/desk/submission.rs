//! A submission comes in: decoded, its host sets resolved, its size known before it is large; then
//! held against what its targets offer, and against the plan that was made of it.
//!
//! The same request is the same flow, whatever has changed since: what would be refused now and
//! was stored before is answered as it was then.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use orchestra_flow::{Input, Rejection, ReplyTo, Submission, answer, shown};
use orchestra_model::{
    AudienceName, FlowId, HostSet, Params,
    audit::Verb,
    delivery::RequestId,
    flow::{FlowSpec, JobSpec, Scope},
    hostset::{InvalidHostSet, Resolved, Unknown},
    proof::Mac,
    thresholds::Excess,
};
use orchestra_proto::{check_flow_spec, params_from_wire, v1};
use prost::Message;

use super::{
    Desk, off_the_runtime,
    plan::limit_remarks,
    refusal::{invalid_hosts, refused, rejected},
    sameness::macs,
};
use crate::{
    declined::{Declined, Ground},
    driver::{Asked, Request as Ask, read_answer},
    fleet::Fleet,
    grpc::Turn,
    inventory::{Survey, bounded},
};

/// Most hosts that all host sets of a flow may have together where they are one-of jobs', whose
/// tasks are few: for each the conductor keeps four bytes as long as the flow lives.
const HOSTS_TOGETHER: usize = 8_000_000;

/// A submission with more hosts, or a longer spec in bytes, is large: its name, and the conductor, work
/// on few of them at once until they are stored.
const MANY_HOSTS: usize = 10_000;
const MANY_BYTES: usize = 256 << 10;

impl Desk {
    pub(crate) async fn submit_flow(
        &self,
        mut request: v1::SubmitRequest,
        audience: AudienceName,
        turn: Turn,
    ) -> Result<v1::SubmitResponse, Declined> {
        let (if_plan, same_score) =
            (std::mem::take(&mut request.if_plan), request.require_same_score);
        let Read { submission, remarks } = self.submission(request, audience).await?;
        if !is_large(&submission) {
            turn.give_back();
        }
        let mut taken = self.take_in(Verb::Submit, submission, same_score, &if_plan).await?;
        if !taken.repeated {
            taken.warnings = bounded(remarks.into_iter().chain(taken.warnings).collect());
        }
        Ok(taken)
    }

    /// Stores a submission that was read, unless it is not worth that, or not what was planned.
    pub(crate) async fn take_in(
        &self,
        verb: Verb,
        submission: Box<Submission>,
        same_score: bool,
        if_plan: &str,
    ) -> Result<v1::SubmitResponse, Declined> {
        let (audience, request) = (submission.audience.clone(), submission.request);
        let macs = macs(&self.facts.proofs.keys(), &submission);
        // Before anything else: the same request is the same flow, whatever has changed since.
        if let Some(flow) = self.submitted_before(&audience, request, macs.clone()).await? {
            self.check_same(flow, &macs).await?;
            return Ok(v1::SubmitResponse { flow: flow.0, repeated: true, warnings: Vec::new() });
        }
        let jobs: usize = submission.spec.slots.iter().map(|slot| slot.jobs.len()).sum();
        let (submission, warnings) = self.examine(submission, same_score, if_plan).await?;
        let mac = macs.first().copied();
        let submission = Box::new(Submission { mac, ..*submission });
        let asked = Asked::by(&audience, verb);
        let make = Box::new(move |id| Input::FlowSubmitted { reply: ReplyTo::new(id), submission });
        let answer = self.ask(|reply| Ask::Change { asked, make, reply }).await;
        let answer = answer.map_err(|why| why.with_more(|| of_request(request)))?;
        let answer::Submitted { flow, repeated } =
            read_answer(answer)?.map_err(|rejection| rejected(&rejection))?;
        if repeated {
            // Two came at once with one request id.
            self.check_same(flow, &macs).await?;
        }
        tracing::info!(%flow, %audience, jobs, repeated, "flow submitted");
        Ok(v1::SubmitResponse { flow: flow.0, repeated, warnings })
    }

    /// Holds a submission against what its targets offer, and against its plan.
    async fn examine(
        &self,
        submission: Box<Submission>,
        same_score: bool,
        if_plan: &str,
    ) -> Result<(Box<Submission>, Vec<String>), Declined> {
        let (submission, survey) = self.survey(submission).await?;
        if let Some(refusal) = survey.refusal(same_score) {
            return Err(refused(&refusal));
        }
        let mut warnings = limit_remarks(&submission);
        warnings.extend(survey.warnings());
        let submission = match if_plan {
            "" => submission,
            digest => self.as_planned(submission, survey, digest).await?,
        };
        Ok((submission, warnings))
    }

    /// What the targets of a submission offer, looked at off the runtime's threads.
    pub(crate) async fn survey(
        &self,
        submission: Box<Submission>,
    ) -> Result<(Box<Submission>, Survey), Declined> {
        let inventory = self.inventory.clone();
        off_the_runtime(move || {
            let Submission { spec, targets, params, .. } = &*submission;
            let survey = inventory.survey(spec, targets, params);
            (submission, survey)
        })
        .await
    }

    /// The flow of a request that was taken in, once it is on disk. Fails, and says that it is
    /// held, as long as it cannot be.
    pub(crate) async fn submitted_before(
        &self,
        audience: &AudienceName,
        request: RequestId,
        macs: Vec<Mac>,
    ) -> Result<Option<FlowId>, Declined> {
        let audience = audience.clone();
        let found = self.ask(|reply| Ask::Submitted { audience, request, macs, reply }).await;
        found.map_err(|why| why.with_more(|| of_request(request)))
    }

    /// Decodes and resolves a submission, off the runtime's threads, for host sets may be large.
    pub(crate) async fn submission(
        &self,
        request: v1::SubmitRequest,
        audience: AudienceName,
    ) -> Result<Read, Declined> {
        let limits = self.reloader.shared().limits;
        let (bytes, most) = (request.encoded_len(), limits.max_flow_bytes);
        if bytes > most {
            return Err(Declined::new(
                Ground::TooMuch,
                format!(
                    "the submission has {bytes} bytes; the conductor's max_flow_bytes is {most}"
                ),
            ));
        }
        let fleet = Arc::clone(&self.fleet.borrow());
        off_the_runtime(move || read(request, audience, &fleet, limits.max_hosts)).await?
    }
}

/// Whether it takes so much memory that few of its kind may wait for the disk at once.
fn is_large(submission: &Submission) -> bool {
    let hosts: usize = submission.targets.iter().flatten().map(HostSet::len).sum();
    hosts > MANY_HOSTS || submission.spec_bytes.len() > MANY_BYTES
}

/// A submission, and what is strange about how its host sets are written.
pub(crate) struct Read {
    pub(crate) submission: Box<Submission>,
    pub(crate) remarks: Vec<String>,
}

/// Reads a submission, whose host sets are resolved against `fleet`. Takes its time.
fn read(
    request: v1::SubmitRequest,
    audience: AudienceName,
    fleet: &Fleet,
    most_tasks: u64,
) -> Result<Read, Declined> {
    let id = read_request_id(&request.request_id)?;
    check_flow_spec(&request.spec).map_err(|error| Declined::invalid(&error))?;
    let wire = v1::FlowSpec::decode(&request.spec[..])
        .map_err(|error| Declined::new(Ground::Invalid, format!("the spec: {error}")))?;
    let spec = FlowSpec::try_from(&wire).map_err(|error| Declined::invalid(&error))?;
    drop(wire);
    spec.check().map_err(|error| Declined::invalid(&error))?;
    let unknown = if request.allow_unknown { Unknown::LeftOut } else { Unknown::Refused };
    let (targets, remarks) = resolve(&spec, fleet, most_tasks, unknown)?;
    let params = read_params(request.params, &spec)?;
    let submission = Box::new(Submission {
        request: id,
        audience,
        spec,
        spec_bytes: Arc::from(&request.spec[..]),
        targets,
        params,
        retry_of: None,
        mac: None,
        excess: Excess::Refused,
    });
    Ok(Read { submission, remarks })
}

/// What tells a held request from others: its submitter may ask again by it.
fn of_request(request: RequestId) -> String {
    format!(" (request {request})")
}

pub(crate) fn read_request_id(bytes: &[u8]) -> Result<RequestId, Declined> {
    let id = RequestId::from_slice(bytes);
    id.ok_or_else(|| Declined::new(Ground::Invalid, "the request id has 16 bytes"))
}

/// The host set of each job. The bounds are looked at before the next one is expanded, for ten
/// thousand jobs may each ask for everything there is.
fn resolve(
    spec: &FlowSpec,
    fleet: &Fleet,
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
            // Most jobs of a flow have the hosts of another one.
            let hosts = match known.get(job.targets.as_str()) {
                Some(hosts) => sizes.add(job, hosts, most).map(|()| hosts.clone())?,
                None => {
                    let resolved = HostSet::resolve(&job.targets, fleet, unknown)
                        .map_err(|error| wrong_hosts(job, error))?;
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

/// What whoever wrote a job's host set should know: what was left out of it, and what it repeats.
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

/// How much all jobs have together.
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

/// The parameters of each job that has any, by its place.
fn read_params(
    jobs: Vec<v1::JobParams>,
    spec: &FlowSpec,
) -> Result<BTreeMap<(u16, u16), Params>, Declined> {
    let mut params = BTreeMap::new();
    for job in jobs {
        let (slot, number) = (job.slot, job.job);
        let place = place(spec, slot, number).ok_or_else(|| {
            Declined::new(
                Ground::Invalid,
                format!("parameters for job {slot}.{number}, which does not exist"),
            )
        })?;
        let values = params_from_wire(job.values).map_err(|error| Declined::invalid(&error))?;
        if params.insert(place, values).is_some() {
            let message = format!("parameters of job {slot}.{number} are given twice");
            return Err(Declined::new(Ground::Invalid, message));
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
