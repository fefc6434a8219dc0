//! The conductor: its configuration, players' lines, the desk, and the driver that owns the
//! engines.
//!
//! It decides nothing about flows (`orchestra-flow` does) and encodes no records (`orchestra-store`
//! does). What it adds is order: everything that happens becomes an input of an engine, and no
//! effect of an engine leaves before its records are on disk.
//!
//! ```text
//!          ┌─ grpc ─┐
//! players ─┤        ├─→ lines ─┐                 ┌─→ writer ─→ store
//!          │        │          ├─→ driver/engine ┤        │
//! audience ┤        ├─→ desk ──┘                 └─ effects ←┘ → lines, answers, watchers
//!          └────────┘
//! ```

mod certificates;
mod check;
pub mod config;
mod declined;
mod desk;
mod driver;
mod export;
mod fetches;
mod fleet;
mod grpc;
mod history;
mod incidents;
mod inventory;
mod lines;
mod places;
mod proof;
mod reading;
mod reload;
mod retention;
mod serve;
mod tls;
mod vitals;
mod whole_file;
mod writer;

pub use check::check;
pub use lines::Patience;
pub use serve::{Options, ServeError, serve};
