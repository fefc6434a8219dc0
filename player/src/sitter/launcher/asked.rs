//! One launcher: what it was asked for, what it answers, and what its page says where it does not.

use std::{
    collections::{BTreeMap, VecDeque},
    fs::File,
    io::{IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::unix::fs::FileExt,
};

use rustix::{
    fd::OwnedFd,
    fs::{MemfdFlags, SealFlags},
    io::Errno,
    net::{
        RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
        SendAncillaryMessage, SendFlags, recv, recvmsg, sendmsg,
    },
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};

use super::{
    ANSWERS, LOOK, REST, SLOW,
    outcome::{Born, LaunchError, Launched},
    wire::{self, Answer, Came, DESCRIPTORS, Request, Seen},
};
use crate::sitter::{
    clock::BootMillis,
    poll::{Poller, Token},
    procfs::{self, Stat},
    sys::{BEGUN, SHARED_NUMBERS, SpawnError},
};

/// A child that ended before it was known.
pub(super) struct Early {
    pub(super) wait_status: i32,
    pub(super) seen: Option<Seen>,
    pub(super) at: BootMillis,
}

/// One launcher's process, as the sitter has it.
pub(super) struct Launcher<T> {
    pub(super) pid: i32,
    pub(super) pidfd: OwnedFd,
    pub(super) socket: OwnedFd,
    pub(super) page: File,
    pub(super) token: Token,
    /// What it was asked for and has not answered, in order.
    pub(super) in_flight: VecDeque<Launch<T>>,
    /// It took no more, until it answers.
    pub(super) full: bool,
    /// Killed, and not yet seen to be dead.
    pub(super) dying: bool,
    /// Since when it has said nothing, or had nothing to say.
    pub(super) silent_since: BootMillis,
    pub(super) look_at: BootMillis,
}

/// A request that was not answered.
pub(super) struct Launch<T> {
    pub(super) number: u64,
    pub(super) what: T,
    /// Keeps a descriptor's number free for the pidfd that comes with the answer: a start that cannot
    /// have one is not begun.
    pub(super) _reserve: OwnedFd,
}

/// What the page says of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Newborn {
    /// It was not begun.
    None,
    /// There may be a process, which has not said its number.
    Nameless,
    /// This process.
    Named(i32),
}

impl Newborn {
    pub(super) fn pid(self) -> Option<i32> {
        match self {
            Newborn::Named(pid) => Some(pid),
            Newborn::None | Newborn::Nameless => None,
        }
    }
}

impl<T> Launcher<T> {
    pub(super) fn send(&self, number: u64, request: &Request<'_>) -> Result<(), Errno> {
        // The place may hold the number of a process of long ago.
        self.page.write_all_at(&[0; 4], place(number)).map_err(|_| Errno::IO)?;
        let (bytes, descriptors) = request.encode(number);
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !control.push(SendAncillaryMessage::ScmRights(&descriptors)) {
            return Err(Errno::INVAL);
        }
        let message = [IoSlice::new(&bytes)];
        let sent = sendmsg(&self.socket, &message, &mut control, SendFlags::NOSIGNAL)?;
        if sent == bytes.len() { Ok(()) } else { Err(Errno::MSGSIZE) }
    }

    pub(super) fn be_heard(&mut self, now: BootMillis) {
        self.silent_since = now;
        self.look_at = now.after(LOOK.as_millis() as u64);
    }

    pub(super) fn rests_at(&self) -> BootMillis {
        self.silent_since.after(REST.as_millis() as u64)
    }

    /// Takes the answers that are there.
    pub(super) fn receive(
        &mut self,
        poller: &Poller,
        early: &mut BTreeMap<i32, Early>,
        now: BootMillis,
    ) -> Vec<(T, Launched)> {
        let mut launched = Vec::new();
        loop {
            // Answers come in order, so these are the ones that are answered now.
            let answered = match answers_to_come(&self.socket) {
                Ok(count) => self.in_flight.drain(..count.min(self.in_flight.len())),
                Err(Errno::AGAIN) => return launched,
                Err(_) => self.in_flight.drain(..0),
            };
            let asked: Vec<(u64, T)> =
                answered.map(|launch| (launch.number, launch.what)).collect();
            let understood = match receive(&self.socket) {
                // Its end comes as that of a child.
                Ok(None) | Err(Errno::CONNRESET) => {
                    poller.remove(&self.socket);
                    return launched;
                }
                Ok(Some((bytes, pidfds))) => {
                    self.be_heard(now);
                    self.full = false;
                    take_answers(&bytes, pidfds, asked, early, &mut launched)
                }
                Err(error) => {
                    tracing::error!(pid = self.pid, %error, "cannot hear a launcher");
                    false
                }
            };
            if !understood {
                tracing::error!(pid = self.pid, "a launcher makes no sense; killing it");
                self.kill(poller);
                return launched;
            }
        }
    }

    /// It has been silent for a while: somebody keeps a newborn from executing its program, or the
    /// launcher itself from working.
    pub(super) fn look_after(&mut self, uid: Option<u32>, now: BootMillis) {
        self.look_at = now.after(LOOK.as_millis() as u64);
        let too_long = now >= self.silent_since.after(SLOW.as_millis() as u64);
        let launches = self.in_flight.iter().rev();
        let newborns = launches.filter_map(|launch| own_child(self.newborn(launch.number).pid()?));
        let stuck = { newborns }.find(|stat| !stat.executed && !stat.zombie);
        match stuck {
            Some(stat) if stat.stopped || too_long => {
                let (pid, stopped) = (stat.pid, stat.stopped);
                tracing::warn!(pid, uid, stopped, "killing a process that executes no program");
                kill_child(&stat);
            }
            None if too_long => {
                tracing::warn!(pid = self.pid, uid, "killing a launcher that does not answer");
                let _ = pidfd_send_signal(&self.pidfd, Signal::KILL);
                self.dying = true;
            }
            Some(_) | None => {}
        }
    }

    /// Kills it, and every newborn of its that has executed nothing.
    pub(super) fn kill_with_newborns(&self) {
        let _ = pidfd_send_signal(&self.pidfd, Signal::KILL);
        for launch in &self.in_flight {
            let newborn = self.newborn(launch.number).pid().and_then(own_child);
            if let Some(newborn) = newborn.filter(|newborn| !newborn.executed) {
                kill_child(&newborn);
            }
        }
    }

    fn kill(&mut self, poller: &Poller) {
        self.dying = true;
        let _ = pidfd_send_signal(&self.pidfd, Signal::KILL);
        poller.remove(&self.socket);
    }

    /// What came of a request that will not be answered any more.
    pub(super) fn what_came_of(&self, number: u64, early: &mut BTreeMap<i32, Early>) -> Launched {
        let pid = match self.newborn(number) {
            Newborn::None => return Launched::NotBorn(LaunchError::Gone),
            Newborn::Nameless => return Launched::Unknown,
            Newborn::Named(pid) => pid,
        };
        let stat = own_child(pid);
        let pidfd = Pid::from_raw(pid).map(|pid| pidfd_open(pid, PidfdFlags::empty()));
        match (stat, pidfd) {
            (Some(stat), Some(Ok(pidfd))) if stat.executed => {
                let start_ticks = stat.start_ticks;
                Launched::Born(Born { pid, start_ticks, pidfd, ended: None })
            }
            // Dead, and it never came to it; it is reaped as what it is then: nobody's.
            (Some(stat), _) if stat.zombie && !stat.executed => {
                Launched::NotBorn(LaunchError::Killed)
            }
            // On its way; it may execute before it dies.
            (Some(stat), _) => {
                kill_child(&stat);
                Launched::Unknown
            }
            (None, _) => match early.remove(&pid).and_then(|early| early.seen) {
                Some(Seen { executed: false, .. }) => Launched::NotBorn(LaunchError::Killed),
                _ => Launched::Unknown,
            },
        }
    }

    pub(super) fn newborn(&self, number: u64) -> Newborn {
        let mut pid = [0; 4];
        match self.page.read_exact_at(&mut pid, place(number)).map(|()| i32::from_le_bytes(pid)) {
            Ok(0) => Newborn::None,
            Err(_) | Ok(BEGUN) => Newborn::Nameless,
            Ok(pid) => Newborn::Named(pid),
        }
    }
}

/// Reads answers to what was asked, in order. Whether they make sense; what was not answered then has
/// come to nobody knows what.
fn take_answers<T>(
    bytes: &[u8],
    pidfds: Vec<OwnedFd>,
    asked: Vec<(u64, T)>,
    early: &mut BTreeMap<i32, Early>,
    launched: &mut Vec<(T, Launched)>,
) -> bool {
    let answers = Answer::decode_all(bytes).unwrap_or_default();
    let mut understood = answers.len() == asked.len();
    let (mut answers, mut pidfds) = (answers.into_iter(), pidfds.into_iter());
    for (number, what) in asked {
        let answer = answers.next().filter(|answer| answer.number == number);
        let came = answer.and_then(|answer| came(answer.what, &mut pidfds, early));
        understood &= came.is_some();
        launched.push((what, came.unwrap_or(Launched::Unknown)));
    }
    understood
}

/// What an answer says, together with ends that were seen before it.
fn came(
    what: Came,
    pidfds: &mut impl Iterator<Item = OwnedFd>,
    early: &mut BTreeMap<i32, Early>,
) -> Option<Launched> {
    let (pid, seen) = match what {
        Came::Failed { step, errno } => {
            let error = SpawnError::from_numbers(step, errno)?;
            return Some(Launched::NotBorn(LaunchError::Spawn(error)));
        }
        Came::Born { pid, seen } => (pid, seen),
    };
    let pidfd = pidfds.next()?;
    // One that was made at another time is not the same process.
    let is_it = |early: &Early| early.seen.is_none() || seen.is_none() || seen == early.seen;
    let ended = early.remove(&pid).filter(is_it);
    let Some(Seen { executed, start_ticks }) = seen.or(ended.as_ref().and_then(|early| early.seen))
    else {
        return Some(Launched::Unknown);
    };
    Some(match executed {
        true => {
            let ended = ended.map(|early| early.wait_status);
            Launched::Born(Born { pid, start_ticks, pidfd, ended })
        }
        false => Launched::NotBorn(LaunchError::Killed),
    })
}

/// How many answers the next message has; 0 at the end.
fn answers_to_come(socket: &OwnedFd) -> Result<usize, Errno> {
    let mut bytes = [0; ANSWERS * wire::ANSWER_BYTES];
    let (read, _) = rustix::io::retry_on_intr(|| recv(socket, &mut bytes, RecvFlags::PEEK))?;
    Ok(read / wire::ANSWER_BYTES)
}

/// A message of answers with its pidfds; `None` at the end.
#[expect(clippy::type_complexity, reason = "a message: its bytes and its descriptors")]
fn receive(socket: &OwnedFd) -> Result<Option<(Vec<u8>, Vec<OwnedFd>)>, Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(ANSWERS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut bytes = vec![0; ANSWERS * wire::ANSWER_BYTES];
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

/// Where the page has the newborn of a request.
fn place(number: u64) -> u64 {
    number % SHARED_NUMBERS as u64 * 4
}

/// A file for [`sys::shared_numbers`].
pub(super) fn shared_page() -> Result<File, Errno> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let page = rustix::fs::memfd_create(c"newborns", flags | MemfdFlags::NOEXEC_SEAL);
    let page = match page {
        // Before Linux 6.3.
        Err(Errno::INVAL) => rustix::fs::memfd_create(c"newborns", flags),
        made => made,
    }?;
    rustix::fs::ftruncate(&page, SHARED_NUMBERS as u64 * 4)?;
    rustix::fs::fcntl_add_seals(&page, SealFlags::SHRINK | SealFlags::GROW)?;
    Ok(page.into())
}

/// A child of ours that nobody has reaped, so that its number is its own.
fn own_child(pid: i32) -> Option<Stat> {
    Stat::of(pid).filter(|stat| stat.parent.unsigned_abs() == std::process::id())
}

fn kill_child(child: &Stat) {
    if let Some((pidfd, _)) = procfs::open(child.pid, child.start_ticks) {
        let _ = pidfd_send_signal(&pidfd, Signal::KILL);
    }
}
