//! Instances that are moved although they are well, because somebody asks for it: the only thing that
//! does so.
//!
//! A choice of players stands, so after an outage, a drain or with new players the instances of a
//! service may be spread badly. A rebalance finds *moves* that make it better, from what is known now,
//! and makes all of them by one flow: each instance begins on its new player, as careful as an update,
//! and is ended on the old one once it is ready there, as in each move ([`super::moving`]). Where that
//! does not come about it stays where it was.
//!
//! A move is better only if it makes something strictly better: a player that may not have the instance
//! any more is left; of two zones the one with fewer gets one if they differ by two; a player with much
//! reserved is left for one with less, or with `pack` the other way round. No instance moves twice.

use std::collections::BTreeSet;

use orchestra_model::{
    Asker, HostName, HostSet, ServiceName,
    names::LabelValue,
    service::{Cause, Change, Layout, Move, Ordinal, UnitState},
};

use crate::{
    effect::Effect,
    input::Rejection,
    placement::{Ground, Wish, choose_another},
    services::Services,
};

/// Most moves of one rebalance; whoever wants more asks again.
const MOST_MOVES: usize = 100;

/// What the instances of a service would be spread like.
struct Spreading<'a> {
    wish: &'a Wish,
    ground: Ground,
    standing: BTreeSet<HostName>,
    /// Those that may still be moved.
    movable: Vec<(Ordinal, HostName)>,
}

impl Services {
    /// Moves instances of a service to players that suit it better. Returns whether anything is moved.
    pub(super) fn rebalance(
        &mut self,
        by: &Asker,
        name: &ServiceName,
        plan: bool,
    ) -> Result<bool, Rejection> {
        let service = self.running(name, None)?;
        if service.at_most_one().is_some() {
            let why = "none of its instances may be alive twice, so each move would end one before it \
                       begins elsewhere; drain a player to have it left nevertheless";
            return Err(Rejection::Busy(name.clone(), why.to_owned()));
        }
        let moves = self.moves(name)?;
        let service = self.existing(name)?;
        if let Some(living) = &service.record.living {
            return Err(Rejection::Changing(name.clone(), living.flow));
        }
        if let Some(paused_by) = &service.record.paused_by {
            return Err(Rejection::Paused(name.clone(), paused_by.clone()));
        }
        self.moves_found.clone_from(&moves);
        if plan || moves.is_empty() {
            return Ok(false);
        }
        for Move { ordinal, from, to } in &moves {
            let Some(service) = self.services.get_mut(name) else { break };
            let (old, new) =
                (HostSet::from_names([from.clone()]), HostSet::from_names([to.clone()]));
            service.record.hosts = service.record.hosts.minus(&old).union(&new);
            self.settle_on(name, to, *ordinal);
        }
        let service = self.existing(name)?;
        service.want_change(Change::new(Cause::Rebalance, by.clone()));
        self.effects.push_back(Effect::RecountCells);
        Ok(true)
    }

    /// Returns the moves that would make the spread of a service better now.
    pub(crate) fn moves(&self, name: &ServiceName) -> Result<Vec<Move>, Rejection> {
        let Some(wish) = self.wish(name) else { return Err(Rejection::NotPlaced(name.clone())) };
        if !self.is_settled() {
            let why = "the conductor has just started, and players have their time to come back";
            return Err(Rejection::Busy(name.clone(), why.to_owned()));
        }
        let mut spreading = self.spreading(name, &wish);
        let mut moves = Vec::new();
        while moves.len() < MOST_MOVES
            && let Some(better) = spreading.next()
        {
            moves.push(better);
        }
        Ok(moves)
    }

    fn spreading<'a>(&self, name: &ServiceName, wish: &'a Wish) -> Spreading<'a> {
        let standing = self.services.get(name).map(|service| service.record.hosts.clone());
        let standing: BTreeSet<HostName> =
            standing.iter().flat_map(HostSet::iter).cloned().collect();
        let is_well = |host: &&HostName| self.judged_state(name, host) == Some(UnitState::Ready);
        let ordinal = |host: &HostName| {
            let placed = self.services.get(name)?.placements.get(host)?;
            Some((placed.instance.ordinal, host.clone()))
        };
        // What is not ready is somebody else's matter, and so is who is drained.
        let there = standing.iter().filter(is_well).filter(|host| self.is_reachable(host));
        let movable = there.filter_map(ordinal).collect();
        Spreading { wish, ground: self.ground.clone(), standing, movable }
    }

    /// Ends the moves of a rebalance that did not come about: the instances stay where they were.
    pub(super) fn stay_where_unmoved(&mut self, name: &ServiceName) {
        let Some(service) = self.services.get(name) else { return };
        let leaving = service.placements.keys().filter(|host| !service.is_wanted_on(host));
        for host in leaving.cloned().collect::<Vec<_>>() {
            self.stay_if_ready(name, &host);
        }
    }
}

impl Spreading<'_> {
    /// Returns the next move that makes something better, as if it were made.
    fn next(&mut self) -> Option<Move> {
        let found = self.misplaced().or_else(|| self.uneven()).or_else(|| self.loaded())?;
        self.standing.remove(&found.from);
        self.standing.insert(found.to.clone());
        self.ground.take(&found.from, &self.wish.service, None);
        self.ground.take(&found.to, &self.wish.service, Some(self.wish.need));
        self.movable.retain(|(ordinal, _)| *ordinal != found.ordinal);
        Some(found)
    }

    /// An instance on a player that may not have it any more.
    fn misplaced(&self) -> Option<Move> {
        let mut wrong =
            self.movable.iter().filter(|(_, host)| !self.ground.may_stay(host, self.wish));
        wrong.find_map(|(ordinal, from)| self.to_another(*ordinal, from, None))
    }

    /// One of the zone with most, if another one has two fewer.
    fn uneven(&self) -> Option<Move> {
        if !matches!(self.wish.layout, Layout::Count(_)) || !self.wish.is_by_zone() {
            return None;
        }
        // The highest of a zone goes first, as where there are too many.
        let mut candidates: Vec<_> = self.movable.iter().collect();
        candidates.sort_by_key(|(ordinal, host)| {
            std::cmp::Reverse((self.count_in(self.zone(host)), *ordinal))
        });
        let (ordinal, from) = candidates.first()?;
        let found = self.to_another(*ordinal, from, None)?;
        let (here, there) = (self.zone(from), self.zone(&found.to));
        (self.count_in(here) >= self.count_in(there) + 2).then_some(found)
    }

    /// One of a player that has much reserved, if another one of its zone has clearly less; with `pack`
    /// one of a player that has little.
    fn loaded(&self) -> Option<Move> {
        let mut candidates: Vec<_> = self.movable.iter().collect();
        candidates.sort_by_key(|(ordinal, host)| (self.ground.load_of(host), *ordinal));
        if !self.wish.packs() {
            candidates.reverse();
        }
        // If the worst one is well placed, so are the others, but those of other zones may not be.
        let mut seen = BTreeSet::new();
        let mut worst = candidates.into_iter().filter(|(_, host)| seen.insert(self.zone(host)));
        worst.find_map(|(ordinal, from)| self.to_less(*ordinal, from))
    }

    fn to_less(&self, ordinal: Ordinal, from: &HostName) -> Option<Move> {
        let zone = self.zone(from).filter(|_| self.wish.is_by_zone());
        let found = self.to_another(ordinal, from, zone)?;
        if self.wish.is_by_zone() && self.zone(&found.to) != self.zone(from) {
            return None;
        }
        let then = |host, need| self.ground.load_of_with(host, &self.wish.service, need);
        let better = match self.wish.packs() {
            true => self.ground.load_of(&found.to).is_clearly_above(then(from, None)),
            false => {
                let there = then(&found.to, Some(self.wish.need));
                self.ground.load_of(from).is_clearly_above(there)
            }
        };
        better.then_some(found)
    }

    fn to_another(
        &self,
        ordinal: Ordinal,
        from: &HostName,
        zone: Option<&LabelValue>,
    ) -> Option<Move> {
        let others = self.standing.iter().filter(|host| *host != from);
        let named = self.zone(from).filter(|own| match &self.wish.layout {
            Layout::Zones(zones) => zones.contains_key(*own),
            Layout::Count(_) => false,
        });
        let to = choose_another(&self.ground, self.wish, others, [], zone.or(named), ordinal)?;
        Some(Move { ordinal, from: from.clone(), to: to.clone() })
    }

    fn zone(&self, host: &HostName) -> Option<&LabelValue> {
        self.ground.facts(host).and_then(|facts| facts.zone())
    }

    fn count_in(&self, zone: Option<&LabelValue>) -> usize {
        self.standing.iter().filter(|host| self.zone(host) == zone).count()
    }
}
