//! How much the logs of all units may take on the player's disk, together.
//!
//! The sitter writes the budget into the directory of all logs. A launcher that has filled a file
//! reads it there, and removes what is too much: the oldest file of the unit that takes most, again
//! and again. So a unit that writes much loses its own past and not that of others, and the rule
//! holds while there is no sitter. The newest file of a stream always stays. The more units share
//! the budget, the smaller are the files, so that the files that stay fit.

use std::{
    io::{self, Read},
    os::unix::ffi::OsStrExt,
};

use orchestra_model::Timestamp;
use rustix::{
    fd::{AsFd, BorrowedFd, OwnedFd},
    fs::{AtFlags, Dir, FlockOperation, Mode, OFlags},
    io::Errno,
};

use super::LogDir;
use crate::{
    config::DEFAULT_LOG_BUDGET,
    sitter::{
        spool_dir::replace_file,
        stream::{STREAMS, Stream},
    },
};

/// The file of the budget, beside the directories of units. No unit has such a name.
const FILE: &str = ".budget";
const NEW_FILE: &str = ".budget.new";
/// Least size of a full file, in bytes.
const LEAST_FILE: u64 = 256 << 10;
/// Most size of a full file, in bytes.
pub(in crate::sitter) const MOST_FILE: u64 = 10 << 20;
/// Into how many files the budget is divided for each unit: two of each stream.
const FILES_OF_UNIT: u64 = 4;

/// A file of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    pub(super) stream: Stream,
    pub(super) number: u64,
    /// In bytes.
    pub(super) len: u64,
    pub(super) modified: Timestamp,
    /// Whether it is the newest of its stream, to which somebody may write.
    pub(super) is_newest: bool,
}

/// Writes into the directory of all logs how many bytes they may take.
pub(in crate::sitter) fn leave(logs: impl AsFd, bytes: u64) -> io::Result<()> {
    let logs = logs.as_fd();
    if read(logs)? == Some(bytes) {
        return Ok(());
    }
    let text = format!("{bytes}\n");
    replace_file(logs, FILE, NEW_FILE, text.as_bytes(), |_| Ok(()))
}

fn read(logs: BorrowedFd<'_>) -> io::Result<Option<u64>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::openat(logs, FILE, flags, Mode::empty()) {
        Ok(file) => std::fs::File::from(file),
        Err(Errno::NOENT) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let mut text = String::new();
    file.take(32).read_to_string(&mut text)?;
    Ok(text.trim_end().parse().ok())
}

/// Removes what all logs have too much. Returns how large a file may become from now on, in bytes.
/// `unit` is the directory of any of them. If another launcher is just removing, this removes
/// nothing and does not wait.
pub(in crate::sitter) fn keep(unit: impl AsFd) -> io::Result<u64> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let logs = rustix::fs::openat(unit, "..", flags, Mode::empty())?;
    let budget = read(logs.as_fd())?.unwrap_or(DEFAULT_LOG_BUDGET);
    let units = units(logs.as_fd())?;
    let size = file_bytes(budget, units.len());
    if rustix::fs::flock(&logs, FlockOperation::NonBlockingLockExclusive).is_err() {
        return Ok(size);
    }
    let files = units.iter().map(kept).collect::<io::Result<Vec<_>>>()?;
    for (unit, file) in superfluous(files, budget) {
        let name = format!("{}.{}", file.stream.stem(), file.number);
        match rustix::fs::unlinkat(&units[unit], name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(size)
}

/// The directories of all units.
fn units(logs: BorrowedFd<'_>) -> io::Result<Vec<OwnedFd>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut units = Vec::new();
    for entry in Dir::read_from(logs)? {
        let entry = entry?;
        if entry.file_name().to_bytes().starts_with(b".") {
            continue;
        }
        let name = std::ffi::OsStr::from_bytes(entry.file_name().to_bytes());
        match rustix::fs::openat(logs, name, flags, Mode::empty()) {
            Ok(unit) => units.push(unit),
            // The entry was removed meanwhile, or is no directory.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(units)
}

fn kept(unit: &OwnedFd) -> io::Result<Vec<Kept>> {
    let mut kept = Vec::new();
    for stream in STREAMS {
        let files = LogDir::new(unit.try_clone()?, stream).files()?;
        let newest = files.last_key_value().map(|(number, _)| *number);
        kept.extend(files.into_iter().map(|(number, found)| Kept {
            stream,
            number,
            len: found.len,
            modified: found.modified,
            is_newest: Some(number) == newest,
        }));
    }
    Ok(kept)
}

/// Returns how large a file may become if so many units share a budget, in bytes.
fn file_bytes(budget: u64, units: usize) -> u64 {
    let files = (units.max(1) as u64).saturating_mul(FILES_OF_UNIT);
    (budget / files).clamp(LEAST_FILE, MOST_FILE)
}

/// Returns which files to remove so that the rest is within the budget, each with the index of its
/// unit. Each is the oldest file of the unit that has most, among units that have more than their
/// newest files.
fn superfluous(mut units: Vec<Vec<Kept>>, budget: u64) -> Vec<(usize, Kept)> {
    let size = |files: &[Kept]| files.iter().map(|file| file.len).sum::<u64>();
    let mut sizes: Vec<u64> = units.iter().map(|files| size(files)).collect();
    let mut total: u64 = sizes.iter().sum();
    for files in &mut units {
        files.retain(|file| !file.is_newest);
        // The oldest file is last, where it is taken from.
        files.sort_by_key(|file| std::cmp::Reverse((file.modified, file.number)));
    }
    let mut gone = Vec::new();
    while total > budget {
        let with_some = (0..units.len()).filter(|unit| !units[*unit].is_empty());
        let Some(largest) = with_some.max_by_key(|unit| sizes[*unit]) else { break };
        let Some(file) = units[largest].pop() else { break };
        sizes[largest] -= file.len;
        total -= file.len;
        gone.push((largest, file));
    }
    gone
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;

    fn file(number: u64, len: u64, modified: u64, is_newest: bool) -> Kept {
        Kept { stream: Stream::Stdout, number, len, modified: Timestamp(modified), is_newest }
    }

    #[test]
    fn the_unit_that_has_most_loses_its_oldest() {
        let units = vec![
            vec![file(1, 30, 1, false), file(2, 10, 9, true)],
            vec![file(1, 50, 5, false), file(2, 50, 6, false), file(3, 1, 7, true)],
        ];
        let gone = superfluous(units.clone(), 100);
        assert_eq!(gone, [(1, units[1][0])]);
        let gone = superfluous(units.clone(), 60);
        assert_eq!(gone, [(1, units[1][0]), (1, units[1][1])]);
        // Files to which a launcher may write stay, whatever the budget.
        assert_eq!(superfluous(units, 0).len(), 3);
    }

    #[test]
    fn files_are_smaller_where_more_units_share() {
        assert_eq!(file_bytes(DEFAULT_LOG_BUDGET, 0), 10 << 20);
        assert_eq!(file_bytes(DEFAULT_LOG_BUDGET, 1), 10 << 20);
        assert_eq!(file_bytes(DEFAULT_LOG_BUDGET, 256), 1 << 20);
        assert_eq!(file_bytes(1, 4_096), 256 << 10);
    }

    #[test]
    fn what_is_left_is_read_and_kept_to() {
        let temp = tempfile::tempdir().unwrap();
        let logs = temp.path();
        for unit in ["a", "b"] {
            fs::create_dir(logs.join(unit)).unwrap();
        }
        for number in 1..=4 {
            fs::write(logs.join(format!("a/out.{number}")), vec![b'x'; 1_000]).unwrap();
        }
        fs::write(logs.join("b/err.1"), vec![b'x'; 900]).unwrap();
        fs::write(logs.join("b/marks.err"), "").unwrap();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let open = |path: &std::path::Path| rustix::fs::open(path, flags, Mode::empty()).unwrap();
        let unit = open(&logs.join("b"));
        // Without a budget nothing is removed.
        assert_eq!(keep(&unit).unwrap(), 10 << 20);
        leave(open(logs), 3_000).unwrap();
        leave(open(logs), 3_000).unwrap();
        assert_eq!(keep(&unit).unwrap(), 256 << 10);
        let left = |unit: &str| fs::read_dir(logs.join(unit)).unwrap().count();
        assert_eq!((left("a"), left("b")), (2, 2));
        assert!(logs.join("a/out.4").exists() && logs.join("a/out.3").exists());
        // A budget that is no number is ignored.
        fs::write(logs.join(".budget"), "much\n").unwrap();
        assert_eq!(keep(&unit).unwrap(), 10 << 20);
    }

    proptest! {
        #[test]
        fn the_rest_fits_or_is_what_has_to_stay(
            lens in prop::collection::vec(prop::collection::vec(0_u64..1_000, 0..6), 0..6),
            budget in 0_u64..4_000,
        ) {
            let units: Vec<Vec<Kept>> = lens.iter().map(|lens| {
                let files = lens.iter().enumerate();
                files.map(|(n, len)| file(n as u64, *len, n as u64, n + 1 == lens.len())).collect()
            }).collect();
            let gone = superfluous(units.clone(), budget);
            let all: u64 = units.iter().flatten().map(|file| file.len).sum();
            let newest: u64 = units.iter().flatten().filter(|file| file.is_newest).map(|file| file.len).sum();
            let less: u64 = gone.iter().map(|(_, file)| file.len).sum();
            prop_assert!(all - less <= budget.max(newest));
            // No file is removed without need.
            if let Some((_, last)) = gone.last() {
                prop_assert!(all - less + last.len > budget);
            }
            // The oldest files of each unit were removed.
            for (unit, files) in units.iter().enumerate() {
                let of_unit: Vec<u64> = gone.iter().filter(|(of, _)| *of == unit).map(|(_, file)| file.number).collect();
                let oldest: Vec<u64> = files.iter().take(of_unit.len()).map(|file| file.number).collect();
                prop_assert_eq!(of_unit, oldest);
            }
        }
    }
}
