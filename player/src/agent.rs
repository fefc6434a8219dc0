//! The agent: the player's half that has the network and the key, and no other power.
//!
//! It keeps one session with a conductor, carries opaque bytes between it and the sitter, and
//! when the session ends makes another one. It holds nothing that matters: it may be killed at
//! any moment, and whatever was on its way is said again in the next session.
//!
//! Invariants:
//!
//! - Signals that mean something to the sitter and reach it too, as by `pkill -HUP player`, are
//!   outlived; TERM and INT end it.
//! - It is over at once when the sitter's end of the socket pair closes.
//!
//! Left to others: sessions, and when to try again (`orchestra_link`); switching to the agent's user
//! (the sitter, before it starts the agent); who is accepted in the handshake (`orchestra_certs`).

use std::{env, error::Error, fs, io, os::unix::net::UnixStream};

use orchestra_link::{
    Link, LinkError, SitterPatience,
    ipc::{AGENT_DESCRIPTOR, ANSWERS},
    serve,
};
use rustix::{
    process::{DumpableBehavior, set_dumpable_behavior},
    thread::set_no_new_privs,
};

use crate::{config::Config, sitter};

/// Where the kernel says which boot this is.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// Most host names that are being looked up at once: the present one and some given up on.
const LOOKUPS: usize = 4;

/// Why the agent is over, other than by its sitter's end.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// It was not started by a sitter: there is no socket at [`AGENT_DESCRIPTOR`].
    #[error("there is no sitter (only `player` starts an agent)")]
    NoSitter,
    /// It could not make itself ready.
    #[error("agent: {attempted}")]
    Setup {
        /// What was attempted.
        attempted: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The socket to the sitter failed, or what came over it made no sense.
    #[error("agent")]
    Sitter(#[source] Box<dyn Error + Send + Sync>),
}

impl AgentError {
    fn setup(attempted: &'static str) -> impl FnOnce(io::Error) -> AgentError {
        move |source| AgentError::Setup { attempted, source }
    }
}

/// Is the agent, until the sitter closes the socket pair whose other end is descriptor
/// [`AGENT_DESCRIPTOR`]. To be called once, first thing.
pub fn run(config: &Config) -> Result<(), AgentError> {
    let socket = socket_to_sitter()?;
    give_up_powers().map_err(AgentError::setup("giving up powers"))?;
    let boot_id = fs::read_to_string(BOOT_ID).map_err(AgentError::setup("reading the boot id"))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        // They look up host names, and one may hang for longer than an attempt.
        .max_blocking_threads(LOOKUPS)
        .build()
        .map_err(AgentError::setup("starting the runtime"))?;
    let over = runtime.block_on(async {
        let patience = env::var_os(ANSWERS).map(|_| SitterPatience::USUAL);
        let link =
            Link::new(socket, patience).map_err(AgentError::setup("taking over the socket"))?;
        Ok(serve(&config.dialler(), boot_id.trim(), link).await)
    });
    // A host name that is still being looked up must not hold up the end.
    runtime.shutdown_background();
    match over? {
        LinkError::Closed => Ok(()),
        error => Err(AgentError::Sitter(error.into())),
    }
}

fn socket_to_sitter() -> Result<UnixStream, AgentError> {
    let mut inherited = sitter::sys::inherited([AGENT_DESCRIPTOR]);
    let socket = UnixStream::from(inherited.pop().ok_or(AgentError::NoSitter)?);
    // Fails for what is no socket of this kind.
    socket.peer_addr().map_err(|_| AgentError::NoSitter)?;
    Ok(socket)
}

/// Nothing that is executed gains privileges, and no other process of this user can look into
/// this one, where the key is.
fn give_up_powers() -> io::Result<()> {
    set_no_new_privs(true)?;
    Ok(set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}
