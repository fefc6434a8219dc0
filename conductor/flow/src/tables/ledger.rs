//! What is counted of cells, and who waits for room in them.
//!
//! Players whose next task needs room in cells wait in parties (`parties`). When a full cell opens,
//! the next player is looked at that waits for it and has room in all of its other cells, like any
//! player whose gates may have opened; then the next, until the cell is full again or nobody is
//! left who could use the room.
//!
//! When a hold begins and ends is in `rules/holds`.

use std::{collections::BTreeSet, sync::Arc};

use orchestra_model::{Deployments, deployment::CellId};

use crate::{
    ids::PlayerIx,
    tables::parties::{Parties, PartyIx},
};

/// What is counted of the cells of the deployments in force.
#[derive(Clone, Debug)]
pub(crate) struct Ledger {
    deployments: Arc<Deployments>,
    cells: Vec<Count>,
    /// Whether any cell comes after any other.
    has_sequences: bool,
    /// Cells that were full, with room that players may wait for.
    opened: BTreeSet<CellId>,
    parties: Parties,
}

/// What is counted of one cell.
#[derive(Clone, Debug)]
struct Count {
    /// How many hosts may hold it; `u32::MAX` for any number.
    limit: u32,
    held: u32,
    /// Those that only a person can make let go.
    dead: u32,
    /// Whether other cells come after it.
    leads: bool,
}

impl Count {
    fn is_full(&self) -> bool {
        self.held >= self.limit
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
            dead: 0,
            leads: false,
        };
        let all = deployments.cells().as_slice();
        let mut cells: Vec<Count> = all.iter().map(|cell| count(cell.limit)).collect();
        for first in all.iter().flat_map(|cell| &cell.predecessors) {
            cells[first.index()].leads = true;
        }
        let has_sequences = cells.iter().any(|cell| cell.leads);
        let (parties, opened) = (Parties::new(deployments.cells()), BTreeSet::new());
        Self { deployments, cells, has_sequences, opened, parties }
    }

    /// The deployments in force.
    pub(crate) fn deployments(&self) -> &Arc<Deployments> {
        &self.deployments
    }

    /// Notes which deployments will be in force; counts nothing.
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

    /// The one of these cells that has no room; of several, a dead one if there is any.
    pub(crate) fn full_of(&self, cells: &[CellId]) -> Option<CellId> {
        let full = || cells.iter().filter(|cell| self.cells[cell.index()].is_full());
        full().find(|cell| self.cells[cell.index()].is_dead()).or_else(|| full().next()).copied()
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

    /// Hosts that hold the cell, those of them that only a person can make let go, and its limit.
    pub(crate) fn counts(&self, cell: CellId) -> (u32, u32, u32) {
        let count = &self.cells[cell.index()];
        (count.held, count.dead, count.limit)
    }

    /// The players that wait for room in a cell, or in others of their hosts.
    pub(crate) fn waiting_for(&self, cell: CellId) -> impl Iterator<Item = PlayerIx> {
        self.parties.waiting_for(cell)
    }

    /// Whether a player waits in its party, and whether a full cell bars it: for the audit.
    pub(crate) fn waits(&self, player: PlayerIx, party: PartyIx) -> (bool, bool) {
        self.parties.audit(party, player)
    }

    /// Whether there may be players that wait for room which there is.
    pub(crate) fn has_opened(&self) -> bool {
        !self.opened.is_empty()
    }

    /// Lets a player wait behind all others of its party.
    pub(crate) fn queue(&mut self, player: PlayerIx, party: PartyIx) {
        self.parties.join(party, player);
    }

    /// Takes out the next player that waits while there is room in all cells of its host.
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

    /// Counts a host once more, or once less. Gives the cells that have become dead or alive.
    pub(crate) fn count(
        &mut self,
        cells: &[CellId],
        holds: Option<bool>,
        dead: Option<bool>,
    ) -> Vec<CellId> {
        let mut turned = Vec::new();
        let step = |n: u32, by: Option<bool>| match by {
            Some(true) => n + 1,
            Some(false) => n - 1,
            None => n,
        };
        for &cell in cells {
            let count = &mut self.cells[cell.index()];
            let (was_dead, was_full) = (count.is_dead(), count.is_full());
            count.held = step(count.held, holds);
            count.dead = step(count.dead, dead);
            if count.is_dead() != was_dead {
                turned.push(cell);
            }
            let is_full = count.is_full();
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
