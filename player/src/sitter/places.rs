//! Where this host takes bundles: files of places, found and judged as scores are.
//!
//! A scan walks to the directory of places and opens each `NAME.toml` beneath it. Only root and the
//! player's own user may be able to change what such a file says, nor what leads to it, nor the
//! directory that the place is, nor what leads there. A place that overlaps another one, or anything
//! of the player's own, is disabled, and so is one whose record cannot be read. A disabled place takes
//! nothing, and is told with its reason. The others are not affected.
//!
//! ```text
//! PATH/                the place: its directory, where the player alone writes
//!   .orchestra         what the player remembers of it (`orchestra_model::bundle::PlaceRecord`)
//!   current            a link to the active release
//!   releases/          belongs to the place's owner, and the player itself never reads in it
//!     42-sha256-…/     a release
//! ```
//!
//! `act.rs` is what orders do to places, `errand.rs` what their processes are told.
//!
//! Places permit and do not limit, so what vanishes takes rights away: the player goes on.

mod act;
pub(crate) mod errand;
mod overlap;
pub(crate) mod standing;

use std::{
    collections::BTreeMap,
    fmt,
    fs::File,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use orchestra_document::{Problems, place};
use orchestra_model::{
    BundleName,
    bundle::{
        BundleRelease, InstalledPlace, PlaceRecord, PlaceReport, PlaceStanding, PlacesReport,
    },
    limits,
    names::PlaceName,
};
use rustix::fs::Dir;

use super::{
    scores::{
        is_leftover,
        judge::{Judged, Refusal, judge_file, open_directory},
        open_beneath,
    },
    users::{Runner, UserError, Users},
};
use crate::config::{Config, RunAs};

/// How the name of a place's file ends.
const ENDING: &str = ".toml";
/// Largest file of a place, in bytes.
const FILE_BYTES: u64 = 64 << 10;

/// The places of this host, by name. Replaced as a whole.
#[derive(Debug, Default)]
pub(crate) struct LocalPlaces {
    entries: BTreeMap<PlaceName, Result<LocalPlace, String>>,
    /// What is wrong with the directory itself.
    troubles: Vec<String>,
}

pub(crate) use self::act::{Change, Ground};

/// A place that takes bundles.
#[derive(Clone, Debug)]
pub(crate) struct LocalPlace {
    spec: InstalledPlace,
    /// Its file.
    text: String,
    /// As whom bundles are unpacked.
    pub(crate) owner: Runner,
    /// Its directory, or where that will be, without links.
    real: PathBuf,
    record: PlaceRecord,
    /// The release to which it is switched.
    active: Option<BundleRelease>,
}

/// Why a place takes nothing. Its text is told to people, and includes the causes.
#[derive(Debug)]
enum PlaceFault {
    /// Its file, or the directory of places.
    File(Refusal),
    TooLarge,
    Content(Problems),
    Owner(UserError),
    /// Its directory, or one on the way there.
    Directory(PathBuf, Refusal),
    /// There is neither its directory nor the one that would hold it.
    Nowhere(PathBuf, io::Error),
    Overlap(String),
    Record(String),
}

impl fmt::Display for PlaceFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(Refusal::NotRegular) => f.write_str("its file is not a regular file"),
            Self::File(why) => write!(f, "its file {why}"),
            Self::TooLarge => f.write_str("its file is larger than 64 KiB"),
            Self::Content(problems) => f.write_str(&problems.in_one_line()),
            Self::Owner(why) => write!(f, "its owner: {}", orchestra_model::chain(why)),
            Self::Directory(path, why) => write!(f, "{} {why}", path.display()),
            Self::Nowhere(path, error) => {
                write!(f, "{} cannot be entered: {error}", path.display())
            }
            Self::Overlap(what) => write!(f, "it overlaps {what}"),
            Self::Record(why) => f.write_str(why),
        }
    }
}

impl LocalPlaces {
    /// Looks at every file of a place. Of a directory that has gone since `before`, or cannot be read,
    /// every place that was there is told as disabled.
    pub(crate) fn scan(config: &Config, users: &mut Users, before: &LocalPlaces) -> LocalPlaces {
        let mut places = LocalPlaces::default();
        let opened = match open_directory(&config.places_dir) {
            Ok(opened) => opened,
            Err(error) => {
                let is_missing = error.kind() == io::ErrorKind::NotFound;
                if !(is_missing && before.is_empty()) {
                    let at = config.places_dir.display();
                    let why = format!("the directory of places {at} cannot be read: {error}");
                    places.disable_all(before, &why);
                }
                return places;
            }
        };
        let Judged { dir, verdict } = opened;
        let names = match places.names(&dir) {
            Ok(names) => names,
            Err(error) => {
                let at = config.places_dir.display();
                let why = format!("the directory of places {at} cannot be read: {error}");
                places.disable_all(before, &why);
                return places;
            }
        };
        let whole = verdict.map_err(|why| format!("its directory {why}"));
        for name in names {
            let judged = match &whole {
                Err(why) => Err(why.clone()),
                Ok(()) => look(&dir, &name, config, users).map_err(|why| why.to_string()),
            };
            places.entries.insert(name, judged);
        }
        overlap::disable(&mut places.entries, config);
        places
    }

    fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.troubles.is_empty()
    }

    fn disable_all(&mut self, before: &LocalPlaces, why: &str) {
        self.troubles.push(why.to_owned());
        let names = before.entries.keys();
        self.entries.extend(names.map(|name| (name.clone(), Err(why.to_owned()))));
    }

    /// Returns the names of places in their directory. Files that can be no place's are told.
    fn names(&mut self, dir: &File) -> io::Result<Vec<PlaceName>> {
        let mut names = Vec::new();
        for entry in Dir::read_from(dir)? {
            let entry = entry?;
            let file = entry.file_name().to_string_lossy();
            if file.starts_with('.') || is_leftover(&file) {
                continue;
            }
            let name = file.strip_suffix(ENDING).map(PlaceName::new);
            match name {
                Some(Ok(name)) => names.push(name),
                Some(Err(why)) => self.troubles.push(format!("{file} can be no place's: {why}")),
                None => self.troubles.push(format!("{file} does not end in {ENDING}")),
            }
        }
        names.sort();
        if names.len() > limits::PLACES {
            let most = limits::PLACES;
            self.troubles
                .insert(0, format!("there are more than {most} places: the last are left out"));
            names.truncate(most);
        }
        self.troubles.truncate(limits::PLACE_TROUBLES);
        Ok(names)
    }

    /// Returns what a conductor is told.
    pub(crate) fn report(&self) -> PlacesReport {
        let place = |(name, place): (&PlaceName, &Result<LocalPlace, String>)| PlaceReport {
            name: name.clone(),
            state: match place {
                Ok(place) => Ok(place.standing()),
                Err(why) => Err(shortened(why)),
            },
        };
        PlacesReport {
            troubles: self.troubles.iter().map(|why| shortened(why)).collect(),
            places: self.entries.iter().map(place).collect(),
        }
    }

    /// Returns how many places there are, and how many of them are disabled.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.entries.len(), self.entries.values().filter(|place| place.is_err()).count())
    }
}

impl LocalPlace {
    fn standing(&self) -> PlaceStanding {
        PlaceStanding {
            bundle: self.spec.takes.name.clone(),
            path: self.spec.path.to_string_lossy().into_owned(),
            trust: self.spec.takes.trust.clone(),
            active: self.active,
            kept: self.record.kept.iter().copied().collect(),
            highest: self.record.highest,
        }
    }
}

/// Judges the file of a place, and the directory that it names.
fn look(
    dir: &File,
    name: &PlaceName,
    config: &Config,
    users: &mut Users,
) -> Result<LocalPlace, PlaceFault> {
    let file = open_beneath(dir, &format!("{name}{ENDING}")).map_err(PlaceFault::File)?;
    judge_file(dir, &file).map_err(PlaceFault::File)?;
    let mut text = String::new();
    let read = file.take(FILE_BYTES + 1).read_to_string(&mut text);
    read.map_err(|error| PlaceFault::File(Refusal::Io(error)))?;
    if text.len() as u64 > FILE_BYTES {
        return Err(PlaceFault::TooLarge);
    }
    // The character sets of the two names are the same.
    let bundle = BundleName::new(name.as_str())
        .map_err(|error| PlaceFault::Record(format!("its name cannot be a bundle's: {error}")))?;
    let spec = place::parse_installed(&text, &bundle).map_err(PlaceFault::Content)?;
    let owner = match &spec.owner {
        Some(owner) => users.run_as(&RunAs::User(owner.clone())),
        None => users.run_as(&config.task_user),
    };
    let owner = owner.map_err(PlaceFault::Owner)?;
    let (real, there) = find(&spec.path)?;
    let (record, active) = match there {
        Some(there) => standing::read(&there).map_err(PlaceFault::Record)?,
        None => (PlaceRecord::default(), None),
    };
    Ok(LocalPlace { spec, text, owner, real, record, active })
}

/// Judges the directory of a place and everything that leads to it. Returns its path without links, and
/// the directory, where it is there. Where it is not there, the directory that will hold it is judged:
/// the first delivery makes it.
fn find(path: &Path) -> Result<(PathBuf, Option<File>), PlaceFault> {
    let judged = |path: &Path| -> Result<Option<(PathBuf, File)>, PlaceFault> {
        let nowhere = |error| PlaceFault::Nowhere(path.to_owned(), error);
        let Judged { dir, verdict } = match open_directory(path) {
            Ok(judged) => judged,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(nowhere(error)),
        };
        verdict.map_err(|why| PlaceFault::Directory(path.to_owned(), why))?;
        Ok(Some((std::fs::canonicalize(path).map_err(nowhere)?, dir)))
    };
    if let Some((real, dir)) = judged(path)? {
        return Ok((real, Some(dir)));
    }
    // A link that leads nowhere is something that is there.
    if path.symlink_metadata().is_ok() {
        return Err(PlaceFault::Directory(path.to_owned(), Refusal::LeadsNowhere));
    }
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(PlaceFault::Nowhere(path.to_owned(), io::ErrorKind::NotFound.into()));
    };
    match judged(parent)? {
        Some((real, _)) => Ok((real.join(name), None)),
        None => Err(PlaceFault::Nowhere(parent.to_owned(), io::ErrorKind::NotFound.into())),
    }
}

/// A reason, as long as one may be.
fn shortened(why: &str) -> String {
    let mut end = why.len().min(limits::PLACE_REASON_BYTES);
    while !why.is_char_boundary(end) {
        end -= 1;
    }
    why[..end].to_owned()
}

#[cfg(test)]
mod tests;
