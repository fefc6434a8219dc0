//! A player: a real spool, a journal in memory, and processes that run until somebody ends them.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    convert::Infallible,
};

use orchestra_flow::{Command, SessionId};
use orchestra_model::{
    HostName, Millis, ScoreName, Timestamp,
    delivery::{
        AgentSession, AttemptKey, EndBytes, EndSummary, KnownEnd, OrderNumber, Outcome,
        PlayerSnapshot, Refusal, Report, SpoolId, StoreId, Term,
    },
    proof::{Attempted, Mac, Statement, drop_false_proofs},
    score::{Interface, ScoreOffer, ScoreSpec},
};
use orchestra_spool::{
    BootId, Effect, Input, Plan, ProcessMark, Settlement, Spool, State, journal,
};

use super::disk::STORE;

pub struct FakePlayer {
    pub host: HostName,
    pub spool: Spool,
    /// What is on its disk.
    pub journal: Vec<u8>,
    pub max_tasks: u32,
    pub scores: Vec<ScoreOffer>,
    /// What it has told the conductor of them.
    said: Vec<ScoreOffer>,
    /// Refuses what is new.
    pub stopping: bool,
    /// Spawning fails.
    pub cannot_spawn: bool,
    /// Does not kill at once what is cancelled.
    pub kills_slowly: bool,
    processes: BTreeSet<AttemptKey>,
    wire: Option<Wire>,
    snapshot: Option<orchestra_spool::Snapshot>,
    started: Vec<AttemptKey>,
    /// Everything that ever ran here.
    pub runs: BTreeMap<AttemptKey, Run>,
    /// How often a spool was made here.
    made: u8,
    nth: u16,
}

/// What became of an attempt, in truth.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// Its order.
    pub order: OrderNumber,
    /// Whether it ended well; `None` while it runs.
    pub ok: Option<bool>,
}

/// One connection.
struct Wire {
    session: SessionId,
    down: VecDeque<(Term, Command, Option<ScoreName>)>,
    up: VecDeque<Up>,
}

/// A report on its way.
#[derive(Clone, Debug)]
pub struct Up {
    pub session: SessionId,
    pub report: Report<KnownEnd>,
}

pub fn offer(name: &str, concurrency: Option<u32>, exclusive: bool) -> ScoreOffer {
    offer_of(name, ScoreSpec { concurrency, exclusive, ..ScoreSpec::default() })
}

/// A score that changes nothing.
pub fn look(name: &str) -> ScoreOffer {
    offer_of(name, ScoreSpec { disruptive: false, ..ScoreSpec::default() })
}

fn offer_of(name: &str, spec: ScoreSpec) -> ScoreOffer {
    ScoreOffer { name: ScoreName::new(name).unwrap(), hash: None, spec: Ok(spec) }
}

impl FakePlayer {
    pub fn new(host: HostName, nth: u16) -> Self {
        let mut player = Self {
            host,
            spool: Spool::new(SpoolId([0; 16]), 4),
            journal: Vec::new(),
            max_tasks: 4,
            scores: vec![
                offer("work", None, false),
                offer("other", None, false),
                offer("single", Some(1), false),
                offer("alone", None, true),
                look("look"),
            ],
            said: Vec::new(),
            stopping: false,
            cannot_spawn: false,
            kills_slowly: false,
            processes: BTreeSet::new(),
            wire: None,
            snapshot: None,
            started: Vec::new(),
            runs: BTreeMap::new(),
            made: 0,
            nth,
        };
        player.wipe();
        player
    }

    /// Its spool is lost, and with the host everything that ran.
    pub fn wipe(&mut self) {
        self.made += 1;
        let [high, low] = self.nth.to_be_bytes();
        let id = SpoolId([high, low, self.made, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        self.journal = journal::compacted(&State::new(id));
        self.kill_all();
        self.wire = None;
        self.reopen();
    }

    /// Its disk is as it was at an earlier time, and what ran since is gone.
    pub fn roll_back(&mut self, journal: Vec<u8>) {
        self.journal = journal;
        self.kill_all();
        self.wire = None;
        self.reopen();
    }

    fn kill_all(&mut self) {
        for key in std::mem::take(&mut self.processes) {
            self.runs.entry(key).and_modify(|run| run.ok = Some(false));
        }
    }

    /// Takes as many attempts at once from now on.
    pub fn takes(&mut self, max_tasks: u32) {
        self.max_tasks = max_tasks;
        self.wire = None;
        self.reopen();
    }

    fn reopen(&mut self) {
        let state = journal::replay(&self.journal).unwrap().state;
        self.spool = Spool::recover(state, self.max_tasks);
    }

    /// The sitter crashes and starts again. What was starting is lost, what runs is adopted.
    pub fn crash(&mut self) {
        self.wire = None;
        self.reopen();
        let orphans: Vec<AttemptKey> =
            self.spool.live().map(|(key, _)| key).filter(|k| !self.processes.contains(k)).collect();
        for key in orphans {
            self.settle(key, &Outcome::Lost("the player crashed".to_owned()));
        }
    }

    pub fn session(&self) -> Option<SessionId> {
        self.wire.as_ref().map(|wire| wire.session)
    }

    /// What the conductor's proof of a statement is.
    pub fn proof(
        &self,
        store: StoreId,
        term: Term,
        order: OrderNumber,
        key: Option<AttemptKey>,
    ) -> Mac {
        let (player, attempt) = (&self.host, key.map(Attempted::from));
        mac(&Statement { store, player, term, order, attempt })
    }

    /// Opens a connection and says its whole state, with every proof that is none taken out.
    pub fn dial(&mut self, session: SessionId, store: StoreId) -> PlayerSnapshot {
        self.wire = Some(Wire { session, down: VecDeque::new(), up: VecDeque::new() });
        self.spool.handle(Input::Opened { session: AgentSession(session.0) });
        self.act(Timestamp(0));
        self.said.clone_from(&self.scores);
        let snapshot = self.snapshot.take().unwrap();
        let mark = snapshot.mark_of(store);
        let mut snapshot = PlayerSnapshot {
            spool: snapshot.spool,
            mark: mark.mark,
            term: mark.term,
            evidence: mark.evidence,
            live: snapshot.live,
            settled: snapshot.settled,
            max_tasks: self.max_tasks,
            kill_grace: Millis::seconds(10),
            scores: self.scores.clone().into(),
            units: None,
            room: Default::default(),
        };
        drop_false_proofs(&mut snapshot, store, &self.host, |said, shown| mac(said) == shown);
        snapshot
    }

    /// The conductor took the connection.
    pub fn welcome(&mut self, session: SessionId, store: StoreId) {
        if self.session() == Some(session) {
            self.spool.handle(Input::Attached { session: AgentSession(session.0), store });
        }
    }

    /// Loses its connection, with everything on it.
    pub fn hang_up(&mut self) -> Option<SessionId> {
        let wire = self.wire.take()?;
        self.spool.handle(Input::Detached { session: AgentSession(wire.session.0) });
        Some(wire.session)
    }

    /// The conductor ended a connection.
    pub fn close(&mut self, session: SessionId) {
        if self.session() == Some(session) {
            self.hang_up();
        }
    }

    /// The conductor sends a command; one for an older connection goes nowhere.
    pub fn send(
        &mut self,
        session: SessionId,
        term: Term,
        command: Command,
        score: Option<ScoreName>,
    ) {
        if let Some(wire) = self.wire.as_mut().filter(|wire| wire.session == session) {
            wire.down.push_back((term, command, score));
        }
    }

    pub fn waiting_commands(&self) -> Vec<Command> {
        let wire = self.wire.iter();
        wire.flat_map(|wire| wire.down.iter().map(|(_, command, _)| command.clone())).collect()
    }

    pub fn waiting_reports(&self) -> Vec<Up> {
        self.wire.iter().flat_map(|wire| wire.up.iter().cloned()).collect()
    }

    /// Takes the next command from the wire. Whether there was one.
    pub fn receive(&mut self) -> bool {
        let next = self.wire.as_mut().and_then(|wire| wire.down.pop_front());
        let Some((term, command, score)) = next else { return false };
        let input = match command {
            Command::Hello(issued) => Input::TermSeen {
                store: STORE,
                term,
                issued: Some((issued, self.proof(STORE, term, issued, None))),
            },
            Command::Order(order) => Input::Ordered {
                term,
                order: order.number,
                key: order.key,
                mac: Some(self.proof(STORE, term, order.number, Some(order.key))),
                admission: self.admission(score.unwrap()),
            },
            Command::Cancel { key, order } => {
                let mac = Some(self.proof(STORE, term, order, Some(key)));
                Input::Cancelled { term, order, key, mac }
            }
            Command::Acknowledge(key) => Input::Acknowledged { term, key, order: None },
        };
        self.spool.handle(input);
        true
    }

    fn admission(&self, score: ScoreName) -> Result<Plan, Refusal> {
        if self.stopping {
            return Err(Refusal::Stopping);
        }
        let offer = self.scores.iter().find(|offer| offer.name == score);
        let spec = offer.and_then(|offer| offer.spec.clone().ok()).ok_or(Refusal::UnknownScore)?;
        Ok(Plan {
            score,
            timeout: spec.timeout,
            interface: Interface::Env,
            concurrency: spec.concurrency,
            exclusive: spec.exclusive,
            cgroup: None,
        })
    }

    /// Takes the next report from the wire.
    pub fn sent(&mut self) -> Option<Up> {
        self.wire.as_mut()?.up.pop_front()
    }

    /// Writes what is to be written and does what is to be done. Which attempts started.
    pub fn act(&mut self, now: Timestamp) -> Vec<AttemptKey> {
        loop {
            let frame = journal::frame(self.journal.len() as u64, self.spool.unwritten());
            self.journal.extend(frame);
            self.spool.written();
            let Some(effect) = self.spool.poll_effect() else { break };
            match effect {
                Effect::Snapshot { snapshot, .. } => self.snapshot = Some(snapshot),
                Effect::Report { session, report } => self.say(session, report),
                Effect::Start { key, order, .. } => self.start(key, order, now),
                Effect::Kill { key } if !self.kills_slowly => self.end(key, &Outcome::Cancelled),
                Effect::Kill { .. } => {}
            }
        }
        self.spool.audit().unwrap();
        std::mem::take(&mut self.started)
    }

    fn start(&mut self, key: AttemptKey, order: OrderNumber, now: Timestamp) {
        if self.cannot_spawn {
            let refusal = Refusal::SpawnFailed("no more processes".to_owned());
            return self.spool.handle(Input::StartFailed { key, refusal });
        }
        self.started.push(key);
        self.processes.insert(key);
        self.runs.insert(key, Run { order, ok: None });
        let boot = BootId([1; 16]);
        let process = ProcessMark { pid: 1, start_ticks: 1, boot, started_at: now, boot_ms: 1 };
        self.spool.handle(Input::Started { key, process });
    }

    /// Whether it said that a score changes the host, or said nothing of it.
    pub fn said_change(&self, score: &ScoreName) -> bool {
        let offer = self.said.iter().find(|offer| offer.name == *score);
        let spec = offer.and_then(|offer| offer.spec.as_ref().ok());
        spec.is_none_or(|spec| spec.disruptive)
    }

    /// From now on a score changes the host, or does so no more; the conductor hears of it when the
    /// player attaches.
    pub fn offer_as(&mut self, score: &str, disruptive: bool) {
        for offer in self.scores.iter_mut().filter(|offer| offer.name.as_str() == score) {
            if let Ok(spec) = &mut offer.spec {
                spec.disruptive = disruptive;
            }
        }
    }

    /// What runs here.
    pub fn running(&self) -> Vec<AttemptKey> {
        self.processes.iter().copied().collect()
    }

    /// A process ends; ignored where it does not run.
    pub fn end(&mut self, key: AttemptKey, outcome: &Outcome) {
        if self.processes.remove(&key) {
            let ok = *outcome == Outcome::Exited(0);
            self.runs.entry(key).and_modify(|run| run.ok = Some(ok));
            self.settle(key, outcome);
        }
    }

    fn settle(&mut self, key: AttemptKey, outcome: &Outcome) {
        let end = EndBytes::new(encode(outcome)).unwrap();
        self.spool.handle(Input::Ended { key, end });
    }

    fn say(&mut self, session: AgentSession, report: Report<EndBytes>) {
        let Some(wire) = self.wire.as_mut().filter(|wire| wire.session.0 == session.0) else {
            return;
        };
        let Ok(report) = report.try_map(|bytes| {
            Ok::<_, Infallible>(KnownEnd { summary: decode(bytes.as_slice()), bytes })
        });
        wire.up.push_back(Up { session: wire.session, report });
    }

    /// Attempts whose end or refusal is not acknowledged.
    pub fn settled(&self) -> BTreeMap<AttemptKey, Settlement> {
        let settled = self.spool.state().settled().iter();
        settled.map(|(key, settled)| (*key, settled.settlement.clone())).collect()
    }

    pub fn mark(&self, store: StoreId) -> OrderNumber {
        self.spool.state().mark(store)
    }
}

/// Stands for a code under a key that no player has: FNV-1a over the statement, twice.
fn mac(said: &Statement<'_>) -> Mac {
    let fold = |seed: u64| {
        let bytes = said.to_bytes().into_iter();
        bytes.fold(seed, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
    };
    let (high, low) = (fold(0xcbf2_9ce4_8422_2325), fold(0x1234_5678_9abc_def0));
    Mac((u128::from(high) << 64 | u128::from(low)).to_le_bytes())
}

fn encode(outcome: &Outcome) -> Vec<u8> {
    let (tag, n) = match outcome {
        Outcome::Exited(code) => (0, *code),
        Outcome::Signalled(signal) => (1, *signal),
        Outcome::TimedOut => (2, 0),
        Outcome::Cancelled => (3, 0),
        Outcome::Lost(_) => (4, 0),
    };
    let mut bytes = vec![tag];
    bytes.extend(n.to_le_bytes());
    bytes
}

fn decode(bytes: &[u8]) -> EndSummary {
    let n = i32::from_le_bytes(bytes[1..].try_into().unwrap());
    let outcome = match bytes[0] {
        0 => Outcome::Exited(n),
        1 => Outcome::Signalled(n),
        2 => Outcome::TimedOut,
        3 => Outcome::Cancelled,
        _ => Outcome::Lost("the player lost it".to_owned()),
    };
    EndSummary { outcome, started_at: None, ended_at: Timestamp(0) }
}
