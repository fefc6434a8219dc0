//! Submitting flows, and planning them.

use std::time::Duration;

use bytes::Bytes;
use orchestra_model::{delivery::RequestId, flow::FlowSpec, ids::FlowId, params::Params};

use orchestra_proto::{Planned, v1, v1::audience_client::AudienceClient};
use tokio::time::{Instant, timeout_at};
use tonic::{Response, Status, transport::Channel};

use crate::{
    Backoff, Client, FailureRemedy, Submitted,
    backoff::random,
    client::{answered, check_size, invalid, params, spec_bytes},
    exit::Exit,
    failure::Failure,
    refusal::{failure, is_held, is_lost},
};

/// How long a submission is sent again after its connection was lost.
pub(crate) const SUBMIT: Duration = Duration::from_secs(60);

/// A flow, and the parameters of those of its jobs that have some.
#[derive(Debug)]
pub struct FlowToSubmit {
    /// The spec, which its maker has checked.
    pub spec: FlowSpec,
    /// By slot and job, each counted from 1.
    pub params: Vec<(u32, u32, Params)>,
}

/// A submission, and the conditions that it is made under.
#[derive(Debug)]
pub struct ConditionalSubmission {
    pub submission: FlowToSubmit,
    /// Whether the conductor is to refuse it unless all targets offer one version of their score.
    pub require_same_score: bool,
    /// Whether the conductor is to leave out unknown names instead of refusing them.
    pub allow_unknown: bool,
    /// If given, the conductor refuses it unless a plan made now has this digest.
    pub if_plan: Option<String>,
    /// The request's id, if an earlier request is repeated.
    pub request: Option<RequestId>,
}

impl Client {
    /// Submits under one request id, however often the request must be sent, and for at most
    /// `patience` if that is given.
    pub async fn submit(
        &mut self,
        wanted: &ConditionalSubmission,
        patience: Option<Duration>,
    ) -> Result<Submitted, Failure> {
        const WHAT: &str = "submitting the flow";
        let id = match wanted.request {
            Some(id) => id,
            None => request_id()?,
        };
        let request = v1::SubmitRequest {
            request_id: Bytes::copy_from_slice(&id.0),
            spec: spec_bytes(&wanted.submission),
            params: params(&wanted.submission.params),
            require_same_score: wanted.require_same_score,
            if_plan: wanted.if_plan.clone().unwrap_or_default(),
            allow_unknown: wanted.allow_unknown,
        };
        check_size(WHAT, &request)?;
        let patience = patience.map_or(SUBMIT, |patience| patience.min(SUBMIT));
        let submit = async |rpc: &mut AudienceClient<Channel>| rpc.submit(request.clone()).await;
        Ok(self.until_answered(WHAT, id, patience, submit).await?.into())
    }

    /// Sends a request again until it is answered. The request must have one effect, however often
    /// it arrives.
    pub(crate) async fn until_answered<T>(
        &mut self,
        what: &str,
        request: RequestId,
        patience: Duration,
        ask: impl AsyncFn(&mut AudienceClient<Channel>) -> Result<Response<T>, Status>,
    ) -> Result<T, Failure> {
        let deadline = Instant::now() + patience;
        let mut backoff = Backoff::new();
        loop {
            let lost = match timeout_at(deadline, ask(&mut self.rpc)).await {
                Ok(Ok(response)) => return Ok(response.into_inner()),
                Ok(Err(status)) if is_lost(&status) => failure(what, &status),
                Ok(Err(status)) if is_held(&status) => {
                    return Err(failure(what, &status)
                        .with(FailureRemedy::AskAgain { request, held: true }));
                }
                Ok(Err(status)) => return Err(failure(what, &status)),
                Err(_) => {
                    Failure::new(Exit::Away, format!("{what}: no answer within {patience:?}"))
                }
            };
            if !backoff.pause(Some(deadline)).await || self.reconnect(Some(deadline)).await.is_err()
            {
                return Err(lost.with(FailureRemedy::AskAgain { request, held: false }));
            }
        }
    }

    /// Returns the flow that an earlier request of the caller became.
    pub async fn submitted(&mut self, request: RequestId) -> Result<FlowId, Failure> {
        let what = format!("asking for request {request}");
        let flow = v1::flow_ref::Flow::Request(Bytes::copy_from_slice(&request.0));
        let asked = v1::GetFlowRequest { flow: Some(v1::FlowRef { flow: Some(flow) }) };
        let status = answered(&what, self.rpc.get_flow(asked)).await?;
        Ok(FlowId(status.summary.map_or(0, |summary| summary.id)))
    }

    /// Plans a submission: returns what it would do.
    pub async fn plan(&mut self, wanted: &ConditionalSubmission) -> Result<Planned, Failure> {
        const WHAT: &str = "planning the flow";
        let request = v1::PlanRequest {
            spec: spec_bytes(&wanted.submission),
            params: params(&wanted.submission.params),
            require_same_score: wanted.require_same_score,
            allow_unknown: wanted.allow_unknown,
        };
        check_size(WHAT, &request)?;
        let answer = answered(WHAT, self.rpc.plan(request)).await?;
        answer.try_into().map_err(|error| invalid(WHAT, error))
    }
}

pub(crate) fn request_id() -> Result<RequestId, Failure> {
    let mut id = RequestId([0; 16]);
    random(&mut id.0)?;
    Ok(id)
}
