//! The choice of players for instances, and of instances that are too many.

use std::{
    collections::{BTreeMap, BTreeSet, btree_set},
    ops::Range,
};

use orchestra_model::{HostName, ScoreName, names::LabelValue, service::Ordinal};

use super::{
    ground::{Ground, Load, Rank, Wish},
    hash,
};

/// Between how many players of equal load the hash decides: enough that no player is preferred, and
/// few enough to be looked at each time.
const EQUALS: usize = 8;

/// Players that were chosen, and instances for which there was none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chosen {
    /// By ordinal.
    pub instances: Vec<(Ordinal, HostName)>,
    /// How many have no player, for each part of the layout where some have none.
    pub missing: Vec<(Option<LabelValue>, u32)>,
}

/// An instance that is there, or is to be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    pub host: HostName,
    pub ordinal: Ordinal,
    pub is_ready: bool,
}

/// Chooses a player for each instance that the layout of `wish` wants and that does not stand yet.
/// New instances have the next of `ordinals`, which are those that are free, lowest first.
pub fn choose<'a>(
    ground: &'a Ground,
    wish: &'a Wish,
    standing: impl IntoIterator<Item = &'a HostName>,
    ordinals: impl IntoIterator<Item = Ordinal>,
) -> Chosen {
    let mut chosen = Chosen::default();
    let mut field = Field::new(ground, wish, standing, []);
    let mut ordinals = ordinals.into_iter();
    for (zone, count) in wish.layout.parts() {
        let wanted = count.saturating_sub(field.standing(zone));
        for missing in (1..=wanted).rev() {
            let Some(ordinal) = ordinals.next() else { break };
            let Some(plot) = field.next(zone, ordinal) else {
                chosen.missing.push((zone.cloned(), missing));
                break;
            };
            if let Some(plot) = ground.plots.get(plot) {
                chosen.instances.push((ordinal, plot.host.clone()));
            }
        }
    }
    chosen
}

/// Chooses a player for an instance that is to leave another one, in this zone or in the best one.
/// `standing` are the hosts of all others, and `but` hosts that are not to be chosen.
pub fn choose_another<'a>(
    ground: &'a Ground,
    wish: &'a Wish,
    standing: impl IntoIterator<Item = &'a HostName>,
    but: impl IntoIterator<Item = &'a HostName>,
    zone: Option<&LabelValue>,
    ordinal: Ordinal,
) -> Option<&'a HostName> {
    let plot = Field::new(ground, wish, standing, but).next(zone, ordinal)?;
    ground.plots.get(plot).map(|plot| &plot.host)
}

/// Returns the instances that are more than the layout of `wish` wants: first those that are not
/// ready; then those of the zone that has most, if instances are spread over zones; then those with
/// the highest ordinals. An instance in a zone that the layout does not name is left alone.
pub fn surplus(ground: &Ground, wish: &Wish, standing: &[Standing]) -> Vec<HostName> {
    let mut left: BTreeMap<Option<&LabelValue>, Vec<&Standing>> = BTreeMap::new();
    let mut gone = Vec::new();
    for one in standing {
        let zone = ground.facts(&one.host).and_then(|facts| facts.zone());
        left.entry(zone.filter(|_| wish.is_by_zone())).or_default().push(one);
    }
    for all in left.values_mut() {
        // Those that go first come last.
        all.sort_by_key(|one| (!one.is_ready, one.ordinal));
    }
    for (zone, count) in wish.layout.parts() {
        let is_of_part = |of: &Option<&LabelValue>| zone.is_none() || *of == zone;
        loop {
            let of_part = || left.iter().filter(|(of, _)| is_of_part(of));
            let standing: usize = of_part().map(|(_, all)| all.len()).sum();
            if standing <= count as usize {
                break;
            }
            let worst = of_part().max_by_key(|(_, all)| {
                let last = all.last().map(|one| (!one.is_ready, one.ordinal));
                (last.is_some_and(|(sick, _)| sick), all.len(), last.map(|(_, ordinal)| ordinal))
            });
            let Some(worst) = worst.map(|(of, _)| *of) else { break };
            let Some(one) = left.get_mut(&worst).and_then(Vec::pop) else { break };
            gone.push(one.host.clone());
        }
    }
    gone
}

/// The players that suit a wish, while instances are given to them one by one.
struct Field<'a> {
    ground: &'a Ground,
    wish: &'a Wish,
    service: u64,
    /// How many instances each zone has, by the ground's zones; a single one where instances are not
    /// spread over them.
    zones: Vec<u32>,
    lanes: Vec<Lane<'a>>,
    /// A bit of each player: whether it has an instance, or is left out.
    has_one: Vec<u64>,
}

/// The players of one kind. A player that cannot be chosen cannot be chosen later either, so its
/// front only moves on. Whether its first player can be chosen is looked at when its turn comes: players
/// lie far apart in memory.
struct Lane<'a> {
    /// By [`Field::zones`].
    zone: usize,
    ranks: &'a BTreeSet<Rank>,
    front: btree_set::Iter<'a, Rank>,
    first: Option<&'a Rank>,
}

impl<'a> Field<'a> {
    fn new(
        ground: &'a Ground,
        wish: &'a Wish,
        standing: impl IntoIterator<Item = &'a HostName>,
        but: impl IntoIterator<Item = &'a HostName>,
    ) -> Self {
        let zones = if wish.is_by_zone() { ground.zones.len() } else { 1 };
        let mut field = Field {
            ground,
            wish,
            service: hash::of_service(&wish.service),
            zones: vec![0; zones],
            lanes: Vec::with_capacity(ground.kinds.len()),
            has_one: vec![0; ground.plots.len() / 64 + 1],
        };
        for host in standing {
            let Some(ix) = ground.ix(host) else { continue };
            let zone = ground.plots.get(ix).map_or(0, |plot| field.zone_ix(plot.zone));
            field.give(ix, zone);
        }
        but.into_iter().filter_map(|host| ground.ix(host)).for_each(|ix| field.take_out(ix));
        field.find_lanes();
        field
    }

    /// Finds the kinds of players that suit the wish.
    fn find_lanes(&mut self) {
        let (ground, wish) = (self.ground, self.wish);
        // Most kinds offer the same list of scores.
        let mut offered: Option<(*const ScoreName, bool)> = None;
        for alike in ground.kinds.iter().filter(|alike| !alike.ranks.is_empty()) {
            let list = alike.kind.scores.as_ptr();
            let is_offered = match offered {
                Some((known, is_offered)) if known == list => is_offered,
                _ => wish.is_offered(&alike.kind.scores),
            };
            offered = Some((list, is_offered));
            if !is_offered || !wish.suits(&alike.kind.labels) {
                continue;
            }
            let (zone, ranks) = (self.zone_ix(alike.zone), &alike.ranks);
            let mut lane = Lane { zone, ranks, front: ranks.iter(), first: None };
            lane.step(wish);
            self.lanes.push(lane);
        }
    }

    /// Returns where a zone of the ground is counted.
    fn zone_ix(&self, zone: u32) -> usize {
        if self.wish.is_by_zone() { zone as usize } else { 0 }
    }

    /// Leaves a player out of what can be chosen.
    fn take_out(&mut self, plot: usize) {
        if let Some(bits) = self.has_one.get_mut(plot / 64) {
            *bits |= 1 << (plot % 64);
        }
    }

    /// Notes that a player of a zone has an instance.
    fn give(&mut self, plot: usize, zone: usize) {
        self.take_out(plot);
        if let Some(instances) = self.zones.get_mut(zone) {
            *instances += 1;
        }
    }

    /// Returns which zones a part of the layout may use.
    fn zones_of(&self, part: Option<&LabelValue>) -> Range<usize> {
        match part.map(|zone| self.ground.known_zone(zone)) {
            None => 0..self.zones.len(),
            Some(Some(zone)) => zone as usize..zone as usize + 1,
            // No player is there.
            Some(None) => 0..0,
        }
    }

    /// How many instances a part of the layout has.
    fn standing(&self, part: Option<&LabelValue>) -> u32 {
        self.zones.get(self.zones_of(part)).unwrap_or_default().iter().sum()
    }

    /// Gives the next instance to a player, in this zone or in the best one.
    fn next(&mut self, part: Option<&LabelValue>, ordinal: Ordinal) -> Option<usize> {
        let instance = hash::of_instance(self.service, ordinal);
        let zones = self.zones_of(part);
        let (zone, load) = loop {
            let order = |(at, lane): (usize, &Lane<'_>)| {
                let preference = Preference::of(lane.first?.load, self.wish.packs());
                let tie = hash::of_both(instance, *self.ground.zones.get(lane.zone)?);
                Some((*self.zones.get(lane.zone)?, preference, tie, lane.zone, at))
            };
            let lanes = self.lanes.iter().enumerate();
            let lanes = lanes.filter(|(_, lane)| zones.contains(&lane.zone));
            let (_, preference, _, zone, at) = lanes.filter_map(order).min()?;
            // What is behind the first of a lane is not better than it, so the best first is the best
            // of all, if it can be chosen.
            if !self.advance(|other, _| other == at) {
                break (zone, preference.load());
            }
        };
        self.advance(|_, lane| {
            lane.zone == zone && lane.first.is_some_and(|first| first.load == load)
        });
        let plot = self.best_of(zone, load, instance)?;
        self.give(plot, zone);
        Some(plot)
    }

    /// Moves the fronts of these lanes to players that can be chosen. Returns whether any moved.
    fn advance(&mut self, is_meant: impl Fn(usize, &Lane<'a>) -> bool) -> bool {
        let (mut lanes, mut has_moved) = (std::mem::take(&mut self.lanes), false);
        for (at, lane) in lanes.iter_mut().enumerate() {
            while is_meant(at, lane) && lane.first.is_some_and(|rank| !self.may_be_chosen(rank)) {
                lane.step(self.wish);
                has_moved = true;
            }
        }
        self.lanes = lanes;
        has_moved
    }

    /// Returns the player for an instance among those of a zone with this load.
    fn best_of(&self, zone: usize, load: Load, instance: u64) -> Option<usize> {
        let has_load = |lane: &&Lane<'_>| {
            lane.zone == zone && lane.first.is_some_and(|first| first.load == load)
        };
        let lanes = || self.lanes.iter().filter(has_load);
        let each = (EQUALS / lanes().count().max(1)).max(2);
        let equals = lanes().flat_map(|lane| {
            let at = |hash, plot| Rank { load, hash, plot };
            // Round the ring of hashes, from that of the instance on.
            let after = lane.ranks.range(at(instance, 0)..=at(u64::MAX, u32::MAX));
            let before = lane.ranks.range(at(0, 0)..at(instance, 0));
            after.chain(before).filter(|rank| self.may_be_chosen(rank)).take(each)
        });
        let best = equals.max_by_key(|rank| (hash::of_both(instance, rank.hash), rank.plot));
        best.map(|rank| rank.plot as usize)
    }

    fn may_be_chosen(&self, rank: &Rank) -> bool {
        let ix = rank.plot as usize;
        let bits = self.has_one.get(ix / 64).copied().unwrap_or(u64::MAX);
        let is_free = bits & (1 << (ix % 64)) == 0;
        let plot = self.ground.plots.get(ix).filter(|_| is_free);
        plot.is_some_and(|plot| plot.has_room(self.wish, self.service))
    }
}

impl Lane<'_> {
    /// Moves the front by one player.
    fn step(&mut self, wish: &Wish) {
        self.first = if wish.packs() { self.front.next_back() } else { self.front.next() };
    }
}

/// How soon a player of some load is chosen: lower is sooner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Preference {
    Least(Load),
    Most(std::cmp::Reverse<Load>),
}

impl Preference {
    fn of(load: Load, packs: bool) -> Self {
        match packs {
            true => Preference::Most(std::cmp::Reverse(load)),
            false => Preference::Least(load),
        }
    }

    fn load(self) -> Load {
        match self {
            Preference::Least(load) | Preference::Most(std::cmp::Reverse(load)) => load,
        }
    }
}
