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
//! - Per store there is a *mark*: the highest order number answered for. It never goes back. An
//!   order at or below it whose attempt left no trace is answered with `AlreadyAcknowledged`.
//! - An attempt is live or settled, never both. What is settled stays as it is, and is reported on
//!   every attach, until it is acknowledged.
//! - Whatever comes from a conductor of a lower term than was seen changes nothing.
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
//! that wrong. After a failed write the journal's end is unknown and must not be appended to: the
//! spool refuses new orders and reports from memory what runs, until the driver has put a fresh
//! journal ([`journal::compacted`]) in the old one's place and says [`Spool::rewritten`]. The same
//! two calls compact a journal that has grown ([`journal::should_compact`]).
//!
//! `State`, `Entry`, `Input` and `Effect` are what they are in the other engines.
//!
//! # What is left to others
//!
//! Parsing commands, encoding reports, checking scores and parameters, processes, timeouts, output:
//! the sitter. Whether an order should be sent again: the conductor's scheduler.

pub mod attempt;
pub mod bounds;
pub mod journal;

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
