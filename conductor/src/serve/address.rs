//! The file that tells other programs where this conductor listens.

use std::{
    fs,
    io::{self, Write as _},
    net::SocketAddr,
    path::PathBuf,
};

use super::ServeError;
use crate::{config::Config, whole_file::write_whole};

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
    write_whole(&address_file(config), &format!("{address}\n"))
        .map_err(|(path, cause)| ServeError::Write(path, cause))?;
    // The standard output may be closed or not read, so a thread writes to it and is not awaited.
    let tell = move || {
        let _ = writeln!(io::stdout(), "{address}");
    };
    let _ = std::thread::Builder::new().name("address".to_owned()).spawn(tell);
    Ok(())
}
