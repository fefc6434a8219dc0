//! What happened, as the units are told.

use std::fmt;

use orchestra_model::{
    ByteSize, Millis, Params, Timestamp,
    delivery::{AttemptKey, OrderNumber},
    process::ProcessMark,
    score::ScoreHash,
    service::{Exhausted, Placement, RunEnd, UnitOrder},
};

use crate::state::{RunId, UnitKey};

/// The moment of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds of `CLOCK_BOOTTIME`, which nobody sets and which counts through suspend. All
    /// lengths are measured by it.
    pub boot_ms: u64,
    /// The wall clock, for people alone: it may jump.
    pub wall: Timestamp,
}

/// How much a player may keep running.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Most units.
    pub units: usize,
    /// Memory of the host. All of it may be reserved for units. `None` if it is not known; then
    /// none may be reserved.
    pub memory: Option<ByteSize>,
}

/// An order for a unit. Its attempt is to be accepted once the order is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ordered {
    pub key: AttemptKey,
    /// Its order's number.
    pub order: OrderNumber,
    /// What it asks for.
    pub unit: UnitOrder,
    /// Whether the parameters may be written to the units' file, because their schema is known and
    /// none of them is sensitive. Otherwise the driver keeps them in a memory file system.
    pub keep_params: bool,
}

/// Why an order for a unit is not taken. Nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// The unit was ordered by a later order already.
    Older {
        /// That order.
        known: OrderNumber,
    },
    /// The player knows a later placement than the one that is ordered.
    Fenced {
        /// That placement.
        known: Placement,
    },
    /// The player has its most units, which are so many.
    Full(usize),
    /// The order reserves more memory than is left.
    Reserved {
        /// For this unit.
        asked: ByteSize,
        /// For others.
        others: ByteSize,
        /// Memory of the host; `None` if it is not known.
        host: Option<ByteSize>,
    },
    /// The order contains a number that no store can have reached.
    Unreachable,
    /// The units' file cannot be written, for this reason.
    Broken(String),
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Older { known } => {
                write!(f, "order {known} for the unit came before; this one is older")
            }
            Self::Fenced { known } => {
                write!(f, "the unit is at placement {known}; this order is for an earlier one")
            }
            Self::Full(most) => write!(f, "the player has {most} units and may have no more"),
            Self::Reserved { asked, others, host: Some(host) } => write!(
                f,
                "{asked} of memory is to be reserved; the host has {}, of which {} is reserved for \
                 other services",
                host.rounded(),
                others.rounded()
            ),
            Self::Reserved { asked, others: _, host: None } => write!(
                f,
                "{asked} of memory is to be reserved, and it is not known how much the host has"
            ),
            Self::Unreachable => f.write_str("it has a number that no store can have come to"),
            Self::Broken(why) => write!(f, "the units' file cannot be written: {why}"),
        }
    }
}

impl std::error::Error for Rejection {}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// An attempt was cancelled: nobody watches for it any more.
    Unwatched { key: AttemptKey },
    /// The attempt has the end of its watch on disk, or the spool does not know the attempt.
    WatchSettled {
        key: AttemptKey,
        /// The order that it was watched for. A late input must not concern a watch for a later
        /// order.
        order: OrderNumber,
    },
    /// A memory file system has kept the parameters of a unit.
    ParamsFound {
        unit: UnitKey,
        /// The order that they came with. Only the parameters of the unit's last order are of use.
        order: OrderNumber,
        params: Params,
    },
    /// A conductor has renewed the lease of a unit, or a sitter before this one was given it.
    /// Ignored unless the unit's last order has this placement and asks for a lease.
    Leased { unit: UnitKey, lease: Leased },
    /// Something happened to a run. Ignored unless it is the unit's present run.
    Run { unit: UnitKey, run: RunId, event: RunEvent },
    /// A probe was answered. Ignored unless it is the unit's open probe: others were of an earlier
    /// run, or of an earlier rule.
    Probed {
        unit: UnitKey,
        /// Which question.
        number: ProbeNumber,
        /// What came of it.
        outcome: ProbeOutcome,
    },
    /// Time has passed. Given after all other inputs of a turn, so that a run's word that came
    /// before a deadline counts.
    Woken,
}

/// A lease of a unit. Moments are of `CLOCK_BOOTTIME`, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leased {
    /// The placement that it is for.
    pub placement: Placement,
    /// When a run of the unit is told to end.
    pub until: u64,
    /// When nothing of that run may be left.
    pub gone: u64,
}

/// The number of a probe. Each sitter counts its probes from 1, over all units.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProbeNumber(pub u64);

/// What came of a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProbeOutcome {
    /// It was answered as it should be.
    Healthy,
    /// It was refused, not answered within its timeout, or answered wrongly. The text says which.
    Unhealthy(String),
    /// There is no prober, or the prober itself was too slow. So nothing is known of the unit.
    Unknown,
}

/// What happened to a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunEvent {
    /// Its process exists.
    Spawned {
        process: ProcessMark,
        /// What it executes.
        score: ScoreHash,
    },
    /// It is certain that its process was not made, and that nothing is left of it.
    NotSpawned {
        why: String,
        /// Whether the host lacks something for the moment. If so, another try follows, which the
        /// restart rule does not count.
        passing: bool,
    },
    /// Its process, which a sitter before this one started, lives.
    Found,
    /// Its first process ended. Other processes of it may be left.
    MainEnded(RunEnd),
    /// The kernel killed a process of it for want of memory.
    OutOfMemory(Exhausted),
    /// No process of it is left.
    Emptied,
    /// It said that it is ready.
    ReadyTold,
    /// It said that it is well.
    WatchdogTold,
    /// It asked to be ended when it has been silent for so long; 0 means never. The driver bounds
    /// how often a run may ask.
    WatchdogSet(Millis),
    /// It asked to have so much time from now on to become ready, or to end.
    Extended(Millis),
    /// It said that it is ending.
    StoppingTold,
    /// A signal that this order asked for was sent to it, unless it had ended.
    SignalSent {
        /// The order.
        of: OrderNumber,
        signal: i32,
    },
    /// The parameters of this order could not be given to it. So it ends, and the next run has
    /// them.
    NotReloaded {
        /// The order.
        of: OrderNumber,
    },
}
