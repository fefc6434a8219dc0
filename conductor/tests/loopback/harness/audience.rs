//! A pretend tool: every call of the audience, in a line.

use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use orchestra_certs::Role;
use orchestra_proto::v1::{self, audience_client::AudienceClient, flow_ref};
use prost::Message as _;
use tonic::{Response, Status, Streaming, transport::Channel};

use super::{Place, soon};

/// Somebody who asks.
#[derive(Clone)]
pub(crate) struct Audience {
    pub(crate) client: AudienceClient<Channel>,
}

/// A request id that was not used before.
pub(crate) fn request_id() -> Bytes {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let mut id = [0; 16];
    id[..8].copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    Bytes::copy_from_slice(&id)
}

/// A job on all of these hosts.
pub(crate) fn job(targets: &str) -> v1::JobSpec {
    v1::JobSpec {
        name: "job".to_owned(),
        score: "hello".to_owned(),
        targets: targets.to_owned(),
        ..Default::default()
    }
}

/// A job on one of these hosts.
pub(crate) fn one_of(targets: &str) -> v1::JobSpec {
    v1::JobSpec { scope: v1::Scope::One.into(), ..job(targets) }
}

/// A submission of slots with one job each, named by their number.
pub(crate) fn request(jobs: impl IntoIterator<Item = v1::JobSpec>) -> v1::SubmitRequest {
    let slots = (1..).zip(jobs).map(|(number, job)| v1::SlotSpec {
        jobs: vec![v1::JobSpec { name: format!("job-{number}"), ..job }],
    });
    let spec = v1::FlowSpec { name: String::new(), start: None, slots: slots.collect() };
    v1::SubmitRequest {
        request_id: request_id(),
        spec: spec.encode_to_vec().into(),
        ..Default::default()
    }
}

/// A submission of one slot with these jobs, named by their number.
pub(crate) fn request_in_one_slot(
    jobs: impl IntoIterator<Item = v1::JobSpec>,
) -> v1::SubmitRequest {
    let jobs = (1..).zip(jobs).map(|(n, job)| v1::JobSpec { name: format!("job-{n}"), ..job });
    let slots = vec![v1::SlotSpec { jobs: jobs.collect() }];
    let spec = v1::FlowSpec { name: String::new(), start: None, slots };
    v1::SubmitRequest {
        request_id: request_id(),
        spec: spec.encode_to_vec().into(),
        ..Default::default()
    }
}

/// A submission with a parameter for one job.
pub(crate) fn with_params(
    request: v1::SubmitRequest,
    (slot, job): (u32, u32),
    key: &str,
    value: &str,
) -> v1::SubmitRequest {
    let values = [(key.to_owned(), value.to_owned())].into();
    let params = vec![v1::JobParams { slot, job, values }];
    v1::SubmitRequest { params, ..request }
}

pub(crate) fn id(flow: u64) -> Option<v1::FlowRef> {
    Some(v1::FlowRef { flow: Some(flow_ref::Flow::Id(flow)) })
}

pub(crate) fn count(n: u32) -> Option<v1::Quantity> {
    Some(v1::Quantity { amount: Some(v1::quantity::Amount::Count(n)) })
}

pub(crate) fn percent(n: u32) -> Option<v1::Quantity> {
    Some(v1::Quantity { amount: Some(v1::quantity::Amount::Percent(n)) })
}

impl Audience {
    /// Alice, on a connection of her own.
    pub(crate) async fn new(place: &Place, address: &str) -> Audience {
        Self::named(place, address, "alice").await
    }

    pub(crate) async fn named(place: &Place, address: &str, name: &str) -> Audience {
        let channel = place.connect(address, Role::Audience, name).await;
        Audience { client: AudienceClient::new(channel) }
    }

    pub(crate) async fn try_submit(
        &self,
        request: v1::SubmitRequest,
    ) -> Result<v1::SubmitResponse, Status> {
        let mut client = self.client.clone();
        soon("an answer to a submission", client.submit(request)).await.map(Response::into_inner)
    }

    /// Submits slots with one job each, and returns the flow's number.
    pub(crate) async fn submit(&self, jobs: impl IntoIterator<Item = v1::JobSpec>) -> u64 {
        self.try_submit(request(jobs)).await.unwrap().flow
    }

    pub(crate) async fn try_flow(&self, flow: u64) -> Result<v1::FlowStatus, Status> {
        let request = v1::GetFlowRequest { flow: id(flow) };
        let mut client = self.client.clone();
        soon("a flow's status", client.get_flow(request)).await.map(Response::into_inner)
    }

    /// The flow of a request.
    pub(crate) async fn submitted(&self, request: &[u8]) -> Result<u64, Status> {
        let request = v1::flow_ref::Flow::Request(request.to_vec().into());
        let request = v1::GetFlowRequest { flow: Some(v1::FlowRef { flow: Some(request) }) };
        let mut client = self.client.clone();
        let answer = soon("a flow's status", client.get_flow(request)).await?;
        Ok(answer.into_inner().summary.unwrap().id)
    }

    pub(crate) async fn flow(&self, flow: u64) -> v1::FlowStatus {
        self.try_flow(flow).await.unwrap()
    }

    pub(crate) async fn state(&self, flow: u64) -> String {
        self.flow(flow).await.summary.unwrap().state
    }

    /// Watches until the flow is over, and returns its final state.
    pub(crate) async fn verdict(&self, flow: u64) -> String {
        let mut events = self.watch(flow).await;
        let mut last = None;
        while let Some(event) = soon("an event", events.message()).await.unwrap() {
            last = Some(event);
        }
        let Some(v1::watch_event::Event::Status(status)) = last.unwrap().event else {
            panic!("the last event is no status");
        };
        status.summary.unwrap().state
    }

    pub(crate) async fn watch(&self, flow: u64) -> Streaming<v1::WatchEvent> {
        let request = v1::WatchRequest { flow: id(flow), ..Default::default() };
        self.client.clone().watch(request).await.unwrap().into_inner()
    }

    pub(crate) async fn cancel(&self, flow: u64) -> Result<v1::CancelResponse, Status> {
        let request = v1::CancelRequest { flow: id(flow), ..Default::default() };
        let mut client = self.client.clone();
        soon("an answer to a cancel", client.cancel(request)).await.map(Response::into_inner)
    }

    /// All tasks of a flow.
    pub(crate) async fn tasks(&self, flow: u64) -> Vec<v1::TaskStatus> {
        let request = v1::ListTasksRequest { flow: id(flow), ..Default::default() };
        self.list_tasks(request).await.unwrap()
    }

    /// What did not end ok: state, exit code, hosts and how many tasks, by cause.
    pub(crate) async fn failures(&self, flow: u64) -> Vec<(String, Option<i32>, String, u32)> {
        let request = v1::ListFailuresRequest { flow: id(flow), ..Default::default() };
        let mut pages = self.client.clone().list_failures(request).await.unwrap().into_inner();
        let mut failures = Vec::new();
        while let Some(page) = soon("a page", pages.message()).await.unwrap() {
            let groups = page.failures.into_iter();
            failures.extend(groups.map(|it| (it.state, it.exit, it.hosts, it.tasks)));
        }
        failures
    }

    pub(crate) async fn list_tasks(
        &self,
        request: v1::ListTasksRequest,
    ) -> Result<Vec<v1::TaskStatus>, Status> {
        let mut pages = self.client.clone().list_tasks(request).await?.into_inner();
        let mut tasks = Vec::new();
        while let Some(page) = soon("a page", pages.message()).await? {
            tasks.extend(page.tasks);
        }
        Ok(tasks)
    }

    pub(crate) async fn players(
        &self,
        hosts: &str,
        scores: bool,
    ) -> Result<Vec<v1::PlayerStatus>, Status> {
        let request = v1::ListPlayersRequest { hosts: hosts.to_owned(), scores };
        let mut pages = self.client.clone().list_players(request).await?.into_inner();
        let mut players = Vec::new();
        while let Some(page) = soon("a page", pages.message()).await? {
            players.extend(page.players);
        }
        Ok(players)
    }

    /// What may stand after an `@`, and its hosts.
    pub(crate) async fn groups(&self) -> Vec<(String, v1::GroupKind, String, u32)> {
        let mut pages =
            self.client.clone().list_groups(v1::ListGroupsRequest {}).await.unwrap().into_inner();
        let mut groups = Vec::new();
        while let Some(page) = soon("a page", pages.message()).await.unwrap() {
            groups.extend(page.groups.into_iter().map(|group| {
                let kind = group.kind();
                (group.name, kind, group.hosts, group.count)
            }));
        }
        groups
    }

    pub(crate) async fn logs(&self, flow: u64, host: &str) -> Vec<v1::AttemptLog> {
        let request =
            v1::GetLogsRequest { flow: id(flow), host: host.to_owned(), ..Default::default() };
        let mut logs = self.client.clone().get_logs(request).await.unwrap().into_inner();
        let mut all = Vec::new();
        while let Some(log) = soon("a log", logs.message()).await.unwrap() {
            all.push(log);
        }
        all
    }

    /// Goes on from a store that is an old copy, or may be.
    pub(crate) async fn recover(
        &self,
        although_healthy: bool,
    ) -> Result<v1::RecoverResponse, Status> {
        let store_id = self.status().await.store_id;
        let request = v1::RecoverRequest { store_id, although_healthy };
        self.client.clone().recover(request).await.map(tonic::Response::into_inner)
    }

    pub(crate) async fn status(&self) -> v1::ConductorStatus {
        let mut client = self.client.clone();
        soon("the conductor's status", client.status(v1::StatusRequest {}))
            .await
            .unwrap()
            .into_inner()
    }

    pub(crate) async fn reload(&self, allow_removal: bool) -> Result<v1::ReloadResponse, Status> {
        self.reload_with(allow_removal, false).await
    }

    pub(crate) async fn reload_with(
        &self,
        allow_removal: bool,
        take_over: bool,
    ) -> Result<v1::ReloadResponse, Status> {
        let mut client = self.client.clone();
        let request = v1::ReloadRequest { allow_removal, take_over, allow_lockout: false };
        soon("an answer to a reload", client.reload(request)).await.map(Response::into_inner)
    }
}

/// Waits until a watch is ended by a refusal.
pub(crate) async fn watch_ends(watch: &mut Streaming<v1::WatchEvent>) -> Status {
    let over = async {
        loop {
            match watch.message().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("the watch ended in order"),
                Err(status) => break status,
            }
        }
    };
    soon("the end of the watch", over).await
}
