//! The flow scheduler: everything that decides, and nothing that does.
//!
//! [`Engine`] is synchronous and deterministic. It is told what happened ([`Input`]) and when,
//! and answers with what is to be done ([`Effect`]), in order; it reads no clock, draws no chance
//! and does no IO, so a daemon, a test and a simulation run the very same code. It may be stopped
//! between any two inputs and rebuilt from what it asked to persist.
//!
//! A task comes to run in four visible stages:
//!
//! 1. *wanted*: the task's job may start something. Its slot has begun, it is neither doomed nor
//!    paused, enough of its players are attached, its canary lets the others go, and its window has
//!    room (`Job::next_wanted`);
//! 2. *possible*: nothing stops the task on its host. The hosts that come before it in a sequence
//!    are done (`rules/sequence`), and no gate of its player is closed: presence, drain, credit,
//!    exclusiveness, the score's concurrency, cells (`Player::gate`). A task that meets a closed
//!    gate is parked on that player, and looked at again only when something changes there;
//! 3. *chosen*: the task takes its place in window, cells, score concurrency and credit in one step
//!    (`Engine::start`);
//! 4. *emitted*: the engine asks for the records that say so, then for the order to be sent.
//!
//! It is the host that holds cells, and not the task (`rules/holds`). So players wait for room in
//! cells, each with all tasks that are parked on it (`tables/parties`).
//!
//! An input changes players and jobs through `Roster::change` and `Flows::change` alone. These two
//! note what may follow: jobs that may be doomed, over or stuck, or may start more; players whose
//! gates may have opened; cells with room. `Engine::work` works that off afterwards: jobs before
//! players, players before cells, cells before new tasks. So nothing is decided on a half-made
//! change, and nothing starts for a job that has just failed.
//!
//! ```text
//! Input ──> rules/ ──> Roster::change, Flows::change ──> noted: jobs, players, cells
//!                │                                         │
//!                └──> Effects <── Engine::work <────────────┘
//! ```
//!
//! `tables/` is what the engine knows, `rules/` what follows from an input, `views/` what the
//! engine tells of its state.
//!
//! An event costs a bounded number of steps, whatever the number of flows and waiting tasks. What
//! needs more steps (a slot of a million tasks begins) is done in turns: see [`Engine::has_work`].
//! Five things cost in proportion to the tasks that they concern: a player comes or goes on which
//! many tasks are parked; a one-of job looks over its players; a reload removes players or brings
//! other deployments; a cell becomes dead for which many wait; and a full cell opens whose waiting
//! hosts share few other cells, of which 64 are looked at in a step.
//!
//! Explanations of why something waits come from the same data that decides (`views/explain`). A
//! plan of what a submission would do is played by the same engine over an overlay (`views/plan`).
//!
//! Every engine of this workspace calls what it is told `Input` and what it asks for `Effect`, and
//! those that answer call an answer `Reply` and what they do not do a `Rejection`. So whoever knows
//! one engine finds the way in another. Code that uses two engines writes the crate before a name,
//! or renames it.

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
pub use views::{audit::Violation, plan::Overlay, start::PendingFlow};
