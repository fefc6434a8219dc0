//! The conductor's store: a list of operations, and what it adds up to.

use std::{collections::BTreeMap, sync::Arc};

use orchestra_flow::{Engine, RecoveredFlow, RecoveredJob, Recovery, Settings};
use orchestra_model::{
    Deployments, FlowId, HostName, HostSet, JobId, Params, ScoreName, TaskState,
    delivery::{StoreId, Term},
    flow::FlowSpec,
    record::{
        EndRecord, FlowRecord, HoldRecord, JobRecord, Op, PlayerRecord, Record, Recovered,
        TaskRecord,
    },
    tree::TreeShape,
};

pub const STORE: StoreId = StoreId([7; 16]);

/// What was written. A clone is a backup.
#[derive(Clone, Default)]
pub struct Disk {
    pub term: Term,
    recovered: Recovered,
    next_flow: Option<FlowId>,
    flows: BTreeMap<FlowId, FlowRecord>,
    spec_bytes: BTreeMap<(FlowId, u32), Arc<[u8]>>,
    jobs: BTreeMap<JobId, JobRecord>,
    targets: BTreeMap<(JobId, u32), Arc<str>>,
    trees: BTreeMap<(JobId, u32), Arc<str>>,
    params: BTreeMap<JobId, Params>,
    tasks: BTreeMap<(JobId, u32), TaskRecord>,
    ends: BTreeMap<(JobId, HostName, u32), EndRecord>,
    players: BTreeMap<HostName, PlayerRecord>,
    pub holds: BTreeMap<HostName, HoldRecord>,
    /// The files beside the store.
    pub deployments: Arc<Deployments>,
    /// An operator retries tasks of living flows.
    pub may_retry: bool,
    /// How many operations were written.
    pub written: usize,
    /// Specs by the number that stands for them in bytes.
    specs: Vec<FlowSpec>,
}

impl Disk {
    /// Stands for a spec in bytes.
    pub fn encode_spec(&mut self, spec: &FlowSpec) -> Arc<[u8]> {
        self.specs.push(spec.clone());
        (self.specs.len() as u64 - 1).to_le_bytes().as_slice().into()
    }

    pub fn write(&mut self, op: Op) {
        self.written += 1;
        match op {
            Op::Put(record) => self.put(record),
            Op::EraseParams(job) => drop(self.params.remove(&job)),
            Op::Release(host) => drop(self.holds.remove(&host)),
            Op::PruneAudit(_) | Op::PruneVersion(..) | Op::Displace(..) | Op::ForgetBundle(_) => {}
            Op::PruneFlow(flow) => {
                self.flows.remove(&flow);
                self.jobs.retain(|job, _| job.flow != flow);
                self.tasks.retain(|(job, _), _| job.flow != flow);
                self.ends.retain(|(job, ..), _| job.flow != flow);
            }
        }
    }

    fn put(&mut self, record: Record) {
        match record {
            Record::NextFlow(next) => self.next_flow = Some(next),
            Record::Recovered(recovered) => self.recovered = recovered,
            // What the engine is not told of.
            Record::InForce(_)
            | Record::Audit(_)
            | Record::Service(_)
            | Record::Version(_)
            | Record::Placement(_)
            | Record::Brakes(_)
            | Record::Bundle(_) => {}
            Record::Flow(flow) => {
                let before = self.flows.insert(flow.id, flow.clone());
                if let Some(before) = before.filter(|before| before.state.is_final()) {
                    assert_eq!(before, flow, "what ended stays as it ended");
                }
            }
            Record::Spec(chunk) => {
                drop(self.spec_bytes.insert((chunk.flow, chunk.index), chunk.bytes));
            }
            Record::Job(job) => {
                let before = self.jobs.insert(job.id, job.clone());
                if let Some(before) = before {
                    let kept = !before.state.is_final() || before == job;
                    assert!(kept, "what ended stays as it ended: {before:?} {job:?}");
                    let kept = !before.untouched.is_final() || before.untouched == job.untouched;
                    assert!(kept, "what was closed stays closed: {before:?} {job:?}");
                }
            }
            Record::Targets(chunk) => {
                drop(self.targets.insert((chunk.job, chunk.index), chunk.text));
            }
            Record::Tree(chunk) => drop(self.trees.insert((chunk.job, chunk.index), chunk.text)),
            Record::Params(params) => drop(self.params.insert(params.job, params.params)),
            Record::Task(task) => {
                let before = self.tasks.insert((task.job, task.index), task.clone());
                // Unless somebody asks for a further attempt.
                let is_retried = task.state == TaskState::Waiting && self.may_retry;
                let ended = before.filter(|before| before.state.is_final() && !is_retried);
                if let Some(before) = ended {
                    assert_eq!(before, task, "what ended stays as it ended");
                }
            }
            Record::End(end) => {
                let key = (end.job, end.host.clone(), end.attempt);
                // The first word stays: a note never takes the place of an end.
                self.ends.entry(key).or_insert(end);
            }
            Record::Hold(hold) => drop(self.holds.insert(hold.host.clone(), hold)),
            Record::Player(player) => drop(self.players.insert(player.host.clone(), player)),
        }
    }

    /// An engine as it was when the store was written.
    pub fn rebuild(&self, settings: Settings) -> Engine {
        let request =
            |flow: &FlowRecord| (flow.audience.clone(), flow.request, flow.id, flow.state);
        let mut engine = Engine::recover(
            settings,
            Recovery {
                store: STORE,
                term: self.term,
                recovered: self.recovered,
                next_flow: self.next_flow.unwrap_or(FlowId(1)),
                players: self.players.values().cloned().collect(),
                requests: self.flows.values().map(request).collect(),
                holds: self.holds.values().cloned().collect(),
                deployments: Arc::clone(&self.deployments),
                doubt: None,
            },
        );
        for record in self.flows.values().filter(|flow| !flow.state.is_final()) {
            let jobs = self.jobs(record.id).into_iter().map(|job| self.recovered_job(job));
            engine.restore(RecoveredFlow {
                record: record.clone(),
                spec: self.spec(record.id),
                jobs: jobs.collect(),
            });
        }
        engine
    }

    fn recovered_job(&self, job: JobId) -> RecoveredJob {
        let pieces = self.targets.range((job, 0)..=(job, u32::MAX)).map(|(_, text)| &**text);
        let tree = self.trees.range((job, 0)..=(job, u32::MAX)).map(|(_, text)| &**text);
        RecoveredJob {
            record: self.jobs[&job].clone(),
            targets: HostSet::parse_plain(&pieces.collect::<String>()).unwrap(),
            tree: TreeShape::from_text(&tree.collect::<String>()).unwrap(),
            params: self.params.get(&job).cloned().unwrap_or_default(),
            tasks: self.tasks.range((job, 0)..=(job, u32::MAX)).map(|(_, t)| t.clone()).collect(),
        }
    }

    fn spec(&self, flow: FlowId) -> FlowSpec {
        let bytes: [u8; 8] = (*self.spec_bytes[&(flow, 0)]).try_into().unwrap();
        self.specs[usize::try_from(u64::from_le_bytes(bytes)).unwrap()].clone()
    }

    /// The last change of each flow, of its tasks and of jobs that ended.
    pub fn last_changes(&self) -> BTreeMap<FlowId, u64> {
        let jobs = self.jobs.values().map(|job| (job.id.flow, job.change));
        let tasks = self.tasks.values().map(|task| (task.job.flow, task.change));
        let mut last = BTreeMap::new();
        for (flow, change) in jobs.chain(tasks) {
            let known: &mut u64 = last.entry(flow).or_default();
            *known = change.max(*known);
        }
        last
    }

    pub fn next_flow(&self) -> Option<FlowId> {
        self.next_flow
    }

    pub fn flow(&self, flow: FlowId) -> Option<&FlowRecord> {
        self.flows.get(&flow)
    }

    pub fn flows(&self) -> impl Iterator<Item = &FlowRecord> {
        self.flows.values()
    }

    pub fn spec_of(&self, flow: FlowId) -> FlowSpec {
        self.spec(flow)
    }

    pub fn jobs(&self, flow: FlowId) -> Vec<JobId> {
        self.jobs.keys().filter(|job| job.flow == flow).copied().collect()
    }

    /// The records of all jobs as the first release wrote them: without what their limits come to.
    pub fn forget_thresholds(&mut self) {
        for job in self.jobs.values_mut() {
            job.thresholds = None;
        }
    }

    pub fn job(&self, job: JobId) -> &JobRecord {
        &self.jobs[&job]
    }

    pub fn score_of(&self, job: JobId) -> Option<ScoreName> {
        Some(self.jobs.get(&job)?.score.clone())
    }

    pub fn has_params(&self, job: JobId) -> bool {
        self.params.contains_key(&job)
    }

    pub fn task(&self, job: JobId, index: u32) -> Option<&TaskRecord> {
        self.tasks.get(&(job, index))
    }

    /// Whether an attempt was sent there, or a later one.
    pub fn has_attempt(&self, job: JobId, host: &HostName, attempt: u32) -> bool {
        let mut tasks = self.tasks.range((job, 0)..=(job, u32::MAX)).map(|(_, task)| task);
        tasks.any(|task| task.host == *host && task.attempt >= attempt)
    }

    pub fn player(&self, name: &str) -> &PlayerRecord {
        &self.players[name]
    }

    pub fn end(&self, job: JobId, name: &str, attempt: u32) -> Option<&EndRecord> {
        self.ends.get(&(job, HostName::new(name).unwrap(), attempt))
    }

    /// What each task of a job is, from its record or from what the job's says of the others.
    pub fn final_states(&self, job: JobId) -> Vec<TaskState> {
        let record = &self.jobs[&job];
        let state = |index| match self.tasks.get(&(job, index)).map(|task| task.state) {
            None | Some(TaskState::Waiting) => record.untouched,
            Some(state) => state,
        };
        (0..record.tasks).map(state).collect()
    }
}
