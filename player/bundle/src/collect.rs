//! Which bundles of a depot are removed: all but those that are pinned and the newest of each name, and
//! what was left behind by whoever did not get to its end.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs::{self, File},
    path::Path,
};

use orchestra_model::BundleName;
use rustix::fs::FlockOperation;

use crate::{
    depot::{Depot, NEW, OLD, StoredBundle, has_prefix, sync_directory},
    error::DepotError,
};

/// What was removed, or would be.
#[derive(Debug)]
pub struct Collection {
    /// Bundles, by name and serial.
    pub removed: Vec<StoredBundle>,
    /// How many bundles stay.
    pub kept: usize,
    /// How many of them stay because they are pinned.
    pub pinned: usize,
    /// How many unfinished directories were removed, or would be.
    pub leftovers: usize,
}

/// Removes what nobody is going to finish, and all bundles but those that are pinned and, beside them,
/// the newest `keep` of each name. With `only_plan` nothing is touched. Damaged bundles stay, and are
/// told by [`Depot::list`].
pub fn collect(depot: &Depot, keep: usize, only_plan: bool) -> Result<Collection, DepotError> {
    let _held = depot.hold()?;
    let mut by_name: BTreeMap<BundleName, Vec<StoredBundle>> = BTreeMap::new();
    let mut collection = Collection { removed: Vec::new(), kept: 0, pinned: 0, leftovers: 0 };
    for bundle in depot.list()?.into_iter().flatten() {
        if bundle.is_pinned() {
            collection.pinned += 1;
        } else {
            by_name.entry(bundle.name().clone()).or_default().push(bundle);
        }
    }
    collection.kept = collection.pinned;
    for (_, mut bundles) in by_name {
        let surplus = bundles.len().saturating_sub(keep);
        collection.kept += bundles.len() - surplus;
        collection.removed.extend(bundles.drain(..surplus));
    }
    for name in depot.names()? {
        let path = depot.path().join(&name);
        if is_leftover(&name, &path) {
            collection.leftovers += 1;
            if !only_plan {
                remove(&path)?;
            }
        }
    }
    if !only_plan {
        for bundle in &collection.removed {
            // First it is no bundle any more, so that none is ever half there.
            let old = depot.path().join(format!("{OLD}{}", bundle.id));
            fs::rename(&bundle.path, &old).map_err(DepotError::io("removing", &bundle.path))?;
            remove(&old)?;
        }
        sync_directory(depot.path())?;
    }
    Ok(collection)
}

/// Whether nobody writes there any more. Who publishes holds a lock on the directory, and a lock ends
/// with its process.
fn is_leftover(name: &OsStr, path: &Path) -> bool {
    if has_prefix(name, OLD) {
        return true;
    }
    let free = || {
        let directory = File::open(path).ok()?;
        rustix::fs::flock(&directory, FlockOperation::NonBlockingLockExclusive).ok()
    };
    has_prefix(name, NEW) && free().is_some()
}

fn remove(path: &Path) -> Result<(), DepotError> {
    fs::remove_dir_all(path).map_err(DepotError::io("removing", path))
}
