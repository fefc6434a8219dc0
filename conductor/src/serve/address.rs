//! The file that tells other programs where this one listens.

use std::{
    fs,
    io::{self, Write as _},
    net::SocketAddr,
    path::PathBuf,
};

use super::ServeError;
use crate::config::Config;

fn address_file(config: &Config) -> PathBuf {
    config.state_dir.join("address")
}

/// Removes what the last one left, so that nobody goes there.
pub(super) fn forget_address(config: &Config) -> Result<(), ServeError> {
    let path = address_file(config);
    match fs::remove_file(&path) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
            Err(ServeError::Write(path, cause))
        }
        _ => Ok(()),
    }
}

/// Tells other programs where this one listens: whole, or not at all.
pub(super) fn write_address(config: &Config, address: SocketAddr) -> Result<(), ServeError> {
    let path = address_file(config);
    let temporary = path.with_extension("new");
    fs::write(&temporary, format!("{address}\n"))
        .and_then(|()| fs::rename(&temporary, &path))
        .map_err(|cause| ServeError::Write(path, cause))?;
    // Whoever started us may have closed our standard output, or may not read it: nobody waits.
    let tell = move || {
        let _ = writeln!(io::stdout(), "{address}");
    };
    let _ = std::thread::Builder::new().name("address".to_owned()).spawn(tell);
    Ok(())
}
