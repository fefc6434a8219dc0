//! Trees: which hosts can serve others, whom a task is bound to, and which tasks are skipped because
//! their parent failed. The counting is in `tables/tree`.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use orchestra_model::{
    HostName, HostSet, JobId, JobName, JobState, TaskState,
    flow::JobSpec,
    tree::{Parent, TOLD_DEPTH, TOLD_HOSTS, TreePlace, TreeShape},
};

use crate::{
    Engine, Submission,
    answer::Rejection,
    ids::PlayerIx,
    tables::{
        job::Job,
        roster::Roster,
        task::{Parked, TaskRef},
        tree::{Bound, Tree, TreeHosts},
    },
};

impl Engine {
    // ---- submissions ----

    /// Checks the trees of a submission: hosts of the root are known, and are not targets.
    pub(crate) fn check_trees(&self, submission: &Submission) -> Result<(), Rejection> {
        let slots = submission.spec.slots.iter().zip(&submission.targets);
        for (slot, (spec, sets)) in (1..).zip(slots) {
            for (number, (job, targets)) in (1..).zip(spec.jobs.iter().zip(sets)) {
                if let Some(shape) = submission.trees.get(&(slot, number)) {
                    self.check_tree(&job.name, targets, shape)?;
                }
            }
        }
        Ok(())
    }

    fn check_tree(
        &self,
        job: &JobName,
        targets: &HostSet,
        shape: &TreeShape,
    ) -> Result<(), Rejection> {
        let unknown = shape.root.unknown(|host| self.roster.member(host).is_some());
        if !unknown.is_empty() {
            return Err(Rejection::UnknownHosts(job.clone(), unknown));
        }
        let both = shape.root.intersection(targets);
        match both.is_empty() {
            true => Ok(()),
            false => Err(Rejection::RootIsTarget(job.clone(), both)),
        }
    }

    /// The tree of a job that has one.
    pub(crate) fn make_tree(
        &mut self,
        spec: &JobSpec,
        targets: &[PlayerIx],
        shape: &TreeShape,
    ) -> Option<Tree> {
        let tree = spec.tree.as_deref()?;
        let hosts = tree_hosts(&mut self.roster, targets, shape);
        let total = u32::try_from(targets.len()).unwrap_or(u32::MAX);
        Some(Tree::new(tree, hosts, total))
    }

    // ---- who serves ----

    /// Lets the tree of a job that has begun follow its hosts from now on.
    pub(crate) fn begin_tree(&mut self, id: JobId) {
        let Some(tree) = self.job(id).and_then(Job::tree) else { return };
        let having: Vec<u32> = tree.having().collect();
        self.flows.note_tree(id);
        for node in having {
            self.recount_server(id, node);
        }
        self.await_servers(id);
        self.note_all_orphans(id);
    }

    /// Brings the trees in line with hosts that can serve since, or no longer. A task that waits for
    /// a server is looked at again when its own host comes or goes, because it may wait for its host
    /// now.
    pub(crate) fn recount_servers(&mut self) {
        while let Some(ix) = self.roster.pop_server() {
            if self.flows.trees().is_empty() {
                continue;
            }
            for id in self.flows.trees().iter().copied().collect::<Vec<_>>() {
                let Some(job) = self.job(id) else { continue };
                let Some(node) = self.node_of(job, ix) else { continue };
                self.recount_server(id, node);
                let waits = |job: &Job| {
                    node < job.total()
                        && job.place_of(node) == Parked::Server
                        && job.state_of(node) == TaskState::Waiting
                };
                self.flows.change_if(id, waits, |job| job.make_ready(node));
            }
        }
    }

    /// Brings a node of a job's tree in line with its player.
    pub(crate) fn recount_server(&mut self, id: JobId, node: u32) {
        let player = self.job(id).and_then(|job| job.node_player(node));
        let can_serve = player.is_some_and(|player| self.roster[player].can_serve());
        self.flows.change(id, |job| job.set_serves(node, can_serve));
    }

    /// The node of a player in a job's tree.
    fn node_of(&self, job: &Job, ix: PlayerIx) -> Option<u32> {
        let place = self.roster.place_among(job.targets(), ix);
        place.or_else(|| {
            let at = job.tree()?.origins().iter().position(|origin| *origin == ix)?;
            Some(job.total() + u32::try_from(at).ok()?)
        })
    }

    /// After a start: no group is entered whose hosts may come back and serve it, until all had time
    /// to do so.
    pub(crate) fn await_servers(&mut self, id: JobId) {
        let returning = self.now < self.returning_until;
        self.flows.change(id, |job| job.set_returning(returning));
    }

    pub(crate) fn await_all_servers(&mut self) {
        for id in self.flows.trees().clone() {
            self.await_servers(id);
        }
    }

    // ---- orphans ----

    /// Notes the tasks that are skipped because this one ended without being ok.
    pub(crate) fn note_orphans(&mut self, task: TaskRef) {
        let children = self.job(task.job()).map(|job| job.skipped_with(task.index));
        let children = children.into_iter().flatten();
        self.orphans.extend(children.map(|child| TaskRef::new(task.job(), child)));
    }

    /// Notes those whose skipping a crash has cut short, or whose parents ended before the job began,
    /// because their players were removed.
    fn note_all_orphans(&mut self, id: JobId) {
        let Some(job) = self.job(id).filter(|job| job.tree().is_some()) else { return };
        let known: Vec<u32> = job.known_tasks().map(|(index, _)| index).collect();
        for index in known {
            self.note_orphans(TaskRef::new(id, index));
        }
    }

    /// Skips the tasks that were noted, and those that follow from that.
    pub(crate) fn skip_orphans(&mut self) {
        while let Some(task) = self.orphans.pop_front() {
            let Some(job) = self.job(task.job()) else { continue };
            let parent = job.tree().and_then(|tree| tree.planned_parent(task.index));
            // Somebody may have retried the parent meanwhile.
            let waits = job.is_untouched(task.index)
                && matches!(job.state(), JobState::Running | JobState::Doomed);
            let Some(player) = parent.and_then(|parent| job.node_player(parent)) else { continue };
            if !waits || !job.is_orphan(task.index) {
                continue;
            }
            let why =
                format!("{}, which was to serve it, did not end ok", self.roster.host(player));
            let state = job.task(task.index).given_up_as(TaskState::Skipped);
            self.finish(task, state, Some(&why));
        }
    }

    // ---- what is told ----

    /// Who serves the newest attempt of a task; `None` where none was sent, or its job has no tree.
    pub(crate) fn parent_of(&self, job: &Job, index: u32) -> Option<Parent> {
        match job.tree()?.bound(index)? {
            Bound::Nobody => Some(Parent::Nobody),
            Bound::Node(node) => Some(Parent::Host(self.host(job.node_player(node)?))),
        }
    }

    /// Where a task that was sent is in its job's tree, for its score.
    pub(crate) fn tree_place(&self, job: &Job, index: u32) -> Option<Arc<TreePlace>> {
        let tree = job.tree()?;
        let (mut ancestors, mut depth, mut at) = (Vec::new(), 0, index);
        while let Some(Bound::Node(node)) = tree.bound(at).filter(|_| depth < TOLD_DEPTH) {
            depth += 1;
            if ancestors.len() < TOLD_HOSTS {
                ancestors.extend(job.node_player(node).map(|player| self.host(player)));
            }
            if node >= job.total() {
                break;
            }
            at = node;
        }
        let names = |players: &[PlayerIx]| -> Vec<HostName> {
            players.iter().take(TOLD_HOSTS).map(|player| self.host(*player)).collect()
        };
        let children: Vec<PlayerIx> =
            tree.planned_children(index).filter_map(|child| job.node_player(child)).collect();
        Some(Arc::new(TreePlace {
            parent: self.parent_of(job, index)?,
            ancestors,
            root: names(tree.roots()),
            depth,
            children: children.into_iter().map(|player| self.host(player)).collect(),
        }))
    }

    /// Whom a task was bound to, as its record says.
    pub(crate) fn bound_to(&self, job: &Job, parent: &Parent) -> Option<Bound> {
        match parent {
            Parent::Nobody => Some(Bound::Nobody),
            Parent::Host(host) => {
                let player = self.roster.known(host)?;
                self.node_of(job, player).map(Bound::Node)
            }
        }
    }
}

/// The hosts of a tree, by their players. Hosts that no group names are one group.
fn tree_hosts(roster: &mut Roster, targets: &[PlayerIx], shape: &TreeShape) -> TreeHosts {
    let done = shape.done.minus(&shape.root);
    let names = shape.root.iter().chain(&done);
    let origins: Vec<PlayerIx> = names.map(|host| roster.intern(host)).collect();
    let taken: BTreeSet<PlayerIx> = targets.iter().copied().collect();
    let origins: Vec<PlayerIx> =
        origins.into_iter().filter(|origin| !taken.contains(origin)).collect();
    let roots = origins.iter().filter(|ix| shape.root.contains(roster.host(**ix))).count();
    let mut groups = Vec::new();
    if !shape.groups.is_empty() {
        let rest = u32::try_from(shape.groups.len()).unwrap_or(u32::MAX);
        let mut of: BTreeMap<&HostName, u32> = BTreeMap::new();
        for (group, hosts) in (0..).zip(&shape.groups) {
            of.extend(hosts.iter().map(|host| (host, group)));
        }
        let nodes = targets.iter().chain(&origins);
        let group = |ix: &PlayerIx| of.get(roster.host(*ix)).copied().unwrap_or(rest);
        groups = nodes.map(group).collect();
    }
    TreeHosts { origins, roots: u32::try_from(roots).unwrap_or(u32::MAX), groups }
}
