//! The prober: `player prober`, the process that probes units for a sitter.
//!
//! The sitter itself makes no connections, so no server can make it wait or send it anything. It
//! sends questions to a prober over a socket. The prober asks, at most `AT_ONCE` questions at a
//! time, and answers each question once. It holds that socket and nothing else of the player: no
//! spool, no key. It ends when the socket closes.
//!
//! ```text
//! sitter ── number, port or (name, run directory), path, timeout ──▶ prober ── connect, GET ──▶ unit
//!        ◀── number: healthy, unhealthy and why, or unknown ───────
//! ```
//!
//! # What a probe can be turned against
//!
//! The author of a service decides what is asked on its hosts. The processes on a host decide who
//! answers.
//!
//! - A probe never leaves the host: a port is one of 127.0.0.1, and no name is looked up.
//! - A socket is probed as the unit's own user, so a probe opens nothing that a run of the unit
//!   could not open by itself. The socket's name has no `/`. It is looked up in a directory that
//!   the sitter made and opened (`O_PATH`, no links, no mounts), without following a link, and has
//!   to be a socket. The prober connects to the very inode that it looked at, through
//!   `/proc/self/fd`. So neither a link nor a directory that is swapped in between leads elsewhere.
//!   A file system that does not answer stops the prober of that user alone.
//! - Another program of the host may listen at the port. It gets a GET of the path that the service
//!   names, without credentials. For that reason ports are probed as a user who has nothing
//!   (`prober_user`), and paths consist of visible ASCII.
//! - At most 4 KiB of an answer are read, and only its status is passed on.
//!
//! A prober is trusted only for the health of units. An attacker who takes one over can lie about
//! the health of those units that it is asked about.

use std::{collections::BTreeMap, io};

use orchestra_daemon::signals;
use orchestra_units::ProbeOutcome;
use rustix::{fd::OwnedFd, io::Errno};

use crate::sitter::{
    clock::BootMillis,
    poll::{Interest, Poller, Token},
    sys::{self, FileLimit},
};

mod connect;
mod http;
mod one;
pub(crate) mod wire;

pub(crate) use self::one::too_late;

use self::{
    one::One,
    wire::{Answers, Inbox, Question},
};

/// The descriptor at which a prober finds its socket.
pub(crate) const SOCKET: i32 = 3;
/// Most questions that are open at once; further ones are answered as unknown. Each takes one
/// descriptor.
const AT_ONCE: usize = 512;
/// Most questions that are taken in one turn, so that answers are not kept waiting.
const TURN: usize = 64;
/// How long an answer waits for others that go along with it, while questions are open, in
/// milliseconds: far less than any timeout. Each message wakes the sitter.
const GATHERED: u64 = 5;
/// The token of the socket; other tokens are of questions.
const SITTER: Token = Token(0);

/// Why a prober fails, apart from the end of its sitter.
#[derive(Debug, thiserror::Error)]
pub enum ProberError {
    /// It was not started by a sitter.
    #[error("there is no sitter (only `player` starts a prober)")]
    NoSitter,
    /// Something that it needs failed.
    #[error("prober: {0}")]
    Failed(&'static str, #[source] io::Error),
    /// What came from the sitter makes no sense.
    #[error("prober: the sitter's message makes no sense")]
    Message,
}

/// Does a prober's work until its sitter goes. To be called once, by a program of one thread.
pub fn run() -> Result<(), ProberError> {
    let socket = sys::inherited([SOCKET]).pop().ok_or(ProberError::NoSitter)?;
    let failed = |what| move |error: io::Error| ProberError::Failed(what, error);
    signals::outlive_strays().map_err(failed("setting signal handlers"))?;
    let _ = FileLimit::raise();
    let mut prober = Prober::new(socket, AT_ONCE).map_err(failed("making an epoll"))?;
    while prober.turn()? {}
    Ok(())
}

struct Prober {
    socket: OwnedFd,
    poller: Poller,
    inbox: Inbox,
    /// Open questions, by token.
    open: BTreeMap<u64, One>,
    tokens: u64,
    /// Answers that are to be sent, and when at the latest.
    answers: Answers,
    give_at: Option<BootMillis>,
    /// Most questions that may be open.
    at_once: usize,
}

impl Prober {
    fn new(socket: OwnedFd, at_once: usize) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        let poller = Poller::new()?;
        poller.add(&socket, SITTER, Interest::Read)?;
        let (inbox, open, tokens) = (Inbox::new(), BTreeMap::new(), SITTER.0);
        let (answers, give_at) = (Answers::default(), None);
        Ok(Self { socket, poller, inbox, open, tokens, answers, give_at, at_once })
    }

    /// Waits, and does what is to be done. Returns `false` if the sitter is gone.
    fn turn(&mut self) -> Result<bool, ProberError> {
        let next = self.open.values().map(|one| one.deadline);
        let ready = self.poller.wait(next.chain(self.give_at).min());
        let ready = ready.map_err(|error| ProberError::Failed("waiting", error))?;
        // Answers that came in time are taken before deadlines are checked.
        for token in ready.iter().map(|ready| ready.token).filter(|token| *token != SITTER) {
            let Some(one) = self.open.get_mut(&token.0) else { continue };
            if let Some(outcome) = one.go_on(&self.poller, token) {
                self.answer(token, &outcome)?;
            }
        }
        let now = BootMillis::now();
        let late = self.open.iter().filter(|(_, one)| one.deadline <= now);
        for token in late.map(|(token, _)| Token(*token)).collect::<Vec<_>>() {
            let Some(one) = self.open.get(&token.0) else { continue };
            let outcome = one.too_late(now);
            self.answer(token, &outcome)?;
        }
        if ready.iter().any(|ready| ready.token == SITTER) && !self.hear()? {
            return Ok(false);
        }
        let is_time = self.give_at.is_some_and(|at| BootMillis::now() >= at);
        if self.open.is_empty() || is_time {
            self.give()?;
        }
        Ok(true)
    }

    fn hear(&mut self) -> Result<bool, ProberError> {
        for _ in 0..TURN {
            match self.inbox.receive(&self.socket) {
                Ok(Some(bytes)) => {
                    let Some(question) = Question::decode(bytes) else {
                        return Err(ProberError::Message);
                    };
                    self.ask(question)?;
                }
                Ok(None) => return Ok(false),
                Err(Errno::AGAIN) => break,
                Err(error) => {
                    return Err(ProberError::Failed("listening to the sitter", error.into()));
                }
            }
        }
        Ok(true)
    }

    fn ask(&mut self, question: Question) -> Result<(), ProberError> {
        let number = question.number;
        if self.open.len() >= self.at_once {
            return self.say(number, &ProbeOutcome::Unknown);
        }
        self.tokens += 1;
        let token = Token(self.tokens);
        match One::begin(question, &self.poller, token) {
            Ok(one) => drop(self.open.insert(token.0, one)),
            Err(outcome) => self.say(number, &outcome)?,
        }
        Ok(())
    }

    fn answer(&mut self, token: Token, outcome: &ProbeOutcome) -> Result<(), ProberError> {
        match self.open.remove(&token.0) {
            Some(one) => self.say(one.number, outcome),
            None => Ok(()),
        }
    }

    /// Has an answer sent with the next message.
    fn say(&mut self, number: u64, outcome: &ProbeOutcome) -> Result<(), ProberError> {
        if !self.answers.add(number, outcome) {
            self.give()?;
            // One answer always fits.
            self.answers.add(number, outcome);
        }
        self.give_at.get_or_insert_with(|| BootMillis::now().after(GATHERED));
        Ok(())
    }

    /// Sends the answers that are there. If the sitter has no room they are lost, and so their
    /// outcomes are unknown. The prober waits for nobody.
    fn give(&mut self) -> Result<(), ProberError> {
        self.give_at = None;
        if self.answers.is_empty() {
            return Ok(());
        }
        match wire::send(&self.socket, &self.answers.take(), &[]) {
            Ok(()) | Err(Errno::AGAIN | Errno::NOBUFS | Errno::PIPE | Errno::CONNRESET) => Ok(()),
            Err(error) => Err(ProberError::Failed("answering the sitter", error.into())),
        }
    }
}

#[cfg(test)]
mod tests;
