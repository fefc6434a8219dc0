//! Attempts' directories that are used again.
//!
//! To make and remove a directory for each attempt would be the most costly part of a start: a file
//! system spreads directories over its disk, so a thousand a second wait for each other. Measured
//! on ext4, for attempts of two pipes each, at most 1,500 a second:
//!
//! ```text
//! directory and pipes made anew     370/s    190 µs of CPU each
//! directory used again, pipes new   1,500/s  137 µs
//! both used again                   1,500/s   91 µs
//! ```
//!
//! So directories are used again and pipes are not: a process that an attempt left behind may hold
//! a way into its pipes that nothing shows (see [`make_pipes`](super::stream::make_pipes)). The
//! directory is the sitter's own, and no score gets a way into it. Spares do not outlive a sitter.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use rustix::fd::BorrowedFd;

use super::stream;

/// Most directories that are kept: enough for attempts that start and end in turn.
const MOST: usize = 64;

/// Directories that no attempt uses, below one directory.
#[derive(Debug)]
pub(crate) struct Spares {
    path: PathBuf,
    /// Their numbers.
    free: Vec<u64>,
    next: u64,
    most: usize,
}

impl Spares {
    /// Begins without spares, and removes those of an earlier sitter. If that fails no spares are
    /// kept, which only makes starts more costly.
    pub(crate) fn open(path: PathBuf) -> Self {
        match empty(&path) {
            Ok(()) => Self { path, free: Vec::new(), next: 0, most: MOST },
            Err(error) => Self::none(path, &error),
        }
    }

    /// Keeps no spares, because the directory cannot be used.
    pub(crate) fn none(path: PathBuf, why: &io::Error) -> Self {
        tracing::warn!(path = %path.display(), error = %why, "attempts' directories are not used again");
        Self { path, free: Vec::new(), next: 0, most: 0 }
    }

    /// Renames a spare to `name`. Returns whether there was one.
    pub(crate) fn take(&mut self, name: &Path) -> bool {
        self.free.pop().is_some_and(|number| {
            let spare = self.spare(number);
            let taken = fs::rename(&spare, name).is_ok();
            if !taken {
                let _ = fs::remove_dir_all(spare);
            }
            taken
        })
    }

    /// Takes the directory of an attempt that is over, and returns whether there was room for it.
    /// `silent`: nothing was written to its files.
    pub(crate) fn keep(&mut self, name: &Path, dir: BorrowedFd<'_>, silent: bool) -> bool {
        if self.free.len() >= self.most || stream::clear(dir, silent).is_err() {
            return false;
        }
        let number = self.next;
        if fs::rename(name, self.spare(number)).is_err() {
            return false;
        }
        self.next += 1;
        self.free.push(number);
        true
    }

    fn spare(&self, number: u64) -> PathBuf {
        self.path.join(number.to_string())
    }
}

fn empty(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        match entry.file_type()?.is_dir() {
            true => fs::remove_dir_all(entry.path())?,
            false => fs::remove_file(entry.path())?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use rustix::{
        fd::{AsFd, AsRawFd},
        fs::{Mode, OFlags},
    };

    use super::*;
    use crate::sitter::{
        pipe::Pipe,
        stream::{Stream, make_pipes},
    };

    struct World {
        dir: tempfile::TempDir,
        spares: Spares,
    }

    impl World {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            fs::create_dir(dir.path().join("spare")).unwrap();
            fs::create_dir_all(dir.path().join("spare/left/behind")).unwrap();
            fs::write(dir.path().join("spare/stray"), "").unwrap();
            let spares = Spares::open(dir.path().join("spare"));
            World { dir, spares }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.dir.path().join(name)
        }

        /// Makes the directory and files of an attempt.
        fn attempt(&self, name: &str) -> PathBuf {
            let path = self.path(name);
            fs::create_dir(&path).unwrap();
            pipes(&path);
            fs::write(path.join("stdout"), "said").unwrap();
            path
        }

        fn keep(&mut self, path: &Path) -> bool {
            let dir = fs::File::open(path).unwrap();
            self.spares.keep(path, dir.as_fd(), false)
        }

        fn count(&self) -> usize {
            fs::read_dir(self.path("spare")).unwrap().count()
        }
    }

    /// Makes both pipes of an attempt. Returns the launcher's end and the score's end of its
    /// output.
    fn pipes(path: &Path) -> (Pipe, fs::File) {
        let dir = fs::File::open(path).unwrap();
        make_pipes(dir.as_fd(), None).unwrap();
        let pipe = Pipe::open(dir.as_fd(), Stream::Stdout).unwrap();
        let writer = Pipe::open_for_the_score(dir.as_fd(), Stream::Stdout.pipe()).unwrap();
        (pipe, writer.into())
    }

    #[test]
    fn what_an_attempt_had_is_given_to_the_next_one_and_says_nothing_of_it() {
        let mut world = World::new();
        assert_eq!(world.count(), 0, "what an earlier sitter left");
        let (first, second) = (world.attempt("first"), world.path("second"));
        assert!(world.keep(&first) && !first.exists());
        assert!(world.spares.take(&second));
        assert_eq!(fs::read(second.join("stdout")).unwrap(), b"");
        let left: Vec<_> =
            fs::read_dir(&second).unwrap().map(|it| it.unwrap().file_name()).collect();
        assert_eq!(left, ["stdout"]);
        assert!(!world.spares.take(&world.path("third")), "there is one alone");
    }

    #[test]
    fn no_way_into_an_attempts_pipes_leads_into_those_of_a_later_one() {
        let mut world = World::new();
        let first = world.attempt("first");
        // This is how a process that was left behind may hold a pipe: it is not open, so nothing
        // shows it, but the process can open it at any time. A hard link is another such way.
        let held =
            rustix::fs::open(first.join("stdout.pipe"), OFlags::PATH, Mode::empty()).unwrap();
        fs::hard_link(first.join("stdout.pipe"), world.path("link")).unwrap();
        assert!(world.keep(&first));
        let second = world.path("second");
        assert!(world.spares.take(&second));
        let (pipe, mut writer) = pipes(&second);
        writer.write_all(b"of the second").unwrap();
        for way in [format!("/proc/self/fd/{}", held.as_raw_fd()).into(), world.path("link")] {
            let flags = OFlags::RDWR | OFlags::NONBLOCK;
            let mut thief = fs::File::from(rustix::fs::open(&way, flags, Mode::empty()).unwrap());
            let mut stolen = [0; 64];
            let nothing = thief.read(&mut stolen).unwrap_err();
            assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock, "{}", way.display());
            thief.write_all(b"forged").unwrap();
        }
        let mut said = [0; 64];
        let count = rustix::io::read(&pipe, &mut said).unwrap();
        assert_eq!(&said[..count], b"of the second");
    }

    #[test]
    fn a_pipe_that_lies_there_already_is_not_used() {
        let world = World::new();
        let path = world.attempt("first");
        let held = fs::File::options().read(true).write(true).open(path.join("stdout.pipe"));
        let (pipe, _writer) = pipes(&path);
        held.unwrap().write_all(b"forged").unwrap();
        let nothing = rustix::io::read(&pipe, &mut [0; 64]).unwrap_err();
        assert_eq!(nothing, rustix::io::Errno::AGAIN);
    }

    #[test]
    fn where_nothing_can_be_kept_nothing_is_missing() {
        let world = World::new();
        let (missing, path) = (world.path("missing"), world.attempt("first"));
        let mut spares = Spares::open(missing);
        let dir = fs::File::open(&path).unwrap();
        assert!(!spares.keep(&path, dir.as_fd(), false));
        assert!(!spares.take(&world.path("second")));
        assert!(path.exists());
    }

    #[test]
    fn a_name_that_is_taken_costs_a_spare_and_no_more() {
        let mut world = World::new();
        let (first, taken) = (world.attempt("first"), world.attempt("taken"));
        assert!(world.keep(&first));
        assert!(!world.spares.take(&taken));
        assert_eq!((world.count(), fs::read(taken.join("stdout")).unwrap()), (0, b"said".to_vec()));
    }

    #[test]
    fn spares_are_bounded() {
        let mut world = World::new();
        let kept = (0..=MOST).filter(|n| {
            let path = world.attempt(&n.to_string());
            world.keep(&path)
        });
        assert_eq!(kept.count(), MOST);
    }
}
