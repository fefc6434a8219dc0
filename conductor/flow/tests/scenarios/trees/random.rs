//! Never slower than flat: whatever ends in whatever order, no task waits for a server while a host
//! that is ok in its group has a free place, and something is under way while any task waits.

use std::{collections::BTreeMap, sync::Arc};

use orchestra_model::{HostName, JobId, TaskState, status::TaskStatus, tree::Parent};

use crate::world::{
    JobExt,
    bare::{Bare, End},
    chance::Chance,
    job,
};

/// A tree of a random shape.
struct Tree {
    hosts: usize,
    branches: u32,
    /// How many groups there are: host n is in group n modulo this.
    groups: usize,
    has_root: bool,
    by_generation: bool,
}

impl Tree {
    fn random(chance: &mut Chance) -> Self {
        Self {
            hosts: 1 + chance.below(14),
            branches: 1 + chance.below(3) as u32,
            groups: 1 + chance.below(3),
            has_root: chance.below(2) == 0,
            by_generation: chance.below(4) == 0,
        }
    }

    fn group(&self, task: &TaskStatus) -> usize {
        task.index as usize % self.groups
    }

    fn submit(&self, bare: &mut Bare) -> JobId {
        let spec = job(&format!("h[1-{}]", self.hosts)).tree(self.branches).success(0);
        let names = |group: usize| {
            let members = (0..self.hosts).filter(|index| index % self.groups == group);
            members.map(|index| format!("h{}", index + 1)).collect::<Vec<_>>().join(",")
        };
        let groups: Vec<String> =
            (0..self.groups).map(names).filter(|names| !names.is_empty()).collect();
        let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
        let spec = if self.groups > 1 { spec.grouped(&groups) } else { spec };
        let spec = if self.has_root { spec.rooted("h15") } else { spec };
        bare.submit_one(if self.by_generation { spec.by_generation() } else { spec })
    }
}

fn check(tree: &Tree, tasks: &[TaskStatus], root: &HostName) {
    let mut taken: BTreeMap<&HostName, u32> = BTreeMap::new();
    for task in tasks.iter().filter(|task| task.state.is_in_flight()) {
        if let Some(Parent::Host(parent)) = &task.parent {
            *taken.entry(parent).or_default() += 1;
        }
    }
    let most = taken.values().max().copied().unwrap_or_default();
    assert!(most <= tree.branches, "a host serves {most}");
    let has_room = |host: &HostName| taken.get(host).copied().unwrap_or_default() < tree.branches;
    let waiting: Vec<&TaskStatus> =
        tasks.iter().filter(|task| task.state == TaskState::Waiting).collect();
    let runs = tasks.iter().any(|task| task.state.is_in_flight());
    assert!(runs || waiting.is_empty(), "{waiting:?} wait and nothing is under way");
    for task in tasks.iter().filter(|task| task.attempt > 0) {
        let parent = task.parent.as_ref().unwrap();
        let state = |host: &HostName| {
            tasks.iter().find(|task| task.host.as_ref() == Some(host)).map(|task| task.state)
        };
        match parent.host() {
            Some(host) if host == root => assert!(tree.has_root),
            Some(host) => assert_eq!(state(host), Some(TaskState::Ok), "{host} serves"),
            None => assert!(!tree.has_root, "there is a root"),
        }
    }
    if tree.by_generation {
        return;
    }
    for task in waiting {
        let of_group = tasks.iter().filter(|other| tree.group(other) == tree.group(task));
        let mut ok = of_group.filter(|other| other.state == TaskState::Ok);
        let idle = ok.find(|other| other.host.as_ref().is_some_and(has_room));
        assert!(idle.is_none(), "{task:?} waits beside {idle:?}");
    }
    let is_flat = tree.groups == 1 && tree.has_root;
    let waits = tasks.iter().any(|task| task.state == TaskState::Waiting);
    assert!(!is_flat || !waits || !has_room(root), "a task waits beside the root");
}

#[test]
fn no_task_waits_beside_a_server_with_a_free_place() {
    let root = HostName::new("h15").unwrap();
    for seed in 0..400 {
        let mut chance = Chance(seed);
        let tree = Tree::random(&mut chance);
        let mut bare = Bare::new("h[1-15]", Arc::default());
        let id = tree.submit(&mut bare);
        while let Some(tasks) = bare.engine.tasks(id, 0, u32::MAX) {
            check(&tree, &tasks, &root);
            let running = bare.running_of(id);
            let (name, key) = running[chance.below(running.len())].clone();
            let how = if chance.below(3) == 0 { End::Failed } else { End::Ok };
            bare.end(&name, key, how);
        }
        let counts = bare.counts[&id];
        assert_eq!(counts.finished() as usize, tree.hosts, "seed {seed}");
        assert_eq!(counts.get(TaskState::Skipped), 0, "seed {seed}");
    }
}
