//! Instances of placed services that move from one player to another.
//!
//! An instance of a player that is drained, or was away for too long ([`super::absence`]), gets
//! another player, with its number and a new placement. Both run until the new one is ready; then the
//! old one is ended. So a move takes nothing away, and where it cannot be made ready, nothing changes.
//! That is no state of its own: an instance that is not wanted where it is stays there while another
//! player is wanted for its number and is not ready.

use std::collections::BTreeSet;

use orchestra_model::{
    HostName, HostSet, ServiceName, Timestamp,
    names::LabelValue,
    service::{Goal, Instance, Layout, Replaceable},
};

use crate::{
    placement::{Wish, choose_another},
    services::Services,
    tables::Service,
};

impl Services {
    /// Moves the instances of a placed service away from players that are drained, or were away for
    /// too long, as far as there is room. Returns the hosts that it is wanted on from now on, or no
    /// more.
    pub(super) fn move_away(&mut self, name: &ServiceName) -> HostSet {
        let mut changed = HostSet::default();
        let mut replaced = Vec::new();
        let mut retry_at = None;
        let overdue = self.overdue(name);
        let drained = self.drained_hosts(name).into_iter().filter(|host| !overdue.contains(host));
        let misfits = self.misfits(name);
        let drained = drained.chain(misfits.iter().cloned());
        let leaving = drained.map(|host| (host, false)).collect::<Vec<_>>();
        for (host, is_overdue) in overdue.into_iter().map(|host| (host, true)).chain(leaving) {
            if is_overdue && let Some((_, until)) = self.held_back(name, &host) {
                retry_at = Some(retry_at.map_or(until, |at: Timestamp| at.min(until)));
                continue;
            }
            match self.replaceable(name, &host) {
                Replaceable::At(until) if is_overdue => {
                    retry_at = Some(retry_at.map_or(until, |at: Timestamp| at.min(until)));
                    continue;
                }
                Replaceable::OnProof if is_overdue => continue,
                _ => {}
            }
            let Some(to) = self.next_player(name, &host) else {
                // It is looked at again when some player has more room.
                self.short.insert(name.clone());
                continue;
            };
            let Some(service) = self.services.get_mut(name) else { break };
            let Some(placed) = service.placements.get(&host) else { continue };
            let ordinal = placed.instance.ordinal;
            let (old, new) =
                (HostSet::from_names([host.clone()]), HostSet::from_names([to.clone()]));
            service.record.hosts = service.record.hosts.minus(&old).union(&new);
            changed = changed.union(&old).union(&new);
            self.settle_on(name, &to, ordinal);
            if is_overdue {
                self.count_replacement(name, &host);
                replaced.push((host, to));
            } else if misfits.contains(&host) {
                self.note_misfit(name, &host, &to);
            }
        }
        if let Some(service) = self.services.get_mut(name) {
            service.retry_at = retry_at;
        }
        self.note_replaced(name, &replaced);
        changed
    }

    /// Gives instances numbers of their own where a host is wanted again that was to be left for
    /// another one: both have the same. The earlier placement keeps it.
    pub(crate) fn part_numbers(&mut self, name: &ServiceName) {
        let Some(service) = self.services.get(name) else { return };
        let mut wanted: Vec<(Instance, &HostName)> = service
            .record
            .hosts
            .iter()
            .filter_map(|host| Some((service.placements.get(host)?.instance, host)))
            .collect();
        wanted.sort_by_key(|(instance, _)| instance.placement);
        let mut taken = BTreeSet::new();
        wanted.retain(|(instance, _)| !taken.insert(instance.ordinal));
        let doubled: Vec<HostName> = wanted.into_iter().map(|(_, host)| host.clone()).collect();
        let free = service.free_ordinals();
        for (host, ordinal) in doubled.iter().zip(free) {
            self.place_anew(name, host, ordinal);
        }
    }

    /// Returns the hosts of a placed service that are drained.
    fn drained_hosts(&self, name: &ServiceName) -> Vec<HostName> {
        let Some(service) = self.services.get(name) else { return Vec::new() };
        let hosts = service.record.hosts.iter();
        hosts.filter(|host| self.drained.contains(*host)).cloned().collect()
    }

    /// Returns the player that an instance moves to from another one, if one has room.
    fn next_player(&self, name: &ServiceName, from: &HostName) -> Option<HostName> {
        let (wish, service) = (self.wish(name)?, self.services.get(name)?);
        let ordinal = service.placements.get(from)?.instance.ordinal;
        let zone = self.zone_to_stay_in(&wish, from);
        let others = service.record.hosts.iter().filter(|host| *host != from);
        let unfit = service.unfit_hosts();
        choose_another(&self.ground, &wish, others, unfit.iter(), zone, ordinal).cloned()
    }

    /// Returns the zone in which an instance has to stay that leaves a host; `None`: whichever.
    pub(crate) fn zone_to_stay_in(&self, wish: &Wish, from: &HostName) -> Option<&LabelValue> {
        let zone = self.ground.facts(from).and_then(|facts| facts.zone());
        zone.filter(|zone| match &wish.layout {
            Layout::Zones(zones) => zones.contains_key(*zone),
            Layout::Count(_) => false,
        })
    }

    /// Returns whether a service may leave a host where it is not wanted: nobody waits there for the
    /// same instance to be ready on another host.
    pub(crate) fn may_leave(&self, name: &ServiceName, host: &HostName) -> bool {
        let Some(service) = self.services.get(name) else { return true };
        if let Some(other) = service.linked_to().filter(|_| service.goal() == Goal::Running) {
            // It leaves with the other one.
            return self.may_leave(other, host);
        }
        if service.at_most_one().is_some() {
            // The next one waits for this one's end.
            return true;
        }
        let Some(next) = service.next_host_of(host) else { return true };
        service.is_ready_on(next) && self.present.contains_key(next)
    }

    /// Rechecks hosts that wait for the instance on this host to be ready.
    pub(crate) fn recheck_leaving(&mut self, name: &ServiceName, host: &HostName) {
        let Some(service) = self.services.get(name) else { return };
        let leaving = service.leaving_for(host);
        if leaving.is_empty() {
            return;
        }
        let linked = self.linked_to(name);
        for host in &leaving {
            self.recheck(name, host);
            for linked in &linked {
                self.recheck(linked, host);
            }
        }
        for linked in linked {
            self.advance(&linked);
        }
    }
}

impl Service {
    /// Returns the host where the instance is wanted that is on a host where it is not wanted.
    pub(crate) fn next_host_of(&self, host: &HostName) -> Option<&HostName> {
        if self.record.layout.is_none() || self.goal() != Goal::Running || self.is_wanted_on(host) {
            return None;
        }
        self.placements.others_of(host).find(|other| self.is_wanted_on(other))
    }

    /// Returns hosts where the service is not wanted and that have the same instance as this host.
    fn leaving_for(&self, host: &HostName) -> Vec<HostName> {
        if self.record.layout.is_none() {
            return Vec::new();
        }
        self.placements.others_of(host).filter(|other| !self.is_wanted_on(other)).cloned().collect()
    }
}
