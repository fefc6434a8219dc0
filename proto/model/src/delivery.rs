//! What conductor and player say to each other, as values.
//!
//! proto only spells these on the wire, so the simulation joins the two engines without one.

use std::{collections::BTreeMap, fmt, sync::Arc};

use crate::{
    audit::Asker,
    bundle::Seal,
    ids::JobId,
    limits,
    names::{JobName, ScoreName},
    params::Params,
    proof::{Evidence, Proof},
    score::Offers,
    service::{Instance, Room, UnitJob, UnitReport},
    time::{Millis, Timestamp},
    tree::TreePlace,
};

/// Declares a random 128-bit id that prints as hex.
macro_rules! random_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; 16]);

        impl $name {
            /// Reads the 16 bytes that the wire or a file carries.
            pub fn from_slice(bytes: &[u8]) -> Option<Self> {
                bytes.try_into().ok().map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

random_id!(
    /// Made with a conductor's store, and part of every attempt's key.
    StoreId
);
random_id!(
    /// Made with a player's spool: another one means that what the old one knew is gone.
    SpoolId
);
random_id!(
    /// Names a proof key without telling it: the first 16 bytes of a hash of the key.
    ProofKeyId
);
random_id!(
    /// Made by the audience's tool with a submission: sent twice, it is one flow.
    RequestId
);

/// Rises when a conductor takes a store over or recovers it from a backup; a sitter refuses
/// orders of a lower one than it has seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Term(pub u64);

/// Numbers the orders to one player, from 1, durably.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OrderNumber(pub u64);

impl OrderNumber {
    /// The next number.
    #[must_use]
    pub fn next(self) -> OrderNumber {
        OrderNumber(self.0 + 1)
    }
}

impl fmt::Display for OrderNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One execution of a task, over all conductors and all times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptKey {
    /// Whose flow it is.
    pub store: StoreId,
    /// The job; the player is the one that is spoken to.
    pub job: JobId,
    /// Which execution, from 1.
    pub attempt: u32,
}

impl fmt::Display for AttemptKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.job, self.attempt)
    }
}

/// What the player reports of its whole state when it attaches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlayerSnapshot {
    /// The spool that the rest is from.
    pub spool: SpoolId,
    /// The highest order number of this store that the spool has durably answered for.
    pub mark: OrderNumber,
    /// The highest term of this store that the sitter has seen; 0 for none.
    pub term: Term,
    /// What the player can show for mark and term; `None` where no conductor gave it any.
    pub evidence: Option<Evidence>,
    /// Attempts starting or started, and not ended.
    pub live: Vec<LiveAttempt>,
    /// Attempts ended or refused and not acknowledged; those reports follow as messages.
    pub settled: Vec<SettledAttempt>,
    /// How many attempts it takes at once, at least 1.
    pub max_tasks: u32,
    /// Its grace between TERM and KILL, part of the default `lost_after`.
    pub kill_grace: Millis,
    /// What it can run.
    pub scores: Offers,
    /// What it keeps running for the store that it attaches to; `None` where it is of a release that
    /// keeps nothing running.
    pub units: Option<Vec<UnitReport>>,
    /// How much of its host there is for units.
    pub room: Room,
}

/// One connection of an agent to a conductor, counted by the agent from 1. Another agent begins anew, so
/// that only the latest one that was opened counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AgentSession(pub u64);

/// How far a spool is with one store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreMark {
    pub store: StoreId,
    /// The highest order number that the spool has durably answered for.
    pub mark: OrderNumber,
    /// The highest term that the spool has durably seen.
    pub term: Term,
    /// What it can show for both; `None` where the store proved nothing.
    pub evidence: Option<Evidence>,
}

/// An attempt that the spool holds as starting or started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LiveAttempt {
    pub key: AttemptKey,
    /// The order that asked for it.
    pub order: OrderNumber,
    /// When it started; `None` while it has not.
    pub started_at: Option<Timestamp>,
    /// That it was ordered; `None` where it was by a release without proofs.
    pub proof: Option<Proof>,
}

/// An attempt that the spool holds as ended or refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SettledAttempt {
    pub key: AttemptKey,
    /// The order that asked for it; 0 where a release without proofs reports it.
    pub order: OrderNumber,
    /// That it was ordered; `None` where it was by a release without proofs.
    pub proof: Option<Proof>,
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It exited with this code; 0 is success.
    Exited(i32),
    /// It died of this signal, sent by somebody else.
    Signalled(i32),
    /// Its timeout ran out and it was killed.
    TimedOut,
    /// It was killed because the flow was cancelled.
    Cancelled,
    /// It started, or may have, and how it ended can never be known.
    Lost(String),
}

impl Outcome {
    /// Whether it succeeded.
    pub fn is_ok(&self) -> bool {
        *self == Outcome::Exited(0)
    }
}

/// The end of an attempt that may have started: what the player reports until acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptEnd {
    /// How.
    pub outcome: Outcome,
    /// When it was spawned; `None` where even that is unknown.
    pub started_at: Option<Timestamp>,
    /// When its end was learnt.
    pub ended_at: Timestamp,
    /// A `pipe` score's answer.
    pub response: BTreeMap<String, String>,
    /// What it wrote to standard output.
    pub stdout: Output,
    /// What it wrote to standard error.
    pub stderr: Output,
}

/// How an attempt ended, and when: what must be known of its end to go on. The rest is for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndSummary {
    /// How.
    pub outcome: Outcome,
    /// When it was spawned; `None` where even that is unknown.
    pub started_at: Option<Timestamp>,
    /// When its end was learnt.
    pub ended_at: Timestamp,
}

/// An [`AttemptEnd`] as the sitter encoded it, at most [`limits::END_BYTES`]. Spool, agent, wire,
/// conductor and store carry it as it is; only who shows it to people decodes it. The default is an end
/// that nobody will show.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct EndBytes(Arc<[u8]>);

impl EndBytes {
    /// Takes what was encoded.
    pub fn new(bytes: impl Into<Arc<[u8]>>) -> Result<Self, EndTooLarge> {
        let bytes = bytes.into();
        match bytes.len() {
            0..=limits::END_BYTES => Ok(EndBytes(bytes)),
            len => Err(EndTooLarge(len)),
        }
    }

    /// The bytes.
    pub fn as_slice(&self) -> &[u8] {
        &self.0
    }

    /// The bytes, shared.
    pub fn to_shared(&self) -> Arc<[u8]> {
        Arc::clone(&self.0)
    }
}

impl fmt::Debug for EndBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EndBytes({} bytes)", self.0.len())
    }
}

/// An encoded end has more than [`limits::END_BYTES`] bytes: so many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an encoded end has {} bytes; at most {} are kept", .0, limits::END_BYTES)]
pub struct EndTooLarge(pub usize);

/// An end that is carried on, with what was read of it on the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownEnd {
    /// What was read.
    pub summary: EndSummary,
    /// All of it.
    pub bytes: EndBytes,
}

/// What was captured of a stream. Bytes, because scores write what they like.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// The first bytes.
    pub head: Vec<u8>,
    /// The last bytes, where there are more than the head holds.
    pub tail: Vec<u8>,
    /// How many it wrote in all, kept or not.
    pub bytes: u64,
    /// Whether some of them are neither in `head` nor in `tail`.
    pub truncated: bool,
}

/// Why an order was not started, on the player's own word: it never will be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No score of that name.
    UnknownScore,
    /// The score is disabled, for this reason.
    ScoreDisabled(String),
    /// The parameters are not what the score takes.
    Parameters(String),
    /// The process could not be made.
    SpawnFailed(String),
    /// It runs as many as it may, or its host lacks something for the moment: open files, processes,
    /// memory. Not final: the task waits again.
    Busy,
    /// The flow was cancelled before it started.
    Cancelled,
    /// The spool cannot take it: full, or broken.
    Spool(String),
    /// It cannot keep the limits that the service asks for, or not reserve as much, for this reason.
    Limits(String),
    /// A place of the host does not take the bundle, or is not switched to it, for this reason.
    Bundle(String),
    /// The bundle's content is not here, for this reason.
    Source(String),
    /// The host's own policy does not let this audience run this score here, for this reason.
    Policy(String),
    /// The order's term is lower than one that the sitter has seen.
    StaleTerm {
        /// The term seen.
        seen: Term,
        /// What the player can show for it.
        evidence: Option<Evidence>,
    },
    /// At or below the mark and not live: it was dealt with before, and will not run again.
    AlreadyAcknowledged,
    /// The player is stopping. Not final: the task waits again.
    Stopping,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownScore => f.write_str("the player has no such score"),
            Self::ScoreDisabled(why) => write!(f, "the score is disabled: {why}"),
            Self::Parameters(why) => write!(f, "the score does not take these parameters: {why}"),
            Self::SpawnFailed(why) => write!(f, "the process could not be started: {why}"),
            Self::Busy => f.write_str("the player is busy"),
            Self::Cancelled => f.write_str("cancelled before it started"),
            Self::Spool(why) => write!(f, "the player's spool cannot take it: {why}"),
            Self::Limits(why) => {
                write!(f, "the player cannot grant the service's resources: {why}")
            }
            Self::Bundle(why) => write!(f, "the host does not take the bundle: {why}"),
            Self::Source(why) => write!(f, "the bundle's content is not there: {why}"),
            Self::Policy(why) => write!(f, "the host's own policy: {why}"),
            Self::StaleTerm { seen, .. } => {
                write!(f, "the player has seen term {} of this store, a later one", seen.0)
            }
            Self::AlreadyAcknowledged => {
                f.write_str("the player dealt with this order before and keeps no trace of it")
            }
            Self::Stopping => f.write_str("the player is stopping"),
        }
    }
}

/// What the player says while attached. Each about one order of one store. `Ended` and `Refused`
/// are on the spool's disk first, and repeated on every attach until acknowledged.
///
/// `End` is as much of an end as its holder needs: [`EndBytes`] where it is carried, [`KnownEnd`]
/// where something follows from it, [`AttemptEnd`] where it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report<End> {
    /// The process exists.
    Started {
        key: AttemptKey,
        /// Its order.
        order: OrderNumber,
        at: Timestamp,
    },
    /// It ended.
    Ended {
        key: AttemptKey,
        /// Its order.
        order: OrderNumber,
        /// How.
        end: End,
    },
    /// It did not start and never will.
    Refused {
        key: AttemptKey,
        /// Its order.
        order: OrderNumber,
        refusal: Refusal,
    },
}

impl<End> Report<End> {
    /// This report, with its end read by `read`.
    pub fn try_map<Read, Error>(
        self,
        read: impl FnOnce(End) -> Result<Read, Error>,
    ) -> Result<Report<Read>, Error> {
        Ok(match self {
            Report::Started { key, order, at } => Report::Started { key, order, at },
            Report::Ended { key, order, end } => Report::Ended { key, order, end: read(end)? },
            Report::Refused { key, order, refusal } => Report::Refused { key, order, refusal },
        })
    }

    /// The attempt that it is about.
    pub fn key(&self) -> AttemptKey {
        match self {
            Report::Started { key, .. }
            | Report::Ended { key, .. }
            | Report::Refused { key, .. } => *key,
        }
    }
}

/// The small part of an order; the job part (score, parameters, names) is sent once a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Its number for this player.
    pub number: OrderNumber,
    /// The attempt that it asks for.
    pub key: AttemptKey,
    /// Of the attempt, where the job asks for less than the score allows.
    pub timeout: Option<Millis>,
    /// The instance on this player, where the job is about units.
    pub instance: Option<Instance>,
    /// Where the task is in its tree, where the job has one.
    pub tree: Option<Arc<TreePlace>>,
}

/// Who runs what for whom, as the sitter needs it: the job part of an order, decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobPart {
    pub job: JobId,
    /// Its name: `ORC_JOB`.
    pub name: JobName,
    /// What runs: `ORC_SCORE`.
    pub score: ScoreName,
    /// Who asked: `ORC_AUDIENCE`.
    pub audience: Asker,
    /// Its parameters: `ORC_<key>`.
    pub params: Params,
    /// What its orders ask of units; `None`: each runs the score once. Its instances are told with
    /// the orders.
    pub unit: Option<Arc<UnitJob>>,
    /// What publishers say of the bundle that it is about, where its score is built in.
    pub seal: Option<Arc<Seal>>,
}
