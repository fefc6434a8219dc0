//! The player: what runs on every host.
//!
//! It is one program and two processes. The **sitter** owns processes, spool, output, limits,
//! timeouts and kills; it has no network and no TLS. The **agent** has the key and the connection
//! to a conductor, and nothing else; it runs as another user, and may die at any time without
//! effect on scores. They speak [`orchestra_link::ipc`] over a socket pair, and both read the same
//! [`config`].
//!
//! An attacker who takes over the agent can ask for installed scores with valid parameters, lie
//! about results, and read what passes through, but can run nothing else.

pub mod agent;
pub mod changer;
pub mod config;
pub mod fetching;
pub mod guard;
pub mod prober;
pub mod sitter;
