//! One unit: the restart rule as it is written, and whether its engine follows it.

use std::collections::BTreeSet;

use orchestra_model::service::{Placement, RestartWhen, RunEnd, RunNumber, UnitState, Wanted};
use orchestra_units::{RunId, Stage, UnitKey, Units};

use super::{RefAsked, RefRun, RefUnit, Rest, links::Around};

impl RefUnit {
    /// The last run that there may have been.
    pub(super) fn last_of_all(&self) -> RunId {
        let number = RunNumber(self.last.number.0 + u64::from(self.doubtful));
        RunId { number, ..self.last }
    }

    /// The restart rule, as it is written.
    pub(super) fn conclude(&mut self, at: u64, passing: bool) {
        let run = self.run.take().unwrap();
        self.over = Some(run.clone());
        self.ahead &= self.doubtful;
        let (end, ended_at) = run.ending.unwrap();
        let rule = self.order.unit.upkeep.restart;
        if run.up.is_some_and(|up| ended_at - up >= rule.stable_after.0) {
            self.waits = 0;
        }
        self.last_end = Some(end.clone());
        let hunted = end == RunEnd::Unknown && run.up.is_none();
        let another = match rule.when {
            RestartWhen::Always => true,
            RestartWhen::OnFailure => end != RunEnd::Exited(0),
            RestartWhen::Never => false,
        };
        let window = |then: &&u64| **then + rule.window.0 > at;
        let recent = self.restarts.iter().filter(window).count();
        self.rest = if matches!(self.order.unit.wanted, Wanted::Stopped | Wanted::Gone) {
            Rest::Stopped
        } else if run.of != self.order.order.0 || is_for_others(&end) || hunted {
            Rest::Waiting { from: at, until: at }
        } else if passing && matches!(end, RunEnd::NotSpawned(_)) {
            self.waits = self.waits.max(1);
            self.wait(at)
        } else if !another {
            Rest::Ended
        } else if rule.attempts.is_some_and(|most| recent >= most as usize) {
            Rest::GaveUp
        } else {
            self.restarts.push(at);
            self.wait(at)
        };
    }

    fn wait(&mut self, at: u64) -> Rest {
        let rule = self.order.unit.upkeep.restart;
        self.waits += 1;
        if self.waits == 1 {
            let until = at + rule.first.0;
            return Rest::Waiting { from: until, until };
        }
        let most = (100u64 << (self.waits - 2).min(30)).min(rule.max_delay.0);
        Rest::Waiting { from: at, until: at + most }
    }

    pub(super) fn follow_run(
        &mut self,
        key: &UnitKey,
        units: &Units,
        at: u64,
        broken: bool,
        around: Around,
    ) {
        let unit = &units.state().units()[key];
        let turns = &unit.status.turns;
        let last = &self.turns[self.turns.len().saturating_sub(4)..];
        assert!(turns.moments().eq(last.iter().copied()), "{key}: {turns:?} {last:?}");
        assert_eq!(turns.count() as usize, self.turns.len(), "{key}");
        let (is_leased, lease) = (self.is_leased(), self.lease);
        let wants_run = !matches!(self.order.unit.wanted, Wanted::Stopped | Wanted::Gone);
        let Some(run) = unit.status.run() else {
            assert!(self.run.is_none(), "{key}: its run vanished: {self:?}");
            return;
        };
        let Some(known) = &mut self.run else {
            let Rest::Waiting { from, .. } = self.rest else { panic!("{key}: {self:?} began") };
            assert!(from <= at, "{key} began too early: {self:?} at {at}");
            assert!(wants_run && self.has_params && !broken, "{key} must not begin: {self:?}");
            assert!(self.may_run(at), "{key} begins without a lease: {self:?} at {at}");
            let placement = self.order.unit.instance.placement;
            let last = self.last_of_all();
            let number = if placement > last.placement { 1 } else { last.number.0 + 1 };
            (self.ahead, self.doubtful) = (false, false);
            let id = RunId { placement, number: RunNumber(number) };
            assert_eq!(unit.status.last, id, "{key}");
            let beside = run.beside.map(|order| order.0);
            assert_eq!(around.had_beside, Some(beside), "{key} begins too early: {self:?}");
            assert!(!around.is_held_back, "{key} begins before those that are linked to it ended");
            self.last = id;
            self.run = Some(RefRun {
                id,
                of: self.order.order.0,
                beside,
                begun: at,
                up: None,
                score: None,
                ready: None,
                stopping: None,
                extended: 0,
                silence: None,
                well: at,
                ending: None,
                found: true,
                unhealthy: None,
                signals: BTreeSet::new(),
                signalled: 0,
                asked: RefAsked::default(),
            });
            return;
        };
        assert_eq!((unit.status.last, run.of.0), (known.id, known.of), "{key}");
        assert!(run.signals.iter().eq(known.signals.iter().copied()), "{key}: {run:?} {known:?}");
        let ending = run.ending.as_ref().map(|ending| (ending.cause.clone(), ending.at));
        if let (None, Some((cause, _))) = (&known.ending, &ending) {
            let ran_out = is_leased && lease.is_none_or(|(_, until, _)| until <= at);
            let (up, upkeep) = (known.up.unwrap(), &self.order.unit.upkeep);
            let right = match cause {
                RunEnd::Asked => known.of != self.order.order.0 && !around.is_held_back,
                RunEnd::Linked => around.is_stale && !around.is_held_back,
                RunEnd::LeaseRanOut => ran_out,
                RunEnd::NeverReady => {
                    let limit = (up + upkeep.ready.deadline.0).max(known.extended);
                    known.ready.is_none() && at >= limit && !broken
                }
                RunEnd::Watchdog => {
                    let limit = |silence| at >= known.well + silence;
                    known.silence.is_some_and(limit) && !broken
                }
                RunEnd::Signalled(9) => {
                    known.stopping.is_some_and(|then| at >= then + run.stop.grace.0)
                }
                _ => false,
            };
            assert!(right, "{key}: ended as {cause:?}: {self:?} at {at}");
            known.ending = ending;
        } else {
            assert_eq!(known.ending, ending, "{key}");
        }
    }

    /// Whoever uses a run that was ready had time to leave when it gets its signal, unless its lease is over.
    pub(super) fn check_left(&self, linger: u64, at: u64) {
        let Some(run) = &self.run else { return };
        let Some((RunEnd::Asked | RunEnd::Linked, then)) = run.ending else { return };
        let is_used = run.ready.is_some_and(|ready| ready < then)
            && run.stopping.is_none_or(|said| said > then)
            && run.unhealthy.is_none();
        let has_lease = !self.is_leased() || self.lease.is_some_and(|(_, until, _)| until > at);
        assert!(
            !is_used || !has_lease || at >= then + linger,
            "it is not left yet: {self:?} at {at}"
        );
    }

    fn wants(&self, run: &RefRun, around: Around) -> bool {
        run.of == self.order.order.0 && !around.is_stale
    }

    /// What it tells of itself.
    pub(super) fn check_shown(&self, key: &UnitKey, units: &Units, around: Around, at: u64) {
        let report = units.reports(key.store).find(|it| it.service == key.service).unwrap();
        let state = match (&self.run, &self.rest) {
            (Some(run), _)
                if run.ending.is_some() || run.stopping.is_some() && run.up.is_some() =>
            {
                UnitState::Stopping
            }
            (Some(run), _) if run.stopping.is_some() => UnitState::Stopping,
            (Some(run), _) if run.up.is_some() && !self.wants(run, around) => UnitState::Stopping,
            (Some(run), _) if run.unhealthy.is_some() => UnitState::Unhealthy,
            (Some(run), _) if run.ready.is_some() && run.up.is_some() => UnitState::Ready,
            (Some(_), _) => UnitState::Starting,
            (None, Rest::Stopped) => UnitState::Stopped,
            (None, Rest::Ended) => UnitState::Ended,
            (None, Rest::GaveUp) => UnitState::GaveUp,
            (None, Rest::Waiting { .. }) if !self.has_params => UnitState::AwaitingParams,
            (None, Rest::Waiting { .. }) if around.beside.is_none() => UnitState::AwaitingLinked,
            (None, Rest::Waiting { .. }) if !self.may_run(at) => UnitState::AwaitingLease,
            (None, Rest::Waiting { .. }) => UnitState::BackingOff,
        };
        assert_eq!(report.state, state, "{key}: {self:?}");
        assert_eq!(report.score_hash, self.run.as_ref().and_then(|run| run.score), "{key}");
        assert_eq!(report.order, self.order.order);
        assert_eq!(report.restarts as usize, self.restarts.len(), "{key}");
        assert_eq!(report.flapping, self.is_flapping(at), "{key}: {:?} at {at}", self.turns);
        if self.last_end.is_some() {
            assert_eq!(report.last_end, self.last_end, "{key}");
        }
        let stage = &units.state().units()[key].status.stage;
        if let (Stage::Waiting { until }, Rest::Waiting { from, until: most }) = (stage, &self.rest)
        {
            assert!((from..=most).contains(&until), "{key} waits until {until}: {self:?}");
        }
    }

    /// Whether its health turned four times within ten minutes, the last time less than two minutes ago.
    pub(crate) fn is_flapping(&self, at: u64) -> bool {
        let [.., first, _, _, last] = self.turns[..] else { return false };
        last - first <= 600_000 && at < last + 120_000
    }

    /// What was due when time had passed.
    pub(super) fn check_limits(&self, at: u64, broken: bool, around: Around) {
        let upkeep = &self.order.unit.upkeep;
        let Some(run) = &self.run else {
            let Rest::Waiting { until, .. } = self.rest else { return };
            let may_begin = around.beside.is_some() && !around.is_held_back;
            let lacks = !self.has_params || !self.may_run(at);
            let waits = until > at || broken || lacks || !may_begin;
            assert!(waits, "it does not begin: {self:?}");
            return;
        };
        let Some(up) = run.up.filter(|_| run.is_up()) else { return };
        let ran_out = |(_, until, _): (Placement, u64, u64)| until <= at;
        let must_end = run.found && self.is_leased() && self.lease.is_none_or(ran_out);
        assert!(!must_end, "its lease ran out: {self:?} at {at}");
        assert!(self.wants(run, around) || around.is_held_back, "nobody wants it: {self:?}");
        if run.found && !broken && run.ready.is_none() && run.stopping.is_none() {
            let limit = up + upkeep.ready.deadline.0;
            let limit = limit.max(run.extended + 60_000);
            assert!(at < limit, "it is never ready: {self:?} at {at}");
        }
    }
}

/// Whether a run was ended for what is not its unit's.
fn is_for_others(end: &RunEnd) -> bool {
    matches!(end, RunEnd::HostRestarted | RunEnd::Linked | RunEnd::LeaseRanOut)
}
