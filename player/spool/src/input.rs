//! What happened, as the spool is told.

use orchestra_model::{
    delivery::{AgentSession, AttemptKey, EndBytes, OrderNumber, Refusal, StoreId, Term},
    process::ProcessMark,
    proof::Mac,
};

use crate::attempt::Plan;

/// What happened. An input about an attempt that is not live any more, or about an earlier session,
/// changes nothing: the first word about an attempt stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A connection stands and asks for the whole state. It replaces any other.
    Opened { session: AgentSession },
    /// The conductor accepted the attach. From now on it gets the reports about its store: first of
    /// every started and every settled attempt, then of what happens.
    Attached {
        session: AgentSession,
        /// Whose conductor it is.
        store: StoreId,
    },
    /// The connection is gone, or the agent is.
    Detached { session: AgentSession },
    /// A conductor named its term, without asking for anything.
    TermSeen {
        store: StoreId,
        term: Term,
        /// The highest order number that the store has issued to this player, with its proof;
        /// `None` from a release without proofs.
        issued: Option<(OrderNumber, Mac)>,
    },
    /// A conductor ordered an attempt.
    Ordered {
        term: Term,
        /// The order's number for this player.
        order: OrderNumber,
        /// The attempt. Order number and term are of its store.
        key: AttemptKey,
        /// The conductor's proof that it ordered this; `None` from a release without proofs. The
        /// spool keeps and shows it; only the conductor can check it.
        mac: Option<Mac>,
        /// How the attempt would be run, or why the driver would not run it: an unknown or disabled
        /// score, its parameters, a player that stops. Used only if the order is news. It does not
        /// consider what the spool counts itself: capacity, concurrency and exclusive attempts.
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
        /// The order number of the report, because a late acknowledgement of a `Busy` must not
        /// remove the end of a later order for the same attempt. `None` means any.
        order: Option<OrderNumber>,
    },
    /// The process of a starting attempt exists.
    Started { key: AttemptKey, process: ProcessMark },
    /// It is certain that the process of a starting attempt was not made.
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
