//! The engine: what it holds, how it is driven, and what every rule needs.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use orchestra_model::{
    FlowId, HostName, HostSet, Quantity, ServiceName, Timestamp,
    delivery::Term,
    record::{Op, Record},
    service::{
        BrakeScope, Goal, Instance, Move, PlacementRecord, ServiceRecord, ServiceSpec,
        ServiceVersion, UnitReport, UnwellUnit, VersionRecord, Wanted,
    },
};

use crate::{
    effect::Effect,
    input::{Input, ReplyId},
    placement::Ground,
    rules::COME_BACK,
    tables::{Away, Engaged, KeptVersion, Placed, Presence, Service},
};

/// All services, and what is known of their units.
///
/// Call [`Services::recover`], then [`Services::resume`] once, then [`Services::handle`] for each
/// input. After each call but the first, carry out [`Services::effects`], in order.
#[derive(Clone, Debug, Default)]
pub struct Services {
    pub(crate) now: Timestamp,
    pub(crate) services: BTreeMap<ServiceName, Service>,
    /// Players that are attached.
    pub(crate) present: BTreeMap<HostName, Presence>,
    /// Players that are not attached, as far as somebody may miss them.
    pub(crate) away: BTreeMap<HostName, Away>,
    pub(crate) drained: BTreeSet<HostName>,
    /// The services that have instances on each host.
    pub(crate) by_host: BTreeMap<HostName, BTreeSet<ServiceName>>,
    /// Units that no placement of this store explains, by player.
    pub(crate) strangers: BTreeMap<HostName, Vec<UnitReport>>,
    /// How many numbers of each service are skipped, so that none that the store has forgotten is
    /// issued twice; 0 if it has forgotten none.
    pub(crate) skipped: u64,
    /// The living flows that change services, each with those in order.
    pub(crate) flows: BTreeMap<FlowId, Vec<ServiceName>>,
    /// For each host with units that count as down, what was told last.
    pub(crate) unwell: BTreeMap<HostName, Vec<UnwellUnit>>,
    /// The players of the conductor's files, by what they have to offer to instances.
    pub(crate) ground: Ground,
    /// Placed services that have not all of their instances.
    pub(crate) short: BTreeSet<ServiceName>,
    /// Players that have more room for instances than when they were looked at last.
    pub(crate) roomier: BTreeSet<HostName>,
    /// When players have had their time to come back after the start, and whether they have.
    pub(crate) settled_at: Timestamp,
    pub(crate) has_settled: bool,
    /// What holds replacements back because many players are away.
    pub(crate) brakes: BTreeMap<BrakeScope, Engaged>,
    /// Services whose flow is being submitted, so that no second one is.
    pub(crate) submitting: BTreeSet<ServiceName>,
    /// Services that may wait for others of which a change was asked for with theirs.
    pub(crate) joined: BTreeSet<ServiceName>,
    /// When services are to be looked at although nothing happens, ordered by time.
    pub(crate) wakes: BTreeSet<(Timestamp, ServiceName)>,
    /// What a rebalance found that is being asked for.
    pub(crate) moves_found: Vec<Move>,
    /// The asker who waits until the flows of services were taken, and for each of those whether nothing
    /// of it has changed.
    pub(crate) answering: Option<(ReplyId, Vec<(ServiceName, bool)>)>,
    pub(crate) effects: VecDeque<Effect>,
}

/// A stored service.
#[derive(Clone, Debug)]
pub struct RecoveredService {
    pub record: ServiceRecord,
    /// Its versions, each with its spec decoded.
    pub versions: Vec<(VersionRecord, ServiceSpec)>,
    pub placements: Vec<PlacementRecord>,
}

/// Returns how many numbers of a service are skipped by a store that was recovered in this term.
fn skipped(term: Term) -> u64 {
    const A_TERM: u64 = 1_000_000;
    term.0.saturating_mul(A_TERM)
}

impl Services {
    /// Returns the engine as it was when the store was written.
    ///
    /// `term` is the term of the last recovery from an old copy; 0 if there was none. Numbers of
    /// services that are new since then begin above what forgotten ones can have reached.
    pub fn recover(stored: Vec<RecoveredService>, term: Term) -> Self {
        let mut engine = Self { skipped: skipped(term), ..Self::default() };
        for RecoveredService { record, versions, placements } in stored {
            let mut service = Service::new(record);
            for (record, spec) in versions {
                let kept = KeptVersion { record, spec: Arc::new(spec) };
                service.versions.insert(kept.record.version, kept);
            }
            for record in placements {
                let PlacementRecord { host, instance, told, dead, absent, prepared, left, .. } =
                    record;
                if left {
                    service.uncleaned.insert(host);
                    continue;
                }
                engine.note_host(&host, &service.record.name);
                let noted_absence = absent;
                let placed =
                    Placed { dead, noted_absence, prepared, ..Placed::new(instance, told) };
                service.placements.insert(host, placed);
            }
            engine.services.insert(service.record.name.clone(), service);
        }
        engine.hold_linked();
        engine
    }

    /// Goes on from what the store has. `living` are the living flows about units, with each of their
    /// services once, and the hosts of its tasks that are not final: a service whose flow is not among
    /// them missed its end, and a service that has another one missed its beginning. `drained` are the drained players.
    pub fn resume(
        &mut self,
        now: Timestamp,
        living: &[(FlowId, ServiceName, Vec<HostName>)],
        drained: impl IntoIterator<Item = HostName>,
    ) {
        self.now = now;
        self.settled_at = now.after(COME_BACK);
        self.drained.extend(drained);
        let is_placed = |service: &&Service| service.record.layout.is_some();
        let placed = self.services.values().filter(is_placed);
        self.short = placed.map(|service| service.record.name.clone()).collect();
        self.suppose_leases();
        self.suppose_absences();
        self.resume_buckets();
        self.resume_flows(living);
        self.joined = self.services.keys().cloned().collect();
        let hosts: Vec<HostName> = self.by_host.keys().cloned().collect();
        for host in hosts {
            self.tell_unwell(&host);
        }
        for name in self.services.keys().cloned().collect::<Vec<_>>() {
            let placed = self.services.get(&name).into_iter().flat_map(|it| it.placements.keys());
            for host in placed.cloned().collect::<Vec<_>>() {
                self.recheck_absence(&name, &host);
            }
            self.set_wake(&name);
        }
        self.effects.push_back(Effect::RecountCells);
    }

    /// Takes an input.
    pub fn handle(&mut self, now: Timestamp, input: Input) {
        // Else what is due in this very moment might be taken for done.
        self.advance_to(now);
        match input {
            Input::Asked { reply, by, ask } => self.asked(reply, &by, ask),
            Input::Submitted { services, flow } => self.submitted(&services, &flow),
            Input::TaskEnded { flow, service, recipe, host, state, is_begun, detail } => {
                let detail = detail.as_deref();
                match recipe {
                    None => self.task_ended(flow, &service, &host, state, detail),
                    Some(step) => {
                        let end = (state, is_begun);
                        self.recipe_ended(flow, &service, (&host, step), end, detail);
                    }
                }
            }
            Input::FlowEnded { flow, state } => self.flow_ended(flow, state),
            Input::PlayersLoaded { players } => self.players_loaded(players),
            Input::FleetLoaded { hosts } => self.fleet_loaded(hosts),
            Input::FilesLoaded { files, take_over } => self.files_loaded(files, take_over),
            Input::PlayerAttached { host, units, offers, room } => {
                self.ground.attached(&host, units.is_some().then_some(&offers), room);
                self.roomier.insert(host.clone());
                self.player_attached(&host, units, offers);
                self.settle_if_whole();
                self.recheck_brakes();
            }
            Input::PlayerDetached { host } => self.player_detached(&host),
            Input::UnitTold { host, report } => self.unit_told(&host, report),
            Input::DrainChanged { hosts, drained } => self.drain_changed(&hosts, drained),
            Input::StoreRecovered { term } => self.store_recovered(term),
        }
        self.use_room();
    }

    /// When there is something to do without an input; [`Services::advance_to`] does it.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let wake = self.wakes.first().map(|(at, _)| *at);
        let settles = (!self.has_settled).then_some(self.settled_at);
        settles.into_iter().chain(wake).chain(self.next_brake_end()).min()
    }

    /// Does what is due.
    pub fn advance_to(&mut self, now: Timestamp) {
        self.now = now.max(self.now);
        self.settle_if_due();
        if self.next_brake_end().is_some_and(|at| at <= self.now) {
            self.recheck_brakes();
        }
        while let Some((at, name)) = self.wakes.first().cloned()
            && at <= self.now
        {
            // What is due is done by this, or waits for something else.
            self.recheck_all_successors(&name);
            self.note_absences(&name);
            self.replace_overdue(&name);
            self.move_misfits(&name);
            self.advance(&name);
        }
    }

    /// Sets when a service is to be looked at next. What is due already waits for something else.
    pub(crate) fn set_wake(&mut self, name: &ServiceName) {
        let Some(service) = self.services.get_mut(name) else { return };
        let trial = service.next_trial().into_iter();
        let due = trial.chain(service.next_absence(self.now)).chain(service.ages.next(self.now));
        let due = due.chain(service.next_lease_end(self.now));
        let due = due.chain(service.next_misfit(self.now));
        let wake = due.filter(|at| *at > self.now).min();
        let before = std::mem::replace(&mut service.wake, wake);
        if before == wake {
            return;
        }
        if let Some(at) = before {
            self.wakes.remove(&(at, name.clone()));
        }
        self.wakes.extend(wake.map(|at| (at, name.clone())));
    }

    /// Takes out what is to be done, in order.
    pub fn effects(&mut self) -> impl Iterator<Item = Effect> + '_ {
        self.effects.drain(..)
    }

    /// Returns the cell of each service: its hosts, and how many of them may be without a ready
    /// instance by our own motion.
    pub fn cells(&self) -> impl Iterator<Item = (&ServiceName, &HostSet, Quantity)> {
        let wanted = self.services.values().filter(|service| service.record.goal != Goal::Removed);
        wanted.filter_map(|service| {
            let limit = service.spec()?.budget();
            Some((&service.record.name, &service.record.hosts, limit))
        })
    }

    /// Returns the expression of each service's wanted version, to be resolved when the fleet's
    /// files change.
    pub fn expressions(&self) -> impl Iterator<Item = (&ServiceName, &str)> {
        let wanted = self.services.values().filter(|service| {
            service.record.goal != Goal::Removed && service.linked_to().is_none()
        });
        wanted.filter_map(|service| {
            let spec = service.spec().filter(|spec| spec.place.is_none())?;
            Some((&service.record.name, spec.on.as_str()))
        })
    }

    /// Takes that the store was recovered from an old copy, and so has forgotten numbers that it
    /// issued.
    fn store_recovered(&mut self, term: Term) {
        self.skipped = skipped(term);
        let names: Vec<ServiceName> = self.services.keys().cloned().collect();
        for name in names {
            if let Some(service) = self.services.get_mut(&name) {
                service.record.forget_up_to(self.skipped);
            }
            self.put_service(&name);
        }
    }

    /// Notes that a service has, or had, an instance on a host.
    pub(crate) fn note_host(&mut self, host: &HostName, service: &ServiceName) {
        self.by_host.entry(host.clone()).or_default().insert(service.clone());
    }

    /// Rechecks whether a service is as wanted on a host.
    pub(crate) fn recheck(&mut self, name: &ServiceName, host: &HostName) {
        self.tally(name, host);
        self.recheck_health(name, host);
        self.recheck_absence(name, host);
        self.recheck_age(name, host);
        let is_wrong = self.difference(name, host).is_some();
        let now = self.now;
        let Some(service) = self.services.get_mut(name) else { return };
        match is_wrong {
            true => drop(service.wrong.insert(host.clone())),
            false => drop(service.wrong.remove(host)),
        }
        let is_old = service.is_old(host, now);
        if !is_wrong && !service.to_heal.contains(host) && !is_old {
            service.given_up.remove(host);
        }
    }

    /// Returns what is to be asked of a host's unit now, so that it is as wanted; `None` if nothing
    /// needs to be asked, or nothing can be.
    pub(crate) fn difference(&self, name: &ServiceName, host: &HostName) -> Option<Wanted> {
        let service = self.services.get(name)?;
        let wanted = service.difference(host)?;
        if wanted == Wanted::Running && !self.may_begin_beside(service, host) {
            return None;
        }
        if wanted == Wanted::Gone && !self.may_leave(name, host) {
            return None;
        }
        if wanted == Wanted::Running && self.predecessor(name, host).is_some() {
            return None;
        }
        let is_there = self.present.get(host).is_some_and(|player| player.keeps_units);
        // On a drained player nothing may begin, but something may end.
        let ends = matches!(wanted, Wanted::Stopped | Wanted::Gone);
        let may_be = ends || !self.drained.contains(host);
        // A stranger is neither ended nor replaced without a person.
        (is_there && may_be && !self.is_strange(name, host)).then_some(wanted)
    }

    /// Rechecks whether a service is as wanted, on all hosts.
    pub(crate) fn recheck_all(&mut self, name: &ServiceName) {
        self.part_numbers(name);
        self.tell_all_drift(name);
        let Some(service) = self.services.get(name) else { return };
        let known = service.placements.keys().chain(&service.wrong);
        let hosts: BTreeSet<HostName> = service.record.hosts.iter().chain(known).cloned().collect();
        // What is linked leaves a host with it.
        let linked = self.linked_to(name);
        // Once a flow ends, that is looked at for the hosts of its own.
        let is_changing = service.record.living.is_some() || self.submitting.contains(name);
        for host in hosts {
            if self.present.contains_key(&host) {
                self.place_anew_if_dead(name, &host);
                if !is_changing {
                    self.displace_if_gone(name, &host);
                }
            }
            self.recheck(name, &host);
            linked.iter().for_each(|linked| self.recheck(linked, &host));
            // The version that is wanted now may be one that it has run for a while.
            self.tell_drift(name, &host);
            self.tell_unwell(&host);
        }
        if !self.overdue(name).is_empty() {
            self.fill(name);
        }
    }

    /// Returns the instance that an order about a service has to name on a host: the present one,
    /// which may differ from that of the order's flow. A host without an instance gets a new one,
    /// so that no number comes again. The effects are to be written before the order leaves. `None`
    /// if there is no such service, and for a stranger.
    pub fn instance_to_order(&mut self, name: &ServiceName, host: &HostName) -> Option<Instance> {
        // A stranger is ended under the instance that it reports, which the order names already.
        if self.ends_strangers(name) && self.is_strange(name, host) {
            return None;
        }
        let service = self.services.get_mut(name)?;
        if let Some(placed) = service.placements.get_mut(host) {
            placed.is_ordered = true;
            return Some(placed.instance);
        }
        service.place_all(&HostSet::from_names([host.clone()]));
        if let Some(placed) = service.placements.get_mut(host) {
            placed.is_ordered = true;
        }
        let record = service.placement_record(host)?;
        let instance = record.instance;
        self.note_host(host, name);
        self.put_service(name);
        self.persist(Op::Put(Record::Placement(record)));
        self.recheck(name, host);
        Some(instance)
    }

    /// Returns the services that are known to have an instance on a host.
    pub fn placed_on(&self, host: &HostName) -> impl Iterator<Item = &ServiceName> {
        self.by_host.get(host).into_iter().flatten()
    }

    /// Returns whether something can be asked of a host's units.
    pub(crate) fn is_reachable(&self, host: &HostName) -> bool {
        self.present.get(host).is_some_and(|player| player.keeps_units)
            && !self.drained.contains(host)
    }

    /// Returns whether a host has a stranger of a service.
    pub(crate) fn is_strange(&self, name: &ServiceName, host: &HostName) -> bool {
        let units = self.strangers.get(host).into_iter().flatten();
        units.into_iter().any(|unit| unit.service == *name)
    }

    /// Whether a flow changes a service.
    pub fn is_about(&self, flow: FlowId) -> bool {
        self.flows.contains_key(&flow)
    }

    /// Tells which units of a host count as down, if that has changed.
    pub(crate) fn tell_unwell(&mut self, host: &HostName) {
        let attached = self.present.contains_key(host);
        let services = self.by_host.get(host).into_iter().flatten();
        let unwell: Vec<UnwellUnit> = services
            .filter_map(|name| {
                let unready = self.services.get(name)?.unready(host, attached)?;
                Some(UnwellUnit { service: name.clone(), unready })
            })
            .collect();
        let known = self.unwell.get(host).map_or(&[][..], Vec::as_slice);
        if known == unwell {
            return;
        }
        match unwell.is_empty() {
            true => drop(self.unwell.remove(host)),
            false => drop(self.unwell.insert(host.clone(), unwell.clone())),
        }
        self.effects.push_back(Effect::Unwell(host.clone(), unwell));
    }

    /// Writes a service.
    pub(crate) fn put_service(&mut self, name: &ServiceName) {
        if let Some(service) = self.services.get(name) {
            let record = Record::Service(Box::new(service.record.clone()));
            self.persist(Op::Put(record));
        }
    }

    /// Writes the instance of a service on a host.
    pub(crate) fn put_placement(&mut self, name: &ServiceName, host: &HostName) {
        let record = self.services.get(name).and_then(|service| service.placement_record(host));
        if let Some(record) = record {
            self.persist(Op::Put(Record::Placement(record)));
        }
    }

    pub(crate) fn persist(&mut self, op: Op) {
        self.effects.push_back(Effect::Persist(op));
    }

    /// Returns the kept versions of a service that have an expression of their own.
    pub fn versions(&self, name: &ServiceName) -> Vec<(ServiceVersion, String)> {
        let service = self.services.get(name);
        let versions = service.into_iter().flat_map(|service| service.versions.values());
        let named = versions
            .filter(|kept| kept.spec.upkeep.linked_to.is_none() && kept.spec.place.is_none());
        named.map(|kept| (kept.record.version, kept.spec.on.clone())).collect()
    }
}
