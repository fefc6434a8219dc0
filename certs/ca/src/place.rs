//! Files and directories that are private from the first moment, and whole or not there.

use std::{
    fs::{self, DirBuilder, File, Permissions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::Path,
};

use crate::error::CaError;

/// Who may read a file that is written.
#[derive(Clone, Copy)]
pub(crate) enum Access {
    /// Its owner.
    Private,
    /// Whoever can enter its directory, and whoever gets a copy.
    Public,
}

/// Makes the directory, and its parents, or finds it closed to others.
pub(crate) fn private_directory(path: &Path) -> Result<(), CaError> {
    let failed = |source| CaError::Write { path: path.into(), source };
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
    let mode = fs::metadata(path).map_err(failed)?.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(CaError::DirectoryMode { path: path.into(), mode });
    }
    Ok(())
}

/// Writes a file through a temporary one beside it. Its directory is still to be synchronised.
pub(crate) fn write(path: &Path, text: &str, access: Access, replace: bool) -> Result<(), CaError> {
    let failed = |source| CaError::Write { path: path.into(), source };
    let directory = path.parent().unwrap_or(Path::new("."));
    // Created with mode 0600, whatever the umask.
    let mut file =
        tempfile::Builder::new().prefix(".new-").tempfile_in(directory).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    if let Access::Public = access {
        file.as_file().set_permissions(Permissions::from_mode(0o644)).map_err(failed)?;
    }
    file.as_file().sync_all().map_err(failed)?;
    let persisted = if replace { file.persist(path) } else { file.persist_noclobber(path) };
    match persisted {
        Ok(_) => Ok(()),
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {
            Err(CaError::Exists(path.into()))
        }
        Err(error) => Err(failed(error.error)),
    }
}

/// Makes the names that were written into the directory last.
pub(crate) fn sync_directory(path: &Path) -> Result<(), CaError> {
    let synced = File::open(path).and_then(|directory| directory.sync_all());
    synced.map_err(|source| CaError::Write { path: path.into(), source })
}

/// Refuses to write where something is.
pub(crate) fn refuse_existing(path: &Path) -> Result<(), CaError> {
    // Also a link that points nowhere is something that is there.
    if path.symlink_metadata().is_ok() {
        return Err(CaError::Exists(path.into()));
    }
    Ok(())
}
