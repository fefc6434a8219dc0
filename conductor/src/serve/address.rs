//! The file that tells other programs where this conductor listens.

use std::{
    fs,
    io::{self, Write as _},
    net::SocketAddr,
    path::{Path, PathBuf},
};

use super::ServeError;
use crate::config::Config;

fn address_file(config: &Config) -> PathBuf {
    config.state_dir.join("address")
}

/// Removes the file of an earlier process, so that nobody connects to its address.
pub(super) fn forget_address(config: &Config) -> Result<(), ServeError> {
    let path = address_file(config);
    match fs::remove_file(&path) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
            Err(ServeError::Write(path, cause))
        }
        _ => Ok(()),
    }
}

/// Writes the file that tells where this conductor listens, as a whole or not at all.
pub(super) fn write_address(config: &Config, address: SocketAddr) -> Result<(), ServeError> {
    write_whole(&address_file(config), &format!("{address}\n"))?;
    // The standard output may be closed or not read, so a thread writes to it and is not awaited.
    let tell = move || {
        let _ = writeln!(io::stdout(), "{address}");
    };
    let _ = std::thread::Builder::new().name("address".to_owned()).spawn(tell);
    Ok(())
}

/// Writes a file under another name, `PATH.new`, then renames it. If that fails, the error names
/// the file that could not be written, and the file is removed, because it takes space that may be
/// missing.
fn write_whole(path: &Path, text: &str) -> Result<(), ServeError> {
    let new = path.with_extension("new");
    let written =
        fs::write(&new, text).map_err(|cause| ServeError::Write(new.clone(), cause)).and_then(
            |()| fs::rename(&new, path).map_err(|cause| ServeError::Write(path.to_owned(), cause)),
        );
    if written.is_err() {
        let _ = fs::remove_file(&new);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_put_in_place_leaves_nothing_and_names_its_file() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("address");
        write_whole(&path, "127.0.0.1:1\n").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "127.0.0.1:1\n");
        // A rename cannot replace a directory.
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        let error = write_whole(&path, "127.0.0.1:2\n").unwrap_err();
        assert_eq!(error.to_string(), format!("cannot write {}", path.display()));
        assert_eq!(fs::read_dir(&place).unwrap().count(), 1);
        // A link to a full disk.
        let new = path.with_extension("new");
        std::os::unix::fs::symlink("/dev/full", &new).unwrap();
        let error = write_whole(&path, "127.0.0.1:3\n").unwrap_err();
        assert_eq!(error.to_string(), format!("cannot write {}", new.display()));
        assert_eq!(fs::read_dir(&place).unwrap().count(), 1);
    }
}
