//! What an ask would do. It is tried on a copy of what is known of the service, and the copy is
//! dropped.

use std::collections::{BTreeMap, BTreeSet};

use orchestra_model::{
    Asker, HostName, HostSet, ServiceName,
    service::{
        HostStep, PlannedAbsence, PlannedHosts, Replacing, ServiceFile, ServicePlan,
        ServiceVersion, VersionRecord, Wanted,
    },
};

use crate::{
    input::{Ask, Rejection},
    placement::Ground,
    rules::advance::Groups,
    services::Services,
    tables::Service,
};

impl Services {
    /// Returns what an ask would do: for each of its services, in its order, the version that is wanted
    /// now, if there is one, and the one that would be, if it differs, with the plan.
    pub fn plan(
        &self,
        by: &Asker,
        ask: Ask,
    ) -> Result<Vec<(Vec<VersionRecord>, ServicePlan)>, Rejection> {
        let names = ask.services();
        self.check_count(&names)?;
        let mut trial = self.only(&names, &ask);
        let news = trial.want(by, ask)?;
        for name in &names {
            trial.follow_link(name);
            trial.fill(name);
            trial.note_score(name);
            trial.recheck_all(name);
        }
        let plan = |name: &ServiceName| self.plan_of(by, name, &trial, news.contains(name));
        names.iter().map(plan).collect()
    }

    /// Returns what a trial did to a service.
    fn plan_of(
        &self,
        by: &Asker,
        name: &ServiceName,
        trial: &Self,
        is_news: bool,
    ) -> Result<(Vec<VersionRecord>, ServicePlan), Rejection> {
        let known = self.services.get(name);
        let before = known.and_then(Service::wanted_version);
        let taken_from = known
            .and_then(|known| known.record.file.as_ref())
            .filter(|file| file.owns() && *by != Asker::Files)
            .map(|ServiceFile { name, .. }| name.clone());
        let Some(service) = trial.services.get(name) else {
            return Err(Rejection::UnknownService(name.clone()));
        };
        let after = service.wanted_version();
        let unchanged = before.as_ref().map(|it| it.version) == after.as_ref().map(|it| it.version);
        let living = service.record.living.as_ref().filter(|living| is_news && !living.superseded);
        let groups = service.groups(|host| trial.is_reachable(host));
        let plan = ServicePlan {
            unchanged,
            taken_from,
            superseded: living.map(|living| living.flow),
            paused_by: service.record.paused_by.clone(),
            steps: trial.steps(name, service, &groups),
            waiting: trial.waiting(name),
            other_score: trial.other_score(service),
            absent: trial.planned_absences(name, service),
            prepare: service.to_prepare(&groups),
        };
        let after = after.filter(|_| !unchanged);
        Ok((before.into_iter().chain(after).collect(), plan))
    }

    /// Copies what is known of these services, of those that links tie to them, and of players.
    fn only(&self, asked: &[ServiceName], ask: &Ask) -> Self {
        let mut names = asked.to_vec();
        for name in asked {
            names.extend(self.linked_to(name));
            names.extend(self.services.get(name).and_then(Service::linked_to).cloned());
        }
        let applied = match ask {
            Ask::Apply { services, .. } => &services[..],
            _ => &[],
        };
        names.extend(applied.iter().filter_map(|it| it.spec.upkeep.linked_to.clone()));
        let is_placed = applied.iter().any(|it| it.spec.place.is_some())
            || asked.iter().any(|name| self.wish(name).is_some());
        let service = names.iter().filter_map(|name| self.services.get_key_value(name));
        Self {
            now: self.now,
            services: service.map(|(name, it)| (name.clone(), it.clone())).collect(),
            present: self.present.clone(),
            away: self.away.clone(),
            drained: self.drained.clone(),
            strangers: self.strangers.clone(),
            skipped: self.skipped,
            // A service that is not placed asks nothing of it.
            ground: if is_placed { self.ground.clone() } else { Ground::default() },
            settled_at: self.settled_at,
            has_settled: self.has_settled,
            brakes: self.brakes.clone(),
            ..Self::default()
        }
    }

    /// Returns what is to be done to a service, with each of its hosts once.
    fn steps(&self, name: &ServiceName, service: &Service, groups: &Groups) -> Vec<PlannedHosts> {
        let placed = service.placements.keys();
        let hosts: BTreeSet<&HostName> = service.record.hosts.iter().chain(placed).collect();
        let mut steps: BTreeMap<(HostStep, bool, Option<ServiceVersion>), Vec<HostName>> =
            BTreeMap::new();
        for host in hosts {
            let step = self.step(name, service, groups, host);
            let report = service.placements.get(host).and_then(|placed| placed.report.as_ref());
            let is_first = groups.sick.contains(host);
            let from = report.map(|report| report.version);
            steps.entry((step, is_first, from)).or_default().push(host.clone());
        }
        let planned = |((step, first, from), hosts)| PlannedHosts {
            step,
            from,
            first,
            hosts: HostSet::from_names(hosts),
        };
        steps.into_iter().map(planned).collect()
    }

    /// Returns what becomes of instances whose players are away, each host once.
    fn planned_absences(&self, name: &ServiceName, service: &Service) -> Vec<PlannedAbsence> {
        let mut absences: BTreeMap<Replacing, Vec<HostName>> = BTreeMap::new();
        for host in service.placements.keys().filter(|host| self.away.contains_key(*host)) {
            if let Some(replacing) = self.replacing(name, host) {
                absences.entry(replacing).or_default().push(host.clone());
            }
        }
        let planned =
            |(replacing, hosts)| PlannedAbsence { hosts: HostSet::from_names(hosts), replacing };
        absences.into_iter().map(planned).collect()
    }

    fn step(
        &self,
        name: &ServiceName,
        service: &Service,
        groups: &Groups,
        host: &HostName,
    ) -> HostStep {
        if self.is_strange(name, host) {
            return HostStep::Stranger;
        }
        let Some(wanted) = service.difference(host) else {
            let is_stuck = groups.hosts().any(|known| known == host);
            return if is_stuck { HostStep::Restart } else { HostStep::Keep };
        };
        if wanted == Wanted::Gone && !self.may_leave(name, host) {
            return HostStep::Moving;
        }
        if wanted == Wanted::Running && self.predecessor(name, host).is_some() {
            return HostStep::Moving;
        }
        if self.difference(name, host).is_none() {
            return match self.present.get(host) {
                None => HostStep::Absent,
                Some(player) if !player.keeps_units => HostStep::TooOld,
                Some(_) if self.drained.contains(host) => HostStep::Drained,
                Some(_) => HostStep::Linked,
            };
        }
        if service.given_up.contains(host) {
            return HostStep::GivenUp;
        }
        let report = service.placements.get(host).and_then(|placed| placed.report.as_ref());
        match wanted {
            Wanted::Gone => HostStep::Leave,
            Wanted::Stopped => HostStep::Stop,
            Wanted::Running
            | Wanted::Restarted
            | Wanted::Signalled(_)
            | Wanted::Healthy
            | Wanted::Younger(_) => match report {
                Some(report) if report.version != service.record.version => HostStep::Update,
                _ => HostStep::Start,
            },
        }
    }
}

impl Service {
    /// Returns the record of the wanted version; `None` if the service was removed.
    fn wanted_version(&self) -> Option<VersionRecord> {
        let is_there = self.record.goal != orchestra_model::service::Goal::Removed;
        let kept = self.versions.get(&self.record.version).filter(|_| is_there)?;
        Some(kept.record.clone())
    }
}
