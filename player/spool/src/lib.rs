//! What a player has accepted, started, ended, refused and been acknowledged: the rules of
//! delivery on the player's side, without any IO.
//!
//! The sitter runs this over a real disk, the simulation over a pretended one. [`Spool`] takes
//! inputs (past tense: what happened) and gives entries to make durable and effects (imperative:
//! what to do). The same inputs give the same entries and effects, byte for byte.
//!
//! ```text
//!                  ┌───────────── cancelled before it came ─────────────┐
//!                  │                                                    ▼
//!  order ──→ refused ────────────────────────────────────────────→ ┌─────────┐
//!    │                            spawn failed, spool broken       │ settled │──→ forgotten
//!    └─────→ starting ───────────────────────────────────────────→ │         │ acknowledged
//!               │       after a crash: looked for, killed, lost    │         │ (the mark stays)
//!               └─────→ started ──→ (cancelling) ────────────────→ └─────────┘
//!                          exited, killed, timed out, lost
//! ```
//!
//! # What holds
//!
//! - An attempt starts at most once. [`Effect::Start`] is given only after *starting* is durable,
//!   and never again for what a journal shows as starting.
//! - Each store has a *mark*: the highest order number that the spool has answered for. It never
//!   goes back. An order at or below the mark whose attempt left no trace is answered with
//!   `AlreadyAcknowledged`.
//! - An attempt is live or settled, never both. A settled attempt does not change, and is reported
//!   on every attach until it is acknowledged.
//! - What comes from a conductor of a lower term than the highest seen changes nothing.
//! - Everything is bounded: see [`bounds`].
//!
//! # How to drive it
//!
//! ```text
//! loop {
//!     for input in everything_that_is_ready { spool.handle(input) }
//!     if !spool.unwritten().is_empty() {
//!         let frame = journal::frame(length, spool.unwritten());
//!         match append_and_sync(frame) {                    // one write, one sync, for the batch
//!             Ok(()) => spool.written(),
//!             Err(why) => spool.write_failed(&why),
//!         }
//!     }
//!     while let Some(effect) = spool.poll_effect() { perform(effect) }
//! }
//! ```
//!
//! An effect is held back until all entries recorded before it are durable; the driver cannot get
//! that wrong. After a failed write the journal's end is unknown, and nothing may be appended to
//! it. Until the driver has replaced it by a fresh journal ([`journal::compacted`]) and says
//! [`Spool::rewritten`], the spool refuses new orders and reports from memory. The same two calls
//! compact a journal that has grown ([`journal::should_compact`]).
//!
//! `State`, `Entry`, `Input` and `Effect` have the same roles in the other engines.
//!
//! # What is left to others
//!
//! The sitter parses commands, encodes reports, checks scores and parameters, and has processes,
//! timeouts and output. The conductor's scheduler decides whether an order is sent again.

pub mod attempt;
pub mod bounds;
pub mod journal;
pub mod shelf;

mod effect;
mod entry;
mod input;
mod rules;
mod spool;
mod state;

pub use attempt::{CgroupPath, Live, Plan, Settled, Settlement};
pub use effect::{Effect, Snapshot};
pub use entry::Entry;
pub use input::Input;
pub use orchestra_model::{
    journal::Contradiction,
    process::{BootId, ProcessMark},
};
pub use spool::Spool;
pub use state::State;
