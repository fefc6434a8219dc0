//! The conductor's durable records: one trait, [`Store`], with an embedded implementation in
//! SQLite ([`SqliteStore`]) and one in memory for tests and simulation ([`MemoryStore`]).
//!
//! A store keeps the records of [`orchestra_model::record`] and owns their encoding and version.
//! It has one writer and any number of [`Reader`]s, each of which sees one moment and never holds
//! up the writer.
//!
//! What holds for every store, and is checked by the suite in `contract`:
//!
//! - A batch is durable when [`Store::commit`] returned. After a crash, what is there is a prefix
//!   of what was committed, cut between operations; a batch of up to [`ATOMIC_OPS`] operations
//!   and [`ATOMIC_BYTES`] bytes is there as a whole or not at all.
//! - Opening raises the term durably, so that of two conductors on one store the older is fenced
//!   off at its next commit.
//! - A flow that is pruned is gone for readers at once, and so is, from opening on, what belongs
//!   to no flow: pieces of a submission whose [`FlowRecord`] was never written. Either takes no
//!   longer for a large flow; [`Store::sweep`] makes its room free, a little at a time.
//! - What cannot be decoded, or was written by a newer release, is an error that names its place.
//!   Nothing is half read.
//!
//! [`WriteAhead`] keeps the order in which whoever owns a store writes and acts: nothing that rests
//! on a record is done before that is on disk.
//!
//! Left to others: what the records mean, and when which of them is written or pruned (the flow
//! scheduler); running the writer on a thread of its own, and stopping at
//! [`CommitError::Broken`] (the conductor).

mod batch;
#[cfg(any(test, feature = "contract"))]
pub mod contract;
mod error;
mod memory;
mod pieces;
mod sqlite;
mod write_ahead;

use std::sync::Arc;

use orchestra_model::{
    Asker, FlowId, FlowState, HostName, JobId, Params, Timestamp,
    audit::{AuditMark, AuditRecord},
    bundle::RegisteredBundle,
    delivery::{ProofKeyId, RequestId, StoreId, Term},
    record::{
        EndRecord, FlowRecord, HoldRecord, InForce, JobRecord, Op, PlayerRecord, Recovered,
        TaskRecord,
    },
    service::{Brakes, PlacementRecord, ServiceRecord, VersionRecord},
};

pub use crate::{
    error::{CommitError, Kept, OpenError, ReadError},
    memory::{Fault, MemoryDisk, MemoryStore},
    sqlite::SqliteStore,
    write_ahead::{Flushed, WriteAhead},
};

/// Up to this many operations, a batch is there as a whole or not at all: what a transaction of
/// etcd takes by default, less a reserve.
pub const ATOMIC_OPS: usize = 100;

/// Up to this many bytes of contents, a batch is there as a whole or not at all.
pub const ATOMIC_BYTES: usize = 1 << 20;

/// The term after the larger of `own` and `seen`.
fn term_above(own: Term, seen: Term) -> Term {
    const REACHABLE: u64 = 1 << 62;
    match seen.0 {
        0..=REACHABLE => Term(own.max(seen).0 + 1),
        _ => Term(own.0 + 1),
    }
}

/// Whose records these are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreIdentity {
    /// Made with the store, and kept for its life.
    pub store: StoreId,
    /// Of this writer.
    pub term: Term,
}

/// The one writer of a store.
pub trait Store: Send {
    /// Whose records these are, with the term that opening, or [`Store::raise_term`], has set.
    fn identity(&self) -> StoreIdentity;

    /// Carries out `batch` in order; durable when it returns.
    ///
    /// Operations say what shall be there, not what changes, so that the same batch can be tried
    /// again whatever part of it was kept. Of a flow that was pruned nothing more may be put: flow
    /// numbers are used once.
    fn commit(&mut self, batch: &[Op]) -> Result<(), CommitError>;

    /// Sets the term to the one after the larger of its own and `seen`, durably, and returns it.
    ///
    /// A store restored from a backup may be behind what players have `seen` of it, and they
    /// refuse its orders until its term is above that. What no store can have reached, above
    /// 2^62, was never seen and counts for nothing.
    ///
    /// The store's proof key is `key` from then on. Term and key change together or not at all, so
    /// that nothing is ever proven under the new term with the old key.
    fn raise_term(&mut self, seen: Term, key: ProofKeyId) -> Result<Term, CommitError>;

    /// The id of the proof key that orders of this store are proven with; `None` while none was
    /// made for it.
    fn proof_key(&self) -> Result<Option<ProofKeyId>, ReadError>;

    /// Sets the id of the proof key of a store that has none, durably.
    fn set_proof_key(&mut self, key: ProofKeyId) -> Result<(), CommitError>;

    /// Removes what is left of pruned flows, a step: at most about `limit` records, fewer where
    /// they are large. True once nothing is left; after opening, that is not known before the
    /// first step.
    fn sweep(&mut self, limit: usize) -> Result<bool, CommitError>;

    /// Housekeeping for quiet moments, at best once a minute: brings what was committed to its
    /// final place. Once it returned true, nothing is left of parameters erased before it.
    ///
    /// False means that a reader still holds an older moment: ask again later.
    fn tidy(&mut self) -> Result<bool, CommitError>;

    /// Where readers come from; for other threads to keep.
    fn readers(&self) -> Arc<dyn Readers>;

    /// A reader of this moment.
    fn reader(&self) -> Result<Box<dyn Reader>, ReadError> {
        self.readers().open()
    }
}

/// Where readers come from. It outlives the writer.
pub trait Readers: Send + Sync {
    /// A reader of this moment: it sees every batch that was committed before, and none after.
    fn open(&self) -> Result<Box<dyn Reader>, ReadError>;
}

/// One moment of the store.
///
/// Dropping it soon is a courtesy: as long as it is held, the space of what was replaced since
/// cannot be used again. A long listing takes a reader a page.
pub trait Reader: Send {
    /// The next flow id to issue: 1 in a new store.
    fn next_flow(&self) -> Result<FlowId, ReadError>;

    /// The last recovery from an old copy; the default where there was none.
    fn recovered(&self) -> Result<Recovered, ReadError>;

    /// The limits in force; none where no fleet was loaded by a release that remembers them.
    fn in_force(&self) -> Result<InForce, ReadError>;

    /// Every service, by name; those that were removed among them.
    fn services(&self) -> Result<Vec<ServiceRecord>, ReadError>;

    /// Every version of every service that is kept, by service and version; also of services that were
    /// never written themselves, because a crash came between.
    fn versions(&self) -> Result<Vec<VersionRecord>, ReadError>;

    /// Every instance that was placed, by service and host.
    fn placements(&self) -> Result<Vec<PlacementRecord>, ReadError>;

    /// What holds replacements back; nothing where no release that knows of it has written.
    fn brakes(&self) -> Result<Brakes, ReadError>;

    /// Every bundle that is registered, in no particular order.
    fn bundles(&self) -> Result<Vec<RegisteredBundle>, ReadError>;

    /// Every player, by name.
    fn players(&self) -> Result<Vec<PlayerRecord>, ReadError>;

    /// Every host that is down and keeps its cells, by name.
    fn holds(&self) -> Result<Vec<HoldRecord>, ReadError>;

    /// Every flow whose state is not final, oldest first.
    fn live_flows(&self) -> Result<Vec<FlowRecord>, ReadError>;

    /// One flow.
    fn flow(&self, flow: FlowId) -> Result<Option<FlowRecord>, ReadError>;

    /// At most `limit` flows older than `before`, newest first; with `only_alive`, those whose
    /// state is not final.
    fn flows(
        &self,
        limit: usize,
        before: Option<FlowId>,
        only_alive: bool,
    ) -> Result<Vec<FlowRecord>, ReadError>;

    /// At most `limit` flows that ended at that moment or before, the earliest end first.
    fn ended_by(&self, moment: Timestamp, limit: usize) -> Result<Vec<FlowId>, ReadError>;

    /// At most `limit` of the flows that ended, without those `kept` that ended last: the latest end
    /// first.
    fn ended_before_the_last(&self, kept: usize, limit: usize) -> Result<Vec<FlowId>, ReadError>;

    /// The newest flow of an audience: what `last` means.
    fn newest_of(&self, audience: &Asker) -> Result<Option<FlowId>, ReadError>;

    /// The flow that an audience submitted with a request id; the oldest, were there several.
    fn request(&self, audience: &Asker, request: RequestId) -> Result<Option<FlowId>, ReadError>;

    /// Who submitted which flow with which request id, and where it is, oldest first.
    fn requests(&self) -> Result<Vec<(Asker, RequestId, FlowId, FlowState)>, ReadError>;

    /// The bytes of a flow's spec as they came, all pieces joined; `None` where there are none.
    fn spec(&self, flow: FlowId) -> Result<Option<Vec<u8>>, ReadError>;

    /// The jobs of a flow, by slot and job.
    fn jobs(&self, flow: FlowId) -> Result<Vec<JobRecord>, ReadError>;

    /// One job.
    fn job(&self, job: JobId) -> Result<Option<JobRecord>, ReadError>;

    /// A job's folded host set, all pieces joined; `None` where there are none.
    fn targets(&self, job: JobId) -> Result<Option<String>, ReadError>;

    /// The hosts of a job's tree, all pieces joined; `None` where there are none.
    fn tree(&self, job: JobId) -> Result<Option<String>, ReadError>;

    /// A job's parameters; `None` where it had none, or they were erased.
    fn params(&self, job: JobId) -> Result<Option<Params>, ReadError>;

    /// At most `limit` of a job's tasks that have a record, those after index `after`, by index.
    fn tasks(
        &self,
        job: JobId,
        after: Option<u32>,
        limit: usize,
    ) -> Result<Vec<TaskRecord>, ReadError>;

    /// The task of a job on a host, if it has a record.
    fn task_by_host(&self, job: JobId, host: &HostName) -> Result<Option<TaskRecord>, ReadError>;

    /// How each attempt of a job on a host ended, by attempt.
    fn ends(&self, job: JobId, host: &HostName) -> Result<Vec<EndRecord>, ReadError>;

    /// How one attempt of a job on a host ended.
    fn end(
        &self,
        job: JobId,
        host: &HostName,
        attempt: u32,
    ) -> Result<Option<EndRecord>, ReadError>;

    /// The newest audit line, by its number and its link; number 0 where there never was one.
    fn audit_head(&self) -> Result<AuditMark, ReadError>;

    /// The last audit line that was removed; number 0 where none was. Its link is not known where an
    /// earlier release removed it.
    fn audit_base(&self) -> Result<AuditMark, ReadError>;

    /// The numbers and times of the oldest audit lines, at most `limit`.
    fn oldest_audit(&self, limit: usize) -> Result<Vec<(u64, Timestamp)>, ReadError>;

    /// At most `limit` audit lines below number `before`, newest first.
    fn audit(&self, limit: usize, before: Option<u64>) -> Result<Vec<AuditRecord>, ReadError>;

    /// At most `limit` audit lines above number `after`, oldest first.
    fn audit_after(&self, after: u64, limit: usize) -> Result<Vec<AuditRecord>, ReadError>;

    /// Calls `each` with every task of a job that has a record, by index, keeping at most a page
    /// of them in memory at a time: how a conductor recovers a flow of a million tasks.
    fn each_task(&self, job: JobId, each: &mut dyn FnMut(TaskRecord)) -> Result<(), ReadError> {
        /// Large enough that starting a page costs nothing beside reading it.
        const PAGE: usize = 1_000;
        let mut after = None;
        loop {
            let page = self.tasks(job, after, PAGE)?;
            let Some(last) = page.last() else {
                return Ok(());
            };
            after = Some(last.index);
            page.into_iter().for_each(&mut *each);
        }
    }
}
