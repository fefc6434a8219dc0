//! A cgroup for the sandbox, if we may make one below our own. Then attempts have leaves that are
//! killed as a whole, and nothing of them outlives the sandbox.
//!
//! ```text
//! OURS/orchestra-sandbox-PID-STARTED/_daemons    the supervisor and all that it starts
//! OURS/orchestra-sandbox-PID-STARTED/HOST        what player HOST makes leaves in
//! ```
//!
//! It has to be of version 2. If there is none, or it cannot be written, players have no cgroups. A
//! cgroup that a sandbox could not remove, because its supervisor was killed, is removed by the
//! next sandbox: by then it is empty, and its name tells the supervisor.

use std::{
    fs, io,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use orchestra_model::{HostName, HostSet};

use super::process::Process;

/// How often a removal is tried, because the kernel takes a moment to see that the last process of
/// a cgroup has gone.
const TRIES: u32 = 50;
const PAUSE: Duration = Duration::from_millis(10);
/// How deep a score may have made cgroups below its own.
const DEPTH: usize = 8;

/// The sandbox's cgroup.
#[derive(Debug)]
pub(super) struct Cgroup {
    /// Where this process was before.
    origin: PathBuf,
    root: PathBuf,
}

impl Cgroup {
    /// Makes the sandbox's cgroup with one for each player, and moves this process into it. Returns
    /// `None` if that cannot be done here.
    pub(super) fn make(players: &HostSet, supervisor: Process) -> Option<Self> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
        let origin = own(&mounts, &fs::read_to_string("/proc/self/cgroup").ok()?)?;
        sweep(&origin);
        let root = origin.join(name(supervisor));
        fs::create_dir(&root).ok()?;
        let cgroup = Self { origin, root };
        match cgroup.fill(players) {
            Ok(()) => Some(cgroup),
            Err(_) => {
                cgroup.remove();
                None
            }
        }
    }

    fn fill(&self, players: &HostSet) -> io::Result<()> {
        for host in players {
            fs::create_dir(self.of(host))?;
        }
        // No host has this name, because the name of a host begins with a letter or digit.
        let daemons = self.root.join("_daemons");
        fs::create_dir(&daemons)?;
        fs::write(daemons.join("cgroup.procs"), "0")
    }

    /// Where a player makes the leaves of its attempts.
    pub(super) fn of(&self, host: &HostName) -> PathBuf {
        self.root.join(host.as_str())
    }

    /// The whole cgroup, for the process that has to remove it in our place.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Leaves the cgroup and removes it. No other process is in it any more.
    pub(super) fn remove(self) {
        let _ = fs::write(self.origin.join("cgroup.procs"), "0");
        remove(&self.root);
    }
}

const PREFIX: &str = "orchestra-sandbox-";

fn name(supervisor: Process) -> String {
    format!("{PREFIX}{}-{}", supervisor.pid, supervisor.started)
}

/// Returns the supervisor whose cgroup has this name, if it is one of a sandbox.
fn owner(name: &str) -> Option<Process> {
    let (pid, started) = name.strip_prefix(PREFIX)?.split_once('-')?;
    Some(Process { pid: pid.parse().ok()?, started: started.parse().ok()? })
}

/// Removes empty cgroups of sandboxes whose supervisors are gone.
fn sweep(origin: &Path) {
    let entries = fs::read_dir(origin).into_iter().flatten().flatten();
    for entry in entries {
        let gone = entry.file_name().to_str().and_then(owner).is_some_and(|owner| !owner.runs());
        let events = entry.path().join("cgroup.events");
        let is_empty = |events: String| events.lines().any(|line| line == "populated 0");
        if gone && fs::read_to_string(events).is_ok_and(is_empty) {
            let _ = remove_once(&entry.path(), DEPTH);
        }
    }
}

/// Removes an empty cgroup, and what is empty below it.
pub(super) fn remove(root: &Path) {
    for _ in 0..TRIES {
        match remove_once(root, DEPTH) {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => thread::sleep(PAUSE),
            _ => return,
        }
    }
}

fn remove_once(directory: &Path, depth: usize) -> io::Result<()> {
    if let Some(depth) = depth.checked_sub(1) {
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                remove_once(&entry.path(), depth)?;
            }
        }
    }
    fs::remove_dir(directory)
}

/// The directory of the version 2 cgroup that this process is in.
fn own(mountinfo: &str, cgroup: &str) -> Option<PathBuf> {
    let path = Path::new(cgroup.lines().find_map(|line| line.strip_prefix("0::"))?);
    mountinfo.lines().find_map(|line| {
        let (mount, file_system) = line.split_once(" - ")?;
        if file_system.split(' ').next()? != "cgroup2" {
            return None;
        }
        let mut fields = mount.split(' ').skip(3);
        let (root, point) = (fields.next()?, fields.next()?);
        Some(Path::new(point).join(path.strip_prefix(root).ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_whose_it_is() {
        let process = Process { pid: 42, started: 123_456 };
        assert_eq!(owner(&name(process)), Some(process));
        for other in ["orchestra-sandbox-", "orchestra-sandbox-1", "orchestra-sandbox-1-x", "x"] {
            assert_eq!(owner(other), None, "{other}");
        }
    }

    #[test]
    fn the_own_cgroup_is_found_below_its_mount() {
        let mounts = "30 24 0:26 / /sys/fs/cgroup ro - tmpfs tmpfs rw\n\
                      31 30 0:27 / /sys/fs/cgroup/unified rw shared:9 - cgroup2 cgroup2 rw\n";
        let found = |mounts, own_line: &str| own(mounts, own_line);
        let at = |path: &str| Some(PathBuf::from(path));
        assert_eq!(found(mounts, "1:cpu:/x\n0::/\n"), at("/sys/fs/cgroup/unified/"));
        assert_eq!(found(mounts, "0::/a/b.scope\n"), at("/sys/fs/cgroup/unified/a/b.scope"));
        let part = "31 30 0:27 /a /cg rw - cgroup2 cgroup2 rw\n";
        assert_eq!(found(part, "0::/a/b\n"), at("/cg/b"));
        assert_eq!(found(part, "0::/c\n"), None);
        assert_eq!(found("", "0::/c\n"), None);
        assert_eq!(found(mounts, "1:cpu:/x\n"), None);
    }
}
