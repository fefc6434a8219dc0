//! A player's link to its conductor: what the agent does all day, and what the fleet's emulator
//! does for thousands of players.
//!
//! [`serve`] keeps one session with a conductor, carries opaque bytes between it and a sitter, and
//! when the session ends makes another one. It holds nothing that matters: whatever was on its way
//! is said again in the next session.
//!
//! Invariants:
//!
//! - It keeps no session for a sitter that says nothing when it is asked: to the conductor that
//!   player is absent.
//! - Attempts to reach a conductor are apart by a wait with full jitter over a ceiling that grows
//!   with the outage, except after a redirect (bounded in a row) and after the sitter's own wish.
//! - The first attempt after a lost session is spread over the time that its conductor asked for,
//!   as far as that is believable.
//! - A failure is in the log with the words of whoever knows it best, the same one at most once
//!   a minute.

mod backoff;
mod batch;
mod complaints;
mod dial;
mod endpoint;
mod failure;
pub mod ipc;
mod link;
mod route;
mod serve;
mod session;
#[cfg(test)]
mod tests;

pub use dial::{Dial, Dialler};
pub use endpoint::Endpoint;
pub use failure::SessionFailure;
pub use link::{FromSitter, Link, LinkError, Sink, SitterPatience, Source, ToTheSitter};
pub use serve::serve;
