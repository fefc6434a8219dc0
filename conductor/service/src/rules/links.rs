//! Services that are linked to another one: they are exactly where that one is, run while it is to
//! run, and are begun on a host once it is ready there. That their runs end before its own do, their
//! players see to.

use orchestra_model::{
    HostName, HostSet, ServiceName,
    service::{Goal, ServiceSpec},
};

use crate::{effect::Effect, input::Rejection, services::Services, tables::Service};

impl Services {
    /// The services that are linked to one, in order.
    pub(crate) fn linked_to(&self, other: &ServiceName) -> Vec<ServiceName> {
        let linked = self.services.values().filter(|service| {
            service.record.goal != Goal::Removed && service.linked_to() == Some(other)
        });
        linked.map(|service| service.record.name.clone()).collect()
    }

    /// Whether a service may begin on a host: it is linked to none, or that one is ready there.
    pub(crate) fn may_begin_beside(&self, service: &Service, host: &HostName) -> bool {
        let Some(other) = service.linked_to() else { return true };
        self.services.get(other).is_some_and(|other| other.is_ready_on(host))
    }

    /// Where a spec wants its service: on the hosts of its own expression, or where the service is that
    /// it is linked to.
    pub(crate) fn place_of(&self, spec: &ServiceSpec, own: HostSet) -> Result<HostSet, Rejection> {
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

    /// Refuses what would leave linked services without the one that they are linked to.
    pub(crate) fn check_unlinked(&self, name: &ServiceName) -> Result<(), Rejection> {
        let linked = self.linked_to(name);
        match linked.is_empty() {
            true => Ok(()),
            false => Err(Rejection::IsLinkedTo(name.clone(), linked)),
        }
    }

    /// Lets the services that are linked to one follow it to its hosts, and stop or run as it does.
    pub(crate) fn follow_links(&mut self, other: &ServiceName) {
        for name in self.linked_to(other) {
            if self.follow_link(&name) {
                self.recheck_all(&name);
                self.advance(&name);
            }
        }
    }

    /// Lets a linked service be where the other is, and stop or run as that does. Whether that is news.
    pub(crate) fn follow_link(&mut self, name: &ServiceName) -> bool {
        let other = self.services.get(name).and_then(Service::linked_to);
        let other = other.and_then(|other| self.services.get(other));
        let wanted =
            other.map(|other| (other.record.goal != Goal::Running, other.record.hosts.clone()));
        let Some(service) = self.services.get_mut(name) else { return false };
        // One that is linked to none is held by none, and is where its own expression says.
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

    /// Finds out after a start which services the ones that they are linked to hold.
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

    /// Looks at the services that are linked to one whose unit on a host has changed.
    pub(crate) fn recheck_linked(&mut self, other: &ServiceName, host: &HostName) {
        for name in self.linked_to(other) {
            self.recheck(&name, host);
            self.advance(&name);
        }
    }
}
