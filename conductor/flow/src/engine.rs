//! The engine: all that it knows, and the methods that its owner calls.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use orchestra_model::{
    Asker, FlowId, FlowState, HostName, JobId, Timestamp,
    delivery::{JobPart, RequestId, StoreId, Term},
    record::{Drain, Op, Record, Recovered},
    status::Event,
};

use crate::{
    answer::{Answer, Rejection, Reply, ReplyTo},
    effect::{Command, Effect},
    ids::{PlayerIx, SessionId},
    input::Input,
    tables::{
        deadlines::Deadlines, flows::Flows, job::Job, leftover::Leftover, roster::Roster,
        starts::Starts, task::TaskRef,
    },
};

/// Bounds that the configuration sets.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Most tasks of one flow, over all its jobs.
    pub most_tasks: u64,
}

/// The flow scheduler. Its caller has the clock, the store and the connections.
///
/// There are four kinds of methods:
///
/// - A. *What happened.* [`Engine::handle`] takes in one input, [`Engine::advance`] lets time pass.
///   Both are told the time, which never runs back.
/// - B. *What is to be done.* [`Engine::effects`] returns the effects that were added since its
///   last call, in order.
/// - C. *When to call again.* [`Engine::has_work`] says whether there is more to do at once, and
///   [`Engine::next_deadline`] at which moment there will be, if no input comes before.
/// - D. *How things are.* [`Engine::roster`], [`Engine::flow_status`], [`Engine::explain`],
///   [`Engine::audit`] and all other methods that take `&self` change nothing.
///
/// The owner calls them in this order:
///
/// 1. At the start: [`Engine::recover`], then [`Engine::restore`] for each living flow, then
///    [`Engine::resume`], once; then [`Input::UnitsTold`] for each player that has units. Then B.
/// 2. For each thing that happens: A, then B. Where several things happen at once, A may be called
///    for all of them before B.
/// 3. When nothing is left to take in: C. While there is work: [`Engine::advance`], then B, then
///    step 2 for what has happened meanwhile, so that a large flow delays nobody. When there is
///    none, the owner waits for the next input or for the deadline, at which it calls
///    [`Engine::advance`].
///
/// The owner performs effects in the order in which it got them. It performs none but
/// [`Effect::Persist`] before every `Persist` ahead of it is on disk. What D returns may not be on
/// disk yet: whoever passes it on waits until it is.
#[derive(Clone, Debug)]
pub struct Engine {
    pub(crate) settings: Settings,
    pub(crate) store: StoreId,
    pub(crate) term: Term,
    /// The last recovery from an old copy.
    pub(crate) recovered: Recovered,
    pub(crate) now: Timestamp,
    pub(crate) next_flow: FlowId,
    pub(crate) roster: Roster,
    pub(crate) flows: Flows,
    /// The flow of every submission that the store knows: a submission that is sent again is
    /// answered with its flow of the first time.
    pub(crate) requests: BTreeMap<(Asker, RequestId), FlowId>,
    /// Flows that have ended and are still in the store.
    pub(crate) ended: BTreeMap<FlowId, Ended>,
    /// Flows that wait for the end of another one before they begin.
    pub(crate) starts: Starts,
    /// Flows that are cancelled instead of begun, and why.
    pub(crate) denied_starts: BTreeMap<FlowId, Arc<str>>,
    /// Entries of players' queues whose tasks do not wait there any more; a sweep drops them.
    pub(crate) leftovers: VecDeque<Leftover>,
    /// Jobs that wait for enough players to be there.
    pub(crate) gathering: BTreeSet<JobId>,
    /// Tasks of trees that are skipped because their parents ended without being ok.
    pub(crate) orphans: VecDeque<TaskRef>,
    pub(crate) deadlines: Deadlines,
    /// Until then no player is given up as absent: after a start each has time to come back.
    pub(crate) returning_until: Timestamp,
    pub(crate) effects: VecDeque<Effect>,
    /// Why nothing is sent: what a player knows that this store does not.
    pub(crate) stale: Option<String>,
}

/// What is remembered of a flow that has ended.
#[derive(Clone, Debug)]
pub(crate) struct Ended {
    /// The submission that it came from.
    pub(crate) submission: (Asker, RequestId),
    /// How it ended.
    pub(crate) state: FlowState,
}

/// Most tasks that one call looks at. Then the engine returns, so that its owner can hand over what
/// has happened meanwhile.
const STEPS: u32 = 1_024;

impl Engine {
    /// A. Takes in what happened at `now`.
    pub fn handle(&mut self, now: Timestamp, input: Input) {
        self.now = self.now.max(now);
        match input {
            Input::FlowSubmitted { reply, submission } => self.submit(reply, *submission),
            Input::CancelRequested { reply, flow, by, reason, abandon } => {
                self.cancel(reply, flow, &by, reason, abandon);
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
            Input::ReleasePlayersRequested { reply, hosts } => self.release_players(reply, &hosts),
            Input::DeploymentsLoaded { reply, deployments } => {
                self.load_deployments(reply, deployments);
            }
            Input::PlayerAttached { player, session, snapshot } => {
                self.attach(player, session, &snapshot);
            }
            Input::PlayerDetached { player, session } => self.detach(player, session),
            Input::Reported { player, session, report } => self.report(player, session, *report),
            Input::UnitsTold { player, unwell } => self.tell_units(player, unwell),
            Input::RosterLoaded { reply, hosts, most_removed } => {
                self.load_roster(reply, &hosts, most_removed);
            }
            Input::StoreRecovered { reply, term } => self.recover_store(reply, term),
            Input::FlowExpired { flow } => self.forget_flow(flow),
        }
        self.advance(now);
    }

    /// A. Lets time pass: meets deadlines that have come, and does a bounded turn of the work that
    /// is left.
    pub fn advance(&mut self, now: Timestamp) {
        self.now = self.now.max(now);
        self.meet_deadlines();
        self.sweep();
        self.work();
    }

    /// Works off what follows from changes: jobs end and slots begin, then parked tasks start, then
    /// tasks that nobody has looked at. Returns after a bounded number of steps;
    /// [`Engine::has_work`] says whether more are left.
    pub(crate) fn work(&mut self) {
        let mut steps = 0;
        loop {
            self.recount_servers();
            self.skip_orphans();
            self.evaluate_changed();
            self.look_at_starts();
            if let Some(player) = self.roster.pop_woken() {
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

    /// B. Takes out the effects that were asked for since the last call, in order.
    pub fn effects(&mut self) -> impl Iterator<Item = Effect> + '_ {
        self.effects.drain(..)
    }

    /// C. Whether [`Engine::advance`] has something to do at once.
    pub fn has_work(&self) -> bool {
        ((self.flows.has_runnable() || self.roster.ledger().has_opened()) && self.stale.is_none())
            || !self.leftovers.is_empty()
            || self.starts.has_due()
            || self.deadlines.next().is_some_and(|at| at <= self.now)
    }

    /// C. The moment at which [`Engine::advance`] has something to do, if no input comes before it.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.deadlines.next()
    }

    pub fn roster(&self) -> &Roster {
        &self.roster
    }

    pub fn term(&self) -> Term {
        self.term
    }

    /// The term that began with the last recovery from an old copy; 0 where there was none.
    pub fn recovered_term(&self) -> Term {
        self.recovered.term
    }

    pub fn store(&self) -> StoreId {
        self.store
    }

    /// Why nothing is sent to any player, if so: a player has proved that it knows of more than
    /// this store, which is an old copy then.
    pub fn stale(&self) -> Option<&str> {
        self.stale.as_deref()
    }

    /// The job part of a living flow's job: what the orders of all its tasks share. `None` once the
    /// flow has ended.
    pub fn job_part(&self, id: JobId) -> Option<JobPart> {
        let flow = self.flows.get(id.flow)?;
        let job = flow.job(id)?;
        Some(JobPart {
            job: id,
            name: job.spec().name.clone(),
            score: job.spec().score.clone(),
            audience: flow.audience().clone(),
            params: job.params().clone(),
            unit: job.spec().unit.clone(),
            // Whoever sends it knows the bundles.
            seal: None,
        })
    }

    pub(crate) fn job(&self, id: JobId) -> Option<&Job> {
        self.flows.job(id)
    }

    pub(crate) fn put(&mut self, record: Record) {
        self.effects.push_back(Effect::Persist(Op::Put(record)));
    }

    /// Sends a command to a player. From a store that may be an old copy only one command is sent:
    /// that the end of an attempt which this store knows is on disk. Any other acknowledgement
    /// would make the player forget what only the right store has a record for.
    pub(crate) fn send(&mut self, player: PlayerIx, session: SessionId, command: Command) {
        if self.stale.is_none() || matches!(command, Command::Acknowledge(_)) {
            self.effects.push_back(Effect::Send { player, session, command });
        }
    }

    pub(crate) fn publish(&mut self, event: Event) {
        self.effects.push_back(Effect::Publish(event));
    }

    pub(crate) fn answer<T: Reply>(&mut self, reply: ReplyTo<T>, answer: T) {
        self.effects.push_back(Effect::Answer { reply: reply.id(), answer: answer.into() });
    }

    pub(crate) fn reject<T: Reply>(&mut self, reply: ReplyTo<T>, rejection: Rejection) {
        let answer = Answer::Rejected(rejection);
        self.effects.push_back(Effect::Answer { reply: reply.id(), answer });
    }

    pub(crate) fn host(&self, player: PlayerIx) -> HostName {
        self.roster.host(player).clone()
    }
}
