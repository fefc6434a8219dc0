//! The small types that name things: they know nothing of the tables that they lead into, so that
//! every table can name what is in another one.

use orchestra_model::{ScoreName, flow::JobSpec, service::Wanted};

/// A player's place in the engine's table: stable while the conductor runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PlayerIx(pub(crate) u32);

impl PlayerIx {
    /// The index in the table, for those who keep tables of their own beside it.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// Addresses an answer; made by whoever asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplyId(pub u64);

/// One connection of a player; never used twice while the conductor runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// What the gates of a player need to know of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TaskKind {
    pub(crate) score: ScoreName,
    /// It takes no cells, whatever its score does.
    pub(crate) unthrottled: bool,
    /// What it asks of a unit. Such a task starts no process of its own, so it takes no place and no
    /// share of its score; and whatever the score says, it changes the host.
    pub(crate) unit: Option<Wanted>,
}

impl TaskKind {
    pub(crate) fn of(job: &JobSpec) -> Self {
        let unit = job.unit.as_ref().map(|unit| unit.wanted);
        Self { score: job.score.clone(), unthrottled: job.unthrottled, unit }
    }

    /// Whether it may start where nothing new is to: it ends what a drained host still has.
    pub(crate) fn passes_drain(&self) -> bool {
        matches!(self.unit, Some(Wanted::Stopped | Wanted::Gone))
    }
}
