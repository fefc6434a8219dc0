//! What holds replacements back: brakes of the fleet and of its zones, and buckets.
//!
//! When many players are away together, rather what connects them is at fault than each of them. To
//! replace all that is on them would put everything on the few that are left, and end it again when
//! the others are back. So the instances of a zone of which many players are away are replaced one
//! by one, and none is while many of the whole fleet are. All else goes on: first placements, moves
//! and repairs.
//!
//! Players that come back together do so within a while. So a brake ends only when few have been
//! away for that long, or nobody is: else the last ones would be replaced as they arrive.
//!
//! The brake of a zone holds for half an hour: by then the zone is gone for good, and what was on it goes
//! elsewhere as usual. That of the fleet holds until players are back or a person releases it, because
//! there is no other side to go to.
//!
//! Who was never there is not away: a players file may name hosts that are still to be installed.

use orchestra_model::{
    Asker, HostName, Millis, ServiceName, Timestamp,
    names::LabelValue,
    record::{Op, Record},
    service::{AbsenceBrake, BrakeScope, Brakes, FleetZones, ReplacingWait, ZoneStatus},
};

use super::COME_BACK;
use crate::{
    effect::Effect,
    input::Rejection,
    placement::Census,
    services::Services,
    tables::{Bucket, Engaged},
};

/// How many instances of a service may be replaced at once, before they follow each other.
const BURST: u64 = 3;
/// How many of a zone of which many players are away.
const BURST_OF_ZONE: u64 = 1;
/// For how long the brake of a zone holds. By then the zone is gone for good, or whoever knows better has
/// had time to say so.
const ZONE_PATIENCE: Millis = Millis::minutes(30);

impl Services {
    /// Takes the brakes that were engaged before a start, and the players that were ever there. Comes
    /// before [`Services::resume`].
    pub fn remember(&mut self, brakes: Brakes, met: impl IntoIterator<Item = HostName>) {
        let now = self.now;
        let engaged = brakes.0.into_iter().map(|(scope, it)| (scope, Engaged::new(it, now)));
        self.brakes = engaged.collect();
        self.ground.meet(met);
    }

    /// Has the bucket of each service empty from now on: while there was no conductor none did. Those
    /// of zones are empty by the time that something may be replaced.
    pub(crate) fn resume_buckets(&mut self) {
        // Time without a conductor does not count.
        let now = self.now;
        self.brakes.values_mut().for_each(|engaged| engaged.since = now);
        for service in self.services.values_mut() {
            service.bucket = Bucket::holding(service.record.spent, self.now);
        }
    }

    /// Engages the brakes of zones of which many players are away, and ends those of others.
    pub(crate) fn recheck_brakes(&mut self) {
        if !self.is_settled() {
            return;
        }
        let zones = self.ground.census().map(|(zone, it)| (BrakeScope::Zone(zone.cloned()), it));
        let mut counts: Vec<(BrakeScope, Census)> = zones.collect();
        let all = counts.iter().fold(Census::default(), |all, (_, zone)| all.plus(*zone));
        counts.push((BrakeScope::Fleet, all));
        let is_counted = |scope: &&BrakeScope| counts.iter().all(|(counted, _)| counted != *scope);
        let gone: Vec<BrakeScope> = self.brakes.keys().filter(is_counted).cloned().collect();
        counts.extend(gone.into_iter().map(|scope| (scope, Census::default())));
        let mut has_ended = false;
        let mut has_changed = false;
        for (scope, Census { met, attached, .. }) in counts {
            let absent = met.saturating_sub(attached);
            let now = self.now;
            match (self.brakes.get_mut(&scope), AbsenceBrake::engages(absent, met)) {
                (None, true) => self.engage(scope, absent, met),
                (Some(engaged), false) if engaged.is_over(now, absent) => {
                    let was_engaged = engaged.brake.is_engaged();
                    self.brakes.remove(&scope);
                    // One that was released holds nothing back any more.
                    if was_engaged {
                        has_ended = true;
                        self.effects.push_back(Effect::Unbraked(scope, None));
                    }
                }
                (Some(engaged), is_due) => {
                    let since = engaged.clear_since.unwrap_or(now);
                    engaged.clear_since = (!is_due).then_some(since);
                    if engaged.lapses(&scope).is_none_or(|at| at > now) {
                        continue;
                    }
                    engaged.brake.released_by = Some(Asker::Keeper);
                    has_ended = true;
                    self.effects.push_back(Effect::Unbraked(scope, Some(Asker::Keeper)));
                }
                (None, false) => continue,
            }
            has_changed = true;
        }
        if has_changed {
            self.put_brakes();
        }
        if has_ended {
            self.replace_all_overdue();
        }
    }

    /// Returns when a brake ends, if no more players go away.
    pub(crate) fn next_brake_end(&self) -> Option<Timestamp> {
        let ends = self.brakes.values().filter_map(|it| Some(it.clear_since?.after(COME_BACK)));
        let lapse = self.brakes.iter().filter_map(|(scope, it)| it.lapses(scope));
        ends.chain(lapse).filter(|_| self.is_settled()).min()
    }

    fn engage(&mut self, scope: BrakeScope, absent: u32, of: u32) {
        let brake = AbsenceBrake { at: self.now, absent, of, released_by: None };
        self.effects.push_back(Effect::Braked(scope.clone(), brake.clone()));
        self.brakes.insert(scope, Engaged::new(brake, self.now));
    }

    /// Releases a brake for a person. It is engaged again only after so many players were back that it
    /// would not have been.
    pub fn release_brake(
        &mut self,
        now: Timestamp,
        by: &Asker,
        scope: &BrakeScope,
    ) -> Result<(), Rejection> {
        self.now = now.max(self.now);
        let engaged = self.brakes.get_mut(scope).filter(|it| it.brake.is_engaged());
        let Some(engaged) = engaged else {
            return Err(Rejection::NotBraked(scope.clone()));
        };
        engaged.brake.released_by = Some(by.clone());
        self.put_brakes();
        self.effects.push_back(Effect::Unbraked(scope.clone(), Some(by.clone())));
        self.replace_all_overdue();
        Ok(())
    }

    fn put_brakes(&mut self) {
        let brakes = self.brakes.iter();
        let brakes = brakes.map(|(scope, engaged)| (scope.clone(), engaged.brake.clone()));
        let brakes = Brakes(brakes.collect());
        self.persist(Op::Put(Record::Brakes(brakes)));
    }

    /// Replaces what was held back by a brake that is engaged no more.
    fn replace_all_overdue(&mut self) {
        for name in self.services.keys().cloned().collect::<Vec<_>>() {
            self.replace_overdue(&name);
            self.set_wake(&name);
        }
    }

    /// Whether nothing is replaced, because many of all players are away.
    pub(crate) fn is_isolated(&self) -> bool {
        self.brakes.get(&BrakeScope::Fleet).is_some_and(|engaged| engaged.brake.is_engaged())
    }

    fn zone_of(&self, host: &HostName) -> BrakeScope {
        let zone = self.ground.facts(host).and_then(|facts| facts.zone());
        BrakeScope::Zone(zone.cloned())
    }

    /// Returns what holds back the replacement of an instance while some may be replaced, and until
    /// when.
    pub(crate) fn held_back(
        &self,
        name: &ServiceName,
        host: &HostName,
    ) -> Option<(ReplacingWait, Timestamp)> {
        let now = self.now;
        let zone = self.brakes.get(&self.zone_of(host)).filter(|it| it.brake.is_engaged());
        if let Some(zone) = zone.filter(|it| !it.bucket.has_room(now, BURST_OF_ZONE)) {
            let next = zone.bucket.next(now, BURST_OF_ZONE);
            return Some((ReplacingWait::ZoneDisrupted, next));
        }
        let bucket = self.services.get(name)?.bucket;
        (!bucket.has_room(now, BURST)).then(|| (ReplacingWait::Rate, bucket.next(now, BURST)))
    }

    /// Notes that an instance is replaced: the next ones may have to wait for that.
    pub(super) fn count_replacement(&mut self, name: &ServiceName, host: &HostName) {
        let now = self.now;
        if let Some(service) = self.services.get_mut(name) {
            service.record.spent = service.bucket.take(now);
        }
        let zone = self.zone_of(host);
        let zone = self.brakes.get_mut(&zone).filter(|it| it.brake.is_engaged());
        if let Some(zone) = zone {
            zone.bucket.take(now);
        }
    }

    /// Returns the fleet by zones, with its brakes.
    pub fn zones(&self) -> FleetZones {
        let brake = |scope: &BrakeScope| self.brakes.get(scope).map(|it| it.brake.clone());
        let zone = |(zone, census): (Option<&LabelValue>, Census)| ZoneStatus {
            zone: zone.cloned(),
            players: census.players,
            attached: census.attached,
            absent: census.met.saturating_sub(census.attached),
            brake: brake(&BrakeScope::Zone(zone.cloned())),
        };
        FleetZones {
            zones: self.ground.census().map(zone).collect(),
            brake: brake(&BrakeScope::Fleet),
        }
    }

    /// Checks that brakes are engaged where they are to be.
    pub(crate) fn audit_brakes(&self) -> Result<(), String> {
        if !self.is_settled() {
            return Ok(());
        }
        let mut all = Census::default();
        let zones = self.ground.census().map(|(zone, it)| (BrakeScope::Zone(zone.cloned()), it));
        let mut counts: Vec<_> = zones.collect();
        counts.iter().for_each(|(_, zone)| all = all.plus(*zone));
        counts.push((BrakeScope::Fleet, all));
        for (scope, Census { met, attached, .. }) in counts {
            let is_due = AbsenceBrake::engages(met.saturating_sub(attached), met);
            let engaged = self.brakes.get(&scope);
            let is_awaited = |it: &Engaged| {
                !it.is_over(self.now, met.saturating_sub(attached)) && it.clear_since.is_some()
            };
            let is_right = match engaged {
                Some(engaged) => is_due != is_awaited(engaged),
                None => !is_due,
            };
            if !is_right {
                return Err(format!("{attached} of {met} are there, and {scope} is not so braked"));
            }
        }
        Ok(())
    }
}

impl Engaged {
    fn new(brake: AbsenceBrake, now: Timestamp) -> Self {
        Self { brake, bucket: Bucket::default(), clear_since: None, since: now }
    }

    /// When it holds nothing back any more, although as many are away, if it is engaged. That of the whole
    /// fleet has no such moment.
    fn lapses(&self, scope: &BrakeScope) -> Option<Timestamp> {
        let is_zone = matches!(scope, BrakeScope::Zone(_));
        (is_zone && self.brake.is_engaged()).then(|| self.since.after(ZONE_PATIENCE))
    }

    /// Whether it ends now: nobody is away any more, or few have been for long enough.
    fn is_over(&self, now: Timestamp, absent: u32) -> bool {
        absent == 0 || self.clear_since.is_some_and(|since| since.after(COME_BACK) <= now)
    }
}
