//! Units that are unhealthy: if their service says so, the keeper makes a flow by which they get new
//! runs.
//!
//! What counts is how a unit is, not that it turned: a unit that is unhealthy again gets a new run
//! again. Nothing is asked of a player that is absent or drained. A unit that flaps is left alone
//! until it was quiet for a while, so that a unit that no run makes healthy is not restarted without
//! end. If many turn together, nothing is done for that either ([`super::panic`]).
//!
//! How many of them begin anew at once is for the scheduler to say: their hosts hold the service's
//! cell already, and of those only as many are in motion as its limit allows. A unit that has
//! recovered when its turn comes is spared by its sitter ([`Wanted::Healthy`]).
//!
//! A flow waits for room in the service's cell, and so for units that are unhealthy. So one flow
//! does both, and a repair ends for those that become unhealthy after it was made. What somebody asked
//! for does not end for that: it is relieved ([`super::relief`]).
//!
//! [`Wanted::Healthy`]: orchestra_model::service::Wanted::Healthy

use orchestra_model::{
    HostName, ServiceName,
    service::{Cause, Goal, OnUnhealthy, UnitState},
};

use crate::{services::Services, tables::Service};

impl Services {
    /// Rechecks the health of a unit, and whether it is to get a new run for that.
    pub(crate) fn recheck_health(&mut self, name: &ServiceName, host: &HostName) {
        let is_to_heal = self.is_to_heal(name, host);
        let state = self.judged_state(name, host);
        let now = self.now;
        let Some(service) = self.services.get_mut(name) else { return };
        match is_to_heal {
            true => service.is_heal_due |= service.to_heal.insert(host.clone()),
            false => drop(service.to_heal.remove(host)),
        }
        match state == Some(UnitState::Ready) {
            true => drop(service.healthy.insert(host.clone())),
            false => drop(service.healthy.remove(host)),
        }
        let is_unhealthy = state == Some(UnitState::Unhealthy);
        let has_turned = is_unhealthy && !service.unhealthy.contains_key(host);
        if has_turned {
            let since = service.placements.get(host).and_then(|placed| placed.unhealthy_since);
            service.unhealthy.insert(host.clone(), since.unwrap_or(now));
        } else if !is_unhealthy {
            service.unhealthy.remove(host);
        }
        self.recheck_panic(name, has_turned.then_some(host));
    }

    /// Returns the state of a unit by which the health of its service is judged: it is where it is
    /// wanted, and its player is attached.
    pub(crate) fn judged_state(&self, name: &ServiceName, host: &HostName) -> Option<UnitState> {
        let service = self.services.get(name)?;
        let counts = service.goal() == Goal::Running
            && service.is_wanted_on(host)
            && self.present.contains_key(host);
        let report = service.placements.get(host).filter(|_| counts)?.report.as_ref();
        report.map(|report| report.state)
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

    /// Returns the hosts whose units are to get new runs for their health now.
    pub(super) fn choose_to_heal(&mut self, name: &ServiceName) -> Vec<HostName> {
        let now = self.now;
        let Some(service) = self.services.get_mut(name) else { return Vec::new() };
        // After a refusal nothing is tried before somebody asks for something.
        if service.trouble.is_some() || service.goal() != Goal::Running {
            return Vec::new();
        }
        if service.record.judged.suspicion.is_none() {
            return service.to_heal_now().cloned().collect();
        }
        let tried = service.to_try(now);
        if let (Some(suspicion), Some(host)) = (&mut service.record.judged.suspicion, &tried) {
            suspicion.tried = Some((host.clone(), now));
        }
        tried.into_iter().collect()
    }
}

impl Service {
    /// Returns whether the living flow, a repair, may wait for the cells of a host whose unit became
    /// unhealthy after the flow was made. While it restarts other units it goes on, because the next
    /// flow would not wait for those.
    pub(super) fn waits_for_unhealthy(&self) -> bool {
        let living = self.record.living.as_ref();
        let is_repair = living.is_some_and(|it| it.cause == Cause::Repair && !it.superseded);
        let is_believed = self.record.judged.suspicion.is_none() && self.trouble.is_none();
        let is_any = self.to_heal.difference(&self.given_up).next().is_some();
        is_repair && is_believed && is_any && self.is_heal_due && self.healing.is_empty()
    }
}
