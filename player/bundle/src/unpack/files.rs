//! Files while a bundle is unpacked: what is written is hashed.

use std::{
    fs::File,
    io,
    os::{
        fd::{AsFd as _, BorrowedFd},
        unix::fs::FileExt as _,
    },
};

use orchestra_model::bundle::{BundleEntry, BundlePath, ContentHash, DataExtent, FileEntry, Xattr};
use rustix::{
    fs::{Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, XattrFlags},
    io::Errno,
};

use super::{UnpackError, entry_error};
use crate::hash::Hasher;

/// How much is copied at once, in bytes.
const PIECE: usize = 256 << 10;

/// The content of a bundle, which is read from its beginning to its end.
pub(super) struct Content {
    file: File,
    /// Where the next file's data begins.
    at: u64,
    piece: Vec<u8>,
}

/// Why data was not copied.
enum Uncopied {
    /// There is less content than was published.
    Short,
    Read(io::Error),
    Write(io::Error),
}

impl Content {
    pub(super) fn new(file: File) -> Self {
        Self { file, at: 0, piece: vec![0; PIECE] }
    }

    /// Makes the file of an entry, with the next data of the content.
    pub(super) fn write(
        &mut self,
        directory: BorrowedFd<'_>,
        entry: &BundleEntry,
        file: &FileEntry,
        path: &BundlePath,
    ) -> Result<(), UnpackError> {
        let failed = |attempt| entry_error(attempt, path);
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let name = entry.name.as_bytes();
        let made = rustix::fs::openat(directory, name, flags, Mode::RUSR | Mode::WUSR);
        let made = File::from(made.map_err(failed("making"))?);
        rustix::fs::ftruncate(&made, file.size).map_err(failed("writing"))?;
        let hash = self.copy(file, &made).map_err(|why| match why {
            Uncopied::Short => UnpackError::Content(path.clone()),
            Uncopied::Read(source) => {
                UnpackError::Entry { attempt: "reading the data of", path: path.clone(), source }
            }
            Uncopied::Write(source) => {
                UnpackError::Entry { attempt: "writing", path: path.clone(), source }
            }
        })?;
        if hash != file.hash {
            return Err(UnpackError::Content(path.clone()));
        }
        set_xattrs(made.as_fd(), &entry.xattrs)
            .map_err(failed("setting extended attributes of"))?;
        rustix::fs::fchmod(&made, Mode::from_raw_mode(file.mode.into()))
            .map_err(failed("setting the mode of"))?;
        rustix::fs::futimens(&made, &times(file)).map_err(failed("setting the time of"))
    }

    /// Copies the next data to where it belongs in the file. Holes are not written.
    fn copy(&mut self, file: &FileEntry, made: &File) -> Result<ContentHash, Uncopied> {
        let mut hasher = Hasher::default();
        for DataExtent { offset, len } in &file.data {
            let mut done = 0;
            while done < *len {
                let wanted = (PIECE as u64).min(len - done) as usize;
                let piece = &mut self.piece[..wanted];
                self.file.read_exact_at(piece, self.at).map_err(|error| match error.kind() {
                    io::ErrorKind::UnexpectedEof => Uncopied::Short,
                    _ => Uncopied::Read(error),
                })?;
                hasher.update(piece);
                made.write_all_at(piece, offset + done).map_err(Uncopied::Write)?;
                self.at += wanted as u64;
                done += wanted as u64;
            }
        }
        Ok(hasher.finish())
    }
}

/// When a file was changed last; when it was read last stays what it is.
fn times(file: &FileEntry) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec {
            tv_sec: file.mtime.seconds,
            tv_nsec: file.mtime.nanos.into(),
        },
    }
}

pub(super) fn set_xattrs(of: BorrowedFd<'_>, xattrs: &[Xattr]) -> Result<(), Errno> {
    xattrs.iter().try_for_each(|Xattr { name, value }| {
        rustix::fs::fsetxattr(of, &**name, value, XattrFlags::CREATE)
    })
}
