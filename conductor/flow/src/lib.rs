//! The flow scheduler: everything that decides, and nothing that does.
//!
//! [`Engine`] is synchronous and deterministic. It is told what happened ([`Input`]) and when,
//! and answers with what is to be done ([`Effect`]), in order; it reads no clock, draws no chance
//! and does no IO, so a daemon, a test and a simulation run the very same code. It may be stopped
//! between any two inputs and rebuilt from what it asked to persist.
//!
//! How a task comes to run, in visible stages:
//!
//! 1. *wanted*: its job's slot has begun, the job is not doomed and nobody paused it, enough players
//!    are there, the canary lets it, the window has room (`Job::next_wanted`);
//! 2. *possible*: all hosts that come before its own are done (`sequence`), and no gate of its player
//!    is closed: presence, drain, credit, exclusiveness, the score's concurrency, cells
//!    (`Player::gate`). A task that meets a closed gate is parked there, and looked at again only
//!    when something changed;
//! 3. *chosen*: window, cells, score concurrency and credit are taken in one step (`Engine::start`);
//! 4. *emitted*: the records that say so, then the order.
//!
//! What holds cells is a host, not a task (`ledger`), so it is players that wait for room in cells,
//! each with whatever is parked on it (`parties`).
//!
//! An input changes tasks and players, and notes whom that concerns: jobs that may be doomed, over
//! or stuck, players whose gates may have opened, cells with room. What follows is worked off
//! afterwards, jobs before players before cells before new tasks (`Engine::work`), so that nothing is
//! decided on a half-made change and nothing starts for a job that has just failed.
//!
//! An event costs a bounded number of steps, whatever the number of flows and waiting tasks; what
//! needs more (a slot of a million tasks begins) is done in turns: see [`Engine::has_work`]. Only
//! what touches many tasks by its nature costs in proportion: a player with many tasks parked on it
//! comes or goes, a one-of job looks over its players, a reload removes some or brings other
//! deployments, a cell that many wait for becomes dead, and, 64 at a time, a full one opens for which
//! hosts wait that hardly share their other cells.
//!
//! Why something waits is told from the same data that decides (`explain`), and what a submission
//! would do by the same engine over an overlay (`plan`).

mod absence;
mod attach;
mod audit;
mod cancel;
mod cells;
mod deadline;
mod dispatch;
mod effect;
mod explain;
mod few;
mod flow;
mod flows;
mod ids;
mod input;
mod job;
mod ledger;
mod parties;
mod plan;
mod player;
mod quarantine;
mod queue;
mod recover;
mod reload;
mod report;
mod rollout;
mod roster;
mod sequence;
mod settle;
mod stall;
mod status;
mod submit;
mod sweep;
mod task;
mod tasks;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use orchestra_model::{
    AudienceName, FlowId, HostName, JobId, Timestamp,
    delivery::{JobPart, RequestId, StoreId, Term},
    record::{Drain, Op, Record, Recovered},
    status::Event,
};

pub use audit::Violation;
pub use effect::{Answer, CloseReason, Command, Effect, Rejection};
pub use flow::shown;
pub use ids::{PlayerIx, ReplyId, SessionId};
pub use input::{Input, Submission};
pub use plan::Overlay;
pub use recover::{RecoveredFlow, RecoveredJob, Recovery};
pub use roster::Roster;

use crate::{
    cells::Ledger, deadline::Deadlines, few::Few, flows::Flows, job::Job, sweep::Leftover,
};

/// Bounds that the configuration sets.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Most tasks of one flow, over all its jobs.
    pub most_tasks: u64,
}

/// The flow scheduler.
#[derive(Clone, Debug)]
pub struct Engine {
    settings: Settings,
    store: StoreId,
    term: Term,
    /// The last recovery from an old copy.
    recovered: Recovered,
    now: Timestamp,
    next_flow: FlowId,
    roster: Roster,
    flows: Flows,
    /// Every submission that the store knows, so that the same again is the same flow.
    requests: BTreeMap<(AudienceName, RequestId), FlowId>,
    /// Flows that have ended and are still in the store, and the submissions they came from.
    ended: BTreeMap<FlowId, (AudienceName, RequestId)>,
    /// Jobs whose next tasks may perhaps start, each once.
    runnable: VecDeque<JobId>,
    /// Jobs whose parked tasks start as soon as their players let them; some that have closed
    /// their window since are still among them.
    open: Few<JobId>,
    /// Jobs that may be doomed or over.
    changed: Few<JobId>,
    /// Players whose gates may have opened.
    woken: Few<PlayerIx>,
    /// What lies in players' queues and waits no more.
    leftovers: VecDeque<Leftover>,
    /// Who holds which cells.
    ledger: Ledger,
    /// Jobs that wait for enough players to be there.
    gathering: BTreeSet<JobId>,
    deadlines: Deadlines,
    /// Until then nobody is given up as absent: players are given time to come back.
    returning_until: Timestamp,
    effects: VecDeque<Effect>,
    /// Why nothing is sent: what a player knows that this store does not.
    stale: Option<String>,
}

/// Most tasks that are looked at before the engine takes in what happened meanwhile.
const STEPS: u32 = 1_024;

impl Engine {
    /// Takes in what happened at `now`, a moment of a clock that never runs back. Then drain
    /// [`Engine::effects`].
    pub fn handle(&mut self, now: Timestamp, input: Input) {
        self.now = self.now.max(now);
        match input {
            Input::FlowSubmitted(submission) => self.submit(*submission),
            Input::CancelRequested { reply, flow, by, abandon } => {
                self.cancel(reply, flow, &by, abandon);
            }
            Input::PauseRequested { reply, flow, by } => self.pause(reply, flow, by),
            Input::ResumeRequested { reply, flow } => self.unpause(reply, flow),
            Input::PromoteRequested { reply, flow, job, by } => self.promote(reply, flow, job, &by),
            Input::RetryRequested { reply, flow, job, hosts } => {
                self.retry(reply, flow, job, hosts.as_ref());
            }
            Input::DrainRequested { reply, hosts, by, reason } => {
                let since = self.now;
                self.drain(reply, &hosts, Some(&Drain { by, reason, since }));
            }
            Input::UndrainRequested { reply, hosts } => self.drain(reply, &hosts, None),
            Input::ReleaseRequested { reply, hosts } => self.release_holds(reply, &hosts),
            Input::UnquarantineRequested { reply, hosts } => self.unquarantine(reply, &hosts),
            Input::DeploymentsLoaded { reply, deployments } => {
                self.load_deployments(reply, deployments);
            }
            Input::PlayerAttached { player, session, snapshot } => {
                self.attach(player, session, &snapshot);
            }
            Input::PlayerDetached { player, session } => self.detach(player, session),
            Input::Reported { player, session, report } => self.report(player, session, *report),
            Input::RosterLoaded { reply, hosts, most_removed } => {
                self.load_roster(reply, &hosts, most_removed);
            }
            Input::StoreRecovered { reply, term } => self.recover_store(reply, term),
            Input::FlowExpired { flow } => self.forget_flow(flow),
        }
        self.advance(now);
    }

    /// Lets time pass: deadlines that have come, and a bounded turn of work left over.
    pub fn advance(&mut self, now: Timestamp) {
        self.now = self.now.max(now);
        self.meet_deadlines();
        self.sweep();
        self.work();
    }

    /// Works off what follows from the changes: jobs end and slots begin, then parked tasks start,
    /// then tasks that nobody has looked at, a turn at a time.
    fn work(&mut self) {
        let mut steps = 0;
        loop {
            self.settle();
            if let Some(player) = self.woken.pop_first() {
                self.wake(player);
                continue;
            }
            if steps >= STEPS {
                return;
            }
            if self.admit() {
                steps += 1;
                continue;
            }
            match self.take_turn() {
                Some(looked_at) => steps += looked_at,
                None => return,
            }
        }
    }

    /// What is to be done, in order. Perform nothing but a `Persist` before every `Persist` ahead
    /// of it is on disk.
    pub fn effects(&mut self) -> impl Iterator<Item = Effect> + '_ {
        self.effects.drain(..)
    }

    /// Whether [`Engine::advance`] has something to do at once. Take in what is ready first.
    pub fn has_work(&self) -> bool {
        ((!self.runnable.is_empty() || self.ledger.has_opened()) && self.stale.is_none())
            || !self.leftovers.is_empty()
            || self.deadlines.next().is_some_and(|at| at <= self.now)
    }

    /// When [`Engine::advance`] is next due, if nothing happens before.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.deadlines.next()
    }

    /// The players.
    pub fn roster(&self) -> &Roster {
        &self.roster
    }

    /// The present term.
    pub fn term(&self) -> Term {
        self.term
    }

    /// The term that began with the last recovery from an old copy; 0 where there was none.
    pub fn recovered_term(&self) -> Term {
        self.recovered.term
    }

    /// The store.
    pub fn store(&self) -> StoreId {
        self.store
    }

    /// Why nothing is sent, if so: a player knows of more than this store.
    pub fn stale(&self) -> Option<&str> {
        self.stale.as_deref()
    }

    /// The large part of an order; `None` once its flow has ended.
    pub fn job_part(&self, id: JobId) -> Option<JobPart> {
        let flow = self.flows.get(id.flow)?;
        let job = flow.job(id)?;
        Some(JobPart {
            job: id,
            name: job.spec.name.clone(),
            score: job.spec.score.clone(),
            audience: flow.audience.clone(),
            params: job.params.clone(),
        })
    }

    fn job(&self, id: JobId) -> Option<&Job> {
        self.flows.job(id)
    }

    fn job_mut(&mut self, id: JobId) -> Option<&mut Job> {
        self.flows.job_mut(id)
    }

    fn put(&mut self, record: Record) {
        self.effects.push_back(Effect::Persist(Op::Put(record)));
    }

    /// Tells a player. From a store that may be an old copy nothing is said but that an end is on disk
    /// whose attempt this store knows: another acknowledgement would make the player forget what only
    /// the right store has room for.
    fn send(&mut self, player: PlayerIx, session: SessionId, command: Command) {
        if self.stale.is_none() || matches!(command, Command::Acknowledge(_)) {
            self.effects.push_back(Effect::Send { player, session, command });
        }
    }

    fn publish(&mut self, event: Event) {
        self.effects.push_back(Effect::Publish(event));
    }

    fn answer(&mut self, reply: ReplyId, answer: Answer) {
        self.effects.push_back(Effect::Answer { reply, answer });
    }

    fn host(&self, player: PlayerIx) -> HostName {
        self.roster.host(player).clone()
    }
}
