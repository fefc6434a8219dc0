//! A store in memory, for tests and simulation: what it commits is on a [`MemoryDisk`], which
//! outlives it, can be copied as a backup is, and can be told to fail.

mod tables;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use orchestra_model::{
    delivery::{ProofKeyId, StoreId, Term},
    record::{Op, Record},
};

use self::tables::Tables;
use crate::{
    ATOMIC_BYTES, ATOMIC_OPS, CommitError, ReadError, Reader, Readers, Store, StoreIdentity,
    term_above,
};

/// What a store in memory writes to. Clones are the same disk.
#[derive(Clone, Debug)]
pub struct MemoryDisk(Arc<Mutex<Disk>>);

/// How the next commit, or step of sweeping, fails; then the disk is well again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// No space: nothing is kept.
    Full,
    /// As a crash in the middle: this many operations are kept at most, the whole batch or
    /// nothing where it is small enough to be atomic, and the writer is at its end. Of a step of
    /// sweeping, this many records are removed.
    Torn(usize),
}

#[derive(Debug)]
struct Disk {
    store: StoreId,
    term: Term,
    proof_key: Option<ProofKeyId>,
    fault: Option<Fault>,
    /// Readers keep the moment that they saw; the writer copies it when it has to.
    tables: Arc<Tables>,
}

impl MemoryDisk {
    /// An empty disk, for a store with this id.
    pub fn new(store: StoreId) -> Self {
        let tables = Arc::new(Tables::default());
        Self(Arc::new(Mutex::new(Disk {
            store,
            term: Term(0),
            proof_key: None,
            fault: None,
            tables,
        })))
    }

    /// Opens the store that is on it and raises its term, which fences off any other writer.
    pub fn open(&self) -> MemoryStore {
        let mut disk = self.lock();
        Arc::make_mut(&mut disk.tables).note_orphans();
        disk.term = term_above(disk.term, Term(0));
        let identity = StoreIdentity { store: disk.store, term: disk.term };
        drop(disk);
        MemoryStore { disk: self.clone(), identity, broken: false }
    }

    /// Another disk with what is on this one now: a backup.
    #[must_use]
    pub fn copy(&self) -> Self {
        let disk = self.lock();
        let tables = Arc::clone(&disk.tables);
        let Disk { store, term, proof_key, .. } = *disk;
        Self(Arc::new(Mutex::new(Disk { store, term, proof_key, fault: None, tables })))
    }

    /// Makes the next commit, or step of sweeping, fail.
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
    identity: StoreIdentity,
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

    /// Changes what is on the disk. `work` is told how many operations a crash lets it carry out,
    /// and says whether that was too few.
    fn write<T>(
        &mut self,
        work: impl FnOnce(&mut Tables, Option<usize>) -> Result<T, CutShort>,
    ) -> Result<T, CommitError> {
        let mut disk = self.writable()?;
        let most = match disk.fault.take() {
            None => None,
            Some(Fault::Full) => return Err(CommitError::Full("a fault was asked for".into())),
            Some(Fault::Torn(kept)) => Some(kept),
        };
        let done = work(Arc::make_mut(&mut disk.tables), most);
        drop(disk);
        done.map_err(|CutShort| {
            self.broken = true;
            CommitError::Broken("a fault was asked for".into())
        })
    }
}

/// A crash came in the middle.
struct CutShort;

impl Store for MemoryStore {
    fn identity(&self) -> StoreIdentity {
        self.identity
    }

    fn commit(&mut self, batch: &[Op]) -> Result<(), CommitError> {
        let is_atomic =
            batch.len() <= ATOMIC_OPS && batch.iter().map(contents).sum::<usize>() <= ATOMIC_BYTES;
        self.write(|tables, most| {
            let kept = match most {
                Some(kept) if is_atomic && kept < batch.len() => 0,
                Some(kept) => kept,
                None => batch.len(),
            };
            batch.iter().take(kept).for_each(|op| tables.apply(op));
            if kept < batch.len() { Err(CutShort) } else { Ok(()) }
        })
    }

    fn sweep(&mut self, limit: usize) -> Result<bool, CommitError> {
        let limit = limit.max(1);
        self.write(|tables, most| {
            let kept = most.map_or(limit, |most| most.min(limit));
            let is_done = tables.sweep(kept);
            if !is_done && kept < limit { Err(CutShort) } else { Ok(is_done) }
        })
    }

    fn raise_term(&mut self, seen: Term, key: ProofKeyId) -> Result<Term, CommitError> {
        let mut disk = self.writable()?;
        let term = term_above(disk.term, seen);
        disk.term = term;
        disk.proof_key = Some(key);
        drop(disk);
        self.identity.term = term;
        Ok(term)
    }

    fn proof_key(&self) -> Result<Option<ProofKeyId>, ReadError> {
        Ok(self.disk.lock().proof_key)
    }

    fn set_proof_key(&mut self, key: ProofKeyId) -> Result<(), CommitError> {
        self.writable()?.proof_key = Some(key);
        Ok(())
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
        Op::Put(Record::Tree(chunk)) => chunk.text.len(),
        Op::Put(Record::End(end)) => end.end.as_slice().len(),
        Op::Put(Record::Params(record)) => {
            record.params.iter().map(|(key, value)| key.as_str().len() + value.len()).sum()
        }
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use orchestra_model::FlowId;

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
        // Two flows of eighteen operations, and two of the third's.
        let cases = [(small_flow(1), 15, FlowId(1)), (long, 38, FlowId(4))];
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
    fn a_crash_at_any_point_of_a_sweep_shows_nothing_and_the_next_start_goes_on() {
        const PIECES: usize = 34;
        for kept in 0..=PIECES {
            let disk = disk();
            let mut store = disk.open();
            (1..=3).for_each(|flow| store.commit(&small_flow(flow)).unwrap());
            let prune = [Op::PruneFlow(FlowId(1)), Op::PruneFlow(FlowId(3))];
            store.commit(&prune).unwrap();
            disk.fail_next(Fault::Torn(kept));
            let swept = store.sweep(1_000);
            assert_eq!(swept.is_ok(), kept == PIECES, "{swept:?}");
            let mut store = disk.open();
            let reader = store.reader().unwrap();
            for flow in [1, 3].map(FlowId) {
                assert_eq!(reader.flow(flow).unwrap(), None);
                assert_eq!(reader.jobs(flow).unwrap(), []);
            }
            assert_eq!(reader.jobs(FlowId(2)).unwrap().len(), 2);
            disk.fail_next(Fault::Full);
            assert!(store.sweep(1_000).unwrap_err().is_retryable());
            assert!(store.sweep(1_000).unwrap());
            assert_eq!(disk.lock().tables.pieces(), 16, "those of flow 2");
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
        assert_eq!(restored.identity(), StoreIdentity { store: StoreId([1; 16]), term: Term(2) });
        assert_eq!(restored.reader().unwrap().next_flow().unwrap(), FlowId(2));
        store.commit(&small_flow(3)).unwrap();
    }
}
