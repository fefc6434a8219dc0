//! `orc retry`: further attempts of a living flow's tasks, or a new flow of what an ended one has
//! left undone.

use std::{collections::BTreeMap, sync::Arc};

use orchestra_flow::{Input, Rejection, Submission, answer};
use orchestra_model::{
    AudienceName, FlowId, HostSet, JobId, Params, audit::Verb, delivery::RequestId,
    thresholds::Excess,
};
use orchestra_proto::{params_from_wire, v1};
use prost::Message as _;

use super::{
    Desk,
    refusal::{no_rest, rejected},
    submission::read_request_id,
};
use crate::{
    declined::{Declined, Ground},
    driver::{Asked, Request as Ask},
    history::{NoRest, Rest},
};

impl Desk {
    pub(crate) async fn retry_flow(
        &self,
        request: v1::RetryRequest,
        by: AudienceName,
    ) -> Result<v1::RetryResponse, Declined> {
        let id = read_request_id(&request.request_id)?;
        // Before anything else: `last`, and what is left, are not what they were the first time.
        if let Some(flow) = self.submitted_before(&by, id, Vec::new()).await? {
            let of = request.flow.as_ref().and_then(|of| match of.flow {
                Some(v1::flow_ref::Flow::Id(of)) => Some(FlowId(of)),
                _ => None,
            });
            self.check_same_retry(flow, of).await?;
            let status = self.status_of(flow).await?;
            let tasks = status.slots.iter().flatten().map(|job| job.counts.total()).sum();
            return Ok(v1::RetryResponse { flow: flow.0, tasks, repeated: true });
        }
        let flow = self.flow_id(request.flow, &by).await?;
        let job = self.named_job(flow, &request.job_name).await?;
        let hosts = match request.hosts.is_empty() {
            true => None,
            false => Some(self.players(request.hosts).await?),
        };
        match self.retry_living(flow, job, hosts.clone(), &by).await? {
            Some(tasks) => {
                tracing::info!(%flow, audience = %by, tasks, "retry requested");
                Ok(v1::RetryResponse { flow: flow.0, tasks, repeated: false })
            }
            None if hosts.is_some() => Err(Declined::new(
                Ground::Invalid,
                format!(
                    "flow {flow} has ended; a retry of it is of everything that is left, or of one \
                 job, not of single hosts"
                ),
            )),
            None => self.retry_ended(flow, job, request.params, by, id).await,
        }
    }

    /// How many tasks of a living flow get a further attempt; `None` where the flow is not alive.
    async fn retry_living(
        &self,
        flow: FlowId,
        job: Option<JobId>,
        hosts: Option<HostSet>,
        by: &AudienceName,
    ) -> Result<Option<u32>, Declined> {
        let make = move |reply| Input::RetryRequested { reply, flow, job, hosts };
        match self.try_change(Asked::by(by, Verb::Retry), make).await? {
            Ok(answer::Retried { tasks, .. }) => Ok(Some(tasks)),
            Err(Rejection::UnknownFlow(_)) => Ok(None),
            Err(rejection) => Err(rejected(&rejection)),
        }
    }

    async fn retry_ended(
        &self,
        flow: FlowId,
        job: Option<JobId>,
        params: Vec<v1::JobParams>,
        by: AudienceName,
        request: RequestId,
    ) -> Result<v1::RetryResponse, Declined> {
        let given = by_place(params)?;
        let fleet = Arc::clone(&self.fleet.borrow());
        // Its end may be on its way to the disk.
        self.ask(Ask::Settle).await?;
        let read =
            self.read(move |reader| match Rest::read(reader, flow, job, given, fleet.hosts()) {
                Err(NoRest::Read(cause)) => Err(cause),
                rest => Ok(rest),
            });
        let rest = read.await?.map_err(|why| no_rest(&why))?;
        rest.spec.check().map_err(|error| Declined::invalid(&error))?;
        let (tasks, gone) = (rest.tasks, rest.gone.clone());
        let submission = submission(rest, flow, by.clone(), request);
        let stored = self.take_in(Verb::Retry, Box::new(submission), false, "").await?;
        tracing::info!(
            %flow, new = stored.flow, audience = %by, tasks, gone = %gone, "ended flow retried"
        );
        Ok(v1::RetryResponse { flow: stored.flow, tasks, repeated: stored.repeated })
    }
}

fn submission(rest: Rest, flow: FlowId, audience: AudienceName, request: RequestId) -> Submission {
    let Rest { spec, targets, params, .. } = rest;
    Submission {
        request,
        audience,
        spec_bytes: v1::FlowSpec::from(&spec).encode_to_vec().into(),
        spec,
        targets,
        params,
        retry_of: Some(flow),
        mac: None,
        // The limits were made for all that the old flow had.
        excess: Excess::Capped,
    }
}

/// Parameters by the places of jobs; which jobs there are is looked at later.
fn by_place(jobs: Vec<v1::JobParams>) -> Result<BTreeMap<(u16, u16), Params>, Declined> {
    let mut params = BTreeMap::new();
    for v1::JobParams { slot, job, values } in jobs {
        let place = u16::try_from(slot).ok().zip(u16::try_from(job).ok()).ok_or_else(|| {
            Declined::new(
                Ground::Invalid,
                format!("parameters for job {slot}.{job}, which does not exist"),
            )
        })?;
        let values = params_from_wire(values).map_err(|error| Declined::invalid(&error))?;
        if params.insert(place, values).is_some() {
            let message = format!("parameters of job {slot}.{job} are given twice");
            return Err(Declined::new(Ground::Invalid, message));
        }
    }
    Ok(params)
}
