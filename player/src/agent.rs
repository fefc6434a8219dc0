//! The agent: the player's half that has the network and the key, and no other power.
//!
//! It keeps one session with a conductor, carries opaque bytes between the conductor and the
//! sitter, and makes another session when one ends. It holds nothing that matters: it may be killed
//! at any moment, and what was on its way is said again in the next session.
//!
//! Invariants:
//!
//! - It ignores signals that are meant for the sitter and may reach it too, as by `pkill -HUP
//!   player`. TERM and INT end it.
//! - It ends at once when the sitter's end of the socket pair closes.
//!
//! Left to others: sessions, and when to try again (`orchestra_link`); switching to the agent's
//! user (the sitter, before it starts the agent); who is accepted in the handshake
//! (`orchestra_certs`).

use std::{env, error::Error, fs, io, os::unix::net::UnixStream};

use orchestra_link::{
    Aside, FromSitter, Link, LinkError, Sink as _, SitterPatience, Source, ToTheSitter,
    ipc::{AGENT_DESCRIPTOR, ANSWERS, ToAgent, ToSitter},
    serve,
};
use rustix::{
    process::{DumpableBehavior, set_dumpable_behavior},
    thread::set_no_new_privs,
};

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::{
    config::Config,
    fetching::{self, FetchWord},
    sitter,
};

/// The kernel's file with the id of this boot.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";
/// Most host names that are being looked up at once: the present one and some given up on.
const LOOKUPS: usize = 4;

/// Why the agent fails, apart from the end of its sitter.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// It was not started by a sitter: there is no socket at [`AGENT_DESCRIPTOR`].
    #[error("there is no sitter (only `player` starts an agent)")]
    NoSitter,
    /// Its preparations failed.
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

/// Does the agent's work until the sitter closes its end of the socket pair, of which the other end
/// is descriptor [`AGENT_DESCRIPTOR`]. To be called once, before anything else.
pub fn run(config: &Config) -> Result<(), AgentError> {
    let socket = socket_to_sitter()?;
    give_up_powers().map_err(AgentError::setup("giving up powers"))?;
    let boot_id = fs::read_to_string(BOOT_ID).map_err(AgentError::setup("reading the boot id"))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        // These threads look up host names. A lookup may take longer than an attempt to connect.
        .max_blocking_threads(LOOKUPS)
        .build()
        .map_err(AgentError::setup("starting the runtime"))?;
    let over = runtime.block_on(async {
        let patience = env::var_os(ANSWERS).map(|_| SitterPatience::USUAL);
        let link =
            Link::new(socket, patience).map_err(AgentError::setup("taking over the socket"))?;
        let Link { from_sitter, to_sitter } = link;
        let (aside, conductor) = Aside::pair();
        let ((tell, words), (answer, answers)) = (unbounded_channel(), unbounded_channel());
        fetching::start(config.fetch_place(), words, conductor, answer)
            .map_err(AgentError::setup("starting the thread that fetches bundles"))?;
        tokio::spawn(pass_on(answers, to_sitter.clone()));
        let link = Link { from_sitter: Sorted { from_sitter, fetcher: tell }, to_sitter };
        Ok(serve(&config.dialler(), boot_id.trim(), link, aside).await)
    });
    // A lookup that still runs must not delay the end.
    runtime.shutdown_background();
    match over? {
        LinkError::Closed => Ok(()),
        error => Err(AgentError::Sitter(error.into())),
    }
}

/// Frames of the sitter, without what it says of bundles: that is passed to the fetcher, whether or not a
/// session stands.
struct Sorted {
    from_sitter: FromSitter,
    fetcher: UnboundedSender<FetchWord>,
}

impl Sorted {
    /// Returns a frame that is not the fetcher's.
    fn sort(&self, frame: ToAgent) -> Option<ToAgent> {
        let word = match frame {
            ToAgent::Fetch { fetch, order } => FetchWord::Wanted(fetch, order),
            ToAgent::StopFetch { fetch } => FetchWord::Unwanted(fetch),
            other => return Some(other),
        };
        // The fetcher ends with the agent.
        let _ = self.fetcher.send(word);
        None
    }
}

impl Source for Sorted {
    async fn receive(&mut self) -> Result<ToAgent, LinkError> {
        loop {
            let frame = self.from_sitter.receive().await?;
            if let Some(frame) = self.sort(frame) {
                return Ok(frame);
            }
        }
    }

    fn ready(&mut self) -> Result<Option<ToAgent>, LinkError> {
        while let Some(frame) = self.from_sitter.ready()? {
            if let Some(frame) = self.sort(frame) {
                return Ok(Some(frame));
            }
        }
        Ok(None)
    }

    fn patience(&self) -> Option<SitterPatience> {
        self.from_sitter.patience()
    }

    fn is_closed(&self) -> bool {
        self.from_sitter.is_closed()
    }
}

/// Passes the fetcher's answers to the sitter.
async fn pass_on(mut answers: UnboundedReceiver<ToSitter>, mut to_sitter: ToTheSitter) {
    while let Some(answer) = answers.recv().await {
        // An answer is short; and without a sitter the agent ends.
        let _ = to_sitter.push(answer);
        let _ = to_sitter.flush().await;
    }
}

fn socket_to_sitter() -> Result<UnixStream, AgentError> {
    let mut inherited = sitter::sys::inherited([AGENT_DESCRIPTOR]);
    let socket = UnixStream::from(inherited.pop().ok_or(AgentError::NoSitter)?);
    // This fails if the descriptor is no such socket.
    socket.peer_addr().map_err(|_| AgentError::NoSitter)?;
    Ok(socket)
}

/// Makes sure that nothing that is executed gains privileges, and that no other process of this
/// user can look into this one, which holds the key.
fn give_up_powers() -> io::Result<()> {
    set_no_new_privs(true)?;
    Ok(set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}
