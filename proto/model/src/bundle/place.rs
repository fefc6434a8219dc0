//! What a place takes: which bundles, from whom, and what may be in them.

use std::collections::BTreeSet;

use super::{
    BundleEntry, BundleId, BundlePath, BundleSerial, BundleStatement, EntryKind, Manifest,
    PublisherKey,
};
use crate::{
    names::{BundleName, HostName},
    size::ByteSize,
    time::{Millis, Timestamp},
};

/// What a place takes. Nothing else is unpacked there, whoever asks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BundlePlace {
    /// The one name whose bundles it takes, so that a publisher whom two places believe cannot be
    /// used to put into one what is meant for the other.
    pub name: BundleName,
    pub trust: PlaceTrust,
    /// The lowest serial that it takes.
    pub min_serial: BundleSerial,
    /// How large all files of a bundle may be together, with their holes.
    pub max_size: ByteSize,
    /// How many entries a bundle may have.
    pub max_entries: u64,
    /// Whether files may be executable.
    pub executable: bool,
    /// Whether there may be links, which lead to entries of the same bundle.
    pub links: bool,
    /// Which extended attributes there may be.
    pub xattrs: BTreeSet<Box<[u8]>>,
}

/// By what a place believes that a bundle is meant for it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PlaceTrust {
    /// By its id: these bundles and no others.
    Pins(BTreeSet<BundleId>),
    /// By signatures of so many of these publishers.
    Publishers { keys: BTreeSet<PublisherKey>, threshold: usize },
}

/// Why a place does not take a bundle.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlaceRefusal {
    #[error("the place takes bundles called {wanted}, and this one is called {found}")]
    Name { wanted: BundleName, found: BundleName },
    #[error("it was published for the fleet {found}, and this is {own}")]
    Domain { own: HostName, found: HostName },
    #[error("its id is none of the place's pins")]
    NotPinned,
    #[error("{found} of the place's publishers have signed it, and {wanted} have to")]
    Publishers { found: usize, wanted: usize },
    #[error("its serial is {found}; the place takes none below {least}")]
    Serial { found: BundleSerial, least: BundleSerial },
    #[error("it expired {0} ago, by the clock of this machine")]
    Expired(Millis),
    #[error("its files are {found} together; the place takes {most}")]
    Size { found: ByteSize, most: ByteSize },
    #[error("it has {found} entries; the place takes {most}")]
    Entries { found: u64, most: u64 },
    #[error("{0} is executable, which the place does not allow")]
    Executable(BundlePath),
    #[error("{0} is a link, which the place does not allow")]
    Link(BundlePath),
    #[error("{0} has an extended attribute that the place does not allow")]
    Xattr(BundlePath),
}

impl BundlePlace {
    /// Judges a bundle by what is said of it, before anything else of it is read.
    ///
    /// `good` are the keys whose signatures on the statement are good, `domain` is this fleet's, and
    /// `now` comes from the clock of this host.
    pub fn judge_statement(
        &self,
        said: &BundleStatement,
        good: &[PublisherKey],
        domain: &HostName,
        now: Timestamp,
    ) -> Result<(), PlaceRefusal> {
        if said.name != self.name {
            let (wanted, found) = (self.name.clone(), said.name.clone());
            return Err(PlaceRefusal::Name { wanted, found });
        }
        if said.domain != *domain {
            let (own, found) = (domain.clone(), said.domain.clone());
            return Err(PlaceRefusal::Domain { own, found });
        }
        self.trust.judge(said.id, good)?;
        if said.serial < self.min_serial {
            return Err(PlaceRefusal::Serial { found: said.serial, least: self.min_serial });
        }
        if let Some(at) = said.expires.filter(|at| *at <= now) {
            return Err(PlaceRefusal::Expired(now.since(at)));
        }
        let found = ByteSize(said.size);
        if found > self.max_size {
            return Err(PlaceRefusal::Size { found, most: self.max_size });
        }
        if said.entries > self.max_entries {
            let (found, most) = (said.entries, self.max_entries);
            return Err(PlaceRefusal::Entries { found, most });
        }
        Ok(())
    }

    /// Judges what is in a bundle whose statement is that of its manifest.
    pub fn judge_manifest(&self, manifest: &Manifest) -> Result<(), PlaceRefusal> {
        manifest.walk().try_for_each(|(path, entry)| self.judge_entry(path, entry))
    }

    fn judge_entry(&self, path: BundlePath, entry: &BundleEntry) -> Result<(), PlaceRefusal> {
        if !entry.xattrs.iter().all(|xattr| self.xattrs.contains(&xattr.name)) {
            return Err(PlaceRefusal::Xattr(path));
        }
        match &entry.kind {
            EntryKind::File(file) if file.mode & 0o111 != 0 && !self.executable => {
                Err(PlaceRefusal::Executable(path))
            }
            EntryKind::Link { .. } if !self.links => Err(PlaceRefusal::Link(path)),
            EntryKind::File(_) | EntryKind::Link { .. } | EntryKind::Directory { .. } => Ok(()),
        }
    }
}

impl PlaceTrust {
    fn judge(&self, id: BundleId, good: &[PublisherKey]) -> Result<(), PlaceRefusal> {
        match self {
            Self::Pins(ids) if ids.contains(&id) => Ok(()),
            Self::Pins(_) => Err(PlaceRefusal::NotPinned),
            Self::Publishers { keys, threshold } => {
                // Each key counts once, however often it has signed.
                let signed: BTreeSet<&PublisherKey> =
                    good.iter().filter(|key| keys.contains(key)).collect();
                match signed.len() {
                    found if found < *threshold => {
                        Err(PlaceRefusal::Publishers { found, wanted: *threshold })
                    }
                    _ => Ok(()),
                }
            }
        }
    }
}
