//! Bundles on a disk: made from a directory, kept in a depot, received from elsewhere, verified byte by
//! byte, and unpacked.
//!
//! ```text
//! source/   a directory as it is read: entries of a manifest, and the data of its files
//! hash      SHA-256 over whatever comes, chunk by chunk
//! depot     where bundles lie, each in a directory of its own, whole or not there
//! publish   source, manifest, statement and signature together, into a depot
//! verify    whether every byte of a bundle is what its id and its publishers say
//! unpack    a bundle as a directory again, all of it or nothing
//! incoming  a bundle that is still arriving from elsewhere
//! serve     a bundle as it is read for others, whole or as far as it has arrived
//! pin       that a bundle stays in its depot
//! room      bundles that came from elsewhere make room for others
//! collect   which bundles of a depot are removed
//! ```
//!
//! Imports point downwards in this list, but for `hash` and `depot`, which everybody uses. What is
//! read from a depot is judged each time, because whoever can write there may have changed it.
//!
//! Left to others: what a manifest may hold (`orchestra_model::bundle`), and who may publish what for
//! which host.

mod collect;
mod depot;
mod error;
mod hash;
mod incoming;
mod pin;
mod publish;
mod reuse;
mod room;
mod serve;
mod source;
mod unpack;
mod verify;

pub use collect::{Collection, collect};
pub use depot::manifest_of;
pub use depot::{DamagedBundle, Depot, StoredBundle};
pub use error::DepotError;
pub use incoming::{ArrivalSync, ArrivalSynced, ArrivingBundle};
pub use publish::{Publication, Published, publish};
pub use room::DepotRoom;
pub use serve::{ServedBundle, ServedPart};
pub use source::{Exclusion, InvalidExclusion, LeftOut, SourceError, SourceProblem};
pub use unpack::{UnpackError, remove_tree, unpack, unpack_content};
pub use verify::{BundleProblem, Verified, verify};
