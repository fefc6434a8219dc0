//! The launcher's own side: one request after another, until the sitter's end of the socket closes.

use std::{
    error::Error,
    fmt,
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    sync::atomic::AtomicI32,
    thread,
    time::{Duration, Instant},
};

use orchestra_daemon::signals;
use rustix::{
    fd::{AsFd, OwnedFd},
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
    ANSWERS, GATHERED, PAGE, SOCKET,
    wire::{self, Answer, Came, DESCRIPTORS, REQUEST_BYTES, Received, Seen},
};
use crate::sitter::{
    procfs::Stat,
    sys::{self, FileLimit, Identity, SHARED_NUMBERS, Spawn, Spawned},
};

/// How long to wait before looking again at a newborn that neither executes nor is dead. Its memory
/// is no longer ours then, so it is about to be one of them.
const MOMENT: Duration = Duration::from_micros(200);

/// Why a launcher is over, other than by its sitter's end.
#[derive(Debug)]
pub enum LauncherError {
    /// It was not started by a sitter.
    NoSitter,
    /// It could not do what it has to.
    Failed {
        /// What was attempted.
        attempted: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// What came from the sitter makes no sense.
    Message,
}

impl fmt::Display for LauncherError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSitter => f.write_str("there is no sitter (only `player` starts a launcher)"),
            Self::Failed { attempted, .. } => write!(f, "launcher: {attempted}"),
            Self::Message => f.write_str("launcher: the sitter's message makes no sense"),
        }
    }
}

impl Error for LauncherError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Failed { source, .. } => Some(source),
            Self::NoSitter | Self::Message => None,
        }
    }
}

fn failed<E: Into<io::Error>>(attempted: &'static str) -> impl FnOnce(E) -> LauncherError {
    move |error| LauncherError::Failed { attempted, source: error.into() }
}

/// Is a launcher until its sitter goes. To be called once, by a program of one thread.
pub fn run() -> Result<(), LauncherError> {
    let mut inherited = sys::inherited([SOCKET, PAGE]).into_iter();
    let (Some(socket), Some(page)) = (inherited.next(), inherited.next()) else {
        return Err(LauncherError::NoSitter);
    };
    let numbers = sys::shared_numbers(page.as_fd()).ok_or(LauncherError::NoSitter)?;
    drop(page);
    signals::outlive_strays().map_err(failed("setting signal handlers"))?;
    if !die_with_the_sitter(&socket).map_err(failed("asking for an end with the sitter"))? {
        return Ok(());
    }
    let mut launcher = Launcher {
        socket,
        numbers,
        user: None,
        file_limit: FileLimit::own(),
        buffer: vec![0; REQUEST_BYTES].into_boxed_slice(),
    };
    let Some((bytes, _)) = launcher.receive(RecvFlags::empty())? else { return Ok(()) };
    launcher.user = wire::decode_user(&launcher.buffer[..bytes]).ok_or(LauncherError::Message)?;
    if launcher.user.is_some() {
        // A newborn shares this memory when it is that user's already, who is not to look into it
        // however the host treats programs that change their user.
        set_dumpable_behavior(DumpableBehavior::NotDumpable)
            .map_err(failed("hiding its memory"))?;
    }
    launcher.serve()
}

/// Has the kernel end us when the sitter ends. `false`: it has ended before we asked.
fn die_with_the_sitter(socket: &OwnedFd) -> io::Result<bool> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let sitter = sockopt::socket_peercred(socket)?.pid;
    Ok(getppid() == Some(sitter))
}

struct Launcher {
    socket: OwnedFd,
    numbers: &'static [AtomicI32; SHARED_NUMBERS],
    /// Whose newborns it makes; `None`: its own user's.
    user: Option<Identity>,
    file_limit: FileLimit,
    buffer: Box<[u8]>,
}

/// Answers that were not given yet, with the pidfds that belong to them.
#[derive(Default)]
struct Gathered {
    count: usize,
    bytes: Vec<u8>,
    pidfds: Vec<OwnedFd>,
    since: Option<Instant>,
}

impl Launcher {
    fn serve(&mut self) -> Result<(), LauncherError> {
        let mut gathered = Gathered::default();
        loop {
            let wait = if gathered.count == 0 { RecvFlags::empty() } else { RecvFlags::DONTWAIT };
            match self.receive(wait) {
                Ok(None) => return Ok(()),
                Ok(Some((bytes, descriptors))) => {
                    let request = Received::decode(&self.buffer[..bytes], descriptors);
                    gathered.take(self.launch(&request.ok_or(LauncherError::Message)?)?);
                    if gathered.count < ANSWERS && !gathered.are_old() {
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

    /// The next message's length, and its descriptors; `None` where there will be none any more.
    fn receive(
        &mut self,
        flags: RecvFlags,
    ) -> Result<Option<(usize, Vec<OwnedFd>)>, LauncherError> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received = rustix::io::retry_on_intr(|| {
            let into = &mut [IoSliceMut::new(&mut self.buffer)];
            recvmsg(&self.socket, into, &mut control, flags | RecvFlags::CMSG_CLOEXEC)
        });
        let received = match received {
            Ok(received) if received.bytes == 0 => return Ok(None),
            Err(Errno::CONNRESET) => return Ok(None),
            other => other.map_err(failed("listening to the sitter"))?,
        };
        if received.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
            return Err(LauncherError::Message);
        }
        let mut descriptors = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                descriptors.extend(rights);
            }
        }
        Ok(Some((received.bytes, descriptors)))
    }

    fn launch(&self, request: &Received) -> Result<(Answer, Option<OwnedFd>), LauncherError> {
        let (program, descriptors, cgroup) = request.descriptors().ok_or(LauncherError::Message)?;
        let spawned = sys::spawn(&Spawn {
            program,
            arguments: &request.arguments,
            environment: &request.environment,
            descriptors: &descriptors,
            identity: self.user.as_ref(),
            cgroup,
            file_limit: self.file_limit,
            no_new_privileges: request.no_new_privileges,
            sibling: Some(&self.numbers[request.number as usize % SHARED_NUMBERS]),
        });
        Ok(match spawned {
            Ok(Spawned { pid, pidfd }) => {
                let pid = pid.as_raw_nonzero().get();
                let what = Came::Born { pid, seen: look(pid) };
                (Answer { number: request.number, what }, Some(pidfd))
            }
            Err(error) => (Answer::failed(request.number, &error), None),
        })
    }
}

/// What became of a newborn whose memory is not ours any more: it executes, or it dies. `None` where
/// the sitter knows better, because it has reaped it.
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
        self.count += 1;
        answer.encode(&mut self.bytes);
        self.pidfds.extend(pidfd);
        self.since.get_or_insert_with(Instant::now);
    }

    fn are_old(&self) -> bool {
        self.since.is_some_and(|since| since.elapsed() >= GATHERED)
    }

    fn give(&mut self, socket: &OwnedFd) -> Result<(), Errno> {
        let pidfds: Vec<_> = self.pidfds.iter().map(AsFd::as_fd).collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(ANSWERS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !pidfds.is_empty() {
            control.push(SendAncillaryMessage::ScmRights(&pidfds));
        }
        let message = [IoSlice::new(&self.bytes)];
        rustix::io::retry_on_intr(|| sendmsg(socket, &message, &mut control, SendFlags::NOSIGNAL))?;
        *self = Self::default();
        Ok(())
    }
}
