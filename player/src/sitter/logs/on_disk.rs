//! A log's files and marks, as they are at one moment.

use std::{
    collections::BTreeMap,
    fs::File,
    io,
    os::unix::fs::{FileExt, MetadataExt},
};

use orchestra_model::{Timestamp, service::LogPlace};
use rustix::{
    fd::OwnedFd,
    fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat},
    io::Errno,
    process::geteuid,
};

use super::marks::{self, Mark};
use crate::sitter::stream::Stream;

/// The log of one stream of a unit. Nothing outside its directory is ever read: no link is
/// followed, and what is no plain file of ours is ignored.
pub(in crate::sitter) struct LogDir {
    dir: OwnedFd,
    stem: &'static str,
    /// The marks that were read last, with what identifies their file.
    marks: Option<((u64, i64), Vec<Mark>)>,
}

/// A file of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// In bytes.
    pub(super) len: u64,
    /// When it was last written to.
    pub(super) modified: Timestamp,
}

/// A log at one moment.
#[derive(Debug)]
pub(super) struct Look {
    /// By number.
    pub(super) files: BTreeMap<u64, Found>,
    /// In the order of their places.
    pub(super) marks: Vec<Mark>,
}

impl LogDir {
    pub(in crate::sitter) fn new(dir: OwnedFd, stream: Stream) -> Self {
        Self { dir, stem: stream.stem(), marks: None }
    }

    /// Returns whether the unit is gone, and its log with it.
    pub(super) fn is_gone(&self) -> bool {
        rustix::fs::fstat(&self.dir).is_ok_and(|found| found.st_nlink == 0)
    }

    /// Returns the log as it is now. Files are looked at before marks, so that no mark of a byte is
    /// missed.
    pub(super) fn look(&mut self) -> io::Result<Look> {
        let files = self.files()?;
        let mut marks = self.marks()?.to_vec();
        for mark in &mut marks {
            mark.place = settled(mark.place, &files);
        }
        marks.sort_by_key(|mark| mark.place);
        Ok(Look { files, marks })
    }

    pub(super) fn files(&self) -> io::Result<BTreeMap<u64, Found>> {
        let number = |name: &str| name.strip_prefix(self.stem)?.strip_prefix('.')?.parse().ok();
        let mut files = BTreeMap::new();
        for entry in Dir::read_from(&self.dir)? {
            let entry = entry?;
            let Some(number) = entry.file_name().to_str().ok().and_then(number) else { continue };
            let found = rustix::fs::statat(&self.dir, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW);
            match found {
                Ok(found) if is_ours(&found) => drop(files.insert(number, Found::of(&found))),
                // The file was removed meanwhile, or is no plain file.
                Ok(_) | Err(Errno::NOENT) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(files)
    }

    fn marks(&mut self) -> io::Result<&[Mark]> {
        let name = marks::name(self.stem);
        let found = match rustix::fs::statat(&self.dir, &name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(found) => (found.st_ino, found.st_size),
            Err(Errno::NOENT) => (0, 0),
            Err(error) => return Err(error.into()),
        };
        if self.marks.as_ref().is_none_or(|(known, _)| *known != found) {
            self.marks = Some((found, marks::read(&self.dir, self.stem)?));
        }
        Ok(self.marks.as_ref().map_or(&[], |(_, marks)| marks))
    }

    /// Reads at most so many bytes from a place on; `None` if that file is not there.
    pub(super) fn read(&self, place: LogPlace, most: usize) -> io::Result<Option<Vec<u8>>> {
        let name = format!("{}.{}", self.stem, place.file);
        // NONBLOCK, so that opening a pipe in place of the file does not wait.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(&self.dir, name, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(Errno::NOENT | Errno::LOOP) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let found = file.metadata()?;
        if !found.is_file() || found.uid() != geteuid().as_raw() {
            return Ok(None);
        }
        let mut bytes = vec![0; most];
        let read = file.read_at(&mut bytes, place.offset)?;
        bytes.truncate(read);
        Ok(Some(bytes))
    }
}

impl Found {
    fn of(found: &Stat) -> Self {
        let at = |seconds: i64, nanos: u64| {
            u64::try_from(seconds).unwrap_or(0).saturating_mul(1_000) + nanos / 1_000_000
        };
        Self {
            len: u64::try_from(found.st_size).unwrap_or(0),
            modified: Timestamp(at(found.st_mtime, found.st_mtime_nsec)),
        }
    }
}

fn is_ours(found: &Stat) -> bool {
    FileType::from_raw_mode(found.st_mode).is_file() && found.st_uid == geteuid().as_raw()
}

/// Returns where a place is now. A place beyond the end of a full file has become the beginning of
/// the next file, to which the line went that would have been cut.
pub(super) fn settled(place: LogPlace, files: &BTreeMap<u64, Found>) -> LogPlace {
    match files.get(&place.file) {
        Some(found) if place.offset > found.len && files.contains_key(&(place.file + 1)) => {
            LogPlace { file: place.file + 1, offset: place.offset - found.len }
        }
        _ => place,
    }
}

impl Look {
    /// The end of what there is.
    pub(super) fn end(&self) -> LogPlace {
        let newest = self.files.last_key_value();
        newest.map_or(LogPlace::default(), |(file, found)| LogPlace {
            file: *file,
            offset: found.len,
        })
    }

    /// The beginning of what there is.
    pub(super) fn begin(&self) -> LogPlace {
        let oldest = self.files.first_key_value();
        oldest.map_or(LogPlace::default(), |(file, _)| LogPlace { file: *file, offset: 0 })
    }

    /// Returns the last place before which certainly nothing was written at this time or later.
    pub(super) fn since(&self, since: Timestamp) -> LogPlace {
        let first = self.files.iter().find(|(_, found)| found.modified >= since);
        let of_files = first.map_or(self.end(), |(file, _)| LogPlace { file: *file, offset: 0 });
        let before = self.marks.iter().filter(|mark| mark.at <= since);
        let of_marks = before.map(|mark| mark.place).max().unwrap_or_default();
        of_files.max(of_marks.min(self.end()))
    }

    /// Returns the mark of the byte at a place.
    pub(super) fn mark_at(&self, place: LogPlace) -> Option<&Mark> {
        self.marks
            .partition_point(|mark| mark.place <= place)
            .checked_sub(1)
            .map(|n| &self.marks[n])
    }

    /// The first mark after a place.
    pub(super) fn mark_after(&self, place: LogPlace) -> Option<&Mark> {
        self.marks.get(self.marks.partition_point(|mark| mark.place <= place))
    }
}
