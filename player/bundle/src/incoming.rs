//! A bundle of a depot that is still arriving.
//!
//! ```text
//! DEPOT/incoming/sha256-…/     whoever writes there holds a lock on it
//!     seal             statement and signatures, as they came with the order
//!     manifest.part    pieces of the manifest, of which nothing is known yet
//!     manifest         once all of it is here, and its hash is the bundle's id
//!     content          as long as it will be, with a hole where a chunk is missing
//!     arrival          the journal: which chunks are here (`orchestra_model::bundle`)
//! ```
//!
//! Others may be served a chunk as soon as the journal names it. When all is here and on disk, the
//! directory gets its place among the whole bundles by one rename. It keeps its journal there: by that
//! it is known that it came from elsewhere and may make room for others; what was published here may not.

use std::{
    fs::{self, DirBuilder, File, FileTimes},
    io::{self, Read as _, Seek as _, SeekFrom},
    os::unix::fs::{DirBuilderExt as _, FileExt as _},
    path::{Path, PathBuf},
    time::SystemTime,
};

use orchestra_model::bundle::{
    ArrivalJournal, ArrivalRecord, BundleId, BundlePart, BundleShape, ChunkRanges, Manifest, Seal,
};
use rustix::{fs::FlockOperation, io::Errno};

use crate::{
    depot::{
        CONTENT, DIRECTORY_MODE, Depot, MANIFEST, NEW, StoredBundle, manifest_of, open_to_readers,
        settle, sync_directory, write_seal,
    },
    error::DepotError,
    hash,
};

/// Where bundles of a depot arrive.
pub(crate) const INCOMING: &str = "incoming";
/// The journal of a bundle that came from elsewhere.
pub(crate) const ARRIVAL: &str = "arrival";
const PIECES: &str = "manifest.part";

/// A bundle that is arriving. Nobody else writes there while it lives.
#[derive(Debug)]
pub struct ArrivingBundle {
    depot: Depot,
    directory: PathBuf,
    id: BundleId,
    shape: BundleShape,
    seal: Seal,
    manifest: Option<Manifest>,
    pieces: File,
    content: File,
    journal: ArrivalJournal,
    journal_file: File,
    /// Says that somebody writes here.
    _lock: File,
}

/// A sync of what has arrived, to be done wherever waiting hurts nobody.
#[derive(Debug)]
pub struct ArrivalSync {
    content: File,
    path: PathBuf,
    /// How many records of the journal it covers.
    records: u32,
}

/// That a sync is done.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct ArrivalSynced {
    records: u32,
}

impl Depot {
    /// Goes on to receive the bundle of this seal, or begins to. What is here already is found: all of
    /// a manifest, and chunks that are on disk or have the right hash.
    ///
    /// It is an error if somebody else receives it ([`DepotError::Receiving`]), or if it is whole
    /// already ([`DepotError::Whole`]).
    pub fn receive(&self, seal: &Seal) -> Result<ArrivingBundle, DepotError> {
        self.make()?;
        let id = seal.statement.id;
        let directory = self.incoming_path(id);
        for path in [&self.path().join(INCOMING), &directory] {
            make_directory(path)?;
        }
        let lock = lock(&directory, id)?;
        if self.has(id) {
            return Err(DepotError::Whole(id));
        }
        let stored = StoredBundle { path: directory.clone(), id, seal: seal.clone() };
        let manifest = match stored.manifest_bytes() {
            // One that is damaged comes again.
            Ok(bytes) if hash::id_of(&bytes) == id => Some(stored.manifest()?),
            Ok(_) | Err(DepotError::Damaged { .. }) => None,
            Err(DepotError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => None,
            Err(why) => return Err(why),
        };
        write_seal(&directory, seal)?;
        let shape = BundleShape::of(&seal.statement);
        let pieces = open(&directory.join(PIECES), shape.manifest_bytes)?;
        let content = open(&directory.join(CONTENT), shape.content_bytes)?;
        let here = match &manifest {
            Some(manifest) => find_chunks(&directory, id, shape, manifest, &content)?,
            None => ChunkRanges::default(),
        };
        let (journal, journal_file) = begin_journal(&directory, id, shape, &here)?;
        Ok(ArrivingBundle {
            depot: self.clone(),
            directory,
            id,
            shape,
            seal: seal.clone(),
            manifest,
            pieces,
            content,
            journal,
            journal_file,
            _lock: lock,
        })
    }

    /// Where a bundle is while it arrives.
    pub(crate) fn incoming_path(&self, id: BundleId) -> PathBuf {
        self.path().join(INCOMING).join(id.to_string())
    }
}

impl ArrivingBundle {
    /// What is said of it.
    pub fn seal(&self) -> &Seal {
        &self.seal
    }

    /// Its manifest, if that is here.
    pub fn manifest(&self) -> Option<&Manifest> {
        self.manifest.as_ref()
    }

    pub(crate) fn depot(&self) -> &Depot {
        &self.depot
    }

    pub(crate) fn shape(&self) -> BundleShape {
        self.shape
    }

    /// The chunks that were verified and written.
    pub fn here(&self) -> &ChunkRanges {
        self.journal.here()
    }

    /// Whether these are the bytes of a chunk as it was published. `false` as well without a manifest,
    /// or where there is no such chunk.
    pub fn is_good(&self, number: u32, bytes: &[u8]) -> bool {
        let wanted = self.manifest.as_ref().and_then(|it| it.chunks().get(number as usize));
        wanted.is_some_and(|wanted| hash::hash_of(bytes) == *wanted)
    }

    /// Writes a part, which has to be of the right length; a chunk also has to be good. It is in the
    /// journal when this returns, and on disk after a sync.
    pub fn write(&mut self, part: BundlePart, bytes: &[u8]) -> Result<(), DepotError> {
        let place = self.shape.place_of(part).filter(|(_, len)| *len == bytes.len() as u64);
        let (file, name) = match part {
            BundlePart::ManifestPiece(_) => (&self.pieces, PIECES),
            BundlePart::Chunk(_) => (&self.content, CONTENT),
        };
        let failed = || DepotError::io("writing", self.directory.join(name));
        let Some((offset, _)) = place else {
            return Err(failed()(io::Error::from(io::ErrorKind::InvalidInput)));
        };
        file.write_all_at(bytes, offset).map_err(failed())?;
        match part {
            BundlePart::Chunk(number) => {
                self.note(ArrivalRecord::Here { first: number, end: number + 1 })
            }
            BundlePart::ManifestPiece(_) => Ok(()),
        }
    }

    /// Hashes the manifest as its pieces were written. If it is the bundle's, it is put into its place,
    /// durably. Returns whether it is. One that is the bundle's, and of which the statement is not, is an
    /// error: then those who signed that are wrong, and nobody from whom it came.
    pub fn judge_manifest(&mut self) -> Result<bool, DepotError> {
        let path = self.directory.join(PIECES);
        let failed = || DepotError::io("reading", &path);
        let mut bytes = Vec::new();
        self.pieces.seek(SeekFrom::Start(0)).map_err(failed())?;
        (&self.pieces).take(self.shape.manifest_bytes).read_to_end(&mut bytes).map_err(failed())?;
        if hash::id_of(&bytes) != self.id {
            return Ok(false);
        }
        let manifest = manifest_of(&bytes, &self.seal)
            .map_err(|why| DepotError::Damaged { path: path.clone(), why })?;
        settle(&self.pieces).map_err(DepotError::io("writing", &path))?;
        let place = self.directory.join(MANIFEST);
        fs::rename(&path, &place).map_err(DepotError::io("putting into its place", &place))?;
        sync_directory(&self.directory)?;
        self.manifest = Some(manifest);
        Ok(true)
    }

    /// Gives a sign of life to whoever serves the bundle to others: more of it is going to come. It is
    /// to be given twice a second while nothing arrives.
    pub fn beat(&self, now: SystemTime) -> Result<(), DepotError> {
        let path = self.directory.join(ARRIVAL);
        let beaten = self.journal_file.set_times(FileTimes::new().set_modified(now));
        beaten.map_err(DepotError::io("writing", path))
    }

    /// What has to be synced now.
    pub fn to_sync(&self) -> Result<ArrivalSync, DepotError> {
        let path = self.directory.join(CONTENT);
        let content = self.content.try_clone().map_err(DepotError::io("writing", &path))?;
        Ok(ArrivalSync { content, path, records: self.journal.records() })
    }

    /// Notes durably what was synced.
    pub fn synced(&mut self, synced: ArrivalSynced) -> Result<(), DepotError> {
        self.note(ArrivalRecord::OnDisk { records: synced.records })?;
        let path = self.directory.join(ARRIVAL);
        self.journal_file.sync_data().map_err(DepotError::io("writing", path))
    }

    /// Puts the bundle among the whole ones, durably. Everything is here and synced.
    pub fn finish(self) -> Result<StoredBundle, DepotError> {
        let is_whole =
            self.manifest.is_some() && self.journal.on_disk().count() == self.shape.chunks();
        if !is_whole {
            let why = "not all of it is on disk yet".to_owned();
            return Err(DepotError::Damaged { path: self.directory, why });
        }
        let _held = self.depot.hold()?;
        if self.depot.has(self.id) {
            return Err(DepotError::Whole(self.id));
        }
        // What the manifest came in was renamed, but where an older manifest was here it is left.
        match fs::remove_file(self.directory.join(PIECES)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(DepotError::io("removing", self.directory.join(PIECES))(error));
            }
            _ => {}
        }
        let stored = self.depot.admit(&self.directory, self.id)?;
        sync_directory(&self.depot.path().join(INCOMING))?;
        Ok(stored)
    }

    fn note(&mut self, record: ArrivalRecord) -> Result<(), DepotError> {
        // A record that was half written is written over by the next one.
        let (bytes, at) = (self.journal.bytes_of(record), self.journal.valid_len());
        let path = self.directory.join(ARRIVAL);
        self.journal_file.write_all_at(&bytes, at).map_err(DepotError::io("writing", path))?;
        self.journal.follow(&bytes);
        Ok(())
    }
}

impl ArrivalSync {
    /// Waits until the disk has it.
    pub fn wait(self) -> Result<ArrivalSynced, DepotError> {
        self.content.sync_data().map_err(DepotError::io("writing", self.path))?;
        Ok(ArrivalSynced { records: self.records })
    }
}

fn make_directory(path: &Path) -> Result<(), DepotError> {
    match DirBuilder::new().mode(DIRECTORY_MODE).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(DepotError::io("making", path)(error)),
        // What arrives in it is to be found after the machine went down.
        Ok(()) => path.parent().map_or(Ok(()), sync_directory),
    }
}

/// Holds a directory of a bundle that arrives.
fn lock(directory: &Path, id: BundleId) -> Result<File, DepotError> {
    let failed = || DepotError::io("locking", directory);
    let lock = File::open(directory).map_err(failed())?;
    match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(lock),
        Err(Errno::WOULDBLOCK) => Err(DepotError::Receiving(id)),
        Err(error) => Err(failed()(error.into())),
    }
}

/// Whether somebody writes into the directory of a bundle that arrives.
pub(crate) fn is_being_received(directory: &Path) -> bool {
    let Ok(held) = File::open(directory) else { return false };
    rustix::fs::flock(&held, FlockOperation::NonBlockingLockExclusive) == Err(Errno::WOULDBLOCK)
}

/// Opens a file of a bundle that arrives, as long as it will be.
fn open(path: &Path, len: u64) -> Result<File, DepotError> {
    let file = File::options().read(true).write(true).create(true).truncate(false).open(path);
    let file = file.and_then(|file| file.set_len(len).map(|()| file));
    let file = file.map_err(DepotError::io("writing", path))?;
    open_to_readers(&file).map_err(DepotError::io("writing", path))?;
    Ok(file)
}

/// Which chunks are here: those that are certainly on disk, and those that have the right hash.
fn find_chunks(
    directory: &Path,
    id: BundleId,
    shape: BundleShape,
    manifest: &Manifest,
    content: &File,
) -> Result<ChunkRanges, DepotError> {
    let path = directory.join(ARRIVAL);
    let bytes = match fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        read => read.map_err(DepotError::io("reading", &path))?,
    };
    let Some(journal) = ArrivalJournal::read(&bytes, id, shape.chunks()) else {
        return Ok(ChunkRanges::default());
    };
    let mut found = journal.on_disk().clone();
    let mut bytes = Vec::new();
    for (first, end) in journal.here().iter() {
        let doubtful = (first..end).filter(|number| !journal.on_disk().contains(*number));
        for number in doubtful {
            let Some((offset, len)) = shape.place_of(BundlePart::Chunk(number)) else { continue };
            bytes.resize(usize::try_from(len).unwrap_or_default(), 0);
            let path = directory.join(CONTENT);
            content.read_exact_at(&mut bytes, offset).map_err(DepotError::io("reading", path))?;
            if manifest.chunks().get(number as usize) == Some(&hash::hash_of(&bytes)) {
                found.insert(number, number + 1);
            }
        }
    }
    Ok(found)
}

/// Begins a journal anew, with what was found.
fn begin_journal(
    directory: &Path,
    id: BundleId,
    shape: BundleShape,
    here: &ChunkRanges,
) -> Result<(ArrivalJournal, File), DepotError> {
    let path = directory.join(ARRIVAL);
    let failed = || DepotError::io("writing", &path);
    let (journal, bytes) = ArrivalJournal::anew(id, shape.chunks(), here);
    let new = tempfile::Builder::new().prefix(NEW).tempfile_in(directory).map_err(failed())?;
    new.as_file().write_all_at(&bytes, 0).map_err(failed())?;
    settle(new.as_file()).map_err(failed())?;
    let file = new.persist(&path).map_err(|error| failed()(error.error))?;
    sync_directory(directory)?;
    Ok((journal, file))
}
