//! Why the CA could not do what was asked.

use std::{fmt, io, path::PathBuf};

use orchestra_certs::LoadError;

/// Why a CA could not be made or opened, or a certificate not be issued or written.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// The CA's own files could not be read.
    Load(#[source] LoadError),
    /// The file is no certificate of a CA that `orchestra-certs init` made.
    NotOurs(PathBuf),
    /// The CA's certificate is not of the CA's key.
    OtherKey(PathBuf),
    /// The file is there, and replacing it was not asked for.
    Exists(PathBuf),
    /// Others may look into the directory.
    DirectoryMode {
        /// The directory.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A certificate that is to be revoked could not be read.
    Certificate(#[source] Box<LoadError>),
    /// A file is there, and could not be read.
    Read {
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file holds no certificate, or no revocation list, that could be read.
    Unreadable(PathBuf),
    /// A certificate lies under another name than its own, and is of this subject.
    Misplaced(PathBuf, String),
    /// A certificate that is to be revoked is another CA's.
    Foreign(PathBuf),
    /// A file or directory could not be written.
    Write {
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A certificate that would outlive its CA, or not live a day.
    Days {
        /// What was asked for.
        asked: u32,
        /// What is possible at most.
        most: u64,
    },
    /// The certificate could not be made.
    Make(#[source] rcgen::Error),
    /// A publisher's key that was just made cannot be read.
    Publisher(#[source] Box<LoadError>),
    /// The system has no random numbers.
    Random(getrandom::Error),
}

impl fmt::Display for CaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Load(_) => f.write_str("the CA cannot be opened"),
            Self::Certificate(_) => {
                f.write_str("neither a certificate's file nor a serial number in hex")
            }
            Self::Read { path, .. } => write!(f, "reading {}", path.display()),
            Self::Unreadable(path) => {
                write!(f, "{} holds nothing of the kind that it should", path.display())
            }
            Self::Misplaced(path, subject) => write!(
                f,
                "{} holds the certificate of {subject}; move it away, or to its own name",
                path.display()
            ),
            Self::Foreign(path) => write!(
                f,
                "{} was issued by another CA: that one can revoke it, and this one cannot",
                path.display()
            ),
            Self::NotOurs(path) => write!(
                f,
                "{} is no certificate of a CA that orchestra-certs init made",
                path.display()
            ),
            Self::OtherKey(path) => {
                write!(f, "the private key beside {} is of another certificate", path.display())
            }
            Self::Exists(path) => write!(f, "{} exists and is not replaced", path.display()),
            Self::DirectoryMode { path, mode } => {
                let path = path.display();
                write!(
                    f,
                    "the directory {path} is open to others (mode {mode:04o}); \
                     mend it: chmod 0700 {path}"
                )
            }
            Self::Write { path, .. } => write!(f, "writing {}", path.display()),
            Self::Days { asked, most } => {
                write!(f, "a certificate of {asked} days; 1 to {most} are possible with this CA")
            }
            Self::Make(_) => f.write_str("making the certificate"),
            Self::Publisher(_) => f.write_str("reading the new publisher's key"),
            Self::Random(cause) => write!(f, "drawing a serial number: {cause}"),
        }
    }
}
