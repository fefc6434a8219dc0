//! What a launcher does: it takes one request after another, until the sitter's end of the socket
//! closes. Its second thread reads what processes write meanwhile (`taps.rs`).

use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    sync::{
        Arc,
        atomic::{AtomicI32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use orchestra_daemon::signals;
use rustix::{
    fd::{AsFd, BorrowedFd, OwnedFd},
    io::Errno,
    net::{
        RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
        SendAncillaryMessage, SendFlags, recvmsg, sendmsg, sockopt,
    },
    process::{
        DumpableBehavior, Signal, getppid, set_dumpable_behavior, set_parent_process_death_signal,
    },
};

use super::{
    ANSWERS, GATHERED, HELD, NEWBORNS, PAGE, SOCKET, TAPS, TOUCHED, TOUCHES,
    taps::{ByteReader, Newcomers, Opened, Page},
    wire::{self, Answer, Answers, Asked, Came, DESCRIPTORS, REQUEST_BYTES, Received, Seen},
};
use crate::sitter::{
    procfs::Stat,
    sys::{self, FileLimit, Identity, SHARED_NUMBERS, Spawn, SpawnError, Spawned},
};

/// How long to wait before the next look at a newborn that neither executes nor is dead. It does
/// not share our memory any more, so it is about to do one of the two.
const MOMENT: Duration = Duration::from_micros(200);

/// Why a launcher fails, apart from the end of its sitter.
#[derive(Debug, thiserror::Error)]
pub enum LauncherError {
    /// It was not started by a sitter.
    #[error("there is no sitter (only `player` starts a launcher)")]
    NoSitter,
    /// Something that it needs failed.
    #[error("launcher: {attempted}")]
    Failed {
        /// What was attempted.
        attempted: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// What came from the sitter makes no sense.
    #[error("launcher: the sitter's message makes no sense")]
    Message,
}

pub(super) fn failed<E: Into<io::Error>>(
    attempted: &'static str,
) -> impl FnOnce(E) -> LauncherError {
    move |error| LauncherError::Failed { attempted, source: error.into() }
}

/// Does a launcher's work until its sitter goes. To be called once, by a program of one thread.
pub fn run() -> Result<(), LauncherError> {
    let mut inherited = sys::inherited([SOCKET, PAGE, TAPS]).into_iter();
    let (Some(socket), Some(page), Some(of_taps)) =
        (inherited.next(), inherited.next(), inherited.next())
    else {
        return Err(LauncherError::NoSitter);
    };
    let numbers = sys::shared_numbers(page.as_fd()).ok_or(LauncherError::NoSitter)?;
    drop(page);
    signals::outlive_strays().map_err(failed("setting signal handlers"))?;
    if !die_with_the_sitter(&socket).map_err(failed("asking for an end with the sitter"))? {
        return Ok(());
    }
    // A launcher has up to five files open for each attempt, so it raises its limit. The attempt's
    // program gets the limit that we were given.
    let file_limit = FileLimit::raise();
    let page = Page { touched: &numbers[TOUCHED], touches: &numbers[TOUCHES] };
    let reader = ByteReader::new(of_taps, page).map_err(failed("making an epoll"))?;
    let (newcomers, held) = (reader.newcomers(), reader.held());
    let mut inbox = Inbox::new();
    let Some(Message { length, .. }) = inbox.receive(&socket, RecvFlags::empty())? else {
        return Ok(());
    };
    let user = wire::decode_user(inbox.bytes(length)).ok_or(LauncherError::Message)?;
    if user.is_some() {
        // A newborn still shares this memory when it runs as the user. That user must not look into
        // it, however the host treats programs that change their user.
        set_dumpable_behavior(DumpableBehavior::NotDumpable)
            .map_err(failed("hiding its memory"))?;
    }
    let waker = socket.try_clone().map_err(failed("copying a descriptor"))?;
    let read = move || {
        let read = reader.serve();
        if read.is_err() {
            // Without this thread the other one is of no use. It ends when its socket is shut down.
            let _ = rustix::net::shutdown(&waker, rustix::net::Shutdown::Both);
        }
        read
    };
    let builder = thread::Builder::new().name("pipes".to_owned());
    let reading = sys::with_signals_blocked(|| builder.spawn(read));
    let reading = reading.map_err(failed("starting a thread"))?;
    Launcher { socket, numbers, user, file_limit, inbox, newcomers }.serve()?;
    if held.load(Ordering::Relaxed) {
        // The sitter is executed anew. Until the next launcher opens the same pipes, they keep
        // their content because we have them open.
        thread::sleep(HELD);
    }
    match reading.is_finished().then(|| reading.join()) {
        Some(Ok(read)) => read,
        // The second thread may wait for something that never comes, so it is not waited for.
        Some(Err(_)) | None => Ok(()),
    }
}

/// Has the kernel end us when the sitter ends. Returns `false` if the sitter had ended before.
fn die_with_the_sitter(socket: &OwnedFd) -> io::Result<bool> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let sitter = sockopt::socket_peercred(socket)?.pid;
    Ok(getppid() == Some(sitter))
}

struct Launcher {
    socket: OwnedFd,
    numbers: &'static [AtomicI32; SHARED_NUMBERS],
    /// The user of its newborns; `None`: its own user.
    user: Option<Identity>,
    file_limit: FileLimit,
    inbox: Inbox,
    newcomers: Arc<Newcomers>,
}

/// Answers that are not sent yet, with their pidfds.
#[derive(Default)]
struct Gathered {
    answers: Answers,
    pidfds: Vec<OwnedFd>,
    since: Option<Instant>,
}

impl Launcher {
    fn serve(&mut self) -> Result<(), LauncherError> {
        let mut gathered = Gathered::default();
        loop {
            let wait = match gathered.answers.is_empty() {
                true => RecvFlags::empty(),
                false => RecvFlags::DONTWAIT,
            };
            match self.inbox.receive(&self.socket, wait) {
                Ok(None) => return Ok(()),
                Ok(Some(message)) => {
                    let Some(Asked::Launch(request)) = self.inbox.read(message) else {
                        return Err(LauncherError::Message);
                    };
                    gathered.take(self.launch(*request));
                    if !gathered.answers.is_full() && !gathered.are_old() {
                        continue;
                    }
                }
                Err(LauncherError::Failed { source, .. })
                    if source.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
            match gathered.give(&self.socket) {
                Err(Errno::PIPE | Errno::CONNRESET) => return Ok(()),
                given => given.map_err(failed("answering the sitter"))?,
            }
        }
    }

    fn launch(&self, mut request: Received) -> (Answer, Option<OwnedFd>) {
        let number = request.number;
        match self.spawn(&mut request) {
            Ok(Spawned { pid, pidfd }) => {
                let pid = pid.as_raw_nonzero().get();
                let what = Came::Born { pid, seen: look(pid) };
                (Answer { number, what }, Some(pidfd))
            }
            Err(error) => (Answer::failed(number, &error), None),
        }
    }

    fn spawn(&self, request: &mut Received) -> Result<Spawned, SpawnError> {
        // Descriptors that did not arrive did not fit among ours.
        let no_room = || SpawnError::unprepared(Errno::MFILE.into());
        if !request.is_whole() {
            return Err(no_room());
        }
        // If no process is made, dropping these ends the pipes.
        let opened = request.take_tap().map(|tap| self.newcomers.open(tap, self.user.as_ref()));
        let opened = opened.transpose().map_err(SpawnError::unprepared)?;
        let parts = request.parts().ok_or_else(no_room)?;
        let mut descriptors = parts.own;
        if let Some(Opened { streams, ready }) = &opened {
            descriptors.extend(streams.iter().map(AsFd::as_fd));
            if let Some((number, writer)) = ready {
                let nothing = *descriptors.first().ok_or_else(no_room)?;
                descriptors.resize(usize::from(*number), nothing);
                descriptors.push(writer.as_fd());
            }
        }
        sys::spawn(&Spawn {
            program: parts.program,
            arguments: &request.arguments,
            environment: &request.environment,
            descriptors: &descriptors,
            identity: self.user.as_ref(),
            cgroup: parts.cgroup,
            limits: &parts.limits,
            file_limit: self.file_limit,
            settings: request.settings,
            no_new_privileges: request.no_new_privileges,
            sibling: Some(&self.numbers[request.number as usize % NEWBORNS]),
        })
    }
}

/// Returns what became of a newborn that does not share our memory any more: it executes, or it
/// dies. `None` if the sitter has reaped it, and so knows better.
fn look(pid: i32) -> Option<Seen> {
    loop {
        let stat = Stat::of(pid)?;
        if stat.executed || stat.zombie {
            return Some(Seen { executed: stat.executed, start_ticks: stat.start_ticks });
        }
        thread::sleep(MOMENT);
    }
}

impl Gathered {
    fn take(&mut self, (answer, pidfd): (Answer, Option<OwnedFd>)) {
        self.answers.launches.push(answer);
        self.pidfds.extend(pidfd);
        self.since.get_or_insert_with(Instant::now);
    }

    fn are_old(&self) -> bool {
        self.since.is_some_and(|since| since.elapsed() >= GATHERED)
    }

    fn give(&mut self, socket: &OwnedFd) -> Result<(), Errno> {
        let Self { answers, pidfds, .. } = std::mem::take(self);
        let pidfds: Vec<_> = pidfds.iter().map(AsFd::as_fd).collect();
        give(socket, &answers, &pidfds)
    }
}

/// Sends a message to the sitter.
pub(super) fn give(
    socket: &OwnedFd,
    answers: &Answers,
    pidfds: &[BorrowedFd<'_>],
) -> Result<(), Errno> {
    let bytes = answers.encode();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(ANSWERS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !pidfds.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(pidfds));
    }
    let message = [IoSlice::new(&bytes)];
    rustix::io::retry_on_intr(|| sendmsg(socket, &message, &mut control, SendFlags::NOSIGNAL))?;
    Ok(())
}

/// A message that lies in an inbox.
pub(super) struct Message {
    pub(super) length: usize,
    descriptors: Vec<OwnedFd>,
    /// Whether all descriptors arrived that were sent.
    whole: bool,
}

/// What comes from the sitter.
pub(super) struct Inbox {
    buffer: Box<[u8]>,
}

impl Inbox {
    pub(super) fn new() -> Self {
        Self { buffer: vec![0; REQUEST_BYTES].into_boxed_slice() }
    }

    pub(super) fn bytes(&self, length: usize) -> &[u8] {
        self.buffer.get(..length).unwrap_or_default()
    }

    /// Reads what a message asks for; `None` if it makes no sense.
    pub(super) fn read(&self, message: Message) -> Option<Asked> {
        let Message { length, descriptors, whole } = message;
        Asked::decode(self.bytes(length), descriptors, whole)
    }

    /// Receives the next message; `None` if no more will come.
    pub(super) fn receive(
        &mut self,
        socket: &OwnedFd,
        flags: RecvFlags,
    ) -> Result<Option<Message>, LauncherError> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = rustix::io::retry_on_intr(|| {
            let into = &mut [IoSliceMut::new(&mut self.buffer)];
            recvmsg(socket, into, &mut control, flags | RecvFlags::CMSG_CLOEXEC)
        });
        let received = match received {
            Ok(received) if received.bytes == 0 => return Ok(None),
            Err(Errno::CONNRESET) => return Ok(None),
            other => other.map_err(failed("listening to the sitter"))?,
        };
        if received.flags.contains(ReturnFlags::TRUNC) {
            return Err(LauncherError::Message);
        }
        let mut descriptors = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                descriptors.extend(rights);
            }
        }
        let whole = !received.flags.contains(ReturnFlags::CTRUNC);
        Ok(Some(Message { length: received.bytes, descriptors, whole }))
    }
}
