//! The block that stands on a terminal while somebody waits for a flow.
//!
//! A [`Picture`] is all that is known of the flow at a moment; [`layout`](layout::layout) makes rows
//! of it that fit a [`Frame`]. Neither asks anything nor knows a terminal, so that each state of a
//! flow is a test that reads like the screen.

mod bar;
mod job;
mod layout;
mod pace;
mod row;

use orchestra_client::Explained;
use orchestra_model::{ids::JobId, state::WaitReason, status::FlowStatus, time::Timestamp};

pub(crate) use layout::layout;
pub(crate) use pace::Pace;
pub(crate) use row::Row;

use super::{style::one_line, task::Fold};

/// All that is known of a flow at a moment.
#[derive(Debug)]
pub(crate) struct Picture<'a> {
    pub(crate) flow: &'a FlowStatus,
    /// What its tasks wait for.
    pub(crate) waits: &'a [Wait],
    /// What did not end ok, folded.
    pub(crate) failures: &'a [Fold],
    pub(crate) pace: &'a Pace,
    /// What is the matter with the connection.
    pub(crate) note: Option<&'a str>,
    pub(crate) now: Timestamp,
}

/// Where the block may stand.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame {
    /// In columns.
    pub(crate) width: usize,
    /// Most rows.
    pub(crate) height: usize,
    pub(crate) glyphs: Glyphs,
}

/// What bars are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Glyphs {
    Blocks,
    Ascii,
}

/// What some tasks of a job wait for, and on whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wait {
    /// `None`: the flow as a whole.
    pub(crate) job: Option<JobId>,
    pub(crate) reason: Option<WaitReason>,
    /// Folded, with their number; empty where the whole job waits.
    pub(crate) hosts: String,
    /// Whether only a person can end it.
    pub(crate) dead: bool,
    pub(crate) text: String,
}

impl Wait {
    /// The waits of an explanation, those first that only a person can end, then those of most
    /// hosts. That a slot has not begun, or that the job's own window is full, needs no explanation.
    pub(crate) fn of(explained: &Explained) -> Vec<Self> {
        let is_clear = |reason| matches!(reason, Some(WaitReason::Slot | WaitReason::Window));
        let mut explanations: Vec<_> =
            explained.explanations.iter().filter(|it| !is_clear(it.reason)).collect();
        explanations.sort_by_key(|it| (!it.dead, std::cmp::Reverse(it.hosts.len())));
        let wait = |it: &orchestra_model::ledger::Explanation| Self {
            job: it.job,
            reason: it.reason,
            hosts: match it.hosts.is_empty() {
                true => String::new(),
                false => it.hosts.counted().to_string(),
            },
            dead: it.dead,
            text: one_line(&it.text.to_string()),
        };
        explanations.into_iter().map(wait).collect()
    }
}

#[cfg(test)]
mod tests;
