//! Fetching a bundle from relays of other hosts into this player's depot.
//!
//! ```text
//!   orders, other sources          progress, complaints
//!            │                              ▲
//!            ▼                              │
//!   driver: [`orchestra_depot::Fetch`], the clock, and a connection at a time
//!            │  ▲                           │  ▲
//!    dial, ask  frames             write, sync  written, synced
//!            ▼  │                           ▼  │
//!       link: one relay               disk: a thread that hashes and writes
//! ```
//!
//! The driver decides nothing: whom to ask, and when to go elsewhere, is the engine's. Nobody waits for
//! the disk but the disk's own thread, and no more parts are in memory than the engine asks for.

mod disk;
mod driver;
mod fetcher;
mod link;

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use orchestra_bundle::{DepotError, DepotRoom};
use orchestra_certs::{NewestLists, TlsFiles};
use orchestra_depot::{FetchFailure, FetchProgress, SourceFault};
use orchestra_model::{HostName, relay::FetchSources};

pub use driver::fetch;
pub use fetcher::{FetchWord, start};

/// Where bundles are fetched to, and as whom.
#[derive(Clone, Debug)]
pub struct FetchPlace {
    pub depot: PathBuf,
    /// How much of the disk bundles from elsewhere may take.
    pub room: DepotRoom,
    /// The fleet's domain.
    pub domain: HostName,
    /// This player's certificate and key, read anew for each connection.
    pub files: TlsFiles,
    pub newest: NewestLists,
}

/// What is told while a bundle is fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FetchEvent {
    /// What is here already was found, and others can be served it, and what comes: from now on sources
    /// may be named. Told once, before everything else.
    Ready,
    /// How far it is; once a second.
    Progress(FetchProgress),
    /// A source is not asked again.
    Complaint { source: HostName, fault: SourceFault },
}

/// Why a bundle is not there.
#[derive(Debug, thiserror::Error)]
pub enum NotFetched {
    /// The depot cannot receive it.
    #[error(transparent)]
    Depot(#[from] DepotError),
    /// It could not be had, or the disk did not take it.
    #[error("{0}")]
    Failed(FetchFailure),
    /// Nobody wants it any more.
    #[error("nobody waits for the bundle any more")]
    Unwanted,
    /// The thread that writes ended.
    #[error("what writes to the depot has ended")]
    NoDisk,
}

/// The sources in force, as a connection needs them.
#[derive(Clone, Debug)]
struct InForce {
    addresses: BTreeMap<HostName, String>,
    /// As it is sent.
    ticket: Arc<[u8]>,
}

impl InForce {
    fn of(sources: &FetchSources) -> Self {
        Self {
            addresses: sources.relays.iter().cloned().collect(),
            ticket: sources.ticket.encode().into(),
        }
    }
}
