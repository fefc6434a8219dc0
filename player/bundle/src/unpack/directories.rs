//! Directories while a bundle is unpacked. They get their modes when everything is in them, the inner
//! ones first: nothing can be written into one that is read-only.

use std::{
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd},
    path::Path,
};

use orchestra_model::bundle::{BundlePath, EntryKind, Manifest};
use rustix::{
    fs::{CWD, Dir, Mode, OFlags, ResolveFlags},
    io::Errno,
};

use super::{UnpackError, entry_error};

/// Opens a directory below another one, through directories alone.
pub(super) fn open(above: BorrowedFd<'_>, path: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    rustix::fs::openat2(above, path, flags, Mode::empty(), resolve)
}

/// Gives every directory the mode that it was published with, and the top its own last.
pub(super) fn set_modes(top: BorrowedFd<'_>, manifest: &Manifest) -> Result<(), UnpackError> {
    let mut directories: Vec<(BundlePath, u16)> = manifest
        .walk()
        .filter_map(|(path, entry)| match entry.kind {
            EntryKind::Directory { mode } => Some((path, mode)),
            EntryKind::File(_) | EntryKind::Link { .. } => None,
        })
        .collect();
    // What is in a directory comes after it in a walk.
    directories.reverse();
    directories.push((BundlePath::default(), manifest.top_mode()));
    for (path, mode) in directories {
        let set = match path.depth() {
            0 => set_mode(top, mode),
            _ => open(top, &path.to_bytes()).and_then(|it| set_mode(it.as_fd(), mode)),
        };
        set.map_err(entry_error("setting the mode of", &path))?;
    }
    Ok(())
}

fn set_mode(directory: BorrowedFd<'_>, mode: u16) -> Result<(), Errno> {
    rustix::fs::fchmod(directory, Mode::from_raw_mode(mode.into()))
}

/// Makes every directory that is there writable for its owner again, so that it can be removed.
pub(super) fn open_up(path: &Path, manifest: &Manifest) {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    let Ok(top) = rustix::fs::openat(CWD, path, flags, Mode::empty()) else { return };
    open_for_owner(&top);
    for (path, entry) in manifest.walk() {
        if !matches!(entry.kind, EntryKind::Directory { .. }) {
            continue;
        }
        // Those above it were opened up before. One that is not there was not made yet.
        let found = rustix::fs::openat2(&top, path.to_bytes(), flags, Mode::empty(), resolve);
        if let Ok(found) = found {
            open_for_owner(&found);
        }
    }
}

/// Makes every directory at and below a path writable for its owner, as far as that is possible.
pub(super) fn open_up_all(path: &Path) {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let Ok(top) = rustix::fs::openat(CWD, path, flags, Mode::empty()) else { return };
    let mut ahead = vec![top];
    while let Some(directory) = ahead.pop() {
        open_for_owner(&directory);
        let flags_to_read = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = rustix::fs::openat(&directory, ".", flags_to_read, Mode::empty());
        let Ok(entries) = opened.and_then(Dir::new) else { continue };
        for entry in entries.flatten() {
            let name = entry.file_name();
            if name != c"." && name != c".." {
                // What is no directory is not opened.
                ahead.extend(rustix::fs::openat(&directory, name, flags, Mode::empty()));
            }
        }
    }
}

/// A directory without any permission can be found, but not opened to be changed: so it is named by
/// its descriptor.
fn open_for_owner(directory: &OwnedFd) {
    let name = format!("/proc/self/fd/{}", directory.as_raw_fd());
    // Where it fails, what is left can be seen.
    let _ = rustix::fs::chmod(name, Mode::RWXU);
}
