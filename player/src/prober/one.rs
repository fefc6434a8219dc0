//! One question: it connects, sends, and reads, or is too late.

use orchestra_model::Millis;
use orchestra_units::ProbeOutcome;
use rustix::{
    fd::{AsFd, OwnedFd},
    io::Errno,
    net::{RecvFlags, SendFlags, recv, send, sockopt::socket_error},
};

use super::{
    connect::{self, Failed},
    http::{self, ANSWER_BYTES},
    wire::Question,
};
use crate::sitter::{
    clock::BootMillis,
    poll::{Interest, Poller, Token},
};

/// A question that is open.
pub(super) struct One {
    pub(super) number: u64,
    /// When an answer is too late.
    pub(super) deadline: BootMillis,
    timeout: u64,
    socket: OwnedFd,
    connected: bool,
    /// What is still to be sent; empty if a connection is enough.
    request: Vec<u8>,
    /// Whether an answer is wanted, not only a connection.
    wants_answer: bool,
    read: Vec<u8>,
}

impl One {
    /// Begins to ask, as far as that goes without waiting. Returns an error if the outcome is known
    /// already.
    pub(super) fn begin(
        question: Question,
        poller: &Poller,
        token: Token,
    ) -> Result<Self, ProbeOutcome> {
        let Question { number, call, timeout, run_dir } = question;
        let socket = connect::begin(&call.target, run_dir.as_ref().map(AsFd::as_fd));
        let socket = socket.map_err(outcome_of)?;
        let request = call.path.as_ref().map(http::request).unwrap_or_default();
        let mut one = Self {
            number,
            deadline: BootMillis::now().after(timeout.0),
            timeout: timeout.0,
            socket,
            connected: false,
            wants_answer: !request.is_empty(),
            request,
            read: Vec::new(),
        };
        // On one host a connection often stands at once. If not, room to write tells of it.
        if connect::stands(&one.socket) {
            one.connect().and_then(|()| one.send()).map_err(outcome_of)?;
            if !one.wants_answer {
                return Err(ProbeOutcome::Healthy);
            }
        }
        poller.add(&one.socket, token, one.interest()).map_err(|_| ProbeOutcome::Unknown)?;
        Ok(one)
    }

    fn interest(&self) -> Interest {
        let is_asked = self.connected && self.request.is_empty();
        if is_asked { Interest::Read } else { Interest::ReadWrite }
    }

    /// Goes on when its socket is ready. Returns the outcome, if it is known.
    pub(super) fn go_on(&mut self, poller: &Poller, token: Token) -> Option<ProbeOutcome> {
        let before = self.interest();
        let over = self.connect().and_then(|()| self.send()).and_then(|()| self.read());
        match over {
            Ok(None) if self.interest() != before => {
                let _ = poller.change(&self.socket, token, self.interest());
                None
            }
            Ok(outcome) => outcome,
            Err(error) => Some(outcome_of(error)),
        }
    }

    /// Returns the outcome if nothing has come in time. If this look is late itself, the prober did
    /// not get the processor, and the unit may not have got it either: then the outcome is unknown.
    pub(super) fn too_late(&self, now: BootMillis) -> ProbeOutcome {
        too_late(self.deadline, Millis(self.timeout), now)
    }

    fn connect(&mut self) -> Result<(), Failed> {
        if self.connected {
            return Ok(());
        }
        socket_error(&self.socket).map_err(connect::failed)?.map_err(connect::failed)?;
        if connect::is_to_itself(&self.socket) {
            return Err(connect::failed(Errno::CONNREFUSED));
        }
        self.connected = true;
        Ok(())
    }

    fn send(&mut self) -> Result<(), Failed> {
        while !self.request.is_empty() {
            match send(&self.socket, &self.request, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
                Ok(sent) => drop(self.request.drain(..sent)),
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => {}
                // The unit may have answered before it closed.
                Err(Errno::PIPE | Errno::CONNRESET) => self.request.clear(),
                Err(error) => return Err(connect::failed(error)),
            }
        }
        Ok(())
    }

    fn read(&mut self) -> Result<Option<ProbeOutcome>, Failed> {
        if !self.wants_answer {
            return Ok(Some(ProbeOutcome::Healthy));
        }
        let mut buffer = [0; ANSWER_BYTES];
        loop {
            let over = match recv(&self.socket, &mut buffer[..], RecvFlags::DONTWAIT) {
                Ok((_, 0)) => true,
                Ok((_, length)) => {
                    self.read.extend(buffer.iter().take(length));
                    false
                }
                Err(Errno::AGAIN) => return Ok(None),
                Err(Errno::INTR) => continue,
                Err(Errno::CONNRESET) => true,
                Err(error) => return Err(connect::failed(error)),
            };
            if let Some(judged) = http::judge(&self.read, over) {
                return Ok(Some(
                    judged.map_or_else(ProbeOutcome::Unhealthy, |()| ProbeOutcome::Healthy),
                ));
            }
        }
    }
}

/// What it says that nothing has come by a deadline. Whoever comes half a timeout late to look at that was
/// not given the processor either, and the unit may not have been.
pub(crate) fn too_late(deadline: BootMillis, timeout: Millis, now: BootMillis) -> ProbeOutcome {
    let late = now.0.saturating_sub(deadline.0);
    match late >= timeout.0.div_ceil(2) {
        true => ProbeOutcome::Unknown,
        false => ProbeOutcome::Unhealthy(format!("no answer within {} ms", timeout.0)),
    }
}

fn outcome_of(failed: Failed) -> ProbeOutcome {
    match failed {
        Failed::Unit(why) => ProbeOutcome::Unhealthy(why),
        Failed::Unknown => ProbeOutcome::Unknown,
    }
}
