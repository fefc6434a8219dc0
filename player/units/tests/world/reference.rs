//! What must be so, without cleverness: lists that are never shortened, and one question after the
//! other. It follows the engine step by step. What only the engine decides (when a wait that was drawn
//! is over, that a limit has passed) it does not foretell: it asks whether that was right.

use std::collections::{BTreeMap, BTreeSet};

use orchestra_model::{
    delivery::AttemptKey,
    score::ScoreHash,
    service::{Placement, ReadySign, RunEnd, UnitOrder, Wanted},
};
use orchestra_units::{Capacity, Ordered, ProbeNumber, RunEvent, RunId, UnitKey, Units, WatchEnd};

mod links;
mod probes;
mod unit;
mod watches;

#[derive(Clone, Debug)]
pub(crate) struct RefRun {
    pub(crate) id: RunId,
    pub(crate) of: u64,
    /// The order of the unit that it is linked to, which it began beside.
    pub(crate) beside: Option<u64>,
    /// When it was decided to begin it.
    pub(crate) begun: u64,
    pub(crate) up: Option<u64>,
    pub(crate) score: Option<ScoreHash>,
    pub(crate) ready: Option<u64>,
    pub(crate) stopping: Option<u64>,
    pub(crate) extended: u64,
    pub(crate) silence: Option<u64>,
    pub(crate) well: u64,
    pub(crate) ending: Option<(RunEnd, u64)>,
    pub(crate) found: bool,
    /// Since when probes say that it is unhealthy.
    pub(crate) unhealthy: Option<u64>,
    /// Signals that it is to get, and when it got the last one.
    pub(crate) signals: BTreeSet<i32>,
    pub(crate) signalled: u64,
    pub(crate) asked: RefAsked,
}

/// What a run is being asked.
#[derive(Clone, Debug, Default)]
pub(crate) struct RefAsked {
    /// The open question.
    pub(crate) open: Option<ProbeNumber>,
    /// When something was asked last, or the asking began.
    pub(crate) at: u64,
    /// Whether what is asked is if it is healthy; `None`: nothing is.
    pub(crate) healthy: Option<bool>,
    /// Answers to that, without those that are unknown.
    pub(crate) answers: Vec<bool>,
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
    /// Whether the number after the last run's may be used before that is on disk, and whether an
    /// earlier sitter may have used it.
    pub(crate) ahead: bool,
    pub(crate) doubtful: bool,
    pub(crate) last_end: Option<RunEnd>,
    /// When its rule restarted it, since the last order.
    pub(crate) restarts: Vec<u64>,
    pub(crate) waits: u32,
    /// When its health turned, since the last order.
    pub(crate) turns: Vec<u64>,
    /// The last order that no run lived through.
    pub(crate) changed: u64,
    /// The lease that it was given last: for which placement, until when, and when all has to be gone.
    pub(crate) lease: Option<(Placement, u64, u64)>,
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
    pub(crate) fn takes(&self, key: &UnitKey, order: &Ordered, capacity: &Capacity) -> bool {
        let (number, placement) = (order.order.0, order.unit.instance.placement);
        if self.broken {
            return false;
        }
        if let Some(unit) = self.units.get(key) {
            let same = (unit.order.order, unit.order.key) == (order.order, order.key);
            let later = number > unit.order.order.0;
            let fits = self.fits(key, order, capacity);
            return same || (later && placement >= unit.order.unit.instance.placement && fits);
        }
        let room = self.units.len() < capacity.units || order.unit.wanted == Wanted::Gone;
        let room = room && self.fits(key, order, capacity);
        match self.gone.get(key) {
            None => room,
            Some((last, attempt, run)) => {
                let same = (*last, *attempt) == (number, order.key);
                room && (same || number > *last) && placement >= run.placement
            }
        }
    }

    /// Whether what others have reserved leaves as much memory as this order reserves.
    fn fits(&self, key: &UnitKey, order: &Ordered, capacity: &Capacity) -> bool {
        let reserve = |unit: &UnitOrder| match unit.wanted {
            Wanted::Running
            | Wanted::Restarted
            | Wanted::Signalled(_)
            | Wanted::Healthy
            | Wanted::Younger(_) => {
                unit.upkeep.resources.and_then(|it| it.reserve).map_or(0, |it| it.0)
            }
            Wanted::Stopped | Wanted::Gone => 0,
        };
        let mut reserved = reserve(&order.unit);
        for (other, unit) in &self.units {
            reserved += if other == key { 0 } else { reserve(&unit.order.unit) };
        }
        let must_fit = order.unit.upkeep.resources.is_none_or(|it| it.enforced);
        reserve(&order.unit) == 0 || !must_fit || reserved <= capacity.memory.unwrap().0
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
            ahead: false,
            doubtful: false,
            last_end: None,
            restarts: Vec::new(),
            waits: 0,
            turns: Vec::new(),
            changed: 0,
            lease: None,
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
        let reload = order.unit.upkeep.reload.filter(|_| {
            let parts = |it: &Ordered| (it.unit.instance, it.unit.upkeep.clone());
            parts(&before) == parts(order) && !alike
        });
        unit.has_params = true;
        let signal = match order.unit.wanted {
            Wanted::Signalled(signal) => Some(signal),
            _ => None,
        };
        let for_health = order.unit.wanted == Wanted::Healthy;
        let younger_than = match order.unit.wanted {
            Wanted::Younger(age) => Some(age.0),
            _ => None,
        };
        let is_anew = signal.is_none() && !for_health && younger_than.is_none();
        if is_anew || before.unit.upkeep.restart != order.unit.upkeep.restart {
            unit.restarts.clear();
            unit.waits = 0;
            unit.turns.clear();
        }
        let changed = std::mem::replace(&mut unit.changed, order.order.0);
        match &mut unit.run {
            Some(run) => {
                let goes_on = run.ending.is_none() && run.stopping.is_none();
                let is_ready = run.up.is_some() && run.ready.is_some() && run.unhealthy.is_none();
                let is_told = alike || (reload.is_some() && is_ready);
                let is_young = younger_than.is_some_and(|age| at - run.begun < age);
                let spared = (for_health && run.unhealthy.is_none()) || is_young;
                let wanted = order.unit.wanted == Wanted::Running || signal.is_some() || spared;
                if goes_on && run.of == before.order.0 && is_told && wanted {
                    run.of = order.order.0;
                    run.signals.extend(signal);
                    run.signals.extend(reload.map(|rule| rule.signal));
                    unit.changed = changed;
                    if order.unit.upkeep.health.is_none() && run.unhealthy.take().is_some() {
                        run.ready = Some(at);
                    }
                }
                run.asked = RefAsked::default();
            }
            None if !is_anew && unit.rest != Rest::Stopped => {}
            None => unit.rest = rest_by(order, at),
        }
    }

    /// What happened to a unit's present run; `false` where it was of another one.
    pub(crate) fn happened(&mut self, key: &UnitKey, run: RunId, event: &RunEvent, at: u64) {
        let Some(unit) = self.units.get_mut(key) else { return };
        let by_itself = unit.order.unit.upkeep.ready.sign == ReadySign::Started;
        let ran_out = unit.is_leased() && unit.lease.is_none_or(|(_, until, _)| until <= at);
        let Some(it) = unit.run.as_mut().filter(|it| it.id == run) else { return };
        match event {
            RunEvent::Spawned { score, .. } => {
                it.score = Some(*score);
                unit.ahead = unit.order.unit.upkeep.linked_to.is_none();
                (it.up, it.found, it.well) = (Some(at), true, at);
                if by_itself {
                    it.ready = Some(at);
                }
            }
            RunEvent::NotSpawned { why, passing } => {
                let _ = it.ending.get_or_insert((RunEnd::NotSpawned(why.clone()), at));
                unit.conclude(at, *passing);
            }
            RunEvent::Found => {
                unit.doubtful = false;
                (it.found, it.well) = (true, at);
            }
            RunEvent::MainEnded(end) => {
                let end = blame(ran_out, end);
                let _ = it.ending.get_or_insert((end, at));
            }
            RunEvent::OutOfMemory(had) => match &mut it.ending {
                None => it.ending = Some((RunEnd::OutOfMemory(*had), at)),
                Some((end @ (RunEnd::Exited(_) | RunEnd::Signalled(_) | RunEnd::Unknown), _)) => {
                    *end = RunEnd::OutOfMemory(*had);
                }
                Some(_) => {}
            },
            RunEvent::Emptied => {
                if it.up.is_some() || it.ending.is_some() {
                    let end = blame(ran_out, &RunEnd::Unknown);
                    let _ = it.ending.get_or_insert((end, at));
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
            RunEvent::SignalSent { of, signal } if *of == unit.order.order => {
                it.signals.remove(signal);
                it.signalled = at;
            }
            RunEvent::NotReloaded { of } if *of == unit.order.order => it.of = 0,
            RunEvent::SignalSent { .. } | RunEvent::NotReloaded { .. } => {}
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
            unit.doubtful = unit.ahead;
            unit.lease = None;
            let Some(run) = &mut unit.run else { continue };
            run.found = false;
            run.asked = RefAsked::default();
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
            let around = self.around(&key, at);
            let unit = self.units.get_mut(&key).unwrap();
            unit.follow_run(&key, units, at, self.broken, around);
            unit.check_asked(&key, units, at, woken);
        }
        for (key, unit) in &self.units {
            let around = self.around(key, at);
            unit.check_shown(key, units, around, at);
            if woken {
                unit.check_limits(at, self.broken, around);
            }
        }
        assert_eq!(self.units.len(), units.state().units().len());
        self.follow_watches(units, at, woken);
    }

    /// A run is told to end.
    pub(crate) fn check_left(&self, key: &UnitKey, units: &Units, run: RunId, at: u64) {
        let unit = self.units.get(key).filter(|unit| unit.last == run);
        let known = units.state().units().get(key).and_then(|unit| unit.status.run());
        if let Some((unit, known)) = unit.zip(known) {
            unit.check_left(known.stop.linger.0, at);
        }
    }

    fn check_gone(&mut self, key: &UnitKey, units: &Units) {
        let unit = self.units.remove(key).unwrap();
        assert!(unit.order.unit.wanted == Wanted::Gone && unit.run.is_none(), "{unit:?}");
        let placement = unit.order.unit.instance.placement;
        let none = RunId { placement, ..RunId::default() };
        let last = unit.last_of_all().max(none);
        self.gone.insert(key.clone(), (unit.order.order.0, unit.order.key, last));
        assert_eq!(units.state().tombstones()[key].last, last);
    }
}

impl RefRun {
    /// Whether it is known to live, ready and as its unit's order wants it, so that it can take signals.
    pub(crate) fn can_hear(&self, unit: &RefUnit) -> bool {
        let goes_on = self.up.is_some() && self.ending.is_none() && self.stopping.is_none();
        goes_on && self.found && self.ready.is_some() && self.of == unit.order.order.0
    }
}

/// What kills a run whose lease has run out while its sitter does not run is not known by its signal.
fn blame(ran_out: bool, end: &RunEnd) -> RunEnd {
    match end {
        RunEnd::Signalled(9) | RunEnd::Unknown if ran_out => RunEnd::LeaseRanOut,
        end => end.clone(),
    }
}

impl RefUnit {
    pub(crate) fn is_leased(&self) -> bool {
        self.order.unit.upkeep.lease().is_some()
    }

    /// Whether a run may begin, or go on, as far as leases are concerned.
    pub(crate) fn may_run(&self, at: u64) -> bool {
        let placement = self.order.unit.instance.placement;
        let holds = |(of, until, _)| of == placement && at < until;
        !self.is_leased() || self.lease.is_some_and(holds)
    }

    pub(crate) fn leased(&mut self, lease: (Placement, u64, u64)) {
        if !self.is_leased() || lease.0 != self.order.unit.instance.placement {
            return;
        }
        let before = self.lease.filter(|before| before.0 == lease.0).unwrap_or(lease);
        self.lease = Some((lease.0, before.1.max(lease.1), before.2.max(lease.2)));
    }
}

fn rest_by(order: &Ordered, at: u64) -> Rest {
    match order.unit.wanted {
        Wanted::Stopped | Wanted::Gone => Rest::Stopped,
        _ => Rest::Waiting { from: at, until: at },
    }
}
