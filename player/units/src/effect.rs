//! What to do, as the units ask.

use std::{fmt, sync::Arc};

use orchestra_model::{
    Millis,
    delivery::{AttemptKey, OrderNumber, StoreId},
    process::ProcessMark,
    service::{Probe, RunEnd, UnitOrder, UnitReport},
};

use crate::{
    input::ProbeNumber,
    state::{RunId, UnitKey},
};

/// What the driver does next, in order. Everything it rests on is durable when it is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// An order is on disk and its watch goes on: only now may its attempt be accepted.
    Watching {
        /// The attempt.
        key: AttemptKey,
        /// Its order.
        order: OrderNumber,
    },
    /// Make the process, then say `Spawned` or `NotSpawned`, within a bounded time. Given at most once
    /// for a run.
    Spawn {
        /// The unit.
        unit: UnitKey,
        /// The run.
        run: RunId,
        /// What runs, with its parameters.
        order: Arc<UnitOrder>,
    },
    /// Look for the process of a run that a sitter before this one started, then say `Found` or
    /// `MainEnded`.
    Find {
        /// The unit.
        unit: UnitKey,
        /// The run.
        run: RunId,
        /// Its process.
        process: ProcessMark,
    },
    /// Send a signal to every process of a run.
    Terminate {
        /// The unit.
        unit: UnitKey,
        /// The run.
        run: RunId,
        /// Which signal.
        signal: i32,
    },
    /// Send a signal to the first process of a run and say `SignalSent`. Where there is `reload`, its
    /// parameters are put into the run's file before; where they cannot be, nothing is sent and
    /// `NotReloaded` said. Given again by the next sitter, unless that was said: so a signal may come
    /// twice.
    Signal {
        /// The unit.
        unit: UnitKey,
        /// The run.
        run: RunId,
        /// The order that asked for it.
        of: OrderNumber,
        /// Which signal.
        signal: i32,
        /// What the run is to read.
        reload: Option<Arc<UnitOrder>>,
    },
    /// Kill whatever is left of a run, look again until nothing is, and say `Emptied`. The run may have
    /// no known process: then it is hunted.
    KillAll {
        /// The unit.
        unit: UnitKey,
        /// The run.
        run: RunId,
    },
    /// An attempt's watch is over: end the attempt, then say `WatchSettled`. Given again by the next
    /// sitter until that was said.
    EndWatch {
        /// The attempt.
        key: AttemptKey,
        /// The order that it was watched for.
        order: OrderNumber,
        /// How.
        end: WatchEnd,
    },
    /// Ask a unit's run something, then say `Probed` within a bounded time: also where there is no
    /// answer, or nobody could ask.
    Probe {
        /// The unit.
        unit: UnitKey,
        /// Which question: given once.
        number: ProbeNumber,
        /// What is asked.
        probe: Probe,
        /// How long the answer may take.
        timeout: Millis,
    },
    /// Tell how a unit is.
    Report {
        /// Its store.
        store: StoreId,
        /// How it is.
        report: UnitReport,
    },
    /// The unit is gone: remove what it had on this host.
    Forget {
        /// The unit.
        unit: UnitKey,
    },
}

/// How the watch of an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchEnd {
    /// The unit is as the order wants it, for as long as it wants it.
    Ready,
    /// It was not in time.
    TimedOut,
    /// It never will be by itself.
    Failed {
        /// What happened to it.
        failure: UnitFailure,
        /// How its last run ended.
        cause: RunEnd,
    },
    /// Somebody cancelled the attempt. The unit stays as it was ordered.
    Cancelled,
    /// A newer order for the unit came.
    Superseded,
    /// The order could not be written, for this reason. It is in force for as long as this sitter lives.
    Unwritten(String),
}

/// Why a unit will not be as an order wants it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnitFailure {
    /// It needed more restarts than its rule allows.
    GaveUp,
    /// Its restart rule asks for no further run.
    Ended,
    /// The kernel killed a process of it for want of memory.
    OutOfMemory,
}

impl fmt::Display for UnitFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::GaveUp => "more restarts were needed than restart.attempts allows",
            Self::Ended => "it ended, and restart.when asks for no further run",
            Self::OutOfMemory => "the kernel killed a process of it for want of memory",
        })
    }
}
