//! The state directory: modes, and the lock that keeps a second conductor out.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use crate::OpenError;

/// The database's name in the state directory.
pub(super) const DATABASE: &str = "orchestra.db";
/// What SQLite keeps beside it while it is open.
pub(super) const BESIDE: [&str; 2] = ["orchestra.db-wal", "orchestra.db-shm"];
const LOCK: &str = "lock";

const PRIVATE_DIR: u32 = 0o700;
const PRIVATE_FILE: u32 = 0o600;

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
    /// Makes the directory and an empty database where there are none, checks that nobody else
    /// gets at them, and locks.
    pub(super) fn claim(path: &Path) -> Result<Self, OpenError> {
        make_dir(path)?;
        check_mode(path, PRIVATE_DIR)?;
        let lock = lock(path)?;
        make_database(path)?;
        for name in BESIDE.into_iter().chain([DATABASE]) {
            check_mode(&path.join(name), PRIVATE_FILE)?;
        }
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    pub(super) fn database(&self) -> PathBuf {
        self.path.join(DATABASE)
    }
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

/// Makes an empty file with the right mode; SQLite gives that mode to what it makes beside it.
fn make_database(dir: &Path) -> Result<(), OpenError> {
    let path = dir.join(DATABASE);
    match OpenOptions::new().write(true).create_new(true).mode(PRIVATE_FILE).open(&path) {
        Ok(_) => sync_dir(dir),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(failed("make the database", &path)(error)),
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
