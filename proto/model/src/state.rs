//! States and verdicts of flows, jobs and tasks, and why a task waits. `docs/flows.md` says what each
//! means to people.
//!
//! ```text
//! task:  waiting ─→ sent ─→ running ─→ ok | failed | timed-out | cancelled | lost
//!           │         └──────────────→ refused | cancelled | lost
//!           └────────────────────────→ unreachable | skipped | cancelled
//! flow:  pending ─→ running ⇄ doomed | paused | stalled | cancelling ─→ ok | failed | cancelled
//! ```

/// Declares an enum whose variants print, parse and serialise in kebab-case.
macro_rules! kebab_enum {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant,)+ }

        impl $name {
            /// Every value, in order.
            pub const ALL: &'static [$name] = &[$($name::$variant,)+];

            /// The word for it, in kebab-case.
            pub fn as_str(self) -> &'static str {
                match self { $($name::$variant => $text,)+ }
            }

            /// The value of a word.
            pub fn from_word(word: &str) -> Option<Self> {
                match word { $($text => Some($name::$variant),)+ _ => None }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(self.as_str())
            }
        }
    };
}
pub(crate) use kebab_enum;

kebab_enum!(
    /// Where a task is.
    TaskState {
        /// Not sent yet; [`WaitReason`] says why.
        Waiting = "waiting",
        /// The order is on its way, or accepted by the player.
        Sent = "sent",
        /// The player started it.
        Running = "running",
        /// It exited 0.
        Ok = "ok",
        /// It exited otherwise, or died of a signal.
        Failed = "failed",
        /// It was killed because its timeout ran out.
        TimedOut = "timed-out",
        /// Never sent; waiting for the player was given up.
        Unreachable = "unreachable",
        /// The player would not start it: unknown score, bad parameters, spawn failed.
        Refused = "refused",
        /// Cancelled before it ended by itself.
        Cancelled = "cancelled",
        /// Never sent: its job was doomed, or its slot never came.
        Skipped = "skipped",
        /// Sent, and its end will never be known.
        Lost = "lost",
    }
);

/// Final states that tell what went wrong. `skipped` is only a consequence, which the counts tell.
pub const NOT_OK: [TaskState; 6] = [
    TaskState::Failed,
    TaskState::TimedOut,
    TaskState::Unreachable,
    TaskState::Refused,
    TaskState::Cancelled,
    TaskState::Lost,
];

impl TaskState {
    /// Whether whoever waits reads of it by itself: it went wrong, and nobody asked for that.
    pub fn is_trouble(self) -> bool {
        self != TaskState::Cancelled && NOT_OK.contains(&self)
    }

    /// Whether it never changes again.
    pub fn is_final(self) -> bool {
        !matches!(self, TaskState::Waiting | TaskState::Sent | TaskState::Running)
    }

    /// Whether an order is out whose end is awaited.
    pub fn is_in_flight(self) -> bool {
        matches!(self, TaskState::Sent | TaskState::Running)
    }

    /// Whether it counts against `max_failures`. `unreachable` and `skipped` deny success but do
    /// not count; `lost` and `refused` do. `cancelled` belongs to a cancelled flow.
    pub fn counts_as_failure(self) -> bool {
        matches!(
            self,
            TaskState::Failed | TaskState::TimedOut | TaskState::Refused | TaskState::Lost
        )
    }
}

kebab_enum!(
    /// Why a task waits: the first gate that stops it.
    WaitReason {
        /// Its flow has not begun: it waits for a moment, or for the end of another flow.
        Start = "start",
        /// Its slot has not begun.
        Slot = "slot",
        /// The job's `parallel` window is full.
        Window = "window",
        /// Not enough of the job's players are attached.
        Quorum = "quorum",
        /// The job's first tasks are not all ok, or nobody promoted it, or it bakes.
        Canary = "canary",
        /// The pause before a further attempt.
        RetryDelay = "retry-delay",
        /// Somebody paused the flow.
        Paused = "paused",
        /// Hosts that come before its own, by a deployment's sequence, are not ok yet.
        Sequence = "sequence",
        /// No host that has what it fetches can serve it at the moment.
        Parent = "parent",
        /// A cell of its host is full: as many hosts are busy or down there as may be.
        Cell = "cell",
        /// Somebody drained its player.
        PlayerDrained = "player-drained",
        /// Its player is not attached.
        PlayerAbsent = "player-absent",
        /// Its player claims what it cannot prove: it gets nothing until it attaches with a state that
        /// agrees with the store, or somebody released it.
        Quarantined = "quarantined",
        /// Its player takes no more tasks at the moment.
        PlayerBusy = "player-busy",
        /// Its score runs on the player as often as its `concurrency` allows.
        ScoreBusy = "score-busy",
        /// An `exclusive` score runs there, or is next to run there.
        Exclusive = "exclusive",
        /// One-of: none of the players is attached, or none is free.
        NoPlayer = "no-player",
        /// Its job is doomed: it will not start.
        Doomed = "doomed",
        /// Nothing is sent until an operator ran `orc conductor recover`.
        StaleStore = "stale-store",
    }
);

kebab_enum!(
    /// How a flow or job ended.
    Verdict {
        /// Enough succeeded, and failures stayed tolerated.
        Ok = "ok",
        /// Jobs only: some succeeded, but not enough.
        Partial = "partial",
        /// Not ok.
        Failed = "failed",
        /// Somebody cancelled it.
        Cancelled = "cancelled",
    }
);

kebab_enum!(
    /// Where a job, or a slot as the worst of its jobs, is.
    JobState {
        /// Its slot has not begun.
        Pending = "pending",
        /// Its slot has begun.
        Running = "running",
        /// Its threshold is out of reach: nothing new starts.
        Doomed = "doomed",
        /// Ended: enough succeeded.
        Ok = "ok",
        /// Ended: some succeeded, but not enough.
        Partial = "partial",
        /// Ended: not ok.
        Failed = "failed",
        /// Ended: cancelled.
        Cancelled = "cancelled",
        /// Ended: its slot never came.
        Skipped = "skipped",
    }
);

impl JobState {
    /// Whether it never changes again.
    pub fn is_final(self) -> bool {
        !matches!(self, JobState::Pending | JobState::Running | JobState::Doomed)
    }
}

kebab_enum!(
    /// Where a flow is.
    FlowState {
        /// Stored; no slot has begun, because it waits for a moment or for the end of another flow.
        Pending = "pending",
        /// A slot has begun.
        Running = "running",
        /// A job is doomed; what runs may finish.
        Doomed = "doomed",
        /// Somebody paused it: nothing new starts.
        Paused = "paused",
        /// Nothing of it goes on, and only a person can help: see `orc explain`.
        Stalled = "stalled",
        /// Cancelled, and some tasks have not answered yet.
        Cancelling = "cancelling",
        /// Ended: every job of every slot ok.
        Ok = "ok",
        /// Ended: not ok.
        Failed = "failed",
        /// Ended: cancelled.
        Cancelled = "cancelled",
    }
);

impl FlowState {
    /// The verdict, once it ended.
    pub fn verdict(self) -> Option<Verdict> {
        match self {
            FlowState::Ok => Some(Verdict::Ok),
            FlowState::Failed => Some(Verdict::Failed),
            FlowState::Cancelled => Some(Verdict::Cancelled),
            _ => None,
        }
    }

    /// Whether it never changes again.
    pub fn is_final(self) -> bool {
        self.verdict().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_read_as_they_print() {
        for state in TaskState::ALL {
            assert_eq!(TaskState::from_word(state.as_str()), Some(*state));
        }
        for state in FlowState::ALL {
            assert_eq!(FlowState::from_word(state.as_str()), Some(*state));
        }
    }

    #[test]
    fn what_counts_as_failure_is_final() {
        for state in TaskState::ALL {
            assert!(!state.counts_as_failure() || state.is_final());
            assert!(!(state.is_final() && state.is_in_flight()));
        }
    }
}
