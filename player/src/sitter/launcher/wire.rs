//! What sitter and launcher say to each other, in messages of a `SOCK_SEQPACKET` pair.
//!
//! Both are the same build of this program, so there are no versions. All numbers are little endian.
//!
//! ```text
//! user      uid u32 │ gid u32 │ groups u32 each     the first message; empty text "self": nobody
//! request   number u64 │ flags u8 │ descriptors u8 │ arguments u16 │ strings, each ended by NUL
//!           with descriptors: program, the newborn's own, the cgroup's (as the flags say)
//! answers   one or more of: number u64 │ kind u8 │ step u8 │ 0 u16 │ pid or errno i32 │ ticks u64
//!           with descriptors: a pidfd for each that was born
//! ```

use std::{ffi::CString, mem};

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::sitter::sys::{Entrance, Identity, SpawnError};

/// What the first message says of a user who is the sitter's own.
const CALLER: &[u8] = b"self";

/// Most descriptors of a request: program, four of the newborn, two of its cgroup.
pub(super) const DESCRIPTORS: usize = 7;
/// Largest request and first message: the longest parameters with their names, or the most groups
/// that a user may be in.
pub(super) const REQUEST_BYTES: usize = 512 << 10;
/// Length of one answer.
pub(super) const ANSWER_BYTES: usize = 24;

const NO_NEW_PRIVILEGES: u8 = 1;
const CGROUP: u8 = 2;
const CGROUP_DIRECTORY: u8 = 4;

/// A process that is wanted, as the sitter says it. What is said of it is in [`super::sys::Spawn`].
pub(crate) struct Request<'a> {
    /// The program's file.
    pub(crate) program: BorrowedFd<'a>,
    /// Arguments, the program's own name first.
    pub(crate) arguments: &'a [CString],
    /// The whole environment.
    pub(crate) environment: &'a [CString],
    /// Becomes 0, 1, 2 and so on; at most four.
    pub(crate) descriptors: &'a [BorrowedFd<'a>],
    /// The cgroup that it is born in.
    pub(crate) cgroup: Option<Entrance<'a>>,
    /// Set-user-id programs give it nothing.
    pub(crate) no_new_privileges: bool,
}

/// The same, as the launcher got it.
pub(super) struct Received {
    pub(super) number: u64,
    pub(super) no_new_privileges: bool,
    pub(super) arguments: Vec<CString>,
    pub(super) environment: Vec<CString>,
    descriptors: Vec<OwnedFd>,
    own: usize,
    has_directory: bool,
    has_cgroup: bool,
}

impl Request<'_> {
    /// As a message, and the descriptors that go along.
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
        let mut bytes = number.to_le_bytes().to_vec();
        bytes.push(flags);
        // Both are a handful.
        bytes.push(self.descriptors.len() as u8);
        bytes.extend((self.arguments.len() as u16).to_le_bytes());
        for string in self.arguments.iter().chain(self.environment) {
            bytes.extend(string.as_bytes_with_nul());
        }
        (bytes, descriptors)
    }
}

impl Received {
    /// Reads a message; `None` where it is none.
    pub(super) fn decode(bytes: &[u8], descriptors: Vec<OwnedFd>) -> Option<Self> {
        let (number, rest) = bytes.split_first_chunk()?;
        let ([flags, own], rest) = rest.split_first_chunk()?;
        let (arguments, rest) = rest.split_first_chunk()?;
        let mut strings: Vec<CString> = rest
            .split_inclusive(|byte| *byte == 0)
            .map(|text| CString::from_vec_with_nul(text.to_vec()))
            .collect::<Result<_, _>>()
            .ok()?;
        let arguments = usize::from(u16::from_le_bytes(*arguments));
        if strings.len() < arguments {
            return None;
        }
        let environment = strings.split_off(arguments);
        let has = |flag| flags & flag != 0;
        let (has_cgroup, has_directory) = (has(CGROUP), has(CGROUP_DIRECTORY));
        let own = usize::from(*own);
        let expected = 1 + own + usize::from(has_cgroup) + usize::from(has_directory);
        (descriptors.len() == expected).then_some(Self {
            number: u64::from_le_bytes(*number),
            no_new_privileges: has(NO_NEW_PRIVILEGES),
            arguments: strings,
            environment,
            descriptors,
            own,
            has_directory,
            has_cgroup,
        })
    }

    /// The program's file, the newborn's own descriptors, and its cgroup's.
    pub(super) fn descriptors(
        &self,
    ) -> Option<(BorrowedFd<'_>, Vec<BorrowedFd<'_>>, Option<Entrance<'_>>)> {
        let mut all = self.descriptors.iter().map(AsFd::as_fd);
        let program = all.next()?;
        let own = all.by_ref().take(self.own).collect();
        let processes = if self.has_cgroup { all.next() } else { None };
        let directory = if self.has_directory { all.next() } else { None };
        let cgroup = processes.map(|processes| Entrance { directory, processes });
        Some((program, own, cgroup))
    }
}

/// What the launcher saw of a newborn that it made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// Whether it executed its program. If not, it is dead.
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
    /// A process. `seen` is `None` where the sitter had reaped it before anybody could look.
    Born { pid: i32, seen: Option<Seen> },
    /// None, and why: [`SpawnError::numbers`].
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

    pub(super) fn encode(self, into: &mut Vec<u8>) {
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

    /// Reads a message of answers; `None` where it is none.
    pub(super) fn decode_all(bytes: &[u8]) -> Option<Vec<Self>> {
        let (answers, rest) = bytes.as_chunks::<ANSWER_BYTES>();
        rest.is_empty().then(|| answers.iter().map(Self::decode).collect())?
    }

    fn decode(bytes: &[u8; ANSWER_BYTES]) -> Option<Self> {
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

/// The first message: whose newborns these will be.
pub(super) fn encode_user(user: Option<&Identity>) -> Vec<u8> {
    match user {
        None => CALLER.to_vec(),
        Some(user) => {
            let numbers = [user.uid, user.gid].into_iter().chain(user.groups.iter().copied());
            numbers.flat_map(u32::to_le_bytes).collect()
        }
    }
}

/// Reads the first message; `None` where it is none.
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

    use super::*;

    #[test]
    fn a_user_is_read_as_it_was_said() {
        let user = Identity { uid: 7, gid: u32::MAX, groups: vec![1, 2, 3] };
        assert_eq!(decode_user(&encode_user(Some(&user))), Some(Some(user)));
        assert_eq!(decode_user(&encode_user(None)), Some(None));
        // Seven bytes, and one number alone.
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
            let request = Request {
                program: fd,
                arguments: &arguments,
                environment: &environment,
                descriptors: &[fd; 4],
                cgroup: cgroup.then_some(entrance),
                no_new_privileges: cgroup,
            };
            let (bytes, fds) = request.encode(1 << 40);
            assert!(fds.len() <= DESCRIPTORS);
            let owned = |count: usize| {
                (0..count).map(|_| fd.try_clone_to_owned().unwrap()).collect::<Vec<_>>()
            };
            assert!(Received::decode(&bytes, owned(fds.len() - 1)).is_none());
            assert!(Received::decode(&bytes[..11], owned(fds.len())).is_none());
            let got = Received::decode(&bytes, owned(fds.len())).unwrap();
            assert_eq!((got.number, got.no_new_privileges), (1 << 40, cgroup));
            assert_eq!((&got.arguments, &got.environment), (&arguments, &environment));
            let (_, own, found) = got.descriptors().unwrap();
            assert_eq!(own.len(), 4);
            assert_eq!(found.map(|found| found.directory.is_some()), cgroup.then_some(directory));
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
        let all: Vec<Answer> = all
            .into_iter()
            .zip(u64::MAX - 9..)
            .map(|(what, number)| Answer { number, what })
            .collect();
        let mut bytes = Vec::new();
        all.iter().for_each(|answer| answer.encode(&mut bytes));
        assert_eq!(Answer::decode_all(&bytes), Some(all));
        assert_eq!(Answer::decode_all(&bytes[1..]), None);
        bytes[8] = 9;
        assert_eq!(Answer::decode_all(&bytes), None);
    }
}
