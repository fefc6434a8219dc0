//! Why the conductor did not start, or had to stop.

use std::{error::Error, io, net::SocketAddr, path::PathBuf};

use orchestra_store::{CommitError, OpenError};

use crate::{
    config::InvalidConfig, fleet::InvalidFleet, proof::InvalidKey, reading::Unread, tls::InvalidTls,
};

/// Why the conductor did not start, or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The configuration cannot be used.
    #[error("the configuration cannot be used")]
    Config(#[source] InvalidConfig),
    /// Files take too long to be read.
    #[error(transparent)]
    Read(Unread),
    /// The players file, the groups or the deployments cannot be used.
    #[error("the fleet's files cannot be used")]
    Fleet(#[source] InvalidFleet),
    /// Certificates or key cannot be used.
    #[error(transparent)]
    Tls(InvalidTls),
    /// The store cannot be opened.
    #[error("the store cannot be opened")]
    Open(#[source] OpenError),
    /// The key by which orders are proven cannot be used.
    #[error(transparent)]
    ProofKey(InvalidKey),
    /// The store cannot be read.
    #[error("the store cannot be read")]
    Recover(#[source] Box<dyn Error + Send + Sync>),
    /// The address cannot be listened on.
    #[error("cannot listen on {0}")]
    Listen(SocketAddr, #[source] io::Error),
    /// A file of the state directory cannot be written.
    #[error("cannot write {}", .0.display())]
    Write(PathBuf, #[source] io::Error),
    /// The players file lacks too much of the fleet, or the deployments do not suit a living flow.
    #[error(transparent)]
    Roster(Box<dyn Error + Send + Sync>),
    /// The store failed while the conductor ran. What is on disk counts.
    #[error("the store failed")]
    Store(#[source] CommitError),
    /// The runtime or a thread cannot be started.
    #[error("the system gives no threads or signals")]
    System(#[source] io::Error),
    /// The server failed.
    #[error("the server failed")]
    Server(#[source] Box<dyn Error + Send + Sync>),
}
