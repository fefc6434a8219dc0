//! Properties of the engine by itself, tried for every small case instead of by chance: verdicts,
//! rounding, windows, and every interleaving of flows over one cell.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use orchestra_flow::{
    Answer, Command, Effect, Engine, Input, Recovery, ReplyId, ReplyTo, SessionId, Settings,
    Submission, answer,
};
use orchestra_model::{
    Asker, Deployment, Deployments, FlowId, HostName, HostSet, JobName, JobState, Quantity,
    ScoreName, TaskState, Timestamp,
    delivery::{
        AttemptKey, EndBytes, EndSummary, KnownEnd, Outcome, PlayerSnapshot, Report, RequestId,
        SpoolId, Term,
    },
    deployment::Constraint,
    flow::{FlowSpec, JobSpec, SlotSpec},
    names::{AppName, DeploymentName, EnvType, EnvValue},
    record::{Op, Record},
    score::{ScoreOffer, ScoreSpec},
    thresholds::Excess,
};

use crate::{reference::rules, world::STORE};

const NOW: Timestamp = Timestamp(1_000);

/// An engine whose effects are performed at once, with attached players that do as they are told.
#[derive(Clone)]
struct Stage {
    engine: Engine,
    /// Orders that are out, and where.
    running: BTreeMap<AttemptKey, BTreeSet<HostName>>,
    /// How often each attempt was ordered on each host.
    ordered: BTreeMap<(HostName, AttemptKey), u32>,
    /// Hosts that count as down, on disk.
    down: BTreeSet<HostName>,
    /// The newest verdict of each job that ended.
    verdicts: Vec<(JobState, Vec<TaskState>)>,
    requests: u8,
}

impl Stage {
    fn new(hosts: &HostSet, deployments: Deployments) -> Self {
        let recovery = Recovery {
            store: STORE,
            term: Term(1),
            recovered: Default::default(),
            next_flow: FlowId(1),
            players: Vec::new(),
            requests: Vec::new(),
            holds: Vec::new(),
            deployments: Arc::new(deployments),
            doubt: None,
        };
        let mut stage = Self {
            engine: Engine::recover(Settings { most_tasks: 1_000 }, recovery),
            running: BTreeMap::new(),
            ordered: BTreeMap::new(),
            down: BTreeSet::new(),
            verdicts: Vec::new(),
            requests: 0,
        };
        stage.engine.resume(NOW);
        let reply = ReplyTo::new(ReplyId(0));
        let hosts = hosts.clone();
        stage.take(Input::RosterLoaded { reply, hosts: hosts.clone(), most_removed: u32::MAX });
        for (nth, host) in (1..).zip(&hosts) {
            let player = stage.engine.roster().member(host).unwrap();
            let score = ScoreName::new("work").unwrap();
            let snapshot = PlayerSnapshot {
                spool: SpoolId([nth; 16]),
                mark: Default::default(),
                term: Term(0),
                evidence: None,
                live: Vec::new(),
                settled: Vec::new(),
                max_tasks: 4,
                kill_grace: Default::default(),
                scores: vec![ScoreOffer {
                    name: score,
                    hash: None,
                    spec: Ok(ScoreSpec::default()),
                }]
                .into(),
                units: None,
            };
            let (session, snapshot) = (SessionId(u64::from(nth)), Box::new(snapshot));
            stage.take(Input::PlayerAttached { player, session, snapshot });
        }
        stage
    }

    fn take(&mut self, input: Input) -> Option<Answer> {
        self.engine.handle(NOW, input);
        let mut answer = None;
        loop {
            let effects: Vec<Effect> = self.engine.effects().collect();
            for effect in effects {
                self.perform(effect, &mut answer);
            }
            if !self.engine.has_work() {
                break;
            }
            self.engine.advance(NOW);
        }
        self.engine.audit().unwrap();
        answer
    }

    fn perform(&mut self, effect: Effect, answer: &mut Option<Answer>) {
        match effect {
            Effect::Send { player, command: Command::Order(order), .. } => {
                let host = self.engine.roster().host(player).clone();
                self.running.entry(order.key).or_default().insert(host.clone());
                *self.ordered.entry((host, order.key)).or_default() += 1;
            }
            Effect::Persist(Op::Put(Record::Hold(hold))) => drop(self.down.insert(hold.host)),
            Effect::Persist(Op::Release(host)) => drop(self.down.remove(&host)),
            Effect::Persist(Op::Put(Record::Job(job))) if job.state.is_final() => {
                let counts = job.counts.iter().flat_map(|(state, n)| vec![state; n as usize]);
                self.verdicts.push((job.state, counts.collect()));
            }
            Effect::Answer { answer: given, .. } => *answer = Some(given),
            _ => {}
        }
    }

    fn submit(&mut self, spec: JobSpec, hosts: &HostSet) -> FlowId {
        self.requests += 1;
        let submission = Submission {
            request: RequestId([self.requests; 16]),
            audience: Asker::from_word("alice").unwrap(),
            by_keeper: false,
            spec: FlowSpec { name: None, slots: vec![SlotSpec { jobs: vec![spec] }] },
            spec_bytes: Arc::from([]),
            targets: vec![vec![hosts.clone()]],
            params: BTreeMap::new(),
            retry_of: None,
            mac: None,
            excess: Excess::Refused,
        };
        match self.take(Input::FlowSubmitted {
            reply: ReplyTo::new(ReplyId(0)),
            submission: Box::new(submission),
        }) {
            Some(Answer::Submitted(answer::Submitted { flow, .. })) => flow,
            answer => panic!("not submitted: {answer:?}"),
        }
    }

    fn end(&mut self, host: &HostName, key: AttemptKey, outcome: Outcome) {
        let hosts = self.running.get_mut(&key).unwrap();
        assert!(hosts.remove(host));
        let player = self.engine.roster().member(host).unwrap();
        let session = self.engine.roster().session(player).unwrap();
        let order = orchestra_model::delivery::OrderNumber(u64::MAX);
        let summary = EndSummary { outcome, started_at: None, ended_at: NOW };
        let end = KnownEnd { summary, bytes: EndBytes::default() };
        let report = Box::new(Report::Ended { key, order, end });
        self.take(Input::Reported { player, session, report });
    }

    fn in_flight(&self) -> Vec<(HostName, AttemptKey)> {
        let of = |(key, hosts): (&AttemptKey, &BTreeSet<HostName>)| {
            hosts.iter().map(|host| (host.clone(), *key)).collect::<Vec<_>>()
        };
        self.running.iter().flat_map(of).collect()
    }
}

fn hosts(n: u32) -> HostSet {
    HostSet::from_names((1..=n).map(|n| HostName::new(&format!("h{n:02}")).unwrap()))
}

fn work(hosts: &HostSet) -> JobSpec {
    let name = JobName::new("work").unwrap();
    JobSpec::new(name, ScoreName::new("work").unwrap(), hosts.to_string())
}

fn outcome(ok: bool) -> Outcome {
    Outcome::Exited(i32::from(!ok))
}

/// What becomes of tasks that end one after another like this, by the definition: nothing new
/// starts once the threshold is out of reach or too much failed.
fn by_definition(spec: &JobSpec, outcomes: &[bool]) -> Vec<TaskState> {
    let mut states = vec![TaskState::Waiting; outcomes.len()];
    for (at, ok) in outcomes.iter().enumerate() {
        if rules::is_doomed(spec, &states) {
            states[at] = TaskState::Skipped;
        } else {
            states[at] = if *ok { TaskState::Ok } else { TaskState::Failed };
        }
    }
    states
}

fn sorted(mut states: Vec<TaskState>) -> Vec<TaskState> {
    states.sort();
    states
}

/// For every number of tasks up to 12, every threshold, and every outcome, one task after another
/// and all at once.
#[test]
fn a_verdict_is_what_its_definition_says() {
    for n in 1..=12_u32 {
        let all = hosts(n);
        let stage = Stage::new(&all, Deployments::default());
        // Every sequence of outcomes where there are few; else every count, worst and best first.
        let sequences: BTreeSet<Vec<bool>> = match n {
            1..=5 => {
                (0..1_u32 << n).map(|mask| (0..n).map(|at| mask >> at & 1 == 1).collect()).collect()
            }
            _ => (0..=n)
                .flat_map(|ok| {
                    let best: Vec<bool> = (0..n).map(|at| at < ok).collect();
                    let worst = best.iter().rev().copied().collect();
                    [best, worst]
                })
                .collect(),
        };
        let tolerances = [0, 1, n / 2, n].map(|most| Some(Quantity::Count(most)));
        let successes = [None].into_iter().chain((0..=n).map(|n| Some(Quantity::Count(n))));
        for success in successes {
            for max_failures in [None].into_iter().chain(tolerances) {
                for outcomes in &sequences {
                    for parallel in [Quantity::Count(1), Quantity::ALL] {
                        let spec = JobSpec { success, max_failures, parallel, ..work(&all) };
                        check_verdict(stage.clone(), &spec, &all, outcomes);
                    }
                }
            }
        }
    }
}

fn check_verdict(mut stage: Stage, spec: &JobSpec, all: &HostSet, outcomes: &[bool]) {
    stage.submit(spec.clone(), all);
    let mut left: BTreeMap<&HostName, bool> = all.iter().zip(outcomes.iter().copied()).collect();
    while let Some((host, key)) = stage.in_flight().into_iter().next() {
        let ok = left.remove(&host).unwrap();
        stage.end(&host, key, outcome(ok));
    }
    let states = match spec.parallel {
        Quantity::Count(_) => by_definition(spec, outcomes),
        Quantity::Percent(_) => {
            let state = |ok: &bool| if *ok { TaskState::Ok } else { TaskState::Failed };
            outcomes.iter().map(state).collect()
        }
    };
    let verdict = rules::verdict(spec, &states);
    let told = stage.verdicts.pop().unwrap();
    assert_eq!(told, (verdict, sorted(states)), "{spec:?}: {outcomes:?}");
    assert_eq!(stage.engine.alive_count(), 0);
}

/// Every percentage of every total up to 250, and every count around it.
#[test]
fn rounding_goes_the_way_the_product_says() {
    for total in 0..=250 {
        let around = [0, 1, total / 2, total, total + 1];
        let shares = (0..=100).map(Quantity::Percent);
        for quantity in shares.chain(around.map(Quantity::Count)) {
            let named = format!("{quantity} of {total}");
            assert_eq!(quantity.window_of(total), rules::window(quantity, total), "{named}");
            assert_eq!(quantity.threshold_of(total), rules::rounded_up(quantity, total), "{named}");
            assert_eq!(quantity.floor_of(total), rules::rounded_down(quantity, total), "{named}");
        }
    }
    // As promise 13 has them.
    assert_eq!(rules::window(Quantity::Percent(25), 150), 37);
    assert_eq!(rules::rounded_up(Quantity::Percent(80), 9), 8);
    assert_eq!(rules::rounded_down(Quantity::Percent(10), 9), 0);
}

/// A window is as full as it may be while work waits, whatever ends first; and each host has each
/// attempt once.
#[test]
fn windows_are_full_and_never_exceeded() {
    for n in 1..=12 {
        let all = hosts(n);
        let stage = Stage::new(&all, Deployments::default());
        for window in 1..=n {
            for oldest_first in [true, false] {
                let mut stage = stage.clone();
                stage.submit(JobSpec { parallel: Quantity::Count(window), ..work(&all) }, &all);
                for ended in 0..n {
                    let mut running = stage.in_flight();
                    assert_eq!(running.len() as u32, window.min(n - ended), "{window} of {n}");
                    let (host, key) =
                        running.swap_remove(if oldest_first { 0 } else { running.len() - 1 });
                    stage.end(&host, key, outcome(true));
                }
                assert_eq!(stage.engine.alive_count(), 0);
                assert_eq!(stage.ordered.len() as u32, n);
                assert!(stage.ordered.values().all(|times| *times == 1));
            }
        }
    }
}

/// Every order of events, to some depth, of flows that want the same hosts: submissions, ends well
/// and badly, cancels, retries, releases, reloads. At no time do more hosts of a cell act or count
/// as down than its limit.
#[test]
fn no_interleaving_of_flows_exceeds_a_cell() {
    for limit in 1..=2 {
        let all = hosts(3);
        let stage = Stage::new(&all, one_cell(&all, limit));
        let seen = interleave(&stage, &all, limit, 6);
        assert!(seen > 1_000, "only {seen} interleavings");
    }
}

fn one_cell(all: &HostSet, limit: u32) -> Deployments {
    let app = AppName::new("web").unwrap();
    let env = EnvType::new("cluster").unwrap();
    let concurrency = BTreeMap::from([(app.clone(), Quantity::Count(limit))]);
    let constraint = Constraint { concurrency, sequence: Vec::new() };
    let values = BTreeMap::from([(EnvValue::new("east").unwrap(), all.clone())]);
    let deployment = Deployment {
        name: DeploymentName::new("site").unwrap(),
        apps: BTreeMap::from([(app, all.clone())]),
        envs: BTreeMap::from([(env.clone(), values)]),
        constraints: BTreeMap::from([(env, constraint)]),
    };
    Deployments::new([deployment]).unwrap()
}

/// How many states were seen.
fn interleave(stage: &Stage, all: &HostSet, limit: u32, depth: u32) -> u32 {
    let acting = stage.in_flight().into_iter().map(|(host, _)| host);
    let held: BTreeSet<HostName> = acting.chain(stage.down.iter().cloned()).collect();
    assert!(held.len() as u32 <= limit, "{held:?} hold a cell of {limit}");
    // Kept full, too: a host that waits starts as soon as there is room.
    if let Some(cell) = stage.engine.cell_status(0, 1).first()
        && held.len() < limit as usize
    {
        assert!(cell.waiting.is_empty(), "{:?} wait for room that is there", cell.waiting);
    }
    if depth == 0 {
        return 1;
    }
    let mut seen = 1;
    let mut go_on = |change: &dyn Fn(&mut Stage)| {
        let mut next = stage.clone();
        change(&mut next);
        seen += interleave(&next, all, limit, depth - 1);
    };
    if stage.requests < 3 {
        let retries = u32::from(stage.requests % 2);
        go_on(&|stage| {
            stage.submit(JobSpec { retries, ..work(all) }, all);
        });
    }
    for (host, key) in stage.in_flight() {
        go_on(&|stage| stage.end(&host, key, outcome(true)));
        go_on(&|stage| stage.end(&host, key, outcome(false)));
    }
    let reply = ReplyTo::new(ReplyId(0));
    if let Some(host) = stage.down.first() {
        let hosts = HostSet::from_names([host.clone()]);
        go_on(&|stage| drop(stage.take(Input::ReleaseRequested { reply, hosts: hosts.clone() })));
    }
    if let Some(flow) = stage.engine.alive().next() {
        let (job, hosts) = (None, None);
        let retry = Input::RetryRequested { reply: ReplyTo::new(ReplyId(0)), flow, job, hosts };
        go_on(&|stage| drop(stage.take(retry.clone())));
    }
    seen
}
