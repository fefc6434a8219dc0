//! What must be durable: one change of the state.

use std::sync::Arc;

use orchestra_model::{
    delivery::{AttemptKey, OrderNumber},
    service::UnitOrder,
};

use crate::state::{Clock, Status, Tombstone, UnitKey, Watch};

/// One change of the state. Entries of one batch become durable together or not at all. Each holds
/// the new value of one thing, so a journal is read without the rules that made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A sitter begins on a boot of the host that the journal does not know.
    Clock(Clock),
    /// So much time has passed (ms of the units' clock).
    Passed {
        /// The moment.
        at: u64,
    },
    /// An order for a unit was accepted.
    Ordered {
        unit: UnitKey,
        order: OrderNumber,
        attempt: AttemptKey,
        /// What the order asks for, without its parameters unless they are kept here.
        asked: Arc<UnitOrder>,
        /// Whether its parameters are kept here.
        keeps_params: bool,
    },
    /// How a unit stands.
    Status { unit: UnitKey, status: Box<Status> },
    /// How the watch of an attempt stands.
    Watch { key: AttemptKey, watch: Watch },
    /// The attempt of a watch has its end, so the watch is forgotten.
    WatchForgotten { key: AttemptKey },
    /// A unit is gone; only its numbers are remembered.
    Forgotten {
        unit: UnitKey,
        /// Its numbers.
        tombstone: Tombstone,
    },
}
