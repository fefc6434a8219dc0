//! Runs that have lasted for as long as their service says (`max_age`): the keeper makes a flow by
//! which new ones follow them.
//!
//! What counts is how old a run is, not that it became so: one that was old while its player was away,
//! or while the service was paused, is followed by a new one after that. This is the least that there is
//! to do for a service: it waits while anything else is done or wrong, and makes room for that.
//!
//! Runs that began together do not end together: each has a limit of its own, up to a tenth less or
//! more, which follows from names and numbers alone. And their hosts are healthy, so the scheduler lets
//! a new run begin only while fewer hosts hold the service's cell than its limit allows. A unit whose
//! run has ended by itself when its turn comes is spared by its sitter ([`Wanted::Younger`]).
//!
//! [`Wanted::Younger`]: orchestra_model::service::Wanted::Younger

use orchestra_model::{
    HostName, Millis, ServiceName, Timestamp,
    service::{Cause, Goal, UnitReport, UnitState},
};

use crate::{
    placement::share_of_run,
    services::Services,
    tables::{Placed, Service},
};

/// By how much the limits of runs differ: a tenth of `max_age`, up and down.
const SPREAD: u64 = 10;

impl Services {
    /// Rechecks when the run of a unit is old.
    pub(crate) fn recheck_age(&mut self, name: &ServiceName, host: &HostName) {
        let old_at = self.old_at(name, host);
        if let Some(service) = self.services.get_mut(name) {
            service.ages.set(host, old_at);
        }
    }

    /// Returns when the run of a unit is so old that a new one is to follow it; `None` if that never
    /// is, or not before something else has happened: then its age is looked at anew.
    pub(crate) fn old_at(&self, name: &ServiceName, host: &HostName) -> Option<Timestamp> {
        let service = self.services.get(name)?;
        let max_age = service.spec()?.max_age?;
        let placed = service.placements.get(host)?;
        let (report, begun) = placed.report.as_ref().zip(placed.begun)?;
        let counts = report.state == UnitState::Ready
            && service.goal() == Goal::Running
            && service.is_wanted_on(host)
            && self.is_reachable(host)
            && !self.is_strange(name, host)
            && self.may_begin_beside(service, host)
            && service.difference(host).is_none();
        counts.then(|| begun.after(limit(max_age, report)))
    }

    /// Returns the hosts whose runs are old now.
    pub(super) fn choose_old(&self, name: &ServiceName) -> Vec<HostName> {
        let Some(service) = self.services.get(name) else { return Vec::new() };
        service.old_now(self.now).cloned().collect()
    }
}

impl Service {
    /// Returns the hosts whose runs are old, unless nothing is done for that now.
    pub(crate) fn old_now(&self, now: Timestamp) -> impl Iterator<Item = &HostName> {
        // After a refusal nothing is tried before somebody asks for something. And units that are not
        // believed to be unhealthy may be so.
        let may_begin = self.trouble.is_none() && self.record.judged.suspicion.is_none();
        let old = self.ages.over(now).filter(move |_| may_begin);
        old.filter(|host| !self.given_up.contains(*host))
    }

    /// Returns whether the run on a host is old.
    pub(crate) fn is_old(&self, host: &HostName, now: Timestamp) -> bool {
        self.ages.get(host).is_some_and(|at| at <= now)
    }

    /// Returns whether the living flow, which can wait, may stand in the way of something that has to be
    /// done. One that follows from the age of runs may wait for the cells of the very hosts that this is
    /// about. One that cleans up takes as long as its score does; beside it unhealthy units are restarted.
    pub(super) fn is_in_the_way(&self) -> bool {
        let living = self.record.living.as_ref().filter(|it| !it.superseded);
        let is_wrong = self.wrong.difference(&self.given_up).next().is_some();
        let is_believed = self.record.judged.suspicion.is_none() && self.trouble.is_none();
        let is_unhealthy = self.to_heal.difference(&self.given_up).next().is_some();
        let waits = match living.map(|living| living.cause) {
            Some(Cause::Age) => is_wrong || (is_believed && is_unhealthy),
            Some(Cause::Cleanup) => is_wrong,
            _ => false,
        };
        waits && self.record.paused_by.is_none()
    }

    /// The age from which on a run gets no order to live on: the least limit that any has.
    pub(super) fn least_limit(&self) -> Option<Millis> {
        let max_age = self.spec()?.max_age?;
        Some(Millis(max_age.0 - max_age.0 / SPREAD))
    }
}

impl Placed {
    /// Notes when the run began that a report tells: a report may come late, so what was first told of a
    /// run stands.
    pub(crate) fn note_begun(&mut self, report: &UnitReport, now: Timestamp) {
        let run_of = |report: &UnitReport| (report.instance.placement, report.run);
        let is_same = self.report.as_ref().is_some_and(|known| run_of(known) == run_of(report));
        let told = report.run_age.map(|age| Timestamp(now.0.saturating_sub(age.0)));
        self.begun = self.begun.filter(|_| is_same && told.is_some()).or(told);
    }
}

/// How old a run may become.
fn limit(max_age: Millis, report: &UnitReport) -> Millis {
    let least = max_age.0 - max_age.0 / SPREAD;
    let share = share_of_run(&report.service, report.instance, report.run);
    let more = (u128::from(max_age.0 / SPREAD * 2) * u128::from(share)) >> 64;
    Millis(least.saturating_add(u64::try_from(more).unwrap_or(u64::MAX)))
}
