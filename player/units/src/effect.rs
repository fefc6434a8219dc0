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
    Watching { key: AttemptKey, order: OrderNumber },
    /// Make the process of a run, then say `Spawned` or `NotSpawned` within a bounded time. Given
    /// at most once for a run.
    Spawn {
        unit: UnitKey,
        run: RunId,
        /// What runs, with its parameters.
        order: Arc<UnitOrder>,
    },
    /// Look for the process of a run that a sitter before this one started, then say `Found` or
    /// `MainEnded`.
    Find { unit: UnitKey, run: RunId, process: ProcessMark },
    /// Send a signal to every process of a run.
    Terminate { unit: UnitKey, run: RunId, signal: i32 },
    /// Send a signal to the first process of a run, then say `SignalSent`. With `reload`, first put
    /// its parameters into the run's file; if that fails, send nothing and say `NotReloaded`. The
    /// next sitter gives this effect again unless one of the two was said, so a signal may come
    /// twice.
    Signal {
        unit: UnitKey,
        run: RunId,
        /// The order that asked for it.
        of: OrderNumber,
        signal: i32,
        /// The order whose parameters the run is to read again.
        reload: Option<Arc<UnitOrder>>,
    },
    /// Kill the processes of a run, look again until none is left, then say `Emptied`. If no
    /// process of the run is known, it is hunted.
    KillAll { unit: UnitKey, run: RunId },
    /// An attempt's watch is over: end the attempt, then say `WatchSettled`. Until that was said,
    /// each further sitter gives this effect again.
    EndWatch {
        key: AttemptKey,
        /// The order that it was watched for.
        order: OrderNumber,
        end: WatchEnd,
    },
    /// Probe a unit's run, then say `Probed` within a bounded time, even if there was no answer or
    /// nobody could ask.
    Probe {
        unit: UnitKey,
        /// Given once, so that the answer is told from others.
        number: ProbeNumber,
        /// What is asked.
        probe: Probe,
        /// How long the answer may take.
        timeout: Millis,
    },
    /// Tell how a unit is.
    Report {
        store: StoreId,
        /// How it is.
        report: UnitReport,
    },
    /// The unit is gone: remove what it had on this host.
    Forget { unit: UnitKey },
}

/// How the watch of an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchEnd {
    /// The unit was as the order wants it, for as long as the order asks.
    Ready,
    /// The unit was not as the order wants it before the deadline.
    TimedOut,
    /// The unit will not become what the order wants by itself.
    Failed {
        /// Why the unit will not.
        failure: UnitFailure,
        /// How its last run ended.
        cause: RunEnd,
    },
    /// Somebody cancelled the attempt. The unit stays as it was ordered.
    Cancelled,
    /// A newer order for the unit came.
    Superseded,
    /// The order could not be written, for this reason. It holds for as long as this sitter lives.
    Unwritten(String),
}

/// Why a unit will not be as an order wants it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnitFailure {
    /// It needed more restarts than its rule allows.
    GaveUp,
    /// Its restart rule asks for no further run.
    Ended,
    /// The kernel killed a process of the run for want of memory.
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
