//! Bounds of a spool: far above honest use, far below what hurts.

/// Most attempts that are settled and not acknowledged. Beyond them new orders are refused, and
/// leave no trace. A conductor acknowledges before its next order, so only a broken conductor, or a
/// network that loses acknowledgements, comes near.
pub const SETTLED: usize = 16_384;
/// From so many bytes of ends and reasons that are not acknowledged, new orders are refused as
/// `Busy`. Attempts that run may still end beyond it. All these bytes are repeated at once on every
/// attach, so the bound is well below what a driver may queue to its agent.
pub const SETTLED_BYTES: usize = 8 << 20;
/// Most orders of one store that were cancelled before they came. Beyond them a further such cancel
/// stays unanswered, so that the conductor repeats it.
pub const CANCELLED_AHEAD: usize = 4_096;
/// Most stores that a spool serves in its life: their marks are kept for ever.
pub const STORES: usize = 256;
/// Longest text of a refusal that is kept, in bytes; longer ones are cut.
pub const REFUSAL_BYTES: usize = 4 << 10;
/// Longest path of a cgroup, in bytes.
pub const CGROUP_BYTES: usize = 1_024;
/// Highest term and order number that are believed: no store comes near (2^48). Only an agent that
/// was taken over would name a higher one, to make this spool refuse every honest order.
pub const REACHABLE: u64 = 1 << 48;
/// How far a term may be above the highest that is known of its store. A term rises by one with
/// each start of a conductor.
pub const TERM_LEAP: u64 = 1_000_000;
