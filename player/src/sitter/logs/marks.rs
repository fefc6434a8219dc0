//! Marks: which run writes from which point of a log on, and when. They are lines of `marks.out`
//! and `marks.err` beside the log's files.
//!
//! ```text
//! placement run file offset milliseconds .
//! ```
//!
//! All bytes from a mark up to the next one are of the mark's run, and none of them was written
//! before the mark's time. A mark is written before its bytes, so a reader who sees the bytes sees
//! the mark. A torn line is ignored; its bytes count as those of the run before.

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

/// A file of marks that has more bytes is rewritten without the marks that matter least.
const MARKS_BYTES: u64 = 128 << 10;
/// Most marks that are kept then.
const KEPT: usize = 1_024;

/// From here on a run writes.
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

/// Adds a mark. Files with numbers below `oldest` are gone.
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
    // The bound is twice the length that the file may have, against a file that somebody else
    // writes.
    file.take(2 * MARKS_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).lines().filter_map(Mark::read).collect())
}

/// Rewrites the marks. A mark that another launcher adds meanwhile may be lost.
fn tidy(dir: impl AsFd, stem: &str, oldest: u64) -> io::Result<()> {
    let kept = thinned(&read(&dir, stem)?, oldest);
    let (name, new) = (name(stem), format!("marks.{stem}.new"));
    let text: String = kept.iter().map(Mark::line).collect();
    replace_file(dir.as_fd(), &name, &new, text.as_bytes(), |_| Ok(()))
}

/// Returns the marks that are worth keeping, at most [`KEPT`]: the newest mark of the files that
/// are gone; of the older half of the others, those with which a run begins; and the newer half.
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
