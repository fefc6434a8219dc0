//! What is in the directory of a place beside its releases: the record, and the link to the active one.

use std::{
    fs::File,
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
};

use orchestra_model::bundle::{BundleRelease, PlaceRecord};
use rustix::{
    fs::{AtFlags, Mode, OFlags},
    io::Errno,
};

/// What the player remembers of a place.
pub(crate) const RECORD: &str = ".orchestra";
/// The record before it has its name.
pub(super) const NEW_RECORD: &str = ".orchestra.new";
/// The link to the active release.
pub(crate) const CURRENT: &str = "current";
/// The directory that holds the releases.
pub(crate) const RELEASES: &str = "releases";

/// Reads the record of a place and where its link leads. Fails with what is told to people.
pub(super) fn read(place: &File) -> Result<(PlaceRecord, Option<BundleRelease>), String> {
    let record = match record(place).map_err(|why| format!("its record {RECORD} {why}"))? {
        Some(record) => record,
        None if is_there(place, RELEASES)? || is_there(place, CURRENT)? => {
            return Err(format!(
                "its record {RECORD} is gone, and nobody knows which serials it took: put it back; \
                 or set min_serial, and move {RELEASES} and {CURRENT} away"
            ));
        }
        None => PlaceRecord::default(),
    };
    Ok((record, active(place)?))
}

fn record(place: &File) -> Result<Option<PlaceRecord>, String> {
    let unread = |error: io::Error| format!("cannot be read: {error}");
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::openat(place, RECORD, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(Errno::NOENT) => return Ok(None),
        Err(error) => return Err(unread(error.into())),
    };
    let found = file.metadata().map_err(unread)?;
    let own = rustix::process::geteuid().as_raw();
    if !found.is_file() || found.uid() != own || found.mode() & 0o022 != 0 {
        return Err(format!("is not a file that user {own} alone can write"));
    }
    let mut text = String::new();
    let most = PlaceRecord::BYTES as u64 + 1;
    file.take(most).read_to_string(&mut text).map_err(unread)?;
    PlaceRecord::decode(&text).map(Some).map_err(|why| format!("cannot be used: {why}"))
}

/// Where the link leads. The player makes it, in a directory where nobody else writes.
fn active(place: &File) -> Result<Option<BundleRelease>, String> {
    let link = match rustix::fs::readlinkat(place, CURRENT, []) {
        Ok(link) => link,
        Err(Errno::NOENT) => return Ok(None),
        Err(Errno::INVAL) => return Err(format!("its {CURRENT} is no link")),
        Err(error) => return Err(format!("its link {CURRENT} cannot be read: {error}")),
    };
    let release = link.to_str().ok().and_then(|to| to.strip_prefix(RELEASES)?.strip_prefix('/'));
    let release = release.and_then(|name| name.parse().ok());
    release.map(Some).ok_or_else(|| format!("its link {CURRENT} leads to no release of its own"))
}

fn is_there(place: &File, name: &str) -> Result<bool, String> {
    match rustix::fs::statat(place, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(_) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(error) => Err(format!("its {name} cannot be looked at: {error}")),
    }
}
