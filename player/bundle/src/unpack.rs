//! Makes a directory of a bundle again: all of it, byte by byte as it was published, or nothing.
//!
//! Everything is written into a new directory beside the one that is asked for, which gets its name by
//! one rename at the end. What is written is hashed, so that what a depot's disk or its owner did to
//! the content never gets there. Each step goes from an open directory to a name in it and follows no
//! link, so that nothing is written elsewhere, whoever moves directories meanwhile.

mod directories;
mod files;

use std::{
    ffi::OsStr,
    fs::{self, File},
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
};

use orchestra_model::bundle::{BundleEntry, BundlePath, EntryKind, EntryName, Manifest};
use rustix::{
    fs::{CWD, Mode, OFlags, RenameFlags},
    io::Errno,
};

use crate::{
    depot::{NEW, StoredBundle, sync_directory},
    error::DepotError,
};
use files::Content;

/// Why a bundle was not unpacked. Nothing of it is left then, but for what cannot be removed.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// The bundle cannot be read.
    #[error(transparent)]
    Bundle(#[from] DepotError),
    /// Something has the name already.
    #[error("{} is there already, and nothing is replaced", .0.display())]
    Exists(PathBuf),
    /// The directory that is to hold it cannot be written to.
    #[error("writing to {}", path.display())]
    Beside { path: PathBuf, source: io::Error },
    /// An entry cannot be written.
    #[error("{attempt} {path}")]
    Entry {
        /// What was attempted: `writing`.
        attempt: &'static str,
        path: BundlePath,
        source: io::Error,
    },
    /// The content of the depot is not what was published.
    #[error("the data of {0} is not what was published")]
    Content(BundlePath),
}

/// For `map_err`: what was attempted, with which entry.
fn entry_error(
    attempt: &'static str,
    path: &BundlePath,
) -> impl FnOnce(Errno) -> UnpackError + use<> {
    let path = path.clone();
    move |error| UnpackError::Entry { attempt, path, source: error.into() }
}

/// Makes the directory `target` of a bundle, whose manifest is `manifest`. Its parent is there, and it
/// is not.
///
/// Entries belong to who runs this, whatever the umask. All of it is on disk when this returns.
pub fn unpack(
    bundle: &StoredBundle,
    manifest: &Manifest,
    target: &Path,
) -> Result<(), UnpackError> {
    unpack_content(bundle.content()?, manifest, target)
}

/// Makes the directory `target` of a manifest and the data of all its files, as [`unpack`] does.
pub fn unpack_content(
    content: File,
    manifest: &Manifest,
    target: &Path,
) -> Result<(), UnpackError> {
    // Also a link that leads nowhere is something that is there.
    if target.symlink_metadata().is_ok() {
        return Err(UnpackError::Exists(target.to_owned()));
    }
    let content = Content::new(content);
    let parent = match target.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let beside = |source| UnpackError::Beside { path: parent.to_owned(), source };
    let staging = tempfile::Builder::new().prefix(NEW).tempdir_in(parent).map_err(beside)?;
    let path = staging.keep();
    let name = target.file_name().unwrap_or_default();
    let done = fill(&path, manifest, content).and_then(|()| settle(&path, parent, name));
    if done.is_err() {
        remove(&path, manifest);
    }
    done
}

/// Writes everything into the directory at `path`, which is empty and nobody else's.
fn fill(path: &Path, manifest: &Manifest, content: Content) -> Result<(), UnpackError> {
    let beside = |error: Errno| UnpackError::Beside { path: path.into(), source: error.into() };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let top = rustix::fs::openat(CWD, path, flags, Mode::empty()).map_err(beside)?;
    let mut writer = Writer { content, path: BundlePath::default(), above: Vec::new() };
    for entry in manifest.entries() {
        writer.entry(&top, entry)?;
    }
    directories::set_modes(top.as_fd(), manifest)?;
    rustix::fs::syncfs(&top).map_err(beside)
}

/// Gives the directory its name, unless something has it by now.
fn settle(path: &Path, parent: &Path, name: &OsStr) -> Result<(), UnpackError> {
    let target = parent.join(name);
    match rustix::fs::renameat_with(CWD, path, CWD, &target, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(sync_directory(parent)?),
        Err(Errno::EXIST) => Err(UnpackError::Exists(target)),
        Err(error) => Err(UnpackError::Beside { path: target, source: error.into() }),
    }
}

/// Removes what was begun, as far as that is possible.
fn remove(path: &Path, manifest: &Manifest) {
    directories::open_up(path, manifest);
    // What the error is about is told; that something is left can be seen.
    let _ = fs::remove_dir_all(path);
}

/// Removes what is at a path, whatever it is; what is below a directory too, also where its owner may
/// not write. No link is followed.
pub fn remove_tree(path: &Path) -> io::Result<()> {
    if !path.symlink_metadata()?.is_dir() {
        return fs::remove_file(path);
    }
    directories::open_up_all(path);
    fs::remove_dir_all(path)
}

/// Writes entries in the order of the manifest.
struct Writer {
    content: Content,
    /// Of the present entry.
    path: BundlePath,
    /// The open directories that lead to it.
    above: Vec<OwnedFd>,
}

impl Writer {
    fn entry(&mut self, top: &OwnedFd, entry: &BundleEntry) -> Result<(), UnpackError> {
        self.path.turn_to(entry.depth, entry.name.clone());
        self.above.truncate(usize::from(entry.depth) - 1);
        let directory = self.above.last().unwrap_or(top).as_fd();
        match &entry.kind {
            EntryKind::Directory { .. } => {
                let made = make_directory(directory, &entry.name)
                    .map_err(entry_error("making the directory", &self.path))?;
                files::set_xattrs(made.as_fd(), &entry.xattrs)
                    .map_err(entry_error("setting extended attributes of", &self.path))?;
                self.above.push(made);
                Ok(())
            }
            EntryKind::Link { target } => {
                let made = rustix::fs::symlinkat(&**target, directory, entry.name.as_bytes());
                made.map_err(entry_error("making the link", &self.path))
            }
            EntryKind::File(file) => self.content.write(directory, entry, file, &self.path),
        }
    }
}

/// Makes a directory, open to its owner alone until everything is in it.
fn make_directory(directory: BorrowedFd<'_>, name: &EntryName) -> Result<OwnedFd, Errno> {
    rustix::fs::mkdirat(directory, name.as_bytes(), Mode::RWXU)?;
    directories::open(directory, name.as_bytes())
}
