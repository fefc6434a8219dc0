//! The thread that hashes what comes and writes it. It does one thing after the other, so that the
//! journal's records stand in the order in which their chunks were written.

use std::{
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc as std_mpsc,
    },
    thread,
    time::SystemTime,
};

use orchestra_bundle::{ArrivalSynced, ArrivingBundle, Depot, DepotError, StoredBundle};
use orchestra_depot::{LinkNumber, WriteFailure};
use orchestra_model::{
    ByteSize,
    bundle::{BundlePart, ChunkRanges},
    chain,
};
use tokio::sync::mpsc;

/// What the thread is asked to do, in order.
#[derive(Debug)]
pub(super) enum DiskWork {
    /// Find out whether a part that came is what was published.
    Hash {
        link: LinkNumber,
        part: BundlePart,
        bytes: Vec<u8>,
    },
    Write {
        part: BundlePart,
        bytes: Vec<u8>,
    },
    JudgeManifest,
    /// Begin a sync, which is done beside this thread.
    Sync,
    /// Note what a sync has covered.
    Synced(ArrivalSynced),
    /// Say to whoever serves the bundle that more of it is to come.
    Beat,
    /// Put the bundle among the whole ones. It is the last work.
    Settle,
}

/// What the thread has done.
#[derive(Debug)]
pub(super) enum DiskDone {
    Hashed {
        link: LinkNumber,
        part: BundlePart,
        bytes: Vec<u8>,
        is_good: bool,
    },
    Written {
        part: BundlePart,
    },
    ManifestJudged {
        is_good: bool,
        /// Chunks that other bundles of the depot had.
        found: ChunkRanges,
    },
    /// A sync is done; the thread is to note it.
    SyncEnded(ArrivalSynced),
    Synced,
    Settled(Box<StoredBundle>),
    Failed(WriteFailure),
}

/// Starts the thread. It ends when nobody gives it work any more; `is_over` says that this is near.
pub(super) fn start(
    arriving: ArrivingBundle,
    depot: &Path,
    done: mpsc::UnboundedSender<DiskDone>,
    is_over: Arc<AtomicBool>,
) -> io::Result<std_mpsc::Sender<DiskWork>> {
    let (sender, work) = std_mpsc::channel();
    let mut disk = Disk { is_over, arriving, depot: depot.to_owned(), done };
    thread::Builder::new().name("depot".to_owned()).spawn(move || {
        while let Ok(next) = work.recv() {
            match next {
                DiskWork::Settle => return disk.settle(),
                other => disk.work(other),
            }
        }
    })?;
    Ok(sender)
}

struct Disk {
    /// Whether the fetch is over, so that nothing long is worth its end.
    is_over: Arc<AtomicBool>,
    arriving: ArrivingBundle,
    depot: std::path::PathBuf,
    done: mpsc::UnboundedSender<DiskDone>,
}

impl Disk {
    fn work(&mut self, work: DiskWork) {
        let done = match work {
            DiskWork::Hash { link, part, bytes } => {
                let is_good = match part {
                    BundlePart::Chunk(number) => self.arriving.is_good(number, &bytes),
                    // A piece has no hash of its own.
                    BundlePart::ManifestPiece(_) => true,
                };
                Ok(DiskDone::Hashed { link, part, bytes, is_good })
            }
            DiskWork::Write { part, bytes } => {
                self.arriving.write(part, &bytes).map(|()| DiskDone::Written { part })
            }
            DiskWork::JudgeManifest => self.judge_manifest(),
            DiskWork::Sync => match self.sync_beside() {
                Ok(()) => return,
                Err(why) => Err(why),
            },
            DiskWork::Synced(synced) => self.arriving.synced(synced).map(|()| DiskDone::Synced),
            DiskWork::Beat => match self.arriving.beat(SystemTime::now()) {
                Ok(()) => return,
                Err(why) => Err(why),
            },
            // The caller did it.
            DiskWork::Settle => return,
        };
        let done = done.unwrap_or_else(|why| DiskDone::Failed(failure(&self.depot, &why)));
        // Nobody waits for it when the fetch is over.
        let _ = self.done.send(done);
    }

    /// Judges the manifest. If it is good, what other bundles of the depot have is copied.
    fn judge_manifest(&mut self) -> Result<DiskDone, DepotError> {
        let is_good = self.arriving.judge_manifest()?;
        let goes_on = || !self.is_over.load(Ordering::Relaxed);
        let found = match is_good {
            true => self.arriving.reuse(goes_on)?,
            false => ChunkRanges::default(),
        };
        Ok(DiskDone::ManifestJudged { is_good, found })
    }

    /// Syncs on a thread of its own, so that what comes meanwhile is written.
    fn sync_beside(&self) -> Result<(), DepotError> {
        let sync = self.arriving.to_sync()?;
        let (done, depot) = (self.done.clone(), self.depot.clone());
        let wait = move || {
            let ended = match sync.wait() {
                Ok(synced) => DiskDone::SyncEnded(synced),
                Err(why) => DiskDone::Failed(failure(&depot, &why)),
            };
            let _ = done.send(ended);
        };
        let spawned = thread::Builder::new().name("depot-sync".to_owned()).spawn(wait);
        spawned.map(drop).map_err(|source| DepotError::Io {
            attempt: "starting a thread that syncs",
            path: self.depot.clone(),
            source,
        })
    }

    fn settle(self) {
        let depot = Depot::at(&self.depot);
        // From now on it is kept for as long as others are to be served.
        let finish = self.arriving.finish();
        let noted = finish.and_then(|it| depot.note_use(it.id, SystemTime::now()).map(|()| it));
        let done = match noted {
            Ok(stored) => DiskDone::Settled(Box::new(stored)),
            Err(why) => DiskDone::Failed(failure(&self.depot, &why)),
        };
        let _ = self.done.send(done);
    }
}

/// What the engine is told of an error of the disk.
fn failure(depot: &Path, why: &DepotError) -> WriteFailure {
    let is_full = match why {
        DepotError::Io { source, .. } => {
            use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
            // Beyond its limit a file grows no more than on a full disk.
            matches!(source.kind(), StorageFull | QuotaExceeded | FileTooLarge)
        }
        _ => false,
    };
    match rustix::fs::statvfs(depot) {
        Ok(found) if is_full => {
            let free = ByteSize(found.f_bavail.saturating_mul(found.f_frsize));
            WriteFailure::NoSpace { free }
        }
        _ => WriteFailure::Other(chain(why)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_with_what_is_free_and_all_else_in_words() {
        let directory = tempfile::tempdir().unwrap();
        let failed = |kind: io::ErrorKind| {
            let path = directory.path().join("content");
            let why = DepotError::Io { attempt: "writing", path, source: kind.into() };
            failure(directory.path(), &why)
        };
        for kind in
            [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded, io::ErrorKind::FileTooLarge]
        {
            assert!(matches!(failed(kind), WriteFailure::NoSpace { .. }), "{kind}");
        }
        let WriteFailure::Other(why) = failed(io::ErrorKind::PermissionDenied) else {
            panic!("it is not full");
        };
        assert!(why.starts_with("writing ") && why.ends_with("permission denied"), "{why}");
    }
}
