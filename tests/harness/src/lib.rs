//! What the tests that start daemons share, and the programs that measure.
//!
//! - [`eventually`] waits for a condition, up to a deadline; [`asynchronous`] does so in a task.
//! - [`Lifeline`] ends the daemons that a test has started, however the test ends.
//! - [`Config`] is a `conductor.toml` or a `player.toml`; [`uncommented`] is a packaged sample of one.
//! - [`credulous`] makes a client of TLS that believes every server.
//! - [`figures`] are what a measurement found, and [`trouble`] is why there is none.
//!
//! No crate of the product imports it, but for its own tests: `tests/tests/tidy.rs` asserts that.

pub mod asynchronous;
mod config;
mod credulous;
pub mod figures;
mod lifeline;
pub mod trouble;
mod wait;

pub use crate::{
    config::{Config, Names, uncommented},
    credulous::credulous,
    lifeline::Lifeline,
    wait::{PATIENCE, eventually, until, within},
};
