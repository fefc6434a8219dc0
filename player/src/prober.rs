//! The prober: `player prober`, the process that asks what a sitter wants to know of its units.
//!
//! The sitter connects nowhere, so that nothing that listens can make it wait or send it anything. It
//! says to a prober, over a socket, what is to be asked; the prober asks, at most `AT_ONCE` at a
//! time, and answers each question once. It holds that socket and nothing else of the player's: no
//! spool, no key. Its end follows that of the socket.
//!
//! ```text
//! sitter ── number, port or (name, run directory), path, timeout ──▶ prober ── connect, GET ──▶ unit
//!        ◀── number: healthy, unhealthy and why, or unknown ───────
//! ```
//!
//! # What a probe can be turned against
//!
//! Whoever applies a service says what is asked, on each of its hosts; whoever runs there says who
//! answers.
//!
//! - It leaves the host never: a port is one of 127.0.0.1, and nothing is looked up by name.
//! - A socket is asked as the unit's own user, so a probe opens nothing that a run of the unit could not
//!   open by itself. Its name has no `/`. It is looked up in a directory that the sitter made and
//!   opened (`O_PATH`, no links, no mounts), without following a link, and has to be a socket; what is
//!   connected to is the very inode that was looked at, through `/proc/self/fd`. So neither a link nor
//!   a directory that is swapped in between leads elsewhere. A file system that does not answer stops
//!   the prober of that user alone.
//! - A port may belong to somebody else on the host who listens there, and gets a GET of a path that the
//!   file names, without credentials: it is for that reason that ports are asked as a user who has
//!   nothing (`prober_user`), and that paths hold nothing but visible ASCII.
//! - What answers is read to 4 KiB, and nothing of its text is passed on: only the status.
//!
//! A prober is believed in one thing: how units are. Whoever takes one over can say that they are well
//! or unwell, of those that it is asked of.

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

use self::{
    one::One,
    wire::{Inbox, Question},
};

/// The descriptor at which a prober finds its socket.
pub(crate) const SOCKET: i32 = 3;
/// Most questions that are open at once; what comes beyond is answered as unknown. Each costs one
/// descriptor.
const AT_ONCE: usize = 512;
/// Most questions that are taken in one turn, so that answers are not kept waiting.
const TURN: usize = 64;
/// Belongs to the socket; the others to questions.
const SITTER: Token = Token(0);

/// Why a prober is over, other than by its sitter's end.
#[derive(Debug, thiserror::Error)]
pub enum ProberError {
    /// It was not started by a sitter.
    #[error("there is no sitter (only `player` starts a prober)")]
    NoSitter,
    /// It could not do what it has to.
    #[error("prober: {0}")]
    Failed(&'static str, #[source] io::Error),
    /// What came from the sitter makes no sense.
    #[error("prober: the sitter's message makes no sense")]
    Message,
}

/// Is a prober until its sitter goes. To be called once, by a program of one thread.
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
    /// Most that are open.
    at_once: usize,
}

impl Prober {
    fn new(socket: OwnedFd, at_once: usize) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        let poller = Poller::new()?;
        poller.add(&socket, SITTER, Interest::Read)?;
        let (inbox, open, tokens) = (Inbox::new(), BTreeMap::new(), SITTER.0);
        Ok(Self { socket, poller, inbox, open, tokens, at_once })
    }

    /// Waits, and does what is to be done. `false`: the sitter is gone.
    fn turn(&mut self) -> Result<bool, ProberError> {
        let next = self.open.values().map(|one| one.deadline).min();
        let ready = self.poller.wait(next);
        let ready = ready.map_err(|error| ProberError::Failed("waiting", error))?;
        // What came in time is heard before what is too late.
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
        if ready.iter().any(|ready| ready.token == SITTER) {
            return self.hear();
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

    /// Says it. Where the sitter has no room for it the answer is lost, and so unknown: it waits for
    /// nobody, and is waited for.
    fn say(&self, number: u64, outcome: &ProbeOutcome) -> Result<(), ProberError> {
        match wire::send(&self.socket, &wire::encode_answer(number, outcome), &[]) {
            Ok(()) | Err(Errno::AGAIN | Errno::NOBUFS | Errno::PIPE | Errno::CONNRESET) => Ok(()),
            Err(error) => Err(ProberError::Failed("answering the sitter", error.into())),
        }
    }
}

#[cfg(test)]
mod tests;
