//! Connections to ports of this host, and to sockets in run directories. Nothing here waits.

use std::net::{Ipv4Addr, SocketAddrV4};

use orchestra_model::service::{SocketName, Target};
use rustix::{
    fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    fs::{FileType, Mode, OFlags},
    io::Errno,
    net::{
        AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, getpeername, getsockname,
        socket_with,
    },
};

/// Begins a connection. It stands once it can be written to.
pub(super) fn begin(target: &Target, run_dir: Option<BorrowedFd<'_>>) -> Result<OwnedFd, Failed> {
    match target {
        Target::Port(port) => to_port(*port),
        // Both were replaced before.
        Target::Named(_) | Target::Open(_) => Err(Failed::Unknown),
        Target::Unix(name) => to_socket(run_dir.ok_or(Failed::Unknown)?, name),
    }
}

/// Why there is no connection.
#[derive(Debug)]
pub(super) enum Failed {
    /// The unit is not there, or does not take it.
    Unit(String),
    /// The reason lies with us.
    Unknown,
}

fn to_port(port: u16) -> Result<OwnedFd, Failed> {
    let socket = new_socket(AddressFamily::INET)?;
    let address = SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
    match connect(&socket, &address) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
        Err(error) => Err(failed(error)),
    }
}

/// Connects to a socket. The inode is opened first, without following a link, and looked at; the
/// connection is to this very inode.
fn to_socket(run_dir: BorrowedFd<'_>, name: &SocketName) -> Result<OwnedFd, Failed> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let inode = rustix::fs::openat(run_dir, name.as_str(), flags, Mode::empty());
    let inode = inode.map_err(failed)?;
    let found = rustix::fs::fstat(&inode).map_err(failed)?;
    if FileType::from_raw_mode(found.st_mode) != FileType::Socket {
        return Err(Failed::Unit("what has the socket's name is no socket".to_owned()));
    }
    let socket = new_socket(AddressFamily::UNIX)?;
    let path = format!("/proc/self/fd/{}", inode.as_raw_fd());
    let address = SocketAddrUnix::new(path).map_err(|_| Failed::Unknown)?;
    match connect(&socket, &address) {
        Ok(()) => Ok(socket),
        // The unit takes no more connections just now.
        Err(Errno::AGAIN) => Err(Failed::Unit("its queue of connections is full".to_owned())),
        Err(error) => Err(failed(error)),
    }
}

fn new_socket(family: AddressFamily) -> Result<OwnedFd, Failed> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    socket_with(family, SocketType::STREAM, flags, None).map_err(failed)
}

/// Returns whether a connection stands already, or will never do.
pub(super) fn stands(socket: impl AsFd) -> bool {
    !matches!(getpeername(socket), Err(Errno::NOTCONN))
}

/// Returns whether a connection is to itself: nobody listens at the port, and the kernel chose that
/// very port as the local one.
pub(super) fn is_to_itself(socket: impl AsFd) -> bool {
    match (getsockname(&socket), getpeername(&socket)) {
        (Ok(own), Ok(Some(peer))) => own == peer && own.address_family() == AddressFamily::INET,
        _ => false,
    }
}

/// Tells whether the unit is to blame for an error. Of a host without descriptors, ports or memory
/// that is unknown.
pub(super) fn failed(error: Errno) -> Failed {
    match error {
        Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::NOBUFS | Errno::ADDRNOTAVAIL => {
            Failed::Unknown
        }
        error => Failed::Unit(std::io::Error::from(error).kind().to_string()),
    }
}
