//! Files that may be there or not. Only what certainly is not there counts as that: what cannot be
//! read, or is a link that leads nowhere, is an error, for it may hold limits.

use std::{fs, io, io::Read as _, path::Path};

use orchestra_certs::open_regular;

/// Reads a text of at most `most` bytes, or one more, which tells that it is larger.
pub(super) fn read_text(path: &Path, most: u64) -> io::Result<String> {
    let mut text = String::new();
    open_regular(path)?.take(most.saturating_add(1)).read_to_string(&mut text)?;
    Ok(text)
}

/// The outcome of looking at `path`; `None` where there is nothing of this name.
pub(super) fn if_there<T>(path: &Path, outcome: io::Result<T>) -> io::Result<Option<T>> {
    match outcome {
        Err(error) if error.kind() == io::ErrorKind::NotFound => match fs::symlink_metadata(path) {
            Err(none) if none.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
            Ok(_) => Err(io::Error::new(error.kind(), "it is a link that leads nowhere")),
        },
        outcome => outcome.map(Some),
    }
}
