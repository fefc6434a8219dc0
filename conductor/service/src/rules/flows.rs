//! The flows that change services: their beginnings, their tasks, their ends, and what was missed
//! of them.

use orchestra_model::{
    Asker, FlowId, FlowState, HostName, ServiceName, TaskState, Timestamp,
    record::{Op, Record},
    service::{
        Cause, Change, EVENTS, LivingChange, RecipeStep, RunNumber, ServiceEvent, ServiceVersion,
    },
};

use super::together::Brought;
use crate::{
    effect::Released,
    services::Services,
    tables::{Failures, Placed, Service},
};

impl Services {
    /// Links services and flows after a start.
    pub(crate) fn resume_flows(&mut self, living: &[(FlowId, ServiceName, Vec<HostName>)]) {
        let names: Vec<ServiceName> = self.services.keys().cloned().collect();
        for name in names {
            let of_it = living.iter().filter(|(_, service, _)| *service == name);
            let Some(service) = self.services.get_mut(&name) else { continue };
            let lives = |it: &LivingChange| living.iter().any(|(flow, ..)| *flow == it.flow);
            let record = &mut service.record;
            let missed: Vec<LivingChange> = [&mut record.living, &mut record.relief]
                .into_iter()
                .filter_map(|known| known.take_if(|known| !lives(known)))
                .collect();
            if record.living.is_none() {
                record.living = record.relief.take();
            }
            for (flow, _, open) in of_it {
                service.resume_flow(*flow, open);
                self.flows.entry(*flow).or_default().push(name.clone());
            }
            for missed in &missed {
                let note = "it ended while the conductor was down, or a crash cut it short";
                self.note_end(&name, missed, None, Some(note));
            }
            if !missed.is_empty() {
                self.put_service(&name);
            }
        }
    }

    /// Takes the outcome of the submission of a flow of these services.
    pub(crate) fn submitted(&mut self, names: &[ServiceName], flow: &Result<FlowId, String>) {
        for name in names {
            self.submitting.remove(name);
        }
        for name in names {
            match self.services.get(name).is_some_and(|it| it.record.living.is_some()) {
                true => self.relief_submitted(name, flow),
                false => self.change_submitted(name, flow),
            }
        }
        if let Ok(flow) = flow {
            self.flows.insert(*flow, names.to_vec());
        }
        self.answer_asked();
        for name in names {
            // The flow may not mean units that are unhealthy.
            self.relieve(name);
            self.set_wake(name);
        }
    }

    /// Takes, for one of its services, the outcome of the submission of a flow.
    fn change_submitted(&mut self, name: &ServiceName, flow: &Result<FlowId, String>) {
        let now = self.now;
        let Some(service) = self.services.get_mut(name) else { return };
        let pending = service.record.pending.take();
        match flow {
            Ok(flow) => {
                let (cause, by) = pending
                    .map_or((service.begins, Asker::Keeper), |change| (change.cause, change.by));
                let (flow, version) = (*flow, service.record.version);
                let living =
                    LivingChange { flow, cause, by: by.clone(), version, superseded: false };
                service.record.living = Some(living);
                service.failures = Failures::default();
                let note = self.unsurged(name);
                self.note_change(name, cause, by, Some(flow));
                let service = self.services.get_mut(name);
                if let Some(event) = service.and_then(|it| it.record.events.last_mut()) {
                    event.note = note.map(Into::into);
                }
            }
            Err(why) => {
                // These hosts are tried again when somebody asks for something, or the fleet
                // changes.
                service.open.clear();
                let ordered = std::mem::take(&mut service.ordered).into_keys();
                let left: Vec<HostName> = ordered.chain(service.wrong.iter().cloned()).collect();
                service.give_up(left, now);
                service.trouble = Some(why.clone());
                service.was_surged = service.record.surged.take().is_some();
                self.leave_surplus(name);
            }
        }
        self.put_service(name);
    }

    /// Whether a living flow changes a service.
    pub(super) fn is_of(&self, flow: FlowId, name: &ServiceName) -> bool {
        self.flows.get(&flow).is_some_and(|names| names.contains(name))
    }

    pub(crate) fn task_ended(
        &mut self,
        flow: FlowId,
        name: &ServiceName,
        host: &HostName,
        state: TaskState,
        detail: Option<&str>,
    ) {
        if !self.is_of(flow, name) {
            return;
        }
        let is_attached = self.present.contains_key(host);
        let Some(service) = self.services.get_mut(name) else { return };
        let is_relief = service.record.relief.as_ref().is_some_and(|it| it.flow == flow);
        let failures = match is_relief {
            true => {
                service.relief.open.remove(host);
                &mut service.relief.failures
            }
            false => {
                service.open.remove(host);
                &mut service.failures
            }
        };
        failures.count(None, state, is_attached, host, detail);
        let is_answered = matches!(
            state,
            TaskState::Ok | TaskState::Failed | TaskState::TimedOut | TaskState::Refused
        );
        if let Some(placed) = service.placements.get_mut(host).filter(|_| is_answered) {
            placed.is_ordered = false;
        }
        let was_healing = !is_relief && service.healing.remove(host);
        if state == TaskState::Ok {
            self.take_trial(name, host);
        }
        self.recheck_successors(name, self.ordinal_on(name, host));
        if was_healing {
            self.advance(name);
        } else {
            // The flow may be done with a unit that is unhealthy, or health is believed again.
            self.relieve(name);
        }
    }

    /// Takes the end of a flow. A version that became ready everywhere is remembered, and a failed one
    /// is followed by the version before.
    pub(crate) fn flow_ended(&mut self, flow: FlowId, state: FlowState) {
        let Some(names) = self.flows.remove(&flow) else { return };
        let is_relief = |name: &ServiceName| {
            let relief = self.services.get(name).and_then(|it| it.record.relief.as_ref());
            relief.is_some_and(|it| it.flow == flow)
        };
        if let [name] = &names[..]
            && is_relief(name)
        {
            return self.relief_ended(name, state);
        }
        let is_rebalance = |name: &&ServiceName| {
            let living = self.services.get(*name).and_then(|it| it.record.living.as_ref());
            living.is_some_and(|living| living.cause == Cause::Rebalance)
        };
        let moved: Vec<ServiceName> = names.iter().filter(is_rebalance).cloned().collect();
        let (mut failed, mut brought) = (Vec::new(), Vec::new());
        for name in &names {
            let Some((version, has_failed)) = self.change_ended(name, state, names.len()) else {
                continue;
            };
            failed.extend(has_failed.then(|| (name.clone(), version)));
            brought.push((name.clone(), version));
        }
        self.revert_failed(&failed, &brought);
        let mut ended = Vec::new();
        for name in &names {
            ended.push(self.services.get(name).map(Service::leaving_ordinals).unwrap_or_default());
            self.put_service(name);
            self.leave_surplus(name);
            if moved.contains(name) {
                self.stay_where_unmoved(name);
            }
            // Where the flow did not come to a host that is not wanted any more, nothing is there.
            for host in self.left_behind(name) {
                self.displace_if_gone(name, &host);
                // What is linked to it there waits for nothing any more.
                self.recheck_linked(name, &host);
            }
        }
        for (name, ended) in names.iter().zip(ended) {
            self.recheck_successors(name, ended);
            self.move_misfits(name);
            self.advance(name);
            self.follow_links(name);
        }
    }

    /// Takes, for one of its services, the end of a flow of so many services. Hosts that it did not bring
    /// to what is wanted are given up. Returns the version that it was to bring, and whether that version
    /// failed; `None` if another flow takes its place.
    fn change_ended(
        &mut self,
        name: &ServiceName,
        state: FlowState,
        of: usize,
    ) -> Option<(ServiceVersion, bool)> {
        let now = self.now;
        let service = self.services.get_mut(name)?;
        let living = service.record.living.take()?;
        service.was_surged = service.record.surged.take().is_some();
        service.open.clear();
        let failures = std::mem::take(&mut service.failures);
        let ordered = std::mem::take(&mut service.ordered);
        service.healing.clear();
        // What ended because another service failed is brought on.
        let is_cut = of > 1 && state == FlowState::Failed && failures == Failures::default();
        if !living.superseded && !is_cut {
            let is_as_before = |(host, run): &(HostName, RunNumber)| {
                // A unit that is unhealthy in another run was helped, and is helped again.
                let is_unhealed = service.to_heal.contains(host) && service.run_on(host) == *run;
                let is_as_old = service.is_old(host, now) && service.run_on(host) == *run;
                service.wrong.contains(host) || is_unhealed || is_as_old
            };
            let left: Vec<HostName> =
                ordered.into_iter().filter(is_as_before).map(|(host, _)| host).collect();
            service.give_up(left, now);
        }
        let is_whole = state == FlowState::Ok && failures == Failures::default();
        let brings_version = matches!(living.cause, Cause::Update | Cause::Revert);
        // What was away, or not to run, when the version came was brought there by others.
        let is_brought = is_whole && (brings_version || service.is_ready_everywhere());
        if is_brought && service.record.version == living.version {
            service.record.stable = Some(living.version);
        }
        let note = (failures != Failures::default()).then(|| failures.to_string());
        self.note_end(name, &living, Some(state), note.as_deref());
        self.go_on_with_relief(name);
        let is_update = living.cause == Cause::Update && !living.superseded;
        let has_failed =
            state == FlowState::Failed && failures.of_version + failures.of_preparing > 0;
        is_update.then_some((living.version, has_failed))
    }

    /// Returns the hosts where a service is not wanted any more and whose players, which are attached,
    /// tell no unit of it.
    pub(super) fn left_behind(&self, name: &ServiceName) -> Vec<HostName> {
        let Some(service) = self.services.get(name) else { return Vec::new() };
        let is_left = |(host, placed): &(&HostName, &Placed)| {
            !service.is_wanted_on(host)
                && placed.report.is_none()
                && self.present.contains_key(*host)
        };
        service.placements.iter().filter(is_left).map(|(host, _)| host.clone()).collect()
    }

    /// Returns whether a service goes back by itself, should this version fail: it is wanted, and there
    /// is one before it that was ready everywhere.
    pub(super) fn may_revert(&self, (name, version): &Brought) -> bool {
        let Some(service) = self.services.get(name) else { return false };
        let is_wanted = service.record.version == *version && service.record.pending.is_none();
        let asks_for_it = service.spec().is_some_and(|spec| spec.update.auto_revert);
        is_wanted && asks_for_it && service.last_good().is_some()
    }

    /// Goes back to the last version that was ready everywhere, once, together with others.
    pub(super) fn revert_by_itself(
        &mut self,
        name: &ServiceName,
        failed: ServiceVersion,
        with: Vec<ServiceName>,
    ) {
        let Some(service) = self.services.get_mut(name) else { return };
        let Some(good) = service.last_good() else { return };
        let change = Change { with, ..Change::new(Cause::Revert, Asker::Keeper) };
        service.want_version(good, change);
        self.end_suspicion(name, Released::Changed);
        let Some(service) = self.services.get_mut(name) else { return };
        let Some(kept) = service.versions.get_mut(&failed) else { return };
        kept.record.reverted = true;
        let record = kept.record.clone();
        self.persist(Op::Put(Record::Version(record)));
        self.place_as_wanted(name);
        self.recheck_all(name);
    }

    /// Notes that a change was begun by this flow, or asked for and nothing was to be done.
    pub(super) fn note_change(
        &mut self,
        name: &ServiceName,
        cause: Cause,
        by: Asker,
        flow: Option<FlowId>,
    ) {
        let at = self.now;
        let Some(service) = self.services.get_mut(name) else { return };
        let version = service.record.version;
        service.note(ServiceEvent { at, cause, by, version, flow, ended: None, note: None });
    }

    /// Notes that a flow ended, and how if that is known.
    pub(super) fn note_end(
        &mut self,
        name: &ServiceName,
        living: &LivingChange,
        ended: Option<FlowState>,
        note: Option<&str>,
    ) {
        let at = self.now;
        let Some(service) = self.services.get_mut(name) else { return };
        let LivingChange { flow, cause, by, version, .. } = living.clone();
        let (flow, note) = (Some(flow), note.map(Into::into));
        service.note(ServiceEvent { at, cause, by, version, flow, ended, note });
    }
}

impl Failures {
    /// Counts a task that did not end ok, unless it was taken back: of a unit, or of a recipe.
    pub(super) fn count(
        &mut self,
        recipe: Option<RecipeStep>,
        state: TaskState,
        is_attached: bool,
        host: &HostName,
        detail: Option<&str>,
    ) {
        let has_failed = matches!(state, TaskState::Failed | TaskState::TimedOut);
        let count = match (recipe, state) {
            (_, TaskState::Ok | TaskState::Cancelled | TaskState::Skipped) => return,
            (None, _) if has_failed && is_attached => {
                self.of_version += 1;
                return;
            }
            (Some(RecipeStep::Prepare), _) if has_failed && is_attached => &mut self.of_preparing,
            (Some(RecipeStep::Cleanup), _) if has_failed => &mut self.of_cleaning,
            _ => &mut self.others,
        };
        *count += 1;
        self.first.get_or_insert_with(|| format!("{host}: {}", detail.unwrap_or(state.as_str())));
    }
}

impl Service {
    /// Takes a flow that lives after a start of the conductor, with which hosts it is not done. One that
    /// the service does not know is taken for a repair.
    fn resume_flow(&mut self, flow: FlowId, open: &[HostName]) {
        let (cause, version) = (Cause::Repair, self.record.version);
        let found = LivingChange { flow, cause, by: Asker::Keeper, version, superseded: false };
        let living = self.record.living.get_or_insert(found);
        let open = open.iter().cloned().collect();
        match living.flow == flow {
            true => self.open = open,
            false => self.relief.open = open,
        }
    }

    /// Whether its instances are ready on all of its hosts, in the version that is wanted.
    fn is_ready_everywhere(&self) -> bool {
        let is_all = !self.record.hosts.is_empty() && self.healthy.len() == self.record.hosts.len();
        self.is_to_run() && self.wrong.is_empty() && is_all
    }

    /// Leaves hosts as they are until their players attach anew, or somebody asks for something.
    pub(super) fn give_up(&mut self, hosts: Vec<HostName>, now: Timestamp) {
        if !hosts.is_empty() {
            self.given_up_at = now;
        }
        self.given_up.extend(hosts);
    }

    pub(super) fn note(&mut self, event: ServiceEvent) {
        let events = &mut self.record.events;
        events.push(event);
        let surplus = events.len().saturating_sub(EVENTS);
        events.drain(..surplus);
    }
}

impl std::fmt::Display for Failures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let counts = [
            (self.of_version, "did not become ready"),
            (self.of_preparing, "could not be prepared"),
            (self.of_cleaning, "could not be cleaned up"),
            (self.others, "away, refused or lost"),
        ];
        let counted = counts.iter().filter(|(count, _)| *count > 0);
        for (nth, (count, what)) in counted.enumerate() {
            let comma = if nth > 0 { ", " } else { "" };
            write!(f, "{comma}{count} {what}")?;
        }
        self.first.as_ref().map_or(Ok(()), |first| write!(f, ": {first}"))
    }
}
