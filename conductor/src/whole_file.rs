//! Files that are there as a whole or not at all.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Writes a file under another name, `PATH.new`, then renames it. If that fails, the error names
/// the file that could not be written, and the new file is removed, because it takes space that may be
/// missing. It does not survive a loss of power: nothing is synced.
pub(crate) fn write_whole(path: &Path, text: &str) -> Result<(), (PathBuf, io::Error)> {
    let new = path.with_extension("new");
    let written = fs::write(&new, text)
        .map_err(|cause| (new.clone(), cause))
        .and_then(|()| fs::rename(&new, path).map_err(|cause| (path.to_owned(), cause)));
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
        let (named, _) = write_whole(&path, "127.0.0.1:2\n").unwrap_err();
        assert_eq!(named, path);
        assert_eq!(fs::read_dir(&place).unwrap().count(), 1);
        // A link to a full disk.
        let new = path.with_extension("new");
        std::os::unix::fs::symlink("/dev/full", &new).unwrap();
        let (named, _) = write_whole(&path, "127.0.0.1:3\n").unwrap_err();
        assert_eq!(named, new);
        assert_eq!(fs::read_dir(&place).unwrap().count(), 1);
    }
}
