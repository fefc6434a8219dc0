//! Which score a version is, and which runs execute another one.
//!
//! A score is what is installed on each host, so the next run of a unit may execute another one than
//! the version's. That is told and never changed by itself: to begin new runs everywhere because a file
//! was replaced is what a version, or a person, is for.
//!
//! A version's score is what most of its players hold when a flow is first made for it. Somebody who
//! asks for new runs on all of its hosts asks for what is installed then.

use std::collections::BTreeMap;

use orchestra_model::{
    Asker, HostName, HostSet, ServiceName,
    record::{Op, Record},
    score::ScoreHash,
    service::{Cause, Goal, ServiceEvent},
};

use crate::{placement::SameScore, services::Services, tables::Service};

impl Services {
    /// Notes which score the wanted version is, if that is not known, or if somebody asked for new runs
    /// on all hosts.
    pub(crate) fn note_score(&mut self, name: &ServiceName) {
        let Some(service) = self.services.get(name) else { return };
        let pending = service.record.pending.as_ref();
        let asked_anew = pending.is_some_and(|it| it.cause == Cause::Restart && it.hosts.is_none());
        let known = service.score_hash();
        if service.goal() != Goal::Running || (known.is_some() && !asked_anew) {
            return;
        }
        let Some(hash) = self.most_held(name).filter(|hash| known != Some(*hash)) else { return };
        let Some(service) = self.services.get_mut(name) else { return };
        let Some(kept) = service.versions.get_mut(&service.record.version) else { return };
        (kept.record.score_hash, kept.record.drift_told) = (Some(hash), false);
        let record = kept.record.clone();
        self.persist(Op::Put(Record::Version(record)));
        self.tell_all_drift(name);
    }

    /// Returns what most players hold as the score of a service: those of its hosts that are attached,
    /// or, if it is placed, all that suit it. Of several that as many hold it is the least.
    fn most_held(&self, name: &ServiceName) -> Option<ScoreHash> {
        let service = self.services.get(name)?;
        let wish = self.wish(name);
        let hosts: Vec<&HostName> = match &wish {
            Some(wish) => self.present.keys().filter(|it| self.ground.may_stay(it, wish)).collect(),
            None => service.record.hosts.iter().collect(),
        };
        let mut counts: BTreeMap<ScoreHash, usize> = BTreeMap::new();
        for hash in hosts.into_iter().filter_map(|host| self.held(service, host)) {
            *counts.entry(hash).or_default() += 1;
        }
        let most = counts.values().max().copied()?;
        counts.into_iter().find(|(_, count)| *count == most).map(|(hash, _)| hash)
    }

    /// Returns what a player holds as the score of a service; `None` if it is not attached, or has no
    /// score of that name that may run.
    fn held(&self, service: &Service, host: &HostName) -> Option<ScoreHash> {
        let offer = self.present.get(host)?.offers.get(&service.record.score)?;
        offer.hash.filter(|_| offer.spec.is_ok())
    }

    /// Returns those hosts of a service that hold another score than its version's.
    pub(crate) fn other_score(&self, service: &Service) -> HostSet {
        let Some(wanted) = service.score_hash() else { return HostSet::default() };
        let is_other =
            |host: &&HostName| self.held(service, host).is_some_and(|held| held != wanted);
        HostSet::from_names(service.record.hosts.iter().filter(is_other).cloned())
    }

    /// Returns the scores that players have to hold for instances of a service, and of those that are
    /// linked to it.
    pub(super) fn same_scores(&self, name: &ServiceName) -> Vec<SameScore> {
        let mut names = self.linked_to(name);
        names.push(name.clone());
        let services = names.iter().filter_map(|name| self.services.get(name));
        services.filter_map(Service::same_score).collect()
    }

    /// Looks at every unit of a service, because another version is wanted, or its score is another.
    pub(crate) fn tell_all_drift(&mut self, name: &ServiceName) {
        let placed = self.services.get(name).into_iter().flat_map(|it| it.placements.keys());
        for host in placed.cloned().collect::<Vec<_>>() {
            self.tell_drift(name, &host);
        }
    }

    /// Tells that a run of the wanted version executes another score, if it is the first one.
    pub(crate) fn tell_drift(&mut self, name: &ServiceName, host: &HostName) {
        let at = self.now;
        let Some(service) = self.services.get_mut(name) else { return };
        let drifted = service.drifted(host) == Some(true);
        let report = service.placements.get(host).and_then(|placed| placed.report.as_ref());
        let version = service.record.version;
        let Some(runs) = report.filter(|it| it.version == version).and_then(|it| it.score_hash)
        else {
            return;
        };
        let Some(kept) = service.versions.get_mut(&version) else { return };
        let Some(wanted) = kept.record.score_hash.filter(|_| drifted && !kept.record.drift_told)
        else {
            return;
        };
        kept.record.drift_told = true;
        let (record, score) = (kept.record.clone(), service.record.score.clone());
        let note = format!(
            "{host} runs {score} as {}, and version {version} is with {}",
            runs.short(),
            wanted.short()
        );
        service.note(ServiceEvent {
            at,
            cause: Cause::Drift,
            by: Asker::Keeper,
            version,
            flow: None,
            ended: None,
            note: Some(note.into()),
        });
        self.persist(Op::Put(Record::Version(record)));
        self.put_service(name);
    }
}

impl Service {
    /// What the score of the wanted version is, if that is known.
    pub(crate) fn score_hash(&self) -> Option<ScoreHash> {
        self.versions.get(&self.record.version)?.record.score_hash
    }

    /// Returns the score that each of its players has to hold, if it asks for that and it is known.
    fn same_score(&self) -> Option<SameScore> {
        let requires = self.spec()?.upkeep.require_same_score;
        let hash = self.score_hash().filter(|_| requires)?;
        Some(SameScore { score: self.record.score.clone(), hash })
    }

    /// Returns whether the run on a host executes another score than its version's; `None` if it has no
    /// run, or one of the two is not known.
    pub(crate) fn drifted(&self, host: &HostName) -> Option<bool> {
        let report = self.placements.get(host)?.report.as_ref()?;
        let wanted = self.versions.get(&report.version)?.record.score_hash?;
        report.score_hash.map(|runs| runs != wanted)
    }
}
