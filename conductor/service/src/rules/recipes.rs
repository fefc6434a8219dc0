//! What is done on hosts beside their units: a version is prepared before its first run, and what a
//! service has left is cleaned up.
//!
//! ```text
//!   a run is to begin on a host    ── was it prepared for this version? ── yes ─▶ the unit's task
//!                                        │ no                                      ▲
//!                                        └▶ a task of `prepare`, a slot before ─ ok ┘
//!                                                                └ not ok ─▶ the unit's task is skipped
//!
//!   nothing is left on a host, and nothing is wanted there ──▶ it is noted as not cleaned up,
//!                                        until a task of `cleanup` is ok, or it is placed there anew
//! ```
//!
//! Both are tasks as others are: they have output, a verdict and a limit of time, and take the host's
//! cells if their scores disrupt.

use std::collections::BTreeSet;

use orchestra_model::{
    FlowId, HostName, HostSet, JobName, Quantity, ServiceName, TaskState,
    flow::{JobSpec, OnDoomed},
    record::Op,
    service::{Goal, PlacementRecord, RecipeJob, RecipeStep, ServiceVersion},
};

use super::{advance::Groups, together::PartJob};
use crate::{effect::Effect, services::Services, tables::Service};

/// Stands for the version for which a host was prepared last, where that was begun and did not end ok.
const HALF: ServiceVersion = ServiceVersion(0);

impl Services {
    /// Takes the end of a task that did a recipe of a service.
    pub(crate) fn recipe_ended(
        &mut self,
        flow: FlowId,
        name: &ServiceName,
        (host, step): (&HostName, RecipeStep),
        (state, is_begun): (TaskState, bool),
        detail: Option<&str>,
    ) {
        if !self.is_of(flow, name) {
            return;
        }
        let (is_attached, now) = (self.present.contains_key(host), self.now);
        let Some(service) = self.services.get_mut(name) else { return };
        let change = service.record.living.as_ref().filter(|it| it.flow == flow);
        let Some(version) = change.map(|change| change.version) else { return };
        service.failures.count(Some(step), state, is_attached, host, detail);
        if step == RecipeStep::Prepare {
            let is_begun = is_begun && state != TaskState::Refused;
            let placed = service.placements.get_mut(host).filter(|_| is_begun);
            if let Some(placed) = placed {
                // Where it did not end ok the task of the unit is skipped.
                let is_ok = state == TaskState::Ok;
                placed.prepared = Some(if is_ok { version } else { HALF });
                self.put_placement(name, host);
            }
            return;
        }
        service.open.remove(host);
        match state {
            TaskState::Ok if service.uncleaned.remove(host) => {
                self.effects.push_back(forget(name, host.clone()));
            }
            TaskState::Ok | TaskState::Cancelled | TaskState::Skipped => {}
            _ => service.give_up(vec![host.clone()], now),
        }
    }

    /// Returns the hosts that a service has left and that can be cleaned up now.
    pub(crate) fn to_clean(&self, name: &ServiceName) -> Vec<HostName> {
        let Some(service) = self.services.get(name) else { return Vec::new() };
        let may_be = |host: &&HostName| {
            self.present.contains_key(*host)
                && !service.is_wanted_on(host)
                && !service.given_up.contains(*host)
                && !self.is_strange(name, host)
        };
        service.uncleaned.iter().filter(may_be).cloned().collect()
    }

    /// Forgets that hosts were not cleaned up which are no players any more. Returns the services of which
    /// any was.
    pub(super) fn forget_hosts_to_clean(
        &mut self,
        is_player: impl Fn(&HostName) -> bool,
    ) -> Vec<ServiceName> {
        let mut changed = Vec::new();
        for (name, service) in &mut self.services {
            let (kept, gone): (BTreeSet<_>, BTreeSet<_>) =
                std::mem::take(&mut service.uncleaned).into_iter().partition(&is_player);
            service.uncleaned = kept;
            if !gone.is_empty() {
                changed.push(name.clone());
            }
            self.effects.extend(gone.into_iter().map(|host| forget(name, host)));
        }
        changed
    }

    /// Forgets hosts that were to be cleaned up, if the version of their service does not say how any
    /// more.
    pub(super) fn forget_uncleanable(&mut self, name: &ServiceName) {
        let service = self.services.get_mut(name).filter(|service| !service.cleans_up());
        let hosts = service.map(|service| std::mem::take(&mut service.uncleaned));
        let forgotten = hosts.into_iter().flatten().map(|host| forget(name, host));
        self.effects.extend(forgotten);
    }
}

/// Has the store forget that a host is to be cleaned up.
fn forget(name: &ServiceName, host: HostName) -> Effect {
    Effect::Persist(Op::Displace(name.clone(), host))
}

impl Service {
    fn cleans_up(&self) -> bool {
        self.spec().is_some_and(|spec| spec.cleanup.is_some())
    }

    /// Forgets the instance of a host on which nothing of it is left. Returns what is to be written of
    /// that; `None` if its host is not to be cleaned up.
    pub(super) fn leave(&mut self, host: &HostName) -> Option<PlacementRecord> {
        let record = self.placement_record(host)?;
        self.placements.remove(host);
        let was_used = record.told || record.prepared.is_some();
        let is_to_clean = was_used && self.cleans_up();
        is_to_clean.then(|| {
            self.uncleaned.insert(host.clone());
            PlacementRecord { left: true, ..record }
        })
    }

    /// Whether it was removed and nothing of it is left to be done.
    pub(crate) fn is_over(&self) -> bool {
        self.record.goal == Goal::Removed && self.placements.is_empty() && self.uncleaned.is_empty()
    }

    /// Returns the hosts of a flow that are to be prepared for the wanted version first.
    pub(crate) fn to_prepare(&self, groups: &Groups) -> HostSet {
        let is_prepared = |host: &HostName| {
            let placed = self.placements.get(host);
            placed.is_some_and(|placed| placed.prepared == Some(self.record.version))
        };
        let prepares = self.is_to_run() && self.spec().is_some_and(|spec| spec.prepare.is_some());
        let hosts = groups.beginning().filter(|host| prepares && !is_prepared(host));
        HostSet::from_names(hosts.cloned())
    }

    /// Returns the jobs that prepare hosts of a flow: the sick ones, whose failures stop nobody, and the
    /// others; `None` where there are none to prepare.
    pub(super) fn preparing(&self, groups: &Groups, is_careful: bool) -> [Option<PartJob>; 2] {
        let hosts = self.to_prepare(groups);
        let sick = hosts.intersection(&HostSet::from_names(groups.sick.iter().cloned()));
        let mut others = self.recipe_job(RecipeStep::Prepare, "prepare", hosts.minus(&sick));
        let update = self.spec().map(|spec| spec.update).filter(|_| is_careful);
        if let Some((job, update)) = others.as_mut().zip(update) {
            job.spec.max_failures = Some(update.max_failures);
            job.spec.on_doomed = OnDoomed::Cancel;
        }
        [self.recipe_job(RecipeStep::Prepare, "prepare-sick", sick), others]
    }

    /// Returns the job that cleans up these hosts; `None` if there are none.
    pub(super) fn cleaning(&self, hosts: Vec<HostName>) -> Option<PartJob> {
        self.recipe_job(RecipeStep::Cleanup, "cleanup", HostSet::from_names(hosts))
    }

    fn recipe_job(&self, step: RecipeStep, title: &str, hosts: HostSet) -> Option<PartJob> {
        let spec = self.spec()?;
        let recipe = match step {
            RecipeStep::Prepare => spec.prepare.as_ref()?,
            RecipeStep::Cleanup => spec.cleanup.as_ref()?,
        };
        let name = JobName::new(title).ok().filter(|_| !hosts.is_empty())?;
        let mut job = JobSpec::new(name, recipe.score.clone(), hosts.to_string());
        job.recipe = Some(RecipeJob { service: self.record.name.clone(), step });
        job.give_up_after = Some(spec.update.deadline);
        job.max_failures = Some(Quantity::ALL);
        let params = Some(recipe.params.clone()).filter(|params| !params.is_empty());
        Some(PartJob { spec: job, hosts, params })
    }
}
