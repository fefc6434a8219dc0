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

pub mod config;
mod desk;
mod driver;
mod fleet;
mod grpc;
mod history;
mod inventory;
mod lines;
mod proof;
mod reading;
mod reload;
mod retention;
mod serve;
mod tls;
mod writer;

pub use lines::Patience;
pub use serve::{Options, ServeError, serve};

/// Longest message of a status, in bytes. It travels in a header, where a space takes three bytes
/// and everything together must fit into 16 KiB.
const SHOWN_BYTES: usize = 4_000;

/// A message that fits into a status: one that lists a large fleet is cut.
fn shown(mut message: String) -> String {
    if message.len() > SHOWN_BYTES {
        let end = (0..=SHOWN_BYTES).rev().find(|end| message.is_char_boundary(*end));
        message.truncate(end.unwrap_or(0));
        message.push('…');
    }
    message
}
