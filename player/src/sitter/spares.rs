//! Attempts' directories that are used again.
//!
//! A directory and two pipes for each attempt would be the dearest part of starting one: ext4 gives
//! no inode away within five seconds after it was freed, and looks at each of those before it finds
//! another, so that a thousand attempts a second cost half of a processor. Renaming costs the same
//! at any rate.
//!
//! What an attempt gets this way is as good as new: its pipes are empty, nobody has them open for
//! writing, and they belong to the very user that it runs as, so that whoever might still look into
//! one may look into the attempt anyhow. What is not so is removed. Spares do not outlive a sitter.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use rustix::fd::BorrowedFd;

use super::capture;

/// Most directories that are kept: as many as attempts that start and end by turns.
const MOST: usize = 64;

/// Directories that no attempt has, below one directory.
#[derive(Debug)]
pub(crate) struct Spares {
    path: PathBuf,
    /// Their numbers, by the user that their pipes belong to.
    by_owner: BTreeMap<u32, Vec<u64>>,
    next: u64,
    most: usize,
}

impl Spares {
    /// Starts with none: what an earlier sitter left in the directory is removed. Where that cannot
    /// be done none are kept, which makes starts dearer and nothing worse.
    pub(crate) fn open(path: PathBuf) -> Self {
        match empty(&path) {
            Ok(()) => Self { path, by_owner: BTreeMap::new(), next: 0, most: MOST },
            Err(error) => Self::none(path, &error),
        }
    }

    /// None are kept, because the directory cannot be used.
    pub(crate) fn none(path: PathBuf, why: &io::Error) -> Self {
        tracing::warn!(path = %path.display(), error = %why, "attempts' directories are not used again");
        Self { path, by_owner: BTreeMap::new(), next: 0, most: 0 }
    }

    /// Gives one away under another name, if there is one for this user.
    pub(crate) fn take(&mut self, owner: u32, name: &Path) -> bool {
        let number = self.by_owner.get_mut(&owner).and_then(Vec::pop);
        number.is_some_and(|number| {
            let spare = self.spare(number);
            let taken = fs::rename(&spare, name).is_ok();
            if !taken {
                let _ = fs::remove_dir_all(spare);
            }
            taken
        })
    }

    /// Takes the directory of an attempt that is over, if it is worth keeping. `silent`: nothing
    /// was written to its files.
    pub(crate) fn keep(&mut self, name: &Path, dir: BorrowedFd<'_>, silent: bool) -> bool {
        if self.most == 0 {
            return false;
        }
        let Ok(Some(owner)) = capture::clear(dir, silent) else { return false };
        if !self.make_room(owner) {
            return false;
        }
        let number = self.next;
        if fs::rename(name, self.spare(number)).is_err() {
            return false;
        }
        self.next += 1;
        self.by_owner.entry(owner).or_default().push(number);
        true
    }

    /// Whether there is room for one more of this user, if need be in the place of another user's.
    fn make_room(&mut self, owner: u32) -> bool {
        let count: usize = self.by_owner.values().map(Vec::len).sum();
        if count < self.most {
            return true;
        }
        let mut others = self.by_owner.iter_mut().filter(|(other, _)| **other != owner);
        let given_up = others.find_map(|(_, numbers)| numbers.pop());
        given_up.is_some_and(|number| fs::remove_dir_all(self.spare(number)).is_ok())
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
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    use rustix::{
        fd::AsFd,
        fs::{Mode, OFlags},
    };

    use super::*;
    use crate::sitter::capture::{Pipe, Stream};

    struct World {
        dir: tempfile::TempDir,
        spares: Spares,
        own: u32,
    }

    impl World {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            fs::create_dir(dir.path().join("spare")).unwrap();
            fs::create_dir_all(dir.path().join("spare/left/behind")).unwrap();
            fs::write(dir.path().join("spare/stray"), "").unwrap();
            let spares = Spares::open(dir.path().join("spare"));
            let own = rustix::process::geteuid().as_raw();
            World { dir, spares, own }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.dir.path().join(name)
        }

        /// Makes what an attempt has.
        fn attempt(&self, name: &str) -> PathBuf {
            let path = self.path(name);
            fs::create_dir(&path).unwrap();
            let dir = fs::File::open(&path).unwrap();
            for stream in [Stream::Stdout, Stream::Stderr] {
                Pipe::create(dir.as_fd(), stream, None).unwrap();
            }
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

    #[test]
    fn what_an_attempt_had_is_given_to_the_next_one_and_says_nothing_of_it() {
        let mut world = World::new();
        assert_eq!(world.count(), 0, "what an earlier sitter left");
        let (first, second) = (world.attempt("first"), world.path("second"));
        let pipe = |path: &Path| fs::metadata(path.join("stdout.pipe")).unwrap().ino();
        let before = pipe(&first);
        assert!(world.keep(&first) && !first.exists());
        assert!(!world.spares.take(world.own + 1, &second), "another user's");
        assert!(world.spares.take(world.own, &second));
        assert_eq!(pipe(&second), before);
        assert_eq!(fs::read(second.join("stdout")).unwrap(), b"");
        assert!(!world.spares.take(world.own, &world.path("third")), "there is one alone");
    }

    #[test]
    fn what_is_not_as_it_was_made_is_not_kept() {
        let mut world = World::new();
        let open = world.attempt("open");
        fs::set_permissions(open.join("stderr.pipe"), PermissionsExt::from_mode(0o622)).unwrap();
        let gone = world.attempt("gone");
        fs::remove_file(gone.join("stdout.pipe")).unwrap();
        let file = world.attempt("file");
        fs::remove_file(file.join("stdout.pipe")).unwrap();
        fs::write(file.join("stdout.pipe"), "").unwrap();
        let linked = world.attempt("linked");
        fs::hard_link(linked.join("stdout.pipe"), world.path("link")).unwrap();
        for path in [open, gone, file, linked] {
            assert!(!world.keep(&path), "{}", path.display());
        }
        assert_eq!(world.count(), 0);
    }

    #[test]
    fn what_somebody_still_has_open_is_not_kept() {
        let mut world = World::new();
        for (name, flags) in [("reader", OFlags::RDONLY), ("writer", OFlags::RDWR)] {
            let path = world.attempt(name);
            let flags = flags | OFlags::NONBLOCK;
            let open = rustix::fs::open(path.join("stderr.pipe"), flags, Mode::empty()).unwrap();
            assert!(!world.keep(&path), "{name}");
            drop(open);
            assert!(world.keep(&path), "{name}");
        }
    }

    #[test]
    fn where_nothing_can_be_kept_nothing_is_missing() {
        let world = World::new();
        let (missing, path) = (world.path("missing"), world.attempt("first"));
        let mut spares = Spares::open(missing);
        let dir = fs::File::open(&path).unwrap();
        assert!(!spares.keep(&path, dir.as_fd(), false));
        assert!(!spares.take(world.own, &world.path("second")));
        assert!(path.exists());
    }

    #[test]
    fn another_users_make_room() {
        let mut world = World::new();
        let numbers = 0..MOST as u64;
        numbers.clone().for_each(|n| fs::create_dir(world.spares.spare(n)).unwrap());
        world.spares.by_owner.insert(world.own + 1, numbers.collect());
        world.spares.next = MOST as u64;
        let first = world.attempt("first");
        assert!(world.keep(&first));
        assert_eq!(world.count(), MOST);
        assert!(world.spares.take(world.own, &first));
    }

    #[test]
    fn a_name_that_is_taken_costs_a_spare_and_no_more() {
        let mut world = World::new();
        let (first, taken) = (world.attempt("first"), world.attempt("taken"));
        assert!(world.keep(&first));
        assert!(!world.spares.take(world.own, &taken));
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
