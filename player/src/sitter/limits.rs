//! Limits of what a unit's run may have of its host: plain files of cgroups.
//!
//! Three controllers do it: `memory`, `cpu` and `pids`. A host has each of them in cgroup v2, or in
//! a hierarchy of v1, or not at all:
//!
//! ```text
//! v2   the unit's leaf itself           memory.max   cpu.max                    pids.max
//! v1   a leaf of the same name in       memory.limit_in_bytes, memory.memsw.…   pids.max
//!      each controller's hierarchy      cpu.cfs_period_us, cpu.cfs_quota_us
//! ```
//!
//! A reserve is told to the kernel too (`memory.low`, `memory.soft_limit_in_bytes`): if memory is
//! short, the kernel takes it from others first. The units' engine sees to it that all reserves fit
//! the host.
//!
//! The unit's leaf, by which its run is killed, is made first; the leaves of v1 stand beside it.
//! All limits are written before the run's process is made. The process enters the leaves before it
//! executes its program.
//!
//! In v2 a leaf has a controller only if the cgroup above hands it on (`cgroup.subtree_control`).
//! The sitter changes that only in a cgroup that it was given: its configuration names a `cgroup`,
//! or it was started in a cgroup called [`OWN_LEAF`] (`DelegateSubgroup=` of systemd). A cgroup
//! that hands on controllers may hold no processes. So a sitter that starts in the cgroup that its
//! configuration names moves into [`OWN_LEAF`] below it.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};

use orchestra_model::{ByteSize, service::Resources};
use rustix::fs::Access;

use super::cgroup::Leaf;

mod files;
mod oom;

pub(crate) use self::oom::OutOfMemoryAlarm;

/// The name of the sitter's own cgroup, below the cgroup whose controllers it hands on.
pub(crate) const OWN_LEAF: &str = "orchestra-player";
/// Most leaves of v1 beside one of v2: one for each controller.
pub(crate) const LIMITING_LEAVES: usize = Controller::ALL.len();

/// What can be limited, as the kernel calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Controller {
    Memory,
    Cpu,
    Pids,
}

impl Controller {
    pub(crate) const ALL: [Controller; 3] = [Self::Memory, Self::Cpu, Self::Pids];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Cpu => "cpu",
            Self::Pids => "pids",
        }
    }

    fn is_needed(self, resources: &Resources) -> bool {
        match self {
            Self::Memory => resources.memory.is_some() || resources.reserve.is_some(),
            Self::Cpu => resources.cpu.is_some(),
            Self::Pids => resources.processes.is_some(),
        }
    }
}

/// Where limits can be kept; by default nowhere.
#[derive(Clone, Debug, Default)]
pub(crate) struct Places {
    /// The cgroup of v2 above the units' leaves.
    v2: Option<Base>,
    /// For each controller of v1, the cgroup below which leaves are made.
    v1: Vec<(Controller, PathBuf)>,
}

/// The cgroup of v2 above the leaves.
#[derive(Clone, Debug)]
struct Base {
    dir: PathBuf,
    /// Whether the sitter was given it, and so may have its controllers handed on.
    is_given: bool,
}

/// Where a controller's files are.
#[derive(Debug, PartialEq, Eq)]
enum Place<'a> {
    /// In the unit's own leaf, of v2.
    Leaf,
    /// In a leaf below this cgroup of v1.
    Beside(&'a Path),
}

impl Places {
    /// `v2` is the cgroup above the leaves, and whether the sitter was given it; `v1` is where
    /// leaves are to be made for each controller.
    pub(crate) fn new(v2: Option<(PathBuf, bool)>, v1: Vec<(Controller, PathBuf)>) -> Self {
        let may_write = |dir: &Path| rustix::fs::access(dir, Access::WRITE_OK).is_ok();
        Self {
            v2: v2.map(|(dir, is_given)| Base { dir, is_given }),
            v1: v1.into_iter().filter(|(_, dir)| dir.is_dir() && may_write(dir)).collect(),
        }
    }

    /// Returns where a controller's files are. Has it handed on in v2 if that is needed and
    /// allowed.
    fn place(&self, controller: Controller) -> Option<Place<'_>> {
        if self.v2.as_ref().is_some_and(|base| base.hands_on(controller)) {
            return Some(Place::Leaf);
        }
        let found = self.v1.iter().find(|(of, _)| *of == controller);
        found.map(|(_, base)| Place::Beside(base))
    }

    /// Returns the controllers that these limits need and that are missing here, if any.
    pub(crate) fn missing(&self, resources: &Resources) -> Option<MissingControllers> {
        let needed = Controller::ALL.into_iter().filter(|it| it.is_needed(resources));
        let missing: Vec<_> = needed.filter(|it| self.place(*it).is_none()).collect();
        let is_kept_back = |base: &&Base| missing.iter().any(|it| base.has(*it));
        let kept_back = self.v2.as_ref().filter(is_kept_back).map(|base| base.dir.clone());
        (!missing.is_empty()).then_some(MissingControllers { controllers: missing, kept_back })
    }

    /// Sets the limits of the unit's leaf of this name. Returns the leaves of v1 that were made for
    /// that, which the run has to enter too. A limit that cannot be set is left out if the limits
    /// need not be enforced.
    pub(crate) fn lay(
        &self,
        name: &str,
        leaf: Option<&Leaf>,
        resources: &Resources,
    ) -> Result<Vec<Leaf>, LimitError> {
        let mut beside: Vec<Leaf> = Vec::new();
        for controller in Controller::ALL.into_iter().filter(|it| it.is_needed(resources)) {
            match self.lay_one(controller, name, leaf, resources) {
                Ok(None) => {}
                Ok(Some(made)) if beside.iter().any(|known| known.dir() == made.dir()) => {}
                Ok(Some(made)) => beside.push(made),
                Err(error) if resources.enforced => return Err(error),
                Err(error) => tracing::debug!(cgroup = name, %error, "a limit is not kept"),
            }
        }
        Ok(beside)
    }

    fn lay_one(
        &self,
        controller: Controller,
        name: &str,
        leaf: Option<&Leaf>,
        resources: &Resources,
    ) -> Result<Option<Leaf>, LimitError> {
        match (self.place(controller), leaf) {
            (Some(Place::Leaf), Some(leaf)) => {
                files::write(leaf.dir(), files::of_v2(controller, resources)).map(|()| None)
            }
            (Some(Place::Beside(base)), _) => {
                let leaf = Leaf::of_v1(base.join(name));
                match fs::create_dir(leaf.dir()) {
                    Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                        return Err(LimitError { file: leaf.dir().to_owned(), source: error });
                    }
                    _ => {}
                }
                files::write(leaf.dir(), files::of_v1(controller, resources))?;
                Ok(Some(leaf))
            }
            (Some(Place::Leaf) | None, _) => {
                let source = io::Error::other("the controller is gone");
                Err(LimitError { file: PathBuf::from(controller.name()), source })
            }
        }
    }

    /// Returns the leaves of v1 of this name that exist.
    pub(crate) fn beside(&self, name: &str) -> Vec<Leaf> {
        let dirs = self.v1.iter().map(|(_, base)| base.join(name));
        dirs.filter(|dir| dir.is_dir()).map(Leaf::of_v1).collect()
    }

    /// Returns the leaves of v1 whose names begin with `prefix`.
    pub(crate) fn beginning(&self, prefix: &str) -> Vec<Leaf> {
        let entries = self.v1.iter().filter_map(|(_, base)| fs::read_dir(base).ok()).flatten();
        let names = entries.filter_map(Result::ok);
        let ours = names.filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix));
        ours.map(|entry| Leaf::of_v1(entry.path())).collect()
    }

    /// Returns how much memory the cgroup above them lets all units have together; `None` if it has
    /// no limit, or none that can be read.
    pub(crate) fn memory(&self) -> Option<ByteSize> {
        let v2 = self.v2.iter().map(|base| base.dir.join("memory.max"));
        let of_memory = self.v1.iter().filter(|(of, _)| *of == Controller::Memory);
        let v1 = of_memory.map(|(_, base)| base.join("memory.limit_in_bytes"));
        let limits = v2.chain(v1).filter_map(|file| fs::read_to_string(file).ok());
        limits.filter_map(|limit| limit.trim().parse().ok().map(ByteSize)).min()
    }

    /// Returns an alarm that tells when the kernel has killed a process in the unit's leaf of this
    /// name for want of memory. `None` if the memory of the leaf is not counted.
    pub(crate) fn alarm(
        &self,
        name: &str,
        leaf: Option<&Leaf>,
    ) -> io::Result<Option<OutOfMemoryAlarm>> {
        let of_memory = |(of, _): &&(Controller, PathBuf)| *of == Controller::Memory;
        let v1 = self.v1.iter().find(of_memory).map(|(_, base)| base.join(name));
        match (leaf.filter(|leaf| leaf.dir().join(oom::EVENTS).exists()), v1) {
            (Some(leaf), _) => OutOfMemoryAlarm::of_v2(leaf.dir()).map(Some),
            (None, Some(dir)) if dir.is_dir() => OutOfMemoryAlarm::of_v1(&dir).map(Some),
            (None, _) => Ok(None),
        }
    }
}

impl Base {
    fn has(&self, controller: Controller) -> bool {
        self.lists("cgroup.controllers", controller)
    }

    fn lists(&self, file: &str, controller: Controller) -> bool {
        let names = fs::read_to_string(self.dir.join(file)).unwrap_or_default();
        names.split_whitespace().any(|name| name == controller.name())
    }

    /// Returns whether the leaves have a controller. Hands it on to them first if we may.
    fn hands_on(&self, controller: Controller) -> bool {
        const HANDED_ON: &str = "cgroup.subtree_control";
        if self.lists(HANDED_ON, controller) {
            return true;
        }
        if !self.is_given || !self.has(controller) {
            return false;
        }
        let more = format!("+{}", controller.name());
        let handed_on = fs::write(self.dir.join(HANDED_ON), more);
        if let Err(error) = &handed_on {
            let (cgroup, controller) = (self.dir.display(), controller.name());
            tracing::warn!(%cgroup, controller, %error, "cannot hand on a controller");
        }
        handed_on.is_ok()
    }
}

/// What cannot be limited on this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MissingControllers {
    controllers: Vec<Controller>,
    /// A cgroup that has one of them and does not hand it on.
    kept_back: Option<PathBuf>,
}

impl MissingControllers {
    /// Returns what is missing on a player without any cgroup.
    pub(crate) fn all_of(resources: &Resources) -> Option<Self> {
        Places::default().missing(resources)
    }
}

/// `no cgroup of this player has memory, pids`
impl fmt::Display for MissingControllers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.controllers.iter().map(|it| it.name()).collect();
        let names = names.join(", ");
        match &self.kept_back {
            None => write!(f, "no cgroup of this player has the controllers it takes: {names}"),
            Some(base) => {
                let base = base.display();
                write!(f, "the player was not given {base} to hand on its controllers: {names}")
            }
        }
    }
}

/// Why a limit is not set.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {}", .file.display())]
pub(crate) struct LimitError {
    file: PathBuf,
    source: io::Error,
}

#[cfg(test)]
mod tests;
