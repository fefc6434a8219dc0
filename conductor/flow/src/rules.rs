//! What follows from an input. Each file is the part of the engine for one kind of event:
//!
//! - players: `attach`, `report`, `quarantine`, `players_file`, `units`;
//! - flows: `submit`, `start`, `steer`, `cancel`, `rollout`, `sequence`, `ending`, `stall`;
//! - starting tasks: `dispatch`, `sweep`, `deadline`;
//! - who serves whom in a tree: `tree`;
//! - cells: `holds`, `deployments`;
//! - the store: `recover`;
//! - mistakes of our own: `inconsistency`.

mod attach;
mod cancel;
mod deadline;
mod deployments;
mod dispatch;
mod ending;
mod follow;
pub(crate) mod holds;
mod inconsistency;
mod players_file;
mod quarantine;
pub(crate) mod recover;
mod report;
mod rollout;
mod sequence;
mod stall;
mod start;
mod steer;
mod submit;
mod sweep;
mod tree;
pub(crate) mod units;
