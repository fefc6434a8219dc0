//! A job's tree: what of its tasks matters there.

use orchestra_model::{TaskState, tree::Orphans};

use super::Job;
use crate::{
    ids::PlayerIx,
    tables::{
        task::Parked,
        tree::{Bound, Tree},
    },
};

impl Job {
    /// Gives the job its tree. To be called before anything happens to its tasks.
    #[must_use]
    pub(crate) fn with_tree(mut self, tree: Option<Tree>) -> Self {
        self.tree = tree.map(Box::new);
        self
    }

    pub(crate) fn tree(&self) -> Option<&Tree> {
        self.tree.as_deref()
    }

    /// Whether a task has to wait for a server in the job's tree.
    pub(crate) fn awaits_server(&self, index: u32) -> bool {
        self.tree.as_deref().is_some_and(|tree| tree.stops(index))
    }

    /// Who serves a task that is about to be sent; `None` if the job has no tree.
    pub(crate) fn server_for(&self, index: u32) -> Option<Bound> {
        let tree = self.tree.as_deref()?;
        Some(tree.choose(index, tree.orphans() == Orphans::Root && self.is_orphan(index)))
    }

    /// Whether a task's planned parent ended without being ok.
    pub(crate) fn is_orphan(&self, index: u32) -> bool {
        let parent = self.tree.as_deref().and_then(|tree| tree.planned_parent(index));
        parent.filter(|parent| *parent < self.total()).is_some_and(|parent| {
            let state = self.state_of(parent);
            state.is_final() && state != TaskState::Ok
        })
    }

    /// The tasks that are skipped because this one ended without being ok: those that nothing has
    /// happened to yet. One that somebody retried, or that was sent before, goes on.
    pub(crate) fn skipped_with(&self, index: u32) -> Vec<u32> {
        let tree = self.tree.as_deref().filter(|tree| tree.orphans() == Orphans::Skip);
        let children = tree.into_iter().flat_map(|tree| tree.planned_children(index));
        let state = self.state_of(index);
        let is_lost = state.is_final() && state != TaskState::Ok && !self.is_closed();
        children.filter(|child| is_lost && self.is_untouched(*child)).collect()
    }

    /// Whether a task waits and nothing has happened to it.
    pub(crate) fn is_untouched(&self, index: u32) -> bool {
        self.known(index).is_none() && self.state_of(index) == TaskState::Waiting
    }

    /// The player of a node of the job's tree.
    pub(crate) fn node_player(&self, node: u32) -> Option<PlayerIx> {
        let origin = || self.tree.as_deref()?.origin(node);
        self.targets.get(node as usize).copied().or_else(origin)
    }

    // ---- changes ----

    /// Notes that a task waits for a server in the job's tree.
    pub(crate) fn await_server(&mut self, index: u32) {
        self.park(index, Parked::Server);
        self.follow_ups.evaluation = true;
    }

    /// Notes whether the player of a node can serve.
    pub(crate) fn set_serves(&mut self, node: u32, can_serve: bool) {
        if let Some(tree) = self.tree.as_deref_mut() {
            self.follow_ups.servers |= tree.set_serves(node, can_serve);
        }
    }

    /// Notes whether players still have time to come back after a start.
    pub(crate) fn set_returning(&mut self, returning: bool) {
        if let Some(tree) = self.tree.as_deref_mut() {
            tree.set_returning(returning);
            self.follow_ups.servers = true;
            self.follow_ups.evaluation = true;
        }
    }

    /// Lets tasks that wait for a server be looked at again, as far as servers have free places.
    pub(super) fn release_children(&mut self) {
        let released = self.tree.as_deref_mut().map(Tree::release).unwrap_or_default();
        for index in released {
            self.make_ready(index);
        }
    }

    pub(super) fn bind(&mut self, index: u32, to: Option<Bound>) {
        if let Some((tree, to)) = self.tree.as_deref_mut().zip(to) {
            self.follow_ups.servers |= tree.bind(index, to);
        }
    }

    /// Notes in the tree that a task goes from one state to another.
    pub(super) fn note_in_tree(&mut self, index: u32, from: TaskState, to: TaskState) {
        let Some(tree) = self.tree.as_deref_mut() else { return };
        if from.is_in_flight() && !to.is_in_flight() {
            tree.unbind(index);
            self.follow_ups.servers = true;
        }
        if to == TaskState::Ok {
            tree.set_has(index);
        }
    }

    /// Notes in the tree where a waiting task lies.
    pub(super) fn note_wait_in_tree(&mut self, index: u32, from: Parked, to: Parked) {
        if from == to || ![from, to].contains(&Parked::Server) {
            return;
        }
        if let Some(tree) = self.tree.as_deref_mut() {
            match to {
                Parked::Server => tree.join(index),
                _ => tree.leave(index),
            }
        }
    }

    /// Notes that nothing waits any more.
    pub(super) fn clear_tree(&mut self) {
        if let Some(tree) = self.tree.as_deref_mut() {
            tree.clear();
        }
    }

    /// Restores a task in the tree, and who serves it.
    pub(super) fn restore_in_tree(&mut self, index: u32, state: TaskState, to: Option<Bound>) {
        let Some(tree) = self.tree.as_deref_mut() else { return };
        if let Some(to) = to {
            tree.restore_bound(index, to);
        }
        if state.is_in_flight() {
            tree.restore_flight(index);
        }
        if state == TaskState::Ok {
            tree.set_has(index);
        }
    }
}
