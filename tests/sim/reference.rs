//! What `docs/promises.md` promises, spelled out a second time and as plainly as possible.
//!
//! The reference knows nothing of the engine's tables. It is told what anybody could see: what
//! operators asked ([`Note::Asked`]) and what players said, in the order in which the conductor took
//! it in; which records became durable; what left the conductor; what players really did. Everything
//! else it works out anew each time it is asked, by looking at everything, and so it has no queues,
//! no counters, and nothing to keep in step.
//!
//! - This file keeps what was seen, and checks each record against what was before: what is final
//!   stays, what was sent was free to be sent, holds are kept and given back.
//! - [`gates`] says what stops a task from starting. A task is sent only when nothing does, and
//!   waits only while something does: the same list, read in both directions.
//! - [`rules`] says what a job's outcomes amount to: rounding, thresholds, verdicts.
//! - [`starts`] says when a flow begins that waits for a moment or for another flow.
//! - [`told`] compares what the conductor tells people with all that.
//!
//! A broken promise is a panic with what was seen.

mod gates;
pub(crate) mod rules;
mod starts;
mod told;
mod trees;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use orchestra_flow::{Answer, Command, SessionId, answer};
use orchestra_model::{
    Deployments, FlowId, FlowState, HostName, HostSet, JobId, JobState, ScoreName, ServiceName,
    TaskState, Timestamp,
    delivery::{
        AttemptKey, EndBytes, KnownEnd, OrderNumber, Outcome, PlayerSnapshot, Refusal, Report,
        RequestId, Term,
    },
    flow::{FlowSpec, JobSpec, OnDoomed, Scope},
    proof::Proof,
    record::{FlowRecord, Impact, JobRecord, Op, PlayerRecord, Record, Recovered, TaskRecord},
    score::ScoreSpec,
    service::{Unready, UnwellUnit},
    start::Start,
    status::Event,
    tree::{Parent, TreeShape},
};

use crate::world::fleet;

/// An order that is on disk.
#[derive(Clone, Debug)]
struct Ordered {
    number: OrderNumber,
    impact: Impact,
    /// Who serves it, if its job has a tree.
    parent: Option<Parent>,
}

/// What somebody submitted.
#[derive(Clone, Debug)]
pub(crate) struct Submitted {
    pub(crate) spec: FlowSpec,
    pub(crate) targets: Vec<Vec<HostSet>>,
    pub(crate) has_params: bool,
}

impl Submitted {
    /// The hosts of its trees, by slot and job.
    pub(crate) fn trees(&self) -> BTreeMap<(u16, u16), TreeShape> {
        let slots = (1..).zip(&self.spec.slots).zip(&self.targets);
        let jobs = slots.flat_map(|((slot, spec), sets)| {
            let jobs = (1..).zip(&spec.jobs).zip(sets);
            jobs.map(move |((number, job), set)| ((slot, number), job, set))
        });
        jobs.filter_map(|(place, job, set)| Some((place, fleet::shape(job, set)?))).collect()
    }

    /// Whether a job has limits that could never take effect: counts above its hosts, thresholds
    /// where one task runs in all.
    pub(crate) fn is_refused(&self) -> bool {
        let slots = self.spec.slots.iter().zip(&self.targets);
        let mut jobs = slots.flat_map(|(slot, sets)| slot.jobs.iter().zip(sets));
        jobs.any(|(spec, hosts)| rules::is_refused(spec, hosts.len() as u32))
    }
}

/// Something that the conductor took in.
#[derive(Clone, Debug)]
pub(crate) enum Note {
    /// It is now this late, for the conductor.
    Time(Timestamp),
    /// Somebody submitted this.
    Submit(RequestId, Box<Submitted>),
    /// Somebody asked for further attempts of this living flow.
    Retry(FlowId),
    /// Somebody asked that a flow wait no more for players that are away.
    Abandon(FlowId),
    /// Somebody said that these hosts count as down no more.
    Release(HostSet),
    /// These are all units of a host that are not well.
    Units(HostName, Vec<UnwellUnit>),
    /// Somebody asked for anything else.
    Other,
    /// Deployments that are in force as soon as the answer says so.
    Deployments(Arc<Deployments>),
    /// A player told its whole state; the last says whether the conductor listens, or has found
    /// its store to be an old copy.
    Attached(HostName, SessionId, Box<PlayerSnapshot>, bool),
    Detached(HostName, SessionId),
    /// A player reported; the last as above.
    Reported(HostName, SessionId, Box<Report<KnownEnd>>, bool),
    /// An operator said to go on from an old copy, in this term.
    Recovered(Term),
    /// The conductor's term.
    Term(Term),
}

/// What was seen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reference {
    now: Timestamp,
    pub(crate) deployments: Arc<Deployments>,
    loading: Arc<Deployments>,
    hosts: BTreeMap<HostName, Host>,
    pub(crate) flows: BTreeMap<FlowId, Flow>,
    submitted: BTreeMap<RequestId, Submitted>,
    requests: BTreeMap<RequestId, FlowId>,
    /// Orders that are on disk, and so may leave: what they mean for the host's cells.
    orders: BTreeMap<(HostName, AttemptKey), Ordered>,
    /// How attempts ended, by the bytes on disk, and whether those are a note beside a final state.
    ends: BTreeMap<(HostName, JobId, u32), (EndBytes, bool)>,
    /// The number of the last change of each flow.
    changes: BTreeMap<FlowId, u64>,
    /// Of these the end came while it was awaited, so that it has to be on disk.
    owed: BTreeSet<(HostName, AttemptKey)>,
    /// Whose further attempts somebody has just asked for.
    reopening: Option<FlowId>,
    /// Whose absent players somebody has just given up.
    abandoning: Option<FlowId>,
    /// Whom somebody has just released.
    releasing: HostSet,
    /// Holds that ended by themselves: the success that ended each has to follow.
    freed: BTreeMap<HostName, Down>,
    /// A host holds its cells, room or not, because what it runs is of a flow that is forgotten.
    pub(crate) supposed: bool,
    /// The last time that an operator went on from an old copy.
    recovered: Recovered,
    /// The conductor's term.
    term: Term,
    /// The conductor has found its store to be an old copy.
    stale: bool,
    /// Until then hosts that serve in trees may be expected to come back.
    returning_until: Timestamp,
    /// The next flow's number: players that know of it, or of a later one, know of more than the store.
    next_flow: Option<FlowId>,
}

#[derive(Clone, Debug, Default)]
struct Host {
    member: bool,
    /// While it gets orders.
    session: Option<SessionId>,
    /// While it is quarantined: it claims what neither it nor the store knows.
    quarantined: Option<SessionId>,
    /// Attempts of which it spoke then.
    claims: BTreeSet<AttemptKey>,
    /// Those that somebody let pass.
    tolerated: BTreeSet<AttemptKey>,
    scores: BTreeMap<ScoreName, ScoreSpec>,
    max_tasks: u32,
    drained: bool,
    down: Option<Down>,
    last_order: OrderNumber,
    /// It said that it is busy, and is left alone until then, but for orders about units.
    busy_until: Timestamp,
    /// It would not take an order about a unit, and gets no other until then.
    busy_to_units_until: Timestamp,
    /// Units that are not well.
    units: BTreeMap<ServiceName, Unready>,
    /// Those of them that gave up, and that somebody released.
    released: BTreeSet<ServiceName>,
    /// What it runs and nobody awaits.
    strangers: BTreeSet<AttemptKey>,
    /// What it last said of each attempt.
    words: BTreeMap<AttemptKey, Word>,
}

/// That a host counts as down.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Down {
    /// Whose task left it so; `None` where that is forgotten, or one of several.
    flow: Option<FlowId>,
    order: OrderNumber,
    state: TaskState,
}

#[derive(Clone, Debug)]
enum Word {
    Ended(Outcome),
    Refused(Refusal),
}

#[derive(Clone, Debug)]
pub(crate) struct Flow {
    pub(crate) request: RequestId,
    pub(crate) state: FlowState,
    pub(crate) cancelled: bool,
    pub(crate) paused: bool,
    start: Start,
    /// How the flow ended that it comes after.
    predecessor: Option<FlowState>,
    pub(crate) slots: Vec<Vec<Job>>,
}

#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) id: JobId,
    pub(crate) spec: JobSpec,
    pub(crate) targets: HostSet,
    /// The hosts of its tree, if it has one.
    tree: Option<TreeShape>,
    pub(crate) state: JobState,
    pub(crate) tasks: Vec<Task>,
    untouched: TaskState,
    quorum_met: bool,
    /// How many players have to be there: no more than the players file still named at any time.
    quorum: u32,
    promoted: bool,
    /// It was doomed at some time: then its running tasks may be told to end.
    was_doomed: bool,
    /// When the last of the canary became ok.
    canary_ok_at: Option<Timestamp>,
}

#[derive(Clone, Debug)]
pub(crate) struct Task {
    /// Where it runs; `None` for a one-of task that has not chosen.
    pub(crate) host: Option<HostName>,
    pub(crate) state: TaskState,
    attempt: u32,
    order: OrderNumber,
    impact: Impact,
    /// When the last attempt ended, while a further one is to come.
    ended_at: Option<Timestamp>,
    /// The pause after that was over once, whatever a clock says that was set since.
    was_due: bool,
    /// Attempts that started, or may have.
    used: u32,
    /// Attempts that it may have: more whenever an operator asks.
    allowed: u32,
    /// How the last attempt that started ended, while the task waits again.
    before: Option<TaskState>,
    /// One of: players that said they would never start it.
    struck: BTreeSet<HostName>,
    /// Something has happened to it.
    touched: bool,
    /// Who serves its newest attempt in the job's tree.
    parent: Option<Parent>,
}

impl Job {
    pub(crate) fn total(&self) -> u32 {
        self.tasks.len() as u32
    }

    pub(crate) fn state_of(&self, index: usize) -> TaskState {
        match self.tasks[index].state {
            TaskState::Waiting => self.untouched,
            state => state,
        }
    }

    pub(crate) fn states(&self) -> Vec<TaskState> {
        (0..self.tasks.len()).map(|index| self.state_of(index)).collect()
    }

    fn is_one_of(&self) -> bool {
        self.spec.scope == Scope::One
    }

    fn in_flight(&self) -> u32 {
        self.states().iter().filter(|state| state.is_in_flight()).count() as u32
    }

    /// How many go first.
    fn canary(&self) -> u32 {
        self.spec.canary.map_or(0, |canary| rules::rounded_up(canary, self.total()))
    }

    fn is_doomed(&self) -> bool {
        rules::is_doomed(&self.spec, &self.states())
    }

    /// The hosts that a task may run on.
    fn hosts_of(&self, index: usize) -> Vec<HostName> {
        match self.is_one_of() {
            true => self.targets.iter().cloned().collect(),
            false => vec![self.targets.as_slice()[index].clone()],
        }
    }
}

impl Flow {
    /// The jobs of the present slot: the last that has begun, or the first.
    pub(crate) fn present(&self) -> &[Job] {
        let has_begun = |slot: &&Vec<Job>| slot.iter().any(|job| job.state != JobState::Pending);
        let begun = self.slots.iter().take_while(has_begun).count();
        &self.slots[begun.max(1) - 1]
    }

    pub(crate) fn jobs(&self) -> impl Iterator<Item = &Job> {
        self.slots.iter().flatten()
    }
}

/// What a snapshot proves: orders, and flows where they are named.
fn shown(snapshot: &PlayerSnapshot) -> Vec<(OrderNumber, Option<FlowId>)> {
    let evidence = snapshot.evidence.iter();
    let evidence = evidence.map(|of| (of.order, of.attempt.map(|attempt| attempt.job.flow)));
    let live = snapshot.live.iter().filter(|live| live.proof.is_some());
    let live = live.map(|live| (live.order, Some(live.key.job.flow)));
    let settled = snapshot.settled.iter().filter(|settled| settled.proof.is_some());
    let settled = settled.map(|settled| (settled.order, Some(settled.key.job.flow)));
    evidence.chain(live).chain(settled).collect()
}

fn proofs(snapshot: &PlayerSnapshot) -> Vec<Proof> {
    let evidence = snapshot.evidence.iter().map(|evidence| evidence.proof);
    let live = snapshot.live.iter().filter_map(|live| live.proof);
    let settled = snapshot.settled.iter().filter_map(|settled| settled.proof);
    evidence.chain(live).chain(settled).collect()
}

/// Whether no flow of that number was ever issued.
fn is_later(next: Option<FlowId>, flow: FlowId) -> bool {
    next.is_none_or(|next| flow >= next)
}

impl Reference {
    // ---- what the conductor takes in ----

    pub(crate) fn note(&mut self, note: &Note) {
        (self.reopening, self.abandoning) = (None, None);
        self.releasing = HostSet::default();
        match note {
            Note::Time(now) => self.now = *now,
            Note::Submit(request, submitted) => {
                self.submitted.insert(*request, Submitted::clone(submitted));
            }
            Note::Retry(flow) => self.reopening = Some(*flow),
            Note::Abandon(flow) => self.abandoning = Some(*flow),
            Note::Release(hosts) => self.releasing = hosts.clone(),
            Note::Units(name, unwell) => {
                let host = self.hosts.entry(name.clone()).or_default();
                let told = unwell.iter().map(|unit| (unit.service.clone(), unit.unready));
                host.units = told.collect();
                let units = &host.units;
                host.released.retain(|service| units.get(service) == Some(&Unready::GaveUp));
            }
            Note::Other => {}
            Note::Deployments(deployments) => self.loading = Arc::clone(deployments),
            Note::Attached(name, session, snapshot, listens) => {
                self.stale = !*listens;
                self.attached(name, *session, snapshot, *listens);
            }
            Note::Detached(name, session) => {
                let host = self.hosts.entry(name.clone()).or_default();
                host.session.take_if(|own| own == session);
                host.quarantined.take_if(|own| own == session);
            }
            Note::Reported(name, session, report, listens) => {
                self.stale = !*listens;
                let host = &self.hosts[name];
                let sessions = [host.session, host.quarantined];
                // What is not known is evidence, for as long as store or player are doubted.
                let listens = *listens && host.quarantined.is_none();
                let is_term =
                    matches!(**report, Report::Refused { refusal: Refusal::StaleTerm { .. }, .. });
                let is_known = self.awaited(name, report.key()).is_some() || is_term;
                if sessions.contains(&Some(*session)) && (listens || is_known) {
                    self.reported(name, report);
                }
            }
            Note::Term(term) => self.term = *term,
            Note::Recovered(term) => {
                (self.term, self.stale) = (*term, false);
                self.await_return(self.now);
                for host in self.hosts.values_mut() {
                    (host.session, host.quarantined) = (None, None);
                }
            }
        }
        self.count_quorums();
    }

    fn attached(
        &mut self,
        name: &HostName,
        session: SessionId,
        snapshot: &PlayerSnapshot,
        listens: bool,
    ) {
        let claims = self.unfounded(name, snapshot);
        let host = self.hosts.entry(name.clone()).or_default();
        host.quarantined = claims.is_some().then_some(session);
        if let Some(claims) = claims {
            (host.session, host.claims) = (None, claims);
            return;
        }
        let awaited = |key: &AttemptKey| self.awaited(name, *key).is_some();
        let live = snapshot.live.iter();
        let strangers: BTreeSet<AttemptKey> =
            live.clone().map(|live| live.key).filter(|key| !awaited(key)).collect();
        // A change may run there that nobody remembers.
        let unknown = live.filter(|live| !self.flows.contains_key(&live.key.job.flow));
        let unknown = unknown.map(|live| live.order).max().filter(|_| listens);
        self.supposed |= unknown.is_some();
        let host = self.hosts.entry(name.clone()).or_default();
        host.session = Some(session);
        host.max_tasks = snapshot.max_tasks;
        let spec = |offer: &orchestra_model::score::ScoreOffer| {
            Some((offer.name.clone(), offer.spec.clone().ok()?))
        };
        host.scores = snapshot.scores.iter().filter_map(spec).collect();
        host.strangers = strangers;
        (host.busy_until, host.busy_to_units_until) = Default::default();
        let shown = shown(snapshot);
        let highest = shown.iter().map(|(order, _)| *order).max().unwrap_or_default();
        let order = host.last_order.max(highest);
        let knows_more = shown.iter().any(|(order, flow)| {
            *order > host.last_order || flow.is_some_and(|flow| is_later(self.next_flow, flow))
        });
        let suspects = match knows_more && snapshot.term < self.recovered.term {
            true => self.suspects_on(name),
            false => Vec::new(),
        };
        let suspects = suspects.into_iter().map(|flow| (Some(flow), order));
        for (flow, order) in suspects.chain(unknown.map(|order| (None, order))) {
            let host = self.hosts.get_mut(name).unwrap();
            if host.down.as_ref().is_none_or(|down| down.order < order) {
                host.down = Some(Down { flow, order, state: TaskState::Lost });
            }
        }
    }

    /// The attempts of which a player speaks without proof, if it claims more than the store has
    /// issued to it: a mark, a term, an attempt.
    fn unfounded(
        &self,
        name: &HostName,
        snapshot: &PlayerSnapshot,
    ) -> Option<BTreeSet<AttemptKey>> {
        let nobody = Host::default();
        let host = self.hosts.get(name).unwrap_or(&nobody);
        let shown = shown(snapshot);
        let highest = shown.iter().map(|(order, _)| *order).max().unwrap_or_default();
        let terms = proofs(snapshot).into_iter().map(|proof| proof.term);
        let term = terms.chain([self.term]).max().unwrap();
        let live = snapshot.live.iter().map(|live| (live.key, live.order, live.proof));
        let settled = snapshot.settled.iter();
        let settled = settled.map(|settled| (settled.key, settled.order, settled.proof));
        let unproven = live.chain(settled).filter(|(key, order, proof)| {
            let flows = shown.iter().filter_map(|(_, flow)| *flow);
            let is_known = flows.max().is_some_and(|flow| key.job.flow <= flow);
            let is_unknown = !is_known && is_later(self.next_flow, key.job.flow);
            let is_beyond = *order > host.last_order.max(highest) || is_unknown;
            is_beyond && proof.is_none() && !host.tolerated.contains(key)
        });
        let attempts: BTreeSet<AttemptKey> = unproven.map(|(key, ..)| key).collect();
        let lies = snapshot.mark > host.last_order.max(highest)
            || snapshot.term > term
            || !attempts.is_empty();
        lies.then_some(attempts)
    }

    /// Whose changes wait on a host, and may have run there in the time that a restored store has
    /// forgotten.
    fn suspects_on(&self, name: &HostName) -> Vec<FlowId> {
        let half_known = self.flows.range(..self.recovered.half_known);
        let jobs = half_known.flat_map(|(_, flow)| flow.jobs());
        let changes = jobs.filter(|job| {
            let is_change = self.impact(name, &job.spec) == Impact::Holds;
            !job.is_one_of() && is_change && job.spec.unit.is_none()
        });
        let waits = |job: &&Job| {
            let index = job.targets.iter().position(|host| host == name);
            index.is_some_and(|index| job.state_of(index) == TaskState::Waiting)
        };
        changes.filter(waits).map(|job| job.id.flow).collect()
    }

    fn reported(&mut self, name: &HostName, report: &Report<KnownEnd>) {
        let key = report.key();
        let awaited = self.awaited(name, key).is_some();
        let (now, about_unit) = (self.now, self.is_about_unit(key));
        let Some(host) = self.hosts.get_mut(name) else { return };
        match report {
            Report::Started { .. } => {}
            Report::Ended { end, .. } => {
                host.words.insert(key, Word::Ended(end.summary.outcome.clone()));
                host.strangers.remove(&key);
                if awaited {
                    self.owed.insert((name.clone(), key));
                }
            }
            Report::Refused { refusal: Refusal::StaleTerm { seen, evidence }, .. } => {
                let proven = evidence.map_or(Term(0), |evidence| evidence.proof.term);
                if *seen > self.term && proven <= self.term && host.session.is_some() {
                    host.quarantined = host.session.take();
                    host.strangers.clear();
                }
            }
            Report::Refused { refusal, .. } => {
                host.words.insert(key, Word::Refused(refusal.clone()));
                host.strangers.remove(&key);
                if passes(refusal) {
                    host.busy_until = now.after(orchestra_model::Millis::seconds(1));
                    if about_unit {
                        host.busy_to_units_until = host.busy_until;
                    }
                }
            }
        }
    }

    /// Whether an attempt asks something of a unit, so that its end says nothing of its host.
    pub(crate) fn is_about_unit(&self, key: AttemptKey) -> bool {
        self.job(key.job).is_some_and(|job| job.spec.unit.is_some())
    }

    /// Whether an attempt is the newest of its task, and out.
    pub(crate) fn is_in_flight(&self, name: &HostName, key: AttemptKey) -> bool {
        self.awaited(name, key).is_some()
    }

    /// The task whose newest attempt this is, if that is in flight there.
    fn awaited(&self, name: &HostName, key: AttemptKey) -> Option<&Task> {
        let job = self.job(key.job)?;
        job.tasks.iter().find(|task| {
            task.state.is_in_flight()
                && task.attempt == key.attempt
                && task.host.as_ref() == Some(name)
        })
    }

    /// Once met, a quorum is met for good.
    fn count_quorums(&mut self) {
        let attached: BTreeSet<HostName> = self
            .hosts
            .iter()
            .filter(|(_, host)| host.session.is_some())
            .map(|(name, _)| name.clone())
            .collect();
        let members: BTreeSet<HostName> = self
            .hosts
            .iter()
            .filter(|(_, host)| host.member)
            .map(|(name, _)| name.clone())
            .collect();
        for job in self.flows.values_mut().flat_map(|flow| flow.slots.iter_mut().flatten()) {
            if job.state == JobState::Pending || job.quorum_met {
                continue;
            }
            let count = |of: &BTreeSet<HostName>| {
                job.targets.iter().filter(|host| of.contains(*host)).count() as u32
            };
            let (there, named) = (count(&attached), count(&members));
            job.quorum = job.quorum.min(named);
            let has_sent = job.tasks.iter().any(|task| task.attempt > 0);
            job.quorum_met = there >= job.quorum || has_sent;
        }
    }

    /// The conductor starts anew: it has to be told by players what it knew of them.
    pub(crate) fn restarted(&mut self, now: Timestamp, deployments: Arc<Deployments>) {
        (self.now, self.deployments) = (now, deployments);
        self.await_return(now);
        (self.reopening, self.abandoning) = (None, None);
        self.releasing = HostSet::default();
        self.freed.clear();
        self.stale = false;
        for host in self.hosts.values_mut() {
            (host.session, host.quarantined) = (None, None);
            host.tolerated.clear();
            host.scores.clear();
            host.strangers.clear();
            host.units.clear();
            host.released.clear();
            (host.busy_until, host.busy_to_units_until) = Default::default();
        }
        for job in self.flows.values_mut().flat_map(|flow| flow.slots.iter_mut().flatten()) {
            job.quorum_met = false;
            job.quorum = rules::rounded_up(job.spec.quorum, job.targets.len() as u32);
            // Where the clock was set back, what it called the future is now.
            job.canary_ok_at = job.canary_ok_at.map(|at| at.min(now));
            for task in &mut job.tasks {
                task.ended_at = task.ended_at.map(|at| at.min(now));
                // Whether they still say so is asked anew.
                task.struck.clear();
            }
        }
        self.count_quorums();
    }

    // ---- what becomes durable ----

    pub(crate) fn persisted(&mut self, op: &Op) {
        match op {
            Op::Put(Record::Flow(record)) => self.put_flow(record),
            Op::Put(Record::Job(record)) => self.put_job(record),
            Op::Put(Record::Task(record)) => self.put_task(record),
            Op::Put(Record::Player(record)) => self.put_player(record),
            Op::Put(Record::End(record)) => {
                let key = AttemptKey {
                    store: crate::world::STORE,
                    job: record.job,
                    attempt: record.attempt,
                };
                let awaited = self.awaited(&record.host, key).is_some();
                let host = &record.host;
                assert_eq!(record.late, !awaited, "whether the end of {key} on {host} is a note");
                // An attempt ends once: whoever repeats it has nothing to add.
                let key = (record.host.clone(), record.job, record.attempt);
                self.ends.entry(key).or_insert_with(|| (record.end.clone(), record.late));
            }
            Op::PruneFlow(id) => {
                let pruned = self.flows.remove(id);
                let pruned = pruned.expect("only a flow that exists is forgotten");
                assert!(pruned.state.is_final(), "flow {id} is forgotten and has not ended");
                self.changes.remove(id);
                self.requests.remove(&pruned.request);
            }
            Op::Put(Record::NextFlow(next)) => self.next_flow = Some(*next),
            Op::Put(Record::Recovered(recovered)) => self.recovered = *recovered,
            // Held against `Host::down` whenever the conductor is at rest.
            Op::Put(Record::Hold(_)) => {}
            Op::Release(name) => {
                let host = self.hosts.entry(name.clone()).or_default();
                let down = host.down.take();
                if let Some(down) = down.filter(|_| !self.releasing.contains(name)) {
                    self.freed.insert(name.clone(), down);
                }
            }
            Op::PruneAudit(_) => {}
            Op::Put(
                Record::InForce(_)
                | Record::Audit(_)
                | Record::Spec(_)
                | Record::Targets(_)
                | Record::Tree(_)
                | Record::Params(_)
                | Record::Service(_)
                | Record::Version(_)
                | Record::Placement(_)
                | Record::Brakes(_)
                | Record::Bundle(_),
            )
            | Op::EraseParams(_)
            | Op::PruneVersion(..)
            | Op::Displace(..)
            | Op::ForgetBundle(_) => {}
        }
    }

    fn put_player(&mut self, record: &PlayerRecord) {
        let host = self.hosts.entry(record.host.clone()).or_default();
        assert!(record.last_order >= host.last_order, "{} counts orders back", record.host);
        host.last_order = record.last_order;
        host.drained = record.drained.is_some();
        host.member = !record.removed;
        if record.removed {
            (host.session, host.quarantined) = (None, None);
        }
        self.count_quorums();
    }

    fn put_flow(&mut self, record: &FlowRecord) {
        let (id, is_cancelled) = (record.id, record.cancelled_by.is_some());
        self.check_predecessor(record);
        if let Some(flow) = self.flows.get_mut(&id) {
            assert!(!flow.state.is_final() || flow.state == record.state, "flow {id} had ended");
            assert!(!flow.cancelled || is_cancelled, "flow {id} was cancelled");
            flow.state = record.state;
            flow.cancelled = is_cancelled;
            flow.paused = record.paused_by.is_some();
            flow.predecessor = record.predecessor;
            return;
        }
        let submitted = self.submitted.get(&record.request);
        let submitted = submitted.unwrap_or_else(|| panic!("nobody submitted flow {id}"));
        let twice = self.requests.insert(record.request, id);
        assert_eq!(twice, None, "one submission became two flows");
        if record.retry_of.is_none() {
            assert!(!submitted.is_refused(), "flow {id} has limits that cannot take effect");
        }
        let parts = submitted.spec.slots.iter().zip(&submitted.targets);
        let slots = (1..).zip(parts).map(|(slot, (spec, targets))| {
            let jobs = (1..).zip(spec.jobs.iter().zip(targets));
            jobs.map(|(job, (spec, targets))| new_job(JobId { flow: id, slot, job }, spec, targets))
                .collect()
        });
        let flow = Flow {
            request: record.request,
            state: record.state,
            cancelled: is_cancelled,
            paused: record.paused_by.is_some(),
            start: submitted.spec.start,
            predecessor: record.predecessor,
            slots: slots.collect(),
        };
        self.flows.insert(id, flow);
        if let Some(ended) = record.retry_of {
            let mut jobs = self.flows[&id].jobs();
            assert!(jobs.all(|job| job.spec.unit.is_none()), "flow {id} asks again of units");
            // It takes over the holds of the hosts on which it goes on.
            let targets: Vec<HostName> =
                self.flows[&id].jobs().flat_map(|job| job.targets.iter().cloned()).collect();
            for (name, host) in &mut self.hosts {
                let down = host.down.as_mut().filter(|down| down.flow == Some(ended));
                if let Some(down) = down.filter(|_| targets.contains(name)) {
                    down.flow = Some(id);
                }
            }
        }
        self.count_quorums();
    }

    /// Each change of a flow has a number of its own, above those before it.
    fn count_change(&mut self, flow: FlowId, change: u64) {
        let last = self.changes.insert(flow, change).unwrap_or_default();
        assert!(change > last, "change {change} of flow {flow} comes after {last}");
    }

    fn put_job(&mut self, record: &JobRecord) {
        if record.state.is_final() {
            self.count_change(record.id.flow, record.change);
        }
        let now = self.now;
        // Once something of it has begun, a clock that is set back changes nothing of that.
        let may_begin = self
            .flows
            .get(&record.id.flow)
            .is_none_or(|flow| !flow.waits_to_begin() || self.may_begin(flow));
        // The records of a submission come before its flow's.
        let Some(job) = self.job_mut(record.id) else { return };
        let (was, is) = (job.state, record.state);
        assert!(!was.is_final() || was == is, "job {} was {was} and becomes {is}", job.id);
        let untouched = job.untouched;
        assert!(!untouched.is_final() || untouched == record.untouched, "{} was closed", job.id);
        let resolved = rules::thresholds(&job.spec, job.targets.len() as u32);
        assert_eq!(
            record.thresholds.as_deref(),
            Some(&resolved),
            "what the limits of {} come to",
            job.id
        );
        job.state = is;
        job.untouched = record.untouched;
        job.was_doomed |= is == JobState::Doomed;
        job.promoted = record.promoted_by.is_some();
        let all_ok = job.states().iter().take(job.canary() as usize).all(|s| *s == TaskState::Ok);
        assert!(record.canary_ok_at.is_none() || all_ok, "the canary of {} is not ok", job.id);
        if record.canary_ok_at.is_some() {
            job.canary_ok_at.get_or_insert(now);
        }
        if was == JobState::Pending && is != JobState::Pending && !is.is_final() {
            let flow = &self.flows[&record.id.flow];
            assert!(may_begin, "{} begins before its flow may", record.id);
            for earlier in flow.jobs().filter(|job| job.id.slot < record.id.slot) {
                assert_eq!(
                    earlier.state,
                    JobState::Ok,
                    "{} begins after {}",
                    record.id,
                    earlier.id
                );
            }
        }
        self.count_quorums();
    }

    fn put_task(&mut self, record: &TaskRecord) {
        self.count_change(record.job.flow, record.change);
        let index = record.index as usize;
        let Some(job) = self.job(record.job) else { return };
        let (was, is) = (job.state_of(index), record.state);
        let named = format!("task {}@{} #{}", record.job, record.host, record.attempt);
        assert!(job.targets.contains(&record.host), "{named} is on a stranger");
        let newer = record.attempt > job.tasks[index].attempt;
        if was.is_final() && was != is {
            let asked = self.reopening == Some(record.job.flow) && is == TaskState::Waiting;
            assert!(asked && was != TaskState::Ok, "{named} was {was} and becomes {is}");
            self.reopen(record);
        } else if newer {
            assert!(is == TaskState::Sent && was == TaskState::Waiting, "{named}: {was} to {is}");
            self.send(record, &named);
        } else if was.is_in_flight() && !is.is_in_flight() {
            self.land(record, &named);
        } else if was == TaskState::Waiting && is != was {
            self.give_up(record, &named);
        } else {
            let start = was == TaskState::Sent && record.started_at.is_some();
            assert!(was == is, "{named}: {was} to {is}, started: {start}");
        }
        let task = self.task_mut(record);
        task.touched = true;
        assert_eq!(task.parent, record.parent, "{named} is served by somebody else");
    }

    /// A further attempt of what had ended, because somebody asked.
    fn reopen(&mut self, record: &TaskRecord) {
        let spec = &self.job(record.job).unwrap().spec;
        assert!(spec.unit.is_none(), "{} is about units, and is tried again", record.job);
        let retries = spec.retries;
        let task = self.task_mut(record);
        task.allowed = task.used + 1 + retries;
        task.before = (task.attempt > 0).then_some(task.state);
        task.state = TaskState::Waiting;
        // Somebody asked: there is nothing to wait for.
        task.ended_at = None;
    }

    /// An order is decided: everything that it needs is free, and is taken.
    fn send(&mut self, record: &TaskRecord, named: &str) {
        let index = record.index as usize;
        let closed = self.closed(record.job, index, &record.host);
        assert!(closed.is_empty(), "{named} is sent though: {closed:?}");
        let job = self.job(record.job).unwrap();
        let task = &job.tasks[index];
        assert!(!task.struck.contains(&record.host), "{named}: it said that it never starts it");
        if let (Some(_), Some(host)) = (task.before, &task.host) {
            assert_eq!(host, &record.host, "{named}: a retry stays where it is");
        }
        assert!(task.used < task.allowed, "{named}: {} attempts were used", task.used);
        // What a restored store has forgotten is not numbered again.
        let half_known = record.job.flow < self.recovered.half_known;
        let forgotten = if half_known { self.recovered.half_known.0 as u32 } else { 0 };
        let next = task.attempt.max(forgotten) + 1;
        assert_eq!(record.attempt, next, "{named} leaves out an attempt");
        self.check_parent(job, record, named);
        let impact = self.impact(&record.host, &job.spec);
        assert_eq!(record.impact, impact, "{named} means something else for the cells");
        let host = &self.hosts[&record.host];
        assert!(record.order == host.last_order, "{named} has a number that was not issued");
        let store = crate::world::STORE;
        let key = AttemptKey { store, job: record.job, attempt: record.attempt };
        let (number, parent) = (record.order, record.parent.clone());
        self.orders.insert((record.host.clone(), key), Ordered { number, impact, parent });
        let task = self.task_mut(record);
        task.host = Some(record.host.clone());
        task.state = TaskState::Sent;
        (task.attempt, task.order, task.impact) = (record.attempt, record.order, impact);
        task.was_due = true;
        task.parent = record.parent.clone();
    }

    /// What was sent is awaited no more. It ended as the player says, never started, on its word,
    /// or is lost; and its host gives its cells back, or keeps them.
    fn land(&mut self, record: &TaskRecord, named: &str) {
        let store = crate::world::STORE;
        let key = AttemptKey { store, job: record.job, attempt: record.attempt };
        let word = self.hosts[&record.host].words.get(&key).cloned();
        let job = self.job(record.job).unwrap();
        let (flow, is_one_of) = (&self.flows[&record.job.flow], job.is_one_of());
        let closed = flow.cancelled || job.is_doomed();
        let task = &job.tasks[record.index as usize];
        assert_eq!(task.host.as_ref(), Some(&record.host), "{named} ends elsewhere");
        let (order, impact, allowed) = (task.order, task.impact, task.used + 1 < task.allowed);
        assert_eq!(record.order, order, "{named} ends under another order");
        let is = record.state;
        let (before, unstarted) = match &word {
            Some(Word::Ended(outcome)) => (Some(state_of(outcome)), false),
            Some(Word::Refused(Refusal::AlreadyAcknowledged)) | None => {
                (Some(TaskState::Lost), false)
            }
            Some(Word::Refused(_)) => (None, true),
        };
        let passing = matches!(&word, Some(Word::Refused(refusal)) if passes(refusal));
        match (before, is) {
            (Some(TaskState::Failed | TaskState::TimedOut), TaskState::Waiting) => {
                assert!(allowed && !closed, "{named} has no further attempt");
            }
            (Some(state @ (TaskState::Failed | TaskState::TimedOut)), is) if state == is => {
                assert!(!allowed || closed, "{named} has a further attempt");
            }
            (Some(TaskState::Ok), TaskState::Ok) => {
                let end = self.ends.get(&(record.host.clone(), record.job, record.attempt));
                assert!(end.is_some_and(|(_, late)| !late), "{named} is ok, and its end a note");
            }
            (Some(state), is) if state == is => {}
            // Nobody asks what the player says once it is gone.
            (Some(_), TaskState::Lost) => {}
            (None, TaskState::Waiting) => {
                assert!(passing || is_one_of, "{named} will never start there");
            }
            (None, TaskState::Refused) => {}
            (None, TaskState::Cancelled) => assert!(closed, "{named}: nobody cancelled it"),
            // It came again for a further attempt, which was refused.
            (None, TaskState::Failed | TaskState::TimedOut | TaskState::Lost) => {}
            (before, is) => panic!("{named} is {is}, but really {before:?}: {word:?}"),
        }
        if let Some(down) = self.freed.remove(&record.host) {
            let changes = is == TaskState::Ok && impact != Impact::Look;
            let goes_on = self.may_still_act(&record.host);
            let ends = changes && down.order < order && !goes_on;
            assert!(ends, "{named} is {is}, and that gives cells back: {down:?}");
        }
        let now = self.now;
        let task = self.task_mut(record);
        task.state = is;
        if !unstarted {
            task.used += 1;
        }
        if is == TaskState::Waiting {
            match before {
                Some(state) => {
                    (task.before, task.ended_at, task.was_due) = (Some(state), Some(now), false);
                }
                None if is_one_of && task.before.is_none() => {
                    task.host = None;
                    if !passing {
                        task.struck.insert(record.host.clone());
                    }
                }
                None => {}
            }
        }
        let (goes_on, about_unit) = (self.may_still_act(&record.host), self.is_about_unit(key));
        let host = self.hosts.get_mut(&record.host).unwrap();
        if !passing {
            (host.busy_until, host.busy_to_units_until) = Default::default();
        }
        let is_later = host.down.as_ref().is_none_or(|down| down.order < order);
        match before.filter(|_| is_later) {
            // What was lost and still runs there needs its cells as before.
            Some(_) if is == TaskState::Ok && goes_on => {}
            Some(_) if is == TaskState::Ok && impact != Impact::Look => host.down = None,
            Some(_) if is == TaskState::Ok => {}
            Some(state) if impact == Impact::Holds && !about_unit => {
                let state = if is == TaskState::Lost { TaskState::Lost } else { state };
                host.down = Some(Down { flow: Some(record.job.flow), order, state });
            }
            _ => {}
        }
        self.note_canary(record.job);
    }

    /// Whether a host runs, or may run, what was given up: a success of something else does not end its
    /// hold then.
    fn may_still_act(&self, name: &HostName) -> bool {
        let host = &self.hosts[name];
        self.stale || host.quarantined.is_some() || !host.strangers.is_empty()
    }

    /// What was never sent, or waits again, ends.
    fn give_up(&mut self, record: &TaskRecord, named: &str) {
        let job = self.job(record.job).unwrap();
        let flow = &self.flows[&record.job.flow];
        let index = record.index as usize;
        let task = &job.tasks[index];
        let is = record.state;
        let hosts = job.hosts_of(index);
        let is_there = |host: &HostName| self.hosts[host].session.is_some();
        let is_member = |host: &HostName| self.hosts[host].member;
        let left: Vec<&HostName> = hosts.iter().filter(|h| !task.struck.contains(*h)).collect();
        match is {
            // What it was before a further attempt that does not come.
            is if task.before == Some(is) => {}
            TaskState::Cancelled => {
                let gone = !left.iter().any(|host| is_member(host));
                assert!(flow.cancelled || gone, "{named}: nobody cancelled it");
            }
            TaskState::Unreachable => {
                let absent = match &task.host {
                    Some(host) => !is_there(host),
                    None => !left.iter().any(|host| is_there(host)),
                };
                assert!(absent, "{named} is unreachable and its player is there");
            }
            TaskState::Skipped => {
                let in_vain = self.is_in_vain(job, index) || job.is_to_be_skipped(index);
                assert!(job.is_doomed() || in_vain, "{named} is skipped in {:?}", job.state);
            }
            // Every candidate said no.
            TaskState::Refused => assert!(job.is_one_of() && !task.struck.is_empty(), "{named}"),
            // It may have run in the time that a restored store has forgotten.
            TaskState::Lost => {
                let half_known = record.job.flow < self.recovered.half_known;
                assert!(half_known, "{named} is lost and was never sent");
            }
            is => panic!("{named} waited and is {is}"),
        }
        self.task_mut(record).state = is;
    }

    fn note_canary(&mut self, id: JobId) {
        let Some(job) = self.job_mut(id) else { return };
        let canary = job.canary() as usize;
        if job.states().iter().take(canary).any(|state| *state != TaskState::Ok) {
            job.canary_ok_at = None;
        }
    }

    // ---- what leaves the conductor ----

    /// Only what is on disk may be said to a player.
    pub(crate) fn leaves(&self, name: &HostName, command: &Command) {
        match command {
            Command::Hello(issued) => {
                let last = self.hosts.get(name).map_or(OrderNumber(0), |host| host.last_order);
                assert!(*issued <= last, "{issued} orders to {name} are proven, and not on disk");
            }
            Command::Order(order) => {
                let known = self.orders.get(&(name.clone(), order.key));
                let number = known.map(|known| known.number);
                assert_eq!(number, Some(order.number), "{} to {name} is not on disk", order.key);
                let parent = known.and_then(|known| known.parent.as_ref());
                let told = order.tree.as_ref().map(|place| &place.parent);
                assert_eq!(told, parent, "{} to {name} names another parent", order.key);
            }
            Command::Cancel { key, .. } => {
                let Some(flow) = self.flows.get(&key.job.flow) else { return };
                let job = self.job(key.job).unwrap();
                let doomed = job.spec.on_doomed == OnDoomed::Cancel && job.was_doomed
                    || job.state.is_final();
                assert!(flow.cancelled || doomed, "{key} is cancelled, and nobody asked");
            }
            Command::Acknowledge(key) => {
                let awaited = self.awaited(name, *key).is_some();
                assert!(!awaited, "{key} on {name} is acknowledged and still awaited");
                let owed = self.owed.contains(&(name.clone(), *key));
                let kept = self.ends.contains_key(&(name.clone(), key.job, key.attempt));
                let pruned = !self.flows.contains_key(&key.job.flow);
                assert!(!owed || kept || pruned, "the end of {key} on {name} is not on disk");
            }
        }
    }

    /// Only what is on disk may be answered.
    pub(crate) fn answered(&self, answer: &Answer, request: Option<RequestId>) {
        match answer {
            Answer::Submitted(answer::Submitted { flow, .. }) => {
                let known = request.and_then(|request| self.requests.get(&request));
                let pruned = !self.flows.contains_key(flow) && known.is_none();
                assert!(known == Some(flow) || pruned, "flow {flow} is answered, not on disk");
            }
            Answer::Cancelled(answer::Cancelled { flow, .. }) => {
                let flow = self.flows.get(flow);
                assert!(flow.is_none_or(|flow| flow.cancelled), "a cancel is not on disk");
            }
            Answer::ReleasedHolds(answer::ReleasedHolds { hosts }) => {
                // A later attempt may have left it down again; that cannot be in the same breath.
                let down = |host: &HostName| self.hosts[host].down.is_some();
                let down: Vec<_> = hosts.iter().filter(|host| down(host)).collect();
                let busy = |host: &&HostName| self.hosts[*host].last_order > OrderNumber(0);
                assert!(down.iter().all(busy), "{down:?} are released and still down");
            }
            _ => {}
        }
    }

    /// Deployments are in force from here on in the order of things.
    pub(crate) fn decided(&mut self, answer: &Answer) {
        match answer {
            Answer::DeploymentsLoaded(answer::DeploymentsLoaded { .. }) => {
                self.deployments = Arc::clone(&self.loading);
            }
            Answer::ReleasedPlayers(answer::ReleasedPlayers { hosts, .. }) => {
                for name in hosts {
                    let host = self.hosts.get_mut(name).unwrap();
                    host.tolerated = std::mem::take(&mut host.claims);
                    host.quarantined = None;
                }
            }
            Answer::ReleasedHolds(answer::ReleasedHolds { hosts }) => {
                for name in hosts {
                    let host = self.hosts.get_mut(name).unwrap();
                    let gave_up =
                        host.units.iter().filter(|(_, unready)| **unready == Unready::GaveUp);
                    host.released.extend(gave_up.map(|(service, _)| service.clone()));
                }
            }
            _ => {}
        }
    }

    /// Who watches can tell from an event which changes came before it: it is numbered as the last.
    pub(crate) fn numbered(&self, event: &Event) {
        let Some(change) = event.change() else { return };
        let last = self.changes.get(&event.flow()).copied().unwrap_or_default();
        assert_eq!(change, last, "{event:?} is told as another change of its flow");
    }

    /// Only what is on disk is told to those who watch, and what is final stays so.
    pub(crate) fn published(&self, event: &Event) {
        match event {
            Event::Flow { flow, state } if state.is_final() => {
                let known = self.flows.get(flow).map(|flow| flow.state);
                assert!(
                    known.is_none_or(|known| known == *state),
                    "flow {flow} is told as {state}"
                );
            }
            Event::Job { job, state, .. } if state.is_final() => {
                let known = self.job(*job).map(|job| job.state);
                assert!(known.is_none_or(|known| known == *state), "job {job} is told as {state}");
            }
            _ => {}
        }
    }

    // ---- what players do ----

    /// A process comes to be. What it was assigned; `None` where that is forgotten.
    pub(crate) fn spawned(&self, name: &HostName, key: AttemptKey) -> Option<Impact> {
        self.orders.get(&(name.clone(), key)).map(|ordered| ordered.impact)
    }

    pub(crate) fn kept_end(&self, name: &HostName, key: AttemptKey) -> Option<&EndBytes> {
        self.ends.get(&(name.clone(), key.job, key.attempt)).map(|(end, _)| end)
    }

    /// Whether it is the newest attempt of its task, so that its end has to be on record.
    pub(crate) fn is_newest(&self, name: &HostName, key: AttemptKey) -> bool {
        self.job(key.job).is_some_and(|job| {
            job.tasks.iter().any(|t| t.host.as_ref() == Some(name) && t.attempt == key.attempt)
        })
    }

    pub(crate) fn has_params(&self, flow: FlowId) -> bool {
        let request = self.flows[&flow].request;
        self.submitted[&request].has_params
    }

    pub(crate) fn job(&self, id: JobId) -> Option<&Job> {
        let flow = self.flows.get(&id.flow)?;
        flow.slots.get(usize::from(id.slot) - 1)?.get(usize::from(id.job) - 1)
    }

    fn job_mut(&mut self, id: JobId) -> Option<&mut Job> {
        let flow = self.flows.get_mut(&id.flow)?;
        flow.slots.get_mut(usize::from(id.slot) - 1)?.get_mut(usize::from(id.job) - 1)
    }

    fn task_mut(&mut self, record: &TaskRecord) -> &mut Task {
        &mut self.job_mut(record.job).unwrap().tasks[record.index as usize]
    }
}

fn new_job(id: JobId, spec: &JobSpec, targets: &HostSet) -> Job {
    let task = |host: Option<&HostName>| Task {
        host: host.cloned(),
        state: TaskState::Waiting,
        attempt: 0,
        order: OrderNumber(0),
        impact: Impact::Look,
        ended_at: None,
        was_due: false,
        used: 0,
        allowed: 1 + spec.retries,
        before: None,
        struck: BTreeSet::new(),
        touched: false,
        parent: None,
    };
    Job {
        id,
        spec: spec.clone(),
        targets: targets.clone(),
        tree: fleet::shape(spec, targets),
        state: JobState::Pending,
        tasks: match spec.scope {
            Scope::All => targets.iter().map(|host| task(Some(host))).collect(),
            Scope::One => vec![task(None)],
        },
        untouched: TaskState::Waiting,
        quorum_met: false,
        quorum: rules::rounded_up(spec.quorum, targets.len() as u32),
        promoted: false,
        was_doomed: false,
        canary_ok_at: None,
    }
}

/// Whether what a player refuses for this it may take the next time. It goes by cancels that a restored
/// store has forgotten.
fn passes(refusal: &Refusal) -> bool {
    matches!(refusal, Refusal::Busy | Refusal::Stopping | Refusal::Cancelled)
}

/// What an outcome makes of its task.
pub(crate) fn state_of(outcome: &Outcome) -> TaskState {
    match outcome {
        Outcome::Exited(0) => TaskState::Ok,
        Outcome::Exited(_) | Outcome::Signalled(_) => TaskState::Failed,
        Outcome::TimedOut => TaskState::TimedOut,
        Outcome::Cancelled => TaskState::Cancelled,
        Outcome::Lost(_) => TaskState::Lost,
    }
}
