//! Which players wait for room in cells, and which full cells stop them.
//!
//! Players whose hosts are in the same cells wait for the same room, whatever their tasks are: they
//! are one *party*. A party is free while none of its cells is full. Where deployments cut the
//! fleet alike, there are few parties. Where they cut across each other, nearly every host is a
//! party of its own, and hardly any party that waits for a cell can use the room that opens there,
//! because its other cells are full. To find one that can is the partial match problem: nothing is
//! known that does much better than looking at all parties. So one step looks at 64 of them.
//!
//! Three hosts, and three cells of limit 1: h1 is in A and B, h2 in A and C, h3 in C.
//!
//! ```text
//! party      0      1      2      3        numbered in the order of their cells, 64 to a page
//! cells      -      A B    A C    C        party 0 is in no cell
//! players           h1     h2     h3
//!
//! waiting    .      x      x      x        somebody of the party waits
//! bar 0      .      A      A      .        set for 1 and 2 while A is full
//! bar 1      .      B      C      C        set for 1 while B is full, for 2 and 3 while C is
//! ```
//!
//! Each row is a word of a page, with a bit for each party. A cell's *place* in a page says which
//! bar the cell sets there, and which bits in it are its parties. B and C share bar 1, because no
//! party is in both. A has bar 0 for itself, because its parties are in B and C too. While C is
//! full, the bits of parties 2 and 3 are set in bar 1, and `waiting & !bar 0 & !bar 1` leaves party
//! 1 alone: h1 may start.
//!
//! A cell that becomes full sets one word in each page that it has a place in; a cell that opens
//! clears it. A page is *barren* when no party of it is free. It is remembered as barren until one
//! of its bars is lifted, so that a page is looked at once, and not ten times, when a host lets go
//! of ten cells.

use std::{collections::VecDeque, sync::Arc};

use orchestra_model::deployment::{CellId, Cells};

use crate::ids::PlayerIx;

/// A party's number: the index of its list of cells among the lists of all hosts, in their order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PartyIx(u32);

/// All parties: who waits in each, and which full cells bar it.
#[derive(Clone, Debug)]
pub(crate) struct Parties {
    layout: Arc<Layout>,
    /// By party: the players that wait, in the order in which they came.
    players: Vec<VecDeque<PlayerIx>>,
    /// By page: a word with the bits of the parties in which a player waits.
    waiting: Vec<u64>,
    /// The bars of all pages, one after the other: words with the bits of the parties that a full
    /// cell stops.
    bars: Vec<u64>,
    /// By page: whether none of its parties is free, so that looking there again would find
    /// nothing.
    barren: Vec<bool>,
    /// By cell: the party at which the next search begins, so that each party has its turn.
    turn: Vec<PartyIx>,
}

/// The layout, which follows from the deployments alone and never changes.
#[derive(Debug, Default)]
struct Layout {
    /// By party: the cells that its hosts are in.
    cells: Vec<Arc<[CellId]>>,
    /// By cell: its places, in the order of their pages.
    places: Vec<Vec<Place>>,
    /// By page: the index of its first bar among all bars. At the end, the number of all bars.
    bars: Vec<u32>,
}

/// A cell's place in one page: which bar the cell sets there, and the bits of its parties in that
/// bar.
#[derive(Clone, Copy, Debug)]
struct Place {
    page: u32,
    bar: u32,
    parties: u64,
}

impl PartyIx {
    const fn new(page: u32, bit: u32) -> Self {
        Self(page * u64::BITS + bit)
    }

    fn page(self) -> u32 {
        self.0 / u64::BITS
    }

    fn bit(self) -> u64 {
        1 << (self.0 % u64::BITS)
    }

    fn index(self) -> usize {
        self.0 as usize
    }
}

impl Parties {
    /// The parties of all hosts in these cells, and party 0 for hosts in no cell. No cell is full,
    /// and no player waits.
    pub(crate) fn new(cells: &Cells) -> Self {
        let layout = Layout::new(cells);
        Self {
            players: vec![VecDeque::new(); layout.cells.len()],
            waiting: vec![0; layout.bars.len() - 1],
            barren: vec![false; layout.bars.len() - 1],
            bars: vec![0; layout.bars[layout.bars.len() - 1] as usize],
            turn: vec![PartyIx::default(); layout.places.len()],
            layout: Arc::new(layout),
        }
    }

    /// These parties as they were in the beginning: no player waits, and no cell is full.
    pub(crate) fn emptied(&self) -> Self {
        let Self { layout, players, waiting, bars, barren, turn } = self;
        Self {
            players: vec![VecDeque::new(); players.len()],
            waiting: vec![0; waiting.len()],
            barren: vec![false; barren.len()],
            bars: vec![0; bars.len()],
            turn: vec![PartyIx::default(); turn.len()],
            layout: Arc::clone(layout),
        }
    }

    /// The party of a host in these cells.
    pub(crate) fn of(&self, cells: &[CellId]) -> PartyIx {
        let place = self.layout.cells.binary_search_by(|party| (**party).cmp(cells));
        PartyIx(place.map_or(0, narrow))
    }

    /// Puts a player at the end of its party.
    pub(crate) fn join(&mut self, party: PartyIx, player: PlayerIx) {
        self.players[party.index()].push_back(player);
        self.waiting[party.page() as usize] |= party.bit();
        self.barren[party.page() as usize] = false;
    }

    /// Notes that a cell has become full, or is full no more.
    pub(crate) fn bar(&mut self, cell: CellId, is_full: bool) {
        for place in &self.layout.places[cell.index()] {
            let bar = &mut self.bars[place.bar as usize];
            *bar = if is_full { *bar | place.parties } else { *bar & !place.parties };
            self.barren[place.page as usize] &= is_full;
        }
    }

    /// Takes the first player out of the cell's next free party, if it has one.
    pub(crate) fn admit(&mut self, cell: CellId) -> Option<PlayerIx> {
        let party = self.next_free(cell)?;
        self.turn[cell.index()] = PartyIx(party.0 + 1);
        let players = &mut self.players[party.index()];
        let player = players.pop_front();
        if players.is_empty() {
            self.waiting[party.page() as usize] &= !party.bit();
        }
        player
    }

    /// The players that wait for room in a cell, or for other cells of their hosts.
    pub(crate) fn waiting_for(&self, cell: CellId) -> impl Iterator<Item = PlayerIx> {
        let places = self.layout.places[cell.index()].iter();
        let waiting =
            places.map(|place| (place.page, self.waiting[place.page as usize] & place.parties));
        let parties = waiting.flat_map(|(page, parties)| members(page, parties));
        parties.flat_map(|party| self.players[party.index()].iter().copied())
    }

    /// Whether a player waits in a party, and whether bars stop the party: for the audit.
    pub(crate) fn audit(&self, party: PartyIx, player: PlayerIx) -> (bool, bool) {
        let waits = self.players[party.index()].contains(&player);
        let barred = self.bars_of(party.page()).iter().any(|bar| bar & party.bit() != 0);
        (waits, barred)
    }

    fn next_free(&mut self, cell: CellId) -> Option<PartyIx> {
        let layout = Arc::clone(&self.layout);
        let (places, turn) = (&layout.places[cell.index()], self.turn[cell.index()]);
        let begin = places.partition_point(|place| place.page < turn.page());
        // The page in which the search begins is looked at twice: first from that party on, and
        // last before it.
        let later = |place: &Place| if place.page == turn.page() { !(turn.bit() - 1) } else { !0 };
        let ahead = places[begin..].iter().map(|place| (place, later(place)));
        ahead.chain(places.iter().map(|place| (place, !0))).find_map(|(place, part)| {
            members(place.page, self.free(place.page) & place.parties & part).next()
        })
    }

    /// The parties of a page in which a player waits and that no bar stops.
    fn free(&mut self, page: u32) -> u64 {
        if self.barren[page as usize] {
            return 0;
        }
        let mut free = self.waiting[page as usize];
        // The first few bars mostly stop all parties.
        for bar in self.bars_of(page) {
            if free == 0 {
                break;
            }
            free &= !bar;
        }
        self.barren[page as usize] = free == 0;
        free
    }

    fn bars_of(&self, page: u32) -> &[u64] {
        let ends = &self.layout.bars[page as usize..];
        &self.bars[ends[0] as usize..ends[1] as usize]
    }
}

impl Layout {
    fn new(cells: &Cells) -> Self {
        let lists = std::iter::once(Arc::default()).chain(cells.lists().iter().cloned());
        let mut layout = Self { cells: lists.collect(), ..Self::default() };
        layout.places.resize_with(cells.as_slice().len(), Vec::new);
        let mut bars = 0;
        for (page, parties) in (0..).zip(layout.cells.chunks(u64::BITS as usize)) {
            layout.bars.push(bars);
            let mut lies_in: Vec<(CellId, usize)> = Vec::new();
            for (bit, party) in parties.iter().enumerate() {
                lies_in.extend(party.iter().map(|cell| (*cell, bit)));
            }
            lies_in.sort_unstable();
            // Cells take bars in the order of their ids: each the first one behind all bars that
            // its parties have been given already.
            let (mut next, mut most) = ([0; u64::BITS as usize], 0);
            for of_cell in lies_in.chunk_by(|(one, _), (other, _)| one == other) {
                let bits = of_cell.iter().map(|(_, bit)| *bit);
                let bar = bits.clone().map(|bit| next[bit]).max().unwrap_or_default();
                let parties = bits.fold(0, |parties, bit| {
                    next[bit] = bar + 1;
                    parties | 1 << bit
                });
                let place = Place { page, bar: bars + bar, parties };
                layout.places[of_cell[0].0.index()].push(place);
                most = most.max(bar + 1);
            }
            bars += most;
        }
        layout.bars.push(bars);
        layout
    }
}

/// The parties of a page of which the bits are set.
fn members(page: u32, mut parties: u64) -> impl Iterator<Item = PartyIx> {
    std::iter::from_fn(move || {
        let first = (parties != 0).then(|| parties.trailing_zeros())?;
        parties &= parties - 1;
        Some(PartyIx::new(page, first))
    })
}

/// Narrows a count to 32 bits. Hosts in cells are bounded (`limits::CELL_HOSTS`), and so are
/// parties, places and bars.
fn narrow(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
