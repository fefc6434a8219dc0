//! A cgroup for each attempt: a leaf below the player's own, made and named before the attempt's
//! process, so that nothing it starts can be missed.
//!
//! With cgroup v2 a leaf is killed as a whole by one write, and says itself whether anything lives
//! in it. With v1 alone, a leaf of a hierarchy without effect on its processes (pids, freezer, or a
//! named one) serves to find them. On a host where neither can be written there are no leaves, and
//! `hunt.rs` finds processes by other marks.
//!
//! The leaf of an attempt that left a daemon behind stays until the daemon ends. It is removed when
//! another attempt ends, or when the next sitter starts.
//!
//! Paths are relative to the hierarchy's mount point ([`CgroupPath`]), made of what the kernel says
//! of this process and of ids.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use orchestra_model::delivery::{AttemptKey, SpoolId};
use orchestra_spool::CgroupPath;
use rustix::{
    fd::{AsFd, OwnedFd},
    fs::{Mode, OFlags},
    io::Errno,
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};

use self::mounts::{Hierarchy, Mount, candidates, mounts, place_of_v1};
use super::{
    limits::{Controller, OWN_LEAF, Places},
    spool_dir::attempt_name,
    sys::Entrance,
};
use crate::config;

mod mounts;

/// Most rounds in which a v1 leaf is killed before we look again later. Each round kills what
/// processes of the round before had started.
const ROUNDS: usize = 16;
/// How many processes of a leaf are held at once, to get a signal together. Each takes a descriptor
/// meanwhile; and each look at the leaf takes as long as there are processes in it, so that one look for
/// each process would keep the sitter for minutes where there are many.
const AT_ONCE: usize = 512;
/// How deep below its leaf a score that runs as root may have made cgroups that we still remove.
const DEPTH: usize = 8;

/// Why there can be no cgroups although the configuration names a place for them.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// The directory is in no mounted cgroup hierarchy.
    #[error("{} is not in a cgroup v2 file system", .0.display())]
    NotOne(PathBuf),
    /// No leaf can be made or used there.
    #[error("cannot make cgroups for attempts below {}", .0.display())]
    Unusable(PathBuf, #[source] io::Error),
    /// No place for leaves can limit their processes, which the configuration asks for.
    #[error(
        "processes_max = {0}, but no cgroup here has the pids controller; in a unit of systemd \
         Delegate=yes brings it"
    )]
    NoLimits(u32),
}

/// The place of the leaves.
#[derive(Clone, Debug)]
pub(crate) struct Cgroups {
    mount: PathBuf,
    /// Below `mount`; empty for the mount point itself.
    base: String,
    version: Version,
    /// What the names of this spool's leaves begin with.
    prefix: String,
    /// What the names of leaves of this place's units begin with, whichever spool they are of.
    units_prefix: String,
    /// Whether an attempt whose leaf cannot be made must not start.
    required: bool,
    /// Most processes and threads in a leaf.
    processes_max: Option<u32>,
    /// Where the limits of units are kept.
    limits: Places,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    V1,
    V2,
}

/// Looks whether the place that the configuration names is one, and makes no cgroup there. What is
/// found by itself (`"auto"`) is always right.
pub(crate) fn look(setting: &config::Cgroup) -> Result<(), CgroupError> {
    let config::Cgroup::At(path) = setting else { return Ok(()) };
    let mounts = mounts(&fs::read_to_string("/proc/self/mountinfo").unwrap_or_default());
    place_of_v2(&mounts, path)?;
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => Err(CgroupError::NotOne(path.clone())),
        Err(error) => Err(CgroupError::Unusable(path.clone(), error)),
    }
}

/// Returns the mount point of the cgroup v2 file system that a path is in, and where below it.
fn place_of_v2(mounts: &[Mount], path: &Path) -> Result<(PathBuf, String), CgroupError> {
    let not_one = || CgroupError::NotOne(path.to_owned());
    let is_around =
        |mount: &&Mount| mount.hierarchy == Hierarchy::V2 && path.starts_with(&mount.point);
    let mount = mounts.iter().find(is_around).ok_or_else(not_one)?;
    let base = path.strip_prefix(&mount.point).ok().and_then(Path::to_str);
    Ok((mount.point.clone(), base.ok_or_else(not_one)?.to_owned()))
}

impl Cgroups {
    /// Finds places for leaves and limits as the configuration says, and tries them. `None`: there
    /// are no cgroups.
    pub(crate) fn find(
        setting: &config::Cgroup,
        spool: SpoolId,
        units: &str,
        processes_max: Option<u32>,
    ) -> Result<Option<Self>, CgroupError> {
        let found = Self::find_leaves(setting, spool, units, processes_max)?;
        Ok(found.map(|cgroups| Self { limits: cgroups.find_limits(), ..cgroups }))
    }

    /// Finds the cgroup of v2 above the leaves, and a cgroup for each controller of v1: at the
    /// place that the configuration names, else where this process is.
    fn find_limits(&self) -> Places {
        let mounts = mounts(&fs::read_to_string("/proc/self/mountinfo").unwrap_or_default());
        let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let is_own = self.version == Version::V2 && self.enter_own_leaf(&own);
        let given = (self.mount.join(&self.base), self.required || is_own);
        let base = self.required.then_some(self.base.as_str());
        let v1 = Controller::ALL.into_iter().filter_map(|controller| {
            let dir = place_of_v1(&mounts, &own, controller.name(), base)?;
            Some((controller, dir))
        });
        Places::new((self.version == Version::V2).then_some(given), v1.collect())
    }

    /// Returns whether this process is in [`OWN_LEAF`] below the place of the leaves. If it is in
    /// that place itself, which the configuration names, it moves first.
    fn enter_own_leaf(&self, own: &str) -> bool {
        let Some(path) = own.lines().find_map(|line| line.strip_prefix("0::")) else {
            return false;
        };
        if path.ends_with(&format!("/{OWN_LEAF}")) {
            return true;
        }
        let base = self.mount.join(&self.base);
        let processes = fs::read_to_string(base.join("cgroup.procs")).unwrap_or_default();
        let number = std::process::id().to_string();
        // The root cgroup may hold processes even if it hands on controllers.
        let is_root = !base.join("cgroup.type").exists();
        if !self.required || is_root || !processes.lines().any(|line| line == number) {
            return false;
        }
        let leaf = base.join(OWN_LEAF);
        // An earlier sitter may have made it.
        let _ = fs::create_dir(&leaf);
        let moved = fs::write(leaf.join("cgroup.procs"), number);
        if let Err(error) = &moved {
            tracing::warn!(cgroup = %leaf.display(), %error, "cannot move into a cgroup of our own");
        }
        moved.is_ok()
    }

    fn find_leaves(
        setting: &config::Cgroup,
        spool: SpoolId,
        units: &str,
        processes_max: Option<u32>,
    ) -> Result<Option<Self>, CgroupError> {
        let prefix = format!("orchestra-{spool}-");
        let units_prefix = format!("orchestra-units-{units}-");
        let mounts = mounts(&fs::read_to_string("/proc/self/mountinfo").unwrap_or_default());
        match setting {
            config::Cgroup::None => Ok(None),
            config::Cgroup::At(path) => {
                let (mount, base) = place_of_v2(&mounts, path)?;
                let version = Version::V2;
                let cgroups = Self {
                    mount,
                    base,
                    version,
                    prefix,
                    units_prefix,
                    required: true,
                    processes_max,
                    limits: Places::default(),
                };
                cgroups.try_out().map_err(|why| CgroupError::Unusable(path.clone(), why))?;
                match processes_max {
                    Some(most) if !cgroups.can_limit() => Err(CgroupError::NoLimits(most)),
                    _ => Ok(Some(cgroups)),
                }
            }
            config::Cgroup::Auto => {
                let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
                let candidates = candidates(&mounts, &own);
                let found = candidates.into_iter().find_map(|(mount, base, version)| {
                    let prefix = prefix.clone();
                    let units_prefix = units_prefix.clone();
                    let cgroups = Self {
                        mount,
                        base,
                        version,
                        prefix,
                        units_prefix,
                        required: false,
                        processes_max,
                        limits: Places::default(),
                    };
                    let fits = cgroups.try_out().is_ok()
                        && (processes_max.is_none() || cgroups.can_limit());
                    fits.then_some(cgroups)
                });
                match (found, processes_max) {
                    (None, Some(most)) => Err(CgroupError::NoLimits(most)),
                    (found, _) => Ok(found),
                }
            }
        }
    }

    /// Returns the path of an attempt's leaf; `None` if it is too long to be kept.
    pub(crate) fn path_of(&self, key: AttemptKey) -> Option<CgroupPath> {
        CgroupPath::new(&self.below_base(&attempt_name(key)))
    }

    /// Returns the path of the leaf of a unit of this name.
    pub(crate) fn path_of_unit(&self, name: &str) -> Option<CgroupPath> {
        CgroupPath::new(&self.named_below_base(&self.leaf_name_of_unit(name)))
    }

    /// Returns the last component of that path, which names the unit's leaves in every hierarchy.
    pub(crate) fn leaf_name_of_unit(&self, name: &str) -> String {
        format!("{}{name}", self.units_prefix)
    }

    /// Where the limits of units are kept.
    pub(crate) fn limits(&self) -> &Places {
        &self.limits
    }

    /// Most processes and threads in any leaf.
    pub(crate) fn processes_max(&self) -> Option<u32> {
        self.processes_max
    }

    /// Returns every leaf of a unit of this place that exists.
    pub(crate) fn units(&self) -> Vec<Leaf> {
        let names = self.names().filter(|name| name.starts_with(&self.units_prefix));
        let paths = names.filter_map(|name| CgroupPath::new(&self.named_below_base(&name)));
        let leaves = paths.map(|path| self.leaf(&path));
        leaves.chain(self.limits.beginning(&self.units_prefix)).collect()
    }

    /// Makes a leaf. Returns `Ok(None)` if it cannot be made and is not required.
    pub(crate) fn make(&self, path: &CgroupPath) -> io::Result<Option<Leaf>> {
        let leaf = self.leaf(path);
        match fs::create_dir(&leaf.dir) {
            Ok(()) => {
                self.limit(&leaf);
                Ok(Some(leaf))
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                self.limit(&leaf);
                Ok(Some(leaf))
            }
            Err(error) if self.required => Err(error),
            Err(error) => {
                tracing::warn!(%error, cgroup = path.as_str(), "cannot make a cgroup; going without");
                Ok(None)
            }
        }
    }

    /// Returns whether leaves can be limited here, now or after what runs in them has ended.
    fn can_limit(&self) -> bool {
        let base = self.mount.join(&self.base);
        match self.version {
            // A leaf is asked, because the root of a hierarchy has no limit.
            Version::V1 => {
                let Some(probe) = CgroupPath::new(&self.below_base("probe")) else { return false };
                let leaf = self.leaf(&probe);
                let limits =
                    fs::create_dir(&leaf.dir).is_ok() && leaf.dir.join("pids.max").exists();
                leaf.remove();
                limits
            }
            Version::V2 => {
                let controllers = fs::read_to_string(base.join("cgroup.controllers"));
                controllers.is_ok_and(|names| names.split_whitespace().any(|name| name == "pids"))
            }
        }
    }

    /// Limits how many processes and threads a leaf may hold, if the configuration wants that.
    fn limit(&self, leaf: &Leaf) {
        let Some(most) = self.processes_max else { return };
        let file = leaf.dir.join("pids.max");
        let set = || fs::write(&file, most.to_string());
        let limited = set().or_else(|_| {
            // The kernel refuses this while processes live in leaves that were made without it.
            let control = self.mount.join(&self.base).join("cgroup.subtree_control");
            fs::write(control, "+pids").and_then(|()| set())
        });
        if let Err(error) = limited {
            tracing::warn!(%error, cgroup = %leaf.dir.display(), "an attempt runs without processes_max");
        }
    }

    /// Returns the leaf of an attempt that an earlier sitter started; `None` if it is gone.
    pub(crate) fn find_leaf(&self, path: &CgroupPath) -> Option<Leaf> {
        Some(self.leaf(path)).filter(|leaf| leaf.dir.is_dir())
    }

    /// Returns every leaf of this spool that is not among `known`.
    pub(crate) fn strays(&self, known: &BTreeSet<CgroupPathText>) -> Vec<Leaf> {
        let ours = self
            .names()
            .filter_map(|name| CgroupPath::new(&self.below_base(name.strip_prefix(&self.prefix)?)));
        ours.filter(|path| !known.contains(path.as_str())).map(|path| self.leaf(&path)).collect()
    }

    /// Returns a leaf, which need not exist.
    pub(crate) fn leaf(&self, path: &CgroupPath) -> Leaf {
        Leaf { dir: self.mount.join(path.as_str()), version: self.version }
    }

    fn names(&self) -> impl Iterator<Item = String> + use<> {
        let names = fs::read_dir(self.mount.join(&self.base)).into_iter().flatten();
        names.filter_map(|entry| entry.ok()?.file_name().into_string().ok())
    }

    fn below_base(&self, name: &str) -> String {
        self.named_below_base(&format!("{}{name}", self.prefix))
    }

    fn named_below_base(&self, name: &str) -> String {
        match self.base.as_str() {
            "" => name.to_owned(),
            base => format!("{base}/{name}"),
        }
    }

    /// Whether a leaf can be made, and a process moved into it from here.
    fn try_out(&self) -> io::Result<()> {
        let probe = CgroupPath::new(&self.below_base("probe"));
        let leaf = self.leaf(&probe.ok_or(io::ErrorKind::InvalidFilename)?);
        match fs::create_dir(&leaf.dir) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let usable = leaf.door();
        leaf.remove();
        // The kernel demands this right too, because the process comes from the cgroup above.
        let base = self.mount.join(&self.base).join("cgroup.procs");
        usable.and_then(|_| fs::OpenOptions::new().write(true).open(base)).map(drop)
    }
}

/// The text of a [`CgroupPath`], for sets.
pub(crate) type CgroupPathText = String;

/// One attempt's cgroup.
#[derive(Clone, Debug)]
pub(crate) struct Leaf {
    dir: PathBuf,
    version: Version,
}

impl Leaf {
    /// Returns the leaf of v1 at this directory.
    pub(crate) fn of_v1(dir: PathBuf) -> Self {
        Self { dir, version: Version::V1 }
    }

    /// Returns the leaf of v2 at this directory.
    pub(crate) fn of_v2(dir: PathBuf) -> Self {
        Self { dir, version: Version::V2 }
    }

    /// Whether it is one of v2.
    pub(crate) fn is_v2(&self) -> bool {
        self.version == Version::V2
    }

    /// Its directory.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Opens a way into the leaf for a new process.
    pub(crate) fn door(&self) -> io::Result<Door> {
        let open =
            |path: &Path, flags| rustix::fs::open(path, flags | OFlags::CLOEXEC, Mode::empty());
        let processes = open(&self.dir.join("cgroup.procs"), OFlags::WRONLY)?;
        let directory = match self.version {
            Version::V2 => Some(open(&self.dir, OFlags::PATH | OFlags::DIRECTORY)?),
            Version::V1 => None,
        };
        Ok(Door { directory, processes })
    }

    /// Kills everything in it. Processes are gone a moment later: see [`Leaf::is_empty`].
    pub(crate) fn kill(&self) {
        // Before Linux 5.14, and in v1, processes have to be killed one by one.
        if self.version == Version::V1 || fs::write(self.dir.join("cgroup.kill"), "1").is_err() {
            self.kill_one_by_one();
        }
    }

    fn kill_one_by_one(&self) {
        let mut killed = BTreeSet::new();
        for _ in 0..ROUNDS {
            let pids = self.processes().into_iter();
            let new: Vec<i32> = pids.filter(|pid| killed.insert(*pid)).collect();
            if new.is_empty() {
                return;
            }
            signal_those(&new, Signal::KILL, || self.processes());
        }
    }

    /// Sends a signal to everything in it.
    pub(crate) fn signal(&self, signal: Signal) {
        signal_those(&self.processes(), signal, || self.processes());
    }

    /// Whether nothing lives in it, or it is gone.
    pub(crate) fn is_empty(&self) -> bool {
        match self.version {
            Version::V1 => self.processes().is_empty(),
            Version::V2 => match fs::read_to_string(self.dir.join("cgroup.events")) {
                Ok(events) => events.lines().any(|line| line == "populated 0"),
                Err(_) => true,
            },
        }
    }

    /// Removes the leaf if nothing lives in it. Returns whether it is gone.
    pub(crate) fn remove(&self) -> bool {
        remove(&self.dir, DEPTH)
    }

    /// Returns the processes that live in the leaf.
    pub(crate) fn processes(&self) -> Vec<i32> {
        let text = fs::read_to_string(self.dir.join("cgroup.procs")).unwrap_or_default();
        text.lines().filter_map(|line| line.parse().ok()).collect()
    }
}

/// Sends a signal to those of these processes that are in a leaf; `inside` tells which are.
fn signal_those(pids: &[i32], signal: Signal, mut inside: impl FnMut() -> Vec<i32>) {
    let mut send = |held: &mut Vec<(i32, OwnedFd)>| {
        let inside: BTreeSet<i32> = inside().into_iter().collect();
        // Only if the number still belongs to a process in there is the pidfd of that one.
        for (_, pidfd) in held.drain(..).filter(|(pid, _)| inside.contains(pid)) {
            let _ = pidfd_send_signal(&pidfd, signal);
        }
    };
    let mut held = Vec::new();
    for pid in pids {
        let Some(number) = Pid::from_raw(*pid) else { continue };
        let mut opened = pidfd_open(number, PidfdFlags::empty());
        let has_no_room = matches!(opened, Err(Errno::MFILE | Errno::NFILE));
        if has_no_room && !held.is_empty() {
            send(&mut held);
            opened = pidfd_open(number, PidfdFlags::empty());
        }
        held.extend(opened.ok().map(|pidfd| (*pid, pidfd)));
        if held.len() >= AT_ONCE {
            send(&mut held);
        }
    }
    if !held.is_empty() {
        send(&mut held);
    }
}

/// A way into a leaf, open.
#[derive(Debug)]
pub(crate) struct Door {
    directory: Option<OwnedFd>,
    processes: OwnedFd,
}

impl Door {
    /// Lends the way to a system call.
    pub(crate) fn entrance(&self) -> Entrance<'_> {
        let directory = self.directory.as_ref().map(AsFd::as_fd);
        Entrance { directory, processes: self.processes.as_fd() }
    }
}

/// Removes an empty cgroup with all empty ones below it.
fn remove(dir: &Path, depth: usize) -> bool {
    let first = fs::remove_dir(dir);
    match first {
        Ok(()) => return true,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return true,
        Err(_) if depth == 0 => return false,
        Err(_) => {}
    }
    let below = fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok);
    let below = below.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let removed = below.filter(|entry| remove(&entry.path(), depth - 1)).count();
    removed > 0 && fs::remove_dir(dir).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks that a leaf of this version with a process in it can be killed, seen empty, and
    /// removed.
    fn check_leaf(mount: &str, version: Version) {
        let prefix = format!("orchestra-test-{}-", std::process::id());
        let cgroups = Cgroups {
            mount: mount.into(),
            base: String::new(),
            version,
            units_prefix: format!("{prefix}units-"),
            prefix,
            required: false,
            processes_max: None,
            limits: Places::default(),
        };
        if cgroups.try_out().is_err() {
            return;
        }
        let path = CgroupPath::new(&cgroups.below_base("leaf")).unwrap();
        let leaf = cgroups.make(&path).unwrap().unwrap();
        let script =
            format!("echo 0 > {}/cgroup.procs; sleep 1000 & sleep 1000", leaf.dir.display());
        let mut child = std::process::Command::new("sh").args(["-c", &script]).spawn().unwrap();
        while leaf.processes().len() < 2 {
            std::thread::yield_now();
        }
        assert!(!leaf.is_empty() && !leaf.remove());
        leaf.kill();
        child.wait().unwrap();
        while !leaf.is_empty() {
            std::thread::yield_now();
        }
        assert_eq!(cgroups.strays(&BTreeSet::new()).len(), 1);
        fs::create_dir(leaf.dir.join("below")).unwrap();
        assert!(leaf.remove() && !leaf.dir.exists());
        assert!(cgroups.strays(&BTreeSet::new()).is_empty());
    }

    #[test]
    fn leaves_work_in_every_hierarchy_of_this_host() {
        check_leaf("/sys/fs/cgroup", Version::V2);
        check_leaf("/sys/fs/cgroup/unified", Version::V2);
        check_leaf("/sys/fs/cgroup/pids", Version::V1);
    }

    #[test]
    fn a_leaf_is_not_looked_at_for_each_of_its_processes() {
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let own = child.id() as i32;
        let mut looks = 0;
        signal_those(&vec![own; 100 * AT_ONCE], Signal::CONT, || {
            looks += 1;
            vec![own]
        });
        // Where there are fewer descriptors than that, it takes a few looks more.
        assert!((100..=1_000).contains(&looks), "{looks}");
        // Whoever is not in it any more gets nothing.
        signal_those(&[own], Signal::KILL, Vec::new);
        assert!(child.try_wait().unwrap().is_none());
        signal_those(&[own], Signal::KILL, || vec![own]);
        child.wait().unwrap();
    }
}
