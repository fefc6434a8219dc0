//! What a player keeps running: the rules by which a sitter starts, restarts, ends and watches the
//! runs of its units, without any IO.
//!
//! The sitter runs this over a real disk, tests over a pretended one. [`Units`] takes inputs (past
//! tense: what happened) and gives entries to make durable and effects (imperative: what to do).
//! Equal inputs give equal entries and effects, byte for byte: chance is a seed.
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
//! A run that is ready and whose probes fail is *unhealthy* until they succeed again
//! (`rules/probes.rs`). A unit that turns often is *flapping* until it was quiet for a while
//! (`state/turns.rs`), and is reported as such. An order may leave a run as it is and have a signal
//! sent to it (`rules/signals.rs`).
//!
//! # What holds
//!
//! - A run is durable as starting before [`Effect::Spawn`] is given for it. The next run of a unit
//!   begins only after the driver has said that no process of the run before is left
//!   ([`RunEvent::Emptied`]), or after a reboot. So no two runs of a unit ever live at once.
//! - No pair of placement and run number comes twice, not even after a crash, after a reboot, or
//!   after the unit was forgotten.
//! - A run is started only if the last order asks for one, and only by its restart rule. Each order
//!   begins the counts of the rule anew.
//! - Units whose orders want them to run reserve together no more memory than the host has
//!   ([`Rejection::Reserved`]). Units whose `resources` need not be enforced are an exception.
//! - A watch ends once. Its end is kept, and each further sitter tells it again, until the driver
//!   says that the attempt has it ([`Input::WatchSettled`]).
//! - A signal is sent, at least once, to a run that was ready, if an order asks for it and wants
//!   the run to go on. No watch of that order ends well before.
//! - A run is unhealthy only after `fall` failed probes in a row. A probe whose outcome is unknown
//!   changes nothing.
//! - A unit whose order asks for a lease begins a run only under one. The run is told to end when
//!   the lease runs out, and is killed when its grace is over too (`rules/leases.rs`).
//! - Lengths are measured by a clock that nobody sets ([`Now::boot_ms`]). It does not count the
//!   time between two boots.
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
//! An effect is held back until all entries recorded before it are durable. After a failed write
//! the journal's end is unknown and must not be appended to, until the driver has put a fresh one
//! ([`journal::compacted`]) in its place and says [`Units::rewritten`]. Meanwhile new orders are
//! refused and no run begins, because its number could come again after a crash. Runs that are up
//! go on, and the engine ends none by itself that it could not start again. Ends are told from
//! memory.
//!
//! `State`, `Entry`, `Input` and `Effect` have the same roles in the other engines.
//!
//! # What is left to others
//!
//! The sitter makes processes and keeps limits, sockets, logs and parameters in memory file
//! systems; its probers ask. The conductor decides which unit belongs on this host.

pub mod bounds;
pub mod journal;

mod effect;
mod entry;
mod input;
mod rules;
mod state;
mod units;

pub use effect::{Effect, UnitFailure, WatchEnd};
pub use entry::Entry;
pub use input::{
    Capacity, Input, Leased, Now, Ordered, ProbeNumber, ProbeOutcome, Rejection, RunEvent,
};
pub use orchestra_model::{
    journal::Contradiction,
    process::{BootId, ProcessMark},
};
pub use state::{
    Clock, Ending, RecentRestarts, Run, RunId, Signals, Stage, State, Status, Tombstone, Turns,
    Unhealthy, Unit, UnitKey, Watch,
};
pub use units::Units;
