//! Named scenarios, one a rule. `product.md`: Flows, Rounding, Verdicts, Task states, One of, Cancel,
//! Promises; `architecture.md`: Delivery.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

#[path = "../world/mod.rs"]
mod world;

mod absence;
mod cancels;
mod cells;
mod delivery;
mod gates;
mod one_of;
mod recovery;
mod retries;
mod rosters;
mod stale;
mod submission;
mod verdicts;
mod windows;
