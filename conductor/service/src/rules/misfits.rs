//! Instances of placed services that fail where they are, while their version is ready elsewhere: rather
//! their host is at fault than the version, so they are brought up on another player.
//!
//! ```text
//!   web/3 on fe1: crash, crash, crash … 30 s ─▶ wanted on fe4, which has not failed it yet
//!         (its version is ready on fe2)          fe1 goes on until it is ready there
//! ```
//!
//! An instance fails if a flow could not bring it there, its unit gave up or ended badly, or it was
//! restarted again and again without being up for long. Where its version is ready nowhere else, the
//! version is at fault, and the instance stays and is told. Of a service with one instance alone the word
//! of others is missing: there it counts that the version was ready before.
//!
//! Each move makes the next one wait twice as long, and there are few in an hour, so that what fails
//! everywhere does not wander over the fleet. What is known of that is in memory: a conductor that is
//! started anew begins to count again.

use orchestra_model::{
    HostName, HostSet, Millis, ServiceName, Timestamp,
    service::{Cause, Goal, RunEnd, UnitReport, UnitState},
};

use crate::{
    services::Services,
    tables::{Failing, Placed, Service},
};

/// How long an instance fails before it is brought up elsewhere; twice as long after each such move of
/// the last hour.
const PATIENCE: Millis = Millis::seconds(30);
/// Most such moves of a service in an hour.
const MOST_MOVES: usize = 3;
const HOUR: Millis = Millis::minutes(60);
/// After how many restarts since it was last up for long an instance fails.
const RESTARTS: u32 = 3;

impl Services {
    /// Returns the hosts of a service whose instances are to be brought up elsewhere now, because they
    /// fail there and not elsewhere.
    pub(super) fn misfits(&self, name: &ServiceName) -> Vec<HostName> {
        let Some(service) = self.services.get(name) else { return Vec::new() };
        let moves = service.misfit_moves.iter().filter(|at| at.after(HOUR) > self.now);
        let left = MOST_MOVES.saturating_sub(moves.count());
        let living = service.record.living.as_ref();
        // What cleans up makes room.
        let is_busy = living.is_some_and(|living| living.cause != Cause::Cleanup)
            || service.record.pending.is_some()
            || service.record.paused_by.is_some()
            || service.trouble.is_some();
        if is_busy || service.record.goal != Goal::Running || !self.is_settled() {
            return Vec::new();
        }
        let is_due = |host: &&HostName| {
            let at = self.misfit_due(service, host);
            at.is_some_and(|at| at <= self.now) && self.is_reachable(host)
        };
        service.may_fail().filter(is_due).take(left).cloned().collect()
    }

    /// Returns when the instance of a host is brought up elsewhere, if it fails there and not elsewhere.
    pub(crate) fn misfit_due(&self, service: &Service, host: &HostName) -> Option<Timestamp> {
        let may_move = service.record.goal == Goal::Running && service.may_fail_on(host);
        let due = service.fails_from(host, self.now).filter(|_| may_move)?;
        self.suits_elsewhere(service, host).then_some(due)
    }

    /// Whether the version of an instance is known to be ready where its host is not at fault.
    fn suits_elsewhere(&self, service: &Service, host: &HostName) -> bool {
        let is_well = |other: &&HostName| {
            let report = service.placements.get(*other).and_then(|it| it.report.as_ref());
            let is_of_version = report.is_some_and(|it| it.version == service.record.version);
            *other != host && is_of_version && service.healthy.contains(*other)
        };
        match service.record.hosts.len() {
            1 => service.record.stable == Some(service.record.version),
            _ => service.record.hosts.iter().any(|other| is_well(&other)),
        }
    }

    /// Brings instances up elsewhere that fail where they are, if there are any.
    pub(crate) fn move_misfits(&mut self, name: &ServiceName) {
        if !self.misfits(name).is_empty() {
            self.fill_and_follow(name);
        }
    }

    /// Notes that an instance is brought up on the second host because it failed on the first.
    pub(super) fn note_misfit(&mut self, name: &ServiceName, from: &HostName, to: &HostName) {
        let now = self.now;
        let Some(service) = self.services.get_mut(name) else { return };
        service.misfit_moves.retain(|at| at.after(HOUR) > now);
        service.misfit_moves.push(now);
        service.unfit.insert(from.clone());
        let note =
            format!("it fails on {from}, and its version was ready elsewhere: it is tried on {to}");
        service.note_repair(now, note);
    }
}

impl Service {
    /// Returns the hosts on which an instance may fail. Mostly there are none.
    fn may_fail(&self) -> impl Iterator<Item = &HostName> {
        self.failing.union(&self.given_up).filter(|host| self.may_fail_on(host))
    }

    fn may_fail_on(&self, host: &HostName) -> bool {
        (self.failing.contains(host) || self.given_up.contains(host))
            && self.record.layout.is_some()
            && self.is_wanted_on(host)
    }

    /// Returns from when on the instance of a host is one that fails there; `None` if it does not.
    fn fails_from(&self, host: &HostName, now: Timestamp) -> Option<Timestamp> {
        let placed = self.placements.get(host)?;
        let stable_after = self.spec()?.upkeep.restart.stable_after;
        let moves = self.misfit_moves.len();
        let patience = Millis(PATIENCE.0 << moves.min(MOST_MOVES));
        let at = match &placed.failing {
            Some(failing) if failing.has_failed(placed.report.as_ref()) => {
                // One that has been up for long does not fail any more.
                let up_long = failing.up.map(|up| up.after(stable_after));
                if up_long.is_some_and(|at| at <= now) {
                    return None;
                }
                failing.since.after(patience).max(up_long.unwrap_or_default())
            }
            _ => self.given_up.contains(host).then(|| self.given_up_at.after(patience))?,
        };
        // The oldest of the most moves has to be an hour ago.
        let oldest = self.misfit_moves.first().filter(|_| moves >= MOST_MOVES);
        Some(at.max(oldest.map(|at| at.after(HOUR)).unwrap_or_default()))
    }

    /// Returns when it is looked at next whether an instance fails where it is.
    pub(crate) fn next_misfit(&self, now: Timestamp) -> Option<Timestamp> {
        let due = self.may_fail().filter_map(|host| self.fails_from(host, now));
        due.filter(|at| *at > now).min()
    }

    /// Gives all hosts another try, those that were given up or have failed its instances too: something
    /// else is wanted, or was asked for.
    pub(crate) fn try_all_again(&mut self) {
        self.given_up.clear();
        self.unfit.clear();
        for host in std::mem::take(&mut self.failing) {
            if let Some(placed) = self.placements.get_mut(&host) {
                placed.failing = None;
            }
        }
    }

    /// Notes whether the instance of a host, whose player has told this, goes on to fail.
    pub(super) fn note_failing(&mut self, host: &HostName, now: Timestamp) {
        let stable_after = self.spec().map(|spec| spec.upkeep.restart.stable_after);
        self.misfit_moves.retain(|at| at.after(HOUR) > now);
        let Some(placed) = self.placements.get_mut(host) else { return };
        placed.note_failing(now, stable_after.unwrap_or_default());
        match placed.failing.is_some() {
            true => drop(self.failing.insert(host.clone())),
            false => drop(self.failing.remove(host)),
        }
    }

    /// The hosts on which no instance is to be tried that failed there.
    pub(crate) fn unfit_hosts(&self) -> HostSet {
        HostSet::from_names(self.unfit.iter().cloned())
    }
}

impl Failing {
    /// Whether it has failed often enough, by what is told of it now.
    fn has_failed(&self, report: Option<&UnitReport>) -> bool {
        let Some(report) = report else { return false };
        has_ended_badly(report) || report.restarts.saturating_sub(self.restarts) >= RESTARTS
    }
}

/// Whether a unit has no run, and gets none, because the last one was no good.
fn has_ended_badly(report: &UnitReport) -> bool {
    match report.state {
        UnitState::GaveUp => true,
        UnitState::Ended => report.last_end != Some(RunEnd::Exited(0)),
        _ => false,
    }
}

impl Placed {
    fn note_failing(&mut self, now: Timestamp, stable_after: Millis) {
        let Some(report) = &self.report else {
            self.failing = None;
            return;
        };
        // Counts begin anew with each order.
        let told = self.restarts_told.min(report.restarts);
        self.restarts_told = report.restarts;
        let has_failed = report.restarts > told
            || report.state == UnitState::BackingOff
            || has_ended_badly(report);
        let is_over = |it: &mut Failing| it.up.is_some_and(|up| up.after(stable_after) <= now);
        let _over = self.failing.take_if(is_over);
        if has_failed {
            let new = Failing { since: now, restarts: told, up: None };
            self.failing.get_or_insert(new).up = None;
        }
        if let Some(failing) = &mut self.failing {
            failing.restarts = failing.restarts.min(report.restarts);
            match report.state {
                UnitState::Ready | UnitState::Unhealthy => drop(failing.up.get_or_insert(now)),
                _ => failing.up = None,
            }
        }
    }
}
