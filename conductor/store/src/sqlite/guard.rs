//! Whether the files that are open still lie where the next start will look for them.
//!
//! SQLite writes to the files that it has opened, whatever becomes of their names. So a database
//! that is moved away, removed or replaced goes on taking records that nobody will find again, and
//! the next start begins with another file. The guard compares what lies at each path with what is
//! open, after each commit and before anybody is told of it: a look at three files, and at four
//! bytes of the log.
//!
//! It notices as well where a file is cut or blanked in its place, as far as that shows: a database
//! shorter than it was before, a log without its header. What is overwritten in the middle shows in
//! the checksum of whatever record it hits, when that is read.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::{FileExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

/// The first four bytes of a log, but for the last bit, which says how its checksums are made.
const LOG_MAGIC: u32 = 0x377f_0682;

/// Which file it is, whatever it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Id {
    device: u64,
    inode: u64,
}

/// A path, and what lay there when it was opened.
#[derive(Clone, Debug)]
pub(super) struct Watched {
    pub(super) path: PathBuf,
    id: Id,
}

/// What has become of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Its path leads to another file, or to none.
    Displaced(PathBuf),
    /// It is where it was, and a part of it is gone.
    Damaged(PathBuf),
}

impl Watched {
    fn new(path: &Path) -> io::Result<Self> {
        let found = fs::metadata(path)?;
        Ok(Self { path: path.to_owned(), id: Id { device: found.dev(), inode: found.ino() } })
    }

    /// What lies there, if that is what was opened.
    fn look(&self) -> Result<fs::Metadata, Trouble> {
        let found = fs::metadata(&self.path).ok().filter(|found| self.is(found));
        found.ok_or_else(|| Trouble::Displaced(self.path.clone()))
    }

    /// Whether what was opened lies there.
    pub(super) fn is_there(&self) -> bool {
        self.look().is_ok()
    }

    fn is(&self, found: &fs::Metadata) -> bool {
        self.id == Id { device: found.dev(), inode: found.ino() }
    }

    /// The path that leads to what was opened, if any still does. Asked of the descriptors of this
    /// process: nothing opens the database beside SQLite, which would lose its locks.
    pub(super) fn whereabouts(&self) -> Option<PathBuf> {
        let descriptors = fs::read_dir("/proc/self/fd").ok()?;
        descriptors.flatten().find_map(|descriptor| {
            let open = fs::metadata(descriptor.path()).ok()?;
            (self.is(&open) && open.nlink() > 0).then(|| fs::read_link(descriptor.path()).ok())?
        })
    }
}

/// What SQLite keeps beside a database while it is open: the log and its index.
const ENDINGS: [&str; 2] = ["-wal", "-shm"];

/// Where SQLite looks for what it keeps beside a database: at that path with an ending, but where
/// the path is a link, beside what the link leads to.
pub(super) fn beside(database: &Path) -> io::Result<[PathBuf; 2]> {
    let is_link = fs::symlink_metadata(database)?.is_symlink();
    let base = if is_link { fs::canonicalize(database)? } else { database.to_owned() };
    Ok(ENDINGS.map(|ending| {
        let mut path = base.clone().into_os_string();
        path.push(ending);
        PathBuf::from(path)
    }))
}

/// Watches over a database, its log and the log's index.
#[derive(Debug)]
pub(super) struct Guard {
    database: Watched,
    /// Which files were beside it, in the order of [`ENDINGS`].
    beside: [Id; 2],
    /// The log's own descriptor: SQLite keeps no lock on that file.
    log: File,
    /// The size of the database as it was seen last.
    size: u64,
}

impl Guard {
    /// Begins to watch a database that is open and has a log.
    pub(super) fn new(database: &Path) -> io::Result<Self> {
        let [log, index] = beside(database)?;
        Ok(Self {
            database: Watched::new(database)?,
            beside: [Watched::new(&log)?.id, Watched::new(&index)?.id],
            log: File::open(log)?,
            size: fs::metadata(database)?.len(),
        })
    }

    /// The database.
    pub(super) fn database(&self) -> &Watched {
        &self.database
    }

    /// Looks at every file, by the paths that the next start will take: a link that leads elsewhere
    /// by now, or that was put in the database's place, has it look for the log elsewhere too.
    /// `is_shrunk` is asked whether a database that has become shorter is so by SQLite's own doing.
    pub(super) fn look(&mut self, is_shrunk: impl FnOnce() -> bool) -> Result<(), Trouble> {
        let size = self.database.look()?.len();
        let database = &self.database.path;
        let beside = beside(database).map_err(|_| Trouble::Displaced(database.clone()))?;
        for (path, id) in beside.iter().zip(self.beside) {
            Watched { path: path.clone(), id }.look()?;
        }
        if size < self.size && !is_shrunk() {
            return Err(Trouble::Damaged(database.clone()));
        }
        self.size = size;
        match self.is_log_whole() {
            true => Ok(()),
            false => Err(Trouble::Damaged(beside[0].clone())),
        }
    }

    /// Whether the log is empty, or begins as a log does.
    fn is_log_whole(&self) -> bool {
        let mut magic = [0; 4];
        match self.log.metadata().map(|log| log.len()) {
            Ok(0) => true,
            Ok(_) => {
                let read = self.log.read_exact_at(&mut magic, 0);
                read.is_ok() && u32::from_be_bytes(magic) & !1 == LOG_MAGIC
            }
            Err(_) => false,
        }
    }
}
