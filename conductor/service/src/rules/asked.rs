//! Asks: an ask changes what is wanted. What is to be done follows from that.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use orchestra_model::{
    Asker, HostSet, Millis, ScoreName, ServiceName,
    record::{Op, Record},
    service::{
        Cause, Change, FileStanding, Goal, Judged, Placement, ServiceFile, ServiceRecord,
        ServiceSpec, ServiceVersion, VERSIONS, VersionRecord,
    },
};

use crate::{
    effect::{Effect, Released},
    input::{AppliedService, Ask, Rejection, ReplyId, Taken},
    services::Services,
    tables::{KeptVersion, Service},
};

/// Most services, including removed ones.
pub(super) const MOST: usize = 10_000;

impl Services {
    pub(crate) fn asked(&mut self, reply: ReplyId, by: &Asker, ask: Ask) {
        let names = ask.services();
        if let Ask::StopStrangers { service, hosts } = &ask {
            return self.stop_strangers(reply, by, service, hosts.as_ref());
        }
        let news = match self.want(by, ask) {
            Ok(news) => news,
            Err(rejection) => return self.effects.push_back(Effect::Answer(reply, Err(rejection))),
        };
        for name in &news {
            self.put_service(name);
            self.follow_link(name);
            self.fill(name);
            self.recheck_all(name);
        }
        for name in &news {
            self.advance(name);
        }
        for name in &news {
            self.follow_links(name);
        }
        let is_news = |name: &ServiceName| news.contains(name);
        let asked = names.into_iter().map(|name| (is_news(&name), name));
        self.answering = Some((reply, asked.map(|(is_news, name)| (name, !is_news)).collect()));
        self.answer_asked();
    }

    /// Answers the asker, once the flows of the services are taken: the answer tells them.
    pub(crate) fn answer_asked(&mut self) {
        let is_taken = |asked: &mut (ReplyId, Vec<(ServiceName, bool)>)| {
            !asked.1.iter().any(|(name, _)| self.submitting.contains(name))
        };
        let Some((reply, asked)) = self.answering.take_if(is_taken) else { return };
        let taken = asked.iter().map(|(name, unchanged)| self.taken(name, *unchanged));
        let mut answer: Result<Vec<Taken>, Rejection> = taken.collect();
        if let Ok([taken]) = answer.as_deref_mut() {
            taken.moves = std::mem::take(&mut self.moves_found);
        }
        self.effects.push_back(Effect::Answer(reply, answer));
    }

    /// Changes what is wanted. Returns the services of which anything has changed.
    pub(crate) fn want(&mut self, by: &Asker, ask: Ask) -> Result<Vec<ServiceName>, Rejection> {
        let names = ask.services();
        let is_news = match ask {
            Ask::Apply { services, take_over } => return self.apply(by, services, take_over),
            Ask::Revert { service, to, hosts } => self.revert(by, &service, to, &hosts)?,
            Ask::Restart { service, hosts } => self.restart(by, &service, hosts)?,
            Ask::Reload { service, hosts } => self.signal(by, &service, hosts, None)?,
            Ask::Signal { service, hosts, signal } => {
                self.signal(by, &service, hosts, Some(signal))?
            }
            Ask::Scale { service, zone, count, take_over } => {
                self.scale(by, &service, zone.as_ref(), count, take_over)?
            }
            Ask::Stop(service) => self.set_goal(by, &service, Goal::Stopped, Cause::Stop)?,
            Ask::Start(service) => self.set_goal(by, &service, Goal::Running, Cause::Start)?,
            Ask::Remove(service) => self.remove(by, &service)?,
            Ask::Pause(service) => {
                let service = self.existing(&service)?;
                let is_news = service.record.paused_by.is_none();
                service.record.paused_by.get_or_insert_with(|| by.clone());
                is_news
            }
            Ask::Resume(service) => {
                let is_left = self.services.get(&service).is_some_and(|it| !it.is_over());
                let service = match self.services.get_mut(&service).filter(|_| is_left) {
                    Some(service) => service,
                    None => self.existing(&service)?,
                };
                let is_news =
                    service.record.paused_by.take().is_some() || !service.given_up.is_empty();
                service.try_all_again();
                service.trouble = None;
                is_news
            }
            Ask::ReleaseBrake(service) => self.release(&service)?,
            Ask::Adopt { service, hosts } => self.adopt(&service, hosts.as_ref())?,
            Ask::DeclareDead { service, ordinal } => self.declare_dead(&service, ordinal)?,
            Ask::Rebalance { service, plan } => self.rebalance(by, &service, plan)?,
            // This changes nothing of the service.
            Ask::StopStrangers { .. } => false,
        };
        Ok(if is_news { names } else { Vec::new() })
    }

    /// Returns a service that is to run; if hosts are named, on at least one of these.
    pub(super) fn running(
        &mut self,
        name: &ServiceName,
        hosts: Option<&HostSet>,
    ) -> Result<&mut Service, Rejection> {
        let service = self.existing(name)?;
        if service.record.goal != Goal::Running {
            return Err(Rejection::Stopped(name.clone()));
        }
        match hosts {
            Some(named) if service.record.hosts.intersection(named).is_empty() => {
                Err(Rejection::NotItsHosts(name.clone(), named.clone()))
            }
            _ => Ok(service),
        }
    }

    /// Returns a service that was not removed.
    pub(super) fn existing(&mut self, name: &ServiceName) -> Result<&mut Service, Rejection> {
        match self.services.get_mut(name) {
            Some(service) if service.record.goal != Goal::Removed => Ok(service),
            Some(_) => Err(Rejection::Removed(name.clone())),
            None => Err(Rejection::UnknownService(name.clone())),
        }
    }

    /// Applies services. Their changes are made by one flow.
    fn apply(
        &mut self,
        by: &Asker,
        mut services: Vec<AppliedService>,
        take_over: bool,
    ) -> Result<Vec<ServiceName>, Rejection> {
        self.check_applied(&services, take_over)?;
        // A linked service is where the other one is by then.
        services.sort_by_key(|service| service.spec.upkeep.linked_to.is_some());
        let mut news = Vec::new();
        for AppliedService { spec, spec_bytes, hosts } in services {
            let (name, hosts) = (spec.name.clone(), self.place_of(&spec, hosts)?);
            let file = self.services.get(&name).and_then(|known| known.record.file.as_ref());
            let is_taken = file.is_some_and(ServiceFile::owns);
            let is_new = self.apply_version(by, spec, spec_bytes, hosts);
            if let Some(service) = self.services.get_mut(&name).filter(|_| is_taken) {
                service.record.owner = by.clone();
                service.leave_file();
            }
            news.extend((is_new || is_taken).then_some(name));
        }
        self.join_updates(&news);
        Ok(news)
    }

    /// Finds out whether all of these services can be applied.
    fn check_applied(&self, services: &[AppliedService], take_over: bool) -> Result<(), Rejection> {
        let mut names = BTreeSet::new();
        for AppliedService { spec, hosts, .. } in services {
            spec.check().map_err(Rejection::Invalid)?;
            let name = &spec.name;
            if !names.insert(name) {
                return Err(Rejection::Twice(name.clone()));
            }
            self.check_link(spec, services)?;
            if hosts.is_empty() && !spec.on.is_empty() {
                return Err(Rejection::NoHosts(name.clone()));
            }
            let file = self.services.get(name).and_then(|known| known.record.file.as_ref());
            if let Some(file) = file.filter(|file| file.owns() && !take_over) {
                return Err(Rejection::OfFile(name.clone(), Arc::clone(&file.name)));
            }
        }
        self.check_count(names)
    }

    /// Rejects services that are new if there would be too many with them.
    pub(crate) fn check_count<'a>(
        &self,
        names: impl IntoIterator<Item = &'a ServiceName>,
    ) -> Result<(), Rejection> {
        let is_new = |name: &&ServiceName| !self.services.contains_key(*name);
        let new = names.into_iter().filter(is_new).count();
        match new > 0 && self.services.len() + new > MOST {
            true => Err(Rejection::TooMany(MOST)),
            false => Ok(()),
        }
    }

    /// Makes a service as this spec says, by a new version unless it is so already. Returns whether
    /// there is a new version.
    pub(crate) fn apply_version(
        &mut self,
        by: &Asker,
        spec: ServiceSpec,
        spec_bytes: Arc<[u8]>,
        hosts: HostSet,
    ) -> bool {
        let (name, skipped) = (spec.name.clone(), self.skipped);
        let service = self
            .services
            .entry(name.clone())
            .or_insert_with(|| new(&name, &spec.score, by, skipped));
        let record = &mut service.record;
        let was_there = record.goal != Goal::Removed;
        let is_same = service.versions.get(&record.version).is_some_and(|kept| *kept.spec == spec);
        let is_there = record.hosts == hosts || spec.place.is_some();
        if was_there && is_same && is_there {
            let layout = spec.place.map(|rule| rule.layout);
            let was_scaled = record.layout != layout;
            if was_scaled {
                // The version says another number than somebody asked for since.
                record.layout = layout;
                service.want_change(Change::new(Cause::Scale, by.clone()));
            }
            return was_scaled;
        }
        if !was_there {
            record.goal = if spec.auto_start { Goal::Running } else { Goal::Stopped };
            record.paused_by = None;
        }
        record.owner = by.clone();
        record.hosts = hosts;
        record.last_version = ServiceVersion(record.last_version.0 + 1);
        let version = record.last_version;
        let record = VersionRecord {
            service: name.clone(),
            version,
            spec: spec_bytes,
            by: by.clone(),
            at: self.now,
            reverted: false,
            score_hash: None,
            drift_told: false,
        };
        let kept = KeptVersion { record: record.clone(), spec: Arc::new(spec) };
        service.versions.insert(version, kept);
        service.want_version(version, Change::new(Cause::Update, by.clone()));
        self.end_suspicion(&name, Released::Changed);
        self.persist(Op::Put(Record::Version(record)));
        self.prune_versions(&name);
        self.effects.push_back(Effect::RecountCells);
        true
    }

    /// Removes a service, unless an existing file names it.
    fn remove(&mut self, by: &Asker, name: &ServiceName) -> Result<bool, Rejection> {
        let service = self.existing(name)?;
        let file = service.record.file.as_ref();
        if let Some(file) = file.filter(|file| file.standing != FileStanding::Gone) {
            return Err(Rejection::StillFiled(name.clone(), Arc::clone(&file.name)));
        }
        self.check_unlinked(name)?;
        self.existing(name)?.record.file = None;
        self.set_goal(by, name, Goal::Removed, Cause::Remove)
    }

    /// Removes the oldest versions beyond the most that are kept. The wanted version and the one
    /// that was ready everywhere stay.
    fn prune_versions(&mut self, name: &ServiceName) {
        let Some(service) = self.services.get_mut(name) else { return };
        let (wanted, stable) = (service.record.version, service.record.stable);
        while service.versions.len() > VERSIONS {
            let is_free =
                |version: &&ServiceVersion| **version != wanted && Some(**version) != stable;
            let Some(oldest) = service.versions.keys().find(is_free).copied() else { return };
            service.versions.remove(&oldest);
            self.effects.push_back(Effect::Persist(Op::PruneVersion(name.clone(), oldest)));
        }
    }

    fn revert(
        &mut self,
        by: &Asker,
        name: &ServiceName,
        to: Option<ServiceVersion>,
        hosts: &BTreeMap<ServiceVersion, HostSet>,
    ) -> Result<bool, Rejection> {
        let service = self.existing(name)?;
        let version = to.or_else(|| service.last_good());
        let is_kept = |version: &ServiceVersion| service.versions.contains_key(version);
        let Some(version) = version.filter(is_kept) else {
            return Err(Rejection::NoVersion(name.clone(), to));
        };
        if version == service.record.version {
            return Ok(false);
        }
        let spec = service.versions.get(&version).map(|kept| Arc::clone(&kept.spec));
        let own = hosts.get(&version).cloned().unwrap_or_default();
        let is_named = spec.as_ref().is_some_and(|spec| !spec.on.is_empty());
        let hosts = spec.map_or(Ok(HostSet::default()), |spec| self.place_of(&spec, own))?;
        if hosts.is_empty() && is_named {
            return Err(Rejection::NoHosts(name.clone()));
        }
        let service = self.existing(name)?;
        service.record.hosts = hosts;
        service.record.owner = by.clone();
        let change = Change::new(Cause::Revert, by.clone());
        service.want_version(version, change);
        self.end_suspicion(name, Released::Changed);
        self.effects.push_back(Effect::RecountCells);
        Ok(true)
    }

    fn restart(
        &mut self,
        by: &Asker,
        name: &ServiceName,
        hosts: Option<HostSet>,
    ) -> Result<bool, Rejection> {
        let service = self.running(name, hosts.as_ref())?;
        service.try_all_again();
        let change = Change::new(Cause::Restart, by.clone());
        service.record.pending = Some(Change { hosts, ..change });
        Ok(true)
    }

    /// Wants a signal for runs; `None` for the one at which they read their parameters again.
    /// Unlike other asks it does not replace a change that goes on: an update must not end half way
    /// because of a signal.
    fn signal(
        &mut self,
        by: &Asker,
        name: &ServiceName,
        hosts: Option<HostSet>,
        signal: Option<i32>,
    ) -> Result<bool, Rejection> {
        let service = self.running(name, hosts.as_ref())?;
        if let Some(living) = &service.record.living {
            return Err(Rejection::Changing(name.clone(), living.flow));
        }
        if let Some(paused_by) = &service.record.paused_by {
            return Err(Rejection::Paused(name.clone(), paused_by.clone()));
        }
        let reload = service.spec().and_then(|spec| spec.upkeep.reload);
        let cause = if signal.is_some() { Cause::Signal } else { Cause::Reload };
        let Some(signal) = signal.or(reload.map(|reload| reload.signal)) else {
            return Err(Rejection::NoReload(name.clone()));
        };
        if service.to_signal(hosts.as_ref()).next().is_none() {
            return Err(Rejection::NoRuns(name.clone()));
        }
        let change = Change::new(cause, by.clone());
        service.record.pending = Some(Change { hosts, signal: Some(signal), ..change });
        Ok(true)
    }

    fn set_goal(
        &mut self,
        by: &Asker,
        name: &ServiceName,
        goal: Goal,
        cause: Cause,
    ) -> Result<bool, Rejection> {
        if goal == Goal::Removed {
            self.check_unlinked(name)?;
        }
        let service = self.existing(name)?;
        // An ask to stop or remove the service does not wait for a pause to end.
        let paused_by = service.record.paused_by.take_if(|_| goal != Goal::Running);
        let is_news =
            service.record.goal != goal || !service.given_up.is_empty() || paused_by.is_some();
        service.record.goal = goal;
        service.try_all_again();
        service.trouble = None;
        if is_news {
            service.record.pending = Some(Change::new(cause, by.clone()));
            self.effects.push_back(Effect::RecountCells);
        }
        if goal != Goal::Running {
            self.end_suspicion(name, Released::Changed);
        }
        Ok(is_news)
    }

    /// Returns the answer to an ask.
    fn taken(&self, name: &ServiceName, unchanged: bool) -> Result<Taken, Rejection> {
        let Some(service) = self.services.get(name) else {
            return Err(Rejection::UnknownService(name.clone()));
        };
        let is_left_out = |host: &&orchestra_model::HostName| !self.is_reachable(host);
        let left_out = service.record.hosts.iter().filter(is_left_out).cloned();
        let living = service.record.living.as_ref().filter(|living| !living.superseded);
        Ok(Taken {
            service: name.clone(),
            version: service.record.version,
            unchanged,
            flow: living.map(|living| living.flow),
            left_out: HostSet::from_names(left_out),
            waiting: self.waiting(name),
            moves: Vec::new(),
            trouble: service.trouble.clone().or_else(|| service.why_paused()),
        })
    }
}

/// Returns a new service. If the store was recovered from an old copy, it skips the numbers that a
/// forgotten service of this name may have had.
pub(super) fn new(name: &ServiceName, score: &ScoreName, by: &Asker, skipped: u64) -> Service {
    let mut record = ServiceRecord {
        name: name.clone(),
        owner: by.clone(),
        version: ServiceVersion(0),
        score: score.clone(),
        last_version: ServiceVersion(0),
        stable: None,
        goal: Goal::Removed,
        hosts: HostSet::default(),
        layout: None,
        surged: None,
        paused_by: None,
        pending: None,
        living: None,
        relief: None,
        file: None,
        judged: Judged::default(),
        spent: Millis(0),
        last_placement: Placement(0),
        forgotten: Vec::new(),
        events: Vec::new(),
    };
    if skipped > 0 {
        record.forget_up_to(skipped);
    }
    Service::new(record)
}

impl Service {
    /// Says that nothing is done before it is resumed, if it is paused.
    fn why_paused(&self) -> Option<String> {
        let by = self.record.paused_by.as_ref()?;
        Some(format!("it is paused by {by}: nothing is done before it is resumed"))
    }

    /// Wants a change, unless a greater one is wanted already, which brings it about as well.
    pub(super) fn want_change(&mut self, change: Change) {
        self.record.pending.get_or_insert(change);
        self.try_all_again();
        self.trouble = None;
    }

    /// Takes the service from its file, because an audience says what it is to be.
    pub(super) fn leave_file(&mut self) {
        match &mut self.record.file {
            Some(file) if file.standing == FileStanding::InForce => {
                file.standing = FileStanding::TakenOver;
            }
            // The file is gone, so there is nothing to remember of it.
            Some(file) if file.standing == FileStanding::Gone => self.record.file = None,
            _ => {}
        }
    }

    /// Makes another version the wanted one.
    pub(crate) fn want_version(&mut self, version: ServiceVersion, change: Change) {
        if let Some(kept) = self.versions.get(&version) {
            self.record.score = kept.spec.score.clone();
            self.record.layout = kept.spec.place.as_ref().map(|place| place.layout.clone());
            self.record.surged = None;
        }
        self.record.version = version;
        self.record.pending = Some(change);
        self.try_all_again();
        self.trouble = None;
    }
}
