//! Named scenarios, one a rule of `docs/promises.md` or `docs/flows.md`.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

#[path = "../world/mod.rs"]
mod world;

mod absence;
mod canaries;
mod cancels;
mod cells;
mod delivery;
mod deployments;
mod drains;
mod explains;
mod further_attempts;
mod gates;
mod holds;
mod ledgers;
mod limits;
mod one_of;
mod pauses;
mod plans;
mod quarantine;
mod quorums;
mod recovery;
mod retries;
mod rosters;
mod sequences;
mod stale;
mod stalls;
mod submission;
mod units;
mod verdicts;
mod windows;
