//! Services that are linked to another one. They are exactly where that one is, are to run while it
//! is to run, and begin on a host once it is ready there. Their players see to it that their runs
//! end before its runs do.

use orchestra_model::{
    HostName, HostSet, ServiceName,
    service::{Goal, ServiceSpec},
};

use crate::{
    effect::Effect,
    input::{AppliedService, Rejection},
    services::Services,
    tables::Service,
};

impl Services {
    /// Returns the services that are linked to `other`, in order.
    pub(crate) fn linked_to(&self, other: &ServiceName) -> Vec<ServiceName> {
        let linked = self.services.values().filter(|service| {
            service.record.goal != Goal::Removed && service.linked_to() == Some(other)
        });
        linked.map(|service| service.record.name.clone()).collect()
    }

    /// Returns whether a service may begin on a host: it has no link, or the other service is ready
    /// there.
    pub(crate) fn may_begin_beside(&self, service: &Service, host: &HostName) -> bool {
        let Some(other) = service.linked_to() else { return true };
        self.services.get(other).is_some_and(|other| other.is_ready_on(host))
    }

    /// Rejects links of links among services that are to be applied at once, and a link to a service
    /// that is not there and will not be.
    pub(crate) fn check_link(
        &self,
        spec: &ServiceSpec,
        applied: &[AppliedService],
    ) -> Result<(), Rejection> {
        let link = |other: &ServiceSpec| other.upkeep.linked_to.clone();
        let Some(other) = link(spec) else { return Ok(()) };
        let applied = || applied.iter().map(|service| &service.spec);
        let to_come = applied().find(|it| it.name == other);
        if applied().any(|it| link(it).as_ref() == Some(&spec.name))
            || to_come.is_some_and(|it| link(it).is_some())
            || !self.linked_to(&spec.name).is_empty()
        {
            return Err(Rejection::LinkOfLink(spec.name.clone(), other));
        }
        match to_come {
            Some(_) => Ok(()),
            None => self.place_of(spec, HostSet::default()).map(drop),
        }
    }

    /// Returns where a spec wants its service: on the hosts of its own expression; if it is linked,
    /// where the other service is; if it is placed, where it is already and may stay.
    pub(crate) fn place_of(&self, spec: &ServiceSpec, own: HostSet) -> Result<HostSet, Rejection> {
        if spec.place.is_some() {
            return Ok(self.hosts_to_keep(spec));
        }
        let Some(other) = &spec.upkeep.linked_to else { return Ok(own) };
        let known = self.services.get(other);
        let Some(known) = known else { return Err(Rejection::UnknownService(other.clone())) };
        if known.record.goal == Goal::Removed {
            return Err(Rejection::Removed(other.clone()));
        }
        if known.linked_to().is_some() || !self.linked_to(&spec.name).is_empty() {
            return Err(Rejection::LinkOfLink(spec.name.clone(), other.clone()));
        }
        Ok(known.record.hosts.clone())
    }

    /// Rejects the removal of a service to which others are linked.
    pub(crate) fn check_unlinked(&self, name: &ServiceName) -> Result<(), Rejection> {
        let linked = self.linked_to(name);
        match linked.is_empty() {
            true => Ok(()),
            false => Err(Rejection::IsLinkedTo(name.clone(), linked)),
        }
    }

    /// Has the services that are linked to `other` follow it to its hosts, and stop or run as it
    /// does.
    pub(crate) fn follow_links(&mut self, other: &ServiceName) {
        for name in self.linked_to(other) {
            if self.follow_link(&name) {
                self.recheck_all(&name);
            }
            self.advance(&name);
        }
    }

    /// Has a linked service be where the other one is, and stop or run as that does. Returns
    /// whether anything has changed.
    pub(crate) fn follow_link(&mut self, name: &ServiceName) -> bool {
        let other = self.services.get(name).and_then(Service::linked_to);
        let other = other.and_then(|other| self.services.get(other));
        let wanted =
            other.map(|other| (other.record.goal != Goal::Running, other.record.hosts.clone()));
        let Some(service) = self.services.get_mut(name) else { return false };
        // A service without a link is not held, and is where its own expression says.
        let (is_held, hosts) = wanted.unwrap_or((false, service.record.hosts.clone()));
        let was_held = std::mem::replace(&mut service.is_held, is_held);
        let is_elsewhere = service.record.hosts != hosts;
        if is_elsewhere {
            service.record.hosts = hosts;
            service.given_up.clear();
            self.put_service(name);
            self.effects.push_back(Effect::RecountCells);
        }
        is_elsewhere || was_held != is_held
    }

    /// Finds out, after a start, which services are held because the one that they are linked to is
    /// not to run.
    pub(crate) fn hold_linked(&mut self) {
        let names: Vec<ServiceName> = self.services.keys().cloned().collect();
        for name in names {
            let other = self.services.get(&name).and_then(Service::linked_to);
            let goal = other.and_then(|other| self.services.get(other)).map(|it| it.record.goal);
            if let Some(service) = self.services.get_mut(&name) {
                service.is_held = goal.is_some_and(|goal| goal != Goal::Running);
            }
        }
    }

    /// Rechecks the services that are linked to `other`, whose unit on a host has changed.
    pub(crate) fn recheck_linked(&mut self, other: &ServiceName, host: &HostName) {
        for name in self.linked_to(other) {
            self.recheck(&name, host);
            self.advance(&name);
        }
    }
}
