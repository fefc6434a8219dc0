//! The scores of this host: found, checked, and copied, so that what runs is what was checked.
//!
//! A scan opens each file beneath the directory (no `..`, no link that leads out), and judges what
//! it *opened*: owner, mode, kind. The bytes go into a sealed memory file, are hashed there, and
//! are run from there. So a file may be replaced or edited at any time: attempts that run keep
//! their version, and a new version counts from the next scan on, as a whole set.
//!
//! A score that is not in order is there all the same, disabled with the reason; the others go on.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fmt,
    fs::File,
    io::{self, Read},
    os::unix::{ffi::OsStringExt, fs::MetadataExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use orchestra_model::{
    ScoreName, limits,
    score::{InvalidConf, ScoreHash, ScoreOffer, ScoreSpec},
};
use rustix::{
    fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    fs::{AtFlags, CWD, Dir, MemfdFlags, Mode, OFlags, ResolveFlags, SealFlags},
    io::Errno,
};
use sha2::{Digest, Sha256};

/// Largest score, in bytes. Scripts and small programs; whoever needs more calls what is installed
/// elsewhere.
const SCORE_BYTES: u64 = 64 << 20;

/// A checked set of scores, by name. Replaced as a whole.
#[derive(Debug, Default)]
pub(crate) struct Scores(BTreeMap<ScoreName, Entry>);

/// One score.
#[derive(Clone, Debug)]
struct Entry {
    image: Option<Arc<Image>>,
    spec: Result<Arc<ScoreSpec>, String>,
}

/// A score that may run.
#[derive(Clone, Debug)]
pub(crate) struct Score {
    /// What its `.conf` says.
    pub(crate) spec: Arc<ScoreSpec>,
    /// Its bytes.
    pub(crate) image: Arc<Image>,
}

/// Why a score may not run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unavailable {
    /// There is none of that name.
    Unknown,
    /// It is disabled, for this reason.
    Disabled(String),
}

/// The bytes of one version of a score, which nobody can change.
#[derive(Debug)]
pub(crate) struct Image {
    memory: OwnedFd,
    hash: ScoreHash,
}

impl Scores {
    /// Scans a directory. Versions that `before` has already are shared with it.
    pub(crate) fn scan(directory: &Path, before: &Scores) -> Result<Scores, ScanError> {
        let failed = |source: io::Error| ScanError { directory: directory.to_owned(), source };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = rustix::fs::openat(CWD, directory, flags, Mode::empty());
        let dir = File::from(dir.map_err(|error| failed(error.into()))?);
        let whole = judge_owner(&dir).map_err(|why| format!("its directory {why}"));
        let mut scores = BTreeMap::new();
        let mut left_out = 0;
        for name in names(&dir).map_err(failed)? {
            let entry = match &whole {
                Ok(()) => entry(&dir, &name, before),
                Err(why) => Some(Entry { image: None, spec: Err(why.clone()) }),
            };
            match entry {
                None => {}
                Some(_) if scores.len() == limits::SCORES => left_out += 1,
                Some(entry) => {
                    scores.insert(name, entry);
                }
            }
        }
        if left_out > 0 {
            tracing::warn!(
                left_out,
                most = limits::SCORES,
                "too many scores; the last are left out"
            );
        }
        Ok(Scores(scores))
    }

    /// The score of a name, if it may run.
    pub(crate) fn get(&self, name: &ScoreName) -> Result<Score, Unavailable> {
        let entry = self.0.get(name).ok_or(Unavailable::Unknown)?;
        match (&entry.spec, &entry.image) {
            (Ok(spec), Some(image)) => {
                Ok(Score { spec: Arc::clone(spec), image: Arc::clone(image) })
            }
            (Err(why), _) => Err(Unavailable::Disabled(why.clone())),
            (Ok(_), None) => Err(Unavailable::Disabled("it could not be read".to_owned())),
        }
    }

    /// What a conductor is told.
    pub(crate) fn offers(&self) -> Vec<ScoreOffer> {
        let offer = |(name, entry): (&ScoreName, &Entry)| ScoreOffer {
            name: name.clone(),
            hash: entry.image.as_ref().map(|image| image.hash),
            spec: entry.spec.as_deref().cloned().map_err(String::clone),
        };
        self.0.iter().map(offer).collect()
    }

    /// How many there are, and how many of them are disabled.
    pub(crate) fn counts(&self) -> (usize, usize) {
        (self.0.len(), self.0.values().filter(|entry| entry.spec.is_err()).count())
    }
}

/// The directory of scores cannot be read.
#[derive(Debug)]
pub struct ScanError {
    directory: PathBuf,
    source: io::Error,
}

impl fmt::Display for ScanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "reading the scores directory {}", self.directory.display())
    }
}

impl std::error::Error for ScanError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

impl Image {
    /// A descriptor to run it from. Opened anew for each attempt: interpreters read from where the
    /// descriptor stands, and one that is shared stands at the end for the second reader.
    pub(crate) fn open(&self) -> io::Result<OwnedFd> {
        let path = format!("/proc/self/fd/{}", self.memory.as_raw_fd());
        Ok(rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?)
    }

    fn copy(file: &File) -> io::Result<Image> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        // Executable on purpose, whatever the system's default for memory files is.
        let memory = rustix::fs::memfd_create(c"score", flags | MemfdFlags::EXEC);
        let memory = match memory {
            // Before Linux 6.3.
            Err(Errno::INVAL) => rustix::fs::memfd_create(c"score", flags),
            made => made,
        };
        let mut memory = File::from(memory?);
        let mut hasher = Sha256::new();
        let mut bounded = file.take(SCORE_BYTES + 1);
        let mut chunk = vec![0; 64 << 10];
        let mut copied = 0;
        loop {
            let read = bounded.read(&mut chunk)?;
            if read == 0 {
                break;
            }
            copied += read as u64;
            hasher.update(&chunk[..read]);
            io::Write::write_all(&mut memory, &chunk[..read])?;
        }
        if copied > SCORE_BYTES {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
        rustix::fs::fcntl_add_seals(&memory, seals)?;
        Ok(Image { memory: memory.into(), hash: ScoreHash(hasher.finalize().into()) })
    }
}

/// The names in a directory that can be a score's, in order.
fn names(dir: &File) -> io::Result<Vec<ScoreName>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(dir)? {
        let name = entry?;
        if let Ok(name) = name.file_name().to_str().map(ScoreName::new)
            && let Ok(name) = name
        {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// What is to be said of the file of this name; `None` where it is no score.
fn entry(dir: &File, name: &ScoreName, before: &Scores) -> Option<Entry> {
    let disabled = |why: Refusal| Some(Entry { image: None, spec: Err(why.to_string()) });
    let file = match open_beneath(dir, name.as_str()) {
        Ok(file) => file,
        Err(Refusal::NotRegular) => return None,
        Err(why) => return disabled(why),
    };
    let conf = conf(dir, name);
    match judge(dir, &file) {
        Ok(()) => {}
        // Without a `.conf` it is something else that happens to lie here.
        Err(Refusal::NotExecutable) if matches!(conf, Ok(None)) => return None,
        Err(why) => return disabled(why),
    }
    let known = before.0.get(name).and_then(|entry| entry.image.as_ref());
    let image = Image::copy(&file).map(|image| match known {
        // One copy of a version is enough. Times and sizes are no proof that it is the same one.
        Some(known) if known.hash == image.hash => Arc::clone(known),
        _ => Arc::new(image),
    });
    match (image, conf) {
        (Ok(image), Ok(spec)) => {
            Some(Entry { image: Some(image), spec: Ok(Arc::new(spec.unwrap_or_default())) })
        }
        (Ok(image), Err(why)) => {
            Some(Entry { image: Some(image), spec: Err(format!("its .conf: {why}")) })
        }
        (Err(error), _) => disabled(Refusal::Io(error)),
    }
}

/// Reads `NAME.conf`; `None` where there is none.
fn conf(dir: &File, name: &ScoreName) -> Result<Option<ScoreSpec>, Refusal> {
    let file = match open_beneath(dir, &format!("{name}.conf")) {
        Ok(file) => file,
        Err(Refusal::Io(error)) if error.kind() == io::ErrorKind::NotFound => {
            return absent(dir, &format!("{name}.conf")).map(|()| None);
        }
        Err(why) => return Err(why),
    };
    judge_owner(&file)?;
    judge_path(dir, &file)?;
    let mut text = String::new();
    let most = limits::SCORE_CONF_BYTES as u64 + 1;
    file.take(most).read_to_string(&mut text).map_err(Refusal::Io)?;
    ScoreSpec::parse(&text).map(Some).map_err(Refusal::Conf)
}

/// Whether nothing of this name is there. A link that leads nowhere is something: what it led to
/// may have held limits.
fn absent(dir: &File, name: &str) -> Result<(), Refusal> {
    match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(_) => Err(Refusal::LeadsNowhere),
        Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(Refusal::Io(error.into())),
    }
}

/// Opens a regular file beneath a directory; links may lead to anything that is beneath it too.
fn open_beneath(dir: &File, name: &str) -> Result<File, Refusal> {
    // NONBLOCK, so that a FIFO is found to be one, not waited for.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    match rustix::fs::openat2(dir, name, flags, Mode::empty(), resolve) {
        Ok(file) => {
            let file = File::from(file);
            let regular = file.metadata().map_err(Refusal::Io)?.is_file();
            if regular { Ok(file) } else { Err(Refusal::NotRegular) }
        }
        Err(Errno::XDEV) => Err(Refusal::LeavesDirectory),
        // A socket, or a device without a driver.
        Err(Errno::NXIO | Errno::NODEV) => Err(Refusal::NotRegular),
        Err(error) => Err(Refusal::Io(error.into())),
    }
}

/// Whether an opened file may be a score.
fn judge(dir: &File, file: &File) -> Result<(), Refusal> {
    if file.metadata().map_err(Refusal::Io)?.mode() & 0o111 == 0 {
        return Err(Refusal::NotExecutable);
    }
    judge_owner(file)?;
    judge_path(dir, file)
}

/// Whether nobody but root and this player's own user can change it.
fn judge_owner(file: &File) -> Result<(), Refusal> {
    let status = file.metadata().map_err(Refusal::Io)?;
    if status.uid() != 0 && status.uid() != rustix::process::geteuid().as_raw() {
        return Err(Refusal::Owner(status.uid()));
    }
    match status.mode() & 0o022 {
        0 => Ok(()),
        _ => Err(Refusal::Writable(status.mode() & 0o7777)),
    }
}

/// The same of every directory between the scores directory and a file that a link led to.
fn judge_path(dir: &File, file: &File) -> Result<(), Refusal> {
    let at = |fd: BorrowedFd<'_>| {
        let path = rustix::fs::readlinkat(CWD, format!("/proc/self/fd/{}", fd.as_raw_fd()), []);
        path.map(|path| PathBuf::from(OsString::from_vec(path.into_bytes())))
    };
    let top = at(dir.as_fd()).map_err(|error| Refusal::Io(error.into()))?;
    let path = at(file.as_fd()).map_err(|error| Refusal::Io(error.into()))?;
    let below = path.strip_prefix(&top).map_err(|_| Refusal::LeavesDirectory)?;
    let between = below.ancestors().skip(1).filter(|between| !between.as_os_str().is_empty());
    for between in between {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let opened = rustix::fs::openat2(dir, between, flags, Mode::empty(), resolve);
        let opened = File::from(opened.map_err(|error| Refusal::Io(error.into()))?);
        judge_owner(&opened).map_err(|why| Refusal::Between(between.to_owned(), Box::new(why)))?;
    }
    Ok(())
}

/// Why a file is not taken for a score, or not for one that may run. Told whole, causes and all:
/// it becomes the reason that people are shown.
#[derive(Debug)]
enum Refusal {
    NotRegular,
    NotExecutable,
    LeavesDirectory,
    LeadsNowhere,
    Owner(u32),
    Writable(u32),
    Between(PathBuf, Box<Refusal>),
    Conf(InvalidConf),
    Io(io::Error),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotRegular => f.write_str("is not a regular file"),
            Self::NotExecutable => f.write_str("has a .conf but is not executable"),
            Self::LeavesDirectory => f.write_str("is a link that leaves the scores directory"),
            Self::LeadsNowhere => f.write_str("is a link that leads nowhere"),
            Self::Owner(uid) => {
                write!(f, "belongs to user {uid}, who is neither root nor the player's user")
            }
            Self::Writable(mode) => {
                write!(f, "can be written by its group or by everybody (mode {mode:04o})")
            }
            Self::Between(path, why) => write!(f, "lies in {}, which {why}", path.display()),
            Self::Conf(why) => why.fmt(f),
            Self::Io(error) => write!(f, "cannot be read: {error}"),
        }
    }
}
