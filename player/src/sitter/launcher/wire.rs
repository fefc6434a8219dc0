//! Messages between sitter and launcher, over a `SOCK_SEQPACKET` pair.
//!
//! Both are the same build of this program, so messages have no versions. All numbers are little
//! endian.
//!
//! ```text
//! user      uid u32 │ gid u32 │ groups u32 each     the first message; empty text "self": nobody
//!
//! launch    1 u8 │ flags u8 │ descriptors u8 │ ready u8 │ arguments u32 │ number u64 │ tap u64
//!           │ keep u64, twice │ settings │ strings, each ended by NUL
//!           with descriptors: program, the newborn's own, the cgroup's, those of up to three cgroups
//!           with limits, the attempt's or unit's directory, and that of its socket (as the flags say)
//! adopt     2 u8 │ flags u8 │ discards u8 │ ready u8 │ tap u64 │ keep u64, twice
//!           with the directories
//! keep      an attempt's: how many first bytes, 0 · as the flags say, a log's: placement, run
//! settings  nofile u32, 0: as usual │ nice i32 │ oom_score_adj i32 │ umask u32; of these the highest
//!           number of its kind: as usual
//! ready     0: nobody asks · 255: it says so at its socket · else at this descriptor
//! close     3 u8 │ taps u64 each
//! forget    4 u8 │ taps u64 each
//! hold      5 u8
//! go on     6 u8
//!
//! answers   launches u8 │ accounts u8 │ holds u8 │ words u8 │ so many launches │ so many accounts
//!           │ so many words
//!           with descriptors: a pidfd for each that was born
//! launch    number u64 │ kind u8 │ step u8 │ 0 u16 │ pid or errno i32 │ ticks u64
//! account   tap u64 │ over u8 │ known u8 │ 0 u8, six times │ standard output │ standard error
//! word      tap u64 │ kind u8 │ 0 u8, three times │ sender's pid i32 │ value u64
//!           each: bytes in all u64 │ limit u64 │ broken at u64 │ errno i64, 0 where it is whole
//! ```

use std::{ffi::CString, mem};

use orchestra_model::service::{Placement, RunNumber};
use orchestra_units::RunId;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};

use super::{
    ACCOUNTS, ANSWERS, WORDS,
    words::{WORD_BYTES, Word},
};
use crate::sitter::{
    capture::{Broken, Written},
    limits::LIMITING_LEAVES,
    sys::{Entrance, Identity, Settings, SpawnError},
};

/// The first message if the user is the sitter's own.
const CALLER: &[u8] = b"self";

/// Most descriptors of a message: the program, four of the newborn, the directories of its attempt
/// and of its socket, two of its cgroup, and one of each cgroup with limits.
pub(super) const DESCRIPTORS: usize = 9 + LIMITING_LEAVES;
/// Largest request and first message: the longest parameters with their names, or the most groups
/// that a user may be in.
pub(super) const REQUEST_BYTES: usize = 512 << 10;
/// Bytes of the answer to one launch.
const LAUNCH_BYTES: usize = 24;
/// Bytes of one account.
const ACCOUNT_BYTES: usize = 80;
/// Bytes of the counts before them.
const COUNTS: usize = 4;
/// Most bytes of a message of answers.
pub(super) const ANSWERS_BYTES: usize =
    COUNTS + ANSWERS * LAUNCH_BYTES + ACCOUNTS * ACCOUNT_BYTES + WORDS * WORD_BYTES;

/// What a message to a launcher begins with.
mod ask {
    pub(super) const LAUNCH: u8 = 1;
    pub(super) const ADOPT: u8 = 2;
    pub(super) const CLOSE: u8 = 3;
    pub(super) const FORGET: u8 = 4;
    pub(super) const HOLD: u8 = 5;
    pub(super) const GO_ON: u8 = 6;
    pub(super) const NOTE: u8 = 7;
}

/// The name of a tap, unique within a sitter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TapId(pub(crate) u64);

/// Streams that a launcher is to read: from the pipes in an attempt's or unit's directory into the
/// files beside them.
#[derive(Clone, Copy)]
pub(crate) struct TapOf<'a> {
    pub(crate) id: TapId,
    pub(crate) directory: BorrowedFd<'a>,
    pub(crate) keep: Keep,
    /// How a unit says that it is ready.
    pub(crate) ready: Ready<BorrowedFd<'a>>,
}

/// What is kept of two streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keep {
    /// So many first bytes of each stream of an attempt.
    First(u64),
    /// The log of a unit, to which this run writes: see `log.rs`.
    Log(RunId),
}

impl Keep {
    fn flag(self) -> u8 {
        match self {
            Keep::First(_) => 0,
            Keep::Log(_) => LOG,
        }
    }

    fn numbers(self) -> [u64; 2] {
        match self {
            Keep::First(limit) => [limit, 0],
            Keep::Log(run) => [run.placement.0, run.number.0],
        }
    }

    fn read(flags: u8, [first, second]: [u64; 2]) -> Self {
        match flags & LOG {
            0 => Keep::First(first),
            _ => Keep::Log(RunId { placement: Placement(first), number: RunNumber(second) }),
        }
    }
}

/// How a unit says that it is ready. `D` is the directory of its socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ready<D> {
    /// It does not say so.
    Unasked,
    /// By a newline at this descriptor, 3 or higher.
    At(u8),
    /// At its socket.
    Notify(D),
}

const NOTIFY: u8 = u8::MAX;

impl<D> Ready<D> {
    fn code(&self) -> u8 {
        match self {
            Ready::Unasked => 0,
            Ready::At(fd) => *fd,
            Ready::Notify(_) => NOTIFY,
        }
    }

    /// Returns the same sign with another kind of directory.
    pub(crate) fn map<E>(self, map: impl FnOnce(D) -> E) -> Ready<E> {
        match self {
            Ready::Unasked => Ready::Unasked,
            Ready::At(fd) => Ready::At(fd),
            Ready::Notify(directory) => Ready::Notify(map(directory)),
        }
    }
}

/// Returns `None` if the directory did not arrive.
fn read_ready(code: u8, directories: &mut impl Iterator<Item = OwnedFd>) -> Option<Ready<OwnedFd>> {
    Some(match code {
        0 => Ready::Unasked,
        NOTIFY => Ready::Notify(directories.next()?),
        fd => Ready::At(fd),
    })
}

const NO_NEW_PRIVILEGES: u8 = 1;
const CGROUP: u8 = 2;
const CGROUP_DIRECTORY: u8 = 4;
const TAP: u8 = 8;
const LOG: u8 = 16;
const SOCKET_DIRECTORY: u8 = 32;
/// From this bit on two bits say how many cgroups with limits there are.
const LIMITS_FROM: u32 = 6;
const _: () = assert!(LIMITING_LEAVES < 1 << (u8::BITS - LIMITS_FROM));

/// A request for a process, as the sitter makes it. Its fields are explained in
/// [`super::sys::Spawn`].
pub(crate) struct Request<'a> {
    /// The program's file.
    pub(crate) program: BorrowedFd<'a>,
    /// Arguments, the program's own name first.
    pub(crate) arguments: &'a [CString],
    /// The whole environment.
    pub(crate) environment: &'a [CString],
    /// Becomes 0, 1, 2 and so on; at most four.
    pub(crate) descriptors: &'a [BorrowedFd<'a>],
    /// Its standard output and standard error, which the launcher opens and reads; their
    /// descriptors follow those above.
    pub(crate) tap: Option<TapOf<'a>>,
    /// The cgroup that it is born in.
    pub(crate) cgroup: Option<Entrance<'a>>,
    /// Files of processes of cgroups with its limits, at most [`LIMITING_LEAVES`].
    pub(crate) limits: &'a [BorrowedFd<'a>],
    /// Settings that its service asks for.
    pub(crate) settings: Settings,
    /// Set-user-id programs give it nothing.
    pub(crate) no_new_privileges: bool,
}

/// A message to a launcher.
pub(super) enum Asked {
    /// A newborn.
    Launch(Box<Received>),
    /// To read the streams of an attempt or run that has its process already.
    Adopt(Adoption),
    /// To say what was written, and to throw away what is written from now on.
    Close(Vec<TapId>),
    /// To release these taps.
    Forget(Vec<TapId>),
    /// To write these lines into the log of a run, beside what the run writes.
    Note(TapId, Vec<u8>),
    /// To move nothing more by itself, and to keep the pipes open.
    Hold,
    /// To go on after that.
    GoOn,
}

/// A request for a process, as the launcher got it.
pub(super) struct Received {
    pub(super) number: u64,
    pub(super) no_new_privileges: bool,
    pub(super) arguments: Vec<CString>,
    pub(super) environment: Vec<CString>,
    pub(super) settings: Settings,
    /// The streams to be read, and what is kept of them.
    tap: (TapId, [u64; 2]),
    ready: u8,
    flags: u8,
    own: usize,
    descriptors: Vec<OwnedFd>,
}

/// The descriptors of a [`Received`].
pub(super) struct Parts<'a> {
    /// The program's file.
    pub(super) program: BorrowedFd<'a>,
    /// The newborn's own.
    pub(super) own: Vec<BorrowedFd<'a>>,
    pub(super) cgroup: Option<Entrance<'a>>,
    /// Files of processes of cgroups with limits.
    pub(super) limits: Vec<BorrowedFd<'a>>,
}

/// Streams that a launcher is to read from now on.
pub(super) struct Adoption {
    pub(super) id: TapId,
    pub(super) keep: Keep,
    /// Whether what they write is thrown away.
    pub(super) discards: bool,
    /// `None` if the launcher had no room for these descriptors.
    pub(super) directories: Option<(OwnedFd, Ready<OwnedFd>)>,
}

/// The tap of a newborn.
pub(super) struct NewTap {
    pub(super) id: TapId,
    pub(super) keep: Keep,
    pub(super) directory: OwnedFd,
    pub(super) ready: Ready<OwnedFd>,
}

impl Request<'_> {
    /// Returns the request as a message, and the descriptors that go along.
    pub(super) fn encode(&self, number: u64) -> (Vec<u8>, Vec<BorrowedFd<'_>>) {
        let mut flags = if self.no_new_privileges { NO_NEW_PRIVILEGES } else { 0 };
        let mut descriptors = vec![self.program];
        descriptors.extend(self.descriptors);
        if let Some(cgroup) = self.cgroup {
            flags |= CGROUP;
            descriptors.push(cgroup.processes);
            if let Some(directory) = cgroup.directory {
                flags |= CGROUP_DIRECTORY;
                descriptors.push(directory);
            }
        }
        // There are at most as many as fit the bits.
        flags |= (self.limits.len() as u8) << LIMITS_FROM;
        descriptors.extend(self.limits);
        if let Some(tap) = self.tap {
            flags |= TAP | tap.keep.flag();
            descriptors.push(tap.directory);
            if let Ready::Notify(directory) = tap.ready {
                flags |= SOCKET_DIRECTORY;
                descriptors.push(directory);
            }
        }
        let ready = self.tap.map_or(0, |tap| tap.ready.code());
        // Both counts are small.
        let mut bytes = vec![ask::LAUNCH, flags, self.descriptors.len() as u8, ready];
        bytes.extend((self.arguments.len() as u32).to_le_bytes());
        let [first, second] = self.tap.map_or([0, 0], |tap| tap.keep.numbers());
        let tap = self.tap.map_or(0, |tap| tap.id.0);
        bytes.extend([number, tap, first, second].map(u64::to_le_bytes).as_flattened());
        bytes.extend(encode_settings(self.settings).as_flattened());
        for string in self.arguments.iter().chain(self.environment) {
            bytes.extend(string.as_bytes_with_nul());
        }
        (bytes, descriptors)
    }
}

fn encode_settings(settings: Settings) -> [[u8; 4]; 4] {
    let Settings { nofile, nice, oom_score_adj, umask } = settings;
    [
        nofile.unwrap_or(0).to_le_bytes(),
        nice.map_or(i32::MAX, i32::from).to_le_bytes(),
        oom_score_adj.map_or(i32::MAX, i32::from).to_le_bytes(),
        umask.map_or(u32::MAX, u32::from).to_le_bytes(),
    ]
}

/// Returns `None` for a number that is never sent.
fn decode_settings([nofile, nice, oom_score_adj, umask]: [[u8; 4]; 4]) -> Option<Settings> {
    let signed = |bytes| Some(i32::from_le_bytes(bytes)).filter(|number| *number != i32::MAX);
    let umask = Some(u32::from_le_bytes(umask)).filter(|bits| *bits != u32::MAX);
    Some(Settings {
        nofile: Some(u32::from_le_bytes(nofile)).filter(|most| *most != 0),
        nice: signed(nice).map(i8::try_from).transpose().ok()?,
        oom_score_adj: signed(oom_score_adj).map(i16::try_from).transpose().ok()?,
        umask: umask.map(u16::try_from).transpose().ok()?,
    })
}

/// Returns the request to adopt as a message; the directories go along.
pub(super) fn encode_adoption<D>(
    id: TapId,
    keep: Keep,
    ready: &Ready<D>,
    discards: bool,
) -> Vec<u8> {
    let mut bytes = vec![ask::ADOPT, keep.flag(), discards.into(), ready.code()];
    let [first, second] = keep.numbers();
    bytes.extend([id.0, first, second].map(u64::to_le_bytes).as_flattened());
    bytes
}

pub(super) fn encode_close(ids: &[TapId]) -> Vec<u8> {
    encode_ids(ask::CLOSE, ids)
}

pub(super) fn encode_forget(ids: &[TapId]) -> Vec<u8> {
    encode_ids(ask::FORGET, ids)
}

pub(super) fn encode_note(id: TapId, text: &[u8]) -> Vec<u8> {
    [&[ask::NOTE][..], &id.0.to_le_bytes(), text].concat()
}

pub(super) fn encode_hold(holds: bool) -> Vec<u8> {
    vec![if holds { ask::HOLD } else { ask::GO_ON }]
}

fn encode_ids(kind: u8, ids: &[TapId]) -> Vec<u8> {
    let ids = ids.iter().flat_map(|id| id.0.to_le_bytes());
    [kind].into_iter().chain(ids).collect()
}

impl Asked {
    /// Reads a message; `None` if it makes no sense. `whole`: all descriptors arrived that were
    /// sent.
    pub(super) fn decode(bytes: &[u8], descriptors: Vec<OwnedFd>, whole: bool) -> Option<Self> {
        let (kind, rest) = bytes.split_first()?;
        let ids = || {
            let (ids, rest) = rest.as_chunks::<{ mem::size_of::<u64>() }>();
            let ids = ids.iter().map(|id| TapId(u64::from_le_bytes(*id))).collect();
            rest.is_empty().then_some(ids)
        };
        match *kind {
            ask::LAUNCH => {
                let received = Received::decode(rest, descriptors)?;
                (received.is_whole() || !whole).then(|| Asked::Launch(Box::new(received)))
            }
            ask::ADOPT => {
                let ([flags, discards, ready], rest) = rest.split_first_chunk()?;
                let ([id, first, second], []) = rest.as_chunks::<{ mem::size_of::<u64>() }>()
                else {
                    return None;
                };
                Some(Asked::Adopt(Adoption {
                    id: TapId(u64::from_le_bytes(*id)),
                    keep: Keep::read(*flags, [*first, *second].map(u64::from_le_bytes)),
                    discards: *discards != 0,
                    directories: directories(descriptors, *ready),
                }))
            }
            ask::CLOSE => ids().map(Asked::Close),
            ask::FORGET => ids().map(Asked::Forget),
            ask::NOTE => {
                let (id, text) = rest.split_first_chunk()?;
                Some(Asked::Note(TapId(u64::from_le_bytes(*id)), text.to_vec()))
            }
            ask::HOLD => Some(Asked::Hold),
            ask::GO_ON => Some(Asked::GoOn),
            _ => None,
        }
    }
}

/// Returns the directory of the streams, and that of the socket.
fn directories(descriptors: Vec<OwnedFd>, ready: u8) -> Option<(OwnedFd, Ready<OwnedFd>)> {
    let mut descriptors = descriptors.into_iter();
    Some((descriptors.next()?, read_ready(ready, &mut descriptors)?))
}

impl Received {
    fn decode(bytes: &[u8], descriptors: Vec<OwnedFd>) -> Option<Self> {
        let ([flags, own, ready], rest) = bytes.split_first_chunk()?;
        let (arguments, rest) = rest.split_first_chunk()?;
        let (numbers, rest) = rest.split_first_chunk::<{ 4 * mem::size_of::<u64>() }>()?;
        let [number, tap, first, second] =
            *numbers.as_chunks::<{ mem::size_of::<u64>() }>().0.first_chunk()?;
        let (settings, rest) = rest.split_first_chunk::<16>()?;
        let settings = decode_settings(*settings.as_chunks::<4>().0.first_chunk()?)?;
        let mut strings: Vec<CString> = rest
            .split_inclusive(|byte| *byte == 0)
            .map(|text| CString::from_vec_with_nul(text.to_vec()))
            .collect::<Result<_, _>>()
            .ok()?;
        let arguments = usize::try_from(u32::from_le_bytes(*arguments)).ok()?;
        if strings.len() < arguments {
            return None;
        }
        let environment = strings.split_off(arguments);
        let tap = (TapId(u64::from_le_bytes(tap)), [first, second].map(u64::from_le_bytes));
        Some(Self {
            number: u64::from_le_bytes(number),
            no_new_privileges: flags & NO_NEW_PRIVILEGES != 0,
            arguments: strings,
            environment,
            settings,
            tap,
            ready: *ready,
            flags: *flags,
            own: usize::from(*own),
            descriptors,
        })
    }

    /// Whether all its descriptors arrived. If not, the launcher had no room for them.
    pub(super) fn is_whole(&self) -> bool {
        let more = [TAP, SOCKET_DIRECTORY, CGROUP, CGROUP_DIRECTORY];
        let more = more.iter().filter(|flag| self.flags & **flag != 0);
        self.descriptors.len() == 1 + self.own + self.limits() + more.count()
    }

    fn limits(&self) -> usize {
        usize::from(self.flags >> LIMITS_FROM)
    }

    /// Takes out the tap with its directories.
    pub(super) fn take_tap(&mut self) -> Option<NewTap> {
        let [has_tap, has_socket] = [TAP, SOCKET_DIRECTORY].map(|flag| self.flags & flag != 0);
        self.flags &= !(TAP | SOCKET_DIRECTORY);
        let count = usize::from(has_tap) + usize::from(has_socket);
        let last = self.descriptors.len().checked_sub(count)?;
        let (directory, ready) = directories(self.descriptors.split_off(last), self.ready)?;
        let (id, numbers) = self.tap;
        let keep = Keep::read(self.flags, numbers);
        has_tap.then_some(NewTap { id, keep, directory, ready })
    }

    /// Returns its other descriptors.
    pub(super) fn parts(&self) -> Option<Parts<'_>> {
        let mut all = self.descriptors.iter().map(AsFd::as_fd);
        let program = all.next()?;
        let own = all.by_ref().take(self.own).collect();
        let mut next = |flag| if self.flags & flag != 0 { all.next() } else { None };
        let (processes, directory) = (next(CGROUP), next(CGROUP_DIRECTORY));
        let cgroup = processes.map(|processes| Entrance { directory, processes });
        let limits = all.take(self.limits()).collect();
        Some(Parts { program, own, cgroup, limits })
    }
}

/// What the launcher saw of a newborn that it made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// Whether it executed its program. Otherwise it is dead.
    pub(super) executed: bool,
    /// When it was made, in clock ticks since boot.
    pub(super) start_ticks: u64,
}

/// How a launch went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) number: u64,
    pub(super) what: Came,
}

/// What came of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Came {
    /// There is a process. `seen` is `None` if the sitter had reaped it before the launcher could
    /// look.
    Born { pid: i32, seen: Option<Seen> },
    /// There is no process; the numbers say why ([`SpawnError::numbers`]).
    Failed { step: u8, errno: i32 },
}

mod kind {
    pub(super) const FAILED: u8 = 0;
    pub(super) const UNSEEN: u8 = 1;
    pub(super) const EXECUTED: u8 = 2;
    pub(super) const NOT_EXECUTED: u8 = 3;
}

impl Answer {
    pub(super) fn failed(number: u64, error: &SpawnError) -> Self {
        let (step, errno) = error.numbers();
        Self { number, what: Came::Failed { step, errno } }
    }

    fn encode(&self, into: &mut Vec<u8>) {
        let (kind, step, value, ticks) = match self.what {
            Came::Failed { step, errno } => (kind::FAILED, step, errno, 0),
            Came::Born { pid, seen: None } => (kind::UNSEEN, 0, pid, 0),
            Came::Born { pid, seen: Some(Seen { executed, start_ticks }) } => {
                let kind = if executed { kind::EXECUTED } else { kind::NOT_EXECUTED };
                (kind, 0, pid, start_ticks)
            }
        };
        into.extend(self.number.to_le_bytes());
        into.extend([kind, step, 0, 0]);
        into.extend(value.to_le_bytes());
        into.extend(ticks.to_le_bytes());
    }

    fn decode(bytes: &[u8; LAUNCH_BYTES]) -> Option<Self> {
        let (number, rest) = bytes.split_first_chunk()?;
        let ([kind, step, _, _], rest) = rest.split_first_chunk()?;
        let (value, ticks) = rest.split_first_chunk()?;
        let (value, start_ticks) =
            (i32::from_le_bytes(*value), u64::from_le_bytes(*ticks.first_chunk()?));
        let seen = |executed| Some(Seen { executed, start_ticks });
        let what = match *kind {
            kind::FAILED => Came::Failed { step: *step, errno: value },
            kind::UNSEEN => Came::Born { pid: value, seen: None },
            kind::EXECUTED => Came::Born { pid: value, seen: seen(true) },
            kind::NOT_EXECUTED => Came::Born { pid: value, seen: seen(false) },
            _ => return None,
        };
        Some(Self { number: u64::from_le_bytes(*number), what })
    }
}

/// What a launcher tells of a tap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    /// Whether the tap is over: no process can write to it, and nobody reads it.
    pub(crate) over: bool,
    /// What was written to each stream; `None` if that is not known, and only the files tell.
    pub(crate) written: Option<[Written; 2]>,
}

impl Account {
    fn encode(&self, id: TapId, into: &mut Vec<u8>) {
        into.extend(id.0.to_le_bytes());
        into.extend([self.over.into(), self.written.is_some().into(), 0, 0, 0, 0, 0, 0]);
        let nothing = || [Written { total: 0, limit: 0, broken: None }; 2];
        for Written { total, limit, broken } in self.written.unwrap_or_else(nothing) {
            let (at, errno) = broken.map_or((0, 0), |broken| (broken.at, broken.errno));
            into.extend([total, limit, at].map(u64::to_le_bytes).as_flattened());
            into.extend(i64::from(errno).to_le_bytes());
        }
    }

    fn decode(bytes: &[u8; ACCOUNT_BYTES]) -> Option<(TapId, Self)> {
        let (id, rest) = bytes.split_first_chunk()?;
        let ([over, known, ..], rest) = rest.split_first_chunk::<8>()?;
        let numbers: &[_; 8] = rest.as_chunks::<{ mem::size_of::<u64>() }>().0.first_chunk()?;
        let [a, b, c, d, e, f, g, h] = numbers.map(u64::from_le_bytes);
        let written = |[total, limit, at, errno]: [u64; 4]| {
            let errno = i32::try_from(errno).ok()?;
            let broken = (errno != 0).then_some(Broken { at, errno });
            Some(Written { total, limit, broken })
        };
        let both = [written([a, b, c, d])?, written([e, f, g, h])?];
        let account = Self { over: *over != 0, written: (*known != 0).then_some(both) };
        Some((TapId(u64::from_le_bytes(*id)), account))
    }
}

/// A message of a launcher.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Answers {
    /// In the order of the requests.
    pub(super) launches: Vec<Answer>,
    pub(super) accounts: Vec<(TapId, Account)>,
    pub(super) words: Vec<(TapId, Word)>,
    /// Whether it was asked to hold, and does.
    pub(super) holds: bool,
}

impl Answers {
    pub(super) fn is_empty(&self) -> bool {
        self.launches.is_empty() && self.accounts.is_empty() && self.words.is_empty() && !self.holds
    }

    /// Whether what one more request leads to would not fit the message.
    pub(super) fn is_full(&self) -> bool {
        self.launches.len() >= ANSWERS
            || self.accounts.len() >= ACCOUNTS
            || self.words.len() >= WORDS
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        const _: () = assert!(ANSWERS < 256 && ACCOUNTS < 256 && WORDS < 256);
        let (launches, accounts) = (self.launches.len() as u8, self.accounts.len() as u8);
        let mut bytes = vec![launches, accounts, self.holds.into(), self.words.len() as u8];
        self.launches.iter().for_each(|launch| launch.encode(&mut bytes));
        self.accounts.iter().for_each(|(id, account)| account.encode(*id, &mut bytes));
        self.words.iter().for_each(|(id, word)| word.encode(*id, &mut bytes));
        bytes
    }

    /// Returns how many launches a message answers, by its first bytes.
    pub(super) fn launches_in(bytes: &[u8]) -> usize {
        bytes.first().map_or(0, |count| usize::from(*count))
    }

    /// Reads a message; `None` if it makes no sense.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let ([launches, accounts, holds, words], rest) = bytes.split_first_chunk()?;
        let [launches, accounts, words] =
            [launches, accounts, words].map(|count| usize::from(*count));
        let (of_launches, rest) = rest.split_at_checked(launches * LAUNCH_BYTES)?;
        let (of_accounts, of_words) = rest.split_at_checked(accounts * ACCOUNT_BYTES)?;
        if of_words.len() != words * WORD_BYTES {
            return None;
        }
        let launches = of_launches.as_chunks().0.iter().map(Answer::decode);
        let accounts = of_accounts.as_chunks().0.iter().map(Account::decode);
        Some(Self {
            launches: launches.collect::<Option<_>>()?,
            accounts: accounts.collect::<Option<_>>()?,
            words: of_words.as_chunks().0.iter().map(Word::decode).collect::<Option<_>>()?,
            holds: *holds != 0,
        })
    }
}

/// Returns the first message, which names the user of the newborns.
pub(super) fn encode_user(user: Option<&Identity>) -> Vec<u8> {
    match user {
        None => CALLER.to_vec(),
        Some(user) => {
            let numbers = [user.uid, user.gid].into_iter().chain(user.groups.iter().copied());
            numbers.flat_map(u32::to_le_bytes).collect()
        }
    }
}

/// Reads the first message; `None` if it makes no sense.
pub(super) fn decode_user(bytes: &[u8]) -> Option<Option<Identity>> {
    if bytes == CALLER {
        return Some(None);
    }
    let (numbers, rest) = bytes.as_chunks::<{ mem::size_of::<u32>() }>();
    let mut numbers = numbers.iter().map(|bytes| u32::from_le_bytes(*bytes));
    let (uid, gid) = (numbers.next()?, numbers.next()?);
    rest.is_empty().then(|| Some(Identity { uid, gid, groups: numbers.collect() }))
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::{super::words::WordKind, *};

    #[test]
    fn a_user_is_read_as_it_was_said() {
        let user = Identity { uid: 7, gid: u32::MAX, groups: vec![1, 2, 3] };
        assert_eq!(decode_user(&encode_user(Some(&user))), Some(Some(user)));
        assert_eq!(decode_user(&encode_user(None)), Some(None));
        // Seven bytes, and a single number.
        assert_eq!(decode_user(&[0; 7]), None);
        assert_eq!(decode_user(&[0; 4]), None);
    }

    #[test]
    fn a_request_is_read_as_it_was_made() {
        let null = File::open("/dev/null").unwrap();
        let strings = |texts: &[&str]| {
            texts.iter().map(|text| CString::new(*text).unwrap()).collect::<Vec<_>>()
        };
        let (arguments, environment) = (strings(&["name", ""]), strings(&["A=1", "B="]));
        for (directory, cgroup) in [(false, false), (false, true), (true, true)] {
            let fd = null.as_fd();
            let entrance = Entrance { directory: directory.then_some(fd), processes: fd };
            let ready = if cgroup { Ready::Notify(fd) } else { Ready::At(5) };
            let settings = match cgroup {
                true => Settings {
                    nofile: Some(1 << 30),
                    nice: Some(-20),
                    oom_score_adj: Some(-1_000),
                    umask: Some(0o777),
                },
                false => Settings::default(),
            };
            let run = RunId { placement: Placement(1 << 34), number: RunNumber(1 << 33) };
            let keep = if cgroup { Keep::Log(run) } else { Keep::First(1 << 33) };
            let tap = TapOf { id: TapId(9), directory: fd, keep, ready };
            let request = Request {
                program: fd,
                arguments: &arguments,
                environment: &environment,
                descriptors: &[fd; 4],
                tap: directory.then_some(tap),
                cgroup: cgroup.then_some(entrance),
                limits: if directory { &[fd; LIMITING_LEAVES] } else { &[] },
                settings,
                no_new_privileges: cgroup,
            };
            let (bytes, fds) = request.encode(1 << 40);
            assert!(fds.len() <= DESCRIPTORS);
            let owned = |count: usize| {
                (0..count).map(|_| fd.try_clone_to_owned().unwrap()).collect::<Vec<_>>()
            };
            let read = |bytes: &[u8], count, whole| match Asked::decode(bytes, owned(count), whole)?
            {
                Asked::Launch(received) => Some(received),
                _ => None,
            };
            assert!(read(&bytes, fds.len() - 1, true).is_none());
            assert!(read(&bytes[..57], fds.len(), true).is_none());
            // Not all descriptors arrived: it is known what was asked for, and that it cannot be
            // done.
            let got = read(&bytes, fds.len() - 1, false).unwrap();
            assert!(got.number == 1 << 40 && !got.is_whole());
            let mut got = read(&bytes, fds.len(), true).unwrap();
            assert!(got.is_whole());
            assert_eq!((got.number, got.no_new_privileges), (1 << 40, cgroup));
            assert_eq!(got.settings, settings);
            assert_eq!((&got.arguments, &got.environment), (&arguments, &environment));
            let tap = got.take_tap();
            let read = tap.map(|tap| (tap.id, tap.keep, tap.ready.code()));
            let code = if cgroup { NOTIFY } else { 5 };
            assert_eq!(read, directory.then_some((TapId(9), keep, code)));
            let parts = got.parts().unwrap();
            assert_eq!(parts.own.len(), 4);
            let found = parts.cgroup.map(|found| found.directory.is_some());
            assert_eq!(found, cgroup.then_some(directory));
            assert_eq!(parts.limits.len(), if directory { LIMITING_LEAVES } else { 0 });
        }
    }

    #[test]
    fn what_is_asked_of_taps_is_read_as_it_was_said() {
        let ids = [TapId(1), TapId(u64::MAX)];
        let read = |bytes: &[u8]| Asked::decode(bytes, Vec::new(), true);
        assert!(matches!(read(&encode_close(&ids)), Some(Asked::Close(got)) if got == ids));
        assert!(matches!(read(&encode_forget(&ids)), Some(Asked::Forget(got)) if got == ids));
        let note = encode_note(TapId(7), b"refused\n");
        assert!(matches!(read(&note), Some(Asked::Note(TapId(7), text)) if text == b"refused\n"));
        assert!(matches!(read(&encode_hold(true)), Some(Asked::Hold)));
        assert!(matches!(read(&encode_hold(false)), Some(Asked::GoOn)));
        let adoption = encode_adoption(TapId(7), Keep::First(8), &Ready::<()>::At(4), true);
        let Some(Asked::Adopt(got)) = read(&adoption) else { panic!("no adoption") };
        assert_eq!((got.id, got.keep, got.discards), (TapId(7), Keep::First(8), true));
        assert!(got.directories.is_none());
        for bad in [&adoption[1..], &adoption[..11], &encode_close(&ids)[..10], &[9], &[]] {
            assert!(read(bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn answers_are_read_as_they_were_given() {
        let seen = |executed| Some(Seen { executed, start_ticks: 1 << 50 });
        let all = [
            Came::Failed { step: 3, errno: libc::EAGAIN },
            Came::Born { pid: 5, seen: None },
            Came::Born { pid: i32::MAX, seen: seen(true) },
            Came::Born { pid: 1, seen: seen(false) },
        ];
        let launches: Vec<Answer> = all
            .into_iter()
            .zip(u64::MAX - 9..)
            .map(|(what, number)| Answer { number, what })
            .collect();
        let broken = Some(Broken { at: 3, errno: libc::ENOSPC });
        let written = [
            Written { total: 1 << 40, limit: 5, broken },
            Written { total: 1, limit: u64::MAX, broken: None },
        ];
        let accounts = vec![
            (TapId(1 << 60), Account { over: true, written: Some(written) }),
            (TapId(2), Account { over: false, written: None }),
        ];
        let kinds = [
            WordKind::Ready,
            WordKind::Stopping,
            WordKind::Watchdog,
            WordKind::WatchdogUsec(u64::MAX),
            WordKind::ExtendTimeoutUsec(1),
        ];
        let words = kinds.map(|kind| (TapId(3), Word { kind, pid: 7 })).to_vec();
        let answers = Answers { launches, accounts, words, holds: true };
        let mut bytes = answers.encode();
        assert!(bytes.len() <= ANSWERS_BYTES);
        assert_eq!(Answers::launches_in(&bytes), all.len());
        assert_eq!(Answers::decode(&bytes), Some(answers));
        assert_eq!(Answers::decode(&bytes[1..]), None);
        bytes[COUNTS + 8] = 9;
        assert_eq!(Answers::decode(&bytes), None);
        assert_eq!(Answers::decode(&Answers::default().encode()), Some(Answers::default()));
    }
}
