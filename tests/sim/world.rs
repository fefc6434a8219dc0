//! Everything together: the conductor around the real engine and store, players around real spools,
//! connections, operators, files, the clock. A step is one [`Deed`] of a script.
//!
//! The world knows the truth of what ran where, and checks it beside the reference model: an attempt
//! starts once, by an order that was on disk, and its end is reported as it was.

mod conductor;
mod faults;
pub(crate) mod fleet;
mod heal;
mod lies;
mod network;
mod operator;
mod player;
mod units;
mod words;

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{DefaultHasher, Hasher as _},
    sync::Arc,
};

use orchestra_flow::{Command, Effect, Input, PlayerIx, ReplyId, ReplyTo, SessionId};
use orchestra_model::{
    Deployments, HostName, HostSet, Millis, ServiceName, TaskState, Timestamp,
    delivery::{AttemptKey, EndBytes, Outcome, Report, StoreId, Term},
    flow::FlowSpec,
    proof::drop_false_proofs,
    record::Impact,
    service::{Unready, UnwellUnit},
};
use orchestra_store::MemoryDisk;

pub(crate) use self::words::Told;
use self::{
    conductor::{Conductor, Item},
    lies::Lie,
    network::{Down, Network, Up},
    operator::{Asked, Submitting},
    player::{Done, Fuse, Player},
};
use crate::{
    chance::Chance,
    reference::{Flow, Job, Note, Reference},
    script::{Deed, Event, Kind},
};

pub(crate) const STORE: StoreId = StoreId([7; 16]);

pub(crate) struct World {
    seed: u64,
    now: Timestamp,
    everybody: Vec<HostName>,
    players: BTreeMap<HostName, Player>,
    network: Network,
    conductor: Option<Conductor>,
    disk: MemoryDisk,
    /// The newest copy of the disk, and what was promised when it was made.
    backup: Option<(MemoryDisk, Reference)>,
    pub(crate) reference: Reference,
    /// What is in the conductor's files.
    roster: HostSet,
    deployments: Arc<Deployments>,
    /// Added to true time by wall clocks.
    skew: i64,
    /// Sessions as the conductor has them, with the term in which each began.
    sessions: BTreeMap<SessionId, (PlayerIx, Term)>,
    /// The specs that stand for themselves in bytes.
    specs: Vec<FlowSpec>,
    submissions: Vec<Submitting>,
    asked: BTreeMap<ReplyId, Asked>,
    next_reply: u64,
    recovering: bool,
    /// What players will claim when they attach next, and cannot prove.
    lies: BTreeMap<HostName, Lie>,
    /// How each unit stands; `None` for one that is well.
    units: BTreeMap<(HostName, ServiceName), Option<Unready>>,
    /// What this conductor was told of them.
    told_units: BTreeMap<HostName, Vec<UnwellUnit>>,
    /// Every attempt that ever came to be, where.
    spawned: BTreeSet<(HostName, AttemptKey)>,
    /// Every order that was ever allowed to leave.
    ordered: BTreeSet<(HostName, AttemptKey)>,
    /// Changes that run now: hosts whose cells they need.
    acting: BTreeMap<(HostName, AttemptKey), Impact>,
    /// How attempts ended, as players said it: once, but where a disk failed in between.
    said: BTreeMap<(HostName, AttemptKey), Vec<EndBytes>>,
    /// Ends that players keep on disk until they are told that the conductor does.
    kept: BTreeSet<(HostName, AttemptKey)>,
    /// Those that ever were, whatever was restored or acknowledged since.
    ever_kept: BTreeSet<(HostName, AttemptKey)>,
    /// Hosts whose spools were lost since the backup was made.
    wiped: BTreeSet<HostName>,
    /// An old copy was restored.
    restored: bool,
    /// No deployments were reloaded, nothing was released, no unit was told not to be well, and no old
    /// copy restored.
    steady_cells: bool,
    /// No player told its scores anew.
    steady_scores: bool,
    /// In the healed world processes end well.
    healing: bool,
    /// How much of what gathers in the conductor was told.
    told: usize,
    /// What happened, if somebody wants to know.
    trace: Option<Vec<String>>,
    /// Of everything that was taken in and decided, to the last byte, if somebody wants to know.
    digest: DefaultHasher,
}

impl World {
    pub(crate) fn new(seed: u64, traced: bool) -> Self {
        let mut chance = Chance::new(seed);
        let everybody = fleet::everybody(&mut chance);
        let deployments = Arc::new(fleet::deployments(&mut chance, &everybody));
        let roster = HostSet::from_names(everybody.clone());
        let players = (1_u8..).zip(&everybody).map(|(nth, host)| {
            let scores = fleet::scores(&mut chance);
            (host.clone(), Player::new(host.clone(), nth, scores))
        });
        let mut world = Self {
            seed,
            now: Timestamp(1_000_000_000),
            players: players.collect(),
            everybody,
            network: Network::default(),
            conductor: None,
            disk: MemoryDisk::new(STORE),
            backup: None,
            reference: Reference::default(),
            roster,
            deployments,
            skew: 0,
            sessions: BTreeMap::new(),
            specs: Vec::new(),
            submissions: Vec::new(),
            asked: BTreeMap::new(),
            next_reply: 0,
            recovering: false,
            lies: BTreeMap::new(),
            units: BTreeMap::new(),
            told_units: BTreeMap::new(),
            spawned: BTreeSet::new(),
            ordered: BTreeSet::new(),
            acting: BTreeMap::new(),
            said: BTreeMap::new(),
            kept: BTreeSet::new(),
            ever_kept: BTreeSet::new(),
            wiped: BTreeSet::new(),
            restored: false,
            steady_cells: true,
            steady_scores: true,
            healing: false,
            told: 0,
            trace: traced.then(Vec::new),
            digest: DefaultHasher::new(),
        };
        let of_files = Deployments::clone(&world.deployments);
        world.deployments = Arc::new(world.with_services(of_files, 0));
        world.start_conductor();
        for host in world.everybody.clone() {
            world.dial(&host);
        }
        world.everything(&mut chance);
        if let Some(trace) = &mut world.trace {
            trace.clear();
            let player = |(host, player): (&HostName, &Player)| words::scores(host, &player.scores);
            trace.extend(world.players.iter().map(player));
            trace.push(words::deployments(&world.deployments));
        }
        world
    }

    /// What happened, and at the end one line that stands for every byte of what was decided.
    pub(crate) fn into_trace(self) -> Vec<String> {
        let mut trace = self.trace.unwrap_or_default();
        trace.push(format!("all of it: {:016x}", self.digest.finish()));
        trace
    }

    /// What happened last, for whoever reads why a run failed.
    pub(crate) fn trace(&self) -> &[String] {
        self.trace.as_deref().unwrap_or_default()
    }

    fn tell(&mut self, line: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(line());
        }
    }

    pub(crate) fn step(&mut self, event: &Event) {
        self.tell(|| format!("{event}"));
        let mut chance = Chance::new(event.salt);
        self.pass(chance.below(400) as u64);
        match event.kind() {
            Kind::Operator => self.operate(event.deed, &mut chance),
            Kind::Fault => self.fail(event.deed, &mut chance),
            Kind::Progress => self.go_on(event.deed, &mut chance),
        }
        self.tell_units();
        self.network.sweep();
        if self.recovering {
            self.recover();
        }
        self.check();
    }

    fn go_on(&mut self, deed: Deed, chance: &mut Chance) {
        match deed {
            Deed::Dial => {
                let silent =
                    self.everybody.iter().filter(|host| self.players[*host].session.is_none());
                let silent: Vec<HostName> = silent.cloned().collect();
                let anybody = if chance.percent(10) { &self.everybody } else { &silent };
                if let Some(host) = chance.pick(anybody).cloned() {
                    self.dial(&host);
                    self.sit(&host, &mut Fuse(None), chance);
                }
            }
            Deed::Up => {
                for _ in 0..chance.between(1, 6) {
                    self.hear_up(chance);
                }
            }
            Deed::Down => {
                for _ in 0..chance.between(1, 6) {
                    self.hear_down(chance);
                }
            }
            Deed::Sit => {
                for host in chance.some(&self.everybody.clone(), 40) {
                    self.sit(&host, &mut Fuse(None), chance);
                }
            }
            Deed::End => {
                for _ in 0..chance.between(1, 3) {
                    self.end_something(chance);
                }
                if units::are_in(self.seed) && chance.percent(40) {
                    self.change_some_unit(chance);
                }
            }
            Deed::Conduct => self.conduct(chance),
            Deed::Everything => self.everything(chance),
            Deed::Pass => {
                let most = *chance.pick(&[1_000, 5_000, 30_000, 120_000, 900_000]).unwrap();
                let length = chance.below(most) as u64;
                self.pass(length);
            }
            _ => {}
        }
    }

    // ---- time ----

    /// Time passes; the engine is told at each of its deadlines.
    fn pass(&mut self, length: u64) {
        let end = self.now.after(Millis(length));
        loop {
            let conductor = self.conductor.as_mut().unwrap();
            let (from, until) = (conductor.clock(self.now), conductor.clock(end));
            let Some(at) = conductor.engine.next_deadline().filter(|at| *at <= until) else {
                break;
            };
            let at = at.max(from);
            conductor.advance(at);
            self.tell_decided();
            self.now = self.now.after(at.since(from));
            while self.conductor().engine.has_work() {
                self.advance();
            }
        }
        self.now = end;
    }

    fn advance(&mut self) {
        let now = self.now;
        let conductor = self.conductor.as_mut().unwrap();
        conductor.advance(conductor.clock(now));
        self.tell_decided();
    }

    /// Notes what is about to be written, where anybody wants to know.
    fn tell_decided(&mut self) {
        if let (Some(trace), Some(conductor)) = (&mut self.trace, &self.conductor) {
            let from = if self.told <= conductor.gathered(usize::MAX).1 { self.told } else { 0 };
            let (decided, told) = conductor.gathered(from);
            conductor.digest(from, &mut self.digest);
            self.told = told;
            if !decided.is_empty() {
                trace.push(format!("  writes: {}", decided.join(", ")));
            }
        }
    }

    // ---- the conductor ----

    fn conductor(&self) -> &Conductor {
        self.conductor.as_ref().unwrap()
    }

    fn start_conductor(&mut self) {
        let deployments = Arc::clone(&self.deployments);
        let (now, skew) = (self.now, self.skew);
        let at = Timestamp(now.0.saturating_add_signed(skew));
        self.reference.restarted(at, Arc::clone(&deployments));
        self.reference.note(&Note::Time(at));
        self.sessions.clear();
        let conductor =
            Conductor::start(&self.disk, &self.specs, deployments, &self.roster, now, skew);
        self.reference.note(&Note::Term(conductor.term));
        self.conductor = Some(conductor);
        self.told_units.clear();
        self.tell_units();
    }

    fn take(&mut self, note: Note, input: Input) {
        let now = self.now;
        let conductor = self.conductor.as_mut().unwrap();
        conductor.take(conductor.clock(now), note, input);
        self.tell_decided();
    }

    /// Writes and acts; now and then it does not come to the end of that.
    fn conduct(&mut self, chance: &mut Chance) {
        let stops = chance.percent(30);
        self.tell_units();
        for turn in 0..8 {
            while self.conductor().engine.has_work() {
                self.advance();
            }
            let conductor = self.conductor.as_mut().unwrap();
            conductor.flush(&mut self.reference);
            self.told = 0;
            if stops && chance.percent(30) {
                return;
            }
            conductor.commit(&mut self.reference);
            let most = if stops { chance.below(4) } else { usize::MAX };
            self.act(most);
            let conductor = self.conductor.as_mut().unwrap();
            if stops || conductor.trouble || (turn > 0 && conductor.is_at_rest()) {
                conductor.sweep();
                return;
            }
        }
    }

    /// Does what may be done: so many things at most.
    fn act(&mut self, most: usize) {
        for _ in 0..most {
            let Some(item) = self.conductor.as_mut().unwrap().ready.pop_front() else { return };
            self.perform(item);
        }
    }

    fn perform(&mut self, item: Item) {
        match item {
            Item::Order(host, session, command, score) => {
                self.reference.leaves(&host, &command);
                self.tell(|| format!("  to {host}: {}", words::command(&command)));
                let Some((_, term)) = self.sessions.get(&session).copied() else { return };
                let score = command.ordered_job().map(|_| score);
                if let Command::Order(order) = &command {
                    self.ordered.insert((host, order.key));
                }
                self.network.tell(session, Down::Command { term, command, score });
            }
            Item::Decided(Effect::Close { session, .. }) => {
                self.sessions.remove(&session);
                self.network.close_at_conductor(session);
            }
            Item::Decided(Effect::Answer { reply, answer }) => {
                let request = match self.asked.remove(&reply) {
                    Some(Asked::Submission(request)) => Some(request),
                    _ => None,
                };
                self.tell(|| format!("  answers {answer:?}"));
                self.reference.answered(&answer, request);
            }
            Item::Decided(Effect::Publish(event)) => self.reference.published(&event),
            Item::Decided(effect) => panic!("done before it is on disk: {effect:?}"),
            Item::Took(_) | Item::Recorded(_) => {}
        }
    }

    /// Raises the term and goes on from an old copy, when nothing is being written.
    fn recover(&mut self) {
        let conductor = self.conductor.as_mut().unwrap();
        if conductor.is_writing() || conductor.trouble {
            return;
        }
        let Some(term) = conductor.raise_term() else { return };
        self.recovering = false;
        self.next_reply += 1;
        let reply = ReplyId(self.next_reply);
        self.take(
            Note::Recovered(term),
            Input::StoreRecovered { reply: ReplyTo::new(reply), term },
        );
    }

    // ---- connections ----

    fn dial(&mut self, host: &HostName) {
        let Some(session) = self.network.open(host) else { return };
        let player = self.players.get_mut(host).unwrap();
        if let Some(older) = player.session.take() {
            self.network.close_at_player(older);
        }
        player.dial(session);
        self.tell(|| format!("  {host} dials {session:?}"));
    }

    /// One thing arrives at the conductor. Whether there was one.
    fn hear_up(&mut self, chance: &mut Chance) -> bool {
        let Some(session) = chance.pick(&self.network.heard_by_conductor()).copied() else {
            return false;
        };
        let link = self.network.links.get_mut(&session).unwrap();
        let (host, message) = (link.host.clone(), link.up.pop_front());
        let said = message.as_ref();
        self.tell(|| format!("  from {host}: {}", said.map_or("over".to_owned(), words::up)));
        match message {
            None => {
                self.network.close_at_conductor(session);
                self.hang_up(session, &host);
            }
            Some(Up::Attach(snapshot)) => self.attach(session, &host, *snapshot),
            Some(Up::Report(report)) => {
                let Some(player) = self.conductor().engine.roster().member(&host) else {
                    return true;
                };
                let listens = self.conductor().engine.stale().is_none();
                let note = Note::Reported(host, session, report.clone(), listens);
                self.take(note, Input::Reported { player, session, report });
            }
        }
        true
    }

    fn attach(
        &mut self,
        session: SessionId,
        host: &HostName,
        mut snapshot: orchestra_model::delivery::PlayerSnapshot,
    ) {
        let known = self.sessions.contains_key(&session);
        let Some(player) = self.conductor().engine.roster().member(host).filter(|_| !known) else {
            return self.network.close_at_conductor(session);
        };
        let lie = self.lies.remove(host);
        if let Some(lie) = lie {
            self.tell(|| format!("  {host} lies: {lie:?}"));
            lie.spoil(&mut snapshot);
        }
        drop_false_proofs(&mut snapshot, STORE, host, |said, shown| player::mac(said) == shown);
        let term = self.conductor().term;
        self.sessions.insert(session, (player, term));
        self.network.tell(session, Down::Welcome { store: STORE });
        let note = Note::Attached(host.clone(), session, Box::new(snapshot.clone()), true);
        self.take(note, Input::PlayerAttached { player, session, snapshot: Box::new(snapshot) });
        let why = self.conductor().engine.roster().why_quarantined(player);
        assert!(lie.is_some() || why.is_none(), "{host} is honest, and quarantined: {why:?}");
    }

    /// The conductor learns that a connection is over.
    fn hang_up(&mut self, session: SessionId, host: &HostName) {
        if let Some((player, _)) = self.sessions.remove(&session) {
            let note = Note::Detached(host.clone(), session);
            self.take(note, Input::PlayerDetached { player, session });
        }
    }

    /// One thing arrives at a player. Whether there was one.
    fn hear_down(&mut self, chance: &mut Chance) -> bool {
        let Some(session) = chance.pick(&self.network.heard_by_players()).copied() else {
            return false;
        };
        let link = self.network.links.get_mut(&session).unwrap();
        let message = link.down.pop_front();
        if let Some(order @ Down::Command { command: Command::Order(_), .. }) = &message {
            link.ordered = Some(order.clone());
        }
        let player = self.players.get_mut(&link.host).unwrap();
        match message {
            None => {
                self.network.close_at_player(session);
                player.hang_up(session);
            }
            Some(message) => player.hear(session, message),
        }
        true
    }

    // ---- players ----

    /// A sitter works until it is done, or dead.
    fn sit(&mut self, host: &HostName, fuse: &mut Fuse, chance: &mut Chance) {
        let mut done = Vec::new();
        let player = self.players.get_mut(host).unwrap();
        let died = player.sit(self.now, STORE, fuse, chance, &mut done).is_err();
        self.note_done(host, done);
        if died {
            self.tell(|| format!("  {host} dies"));
            self.restart_sitter(host, Player::start_sitter);
        }
    }

    fn note_done(&mut self, host: &HostName, done: Vec<Done>) {
        for done in done {
            self.tell(|| format!("  {host} {}", words::done(&done)));
            match done {
                Done::Said(session, message) => {
                    if let Up::Report(report) = &message
                        && let Report::Ended { key, end, .. } = &**report
                    {
                        let said = self.said.entry((host.clone(), *key)).or_default();
                        if !said.contains(&end.bytes) {
                            said.push(end.bytes.clone());
                        }
                    }
                    self.network.say(session, message);
                }
                Done::Spawned(key) => self.note_spawned(host, key),
                Done::Kept(key, _) => {
                    self.acting.remove(&(host.clone(), key));
                    // A mended disk is written anew, with what was acknowledged meanwhile.
                    if self.ever_kept.insert((host.clone(), key)) {
                        self.kept.insert((host.clone(), key));
                    }
                }
            }
        }
    }

    fn restart_sitter(&mut self, host: &HostName, how: fn(&mut Player)) {
        let player = self.players.get_mut(host).unwrap();
        if let Some(session) = player.session.take() {
            self.network.close_at_player(session);
        }
        how(player);
        let runs = player.processes.clone();
        self.acting.retain(|(at, key), _| at != host || runs.contains_key(key));
    }

    /// A process comes to be: for the first time, and by an order that was on disk.
    fn note_spawned(&mut self, host: &HostName, key: AttemptKey) {
        let at = (host.clone(), key);
        assert!(self.ordered.contains(&at), "{key} runs on {host}, and nobody ordered that");
        assert!(self.spawned.insert(at.clone()), "{key} is started again on {host}");
        self.note_unit_ordered(host, key);
        let Some(Impact::Holds) = self.reference.spawned(host, key) else { return };
        self.acting.insert(at, Impact::Holds);
        if self.steady_cells && !self.reference.supposed {
            // What was asked of a unit and is lost leaves nothing, and may go on.
            let holds = |(host, key): &&(HostName, AttemptKey)| {
                !self.reference.is_about_unit(*key) || self.reference.is_in_flight(host, *key)
            };
            let acting: BTreeSet<&HostName> =
                self.acting.keys().filter(holds).map(|(host, _)| host).collect();
            for cell in self.deployments.cells().as_slice() {
                let busy = cell.hosts.iter().filter(|host| acting.contains(host)).count();
                let limit = cell.limit.map_or(usize::MAX, |limit| limit as usize);
                assert!(busy <= limit, "{busy} hosts act in {}, limit {limit}", cell.key);
            }
        }
    }

    fn end_something(&mut self, chance: &mut Chance) {
        let running = self.players.iter().flat_map(|(host, player)| {
            player.processes.iter().map(|(key, killed)| (host.clone(), *key, *killed))
        });
        let running: Vec<_> = running.collect();
        let Some((host, key, killed)) = chance.pick(&running).cloned() else { return };
        let outcome = match (killed, chance.below(100)) {
            (true, 0..70) => Outcome::Cancelled,
            _ if self.healing => Outcome::Exited(0),
            (_, 0..72) => Outcome::Exited(0),
            (_, 72..84) => Outcome::Exited(1),
            (_, 84..88) => Outcome::Signalled(9),
            (_, 88..97) => Outcome::TimedOut,
            _ => Outcome::Lost("the sitter lost sight of it".to_owned()),
        };
        self.tell(|| format!("  {host}: {key} ends: {outcome:?}"));
        self.note_unit_answered(&host, key, &outcome);
        let player = self.players.get_mut(&host).unwrap();
        player.end(key, &outcome);
        self.acting.remove(&(host.clone(), key));
        if chance.percent(80) {
            self.sit(&host, &mut Fuse(None), chance);
        }
    }

    /// Everything that can move moves.
    fn everything(&mut self, chance: &mut Chance) {
        for _ in 0..200 {
            let mut moved = self.hear_up(chance) | self.hear_down(chance);
            if !moved {
                for host in self.everybody.clone() {
                    self.sit(&host, &mut Fuse(None), chance);
                }
                self.conduct_whole();
                moved = !self.network.heard_by_conductor().is_empty()
                    || !self.network.heard_by_players().is_empty();
            }
            if !moved {
                return;
            }
        }
    }

    fn conduct_whole(&mut self) {
        self.tell_units();
        for _ in 0..20 {
            while self.conductor().engine.has_work() {
                self.advance();
            }
            let conductor = self.conductor.as_mut().unwrap();
            conductor.flush(&mut self.reference);
            self.told = 0;
            conductor.commit(&mut self.reference);
            self.act(usize::MAX);
            let conductor = self.conductor();
            if conductor.is_at_rest() || conductor.trouble {
                return;
            }
        }
    }

    // ---- what always holds ----

    fn check(&mut self) {
        let conductor = self.conductor();
        let stale = conductor.engine.stale();
        assert!(stale.is_none() || self.restored, "no old copy was restored: {stale:?}");
        if conductor.is_at_rest() && conductor.engine.stale().is_none() && !conductor.trouble {
            self.reference.check_told(&conductor.engine, &conductor.holds());
            for (id, flow) in &self.reference.flows {
                let erased = flow.state.is_final() || !self.reference.has_params(*id);
                let first = orchestra_model::JobId { flow: *id, slot: 1, job: 1 };
                let params = conductor.reader().params(first).unwrap();
                assert_eq!(params.is_none(), erased, "parameters of {first}, {}", flow.state);
            }
        }
        self.check_ends();
    }

    /// What is on record of an attempt is what its player said.
    fn check_ends(&self) {
        for ((host, key), said) in &self.said {
            if let Some(end) = self.reference.kept_end(host, *key) {
                assert!(said.contains(end), "{end:?} of {key} on {host} is not {said:?}");
            }
        }
    }

    /// The states and reasons that are told now, in words.
    pub(crate) fn told_now(&self) -> BTreeSet<Told> {
        let engine = &self.conductor().engine;
        let statuses = engine.alive().filter_map(|flow| engine.flow_status(flow));
        let mut words = BTreeSet::new();
        for status in statuses {
            words.insert(Told::Flow(status.summary.state));
            for job in status.slots.iter().flatten() {
                words.extend(job.waiting.keys().copied().map(Told::Reason));
            }
        }
        for flow in self.reference.flows.values() {
            words.insert(Told::Flow(flow.state));
            words.extend(flow.jobs().flat_map(Job::states).map(Told::Task));
        }
        words
    }

    /// How many tasks of living flows are in flight, for those who wait.
    fn in_flight(&self) -> usize {
        let jobs = self.reference.flows.values().flat_map(Flow::jobs);
        jobs.flat_map(Job::states).filter(|state: &TaskState| state.is_in_flight()).count()
    }
}
