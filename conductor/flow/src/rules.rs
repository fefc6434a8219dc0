//! What follows from an input: each file is the part of the engine that one kind of happening is
//! about.

mod attach;
mod cancel;
mod deadline;
mod deployments;
mod dispatch;
mod ending;
pub(crate) mod holds;
mod inconsistency;
mod players_file;
mod quarantine;
pub(crate) mod recover;
mod report;
mod rollout;
mod sequence;
mod stall;
mod steer;
mod submit;
mod sweep;
pub(crate) mod units;
