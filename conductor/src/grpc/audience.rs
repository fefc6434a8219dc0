//! The calls of the audience. Each reads who asks and what the request says, and calls the desk.

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use orchestra_model::{
    AudienceName, HostSet,
    bundle::{Registration, Seal},
    status::TaskStatus,
};
use orchestra_proto::{
    bundle_from_wire,
    v1::{self, audience_server::Audience},
};
use prost::Message as _;
use tonic::{Request, Response, Status};

use super::{
    answers,
    bounds::Turn,
    pages::{Pages, lasting_stream, stream},
    policy,
    requests::{self, audience},
    shared_outputs::SentOutputs,
};
use crate::{
    declined::{Declined, Ground},
    desk::{
        Conditions, Desk, Others, ReadProposal, RecoveryRequest, ToldOfEnds, WantedOutput,
        off_the_runtime,
    },
    reload::Allowed,
};

/// How many flows are listed if the request names no number.
const FLOWS: u32 = 20;

/// The service for the audience.
#[derive(Clone)]
pub(super) struct AudienceCalls(Desk);

impl AudienceCalls {
    pub(super) fn new(desk: Desk) -> Self {
        Self(desk)
    }

    /// Reads a submission, off the runtime's threads, because a spec may be large.
    async fn read(
        &self,
        request: v1::SubmitRequest,
        by: AudienceName,
    ) -> Result<ReadProposal, Declined> {
        self.0.check_length(request.encoded_len())?;
        let proposal = off_the_runtime(move || requests::proposal(request)).await??;
        self.0.read_proposal(proposal, by).await
    }
}

#[tonic::async_trait]
impl Audience for AudienceCalls {
    type ListTasksStream = Pages<v1::TaskPage>;
    type ListFailuresStream = Pages<v1::FailurePage>;
    type ListFlowsStream = Pages<v1::FlowPage>;
    type WatchStream = Pages<v1::WatchEvent>;
    type ListLedgerStream = Pages<v1::LedgerPage>;
    type ListDeploymentsStream = Pages<v1::DeploymentPage>;
    type ListPlayersStream = Pages<v1::PlayerPage>;
    type ListScoresStream = Pages<v1::ScorePage>;
    type ListBundlesStream = Pages<v1::BundlePage>;
    type ListPlacesStream = Pages<v1::PlacePage>;
    type ListFetchesStream = Pages<v1::FetchPage>;
    type ListGroupsStream = Pages<v1::GroupPage>;
    type ListAuditStream = Pages<v1::AuditPage>;
    type ListPolicyStream = Pages<v1::PolicyPage>;
    type DiffPolicyStream = Pages<v1::PolicyDifferencePage>;
    type ListServicesStream = Pages<v1::ServicePage>;
    type ListVersionsStream = Pages<v1::VersionPage>;
    type ListStrangersStream = Pages<v1::StrangerPage>;
    type GetLogsStream = Pages<v1::AttemptLog>;
    type ReadLogsStream = Pages<v1::LogChunk>;
    type FollowOutputStream = Pages<v1::OutputPart>;
    type ListVitalsStream = Pages<v1::VitalsPage>;

    async fn submit(
        &self,
        request: Request<v1::SubmitRequest>,
    ) -> Result<Response<v1::SubmitResponse>, Status> {
        let by = audience(&request)?;
        let turn = Turn::of(&request);
        let mut request = request.into_inner();
        let plan = Some(std::mem::take(&mut request.if_plan)).filter(|plan| !plan.is_empty());
        let conditions = Conditions { same_score: request.require_same_score, plan };
        let read = self.read(request, by).await?;
        if !read.is_large() {
            turn.give_back();
        }
        let taken = self.0.submit(read, &conditions).await?;
        Ok(Response::new(v1::SubmitResponse {
            flow: taken.flow.0,
            repeated: taken.repeated,
            warnings: taken.warnings,
        }))
    }

    async fn get_flow(
        &self,
        request: Request<v1::GetFlowRequest>,
    ) -> Result<Response<v1::FlowStatus>, Status> {
        let by = audience(&request)?;
        let flow = requests::flow(request.into_inner().flow)?;
        let id = self.0.flow_id(flow, &by).await?;
        Ok(Response::new((&self.0.status_of(id).await?).into()))
    }

    async fn list_tasks(
        &self,
        request: Request<v1::ListTasksRequest>,
    ) -> Result<Response<Pages<v1::TaskPage>>, Status> {
        let by = audience(&request)?;
        let request = request.into_inner();
        let choice = requests::choice(request.slot, request.job, &request.job_name)?;
        let filter = requests::task_filter(&request.host, &request.states)?;
        let id = self.0.flow_id(requests::flow(request.flow)?, &by).await?;
        let jobs = self.0.chosen_jobs(id, &choice).await?;
        let told = requests::told_of_ends(request.ends, request.last_lines);
        if told == ToldOfEnds::Whole {
            // A whole end has what its attempt printed.
            self.0.check_reads_output(&by, id, None).await?;
        }
        if request.shared_outputs {
            let sent = Mutex::<SentOutputs>::default();
            let encode = move |tasks: Vec<TaskStatus>| {
                Ok(sent.lock().unwrap_or_else(PoisonError::into_inner).pages(&tasks))
            };
            return Ok(stream(&self.0, encode, |desk, to| async move {
                desk.list_tasks(jobs, &filter, told, &to).await
            }));
        }
        Ok(stream(&self.0, answers::tasks, |desk, to| async move {
            desk.list_tasks(jobs, &filter, told, &to).await
        }))
    }

    async fn list_failures(
        &self,
        request: Request<v1::ListFailuresRequest>,
    ) -> Result<Response<Pages<v1::FailurePage>>, Status> {
        let by = audience(&request)?;
        let request = request.into_inner();
        let choice = requests::choice(request.slot, request.job, &request.job_name)?;
        let id = self.0.flow_id(requests::flow(request.flow)?, &by).await?;
        let jobs = self.0.chosen_jobs(id, &choice).await?;
        Ok(stream(&self.0, answers::failures, |desk, to| async move {
            desk.list_failures(id, jobs, &to).await
        }))
    }

    async fn list_flows(
        &self,
        request: Request<v1::ListFlowsRequest>,
    ) -> Result<Response<Pages<v1::FlowPage>>, Status> {
        let by = audience(&request)?;
        let request = request.into_inner();
        let most = if request.limit == 0 { FLOWS } else { request.limit };
        let wanted = requests::flow_filter(request)?;
        Ok(stream(&self.0, answers::flows, |desk, to| async move {
            desk.list_flows(wanted, most, &by, &to).await
        }))
    }

    async fn watch(
        &self,
        request: Request<v1::WatchRequest>,
    ) -> Result<Response<Pages<v1::WatchEvent>>, Status> {
        let by = audience(&request)?;
        let request = request.into_inner();
        let wanted = requests::watch_filter(&request)?;
        let id = self.0.flow_id(requests::flow(request.flow)?, &by).await?;
        let still = move |desk: Desk| {
            let by = by.clone();
            async move { desk.check_sees_flow(&by, id).await }
        };
        Ok(lasting_stream(&self.0, still, answers::notice, |desk, to| async move {
            desk.watch(id, wanted, &to).await
        }))
    }

    async fn plan(
        &self,
        request: Request<v1::PlanRequest>,
    ) -> Result<Response<v1::PlanResponse>, Status> {
        let by = audience(&request)?;
        let v1::PlanRequest { spec, params, require_same_score, allow_unknown } =
            request.into_inner();
        // Nothing is stored, so any id will do.
        let request_id = Bytes::from_static(&[0; 16]);
        let request =
            v1::SubmitRequest { request_id, spec, params, allow_unknown, ..Default::default() };
        let read = self.read(request, by).await?;
        let planned = self.0.plan(read, require_same_score).await?;
        Ok(Response::new(off_the_runtime(move || answers::plan(&planned)).await??))
    }

    async fn explain(
        &self,
        request: Request<v1::ExplainRequest>,
    ) -> Result<Response<v1::ExplainResponse>, Status> {
        let by = audience(&request)?;
        let request = request.into_inner();
        let choice = requests::choice(request.slot, request.job, &request.job_name)?;
        let host = requests::host(&request.host)?;
        let flow = requests::flow(request.flow)?;
        let explained = self.0.explain(flow, &choice, host, &by).await?;
        Ok(Response::new(v1::ExplainResponse {
            flow: explained.flow.0,
            state: explained.state.to_string(),
            explanations: explained.explanations.iter().map(Into::into).collect(),
        }))
    }

    async fn pause(
        &self,
        request: Request<v1::PauseRequest>,
    ) -> Result<Response<v1::FlowChanged>, Status> {
        let by = audience(&request)?;
        let flow = requests::flow(request.into_inner().flow)?;
        Ok(Response::new(answers::changed(&self.0.pause(flow, by).await?)))
    }

    async fn resume(
        &self,
        request: Request<v1::ResumeRequest>,
    ) -> Result<Response<v1::FlowChanged>, Status> {
        let by = audience(&request)?;
        let flow = requests::flow(request.into_inner().flow)?;
        Ok(Response::new(answers::changed(&self.0.resume(flow, by).await?)))
    }

    async fn promote(
        &self,
        request: Request<v1::PromoteRequest>,
    ) -> Result<Response<v1::FlowChanged>, Status> {
        let by = audience(&request)?;
        let request = request.into_inner();
        let (flow, job) = (requests::flow(request.flow)?, requests::job_name(&request.job_name)?);
        Ok(Response::new(answers::changed(&self.0.promote(flow, job, by).await?)))
    }

    async fn retry(
        &self,
        request: Request<v1::RetryRequest>,
    ) -> Result<Response<v1::RetryResponse>, Status> {
        let by = audience(&request)?;
        let retried = self.0.retry(requests::retry(request.into_inner())?, by).await?;
        Ok(Response::new(v1::RetryResponse {
            flow: retried.flow.0,
            tasks: retried.tasks,
            repeated: retried.repeated,
        }))
    }

    async fn cancel(
        &self,
        request: Request<v1::CancelRequest>,
    ) -> Result<Response<v1::CancelResponse>, Status> {
        let by = audience(&request)?;
        let v1::CancelRequest { flow, abandon, reason } = request.into_inner();
        let cancelled = self.0.cancel(requests::flow(flow)?, &reason, abandon, by).await?;
        Ok(Response::new(v1::CancelResponse {
            flow: cancelled.flow.0,
            state: cancelled.state.to_string(),
        }))
    }

    async fn drain(
        &self,
        request: Request<v1::DrainRequest>,
    ) -> Result<Response<v1::DrainResponse>, Status> {
        let by = audience(&request)?;
        let v1::DrainRequest { hosts, reason } = request.into_inner();
        Ok(Response::new(answers::drained(&self.0.drain(hosts, &reason, by).await?)))
    }

    async fn undrain(
        &self,
        request: Request<v1::UndrainRequest>,
    ) -> Result<Response<v1::DrainResponse>, Status> {
        let by = audience(&request)?;
        let undrained = self.0.undrain(request.into_inner().hosts, by).await?;
        Ok(Response::new(answers::drained(&undrained)))
    }

    async fn list_ledger(
        &self,
        request: Request<v1::ListLedgerRequest>,
    ) -> Result<Response<Pages<v1::LedgerPage>>, Status> {
        self.0.check_sees_all(&audience(&request)?)?;
        let v1::ListLedgerRequest { deployment, busy } = request.into_inner();
        let chosen = requests::deployment(&deployment)?;
        chosen.as_ref().map_or(Ok(()), |name| self.0.check_deployment(name))?;
        Ok(stream(&self.0, answers::cells, |desk, to| async move {
            desk.list_cells(chosen, busy, &to).await
        }))
    }

    async fn release_holds(
        &self,
        request: Request<v1::ReleaseHoldsRequest>,
    ) -> Result<Response<v1::ReleaseHoldsResponse>, Status> {
        let by = audience(&request)?;
        let v1::ReleaseHoldsRequest { hosts, reason } = request.into_inner();
        let released = self.0.release_holds(hosts, &reason, by).await?;
        let (hosts, count) = answers::folded(&released.hosts);
        Ok(Response::new(v1::ReleaseHoldsResponse { hosts, count }))
    }

    async fn list_deployments(
        &self,
        request: Request<v1::ListDeploymentsRequest>,
    ) -> Result<Response<Pages<v1::DeploymentPage>>, Status> {
        self.0.check_sees_all(&audience(&request)?)?;
        let chosen = requests::deployment(&request.into_inner().name)?;
        chosen.as_ref().map_or(Ok(()), |name| self.0.check_deployment(name))?;
        Ok(stream(&self.0, answers::deployments, |desk, to| async move {
            desk.list_deployments(chosen, &to).await
        }))
    }

    async fn list_players(
        &self,
        request: Request<v1::ListPlayersRequest>,
    ) -> Result<Response<Pages<v1::PlayerPage>>, Status> {
        let by = audience(&request)?;
        let v1::ListPlayersRequest { hosts, scores } = request.into_inner();
        let hosts = self.0.seen_players(hosts, &by).await?;
        Ok(stream(&self.0, answers::players, |desk, to| async move {
            desk.list_players(hosts, scores, &to).await
        }))
    }

    async fn list_scores(
        &self,
        request: Request<v1::ListScoresRequest>,
    ) -> Result<Response<Pages<v1::ScorePage>>, Status> {
        let by = audience(&request)?;
        let v1::ListScoresRequest { hosts, score } = request.into_inner();
        let score = requests::score(&score)?;
        let hosts = self.0.seen_players(hosts, &by).await?;
        Ok(stream(&self.0, answers::scores, |desk, to| async move {
            desk.list_scores(hosts, score, &to).await
        }))
    }

    async fn list_places(
        &self,
        request: Request<v1::ListPlacesRequest>,
    ) -> Result<Response<Pages<v1::PlacePage>>, Status> {
        let by = audience(&request)?;
        let v1::ListPlacesRequest { hosts, place } = request.into_inner();
        let place = requests::place(&place)?;
        let hosts = self.0.seen_players(hosts, &by).await?;
        Ok(stream(&self.0, answers::places, |desk, to| async move {
            desk.list_places(hosts, place, &to).await
        }))
    }

    async fn register_bundle(
        &self,
        request: Request<v1::RegisterBundleRequest>,
    ) -> Result<Response<v1::RegisterBundleResponse>, Status> {
        let by = audience(&request)?;
        let v1::RegisterBundleRequest { seal, source } = request.into_inner();
        let seal = Seal::decode(&seal).map_err(|error| Declined::invalid(&error))?;
        let source = requests::host(&source)?;
        let Registration { bundle, unchanged, .. } =
            self.0.register_bundle(seal, source, by).await?;
        let bundle = Some((&bundle).into());
        Ok(Response::new(v1::RegisterBundleResponse { bundle, unchanged }))
    }

    async fn list_bundles(
        &self,
        request: Request<v1::ListBundlesRequest>,
    ) -> Result<Response<Pages<v1::BundlePage>>, Status> {
        let by = audience(&request)?;
        let name = requests::bundle(&request.into_inner().name)?;
        Ok(stream(&self.0, answers::bundles, |desk, to| async move {
            desk.list_bundles(name, &by, &to).await
        }))
    }

    async fn list_fetches(
        &self,
        request: Request<v1::ListFetchesRequest>,
    ) -> Result<Response<Pages<v1::FetchPage>>, Status> {
        let by = audience(&request)?;
        let v1::ListFetchesRequest { hosts, bundle } = request.into_inner();
        let bundle = bundle_from_wire(&bundle).map_err(|error| Declined::invalid(&error))?;
        let hosts = self.0.seen_players(hosts, &by).await?;
        Ok(stream(&self.0, answers::fetches, |desk, to| async move {
            desk.list_fetches(hosts, bundle, &to).await
        }))
    }

    async fn list_vitals(
        &self,
        request: Request<v1::ListVitalsRequest>,
    ) -> Result<Response<Pages<v1::VitalsPage>>, Status> {
        let by = audience(&request)?;
        let v1::ListVitalsRequest { hosts, units } = request.into_inner();
        let hosts = self.0.seen_players(hosts, &by).await?;
        Ok(stream(&self.0, answers::vitals, |desk, to| async move {
            desk.list_vitals(hosts, units, &to).await
        }))
    }

    async fn get_logs(
        &self,
        request: Request<v1::GetLogsRequest>,
    ) -> Result<Response<Pages<v1::AttemptLog>>, Status> {
        let by = audience(&request)?;
        let request = request.into_inner();
        let choice = requests::choice(request.slot, request.job, &request.job_name)?;
        let host = requests::host(&request.host)?
            .ok_or_else(|| Declined::new(Ground::Invalid, "logs are of one host: ID@HOST"))?;
        let id = self.0.flow_id(requests::flow(request.flow)?, &by).await?;
        let jobs = self.0.chosen_jobs(id, &choice).await?;
        self.0.check_names(id, &jobs, &host).await?;
        let on = HostSet::from_names([host.clone()]);
        self.0.check_reads_output(&by, id, Some(&on)).await?;
        Ok(stream(&self.0, answers::attempt, |desk, to| async move {
            desk.list_attempts(jobs, &host, &to).await
        }))
    }

    async fn status(
        &self,
        request: Request<v1::StatusRequest>,
    ) -> Result<Response<v1::ConductorStatus>, Status> {
        let by = audience(&request)?;
        Ok(Response::new((&self.0.conductor_status(&by).await?).into()))
    }

    async fn reload(
        &self,
        request: Request<v1::ReloadRequest>,
    ) -> Result<Response<v1::ReloadResponse>, Status> {
        let by = audience(&request)?;
        let v1::ReloadRequest { allow_removal, take_over, allow_lockout } = request.into_inner();
        let allowed = Allowed { removal: allow_removal, take_over, lockout: allow_lockout };
        Ok(Response::new(answers::loaded(&self.0.reload(allowed, &by).await?)))
    }

    async fn recover(
        &self,
        request: Request<v1::RecoverRequest>,
    ) -> Result<Response<v1::RecoverResponse>, Status> {
        let by = audience(&request)?;
        let v1::RecoverRequest { store_id, although_healthy } = request.into_inner();
        let request = RecoveryRequest { store_id, although_healthy };
        let (term, next_flow) = self.0.recover(&request, &by).await?;
        Ok(Response::new(v1::RecoverResponse { term: term.0, next_flow: next_flow.0 }))
    }

    async fn plan_recover(
        &self,
        request: Request<v1::PlanRecoverRequest>,
    ) -> Result<Response<v1::PlanRecoverResponse>, Status> {
        let by = audience(&request)?;
        let outlook = self.0.plan_recovery(&by).await?;
        Ok(Response::new(v1::PlanRecoverResponse {
            store_id: outlook.store_id,
            stale_store: outlook.stale_store.unwrap_or_default(),
            term: outlook.term.0,
            next_flow: outlook.next_flow.0,
            attached: outlook.attached,
            quarantined: outlook.quarantined,
        }))
    }

    async fn release_players(
        &self,
        request: Request<v1::ReleasePlayersRequest>,
    ) -> Result<Response<v1::ReleasePlayersResponse>, Status> {
        let by = audience(&request)?;
        let v1::ReleasePlayersRequest { hosts, reason } = request.into_inner();
        let released = self.0.release_players(hosts, &reason, by).await?;
        let (hosts, count) = answers::folded(&released.hosts);
        Ok(Response::new(v1::ReleasePlayersResponse { hosts, count, lost: released.lost }))
    }

    async fn resolve_hosts(
        &self,
        request: Request<v1::ResolveHostsRequest>,
    ) -> Result<Response<v1::ResolveHostsResponse>, Status> {
        self.0.check_sees_all(&audience(&request)?)?;
        let hosts = self.0.hosts(request.into_inner().hosts, Others::Any, None).await?;
        let (hosts, count) = answers::folded(&hosts);
        Ok(Response::new(v1::ResolveHostsResponse { hosts, count }))
    }

    async fn list_groups(
        &self,
        request: Request<v1::ListGroupsRequest>,
    ) -> Result<Response<Pages<v1::GroupPage>>, Status> {
        let by = audience(&request)?;
        Ok(stream(
            &self.0,
            answers::groups,
            |desk, to| async move { desk.list_groups(&by, &to).await },
        ))
    }

    async fn list_audit(
        &self,
        request: Request<v1::ListAuditRequest>,
    ) -> Result<Response<Pages<v1::AuditPage>>, Status> {
        let by = audience(&request)?;
        let wanted = requests::audit_filter(request.into_inner())?;
        Ok(stream(&self.0, answers::audit, |desk, to| async move {
            desk.list_audit(wanted, &by, &to).await
        }))
    }

    async fn verify_audit(
        &self,
        request: Request<v1::VerifyAuditRequest>,
    ) -> Result<Response<v1::VerifyAuditResponse>, Status> {
        let by = audience(&request)?;
        let mark = requests::audit_mark(&request.into_inner())?;
        let report = self.0.verify_audit(mark, &by).await?;
        Ok(Response::new(answers::audit_report(report)))
    }

    async fn who_am_i(
        &self,
        request: Request<v1::WhoAmIRequest>,
    ) -> Result<Response<v1::WhoAmIResponse>, Status> {
        let by = audience(&request)?;
        let v1::PolicyPage { open, rules } = policy::rules(self.0.rules_of(&by));
        Ok(Response::new(v1::WhoAmIResponse { name: by.to_string(), open, rules }))
    }

    async fn list_policy(
        &self,
        request: Request<v1::ListPolicyRequest>,
    ) -> Result<Response<Pages<v1::PolicyPage>>, Status> {
        let by = audience(&request)?;
        Ok(stream(&self.0, policy::rule_pages, |desk, to| async move {
            desk.list_policy(&by, &to).await
        }))
    }

    async fn check_right(
        &self,
        request: Request<v1::CheckRightRequest>,
    ) -> Result<Response<v1::CheckRightResponse>, Status> {
        let by = audience(&request)?;
        let asked = policy::right_question(request.into_inner())?;
        Ok(Response::new(policy::right(&self.0.answer_right(asked, &by).await?)))
    }

    async fn diff_policy(
        &self,
        request: Request<v1::DiffPolicyRequest>,
    ) -> Result<Response<Pages<v1::PolicyDifferencePage>>, Status> {
        let by = audience(&request)?;
        let text = request.into_inner().text;
        Ok(stream(&self.0, policy::difference_pages, |desk, to| async move {
            desk.diff_policy(text, &by, &to).await
        }))
    }

    async fn apply_services(
        &self,
        request: Request<v1::ApplyServicesRequest>,
    ) -> Result<Response<v1::ServicesChanged>, Status> {
        let by = audience(&request)?;
        let v1::ApplyServicesRequest { specs, take_over } = request.into_inner();
        let specs = requests::applied_specs(&specs)?;
        let taken = self.0.apply_services(specs, take_over, by).await?;
        let services = taken.iter().map(answers::service_changed).collect();
        Ok(Response::new(v1::ServicesChanged { services }))
    }

    async fn plan_services(
        &self,
        request: Request<v1::ApplyServicesRequest>,
    ) -> Result<Response<v1::ServicePlans>, Status> {
        let by = audience(&request)?;
        let v1::ApplyServicesRequest { specs, take_over } = request.into_inner();
        let specs = requests::applied_specs(&specs)?;
        let planned = self.0.plan_services(specs, take_over, by).await?;
        let services = planned.into_iter().map(answers::service_plan).collect();
        Ok(Response::new(v1::ServicePlans { services }))
    }

    async fn change_service(
        &self,
        request: Request<v1::ChangeServiceRequest>,
    ) -> Result<Response<v1::ServiceChanged>, Status> {
        let by = audience(&request)?;
        let v1::ChangeServiceRequest { name, verb } = request.into_inner();
        let (name, verb) = (requests::service(&name)?, requests::service_verb(verb)?);
        let taken = self.0.change_service(name, verb, by).await?;
        Ok(Response::new(answers::service_changed(&taken)))
    }

    async fn list_zones(
        &self,
        request: Request<v1::ListZonesRequest>,
    ) -> Result<Response<v1::FleetZones>, Status> {
        let by = audience(&request)?;
        Ok(Response::new((&self.0.zones(&by).await?).into()))
    }

    async fn release_brake(
        &self,
        request: Request<v1::ReleaseBrakeRequest>,
    ) -> Result<Response<v1::BrakeReleased>, Status> {
        let by = audience(&request)?;
        let v1::ReleaseBrakeRequest { on } = request.into_inner();
        self.0.release_brake(requests::brake_scope(&on)?, by).await?;
        Ok(Response::new(v1::BrakeReleased { on }))
    }

    async fn list_services(
        &self,
        request: Request<v1::ListServicesRequest>,
    ) -> Result<Response<Pages<v1::ServicePage>>, Status> {
        let by = audience(&request)?;
        let name = request.into_inner().name;
        let name = match name.as_str() {
            "" => None,
            name => Some(requests::service(name)?),
        };
        Ok(stream(&self.0, answers::services, |desk, to| async move {
            desk.list_services(name, &by, &to).await
        }))
    }

    async fn list_strangers(
        &self,
        request: Request<v1::ListStrangersRequest>,
    ) -> Result<Response<Pages<v1::StrangerPage>>, Status> {
        let by = audience(&request)?;
        Ok(stream(&self.0, answers::strangers, |desk, to| async move {
            desk.list_strangers(&by, &to).await
        }))
    }

    async fn list_versions(
        &self,
        request: Request<v1::ListVersionsRequest>,
    ) -> Result<Response<Pages<v1::VersionPage>>, Status> {
        let by = audience(&request)?;
        let name = requests::service(&request.into_inner().name)?;
        Ok(stream(&self.0, answers::versions, |desk, to| async move {
            desk.list_versions(name, &by, &to).await
        }))
    }

    async fn follow_output(
        &self,
        request: Request<v1::FollowOutputRequest>,
    ) -> Result<Response<Pages<v1::OutputPart>>, Status> {
        let by = audience(&request)?;
        let v1::FollowOutputRequest { flow, slot, job, job_name, hosts } = request.into_inner();
        let choice = requests::choice(slot, job, &job_name)?;
        let flow = self.0.flow_id(requests::flow(flow)?, &by).await?;
        let jobs = self.0.chosen_jobs(flow, &choice).await?.into_iter().collect();
        let hosts = match hosts.is_empty() {
            true => None,
            false => Some(self.0.players(hosts, &by).await?),
        };
        self.0.check_reads_output(&by, flow, hosts.as_ref()).await?;
        let (asker, on) = (by.clone(), hosts.clone());
        let still = move |desk: Desk| {
            let (asker, on) = (asker.clone(), on.clone());
            async move {
                desk.check_sees_flow(&asker, flow).await?;
                desk.check_reads_output(&asker, flow, on.as_ref()).await
            }
        };
        let wanted = WantedOutput { flow, jobs, hosts };
        Ok(lasting_stream(&self.0, still, answers::output_part, |desk, to| async move {
            desk.follow_output(wanted, by, &to).await
        }))
    }

    async fn read_logs(
        &self,
        request: Request<v1::ReadLogsRequest>,
    ) -> Result<Response<Pages<v1::LogChunk>>, Status> {
        let by = audience(&request)?;
        let (which, query) = requests::read_logs(&request.into_inner())?;
        let (asker, of) = (by.clone(), which.clone());
        let still = move |desk: Desk| {
            let (asker, of) = (asker.clone(), of.clone());
            async move { desk.check_log(&of, &asker).await.map(drop) }
        };
        Ok(lasting_stream(&self.0, still, answers::log_chunk, |desk, to| async move {
            desk.read_logs(which, query, by, &to).await
        }))
    }
}
