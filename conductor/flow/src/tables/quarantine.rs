//! Why a player is quarantined.

use orchestra_model::delivery::{AttemptKey, OrderNumber, Term};

/// Why a player gets nothing, and which of its claims the store has to let pass when somebody
/// releases it.
#[derive(Clone, Debug)]
pub(crate) struct Quarantine {
    pub(crate) why: String,
    /// The highest order number that it claims.
    pub(crate) highest: OrderNumber,
    /// The highest term that it claims.
    pub(crate) term: Term,
    /// Attempts that it claims and that this store never sent to it.
    pub(crate) attempts: Vec<AttemptKey>,
}
