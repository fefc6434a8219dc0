//! Who may serve whom in a tree, looked at anew.

use orchestra_model::{
    HostName, TaskState, Timestamp,
    record::TaskRecord,
    tree::{Advance, Orphans, Parent, TreeSpec},
};

use super::{Job, Reference};

impl Job {
    fn branches(&self) -> Option<&TreeSpec> {
        self.spec.tree.as_deref()
    }

    fn roots(&self) -> &[HostName] {
        self.tree.as_ref().map_or(&[], |tree| tree.root.as_slice())
    }

    /// The group of a host: its number, or 0 where there is but one.
    fn group(&self, name: &HostName) -> usize {
        let groups = self.tree.iter().flat_map(|tree| &tree.groups);
        groups.into_iter().position(|group| group.contains(name)).unwrap_or_default()
    }

    /// The hosts of a task's group in the order in which they fill its tree: the root's first.
    fn places(&self, index: usize) -> (Vec<&HostName>, usize) {
        let group = self.group(self.host(index));
        let roots: Vec<&HostName> =
            self.roots().iter().filter(|name| self.group(name) == group).collect();
        let first = roots.len();
        let targets = self.targets.iter().filter(|name| self.group(name) == group);
        (roots.into_iter().chain(targets).collect(), first)
    }

    /// Who is planned to serve a task; `None` for the first of its group.
    fn planned(&self, index: usize) -> Option<&HostName> {
        let branches = self.branches()?.branches as usize;
        let (places, roots) = self.places(index);
        let place = places.iter().position(|name| *name == self.host(index))?;
        match roots {
            0 => places.get(place.checked_sub(1)? / branches).copied(),
            roots => places.get((place - roots) / branches).copied(),
        }
    }

    /// How many are planned above a task.
    fn generation(&self, index: usize) -> usize {
        let parent = self.planned(index).and_then(|parent| self.index_of(parent));
        let is_root = self.planned(index).is_some_and(|parent| self.roots().contains(parent));
        usize::from(is_root) + parent.map_or(0, |parent| self.generation(parent) + 1)
    }

    fn host(&self, index: usize) -> &HostName {
        &self.targets.as_slice()[index]
    }

    fn index_of(&self, name: &HostName) -> Option<usize> {
        self.targets.iter().position(|target| target == name)
    }

    /// Whether a host has what is passed on.
    fn has(&self, name: &HostName) -> bool {
        let is_ok = |index| self.state_of(index) == TaskState::Ok;
        self.roots().contains(name) || self.index_of(name).is_some_and(is_ok)
    }

    /// How many attempts a host serves.
    fn served_by(&self, name: &HostName) -> usize {
        let serves = |index: &usize| {
            let parent = self.tasks[*index].parent.as_ref().and_then(Parent::host);
            self.state_of(*index).is_in_flight() && parent == Some(name)
        };
        (0..self.tasks.len()).filter(serves).count()
    }

    /// Whether a task is skipped as soon as it is looked at: its planned parent ended otherwise than ok.
    pub(super) fn is_to_be_skipped(&self, index: usize) -> bool {
        let skips = self.branches().is_some_and(|tree| tree.orphans == Orphans::Skip);
        skips && !self.tasks[index].touched && self.is_orphan(index)
    }

    /// Whether a task's planned parent ended otherwise than ok.
    fn is_orphan(&self, index: usize) -> bool {
        let parent = self.planned(index).and_then(|parent| self.index_of(parent));
        parent
            .map(|parent| self.state_of(parent))
            .is_some_and(|state| state.is_final() && state != TaskState::Ok)
    }
}

impl Reference {
    /// After a start hosts have some time to come back.
    pub(super) fn await_return(&mut self, now: Timestamp) {
        self.returning_until = now.after(orchestra_model::Millis::seconds(45));
    }

    fn can_serve(&self, name: &HostName) -> bool {
        let host = &self.hosts[name];
        host.member && host.session.is_some() && !host.drained && host.down.is_none()
    }

    /// The hosts that serve in a job's tree, each with its free places.
    fn servers<'a>(&'a self, job: &'a Job) -> Vec<(&'a HostName, usize)> {
        let branches = job.branches().map_or(0, |tree| tree.branches as usize);
        let all = job.roots().iter().chain(&job.targets);
        all.filter(|name| job.has(name) && self.can_serve(name))
            .map(|name| (name, branches.saturating_sub(job.served_by(name))))
            .collect()
    }

    /// Whether a task has to wait for a host that serves it.
    pub(super) fn is_unserved(&self, job: &Job, index: usize) -> bool {
        let Some(tree) = job.branches() else { return false };
        if tree.advance == Advance::Generation {
            let open = (0..job.tasks.len()).filter(|index| job.state_of(*index).is_in_flight());
            let first = open.map(|index| job.generation(index)).min();
            if first.is_some_and(|first| job.generation(index) > first) {
                return true;
            }
        }
        let servers = self.servers(job);
        let group = job.group(job.host(index));
        let is_own = |(name, _): &&(&HostName, usize)| job.group(name) == group;
        let own: Vec<_> = servers.iter().filter(is_own).collect();
        if !own.is_empty() {
            return own.iter().all(|(_, free)| *free == 0);
        }
        let of_group = |index: &usize| job.group(job.host(*index)) == group;
        let mut running = (0..job.tasks.len()).filter(|at| job.state_of(*at).is_in_flight());
        if running.clone().any(|at| of_group(&at)) {
            return true;
        }
        let is_any_free = servers.iter().any(|(_, free)| *free > 0);
        !is_any_free && (!servers.is_empty() || running.next().is_some())
    }

    /// Whether a task may wait for hosts that have it and still have time to come back.
    pub(super) fn may_expect(&self, job: &Job) -> bool {
        let mut all = job.roots().iter().chain(&job.targets);
        job.branches().is_some() && self.now < self.returning_until && all.any(|name| job.has(name))
    }

    /// A task is served by a host that has it, and has a free place: its planned parent where that is
    /// such a host, else one of its group where there is one. An orphan may be for the root to take.
    pub(super) fn check_parent(&self, job: &Job, record: &TaskRecord, named: &str) {
        let (Some(tree), Some(parent)) = (job.branches(), &record.parent) else {
            assert_eq!(job.branches().is_some(), record.parent.is_some(), "{named}: a parent");
            return;
        };
        let index = record.index as usize;
        let servers = self.servers(job);
        let group = job.group(job.host(index));
        let free =
            |name: &HostName| servers.iter().any(|(server, free)| *server == name && *free > 0);
        let runs = (0..job.tasks.len()).any(|index| job.state_of(index).is_in_flight());
        let Some(host) = parent.host() else {
            let is_first = servers.is_empty() && job.roots().is_empty() && !runs;
            return assert!(is_first, "{named} is served by nobody, beside {servers:?}");
        };
        if servers.is_empty() {
            let is_root = job.roots().first() == Some(host) && !runs;
            return assert!(is_root, "{named} is served by {host}, which does not serve");
        }
        assert!(free(host), "{named} is served by {host}, of {servers:?}");
        let is_own = |name: &HostName| job.group(name) == group;
        let is_entered = servers.iter().any(|(name, _)| is_own(name));
        let takes_orphans = tree.orphans == Orphans::Root && job.is_orphan(index);
        let is_taken = takes_orphans && job.roots().contains(host);
        assert!(
            !is_entered || is_own(host) || is_taken,
            "{named} is served by {host}, of another group"
        );
        let planned = job.planned(index).filter(|planned| free(planned));
        assert!(
            planned.is_none_or(|planned| planned == host),
            "{named} is served by {host}, not by {planned:?}"
        );
        assert!(tree.branches as usize > job.served_by(host), "{named}: {host} serves too many");
    }
}
