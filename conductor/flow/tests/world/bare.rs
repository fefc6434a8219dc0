//! The engine alone, with players that do as they are told: what is asked to be written is taken to be
//! on disk, every order arrives and starts, and nothing is checked but that none is sent twice.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use orchestra_flow::{
    Answer, Command, Effect, Engine, Input, ReplyId, ReplyTo, SessionId, Submission, answer,
};
use orchestra_model::{
    Deployments, FlowId, HostName, JobId, JobState, Millis, Params, Timestamp,
    delivery::{
        AttemptKey, EndBytes, EndSummary, KnownEnd, Order, Outcome, PlayerSnapshot, Refusal,
        Report, RequestId, SpoolId, Term,
    },
    flow::{FlowSpec, JobSpec, SlotSpec},
    record::{Op, Record},
    status::{Counts, JobStatus},
    thresholds::Excess,
};

use super::{SETTINGS, audience, disk::Disk, flow, hosts, player::FakePlayer, shapes, submitted};

/// The engine with players that take everything.
#[derive(Clone)]
pub struct Bare {
    pub engine: Engine,
    pub now: Timestamp,
    /// Orders that have not ended, by host.
    pub running: BTreeMap<(HostName, AttemptKey), Order>,
    /// Every order that was ever sent.
    pub sent: BTreeSet<(HostName, AttemptKey)>,
    /// How jobs ended.
    pub verdicts: BTreeMap<JobId, JobState>,
    /// How the tasks of jobs ended that are over.
    pub counts: BTreeMap<JobId, Counts>,
    /// Hosts that count as down, on disk.
    pub down: BTreeSet<HostName>,
    /// How many attempts a player takes at once.
    pub max_tasks: u32,
    answer: Option<Answer>,
    requests: u128,
}

/// How an attempt ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Ok,
    Failed,
    TimedOut,
    Lost,
    Refused,
}

impl End {
    pub const FAILURES: [End; 4] = [End::Failed, End::TimedOut, End::Lost, End::Refused];
}

impl Bare {
    pub fn new(fleet: &str, deployments: Arc<Deployments>) -> Self {
        let mut bare = Self::absent(fleet, deployments);
        for name in &hosts(fleet) {
            bare.attach(name);
        }
        bare
    }

    pub fn absent(fleet: &str, deployments: Arc<Deployments>) -> Self {
        let mut bare = Self {
            engine: Disk::default().rebuild(SETTINGS),
            now: Timestamp(1_000_000),
            running: BTreeMap::new(),
            sent: BTreeSet::new(),
            verdicts: BTreeMap::new(),
            counts: BTreeMap::new(),
            down: BTreeSet::new(),
            max_tasks: 64,
            answer: None,
            requests: 0,
        };
        bare.engine.resume(bare.now);
        let (reply, hosts) = (ReplyTo::new(ReplyId(0)), hosts(fleet));
        bare.input(Input::RosterLoaded { reply, hosts, most_removed: u32::MAX });
        let reply = ReplyTo::new(ReplyId(0));
        bare.input(Input::DeploymentsLoaded { reply, deployments });
        bare
    }

    pub fn attach(&mut self, name: &HostName) {
        let player = self.engine.roster().member(name).unwrap();
        let snapshot = Box::new(PlayerSnapshot {
            spool: SpoolId([u8::try_from(player.index()).unwrap_or(u8::MAX); 16]),
            mark: Default::default(),
            term: Term(0),
            live: Vec::new(),
            settled: Vec::new(),
            evidence: None,
            max_tasks: self.max_tasks,
            kill_grace: Millis(0),
            scores: FakePlayer::new(name.clone(), 1).scores.into(),
            units: None,
            room: Default::default(),
        });
        self.input(Input::PlayerAttached { player, session: SessionId(1), snapshot });
    }

    pub fn input(&mut self, input: Input) {
        self.engine.handle(self.now, input);
        loop {
            let effects: Vec<Effect> = self.engine.effects().collect();
            for effect in effects {
                self.perform(effect);
            }
            if !self.engine.has_work() {
                return;
            }
            self.engine.advance(self.now);
        }
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Send { player, command: Command::Order(order), .. } => {
                let name = self.engine.roster().host(player).clone();
                let is_new = self.sent.insert((name.clone(), order.key));
                assert!(is_new, "{} is sent to {name} twice", order.key);
                self.running.insert((name, order.key), order);
            }
            Effect::Persist(Op::Put(Record::Job(job))) if job.state.is_final() => {
                let before = self.verdicts.insert(job.id, job.state);
                assert!(before.is_none_or(|before| before == job.state), "a second verdict");
                self.counts.insert(job.id, job.counts);
            }
            Effect::Persist(Op::Put(Record::Hold(hold))) => drop(self.down.insert(hold.host)),
            Effect::Persist(Op::Release(name)) => drop(self.down.remove(&name)),
            Effect::Answer { answer, .. } => self.answer = Some(answer),
            _ => {}
        }
    }

    pub fn submit(&mut self, spec: FlowSpec) -> FlowId {
        self.requests += 1;
        let sets = |slot: &SlotSpec| slot.jobs.iter().map(|job| hosts(&job.targets)).collect();
        let submission = Submission {
            request: RequestId(self.requests.to_be_bytes()),
            audience: audience(),
            by_keeper: false,
            targets: spec.slots.iter().map(sets).collect(),
            trees: shapes(&spec),
            params: BTreeMap::<(u16, u16), Params>::new(),
            spec_bytes: Arc::from([0_u8].as_slice()),
            kept_params: BTreeMap::new(),
            retry_of: None,
            mac: None,
            excess: Excess::Refused,
            spec,
        };
        self.input(submitted(submission));
        match self.answer.take() {
            Some(Answer::Submitted(answer::Submitted { flow, .. })) => flow,
            answer => panic!("not submitted: {answer:?}"),
        }
    }

    /// How many flows were submitted.
    pub fn requests(&self) -> u32 {
        self.requests as u32
    }

    /// A flow of one job, and that job.
    pub fn submit_one(&mut self, spec: JobSpec) -> JobId {
        JobId { flow: self.submit(flow([vec![spec]])), slot: 1, job: 1 }
    }

    pub fn status(&self, job: JobId) -> Option<JobStatus> {
        let status = self.engine.flow_status(job.flow)?;
        let slot = status.slots.into_iter().nth(usize::from(job.slot) - 1)?;
        slot.into_iter().nth(usize::from(job.job) - 1)
    }

    pub fn end(&mut self, name: &HostName, key: AttemptKey, how: End) {
        let order = self.running.remove(&(name.clone(), key)).unwrap().number;
        let player = self.engine.roster().member(name).unwrap();
        let ended = |outcome| Report::Ended {
            key,
            order,
            end: KnownEnd {
                summary: EndSummary { outcome, started_at: None, ended_at: Timestamp(0) },
                bytes: EndBytes::default(),
            },
        };
        let report = Box::new(match how {
            End::Ok => ended(Outcome::Exited(0)),
            End::Failed => ended(Outcome::Exited(1)),
            End::TimedOut => ended(Outcome::TimedOut),
            End::Lost => ended(Outcome::Lost(String::new())),
            End::Refused => Report::Refused { key, order, refusal: Refusal::UnknownScore },
        });
        self.input(Input::Reported { player, session: SessionId(1), report });
    }

    /// What runs of a job, in host-set order.
    pub fn running_of(&self, job: JobId) -> Vec<(HostName, AttemptKey)> {
        self.running.keys().filter(|(_, key)| key.job == job).cloned().collect()
    }
}
