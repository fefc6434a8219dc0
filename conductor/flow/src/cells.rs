//! What is counted of cells, and who waits for room in them.
//!
//! Players whose next task needs room wait in *parties*: those whose hosts share all their cells
//! wait for the same, whatever their tasks. A party stands in the queue of one full cell. When a
//! host lets go, the queues of its cells are looked at as long as there is room: a party that meets
//! another full cell moves to the queue of that, without a look at its players; else its first
//! player is looked at, like any whose gates may have opened. So what an opened cell costs is counted
//! in parties. They choose the longest queue that they may stand in, since that moves least often:
//! where most wait, room is taken soonest, and by those who find room everywhere else.
//!
//! What a hold is, and when one begins and ends, is left to `ledger`.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use orchestra_model::{Deployments, deployment::CellId};

use crate::roster::PlayerIx;

/// What is counted of the cells of the deployments in force.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) deployments: Arc<Deployments>,
    cells: Vec<Count>,
    /// Whether any cell comes after any other.
    has_sequences: bool,
    /// Cells with room that players may wait for.
    opened: BTreeSet<CellId>,
    parties: Vec<Party>,
    /// Those in which anybody waits.
    awaiting: BTreeSet<PartyIx>,
    party_of: BTreeMap<Arc<[CellId]>, PartyIx>,
}

/// A party's place in the ledger's table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PartyIx(u32);

/// Players that wait for the same room.
#[derive(Clone, Debug)]
struct Party {
    /// What the host of each is in.
    cells: Arc<[CellId]>,
    waiting: VecDeque<PlayerIx>,
    /// The cell in whose queue it stands, while anybody waits.
    stands_in: Option<CellId>,
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
    waiting: VecDeque<PartyIx>,
}

impl Count {
    fn is_full(&self) -> bool {
        self.held >= self.limit
    }

    fn is_dead(&self) -> bool {
        self.dead >= self.limit
    }
}

impl Ledger {
    pub(crate) fn new(deployments: Arc<Deployments>) -> Self {
        let count = |limit: Option<u32>| Count {
            limit: limit.unwrap_or(u32::MAX),
            held: 0,
            dead: 0,
            leads: false,
            waiting: VecDeque::new(),
        };
        let all = deployments.cells().as_slice();
        let mut cells: Vec<Count> = all.iter().map(|cell| count(cell.limit)).collect();
        for first in all.iter().flat_map(|cell| &cell.predecessors) {
            cells[first.index()].leads = true;
        }
        let has_sequences = cells.iter().any(|cell| cell.leads);
        Self { deployments, cells, has_sequences, ..Self::default() }
    }

    /// The party of players whose hosts are in these cells.
    pub(crate) fn party(&mut self, cells: &Arc<[CellId]>) -> PartyIx {
        if let Some(ix) = self.party_of.get(cells) {
            return *ix;
        }
        let ix = PartyIx(u32::try_from(self.parties.len()).unwrap_or(u32::MAX));
        let (cells, waiting) = (Arc::clone(cells), VecDeque::new());
        self.party_of.insert(Arc::clone(&cells), ix);
        self.parties.push(Party { cells, waiting, stands_in: None });
        ix
    }

    /// The one of these cells that has no room; of several, the one where that lasts: a dead one,
    /// else the one with the longest queue.
    pub(crate) fn full_of(&self, cells: &[CellId]) -> Option<CellId> {
        let full = cells.iter().copied().filter(|cell| self.cells[cell.index()].is_full());
        full.max_by_key(|cell| {
            let count = &self.cells[cell.index()];
            (count.is_dead(), count.waiting.len())
        })
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

    /// The cell in whose queue a player stands that waits for room.
    pub(crate) fn waits_in(&self, player: PlayerIx, party: PartyIx) -> Option<CellId> {
        let party = self.parties.get(party.0 as usize)?;
        party.stands_in.filter(|_| party.waiting.contains(&player))
    }

    /// The players that wait for room in a cell, wherever they stand.
    pub(crate) fn waiting_for(&self, cell: CellId) -> impl Iterator<Item = PlayerIx> {
        let parties = self.awaiting.iter().map(|party| &self.parties[party.0 as usize]);
        let theirs = parties.filter(move |party| party.cells.binary_search(&cell).is_ok());
        theirs.flat_map(|party| party.waiting.iter().copied())
    }

    /// Whether the cell's queue is being worked off.
    pub(crate) fn is_opened(&self, cell: CellId) -> bool {
        self.opened.contains(&cell)
    }

    pub(crate) fn has_opened(&self) -> bool {
        !self.opened.is_empty()
    }

    /// Puts a player at the end of its party, which stands in the queue of this full cell if it
    /// stands nowhere yet.
    pub(crate) fn queue(&mut self, player: PlayerIx, party: PartyIx, cell: CellId) {
        let ours = &mut self.parties[party.0 as usize];
        ours.waiting.push_back(player);
        self.awaiting.insert(party);
        if ours.stands_in.is_none() {
            ours.stands_in = Some(cell);
            self.cells[cell.index()].waiting.push_back(party);
        }
    }

    /// Looks at the first party that waits for a cell which has room.
    pub(crate) fn admit(&mut self) -> Admitted {
        while let Some(cell) = self.opened.first() {
            let count = &mut self.cells[cell.index()];
            if !count.is_full()
                && let Some(party) = count.waiting.pop_front()
            {
                return self.admit_one_of(party);
            }
            self.opened.pop_first();
        }
        Admitted::Nobody
    }

    /// Takes the first player out of a party that has left its queue, unless there is another cell
    /// to wait for. Whoever is left of it queues again, behind all others.
    fn admit_one_of(&mut self, ix: PartyIx) -> Admitted {
        let full = self.full_of(&self.parties[ix.0 as usize].cells);
        let party = &mut self.parties[ix.0 as usize];
        let admitted = match full {
            None => party.waiting.pop_front().map_or(Admitted::Moved, Admitted::Player),
            Some(_) => Admitted::Moved,
        };
        party.stands_in = full.or(party.stands_in).filter(|_| !party.waiting.is_empty());
        match party.stands_in {
            Some(cell) => self.cells[cell.index()].waiting.push_back(ix),
            None => drop(self.awaiting.remove(&ix)),
        }
        admitted
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
            let was_dead = count.is_dead();
            count.held = step(count.held, holds);
            count.dead = step(count.dead, dead);
            if count.is_dead() != was_dead {
                turned.push(cell);
            }
            if !count.is_full() && !count.waiting.is_empty() {
                self.opened.insert(cell);
            }
        }
        turned
    }
}

/// What came of a look at who waits for cells with room.
pub(crate) enum Admitted {
    /// This player does so no more: there is room in all of its cells.
    Player(PlayerIx),
    /// A party waits for room elsewhere.
    Moved,
    /// Nobody waits for what there is.
    Nobody,
}
