//! Moments at which something is due, in order of time.

use std::collections::BTreeSet;

use orchestra_model::{FlowId, JobId, Timestamp};

use crate::{ids::PlayerIx, tables::task::TaskRef};

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Deadline {
    /// A waiting task has waited long enough for its absent player.
    GiveUp(TaskRef),
    /// A task in flight has waited long enough for its player, which went away with the attempt.
    Lose(TaskRef),
    /// The pause before a further attempt is over.
    Retry(TaskRef),
    /// A job has baked: the rest of it has waited long enough since its canary was ok.
    Baked(JobId),
    /// A player that said it is busy may be sent an order again.
    AskBusyAgain(PlayerIx),
    /// The moment has come before which a flow does not begin.
    Begin(FlowId),
    /// Players have had time to come back after a start: those that have not count as absent.
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

    pub(crate) fn contains(&self, at: Timestamp, deadline: Deadline) -> bool {
        self.0.contains(&(at, deadline))
    }

    pub(crate) fn next(&self) -> Option<Timestamp> {
        self.0.first().map(|(at, _)| *at)
    }

    pub(crate) fn pop_due(&mut self, now: Timestamp) -> Option<Deadline> {
        let first = *self.0.first()?;
        (first.0 <= now && self.0.remove(&first)).then_some(first.1)
    }
}
