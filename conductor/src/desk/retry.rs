//! Retries: further attempts of a living flow's tasks, or a new flow of what an ended one has left
//! undone.

use std::{collections::BTreeMap, sync::Arc};

use orchestra_flow::{Input, Rejection, Submission, answer};
use orchestra_model::{
    AudienceName, FlowId, HostSet, JobId, Params, audit::Verb, delivery::RequestId, names::JobName,
    policy::Right, thresholds::Excess,
};

use super::{
    Desk, ProposedParams, WhichFlow,
    refusal::{no_rest, rejected},
    submission::{Conditions, given_twice, no_such_job, trees::group},
};
use crate::{
    declined::{Declined, Ground},
    driver::{Asked, Request as Ask},
    fleet::Fleet,
    history::{self, NoRest, Rest},
};

/// What is to be tried again.
#[derive(Debug)]
pub(crate) struct WantedRetry {
    /// Retries with the same id are one.
    pub(crate) request: RequestId,
    pub(crate) flow: WhichFlow,
    /// One job of the flow; `None` for all.
    pub(crate) job: Option<JobName>,
    /// Some of the hosts, as a host set; `None` for all.
    pub(crate) hosts: Option<String>,
    /// The parameters again, if the flow has ended.
    pub(crate) params: Vec<ProposedParams>,
}

/// What came of a retry.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FurtherAttempts {
    /// The flow of the further attempts: the old one or a new one.
    pub(crate) flow: FlowId,
    pub(crate) tasks: u32,
    /// Whether the request was known already. Then this is what came of it the first time.
    pub(crate) repeated: bool,
}

impl Desk {
    /// Tries again what is left of a flow.
    pub(crate) async fn retry(
        &self,
        wanted: WantedRetry,
        by: AudienceName,
    ) -> Result<FurtherAttempts, Declined> {
        let WantedRetry { request, flow, job, hosts, params } = wanted;
        // A known request is answered first, because `last` and what is left may have changed since
        // the first time.
        if let Some(known) = self.submitted_before(&(&by).into(), request, Vec::new()).await? {
            let of = match flow {
                WhichFlow::Id(of) => Some(of),
                WhichFlow::Last | WhichFlow::Request(_) => None,
            };
            self.check_same_retry(known, of).await?;
            let status = self.status_of(known).await?;
            let tasks = status.slots.iter().flatten().map(|job| job.counts.total()).sum();
            return Ok(FurtherAttempts { flow: known, tasks, repeated: true });
        }
        let flow = self.flow_id(flow, &by).await?;
        let job = self.named_job(flow, job).await?;
        let hosts = match hosts {
            None => None,
            Some(hosts) => Some(self.players(hosts, &by).await?),
        };
        let mut asked = Asked::by(&by, Verb::Retry);
        if !self.status_of(flow).await?.summary.state.is_final() {
            // That flow itself changes. What is left of an ended one becomes a flow of who retries.
            let of = (job, hosts.as_ref());
            let allowed = self.check_flow_right(&by, Right::Do(Verb::Submit), flow, of).await?;
            asked = asked.under(&allowed);
        }
        match self.retry_living(flow, job, hosts.clone(), asked).await? {
            Some(tasks) => {
                tracing::info!(%flow, audience = %by, tasks, "retry requested");
                Ok(FurtherAttempts { flow, tasks, repeated: false })
            }
            None if hosts.is_some() => Err(Declined::new(
                Ground::Invalid,
                format!(
                    "flow {flow} has ended; a retry of it is of everything that is left, or of one \
                     job, not of single hosts"
                ),
            )),
            None => self.retry_ended(flow, job, params, by, request).await,
        }
    }

    /// Returns how many tasks of a living flow get a further attempt; `None` if the flow is not
    /// alive.
    async fn retry_living(
        &self,
        flow: FlowId,
        job: Option<JobId>,
        hosts: Option<HostSet>,
        asked: Asked,
    ) -> Result<Option<u32>, Declined> {
        let make = move |reply| Input::RetryRequested { reply, flow, job, hosts };
        match self.try_change(asked, make).await? {
            Ok(answer::Retried { tasks, .. }) => Ok(Some(tasks)),
            Err(Rejection::UnknownFlow(_)) => Ok(None),
            Err(rejection) => Err(rejected(&rejection)),
        }
    }

    async fn retry_ended(
        &self,
        flow: FlowId,
        job: Option<JobId>,
        params: Vec<ProposedParams>,
        by: AudienceName,
        request: RequestId,
    ) -> Result<FurtherAttempts, Declined> {
        let given = by_place(params)?;
        let fleet = Arc::clone(&self.fleet.borrow());
        let players = Arc::clone(&fleet);
        // The flow's end may be on its way to the disk.
        self.ask(Ask::Settle).await?;
        let read =
            self.read(move |reader| match Rest::read(reader, flow, job, given, players.hosts()) {
                Err(NoRest::Read(cause)) => Err(cause),
                rest => Ok(rest),
            });
        let rest = read.await?.map_err(|why| no_rest(&why))?;
        rest.spec.check().map_err(|error| Declined::invalid(&error))?;
        let (tasks, gone) = (rest.tasks, rest.gone.clone());
        let submission = submission(rest, flow, by.clone(), request, &fleet);
        let stored =
            self.take_in(Verb::Retry, Box::new(submission), &Conditions::default()).await?;
        tracing::info!(
            %flow, new = stored.flow.0, audience = %by, tasks, gone = %gone, "ended flow retried"
        );
        Ok(FurtherAttempts { flow: stored.flow, tasks, repeated: stored.repeated })
    }
}

fn submission(
    rest: Rest,
    flow: FlowId,
    audience: AudienceName,
    request: RequestId,
    fleet: &Fleet,
) -> Submission {
    let Rest { spec, targets, trees, params, .. } = rest;
    Submission {
        request,
        audience: audience.into(),
        by_keeper: false,
        spec_bytes: history::spec_bytes(&spec),
        trees: group(&spec, &targets, trees, fleet),
        spec,
        targets,
        params,
        kept_params: BTreeMap::new(),
        retry_of: Some(flow),
        mac: None,
        // The limits were made for all hosts of the old flow.
        excess: Excess::Capped,
    }
}

/// Returns parameters by slot and job. Whether there are such jobs is checked later.
fn by_place(jobs: Vec<ProposedParams>) -> Result<BTreeMap<(u16, u16), Params>, Declined> {
    let mut params = BTreeMap::new();
    for ProposedParams { slot, job, values } in jobs {
        let place = u16::try_from(slot).ok().zip(u16::try_from(job).ok());
        let place = place.ok_or_else(|| no_such_job(slot, job))?;
        if params.insert(place, values).is_some() {
            return Err(given_twice(slot, job));
        }
    }
    Ok(params)
}
