//! Instances whose players are away.
//!
//! ```text
//!   its player goes away ── replace_after ──▶ it is replaced: it is wanted on another player
//!        │                                        │ its player comes back
//!        │ comes back before                      ├─ the other one is ready: it is ended
//!        ▼                                        └─ it is ready and the other one is not: it
//!   nothing has happened                             stays, and the other one is ended
//! ```

use crate::{names::HostName, state::kebab_enum, time::Millis, time::Timestamp};

/// What is done for an instance of a placed service whose player is away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AbsenceRule {
    /// It is brought up on another player when its own was absent for so long. `None`: never.
    pub replace_after: Option<Millis>,
}

/// What is meant where nothing is said: most hosts that restart are back within five minutes.
impl Default for AbsenceRule {
    fn default() -> Self {
        Self { replace_after: Some(Millis::minutes(5)) }
    }
}

/// That the player of an instance is away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceAbsence {
    /// Since when it counts. Time in which the conductor was down does not count, so the player may
    /// be away for longer.
    pub since: Timestamp,
    /// What becomes of the instance; `None` if its service is not placed, or is not to run.
    pub replacing: Option<Replacing>,
}

/// What becomes of an instance of a placed service whose player is away.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Replacing {
    /// It is replaced at this moment, unless its player is back before.
    At(Timestamp),
    /// It was away for long enough, and something is in the way.
    Waits(ReplacingWait),
    /// It is wanted on this player instead, and is ended when its own is back.
    By(HostName),
    /// It is not replaced, because its version says so.
    Never,
}

kebab_enum!(
    /// Why an instance is not replaced although its player was away for long enough.
    ReplacingWait {
        /// The conductor has started, and players have their time to come back.
        Starting = "starting",
        /// Somebody paused its service.
        Paused = "paused",
        /// Many of all players are away.
        FleetDisrupted = "fleet-disrupted",
        /// Many players of its zone are away, and others of that zone were replaced just now.
        ZoneDisrupted = "zone-disrupted",
        /// Others of its service were replaced just now.
        Rate = "rate",
        /// No instance of its service may be alive twice, and nobody knows that this one is not: its
        /// player has to be back, or a person to declare it dead.
        Proof = "proof",
        /// No other player has room for it.
        Room = "room",
    }
);
