//! The conductor: configuration, sessions, the audience's service, and the driver that owns the
//! engine.
//!
//! It decides nothing about flows (`orchestra-flow` does) and encodes no records
//! (`orchestra-store` does). What it adds is order: everything that happens becomes an input of
//! the one engine, and nothing that the engine answers leaves before its records are on disk.
//!
//! ```text
//! players ──→ sessions ─┐                 ┌─→ writer ─→ store
//!                       ├─→ driver/engine ┤        │
//! audience ─→ service ──┘                 └─ effects ←┘ → sessions, answers, watchers
//! ```

mod access;
mod audience;
pub mod config;
mod driver;
mod fleet;
mod history;
mod outbox;
mod reload;
mod serve;
mod sessions;
mod writer;

pub use serve::{Options, ServeError, serve};

use std::error::Error;

/// An error and its causes, one after the other: rendered once, at the edge.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
