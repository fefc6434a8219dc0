//! What must be durable: one change of the state.

use std::sync::Arc;

use orchestra_model::{
    delivery::{AttemptKey, OrderNumber},
    service::UnitOrder,
};

use crate::state::{Clock, Status, Tombstone, UnitKey, Watch};

/// One change of the state. Entries of one batch become durable together or not at all. Each tells the
/// new value of one thing, so that a journal is read without the rules that made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A sitter begins on a boot of the host that is new to it.
    Clock(Clock),
    /// So much time has passed (ms of the units' clock).
    Passed {
        /// The moment.
        at: u64,
    },
    /// An order for a unit was accepted.
    Ordered {
        /// The unit.
        unit: UnitKey,
        /// The order.
        order: OrderNumber,
        /// Its attempt.
        attempt: AttemptKey,
        /// What it asks for; without its parameters where they are not kept here.
        asked: Arc<UnitOrder>,
        /// Whether its parameters are kept here.
        keeps_params: bool,
    },
    /// How a unit stands.
    Status {
        /// The unit.
        unit: UnitKey,
        /// How.
        status: Box<Status>,
    },
    /// How the watch of an attempt stands.
    Watch {
        /// The attempt.
        key: AttemptKey,
        /// How.
        watch: Watch,
    },
    /// The end of a watch has become its attempt's.
    WatchForgotten {
        /// The attempt.
        key: AttemptKey,
    },
    /// A unit is gone; only its numbers are remembered.
    Forgotten {
        /// The unit.
        unit: UnitKey,
        /// Its numbers.
        tombstone: Tombstone,
    },
}
