//! The audience's service: decodes, asks the driver or reads the store, encodes. Decides nothing.
//!
//! What takes time (host sets, the store) is done on threads for that, and a list is a stream
//! whose reader sets the pace: neither a large question nor a slow reader is in anybody's way.

mod listing;
mod refusal;
mod submission;
mod watch;

use std::{pin::Pin, sync::Arc};

use orchestra_certs::Peer;
use orchestra_flow::{Answer, Submission};
use orchestra_model::{
    AudienceName, FlowId, HostName, HostSet, Timestamp, limits,
    status::{ConductorStatus, FlowStatus},
};
use orchestra_proto::v1::{self, audience_server::Audience, flow_ref::Flow as FlowRefKind};
use orchestra_store::{Reader, Readers};
use prost::Message;
use tokio::sync::{Semaphore, mpsc, oneshot, watch as watching};
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tonic::{Request, Response, Status};

use self::{
    listing::{Choice, TaskFilter, read_host},
    refusal::{invalid, rejected, stopping, unknown_flow, unknown_hosts},
};
use crate::{
    driver::{Handle, Reply, Request as Ask, Told},
    fleet::Fleet,
    history::{self, HistoryError},
    reload::Reloader,
    shown,
};

/// Pages that wait for a slow reader.
const PAGES: usize = 2;
/// Submissions that are worked on at once, each of which may have megabytes.
const SUBMISSIONS: usize = 64;
/// Flows that are listed where nobody says how many.
const FLOWS: u32 = 20;

type Pages<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;
type Sender<T> = mpsc::Sender<Result<T, Status>>;

/// What does not change while the conductor runs.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    pub(crate) name: HostName,
    pub(crate) store_id: String,
    pub(crate) started_at: Timestamp,
}

/// The service for the audience.
#[derive(Clone)]
pub(crate) struct AudienceService {
    driver: Handle,
    readers: Arc<dyn Readers>,
    fleet: watching::Receiver<Arc<Fleet>>,
    reloader: Reloader,
    facts: Arc<Facts>,
    submissions: Arc<Semaphore>,
    /// Becomes true when the conductor stops.
    stopping: watching::Receiver<bool>,
}

impl AudienceService {
    pub(crate) fn new(
        driver: Handle,
        readers: Arc<dyn Readers>,
        fleet: watching::Receiver<Arc<Fleet>>,
        reloader: Reloader,
        facts: Facts,
        stopping: watching::Receiver<bool>,
    ) -> Self {
        let submissions = Arc::new(Semaphore::new(SUBMISSIONS));
        Self { driver, readers, fleet, reloader, facts: Arc::new(facts), submissions, stopping }
    }

    async fn ask<T>(&self, make: impl FnOnce(Told<T>) -> Ask) -> Result<T, Status> {
        let (reply, answer) = oneshot::channel();
        self.driver.requests.send(make(reply)).await.map_err(|_| stopping())?;
        answer.await.map_err(|_| stopping())?
    }

    async fn ask_engine(
        &self,
        make: impl FnOnce(oneshot::Sender<Reply>) -> Ask,
    ) -> Result<Answer, Status> {
        match self.ask(make).await? {
            Answer::Rejected(rejection) => Err(rejected(&rejection)),
            answer => Ok(answer),
        }
    }

    /// Reads the store, off the runtime's threads.
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&dyn Reader) -> Result<T, HistoryError> + Send + 'static,
    ) -> Result<T, Status> {
        let readers = Arc::clone(&self.readers);
        let result = off_the_runtime(move || {
            let reader = readers.open().map_err(HistoryError::from)?;
            read(&*reader)
        })
        .await?;
        result.map_err(|error| {
            tracing::error!(error = crate::chain(&error), "cannot read the store");
            Status::internal(shown(crate::chain(&error)))
        })
    }

    async fn flow_id(
        &self,
        flow: Option<v1::FlowRef>,
        audience: &AudienceName,
    ) -> Result<FlowId, Status> {
        match flow.and_then(|flow| flow.flow) {
            Some(FlowRefKind::Id(id)) => Ok(FlowId(id)),
            Some(FlowRefKind::Last(_)) => {
                let whose = audience.clone();
                let newest = self.read(move |reader| Ok(reader.newest_of(&whose)?)).await?;
                newest.ok_or_else(|| {
                    Status::not_found(format!("{audience} has not submitted any flow yet"))
                })
            }
            None => Err(Status::invalid_argument("the request names no flow")),
        }
    }

    /// The flow's status, from the engine while it lives, else from the store.
    async fn status_of(&self, id: FlowId) -> Result<FlowStatus, Status> {
        if let Some(status) = self.ask(|reply| Ask::FlowStatus(id, reply)).await? {
            return Ok(status);
        }
        let status = self.read(move |reader| history::flow_status(reader, id)).await?;
        status.ok_or_else(|| unknown_flow(id))
    }

    /// Resolves a host set, off the runtime's threads.
    async fn hosts<T: Send + 'static>(
        &self,
        expression: String,
        then: impl FnOnce(HostSet, &Fleet) -> Result<T, Status> + Send + 'static,
    ) -> Result<T, Status> {
        if expression.len() > limits::HOSTSET_BYTES {
            return Err(Status::invalid_argument("the host set is longer than 4 MiB"));
        }
        let fleet = Arc::clone(&self.fleet.borrow());
        off_the_runtime(move || {
            let hosts = HostSet::parse(&expression, &*fleet).map_err(|error| invalid(&error))?;
            then(hosts, &fleet)
        })
        .await?
    }

    /// Decodes and resolves a submission, off the runtime's threads, for host sets may be large.
    async fn submission(
        &self,
        request: v1::SubmitRequest,
        audience: AudienceName,
    ) -> Result<Submission, Status> {
        let limits = self.reloader.shared().limits;
        let (bytes, most) = (request.encoded_len(), limits.max_flow_bytes);
        if bytes > most {
            return Err(Status::resource_exhausted(format!(
                "the submission has {bytes} bytes; the conductor's max_flow_bytes is {most}"
            )));
        }
        let fleet = Arc::clone(&self.fleet.borrow());
        off_the_runtime(move || submission::read(request, audience, &fleet, limits.max_hosts))
            .await?
    }

    /// A stream fed by a task of its own, whose error is the stream's last item. It ends when the
    /// conductor stops, with a status that says so.
    fn stream<T, F>(&self, feed: impl FnOnce(Self, Sender<T>) -> F) -> Response<Pages<T>>
    where
        T: Send + 'static,
        F: Future<Output = Result<(), Status>> + Send + 'static,
    {
        let (pages, receiver) = mpsc::channel(PAGES);
        let feeding = feed(self.clone(), pages.clone());
        let mut until = self.stopping.clone();
        tokio::spawn(async move {
            let fed = tokio::select! {
                fed = feeding => fed,
                _ = until.wait_for(|stopping| *stopping) => Err(stopping()),
            };
            if let Err(status) = fed {
                // Whoever read it may have gone.
                let _ = pages.send(Err(status)).await;
            }
        });
        Response::new(Box::pin(ReceiverStream::new(receiver)))
    }
}

/// Does what takes long on a thread for that. Fails only where the work panics.
async fn off_the_runtime<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Status> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Status::internal(error.to_string()))
}

fn audience<T>(request: &Request<T>) -> Result<AudienceName, Status> {
    let peer = request.extensions().get::<Peer>();
    let peer = peer.ok_or_else(|| Status::unauthenticated("no verified certificate"))?;
    AudienceName::new(peer.identity.name())
        .map_err(|error| Status::unauthenticated(error.to_string()))
}

fn unexpected(answer: &Answer) -> Status {
    Status::internal(format!("unexpected answer {answer:?}"))
}

#[tonic::async_trait]
impl Audience for AudienceService {
    type ListTasksStream = Pages<v1::TaskPage>;
    type ListFlowsStream = Pages<v1::FlowPage>;
    type WatchStream = Pages<v1::WatchEvent>;
    type ListPlayersStream = Pages<v1::PlayerPage>;
    type GetLogsStream = Pages<v1::AttemptLog>;

    async fn submit(
        &self,
        request: Request<v1::SubmitRequest>,
    ) -> Result<Response<v1::SubmitResponse>, Status> {
        let audience = audience(&request)?;
        let _turn = self.submissions.acquire().await.map_err(|_| stopping())?;
        let submission = self.submission(request.into_inner(), audience.clone()).await?;
        let jobs: usize = submission.spec.slots.iter().map(|slot| slot.jobs.len()).sum();
        let answer = self.ask_engine(|reply| Ask::Submit(Box::new(submission), reply)).await?;
        let Answer::Submitted { flow, repeated } = answer else { return Err(unexpected(&answer)) };
        tracing::info!(%flow, %audience, jobs, repeated, "flow submitted");
        Ok(Response::new(v1::SubmitResponse { flow: flow.0, repeated }))
    }

    async fn get_flow(
        &self,
        request: Request<v1::GetFlowRequest>,
    ) -> Result<Response<v1::FlowStatus>, Status> {
        let audience = audience(&request)?;
        let id = self.flow_id(request.into_inner().flow, &audience).await?;
        Ok(Response::new((&self.status_of(id).await?).into()))
    }

    async fn list_tasks(
        &self,
        request: Request<v1::ListTasksRequest>,
    ) -> Result<Response<Pages<v1::TaskPage>>, Status> {
        let audience = audience(&request)?;
        let request = request.into_inner();
        let choice = Choice::read(request.slot, request.job, &request.job_name)?;
        let filter = TaskFilter::read(&request.host, &request.states)?;
        let id = self.flow_id(request.flow, &audience).await?;
        let jobs = self.chosen_jobs(id, &choice).await?;
        Ok(self.stream(move |service, pages| service.send_tasks(jobs, filter, request.ends, pages)))
    }

    async fn list_flows(
        &self,
        request: Request<v1::ListFlowsRequest>,
    ) -> Result<Response<Pages<v1::FlowPage>>, Status> {
        let v1::ListFlowsRequest { limit, alive } = request.into_inner();
        let most = if limit == 0 { FLOWS } else { limit };
        Ok(self.stream(move |service, pages| service.send_flows(most, alive, pages)))
    }

    async fn watch(
        &self,
        request: Request<v1::WatchRequest>,
    ) -> Result<Response<Pages<v1::WatchEvent>>, Status> {
        let audience = audience(&request)?;
        let id = self.flow_id(request.into_inner().flow, &audience).await?;
        Ok(self.stream(move |service, events| service.send_events(id, events)))
    }

    async fn cancel(
        &self,
        request: Request<v1::CancelRequest>,
    ) -> Result<Response<v1::CancelResponse>, Status> {
        let by = audience(&request)?;
        let flow = self.flow_id(request.into_inner().flow, &by).await?;
        let who = by.clone();
        let state = match self.ask(|reply| Ask::Cancel { flow, by, reply }).await? {
            Answer::Cancelled { state, .. } => state,
            // Not alive: it has ended, or never was.
            _ => self.status_of(flow).await?.summary.state,
        };
        tracing::info!(%flow, audience = %who, %state, "cancel requested");
        Ok(Response::new(v1::CancelResponse { flow: flow.0, state: state.to_string() }))
    }

    async fn list_players(
        &self,
        request: Request<v1::ListPlayersRequest>,
    ) -> Result<Response<Pages<v1::PlayerPage>>, Status> {
        let v1::ListPlayersRequest { hosts, scores } = request.into_inner();
        let expression = if hosts.is_empty() { "@all".to_owned() } else { hosts };
        let check = |hosts: HostSet, fleet: &Fleet| {
            let unknown = hosts.minus(fleet.hosts());
            if unknown.is_empty() { Ok(hosts) } else { Err(unknown_hosts(&unknown)) }
        };
        let hosts = self.hosts(expression, check).await?;
        Ok(self.stream(move |service, pages| service.send_players(hosts, scores, pages)))
    }

    async fn get_logs(
        &self,
        request: Request<v1::GetLogsRequest>,
    ) -> Result<Response<Pages<v1::AttemptLog>>, Status> {
        let audience = audience(&request)?;
        let request = request.into_inner();
        let choice = Choice::read(request.slot, request.job, &request.job_name)?;
        let host = read_host(&request.host)?
            .ok_or_else(|| Status::invalid_argument("logs are of one host: ID@HOST"))?;
        let id = self.flow_id(request.flow, &audience).await?;
        let jobs = self.chosen_jobs(id, &choice).await?;
        Ok(self.stream(move |service, logs| service.send_logs(jobs, host, logs)))
    }

    async fn status(
        &self,
        _: Request<v1::StatusRequest>,
    ) -> Result<Response<v1::ConductorStatus>, Status> {
        let health = self.ask(Ask::Health).await?;
        let shared = self.reloader.shared();
        let status = ConductorStatus {
            name: self.facts.name.to_string(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            started_at: self.facts.started_at,
            store_id: self.facts.store_id.clone(),
            term: health.term.0,
            players: health.players,
            attached: health.attached,
            flows_alive: health.flows_alive,
            loaded_at: shared.loaded_at,
            reload_error: shared.error,
            stale_store: health.stale_store,
            store_error: health.store_error,
        };
        Ok(Response::new((&status).into()))
    }

    async fn reload(
        &self,
        request: Request<v1::ReloadRequest>,
    ) -> Result<Response<v1::ReloadResponse>, Status> {
        let by = audience(&request)?;
        tracing::info!(audience = %by, "reload requested");
        let loaded = self.reloader.reload(request.into_inner().allow_removal).await?;
        Ok(Response::new(v1::ReloadResponse {
            players: loaded.players,
            added: loaded.added,
            removed: loaded.removed,
        }))
    }

    async fn recover(
        &self,
        request: Request<v1::RecoverRequest>,
    ) -> Result<Response<v1::RecoverResponse>, Status> {
        let by = audience(&request)?;
        let answer = self.ask_engine(Ask::Recover).await?;
        let Answer::Recovered { next_flow } = answer else { return Err(unexpected(&answer)) };
        let term = self.ask(Ask::Health).await?.term;
        tracing::warn!(audience = %by, term = term.0, %next_flow, "recovered from an old copy of the store");
        Ok(Response::new(v1::RecoverResponse { term: term.0, next_flow: next_flow.0 }))
    }

    async fn resolve_hosts(
        &self,
        request: Request<v1::ResolveHostsRequest>,
    ) -> Result<Response<v1::ResolveHostsResponse>, Status> {
        let fold = |hosts: HostSet, _: &Fleet| {
            let count = u32::try_from(hosts.len()).unwrap_or(u32::MAX);
            Ok(v1::ResolveHostsResponse { hosts: hosts.to_string(), count })
        };
        self.hosts(request.into_inner().hosts, fold).await.map(Response::new)
    }
}
