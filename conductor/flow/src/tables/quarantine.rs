//! Why a player is quarantined.

use orchestra_model::delivery::{AttemptKey, OrderNumber, Term};

/// Why a player gets nothing, and what of its claims has to pass when it is released.
#[derive(Clone, Debug)]
pub(crate) struct Quarantine {
    pub(crate) why: String,
    /// The highest order number that it claims.
    pub(crate) highest: OrderNumber,
    /// The highest term that it claims.
    pub(crate) term: Term,
    /// Attempts that this store never sent to it.
    pub(crate) attempts: Vec<AttemptKey>,
}
