//! What is told of the state: they look at everything and change nothing.

mod absence;
pub(crate) mod audit;
mod cells;
mod explain;
mod holders;
pub(crate) mod plan;
mod status;
mod units;
mod words;
