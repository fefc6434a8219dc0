//! Instances of placed services whose players are away.
//!
//! An instance whose player was away for as long as its version says is *replaced*: it is wanted on
//! another player, with its number and a new placement, and nobody waits for the one that is away.
//! What that one still runs is ended when it is back, once the other is ready. An instance that is
//! back and ready before the other one stays where it is, so that nothing is ended that is well
//! while nothing else is.
//!
//! How long a player is away is counted while a conductor is there, and noted on disk now and then,
//! so that a conductor that is started again and again comes to replace something at last. Nothing
//! is replaced before players had their time to come back after a start.

use orchestra_model::{
    Asker, HostName, HostSet, Millis, ServiceName, Timestamp,
    service::{
        Cause, Goal, InstanceAbsence, Replaceable, Replacing, ReplacingWait, ServiceEvent,
        UnitState,
    },
};

use crate::{
    effect::Effect,
    services::Services,
    tables::{Away, Service},
};

/// How often an absence is noted on disk before the instance is replaced.
const NOTES: u64 = 8;
/// The least time between two notes of an absence.
const NOTE_EVERY: Millis = Millis::seconds(10);

impl Services {
    /// Takes it that every player which is to be waited for is away from now on, for as long as was
    /// noted before.
    pub(crate) fn suppose_absences(&mut self) {
        for host in self.by_host.keys() {
            let services = self.by_host.get(host).into_iter().flatten();
            let noted = services.filter_map(|name| {
                Some(self.services.get(name)?.placements.get(host)?.noted_absence)
            });
            let away = Away::lasting(self.now, noted.max().unwrap_or_default());
            self.away.insert(host.clone(), away);
        }
    }

    /// Takes that a player is away from now on.
    pub(crate) fn begin_absence(&mut self, host: &HostName) {
        self.away.insert(host.clone(), Away::lasting(self.now, Millis(0)));
    }

    /// Takes that a player is back that may have an instance of a service. What was noted of its
    /// absence is erased. Where the instance was replaced, it either stays after all, or is to be
    /// ended.
    pub(crate) fn end_absence(&mut self, name: &ServiceName, host: &HostName) {
        let placed = self.services.get_mut(name).and_then(|it| it.placements.get_mut(host));
        let noted = placed.map(|placed| std::mem::take(&mut placed.noted_absence));
        let was_noted = noted.is_some_and(|noted| noted > Millis(0));
        if was_noted {
            self.put_placement(name, host);
        }
        self.stay_if_ready(name, host);
        let now = self.now;
        let Some(service) = self.services.get_mut(name).filter(|_| was_noted) else { return };
        let has_unit = service.placements.get(host).is_some_and(|placed| placed.report.is_some());
        let next = service.next_host_of(host).filter(|_| has_unit).cloned();
        if let Some(next) = next {
            let note = format!("{host} is back: its instance was replaced on {next}");
            service.note_repair(now, format!("{note}, and is ended here once it is ready there"));
            self.put_service(name);
        }
    }

    /// Rechecks whether a service misses the player of one of its instances.
    pub(crate) fn recheck_absence(&mut self, name: &ServiceName, host: &HostName) {
        let away = self.missed(name, host);
        let now = self.now;
        let Some(service) = self.services.get_mut(name) else { return };
        service.absent.set(host, away);
        if service.next_note.is_none_or(|at| at < now) {
            service.plan_note(now);
        }
    }

    /// Returns since when a service misses the player of an instance that it is wanted on.
    pub(crate) fn missed(&self, name: &ServiceName, host: &HostName) -> Option<Away> {
        let service = self.services.get(name)?;
        let counts = service.record.layout.is_some()
            && service.goal() == Goal::Running
            && service.is_wanted_on(host)
            && service.placements.contains_key(host);
        self.away.get(host).copied().filter(|_| counts)
    }

    /// Notes on disk for how long players are away, if it is time.
    pub(crate) fn note_absences(&mut self, name: &ServiceName) {
        let now = self.now;
        let Some(service) = self.services.get_mut(name) else { return };
        if service.next_note.is_none_or(|at| at > now) {
            return;
        }
        let after = service.replace_after().unwrap_or_default();
        let absent: Vec<(Away, HostName)> =
            service.absent.under(after, now).map(|(away, host)| (away, host.clone())).collect();
        for (away, host) in &absent {
            if let Some(placed) = service.placements.get_mut(host) {
                placed.noted_absence = away.lasted(now);
            }
        }
        service.next_note = None;
        service.plan_note(now);
        for (_, host) in absent {
            self.put_placement(name, &host);
        }
    }

    /// Returns the hosts of a service whose instances are to be replaced now, those first whose
    /// players are away for longest.
    pub(crate) fn overdue(&self, name: &ServiceName) -> Vec<HostName> {
        let Some(service) = self.services.get(name) else { return Vec::new() };
        let Some(after) = service.replace_after() else { return Vec::new() };
        if service.record.paused_by.is_some() || !self.is_settled() || self.is_isolated() {
            return Vec::new();
        }
        service.absent.over(after, self.now).cloned().collect()
    }

    /// Replaces instances whose players were away for long enough, if there are any.
    pub(crate) fn replace_overdue(&mut self, name: &ServiceName) {
        if !self.overdue(name).is_empty() {
            self.fill_and_follow(name);
        }
    }

    /// Notes that instances were replaced, each on the first host by one on the second, and has the
    /// keeper's living flow make room for the one that brings the others up.
    pub(super) fn note_replaced(&mut self, name: &ServiceName, replaced: &[(HostName, HostName)]) {
        if replaced.is_empty() {
            return;
        }
        let now = self.now;
        for (from, _) in replaced {
            let lasted = self.away.get(from).map(|away| away.lasted(now)).unwrap_or_default();
            let Some(service) = self.services.get_mut(name) else { return };
            if let Some(placed) = service.placements.get_mut(from) {
                // At least a moment, so that it is known of whoever comes back.
                placed.noted_absence = lasted.max(Millis(1));
            }
            self.put_placement(name, from);
        }
        let from = HostSet::from_names(replaced.iter().map(|(from, _)| from.clone()));
        let to = HostSet::from_names(replaced.iter().map(|(_, to)| to.clone()));
        let Some(service) = self.services.get_mut(name) else { return };
        let after = service.replace_after().unwrap_or_default();
        let instances = if replaced.len() == 1 { "its instance" } else { "their instances" };
        let absent = format!("{} absent for {after}", from.counted());
        service.note_repair(now, format!("{absent}: {instances} replaced on {}", to.counted()));
        self.supersede_repair(name);
    }

    /// Ends the living flow of a service if it is one by which the keeper looks after it: the next
    /// one does what is left of it, and more.
    fn supersede_repair(&mut self, name: &ServiceName) {
        let living = self.services.get(name).and_then(|service| service.record.living.as_ref());
        let is_repair = living.is_some_and(|living| {
            let causes = [Cause::Repair, Cause::Unhealthy, Cause::Age, Cause::Cleanup];
            causes.contains(&living.cause) && living.by == Asker::Keeper && !living.superseded
        });
        if is_repair {
            self.supersede(name, Asker::Keeper);
        }
    }

    /// Leaves an instance where it is although it is wanted on another player, if it is ready and the
    /// other one is not: because its player was away, or was drained, and that is over.
    pub(crate) fn stay_if_ready(&mut self, name: &ServiceName, host: &HostName) {
        let Some(next) = self.unready_successor(name, host) else { return };
        let now = self.now;
        let Some(service) = self.services.get_mut(name) else { return };
        let (old, new) = (HostSet::from_names([host.clone()]), HostSet::from_names([next.clone()]));
        service.record.hosts = service.record.hosts.minus(&new).union(&old);
        for host in [host, &next] {
            service.given_up.remove(host);
            service.ordered.remove(host);
        }
        let note = format!("{host} is there and ready, and {next} is not: it stays on {host}");
        service.note_repair(now, note);
        self.supersede_repair(name);
        self.put_service(name);
        self.effects.push_back(Effect::RecountCells);
        for host in [host, &next] {
            self.recheck(name, host);
            self.tell_unwell(host);
        }
        // It may have been on its way from a third one.
        self.recheck_leaving(name, host);
        self.follow_links(name);
    }

    /// Returns the player on which the instance of this host is wanted instead, if this one is ready
    /// and may stay, and that one is not ready.
    fn unready_successor(&self, name: &ServiceName, host: &HostName) -> Option<HostName> {
        let service = self.services.get(name)?;
        let record = &service.record;
        let living = record.living.as_ref().filter(|living| !living.superseded);
        let causes = [living.map(|it| it.cause), record.pending.as_ref().map(|it| it.cause)];
        // Its flow brings the next one up, and finds out.
        if causes.contains(&Some(Cause::Rebalance)) {
            return None;
        }
        let next = service.next_host_of(host)?;
        let placed = service.placements.get(host)?;
        let report = placed.report.as_ref()?;
        let is_as_wanted = report.state == UnitState::Ready
            && report.version == service.record.version
            && report.instance == placed.instance
            && !placed.dead;
        let may_stay = service.at_most_one().is_none()
            && self.is_reachable(host)
            && !self.is_strange(name, host)
            && self.ground.may_stay(host, &self.wish(name)?);
        let is_next_ready = service.is_ready_on(next) && self.present.contains_key(next);
        (is_as_wanted && may_stay && !is_next_ready).then(|| next.clone())
    }

    /// Returns what is told of the absence of an instance's player.
    pub(crate) fn absence(&self, name: &ServiceName, host: &HostName) -> Option<InstanceAbsence> {
        let away = self.away.get(host)?;
        let replacing = self.replacing(name, host);
        Some(InstanceAbsence { since: away.reaches(Millis(0)), replacing })
    }

    /// Returns what becomes of an instance whose player is away.
    pub(crate) fn replacing(&self, name: &ServiceName, host: &HostName) -> Option<Replacing> {
        let service = self.services.get(name)?;
        if let Some(next) = service.next_host_of(host) {
            return Some(Replacing::By(next.clone()));
        }
        let away = service.absent.get(host)?;
        let Some(after) = service.replace_after() else { return Some(Replacing::Never) };
        // A lease may last for longer.
        let replaceable = self.replaceable(name, host);
        let at = match replaceable {
            Replaceable::At(lease) => away.reaches(after).max(lease),
            Replaceable::Now | Replaceable::OnProof => away.reaches(after),
        };
        Some(match () {
            () if at > self.now => Replacing::At(at.max(self.settled_at)),
            () if !self.is_settled() => Replacing::Waits(ReplacingWait::Starting),
            () if service.record.paused_by.is_some() => Replacing::Waits(ReplacingWait::Paused),
            () if self.is_isolated() => Replacing::Waits(ReplacingWait::FleetDisrupted),
            () if replaceable == Replaceable::OnProof => Replacing::Waits(ReplacingWait::Proof),
            () => {
                let held_back = self.held_back(name, host).map(|(why, _)| why);
                Replacing::Waits(held_back.unwrap_or(ReplacingWait::Room))
            }
        })
    }
}

impl Service {
    /// After which absence of its player an instance is replaced; `None`: after none.
    pub(crate) fn replace_after(&self) -> Option<Millis> {
        self.spec().filter(|spec| spec.place.is_some()).and_then(|spec| spec.absent.replace_after)
    }

    /// Returns when the next instance is to be replaced, or an absence to be noted.
    pub(crate) fn next_absence(&self, now: Timestamp) -> Option<Timestamp> {
        let after = self.replace_after()?;
        let next = self.absent.under(after, now).next().map(|(away, _)| away.reaches(after));
        let due = next.into_iter().chain(self.next_note).chain(self.retry_at);
        due.filter(|at| *at > now).min()
    }

    /// Decides when absences are noted next: when some are long enough to be worth it.
    fn plan_note(&mut self, now: Timestamp) {
        let Some(after) = self.replace_after() else { return };
        let is_any = self.absent.under(after, now).next().is_some();
        let step = Millis(after.0 / NOTES).max(NOTE_EVERY);
        self.next_note = is_any.then(|| now.after(step));
    }

    /// Notes what the keeper decided about instances.
    pub(super) fn note_repair(&mut self, at: Timestamp, note: String) {
        self.note(ServiceEvent {
            at,
            cause: Cause::Repair,
            by: Asker::Keeper,
            version: self.record.version,
            flow: None,
            ended: None,
            note: Some(note.into()),
        });
    }
}
