//! Submissions. The host sets of a submission are resolved, its size being checked before it grows
//! large. Then the submission is compared with what its targets offer, and with the plan that was
//! made of it.
//!
//! Requests with the same id are one flow, even if things have changed since: a submission that
//! would be refused now and was stored before gets its first answer.

mod targets;
pub(crate) mod trees;

use std::{collections::BTreeMap, sync::Arc};

use orchestra_flow::{Input, ReplyTo, Submission, answer};
use orchestra_model::{
    Asker, AudienceName, FlowId, HostSet, Params, audit::Verb, delivery::RequestId, flow::FlowSpec,
    hostset::Unknown, proof::Mac, thresholds::Excess,
};
use orchestra_policy::{Allowance, Denial};

use self::targets::resolve;
use super::{
    Desk,
    hosts::{Others, View},
    off_the_runtime,
    plan::limit_remarks,
    refusal::{refused, rejected},
    rights::check_submission,
    sameness::macs,
};
use crate::{
    declined::{Declined, Ground},
    driver::{Asked, Request as Ask, read_answer},
    fleet::Fleet,
    inventory::{Survey, bounded},
};

/// A submission with more hosts, or a longer spec in bytes, is large. Only few large ones of a
/// name, and of all, are worked on at once until they are stored.
const MANY_HOSTS: usize = 10_000;
const MANY_BYTES: usize = 256 << 10;

/// What is to be submitted, or planned.
#[derive(Debug)]
pub(crate) struct Proposal {
    /// Submissions with the same id are one.
    pub(crate) request: RequestId,
    pub(crate) spec: FlowSpec,
    /// The spec as it came. It is stored so.
    pub(crate) spec_bytes: Arc<[u8]>,
    pub(crate) params: Vec<ProposedParams>,
    /// What becomes of unknown hosts, groups and labels.
    pub(crate) unknown: Unknown,
}

/// The parameters of one job.
#[derive(Debug)]
pub(crate) struct ProposedParams {
    /// The job's slot, counted from 1.
    pub(crate) slot: u32,
    /// The job's number in its slot, counted from 1.
    pub(crate) job: u32,
    pub(crate) values: Params,
}

/// What a submission demands beside its spec.
#[derive(Debug, Default)]
pub(crate) struct Conditions {
    /// Whether all hosts must have the same version of each score.
    pub(crate) same_score: bool,
    /// The digest that a plan made now must have.
    pub(crate) plan: Option<String>,
}

/// A submission that was taken.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) flow: FlowId,
    /// Whether the request was known already. Then this is its first flow.
    pub(crate) repeated: bool,
    pub(crate) warnings: Vec<String>,
}

/// A submission whose host sets are resolved, and remarks on how they are written.
pub(crate) struct ReadProposal {
    pub(super) submission: Box<Submission>,
    pub(super) remarks: Vec<String>,
}

impl ReadProposal {
    /// Returns whether it takes so much memory that only few such submissions may wait for the disk
    /// at once.
    pub(crate) fn is_large(&self) -> bool {
        let Submission { targets, spec_bytes, .. } = &*self.submission;
        let hosts: usize = targets.iter().flatten().map(HostSet::len).sum();
        hosts > MANY_HOSTS || spec_bytes.len() > MANY_BYTES
    }
}

impl Desk {
    /// Declines a submission that is longer than the conductor's configuration allows.
    pub(crate) fn check_length(&self, bytes: usize) -> Result<(), Declined> {
        let most = self.reloader.shared().limits.max_flow_bytes;
        if bytes > most {
            return Err(Declined::new(
                Ground::TooMuch,
                format!(
                    "the submission has {bytes} bytes; the conductor's max_flow_bytes is {most}"
                ),
            ));
        }
        Ok(())
    }

    /// Resolves a submission, off the runtime's threads, because host sets may be large.
    pub(crate) async fn read_proposal(
        &self,
        proposal: Proposal,
        audience: AudienceName,
    ) -> Result<ReadProposal, Declined> {
        let most_tasks = self.reloader.shared().limits.max_hosts;
        let fleet = Arc::clone(&self.fleet.borrow());
        off_the_runtime(move || read(proposal, audience, &fleet, most_tasks)).await?
    }

    /// Stores a submission, unless no target could accept it or its plan has changed.
    pub(crate) async fn submit(
        &self,
        read: ReadProposal,
        conditions: &Conditions,
    ) -> Result<Taken, Declined> {
        let ReadProposal { submission, remarks } = read;
        let mut taken = self.take_in(Verb::Submit, submission, conditions).await?;
        if !taken.repeated {
            taken.warnings = bounded(remarks.into_iter().chain(taken.warnings).collect());
        }
        Ok(taken)
    }

    /// Stores a submission, in the name of a verb, under its conditions.
    pub(super) async fn take_in(
        &self,
        verb: Verb,
        submission: Box<Submission>,
        conditions: &Conditions,
    ) -> Result<Taken, Declined> {
        let (audience, request) = (submission.audience.clone(), submission.request);
        let macs = macs(&self.facts.proofs.keys(), &submission);
        // A known request is answered first, even if things have changed since.
        if let Some(flow) = self.submitted_before(&audience, request, macs.clone()).await? {
            self.check_same(flow, &macs).await?;
            return Ok(Taken { flow, repeated: true, warnings: Vec::new() });
        }
        let jobs: usize = submission.spec.slots.iter().map(|slot| slot.jobs.len()).sum();
        let (submission, warnings, allowed) = self.examine(submission, conditions).await?;
        let mac = macs.first().copied();
        let submission = Box::new(Submission { mac, ..*submission });
        let asked = Asked::by(audience.clone(), verb).under(&allowed);
        let make = Box::new(move |id| Input::FlowSubmitted { reply: ReplyTo::new(id), submission });
        let answer = self.ask(|reply| Ask::Change { asked, make, reply }).await;
        let answer = answer.map_err(|why| why.with_more(|| of_request(request)))?;
        let answer::Submitted { flow, repeated } =
            read_answer(answer)?.map_err(|rejection| rejected(&rejection))?;
        if repeated {
            // Two submissions with one request id came at once.
            self.check_same(flow, &macs).await?;
        }
        tracing::info!(%flow, %audience, jobs, repeated, "flow submitted");
        Ok(Taken { flow, repeated, warnings })
    }

    /// Compares a submission with what its targets offer, and with its plan.
    async fn examine(
        &self,
        submission: Box<Submission>,
        conditions: &Conditions,
    ) -> Result<(Box<Submission>, Vec<String>, Allowance), Declined> {
        let (submission, survey, allowed) = self.survey(submission).await?;
        self.check_bundles(&submission).await?;
        if let Some(refusal) = survey.refusal(conditions.same_score) {
            return Err(refused(&refusal));
        }
        let mut warnings = limit_remarks(&submission);
        warnings.extend(survey.warnings());
        let submission = Box::new(Submission {
            kept_params: kept_params(&submission.spec, &survey),
            ..*submission
        });
        let submission = match &conditions.plan {
            None => submission,
            Some(digest) => self.as_planned(submission, survey, digest).await?,
        };
        Ok((submission, warnings, allowed))
    }

    /// Returns what the targets of a submission offer, looked at off the runtime's threads, if its
    /// submitter may have it done, and under what they may.
    pub(crate) async fn survey(
        &self,
        submission: Box<Submission>,
    ) -> Result<(Box<Submission>, Survey, Allowance), Declined> {
        if let (Asker::Audience(by), Some(after)) =
            (&submission.audience, &submission.spec.start.after)
        {
            self.check_sees_flow(by, after.flow).await?;
        }
        let (inventory, policy) = (self.inventory.clone(), self.policy());
        let surveyed = off_the_runtime(move || {
            let allowed = check_submission(&policy, &submission)?;
            let Submission { spec, targets, params, .. } = &*submission;
            let survey = inventory.survey(spec, targets, params);
            Ok((submission, survey, allowed))
        });
        surveyed.await?.map_err(|denial: Denial| self.denied(&denial))
    }

    /// Returns the flow of a request that was taken, once it is on disk. While the store cannot be
    /// written, fails and says that the request is held.
    pub(crate) async fn submitted_before(
        &self,
        audience: &Asker,
        request: RequestId,
        macs: Vec<Mac>,
    ) -> Result<Option<FlowId>, Declined> {
        let audience = audience.clone();
        let found = self.ask(|reply| Ask::Submitted { audience, request, macs, reply }).await;
        found.map_err(|why| why.with_more(|| of_request(request)))
    }
}

/// Reads a submission, and resolves its host sets against `fleet`. This may take long.
fn read(
    proposal: Proposal,
    audience: AudienceName,
    fleet: &Fleet,
    most_tasks: u64,
) -> Result<ReadProposal, Declined> {
    let Proposal { request, spec, spec_bytes, params, unknown } = proposal;
    spec.check().map_err(|error| Declined::invalid(&error))?;
    let view = View::of(fleet, Some(&audience), Others::Some(HostSet::default()));
    let (targets, remarks) = resolve(&spec, &view, most_tasks, unknown)?;
    let trees = trees::resolve(&spec, &targets, fleet, &view)?;
    let params = read_params(params, &spec)?;
    let submission = Box::new(Submission {
        request,
        audience: audience.into(),
        by_keeper: false,
        spec,
        spec_bytes,
        targets,
        trees,
        params,
        kept_params: BTreeMap::new(),
        retry_of: None,
        mac: None,
        excess: Excess::Refused,
    });
    Ok(ReadProposal { submission, remarks })
}

/// Returns the parameters that may be kept after the flow's end, by slot and job.
fn kept_params(spec: &FlowSpec, survey: &Survey) -> BTreeMap<(u16, u16), Params> {
    let slots = (1..).zip(&spec.slots);
    let places = slots.flat_map(|(slot, of)| (1..).zip(&of.jobs).map(move |(job, _)| (slot, job)));
    let kept = places.zip(survey.harmless()).filter(|(_, params)| !params.is_empty());
    kept.map(|(place, params)| (place, params.clone())).collect()
}

/// Returns a text with the id of a held request, by which its submitter may ask again.
fn of_request(request: RequestId) -> String {
    format!(" (request {request})")
}

/// Returns the parameters of each job that has any, by slot and job.
fn read_params(
    jobs: Vec<ProposedParams>,
    spec: &FlowSpec,
) -> Result<BTreeMap<(u16, u16), Params>, Declined> {
    let mut params = BTreeMap::new();
    for ProposedParams { slot, job, values } in jobs {
        let place = place(spec, slot, job).ok_or_else(|| no_such_job(slot, job))?;
        if params.insert(place, values).is_some() {
            return Err(given_twice(slot, job));
        }
    }
    Ok(params)
}

/// Declines parameters of a job that does not exist.
pub(super) fn no_such_job(slot: u32, job: u32) -> Declined {
    let why = format!("parameters for job {slot}.{job}, which does not exist");
    Declined::new(Ground::Invalid, why)
}

/// Declines parameters that are given twice for a job.
pub(super) fn given_twice(slot: u32, job: u32) -> Declined {
    Declined::new(Ground::Invalid, format!("parameters of job {slot}.{job} are given twice"))
}

/// Returns slot and job as numbers, if there is such a job.
fn place(spec: &FlowSpec, slot: u32, job: u32) -> Option<(u16, u16)> {
    let index = |number: u32| usize::try_from(number).ok()?.checked_sub(1);
    spec.slots.get(index(slot)?)?.jobs.get(index(job)?)?;
    Some((u16::try_from(slot).ok()?, u16::try_from(job).ok()?))
}
