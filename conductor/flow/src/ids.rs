//! The small types that refer to entries of tables. They know nothing of the tables, so each table
//! can refer to entries of every other one.

use orchestra_model::{
    ScoreName,
    flow::JobSpec,
    service::{RecipeStep, Wanted},
};

/// A player's index in the engine's table of players. It stays the same while the conductor runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PlayerIx(pub(crate) u32);

impl PlayerIx {
    /// The index as a number, for callers that keep tables of their own beside the engine's.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// Says to whom an answer goes. Whoever asks makes a new one for each question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplyId(pub u64);

/// One connection of a player. No number is used twice while the conductor runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// What the gates of a player need to know of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TaskKind {
    pub(crate) score: ScoreName,
    /// The task takes no cells, whatever its score does.
    pub(crate) unthrottled: bool,
    /// What the task asks of a unit, if it is about one. Such a task starts no process of its own,
    /// so it takes none of the player's places and does not count in the concurrency of its score.
    /// It changes the host, whatever the score says.
    pub(crate) unit: Option<Wanted>,
    /// The task cleans up after a service that has left its host.
    pub(crate) cleans_up: bool,
}

impl TaskKind {
    pub(crate) fn of(job: &JobSpec) -> Self {
        let unit = job.unit.as_ref().map(|unit| unit.wanted);
        let step = job.recipe.as_ref().map(|recipe| recipe.step);
        Self {
            score: job.score.clone(),
            unthrottled: job.unthrottled,
            unit,
            cleans_up: step == Some(RecipeStep::Cleanup),
        }
    }

    /// Whether the task may start on a drained host: it may if it ends something that the host
    /// still runs, or cleans up after it.
    pub(crate) fn passes_drain(&self) -> bool {
        self.cleans_up || matches!(self.unit, Some(Wanted::Stopped | Wanted::Gone))
    }
}
