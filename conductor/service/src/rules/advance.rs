//! From a difference between wanted and actual to a flow that ends it.

use std::sync::Arc;

use orchestra_model::{
    Asker, HostName, HostSet, JobName, Quantity, ServiceName,
    flow::{JobSpec, OnDoomed},
    record::{Op, Record},
    service::{Cause, Change, Goal, UnitJob, Wanted},
};

use super::together::{Part, PartJob};
use crate::{
    effect::{Effect, FlowService, UnitFlow},
    services::Services,
    tables::Service,
};

/// Hosts of a flow, by what is to be asked of their units.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    /// Their unit exists and is not ready. They go first, and their failures do not stop the flow.
    pub(crate) sick: Vec<HostName>,
    /// Their units are more than are wanted as a rule, and are to be ready before any of the others is
    /// ended. They go first, too.
    pub(crate) extra: Vec<HostName>,
    /// Their units are to run, start anew, or stop.
    others: Vec<HostName>,
    /// Their units are to be removed.
    leaving: Vec<HostName>,
    /// Their units are to get new runs because they are unhealthy.
    unhealthy: Vec<HostName>,
    /// Their units are to get new runs because their runs are old.
    old: Vec<HostName>,
    /// They have no unit any more, and are to be cleaned up.
    uncleaned: Vec<HostName>,
}

impl Services {
    /// Submits a flow for a service, if one is needed and none lives. Returns whether it did.
    pub(crate) fn advance(&mut self, name: &ServiceName) -> bool {
        let is_submitted = self.submit_needed(name);
        self.set_wake(name);
        for other in self.waiting_with(name) {
            self.submit_needed(&other);
        }
        is_submitted
    }

    /// Ends the living flow of a service, so that another one takes its place.
    pub(super) fn supersede(&mut self, name: &ServiceName, by: Asker) {
        let Some(service) = self.services.get_mut(name) else { return };
        let Some(living) = &mut service.record.living else { return };
        living.superseded = true;
        let flow = living.flow;
        self.put_service(name);
        self.part_from(name, flow);
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
            } else if service.is_in_the_way() {
                self.supersede(name, Asker::Keeper);
            }
            return self.relieve(name);
        }
        if service.record.paused_by.is_some() {
            return false;
        }
        self.forget_uncleanable(name);
        if self.services.get(name).is_some_and(Service::is_over) {
            self.forget_versions(name);
        }
        let together = self.together(name);
        if !self.are_free(&together) {
            return false;
        }
        let mut parts: Vec<Part> =
            together.iter().filter_map(|name| self.part_of_asked(name)).collect();
        if parts.is_empty() {
            parts.extend(self.part_of_found(name));
        }
        self.submitting.extend(parts.iter().map(|part| part.service.name.clone()));
        let flow = UnitFlow::of(parts);
        let is_any = flow.is_some();
        self.effects.extend(flow.map(|flow| Effect::Submit(Box::new(flow))));
        is_any
    }

    /// Returns the part of a flow that does what was asked of a service; `None` if nothing was. If it
    /// is done already, or cannot be done now and will be found again as a difference, then that is
    /// noted.
    fn part_of_asked(&mut self, name: &ServiceName) -> Option<Part> {
        let service = self.services.get(name)?;
        service.record.pending.as_ref()?;
        let groups = service.groups(|host| self.is_reachable(host));
        if !groups.is_empty() {
            return self.part_of(name, groups);
        }
        let service = self.services.get_mut(name)?;
        service.record.surged = None;
        let Change { cause, by, .. } = service.record.pending.take()?;
        self.note_change(name, cause, by, None);
        self.put_service(name);
        None
    }

    /// Returns the flow's part that ends the differences of a service; `None` if there are none.
    fn part_of_found(&mut self, name: &ServiceName) -> Option<Part> {
        let mut groups = self.services.get(name)?.groups(|host| self.is_reachable(host));
        groups.unhealthy = self.choose_to_heal(name);
        // These can wait, and make room for all else.
        if groups.is_empty() {
            groups.uncleaned = self.to_clean(name);
        }
        if groups.is_empty() && self.services.get(name).is_some_and(Service::is_to_run) {
            groups.old = self.choose_old(name);
        }
        if groups.is_empty() { None } else { self.part_of(name, groups) }
    }

    /// Erases the versions of a service that was removed and has no unit left. Its record stays, so
    /// that unknown units of it are ended when their players attach.
    fn forget_versions(&mut self, name: &ServiceName) {
        let Some(service) = self.services.get_mut(name) else { return };
        let versions = std::mem::take(&mut service.versions).into_keys();
        let ops = versions.map(|version| Op::PruneVersion(name.clone(), version));
        self.effects.extend(ops.map(Effect::Persist));
    }

    /// Returns a part of a flow for these hosts, and places their units.
    fn part_of(&mut self, name: &ServiceName, groups: Groups) -> Option<Part> {
        self.note_score(name);
        let service = self.services.get_mut(name)?;
        service.begins = service.cause(&groups);
        service.healing = groups.unhealthy.iter().cloned().collect();
        service.open = groups.hosts().cloned().collect();
        service.is_heal_due = false;
        service.ordered = groups.hosts().map(|host| (host.clone(), service.run_on(host))).collect();
        if service.goal() == Goal::Running {
            let running = HostSet::from_names(groups.beginning().cloned());
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
        Some(service.part(groups, service.begins, by_keeper))
    }
}

impl Groups {
    /// Units that are unhealthy, and no others.
    pub(super) fn of_unhealthy(unhealthy: Vec<HostName>) -> Self {
        Self { unhealthy, ..Self::default() }
    }

    /// Those on which runs of the wanted version begin, or go on.
    pub(super) fn beginning(&self) -> impl Iterator<Item = &HostName> {
        self.sick.iter().chain(&self.extra).chain(&self.others)
    }

    pub(crate) fn hosts(&self) -> impl Iterator<Item = &HostName> {
        self.beginning()
            .chain(&self.leaving)
            .chain(&self.unhealthy)
            .chain(&self.old)
            .chain(&self.uncleaned)
    }

    /// Sets those apart that begin, if more are wanted while a version comes.
    fn set_extra_apart(&mut self, service: &Service) {
        if service.record.surged.is_none() {
            return;
        }
        let has_unit = |host: &HostName| {
            service.placements.get(host).is_some_and(|placed| placed.report.is_some())
        };
        let (rest, extra): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.others).into_iter().partition(has_unit);
        // If nothing is to be updated after them, they are as others are.
        (self.others, self.extra) =
            if rest.is_empty() { (extra, Vec::new()) } else { (rest, extra) };
    }

    fn is_empty(&self) -> bool {
        self.hosts().next().is_none()
    }
}

impl Service {
    /// Returns why the next flow is made.
    fn cause(&self, groups: &Groups) -> Cause {
        let own = match groups.hosts().count() {
            all if all == groups.unhealthy.len() => Cause::Unhealthy,
            all if all == groups.old.len() => Cause::Age,
            all if all == groups.uncleaned.len() => Cause::Cleanup,
            _ => Cause::Repair,
        };
        self.record.pending.as_ref().map_or(own, |change| change.cause)
    }

    /// Returns the part of a flow that brings these hosts to what is wanted, the sick ones first.
    pub(super) fn part(&self, groups: Groups, cause: Cause, by_keeper: bool) -> Part {
        let (wanted, is_careful) = self.wanted(cause);
        let prepare = self.preparing(&groups, is_careful);
        let prepares = prepare.each_ref().map(|job| Some(job.as_ref()?.spec.name.clone()));
        let Groups { sick, extra, others, leaving, unhealthy, old, uncleaned } = groups;
        let title = if wanted == Wanted::Gone { "remove" } else { cause.as_str() };
        let mut others = [
            self.job(title, others, wanted, is_careful.then_some(cause)),
            self.job("leave", leaving, Wanted::Gone, None),
            self.job(Cause::Unhealthy.as_str(), unhealthy, Wanted::Healthy, None),
            self.job(Cause::Age.as_str(), old, self.wanted_young(), None),
            self.cleaning(uncleaned),
        ];
        // They are as careful as an update, without a canary: the others wait for all of them.
        let surge = is_careful.then_some(Cause::Revert);
        let mut sick = self.job("sick", sick, wanted, None);
        if let (true, Some(sick), Some(spec)) = (is_careful, &mut sick, self.spec()) {
            // Their failures stop nobody, but they are as many at once as the others.
            sick.spec.parallel = spec.update.parallel;
        }
        let mut first = [sick, self.job("surge", extra, wanted, surge)];
        let [of_sick, of_others] = prepares;
        let [sick, extra] = &mut first;
        for (job, prepare) in
            [(sick, of_sick), (extra, of_others.clone()), (&mut others[0], of_others)]
        {
            if let Some(job) = job {
                job.spec.only_where_ok = prepare;
            }
        }
        let service =
            FlowService { name: self.record.name.clone(), cause, version: self.record.version };
        Part {
            service,
            audience: self.record.owner.clone(),
            by_keeper,
            prepare: prepare.into_iter().flatten().collect(),
            first: first.into_iter().flatten().collect(),
            others: others.into_iter().flatten().collect(),
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
            (Goal::Running, Cause::Update | Cause::Revert | Cause::Rebalance) => {
                (Wanted::Running, true)
            }
            (Goal::Running, _) => (Wanted::Running, false),
            (Goal::Stopped, _) => (Wanted::Stopped, false),
            (Goal::Removed, _) => (Wanted::Gone, false),
        }
    }

    /// Returns what is asked of units whose runs are old.
    fn wanted_young(&self) -> Wanted {
        self.least_limit().map_or(Wanted::Running, Wanted::Younger)
    }

    /// Returns whether its units are to run.
    pub(crate) fn is_to_run(&self) -> bool {
        self.goal() == Goal::Running
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
        } else if pending.is_some_and(|it| !matches!(it.cause, Cause::Scale | Cause::Rebalance))
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
            groups.set_extra_apart(self);
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
    ) -> Option<PartJob> {
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
        // Where no run begins, none are needed.
        let params = self.spec().map(|spec| &spec.params);
        let params = params.filter(|params| wanted.is_to_run() && !params.is_empty()).cloned();
        Some(PartJob { spec: job, hosts, params })
    }
}
