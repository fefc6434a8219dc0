//! Leases of units that may never be alive twice, and when one of them may be replaced.
//!
//! A player asks for leases by its own clock, and what it is granted counts from when it asked. So
//! whatever delays the answer, the lease is over at the latest [`Lease::over_after`] after the moment
//! at which this engine granted it. That moment is kept in memory. After a start of the conductor
//! nobody knows what the process before granted last, so it counts as granted at the start, with the
//! longest lease that any kept version has.
//!
//! ```text
//!   may this placement be replaced?
//!     its service may be alive twice ─────────────────────────────────▶ now
//!     its player says that nothing of it is there, or a person does ──▶ now
//!     it runs under leases alone ─────────────────────────────────────▶ when the last one is over
//!     else ───────────────────────────────────────────────────────────▶ on proof
//! ```

use orchestra_model::{
    HostName, ServiceName, Timestamp,
    service::{AtMostOne, Lease, Ordinal, Replaceable, ServiceVersion},
};

use crate::{
    input::Rejection,
    services::Services,
    tables::{Placed, Service},
};

impl Services {
    /// Returns those of the leases that a player asks for that it is given, now: of its present
    /// instances, as long as nobody has said that they are dead. What it is given is remembered.
    pub fn grant(&mut self, now: Timestamp, host: &HostName, asked: Vec<Lease>) -> Vec<Lease> {
        self.now = now.max(self.now);
        if !self.present.contains_key(host) {
            return Vec::new();
        }
        let now = self.now;
        let is_granted = |lease: &Lease| {
            if !self.may_have_lease(&lease.service, host) {
                return false;
            }
            let service = self.services.get_mut(&lease.service);
            let placed = service.and_then(|service| service.placements.get_mut(host));
            let same = |placed: &&mut Placed| placed.instance.placement == lease.placement;
            let Some(placed) = placed.filter(same).filter(|placed| !placed.dead) else {
                return false;
            };
            placed.leased_until(now, lease);
            true
        };
        asked.into_iter().filter(is_granted).collect()
    }

    /// Takes it that the process before this one granted leases just now.
    pub(crate) fn suppose_leases(&mut self) {
        let now = self.now;
        for service in self.services.values_mut() {
            let versions = service.versions.values();
            let leases = versions.filter_map(|kept| kept.spec.upkeep.as_lease(&kept.spec.name));
            let Some(lease) = leases.max_by_key(Lease::over_after) else { continue };
            service.placements.values_mut().for_each(|placed| placed.leased_until(now, &lease));
        }
    }

    /// Returns whether the instance of a service on a host may be replaced by another one elsewhere,
    /// and if not, what has to happen first.
    pub fn replaceable(&self, name: &ServiceName, host: &HostName) -> Replaceable {
        let Some(service) = self.services.get(name) else { return Replaceable::Now };
        let Some(placed) = service.placements.get(host) else { return Replaceable::Now };
        if service.at_most_one().is_none() || placed.dead {
            return Replaceable::Now;
        }
        // A player that is attached has told all that it has.
        if self.present.contains_key(host) && placed.report.is_none() {
            return Replaceable::Now;
        }
        match placed.leased {
            _ if !service.runs_leased(placed) => Replaceable::OnProof,
            // It was never granted a lease, so it never had a run.
            None => Replaceable::Now,
            Some(until) if until <= self.now => Replaceable::Now,
            Some(until) => Replaceable::At(until),
        }
    }

    /// Whether a player may be given leases for its instance of a service. Of a placed one only where it
    /// is wanted, and once no other player may have the same instance.
    fn may_have_lease(&self, name: &ServiceName, host: &HostName) -> bool {
        let Some(service) = self.services.get(name) else { return false };
        let is_placed = service.record.layout.is_some();
        !is_placed || (service.is_wanted_on(host) && self.predecessor(name, host).is_none())
    }

    /// Returns another player on which the instance of a host may be alive, if none may be alive twice
    /// and the conductor chooses the players.
    pub(crate) fn predecessor(&self, name: &ServiceName, host: &HostName) -> Option<&HostName> {
        let service = self.services.get(name)?;
        if service.at_most_one().is_none() || service.record.layout.is_none() {
            return None;
        }
        // An order may be on its way to a player that is there, even if its flow was abandoned. A player
        // that is away tells what became of one when it is back.
        let is_ordered = |other: &HostName| {
            let placed = service.placements.get(other).filter(|it| !it.dead);
            let is_open = service.open.contains(other) || service.relief.open.contains(other);
            let is_there = self.present.contains_key(other);
            placed.is_some_and(|placed| is_there && (is_open || placed.is_ordered))
        };
        let may_be_alive = |other: &&HostName| {
            is_ordered(other) || self.replaceable(name, other) != Replaceable::Now
        };
        service.placements.others_of(host).find(may_be_alive)
    }

    /// Rechecks hosts of a service that may wait for the end of these instances on other players.
    pub(crate) fn recheck_successors(
        &mut self,
        name: &ServiceName,
        ordinals: impl IntoIterator<Item = Ordinal>,
    ) {
        let Some(service) = self.services.get(name).filter(|it| it.begins_after_its_end()) else {
            return;
        };
        let hosts = ordinals.into_iter().flat_map(|it| service.placements.hosts_of(it));
        let hosts: Vec<HostName> =
            hosts.filter(|host| service.is_wanted_on(host)).cloned().collect();
        hosts.iter().for_each(|host| self.recheck(name, host));
    }

    /// Rechecks all hosts of a service that may wait for the end of their instances on other players.
    pub(crate) fn recheck_all_successors(&mut self, name: &ServiceName) {
        let leaving = self.services.get(name).map(Service::leaving_ordinals).unwrap_or_default();
        self.recheck_successors(name, leaving);
    }

    /// Takes the word of a person that an instance is not alive and will not be again.
    pub(crate) fn declare_dead(
        &mut self,
        name: &ServiceName,
        ordinal: Ordinal,
    ) -> Result<bool, Rejection> {
        let service = self.existing(name)?;
        if service.at_most_one().is_none() {
            return Err(Rejection::MayBeTwice(name.clone()));
        }
        let hosts: Vec<HostName> = service.placements.hosts_of(ordinal).cloned().collect();
        // One that moves is on two players, of which one may be away.
        let away = hosts.iter().find(|host| !self.present.contains_key(*host));
        let Some(host) = away.or(hosts.first()).cloned() else {
            return Err(Rejection::NoInstance(name.clone(), ordinal));
        };
        if self.present.contains_key(&host) {
            return Err(Rejection::Alive(name.clone(), ordinal, host));
        }
        let placed = self.existing(name)?.placements.get_mut(&host);
        let is_news = placed.is_some_and(|placed| !std::mem::replace(&mut placed.dead, true));
        if is_news {
            self.put_placement(name, &host);
        }
        Ok(is_news)
    }
}

impl Service {
    /// Whether no instance of it may be alive twice.
    pub(crate) fn at_most_one(&self) -> Option<AtMostOne> {
        self.spec().and_then(|spec| spec.upkeep.at_most_one)
    }

    /// Returns when the next lease is over for whose end another player waits.
    pub(crate) fn next_lease_end(&self, now: Timestamp) -> Option<Timestamp> {
        let leases = self.leaving().filter_map(|(_, placed)| placed.leased);
        leases.filter(|at| *at > now).min()
    }

    /// Whether an instance that moves begins only once its end elsewhere is certain.
    pub(crate) fn begins_after_its_end(&self) -> bool {
        self.at_most_one().is_some() && self.record.layout.is_some()
    }

    /// Returns the instances that may have to end before others of the same number begin.
    fn leaving(&self) -> impl Iterator<Item = (&HostName, &Placed)> {
        // Each host where it is wanted has an instance, so only further ones can be in the way.
        let is_any = self.begins_after_its_end() && self.placements.len() > self.record.hosts.len();
        let all = is_any.then(|| self.placements.iter()).into_iter().flatten();
        all.filter(|(host, _)| !self.is_wanted_on(host))
    }

    /// Returns the numbers of instances that may have to end before others of the same number begin.
    pub(super) fn leaving_ordinals(&self) -> Vec<Ordinal> {
        self.leaving().map(|(_, placed)| placed.instance.ordinal).collect()
    }

    /// Whether what may run of an instance runs under a lease: its player has told a version with
    /// one, or has told none and every kept version has one.
    fn runs_leased(&self, placed: &Placed) -> bool {
        let is_leased = |version: &ServiceVersion| {
            let kept = self.versions.get(version);
            kept.is_some_and(|kept| kept.spec.upkeep.lease().is_some())
        };
        match &placed.report {
            Some(report) => is_leased(&report.version),
            None => self.versions.keys().all(is_leased),
        }
    }
}

impl Placed {
    /// Notes that a lease is granted at this moment.
    fn leased_until(&mut self, now: Timestamp, lease: &Lease) {
        let until = Timestamp(now.0.saturating_add(lease.over_after().0));
        self.leased = self.leased.max(Some(until));
    }
}
