//! Flows: their status, and verbs for them.

use bytes::Bytes;
use orchestra_model::{
    flow_filter::FlowFilter,
    ids::{FlowId, Reference},
    ledger::Explanation,
    names::{HostName, JobName},
    params::Params,
    state::{FlowState, TaskState},
    status::FlowStatus,
};
use orchestra_proto::{HeardOutputs, v1, v1::audience_client::AudienceClient};
use tonic::transport::Channel;

use crate::{
    Attempts, Client, Pages, Retried, Tasks,
    client::{answered, check_size, flow_ref, invalid, params, place, shown},
    failure::Failure,
    submit::{SUBMIT, request_id},
};

/// What selects tasks of a flow.
#[derive(Clone, Debug, Default)]
pub struct TaskFilter {
    /// One slot, from 1; 0 for all.
    pub slot: u16,
    /// One job of the slot, from 1; 0 for all.
    pub job: u16,
    /// One host; `None` for all.
    pub host: Option<HostName>,
    /// Only tasks in one of these states; empty for all.
    pub states: Vec<TaskState>,
    /// Whether outputs and responses are told too.
    pub ends: bool,
    /// Whether the last line of standard error is told of what did not end ok.
    pub last_lines: bool,
}

/// Why a flow, or a part of it, is in its state.
#[derive(Debug)]
pub struct Explained {
    pub flow: FlowId,
    pub state: FlowState,
    pub explanations: Vec<Explanation>,
}

/// Tasks to run again.
#[derive(Debug)]
pub struct RetryOf {
    pub flow: FlowId,
    /// Whether the flow has ended, so that a new one is made.
    pub ended: bool,
    /// One job; `None` for all.
    pub job: Option<JobName>,
    /// A host set; empty for all.
    pub hosts: String,
    /// By slot and job, each counted from 1.
    pub params: Vec<(u32, u32, Params)>,
}

impl Client {
    /// Returns the status of a flow.
    pub async fn flow(&mut self, flow: Option<FlowId>) -> Result<FlowStatus, Failure> {
        let what = format!("asking for flow {}", shown(flow));
        let request = v1::GetFlowRequest { flow: Some(flow_ref(flow)) };
        let status = answered(&what, self.rpc.get_flow(request)).await?;
        status.try_into().map_err(|error| invalid(&what, error))
    }

    /// Lists the tasks of a flow that pass the filter: job after job, in the order of their hosts.
    pub async fn tasks(&mut self, flow: FlowId, filter: &TaskFilter) -> Result<Tasks, Failure> {
        let request = v1::ListTasksRequest {
            flow: Some(flow_ref(Some(flow))),
            slot: filter.slot.into(),
            job: filter.job.into(),
            job_name: String::new(),
            host: filter.host.as_ref().map(ToString::to_string).unwrap_or_default(),
            states: filter.states.iter().map(ToString::to_string).collect(),
            ends: filter.ends,
            last_lines: filter.last_lines,
            shared_outputs: filter.ends,
        };
        let what = format!("listing the tasks of flow {flow}");
        let stream = answered(&what, self.rpc.list_tasks(request)).await?;
        let mut heard = HeardOutputs::default();
        Ok(Pages::new(stream, what).prepared(move |page| heard.restore(page)))
    }

    /// Lists what did not end ok of a flow, folded by job, state and cause. Of the filter only slot and
    /// job count.
    pub async fn failures(
        &mut self,
        flow: FlowId,
        filter: &TaskFilter,
    ) -> Result<Pages<v1::FailurePage>, Failure> {
        let request = v1::ListFailuresRequest {
            flow: Some(flow_ref(Some(flow))),
            slot: filter.slot.into(),
            job: filter.job.into(),
            job_name: String::new(),
        };
        let what = format!("listing the failures of flow {flow}");
        let stream = answered(&what, self.rpc.list_failures(request)).await?;
        Ok(Pages::new(stream, what))
    }

    /// Lists at most `limit` of the flows that pass, newest first. A limit of 0 stands for the
    /// conductor's own.
    pub async fn flows(
        &mut self,
        filter: &FlowFilter,
        limit: u32,
    ) -> Result<Pages<v1::FlowPage>, Failure> {
        let what = "listing flows".to_owned();
        let request = v1::ListFlowsRequest::of(filter, limit);
        let stream = answered(&what, self.rpc.list_flows(request)).await?;
        let pages = Pages::new(stream, what);
        // Every release knows `alive`.
        let known = FlowFilter { alive: filter.alive, ..FlowFilter::default() };
        Ok(if *filter == known { pages } else { pages.demanding(|page| page.filtered) })
    }

    /// Lists the ends of the attempts of the tasks that a reference names.
    pub async fn logs(&mut self, reference: &Reference) -> Result<Attempts, Failure> {
        let (slot, job, job_name) = place(&reference.part);
        let request = v1::GetLogsRequest {
            flow: Some(flow_ref(reference.flow)),
            slot,
            job,
            job_name,
            host: reference.host.as_ref().map(ToString::to_string).unwrap_or_default(),
        };
        let what = format!("asking for output of flow {}", shown(reference.flow));
        let stream = answered(&what, self.rpc.get_logs(request)).await?;
        Ok(Pages::new(stream, what))
    }

    /// Explains why something is in its present state.
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

    /// Cancels a flow. A reason may be empty. Returns its number, and its state after that.
    pub async fn cancel(
        &mut self,
        flow: Option<FlowId>,
        reason: &str,
        abandon: bool,
    ) -> Result<(FlowId, FlowState), Failure> {
        let what = format!("cancelling flow {}", shown(flow));
        let request =
            v1::CancelRequest { flow: Some(flow_ref(flow)), abandon, reason: reason.to_owned() };
        let answer = answered(&what, self.rpc.cancel(request)).await?;
        Ok((FlowId(answer.flow), state(&what, &answer.state)?))
    }

    /// Pauses a flow: nothing new of it starts. Returns its number, and its state after that.
    pub async fn pause(&mut self, flow: Option<FlowId>) -> Result<(FlowId, FlowState), Failure> {
        let what = format!("pausing flow {}", shown(flow));
        let request = v1::PauseRequest { flow: Some(flow_ref(flow)) };
        changed(&what, &answered(&what, self.rpc.pause(request)).await?)
    }

    /// Resumes a paused flow. Returns its number, and its state after that.
    pub async fn resume(&mut self, flow: Option<FlowId>) -> Result<(FlowId, FlowState), Failure> {
        let what = format!("resuming flow {}", shown(flow));
        let request = v1::ResumeRequest { flow: Some(flow_ref(flow)) };
        changed(&what, &answered(&what, self.rpc.resume(request)).await?)
    }

    /// Promotes the canary of a job, or of all jobs: the other tasks do not wait for it any more.
    /// Returns the flow's number, and its state after that.
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
    pub async fn retry(&mut self, retry: &RetryOf) -> Result<Retried, Failure> {
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
            // By the request's id only one new flow is made, however often the request arrives.
            let retry = async |rpc: &mut AudienceClient<Channel>| rpc.retry(request.clone()).await;
            return Ok(self.until_answered(&what, id, SUBMIT, retry).await?.into());
        }
        // The request is sent once, because a second one could give a task a second further
        // attempt.
        Ok(answered(&what, self.rpc.retry(request)).await?.into())
    }
}

fn changed(what: &str, answer: &v1::FlowChanged) -> Result<(FlowId, FlowState), Failure> {
    Ok((FlowId(answer.flow), state(what, &answer.state)?))
}

fn state(what: &str, word: &str) -> Result<FlowState, Failure> {
    FlowState::from_word(word)
        .ok_or_else(|| Failure::broken(format!("{what}: the answer has an unknown state")))
}
