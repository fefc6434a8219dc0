//! For tests of the sandbox: its program, waiting for a condition, and who is left of it.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

pub(crate) use orchestra_harness::eventually;
use orchestra_harness::{PATIENCE, until};

/// `orc`, where Cargo put it: two above this test's program.
pub(crate) fn orc() -> Command {
    let own = env::current_exe().unwrap();
    let programs = own.ancestors().nth(2).unwrap();
    for program in ["orc", "submitjob", "getstatus", "conductor", "player"] {
        let path = programs.join(program);
        assert!(path.is_file(), "{} is missing: cargo build --workspace --bins", path.display());
    }
    let mut orc = Command::new(programs.join("orc"));
    // A sandbox around this test is none of our business.
    for (name, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("ORC")) {
        orc.env_remove(name);
    }
    orc
}

/// Waits until nobody is left who has something to do with this directory.
fn nobody_left(directory: &Path) {
    until(PATIENCE, "nobody to be left, but there are:", || {
        let left = processes_of(directory);
        if left.is_empty() { Ok(()) } else { Err(left.join("\n")) }
    });
}

/// Every process that has something to do with this directory: by its arguments, its working
/// directory or its environment.
fn processes_of(directory: &Path) -> Vec<String> {
    let needle = directory.to_str().unwrap().as_bytes();
    let mentions = |bytes: &[u8]| bytes.windows(needle.len()).any(|window| window == needle);
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let process = entry.path();
        let read = |name: &str| fs::read(process.join(name)).unwrap_or_default();
        let arguments = read("cmdline");
        let place = fs::read_link(process.join("cwd")).unwrap_or_default();
        if mentions(&arguments) || place.starts_with(directory) || mentions(&read("environ")) {
            let line = String::from_utf8_lossy(&arguments).replace('\0', " ");
            found.push(format!("{}: {line}", entry.file_name().to_string_lossy()));
        }
    }
    found
}

/// A directory for a sandbox that is not there yet, and one beside it for what scores write.
pub(crate) struct Place {
    _directory: tempfile::TempDir,
    pub(crate) sandbox: PathBuf,
    pub(crate) root: PathBuf,
}

impl Place {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let sandbox = directory.path().join("sandbox");
        let root = directory.path().join("root");
        fs::create_dir(&root).unwrap();
        Self { _directory: directory, sandbox, root }
    }

    /// Everybody of the sandbox, and everybody whom its scores have left.
    pub(crate) fn processes(&self) -> Vec<String> {
        processes_of(self.both())
    }

    /// Waits until there is none of them.
    pub(crate) fn deserted(&self) {
        nobody_left(self.both());
    }

    fn both(&self) -> &Path {
        self.sandbox.parent().unwrap()
    }
}
