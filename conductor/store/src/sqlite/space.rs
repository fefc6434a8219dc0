//! Whether a write failed for want of space, where SQLite says no more than that it failed.
//!
//! SQLite knows one error of the system as a full disk (`ENOSPC`). A quota that is used up and a
//! file that may not grow further are the same to us: nothing is written, nothing is damaged, and
//! the batch can be tried again. Which error it was, SQLite does not say; so it is asked for anew.

use std::{
    fs::{self, OpenOptions},
    io::{self, ErrorKind, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use rusqlite::ffi;
use rustix::process::{Resource, getrlimit};

use super::{
    body::PAGE_BYTES,
    dir::{BESIDE, DATABASE},
};
use crate::CommitError;

/// Written and removed again.
const PROBE: &str = "probe";
/// More than SQLite adds to a file at once: a page with its header.
const STEP: u64 = 2 * PAGE_BYTES as u64;

/// Turns a failure that came of a lack of space in the state directory into one that says so.
pub(super) fn told(error: CommitError, dir: &Path) -> CommitError {
    let is_write = |error: &rusqlite::Error| {
        error.sqlite_extended_error_code() == Some(ffi::SQLITE_IOERR_WRITE)
    };
    let limit = getrlimit(Resource::Fsize).current;
    match &error {
        CommitError::Broken(cause) if cause.downcast_ref().is_some_and(is_write) => {
            lack(dir, limit).map_or(error, |why| CommitError::Full(why.into()))
        }
        _ => error,
    }
}

/// What there is no space for, if there is none.
fn lack(dir: &Path, limit: Option<u64>) -> Option<String> {
    let has_grown_to = |limit: u64, name: &str| {
        let size = fs::metadata(dir.join(name)).ok()?.len();
        (size + STEP > limit).then(|| {
            format!("{name} may have {limit} bytes and no more (RLIMIT_FSIZE, LimitFSIZE=)")
        })
    };
    let names = BESIDE.into_iter().chain([DATABASE]);
    let limited =
        limit.and_then(|limit| names.into_iter().find_map(|name| has_grown_to(limit, name)));
    limited.or_else(|| match probe(&dir.join(PROBE)) {
        Err(error) if is_lack(&error) => Some(error.to_string()),
        // There is space, or something else is wrong with the disk: whoever failed is believed.
        _ => None,
    })
}

/// Takes, and gives back, as much space as a step needs.
fn probe(path: &Path) -> io::Result<()> {
    let open = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    let taken = open.and_then(|mut file| {
        file.write_all(&[0xa5; STEP as usize])?;
        file.sync_data()
    });
    let _ = fs::remove_file(path);
    taken
}

fn is_lack(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(code: i32) -> CommitError {
        let error = rusqlite::Error::SqliteFailure(ffi::Error::new(code), None);
        CommitError::Broken(error.into())
    }

    #[test]
    fn a_file_that_may_not_grow_is_a_lack_of_space_and_says_so() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(BESIDE[0]), vec![0; 10_000]).unwrap();
        let why = lack(dir.path(), Some(10_000)).unwrap();
        assert!(why.starts_with("orchestra.db-wal may have 10000 bytes and no more"), "{why}");
        assert!(lack(dir.path(), Some(10_000 + STEP)).is_none());
        assert!(lack(dir.path(), None).is_none());
    }

    #[test]
    fn errors_of_quotas_and_limits_are_lacks_and_a_broken_disk_is_none() {
        for (number, expected) in [(28, true), (122, true), (27, true), (5, false), (30, false)] {
            assert_eq!(is_lack(&io::Error::from_raw_os_error(number)), expected, "{number}");
        }
    }

    #[test]
    fn other_failures_stay_what_they_are_and_no_probe_is_left() {
        let dir = tempfile::tempdir().unwrap();
        for code in [ffi::SQLITE_IOERR_WRITE, ffi::SQLITE_IOERR_FSYNC, ffi::SQLITE_CORRUPT] {
            assert!(matches!(told(failed(code), dir.path()), CommitError::Broken(_)), "{code}");
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
