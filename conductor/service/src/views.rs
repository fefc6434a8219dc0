//! What is told of services.

mod obstacles;
mod plan;

use std::collections::BTreeMap;

use orchestra_model::{
    HostName, HostSet, ServiceName,
    service::{
        Goal, InstanceStatus, ServiceStatus, Stranger, UnitReport, UnitState, VersionRecord,
    },
};

use crate::{services::Services, tables::Service};

impl Services {
    /// The names of all services of which something is left, in order: a removed one has units, or hosts
    /// that are to be cleaned up.
    pub fn names(&self) -> impl Iterator<Item = &ServiceName> {
        let there = self.services.values().filter(|service| !service.is_over());
        there.map(|service| &service.record.name)
    }

    /// Returns the status of a service.
    pub fn status(&self, name: &ServiceName) -> Option<ServiceStatus> {
        let service = self.services.get(name)?;
        let instance = |(host, placed): (&HostName, &crate::tables::Placed)| {
            let attached = self.present.contains_key(host);
            InstanceStatus {
                host: host.clone(),
                instance: placed.instance,
                attached,
                report: placed.report.clone(),
                unready: service.unready(host, attached),
                drifted: service.drifted(host),
                // The engine does not know vitals.
                usage: None,
                replaceable: (!attached && service.at_most_one().is_some())
                    .then(|| self.replaceable(name, host)),
                absence: self.absence(name, host),
            }
        };
        let is_unplaced = |host: &&HostName| {
            service.is_wanted_on(host) && !service.placements.contains_key(*host)
        };
        Some(ServiceStatus {
            record: service.record.clone(),
            score_hash: service.score_hash(),
            instances: service.placements.iter().map(instance).collect(),
            unplaced: HostSet::from_names(service.record.hosts.iter().filter(is_unplaced).cloned()),
            waiting: self.waiting(name),
            given_up: HostSet::from_names(service.given_up.iter().cloned()),
            uncleaned: HostSet::from_names(service.uncleaned.iter().cloned()),
            strangers: HostSet::from_names(
                self.strangers()
                    .map(|(host, _)| host)
                    .filter(|host| self.is_strange(name, host))
                    .cloned(),
            ),
            hindered: self.hindered(name),
            trouble: service.trouble.clone(),
        })
    }

    /// Returns the kept versions of a service, oldest first; `None` if there is no such service.
    pub fn history(&self, name: &ServiceName) -> Option<Vec<VersionRecord>> {
        let versions = self.services.get(name)?.versions.values();
        Some(versions.map(|kept| kept.record.clone()).collect())
    }

    /// Returns the strangers of each player.
    pub fn strangers(&self) -> impl Iterator<Item = (&HostName, &[UnitReport])> {
        let all = self.strangers.iter().map(|(host, units)| (host, units.as_slice()));
        all.filter(|(_, units)| !units.is_empty())
    }

    /// Returns the strangers one by one.
    pub fn each_stranger(&self) -> impl Iterator<Item = Stranger> {
        let there = |name: &ServiceName| {
            self.services.get(name).is_some_and(|service| service.record.goal != Goal::Removed)
        };
        let stranger = move |host: &HostName, report: &UnitReport| Stranger {
            host: host.clone(),
            report: report.clone(),
            is_known: there(&report.service),
        };
        self.strangers()
            .flat_map(move |(host, units)| units.iter().map(move |report| stranger(host, report)))
    }

    /// Checks every rule over all services. Tests call it after each step.
    pub fn audit(&self) -> Result<(), String> {
        for (name, service) in &self.services {
            self.audit_service(name, service).map_err(|why| format!("{name}: {why}"))?;
            self.audit_placing(name, service).map_err(|why| format!("{name}: {why}"))?;
        }
        self.ground.audit()?;
        self.audit_brakes()?;
        for (flow, name) in
            self.flows.iter().flat_map(|(flow, names)| names.iter().map(move |it| (flow, it)))
        {
            let record = self.services.get(name).map(|it| &it.record);
            let known = record.into_iter().flat_map(|it| it.living.iter().chain(&it.relief));
            if known.map(|known| known.flow).all(|known| known != *flow) {
                return Err(format!("flow {flow} is not a living flow of {name}"));
            }
        }
        Ok(())
    }

    /// Checks what is told to the ground of a service, and that it waits where it has too few.
    fn audit_placing(&self, name: &ServiceName, service: &Service) -> Result<(), String> {
        for host in self.ground.hosts() {
            let taken = self.ground.taken(host, name);
            let need = service.placements.contains_key(host).then(|| service.need());
            if taken != need {
                return Err(format!("it takes {need:?} of {host}, which has {taken:?} noted"));
            }
        }
        let Some(wish) = self.wish(name) else { return Ok(()) };
        let is_short = (service.record.hosts.len() as u64) < wish.layout.total();
        if service.record.goal == Goal::Running && is_short && !self.short.contains(name) {
            return Err("it has too few instances, and nobody looks for room".to_owned());
        }
        let mut ordinals = std::collections::BTreeSet::new();
        for host in &service.record.hosts {
            let placed = service.placements.get(host).ok_or("a host of it has no instance")?;
            if !ordinals.insert(placed.instance.ordinal) {
                return Err("two instances that are wanted have one number".to_owned());
            }
        }
        Ok(())
    }

    /// Checks what is known of the health of a service's units.
    fn audit_health(&self, name: &ServiceName, service: &Service) -> Result<(), String> {
        let hosts = service.placements.keys().chain(&service.healthy);
        for host in hosts.chain(service.unhealthy.keys()) {
            let state = self.judged_state(name, host);
            let known = (service.healthy.contains(host), service.unhealthy.contains_key(host));
            let told = (state == Some(UnitState::Ready), state == Some(UnitState::Unhealthy));
            if known != told {
                return Err(format!("{host} is {state:?}, and {known:?} is known of its health"));
            }
        }
        let acts = service.spec().is_some_and(|spec| spec.judgement.panic_at(2).is_some());
        let is_to_run = service.record.goal == Goal::Running;
        if service.record.judged.suspicion.is_some() && !(acts && is_to_run) {
            return Err("a suspicion of which nothing follows".to_owned());
        }
        let next = service.next_absence(self.now).into_iter().chain(service.ages.next(self.now));
        let next = next.chain(service.next_misfit(self.now)).filter(|at| *at > self.now).min();
        if next.is_some_and(|next| service.wake.is_none_or(|at| at > next)) {
            return Err(
                "nobody looks when an instance is to be replaced, or a run is old".to_owned()
            );
        }
        let is_awaited = |at| self.wakes.contains(&(at, name.clone()));
        match service.wake.is_none_or(is_awaited) {
            true => Ok(()),
            false => Err("a moment that is due is not awaited".to_owned()),
        }
    }

    fn audit_service(&self, name: &ServiceName, service: &Service) -> Result<(), String> {
        let record = &service.record;
        let require = |holds: bool, otherwise: &str| match holds {
            true => Ok(()),
            false => Err(otherwise.to_owned()),
        };
        require(
            record.goal == Goal::Removed || service.spec().is_some(),
            "its version is not kept",
        )?;
        require(record.version <= record.last_version, "its version was never issued")?;
        let is_removed = record.goal == Goal::Removed;
        require(!is_removed || record.file.is_none(), "it was removed, and has a file")?;
        let is_left = |host| !service.placements.contains_key(host);
        let are_left = service.uncleaned.iter().all(is_left);
        require(are_left, "a host is to be cleaned up that has a unit")?;
        let mut ordinals = std::collections::BTreeSet::new();
        service.placements.audit()?;
        for (host, placed) in service.placements.iter() {
            require(
                placed.instance.placement <= record.last_placement,
                "a placement was never issued",
            )?;
            // One that moves is on two hosts, and is wanted on one of them.
            let is_one = !service.is_wanted_on(host) || ordinals.insert(placed.instance.ordinal);
            require(is_one, "two instances have one number")?;
            let is_indexed = self.by_host.get(host).is_some_and(|names| names.contains(name));
            require(is_indexed, "an instance is not found by its host")?;
            let is_back = service.is_wanted_on(host) && self.present.contains_key(host);
            require(!(placed.dead && is_back), "what was declared dead is wanted alive")?;
        }
        let other = service.linked_to().filter(|_| record.goal != Goal::Removed);
        if let Some(other) = other.and_then(|other| self.services.get(other)) {
            require(
                record.hosts == other.record.hosts,
                "it is not where the one is that it follows",
            )?;
            let is_held = other.record.goal != Goal::Running;
            require(service.is_held == is_held, "it is not held as the one is that it follows")?;
        }
        let known = service.placements.keys().chain(&service.wrong);
        let hosts = record.hosts.iter().chain(known);
        for host in hosts {
            let differs = self.difference(name, host).is_some();
            require(
                differs == service.wrong.contains(host),
                "a difference is not known, or is over",
            )?;
            require(
                self.missed(name, host) == service.absent.get(host),
                "that a player is missed is not known, or is over",
            )?;
            require(
                self.is_to_heal(name, host) == service.to_heal.contains(host),
                "that a unit is unhealthy is not known, or is over",
            )?;
            require(
                self.old_at(name, host) == service.ages.get(host),
                "that a run is old is not known, or is over",
            )?;
            let is_off = differs
                || service.unready(host, self.present.contains_key(host)).is_some()
                || service.absent.get(host).is_some();
            let obstacle = self.obstacle(name, service, host, &mut BTreeMap::new());
            require(!is_off || obstacle.is_some(), "nobody can say why it is not as wanted")?;
        }
        let waits = record.paused_by.is_some() || !self.are_free(&self.together(name));
        let is_left = service.wrong.difference(&service.given_up).next().is_some();
        require(waits || !is_left, "a difference waits for nothing")?;
        require(waits || self.to_clean(name).is_empty(), "a host to clean up waits for nothing")?;
        service.audit_relief()?;
        let waits = waits || service.trouble.is_some() || is_left || service.wake.is_some();
        let is_left = service.to_heal.difference(&service.given_up).next().is_some();
        require(waits || !is_left, "an unhealthy unit waits for nothing")?;
        let is_asked = record.living.is_some() || record.paused_by.is_some();
        let is_left = service.old_now(self.now).next().is_some();
        require(is_asked || !is_left, "an old run waits for nothing")?;
        self.audit_health(name, service)
    }
}
