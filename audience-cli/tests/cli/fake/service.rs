//! What the conductor answers.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use orchestra_certs::{Peer, roles};
use orchestra_model::{
    HostSet,
    bundle::PlaceHolders,
    failures::FailureFold,
    flow_filter::FlowFilter,
    ledger::CellStatus,
    names::{DeploymentName, JobName, PlaceName, ScoreName},
    score::Holdings,
    status::{FlowStatus, FlowSummary, PlayerStatus, TaskStatus},
};
use orchestra_proto::v1::{self, audience_server::Audience};
use tokio_stream::Stream;
use tonic::{Code, Request, Response, Status, metadata::MetadataMap};

use super::{Tables, services};

pub(super) struct Service(pub(super) Arc<Mutex<Tables>>);

impl Service {
    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, flow: Option<v1::FlowRef>) -> Result<FlowStatus, Status> {
        use v1::flow_ref::Flow;
        let tables = self.tables();
        let found = match flow.and_then(|flow| flow.flow) {
            Some(Flow::Id(id)) => tables.flows.get(&id),
            _ => tables.flows.values().next_back(),
        };
        found.cloned().ok_or_else(|| Status::not_found("there is no such flow"))
    }
}

/// What the real one does in a layer.
fn allowed<T>(request: &Request<T>, method: &str) -> Result<(), Status> {
    let peer = request.extensions().get::<Peer>().unwrap();
    let path = format!("/orchestra.v1.Audience/{method}");
    if roles::allows(&path, peer.identity.role()) {
        Ok(())
    } else {
        Err(Status::permission_denied(format!("{} may not call {method}", peer.identity)))
    }
}

pub(crate) fn unknown_hosts() -> Status {
    let mut metadata = MetadataMap::new();
    metadata.insert("orchestra-hosts", "unknown".parse().unwrap());
    Status::with_metadata(Code::FailedPrecondition, "job hello: unknown hosts: db9", metadata)
}

pub(super) type Pages<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

pub(super) fn pages<T: Send + 'static>(pages: Vec<Result<T, Status>>) -> Response<Pages<T>> {
    Response::new(Box::pin(tokio_stream::iter(pages)))
}

#[tonic::async_trait]
impl Audience for Service {
    type ListTasksStream = Pages<v1::TaskPage>;
    type ListFailuresStream = Pages<v1::FailurePage>;
    type ListFlowsStream = Pages<v1::FlowPage>;
    type ReadLogsStream = Pages<v1::LogChunk>;
    type FollowOutputStream = Pages<v1::OutputPart>;
    type ListVitalsStream = Pages<v1::VitalsPage>;
    type WatchStream = Pages<v1::WatchEvent>;
    type ListPlayersStream = Pages<v1::PlayerPage>;
    type ListScoresStream = Pages<v1::ScorePage>;
    type ListBundlesStream = Pages<v1::BundlePage>;
    type ListPlacesStream = Pages<v1::PlacePage>;
    type ListFetchesStream = Pages<v1::FetchPage>;
    type ListGroupsStream = Pages<v1::GroupPage>;
    type ListLedgerStream = Pages<v1::LedgerPage>;
    type ListDeploymentsStream = Pages<v1::DeploymentPage>;
    type ListAuditStream = Pages<v1::AuditPage>;
    type ListPolicyStream = Pages<v1::PolicyPage>;
    type DiffPolicyStream = Pages<v1::PolicyDifferencePage>;
    type GetLogsStream = Pages<v1::AttemptLog>;
    type ListServicesStream = Pages<v1::ServicePage>;
    type ListStrangersStream = Pages<v1::StrangerPage>;
    type ListVersionsStream = Pages<v1::VersionPage>;

    async fn apply_services(
        &self,
        request: Request<v1::ApplyServicesRequest>,
    ) -> Result<Response<v1::ServicesChanged>, Status> {
        services::apply(&mut self.tables(), request.into_inner())
    }

    async fn change_service(
        &self,
        request: Request<v1::ChangeServiceRequest>,
    ) -> Result<Response<v1::ServiceChanged>, Status> {
        services::change(&mut self.tables(), request.into_inner())
    }

    async fn list_zones(
        &self,
        _: Request<v1::ListZonesRequest>,
    ) -> Result<Response<v1::FleetZones>, Status> {
        Ok(Response::new((&self.tables().zones).into()))
    }

    async fn release_brake(
        &self,
        request: Request<v1::ReleaseBrakeRequest>,
    ) -> Result<Response<v1::BrakeReleased>, Status> {
        let on = request.into_inner().on;
        self.tables().released_brakes.push(on.clone());
        Ok(Response::new(v1::BrakeReleased { on }))
    }

    async fn list_services(
        &self,
        request: Request<v1::ListServicesRequest>,
    ) -> Result<Response<Pages<v1::ServicePage>>, Status> {
        services::list(&mut self.tables(), &request.into_inner().name)
    }

    async fn plan_services(
        &self,
        request: Request<v1::ApplyServicesRequest>,
    ) -> Result<Response<v1::ServicePlans>, Status> {
        services::plan(&mut self.tables(), request.into_inner())
    }

    async fn list_strangers(
        &self,
        _: Request<v1::ListStrangersRequest>,
    ) -> Result<Response<Pages<v1::StrangerPage>>, Status> {
        let strangers = self.tables().strangers.iter().map(Into::into).collect();
        Ok(pages(vec![Ok(v1::StrangerPage { strangers })]))
    }

    async fn list_versions(
        &self,
        request: Request<v1::ListVersionsRequest>,
    ) -> Result<Response<Pages<v1::VersionPage>>, Status> {
        services::versions(&self.tables(), &request.into_inner().name)
    }

    async fn submit(
        &self,
        request: Request<v1::SubmitRequest>,
    ) -> Result<Response<v1::SubmitResponse>, Status> {
        allowed(&request, "Submit")?;
        let mut tables = self.tables();
        tables.submitted.push(request.into_inner());
        match tables.refusals.pop_front() {
            Some(refusal) => Err(refusal),
            None => {
                let warnings = tables.warnings.clone();
                Ok(Response::new(v1::SubmitResponse { flow: 42, repeated: false, warnings }))
            }
        }
    }

    async fn plan(
        &self,
        request: Request<v1::PlanRequest>,
    ) -> Result<Response<v1::PlanResponse>, Status> {
        let mut tables = self.tables();
        tables.plans.push(request.into_inner());
        Ok(Response::new((&tables.planned).into()))
    }

    async fn explain(
        &self,
        request: Request<v1::ExplainRequest>,
    ) -> Result<Response<v1::ExplainResponse>, Status> {
        let request = request.into_inner();
        let flow = self.find(request.flow.clone())?;
        let mut tables = self.tables();
        tables.explains.push(request);
        let state = flow.summary.state.to_string();
        let explained = tables.explained.clone();
        Ok(Response::new(v1::ExplainResponse { flow: flow.summary.id.0, state, ..explained }))
    }

    async fn pause(
        &self,
        request: Request<v1::PauseRequest>,
    ) -> Result<Response<v1::FlowChanged>, Status> {
        let flow = self.find(request.into_inner().flow)?.summary.id.0;
        Ok(Response::new(v1::FlowChanged { flow, state: "paused".to_owned() }))
    }

    async fn resume(
        &self,
        request: Request<v1::ResumeRequest>,
    ) -> Result<Response<v1::FlowChanged>, Status> {
        let flow = self.find(request.into_inner().flow)?.summary.id.0;
        Ok(Response::new(v1::FlowChanged { flow, state: "running".to_owned() }))
    }

    async fn promote(
        &self,
        request: Request<v1::PromoteRequest>,
    ) -> Result<Response<v1::FlowChanged>, Status> {
        let request = request.into_inner();
        let flow = self.find(request.flow.clone())?.summary.id.0;
        if request.job_name == "nobody" {
            return Err(Status::failed_precondition("no such job has a canary"));
        }
        self.tables().promotes.push(request);
        Ok(Response::new(v1::FlowChanged { flow, state: "running".to_owned() }))
    }

    async fn retry(
        &self,
        request: Request<v1::RetryRequest>,
    ) -> Result<Response<v1::RetryResponse>, Status> {
        let mut tables = self.tables();
        tables.retries.push(request.into_inner());
        match tables.refusals.pop_front() {
            Some(refusal) => Err(refusal),
            None => {
                let flow = tables.retried;
                Ok(Response::new(v1::RetryResponse { flow, tasks: 3, repeated: false }))
            }
        }
    }

    async fn drain(
        &self,
        request: Request<v1::DrainRequest>,
    ) -> Result<Response<v1::DrainResponse>, Status> {
        let request = request.into_inner();
        self.tables().reasons.push(request.reason);
        let count = u32::from(request.hosts != "fe9");
        let hosts = if count == 0 { String::new() } else { request.hosts };
        Ok(Response::new(v1::DrainResponse { hosts, count, in_flight: 2 * count }))
    }

    async fn undrain(
        &self,
        request: Request<v1::UndrainRequest>,
    ) -> Result<Response<v1::DrainResponse>, Status> {
        let hosts = request.into_inner().hosts;
        Ok(Response::new(v1::DrainResponse { hosts, count: 1, in_flight: 0 }))
    }

    async fn list_ledger(
        &self,
        request: Request<v1::ListLedgerRequest>,
    ) -> Result<Response<Pages<v1::LedgerPage>>, Status> {
        let request = request.into_inner();
        let wanted = |cell: &&CellStatus| {
            let deployment = cell.key.deployment().map(DeploymentName::as_str);
            (request.deployment.is_empty() || deployment == Some(request.deployment.as_str()))
                && (!request.busy || !cell.holders.is_empty() || !cell.waiting.is_empty())
        };
        let tables = self.tables();
        let cells = tables.cells.iter().filter(wanted);
        Ok(pages(cells.map(|cell| Ok(v1::LedgerPage { cells: vec![cell.into()] })).collect()))
    }

    async fn release_holds(
        &self,
        request: Request<v1::ReleaseHoldsRequest>,
    ) -> Result<Response<v1::ReleaseHoldsResponse>, Status> {
        let request = request.into_inner();
        self.tables().reasons.push(request.reason);
        let count = u32::from(request.hosts != "fe9");
        let hosts = if count == 0 { String::new() } else { request.hosts };
        Ok(Response::new(v1::ReleaseHoldsResponse { hosts, count }))
    }

    async fn list_deployments(
        &self,
        request: Request<v1::ListDeploymentsRequest>,
    ) -> Result<Response<Pages<v1::DeploymentPage>>, Status> {
        let name = request.into_inner().name;
        let tables = self.tables();
        let found = tables.deployments.iter().filter(|of| name.is_empty() || of.name == name);
        let deployments = found.cloned().collect();
        Ok(pages(vec![Ok(v1::DeploymentPage { deployments })]))
    }

    async fn get_flow(
        &self,
        request: Request<v1::GetFlowRequest>,
    ) -> Result<Response<v1::FlowStatus>, Status> {
        allowed(&request, "GetFlow")?;
        Ok(Response::new((&self.find(request.into_inner().flow)?).into()))
    }

    async fn list_failures(
        &self,
        request: Request<v1::ListFailuresRequest>,
    ) -> Result<Response<Pages<v1::FailurePage>>, Status> {
        let request = request.into_inner();
        let flow = self.find(request.flow)?;
        let mut fold = FailureFold::default();
        let wanted = |task: &&TaskStatus| {
            (request.slot == 0 || u32::from(task.job.slot) == request.slot)
                && (request.job == 0 || u32::from(task.job.job) == request.job)
        };
        let tables = self.tables();
        let tasks = tables.tasks.get(&flow.summary.id.0).map_or(&[][..], Vec::as_slice);
        tasks.iter().filter(wanted).for_each(|task| fold.add(task));
        let failures = fold.finish().iter().map(Into::into).collect();
        Ok(pages(vec![Ok(v1::FailurePage { failures })]))
    }

    async fn list_tasks(
        &self,
        request: Request<v1::ListTasksRequest>,
    ) -> Result<Response<Pages<v1::TaskPage>>, Status> {
        let request = request.into_inner();
        let flow = self.find(request.flow)?;
        let named = |task: &TaskStatus| {
            let name = JobName::new(&request.job_name);
            name.is_err()
                || flow
                    .slots
                    .iter()
                    .flatten()
                    .any(|job| job.id == task.job && Ok(&job.name) == name.as_ref())
        };
        let wanted = |task: &&TaskStatus| {
            let host = task.host.as_ref().map_or("", |host| host.as_str());
            (request.slot == 0 || u32::from(task.job.slot) == request.slot)
                && (request.job == 0 || u32::from(task.job.job) == request.job)
                && (request.host.is_empty() || request.host == host)
                && (request.states.is_empty()
                    || request.states.iter().any(|state| state == task.state.as_str()))
                && named(task)
        };
        if let Some(told) = self.tables().task_lists.pop_front() {
            return Ok(pages(told));
        }
        let tables = self.tables();
        let tasks = tables.tasks.get(&flow.summary.id.0).map_or(&[][..], Vec::as_slice);
        let tasks: Vec<v1::TaskStatus> = tasks
            .iter()
            .filter(wanted)
            .map(|task| match request.ends {
                true => task.into(),
                false => {
                    let last_line = task.last_line.clone().filter(|_| request.last_lines);
                    (&TaskStatus { end: None, last_line, ..task.clone() }).into()
                }
            })
            .collect();
        let page = |tasks: &[v1::TaskStatus]| {
            Ok(v1::TaskPage { tasks: tasks.to_vec(), ..Default::default() })
        };
        Ok(pages(tasks.chunks(1_000).map(page).collect()))
    }

    async fn list_flows(
        &self,
        request: Request<v1::ListFlowsRequest>,
    ) -> Result<Response<Pages<v1::FlowPage>>, Status> {
        let request = request.into_inner();
        let limit = if request.limit == 0 { 20 } else { request.limit as usize };
        let wanted = FlowFilter::try_from(request).unwrap();
        let tables = self.tables();
        let has_job = |flow: &FlowStatus| {
            flow.slots.iter().flatten().any(|job| {
                let targets = HostSet::parse_plain(&job.targets).unwrap();
                wanted.score.as_ref().is_none_or(|score| *score == job.score)
                    && wanted.host.as_ref().is_none_or(|host| targets.contains(host))
            })
        };
        let flows = tables.flows.values().rev();
        let flows = flows.filter(|flow| wanted.takes(&flow.summary) && has_job(flow));
        let counted =
            |flow: &FlowStatus| FlowSummary { counts: Some(flow.counts()), ..flow.summary.clone() };
        let flows = flows.take(limit).map(|flow| (&counted(flow)).into()).collect();
        Ok(pages(vec![Ok(v1::FlowPage { flows, filtered: !tables.is_old })]))
    }

    async fn watch(
        &self,
        request: Request<v1::WatchRequest>,
    ) -> Result<Response<Pages<v1::WatchEvent>>, Status> {
        use tokio_stream::StreamExt as _;
        use v1::watch_event::Event;
        let request = request.into_inner();
        let flow = self.find(request.flow.clone())?;
        let mut tables = self.tables();
        tables.watched.push(request);
        if let Some(told) = tables.watches.pop_front() {
            return Ok(pages(told));
        }
        let event = Some(Event::Status((&flow).into()));
        let status = v1::WatchEvent { event, cursor: None };
        let silence = tokio_stream::pending();
        Ok(Response::new(Box::pin(tokio_stream::iter([Ok(status)]).chain(silence))))
    }

    async fn cancel(
        &self,
        request: Request<v1::CancelRequest>,
    ) -> Result<Response<v1::CancelResponse>, Status> {
        let request = request.into_inner();
        let flow = self.find(request.flow)?;
        if !request.reason.is_empty() {
            self.tables().reasons.push(request.reason);
        }
        let state = match flow.summary.state {
            _ if request.abandon => "cancelled".to_owned(),
            state if state.is_final() => state.to_string(),
            _ => "cancelling".to_owned(),
        };
        Ok(Response::new(v1::CancelResponse { flow: flow.summary.id.0, state }))
    }

    async fn list_players(
        &self,
        request: Request<v1::ListPlayersRequest>,
    ) -> Result<Response<Pages<v1::PlayerPage>>, Status> {
        let request = request.into_inner();
        let wanted = |player: &&PlayerStatus| {
            request.hosts.is_empty() || request.hosts == player.host.as_str()
        };
        let player = |player: &PlayerStatus| {
            let mut player: v1::PlayerStatus = player.into();
            if !request.scores {
                player.scores.clear();
            }
            player
        };
        let players = self.tables().players.iter().filter(wanted).map(player).collect();
        Ok(pages(vec![Ok(v1::PlayerPage { players })]))
    }

    async fn list_scores(
        &self,
        request: Request<v1::ListScoresRequest>,
    ) -> Result<Response<Pages<v1::ScorePage>>, Status> {
        let only = ScoreName::new(&request.into_inner().score).ok();
        let mut holdings = Holdings::default();
        for player in self
            .tables()
            .players
            .iter()
            .filter(|player| player.attached || !player.scores.is_empty())
        {
            holdings.add(player.host.clone(), &player.scores.clone().into());
        }
        let (heard, held) = holdings.finish(only.as_ref());
        let scores = held.iter().map(Into::into).collect();
        Ok(pages(vec![Ok(v1::ScorePage { heard: heard.to_string(), scores })]))
    }

    async fn list_places(
        &self,
        request: Request<v1::ListPlacesRequest>,
    ) -> Result<Response<Pages<v1::PlacePage>>, Status> {
        let only = PlaceName::new(&request.into_inner().place).ok();
        let mut holders = PlaceHolders::default();
        for (host, report) in &self.tables().places {
            holders.add(host, report, only.as_ref());
        }
        let (heard, held, troubles) = holders.finish();
        Ok(pages(vec![Ok(v1::PlacePage {
            heard: heard.to_string(),
            places: held.iter().map(Into::into).collect(),
            troubles: troubles.iter().map(Into::into).collect(),
        })]))
    }

    async fn list_fetches(
        &self,
        _: Request<v1::ListFetchesRequest>,
    ) -> Result<Response<Pages<v1::FetchPage>>, Status> {
        let fetches = self.tables().fetches.iter().map(Into::into).collect();
        Ok(pages(vec![Ok(v1::FetchPage { fetches })]))
    }

    async fn register_bundle(
        &self,
        request: Request<v1::RegisterBundleRequest>,
    ) -> Result<Response<v1::RegisterBundleResponse>, Status> {
        services::register_bundle(&mut self.tables().bundles, request.into_inner())
    }

    async fn list_bundles(
        &self,
        _: Request<v1::ListBundlesRequest>,
    ) -> Result<Response<Pages<v1::BundlePage>>, Status> {
        let bundles = self.tables().bundles.iter().map(Into::into).collect();
        Ok(pages(vec![Ok(v1::BundlePage { bundles })]))
    }

    async fn list_vitals(
        &self,
        request: Request<v1::ListVitalsRequest>,
    ) -> Result<Response<Pages<v1::VitalsPage>>, Status> {
        let mut tables = self.tables();
        tables.vitals_asked.push(request.into_inner());
        let hosts = tables.vitals.iter().map(Into::into).collect();
        Ok(pages(vec![Ok(v1::VitalsPage { hosts })]))
    }

    async fn list_groups(
        &self,
        _: Request<v1::ListGroupsRequest>,
    ) -> Result<Response<Pages<v1::GroupPage>>, Status> {
        let groups = self.tables().groups.clone();
        Ok(pages(vec![Ok(v1::GroupPage { groups })]))
    }

    async fn who_am_i(
        &self,
        _: Request<v1::WhoAmIRequest>,
    ) -> Result<Response<v1::WhoAmIResponse>, Status> {
        let rules = self.tables().policy.clone();
        let open = rules.is_empty();
        Ok(Response::new(v1::WhoAmIResponse { name: "alice".to_owned(), open, rules }))
    }

    async fn list_policy(
        &self,
        _: Request<v1::ListPolicyRequest>,
    ) -> Result<Response<Pages<v1::PolicyPage>>, Status> {
        let rules = self.tables().policy.clone();
        Ok(pages(vec![Ok(v1::PolicyPage { open: rules.is_empty(), rules })]))
    }

    async fn check_right(
        &self,
        request: Request<v1::CheckRightRequest>,
    ) -> Result<Response<v1::CheckRightResponse>, Status> {
        let mut tables = self.tables();
        tables.rights_asked.push(request.into_inner());
        Ok(Response::new(tables.right.clone()))
    }

    async fn diff_policy(
        &self,
        request: Request<v1::DiffPolicyRequest>,
    ) -> Result<Response<Pages<v1::PolicyDifferencePage>>, Status> {
        let text = request.into_inner().text;
        let differences = self.tables().differences.clone();
        match text.contains("[[rule]]") {
            true => Ok(pages(vec![Ok(v1::PolicyDifferencePage { differences })])),
            false => Err(Status::invalid_argument("there is no [[rule]]")),
        }
    }

    async fn list_audit(
        &self,
        request: Request<v1::ListAuditRequest>,
    ) -> Result<Response<Pages<v1::AuditPage>>, Status> {
        let mut tables = self.tables();
        tables.audit_asked.push(request.into_inner());
        let lines = tables.audit.clone();
        Ok(pages(vec![Ok(v1::AuditPage { lines })]))
    }

    async fn verify_audit(
        &self,
        _request: Request<v1::VerifyAuditRequest>,
    ) -> Result<Response<v1::VerifyAuditResponse>, Status> {
        Ok(Response::new(self.tables().verified.clone()))
    }

    async fn follow_output(
        &self,
        request: Request<v1::FollowOutputRequest>,
    ) -> Result<Response<Pages<v1::OutputPart>>, Status> {
        let mut tables = self.tables();
        tables.follow_asked.push(request.into_inner());
        Ok(pages(tables.followed.pop_front().unwrap_or_default()))
    }

    async fn read_logs(
        &self,
        request: Request<v1::ReadLogsRequest>,
    ) -> Result<Response<Pages<v1::LogChunk>>, Status> {
        let mut tables = self.tables();
        tables.log_asked.push(request.into_inner());
        Ok(pages(tables.log_reads.pop_front().unwrap_or_default()))
    }

    async fn get_logs(
        &self,
        _: Request<v1::GetLogsRequest>,
    ) -> Result<Response<Pages<v1::AttemptLog>>, Status> {
        let mut tables = self.tables();
        let most = tables.logs_then.pop_front().unwrap_or(usize::MAX);
        Ok(pages(tables.logs.iter().take(most).cloned().map(Ok).collect()))
    }

    async fn status(
        &self,
        _: Request<v1::StatusRequest>,
    ) -> Result<Response<v1::ConductorStatus>, Status> {
        let tables = self.tables();
        let status = tables.status.as_ref().ok_or_else(|| Status::unimplemented("no status"))?;
        Ok(Response::new(status.into()))
    }

    async fn reload(
        &self,
        request: Request<v1::ReloadRequest>,
    ) -> Result<Response<v1::ReloadResponse>, Status> {
        let request = request.into_inner();
        self.tables().reloads.push(request);
        if !request.allow_removal {
            return Err(Status::failed_precondition("9 of 10 players would be removed"));
        }
        let deployments = Some(v1::DeploymentChanges { now: 2, added: 0, changed: 1, removed: 1 });
        Ok(Response::new(v1::ReloadResponse {
            players: 1,
            added: 0,
            removed: 9,
            deployments,
            closed: 0,
            services: self.tables().file_outcomes.clone(),
        }))
    }

    async fn recover(
        &self,
        request: Request<v1::RecoverRequest>,
    ) -> Result<Response<v1::RecoverResponse>, Status> {
        let request = request.into_inner();
        if request.store_id != "00ff" {
            return Err(Status::invalid_argument("another store is meant"));
        }
        if !request.although_healthy {
            return Err(Status::failed_precondition("nothing says that it is an old copy"));
        }
        Ok(Response::new(v1::RecoverResponse { term: 3, next_flow: 1_042 }))
    }

    async fn plan_recover(
        &self,
        _: Request<v1::PlanRecoverRequest>,
    ) -> Result<Response<v1::PlanRecoverResponse>, Status> {
        Ok(Response::new(v1::PlanRecoverResponse {
            store_id: "00ff".to_owned(),
            stale_store: "player db1 has proof of order 9".to_owned(),
            term: 3,
            next_flow: 1_000_042,
            attached: 9,
            quarantined: 1,
        }))
    }

    async fn release_players(
        &self,
        request: Request<v1::ReleasePlayersRequest>,
    ) -> Result<Response<v1::ReleasePlayersResponse>, Status> {
        let hosts = request.into_inner().hosts;
        match hosts.as_str() {
            "fe9" => Ok(Response::new(v1::ReleasePlayersResponse::default())),
            _ => Ok(Response::new(v1::ReleasePlayersResponse { hosts, count: 1, lost: 2 })),
        }
    }

    async fn resolve_hosts(
        &self,
        request: Request<v1::ResolveHostsRequest>,
    ) -> Result<Response<v1::ResolveHostsResponse>, Status> {
        match request.into_inner().hosts.as_str() {
            "@web" => {
                Ok(Response::new(v1::ResolveHostsResponse { hosts: "fe[1-3]".into(), count: 3 }))
            }
            _ => Err(Status::invalid_argument("there is no such group")),
        }
    }
}
