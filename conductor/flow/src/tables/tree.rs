//! The tree of a job: who serves whom, who waits for a server, who can serve.
//!
//! A *node* is a host of the tree: the job's targets by their indices, then its *origins*, which
//! serve from the beginning (the hosts of `root`, and those that are done already). A node *has* what
//! is passed on if it is an origin or its task is ok, and *serves* if its player can be reached too,
//! and is neither drained nor down. It serves at most `branches` children at once.
//!
//! The *planned* shape is arithmetic. Within a group of hosts, whose origins come first:
//!
//! ```text
//! branches 2, no origin            branches 2, one origin
//!        0                                R
//!      ┌─┴─┐                            ┌─┴─┐
//!      1   2                            0   1
//!     ┌┴┐ ┌┴┐                          ┌┴┐ ┌┴┐
//!     3 4 5 6                          2 3 4 5
//! ```
//!
//! A task is *bound* when it is sent: to its planned parent or the nearest of that one's planned
//! parents that serves and has a free place, else to the host of its group with most free places.
//! Until its attempt is final it takes one of those places. So a task never waits for one host
//! while another one of its group has a free place.
//!
//! A group without a server is *entered* by the first of its tasks that may start, served by a host
//! of any group; where no host serves at all and nothing of the job is in flight, by a host of the
//! root, and without a root by nobody.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use orchestra_model::tree::{Advance, MOST_BRANCHES, Orphans, TreeSpec};

use crate::ids::PlayerIx;

/// The hosts of a tree, by their players.
#[derive(Clone, Debug, Default)]
pub(crate) struct TreeHosts {
    /// The hosts of `root`, then those that are done already; none of them is a target.
    pub(crate) origins: Vec<PlayerIx>,
    /// How many of the origins are of `root`.
    pub(crate) roots: u32,
    /// The group of each node, counted from 0. Empty where all are one group.
    pub(crate) groups: Vec<u32>,
}

/// Who serves a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bound {
    Nobody,
    Node(u32),
}

/// The tree of a job.
#[derive(Clone, Debug)]
pub(crate) struct Tree {
    branches: u32,
    advance: Advance,
    orphans: Orphans,
    total: u32,
    origins: Arc<[PlayerIx]>,
    roots: u32,
    /// The group of each node, and its place among the group's targets or origins. Empty where all
    /// nodes are one group.
    places: Vec<(u32, u32)>,
    groups: Vec<Group>,
    nodes: Vec<Node>,
    /// Groups in which a task waits and a host has a free place.
    open: BTreeSet<u32>,
    /// Groups in which a task waits, no host serves and nothing is in flight.
    unentered: BTreeSet<u32>,
    /// How many hosts serve, and their free places, over all groups.
    servers: u32,
    free: u32,
    /// How many nodes have what is passed on.
    having: u32,
    in_flight: u32,
    waiting: u32,
    /// Attempts in flight by generation. Empty where generations do not matter.
    generations: BTreeMap<u32, u32>,
    /// Whether players still have time to come back after a start: until then no group is entered
    /// whose hosts have it already.
    returning: bool,
}

/// Hosts that serve each other.
#[derive(Clone, Debug, Default)]
struct Group {
    /// Its targets in order. Empty where all targets are one group.
    members: Vec<u32>,
    /// How many targets it has.
    size: u32,
    /// Its origins' nodes.
    origins: Vec<u32>,
    servers: u32,
    free: u32,
    having: u32,
    in_flight: u32,
    /// Tasks that wait for a server.
    waiting: BTreeSet<u32>,
    /// Hosts that serve and have a free place: those with most of them first.
    idle: BTreeSet<(Reverse<u32>, u32)>,
}

/// A host of the tree.
#[derive(Clone, Copy, Debug, Default)]
struct Node {
    /// Who serves its newest attempt: 0 nobody yet, 1 nobody at all, else a node counted from 2.
    bound: u32,
    /// How many attempts it serves.
    taken: u8,
    has: bool,
    serves: bool,
}

/// What the counters of a tree say, for the audit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// A group's servers, free places, hosts that have it, attempts in flight, and waiting tasks.
    pub(crate) groups: Vec<[u32; 5]>,
    /// How many attempts each node serves.
    pub(crate) taken: Vec<u32>,
    /// Attempts in flight by generation.
    pub(crate) generations: BTreeMap<u32, u32>,
}

impl Tree {
    pub(crate) fn new(spec: &TreeSpec, hosts: TreeHosts, total: u32) -> Self {
        let TreeHosts { origins, roots, groups: of } = hosts;
        let nodes = total as usize + origins.len();
        let count = of.iter().max().map_or(1, |last| *last as usize + 1);
        let mut groups = vec![Group::default(); count];
        let mut places = Vec::with_capacity(of.len());
        for (node, group) in (0..).zip(&of) {
            let known = &mut groups[*group as usize];
            let list = if node < total { &mut known.members } else { &mut known.origins };
            places.push((*group, u32::try_from(list.len()).unwrap_or(u32::MAX)));
            list.push(node);
        }
        for group in &mut groups {
            group.size = u32::try_from(group.members.len()).unwrap_or(u32::MAX);
        }
        if of.is_empty() {
            groups[0].size = total;
            groups[0].origins = (total..u32::try_from(nodes).unwrap_or(u32::MAX)).collect();
        }
        let mut tree = Self {
            branches: spec.branches.clamp(1, MOST_BRANCHES),
            advance: spec.advance,
            orphans: spec.orphans,
            total,
            origins: origins.into(),
            roots,
            places,
            groups,
            nodes: vec![Node::default(); nodes],
            open: BTreeSet::new(),
            unentered: BTreeSet::new(),
            servers: 0,
            free: 0,
            having: 0,
            in_flight: 0,
            waiting: 0,
            generations: BTreeMap::new(),
            returning: false,
        };
        for node in total..u32::try_from(nodes).unwrap_or(u32::MAX) {
            tree.set_has(node);
        }
        tree
    }

    pub(crate) fn branches(&self) -> u32 {
        self.branches
    }

    pub(crate) fn orphans(&self) -> Orphans {
        self.orphans
    }

    /// Hosts that serve from the beginning; their nodes are counted on from the targets.
    pub(crate) fn origins(&self) -> &Arc<[PlayerIx]> {
        &self.origins
    }

    /// The origins that are of `root`.
    pub(crate) fn roots(&self) -> &[PlayerIx] {
        &self.origins[..self.roots as usize]
    }

    /// How many tasks wait for a server.
    pub(crate) fn waiting(&self) -> u32 {
        self.waiting
    }

    /// Whether tasks wait for servers that still have time to come back after a start.
    pub(crate) fn is_held(&self) -> bool {
        self.returning && self.waiting > 0
    }

    /// The player of a node that is an origin; `None` for a target.
    pub(crate) fn origin(&self, node: u32) -> Option<PlayerIx> {
        self.origins.get(node.checked_sub(self.total)? as usize).copied()
    }

    /// The nodes that have what is passed on.
    pub(crate) fn having(&self) -> impl Iterator<Item = u32> {
        (0..).zip(&self.nodes).filter(|(_, node)| node.has).map(|(node, _)| node)
    }

    /// Whether a node has what is passed on.
    pub(crate) fn has(&self, node: u32) -> bool {
        self.nodes[node as usize].has
    }

    /// Whether a node serves.
    pub(crate) fn serves(&self, node: u32) -> bool {
        self.nodes[node as usize].serves
    }

    /// Who serves the newest attempt of a task; `None` where none was sent.
    pub(crate) fn bound(&self, index: u32) -> Option<Bound> {
        match self.nodes[index as usize].bound {
            0 => None,
            1 => Some(Bound::Nobody),
            node => Some(Bound::Node(node - 2)),
        }
    }

    // ---- the planned shape ----

    /// The group of a node, and its place in the group.
    fn place(&self, node: u32) -> (u32, u32) {
        match self.places.get(node as usize) {
            Some(place) => *place,
            None if node < self.total => (0, node),
            None => (0, node - self.total),
        }
    }

    fn member(&self, group: &Group, place: u32) -> u32 {
        group.members.get(place as usize).copied().unwrap_or(place)
    }

    /// Who is to serve a task, if everything goes well; `None` for the entry of its group, and for
    /// origins.
    pub(crate) fn planned_parent(&self, node: u32) -> Option<u32> {
        if node >= self.total {
            return None;
        }
        let (group, place) = self.place(node);
        let group = &self.groups[group as usize];
        let origins = u32::try_from(group.origins.len()).unwrap_or(u32::MAX);
        if origins == 0 {
            let parent = place.checked_sub(1)? / self.branches;
            return Some(self.member(group, parent));
        }
        let parent = place / self.branches;
        Some(match parent.checked_sub(origins) {
            None => group.origins[parent as usize],
            Some(place) => self.member(group, place),
        })
    }

    /// The tasks that a host is to serve, if everything goes well.
    pub(crate) fn planned_children(&self, node: u32) -> impl Iterator<Item = u32> {
        let (group, place) = self.place(node);
        let group = &self.groups[group as usize];
        let origins = u32::try_from(group.origins.len()).unwrap_or(u32::MAX);
        let above = match (node < self.total, origins) {
            (true, 0) => (u64::from(place) * u64::from(self.branches)) + 1,
            (true, origins) => (u64::from(place) + u64::from(origins)) * u64::from(self.branches),
            (false, _) => u64::from(place) * u64::from(self.branches),
        };
        let first = above.min(group.size.into());
        let end = (above + u64::from(self.branches)).min(group.size.into());
        let number = |place: u64| u32::try_from(place).unwrap_or(u32::MAX);
        (number(first)..number(end)).map(move |place| self.member(group, place))
    }

    /// How many planned parents a task has, one above the other.
    pub(crate) fn generation(&self, index: u32) -> u32 {
        if self.branches == 1 {
            let (group, place) = self.place(index);
            let origins = u32::try_from(self.groups[group as usize].origins.len());
            return match origins.unwrap_or(u32::MAX) {
                0 => place,
                origins => place / origins + 1,
            };
        }
        let mut generation = 0;
        let mut at = index;
        while let Some(parent) = self.planned_parent(at) {
            (generation, at) = (generation + 1, parent);
        }
        generation
    }

    /// The first generation of which something is in flight; `None` where generations do not matter.
    pub(crate) fn first_in_flight(&self) -> Option<u32> {
        self.generations.keys().next().copied()
    }

    /// Whether generations matter.
    pub(crate) fn goes_by_generation(&self) -> bool {
        self.advance == Advance::Generation
    }

    // ---- who may be bound, and to whom ----

    /// Whether a task has to wait for a server.
    pub(crate) fn stops(&self, index: u32) -> bool {
        let group = &self.groups[self.place(index).0 as usize];
        self.is_early(index)
            || match group.servers {
                0 => group.in_flight > 0 || !self.is_to_be_entered(group),
                _ => group.free == 0,
            }
    }

    /// Whether a task waits until everything of former generations has ended that is in flight. Those
    /// that wait for something else hold no generation back: what they wait for may be a later one.
    pub(crate) fn is_early(&self, index: u32) -> bool {
        let first = self.first_in_flight();
        first.is_some_and(|first| self.generation(index) > first)
    }

    /// Whether a group without servers, of which nothing is in flight, may be entered.
    fn is_to_be_entered(&self, group: &Group) -> bool {
        let is_known = |having: u32| self.returning && having > 0;
        if is_known(group.having) {
            return false;
        }
        self.free > 0 || self.servers == 0 && self.in_flight == 0 && !is_known(self.having)
    }

    /// Who serves a task that need not wait.
    pub(crate) fn choose(&self, index: u32, is_orphan: bool) -> Bound {
        /// Most planned parents that are looked at, one above the other.
        const CLIMB: usize = 64;
        let group = &self.groups[self.place(index).0 as usize];
        if group.free > 0 {
            let mut above = self.planned_parent(index);
            for _ in 0..CLIMB {
                match above {
                    Some(node) if self.has_room(node) => return Bound::Node(node),
                    Some(node) => above = self.planned_parent(node),
                    None => break,
                }
            }
            let roots = self.total..self.total + self.roots;
            let root = roots.filter(|_| is_orphan).find(|node| self.has_room(*node));
            if let Some(node) = root.or_else(|| group.idle.first().map(|(_, node)| *node)) {
                return Bound::Node(node);
            }
        }
        let best = self.groups.iter().filter_map(|group| group.idle.first()).min();
        match best {
            Some((_, node)) => Bound::Node(*node),
            None if self.roots > 0 => Bound::Node(self.total),
            None => Bound::Nobody,
        }
    }

    fn has_room(&self, node: u32) -> bool {
        let node = &self.nodes[node as usize];
        node.serves && u32::from(node.taken) < self.branches
    }

    /// Takes out tasks that wait and need not do so any longer. They take no place yet.
    pub(super) fn release(&mut self) -> Vec<u32> {
        let mut released = Vec::new();
        // Entries come first, and each takes one of these.
        let mut free = self.free;
        for id in self.unentered.iter().copied().collect::<Vec<_>>() {
            let group = &self.groups[id as usize];
            if !self.is_to_be_entered(group) {
                continue;
            }
            let Some(first) = group.waiting.first().copied() else { continue };
            if self.is_early(first) {
                continue;
            }
            released.push(first);
            free = free.saturating_sub(1);
            if free == 0 {
                break;
            }
        }
        for id in self.open.iter().copied().collect::<Vec<_>>() {
            let group = &self.groups[id as usize];
            let most = group.free.min(free) as usize;
            let next = group.waiting.iter().copied().take(most);
            let before = released.len();
            released.extend(next.take_while(|index| !self.is_early(*index)));
            free -= u32::try_from(released.len() - before).unwrap_or(free);
        }
        for index in &released {
            self.leave(*index);
        }
        released
    }

    // ---- what happens ----

    /// Notes that a task waits for a server.
    pub(super) fn join(&mut self, index: u32) {
        let id = self.place(index).0;
        self.waiting += u32::from(self.groups[id as usize].waiting.insert(index));
        self.note_group(id);
    }

    /// Notes that a task does not wait for a server any more.
    pub(super) fn leave(&mut self, index: u32) {
        let id = self.place(index).0;
        self.waiting -= u32::from(self.groups[id as usize].waiting.remove(&index));
        self.note_group(id);
    }

    /// Notes that nothing waits any more.
    pub(super) fn clear(&mut self) {
        for group in &mut self.groups {
            group.waiting.clear();
        }
        self.waiting = 0;
        self.open.clear();
        self.unentered.clear();
    }

    /// Binds a task whose order goes out. Returns whether another group serves it, so that tasks of
    /// its own may need to wait no longer.
    pub(super) fn bind(&mut self, index: u32, to: Bound) -> bool {
        self.restore_bound(index, to);
        self.count_flight(index, 1);
        if let Bound::Node(node) = to {
            self.change_node(node, |node| node.taken += 1);
        }
        matches!(to, Bound::Node(node) if self.group_of(node) != self.group_of(index))
    }

    /// Notes that the newest attempt of a task is final.
    pub(super) fn unbind(&mut self, index: u32) {
        self.count_flight(index, -1);
        if let Some(Bound::Node(node)) = self.bound(index) {
            self.change_node(node, |node| node.taken -= 1);
        }
    }

    /// Notes that a node has what is passed on.
    pub(super) fn set_has(&mut self, node: u32) {
        if !std::mem::replace(&mut self.nodes[node as usize].has, true) {
            let group = self.place(node).0;
            self.having += 1;
            self.groups[group as usize].having += 1;
        }
    }

    /// Notes whether the player of a node can serve. Returns whether that changes anything.
    pub(super) fn set_serves(&mut self, node: u32, can_serve: bool) -> bool {
        let serves = can_serve && self.has(node);
        let is_news = self.nodes[node as usize].serves != serves;
        if is_news {
            self.change_node(node, |node| node.serves = serves);
        }
        is_news
    }

    /// Notes whether players still have time to come back after a start.
    pub(super) fn set_returning(&mut self, returning: bool) {
        self.returning = returning;
    }

    /// Notes to whom a task is bound, as the store says, or because its order goes out.
    pub(super) fn restore_bound(&mut self, index: u32, to: Bound) {
        self.nodes[index as usize].bound = match to {
            Bound::Nobody => 1,
            Bound::Node(node) => node + 2,
        };
    }

    /// Counts what a restored task in flight takes.
    pub(super) fn restore_flight(&mut self, index: u32) {
        self.count_flight(index, 1);
        if let Some(Bound::Node(node)) = self.bound(index) {
            self.change_node(node, |node| node.taken += 1);
        }
    }

    fn count_flight(&mut self, index: u32, by: i32) {
        let id = self.place(index).0;
        let group = &mut self.groups[id as usize];
        group.in_flight = group.in_flight.saturating_add_signed(by);
        self.in_flight = self.in_flight.saturating_add_signed(by);
        if self.goes_by_generation() {
            let generation = self.generation(index);
            let flying = self.generations.entry(generation).or_default();
            *flying = flying.saturating_add_signed(by);
            if *flying == 0 {
                self.generations.remove(&generation);
            }
        }
        self.note_group(id);
    }

    /// Changes a node, and keeps what is counted of its group in line.
    fn change_node(&mut self, at: u32, change: impl FnOnce(&mut Node)) {
        let id = self.place(at).0;
        let branches = self.branches;
        let free = |node: &Node| match node.serves {
            true => branches.saturating_sub(node.taken.into()),
            false => 0,
        };
        let node = &mut self.nodes[at as usize];
        let (served, before) = (node.serves, free(node));
        change(node);
        let (serves, after) = (node.serves, free(node));
        let group = &mut self.groups[id as usize];
        group.servers = group.servers + u32::from(serves) - u32::from(served);
        self.servers = self.servers + u32::from(serves) - u32::from(served);
        group.free = group.free + after - before;
        self.free = self.free + after - before;
        if before > 0 {
            group.idle.remove(&(Reverse(before), at));
        }
        if after > 0 {
            group.idle.insert((Reverse(after), at));
        }
        self.note_group(id);
    }

    /// Keeps the sets of groups in line with a group.
    fn note_group(&mut self, id: u32) {
        let group = &self.groups[id as usize];
        let waits = !group.waiting.is_empty();
        let is_open = waits && group.free > 0;
        let is_unentered = waits && group.servers == 0 && group.in_flight == 0;
        for (groups, is_in) in [(&mut self.open, is_open), (&mut self.unentered, is_unentered)] {
            if is_in {
                groups.insert(id);
            } else {
                groups.remove(&id);
            }
        }
    }

    // ---- for the audit ----

    /// What its counters say.
    pub(crate) fn tally(&self) -> Tally {
        let counts = |group: &Group| {
            let waiting = u32::try_from(group.waiting.len()).unwrap_or(u32::MAX);
            [group.servers, group.free, group.having, group.in_flight, waiting]
        };
        Tally {
            groups: self.groups.iter().map(counts).collect(),
            taken: self.nodes.iter().map(|node| node.taken.into()).collect(),
            generations: self.generations.clone(),
        }
    }

    /// The group of a node.
    pub(crate) fn group_of(&self, node: u32) -> u32 {
        self.place(node).0
    }

    /// How many groups there are.
    pub(crate) fn groups(&self) -> usize {
        self.groups.len()
    }

    /// A task that waits though it need not.
    pub(crate) fn idler(&self) -> Option<u32> {
        let firsts = self.groups.iter().filter_map(|group| group.waiting.first().copied());
        firsts.filter(|index| !self.stops(*index)).min()
    }
}

#[cfg(test)]
mod tests;
