//! The flow scheduler: everything that decides, and nothing that does.
//!
//! [`Engine`] is synchronous and deterministic. It is told what happened ([`Input`]) and when,
//! and answers with what is to be done ([`Effect`]), in order; it reads no clock, draws no chance
//! and does no IO, so a daemon, a test and a simulation run the very same code. It may be stopped
//! between any two inputs and rebuilt from what it asked to persist.
//!
//! How a task comes to run, in visible stages:
//!
//! 1. *wanted*: its job's slot has begun, the job is not doomed and nobody paused it, enough
//!    players are there, the canary lets it, the window has room (`Job::next_wanted`);
//! 2. *possible*: all hosts that come before its own are done (`rules/sequence`), and no gate of
//!    its player is closed: presence, drain, credit, exclusiveness, the score's concurrency, cells
//!    (`Player::gate`). A task that meets a closed gate is parked there, and looked at again only
//!    when something changed;
//! 3. *chosen*: window, cells, score concurrency and credit are taken in one step
//!    (`Engine::start`);
//! 4. *emitted*: the records that say so, then the order.
//!
//! Hosts hold cells, not tasks (`rules/holds`), so players wait for room in cells, each with
//! whatever is parked on it (`tables/parties`).
//!
//! An input changes players and jobs, through `Roster::change` and `Flows::change` alone. These
//! note what may follow: jobs that may be doomed, over or stuck, or have another turn; players
//! whose gates may have opened; cells with room. What does follow is worked off afterwards, jobs
//! before players before cells before new tasks (`Engine::work`), so that nothing is decided on a
//! half-made change and nothing starts for a job that has just failed.
//!
//! `tables/` is what is known, `rules/` what follows from an input, `views/` what is told.
//!
//! An event costs a bounded number of steps, whatever the number of flows and waiting tasks; what
//! needs more (a slot of a million tasks begins) is done in turns: see [`Engine::has_work`]. Only
//! what touches many tasks by its nature costs in proportion: a player with many tasks parked on it
//! comes or goes, a one-of job looks over its players, a reload removes some or brings other
//! deployments, a cell that many wait for becomes dead, and, 64 at a time, a full one opens for
//! which hosts wait that hardly share their other cells.
//!
//! Why something waits is told from the same data that decides (`views/explain`), and what a
//! submission would do by the same engine over an overlay (`views/plan`).

pub mod answer;
mod effect;
mod engine;
mod ids;
mod input;
mod rules;
mod tables;
mod views;

pub use answer::{Answer, Rejection, Reply, ReplyTo};
pub use effect::{CloseReason, Command, Effect};
pub use engine::{Engine, Settings};
pub use ids::{PlayerIx, ReplyId, SessionId};
pub use input::{Input, Submission};
pub use rules::recover::{RecoveredFlow, RecoveredJob, Recovery};
pub use tables::{flow::shown, roster::Roster};
pub use views::{audit::Violation, plan::Overlay};
