//! The state directory: modes, the lock that keeps a second conductor out, and whether a store may
//! be made in it.
//!
//! A database that is missing is not replaced: a mount that did not come, or a file that somebody
//! moved, looks exactly like a new installation, and a new store in its place would forget every
//! flow and hand out its numbers again. So a store is made only where that is asked for, and not
//! where anything lies that a store leaves behind. It is made under another name and has its own
//! once it is whole, so that no crash leaves a half one.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use super::guard::beside;
use crate::OpenError;

/// The database's name in the state directory.
pub(super) const DATABASE: &str = "orchestra.db";
/// What SQLite keeps beside it while it is open.
pub(super) const BESIDE: [&str; 2] = ["orchestra.db-wal", "orchestra.db-shm"];
const LOCK: &str = "lock";
/// What a store is called while it is made.
const UNFINISHED: &str = "orchestra.db.new";
/// How the names begin of copies that were saved.
pub(super) const RESCUED: &str = "rescued-";
/// What tells that a store was here, beside what SQLite keeps.
const TRACES: [&str; 5] = [LOCK, "address", "proof.key", "proof.key.new", "orchestra.db-journal"];

const PRIVATE_DIR: u32 = 0o700;
pub(super) const PRIVATE_FILE: u32 = 0o600;

/// What is done where there is no store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum IfNone {
    /// It is an error.
    Fail,
    /// One is made, unless there once was one.
    Make,
}

/// A state directory that this process has locked, until it is dropped.
///
/// The lock is an advisory one on a file of its own. SQLite's own locks are on the database, and
/// a process loses those when it closes any descriptor of that file: nothing here opens it while
/// SQLite may have it open.
#[derive(Debug)]
pub(super) struct StateDir {
    path: PathBuf,
    _lock: File,
}

impl StateDir {
    /// Checks that nobody else gets at the directory and the files in it, and locks. Where there is
    /// no database and one may be made, `fill` makes it, at the path that it is given.
    pub(super) fn claim(
        path: &Path,
        if_none: IfNone,
        fill: impl FnOnce(&Path) -> Result<(), OpenError>,
    ) -> Result<Self, OpenError> {
        if if_none == IfNone::Make {
            make_dir(path)?;
        }
        if !look(path, if_none)? {
            make_database(path, fill)?;
        }
        let lock = lock(path)?;
        // The other name of one that was just made when the process died.
        remove_leftover(&path.join(UNFINISHED))?;
        check_files(path)?;
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn database(&self) -> PathBuf {
        self.path.join(DATABASE)
    }
}

/// Looks whether a store can be opened here, as far as files tell, or made where none is there.
/// Returns whether one is there. Changes nothing.
pub(super) fn look(path: &Path, if_none: IfNone) -> Result<bool, OpenError> {
    check_mode(path, PRIVATE_DIR)?;
    if !is_there(&path.join(DATABASE))? {
        return may_make(path, if_none).map(|()| false);
    }
    let rescued = names(path, |name| name.starts_with(RESCUED))?;
    if !rescued.is_empty() {
        return Err(OpenError::Undecided { path: path.join(DATABASE), rescued });
    }
    no_parted_log(path)?;
    check_files(path)?;
    Ok(true)
}

/// Refuses files of a store that others may get at.
fn check_files(path: &Path) -> Result<(), OpenError> {
    BESIDE
        .into_iter()
        .chain([DATABASE])
        .try_for_each(|name| check_mode(&path.join(name), PRIVATE_FILE))
}

fn failed(attempted: &'static str, path: &Path) -> impl FnOnce(io::Error) -> OpenError {
    move |source| OpenError::Files { attempted, path: path.to_owned(), source }
}

/// Makes the last component of `path` where it is missing. What is above it is the
/// administrator's, and a mistyped path shall not grow directories.
fn make_dir(path: &Path) -> Result<(), OpenError> {
    match DirBuilder::new().mode(PRIVATE_DIR).create(path) {
        Ok(()) => {
            sync_dir(path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new(".")))
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(failed("make the directory", path)(error)),
    }
}

/// Whether there is something of that name, and be it a link that leads nowhere.
fn is_there(path: &Path) -> Result<bool, OpenError> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(failed("look at", path)(error)),
    }
}

/// Refuses to make a store where it was not asked for, or where one has been.
fn may_make(dir: &Path, if_none: IfNone) -> Result<(), OpenError> {
    let beside = names(dir, is_trace)?;
    match (beside.is_empty(), if_none) {
        (false, _) => Err(OpenError::Lost { path: dir.join(DATABASE), beside }),
        (true, IfNone::Fail) => Err(OpenError::None { path: dir.to_owned() }),
        (true, IfNone::Make) => Ok(()),
    }
}

/// Refuses a link to a database where a log lies beside the link. SQLite looks for the log beside
/// what the link leads to, so this one is of a database that lay here and was moved away while it
/// was open, and holds what was stored last.
fn no_parted_log(dir: &Path) -> Result<(), OpenError> {
    let (path, log) = (dir.join(DATABASE), dir.join(BESIDE[0]));
    // What cannot be followed is told when it is opened.
    let Ok([read, _]) = beside(&path) else { return Ok(()) };
    let is_same = |read: &fs::Metadata, log: &fs::Metadata| {
        (read.dev(), read.ino()) == (log.dev(), log.ino())
    };
    match (fs::metadata(&read), fs::metadata(&log)) {
        (_, Err(_)) => Ok(()),
        (Ok(read), Ok(log)) if is_same(&read, &log) => Ok(()),
        (_, Ok(found)) if found.len() == 0 => Ok(()),
        _ => {
            let target = fs::canonicalize(&path).map_err(failed("follow the link", &path))?;
            Err(OpenError::Parted { path, target, log })
        }
    }
}

/// The names in a directory that are wanted, in order.
fn names(dir: &Path, is_wanted: impl Fn(&str) -> bool) -> Result<Vec<String>, OpenError> {
    let mut found = Vec::new();
    match fs::read_dir(dir) {
        Ok(entries) => {
            for entry in entries {
                let name = entry.map_err(failed("read the directory", dir))?.file_name();
                let name = name.to_string_lossy();
                if is_wanted(&name) {
                    found.push(name.into_owned());
                }
            }
        }
        // Without the directory there is nothing in it.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed("read the directory", dir)(error)),
    }
    found.sort_unstable();
    Ok(found)
}

fn is_trace(name: &str) -> bool {
    BESIDE.contains(&name) || TRACES.contains(&name) || name.starts_with(RESCUED)
}

/// Makes a database with the right mode, which SQLite gives to what it makes beside it. Whoever
/// makes one at the same time finds that there is one.
fn make_database(
    dir: &Path,
    fill: impl FnOnce(&Path) -> Result<(), OpenError>,
) -> Result<(), OpenError> {
    // Before the lock, which is a trace of a store. Only for as long as it takes: closing gives it
    // up.
    let turn = File::open(dir).map_err(failed("open the directory", dir))?;
    turn.lock().map_err(failed("lock the directory", dir))?;
    let (made, path) = (dir.join(UNFINISHED), dir.join(DATABASE));
    remove_leftover(&made)?;
    remove_leftover(&dir.join("orchestra.db.new-journal"))?;
    let file = OpenOptions::new().write(true).create_new(true).mode(PRIVATE_FILE).open(&made);
    let file = file.map_err(failed("make the database", &made))?;
    fill(&made)?;
    file.sync_all().map_err(failed("write the database", &made))?;
    // Unlike a rename, it replaces nothing.
    fs::hard_link(&made, &path).map_err(failed("make the database", &path))?;
    fs::remove_file(&made).map_err(failed("remove", &made))?;
    sync_dir(dir)
}

fn remove_leftover(path: &Path) -> Result<(), OpenError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(failed("remove what is left of", path)(error))
        }
        _ => Ok(()),
    }
}

fn sync_dir(path: &Path) -> Result<(), OpenError> {
    File::open(path).and_then(|dir| dir.sync_all()).map_err(failed("sync the directory", path))
}

/// Refuses what others may get at. What is missing is fine: it will be made right.
fn check_mode(path: &Path, want: u32) -> Result<(), OpenError> {
    let mode = match fs::metadata(path) {
        Ok(found) => found.permissions().mode() & 0o7777,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed("look at", path)(error)),
    };
    match mode & 0o077 {
        0 => Ok(()),
        _ => Err(OpenError::Modes { path: path.to_owned(), is: mode, want }),
    }
}

fn lock(dir: &Path) -> Result<File, OpenError> {
    let path = dir.join(LOCK);
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(PRIVATE_FILE)
        .open(&path)
        .map_err(failed("open the lock", &path))?;
    check_mode(&path, PRIVATE_FILE)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(OpenError::Locked { path: dir.to_owned(), holder: holder(&file) });
        }
        Err(TryLockError::Error(error)) => return Err(failed("lock", &path)(error)),
    }
    // Only for the message to a second opener: it needs no sync.
    file.set_len(0)
        .and_then(|()| writeln!(file, "{}", std::process::id()))
        .map_err(failed("write the lock", &path))?;
    Ok(file)
}

/// The process id in a lock file that somebody else holds.
fn holder(file: &File) -> Option<u32> {
    let mut text = String::new();
    file.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}
