//! What must be durable: one change of the state.

use orchestra_model::{
    delivery::{AttemptKey, OrderNumber, StoreId, Term},
    process::ProcessMark,
    proof::{Evidence, Proof},
};

use crate::attempt::{Plan, Settlement};

/// One change of the state. Entries of one batch become durable together or not at all, so each can
/// be about one thing: accepting an order is `Mark` and `Starting`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A higher term of a store was seen.
    Term { store: StoreId, term: Term },
    /// A store's mark rose. Orders up to the mark that were cancelled ahead are forgotten.
    Mark { store: StoreId, mark: OrderNumber },
    /// A store proved how many orders it has issued: more than the spool knew, or as many in a
    /// later term.
    Evidence {
        store: StoreId,
        /// What it proved.
        evidence: Evidence,
    },
    /// An order was cancelled before it came.
    CancelledAhead {
        store: StoreId,
        /// The order, above the mark.
        order: OrderNumber,
    },
    /// An attempt was accepted and is about to start.
    Starting {
        key: AttemptKey,
        order: OrderNumber,
        /// The conductor's proof that it ordered the attempt, if it gave one.
        proof: Option<Proof>,
        /// How it is run.
        plan: Plan,
    },
    /// A starting attempt has its process.
    Started { key: AttemptKey, process: ProcessMark },
    /// A live attempt is being killed because it was cancelled.
    Cancelling { key: AttemptKey },
    /// An attempt has its last word, whether it was live or not.
    Settled {
        key: AttemptKey,
        /// The order that it answers.
        order: OrderNumber,
        /// The conductor's proof that it ordered the attempt, if it gave one.
        proof: Option<Proof>,
        settlement: Settlement,
    },
    /// A settled attempt was acknowledged and is forgotten.
    Acknowledged { key: AttemptKey },
}
