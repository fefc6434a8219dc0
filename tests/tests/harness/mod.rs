//! For tests of the sandbox: its program, waiting for a condition, and who is left of it.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

/// Longest that a condition is waited for. None is expected to come near it.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often it is looked at.
const LOOK: Duration = Duration::from_millis(20);

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

/// Waits until `look` finds something.
pub(crate) fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let late = Instant::now() >= deadline;
        if let Some(found) = look() {
            return found;
        }
        assert!(!late, "waited {PATIENCE:?} in vain for: {what}");
        thread::sleep(LOOK);
    }
}

/// Waits until nobody is left who has something to do with this directory.
fn nobody_left(directory: &Path) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let late = Instant::now() >= deadline;
        let left = processes_of(directory);
        if left.is_empty() {
            return;
        }
        assert!(!late, "after {PATIENCE:?} these are left:\n{}", left.join("\n"));
        thread::sleep(LOOK);
    }
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
