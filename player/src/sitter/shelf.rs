//! What is kept of outputs of attempts that are over, for whoever asks for all of an output.
//!
//! The end of an attempt tells the first and the last of each stream. A stream's file that holds more than that
//! is moved here once the end is durable; `orchestra_spool::shelf` decides how long it stays. The name of a file
//! tells whose it is and since when it is here, so the next sitter knows as much as this one:
//!
//! ```text
//! kept/1764569808123-STORE-42.1.2-1.out
//! ```
//!
//! Each move is one rename, so a sitter that is killed leaves a file here or where it was. What is found where it
//! was is removed with its attempt's directory: that it is gone is told to whoever asks.

use std::{fs::File, io};

use orchestra_model::{
    FlowId, JobId, Timestamp,
    delivery::{AttemptKey, StoreId},
    from_hex,
    score::BuiltIn,
};
use orchestra_spool::shelf::{KeptStream, Shelf, Shelved};
use rustix::{
    fd::{AsFd, BorrowedFd},
    fs::{FileType, Mode, OFlags},
    io::Errno,
};

use super::{
    Sitter,
    attempt::Streams,
    clock::{self, BootMillis},
    spool_dir::{SpoolDir, attempt_name, remove_file},
    stream::{STREAMS, Stream},
};
use crate::config::Config;

/// The longest time between two looks at what is too old, in milliseconds: somebody may set the clock.
const LOOK: u64 = 3_600_000;
/// The shortest one.
const LEAST_LOOK: u64 = 1_000;

/// The shelf, and when something on it is next too old.
pub(super) struct KeptOutputs {
    shelf: Shelf,
    /// `None` if nothing is there.
    pub(super) look_at: Option<BootMillis>,
}

impl KeptOutputs {
    /// Finds what an earlier sitter kept, and removes what is too old or too much by now. A directory that cannot
    /// be read is told, and counts as empty.
    pub(super) fn open(config: &Config, spool_dir: &SpoolDir) -> Self {
        let shelf = Shelf::new(config.output_keep, config.output_budget);
        let mut kept = Self { shelf, look_at: None };
        let dir = match spool_dir.make_kept() {
            Ok(dir) => dir,
            Err(error) => {
                tracing::warn!(%error, "no output of an attempt is kept beyond its end");
                return kept;
            }
        };
        match find(dir.as_fd()) {
            Ok(found) => {
                for ((at, output), bytes) in found {
                    let gone = kept.shelf.put(output, at, bytes);
                    remove(dir.as_fd(), &gone);
                }
                let gone = kept.shelf.expire(clock::wall());
                remove(dir.as_fd(), &gone);
            }
            Err(error) => tracing::warn!(%error, "cannot look for outputs that were kept"),
        }
        kept.plan_look(BootMillis::now());
        kept
    }

    fn plan_look(&mut self, now: BootMillis) {
        let wait = |at: Timestamp| at.since(clock::wall()).0.clamp(LEAST_LOOK, LOOK);
        self.look_at = self.shelf.next_deadline().map(|at| now.after(wait(at)));
    }
}

impl Sitter {
    /// Returns whether what an attempt that lives writes may be kept beyond its end. Of a score that declares a
    /// sensitive parameter, and of one that is not known any more, it may not.
    pub(super) fn may_be_kept(&self, key: AttemptKey) -> bool {
        let Some(live) = self.spool.state().live().get(&key) else { return false };
        let score = &live.plan.score;
        BuiltIn::of(score).is_some()
            || self.scores.get(score).is_ok_and(|score| {
                score.spec.params.iter().flatten().all(|(_, param)| !param.sensitive)
            })
    }

    /// Keeps the files of an attempt that is over, as far as its end does not tell what is in them.
    pub(super) fn shelve(&mut self, key: AttemptKey, streams: &Streams) {
        let Some(directory) = &streams.directory else { return };
        for stream in STREAMS {
            let Some(held) = streams.more_than_told(stream) else { continue };
            let output = KeptStream { attempt: key, stream: stream.into() };
            let cut = streams.broken_at(stream).map(|at| cut(directory.as_fd(), stream, at));
            let shelved = cut
                .unwrap_or(Ok(()))
                .and_then(|()| self.shelve_one(output, directory.as_fd(), stream, held));
            if let Err(error) = shelved {
                tracing::warn!(attempt = %key, %error, "cannot keep an attempt's output");
            }
        }
    }

    fn shelve_one(
        &mut self,
        output: KeptStream,
        from: BorrowedFd<'_>,
        stream: Stream,
        held: u64,
    ) -> io::Result<()> {
        let dir = self.spool_dir.make_kept()?;
        let (at, now) = (clock::wall(), BootMillis::now());
        let gone = self.shelf.shelf.put(output, at, held);
        let stays = self.shelf.shelf.find(output).is_some();
        let moved = match stays {
            true => rustix::fs::renameat(from, stream.file(), &dir, name_of(&(at, output))),
            false => Ok(()),
        };
        remove(dir.as_fd(), &gone);
        if moved.is_err() {
            self.shelf.shelf.remove(output);
        }
        self.shelf.plan_look(now);
        Ok(moved?)
    }

    /// Opens an output that is kept; `None` if it is not.
    pub(super) fn open_kept(&mut self, output: KeptStream) -> io::Result<Option<File>> {
        let Some(at) = self.shelf.shelf.find(output) else { return Ok(None) };
        let dir = self.spool_dir.make_kept()?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match rustix::fs::openat(&dir, name_of(&(at, output)), flags, Mode::empty()) {
            Ok(file) => Ok(Some(File::from(file))),
            // It was removed with the spool.
            Err(Errno::NOENT) => {
                self.shelf.shelf.remove(output);
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Removes what is too old, if it is time to look.
    pub(super) fn expire_kept(&mut self, now: BootMillis) {
        if self.shelf.look_at.is_some_and(|at| now >= at) {
            let gone = self.shelf.shelf.expire(clock::wall());
            self.remove_kept(&gone);
            self.shelf.plan_look(now);
        }
    }

    /// Removes the older half of what is kept, because the disk has no space for what matters more.
    pub(super) fn make_room_on_shelf(&mut self) {
        let gone = self.shelf.shelf.make_room();
        if !gone.is_empty() {
            tracing::warn!(outputs = gone.len(), "removed outputs that were kept, to make room");
            self.remove_kept(&gone);
        }
    }

    fn remove_kept(&self, gone: &[Shelved]) {
        if gone.is_empty() {
            return;
        }
        match self.spool_dir.make_kept() {
            Ok(dir) => remove(dir.as_fd(), gone),
            Err(error) => tracing::warn!(%error, "cannot remove outputs that were kept"),
        }
    }
}

/// Returns the outputs that lie in a directory, the oldest first, with what each takes.
fn find(dir: BorrowedFd<'_>) -> io::Result<Vec<(Shelved, u64)>> {
    let mut found = Vec::new();
    for entry in rustix::fs::Dir::read_from(dir)? {
        let entry = entry?;
        let Some(output) = entry.file_name().to_str().ok().and_then(read_name) else { continue };
        let status =
            rustix::fs::statat(dir, entry.file_name(), rustix::fs::AtFlags::SYMLINK_NOFOLLOW)?;
        if FileType::from_raw_mode(status.st_mode) == FileType::RegularFile {
            found.push((output, u64::try_from(status.st_size).unwrap_or(0)));
        }
    }
    found.sort();
    Ok(found)
}

/// Cuts what came last from a file that could not be written on, and of which nobody knows what that is.
fn cut(dir: BorrowedFd<'_>, stream: Stream, len: u64) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(dir, stream.file(), flags, Mode::empty())?;
    Ok(rustix::fs::ftruncate(file, len)?)
}

fn remove(dir: BorrowedFd<'_>, gone: &[Shelved]) {
    for output in gone {
        if let Err(error) = remove_file(dir, &name_of(output)) {
            tracing::warn!(attempt = %output.1.attempt, %error, "cannot remove an output that was kept");
        }
    }
}

fn name_of((at, output): &Shelved) -> String {
    let stem = Stream::from(output.stream).stem();
    format!("{}-{}.{stem}", at.0, attempt_name(output.attempt))
}

/// Reads what [`name_of`] writes; `None` for any other name.
fn read_name(name: &str) -> Option<Shelved> {
    let (rest, stem) = name.rsplit_once('.')?;
    let stream = STREAMS.into_iter().find(|stream| stream.stem() == stem)?.into();
    let mut parts = rest.split('-');
    let (at, store, job, attempt) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let mut job = job.split('.');
    let job = JobId {
        flow: FlowId(job.next()?.parse().ok()?),
        slot: job.next()?.parse().ok()?,
        job: job.next()?.parse().ok()?,
    };
    let store = StoreId::from_slice(&from_hex(store)?)?;
    let attempt = AttemptKey { store, job, attempt: attempt.parse().ok()? };
    let shelved = (Timestamp(at.parse().ok()?), KeptStream { attempt, stream });
    // What is read otherwise than it is written could not be found again.
    (name_of(&shelved) == name).then_some(shelved)
}

#[cfg(test)]
mod tests {
    use orchestra_model::service::LogStream;

    use super::*;

    #[test]
    fn a_files_name_says_whose_it_is_and_since_when() {
        let job = JobId { flow: FlowId(42), slot: 1, job: 2 };
        let attempt = AttemptKey { store: StoreId([0xa5; 16]), job, attempt: 3 };
        for stream in [LogStream::Stdout, LogStream::Stderr] {
            let shelved = (Timestamp(1_764_569_808_123), KeptStream { attempt, stream });
            assert_eq!(read_name(&name_of(&shelved)), Some(shelved));
        }
        let name = name_of(&(Timestamp(7), KeptStream { attempt, stream: LogStream::Stdout }));
        for other in [
            "".to_owned(),
            "lost+found".to_owned(),
            "notes.out".to_owned(),
            format!("0{name}"),
            name.replace(".out", ".txt"),
            name.replace("42.1.2", "42.1"),
            name.replace("a5a5", "A5A5"),
            format!("é{name}"),
            name.replacen('a', "é", 1),
        ] {
            assert_eq!(read_name(&other), None, "{other}");
        }
    }
}
