//! What the engine knows: the tables of players, flows, jobs and tasks, of cells, and of the
//! players that wait for room in cells. The tables see each other and the model, and nothing of the
//! engine that keeps them.

pub(crate) mod deadlines;
pub(crate) mod few;
pub(crate) mod flow;
pub(crate) mod flows;
pub(crate) mod job;
pub(crate) mod ledger;
pub(crate) mod leftover;
pub(crate) mod parties;
pub(crate) mod player;
pub(crate) mod quarantine;
pub(crate) mod queues;
pub(crate) mod roster;
pub(crate) mod sequence;
pub(crate) mod starts;
pub(crate) mod task;
pub(crate) mod tasks;
pub(crate) mod tree;
