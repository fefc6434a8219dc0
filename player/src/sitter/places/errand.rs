//! What the process of a change is to do: one message that lies at its standard input, with the
//! directories and files that it needs, open. So it needs no right to get to them, and no path.

use std::{
    fs::File,
    io::{IoSlice, IoSliceMut},
    mem::MaybeUninit,
    path::Path,
};

use orchestra_model::{
    bundle::{BundleId, BundleRelease},
    journal::{ByteReader, push_bytes},
    limits,
    names::PlaceName,
};
use rustix::{
    fd::{AsFd, BorrowedFd, OwnedFd},
    fs::{CWD, Mode, OFlags, ResolveFlags},
    net::{
        AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
        SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
    },
};

/// Largest message, in bytes: a seal, the file of a place, and releases.
const BYTES: usize = 128 << 10;
/// Most descriptors that go along.
const DESCRIPTORS: usize = 3;
const DELIVER: u8 = 1;
const ACTIVATE: u8 = 2;

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Errand {
    /// Descriptors: the directory of releases, the bundle's manifest, its content.
    Deliver {
        /// What is said of the bundle, encoded. It was judged.
        seal: Vec<u8>,
        /// The file of the place, which says what may be in the bundle.
        place: String,
        name: PlaceName,
        /// The releases that are there and stay.
        stay: Vec<BundleRelease>,
        /// The place is switched to this bundle, so that there is nothing to do.
        is_active: bool,
    },
    /// Descriptors: the place's directory.
    Activate(BundleRelease),
}

impl Errand {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::Deliver { seal, place, name, stay, is_active } => {
                out.push(DELIVER);
                push_bytes(&mut out, seal);
                push_bytes(&mut out, place.as_bytes());
                push_bytes(&mut out, name.as_str().as_bytes());
                out.push((*is_active).into());
                stay.iter().for_each(|one| push_bytes(&mut out, one.to_string().as_bytes()));
            }
            Self::Activate(release) => {
                out.push(ACTIVATE);
                push_bytes(&mut out, release.to_string().as_bytes());
            }
        }
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = ByteReader::new(bytes);
        match reader.u8()? {
            DELIVER => {
                let seal = reader.counted(BYTES)?.to_vec();
                let place = reader.text(BYTES)?.to_owned();
                let name = PlaceName::new(reader.text(limits::NAME_BYTES)?).ok()?;
                let is_active = reader.bool()?;
                let mut stay = Vec::new();
                while !reader.is_empty() {
                    stay.push(reader.text(128)?.parse().ok()?);
                }
                Some(Self::Deliver { seal, place, name, stay, is_active })
            }
            ACTIVATE => {
                let release = reader.text(128)?.parse().ok()?;
                reader.is_empty().then_some(Self::Activate(release))
            }
            _ => None,
        }
    }
}

/// Opens manifest and content of a bundle in the depot of this host. Fails with what is told to people.
/// Whoever fills the depot is not believed: no link is followed, and what is in the files is judged by
/// the process that reads them.
pub(crate) fn open_bundle(depot: &Path, id: BundleId) -> Result<(OwnedFd, OwnedFd), String> {
    let at = depot.display();
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let missing = |error| format!("{id} in the depot {at} of this host: {error}");
    let directory = rustix::fs::openat(CWD, depot, flags, Mode::empty()).map_err(missing)?;
    let open = |name: &str| {
        let path = format!("{id}/{name}");
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let resolve =
            ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let file = rustix::fs::openat2(&directory, path, flags, Mode::empty(), resolve);
        let file = File::from(file.map_err(missing)?);
        match file.metadata() {
            Ok(found) if found.is_file() => Ok(OwnedFd::from(file)),
            _ => Err(format!("{id} in the depot {at} of this host: its {name} is no file")),
        }
    };
    Ok((open("manifest")?, open("content")?))
}

/// Returns a socket from which an errand can be received, once.
pub(super) fn give(errand: &Errand, descriptors: &[BorrowedFd<'_>]) -> std::io::Result<OwnedFd> {
    let (ours, theirs) = rustix::net::socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(std::io::ErrorKind::InvalidInput.into());
    }
    let bytes = errand.encode();
    rustix::net::sendmsg(&ours, &[IoSlice::new(&bytes)], &mut control, SendFlags::NOSIGNAL)?;
    Ok(theirs)
}

/// Receives the errand that lies in a socket; `None` if there is none.
pub(crate) fn receive(socket: impl AsFd) -> std::io::Result<Option<(Errand, Vec<OwnedFd>)>> {
    let mut bytes = vec![0; BYTES];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC;
    let received =
        rustix::net::recvmsg(socket, &mut [IoSliceMut::new(&mut bytes)], &mut control, flags)?;
    let mut descriptors = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            descriptors.extend(rights);
        }
    }
    Ok(Errand::decode(&bytes[..received.bytes]).map(|errand| (errand, descriptors)))
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;

    use orchestra_model::bundle::BundleSerial;

    use super::*;

    #[test]
    fn an_errand_is_received_as_it_was_given() {
        let release = |serial| BundleRelease {
            serial: BundleSerial::new(serial).unwrap(),
            id: BundleId([serial as u8; 32]),
        };
        let file = tempfile::tempfile().unwrap();
        for errand in [
            Errand::Activate(release(1)),
            Errand::Deliver {
                seal: vec![7; 4_000],
                place: "x".repeat(64 << 10),
                name: PlaceName::new("site").unwrap(),
                stay: (1..66).map(release).collect(),
                is_active: true,
            },
        ] {
            let socket = give(&errand, &[file.as_fd(), file.as_fd()]).unwrap();
            let (received, descriptors) = receive(&socket).unwrap().unwrap();
            assert_eq!((received, descriptors.len()), (errand, 2));
        }
        assert_eq!(Errand::decode(&[ACTIVATE, 0]), None);
        assert_eq!(Errand::decode(&[]), None);
    }
}
