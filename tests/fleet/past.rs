//! What a conductor leaves in its store that was killed in the middle of its flows: written as it
//! writes, in much less time than it takes to live through.
//!
//! Each flow has one job on every host. Half of its tasks have ended well, 7 in 100 are sent and
//! not answered, the others have no record. Every flow begins at another host, so that each has as
//! much to do.

use std::{collections::HashSet, path::Path};

use orchestra_model::{
    AudienceName, FlowId, FlowState, HostSet, JobId, JobName, JobState, ScoreName, TaskState,
    Timestamp,
    delivery::{AttemptEnd, AttemptKey, EndBytes, OrderNumber, Outcome, RequestId, StoreId, Term},
    flow::{FlowSpec, JobSpec, SlotSpec},
    record::{
        EndRecord, FlowRecord, HostsChunk, Impact, JobRecord, Op, PlayerRecord, Record, SpecChunk,
        TaskRecord,
    },
    status::Counts,
};
use orchestra_proto::{encode_end, v1};
use orchestra_store::{SqliteStore, Store as _, StoreIdentity};
use prost::Message as _;

use crate::{
    authority::AUDIENCE,
    sitter::{Memory, spool_id},
    trouble::{During as _, Result},
};

/// Operations that are written together.
const BATCH: usize = 10_000;
/// Players that were attached when the conductor was killed: more than that do not fit one.
const ATTACHED: usize = 20_000;
/// How far one flow goes on before the others do: their records come in turns, as they do where
/// flows run side by side.
const STRIDE: usize = 100;
const WHAT: &str = "writing a store";

/// Flows that are under way.
#[derive(Debug)]
pub(crate) struct Past<'a> {
    pub(crate) flows: usize,
    pub(crate) hosts: &'a HostSet,
    /// The hosts as an expression.
    pub(crate) targets: &'a str,
    /// What runs.
    pub(crate) score: ScoreName,
    /// What that means for the cells of a host.
    pub(crate) impact: Impact,
    /// Tells the spools of its players from all others.
    pub(crate) run: u64,
}

/// Where a task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Ended,
    Sent,
    Untouched,
}

impl Past<'_> {
    /// All tasks.
    pub(crate) fn tasks(&self) -> usize {
        self.flows * self.hosts.len()
    }

    /// Its flows' ids.
    pub(crate) fn ids(&self) -> impl Iterator<Item = FlowId> {
        (1..=self.flows as u64).map(FlowId)
    }

    /// How many tasks of each flow have ended.
    pub(crate) fn ended(&self) -> usize {
        self.hosts.len() / 2
    }

    /// How many tasks of each flow are sent.
    pub(crate) fn sent(&self) -> usize {
        (self.hosts.len() * 7).div_ceil(100)
    }

    /// Where a flow's task on the host of that place is.
    pub(crate) fn part(&self, flow: FlowId, place: usize) -> Part {
        let hosts = self.hosts.len();
        let begin = (flow.0 as usize - 1) * hosts / self.flows;
        match (place + hosts - begin) % hosts {
            turn if turn < self.ended() => Part::Ended,
            turn if turn < self.ended() + self.sent() => Part::Sent,
            _ => Part::Untouched,
        }
    }

    /// Writes all of it into a new store at `dir`, and returns what the players remember of it, by
    /// place.
    pub(crate) fn write(&self, dir: &Path) -> Result<Vec<Memory>> {
        let mut store = SqliteStore::open_or_make(dir).during(WHAT)?;
        let mut writer = Writer::new(self, store.identity())?;
        for flow in self.ids() {
            writer.flow(flow)?;
        }
        for part in [Part::Ended, Part::Sent] {
            for stride in (0..self.hosts.len()).step_by(STRIDE) {
                let places = stride..self.hosts.len().min(stride + STRIDE);
                for (flow, place) in
                    self.ids().flat_map(|flow| places.clone().map(move |place| (flow, place)))
                {
                    if self.part(flow, place) == part {
                        writer.task(flow, place, part);
                    }
                }
                writer.write_above(BATCH, &mut store)?;
            }
        }
        writer.players();
        writer.write_above(0, &mut store)?;
        Ok(writer.memories)
    }

    /// Checks what was executed after it against what was left to do, by place; returns a complaint.
    pub(crate) fn complaint(&self, place: usize, executed: &[JobId]) -> Option<String> {
        let left = self.ids().filter(|flow| self.part(*flow, place) != Part::Ended);
        let left: HashSet<JobId> = left.map(job_of).collect();
        let done: HashSet<JobId> = executed.iter().copied().collect();
        let host = self.hosts.as_slice().get(place)?;
        let again = done.difference(&left).next();
        match again {
            Some(job) => Some(format!("{job} was executed again on {host}")),
            None if executed.len() > done.len() => Some(format!("a job ran twice on {host}")),
            None if done.len() < left.len() => Some(format!("a job did not run on {host}")),
            None => None,
        }
    }
}

/// The one job of a flow.
fn job_of(flow: FlowId) -> JobId {
    JobId { flow, slot: 1, job: 1 }
}

struct Writer<'a> {
    past: &'a Past<'a>,
    store: StoreId,
    term: Term,
    now: Timestamp,
    spec: Vec<u8>,
    end: EndBytes,
    audience: AudienceName,
    job: JobName,
    batch: Vec<Op>,
    /// The last order of each player.
    orders: Vec<OrderNumber>,
    memories: Vec<Memory>,
}

impl<'a> Writer<'a> {
    fn new(past: &'a Past<'a>, identity: StoreIdentity) -> Result<Self> {
        let job = JobName::new("j1").during(WHAT)?;
        let spec = JobSpec::new(job.clone(), past.score.clone(), past.targets);
        let spec = FlowSpec::new(vec![SlotSpec { jobs: vec![spec] }]);
        let now = std::time::SystemTime::now();
        let now = now.duration_since(std::time::UNIX_EPOCH).during(WHAT)?;
        let now = Timestamp(now.as_millis() as u64);
        let end = AttemptEnd {
            outcome: Outcome::Exited(0),
            started_at: Some(now),
            ended_at: now,
            response: Default::default(),
            stdout: Default::default(),
            stderr: Default::default(),
        };
        Ok(Self {
            past,
            store: identity.store,
            term: identity.term,
            now,
            spec: v1::FlowSpec::from(&spec).encode_to_vec(),
            end: encode_end(&end).during(WHAT)?,
            audience: AudienceName::new(AUDIENCE).during(WHAT)?,
            job,
            batch: Vec::with_capacity(BATCH),
            orders: vec![OrderNumber(0); past.hosts.len()],
            memories: vec![Memory::default(); past.hosts.len()],
        })
    }

    fn put(&mut self, record: Record) {
        self.batch.push(Op::Put(record));
    }

    /// Writes what has come together, if it is more than `most` operations.
    fn write_above(&mut self, most: usize, store: &mut SqliteStore) -> Result<()> {
        if self.batch.len() > most {
            store.commit(&self.batch).during(WHAT)?;
            self.batch.clear();
        }
        Ok(())
    }

    fn flow(&mut self, id: FlowId) -> Result<()> {
        let (job, now) = (job_of(id), Some(self.now));
        let tasks = u32::try_from(self.past.hosts.len()).during(WHAT)?;
        let mut request = RequestId([0; 16]);
        request.0[..8].copy_from_slice(&id.0.to_le_bytes());
        self.put(Record::NextFlow(id.next()));
        self.put(Record::Spec(SpecChunk { flow: id, index: 0, bytes: self.spec[..].into() }));
        let text = self.past.targets.into();
        self.put(Record::Targets(HostsChunk { job, index: 0, text }));
        self.put(Record::Job(JobRecord {
            id: job,
            name: self.job.clone(),
            score: self.past.score.clone(),
            tasks,
            state: JobState::Running,
            started_at: now,
            ended_at: None,
            untouched: TaskState::Waiting,
            counts: Counts::all_in(TaskState::Waiting, tasks),
            param_keys: Vec::new(),
            kept_params: std::sync::Arc::default(),
            canary_ok_at: None,
            promoted_by: None,
            change: 0,
            thresholds: None,
        }));
        self.put(Record::Flow(FlowRecord {
            id,
            request,
            audience: self.audience.clone().into(),
            by_keeper: false,
            name: None,
            state: FlowState::Running,
            submitted_at: self.now,
            ended_at: None,
            cancelled_by: None,
            cancel_reason: None,
            paused_by: None,
            retry_of: None,
            predecessor: None,
            request_mac: None,
        }));
        Ok(())
    }

    fn task(&mut self, flow: FlowId, place: usize, part: Part) {
        let Some(host) = self.past.hosts.as_slice().get(place) else { return };
        let (job, order, now) = (job_of(flow), self.orders[place].next(), Some(self.now));
        self.orders[place] = order;
        let has_ended = part == Part::Ended;
        self.put(Record::Task(TaskRecord {
            job,
            index: u32::try_from(place).unwrap_or(u32::MAX),
            host: host.clone(),
            state: if has_ended { TaskState::Ok } else { TaskState::Sent },
            attempt: 1,
            retries: 0,
            order,
            sent_at: now,
            started_at: now.filter(|_| has_ended),
            ended_at: now.filter(|_| has_ended),
            impact: self.past.impact,
            before: None,
            exit: has_ended.then_some(0),
            signal: None,
            detail: None,
            time_limit: None,
            change: 0,
            parent: None,
        }));
        if has_ended {
            let (host, end) = (host.clone(), self.end.clone());
            self.put(Record::End(EndRecord { job, host, attempt: 1, late: false, end }));
            let key = AttemptKey { store: self.store, job, attempt: 1 };
            self.memories[place] = Memory { last: Some((key, order, self.term)) };
        }
    }

    /// Those that had something to do were attached once.
    fn players(&mut self) {
        let hosts = self.past.hosts;
        for (place, host) in hosts.iter().enumerate() {
            let last_order = self.orders[place];
            let spool = spool_id(self.past.run, place as u64);
            self.put(Record::Player(PlayerRecord {
                host: host.clone(),
                spool: Some(spool).filter(|_| last_order > OrderNumber(0)),
                last_order,
                detached_at: Some(self.now).filter(|_| place >= ATTACHED),
                removed: false,
                drained: None,
            }));
        }
    }
}
