//! Taking a bundle, and switching to one: what is decided before anything of it is read, what is noted
//! before its process begins, and what follows from its end.

use std::{
    fs::{self, File},
    io::Write as _,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _},
    path::Path,
};

use orchestra_certs::good_signatures;
use orchestra_model::{
    HostName, Timestamp,
    bundle::{BundleReference, BundleRelease, Judging, PendingChange, Seal},
    delivery::{AttemptKey, JobPart, Refusal},
    names::PlaceName,
    score::BuiltIn,
};
use rustix::{
    fd::{AsFd, OwnedFd},
    fs::{Mode, OFlags},
};

use super::{
    LocalPlace, LocalPlaces,
    errand::{self, Errand},
    standing,
};
use crate::sitter::scores::judge::{Judged, open_directory};

/// Everybody may look into the directory of a place, and nobody else may write there.
const DIRECTORY_MODE: u32 = 0o755;
const RECORD_MODE: Mode = Mode::from_raw_mode(0o644);

/// A change of a place that was judged, and not begun yet.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    what: BuiltIn,
    place: PlaceName,
    seal: Seal,
}

impl Change {
    /// What is said of the bundle, if its content is needed.
    pub(crate) fn delivered(&self) -> Option<&Seal> {
        (self.what == BuiltIn::Deliver).then_some(&self.seal)
    }
}

/// What a change is judged by, beside the places.
pub(crate) struct Ground<'a> {
    /// Whether an attempt has not ended.
    pub(crate) is_live: &'a dyn Fn(AttemptKey) -> bool,
    /// This fleet's.
    pub(crate) domain: &'a HostName,
    /// Where bundles' content lies on this host.
    pub(crate) depot: &'a Path,
    /// By the clock of this host.
    pub(crate) now: Timestamp,
}

impl LocalPlaces {
    /// Judges an order for a score that is built in: by place, signatures, serial and expiry, in that
    /// order. Nothing of the bundle itself is read.
    pub(crate) fn judge(
        &self,
        what: BuiltIn,
        part: &JobPart,
        key: AttemptKey,
        ground: &Ground<'_>,
    ) -> Result<Change, Refusal> {
        let wanted = part.params.get(BuiltIn::BUNDLE).map(str::parse);
        let Some(Ok(BundleReference::Numbered(name, serial))) = wanted else {
            let why = "bundle has to be NAME@SERIAL".to_owned();
            return Err(Refusal::Parameters(why));
        };
        let refused = |why: String| Refusal::Bundle(why);
        let seal = part
            .seal
            .as_deref()
            .filter(|seal| seal.statement.name == name && seal.statement.serial == serial);
        let seal = seal.ok_or_else(|| {
            refused(format!("the order does not say what publishers say of {name}@{serial}"))
        })?;
        let named = part.params.get(BuiltIn::PLACE).unwrap_or(name.as_str());
        let named = PlaceName::new(named).map_err(|why| Refusal::Parameters(why.to_string()))?;
        let place = self.get(&named).map_err(refused)?;
        place.judge(&named, what, seal, key, ground)?;
        Ok(Change { what, place: named, seal: seal.clone() })
    }

    fn get(&self, name: &PlaceName) -> Result<&LocalPlace, String> {
        match self.entries.get(name) {
            Some(Ok(place)) => Ok(place),
            Some(Err(why)) => Err(format!("the place {name} is disabled: {why}")),
            None => {
                let why = self.troubles.first();
                let why = why.map_or_else(String::new, |why| format!("; {why}"));
                Err(format!("this host has no place {name}{why}"))
            }
        }
    }

    /// The place of a change, if it is still in order.
    pub(crate) fn place_of(&self, change: &Change) -> Result<&LocalPlace, String> {
        self.get(&change.place)
    }

    /// Judges a change once more, for others may have been made since it was admitted; notes on disk
    /// that it begins; and returns what its process finds at its standard input. Where it fails nothing
    /// has begun.
    pub(crate) fn begin(
        &mut self,
        change: &Change,
        key: AttemptKey,
        ground: &Ground<'_>,
    ) -> Result<OwnedFd, Refusal> {
        self.get(&change.place).map_err(Refusal::Bundle)?;
        let Some(Ok(place)) = self.entries.get_mut(&change.place) else {
            return Err(Refusal::Bundle(format!("this host has no place {}", change.place)));
        };
        let Change { what, seal, .. } = change;
        let release = place.judge(&change.place, *what, seal, key, ground)?;
        let refused = |why: String| Refusal::Bundle(format!("the place {}: {why}", change.place));
        let directory = place.open().map_err(refused)?;
        let mut record = place.record.clone();
        record.pending = Some(PendingChange { release, attempt: key });
        if *what == BuiltIn::Deliver {
            record.taking(release);
        }
        write_record(&directory, &record.encode())
            .map_err(|error| refused(format!("its record cannot be written: {error}")))?;
        place.record = record;
        let given = match what {
            BuiltIn::Activate => errand::give(&Errand::Activate(release), &[directory.as_fd()]),
            BuiltIn::Deliver => {
                let releases = place.releases(&directory).map_err(refused)?;
                let found = errand::open_bundle(ground.depot, release.id);
                let (manifest, content) = found.map_err(Refusal::Source)?;
                let gone = place.record.surplus(place.spec.keep, release, place.active);
                let stay = place.record.kept.iter().filter(|one| !gone.contains(one));
                let errand = Errand::Deliver {
                    seal: seal.encode(),
                    place: place.text.clone(),
                    name: change.place.clone(),
                    stay: stay.copied().chain(place.active).collect(),
                    is_active: place.active == Some(release),
                };
                errand::give(&errand, &[releases.as_fd(), manifest.as_fd(), content.as_fd()])
            }
        };
        given.map_err(|error| refused(format!("its process cannot be given its task: {error}")))
    }

    /// Whether it is certain that no process was asked for, for an attempt about some place: that it was
    /// would be noted in the record of that place.
    pub(crate) fn has_not_begun(&self, key: AttemptKey) -> bool {
        let is_other = |place: &Result<LocalPlace, String>| {
            let record = place.as_ref().map(|place| &place.record);
            record.is_ok_and(|record| record.pending.is_none_or(|it| it.attempt != key))
        };
        self.troubles.is_empty() && self.entries.values().all(is_other)
    }

    /// Takes that an attempt has ended: what it unpacked is there only if it ended well. Returns
    /// whether it was about a place.
    pub(crate) fn ended(&mut self, key: AttemptKey, what: BuiltIn, went_well: bool) -> bool {
        let is_it = |place: &&mut LocalPlace| {
            place.record.pending.is_some_and(|pending| pending.attempt == key)
        };
        let Some(place) = self.entries.values_mut().flatten().find(is_it) else { return false };
        let mut record = place.record.clone();
        if let Some(PendingChange { release, .. }) = record.pending.take()
            && what == BuiltIn::Deliver
            && went_well
        {
            let gone = record.surplus(place.spec.keep, release, place.active);
            record.delivered(release, &gone);
        }
        let noted = place.open().and_then(|directory| {
            let written = write_record(&directory, &record.encode());
            written.map_err(|error| error.to_string())?;
            standing::read(&directory)
        });
        match noted {
            Ok((record, active)) => (place.record, place.active) = (record, active),
            // The next delivery begins anew, for nobody noted this one.
            Err(error) => {
                tracing::error!(attempt = %key, error, "cannot note what became of a place");
            }
        }
        true
    }
}

impl LocalPlace {
    /// Judges a change by what is said of the bundle and by the record, and whether another one runs.
    fn judge(
        &self,
        name: &PlaceName,
        what: BuiltIn,
        seal: &Seal,
        key: AttemptKey,
        ground: &Ground<'_>,
    ) -> Result<BundleRelease, Refusal> {
        let (good, domain, now) = (&good_signatures(seal)[..], ground.domain, ground.now);
        let judging = Judging { seal, good, domain, now };
        let release = match what {
            BuiltIn::Deliver => self.record.judge_delivery(&self.spec, judging),
            BuiltIn::Activate => self.record.judge_activation(&self.spec, self.active, judging),
        };
        let release = release.map_err(|why| Refusal::Bundle(format!("the place {name}: {why}")))?;
        // What was begun and never ended is no hindrance.
        let other = self.record.pending.filter(|pending| pending.attempt != key);
        match other.is_some_and(|pending| (ground.is_live)(pending.attempt)) {
            true => Err(Refusal::Busy),
            false => Ok(release),
        }
    }

    /// Opens its directory, which is made if it is not there, and judges everything that leads to it
    /// once more.
    fn open(&self) -> Result<File, String> {
        let path = &self.spec.path;
        let failed = |error: std::io::Error| format!("{}: {error}", path.display());
        match fs::DirBuilder::new().mode(DIRECTORY_MODE).create(path) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(failed(error));
            }
            _ => {}
        }
        let Judged { dir, verdict } = open_directory(path).map_err(failed)?;
        verdict.map_err(|why| format!("{} {why}", path.display()))?;
        Ok(dir)
    }

    /// Opens the directory of its releases, which is made for the owner if it is not there.
    fn releases(&self, place: &File) -> Result<OwnedFd, String> {
        let failed = |error: rustix::io::Errno| format!("{}: {error}", standing::RELEASES);
        match rustix::fs::mkdirat(place, standing::RELEASES, Mode::from_raw_mode(DIRECTORY_MODE)) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(error) => return Err(failed(error)),
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let releases = rustix::fs::openat(place, standing::RELEASES, flags, Mode::empty());
        let releases = releases.map_err(failed)?;
        let own = rustix::process::geteuid().as_raw();
        let owner = self.owner.identity.as_ref().map_or(own, |identity| identity.uid);
        let found = rustix::fs::fstat(&releases).map_err(failed)?;
        if found.st_uid == owner {
            return Ok(releases);
        }
        if found.st_uid != own {
            let (uid, releases) = (found.st_uid, standing::RELEASES);
            return Err(format!("its {releases} belongs to user {uid}, and its owner is {owner}"));
        }
        let group =
            self.owner.identity.as_ref().map(|identity| rustix::fs::Gid::from_raw(identity.gid));
        rustix::fs::fchown(&releases, Some(rustix::fs::Uid::from_raw(owner)), group)
            .map_err(failed)?;
        Ok(releases)
    }
}

/// Writes the record of a place, durably, in the place of the one before.
fn write_record(place: &File, text: &str) -> std::io::Result<()> {
    let flags = OFlags::WRONLY
        | OFlags::CREATE
        | OFlags::TRUNC
        | OFlags::NOFOLLOW
        | OFlags::NONBLOCK
        | OFlags::CLOEXEC;
    let new = rustix::fs::openat(place, standing::NEW_RECORD, flags, RECORD_MODE)?;
    let mut new = File::from(new);
    debug_assert_eq!(new.metadata()?.uid(), rustix::process::geteuid().as_raw());
    new.write_all(text.as_bytes())?;
    new.sync_all()?;
    rustix::fs::renameat(place, standing::NEW_RECORD, place, standing::RECORD)?;
    Ok(rustix::fs::fsync(place)?)
}

#[cfg(test)]
mod tests;
