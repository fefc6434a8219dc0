//! Units that are unhealthy: if their service says so, the keeper makes a flow by which they get new
//! runs.
//!
//! What counts is how a unit is, not that it turned: a unit that is unhealthy again gets a new run
//! again. Nothing is asked of a player that is absent or drained. A unit that flaps is left alone
//! until it was quiet for a while, so that a unit that no run makes healthy is not restarted without
//! end.
//!
//! How many of them begin anew at once is for the scheduler to say: their hosts hold the service's
//! cell already, and of those only as many are in motion as its limit allows. A unit that has
//! recovered when its turn comes is spared by its sitter ([`Wanted::Healthy`]).
//!
//! [`Wanted::Healthy`]: orchestra_model::service::Wanted::Healthy

use orchestra_model::{
    Asker, HostName, HostSet, ServiceName,
    service::{Cause, Change, Goal, OnUnhealthy, UnitState},
};

use crate::services::Services;

impl Services {
    /// Rechecks whether a unit is to get a new run for its health.
    pub(crate) fn recheck_health(&mut self, name: &ServiceName, host: &HostName) {
        let is_to_heal = self.is_to_heal(name, host);
        let Some(service) = self.services.get_mut(name) else { return };
        match is_to_heal {
            true => drop(service.to_heal.insert(host.clone())),
            false => drop(service.to_heal.remove(host)),
        }
    }

    /// Returns whether a unit is to get a new run for its health.
    pub(crate) fn is_to_heal(&self, name: &ServiceName, host: &HostName) -> bool {
        let Some(service) = self.services.get(name) else { return false };
        let Some(spec) = service.spec() else { return false };
        let report = service.placements.get(host).and_then(|placed| placed.report.as_ref());
        let is_unhealthy =
            report.is_some_and(|report| report.state == UnitState::Unhealthy && !report.flapping);
        spec.judgement.on_unhealthy == OnUnhealthy::Restart
            && is_unhealthy
            && service.goal() == Goal::Running
            && service.is_wanted_on(host)
            && self.is_reachable(host)
            && !self.is_strange(name, host)
            && self.may_begin_beside(service, host)
            && service.difference(host).is_none()
    }

    /// Wants new runs for units that are unhealthy. Returns whether there are any.
    pub(super) fn want_healing(&mut self, name: &ServiceName) -> bool {
        let Some(service) = self.services.get_mut(name) else { return false };
        // After a refusal nothing is tried before somebody asks for something.
        let hosts = service.to_heal.difference(&service.given_up);
        let hosts = HostSet::from_names(hosts.cloned());
        if hosts.is_empty() || service.trouble.is_some() {
            return false;
        }
        let change = Change::new(Cause::Unhealthy, Asker::Keeper);
        service.record.pending = Some(Change { hosts: Some(hosts), ..change });
        true
    }
}
