//! The spool's directory: it is private, one sitter has it at a time, and it holds the files of
//! attempts.
//!
//! ```text
//! SPOOL/                    0700, the sitter's
//!   lock                    locked while a sitter lives
//!   journal                 see `journal.rs`
//!   units                   what is kept running, see `journal.rs`
//!   confs                   scores that had a `.conf`, see `scores.rs`
//!   attempts/STORE-JOB-N/   one attempt's pipes and output, see `stream.rs`
//!   kept/TIME-STORE-JOB-N.* outputs of attempts that are over, see `shelf.rs`
//!   checks/STORE-SERVICE/   the pipes and output of a unit's check, while it runs
//!   logs/STORE-SERVICE/     what a unit's runs write
//!   secrets/STORE-SERVICE   parameters that a unit's service keeps, see `unit/secrets.rs`
//!   spare/N/                a directory for the next attempt, see `spares.rs`
//! ```
//!
//! The users of scores cannot enter it: a score gets open descriptors, never a path. Names below it
//! are made of ids alone.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs,
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
};

use orchestra_model::{ScoreName, delivery::AttemptKey};
use rustix::{
    fd::{AsFd, BorrowedFd, OwnedFd},
    fs::{AtFlags, FlockOperation, Mode, OFlags, RawMode},
    io::Errno,
    process::geteuid,
};

use super::{logs::budget, spares::Spares, stream};

const LOCK: &str = "lock";
const ATTEMPTS: &str = "attempts";
const KEPT: &str = "kept";
const CHECKS: &str = "checks";
const LOGS: &str = "logs";
const CONFS: &str = "confs";
const NEW_CONFS: &str = "confs.new";

/// Why the spool cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SpoolDirError {
    /// A directory cannot be made or opened.
    #[error("opening spool {}", .0.display())]
    Open(PathBuf, #[source] io::Error),
    /// It belongs to somebody else.
    #[error(
        "spool {path} belongs to user {1}; mend it with: chown -R {own} {path}",
        path = .0.display(),
        own = geteuid().as_raw()
    )]
    Owner(PathBuf, u32),
    /// Others may enter it.
    #[error(
        "spool {path} has mode {1:04o}, others may enter it; mend it with: chmod 0700 {path}",
        path = .0.display()
    )]
    Mode(PathBuf, u32),
    /// The lock cannot be taken.
    #[error("locking spool {}", .0.display())]
    Lock(PathBuf, #[source] io::Error),
    /// Another sitter has it.
    #[error("spool {} is in use by another player", .0.display())]
    Taken(PathBuf),
    /// Another spool lies where ours was.
    #[error(
        "spool {} was taken away and another one lies there; move that one away, or restart the \
         player to go on with it",
        .0.display()
    )]
    Replaced(PathBuf),
}

/// A spool's directory that is ours alone.
#[derive(Debug)]
pub(crate) struct SpoolDir {
    path: PathBuf,
    dir: OwnedFd,
    lock: OwnedFd,
    spares: Spares,
}

impl SpoolDir {
    /// Makes the directory if it is missing, checks it, and locks it. If the lock is among
    /// `inherited`, because it was left open across an upgrade in place, it is held already and is
    /// taken out of them.
    pub(crate) fn open(path: &Path, inherited: &mut Vec<OwnedFd>) -> Result<Self, SpoolDirError> {
        private(path)?;
        private(&path.join(ATTEMPTS))?;
        let spare = path.join("spare");
        let open = |error: Errno| SpoolDirError::Open(path.to_owned(), error.into());
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = rustix::fs::open(path, flags, Mode::empty()).map_err(open)?;
        let lock = lock(path, &dir, inherited)?;
        // The directory must be private too. But it is not needed: if it cannot be had, there are
        // no spares.
        let spares = match private(&spare) {
            Err(SpoolDirError::Open(path, error)) => Spares::none(path, &error),
            checked => checked.map(|()| Spares::open(spare))?,
        };
        Ok(Self { path: path.to_owned(), dir, lock, spares })
    }

    /// Returns whether its lock and the directory of attempts are where they were.
    pub(crate) fn is_whole(&self) -> bool {
        let lock = rustix::fs::stat(self.path.join(LOCK));
        let is_locked = match (lock, rustix::fs::fstat(&self.lock)) {
            (Ok(found), Ok(ours)) => (found.st_dev, found.st_ino) == (ours.st_dev, ours.st_ino),
            (Err(Errno::NOENT | Errno::NOTDIR), _) => false,
            // A file that cannot be looked at is not known to be gone.
            _ => true,
        };
        let attempts = rustix::fs::stat(self.path.join(ATTEMPTS));
        is_locked && !matches!(attempts, Err(Errno::NOENT | Errno::NOTDIR))
    }

    /// Makes anew what was removed or moved away, and locks it, because another player may have
    /// taken the directory meanwhile.
    pub(crate) fn make_anew(&mut self) -> Result<(), SpoolDirError> {
        let held = self.lock.try_clone();
        let held = held.map_err(|error| SpoolDirError::Lock(self.path.clone(), error))?;
        *self = Self::open(&self.path, &mut vec![held])?;
        Ok(())
    }

    /// Returns the scores that had a `.conf` with content at the last scan, which may have been an
    /// earlier sitter's.
    pub(crate) fn remembered_confs(&self) -> io::Result<BTreeSet<ScoreName>> {
        confs(self.dir())
    }

    /// Looks at a spool that a player may have locked, and changes nothing. Returns the scores that
    /// had a `.conf` with content; `None` if there is no spool yet.
    pub(crate) fn look(path: &Path) -> Result<Option<BTreeSet<ScoreName>>, SpoolDirError> {
        let open = |error: io::Error| SpoolDirError::Open(path.to_owned(), error);
        match fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            found => ours_alone(path, &found.map_err(open)?)?,
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = rustix::fs::open(path, flags, Mode::empty());
        let dir = dir.map_err(|error| open(error.into()))?;
        confs(dir.as_fd()).map(Some).map_err(open)
    }

    /// Remembers the scores that have a `.conf` with content, one on each line.
    pub(crate) fn remember_confs(&self, confs: &BTreeSet<ScoreName>) -> io::Result<()> {
        let text: String = confs.iter().flat_map(|name| [name.as_str(), "\n"]).collect();
        replace_file(self.dir(), CONFS, NEW_CONFS, text.as_bytes(), fs::File::sync_all)
    }

    /// Returns the lock, which stays open when the sitter is executed anew.
    pub(crate) fn lock(&self) -> BorrowedFd<'_> {
        self.lock.as_fd()
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The directory itself.
    pub(crate) fn dir(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// Makes an attempt's directory, anew or from a spare. If there is one already, it is of a
    /// start that never happened.
    pub(crate) fn make_attempt(&mut self, key: AttemptKey) -> io::Result<OwnedFd> {
        let path = self.attempt_path(&attempt_name(key));
        if self.spares.take(&path) {
            return self.open_attempt(&attempt_name(key));
        }
        match fs::DirBuilder::new().mode(0o700).create(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                fs::remove_dir_all(&path)?;
                fs::DirBuilder::new().mode(0o700).create(&path)?;
            }
            made => made?,
        }
        self.open_attempt(&attempt_name(key))
    }

    /// Makes, if it is missing, the directory for outputs of attempts that are over.
    pub(crate) fn make_kept(&self) -> io::Result<OwnedFd> {
        let path = self.path.join(KEPT);
        match fs::DirBuilder::new().mode(0o700).create(&path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(rustix::fs::open(&path, flags, Mode::empty())?)
    }

    /// Makes, if it is missing, the directory for the logs of a unit of this name. The logs of all
    /// units keep to this budget, in bytes.
    pub(crate) fn make_log(&self, name: &str, budget: u64) -> io::Result<OwnedFd> {
        let logs = self.path.join(LOGS);
        for path in [&logs, &logs.join(name)] {
            match fs::DirBuilder::new().mode(0o700).create(path) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let all = rustix::fs::open(&logs, flags, Mode::empty())?;
        if let Err(error) = budget::leave(&all, budget) {
            tracing::warn!(%error, "cannot tell logs their budget; they keep to the one before");
        }
        Ok(rustix::fs::openat(all, name, flags, Mode::empty())?)
    }

    /// Removes the logs of a unit of this name.
    pub(crate) fn remove_log(&self, name: &str) {
        remove_whole(&self.path.join(LOGS).join(name), "what a unit wrote");
    }

    /// An empty directory for the check of a unit of this name.
    pub(crate) fn make_check(&self, name: &str) -> io::Result<OwnedFd> {
        self.remove_check(name);
        let path = self.path.join(CHECKS).join(name);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&path)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(rustix::fs::open(&path, flags, Mode::empty())?)
    }

    /// Removes the directory of the check of a unit of this name.
    pub(crate) fn remove_check(&self, name: &str) {
        remove_whole(&self.path.join(CHECKS).join(name), "what a check wrote");
    }

    /// The names of all units whose check runs, or was running when its sitter ended.
    pub(crate) fn check_names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path.join(CHECKS)).into_iter().flatten();
        let names = entries.filter_map(|entry| Some(entry.ok()?.file_name()));
        names.filter_map(|name: OsString| name.into_string().ok()).collect()
    }

    /// Removes the directories of all checks.
    pub(crate) fn remove_checks(&self) {
        remove_whole(&self.path.join(CHECKS), "what checks wrote");
    }

    /// The directory of an attempt of this [`attempt_name`].
    pub(crate) fn open_attempt(&self, name: &str) -> io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(rustix::fs::open(self.attempt_path(name), flags, Mode::empty())?)
    }

    /// Takes back the directory of an attempt to whose pipes no process can write any more.
    /// `silent`: nothing was written to its files.
    pub(crate) fn give_back(&mut self, name: &str, dir: BorrowedFd<'_>, silent: bool) {
        if !self.spares.keep(&self.attempt_path(name), dir, silent) {
            self.remove_attempt(name);
        }
    }

    /// Removes an attempt's directory with everything in it.
    pub(crate) fn remove_attempt(&self, name: &str) {
        // Known names are removed first. That is cheaper than a look, and normally there are no
        // others.
        let known = self.open_attempt(name).and_then(|dir| stream::remove_all(dir.as_fd()));
        let path = self.attempt_path(name);
        if known.and_then(|()| fs::remove_dir(&path)).is_ok() {
            return;
        }
        if let Err(error) = fs::remove_dir_all(&path)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(attempt = name, %error, "cannot remove an attempt's files");
        }
    }

    /// Returns the names of all attempts that have a directory.
    pub(crate) fn attempt_names(&self) -> io::Result<Vec<String>> {
        let names = fs::read_dir(self.path.join(ATTEMPTS))?;
        let names: Result<Vec<OsString>, io::Error> =
            names.map(|entry| Ok(entry?.file_name())).collect();
        Ok(names?.into_iter().filter_map(|name| name.into_string().ok()).collect())
    }

    /// Returns the path of an attempt's directory. `name` is an [`attempt_name`] or was read from
    /// this directory, so it is one component.
    fn attempt_path(&self, name: &str) -> PathBuf {
        self.path.join(ATTEMPTS).join(name)
    }
}

/// Reads the file of scores that had a `.conf` with content, if there is one.
fn confs(spool: BorrowedFd<'_>) -> io::Result<BTreeSet<ScoreName>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = match rustix::fs::openat(spool, CONFS, flags, Mode::empty()) {
        Ok(file) => fs::File::from(file),
        Err(Errno::NOENT) => return Ok(BTreeSet::new()),
        Err(error) => return Err(error.into()),
    };
    let text = io::read_to_string(file)?;
    Ok(text.lines().filter_map(|name| ScoreName::new(name).ok()).collect())
}

/// Removes a directory with everything in it; one that is not there is removed already.
fn remove_whole(path: &Path, what: &str) {
    if let Err(error) = fs::remove_dir_all(path)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(path = %path.display(), %error, "cannot remove {what}");
    }
}

/// Returns the unique name of an attempt's directory and cgroup, made of ids alone.
pub(crate) fn attempt_name(key: AttemptKey) -> String {
    format!("{}-{}-{}", key.store, key.job, key.attempt)
}

/// Makes a directory of ours that nobody else may enter, or checks that it is one.
fn private(path: &Path) -> Result<(), SpoolDirError> {
    let failed = |error| SpoolDirError::Open(path.to_owned(), error);
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed(error)),
        _ => {}
    }
    ours_alone(path, &fs::metadata(path).map_err(failed)?)
}

/// Checks that a directory is ours, and that nobody else may enter it.
fn ours_alone(path: &Path, status: &fs::Metadata) -> Result<(), SpoolDirError> {
    if status.uid() != geteuid().as_raw() {
        return Err(SpoolDirError::Owner(path.to_owned(), status.uid()));
    }
    match status.mode() & 0o7777 {
        mode if mode & 0o077 != 0 => Err(SpoolDirError::Mode(path.to_owned(), mode)),
        _ => Ok(()),
    }
}

fn lock(
    path: &Path,
    dir: &OwnedFd,
    inherited: &mut Vec<OwnedFd>,
) -> Result<OwnedFd, SpoolDirError> {
    let failed = |error: Errno| SpoolDirError::Lock(path.to_owned(), error.into());
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mode = Mode::from_raw_mode(0o600 as RawMode);
    let fresh = rustix::fs::openat(dir, LOCK, flags, mode).map_err(failed)?;
    let wanted = rustix::fs::fstat(&fresh).map_err(failed)?;
    let same = |fd: &OwnedFd| {
        rustix::fs::fstat(fd)
            .is_ok_and(|found| (found.st_dev, found.st_ino) == (wanted.st_dev, wanted.st_ino))
    };
    // A lock belongs to an open file, not to a process: a fresh descriptor would wait for the one
    // that we left open for ourselves.
    let lock = match inherited.iter().position(same) {
        Some(index) => inherited.swap_remove(index),
        None => fresh,
    };
    rustix::io::fcntl_setfd(&lock, rustix::io::FdFlags::CLOEXEC).map_err(failed)?;
    match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(lock),
        Err(Errno::WOULDBLOCK) => Err(SpoolDirError::Taken(path.to_owned())),
        Err(error) => Err(failed(error)),
    }
}

/// Writes a file below a directory under the name `new`, then renames it to `name` and so replaces
/// what was there. `sync` is called in between, to make the file durable. If that fails the new
/// file is removed, because it takes space that may be missing.
pub(crate) fn replace_file(
    dir: BorrowedFd<'_>,
    name: &str,
    new: &str,
    bytes: &[u8],
    sync: impl FnOnce(&fs::File) -> io::Result<()>,
) -> io::Result<()> {
    let flags =
        OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let write = || -> io::Result<()> {
        let mut file = fs::File::from(rustix::fs::openat(dir, new, flags, stream::PRIVATE)?);
        file.write_all(bytes)?;
        sync(&file)?;
        Ok(rustix::fs::renameat(dir, new, dir, name)?)
    };
    let written = write();
    if written.is_err() {
        let _ = remove_file(dir, new);
    }
    written
}

/// Removes a file below a directory. It is no error if there is none.
pub(crate) fn remove_file(dir: BorrowedFd<'_>, name: &str) -> io::Result<()> {
    match rustix::fs::unlinkat(dir, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_cannot_be_replaced_leaves_nothing_of_the_new_one() {
        let temp = tempfile::tempdir().unwrap();
        let dir = rustix::fs::open(temp.path(), OFlags::RDONLY, Mode::empty()).unwrap();
        let replace = |text: &[u8], sync: fn(&fs::File) -> io::Result<()>| {
            replace_file(dir.as_fd(), "file", "file.new", text, sync)
        };
        replace(b"before", fs::File::sync_all).unwrap();
        // The error of a full disk.
        let full = replace(b"after", |_| Err(io::ErrorKind::StorageFull.into())).unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::StorageFull);
        assert_eq!(fs::read(temp.path().join("file")).unwrap(), b"before");
        assert_eq!(fs::read_dir(temp.path()).unwrap().count(), 1);
        replace(b"after", fs::File::sync_all).unwrap();
        assert_eq!(fs::read(temp.path().join("file")).unwrap(), b"after");
    }
}
