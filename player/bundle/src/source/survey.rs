//! The first look at a directory: which entries it has, and what of it no bundle can hold.

use std::{os::fd::AsFd, path::Path};

use orchestra_model::{
    BundleName,
    bundle::{
        BundleEntry, BundlePath, BundleSerial, ContentHash, EntryKind, EntryName, FileEntry,
        FileTime, InvalidManifest, Manifest,
    },
    limits,
};
use rustix::{
    fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat},
    io::Errno,
};

use super::{Choice, Gathered, LeftOut, SourceError};

/// What was seen.
pub(super) struct Survey {
    pub(super) top_mode: u16,
    /// Files have neither data nor hash yet.
    pub(super) entries: Vec<BundleEntry>,
    /// Each entry as it was, to see whether it changes.
    pub(super) seen: Vec<Seen>,
    pub(super) left_out: LeftOut,
}

/// By what one version of a file is told from others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    file: (u64, u64),
    size: i64,
    mtime: FileTime,
    ctime: FileTime,
}

impl Seen {
    #[allow(
        clippy::allow_attributes,
        clippy::unnecessary_cast,
        reason = "the widths of these fields differ between targets"
    )]
    pub(super) fn of(stat: &Stat) -> Self {
        let time = |seconds, nanos| FileTime { seconds, nanos };
        Self {
            file: (stat.st_dev as u64, stat.st_ino as u64),
            size: stat.st_size as i64,
            mtime: time(stat.st_mtime as i64, stat.st_mtime_nsec as u32),
            ctime: time(stat.st_ctime as i64, stat.st_ctime_nsec as u32),
        }
    }
}

/// Permission bits.
pub(super) fn mode(stat: &Stat) -> u16 {
    (stat.st_mode & 0o777) as u16
}

/// Whether a file runs with the rights of its owner or group.
fn lends_rights(stat: &Stat) -> bool {
    stat.st_mode & 0o6000 != 0
}

/// Looks at everything below `top`, the directory at `path`.
pub(super) fn survey(top: impl AsFd, path: &Path, choice: &Choice) -> Result<Survey, SourceError> {
    let stat = rustix::fs::fstat(&top);
    let stat =
        stat.map_err(|error| SourceError::Top { path: path.into(), source: error.into() })?;
    let mut walk = Walk {
        choice,
        used: vec![false; choice.exclude.len()],
        path: BundlePath::default(),
        gathered: Gathered::default(),
        survey: Survey {
            top_mode: mode(&stat),
            entries: Vec::new(),
            seen: Vec::new(),
            left_out: LeftOut::default(),
        },
    };
    walk.directory(top, 1);
    let Walk { mut survey, mut gathered, used, .. } = walk;
    if gathered.wrong == 0 {
        judge(&survey, &mut gathered);
    }
    gathered.into_result()?;
    let idle = choice.exclude.iter().zip(used).filter(|(_, used)| !used);
    survey.left_out.idle_patterns = idle.map(|(pattern, _)| pattern.to_string()).collect();
    Ok(survey)
}

/// Judges all entries as those of a bundle whose files are all holes: links, paths and sizes.
fn judge(survey: &Survey, gathered: &mut Gathered) {
    let Ok(name) = BundleName::new("survey") else { return };
    let entries = survey.entries.clone();
    let judged =
        Manifest::new(name, BundleSerial::FIRST, None, survey.top_mode, entries, Vec::new());
    match judged {
        Ok(_) => {}
        Err(InvalidManifest::Entry { path, fault, .. }) => gathered.note(&path, fault.to_string()),
        Err(other) => gathered.note(&BundlePath::default(), other.to_string()),
    }
}

struct Walk<'a> {
    choice: &'a Choice,
    /// Which patterns have fitted something.
    used: Vec<bool>,
    path: BundlePath,
    gathered: Gathered,
    survey: Survey,
}

impl Walk<'_> {
    /// Looks at what is in a directory, whose entries are at `depth`.
    fn directory(&mut self, directory: impl AsFd, depth: u16) {
        let above = self.path.clone();
        let names = match names(&directory) {
            Ok(names) => names,
            Err(error) => return self.note_system("reading the directory", error),
        };
        for bytes in names {
            if self.survey.entries.len() >= limits::BUNDLE_ENTRIES {
                let why = format!("a bundle has at most {} entries", limits::BUNDLE_ENTRIES);
                return self.gathered.note(&above, why);
            }
            match EntryName::new(&bytes) {
                Ok(name) => {
                    self.path.turn_to(depth, name.clone());
                    self.entry(&directory, depth, &name);
                }
                Err(why) => self.gathered.note(&above, why.to_string()),
            }
            self.path = above.clone();
        }
    }

    fn note_system(&mut self, attempt: &str, error: Errno) {
        self.gathered.note(&self.path, format!("{attempt}: {error}"));
    }

    /// Looks at the entry at the present path.
    fn entry(&mut self, directory: impl AsFd, depth: u16, name: &EntryName) {
        if self.is_excluded() {
            self.survey.left_out.excluded += 1;
            return;
        }
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        let stat = match rustix::fs::statat(&directory, name.as_bytes(), flags) {
            Ok(stat) => stat,
            Err(error) => return self.note_system("looking at it", error),
        };
        let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        let Some(kind) = self.kind(&directory, name, &stat) else { return };
        self.survey.seen.push(Seen::of(&stat));
        self.survey.entries.push(BundleEntry {
            depth,
            name: name.clone(),
            kind,
            xattrs: Vec::new(),
        });
        if !is_directory {
            return;
        }
        if depth >= limits::BUNDLE_DEPTH {
            let why = format!("directories of a bundle are nested at most {depth} deep");
            return self.gathered.note(&self.path, why);
        }
        match open_directory(&directory, name) {
            Ok(inner) => self.directory(inner, depth + 1),
            Err(error) => self.note_system("opening the directory", error),
        }
    }

    fn is_excluded(&mut self) -> bool {
        let fitting = self.choice.exclude.iter().position(|pattern| pattern.fits(&self.path));
        if let Some(n) = fitting {
            self.used[n] = true;
        }
        fitting.is_some()
    }

    /// What an entry becomes; `None` if it is noted why it cannot be in a bundle.
    fn kind(&mut self, directory: impl AsFd, name: &EntryName, stat: &Stat) -> Option<EntryKind> {
        let why = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => return Some(EntryKind::Directory { mode: mode(stat) }),
            FileType::RegularFile if lends_rights(stat) => {
                "it is setuid or setgid, and no bundle hands on rights"
            }
            FileType::RegularFile => return Some(EntryKind::File(empty(stat))),
            FileType::Symlink => match rustix::fs::readlinkat(&directory, name.as_bytes(), []) {
                Ok(target) => return Some(EntryKind::Link { target: target.into_bytes().into() }),
                Err(error) => {
                    self.note_system("reading the link", error);
                    return None;
                }
            },
            FileType::Fifo => "it is a FIFO, and no file",
            FileType::Socket => "it is a socket, and no file",
            FileType::CharacterDevice | FileType::BlockDevice => "it is a device, and no file",
            FileType::Unknown => "it is of an unknown kind",
        };
        self.gathered.note(&self.path, why);
        None
    }
}

/// A file whose data was not read yet.
fn empty(stat: &Stat) -> FileEntry {
    let seen = Seen::of(stat);
    FileEntry {
        mode: mode(stat),
        mtime: seen.mtime,
        size: u64::try_from(seen.size).unwrap_or(0),
        data: Vec::new(),
        hash: ContentHash([0; 32]),
    }
}

/// The names in a directory but for the two that every one has, in the order of their bytes.
fn names(directory: impl AsFd) -> Result<Vec<Vec<u8>>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let name = entry?.file_name().to_bytes().to_vec();
        if !matches!(&*name, b"." | b"..") {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// Opens a directory that is no link.
pub(super) fn open_directory(
    above: impl AsFd,
    name: &EntryName,
) -> Result<std::os::fd::OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(above, name.as_bytes(), flags, Mode::empty())
}
