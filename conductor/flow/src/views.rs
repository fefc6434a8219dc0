//! What the engine tells of its state. Views look at everything and change nothing.

mod absence;
pub(crate) mod audit;
mod cells;
mod explain;
mod holders;
pub(crate) mod plan;
pub(crate) mod start;
mod status;
mod tree;
mod units;
mod words;
