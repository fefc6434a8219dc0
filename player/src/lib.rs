//! The player: what runs on every host.
//!
//! One program, two processes. The **sitter** owns processes, spool, output, limits, timeouts and
//! kills; it has no network and no TLS. The **agent** has the key, the connection to a conductor
//! and nothing else; it runs as another user, and may die at any time without a score noticing.
//! They speak [`ipc`] over a socket pair, and both read the same [`config`].
//!
//! Whoever takes over the agent can ask for installed scores with valid parameters, lie about
//! results, and read what passes through. It can run nothing else.

pub mod agent;
pub mod config;
pub mod ipc;
pub mod sitter;

/// An error and its causes, as one text: for where an error is shown, once, at the edge.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
