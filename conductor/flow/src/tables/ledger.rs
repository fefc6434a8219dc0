//! What the engine counts of cells, and which players wait for room in them.
//!
//! Of each cell two numbers are counted: the hosts that *hold* it, and the hosts among these that
//! are *in motion*, because orders are out to them.
//!
//! ```text
//! a cell with limit 2        hold   in motion   a host that        a host that is down
//!                                               holds nothing      may start again
//! one host runs a change       1        1       may start          -
//! one runs, one is down        2        1       waits for room     may: 1 < 2 in motion
//! two run, one is down         3        2       waits for room     waits: the cell is still
//! ```
//!
//! A host that holds nothing yet may start while fewer hosts hold the cell than its limit. A host
//! that is down holds already, so it takes no more room. More hosts may be down than the limit,
//! because units end by themselves and reloads lower limits. So a host that is down may start only
//! while fewer hosts than the limit are in motion. Where no more hosts hold than the limit, it
//! always may: it is itself one that holds and is not in motion.
//!
//! Players whose next task needs room in cells wait in parties (`parties`). When a full cell opens,
//! the engine looks for the next player that waits for it and has room in all of its other cells,
//! and lets that player try. It does so until the cell is full again or no waiting player could use
//! the room.
//!
//! Hosts that wait for fewer hosts to be in motion wait in parties of their own. A cell bars these
//! while it is *still*: more hosts hold it than its limit, and as many as the limit are in motion.
//! Where no cell is above its limit, which is nearly always, these parties do not exist, and a
//! change of motion touches none.
//!
//! `rules/holds` says when a hold begins and ends.

use std::{collections::BTreeSet, sync::Arc};

use orchestra_model::{Deployments, deployment::CellId};

use crate::{
    ids::PlayerIx,
    tables::parties::{Parties, PartyIx},
};

/// The counts of all cells of the deployments in force.
#[derive(Clone, Debug)]
pub(crate) struct Ledger {
    deployments: Arc<Deployments>,
    cells: Vec<Count>,
    /// Whether any cell comes after any other.
    has_sequences: bool,
    /// Cells that were full and have room now, which waiting players may use.
    opened: BTreeSet<CellId>,
    parties: Parties,
    /// Cells that were still and are so no more, which hosts that wait to be in motion may use.
    moving: BTreeSet<CellId>,
    /// The hosts that wait to be in motion; `None` while no cell was ever still.
    holders: Option<Box<Parties>>,
}

/// The counts of one cell.
#[derive(Clone, Debug)]
struct Count {
    /// How many hosts may hold the cell; `u32::MAX` for any number.
    limit: u32,
    held: u32,
    /// How many of the holding hosts are in motion: orders are out to them.
    moves: u32,
    /// How many of the holding hosts only a person can make let go.
    dead: u32,
    /// Whether other cells come after this one in a sequence.
    leads: bool,
}

impl Count {
    fn is_full(&self) -> bool {
        self.held >= self.limit
    }

    /// Whether the cell is still: a host that holds it and is not in motion may not start. Only a
    /// cell above its limit can be still, for otherwise such a host leaves fewer in motion than the
    /// limit.
    fn is_still(&self) -> bool {
        self.held > self.limit && self.moves >= self.limit
    }

    fn is_dead(&self) -> bool {
        self.dead >= self.limit
    }
}

impl Default for Ledger {
    fn default() -> Self {
        Self::new(Arc::default())
    }
}

impl Ledger {
    pub(crate) fn new(deployments: Arc<Deployments>) -> Self {
        let count = |limit: Option<u32>| Count {
            limit: limit.unwrap_or(u32::MAX),
            held: 0,
            moves: 0,
            dead: 0,
            leads: false,
        };
        let all = deployments.cells().as_slice();
        let mut cells: Vec<Count> = all.iter().map(|cell| count(cell.limit)).collect();
        for first in all.iter().flat_map(|cell| &cell.predecessors) {
            cells[first.index()].leads = true;
        }
        let has_sequences = cells.iter().any(|cell| cell.leads);
        Self {
            cells,
            has_sequences,
            opened: BTreeSet::new(),
            parties: Parties::new(deployments.cells()),
            moving: BTreeSet::new(),
            holders: None,
            deployments,
        }
    }

    /// The deployments in force.
    pub(crate) fn deployments(&self) -> &Arc<Deployments> {
        &self.deployments
    }

    /// Notes which deployments will be in force. Counts nothing yet.
    pub(crate) fn set_deployments(&mut self, deployments: Arc<Deployments>) {
        self.deployments = deployments;
    }

    /// The party of players whose hosts are in these cells.
    pub(crate) fn party(&self, cells: &[CellId]) -> PartyIx {
        self.parties.of(cells)
    }

    /// Whether one of these cells has no room.
    pub(crate) fn is_full_in(&self, cells: &[CellId]) -> bool {
        cells.iter().any(|cell| self.cells[cell.index()].is_full())
    }

    /// The first of these cells that has no room; a dead one, if any is dead.
    pub(crate) fn full_of(&self, cells: &[CellId]) -> Option<CellId> {
        let full = || cells.iter().filter(|cell| self.cells[cell.index()].is_full());
        full().find(|cell| self.cells[cell.index()].is_dead()).or_else(|| full().next()).copied()
    }

    /// Whether one of these cells is still.
    pub(crate) fn is_still_in(&self, cells: &[CellId]) -> bool {
        self.still_of(cells).is_some()
    }

    /// The first of these cells that is still.
    pub(crate) fn still_of(&self, cells: &[CellId]) -> Option<CellId> {
        cells.iter().find(|cell| self.cells[cell.index()].is_still()).copied()
    }

    /// Whether only a person can make room in one of these cells.
    pub(crate) fn is_dead_in(&self, cells: &[CellId]) -> bool {
        cells.iter().any(|cell| self.cells[cell.index()].is_dead())
    }

    /// Whether any host comes after any other.
    pub(crate) fn has_sequences(&self) -> bool {
        self.has_sequences
    }

    /// Whether other cells come after this one.
    pub(crate) fn leads(&self, cell: CellId) -> bool {
        self.cells[cell.index()].leads
    }

    /// The cells that come before this one.
    pub(crate) fn before(&self, cell: CellId) -> &[CellId] {
        &self.deployments.cells()[cell].predecessors
    }

    /// How many hosts hold the cell, how many of these only a person can make let go, and the
    /// cell's limit.
    pub(crate) fn counts(&self, cell: CellId) -> (u32, u32, u32) {
        let count = &self.cells[cell.index()];
        (count.held, count.dead, count.limit)
    }

    /// How many hosts are in motion in the cell.
    pub(crate) fn moves(&self, cell: CellId) -> u32 {
        self.cells[cell.index()].moves
    }

    /// The players that wait for room in a cell, or in others of their hosts.
    pub(crate) fn waiting_for(&self, cell: CellId) -> impl Iterator<Item = PlayerIx> {
        self.parties.waiting_for(cell)
    }

    /// The players that hold a cell and wait for fewer to be in motion there, or in others of their
    /// hosts.
    pub(crate) fn waiting_to_move(&self, cell: CellId) -> impl Iterator<Item = PlayerIx> {
        self.holders.iter().flat_map(move |holders| holders.waiting_for(cell))
    }

    /// Whether a player waits in its party, and whether a full cell bars the party: for the audit.
    pub(crate) fn waits(&self, player: PlayerIx, party: PartyIx) -> (bool, bool) {
        self.parties.audit(party, player)
    }

    /// Whether a player waits in its party to be in motion, and whether a still cell bars the
    /// party: for the audit.
    pub(crate) fn waits_to_move(&self, player: PlayerIx, party: PartyIx) -> (bool, bool) {
        self.holders.as_deref().map_or((false, false), |holders| holders.audit(party, player))
    }

    /// Whether there may be players whose wait for room, or to be in motion, is over.
    pub(crate) fn has_opened(&self) -> bool {
        !self.opened.is_empty() || !self.moving.is_empty()
    }

    /// Puts a player behind all others of its party, to wait for room.
    pub(crate) fn queue(&mut self, player: PlayerIx, party: PartyIx) {
        self.parties.join(party, player);
    }

    /// Puts a player that holds its cells behind all others of its party, to wait to be in motion.
    pub(crate) fn queue_to_move(&mut self, player: PlayerIx, party: PartyIx) {
        let parties = &self.parties;
        self.holders.get_or_insert_with(|| Box::new(parties.emptied())).join(party, player);
    }

    /// Takes out the next waiting player whose host has room in all of its cells.
    pub(crate) fn admit(&mut self) -> Option<PlayerIx> {
        loop {
            let cell = *self.opened.first()?;
            let has_room = !self.cells[cell.index()].is_full();
            if let Some(player) = has_room.then(|| self.parties.admit(cell)).flatten() {
                return Some(player);
            }
            self.opened.pop_first();
        }
    }

    /// Takes out the next player that waits to be in motion and has no still cell.
    pub(crate) fn admit_to_move(&mut self) -> Option<PlayerIx> {
        loop {
            let cell = *self.moving.first()?;
            let may_move = !self.cells[cell.index()].is_still();
            let holders = self.holders.as_deref_mut().filter(|_| may_move);
            if let Some(player) = holders.and_then(|holders| holders.admit(cell)) {
                return Some(player);
            }
            self.moving.pop_first();
        }
    }

    /// Bars the parties of hosts that wait to be in motion in a cell, or lets them through.
    fn note_still(&mut self, cell: CellId, is_still: bool) {
        let parties = &self.parties;
        let holders = self.holders.get_or_insert_with(|| Box::new(parties.emptied()));
        holders.bar(cell, is_still);
        if !is_still {
            self.moving.insert(cell);
        }
    }

    /// Counts the difference between two states of a host in its cells: whether it holds them, is
    /// in motion, is dead. Returns the cells that have become dead or come back to life.
    pub(crate) fn count(
        &mut self,
        cells: &[CellId],
        [holds, moves, dead]: [Option<bool>; 3],
    ) -> Vec<CellId> {
        let mut turned = Vec::new();
        let step = |n: u32, by: Option<bool>| match by {
            Some(true) => n + 1,
            Some(false) => n - 1,
            None => n,
        };
        for &cell in cells {
            let count = &mut self.cells[cell.index()];
            let (was_dead, was_full, was_still) =
                (count.is_dead(), count.is_full(), count.is_still());
            count.held = step(count.held, holds);
            count.moves = step(count.moves, moves);
            count.dead = step(count.dead, dead);
            if count.is_dead() != was_dead {
                turned.push(cell);
            }
            let (is_full, is_still) = (count.is_full(), count.is_still());
            if is_still != was_still {
                self.note_still(cell, is_still);
            }
            if is_full != was_full {
                self.parties.bar(cell, is_full);
            }
            if was_full && !is_full {
                self.opened.insert(cell);
            }
        }
        turned
    }
}
