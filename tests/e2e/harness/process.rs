//! Processes, as `/proc` shows them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rustix::process::{Pid, Signal, kill_process};

/// A process that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    /// Its number.
    pub(crate) pid: i32,
    /// Its arguments.
    pub(crate) arguments: Vec<String>,
    /// Its environment, `KEY=VALUE` each; empty where it may not be read.
    pub(crate) environment: Vec<String>,
}

impl Process {
    fn of(pid: i32) -> Option<Self> {
        // A process that is gone, or a zombie, has neither.
        let list = |name: &str| {
            let text = fs::read(format!("/proc/{pid}/{name}")).ok()?;
            let parts = text.split(|byte| *byte == 0).filter(|part| !part.is_empty());
            Some(parts.map(|part| String::from_utf8_lossy(part).into_owned()).collect())
        };
        let arguments: Vec<String> = list("cmdline")?;
        let environment = list("environ").unwrap_or_default();
        (!arguments.is_empty()).then_some(Self { pid, arguments, environment })
    }
}

/// Everything that runs and has `text` in its arguments or its environment, but for this process.
pub(crate) fn processes_with(text: &str) -> Vec<Process> {
    let own = std::process::id() as i32;
    let names = fs::read_dir("/proc").expect("/proc is mounted").flatten();
    let pids = names.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| *pid != own)
        .filter_map(Process::of)
        .filter(|process| {
            process.arguments.iter().chain(&process.environment).any(|word| word.contains(text))
        })
        .collect()
}

/// Whether a process is there and no zombie.
pub(crate) fn is_alive(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The state follows the name in parentheses, which may hold anything.
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
}

/// Sends a signal to a process, which may be gone.
pub(super) fn signal(pid: i32, signal: Signal) {
    let pid = Pid::from_raw(pid).expect("a process number");
    // Gone is as good as told.
    let _ = kill_process(pid, signal);
}

/// A cgroup of this fleet alone, below which its players make theirs.
#[derive(Debug)]
pub(super) struct OwnCgroup(PathBuf);

impl OwnCgroup {
    /// Makes one, where there is cgroup v2 and it may be written.
    pub(super) fn make(name: &str) -> Option<Self> {
        let path = own_cgroups()?.join(name);
        fs::create_dir(&path).expect("what can be written can be written");
        Some(Self(path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for OwnCgroup {
    fn drop(&mut self) {
        // Whatever was in there is dead, or dying.
        let _ = fs::write(self.0.join("cgroup.kill"), "1");
        for _ in 0..100 {
            for entry in fs::read_dir(&self.0).into_iter().flatten().flatten() {
                let _ = fs::remove_dir(entry.path());
            }
            if fs::remove_dir(&self.0).is_ok() || !self.0.exists() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }
}

/// Where cgroups v2 can be made by this process; `None` where they cannot.
fn own_cgroups() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    let mount = mounts.lines().find_map(|line| {
        let mut fields = line.split(' ');
        let (point, kind) = (fields.nth(1)?, fields.next()?);
        (kind == "cgroup2").then(|| PathBuf::from(point))
    })?;
    let probe = mount.join(format!(
        "orchestra-e2e-probe-{}-{:?}",
        std::process::id(),
        std::thread::current().id()
    ));
    fs::create_dir(&probe).ok()?;
    // Rights to make one are of no use without the right to enter it.
    let usable = fs::OpenOptions::new().write(true).open(probe.join("cgroup.procs")).is_ok();
    fs::remove_dir(&probe).ok()?;
    usable.then_some(mount)
}
