//! The calls of the protocol, each in a few lines: who asks, what the request says, who does it.

use std::pin::Pin;

use orchestra_certs::Peer;
use orchestra_flow::answer;
use orchestra_model::{AudienceName, audit::Verb, status::ConductorStatus};
use orchestra_proto::v1::{self, audience_server::Audience};
use tokio::sync::mpsc;
use tokio_stream::{Stream, StreamExt as _, wrappers::ReceiverStream};
use tonic::{Request, Response, Status};

use super::bounds::Turn;
use crate::{
    declined::Declined,
    desk::{AuditWanted, Choice, Desk, Others, Sender, TaskFilter, Wanted, read_host, rejected},
    driver::{Asked, Request as Ask, read_answer},
};

/// Pages that wait for a slow reader.
const PAGES: usize = 2;

type Pages<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// The service for the audience.
#[derive(Clone)]
pub(crate) struct AudienceCalls(Desk);

impl AudienceCalls {
    pub(crate) fn new(desk: Desk) -> Self {
        Self(desk)
    }

    /// A stream fed by a task of its own, whose error is the stream's last item. It ends when the
    /// conductor stops, with a status that says so.
    fn stream<T, F>(&self, feed: impl FnOnce(Desk, Sender<T>) -> F) -> Response<Pages<T>>
    where
        T: Send + 'static,
        F: Future<Output = Result<(), Declined>> + Send + 'static,
    {
        let (pages, receiver) = mpsc::channel(PAGES);
        let feeding = feed(self.0.clone(), pages.clone());
        let mut until = self.0.stopping.clone();
        tokio::spawn(async move {
            let fed = tokio::select! {
                fed = feeding => fed,
                _ = until.wait_for(|stopping| *stopping) => Err(Declined::stopping()),
            };
            if let Err(declined) = fed {
                // Whoever read it may have gone.
                let _ = pages.send(Err(declined)).await;
            }
        });
        let pages = ReceiverStream::new(receiver).map(|page| page.map_err(Status::from));
        Response::new(Box::pin(pages))
    }
}

/// Flows that are listed where nobody says how many.
const FLOWS: u32 = 20;

/// Who asks: what the certificate says.
fn audience<T>(request: &Request<T>) -> Result<AudienceName, Status> {
    let peer = request.extensions().get::<Peer>();
    let peer = peer.ok_or_else(|| Status::unauthenticated("no verified certificate"))?;
    AudienceName::new(peer.identity.name())
        .map_err(|error| Status::unauthenticated(error.to_string()))
}

#[tonic::async_trait]
impl Audience for AudienceCalls {
    type ListTasksStream = Pages<v1::TaskPage>;
    type ListFlowsStream = Pages<v1::FlowPage>;
    type WatchStream = Pages<v1::WatchEvent>;
    type ListLedgerStream = Pages<v1::LedgerPage>;
    type ListDeploymentsStream = Pages<v1::DeploymentPage>;
    type ListPlayersStream = Pages<v1::PlayerPage>;
    type ListGroupsStream = Pages<v1::GroupPage>;
    type ListAuditStream = Pages<v1::AuditPage>;
    type GetLogsStream = Pages<v1::AttemptLog>;

    async fn submit(
        &self,
        request: Request<v1::SubmitRequest>,
    ) -> Result<Response<v1::SubmitResponse>, Status> {
        let audience = audience(&request)?;
        let turn = Turn::of(&request);
        Ok(Response::new(self.0.submit_flow(request.into_inner(), audience, turn).await?))
    }

    async fn get_flow(
        &self,
        request: Request<v1::GetFlowRequest>,
    ) -> Result<Response<v1::FlowStatus>, Status> {
        let audience = audience(&request)?;
        let id = self.0.flow_id(request.into_inner().flow, &audience).await?;
        Ok(Response::new((&self.0.status_of(id).await?).into()))
    }

    async fn list_tasks(
        &self,
        request: Request<v1::ListTasksRequest>,
    ) -> Result<Response<Pages<v1::TaskPage>>, Status> {
        let audience = audience(&request)?;
        let request = request.into_inner();
        let choice = Choice::read(request.slot, request.job, &request.job_name)?;
        let filter = TaskFilter::read(&request.host, &request.states)?;
        let id = self.0.flow_id(request.flow, &audience).await?;
        let jobs = self.0.chosen_jobs(id, &choice).await?;
        Ok(self.stream(move |desk, pages| desk.send_tasks(jobs, filter, request.ends, pages)))
    }

    async fn list_flows(
        &self,
        request: Request<v1::ListFlowsRequest>,
    ) -> Result<Response<Pages<v1::FlowPage>>, Status> {
        let v1::ListFlowsRequest { limit, alive } = request.into_inner();
        let most = if limit == 0 { FLOWS } else { limit };
        Ok(self.stream(move |desk, pages| desk.send_flows(most, alive, pages)))
    }

    async fn watch(
        &self,
        request: Request<v1::WatchRequest>,
    ) -> Result<Response<Pages<v1::WatchEvent>>, Status> {
        let audience = audience(&request)?;
        let request = request.into_inner();
        let wanted = Wanted::read(&request)?;
        let id = self.0.flow_id(request.flow, &audience).await?;
        Ok(self.stream(move |desk, events| desk.send_events(id, wanted, events)))
    }

    async fn plan(
        &self,
        request: Request<v1::PlanRequest>,
    ) -> Result<Response<v1::PlanResponse>, Status> {
        let audience = audience(&request)?;
        Ok(Response::new(self.0.plan_flow(request.into_inner(), audience).await?))
    }

    async fn explain(
        &self,
        request: Request<v1::ExplainRequest>,
    ) -> Result<Response<v1::ExplainResponse>, Status> {
        let audience = audience(&request)?;
        Ok(Response::new(self.0.explain_flow(request.into_inner(), &audience).await?))
    }

    async fn pause(
        &self,
        request: Request<v1::PauseRequest>,
    ) -> Result<Response<v1::FlowChanged>, Status> {
        let by = audience(&request)?;
        Ok(Response::new(self.0.pause_flow(request.into_inner().flow, by).await?))
    }

    async fn resume(
        &self,
        request: Request<v1::ResumeRequest>,
    ) -> Result<Response<v1::FlowChanged>, Status> {
        let by = audience(&request)?;
        Ok(Response::new(self.0.resume_flow(request.into_inner().flow, by).await?))
    }

    async fn promote(
        &self,
        request: Request<v1::PromoteRequest>,
    ) -> Result<Response<v1::FlowChanged>, Status> {
        let by = audience(&request)?;
        Ok(Response::new(self.0.promote_jobs(request.into_inner(), by).await?))
    }

    async fn retry(
        &self,
        request: Request<v1::RetryRequest>,
    ) -> Result<Response<v1::RetryResponse>, Status> {
        let by = audience(&request)?;
        Ok(Response::new(self.0.retry_flow(request.into_inner(), by).await?))
    }

    async fn cancel(
        &self,
        request: Request<v1::CancelRequest>,
    ) -> Result<Response<v1::CancelResponse>, Status> {
        let by = audience(&request)?;
        Ok(Response::new(self.0.cancel_flow(request.into_inner(), by).await?))
    }

    async fn drain(
        &self,
        request: Request<v1::DrainRequest>,
    ) -> Result<Response<v1::DrainResponse>, Status> {
        let by = audience(&request)?;
        Ok(Response::new(self.0.drain_players(request.into_inner(), by).await?))
    }

    async fn undrain(
        &self,
        request: Request<v1::UndrainRequest>,
    ) -> Result<Response<v1::DrainResponse>, Status> {
        let by = audience(&request)?;
        Ok(Response::new(self.0.undrain_players(request.into_inner().hosts, by).await?))
    }

    async fn list_ledger(
        &self,
        request: Request<v1::ListLedgerRequest>,
    ) -> Result<Response<Pages<v1::LedgerPage>>, Status> {
        let v1::ListLedgerRequest { deployment, busy } = request.into_inner();
        let deployment = self.0.chosen_deployment(&deployment)?;
        Ok(self.stream(move |desk, pages| desk.send_cells(deployment, busy, pages)))
    }

    async fn release_holds(
        &self,
        request: Request<v1::ReleaseHoldsRequest>,
    ) -> Result<Response<v1::ReleaseHoldsResponse>, Status> {
        let by = audience(&request)?;
        Ok(Response::new(self.0.release_hosts(request.into_inner(), by).await?))
    }

    async fn list_deployments(
        &self,
        request: Request<v1::ListDeploymentsRequest>,
    ) -> Result<Response<Pages<v1::DeploymentPage>>, Status> {
        let chosen = self.0.chosen_deployment(&request.into_inner().name)?;
        Ok(self.stream(move |desk, pages| desk.send_deployments(chosen, pages)))
    }

    async fn list_players(
        &self,
        request: Request<v1::ListPlayersRequest>,
    ) -> Result<Response<Pages<v1::PlayerPage>>, Status> {
        let v1::ListPlayersRequest { hosts, scores } = request.into_inner();
        let expression = if hosts.is_empty() { "@all".to_owned() } else { hosts };
        let hosts = self.0.players(expression).await?;
        Ok(self.stream(move |desk, pages| desk.send_players(hosts, scores, pages)))
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
        let id = self.0.flow_id(request.flow, &audience).await?;
        let jobs = self.0.chosen_jobs(id, &choice).await?;
        self.0.check_names(id, &jobs, &host).await?;
        Ok(self.stream(move |desk, logs| desk.send_logs(jobs, host, logs)))
    }

    async fn status(
        &self,
        _: Request<v1::StatusRequest>,
    ) -> Result<Response<v1::ConductorStatus>, Status> {
        let health = self.0.ask(Ask::Health).await?;
        let shared = self.0.reloader.shared();
        let status = ConductorStatus {
            name: self.0.facts.name.to_string(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            started_at: self.0.facts.started_at,
            store_id: self.0.facts.store_id.clone(),
            term: health.term.0,
            players: health.players,
            attached: health.attached,
            quarantined: health.quarantined,
            flows_alive: health.flows_alive,
            deployments: health.deployments,
            cells: health.cells,
            loaded_at: shared.loaded_at,
            reload_error: shared.error,
            revocation_error: self.0.reloader.revocation_trouble(),
            stale_store: health.stale_store,
            store_error: health.store_error,
            store_held_since: health.store_held_since,
        };
        Ok(Response::new((&status).into()))
    }

    async fn reload(
        &self,
        request: Request<v1::ReloadRequest>,
    ) -> Result<Response<v1::ReloadResponse>, Status> {
        let by = audience(&request)?;
        tracing::info!(audience = %by, "reload requested");
        let asked = Asked::by(&by, Verb::Reload);
        let loaded = self.0.reloader.reload(request.into_inner().allow_removal, asked).await?;
        Ok(Response::new(v1::ReloadResponse {
            players: loaded.players,
            added: loaded.added,
            removed: loaded.removed,
            deployments: Some(loaded.deployments),
            closed: loaded.closed,
        }))
    }

    async fn recover(
        &self,
        request: Request<v1::RecoverRequest>,
    ) -> Result<Response<v1::RecoverResponse>, Status> {
        let by = audience(&request)?;
        self.0.check_recover(&request.into_inner()).await?;
        let asked = Asked::by(&by, Verb::Recover);
        let answer = self.0.ask(|reply| Ask::Recover(asked, reply)).await?;
        let answer::Recovered { next_flow } =
            read_answer(answer)?.map_err(|rejection| rejected(&rejection))?;
        let term = self.0.ask(Ask::Health).await?.term;
        tracing::warn!(audience = %by, term = term.0, %next_flow, "recovered from an old copy of the store");
        Ok(Response::new(v1::RecoverResponse { term: term.0, next_flow: next_flow.0 }))
    }

    async fn plan_recover(
        &self,
        _: Request<v1::PlanRecoverRequest>,
    ) -> Result<Response<v1::PlanRecoverResponse>, Status> {
        Ok(Response::new(self.0.recovery_plan().await?))
    }

    async fn release_players(
        &self,
        request: Request<v1::ReleasePlayersRequest>,
    ) -> Result<Response<v1::ReleasePlayersResponse>, Status> {
        let by = audience(&request)?;
        Ok(Response::new(self.0.release_quarantined(request.into_inner(), by).await?))
    }

    async fn resolve_hosts(
        &self,
        request: Request<v1::ResolveHostsRequest>,
    ) -> Result<Response<v1::ResolveHostsResponse>, Status> {
        let hosts = self.0.hosts(request.into_inner().hosts, Others::Any).await?;
        let count = u32::try_from(hosts.len()).unwrap_or(u32::MAX);
        Ok(Response::new(v1::ResolveHostsResponse { hosts: hosts.to_string(), count }))
    }

    async fn list_groups(
        &self,
        _: Request<v1::ListGroupsRequest>,
    ) -> Result<Response<Pages<v1::GroupPage>>, Status> {
        Ok(self.stream(Desk::send_groups))
    }

    async fn list_audit(
        &self,
        request: Request<v1::ListAuditRequest>,
    ) -> Result<Response<Pages<v1::AuditPage>>, Status> {
        let wanted = AuditWanted::read(request.into_inner())?;
        Ok(self.stream(move |desk, pages| desk.send_audit(wanted, pages)))
    }
}
