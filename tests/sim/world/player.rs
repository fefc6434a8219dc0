//! A player: a real spool over a pretended disk, with pretended processes.
//!
//! [`Player::sit`] is the sitter's loop: write what is unwritten, then act. A [`Fuse`] makes it die
//! between any two acts: before a write, in the middle of one, after it, between a spawn and the
//! record of it.

use std::{collections::BTreeMap, convert::Infallible};

use orchestra_flow::{Command, SessionId};
use orchestra_model::{
    HostName, Millis, ScoreName, Timestamp,
    delivery::{
        AgentSession, AttemptKey, EndBytes, EndSummary, KnownEnd, OrderNumber, Outcome,
        PlayerSnapshot, Refusal, SpoolId, StoreId, Term,
    },
    proof::{Attempted, Mac, Statement},
    score::{Interface, Offers, ScoreOffer, ScoreSpec},
};
use orchestra_spool::{BootId, Effect, Input, Plan, ProcessMark, Spool, State, journal};

use super::{
    STORE,
    network::{Down, Up},
};
use crate::chance::Chance;

/// How many acts are left until a crash; `None` for no crash.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fuse(pub(crate) Option<u32>);

/// Dead.
pub(crate) struct Crashed;

impl Fuse {
    pub(crate) fn burn(&mut self) -> Result<(), Crashed> {
        match &mut self.0 {
            None => Ok(()),
            Some(0) => Err(Crashed),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
        }
    }
}

#[derive(Debug)]
pub(crate) struct Player {
    host: HostName,
    nth: u8,
    /// How many spools were made here.
    made: u8,
    spool: Spool,
    /// What is on its disk.
    journal: Vec<u8>,
    pub(crate) scores: BTreeMap<ScoreName, ScoreSpec>,
    pub(crate) max_tasks: u32,
    /// Refuses what is new.
    pub(crate) stopping: bool,
    pub(crate) cannot_spawn: bool,
    /// What is killed lives on for a while.
    pub(crate) kills_slowly: bool,
    /// What runs, and whether it is being killed.
    pub(crate) processes: BTreeMap<AttemptKey, bool>,
    /// The connection that it believes in.
    pub(crate) session: Option<SessionId>,
}

/// What a player did that others see.
#[derive(Debug)]
pub(crate) enum Done {
    Said(SessionId, Up),
    /// A process came to be.
    Spawned(AttemptKey),
    /// It will be told how this attempt ended, for it is on disk.
    Kept(AttemptKey, EndBytes),
}

impl Player {
    pub(crate) fn new(host: HostName, nth: u8, scores: BTreeMap<ScoreName, ScoreSpec>) -> Self {
        let mut player = Self {
            host,
            nth,
            made: 0,
            spool: Spool::new(SpoolId([0; 16]), 1),
            journal: Vec::new(),
            scores,
            max_tasks: 4,
            stopping: false,
            cannot_spawn: false,
            kills_slowly: false,
            processes: BTreeMap::new(),
            session: None,
        };
        player.wipe();
        player
    }

    /// The spool is lost, and with the host everything that ran.
    pub(crate) fn wipe(&mut self) {
        self.made += 1;
        let mut id = [0; 16];
        (id[0], id[1]) = (self.nth, self.made);
        self.journal = journal::compacted(&State::new(SpoolId(id)));
        self.processes.clear();
        self.start_sitter();
    }

    /// Everything that ran is gone; then the sitter starts anew.
    pub(crate) fn reboot(&mut self) {
        self.processes.clear();
        self.start_sitter();
    }

    /// A sitter begins with what is on disk. What was starting is looked for and killed, and is
    /// lost; what runs is adopted; how the rest ended nobody knows.
    pub(crate) fn start_sitter(&mut self) {
        self.session = None;
        let replayed = journal::replay(&self.journal).unwrap();
        self.journal.truncate(usize::try_from(replayed.valid_len).unwrap());
        self.spool = Spool::recover(replayed.state, self.max_tasks);
        let live: Vec<(AttemptKey, bool, bool)> = self
            .spool
            .live()
            .map(|(key, live)| (key, live.process.is_some(), live.cancelling))
            .collect();
        for (key, started, cancelling) in live {
            match self.processes.get_mut(&key).filter(|_| started) {
                Some(killed) => *killed |= cancelling,
                None => {
                    self.processes.remove(&key);
                    self.settle(key, &Outcome::Lost("the sitter died".to_owned()));
                }
            }
        }
    }

    /// Opens a connection: asks the spool for its whole state.
    pub(crate) fn dial(&mut self, session: SessionId) {
        self.session = Some(session);
        self.spool.handle(Input::Opened { session: AgentSession(session.0) });
    }

    /// The connection is over. Whether it was the one that it believes in.
    pub(crate) fn hang_up(&mut self, session: SessionId) {
        self.spool.handle(Input::Detached { session: AgentSession(session.0) });
        self.session.take_if(|own| *own == session);
    }

    pub(crate) fn hear(&mut self, session: SessionId, message: Down) {
        if self.session != Some(session) {
            return;
        }
        let input = match message {
            Down::Welcome { store } => Input::Attached { session: AgentSession(session.0), store },
            Down::Command { term, command: Command::Hello(issued), .. } => Input::TermSeen {
                store: STORE,
                term,
                issued: Some((issued, self.proof(term, issued, None))),
            },
            Down::Command { term, command: Command::Order(order), score } => Input::Ordered {
                term,
                order: order.number,
                key: order.key,
                mac: Some(self.proof(term, order.number, Some(order.key))),
                admission: self.admission(score.unwrap()),
            },
            Down::Command { term, command: Command::Cancel { key, order }, .. } => {
                let mac = Some(self.proof(term, order, Some(key)));
                Input::Cancelled { term, order, key, mac }
            }
            Down::Command { term, command: Command::Acknowledge(key), .. } => {
                Input::Acknowledged { term, key, order: None }
            }
        };
        self.spool.handle(input);
    }

    /// What came with a command of this conductor.
    fn proof(&self, term: Term, order: OrderNumber, key: Option<AttemptKey>) -> Mac {
        let (store, player, attempt) = (STORE, &self.host, key.map(Attempted::from));
        mac(&Statement { store, player, term, order, attempt })
    }

    fn admission(&self, score: ScoreName) -> Result<Plan, Refusal> {
        if self.stopping {
            return Err(Refusal::Stopping);
        }
        let spec = self.scores.get(&score).ok_or(Refusal::UnknownScore)?;
        Ok(Plan {
            score,
            timeout: spec.timeout,
            interface: Interface::Env,
            concurrency: spec.concurrency,
            exclusive: spec.exclusive,
            cgroup: None,
        })
    }

    /// Writes what is to be written and does what is to be done, until there is nothing more or
    /// the fuse has burnt down. What was done is in `done`, also of one that died.
    pub(crate) fn sit(
        &mut self,
        now: Timestamp,
        store: StoreId,
        fuse: &mut Fuse,
        chance: &mut Chance,
        done: &mut Vec<Done>,
    ) -> Result<(), Crashed> {
        loop {
            // The spool itself says what has to wait for the next write.
            let effect = match self.spool.poll_effect() {
                Some(effect) => effect,
                None => {
                    self.write(fuse, chance, done)?;
                    let Some(effect) = self.spool.poll_effect() else { break };
                    effect
                }
            };
            fuse.burn()?;
            match effect {
                Effect::Snapshot { session, snapshot } => {
                    let mark = snapshot.mark_of(store);
                    let snapshot = PlayerSnapshot {
                        spool: snapshot.spool,
                        mark: mark.mark,
                        term: mark.term,
                        evidence: mark.evidence,
                        live: snapshot.live,
                        settled: snapshot.settled,
                        max_tasks: self.max_tasks,
                        kill_grace: Millis::seconds(10),
                        scores: self.offers(),
                        units: None,
                        room: Default::default(),
                    };
                    let session = SessionId(session.0);
                    done.push(Done::Said(session, Up::Attach(Box::new(snapshot))));
                }
                Effect::Report { session, report } => {
                    let Ok(report) = report.try_map(|bytes| {
                        Ok::<_, Infallible>(KnownEnd { summary: decode(&bytes), bytes })
                    });
                    done.push(Done::Said(SessionId(session.0), Up::Report(Box::new(report))));
                }
                Effect::Start { key, .. } if self.cannot_spawn => {
                    let refusal = Refusal::SpawnFailed("no more processes".to_owned());
                    self.spool.handle(Input::StartFailed { key, refusal });
                }
                Effect::Start { key, .. } => {
                    self.processes.insert(key, false);
                    done.push(Done::Spawned(key));
                    fuse.burn()?;
                    let process = ProcessMark {
                        pid: 1,
                        start_ticks: 1,
                        boot: BootId([1; 16]),
                        started_at: now,
                        boot_ms: 1,
                    };
                    self.spool.handle(Input::Started { key, process });
                }
                Effect::Kill { key } if !self.kills_slowly => self.end(key, &Outcome::Cancelled),
                Effect::Kill { key } => {
                    if let Some(killed) = self.processes.get_mut(&key) {
                        *killed = true;
                    }
                }
            }
        }
        self.spool.audit().unwrap();
        Ok(())
    }

    /// One write and one sync for everything unwritten; a crash leaves any part of it.
    fn write(
        &mut self,
        fuse: &mut Fuse,
        chance: &mut Chance,
        done: &mut Vec<Done>,
    ) -> Result<(), Crashed> {
        if self.spool.unwritten().is_empty() {
            return Ok(());
        }
        let frame = journal::frame(self.journal.len() as u64, self.spool.unwritten());
        if fuse.burn().is_err() {
            let torn = chance.below(frame.len() + 1);
            self.journal.extend(&frame[..torn]);
            return Err(Crashed);
        }
        for entry in self.spool.unwritten() {
            if let orchestra_spool::Entry::Settled { key, settlement, .. } = entry
                && let orchestra_spool::Settlement::Ended(end) = settlement
            {
                done.push(Done::Kept(*key, end.clone()));
            }
        }
        self.journal.extend(frame);
        self.spool.written();
        Ok(())
    }

    /// The disk fails in the middle of a write; whatever it was about to start, it does not.
    pub(crate) fn fail_disk(&mut self, chance: &mut Chance) {
        if self.spool.broken().is_none() {
            let frame = journal::frame(self.journal.len() as u64, self.spool.unwritten());
            let torn = chance.below(frame.len() + 1);
            self.journal.extend(&frame[..torn]);
            self.spool.write_failed("no space left on device");
        }
    }

    /// The disk is well again: a fresh journal takes the place of the old one.
    pub(crate) fn mend_disk(&mut self) -> Vec<Done> {
        self.journal = journal::compacted(self.spool.state());
        self.spool.rewritten();
        let settled = self.spool.state().settled().iter();
        let kept = settled.filter_map(|(key, settled)| match &settled.settlement {
            orchestra_spool::Settlement::Ended(end) => Some(Done::Kept(*key, end.clone())),
            orchestra_spool::Settlement::Refused(_) => None,
        });
        kept.collect()
    }

    pub(crate) fn is_broken(&self) -> bool {
        self.spool.broken().is_some()
    }

    /// A process ends; ignored where it does not run.
    pub(crate) fn end(&mut self, key: AttemptKey, outcome: &Outcome) {
        if self.processes.remove(&key).is_some() {
            self.settle(key, outcome);
        }
    }

    fn settle(&mut self, key: AttemptKey, outcome: &Outcome) {
        let end = encode(outcome);
        self.spool.handle(Input::Ended { key, end });
    }

    /// Attempts whose end or refusal is not acknowledged.
    pub(crate) fn settled(&self) -> Vec<AttemptKey> {
        self.spool.state().settled().keys().copied().collect()
    }

    fn offers(&self) -> Offers {
        let offer = |(name, spec): (&ScoreName, &ScoreSpec)| ScoreOffer {
            name: name.clone(),
            hash: None,
            spec: Ok(spec.clone()),
        };
        self.scores.iter().map(offer).collect()
    }
}

/// Stands for a code under a key that no player has: FNV-1a over the statement, twice.
pub(crate) fn mac(said: &Statement<'_>) -> Mac {
    let fold = |seed: u64| {
        let bytes = said.to_bytes().into_iter();
        bytes.fold(seed, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
    };
    let (high, low) = (fold(0xcbf2_9ce4_8422_2325), fold(0x1234_5678_9abc_def0));
    Mac((u128::from(high) << 64 | u128::from(low)).to_le_bytes())
}

/// Stands for the wire, which the engines do without.
fn encode(outcome: &Outcome) -> EndBytes {
    let (tag, n) = match outcome {
        Outcome::Exited(code) => (0, *code),
        Outcome::Signalled(signal) => (1, *signal),
        Outcome::TimedOut => (2, 0),
        Outcome::Cancelled => (3, 0),
        Outcome::Lost(_) => (4, 0),
    };
    let mut bytes = vec![tag];
    bytes.extend(n.to_le_bytes());
    EndBytes::new(bytes).unwrap()
}

pub(crate) fn decode(end: &EndBytes) -> EndSummary {
    let bytes = end.as_slice();
    let n = i32::from_le_bytes(bytes[1..].try_into().unwrap());
    let outcome = match bytes[0] {
        0 => Outcome::Exited(n),
        1 => Outcome::Signalled(n),
        2 => Outcome::TimedOut,
        3 => Outcome::Cancelled,
        _ => Outcome::Lost("the sitter died".to_owned()),
    };
    EndSummary { outcome, started_at: None, ended_at: Timestamp(0) }
}
