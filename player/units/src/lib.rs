//! What a player keeps running: the rules by which a sitter starts, restarts, ends and watches the
//! runs of its units, without any IO.
//!
//! The sitter runs this over a real disk, tests over a pretended one. [`Units`] takes inputs (past
//! tense: what happened) and gives entries to make durable and effects (imperative: what to do).
//! The same inputs give the same entries and effects, byte for byte: chance is a seed.
//!
//! ```text
//!               order                             Emptied, the rule asks for another run
//!                 │        ┌───────────────────────────────────────────────────────────┐
//!                 ▼        ▼                                                           │
//!  (nothing) ──→ waiting ──→ starting ──→ up ──→ ready ──────────→ ending ─────────────┤
//!                 ▲   until,   durable, then       │  exit, OOM,     │ Terminate, grace,│
//!                 │   params,  Spawn               │  watchdog,      │ KillAll          │
//!                 │   disk                         │  an order       │                  ▼
//!                 │                                └─────────────────┘     stopped, ended, gave up
//!                 └──────────────────── a further order ───────────────────────────┘   │
//!                                                                             gone: forgotten
//! ```
//!
//! A run that is ready and whose probes fail is *unhealthy* until they succeed again (`rules/probes.rs`).
//! One that turns so often is *flapping* until it was quiet for a while (`state/turns.rs`): it is told.
//! An order may leave a run as it is and have it signalled (`rules/signals.rs`).
//!
//! # What holds
//!
//! - A run is durable as starting before [`Effect::Spawn`] is given for it, and the next run of a
//!   unit begins only when the driver has said that no process of this one is left
//!   ([`RunEvent::Emptied`]), or the host was started anew. No two runs of a unit ever live.
//! - No (placement, run) comes twice, over crashes, reboots and a unit that was forgotten.
//! - A run is started where the last order asks for one, and by its restart rule alone; an order
//!   begins the counts of that rule anew.
//! - Units whose orders want them to run reserve together no more memory than the host has, but for those
//!   whose `resources` need not be enforced ([`Rejection::Reserved`]).
//! - A watch ends once. Its end is kept, and told again by the next sitter, until the driver says
//!   that the attempt has it ([`Input::WatchSettled`]).
//! - A signal is sent to a run that was ready, by an order that wants the run to go on; at least once,
//!   and no watch of that order ends well before.
//! - A run is unhealthy only after `fall` failures in a row that somebody has seen: whoever cannot be
//!   asked, or is not heard, stays as it is.
//! - Lengths are measured by a clock that nobody sets ([`Now::boot_ms`]); of a reboot's downtime,
//!   which that clock does not show, nothing counts.
//!
//! # How to drive it
//!
//! ```text
//! loop {
//!     for what in everything_that_is_ready { units.order(now, …) or units.handle(now, what) }
//!     if units.next_wake() is over { units.handle(now, Input::Woken) }      // after the others
//!     if !units.unwritten().is_empty() {
//!         match append_and_sync(journal::frame(length, units.unwritten())) {
//!             Ok(()) => units.written(),
//!             Err(why) => units.write_failed(&why),
//!         }
//!     }
//!     while let Some(effect) = units.poll_effect() { perform(effect) }
//! }
//! ```
//!
//! An effect is held back until all entries recorded before it are durable. After a failed write the
//! journal's end is unknown and must not be appended to, until the driver has put a fresh one
//! ([`journal::compacted`]) in its place and says [`Units::rewritten`]. Meanwhile new orders are
//! refused and no run begins, for its number could come again after a crash; what runs goes on, and
//! nothing is ended of our own motion that could not be started again. Ends are told from memory.
//!
//! `State`, `Entry`, `Input` and `Effect` are what they are in the other engines.
//!
//! # What is left to others
//!
//! Making processes, asking what probes ask, limits, sockets, parameters in memory file systems, logs: the sitter. Which unit
//! belongs on this host: the conductor.

pub mod bounds;
pub mod journal;

mod chance;
mod effect;
mod entry;
mod input;
mod rules;
mod state;
mod units;

pub use effect::{Effect, UnitFailure, WatchEnd};
pub use entry::Entry;
pub use input::{Capacity, Input, Now, Ordered, ProbeNumber, ProbeOutcome, Rejection, RunEvent};
pub use orchestra_model::{
    journal::Contradiction,
    process::{BootId, ProcessMark},
};
pub use state::{
    Clock, Ending, RecentRestarts, Run, RunId, Signals, Stage, State, Status, Tombstone, Turns,
    Unhealthy, Unit, UnitKey, Watch,
};
pub use units::Units;
