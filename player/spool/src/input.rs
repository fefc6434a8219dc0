//! What happened, as the spool is told.

use orchestra_model::{
    delivery::{AgentSession, AttemptKey, EndBytes, OrderNumber, Refusal, StoreId, Term},
    process::ProcessMark,
    proof::Mac,
};

use crate::attempt::Plan;

/// What happened. An input about an attempt that is not live any more, or about a session that is
/// not the present one, changes nothing: first words win.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A connection stands and asks for the whole state. It replaces any other.
    Opened { session: AgentSession },
    /// The conductor accepted the attach. From here on reports go to it, those of its store only:
    /// first everything live and started, everything settled, then what happens.
    Attached {
        session: AgentSession,
        /// Whose conductor it is.
        store: StoreId,
    },
    /// The connection is gone, or the agent is.
    Detached { session: AgentSession },
    /// A conductor named its term, without asking for anything.
    TermSeen {
        /// Of this store.
        store: StoreId,
        term: Term,
        /// The highest order number that it has issued to this player, and its proof; `None` from a
        /// release without proofs.
        issued: Option<(OrderNumber, Mac)>,
    },
    /// A conductor ordered an attempt.
    Ordered {
        term: Term,
        /// The order's number for this player.
        order: OrderNumber,
        /// The attempt; its store is the store of number and term.
        key: AttemptKey,
        /// The conductor's proof that it ordered this; `None` from a release without proofs. It is kept
        /// and shown, never checked: only the conductor can.
        mac: Option<Mac>,
        /// How it would be run, or why the driver would not: unknown or disabled score,
        /// parameters, stopping. Used only where the order is news; what the spool counts itself
        /// (capacity, concurrency, exclusive) is not to be looked at here.
        admission: Result<Plan, Refusal>,
    },
    /// A conductor cancelled an attempt, whether or not its order has come.
    Cancelled {
        term: Term,
        /// The number of the order that it cancels.
        order: OrderNumber,
        key: AttemptKey,
        /// The conductor's proof that it ordered this; `None` from a release without proofs.
        mac: Option<Mac>,
    },
    /// What was reported of an attempt is on the conductor's disk.
    Acknowledged {
        term: Term,
        key: AttemptKey,
        /// The order number of the report: a late acknowledgement of a `Busy` must not wipe out
        /// the end of a later order for the same attempt. `None`: whichever.
        order: Option<OrderNumber>,
    },
    /// The process of a starting attempt exists.
    Started {
        key: AttemptKey,
        process: ProcessMark,
    },
    /// The process of a starting attempt could not be made, for certain.
    StartFailed {
        key: AttemptKey,
        /// Why: `SpawnFailed`, or what else came up.
        refusal: Refusal,
    },
    /// A live attempt ended, or its end can never be known.
    Ended {
        key: AttemptKey,
        /// The encoded end.
        end: EndBytes,
    },
}
