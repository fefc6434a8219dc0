//! Bounds of what a player keeps running.

/// Most tombstones. A further one displaces the oldest: by then no order for its unit is on its
/// way.
pub const TOMBSTONES: usize = 4_096;
/// Longest text that is kept about why a run could not be started, in bytes; longer ones are cut.
pub const WHY_BYTES: usize = 1_024;
/// Longest text that is kept about what a probe met, in bytes; longer ones are cut.
pub const TROUBLE_BYTES: usize = 256;
/// How many moments of restarts are remembered. For a rule that allows more restarts, those within
/// a 64th part of the window count as one moment, the first of them. So the rule may give up later,
/// by at most that part.
pub const RESTART_MOMENTS: usize = 64;
/// A unit is reported at most once in this time (ms). A state that is over sooner is not reported.
pub const REPORT_MS: u64 = 1_000;
/// Most waits that are counted: after so many doublings 100 ms are beyond every bound.
pub const WAITS: u32 = 32;
/// How long a wait before a second restart may be (ms); each further one may be twice as long.
pub const BACKOFF_MS: u64 = 100;
/// The time between two probes of a run that is not ready yet (ms). It is short because an update
/// waits for the run.
pub const READY_PROBE_MS: u64 = 500;
/// How long a probe of a run that is not ready yet may take (ms).
pub const READY_TIMEOUT_MS: u64 = 1_000;
/// How long a check of a run that is not ready yet may take (ms). A score takes longer than a
/// connection.
pub const READY_CHECK_TIMEOUT_MS: u64 = 10_000;
/// The steps between moments at which units are asked about their health together (ms), longest first.
/// The first that is short enough is used; where none is, each unit has moments of its own.
pub const PROBE_STEPS_MS: [u64; 2] = [100, 10];
/// At so many moments within the time between two probes of a unit others are asked, at least: those
/// who ask and those who answer are not to be busy all at once.
pub const PROBE_MOMENTS: u64 = 100;
/// A unit is flapping after so many turns within [`FLAPPING_MS`].
pub const FLAPS: usize = 4;
/// The time within which [`FLAPS`] turns make a unit flapping (ms).
pub const FLAPPING_MS: u64 = 600_000;
/// A unit is not flapping any more when its last turn is so long ago (ms).
pub const QUIET_MS: u64 = 120_000;
/// While a unit is watched, the time is written to disk so often (ms). A reboot may delay a
/// deadline by as much.
pub const CLOCK_MS: u64 = 60_000;
/// A run that extends its time gets up to so much more than it asked for (ms). So its extensions
/// are on disk, and cost at most one entry in that time.
pub const EXTENSION_MS: u64 = 60_000;
/// By how much in all a run that is being ended may extend its grace (ms): an hour, so that no stop
/// waits for ever.
pub const STOP_EXTENSION_MS: u64 = 3_600_000;
/// Highest order, placement and run number, and highest moment, that a journal may hold (2^60): so
/// that counting on from them never overflows.
pub const REACHABLE: u64 = 1 << 60;
