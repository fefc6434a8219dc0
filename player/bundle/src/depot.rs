//! A depot: a directory of bundles.
//!
//! ```text
//! DEPOT/.lock                  held while a bundle is put into its place, or removed
//! DEPOT/.new-…/                a bundle that is being written; whoever writes it holds a lock on it
//! DEPOT/.old-…/                a bundle that is being removed
//! DEPOT/incoming/              bundles that are still arriving (`incoming.rs`)
//! DEPOT/sha256-…/manifest      its hash is the directory's name
//!                 content      the data of all files
//!                 seal         statement and signatures; the one file that may be replaced
//!                 pin          an empty file: the bundle stays (`pin.rs`)
//! ```
//!
//! A bundle gets its name by one rename, once all its bytes are on disk, so it is whole or not there.

use std::{
    ffi::OsStr,
    fs::{self, DirBuilder, File, Permissions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use orchestra_certs::Publisher;
use orchestra_model::{
    BundleName,
    bundle::{BundleId, BundleReference, BundleSerial, Manifest, Seal, StatementSignature},
    limits,
};
use rustix::fs::{FlockOperation, Mode, OFlags};

use crate::{error::DepotError, hash};

const LOCK: &str = ".lock";
pub(crate) const NEW: &str = ".new-";
pub(crate) const OLD: &str = ".old-";
pub(crate) const MANIFEST: &str = "manifest";
pub(crate) const CONTENT: &str = "content";
const SEAL: &str = "seal";

/// Who may read a depot: its owner, and the group that serves it.
pub(crate) const DIRECTORY_MODE: u32 = 0o750;
const FILE_MODE: u32 = 0o640;
/// What is made in a directory with this bit is of the directory's group.
const SETGID: u32 = 0o2000;

/// How everything of a depot is opened: no link is followed, and nothing is waited for.
const UNLED: OFlags = OFlags::NOFOLLOW.union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);

/// A directory of bundles.
#[derive(Clone, Debug)]
pub struct Depot {
    path: PathBuf,
}

/// A bundle in a depot.
#[derive(Clone, Debug)]
pub struct StoredBundle {
    pub(crate) path: PathBuf,
    pub id: BundleId,
    /// What is said of it. Whether the signatures are good is not known yet.
    pub seal: Seal,
}

/// A bundle whose seal cannot be read.
#[derive(Debug)]
pub struct DamagedBundle {
    pub id: BundleId,
    pub why: DepotError,
}

impl Depot {
    /// The depot in this directory, which need not be there yet.
    pub fn at(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the directory, where it is not there. Its parent has to be.
    pub(crate) fn make(&self) -> Result<(), DepotError> {
        match DirBuilder::new().mode(DIRECTORY_MODE).create(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                Err(DepotError::io("making the depot", &self.path)(error))
            }
            _ => Ok(()),
        }
    }

    /// Waits until nobody else puts a bundle into its place or removes one. The depot is held while the
    /// file lives.
    pub(crate) fn hold(&self) -> Result<File, DepotError> {
        let path = self.path.join(LOCK);
        let failed = || DepotError::io("locking the depot by", &path);
        // Whoever can write to the depot may have put a link there, or what blocks.
        let flags = OFlags::RDWR | OFlags::CREATE | UNLED;
        let mode = Mode::from_raw_mode(0o666);
        let file = rustix::fs::open(&path, flags, mode).map_err(io::Error::from);
        let file = File::from(file.map_err(failed())?);
        rustix::fs::flock(&file, FlockOperation::LockExclusive)
            .map_err(io::Error::from)
            .map_err(failed())?;
        Ok(file)
    }

    /// Every bundle, by name and serial, those that are damaged last.
    pub fn list(&self) -> Result<Vec<Result<StoredBundle, DamagedBundle>>, DepotError> {
        let mut bundles = Vec::new();
        for name in self.names()? {
            let Some(id) = name.to_str().and_then(|name| name.parse().ok()) else { continue };
            bundles.push(self.open(id).map_err(|why| DamagedBundle { id, why }));
        }
        bundles.sort_by(|one, other| order(one).cmp(&order(other)));
        Ok(bundles)
    }

    /// Whether there is a whole bundle of this id.
    pub(crate) fn has(&self, id: BundleId) -> bool {
        self.path.join(id.to_string()).exists()
    }

    /// The names of everything in the depot.
    pub(crate) fn names(&self) -> Result<Vec<std::ffi::OsString>, DepotError> {
        let failed = || DepotError::io("reading the depot", &self.path);
        let entries = fs::read_dir(&self.path).map_err(failed())?;
        let names: Result<_, io::Error> = entries.map(|entry| Ok(entry?.file_name())).collect();
        names.map_err(failed())
    }

    /// The one bundle that is meant.
    pub fn find(&self, reference: &BundleReference) -> Result<StoredBundle, DepotError> {
        let mut meant: Vec<StoredBundle> = Vec::new();
        for listed in self.list()? {
            match listed {
                Ok(bundle) if bundle.is_meant_by(reference) => meant.push(bundle),
                // Whoever names it by its id is told what is wrong.
                Err(DamagedBundle { id, why }) => match reference {
                    BundleReference::Id(start) if id.to_string().starts_with(start) => {
                        return Err(why);
                    }
                    _ => {}
                },
                Ok(_) => {}
            }
        }
        if let (BundleReference::Newest(_), Some(newest)) = (reference, meant.last()) {
            let newest = newest.serial();
            meant.retain(|bundle| bundle.serial() == newest);
        }
        match meant.len() {
            0 => {
                Err(DepotError::Unknown { reference: reference.clone(), depot: self.path.clone() })
            }
            1 => Ok(meant.swap_remove(0)),
            _ => Err(DepotError::Ambiguous {
                reference: reference.clone(),
                ids: meant.iter().map(|bundle| bundle.id).collect(),
            }),
        }
    }

    /// The bundle with this id.
    pub(crate) fn open(&self, id: BundleId) -> Result<StoredBundle, DepotError> {
        self.open_in(&self.path.join(id.to_string()), id)
    }

    /// The bundle with this id, which lies in this directory.
    pub(crate) fn open_in(&self, path: &Path, id: BundleId) -> Result<StoredBundle, DepotError> {
        let file = path.join(SEAL);
        let damaged = |why: String| DepotError::Damaged { path: file.clone(), why };
        let bytes = read_bounded(path, SEAL, Seal::BYTES)?;
        let seal = Seal::decode(&bytes).map_err(|why| damaged(why.to_string()))?;
        if seal.statement.id != id {
            return Err(damaged(format!("it is of another bundle, {}", seal.statement.id)));
        }
        Ok(StoredBundle { path: path.to_owned(), id, seal })
    }

    /// Adds the signatures of publishers to what is said of a bundle, and returns it as it is then.
    pub fn sign(
        &self,
        bundle: &StoredBundle,
        publishers: &[Publisher],
    ) -> Result<StoredBundle, DepotError> {
        let _held = self.hold()?;
        // Somebody else may have signed it meanwhile.
        let mut signed = self.open(bundle.id)?;
        if signed.seal.statement != bundle.seal.statement {
            let path = signed.path.join(SEAL);
            let why = "its statement was replaced meanwhile".to_owned();
            return Err(DepotError::Damaged { path, why });
        }
        for publisher in publishers {
            signed.add_signature(publisher.sign(&bundle.seal.statement))?;
        }
        Ok(signed)
    }

    /// Puts what was written into a directory of this depot into its place.
    pub(crate) fn admit(&self, written: &Path, id: BundleId) -> Result<StoredBundle, DepotError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | UNLED;
        let opened = rustix::fs::open(written, flags, Mode::empty()).map_err(io::Error::from);
        let opened = opened.map(File::from).and_then(|directory| {
            // Where a depot hands its group on, its bundles do as well.
            let mode = DIRECTORY_MODE | directory.metadata()?.permissions().mode() & SETGID;
            directory.set_permissions(Permissions::from_mode(mode))
        });
        opened.map_err(DepotError::io("opening to others", written))?;
        sync_directory(written)?;
        let path = self.path.join(id.to_string());
        fs::rename(written, &path).map_err(DepotError::io("putting into its place", &path))?;
        sync_directory(&self.path)?;
        self.open(id)
    }
}

/// The manifest in these bytes, which have the hash that the bundle's id is, and of which the statement
/// is. Fails with what is wrong with it.
pub fn manifest_of(bytes: &[u8], seal: &Seal) -> Result<Manifest, String> {
    if hash::id_of(bytes) != seal.statement.id {
        return Err("its hash is not the bundle's id".to_owned());
    }
    let manifest = Manifest::decode(bytes).map_err(|why| why.to_string())?;
    if !seal.statement.is_of(&manifest, bytes.len() as u64) {
        return Err("the bundle's statement says something else".to_owned());
    }
    Ok(manifest)
}

/// By name and serial, and what cannot say them last.
fn order(
    listed: &Result<StoredBundle, DamagedBundle>,
) -> (bool, Option<(&BundleName, BundleSerial)>, BundleId) {
    match listed {
        Ok(bundle) => (false, Some((bundle.name(), bundle.serial())), bundle.id),
        Err(damaged) => (true, None, damaged.id),
    }
}

impl StoredBundle {
    pub fn name(&self) -> &BundleName {
        &self.seal.statement.name
    }

    pub fn serial(&self) -> BundleSerial {
        self.seal.statement.serial
    }

    /// The directory that holds it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn is_meant_by(&self, reference: &BundleReference) -> bool {
        reference.fits(self.id, self.name(), self.serial())
    }

    /// Its encoded manifest, of which nothing is known yet.
    pub(crate) fn manifest_bytes(&self) -> Result<Vec<u8>, DepotError> {
        read_bounded(&self.path, MANIFEST, limits::MANIFEST_BYTES)
    }

    /// Its manifest, which has the hash that the bundle's id is, and of which its statement is.
    pub fn manifest(&self) -> Result<Manifest, DepotError> {
        let path = self.path.join(MANIFEST);
        let bytes = self.manifest_bytes()?;
        manifest_of(&bytes, &self.seal).map_err(|why| DepotError::Damaged { path, why })
    }

    /// The data of all files.
    pub(crate) fn content(&self) -> Result<File, DepotError> {
        open_regular(&self.path, CONTENT)
    }

    /// Adds a signature; an earlier one of the same key is replaced.
    pub(crate) fn add_signature(&mut self, one: StatementSignature) -> Result<(), DepotError> {
        let mut seal = self.seal.clone();
        seal.add(one).map_err(|source| DepotError::Signatures(self.id, source))?;
        write_seal(&self.path, &seal)?;
        self.seal = seal;
        Ok(())
    }
}

/// Writes a seal into a bundle's directory, durably, in the place of another one.
pub(crate) fn write_seal(directory: &Path, seal: &Seal) -> Result<(), DepotError> {
    let path = directory.join(SEAL);
    let failed = || DepotError::io("writing", &path);
    let new = tempfile::Builder::new().prefix(NEW).tempfile_in(directory).map_err(failed())?;
    fill(new.as_file(), &seal.encode()).map_err(failed())?;
    new.persist(&path).map_err(|error| failed()(error.error))?;
    sync_directory(directory)
}

/// Writes a new file, durably.
pub(crate) fn write_file(path: &Path, bytes: &[u8]) -> Result<(), DepotError> {
    let written = File::options().write(true).create_new(true).open(path);
    let written = written.and_then(|file| fill(&file, bytes));
    written.map_err(DepotError::io("writing", path))
}

fn fill(mut file: &File, bytes: &[u8]) -> io::Result<()> {
    file.write_all(bytes)?;
    settle(file)
}

/// Makes a file durable, and readable for whoever serves it.
pub(crate) fn settle(file: &File) -> io::Result<()> {
    open_to_readers(file)?;
    file.sync_all()
}

/// Makes a file readable for whoever serves it.
pub(crate) fn open_to_readers(file: &File) -> io::Result<()> {
    file.set_permissions(Permissions::from_mode(FILE_MODE))
}

pub(crate) fn sync_directory(path: &Path) -> Result<(), DepotError> {
    let synced = File::open(path).and_then(|directory| directory.sync_all());
    synced.map_err(DepotError::io("writing", path))
}

/// Whether a name of the depot is one that `prefix` begins.
pub(crate) fn has_prefix(name: &OsStr, prefix: &str) -> bool {
    name.as_encoded_bytes().starts_with(prefix.as_bytes())
}

/// Opens a file of a bundle's directory to be read. Whoever can write to the depot may have put anything
/// there: no link is followed, be it the directory or the file, and nothing is opened that could block.
pub(crate) fn open_regular(directory: &Path, name: &str) -> Result<File, DepotError> {
    let failed = || DepotError::io("reading", directory.join(name));
    let open = || {
        let above = OFlags::PATH | OFlags::DIRECTORY | UNLED;
        let above = rustix::fs::open(directory, above, Mode::empty())?;
        rustix::fs::openat(above, name, OFlags::RDONLY | UNLED, Mode::empty())
    };
    let file = File::from(open().map_err(io::Error::from).map_err(failed())?);
    match file.metadata().map_err(failed())?.is_file() {
        true => Ok(file),
        false => {
            let why = io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file");
            Err(failed()(why))
        }
    }
}

/// All of a file of a bundle's directory that has at most so many bytes.
fn read_bounded(directory: &Path, name: &str, most: usize) -> Result<Vec<u8>, DepotError> {
    let path = directory.join(name);
    let mut bytes = Vec::new();
    let read = open_regular(directory, name)?.take(most as u64 + 1).read_to_end(&mut bytes);
    read.map_err(DepotError::io("reading", &path))?;
    if bytes.len() > most {
        let why = format!("it is larger than {most} bytes");
        return Err(DepotError::Damaged { path, why });
    }
    Ok(bytes)
}
