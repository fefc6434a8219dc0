//! What all tests use: a fleet of real daemons in a directory of its own.
//!
//! - [`Fleet`] writes the configuration, issues the certificates and starts the daemons; what it
//!   started, and what that started, is gone when it is dropped.
//! - [`Tool`] runs `submitjob`, `getstatus`, `orc`, and tells how they ended.
//! - [`Record`] is what scores themselves write of their starts and ends.
//! - [`eventually`] waits for a condition, up to a deadline.
//! - [`Relay`] stands between a program and the conductor, and loses what it is told to lose.
//! - [`Chance`] draws moments from a seed.

mod api;
mod ask;
pub(crate) mod binaries;
mod chance;
mod daemon;
mod fleet;
mod player;
mod process;
mod record;
mod relay;
mod tool;

pub(crate) use chance::Chance;
pub(crate) use daemon::{Daemon, Streams};
pub(crate) use fleet::{Cgroup, DOMAIN, Fleet, ROOT, set_mode};
pub(crate) use orchestra_harness::{eventually, within};
pub(crate) use player::Player;
pub(crate) use process::{Process, is_alive, processes_with};
pub(crate) use record::{Line, Record};
pub(crate) use relay::Relay;
pub(crate) use tool::{Ran, Running, Tool};
