//! Bundles that came from elsewhere make room for others, so that a depot stays within its bound.

use std::{
    collections::BTreeSet,
    fs::{self, FileTimes},
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use orchestra_depot::{DepotBundle, make_room_in_depot};
use orchestra_model::{ByteSize, Timestamp, bundle::BundleId};

use crate::{
    depot::{Depot, OLD, sync_directory},
    error::DepotError,
    incoming::{ARRIVAL, INCOMING, is_being_received},
    pin::is_pinned,
};

/// How many bytes a block of `stat` has, whatever a file system makes of it.
const BLOCK_BYTES: u64 = 512;

/// What a depot keeps of what came from elsewhere.
#[derive(Clone, Debug)]
pub struct DepotRoom {
    /// How much of the disk it may take.
    pub most: ByteSize,
    /// For how long a bundle stays after it was used last, so that others can still be served.
    pub serve_for: Duration,
    /// Bundles that stay in any case.
    pub in_use: BTreeSet<BundleId>,
}

impl Depot {
    /// Removes bundles that came from elsewhere, those that were used longest ago, until the `needed`
    /// bytes of the bundle `coming` fit, what has arrived of it included. Returns what was removed. What was
    /// published into this depot is neither counted nor removed; what is pinned, or somebody receives, is
    /// counted and stays.
    pub fn make_room(
        &self,
        coming: BundleId,
        needed: ByteSize,
        room: &DepotRoom,
        now: SystemTime,
    ) -> Result<Vec<BundleId>, DepotError> {
        self.make()?;
        let _held = self.hold()?;
        let mut arrived = self.arrived(room, now)?;
        arrived.retain(|(bundle, _)| bundle.id != coming);
        let bundles: Vec<DepotBundle> = arrived.iter().map(|(bundle, _)| *bundle).collect();
        let leaving = make_room_in_depot(&bundles, needed, room.most)
            .map_err(|why| DepotError::NoRoom { depot: self.path().to_owned(), why })?;
        for (bundle, path) in arrived.iter().filter(|(bundle, _)| leaving.contains(&bundle.id)) {
            // First it is no bundle any more, so that none is ever half there.
            let old = self.path().join(format!("{OLD}{}", bundle.id));
            fs::rename(path, &old).map_err(DepotError::io("removing", path))?;
            fs::remove_dir_all(&old).map_err(DepotError::io("removing", &old))?;
        }
        sync_directory(self.path())?;
        Ok(leaving)
    }

    /// Notes that a bundle is used now, so that it stays. What was published here stays anyway, and may
    /// be somebody else's.
    pub fn note_use(&self, id: BundleId, now: SystemTime) -> Result<(), DepotError> {
        let path = self.path().join(id.to_string());
        if !path.join(ARRIVAL).exists() {
            return Ok(());
        }
        let noted = fs::File::open(&path)
            .and_then(|directory| directory.set_times(FileTimes::new().set_modified(now)));
        noted.map_err(DepotError::io("noting the use of", path))
    }

    /// Every bundle that came from elsewhere or is about to, and where it lies.
    fn arrived(
        &self,
        room: &DepotRoom,
        now: SystemTime,
    ) -> Result<Vec<(DepotBundle, PathBuf)>, DepotError> {
        let mut arrived = Vec::new();
        for directory in [self.path().to_owned(), self.path().join(INCOMING)] {
            let is_incoming = directory != self.path();
            for name in names(&directory)? {
                let Some(id) = name.parse::<BundleId>().ok() else { continue };
                let path = directory.join(&name);
                let Some((bytes, used)) = usage(&path, is_incoming)? else { continue };
                // A clock that was set back does not keep it for longer.
                let age = now.duration_since(used).unwrap_or_else(|ahead| ahead.duration());
                let is_recent = !is_incoming && age < room.serve_for;
                let is_in_use = is_recent
                    || room.in_use.contains(&id)
                    || is_being_received(&path)
                    || is_pinned(&path);
                let since = used.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
                let used = Timestamp(u64::try_from(since).unwrap_or(u64::MAX));
                arrived.push((DepotBundle { id, bytes, is_in_use, used }, path));
            }
        }
        Ok(arrived)
    }
}

fn names(directory: &Path) -> Result<Vec<String>, DepotError> {
    let failed = || DepotError::io("reading the depot", directory);
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(failed())?,
    };
    let names = entries.map(|entry| Ok(entry?.file_name().into_string().ok()));
    let names: io::Result<Vec<Option<String>>> = names.collect();
    Ok(names.map_err(failed())?.into_iter().flatten().collect())
}

/// How much of the disk a bundle takes, and when it was used last. `None` if it was published here.
fn usage(path: &Path, is_incoming: bool) -> Result<Option<(u64, SystemTime)>, DepotError> {
    let failed = || DepotError::io("reading", path);
    if !is_incoming && !path.join(ARRIVAL).exists() {
        return Ok(None);
    }
    let mut bytes = 0;
    for entry in fs::read_dir(path).map_err(failed())? {
        let metadata = entry.and_then(|entry| entry.metadata()).map_err(failed())?;
        bytes += metadata.blocks() * BLOCK_BYTES;
    }
    let used = fs::metadata(path).and_then(|metadata| metadata.modified()).map_err(failed())?;
    Ok(Some((bytes, used)))
}
