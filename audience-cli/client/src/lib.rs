//! The audience as a library: connects to a conductor, asks, and turns answers into the model.
//!
//! What is promised here:
//!
//! - The first connection is tried for `--connect-timeout`, every conductor in turn, with
//!   backoff; a refusal that another attempt cannot change ends it at once.
//! - A submission that may have been lost is sent again with the same request id, so that it is
//!   one flow however often it travels.
//! - Lists come page by page and are not collected here.
//!
//! Left to callers: what to do when a stream breaks.

pub mod config;
pub mod error;
pub mod exit;
mod pages;
mod retry;
mod status;
mod steer;
mod submission;
mod watch;

use std::time::Duration;

use bytes::Bytes;
use orchestra_certs::{ConnectError, Credentials, LoadError, Refused, channel_to};
use orchestra_model::{
    delivery::RequestId,
    ids::{FlowId, Part, Reference},
    limits,
    names::HostName,
    params::Params,
    state::TaskState,
    status::{ConductorStatus, FlowStatus},
};
use orchestra_proto::{Invalid, params_to_wire, v1, v1::audience_client::AudienceClient};
use prost::Message as _;
use tokio::time::{Instant, timeout, timeout_at};
use tonic::{Response, Status, transport::Channel};

use crate::{config::Connection, error::Failure, exit::Exit};

pub use pages::{AttemptLog, Page, Pages};
pub use retry::Backoff;
use retry::random;
use status::{failure, is_held, is_lost};
pub use steer::{Explained, RetryOf};
pub use submission::{Submission, Wanted};
pub use watch::{Cursor, Heard, Unheard, Watch};

/// How long a single question may take. Whoever asks more than this of a conductor learns that
/// nothing is known.
const ANSWER: Duration = Duration::from_secs(60);

/// How long a submission is sent again for, once a connection existed.
const SUBMIT: Duration = Duration::from_secs(60);

/// Longest single attempt to connect, where there is more time than that.
const ATTEMPT: Duration = Duration::from_secs(10);

/// A connection to a conductor, made again when asked.
pub struct Client {
    connection: Connection,
    credentials: Credentials,
    rpc: AudienceClient<Channel>,
}

/// Which flow: by number, or the newest of ours.
pub fn flow_ref(flow: Option<FlowId>) -> v1::FlowRef {
    use v1::flow_ref::Flow;
    v1::FlowRef { flow: Some(flow.map_or(Flow::Last(true), |id| Flow::Id(id.0))) }
}

/// Which tasks of a flow.
#[derive(Clone, Debug, Default)]
pub struct TaskFilter {
    /// One slot, from 1; 0 for all.
    pub slot: u16,
    /// One job of the slot, from 1; 0 for all.
    pub job: u16,
    /// One host; `None` for all.
    pub host: Option<HostName>,
    /// Only these states; empty for all.
    pub states: Vec<TaskState>,
    /// With outputs and responses.
    pub ends: bool,
}

impl Client {
    /// Connects, trying for the connection's timeout.
    pub async fn connect(connection: Connection) -> Result<Self, Failure> {
        let credentials = load(&connection)?;
        let deadline = Instant::now() + connection.connect_timeout.to_std();
        let channel = dial(&connection, &credentials, Some(deadline)).await?;
        Ok(Self { connection, credentials, rpc: client(channel) })
    }

    /// Connects anew, trying until the deadline; for ever where there is none.
    pub async fn reconnect(&mut self, deadline: Option<Instant>) -> Result<(), Failure> {
        // Whoever waits for days may have a renewed certificate by now, or a newer revocation list.
        if let Ok(credentials) = load(&self.connection) {
            self.credentials = credentials;
        }
        self.rpc = client(dial(&self.connection, &self.credentials, deadline).await?);
        Ok(())
    }

    /// Submits under one request id, however often it must be sent.
    /// Within `patience`, where it is given.
    pub async fn submit(
        &mut self,
        wanted: &Wanted,
        patience: Option<Duration>,
    ) -> Result<v1::SubmitResponse, Failure> {
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
        self.until_answered(WHAT, id, patience, async |rpc| rpc.submit(request.clone()).await).await
    }

    /// Asks what has the same effect however often it arrives, until it is answered.
    async fn until_answered<T>(
        &mut self,
        what: &str,
        request: RequestId,
        patience: Duration,
        ask: impl AsyncFn(&mut AudienceClient<Channel>) -> Result<Response<T>, Status>,
    ) -> Result<T, Failure> {
        let deadline = Instant::now() + patience;
        let again = |why: &str| format!("{why}: submitjob --request-id {request}");
        let mut backoff = Backoff::new();
        loop {
            let lost = match timeout_at(deadline, ask(&mut self.rpc)).await {
                Ok(Ok(response)) => return Ok(response.into_inner()),
                Ok(Err(status)) if is_lost(&status) => failure(what, &status),
                Ok(Err(status)) if is_held(&status) => {
                    let hint = again("it is taken once there is space; ask whether it is");
                    return Err(failure(what, &status).hint(hint));
                }
                Ok(Err(status)) => return Err(failure(what, &status)),
                Err(_) => {
                    Failure::new(Exit::Away, format!("{what}: no answer within {patience:?}"))
                }
            };
            let unknown = |failure: Failure| {
                failure.hint(again("it may have been accepted all the same; ask whether it was"))
            };
            if !backoff.pause(Some(deadline)).await {
                return Err(unknown(lost));
            }
            if self.reconnect(Some(deadline)).await.is_err() {
                return Err(unknown(lost));
            }
        }
    }

    /// The flow of a request of ours.
    pub async fn submitted(&mut self, request: RequestId) -> Result<FlowId, Failure> {
        let what = format!("asking for request {request}");
        let flow = v1::flow_ref::Flow::Request(Bytes::copy_from_slice(&request.0));
        let asked = v1::GetFlowRequest { flow: Some(v1::FlowRef { flow: Some(flow) }) };
        let status = answered(&what, self.rpc.get_flow(asked)).await?;
        Ok(FlowId(status.summary.map_or(0, |summary| summary.id)))
    }

    /// Where a flow stands.
    pub async fn flow(&mut self, flow: Option<FlowId>) -> Result<FlowStatus, Failure> {
        let what = format!("asking for flow {}", shown(flow));
        let request = v1::GetFlowRequest { flow: Some(flow_ref(flow)) };
        let status = answered(&what, self.rpc.get_flow(request)).await?;
        status.try_into().map_err(|error| invalid(&what, error))
    }

    /// The tasks of a flow that pass the filter: job after job, in the order of their hosts.
    pub async fn tasks(
        &mut self,
        flow: FlowId,
        filter: &TaskFilter,
    ) -> Result<Pages<v1::TaskPage>, Failure> {
        let request = v1::ListTasksRequest {
            flow: Some(flow_ref(Some(flow))),
            slot: filter.slot.into(),
            job: filter.job.into(),
            job_name: String::new(),
            host: filter.host.as_ref().map(ToString::to_string).unwrap_or_default(),
            states: filter.states.iter().map(ToString::to_string).collect(),
            ends: filter.ends,
        };
        let what = format!("listing the tasks of flow {flow}");
        let stream = answered(&what, self.rpc.list_tasks(request)).await?;
        Ok(Pages::new(stream, what))
    }

    /// The newest flows first; 0 is the conductor's own limit.
    pub async fn flows(&mut self, limit: u32, alive: bool) -> Result<Pages<v1::FlowPage>, Failure> {
        let what = "listing flows".to_owned();
        let request = v1::ListFlowsRequest { limit, alive };
        let stream = answered(&what, self.rpc.list_flows(request)).await?;
        Ok(Pages::new(stream, what))
    }

    /// The players of a host set; empty is all.
    pub async fn players(
        &mut self,
        hosts: &str,
        scores: bool,
    ) -> Result<Pages<v1::PlayerPage>, Failure> {
        let what = "listing players".to_owned();
        let request = v1::ListPlayersRequest { hosts: hosts.to_owned(), scores };
        let stream = answered(&what, self.rpc.list_players(request)).await?;
        Ok(Pages::new(stream, what))
    }

    /// How the attempts of one task, or of the tasks that a reference names, ended.
    pub async fn logs(&mut self, reference: &Reference) -> Result<Pages<v1::AttemptLog>, Failure> {
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

    /// What may stand after an `@` in a host set.
    pub async fn groups(&mut self) -> Result<Pages<v1::GroupPage>, Failure> {
        let what = "listing groups".to_owned();
        let stream = answered(&what, self.rpc.list_groups(v1::ListGroupsRequest {})).await?;
        Ok(Pages::new(stream, what))
    }

    /// Resolves a host set with groups and labels; folded.
    pub async fn resolve(&mut self, hosts: &str) -> Result<String, Failure> {
        let request = v1::ResolveHostsRequest { hosts: hosts.to_owned() };
        let answer = answered("resolving the host set", self.rpc.resolve_hosts(request)).await?;
        Ok(answer.hosts)
    }

    /// How the conductor is.
    pub async fn conductor(&mut self) -> Result<ConductorStatus, Failure> {
        let what = "asking for the conductor's status";
        Ok(answered(what, self.rpc.status(v1::StatusRequest {})).await?.into())
    }

    /// Has the conductor read its configuration anew.
    pub async fn reload(&mut self, allow_removal: bool) -> Result<v1::ReloadResponse, Failure> {
        let request = v1::ReloadRequest { allow_removal };
        answered("reloading the conductor's configuration", self.rpc.reload(request)).await
    }

    /// Has the conductor take up its restored store.
    pub async fn recover(
        &mut self,
        store_id: String,
        although_healthy: bool,
    ) -> Result<v1::RecoverResponse, Failure> {
        let request = v1::RecoverRequest { store_id, although_healthy };
        answered("recovering the conductor's store", self.rpc.recover(request)).await
    }

    /// What [`Client::recover`] would do.
    pub async fn plan_recover(&mut self) -> Result<v1::PlanRecoverResponse, Failure> {
        let what = "planning a recovery of the conductor's store";
        answered(what, self.rpc.plan_recover(v1::PlanRecoverRequest {})).await
    }
}

/// A part of a flow as requests name it: slot and job, 0 for all, or the job's name.
fn place(part: &Part) -> (u32, u32, String) {
    match part {
        Part::Flow => (0, 0, String::new()),
        Part::Slot(slot) => ((*slot).into(), 0, String::new()),
        Part::Job(slot, job) => ((*slot).into(), (*job).into(), String::new()),
        Part::Named(name) => (0, 0, name.to_string()),
    }
}

fn request_id() -> Result<RequestId, Failure> {
    let mut id = RequestId([0; 16]);
    random(&mut id.0)?;
    Ok(id)
}

fn spec_bytes(submission: &Submission) -> Bytes {
    v1::FlowSpec::from(&submission.spec).encode_to_vec().into()
}

fn params(params: &[(u32, u32, Params)]) -> Vec<v1::JobParams> {
    let of_job = |(slot, job, params): &(u32, u32, Params)| v1::JobParams {
        slot: *slot,
        job: *job,
        values: params_to_wire(params),
    };
    params.iter().map(of_job).collect()
}

fn check_size(what: &str, request: &impl prost::Message) -> Result<(), Failure> {
    if request.encoded_len() > limits::MESSAGE_BYTES {
        return Err(Failure::usage(format!(
            "{what}: with its parameters it is larger than {} MiB",
            limits::MESSAGE_BYTES >> 20
        )));
    }
    Ok(())
}

fn shown(flow: Option<FlowId>) -> String {
    flow.map_or_else(|| "last".to_owned(), |id| id.to_string())
}

async fn answered<T>(
    what: &str,
    call: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<T, Failure> {
    match timeout(ANSWER, call).await {
        Ok(answer) => answer.map(Response::into_inner).map_err(|status| failure(what, &status)),
        Err(_) => Err(Failure::new(Exit::Away, format!("{what}: no answer within {ANSWER:?}"))),
    }
}

fn invalid(what: &str, error: Invalid) -> Failure {
    Failure::broken(format!("{what}: the answer makes no sense to this version")).because(error)
}

fn client(channel: Channel) -> AudienceClient<Channel> {
    AudienceClient::new(channel)
        .max_decoding_message_size(limits::MESSAGE_BYTES)
        .max_encoding_message_size(limits::MESSAGE_BYTES)
}

/// Tries every conductor in turn until one answers, one refuses us for good, or the deadline.
async fn dial(
    connection: &Connection,
    credentials: &Credentials,
    deadline: Option<Instant>,
) -> Result<Channel, Failure> {
    let conductor = &connection.expected.conductor_name;
    // A role that does not fit is told before anybody is dialled.
    drop(credentials.client_config(conductor).map_err(load_failure)?);
    let mut backoff = Backoff::new();
    loop {
        let mut last = None;
        for address in &connection.conductors {
            let left = deadline.map_or(ATTEMPT, |at| at.saturating_duration_since(Instant::now()));
            match channel_to(conductor, address, credentials, left.min(ATTEMPT)).await {
                Ok(channel) => return Ok(channel),
                Err(error) if is_final(&error) => return Err(dial_failure(error)),
                Err(error) => last = Some(error),
            }
        }
        let Some(error) = last else {
            return Err(Failure::broken("reaching the conductor: none is configured"));
        };
        if !backoff.pause(deadline).await {
            return Err(dial_failure(error));
        }
    }
}

/// Whether another attempt would end the same way.
fn is_final(error: &ConnectError) -> bool {
    match error {
        ConnectError::Unreachable { .. } | ConnectError::TimedOut { .. } => false,
        ConnectError::Refused { reason, .. } => !matches!(
            reason,
            Refused::Closed | Refused::TimedOut | Refused::Crowded | Refused::Other(_)
        ),
        ConnectError::Http { .. } | ConnectError::Unusable { .. } => true,
    }
}

fn dial_failure(error: ConnectError) -> Failure {
    let hint = match &error {
        ConnectError::Unreachable { .. } | ConnectError::TimedOut { .. } => {
            Some("is the conductor running, and is this its address? (--conductor HOST:PORT)")
        }
        ConnectError::Refused { reason: Refused::Identity(_), .. } => {
            Some("is this the conductor that is meant? (--conductor-name, --domain)")
        }
        _ => None,
    };
    let exit = if is_final(&error) { Exit::Broken } else { Exit::Away };
    let failure = Failure::new(exit, "reaching the conductor").because(error);
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

fn load(connection: &Connection) -> Result<Credentials, Failure> {
    Credentials::load(&connection.files, &connection.expected.domain).map_err(load_failure)
}

fn load_failure(error: LoadError) -> Failure {
    let exit = match &error {
        LoadError::Role { .. } => Exit::Denied,
        _ => Exit::Usage,
    };
    Failure::new(exit, "loading the certificate and key").because(error)
}
