//! Services of which a change was asked for at once. One flow makes the change of all of them, so that
//! what a deployment says of their order holds between them.
//!
//! The flow waits until each of them is free: what changes one of them now is ended first. A newer ask
//! of one of them ends the flow for all; the others are then brought on by a flow without it. If a
//! version fails and is followed by the one before, that is so for all versions that came with it.

use std::collections::BTreeMap;

use orchestra_model::{
    Asker, FlowId, HostSet, JobName, Params, ServiceName,
    flow::{FlowSpec, JobSpec, SlotSpec},
    names::FlowName,
    service::{Cause, Change, ServiceVersion},
};

use crate::{
    effect::{FlowService, UnitFlow},
    services::Services,
};

/// The part of a flow that changes one service.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) service: FlowService,
    /// The one in whose name it is submitted.
    pub(super) audience: Asker,
    /// Whether the keeper begins it by itself.
    pub(super) by_keeper: bool,
    /// What prepares hosts, before all else.
    pub(super) prepare: Vec<PartJob>,
    /// Its jobs of the first slot in which units change.
    pub(super) first: Vec<PartJob>,
    /// Its jobs of the last slot.
    pub(super) others: Vec<PartJob>,
}

/// A job of a part.
#[derive(Debug)]
pub(super) struct PartJob {
    pub(super) spec: JobSpec,
    pub(super) hosts: HostSet,
    pub(super) params: Option<Params>,
}

impl Services {
    /// Returns the services whose changes the next flow of a service makes, in order: itself, and those
    /// whose changes were asked for with its own and wait as well.
    pub(crate) fn together(&self, name: &ServiceName) -> Vec<ServiceName> {
        let of = |name: &ServiceName| {
            let record = &self.services.get(name)?.record;
            Some((record, record.pending.as_ref()?))
        };
        let with = of(name).map_or(&[][..], |(_, change)| &change.with);
        let is_still = |other: &&ServiceName| {
            of(other).is_some_and(|(record, change)| {
                change.with.contains(name) && record.paused_by.is_none()
            })
        };
        let mut names: Vec<_> = with.iter().filter(is_still).cloned().collect();
        names.push(name.clone());
        names.sort();
        names
    }

    /// Returns whether no flow changes any of these services, and none is being submitted.
    pub(crate) fn are_free(&self, names: &[ServiceName]) -> bool {
        let is_changing =
            |name| self.services.get(name).is_some_and(|service| service.record.living.is_some());
        !names.iter().any(|name| is_changing(name) || self.submitting.contains(name))
    }

    /// Returns the services that may wait for this one: it was asked for with them.
    pub(super) fn waiting_with(&mut self, name: &ServiceName) -> Vec<ServiceName> {
        let with = |of: &ServiceName| {
            let pending = self.services.get(of).and_then(|it| it.record.pending.as_ref());
            pending.map_or(&[][..], |change| &change.with)
        };
        self.joined.retain(|of| !with(of).is_empty());
        self.joined.iter().filter(|of| with(of).contains(name)).cloned().collect()
    }

    /// Has one flow make the updates of these services, which were asked for at once.
    pub(super) fn join_updates(&mut self, names: &[ServiceName]) {
        let is_update = |name: &&ServiceName| {
            let pending = self.services.get(*name).and_then(|it| it.record.pending.as_ref());
            pending.is_some_and(|change| change.cause == Cause::Update)
        };
        let names: Vec<ServiceName> = names.iter().filter(is_update).cloned().collect();
        for name in &names {
            let pending = self.services.get_mut(name).and_then(|it| it.record.pending.as_mut());
            if let Some(change) = pending {
                change.with = all_but(name, &names);
            }
        }
        self.joined.extend(names);
    }

    /// Notes that a flow is ended because of a newer ask of one of its services. What it was to bring to
    /// the others is asked for anew, together.
    pub(super) fn part_from(&mut self, name: &ServiceName, flow: FlowId) {
        let others = all_but(name, self.flows.get(&flow).map_or(&[], Vec::as_slice));
        for other in &others {
            let Some(service) = self.services.get_mut(other) else { continue };
            let Some(living) = &mut service.record.living else { continue };
            living.superseded = true;
            let mut change = Change::new(living.cause, living.by.clone());
            change.with = all_but(other, &others);
            service.record.pending.get_or_insert(change);
            let by = living.by.clone();
            self.end_relief(other, by);
            self.put_service(other);
        }
        self.joined.extend(others);
    }

    /// Has the versions that a flow brought to these services be followed by those before, if one of the
    /// first failed and its service asks for that.
    pub(super) fn revert_failed(&mut self, failed: &[Brought], all: &[Brought]) {
        if !failed.iter().any(|brought| self.may_revert(brought)) {
            return;
        }
        let all: Vec<&Brought> = all.iter().filter(|brought| self.may_revert(brought)).collect();
        let names: Vec<ServiceName> = all.iter().map(|(name, _)| name.clone()).collect();
        for (name, version) in all {
            self.revert_by_itself(name, *version, all_but(name, &names));
        }
        self.joined.extend(names);
    }
}

fn all_but(name: &ServiceName, names: &[ServiceName]) -> Vec<ServiceName> {
    names.iter().filter(|other| *other != name).cloned().collect()
}

/// A service with the version that a flow was to bring to it.
pub(super) type Brought = (ServiceName, ServiceVersion);

impl UnitFlow {
    /// Joins the parts of a flow; `None` if there are none.
    pub(super) fn of(parts: Vec<Part>) -> Option<Self> {
        let first = parts.first()?;
        let (audience, by_keeper) = (first.audience.clone(), first.by_keeper);
        let name = match parts.len() {
            1 => format!("{}-v{}", first.service.name, first.service.version),
            n => format!("{}-v{}-and-{}-more", first.service.name, first.service.version, n - 1),
        };
        let is_alone = parts.len() == 1;
        let (mut services, mut slots) = (Vec::new(), [const { Vec::new() }; 3]);
        for (nth, part) in (1..).zip(parts) {
            let Part { service, prepare, first, others, .. } = part;
            for (slot, jobs) in slots.iter_mut().zip([prepare, first, others]) {
                slot.extend(jobs.into_iter().map(|job| match is_alone {
                    true => job,
                    false => job.named_for(&service.name, nth),
                }));
            }
            services.push(service);
        }
        let (mut all, mut targets, mut params) = (Vec::new(), Vec::new(), BTreeMap::new());
        for (slot, jobs) in (1..).zip(slots.into_iter().filter(|jobs| !jobs.is_empty())) {
            let (mut specs, mut hosts) = (Vec::new(), Vec::new());
            for (nth, job) in (1..).zip(jobs) {
                specs.push(job.spec);
                hosts.push(job.hosts);
                params.extend(job.params.map(|own| ((slot, nth), own)));
            }
            all.push(SlotSpec { jobs: specs });
            targets.push(hosts);
        }
        let spec = FlowSpec { name: FlowName::new(&name).ok(), ..FlowSpec::new(all) };
        Some(Self { services, audience, by_keeper, spec, targets, params })
    }
}

impl PartJob {
    /// Has the job's name tell its service, the `nth` of its flow: names are unique there.
    fn named_for(mut self, service: &ServiceName, nth: usize) -> Self {
        for title in [Some(&mut self.spec.name), self.spec.only_where_ok.as_mut()] {
            let Some(title) = title else { continue };
            let name = JobName::new(&format!("{service}-{title}"));
            // Both together may be too long.
            if let Ok(name) = name.or_else(|_| JobName::new(&format!("{title}-{nth}"))) {
                *title = name;
            }
        }
        self
    }
}
