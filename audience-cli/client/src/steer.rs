//! What plans, steers and explains flows, and what limits them together.

use bytes::Bytes;
use orchestra_model::{
    ids::{FlowId, Reference},
    ledger::Explanation,
    names::{DeploymentName, JobName},
    params::Params,
    state::FlowState,
};
use orchestra_proto::{Planned, v1, v1::audience_client::AudienceClient};
use tonic::transport::Channel;

use super::{
    Client, Pages, SUBMIT, Wanted, answered, check_size, flow_ref, invalid, params, place,
    request_id, shown, spec_bytes,
};
use crate::error::Failure;

/// Why a flow, or a part of it, is where it is.
#[derive(Debug)]
pub struct Explained {
    /// The flow.
    pub flow: FlowId,
    /// Where it is.
    pub state: FlowState,
    /// Why.
    pub explanations: Vec<Explanation>,
}

/// Tasks to run again.
#[derive(Debug)]
pub struct RetryOf {
    /// The flow.
    pub flow: FlowId,
    /// Whether it has ended, so that a new one is made.
    pub ended: bool,
    /// One job; `None` for all.
    pub job: Option<JobName>,
    /// A host set; empty for all.
    pub hosts: String,
    /// By slot and job from 1.
    pub params: Vec<(u32, u32, Params)>,
}

impl Client {
    /// What a submission would do.
    pub async fn plan(&mut self, wanted: &Wanted) -> Result<Planned, Failure> {
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

    /// Why something is where it is, now.
    pub async fn explain(&mut self, reference: &Reference) -> Result<Explained, Failure> {
        let what = format!("explaining flow {}", shown(reference.flow));
        let (slot, job, job_name) = place(&reference.part);
        let request = v1::ExplainRequest {
            flow: Some(flow_ref(reference.flow)),
            slot,
            job,
            job_name,
            host: reference.host.as_ref().map(ToString::to_string).unwrap_or_default(),
        };
        let answer = answered(&what, self.rpc.explain(request)).await?;
        let explanations = answer.explanations.into_iter().map(TryInto::try_into);
        Ok(Explained {
            flow: FlowId(answer.flow),
            state: state(&what, &answer.state)?,
            explanations: explanations
                .collect::<Result<_, _>>()
                .map_err(|error| invalid(&what, error))?,
        })
    }

    /// Cancels a flow; returns which, and its state then. So do the next ones.
    pub async fn cancel(
        &mut self,
        flow: Option<FlowId>,
        abandon: bool,
    ) -> Result<(FlowId, FlowState), Failure> {
        let what = format!("cancelling flow {}", shown(flow));
        let request = v1::CancelRequest { flow: Some(flow_ref(flow)), abandon };
        let answer = answered(&what, self.rpc.cancel(request)).await?;
        Ok((FlowId(answer.flow), state(&what, &answer.state)?))
    }

    /// Lets nothing new of a flow start.
    pub async fn pause(&mut self, flow: Option<FlowId>) -> Result<(FlowId, FlowState), Failure> {
        let what = format!("pausing flow {}", shown(flow));
        let request = v1::PauseRequest { flow: Some(flow_ref(flow)) };
        changed(&what, &answered(&what, self.rpc.pause(request)).await?)
    }

    /// Lets a paused flow go on.
    pub async fn resume(&mut self, flow: Option<FlowId>) -> Result<(FlowId, FlowState), Failure> {
        let what = format!("resuming flow {}", shown(flow));
        let request = v1::ResumeRequest { flow: Some(flow_ref(flow)) };
        changed(&what, &answered(&what, self.rpc.resume(request)).await?)
    }

    /// Has the other tasks of a job, or of all, wait for its canary no more.
    pub async fn promote(
        &mut self,
        flow: Option<FlowId>,
        job: Option<&JobName>,
    ) -> Result<(FlowId, FlowState), Failure> {
        let what = format!("promoting flow {}", shown(flow));
        let job_name = job.map(ToString::to_string).unwrap_or_default();
        let request = v1::PromoteRequest { flow: Some(flow_ref(flow)), job_name };
        changed(&what, &answered(&what, self.rpc.promote(request)).await?)
    }

    /// Runs again what ended and is not ok.
    pub async fn retry(&mut self, retry: &RetryOf) -> Result<v1::RetryResponse, Failure> {
        let what = format!("retrying flow {}", retry.flow);
        let id = request_id()?;
        let request = v1::RetryRequest {
            request_id: Bytes::copy_from_slice(&id.0),
            flow: Some(flow_ref(Some(retry.flow))),
            job_name: retry.job.as_ref().map(ToString::to_string).unwrap_or_default(),
            hosts: retry.hosts.clone(),
            params: params(&retry.params),
        };
        check_size(&what, &request)?;
        if retry.ended {
            // The request's id makes it one new flow, however often it arrives.
            let retry = async |rpc: &mut AudienceClient<Channel>| rpc.retry(request.clone()).await;
            return self.until_answered(&what, id, SUBMIT, retry).await;
        }
        // Sent again, it could give a task a second attempt that nobody asked for.
        answered(&what, self.rpc.retry(request)).await
    }

    /// Lets nothing new start on players.
    pub async fn drain(
        &mut self,
        hosts: String,
        reason: String,
    ) -> Result<v1::DrainResponse, Failure> {
        let request = v1::DrainRequest { hosts, reason };
        answered("draining players", self.rpc.drain(request)).await
    }

    /// Lets drained players work again.
    pub async fn undrain(&mut self, hosts: String) -> Result<v1::DrainResponse, Failure> {
        answered("undraining players", self.rpc.undrain(v1::UndrainRequest { hosts })).await
    }

    /// Goes on with quarantined players.
    pub async fn release_players(
        &mut self,
        hosts: String,
        reason: String,
    ) -> Result<v1::ReleasePlayersResponse, Failure> {
        let request = v1::ReleasePlayersRequest { hosts, reason };
        answered("releasing players from quarantine", self.rpc.release_players(request)).await
    }

    /// The cells of one deployment or of all; `busy`: only those that somebody holds or waits for.
    pub async fn ledger(
        &mut self,
        deployment: Option<&DeploymentName>,
        busy: bool,
    ) -> Result<Pages<v1::LedgerPage>, Failure> {
        let what = "listing the ledger".to_owned();
        let deployment = deployment.map(ToString::to_string).unwrap_or_default();
        let request = v1::ListLedgerRequest { deployment, busy };
        let stream = answered(&what, self.rpc.list_ledger(request)).await?;
        Ok(Pages::new(stream, what))
    }

    /// Ends holds of hosts that count as down.
    pub async fn release(
        &mut self,
        hosts: String,
        reason: String,
    ) -> Result<v1::ReleaseHoldsResponse, Failure> {
        let request = v1::ReleaseHoldsRequest { hosts, reason };
        answered("releasing hosts", self.rpc.release_holds(request)).await
    }

    /// The deployments in force, or the one of this name with its canonical form.
    pub async fn deployments(
        &mut self,
        name: Option<&DeploymentName>,
    ) -> Result<Pages<v1::DeploymentPage>, Failure> {
        let what = match name {
            Some(name) => format!("asking for deployment {name}"),
            None => "listing deployments".to_owned(),
        };
        let name = name.map(ToString::to_string).unwrap_or_default();
        let request = v1::ListDeploymentsRequest { name };
        let stream = answered(&what, self.rpc.list_deployments(request)).await?;
        Ok(Pages::new(stream, what))
    }
}

fn changed(what: &str, answer: &v1::FlowChanged) -> Result<(FlowId, FlowState), Failure> {
    Ok((FlowId(answer.flow), state(what, &answer.state)?))
}

fn state(what: &str, word: &str) -> Result<FlowState, Failure> {
    FlowState::from_word(word)
        .ok_or_else(|| Failure::broken(format!("{what}: the answer has an unknown state")))
}
