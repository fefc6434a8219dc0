//! What to do, as the spool asks.

use orchestra_model::delivery::{
    AgentSession, AttemptKey, EndBytes, LiveAttempt, OrderNumber, Report, SettledAttempt, SpoolId,
    StoreId, StoreMark, Term,
};

use crate::attempt::Plan;

/// What the driver does next, in order. Everything it rests on is durable when it is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Send the whole state.
    Snapshot {
        session: AgentSession,
        /// What the spool knows of it.
        snapshot: Snapshot,
    },
    /// Send a report.
    Report { session: AgentSession, report: Report<EndBytes> },
    /// Make the attempt's process, then say `Started` or `StartFailed`. Given at most once for an
    /// order.
    Start { key: AttemptKey, order: OrderNumber, plan: Plan },
    /// Begin to end the attempt because it was cancelled: TERM, grace, KILL. May be given again for
    /// an attempt that is being killed already.
    Kill { key: AttemptKey },
}

/// What the spool knows of a player's whole state. The driver adds capacity, grace and scores,
/// which makes an [`orchestra_model::delivery::PlayerSnapshot`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    pub spool: SpoolId,
    /// The durable mark of each store that the spool ever served, in the order of the stores.
    pub marks: Vec<StoreMark>,
    /// Attempts of all stores that are starting or started, in the order of their keys.
    pub live: Vec<LiveAttempt>,
    /// Attempts of all stores that ended or were refused and are not acknowledged.
    pub settled: Vec<SettledAttempt>,
}

impl Snapshot {
    /// Returns the mark of a store; mark and term are 0 if the store is new.
    pub fn mark_of(&self, store: StoreId) -> StoreMark {
        let none = StoreMark { store, mark: OrderNumber(0), term: Term(0), evidence: None };
        self.marks.iter().find(|mark| mark.store == store).copied().unwrap_or(none)
    }
}
