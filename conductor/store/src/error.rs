//! What can go wrong with a store, one enum an operation. Causes stay in `source`.

use std::{error::Error, fmt, path::PathBuf};

use orchestra_model::delivery::Term;

/// A cause from below, whose type is the implementation's own business.
type Cause = Box<dyn Error + Send + Sync>;

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Something about a file or directory failed.
    Files {
        /// What was attempted.
        attempted: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// Others may read or write what is the conductor's alone.
    Modes {
        /// The file or directory.
        path: PathBuf,
        /// Its permission bits.
        is: u32,
        /// What they must be: 0600 or 0700.
        want: u32,
    },
    /// Another conductor has it open.
    Locked {
        /// The directory.
        path: PathBuf,
        /// The process that holds it, where it said so.
        holder: Option<u32>,
    },
    /// There is no store, and none was to be made.
    None {
        /// The directory.
        path: PathBuf,
    },
    /// There is no database, and what lies there tells that there was one.
    Lost {
        /// Where it should be.
        path: PathBuf,
        /// What is left.
        beside: Vec<String>,
    },
    /// Beside the database lies what was saved of one that was displaced, and nobody has said which of
    /// the two is the store.
    Undecided {
        /// The database.
        path: PathBuf,
        /// What was saved.
        rescued: Vec<String>,
    },
    /// The database's path is a link, and beside the link lies a log: that of a database that lay
    /// there itself. It would not be read.
    Parted {
        /// The link.
        path: PathBuf,
        /// What it leads to.
        target: PathBuf,
        /// The log.
        log: PathBuf,
    },
    /// There is a database without anything in it.
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// The database belongs to another program.
    Foreign {
        /// The file.
        path: PathBuf,
        /// What its header names.
        application: i32,
    },
    /// A newer release wrote the database.
    Newer {
        /// The file.
        path: PathBuf,
        /// The version of its tables.
        version: i32,
        /// The newest version that this release reads.
        known: i32,
    },
    /// There is no space for what opening takes. Nothing is changed; it can be tried again.
    Full {
        /// The file.
        path: PathBuf,
        /// Why it failed.
        source: Cause,
    },
    /// The system gave no random bytes for the store's id.
    Random(#[source] Cause),
    /// The database itself failed.
    Database {
        /// What was attempted.
        attempted: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        source: Cause,
    },
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Files { attempted, path, .. } => {
                write!(f, "cannot {attempted} {}", path.display())
            }
            Self::Modes { path, is, want } => write!(
                f,
                "{path} has mode {is:04o}, and others may get at it; mend it with: chmod {want:o} '{path}'",
                path = path.display()
            ),
            Self::Locked { path, holder: Some(pid) } => {
                write!(f, "the store in {} is in use by process {pid}", path.display())
            }
            Self::Locked { path, holder: None } => {
                write!(f, "the store in {} is in use by another process", path.display())
            }
            Self::None { path } => write!(
                f,
                "there is no store in {}: is what belongs there mounted? A new store is made by \
                 `conductor --new-store`, once",
                path.display()
            ),
            Self::Lost { path, beside } => write!(
                f,
                "{path} is missing, and {} beside it {} that there was a store; it is not replaced: \
                 bring {path} back, from where it was moved or from a backup",
                beside.join(", "),
                if beside.len() == 1 { "tells" } else { "tell" },
                path = path.display()
            ),
            Self::Undecided { path, rescued } => write!(
                f,
                "beside {path} lies {}, saved of a store that was displaced while it was open: if that \
                 is the store, move it to {path} and remove {path}-wal and {path}-shm; if it is not, \
                 move it away",
                rescued.join(", "),
                path = path.display()
            ),
            Self::Parted { path, target, log } => write!(
                f,
                "{path} is a link to {target}, and at {log} lies the log of a database that lay here \
                 itself, which would not be read: move {target} back in place of the link and start; \
                 if the log is of another database, move it away",
                path = path.display(),
                target = target.display(),
                log = log.display()
            ),
            Self::Empty { path } => write!(
                f,
                "{} is empty, so it is no store, and it is not made one: bring the store back, from \
                 a backup if need be",
                path.display()
            ),
            Self::Foreign { path, application } => write!(
                f,
                "{} is a database of another program (application id {application:#x})",
                path.display()
            ),
            Self::Newer { path, version, known } => write!(
                f,
                "{} was written by a newer release: its tables have version {version}, this release reads up to {known}",
                path.display()
            ),
            Self::Full { path, .. } => write!(
                f,
                "there is no space to open the store {}, and nothing of it is changed: make space and \
                 start it again",
                path.display()
            ),
            Self::Random(_) => f.write_str("cannot make a store id"),
            Self::Database { attempted, path, .. } => {
                write!(f, "cannot {attempted} of the store {}", path.display())
            }
        }
    }
}

/// Why a batch was not committed.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// No space. The same batch can be tried again.
    Full(#[source] Cause),
    /// Another program kept the database locked for too long. The same batch can be tried again.
    Busy(#[source] Cause),
    /// Another writer has raised the term. This one is at its end: every later commit fails.
    Fenced {
        /// Of this writer.
        ours: Term,
        /// What the store says.
        stored: Term,
    },
    /// A file of the store is no longer what it was: moved, removed, replaced or cut by another
    /// program. This writer is at its end: every later commit fails.
    Displaced {
        /// Which file.
        file: PathBuf,
        /// Where everything is that was committed.
        kept: Kept,
    },
    /// A file of the store is no longer in its place, and what was committed could not be brought
    /// to safety. It is held open; the same call tries again.
    Stranded {
        /// Which file.
        file: PathBuf,
        /// Why it could not.
        source: Cause,
    },
    /// What is on disk is unknown. This writer is at its end: every later commit fails. Stop, and
    /// recover by opening the store anew.
    Broken(#[source] Cause),
}

/// What became of the records of a store whose file is not in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// All of them are in this file, with nothing in the log.
    At(PathBuf),
    /// All of them were saved to this file.
    Rescued(PathBuf),
    /// What is left of them lies where it was.
    Remains,
}

impl CommitError {
    /// Whether the same batch can be tried again on the same writer.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Full(_) | Self::Busy(_) | Self::Stranded { .. })
    }
}

impl fmt::Display for CommitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full(_) => f.write_str("cannot write to the store: no space"),
            Self::Busy(_) => {
                f.write_str("cannot write to the store: another program keeps the database locked")
            }
            Self::Displaced { file, kept: Kept::Remains } => write!(
                f,
                "{} was cut or overwritten while the conductor ran. What is left lies where it was; \
                 restore a backup (docs/operating.md, A lost store)",
                file.display()
            ),
            Self::Displaced { file, kept: Kept::At(path) } => write!(
                f,
                "{} was moved away, removed or replaced while the conductor ran. Everything that was \
                 stored is in {}: see that this is orchestra.db in the state directory, and start anew",
                file.display(),
                path.display()
            ),
            Self::Displaced { file, kept: Kept::Rescued(path) } => write!(
                f,
                "{file} was removed or replaced while the conductor ran. Everything that was stored \
                 was saved to {path}: move that to {file}, remove {file}-wal and {file}-shm, and \
                 start anew",
                file = file.display(),
                path = path.display()
            ),
            Self::Stranded { file, .. } => write!(
                f,
                "{} was moved away, removed or replaced while the conductor ran, and what was stored \
                 cannot be brought to safety yet; it is tried again, do not end this process",
                file.display()
            ),
            Self::Fenced { ours, stored } => write!(
                f,
                "another conductor has taken the store over: its term is {}, ours was {}",
                stored.0, ours.0
            ),
            Self::Broken(_) => {
                f.write_str("writing to the store failed, and what is on disk is unknown")
            }
        }
    }
}

/// Why something could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The database failed.
    #[error("cannot read {table} of the store")]
    Failed {
        /// What was read.
        table: &'static str,
        /// Why it failed.
        source: Cause,
    },
    /// The database is not in its place any more.
    #[error("{} was moved away, removed or replaced", .0.display())]
    Displaced(PathBuf),
    /// What is there is not what was written.
    #[error("record {key} in {table} of the store is corrupt: {problem}")]
    Corrupt {
        /// The table.
        table: &'static str,
        /// Which record of it.
        key: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A newer release wrote it.
    #[error(
        "record {key} in {table} of the store was written by a newer release (version {version})"
    )]
    Newer {
        /// The table.
        table: &'static str,
        /// Which record of it.
        key: String,
        /// The version of its encoding.
        version: u8,
    },
}
