//! How a player fetches one bundle from others: whom it asks for which part, and what it does when they
//! are silent, busy, gone or lie. There is no IO here.
//!
//! The agent runs this over real connections and a real disk, tests over pretended ones. [`Fetch`] takes
//! inputs (past tense: what happened) and gives effects (imperative: what to do). Equal inputs give
//! equal effects: chance is a seed.
//!
//! ```text
//!            one link at most                         files of the depot
//!
//!   source ──→ asked ──→ came ──→ being written ──→ here ──→ on disk ──→ settled
//!      ▲         │         │      (asked and being
//!      │         │         │       written: at most WINDOW)
//!      │         ▼         ▼
//!      └── the link ended, a bad chunk: missing again, and asked of whoever is next
//! ```
//!
//! First comes the manifest, all of it from one source, then every chunk, the first missing one first.
//!
//! # What holds
//!
//! - There is one link at most, and at most [`bounds::WINDOW`] parts are asked for or being written.
//!   No part is asked for twice before the first answer, or once it is here.
//! - A source is left at once when it refuses, is busy, when the connection ends, when it is asked and
//!   says nothing for [`bounds::SILENCE_MS`], or when it sends the second bad chunk. The next one is
//!   asked in the same step for the first part that is missing.
//! - **A source is never left for being slow.** Whoever sees one link alone does not know whether the
//!   source, its own source, or the network is slow: children would all flee to the root. A source
//!   that has to wait itself says so, and that counts as a sign of life.
//! - A source that lied (two bad chunks, a wrong manifest, what no source says) is not asked again
//!   for this bundle, whoever names it, and is complained about once.
//! - While there is a source that may be asked, the fetch does not fail but for the disk.
//! - [`Effect::Done`] comes once every part is verified and synced, and the bundle lies among the
//!   whole ones. A fetch never ends a chunk short.
//!
//! # How to drive it
//!
//! ```text
//! loop {
//!     for came in parts { if fetch.take(now, came) == Keep::Write { write, then say Written } }
//!     for what in everything_else_that_is_ready { fetch.handle(now, what) }
//!     if fetch.next_wake() is over { fetch.handle(now, Input::Woken) }      // after the others
//!     while let Some(effect) = fetch.poll_effect() { perform(effect) }
//! }
//! ```
//!
//! A chunk is appended to the journal of the arriving bundle (`orchestra_model::bundle`) when it is
//! written, before `Written` is said; others are served it from then on. After a crash the journal tells
//! what is here, and a fetch begins with that.
//!
//! # What is left to others
//!
//! The driver hashes each chunk, and dials. The conductor names the sources, and judges slowness by
//! [`Fetch::progress`]. Which bundles make room for others is `room`, a function.

pub mod bounds;

mod audit;
mod effect;
mod fetch;
mod input;
mod manifest;
mod room;
mod sources;

pub use effect::{Effect, FetchFailure, SourceFault};
pub use fetch::{Fetch, FetchProgress};
pub use input::{Came, Input, Keep, LinkNumber, WriteFailure};
pub use room::{DepotBundle, NoRoomInDepot, make_room_in_depot};
