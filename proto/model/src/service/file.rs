//! Files of `services.d`: what one is to the service that it names, and what came of reading it.

use std::sync::Arc;

use crate::{names::ServiceName, service::ServiceVersion, state::kebab_enum};

/// A file of `services.d`, as far as it concerns a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceFile {
    /// As people are told: `services.d/web.yaml`.
    pub name: Arc<str>,
    /// SHA-256 over what it said last. It is applied again only where it says something else, so that
    /// it never fights what somebody did meanwhile.
    pub content: [u8; 32],
    /// What it is to the service.
    pub standing: FileStanding,
}

kebab_enum!(
    /// What a file is to a service that it names.
    FileStanding {
        /// The service belongs to it.
        InForce = "in-force",
        /// The service belongs to it, and it is not there any more: the service stays as it was.
        Gone = "gone",
        /// An audience took the service over. The file counts for nothing until it is given back.
        TakenOver = "taken-over",
    }
);

impl ServiceFile {
    /// Whether the service belongs to it.
    pub fn owns(&self) -> bool {
        self.standing != FileStanding::TakenOver
    }
}

/// What came of a file, where that is news.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileOutcome {
    /// The file, as people are told.
    pub file: Arc<str>,
    /// The service that it names, or named.
    pub service: ServiceName,
    /// The version that is wanted of it.
    pub version: ServiceVersion,
    /// What came of it.
    pub change: FileChange,
}

kebab_enum!(
    /// What a file that was read, or is not there any more, changes.
    FileChange {
        /// It says something else than before: a new version.
        Applied = "applied",
        /// The service belongs to it from now on, as it is.
        Owns = "owns",
        /// It is gone; the service stays as it is.
        Gone = "gone",
    }
);
