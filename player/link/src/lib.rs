//! A player's link to its conductor. The agent keeps one; the fleet's emulator keeps thousands.
//!
//! [`serve`] keeps one session with a conductor, carries opaque bytes between the conductor and a
//! sitter, and makes another session when one ends. It holds nothing that matters, because what was
//! on its way is said again in the next session.
//!
//! Invariants:
//!
//! - It ends the session of a sitter that does not answer, so that the conductor sees that player
//!   as absent.
//! - Between two attempts to reach a conductor it waits, with full jitter below a ceiling that
//!   grows with the outage. It does not wait after a redirect, of which it follows a bounded number
//!   in a row, or when the sitter asked for the new session.
//! - The first attempt after a lost session is spread over the time that its conductor asked for,
//!   within a cap.
//! - A failure is logged with the most precise text that is known of it, the same failure at most
//!   once a minute.

mod aside;
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

pub use aside::{Aside, Fetching, HeardAside};
pub use dial::{Dial, Dialler};
pub use endpoint::Endpoint;
pub use failure::SessionFailure;
pub use link::{FromSitter, Link, LinkError, Sink, SitterPatience, Source, ToTheSitter};
pub use serve::serve;
