//! From a difference between wanted and actual to a flow that ends it.

use std::{collections::BTreeMap, sync::Arc};

use orchestra_model::{
    HostName, HostSet, JobName, Quantity, ServiceName,
    flow::{FlowSpec, JobSpec, OnDoomed, SlotSpec},
    names::FlowName,
    record::{Op, Record},
    service::{Cause, Change, Goal, ServiceSpec, UnitJob, Upkeep, Wanted},
};

use crate::{
    effect::{Effect, UnitFlow},
    services::Services,
    tables::Service,
};

/// Hosts by what is to be asked of their units.
#[derive(Debug, Default)]
struct Groups {
    /// There, and not ready: they go first, and whatever becomes of them stops nobody.
    sick: Vec<HostName>,
    /// Where units are to run, start anew, or stop.
    others: Vec<HostName>,
    /// Where units are to go.
    leaving: Vec<HostName>,
}

impl Services {
    /// Does what is to be done for a service now, if anything is: one flow at a time. Whether it asked
    /// for one.
    pub(crate) fn advance(&mut self, name: &ServiceName) -> bool {
        let Some(service) = self.services.get_mut(name) else { return false };
        if let Some(living) = &mut service.record.living {
            if service.record.pending.is_some() && !living.superseded {
                living.superseded = true;
                let (flow, by) = (living.flow, service.record.owner.clone());
                self.put_service(name);
                self.effects.push_back(Effect::Cancel(flow, by));
            }
            return false;
        }
        if service.record.paused_by.is_some() {
            return false;
        }
        if service.record.goal == Goal::Removed && service.placements.is_empty() {
            self.forget_versions(name);
        }
        let Some(service) = self.services.get_mut(name) else { return false };
        let groups = service.groups();
        if groups.is_empty() {
            // Whatever was asked for is so already, or cannot be done now and is found again.
            if service.record.pending.take().is_some() {
                self.put_service(name);
            }
            return false;
        }
        let Some(flow) = self.flow_of(name, groups) else { return false };
        self.effects.push_back(Effect::Submit(Box::new(flow)));
        true
    }

    /// Erases the versions of a service that was removed and has no unit left. Its record stays: units of
    /// it that are still somewhere are ended when their players come.
    fn forget_versions(&mut self, name: &ServiceName) {
        let Some(service) = self.services.get_mut(name) else { return };
        let versions = std::mem::take(&mut service.versions).into_keys();
        let ops = versions.map(|version| Op::PruneVersion(name.clone(), version));
        self.effects.extend(ops.map(Effect::Persist));
    }

    /// A flow for these hosts, whose units are placed.
    fn flow_of(&mut self, name: &ServiceName, groups: Groups) -> Option<UnitFlow> {
        let service = self.services.get_mut(name)?;
        let (is_gone, cause) = (service.record.goal == Goal::Removed, service.cause());
        let kept = service.versions.get(&service.record.version).map(|kept| Arc::clone(&kept.spec));
        let spec = match kept {
            Some(spec) => spec,
            // It was removed, with its versions: a unit of it has turned up.
            None => Arc::new(ServiceSpec::new(name.clone(), service.record.score.clone(), "")),
        };
        let running = HostSet::from_names(groups.sick.iter().chain(&groups.others).cloned());
        if service.record.goal == Goal::Running {
            service.place_all(&running);
            let placed: Vec<_> =
                running.iter().filter_map(|host| service.placement_record(host)).collect();
            for record in placed {
                self.note_host(&record.host, name);
                self.persist(Op::Put(Record::Placement(record)));
            }
        }
        self.put_service(name);
        let service = self.services.get(name)?;
        let wanted = match (service.record.goal, cause) {
            (Goal::Running, Cause::Restart) => Wanted::Restarted,
            (Goal::Running, _) => Wanted::Running,
            (Goal::Stopped, _) => Wanted::Stopped,
            (Goal::Removed, _) => Wanted::Gone,
        };
        let mut slots: Vec<Vec<(JobSpec, HostSet)>> = Vec::new();
        let job = |title: &str, hosts: Vec<HostName>, wanted, is_careful| {
            service.job(&spec, title, hosts, wanted, is_careful)
        };
        if !groups.sick.is_empty() {
            slots.extend(job("sick", groups.sick, wanted, false).map(|job| vec![job]));
        }
        let is_careful = matches!(cause, Cause::Update | Cause::Revert | Cause::Restart)
            && service.record.goal == Goal::Running;
        let title = if is_gone { "remove" } else { cause.as_str() };
        let others = job(title, groups.others, wanted, is_careful);
        let leaving = job("leave", groups.leaving, Wanted::Gone, false);
        let last: Vec<_> = others.into_iter().chain(leaving).collect();
        if !last.is_empty() {
            slots.push(last);
        }
        let mut params = BTreeMap::new();
        for (slot, jobs) in (1..).zip(&slots) {
            for (nth, (job, _)) in (1..).zip(jobs) {
                let runs = job
                    .unit
                    .as_ref()
                    .is_some_and(|unit| matches!(unit.wanted, Wanted::Running | Wanted::Restarted));
                if runs && !spec.params.is_empty() {
                    params.insert((slot, nth), spec.params.clone());
                }
            }
        }
        let (slots, targets) = slots
            .into_iter()
            .map(|jobs| {
                let (jobs, targets): (Vec<_>, Vec<_>) = jobs.into_iter().unzip();
                (SlotSpec { jobs }, targets)
            })
            .unzip();
        let flow_name = format!("{name}-v{}", service.record.version);
        let spec = FlowSpec { name: FlowName::new(&flow_name).ok(), slots };
        let audience = service.record.owner.clone();
        Some(UnitFlow { service: name.clone(), audience, spec, targets, params })
    }
}

impl Groups {
    fn is_empty(&self) -> bool {
        self.sick.is_empty() && self.others.is_empty() && self.leaving.is_empty()
    }
}

impl Service {
    /// Why the next flow is made.
    fn cause(&self) -> Cause {
        self.record.pending.as_ref().map_or(Cause::Repair, |change| change.cause)
    }

    /// The hosts that a flow is to be made for now.
    fn groups(&self) -> Groups {
        let mut groups = Groups::default();
        let pending = self.record.pending.as_ref();
        let restarts = pending.filter(|change| change.cause == Cause::Restart);
        for host in self.wrong.difference(&self.given_up) {
            match self.is_wanted_on(host) {
                true => groups.others.push(host.clone()),
                false if self.record.goal == Goal::Removed => groups.others.push(host.clone()),
                false => groups.leaving.push(host.clone()),
            }
        }
        if let Some(change) = restarts {
            groups.others = self.to_restart(change);
        } else if pending.is_some() && self.record.goal == Goal::Running {
            groups.others.extend(self.stuck().filter(|host| !self.wrong.contains(host)));
            groups.others.sort();
            let (sick, well): (Vec<_>, Vec<_>) =
                groups.others.iter().cloned().partition(|host| self.is_sick(host));
            // Where nothing is well there is nobody to be careful of.
            if !well.is_empty() {
                (groups.sick, groups.others) = (sick, well);
            }
        }
        groups
    }

    /// Hosts of a restart: those that are named, where a unit is.
    fn to_restart(&self, change: &Change) -> Vec<HostName> {
        let is_named =
            |host: &&HostName| change.hosts.as_ref().is_none_or(|hosts| hosts.contains(host));
        let has_unit = |host: &&HostName| {
            self.placements.get(*host).is_some_and(|placed| placed.report.is_some())
        };
        let hosts = self.record.hosts.iter().filter(is_named).filter(has_unit);
        hosts.cloned().collect()
    }

    /// Hosts whose unit runs no more and waits for a person: one has asked for something.
    fn stuck(&self) -> impl Iterator<Item = HostName> + '_ {
        use orchestra_model::service::UnitState;
        let is_stuck = |(host, placed): &(&HostName, &crate::tables::Placed)| {
            let state = placed.report.as_ref().map(|report| report.state);
            matches!(state, Some(UnitState::GaveUp | UnitState::Ended)) && self.is_wanted_on(host)
        };
        self.placements.iter().filter(is_stuck).map(|(host, _)| host.clone())
    }

    /// A job that asks something of units on these hosts; `None` where there are none. One that is not
    /// careful goes on whatever fails, as fast as cells let it.
    fn job(
        &self,
        spec: &ServiceSpec,
        title: &str,
        hosts: Vec<HostName>,
        wanted: Wanted,
        is_careful: bool,
    ) -> Option<(JobSpec, HostSet)> {
        let hosts = HostSet::from_names(hosts);
        let name = JobName::new(title).ok().filter(|_| !hosts.is_empty())?;
        let update = &spec.update;
        let instances = hosts.iter().filter_map(|host| Some(self.placements.get(host)?.instance));
        let unit = UnitJob {
            service: self.record.name.clone(),
            version: self.record.version,
            wanted,
            upkeep: Upkeep { ..spec.upkeep.clone() },
            healthy_for: update.healthy_for,
            deadline: update.deadline,
            instances: instances.collect(),
        };
        let mut job = JobSpec::new(name, spec.score.clone(), hosts.to_string());
        job.unit = Some(Arc::new(unit));
        job.give_up_after = Some(update.deadline);
        if is_careful {
            job.parallel = update.parallel;
            job.max_failures = Some(update.max_failures);
            job.on_doomed = OnDoomed::Cancel;
            (job.canary, job.bake) = match self.cause() {
                Cause::Update => (update.canary, update.bake),
                _ => (None, None),
            };
        } else {
            job.max_failures = Some(Quantity::ALL);
        }
        Some((job, hosts))
    }
}
