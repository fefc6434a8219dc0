//! What must be so, without cleverness: lists that are never shortened, and one question after the
//! other. It follows the engine step by step. What only the engine decides (when a wait that was drawn
//! is over, that a limit has passed) it does not foretell: it asks whether that was right.

use std::collections::BTreeMap;

use orchestra_model::{
    delivery::AttemptKey,
    service::{ReadySign, RestartWhen, RunEnd, UnitState, Wanted},
};
use orchestra_units::{Failure, Ordered, RunEvent, RunId, Stage, UnitKey, Units, WatchEnd};

#[derive(Clone, Debug)]
pub(crate) struct RefRun {
    pub(crate) id: RunId,
    pub(crate) of: u64,
    pub(crate) up: Option<u64>,
    pub(crate) ready: Option<u64>,
    pub(crate) stopping: Option<u64>,
    pub(crate) extended: u64,
    pub(crate) silence: Option<u64>,
    pub(crate) well: u64,
    pub(crate) ending: Option<(RunEnd, u64)>,
    pub(crate) found: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Rest {
    Stopped,
    Ended,
    GaveUp,
    Waiting { from: u64, until: u64 },
}

#[derive(Clone, Debug)]
pub(crate) struct RefUnit {
    pub(crate) order: Ordered,
    pub(crate) has_params: bool,
    pub(crate) run: Option<RefRun>,
    /// The run before it.
    pub(crate) over: Option<RefRun>,
    pub(crate) rest: Rest,
    pub(crate) last: RunId,
    pub(crate) last_end: Option<RunEnd>,
    /// When its rule restarted it, since the last order.
    pub(crate) restarts: Vec<u64>,
    pub(crate) waits: u32,
}

#[derive(Clone, Debug)]
pub(crate) struct RefWatch {
    pub(crate) unit: UnitKey,
    pub(crate) order: u64,
    pub(crate) accepted: u64,
    pub(crate) deadline: u64,
    pub(crate) end: Option<WatchEnd>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Reference {
    pub(crate) units: BTreeMap<UnitKey, RefUnit>,
    pub(crate) watches: BTreeMap<AttemptKey, RefWatch>,
    /// Order, attempt and last run of units that are gone.
    pub(crate) gone: BTreeMap<UnitKey, (u64, AttemptKey, RunId)>,
    pub(crate) broken: bool,
}

impl Reference {
    /// Whether an order has to be taken.
    pub(crate) fn takes(&self, key: &UnitKey, order: &Ordered, capacity: usize) -> bool {
        let (number, placement) = (order.order.0, order.unit.instance.placement);
        if self.broken {
            return false;
        }
        if let Some(unit) = self.units.get(key) {
            let same = (unit.order.order, unit.order.key) == (order.order, order.key);
            let later = number > unit.order.order.0;
            return same || (later && placement >= unit.order.unit.instance.placement);
        }
        let room = self.units.len() < capacity || order.unit.wanted == Wanted::Gone;
        match self.gone.get(key) {
            None => room,
            Some((last, attempt, run)) => {
                let same = (*last, *attempt) == (number, order.key);
                room && (same || number > *last) && placement >= run.placement
            }
        }
    }

    pub(crate) fn ordered(&mut self, key: &UnitKey, order: &Ordered, at: u64) {
        let watch = RefWatch {
            unit: key.clone(),
            order: order.order.0,
            accepted: at,
            deadline: at + order.unit.deadline.0,
            end: None,
        };
        let gone = self.gone.remove(key).map(|(_, _, run)| run).unwrap_or_default();
        let unit = self.units.entry(key.clone()).or_insert_with(|| RefUnit {
            order: Ordered { order: orchestra_model::delivery::OrderNumber(0), ..order.clone() },
            has_params: true,
            run: None,
            over: None,
            rest: Rest::Stopped,
            last: gone,
            last_end: None,
            restarts: Vec::new(),
            waits: 0,
        });
        if (unit.order.order, unit.order.key) == (order.order, order.key) {
            unit.has_params = true;
            self.watches.entry(order.key).or_insert(watch);
            return;
        }
        for (attempt, watch) in &mut self.watches {
            if watch.unit == *key && *attempt != order.key && watch.end.is_none() {
                watch.end = Some(WatchEnd::Superseded);
            }
        }
        self.watches.insert(order.key, watch);
        let before = std::mem::replace(&mut unit.order, order.clone());
        let alike = before.unit.version == order.unit.version
            && before.unit.instance == order.unit.instance
            && (!unit.has_params || before.unit.params == order.unit.params);
        unit.has_params = true;
        unit.restarts.clear();
        unit.waits = 0;
        match &mut unit.run {
            Some(run) => {
                let goes_on = run.ending.is_none() && run.stopping.is_none();
                if goes_on && run.of == before.order.0 && alike && is_running(order.unit.wanted) {
                    run.of = order.order.0;
                }
            }
            None => unit.rest = rest_by(order, at),
        }
    }

    /// What happened to a unit's present run; `false` where it was of another one.
    pub(crate) fn happened(&mut self, key: &UnitKey, run: RunId, event: &RunEvent, at: u64) {
        let Some(unit) = self.units.get_mut(key) else { return };
        let by_itself = unit.order.unit.upkeep.ready.sign == ReadySign::Started;
        let Some(it) = unit.run.as_mut().filter(|it| it.id == run) else { return };
        match event {
            RunEvent::Spawned(_) => {
                (it.up, it.found, it.well) = (Some(at), true, at);
                if by_itself {
                    it.ready = Some(at);
                }
            }
            RunEvent::NotSpawned { why, passing } => {
                let _ = it.ending.get_or_insert((RunEnd::NotSpawned(why.clone()), at));
                unit.conclude(at, *passing);
            }
            RunEvent::Found => (it.found, it.well) = (true, at),
            RunEvent::MainEnded(end) => {
                let _ = it.ending.get_or_insert((end.clone(), at));
            }
            RunEvent::OutOfMemory => match &mut it.ending {
                None => it.ending = Some((RunEnd::OutOfMemory, at)),
                Some((end @ (RunEnd::Exited(_) | RunEnd::Signalled(_) | RunEnd::Unknown), _)) => {
                    *end = RunEnd::OutOfMemory;
                }
                Some(_) => {}
            },
            RunEvent::Emptied => {
                if it.up.is_some() || it.ending.is_some() {
                    let _ = it.ending.get_or_insert((RunEnd::Unknown, at));
                    unit.conclude(at, false);
                }
            }
            RunEvent::ReadyTold => it.ready = it.ready.or(Some(at)),
            RunEvent::WatchdogTold => it.well = at,
            RunEvent::WatchdogSet(silence) => {
                (it.silence, it.well) = (Some(silence.0).filter(|silence| *silence > 0), at);
            }
            RunEvent::Extended(length) => it.extended = it.extended.max(at + length.0),
            RunEvent::StoppingTold => it.stopping = it.stopping.or(Some(at)),
        }
    }

    pub(crate) fn write_failed(&mut self, unspawned: &[UnitKey], at: u64) {
        self.broken = true;
        for key in unspawned {
            let unit = self.units.get_mut(key).unwrap();
            let end = unit.run.as_mut().unwrap();
            end.ending = Some((RunEnd::NotSpawned(String::new()), at));
            unit.conclude(at, true);
            unit.last_end = None;
        }
    }

    /// A new sitter: nobody knows which runs live, and whose parameters are where.
    pub(crate) fn recovered(&mut self, rebooted: bool, at: u64) {
        self.broken = false;
        for unit in self.units.values_mut() {
            unit.has_params = unit.order.keep_params;
            let Some(run) = &mut unit.run else { continue };
            run.found = false;
            run.well = at;
            if rebooted {
                let _ = run.ending.get_or_insert((RunEnd::HostRestarted, at));
                unit.conclude(at, false);
            } else if run.up.is_none() {
                let _ = run.ending.get_or_insert((RunEnd::Unknown, at));
            }
        }
    }

    /// Follows the engine after one input, and checks what it did. `woken`: what was due is done.
    pub(crate) fn follow(&mut self, units: &Units, at: u64, woken: bool) {
        let keys: Vec<UnitKey> = self.units.keys().cloned().collect();
        for key in keys {
            if !units.state().units().contains_key(&key) {
                self.check_gone(&key, units);
                continue;
            }
            let unit = self.units.get_mut(&key).unwrap();
            unit.follow_run(&key, units, at, self.broken);
            unit.check_shown(&key, units, self.broken);
            if woken {
                unit.check_limits(at, self.broken);
            }
        }
        assert_eq!(self.units.len(), units.state().units().len());
        self.follow_watches(units, at, woken);
    }

    fn check_gone(&mut self, key: &UnitKey, units: &Units) {
        let unit = self.units.remove(key).unwrap();
        assert!(unit.order.unit.wanted == Wanted::Gone && unit.run.is_none(), "{unit:?}");
        let placement = unit.order.unit.instance.placement;
        let none = RunId { placement, ..RunId::default() };
        let last = unit.last.max(none);
        self.gone.insert(key.clone(), (unit.order.order.0, unit.order.key, last));
        assert_eq!(units.state().tombstones()[key].last, last);
    }

    fn follow_watches(&mut self, units: &Units, at: u64, woken: bool) {
        for (key, watch) in &mut self.watches {
            let told = units.state().watches().get(key).unwrap_or_else(|| panic!("{key} forgot"));
            assert_eq!(told.accepted, watch.accepted, "{key}");
            let unit = self.units.get(&watch.unit);
            match (&watch.end, &told.end) {
                (None, Some(end)) => {
                    let right = is_right(end, unit, watch, at);
                    assert!(right, "{key}: {end:?} {watch:?} {unit:?} at {at}");
                    watch.end = Some(end.clone());
                }
                (before, end) => assert_eq!(before, end, "{key}"),
            }
            let Some(unit) = unit.filter(|_| woken && watch.end.is_none()) else { continue };
            let found = unit.run.as_ref().is_none_or(|run| run.found || !run.is_up());
            assert!(!found || at < watch.deadline, "{key} is not timed out: {unit:?} at {at}");
            let healthy = unit.run.as_ref().and_then(|run| run.healthy_at(unit, watch));
            assert!(!found || healthy.is_none_or(|healthy| at < healthy), "{key} is not ready");
        }
    }
}

fn is_running(wanted: Wanted) -> bool {
    wanted == Wanted::Running
}

fn rest_by(order: &Ordered, at: u64) -> Rest {
    match order.unit.wanted {
        Wanted::Running | Wanted::Restarted => Rest::Waiting { from: at, until: at },
        Wanted::Stopped | Wanted::Gone => Rest::Stopped,
    }
}

fn is_right(end: &WatchEnd, unit: Option<&RefUnit>, watch: &RefWatch, at: u64) -> bool {
    let is_late = *end == WatchEnd::TimedOut && at >= watch.deadline;
    let Some(unit) = unit else { return *end == WatchEnd::Ready || is_late };
    let rule = &unit.order.unit;
    match end {
        WatchEnd::Ready if matches!(rule.wanted, Wanted::Stopped) => unit.run.is_none(),
        WatchEnd::Ready => [&unit.run, &unit.over].into_iter().flatten().any(|run| {
            let bad = [run.stopping, run.ending.as_ref().map(|(_, at)| *at)];
            let bad = bad.into_iter().flatten().min().unwrap_or(at);
            run.found
                && run.of == watch.order
                && run.ready.is_some_and(|ready| {
                    let healthy = ready.max(watch.accepted) + rule.healthy_for.0;
                    healthy <= bad.min(watch.deadline)
                })
        }),
        WatchEnd::TimedOut => is_late,
        WatchEnd::Failed { failure: Failure::GaveUp, .. } => unit.rest == Rest::GaveUp,
        WatchEnd::Failed { failure: Failure::Ended, .. } => unit.rest == Rest::Ended,
        WatchEnd::Failed { failure: Failure::OutOfMemory, .. } => {
            unit.run.as_ref().is_some_and(|run| {
                matches!(run.ending, Some((RunEnd::OutOfMemory, _))) && run.of == watch.order
            })
        }
        // They are noted when they are caused.
        WatchEnd::Cancelled | WatchEnd::Superseded | WatchEnd::Unwritten(_) => false,
    }
}

impl RefRun {
    fn is_up(&self) -> bool {
        self.up.is_some() && self.ending.is_none()
    }

    fn healthy_at(&self, unit: &RefUnit, watch: &RefWatch) -> Option<u64> {
        let goes_on = self.is_up() && self.stopping.is_none() && self.of == watch.order;
        let ready = self.ready.filter(|_| goes_on && unit.order.unit.wanted != Wanted::Stopped)?;
        Some(ready.max(watch.accepted) + unit.order.unit.healthy_for.0)
    }
}

impl RefUnit {
    /// The restart rule, as it is written.
    fn conclude(&mut self, at: u64, passing: bool) {
        let run = self.run.take().unwrap();
        self.over = Some(run.clone());
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
        } else if run.of != self.order.order.0 || end == RunEnd::HostRestarted || hunted {
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

    fn follow_run(&mut self, key: &UnitKey, units: &Units, at: u64, broken: bool) {
        let unit = &units.state().units()[key];
        let wants_run = matches!(self.order.unit.wanted, Wanted::Running | Wanted::Restarted);
        let Some(run) = unit.status.run() else {
            assert!(self.run.is_none(), "{key}: its run vanished: {self:?}");
            return;
        };
        let Some(known) = &mut self.run else {
            let Rest::Waiting { from, .. } = self.rest else { panic!("{key}: {self:?} began") };
            assert!(from <= at, "{key} began too early: {self:?} at {at}");
            assert!(wants_run && self.has_params && !broken, "{key} must not begin: {self:?}");
            let placement = self.order.unit.instance.placement;
            let number = if placement > self.last.placement { 1 } else { self.last.number.0 + 1 };
            let id = RunId { placement, number: orchestra_model::service::RunNumber(number) };
            assert_eq!(unit.status.last, id, "{key}");
            self.last = id;
            self.run = Some(RefRun {
                id,
                of: self.order.order.0,
                up: None,
                ready: None,
                stopping: None,
                extended: 0,
                silence: None,
                well: at,
                ending: None,
                found: true,
            });
            return;
        };
        assert_eq!((unit.status.last, run.of.0), (known.id, known.of), "{key}");
        let ending = run.ending.as_ref().map(|ending| (ending.cause.clone(), ending.at));
        if let (None, Some((cause, _))) = (&known.ending, &ending) {
            let (up, upkeep) = (known.up.unwrap(), &self.order.unit.upkeep);
            let right = match cause {
                RunEnd::Asked => known.of != self.order.order.0,
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

    /// What it tells of itself.
    fn check_shown(&self, key: &UnitKey, units: &Units, _broken: bool) {
        let report = units.reports(key.store).find(|it| it.service == key.service).unwrap();
        let state = match (&self.run, &self.rest) {
            (Some(run), _)
                if run.ending.is_some() || run.stopping.is_some() && run.up.is_some() =>
            {
                UnitState::Stopping
            }
            (Some(run), _) if run.stopping.is_some() => UnitState::Stopping,
            (Some(run), _) if run.ready.is_some() && run.up.is_some() => UnitState::Ready,
            (Some(_), _) => UnitState::Starting,
            (None, Rest::Stopped) => UnitState::Stopped,
            (None, Rest::Ended) => UnitState::Ended,
            (None, Rest::GaveUp) => UnitState::GaveUp,
            (None, Rest::Waiting { .. }) if !self.has_params => UnitState::AwaitingParams,
            (None, Rest::Waiting { .. }) => UnitState::BackingOff,
        };
        assert_eq!(report.state, state, "{key}: {self:?}");
        assert_eq!(report.order, self.order.order);
        assert_eq!(report.restarts as usize, self.restarts.len(), "{key}");
        if self.last_end.is_some() {
            assert_eq!(report.last_end, self.last_end, "{key}");
        }
        let stage = &units.state().units()[key].status.stage;
        if let (Stage::Waiting { until }, Rest::Waiting { from, until: most }) = (stage, &self.rest)
        {
            assert!((from..=most).contains(&until), "{key} waits until {until}: {self:?}");
        }
    }

    /// What was due when time had passed.
    fn check_limits(&self, at: u64, broken: bool) {
        let upkeep = &self.order.unit.upkeep;
        let Some(run) = &self.run else {
            let Rest::Waiting { until, .. } = self.rest else { return };
            assert!(until > at || broken || !self.has_params, "it does not begin: {self:?}");
            return;
        };
        let Some(up) = run.up.filter(|_| run.is_up()) else { return };
        assert!(run.of == self.order.order.0, "nobody wants it: {self:?}");
        if run.found && !broken && run.ready.is_none() && run.stopping.is_none() {
            let limit = up + upkeep.ready.deadline.0;
            let limit = limit.max(run.extended + 60_000);
            assert!(at < limit, "it is never ready: {self:?} at {at}");
        }
    }
}
