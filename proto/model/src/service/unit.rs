//! What conductor and sitter say to each other of units.

use std::{fmt, sync::Arc};

use crate::{
    audit::Asker,
    delivery::OrderNumber,
    names::{ScoreName, ServiceName},
    params::Params,
    score::ScoreHash,
    service::{Ordinal, Placement, RunNumber, ServiceVersion, Upkeep},
    size::ByteSize,
    state::kebab_enum,
    time::{Millis, Timestamp},
};

/// What a job of a flow asks of the units of a service on its hosts. Such a task starts no process of
/// its own: it is ok once the unit is as wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitJob {
    /// The service.
    pub service: ServiceName,
    /// Which of its versions the units are to be.
    pub version: ServiceVersion,
    /// What is asked of them.
    pub wanted: Wanted,
    /// How they are looked after from then on.
    pub upkeep: Upkeep,
    /// For how long a unit has to be ready, without a run that ends, for its task to be ok.
    pub healthy_for: Millis,
    /// How long after its acceptance the task is timed out.
    pub deadline: Millis,
    /// What the version's score is; `None`: that is not known.
    pub score_hash: Option<ScoreHash>,
    /// The instance on each host of the job, in the order of its host set.
    pub instances: Arc<[Instance]>,
}

/// An instance that lives, or is to live, on one player.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instance {
    /// Which.
    pub ordinal: Ordinal,
    /// By which assignment.
    pub placement: Placement,
}

/// What is asked of a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// That it runs as its version says. A run of the same version and placement goes on.
    Running,
    /// That its present run, if there is one, ends and a new one is ready. Restarts are counted from 0
    /// again, and a unit that gave up runs again.
    Restarted,
    /// That its present run, if it has one that does not end, gets this signal, and is ready after it. A
    /// unit without a run stays as it is, unless it was stopped. Restarts go on to be counted.
    Signalled(i32),
    /// That it is healthy: an unhealthy run ends and a new one is ready; a run that is not unhealthy
    /// goes on. A unit without a run stays as it is, unless it was stopped. Restarts go on to be counted.
    Healthy,
    /// That its run is younger than this: an older one ends and a new one is ready; a younger one goes
    /// on. A unit without a run stays as it is, unless it was stopped. Restarts go on to be counted.
    Younger(Millis),
    /// That it has no run until it is asked for one.
    Stopped,
    /// That it has no run, and is forgotten.
    Gone,
}

impl Wanted {
    /// Whether a run is wanted.
    pub fn is_to_run(self) -> bool {
        match self {
            Wanted::Running
            | Wanted::Restarted
            | Wanted::Signalled(_)
            | Wanted::Healthy
            | Wanted::Younger(_) => true,
            Wanted::Stopped | Wanted::Gone => false,
        }
    }

    /// Whether a unit goes on as it was, beside what is asked of its run: restarts go on to be
    /// counted, and a unit without a run stays as it is, unless it was stopped.
    pub fn continues(self) -> bool {
        matches!(self, Wanted::Signalled(_) | Wanted::Healthy | Wanted::Younger(_))
    }
}

/// What an order asks of a unit, as the sitter needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitOrder {
    /// The service.
    pub service: ServiceName,
    /// Its version.
    pub version: ServiceVersion,
    /// The instance here.
    pub instance: Instance,
    /// What is asked.
    pub wanted: Wanted,
    /// What runs: `ORC_SCORE`.
    pub score: ScoreName,
    /// See [`UnitJob::score_hash`].
    pub score_hash: Option<ScoreHash>,
    /// Who asked: `ORC_AUDIENCE`.
    pub audience: Asker,
    /// Its parameters: `ORC_<key>`.
    pub params: Params,
    /// How the unit is looked after.
    pub upkeep: Upkeep,
    /// See [`UnitJob::healthy_for`].
    pub healthy_for: Millis,
    /// See [`UnitJob::deadline`].
    pub deadline: Millis,
}

kebab_enum!(
    /// Where a unit is.
    UnitState {
        /// Its run is about to start, or has started and is not ready.
        Starting = "starting",
        /// Its run is ready.
        Ready = "ready",
        /// Its run has been ready, and probes of its health fail.
        Unhealthy = "unhealthy",
        /// Its run ended, and the next one follows after a wait.
        BackingOff = "backing-off",
        /// Its run is being ended.
        Stopping = "stopping",
        /// It has no run, and none is asked for.
        Stopped = "stopped",
        /// It has no run: its last one ended, and its restart rule asks for no other.
        Ended = "ended",
        /// It has no run: more restarts were needed than its rule allows. A person has to restart it.
        GaveUp = "gave-up",
        /// It has no run, for its parameters were in memory alone and are gone; it waits for the
        /// conductor.
        AwaitingParams = "awaiting-params",
        /// It has no run: it waits until the unit that it is linked to is ready.
        AwaitingLinked = "awaiting-linked",
        /// It has no run: it waits for a lease, without which none may begin.
        AwaitingLease = "awaiting-lease",
        /// It has no run and is forgotten.
        Gone = "gone",
    }
);

impl UnitState {
    /// Whether a unit that is there has a run that was not told to end.
    pub fn has_run(self) -> bool {
        matches!(self, UnitState::Starting | UnitState::Ready | UnitState::Unhealthy)
    }
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunEnd {
    /// Its process exited with this code.
    Exited(i32),
    /// Its process died of this signal, sent by somebody else.
    Signalled(i32),
    /// The kernel killed a process of it for want of memory.
    OutOfMemory(Exhausted),
    /// It was not ready by its deadline, and ended for that.
    NeverReady,
    /// It had asked to be watched, was silent for too long, and ended for that.
    Watchdog,
    /// It was asked to end: by an order.
    Asked,
    /// The unit that it is linked to was to stop, or to have a new run, and it ended before.
    Linked,
    /// Its process could not be made, for this reason.
    NotSpawned(String),
    /// Its lease ran out, and it ended for that.
    LeaseRanOut,
    /// The host was started anew.
    HostRestarted,
    /// It ended, and how can never be known.
    Unknown,
}

/// How much memory a run had that was out of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exhausted {
    /// The most that it might have; `None`: it had no limit of its own, or that is not known.
    pub limit: Option<ByteSize>,
    /// The most that it had; `None` where the kernel does not say.
    pub peak: Option<ByteSize>,
}

/// `out of memory: it had 63.9MiB, with a limit of 64MiB`
impl fmt::Display for Exhausted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("out of memory")?;
        match (self.peak.map(ByteSize::rounded), self.limit) {
            (Some(peak), Some(limit)) => write!(f, ": it had {peak}, with a limit of {limit}"),
            (Some(peak), None) => write!(f, ": it had {peak}"),
            (None, Some(limit)) => write!(f, ": its limit is {limit}"),
            (None, None) => Ok(()),
        }
    }
}

impl RunEnd {
    /// Whether `on-failure` restarts after it. What is unknown counts as a failure.
    pub fn is_failure(&self) -> bool {
        *self != RunEnd::Exited(0)
    }
}

impl fmt::Display for RunEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(code) => write!(f, "exited {code}"),
            Self::Signalled(signal) => write!(f, "killed by signal {signal}"),
            Self::OutOfMemory(exhausted) => exhausted.fmt(f),
            Self::NeverReady => f.write_str("never ready"),
            Self::Watchdog => f.write_str("silent for longer than its watchdog allows"),
            Self::Asked => f.write_str("asked to end"),
            Self::Linked => f.write_str("ended before the unit that it is linked to"),
            Self::NotSpawned(why) => write!(f, "not started: {why}"),
            Self::LeaseRanOut => f.write_str("its lease ran out"),
            Self::HostRestarted => f.write_str("the host was started anew"),
            Self::Unknown => f.write_str("ended, nobody knows how"),
        }
    }
}

/// How a unit stands, as its sitter tells it: at each attach, and when it changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitReport {
    /// The service.
    pub service: ServiceName,
    /// The version that it is of.
    pub version: ServiceVersion,
    /// The instance.
    pub instance: Instance,
    /// The order that asked last for something of it.
    pub order: OrderNumber,
    /// Where it is.
    pub state: UnitState,
    /// Since when it is there, by the player's clock.
    pub since: Timestamp,
    /// Its present run, or its last one.
    pub run: RunNumber,
    /// What its present run executes; `None`: it has no run, or its player is of an earlier release.
    pub score_hash: Option<ScoreHash>,
    /// How long ago its present run began, when this was told; `None`: it has no run, or its player is
    /// of an earlier release.
    pub run_age: Option<Millis>,
    /// How often it was restarted by its rule since a person asked for something of it.
    pub restarts: u32,
    /// How its last run ended, if one has.
    pub last_end: Option<RunEnd>,
    /// Why it is unhealthy, while it is: what the probe met that made it so.
    pub trouble: Option<String>,
    /// How often it turned from ready to unhealthy, or back, since an order asked last for something of
    /// it.
    pub turns: u32,
    /// Whether it turns so often that nobody is to rely on it: it turned four times within 10 minutes,
    /// and within the last 2.
    pub flapping: bool,
}

/// A unit that counts as down: its host holds its cells for it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnwellUnit {
    /// The service.
    pub service: ServiceName,
    /// How it is not well.
    pub unready: Unready,
}

/// `web is not ready`
impl fmt::Display for UnwellUnit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = match self.unready {
            Unready::NotReady => "is not ready",
            Unready::Untold => "is not heard of",
            Unready::GaveUp => "gave up",
        };
        write!(f, "{} {how}", self.service)
    }
}

kebab_enum!(
    /// Why a unit counts as down.
    Unready {
        /// It is not ready, and its sitter goes on with it.
        NotReady = "not-ready",
        /// Nobody has told how it is: its player has not attached since the conductor started, or is
        /// away.
        Untold = "untold",
        /// Only a person can help: it gave up, or its rule asks for no further run.
        GaveUp = "gave-up",
    }
);
