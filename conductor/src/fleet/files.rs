//! Optional files. A file counts as missing only if it certainly is. A file that cannot be read, or
//! a link that leads nowhere, is an error, because it may hold limits.

use std::{
    fs, io,
    io::Read as _,
    path::{Path, PathBuf},
};

use orchestra_certs::open_regular;
use orchestra_document::{Format, Problems};

/// A file of one of the directories below that of the configuration.
pub(super) struct Document {
    /// The name as people are told: `deployments.d/web.yaml`.
    pub(super) name: String,
    pub(super) format: Format,
    pub(super) text: String,
}

/// Reads the files of a directory below that of the configuration, in the order of their names.
/// Hidden files, and those that are neither YAML, TOML nor JSON by name, are ignored, because
/// editors and packages leave such files. A file is read up to `most` bytes and one more. Returns
/// `None` if there is no directory.
pub(super) fn read_documents(
    configuration: &Path,
    directory: &str,
    most: usize,
    problems: &mut Problems,
) -> Option<Vec<Document>> {
    let path = configuration.join(directory);
    let paths = match if_there(&path, list(&path)) {
        Ok(paths) => paths?,
        Err(error) => {
            problems.add(directory, format_args!("it cannot be read: {error}"));
            return None;
        }
    };
    let mut files = Vec::with_capacity(paths.len());
    for path in paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let Some(format) = Format::of_path(&path).filter(|_| !name.starts_with('.')) else {
            continue;
        };
        let name = format!("{directory}/{name}");
        match read_text(&path, most as u64) {
            Ok(text) => files.push(Document { name, format, text }),
            Err(error) => problems.add(&name, format_args!("it cannot be read: {error}")),
        }
    }
    Some(files)
}

fn list(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(directory)?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<PathBuf>>>()?;
    paths.sort_unstable();
    Ok(paths)
}

/// Reads a text of at most `most` bytes and one more, which shows that it is larger.
pub(super) fn read_text(path: &Path, most: u64) -> io::Result<String> {
    let mut text = String::new();
    open_regular(path)?.take(most.saturating_add(1)).read_to_string(&mut text)?;
    Ok(text)
}

/// Returns the outcome of looking at `path`; `None` if there is nothing of this name.
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
