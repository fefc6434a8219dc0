//! Checks that only root and the sitter's own user can change what a score is made of.

use std::{
    ffi::{OsStr, OsString},
    fmt,
    fs::{File, Metadata},
    io,
    os::unix::{
        ffi::{OsStrExt, OsStringExt},
        fs::MetadataExt,
    },
    path::{Component, Path, PathBuf},
};

use orchestra_document::Problems;
use rustix::{
    fd::{AsFd, AsRawFd, BorrowedFd},
    fs::{CWD, Mode, OFlags, ResolveFlags},
    io::Errno,
};

use super::{image::ImageError, interpreter::Unusable};

/// Most links that are followed: as many as the kernel follows.
const LINKS: usize = 40;

/// Why a file is no score, or no score that may run. Its text includes the causes, because it
/// becomes the reason that people are shown.
#[derive(Debug)]
pub(in crate::sitter) enum Refusal {
    NotRegular,
    NotExecutable,
    NoScore,
    ConfGone,
    LeavesDirectory,
    LeadsNowhere,
    Owner(u32),
    Writable(u32),
    Between(PathBuf, Box<Refusal>),
    Link(PathBuf, u32),
    Conf(Problems),
    Image(ImageError),
    Unusable(Unusable),
    Io(io::Error),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotRegular => f.write_str("has a .conf but is not a regular file"),
            Self::NotExecutable => f.write_str("has a .conf but is not executable"),
            Self::NoScore => f.write_str(
                "there is no such file beside its .conf: install it, or mend the .conf's name",
            ),
            Self::ConfGone => f.write_str(
                "is gone or empty, with the limits that it set: put it back; if the score is to run \
                 without, write a .conf with a comment that says so",
            ),
            Self::LeavesDirectory => f.write_str("is a link that leaves its directory"),
            Self::LeadsNowhere => f.write_str("is a link that leads nowhere"),
            Self::Owner(uid) => {
                write!(f, "belongs to user {uid}, who is neither root nor the player's user")
            }
            Self::Writable(mode) => {
                write!(f, "can be written by its group or by everybody (mode {mode:04o})")
            }
            Self::Between(path, why) => write!(f, "lies in {}, which {why}", path.display()),
            Self::Link(path, uid) => {
                let path = path.display();
                write!(f, "is reached through the link {path}, which {}", Self::Owner(*uid))
            }
            Self::Conf(why) => f.write_str(&why.in_one_line()),
            Self::Image(why) => why.fmt(f),
            Self::Unusable(why) => why.fmt(f),
            Self::Io(error) => write!(f, "cannot be read: {error}"),
        }
    }
}

/// Checks that an opened file may be a score.
pub(super) fn judge(dir: &File, file: &File) -> Result<(), Refusal> {
    if file.metadata().map_err(Refusal::Io)?.mode() & 0o111 == 0 {
        return Err(Refusal::NotExecutable);
    }
    judge_file(dir, file)
}

/// Checks that only root and this player's own user can change a file beneath the scores directory,
/// or the directories that lead to it there.
pub(in crate::sitter) fn judge_file(dir: &File, file: &File) -> Result<(), Refusal> {
    judge_owner(&file.metadata().map_err(Refusal::Io)?)?;
    judge_path(dir, file)
}

fn judge_owner(status: &Metadata) -> Result<(), Refusal> {
    if !is_trusted(status.uid()) {
        return Err(Refusal::Owner(status.uid()));
    }
    match status.mode() & 0o022 {
        0 => Ok(()),
        _ => Err(Refusal::Writable(status.mode() & 0o7777)),
    }
}

fn is_trusted(uid: u32) -> bool {
    uid == 0 || uid == rustix::process::geteuid().as_raw()
}

/// Judges every directory between the scores directory and a file that a link led to.
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
        judge_owner(&opened.metadata().map_err(Refusal::Io)?)
            .map_err(|why| Refusal::Between(between.to_owned(), Box::new(why)))?;
    }
    Ok(())
}

/// The scores directory, and the verdict on it and everything that leads to it.
#[derive(Debug)]
pub(in crate::sitter) struct Judged {
    pub(in crate::sitter) dir: File,
    pub(in crate::sitter) verdict: Result<(), Refusal>,
}

/// Opens a directory step by step from the root on, and judges every directory on the way, and
/// every link. Somebody who could change one of them could replace it by another directory that
/// looks in order.
///
/// A directory on the way in which everybody may make files is accepted if it is sticky, as `/tmp`
/// is: nobody can move away what belongs to somebody else there, and the next step is judged too.
pub(in crate::sitter) fn open_directory(path: &Path) -> io::Result<Judged> {
    let mut walk = Walk { here: root()?, at: PathBuf::from("/"), links: 0, verdict: Ok(()) };
    walk.note(true)?;
    let mut ahead = steps(&std::path::absolute(path)?);
    while let Some(step) = ahead.pop() {
        if let Some(link) = walk.step(&step, ahead.is_empty())? {
            if link.has_root() {
                (walk.here, walk.at) = (root()?, PathBuf::from("/"));
            }
            ahead.extend(steps(&link));
            if ahead.is_empty() {
                walk.note(false)?;
            }
        }
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dir = rustix::fs::openat(&walk.here, ".", flags, Mode::empty())?;
    Ok(Judged { dir: dir.into(), verdict: walk.verdict })
}

/// A walk from the root to a directory.
struct Walk {
    here: File,
    at: PathBuf,
    links: usize,
    /// The first thing that is not in order.
    verdict: Result<(), Refusal>,
}

impl Walk {
    /// Takes a step. If a link lies there, returns where it leads. `last`: no step follows.
    fn step(&mut self, name: &OsStr, last: bool) -> io::Result<Option<PathBuf>> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let there = File::from(rustix::fs::openat(&self.here, name, flags, Mode::empty())?);
        let status = there.metadata()?;
        let at = match name == ".." {
            true => self.at.parent().unwrap_or(&self.at).to_owned(),
            false => self.at.join(name),
        };
        if status.is_symlink() {
            self.links += 1;
            if self.links > LINKS {
                return Err(Errno::LOOP.into());
            }
            if !is_trusted(status.uid()) {
                self.blame(Refusal::Link(at, status.uid()));
            }
            let link = rustix::fs::readlinkat(&there, "", [])?.into_bytes();
            return Ok(Some(PathBuf::from(OsString::from_vec(link))));
        }
        (self.here, self.at) = (there, at);
        self.note(!last)?;
        Ok(None)
    }

    /// Judges the directory that the walk has reached. `passing`: the walk goes on from here.
    fn note(&mut self, passing: bool) -> io::Result<()> {
        let status = self.here.metadata()?;
        if !status.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        let sticky = status.mode() & 0o1000 != 0;
        match judge_owner(&status) {
            Err(Refusal::Writable(_)) if passing && sticky => {}
            Err(why) if passing => {
                let at = self.at.clone();
                self.blame(Refusal::Between(at, Box::new(why)));
            }
            Err(why) => self.blame(why),
            Ok(()) => {}
        }
        Ok(())
    }

    fn blame(&mut self, why: Refusal) {
        if self.verdict.is_ok() {
            self.verdict = Err(why);
        }
    }
}

fn root() -> io::Result<File> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::open("/", flags, Mode::empty())?.into())
}

/// Returns the steps of a path in reverse order.
fn steps(path: &Path) -> Vec<OsString> {
    let steps = path.components().filter_map(|step| match step {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsStr::from_bytes(b"..").to_owned()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    });
    let mut steps: Vec<OsString> = steps.collect();
    steps.reverse();
    steps
}
