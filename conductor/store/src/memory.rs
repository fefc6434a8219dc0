//! A store in memory, for tests and simulation: what it commits is on a [`MemoryDisk`], which
//! outlives it, can be copied as a backup is, and can be told to fail.

use std::{
    collections::BTreeMap,
    ops::Bound,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use orchestra_model::{
    AudienceName, FlowId, HostName, JobId, Params,
    delivery::{RequestId, StoreId, Term},
    record::{EndRecord, FlowRecord, JobRecord, Op, PlayerRecord, Record, TaskRecord},
};

use crate::{
    ATOMIC_BYTES, ATOMIC_OPS, CommitError, Identity, ReadError, Reader, Readers, Store, pieces,
    term_above,
};

/// What a store in memory writes to. Clones are the same disk.
#[derive(Clone, Debug)]
pub struct MemoryDisk(Arc<Mutex<Disk>>);

/// How the next commit fails; then the disk is well again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// No space: nothing is kept.
    Full,
    /// As a crash in the middle: this many operations are kept at most, the whole batch or
    /// nothing where it is small enough to be atomic, and the writer is at its end.
    Torn(usize),
}

#[derive(Debug)]
struct Disk {
    store: StoreId,
    term: Term,
    fault: Option<Fault>,
    /// Readers keep the moment that they saw; the writer copies it when it has to.
    tables: Arc<Tables>,
}

impl MemoryDisk {
    /// An empty disk, for a store with this id.
    pub fn new(store: StoreId) -> Self {
        let tables = Arc::new(Tables::default());
        Self(Arc::new(Mutex::new(Disk { store, term: Term(0), fault: None, tables })))
    }

    /// Opens the store that is on it and raises its term, which fences off any other writer.
    pub fn open(&self) -> MemoryStore {
        let mut disk = self.lock();
        Arc::make_mut(&mut disk.tables).drop_orphans();
        disk.term = term_above(disk.term, Term(0));
        let identity = Identity { store: disk.store, term: disk.term };
        drop(disk);
        MemoryStore { disk: self.clone(), identity, broken: false }
    }

    /// Another disk with what is on this one now: a backup.
    #[must_use]
    pub fn copy(&self) -> Self {
        let disk = self.lock();
        let tables = Arc::clone(&disk.tables);
        Self(Arc::new(Mutex::new(Disk { store: disk.store, term: disk.term, fault: None, tables })))
    }

    /// Makes the next commit fail.
    pub fn fail_next(&self, fault: Fault) {
        self.lock().fault = Some(fault);
    }

    fn lock(&self) -> MutexGuard<'_, Disk> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A store in memory.
#[derive(Debug)]
pub struct MemoryStore {
    disk: MemoryDisk,
    identity: Identity,
    broken: bool,
}

impl MemoryStore {
    /// The disk, if this writer may still write to it.
    fn writable(&self) -> Result<MutexGuard<'_, Disk>, CommitError> {
        if self.broken {
            return Err(CommitError::Broken("an earlier commit failed".into()));
        }
        let disk = self.disk.lock();
        let (ours, stored) = (self.identity.term, disk.term);
        if stored != ours {
            return Err(CommitError::Fenced { ours, stored });
        }
        Ok(disk)
    }
}

impl Store for MemoryStore {
    fn identity(&self) -> Identity {
        self.identity
    }

    fn commit(&mut self, batch: &[Op]) -> Result<(), CommitError> {
        let mut disk = self.writable()?;
        let kept = match disk.fault.take() {
            None => batch.len(),
            Some(Fault::Full) => return Err(CommitError::Full("a fault was asked for".into())),
            Some(Fault::Torn(kept)) => {
                let is_atomic = batch.len() <= ATOMIC_OPS
                    && batch.iter().map(contents).sum::<usize>() <= ATOMIC_BYTES;
                if is_atomic && kept < batch.len() { 0 } else { kept.min(batch.len()) }
            }
        };
        let torn = kept < batch.len();
        let tables = Arc::make_mut(&mut disk.tables);
        batch.iter().take(kept).for_each(|op| tables.apply(op));
        drop(disk);
        if torn {
            self.broken = true;
            return Err(CommitError::Broken("a fault was asked for".into()));
        }
        Ok(())
    }

    fn raise_term(&mut self, seen: Term) -> Result<Term, CommitError> {
        let mut disk = self.writable()?;
        let term = term_above(disk.term, seen);
        disk.term = term;
        drop(disk);
        self.identity.term = term;
        Ok(term)
    }

    fn tidy(&mut self) -> Result<bool, CommitError> {
        self.writable().map(|_| true)
    }

    fn readers(&self) -> Arc<dyn Readers> {
        Arc::new(self.disk.clone())
    }
}

impl Readers for MemoryDisk {
    fn open(&self) -> Result<Box<dyn Reader>, ReadError> {
        Ok(Box::new(Arc::clone(&self.lock().tables)))
    }
}

/// How many bytes of contents an operation carries, as far as it can be many.
fn contents(op: &Op) -> usize {
    match op {
        Op::Put(Record::Spec(chunk)) => chunk.bytes.len(),
        Op::Put(Record::Targets(chunk)) => chunk.text.len(),
        Op::Put(Record::End(end)) => end.end.len(),
        Op::Put(Record::Params(record)) => {
            record.params.iter().map(|(key, value)| key.as_str().len() + value.len()).sum()
        }
        _ => 0,
    }
}

#[derive(Clone, Debug, Default)]
struct Tables {
    next_flow: Option<FlowId>,
    recovered: Term,
    flows: BTreeMap<FlowId, FlowRecord>,
    spec: BTreeMap<(FlowId, u32), Arc<[u8]>>,
    jobs: BTreeMap<JobId, JobRecord>,
    targets: BTreeMap<(JobId, u32), Arc<str>>,
    params: BTreeMap<JobId, Params>,
    tasks: BTreeMap<(JobId, u32), TaskRecord>,
    ends: BTreeMap<(JobId, HostName, u32), EndRecord>,
    players: BTreeMap<HostName, PlayerRecord>,
}

impl Tables {
    fn apply(&mut self, op: &Op) {
        match op {
            Op::Put(record) => self.put(record.clone()),
            Op::EraseParams(job) => {
                self.params.remove(job);
            }
            Op::PruneFlow(flow) => {
                self.flows.remove(flow);
                self.retain_parts(|of| of != *flow);
            }
        }
    }

    fn put(&mut self, record: Record) {
        match record {
            Record::NextFlow(next) => self.next_flow = Some(next),
            Record::Recovered(term) => self.recovered = term,
            Record::Flow(flow) => drop(self.flows.insert(flow.id, flow)),
            Record::Spec(chunk) => drop(self.spec.insert((chunk.flow, chunk.index), chunk.bytes)),
            Record::Job(job) => drop(self.jobs.insert(job.id, job)),
            Record::Targets(chunk) => {
                drop(self.targets.insert((chunk.job, chunk.index), chunk.text));
            }
            Record::Params(record) => drop(self.params.insert(record.job, record.params)),
            Record::Task(task) => drop(self.tasks.insert((task.job, task.index), task)),
            Record::End(end) => {
                let key = (end.job, end.host.clone(), end.attempt);
                self.ends.entry(key).or_insert(end);
            }
            Record::Player(player) => drop(self.players.insert(player.host.clone(), player)),
        }
    }

    /// Removes what a submission wrote that did not get as far as its flow's record.
    fn drop_orphans(&mut self) {
        let newest = self.flows.keys().next_back().copied().unwrap_or(FlowId(0));
        self.retain_parts(|flow| flow <= newest);
    }

    /// Keeps those parts of flows, but for the flows themselves, whose flow passes.
    fn retain_parts(&mut self, keep: impl Fn(FlowId) -> bool) {
        self.spec.retain(|(flow, _), _| keep(*flow));
        self.jobs.retain(|job, _| keep(job.flow));
        self.targets.retain(|(job, _), _| keep(job.flow));
        self.params.retain(|job, _| keep(job.flow));
        self.tasks.retain(|(job, _), _| keep(job.flow));
        self.ends.retain(|(job, ..), _| keep(job.flow));
    }
}

impl Reader for Arc<Tables> {
    fn next_flow(&self) -> Result<FlowId, ReadError> {
        Ok(self.next_flow.unwrap_or(FlowId(1)))
    }

    fn recovered(&self) -> Result<Term, ReadError> {
        Ok(self.recovered)
    }

    fn players(&self) -> Result<Vec<PlayerRecord>, ReadError> {
        Ok(self.players.values().cloned().collect())
    }

    fn live_flows(&self) -> Result<Vec<FlowRecord>, ReadError> {
        Ok(self.flows.values().filter(|flow| !flow.state.is_final()).cloned().collect())
    }

    fn flow(&self, flow: FlowId) -> Result<Option<FlowRecord>, ReadError> {
        Ok(self.flows.get(&flow).cloned())
    }

    fn flows(
        &self,
        limit: usize,
        before: Option<FlowId>,
        only_alive: bool,
    ) -> Result<Vec<FlowRecord>, ReadError> {
        let end = before.map_or(Bound::Unbounded, Bound::Excluded);
        let newest_first = self.flows.range((Bound::Unbounded, end)).rev().map(|(_, flow)| flow);
        let wanted = newest_first.filter(|flow| !only_alive || !flow.state.is_final());
        Ok(wanted.take(limit).cloned().collect())
    }

    fn newest_of(&self, audience: &AudienceName) -> Result<Option<FlowId>, ReadError> {
        let mut newest_first = self.flows.values().rev();
        Ok(newest_first.find(|flow| flow.audience == *audience).map(|flow| flow.id))
    }

    fn request(
        &self,
        audience: &AudienceName,
        request: RequestId,
    ) -> Result<Option<FlowId>, ReadError> {
        let mut flows = self.flows.values();
        let found = flows.find(|flow| flow.audience == *audience && flow.request == request);
        Ok(found.map(|flow| flow.id))
    }

    fn requests(&self) -> Result<Vec<(AudienceName, RequestId, FlowId)>, ReadError> {
        let flows = self.flows.values();
        Ok(flows.map(|flow| (flow.audience.clone(), flow.request, flow.id)).collect())
    }

    fn spec(&self, flow: FlowId) -> Result<Option<Vec<u8>>, ReadError> {
        let pieces = self.spec.range((flow, 0)..=(flow, u32::MAX));
        let numbered = pieces.map(|((_, number), bytes)| (*number, &**bytes));
        Ok(pieces::in_order("spec", flow, numbered)?.map(|pieces| pieces.concat()))
    }

    fn jobs(&self, flow: FlowId) -> Result<Vec<JobRecord>, ReadError> {
        let first = JobId { flow, slot: 0, job: 0 };
        let last = JobId { flow, slot: u16::MAX, job: u16::MAX };
        Ok(self.jobs.range(first..=last).map(|(_, job)| job.clone()).collect())
    }

    fn targets(&self, job: JobId) -> Result<Option<String>, ReadError> {
        let pieces = self.targets.range((job, 0)..=(job, u32::MAX));
        let numbered = pieces.map(|((_, number), text)| (*number, &**text));
        Ok(pieces::in_order("targets", job, numbered)?.map(|pieces| pieces.concat()))
    }

    fn params(&self, job: JobId) -> Result<Option<Params>, ReadError> {
        Ok(self.params.get(&job).cloned())
    }

    fn tasks(
        &self,
        job: JobId,
        after: Option<u32>,
        limit: usize,
    ) -> Result<Vec<TaskRecord>, ReadError> {
        let start = after.map_or(Bound::Included((job, 0)), |index| Bound::Excluded((job, index)));
        let range = self.tasks.range((start, Bound::Included((job, u32::MAX))));
        Ok(range.take(limit).map(|(_, task)| task.clone()).collect())
    }

    fn task_by_host(&self, job: JobId, host: &HostName) -> Result<Option<TaskRecord>, ReadError> {
        let mut tasks = self.tasks.range((job, 0)..=(job, u32::MAX)).map(|(_, task)| task);
        Ok(tasks.find(|task| task.host == *host).cloned())
    }

    fn ends(&self, job: JobId, host: &HostName) -> Result<Vec<EndRecord>, ReadError> {
        let ends = self.ends.range((job, host.clone(), 0)..=(job, host.clone(), u32::MAX));
        Ok(ends.map(|(_, end)| end.clone()).collect())
    }

    fn end(
        &self,
        job: JobId,
        host: &HostName,
        attempt: u32,
    ) -> Result<Option<EndRecord>, ReadError> {
        Ok(self.ends.get(&(job, host.clone(), attempt)).cloned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::{self, small_flow};

    fn disk() -> MemoryDisk {
        MemoryDisk::new(StoreId([1; 16]))
    }

    impl contract::Place for MemoryDisk {
        fn open(&self) -> Box<dyn Store> {
            Box::new(MemoryDisk::open(self))
        }

        fn take_over(&self) {
            MemoryDisk::open(self);
        }
    }

    #[test]
    fn it_keeps_the_contract() {
        contract::check(disk);
    }

    #[test]
    fn a_full_disk_keeps_nothing_once() {
        let disk = disk();
        let mut store = disk.open();
        disk.fail_next(Fault::Full);
        assert!(store.commit(&small_flow(1)).unwrap_err().is_retryable());
        assert_eq!(store.reader().unwrap().next_flow().unwrap(), FlowId(1));
        store.commit(&small_flow(1)).unwrap();
    }

    #[test]
    fn a_torn_commit_keeps_a_prefix_if_long_and_nothing_if_short() {
        let long: Vec<Op> = (1..=20).flat_map(small_flow).collect();
        // Two flows of sixteen operations, and two of the third's.
        let cases = [(small_flow(1), 15, FlowId(1)), (long, 34, FlowId(4))];
        for (batch, at, next) in cases {
            let disk = disk();
            let mut store = disk.open();
            disk.fail_next(Fault::Torn(at));
            assert!(matches!(store.commit(&batch), Err(CommitError::Broken(_))));
            assert!(matches!(store.commit(&[]), Err(CommitError::Broken(_))));
            let reader = disk.open().reader().unwrap();
            assert_eq!(reader.next_flow().unwrap(), next);
            assert_eq!(reader.jobs(FlowId(3)).unwrap(), [], "flow 3 was cut short");
        }
    }

    #[test]
    fn a_backup_stays_as_it_was() {
        let disk = disk();
        let mut store = disk.open();
        store.commit(&small_flow(1)).unwrap();
        let backup = disk.copy();
        store.commit(&small_flow(2)).unwrap();
        let restored = backup.open();
        assert_eq!(restored.identity(), Identity { store: StoreId([1; 16]), term: Term(2) });
        assert_eq!(restored.reader().unwrap().next_flow().unwrap(), FlowId(2));
        store.commit(&small_flow(3)).unwrap();
    }
}
