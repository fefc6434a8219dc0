//! The agent's end of the socket pair to its sitter, in two halves that work beside each other.
//!
//! A session knows them as [`Source`] and [`Sink`], so that the fleet emulator can put something
//! smaller than a process with a socket behind it.
//!
//! All waiting here may be cancelled: bytes that were read stay in the inbox, and queued ones in
//! the outbox.

use std::{
    io::{self, IoSlice, Read, Write},
    os::unix::net,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::net::UnixStream;

use crate::ipc::{Inbox, InvalidFrame, Outbox, PayloadTooLong, ToAgent, ToSitter};

/// Frames of a sitter.
pub trait Source: Send {
    /// Returns the next frame, as soon as there is one. Cancelling this loses none.
    fn receive(&mut self) -> impl Future<Output = Result<ToAgent, LinkError>> + Send;

    /// Returns the next frame if there is one already.
    fn ready(&mut self) -> Result<Option<ToAgent>, LinkError>;

    /// How this sitter is asked whether it is there; `None` if it does not know the question.
    fn patience(&self) -> Option<SitterPatience> {
        None
    }

    /// Whether the sitter has gone, even if there are frames that are not read yet.
    fn is_closed(&self) -> bool;

    /// Drops frames until the sitter goes. Between sessions all frames are out of date.
    fn discard(&mut self) -> impl Future<Output = LinkError> + Send {
        async {
            loop {
                if let Err(error) = self.receive().await {
                    return error;
                }
            }
        }
    }
}

/// How often a sitter is asked whether it is there, and how long it may take to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SitterPatience {
    /// The time between an answer and the next question.
    pub ask: Duration,
    /// A sitter that has said nothing for so long since the question counts as stopped.
    pub silent: Duration,
}

impl SitterPatience {
    /// Questions are so rare that they cost an idle host nothing. A sitter waits for nothing but
    /// its disk, and a sitter whose disk takes longer to write some bytes takes no orders either.
    pub const USUAL: SitterPatience =
        SitterPatience { ask: Duration::from_secs(10), silent: Duration::from_secs(30) };
}

/// Frames for a sitter.
pub trait Sink: Send {
    /// Queues a frame; [`flush`](Self::flush) sends it.
    fn push(&mut self, frame: ToSitter) -> Result<(), PayloadTooLong>;

    /// How many bytes wait to be sent.
    fn queued(&self) -> usize;

    /// Sends all that is queued. Cancelling it loses nothing.
    fn flush(&mut self) -> impl Future<Output = Result<(), LinkError>> + Send;
}

/// Both directions.
#[derive(Debug)]
pub struct Link<R = FromSitter, W = ToTheSitter> {
    pub from_sitter: R,
    pub to_sitter: W,
}

/// Frames that come in over the socket.
#[derive(Debug)]
pub struct FromSitter {
    socket: Arc<UnixStream>,
    inbox: Inbox<ToAgent>,
    patience: Option<SitterPatience>,
}

/// Frames that go out over the socket. Copies share what is queued, so that frames of several tasks go
/// out whole.
#[derive(Clone, Debug)]
pub struct ToTheSitter {
    socket: Arc<UnixStream>,
    outbox: Arc<Mutex<Outbox<ToSitter>>>,
}

impl ToTheSitter {
    fn outbox(&self) -> MutexGuard<'_, Outbox<ToSitter>> {
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why nothing more comes from the sitter. The agent's work is over.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// It closed its end.
    #[error("the sitter has gone")]
    Closed,
    /// The socket failed.
    #[error("talking to the sitter")]
    Socket(#[source] io::Error),
    /// What it sent is no frame.
    #[error("understanding the sitter")]
    Frame(#[source] InvalidFrame),
}

impl Link {
    /// Takes over a connected stream socket to a sitter. `patience` says how the sitter is asked
    /// whether it is there; `None`: not at all. Must be called within a tokio runtime.
    pub fn new(socket: net::UnixStream, patience: Option<SitterPatience>) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let socket = Arc::new(UnixStream::from_std(socket)?);
        let inbox = Inbox::default();
        Ok(Self {
            from_sitter: FromSitter { socket: Arc::clone(&socket), inbox, patience },
            to_sitter: ToTheSitter { socket, outbox: Arc::default() },
        })
    }
}

impl Source for FromSitter {
    async fn receive(&mut self) -> Result<ToAgent, LinkError> {
        loop {
            if let Some(frame) = self.ready()? {
                return Ok(frame);
            }
            self.socket.readable().await.map_err(LinkError::Socket)?;
        }
    }

    fn ready(&mut self) -> Result<Option<ToAgent>, LinkError> {
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

    fn patience(&self) -> Option<SitterPatience> {
        self.patience
    }

    fn is_closed(&self) -> bool {
        let mut polled = [PollFd::new(&*self.socket, PollFlags::RDHUP)];
        let asked = poll(&mut polled, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
        asked.is_ok() && polled[0].revents().intersects(PollFlags::RDHUP | PollFlags::HUP)
    }
}

impl Sink for ToTheSitter {
    fn push(&mut self, frame: ToSitter) -> Result<(), PayloadTooLong> {
        self.outbox().push(frame)
    }

    fn queued(&self) -> usize {
        self.outbox().queued()
    }

    async fn flush(&mut self) -> Result<(), LinkError> {
        loop {
            let is_flushed = self.outbox().flush(&mut Now(&self.socket)).map_err(gone_or)?;
            if is_flushed {
                return Ok(());
            }
            self.socket.writable().await.map_err(LinkError::Socket)?;
        }
    }
}

/// Returns `Closed` for errors by which the death of the sitter shows instead of the end of the
/// stream.
fn gone_or(error: io::Error) -> LinkError {
    match error.kind() {
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => LinkError::Closed,
        _ => LinkError::Socket(error),
    }
}

/// The socket as a reader and writer that does not wait.
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
