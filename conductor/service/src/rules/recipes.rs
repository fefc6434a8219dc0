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

use orchestra_model::{
    FlowId, HostName, HostSet, JobName, Quantity, ServiceName, TaskState,
    flow::{JobSpec, OnDoomed},
    service::{Goal, RecipeJob, RecipeStep, ServiceVersion},
};

use super::{advance::Groups, together::PartJob};
use crate::{services::Services, tables::Service};

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
            TaskState::Ok if service.note_cleaned(host) => self.put_service(name),
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
        service.record.uncleaned.iter().filter(may_be).cloned().collect()
    }

    /// Forgets that hosts were not cleaned up which are no players any more. Returns the services of which
    /// any was.
    pub(super) fn forget_hosts_to_clean(
        &mut self,
        is_player: impl Fn(&HostName) -> bool,
    ) -> Vec<ServiceName> {
        let mut changed = Vec::new();
        for (name, service) in &mut self.services {
            let gone = service.record.uncleaned.unknown(&is_player);
            if !gone.is_empty() {
                service.record.uncleaned = service.record.uncleaned.minus(&gone);
                changed.push(name.clone());
            }
        }
        changed.iter().for_each(|name| self.put_service(name));
        changed
    }
}

impl Service {
    /// Notes that nothing of it is left on a host that was not cleaned up. Returns whether it is to be.
    pub(super) fn note_uncleaned(&mut self, host: &HostName) -> bool {
        let cleans_up = self.spec().is_some_and(|spec| spec.cleanup.is_some());
        if cleans_up {
            let host = HostSet::from_names([host.clone()]);
            self.record.uncleaned = self.record.uncleaned.union(&host);
        }
        cleans_up
    }

    /// Notes that a host was cleaned up, or has it again. Returns whether it was to be.
    pub(crate) fn note_cleaned(&mut self, host: &HostName) -> bool {
        let was_noted = self.record.uncleaned.contains(host);
        if was_noted {
            let host = HostSet::from_names([host.clone()]);
            self.record.uncleaned = self.record.uncleaned.minus(&host);
        }
        was_noted
    }

    /// Forgets hosts that were to be cleaned up, if its version does not say how any more.
    pub(super) fn forget_uncleanable(&mut self) {
        if self.spec().is_none_or(|spec| spec.cleanup.is_none()) {
            self.record.uncleaned = HostSet::default();
        }
    }

    /// Whether it was removed and nothing of it is left to be done.
    pub(crate) fn is_over(&self) -> bool {
        self.record.goal == Goal::Removed
            && self.placements.is_empty()
            && self.record.uncleaned.is_empty()
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
