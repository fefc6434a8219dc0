//! Carries the sample scores in `orc`: a table of every file below `scores/`, for
//! `src/sandbox/samples.rs`.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

fn main() -> io::Result<()> {
    let variable = |name| env::var_os(name).map(PathBuf::from).ok_or(io::ErrorKind::NotFound);
    let scores = variable("CARGO_MANIFEST_DIR")?.join("../scores").canonicalize()?;
    let mut files = Vec::new();
    collect(&scores, &mut files)?;
    files.sort();
    let mut table = String::from("[\n");
    for file in files {
        let name = file.strip_prefix(&scores).map_err(io::Error::other)?;
        table += &format!("    ({name:?}, include_bytes!({file:?})),\n");
    }
    table += "]\n";
    fs::write(variable("OUT_DIR")?.join("samples.rs"), table)
}

/// Collects every file below `directory`. Cargo watches each directory too, for files that come and
/// go.
fn collect(directory: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    println!("cargo::rerun-if-changed={}", directory.display());
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), files)?;
        } else {
            files.push(entry.path());
        }
    }
    Ok(())
}
