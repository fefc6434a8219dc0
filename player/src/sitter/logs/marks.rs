//! Marks: where in a log which run writes, and when. Lines of `marks.out` and `marks.err` beside its files.
//!
//! ```text
//! placement run file offset milliseconds .
//! ```
//!
//! From a mark on all bytes are its run's, up to the next mark, and none of them was written before its
//! time. A mark is written before the bytes that it is about, so whoever sees those sees it. A line that
//! is not whole is none; then bytes count as those of the run before.

use std::{
    fs::File,
    io::{self, Read, Write},
};

use orchestra_model::{
    Timestamp,
    service::{LogPlace, Placement, RunNumber},
};
use orchestra_units::RunId;
use rustix::{
    fd::AsFd,
    fs::{Mode, OFlags},
    io::Errno,
};

use crate::sitter::{spool_dir::replace_file, stream::PRIVATE};

/// A file of marks that is longer, in bytes, is written anew without those that matter least.
const MARKS_BYTES: u64 = 128 << 10;
/// How many marks, at most, are kept then.
const KEPT: usize = 1_024;

/// That a run writes here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sitter) struct Mark {
    pub(in crate::sitter) run: RunId,
    pub(in crate::sitter) place: LogPlace,
    /// By the wall clock.
    pub(in crate::sitter) at: Timestamp,
}

impl Mark {
    fn line(&self) -> String {
        let Mark { run, place, at } = self;
        let (placement, number) = (run.placement, run.number);
        format!("{placement} {number} {} {} {} .\n", place.file, place.offset, at.0)
    }

    fn read(line: &str) -> Option<Self> {
        let mut words = line.split(' ');
        let mut number = || words.next()?.parse::<u64>().ok();
        let (placement, run) = (number()?, number()?);
        let (file, offset, at) = (number()?, number()?, number()?);
        let is_whole = words.next() == Some(".") && words.next().is_none();
        is_whole.then_some(Mark {
            run: RunId { placement: Placement(placement), number: RunNumber(run) },
            place: LogPlace { file, offset },
            at: Timestamp(at),
        })
    }
}

/// Adds a mark. Files below `oldest` are gone.
pub(in crate::sitter) fn note(
    dir: impl AsFd,
    stem: &str,
    mark: &Mark,
    oldest: u64,
) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE;
    let mut file = open(&dir, &name(stem), flags)?;
    file.write_all(mark.line().as_bytes())?;
    if file.metadata()?.len() > MARKS_BYTES {
        tidy(dir, stem, oldest)?;
    }
    Ok(())
}

/// The marks of a log, in the order in which they were made.
pub(in crate::sitter) fn read(dir: impl AsFd, stem: &str) -> io::Result<Vec<Mark>> {
    let file = match open(&dir, &name(stem), OFlags::RDONLY | OFlags::NONBLOCK) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        file => file?,
    };
    if !file.metadata()?.is_file() {
        return Ok(Vec::new());
    }
    let mut bytes = Vec::new();
    // Twice as long as it may become: somebody else's writing ends there.
    file.take(2 * MARKS_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).lines().filter_map(Mark::read).collect())
}

/// Writes the marks anew. A mark that another launcher makes meanwhile may be lost.
fn tidy(dir: impl AsFd, stem: &str, oldest: u64) -> io::Result<()> {
    let kept = thinned(&read(&dir, stem)?, oldest);
    let (name, new) = (name(stem), format!("marks.{stem}.new"));
    let text: String = kept.iter().map(Mark::line).collect();
    replace_file(dir.as_fd(), &name, &new, text.as_bytes(), |_| Ok(()))
}

/// The marks that are worth keeping: the newest of the files that are gone, of the older half of the
/// others only those with which a run begins, and of all that no more than [`KEPT`].
fn thinned(marks: &[Mark], oldest: u64) -> Vec<Mark> {
    let first = marks.iter().rposition(|mark| mark.place.file < oldest).unwrap_or(0);
    let marks = &marks[first..];
    let (older, newer) = marks.split_at(marks.len() / 2);
    let begins = |(index, mark): &(usize, &Mark)| {
        index.checked_sub(1).is_none_or(|before| older[before].run != mark.run)
    };
    let older = older.iter().enumerate().filter(begins).map(|(_, mark)| mark);
    let kept: Vec<Mark> = older.chain(newer).copied().collect();
    kept[kept.len().saturating_sub(KEPT)..].to_vec()
}

pub(super) fn name(stem: &str) -> String {
    format!("marks.{stem}")
}

fn open(dir: impl AsFd, name: &str, flags: OFlags) -> io::Result<File> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mode = if flags.contains(OFlags::CREATE) { PRIVATE } else { Mode::empty() };
    rustix::fs::openat(dir, name, flags, mode).map(File::from).map_err(Errno::into)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(run: u64, file: u64, at: u64) -> Mark {
        let run = RunId { placement: Placement(3), number: RunNumber(run) };
        Mark { run, place: LogPlace { file, offset: 5 }, at: Timestamp(at) }
    }

    fn dir(path: &std::path::Path) -> rustix::fd::OwnedFd {
        rustix::fs::open(path, OFlags::RDONLY, Mode::empty()).unwrap()
    }

    #[test]
    fn marks_are_read_as_they_were_made_and_torn_ones_are_none() {
        let temp = tempfile::tempdir().unwrap();
        let dir = dir(temp.path());
        assert_eq!(read(&dir, "out").unwrap(), []);
        note(&dir, "out", &mark(1, 1, 7), 0).unwrap();
        let mut file = open(&dir, "marks.out", OFlags::WRONLY | OFlags::APPEND).unwrap();
        file.write_all(b"3 1 1 2").unwrap();
        note(&dir, "out", &mark(2, 1, 8), 0).unwrap();
        note(&dir, "out", &mark(3, 2, 9), 0).unwrap();
        assert_eq!(read(&dir, "out").unwrap(), [mark(1, 1, 7), mark(3, 2, 9)]);
    }

    #[test]
    fn marks_are_bounded_and_keep_where_runs_begin() {
        let temp = tempfile::tempdir().unwrap();
        let dir = dir(temp.path());
        for n in 0..20_000 {
            note(&dir, "err", &mark(n / 1_000, 1 + n / 5_000, n), n / 5_000).unwrap();
        }
        let kept = read(&dir, "err").unwrap();
        let length = std::fs::metadata(temp.path().join("marks.err")).unwrap().len();
        assert!(length <= MARKS_BYTES + 100, "{length}");
        assert_eq!(kept.last(), Some(&mark(19, 4, 19_999)));
        assert!((15..20).all(|run| kept.iter().any(|mark| mark.run.number.0 == run)));
        assert!(kept.windows(2).all(|pair| pair[0].at < pair[1].at));
    }
}
