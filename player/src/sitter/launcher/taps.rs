//! The launcher's second duty: it reads what its user's scores write.
//!
//! A *tap* is the two pipes of one attempt and the files that they are emptied into. Whoever opens,
//! reads or closes a pipe may have to wait for whoever writes to it (see `stream.rs`), so each touch of
//! a pipe is noted beforehand in the page that is shared with the sitter. The sitter then knows which
//! tap a launcher is stuck with.
//!
//! This is a thread of its own, with a socket of its own, because the other one waits for newborns, and
//! this one for disks: attempts are to end as fast as others begin. It lives by the rule that
//! `sys::spawn` asks for: it makes no process, and takes no signal.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicI32, Ordering},
    },
    thread,
};

use rustix::{
    buffer::spare_capacity,
    event::epoll::{self, CreateFlags, Event, EventData, EventFlags},
    fd::{AsFd, OwnedFd},
    io::Errno,
    net::RecvFlags,
};

use super::{
    program::{self, Inbox, LauncherError, failed},
    wire::{Account, Adoption, Answers, Asked, TapId},
};
use crate::sitter::{
    capture::{Capture, Written},
    pipe::{CHUNK, Drained, Holds, Pipe},
    stream::STREAMS,
};

/// The launcher's second thread: it reads while the first one waits for newborns.
pub(super) struct Reader {
    socket: OwnedFd,
    newcomers: Arc<Newcomers>,
    all: BTreeMap<TapId, Tap>,
    chunk: Box<[u8]>,
    page: Page,
    /// What is to be said.
    answers: Answers,
    /// Nothing is moved but what the sitter asks for.
    holds: bool,
    /// That, and there are pipes to be kept open.
    held: Arc<AtomicBool>,
}

/// Taps that the first thread opened, on their way to the second.
pub(super) struct Newcomers {
    epoll: OwnedFd,
    taps: Mutex<Vec<(TapId, Tap)>>,
}

/// What the sitter is to know when it hears nothing.
#[derive(Clone, Copy)]
pub(super) struct Page {
    /// Which tap is being touched.
    pub(super) touched: &'static AtomicI32,
    /// How often any was.
    pub(super) touches: &'static AtomicI32,
}

/// Standard output and standard error.
type Tap = [Spout; 2];

/// One stream of a tap.
struct Spout {
    /// `None` after its end.
    pipe: Option<Pipe>,
    /// `None` where what comes is thrown away.
    capture: Option<Capture>,
}

/// How the page says which tap is touched; 0 is none. Taps that are apart by a multiple of 2³² look
/// alike: no launcher has so many.
pub(super) fn mark_of(id: TapId) -> i32 {
    id.0 as u32 as i32
}

/// Says that a tap is touched, while it lives.
struct Touch(&'static AtomicI32);

impl Touch {
    fn of(id: TapId, page: Page) -> Self {
        page.touches.fetch_add(1, Ordering::Relaxed);
        page.touched.store(mark_of(id), Ordering::Relaxed);
        Self(page.touched)
    }
}

impl Drop for Touch {
    fn drop(&mut self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

impl Newcomers {
    /// Opens the pipes of an attempt that is about to start: what its process gets as standard output
    /// and standard error. They are new, so nobody can keep us waiting.
    pub(super) fn open(
        &self,
        id: TapId,
        directory: OwnedFd,
        limit: u64,
    ) -> io::Result<[OwnedFd; 2]> {
        let directory = Arc::new(directory);
        let open = |stream| {
            let pipe = Pipe::open(directory.as_fd(), stream)?;
            let writer = Pipe::open_for_the_score(directory.as_fd(), stream)?;
            let capture = Capture::new(Arc::clone(&directory), stream, limit);
            io::Result::Ok((Spout { pipe: Some(pipe), capture: Some(capture) }, writer))
        };
        let (stdout, to_stdout) = open(STREAMS[0])?;
        let (stderr, to_stderr) = open(STREAMS[1])?;
        for (index, spout) in [&stdout, &stderr].into_iter().enumerate() {
            spout.pipe.as_ref().map_or(Ok(()), |pipe| self.watch(id, index, pipe))?;
        }
        self.lock().push((id, [stdout, stderr]));
        Ok([to_stdout, to_stderr])
    }

    fn watch(&self, id: TapId, index: usize, pipe: &Pipe) -> io::Result<()> {
        let token = EventData::new_u64(id.0 * 2 + index as u64);
        Ok(epoll::add(&self.epoll, pipe, token, EventFlags::IN)?)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(TapId, Tap)>> {
        // Whoever panicked has pushed, or it has not.
        self.taps.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Belongs to the socket. All others are of pipes.
const OF_SOCKET: u64 = u64::MAX;
/// Most events that are taken at once.
const EVENTS: usize = 64;

/// Whether there is a sitter.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sitter {
    There,
    Gone,
}

impl Reader {
    /// One that hears the sitter at `socket`.
    pub(super) fn new(socket: OwnedFd, page: Page) -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &socket, EventData::new_u64(OF_SOCKET), EventFlags::IN)?;
        Ok(Self {
            socket,
            newcomers: Arc::new(Newcomers { epoll, taps: Mutex::default() }),
            all: BTreeMap::new(),
            chunk: vec![0; CHUNK].into_boxed_slice(),
            page,
            answers: Answers::default(),
            holds: false,
            held: Arc::default(),
        })
    }

    /// Where the first thread leaves what it opened.
    pub(super) fn newcomers(&self) -> Arc<Newcomers> {
        Arc::clone(&self.newcomers)
    }

    /// Whether pipes are to be kept open although the sitter has gone.
    pub(super) fn held(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.held)
    }

    /// Reads until the sitter goes.
    pub(super) fn serve(mut self) -> Result<(), LauncherError> {
        let mut inbox = Inbox::new();
        let mut events: Vec<Event> = Vec::with_capacity(EVENTS);
        loop {
            let sitter = match self.holds {
                true => self.listen(&mut inbox, RecvFlags::empty())?,
                false => self.turn(&mut inbox, &mut events)?,
            };
            self.give()?;
            if sitter == Sitter::Gone {
                while self.held.load(Ordering::Relaxed) {
                    // The first thread ends us, and closes what is open.
                    thread::park();
                }
                return Ok(());
            }
        }
    }

    fn turn(
        &mut self,
        inbox: &mut Inbox,
        events: &mut Vec<Event>,
    ) -> Result<Sitter, LauncherError> {
        events.clear();
        match epoll::wait(&self.newcomers.epoll, spare_capacity(events), None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(failed("waiting for events")(error)),
        }
        for event in &*events {
            match event.data.u64() {
                OF_SOCKET => {
                    if self.listen(inbox, RecvFlags::DONTWAIT)? == Sitter::Gone {
                        return Ok(Sitter::Gone);
                    }
                }
                of_pipe => self.ready(of_pipe, event.flags)?,
            }
        }
        Ok(Sitter::There)
    }

    /// Takes in one thing that the sitter asks for.
    fn listen(&mut self, inbox: &mut Inbox, flags: RecvFlags) -> Result<Sitter, LauncherError> {
        let message = match inbox.receive(&self.socket, flags) {
            Ok(None) => return Ok(Sitter::Gone),
            Ok(Some(message)) => message,
            Err(LauncherError::Failed { source, .. })
                if source.kind() == io::ErrorKind::WouldBlock =>
            {
                return Ok(Sitter::There);
            }
            Err(error) => return Err(error),
        };
        self.welcome();
        match inbox.read(message).ok_or(LauncherError::Message)? {
            Asked::Adopt(adoption) => {
                let id = adoption.id;
                let account = self.adopt(adoption);
                self.say(id, account)?;
            }
            Asked::Close(ids) => {
                for id in ids {
                    if let Some(account) = self.close(id) {
                        self.say(id, account)?;
                    }
                }
            }
            Asked::Forget(ids) => ids.into_iter().for_each(|id| self.forget(id)),
            Asked::Hold => {
                (self.holds, self.answers.holds) = (true, true);
                self.held.store(!self.all.is_empty(), Ordering::Relaxed);
            }
            Asked::GoOn => {
                self.holds = false;
                self.held.store(false, Ordering::Relaxed);
            }
            Asked::Launch(_) => return Err(LauncherError::Message),
        }
        Ok(Sitter::There)
    }

    /// Takes over what the first thread has opened.
    fn welcome(&mut self) {
        self.all.extend(std::mem::take(&mut *self.newcomers.lock()));
    }

    fn say(&mut self, id: TapId, account: Account) -> Result<(), LauncherError> {
        self.answers.accounts.push((id, account));
        if self.answers.is_full() { self.give() } else { Ok(()) }
    }

    /// Says what is to be said. That the sitter is gone shows when it is listened to.
    fn give(&mut self) -> Result<(), LauncherError> {
        let answers = std::mem::take(&mut self.answers);
        if answers.is_empty() {
            return Ok(());
        }
        match program::give(&self.socket, &answers, &[]) {
            Err(Errno::PIPE | Errno::CONNRESET) => Ok(()),
            given => given.map_err(failed("answering the sitter")),
        }
    }

    /// Goes on with the pipes of an attempt that has its process already, as far as they are still
    /// there.
    fn adopt(&mut self, adoption: Adoption) -> Account {
        let Adoption { id, limit, discards, directory } = adoption;
        let Some(directory) = directory else {
            return Account { over: true, written: None };
        };
        let touch = Touch::of(id, self.page);
        let directory = Arc::new(directory);
        let tap = [0, 1].map(|index| {
            let stream = STREAMS[index];
            // Opened before the file is looked at: whoever is just moving bytes out of the pipe has
            // them in the file before this returns.
            let pipe = Pipe::open(directory.as_fd(), stream).ok();
            let pipe = pipe.filter(|pipe| self.newcomers.watch(id, index, pipe).is_ok());
            let reopen = || Capture::reopen(Arc::clone(&directory), stream, limit).ok();
            Spout { pipe, capture: if discards { None } else { reopen() } }
        });
        self.all.insert(id, tap);
        drop(touch);
        // The kernel does not tell the end of a pipe that had nobody else when it was opened.
        self.drain(id, 0, Holds::Unknown);
        self.drain(id, 1, Holds::Unknown);
        self.account_if_over(id).unwrap_or(Account { over: false, written: None })
    }

    /// Reads a pipe that has something to say.
    fn ready(&mut self, token: u64, what: EventFlags) -> Result<(), LauncherError> {
        let (id, index) = (TapId(token / 2), (token % 2) as usize);
        if !self.all.contains_key(&id) {
            self.welcome();
        }
        let holds = if what.contains(EventFlags::IN) { Holds::Something } else { Holds::Nothing };
        self.drain(id, index, holds);
        match self.account_if_over(id) {
            Some(account) => self.say(id, account),
            None => Ok(()),
        }
    }

    /// What was written so far, after one more reading; from now on all is thrown away. `None` where
    /// it is over, which was told.
    fn close(&mut self, id: TapId) -> Option<Account> {
        self.drain(id, 0, Holds::Unknown);
        self.drain(id, 1, Holds::Unknown);
        if let Some(over) = self.account_if_over(id) {
            return Some(over);
        }
        let tap = self.all.get_mut(&id)?;
        let written = written(tap);
        tap.iter_mut().for_each(|spout| spout.capture = None);
        Some(Account { over: false, written })
    }

    /// Lets go of one.
    fn forget(&mut self, id: TapId) {
        let _touch = Touch::of(id, self.page);
        for pipe in self.all.remove(&id).iter().flatten().filter_map(|spout| spout.pipe.as_ref()) {
            let _ = epoll::delete(&self.newcomers.epoll, pipe);
        }
    }

    fn drain(&mut self, id: TapId, index: usize, holds: Holds) {
        let Some(spout) = self.all.get_mut(&id).and_then(|tap| tap.get_mut(index)) else { return };
        let _touch = Touch::of(id, self.page);
        let Spout { pipe, capture } = spout;
        let drained =
            pipe.as_ref().map(|pipe| pipe.drain(capture.as_mut(), holds, &mut self.chunk));
        if drained == Some(Drained::End)
            && let Some(pipe) = pipe.take()
        {
            // A newborn that is just made has a copy of what we have open, so that closing it does not
            // take it out of there; and its end would be told again and again.
            let _ = epoll::delete(&self.newcomers.epoll, &pipe);
        }
    }

    fn account_if_over(&mut self, id: TapId) -> Option<Account> {
        let is_over = |tap: &Tap| tap.iter().all(|spout| spout.pipe.is_none());
        let tap = match self.all.entry(id) {
            Entry::Occupied(tap) if is_over(tap.get()) => tap.remove(),
            _ => return None,
        };
        Some(Account { over: true, written: written(&tap) })
    }
}

fn written(tap: &Tap) -> Option<[Written; 2]> {
    let [stdout, stderr] = tap.each_ref().map(|spout| spout.capture.as_ref());
    Some([stdout?.written(), stderr?.written()])
}
