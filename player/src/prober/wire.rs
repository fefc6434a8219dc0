//! Messages between sitter and prober: a message for each question, and one for several answers. Both
//! are the same program, so messages have no versions.

use std::{
    io::{IoSlice, IoSliceMut},
    mem::MaybeUninit,
};

use orchestra_model::{
    Millis, ScoreName,
    journal::{ByteReader, push_bytes},
    service::{
        HttpPath, OpenTarget, PATH_BYTES, PORT_NAME_BYTES, PortName, Probe, SOCKET_NAME_BYTES,
        SocketName, Target,
    },
};
use orchestra_units::{ProbeOutcome, bounds::TROUBLE_BYTES};
use rustix::{
    fd::{AsFd, BorrowedFd, OwnedFd},
    io::Errno,
    net::{
        RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
        SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
    },
};

/// Largest message, in bytes.
const MESSAGE_BYTES: usize = 1 << 10;
const _: () = assert!(TROUBLE_BYTES + PATH_BYTES + SOCKET_NAME_BYTES + 64 <= MESSAGE_BYTES);

/// A question to a unit.
#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) number: u64,
    pub(crate) call: Call,
    pub(crate) timeout: Millis,
    /// The run directory of the unit, if a socket in it is probed.
    pub(crate) run_dir: Option<OwnedFd>,
}

/// Where a prober connects, and what it asks for there.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) target: Target,
    /// `None`: a connection is enough.
    pub(crate) path: Option<HttpPath>,
}

impl Call {
    /// What a prober does for a probe, or the score that is run for it instead.
    pub(crate) fn of(probe: &Probe) -> Result<Self, &ScoreName> {
        match probe {
            Probe::Tcp(target) => Ok(Self { target: target.clone(), path: None }),
            Probe::Http(target, path) => {
                Ok(Self { target: target.clone(), path: Some(path.clone()) })
            }
            Probe::Score(score) => Err(score),
        }
    }
}

/// Encodes a question. Its directory is sent along as a descriptor.
pub(crate) fn encode_question(number: u64, call: &Call, timeout: Millis) -> Vec<u8> {
    let mut out = number.to_le_bytes().to_vec();
    out.extend(timeout.0.to_le_bytes());
    match &call.target {
        Target::Port(port) => {
            out.push(1);
            out.extend(u32::from(*port).to_le_bytes());
        }
        Target::Unix(name) => {
            out.push(2);
            push_bytes(&mut out, name.as_str().as_bytes());
        }
        Target::Named(name) => {
            out.push(3);
            push_bytes(&mut out, name.as_str().as_bytes());
        }
        Target::Open(open) => {
            out.push(4);
            push_bytes(&mut out, open.as_str().as_bytes());
        }
    }
    match &call.path {
        None => out.push(1),
        Some(path) => {
            out.push(2);
            push_bytes(&mut out, path.as_str().as_bytes());
        }
    }
    out
}

impl Question {
    pub(super) fn decode((bytes, run_dir): Message<'_>) -> Option<Self> {
        let mut reader = ByteReader::new(bytes);
        let (number, timeout) = (reader.u64()?, Millis(reader.u64()?));
        let target = match reader.u8()? {
            1 => Target::Port(u16::try_from(reader.u32()?).ok()?),
            2 => Target::Unix(SocketName::new(reader.text(SOCKET_NAME_BYTES)?).ok()?),
            3 => Target::Named(PortName::new(reader.text(PORT_NAME_BYTES)?).ok()?),
            4 => Target::Open(OpenTarget::new(reader.text(PATH_BYTES)?).ok()?),
            _ => return None,
        };
        let path = match reader.u8()? {
            1 => None,
            2 => Some(HttpPath::new(reader.text(PATH_BYTES)?).ok()?),
            _ => return None,
        };
        let call = Call { target, path };
        reader.is_empty().then_some(Question { number, call, timeout, run_dir })
    }
}

/// Answers that are to be sent in one message.
#[derive(Debug, Default)]
pub(super) struct Answers(Vec<u8>);

impl Answers {
    /// Adds an answer. Returns whether there was room for it.
    pub(super) fn add(&mut self, number: u64, outcome: &ProbeOutcome) -> bool {
        let before = self.0.len();
        self.0.extend(number.to_le_bytes());
        match outcome {
            ProbeOutcome::Healthy => self.0.push(1),
            ProbeOutcome::Unhealthy(why) => {
                self.0.push(2);
                push_bytes(&mut self.0, why.as_bytes());
            }
            ProbeOutcome::Unknown => self.0.push(3),
        }
        let fits = self.0.len() <= MESSAGE_BYTES;
        if !fits {
            self.0.truncate(before);
        }
        fits
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes the message that holds them.
    pub(super) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.0)
    }
}

/// Reads the answers in a message; `None` if it makes no sense.
pub(crate) fn decode_answers(bytes: &[u8]) -> Option<Vec<(u64, ProbeOutcome)>> {
    let mut reader = ByteReader::new(bytes);
    let mut answers = Vec::new();
    while !reader.is_empty() {
        let number = reader.u64()?;
        let outcome = match reader.u8()? {
            1 => ProbeOutcome::Healthy,
            2 => ProbeOutcome::Unhealthy(reader.text(TROUBLE_BYTES)?.to_owned()),
            3 => ProbeOutcome::Unknown,
            _ => return None,
        };
        answers.push((number, outcome));
    }
    Some(answers)
}

/// Sends a message, without waiting for room.
pub(crate) fn send(
    socket: impl AsFd,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> Result<(), Errno> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(Errno::INVAL);
    }
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    sendmsg(socket, &[IoSlice::new(bytes)], &mut control, flags).map(drop)
}

/// A message, and the descriptor that came with it.
pub(crate) type Message<'a> = (&'a [u8], Option<OwnedFd>);

/// A buffer for the message that comes.
pub(crate) struct Inbox(Box<[u8]>);

impl Inbox {
    pub(crate) fn new() -> Self {
        Inbox(vec![0; MESSAGE_BYTES].into_boxed_slice())
    }

    /// Receives the next message and its descriptor, without waiting for one; `None` if no more
    /// will come.
    pub(crate) fn receive(&mut self, socket: impl AsFd) -> Result<Option<Message<'_>>, Errno> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
        let received = rustix::io::retry_on_intr(|| {
            let into = &mut [IoSliceMut::new(&mut self.0)];
            recvmsg(&socket, into, &mut control, flags)
        });
        let length = match received {
            Ok(received) if received.bytes > 0 => received.bytes,
            Ok(_) | Err(Errno::CONNRESET) => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut descriptor = None;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(mut rights) = message {
                descriptor = rights.next();
            }
        }
        Ok(Some((self.0.get(..length).unwrap_or_default(), descriptor)))
    }
}
