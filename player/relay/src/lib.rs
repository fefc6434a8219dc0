//! The relay: serves bundles of its host's depot to players that the conductor has given a ticket.
//!
//! ```text
//! config   relay.toml
//! check    `relay --check`
//! serve    starting, stopping, reading certificates again; who is let in
//! child    one player that fetches one bundle: frames in and out
//! frames   frames on a connection
//! rate     how much is sent in a second, by all together
//! ```
//!
//! A relay reads the depot and writes nothing, holds no secret but its own key, and calls nobody. What
//! it sends is judged by who gets it: a relay can be caught at a lie, and be silent, and nothing else.
//! It serves a bundle that is still arriving too: each chunk as soon as it is there.
//!
//! Left to others: what may be fetched by whom (the conductor's tickets), what is in the depot (the
//! player, `orc bundle publish`), and whether a chunk is what was published (who asked for it).

pub mod check;
pub mod config;

mod child;
mod frames;
mod rate;
mod serve;

pub use config::{Config, RelayConfigError};
pub use serve::{Relay, RelayError, RelayOptions, serve};
