//! The agent's end of the socket pair to its sitter, in two halves that work beside each other.
//!
//! All waiting here may be cancelled: what was read stays in the inbox, what was queued in the
//! outbox.

use std::{
    fmt,
    io::{self, IoSlice, Read, Write},
    os::unix::net,
    sync::Arc,
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::net::UnixStream;

use crate::ipc::{Inbox, InvalidFrame, Outbox, PayloadTooLong, ToAgent, ToSitter};

/// Both directions.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) from_sitter: FromSitter,
    pub(super) to_sitter: ToTheSitter,
}

/// Frames that come in.
#[derive(Debug)]
pub(super) struct FromSitter {
    socket: Arc<UnixStream>,
    inbox: Inbox<ToAgent>,
}

/// Frames that go out.
#[derive(Debug)]
pub(super) struct ToTheSitter {
    socket: Arc<UnixStream>,
    outbox: Outbox<ToSitter>,
}

/// Why there is no more to be had from the sitter: the agent's work is over.
#[derive(Debug)]
pub(super) enum LinkError {
    /// It closed its end.
    Closed,
    /// The socket failed.
    Socket(io::Error),
    /// What it sent is no frame.
    Frame(InvalidFrame),
}

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("the sitter has gone"),
            Self::Socket(_) => f.write_str("talking to the sitter"),
            Self::Frame(_) => f.write_str("understanding the sitter"),
        }
    }
}

impl std::error::Error for LinkError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Closed => None,
            Self::Socket(cause) => Some(cause),
            Self::Frame(cause) => Some(cause),
        }
    }
}

impl Link {
    /// Takes over a connected stream socket. Must be called within a tokio runtime.
    pub(super) fn new(socket: net::UnixStream) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let socket = Arc::new(UnixStream::from_std(socket)?);
        Ok(Self {
            from_sitter: FromSitter { socket: Arc::clone(&socket), inbox: Inbox::default() },
            to_sitter: ToTheSitter { socket, outbox: Outbox::default() },
        })
    }
}

impl FromSitter {
    /// The next frame, as soon as there is one.
    pub(super) async fn receive(&mut self) -> Result<ToAgent, LinkError> {
        loop {
            if let Some(frame) = self.ready()? {
                return Ok(frame);
            }
            self.socket.readable().await.map_err(LinkError::Socket)?;
        }
    }

    /// The next frame, if there is one already.
    pub(super) fn ready(&mut self) -> Result<Option<ToAgent>, LinkError> {
        loop {
            if let Some(frame) = self.inbox.next_frame().map_err(LinkError::Frame)? {
                return Ok(Some(frame));
            }
            match self.inbox.fill(&mut Now(&self.socket)) {
                Ok(0) => return Err(LinkError::Closed),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(gone_or(error)),
            }
        }
    }

    /// Drops frames until the sitter goes: between sessions, all of them are out of date.
    pub(super) async fn discard(&mut self) -> LinkError {
        loop {
            if let Err(error) = self.receive().await {
                return error;
            }
        }
    }

    /// Whether the sitter has closed its end, which may lie behind frames that are not read yet.
    pub(super) fn is_closed(&self) -> bool {
        let mut polled = [PollFd::new(&*self.socket, PollFlags::RDHUP)];
        let asked = poll(&mut polled, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
        asked.is_ok() && polled[0].revents().intersects(PollFlags::RDHUP | PollFlags::HUP)
    }
}

impl ToTheSitter {
    /// Queues a frame; [`flush`](Self::flush) sends it.
    pub(super) fn push(&mut self, frame: ToSitter) -> Result<(), PayloadTooLong> {
        self.outbox.push(frame)
    }

    /// How many bytes wait to be sent.
    pub(super) fn queued(&self) -> usize {
        self.outbox.queued()
    }

    /// Sends all that is queued.
    pub(super) async fn flush(&mut self) -> Result<(), LinkError> {
        while !self.outbox.flush(&mut Now(&self.socket)).map_err(gone_or)? {
            self.socket.writable().await.map_err(LinkError::Socket)?;
        }
        Ok(())
    }
}

/// A sitter that died may show as an error rather than as the end of the stream.
fn gone_or(error: io::Error) -> LinkError {
    match error.kind() {
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => LinkError::Closed,
        _ => LinkError::Socket(error),
    }
}

/// The socket as what can be read and written without waiting.
struct Now<'a>(&'a UnixStream);

impl Read for Now<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(buffer)
    }
}

impl Write for Now<'_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.0.try_write(buffer)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.try_write_vectored(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
