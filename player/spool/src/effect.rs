//! What to do, as the spool asks.

use orchestra_model::{
    Timestamp,
    delivery::{
        AttemptKey, LiveAttempt, OrderNumber, Refusal, SettledAttempt, SpoolId, StoreId, Term,
    },
    proof::Evidence,
};

use crate::{
    attempt::{EndBytes, Plan},
    input::Session,
};

/// What the driver does next, in order. Everything it rests on is durable when it is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Send the whole state.
    Snapshot {
        /// To this session.
        session: Session,
        /// What the spool knows of it.
        snapshot: Snapshot,
    },
    /// Send a report.
    Report {
        /// To this session.
        session: Session,
        /// What.
        report: Report,
    },
    /// Make the process, then say `Started` or `StartFailed`. Given at most once for an order.
    Start {
        /// The attempt.
        key: AttemptKey,
        /// Its order.
        order: OrderNumber,
        /// How.
        plan: Plan,
    },
    /// Begin to end the attempt because it was cancelled: TERM, grace, KILL. May be given again,
    /// also for one that is being killed already.
    Kill {
        /// The attempt.
        key: AttemptKey,
    },
}

/// What a conductor is told of one attempt; [`orchestra_model::delivery::Report`] with the end as
/// it was encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// The process exists.
    Started {
        /// The attempt.
        key: AttemptKey,
        /// Its order.
        order: OrderNumber,
        /// When, in wall time.
        at: Timestamp,
    },
    /// It ended.
    Ended {
        /// The attempt.
        key: AttemptKey,
        /// Its order.
        order: OrderNumber,
        /// How.
        end: EndBytes,
    },
    /// It did not start and never will.
    Refused {
        /// The attempt.
        key: AttemptKey,
        /// Its order.
        order: OrderNumber,
        /// Why.
        refusal: Refusal,
    },
}

impl Report {
    /// The attempt that it is about.
    pub fn key(&self) -> AttemptKey {
        match self {
            Report::Started { key, .. }
            | Report::Ended { key, .. }
            | Report::Refused { key, .. } => *key,
        }
    }
}

/// What the spool knows of a player's whole state; the driver adds capacity, grace and scores to
/// make it an [`orchestra_model::delivery::PlayerSnapshot`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The spool.
    pub spool: SpoolId,
    /// One for each store that it ever served, in their order: what is durable.
    pub marks: Vec<StoreMark>,
    /// Attempts of all stores that are starting or started, in the order of their keys.
    pub live: Vec<LiveAttempt>,
    /// Attempts of all stores that ended or were refused and are not acknowledged.
    pub settled: Vec<SettledAttempt>,
}

impl Snapshot {
    /// What it says of a store; mark and term are 0 where the store is new.
    pub fn mark_of(&self, store: StoreId) -> StoreMark {
        let none = StoreMark { store, mark: OrderNumber(0), term: Term(0), evidence: None };
        self.marks.iter().find(|mark| mark.store == store).copied().unwrap_or(none)
    }
}

/// How far a spool is with one store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreMark {
    /// The store.
    pub store: StoreId,
    /// The highest order number that the spool has durably answered for.
    pub mark: OrderNumber,
    /// The highest term that the spool has durably seen.
    pub term: Term,
    /// What it can show for both; `None` where the store proved nothing.
    pub evidence: Option<Evidence>,
}
