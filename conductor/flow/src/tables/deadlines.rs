//! Moments at which something is due, in order of time.

use std::collections::BTreeSet;

use orchestra_model::{JobId, Timestamp};

use crate::{ids::PlayerIx, tables::task::TaskRef};

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Deadline {
    /// Waiting for an absent player is over.
    GiveUp(TaskRef),
    /// Waiting for a player that went away with an attempt is over.
    Lose(TaskRef),
    /// The pause before a further attempt is over.
    Retry(TaskRef),
    /// The other tasks of a job have waited long enough for its canary.
    Baked(JobId),
    /// A player that said it is busy is asked again.
    AskBusyAgain(PlayerIx),
    /// Who is not back by now counts as absent.
    Returned,
}

/// Due things in order of time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Deadlines(BTreeSet<(Timestamp, Deadline)>);

impl Deadlines {
    pub(crate) fn insert(&mut self, at: Timestamp, deadline: Deadline) {
        self.0.insert((at, deadline));
    }

    pub(crate) fn remove(&mut self, at: Timestamp, deadline: Deadline) {
        self.0.remove(&(at, deadline));
    }

    pub(crate) fn next(&self) -> Option<Timestamp> {
        self.0.first().map(|(at, _)| *at)
    }

    pub(crate) fn pop_due(&mut self, now: Timestamp) -> Option<Deadline> {
        let first = *self.0.first()?;
        (first.0 <= now && self.0.remove(&first)).then_some(first.1)
    }
}
