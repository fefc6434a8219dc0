//! From a difference between wanted and actual to a flow that ends it.

use std::{collections::BTreeMap, sync::Arc};

use orchestra_model::{
    Asker, HostName, HostSet, JobName, Params, Quantity, ServiceName,
    flow::{FlowSpec, JobSpec, OnDoomed, SlotSpec},
    names::FlowName,
    record::{Op, Record},
    service::{Cause, Change, Goal, UnitJob, Wanted},
};

use crate::{
    effect::{Effect, UnitFlow},
    services::Services,
    tables::Service,
};

/// Hosts of a flow, by what is to be asked of their units.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    /// Their unit exists and is not ready. They go first, and their failures do not stop the flow.
    pub(crate) sick: Vec<HostName>,
    /// Their units are to run, start anew, or stop.
    others: Vec<HostName>,
    /// Their units are to be removed.
    leaving: Vec<HostName>,
    /// Their units are to get new runs because they are unhealthy.
    unhealthy: Vec<HostName>,
}

impl Services {
    /// Submits a flow for a service, if one is needed and none lives. Returns whether it did.
    pub(crate) fn advance(&mut self, name: &ServiceName) -> bool {
        let is_submitted = self.submit_needed(name);
        self.set_wake(name);
        is_submitted
    }

    /// Ends the living flow of a service, so that another one takes its place.
    pub(super) fn supersede(&mut self, name: &ServiceName, by: Asker) {
        let Some(service) = self.services.get_mut(name) else { return };
        let Some(living) = &mut service.record.living else { return };
        living.superseded = true;
        let flow = living.flow;
        self.put_service(name);
        self.effects.push_back(Effect::Cancel(flow, by.clone()));
        self.end_relief(name, by);
    }

    fn submit_needed(&mut self, name: &ServiceName) -> bool {
        if self.submitting.contains(name) {
            return false;
        }
        let Some(service) = self.services.get_mut(name) else { return false };
        if let Some(living) = &service.record.living {
            let pending = service.record.pending.as_ref();
            // Another number of instances ends nothing that goes on.
            let supersedes = pending.is_some_and(|change| change.cause != Cause::Scale);
            if supersedes && !living.superseded {
                let by = pending.map_or(Asker::Keeper, |change| change.by.clone());
                self.supersede(name, by);
            } else if service.waits_for_unhealthy() {
                // The next flow also restarts what is unhealthy.
                self.supersede(name, Asker::Keeper);
            }
            return self.relieve(name);
        }
        if service.record.paused_by.is_some() {
            return false;
        }
        if service.record.goal == Goal::Removed && service.placements.is_empty() {
            self.forget_versions(name);
        }
        let Some(service) = self.services.get(name) else { return false };
        let mut groups = service.groups(|host| self.is_reachable(host));
        let is_asked = service.record.pending.is_some();
        if is_asked && groups.is_empty() {
            let Some(service) = self.services.get_mut(name) else { return false };
            // What was asked for is done already, or cannot be done now and will be found again as
            // a difference.
            if let Some(Change { cause, by, .. }) = service.record.pending.take() {
                self.note_change(name, cause, by, None);
                self.put_service(name);
            }
        }
        if !is_asked || groups.is_empty() {
            groups.unhealthy = self.choose_to_heal(name);
        }
        if groups.is_empty() {
            return false;
        }
        let Some(flow) = self.flow_of(name, groups) else { return false };
        self.effects.push_back(Effect::Submit(Box::new(flow)));
        self.submitting.insert(name.clone());
        true
    }

    /// Erases the versions of a service that was removed and has no unit left. Its record stays, so
    /// that unknown units of it are ended when their players attach.
    fn forget_versions(&mut self, name: &ServiceName) {
        let Some(service) = self.services.get_mut(name) else { return };
        let versions = std::mem::take(&mut service.versions).into_keys();
        let ops = versions.map(|version| Op::PruneVersion(name.clone(), version));
        self.effects.extend(ops.map(Effect::Persist));
    }

    /// Returns a flow for these hosts, and places their units.
    fn flow_of(&mut self, name: &ServiceName, groups: Groups) -> Option<UnitFlow> {
        self.note_score(name);
        let service = self.services.get_mut(name)?;
        service.begins = service.cause(&groups);
        service.healing = groups.unhealthy.iter().cloned().collect();
        service.open = groups.hosts().cloned().collect();
        service.is_heal_due = false;
        service.ordered = groups.hosts().map(|host| (host.clone(), service.run_on(host))).collect();
        if service.goal() == Goal::Running {
            let running = HostSet::from_names(groups.sick.iter().chain(&groups.others).cloned());
            service.place_all(&running);
            let placed: Vec<_> =
                running.iter().filter_map(|host| service.placement_record(host)).collect();
            for record in placed {
                let host = record.host.clone();
                self.note_host(&host, name);
                self.persist(Op::Put(Record::Placement(record)));
                self.tally(name, &host);
            }
        }
        self.put_service(name);
        let service = self.services.get(name)?;
        let by_keeper = service.record.pending.as_ref().is_none_or(|it| it.by == Asker::Keeper);
        Some(service.flow(groups, service.begins, by_keeper))
    }
}

impl Groups {
    /// Units that are unhealthy, and no others.
    pub(super) fn of_unhealthy(unhealthy: Vec<HostName>) -> Self {
        Self { unhealthy, ..Self::default() }
    }

    pub(crate) fn hosts(&self) -> impl Iterator<Item = &HostName> {
        self.sick.iter().chain(&self.others).chain(&self.leaving).chain(&self.unhealthy)
    }

    fn is_empty(&self) -> bool {
        self.hosts().next().is_none()
    }
}

impl Service {
    /// Returns why the next flow is made.
    fn cause(&self, groups: &Groups) -> Cause {
        let own = match groups.hosts().count() == groups.unhealthy.len() {
            true => Cause::Unhealthy,
            false => Cause::Repair,
        };
        self.record.pending.as_ref().map_or(own, |change| change.cause)
    }

    /// Returns a flow that brings these hosts to what is wanted, the sick ones first.
    pub(super) fn flow(&self, groups: Groups, cause: Cause, by_keeper: bool) -> UnitFlow {
        let Groups { sick, others, leaving, unhealthy } = groups;
        let (wanted, is_careful) = self.wanted(cause);
        let title = if wanted == Wanted::Gone { "remove" } else { cause.as_str() };
        let first = self.job("sick", sick, wanted, None);
        let last = [
            self.job(title, others, wanted, is_careful.then_some(cause)),
            self.job("leave", leaving, Wanted::Gone, None),
            self.job(Cause::Unhealthy.as_str(), unhealthy, Wanted::Healthy, None),
        ];
        let slots = [first.into_iter().collect(), last.into_iter().flatten().collect()];
        let slots: Vec<Vec<(JobSpec, HostSet)>> =
            slots.into_iter().filter(|jobs: &Vec<_>| !jobs.is_empty()).collect();
        let params = self.params(&slots);
        let (slots, targets) = slots
            .into_iter()
            .map(|jobs| {
                let (jobs, targets): (Vec<_>, Vec<_>) = jobs.into_iter().unzip();
                (SlotSpec { jobs }, targets)
            })
            .unzip();
        let name = FlowName::new(&format!("{}-v{}", self.record.name, self.record.version));
        let spec = FlowSpec { name: name.ok(), slots };
        UnitFlow {
            service: self.record.name.clone(),
            audience: self.record.owner.clone(),
            by_keeper,
            cause,
            version: self.record.version,
            spec,
            targets,
            params,
        }
    }

    /// Returns what is asked of units where the service is wanted, and whether the limits of an
    /// update apply.
    fn wanted(&self, cause: Cause) -> (Wanted, bool) {
        match (self.goal(), cause) {
            (Goal::Running, Cause::Restart) => (Wanted::Restarted, true),
            (Goal::Running, Cause::Reload | Cause::Signal) => match self.signal() {
                Some(signal) => (Wanted::Signalled(signal), true),
                None => (Wanted::Running, true),
            },
            (Goal::Running, Cause::Update | Cause::Revert) => (Wanted::Running, true),
            (Goal::Running, _) => (Wanted::Running, false),
            (Goal::Stopped, _) => (Wanted::Stopped, false),
            (Goal::Removed, _) => (Wanted::Gone, false),
        }
    }

    /// Returns the parameters of jobs that lead to runs, by slot and job from 1.
    fn params(&self, slots: &[Vec<(JobSpec, HostSet)>]) -> BTreeMap<(u16, u16), Params> {
        let mut all = BTreeMap::new();
        let Some(params) = self.spec().map(|spec| &spec.params).filter(|all| !all.is_empty())
        else {
            return all;
        };
        for (slot, jobs) in (1..).zip(slots) {
            for (nth, (job, _)) in (1..).zip(jobs) {
                if job.unit.as_ref().is_some_and(|unit| unit.wanted.is_to_run()) {
                    all.insert((slot, nth), params.clone());
                }
            }
        }
        all
    }

    /// Returns the hosts for which a flow is to be made now. `may_begin` says on which hosts
    /// something can begin.
    pub(crate) fn groups(&self, may_begin: impl Fn(&HostName) -> bool) -> Groups {
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
        if let Some(Change { signal: Some(_), hosts, .. }) = pending {
            // A host that needs more than a signal is left to the flow that follows.
            let hosts = self.to_signal(hosts.as_ref()).filter(|host| may_begin(host));
            return Groups { others: hosts.collect(), ..Groups::default() };
        }
        if let Some(change) = restarts {
            // Hosts that are not as wanted get a new run too.
            groups.others.extend(self.to_restart(change).filter(|host| may_begin(host)));
        } else if pending.is_some_and(|change| change.cause != Cause::Scale)
            && self.goal() == Goal::Running
        {
            let stuck = self.stuck().filter(|host| may_begin(host) && !self.wrong.contains(host));
            groups.others.extend(stuck);
            groups.others.sort();
            let (sick, well): (Vec<_>, Vec<_>) =
                groups.others.iter().cloned().partition(|host| self.is_sick(host));
            // If no unit is well, there is nothing to be careful of.
            if !well.is_empty() {
                (groups.sick, groups.others) = (sick, well);
            }
        }
        groups
    }

    /// Returns the hosts of a restart: the named ones that have a unit.
    fn to_restart(&self, change: &Change) -> impl Iterator<Item = HostName> {
        let is_named =
            |host: &&HostName| change.hosts.as_ref().is_none_or(|hosts| hosts.contains(host));
        let has_unit = |host: &&HostName| {
            self.placements.get(*host).is_some_and(|placed| placed.report.is_some())
        };
        self.record.hosts.iter().filter(is_named).filter(has_unit).cloned()
    }

    /// Returns the signal that was asked for.
    fn signal(&self) -> Option<i32> {
        self.record.pending.as_ref()?.signal
    }

    /// Returns the hosts of a signal: the named ones that have a run of the wanted version.
    pub(super) fn to_signal(&self, named: Option<&HostSet>) -> impl Iterator<Item = HostName> {
        let is_named = move |host: &&HostName| named.is_none_or(|hosts| hosts.contains(host));
        let has_run = |host: &&HostName| {
            let report = self.placements.get(*host).and_then(|placed| placed.report.as_ref());
            report.is_some_and(|report| report.state.has_run()) && !self.wrong.contains(*host)
        };
        self.record.hosts.iter().filter(is_named).filter(has_run).cloned()
    }

    /// Returns hosts whose unit does not run any more and waits for a person, who has now asked for
    /// something.
    fn stuck(&self) -> impl Iterator<Item = HostName> + '_ {
        use orchestra_model::service::UnitState;
        let is_stuck = |(host, placed): &(&HostName, &crate::tables::Placed)| {
            let state = placed.report.as_ref().map(|report| report.state);
            matches!(state, Some(UnitState::GaveUp | UnitState::Ended)) && self.is_wanted_on(host)
        };
        self.placements.iter().filter(is_stuck).map(|(host, _)| host.clone())
    }

    /// Returns a job that asks something of units on these hosts; `None` if there are no hosts. A
    /// cause is named if it is to be careful; otherwise the job tolerates every failure, and only
    /// cells limit its speed.
    fn job(
        &self,
        title: &str,
        hosts: Vec<HostName>,
        wanted: Wanted,
        careful: Option<Cause>,
    ) -> Option<(JobSpec, HostSet)> {
        let hosts = HostSet::from_names(hosts);
        let name = JobName::new(title).ok().filter(|_| !hosts.is_empty())?;
        // A service that was removed has no versions any more, but a unit of it was found.
        let (update, upkeep) =
            self.spec().map_or_else(Default::default, |spec| (spec.update, spec.upkeep.clone()));
        let instances = hosts.iter().filter_map(|host| Some(self.placements.get(host)?.instance));
        let unit = UnitJob {
            service: self.record.name.clone(),
            version: self.record.version,
            wanted,
            upkeep,
            healthy_for: update.healthy_for,
            deadline: update.deadline,
            score_hash: self.score_hash(),
            instances: instances.collect(),
        };
        let mut job = JobSpec::new(name, self.record.score.clone(), hosts.to_string());
        job.unit = Some(Arc::new(unit));
        job.give_up_after = Some(update.deadline);
        if let Some(cause) = careful {
            job.parallel = update.parallel;
            job.max_failures = Some(update.max_failures);
            job.on_doomed = OnDoomed::Cancel;
            (job.canary, job.bake) = match cause {
                Cause::Update => (update.canary, update.bake),
                _ => (None, None),
            };
        } else {
            job.max_failures = Some(Quantity::ALL);
        }
        Some((job, hosts))
    }
}
