//! A flow that restarts unhealthy units beside the one that lives: its *relief*.
//!
//! A unit that is unhealthy holds the cells of its host, so a flow that changes other hosts of the
//! service waits for it. If the unit were restarted only once that flow has ended, both would wait for
//! ever. What somebody asked for is not ended for that, nor begun anew: its canary and its windows would
//! be. So a second flow restarts units with which the first is done: it has no order for them any more,
//! or never had one.
//!
//! ```text
//!   living   ── db1 ok ────────────── waits for the cell ──────────── db2 ── db3 ──▶ ended
//!                    db1 unhealthy ─▶ relief: a new run of db1 ─▶ ended ┘
//! ```
//!
//! The scheduler lets it begin although the cell is full: its hosts hold it already, and of those as
//! many may be in motion as the limit allows. When the living flow ends first, the relief takes its
//! place. What ends the living flow for something newer ends its relief too.

use orchestra_model::{
    Asker, FlowId, FlowState, HostName, ServiceName,
    service::{Cause, LivingChange, RunNumber},
};

use super::advance::Groups;
use crate::{
    effect::{Effect, UnitFlow},
    services::Services,
    tables::{Failures, Relief, Service},
};

impl Services {
    /// Submits a flow that restarts unhealthy units with which the living flow is done, if there are
    /// any. Returns whether it did.
    pub(super) fn relieve(&mut self, name: &ServiceName) -> bool {
        let may_be = self.services.get(name).is_some_and(Service::may_be_relieved)
            && !self.submitting.contains(name);
        let hosts = if may_be { self.choose_to_heal(name) } else { Vec::new() };
        let Some(service) = self.services.get_mut(name).filter(|_| !hosts.is_empty()) else {
            return false;
        };
        let ordered = hosts.iter().map(|host| (host.clone(), service.run_on(host))).collect();
        let open = hosts.iter().cloned().collect();
        service.relief = Relief { ordered, open, failures: Failures::default() };
        let part = service.part(Groups::of_unhealthy(hosts), Cause::Unhealthy, true);
        // It may have been chosen to find out whether that helps.
        self.put_service(name);
        let flow = UnitFlow::of(vec![part]);
        self.effects.extend(flow.map(|flow| Effect::Submit(Box::new(flow))));
        self.submitting.insert(name.clone());
        true
    }

    /// Takes the outcome of the submission of a relief.
    pub(super) fn relief_submitted(&mut self, name: &ServiceName, flow: &Result<FlowId, String>) {
        let Some(service) = self.services.get_mut(name) else { return };
        let (cause, by, version) = (Cause::Unhealthy, Asker::Keeper, service.record.version);
        match flow {
            Ok(flow) => {
                let flow = *flow;
                let relief =
                    LivingChange { flow, cause, by: by.clone(), version, superseded: false };
                service.record.relief = Some(relief);
                self.note_change(name, cause, by, Some(flow));
            }
            Err(why) => {
                let relief = std::mem::take(&mut service.relief);
                service.given_up.extend(relief.ordered.into_keys());
                service.trouble = Some(why.clone());
            }
        }
        self.put_service(name);
    }

    /// Takes the end of a relief. Units that it did not help are given up.
    pub(super) fn relief_ended(&mut self, name: &ServiceName, state: FlowState) {
        let Some(service) = self.services.get_mut(name) else { return };
        let Some(ended) = service.record.relief.take() else { return };
        let Relief { ordered, failures, .. } = std::mem::take(&mut service.relief);
        if !ended.superseded {
            let is_as_before = |(host, run): &(HostName, RunNumber)| {
                service.to_heal.contains(host) && service.run_on(host) == *run
            };
            let left: Vec<_> =
                ordered.into_iter().filter(is_as_before).map(|(host, _)| host).collect();
            service.given_up.extend(left);
        }
        let note = (failures != Failures::default()).then(|| failures.to_string());
        self.note_end(name, &ended, Some(state), note.as_deref());
        self.put_service(name);
        self.advance(name);
    }

    /// Ends the relief of a living flow.
    pub(super) fn end_relief(&mut self, name: &ServiceName, by: Asker) {
        let relief = self.services.get_mut(name).and_then(|it| it.record.relief.as_mut());
        let Some(relief) = relief.filter(|relief| !relief.superseded) else { return };
        relief.superseded = true;
        let flow = relief.flow;
        self.put_service(name);
        self.effects.push_back(Effect::Cancel(flow, by));
    }

    /// Makes a relief the living flow, now that the one that it relieved has ended.
    pub(super) fn go_on_with_relief(&mut self, name: &ServiceName) {
        let Some(service) = self.services.get_mut(name) else { return };
        let Some(relief) = service.record.relief.take() else { return };
        service.record.living = Some(relief);
        let Relief { ordered, open, failures } = std::mem::take(&mut service.relief);
        service.healing.clone_from(&open);
        (service.ordered, service.open, service.failures) = (ordered, open, failures);
    }
}

impl Service {
    /// Returns whether another flow may restart units beside the living one. A repair ends where units
    /// are unhealthy, what restarts them ends soon, and what follows from the age of runs makes room.
    fn may_be_relieved(&self) -> bool {
        let record = &self.record;
        let is_to_go_on = record.living.as_ref().is_some_and(|living| {
            !living.superseded
                && !matches!(living.cause, Cause::Repair | Cause::Unhealthy | Cause::Age)
        });
        let is_asked = record.pending.as_ref().is_some_and(|it| it.cause != Cause::Scale);
        is_to_go_on && !is_asked && record.relief.is_none() && record.paused_by.is_none()
    }

    /// Checks what is known of a relief, and that no unhealthy unit waits for a flow that waits for it.
    pub(crate) fn audit_relief(&self) -> Result<(), String> {
        let record = &self.record;
        if record.relief.is_some() && record.living.is_none() {
            return Err("a flow relieves none".to_owned());
        }
        if record.relief.is_some() && !self.open.is_disjoint(&self.relief.open) {
            return Err("two flows ask something of one unit".to_owned());
        }
        let is_believed = record.judged.suspicion.is_none() && self.trouble.is_none();
        let waits = self.may_be_relieved() && is_believed && self.to_heal_now().next().is_some();
        match waits {
            true => Err("a unit is unhealthy beside a flow that waits for it".to_owned()),
            false => Ok(()),
        }
    }
}
