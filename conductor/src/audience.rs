//! The audience's service: decodes, asks the driver or reads the store, encodes. Decides nothing.

use std::{collections::BTreeMap, pin::Pin, sync::Arc};

use orchestra_certs::Peer;
use orchestra_flow::{Answer, Rejection, ReplyId, Submission};
use orchestra_model::{
    AudienceName, FlowId, HostName, HostSet, JobId, TaskState,
    delivery::RequestId,
    flow::{FlowSpec, Scope},
    hostset::InvalidHostSet,
    limits,
    names::JobName,
    record::JobRecord,
    status::{ConductorStatus, FlowStatus, TaskStatus},
};
use orchestra_proto::{
    Invalid, decode_end, params_from_wire,
    v1::{self, audience_server::Audience, flow_ref::Flow as FlowRefKind},
};
use orchestra_store::{Reader, Readers};
use prost::Message;
use tokio::sync::{mpsc, oneshot, watch};
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tonic::{Request, Response, Status, metadata::MetadataValue};

use crate::{
    driver::{Handle, Reply, Request as Ask},
    fleet::Fleet,
    history::{self, HistoryError},
    reload::Reloader,
};

/// Tasks, flows or players a page.
const PAGE: u32 = 1_000;
/// Ends a page: each may have a hundred kilobytes of output.
const PAGE_WITH_ENDS: u32 = 32;
/// Pages that wait for a slow reader.
const PAGES: usize = 2;
/// Events that wait for a slow watcher before it is told the whole status instead.
const EVENTS: usize = 1_024;

type Pages<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// What does not change while the conductor runs.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    pub(crate) name: HostName,
    pub(crate) store_id: String,
    pub(crate) started_at: orchestra_model::Timestamp,
}

/// The service for the audience.
#[derive(Clone)]
pub(crate) struct AudienceService {
    pub(crate) driver: Handle,
    pub(crate) readers: Arc<dyn Readers>,
    pub(crate) fleet: watch::Receiver<Arc<Fleet>>,
    pub(crate) reloader: Reloader,
    pub(crate) facts: Arc<Facts>,
}

impl AudienceService {
    async fn ask<T>(&self, make: impl FnOnce(oneshot::Sender<T>) -> Ask) -> Result<T, Status> {
        let (reply, answer) = oneshot::channel();
        self.driver.requests.send(make(reply)).await.map_err(|_| stopping())?;
        answer.await.map_err(|_| stopping())
    }

    async fn ask_engine(
        &self,
        make: impl FnOnce(oneshot::Sender<Reply>) -> Ask,
    ) -> Result<Answer, Status> {
        match self.ask(make).await?? {
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
        let work = tokio::task::spawn_blocking(move || {
            let reader = readers.open().map_err(HistoryError::from)?;
            read(&*reader)
        });
        let result = work.await.map_err(|error| Status::internal(error.to_string()))?;
        result.map_err(|error| {
            tracing::error!(error = crate::chain(&error), "cannot read the store");
            Status::internal(crate::chain(&error))
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

    /// The jobs of a flow that a request chooses.
    async fn chosen_jobs(&self, id: FlowId, choice: &Choice) -> Result<Vec<JobId>, Status> {
        let status = self.status_of(id).await?;
        let jobs: Vec<JobId> = status
            .slots
            .iter()
            .flatten()
            .filter(|job| choice.slot == 0 || u32::from(job.id.slot) == choice.slot)
            .filter(|job| choice.job == 0 || u32::from(job.id.job) == choice.job)
            .filter(|job| choice.name.as_ref().is_none_or(|name| *name == job.name))
            .map(|job| job.id)
            .collect();
        if jobs.is_empty() {
            return Err(Status::not_found(format!("flow {id} has no such slot or job")));
        }
        Ok(jobs)
    }

    /// A page of a job's tasks: from the engine while the flow lives, then from the store, which
    /// is read into `stored` once.
    async fn task_page(
        &self,
        job: JobId,
        stored: &mut Option<Arc<StoredJob>>,
        from: u32,
        limit: u32,
    ) -> Result<Vec<TaskStatus>, Status> {
        if stored.is_none() {
            let living = self.ask(|reply| Ask::Tasks { job, from, limit, reply }).await?;
            if let Some(page) = living {
                return Ok(page);
            }
            let read = self.read(move |reader| StoredJob::read(reader, job)).await?;
            *stored = Some(Arc::new(read.ok_or_else(|| unknown_flow(job.flow))?));
        }
        let Some(stored) = stored.clone() else { return Ok(Vec::new()) };
        self.read(move |reader| {
            history::tasks(reader, &stored.record, stored.scope, &stored.hosts, from, limit)
        })
        .await
    }

    /// Adds the end of each task's newest attempt that has one.
    async fn add_ends(&self, mut tasks: Vec<TaskStatus>) -> Result<Vec<TaskStatus>, Status> {
        self.read(move |reader| {
            for task in &mut tasks {
                let (Some(host), 1..) = (&task.host, task.attempt) else { continue };
                let ends = reader.ends(task.job, host)?;
                let newest = ends.iter().rev().find(|end| !end.late);
                task.end = newest.and_then(|end| decode_end(&end.end).ok()).map(Box::new);
            }
            Ok(tasks)
        })
        .await
    }

    async fn send_tasks(
        self,
        jobs: Vec<JobId>,
        filter: TaskFilter,
        ends: bool,
        pages: mpsc::Sender<Result<v1::TaskPage, Status>>,
    ) -> Result<(), Status> {
        let limit = if ends { PAGE_WITH_ENDS } else { PAGE };
        for job in jobs {
            let mut from = 0;
            let mut stored = None;
            loop {
                let page = self.task_page(job, &mut stored, from, limit).await?;
                let Some(last) = page.last() else { break };
                from = last.index + 1;
                let full = page.len() == limit as usize;
                let mut page: Vec<TaskStatus> =
                    page.into_iter().filter(|task| filter.takes(task)).collect();
                if ends {
                    page = self.add_ends(page).await?;
                }
                let tasks = page.iter().map(Into::into).collect();
                if pages.send(Ok(v1::TaskPage { tasks })).await.is_err() || !full {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Sends status, events, status, until the flow has ended or nobody listens.
    async fn send_events(
        self,
        id: FlowId,
        events: mpsc::Sender<Result<v1::WatchEvent, Status>>,
    ) -> Result<(), Status> {
        use v1::watch_event::Event;
        loop {
            let (watcher, mut changes) = mpsc::channel(EVENTS);
            let living = self.ask(|reply| Ask::Watch(id, watcher, reply)).await?;
            let status = match &living {
                Some(status) => status.clone(),
                None => self.status_of(id).await?,
            };
            let status = v1::WatchEvent { event: Some(Event::Status((&status).into())) };
            if events.send(Ok(status)).await.is_err() || living.is_none() {
                return Ok(());
            }
            loop {
                let event = tokio::select! {
                    event = changes.recv() => event,
                    () = events.closed() => return Ok(()),
                };
                // Over, or behind: either way the whole status is what to tell next.
                let Some(event) = event else { break };
                if events.send(Ok((&event).into())).await.is_err() {
                    return Ok(());
                }
            }
        }
    }

    async fn send_players(
        self,
        hosts: HostSet,
        scores: bool,
        pages: mpsc::Sender<Result<v1::PlayerPage, Status>>,
    ) -> Result<(), Status> {
        let size = if scores { 16 } else { PAGE as usize };
        for hosts in hosts.as_slice().chunks(size) {
            let hosts = hosts.to_vec();
            let players = self.ask(|reply| Ask::Players { hosts, scores, reply }).await?;
            let players = players.iter().map(Into::into).collect();
            if pages.send(Ok(v1::PlayerPage { players })).await.is_err() {
                break;
            }
        }
        Ok(())
    }

    fn hosts(&self, expression: &str) -> Result<HostSet, Status> {
        let fleet = Arc::clone(&self.fleet.borrow());
        HostSet::parse(expression, &*fleet).map_err(|error| bad_hosts(&error))
    }

    /// Decodes and resolves a submission, off the runtime's threads, for host sets may be large.
    async fn submission(
        &self,
        request: v1::SubmitRequest,
        audience: AudienceName,
    ) -> Result<Submission, Status> {
        let most = self.reloader.shared().limits.max_flow_bytes;
        if request.encoded_len() > most {
            return Err(Status::resource_exhausted(format!(
                "the submission has {} bytes; the conductor's max_flow_bytes is {most}",
                request.encoded_len()
            )));
        }
        let fleet = Arc::clone(&self.fleet.borrow());
        let work = tokio::task::spawn_blocking(move || read_submission(request, audience, &fleet));
        work.await.map_err(|error| Status::internal(error.to_string()))?
    }
}

/// What every page of an ended job needs.
struct StoredJob {
    record: JobRecord,
    scope: Scope,
    hosts: HostSet,
}

impl StoredJob {
    fn read(reader: &dyn Reader, job: JobId) -> Result<Option<Self>, HistoryError> {
        let record = reader.jobs(job.flow)?.into_iter().find(|record| record.id == job);
        let Some(record) = record else { return Ok(None) };
        let spec = history::spec(reader, job.flow)?;
        let place = (usize::from(job.slot) - 1, usize::from(job.job) - 1);
        let spec = spec.slots.get(place.0).and_then(|slot| slot.jobs.get(place.1));
        let Some(scope) = spec.map(|spec| spec.scope) else { return Ok(None) };
        let hosts = match scope {
            Scope::All => history::targets(reader, job)?,
            // A one-of task has a record of its own, or never chose a host.
            Scope::One => HostSet::default(),
        };
        Ok(Some(Self { record, scope, hosts }))
    }
}

fn read_submission(
    request: v1::SubmitRequest,
    audience: AudienceName,
    fleet: &Fleet,
) -> Result<Submission, Status> {
    let id = RequestId::from_slice(&request.request_id)
        .ok_or_else(|| Status::invalid_argument("the request id has 16 bytes"))?;
    let wire = v1::FlowSpec::decode(&request.spec[..])
        .map_err(|error| Status::invalid_argument(format!("the spec: {error}")))?;
    let spec = FlowSpec::try_from(&wire).map_err(|error| invalid(&error))?;
    spec.check().map_err(|error| Status::invalid_argument(error.to_string()))?;
    let mut targets = Vec::with_capacity(spec.slots.len());
    for slot in &spec.slots {
        let sets = slot
            .jobs
            .iter()
            .map(|job| HostSet::parse(&job.targets, fleet).map_err(|error| bad_hosts(&error)));
        targets.push(sets.collect::<Result<Vec<_>, _>>()?);
    }
    let mut params = BTreeMap::new();
    for job in request.params {
        let place = (job.slot, job.job);
        let there = |(slot, job): (u16, u16)| {
            let slot = spec.slots.get(usize::from(slot).checked_sub(1)?)?;
            slot.jobs.get(usize::from(job).checked_sub(1)?)
        };
        let (Ok(slot), Ok(number)) = (u16::try_from(job.slot), u16::try_from(job.job)) else {
            return Err(Status::invalid_argument("parameters for a job that does not exist"));
        };
        if there((slot, number)).is_none() {
            return Err(Status::invalid_argument("parameters for a job that does not exist"));
        }
        let values = params_from_wire(job.values).map_err(|error| invalid(&error))?;
        if params.insert((slot, number), values).is_some() {
            let (slot, job) = place;
            let message = format!("parameters of job {slot}.{job} are given twice");
            return Err(Status::invalid_argument(message));
        }
    }
    Ok(Submission {
        // The driver addresses the answer.
        reply: ReplyId(0),
        request: id,
        audience,
        spec,
        spec_bytes: Arc::from(&request.spec[..]),
        targets,
        params,
    })
}

/// Which jobs of a flow.
struct Choice {
    slot: u32,
    job: u32,
    name: Option<JobName>,
}

impl Choice {
    fn read(slot: u32, job: u32, name: &str) -> Result<Self, Status> {
        let name = match name {
            "" => None,
            name => Some(
                JobName::new(name).map_err(|error| Status::invalid_argument(error.to_string()))?,
            ),
        };
        Ok(Self { slot, job, name })
    }
}

/// Which tasks of the chosen jobs.
struct TaskFilter {
    host: Option<HostName>,
    states: Vec<TaskState>,
}

impl TaskFilter {
    fn read(host: &str, states: &[String]) -> Result<Self, Status> {
        let states = states
            .iter()
            .map(|word| {
                TaskState::from_word(word).ok_or_else(|| {
                    Status::invalid_argument(format!("{word:?} is not a state of a task"))
                })
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { host: read_host(host)?, states })
    }

    fn takes(&self, task: &TaskStatus) -> bool {
        self.host.as_ref().is_none_or(|host| task.host.as_ref() == Some(host))
            && (self.states.is_empty() || self.states.contains(&task.state))
    }
}

fn read_host(host: &str) -> Result<Option<HostName>, Status> {
    match host {
        "" => Ok(None),
        host => HostName::new(host)
            .map(Some)
            .map_err(|error| Status::invalid_argument(error.to_string())),
    }
}

fn audience<T>(request: &Request<T>) -> Result<AudienceName, Status> {
    let peer = request.extensions().get::<Peer>();
    let peer = peer.ok_or_else(|| Status::unauthenticated("no verified certificate"))?;
    AudienceName::new(peer.identity.name())
        .map_err(|error| Status::unauthenticated(error.to_string()))
}

/// A stream fed by a task of its own, whose error is the stream's last item.
fn stream<T, F>(feed: impl FnOnce(mpsc::Sender<Result<T, Status>>) -> F) -> Response<Pages<T>>
where
    T: Send + 'static,
    F: Future<Output = Result<(), Status>> + Send + 'static,
{
    let (pages, receiver) = mpsc::channel(PAGES);
    let feeding = feed(pages.clone());
    tokio::spawn(async move {
        if let Err(status) = feeding.await {
            // Whoever read it may have gone.
            let _ = pages.send(Err(status)).await;
        }
    });
    Response::new(Box::pin(ReceiverStream::new(receiver)))
}

fn stopping() -> Status {
    Status::unavailable("the conductor is stopping")
}

fn unknown_flow(id: FlowId) -> Status {
    Status::not_found(format!("there is no flow {id}"))
}

fn invalid(error: &Invalid) -> Status {
    Status::invalid_argument(crate::chain(error))
}

fn bad_hosts(error: &InvalidHostSet) -> Status {
    Status::invalid_argument(crate::chain(error))
}

/// The one place where the engine's rejections become statuses.
fn rejected(rejection: &Rejection) -> Status {
    let message = rejection.to_string();
    match rejection {
        Rejection::Invalid(_) => Status::invalid_argument(message),
        Rejection::NoHosts(_) | Rejection::UnknownHosts(..) => {
            let mut status = Status::failed_precondition(message);
            let kind = match rejection {
                Rejection::NoHosts(_) => "empty",
                _ => "unknown",
            };
            status.metadata_mut().insert("orchestra-hosts", MetadataValue::from_static(kind));
            status
        }
        Rejection::TooManyTasks { .. } | Rejection::NoMoreFlows => {
            Status::resource_exhausted(message)
        }
        Rejection::UnknownFlow(_) => Status::not_found(message),
        Rejection::TooManyRemoved { .. } => Status::failed_precondition(message),
    }
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
        let submission = self.submission(request.into_inner(), audience.clone()).await?;
        let jobs: usize = submission.spec.slots.iter().map(|slot| slot.jobs.len()).sum();
        let answer = self.ask_engine(|reply| Ask::Submit(Box::new(submission), reply)).await?;
        let Answer::Submitted { flow, repeated } = answer else {
            return Err(Status::internal("unexpected answer"));
        };
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
        let service = self.clone();
        Ok(stream(move |pages| service.send_tasks(jobs, filter, request.ends, pages)))
    }

    async fn list_flows(
        &self,
        request: Request<v1::ListFlowsRequest>,
    ) -> Result<Response<Pages<v1::FlowPage>>, Status> {
        let request = request.into_inner();
        let most = if request.limit == 0 { 20 } else { request.limit };
        let service = self.clone();
        Ok(stream(move |pages| async move {
            let mut left = most;
            let mut before = None;
            while left > 0 {
                let limit = left.min(PAGE) as usize;
                let page =
                    service.read(move |r| Ok(r.flows(limit, before, request.alive)?)).await?;
                let Some(last) = page.last() else { break };
                before = Some(last.id);
                left = left.saturating_sub(u32::try_from(page.len()).unwrap_or(u32::MAX));
                let flows = page.iter().map(|record| (&history::summary(record)).into()).collect();
                if pages.send(Ok(v1::FlowPage { flows })).await.is_err() {
                    break;
                }
            }
            Ok(())
        }))
    }

    async fn watch(
        &self,
        request: Request<v1::WatchRequest>,
    ) -> Result<Response<Pages<v1::WatchEvent>>, Status> {
        let audience = audience(&request)?;
        let id = self.flow_id(request.into_inner().flow, &audience).await?;
        let service = self.clone();
        Ok(stream(move |events| service.send_events(id, events)))
    }

    async fn cancel(
        &self,
        request: Request<v1::CancelRequest>,
    ) -> Result<Response<v1::CancelResponse>, Status> {
        let by = audience(&request)?;
        let flow = self.flow_id(request.into_inner().flow, &by).await?;
        let who = by.clone();
        let answer = self.ask(|reply| Ask::Cancel { flow, by, reply }).await??;
        let state = match answer {
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
        let request = request.into_inner();
        let fleet = Arc::clone(&self.fleet.borrow());
        let hosts = match request.hosts.as_str() {
            "" => fleet.hosts().clone(),
            expression => self.hosts(expression)?,
        };
        let unknown = hosts.minus(fleet.hosts());
        if !unknown.is_empty() {
            let mut status =
                Status::failed_precondition(format!("not in the players file: {unknown}"));
            status.metadata_mut().insert("orchestra-hosts", MetadataValue::from_static("unknown"));
            return Err(status);
        }
        let service = self.clone();
        Ok(stream(move |pages| service.send_players(hosts, request.scores, pages)))
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
        let service = self.clone();
        Ok(stream(move |logs| async move {
            for job in jobs {
                let whose = host.clone();
                let ends = service.read(move |reader| Ok(reader.ends(job, &whose)?)).await?;
                for end in ends {
                    let log = v1::AttemptLog {
                        job: Some(job.into()),
                        host: host.to_string(),
                        attempt: end.attempt,
                        late: end.late,
                        end: v1::AttemptEnd::decode(&end.end[..]).ok(),
                    };
                    if logs.send(Ok(log)).await.is_err() {
                        return Ok(());
                    }
                }
            }
            Ok(())
        }))
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
        let Answer::Recovered { next_flow } = answer else {
            return Err(Status::internal("unexpected answer"));
        };
        let term = self.ask(Ask::Health).await?.term;
        tracing::warn!(audience = %by, term = term.0, %next_flow, "recovered from an old copy of the store");
        Ok(Response::new(v1::RecoverResponse { term: term.0, next_flow: next_flow.0 }))
    }

    async fn resolve_hosts(
        &self,
        request: Request<v1::ResolveHostsRequest>,
    ) -> Result<Response<v1::ResolveHostsResponse>, Status> {
        let text = request.into_inner().hosts;
        if text.len() > limits::HOSTSET_BYTES {
            return Err(Status::invalid_argument("the host set is longer than 4 MiB"));
        }
        let hosts = self.hosts(&text)?;
        Ok(Response::new(v1::ResolveHostsResponse {
            hosts: hosts.to_string(),
            count: u32::try_from(hosts.len()).unwrap_or(u32::MAX),
        }))
    }
}
