//! What a unit says of itself: by sd_notify(3) at a socket, or by a newline at a descriptor.
//!
//! A launcher listens to both, because listening may block as reading pipes may: a datagram may
//! carry descriptors, and the receiver closes them, which may have to wait for the lock of a pipe.
//! Only the unit's user, who owns the socket, may send. The sitter judges whether a sender is a
//! process of the unit, so the kernel's word about the sender is passed on.

use std::{io, io::IoSliceMut, mem::MaybeUninit, path::PathBuf};

use rustix::{
    fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    fs::{AtFlags, Gid, Mode, RawMode, Uid},
    io::Errno,
    net::{
        AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketAddrUnix,
        SocketFlags, SocketType, bind, recvmsg, socket_with, sockopt,
    },
};

use super::{
    WORDS,
    wire::Ready,
    words::{OWN_DESCRIPTOR, Word, WordKind},
};
use crate::sitter::{
    pipe::Pipe, spool_dir::remove_file, stream::READY_PIPE, sys::Identity, unit::NOTIFY,
};

/// Longest datagram, in bytes; a longer one is ignored.
const DATAGRAM_BYTES: usize = 4 << 10;
/// Most bytes of the descriptor that are read at once.
const READ_BYTES: usize = 4 << 10;
/// From so many datagrams at once on, a unit counts as loud.
const LOUD: usize = 4;

/// Where a launcher listens to a unit.
pub(super) enum Ear {
    Socket(OwnedFd),
    /// The pipe whose other end is the unit's descriptor.
    Pipe(Pipe),
}

/// What was heard.
pub(super) struct Heard {
    pub(super) words: Vec<Word>,
    /// Whether more may come later.
    pub(super) goes_on: bool,
    /// Whether the unit was loud.
    pub(super) is_loud: bool,
}

impl Ear {
    /// Opens the ear of a new run, whose pipes are in `directory`.
    pub(super) fn open(
        ready: Ready<OwnedFd>,
        directory: BorrowedFd<'_>,
        user: Option<&Identity>,
    ) -> io::Result<Option<Self>> {
        Ok(match ready {
            Ready::Unasked => None,
            Ready::At(_) => Some(Ear::Pipe(Pipe::open_named(directory, READY_PIPE)?)),
            Ready::Notify(place) => {
                let owner = user.map(|user| (user.uid, Some(user.gid)));
                Some(Ear::Socket(listen(place.as_fd(), owner)?))
            }
        })
    }

    /// Opens the ear of a run to which another launcher has listened, if that is possible. What the
    /// run said while nobody listened is lost.
    pub(super) fn reopen(
        ready: Ready<OwnedFd>,
        directory: BorrowedFd<'_>,
        owner: Option<u32>,
    ) -> Option<Self> {
        match ready {
            Ready::Unasked => None,
            Ready::At(_) => Pipe::open_named(directory, READY_PIPE).ok().map(Ear::Pipe),
            Ready::Notify(place) => {
                let owner = owner.map(|uid| (uid, None));
                listen(place.as_fd(), owner).ok().map(Ear::Socket)
            }
        }
    }

    /// Takes what the unit has said, up to a bound.
    pub(super) fn hear(&mut self) -> Heard {
        match self {
            Ear::Socket(socket) => hear_socket(socket),
            Ear::Pipe(pipe) => hear_pipe(pipe),
        }
    }
}

impl AsFd for Ear {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Ear::Socket(socket) => socket.as_fd(),
            Ear::Pipe(pipe) => pipe.as_fd(),
        }
    }
}

/// Makes a socket in a directory of the sitter, for one user alone.
fn listen(place: BorrowedFd<'_>, owner: Option<(u32, Option<u32>)>) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)?;
    sockopt::set_socket_passcred(&socket, true)?;
    remove_file(place, NOTIFY)?;
    // The path of a socket may have at most 107 bytes, and that of the directory may be longer.
    let path = PathBuf::from(format!("/proc/self/fd/{}/{NOTIFY}", place.as_raw_fd()));
    bind(&socket, &SocketAddrUnix::new(&path)?)?;
    rustix::fs::chmodat(place, NOTIFY, Mode::from_raw_mode(0o600 as RawMode), AtFlags::empty())?;
    if let Some((uid, gid)) = owner {
        let (uid, gid) = (Uid::from_raw(uid), gid.map(Gid::from_raw));
        rustix::fs::chownat(place, NOTIFY, Some(uid), gid, AtFlags::SYMLINK_NOFOLLOW)?;
    }
    Ok(socket)
}

fn hear_socket(socket: &OwnedFd) -> Heard {
    let mut words: Vec<Word> = Vec::new();
    let mut datagrams = 0;
    while datagrams < WORDS && words.len() < WORDS {
        let Ok((text, pid)) = receive(socket) else { break };
        datagrams += 1;
        for kind in read(&text) {
            let is_alike = |word: &&mut Word| {
                word.pid == pid
                    && std::mem::discriminant(&word.kind) == std::mem::discriminant(&kind)
            };
            match words.iter_mut().find(is_alike) {
                Some(word) => word.kind = kind,
                None => words.push(Word { kind, pid }),
            }
        }
    }
    Heard { words, goes_on: true, is_loud: datagrams >= LOUD }
}

/// Receives a datagram and the process that sent it. The kernel drops descriptors that came along,
/// because there is no room for them.
fn receive(socket: &OwnedFd) -> Result<(Vec<u8>, i32), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmCredentials(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut text = vec![0; DATAGRAM_BYTES + 1];
    let received = rustix::io::retry_on_intr(|| {
        let into = &mut [IoSliceMut::new(&mut text)];
        recvmsg(socket, into, &mut control, RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT)
    })?;
    let sender = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmCredentials(sender) => Some(sender.pid.as_raw_nonzero().get()),
        _ => None,
    });
    let is_whole = received.bytes <= DATAGRAM_BYTES;
    text.truncate(if is_whole { received.bytes } else { 0 });
    Ok((text, sender.unwrap_or(0)))
}

/// Returns the words in a datagram that are known here.
fn read(text: &[u8]) -> Vec<WordKind> {
    let text = String::from_utf8_lossy(text);
    let words = text.lines().filter_map(|line| {
        let number = |text: &str| text.parse().ok();
        Some(match line.split_once('=')? {
            ("READY", "1") => WordKind::Ready,
            ("STOPPING", "1") => WordKind::Stopping,
            ("WATCHDOG", "1") => WordKind::Watchdog,
            ("WATCHDOG_USEC", length) => WordKind::WatchdogUsec(number(length)?),
            ("EXTEND_TIMEOUT_USEC", length) => WordKind::ExtendTimeoutUsec(number(length)?),
            _ => return None,
        })
    });
    words.collect()
}

fn hear_pipe(pipe: &Pipe) -> Heard {
    let mut bytes = [0; READ_BYTES];
    let nothing = |goes_on| Heard { words: Vec::new(), goes_on, is_loud: goes_on };
    match pipe.read(&mut bytes) {
        Ok(0) => nothing(false),
        Ok(read) if bytes[..read].contains(&b'\n') => {
            let words = vec![Word { kind: WordKind::Ready, pid: OWN_DESCRIPTOR }];
            Heard { words, goes_on: false, is_loud: false }
        }
        Ok(_) => nothing(true),
        Err(Errno::AGAIN | Errno::INTR) => Heard { is_loud: false, ..nothing(true) },
        Err(_) => nothing(false),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use rustix::fs::OFlags;

    use super::*;

    fn place(path: &std::path::Path) -> OwnedFd {
        rustix::fs::open(path, OFlags::RDONLY, Mode::empty()).unwrap()
    }

    #[test]
    fn a_datagram_is_read_as_systemd_reads_it() {
        let text = b"READY=1\nSTATUS=fine\nWATCHDOG_USEC=5\nREADY=2\nEXTEND_TIMEOUT_USEC=x\nFOO";
        assert_eq!(read(text), [WordKind::Ready, WordKind::WatchdogUsec(5)]);
        assert_eq!(read(&[0xff, b'\n', b'=']), []);
    }

    #[test]
    fn who_speaks_is_the_kernels_word_and_too_much_is_not_believed() {
        let temp = tempfile::tempdir().unwrap();
        let mut ear = Ear::Socket(listen(place(temp.path()).as_fd(), None).unwrap());
        let path = temp.path().join(NOTIFY);
        let client = UnixDatagram::unbound().unwrap();
        client.send_to(b"READY=1\n", &path).unwrap();
        client.send_to(b"WATCHDOG=1", &path).unwrap();
        client.send_to(b"WATCHDOG=1", &path).unwrap();
        let long = [b"STOPPING=1\n".to_vec(), vec![b'x'; DATAGRAM_BYTES]].concat();
        client.send_to(&long, &path).unwrap();
        let Heard { words, goes_on, is_loud } = ear.hear();
        let pid = std::process::id() as i32;
        let said = [WordKind::Ready, WordKind::Watchdog].map(|kind| Word { kind, pid });
        assert_eq!(words, said);
        assert!(goes_on && is_loud);
        // The next listener takes the place of this one.
        let _next = listen(place(temp.path()).as_fd(), None).unwrap();
        client.send_to(b"READY=1", &path).unwrap();
        assert!(ear.hear().words.is_empty());
    }
}
