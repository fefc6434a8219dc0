//! What happened, as the units are told.

use std::fmt;

use orchestra_model::{
    ByteSize, Millis, Params, Timestamp,
    delivery::{AttemptKey, OrderNumber},
    process::ProcessMark,
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

/// How much a player takes upon itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Most units.
    pub units: usize,
    /// Memory of the host, all of which may be reserved for units; `None`: it is not known, and none may.
    pub memory: Option<ByteSize>,
}

/// An order for a unit, whose attempt is to be accepted once it is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ordered {
    /// The attempt.
    pub key: AttemptKey,
    /// Its order's number.
    pub order: OrderNumber,
    /// What it asks for.
    pub unit: UnitOrder,
    /// Whether its parameters may lie in the units' file: their schema is known and none of them is
    /// sensitive. Otherwise they are in memory, and the driver keeps them in a memory file system.
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
    /// A later placement is known here than the one that is ordered.
    Fenced {
        /// That placement.
        known: Placement,
    },
    /// The player has as many units as it may have: so many.
    Full(usize),
    /// More memory is to be reserved than is left.
    Reserved {
        /// For this unit.
        asked: ByteSize,
        /// For others.
        others: ByteSize,
        /// What the host has; `None`: that is not known.
        host: Option<ByteSize>,
    },
    /// A number in it is none that a store can have come to.
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
    Unwatched {
        /// The attempt.
        key: AttemptKey,
    },
    /// The attempt has the end of its watch, durably, or nobody knows the attempt any more.
    WatchSettled {
        /// The attempt.
        key: AttemptKey,
        /// The order that it was watched for: what is late concerns no later one.
        order: OrderNumber,
    },
    /// A memory file system has kept the parameters of a unit.
    ParamsFound {
        /// The unit.
        unit: UnitKey,
        /// The order that they came with. Those of another one than the last are of no use.
        order: OrderNumber,
        /// They.
        params: Params,
    },
    /// Something of a run. Nothing happens where it is not the unit's present run.
    Run {
        /// The unit.
        unit: UnitKey,
        /// The run.
        run: RunId,
        /// What.
        event: RunEvent,
    },
    /// A probe was answered. Nothing happens where it is not the unit's open one: it was of another run,
    /// or of a rule that holds no longer.
    Probed {
        /// The unit.
        unit: UnitKey,
        /// Which question.
        number: ProbeNumber,
        /// What came of it.
        outcome: ProbeOutcome,
    },
    /// Time has passed. Given after all other inputs of a turn, so that a word that came in time is
    /// never too late.
    Woken,
}

/// A question to a unit's run: counted from 1 by each sitter, over all of its units.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProbeNumber(pub u64);

/// What came of a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProbeOutcome {
    /// It was answered as it should be.
    Healthy,
    /// It was not, for this reason: refused, silent for its timeout, a wrong answer.
    Unhealthy(String),
    /// Nobody can tell: who asks is not there or came too late itself. It says nothing of the unit.
    Unknown,
}

/// What happened to a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunEvent {
    /// Its process exists.
    Spawned(ProcessMark),
    /// Its process could not be made, for certain, and nothing is left of it.
    NotSpawned {
        /// Why.
        why: String,
        /// The host lacks something for the moment: another try follows, and it does not count.
        passing: bool,
    },
    /// Its process, which a sitter before this one started, lives.
    Found,
    /// Its process ended. Others of it may be left.
    MainEnded(RunEnd),
    /// The kernel killed a process of it for want of memory.
    OutOfMemory(Exhausted),
    /// No process of it is left.
    Emptied,
    /// It said that it is ready.
    ReadyTold,
    /// It said that it is well.
    WatchdogTold,
    /// It asked to be ended when it is silent for so long; 0: never. The driver bounds how often it may
    /// say so.
    WatchdogSet(Millis),
    /// It asked for so much more time, from now on, to become ready or to end.
    Extended(Millis),
    /// It said that it is ending.
    StoppingTold,
    /// A signal that this order asked for was sent to it, if it was there to get it.
    SignalSent {
        /// The order.
        of: OrderNumber,
        /// The signal.
        signal: i32,
    },
    /// The parameters of this order could not be given to it: another run follows, which has them.
    NotReloaded {
        /// The order.
        of: OrderNumber,
    },
}
