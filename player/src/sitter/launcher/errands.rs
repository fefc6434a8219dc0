//! What a launcher is told beside requests for newborns: to take over, close and release taps. It
//! is told as fast as its socket takes it, and nobody waits for that.

use std::{
    collections::VecDeque,
    io::IoSlice,
    mem::{self, MaybeUninit},
    rc::Rc,
};

use rustix::{
    fd::{AsFd, BorrowedFd, OwnedFd},
    io::Errno,
    net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg},
};

use super::{
    ACCOUNTS,
    asked::Launcher,
    wire::{self, DESCRIPTORS, Keep, Ready, TapId},
};
use crate::sitter::{
    clock::BootMillis,
    poll::{Interest, Poller},
};

/// What the sitter needs of a tap to give it to another launcher.
pub(super) struct Held {
    /// The directory of the attempt.
    pub(super) directory: Rc<OwnedFd>,
    pub(super) keep: Keep,
    pub(super) ready: Ready<Rc<OwnedFd>>,
    /// Whether the launcher was told to take it over and has not answered.
    pub(super) adopting: bool,
    /// Whether there may have been a time when no process had its pipes open.
    pub(super) unattended: bool,
    /// How often the launcher was told to close it and has not answered.
    pub(super) closing: u8,
    /// Whether its output is thrown away.
    pub(super) discards: bool,
    /// How many launchers have had it.
    pub(super) moves: u8,
}

/// What is still to be told to a launcher, in order.
#[derive(Default)]
pub(super) struct Errands {
    queue: VecDeque<Errand>,
    /// Whether its socket takes no more for now.
    blocked: bool,
}

/// One thing that a launcher is told beside requests for newborns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Errand {
    Adopt(TapId),
    Close(TapId),
    Forget(TapId),
    Hold(bool),
}

/// Whether a launcher moves nothing by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hold {
    /// It reads what there is.
    No,
    /// It was asked to hold.
    Asked,
    /// It said that it holds.
    Yes,
}

impl<T> Launcher<T> {
    /// Has it take over a tap.
    pub(super) fn adopt(&mut self, id: TapId, held: Held, poller: &Poller, now: BootMillis) {
        let closing = held.closing > 0;
        self.will_owe(now);
        self.taps.insert(id, Held { adopting: true, ..held });
        self.asked_about.insert(id);
        self.errands.queue.push_back(Errand::Adopt(id));
        if closing {
            self.errands.queue.push_back(Errand::Close(id));
        }
        self.run_errands(poller, now);
    }

    /// Has it say what was written to a tap, and throw away what follows. Returns whether it has
    /// that tap.
    pub(super) fn close(&mut self, id: TapId, poller: &Poller, now: BootMillis) -> bool {
        if !self.taps.contains_key(&id) {
            return false;
        }
        self.will_owe(now);
        if let Some(held) = self.taps.get_mut(&id) {
            held.closing = 1;
        }
        self.asked_about.insert(id);
        self.errands.queue.push_back(Errand::Close(id));
        self.run_errands(poller, now);
        true
    }

    /// Has it release a tap.
    pub(super) fn forget(&mut self, id: TapId, poller: &Poller, now: BootMillis) {
        self.asked_about.remove(&id);
        if self.taps.remove(&id).is_some() {
            self.errands.queue.push_back(Errand::Forget(id));
            self.run_errands(poller, now);
        }
    }

    /// Has it write lines into a log. They are lost if it has no room: nobody waits for them.
    pub(super) fn note(&self, id: TapId, lines: &[u8]) {
        let _ = say(&self.sockets.taps, &wire::encode_note(id, lines), &[]);
    }

    /// Has it move nothing by itself, or go on.
    pub(super) fn hold(&mut self, holds: bool, poller: &Poller, now: BootMillis) {
        if holds {
            self.will_owe(now);
        }
        self.hold = if holds { Hold::Asked } else { Hold::No };
        self.errands.queue.push_back(Errand::Hold(holds));
        self.run_errands(poller, now);
    }

    /// Tells it as much as its socket takes now.
    pub(super) fn run_errands(&mut self, poller: &Poller, now: BootMillis) {
        let mut blocked = false;
        while let Some(first) = self.errands.queue.front().copied() {
            let alike = |errand: &&Errand| {
                let discriminant = mem::discriminant(*errand);
                discriminant == mem::discriminant(&first)
            };
            let ids = |errand: &Errand| match errand {
                Errand::Close(id) | Errand::Forget(id) => Some(*id),
                Errand::Adopt(_) | Errand::Hold(_) => None,
            };
            let alike = self.errands.queue.iter().take_while(alike).take(ACCOUNTS);
            let ids: Vec<TapId> = alike.filter_map(ids).collect();
            let count = ids.len().max(1);
            let socket = &self.sockets.taps;
            let said = match first {
                Errand::Close(_) => say(socket, &wire::encode_close(&ids), &[]),
                Errand::Forget(_) => say(socket, &wire::encode_forget(&ids), &[]),
                Errand::Hold(holds) => say(socket, &wire::encode_hold(holds), &[]),
                Errand::Adopt(id) => match self.taps.get(&id) {
                    Some(held) => {
                        let Held { directory, keep, ready, discards, .. } = held;
                        let bytes = wire::encode_adoption(id, *keep, ready, *discards);
                        let mut descriptors = vec![directory.as_fd()];
                        if let Ready::Notify(directory) = ready {
                            descriptors.push(directory.as_fd());
                        }
                        say(socket, &bytes, &descriptors)
                    }
                    // The tap was released before this was told.
                    None => Ok(()),
                },
            };
            match said {
                Ok(()) => drop(self.errands.queue.drain(..count)),
                Err(Errno::AGAIN | Errno::NOBUFS | Errno::NOMEM) => {
                    blocked = true;
                    break;
                }
                // What was still to be told is told to the next launcher.
                Err(error) => {
                    tracing::debug!(pid = self.pid, %error, "a launcher cannot be told anything");
                    self.dying.get_or_insert(now);
                    break;
                }
            }
        }
        if blocked != self.errands.blocked {
            self.errands.blocked = blocked;
            let interest = if blocked { Interest::ReadWrite } else { Interest::Read };
            let _ = poller.change(&self.sockets.taps, self.token_of_taps(), interest);
        }
    }
}

/// Sends a message to a launcher.
pub(super) fn say(
    socket: &OwnedFd,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> Result<(), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(Errno::INVAL);
    }
    let message = [IoSlice::new(bytes)];
    let sent = sendmsg(socket, &message, &mut control, SendFlags::NOSIGNAL)?;
    if sent == bytes.len() { Ok(()) } else { Err(Errno::MSGSIZE) }
}
