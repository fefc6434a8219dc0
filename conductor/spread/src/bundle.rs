//! One bundle: who fetches it, who has it, and who is named to whom.

use std::collections::{BTreeMap, BTreeSet};

use orchestra_model::{HostName, Timestamp, limits};

use crate::{Asking, bounds, shape::branches};

/// The place of a host: in the order in which hosts asked first.
pub(crate) type Place = u32;

/// One bundle.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bundle {
    pub(crate) members: Vec<Member>,
    pub(crate) places: BTreeMap<HostName, Place>,
    /// How many hosts that serve one serves; 0 until somebody asked.
    pub(crate) branches: u32,
    /// The most hosts that a job had.
    hosts: u32,
    /// How many fetch from a registered copy.
    pub(crate) from_copies: u32,
    /// How many fetch.
    pub(crate) fetching: u32,
    /// Who may be given one more child that serves, and one more that does not.
    pub(crate) open: Open,
    pub(crate) open_to_leaves: Open,
    /// When something happened last.
    pub(crate) touched: Timestamp,
}

/// Hosts with room for one more: those that have the whole bundle, and those that are getting it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Open {
    pub(crate) whole: BTreeSet<Place>,
    pub(crate) fetching: BTreeSet<Place>,
}

/// A host that asked for the bundle once.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) host: HostName,
    pub(crate) stand: Stand,
    pub(crate) serves: bool,
    /// Its player has no session.
    pub(crate) is_away: bool,
    /// How many that serve fetch from it, and how many others.
    pub(crate) children: u32,
    pub(crate) leaves: u32,
    /// Who said that it is not asked again.
    accusers: BTreeSet<HostName>,
}

/// How a host stands to the bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stand {
    Fetching(Parent),
    Whole,
    Gone,
}

/// From whom a host fetches, as far as this knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parent {
    Copy,
    Member(Place),
    /// Nobody can be named.
    Nobody,
}

impl Bundle {
    pub(crate) fn is_fetched(&self) -> bool {
        self.fetching > 0
    }

    pub(crate) fn ask(&mut self, now: Timestamp, asking: Asking<'_>) -> Vec<HostName> {
        self.touched = now;
        let place = self.enter(&asking);
        for accused in asking.faulty {
            self.accuse(accused, asking.host);
        }
        let before = match self.members[place as usize].stand {
            Stand::Fetching(parent) => parent,
            Stand::Whole | Stand::Gone => Parent::Nobody,
        };
        if !asking.is_stalled && self.may_keep(place, before, &asking) {
            return self.name_sources(place, before, &asking);
        }
        self.leave(place);
        let parent = self.choose(place, before, &asking);
        self.join(place, parent);
        // The row that it hung in may move again.
        let row = if matches!(parent, Parent::Member(_)) { parent } else { before };
        self.name_sources(place, row, &asking)
    }

    pub(crate) fn arrived(&mut self, now: Timestamp, host: &HostName) {
        self.touched = now;
        if let Some(place) = self.places.get(host).copied() {
            self.leave(place);
            self.members[place as usize].stand = Stand::Whole;
            self.sort(place);
        }
    }

    pub(crate) fn ended(&mut self, now: Timestamp, host: &HostName) {
        self.touched = now;
        if let Some(place) = self.places.get(host).copied() {
            self.leave(place);
        }
    }

    pub(crate) fn detached(&mut self, now: Timestamp, host: &HostName) {
        let Some(place) = self.places.get(host).copied() else { return };
        self.touched = now;
        let member = &mut self.members[place as usize];
        member.is_away = true;
        match member.stand {
            Stand::Fetching(_) => self.leave(place),
            Stand::Whole | Stand::Gone => self.sort(place),
        }
    }

    pub(crate) fn attached(&mut self, host: &HostName) {
        let Some(place) = self.places.get(host).copied() else { return };
        self.members[place as usize].is_away = false;
        self.sort(place);
    }

    /// Gives a host its place, and takes what it says of itself.
    fn enter(&mut self, asking: &Asking<'_>) -> Place {
        if asking.hosts > self.hosts {
            self.hosts = asking.hosts;
            self.branches = branches(asking.bytes, asking.hosts);
            (0..self.members.len() as Place).for_each(|place| self.sort(place));
        }
        self.branches = self.branches.max(1);
        let next = self.members.len() as Place;
        let place = *self.places.entry(asking.host.clone()).or_insert(next);
        if place == next {
            self.members.push(Member {
                host: asking.host.clone(),
                stand: Stand::Gone,
                serves: asking.serves,
                is_away: false,
                children: 0,
                leaves: 0,
                accusers: BTreeSet::new(),
            });
        }
        let member = &self.members[place as usize];
        // One that had the whole bundle has lost it.
        if member.stand == Stand::Whole || member.serves != asking.serves {
            self.leave(place);
        }
        let member = &mut self.members[place as usize];
        (member.is_away, member.serves) = (false, asking.serves);
        self.sort(place);
        place
    }

    fn accuse(&mut self, accused: &HostName, by: &HostName) {
        let Some(place) = self.places.get(accused).copied() else { return };
        let accusers = &mut self.members[place as usize].accusers;
        if accused != by && accusers.len() < bounds::ACCUSERS {
            accusers.insert(by.clone());
            self.sort(place);
        }
    }

    /// Whether a host may fetch from another one: they do not wait for each other.
    fn may_fetch_from(&self, place: Place, source: Place, asking: &Asking<'_>) -> bool {
        let member = &self.members[source as usize];
        let has_it = match member.stand {
            Stand::Whole => source != place,
            Stand::Fetching(_) => source < place,
            Stand::Gone => false,
        };
        has_it && member.is_nameable() && !asking.faulty.contains(&member.host)
    }

    fn may_keep(&self, place: Place, parent: Parent, asking: &Asking<'_>) -> bool {
        match parent {
            Parent::Copy => asking.copies.iter().any(|copy| is_good_copy(copy, asking)),
            Parent::Member(source) => self.may_fetch_from(place, source, asking),
            Parent::Nobody => false,
        }
    }

    /// From whom a host had best fetch: from one that has all of it, from a registered copy, or from
    /// one that is getting it, nearest to the copy first. Not from the one before, where there is another.
    fn choose(&self, place: Place, before: Parent, asking: &Asking<'_>) -> Parent {
        let open = if asking.serves { &self.open } else { &self.open_to_leaves };
        let may = |source: &&Place| {
            before != Parent::Member(**source) && self.may_fetch_from(place, **source, asking)
        };
        if let Some(source) = open.whole.iter().find(may) {
            return Parent::Member(*source);
        }
        let copies = asking.copies.iter().filter(|copy| is_good_copy(copy, asking)).count() as u32;
        if self.from_copies < copies * self.branches && before != Parent::Copy {
            return Parent::Copy;
        }
        match open.fetching.iter().find(may) {
            Some(source) => Parent::Member(*source),
            // Whoever has no place is told to come again; some place will be free.
            None if copies > 0 => Parent::Copy,
            None => Parent::Nobody,
        }
    }

    /// Whom a host is told: a row upwards from its parent, one more that has everything, and copies.
    /// Where nothing came for a while, those that wait for nobody come first.
    fn name_sources(&self, place: Place, parent: Parent, asking: &Asking<'_>) -> Vec<HostName> {
        let name = |source: Place| {
            let may = self.may_fetch_from(place, source, asking);
            may.then(|| self.members[source as usize].host.clone())
        };
        let mut row = Vec::new();
        let mut next = parent;
        while let Parent::Member(source) = next
            && row.len() <= bounds::ANCESTORS
        {
            row.extend(name(source));
            next = match self.members[source as usize].stand {
                // Above one that has everything nobody is better.
                Stand::Fetching(above) => above,
                Stand::Whole | Stand::Gone => Parent::Nobody,
            };
        }
        let whole = self.open.whole.iter().filter_map(|source| name(*source)).take(1);
        let copies = asking.copies.iter().filter(|copy| is_good_copy(copy, asking));
        // Those that ask the copies do not all ask the same one first.
        let skip = place as usize % asking.copies.len().max(1);
        let turned =
            copies.clone().skip(skip).chain(copies.take(skip)).take(bounds::COPIES).cloned();
        let sure: Vec<HostName> = whole.chain(turned).collect();
        let (first, then) = if asking.is_stalled { (sure, row) } else { (row, sure) };
        let mut named: Vec<HostName> = Vec::new();
        for host in first.into_iter().chain(then) {
            if !named.contains(&host) && named.len() < limits::FETCH_SOURCES {
                named.push(host);
            }
        }
        named
    }

    fn join(&mut self, place: Place, parent: Parent) {
        self.members[place as usize].stand = Stand::Fetching(parent);
        self.fetching += 1;
        self.count(place, parent, 1);
        self.sort(place);
    }

    /// A host fetches no more.
    fn leave(&mut self, place: Place) {
        if let Stand::Fetching(parent) = self.members[place as usize].stand {
            self.fetching -= 1;
            self.count(place, parent, -1);
        }
        self.members[place as usize].stand = Stand::Gone;
        self.sort(place);
    }

    fn count(&mut self, place: Place, parent: Parent, by: i32) {
        let serves = self.members[place as usize].serves;
        let counted = match parent {
            Parent::Copy => &mut self.from_copies,
            Parent::Member(source) => {
                let source = &mut self.members[source as usize];
                if serves { &mut source.children } else { &mut source.leaves }
            }
            Parent::Nobody => return,
        };
        *counted = counted.saturating_add_signed(by);
        if let Parent::Member(source) = parent {
            self.sort(source);
        }
    }

    /// Puts a host among those with room, or takes it out.
    fn sort(&mut self, place: Place) {
        let (to_servers, to_leaves) = self.has_room(place);
        let stand = self.members[place as usize].stand;
        for (open, is_open) in [(&mut self.open, to_servers), (&mut self.open_to_leaves, to_leaves)]
        {
            open.whole.remove(&place);
            open.fetching.remove(&place);
            match stand {
                Stand::Whole if is_open => drop(open.whole.insert(place)),
                Stand::Fetching(_) if is_open => drop(open.fetching.insert(place)),
                _ => {}
            }
        }
    }

    /// Whether a host may be given one more child that serves, and one more that does not.
    pub(crate) fn has_room(&self, place: Place) -> (bool, bool) {
        let member = &self.members[place as usize];
        let for_leaves = bounds::SERVED - self.branches.min(bounds::SERVED);
        // Of those that have everything each slot is for anybody.
        let is_whole = member.stand == Stand::Whole;
        let to_servers = is_whole || member.children < self.branches;
        let to_leaves = is_whole || member.leaves < for_leaves;
        let has_room = member.is_nameable() && member.children + member.leaves < bounds::SERVED;
        (has_room && to_servers, has_room && to_leaves)
    }
}

impl Member {
    /// Whether it may be named to others, if it has what they want.
    pub(crate) fn is_nameable(&self) -> bool {
        self.serves && !self.is_away && self.accusers.len() < bounds::ACCUSERS
    }
}

fn is_good_copy(copy: &HostName, asking: &Asking<'_>) -> bool {
    copy != asking.host && !asking.faulty.contains(copy)
}
