//! The writer between batches.

use orchestra_model::{
    FlowId,
    delivery::{ProofKeyId, StoreId},
    record::Record,
};
use orchestra_store::{
    Fault, MemoryDisk, MemoryStore, ReadError, Readers, StoreIdentity,
    contract::{flow_record, job, small_flow, task_record},
};

use super::*;

/// A store that tells, for each step of sweeping, whether it was the last.
struct Watched {
    store: MemoryStore,
    steps: tokio_mpsc::UnboundedSender<Result<bool, ()>>,
}

impl Store for Watched {
    fn identity(&self) -> StoreIdentity {
        self.store.identity()
    }

    fn commit(&mut self, batch: &[Op]) -> Result<(), CommitError> {
        self.store.commit(batch)
    }

    fn raise_term(&mut self, seen: Term, key: ProofKeyId) -> Result<Term, CommitError> {
        self.store.raise_term(seen, key)
    }

    fn proof_key(&self) -> Result<Option<ProofKeyId>, ReadError> {
        self.store.proof_key()
    }

    fn set_proof_key(&mut self, key: ProofKeyId) -> Result<(), CommitError> {
        self.store.set_proof_key(key)
    }

    fn sweep(&mut self, limit: usize) -> Result<bool, CommitError> {
        let swept = self.store.sweep(limit);
        let _ = self.steps.send(swept.as_ref().map_err(|_| ()).copied());
        swept
    }

    fn tidy(&mut self) -> Result<bool, CommitError> {
        self.store.tidy()
    }

    fn readers(&self) -> std::sync::Arc<dyn Readers> {
        self.store.readers()
    }
}

/// Returns a key file where no key is ever made.
fn no_keys() -> KeyFile {
    KeyFile::new(std::path::Path::new("/nonexistent"))
}

type Steps = tokio_mpsc::UnboundedReceiver<Result<bool, ()>>;

fn start(disk: &MemoryDisk) -> (Writer, Steps) {
    let (steps, told) = tokio_mpsc::unbounded_channel();
    let store = Watched { store: disk.open(), steps };
    (Writer::start(Box::new(store), no_keys()).unwrap(), told)
}

fn disk() -> MemoryDisk {
    MemoryDisk::new(StoreId([1; 16]))
}

/// A flow that takes many steps.
fn large_flow() -> Vec<Op> {
    let tasks = (0..500).map(|index| Op::Put(Record::Task(task_record(job(1, 1, 1), index))));
    tasks.chain([Op::Put(Record::Flow(flow_record(1)))]).collect()
}

async fn until_swept(steps: &mut Steps) -> usize {
    let mut taken = 0;
    while let Some(step) = steps.recv().await {
        taken += 1;
        if step.unwrap() {
            break;
        }
    }
    taken
}

#[tokio::test]
async fn sweeps_what_it_pruned_and_what_its_forerunner_did() {
    let disk = disk();
    let mut before = disk.open();
    before.commit(&large_flow()).unwrap();
    before.commit(&[Op::PruneFlow(FlowId(1))]).unwrap();
    let (mut writer, mut steps) = start(&disk);
    assert!(until_swept(&mut steps).await > 1, "a large flow goes step by step");
    writer.send(Write::Commit(small_flow(2)));
    writer.send(Write::Commit(vec![Op::PruneFlow(FlowId(2))]));
    until_swept(&mut steps).await;
    for _ in 0..2 {
        assert!(matches!(writer.done.recv().await, Some(Written::Committed)));
    }
    writer.close().await;
    assert!(steps.recv().await.is_none(), "then it rests");
}

#[tokio::test]
async fn sweeps_although_batches_never_cease() {
    let disk = disk();
    let (mut writer, mut steps) = start(&disk);
    let prune = |flow| Write::Commit(vec![Op::PruneFlow(FlowId(flow))]);
    writer.send(Write::Commit(large_flow()));
    writer.send(prune(1));
    let (mut has_begun, mut is_done) = (false, false);
    while !is_done {
        // So that a batch always waits.
        writer.send(prune(9));
        assert!(matches!(writer.done.recv().await, Some(Written::Committed)));
        while let Ok(step) = steps.try_recv() {
            let was_last = step.unwrap();
            is_done |= has_begun && was_last;
            has_begun |= !was_last;
        }
    }
    writer.close().await;
}

#[tokio::test]
async fn a_step_that_fails_is_not_repeated_at_once_and_stops_nothing() {
    let disk = disk();
    let mut before = disk.open();
    before.commit(&small_flow(1)).unwrap();
    before.commit(&[Op::PruneFlow(FlowId(1))]).unwrap();
    disk.fail_next(Fault::Full);
    let (mut writer, mut steps) = start(&disk);
    assert_eq!(steps.recv().await, Some(Err(())));
    writer.send(Write::Commit(small_flow(2)));
    assert!(matches!(writer.done.recv().await, Some(Written::Committed)));
    assert!(steps.try_recv().is_err());
    writer.send(Write::Commit(vec![Op::PruneFlow(FlowId(2))]));
    until_swept(&mut steps).await;
    writer.close().await;
}
