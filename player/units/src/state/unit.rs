//! One unit, its runs, and an attempt's watch over it.

use std::{collections::VecDeque, fmt, sync::Arc};

use orchestra_model::{
    Millis, ServiceName, Timestamp,
    delivery::{AttemptKey, OrderNumber, StoreId},
    journal::{Contradiction, require},
    process::ProcessMark,
    score::ScoreHash,
    service::{Placement, RunEnd, RunNumber, StopRule, UnitOrder, UnitState},
};

use super::{Signals, Turns};
use crate::{bounds, effect::WatchEnd};

/// One unit: a service of one store on this player.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnitKey {
    /// Whose service it is.
    pub store: StoreId,
    pub service: ServiceName,
}

impl fmt::Display for UnitKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.service.fmt(f)
    }
}

/// One execution of a unit. No id comes twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct RunId {
    /// The assignment of the unit's instance that the run belongs to.
    pub placement: Placement,
    /// Counted from 1 within the placement; 0 if there was no run.
    pub number: RunNumber,
}

impl RunId {
    /// Returns the run that follows this one under a placement that is not lower.
    #[must_use]
    pub fn next(self, placement: Placement) -> RunId {
        let last = if placement > self.placement { RunNumber(0) } else { self.number };
        RunId { placement: placement.max(self.placement), number: last.next() }
    }
}

/// What is kept of a unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// The last order for it.
    pub order: OrderNumber,
    /// The attempt that the order was for.
    pub attempt: AttemptKey,
    /// What the order asks for, without its parameters unless they are kept here.
    pub asked: Arc<UnitOrder>,
    /// Whether the parameters are kept here.
    pub keeps_params: bool,
    /// The attempt that watches it.
    pub watch: Option<AttemptKey>,
    /// How it stands.
    pub status: Status,
}

/// How a unit stands. Moments are of the units' clock, in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Its present run, or its last one.
    pub last: RunId,
    /// Whether the number after `last` is spoken for: the run that follows may be begun before its
    /// beginning is on disk. Whoever finds this after a crash leaves that number out.
    pub ahead: bool,
    /// Where it is.
    pub stage: Stage,
    /// Since when it is there, by the wall clock.
    pub since: Timestamp,
    /// How many waits there were since a run was last up for `stable_after`, at most
    /// [`bounds::WAITS`].
    pub waits: u32,
    /// The last order that changed the unit so that a run did not go on. Runs of units that are
    /// linked to this one end when another order takes this place.
    pub changed: OrderNumber,
    /// How often its rule restarted it since the last order.
    pub restarts: u32,
    /// The moments of the restarts that the window of its rule still counts.
    pub recent: RecentRestarts,
    /// When its health turned, and how often.
    pub turns: Turns,
    /// How its last run ended.
    pub last_end: Option<RunEnd>,
}

/// Where a unit is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It has no run. The next one follows at this moment.
    Waiting { until: u64 },
    /// It has a run.
    Running(Box<Run>),
    /// It has no run, and none is asked for.
    Stopped,
    /// It has no run: the last one ended, and the restart rule asks for no other.
    Ended,
    /// It has no run: more restarts were needed than its rule allows.
    GaveUp,
}

/// A run whose processes may live. Moments are of the units' clock, in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// The last order that wants this run. If the unit has another order, the run is to end.
    pub of: OrderNumber,
    /// The [`Status::changed`] that the unit to which this one is linked had when the run began.
    /// `None` if this unit has no link.
    pub beside: Option<OrderNumber>,
    /// How the run is ended.
    pub stop: StopRule,
    /// When it was decided to begin the run.
    pub begun: u64,
    /// Its first process. After a crash `None` means that there may be one, which is hunted.
    pub process: Option<ProcessMark>,
    /// What that executes, once it exists.
    pub score: Option<ScoreHash>,
    /// When its process was made.
    pub up: Option<u64>,
    /// When it showed the sign that it is ready, or was last healthy again after it was not.
    pub ready: Option<u64>,
    /// Set while probes say that it is not healthy.
    pub unhealthy: Option<Unhealthy>,
    /// Until when it asked to have time to become ready, or to end.
    pub extended: Option<u64>,
    /// How long it may be silent.
    pub watchdog: Option<Millis>,
    /// When it said that it is ending.
    pub stopping: Option<u64>,
    /// Signals that it is to get.
    pub signals: Signals,
    /// When it got the last one.
    pub signalled: Option<u64>,
    /// Set when it is over or is being ended.
    pub ending: Option<Ending>,
}

/// Why a run counts as unhealthy: its probes failed too often in a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unhealthy {
    /// Since when (ms of the units' clock).
    pub since: u64,
    /// What the last failed probe met.
    pub why: String,
}

/// Why a run is over, though processes of it may be left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// How the run ended, or why it is being ended.
    pub cause: RunEnd,
    pub at: u64,
}

impl Run {
    /// Returns a run that is about to start.
    pub(crate) fn begin(
        of: OrderNumber,
        beside: Option<OrderNumber>,
        stop: StopRule,
        begun: u64,
    ) -> Self {
        Run {
            of,
            beside,
            stop,
            begun,
            process: None,
            score: None,
            up: None,
            ready: None,
            unhealthy: None,
            extended: None,
            watchdog: None,
            stopping: None,
            signals: Signals::default(),
            signalled: None,
            ending: None,
        }
    }

    /// Returns since when the run is ready and not unhealthy, if it is.
    pub fn ready_since(&self) -> Option<u64> {
        self.ready.filter(|_| self.goes_on() && self.unhealthy.is_none())
    }

    /// Returns whether the run is up and has not begun to end.
    pub(crate) fn goes_on(&self) -> bool {
        self.is_up() && self.stopping.is_none()
    }

    /// Returns until when the run goes on although an order has ended it, so that whoever uses it may
    /// leave; `None` if nobody has to be given that time: it was not ready, or it ends for another reason.
    pub(crate) fn lingers_until(&self) -> Option<u64> {
        let ending = self.ending.as_ref()?;
        let by_order = matches!(ending.cause, RunEnd::Asked | RunEnd::Linked);
        let was_there = self.ready.is_some_and(|ready| ready <= ending.at);
        let had_left = self.stopping.is_some_and(|at| at <= ending.at) || self.unhealthy.is_some();
        let linger = self.stop.linger.0;
        (by_order && was_there && !had_left && linger > 0).then(|| ending.at.saturating_add(linger))
    }

    /// Notes that probes say that the run is healthy again.
    pub(crate) fn recover_at(&mut self, at: u64) {
        self.unhealthy = None;
        self.ready = Some(at);
    }

    /// Returns whether its process is known to exist, and the run is not over or being ended.
    pub fn is_up(&self) -> bool {
        self.up.is_some() && self.ending.is_none()
    }
}

impl Status {
    /// Returns the status of a unit without a run, whose last run was `last`.
    pub(crate) fn new(last: Option<RunId>) -> Self {
        Status {
            last: last.unwrap_or_default(),
            ahead: false,
            stage: Stage::Stopped,
            since: Timestamp(0),
            waits: 0,
            changed: OrderNumber(0),
            restarts: 0,
            recent: RecentRestarts::default(),
            turns: Turns::default(),
            last_end: None,
        }
    }

    /// Returns the last run that may have begun, by what is on disk.
    pub(crate) fn highest(&self) -> RunId {
        if self.ahead { self.last.next(self.last.placement) } else { self.last }
    }

    /// The run that the unit has.
    pub fn run(&self) -> Option<&Run> {
        match &self.stage {
            Stage::Running(run) => Some(run),
            _ => None,
        }
    }

    pub(crate) fn run_mut(&mut self) -> Option<&mut Run> {
        match &mut self.stage {
            Stage::Running(run) => Some(run),
            _ => None,
        }
    }

    /// Returns the state as reports name it. Whether parameters are missing is not known here.
    pub(crate) fn shown(&self) -> UnitState {
        match &self.stage {
            Stage::Waiting { .. } => UnitState::BackingOff,
            Stage::Stopped => UnitState::Stopped,
            Stage::Ended => UnitState::Ended,
            Stage::GaveUp => UnitState::GaveUp,
            Stage::Running(run) if run.ready_since().is_some() => UnitState::Ready,
            Stage::Running(run) if run.ending.is_some() || run.stopping.is_some() => {
                UnitState::Stopping
            }
            Stage::Running(run) if run.ready.is_some() && run.unhealthy.is_some() => {
                UnitState::Unhealthy
            }
            Stage::Running(_) => UnitState::Starting,
        }
    }

    /// Returns why the unit is unhealthy, while it is reported as such.
    pub(crate) fn trouble(&self) -> Option<&str> {
        let unhealthy = self.run().filter(|run| run.goes_on())?.unhealthy.as_ref()?;
        Some(&unhealthy.why)
    }

    /// Checks that a unit's runs follow one another, and that none comes twice.
    pub(crate) fn check_follows(&self, before: &Status) -> Result<(), Contradiction> {
        let begins = self.run().is_some() && before.run().is_none();
        let rises = if begins { self.last > before.last } else { self.last == before.last };
        // A compacted journal begins with a status that tells the last run.
        let is_base = before.last == RunId::default() && before.since == Timestamp(0);
        require(rises || is_base, || format!("run {:?} follows {:?}", self.last, before.last))
    }
}

/// The restarts that the window of a unit's rule counts: moments of the units' clock (ms), each
/// with how many restarts it stands for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecentRestarts(VecDeque<(u64, u32)>);

impl RecentRestarts {
    /// Forgets restarts that are `window` or longer before `now`. Returns how many are left.
    pub(crate) fn count(&mut self, now: u64, window: Millis) -> u64 {
        while self.0.front().is_some_and(|(at, _)| at.saturating_add(window.0) <= now) {
            self.0.pop_front();
        }
        self.0.iter().map(|(_, times)| u64::from(*times)).sum()
    }

    /// Counts a restart at `now`, of at most `attempts` within `window`.
    pub(crate) fn push(&mut self, now: u64, window: Millis, attempts: u32) {
        let nearness = match attempts as usize <= bounds::RESTART_MOMENTS {
            true => 0,
            false => window.0.div_ceil(bounds::RESTART_MOMENTS as u64),
        };
        match self.0.back_mut() {
            Some((first, times)) if now < first.saturating_add(nearness) => {
                *times = times.saturating_add(1);
            }
            _ => self.0.push_back((now, 1)),
        }
    }

    /// The moments, and how many restarts each stands for.
    pub fn moments(&self) -> impl Iterator<Item = (u64, u32)> {
        self.0.iter().copied()
    }

    pub(crate) fn from_moments(moments: impl IntoIterator<Item = (u64, u32)>) -> Self {
        RecentRestarts(moments.into_iter().collect())
    }
}

/// An attempt that waits for a unit to be as its order wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watch {
    pub unit: UnitKey,
    /// The attempt's order.
    pub order: OrderNumber,
    /// When the order was accepted (ms of the units' clock).
    pub accepted: u64,
    /// How the watch ended; kept until the attempt has this end.
    pub end: Option<WatchEnd>,
}

/// The numbers of a unit that is gone, so that none of them comes again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tombstone {
    /// The order that removed the unit.
    pub order: OrderNumber,
    /// The attempt that the order was for.
    pub attempt: AttemptKey,
    /// Its highest placement, and the last run of that placement.
    pub last: RunId,
}
