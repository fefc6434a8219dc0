//! An engine with players who answer at once: what the benchmarks and measurements drive.
//!
//! No time passes, and what is to be persisted counts as written at once. What a figure means is
//! for who measures to say.

#![expect(clippy::unwrap_used, reason = "a benchmark")]

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use orchestra_flow::{
    Command, Effect, Engine, Input, PlayerIx, Recovery, ReplyId, ReplyTo, SessionId, Settings,
    Submission,
};
use orchestra_model::{
    Asker, Deployment, Deployments, FlowId, HostName, HostSet, JobName, Millis, Quantity,
    ScoreName, Timestamp,
    delivery::{
        EndBytes, EndSummary, KnownEnd, LiveAttempt, Order, Outcome, PlayerSnapshot, Report,
        RequestId, SpoolId, StoreId, Term,
    },
    deployment::Constraint,
    flow::{FlowSpec, JobSpec, SlotSpec},
    names::{AppName, DeploymentName, EnvType, EnvValue},
    record::Recovered,
    thresholds::Excess,
};

/// When everything happens.
pub(crate) const NOW: Timestamp = Timestamp(1_000);

/// An engine, and the orders that its players have not answered yet.
#[derive(Clone)]
pub(crate) struct Fleet {
    pub(crate) engine: Engine,
    pub(crate) hosts: HostSet,
    orders: VecDeque<(PlayerIx, Order)>,
    sessions: u64,
    requests: u64,
}

impl Fleet {
    /// So many players, none of them attached, under these deployments.
    pub(crate) fn new(hosts: u32, deployments: Deployments) -> Self {
        let engine = Engine::recover(settings(), empty_store(deployments));
        let hosts = HostSet::parse_plain(&format!("h[1-{hosts}]")).unwrap();
        let mut fleet = Self { engine, hosts, orders: VecDeque::new(), sessions: 0, requests: 0 };
        fleet.engine.resume(NOW);
        let hosts = fleet.hosts.clone();
        fleet.input(Input::RosterLoaded {
            reply: ReplyTo::new(ReplyId(0)),
            hosts,
            most_removed: 0,
        });
        fleet
    }

    pub(crate) fn players(&self) -> Vec<PlayerIx> {
        self.engine.roster().iter().collect()
    }

    pub(crate) fn attach_all(&mut self) {
        self.players().into_iter().for_each(|player| self.attach(player));
    }

    /// Lets a player come, with nothing in its spool.
    pub(crate) fn attach(&mut self, player: PlayerIx) {
        self.attach_with(player, Vec::new());
    }

    /// Lets a player come back that runs all of its orders.
    pub(crate) fn attach_again(&mut self, player: PlayerIx) {
        let orders = self.orders.iter().filter(|(ours, _)| *ours == player);
        let live = |(_, order): &(PlayerIx, Order)| LiveAttempt {
            key: order.key,
            order: order.number,
            started_at: Some(NOW),
            proof: None,
        };
        let live = orders.map(live).collect();
        self.attach_with(player, live);
    }

    fn attach_with(&mut self, player: PlayerIx, live: Vec<LiveAttempt>) {
        self.sessions += 1;
        let snapshot = PlayerSnapshot {
            spool: SpoolId([1; 16]),
            mark: live.iter().map(|live| live.order).max().unwrap_or_default(),
            term: Term(0),
            live,
            settled: Vec::new(),
            evidence: None,
            max_tasks: 4,
            kill_grace: Millis(0),
            scores: Default::default(),
            units: None,
            room: Default::default(),
        };
        let session = SessionId(self.sessions);
        self.input(Input::PlayerAttached { player, session, snapshot: Box::new(snapshot) });
    }

    pub(crate) fn detach(&mut self, player: PlayerIx) {
        let Some(session) = self.engine.roster().session(player) else { return };
        self.input(Input::PlayerDetached { player, session });
    }

    /// A flow of one slot with these jobs, each over all hosts.
    pub(crate) fn submission(&mut self, jobs: Vec<JobSpec>) -> Submission {
        self.submission_over(self.hosts.clone(), jobs)
    }

    fn submission_over(&mut self, hosts: HostSet, jobs: Vec<JobSpec>) -> Submission {
        self.requests += 1;
        let mut request = [0; 16];
        request[..8].copy_from_slice(&self.requests.to_be_bytes());
        Submission {
            request: RequestId(request),
            audience: Asker::from_word("alice").unwrap(),
            by_keeper: false,
            targets: vec![vec![hosts; jobs.len()]],
            spec: FlowSpec::new(vec![SlotSpec { jobs }]),
            spec_bytes: [].into(),
            trees: BTreeMap::new(),
            params: BTreeMap::new(),
            kept_params: BTreeMap::new(),
            retry_of: None,
            mac: None,
            excess: Excess::Refused,
        }
    }

    pub(crate) fn submit(&mut self, submission: Submission) {
        self.input(Input::FlowSubmitted {
            reply: ReplyTo::new(ReplyId(0)),
            submission: Box::new(submission),
        });
        self.settle();
    }

    /// So many flows of one job each, all alike.
    pub(crate) fn submit_flows(&mut self, flows: u32, job: &JobSpec) {
        for _ in 0..flows {
            let submission = self.submission(vec![job.clone()]);
            self.submit(submission);
        }
    }

    /// So many flows of one job each, each over hosts of its own.
    pub(crate) fn submit_apart(&mut self, flows: u32, job: &JobSpec) {
        let each = self.hosts.len() / flows as usize;
        let parts: Vec<HostSet> = self
            .hosts
            .as_slice()
            .chunks(each)
            .map(|part| HostSet::from_names(part.iter().cloned()))
            .collect();
        for part in parts {
            let submission = self.submission_over(part, vec![job.clone()]);
            self.submit(submission);
        }
    }

    /// Gives the engine every turn that it asks for.
    pub(crate) fn settle(&mut self) {
        while self.engine.has_work() {
            self.engine.advance(NOW);
            self.take_orders();
        }
    }

    /// Answers the oldest order: it starts, and ends well. That is two events; whether there was
    /// one.
    pub(crate) fn answer_one(&mut self) -> bool {
        let Some((player, order)) = self.orders.pop_front() else { return false };
        let Some(session) = self.engine.roster().session(player) else { return false };
        for report in [started(&order), ended(&order)] {
            self.input(Input::Reported { player, session, report: Box::new(report) });
        }
        self.settle();
        true
    }

    fn input(&mut self, input: Input) {
        self.engine.handle(NOW, input);
        self.take_orders();
    }

    fn take_orders(&mut self) {
        for effect in self.engine.effects() {
            if let Effect::Send { player, command: Command::Order(order), .. } = effect {
                self.orders.push_back((player, order));
            }
        }
    }
}

pub(crate) fn settings() -> Settings {
    Settings { most_tasks: 10_000_000 }
}

/// A store in which nothing was written yet.
pub(crate) fn empty_store(deployments: Deployments) -> Recovery {
    Recovery {
        store: StoreId([1; 16]),
        term: Term(1),
        recovered: Recovered::default(),
        next_flow: FlowId(1),
        players: Vec::new(),
        requests: Vec::new(),
        holds: Vec::new(),
        deployments: Arc::new(deployments),
        doubt: None,
    }
}

/// A job of which so many tasks may be in flight at once.
pub(crate) fn job(parallel: Quantity) -> JobSpec {
    let (name, score) = (JobName::new("job").unwrap(), ScoreName::new("score").unwrap());
    JobSpec { parallel, ..JobSpec::new(name, score, "as resolved") }
}

/// A deployment in which every host is of one app, and in one of `values` environments: the first
/// one has the first hosts, or, where it is `scattered`, every so-manieth. Two out of a hundred
/// hosts of each may change at once.
pub(crate) fn deployment(
    name: &str,
    hosts: &HostSet,
    values: usize,
    scattered: bool,
) -> Deployment {
    let mut parts: Vec<Vec<HostName>> = vec![Vec::new(); values];
    for (at, host) in hosts.iter().enumerate() {
        let part = if scattered { at % values } else { at * values / hosts.len() };
        parts[part].push(host.clone());
    }
    let app = AppName::new("app").unwrap();
    let environments = parts.into_iter().enumerate().map(|(value, hosts)| {
        (EnvValue::new(&format!("v{value}")).unwrap(), HostSet::from_names(hosts))
    });
    let constraint = Constraint {
        concurrency: BTreeMap::from([(app.clone(), Quantity::Percent(2))]),
        sequence: Vec::new(),
    };
    let place = EnvType::new("place").unwrap();
    Deployment {
        name: DeploymentName::new(name).unwrap(),
        apps: BTreeMap::from([(app, hosts.clone())]),
        envs: BTreeMap::from([(place.clone(), environments.collect())]),
        constraints: BTreeMap::from([(place, constraint)]),
    }
}

/// The processor time that this thread has had.
pub(crate) fn thread_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.try_into().unwrap(), time.tv_nsec.try_into().unwrap())
}

fn started(order: &Order) -> Report<KnownEnd> {
    Report::Started { key: order.key, order: order.number, at: NOW }
}

fn ended(order: &Order) -> Report<KnownEnd> {
    let summary = EndSummary { outcome: Outcome::Exited(0), started_at: None, ended_at: NOW };
    let bytes = EndBytes::new([0; 64]).unwrap();
    Report::Ended { key: order.key, order: order.number, end: KnownEnd { summary, bytes } }
}
