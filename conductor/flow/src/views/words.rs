//! Words that explanations share.

use orchestra_model::{
    HostName, HostSet, Millis, TaskState, Timestamp,
    status::{Absence, Due},
};

/// Most hosts or tasks that one sentence names.
pub(super) const NAMED: usize = 10;

/// The hosts of tasks in flight whose players are away.
#[derive(Default)]
pub(super) struct Away {
    pub(super) hosts: Vec<HostName>,
    /// When the first of the players went.
    pub(super) since: Option<Timestamp>,
    /// When the first of the tasks is lost.
    pub(super) given_up: Option<Due>,
}

impl Away {
    pub(super) fn add(&mut self, host: Option<&HostName>, absence: Absence) {
        self.hosts.extend(host.cloned());
        self.since = self.since.into_iter().chain(absence.since).min();
        self.given_up = self.given_up.into_iter().chain(absence.given_up).min_by_key(|due| due.at);
    }
}

/// Cuts a length to whole seconds, which are enough for people.
pub(super) fn whole(length: Millis) -> Millis {
    Millis(length.0 / 1_000 * 1_000)
}

/// A host set, cut where it is long.
pub(super) fn some_of(hosts: &HostSet) -> String {
    match hosts.len().checked_sub(NAMED) {
        None | Some(0) => hosts.counted().to_string(),
        Some(more) => {
            let first = hosts.iter().take(NAMED).cloned();
            format!("{} and {more} more", HostSet::from_names(first))
        }
    }
}

pub(super) fn told_state(state: TaskState) -> &'static str {
    match state {
        TaskState::Sent => "sent; its player has not said yet that it started",
        TaskState::Running => "running",
        TaskState::Ok => "ended ok",
        TaskState::Failed => "failed",
        TaskState::TimedOut => "ran out of time and was killed",
        TaskState::Unreachable => "never sent: waiting for its player was given up",
        TaskState::Refused => "its player would not start it",
        TaskState::Cancelled => "cancelled",
        TaskState::Skipped => "never sent: its job was doomed",
        TaskState::Lost => "sent, and its end will never be known",
        TaskState::Waiting => "waiting",
    }
}
