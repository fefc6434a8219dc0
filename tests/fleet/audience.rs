//! The audience of a run: submits, asks, and checks what is told.

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use orchestra_model::{
    FlowId, HostSet, Millis, Quantity, ServiceName,
    delivery::RequestId,
    flow::{FlowSpec, JobSpec, SlotSpec},
    limits,
    names::{JobName, ScoreName},
    service::{AbsenceRule, Labels, Layout, PlaceRule, ServiceSpec, Spread, UpdateRule},
    state::NOT_OK,
};
use orchestra_proto::{
    encode_service,
    v1::{self, audience_client::AudienceClient},
};
use prost::Message as _;
use rustix::rand::{GetRandomFlags, getrandom};
use rustls::ClientConfig;
use tonic::{Streaming, transport::Channel};

use crate::{
    sitter::Trace,
    trouble::{During as _, Result, Trouble},
};

/// The score that only looks, of those that players offer.
pub(crate) const LOOKS: &str = "true";
/// One that changes something, and takes its host's cells for that.
pub(crate) const CHANGES: &str = "score-1";
/// A parameter that it needs.
pub(crate) const REQUIRED: &str = "parameter_0";
/// Longest attempt to connect.
const CONNECT: Duration = Duration::from_secs(10);

/// A connection to the conductor.
#[derive(Clone, Debug)]
pub(crate) struct Audience(AudienceClient<Channel>);

/// A flow as it was submitted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Submitted {
    pub(crate) id: FlowId,
    /// Just before the request left.
    pub(crate) at: Instant,
    /// How many jobs, each on every host of its set.
    pub(crate) jobs: usize,
    /// The set's size.
    pub(crate) hosts: usize,
}

impl Submitted {
    pub(crate) fn tasks(&self) -> usize {
        self.jobs * self.hosts
    }
}

/// What to submit: one slot of equal jobs.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// As an expression, which may be short.
    pub(crate) targets: String,
    pub(crate) hosts: usize,
    pub(crate) jobs: usize,
    /// Most tasks of a job at once; `None`: all.
    pub(crate) parallel: Option<u32>,
    /// What runs: one of the scores that players offer.
    pub(crate) score: &'static str,
}

impl Wanted {
    /// One job on all of these.
    pub(crate) fn on(targets: &str, hosts: usize) -> Self {
        Self { targets: targets.to_owned(), hosts, jobs: 1, parallel: None, score: LOOKS }
    }

    fn spec(&self) -> Result<FlowSpec> {
        const WHAT: &str = "making a flow";
        let score = ScoreName::new(self.score).during(WHAT)?;
        let job = |number: usize| {
            let name = JobName::new(&format!("j{number}")).during(WHAT)?;
            let mut job = JobSpec::new(name, score.clone(), self.targets.clone());
            if let Some(parallel) = self.parallel {
                job.parallel = Quantity::Count(parallel);
            }
            Ok(job)
        };
        let jobs = (1..=self.jobs).map(job).collect::<Result<_>>()?;
        Ok(FlowSpec::new(vec![SlotSpec { jobs }]))
    }

    /// What the score asks for, for each job.
    fn params(&self) -> Vec<v1::JobParams> {
        let required = [(REQUIRED.to_owned(), "x".to_owned())];
        let params = |job| v1::JobParams { slot: 1, job, values: required.clone().into() };
        match self.score {
            LOOKS => Vec::new(),
            _ => (1..=self.jobs as u32).map(params).collect(),
        }
    }
}

impl Audience {
    /// Connects once.
    pub(crate) async fn connect(address: SocketAddr, tls: Arc<ClientConfig>) -> Result<Self> {
        let channel = orchestra_certs::channel(&address.to_string(), tls, CONNECT).await;
        let client = AudienceClient::new(channel.during("connecting to the conductor")?)
            .max_decoding_message_size(limits::MESSAGE_BYTES)
            .max_encoding_message_size(limits::MESSAGE_BYTES);
        Ok(Self(client))
    }

    /// Submits; returns when the flow is durable.
    pub(crate) async fn submit(&mut self, wanted: &Wanted) -> Result<Submitted> {
        let mut request = RequestId([0; 16]);
        getrandom(&mut request.0, GetRandomFlags::empty()).during("drawing a request id")?;
        let request = v1::SubmitRequest {
            request_id: Bytes::copy_from_slice(&request.0),
            spec: v1::FlowSpec::from(&wanted.spec()?).encode_to_vec().into(),
            params: wanted.params(),
            ..Default::default()
        };
        let at = Instant::now();
        let answer = self.0.submit(request).await.during("submitting a flow")?;
        let id = FlowId(answer.into_inner().flow);
        Ok(Submitted { id, at, jobs: wanted.jobs, hosts: wanted.hosts })
    }

    /// Applies a service that is ready at once on each of these hosts; returns its flow when that is
    /// durable.
    pub(crate) async fn apply(
        &mut self,
        name: &str,
        targets: &str,
        hosts: usize,
    ) -> Result<Submitted> {
        self.apply_spec(service(name, targets)?, hosts).await
    }

    /// Applies a service of so many instances, for each of which the conductor chooses a player, and
    /// another one as soon as that is lost.
    pub(crate) async fn place(&mut self, name: &str, count: usize) -> Result<Submitted> {
        let layout = Layout::Count(u32::try_from(count).unwrap_or(u32::MAX));
        let place = Some(PlaceRule { layout, require: Labels::new(), spread: Spread::Zone });
        let absent = AbsenceRule { replace_after: Some(Millis(0)) };
        self.apply_spec(ServiceSpec { place, absent, ..service(name, "")? }, count).await
    }

    async fn apply_spec(&mut self, spec: ServiceSpec, hosts: usize) -> Result<Submitted> {
        const WHAT: &str = "applying a service";
        let specs = vec![encode_service(&spec).into()];
        let request = v1::ApplyServicesRequest { specs, take_over: false };
        let at = Instant::now();
        let answer = self.0.apply_services(request).await.during(WHAT)?.into_inner();
        let flow = answer.services.first().map_or(0, |taken| taken.flow);
        Ok(Submitted { id: FlowId(flow), at, jobs: 1, hosts })
    }

    /// The hosts on which instances of a service are told to be ready by players that are attached.
    pub(crate) async fn ready(&mut self, name: &str) -> Result<Vec<String>> {
        const WHAT: &str = "asking for a service";
        let request = v1::ListServicesRequest { name: name.to_owned() };
        let mut pages = self.0.list_services(request).await.during(WHAT)?.into_inner();
        let page = pages.message().await.during(WHAT)?.unwrap_or_default();
        let instances = page.services.into_iter().flat_map(|service| service.instances);
        let is_ready = |instance: &v1::InstanceStatus| {
            instance.attached && instance.report.as_ref().is_some_and(|it| it.state == "ready")
        };
        Ok(instances.filter(is_ready).map(|instance| instance.host).collect())
    }

    /// How many instances all services have.
    pub(crate) async fn instances(&mut self) -> Result<usize> {
        const WHAT: &str = "asking for all services";
        let request = v1::ListServicesRequest::default();
        let mut pages = self.0.list_services(request).await.during(WHAT)?.into_inner();
        let mut instances = 0;
        while let Some(page) = pages.message().await.during(WHAT)? {
            instances += page.services.iter().map(|it| it.instances.len()).sum::<usize>();
        }
        Ok(instances)
    }

    /// Asks for the conductor's status; returns how many flows are alive.
    pub(crate) async fn flows_alive(&mut self) -> Result<u32> {
        let status = self.0.status(v1::StatusRequest {}).await;
        Ok(status.during("asking for the conductor's status")?.into_inner().flows_alive)
    }

    /// A flow's state, as a word, and how many of its tasks are in each state.
    pub(crate) async fn flow(&mut self, id: FlowId) -> Result<(String, HashMap<String, usize>)> {
        let request = v1::GetFlowRequest { flow: Some(flow_ref(id)) };
        let status = self.0.get_flow(request).await.during("asking for a flow")?.into_inner();
        let mut counts: HashMap<String, usize> = HashMap::new();
        for (state, tasks) in
            status.slots.iter().flat_map(|slot| &slot.jobs).flat_map(|job| &job.counts)
        {
            *counts.entry(state.clone()).or_default() += *tasks as usize;
        }
        Ok((status.summary.unwrap_or_default().state, counts))
    }

    /// Waits until a flow has ended well; returns when that was told. To be asked when it is
    /// about to.
    pub(crate) async fn ended(&mut self, flow: &Submitted, limit: Duration) -> Result<Instant> {
        let deadline = Instant::now() + limit;
        loop {
            let (state, counts) = self.flow(flow.id).await?;
            match state.as_str() {
                "ok" => return Ok(Instant::now()),
                "pending" | "running" if Instant::now() < deadline => {
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                state => {
                    let id = flow.id;
                    return Err(Trouble::new(format!("flow {id} is {state}: {counts:?}")));
                }
            }
        }
    }

    /// Cancels a flow; returns when that is durable.
    pub(crate) async fn cancel(&mut self, id: FlowId) -> Result<()> {
        let request = v1::CancelRequest { flow: Some(flow_ref(id)), ..Default::default() };
        self.0.cancel(request).await.during("cancelling a flow")?;
        Ok(())
    }

    /// Begins to wait for a flow, as `orc wait` does; returns when the conductor has told its status.
    pub(crate) async fn begin_watch(&mut self, id: FlowId) -> Result<Streaming<v1::WatchEvent>> {
        const WHAT: &str = "waiting for a flow";
        let request = v1::WatchRequest {
            flow: Some(flow_ref(id)),
            snapshots: true,
            quiet: true,
            ..Default::default()
        };
        let mut events = self.0.watch(request).await.during(WHAT)?.into_inner();
        events.message().await.during(WHAT)?;
        Ok(events)
    }

    /// Reads what comes until the flow has ended.
    pub(crate) async fn read_to_end(mut events: Streaming<v1::WatchEvent>) -> Result<()> {
        while events.message().await.during("waiting for a flow")?.is_some() {}
        Ok(())
    }

    /// How many tasks of a flow did not end ok, as folded by the conductor.
    pub(crate) async fn failures(&mut self, id: FlowId) -> Result<usize> {
        const WHAT: &str = "listing failures";
        let request = v1::ListFailuresRequest { flow: Some(flow_ref(id)), ..Default::default() };
        let mut pages = self.0.list_failures(request).await.during(WHAT)?.into_inner();
        let mut tasks = 0;
        while let Some(page) = pages.message().await.during(WHAT)? {
            tasks += page.failures.iter().map(|group| group.tasks as usize).sum::<usize>();
        }
        Ok(tasks)
    }

    /// How many tasks of a flow did not end ok, each told by itself.
    pub(crate) async fn not_ok(&mut self, id: FlowId) -> Result<usize> {
        const WHAT: &str = "listing tasks";
        let states = NOT_OK.iter().map(ToString::to_string).collect();
        let request =
            v1::ListTasksRequest { flow: Some(flow_ref(id)), states, ..Default::default() };
        let mut pages = self.0.list_tasks(request).await.during(WHAT)?.into_inner();
        let mut tasks = 0;
        while let Some(page) = pages.message().await.during(WHAT)? {
            tasks += page.tasks.len();
        }
        Ok(tasks)
    }

    /// Asks for all ends of a flow, as `getstatus -b` does; returns how many outputs came, and in how many
    /// bytes.
    pub(crate) async fn outputs(&mut self, id: FlowId) -> Result<(usize, usize)> {
        const WHAT: &str = "asking for outputs";
        let request = v1::ListTasksRequest {
            flow: Some(flow_ref(id)),
            ends: true,
            shared_outputs: true,
            ..Default::default()
        };
        let mut pages = self.0.list_tasks(request).await.during(WHAT)?.into_inner();
        let (mut outputs, mut bytes) = (0, 0);
        while let Some(page) = pages.message().await.during(WHAT)? {
            let has_own = |task: &&v1::TaskStatus| task.shared_stdout == 0 && !task.end.is_empty();
            outputs += page.outputs.len() + page.tasks.iter().filter(has_own).count();
            bytes += page.encoded_len();
        }
        Ok((outputs, bytes))
    }

    /// Begins to watch a flow; what comes is read and dropped until the flow has ended.
    pub(crate) async fn watch(&mut self, id: FlowId) -> Result<Instant> {
        const WHAT: &str = "watching a flow";
        let request = v1::WatchRequest { flow: Some(flow_ref(id)), ..Default::default() };
        let mut events = self.0.watch(request).await.during(WHAT)?.into_inner();
        while events.message().await.during(WHAT)?.is_some() {}
        Ok(Instant::now())
    }

    /// Checks that a flow and every task of it is ok after one attempt, each told once, and that
    /// the players executed each of them once. `traces` are what was executed for this flow, each
    /// with its player's place in `hosts`.
    pub(crate) async fn check(
        &mut self,
        flow: &Submitted,
        hosts: &HostSet,
        traces: &[(usize, Trace)],
    ) -> Result<()> {
        let wrong = |why: String| Trouble::new(format!("flow {}: {why}", flow.id));
        let (state, counts) = self.flow(flow.id).await?;
        if state != "ok" || counts.get("ok") != Some(&flow.tasks()) {
            return Err(wrong(format!("it is {state}, with {counts:?}")));
        }
        let mut executed: HashMap<(u16, &str), u32> = HashMap::with_capacity(flow.tasks());
        for (place, trace) in traces {
            let Some(host) = hosts.as_slice().get(*place) else { continue };
            *executed.entry((trace.job.job, host.as_str())).or_default() += 1;
            if trace.attempt != 1 || trace.acknowledged.is_none() {
                let acknowledged = trace.acknowledged.is_some();
                let (job, attempt) = (trace.job, trace.attempt);
                return Err(wrong(format!(
                    "{job}@{host}#{attempt} was executed; acknowledged: {acknowledged}"
                )));
            }
        }
        if let Some(((job, host), times)) = executed.iter().find(|(_, times)| **times != 1) {
            return Err(wrong(format!("job {job} on {host} was executed {times} times")));
        }
        if executed.len() != flow.tasks() {
            let tasks = flow.tasks();
            return Err(wrong(format!("{} of {tasks} tasks were executed", executed.len())));
        }
        self.check_told(flow).await
    }

    /// Checks that every task of a flow is told once, and is ok after one attempt.
    pub(crate) async fn check_told(&mut self, flow: &Submitted) -> Result<()> {
        const WHAT: &str = "listing tasks";
        let wrong = |why: String| Trouble::new(format!("flow {}: {why}", flow.id));
        let request = v1::ListTasksRequest { flow: Some(flow_ref(flow.id)), ..Default::default() };
        let mut pages = self.0.list_tasks(request).await.during(WHAT)?.into_inner();
        let mut told = HashSet::with_capacity(flow.tasks());
        while let Some(page) = pages.message().await.during(WHAT)? {
            for task in page.tasks {
                let v1::TaskStatus { job, host, state, attempt, .. } = task;
                let job = job.map_or(0, |job| job.job);
                if state != "ok" || attempt != 1 {
                    let why = format!("job {job} on {host} is {state}, attempt {attempt}");
                    return Err(wrong(why));
                }
                if !told.insert((job, host)) {
                    return Err(wrong(format!("a task of job {job} is told twice")));
                }
            }
        }
        match told.len() == flow.tasks() {
            true => Ok(()),
            false => Err(wrong(format!("{} of {} tasks were told", told.len(), flow.tasks()))),
        }
    }

    /// Waits until so many players are attached.
    pub(crate) async fn attached(&mut self, players: u32, limit: Duration) -> Result<()> {
        let deadline = Instant::now() + limit;
        loop {
            let status = self.0.status(v1::StatusRequest {}).await;
            let attached =
                status.during("asking for the conductor's status")?.into_inner().attached;
            if attached == players {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(Trouble::new(format!("{attached} of {players} players are attached")));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// A service that is ready at once, with nothing in its way.
fn service(name: &str, targets: &str) -> Result<ServiceSpec> {
    const WHAT: &str = "making a service";
    let (name, score) = (ServiceName::new(name).during(WHAT)?, ScoreName::new(LOOKS).during(WHAT)?);
    let update =
        UpdateRule { parallel: Quantity::ALL, healthy_for: Millis(0), ..UpdateRule::default() };
    Ok(ServiceSpec { update, ..ServiceSpec::new(name, score, targets) })
}

fn flow_ref(id: FlowId) -> v1::FlowRef {
    v1::FlowRef { flow: Some(v1::flow_ref::Flow::Id(id.0)) }
}

/// The names of a fleet of so many.
pub(crate) fn fleet(players: usize) -> Result<(String, HostSet)> {
    let text = format!("p[1-{players}]");
    let hosts = HostSet::parse_plain(&text).during("naming the players")?;
    Ok((text, hosts))
}
