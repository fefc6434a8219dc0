//! Entries in players' queues whose tasks do not wait there any more.

use std::sync::Arc;

use orchestra_model::{JobId, Millis, Timestamp};

use crate::{
    ids::{PlayerIx, TaskKind},
    tables::job::Job,
};

/// Entries that may lie in players' queues: those of the first `left` targets of a job.
#[derive(Clone, Debug)]
pub(crate) struct Leftover {
    pub(crate) job: JobId,
    pub(crate) kind: Arc<TaskKind>,
    pub(crate) targets: Arc<[PlayerIx]>,
    pub(crate) left: u32,
    /// When the job began, and how long its tasks wait for an absent player: with it, the deadlines
    /// that were armed for them are found.
    pub(crate) give_up: Option<(Option<Timestamp>, Millis)>,
}

impl Leftover {
    pub(crate) fn of(job: &Job) -> Self {
        let hosts = || u32::try_from(job.targets().len()).unwrap_or(u32::MAX);
        let left = if job.is_one_of() { hosts() } else { job.parked_below() };
        Self {
            job: job.id(),
            kind: Arc::clone(job.kind()),
            targets: Arc::clone(job.targets()),
            left,
            give_up: job.spec().give_up_after.map(|patience| (job.started_at(), patience)),
        }
    }
}
