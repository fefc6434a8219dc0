//! A world for the engine to work in: a store that is a list of operations, players that are real
//! spools with pretended processes, and wires between them that hold messages until they are let
//! through.
//!
//! What the engine asks for is performed as a driver would: records first, the rest after. The world
//! knows the truth of what was started where, and checks it at every start.

#![allow(dead_code, unreachable_pub, reason = "each test program uses a part")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

pub mod bare;
mod build;
pub mod chance;
mod checks;
pub mod disk;
mod operator;
pub mod player;
mod truth;

pub use build::*;

use std::collections::BTreeMap;

use orchestra_flow::{
    Answer, CloseReason, Command, Effect, Engine, Input, Rejection, ReplyId, ReplyTo, SessionId,
    Settings, Submission, answer,
};
use orchestra_model::{
    FlowId, FlowState, HostName, HostSet, JobId, JobState, Millis, Params, TaskState, Timestamp,
    delivery::{AttemptKey, Outcome, RequestId},
    flow::{FlowSpec, SlotSpec},
    record::Op,
    status::{Event, FlowStatus, JobStatus, TaskStatus},
    thresholds::Excess,
};

use self::{
    disk::Disk,
    player::{FakePlayer, Up},
    truth::Truth,
};

pub const SETTINGS: Settings = Settings { most_tasks: 3_000 };

pub struct World {
    pub engine: Engine,
    pub now: Timestamp,
    pub disk: Disk,
    pub players: BTreeMap<HostName, FakePlayer>,
    pub answers: Vec<Answer>,
    pub events: Vec<Event>,
    pub closed: Vec<CloseReason>,
    /// What the engine asked for and nobody has performed yet.
    pub pending: Vec<Effect>,
    /// Everything that the engine ever asked for, in order.
    pub asked: Vec<Effect>,
    /// Effects are performed, and messages let through, as soon as they are there.
    pub immediate: bool,
    /// How often each attempt was started on each player.
    pub starts: BTreeMap<(HostName, AttemptKey), u32>,
    /// What is known beside the engine of who may hold which cells.
    pub truth: Truth,
    /// Final states that were seen.
    finals: BTreeMap<(JobId, u32), TaskState>,
    next_session: u64,
    next_request: u8,
}

impl World {
    /// A fleet of these hosts, all of them attached.
    pub fn new(fleet: &str) -> Self {
        let mut world = Self::absent(fleet);
        for name in &hosts(fleet) {
            world.attach(name.as_str());
        }
        world
    }

    /// A fleet of these hosts, none of them attached.
    pub fn absent(fleet: &str) -> Self {
        let disk = Disk::default();
        let mut world = Self {
            engine: disk.rebuild(SETTINGS),
            now: Timestamp(1_000_000),
            disk,
            players: BTreeMap::new(),
            answers: Vec::new(),
            events: Vec::new(),
            closed: Vec::new(),
            pending: Vec::new(),
            asked: Vec::new(),
            immediate: true,
            starts: BTreeMap::new(),
            truth: Truth::default(),
            finals: BTreeMap::new(),
            next_session: 1,
            next_request: 0,
        };
        world.engine.resume(world.now);
        world.load(fleet);
        for (nth, name) in (1_u16..).zip(hosts(fleet).iter()) {
            world.players.insert(name.clone(), FakePlayer::new(name.clone(), nth));
        }
        world
    }

    // ---- what happens ----

    pub fn input(&mut self, input: Input) {
        self.engine.handle(self.now, input);
        self.after_step();
    }

    /// Lets the engine do what is due, as long as it says that there is more.
    pub fn work(&mut self) {
        while self.engine.has_work() {
            self.engine.advance(self.now);
            self.after_step();
        }
    }

    fn after_step(&mut self) {
        let effects: Vec<Effect> = self.engine.effects().collect();
        for effect in &effects {
            self.note_effect(effect);
        }
        self.asked.extend(effects.iter().cloned());
        self.pending.extend(effects);
        if self.immediate {
            self.perform();
            self.flow_through();
        }
        self.check();
    }

    /// Time passes; the engine is told at each of its deadlines, as a driver would.
    pub fn pass(&mut self, seconds: u64) {
        let end = self.now.after(Millis::seconds(seconds));
        while let Some(at) = self.engine.next_deadline().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.engine.advance(self.now);
            self.after_step();
            self.work();
        }
        self.now = end;
        self.engine.advance(end);
        self.after_step();
        self.work();
    }

    /// Loads a players file with these hosts, without a brake.
    pub fn load(&mut self, fleet: &str) -> Answer {
        self.load_braked(&hosts(fleet), u32::MAX)
    }

    pub fn load_braked(&mut self, fleet: &HostSet, most_removed: u32) -> Answer {
        let reply = ReplyTo::new(ReplyId(0));
        self.input(Input::RosterLoaded { reply, hosts: fleet.clone(), most_removed });
        self.answers.last().unwrap().clone()
    }

    pub fn submit(&mut self, spec: FlowSpec) -> FlowId {
        match self.try_submit(spec) {
            Answer::Submitted(answer::Submitted { flow, repeated: false }) => flow,
            answer => panic!("not submitted: {answer:?}"),
        }
    }

    pub fn try_submit(&mut self, spec: FlowSpec) -> Answer {
        let submission = self.submission(spec);
        self.input(submitted(submission));
        self.work();
        self.answers.last().unwrap().clone()
    }

    /// A submission with a request id of its own, and parameters for its first job.
    pub fn submission(&mut self, spec: FlowSpec) -> Submission {
        self.next_request += 1;
        let sets = |slot: &SlotSpec| slot.jobs.iter().map(|job| hosts(&job.targets)).collect();
        Submission {
            request: RequestId([self.next_request; 16]),
            audience: audience(),
            by_keeper: false,
            targets: spec.slots.iter().map(sets).collect(),
            trees: shapes(&spec),
            params: BTreeMap::from([((1, 1), Params::from_pairs([("key", "value")]).unwrap())]),
            spec_bytes: self.disk.encode_spec(&spec),
            kept_params: BTreeMap::new(),
            retry_of: None,
            mac: None,
            excess: Excess::Refused,
            spec,
        }
    }

    /// A player dials in, and is welcomed.
    pub fn attach(&mut self, name: &str) {
        self.dial(name);
        self.flow_through();
        self.work();
    }

    pub fn next_session(&mut self) -> SessionId {
        self.next_session += 1;
        SessionId(self.next_session - 1)
    }

    /// A player's new connection reaches the engine. Older ones are forgotten on its side.
    pub fn dial(&mut self, name: &str) {
        let session = self.next_session();
        let Some(player) = self.engine.roster().member(&host(name)) else { return };
        let snapshot = self.player(name).dial(session, disk::STORE);
        self.input(Input::PlayerAttached { player, session, snapshot: Box::new(snapshot) });
        self.player(name).welcome(session, disk::STORE);
        self.drain(name);
    }

    /// A player's connection breaks, and both sides notice.
    pub fn detach(&mut self, name: &str) {
        let Some(session) = self.player(name).hang_up() else { return };
        if let Some(player) = self.engine.roster().member(&host(name)) {
            self.input(Input::PlayerDetached { player, session });
        }
        self.work();
    }

    /// The attempt that runs on a player for a job ends like this.
    pub fn end(&mut self, name: &str, flow: FlowId, outcome: &Outcome) {
        let running = self.running(name, flow);
        let key = *running.first().unwrap_or_else(|| panic!("{name} runs nothing of {flow}"));
        self.end_attempt(name, key, outcome);
    }

    pub fn end_attempt(&mut self, name: &str, key: AttemptKey, outcome: &Outcome) {
        self.player(name).end(key, outcome);
        self.drain(name);
        self.flow_through();
        self.work();
    }

    pub fn ok(&mut self, name: &str, flow: FlowId) {
        self.end(name, flow, &Outcome::Exited(0));
    }

    pub fn fail(&mut self, name: &str, flow: FlowId) {
        self.end(name, flow, &Outcome::Exited(1));
    }

    /// The conductor crashes and starts anew from what is on disk.
    pub fn restart(&mut self) {
        let fleet = self.members();
        self.pending.clear();
        for player in self.players.values_mut() {
            player.hang_up();
        }
        self.disk.term.0 += 1;
        self.forget_unwritten();
        self.engine = self.disk.rebuild(SETTINGS);
        self.engine.resume(self.now);
        self.after_step();
        self.work();
        self.load_braked(&fleet, u32::MAX);
        self.work();
    }

    /// As [`World::restart`], after which all players that were attached come back.
    pub fn restart_and_return(&mut self) {
        let attached: Vec<HostName> = self.attached();
        self.restart();
        for name in attached {
            self.attach(name.as_str());
        }
    }

    // ---- wires ----

    /// Performs what the engine asked for: everything is written first.
    pub fn perform(&mut self) {
        for effect in std::mem::take(&mut self.pending) {
            self.perform_one(effect);
        }
    }

    fn perform_one(&mut self, effect: Effect) {
        match effect {
            Effect::Persist(op) => self.disk.write(op),
            Effect::Send { player, session, command } => {
                let name = self.engine.roster().host(player).clone();
                let term = self.engine.term();
                let score = command.ordered_job().and_then(|job| self.disk.score_of(job));
                self.player(name.as_str()).send(session, term, command, score);
            }
            Effect::Close { player, session, reason } => {
                self.closed.push(reason);
                let name = self.engine.roster().host(player).clone();
                self.player(name.as_str()).close(session);
            }
            Effect::Answer { answer, .. } => self.answers.push(answer),
            Effect::Publish(event) => self.events.push(event),
            Effect::Inconsistent { flow, what } => panic!("flow {flow}: {what}"),
        }
    }

    /// Crashes with only the first `kept` of the operations asked for on disk, and nothing else
    /// performed.
    pub fn crash_keeping(&mut self, kept: usize) {
        let ops = std::mem::take(&mut self.pending).into_iter().filter_map(|effect| match effect {
            Effect::Persist(op) => Some(op),
            _ => None,
        });
        for op in ops.take(kept) {
            self.disk.write(op);
        }
        self.restart();
    }

    /// Plays the same once for each part of what it asks to be written that a crash may leave on
    /// disk, from nothing to all. The conductor starts anew, everybody comes back, and `check` looks.
    pub fn crash_at_each_point(
        build: impl Fn() -> World,
        act: impl Fn(&mut World),
        check: impl Fn(&mut World, usize),
    ) {
        let (mut kept, mut asked) = (0, 0);
        while kept <= asked {
            let mut world = build();
            world.immediate = false;
            act(&mut world);
            asked = world.asked_to_write().len();
            let attached = world.attached();
            world.immediate = true;
            world.crash_keeping(kept);
            for name in attached {
                world.attach(name.as_str());
            }
            check(&mut world, kept);
            kept += 1;
        }
    }

    /// Lets every message through until there are no more.
    pub fn flow_through(&mut self) {
        loop {
            let names: Vec<HostName> = self.players.keys().cloned().collect();
            let moved = names.iter().any(|name| {
                let down = self.deliver_down(name.as_str());
                self.deliver_up(name.as_str()) || down
            });
            if !moved {
                return;
            }
        }
    }

    /// Lets one command through to a player. Whether there was one.
    pub fn deliver_down(&mut self, name: &str) -> bool {
        let delivered = self.player(name).receive();
        self.drain(name);
        delivered
    }

    /// Lets one report through to the engine. Whether there was one.
    pub fn deliver_up(&mut self, name: &str) -> bool {
        let Some(up) = self.player(name).sent() else { return false };
        self.report(name, up);
        true
    }

    /// Brings a report to the engine, whatever its session is by now.
    pub fn report(&mut self, name: &str, up: Up) {
        let Some(player) = self.engine.roster().member(&host(name)) else { return };
        let (session, report) = (up.session, Box::new(up.report));
        self.input(Input::Reported { player, session, report });
    }

    /// Lets a player act on what it was told, and takes note of what it started.
    pub fn drain(&mut self, name: &str) {
        let now = self.now;
        let started = self.player(name).act(now);
        for key in started {
            self.check_start(name, key);
        }
    }

    // ---- what is seen ----

    pub fn player(&mut self, name: &str) -> &mut FakePlayer {
        self.players.get_mut(&host(name)).unwrap()
    }

    pub fn attached(&self) -> Vec<HostName> {
        let roster = self.engine.roster();
        let there = roster.iter().filter(|player| roster.session(*player).is_some());
        there.map(|player| roster.host(player).clone()).collect()
    }

    pub fn members(&self) -> HostSet {
        let roster = self.engine.roster();
        roster.iter().map(|player| roster.host(player).clone()).collect()
    }

    pub fn running(&mut self, name: &str, flow: FlowId) -> Vec<AttemptKey> {
        let keys = self.player(name).running();
        keys.into_iter().filter(|key| key.job.flow == flow).collect()
    }

    /// The hosts on which something of the flow runs, in order.
    pub fn running_hosts(&mut self, flow: FlowId) -> String {
        let names: Vec<HostName> = self.players.keys().cloned().collect();
        let there: HostSet =
            names.into_iter().filter(|n| !self.running(n.as_str(), flow).is_empty()).collect();
        there.to_string()
    }

    /// Where the flow is, alive or on disk.
    pub fn state(&self, flow: FlowId) -> FlowState {
        match self.engine.flow_status(flow) {
            Some(status) => status.summary.state,
            None => self.disk.flow(flow).unwrap().state,
        }
    }

    pub fn job_state(&self, flow: FlowId, slot: u16, job: u16) -> JobState {
        let id = JobId { flow, slot, job };
        match self.status(flow) {
            Some(status) => job_of(&status, id).state,
            None => self.disk.job(id).state,
        }
    }

    pub fn status(&self, flow: FlowId) -> Option<FlowStatus> {
        self.engine.flow_status(flow)
    }

    /// The tasks of a living job.
    pub fn tasks(&self, flow: FlowId, slot: u16, job: u16) -> Vec<TaskStatus> {
        self.engine.tasks(JobId { flow, slot, job }, 0, u32::MAX).unwrap()
    }

    /// The states of a job's tasks in host-set order, alive or on disk, as a line of words.
    pub fn states(&self, flow: FlowId, slot: u16, job: u16) -> String {
        let id = JobId { flow, slot, job };
        let states = match self.engine.tasks(id, 0, u32::MAX) {
            Some(tasks) => tasks.iter().map(|task| task.state).collect(),
            None => self.disk.final_states(id),
        };
        let words: Vec<&str> = states.iter().map(|state| state.as_str()).collect();
        words.join(" ")
    }

    /// The operations that the last step asked for; with `immediate` off.
    pub fn asked_to_write(&self) -> Vec<&Op> {
        let pending = self.pending.iter();
        pending.filter_map(|e| if let Effect::Persist(op) = e { Some(op) } else { None }).collect()
    }
}

pub fn job_of(status: &FlowStatus, id: JobId) -> &JobStatus {
    status.slots.iter().flatten().find(|job| job.id == id).unwrap()
}

pub fn rejection(answer: Answer) -> Rejection {
    match answer {
        Answer::Rejected(rejection) => rejection,
        answer => panic!("not rejected: {answer:?}"),
    }
}

/// The commands that wait on a player's wire.
pub fn commands(world: &mut World, name: &str) -> Vec<Command> {
    world.player(name).waiting_commands()
}
