//! A bundle of a depot as it is read for others: whole, or as far as it has arrived.
//!
//! Nothing is written, and nothing is locked: whoever reads here can keep nobody from receiving. What is
//! read is not hashed: who gets it does that, and the disk may have changed it since anyway.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::{FileExt as _, MetadataExt as _},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use orchestra_model::bundle::{ArrivalJournal, BundleId, BundlePart, BundleShape};

use crate::{
    depot::{CONTENT, Depot, MANIFEST, StoredBundle, open_regular},
    error::DepotError,
    incoming::ARRIVAL,
};

/// A bundle that arrives is given up for those who wait for more of it when its journal was not touched
/// for so long: four times as long as whoever receives it waits between two beats.
const SILENT_FOR: Duration = Duration::from_secs(2);

/// A bundle of a depot, as it is read for others.
#[derive(Debug)]
pub struct ServedBundle {
    depot: Depot,
    id: BundleId,
    shape: BundleShape,
    content: File,
    /// How it stood when it was looked at last.
    state: ServedState,
}

#[derive(Debug)]
enum ServedState {
    Whole {
        manifest: File,
    },
    Arriving {
        directory: PathBuf,
        manifest: Option<File>,
        journal: Option<Followed>,
        is_alive: bool,
    },
    /// It was there, and is not any more.
    Gone,
}

/// A journal that somebody else writes.
#[derive(Debug)]
struct Followed {
    file: File,
    inode: u64,
    read: ArrivalJournal,
}

/// What becomes of a request for a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum ServedPart {
    /// Its bytes are in the buffer.
    Here,
    /// It is still to come.
    Coming,
    /// It is not here, and nobody fetches it. Or there is no such part.
    Absent,
}

impl Depot {
    /// Opens a bundle to be read for others. `None` if nothing of it is here.
    pub fn serve(&self, id: BundleId) -> Result<Option<ServedBundle>, DepotError> {
        // Between two looks it may have become whole.
        for directory in [self.path().join(id.to_string()), self.incoming_path(id)] {
            let Some(stored) = present(self.open_in(&directory, id))? else { continue };
            let Some(content) = present(stored.content())? else { continue };
            let shape = BundleShape::of(&stored.seal.statement);
            let state = ServedState::Gone;
            let mut served = ServedBundle { depot: self.clone(), id, shape, content, state };
            served.look(SystemTime::now())?;
            return Ok(Some(served));
        }
        Ok(None)
    }
}

impl ServedBundle {
    /// How it is cut.
    pub fn shape(&self) -> BundleShape {
        self.shape
    }

    /// Looks what has arrived since the last look.
    pub fn look(&mut self, now: SystemTime) -> Result<(), DepotError> {
        if matches!(self.state, ServedState::Whole { .. }) {
            // What is open can be read, also if it is removed meanwhile.
            return Ok(());
        }
        let whole = self.depot.path().join(self.id.to_string());
        if let Some(manifest) = present(open_regular(&whole, MANIFEST))? {
            // It may have come another way than what is open.
            if let Some(content) = present(open_regular(&whole, CONTENT))? {
                self.content = content;
                self.state = ServedState::Whole { manifest };
                return Ok(());
            }
        }
        let directory = self.depot.incoming_path(self.id);
        let before = match std::mem::replace(&mut self.state, ServedState::Gone) {
            ServedState::Arriving { manifest, journal, .. } => (manifest, journal),
            _ => (None, None),
        };
        let Some(touched) = present(touched(&directory))? else { return Ok(()) };
        let is_alive = now.duration_since(touched).is_ok_and(|it| it < SILENT_FOR)
            || touched.duration_since(now).is_ok_and(|it| it < SILENT_FOR);
        let manifest = match before.0 {
            Some(manifest) => Some(manifest),
            None => present(open_regular(&directory, MANIFEST))?,
        };
        let journal = follow(before.1, &directory, self.id, self.shape)?;
        self.state = ServedState::Arriving { directory, manifest, journal, is_alive };
        Ok(())
    }

    /// Reads a part, as things were at the last look.
    pub fn read(&self, part: BundlePart, buffer: &mut Vec<u8>) -> Result<ServedPart, DepotError> {
        let Some((offset, len)) = self.shape.place_of(part) else { return Ok(ServedPart::Absent) };
        let Some(file) = self.file_with(part) else {
            let is_coming = matches!(self.state, ServedState::Arriving { is_alive: true, .. });
            return Ok(if is_coming { ServedPart::Coming } else { ServedPart::Absent });
        };
        buffer.resize(usize::try_from(len).unwrap_or_default(), 0);
        match file.read_exact_at(buffer, offset) {
            Ok(()) => Ok(ServedPart::Here),
            // Somebody has cut it short.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(ServedPart::Absent),
            Err(error) => Err(DepotError::io("reading", self.path())(error)),
        }
    }

    /// The file that has a part by now.
    fn file_with(&self, part: BundlePart) -> Option<&File> {
        match (&self.state, part) {
            (ServedState::Gone, _) => None,
            (ServedState::Whole { manifest }, BundlePart::ManifestPiece(_)) => Some(manifest),
            (ServedState::Whole { .. }, BundlePart::Chunk(_)) => Some(&self.content),
            (ServedState::Arriving { manifest, .. }, BundlePart::ManifestPiece(_)) => {
                manifest.as_ref()
            }
            (ServedState::Arriving { journal, .. }, BundlePart::Chunk(number)) => {
                let is_here = journal.as_ref()?.read.here().contains(number);
                is_here.then_some(&self.content)
            }
        }
    }

    fn path(&self) -> PathBuf {
        match &self.state {
            ServedState::Arriving { directory, .. } => directory.clone(),
            ServedState::Whole { .. } | ServedState::Gone => {
                self.depot.path().join(self.id.to_string())
            }
        }
    }
}

/// Reads on in the journal, or in the one that has taken its place. `None` where there is none.
fn follow(
    before: Option<Followed>,
    directory: &Path,
    id: BundleId,
    shape: BundleShape,
) -> Result<Option<Followed>, DepotError> {
    let path = directory.join(ARRIVAL);
    let failed = || DepotError::io("reading", &path);
    let Some(metadata) = present(fs::metadata(&path).map_err(failed()))? else { return Ok(None) };
    if let Some(mut before) = before.filter(|before| before.inode == metadata.ino()) {
        let from = before.read.valid_len();
        let mut more = vec![0; usize::try_from(metadata.len().saturating_sub(from)).unwrap_or(0)];
        before.file.read_exact_at(&mut more, from).map_err(failed())?;
        before.read.follow(&more);
        return Ok(Some(before));
    }
    let Some(file) = present(open_regular(directory, ARRIVAL))? else { return Ok(None) };
    let inode = file.metadata().map_err(failed())?.ino();
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut &file, &mut bytes).map_err(failed())?;
    let read = ArrivalJournal::read(&bytes, id, shape.chunks());
    Ok(read.map(|read| Followed { file, inode, read }))
}

/// When whoever receives a bundle gave the last sign of life.
fn touched(directory: &Path) -> Result<SystemTime, DepotError> {
    let path = directory.join(ARRIVAL);
    let modified = fs::metadata(&path).and_then(|metadata| metadata.modified());
    modified.map_err(DepotError::io("reading", path))
}

/// `None` where there is no such file.
fn present<T>(opened: Result<T, DepotError>) -> Result<Option<T>, DepotError> {
    match opened {
        Ok(it) => Ok(Some(it)),
        Err(DepotError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(why) => Err(why),
    }
}

impl StoredBundle {
    /// How it is cut.
    pub fn shape(&self) -> BundleShape {
        BundleShape::of(&self.seal.statement)
    }
}
