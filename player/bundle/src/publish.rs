//! Makes a bundle of a directory, and puts it into a depot.

use std::{collections::BTreeSet, fs::File, io, path::Path};

use orchestra_certs::Publisher;
use orchestra_model::{
    BundleName, HostName, Timestamp,
    bundle::{BundleId, BundleSerial, BundleStatement, Manifest, Seal},
};
use rustix::fs::FlockOperation;
use tempfile::TempDir;

use crate::{
    depot::{CONTENT, Depot, MANIFEST, NEW, StoredBundle, write_file, write_seal},
    error::DepotError,
    hash,
    source::{self, Choice, Exclusion, LeftOut, Tree},
};

/// What is to be published of a directory.
#[derive(Clone, Debug)]
pub struct Publication {
    /// The domain of the fleet that it is for.
    pub domain: HostName,
    pub name: BundleName,
    /// Without: one more than the highest of this name in the depot.
    pub serial: Option<BundleSerial>,
    /// From when on nobody is to take it any more.
    pub expires: Option<Timestamp>,
    /// What is left out.
    pub exclude: Vec<Exclusion>,
    /// Names of extended attributes that are carried, each with `user.` before it.
    pub xattrs: BTreeSet<Vec<u8>>,
}

/// A bundle that was published.
#[derive(Debug)]
pub struct Published {
    pub bundle: StoredBundle,
    /// Whether this very bundle was in the depot already.
    pub was_there: bool,
    pub left_out: LeftOut,
}

/// Reads the directory `source`, and puts it into a depot as a bundle, signed by each of `publishers`.
///
/// The depot's directory is made where it is not there. Nothing of the bundle is there before all of it
/// is on disk. A name and serial that another bundle of the depot has is refused; if it is this very
/// bundle, the signatures are added to it.
pub fn publish(
    source: &Path,
    depot: &Depot,
    publication: &Publication,
    publishers: &[Publisher],
) -> Result<Published, DepotError> {
    depot.make()?;
    let staging = stage(depot)?;
    let Publication { exclude, xattrs, .. } = publication;
    let choice = Choice { exclude: exclude.clone(), xattrs: xattrs.clone() };
    let content_path = staging.directory.path().join(CONTENT);
    let content = File::options().read(true).write(true).create_new(true).open(&content_path);
    let content = content.map_err(DepotError::io("writing", &content_path))?;
    let tree = source::read(source, &choice, content, &content_path)?;
    // The serial is chosen when nobody else can choose one.
    let _held = depot.hold()?;
    let left_out = tree.left_out.clone();
    let manifest = manifest_of(tree, source, depot, publication)?;
    let bytes = manifest.encode();
    let id = hash::id_of(&bytes);
    let (mut bundle, was_there) = match taken(depot, &manifest, id)? {
        Some(there) => (there, true),
        None => {
            let domain = publication.domain.clone();
            let said = BundleStatement::of(&manifest, id, bytes.len() as u64, domain);
            write_file(&staging.directory.path().join(MANIFEST), &bytes)?;
            write_seal(staging.directory.path(), &Seal::unsigned(said))?;
            (depot.admit(&staging.directory.keep(), id)?, false)
        }
    };
    for publisher in publishers {
        bundle.add_signature(publisher.sign(&bundle.seal.statement))?;
    }
    Ok(Published { bundle, was_there, left_out })
}

/// Where a bundle is written before it is one.
struct Staging {
    directory: TempDir,
    /// Says that somebody still writes there.
    _lock: File,
}

fn stage(depot: &Depot) -> Result<Staging, DepotError> {
    let failed = || DepotError::io("writing to the depot", depot.path());
    let directory = tempfile::Builder::new().prefix(NEW).tempdir_in(depot.path());
    let directory = directory.map_err(failed())?;
    let lock = File::open(directory.path()).map_err(failed())?;
    rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive)
        .map_err(io::Error::from)
        .map_err(failed())?;
    Ok(Staging { directory, _lock: lock })
}

fn manifest_of(
    tree: Tree,
    source: &Path,
    depot: &Depot,
    publication: &Publication,
) -> Result<Manifest, DepotError> {
    let Publication { name, expires, .. } = publication;
    let serial = match publication.serial {
        Some(serial) => serial,
        None => next_serial(depot, name)?,
    };
    let Tree { top_mode, entries, chunks, .. } = tree;
    Manifest::new(name.clone(), serial, *expires, top_mode, entries, chunks)
        .map_err(|why| DepotError::Manifest { path: source.to_owned(), source: why })
}

fn next_serial(depot: &Depot, name: &BundleName) -> Result<BundleSerial, DepotError> {
    let bundles = depot.list()?;
    let own = bundles.iter().flatten().filter(|bundle| bundle.name() == name);
    match own.map(StoredBundle::serial).max() {
        Some(highest) => highest.next().map_err(DepotError::Serial),
        None => Ok(BundleSerial::FIRST),
    }
}

/// The bundle of this id, if it is there already. Another bundle of this name and serial is an error.
fn taken(
    depot: &Depot,
    manifest: &Manifest,
    id: BundleId,
) -> Result<Option<StoredBundle>, DepotError> {
    for bundle in depot.list()?.into_iter().flatten() {
        if bundle.id == id {
            return Ok(Some(bundle));
        }
        let (name, serial) = (manifest.name(), manifest.serial());
        if bundle.name() == name && bundle.serial() == serial {
            return Err(DepotError::SerialTaken { name: name.clone(), serial, id: bundle.id });
        }
    }
    Ok(None)
}
