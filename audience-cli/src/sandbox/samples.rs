//! The sample scores, carried in this program so that an installed one has them too.

use std::{fs, io, os::unix::fs::PermissionsExt as _, path::Path};

/// Every file below `scores/` of the repository, by its path from there.
const SAMPLES: &[(&str, &[u8])] = &include!(concat!(env!("OUT_DIR"), "/samples.rs"));

/// Writes the samples into `directory`, which must not exist. A player refuses files that others
/// can write, so each mode is set, independent of the umask and of the modes in the clone.
pub(super) fn extract(directory: &Path) -> io::Result<()> {
    let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode));
    fs::create_dir(directory)?;
    mode(directory, 0o755)?;
    for (name, bytes) in SAMPLES {
        // The table is sorted, so a directory is made with its first file.
        let mut below = directory.to_owned();
        let parts: Vec<&str> = name.split('/').collect();
        let (file, directories) = parts.split_last().unwrap_or((name, &[]));
        for part in directories {
            below.push(part);
            if !below.exists() {
                fs::create_dir(&below)?;
                mode(&below, 0o755)?;
            }
        }
        below.push(file);
        fs::write(&below, bytes)?;
        mode(&below, if bytes.starts_with(b"#!") { 0o755 } else { 0o644 })?;
    }
    Ok(())
}

/// The sample that is a program and no script: it lies beside this one where it was built, and an
/// installation may leave it out.
const SERVER: &str = "serve-web";
const SERVER_CONF: &str = include_str!("../../../demo/serve-web/serve-web.conf");

/// Adds the sample server to the samples in `scores`, if there is one among the `programs`.
pub(super) fn copy_server(programs: &Path, scores: &Path) -> io::Result<()> {
    match fs::copy(programs.join(SERVER), scores.join(SERVER)) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    }
    let conf = scores.join(format!("{SERVER}.conf"));
    fs::write(&conf, SERVER_CONF)?;
    fs::set_permissions(&conf, fs::Permissions::from_mode(0o644))?;
    fs::set_permissions(scores.join(SERVER), fs::Permissions::from_mode(0o755))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_come_out_with_modes_that_a_player_accepts() {
        let place = tempfile::tempdir().unwrap();
        let scores = place.path().join("scores");
        extract(&scores).unwrap();
        for (name, bytes) in SAMPLES {
            let path = scores.join(name);
            assert_eq!(fs::read(&path).unwrap(), *bytes, "{name}");
            let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
            assert_eq!(mode(path.parent().unwrap()), 0o755, "{name}");
            let expected = if name.ends_with(".conf") { 0o644 } else { mode(&path) };
            assert_eq!(mode(&path), expected, "{name}");
        }
        for name in
            ["hello", "load", "fail", "sleep", "install-package", "restart-apache", "rsync-pull"]
        {
            let mode = fs::metadata(scores.join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o7777, 0o755, "{name}");
            assert!(scores.join(format!("{name}.conf")).is_file(), "{name}");
        }
    }
}
