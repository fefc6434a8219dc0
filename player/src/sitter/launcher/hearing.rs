//! Messages of launchers, read from a socket.

use std::{io::IoSliceMut, mem::MaybeUninit};

use rustix::{
    fd::OwnedFd,
    io::Errno,
    net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recv, recvmsg},
};

use super::{
    ANSWERS,
    wire::{ANSWERS_BYTES, Answers},
};

/// Returns how many launches the next message answers; 0 at the end of the stream.
pub(super) fn launches_to_come(socket: &OwnedFd) -> Result<usize, Errno> {
    let mut bytes = [0];
    let (read, _) = rustix::io::retry_on_intr(|| recv(socket, &mut bytes, RecvFlags::PEEK))?;
    Ok(Answers::launches_in(&bytes[..read]))
}

/// Receives a message of answers with its pidfds; `None` at the end of the stream.
#[expect(clippy::type_complexity, reason = "a message: its bytes and its descriptors")]
pub(super) fn receive(socket: &OwnedFd) -> Result<Option<(Vec<u8>, Vec<OwnedFd>)>, Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(ANSWERS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut bytes = vec![0; ANSWERS_BYTES];
    let received = rustix::io::retry_on_intr(|| {
        let into = &mut [IoSliceMut::new(&mut bytes)];
        recvmsg(socket, into, &mut control, RecvFlags::CMSG_CLOEXEC)
    })?;
    bytes.truncate(received.bytes);
    let mut pidfds = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            pidfds.extend(rights);
        }
    }
    Ok((!bytes.is_empty()).then_some((bytes, pidfds)))
}
