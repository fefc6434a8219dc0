//! A real conductor over loopback and mutual TLS, with pretend players and a pretend audience that
//! say whatever a test wants to be said.
//!
//! Each module is a theme, each test a promise. Every test has its own conductor in its own
//! directory, so that all of them run side by side. Tests wait for conditions, never for time.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests, which fail by panicking")]

mod fetches;
mod harness;

mod attach;
mod bounds;
mod check;
mod deployments;
mod durable;
mod hosts;
mod inventory;
mod ledger;
mod limits;
mod listing;
mod logs;
mod lost;
mod placing;
mod plan;
mod policy;
mod quarantine;
mod recover;
mod reload;
mod revocation;
mod roles;
mod rollout;
mod service_files;
mod services;
mod sessions;
mod starts;
mod stopping;
mod submit;
mod trees;
mod trouble;
mod vanished;
mod watch;
