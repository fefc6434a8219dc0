//! What players tell of their units, and which players there are.

use std::collections::{BTreeMap, BTreeSet};

use orchestra_model::{
    HostName, HostSet, ServiceName, Timestamp,
    record::{Op, Record},
    score::Offers,
    service::{Ordinal, UnitReport, UnitState},
};

use crate::{
    services::Services,
    tables::{Placed, Presence},
};

impl Services {
    /// Takes the units of a player that attached. The list is complete: a unit that is not in it
    /// does not exist.
    pub(crate) fn player_attached(
        &mut self,
        host: &HostName,
        units: Option<Vec<UnitReport>>,
        offers: Offers,
    ) {
        let keeps_units = units.is_some();
        self.present.insert(host.clone(), Presence { keeps_units, offers });
        self.strangers.remove(host);
        let known: Vec<ServiceName> =
            self.by_host.get(host).into_iter().flatten().cloned().collect();
        for name in &known {
            let placed = self.services.get_mut(name).and_then(|it| it.placements.get_mut(host));
            if let Some(placed) = placed {
                (placed.report, placed.is_ordered) = (None, false);
            }
        }
        for report in units.into_iter().flatten() {
            // It may have turned long before.
            let at = report.since.min(self.now);
            self.take_in(host, report, at);
        }
        let wanted: Vec<ServiceName> = self.names_on(host);
        self.away.remove(host);
        // Where an instance is not any more, those that waited for its end may begin.
        let ordinals: Vec<_> = wanted.iter().map(|name| self.ordinal_on(name, host)).collect();
        for name in &wanted {
            if let Some(service) = self.services.get_mut(name) {
                service.given_up.remove(host);
                service.ordered.remove(host);
                service.relief.ordered.remove(host);
                service.unfit.remove(host);
            }
            self.displace_if_gone(name, host);
            self.place_anew_if_dead(name, host);
            if keeps_units {
                self.place_anew_if_gone(name, host);
            }
        }
        for (name, ordinal) in wanted.iter().zip(ordinals) {
            self.tell_drift(name, host);
            self.end_absence(name, host);
            self.recheck(name, host);
            self.recheck_leaving(name, host);
            self.recheck_successors(name, ordinal);
        }
        self.tell_unwell(host);
        for name in &wanted {
            self.advance(name);
        }
    }

    /// Returns services that have a unit on a host, or are wanted there.
    fn names_on(&self, host: &HostName) -> Vec<ServiceName> {
        let concerns = |(name, service): (&ServiceName, &crate::tables::Service)| {
            let is_there = service.placements.contains_key(host)
                || service.is_wanted_on(host)
                || service.uncleaned.contains(host);
            is_there.then(|| name.clone())
        };
        self.services.iter().filter_map(concerns).collect()
    }

    pub(crate) fn player_detached(&mut self, host: &HostName) {
        if self.present.remove(host).is_none() {
            return;
        }
        self.ground.detached(host);
        self.begin_absence(host);
        self.recheck_brakes();
        let names = self.names_on(host);
        for name in &names {
            self.recheck(name, host);
            self.recheck_leaving(name, host);
            self.recheck_successors(name, self.ordinal_on(name, host));
        }
        self.tell_unwell(host);
        for name in &names {
            self.replace_overdue(name);
            self.set_wake(name);
        }
    }

    pub(crate) fn unit_told(&mut self, host: &HostName, report: UnitReport) {
        if !self.present.contains_key(host) {
            return;
        }
        let name = report.service.clone();
        let before = self.ordinal_on(&name, host);
        self.take_in(host, report, self.now);
        self.displace_if_gone(&name, host);
        self.place_anew_if_gone(&name, host);
        self.tell_drift(&name, host);
        self.stay_if_ready(&name, host);
        self.recheck(&name, host);
        self.recheck_leaving(&name, host);
        let now = self.ordinal_on(&name, host);
        self.recheck_successors(&name, before.into_iter().chain(now));
        self.tell_unwell(host);
        self.advance(&name);
        self.recheck_linked(&name, host);
    }

    /// Returns the number of the instance of a service on a host.
    pub(super) fn ordinal_on(&self, name: &ServiceName, host: &HostName) -> Option<Ordinal> {
        self.services.get(name)?.placements.ordinal_on(host)
    }

    /// Takes the report of a unit. If this store has not ordered the unit, it is a stranger, which
    /// is listed and left alone. If the report says that the unit is unhealthy, and the one before
    /// did not, it turned at this moment.
    fn take_in(&mut self, host: &HostName, report: UnitReport, at: Timestamp) {
        let is_ours = |service: &&mut crate::tables::Service| {
            service.record.has_issued(report.instance.placement, report.version)
        };
        let name = report.service.clone();
        let Some(service) = self.services.get_mut(&name).filter(is_ours) else {
            let others = self.strangers.entry(host.clone()).or_default();
            others.retain(|stranger| stranger.service != name);
            if report.state != UnitState::Gone {
                others.push(report);
            }
            return;
        };
        if let Some(others) = self.strangers.get_mut(host) {
            others.retain(|stranger| stranger.service != name);
        }
        let is_new = !service.placements.contains_key(host);
        let now = self.now;
        // A unit that was taken for gone may find its number given to another.
        let instance = match is_new {
            true => service.instance_like(report.instance),
            false => report.instance,
        };
        if is_new {
            service.placements.insert(host.clone(), Placed::new(instance, false));
        }
        let Some(placed) = service.placements.get_mut(host) else { return };
        placed.unhealthy_since = match report.state {
            UnitState::Unhealthy => placed.unhealthy_since.or(Some(at)),
            _ => None,
        };
        let was_told = std::mem::replace(&mut placed.told, true);
        placed.note_begun(&report, now);
        placed.is_ordered = false;
        placed.report = Some(report);
        service.note_failing(host, now);
        if is_new || !was_told {
            let record = service.placement_record(host);
            self.note_host(host, &name);
            if let Some(record) = record {
                self.persist(Op::Put(Record::Placement(record)));
            }
        }
    }

    /// Begins a new placement if a player told a unit before and does not any more. Its spool may
    /// have been wiped, so that run numbers would begin anew. Orders from now on are for the new
    /// placement.
    fn place_anew_if_gone(&mut self, name: &ServiceName, host: &HostName) {
        let Some(service) = self.services.get_mut(name) else { return };
        let Some(placed) = service.placements.get(host) else { return };
        if !placed.told || placed.report.is_some() {
            return;
        }
        let ordinal = placed.instance.ordinal;
        service.place(host, ordinal);
        let record = service.placement_record(host);
        self.put_service(name);
        if let Some(record) = record {
            self.persist(Op::Put(Record::Placement(record)));
        }
    }

    /// Begins a new placement where the one that was declared dead has come back and is wanted: what
    /// runs there is ended, and follows anew.
    pub(crate) fn place_anew_if_dead(&mut self, name: &ServiceName, host: &HostName) {
        let Some(service) = self.services.get_mut(name) else { return };
        let is_wanted = service.is_wanted_on(host);
        let Some(placed) = service.placements.get(host).filter(|it| it.dead && is_wanted) else {
            return;
        };
        let ordinal = placed.instance.ordinal;
        self.place_anew(name, host, ordinal);
    }

    /// Begins a new placement on a host: what its player tells of the one before is not forgotten, so
    /// it is ended and follows anew.
    pub(crate) fn place_anew(&mut self, name: &ServiceName, host: &HostName, ordinal: Ordinal) {
        let Some(service) = self.services.get_mut(name) else { return };
        let report = service.placements.get(host).and_then(|placed| placed.report.clone());
        service.place(host, ordinal);
        if let Some(placed) = service.placements.get_mut(host) {
            (placed.told, placed.report) = (report.is_some(), report);
        }
        self.put_service(name);
        self.put_placement(name, host);
    }

    /// Forgets the instance of a host where none is wanted and none exists.
    pub(crate) fn displace_if_gone(&mut self, name: &ServiceName, host: &HostName) {
        let Some(service) = self.services.get_mut(name) else { return };
        let Some(placed) = service.placements.get_mut(host) else { return };
        placed.report.take_if(|report| report.state == UnitState::Gone);
        let is_there = placed.report.is_some();
        // It may be prepared at this moment: once its flow has ended, that is known.
        let is_begun = !placed.told && service.open.contains(host);
        if is_there || is_begun || service.is_wanted_on(host) {
            return;
        }
        let left = service.leave(host);
        if let Some(names) = self.by_host.get_mut(host) {
            names.remove(name);
        }
        self.persist(match left {
            Some(left) => Op::Put(Record::Placement(left)),
            None => Op::Displace(name.clone(), host.clone()),
        });
        self.tally(name, host);
    }

    pub(crate) fn drain_changed(&mut self, hosts: &HostSet, drained: bool) {
        let mut concerned = BTreeSet::new();
        for host in hosts {
            match drained {
                true => self.drained.insert(host.clone()),
                false => self.drained.remove(host),
            };
            self.ground.drained(host, drained);
            if !drained {
                self.roomier.insert(host.clone());
            }
            for name in self.names_on(host) {
                self.recheck(&name, host);
                concerned.insert(name);
            }
        }
        for name in concerned {
            self.fill(&name);
            self.advance(&name);
            self.follow_links(&name);
        }
    }

    /// Takes the hosts to which the expressions of services resolve now.
    pub(crate) fn fleet_loaded(&mut self, hosts: BTreeMap<ServiceName, Result<HostSet, String>>) {
        for (name, resolved) in hosts {
            let Some(service) = self.services.get_mut(&name) else { continue };
            let present = &service.record.hosts;
            let resolved = match resolved {
                Ok(resolved) => resolved,
                Err(why) => {
                    service.trouble = Some(format!("it stays where it is: {why}"));
                    continue;
                }
            };
            let is_news = *present != resolved;
            service.trouble = None;
            service.given_up.clear();
            if is_news {
                service.record.hosts = resolved;
                self.put_service(&name);
                self.effects.push_back(crate::Effect::RecountCells);
            }
            self.recheck_all(&name);
            self.advance(&name);
            self.follow_links(&name);
        }
    }
}
