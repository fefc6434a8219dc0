//! A connection to a conductor, and what all questions over it share.

use std::time::Duration;

use bytes::Bytes;
use orchestra_certs::{Credentials, NewestLists, OlderList};
use orchestra_model::{
    ids::{FlowId, FlowPart},
    limits,
    params::Params,
};
use orchestra_proto::{Invalid, params_to_wire, v1, v1::audience_client::AudienceClient};
use prost::Message as _;
use tokio::time::{Instant, timeout};
use tonic::{Response, Status, transport::Channel};

use crate::{
    config::Connection,
    connect::{dial, dial_once, load},
    exit::Exit,
    failure::Failure,
    refusal::failure,
    submit::FlowToSubmit,
};

/// How long a single question may take before it fails.
pub(crate) const ANSWER: Duration = Duration::from_secs(60);

/// A connection to a conductor. The caller may have it made again. A clone shares the connection until
/// either of them makes it again, so that two questions can be asked at once.
#[derive(Clone)]
pub struct Client {
    connection: Connection,
    credentials: Credentials,
    newest: NewestLists,
    pub(crate) rpc: AudienceClient<Channel>,
}

impl Client {
    /// Connects, trying for as long as the connection says.
    pub async fn connect(connection: Connection) -> Result<Self, Failure> {
        let newest = NewestLists::default();
        let credentials = load(&connection, &newest)?;
        let deadline = Instant::now() + connection.connect_timeout.to_std();
        let channel = dial(&connection, &credentials, Some(deadline)).await?;
        Ok(Self { connection, credentials, newest, rpc: client(channel) })
    }

    /// Connects, trying every conductor once, each for at most ten seconds.
    pub async fn connect_once(connection: Connection) -> Result<Self, Failure> {
        let newest = NewestLists::default();
        let credentials = load(&connection, &newest)?;
        let rpc = client(dial_once(&connection, &credentials).await?);
        Ok(Self { connection, credentials, newest, rpc })
    }

    /// Connects anew, trying until the deadline, or for ever if there is none. Returns a revocation
    /// list that stays in force although its file holds an older one now, if there is one.
    pub async fn reconnect(
        &mut self,
        deadline: Option<Instant>,
    ) -> Result<Option<OlderList>, Failure> {
        // After days of waiting there may be a renewed certificate, or a newer revocation list.
        if let Ok(credentials) = load(&self.connection, &self.newest) {
            self.credentials = credentials;
        }
        self.rpc = client(dial(&self.connection, &self.credentials, deadline).await?);
        Ok(self.credentials.older_list().cloned())
    }
}

/// Returns a flow as requests name it: by its number, or as the caller's newest.
pub(crate) fn flow_ref(flow: Option<FlowId>) -> v1::FlowRef {
    use v1::flow_ref::Flow;
    v1::FlowRef { flow: Some(flow.map_or(Flow::Last(true), |id| Flow::Id(id.0))) }
}

/// Returns a part of a flow as requests name it: by slot and job, where 0 stands for all, or by the
/// job's name.
pub(crate) fn place(part: &FlowPart) -> (u32, u32, String) {
    match part {
        FlowPart::Flow => (0, 0, String::new()),
        FlowPart::Slot(slot) => ((*slot).into(), 0, String::new()),
        FlowPart::Job(slot, job) => ((*slot).into(), (*job).into(), String::new()),
        FlowPart::Named(name) => (0, 0, name.to_string()),
    }
}

pub(crate) fn spec_bytes(submission: &FlowToSubmit) -> Bytes {
    v1::FlowSpec::from(&submission.spec).encode_to_vec().into()
}

pub(crate) fn params(params: &[(u32, u32, Params)]) -> Vec<v1::JobParams> {
    params.iter().map(|(slot, job, params)| job_params(*slot, *job, params)).collect()
}

fn job_params(slot: u32, job: u32, params: &Params) -> v1::JobParams {
    v1::JobParams { slot, job, values: params_to_wire(params) }
}

pub(crate) fn check_size(what: &str, request: &impl prost::Message) -> Result<(), Failure> {
    if request.encoded_len() > limits::MESSAGE_BYTES {
        return Err(Failure::usage(format!(
            "{what}: with its parameters it is larger than {} MiB",
            limits::MESSAGE_BYTES >> 20
        )));
    }
    Ok(())
}

pub(crate) fn shown(flow: Option<FlowId>) -> String {
    flow.map_or_else(|| "last".to_owned(), |id| id.to_string())
}

/// Awaits the answer to a question that is asked once.
pub(crate) async fn answered<T>(
    what: &str,
    call: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<T, Failure> {
    match timeout(ANSWER, call).await {
        Ok(answer) => answer.map(Response::into_inner).map_err(|status| failure(what, &status)),
        Err(_) => Err(Failure::new(Exit::Away, format!("{what}: no answer within {ANSWER:?}"))),
    }
}

pub(crate) fn invalid(what: &str, error: Invalid) -> Failure {
    Failure::broken(format!("{what}: the answer makes no sense to this version")).because(error)
}

fn client(channel: Channel) -> AudienceClient<Channel> {
    AudienceClient::new(channel)
        .max_decoding_message_size(limits::MESSAGE_BYTES)
        .max_encoding_message_size(limits::MESSAGE_BYTES)
}
