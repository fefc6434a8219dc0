//! A directory as it is read to become a bundle.
//!
//! First it is looked at: which entries there are, and whether a bundle can hold them. So what is wrong
//! is told at once, all of it, before gigabytes were read. Then files are read in the order of the
//! manifest. A file that changes meanwhile is an error: a bundle is what was there at one moment, or
//! nothing.

mod exclusion;
mod read;
mod survey;

use std::{
    collections::BTreeSet,
    fmt,
    fs::File,
    io,
    path::{Path, PathBuf},
};

use orchestra_model::bundle::{BundleEntry, BundlePath, ContentHash};
use rustix::fs::{CWD, Mode, OFlags};

pub use exclusion::{Exclusion, InvalidExclusion};

/// How many problems of a directory are told; all are counted.
const TOLD: usize = 20;

/// What of a directory becomes a bundle.
#[derive(Clone, Debug, Default)]
pub(crate) struct Choice {
    /// What is left out.
    pub(crate) exclude: Vec<Exclusion>,
    /// Names of extended attributes that are carried.
    pub(crate) xattrs: BTreeSet<Vec<u8>>,
}

/// A directory, read.
pub(crate) struct Tree {
    pub(crate) top_mode: u16,
    pub(crate) entries: Vec<BundleEntry>,
    /// Of the content that was written.
    pub(crate) chunks: Vec<ContentHash>,
    pub(crate) left_out: LeftOut,
}

/// What a directory has and the bundle does not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// How many entries patterns left out; what is in a directory that was left out is not counted.
    pub excluded: usize,
    /// Patterns that fitted nothing.
    pub idle_patterns: Vec<String>,
    /// Names of extended attributes that entries have and that were not asked for.
    pub xattrs: BTreeSet<String>,
}

/// Why a directory cannot become a bundle.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The directory itself cannot be read.
    #[error("reading the directory {}", path.display())]
    Top { path: PathBuf, source: io::Error },
    /// Some of it cannot be read, or be in a bundle.
    #[error("{}{}", Told(problems), Rest(*wrong, problems.len()))]
    Problems {
        /// The first of them.
        problems: Vec<SourceProblem>,
        /// How many there are.
        wrong: usize,
    },
    /// The content could not be written.
    #[error("writing {}", path.display())]
    Content { path: PathBuf, source: io::Error },
}

/// What is wrong with one entry of a directory.
#[derive(Debug)]
pub struct SourceProblem {
    /// From the directory on.
    pub path: BundlePath,
    pub why: String,
}

/// Problems, a line each.
struct Told<'a>(&'a [SourceProblem]);

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, SourceProblem { path, why }) in self.0.iter().enumerate() {
            let before = if n == 0 { "" } else { "\n" };
            write!(f, "{before}{path}: {why}")?;
        }
        Ok(())
    }
}

/// How many problems are not told.
struct Rest(usize, usize);

impl fmt::Display for Rest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.saturating_sub(self.1) {
            0 => Ok(()),
            rest => write!(f, "\nand {rest} more"),
        }
    }
}

/// Problems while they are gathered.
#[derive(Default)]
struct Gathered {
    problems: Vec<SourceProblem>,
    wrong: usize,
}

impl Gathered {
    fn note(&mut self, path: &BundlePath, why: impl Into<String>) {
        self.wrong += 1;
        if self.problems.len() < TOLD {
            self.problems.push(SourceProblem { path: path.clone(), why: why.into() });
        }
    }

    fn into_result(self) -> Result<(), SourceError> {
        let Self { problems, wrong } = self;
        if wrong == 0 { Ok(()) } else { Err(SourceError::Problems { problems, wrong }) }
    }
}

/// Reads the directory at `path`, and writes the data of its files to `content`, a new file at
/// `content_path`.
pub(crate) fn read(
    path: &Path,
    choice: &Choice,
    content: File,
    content_path: &Path,
) -> Result<Tree, SourceError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let top = rustix::fs::openat(CWD, path, flags, Mode::empty());
    let top = top.map_err(|error| SourceError::Top { path: path.into(), source: error.into() })?;
    let survey = survey::survey(&top, path, choice)?;
    read::read(&top, survey, choice, content, content_path)
}
