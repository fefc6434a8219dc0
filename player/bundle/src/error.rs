//! Why something could not be done with a depot.

use std::{io, path::PathBuf};

use orchestra_model::{
    BundleName,
    bundle::{
        BundleId, BundleReference, BundleSerial, InvalidManifest, InvalidSerial, TooManySignatures,
    },
};

use orchestra_depot::NoRoomInDepot;

use crate::source::SourceError;

/// Why something could not be done with a depot, or a bundle in it.
#[derive(Debug, thiserror::Error)]
pub enum DepotError {
    /// The system did not do something with a file.
    #[error("{attempt} {}", path.display())]
    Io {
        /// What was attempted: `reading`.
        attempt: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    /// There is no such bundle.
    #[error("there is no bundle {reference} in the depot {}", depot.display())]
    Unknown { reference: BundleReference, depot: PathBuf },
    /// Several bundles are meant.
    #[error("{reference} may be any of {} bundles: {}", ids.len(), listed(ids))]
    Ambiguous { reference: BundleReference, ids: Vec<BundleId> },
    /// Another bundle has this name and serial.
    #[error("{name}@{serial} is in the depot already, and is another bundle: {id}")]
    SerialTaken { name: BundleName, serial: BundleSerial, id: BundleId },
    /// A bundle's file is not what it should be.
    #[error("{}: {why}", path.display())]
    Damaged { path: PathBuf, why: String },
    /// The directory cannot become a bundle.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// What was read from the directory is more than a bundle can hold.
    #[error("{} cannot be a bundle", path.display())]
    Manifest { path: PathBuf, source: InvalidManifest },
    /// Somebody else receives the bundle.
    #[error("the bundle {0} is being received already")]
    Receiving(BundleId),
    /// The bundle is whole.
    #[error("the bundle {0} is in the depot already")]
    Whole(BundleId),
    /// Its bundles leave no room for another one.
    #[error("there is no room in the depot {}: {why}", depot.display())]
    NoRoom { depot: PathBuf, why: NoRoomInDepot },
    #[error("there is no further serial")]
    Serial(#[source] InvalidSerial),
    #[error("signing {0}")]
    Signatures(BundleId, #[source] TooManySignatures),
}

fn listed(ids: &[BundleId]) -> String {
    ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

impl DepotError {
    /// For `map_err`: what was attempted, on what.
    pub(crate) fn io(
        attempt: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { attempt, path, source }
    }
}
