//! Opens files of a configuration, which must be regular files.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use rustix::fs::OFlags;

/// Opens a regular file to be read. Anything else is refused at once, because to open a FIFO
/// without a writer would wait.
pub fn open_regular(path: &Path) -> io::Result<File> {
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).map_err(io::Error::other)?;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file")),
    }
}

/// Reads the text of a regular file. Fails if it is longer than so many bytes.
pub fn read_regular(path: &Path, most: u64) -> io::Result<String> {
    let mut text = String::new();
    open_regular(path)?.take(most.saturating_add(1)).read_to_string(&mut text)?;
    match text.len() as u64 > most {
        true => Err(io::Error::other(format!("larger than {} KiB", most >> 10))),
        false => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    #[test]
    fn a_pipe_is_refused_and_not_waited_for() {
        let place = tempfile::tempdir().unwrap();
        let pipe = place.path().join("pipe");
        mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR, 0).unwrap();
        let error = open_regular(&pipe).unwrap_err();
        assert_eq!(error.to_string(), "it is not a regular file");
        assert!(open_regular(place.path()).is_err());
        let file = place.path().join("file");
        fs::write(&file, "x").unwrap();
        assert!(open_regular(&file).is_ok());
        // The kind is that of the file to which a link leads.
        let link = place.path().join("link");
        std::os::unix::fs::symlink(&pipe, &link).unwrap();
        assert!(open_regular(&link).is_err());
    }
}
