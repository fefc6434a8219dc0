//! The launcher's second duty: it reads what its user's scores write.
//!
//! A *tap* is the two pipes of one attempt, or of a unit's run, and the files into which they are
//! emptied. A unit's tap may have a socket or a third pipe, through which the unit says that it is
//! ready (`ear.rs`). To open, read or close a pipe may have to wait for a process that writes to it
//! (`stream.rs`). So each touch of a pipe is noted beforehand in the page that is shared with the
//! sitter. By that the sitter knows with which tap a launcher is stuck.
//!
//! This is a thread of its own, with a socket of its own, because the other thread waits for
//! newborns, and this one for disks: attempts are to end as fast as others begin. It keeps the rule
//! of `sys::spawn`: it makes no process, and takes no signal.

use std::{
    collections::{BTreeMap, VecDeque, btree_map::Entry},
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, AtomicI32, Ordering},
    },
    thread,
    time::Instant,
};

use orchestra_units::RunId;
use rustix::{
    buffer::spare_capacity,
    event::epoll::{self, CreateFlags, Event, EventData, EventFlags},
    fd::{AsFd, OwnedFd},
    io::Errno,
    net::RecvFlags,
    time::Timespec,
};

use super::{
    DEAF,
    ear::{Ear, Heard},
    log::Log,
    program::{self, Inbox, LauncherError, failed},
    wire::{Account, Adoption, Answers, Asked, Keep, NewTap, Ready, TapId},
};
use crate::sitter::{
    capture::{Capture, Written},
    pipe::{CHUNK, Drained, Holds, Pipe, Sink},
    stream::{self, READY_PIPE, STREAMS, Stream},
    sys::Identity,
};

/// The launcher's second thread: it reads while the first one waits for newborns.
pub(super) struct ByteReader {
    socket: OwnedFd,
    newcomers: Arc<Newcomers>,
    all: BTreeMap<TapId, Tap>,
    chunk: Box<[u8]>,
    page: Page,
    /// Answers that are to be sent.
    answers: Answers,
    /// Whether only what the sitter asks for is moved.
    holds: bool,
    /// Whether it holds and has pipes that are to be kept open.
    held: Arc<AtomicBool>,
    /// Taps of loud units, each with the moment until which it is not listened to.
    deaf: VecDeque<(Instant, TapId)>,
}

/// Taps that the first thread opened, on their way to the second.
pub(super) struct Newcomers {
    epoll: OwnedFd,
    taps: Mutex<Vec<(TapId, Tap)>>,
    /// The logs that are written to, so that a log is not opened twice in this process.
    logs: Mutex<Logs>,
}

/// By device and number of their directory, and by stream.
type Logs = BTreeMap<(u64, u64, &'static str), Weak<Mutex<Log>>>;

/// What the sitter can read while the launcher is silent.
#[derive(Clone, Copy)]
pub(super) struct Page {
    /// Which tap is being touched.
    pub(super) touched: &'static AtomicI32,
    /// How often any was.
    pub(super) touches: &'static AtomicI32,
}

/// What is read of one attempt or run.
struct Tap {
    /// Standard output and standard error.
    spouts: [Spout; 2],
    ear: Option<Ear>,
}

/// The ends of a tap that a newborn gets.
pub(super) struct Opened {
    /// Standard output and standard error.
    pub(super) streams: [OwnedFd; 2],
    /// Where it says that it is ready, and the number of that descriptor.
    pub(super) ready: Option<(u8, OwnedFd)>,
}

/// One stream of a tap.
struct Spout {
    /// `None` after its end.
    pipe: Option<Pipe>,
    /// `None` if what comes is thrown away.
    filling: Option<Filling>,
}

/// What a stream fills.
enum Filling {
    /// The file of an attempt.
    Capture(Capture),
    /// The files of a unit, which its next run goes on with.
    Log(Arc<Mutex<Log>>, RunId),
}

impl Sink for Filling {
    fn take(&mut self, pipe: &Pipe, holds: Holds, chunk: &mut [u8]) -> Result<usize, Errno> {
        match self {
            Filling::Capture(capture) => capture.take(pipe, holds, chunk),
            Filling::Log(log, run) => {
                let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
                log.of(*run).take(pipe, holds, chunk)
            }
        }
    }
}

/// Returns how the page names a tap that is touched; 0 is none. Taps whose ids differ by a multiple
/// of 2³² look alike, and no launcher has so many.
pub(super) fn mark_of(id: TapId) -> i32 {
    id.0 as u32 as i32
}

/// While this lives the page says that a tap is touched.
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
    /// Opens the pipes of an attempt or run that is about to start, which are its standard output
    /// and standard error. The pipes are new, so nobody can make us wait.
    pub(super) fn open(&self, tap: NewTap, user: Option<&Identity>) -> io::Result<Opened> {
        let NewTap { id, keep, directory, ready } = tap;
        let directory = Arc::new(directory);
        let open = |stream: Stream| {
            let pipe = Pipe::open(directory.as_fd(), stream)?;
            let writer = Pipe::open_for_the_score(directory.as_fd(), stream.pipe())?;
            let filling = match keep {
                Keep::Log(run) => Filling::Log(self.log(&directory, stream)?, run),
                Keep::First(limit) => {
                    Filling::Capture(Capture::new(Arc::clone(&directory), stream, limit))
                }
            };
            io::Result::Ok((Spout { pipe: Some(pipe), filling: Some(filling) }, writer))
        };
        let (stdout, to_stdout) = open(STREAMS[0])?;
        let (stderr, to_stderr) = open(STREAMS[1])?;
        for (index, spout) in [&stdout, &stderr].into_iter().enumerate() {
            spout.pipe.as_ref().map_or(Ok(()), |pipe| self.watch(id, index, pipe))?;
        }
        let at = if let Ready::At(number) = ready { Some(number) } else { None };
        let ear = Ear::open(ready, directory.as_fd(), user)?;
        if let Some(ear) = &ear {
            self.watch(id, EAR, ear)?;
        }
        let writer = || Pipe::open_for_the_score(directory.as_fd(), READY_PIPE);
        let ready = at.map(|number| writer().map(|writer| (number, writer))).transpose()?;
        self.lock().push((id, Tap { spouts: [stdout, stderr], ear }));
        Ok(Opened { streams: [to_stdout, to_stderr], ready })
    }

    /// Opens the log of a unit's stream.
    fn log(&self, directory: &Arc<OwnedFd>, stream: Stream) -> io::Result<Arc<Mutex<Log>>> {
        let found = rustix::fs::fstat(directory)?;
        let name = (found.st_dev, found.st_ino, stream.file());
        let mut logs = self.logs.lock().unwrap_or_else(PoisonError::into_inner);
        logs.retain(|_, log| log.strong_count() > 0);
        if let Some(log) = logs.get(&name).and_then(Weak::upgrade) {
            return Ok(log);
        }
        let log = Arc::new(Mutex::new(Log::new(Arc::clone(directory), stream)));
        logs.insert(name, Arc::downgrade(&log));
        Ok(log)
    }

    fn watch(&self, id: TapId, index: usize, what: impl AsFd) -> io::Result<()> {
        let token = EventData::new_u64(id.0 * PLACES + index as u64);
        Ok(epoll::add(&self.epoll, what, token, EventFlags::IN)?)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(TapId, Tap)>> {
        // A panic leaves the list whole: a tap was pushed or not.
        self.taps.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The token of the socket. All others are of taps.
const OF_SOCKET: u64 = u64::MAX;
/// How many tokens a tap has: for two pipes, and for its ear.
const PLACES: u64 = 3;
const EAR: usize = 2;
/// Most events that are taken at once.
const EVENTS: usize = 64;

/// Whether the sitter is there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sitter {
    There,
    Gone,
}

impl ByteReader {
    /// Returns a reader to which the sitter speaks at `socket`.
    pub(super) fn new(socket: OwnedFd, page: Page) -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &socket, EventData::new_u64(OF_SOCKET), EventFlags::IN)?;
        Ok(Self {
            socket,
            newcomers: Arc::new(Newcomers {
                epoll,
                taps: Mutex::default(),
                logs: Mutex::default(),
            }),
            deaf: VecDeque::new(),
            all: BTreeMap::new(),
            chunk: vec![0; CHUNK].into_boxed_slice(),
            page,
            answers: Answers::default(),
            holds: false,
            held: Arc::default(),
        })
    }

    /// Returns where the first thread leaves what it opened.
    pub(super) fn newcomers(&self) -> Arc<Newcomers> {
        Arc::clone(&self.newcomers)
    }

    /// Returns a flag that says whether pipes are to be kept open although the sitter has gone.
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
                    // The first thread ends this process, which closes what is open.
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
        let patience = self.listen_again();
        match epoll::wait(&self.newcomers.epoll, spare_capacity(events), patience.as_ref()) {
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

    /// Listens again to loud units whose time is over. Returns how long until the next one.
    fn listen_again(&mut self) -> Option<Timespec> {
        let now = Instant::now();
        while let Some((at, id)) = self.deaf.front().copied() {
            if at > now {
                return Timespec::try_from(at - now).ok();
            }
            self.deaf.pop_front();
            if let Some(ear) = self.all.get(&id).and_then(|tap| tap.ear.as_ref()) {
                let _ = self.newcomers.watch(id, EAR, ear);
            }
        }
        None
    }

    /// Takes what is said in the name of a unit.
    fn hear(&mut self, id: TapId) -> Result<(), LauncherError> {
        let touch = Touch::of(id, self.page);
        let Some(tap) = self.all.get_mut(&id) else { return Ok(()) };
        let Some(ear) = &mut tap.ear else { return Ok(()) };
        let Heard { words, goes_on, is_loud } = ear.hear();
        if !goes_on || is_loud {
            let _ = epoll::delete(&self.newcomers.epoll, &*ear);
        }
        match goes_on {
            false => tap.ear = None,
            true if is_loud => self.deaf.push_back((Instant::now() + DEAF, id)),
            true => {}
        }
        drop(touch);
        for word in words {
            self.answers.words.push((id, word));
            if self.answers.is_full() {
                self.give()?;
            }
        }
        Ok(())
    }

    /// Takes one request of the sitter.
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
            Asked::Note(id, text) => self.note(id, &text),
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

    /// Writes lines into the log of a run's standard error. They are lost if there is none.
    fn note(&self, id: TapId, text: &[u8]) {
        let spouts = self.all.get(&id).map(|tap| &tap.spouts);
        if let Some([_, Spout { filling: Some(Filling::Log(log, run)), .. }]) = spouts {
            let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
            log.of(*run).note(text);
        }
    }

    /// Takes over the taps that the first thread has opened.
    fn welcome(&mut self) {
        self.all.extend(std::mem::take(&mut *self.newcomers.lock()));
    }

    fn say(&mut self, id: TapId, account: Account) -> Result<(), LauncherError> {
        self.answers.accounts.push((id, account));
        if self.answers.is_full() { self.give() } else { Ok(()) }
    }

    /// Sends the answers. If the sitter is gone, that shows when we listen to it.
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

    /// Goes on with those pipes of an attempt that still exist. The attempt has its process
    /// already.
    fn adopt(&mut self, adoption: Adoption) -> Account {
        let Adoption { id, keep, discards, directories } = adoption;
        let Some((directory, ready)) = directories else {
            return Account { over: true, written: None };
        };
        let touch = Touch::of(id, self.page);
        let directory = Arc::new(directory);
        let spouts = [0, 1].map(|index| {
            let stream = STREAMS[index];
            // The pipe is opened before the file is looked at, because opening waits for a launcher
            // that is just moving bytes: after it they are in the file.
            let pipe = Pipe::open(directory.as_fd(), stream).ok();
            let pipe = pipe.filter(|pipe| self.newcomers.watch(id, index, pipe).is_ok());
            let filling = match keep {
                _ if discards => None,
                Keep::Log(run) => {
                    let log = self.newcomers.log(&directory, stream).ok();
                    log.map(|log| Filling::Log(log, run))
                }
                Keep::First(limit) => {
                    let directory = Arc::clone(&directory);
                    Capture::reopen(directory, stream, limit).ok().map(Filling::Capture)
                }
            };
            Spout { pipe, filling }
        });
        let owner = stream::owner_of_pipes(directory.as_fd());
        let ear = Ear::reopen(ready, directory.as_fd(), owner);
        let ear = ear.filter(|ear| self.newcomers.watch(id, EAR, ear).is_ok());
        self.all.insert(id, Tap { spouts, ear });
        drop(touch);
        // The kernel does not tell the end of a pipe that nobody else had open when we opened it.
        self.drain(id, 0, Holds::Unknown);
        self.drain(id, 1, Holds::Unknown);
        self.account_if_over(id).unwrap_or(Account { over: false, written: None })
    }

    /// Reads a pipe that is ready.
    fn ready(&mut self, token: u64, what: EventFlags) -> Result<(), LauncherError> {
        let (id, index) = (TapId(token / PLACES), (token % PLACES) as usize);
        if !self.all.contains_key(&id) {
            self.welcome();
        }
        if index == EAR {
            return self.hear(id);
        }
        let holds = if what.contains(EventFlags::IN) { Holds::Something } else { Holds::Nothing };
        self.drain(id, index, holds);
        match self.account_if_over(id) {
            Some(account) => self.say(id, account),
            None => Ok(()),
        }
    }

    /// Reads once more, then throws away what follows. Returns what was written until then; `None`
    /// if the tap is over, which was told.
    fn close(&mut self, id: TapId) -> Option<Account> {
        self.drain(id, 0, Holds::Unknown);
        self.drain(id, 1, Holds::Unknown);
        if let Some(over) = self.account_if_over(id) {
            return Some(over);
        }
        let tap = self.all.get_mut(&id)?;
        let written = written(tap);
        tap.spouts.iter_mut().for_each(|spout| spout.filling = None);
        Some(Account { over: false, written })
    }

    /// Releases a tap. If it is a run's, its pipes are first emptied into the log, because the run
    /// is over.
    fn forget(&mut self, id: TapId) {
        let is_log = |spout: &Spout| matches!(spout.filling, Some(Filling::Log(..)));
        if self.all.get(&id).is_some_and(|tap| tap.spouts.iter().any(is_log)) {
            self.drain(id, 0, Holds::Unknown);
            self.drain(id, 1, Holds::Unknown);
        }
        let _touch = Touch::of(id, self.page);
        let Some(tap) = self.all.remove(&id) else { return };
        for pipe in tap.spouts.iter().filter_map(|spout| spout.pipe.as_ref()) {
            let _ = epoll::delete(&self.newcomers.epoll, pipe);
        }
        if let Some(ear) = &tap.ear {
            let _ = epoll::delete(&self.newcomers.epoll, ear);
        }
    }

    fn drain(&mut self, id: TapId, index: usize, holds: Holds) {
        let spout = self.all.get_mut(&id).and_then(|tap| tap.spouts.get_mut(index));
        let Some(Spout { pipe, filling }) = spout else { return };
        let _touch = Touch::of(id, self.page);
        let sink = filling.as_mut().map(|filling| filling as &mut (dyn Sink + 'static));
        let drained = pipe.as_ref().map(|pipe| pipe.drain(sink, holds, &mut self.chunk));
        if drained == Some(Drained::End)
            && let Some(pipe) = pipe.take()
        {
            // Closing the pipe does not remove it from the poll set while a newborn that is just
            // being made has a copy of it. Then its end would be told again and again.
            let _ = epoll::delete(&self.newcomers.epoll, &pipe);
        }
    }

    fn account_if_over(&mut self, id: TapId) -> Option<Account> {
        let is_over =
            |tap: &Tap| tap.ear.is_none() && tap.spouts.iter().all(|spout| spout.pipe.is_none());
        let tap = match self.all.entry(id) {
            Entry::Occupied(tap) if is_over(tap.get()) => tap.remove(),
            _ => return None,
        };
        Some(Account { over: true, written: written(&tap) })
    }
}

fn written(tap: &Tap) -> Option<[Written; 2]> {
    let written = |spout: &Spout| match &spout.filling {
        Some(Filling::Capture(capture)) => Some(capture.written()),
        Some(Filling::Log(..)) | None => None,
    };
    let [stdout, stderr] = tap.spouts.each_ref().map(written);
    Some([stdout?, stderr?])
}
