//! That a bundle stays in its depot: it is in no collection, and makes no room for others.

use std::{fs, io, path::Path};

use crate::{
    depot::{Depot, StoredBundle, sync_directory, write_file},
    error::DepotError,
};

const PIN: &str = "pin";

impl Depot {
    /// Has a bundle stay, durably. Returns whether it was not pinned before.
    pub fn pin(&self, bundle: &StoredBundle) -> Result<bool, DepotError> {
        let _held = self.hold()?;
        // Somebody may have removed it meanwhile.
        let bundle = self.open(bundle.id)?;
        if bundle.is_pinned() {
            return Ok(false);
        }
        write_file(&bundle.path.join(PIN), &[])?;
        sync_directory(&bundle.path)?;
        Ok(true)
    }

    /// Lets a bundle go as all others do. Returns whether it was pinned.
    pub fn unpin(&self, bundle: &StoredBundle) -> Result<bool, DepotError> {
        let _held = self.hold()?;
        let path = bundle.path.join(PIN);
        match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(DepotError::io("removing", path)(error)),
            Ok(()) => sync_directory(&bundle.path).map(|()| true),
        }
    }
}

impl StoredBundle {
    /// Whether it stays in its depot.
    pub fn is_pinned(&self) -> bool {
        is_pinned(&self.path)
    }
}

/// Whether the bundle in this directory stays. What cannot be read counts as pinned: a bundle that is
/// removed is gone.
pub(crate) fn is_pinned(directory: &Path) -> bool {
    match fs::symlink_metadata(directory.join(PIN)) {
        Err(error) => error.kind() != io::ErrorKind::NotFound,
        Ok(_) => true,
    }
}
