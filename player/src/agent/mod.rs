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
//! - It keeps no session for a sitter that says nothing when it is asked: to the conductor that player
//!   is absent.
//! - Attempts to reach a conductor are apart by a wait with full jitter over a ceiling that grows
//!   with the outage, except after a redirect (bounded in a row) and after the sitter's own wish.
//! - The first attempt after a lost session is spread over the time that its conductor asked for,
//!   as far as that is believable.
//! - A failure is in the log with the words of whoever knows it best, the same one at most once
//!   a minute.
//!
//! Left to others: switching to the agent's user (the sitter, before it starts the agent); who is
//! accepted in the handshake (`orchestra_certs`).

use orchestra_model::delivery::AgentSession;
use std::{env, error::Error, fmt, fs, io, os::unix::net::UnixStream, time::Duration};

use rustix::{
    process::{DumpableBehavior, set_dumpable_behavior},
    rand::{GetRandomFlags, getrandom},
    thread::set_no_new_privs,
};
use tokio::time::{Instant, sleep};

use self::{
    backoff::Backoff,
    complaints::Complaints,
    route::Route,
    session::{End, Ended, Session},
};
use crate::{
    config::{Config, Endpoint},
    ipc::{AGENT_DESCRIPTOR, ANSWERS},
    sitter,
};

mod backoff;
mod batch;
mod complaints;
mod dial;
mod failure;
mod link;
mod route;
mod session;
#[cfg(test)]
mod tests;

pub use self::{
    dial::Dial,
    failure::Failure,
    link::{FromSitter, Link, LinkError, Patience, Sink, Source, ToTheSitter},
};

/// Where the kernel says which boot this is.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// Most host names that are being looked up at once: the present one and some given up on.
const LOOKUPS: usize = 4;
/// A session that the sitter ended within this time is not begun anew without a wait.
const BRIEF: Duration = Duration::from_secs(1);

/// Why the agent is over, other than by its sitter's end.
#[derive(Debug)]
pub enum AgentError {
    /// It was not started by a sitter: there is no socket at [`AGENT_DESCRIPTOR`].
    NoSitter,
    /// It could not make itself ready.
    Setup {
        /// What was attempted.
        attempted: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The socket to the sitter failed, or what came over it made no sense.
    Sitter(
        /// How.
        Box<dyn Error + Send + Sync>,
    ),
}

impl AgentError {
    fn setup(attempted: &'static str) -> impl FnOnce(io::Error) -> AgentError {
        move |source| AgentError::Setup { attempted, source }
    }
}

impl fmt::Display for AgentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSitter => f.write_str("there is no sitter (only `player` starts an agent)"),
            Self::Setup { attempted, .. } => write!(f, "agent: {attempted}"),
            Self::Sitter(_) => f.write_str("agent"),
        }
    }
}

impl Error for AgentError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::NoSitter => None,
            Self::Setup { source, .. } => Some(source),
            Self::Sitter(source) => Some(&**source),
        }
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
        let patience = env::var_os(ANSWERS).map(|_| Patience::USUAL);
        let link =
            Link::new(socket, patience).map_err(AgentError::setup("taking over the socket"))?;
        Ok(serve(config, boot_id.trim(), link).await)
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

/// Session after session, until the sitter goes. `boot_id` changes with every boot of the host.
pub async fn serve<R: Source, W: Sink>(
    dial: &impl Dial,
    boot_id: &str,
    mut link: Link<R, W>,
) -> LinkError {
    let mut route = Route::new(dial.conductors());
    let mut backoff = Backoff::default();
    let mut complaints = Complaints::default();
    let mut sessions = 0;
    loop {
        sessions += 1;
        let endpoint = route.present().clone();
        let id = AgentSession(sessions);
        let session = Session { dial, endpoint: &endpoint, id, boot_id };
        let Ended { why, accepted } = match session.run(&mut link).await {
            Ok(ended) => ended,
            Err(gone) => return gone,
        };
        if let Some(accepted) = accepted {
            route.arrived();
            complaints.forget();
            backoff.had_session(accepted);
        }
        let failure = match why {
            // What made the sitter ask anew at once may well be there again.
            End::Reattach if accepted.is_none_or(|session| session.lasted < BRIEF) => None,
            End::Reattach => continue,
            End::Redirect(to) if route.redirect(&to) => continue,
            End::Redirect(_) => Some(Failure::Redirected),
            End::Failed(failure) => Some(failure),
        };
        let wait = match failure {
            // No failure of the conductor's, so waits do not grow.
            None => backoff::pause(chance()),
            Some(failure) => {
                // Who had a session first looks where it was: a conductor that is started anew
                // is there before the others answer for it.
                if accepted.is_none() {
                    route.advance();
                }
                let wait = backoff.after_failure(Instant::now(), chance());
                complain(&mut complaints, &endpoint, &failure, wait);
                wait
            }
        };
        tokio::select! {
            () = sleep(wait) => {}
            gone = link.from_sitter.discard() => return gone,
        }
    }
}

fn complain(complaints: &mut Complaints, conductor: &Endpoint, failure: &Failure, wait: Duration) {
    let reason = orchestra_model::chain(failure);
    let key = format!("{conductor} {reason}");
    if let Some(withheld) = complaints.worth_telling(&key, Instant::now()) {
        let withheld = (withheld > 0).then_some(withheld);
        tracing::warn!(%conductor, reason, withheld, retry_in = ?wait, "no session");
    }
}

/// Evenly distributed over all of `u64`. Where the kernel has no randomness to give, waits are at
/// their longest.
fn chance() -> u64 {
    let mut bytes = [0; 8];
    match getrandom(&mut bytes, GetRandomFlags::empty()) {
        Ok(8) => u64::from_ne_bytes(bytes),
        _ => u64::MAX,
    }
}
