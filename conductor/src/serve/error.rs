//! Why the conductor did not start, or had to stop.

use std::{error::Error, fmt, io, net::SocketAddr, path::PathBuf};

use orchestra_store::{CommitError, OpenError};

use crate::{
    config::InvalidConfig, fleet::InvalidFleet, proof::InvalidKey, reading::Unread, tls::InvalidTls,
};

/// Why the conductor did not start, or had to stop.
#[derive(Debug)]
pub enum ServeError {
    /// The configuration cannot be used.
    Config(InvalidConfig),
    /// Files take too long to be read.
    Read(Unread),
    /// The players file, the groups or the deployments cannot be used.
    Fleet(InvalidFleet),
    /// Certificates or key cannot be used.
    Tls(InvalidTls),
    /// The store cannot be opened.
    Open(OpenError),
    /// The key that orders are proven with cannot be used.
    ProofKey(InvalidKey),
    /// The store cannot be read.
    Recover(Box<dyn Error + Send + Sync>),
    /// The address cannot be listened on.
    Listen(SocketAddr, io::Error),
    /// A file of the state directory cannot be written.
    Write(PathBuf, io::Error),
    /// The players file lacks too much of the fleet, or the deployments do not suit a living flow.
    Roster(Box<dyn Error + Send + Sync>),
    /// The store failed while running: what is on disk is what counts.
    Store(CommitError),
    /// The runtime or a thread cannot be started.
    System(io::Error),
    /// The server failed.
    Server(Box<dyn Error + Send + Sync>),
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // It says so itself.
            Self::Read(cause) => cause.fmt(f),
            Self::Config(_) => f.write_str("the configuration cannot be used"),
            Self::Fleet(_) => f.write_str("the fleet's files cannot be used"),
            // It says so itself.
            Self::Tls(cause) => cause.fmt(f),
            Self::Roster(cause) => cause.fmt(f),
            Self::ProofKey(cause) => cause.fmt(f),
            Self::Open(_) => f.write_str("the store cannot be opened"),
            Self::Recover(_) => f.write_str("the store cannot be read"),
            Self::Listen(address, _) => write!(f, "cannot listen on {address}"),
            Self::Write(path, _) => write!(f, "cannot write {}", path.display()),
            Self::Store(_) => f.write_str("the store failed"),
            Self::System(_) => f.write_str("the system gives no threads or signals"),
            Self::Server(_) => f.write_str("the server failed"),
        }
    }
}

impl Error for ServeError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Read(cause) => cause.source(),
            Self::Config(cause) => Some(cause),
            Self::Fleet(cause) => Some(cause),
            Self::Tls(cause) => cause.source(),
            Self::ProofKey(cause) => cause.source(),
            Self::Open(cause) => Some(cause),
            Self::Recover(cause) | Self::Server(cause) => Some(cause.as_ref()),
            Self::Listen(_, cause) | Self::Write(_, cause) | Self::System(cause) => Some(cause),
            Self::Store(cause) => Some(cause),
            Self::Roster(cause) => cause.source(),
        }
    }
}
