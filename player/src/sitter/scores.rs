//! The scores of this host: found, checked, and copied, so that what runs is what was checked.
//!
//! A scan walks to the directory and judges each step (`judge.rs`). It opens each file beneath it
//! (no `..`, no link that leads out), and judges what it *opened*: owner, mode, kind, and what
//! would run it (`interpreter.rs`). The bytes go into a sealed memory file (`image.rs`), are hashed
//! there, and are run from there. So a file may be replaced or edited at any time: attempts that
//! run keep their version, and the next scan takes all new versions at once.
//!
//! A score that is not in order is listed as disabled, with the reason. The others are not
//! affected.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    rc::Rc,
    sync::Arc,
};

use orchestra_document::score;
use orchestra_model::{
    ScoreName, limits,
    score::{BuiltIn, ScoreOffer, ScoreSpec},
};
use rustix::{
    fs::{AtFlags, Dir, Mode, OFlags, ResolveFlags},
    io::Errno,
};

mod image;
mod interpreter;
pub(super) mod judge;

use self::judge::{Judged, Refusal, judge, judge_file, open_directory};
pub(crate) use self::{image::Image, interpreter::Interpreter};

/// Endings of what editors and package managers leave beside a file that they replace.
const LEFTOVERS: [&str; 11] = [
    ".rpmsave", ".rpmnew", ".rpmorig", ".bak", ".orig", ".rej", ".swp", ".swo", ".pacnew",
    ".pacsave", ".apk-new",
];
/// Most scores that have files: those that are built in are offered too.
const MOST: usize = limits::SCORES - BuiltIn::ALL.len();
/// Beginnings of such endings: `.dpkg-old`, `.dpkg-dist`, `.ucf-new`.
const LEFTOVER_KINDS: [&str; 2] = [".dpkg-", ".ucf-"];

/// A checked set of scores, by name. Replaced as a whole.
#[derive(Debug, Default)]
pub(crate) struct Scores {
    entries: BTreeMap<ScoreName, Entry>,
    /// Scores that have, or had, a `.conf` with content. If it is gone or empty later, that lifts
    /// no limit, because it may be gone by accident. Kept in the spool, over restarts.
    confs: BTreeSet<ScoreName>,
}

/// One score.
#[derive(Clone, Debug)]
struct Entry {
    image: Option<Rc<Image>>,
    spec: Result<Arc<ScoreSpec>, String>,
}

/// A score that may run.
#[derive(Clone, Debug)]
pub(crate) struct Score {
    /// What its `.conf` says.
    pub(crate) spec: Arc<ScoreSpec>,
    /// Its bytes.
    pub(crate) image: Rc<Image>,
}

/// Why a score may not run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unavailable {
    /// There is no score of that name.
    Unknown,
    /// It is disabled, for this reason.
    Disabled(String),
}

impl Scores {
    /// Scans a directory. Versions that `before` has already are shared with it.
    pub(crate) fn scan(directory: &Path, before: &Scores) -> Result<Scores, ScanError> {
        let failed = |source: io::Error| ScanError { directory: directory.to_owned(), source };
        let Judged { dir, verdict } = open_directory(directory).map_err(failed)?;
        let whole = verdict.map_err(|why| format!("its directory {why}"));
        let mut scores = BTreeMap::new();
        let mut confs = before.confs.clone();
        let mut left_out = 0;
        for (name, found) in names(&dir).map_err(failed)? {
            let entry = match (&whole, found) {
                (Err(why), _) => Some(Entry::disabled(why)),
                (Ok(()), Found::File) => entry(&dir, &name, before, &mut confs),
                (Ok(()), Found::ConfAlone) => Some(Entry::disabled(&Refusal::NoScore)),
            };
            match entry {
                None => {}
                Some(_) if scores.len() == MOST => left_out += 1,
                Some(entry) => {
                    scores.insert(name, entry);
                }
            }
        }
        if left_out > 0 {
            tracing::warn!(left_out, most = MOST, "too many scores; the last are left out");
        }
        if confs.len() > limits::SCORES {
            confs.retain(|name| scores.contains_key(name));
        }
        Ok(Scores { entries: scores, confs })
    }

    /// Returns no scores yet, and remembers which had a `.conf`.
    pub(crate) fn remembering(confs: BTreeSet<ScoreName>) -> Self {
        Self { entries: BTreeMap::new(), confs }
    }

    /// Returns the scores that have, or had, a `.conf` with content.
    pub(crate) fn confs(&self) -> &BTreeSet<ScoreName> {
        &self.confs
    }

    /// Returns the score of a name, if it may run.
    pub(crate) fn get(&self, name: &ScoreName) -> Result<Score, Unavailable> {
        let entry = self.entries.get(name).ok_or(Unavailable::Unknown)?;
        match (&entry.spec, &entry.image) {
            (Ok(spec), Some(image)) => {
                Ok(Score { spec: Arc::clone(spec), image: Rc::clone(image) })
            }
            (Err(why), _) => Err(Unavailable::Disabled(why.clone())),
            (Ok(_), None) => Err(Unavailable::Disabled("it could not be read".to_owned())),
        }
    }

    /// Returns the scores as a conductor is told of them.
    pub(crate) fn offers(&self) -> Vec<ScoreOffer> {
        let offer = |(name, entry): (&ScoreName, &Entry)| ScoreOffer {
            name: name.clone(),
            hash: entry.image.as_ref().map(|image| image.hash()),
            spec: entry.spec.as_deref().cloned().map_err(String::clone),
        };
        self.entries.iter().map(offer).collect()
    }

    /// Returns how many scores there are, and how many of them are disabled.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.entries.len(), self.entries.values().filter(|entry| entry.spec.is_err()).count())
    }
}

/// The directory of scores cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("reading the scores directory {}", .directory.display())]
pub struct ScanError {
    directory: PathBuf,
    source: io::Error,
}

impl Entry {
    fn disabled(why: &impl fmt::Display) -> Self {
        Entry { image: None, spec: Err(why.to_string()) }
    }
}

/// What lies in the directory under a score's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    /// A file of that name, with a `.conf` or without.
    File,
    /// A `.conf` alone. Its score may lie under another name, where the `.conf` has no effect.
    ConfAlone,
}

/// The names in a directory that can be a score's.
fn names(dir: &File) -> io::Result<BTreeMap<ScoreName, Found>> {
    let mut names = BTreeMap::new();
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        let Ok(file) = entry.file_name().to_str() else { continue };
        if let Some(stem) = file.strip_suffix(".conf") {
            match score_name(stem) {
                Some(name) => {
                    names.entry(name).or_insert(Found::ConfAlone);
                }
                None if stem.starts_with('.') || is_leftover(stem) => {}
                None => tracing::warn!(file, "no score can have this .conf's name; it is ignored"),
            }
        } else if let Some(name) = score_name(file) {
            names.insert(name, Found::File);
        }
    }
    Ok(names)
}

fn score_name(file: &str) -> Option<ScoreName> {
    let name = ScoreName::new(file).ok().filter(|_| !is_leftover(file))?;
    // The player's own are no files.
    BuiltIn::of(&name).is_none().then_some(name)
}

/// Returns whether an editor or a package manager left this file beside another. It may have been a
/// score, and is not to run.
pub(super) fn is_leftover(file: &str) -> bool {
    file.ends_with('~')
        || LEFTOVERS.iter().any(|ending| file.ends_with(ending))
        || LEFTOVER_KINDS.iter().any(|kind| file.contains(kind))
}

/// Judges the file of this name; `None` if it is no score.
fn entry(
    dir: &File,
    name: &ScoreName,
    before: &Scores,
    confs: &mut BTreeSet<ScoreName>,
) -> Option<Entry> {
    let conf = match conf(dir, name) {
        Ok(Conf::None | Conf::Blank) if confs.contains(name) => Err(Refusal::ConfGone),
        conf => conf,
    };
    let has_conf = !matches!(conf, Ok(Conf::None));
    if matches!(conf, Ok(Conf::Says(_)) | Err(_)) {
        confs.insert(name.clone());
    }
    let file = match open_beneath(dir, name.as_str()) {
        Ok(file) => file,
        // Without a `.conf` it is not meant as a score.
        Err(Refusal::NotRegular) if !has_conf => return None,
        Err(why) => return Some(Entry::disabled(&why)),
    };
    match judge(dir, &file) {
        Ok(()) => {}
        Err(Refusal::NotExecutable) if !has_conf => return None,
        Err(why) => return Some(Entry::disabled(&why)),
    }
    let image = match Image::copy(&file) {
        Ok(image) => image,
        Err(error) => return Some(Entry::disabled(&Refusal::Image(error))),
    };
    let usable = image.interpreter().map_or(Ok(()), Interpreter::check);
    let known = before.entries.get(name).and_then(|entry| entry.image.as_ref());
    let image = match known {
        // One copy of a version is enough. Only the hash proves that a version is the same.
        Some(known) if known.hash() == image.hash() => Rc::clone(known),
        _ => Rc::new(image),
    };
    let spec = match (conf, usable) {
        (Err(why), _) => Err(format!("its .conf: {why}")),
        (Ok(_), Err(why)) => Err(Refusal::Unusable(why).to_string()),
        (Ok(Conf::Says(spec)), Ok(())) => Ok(Arc::new(*spec)),
        (Ok(Conf::None | Conf::Blank), Ok(())) => Ok(Arc::default()),
    };
    Some(Entry { image: Some(image), spec })
}

/// What a `.conf` says.
enum Conf {
    /// There is no `.conf`.
    None,
    /// It is empty, without even a comment.
    Blank,
    /// It says this.
    Says(Box<ScoreSpec>),
}

/// Reads `NAME.conf`.
fn conf(dir: &File, name: &ScoreName) -> Result<Conf, Refusal> {
    let file = match open_beneath(dir, &format!("{name}.conf")) {
        Ok(file) => file,
        Err(Refusal::Io(error)) if error.kind() == io::ErrorKind::NotFound => {
            return absent(dir, &format!("{name}.conf")).map(|()| Conf::None);
        }
        Err(why) => return Err(why),
    };
    judge_file(dir, &file)?;
    let mut text = String::new();
    let most = limits::SCORE_CONF_BYTES as u64 + 1;
    file.take(most).read_to_string(&mut text).map_err(Refusal::Io)?;
    if text.trim().is_empty() {
        return Ok(Conf::Blank);
    }
    score::parse(&text).map(|spec| Conf::Says(Box::new(spec))).map_err(Refusal::Conf)
}

/// Checks that nothing of this name is there. A link that leads nowhere is refused, because the
/// file that it led to may have held limits.
fn absent(dir: &File, name: &str) -> Result<(), Refusal> {
    match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(_) => Err(Refusal::LeadsNowhere),
        Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(Refusal::Io(error.into())),
    }
}

/// Opens a regular file beneath a directory. Links may lead to files beneath it too.
pub(super) fn open_beneath(dir: &File, name: &str) -> Result<File, Refusal> {
    // NONBLOCK, so that opening a FIFO does not wait.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    match rustix::fs::openat2(dir, name, flags, Mode::empty(), resolve) {
        Ok(file) => {
            let file = File::from(file);
            let regular = file.metadata().map_err(Refusal::Io)?.is_file();
            if regular { Ok(file) } else { Err(Refusal::NotRegular) }
        }
        Err(Errno::XDEV) => Err(Refusal::LeavesDirectory),
        // It is a socket, or a device without a driver.
        Err(Errno::NXIO | Errno::NODEV) => Err(Refusal::NotRegular),
        Err(error) => Err(Refusal::Io(error.into())),
    }
}

#[cfg(test)]
mod tests;
