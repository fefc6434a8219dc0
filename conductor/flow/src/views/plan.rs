//! What a submission would do if every task succeeded at once. It is played by the very engine,
//! over an overlay of the present state.
//!
//! [`Engine::overlay`] takes from the engine what a plan needs and nothing more: the targets and
//! what their players offer, the hosts that hold cells, and the deployments, which are shared.
//! [`Overlay::run`] then plays the flow on an engine of its own, on any thread, however long that
//! takes.
//!
//! A plan is about limits, so it takes players to be attached and to have nothing else to do; which
//! of them are away now is told beside it. Hosts that hold cells go on to hold them. If nothing
//! else can start, those hosts let go whose tasks are running, and the plan says that it waited for
//! them. Hosts that are down, for an attempt or for a unit, never let go. A canary is promoted at
//! once, and time passes while something bakes.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use orchestra_model::{
    Asker, Deployments, FlowId, HostName, HostSet, JobId, JobName, TaskState, Timestamp,
    advice::Advice,
    delivery::{
        AttemptKey, EndBytes, EndSummary, KnownEnd, Order, OrderNumber, Outcome, Report, StoreId,
        Term,
    },
    deployment::CellId,
    ledger::{Forecast, Holder},
    record::{HoldRecord, Recovered},
    score::Offers,
    start::StartStatus,
};

use crate::{
    Answer, Command, Effect, Engine, Input, Recovery, Rejection, Reply, ReplyTo, Settings,
    Submission, answer,
    ids::{PlayerIx, ReplyId, SessionId},
    tables::{job::Job, player::Player},
};

/// What a plan needs of the present state.
#[derive(Clone, Debug)]
pub struct Overlay {
    settings: Settings,
    now: Timestamp,
    deployments: Arc<Deployments>,
    submission: Submission,
    targets: Vec<Target>,
    /// Hosts that serve in trees and are no targets.
    origins: Vec<Target>,
    /// Hosts that hold cells, including hosts that the submission does not name.
    holders: Vec<Holder>,
    /// What the flow waits for before it begins; `None` where it begins at once.
    begins: Option<String>,
    /// Why it cannot wait for that.
    never_begins: Option<Rejection>,
}

/// A host that the submission names, and what its player offers.
#[derive(Clone, Debug)]
struct Target {
    host: HostName,
    attached: bool,
    drained: bool,
    scores: Offers,
}

impl Engine {
    /// What a plan of this submission needs. Takes time in proportion to its hosts, and a short
    /// look at every player.
    pub fn overlay(&self, mut submission: Submission) -> Overlay {
        // The plan tells when the flow begins beside what it does then.
        let start = std::mem::take(&mut submission.spec.start);
        let never_begins = self.check_start(&start).err();
        let awaited = StartStatus { start, ended: None };
        let begins = (!start.is_now()).then(|| self.tell_awaited(&awaited));
        let target = |host: &HostName| {
            let ix = self.roster.member(host)?;
            let player = &self.roster[ix];
            Some(Target {
                host: host.clone(),
                attached: player.attached(),
                drained: player.drained().is_some(),
                scores: player.scores().clone(),
            })
        };
        let hosts: Vec<&HostName> = submission.targets.iter().flatten().flatten().collect();
        let hosts: BTreeSet<&HostName> = hosts.into_iter().collect();
        let shapes = submission.trees.values();
        let origins: BTreeSet<&HostName> =
            shapes.flat_map(|shape| shape.root.iter().chain(&shape.done)).collect();
        let origins = origins.into_iter().filter(|host| !hosts.contains(host));
        let origins = origins.filter_map(target).collect();
        let targets = hosts.into_iter().filter_map(target).collect();
        let holds = |ix: &PlayerIx| self.roster[*ix].holds();
        let holders = self.roster.indices().filter(holds).map(|ix| self.holder(ix));
        Overlay {
            settings: self.settings,
            now: self.now,
            deployments: Arc::clone(self.deployments()),
            holders: holders.collect(),
            targets,
            origins,
            submission,
            begins,
            never_begins,
        }
    }
}

impl Overlay {
    /// Plays the flow to its end, or until only a person could help. Fails if the submission would
    /// be rejected.
    pub fn run(self) -> Result<Forecast, Rejection> {
        if let Some(rejection) = self.never_begins {
            return Err(rejection);
        }
        let mut forecast = Forecast { begins: self.begins.clone(), ..Forecast::default() };
        let names = |is: fn(&Target) -> bool| {
            let those = self.targets.iter().filter(|target| is(target));
            HostSet::from_names(those.map(|target| target.host.clone()))
        };
        forecast.absent = names(|target| !target.attached);
        forecast.drained = names(|target| target.drained);
        let all = HostSet::from_names(self.targets.iter().map(|target| target.host.clone()));
        forecast.free = self.deployments.cells().unthrottled(&all);
        let mut play = Play::new(&self);
        let flow = play.submit(self.submission)?;
        forecast.serving = play.engine.planned_serving(flow);
        while play.engine.flows.contains(flow) {
            let orders = play.take_orders();
            if !orders.is_empty() {
                forecast.waves.push(play.wave(&orders));
                play.succeed(orders);
            } else if !play.go_on(flow, &mut forecast) {
                forecast.stuck = play.stuck(flow);
                break;
            }
        }
        Ok(forecast)
    }
}

/// The engine of a plan, and the effects that it has asked for.
struct Play {
    engine: Engine,
    now: Timestamp,
    orders: Vec<(PlayerIx, Order)>,
    answer: Option<Answer>,
    /// Hosts whose tasks run now.
    running: BTreeMap<HostName, Holder>,
}

/// The one session through which all reports of a plan come.
const SESSION: SessionId = SessionId(1);
const REPLY: ReplyId = ReplyId(1);

impl Play {
    fn new(overlay: &Overlay) -> Self {
        /// Stands for the job that a hold is for, which does not matter to a plan.
        const NO_JOB: JobId = JobId { flow: FlowId(0), slot: 1, job: 1 };
        let hold = |holder: &Holder| {
            let job = holder.jobs.first().copied();
            job.or(holder.units.is_empty().then_some(NO_JOB)).map(|job| HoldRecord {
                host: holder.host.clone(),
                job,
                // Lower than every order of the plan, because what the plan does on the host comes
                // later.
                order: OrderNumber(0),
                state: holder.down.unwrap_or(TaskState::Running),
                since: holder.since,
            })
        };
        let mut engine = Engine::recover(
            overlay.settings,
            Recovery {
                store: StoreId([0; 16]),
                term: Term(1),
                recovered: Recovered::default(),
                next_flow: FlowId(1),
                players: Vec::new(),
                requests: Vec::new(),
                holds: overlay.holders.iter().filter_map(hold).collect(),
                deployments: Arc::clone(&overlay.deployments),
                doubt: None,
            },
        );
        for target in overlay.targets.iter().chain(&overlay.origins) {
            let ix = engine.roster.intern(&target.host);
            engine.roster.set_member(ix, true);
            let scores = target.scores.clone();
            engine.roster.change(ix, |player| player.pretend_attached(SESSION, scores));
        }
        engine.resume(overlay.now);
        for holder in overlay.holders.iter().filter(|holder| !holder.units.is_empty()) {
            let player = engine.roster.intern(&holder.host);
            engine.roster.give_cells(player);
            engine.tell_units(player, holder.units.clone());
        }
        let is_running = |holder: &&Holder| holder.down.is_none() && !holder.jobs.is_empty();
        let running = overlay.holders.iter().filter(is_running);
        let mut play = Self {
            engine,
            now: overlay.now,
            orders: Vec::new(),
            answer: None,
            running: running.map(|holder| (holder.host.clone(), holder.clone())).collect(),
        };
        play.listen();
        play
    }

    fn submit(&mut self, submission: Submission) -> Result<FlowId, Rejection> {
        let submission = Box::new(submission);
        self.input(Input::FlowSubmitted { reply: ReplyTo::new(REPLY), submission });
        let answer = self.answer.take().and_then(answer::Submitted::read);
        answer.unwrap_or(Err(Rejection::NoMoreFlows)).map(|submitted| submitted.flow)
    }

    fn input(&mut self, input: Input) {
        self.engine.handle(self.now, input);
        self.listen();
    }

    fn listen(&mut self) {
        loop {
            let effects: Vec<Effect> = self.engine.effects().collect();
            for effect in effects {
                match effect {
                    Effect::Send { player, command: Command::Order(order), .. } => {
                        self.orders.push((player, order));
                    }
                    Effect::Answer { reply: REPLY, answer } => self.answer = Some(answer),
                    _ => {}
                }
            }
            if !self.engine.has_work() {
                return;
            }
            self.engine.advance(self.now);
        }
    }

    fn take_orders(&mut self) -> Vec<(PlayerIx, Order)> {
        std::mem::take(&mut self.orders)
    }

    fn wave(&self, orders: &[(PlayerIx, Order)]) -> Vec<(JobName, HostSet)> {
        let mut jobs: BTreeMap<_, Vec<HostName>> = BTreeMap::new();
        for (player, order) in orders {
            jobs.entry(order.key.job).or_default().push(self.engine.roster.host(*player).clone());
        }
        let named = jobs.into_iter().filter_map(|(job, hosts)| {
            Some((self.engine.job(job)?.spec().name.clone(), HostSet::from_names(hosts)))
        });
        named.collect()
    }

    fn succeed(&mut self, orders: Vec<(PlayerIx, Order)>) {
        for (player, order) in orders {
            let report = Box::new(ended_well(order.key, order.number, self.now));
            self.input(Input::Reported { player, session: SESSION, report });
        }
    }

    /// Lets happen what would happen in time while nothing of the flow is out. Returns whether
    /// anything did.
    fn go_on(&mut self, flow: FlowId, forecast: &mut Forecast) -> bool {
        if !self.running.is_empty() {
            let done = std::mem::take(&mut self.running);
            let hosts = HostSet::from_names(done.keys().cloned());
            forecast.awaited.extend(done.into_values().filter(|holder| self.is_in_the_way(holder)));
            for host in &hosts {
                let player = self.engine.roster.intern(host);
                self.engine.roster.change(player, Player::release_hold);
            }
            self.engine.advance(self.now);
            self.listen();
            return true;
        }
        if let Some((job, by)) = self.canary_to_promote(flow) {
            let reply = ReplyTo::new(REPLY);
            self.input(Input::PromoteRequested { reply, flow, job: Some(job), by });
            return true;
        }
        let Some(at) = self.engine.next_deadline().filter(|at| *at > self.now) else {
            return false;
        };
        self.now = at;
        self.engine.advance(at);
        self.listen();
        true
    }

    /// A job whose canary is ok and that waits for a promotion, and who may promote it.
    fn canary_to_promote(&self, flow: FlowId) -> Option<(JobId, Asker)> {
        let flow = self.engine.flows.get(flow)?;
        let is_ok = |job: &&Job| !job.canary().is_open && job.canary().ok == job.canary().tasks;
        let job = flow.jobs().filter(|job| job.spec().bake.is_none()).find(is_ok)?;
        Some((job.id(), flow.audience().clone()))
    }

    /// Whether a host holds a full cell that somebody waits for.
    fn is_in_the_way(&self, holder: &Holder) -> bool {
        let player = self.engine.roster.known(&holder.host).map(|ix| &self.engine.roster[ix]);
        player.is_some_and(|player| {
            let ledger = &self.engine.roster.ledger();
            let is_awaited = |cell: &CellId| {
                let (held, _, limit) = ledger.counts(*cell);
                held >= limit && ledger.waiting_for(*cell).next().is_some()
            };
            player.holds() && player.cells().iter().any(is_awaited)
        })
    }

    fn stuck(&self, flow: FlowId) -> Vec<(JobName, HostSet, Advice)> {
        let told = self.engine.explain(flow, None, None).unwrap_or_default();
        let stuck = told.into_iter().filter(|told| told.reason.is_some()).filter_map(|told| {
            Some((self.engine.job(told.job?)?.spec().name.clone(), told.hosts, told.text))
        });
        stuck.collect()
    }
}

fn ended_well(key: AttemptKey, order: OrderNumber, at: Timestamp) -> Report<KnownEnd> {
    let summary = EndSummary { outcome: Outcome::Exited(0), started_at: Some(at), ended_at: at };
    Report::Ended { key, order, end: KnownEnd { summary, bytes: EndBytes::default() } }
}
