//! Parameters of units that may be secrets, and outlive the host's memory: files in the spool, for
//! services that say so.
//!
//! ```text
//! SPOOL/secrets/          0700, the sitter's
//!   STORE-SERVICE         0600: the order's number, then KEY=VALUE and a 0 for each
//! ```
//!
//! They are not in the units' file, because that keeps what was appended until it is compacted: a file
//! of its own is gone when it is removed. It is removed by the unit's next order, unless that keeps it
//! too, and with the unit. What a crash leaves is removed by the next sitter.

use std::{
    fs,
    io::{self, Read as _},
    os::unix::fs::DirBuilderExt as _,
    path::Path,
};

use orchestra_model::{Params, delivery::OrderNumber};
use rustix::{
    fd::{AsFd as _, OwnedFd},
    fs::{Mode, OFlags},
};

use crate::sitter::spool_dir::{remove_file, replace_file};

const SECRETS: &str = "secrets";
/// A unit's name has a `-` in it.
const NEW: &str = "new";

/// Returns parameters with the number of their order, in bytes.
pub(super) fn encode(order: OrderNumber, params: &Params) -> Vec<u8> {
    let mut bytes = order.0.to_le_bytes().to_vec();
    for (key, value) in params.iter() {
        bytes.extend([key.as_str().as_bytes(), b"=", value.as_bytes(), b"\0"].concat());
    }
    bytes
}

/// Reads what [`encode`] made.
pub(super) fn decode(bytes: &[u8]) -> Option<(OrderNumber, Params)> {
    let (order, text) = bytes.split_first_chunk()?;
    let pairs = std::str::from_utf8(text).ok()?.split_terminator('\0');
    let pairs = pairs.map(|pair| pair.split_once('=')).collect::<Option<Vec<_>>>()?;
    Some((OrderNumber(u64::from_le_bytes(*order)), Params::from_pairs(pairs).ok()?))
}

/// Keeps the parameters of a unit's order, durably, in place of those before.
pub(super) fn keep(
    spool: &Path,
    name: &str,
    order: OrderNumber,
    params: &Params,
) -> io::Result<()> {
    let path = spool.join(SECRETS);
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&path)?;
    let dir = open(spool)?;
    replace_file(dir.as_fd(), name, NEW, &encode(order, params), fs::File::sync_all)?;
    Ok(rustix::fs::fsync(&dir)?)
}

/// Returns the parameters that are kept of a unit, and the order that they came with.
pub(super) fn read(spool: &Path, name: &str) -> Option<(OrderNumber, Params)> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(open(spool).ok()?, name, flags, Mode::empty()).ok()?;
    let mut bytes = Vec::new();
    fs::File::from(file).read_to_end(&mut bytes).ok()?;
    decode(&bytes)
}

/// Removes the parameters of a unit, if any are kept.
pub(super) fn forget(spool: &Path, name: &str) {
    let removed = match open(spool) {
        Ok(dir) => remove_file(dir.as_fd(), name),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    };
    if let Err(error) = removed {
        tracing::error!(name, %error, "cannot remove parameters of a unit that are on disk");
    }
}

/// Removes all that is kept of units of other names.
pub(super) fn retain(spool: &Path, is_kept: impl Fn(&str) -> bool) {
    let entries = fs::read_dir(spool.join(SECRETS)).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| !is_kept(name)).for_each(|name| forget(spool, &name));
}

fn open(spool: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::open(spool.join(SECRETS), flags, Mode::empty())?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn what_is_kept_is_read_back_and_gone_when_it_is_forgotten() {
        let temp = tempfile::tempdir().unwrap();
        let spool = temp.path();
        let params = Params::from_pairs([("a", "x=y\n"), ("b", "")]).unwrap();
        forget(spool, "1-web");
        assert_eq!(read(spool, "1-web"), None);
        keep(spool, "1-web", OrderNumber(7), &params).unwrap();
        keep(spool, "1-db", OrderNumber(8), &Params::default()).unwrap();
        assert_eq!(read(spool, "1-web"), Some((OrderNumber(7), params)));
        assert_eq!(read(spool, "1-db"), Some((OrderNumber(8), Params::default())));
        let mode =
            |name: &str| fs::metadata(spool.join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("secrets"), mode("secrets/1-web")), (0o700, 0o600));
        retain(spool, |name| name == "1-db");
        assert_eq!(read(spool, "1-web"), None);
        forget(spool, "1-db");
        assert_eq!(fs::read_dir(spool.join("secrets")).unwrap().count(), 0);
    }
}
