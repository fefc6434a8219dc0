//! The files of `services.d`: what a file says is applied if the file has changed.
//!
//! So a file does not undo what somebody did meanwhile: a version that was reverted stays reverted,
//! and a service that was stopped stays stopped, until the file changes. A service that an audience
//! applied, or took over, is taken from it only if an operator allows it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use orchestra_model::{
    Asker, HostSet, Quantity, ServiceName,
    service::{FileChange, FileOutcome, FileStanding, Goal, ServiceFile},
};

use super::asked::MOST;
use crate::{
    effect::Effect,
    input::{FileConflict, FiledService, Leaving, Rejection},
    services::Services,
    tables::Service,
};

/// What to do with a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// The file has a new version, or takes over the service.
    Apply,
    /// The file has not changed.
    Keep,
    /// The file has not changed since an audience took the service over.
    PassOver,
    /// An audience applied the service.
    Refuse,
}

impl Services {
    /// Returns everything that speaks against these files. If it is empty, they can be loaded.
    pub fn check_files(&self, files: &[FiledService], take_over: bool) -> Vec<FileConflict> {
        let mut conflicts = Vec::new();
        let mut count = self.services.len();
        for filed in files {
            let name = &filed.spec.name;
            let Some(service) = self.services.get(name) else {
                count += 1;
                continue;
            };
            if service.verdict(filed, take_over) == Verdict::Refuse {
                let (file, by) = (filed.file.clone(), service.record.owner.clone());
                conflicts.push(FileConflict::Owned(file, name.clone(), by));
            }
        }
        conflicts.extend(self.bad_links(files, take_over));
        if count > MOST {
            conflicts.push(FileConflict::TooMany(MOST));
        }
        conflicts
    }

    /// Returns the files whose services cannot be linked as they say, considering all files.
    fn bad_links(&self, files: &[FiledService], take_over: bool) -> Vec<FileConflict> {
        let there = self.services.values().filter(|it| it.record.goal != Goal::Removed);
        let mut links: BTreeMap<&ServiceName, Option<&ServiceName>> =
            there.map(|service| (&service.record.name, service.linked_to())).collect();
        let is_applied = |filed: &&FiledService| {
            let known = self.services.get(&filed.spec.name);
            known.is_none_or(|known| known.verdict(filed, take_over) == Verdict::Apply)
        };
        let applied: Vec<&FiledService> = files.iter().filter(is_applied).collect();
        for filed in &applied {
            links.insert(&filed.spec.name, filed.spec.upkeep.linked_to.as_ref());
        }
        let conflict = |filed: &&FiledService| {
            let name = &filed.spec.name;
            let other = filed.spec.upkeep.linked_to.as_ref()?;
            let why = match links.get(other) {
                None => Rejection::UnknownService(other.clone()),
                Some(Some(_)) => Rejection::LinkOfLink(name.clone(), other.clone()),
                Some(None) if links.values().any(|of| *of == Some(name)) => {
                    Rejection::LinkOfLink(name.clone(), other.clone())
                }
                Some(None) => return None,
            };
            Some(FileConflict::Refused(Arc::clone(&filed.file), Box::new(why)))
        };
        applied.iter().filter_map(conflict).collect()
    }

    /// Returns all services that belong to files, if none of these files exists any more: the
    /// directory may be empty because nothing is mounted there.
    pub fn check_vanished(&self, files: &[FiledService]) -> Vec<(ServiceName, Arc<str>)> {
        if !files.is_empty() {
            return Vec::new();
        }
        let of_file = |service: &Service| {
            let file = service.record.file.as_ref()?;
            let is_there = file.standing == FileStanding::InForce;
            is_there.then(|| (service.record.name.clone(), Arc::clone(&file.name)))
        };
        self.services.values().filter_map(of_file).collect()
    }

    /// Returns services that would lose more of their hosts than `most`, by their expressions and
    /// by new content of files.
    pub fn check_leaving(
        &self,
        hosts: &BTreeMap<ServiceName, Result<HostSet, String>>,
        files: &[FiledService],
        take_over: bool,
        most: Quantity,
    ) -> Vec<Leaving> {
        let resolved = |name: &ServiceName| hosts.get(name).and_then(|hosts| hosts.as_ref().ok());
        let mut after: BTreeMap<&ServiceName, &HostSet> =
            hosts.keys().filter_map(|name| Some((name, resolved(name)?))).collect();
        // A linked service is where the other one is.
        let mut fewer = Vec::new();
        for filed in files.iter().filter(|filed| filed.spec.upkeep.linked_to.is_none()) {
            let service = self.services.get(&filed.spec.name);
            let verdict = service.map(|service| service.verdict(filed, take_over));
            if verdict != Some(Verdict::Apply) {
                continue;
            }
            match &filed.spec.place {
                None => drop(after.insert(&filed.spec.name, &filed.hosts)),
                Some(_) => {
                    after.remove(&filed.spec.name);
                    fewer.push((&filed.spec.name, self.hosts_to_leave(&filed.spec)));
                }
            }
        }
        let left = after.into_iter().filter_map(|(name, hosts)| {
            Some((name, self.services.get(name)?.record.hosts.minus(hosts)))
        });
        let all = left.chain(fewer);
        all.filter_map(|(name, leaving)| self.leaving(name, leaving, most)).collect()
    }

    fn leaving(&self, name: &ServiceName, leaving: HostSet, most: Quantity) -> Option<Leaving> {
        let service = self.services.get(name).filter(|it| it.record.goal != Goal::Removed)?;
        let of = service.record.hosts.len();
        let most = most.window_of(u32::try_from(of).unwrap_or(u32::MAX));
        let is_too_many = leaving.len() > usize::try_from(most).unwrap_or(usize::MAX);
        is_too_many.then(|| Leaving { service: name.clone(), hosts: leaving, of })
    }

    pub(crate) fn files_loaded(&mut self, files: Vec<FiledService>, take_over: bool) {
        let mut outcomes = Vec::new();
        let mut changed = BTreeSet::new();
        let there: BTreeSet<ServiceName> =
            files.iter().map(|filed| filed.spec.name.clone()).collect();
        // Services to which others are linked come first.
        let (linked, others): (Vec<_>, Vec<_>) =
            files.into_iter().partition(|filed| filed.spec.upkeep.linked_to.is_some());
        for filed in others.into_iter().chain(linked) {
            outcomes.extend(self.file_loaded(filed, take_over, &mut changed));
        }
        self.follow_files(&changed);
        let names: Vec<ServiceName> = self.services.keys().cloned().collect();
        for name in names.into_iter().filter(|name| !there.contains(name)) {
            outcomes.extend(self.file_missed(&name));
        }
        self.effects.push_back(Effect::FilesTaken(outcomes));
    }

    /// Follows services whose files said something new, and the services that are linked to them. Each
    /// is followed once, because a reload may change both and one flow at a time changes a service.
    fn follow_files(&mut self, changed: &BTreeSet<ServiceName>) {
        let mut concerned = changed.clone();
        for name in changed {
            self.follow_link(name);
            self.fill(name);
            for linked in self.linked_to(name) {
                if self.follow_link(&linked) {
                    concerned.insert(linked);
                }
            }
        }
        for name in concerned {
            self.recheck_all(&name);
            self.advance(&name);
        }
    }

    /// Takes in what a file says, if that is new. Adds its service to `changed` then.
    fn file_loaded(
        &mut self,
        filed: FiledService,
        take_over: bool,
        changed: &mut BTreeSet<ServiceName>,
    ) -> Option<FileOutcome> {
        let name = filed.spec.name.clone();
        let known = self.services.get(&name);
        let verdict = known.map_or(Verdict::Apply, |known| known.verdict(&filed, take_over));
        let standing = match verdict {
            Verdict::Apply | Verdict::Keep => FileStanding::InForce,
            Verdict::PassOver => FileStanding::TakenOver,
            // Such files are not loaded.
            Verdict::Refuse => return None,
        };
        let FiledService { file, spec, spec_bytes, content, hosts } = filed;
        // Its link was checked before.
        let hosts = self.place_of(&spec, hosts).ok()?;
        let is_new =
            verdict == Verdict::Apply && self.apply_version(&Asker::Files, spec, spec_bytes, hosts);
        let service = self.services.get_mut(&name)?;
        let now = ServiceFile { name: file.clone(), content, standing };
        let before = service.record.file.replace(now);
        if verdict == Verdict::Apply {
            service.record.owner = Asker::Files;
        }
        let owned = before.as_ref().is_some_and(ServiceFile::owns);
        if before != service.record.file || is_new {
            self.put_service(&name);
        }
        if is_new {
            changed.insert(name.clone());
        }
        let change = match verdict {
            Verdict::Apply if is_new => FileChange::Applied,
            Verdict::Apply if !owned => FileChange::Owns,
            _ => return None,
        };
        self.outcome(&name, file, change)
    }

    /// Notes that the file of a service is missing, if it had one. What the file said stays in
    /// force.
    fn file_missed(&mut self, name: &ServiceName) -> Option<FileOutcome> {
        let service = self.services.get_mut(name)?;
        let file = service.record.file.as_mut()?;
        let path = file.name.clone();
        match file.standing {
            FileStanding::InForce => file.standing = FileStanding::Gone,
            FileStanding::TakenOver => service.record.file = None,
            FileStanding::Gone => return None,
        }
        let is_told = service.record.file.is_some();
        self.put_service(name);
        if is_told { self.outcome(name, path, FileChange::Gone) } else { None }
    }

    fn outcome(
        &self,
        name: &ServiceName,
        file: Arc<str>,
        change: FileChange,
    ) -> Option<FileOutcome> {
        let version = self.services.get(name)?.record.version;
        Some(FileOutcome { file, service: name.clone(), version, change })
    }
}

impl Service {
    /// Returns what to do with a file.
    fn verdict(&self, filed: &FiledService, take_over: bool) -> Verdict {
        let known = self.record.file.as_ref();
        let is_removed = self.record.goal == Goal::Removed;
        let says_the_same = known.is_some_and(|known| known.content == filed.content);
        match known.map(ServiceFile::owns) {
            Some(true) if says_the_same => Verdict::Keep,
            Some(true) => Verdict::Apply,
            _ if is_removed || take_over => Verdict::Apply,
            _ if says_the_same => Verdict::PassOver,
            _ => Verdict::Refuse,
        }
    }
}
